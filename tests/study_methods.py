"""Small methods whose results differ by seed, for the tests of ablations, reproductions and status."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar, Self

from toy_methods import Closed, Ridge, card

from zslbench.methods.base import Ablation, Context, MethodCard, Preset, Setting
from zslbench.params import param
from zslbench.task import Train


@dataclasses.dataclass(kw_only=True)
class Noisy(Ridge):
    """Ridge whose weights are disturbed by the seed; each ablation takes something from it."""

    card: ClassVar[MethodCard] = card(title="Noisy")
    presets: ClassVar[Mapping[str, Preset]] = {"loud": Preset("tests", {"noise": 0.5, "ridge": 3.0})}
    ablations: ClassVar[Mapping[str, Ablation]] = {
        "weak": Ablation({"ridge": 1e4}, "strong ridge"),
        "quiet": Ablation({"noise": 0.0}, "no noise"),
    }
    noise: float = param(0.2, low=0.0, high=10.0, help="size of the disturbance")

    def fit(self, train: Train, ctx: Context) -> Self:
        super().fit(train, ctx)
        drawn = ctx.rng("noise").standard_normal(self.weights_.shape)
        self.weights_ = self.weights_ + self.noise * drawn
        return self


@dataclasses.dataclass(kw_only=True)
class Stairs(Noisy):
    """The same, whose ablations build up to the method, which looks at test images without labels at last."""

    card: ClassVar[MethodCard] = card(title="Stairs", setting=Setting.TRANSDUCTIVE)
    ablations: ClassVar[Mapping[str, Ablation]] = {
        "A1": Ablation({"noise": 2.0, "look": False}, "noise"),
        "A2": Ablation({"look": False}, "A1 without noise"),
        "A3": Ablation({}, "all"),
    }
    ablations_build_up: ClassVar[bool] = True
    look: bool = param(True, help="whether it looks")

    @property
    def setting(self) -> Setting:
        return Setting.TRANSDUCTIVE if self.look else Setting.INDUCTIVE


@dataclasses.dataclass(kw_only=True)
class Still(Closed):
    """A method without chance that has an ablation."""

    ablations: ClassVar[Mapping[str, Ablation]] = {"weak": Ablation({"ridge": 1e4}, "strong ridge")}
