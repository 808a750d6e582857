"""SSE and SYNC: loops, finite differences, optimality, the closed formula of phantoms, and their errors."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from zslbench.errors import BadValue
from zslbench.methods.base import Context
from zslbench.methods.classifiers import sse, sync
from zslbench.methods.classifiers.linear_models import margin_loss
from zslbench.methods.classifiers.sse import SSE
from zslbench.methods.classifiers.sync import SYNC
from zslbench.task import ClassTable, Train

RNG = np.random.default_rng(23)
N, D, A, C = 80, 6, 4, 5
IDS = np.array([8, 3, 77, 20, 5])
LABELS = IDS[np.concatenate([np.arange(C), RNG.integers(0, C, N - C)])]
ORIGINAL = RNG.uniform(0, 10, (C, A)).astype(np.float32)
SEMANTICS = (ORIGINAL / np.linalg.norm(ORIGINAL, axis=1, keepdims=True)).astype(np.float32)
CENTRES = RNG.normal(size=(C, D)) * 1.5
FEATURES = (CENTRES[[list(IDS).index(i) for i in LABELS]] + RNG.normal(size=(N, D))).astype(np.float32)
TRAIN = Train(FEATURES, LABELS, ClassTable(IDS, SEMANTICS, ORIGINAL))
QUERY = RNG.normal(size=(9, D)).astype(np.float32)
OTHERS = RNG.uniform(0, 10, (3, A)).astype(np.float32)
CANDIDATES = ClassTable(np.array([1, 90, 4]), OTHERS / 10, OTHERS)


def psi(x: float, v: float, kernel: str) -> float:
    return min(x, v) if kernel == "intersection" else max(0.0, x - v)


def naive_responses(features: np.ndarray, weights: np.ndarray, pivots: np.ndarray, kernel: str) -> np.ndarray:
    out = np.zeros((len(features), len(weights)))
    for i, x in enumerate(features):
        for y in range(len(weights)):
            out[i, y] = math.fsum(
                w * psi(float(a), v, kernel) for a, v, w in zip(x, pivots[y], weights[y], strict=True)
            )
    return out


@pytest.mark.parametrize("kernel", ["intersection", "relu"])
@pytest.mark.parametrize("entries", [1, 2 * D, 2**17])
def test_responses_and_their_gradients_equal_loops(monkeypatch: pytest.MonkeyPatch, kernel: str, entries: int) -> None:
    monkeypatch.setattr(sse, "CHUNK_ENTRIES", entries)  # a row, two rows, all rows at once
    rows = np.abs(QUERY)
    weights, pivots = RNG.normal(size=(C, D)), np.abs(RNG.normal(size=(C, D)))
    slope = RNG.normal(size=(len(rows), C))
    np.testing.assert_allclose(
        sse.responses(rows, weights, pivots, kernel), naive_responses(rows, weights, pivots, kernel), atol=1e-5
    )
    of_weights = sse.weights_gradient(rows, pivots, kernel, slope)
    of_pivots = sse.pivots_gradient(rows, weights, pivots, kernel, slope)
    step = 1e-6
    for y in range(C):
        for k in range(D):
            change = np.zeros((C, D))
            change[y, k] = step

            def along(w: np.ndarray, v: np.ndarray) -> float:
                return float((slope * naive_responses(rows, w, v, kernel)).sum())

            by_weight = (along(weights + change, pivots) - along(weights - change, pivots)) / (2 * step)
            by_pivot = (along(weights, pivots + change) - along(weights, pivots - change)) / (2 * step)
            assert of_weights[y, k] == pytest.approx(by_weight, abs=1e-4)
            assert of_pivots[y, k] == pytest.approx(by_pivot, abs=1e-4)


def objective(method: SSE, mixtures: np.ndarray, weights: np.ndarray, pivots: np.ndarray) -> float:
    """The training objective of the class's docstring, in float64, for the mixtures of the seen classes."""
    rows = method.preprocessor_.transform(FEATURES).astype(np.float64)
    table = TRAIN.classes.take(TRAIN.classes.canonical())
    positions = table.positions(LABELS)
    transformed = np.minimum(rows[:, None], pivots) if method.kernel == "intersection" else rows[:, None] - pivots
    if method.kernel == "relu":
        transformed = np.maximum(transformed, 0)
    scores = (transformed * weights).sum(axis=2) @ mixtures.T
    value = margin_loss(scores, positions, 1 - np.eye(C), sse.SMOOTHING)[0] / N
    return float(value + method.l2_w / 2 * (weights**2).sum() + method.l2_v / 2 * (pivots**2).sum())


@pytest.mark.parametrize("kernel", ["intersection", "relu"])
def test_sse_weights_are_optimal_for_their_pivots(kernel: str) -> None:
    fitted = SSE(kernel=kernel, turns=0, iterations=150, l2_w=0.1).fit(TRAIN, Context())
    means = [fitted.preprocessor_.transform(FEATURES)[i == LABELS].mean(axis=0) for i in IDS[TRAIN.classes.canonical()]]
    np.testing.assert_allclose(fitted.pivots_, np.array(means), atol=1e-6)
    mixtures = fitted._mixtures(TRAIN.classes.take(TRAIN.classes.canonical()))
    best = objective(fitted, mixtures, fitted.weights_, fitted.pivots_)
    for direction in np.eye(C * D).reshape(-1, C, D):
        step = 1e-4 * direction
        up, down = (objective(fitted, mixtures, fitted.weights_ + s, fitted.pivots_) for s in (step, -step))
        assert abs(up - down) / 2e-4 < 2e-3
        assert objective(fitted, mixtures, fitted.weights_ + 0.3 * direction, fitted.pivots_) > best


@pytest.mark.parametrize("kernel", ["intersection", "relu"])
def test_each_turn_of_sse_goes_down_and_pivots_stay_allowed(kernel: str) -> None:
    found = []
    for turns in range(4):
        fitted = SSE(kernel=kernel, turns=turns, iterations=15, l2_w=0.01).fit(TRAIN, Context())
        mixtures = fitted._mixtures(TRAIN.classes.take(TRAIN.classes.canonical()))
        found.append(objective(fitted, mixtures, fitted.weights_, fitted.pivots_))
        assert kernel == "relu" or (fitted.pivots_ >= 0).all()
    assert all(later < earlier for earlier, later in itertools.pairwise(found))


def test_sse_pivots_are_bounded_where_their_penalty_pulls_them() -> None:
    fitted = SSE(l2_v=1e3, turns=1, iterations=200).fit(TRAIN, Context())
    assert (fitted.pivots_ >= 0).all()
    assert fitted.pivots_.max() < 1e-2


def test_sse_scores_are_mixtures_of_responses() -> None:
    fitted = SSE(gamma=0.05).fit(TRAIN, Context())
    rows = fitted.preprocessor_.transform(QUERY)
    given = naive_responses(rows, fitted.weights_, fitted.pivots_, "intersection")
    scores = fitted.scores(QUERY, CANDIDATES)
    corners = SEMANTICS[TRAIN.classes.canonical()].astype(np.float64)
    corners /= np.linalg.norm(corners, axis=1, keepdims=True)
    for j, a in enumerate(OTHERS.astype(np.float64)):
        z = fitted._mixtures(CANDIDATES)[j]
        unit = a / np.linalg.norm(a)

        def distance(alpha: np.ndarray, unit: np.ndarray = unit) -> float:
            return float(0.5 * ((unit - alpha @ corners) ** 2).sum() + 0.025 * (alpha**2).sum())

        assert all(distance(z) <= distance(0.99 * z + 0.01 * corner) + 1e-12 for corner in np.eye(C))
        np.testing.assert_allclose(scores[:, j], given @ z, atol=1e-4)


def test_a_seen_class_is_mostly_itself_when_gamma_is_small() -> None:
    fitted = SSE(gamma=1e-5).fit(TRAIN, Context())
    np.testing.assert_allclose(fitted._mixtures(TRAIN.classes.take(TRAIN.classes.canonical())), np.eye(C), atol=0.02)


def test_the_intersection_kernel_refuses_negative_features() -> None:
    with pytest.raises(BadValue, match=r"^SSE: preprocess=standard .* choose preprocess=minmax or kernel=relu\.$"):
        SSE(preprocess="standard").fit(TRAIN, Context())
    SSE(preprocess="standard", kernel="relu").fit(TRAIN, Context())
    SSE(preprocess="standard+clip").fit(TRAIN, Context())


def signatures() -> tuple[np.ndarray, np.ndarray, float]:
    """(c, a) signatures of seen classes in canonical order, those of the candidates, and the median, by loops."""
    seen = ORIGINAL[TRAIN.classes.canonical()].astype(np.float64)
    seen = np.array([row / math.sqrt(float((row**2).sum())) for row in seen])
    other = np.array([row / math.sqrt(float((row**2).sum())) for row in OTHERS.astype(np.float64)])
    pairs = sorted(math.dist(seen[i], seen[j]) for i in range(C) for j in range(i))
    median = (pairs[4] + pairs[5]) / 2  # of ten
    return seen / median, other / median, median


@pytest.mark.parametrize("scale", [0.25, 4.0])
def test_sync_synthesises_classifiers_by_the_formula(scale: float) -> None:
    fitted = SYNC(scale=scale, lam=0.01).fit(TRAIN, Context())
    seen, other, median = signatures()
    assert fitted.median_ == pytest.approx(median, rel=1e-6)

    def likely(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        out = np.array([[math.exp(-scale * math.dist(a, b) ** 2) for b in right] for a in left])
        return np.asarray(out / out.sum(axis=1, keepdims=True))

    square = likely(seen, seen)
    v = np.linalg.inv(square.T @ square) @ square.T @ fitted.seen_
    np.testing.assert_allclose(fitted.weights_, v, rtol=1e-4, atol=1e-6)
    x = fitted.preprocessor_.transform(QUERY).astype(np.float64)
    np.testing.assert_allclose(fitted.scores(QUERY, CANDIDATES), x @ (likely(other, seen) @ v).T, rtol=1e-4, atol=1e-5)
    again = fitted.scores(QUERY, TRAIN.classes.take(TRAIN.classes.canonical()))
    np.testing.assert_allclose(again, x @ fitted.seen_.T, atol=1e-8)  # phantoms reproduce the seen classifiers


def test_phantoms_of_equal_classes_share_their_classifier() -> None:
    """Sim is singular: pinv gives the V of least norm, and Sim V the projection of W."""
    table = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    similarity = sync.similarities(table, table, 1.0)
    w = RNG.normal(size=(3, 4))
    v = sync.phantom_classifiers(similarity, w)
    np.testing.assert_allclose(v[0], v[1])
    np.testing.assert_allclose((similarity @ v)[0], (w[0] + w[1]) / 2)


@pytest.mark.parametrize("loss", ["ovo", "cs", "struct"])
def test_sync_classifiers_minimise_the_objective(loss: str) -> None:
    lam = 0.02
    fitted = SYNC(loss=loss, lam=lam, preprocess="none").fit(TRAIN, Context())
    seen = signatures()[0]
    positions = [list(IDS[TRAIN.classes.canonical()]).index(label) for label in LABELS]

    def value(w: np.ndarray) -> float:
        scores = FEATURES.astype(np.float64) @ w.T
        if loss == "ovo":
            signs = np.array([[1 if y == c else -1 for c in range(C)] for y in positions])
            data = (np.maximum(1 - signs * scores, 0) ** 2).sum() / N / C
        else:
            margins = np.array([[math.dist(a, b) if loss == "struct" else 1.0 for b in seen] for a in seen])
            np.fill_diagonal(margins, 0)
            data = margin_loss(scores, np.array(positions), margins, sync.SMOOTHING)[0] / N
        return float(data + lam / 2 * (w**2).sum())

    best = value(fitted.seen_)
    for direction in np.eye(C * D).reshape(-1, C, D):
        slope = (value(fitted.seen_ + 1e-5 * direction) - value(fitted.seen_ - 1e-5 * direction)) / 2e-5
        assert abs(slope) < 2e-3
        assert value(fitted.seen_ + 0.2 * direction) > best
        assert value(fitted.seen_ - 0.2 * direction) > best


def test_sync_uses_original_attributes_where_there_are_any() -> None:
    with_original = SYNC().fit(TRAIN, Context())
    turned = ClassTable(IDS, SEMANTICS[:, ::-1].copy(), ORIGINAL)
    same = SYNC().fit(Train(FEATURES, LABELS, turned), Context())
    np.testing.assert_allclose(same.scores(QUERY, CANDIDATES), with_original.scores(QUERY, CANDIDATES), atol=1e-4)
    without = SYNC().fit(Train(FEATURES, LABELS, ClassTable(IDS, SEMANTICS)), Context())
    np.testing.assert_allclose(without.scores(QUERY, CANDIDATES), with_original.scores(QUERY, CANDIDATES), atol=1e-4)
    with pytest.raises(BadValue, match="candidates have none; give both tables theirs"):
        with_original.scores(QUERY, ClassTable(CANDIDATES.ids, CANDIDATES.semantics))


def test_sync_refuses_semantics_that_are_all_equal() -> None:
    same = np.outer(np.arange(1, C + 1), np.ones(A)).astype(np.float32)
    with pytest.raises(BadValue, match="the 5 seen classes have the same semantics up to length"):
        SYNC().fit(Train(FEATURES, LABELS, ClassTable(IDS, same)), Context())
