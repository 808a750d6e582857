"""Judging 50,000 rows against 717 candidates (SUN's classes), beside one bare argmax over the same scores."""

from __future__ import annotations

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from zslbench.protocols.gzsl import GZSL
from zslbench.protocols.zsl import ZSL
from zslbench.task import Answers

ROWS, CLASSES, UNSEEN = 50_000, 717, 72


@pytest.fixture(scope="module")
def asked() -> tuple[Answers, np.ndarray]:
    """Answers and random float32 scores."""
    rng = np.random.default_rng(0)
    classes = rng.permutation(CLASSES)
    labels = rng.integers(0, CLASSES, ROWS)
    answers = Answers(labels=labels, rows=rng.permutation(ROWS), classes=classes, unseen=classes < UNSEEN)
    return answers, rng.standard_normal((ROWS, CLASSES), dtype=np.float32)


@pytest.mark.benchmark(group="metrics, 50,000 x 717")
def test_bare_argmax(benchmark: BenchmarkFixture, asked: tuple[Answers, np.ndarray]) -> None:
    benchmark.pedantic(lambda: asked[1].argmax(axis=1), rounds=5, warmup_rounds=1)


@pytest.mark.benchmark(group="metrics, 50,000 x 717")
@pytest.mark.parametrize("protocol", [ZSL(), GZSL()], ids=["zsl", "gzsl"])
def test_judge(benchmark: BenchmarkFixture, asked: tuple[Answers, np.ndarray], protocol: ZSL | GZSL) -> None:
    benchmark.pedantic(protocol.judge, asked, rounds=5, warmup_rounds=1)


@pytest.mark.benchmark(group="metrics, 50,000 x 717")
def test_metrics_of_kept_predictions(benchmark: BenchmarkFixture, asked: tuple[Answers, np.ndarray]) -> None:
    kept = GZSL().judge(*asked).predictions
    benchmark.pedantic(GZSL().metrics, (kept,), rounds=5, warmup_rounds=1)
