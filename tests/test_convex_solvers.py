"""Linear models against scikit-learn, gradients, optimality; simplex programs against SLSQP and the KKT conditions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime, check_grad, minimize
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from zslbench.methods.classifiers import linear_models as lm
from zslbench.methods.classifiers.linear_models import project_rows
from zslbench.methods.classifiers.sse import simplex_mixtures

RNG = np.random.default_rng(3)
N, D, C = 70, 6, 4
X = (RNG.normal(1.0, 1.0, (N, D)) * np.array([1, 5, 0.2, 1, 1, 0]) + 3).astype(np.float32)  # the last is constant
POSITIONS = np.concatenate([np.arange(C), RNG.integers(0, C, N - C)])
BITS = (RNG.normal(size=(N, 3)) + X[:, :3] > 5).astype(np.float64)


@pytest.mark.parametrize("l2", [1e-3, 0.1, 10.0])
def test_logistic_equals_scikit_learn_target_by_target(l2: float) -> None:
    found = lm.logistic(X, BITS, l2, tolerance=1e-9)
    assert found.gradient < 1e-7
    for j in range(BITS.shape[1]):
        other = LogisticRegression(C=1 / (N * l2), tol=1e-10, max_iter=10_000, solver="newton-cholesky")
        other.fit(X.astype(np.float64), BITS[:, j])
        np.testing.assert_allclose(found.weights[:, j], other.coef_[0], atol=1e-6)
        np.testing.assert_allclose(found.bias[j], other.intercept_[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("l2", [1e-3, 0.1, 10.0])
def test_softmax_regression_equals_scikit_learn(l2: float) -> None:
    found = lm.softmax_regression(X, POSITIONS, C, l2, tolerance=1e-9)
    other = LogisticRegression(C=1 / (N * l2), tol=1e-9, max_iter=10_000, solver="newton-cg")
    other.fit(X.astype(np.float64), POSITIONS)
    np.testing.assert_allclose(found.weights, other.coef_.T, atol=2e-5)
    wanted = other.decision_function(X.astype(np.float64))
    scores = found.scores(X)
    np.testing.assert_allclose(scores - scores[:, :1], wanted - wanted[:, :1], atol=2e-4)


@pytest.mark.parametrize("l2", [1e-3, 0.1])
def test_squared_hinge_equals_scikit_learn(l2: float) -> None:
    signs = 2 * BITS - 1
    found = lm.squared_hinge(X, signs, l2, bias=False, tolerance=1e-10)
    for j in range(signs.shape[1]):
        other = LinearSVC(C=1 / (N * l2), fit_intercept=False, tol=1e-12, max_iter=1_000_000, dual=False)
        other.fit(X.astype(np.float64), signs[:, j])
        np.testing.assert_allclose(found.weights[:, j], other.coef_[0], rtol=1e-4, atol=1e-5)


def slopes(objective: object, point: np.ndarray) -> np.ndarray:
    return np.asarray(approx_fprime(point, objective, 1e-7))  # type: ignore[arg-type]


def test_a_free_bias_is_optimal() -> None:
    signs = 2 * BITS - 1
    found = lm.squared_hinge(X, signs, 0.01, bias=True, tolerance=1e-10)

    def objective(flat: np.ndarray) -> float:
        weights, bias = flat[: D * 3].reshape(D, 3), flat[D * 3 :]
        short = np.maximum(1 - signs * (X.astype(np.float64) @ weights + bias), 0)
        return float((short**2).sum() / N + 0.005 * (weights**2).sum())

    assert np.abs(slopes(objective, np.concatenate([found.weights.ravel(), found.bias]))).max() < 1e-4


@pytest.mark.parametrize("smoothing", [0.1, 1.0])
@pytest.mark.parametrize("rows", [N, 4])  # more rows than features, and fewer
def test_margin_machine_is_optimal(smoothing: float, rows: int) -> None:
    margins = RNG.uniform(0.5, 1.5, (C, C)) * (1 - np.eye(C))
    x, y = X[:rows], POSITIONS[:rows]
    found = lm.margin_machine(x, y, margins, 0.05, smoothing, tolerance=1e-9)

    def objective(flat: np.ndarray) -> float:
        scores = x.astype(np.float64) @ flat.reshape(D, C)
        return lm.margin_loss(scores, y, margins, smoothing)[0] / rows + 0.025 * float((flat**2).sum())

    best = objective(found.weights.ravel())
    assert np.abs(slopes(objective, found.weights.ravel())).max() < 1e-4
    for direction in RNG.normal(size=(20, D * C)):
        assert objective(found.weights.ravel() + 0.05 * direction) > best


@pytest.mark.parametrize("smoothing", [0.03, 0.1, 1.0])
def test_margin_loss_lies_just_above_the_hinge_of_crammer_and_singer(smoothing: float) -> None:
    scores = RNG.normal(size=(50, C)) * 2
    positions, margins = RNG.integers(0, C, 50), RNG.uniform(0.1, 1.0, (C, C)) * (1 - np.eye(C))
    for row, y in zip(scores, positions, strict=True):
        hinge = max(0.0, max(margins[y, r] + row[r] - row[y] for r in range(C) if r != y))
        found = lm.margin_loss(row[None], np.array([y]), margins, smoothing)[0]
        assert hinge - 1e-12 <= found <= hinge + smoothing / 2


@pytest.mark.parametrize("name", ["logistic", "softmax", "hinge", "margin"])
def test_gradients_of_the_losses_equal_finite_differences(name: str) -> None:
    positions, margins = np.array([0, 2, 1, 1, 3]), RNG.uniform(0.5, 1.5, (C, C)) * (1 - np.eye(C))
    loss = {
        "logistic": lambda s: lm.logistic_loss(s, np.eye(C)[positions] * 0.9),
        "softmax": lambda s: lm.softmax_loss(s, positions),
        "hinge": lambda s: lm.squared_hinge_loss(s, 2 * np.eye(C)[positions] - 1),
        "margin": lambda s: lm.margin_loss(s, positions, margins, 0.3),
    }[name]
    for _ in range(5):
        scores = RNG.normal(size=(5 * C,)) * 2
        error = check_grad(
            lambda s: loss(s.reshape(5, C))[0], lambda s: loss(s.reshape(5, C))[1].ravel(), scores, epsilon=1e-7
        )
        assert error < 1e-5


def test_losses_stay_finite_at_huge_scores() -> None:
    scores = np.array([[1e5, -1e5, 0.0, 3.0]])
    for value, slope in (
        lm.logistic_loss(scores, np.array([[0.0, 1.0, 1.0, 0.0]])),
        lm.softmax_loss(scores, np.array([1])),
        lm.margin_loss(scores, np.array([1]), 1 - np.eye(C), 0.1),
    ):
        assert np.isfinite(value)
        assert np.isfinite(slope).all()


def test_features_that_say_nothing_give_weights_of_zero() -> None:
    found = lm.logistic(np.ones((8, 3), dtype=np.float32), np.eye(2)[[0, 0, 0, 1] * 2], 0.1)
    np.testing.assert_array_equal(found.weights, 0)
    np.testing.assert_allclose(1 / (1 + np.exp(-found.bias)), [0.75, 0.25], atol=1e-3)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(1, 8), st.integers(0, 2**32 - 1), st.sampled_from([1e-3, 1.0, 1e6]))
def test_projection_meets_its_optimality_condition(n: int, m: int, seed: int, scale: float) -> None:
    """The point p − α makes an obtuse angle with every direction to a corner of the simplex."""
    points = np.random.default_rng(seed).normal(size=(n, m)) * scale
    found = project_rows(points)
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-9)
    for p, alpha in zip(points, found, strict=True):
        for corner in np.eye(m):
            assert (p - alpha) @ (corner - alpha) <= 1e-9 * max(scale, 1)


@pytest.mark.parametrize("ridge", [1e-3, 0.1, 5.0])
def test_mixtures_equal_those_of_a_general_solver(ridge: float) -> None:
    corners, points = RNG.normal(size=(7, 4)), RNG.normal(size=(5, 4)) * 0.7
    found = simplex_mixtures(points, corners, ridge)
    for point, alpha in zip(points, found, strict=True):

        def objective(a: np.ndarray, point: np.ndarray = point) -> float:
            return float(0.5 * ((point - a @ corners) ** 2).sum() + ridge / 2 * (a**2).sum())

        other = minimize(
            objective,
            np.full(7, 1 / 7),
            method="SLSQP",
            bounds=[(0, 1)] * 7,
            constraints={"type": "eq", "fun": lambda a: a.sum() - 1},
            options={"ftol": 1e-14, "maxiter": 1000},
        )
        assert objective(alpha) <= other.fun + 1e-10
        np.testing.assert_allclose(alpha, other.x, atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 25), st.integers(1, 6), st.integers(0, 2**32 - 1), st.sampled_from([1e-6, 1e-3, 1.0, 1e3]))
def test_mixtures_meet_the_kkt_conditions(c: int, a: int, seed: int, ridge: float) -> None:
    """Equal slopes where α is positive, none smaller elsewhere; also with equal corners and points that are corners."""
    rng = np.random.default_rng(seed)
    corners = rng.normal(size=(c, a))
    corners[c // 2] = corners[0]
    points = np.concatenate([rng.normal(size=(3, a)), corners[:2]])
    found = simplex_mixtures(points, corners, ridge)
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-8)
    slopes = (found @ corners - points) @ corners.T + ridge * found
    scale = 1 + np.abs(points @ corners.T).max() + ridge
    for alpha, slope in zip(found, slopes, strict=True):
        level = float(alpha @ slope)
        assert slope.min() >= level - 1e-7 * scale
        assert np.abs(slope[alpha > 1e-9] - level).max() <= 1e-7 * scale
