"""TF-VAEGAN: an f-VAEGAN with a decoder of the semantics that feeds back to the generator (Narayan et al., 2020)."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from zslbench.methods.base import Ablation, Context, MethodCard, Preset
from zslbench.methods.generative.fclswgan import NARROW, QUICK_ELSEWHERE
from zslbench.methods.generative.fvaegan import (
    FVAEGAN,
    LINEAGE,
    PUBLIC_CODE,
    lineage_cells,
    vae_source,
)
from zslbench.methods.generative.loss_terms import FakeSource, FurtherNetwork, LossTerm
from zslbench.params import Between, param

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from zslbench.methods.generative.training import Networks, SeenRows

_COMMANDS = LINEAGE | {
    "decoder_weight": (0.1, 0.01, 0.01, 0.01),
    "feedback": (0.01, 1.0, 0.5, 0.1),
    "synthesis_feedback": (0.01, 1.0, 0.5, 0.01),
    "feedback_lr": (1e-4, 1e-5, 1e-5, 1e-4),
    "decoder_lr": (1e-4, 1e-4, 1e-4, 1e-4),
    "freeze_decoder": (True, False, False, False),
}


def fakes_with_feedback(
    networks: tuple[torch.nn.Module, torch.nn.Module, torch.nn.Module],
    weight: float,
    code: Tensor,
    semantics: Tensor,
    read: Tensor | None = None,
) -> Tensor:
    """Return G(z, a) with weight · F(h) added to its hidden layer, h the decoder's hidden layer for the first fakes.

    No gradient passes through h, so none reaches the decoder and the first fakes.

    Args:
        networks: the generator G, the decoder, and the network F.
        read: rows that the decoder reads instead of the first fakes.
    """
    import torch
    from torch.nn import functional

    from zslbench.methods.generative.wgan import SLOPE

    generator, decoder, feedback = networks
    with torch.no_grad():
        hidden = decoder(generator(code, semantics) if read is None else read)[1]
    made: Tensor = generator(code, semantics, weight * functional.leaky_relu(feedback(hidden), SLOPE))
    return made


def with_decoder_layers(decoder: torch.nn.Module, rows: Tensor, which: str) -> Tensor:
    """Return (…, d) rows (``x``), with a decoder's hidden layer for them (``x+h``), also with its output (``full``)."""
    import torch

    if which == "x":
        return rows
    decoded, hidden = decoder(rows)
    return torch.cat([rows, hidden] if which == "x+h" else [rows, decoded, hidden], dim=-1)


@dataclasses.dataclass(kw_only=True)
class TFVAEGAN(FVAEGAN):
    """An f-VAEGAN whose fakes a decoder maps back to the semantics; its hidden layer is fed back to the generator.

    The final classifier sees the decoder's layers as well (Narayan et al., 2020). This is the inductive method.
    """

    card = MethodCard(
        title="TF-VAEGAN",
        summary="f-VAEGAN with a semantic decoder and feedback from it; softmax on features and decoder layers",
        citation="narayan2020tfvaegan",
        reference="Narayan, Gupta, Khan, Snoek, Shao: Latent Embedding Feedback and Discriminative Features for "
        "Zero-Shot Classification, ECCV 2020",
        formula="f-VAEGAN with x̃ = G(z, a; h₁ + δ F(h)), h the hidden layer of Dec(G(z,a));  "
        "+ w E Σ_j |e_j|³ / ‖e‖₂,  e = Dec(x̃) − a;  softmax on [x, Dec(x), h]",
        differences=(
            *FVAEGAN.card.differences[2:],
            "As in the public code an epoch is two passes through the rows, the first without feedback; the network F "
            "of the feedback is not updated in the first.",
            "The decoder's output is scaled to length 1, as are the semantics by default. Its error weights each "
            "entry by its own square over the length of the row's error, and the gradient passes through the weight "
            "(public code). Where a row has no error at all, the public code's value is not a number; here it is 0.",
            "No gradient passes from the fed-back layer to the decoder and to the first fakes, as in the public code.",
            "In the public code without encoded noise, the feedback in the generator's step is computed from the "
            "reconstructions, not from the fakes (feedback_of=reconstructions, as tfvaegan@published has it).",
            "The decoder takes one step on the real rows of each critic step, before the critic, and one with each "
            "generator step, the latter not with freeze_decoder=true (public command for AWA2).",
        ),
    )
    presets = {
        "published": Preset(
            source="the commands of the public code (akshitac8/tfvaegan), without their seeds; it picks the epochs of "
            "generator and classifier on test images, here the last count",
            values={**PUBLIC_CODE, "feedback_of": "reconstructions", "classifier_input": "full"},
            cells=lineage_cells(_COMMANDS),
        ),
        "quick": Preset(
            source=QUICK_ELSEWHERE, values={**NARROW, "epochs": 8, "decoder_lr": 1e-3, "feedback_lr": 1e-4}
        ),
    }
    space = {
        **FVAEGAN.space,
        "decoder_weight": Between(1e-3, 1.0, log=True, zero=True),
        "feedback": Between(1e-2, 1.0, log=True, zero=True),
        "classifier_input": ("x", "x+h", "full"),
    }
    ablations = {
        "no_feedback": Ablation({"feedback": 0.0, "synthesis_feedback": 0.0}, "without feedback to the generator"),
        "features_only": Ablation({"classifier_input": "x"}, "the final classifier sees features alone"),
        "decoder_only": Ablation(
            {"feedback": 0.0, "synthesis_feedback": 0.0, "classifier_input": "x"},
            "f-VAEGAN with the decoder's loss: neither feedback nor its layers in the classifier",
        ),
        **FVAEGAN.ablations,
    }
    scoring = (*FVAEGAN.scoring, "classifier_input", "synthesis_feedback")
    passes = 2
    check_params = {**FVAEGAN.check_params, "hidden": 32, "epochs": 4, "decoder_lr": 1e-2}

    decoder_weight: float = param(
        0.01, low=0.0, high=100.0, log=True, help="weight of the decoder's error on real rows and on fakes; 0: none"
    )
    decoder_lr: float = param(1e-4, low=1e-6, high=1e-1, log=True, help="learning rate of the decoder")
    freeze_decoder: bool = param(False, help="whether the decoder learns from real rows alone")
    feedback: float = param(
        1.0, low=0.0, high=100.0, log=True, help="weight δ of the feedback while training; 0: no feedback network"
    )
    synthesis_feedback: float = param(1.0, low=0.0, high=100.0, log=True, help="weight of the feedback in synthesis")
    feedback_lr: float = param(1e-5, low=1e-6, high=1e-1, log=True, help="learning rate of the feedback network")
    feedback_of: str = param(
        "fakes",
        choices=("fakes", "reconstructions"),
        help="what the feedback of the generator's step is computed from; they differ with encoded_noise=false only",
    )
    classifier_input: str = param(
        "full",
        choices=("x", "x+h", "full"),
        help="what the final classifier sees: features, with the decoder's hidden layer, and with its output",
    )

    def further_networks(self, rows: SeenRows, noise: int, ctx: Context) -> dict[str, FurtherNetwork]:
        """Return encoder and decoder, and the network of the feedback if there is any."""
        from zslbench.methods import nn
        from zslbench.methods.generative.vae import AttributeDecoder, Perceptron
        from zslbench.methods.generative.wgan import SLOPE

        def layer(purpose: str) -> Callable[[int, int], torch.nn.Linear]:
            return functools.partial(nn.linear, stream=nn.random_stream(ctx.stream_seed(purpose)))

        sizes = rows.features.shape[1], self.hidden, rows.semantics.shape[1]
        decoder = AttributeDecoder(sizes, layer("decoder init"), SLOPE)
        steps = ("critic",) if self.freeze_decoder else ("critic", "generator")
        networks = super().further_networks(rows, noise, ctx)
        networks["decoder"] = FurtherNetwork(decoder, self.decoder_lr, self.betas, steps)
        if self.feedback:
            fed_back = Perceptron((self.hidden,) * 3, layer("feedback init"), SLOPE)
            networks["feedback"] = FurtherNetwork(fed_back, self.feedback_lr, self.betas)
        return networks

    def terms(self, rows: SeenRows, noise: int, ctx: Context) -> list[LossTerm]:
        """Return the terms of f-VAEGAN, and the decoder's error on real rows and on fakes if its weight is not 0."""
        from zslbench.methods.generative.regularisers import weighted_l1

        def error_of_fakes(networks: Networks, batch: Any) -> Tensor:
            return weighted_l1(networks["decoder"](batch.fake)[0], batch.semantics)

        def error_of_real(networks: Networks, batch: Any) -> Tensor:
            return weighted_l1(networks["decoder"](batch.real)[0], batch.semantics)

        terms = super().terms(rows, noise, ctx)
        if self.decoder_weight:
            terms.append(LossTerm("decoded", self.decoder_weight, error_of_fakes, sees_batch=True))
            terms.append(LossTerm("decoder", self.decoder_weight, error_of_real, step="critic"))
        return terms

    def _sources(self) -> Sequence[FakeSource]:
        latent, weight, of_fakes = self.generator_.noise, self.feedback, self.feedback_of == "fakes"

        def generate(networks: Networks, code: Tensor, semantics: Tensor, read: Tensor | None = None) -> Tensor:
            parts = networks.generator, networks["decoder"], networks["feedback"]
            return fakes_with_feedback(parts, weight, code, semantics, None if of_fakes else read)

        (without,) = super()._sources()
        # the decoder changes with each critic step, and what it feeds back too
        return (without, vae_source(latent, self.encoded_noise, generate, remade=True)) if weight else (without,)

    def _make_fakes(self, noise: Tensor, semantics: Tensor) -> Tensor:
        if not (self.feedback and self.synthesis_feedback):
            return super()._make_fakes(noise, semantics)
        networks = self.generator_, self.further_["decoder"], self.further_["feedback"]
        return fakes_with_feedback(networks, self.synthesis_feedback, noise, semantics)

    def _represent(self, rows: Tensor) -> Tensor:
        return with_decoder_layers(self.further_["decoder"], rows, self.classifier_input)
