"""`Protocol`: how a query is made and how its scores are judged."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from zslbench import params
from zslbench.arrays import AnyArray, Array, BoolArray, IntArray, copy_rows
from zslbench.data.dataset import Dataset
from zslbench.data.splits import Split, drawn_order
from zslbench.metrics import Predictions, best_candidates
from zslbench.task import Answers, Query

_ALL = "scores"


@dataclasses.dataclass(frozen=True)
class ProtocolCard:
    """What lists, pages and records show of a protocol."""

    title: str
    summary: str
    version: int
    metrics: tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Judgement:
    """The metrics of one query (fractions from 0 to 1, by name) and the predictions that they were computed from.

    Attributes:
        predictions: arrays of one entry per test image, in ascending order of the data set's rows: row, label, whether
            of an unseen class, best seen score and class, best unseen score and class (class -1 and score -inf if there
            is no such candidate).
    """

    metrics: Mapping[str, float]
    predictions: Predictions


@dataclasses.dataclass(kw_only=True)
class Protocol(abc.ABC):
    """An evaluation protocol. Its parameters are dataclass fields made by `zslbench.params.param`.

    A run judges in two steps: `condense` where the method is, without any answer, then `mark` with the answers in the
    coordinator. If a protocol overrides `judge`, `condense` returns all scores, and `mark` passes them to `judge`.
    """

    card: ClassVar[ProtocolCard]

    def __post_init__(self) -> None:
        params.check_values(self)

    @abc.abstractmethod
    def query(self, dataset: Dataset, split: Split, seed: int) -> tuple[Query, Answers]:
        """Return the query that the method sees and the answers that it does not see, shuffled by `seed`."""

    @abc.abstractmethod
    def metrics(self, predictions: Predictions) -> dict[str, float]:
        """Return the metrics of predictions kept by `judge`: the same numbers again, without training."""

    def judge(self, answers: Answers, scores: Array) -> Judgement:
        """Return the metrics of (m, k) scores against the answers of the same query."""
        return self.mark(answers, _condense(len(answers.rows), answers.classes, answers.unseen, scores))

    def condense(self, rows: int, classes: IntArray, unseen: BoolArray, scores: Array) -> Mapping[str, AnyArray]:
        """Return the part of (m, k) scores that is judged; this needs no answer, so it is done where the method runs.

        If a protocol overrides `judge`, it returns all scores.
        """
        if type(self).judge is not Protocol.judge:
            return {_ALL: np.asarray(scores)}
        return _condense(rows, classes, unseen, scores)

    def mark(self, answers: Answers, condensed: Mapping[str, AnyArray]) -> Judgement:
        """Return the metrics of what `condense` returned, judged by the answers of the same query."""
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
    """Return the query over (m,) rows of the data set with (k,) candidate ids, and its answers.

    Rows and candidates are shuffled, so that neither order reveals which are seen. The draw depends on the seed and on
    all labels of the data set, including those of the test images: to compute the order, one would have to know the
    answers. The same data and seed give the same order everywhere.
    """
    rows = drawn_order(dataset, seed, "rows", rows)
    candidates = drawn_order(dataset, seed, "candidates", candidates)
    query = Query(features=copy_rows(dataset.features, rows), classes=dataset.class_table(candidates))
    answers = Answers(
        labels=copy_rows(dataset.labels, rows), rows=rows, classes=candidates, unseen=np.isin(candidates, unseen)
    )
    return query, answers


def _condense(rows: int, classes: IntArray, unseen: BoolArray, scores: Array) -> dict[str, AnyArray]:
    """Return, for each row of the query, the best seen and the best unseen candidate and its score.

    Raises:
        ValueError: the scores have another shape, are not numbers, or are not finite: a fault of the method.
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
