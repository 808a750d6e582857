"""Blocks of variational autoencoders: encoders to a Gaussian per row, its draws and divergences, warm-up of weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from zslbench.methods.nn import EmptyLinear

Layer = Callable[[int, int], torch.nn.Linear]
"""Makes a layer of so many inputs and outputs with its initial weights, such as `nn.linear` with a given stream."""


def xavier_linear(inputs: int, outputs: int, stream: torch.Generator, gain: float = 1.0) -> torch.nn.Linear:
    """Return a linear layer with Glorot's uniform weights, U(−b, b), b = gain·√(6 / (inputs + outputs)), bias zero."""
    layer = EmptyLinear(inputs, outputs)
    with torch.no_grad():
        torch.nn.init.xavier_uniform_(layer.weight, gain, generator=stream)
        layer.bias.zero_()
    return layer


class Perceptron(torch.nn.Module):
    """Linear layers with a leaky ReLU between them, and none after the last.

    Args:
        widths: of the input, the hidden layers and the output.
        layer: makes each layer.
        slope: of the leaky ReLU below zero; 0 is ReLU.
    """

    def __init__(self, widths: Sequence[int], layer: Layer, slope: float = 0.0) -> None:
        super().__init__()
        self.slope = slope
        self.layers = torch.nn.ModuleList(map(layer, widths[:-1], widths[1:]))

    def forward(self, rows: Tensor) -> Tensor:
        """Return (…, o) outputs of (…, i) rows."""
        for number, layer in enumerate(self.layers):
            rows = layer(functional.leaky_relu(rows, self.slope) if number else rows)
        return rows


class Posterior(NamedTuple):
    """A Gaussian with independent dimensions per row, N(μ, diag σ²).

    Attributes:
        mean: (…, l) μ.
        log_variance: (…, l) log σ².
    """

    mean: Tensor
    log_variance: Tensor

    @property
    def deviation(self) -> Tensor:
        """The (…, l) deviations σ = exp(log σ² / 2)."""
        return (self.log_variance / 2).exp()

    def draw(self, noise: Tensor, std_mode: str = "logvar_half") -> Tensor:
        """Return (…, l) draws μ + s ∘ ε, through which gradients flow.

        Args:
            noise: ε as `draw_noise` makes it.
            std_mode: s is σ with ``logvar_half``; with ``logvar`` σ², as in CADA-VAE's public code.
        """
        return self.mean + (self.deviation if std_mode == "logvar_half" else self.log_variance.exp()) * noise

    def divergence(self) -> Tensor:
        """Return the (…,) KL(N(μ, σ²) ‖ N(0, I)) = −½ Σ (1 + log σ² − μ² − σ²) of each row."""
        return -(1 + self.log_variance - self.mean.square() - self.log_variance.exp()).sum(-1) / 2

    def distance(self, other: Posterior) -> Tensor:
        """Return the (…,) 2-Wasserstein distance of each row's Gaussians, √(‖μ − μ′‖² + ‖σ − σ′‖²).

        The root has an infinite slope where both are equal; the gradient there is taken as 0, which is a subgradient.
        """
        apart = torch.cat([self.mean - other.mean, self.deviation - other.deviation], dim=-1)
        out: Tensor = torch.linalg.vector_norm(apart, dim=-1)
        return out


def draw_noise(rows: Sequence[int], latent: int, noise: str, stream: torch.Generator) -> Tensor:
    """Return standard normal noise on the device of `stream` for so many rows.

    It has `latent` dimensions with ``per_dim``, and one with ``scalar``, which all dimensions of a row then share.
    """
    return torch.randn(*rows, latent if noise == "per_dim" else 1, generator=stream, device=stream.device)


class GaussianEncoder(torch.nn.Module):
    """Hidden layers with leaky ReLUs, and two linear heads for the mean and the log-variance of a `Posterior`.

    Args:
        widths: of the input and the hidden layers; latent: units of each head.
        layer, slope: as in `Perceptron`.
    """

    def __init__(self, widths: Sequence[int], latent: int, layer: Layer, slope: float = 0.0) -> None:
        super().__init__()
        self.slope = slope
        self.body = Perceptron(widths, layer, slope)
        self.mean = layer(widths[-1], latent)
        self.log_variance = layer(widths[-1], latent)

    def forward(self, rows: Tensor) -> Posterior:
        """Return the posteriors of (…, i) rows."""
        hidden = functional.leaky_relu(self.body(rows), self.slope)
        return Posterior(self.mean(hidden), self.log_variance(hidden))


class AttributeDecoder(torch.nn.Module):
    """Semantics of rows by one hidden layer with a leaky ReLU, scaled to length 1 (TF-VAEGAN).

    Args:
        widths: of rows, hidden layer and semantics.
        layer, slope: as in `Perceptron`.
    """

    def __init__(self, widths: tuple[int, int, int], layer: Layer, slope: float) -> None:
        super().__init__()
        self.slope = slope
        self.first, self.second = layer(*widths[:2]), layer(*widths[1:])

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the (…, a) semantics and the (…, h) activations of the hidden layer for (…, d) rows."""
        hidden = functional.leaky_relu(self.first(rows), self.slope)
        decoded: Tensor = self.second(hidden)
        return functional.normalize(decoded.to(torch.promote_types(decoded.dtype, torch.float32)), dim=-1), hidden


def warmed_up(epoch: float, start: float, end: float, weight: float = 1.0) -> float:
    """Return a weight that grows linearly from 0 at epoch `start` to `weight` at epoch `end`.

    >>> [warmed_up(epoch, 6, 22, 8.0) for epoch in (0, 6, 14, 22, 99)]
    [0.0, 0.0, 4.0, 8.0, 8.0]
    """
    share = float(epoch >= end) if end <= start else (epoch - start) / (end - start)
    return weight * min(max(share, 0.0), 1.0)
