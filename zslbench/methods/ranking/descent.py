"""Ranking losses of compatibilities s(x, c) = max_k xᵀ W_k a_c, and stochastic gradient descent on them.

Every loss here is Σ_c w_c [Δ + s_c − s_y]₊ over the classes c of an image with class y, and its gradient treats the
weights as constant. So a loss is one function that returns the (m, c) weights for the (m, c) `excess` and, if classes
are drawn, (m,) labels and (m, c) random keys; `sum_violations` does the rest. Torch is imported at the top.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from zslbench.arrays import Array


def excess(scores: Tensor, labels: Tensor, margin: float) -> Tensor:
    """Return (m, c) Δ + s_c − s_y of (m, c) scores and (m,) labels: positive if class c violates the margin.

    It is 0 for an image's own class, which violates nothing.
    """
    labels = labels[:, None]
    out: Tensor = (scores - scores.gather(1, labels) + margin).scatter(1, labels, 0.0)
    return out


def sum_violations(excess: Tensor, labels: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the (m,) losses for (m, c) weights that are 0 wherever `excess` is not positive, and their derivative.

    The (m, c) derivatives are those of the sum of losses by the scores; every row sums to 0.
    """
    total = weights.sum(dim=1, keepdim=True)
    return (weights * excess).sum(dim=1), weights.scatter(1, labels[:, None], -total)


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
    """Return weight 1 for one wrong class, that with the highest of (m, c) random `keys`, if it violates the margin."""
    return _one_hot(excess, keys.scatter(1, labels[:, None], -1.0).argmax(dim=1))


@functools.lru_cache(maxsize=8)
def harmonic_numbers(count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return (count,) β_k = Σ_{i≤k} 1/i for k from 0, β_0 = 0; calls share one tensor, so do not change it."""
    terms = 1 / torch.arange(1, count, dtype=torch.float64)
    return torch.cat([torch.zeros(1, dtype=torch.float64), terms.cumsum(0)]).to(device=device, dtype=dtype)


def weighted_ranks(excess: Tensor) -> Tensor:
    """Return weight β_r/r for each of the r violating classes of an image (ALE, with α_i = 1/i)."""
    violates = excess > 0
    rank = violates.sum(dim=1)
    beta = harmonic_numbers(excess.shape[1], excess.dtype, excess.device)
    return violates * (beta[rank] / rank.clamp(min=1))[:, None]


def sampled_ranks(excess: Tensor, labels: Tensor, keys: Tensor) -> Tensor:
    """Return weight β_⌊(C−1)/k⌋ for the first violating class, which is found at draw k among the C − 1 wrong ones.

    This is the sampled WARP loss (Weston et al., 2011, and ALE). Classes are drawn with replacement, at most C − 1
    times; an image for which no drawn class violates the margin has weight 0. Each of the (m, c) uniform `keys` is one
    draw.
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
    """Return (m, c) weights: 1 at each of the (m,) picked classes that violates the margin."""
    at = picked[:, None]
    return torch.zeros_like(excess).scatter(1, at, (excess.gather(1, at) > 0).to(excess.dtype))


LOSSES: Mapping[str, Callable[[Tensor, Tensor, Callable[[Tensor], Tensor]], Tensor]] = {
    "every violator": lambda excess, labels, draw: every_violator(excess),
    "worst violator": lambda excess, labels, draw: worst_violator(excess),
    "first violator": lambda excess, labels, draw: first_violator(excess, draw(excess)),
    "random class": lambda excess, labels, draw: random_class(excess, labels, draw(excess)),
    "weighted ranks": lambda excess, labels, draw: weighted_ranks(excess),
    "sampled ranks": lambda excess, labels, draw: sampled_ranks(excess, labels, draw(excess)),
}
"""Losses by name; ``draw(matrix)`` gives uniform random numbers of the matrix's shape."""


def span(semantics: Array) -> tuple[Array, Array]:
    """Return (c, r) coordinates L and an (a, r) orthonormal basis Q with semantics = L Qᵀ, r = min(c, a).

    All updates of a W_k are (…) · S: they stay in the span of the class vectors. Steps in W_k Q are the same steps and
    cost r/a as much, which is a half for CUB's 150 classes and 312 attributes.
    """
    classes, attributes = semantics.shape
    if attributes <= classes:
        return semantics, np.eye(attributes)
    basis, triangle = np.linalg.qr(semantics.T)
    return triangle.T, basis


class RankingDescent:
    """Mini-batch gradient descent on K matrices W_k; the gradient is written out, nothing is recorded for autograd.

    The derivative of the loss by the scores is an (m, c) matrix G with few entries, and that by W_k is Xᵀ G_k S, where
    G_k keeps the entries of G whose score comes from matrix k. The gradient of a batch is summed, not averaged: a
    learning rate means the same for every size of batch, and one image per batch gives the updates of the papers.
    Matrices are kept transposed, as (K, r, d): the update is a third faster if its rows are the long ones.

    Args:
        features: (n, d) rows.
        labels: (n,) positions of their classes.
        semantics: (c, r) class vectors.
        weights: (K, r, d) initial matrices W_kᵀ, changed in place.
        weigh: the loss, from (m, c) excess and (m,) labels to (m, c) weights.
        margin: Δ.
        lr: the step per image.
        average: whether to keep the mean of the matrices over all steps, too.
    """

    def __init__(
        self,
        features: Tensor,
        labels: Tensor,
        semantics: Tensor,
        weights: Tensor,
        weigh: Callable[[Tensor, Tensor], Tensor],
        *,
        margin: float,
        lr: float,
        average: bool = False,
    ) -> None:
        self.features, self.labels, self.semantics, self.weights = features, labels, semantics, weights
        self.weigh, self.margin, self.lr, self.average, self.steps = weigh, margin, lr, average, 0
        self._mean = weights.clone() if average else weights
        self.chosen = torch.zeros(len(weights), dtype=torch.int64, device=weights.device)

    @property
    def result(self) -> Tensor:
        """The (K, r, d) matrices to predict with: the last ones, or the mean over all steps."""
        return self._mean if self.average else self.weights

    def epoch(self, batch: int, order: torch.Generator, advance: Callable[[int], bool] = lambda _taken: False) -> float:
        """Take one step for each of ⌈n / batch⌉ batches in a random order; return the mean loss per image.

        After each step `advance` is called with the number of steps taken; if it returns True, the loop ends.
        """
        device = self.features.device
        total = torch.zeros((), device=device)
        batches = torch.split(torch.randperm(len(self.features), generator=order, device=device), batch)
        for taken, rows in enumerate(batches, start=1):
            total += self.step(rows)
            if advance(taken):
                break
        return float(total) / len(self.features)

    def step(self, rows: Tensor) -> Tensor:
        """Move W_k by −lr Xᵀ G_k S for the (m,) rows of a batch; return the sum of their losses."""
        x, labels = self.features.index_select(0, rows), self.labels[rows]
        matrices, r, d = self.weights.shape
        flat = self.weights.view(matrices * r, d)
        projected = flat @ x.T
        if matrices == 1:
            scores = projected.T @ self.semantics.T
        else:
            scores, which = (projected.view(matrices, r, -1).mT @ self.semantics.T).max(dim=0)
        over = excess(scores, labels, self.margin)
        losses, gradient = sum_violations(over, labels, self.weigh(over, labels))
        if matrices == 1:
            pulls = gradient @ self.semantics
        else:
            split = scores.new_zeros(matrices, *scores.shape).scatter_(0, which[None], gradient[None])
            pulls = split @ self.semantics
            self.chosen += (split != 0).sum(dim=(1, 2))
        flat.addmm_(pulls.mT.reshape(matrices * r, len(rows)), x, alpha=-self.lr)
        self.steps += 1
        if self.average:
            self._mean.lerp_(self.weights, 1 / self.steps)
        return losses.sum()

    def prune(self, share: float) -> int:
        """Drop matrices that gave less than `share` of the scores in updates since the last call; return how many."""
        rare = self.chosen < share * self.chosen.sum()
        rare[self.chosen.argmax()] = False
        if rare.any():
            self.weights = self.weights[~rare]
            self._mean = self._mean[~rare] if self.average else self.weights
        self.chosen = torch.zeros(len(self.weights), dtype=torch.int64, device=self.weights.device)
        return int(rare.sum())
