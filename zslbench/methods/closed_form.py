"""`ClosedForm`: methods that solve equations, and share what the points of a grid have in common."""

from __future__ import annotations

import abc
import collections
import dataclasses
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, ClassVar, Self, TypeVar

import numpy as np

from zslbench import params
from zslbench.arrays import Array, IntArray
from zslbench.methods.base import Context, Cost, Method, Size
from zslbench.methods.preprocess import Preprocessor, preprocessor
from zslbench.methods.spectrum import ClassRidge
from zslbench.task import Train

T = TypeVar("T")
BLOCK = 1 << 25
"""Features or scores that are worked on at a time: 256 MiB in float64."""


def depends_on(*names: str) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Mark a function by the hyper-parameters that it takes by name, and that its result depends on."""

    def mark(make: Callable[..., T]) -> Callable[..., T]:
        make.dependencies = names  # type: ignore[attr-defined]
        return make

    return mark


class Shared:
    """What points of a grid have in common: each thing computed once, and dropped after the last point that needs it.

    Args:
        points: all that will ask, each once for a thing. None of them is kept.
        ctx: what they are fitted with; each is charged with what it takes over from an earlier one.
    """

    def __init__(self, points: Sequence[Method], ctx: Context) -> None:
        self._ctx = ctx
        self._values = [params.values(point) for point in points]
        self._ahead: dict[str, collections.Counter[Hashable]] = {}
        self._kept: dict[Hashable, tuple[Any, Cost]] = {}

    def once(self, point: Method, make: Callable[..., T], *given: Any) -> T:
        """Return ``make(*given, **parameters)`` with those of the point's parameters that `make` depends on.

        The first of the points that agree on them computes it. `given` must be the same for all of these. What comes
        back is shared: it is to be read, never to be kept or changed.
        """
        names: tuple[str, ...] = make.dependencies  # type: ignore[attr-defined]
        what = make.__qualname__
        if what not in self._ahead:
            self._ahead[what] = collections.Counter(tuple(values[name] for name in names) for values in self._values)
        values = tuple(getattr(point, name) for name in names)
        key = (what, values)
        result: T
        if key in self._kept:
            result, cost = self._kept[key]
            self._ctx.charge(cost)
        else:
            with self._ctx.measured() as cost:
                result = make(*given, **dict(zip(names, values, strict=True)))
        self._ahead[what][values] -= 1
        if self._ahead[what][values] > 0:
            self._kept[key] = result, cost
        else:
            self._kept.pop(key, None)
        return result


@dataclasses.dataclass(kw_only=True)
class ClosedForm(Method):
    """A method whose fit is `solve`.

    A single fit is a grid of one point: both do the same operations on the same numbers, and so give the same bits.
    """

    libraries: ClassVar[tuple[str, ...]] = ("scipy.linalg",)

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


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureSide:
    """What a ridge regression on features needs of the training images.

    Attributes:
        chain: the fitted preprocessor; a point takes a copy.
        ridge: the factorization of the preprocessed features.
    """

    chain: Preprocessor
    ridge: ClassRidge


def scores_by_blocks(score: Callable[[Array], Array], features: Array, classes: int) -> Array:
    """Return (n, classes) float64 scores of (n, d) features, a block of rows at a time.

    Copies that scoring makes are then those of a block. A block holds `BLOCK` features or scores, more than a query of
    any set in the catalogue has at 2,048 features, so that its products are those of one call.
    """
    rows = max(BLOCK // max(features.shape[1], classes), 1)
    if len(features) <= rows:
        return score(features)
    out = np.empty((len(features), classes))
    for start in range(0, len(features), rows):
        out[start : start + rows] = score(features[start : start + rows])
    return out


@depends_on("preprocess")
def feature_side(train: Train, preprocess: str) -> FeatureSide:
    """Preprocess and factorize the training features."""
    chain, features, positions = preprocessed(train, preprocess)
    return FeatureSide(chain, ClassRidge.of(features, positions, len(train.classes)))


def preprocessed(train: Train, preprocess: str) -> tuple[Preprocessor, Array, IntArray]:
    """Return the preprocessor fitted to the training rows, these rows, and the position of each one's class."""
    chain = preprocessor(preprocess)
    return chain, chain.fit_transform(train.features), train.classes.positions(train.labels)
