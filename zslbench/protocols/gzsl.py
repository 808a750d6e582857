"""Generalized ZSL: seen and unseen test images in one batch, all classes as candidates."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from zslbench.arrays import AnyArray
from zslbench.data.dataset import Dataset
from zslbench.data.splits import Split
from zslbench.metrics import ausuc, harmonic_mean, stacked, unseen_and_seen
from zslbench.protocols.protocol import Protocol, ProtocolCard, build_shuffled_query
from zslbench.task import Answers, Query


@dataclasses.dataclass(kw_only=True)
class GZSL(Protocol):
    """U, S, H (Xian et al., 2018) and AUSUC (Chao et al., 2016); candidates = seen and unseen classes."""

    card: ClassVar[ProtocolCard] = ProtocolCard(
        title="GZSL",
        summary="U, S, H: mean per-class top-1 on unseen and seen test images and their harmonic mean; AUSUC; "
        "candidates are all classes",
        version=1,
        metrics=("U", "S", "H", "AUSUC"),
    )

    def query(self, dataset: Dataset, split: Split, seed: int) -> tuple[Query, Answers]:
        """Ask about seen and unseen test images mixed in one batch, with all classes to choose among."""
        rows = np.concatenate([split.asked_seen, split.asked_unseen])
        return build_shuffled_query(dataset, rows, np.concatenate([split.seen, split.unseen]), split.unseen, seed)

    def metrics(self, predictions: Mapping[str, AnyArray]) -> dict[str, float]:
        """Return U, S, H and AUSUC of kept predictions."""
        label, of_unseen = predictions["label"], predictions["of_unseen"]
        seen_side = predictions["seen_score"], predictions["seen_class"]
        unseen_side = predictions["unseen_score"], predictions["unseen_class"]
        predicted = stacked(*seen_side, *unseen_side)
        unseen, seen = unseen_and_seen(label, of_unseen, predicted)
        return {
            "U": unseen,
            "S": seen,
            "H": harmonic_mean(unseen, seen),
            "AUSUC": ausuc(label, of_unseen, *seen_side, *unseen_side),
        }
