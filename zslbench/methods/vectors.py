"""Class vectors and features as vectors: their lengths, original attributes, and how alike they are."""

from __future__ import annotations

import numpy as np

from zslbench.arrays import Array, IntArray, positions_by_label
from zslbench.errors import BadValue
from zslbench.task import ClassTable


def unit(rows: Array) -> Array:
    """Return (n, d) rows scaled to unit length; rows of zeros stay zero.

    >>> unit(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6, 0.8], [0.0, 0.0]]
    """
    length: Array = np.linalg.norm(rows, axis=1, keepdims=True)
    out: Array = np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)
    return out


def normed(semantics: Array, norm: str) -> Array:
    """Return class vectors as ``semantic_norm`` says: of length 1 (``l2``), or as they are (``none``)."""
    return unit(semantics) if norm == "l2" else semantics


def attribute_values(classes: ClassTable, original: bool, method: str, otherwise: str = "") -> Array:
    """Return the (k, a) original attributes where a fit used them, else the semantics; BadValue where they lack."""
    if not original:
        return classes.semantics
    if classes.original is None:
        raise BadValue(
            f"{method}: it was fitted on original attributes and the candidates have none; "
            f"give both tables theirs{otherwise}."
        )
    return classes.original


def class_means(features: Array, positions: IntArray, start: Array) -> Array:
    """Return (c, d) float64 means of the rows of each class, written into `start`: what classes without rows keep."""
    for rows in positions_by_label(positions):
        start[positions[rows[0]]] = features[rows].mean(axis=0, dtype=np.float64)
    return start


def cosines(rows: Array, others: Array) -> Array:
    """Return (n, k) cosines of (n, d) rows with (k, d) others; 0 where one has no length."""
    return unit(rows) @ unit(others).T


def closeness(rows: Array, others: Array) -> Array:
    """Return (n, k) −‖x − y‖² of (n, d) rows x and (k, d) others y.

    >>> closeness(np.array([[1.0, 2.0]]), np.array([[1.0, 2.0], [1.0, 5.0]])).tolist()
    [[-0.0, -9.0]]
    """
    centre = others.mean(axis=0)  # squares of rows far from 0 would leave little of their difference
    x, y = rows - centre, others - centre
    lengths = np.square(x).sum(axis=1)[:, None] + np.square(y).sum(axis=1)
    out: Array = 2 * (x @ y.T) - lengths
    return np.minimum(out, -0.0)
