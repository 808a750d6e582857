"""What every protocol does alike: put one shuffled question, and reduce scores to the best of each side."""

from __future__ import annotations

import numpy as np

from zslbench import seeding
from zslbench.arrays import AnyArray, Array, IntArray, taken
from zslbench.data.dataset import Dataset
from zslbench.metrics import best
from zslbench.protocols.splits import class_table
from zslbench.task import Answers, Query


def ask(dataset: Dataset, rows: IntArray, candidates: IntArray, unseen: IntArray, seed: int) -> tuple[Query, Answers]:
    """Return the query over some rows and candidates, and its answers.

    Rows and candidates are shuffled, so neither order tells seen from unseen. The draw depends on the seed and on the
    data set's fingerprint, which no method knows: the order cannot be worked out from `Context.seed`.

    Args:
        rows: (m,) rows of the data set; candidates: (k,) class ids; unseen: ids of the unseen classes among them.
    """
    rows = seeding.stream(seed, f"query rows {dataset.fingerprint}").permutation(rows)
    candidates = seeding.stream(seed, f"query candidates {dataset.fingerprint}").permutation(candidates)
    query = Query(features=taken(dataset.features, rows), classes=class_table(dataset, candidates))
    answers = Answers(
        labels=taken(dataset.labels, rows), rows=rows, classes=candidates, unseen=np.isin(candidates, unseen)
    )
    return query, answers


def reduce(answers: Answers, scores: Array) -> dict[str, AnyArray]:
    """Return the predictions that are kept of (m, k) scores: one entry a test image, by ascending row.

    Raises:
        ValueError: scores of another shape, not numbers, or not finite: a fault of the method.
    """
    scores = np.asarray(scores)
    if not np.issubdtype(scores.dtype, np.number) or np.iscomplexobj(scores):
        raise ValueError(f"the method returned scores of type {scores.dtype}; numbers were asked for")
    wanted = (len(answers.labels), len(answers.classes))
    if scores.shape != wanted:
        raise ValueError(f"the method returned scores of shape {scores.shape}; {wanted} were asked for")
    if not np.isfinite(scores).all():
        raise ValueError(f"the method returned {int((~np.isfinite(scores)).sum())} scores that are NaN or infinite")
    seen_score, seen = best(scores, answers.classes, ~answers.unseen)
    unseen_score, unseen = best(scores, answers.classes, answers.unseen)
    order = np.argsort(answers.rows, kind="stable")
    return {
        "row": answers.rows[order],
        "label": answers.labels[order],
        "of_unseen": np.isin(answers.labels, answers.classes[answers.unseen])[order],
        "seen_score": seen_score[order],
        "seen_class": seen[order],
        "unseen_score": unseen_score[order],
        "unseen_class": unseen[order],
    }
