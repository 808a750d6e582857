"""CE-GZSL: contrastive embedding for generalised zero-shot learning (Han et al., CVPR 2021)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, cast

from zslbench.methods.base import Ablation, Context, MethodCard, Preset, Size
from zslbench.methods.generative.fclswgan import NARROW, PUBLISHED, QUICK_ELSEWHERE, GenerativeMethod
from zslbench.methods.generative.loss_terms import FurtherNetwork, GeneratorBatch, LossTerm
from zslbench.params import Between, other_default, param

if TYPE_CHECKING:
    from torch import Tensor

    from zslbench.methods.generative.latent import UnitEmbedding
    from zslbench.methods.generative.training import Networks, SeenRows
    from zslbench.methods.generative.wgan import CriticBatch

_NAMES = ("epochs", "batch", "lr", "instance_weight", "class_weight", "comparator", "noise", "per_class")
_COMMANDS = {
    "awa1": (130, 4096, 1e-4, 1e-3, 1e-3, 2048, 0, 1800),
    "awa2": (130, 4096, 1e-4, 1e-3, 1e-3, 2048, 0, 2400),
    "cub": (450, 2048, 1e-4, 1e-3, 1e-3, 2048, 0, 100),
    "flo": (750, 2048, 1e-4, 1e-2, 1e-2, 1024, 512, 600),
    "sun": (1000, 1024, 5e-5, 1e-2, 1e-2, 1024, 0, 100),
}


@dataclasses.dataclass(kw_only=True)
class CEGZSL(GenerativeMethod):
    """A WGAN with an embedding network that contrasts rows with rows and rows with classes (Han et al., 2021).

    The embedding and the comparator of rows and classes learn from real rows in the critic's steps, and shape the fakes
    in the generator's. The final classifier works on the hidden layer of the embedding.
    """

    card = MethodCard(
        title="CE-GZSL",
        summary="WGAN-GP with an embedding that contrasts rows and classes; softmax on embedded synthesised features",
        citation="han2021cegzsl",
        reference="Han, Fu, Chen & Yang, Contrastive Embedding for Generalized Zero-Shot Learning, CVPR 2021",
        formula="h = E(x), z = H(h)/‖H(h)‖;  L_E = SupCon(z; τ) − E log softmax_c(F(h, a_c)/τ)_y on real rows;  "
        "L_G = −E D(x̃, a) + u SupCon(z̃ ∪ z; τ) − v E log softmax_c(F(h̃, a_c)/τ)_y",
        differences=(
            "Facts about this method are those of the authors' public code and of their answers in its issues; the "
            "paper's text was not at hand.",
            "The first layer of the comparator F is computed once per row and once per class, not for each pair of "
            "them: the same values and gradients for a small part of the cost. Measured in one thread, an iteration of "
            "the published widths with 64 rows per step takes 2.3 times the processor time of f-CLSWGAN's at the sizes "
            "of CUB (150 seen classes, 312 attributes), and 1.8 times at those of FLO (82 classes, 1024 dimensions).",
            "The gradients of the comparator are set to zero before each step. The public code does it once per epoch, "
            "so that they add up over the critic steps of an epoch (a fault called F9 here): "
            "comparator_gradients=round.",
            "The contrast of rows goes over all other rows of the batch, as in the public code, and anchors whose "
            "class has no other row are left out.",
            "The learning rate does not fall; the public code multiplies it by 0.99 after each 10, 50 or 100 epochs.",
            "The last epochs of GAN and final classifier count; the public code keeps the epoch of the final "
            "classifier that is best on test images, and prints the accuracy on them after every epoch of the GAN.",
            "By default class vectors are scaled to length 1; cegzsl@published uses them as they are "
            "(semantic_norm=none).",
        ),
    )
    presets = {
        "published": Preset(
            source="the authors' public code (Hanzy1996/CE-GZSL) and their answer in its issue 2, with epochs of about "
            "the numbers that they name; the values for CUB are those for sentences as semantics, and the batch for "
            "FLO is that for CUB, since none is named",
            values={
                **PUBLISHED,
                "embedding": 2048,
                "projection": 512,
                "contrast_temperature": 0.1,
                "cls_weight": 0.0,
                "comparator_gradients": "round",
                "final_epochs": 25,
            },
            cells={
                (name, "gzsl"): dict(zip(_NAMES, row, strict=True)) | {"final_batch": row[-1]}
                for name, row in _COMMANDS.items()
            },
        ),
        "quick": Preset(
            source=QUICK_ELSEWHERE,
            values={**NARROW, "embedding": 512, "projection": 128, "comparator": 256, "batch": 64, "epochs": 15},
        ),
    }
    ablations = {
        "no_instances": Ablation({"instance_weight": 0.0}, "without the contrast of rows in the generator's loss"),
        "no_classes": Ablation({"class_weight": 0.0}, "without the contrast of classes in the generator's loss"),
        "summed_comparator": Ablation(
            {"comparator_gradients": "round"}, "gradients of the comparator add up over an epoch (fault F9)"
        ),
    }
    space = {
        "lr": Between(3e-5, 1e-3, log=True),
        "instance_weight": Between(1e-4, 1.0, log=True, zero=True),
        "class_weight": Between(1e-4, 1.0, log=True, zero=True),
        "contrast_temperature": Between(0.05, 0.5, log=True),
        "epochs": Between(20, 200, log=True),
    }
    check_params = {
        **GenerativeMethod.check_params,
        "cls_weight": 0.0,
        "embedding": 64,
        "projection": 16,
        "comparator": 32,
        "class_weight": 1.0,
    }

    batch: int = other_default(512)
    cls_weight: float = other_default(0.0, help="weight of a classification loss as in f-CLSWGAN; 0: none")
    embedding: int = param(2048, low=1, high=16384, log=True, help="units of the embedding h")
    projection: int = param(512, low=1, high=16384, log=True, help="dimensions of the unit vector z")
    comparator: int = param(2048, low=1, high=16384, log=True, help="hidden units of the comparator")
    contrast_temperature: float = param(0.1, low=1e-3, high=100.0, log=True, help="temperature τ of both contrasts")
    instance_weight: float = param(
        1e-3, low=0.0, high=100.0, log=True, help="weight u of the contrast of rows in the generator's loss; 0: none"
    )
    class_weight: float = param(
        1e-3, low=0.0, high=100.0, log=True, help="weight v of the contrast of classes in the generator's loss; 0: none"
    )
    comparator_gradients: str = param(
        "step",
        choices=("step", "round"),
        help="when gradients of the comparator are set to 0; round: once per epoch, the public code",
    )

    def terms(self, rows: SeenRows, noise: int, ctx: Context) -> list[LossTerm]:
        """Return both contrasts in both steps and, unless its weight is 0, the classification loss."""
        held, notes = (rows.semantics,), ("instances", "classes")
        of_real = LossTerm("embedding", 1.0, self._contrast_real, held, notes=notes, step="critic")
        fake_notes = tuple(f"fake {name}" for name in notes)
        of_fakes = LossTerm("contrast", 1.0, self._contrast_fakes, held, notes=fake_notes, sees_batch=True)
        wanted = [of_real, of_fakes] if self.instance_weight or self.class_weight else [of_real]
        return [*wanted, *super().terms(rows, noise, ctx)]

    def further_networks(self, rows: SeenRows, noise: int, ctx: Context) -> dict[str, FurtherNetwork]:
        """Return the embedding and the comparator, which learn in the critic's steps."""
        from zslbench.methods import nn
        from zslbench.methods.comparator import Comparator
        from zslbench.methods.generative.latent import UnitEmbedding
        from zslbench.methods.generative.wgan import SLOPE

        first, second = (nn.random_stream(ctx.stream_seed(f"{name} init")) for name in ("embedding", "comparator"))
        embedding = UnitEmbedding(rows.features.shape[1], self.embedding, self.projection, first)
        comparator = Comparator(self.embedding, rows.semantics.shape[1], self.comparator, second, slope=SLOPE)
        given = self.lr, self.betas, ("critic",)
        return {
            "embedding": FurtherNetwork(embedding, *given),
            "comparator": FurtherNetwork(comparator, *given, zeroed=self.comparator_gradients),
        }

    def _contrast_real(self, networks: Networks, batch: CriticBatch, semantics: Tensor) -> tuple[Tensor, ...]:
        """Return L_E of the real rows of a batch and its two parts; semantics are (c, a), of all seen classes."""
        from zslbench.methods.generative.latent import supervised_contrast

        hidden, unit = networks["embedding"](batch.real)
        rows = supervised_contrast(unit, batch.labels, self.contrast_temperature)
        classes = self._contrast_classes(networks, hidden, batch.labels, semantics)
        return rows + classes, rows, classes

    def _contrast_fakes(self, networks: Networks, batch: GeneratorBatch, semantics: Tensor) -> tuple[Tensor, ...]:
        """Return the weighted contrasts of the fakes of a batch, and the contrasts; real rows get no gradient."""
        from zslbench.methods.generative.latent import supervised_contrast

        hidden, unit = networks["embedding"](batch.fake)
        real = networks["embedding"](batch.real)[1], batch.labels
        rows = supervised_contrast(unit, batch.labels, self.contrast_temperature, real)
        classes = self._contrast_classes(networks, hidden, batch.labels, semantics)
        return self.instance_weight * rows + self.class_weight * classes, rows, classes

    def _contrast_classes(self, networks: Networks, hidden: Tensor, labels: Tensor, semantics: Tensor) -> Tensor:
        from torch.nn import functional

        return functional.cross_entropy(networks["comparator"](hidden, semantics) / self.contrast_temperature, labels)

    def _represent(self, rows: Tensor) -> Tensor:
        """Return the (…, h) hidden layers of the embedding for (…, d) rows."""
        return cast("UnitEmbedding", self.further_["embedding"]).hidden(rows)

    def _operations(self, size: Size) -> float:
        rows = min(self.batch, size.images)
        of_embedding = self.embedding * (size.features + self.projection + self.comparator)
        return 2 * rows * (self.hidden * (size.features + size.semantics) + of_embedding / 2)
