"""Metrics against naive loops and scikit-learn."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score

from zslbench import metrics
from zslbench.protocols.gzsl import GZSL
from zslbench.task import Answers


@st.composite
def judged(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return labels, candidate classes, which are unseen, and scores; both sides have images."""
    seen, unseen = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    count = draw(st.integers(2, 25))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    classes = rng.permutation(np.arange(3, 3 + seen + unseen))
    of_unseen = np.arange(seen + unseen) >= seen
    labels = rng.choice(classes, count)
    labels[0], labels[1] = classes[0], classes[-1]
    scores = rng.integers(0, 4, (count, seen + unseen)).astype(float)  # few values: many ties
    return labels, classes, of_unseen, scores


def naive_point(labels, classes, of_unseen, scores, gamma):
    """Predict row by row, then average class by class: U and S by the definition."""
    hits: dict[int, list[bool]] = {}
    for label, row in zip(labels, scores, strict=True):
        by_class = sorted(zip(classes, of_unseen, row, strict=True))
        seen = max((s, -c) for c, u, s in by_class if not u)
        unseen = max((s, -c) for c, u, s in by_class if u)
        guess = -seen[1] if seen[0] - gamma >= unseen[0] else -unseen[1]
        hits.setdefault(int(label), []).append(guess == label)
    accuracy = {c: sum(h) / len(h) for c, h in hits.items()}
    sides = {
        bool(u): [accuracy[c] for c, v in zip(classes, of_unseen, strict=True) if v == u and c in accuracy]
        for u in (True, False)
    }
    return np.mean(sides[True]), np.mean(sides[False])


@given(judged())
def test_stacking_and_its_area_match_a_loop(case):
    labels, classes, of_unseen, scores = case
    answers = Answers(labels, np.arange(len(labels)), classes, of_unseen)
    judgement = GZSL().judge(answers, scores)
    points = {gamma: naive_point(*case, gamma) for gamma in np.arange(-10.25, 10.5, 0.25)}
    for gamma in (-1.0, 0.0, 0.5, 2.0):
        measured = metrics.stacked_accuracies(judgement.predictions, gamma)
        assert (measured["U"], measured["S"]) == pytest.approx(points[gamma])
    area = sum((u2 - u1) * (s1 + s2) / 2 for (u1, s1), (u2, s2) in itertools.pairwise(points.values()))
    assert judgement.metrics["AUSUC"] == pytest.approx(area)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=40))
def test_per_class_top1_is_balanced_accuracy(pairs):
    labels, guess = (np.array(column) for column in zip(*pairs, strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of predictions outside the labels
        expected = balanced_accuracy_score(labels, guess)
    assert metrics.per_class_top1(labels, guess) == pytest.approx(expected)


@given(st.floats(0, 1), st.floats(0, 1))
def test_harmonic_mean_lies_between_zero_and_the_smaller_twice(u, s):
    h = metrics.harmonic_mean(u, s)
    assert 0 <= h <= 1
    assert min(u, s) - 1e-12 <= h <= max(u, s) + 1e-12 or h == 0
    if u > 1e-9 and s > 1e-9:
        assert h == pytest.approx(1 / ((1 / u + 1 / s) / 2))


def test_best_breaks_ties_by_class_id_and_handles_no_candidate():
    scores = np.array([[1.0, 1.0, 0.0]])
    classes = np.array([7, 4, 9])
    assert metrics.best_candidates(scores, classes, np.array([True, True, True]))[1].tolist() == [4]
    score, label = metrics.best_candidates(scores, classes, np.zeros(3, bool))
    assert label.tolist() == [-1]
    assert np.isneginf(score).all()
