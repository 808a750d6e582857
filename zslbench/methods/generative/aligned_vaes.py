"""Two variational autoencoders with one latent space: networks and losses of CADA-VAE. Torch is imported at the top."""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
from torch import Tensor

from zslbench.methods.generative.vae import GaussianEncoder, Perceptron, Posterior, xavier_linear

GAIN = 0.5
"""Of the initial weights, as in the public code."""


class HiddenUnits(NamedTuple):
    """Units of the hidden layer of each encoder and decoder."""

    feature_encoder: int
    feature_decoder: int
    semantic_encoder: int
    semantic_decoder: int


class AlignedVaes(torch.nn.Module):
    """A variational autoencoder of features x and one of semantics a; each encoder and decoder has one hidden layer."""

    std_mode = "logvar_half"
    """Of the codes (see `Posterior.draw`)."""

    def __init__(
        self, features: int, semantics: int, latent: int, hidden: HiddenUnits, stream: torch.Generator
    ) -> None:
        super().__init__()
        layer = functools.partial(xavier_linear, stream=stream, gain=GAIN)
        self.feature_encoder = GaussianEncoder((features, hidden.feature_encoder), latent, layer)
        self.feature_decoder = Perceptron((latent, hidden.feature_decoder, features), layer)
        self.semantic_encoder = GaussianEncoder((semantics, hidden.semantic_encoder), latent, layer)
        self.semantic_decoder = Perceptron((latent, hidden.semantic_decoder, semantics), layer)

    def forward(self, features: Tensor, semantics: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """Return the four losses by name, each summed over (m, d) rows and over dimensions, without their weights.

        They are L1(x, Dₓ(zₓ)) + L1(a, Dₐ(zₐ)), both KL divergences, L1(x, Dₓ(zₐ)) + L1(a, Dₐ(zₓ)), and the Wasserstein
        distances of both posteriors.

        Args:
            semantics: (m, a) of the rows' classes.
            noise: (2, m, …), of zₓ and of zₐ.
        """
        by_features, by_semantics = (
            _exact(encoder(rows))
            for encoder, rows in ((self.feature_encoder, features), (self.semantic_encoder, semantics))
        )
        from_features = by_features.draw(noise[0], self.std_mode)
        from_semantics = by_semantics.draw(noise[1], self.std_mode)

        def error(of_features: Tensor, of_semantics: Tensor) -> Tensor:
            """Return the L1 errors of features decoded from some codes, and of semantics decoded from others."""
            by_feature: Tensor = features - self.feature_decoder(of_features)
            by_attribute: Tensor = semantics - self.semantic_decoder(of_semantics)
            return by_feature.abs().sum() + by_attribute.abs().sum()

        return {
            "reconstruction": error(from_features, from_semantics),
            "divergence": (by_features.divergence() + by_semantics.divergence()).sum(),
            "cross": error(from_semantics, from_features),
            "alignment": by_features.distance(by_semantics).sum(),
        }


def _exact(posterior: Posterior) -> Posterior:
    """Return the posterior in float32 at least: sums over dimensions would lose digits in bf16."""
    return Posterior(*(part.to(torch.promote_types(part.dtype, torch.float32)) for part in posterior))


def pick_rows(labels: Tensor, order: Tensor, classes: int, count: int) -> Tensor:
    """Return (classes · count,) row numbers: the first `count` rows of each class in an order, again if it has fewer.

    Args:
        labels: (n,) positions of the rows' classes, each of which has a row.
        order: (n,) the row numbers in some order.
    """
    numbers = torch.arange(count, device=labels.device)
    of_classes = (order[labels[order] == label] for label in range(classes))
    return torch.cat([rows[numbers % len(rows)] for rows in of_classes])
