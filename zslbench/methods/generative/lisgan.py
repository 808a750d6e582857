"""LisGAN: leveraging the invariant side of generative zero-shot learning (Li et al., CVPR 2019)."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

from zslbench.errors import BadValue
from zslbench.methods.base import Ablation, Context, MethodCard, Preset, Setting, Size
from zslbench.methods.fit_cache import cache_result
from zslbench.methods.generative.fclswgan import (
    COMMANDS,
    PUBLISHED,
    QUICK,
    QUICK_SOURCE,
    GenerativeMethod,
    command_values,
)
from zslbench.methods.generative.loss_terms import LossTerm
from zslbench.params import Between, param
from zslbench.step_reports import TRAINING
from zslbench.task import ClassTable

if TYPE_CHECKING:
    from torch import Tensor

    from zslbench.methods.generative.training import Networks, SeenRows

_PAPER = {
    "hidden": 4096,
    "critic_layers": 2,
    "generator_slope": 0.0,
    "gp": 10.0,
    "cls_weight": 0.01,
    "classifier": "auxiliary",
    "l_r1": 0.01,
    "l_r2": 0.01,
    "souls": 3,
    "fake_souls": "clusters",
    "soul_pairs": "nearest",
    "cascade": "softmax",
    "confident": 0.5,
    "entropy": "paper",
}


_PUBLIC_CODE = PUBLISHED | {
    "critic_layers": 1,
    "generator_slope": 0.2,
    "classifier": "pretrained",
    "pretrain_epochs": 100,
    "fake_souls": "mean",
    "soul_pairs": "nearest",
    "soul_rows": 20,
    "soul_classes": 0,
    "soul_over": "all",
    "souls": 3,
    "cascade": "softmax",
    "entropy": "reference",
}
_PUBLIC_SOUL_SEED = 3
_CELLS = {cell: command_values(row, 50, 2) for cell, row in COMMANDS.items()}


@dataclasses.dataclass(kw_only=True)
class LisGAN(GenerativeMethod):
    """A conditional WGAN whose fakes stay near soul samples, and a cascade of two classifiers (Li et al., 2019).

    The defaults are the paper's full method, on the networks of its public code. Its cascade learns from unlabelled
    test features, which makes it transductive; ``cascade=off`` (S1 to S3) is inductive.
    """

    card = MethodCard(
        title="LisGAN",
        summary="conditional WGAN-GP regularised by soul samples; cascade of two classifiers",
        citation="li2019lisgan",
        reference="Li, Jing, Lu, Ding, Zhu, Huang: Leveraging the Invariant Side of Generative Zero-Shot Learning, "
        "CVPR 2019",
        version=3,
        setting=Setting.TRANSDUCTIVE,
        formula="L_G = −E D(x̃,a) − λ E log P(y|x̃) + w₁ mean_i min_j ‖x̃_i − s_j‖² "
        "+ w₂ mean_c mean_i min_j ‖s̃_ci − s_cj‖²",
        differences=(
            "The last epoch counts. The public code prints every epoch's accuracy on test images; the paper does not "
            "say which epoch its numbers are of.",
            "The gradient penalty of a critic with one hidden layer is computed in closed form; it gives the same "
            "numbers as a double backward pass.",
            "Section 4.2 of the paper describes a critic of two hidden layers (FC, LeakyReLU, FC, ReLU) and a "
            "generator with ReLU; the public code has one hidden layer and LeakyReLU in both networks. The defaults "
            "are the public code's networks; lisgan@paper has critic_layers=2 and generator_slope=0.",
            "By default the loss's classifier is the critic's second branch, as in the paper (Eq. 2); the public code "
            "has no such branch and uses a frozen softmax trained beforehand (classifier=pretrained).",
            "The branch reads the critic's hidden layers without their semantic part: P(y|x) is a function of x alone.",
            "By default the fake souls of L_R2 are means of k clusters (Eq. 4), found by k-means++ and Lloyd's steps "
            "among soul_rows fakes of the class; the public code takes one mean per class (fake_souls=mean). The "
            "log's value `clusters` is how many of the k clusters hold a fake, on average.",
            "Eq. 6 has one index j for the fake and the real soul, so one term per class. The formula above shows the "
            "default: each fake soul's distance to its nearest real one, averaged over the fake souls of a class. "
            "soul_pairs=numbered is Eq. 6 as printed: the smallest distance of souls with equal numbers. With one fake "
            "soul per class, as in the public code, both are the same.",
            "By default the k-means of the soul samples uses the run's seed; in the public code and lisgan@public its "
            "seed is fixed (soul_seed=fixed).",
            "By default confidence is low entropy of the class probabilities (Eq. 9). The public code computes the "
            "entropy of log-probabilities and takes the largest values, which mostly selects other rows "
            "(entropy=reference).",
            "By default the cascade's second softmax is trained anew on the extended references; that of the public "
            "code and lisgan@public goes on with the first one's weights and optimiser (second_start=first).",
            "By default the confident rows are those of the first classifier's last epoch, and the last epoch of the "
            "second counts. The public code takes the confident rows from the first classifier's best epoch on test "
            "images (confident_epoch); for T1 the second classifier's epoch is picked on test images too "
            "(second_epochs), in GZSL its last epoch counts. For every epoch of the GAN it prints three results: "
            "first classifier, nearest neighbour, second classifier (cascade=[off,nn,softmax], of one training). "
            "Here such a choice is oracle selection (†) among runs with these values and their checkpoints. It picks "
            "one setting and step for all seeds, by the result of the row; the public code picks anew in every run, "
            "and the first classifier's epoch by that classifier's result.",
            "Batches of a softmax go through one permutation of the rows after another, and the rest of one is joined "
            "with the start of the next, as in the public code.",
            "By default class vectors are scaled to length 1; the public code, lisgan@published and lisgan@public use "
            "them as they are in the file (semantic_norm=none).",
            "With a cascade there is no AUSUC and no calibrated stacking: the scores of the two classifiers are on "
            "different scales, so the same constant cannot be subtracted from both.",
            "The sign of the penalty in the paper's Eq. 2 is a misprint; it is added to the critic's loss.",
        ),
    )
    presets = {
        "paper": Preset(
            source="the paper, section 4.2 (both networks, λ, β, both regularisers, k, median entropy)", values=_PAPER
        ),
        "published": Preset(
            source="the public code's commands for each data set, in its README. The ratio in its gzsl commands never "
            "reaches the cascade, which uses 0.6; this preset uses 0.6 too. Here the last epoch counts, and the "
            "second classifier is trained anew",
            values=_PUBLIC_CODE,
            cells=_CELLS,
        ),
        "public": Preset(
            source="the public code as its scripts behave, with the values of lisgan@published. The second softmax "
            "goes on with the first one's weights and optimiser, the k-means of the souls has the seed 3. The last "
            "epoch counts everywhere; the epochs that the scripts pick on test images are oracle selection (†) over "
            "checkpoints, final_epochs, confident_epoch and second_epochs: docs/explanation/lisgan.md has the plan",
            values=_PUBLIC_CODE | {"second_start": "first", "soul_seed": "fixed"},
            cells=_CELLS,
        ),
        "gasl": Preset(
            source="an independent re-implementation (feng2022gasl, LiangjunFeng/Generative-Any-Shot-Learning), for "
            "AWA2, for which the authors have no command. It keeps the epoch and the classifier that are best on test "
            "images, and has no second softmax under zsl; here the last epoch counts, and under zsl the cascade is nn",
            values=_PUBLIC_CODE,
            cells={
                ("awa2", "zsl"): command_values((200, 1e-5, 1e-3, 300, 0.01, 3e-5, 3e-2, 0.1), 50, 2)
                | {"cascade": "nn"},
                ("awa2", "gzsl"): command_values((200, 1e-5, 1e-3, 1800, 0.01, 3e-5, 1e-3, 0.6), 50, 2)
                | {"cascade": "softmax"},
            },
        ),
        "quick": Preset(
            source=f"{QUICK_SOURCE}. The loss's classifier is the public code's, L_R2 takes 16 classes per step",
            values={**QUICK, "classifier": "pretrained", "soul_classes": 16},
        ),
    }
    # Each setting takes away what the paper's Fig. 7(b) adds after it, and leaves the rest to defaults or a preset.
    ablations = {
        "S1": Ablation(
            {"cls_weight": 0.0, "l_r1": 0.0, "l_r2": 0.0, "cascade": "off"}, "plain conditional WGAN (Fig. 7b)"
        ),
        "S2": Ablation({"l_r1": 0.0, "l_r2": 0.0, "cascade": "off"}, "S1 + classification loss"),
        "S3": Ablation({"cascade": "off"}, "S2 + soul sample regularisations"),
        "S4": Ablation({}, "S3 + cascade classifier: the full method, with the defaults' or the preset's cascade"),
    }
    libraries = (*GenerativeMethod.libraries, "sklearn.cluster")
    ablations_build_up = True
    scoring = (
        *GenerativeMethod.scoring,
        *("cascade", "confident", "entropy", "confident_epoch", "second_start", "second_epochs"),
    )
    space = {
        "lr": Between(3e-5, 1e-3, log=True),
        "cls_weight": Between(1e-3, 1.0, log=True, zero=True),
        "l_r1": Between(1e-3, 1.0, log=True, zero=True),
        "l_r2": Between(1e-3, 1.0, log=True, zero=True),
        "souls": Between(1, 6),
        "epochs": Between(10, 60, log=True),
        "per_class": (100, 300, 600),
        "final_lr": (3e-4, 1e-3, 3e-3),
    }
    check_params = {**GenerativeMethod.check_params, "soul_rows": 4, "confident": 0.4}

    critic_layers: int = param(
        1, low=1, high=2, help="hidden layers of the critic: 1 (public code), or 2, the second a ReLU (section 4.2)"
    )
    generator_slope: float = param(
        0.2, low=0.0, high=1.0, help="slope below 0 of the generator's hidden units: 0.2 (public code); 0: ReLU (paper)"
    )
    classifier: str = param(
        "auxiliary",
        choices=("pretrained", "auxiliary"),
        help="the classifier of the loss: a frozen one pre-trained on seen rows, or the critic's second branch (Eq. 2)",
    )
    l_r1: float = param(0.01, low=0.0, high=10.0, log=True, help="weight of L_R1, fakes near souls (Eq. 5); 0: none")
    l_r2: float = param(
        0.01, low=0.0, high=10.0, log=True, help="weight of L_R2, fake souls near souls (Eq. 6); 0: none"
    )
    souls: int = param(3, low=1, high=100, help="soul samples k of each seen class (Eq. 3)")
    soul_seed: str = param(
        "run", choices=("run", "fixed"), help="seed of the k-means of the souls: the run's, or 3 in each (public code)"
    )
    fake_souls: str = param(
        "clusters",
        choices=("mean", "clusters"),
        help="fake souls in L_R2: one mean per class (public code), or means of k clusters (Eq. 4)",
    )
    soul_pairs: str = param(
        "nearest",
        choices=("nearest", "numbered"),
        help="L_R2 of a class: each fake soul's distance to its nearest real one, averaged; or Eq. 6 to the letter, "
        "the smallest of the distances between souls of the same number",
    )
    soul_rows: int = param(20, low=1, high=1000, log=True, help="fakes of each seen class in L_R2")
    soul_classes: int = param(
        0, low=0, high=100000, help="seen classes drawn for L_R2 at each step, an unbiased estimate of it; 0: all"
    )
    soul_over: str = param(
        "all",
        choices=("all", "batch"),
        help="classes of L_R2: the seen ones (see soul_classes), or those of the batch's rows, as often as they occur",
    )
    cascade: str = param(
        "softmax", choices=("off", "nn", "softmax", "svm"), help="second classifier of the cascade; off: one stage"
    )
    confident: float = param(
        0.5,
        low=0.0,
        high=1.0,
        help="share of rows that become references; 0.5: the median; 0 and 1 only with cascade=off",
    )
    entropy: str = param(
        "paper",
        choices=("paper", "reference"),
        help="confidence: low entropy (Eq. 9), or high entropy of log-probabilities (public code)",
    )
    confident_epoch: int = param(
        0,
        low=0,
        high=10000,
        help="epoch of the first classifier that picks the confident rows and labels them; 0: its last",
    )
    second_start: str = param(
        "anew",
        choices=("anew", "first"),
        help="the cascade's second softmax: trained anew, or on from the first one's last weights and state of Adam "
        "(public code)",
    )
    second_epochs: int = param(
        0, low=0, high=10000, help="epochs of the cascade's second softmax; 0: as many as final_epochs"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.soul_over == "batch" and self.soul_classes:
            raise BadValue(
                f"LisGAN: soul_classes={self.soul_classes} and soul_over=batch exclude each other; "
                "draw classes for L_R2, or take those of the batch."
            )
        if self.cascade != "off" and self.confident in (0, 1):
            raise BadValue(
                f"LisGAN: confident={self.confident:g} leaves the cascade no row to "
                f"{'classify' if self.confident else 'learn from'}; choose a share between 0 and 1, or cascade=off."
            )
        if self.confident_epoch > self.final_epochs:
            raise BadValue(
                f"LisGAN: confident_epoch={self.confident_epoch} is past the first classifier's last epoch, "
                f"final_epochs={self.final_epochs}; choose 0 (the last) to {self.final_epochs}."
            )

    @property
    def setting(self) -> Setting:
        """Transductive with the cascade, inductive without it."""
        return Setting.INDUCTIVE if self.cascade == "off" else Setting.TRANSDUCTIVE

    @property
    def one_scale(self) -> bool:
        """False with the cascade: confident rows keep the first classifier's scores, the others have the second's."""
        return self.cascade == "off"

    def _branch_weight(self) -> float:
        return self.cls_weight if self.classifier == "auxiliary" else 0.0

    def _operations(self, size: Size) -> float:
        second = 2 * min(self.batch, size.images) * self.hidden**2 if self.critic_layers == 2 else 0
        return super()._operations(size) + second

    def _networks(self) -> tuple[dict[str, Any], dict[str, Any]]:
        return {"slope": self.generator_slope}, {"layers": self.critic_layers}

    def phases(self) -> tuple[str, ...]:
        """Return the phases of `fit`, as its terms need them."""
        before = () if self._branch_weight() else super().phases()[:-1]
        return (*before, *([] if self.l_r1 == self.l_r2 == 0 else ["souls"]), TRAINING)

    def terms(self, rows: SeenRows, noise: int, ctx: Context) -> list[LossTerm]:
        """Return the classification loss, L_R1 and L_R2, each if its weight is not 0."""
        from zslbench.methods.generative import regularisers

        if self._branch_weight():
            terms = [regularisers.classification_term(self.cls_weight)]
        else:
            terms = super().terms(rows, noise, ctx)
        if self.l_r1 == 0 and self.l_r2 == 0:
            return terms
        with ctx.phase("souls"):
            features, labels = rows.features.cpu().numpy(), rows.labels.cpu().numpy()
            seed = _PUBLIC_SOUL_SEED if self.soul_seed == "fixed" else ctx.stream_seed("souls")
            given = {"k": self.souls, "seed": seed}
            make = functools.partial(regularisers.soul_samples, features, labels, len(rows.semantics), **given)
            souls = cache_result(make, "soul samples 1", {"features": features, "labels": labels}, ctx, **given)
        real = self._tensor(souls)
        if self.l_r1:
            terms.append(LossTerm("l_r1", self.l_r1, lambda _networks, *given: regularisers.l_r1(*given), (real,)))
        if self.l_r2:
            terms.append(self._group_term(rows, noise, real, ctx))
        return terms

    def _group_term(self, rows: SeenRows, noise: int, real: Tensor, ctx: Context) -> LossTerm:
        """Return L_R2 on fresh fakes of every seen class, of as many drawn ones, or of the classes of the batch's rows.

        The mean over classes that are drawn uniformly without replacement has the mean over all classes as its
        expectation; the mean over the batch's rows weights each class by its number of images.
        """
        import torch

        from zslbench.methods import nn
        from zslbench.methods.generative import regularisers

        batch, clusters = self.soul_over == "batch", self.fake_souls == "clusters"
        some = 0 < self.soul_classes < len(real) and not batch
        count = min(self.batch, len(rows.features)) if batch else self.soul_classes if some else len(real)
        purposes = ("soul noise", "soul clusters", "soul classes")
        streams = tuple(nn.random_stream(ctx.stream_seed(purpose), self.device_) for purpose in purposes)
        of_noise, of_clusters, of_classes = streams

        def draw() -> tuple[Tensor, ...]:
            drawn = [torch.randn(count, self.soul_rows, noise, generator=of_noise, device=self.device_)]
            if clusters:
                drawn.append(torch.rand(count, self.souls - 1, generator=of_clusters, device=self.device_))
            if some:
                keys = torch.rand(len(real), generator=of_classes, device=self.device_)
                drawn.append(keys.topk(count).indices)
            return tuple(drawn)

        distance = regularisers.l_r2 if self.soul_pairs == "nearest" else regularisers.l_r2_numbered

        def loss(
            networks: Networks, _fakes: Tensor, labels: Tensor, real: Tensor, noise: Tensor, *draws: Tensor
        ) -> Tensor | tuple[Tensor, ...]:
            chosen = labels if batch else draws[-1] if some else slice(None)
            fakes = networks.generator(noise, rows.semantics[chosen][:, None, :])
            if not clusters:
                return distance(*regularisers.mean_fake_souls(fakes), real[chosen])
            means, filled = regularisers.cluster_fake_souls(fakes, draws[0])
            return distance(means, filled, real[chosen]), filled.sum(1).to(means.dtype).mean()

        return LossTerm("l_r2", self.l_r2, loss, (real,), draw, streams, ("clusters",) if clusters else ())

    def _further_fakes(self, size: Size) -> int:
        if self.l_r2 == 0:
            return 0
        if self.soul_over == "batch":
            return self.soul_rows * min(self.batch, size.images)
        return self.soul_rows * min(self.soul_classes or size.classes, size.classes)

    def classify(self, rows: Tensor, references: Tensor, labels: Tensor, classes: ClassTable) -> Tensor:
        """Return the cascade's log-probabilities.

        A second softmax that is trained anew starts from the first one's initial weights, so the two differ only
        because of the extended references.
        """
        if self.cascade == "off":
            return super().classify(rows, references, labels, classes)
        from zslbench.methods.generative import final_classifiers

        training = self._classifier_training(references, labels, classes)
        before = self.confident_epoch or self.final_epochs
        first = final_classifiers.log_probabilities(training.train(before), rows)

        def second(joined: Tensor, joined_labels: Tensor, others: Tensor) -> Tensor:
            if self.cascade == "nn":
                return final_classifiers.nearest_neighbour(joined, joined_labels, others, len(classes))
            if self.cascade == "svm":
                seed = self.seeds_["final classifier"]
                return final_classifiers.support_vectors(joined, joined_labels, others, len(classes), seed)
            if self.second_start == "first":
                training.train(self.final_epochs - before)
                training.use_rows(joined, joined_labels)
                going_on = training
            else:
                going_on = self._classifier_training(joined, joined_labels, classes)
            layer = going_on.train(self.second_epochs or self.final_epochs)
            return final_classifiers.log_probabilities(layer, others)

        return final_classifiers.cascade(
            first, rows, references, labels, rule=self.entropy, fraction=self.confident, second=second
        )
