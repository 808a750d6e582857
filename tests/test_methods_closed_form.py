"""ESZSL and SAE against naive float64 formulas, gradients, residuals and scipy."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from zslbench.methods.base import Context
from zslbench.methods.closed_form.eszsl import ESZSL
from zslbench.methods.closed_form.sae import SAE
from zslbench.methods.closed_form.spectrum import CHUNK_ROWS, class_moments
from zslbench.task import ClassTable, Train

RNG = np.random.default_rng(7)
N, D, A, C = 60, 9, 5, 6
IDS = np.array([11, 3, 8, 40, 5, 29])
LABELS = IDS[np.concatenate([np.arange(C), RNG.integers(0, C, N - C)])]
FEATURES = RNG.normal(0.5, 1.0, (N, D)).astype(np.float32)
TRAIN = Train(FEATURES, LABELS, ClassTable(IDS, RNG.normal(size=(C, A)).astype(np.float32)))
QUERY = RNG.normal(size=(17, D)).astype(np.float32)
CANDIDATES = ClassTable(np.array([2, 90, 11, 7]), RNG.normal(size=(4, A)).astype(np.float32))


def one_hot(low: float) -> np.ndarray:
    out = np.full((N, C), low)
    for i, label in enumerate(LABELS):
        out[i, list(IDS).index(label)] = 1.0
    return out


def image_semantics() -> np.ndarray:
    """(n, a) semantics of each image's class."""
    return np.stack([TRAIN.classes.semantics[list(IDS).index(label)] for label in LABELS]).astype(np.float64)


@pytest.mark.parametrize("rows", [1, 50, 2 * CHUNK_ROWS + 5])
def test_moments_equal_products_of_one_hot_matrices(rows: int) -> None:
    features = RNG.normal(size=(rows, 4)).astype(np.float32)
    positions = RNG.choice([0, 2, 3], rows)  # class 1 of 5 and the last have no image
    gram, sums = class_moments(features, positions, 5)
    wide = features.astype(np.float64)
    np.testing.assert_allclose(gram, wide.T @ wide, atol=1e-9)
    np.testing.assert_allclose(sums, np.eye(5)[positions].T @ wide, atol=1e-9)


@pytest.mark.parametrize(("targets", "low"), [("signed", -1.0), ("binary", 0.0)])
@pytest.mark.parametrize(("gamma", "lam"), [(1e3, 1.0), (0.5, 30.0), (1e-3, 1e-3)])
def test_eszsl_equals_the_formula_of_the_paper(targets: str, low: float, gamma: float, lam: float) -> None:
    fitted = ESZSL(gamma=gamma, lam=lam, targets=targets).fit(TRAIN, Context())
    x, s = FEATURES.astype(np.float64), TRAIN.classes.semantics.astype(np.float64)
    v = np.linalg.inv(x.T @ x + gamma * np.eye(D)) @ x.T @ one_hot(low) @ s @ np.linalg.inv(s.T @ s + lam * np.eye(A))
    np.testing.assert_allclose(fitted.weights_, v, rtol=1e-7, atol=1e-10)
    wanted = QUERY.astype(np.float64) @ v @ CANDIDATES.semantics.T.astype(np.float64)
    np.testing.assert_allclose(fitted.scores(QUERY, CANDIDATES), wanted, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize(("targets", "low"), [("signed", -1.0), ("binary", 0.0)])
def test_eszsl_minimises_its_objective(targets: str, low: float) -> None:
    gamma, lam = 3.0, 0.7
    v = ESZSL(gamma=gamma, lam=lam, targets=targets).fit(TRAIN, Context()).weights_
    x, s, y = FEATURES.astype(np.float64), TRAIN.classes.semantics.astype(np.float64), one_hot(low)

    def objective(w: np.ndarray) -> float:
        fit = ((x @ w @ s.T - y) ** 2).sum()
        ridge = gamma * ((w @ s.T) ** 2).sum() + lam * ((x @ w) ** 2).sum() + gamma * lam * (w**2).sum()
        return float(fit + ridge)

    step = 1e-4
    for direction in np.eye(D * A).reshape(-1, D, A):
        slope = (objective(v + step * direction) - objective(v - step * direction)) / (2 * step)
        assert abs(slope) < 1e-5 * objective(v)
        assert objective(v + 0.1 * direction) > objective(v)


def test_eszsl_survives_badly_scaled_features_with_a_tiny_ridge() -> None:
    features = np.repeat(FEATURES, 2, axis=1) * np.float32(1e5)  # each column twice: the Gram matrix is singular
    train = Train(features, LABELS, TRAIN.classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", scipy.linalg.LinAlgWarning)
        scores = ESZSL(gamma=1e-3).fit(train, Context()).scores(features, TRAIN.classes)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("lam", [1e-3, 0.2, 5e5])
@pytest.mark.parametrize("preprocess", ["none", "l2", "standard"])
def test_sae_solves_the_sylvester_equation_of_the_paper(lam: float, preprocess: str) -> None:
    fitted = SAE(lam=lam, preprocess=preprocess).fit(TRAIN, Context())
    x, s = fitted.preprocessor_.transform(FEATURES).astype(np.float64).T, image_semantics().T
    a, b, c = s @ s.T, lam * x @ x.T, (1 + lam) * s @ x.T
    w = fitted.weights_
    assert np.linalg.norm(a @ w + w @ b - c) < 1e-10 * np.linalg.norm(c)
    np.testing.assert_allclose(w, scipy.linalg.solve_sylvester(a, b, c), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("unit_rows", [False, True])
@pytest.mark.parametrize("direction", ["f2s", "s2f"])
def test_sae_scores_are_cosines_in_the_space_of_the_direction(direction: str, unit_rows: bool) -> None:
    fitted = SAE(direction=direction, lam=0.4, preprocess="none", unit_rows=unit_rows).fit(TRAIN, Context())
    w = fitted.weights_.copy()
    if unit_rows:
        w = np.stack([row / np.sqrt((row**2).sum()) for row in w])
    scores = fitted.scores(QUERY, CANDIDATES)
    for i, x in enumerate(QUERY.astype(np.float64)):
        for j, a in enumerate(CANDIDATES.semantics.astype(np.float64)):
            left, right = (w @ x, a) if direction == "f2s" else (x, w.T @ (a / np.linalg.norm(a)))
            cosine = left @ right / (np.linalg.norm(left) * np.linalg.norm(right))
            assert scores[i, j] == pytest.approx(cosine, abs=1e-10)


def test_sae_scores_zero_vectors_with_zero() -> None:
    for direction in ("f2s", "s2f"):
        fitted = SAE(direction=direction).fit(TRAIN, Context())
        empty = ClassTable(CANDIDATES.ids, np.zeros_like(CANDIDATES.semantics))
        assert (fitted.scores(QUERY, empty) == 0).all()
        assert (fitted.scores(np.zeros_like(QUERY), CANDIDATES) == 0).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(1, 7), st.integers(0, 6), st.integers(0, 7), st.integers(0, 2**32 - 1))
def test_sae_gives_the_least_norm_solution(attributes: int, width: int, r: int, t: int, seed: int) -> None:
    """Against the pseudo-inverse of the Kronecker form; semantics of rank at most r, features of rank at most t."""
    rng = np.random.default_rng(seed)
    semantics = rng.integers(-3, 4, (C, r)) @ rng.integers(-3, 4, (r, attributes))  # whole numbers keep the rank
    features = rng.integers(-3, 4, (N, t)) @ rng.integers(-3, 4, (t, width))
    train = Train(features.astype(np.float32), LABELS, ClassTable(IDS, semantics.astype(np.float32)))
    found = SAE(lam=0.5, preprocess="none").fit(train, Context()).weights_
    s = np.stack([semantics[list(IDS).index(label)] for label in LABELS]).T.astype(np.float64)
    x = features.T.astype(np.float64)
    kron = np.kron(s @ s.T, np.eye(width)) + np.kron(np.eye(attributes), 0.5 * x @ x.T)
    right = 1.5 * s @ x.T
    wanted = (np.linalg.pinv(kron, rcond=1e-11, hermitian=True) @ right.ravel()).reshape(attributes, width)
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-9)


def test_eszsl_decides_alike_by_both_codings_on_centred_features_and_by_0_and_1_wherever_they_lie() -> None:
    def decided(shift: float, **parameters: str) -> list[int]:
        moved = Train(FEATURES + np.float32(shift), TRAIN.labels, TRAIN.classes)
        scores = ESZSL(**parameters).fit(moved, Context()).scores(QUERY + np.float32(shift), CANDIDATES)
        return [int(row) for row in scores.argmax(axis=1)]

    for shift in (0.0, 50.0):
        assert decided(shift, targets="signed", preprocess="standard") == decided(shift, preprocess="standard")
    assert ESZSL().targets == "binary"


def test_presets_cover_the_five_sets_under_both_protocols_and_resolve() -> None:
    for cls, names in ((ESZSL, ["published"]), (SAE, ["published", "published_f2s"])):
        assert sorted(cls.presets) == names
        for preset in cls.presets.values():
            assert len(preset.cells) == 10
            for dataset, protocol in preset.cells:
                cls(**preset.resolve("x", dataset, protocol))
    assert ESZSL.presets["published"].resolve("x", "cub", "zsl")["lam"] == 0.1
    assert SAE.presets["published"].resolve("x", "sun", "gzsl") == {
        "lam": 0.08,
        "direction": "s2f",
        "unit_rows": True,
        "preprocess": "l2",
    }
