"""Intervals and tests, held against SciPy, naive loops and the example of Demšar (2006)."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from zslbench.results.analysis import significance as own

# Demšar (2006), Table 6: AUC of C4.5, C4.5+m, C4.5+cf, C4.5+m+cf on 14 data sets. On the last but one the paper ranks
# the third above the fourth, though they agree as printed; a digit more says so here.
DEMSAR = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975],
        [0.957, 0.978, 0.946, 0.970],
    ]
)

numbers = st.floats(-100, 100).map(lambda value: round(value, 3))
p_values = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def test_t_interval_against_scipy() -> None:
    values = np.random.default_rng(0).normal(50, 3, 7)
    found = own.t_interval(values, 0.9)
    wanted = stats.ttest_1samp(values, 0.0).confidence_interval(0.9)
    assert found == pytest.approx((values.mean(), wanted.low, wanted.high))


def test_t_interval_of_one_value_and_of_equal_values() -> None:
    one = own.t_interval([0.5])
    assert one.mean == 0.5
    assert math.isnan(one.low)
    assert math.isnan(one.high)
    assert own.t_interval([0.25, 0.25, 0.25]) == (0.25, 0.25, 0.25)


@pytest.mark.parametrize(("values", "level"), [([], 0.95), ([1.0, 2.0], 1.0), ([1.0, 2.0], 0.0)])
def test_t_interval_refuses(values: list[float], level: float) -> None:
    with pytest.raises(ValueError, match="needs values and a level"):
        own.t_interval(values, level)


def rejected_by_holm(p: list[float], level: float) -> set[int]:
    """Holm's procedure as he wrote it: from the smallest p on, reject while p ≤ level / (hypotheses left)."""
    rejected: set[int] = set()
    for number in sorted(range(len(p)), key=lambda number: p[number]):
        if p[number] > level / (len(p) - len(rejected)):
            break
        rejected.add(number)
    return rejected


@given(p_values, st.floats(0.001, 0.999))
def test_holm_rejects_what_his_procedure_does(p: list[float], level: float) -> None:
    found = own.holm(p)
    assert {*np.flatnonzero(found <= level * (1 - 1e-12)).tolist()} <= rejected_by_holm(p, level)
    assert rejected_by_holm(p, level) <= {*np.flatnonzero(found <= level * (1 + 1e-12)).tolist()}
    assert (found >= p).all()
    assert (found <= 1).all()


def test_holm_of_nothing_and_of_what_could_not_be_computed() -> None:
    assert own.holm([]).shape == (0,)
    assert own.holm([0.02, math.nan, 0.04]) == pytest.approx([0.06, math.nan, 0.08], nan_ok=True)


def naive_wilcoxon(differences: list[float]) -> float:
    """All 2ⁿ changes of sign of the ranks, one by one."""
    left = [value for value in differences if value != 0]
    if not left:
        return 1.0
    ranks = stats.rankdata(np.abs(left))
    observed = abs(float((np.sign(left) * ranks).sum()))
    signs = np.array(list(itertools.product([-1, 1], repeat=len(left))))
    return float(np.mean(np.abs(signs @ ranks) >= observed - 1e-9))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=8))
def test_wilcoxon_is_exact_with_ties_and_zeros(differences: list[float]) -> None:
    assert own.wilcoxon(differences) == pytest.approx(naive_wilcoxon(differences))
    assert own.wilcoxon([-value for value in differences]) == pytest.approx(own.wilcoxon(differences))


def test_wilcoxon_against_scipy() -> None:
    rng = np.random.default_rng(2)
    for n in (2, 6, 20, 60):
        values = rng.normal(0.3, 1, n)
        method = "exact" if n <= 50 else "approx"
        assert own.wilcoxon(values) == pytest.approx(stats.wilcoxon(values, method=method).pvalue)
    tied = rng.integers(-4, 5, 30).astype(float)
    assert own.wilcoxon(tied) == pytest.approx(stats.wilcoxon(tied, zero_method="wilcox", method="approx").pvalue)
    # Sizes that differ by rounding only share a rank.
    assert own.wilcoxon([0.3, -(0.1 + 0.2), 1.0]) == own.wilcoxon([0.3, -0.3, 1.0])


@pytest.mark.parametrize("n", range(1, 9))
def test_the_smallest_p_is_reached_when_all_agree_and_never_undercut(n: int) -> None:
    assert own.wilcoxon(np.arange(1.0, n + 1)) == pytest.approx(own.smallest_wilcoxon_p(n))
    lowest = min(own.wilcoxon(np.array(sign) * np.arange(1.0, n + 1)) for sign in itertools.product([-1, 1], repeat=n))
    assert lowest == pytest.approx(own.smallest_wilcoxon_p(n))
    pairs = own.holm([own.smallest_wilcoxon_p(n)] + [1.0] * 5)
    assert own.smallest_wilcoxon_p(n, 6) == pytest.approx(min(pairs))


def test_friedman_on_the_example_of_demsar() -> None:
    found = own.friedman(DEMSAR)
    assert found.ranks == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    uncorrected = 12 * 14 / (4 * 5) * (np.sum(found.ranks**2) - 4 * 25 / 4)
    assert uncorrected == pytest.approx(9.28, abs=5e-3)  # the paper's, which leaves ties uncorrected
    wanted = stats.friedmanchisquare(*DEMSAR.T)
    assert (found.statistic, found.p) == pytest.approx((wanted.statistic, wanted.pvalue))


def test_friedman_of_two_methods_and_of_equal_ones() -> None:
    two = own.friedman(DEMSAR[:, :2])
    assert sum(two.ranks) == pytest.approx(3.0)
    assert math.isnan(two.p)
    same = own.friedman(np.ones((4, 3)))
    assert (same.statistic, same.p) == (0.0, 1.0)
    assert same.ranks == pytest.approx([2, 2, 2])


def test_critical_differences_of_demsar() -> None:
    """q of Table 5(a): 1.960, 2.343, 2.569, 2.728 … 3.164 for k = 2 … 10; CD of the example: 1.25 and 1.12."""
    for k, q in zip((2, 3, 4, 5, 10), (1.960, 2.343, 2.569, 2.728, 3.164), strict=True):
        assert own.critical_difference(k, 1) / math.sqrt(k * (k + 1) / 6) == pytest.approx(q, abs=1e-3)
    assert own.critical_difference(4, 14) == pytest.approx(1.25, abs=5e-3)
    assert own.critical_difference(4, 14, 0.90) == pytest.approx(1.12, abs=5e-3)


@given(st.lists(st.tuples(numbers, numbers, numbers), min_size=2, max_size=6), st.permutations(range(3)))
def test_ranks_follow_the_methods_whatever_their_order(rows: list[tuple[float, ...]], order: list[int]) -> None:
    values = np.array(rows)
    assert own.friedman(values[:, order]).ranks == pytest.approx(own.friedman(values).ranks[order])
    assert own.friedman(values).ranks.sum() == pytest.approx(6)
