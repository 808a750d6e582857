"""The comparator, or relation network: one value for each pair of a row and a class (Sung et al., CVPR 2018).

Torch is imported at the top: import this module only where such a network is made.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from zslbench.methods.nn import linear, uniform_linear

BLOCK_VALUES = {"cpu": 2**17, "cuda": 2**26}
"""Hidden activations of a block of pairs, by device: on a CPU they stay in its cache, on a GPU they fit its memory."""


class Comparator(torch.nn.Module):
    """F(h, a) = w₂ᵀ φ(W_h h + W_a a + b₁) + b₂ for all pairs of rows h and classes a; φ is a (leaky) ReLU.

    The first layer reads the concatenation [h, a]. It is kept as two layers, so that each row and each class passes
    through its own part once: values and gradients are those of all concatenated pairs, without their cost.

    Args:
        features, semantics: units of h and of a, which may be an embedding.
        init: weights from N(0, 0.02²) with ``normal``, or as torch draws those of a layer on [h, a] with ``uniform``.
        slope: of the leaky ReLU below zero; 0 is ReLU.
    """

    def __init__(
        self,
        features: int,
        semantics: int,
        hidden: int,
        stream: torch.Generator,
        *,
        init: str = "normal",
        slope: float = 0.0,
    ) -> None:
        super().__init__()
        self.slope = slope
        if init == "normal":
            self.from_features = linear(features, hidden, stream)
            self.from_semantics = linear(semantics, hidden, stream, bias=False)
            self.value = linear(hidden, 1, stream)
        else:
            fan_in = features + semantics
            self.from_features = uniform_linear(features, hidden, stream, fan_in=fan_in)
            self.from_semantics = uniform_linear(semantics, hidden, stream, bias=False, fan_in=fan_in)
            self.value = uniform_linear(hidden, 1, stream)

    def forward(self, features: Tensor, semantics: Tensor) -> Tensor:
        """Return the (m, k) values of (m, h) rows with (k, a) classes, before any sigmoid."""
        by_row, by_class = self.from_features(features), self.from_semantics(semantics)
        weight = self.value.weight[0].to(by_row.dtype)
        values: Tensor = PairwiseValues.apply(by_row, by_class, weight, self.slope)  # type: ignore[no-untyped-call]
        return values + self.value.bias


class PairwiseValues(torch.autograd.Function):
    """v_ij = wᵀ φ(p_i + q_j) for all pairs of (m, h) and (k, h) parts; the m·k·h activations are never kept.

    Forward and backward go through blocks of rows, and backward computes the activations anew: two passes through the
    cache cost less than keeping what does not fit it. Sums of gradients over rows are in float32 at least.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(by_row: Tensor, by_class: Tensor, weight: Tensor, slope: float) -> Tensor:
        """Return the (m, k) values."""
        return torch.cat(
            [functional.leaky_relu(rows[:, None] + by_class, slope) @ weight for rows in _blocks(by_row, by_class)]
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep the inputs."""
        *parts, ctx.slope = inputs
        ctx.save_for_backward(*parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Return the gradients by both parts and by the weight."""
        by_row, by_class, weight = ctx.saved_tensors
        exact = torch.promote_types(weight.dtype, torch.float32)
        of_rows: list[Tensor] = []
        of_classes = torch.zeros_like(by_class, dtype=exact)
        start = 0
        for rows in _blocks(by_row, by_class):
            by_value = gradients[0][start : start + len(rows)].to(weight.dtype)
            start += len(rows)
            pairs = rows[:, None] + by_class
            each = torch.ops.aten.leaky_relu_backward(by_value[:, :, None].expand_as(pairs), pairs, ctx.slope, False)
            of_rows.append(each.sum(1, dtype=exact))
            of_classes = of_classes + each.sum(0, dtype=exact)
        by_slopes = torch.cat(of_rows), of_classes
        # φ(p + q) = φ′(p + q) (p + q), so the sums of slopes give the gradient by the weight as well
        of_weight = (by_row * by_slopes[0]).sum(0) + (by_class * by_slopes[1]).sum(0)
        of_row, of_class = (sums * weight for sums in by_slopes)
        return of_row.to(by_row.dtype), of_class.to(by_class.dtype), of_weight.to(weight.dtype), None


def _blocks(by_row: Tensor, by_class: Tensor) -> tuple[Tensor, ...]:
    """Return the (m, h) rows in blocks of at least one row."""
    most = BLOCK_VALUES.get(by_row.device.type, BLOCK_VALUES["cuda"]) // max(1, by_class.numel())
    blocks: tuple[Tensor, ...] = torch.split(by_row, max(1, most))
    return blocks
