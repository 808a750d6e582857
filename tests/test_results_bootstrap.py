"""The paired bootstrap: against loops and SciPy, by simulation under the null hypothesis, and where it degenerates."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from zslbench.arrays import Array, IntArray
from zslbench.results.analysis import bootstrap
from zslbench.results.analysis.bootstrap import Draws, Retraining

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


# --- against loops -------------------------------------------------------------------------------------------------


def naive_once(values: Array, classes: IntArray, over: str, rng: np.random.Generator | None) -> tuple[Array, Array]:
    """Mean accuracy and its covariance for one draw (None: as observed), by loops in float64."""
    names = list(dict.fromkeys(classes.tolist()))
    if over == "classes":
        table = np.array([values[classes == name].mean(axis=0) for name in names])
        drawn = table if rng is None else table[rng.integers(len(table), size=len(table))]
        return drawn.mean(axis=0), np.cov(drawn.T) / len(drawn)
    means, cov = [], np.zeros((values.shape[1],) * 2)
    for name in names:
        own = values[classes == name]
        drawn = own if rng is None else own[rng.integers(len(own), size=len(own))]
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


@pytest.mark.parametrize("over", ["classes", "images"])
def test_h_against_a_loop(over: str) -> None:
    rng = np.random.default_rng(0)
    sides = [answers(rng, rng.integers(4, 9, 8)), answers(rng, rng.integers(4, 9, 9))]
    wanted = naive_h(sides, over, 1500, seed=1)
    found = bootstrap.bootstrap_difference([draw(*side, over, 6000, seed=2) for side in sides], 0, 1)
    assert found.difference == pytest.approx(wanted[0], abs=1e-12)
    width = wanted[2] - wanted[1]
    assert (found.low, found.high) == pytest.approx(wanted[1:3], abs=0.06 * width)
    assert found.p == pytest.approx(wanted[3], abs=0.05)


def draw(values: Array, classes: IntArray, over: str, draws: int, seed: int = 0) -> Draws:
    rng = np.random.default_rng(seed)
    if over == "classes":
        return bootstrap.draw_classes(bootstrap.class_means(values, classes), draws, rng)
    return bootstrap.draw_images(values, classes, draws, rng)


@pytest.mark.parametrize("over", ["classes", "images"])
def test_observed_means_and_covariances_against_a_loop(over: str) -> None:
    values, classes = answers(np.random.default_rng(3), [2, 3, 3, 7, 11], methods=4)
    found = draw(values, classes, over, 10)
    mean, cov = naive_once(values, classes, over, None)
    assert found.mean[0] == pytest.approx(mean)
    assert found.cov[0] == pytest.approx(cov)
    spread = np.var(draw(values, classes, over, 20_000).mean[1:], axis=0)
    shrunk = naive_variance_of_draws(values, classes, over)
    assert spread == pytest.approx(shrunk, rel=0.05)


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
    found = bootstrap.bootstrap_difference([bootstrap.draw_classes(table, 5000, rng)], 0, 1)
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
    for place, slope in enumerate(bootstrap.metric_gradient(sides, 0)):
        up, down = (
            [Draws(side.mean + sign * step * (number == place), side.cov) for number, side in enumerate(sides)]
            for sign in (1, -1)
        )
        wanted = (bootstrap.metric(up, 0) - bootstrap.metric(down, 0)) / (2 * step)
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
        drawn = [bootstrap.draw_classes(class_world(rng, classes, 20, means), 199, rng) for means in sides]
        alarms += bootstrap.bootstrap_difference(drawn, 0, 1).p <= 0.05
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
            drawn.append(bootstrap.draw_images(right.reshape(-1, 2).astype(float), labels, 99, rng))
        alarms += bootstrap.bootstrap_difference(drawn, 0, 1).p <= 0.05
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
        drawn = bootstrap.draw_classes(np.stack([world.mean(axis=1) for world in worlds], axis=1), draws, rng)
        columns = [bootstrap.draw_training(own_variance(world), seeds, draws, rng) for world in worlds]
        training = Retraining(*(np.stack(arrays, axis=1) for arrays in zip(*columns, strict=True)))
        for included in alarms:
            found = bootstrap.bootstrap_difference([drawn], 0, 1, 0.95, training if included else None)
            alarms[included] += found.p <= 0.05
    assert LOW <= alarms[True] / REPETITIONS <= HIGH
    assert alarms[False] / REPETITIONS > 0.12


def own_variance(world: Array) -> float:
    together = bootstrap.interaction_variance(world, np.zeros(len(world), dtype=np.int64))
    return max(float(world.mean(axis=0).var(ddof=1)) / world.shape[1] - together, 0.0)


def test_the_two_way_variance_is_unbiased() -> None:
    """Members' and seeds' spread less what they have together is the variance of the mean, on average."""
    rng = np.random.default_rng(9)
    members, seeds, strata = 6, 3, 4
    labels = np.repeat(np.arange(strata), members)
    told, means = [], []
    for _ in range(4000):
        world = rng.normal(0, 0.2, (strata * members, 1)) + rng.normal(0, 0.05, seeds)
        world = world + rng.normal(0, 0.3, (strata * members, seeds))
        mean = world.mean(axis=1)
        over = sum(mean[labels == name].var(ddof=1) / members for name in range(strata)) / strata**2
        seed = world.mean(axis=0).var(ddof=1) / seeds
        told.append(over + seed - bootstrap.interaction_variance(world, labels))
        means.append(mean.mean())
    assert np.mean(told) == pytest.approx(np.var(means), rel=0.06)


# --- invariants ----------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["classes", "images"]))
def test_exchanging_the_methods_turns_the_sign_alone(seed: int, over: str) -> None:
    rng = np.random.default_rng(seed)
    sides = [answers(rng, rng.integers(2, 6, 5), methods=3) for _ in range(2)]
    one = bootstrap.bootstrap_difference([draw(*side, over, 200) for side in sides], 0, 2)
    turned = [draw(values[:, ::-1], classes, over, 200) for values, classes in sides]
    other = bootstrap.bootstrap_difference(turned, 0, 2)
    assert np.isnan(one.p) == np.isnan(other.p)
    wanted = (-one.difference, -one.high, -one.low, one.p)
    assert other == pytest.approx(wanted, nan_ok=True)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["classes", "images"]))
def test_the_numbers_of_classes_and_other_methods_do_not_matter(seed: int, over: str) -> None:
    rng = np.random.default_rng(seed)
    values, classes = answers(rng, rng.integers(2, 6, 6), methods=4)
    names = rng.permutation(100)[:6]
    one = bootstrap.bootstrap_difference([draw(values, classes, over, 200)], 0, 1)
    assert bootstrap.bootstrap_difference([draw(values, names[classes], over, 200)], 0, 1) == pytest.approx(
        one, nan_ok=True
    )
    assert bootstrap.bootstrap_difference([draw(values[:, :2], classes, over, 200)], 0, 1) == pytest.approx(
        one, nan_ok=True
    )


def test_the_same_seed_gives_the_same_draws_and_pieces_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    values, classes = answers(np.random.default_rng(10), [5] * 8)
    whole = draw(values, classes, "images", 300, seed=1)
    assert np.array_equal(whole.mean, draw(values, classes, "images", 300, seed=1).mean)
    assert not np.array_equal(whole.mean, draw(values, classes, "images", 300, seed=2).mean)
    monkeypatch.setattr(bootstrap, "_CELLS", 500)
    pieces = draw(values, classes, "images", 300, seed=1)
    assert pieces.mean[0] == pytest.approx(whole.mean[0])
    assert pieces.mean[1:].std() == pytest.approx(whole.mean[1:].std(), rel=0.2)


def test_p_is_never_zero_and_the_interval_says_the_same_as_p() -> None:
    rng = np.random.default_rng(11)
    for shift in (0.0, 0.05, 0.1, 0.5):
        table = np.clip(rng.normal([0.4 + shift, 0.4], 0.1, (15, 2)), 0, 1)
        found = bootstrap.bootstrap_difference([bootstrap.draw_classes(table, 999, rng)], 0, 1)
        assert found.p >= 1 / 1000
        assert (found.p <= 0.05) == (found.low > 0 or found.high < 0)


# --- degenerate cases ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("over", ["classes", "images"])
def test_equal_predictions_differ_by_nothing(over: str) -> None:
    values, classes = answers(np.random.default_rng(12), [4] * 6, methods=1)
    both = np.repeat(values, 2, axis=1)
    assert bootstrap.bootstrap_difference([draw(both, classes, over, 200)], 0, 1) == (0.0, 0.0, 0.0, 1.0)


def test_one_class_or_a_constant_difference_says_nothing_over_classes() -> None:
    for table in (np.array([[0.5, 0.25]]), np.array([[0.5, 0.25], [0.75, 0.5], [1.0, 0.75]])):
        found = bootstrap.bootstrap_difference([bootstrap.draw_classes(table, 100, np.random.default_rng(0))], 0, 1)
        assert found.difference == 0.25
        assert all(map(math.isnan, found[1:]))


def test_single_images_add_no_spread() -> None:
    values = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    single = bootstrap.draw_images(values, np.arange(4), 50, np.random.default_rng(0))
    assert math.isnan(bootstrap.bootstrap_difference([single], 0, 1).p)
    mixed = bootstrap.draw_images(values, np.array([0, 1, 1, 1]), 50, np.random.default_rng(0))
    assert mixed.cov[0] == pytest.approx(np.cov(values[1:].T) / 3 / 4)


def test_a_single_class_that_differs_is_never_sure() -> None:
    """Most draws without that class have no spread: they count as infinitely far, not as certain."""
    table = np.full((20, 2), 0.5)
    table[0, 0] = 1.0
    found = bootstrap.bootstrap_difference([bootstrap.draw_classes(table, 2000, np.random.default_rng(0))], 0, 1)
    assert found.difference == pytest.approx(0.025)
    assert found.p > 0.3
    assert (found.low, found.high) == (-1.0, 1.0)


def test_methods_that_know_nothing_have_an_h_of_zero() -> None:
    zero = np.zeros((5, 2))
    sides = [bootstrap.draw_classes(zero, 50, np.random.default_rng(0)) for _ in range(2)]
    assert bootstrap.bootstrap_difference(sides, 0, 1) == (0.0, 0.0, 0.0, 1.0)
