"""What every protocol does alike: put one shuffled question, and condense scores to the best of each side."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from zslbench.arrays import AnyArray, Array, BoolArray, IntArray, taken
from zslbench.data.dataset import Dataset
from zslbench.metrics import best
from zslbench.protocols.splits import class_table
from zslbench.task import Answers, Query


def ask(dataset: Dataset, rows: IntArray, candidates: IntArray, unseen: IntArray, seed: int) -> tuple[Query, Answers]:
    """Return the query over some rows and candidates, and its answers.

    Rows and candidates are shuffled, so neither order tells seen from unseen. The draw depends on the seed and on all
    labels of the data set, those of the test included: whoever could work out the order would have to know the
    answers. The same data and seed give the same order everywhere.

    Args:
        rows: (m,) rows of the data set; candidates: (k,) class ids; unseen: ids of the unseen classes among them.
    """
    rows = drawn_order(dataset, seed, "rows", rows)
    candidates = drawn_order(dataset, seed, "candidates", candidates)
    query = Query(features=taken(dataset.features, rows), classes=class_table(dataset, candidates))
    answers = Answers(
        labels=taken(dataset.labels, rows), rows=rows, classes=candidates, unseen=np.isin(candidates, unseen)
    )
    return query, answers


def drawn_order(dataset: Dataset, seed: int, what: str, items: IntArray) -> IntArray:
    """Return items in an order drawn from a key that only the labels of the whole data set give."""
    key = hashlib.sha256(f"zslbench query {what} {seed}".encode())
    for array in (dataset.labels, items):
        key.update(np.ascontiguousarray(array, dtype="<i8").tobytes())
    return np.random.default_rng(int.from_bytes(key.digest(), "little")).permutation(items)


def condense(rows: int, classes: IntArray, unseen: BoolArray, scores: Array) -> dict[str, AnyArray]:
    """Return what is kept of (m, k) scores: for each row the best seen and the best unseen candidate and its score.

    Args:
        rows: m, how many were asked about; classes: (k,) candidate ids; unseen: (k,) which of them are unseen classes.

    Raises:
        ValueError: scores of another shape, not numbers, or not finite: a fault of the method.
    """
    scores = np.asarray(scores)
    if not np.issubdtype(scores.dtype, np.number) or np.iscomplexobj(scores):
        raise ValueError(f"the method returned scores of type {scores.dtype}; numbers were asked for")
    wanted = (rows, len(classes))
    if scores.shape != wanted:
        raise ValueError(f"the method returned scores of shape {scores.shape}; {wanted} were asked for")
    if not np.isfinite(scores).all():
        raise ValueError(f"the method returned {int((~np.isfinite(scores)).sum())} scores that are NaN or infinite")
    seen_score, seen_class = best(scores, classes, ~unseen)
    unseen_score, unseen_class = best(scores, classes, unseen)
    return {
        "seen_score": seen_score,
        "seen_class": seen_class,
        "unseen_score": unseen_score,
        "unseen_class": unseen_class,
    }


def attach(answers: Answers, condensed: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
    """Return the predictions that are kept: one entry per test image, by ascending row, with its label."""
    order = np.argsort(answers.rows, kind="stable")
    labels = {
        "row": answers.rows,
        "label": answers.labels,
        "of_unseen": np.isin(answers.labels, answers.classes[answers.unseen]),
    }
    return {name: array[order] for name, array in {**labels, **condensed}.items()}
