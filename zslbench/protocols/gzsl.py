"""Generalized ZSL: seen and unseen test images in one batch, all classes as candidates."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from zslbench.data.dataset import Dataset
from zslbench.data.splits import Split
from zslbench.metrics import Predictions, ausuc, stacked_accuracies
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
        """Ask about seen and unseen test images mixed in one batch, with all classes as candidates."""
        rows = np.concatenate([split.asked_seen, split.asked_unseen])
        return build_shuffled_query(dataset, rows, np.concatenate([split.seen, split.unseen]), split.unseen, seed)

    def metrics(self, predictions: Predictions) -> dict[str, float]:
        """Return U, S, H and AUSUC of kept predictions."""
        return stacked_accuracies(predictions) | {"AUSUC": ausuc(predictions)}
