"""LATEM: a piecewise bilinear compatibility, one of K latent matrices for each image and class (Xian et al., 2016)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from zslbench.methods.base import Context, MethodCard, Preset, Size
from zslbench.methods.ranking import SHARED_DIFFERENCES, BilinearMethod
from zslbench.params import param

if TYPE_CHECKING:
    from torch import Tensor

    from zslbench.methods.ranking.descent import RankingDescent


@dataclasses.dataclass(kw_only=True)
class LATEM(BilinearMethod):
    """Latent embeddings: s(x, c) = max_k xᵀ W_k a_c, trained on one wrong class per image (Xian et al., 2016)."""

    card = MethodCard(
        title="LATEM",
        summary="piecewise bilinear compatibility: the score is the best of several latent matrices",
        citation="xian2016latem",
        reference="Xian, Akata, Sharma, Nguyen, Hein & Schiele, Latent embeddings for zero-shot classification, "
        "CVPR 2016",
        formula="min_W Σ_i Σ_{c≠y_i} [Δ + s(x_i, c) − s(x_i, y_i)]₊, one c drawn a step;  s(x, c) = max_k xᵀ W_k a_c",
        differences=(
            "negative=violator draws the wrong class among those that violate the margin. negative=random draws it "
            "among all wrong classes and skips the image if the drawn class does not violate the margin, as the paper "
            "and the authors' Matlab code do.",
            "Matrices start from N(0, init²/d), here with init=0.1 by default, only in the span of the seen class "
            "vectors; the authors' code uses N(0, 1/d).",
            "The authors' code has no pruning (prune_every=0); the paper describes pruning without its counts. Here "
            "pruning counts how often, over the last prune_every epochs, each matrix gave a score that was updated, "
            "and drops matrices with a share below prune_below; at least one matrix stays.",
            *(text for text in SHARED_DIFFERENCES if not text.startswith("W starts at zero")),
        ),
    )
    presets = {
        "authors": Preset(
            source="the authors' Matlab code (latEm_train.m and its demo on CUB): N(0, 1/d), random wrong classes, one "
            "image per update, no pruning, K=10, rate 0.1, 10 epochs; the demo says that rate and K should be tuned on "
            "validation classes. It divides standardised features by their largest value, here each row by its length",
            values={
                "k": 10,
                "init": 1.0,
                "negative": "random",
                "prune_every": 0,
                "lr": 0.1,
                "margin": 1.0,
                "epochs": 10,
                "batch": 1,
                "average": False,
                "semantic_norm": "none",
                "preprocess": "standard+l2",
            },
        )
    }
    space = {**BilinearMethod.space, "k": (1, 2, 4)}

    k: int = param(2, low=1, high=64, log=True, help="latent matrices to start with (K)")
    init: float = param(0.1, low=1e-6, high=10.0, log=True, help="initial matrices are N(0, init²/d)")
    negative: str = param(
        "violator", choices=("violator", "random"), help="the wrong class to learn from: one that violates, or any"
    )
    prune_every: int = param(5, low=0, high=10000, help="epochs between prunings; 0: none")
    prune_below: float = param(0.05, low=0.0, high=1.0, help="share of updates below which a matrix is dropped")

    def ranking_loss(self) -> str:
        """Return the hinge of one wrong class, drawn at random."""
        return "first violator" if self.negative == "violator" else "random class"

    def cost(self, size: Size) -> float:
        """Return the cost of one matrix, times the initial number of matrices."""
        return self.k * super().cost(size)

    def initial(self, d: int, r: int, ctx: Context) -> Tensor:
        """Return (K, r, d) matrices from N(0, init²/d)."""
        import torch

        from zslbench.methods import nn

        stream = nn.random_stream(ctx.stream_seed("init"))
        start = torch.empty(d, self.k, r).normal_(0.0, self.init * d**-0.5, generator=stream)
        return start.permute(1, 2, 0).contiguous()

    def after_epoch(self, epoch: int, training: RankingDescent) -> dict[str, float]:
        """Prune every `prune_every` epochs, except after the last; return how many matrices are left."""
        if self.prune_every and epoch % self.prune_every == 0 and epoch < self.epochs:
            training.prune(self.prune_below)
        return {"matrices": float(len(training.weights))}
