"""Preprocessing of image features and class vectors, means per class, and similarities.

Image features go through a chain of scalings, fitted on training rows only. The steps give the same bits as
scikit-learn's MinMaxScaler, StandardScaler and Normalizer. They are implemented here because importing scikit-learn
takes longer than most fits of a closed-form method.
"""

from __future__ import annotations

import copy
import math
from typing import Self

import numpy as np

from zslbench.arrays import Array, IntArray, positions_by_label
from zslbench.errors import BadValue, nearest
from zslbench.task import ClassTable, Train


class _Step:
    """A step of a chain; this base class does nothing."""

    def fit(self, features: Array) -> None:
        """Learn what the step needs from (n, d) float32 rows."""

    def transform(self, features: Array) -> Array:
        """Return the transformed rows; the given rows may be overwritten."""
        return features


class _MinMax(_Step):
    def fit(self, features: Array) -> None:
        low = features.min(axis=0)
        self.scale = 1 / _divisor(features.max(axis=0) - low)
        self.shift = 0 - low * self.scale

    def transform(self, features: Array) -> Array:
        features *= self.scale
        features += self.shift
        return features


class _Standard(_Step):
    def fit(self, features: Array) -> None:
        """Compute means and deviations in float64 by the corrected two-pass algorithm (Chan, Golub & LeVeque 1983)."""
        count, eps = len(features), np.finfo(np.float64).eps
        mean = features.sum(axis=0, dtype=np.float64) / count
        centred = features - mean
        variance = ((centred**2).sum(axis=0) - centred.sum(axis=0) ** 2 / count) / count
        constant = variance <= count * eps * variance + (count * mean * eps) ** 2  # what rounding errors may leave
        self.mean = mean.astype(np.float32)
        self.scale = np.where(constant, 1, np.sqrt(np.maximum(variance, 0))).astype(np.float32)

    def transform(self, features: Array) -> Array:
        features -= self.mean
        features /= self.scale
        return features


class _Length(_Step):
    def transform(self, features: Array) -> Array:
        features /= _divisor(np.sqrt(np.einsum("ij,ij->i", features, features)))[:, None]
        return features


class _PositivePart(_Step):
    def transform(self, features: Array) -> Array:
        return np.maximum(features, 0, out=features)


def _divisor(scale: Array) -> Array:
    """Return the scale, with 1 in place of values that are too small to divide by."""
    return np.where(scale < 10 * np.finfo(scale.dtype).eps, np.ones_like(scale), scale)


STEPS = {"none": _Step, "minmax": _MinMax, "standard": _Standard, "l2": _Length, "clip": _PositivePart}


def check_chain(chain: str) -> str | None:
    """Return what is wrong with a chain as the end of a sentence, or None (the `validate` of a parameter).

    >>> check_chain("standard+clip+minmax") is None
    True
    >>> check_chain("minmx")
    "'minmx' is not a step, did you mean 'minmax'? Write none, or minmax, standard, l2, clip joined by '+'."
    """
    how = "Write none, or minmax, standard, l2, clip joined by '+'."
    steps = chain.split("+")
    for step in steps:
        if step not in STEPS:
            near = nearest(step, STEPS)
            return f"{step!r} is not a step{f', did you mean {near!r}?' if near else '.'} {how}"
    if "none" in steps and len(steps) > 1:
        return f"'none' cannot be combined. {how}"
    return None


class Preprocessor:
    """A chain of column scalings (minmax to [0, 1], standard), row scalings (l2) and clipping (max(x, 0)).

    Column statistics come from the rows given to `fit`. A column that is constant there is shifted, never divided
    by zero; a row of zeros stays zero under l2. A step that does not exist is a BadValue.
    """

    def __init__(self, chain: str) -> None:
        if problem := check_chain(chain):
            raise BadValue(f"preprocess={chain} is not allowed; {problem}")
        self.chain = chain
        self._steps = [STEPS[name]() for name in chain.split("+")]

    def fit(self, features: Array) -> Self:
        """Learn the column statistics of (n, d) features and return self; forget any earlier fit."""
        self.fit_transform(features)
        return self

    def fit_transform(self, features: Array) -> Array:
        """Return ``fit(features).transform(features)`` in one pass."""
        self._steps = [STEPS[name]() for name in self.chain.split("+")]
        return self._apply(features, fit=True)

    def copy(self) -> Preprocessor:
        """Return a copy in the same state of fitting, which shares no array with this one."""
        return copy.deepcopy(self)

    def transform(self, features: Array) -> Array:
        """Return (n, d) float32 features, transformed; the input is not changed (``none`` returns the input itself)."""
        return self._apply(features)

    def _apply(self, features: Array, fit: bool = False) -> Array:
        out = np.asarray(features, dtype=np.float32)
        if self.chain == "none":
            return out
        out = out.copy(order="K")
        for step in self._steps:
            if fit:
                step.fit(out)
            out = step.transform(out)
        return out


def prepare(train: Train, chain: str) -> tuple[ClassTable, Preprocessor, Array, IntArray]:
    """Return classes in canonical order, the fitted preprocessor, preprocessed rows, and positions of their classes.

    Random numbers that are drawn per class then depend neither on class ids nor on the order of the class table.
    """
    classes = train.classes.take(train.classes.canonical())
    fitted = Preprocessor(chain)
    return classes, fitted, fitted.fit_transform(train.features), classes.positions(train.labels)


def unit(rows: Array) -> Array:
    """Return (n, d) rows scaled to unit length; rows of zeros stay zero.

    >>> unit(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6, 0.8], [0.0, 0.0]]
    """
    length: Array = np.linalg.norm(rows, axis=1, keepdims=True)
    out: Array = np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)
    return out


def scaled_to_root(semantics: Array) -> Array:
    """Return (k, a) rows scaled to length √a (attribute normalisation); rows of zeros stay zero."""
    out: Array = unit(semantics) * np.float32(math.sqrt(semantics.shape[1]))
    return out


def normed(semantics: Array, norm: str) -> Array:
    """Return class vectors with length 1 if `semantic_norm` is ``l2``, unchanged if it is ``none``."""
    return unit(semantics) if norm == "l2" else semantics


def attribute_values(classes: ClassTable, original: bool, method: str, otherwise: str = "") -> Array:
    """Return the (k, a) original attributes if the fit used them, else the semantics; BadValue if they are missing."""
    if not original:
        return classes.semantics
    if classes.original is None:
        raise BadValue(
            f"{method}: it was fitted on original attributes and the candidates have none; "
            f"give both tables original attributes{otherwise}."
        )
    return classes.original


def class_means(features: Array, positions: IntArray, start: Array) -> Array:
    """Return (c, d) float64 means of the rows of each class, in `start`; a class without rows keeps its value there."""
    for rows in positions_by_label(positions):
        start[positions[rows[0]]] = features[rows].mean(axis=0, dtype=np.float64)
    return start


def cosines(rows: Array, others: Array) -> Array:
    """Return (n, k) cosines of (n, d) rows with (k, d) others; 0 if a vector has length 0."""
    return unit(rows) @ unit(others).T


def closeness(rows: Array, others: Array) -> Array:
    """Return (n, k) −‖x − y‖² of (n, d) rows x and (k, d) others y.

    >>> closeness(np.array([[1.0, 2.0]]), np.array([[1.0, 2.0], [1.0, 5.0]])).tolist()
    [[-0.0, -9.0]]
    """
    centre = others.mean(axis=0)  # the difference of squares would be inaccurate for rows far from 0
    x, y = rows - centre, others - centre
    lengths = np.square(x).sum(axis=1)[:, None] + np.square(y).sum(axis=1)
    out: Array = 2 * (x @ y.T) - lengths
    return np.minimum(out, -0.0)
