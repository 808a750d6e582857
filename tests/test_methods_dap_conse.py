"""DAP and CONSE against naive loops, scikit-learn and the definition of their probabilities."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.calibration import _sigmoid_calibration
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from zslbench.errors import BadValue
from zslbench.methods.base import Context
from zslbench.methods.classifiers.conse import CONSE
from zslbench.methods.classifiers.dap import DAP
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


def test_dap_takes_binary_semantics_where_there_are_no_original_attributes() -> None:
    bits = np.array([[0, 1, 0], [1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 0]], dtype=np.float32)
    fitted = DAP(rule="half").fit(Train(FEATURES, LABELS, ClassTable(IDS, bits)), Context())
    assert list(fitted.used_) == [0, 1]
    np.testing.assert_allclose(fitted.prior_, [2 / 5, 3 / 5])


def test_dap_is_not_defined_for_sentences() -> None:
    with pytest.raises(BadValue, match=r"neither attributes nor 0 and 1 \(values from -.*another method\.$"):
        DAP().fit(Train(FEATURES, LABELS, ClassTable(IDS, SEMANTICS - 0.5)), Context())


def test_dap_refitted_on_sentences_does_not_rest_on_an_earlier_fit() -> None:
    bits = (SEMANTICS > 0.4).astype(np.float32)
    fitted = DAP(rule="half").fit(Train(FEATURES, LABELS, ClassTable(IDS, bits)), Context())
    with pytest.raises(BadValue, match="neither attributes nor 0 and 1"):
        fitted.fit(Train(FEATURES, LABELS, ClassTable(IDS, SEMANTICS)), Context())


def test_dap_says_that_candidates_lack_attributes() -> None:
    fitted = DAP().fit(TRAIN, Context())
    with pytest.raises(BadValue, match="candidates have none; give both tables theirs"):
        fitted.scores(QUERY, ClassTable(CANDIDATES.ids, CANDIDATES.semantics))


def test_dap_says_that_no_attribute_tells_classes_apart() -> None:
    same = np.full((C, A), 3.0, dtype=np.float32)
    with pytest.raises(BadValue, match="every one of 6 attributes equal over the 5 seen classes"):
        DAP().fit(Train(FEATURES, LABELS, ClassTable(IDS, SEMANTICS, same)), Context())


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


def test_conse_with_one_class_places_an_image_on_its_likeliest_class() -> None:
    fitted = CONSE(top=1).fit(TRAIN, Context())
    place = fitted.embed(FEATURES)
    distances = ((place[:, None] - SEMANTICS[None].astype(np.float64)) ** 2).sum(axis=2)
    assert (distances.min(axis=1) < 1e-12).all()
    assert (IDS[distances.argmin(axis=1)] == LABELS).mean() > 0.6  # blobs that overlap


def test_conse_scores_a_class_without_length_with_zero() -> None:
    empty = ClassTable(CANDIDATES.ids, np.zeros_like(CANDIDATES.semantics))
    assert (CONSE().fit(TRAIN, Context()).scores(QUERY, empty) == 0).all()
