"""`ClosedForm`: methods that solve equations, and share what the points of a grid have in common."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np

from zslbench.arrays import Array, IntArray
from zslbench.methods.base import Context, Method, Size
from zslbench.methods.closed_form.spectrum import ClassRidge
from zslbench.methods.fit_cache import Shared
from zslbench.methods.preprocess import Preprocessor
from zslbench.task import ClassTable, Train

BLOCK = 1 << 25
"""Features or scores that are worked on at a time: 256 MiB in float64."""


@dataclasses.dataclass(kw_only=True)
class ClosedForm(Method):
    """A method whose fit is `solve`.

    A single fit is a grid of one point: both do the same operations on the same numbers, and so give the same bits.
    """

    libraries = ("scipy.linalg",)

    def cost(self, size: Size) -> float:
        """Return the products of a Gram matrix of the features and of its factorization."""
        order = min(size.images, size.features)
        return float(size.images * size.features * order + order**3)

    def fit(self, train: Train, ctx: Context) -> Self:
        """Solve for this point alone."""
        self.solve(train, ctx, Shared([self], ctx))
        return self

    @classmethod
    def fit_grid(cls, points: Sequence[Self], train: Train, ctx: Context) -> Iterator[Self]:
        """Solve for all points; what several of them have in common is computed once."""
        shared = Shared(points, ctx)
        for point in points:
            point.solve(train, ctx, shared)
            yield point

    @abc.abstractmethod
    def solve(self, train: Train, ctx: Context, shared: Shared) -> None:
        """Set the fitted state, from arrays of this point's own: nothing that `shared` hands out may be kept."""

    def _keep(self, chain: Preprocessor) -> None:
        self.preprocessor_ = chain.copy()

    def scores(self, features: Array, classes: ClassTable) -> Array:
        """Return (n, k) float64 scores, a block of rows at a time: copies that scoring makes are those of a block.

        A block holds `BLOCK` features or scores, more than a query of any set in the catalogue has at 2,048 features,
        so that its products are those of one call.
        """
        out = np.empty((len(features), len(classes)))
        size = max(BLOCK // max(features.shape[1], len(classes)), 1)
        for start in range(0, len(features), size):
            rows = self.preprocessor_.transform(features[start : start + size])
            out[start : start + size] = self.compare(rows.astype(np.float64), classes)
        return out

    @abc.abstractmethod
    def compare(self, rows: Array, classes: ClassTable) -> Array:
        """Return (n, k) float64 scores of (n, d) float64 preprocessed rows for k classes."""


def feature_side(train: Train, preprocess: str) -> tuple[Preprocessor, ClassRidge]:
    """Return the fitted preprocessor and the factorization of the preprocessed training features."""
    chain, features, positions = preprocessed(train, preprocess)
    return chain, ClassRidge.of(features, positions, len(train.classes))


def preprocessed(train: Train, preprocess: str) -> tuple[Preprocessor, Array, IntArray]:
    """Return the preprocessor fitted to the training rows, these rows, and the position of each one's class."""
    chain = Preprocessor(preprocess)
    return chain, chain.fit_transform(train.features), train.classes.positions(train.labels)
