"""A method that trains for hours of a clock which the tests move."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar, Self

import numpy as np
from spied import NOWHERE
from toy_methods import card

from zslbench.arrays import Array
from zslbench.methods.base import Context, Method, MethodCard, Preset, Size
from zslbench.params import param
from zslbench.step_reports import report_progress
from zslbench.task import ClassTable, Train

NOWHERE.clock, NOWHERE.taken, NOWHERE.rows = 0.0, {}, []
"""The time in seconds, steps by phase, and what was fitted on and scored."""


def clock() -> float:
    return float(NOWHERE.clock)


@dataclasses.dataclass(kw_only=True)
class Slow(Method):
    """Prepares in `prepared` steps of 1 s, trains in `steps` of 2 s, and scores after 40 steps of 0.5 s."""

    card: ClassVar[MethodCard] = card(title="Slow")
    presets: ClassVar[Mapping[str, Preset]] = {"quick": Preset("tests", {"steps": 60, "prepared": 0})}
    slow_from: ClassVar[float | None] = 50.0
    steps: int = param(1000, low=1, high=100_000, help="steps of training")
    prepared: int = param(50, low=0, high=1000, help="steps of preparation")
    deaf: bool = param(False, help="whether to go on when enough was measured")

    def cost(self, size: Size) -> float:
        return float(self.steps)

    def fit(self, train: Train, ctx: Context) -> Self:
        NOWHERE.rows.append(train.features)
        self._take("prepare", self.prepared, 1.0)
        self._take("training", self.steps, 2.0 if ctx.precision == "float32" else 0.5)
        self.precision_ = ctx.precision
        return self

    def scores(self, features: Array, classes: ClassTable) -> Array:
        NOWHERE.rows.append(features)
        self._take("final classifier", 40, 0.5)
        return np.zeros((len(features), len(classes)), dtype=np.float32) + features[:, :1]

    def _take(self, phase: str, steps: int, seconds: float) -> None:
        for step in range(1, steps + 1):
            NOWHERE.clock += seconds
            NOWHERE.taken[phase] = NOWHERE.taken.get(phase, 0) + 1
            if report_progress(phase, step, steps) and not self.deaf:
                break
