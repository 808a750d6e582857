"""Networks that map semantics to image features (DEM, CNZSL), and the batches they are trained on.

Torch is imported at the top: import this module only where such a network is made.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from zslbench.methods.nn import EmptyLinear, uniform_linear

BIAS = 0.1
"""Initial bias of both layers in DEM's public code."""
EPSILON = 1e-5
"""Added to a variance before dividing by it."""


def truncated_layer(inputs: int, outputs: int, std: float, stream: torch.Generator) -> torch.nn.Linear:
    """Return a linear layer with weights from N(0, std²), cut at two standard deviations, on the CPU."""
    layer = EmptyLinear(inputs, outputs)
    with torch.no_grad():
        torch.nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std, generator=stream)
        layer.bias.fill_(BIAS)
    return layer


class DeepEmbedding(torch.nn.Module):
    """f(a) = g(W₂ ReLU(W₁ a + b₁) + b₂), g = ReLU, or the identity if not `positive` (DEM, Eq. 1).

    Initial weights have deviation `std`; 0 means √(2 / inputs) for each layer.
    """

    def __init__(
        self, semantics: int, hidden: int, features: int, *, std: float, positive: bool, stream: torch.Generator
    ) -> None:
        super().__init__()
        self.first = truncated_layer(semantics, hidden, std or (2 / semantics) ** 0.5, stream)
        self.second = truncated_layer(hidden, features, std or (2 / hidden) ** 0.5, stream)
        self.positive = positive

    def forward(self, semantics: Tensor) -> Tensor:
        """Return (k, d) features of (k, a) semantics."""
        out: Tensor = self.second(functional.relu(self.first(semantics)))
        return functional.relu(out) if self.positive else out

    def loss(self, features: Tensor, labels: Tensor, semantics: Tensor, decay: float) -> Tensor:
        """Return ‖x − f(a_y)‖² / d, averaged over (m, d) rows, plus decay/2 · (‖W₁‖² + ‖W₂‖²).

        Each class of the batch passes through the network once, however many rows it has.
        """
        present, of_row = torch.unique(labels, return_inverse=True)
        error: Tensor = (features - self(semantics[present])[of_row]).square().mean()
        weights = self.first.weight.square().sum() + self.second.weight.square().sum()
        return error + decay / 2 * weights


class ClassNorm(torch.nn.Module):
    """Standardises each unit over classes: (h − mean) / std, or / variance (CNZSL, Eq. 9).

    While training, the statistics are those of the classes passed in: all seen classes. They are kept and used for all
    classes that come later. Candidates do not change them, so the prototype of a class depends on that class alone.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, units: int, divide_by: str) -> None:
        super().__init__()
        self.divide_by = divide_by
        self.register_buffer("mean", torch.zeros(units))
        self.register_buffer("variance", torch.ones(units))

    def forward(self, hidden: Tensor) -> Tensor:
        """Return (k, h) standardised activations of (k, h) activations."""
        mean, variance = self.mean, self.variance
        if self.training:
            variance, mean = torch.var_mean(hidden, dim=0, correction=0)
            self.mean, self.variance = mean.detach(), variance.detach()
        spread = variance + EPSILON
        out: Tensor = (hidden - mean) / (spread if self.divide_by == "variance" else spread.sqrt())
        return out


class ClassNormNetwork(torch.nn.Module):
    """A three-layer perceptron from semantics to prototypes, its last hidden layer normalised before and after ReLU.

    Args:
        divide_by: ``std``, ``variance``, or ``nothing`` for no normalisation at all.
        proper_init: whether weights of the last layer have variance 1 / (hidden · features) (CNZSL, Eq. 10).
        positive: whether the output is a ReLU.
    """

    def __init__(
        self,
        attributes: int,
        hidden: int,
        features: int,
        *,
        divide_by: str,
        proper_init: bool,
        positive: bool,
        stream: torch.Generator,
    ) -> None:
        super().__init__()

        def norm() -> torch.nn.Module:
            return torch.nn.Identity() if divide_by == "nothing" else ClassNorm(hidden, divide_by)

        self.first = uniform_linear(attributes, hidden, stream)
        self.second = uniform_linear(hidden, hidden, stream)
        self.before, self.after = norm(), norm()
        self.last = uniform_linear(hidden, features, stream)
        if proper_init:
            bound = (3 / (hidden * features)) ** 0.5
            with torch.no_grad():
                self.last.weight.uniform_(-bound, bound, generator=stream)
        self.positive = positive

    def forward(self, semantics: Tensor) -> Tensor:
        """Return (k, d) prototypes of (k, a) semantics."""
        hidden = self.before(self.second(functional.relu(self.first(semantics))))
        out: Tensor = self.last(self.after(functional.relu(hidden)))
        return functional.relu(out) if self.positive else out


def scaled_cosines(features: Tensor, prototypes: Tensor, scale: float) -> Tensor:
    """Return (n, k) logits scale² · cos(x, p): both vectors are scaled to length `scale` (normalise + scale)."""
    return scale * functional.normalize(features, dim=1) @ (scale * functional.normalize(prototypes, dim=1)).T
