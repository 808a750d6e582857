"""Matrices as the harness has them: a row an image, or a row a class, float32, all finite."""

from __future__ import annotations

from typing import Literal

import numpy as np

from zslbench.arrays import AnyArray, Array
from zslbench.errors import BadData, BadValue
from zslbench.intake.files import Loaded

Orientation = Literal["auto", "rows", "columns"]


def rows_of(loaded: Loaded, count: int, role: str, unit: str, orientation: Orientation = "auto") -> tuple[Array, str]:
    """Return a matrix with a row a unit, and the remark to show when it had to be turned (else nothing).

    Args:
        loaded: (count, k) or (k, count) numbers; axes of length 1 beside them are dropped.
        count: how many units there are.
        role, unit: for sentences: features and images, or semantics and classes.
        orientation: what units are where both axes have the length `count`; elsewhere the counts tell.

    Raises:
        BadData: not a numeric matrix, no axis of that length, or NaN or infinity in it.
        BadValue: both axes have that length and nobody said which is meant.
    """
    array = _matrix(loaded, role)
    fits = [axis for axis in (0, 1) if array.shape[axis] == count]
    if not fits:
        raise BadData(
            f"{loaded.what}: {role} are {array.shape[0]} × {array.shape[1]} where there are {count} {unit}; "
            f"one side must be the {unit}."
        )
    if len(fits) == 2 and count > 1:
        if orientation == "auto":
            raise BadValue(
                f"{loaded.what}: {role} are {count} × {count}, so counts do not tell whether {unit} are rows or "
                "columns; say it with --orientation rows or --orientation columns."
            )
        turned = orientation == "columns"
    else:
        turned = fits[0] == 1
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as that
        out = np.ascontiguousarray(array.T if turned else array, dtype=np.float32)
    _check_finite(out, loaded, role, unit)
    return out, f"{role}: {unit} are columns in {loaded.what}; turned" if turned else ""


def _matrix(loaded: Loaded, role: str) -> AnyArray:
    array = loaded.array
    if array.ndim > 2:
        array = array.squeeze()
    if array.ndim != 2 or array.dtype.kind not in "fiub":
        shape = " × ".join(map(str, array.shape)) or "one value"
        raise BadData(f"{loaded.what}: {role} must be a matrix of numbers, not {shape} of {array.dtype}.")
    return array


def _check_finite(out: Array, loaded: Loaded, role: str, unit: str) -> None:
    for start in range(0, len(out), 4096):
        finite = np.isfinite(out[start : start + 4096]).all(axis=1)
        if not finite.all():
            row = start + int(np.argmin(finite)) + 1
            raise BadData(
                f"{loaded.what}: {role} hold NaN or infinity (first in the {row}. of {len(out)} {unit}); mend or drop "
                "it."
            )
