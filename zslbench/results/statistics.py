"""Intervals and tests over seeds, pairs of methods and data sets, as pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from zslbench.arrays import Array

Numbers = Sequence[float] | npt.NDArray[np.floating]


class Interval(NamedTuple):
    """A mean and its confidence interval; the ends are NaN where the data allow none."""

    mean: float
    low: float
    high: float


def t_interval(values: Numbers, level: float = 0.95) -> Interval:
    """Return the mean of (n,) values and Student's interval for it, mean ± t·s/√n with n − 1 degrees of freedom.

    A single value has no interval: both ends are NaN. Values without spread give an interval of width 0.

    Raises:
        ValueError: no values, or a level outside (0, 1).
    """
    from scipy import stats

    array = np.asarray(values, dtype=float)
    if not array.size or not 0 < level < 1:
        raise ValueError(f"t_interval needs values and a level between 0 and 1, not {array.size} and {level}")
    mean = float(array.mean())
    if array.size == 1:
        return Interval(mean, math.nan, math.nan)
    half = float(stats.t.ppf((1 + level) / 2, array.size - 1) * array.std(ddof=1) / math.sqrt(array.size))
    return Interval(mean, mean - half, mean + half)


def paired_t_interval(a: Numbers, b: Numbers, level: float = 0.95) -> Interval:
    """Return the mean of a − b over (n,) pairs, such as the same seeds, and Student's interval for it.

    Raises:
        ValueError: as `t_interval`, or a and b of different lengths.
    """
    first, second = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if first.shape != second.shape:
        raise ValueError(f"pairs were asked for, not {first.size} and {second.size} values")
    return t_interval(first - second, level)


def holm(p_values: Numbers) -> Array:
    """Return (m,) p-values adjusted by Holm's step-down method (1979), in the order given; at most 1."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)) if len(p) else p
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted
