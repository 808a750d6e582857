"""Ranking losses of compatibility scores, as pure functions of a batch: which wrong classes count, and how much.

Every loss here is Σ_c w_c [Δ + s_c − s_y]₊ over the classes c of an image with class y, and its gradient treats the
weights as constant. So a loss is one function from the (m, c) matrix of `excess` to the (m, c) matrix of weights, and
`Ranking` does the rest. Torch is imported at the top: import this module only where training happens.
"""

from __future__ import annotations

import dataclasses
import functools

import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Ranking:
    """What a ranking loss says of a batch.

    Attributes:
        losses: (m,) a loss an image.
        gradient: (m, c) derivatives of their sum by the scores; every row sums to 0.
    """

    losses: Tensor
    gradient: Tensor

    @classmethod
    def of(cls, excess: Tensor, labels: Tensor, weights: Tensor) -> Ranking:
        """Return the losses of (m, c) weights that are 0 wherever `excess` is not positive."""
        own = labels[:, None]
        return cls((weights * excess).sum(dim=1), weights.scatter(1, own, -weights.sum(dim=1, keepdim=True)))


def excess(scores: Tensor, labels: Tensor, margin: float) -> Tensor:
    """Return (m, c) Δ + s_c − s_y of (m, c) scores and (m,) labels: positive where class c violates the margin.

    An image's own class has 0: it violates nothing.
    """
    own = labels[:, None]
    out: Tensor = (scores - scores.gather(1, own) + margin).scatter(1, own, 0.0)
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
    """Return (count,) β_k = Σ_{i≤k} 1/i for k from 0, β_0 = 0. Every call gives the same tensor: do not write to it."""
    terms = 1 / torch.arange(1, count, dtype=torch.float64)
    return torch.cat([torch.zeros(1, dtype=torch.float64), terms.cumsum(0)]).to(device=device, dtype=dtype)


def weighted_ranks(excess: Tensor) -> Tensor:
    """Return weight β_r/r for each of the r violating classes of an image (ALE, with α_i = 1/i)."""
    violates = excess > 0
    rank = violates.sum(dim=1)
    beta = harmonic_numbers(excess.shape[1], excess.dtype, excess.device)
    return violates * (beta[rank] / rank.clamp(min=1))[:, None]


def sampled_ranks(excess: Tensor, labels: Tensor, keys: Tensor) -> Tensor:
    """Return weight β_⌊(C−1)/k⌋ for the first violating class, found at draw k among the C − 1 wrong ones.

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
