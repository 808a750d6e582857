"""Preprocessing of image features: a chain of scikit-learn transformers, fitted on training rows only."""

from __future__ import annotations

import copy
from typing import Any, Self

import numpy as np

from zslbench.arrays import Array
from zslbench.errors import BadValue, nearest

STEPS = ("none", "minmax", "standard", "l2", "clip")


def check_chain(chain: str) -> str | None:
    """Return what is wrong with a chain as the end of a sentence, or None (the `validate` of a parameter).

    >>> check_chain("standard+clip+minmax") is None
    True
    >>> check_chain("minmx")
    "'minmx' is no step, did you mean 'minmax'? Write none, or minmax, standard, l2, clip joined by '+'."
    """
    how = "Write none, or minmax, standard, l2, clip joined by '+'."
    steps = chain.split("+")
    for step in steps:
        if step not in STEPS:
            near = nearest(step, STEPS)
            return f"{step!r} is no step{f', did you mean {near!r}?' if near else '.'} {how}"
    if "none" in steps and len(steps) > 1:
        return f"'none' stands alone. {how}"
    return None


def preprocessor(chain: str) -> Preprocessor:
    """Return the unfitted preprocessor of a chain, for instance ``standard+clip+minmax``.

    Raises:
        BadValue: a step that does not exist.
    """
    return Preprocessor(chain)


class Preprocessor:
    """A chain of column scalings (minmax to [0, 1], standard), row scalings (l2) and clipping (max(x, 0)).

    Column statistics come from the rows given to `fit`. A column that is constant there is shifted, never divided
    by zero; a row of zeros stays zero under l2.
    """

    def __init__(self, chain: str) -> None:
        if problem := check_chain(chain):
            raise BadValue(f"preprocess={chain} is not allowed; {problem}")
        self.chain = chain
        self._steps = _transformers(chain)

    def fit(self, features: Array) -> Self:
        """Learn the column statistics of (n, d) features and return self; forget any earlier fit."""
        self.fit_transform(features)
        return self

    def fit_transform(self, features: Array) -> Array:
        """Return ``fit(features).transform(features)`` at the price of one pass."""
        self._steps = _transformers(self.chain)
        out = np.asarray(features, dtype=np.float32)
        for step in self._steps:
            out = step.fit_transform(out)
        return out

    def copy(self) -> Preprocessor:
        """Return a preprocessor as far fitted as this one, which shares no array with it."""
        return copy.deepcopy(self)

    def transform(self, features: Array) -> Array:
        """Return (n, d) float32 features, transformed; the input is not touched (``none`` returns it as it is)."""
        out = np.asarray(features, dtype=np.float32)
        for step in self._steps if len(out) else ():  # scikit-learn refuses no rows at all
            out = step.transform(out)
        return np.asarray(out, dtype=np.float32)


def _transformers(chain: str) -> list[Any]:
    """Return the unfitted scikit-learn transformers of a chain; only the first copies, the rest work in place."""
    from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, Normalizer, StandardScaler

    makers = {"minmax": MinMaxScaler, "standard": StandardScaler, "l2": Normalizer}
    steps: list[Any] = []
    for name in chain.split("+"):
        if name == "clip":
            steps.append(FunctionTransformer(_positive_part))
        elif name != "none":
            steps.append(makers[name](copy=not steps))
    return steps


def _positive_part(features: Array) -> Array:
    return np.maximum(features, 0)
