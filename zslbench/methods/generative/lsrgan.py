"""LsrGAN: leveraging seen and unseen semantic relationships (Vyas, Venkateswara & Panchanathan, ECCV 2020)."""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING

from zslbench.methods.base import Ablation, Context, MethodCard, Preset, Setting, Size
from zslbench.methods.generative.fclswgan import PUBLISHED, QUICK, QUICK_ELSEWHERE, GenerativeMethod
from zslbench.methods.generative.loss_terms import FurtherNetwork, GeneratorBatch, LossTerm
from zslbench.params import Between, param

if TYPE_CHECKING:
    from torch import Tensor

    from zslbench.methods.generative.training import Networks, SeenRows

_NAMES = ("cls_weight", "epochs", "per_class", "lr", "margin", "similarity_weight", "unseen_weight", "final_lr")
_RUNS = {
    ("awa1", "gzsl"): (0.001, 18, 1800, 1e-5, 0.15, 20.0, 0.1, 1e-3),
    ("cub", "gzsl"): (0.01, 40, 300, 1e-4, 0.1, 20.0, 0.03, 1e-3),
    ("sun", "gzsl"): (0.03, 20, 400, 2e-4, 0.1, 10.0, 0.01, 1e-3),
    ("awa1", "zsl"): (0.01, 30, 300, 1e-5, 0.15, 20.0, 0.1, 1e-3),
    ("cub", "zsl"): (0.01, 70, 300, 1e-4, 0.15, 0.15, 0.01, 1e-3),
    ("sun", "zsl"): (0.03, 35, 100, 2e-4, 0.1, 20.0, 0.01, 5e-4),
}
_CELLS = {cell: dict(zip(_NAMES, row, strict=True)) | {"final_batch": row[2]} for cell, row in _RUNS.items()}


@dataclasses.dataclass(kw_only=True)
class LsrGAN(GenerativeMethod):
    """f-CLSWGAN whose class means keep the similarities of the semantics, also those of unseen classes (Vyas, 2020)."""

    card = MethodCard(
        title="LsrGAN",
        summary="f-CLSWGAN with class means near the real ones, and as similar to them as the semantics are",
        citation="vyas2020lsrgan",
        reference="Vyas, Venkateswara, Panchanathan: Leveraging Seen and Unseen Semantic Relationships for Generative "
        "Zero-Shot Learning, ECCV 2020",
        setting=Setting.SEMANTIC,
        formula="L_G = −E D(x̃,a) − λ E log P(y|x̃) + (w/C) Σ_c ‖mean x̃_c − μ_c‖ + (s/q) Σ_c Σ_n max(0, |cos(mean x̃_c, "
        "μ_n) − cos(a_c,a_n)| − ε)² + the same s-term and −u E log P(y|x̃) on unseen classes",
        differences=(
            "In the public code the similarity term has no gradient: its cosines are computed outside of autograd. So "
            "sr_grad=off and lsrgan@published; by default it has one, and with it a smaller weight.",
            "The public code draws unseen classes as often as they occur among the test images. A method here cannot "
            "know this; each is as likely.",
            "The losses of seen and unseen classes make one step of each network, from the first epoch on. In the "
            "public code a second step follows from the second epoch on; it adds the seen classes' gradient to the "
            "generator's once more, since that is not set to 0.",
            "P, over all classes, is trained on seen rows first, then on these and the fakes of unseen classes with "
            "the generator; fakes of seen classes do not change it, as in the public code. Where that trains for ZSL "
            "it leaves the seen rows out of the second part; here one fit serves both protocols.",
            "The public code predicts with P under gzsl and on CUB and SUN; here a final classifier does, as for the "
            "other generators.",
            "On AWA1 the public code halves λ after epoch 14.",
            "The last epoch counts; the public code prints every epoch's accuracy on test images.",
            "By default class vectors are scaled to length 1; lsrgan@published uses them as they are in the file.",
        ),
    )
    presets = {
        "published": Preset(
            source="the public scripts for each data set and protocol",
            values={**PUBLISHED, "pretrain_epochs": 50, "final_epochs": 25, "centre_weight": 1.0, "sr_grad": False},
            cells=_CELLS,
        ),
        "quick": Preset(source=QUICK_ELSEWHERE, values=QUICK),
    }
    ablations = {
        "no_similarity": Ablation({"similarity_weight": 0.0}, "without the term that gives the paper its name"),
        "no_gradient": Ablation({"sr_grad": False}, "the term without a gradient, as in the public code"),
        "inductive": Ablation({"unseen_weight": 0.0}, "without the losses on unseen classes"),
        "no_centres": Ablation({"centre_weight": 0.0}, "without the distance of class means to the real ones"),
    }
    space = {
        "lr": Between(3e-5, 1e-3, log=True),
        "cls_weight": Between(1e-3, 1.0, log=True, zero=True),
        "centre_weight": Between(0.1, 10.0, log=True, zero=True),
        "similarity_weight": Between(1e-3, 10.0, log=True, zero=True),
        "unseen_weight": Between(1e-3, 1.0, log=True, zero=True),
        "epochs": Between(10, 60, log=True),
        "per_class": (100, 300, 600),
    }

    centre_weight: float = param(
        1.0, low=0.0, high=1000.0, log=True, help="weight w of the distances of class means to the real ones; 0: none"
    )
    similarity_weight: float = param(
        0.1, low=0.0, high=1000.0, log=True, help="weight s of the similarities between classes; 0: none"
    )
    margin: float = param(0.1, low=0.0, high=2.0, help="difference ε of cosines that costs nothing")
    neighbours: int = param(
        20, low=1, high=10000, log=True, help="seen classes nearest to a class, which it is held to"
    )
    sr_grad: bool = param(True, help="whether the similarities have a gradient; false: public code")
    unseen_weight: float = param(
        0.01, low=0.0, high=10.0, log=True, help="weight u of P on unseen classes; 0: nothing of them (inductive)"
    )

    @property
    def setting(self) -> Setting:
        """Semantic, or inductive without the losses on unseen classes."""
        return Setting.SEMANTIC if self.unseen_weight else Setting.INDUCTIVE

    def further_networks(self, rows: SeenRows, noise: int, ctx: Context) -> dict[str, FurtherNetwork]:
        """Return P, a linear classifier of seen and unseen classes that was trained on seen rows."""
        if self.unseen_ is None:
            return {}
        trained = self._classifier(rows, len(rows.semantics) + len(self.unseen_), "classifier", ctx)
        return {"classifier": FurtherNetwork(copy.deepcopy(trained).requires_grad_(), lr=1e-3)}

    def phases(self) -> tuple[str, ...]:
        """Return the phases of `fit`: P is trained first."""
        return ("pretrain", *super().phases()[-1:]) if self.unseen_weight else super().phases()

    def terms(self, rows: SeenRows, noise: int, ctx: Context) -> list[LossTerm]:
        """Return the losses of seen and of unseen classes, each if its weight is not 0."""
        from torch.nn import functional

        from zslbench.methods.generative import regularisers

        seen = len(rows.semantics)
        centres = regularisers.class_means(rows.features, rows.labels, seen)

        def similarity(fakes: Tensor, labels: Tensor, *given: Tensor) -> Tensor:
            options = {"margin": self.margin, "gradient": self.sr_grad}
            return regularisers.similarity_loss(fakes, labels, *given, **options)  # type: ignore[arg-type]

        def recognised(networks: Networks, fakes: Tensor, labels: Tensor) -> Tensor:
            held = (weights.detach() for weights in networks["classifier"].parameters())
            return functional.cross_entropy(functional.linear(fakes, *held), labels)

        def seen_rows(networks: Networks, batch: GeneratorBatch) -> Tensor:
            return functional.cross_entropy(networks["classifier"](batch.real), batch.labels)

        held = centres, *regularisers.nearest_classes(rows.semantics, rows.semantics, self.neighbours)
        terms = [
            LossTerm(
                "centres", self.centre_weight, lambda _networks, *given: regularisers.pivot_loss(*given), (centres,)
            ),
            LossTerm("similarity", self.similarity_weight, lambda _networks, *given: similarity(*given), held),
        ]
        if self.unseen_ is None:
            return [*super().terms(rows, noise, ctx), *(term for term in terms if term.weight)]
        rows_drawn = min(self.batch, len(rows.features)), len(self.unseen_), noise
        draw, streams = regularisers.unseen_draw(*rows_drawn, ctx, self.device_)

        def unseen(networks: Networks, _fakes: Tensor, _labels: Tensor, *given: Tensor) -> Tensor:
            semantics, *similar, picked, drawn = given
            fakes = networks.generator(drawn, semantics[picked])
            loss = self.unseen_weight * functional.cross_entropy(networks["classifier"](fakes), seen + picked)
            if self.similarity_weight:
                loss = loss + self.similarity_weight * similarity(fakes, picked, *similar)
            return loss

        of_unseen = regularisers.nearest_classes(self.unseen_, rows.semantics, self.neighbours)
        terms += [
            LossTerm("classification", self.cls_weight, recognised),
            LossTerm("seen rows", self.cls_weight, seen_rows, sees_batch=True),
            LossTerm("unseen", 1.0, unseen, (self.unseen_, centres, *of_unseen), draw, streams),
        ]
        return [term for term in terms if term.weight]

    def _further_fakes(self, size: Size) -> int:
        return min(self.batch, size.images) if self.knows_unseen else 0
