"""Intervals and tests over seeds, pairs of methods and data sets, as pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from zslbench.arrays import Array

_ROUNDED = 11
"""Decimals: accuracies are means of many fractions, and what differs beyond these is equal up to rounding."""

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


def holm(p_values: Numbers) -> Array:
    """Return (m,) p-values adjusted by Holm's step-down method (1979), in the order given; at most 1.

    A p that could not be computed stays NaN, and counts as 1 beside the others.
    """
    given = np.asarray(p_values, dtype=float)
    p = np.where(np.isnan(given), 1.0, given)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return np.where(np.isnan(given), np.nan, adjusted)


def wilcoxon(differences: Numbers) -> float:
    """Return the two-sided p of Wilcoxon's signed-rank test of (n,) paired differences (Demšar, 2006, sec. 3.1.3).

    Differences of 0 are dropped, as Wilcoxon did; when nothing is left p is 1. Equal sizes share their mean rank.
    The distribution is exact without equal sizes up to 50 differences and with them up to 13; the normal
    approximation serves beyond.
    """
    from scipy import stats

    rounded = np.round(np.asarray(differences, dtype=float), _ROUNDED)
    rounded = rounded[rounded != 0]
    return float(stats.wilcoxon(rounded).pvalue) if rounded.size else 1.0


def smallest_wilcoxon_p(n: int, pairs: int = 1) -> float:
    """Return the smallest two-sided p that n differences can reach, 2/2ⁿ, after Holm over some pairs.

    >>> smallest_wilcoxon_p(5), smallest_wilcoxon_p(5, pairs=3), smallest_wilcoxon_p(1)
    (0.0625, 0.1875, 1.0)
    """
    return min(1.0, pairs * 2.0 ** (1 - n))


class Friedman(NamedTuple):
    """Average ranks (1 is best) and Friedman's test of whether they differ; statistic and p are NaN for two methods."""

    ranks: Array
    statistic: float
    p: float


def friedman(values: Array) -> Friedman:
    """Return average ranks and Friedman's test of (N, k) values of k methods on N data sets, higher being better.

    Equal values share their mean rank, and the statistic is corrected for them; p is of chi-squared with k − 1
    degrees of freedom (Demšar, 2006, sec. 3.2.2), which is rough for few data sets.
    """
    from scipy import stats

    methods = values.shape[1]
    ranks = stats.rankdata(-np.round(values, _ROUNDED), axis=1)
    average = ranks.mean(axis=0)
    if methods < 3:
        return Friedman(average, math.nan, math.nan)
    if (ranks == ranks[:, :1]).all():
        return Friedman(average, 0.0, 1.0)
    test = stats.friedmanchisquare(*ranks.T)
    return Friedman(average, float(test.statistic), float(test.pvalue))


def critical_difference(methods: int, datasets: int, level: float = 0.95) -> float:
    """Return Nemenyi's critical difference of average ranks, q·√(k(k + 1)/6N) (Demšar, 2006, sec. 3.2.2).

    q is the quantile of the studentised range for k means and infinite degrees of freedom, over √2.

    >>> round(critical_difference(4, 14, 0.90), 2)
    1.12
    """
    from scipy import stats

    q = stats.studentized_range.ppf(level, methods, np.inf) / math.sqrt(2)
    return float(q * math.sqrt(methods * (methods + 1) / (6 * datasets)))
