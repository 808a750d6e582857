"""`Subject`: a method on trial, with what several checks look at done once."""

from __future__ import annotations

import dataclasses
import pickle
import random
import sys
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from zslbench import params
from zslbench.arrays import Array
from zslbench.checks.easy import EasyTask, easy_task
from zslbench.contract import require
from zslbench.methods.base import Context, Judge, Method

SEED = 3
_CLOSE = 1e-4


class _Ear(Context):
    """A context that notes which streams are opened."""

    def __init__(self, seed: int = SEED, judge: Judge | None = None) -> None:
        super().__init__(seed, judge=judge)
        self.opened: list[str] = []

    def rng(self, purpose: str) -> np.random.Generator:
        self.opened.append(purpose)
        return super().rng(purpose)

    def stream_seed(self, purpose: str) -> int:
        self.opened.append(purpose)
        return super().stream_seed(purpose)


@dataclasses.dataclass(eq=False)
class Subject:
    """A method class with the parameters to try it with; what several checks look at is done once."""

    cls: type[Method]
    values: dict[str, Any]
    opened: list[str] = dataclasses.field(default_factory=list)
    """Purposes of the random streams that the first fit opened."""

    def new(self) -> Method:
        """Return an unfitted instance."""
        return self.cls(**self.values)

    def fit(self, task: EasyTask, ctx: Context | None = None) -> Method:
        """Return a fresh instance fitted to a task."""
        method = self.new()
        method.fit(task.train, ctx or Context(SEED))
        return method

    @cached_property
    def task(self) -> EasyTask:
        """The easy task."""
        return easy_task()

    @cached_property
    def fitted(self) -> Method:
        """An instance fitted to the easy task; checks may call its `scores`, no more."""
        ear = _Ear()
        method = self.new()
        before = params.values(method)
        require(method.fit(self.task.train, ear) is method, "fit returns something else than self.")
        after = params.values(method)
        require(before == after, f"fit changes the parameters from {before} to {after}.")
        self.opened = ear.opened
        return method

    @cached_property
    def scored(self) -> Array:
        """(n, k) scores of `fitted` over all candidates."""
        return np.array(self.fitted.scores(self.task.features, self.task.candidates))

    @cached_property
    def again(self) -> tuple[Array, list[str]]:
        """Scores of a second fit with the same seed, global generators standing elsewhere, and those it touched."""
        assert self.scored is not None  # whatever fit imports is imported by now, torch for one
        with _Scrambled():
            before = _global_state()
            scores = np.array(self.fit(self.task).scores(self.task.features, self.task.candidates))
            after = _global_state()
        return scores, [name for name, state in before.items() if after[name] != state]

    @cached_property
    def fresh(self) -> Method:
        """Another instance fitted to the easy task, for checks that what they call leaves it as it is."""
        return self.fit(self.task)

    def close(self, found: Array, wanted: Array) -> bool:
        """Whether two arrays of scores agree up to rounding."""
        return bool(np.allclose(found, wanted, rtol=_CLOSE, atol=_CLOSE * float(np.abs(wanted).max())))

    @property
    def grid_points(self) -> list[dict[str, Any]]:
        """Return points that differ from the subject's in one parameter each, and the subject's first and last.

        Where points that only score differently share a fit, one point differs in all of these parameters, and one in
        another parameter: few fits, each of them long.
        """
        scoring, own = self.cls.scoring, dict(self.values)
        others = {name: self._others(one) for name, one in params.declared(self.cls).items()}
        if not scoring:
            return [own, *(own | {name: other} for name, found in others.items() for other in found), own]
        fitted = next(name for name in ("lr", *others) if others.get(name) and name not in scoring)
        rescored = {name: others[name][0] for name in scoring if others[name]}
        return [own, own | rescored, own | {fitted: others[fitted][0]}, own]

    def _others(self, one: params.Param) -> list[Any]:
        """Return other values of one parameter."""
        value = self.values.get(one.name, one.default)
        if one.choices:
            found: list[Any] = list(one.choices)
        elif one.kind is bool:
            found = [not value]
        elif one.kind in (int, float):
            low, high = (one.low if one.low is not None else value), (one.high if one.high is not None else value)
            found = [one.kind(min(max(2 * value, low), high)), one.kind(min(max(value / 3, low), high))]
        else:
            found = ["standard", "none"] if one.name == "preprocess" else []
        return [other for other in found if other != value]


def _global_state() -> dict[str, object]:
    state: dict[str, object] = {
        "numpy.random": pickle.dumps(np.random.get_state(legacy=False)),  # noqa: NPY002 - the state that must not move
        "random": random.getstate(),
    }
    if torch := sys.modules.get("torch"):
        state["torch"] = torch.get_rng_state().numpy().tobytes()
    return state


class _Scrambled:
    """Within this block the global generators stand elsewhere; afterwards they are as they were."""

    def __enter__(self) -> None:
        self._numpy, self._random = np.random.get_state(), random.getstate()  # noqa: NPY002
        self._restore_torch: Callable[[], None] | None = None
        np.random.seed(12345)  # noqa: NPY002
        random.seed(12345)
        if torch := sys.modules.get("torch"):
            kept = torch.get_rng_state()
            self._restore_torch = lambda: torch.set_rng_state(kept)
            torch.manual_seed(12345)

    def __exit__(self, *_: object) -> None:
        np.random.set_state(self._numpy)  # noqa: NPY002
        random.setstate(self._random)
        if self._restore_torch:
            self._restore_torch()
