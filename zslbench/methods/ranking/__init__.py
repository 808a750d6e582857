"""Bilinear compatibilities s(x, c) = xᵀ W a_c, learned by gradient descent on a ranking loss.

Torch is imported inside the functions, so that the classes can be listed and described without it.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from zslbench.arrays import Array
from zslbench.methods.base import Context, Method, Size, report_losses
from zslbench.methods.preprocess import check_chain, normed, prepare
from zslbench.params import Between, param
from zslbench.task import ClassTable, Train

if TYPE_CHECKING:
    from torch import Tensor

    from zslbench.methods.ranking.descent import RankingDescent

SHARED_DIFFERENCES = (
    "The gradient of a batch is the sum over its images. So batch=1 gives the papers' updates, one per image, and a "
    "larger batch follows nearly the same path much faster.",
    "W starts at zero, not at random: the loss is convex in W, or nearly so, and training never removes a random "
    "start in those directions in which the attributes of unseen classes vary but those of seen classes do not.",
    "average=true predicts with the mean of W over all steps (Polyak & Ruppert); the papers do not do this. The "
    "number of epochs is fixed, whereas the papers stop by the accuracy on validation classes.",
    "Features and class vectors are normalised in the same way in training and in both protocols, and both protocols "
    "use the same score.",
)
"""Differences on the card of every method here."""
PUBLISHED = (
    "learning rate, margin and norm found on validation classes by the public re-implementation "
    "mvp18/Popular-ZSL-Algorithms ({}), ResNet-101 features, one image per update, class vectors as xlsa17 has them; "
    "its published accuracy is that of a W fitted to the training classes alone, without the validation classes; it "
    "trains up to 100 epochs and keeps the one that is best on validation classes, here the 100th counts; its W "
    "starts at random, here at zero"
)
NORMS = {"L2": "l2", "std": "standard", "None": "none"}
"""The names that the public code uses for preprocessing."""


def published_cell(norm: str, **values: float | str) -> dict[str, Any]:
    """Return a preset's values for one data set: those that all share, `norm` by its public name, and `values`.

    The public code scales only training rows to unit length, which matters only in training: the lengths of test rows
    do not change the order of their classes.
    """
    shared = {"preprocess": NORMS[norm], "semantic_norm": "none", "batch": 1, "epochs": 100, "average": False}
    return {**shared, **values}


@dataclasses.dataclass(kw_only=True)
class BilinearMethod(Method):
    """A compatibility of features and semantics, linear in both, trained by mini-batches on a ranking loss.

    Fitted: ``weights_``, (K, d, a) float32; K is 1 except for latent compatibilities.
    """

    space = {  # margin is left out: from W = 0, c·margin is margin with lr/c
        "lr": Between(0.03, 3.0, log=True),
        "epochs": Between(5, 60, log=True),
        "preprocess": ("l2", "standard+l2", "minmax+l2"),
    }
    libraries = ("zslbench.methods.ranking.descent",)
    slow_from = 1e11
    check_params = {"epochs": 10}

    lr: float = param(
        0.3, low=1e-6, high=1e3, log=True, help="learning rate per image (the gradient of a batch is summed)"
    )
    margin: float = param(
        1.0, low=0.0, high=1e4, help="Δ by which the score of an image's own class should exceed the others"
    )
    epochs: int = param(50, low=1, high=10000, log=True, help="passes over the training rows")
    batch: int = param(64, low=1, high=65536, log=True, help="rows per step")
    average: bool = param(True, help="predict with the mean of W over all steps instead of the last W")
    semantic_norm: str = param("l2", choices=("l2", "none"), help="whether each class vector is scaled to length 1")
    preprocess: str = param("l2", validate=check_chain, help="chain of none, minmax, standard, l2, clip")

    def cost(self, size: Size) -> float:
        """Return the rows of all epochs, times the entries of W in the span of the class vectors."""
        return float(self.epochs * size.images * size.features * min(size.semantics, size.classes))

    @abc.abstractmethod
    def ranking_loss(self) -> str:
        """Return the name of the loss in `descent.LOSSES`."""

    def fit(self, train: Train, ctx: Context) -> Self:
        """Train W on seen classes, starting from zero."""
        import torch

        from zslbench.methods import nn
        from zslbench.methods.ranking.descent import LOSSES, RankingDescent, span

        device = self.device_ = nn.resolve_device(ctx.device)
        classes, self.preprocessor_, features, labels = prepare(train, self.preprocess)
        coordinates, basis = span(normed(classes.semantics, self.semantic_norm).astype(np.float64))
        order, negatives = (nn.random_stream(ctx.stream_seed(purpose), device) for purpose in ("batches", "negatives"))
        loss_of = LOSSES[self.ranking_loss()]

        def draw(matrix: Tensor) -> Tensor:
            return torch.rand(matrix.shape, generator=negatives, device=device)

        training = RankingDescent(
            torch.tensor(features, device=device),
            torch.tensor(labels, device=device),
            torch.tensor(coordinates, dtype=torch.float32, device=device),
            self.initial(features.shape[1], coordinates.shape[1], ctx).to(device),
            lambda excess, labels: loss_of(excess, labels, draw),
            margin=self.margin,
            lr=self.lr,
            average=self.average,
        )
        self.threads_ = nn.threads_for(2 * self.batch * training.weights.numel())
        advice = f"lower lr={self.lr:g}, or choose preprocess=l2"
        steps = math.ceil(len(features) / self.batch)
        for epoch in range(1, self.epochs + 1):
            done = (epoch - 1) * steps

            def advance(taken: int, done: int = done) -> bool:
                return ctx.progress(done + taken, self.epochs * steps)

            with nn.in_threads(self.threads_):
                loss = training.epoch(self.batch, order, advance)
            further = self.after_epoch(epoch, training)
            matrices = training.result.mT.cpu().numpy()
            self.weights_: Array = matrices @ basis.T.astype(np.float32)
            losses = {"loss": loss if np.isfinite(matrices).all() else math.nan}
            report_losses(self, ctx, (epoch, self.epochs), losses | further, advice)
            if advance(steps):
                break
        return self

    def initial(self, d: int, r: int, ctx: Context) -> Tensor:
        """Return the initial (K, r, d) matrices W_kᵀ."""
        import torch

        return torch.zeros(1, r, d)

    def after_epoch(self, epoch: int, training: RankingDescent) -> dict[str, float]:
        """Do what is needed between epochs; return what to log besides the loss."""
        return {}

    def scores(self, features: Array, classes: ClassTable) -> Array:
        """Return (n, k) float32 compatibilities max_k xᵀ W_k a."""
        x = self.preprocessor_.transform(features)
        semantics = normed(classes.semantics, self.semantic_norm)
        out: Array = np.linalg.multi_dot([x, self.weights_[0], semantics.T])
        for weights in self.weights_[1:]:
            np.maximum(out, np.linalg.multi_dot([x, weights, semantics.T]), out=out)
        return out
