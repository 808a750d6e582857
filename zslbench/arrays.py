"""Array types used throughout, and the one way to freeze an array."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.floating[Any]]
IntArray: TypeAlias = npt.NDArray[np.int64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]
AnyArray: TypeAlias = npt.NDArray[Any]


def read_only_view(array: AnyArray) -> AnyArray:
    """Return a read-only view of `array` (no copy)."""
    view = array.view()
    view.flags.writeable = False
    return view


def copy_rows(array: AnyArray, rows: AnyArray | slice = slice(None)) -> AnyArray:
    """Return the chosen rows as a fresh, plain, read-only array.

    The result owns its memory: the rows left out, of a memory map for instance, cannot be reached through it.
    """
    copy = np.array(array[rows], subok=False)
    copy.flags.writeable = False
    return copy


def positions_by_label(labels: IntArray) -> list[IntArray]:
    """Return the ascending positions of each label that occurs, labels ascending; one sort serves any number of them.

    >>> [positions.tolist() for positions in positions_by_label(np.array([5, 2, 5]))]
    [[1], [0, 2]]
    """
    order = np.argsort(labels, kind="stable").astype(np.int64)
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1) if len(order) else []
