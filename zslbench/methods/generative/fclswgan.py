"""f-CLSWGAN: feature generating networks (Xian et al., CVPR 2018); LisGAN builds on them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zslbench.methods.base import Ablation, Context, MethodCard, Preset
from zslbench.methods.fit_cache import cache_result
from zslbench.methods.generative import AdversarialMethod
from zslbench.methods.generative.loss_terms import LossTerm
from zslbench.methods.generative.synthesis import FinalClassifierMethod
from zslbench.params import Between, Scalar, param

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from zslbench.methods.generative.training import SeenRows

PUBLISHED: dict[str, Any] = {
    "hidden": 4096,
    "noise": 0,
    "batch": 64,
    "critic_steps": 5,
    "gp": 10.0,
    "preprocess": "minmax",
    "semantic_norm": "none",
}
"""What all published commands of f-CLSWGAN and LisGAN have in common; class vectors are unchanged."""
NARROW: Mapping[str, Any] = {"hidden": 512, "lr": 1e-3, "preprocess": "standard+clip+minmax"}
"""What the quick presets of all generative methods share; chosen on validation classes (docs/studies/quick.md)."""
QUICK: Mapping[str, Any] = {**NARROW, "epochs": 15, "cls_weight": 0.1}
_NARROWER = (
    "a narrower network (512 hidden units), trained for fewer steps at a larger learning rate; minutes on two cores"
)
QUICK_SOURCE = f"{_NARROWER}. Chosen on validation classes, measured in docs/studies/quick.md"
QUICK_ELSEWHERE = f"{_NARROWER}. Width, rate and preprocessing are those of fclswgan@quick"
_NAMES = ("epochs", "lr", "final_lr", "per_class", "cls_weight", "l_r1", "l_r2", "confident")
COMMANDS: Mapping[tuple[str, str], tuple[float, ...]] = {
    ("cub", "zsl"): (70, 1e-4, 1e-3, 300, 0.01, 1e-3, 1e-2, 0.6),
    ("flo", "zsl"): (97, 1e-4, 1e-3, 300, 0.1, 1e-3, 1e-4, 0.6),
    ("sun", "zsl"): (54, 2e-4, 5e-4, 100, 0.01, 3e-4, 3e-1, 0.5),
    ("awa1", "zsl"): (30, 1e-5, 1e-3, 300, 0.01, 3e-5, 3e-2, 0.1),
    ("apy", "zsl"): (40, 1e-5, 1e-3, 300, 0.01, 3e-5, 1.0, 0.7),
    ("cub", "gzsl"): (56, 1e-4, 1e-3, 300, 0.01, 1e-3, 1e-2, 0.6),
    ("flo", "gzsl"): (80, 1e-4, 1e-3, 1200, 0.1, 3e-2, 1e-1, 0.6),
    ("sun", "gzsl"): (40, 2e-4, 1e-3, 400, 0.01, 3e-5, 3e-1, 0.6),
    ("awa1", "gzsl"): (30, 1e-5, 1e-3, 1800, 0.01, 3e-5, 1e-3, 0.6),
    ("apy", "gzsl"): (50, 1e-5, 1e-3, 1800, 0.01, 3e-4, 3e-1, 0.6),
}
"""LisGAN's commands, values in the order of `_NAMES`: l_r1 is their ``proto_param2``, l_r2 their ``proto_param1``."""


def command_values(row: Sequence[float], final_epochs: int, classes_in_batch: int) -> dict[str, Any]:
    """Return a command's values as parameters; a batch of the final classifier has the fakes of so many classes.

    A shorter row has the first values: the five of f-CLSWGAN come before those of the souls and the cascade.
    """
    values = dict(zip(_NAMES, row, strict=False))
    return values | {"final_epochs": final_epochs, "final_batch": classes_in_batch * values["per_class"]}


_PUBLIC_CODE = PUBLISHED | {"pretrain_epochs": 50}
_CELLS = {cell: command_values(row[:5], 25, 1) for cell, row in COMMANDS.items()}


@dataclasses.dataclass(kw_only=True)
class ClassifiedGan(AdversarialMethod):
    """A conditional WGAN on seen classes whose fakes a pre-trained classifier of these must recognise."""

    epochs: int = param(30, low=1, high=10000, log=True, help="epochs of ⌈n/batch⌉ generator steps")
    pretrain_epochs: int = param(50, low=1, high=10000, log=True, help="epochs of the pre-trained seen classifier")

    def phases(self) -> tuple[str, ...]:
        """Return the phases of `fit`: the frozen classifier is trained first, where the loss has one."""
        return (*(["pretrain"] if self.cls_weight else []), *super().phases())

    def terms(self, rows: SeenRows, noise: int, ctx: Context) -> list[LossTerm]:
        """Return the classification loss by a frozen classifier, trained on real rows; nothing if its weight is 0."""
        from zslbench.methods.generative.regularisers import classification_term

        if not self.cls_weight:
            return []
        return [classification_term(self.cls_weight, self._classifier(rows, len(rows.semantics), "pretrain", ctx))]

    def _classifier(self, rows: SeenRows, classes: int, purpose: str, ctx: Context) -> torch.nn.Linear:
        """Return a linear classifier of so many classes, trained on seen rows."""
        from zslbench.methods.generative.final_classifiers import train_softmax

        options: dict[str, Scalar] = {"classes": classes, "batch": 100, "lr": 1e-3, "phase": "pretrain"}
        return self._pretrain(train_softmax, rows.features, rows.labels, purpose, ctx, **options)

    def _pretrain(
        self,
        train: Callable[..., torch.nn.Linear],
        features: Tensor,
        targets: Tensor,
        purpose: str,
        ctx: Context,
        **options: Scalar,
    ) -> torch.nn.Linear:
        """Return what `train` makes of seen rows and their targets: a layer that fits share, so it must not change."""
        import torch

        given = {"seed": ctx.stream_seed(purpose), "epochs": self.pretrain_epochs, **options}
        make = functools.partial(train, features, targets, **given)
        with ctx.phase("pretrain"):
            arrays = {"features": features.cpu().numpy(), "targets": targets.cpu().numpy()}
            machine = f"{features.device} {torch.__version__} {torch.get_num_threads()} threads"
            return cache_result(make, purpose, arrays, ctx, machine=machine, **given)


@dataclasses.dataclass(kw_only=True)
class GenerativeMethod(FinalClassifierMethod, ClassifiedGan):
    """A conditional WGAN on seen classes, and a softmax classifier on the features that it synthesises for unseen ones.

    The architecture is that of Xian et al. (2018).
    """

    check_params = {
        "hidden": 64,
        "noise": 4,
        "epochs": 8,
        "batch": 128,
        "critic_steps": 1,
        "lr": 1e-2,
        "cls_weight": 10.0,
        "pretrain_epochs": 10,
        "per_class": 20,
        "final_epochs": 5,
        "final_batch": 64,
        "final_lr": 2e-2,
    }


@dataclasses.dataclass(kw_only=True)
class FCLSWGAN(GenerativeMethod):
    """A conditional WGAN whose fakes a pre-trained classifier of seen classes must recognise (Xian et al., 2018)."""

    card = MethodCard(
        title="f-CLSWGAN",
        summary="conditional WGAN-GP with a classification loss; softmax on synthesised features",
        citation="xian2018fclswgan",
        reference="Xian, Lorenz, Schiele, Akata: Feature Generating Networks for Zero-Shot Learning, CVPR 2018",
        version=3,
        formula="min_G max_D E D(x,a) − E D(x̃,a) − β E(‖∇D(x̂,a)‖ − 1)² − λ E log P(y|x̃)",
        differences=(
            "The last epoch counts. The public code prints every epoch's accuracy on test images; the paper does not "
            "say which epoch its numbers are of.",
            "The gradient penalty of the critic with one hidden layer is computed in closed form; it gives the same "
            "numbers as a double backward pass.",
            "Preprocessed features must not be negative, since the generator ends in a ReLU; others are refused.",
            "The last epoch of the final classifier counts; the public code keeps the one that is best on test images: "
            "oracle selection (†) over final_epochs, whose values share one training.",
            "By default class vectors are scaled to length 1; the public code and fclswgan@published use them as they "
            "are in the file (semantic_norm=none).",
        ),
    )
    presets = {
        "published": Preset(
            source="the public commands for each data set, with the epochs of LisGAN's commands on the same networks; "
            "the classifier of seen classes is trained for 50 epochs, in LisGAN for 100. The public code picks the "
            "epochs of GAN and classifier on test images, here oracle selection (†) over checkpoints and final_epochs; "
            "the last counts",
            values=_PUBLIC_CODE,
            cells=_CELLS,
        ),
        "gasl": Preset(
            source="an independent re-implementation (feng2022gasl, LiangjunFeng/Generative-Any-Shot-Learning), for "
            "AWA2, for which there is no public command; its zsl command for AWA2 reads AWA1. It does not scale "
            "features, and keeps the epoch that is best on test images; here the last counts",
            values=_PUBLIC_CODE | {"preprocess": "none"},
            cells={("awa2", "gzsl"): command_values((300, 1e-5, 1e-3, 4000, 0.01), 25, 1)},
        ),
        "quick": Preset(source=QUICK_SOURCE, values=QUICK),
    }
    space = {
        "lr": Between(3e-5, 1e-3, log=True),
        "cls_weight": Between(1e-3, 1.0, log=True, zero=True),
        "epochs": Between(10, 60, log=True),
        "per_class": (100, 300, 600),
        "final_lr": (3e-4, 1e-3, 3e-3),
    }
    ablations = {"plain": Ablation({"cls_weight": 0.0}, "without the classification loss: the paper's f-WGAN")}
