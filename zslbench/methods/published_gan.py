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


# the same of an independent re-implementation
_LISGAN_GASL: Mapping[Cell, tuple[int, float, float, int, float, float, float, float]] = {
    ("awa2", "zsl"): (200, 1e-5, 1e-3, 300, 0.01, 3e-5, 3e-2, 0.1),
    ("awa2", "gzsl"): (200, 1e-5, 1e-3, 1800, 0.01, 3e-5, 1e-3, 0.6),
}


def lisgan_cells() -> dict[Cell, Values]:
    """Return LisGAN's published values: l_r1 is its ``proto_param2``, l_r2 its ``proto_param1``."""
    return {cell: _lisgan_values(row) for cell, row in _LISGAN.items()}


def lisgan_gasl_cells() -> dict[Cell, Values]:
    """Return the values of a re-implementation of LisGAN (``feng2022gasl``), whose cascade under zsl is 1-NN."""
    second = {"zsl": "nn", "gzsl": "softmax"}
    return {cell: _lisgan_values(row) | {"cascade": second[cell[1]]} for cell, row in _LISGAN_GASL.items()}


def _lisgan_values(row: tuple[int, float, float, int, float, float, float, float]) -> Values:
    """Return one cell; each classifier stage runs 50 epochs in batches of twice the rows synthesised per class."""
    values = dict(zip(_NAMES, row, strict=True))
    return values | {"final_epochs": 50, "final_batch": 2 * values["per_class"]}


def fclswgan_cells() -> dict[Cell, Values]:
    """Return f-CLSWGAN's values: LisGAN's without the souls and the cascade.

    The final classifier runs 25 epochs in batches of the rows synthesised a class.
    """
    cells = {}
    for cell, row in _LISGAN.items():
        values = dict(zip(_NAMES[:5], row, strict=False))
        cells[cell] = values | {"final_epochs": 25, "final_batch": values["per_class"]}
    return cells


def fclswgan_gasl_cells() -> dict[Cell, Values]:
    """Return the values of a re-implementation of f-CLSWGAN (``feng2022gasl``)."""
    row = (300, 1e-5, 1e-3, 4000, 0.01)
    return {("awa2", "gzsl"): dict(zip(_NAMES[:5], row, strict=True)) | {"final_epochs": 25, "final_batch": 4000}}
