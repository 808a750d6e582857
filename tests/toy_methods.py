"""Small methods that tests name as ``toy_methods:Class``."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import spied

from zslbench.arrays import Array
from zslbench.methods.base import Ablation, Context, Method, MethodCard, Preset, Setting
from zslbench.params import param
from zslbench.task import ClassTable, Train


def card(**changes: object) -> MethodCard:
    plain = MethodCard(
        title="Toy",
        summary="a toy",
        citation="toy",
        reference="tests",
        version=1,
        setting=Setting.INDUCTIVE,
        stochastic=True,
    )
    return dataclasses.replace(plain, **changes)


@dataclasses.dataclass(kw_only=True)
class Ridge(Method):
    """Features → semantics by ridge regression; counts its fits, and calls a hook before each."""

    card: ClassVar[MethodCard] = card()
    presets: ClassVar[Mapping[str, Preset]] = {
        "both": Preset("tests", {"ridge": 2.0}),
        "cells": Preset("tests", cells={("digits", "zsl"): {"ridge": 3.0}, ("digits", "gzsl"): {"ridge": 4.0}}),
        "elsewhere": Preset("tests", cells={("cub", "zsl"): {"ridge": 5.0}}),
    }
    ablations: ClassVar[Mapping[str, Ablation]] = {"weak": Ablation({"ridge": 100.0}, "strong ridge")}
    ridge: float = param(1.0, low=0.0, high=1e6, log=True, help="ridge")
    epochs: int = param(4, low=1, high=100)
    fits: ClassVar[list[int]] = []
    hook: ClassVar[Callable[[Ridge], None] | None] = None

    def fit(self, train: Train, ctx: Context) -> Self:
        type(self).fits.append(ctx.seed)
        if type(self).hook is not None:
            type(self).hook(self)
        targets = train.classes.semantics[train.classes.positions(train.labels)]
        gram = train.features.T @ train.features + self.ridge * np.eye(train.features.shape[1])
        self.weights_ = np.linalg.solve(gram, train.features.T @ targets)
        for epoch in range(1, self.epochs + 1):
            ctx.log(epoch, self.epochs, loss=1 / epoch)
            ctx.checkpoint(self, epoch)
        return self

    def scores(self, features: Array, classes: ClassTable) -> Array:
        return -(((features @ self.weights_)[:, None] - classes.semantics[None]) ** 2).sum(axis=2)


@dataclasses.dataclass(kw_only=True)
class Grid(Ridge):
    """Fits a grid at once and notes what was in it; one value it cannot bear."""

    shared: ClassVar[list[list[float]]] = []

    def fit(self, train: Train, ctx: Context) -> Self:
        if self.ridge == 13:
            raise RuntimeError("unlucky")
        return super().fit(train, ctx)

    @classmethod
    def fit_grid(cls, points: Sequence[Self], train: Train, ctx: Context) -> Iterator[Self]:
        cls.shared.append([point.ridge for point in points])
        yield from super().fit_grid(points, train, ctx)


@dataclasses.dataclass(kw_only=True)
class Guess(Ridge):
    """Answers with the first candidate, whatever it is asked."""

    def scores(self, features: Array, classes: ClassTable) -> Array:
        return np.tile(-np.arange(len(classes), dtype=float), (len(features), 1))


@dataclasses.dataclass(kw_only=True)
class Closed(Ridge):
    """The same, declared not to depend on the seed."""

    card: ClassVar[MethodCard] = card(title="Closed", stochastic=False)


@dataclasses.dataclass(kw_only=True)
class Broken(Ridge):
    """Raises in fit."""

    def fit(self, train: Train, ctx: Context) -> Self:
        raise RuntimeError("no convergence")


@dataclasses.dataclass(kw_only=True)
class HalfBroken(Ridge):
    """Raises in scores when there are more candidates than three; returns NaN for one row otherwise when asked."""

    def scores(self, features: Array, classes: ClassTable) -> Array:
        scores = super().scores(features, classes)
        if len(classes) > 3:
            scores[0, 0] = np.nan
        return scores


@dataclasses.dataclass(kw_only=True)
class Spy(Ridge):
    """Keeps all that it receives, in `spied.NOWHERE.asked`."""

    def fit(self, train: Train, ctx: Context) -> Self:
        spied.NOWHERE.asked.append(("fit", train))
        return super().fit(train, ctx)

    def scores(self, features: Array, classes: ClassTable) -> Array:
        spied.NOWHERE.asked.append(("scores", (features, classes)))
        return super().scores(features, classes)


@dataclasses.dataclass(kw_only=True)
class Quitter(Ridge):
    """Calls exit."""

    def fit(self, train: Train, ctx: Context) -> Self:
        raise SystemExit(3)


class Panic(BaseException):
    """What a library in Rust raises where it panics."""


@dataclasses.dataclass(kw_only=True)
class Panicking(Ridge):
    """Raises what is no Exception."""

    def fit(self, train: Train, ctx: Context) -> Self:
        raise Panic("called `unwrap` on `None`")


class Unsaid(Exception):
    """Cannot be written."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


@dataclasses.dataclass(kw_only=True)
class Unspeakable(Ridge):
    """Raises an error without a text."""

    def fit(self, train: Train, ctx: Context) -> Self:
        raise Unsaid


@dataclasses.dataclass(kw_only=True)
class Cardless(Method):
    """Scores nothing."""

    def fit(self, train: Train, ctx: Context) -> Self:
        return self

    def scores(self, features: Array, classes: ClassTable) -> Array:
        return np.zeros((len(features), len(classes)))


@dataclasses.dataclass(kw_only=True)
class Abstract(Cardless):
    """Has no scores."""

    card: ClassVar[MethodCard] = card()
    scores = Method.scores


@dataclasses.dataclass(kw_only=True)
class Odd(Ridge):
    """Declares a parameter of a kind that the grammar does not have."""

    when: list[int] = param(None)  # noqa: RUF009


@dataclasses.dataclass(kw_only=True)
class Moody(Ridge):
    """Raises in its constructor."""

    def __post_init__(self) -> None:
        raise RuntimeError("I do not like digits")


@dataclasses.dataclass(kw_only=True)
class UntilTold(Ridge):
    """Trains until a file appears, named by an environment variable."""

    def fit(self, train: Train, ctx: Context) -> Self:
        ctx.log(1, 2, loss=0.5)
        while not Path(os.environ["ZSLBENCH_TEST_STOP"]).exists():
            time.sleep(0.02)
        return super().fit(train, ctx)
