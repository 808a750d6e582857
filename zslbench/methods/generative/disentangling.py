"""The networks and losses of SDGZSL. Torch is imported at the top."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from zslbench.methods.comparator import Comparator
from zslbench.methods.generative.vae import Perceptron, Posterior
from zslbench.methods.generative.wgan import SLOPE
from zslbench.methods.nn import uniform_linear

NARROW = 128
"""Units of the encoder's last layer, which has no activation."""
VARIANCE_DROP = 0.2
EPSILON = 0.8
"""Added to the variance by the decoder's batch normalisation, as in the public code."""


class Disentangler(torch.nn.Module):
    """A variational autoencoder of features given semantics, a code h = (h_s, h_n) of features, and two judges of it.

    A comparator says how well h_s and a class belong together. A discriminator D tells codes from those whose halves
    come from different rows. All layers start as torch's own do.

    Args:
        features, semantics: dimensions of rows and of their semantics.
        hidden, latent, half: units of all hidden layers, of the VAE's code, and of each half of h.
        drops: shares of units that are set to zero in the VAE's encoder, in its decoder, and in the autoencoder of h.
        squash: whether both outputs of D pass through a sigmoid before they are compared.
    """

    def __init__(
        self,
        *,
        features: int,
        semantics: int,
        hidden: int,
        latent: int,
        half: int,
        drops: tuple[float, float, float],
        squash: bool,
        stream: torch.Generator,
    ) -> None:
        super().__init__()
        layer = functools.partial(uniform_linear, stream=stream)
        self.squash, (self.encoder_drop, self.decoder_drop, self.code_drop) = squash, drops
        self.encoder = Perceptron((features + semantics, hidden, hidden), layer, SLOPE)
        self.narrow, self.mean, self.variance = layer(hidden, NARROW), layer(NARROW, latent), layer(NARROW, latent)
        self.first, self.last = layer(latent + semantics, hidden), layer(hidden, features)
        self.inner = torch.nn.ModuleList(layer(hidden, hidden) for _ in range(2))
        self.norms = torch.nn.ModuleList(torch.nn.BatchNorm1d(hidden) for _ in range(2))
        self.coder = layer(features, 2 * half)
        self.decoder = torch.nn.ModuleList([layer(2 * half, hidden), layer(hidden, features)])
        self.comparator = Comparator(half, semantics, hidden, stream, init="uniform")
        self.discriminator = layer(2 * half, 2)

    def draw(self, rows: int, stream: torch.Generator) -> list[Tensor]:
        """Return what a step on so many rows draws: noise, two orders of both halves, numbers that drop units."""
        hidden, latent, codes, features = (
            layer.out_features for layer in (self.first, self.mean, self.coder, self.last)
        )
        of_code = [(2 * rows, units, self.code_drop) for units in (codes, hidden, features)]
        of_vae = [(rows, hidden, self.encoder_drop), (rows, latent, VARIANCE_DROP)]
        dropping = [*of_vae, *3 * [(rows, hidden, self.decoder_drop)], *of_code]
        noise = torch.randn(rows, latent, generator=stream, device=stream.device)
        orders, *uniform = (
            torch.rand(*shape, generator=stream, device=stream.device)
            for shape in [(2, 2, rows, 1), *((count, units) for count, units, share in dropping if share)]
        )
        return [noise, orders.argsort(2), *uniform]

    def encode(self, features: Tensor, semantics: Tensor, uniform: Iterator[Tensor]) -> Posterior:
        """Return the posteriors of (m, d) rows and (m, a) semantics."""
        hidden = functional.leaky_relu(self.encoder(torch.cat([features, semantics], dim=1)), SLOPE)
        hidden = self.narrow(_drop(hidden, self.encoder_drop, uniform))
        mean, variance = (_exact(layer(hidden)) for layer in (self.mean, self.variance))
        variance = functional.softplus(_drop(variance, VARIANCE_DROP, uniform))
        return Posterior(mean, variance.clamp(min=torch.finfo(variance.dtype).tiny).log())

    def decode(self, codes: Tensor, semantics: Tensor, uniform: Iterator[Tensor] | None = None) -> Tensor:
        """Return (m, d) features of (m, l) codes and (m, a) semantics; without numbers no unit is dropped."""
        hidden = functional.leaky_relu(self.first(torch.cat([codes, semantics], dim=1)), SLOPE)
        hidden = _drop(hidden, self.decoder_drop, uniform)
        norms = cast("Iterable[torch.nn.BatchNorm1d]", self.norms)
        for layer, norm in zip(self.inner, norms, strict=True):
            moments = norm.running_mean, norm.running_var  # in training moved towards those of the rows, which count
            hidden = functional.batch_norm(
                layer(hidden), *moments, norm.weight, norm.bias, training=uniform is not None, eps=EPSILON
            )
            hidden = _drop(hidden, self.decoder_drop, uniform)
        return functional.leaky_relu(self.last(functional.leaky_relu(hidden, SLOPE)), SLOPE)

    def code(self, features: Tensor, uniform: Iterator[Tensor] | None = None) -> Tensor:
        """Return the (…, 2h) codes of (…, d) features."""
        return _drop(functional.leaky_relu(self.coder(features), SLOPE), self.code_drop, uniform)

    def forward(
        self, real: Tensor, labels: Tensor, semantics: Tensor, noise: Tensor, orders: Tensor, *uniform: Tensor
    ) -> dict[str, Tensor]:
        """Return the losses of a batch by name, each summed over its rows, without their weights.

        The first two are ‖x̂ − x‖² of reconstructions x̂, and the KL divergence. The next three are of codes, each the
        sum of that of reconstructions and that of real rows x: (σ(F(h_s, a_c)) − [c = y])², averaged over the classes
        of the batch; (A(h) − x)², averaged over dimensions; the total correlation D₀(h) − D₁(h), which gives D no
        gradient. The last is the mean cross-entropy of D, which gives codes none.

        Args:
            real: (m, d) rows; labels, semantics: (m,) and (m, a), of their classes.
            noise, orders, uniform: what `draw` returns.
        """
        drawn = iter(uniform)
        posterior = self.encode(real, semantics, drawn)
        made = _exact(self.decode(posterior.draw(noise), semantics, drawn))
        codes = again = self.code(torch.cat([made, real]), drawn)
        for layer in self.decoder:
            again = _drop(functional.leaky_relu(layer(again), SLOPE), self.code_drop, drawn)
        relations = _exact(self.comparator(codes.chunk(2, dim=1)[0], semantics)).sigmoid()
        same = (labels[:, None] == labels).to(relations.dtype)
        share = 1 / same.sum(0)  # of a row in its class: each class counts once
        joint = torch.stack(codes.detach().chunk(2))
        halves = zip(joint.chunk(2, dim=-1), orders, strict=True)
        mixed = torch.cat([half.take_along_dim(order, 1) for half, order in halves], dim=-1)
        weights = self.discriminator.weight, self.discriminator.bias
        against = self._judge(codes, *(part.detach() for part in weights))
        judged = self._judge(torch.cat([joint, mixed]).flatten(0, 1), *weights)
        wanted = (torch.arange(len(judged), device=real.device) >= len(codes)).long()
        return {
            "reconstruction": (made - real).square().sum(),
            "divergence": posterior.divergence().sum(),
            "relation": ((relations - same.repeat(2, 1)).square() @ share).sum() / share.sum(),
            "autoencoder": (_exact(again) - real.repeat(2, 1)).square().mean(1).sum(),
            "correlation": (against[:, 0] - against[:, 1]).sum(),
            "discriminator": len(real) * functional.cross_entropy(judged, wanted),
        }

    def _judge(self, codes: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        values = _exact(functional.linear(codes, weight, bias))
        return values.sigmoid() if self.squash else values


def _drop(rows: Tensor, share: float, uniform: Iterator[Tensor] | None) -> Tensor:
    """Return rows with a share of their values set to zero and the others scaled up; unchanged without numbers."""
    if uniform is None or not share:
        return rows
    return rows * (next(uniform) >= share) / (1 - share)


def _exact(values: Tensor) -> Tensor:
    """Return values in float32 at least: in bf16 sums and small variances would lose digits."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
