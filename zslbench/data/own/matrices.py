"""Matrices as the harness has them: a row an image, or a row a class, float32, all finite."""

from __future__ import annotations

from typing import Literal

import numpy as np

from zslbench.arrays import AnyArray, Array
from zslbench.data.dataset import to_float32
from zslbench.data.own.files import Loaded
from zslbench.errors import BadData, BadValue

Orientation = Literal["auto", "rows", "columns"]
_COUNTED = 4
"""Numbers that count themselves by chance no more."""


def rows_of(loaded: Loaded, count: int, role: str, unit: str, orientation: Orientation = "auto") -> tuple[Array, str]:
    """Return a matrix with a row a unit, and the remark to show when it had to be turned or cut (else nothing).

    A row or column that only counts the others (what pandas writes as an index) is no feature: it would give away the
    order of the images. It is left out.

    Args:
        loaded: (count, k) or (k, count) numbers; axes of length 1 beside them are dropped.
        count: how many units there are.
        role, unit: for sentences: features and images, or semantics and classes.
        orientation: what units are where both axes have the length `count`; elsewhere the counts tell.

    Raises:
        BadData: not a numeric matrix, no axis of that length, or NaN or infinity in it.
        BadValue: both axes have that length and nobody said which is meant.
    """
    array, cut = _without_index(_matrix(loaded, role), loaded, count, role, unit)
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
    out = to_float32(array.T if turned else array, f"{loaded.what}: {role}")
    _check_finite(out, loaded, role, unit)
    remarks = [f"{role}: {unit} are columns in {loaded.what}; turned"] if turned else []
    return out, "; ".join(cut + remarks)


def _matrix(loaded: Loaded, role: str) -> AnyArray:
    array = loaded.array
    if array.ndim > 2:
        array = array.squeeze()
    if array.ndim != 2 or array.dtype.kind not in "fiub":
        shape = " × ".join(map(str, array.shape)) or "one value"
        raise BadData(f"{loaded.what}: {role} must be a matrix of numbers, not {shape} of {array.dtype}.")
    return array


def counts_others(numbers: AnyArray, fewest: int = _COUNTED) -> bool:
    """Return whether numbers only count themselves, from 0 or 1 on; of few it may be chance."""
    steps = np.arange(len(numbers))
    return len(numbers) >= fewest and any(np.array_equal(numbers, steps + first) for first in (0, 1))


def _without_index(array: AnyArray, loaded: Loaded, count: int, role: str, unit: str) -> tuple[AnyArray, list[str]]:
    """Return a matrix without a first column or row that only counts, and a remark where there was one."""
    rows, columns = array.shape
    said = f"{role}: the first {{}} of {loaded.what} only counts the others, as an index does; left out"
    counted = counts_others(array[:, 0], 2 if columns == count + 1 else _COUNTED)
    if columns > 1 and (loaded.index or (counted and count in (rows, columns - 1))):
        if loaded.index and unit == "classes" and not counted and rows >= _COUNTED:
            raise BadData(
                f"{loaded.what}: the first column has no name in the header, as the index that pandas writes, and does "
                "not count the rows; write the table with index=False, or give that column a name if it is meant."
            )
        return array[:, 1:], [said.format("column")]
    if rows > 1 and count in (columns, rows - 1) and counts_others(array[0], 2 if rows == count + 1 else _COUNTED):
        return array[1:], [said.format("row")]
    return array, []


def _check_finite(out: Array, loaded: Loaded, role: str, unit: str) -> None:
    for start in range(0, len(out), 4096):
        finite = np.isfinite(out[start : start + 4096]).all(axis=1)
        if not finite.all():
            row = start + int(np.argmin(finite)) + 1
            raise BadData(
                f"{loaded.what}: {role} hold NaN or infinity (first in the {row}. of {len(out)} {unit}); mend or drop "
                "it."
            )
