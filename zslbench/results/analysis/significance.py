"""How sure differences are: tests over pairs and data sets, and the paired bootstrap.

In the bootstrap a metric is a smooth function of mean class accuracies: T1, U and S are one such mean,
H = 2US/(U + S) is one of two. What is drawn with replacement are strata's members: classes (unseen and seen ones
apart), or the images of each class, the classes staying as they are. All methods share every draw, which is what pairs
them.

With ten to fifty classes the percentiles of the drawn differences are too narrow, so the bootstrap is studentised
(Efron & Tibshirani, 1993, ch. 12.5; symmetric as in Hall, 1988): t* = (θ* − θ) / se*, where se is the delta method's
standard error, computed anew in each draw; the interval is θ ± (quantile of |t*|)·se, and p the share of |t*| at least
as large as |θ|/se, counted as (k + 1)/(B + 1), so that it is never 0.

Where methods were trained with several seeds, training anew is a source of chance too. A handful of seeds cannot be
resampled, so it enters as a normal variable with the variance that the seeds show, and its estimate as chi-squared
with one degree of freedom less than there are seeds (the parametric bootstrap of Krishnamoorthy, Lu & Mathew, 2007).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from zslbench.arrays import Array, IntArray

# Below it a variance is rounding: one image's worth is about 1e-10 even with a thousand classes of fifty images.
_NO_VARIANCE = 1e-13
_CELLS = 4_000_000
"""Numbers of drawn moments that are held at a time."""
_ROUNDED = 11
"""Decimals: accuracies are means of many fractions, and what differs beyond these is equal up to rounding."""

Numbers = Sequence[float] | npt.NDArray[np.floating]


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
    """Mean ranks (1 is best) and Friedman's test of whether they differ; statistic and p are NaN for two methods."""

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


@dataclasses.dataclass(frozen=True, eq=False)
class Draws:
    """The mean accuracy of M methods on one side (unseen or seen classes), as observed (first) and in each of B draws.

    `mean` is (1 + B, M), `cov` the (1 + B, M, M) estimated covariance of these means over what is resampled.
    """

    mean: Array
    cov: Array


@dataclasses.dataclass(frozen=True, eq=False)
class Retraining:
    """What training anew does to the metric of M methods, as observed (0) and in each of B draws: (1 + B, M) each.

    `variance` is the estimated one of the `shift`; 0 for a method without chance, or with one seed.
    """

    shift: Array
    variance: Array


class PairedTest(NamedTuple):
    """What `bootstrap_difference` returns: low, high and p are NaN where nothing can be said."""

    difference: float
    low: float
    high: float
    p: float


def draw_classes(accuracy: Array, draws: int, rng: np.random.Generator) -> Draws:
    """Return draws of whole classes from the (C, M) accuracies of C classes under M methods."""
    return _draw([accuracy[None]], draws, rng)


def draw_images(correct: Array, classes: IntArray, draws: int, rng: np.random.Generator) -> Draws:
    """Return draws of images within their (n,) classes, of the (n, M) accuracies on each; every class counts alike.

    A class with a single image is always drawn as it is and adds no spread.
    """
    inverse = _numbered(classes)
    sizes = np.bincount(inverse)
    order = np.argsort(inverse, kind="stable")
    starts = np.cumsum(sizes) - sizes
    strata = []
    for size in np.unique(sizes):  # classes of one size are drawn in one go
        members = starts[sizes == size][:, None] + np.arange(size)
        strata.append(correct[order[members]])
    return _draw(strata, draws, rng)


def draw_training(variance: float, seeds: int, draws: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return one column of `Retraining`, of a method whose mean over its seeds has this variance."""
    shift, variances = np.zeros(1 + draws), np.full(1 + draws, variance)
    if variance > 0 and seeds > 1:
        shift[1:] = rng.normal(0.0, math.sqrt(variance), draws)
        variances[1:] *= rng.chisquare(seeds - 1, draws) / (seeds - 1)
    return shift, variances


def interaction_variance(values: Array, strata: IntArray) -> float:
    """Return the variance of a mean over strata and seeds that members and seeds have together, not each alone.

    Both the spread over members and the spread over seeds hold it; taken off once, their sum is unbiased (two-way
    random effects, Searle, Casella & McCulloch, 1992, ch. 4).

    `values` are the (n, K) accuracies of n members with K seeds, `strata` the (n,) stratum of each member: the same for
    all classes, the class for images.
    """
    inverse = _numbered(strata)
    n, seeds = np.bincount(inverse), values.shape[1]
    if seeds < 2:
        return 0.0
    mean = accuracy_by_class(values, strata)
    rest = values - values.mean(axis=1, keepdims=True) - (mean - mean.mean(axis=1, keepdims=True))[inverse]
    square = np.bincount(inverse, weights=(rest**2).sum(axis=1))
    share = np.divide(square, n * (n - 1.0), out=np.zeros(len(n)), where=n > 1)
    return float(share.sum()) / float((seeds - 1) * seeds * len(n) ** 2)


def accuracy_by_class(correct: Array, classes: IntArray) -> Array:
    """Return the (C, M) mean accuracy of each class, in order of first appearance, so that its number is no matter."""
    inverse = _numbered(classes)
    counts = np.bincount(inverse)
    columns = [np.bincount(inverse, weights=column) / counts for column in correct.T]
    return np.stack(columns, axis=1)


def _numbered(classes: IntArray) -> IntArray:
    """Number (n,) classes by first appearance."""
    _, first, inverse = np.unique(classes, return_index=True, return_inverse=True)
    place = np.empty(len(first), dtype=np.int64)
    place[np.argsort(first)] = np.arange(len(first))
    return place[inverse]


def _draw(strata: Sequence[Array], draws: int, rng: np.random.Generator) -> Draws:
    """Resample within `strata`, arrays (k, n, M) of k strata of n members, and return means over all of them."""
    methods, total = strata[0].shape[2], sum(map(len, strata))
    upper = np.triu_indices(methods)
    mean = np.zeros((1 + draws, methods))
    second = np.zeros((1 + draws, len(upper[0])))
    for block in strata:
        k, n, _ = block.shape
        centre = block.mean(axis=1, keepdims=True)
        away = block - centre  # moments about the observed mean: nothing cancels
        moments = np.concatenate([away, away[..., upper[0]] * away[..., upper[1]]], axis=2)
        step = max(1, _CELLS // (k * max(n, moments.shape[2])))
        mean += centre.sum(axis=0)
        second[0] += _variances(moments.mean(axis=1), methods, upper, n).sum(axis=0)
        for start in range(1, 1 + draws, step):
            rows = slice(start, min(start + step, 1 + draws))
            picks = rng.integers(n, size=(k * (rows.stop - rows.start), n))
            picks += np.arange(len(picks))[:, None] * n
            weights = np.bincount(picks.ravel(), minlength=picks.size).reshape(k, -1, n).astype(float)
            drawn = weights @ moments / n
            mean[rows] += drawn[..., :methods].sum(axis=0)
            second[rows] += _variances(drawn, methods, upper, n).sum(axis=0)
    cov = np.empty((1 + draws, methods, methods))
    cov[:, upper[0], upper[1]] = cov[:, upper[1], upper[0]] = second / total**2
    return Draws(mean / total, cov)


def _variances(moments: Array, methods: int, upper: tuple[IntArray, IntArray], n: int) -> Array:
    """Return the covariances of means of n members, from (…, M + pairs) mean moments; 0 for a single member."""
    if n == 1:
        return np.zeros((*moments.shape[:-1], len(upper[0])))
    mean = moments[..., :methods]
    return (moments[..., methods:] - mean[..., upper[0]] * mean[..., upper[1]]) / (n - 1)


def bootstrap_difference(
    sides: Sequence[Draws], first: int, second: int, level: float = 0.95, training: Retraining | None = None
) -> PairedTest:
    """Return the difference of a metric between two methods (columns of `sides`), first − second, with interval and p.

    There is one side for T1, U or S, unseen and seen for H. `training` adds the chance of training anew; without it
    they hold for the trained models as they are.

    A difference without any spread, which is neither sure nor unsure: where all accuracies agree it is 0 with an
    interval of [0, 0] and p = 1; where all differ by the same amount, or where there is one class (one image a class)
    to draw from, low, high and p are NaN. A draw without spread counts as infinitely far, which is the careful side:
    where more than 1 − level of the draws are such, the interval is all that a difference can be, [−1, 1].
    """
    value, variance = difference(sides, first, second)
    if training is not None:
        value = value + training.shift[:, first] - training.shift[:, second]
        variance = variance + training.variance[:, first] + training.variance[:, second]
    if variance[0] < _NO_VARIANCE:
        same = all(np.allclose(side.mean[:, first], side.mean[:, second], rtol=0, atol=1e-12) for side in sides)
        return PairedTest(0.0, 0.0, 0.0, 1.0) if same else PairedTest(float(value[0]), math.nan, math.nan, math.nan)
    error = np.sqrt(np.maximum(variance, 0.0))
    spread = variance[1:] >= _NO_VARIANCE
    t = np.full(len(value) - 1, np.inf)
    t[spread] = np.abs(value[1:] - value[0])[spread] / error[1:][spread]
    observed = abs(value[0]) / error[0]
    # Equal up to rounding counts as reached: differences of accuracies are a few fractions, and ties are common.
    reached = int(np.count_nonzero(t >= observed * (1 - 1e-9)))
    place = min(math.ceil(level * (len(t) + 1)), len(t)) - 1
    half = float(np.partition(t, place)[place] * error[0])
    low, high = max(value[0] - half, -1.0), min(value[0] + half, 1.0)
    return PairedTest(float(value[0]), float(low), float(high), (reached + 1) / (len(t) + 1))


def difference(sides: Sequence[Draws], first: int, second: int) -> tuple[Array, Array]:
    """Return the difference of a metric between two methods and its variance, observed and in each draw: (1 + B,)."""
    value = metric(sides, first) - metric(sides, second)
    variance = np.zeros(len(value))  # by the delta method; the sides are independent
    for side, a, b in zip(sides, metric_gradient(sides, first), metric_gradient(sides, second), strict=True):
        cov = side.cov
        variance += a**2 * cov[:, first, first] + b**2 * cov[:, second, second] - 2 * a * b * cov[:, first, second]
    return value, variance


def metric(sides: Sequence[Draws], method: int) -> Array:
    """Return the metric of one method, observed and in each draw: (1 + B,)."""
    if len(sides) == 1:
        return sides[0].mean[:, method]
    unseen, seen = (side.mean[:, method] for side in sides)
    total = unseen + seen
    return np.divide(2 * unseen * seen, total, out=np.zeros_like(total), where=total > 0)


def metric_gradient(sides: Sequence[Draws], method: int) -> list[Array]:
    """Return the metric's derivative with respect to each side's mean: 1, or ∂H/∂U = 2S²/(U + S)² and its like."""
    if len(sides) == 1:
        return [np.ones(len(sides[0].mean))]
    unseen, seen = (side.mean[:, method] for side in sides)
    total = unseen + seen
    share = [np.divide(other, total, out=np.zeros_like(total), where=total > 0) for other in (seen, unseen)]
    return [2 * part**2 for part in share]
