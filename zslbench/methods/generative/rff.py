"""RFF-GZSL: redundancy-free features (Han et al., CVPR 2020)."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from zslbench.methods.base import Ablation, Context, MethodCard, Preset, Size
from zslbench.methods.generative.fclswgan import NARROW, PUBLISHED, QUICK_ELSEWHERE, GenerativeMethod
from zslbench.methods.generative.loss_terms import FurtherNetwork, LossTerm
from zslbench.params import Between, other_default, param

if TYPE_CHECKING:
    from torch import Tensor

    from zslbench.methods.generative import AdversarialMethod
    from zslbench.methods.generative.latent import LatentCritic
    from zslbench.methods.generative.training import GanOptions, GanTraining, Networks, SeenRows
    from zslbench.methods.generative.wgan import CriticBatch
    from zslbench.task import Train


@dataclasses.dataclass(kw_only=True)
class CentredMethod(GenerativeMethod):
    """A method that maps rows to codes, whose means a loss pulls to the centre of their class and away from another."""

    centre_weight: float = param(0.1, low=0.0, high=100.0, log=True, help="weight of the centre loss; 0: none")
    margin: float = param(190.0, low=0.0, high=1e4, help="margin m of the centre loss")
    other_centre: str = param(
        "random",
        choices=("random", "nearest"),
        help="centre to keep away from: of a class drawn at random, or the nearest",
    )
    centre_gradients: str = param(
        "step", choices=("step", "never"), help="when gradients of the centres are set to 0; never: the public code"
    )

    def _make_centres(self, rows: SeenRows, ctx: Context) -> dict[str, FurtherNetwork]:
        """Return the (c, l) class centres, the weight of a layer that is never applied, unless their loss has none."""
        from zslbench.methods import nn

        if not self.centre_weight:
            return {}
        stream = nn.random_stream(ctx.stream_seed("centre init"))
        centres = nn.linear(self._code_size(rows), len(rows.semantics), stream, bias=False, std=1.0)
        return {"centres": FurtherNetwork(centres, self.lr, self.betas, ("critic",), self.centre_gradients)}

    @abc.abstractmethod
    def _code_size(self, rows: SeenRows) -> int:
        """Return l, the dimensions of a code."""

    def _code_draws(self, rows: SeenRows, ctx: Context, sets: int) -> dict[str, Any]:
        """Return how a term draws (sets, m, l) noise of codes and (m,) classes, as fields of `LossTerm`."""
        import torch

        from zslbench.methods.nn import random_stream

        device = rows.features.device
        codes, classes = (random_stream(ctx.stream_seed(name), device) for name in ("codes", "other centres"))
        shape = sets, min(self.batch, len(rows.features)), self._code_size(rows)

        def draw() -> tuple[Tensor, ...]:
            noise = torch.randn(*shape, generator=codes, device=device)
            return noise, torch.randint(len(rows.semantics), shape[1:2], generator=classes, device=device)

        return {"draw": draw, "streams": (codes, classes)}

    def _centre_loss(
        self, networks: Networks, means: Tensor, labels: Tensor, others: Tensor, share: float | None = None
    ) -> Tensor:
        """Return the centre loss of (m, l) means, with (m,) classes drawn at random; 0 if it has no weight."""
        from zslbench.methods.generative import latent

        if not self.centre_weight:
            return means.new_zeros(())
        centres = cast("Tensor", networks["centres"].weight)
        if self.other_centre == "nearest":
            others = latent.nearest_other_centres(means, labels, centres)
        return latent.centre_loss(means, labels, centres, others, margin=self.margin, share=share)


@dataclasses.dataclass(kw_only=True)
class RFF(CentredMethod):
    """A WGAN whose critic sees only a code of little information, in which classes keep apart (Han et al., 2020).

    The critic maps features to a Gaussian per row and reads a sample of it. The final classifier works on the means.
    """

    card = MethodCard(
        title="RFF-GZSL",
        summary="WGAN-GP whose critic reads a code of limited information; softmax on the means of the codes",
        citation="han2020rff",
        reference="Han, Fu & Yang, Learning the Redundancy-Free Features for Generalized Zero-Shot Object Recognition, "
        "CVPR 2020",
        formula="r = μ(x) + ε ∘ σ(x);  L_D = E D(r̃) − E D(r) + γ E(‖∇ₓD‖ − 1)² + δ (E D(r))² + β (KL(N(μ, σ²)‖N(0, I)) "
        "− i) + w E max(0, m + ‖μ − c_y‖² − ‖μ − c_o‖²);  L_G = −E D(μ(x̃)) − λ E log P(y|x̃);  "
        "β ← max(0, β + η (KL − i)) after each critic step",
        differences=(
            "Facts about this method are those of a copy of the authors' code for CUB; the paper's text was not at "
            "hand.",
            "The class centres start from N(0, 1), and the gradient penalty draws its own noise ε: choices made here.",
            "The gradients of the centres are set to zero before each step. The public code never does it, so that "
            "they add up over the whole training (a fault called F9 here): centre_gradients=never.",
            "The class to keep away from is drawn at random and may be the row's own, as in the public commands for "
            "CUB and SUN; those for AWA1 and FLO take the nearest other centre: other_centre=nearest.",
            "The learning rate does not fall; the public code multiplies it by 0.95 after each 100 epochs.",
            "The last epochs of GAN and final classifier count; the public code keeps those that are best on test "
            "images, and its numbers of epochs (208, and 851 for nearest neighbours) look as if they had been picked "
            "that way. Its classifier by five nearest neighbours is not part of this method.",
            "By default class vectors are scaled to length 1; rff@published uses them as they are "
            "(semantic_norm=none).",
        ),
    )
    presets = {
        "published": Preset(
            source="the command for CUB in a copy of the authors' code (taoting0722/RRF-GZSL), the only one that gives "
            "all values, with its softmax classifier and 208 epochs",
            values={
                **PUBLISHED,
                "latent": 1024,
                "batch": 512,
                "lr": 1e-4,
                "epochs": 208,
                "cls_weight": 0.2,
                "margin": 190.0,
                "centre_weight": 0.1,
                "other_centre": "random",
                "centre_gradients": "never",
                "information": 0.1,
                "pretrain_epochs": 50,
                "per_class": 400,
                "final_epochs": 25,
                "final_batch": 400,
            },
            cells={("cub", "gzsl"): {}},
        ),
        "quick": Preset(source=QUICK_ELSEWHERE, values={**NARROW, "latent": 256, "margin": 50.0, "epochs": 15}),
    }
    ablations = {
        "no_centres": Ablation({"centre_weight": 0.0}, "without the centre loss"),
        "no_information": Ablation({"multiplier_step": 0.0}, "without the limit on the information of the codes"),
        "summed_centres": Ablation({"centre_gradients": "never"}, "gradients of the centres add up (fault F9)"),
    }
    space = {
        "lr": Between(3e-5, 1e-3, log=True),
        "cls_weight": Between(0.01, 1.0, log=True, zero=True),
        "centre_weight": Between(0.01, 1.0, log=True, zero=True),
        "margin": Between(20.0, 300.0, log=True),
        "other_centre": ("random", "nearest"),
        "epochs": Between(10, 60, log=True),
    }
    check_params = {
        **GenerativeMethod.check_params,
        "latent": 64,
        "margin": 2.0,
        "centre_weight": 1.0,
        "final_epochs": 30,
    }

    hidden: int = other_default(4096, help="hidden units of the generator")
    latent: int = param(1024, low=1, high=16384, log=True, help="dimensions of the code")
    cls_weight: float = other_default(0.2)
    information: float = param(0.1, low=0.0, high=1e4, help="limit i of the mean information of a code, in nats")
    multiplier_step: float = param(
        1e-6, low=0.0, high=1.0, log=True, help="step η of the multiplier β of the limit; 0: no limit"
    )
    drift: float = param(1e-3, low=0.0, high=1.0, log=True, help="weight δ of the squared mean value of real rows")

    def terms(self, rows: SeenRows, noise: int, ctx: Context) -> list[LossTerm]:
        """Return the critic's loss and, unless its weight is 0, the classification loss."""
        import torch

        critic = LossTerm(
            "critic",
            1.0,
            self._critic_loss,
            held=(torch.zeros((), device=rows.features.device),),
            **self._code_draws(rows, ctx, sets=3),
            notes=("penalty", "information", "centres"),
            step="critic",
            adapt=self._adapt_multiplier,
        )
        return [critic, *super().terms(rows, noise, ctx)]

    def further_networks(self, rows: SeenRows, noise: int, ctx: Context) -> dict[str, FurtherNetwork]:
        """Return the class centres."""
        return self._make_centres(rows, ctx)

    def _code_size(self, rows: SeenRows) -> int:
        return self.latent

    def _critic_loss(
        self, networks: Networks, batch: CriticBatch, multiplier: Tensor, noise: Tensor, others: Tensor
    ) -> tuple[Tensor, ...]:
        """Return L_D, the penalty, the information and the centre loss of a batch.

        Args:
            multiplier: β; noise: (3, m, l) noise of the codes; others: (m,) classes drawn at random.
        """
        critic = cast("LatentCritic", networks.critic)
        wasserstein, penalty, drift, information, means = critic.losses(batch, noise)
        away = self._centre_loss(networks, means, batch.labels, others)
        loss = wasserstein + self.gp * penalty + self.drift * drift + multiplier * (information - self.information)
        return loss + self.centre_weight * away, penalty, information, away

    def _adapt_multiplier(self, held: Sequence[Tensor], values: Sequence[Tensor]) -> None:
        """Move the multiplier in place after a critic step, by what its term returned."""
        held[0].add_(self.multiplier_step * (values[2] - self.information)).clamp_(min=0)

    def _make_critic(self, rows: SeenRows, ctx: Context) -> LatentCritic:
        from zslbench.methods.generative.latent import LatentCritic
        from zslbench.methods.nn import random_stream

        return LatentCritic(rows.features.shape[1], self.latent, random_stream(ctx.stream_seed("critic init")))

    def _begin(self, train: Train, ctx: Context, like: AdversarialMethod | None = None) -> GanTraining:
        training = super()._begin(train, ctx, like)
        self.further_["map"] = cast("LatentCritic", training.critic).map
        return training

    def _options(self) -> GanOptions:
        return dataclasses.replace(super()._options(), critic_weight=0.0)  # its terms are the critic's whole loss

    def _represent(self, rows: Tensor) -> Tensor:
        """Return the (…, l) means of the codes of (…, d) rows."""
        means: Tensor = self.further_["map"](rows)[0]
        return means

    def _operations(self, size: Size) -> float:
        rows = min(self.batch, size.images)
        return rows * (self.hidden * (size.features + size.semantics) + 2 * self.latent * size.features)
