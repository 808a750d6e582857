"""A small zero-shot problem in arrays, for tests of generative methods."""

from __future__ import annotations

import numpy as np

from zslbench.arrays import read_only_view
from zslbench.task import ClassTable, Query, Train

SEEN, UNSEEN, D, A = 6, 3, 12, 5


def problem(seed: int = 0, rows: int = 15) -> tuple[Train, Query, Query]:
    """Return what to fit on, a query of unseen candidates (zsl) and one of all candidates (gzsl); ids have gaps."""
    rng = np.random.default_rng(seed)
    semantics = rng.random((SEEN + UNSEEN, A)).astype(np.float32)
    centres = np.maximum(semantics @ rng.normal(size=(A, D)), 0)
    ids = rng.permutation(50)[: SEEN + UNSEEN].astype(np.int64)

    def images(positions: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.repeat(positions, count)
        rows = centres[labels] + 0.1 * rng.random((len(labels), D))
        order = rng.permutation(len(labels))
        return read_only_view(rows[order].astype(np.float32)), read_only_view(ids[labels[order]])

    def table(positions: np.ndarray) -> ClassTable:
        return ClassTable(read_only_view(ids[positions]), read_only_view(semantics[positions]))

    seen, unseen = np.arange(SEEN), np.arange(SEEN, SEEN + UNSEEN)
    features, labels = images(seen, rows)
    asked_unseen, _ = images(unseen, 6)
    asked_all, _ = images(np.arange(SEEN + UNSEEN), 4)
    train = Train(features, labels, table(seen))
    return train, Query(asked_unseen, table(unseen)), Query(asked_all, table(rng.permutation(SEEN + UNSEEN)))
