"""FREE: an f-VAEGAN whose features are refined for the final classifier (Chen et al., ICCV 2021)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, cast

from zslbench.methods.base import Ablation, Context, MethodCard, Preset
from zslbench.methods.generative.fclswgan import NARROW, QUICK_ELSEWHERE
from zslbench.methods.generative.fvaegan import FVAEGAN, PUBLIC_CODE
from zslbench.methods.generative.loss_terms import FurtherNetwork, GeneratorBatch, LossTerm
from zslbench.methods.generative.rff import CentredMethod
from zslbench.params import Between, other_default, param

if TYPE_CHECKING:
    from torch import Tensor

    from zslbench.methods.generative.latent import LatentMap
    from zslbench.methods.generative.training import Networks, SeenRows
    from zslbench.methods.generative.wgan import CriticBatch

_NAMES = (
    *("epochs", "per_class", "margin", "share", "decoder_weight", "batch", "lr", "critic_steps"),
    *("encoded_noise", "gamma", "final_lr", "other_centre", "freeze_refiner"),
)
_COMMANDS: dict[str, tuple[Any, ...]] = {
    "awa1": (301, 4600, 50.0, 0.1, 1e-3, 64, 1e-5, 1, True, 10.0, 1e-3, "nearest", True),
    "awa2": (401, 4600, 50.0, 0.5, 1e-3, 64, 1e-5, 1, True, 10.0, 1e-3, "nearest", True),
    "cub": (501, 700, 200.0, 0.8, 1e-3, 64, 1e-4, 1, True, 10.0, 1e-3, "random", False),
    "flo": (501, 2400, 200.0, 0.8, 1e-3, 256, 1e-4, 5, False, 10.0, 1e-3, "random", False),
    "sun": (601, 300, 120.0, 0.8, 0.1, 512, 2e-4, 1, True, 1.0, 5e-4, "random", False),
}


@dataclasses.dataclass(kw_only=True)
class FREE(FVAEGAN, CentredMethod):
    """An f-VAEGAN and a refiner of features, which keeps classes apart and recovers the semantics (Chen et al., 2021).

    The refiner maps features to a Gaussian per row. The final classifier sees the refiner's layers as well.
    """

    card = MethodCard(
        title="FREE",
        summary="f-VAEGAN with a refiner of features trained by a centre loss; softmax on features and its layers",
        citation="chen2021free",
        reference="Chen et al., FREE: Feature Refinement for Generalized Zero-Shot Learning, ICCV 2021",
        formula="f-VAEGAN with h = R(x), z = μ(h) + ε ∘ σ(h), â = sigmoid(z):  L_R = ½ E max(0, m + s‖μ − c_y‖² "
        "− (1 − s)‖μ − c_o‖²) + w E Σ_j |e_j|³/‖e‖₂,  e = â − a, on real rows;  L_G + w E Σ_j |ẽ_j|³/‖ẽ‖₂ on fakes;  "
        "softmax on [x, h, μ]",
        differences=(
            "Facts about this method are those of the public code (shiming-chen/FREE); the paper's text was not at "
            "hand.",
            *FVAEGAN.card.differences[2:],
            "The public code defines a critic, a penalty, a classifier of seen classes and a limit of information on "
            "the refiner's codes, but no loss contains them; they are not part of this method.",
            "The class centres start from N(0, 1), and the classifier's third part are the means μ: choices made here.",
            "The gradients of the centres are set to zero before each step. The public code never does it, so that "
            "they add up over the whole training (a fault called F9 here): centre_gradients=never.",
            "With freeze_refiner=true the generator's steps do not update the refiner. The public commands for AWA1 "
            "and AWA2 give it no gradient there, but step its Adam all the same.",
            "The class to keep away from is drawn at random and may be the row's own, as in the public code for CUB, "
            "FLO and SUN; for AWA1 and AWA2 it is the nearest other centre: other_centre=nearest.",
            "As in the public code an epoch is two passes through the rows.",
        ),
    )
    presets = {
        "published": Preset(
            source="the commands of the public code (shiming-chen/FREE), without their seeds; that for SUN calls a "
            "missing file. The code evaluates GZSL alone and picks epochs on test images; here the last count",
            values={**PUBLIC_CODE, "centre_gradients": "never", "classifier_input": "full", "centre_weight": 0.5},
            cells={
                (name, "gzsl"): dict(zip(_NAMES, row, strict=True)) | {"final_batch": row[1]}
                for name, row in _COMMANDS.items()
            },
        ),
        "quick": Preset(source=QUICK_ELSEWHERE, values={**NARROW, "epochs": 15}),
    }
    space = {
        **{name: FVAEGAN.space[name] for name in ("lr", "gamma", "epochs", "per_class")},
        "margin": Between(20.0, 300.0, log=True),
        "share": Between(0.1, 0.9),
        "decoder_weight": Between(1e-3, 1.0, log=True, zero=True),
        "classifier_input": ("x", "x+h", "full"),
    }
    ablations = {
        "no_centres": Ablation({"centre_weight": 0.0}, "without the centre loss"),
        "no_semantics": Ablation({"decoder_weight": 0.0}, "without the semantics that the refiner recovers"),
        "features_only": Ablation({"classifier_input": "x"}, "the final classifier sees features alone"),
        "summed_centres": Ablation({"centre_gradients": "never"}, "gradients of the centres add up (fault F9)"),
    }
    scoring = (*FVAEGAN.scoring, "classifier_input")
    passes = 2
    check_params = {**FVAEGAN.check_params, "hidden": 32, "epochs": 4, "margin": 2.0}

    critic_steps: int = other_default(1)
    decoder_weight: float = param(
        1e-3, low=0.0, high=100.0, log=True, help="weight w of the error of the recovered semantics; 0: none"
    )
    centre_weight: float = other_default(0.5)
    share: float = param(0.8, low=0.0, high=1.0, help="share s of the distance to the row's own centre")
    freeze_refiner: bool = param(False, help="whether the refiner learns from real rows alone")
    classifier_input: str = param(
        "full",
        choices=("x", "x+h", "full"),
        help="what the final classifier sees: features, with the refiner's hidden layer, and with its means",
    )

    def further_networks(self, rows: SeenRows, noise: int, ctx: Context) -> dict[str, FurtherNetwork]:
        """Return encoder, refiner and class centres."""
        from zslbench.methods import nn
        from zslbench.methods.generative.latent import LatentMap

        stream = nn.random_stream(ctx.stream_seed("refiner init"))
        refiner = LatentMap(rows.features.shape[1], self._code_size(rows), stream, hidden=self.hidden)
        steps = ("critic",) if self.freeze_refiner else ("critic", "generator")
        networks = {**super().further_networks(rows, noise, ctx), **self._make_centres(rows, ctx)}
        return {**networks, "refiner": FurtherNetwork(refiner, self.lr, self.betas, steps)}

    def _code_size(self, rows: SeenRows) -> int:
        return rows.semantics.shape[1]

    def terms(self, rows: SeenRows, noise: int, ctx: Context) -> list[LossTerm]:
        """Return the terms of f-VAEGAN, the refiner's loss on real rows, and the error of the semantics of fakes."""
        drawn, notes = self._code_draws(rows, ctx, sets=1), ("centres", "semantics")
        terms = super().terms(rows, noise, ctx)
        if self.decoder_weight or self.centre_weight:
            terms.append(LossTerm("refiner", 1.0, self._refine_real, notes=notes, step="critic", **drawn))
        if self.decoder_weight:
            terms.append(LossTerm("recovered", self.decoder_weight, recover_semantics, sees_batch=True, **drawn))
        return terms

    def _refine_real(self, networks: Networks, batch: CriticBatch, noise: Tensor, others: Tensor) -> tuple[Tensor, ...]:
        """Return L_R of the real rows of a batch, the centre loss, and the error of the semantics."""
        means, deviations = networks["refiner"](batch.real)
        error = _semantic_error(means, deviations, noise, batch.semantics)
        away = self._centre_loss(networks, means, batch.labels, others, self.share)
        return self.decoder_weight * error + self.centre_weight * away, away, error

    def _represent(self, rows: Tensor) -> Tensor:
        """Return (…, e) features, with the refiner's layers as `classifier_input` says."""
        import torch

        if self.classifier_input == "x":
            return rows
        refiner = cast("LatentMap", self.further_["refiner"])
        hidden = refiner.hidden(rows)
        means = [refiner.gaussian(refiner.halves(hidden))[0]] if self.classifier_input == "full" else []
        return torch.cat([rows, hidden, *means], dim=-1)


def recover_semantics(networks: Networks, batch: GeneratorBatch, noise: Tensor, _others: Tensor) -> Tensor:
    """Return the weighted error of the semantics that the refiner recovers from (m, d) fakes; noise is (1, m, a)."""
    means, deviations = networks["refiner"](batch.fake)
    return _semantic_error(means, deviations, noise, batch.semantics)


def _semantic_error(means: Tensor, deviations: Tensor, noise: Tensor, semantics: Tensor) -> Tensor:
    from zslbench.methods.generative.regularisers import weighted_l1

    return weighted_l1((means + noise[0] * deviations).sigmoid(), semantics)
