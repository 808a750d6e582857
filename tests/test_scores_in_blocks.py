"""Scores of many rows: by blocks as at once, and without copies of all features or of all scores."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from zslbench import metrics
from zslbench.data import load_dataset
from zslbench.data.splits import build_train, split
from zslbench.methods import closed_form
from zslbench.methods.base import Context
from zslbench.registry import METHODS
from zslbench.task import Train

RNG = np.random.default_rng(11)
NAMES = ("eszsl", "sae", "ridge", "gfzsl", "prototype")


@pytest.fixture(scope="module")
def train() -> Train:
    digits = load_dataset("digits")
    return build_train(digits, split(digits))


@pytest.mark.parametrize("name", NAMES)
def test_scores_by_blocks_are_those_at_once(monkeypatch: pytest.MonkeyPatch, train: Train, name: str) -> None:
    method, table = METHODS.load(name)(preprocess="standard").fit(train, Context(0)), train.classes
    for rows in (1, 2, 63, 64, 65, 500):
        features = RNG.random((rows, 64)).astype(np.float32)
        with monkeypatch.context() as patch:
            whole = method.scores(features, table)
            patch.setattr(closed_form, "BLOCK", 64 * 64)
            np.testing.assert_allclose(method.scores(features, table), whole, rtol=1e-10, atol=1e-10)
        assert whole.shape == (rows, len(table))


@pytest.mark.parametrize("name", NAMES)
def test_scoring_copies_no_features_whole(monkeypatch: pytest.MonkeyPatch, train: Train, name: str) -> None:
    method, table = METHODS.load(name)(preprocess="standard").fit(train, Context(0)), train.classes
    features = RNG.random((50_000, 64)).astype(np.float32)
    monkeypatch.setattr(closed_form, "BLOCK", 1 << 16)
    scores = 8 * len(features) * len(table)
    tracemalloc.start()
    try:
        method.scores(features, table)
        assert tracemalloc.get_traced_memory()[1] < scores + 4 * 8 * closed_form.BLOCK < scores + 8 * features.size
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int64])
def test_the_best_of_blocks_is_that_of_a_loop(monkeypatch: pytest.MonkeyPatch, kind: type) -> None:
    monkeypatch.setattr(metrics, "_BLOCK", 20)
    scores = RNG.integers(0, 4, (23, 7)).astype(kind)  # many are equal: the lowest class id wins
    classes, among = RNG.permutation(30)[:7], np.array([1, 0, 1, 1, 0, 1, 1], dtype=bool)
    value, chosen = metrics.best_candidates(scores, classes, among)
    for row in range(23):
        top = max(scores[row, column] for column in range(7) if among[column])
        assert value[row] == top
        assert chosen[row] == min(
            classes[column] for column in range(7) if among[column] and scores[row, column] == top
        )
    assert value.dtype == np.float64


def test_the_best_copies_no_scores_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_BLOCK", 1 << 12)
    scores, among = RNG.random((5000, 50)), np.ones(50, dtype=bool)
    tracemalloc.start()
    try:
        metrics.best_candidates(scores, np.arange(50), among)
        assert tracemalloc.get_traced_memory()[1] < scores.nbytes / 4
    finally:
        tracemalloc.stop()
