"""Networks between semantics and image features: DEM, CNZSL, RelationNet, CVC-ZSL, DCN.

Torch is imported at the top: import this module only where such a network is made.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from zslbench.methods.comparator import Comparator
from zslbench.methods.nn import EmptyLinear, linear, uniform_linear

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


class RelationNetwork(torch.nn.Module):
    """r(x, a) of all pairs of rows and classes: a' = ReLU(W₂ ReLU(W₁ a)), then a comparator on [x, a']."""

    def __init__(self, semantics: int, hidden: int, features: int, relation: int, stream: torch.Generator) -> None:
        super().__init__()
        self.embedding = torch.nn.ModuleList(
            [uniform_linear(semantics, hidden, stream), uniform_linear(hidden, features, stream)]
        )
        self.comparator = Comparator(features, features, relation, stream, init="uniform")

    def forward(self, features: Tensor, semantics: Tensor) -> Tensor:
        """Return (m, k) relations, before the sigmoid, of (m, d) rows with (k, a) classes."""
        for layer in self.embedding:
            semantics = functional.relu(layer(semantics))
        out: Tensor = self.comparator(features, semantics)
        return out

    def loss(self, features: Tensor, labels: Tensor, semantics: Tensor) -> Tensor:
        """Return the mean of (sigmoid r(x, a_c) − [c = y])² over (m, d) rows and the classes that these rows have."""
        present, of_row = torch.unique(labels, return_inverse=True)
        target = functional.one_hot(of_row, len(present)).to(features.dtype)
        return functional.mse_loss(self(features, semantics[present]).sigmoid(), target)


class VisualClassifiers(torch.nn.Module):
    """Logits s cos(x, f(a)) with f(a) = g(W₂ ReLU(W₁ a)), a linear classifier of features for each class (CVC-ZSL).

    g is ReLU, or the identity if not `positive`; s is learned.
    """

    def __init__(
        self, semantics: int, hidden: int, features: int, *, scale: float, positive: bool, stream: torch.Generator
    ) -> None:
        super().__init__()
        self.first, self.second = linear(semantics, hidden, stream), linear(hidden, features, stream)
        self.scale = torch.nn.Parameter(torch.tensor(scale))
        self.positive = positive

    def forward(self, features: Tensor, semantics: Tensor) -> Tensor:
        """Return (n, k) logits of (n, d) rows for (k, a) classes."""
        weights = self.second(functional.relu(self.first(semantics)))
        weights = functional.relu(weights) if self.positive else weights
        return self.scale * scaled_cosines(features, weights, 1.0)

    def loss(self, features: Tensor, labels: Tensor, semantics: Tensor) -> Tensor:
        """Return the mean cross-entropy of (m, d) rows over the classes that these rows have: an episode's."""
        present, of_row = torch.unique(labels, return_inverse=True)
        return functional.cross_entropy(self(features, semantics[present]), of_row)


class CalibrationNetwork(torch.nn.Module):
    """Similarities tanh(W₂ dropout(ReLU(W₁ x / divisor))) · v of features with class vectors v (DCN)."""

    def __init__(
        self, features: int, hidden: int, semantics: int, stream: torch.Generator, divisor: float = 1.0
    ) -> None:
        super().__init__()
        self.divisor = divisor
        self.first = linear(features, hidden, stream, std=0.01)
        self.second = linear(hidden, semantics, stream, std=0.03)

    def forward(self, features: Tensor, vectors: Tensor, kept: Tensor | None = None) -> Tensor:
        """Return (n, k) similarities of (n, d) rows with (k, a) vectors; `kept` multiplies (n, h) hidden units."""
        hidden = functional.relu(self.first(features / self.divisor))
        out: Tensor = self.second(hidden if kept is None else hidden * kept).tanh() @ vectors.T
        return out


def calibration_loss(
    similarities: Tensor, labels: Tensor, seen: int, *, scale: float, unseen_scale: float, weight: float
) -> Tensor:
    """Return DCN's loss of (m, k) similarities, the first `seen` of them with seen classes.

    It is the mean cross-entropy of softmax(scale · seen ones) plus `weight` times the mean entropy of
    softmax(unseen_scale · unseen ones).
    """
    loss = functional.cross_entropy(scale * similarities[:, :seen], labels)
    if not weight:
        return loss
    logs = functional.log_softmax(unseen_scale * similarities[:, seen:], dim=1)
    return loss - weight * (logs.exp() * logs).sum(1).mean()
