"""Class-level sufficient statistics: all that the closed forms need of the training images."""

from __future__ import annotations

import dataclasses
from typing import Self

import numpy as np

from zslbench.arrays import Array, IntArray

CHUNK_ROWS = 2048


@dataclasses.dataclass(frozen=True, eq=False)
class Moments:
    """Second moments of features and their sums by class, in float64.

    With X the (n, d) features and Y the (n, c) one-hot labels, every product that a linear method meets is one of
    these, or of these and the (c, a) class semantics S; per-image semantics Y S are never formed.

    Attributes:
        gram: (d, d) XᵀX.
        sums: (c, d) YᵀX.
        counts: (c,) Yᵀ1.
    """

    gram: Array
    sums: Array
    counts: Array

    @classmethod
    def of(cls, features: Array, positions: IntArray, classes: int) -> Self:
        """Return the statistics of (n, d) features whose class is given by (n,) positions below `classes`.

        Rows are widened to float64 in chunks, so memory stays at one chunk beside the result.
        """
        width = features.shape[1]
        gram, sums = np.zeros((width, width)), np.zeros((classes, width))
        for start in range(0, len(features), CHUNK_ROWS):
            part = features[start : start + CHUNK_ROWS].astype(np.float64)
            gram += part.T @ part
        counts = np.bincount(positions, minlength=classes)
        ends = np.cumsum(counts)
        order = np.argsort(positions, kind="stable")
        for position, (end, count) in enumerate(zip(ends, counts, strict=True)):
            sums[position] = features[order[end - count : end]].sum(axis=0, dtype=np.float64)
        return cls(gram, sums, counts.astype(np.float64))
