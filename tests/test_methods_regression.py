"""Ridge, GFZSL and Prototype against naive loops, normal equations, scikit-learn and scipy.stats."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import sklearn.kernel_ridge
import sklearn.linear_model

from zslbench.methods.base import Context
from zslbench.methods.closed_form.gfzsl import GFZSL, log_likelihoods
from zslbench.methods.closed_form.prototype import Prototype
from zslbench.methods.closed_form.ridge import Ridge
from zslbench.methods.vectors import closeness
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


def class_means() -> np.ndarray:
    return np.stack([X[np.flatnonzero(position == POSITIONS)].mean(axis=0) for position in PRESENT])


def cosine(x: np.ndarray, y: np.ndarray) -> float:
    return float(x @ y / (np.sqrt(x @ x) * np.sqrt(y @ y)))


@pytest.mark.parametrize("lam", [1e-3, 1.0, 300.0])
def test_ridge_of_images_solves_the_normal_equations_of_all_images(lam: float) -> None:
    found = Ridge(lam=lam, preprocess="none").fit(TRAIN, Context()).weights_
    left = IMAGE_SEMANTICS.T @ IMAGE_SEMANTICS + lam * np.eye(A)
    np.testing.assert_allclose(left @ found, IMAGE_SEMANTICS.T @ X, rtol=1e-9, atol=1e-9)
    model = sklearn.linear_model.Ridge(alpha=lam, fit_intercept=False, solver="svd").fit(IMAGE_SEMANTICS, X)
    np.testing.assert_allclose(found, model.coef_.T, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("lam", [1e-3, 1.0, 300.0])
def test_ridge_of_classes_is_the_regression_of_class_means(lam: float) -> None:
    found = Ridge(lam=lam, preprocess="none", weighting="classes").fit(TRAIN, Context()).weights_
    model = sklearn.linear_model.Ridge(alpha=lam, fit_intercept=False, solver="svd").fit(S[PRESENT], class_means())
    np.testing.assert_allclose(found, model.coef_.T, rtol=1e-8, atol=1e-10)


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
    train = Train(FEATURES[:rows], TRAIN.labels[:rows], TABLE)
    fitted = Prototype(lam=lam, preprocess="none").fit(train, Context())
    model = sklearn.linear_model.Ridge(alpha=lam, fit_intercept=False, solver="svd")
    model.fit(X[:rows], IMAGE_SEMANTICS[:rows])
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
    model = sklearn.kernel_ridge.KernelRidge(alpha=lam, **chosen).fit(known, targets)
    found: np.ndarray = model.predict(asked)
    return found


@pytest.mark.parametrize("seen", ["regressed", "empirical"])
@pytest.mark.parametrize("kernel", ["poly2", "linear"])
@pytest.mark.parametrize("norm", ["l2", "none"])
def test_gfzsl_is_two_kernel_ridge_regressions_and_a_gaussian_likelihood(norm: str, kernel: str, seen: str) -> None:
    lam_mean, lam_variance, offset, noise = 0.7, 20.0, 1e-2, 0.05
    fitted = GFZSL(
        lam_mean=lam_mean,
        lam_variance=lam_variance,
        offset=offset,
        noise=noise,
        kernel=kernel,
        seen=seen,
        semantic_norm=norm,
        preprocess="none",
    ).fit(TRAIN, Context())
    means, variances = estimates()
    wanted_means = regressed(kernel, norm, means, lam_mean)
    wanted_variances = np.exp(regressed(kernel, norm, np.log(variances + offset), lam_variance)) + noise
    if seen == "empirical":  # the last two candidates are the seen classes 11 and 8
        wanted_means[2:], wanted_variances[2:] = means[[0, 2]], variances[[0, 2]] + noise
    found_means, found_variances = fitted.gaussians(CANDIDATES)
    np.testing.assert_allclose(found_means, wanted_means, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(found_variances, wanted_variances, rtol=1e-8)
    scores = fitted.scores(QUERY, CANDIDATES)
    for i, x in enumerate(QUERY.astype(np.float64)):
        for j in range(len(CANDIDATES)):
            wanted = scipy.stats.norm.logpdf(x, wanted_means[j], np.sqrt(wanted_variances[j])).sum()
            assert scores[i, j] == pytest.approx(wanted, rel=1e-7, abs=1e-7)


def test_gfzsl_log_likelihoods_equal_scipy_where_variances_are_small_and_means_far() -> None:
    rows, means = RNG.normal(50, 1, (9, 4)), RNG.normal(50, 1, (3, 4))
    variances = 10.0 ** RNG.uniform(-4, 2, (3, 4))
    wanted = np.stack([scipy.stats.norm.logpdf(rows, means[j], np.sqrt(variances[j])).sum(axis=1) for j in range(3)], 1)
    np.testing.assert_allclose(log_likelihoods(rows, means, variances), wanted, rtol=1e-7)


def test_distances_keep_their_digits_far_from_the_origin() -> None:
    """From differences, which lose nothing; squares of 1e14 leave float64 nothing of a distance of 0.01."""
    rows, others = 1e7 + RNG.normal(0, 0.1, (9, 4)), 1e7 + RNG.normal(0, 0.1, (3, 4))
    squared = ((rows[:, None] - others) ** 2).sum(axis=2)
    np.testing.assert_allclose(closeness(rows, others), -squared, rtol=1e-6)
    variances = 10.0 ** RNG.uniform(-3, -1, (3, 4))
    wanted = np.stack(
        [scipy.stats.norm.logpdf(rows - others[j], 0, np.sqrt(variances[j])).sum(axis=1) for j in range(3)], 1
    )
    np.testing.assert_allclose(log_likelihoods(rows, others, variances), wanted, rtol=1e-6)


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


def test_published_values_of_gfzsl_are_those_of_its_code() -> None:
    wanted = {
        "cub": (1.0, 1e7, 1e-4, 0.05),
        "awa1": (0.1, 1e8, 1e-3, 0.05),
        "awa2": (0.01, 1e8, 1e-3, 0.05),
        "sun": (0.5, 5e6, 0.1, 0.6),
    }
    for dataset, values in wanted.items():
        found = GFZSL.presets["published"].resolve("gfzsl@published", dataset, "zsl")
        assert (found["kernel"], found["semantic_norm"], found["preprocess"]) == ("poly2", "none", "none")
        assert (found["lam_mean"], found["lam_variance"], found["offset"], found["noise"]) == values
