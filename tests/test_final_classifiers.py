"""Final classifiers, confidence rules and the cascade, against scipy, scikit-learn and plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC

from zslbench.methods.generative.final_classifiers import (
    cascade,
    confident_rows,
    entropy_margin,
    log_probabilities,
    nearest_neighbour,
    support_vectors,
    train_softmax,
    uncertainty,
)
from zslbench.methods.nn import linear, random_stream


def test_softmax_reaches_the_maximum_likelihood_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 3
    features = (rng.normal(size=(300, 4)) + np.eye(3, 4)[labels]).astype(np.float32)
    layer = train_softmax(torch.tensor(features), torch.tensor(labels), 3, epochs=1500, batch=300, lr=0.003, seed=0)
    wanted = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(features, labels).predict_log_proba(features)
    np.testing.assert_allclose(log_probabilities(layer, torch.tensor(features)), wanted, atol=0.01)


@pytest.mark.parametrize("rows", [5, 16, 17, 40])
def test_softmax_walks_through_permutations_in_whole_batches(rows: int) -> None:
    """Against a loop over one row at a time in float64: every step has 16 rows, or all where there are fewer."""
    rng = np.random.default_rng(rows)
    x, y = rng.normal(size=(rows, 4)).astype(np.float32), rng.integers(3, size=rows)
    found = train_softmax(torch.tensor(x), torch.tensor(y), 3, epochs=7, batch=16, lr=0.05, seed=3)
    layer = linear(4, 3, random_stream(3))
    weights = np.concatenate([layer.weight.detach().double().numpy(), np.zeros((3, 1))], axis=1)
    order, waiting = random_stream(4), list[int]()
    first, second = np.zeros_like(weights), np.zeros_like(weights)
    for step in range(1, 7 * math.ceil(rows / 16) + 1):
        gradient = np.zeros_like(weights)
        for _ in range(size := min(16, rows)):
            if not waiting:
                waiting = torch.randperm(rows, generator=order).tolist()
            row = waiting.pop(0)
            logits = weights @ [*x[row].astype(np.float64), 1.0]
            chances = np.exp(logits) / np.exp(logits).sum()
            gradient += np.outer(chances - (np.arange(3) == y[row]), [*x[row], 1.0]) / size
        first, second = 0.5 * first + 0.5 * gradient, 0.999 * second + 0.001 * gradient**2
        weights -= 0.05 * (first / (1 - 0.5**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    np.testing.assert_allclose(found.weight, weights[:, :4], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.bias, weights[:, 4], rtol=1e-3, atol=1e-4)


def test_softmax_draws_from_its_seed_alone() -> None:
    features, labels = torch.rand(50, 4, generator=random_stream(1)), torch.arange(50) % 3
    options = {"epochs": 2, "batch": 16, "lr": 0.01}
    before = torch.random.get_rng_state()
    first = train_softmax(features, labels, 3, seed=5, **options)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first.weight, train_softmax(features, labels, 3, seed=5, **options).weight)
    assert not torch.equal(first.weight, train_softmax(features, labels, 3, seed=6, **options).weight)


def test_a_classifier_stops_early_where_its_loss_stands_still() -> None:
    stream = random_stream(0)
    labels = torch.arange(40) % 4
    features = torch.eye(4)[labels] + torch.randn(40, 4, generator=stream)  # classes overlap: the loss has a floor
    given = {"batch": 40, "lr": 0.1, "seed": 1}
    one, two = (train_softmax(features, labels, 4, epochs=epochs, **given) for epochs in (1, 2))  # type: ignore[arg-type]
    stopped = train_softmax(features, labels, 4, epochs=500, tol=1.0, **given)  # type: ignore[arg-type]
    assert torch.equal(stopped.weight, two.weight)  # no epoch lowers the loss by all of it: the second is the last
    assert not torch.equal(one.weight, two.weight)
    long, full = (train_softmax(features, labels, 4, epochs=500, tol=tol, **given) for tol in (1e-3, 0.0))  # type: ignore[arg-type]
    assert not torch.equal(long.weight, full.weight)
    losses = [float(torch.nn.functional.cross_entropy(layer(features), labels)) for layer in (one, long, full)]
    assert losses[0] - losses[1] > 20 * (losses[1] - losses[2])  # what is left is little


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 4), st.floats(0.1, 12))
def test_the_entropy_margin_is_that_of_a_loop(seed: int, seen: int, unseen: int, scale: float) -> None:
    """Row by row with entropies by hand; a batch of seen rows alone, or of unseen ones alone, has none."""
    rng = np.random.default_rng(seed)
    k, labels = seen + unseen, rng.integers(0, seen + unseen, 9)
    is_seen = rng.permutation(np.arange(k) < seen)
    logits = rng.normal(scale=scale, size=(9, k))
    means: dict[tuple[bool, bool], list[float]] = {}
    for row, label in zip(logits, labels, strict=True):
        chances = np.exp(row) / np.exp(row).sum()
        for group in (True, False):
            terms = [-p * math.log(p) for p, of_seen in zip(chances, is_seen, strict=True) if of_seen == group]
            means.setdefault((group, bool(is_seen[label])), []).append(sum(terms))
    wanted = 0.0
    if len(means) == 4:
        for group in (True, False):
            wanted += max(0.0, 0.2 + np.mean(means[group, group]) - np.mean(means[group, not group]))
    given = torch.tensor(logits), torch.tensor(labels), torch.tensor(is_seen)
    assert float(entropy_margin(*given)) == pytest.approx(wanted, rel=1e-9, abs=1e-12)


def some_log_probabilities(seed: int, n: int = 20, k: int = 5, scale: float = 3.0) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(scale=scale, size=(n, k))
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 9), st.floats(0.1, 12))
def test_paper_rule_is_eq_9(seed: int, k: int, scale: float) -> None:
    logs = some_log_probabilities(seed, k=k, scale=scale)
    np.testing.assert_allclose(uncertainty(logs, "paper"), entropy(np.exp(logs), axis=1), rtol=1e-6, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 9), st.floats(0.1, 12))
def test_reference_rule_is_the_entropy_of_log_probabilities_negated(seed: int, k: int, scale: float) -> None:
    """scipy renormalises what it is given, signs cancel, and the public code takes the largest first."""
    logs = some_log_probabilities(seed, k=k, scale=scale)
    np.testing.assert_allclose(uncertainty(logs, "reference"), -entropy(logs, axis=1), rtol=1e-6)


def test_rules_disagree_on_the_example_of_the_facts() -> None:
    sure, unsure = np.log([[0.97, 0.01, 0.01, 0.01]]), np.log(np.full((1, 4), 0.25))
    logs = np.concatenate([sure, unsure])
    assert confident_rows(logs, "paper", 0.5).tolist() == [0]
    assert confident_rows(logs, "reference", 0.5).tolist() == [1]
    assert -uncertainty(logs, "reference")[0] == pytest.approx(1.11, abs=0.01)


@pytest.mark.parametrize(("fraction", "count"), [(0.0, 0), (0.5, 10), (0.55, 11), (0.6, 12), (1.0, 21)])
def test_confident_rows_are_the_lowest(fraction: float, count: int) -> None:
    logs = some_log_probabilities(3, n=21)
    picked = confident_rows(logs, "paper", fraction)
    ranked = sorted(range(21), key=lambda row: entropy(np.exp(logs[row])))
    assert picked.tolist() == ranked[:count]


def test_certain_rows_have_no_nan() -> None:
    logs = np.array([[0.0, -200.0, -300.0], [0.0, 0.0 - 1e-30, -800.0]])
    for rule in ("paper", "reference"):
        assert np.isfinite(uncertainty(logs, rule)).all()
    assert np.isfinite(uncertainty(np.zeros((2, 1)), "reference")).all()


def points(seed: int, per_class: int = 8, k: int = 4, d: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(k), per_class)
    centres = rng.normal(size=(k, d))
    references = centres[labels] + 0.7 * rng.normal(size=(len(labels), d))
    return references, labels, rng.normal(size=(1500, d))


@pytest.mark.parametrize("seed", range(3))
def test_nearest_neighbour_is_scikit_learns(seed: int) -> None:
    references, labels, rows = points(seed)
    found = nearest_neighbour(torch.tensor(references), torch.tensor(labels), torch.tensor(rows), 4)
    wanted = KNeighborsClassifier(1).fit(references, labels).predict(rows)
    assert found.argmax(1).tolist() == wanted.tolist()
    np.testing.assert_allclose(found.exp().sum(1), 1)
    for row in range(5):
        near = [min(((rows[row] - r) ** 2).sum() for r in references[labels == c]) for c in range(4)]
        wanted_row = -np.array(near) - np.log(np.exp(-np.array(near)).sum())
        np.testing.assert_allclose(found[row], wanted_row, rtol=1e-8)


def test_nearest_neighbour_is_found_far_from_the_origin_in_float32() -> None:
    """Squares of about 1e8 leave nothing of a distance of 1: sums of differences in float64 say who is nearest."""
    references, labels, rows = (array.astype(np.float32) for array in points(0))
    references, rows = references + np.float32(3000), rows[:200] + np.float32(3000)
    found = nearest_neighbour(torch.tensor(references), torch.tensor(labels).long(), torch.tensor(rows), 4)
    differences = rows[:, None].astype(np.float64) - references.astype(np.float64)
    squared = (differences**2).sum(axis=2)
    wanted = labels[squared.argmin(axis=1)]
    gap = np.sort([squared[:, labels == c].min(axis=1) for c in range(4)], axis=0)
    clear = gap[1] - gap[0] > 0.01
    assert clear.sum() > 190
    assert (found.argmax(1).numpy() == wanted)[clear].all()


@pytest.mark.parametrize("k", [2, 4])
def test_support_vectors_decide_as_scikit_learns(k: int) -> None:
    references, labels, rows = points(0, k=k)
    tensors = torch.tensor(references), torch.tensor(labels), torch.tensor(rows)
    found = support_vectors(*tensors, k, seed=2**40)
    wanted = LinearSVC(dual="auto", random_state=0).fit(references, labels).predict(rows)
    assert np.mean(found.argmax(1).numpy() == wanted) > 0.999
    np.testing.assert_allclose(found.exp().sum(1), 1)


def test_one_class_needs_no_margin() -> None:
    rows = torch.zeros(3, 2)
    assert support_vectors(rows, torch.zeros(3, dtype=torch.int64), rows, 1, seed=0).tolist() == [[0.0]] * 3


def test_cascade_keeps_confident_rows_and_asks_again_for_the_rest() -> None:
    first = torch.tensor(some_log_probabilities(1, n=10, k=3))
    rows, references = torch.arange(10.0)[:, None], torch.full((2, 1), -1.0)
    labels = torch.tensor([0, 1])
    asked: dict[str, torch.Tensor] = {}

    def second(joined: torch.Tensor, joined_labels: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        asked.update(joined=joined, labels=joined_labels, others=others)
        return torch.full((len(others), 3), -7.0, dtype=torch.float64)

    out = cascade(first, rows, references, labels, rule="paper", fraction=0.4, second=second)
    ranked = sorted(range(10), key=lambda row: entropy(np.exp(first[row].numpy())))
    sure, rest = ranked[:4], sorted(ranked[4:])
    assert asked["joined"][:, 0].tolist() == [-1.0, -1.0, *map(float, sure)]
    assert asked["labels"].tolist() == [0, 1, *(int(first[row].argmax()) for row in sure)]
    assert asked["others"][:, 0].tolist() == [float(row) for row in rest]
    assert torch.equal(out[sure], first[sure])
    assert (out[rest] == -7.0).all()


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_cascade_without_a_second_question_is_the_first_classifier(fraction: float) -> None:
    first = torch.tensor(some_log_probabilities(1, n=6, k=3))

    def never(*_: torch.Tensor) -> torch.Tensor:
        raise AssertionError("the second classifier was asked")

    rows = torch.zeros(6, 1)
    out = cascade(first, rows, rows, torch.zeros(6, dtype=torch.int64), rule="paper", fraction=fraction, second=never)
    assert torch.equal(out, first)
