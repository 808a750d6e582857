"""The hyper-parameters that f-CLSWGAN and LisGAN were published with, by data set and protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Cell = tuple[str, str]
Values = dict[str, Any]

SHARED: Values = {
    "hidden": 4096,
    "noise": 0,
    "batch": 64,
    "critic_steps": 5,
    "gp": 10.0,
    "preprocess": "minmax",
    "semantic_norm": "none",
}
"""What every published command has in common; class vectors are taken as the file has them."""

# (data set, protocol): epochs, lr, final_lr, per_class, cls_weight, l_r1, l_r2, confident
_LISGAN: Mapping[Cell, tuple[int, float, float, int, float, float, float, float]] = {
    ("cub", "zsl"): (70, 1e-4, 1e-3, 300, 0.01, 1e-3, 1e-2, 0.6),
    ("flo", "zsl"): (97, 1e-4, 1e-3, 300, 0.1, 1e-3, 1e-4, 0.6),
    ("sun", "zsl"): (54, 2e-4, 5e-4, 100, 0.01, 3e-4, 3e-1, 0.5),
    ("awa1", "zsl"): (30, 1e-5, 1e-3, 300, 0.01, 3e-5, 3e-2, 0.1),
    ("apy", "zsl"): (40, 1e-5, 1e-3, 300, 0.01, 3e-5, 1.0, 0.7),
    ("cub", "gzsl"): (56, 1e-4, 1e-3, 300, 0.01, 1e-3, 1e-2, 0.6),
    ("flo", "gzsl"): (80, 1e-4, 1e-3, 1200, 0.1, 3e-2, 1e-1, 0.6),
    ("sun", "gzsl"): (40, 2e-4, 1e-3, 400, 0.01, 3e-5, 3e-1, 0.6),
    ("awa1", "gzsl"): (30, 1e-5, 1e-3, 1800, 0.01, 3e-5, 1e-3, 0.6),
    ("apy", "gzsl"): (50, 1e-5, 1e-3, 1800, 0.01, 3e-4, 3e-1, 0.6),
}
_NAMES = ("epochs", "lr", "final_lr", "per_class", "cls_weight", "l_r1", "l_r2", "confident")


def lisgan_cells() -> dict[Cell, Values]:
    """Return LisGAN's published values: l_r1 is its ``proto_param2``, l_r2 its ``proto_param1``.

    Each classifier stage runs 50 epochs in batches of twice the rows synthesised a class.
    """
    cells = {}
    for cell, row in _LISGAN.items():
        values = dict(zip(_NAMES, row, strict=True))
        cells[cell] = values | {"final_epochs": 50, "final_batch": 2 * values["per_class"]}
    return cells


def fclswgan_cells() -> dict[Cell, Values]:
    """Return f-CLSWGAN's values: LisGAN's without the souls and the cascade.

    The final classifier runs 25 epochs in batches of the rows synthesised a class.
    """
    cells = {}
    for cell, row in _LISGAN.items():
        values = dict(zip(_NAMES[:5], row, strict=False))
        cells[cell] = values | {"final_epochs": 25, "final_batch": values["per_class"]}
    return cells
