"""Results kept by content: one computation for equal inputs, another for any change, and no end of memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from gan_data import problem

from zslbench.methods import fit_cache as module
from zslbench.methods.base import Context
from zslbench.methods.fit_cache import MOST, cache_result, clear_cache, reuse_once
from zslbench.methods.generative import regularisers
from zslbench.methods.generative.final_classifiers import train_softmax
from zslbench.methods.generative.lisgan import LisGAN
from zslbench.methods.generative.wgan import CHUNK_ROWS, Generator
from zslbench.methods.nn import random_stream


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    clear_cache()
    yield
    clear_cache()


def test_equal_content_is_computed_once_and_any_change_again() -> None:
    made: list[int] = []

    def ask(what: str = "sum", number: float = 1.0, seed: int = 0, count: int = 3) -> int:
        arrays = {"x": np.full(count, number, dtype=np.float32)}
        return cache_result(lambda: made.append(1) or len(made), what, arrays, Context(), seed=seed)  # type: ignore[func-returns-value]

    first = ask()
    assert [ask(), ask()] == [first, first]
    changed = [ask("mean"), ask(number=2.0), ask(seed=1), ask(count=4)]
    assert len({first, *changed}) == 5
    assert ask() == first


def test_the_one_used_longest_ago_is_dropped() -> None:
    for seed in range(MOST + 3):
        cache_result(lambda: object(), "thing", {}, Context(), seed=seed)
        cache_result(lambda: object(), "thing", {}, Context(), seed=0)  # used again and again: it stays
    assert len(module._kept) == MOST
    kept = cache_result(lambda: "anew", "thing", {}, Context(), seed=0)
    assert kept != "anew"
    assert cache_result(lambda: "anew", "thing", {}, Context(), seed=1) == "anew"


def test_settings_of_an_ablation_share_souls_and_classifier(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    real = regularisers.soul_samples

    def spied(*args: object, **given: object) -> object:
        calls.append(1)
        return real(*args, **given)  # type: ignore[arg-type]

    monkeypatch.setattr(regularisers, "soul_samples", spied)
    train, _, query = problem()
    small = {"hidden": 8, "epochs": 1, "pretrain_epochs": 1, "final_epochs": 1, "per_class": 3, "soul_rows": 2}
    found = [LisGAN(**small, l_r1=w).fit(train, Context(3)) for w in (0.1, 0.2)]
    assert len(calls) == 1
    LisGAN(**small).fit(train, Context(4))
    assert len(calls) == 2  # another seed, other clusters
    clear_cache()
    again = LisGAN(**small, l_r1=0.2).fit(train, Context(3))
    wanted = found[1].scores(query.features, query.classes)
    assert np.array_equal(again.scores(query.features, query.classes), wanted)


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


def test_synthesis_in_chunks_is_synthesis() -> None:
    rows = CHUNK_ROWS // 2 + 1  # one class a chunk
    generator = Generator(2, 3, 8, 4, random_stream(0)).requires_grad_(False)
    semantics = torch.rand(3, 3, generator=random_stream(1))
    found = generator.synthesise(semantics, rows, random_stream(2))
    stream = random_stream(2)
    for at in range(3):
        noise = torch.randn(1, rows, 2, generator=stream)
        torch.testing.assert_close(found[at], generator(noise, semantics[at : at + 1, None, :])[0])


def test_a_result_is_given_once_more_and_no_oftener() -> None:
    """Scoring a few rows again costs no second classifier, and no later run rides on it."""
    made: list[int] = []

    def make() -> int:
        made.append(len(made))
        return made[-1]

    def ask(value: float) -> int:
        return reuse_once(make, "what", {"array": np.full(3, value)}, seed=1)

    assert [ask(0.0), ask(0.0), ask(0.0), ask(0.0)] == [0, 0, 1, 1]
    assert [ask(0.0), ask(1.0), ask(0.0)] == [2, 3, 4]
