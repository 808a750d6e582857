"""Conventional ZSL: unseen test images, unseen candidates."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from zslbench.data.dataset import Dataset
from zslbench.data.splits import Split
from zslbench.metrics import Predictions, per_class_top1
from zslbench.protocols.protocol import Protocol, ProtocolCard, build_shuffled_query
from zslbench.task import Answers, Query


@dataclasses.dataclass(kw_only=True)
class ZSL(Protocol):
    """T1: mean per-class top-1 over unseen classes, candidates = unseen (Xian et al., 2018)."""

    card: ClassVar[ProtocolCard] = ProtocolCard(
        title="ZSL",
        summary="T1: mean per-class top-1 on unseen test images; candidates are the unseen classes",
        version=1,
        metrics=("T1",),
    )

    def query(self, dataset: Dataset, split: Split, seed: int) -> tuple[Query, Answers]:
        """Ask about the images of unseen classes, with the unseen classes as candidates."""
        return build_shuffled_query(dataset, split.asked_unseen, split.unseen, split.unseen, seed)

    def metrics(self, predictions: Predictions) -> dict[str, float]:
        """Return T1 of kept predictions."""
        return {"T1": per_class_top1(predictions["label"], predictions["unseen_class"])}
