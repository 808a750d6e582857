"""Intervals, tests and the paired bootstrap: against SciPy, loops, Demšar (2006) and simulation; degenerate cases."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from zslbench.arrays import Array, IntArray
from zslbench.results.analysis import significance
from zslbench.results.analysis.rows import stat
from zslbench.results.analysis.significance import Draws, PairedTest, Retraining

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


def test_intervals_over_seeds_are_those_of_scipy() -> None:
    values = np.random.default_rng(0).uniform(0, 1, 7)
    wanted = stats.ttest_1samp(100 * values, 0.0).confidence_interval(0.95)
    assert stat(values).interval() == pytest.approx((wanted.low, wanted.high))
    assert stat([0.25, 0.25, 0.25]).interval() == (25.0, 25.0)
    for without in (stat([0.5]), stat(values, stochastic=False)):
        assert (without.interval(), without.low, without.excludes_zero) == (None, None, None)
    assert (stat([0.1, 0.11, 0.12]).excludes_zero, stat([0.01, 0.02]).excludes_zero) == (True, False)


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
    found = significance.holm(p)
    assert {*np.flatnonzero(found <= level * (1 - 1e-12)).tolist()} <= rejected_by_holm(p, level)
    assert rejected_by_holm(p, level) <= {*np.flatnonzero(found <= level * (1 + 1e-12)).tolist()}
    assert (found >= p).all()
    assert (found <= 1).all()


def test_holm_of_nothing_and_of_what_could_not_be_computed() -> None:
    assert significance.holm([]).shape == (0,)
    assert significance.holm([0.02, math.nan, 0.04]) == pytest.approx([0.06, math.nan, 0.08], nan_ok=True)


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
    assert significance.wilcoxon(differences) == pytest.approx(naive_wilcoxon(differences))
    assert significance.wilcoxon([-value for value in differences]) == pytest.approx(significance.wilcoxon(differences))


def test_wilcoxon_against_scipy() -> None:
    rng = np.random.default_rng(2)
    for n in (2, 6, 20, 60):
        values = rng.normal(0.3, 1, n)
        method = "exact" if n <= 50 else "approx"
        assert significance.wilcoxon(values) == pytest.approx(stats.wilcoxon(values, method=method).pvalue)
    tied = rng.integers(-4, 5, 30).astype(float)
    assert significance.wilcoxon(tied) == pytest.approx(
        stats.wilcoxon(tied, zero_method="wilcox", method="approx").pvalue
    )
    # Sizes that differ by rounding only share a rank.
    assert significance.wilcoxon([0.3, -(0.1 + 0.2), 1.0]) == significance.wilcoxon([0.3, -0.3, 1.0])


@pytest.mark.parametrize("n", range(1, 9))
def test_the_smallest_p_is_reached_when_all_agree_and_never_undercut(n: int) -> None:
    assert significance.wilcoxon(np.arange(1.0, n + 1)) == pytest.approx(significance.smallest_wilcoxon_p(n))
    lowest = min(
        significance.wilcoxon(np.array(sign) * np.arange(1.0, n + 1)) for sign in itertools.product([-1, 1], repeat=n)
    )
    assert lowest == pytest.approx(significance.smallest_wilcoxon_p(n))
    pairs = significance.holm([significance.smallest_wilcoxon_p(n)] + [1.0] * 5)
    assert significance.smallest_wilcoxon_p(n, 6) == pytest.approx(min(pairs))


def test_friedman_on_the_example_of_demsar() -> None:
    found = significance.friedman(DEMSAR)
    assert found.ranks == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    uncorrected = 12 * 14 / (4 * 5) * (np.sum(found.ranks**2) - 4 * 25 / 4)
    assert uncorrected == pytest.approx(9.28, abs=5e-3)  # the paper's, which leaves ties uncorrected
    wanted = stats.friedmanchisquare(*DEMSAR.T)
    assert (found.statistic, found.p) == pytest.approx((wanted.statistic, wanted.pvalue))


def test_friedman_of_two_methods_and_of_equal_ones() -> None:
    assert math.isnan(significance.friedman(DEMSAR[:, :2]).p)
    ranks, statistic, p = significance.friedman(np.ones((4, 3)))
    assert (statistic, p, *ranks) == (0.0, 1.0, 2, 2, 2)


def test_critical_differences_of_demsar() -> None:
    """q of Table 5(a): 1.960, 2.343, 2.569, 2.728 … 3.164 for k = 2 … 10; CD of the example: 1.25 and 1.12."""
    for k, q in zip((2, 3, 4, 5, 10), (1.960, 2.343, 2.569, 2.728, 3.164), strict=True):
        assert significance.critical_difference(k, 1) / math.sqrt(k * (k + 1) / 6) == pytest.approx(q, abs=1e-3)
    assert significance.critical_difference(4, 14) == pytest.approx(1.25, abs=5e-3)
    assert significance.critical_difference(4, 14, 0.90) == pytest.approx(1.12, abs=5e-3)


@given(st.lists(st.tuples(numbers, numbers, numbers), min_size=2, max_size=6), st.permutations(range(3)))
def test_ranks_follow_the_methods_whatever_their_order(rows: list[tuple[float, ...]], order: list[int]) -> None:
    values = np.array(rows)
    assert significance.friedman(values[:, order]).ranks == pytest.approx(significance.friedman(values).ranks[order])
    assert significance.friedman(values).ranks.sum() == pytest.approx(6)


LOW, HIGH = 0.03, 0.07
"""The bounds of the false-alarm rate at 5 %: with 1000 repetitions three standard errors of a true 5 %."""
REPETITIONS = 1000


def answers(rng: np.random.Generator, sizes: Sequence[int], methods: int = 2) -> tuple[Array, IntArray]:
    classes = np.repeat(np.arange(len(sizes)), sizes)
    hard = rng.uniform(0.1, 0.9, len(sizes))[classes]
    right = rng.random((len(classes), methods)) < np.clip(hard[:, None] + rng.normal(0, 0.1, methods), 0, 1)
    return right.astype(float), classes


def harmonic(unseen: float, seen: float) -> float:
    return 2 * unseen * seen / (unseen + seen) if unseen + seen else 0.0


# --- the bootstrap against loops --------------------------------------------------------------------------------------


def naive_once(values: Array, classes: IntArray, over: str, rng: np.random.Generator | None) -> tuple[Array, Array]:
    """Mean accuracy and its covariance for one draw (None: as observed), by loops in float64."""
    names = list(dict.fromkeys(classes.tolist()))
    if over == "classes":
        table = np.array([values[classes == name].mean(axis=0) for name in names])
        drawn = table if rng is None else table[rng.integers(len(table), size=len(table))]
        return drawn.mean(axis=0), np.cov(drawn.T) / len(drawn)
    means, cov = [], np.zeros((values.shape[1],) * 2)
    for name in names:
        images = values[classes == name]
        drawn = images if rng is None else images[rng.integers(len(images), size=len(images))]
        means.append(drawn.mean(axis=0))
        cov += np.cov(drawn.T) / len(drawn)
    return np.mean(means, axis=0), cov / len(names) ** 2


def naive_h(sides: list[tuple[Array, IntArray]], over: str, draws: int, seed: int) -> tuple[float, float, float, float]:
    """Difference of H, its interval and p, one draw at a time; the derivative of H by finite differences."""
    rng = np.random.default_rng(seed)

    def look(which: np.random.Generator | None) -> tuple[float, float]:
        (u, cov_u), (s, cov_s) = (naive_once(*side, over, which) for side in sides)
        step = 1e-6
        variance = 0.0
        for cov, slope in (
            (cov_u, [(harmonic(u[m] + step, s[m]) - harmonic(u[m] - step, s[m])) / (2 * step) for m in (0, 1)]),
            (cov_s, [(harmonic(u[m], s[m] + step) - harmonic(u[m], s[m] - step)) / (2 * step) for m in (0, 1)]),
        ):
            weights = np.array([slope[0], -slope[1]])
            variance += weights @ cov @ weights
        return harmonic(u[0], s[0]) - harmonic(u[1], s[1]), math.sqrt(max(variance, 0))

    value, error = look(None)
    t = []
    for _ in range(draws):
        drawn, its_error = look(rng)
        t.append(abs(drawn - value) / its_error)
    half = float(np.quantile(t, 0.95)) * error
    return value, value - half, value + half, float(np.mean(np.array(t) >= abs(value) / error))


def draw(values: Array, classes: IntArray, over: str, draws: int = 200, seed: int = 0) -> Draws:
    rng = np.random.default_rng(seed)
    if over == "classes":
        return significance.draw_classes(significance.accuracy_by_class(values, classes), draws, rng)
    return significance.draw_images(values, classes, draws, rng)


def difference(*sides: Draws, first: int = 0, second: int = 1) -> PairedTest:
    return significance.bootstrap_difference(sides, first, second)


OVER = pytest.mark.parametrize("over", ["classes", "images"])


@OVER
def test_h_against_a_loop(over: str) -> None:
    rng = np.random.default_rng(0)
    sides = [answers(rng, rng.integers(4, 9, 8)), answers(rng, rng.integers(4, 9, 9))]
    wanted = naive_h(sides, over, 1500, seed=1)
    found = difference(*(draw(*side, over, 6000, seed=2) for side in sides))
    assert found.difference == pytest.approx(wanted[0], abs=1e-12)
    width = wanted[2] - wanted[1]
    assert (found.low, found.high) == pytest.approx(wanted[1:3], abs=0.06 * width)
    assert found.p == pytest.approx(wanted[3], abs=0.05)


@OVER
def test_observed_means_and_covariances_against_a_loop(over: str) -> None:
    values, classes = answers(np.random.default_rng(3), [2, 3, 3, 7, 11], methods=4)
    found = draw(values, classes, over, 20_000)
    mean, cov = naive_once(values, classes, over, None)
    assert found.mean[0] == pytest.approx(mean)
    assert found.cov[0] == pytest.approx(cov)
    assert np.var(found.mean[1:], axis=0) == pytest.approx(naive_variance_of_draws(values, classes, over), rel=0.05)


def naive_variance_of_draws(values: Array, classes: IntArray, over: str) -> Array:
    """The exact variance of a resampled mean: σ̂²/n with σ̂² of divisor n."""
    table = np.array([values[classes == name].mean(axis=0) for name in np.unique(classes)])
    if over == "classes":
        return np.asarray(table.var(axis=0) / len(table))
    own = [values[classes == name] for name in np.unique(classes)]
    return np.asarray(sum(part.var(axis=0) / len(part) for part in own) / len(own) ** 2)


def test_large_samples_agree_with_scipy() -> None:
    rng = np.random.default_rng(4)
    table = np.clip(rng.normal([0.5, 0.46], 0.15, (300, 2)) + rng.normal(0, 0.1, (300, 1)), 0, 1)
    found = difference(significance.draw_classes(table, 5000, rng))
    for method in ("BCa", "percentile"):
        wanted = stats.bootstrap(
            (table[:, 0], table[:, 1]),
            lambda a, b, axis=-1: a.mean(axis=axis) - b.mean(axis=axis),
            paired=True,
            n_resamples=5000,
            method=method,
            rng=5,
        ).confidence_interval
        width = wanted.high - wanted.low
        assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=0.05 * width)
    assert found.p == pytest.approx(stats.ttest_rel(*table.T).pvalue, abs=0.01)


def test_gradient_of_h_against_finite_differences() -> None:
    means = np.random.default_rng(5).uniform(0.05, 1, (2, 20))
    sides = [Draws(mean[:, None], np.zeros((20, 1, 1))) for mean in means]
    step = 1e-6
    for place, slope in enumerate(significance.metric_gradient(sides, 0)):
        up, down = (
            [Draws(side.mean + sign * step * (number == place), side.cov) for number, side in enumerate(sides)]
            for sign in (1, -1)
        )
        wanted = (significance.metric(up, 0) - significance.metric(down, 0)) / (2 * step)
        assert slope == pytest.approx(wanted, rel=1e-6)


# --- false alarms --------------------------------------------------------------------------------------------------


def class_world(rng: np.random.Generator, classes: int, images: int, means: tuple[float, float]) -> Array:
    """Accuracies of two methods on classes from one population, of which the methods' means are given."""
    hard = rng.uniform(-0.3, 0.3, (classes, 1))
    true = np.clip(np.array(means) + hard + rng.normal(0, 0.12, (classes, 2)), 0, 1)
    return np.asarray(rng.binomial(images, true) / images)


@pytest.mark.parametrize(
    ("classes", "sides"),
    [
        (50, [(0.5, 0.5)]),
        (20, [(0.5, 0.5)]),
        (10, [(0.5, 0.5)]),
        (50, [(0.4, 0.4), (0.6, 0.6)]),
        (50, [(0.3, 0.7), (0.7, 0.3)]),
        (10, [(0.3, 0.7), (0.7, 0.3)]),
    ],
)
def test_false_alarms_over_classes(classes: int, sides: list[tuple[float, float]]) -> None:
    """T1 (one side) and H (two), the latter also with U and S of the methods exchanged."""
    rng = np.random.default_rng([6, classes, len(sides)])
    alarms = 0
    for _ in range(REPETITIONS):
        drawn = [significance.draw_classes(class_world(rng, classes, 20, means), 199, rng) for means in sides]
        alarms += difference(*drawn).p <= 0.05
    assert LOW <= alarms / REPETITIONS <= HIGH


@pytest.mark.parametrize(
    ("classes", "images", "sides"),
    [(50, 6, [(0.5, 0.5)]), (10, 12, [(0.5, 0.5)]), (20, 8, [(0.35, 0.65), (0.65, 0.35)])],
)
def test_false_alarms_over_images(classes: int, images: int, sides: list[tuple[float, float]]) -> None:
    """The classes and each method's accuracy on them are fixed, with the same mean; only images are drawn."""
    rng = np.random.default_rng([7, classes])
    away = rng.uniform(-0.3, 0.3, (classes, 2))
    away -= away.mean(axis=0)
    labels = np.repeat(np.arange(classes), images)
    alarms = 0
    for _ in range(REPETITIONS):
        drawn = []
        for means in sides:
            luck = rng.random((classes, images, 1))
            shared = rng.random((classes, images, 1)) < 0.5  # half of the images are easy or hard for both
            luck = np.where(shared, luck, rng.random((classes, images, 2)))
            right = luck < (np.array(means) + away)[:, None, :]
            drawn.append(significance.draw_images(right.reshape(-1, 2).astype(float), labels, 99, rng))
        alarms += difference(*drawn).p <= 0.05
    assert LOW <= alarms / REPETITIONS <= HIGH


def test_false_alarms_with_training_anew() -> None:
    """Three seeds that shift a whole model: left out, most differences look sure; put in, 3–7 % do."""
    rng = np.random.default_rng(8)
    classes, seeds, draws = 50, 3, 199
    alarms = {True: 0, False: 0}
    for _ in range(REPETITIONS):
        hard = rng.normal(0.5, 0.15, (classes, 1))
        worlds = [
            hard + rng.normal(0, 0.1, (classes, 1)) + rng.normal(0, 0.03, seeds) + rng.normal(0, 0.05, (classes, seeds))
            for _ in range(2)
        ]
        drawn = significance.draw_classes(np.stack([world.mean(axis=1) for world in worlds], axis=1), draws, rng)
        columns = [significance.draw_training(own_variance(world), seeds, draws, rng) for world in worlds]
        training = Retraining(*(np.stack(arrays, axis=1) for arrays in zip(*columns, strict=True)))
        for included in alarms:
            found = significance.bootstrap_difference([drawn], 0, 1, 0.95, training if included else None)
            alarms[included] += found.p <= 0.05
    assert LOW <= alarms[True] / REPETITIONS <= HIGH
    assert alarms[False] / REPETITIONS > 0.12


def own_variance(world: Array) -> float:
    together = significance.interaction_variance(world, np.zeros(len(world), dtype=np.int64))
    return max(float(world.mean(axis=0).var(ddof=1)) / world.shape[1] - together, 0.0)


def test_the_two_way_variance_is_unbiased() -> None:
    """Members' and seeds' spread less what they have together is the variance of the mean, on average."""
    rng = np.random.default_rng(9)
    members, seeds, strata = 6, 3, 4
    labels = np.repeat(np.arange(strata), members)
    estimates, means = [], []
    for _ in range(4000):
        world = rng.normal(0, 0.2, (strata * members, 1)) + rng.normal(0, 0.05, seeds)
        world = world + rng.normal(0, 0.3, (strata * members, seeds))
        mean = world.mean(axis=1)
        over = mean.reshape(strata, members).var(axis=1, ddof=1).sum() / members / strata**2
        seed = world.mean(axis=0).var(ddof=1) / seeds
        estimates.append(over + seed - significance.interaction_variance(world, labels))
        means.append(mean.mean())
    assert np.mean(estimates) == pytest.approx(np.var(means), rel=0.06)


# --- invariants ----------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["classes", "images"]))
def test_exchanging_the_methods_turns_the_sign_alone(seed: int, over: str) -> None:
    rng = np.random.default_rng(seed)
    sides = [answers(rng, rng.integers(2, 6, 5), methods=3) for _ in range(2)]
    before = difference(*(draw(*side, over) for side in sides), second=2)
    after = difference(*(draw(values[:, ::-1], classes, over) for values, classes in sides), second=2)
    assert np.isnan(before.p) == np.isnan(after.p)
    assert after == pytest.approx((-before.difference, -before.high, -before.low, before.p), nan_ok=True)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["classes", "images"]))
def test_the_numbers_of_classes_and_other_methods_do_not_matter(seed: int, over: str) -> None:
    rng = np.random.default_rng(seed)
    values, classes = answers(rng, rng.integers(2, 6, 6), methods=4)
    names = rng.permutation(100)[:6]
    before = pytest.approx(difference(draw(values, classes, over)), nan_ok=True)
    assert difference(draw(values, names[classes], over)) == before
    assert difference(draw(values[:, :2], classes, over)) == before


def test_the_same_seed_gives_the_same_draws_and_pieces_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    values, classes = answers(np.random.default_rng(10), [5] * 8)
    whole = draw(values, classes, "images", 300, seed=1)
    assert np.array_equal(whole.mean, draw(values, classes, "images", 300, seed=1).mean)
    assert not np.array_equal(whole.mean, draw(values, classes, "images", 300, seed=2).mean)
    monkeypatch.setattr(significance, "_CELLS", 500)
    pieces = draw(values, classes, "images", 300, seed=1)
    assert pieces.mean[0] == pytest.approx(whole.mean[0])
    assert pieces.mean[1:].std() == pytest.approx(whole.mean[1:].std(), rel=0.2)


def test_p_is_never_zero_and_the_interval_says_the_same_as_p() -> None:
    rng = np.random.default_rng(11)
    for shift in (0.0, 0.05, 0.1, 0.5):
        table = np.clip(rng.normal([0.4 + shift, 0.4], 0.1, (15, 2)), 0, 1)
        found = difference(significance.draw_classes(table, 999, rng))
        assert found.p >= 1 / 1000
        assert (found.p <= 0.05) == (found.low > 0 or found.high < 0)


# --- degenerate cases ----------------------------------------------------------------------------------------------


@OVER
def test_equal_predictions_differ_by_nothing(over: str) -> None:
    values, classes = answers(np.random.default_rng(12), [4] * 6, methods=1)
    assert difference(draw(np.repeat(values, 2, axis=1), classes, over)) == (0.0, 0.0, 0.0, 1.0)


def draw_table(accuracies: Array | list[list[float]], draws: int = 100) -> Draws:
    return significance.draw_classes(np.array(accuracies), draws, np.random.default_rng(0))


@pytest.mark.parametrize("accuracies", [[[0.5, 0.25]], [[0.5, 0.25], [0.75, 0.5], [1.0, 0.75]]])
def test_one_class_or_a_constant_difference_says_nothing_over_classes(accuracies: list[list[float]]) -> None:
    points, *rest = difference(draw_table(accuracies))
    assert points == 0.25
    assert all(map(math.isnan, rest))


def test_single_images_add_no_spread() -> None:
    values = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    assert math.isnan(difference(draw(values, np.arange(4), "images")).p)
    mixed = draw(values, np.array([0, 1, 1, 1]), "images")
    assert mixed.cov[0] == pytest.approx(np.cov(values[1:].T) / 3 / 4)


def test_a_single_class_that_differs_is_never_sure() -> None:
    """Most draws without that class have no spread: they count as infinitely far, not as certain."""
    found = difference(draw_table([[1.0, 0.5], *[[0.5, 0.5]] * 19], 2000))
    assert found.difference == pytest.approx(0.025)
    assert found.p > 0.3
    assert (found.low, found.high) == (-1.0, 1.0)


def test_methods_that_know_nothing_have_an_h_of_zero() -> None:
    assert difference(*[draw_table(np.zeros((5, 2)))] * 2) == (0.0, 0.0, 0.0, 1.0)
