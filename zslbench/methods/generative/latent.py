"""Latent spaces over features: maps into them, and the losses that shape them.

RFF-GZSL and FREE map features to a Gaussian per row, CE-GZSL to a hidden layer and a unit vector. Torch is imported at
the top.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from zslbench.methods.generative.wgan import SLOPE, CriticBatch
from zslbench.methods.nn import linear

SQUARE_FLOOR = 1e-8
"""Added to σ² in the logarithm of the information, as in RFF-GZSL's public code."""
LOWEST = -1e30
"""The logarithm of no weight at all. It is finite, so that the gradient of a batch of one row is 0 and not NaN."""


class LatentMap(torch.nn.Module):
    """h = W x + b, μ = φ(h₁), σ = sigmoid(φ(h₂)) for the halves h₁, h₂ of h: a Gaussian N(μ, σ²) per row.

    In RFF-GZSL the map is one layer and φ a leaky ReLU. With `hidden` units a leaky ReLU layer comes first and φ is the
    identity (FREE).
    """

    def __init__(self, features: int, latent: int, stream: torch.Generator, *, hidden: int = 0) -> None:
        super().__init__()
        self.first = linear(features, hidden, stream) if hidden else None
        self.halves = linear(hidden or features, 2 * latent, stream)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return (…, l) means and (…, l) deviations of (…, d) features."""
        return self.gaussian(self.halves(features if self.first is None else self.hidden(features)))

    def hidden(self, features: Tensor) -> Tensor:
        """Return (…, h) activations of the hidden layer."""
        assert self.first is not None
        return functional.leaky_relu(self.first(features), SLOPE)

    def gaussian(self, halves: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and deviations for (…, 2l) outputs of the last layer."""
        active = halves if self.first is not None else functional.leaky_relu(halves, SLOPE)
        mean, deviation = active.chunk(2, dim=-1)
        return mean, deviation.sigmoid()


class LatentCritic(torch.nn.Module):
    """D(x) = wᵀ r + b on the codes r = μ + ε ∘ σ of a one-layer `LatentMap`; as a function of x alone ε is 0.

    It sees no semantics.
    """

    def __init__(self, features: int, latent: int, stream: torch.Generator) -> None:
        super().__init__()
        self.map = LatentMap(features, latent, stream)
        self.value = linear(latent, 1, stream)

    def forward(self, features: Tensor, _semantics: Tensor) -> Tensor:
        """Return (…,) values of the means of (…, d) features."""
        return self.values(self.map(features)[0])

    def values(self, codes: Tensor) -> Tensor:
        """Return (…,) values of (…, l) codes."""
        out: Tensor = self.value(codes).squeeze(-1)
        return out

    def input_gradient(self, halves: Tensor, noise: Tensor) -> Tensor:
        """Return (m, d) gradients of D by x at (m, 2l) pre-activations and (m, l) noise ε.

        ∇ₓD = Wᵀ(φ′(h₁) ∘ w, φ′(h₂) ∘ σ(1 − σ) ∘ ε ∘ w). Because it is written out, the penalty needs one backward pass
        instead of two; σ depends on the weights, so that the pass goes through `halves` as well.
        """
        _, deviation = self.map.gaussian(halves)
        by_codes = torch.cat([torch.ones_like(noise), deviation * (1 - deviation) * noise], dim=-1)
        by_halves = by_codes * self.value.weight.repeat(1, 2)
        return (torch.where(halves > 0, 1.0, SLOPE) * by_halves).to(halves.dtype) @ self.map.halves.weight

    def losses(self, batch: CriticBatch, noise: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return the parts of RFF-GZSL's loss of a batch from one pass over real and fake rows.

        They are E D(x̃) − E D(x), the penalty E(‖∇ₓD(x̂)‖₂ − 1)², the drift (E D(x))², the information of the codes of
        all rows, and the (m, l) means of the real rows.

        Args:
            noise: (3, m, l): ε of real rows, fakes, and the rows x̂ between them.
        """
        halves = self.map.halves(torch.cat([batch.real, batch.fake])).unflatten(0, (2, -1))
        exact = torch.promote_types(halves.dtype, torch.float32)  # of sums, where products are in bf16
        means, deviations = (part.to(exact) for part in self.map.gaussian(halves))
        real, fake = self.values(means + deviations * noise[:2]).to(exact)
        # the map's layer is affine: the pre-activation of x̂ lies between those of its ends
        between = torch.lerp(halves[1], halves[0], batch.mix.to(halves.dtype))
        lengths = torch.linalg.vector_norm(self.input_gradient(between, noise[2]).to(exact), dim=1)
        penalty = (lengths - 1).square().mean()
        rate = information(means, deviations).mean()
        return fake.mean() - real.mean(), penalty, real.mean().square(), rate, means[0]


class UnitEmbedding(torch.nn.Module):
    """h = ReLU(W₁ x + b₁) and z = (W₂ h + b₂) / ‖W₂ h + b₂‖ (CE-GZSL's embedding and projection)."""

    def __init__(self, features: int, hidden: int, units: int, stream: torch.Generator) -> None:
        super().__init__()
        self.first = linear(features, hidden, stream)
        self.second = linear(hidden, units, stream)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return (…, h) hidden layers and (…, u) unit vectors of (…, d) features."""
        hidden = self.hidden(features)
        return hidden, functional.normalize(self.second(hidden), dim=-1)

    def hidden(self, features: Tensor) -> Tensor:
        """Return (…, h) hidden layers of (…, d) features."""
        return functional.relu(self.first(features))


def information(means: Tensor, deviations: Tensor) -> Tensor:
    """Return KL(N(μ, σ²) ‖ N(0, I)) = ½ Σ (μ² + σ² − log σ² − 1), averaged over the rows of (…, m, l) Gaussians."""
    squares = deviations.square()
    each = (means.square() + squares - (squares + SQUARE_FLOOR).log() - 1).sum(-1) / 2
    return each.mean(-1)


def supervised_contrast(
    rows: Tensor, labels: Tensor, temperature: float, constant: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """Return the supervised contrastive loss of unit vectors (Khosla et al., 2020).

    The loss of an anchor i with positives P(i), the other rows of its class, is the mean over p in P(i) of
    −log(exp(zᵢ·z_p / τ) / Σ_{a ≠ i} exp(zᵢ·z_a / τ)). It is averaged over the anchors that have a positive; without any
    it is 0.

    Args:
        rows: (m, u) unit vectors; labels: (m,) their classes; temperature: τ.
        constant: further rows and labels. They are anchors and positives as well, but no gradient flows through them.
    """
    if constant is not None:
        rows, labels = torch.cat([rows, constant[0].detach()]), torch.cat([labels, constant[1]])
    itself = torch.eye(len(labels), dtype=torch.bool, device=rows.device)
    similarities = (rows @ rows.T / temperature).to(torch.promote_types(rows.dtype, torch.float32))
    others = similarities.masked_fill(itself, LOWEST)
    logs = similarities - others.logsumexp(1, keepdim=True)
    positives = ((labels[:, None] == labels) & ~itself).to(logs.dtype)
    counts = positives.sum(1)
    each = -(logs * positives).sum(1) / counts.clamp(min=1)
    out: Tensor = each.sum() / (counts > 0).sum().clamp(min=1)
    return out


def nearest_other_centres(rows: Tensor, labels: Tensor, centres: Tensor) -> Tensor:
    """Return the (m,) positions of the (c, l) centres nearest to (m, l) rows, the row's own class left out."""
    with torch.no_grad():
        distances = centres.square().sum(1) - 2 * rows @ centres.T  # up to ‖row‖², which changes no minimum
        own = labels[:, None] == torch.arange(len(centres), device=labels.device)
        return distances.masked_fill(own, torch.inf).argmin(1)


def centre_loss(
    rows: Tensor, labels: Tensor, centres: Tensor, others: Tensor, *, margin: float, share: float | None = None
) -> Tensor:
    """Return the mean over rows of max(0, margin + u ‖x − c_y‖² − v ‖x − c_o‖²).

    Args:
        rows: (m, l), of (m,) labels y; centres: (c, l), of all classes.
        others: (m,) positions o of the centres to keep away from: `nearest_other_centres`, or drawn at random.
        share: u, with v = 1 − u (FREE); None: u = v = 1 (RFF-GZSL).
    """
    own, other = (1.0, 1.0) if share is None else (share, 1 - share)
    # differences, not products: in bf16 a product of long vectors is off by more than a margin
    near = (rows - centres[labels]).square().sum(1)
    away = (rows - centres[others]).square().sum(1)
    return functional.relu(margin + own * near - other * away).mean()
