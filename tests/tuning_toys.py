"""Methods that the tests of tuning search, quick and with a known best point."""

from __future__ import annotations

import dataclasses
import itertools
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Self

import numpy as np
from toy_methods import card

from zslbench.arrays import Array
from zslbench.methods.base import Ablation, Context, Method, MethodCard, Preset
from zslbench.params import Between, Dimension, param
from zslbench.task import ClassTable, Train

_FITS = itertools.count(1)


@dataclasses.dataclass(kw_only=True)
class Peak(Method):
    """Ridge regression to semantics, drowned in noise with the distance of (x, y) from (0.1, 3)."""

    card: ClassVar[MethodCard] = card(title="Peak")
    presets: ClassVar[Mapping[str, Preset]] = {"published": Preset("tests", {"x": 0.5})}
    ablations: ClassVar[Mapping[str, Ablation]] = {"flat": Ablation({"y": 0}, "without y")}
    space: ClassVar[Mapping[str, Dimension]] = {"x": Between(1e-3, 10.0, log=True, zero=True), "y": Between(1, 6)}
    x: float = param(1.0, low=0.0, high=100.0, log=True, help="x")
    y: int = param(2, low=0, high=50, help="y")
    unlucky: bool = param(False, help="whether to fail where y is 4")
    epochs: int = param(1, low=1, high=100, help="epochs")

    def fit(self, train: Train, ctx: Context) -> Self:
        if next(_FITS) == int(os.environ.get("ZSLBENCH_TEST_KILL_AT", 0)):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.unlucky and self.y == 4:
            raise RuntimeError("four is unlucky")
        targets = train.classes.semantics[train.classes.positions(train.labels)]
        gram = train.features.T @ train.features + 10 * np.eye(train.features.shape[1])
        weights = np.linalg.solve(gram, train.features.T @ targets)
        distance = abs(np.log10(max(self.x, 1e-6)) + 1) + abs(self.y - 3)
        noise = np.random.default_rng(0).standard_normal(weights.shape) * weights.std() / 4
        for epoch in range(1, self.epochs + 1):
            self.weights_ = (weights + noise * distance) / (1 + distance)
            ctx.checkpoint(self, epoch)
        return self

    def scores(self, features: Array, classes: ClassTable) -> Array:
        return -(((features @ self.weights_)[:, None] - classes.semantics[None]) ** 2).sum(axis=2)


@dataclasses.dataclass(kw_only=True)
class PeakGrid(Peak):
    """The same, fitted as a grid at once."""

    card: ClassVar[MethodCard] = card(title="Peak grid", stochastic=False)
    space: ClassVar[Mapping[str, Dimension]] = {"x": (0.0, 0.01, 0.1, 1.0), "y": (1, 2, 3, 4)}
    calls: ClassVar[list[int]] = []

    @classmethod
    def fit_grid(cls, points: Sequence[Self], train: Train, ctx: Context) -> Iterator[Self]:
        cls.calls.append(len(points))
        yield from super().fit_grid(points, train, ctx)


@dataclasses.dataclass(kw_only=True)
class Hopeless(Peak):
    """Fails everywhere."""

    def fit(self, train: Train, ctx: Context) -> Self:
        raise RuntimeError("there is no hope")


@dataclasses.dataclass(kw_only=True)
class Refusing(Peak):
    """Does not let itself be made where y is more than 2."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.y > 2:
            raise RuntimeError("y is too much")


@dataclasses.dataclass(kw_only=True)
class Undeclared(Peak):
    """Says nothing of what to search."""

    space: ClassVar[Mapping[str, Dimension]] = {}
    rule: str = param("a", choices=("a", "b"), help="rule")
    open_end: float = param(1.0, low=0.0, help="no upper end")
