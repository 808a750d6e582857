"""`Protocol`: how a query is put and how its scores are judged."""

from __future__ import annotations

import abc
import dataclasses
import hashlib
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from zslbench import params
from zslbench.arrays import AnyArray, Array, BoolArray, IntArray, copy_rows
from zslbench.data.dataset import Dataset
from zslbench.data.splits import Split
from zslbench.metrics import Predictions, best_candidates
from zslbench.task import Answers, Query

_ALL = "scores"


@dataclasses.dataclass(frozen=True)
class ProtocolCard:
    """What is said of a protocol in lists, pages and records."""

    title: str
    summary: str
    version: int
    metrics: tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Judgement:
    """The metrics of one query (fractions from 0 to 1, by name) and what they were computed from.

    Attributes:
        predictions: arrays of one entry per test image, by ascending row: row, label, whether of an unseen class, best
            seen score and class, best unseen score and class (a class of -1 and a score of -inf where there is no such
            candidate).
    """

    metrics: Mapping[str, float]
    predictions: Predictions


@dataclasses.dataclass(kw_only=True)
class Protocol(abc.ABC):
    """An evaluation protocol. Parameters are dataclass fields made by `zslbench.params.param`.

    A run judges in two steps: `condense` where the method is, without any answer, then `mark` with the answers in the
    coordinator. A protocol that overrides `judge` skips the first: all scores travel, and `mark` hands them to `judge`.
    """

    card: ClassVar[ProtocolCard]

    def __post_init__(self) -> None:
        params.check_values(self)

    @abc.abstractmethod
    def query(self, dataset: Dataset, split: Split, seed: int) -> tuple[Query, Answers]:
        """Return what the method sees and what stays here, shuffled by `seed`."""

    @abc.abstractmethod
    def metrics(self, predictions: Predictions) -> dict[str, float]:
        """Return the metrics of predictions kept by `judge`: the same numbers again, without training."""

    def judge(self, answers: Answers, scores: Array) -> Judgement:
        """Return the metrics of (m, k) scores against the answers of the same query."""
        return self.mark(answers, _condense(len(answers.rows), answers.classes, answers.unseen, scores))

    def condense(self, rows: int, classes: IntArray, unseen: BoolArray, scores: Array) -> Mapping[str, AnyArray]:
        """Return what of (m, k) scores is judged; no answer is needed for it, so it is done where the method runs.

        A protocol that overrides `judge` gets all scores there.
        """
        if type(self).judge is not Protocol.judge:
            return {_ALL: np.asarray(scores)}
        return _condense(rows, classes, unseen, scores)

    def mark(self, answers: Answers, condensed: Mapping[str, AnyArray]) -> Judgement:
        """Return the metrics of what `condense` made of the scores, against the answers of the same query."""
        if _ALL in condensed:
            return self.judge(answers, condensed[_ALL])
        order = np.argsort(answers.rows, kind="stable")
        of_unseen = np.isin(answers.labels, answers.classes[answers.unseen])
        kept = {"row": answers.rows, "label": answers.labels, "of_unseen": of_unseen, **condensed}
        predictions = {name: array[order] for name, array in kept.items()}
        return Judgement(self.metrics(predictions), predictions)


def build_shuffled_query(
    dataset: Dataset, rows: IntArray, candidates: IntArray, unseen: IntArray, seed: int
) -> tuple[Query, Answers]:
    """Return the query over (m,) rows of the data set with (k,) candidate ids, some of them unseen, and its answers.

    Rows and candidates are shuffled, so neither order tells seen from unseen. The draw depends on the seed and on all
    labels of the data set, those of the test included: whoever could work out the order would have to know the
    answers. The same data and seed give the same order everywhere.
    """
    rows = drawn_order(dataset, seed, "rows", rows)
    candidates = drawn_order(dataset, seed, "candidates", candidates)
    query = Query(features=copy_rows(dataset.features, rows), classes=dataset.class_table(candidates))
    answers = Answers(
        labels=copy_rows(dataset.labels, rows), rows=rows, classes=candidates, unseen=np.isin(candidates, unseen)
    )
    return query, answers


def drawn_order(dataset: Dataset, seed: int, what: str, items: IntArray) -> IntArray:
    """Return items in an order drawn from a key that only the labels of the whole data set give."""
    key = hashlib.sha256(f"zslbench query {what} {seed}".encode())
    for array in (dataset.labels, items):
        key.update(np.ascontiguousarray(array, dtype="<i8").tobytes())
    return np.random.default_rng(int.from_bytes(key.digest(), "little")).permutation(items)


def _condense(rows: int, classes: IntArray, unseen: BoolArray, scores: Array) -> dict[str, AnyArray]:
    """Return, for each of the rows that were asked about, the best seen and the best unseen candidate and its score.

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
    seen_score, seen_class = best_candidates(scores, classes, ~unseen)
    unseen_score, unseen_class = best_candidates(scores, classes, unseen)
    return {
        "seen_score": seen_score,
        "seen_class": seen_class,
        "unseen_score": unseen_score,
        "unseen_class": unseen_class,
    }
