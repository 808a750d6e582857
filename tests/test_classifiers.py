"""DAP, CONSE, SSE and SYNC, and the solvers they rest on, against loops, scikit-learn, SLSQP and optimality."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime, check_grad, minimize
from sklearn.calibration import _sigmoid_calibration
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from zslbench.arrays import Array
from zslbench.errors import BadValue
from zslbench.methods.base import Context
from zslbench.methods.classifiers import linear_models as lm
from zslbench.methods.classifiers import sse, sync
from zslbench.methods.classifiers.conse import CONSE
from zslbench.methods.classifiers.dap import DAP
from zslbench.methods.classifiers.sse import SSE, simplex_mixtures
from zslbench.methods.classifiers.sync import SYNC
from zslbench.task import ClassTable, Train

RNG = np.random.default_rng(11)
N, D, A, C = 90, 5, 6, 5
IDS = np.array([40, 7, 13, 2, 99])
LABELS = IDS[np.concatenate([np.arange(C), RNG.integers(0, C, N - C)])]
ATTRIBUTES = RNG.uniform(0, 100, (C, A)).astype(np.float32)
ATTRIBUTES[:, 2] = 0  # no seen class has it, whatever the rule
SEMANTICS = (ATTRIBUTES / np.linalg.norm(ATTRIBUTES, axis=1, keepdims=True)).astype(np.float32)
CENTRES = RNG.normal(size=(C, D))
FEATURES = (CENTRES[[list(IDS).index(i) for i in LABELS]] + RNG.normal(size=(N, D))).astype(np.float32)
TRAIN = Train(FEATURES, LABELS, ClassTable(IDS, SEMANTICS, ATTRIBUTES))
SEEN = TRAIN.classes.take(TRAIN.classes.canonical())
QUERY = RNG.normal(size=(13, D)).astype(np.float32)
OTHERS = RNG.uniform(0, 100, (4, A)).astype(np.float32)
CANDIDATES = ClassTable(np.array([5, 7, 1, 60]), OTHERS / 100, OTHERS)


def cut(rule: str) -> np.ndarray:
    """(a,) thresholds, entry by entry."""
    values = [float(v) for row in ATTRIBUTES for v in row]
    if rule == "mean":
        return np.full(A, math.fsum(values) / len(values))
    if rule == "half":
        return np.full(A, (min(values) + max(values)) / 2)
    return np.array([math.fsum(float(row[m]) for row in ATTRIBUTES) / C for m in range(A)])


@pytest.mark.parametrize("rule", ["mean", "half", "attribute"])
def test_dap_equals_a_loop_over_attributes_and_classes(rule: str) -> None:
    l2 = 0.05
    fitted = DAP(rule=rule, l2=l2, preprocess="none").fit(TRAIN, Context())
    thresholds = cut(rule)
    wanted = np.zeros((len(QUERY), len(CANDIDATES)))
    counted = 0
    for m in range(A):
        bits = {int(IDS[c]): bool(ATTRIBUTES[c, m] > thresholds[m]) for c in range(C)}
        prior = sum(bits.values()) / C
        if prior in (0, 1):
            continue
        counted += 1
        model = LogisticRegression(C=1 / (N * l2), tol=1e-10, solver="newton-cholesky")
        model.fit(FEATURES.astype(np.float64), [bits[int(i)] for i in LABELS])
        for i, x in enumerate(QUERY.astype(np.float64)):
            p = float(model.predict_proba(x[None])[0, 1])
            for j in range(len(CANDIDATES)):
                present = OTHERS[j, m] > thresholds[m]
                wanted[i, j] += math.log(p / prior) if present else math.log((1 - p) / (1 - prior))
    assert 0 < counted < A
    np.testing.assert_allclose(fitted.scores(QUERY, CANDIDATES), wanted, rtol=2e-3, atol=2e-3)


def test_dap_svm_is_a_linear_svm_with_platt_scaling() -> None:
    l2 = 0.05
    fitted = DAP(classifier="svm", l2=l2, preprocess="none", rule="attribute").fit(TRAIN, Context())
    order = TRAIN.classes.canonical()
    row_of = {int(IDS[c]): place for place, c in enumerate(order)}
    by_class = sorted(range(N), key=lambda i: (row_of[int(LABELS[i])], i))
    held = by_class[9::10]
    rest = sorted(set(by_class) - set(held))
    for column, m in enumerate(fitted.used_):
        bits = np.array([ATTRIBUTES[list(IDS).index(i), m] > cut("attribute")[m] for i in LABELS])
        # a free bias: a constant feature so large that its weight costs nothing
        machine = LinearSVC(C=1 / (len(rest) * l2), intercept_scaling=1e4, tol=1e-10, max_iter=1_000_000, dual=False)
        machine.fit(FEATURES[rest].astype(np.float64), bits[rest])
        scores = machine.decision_function(FEATURES[held].astype(np.float64))
        slope, offset = _sigmoid_calibration(scores, bits[held])
        wanted = 1 / (1 + np.exp(slope * machine.decision_function(QUERY.astype(np.float64)) + offset))
        found = 1 / (1 + np.exp(-fitted.model_.scores(QUERY)[:, column]))
        np.testing.assert_allclose(found, wanted, atol=2e-3)


def test_dap_leaves_out_attributes_that_are_constant_over_seen_classes() -> None:
    fitted = DAP(rule="attribute").fit(TRAIN, Context())
    assert list(fitted.used_) == [0, 1, 3, 4, 5]
    other = OTHERS.copy()
    other[:, 2] = 100 - other[:, 2]
    changed = ClassTable(CANDIDATES.ids, CANDIDATES.semantics, other)
    np.testing.assert_array_equal(fitted.scores(QUERY, CANDIDATES), fitted.scores(QUERY, changed))


def test_dap_stays_finite_where_probabilities_round_to_zero() -> None:
    far = (1e6 * QUERY).astype(np.float32)
    for classifier in ("logistic", "svm"):
        scores = DAP(classifier=classifier, l2=1e-6).fit(TRAIN, Context()).scores(far, CANDIDATES)
        assert np.isfinite(scores).all()
        assert np.abs(scores).max() > 1000


def fitted_dap(semantics: np.ndarray, original: np.ndarray | None = None, method: DAP | None = None) -> DAP:
    return (method or DAP(rule="half")).fit(Train(FEATURES, LABELS, ClassTable(IDS, semantics, original)), Context())


def test_dap_takes_binary_semantics_where_there_are_no_original_attributes() -> None:
    fitted = fitted_dap(np.array([[0, 1, 0], [1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 0]], dtype=np.float32))
    assert list(fitted.used_) == [0, 1]
    np.testing.assert_allclose(fitted.prior_, [2 / 5, 3 / 5])


def test_dap_refuses_what_it_is_not_defined_for() -> None:
    with pytest.raises(BadValue, match=r"neither attributes nor 0 and 1 \(values from -.*another method\.$"):
        fitted_dap(SEMANTICS - 0.5)
    fitted = fitted_dap((SEMANTICS > 0.4).astype(np.float32))
    with pytest.raises(BadValue, match="neither attributes nor 0 and 1"):  # it does not rest on the earlier fit
        fitted_dap(SEMANTICS, method=fitted)
    with pytest.raises(BadValue, match="every one of 6 attributes equal over the 5 seen classes"):
        fitted_dap(SEMANTICS, np.full((C, A), 3.0, dtype=np.float32))


@pytest.mark.parametrize("method", [DAP(), SYNC()])
def test_candidates_lack_the_attributes_of_a_fit(method: DAP | SYNC) -> None:
    with pytest.raises(BadValue, match="candidates have none; give both tables original attributes"):
        method.fit(TRAIN, Context()).scores(QUERY, ClassTable(CANDIDATES.ids, CANDIDATES.semantics))


@pytest.mark.parametrize("top", [1, 2, C, 50])
def test_conse_equals_a_loop_over_the_likeliest_classes(top: int) -> None:
    l2 = 0.02
    fitted = CONSE(top=top, l2=l2, preprocess="none").fit(TRAIN, Context())
    model = LogisticRegression(C=1 / (N * l2), tol=1e-9, max_iter=10_000, solver="newton-cg")
    model.fit(FEATURES.astype(np.float64), LABELS)
    scores = fitted.scores(QUERY, CANDIDATES)
    for i, x in enumerate(QUERY.astype(np.float64)):
        likely = sorted(zip(model.predict_proba(x[None])[0], model.classes_, strict=True), reverse=True)[:top]
        total = math.fsum(float(p) for p, _ in likely)
        place = sum(p / total * SEMANTICS[list(IDS).index(c)].astype(np.float64) for p, c in likely)
        for j, a in enumerate(CANDIDATES.semantics.astype(np.float64)):
            cosine = place @ a / np.linalg.norm(place) / np.linalg.norm(a)
            assert scores[i, j] == pytest.approx(cosine, abs=1e-3)


def test_conse_scores_a_class_without_length_with_zero() -> None:
    empty = ClassTable(CANDIDATES.ids, np.zeros_like(CANDIDATES.semantics))
    assert (CONSE().fit(TRAIN, Context()).scores(QUERY, empty) == 0).all()


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
    transformed = np.minimum(rows[:, None], pivots) if method.kernel == "intersection" else rows[:, None] - pivots
    if method.kernel == "relu":
        transformed = np.maximum(transformed, 0)
    scores = (transformed * weights).sum(axis=2) @ mixtures.T
    value = lm.margin_loss(scores, SEEN.positions(LABELS), 1 - np.eye(C), sse.SMOOTHING)[0] / N
    return float(value + method.l2_w / 2 * (weights**2).sum() + method.l2_v / 2 * (pivots**2).sum())


@pytest.mark.parametrize("kernel", ["intersection", "relu"])
def test_sse_weights_are_optimal_for_their_pivots(kernel: str) -> None:
    fitted = SSE(kernel=kernel, turns=0, iterations=150, l2_w=0.1).fit(TRAIN, Context())
    means = [fitted.preprocessor_.transform(FEATURES)[i == LABELS].mean(axis=0) for i in SEEN.ids]
    np.testing.assert_allclose(fitted.pivots_, np.array(means), atol=1e-6)
    mixtures = fitted._mixtures(SEEN)
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
        mixtures = fitted._mixtures(SEEN)
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
    corners, points = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (SEEN.semantics, OTHERS))
    mixtures = simplex_mixtures(points, corners, 0.05)
    np.testing.assert_allclose(fitted.scores(QUERY, CANDIDATES), given @ mixtures.T, atol=1e-4)


def test_a_seen_class_is_mostly_itself_when_gamma_is_small() -> None:
    fitted = SSE(gamma=1e-5).fit(TRAIN, Context())
    np.testing.assert_allclose(fitted._mixtures(SEEN), np.eye(C), atol=0.02)


def test_the_intersection_kernel_refuses_negative_features() -> None:
    with pytest.raises(BadValue, match=r"^SSE: preprocess=standard .* choose preprocess=minmax or kernel=relu\.$"):
        SSE(preprocess="standard").fit(TRAIN, Context())
    SSE(preprocess="standard", kernel="relu").fit(TRAIN, Context())
    SSE(preprocess="standard+clip").fit(TRAIN, Context())


def signatures() -> tuple[np.ndarray, np.ndarray, float]:
    """(c, a) signatures of seen classes in canonical order, those of the candidates, and the median, by loops."""
    seen = SEEN.original.astype(np.float64)
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
    again = fitted.scores(QUERY, SEEN)
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
    positions = SEEN.positions(LABELS)

    def value(w: np.ndarray) -> float:
        scores = FEATURES.astype(np.float64) @ w.T
        if loss == "ovo":
            signs = np.array([[1 if y == c else -1 for c in range(C)] for y in positions])
            data = (np.maximum(1 - signs * scores, 0) ** 2).sum() / N / C
        else:
            margins = np.array([[math.dist(a, b) if loss == "struct" else 1.0 for b in seen] for a in seen])
            np.fill_diagonal(margins, 0)
            data = lm.margin_loss(scores, positions, margins, sync.SMOOTHING)[0] / N
        return float(data + lam / 2 * (w**2).sum())

    best = value(fitted.seen_)
    for direction in np.eye(C * D).reshape(-1, C, D):
        slope = (value(fitted.seen_ + 1e-5 * direction) - value(fitted.seen_ - 1e-5 * direction)) / 2e-5
        assert abs(slope) < 2e-3
        assert value(fitted.seen_ + 0.2 * direction) > best
        assert value(fitted.seen_ - 0.2 * direction) > best


def test_sync_uses_original_attributes_where_there_are_any() -> None:
    with_original = SYNC().fit(TRAIN, Context())
    turned = ClassTable(IDS, SEMANTICS[:, ::-1].copy(), ATTRIBUTES)
    same = SYNC().fit(Train(FEATURES, LABELS, turned), Context())
    np.testing.assert_allclose(same.scores(QUERY, CANDIDATES), with_original.scores(QUERY, CANDIDATES), atol=1e-4)
    without = SYNC().fit(Train(FEATURES, LABELS, ClassTable(IDS, SEMANTICS)), Context())
    np.testing.assert_allclose(without.scores(QUERY, CANDIDATES), with_original.scores(QUERY, CANDIDATES), atol=1e-4)


@pytest.mark.parametrize("lengths", [2.0 ** np.arange(C), 1.0 + np.arange(C)])  # the latter are equal up to rounding
def test_sync_refuses_semantics_that_are_all_equal(lengths: Array) -> None:
    same = np.outer(lengths, np.ones(A)).astype(np.float32)
    with pytest.raises(BadValue, match="the 5 seen classes have the same semantics up to length"):
        SYNC().fit(Train(FEATURES, LABELS, ClassTable(IDS, same)), Context())


SPREAD = np.array([1, 5, 0.2, 1, 0])  # the last column is constant
X = (RNG.normal(1.0, 1.0, (N, D)) * SPREAD + 3).astype(np.float32)
POSITIONS = TRAIN.classes.positions(LABELS)
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
    scores = np.array([[1e5, -1e5, 0.0, 3.0, 1.0]])
    for value, slope in (
        lm.logistic_loss(scores, np.array([[0.0, 1.0, 1.0, 0.0, 1.0]])),
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
    found = lm.project_rows(points)
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
