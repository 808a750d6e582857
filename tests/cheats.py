"""Methods that try to learn of the test: ``cheats:Class``. Each calls itself inductive."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import functools
import hashlib
import os
import queue
import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

import fault_methods
import numpy as np
from spies import walked
from toy_methods import Ridge, card

from zslbench.arrays import Array
from zslbench.methods.base import Context, MethodCard, Setting
from zslbench.params import param
from zslbench.task import ClassTable, Train

SECRETS = "ZSLBENCH_TEST_SECRETS"
"""Digests of what nothing may lead to, ``name=digest`` each, and the file that finds are noted in."""
NOTES = "ZSLBENCH_TEST_NOTES"
KEPT: list[Array] = []


def digest_of(values: Any) -> str:
    """Return a digest of integers whatever their type and order."""
    return hashlib.sha256(np.sort(np.asarray(values).astype(np.int64).ravel()).tobytes()).hexdigest()


def is_integers(value: object) -> bool:
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "iu" and value.size > 1
    if not isinstance(value, list | tuple) or len(value) < 2:
        return False
    return all(type(item) is int and 0 <= item < 2**31 for item in value)


def look(where: str, *start: object) -> None:
    """Walk from what a method was handed, and from the stack of calls; note what of the secrets is found."""
    secrets = dict(pair.split("=") for pair in os.environ[SECRETS].split(","))
    count, leaks = 0, []
    for value in walked(*start, sys._getframe(1), sys.modules):
        count += 1
        if is_integers(value):
            content = digest_of(value)
            leaks += [f"{name} {type(value).__name__}" for name, secret in secrets.items() if secret == content]
        elif where != "scores" and isinstance(value, np.ndarray) and value.ndim == 2 and value.dtype.kind == "f":
            leaks += ["test rows"] if value.size and (value[:, 0] > 1000).any() else []  # see `write_world`
    with Path(os.environ[NOTES]).open("a") as file:
        file.write(f"{where} {count} {leaks}\n")


@dataclasses.dataclass(kw_only=True)
class Walker(Ridge):
    """Looks for the answers in fit, after a checkpoint, while it is asked, and in an error that it provokes."""

    card: ClassVar[MethodCard] = card(title="Walker")

    def fit(self, train: Train, ctx: Context) -> Self:
        super().fit(train, Context(ctx.seed))
        look("fit", ctx, train)
        ctx.checkpoint(self, 1)
        look("after a checkpoint", ctx, train)
        try:
            ctx.checkpoint(Broken().fit(train, Context(0)), 1)
        except ValueError as error:
            look("after a fault at a checkpoint", error)
        return self

    def scores(self, features: Array, classes: ClassTable) -> Array:
        if len(features) > 100:
            look("scores", classes)
        return super().scores(features, classes)


@dataclasses.dataclass(kw_only=True)
class Broken(Ridge):
    """Returns a row short."""

    def scores(self, features: Array, classes: ClassTable) -> Array:
        return super().scores(features, classes)[1:]


@dataclasses.dataclass(kw_only=True)
class Guesser(Ridge):
    """Works out the order of a mixed query from the seed and what every record says, as was possible once."""

    def fit(self, train: Train, ctx: Context) -> Self:
        self.ctx_, self.seen_ = ctx, train.classes.ids
        return super().fit(train, Context(ctx.seed))

    def scores(self, features: Array, classes: ClassTable) -> Array:
        scores = super().scores(features, classes)
        fingerprint, seen, unseen = os.environ["ZSLBENCH_TEST_PUBLIC"].split()
        if len(features) != int(seen) + int(unseen):
            return scores
        of_unseen = np.arange(len(features)) >= int(seen)
        rng = self.ctx_.rng(f"query rows {fingerprint}")
        of_seen_class = np.isin(classes.ids, self.seen_)
        scores[np.ix_(rng.permutation(of_unseen), of_seen_class)] -= 1e6
        return scores


@dataclasses.dataclass(kw_only=True)
class Stasher(Ridge):
    """Keeps at a checkpoint the rows that it is asked about, where its training would find them again."""

    def fit(self, train: Train, ctx: Context) -> Self:
        super().fit(train, Context(ctx.seed))
        self.prepare()
        with contextlib.suppress(Exception):  # and goes on whatever is said
            ctx.checkpoint(self, 1)
        return self

    def prepare(self) -> None:
        pass

    def scores(self, features: Array, classes: ClassTable) -> Array:
        self.stash(features)
        return super().scores(features, classes)

    def stash(self, features: Array) -> None:
        self.pool_ = features


def _closure() -> Callable[[Array], None]:
    hidden: list[Array] = []
    return lambda rows: hidden.append(rows)


def _network(batch_norm: bool) -> Any:
    import torch

    return torch.nn.Sequential(torch.nn.BatchNorm1d(64) if batch_norm else torch.nn.Linear(64, 1))


def _nudge(network: Any, rows: Array) -> None:
    import torch

    with torch.no_grad():
        network[0].weight[0, 0] += float(rows.mean())


def _normalise(network: Any, rows: Array) -> None:
    import torch

    network(torch.tensor(rows))


POOLS: dict[str, tuple[Callable[[], Any], Callable[[Any, Array], object]]] = {
    "list": (list, lambda pool, rows: pool.append(rows)),
    "dict": (lambda: {"nested": ({},)}, lambda pool, rows: pool["nested"][0].update({len(rows): rows.mean(axis=0)})),
    "array": (lambda: np.zeros(3), lambda pool, rows: pool.put(1, rows[0, 20])),
    # in the last of 10 MB, in Fortran's order
    "large": (lambda: np.zeros((1000, 1280), order="F"), lambda pool, rows: pool.put(-1, rows[0, 20] + 1)),
    "closure": (_closure, lambda pool, rows: pool(rows)),
    "network": (lambda: _network(batch_norm=False), _nudge),
    "norm": (lambda: _network(batch_norm=True), _normalise),  # left in training mode: an accident
}


@dataclasses.dataclass(kw_only=True)
class InAPool(Stasher):
    """Keeps them in a container, of which no attribute is set anew."""

    pool: str = param("list", choices=tuple(POOLS))

    def prepare(self) -> None:
        self.pool_ = POOLS[self.pool][0]()

    def stash(self, features: Array) -> None:
        POOLS[self.pool][1](self.pool_, features)


class Counted(dict[str, int]):
    """Counts how often its content is looked at."""

    looks = 0

    def items(self) -> Any:
        type(self).looks += 1
        return super().items()


@dataclasses.dataclass(kw_only=True)
class Honest(Ridge):
    """Keeps what is counted and changes nothing."""

    def fit(self, train: Train, ctx: Context) -> Self:
        super().fit(train, Context(ctx.seed))
        self.kept_ = Counted(a=1)
        ctx.checkpoint(self, 1)
        return self


class Pocket:
    """An object that shows `pickle` nothing."""

    def __init__(self) -> None:
        self.content: list[Array] = []

    def __getstate__(self) -> dict[str, object]:
        return {}


@dataclasses.dataclass(kw_only=True)
class InAPocket(Stasher):
    def prepare(self) -> None:
        self.pocket_ = Pocket()

    def stash(self, features: Array) -> None:
        self.pocket_.content.append(features)

    def __getstate__(self) -> dict[str, object]:
        return {}


@dataclasses.dataclass(kw_only=True)
class InTheClass(Stasher):
    pool: ClassVar[dict[str, Array]] = {}

    def stash(self, features: Array) -> None:
        type(self).pool["kept"] = features


@dataclasses.dataclass(kw_only=True)
class InADefault(Stasher):
    def stash(self, features: Array, pool: list[Array] = []) -> None:  # noqa: B006
        pool.append(features)


@functools.lru_cache(maxsize=2)
def _bounded(name: str) -> list[Array]:
    return []


@functools.cache
def _unbounded(name: str) -> list[Array]:
    return []


@dataclasses.dataclass(kw_only=True)
class InACacheOfItsOwn(Stasher):
    """A cache that belongs to the method, which belongs to the cache."""

    def prepare(self) -> None:
        self.cached_ = functools.lru_cache(self.part)

    def part(self, row: int) -> tuple[object, int]:
        return self, row

    def stash(self, features: Array) -> None:
        self.cached_(int(features.sum()))


LOCAL = threading.local()
VARIABLE: contextvars.ContextVar[Array | None] = contextvars.ContextVar("VARIABLE", default=None)
SPACE = types.SimpleNamespace()
QUEUE: queue.Queue[Array] = queue.Queue()


def _keeping() -> Iterator[Array | None]:
    kept = None
    while True:
        kept = yield kept  # type: ignore[misc]


GENERATOR: Any = _keeping()
next(GENERATOR)


PLACES: dict[str, Callable[[Array], object]] = {
    "KEPT": lambda rows: KEPT.append(rows),
    "fault_methods": lambda rows: fault_methods.KEPT.append(rows),
    "_bounded": lambda rows: _bounded("kept").append(rows),
    "_unbounded": lambda rows: _unbounded("kept").append(rows),
    "LOCAL": lambda rows: setattr(LOCAL, "kept", rows),
    "VARIABLE": lambda rows: VARIABLE.set(rows),
    "SPACE": lambda rows: setattr(SPACE, "kept", rows),
    "QUEUE": lambda rows: QUEUE.put(rows),
    "GENERATOR": lambda rows: GENERATOR.send(rows),
}


@dataclasses.dataclass(kw_only=True)
class InAGlobal(Stasher):
    """Keeps them in what modules of its project hold."""

    place: str = param("KEPT", choices=tuple(PLACES))

    def prepare(self) -> None:
        _bounded("kept"), _unbounded("kept")

    def stash(self, features: Array) -> None:
        PLACES[self.place](features)


@dataclasses.dataclass(kw_only=True)
class Looker(Ridge):
    """Looks up what training put into caches, in another order, and imports what it needs when it is first asked."""

    def fit(self, train: Train, ctx: Context) -> Self:
        self.cached_ = functools.lru_cache(self.power)
        for number in (0, 1):
            self.cached_(number), _bounded(str(number))
        return super().fit(train, ctx)

    def power(self, number: int) -> tuple[object, int]:
        return self, 10**number

    def scores(self, features: Array, classes: ClassTable) -> Array:
        import first_asked

        _bounded("0")
        return super().scores(features, classes) * self.cached_(0)[1] * first_asked.ONE[0]


STASHERS = {
    "Stasher": "the attribute pool_",
    **{f"InAPool[pool={pool}]": "the attribute pool_" for pool in POOLS},
    "InAPocket": "the attribute pocket_",
    "InTheClass": "the attribute pool of InTheClass",
    "InADefault": "the attribute stash of InADefault",
    "InACacheOfItsOwn": "the attribute cached_",
    **{f"InAGlobal[place={place}]": f"the global {place} of cheats" for place in PLACES},
    "InAGlobal[place=fault_methods]": "the global KEPT of fault_methods",
}


@dataclasses.dataclass(kw_only=True)
class Scaler(Ridge):
    """Scales what it is asked about by that batch's own mean and deviation."""

    def scores(self, features: Array, classes: ClassTable) -> Array:
        scaled = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6)
        return super().scores(scaled, classes)


@dataclasses.dataclass(kw_only=True)
class OpenScaler(Scaler):
    """The same, and says so."""

    card: ClassVar[MethodCard] = card(title="Open scaler", setting=Setting.TRANSDUCTIVE)


@dataclasses.dataclass(kw_only=True)
class Whisperer(Ridge):
    """Lets the batch decide among candidates that it makes level but for what no tolerance would notice."""

    def scores(self, features: Array, classes: ClassTable) -> Array:
        level = super().scores(features, classes)
        level = (level >= np.median(level, axis=1, keepdims=True)).astype(np.float64)
        scaled = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6)
        return level + 1e-9 * super().scores(scaled, classes)


@dataclasses.dataclass(kw_only=True)
class Outlier(Scaler):
    """The same as `Scaler`, with one candidate so far off that nothing else is large beside it."""

    def scores(self, features: Array, classes: ClassTable) -> Array:
        scores = super().scores(features, classes)
        scores[:, 0] = -1e30
        return scores
