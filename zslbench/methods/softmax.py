"""The linear softmax classifier: what f-CLSWGAN pre-trains, and what both stages of LisGAN end in (Eq. 7, 8)."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor
from torch.nn import functional

from zslbench.methods.embedding import row_batches
from zslbench.methods.nn import adam, in_threads, linear, random_stream, threads_for


def train_softmax(
    features: Tensor,
    labels: Tensor,
    classes: int,
    *,
    epochs: int,
    batch: int,
    lr: float,
    seed: int,
    tol: float = 0.0,
) -> torch.nn.Linear:
    """Return a linear layer fitted by Adam to minimise the negative log-likelihood (LisGAN, Eq. 7).

    Args:
        features: (n, d) rows; labels: (n,) positions from 0 to classes − 1, on the same device.
        epochs: of ⌈n / batch⌉ steps each; batch: rows of every step (see `row_batches`).
        seed: of the initial weights and of the order of the rows; nothing else is drawn.
        tol: stop after an epoch whose mean loss is not below that of the epoch before by at least this share.
    """
    device = features.device
    layer = linear(features.shape[1], classes, random_stream(seed)).to(device)
    batches = row_batches(len(features), batch, random_stream(seed + 1, device))
    steps = -(-len(features) // batch)
    optimiser = adam(layer.parameters(), lr)
    before = float("inf")
    threads = threads_for(2 * batch * layer.weight.numel())
    for _ in range(epochs):
        total = torch.zeros((), device=device)
        with in_threads(threads):
            for rows in itertools.islice(batches, steps):
                loss = functional.cross_entropy(layer(features[rows]), labels[rows])
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                total += loss.detach()
        if tol and (now := float(total) / steps) > (1 - tol) * before:
            break
        before = now if tol else before
    return layer.requires_grad_(False)


def log_probabilities(layer: torch.nn.Linear, features: Tensor) -> Tensor:
    """Return (n, k) log P(y|x) of (n, d) rows."""
    with torch.no_grad():
        return functional.log_softmax(layer(features), dim=1)
