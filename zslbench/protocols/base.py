"""`Protocol`: how a query is put and how its scores are judged."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from zslbench import params
from zslbench.arrays import AnyArray, Array
from zslbench.data.dataset import Dataset
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

    @abc.abstractmethod
    def judge(self, answers: Answers, scores: Array) -> Judgement:
        """Return the metrics of (m, k) scores against the answers of the same query."""
