"""Shifted Gram matrices and class-level ridge regression against dense inverses and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.linear_model
from hypothesis import given, settings
from hypothesis import strategies as st

from zslbench.methods.closed_form.spectrum import ClassRidge, ShiftedGram

SIZES = st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(1, 5))


def rows(rng: np.random.Generator, count: int, width: int, rank: int) -> np.ndarray:
    """(count, width) whole numbers of rank at most `rank`: sums of their products are exact."""
    return (rng.integers(-3, 4, (count, rank)) @ rng.integers(-3, 4, (rank, width))).astype(np.float64)


@settings(max_examples=60, deadline=None)
@given(SIZES, st.integers(0, 12), st.floats(-2, 6), st.integers(0, 2**32 - 1))
def test_a_shifted_gram_solves_like_the_dense_inverse(
    size: tuple[int, int, int], rank: int, exponent: float, seed: int
) -> None:
    terms, order, columns = size
    rng = np.random.default_rng(seed)
    x = rows(rng, terms, order, rank)
    gram, right = x.T @ x, x.T @ rng.normal(size=(terms, columns))
    kept = gram.copy()
    factors = ShiftedGram.of(gram, terms)
    np.testing.assert_array_equal(gram, kept)
    # rounding of G and R, in the oracle as in what is tested, is blown up by 1/γ where G is null
    bound = 100 * order * np.finfo(np.float64).eps * max(np.abs(right).max(), 1e-300)
    shift = 10.0**exponent
    wanted = np.linalg.inv(gram + shift * np.eye(order)) @ right
    np.testing.assert_allclose(factors.solve(right, shift), wanted, rtol=1e-8, atol=bound / shift)
    shifts = 10.0 ** rng.uniform(-2, 6, columns)
    found = factors.solve_rotated(factors.rotate(right), shifts)
    for column, one in enumerate(shifts):
        wanted = np.linalg.inv(gram + one * np.eye(order)) @ right[:, column]
        np.testing.assert_allclose(found[:, column], wanted, rtol=1e-8, atol=bound / one)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("shift", [0.0, 1e-30])
def test_a_shift_below_rounding_gives_the_least_norm_solution(scale: float, shift: float) -> None:
    rng = np.random.default_rng(0)
    x = scale * rows(rng, 30, 12, 5)
    right = x.T @ rng.normal(size=(30, 3))
    found = ShiftedGram.of(x.T @ x, 30).solve(right, shift)
    wanted = np.linalg.pinv(x.T @ x, rcond=1e-10, hermitian=True) @ right
    # the null directions hold what rounding left in `right`; in the range of G nothing is lost
    np.testing.assert_allclose(x @ found, x @ wanted, rtol=1e-9, atol=1e-9 * np.abs(x @ wanted).max())
    assert np.linalg.norm(found) < 2 * np.linalg.norm(wanted)


def test_a_gram_matrix_of_zeros_gives_zeros() -> None:
    for shift in (0.0, 1.0):
        found = ShiftedGram.of(np.zeros((4, 4)), 9).solve(np.zeros((4, 2)), shift)
        np.testing.assert_array_equal(found, np.zeros((4, 2)))


@settings(max_examples=60, deadline=None)
@given(SIZES, st.integers(0, 12), st.floats(-1, 4), st.integers(0, 2**32 - 1))
def test_class_ridge_equals_the_dense_formula_with_more_and_with_fewer_rows_than_columns(
    size: tuple[int, int, int], rank: int, exponent: float, seed: int
) -> None:
    count, width, classes = size
    rng = np.random.default_rng(seed)
    x, positions = rows(rng, count, width, rank), rng.integers(0, classes, count)
    onehot, targets, ridge = np.eye(classes)[positions], rng.normal(size=(classes, 3)), 10.0**exponent
    fitted = ClassRidge.of(x.astype(np.float32), positions, classes)
    assert (fitted.rows is None) == (count >= width)
    left = np.linalg.inv(x.T @ x + ridge * np.eye(width)) @ x.T
    np.testing.assert_allclose(fitted.solve(ridge), left @ onehot, rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(fitted.solve(ridge, targets), left @ onehot @ targets, rtol=1e-7, atol=1e-10)
    many = fitted.solve(np.array([ridge, 2 * ridge, 5.0]), targets)
    for column, one in enumerate((ridge, 2 * ridge, 5.0)):
        np.testing.assert_allclose(many[:, column], fitted.solve(one, targets)[:, column], rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize(("count", "width"), [(300, 40), (40, 300)])
def test_class_ridge_equals_scikit_learn(count: int, width: int) -> None:
    rng = np.random.default_rng(1)
    x, positions, targets = rng.normal(size=(count, width)), rng.integers(0, 6, count), rng.normal(size=(6, 4))
    model = sklearn.linear_model.Ridge(alpha=3.0, fit_intercept=False, solver="svd").fit(x, targets[positions])
    found = ClassRidge.of(x, positions, 6).solve(3.0, targets)
    np.testing.assert_allclose(found, model.coef_.T, rtol=1e-9, atol=1e-11)
    own = rng.normal(size=(5, 9))
    model = sklearn.linear_model.Ridge(alpha=0.2, fit_intercept=False, solver="svd").fit(own, np.eye(5))
    np.testing.assert_allclose(ClassRidge.of_rows(own).solve(0.2), model.coef_.T, rtol=1e-9, atol=1e-11)
