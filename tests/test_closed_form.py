"""Closed forms against naive float64 formulas, scikit-learn and scipy; their grids against single fits, bit for bit."""

from __future__ import annotations

import gc
import pickle
import warnings
import weakref
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import sklearn.kernel_ridge
import sklearn.linear_model
from hypothesis import given, settings
from hypothesis import strategies as st

from zslbench import params
from zslbench.methods import closed_form
from zslbench.methods.base import Context
from zslbench.methods.closed_form import CHUNK_ROWS, ClassRidge, ClosedForm, Shared, ShiftedGram, class_moments
from zslbench.methods.closed_form.eszsl import ESZSL
from zslbench.methods.closed_form.gfzsl import GFZSL, log_likelihoods
from zslbench.methods.closed_form.prototype import Prototype
from zslbench.methods.closed_form.ridge import Ridge
from zslbench.methods.closed_form.sae import SAE
from zslbench.methods.preprocess import closeness
from zslbench.registry import METHODS
from zslbench.task import ClassTable, Train

RNG = np.random.default_rng(11)
N, D, A, C = 70, 8, 5, 7
IDS = np.array([11, 3, 8, 40, 5, 29, 77])
POSITIONS = RNG.permutation(np.concatenate([np.arange(C - 1), RNG.integers(0, C - 1, N - C + 1)]))  # none of the last
FEATURES = RNG.normal(0.5, 1.0, (N, D)).astype(np.float32)
TABLE = ClassTable(IDS, RNG.normal(size=(C, A)).astype(np.float32))
TRAIN = Train(FEATURES, IDS[POSITIONS], TABLE)
X, S = FEATURES.astype(np.float64), TABLE.semantics.astype(np.float64)
IMAGE_SEMANTICS = np.stack([S[position] for position in POSITIONS])
QUERY = RNG.normal(size=(17, D)).astype(np.float32)
CANDIDATES = ClassTable(np.array([2, 90, 11, 8]), np.vstack([RNG.normal(size=(2, A)), S[[0, 2]]]).astype(np.float32))
CANDIDATE_SEMANTICS = CANDIDATES.semantics.astype(np.float64)
PRESENT = list(range(C - 1))
CLOSED: list[type[ClosedForm]] = [ESZSL, SAE, Ridge, GFZSL, Prototype]
SIZES = st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(1, 5))


def one_hot(low: float) -> np.ndarray:
    return np.array([[1.0 if c == position else low for c in range(C)] for position in POSITIONS])


def class_means() -> np.ndarray:
    return np.stack([X[np.flatnonzero(position == POSITIONS)].mean(axis=0) for position in PRESENT])


def cosine(x: np.ndarray, y: np.ndarray) -> float:
    return float(x @ y / (np.sqrt(x @ x) * np.sqrt(y @ y)))


def linear_ridge(lam: float, rows: np.ndarray, targets: np.ndarray) -> sklearn.linear_model.Ridge:
    return sklearn.linear_model.Ridge(alpha=lam, fit_intercept=False, solver="svd").fit(rows, targets)


# Shifted Gram matrices and class-level ridge regression


def whole_rows(rng: np.random.Generator, count: int, width: int, rank: int) -> np.ndarray:
    """(count, width) whole numbers of rank at most `rank`: sums of their products are exact."""
    return (rng.integers(-3, 4, (count, rank)) @ rng.integers(-3, 4, (rank, width))).astype(np.float64)


@settings(max_examples=60, deadline=None)
@given(SIZES, st.integers(0, 12), st.floats(-2, 6), st.integers(0, 2**32 - 1))
def test_a_shifted_gram_solves_like_the_dense_inverse(
    size: tuple[int, int, int], rank: int, exponent: float, seed: int
) -> None:
    terms, order, columns = size
    rng = np.random.default_rng(seed)
    x = whole_rows(rng, terms, order, rank)
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
    x = scale * whole_rows(rng, 30, 12, 5)
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
    x, positions = whole_rows(rng, count, width, rank), rng.integers(0, classes, count)
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
    found = ClassRidge.of(x, positions, 6).solve(3.0, targets)
    np.testing.assert_allclose(found, linear_ridge(3.0, x, targets[positions]).coef_.T, rtol=1e-9, atol=1e-11)
    rows = rng.normal(size=(5, 9))
    found = ClassRidge.of_rows(rows).solve(0.2)
    np.testing.assert_allclose(found, linear_ridge(0.2, rows, np.eye(5)).coef_.T, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("rows", [1, 50, 2 * CHUNK_ROWS + 5])
def test_moments_equal_products_of_one_hot_matrices(rows: int) -> None:
    features = RNG.normal(size=(rows, 4)).astype(np.float32)
    positions = RNG.choice([0, 2, 3], rows)  # class 1 of 5 and the last have no image
    gram, sums = class_moments(features, positions, 5)
    wide = features.astype(np.float64)
    np.testing.assert_allclose(gram, wide.T @ wide, atol=1e-9)
    np.testing.assert_allclose(sums, np.eye(5)[positions].T @ wide, atol=1e-9)


# ESZSL and SAE


@pytest.mark.parametrize(("targets", "low"), [("signed", -1.0), ("binary", 0.0)])
@pytest.mark.parametrize(("gamma", "lam"), [(1e3, 1.0), (0.5, 30.0), (1e-3, 1e-3)])
def test_eszsl_equals_the_formula_of_the_paper(targets: str, low: float, gamma: float, lam: float) -> None:
    fitted = ESZSL(gamma=gamma, lam=lam, targets=targets).fit(TRAIN, Context())
    v = np.linalg.inv(X.T @ X + gamma * np.eye(D)) @ X.T @ one_hot(low) @ S @ np.linalg.inv(S.T @ S + lam * np.eye(A))
    np.testing.assert_allclose(fitted.weights_, v, rtol=1e-7, atol=1e-10)
    wanted = QUERY.astype(np.float64) @ v @ CANDIDATE_SEMANTICS.T
    np.testing.assert_allclose(fitted.scores(QUERY, CANDIDATES), wanted, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize(("targets", "low"), [("signed", -1.0), ("binary", 0.0)])
def test_eszsl_minimises_its_objective(targets: str, low: float) -> None:
    gamma, lam, y = 3.0, 0.7, one_hot(low)
    v = ESZSL(gamma=gamma, lam=lam, targets=targets).fit(TRAIN, Context()).weights_

    def objective(w: np.ndarray) -> float:
        fit = ((X @ w @ S.T - y) ** 2).sum()
        ridge = gamma * ((w @ S.T) ** 2).sum() + lam * ((X @ w) ** 2).sum() + gamma * lam * (w**2).sum()
        return float(fit + ridge)

    step = 1e-4
    for direction in np.eye(D * A).reshape(-1, D, A):
        slope = (objective(v + step * direction) - objective(v - step * direction)) / (2 * step)
        assert abs(slope) < 1e-5 * objective(v)
        assert objective(v + 0.1 * direction) > objective(v)


def test_eszsl_survives_badly_scaled_features_with_a_tiny_ridge() -> None:
    features = np.repeat(FEATURES, 2, axis=1) * np.float32(1e5)  # each column twice: the Gram matrix is singular
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", scipy.linalg.LinAlgWarning)
        fitted = ESZSL(gamma=1e-3).fit(Train(features, TRAIN.labels, TABLE), Context())
    assert np.isfinite(fitted.scores(features, TABLE)).all()


def test_eszsl_decides_alike_by_both_codings_on_centred_features_and_by_0_and_1_wherever_they_lie() -> None:
    def decided(shift: float, **parameters: str) -> list[int]:
        moved = Train(FEATURES + np.float32(shift), TRAIN.labels, TABLE)
        scores = ESZSL(**parameters).fit(moved, Context()).scores(QUERY + np.float32(shift), CANDIDATES)
        return [int(row) for row in scores.argmax(axis=1)]

    for shift in (0.0, 50.0):
        assert decided(shift, targets="signed", preprocess="standard") == decided(shift, preprocess="standard")
    assert ESZSL().targets == "binary"


@pytest.mark.parametrize("lam", [1e-3, 0.2, 5e5])
@pytest.mark.parametrize("preprocess", ["none", "l2", "standard"])
def test_sae_solves_the_sylvester_equation_of_the_paper(lam: float, preprocess: str) -> None:
    fitted = SAE(lam=lam, preprocess=preprocess).fit(TRAIN, Context())
    x, s = fitted.preprocessor_.transform(FEATURES).astype(np.float64).T, IMAGE_SEMANTICS.T
    a, b, c = s @ s.T, lam * x @ x.T, (1 + lam) * s @ x.T
    w = fitted.weights_
    assert np.linalg.norm(a @ w + w @ b - c) < 1e-10 * np.linalg.norm(c)
    np.testing.assert_allclose(w, scipy.linalg.solve_sylvester(a, b, c), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("unit_rows", [False, True])
@pytest.mark.parametrize("direction", ["f2s", "s2f"])
def test_sae_scores_are_cosines_in_the_space_of_the_direction(direction: str, unit_rows: bool) -> None:
    fitted = SAE(direction=direction, lam=0.4, preprocess="none", unit_rows=unit_rows).fit(TRAIN, Context())
    w = fitted.weights_
    if unit_rows:
        w = np.stack([row / np.sqrt((row**2).sum()) for row in w])
    scores = fitted.scores(QUERY, CANDIDATES)
    for i, x in enumerate(QUERY.astype(np.float64)):
        for j, a in enumerate(CANDIDATE_SEMANTICS):
            left, right = (w @ x, a) if direction == "f2s" else (x, w.T @ (a / np.linalg.norm(a)))
            assert scores[i, j] == pytest.approx(cosine(left, right), abs=1e-10)
    empty = ClassTable(CANDIDATES.ids, np.zeros_like(CANDIDATES.semantics))
    assert (fitted.scores(QUERY, empty) == 0).all()
    assert (fitted.scores(np.zeros_like(QUERY), CANDIDATES) == 0).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(1, 7), st.integers(0, 6), st.integers(0, 7), st.integers(0, 2**32 - 1))
def test_sae_gives_the_least_norm_solution(attributes: int, width: int, r: int, t: int, seed: int) -> None:
    """Against the pseudo-inverse of the Kronecker form; semantics of rank at most r, features of rank at most t."""
    rng = np.random.default_rng(seed)
    semantics, features = whole_rows(rng, C, attributes, r), whole_rows(rng, N, width, t)
    train = Train(features.astype(np.float32), TRAIN.labels, ClassTable(IDS, semantics.astype(np.float32)))
    found = SAE(lam=0.5, preprocess="none").fit(train, Context()).weights_
    s, x = semantics[POSITIONS].T, features.T
    kron = np.kron(s @ s.T, np.eye(width)) + np.kron(np.eye(attributes), 0.5 * x @ x.T)
    right = 1.5 * s @ x.T
    wanted = (np.linalg.pinv(kron, rcond=1e-11, hermitian=True) @ right.ravel()).reshape(attributes, width)
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-9)


# Ridge, prototype and GFZSL


@pytest.mark.parametrize("lam", [1e-3, 1.0, 300.0])
def test_ridge_is_the_regression_of_all_images_or_of_class_means(lam: float) -> None:
    for weighting, rows, targets in (("images", IMAGE_SEMANTICS, X), ("classes", S[PRESENT], class_means())):
        found = Ridge(lam=lam, preprocess="none", weighting=weighting).fit(TRAIN, Context()).weights_
        left = rows.T @ rows + lam * np.eye(A)
        np.testing.assert_allclose(left @ found, rows.T @ targets, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(found, linear_ridge(lam, rows, targets).coef_.T, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("preprocess", ["none", "standard"])
@pytest.mark.parametrize("metric", ["euclid", "cosine"])
def test_ridge_scores_compare_with_projected_semantics(metric: str, preprocess: str) -> None:
    fitted = Ridge(lam=0.3, metric=metric, preprocess=preprocess).fit(TRAIN, Context())
    scores = fitted.scores(QUERY, CANDIDATES)
    for i, x in enumerate(fitted.preprocessor_.transform(QUERY).astype(np.float64)):
        for j, a in enumerate(CANDIDATE_SEMANTICS):
            projected = a @ fitted.weights_
            wanted = cosine(x, projected) if metric == "cosine" else -((x - projected) ** 2).sum()
            assert scores[i, j] == pytest.approx(wanted, abs=1e-10)


@pytest.mark.parametrize("rows", [N, 6])  # 6 rows of 8 columns take the kernel form
@pytest.mark.parametrize("lam", [1e-2, 1.0, 1e3])
def test_prototype_predicts_semantics_as_scikit_learn_does(lam: float, rows: int) -> None:
    fitted = Prototype(lam=lam, preprocess="none").fit(Train(FEATURES[:rows], TRAIN.labels[:rows], TABLE), Context())
    model = linear_ridge(lam, X[:rows], IMAGE_SEMANTICS[:rows])
    np.testing.assert_allclose(fitted.weights_, model.coef_.T, rtol=1e-8, atol=1e-10)
    scores, predicted = fitted.scores(QUERY, CANDIDATES), model.predict(QUERY.astype(np.float64))
    for i, row in enumerate(predicted):
        for j, a in enumerate(CANDIDATE_SEMANTICS):
            assert scores[i, j] == pytest.approx(cosine(row, a), abs=1e-9)


def estimates() -> tuple[np.ndarray, np.ndarray]:
    """Means and unbiased variances, in loops over images and columns."""
    means, variances = class_means(), np.zeros((C - 1, D))
    for position in PRESENT:
        images = [x for x, own in zip(X, POSITIONS, strict=True) if own == position]
        for column in range(D):
            deviations = [(x[column] - means[position, column]) ** 2 for x in images]
            variances[position, column] = sum(deviations) / max(len(images) - 1, 1)
    return means, variances


def regressed(kernel: str, norm: str, targets: np.ndarray, lam: float) -> np.ndarray:
    """Predictions of scikit-learn's kernel ridge regression for the candidates."""
    known, asked = S[PRESENT], CANDIDATE_SEMANTICS
    if norm == "l2":
        known, asked = (rows / np.sqrt((rows**2).sum(axis=1, keepdims=True)) for rows in (known, asked))
    chosen = {"kernel": "linear"} if kernel == "linear" else {"kernel": "poly", "degree": 2, "gamma": 1, "coef0": 1}
    return sklearn.kernel_ridge.KernelRidge(alpha=lam, **chosen).fit(known, targets).predict(asked)


@pytest.mark.parametrize("seen", ["regressed", "empirical"])
@pytest.mark.parametrize("kernel", ["poly2", "linear"])
@pytest.mark.parametrize("norm", ["l2", "none"])
def test_gfzsl_is_two_kernel_ridge_regressions_and_a_gaussian_likelihood(norm: str, kernel: str, seen: str) -> None:
    given_ = {"lam_mean": 0.7, "lam_variance": 20.0, "offset": 1e-2, "noise": 0.05}
    fitted = GFZSL(**given_, kernel=kernel, seen=seen, semantic_norm=norm, preprocess="none").fit(TRAIN, Context())
    means, variances = estimates()
    wanted_means = regressed(kernel, norm, means, 0.7)
    wanted_variances = np.exp(regressed(kernel, norm, np.log(variances + 1e-2), 20.0)) + 0.05
    if seen == "empirical":  # the last two candidates are the seen classes 11 and 8
        wanted_means[2:], wanted_variances[2:] = means[[0, 2]], variances[[0, 2]] + 0.05
    found_means, found_variances = fitted.gaussians(CANDIDATES)
    np.testing.assert_allclose(found_means, wanted_means, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(found_variances, wanted_variances, rtol=1e-8)
    scores = fitted.scores(QUERY, CANDIDATES)
    for j in range(len(CANDIDATES)):
        wanted = scipy.stats.norm.logpdf(QUERY.astype(np.float64), wanted_means[j], np.sqrt(wanted_variances[j]))
        np.testing.assert_allclose(scores[:, j], wanted.sum(axis=1), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(("centre", "spread", "low", "high", "error"), [(50, 1, -4, 2, 1e-7), (1e7, 0.1, -3, -1, 1e-6)])
def test_distances_and_likelihoods_keep_their_digits_far_from_the_origin(
    centre: float, spread: float, low: float, high: float, error: float
) -> None:
    """From differences, which lose nothing; squares of 1e14 leave float64 nothing of a distance of 0.01."""
    rows, others = centre + RNG.normal(0, spread, (9, 4)), centre + RNG.normal(0, spread, (3, 4))
    away = rows[:, None] - others
    np.testing.assert_allclose(closeness(rows, others), -(away**2).sum(axis=2), rtol=1e-6)
    variances = 10.0 ** RNG.uniform(low, high, (3, 4))
    wanted = scipy.stats.norm.logpdf(away, 0, np.sqrt(variances)).sum(axis=2)
    np.testing.assert_allclose(log_likelihoods(rows, others, variances), wanted, rtol=error)


def test_gfzsl_stays_finite_with_one_image_a_class_and_constant_columns() -> None:
    features = np.zeros((3, 4), dtype=np.float32)
    features[:, 0] = [0, 5, 9]
    train = Train(features, np.array([1, 2, 3]), ClassTable(np.array([1, 2, 3]), np.diag([1, 2, 30]).astype("float32")))
    for lam_variance in (1e-4, 1.0):
        fitted = GFZSL(lam_variance=lam_variance, offset=1e-9, noise=1e-9, preprocess="none").fit(train, Context())
        far = ClassTable(np.array([1, 7]), np.array([[1, 0, 0], [-50, 40, 60]], dtype=np.float32))
        assert np.isfinite(fitted.scores(features, far)).all()


def test_gfzsl_does_not_mind_the_length_of_class_vectors() -> None:
    """Sentence embeddings of length 19 left λ₁ and λ₂ without effect: 4 % of 50 classes were right."""
    long = Train(FEATURES, TRAIN.labels, ClassTable(IDS, 19 * TABLE.semantics))
    asked = ClassTable(CANDIDATES.ids, 19 * CANDIDATES.semantics)
    scores = GFZSL().fit(long, Context()).scores(QUERY, asked)
    np.testing.assert_allclose(scores, GFZSL().fit(TRAIN, Context()).scores(QUERY, CANDIDATES), rtol=1e-5)


def test_published_presets_hold_the_values_of_their_sources() -> None:
    assert ESZSL.presets["published"].resolve("x", "cub", "zsl")["lam"] == 0.1
    wanted = {"lam": 0.08, "direction": "s2f", "unit_rows": True, "preprocess": "l2"}
    assert SAE.presets["published"].resolve("x", "sun", "gzsl") == wanted
    assert {len(preset.cells) for cls in (ESZSL, SAE) for preset in cls.presets.values()} == {10}
    for dataset, values in {
        "cub": (1.0, 1e7, 1e-4, 0.05),
        "awa1": (0.1, 1e8, 1e-3, 0.05),
        "awa2": (0.01, 1e8, 1e-3, 0.05),
        "sun": (0.5, 5e6, 0.1, 0.6),
    }.items():
        found = GFZSL.presets["published"].resolve("gfzsl@published", dataset, "zsl")
        assert (found["kernel"], found["semantic_norm"], found["preprocess"]) == ("poly2", "none", "none")
        assert (found["lam_mean"], found["lam_variance"], found["offset"], found["noise"]) == values


# Grids


@st.composite
def grids(draw: st.DrawFn) -> tuple[type[ClosedForm], list[dict[str, Any]]]:
    """A closed form and points that take each parameter from one or two values, in any order, some twice."""
    cls = draw(st.sampled_from(CLOSED))
    values: dict[str, st.SearchStrategy[Any]] = {}
    for name, one in params.declared_params(cls).items():
        if name == "preprocess":
            some: st.SearchStrategy[Any] = st.sampled_from(("none", "minmax", "standard", "l2", "standard+l2"))
        elif one.choices:
            some = st.sampled_from(one.choices)
        elif one.kind is bool:
            some = st.booleans()
        else:
            low, high = np.log10(one.low), np.log10(one.high)
            some = st.floats(low, high).map(lambda e, a=one.low, b=one.high: float(min(max(10.0**e, a), b)))
        values[name] = st.sampled_from(draw(st.lists(some, min_size=1, max_size=2)))
    return cls, draw(st.lists(st.fixed_dictionaries(values), min_size=1, max_size=6))


def state(method: ClosedForm) -> dict[str, bytes]:
    return {name: pickle.dumps(value) for name, value in sorted(vars(method).items())}


@settings(max_examples=60, deadline=None)
@given(grids(), st.sampled_from([7, N]))
def test_a_point_of_a_grid_has_the_bits_of_a_single_fit(
    grid: tuple[type[ClosedForm], list[dict[str, Any]]], rows: int
) -> None:
    cls, points = grid
    train = Train(FEATURES[:rows], TRAIN.labels[:rows], TABLE)
    fitted = list(cls.fit_grid([cls(**point) for point in points], train, Context()))
    assert len(fitted) == len(points)
    for found, point in zip(fitted, points, strict=True):
        alone = cls(**point).fit(train, Context())
        assert state(found) == state(alone)
        np.testing.assert_array_equal(found.scores(QUERY, TABLE), alone.scores(QUERY, TABLE))


def test_every_closed_form_is_tried() -> None:
    loaded = [METHODS.load(name) for name in ("eszsl", "sae", "ridge", "gfzsl", "prototype")]
    assert loaded == CLOSED
    assert all(cls.offers_grid() and not cls.offers_seeds() for cls in CLOSED)
    points = [ESZSL(), ESZSL()]
    assert list(ESZSL.fit_seeds(points, TRAIN, [Context(0), Context(1)])) == points


@pytest.mark.parametrize("cls", CLOSED)
def test_a_grid_factorizes_once_for_each_preprocessing(cls: type[ClosedForm], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    real = closed_form.Preprocessor
    monkeypatch.setattr(closed_form, "Preprocessor", lambda chain: (seen.append(chain), real(chain))[1])
    grams: list[tuple[int, ...]] = []
    of = ShiftedGram.of.__func__  # type: ignore[attr-defined]

    def counted(owner: type[ShiftedGram], gram: np.ndarray, terms: int) -> ShiftedGram:
        grams.append(gram.shape)
        return of(owner, gram, terms)

    monkeypatch.setattr(ShiftedGram, "of", classmethod(counted))
    strength = {ESZSL: "gamma", GFZSL: "lam_mean"}.get(cls, "lam")
    points = [cls(**{strength: lam, "preprocess": chain}) for lam in (0.1, 1.0, 10.0) for chain in ("none", "l2")]
    assert len(list(cls.fit_grid(points, TRAIN, Context()))) == 6
    assert seen == ["none", "l2"]
    by_features, by_semantics = cls in (ESZSL, SAE, Prototype), cls in (ESZSL, Ridge, GFZSL)
    assert len(grams) == 2 * by_features + by_semantics


@pytest.mark.parametrize("cls", CLOSED)
def test_points_share_no_array_and_keep_no_factorization(cls: type[ClosedForm]) -> None:
    first, second = cls.fit_grid([cls(), cls()], TRAIN, Context())
    arrays = reachable_arrays(first)
    for array in arrays:
        for other in (*reachable_arrays(second), FEATURES, TABLE.semantics):
            assert not np.shares_memory(array, other)
    scores = second.scores(FEATURES, TABLE)
    for array in arrays:
        if array.flags.writeable:
            array[...] = 0
    np.testing.assert_array_equal(second.scores(FEATURES, TABLE), scores)


def reachable_arrays(root: object) -> list[np.ndarray]:
    """Return every array that can be reached from an object, and the buffers that they are views of."""
    arrays: list[np.ndarray] = []
    ahead, known = [root], set()
    while ahead:
        value = ahead.pop()
        if id(value) in known or isinstance(value, type | str | bytes | int | float):
            continue
        known.add(id(value))
        assert not isinstance(value, ShiftedGram | ClassRidge)
        if isinstance(value, np.ndarray):
            arrays.append(value)
            ahead.append(value.base)
        elif isinstance(value, dict | list | tuple):
            ahead += list(value.values()) if isinstance(value, dict) else list(value)
        else:
            ahead += list(getattr(value, "__dict__", {}).values())
    return arrays


class Thing:
    """Something to be shared, that can be watched."""


def test_shared_computes_once_and_drops_after_the_last_user() -> None:
    made: list[float] = []

    def make(log: list[float], lam: float) -> Thing:
        log.append(lam)
        return Thing()

    points = [Ridge(lam=lam) for lam in (1.0, 2.0, 1.0, 2.0, 1.0)]
    shared = Shared(points, Context())
    first, second = (weakref.ref(shared.once(point, make, made)) for point in points[:2])
    assert shared.once(points[2], make, made) is first()
    assert shared.once(points[3], make, made) is second()
    gc.collect()
    assert second() is None
    assert shared.once(points[4], make, made) is first()
    gc.collect()
    assert first() is None
    assert made == [1.0, 2.0]
