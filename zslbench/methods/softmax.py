"""The linear softmax classifier: what f-CLSWGAN pre-trains, and what both stages of LisGAN end in (Eq. 7, 8)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from zslbench.methods.nn import adam, linear, random_stream


def full_batches(rows: int, batch: int, stream: torch.Generator) -> Iterator[Tensor]:
    """Yield without end the (batch,) row numbers of steps that walk through one random permutation after another.

    A batch that a permutation's end leaves incomplete takes its other rows from the next permutation, as in the public
    code of f-CLSWGAN and LisGAN: Adam divides a gradient by its size, so a step on few rows would be as long as any
    other. Where there are fewer rows than `batch`, a step takes all of them.

    Args:
        rows: how many there are to number; stream: of the permutations; the numbers are on its device.
    """
    size = min(batch, rows)
    left = torch.empty(0, dtype=torch.int64, device=stream.device)
    while True:
        waiting = torch.cat([left, torch.randperm(rows, generator=stream, device=stream.device)])
        whole = len(waiting) - len(waiting) % size
        yield from torch.split(waiting[:whole], size)
        left = waiting[whole:]


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
        epochs: of ⌈n / batch⌉ steps each; batch: rows of every step (see `full_batches`).
        seed: of the initial weights and of the order of the rows; nothing else is drawn.
        tol: stop after an epoch whose mean loss is not below that of the epoch before by at least this share.
    """
    device = features.device
    layer = linear(features.shape[1], classes, random_stream(seed)).to(device)
    batches = full_batches(len(features), batch, random_stream(seed + 1, device))
    steps = -(-len(features) // batch)
    optimiser = adam(layer.parameters(), lr)
    before = float("inf")
    for _ in range(epochs):
        total = torch.zeros((), device=device)
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
