"""Results kept by content: one computation for equal inputs, another for any change, and no end of memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from unittest.mock import Mock

import numpy as np
import pytest
from gan_data import problem

from zslbench.methods import fit_cache
from zslbench.methods.base import Context
from zslbench.methods.fit_cache import MOST, cache_result, clear_cache, reuse_once
from zslbench.methods.generative import regularisers
from zslbench.methods.generative.lisgan import LisGAN


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    clear_cache()
    yield
    clear_cache()


def test_equal_content_is_computed_once_and_any_change_again() -> None:
    numbers = itertools.count()

    def ask(name: str = "sum", number: float = 1.0, seed: int = 0, count: int = 3) -> int:
        arrays = {"x": np.full(count, number, dtype=np.float32)}
        return cache_result(lambda: next(numbers), name, arrays, Context(), seed=seed)

    assert [ask(), ask(), ask("mean"), ask(number=2.0), ask(seed=1), ask(count=4), ask()] == [0, 0, 1, 2, 3, 4, 0]


def test_the_one_used_longest_ago_is_dropped() -> None:
    for seed in range(MOST + 3):
        cache_result(lambda: object(), "thing", {}, Context(), seed=seed)
        cache_result(lambda: object(), "thing", {}, Context(), seed=0)  # used again and again: it stays
    assert len(fit_cache._kept) == MOST
    assert cache_result(lambda: "anew", "thing", {}, Context(), seed=0) != "anew"
    assert cache_result(lambda: "anew", "thing", {}, Context(), seed=1) == "anew"


def test_a_result_is_given_once_more_and_no_oftener() -> None:
    """Scoring a few rows again costs no second classifier, and no later run rides on it."""
    numbers = itertools.count()

    def ask(value: float) -> int:
        return reuse_once(lambda: next(numbers), "name", {"array": np.full(3, value)}, seed=1)

    assert [ask(0.0), ask(0.0), ask(0.0), ask(0.0)] == [0, 0, 1, 1]
    assert [ask(0.0), ask(1.0), ask(0.0)] == [2, 3, 4]


def test_settings_of_an_ablation_share_souls_and_classifier(monkeypatch: pytest.MonkeyPatch) -> None:
    spied = Mock(wraps=regularisers.soul_samples)
    monkeypatch.setattr(regularisers, "soul_samples", spied)
    train, _, query = problem()
    small = {"hidden": 8, "epochs": 1, "pretrain_epochs": 1, "final_epochs": 1, "per_class": 3, "soul_rows": 2}
    _, second = (LisGAN(**small, l_r1=weight).fit(train, Context(3)) for weight in (0.1, 0.2))
    assert spied.call_count == 1
    LisGAN(**small).fit(train, Context(4))
    assert spied.call_count == 2  # another seed, other clusters
    clear_cache()
    again = LisGAN(**small, l_r1=0.2).fit(train, Context(3))
    assert np.array_equal(*(method.scores(query.features, query.classes) for method in (second, again)))
