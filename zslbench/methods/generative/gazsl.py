"""GAZSL: a generative adversarial approach with visual pivots (Zhu et al., CVPR 2018)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from zslbench.arrays import Array
from zslbench.methods.base import Ablation, Context, MethodCard, Preset
from zslbench.methods.generative import AdversarialMethod
from zslbench.methods.generative.fclswgan import NARROW, QUICK_SOURCE
from zslbench.methods.generative.loss_terms import LossTerm
from zslbench.params import Between, other_default, param
from zslbench.task import ClassTable

if TYPE_CHECKING:
    from zslbench.methods.generative.training import SeenRows

JUDGED_EVERY = 40
"""Iterations between two reports and checkpoints, as in the public code."""

_NOISE = {"cub": 100, "flo": 100, "awa1": 10, "awa2": 10, "apy": 10, "sun": 10}


@dataclasses.dataclass(kw_only=True)
class GAZSL(AdversarialMethod):
    """A WGAN whose critic also classifies, and whose fakes must average to the mean of their class (Zhu et al., 2018).

    The critic does not see the semantics: its second head distinguishes the classes. All candidates, seen and unseen,
    are represented by synthesised rows; the nearest rows by cosine vote.
    """

    card = MethodCard(
        title="GAZSL",
        summary="WGAN-GP with an auxiliary classifier and a visual pivot; cosine neighbours among synthesised features",
        citation="zhu2018gazsl",
        reference="Zhu, Elhoseiny, Liu, Peng & Elgammal, A Generative Adversarial Approach for Zero-Shot Learning from "
        "Noisy Texts, CVPR 2018",
        version=2,
        formula="L_G = −E D(x̃) − ½ E log P(y|x̃) + (w/C) Σ_c ‖mean x̃_c − μ_c‖₂ + λ‖W‖²;  "
        "L_D = E D(x̃) − E D(x) + β E(‖∇D(x̂)‖ − 1)² − ½ E log P(y|x̃) − ½ E log P(y|x)",
        differences=(
            "The paper uses TF-IDF vectors of noisy texts, reduced by a learned layer, and features of detected bird "
            "parts. Here, as in the public GBU script, the generator takes the class semantics, and the features are "
            "those of the data set. By default semantics are scaled to length 1; the published preset uses them "
            "unchanged.",
            "The classification losses of real and fake rows are averaged in both losses; the public script adds them "
            "in the critic's loss and averages them in the generator's.",
            "The generator step reuses the classes of the last critic batch; the public script draws another batch.",
            "Every batch is drawn anew, without replacement. The public script goes through permutations of the rows; "
            "when at most one batch of a permutation is left, it skips these rows and starts a new permutation.",
            "Hidden layers have 4096 units in the published preset, as in the current public code; its first versions "
            "had 4086.",
            "The public script's README asks for min-max scaling on every data set. Here other ranges are refused with "
            "output=tanh, which reaches −1 to 1.",
            "If classes have equal numbers of votes, the one with the nearest reference wins. In the public script "
            "the class that comes first wins: among seen classes, or among unseen ones, the one with the lower "
            "number. In GZSL it puts seen classes first for images of seen classes and unseen classes first for "
            "images of unseen classes, so that a tie goes to the correct side.",
            "The public script measures test accuracy every 40 iterations from 120 on and keeps the best; here the "
            "last iteration counts.",
        ),
    )
    presets = {
        "published": Preset(
            source="the public GBU script (train_GBU.py), with the noise of each data set; 3001 iterations, of which "
            "the script keeps the best on test images, while here the last counts",
            values={
                "hidden": 4096,
                "iterations": 3001,
                "batch": 1024,
                "critic_steps": 5,
                "lr": 1e-4,
                "gp": 10.0,
                "cls_weight": 1.0,
                "pivot": 5.0,
                "decay": 1e-3,
                "per_class": 60,
                "neighbours": 20,
                "output": "tanh",
                "preprocess": "minmax",
                "semantic_norm": "none",
            },
            cells={(name, rules): {"noise": size} for rules in ("zsl", "gzsl") for name, size in _NOISE.items()},
        ),
        "quick": Preset(source=QUICK_SOURCE, values={**NARROW, "iterations": 600, "batch": 256}),
    }
    ablations = {
        "no_pivot": Ablation({"pivot": 0.0}, "without the visual pivot"),
        "no_classes": Ablation(
            {"cls_weight": 0.0},
            "without the auxiliary classifier: only the pivot brings the semantics into the loss",
        ),
    }
    space = {
        "lr": Between(3e-5, 1e-3, log=True),
        "cls_weight": Between(0.01, 10.0, log=True, zero=True),
        "pivot": Between(0.1, 100.0, log=True, zero=True),
        "decay": Between(1e-5, 0.1, log=True, zero=True),
        "iterations": Between(500, 5000, log=True),
        "neighbours": (5, 10, 20),
    }
    check_params = {
        "hidden": 64,
        "noise": 4,
        "iterations": 40,
        "critic_steps": 1,
        "batch": 64,
        "lr": 5e-3,
        "per_class": 20,
        "neighbours": 10,
    }
    betas = (0.5, 0.9)
    conditional = False
    scoring = ("per_class", "neighbours")
    round_name = "iteration"

    iterations: int = param(3000, low=1, high=1_000_000, log=True, help="generator steps")
    noise: int = other_default(100)
    batch: int = other_default(1024)
    cls_weight: float = param(
        1.0, low=0.0, high=100.0, log=True, help="weight of the classification losses, averaged over real and fake"
    )
    pivot: float = param(5.0, low=0.0, high=1000.0, log=True, help="weight w of the visual pivot; 0: none")
    decay: float = param(1e-3, low=0.0, high=1.0, log=True, help="weight λ of the generator's squared weights; 0: none")
    per_class: int = param(60, low=1, high=20000, log=True, help="rows synthesised for each candidate")
    neighbours: int = param(20, low=1, high=20000, log=True, help="nearest rows that vote")
    output: str = param(
        "tanh", choices=("tanh", "relu", "linear"), help="last activation of the generator: what range it reaches"
    )

    def terms(self, rows: SeenRows, noise: int, ctx: Context) -> list[LossTerm]:
        """Return the classification loss, the visual pivot and the squared weights, each if its weight is not 0."""
        from zslbench.methods.generative import regularisers

        means = regularisers.class_means(rows.features, rows.labels, len(rows.semantics))
        terms = [
            regularisers.classification_term(self._branch_weight()),
            LossTerm("pivot", self.pivot, lambda _networks, *given: regularisers.pivot_loss(*given), (means,)),
            regularisers.decay_term(self.decay),
        ]
        return [term for term in terms if term.weight]

    def scores(self, features: Array, classes: ClassTable) -> Array:
        """Return (n, k) float64 shares of the votes of the nearest synthesised rows, also for seen candidates."""
        from zslbench.methods.generative import final_classifiers

        order = classes.canonical()
        references = self._synthesise(classes.take(order), self.per_class)
        rows = self._tensor(self.preprocessor_.transform(features))
        votes = final_classifiers.neighbour_votes(references, rows, self.neighbours).cpu().double().numpy()
        return np.take(votes, np.argsort(order), axis=1)

    def _rounds(self, epoch_steps: int) -> Iterator[tuple[int, int, int]]:
        for done in range(0, self.iterations, JUDGED_EVERY):
            steps = min(JUDGED_EVERY, self.iterations - done)
            yield steps, done + steps, self.iterations

    def _branch_weight(self) -> float:
        return self.cls_weight / 2

    def _networks(self) -> tuple[dict[str, Any], dict[str, Any]]:
        return {"output": self.output, "slope": 0.01, "xavier": True}, {"slope": 0.0, "xavier": True}
