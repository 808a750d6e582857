"""Methods that keep all that they receive, and the walk that finds what an object leads to.

They stand in a small module: after each query, all globals of a method's modules are compared with what they were.
"""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import pickle
import traceback
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import spied
from toy_methods import card

from zslbench.arrays import Array
from zslbench.data.dataset import Dataset
from zslbench.methods.base import Context, Method, MethodCard, Setting
from zslbench.params import param
from zslbench.results.records.store import ResultStore
from zslbench.task import Answers, ClassTable, Query, Train

STREAMS = ("init", "batches", "noise", "classifier")


def walked(*start: object, globals_too: bool = True) -> Iterator[object]:
    """Yield all that attributes, items, closures, frames and types lead to, and what modules hold."""
    known: set[int] = set()
    alive: list[object] = []
    waiting: list[Any] = [*start]
    while waiting:
        value = waiting.pop()
        if id(value) in known or isinstance(value, str | bytes | int | float | complex | type(None) | types.CodeType):
            continue
        known.add(id(value))
        alive.append(value)  # or another would be given its address
        yield value
        if isinstance(value, np.ndarray):  # of which the collector of garbage knows nothing
            waiting.append(value.base)
        elif isinstance(value, types.FrameType):
            waiting += [dict(value.f_locals), value.f_globals, value.f_back]
        elif isinstance(value, types.GeneratorType):
            waiting += [value.gi_frame, value.gi_yieldfrom]
        elif globals_too:
            waiting += gc.get_referents(value)
        elif isinstance(value, types.FunctionType):
            waiting += [value.__closure__, value.__defaults__, value.__kwdefaults__]
        elif not isinstance(value, type | types.ModuleType):
            waiting += gc.get_referents(value)


@dataclasses.dataclass(kw_only=True)
class Spy(Method):
    """Keeps all that it receives; scores are noise of the features, so that selection has something to choose."""

    card: ClassVar[MethodCard] = card(title="Spy")
    epochs: int = param(3, low=1, high=9)
    shift: float = param(1.0, low=0.0, high=9.0)
    fits: ClassVar[list[Train]] = []
    received: ClassVar[list[str]] = []
    answered: ClassVar[list[object]] = []

    def fit(self, train: Train, ctx: Context) -> Self:
        self.epoch_ = 0
        self.trained_ = train
        for epoch in range(1, self.epochs + 1):
            self.epoch_ = epoch
            type(self).received.append(fingerprint((train, [ctx.rng(name).random(5) for name in STREAMS], vars(self))))
            type(self).answered.append(ctx.log(self.epoch_, self.epochs, loss=0.0))
            type(self).answered.append(ctx.checkpoint(self, self.epoch_))
        type(self).received.append(fingerprint((ctx.seed, ctx.device, ctx.precision, sorted(vars(ctx)))))
        for value in walked(ctx, globals_too=False):
            assert not isinstance(value, Answers | Query | Dataset | ResultStore | Path), f"ctx leads to {value!r}"
            assert not isinstance(value, np.ndarray), "ctx leads to an array"
        type(self).fits.append(train)
        return self

    def scores(self, features: Array, classes: ClassTable) -> Array:
        spied.NOWHERE.asked.append((features, classes))
        return np.sin(
            features[:, 1:] @ np.ones((features.shape[1] - 1, 1)) + self.epoch_ * self.shift + classes.semantics[:, 0]
        )


@dataclasses.dataclass(kw_only=True)
class TransductiveSpy(Spy):
    """The same, declared to use the unlabelled rows that it is asked about."""

    card: ClassVar[MethodCard] = card(title="Transductive spy", setting=Setting.TRANSDUCTIVE)


@dataclasses.dataclass(kw_only=True)
class SemanticSpy(Spy):
    """The same, declared to use the semantics of unseen classes in fit, if `shift` is not 0; points of a grid share."""

    card: ClassVar[MethodCard] = card(title="Semantic spy", setting=Setting.SEMANTIC)

    @property
    def setting(self) -> Setting:
        return Setting.SEMANTIC if self.shift else Setting.INDUCTIVE

    @classmethod
    def fit_grid(cls, points: Sequence[Self], train: Train, ctx: Context) -> Iterator[Self]:
        yield from (point.fit(train, ctx) for point in points)


@dataclasses.dataclass(kw_only=True)
class ToldSpy(SemanticSpy):
    """The same, declared to learn from unlabelled rows of unseen classes if `shift` is not 0, and from shares if 2."""

    card: ClassVar[MethodCard] = card(title="Told spy", setting=Setting.TRANSDUCTIVE)
    fits: ClassVar[list[Train]] = []

    @property
    def setting(self) -> Setting:
        return Setting.TRANSDUCTIVE

    @property
    def told(self) -> tuple[str, ...]:
        return ("unseen", "unlabelled", "class_prior")[: 1 + int(self.shift)]


@dataclasses.dataclass(kw_only=True)
class PryingSpy(ToldSpy):
    """Says after the plan that it is told more, and looks for labels in all frames that it is asked from."""

    fits: ClassVar[list[Train]] = []
    pried: ClassVar[list[object]] = []

    @property
    def told(self) -> tuple[str, ...]:
        frames = [frame for frame, _ in traceback.walk_stack(None)]
        held = [value for frame in frames for value in frame.f_locals.values()]
        self.pried.extend(value for value in held if isinstance(value, Answers | Dataset))
        planned = any(frame.f_code.co_name == "plan" for frame in frames)
        return ("unseen", "unlabelled", "class_prior")[: 2 if planned else 3]


def fingerprint(content: object) -> str:
    """Return a digest of all content; no array may be part of a larger one, which would hold more."""
    assert all(value.base is None for value in walked(content, globals_too=False) if isinstance(value, np.ndarray))
    return hashlib.sha256(pickle.dumps(content)).hexdigest()
