"""`Protocol`: how a query is put and how its scores are judged."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from zslbench import params
from zslbench.arrays import AnyArray, Array, BoolArray, IntArray
from zslbench.data.dataset import Dataset
from zslbench.protocols.asking import attach, condense
from zslbench.protocols.splits import Split
from zslbench.task import Answers, Query


@dataclasses.dataclass(frozen=True)
class ProtocolCard:
    """What is said of a protocol in lists, pages and records."""

    title: str
    summary: str
    version: int
    metrics: tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Judgement:
    """The metrics of one query (fractions from 0 to 1) and what they were computed from.

    Attributes:
        metrics: by name.
        predictions: arrays of one entry a test image: row, label, best seen score and class, best unseen score and
            class (a class of -1 and a score of -inf where there is no such candidate).
    """

    metrics: Mapping[str, float]
    predictions: Mapping[str, AnyArray]


@dataclasses.dataclass(kw_only=True)
class Protocol(abc.ABC):
    """An evaluation protocol. Parameters are dataclass fields made by `zslbench.params.param`."""

    card: ClassVar[ProtocolCard]

    def __post_init__(self) -> None:
        params.check(self)

    @abc.abstractmethod
    def query(self, dataset: Dataset, split: Split, seed: int) -> tuple[Query, Answers]:
        """Return what the method sees and what stays here, shuffled by `seed`."""

    @abc.abstractmethod
    def metrics(self, predictions: Mapping[str, AnyArray]) -> dict[str, float]:
        """Return the metrics of predictions kept by `judge`: the same numbers again, without training."""

    def judge(self, answers: Answers, scores: Array) -> Judgement:
        """Return the metrics of (m, k) scores against the answers of the same query."""
        return self.mark(answers, condense(len(answers.rows), answers.classes, answers.unseen, scores))

    def condense(self, rows: int, classes: IntArray, unseen: BoolArray, scores: Array) -> Mapping[str, AnyArray]:
        """Return what of (m, k) scores is judged; no answer is needed for it, so it is done where the method runs.

        A protocol that overrides `judge` gets all scores there.
        """
        if type(self).judge is not Protocol.judge:
            return {_ALL: np.asarray(scores)}
        return condense(rows, classes, unseen, scores)

    def mark(self, answers: Answers, condensed: Mapping[str, AnyArray]) -> Judgement:
        """Return the metrics of what `condense` made of the scores, against the answers of the same query."""
        if _ALL in condensed:
            return self.judge(answers, condensed[_ALL])
        predictions = attach(answers, condensed)
        return Judgement(self.metrics(predictions), predictions)


_ALL = "scores"
