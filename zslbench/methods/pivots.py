"""GAZSL's visual pivots and its nearest-neighbour classifier (Zhu et al., 2018)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

BLOCK_ROWS = 512


def class_means(features: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return (c, d) means of the (n, d) rows of each class: the visual pivots; 0 for a class without rows."""
    counts = torch.bincount(labels, minlength=classes)
    sums = features.new_zeros(classes, features.shape[1]).index_add(0, labels, features)
    return sums / counts.clamp(min=1)[:, None]


def pivot_loss(fakes: Tensor, labels: Tensor, pivots: Tensor) -> Tensor:
    """Return (1/C) Σ_c ‖mean_{i: y_i = c} x̃_i − μ_c‖₂ over the classes of the batch; the others add nothing.

    Args:
        fakes: (m, d) generated rows; labels: (m,) positions of their classes.
        pivots: (C, d) means μ_c of the real rows of all seen classes.
    """
    classes = torch.arange(len(pivots), device=labels.device)
    member = (labels[:, None] == classes).to(fakes.dtype)  # of a size that does not depend on the draw
    counts = member.sum(dim=0)
    away = (member.T @ fakes) / counts.clamp(min=1)[:, None] - pivots
    out: Tensor = (torch.linalg.vector_norm(away, dim=1) * (counts > 0)).sum() / len(pivots)
    return out


def neighbour_votes(references: Tensor, rows: Tensor, neighbours: int) -> Tensor:
    """Return (n, k) shares of the votes of each row's nearest references by cosine, ties broken.

    A class with more votes is always ahead. Among classes with as many, that of the nearer nearest reference is: to
    its votes, at most half a vote is added, (1 + the largest cosine with the class's references) / 4.

    Args:
        references: (k, r, d), r rows a class; rows: (n, d).
        neighbours: how many vote; all references where there are fewer.
    """
    classes, per_class, _ = references.shape
    exact = torch.float32 if references.device.type == "mps" else torch.float64  # a vote hangs on the last digits
    units = functional.normalize(references.flatten(0, 1).to(exact), dim=1)
    voters = min(neighbours, len(units))
    found = []
    for block in torch.split(rows, BLOCK_ROWS):
        cosines = functional.normalize(block.to(exact), dim=1) @ units.T
        chosen = cosines.topk(voters, dim=1).indices // per_class
        votes = torch.zeros(len(block), classes, dtype=exact, device=rows.device)
        votes.scatter_add_(1, chosen, torch.ones_like(chosen, dtype=exact))
        best = cosines.view(len(block), classes, per_class).amax(dim=2).clamp(-1, 1)
        found.append((votes + (1 + best) / 4) / voters)
    return torch.cat(found)
