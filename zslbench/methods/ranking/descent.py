"""Ranking losses of compatibilities s(x, c) = max_k xᵀ W_k a_c, and stochastic gradient descent on them.

Every loss here is Σ_c w_c [Δ + s_c − s_y]₊ over the classes c of an image with class y, and its gradient treats the
weights as constant. So a loss is one function from the (m, c) matrix of `excess` to the (m, c) matrix of weights, and
`Ranking` does the rest. Torch is imported at the top: import this module only where training happens.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from zslbench.arrays import Array


@dataclasses.dataclass(frozen=True, eq=False)
class Ranking:
    """The (m,) losses of a batch and the (m, c) derivatives of their sum by the scores; every row sums to 0."""

    losses: Tensor
    gradient: Tensor

    @classmethod
    def of(cls, excess: Tensor, labels: Tensor, weights: Tensor) -> Ranking:
        """Return the losses of (m, c) weights that are 0 wherever `excess` is not positive."""
        total = weights.sum(dim=1, keepdim=True)
        return cls((weights * excess).sum(dim=1), weights.scatter(1, labels[:, None], -total))


def excess(scores: Tensor, labels: Tensor, margin: float) -> Tensor:
    """Return (m, c) Δ + s_c − s_y of (m, c) scores and (m,) labels: positive where class c violates the margin.

    An image's own class has 0: it violates nothing.
    """
    labels = labels[:, None]
    out: Tensor = (scores - scores.gather(1, labels) + margin).scatter(1, labels, 0.0)
    return out


def every_violator(excess: Tensor) -> Tensor:
    """Return weight 1 for every violating class (DeViSE, Eq. 1)."""
    return (excess > 0).to(excess.dtype)


def worst_violator(excess: Tensor) -> Tensor:
    """Return weight 1 for the class of the largest violation (SJE: the structured loss)."""
    return _one_hot(excess, excess.argmax(dim=1))


def first_violator(excess: Tensor, keys: Tensor) -> Tensor:
    """Return weight 1 for the first violating class in the order that (m, c) random `keys` give, highest first."""
    return _one_hot(excess, torch.where(excess > 0, keys, -1.0).argmax(dim=1))


def random_class(excess: Tensor, labels: Tensor, keys: Tensor) -> Tensor:
    """Return weight 1 for one wrong class, the one with the highest of (m, c) random `keys`, where it violates."""
    return _one_hot(excess, keys.scatter(1, labels[:, None], -1.0).argmax(dim=1))


@functools.lru_cache(maxsize=8)
def harmonic_numbers(count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return (count,) β_k = Σ_{i≤k} 1/i for k from 0, β_0 = 0; read only, since each call gives the same tensor."""
    terms = 1 / torch.arange(1, count, dtype=torch.float64)
    return torch.cat([torch.zeros(1, dtype=torch.float64), terms.cumsum(0)]).to(device=device, dtype=dtype)


def weighted_ranks(excess: Tensor) -> Tensor:
    """Return weight β_r/r for each of the r violating classes of an image (ALE, with α_i = 1/i)."""
    violates = excess > 0
    rank = violates.sum(dim=1)
    beta = harmonic_numbers(excess.shape[1], excess.dtype, excess.device)
    return violates * (beta[rank] / rank.clamp(min=1))[:, None]


def sampled_ranks(excess: Tensor, labels: Tensor, keys: Tensor) -> Tensor:
    """Return weight β_⌊(C−1)/k⌋ for the first violating class, met at draw k among the C − 1 wrong ones.

    WARP as it is sampled (Weston et al., 2011, and ALE): classes are drawn with replacement, C − 1 times at most; an
    image for which none of them violates the margin teaches nothing. Each of the (m, c) uniform `keys` is one draw.
    """
    wrong = excess.shape[1] - 1
    if wrong == 0:
        return torch.zeros_like(excess)
    drawn = (keys[:, :wrong] * wrong).long().clamp(max=wrong - 1)
    drawn += drawn >= labels[:, None]  # past the image's own class
    violates = excess.gather(1, drawn) > 0
    first = violates.to(torch.uint8).argmax(dim=1)
    beta = harmonic_numbers(excess.shape[1], excess.dtype, excess.device)
    weight = beta[torch.div(wrong, first + 1, rounding_mode="floor")] * violates.any(dim=1)
    return torch.zeros_like(excess).scatter(1, drawn.gather(1, first[:, None]), weight[:, None])


def _one_hot(excess: Tensor, picked: Tensor) -> Tensor:
    """Return (m, c) weights: 1 at the (m,) picked classes where they violate the margin."""
    at = picked[:, None]
    return torch.zeros_like(excess).scatter(1, at, (excess.gather(1, at) > 0).to(excess.dtype))


Weigh = Callable[[Tensor, Tensor], Tensor]
"""A loss: from (m, c) excess and (m,) labels to (m, c) weights."""
LOSSES: Mapping[str, Callable[[Tensor, Tensor, Callable[[Tensor], Tensor]], Tensor]] = {
    "every violator": lambda excess, labels, keys: every_violator(excess),
    "worst violator": lambda excess, labels, keys: worst_violator(excess),
    "first violator": lambda excess, labels, keys: first_violator(excess, keys(excess)),
    "random class": lambda excess, labels, keys: random_class(excess, labels, keys(excess)),
    "weighted ranks": lambda excess, labels, keys: weighted_ranks(excess),
    "sampled ranks": lambda excess, labels, keys: sampled_ranks(excess, labels, keys(excess)),
}
"""Losses by name; ``keys(matrix)`` draws uniform random numbers of the matrix's shape."""


@dataclasses.dataclass(frozen=True)
class DescentOptions:
    """How W descends.

    Attributes:
        margin: Δ; lr: the step per image; batch: rows per step.
        average: whether to keep the mean of the matrices over all steps, too.
    """

    margin: float
    lr: float
    batch: int
    average: bool = False


def span(semantics: Array) -> tuple[Array, Array]:
    """Return (c, r) coordinates L and an (a, r) orthonormal basis Q with semantics = L Qᵀ, r = min(c, a).

    All updates of a W_k are (…) · S: they stay in the span of the class vectors. Steps in W_k Q are the same steps at
    r/a of the price, which is a half for CUB's 150 classes and 312 attributes.
    """
    classes, attributes = semantics.shape
    if attributes <= classes:
        return semantics, np.eye(attributes)
    basis, triangle = np.linalg.qr(semantics.T)
    return triangle.T, basis


class RankingDescent:
    """Mini-batched gradient descent on K matrices W_k; the gradient is written out, nothing is recorded for autograd.

    The derivative of the loss by the scores is an (m, c) matrix G with few entries, and that by W_k is Xᵀ G_k S, where
    G_k keeps the entries of G whose score is that of matrix k. The gradient of a batch is summed, not averaged: a
    learning rate means the same for every size of batch, and one image a batch gives the updates of the papers.
    Matrices are kept transposed, as (K, r, d): the update is a third faster where its rows are the long ones.

    Args:
        features: (n, d) rows; labels: (n,) positions of their classes.
        semantics: (c, r) class vectors.
        weights: (K, r, d) initial matrices W_kᵀ, changed in place.
        weigh: the loss; order: the generator of batches.
    """

    def __init__(
        self,
        features: Tensor,
        labels: Tensor,
        semantics: Tensor,
        weights: Tensor,
        weigh: Weigh,
        options: DescentOptions,
        order: torch.Generator,
    ) -> None:
        self.features, self.labels, self.semantics, self.weights = features, labels, semantics, weights
        self.weigh, self.options, self.order, self.steps = weigh, options, order, 0
        self._mean = weights.clone() if options.average else weights
        self.chosen = torch.zeros(len(weights), dtype=torch.int64, device=weights.device)

    @property
    def result(self) -> Tensor:
        """The (K, r, d) matrices to predict with: the last ones, or the mean over all steps."""
        return self._mean if self.options.average else self.weights

    def epoch(self) -> float:
        """Take one step for each of ⌈n / batch⌉ batches of a random order; return the mean loss of an image."""
        device = self.features.device
        total = torch.zeros((), device=device)
        order = torch.randperm(len(self.features), generator=self.order, device=device)
        for rows in torch.split(order, self.options.batch):
            total += self.step(rows)
        return float(total) / len(self.features)

    def step(self, rows: Tensor) -> Tensor:
        """Move W_k by −lr Xᵀ G_k S for the (m,) rows of a batch; return the sum of their losses."""
        x, labels = self.features.index_select(0, rows), self.labels[rows]
        matrices, r, d = self.weights.shape
        flat = self.weights.view(matrices * r, d)
        scores, which = self._scores(flat @ x.T)
        over = excess(scores, labels, self.options.margin)
        ranking = Ranking.of(over, labels, self.weigh(over, labels))
        if which is None:
            pulls = ranking.gradient @ self.semantics
        else:
            split = scores.new_zeros(matrices, *scores.shape).scatter_(0, which[None], ranking.gradient[None])
            pulls = split @ self.semantics
            self.chosen += (split != 0).sum(dim=(1, 2))
        flat.addmm_(pulls.mT.reshape(matrices * r, len(rows)), x, alpha=-self.options.lr)
        self.steps += 1
        if self.options.average:
            self._mean.lerp_(self.weights, 1 / self.steps)
        return ranking.losses.sum()

    def prune(self, share: float) -> int:
        """Drop the matrices that scored less than `share` of what was updated since the last call; return how many."""
        rare = self.chosen < share * self.chosen.sum()
        rare[self.chosen.argmax()] = False
        if rare.any():
            self.weights = self.weights[~rare]
            self._mean = self._mean[~rare] if self.options.average else self.weights
        self.chosen = torch.zeros(len(self.weights), dtype=torch.int64, device=self.weights.device)
        return int(rare.sum())

    def _scores(self, projected: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return (m, c) scores of (K·r, m) projected rows, and which matrix each is from (None where K = 1)."""
        matrices, r = self.weights.shape[:2]
        if matrices == 1:
            return projected.T @ self.semantics.T, None
        scores, which = (projected.view(matrices, r, -1).mT @ self.semantics.T).max(dim=0)
        return scores, which
