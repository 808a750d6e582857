"""One critic step and one generator step of LisGAN as the paper has it, at the shapes of CUB and SUN, on the CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from zslbench.methods.base import Context
from zslbench.methods.generative import regularisers
from zslbench.methods.generative.lisgan import LisGAN
from zslbench.methods.generative.training import GanTraining
from zslbench.task import ClassTable, Train

FEATURES = 2048
SHAPES = {"cub": (7057, 312, 150), "sun": (10320, 102, 645)}
"""Training images, attributes, seen classes."""


@pytest.fixture(scope="module", params=SHAPES)
def training(request: pytest.FixtureRequest) -> GanTraining:
    """LisGAN's training on random data, caught before its first step."""
    images, attributes, classes = SHAPES[request.param]
    rng = np.random.default_rng(0)
    table = ClassTable(np.arange(classes), rng.random((classes, attributes), dtype=np.float32))
    train = Train(rng.random((images, FEATURES), dtype=np.float32), np.arange(images) % classes, table)
    caught: list[GanTraining] = []

    def catch(self: GanTraining, *_given: object, **_more: object) -> list[dict[str, float]]:
        caught.append(self)
        return [{}]

    def any_rows(features: np.ndarray, labels: np.ndarray, classes: int, k: int, seed: int) -> np.ndarray:
        """Stand in for k-means, which is not what is measured."""
        return features[np.argsort(labels, kind="stable")].repeat(k, axis=0)[: classes * k].reshape(classes, k, -1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GanTraining, "steps", catch)
        patch.setattr(regularisers, "soul_samples", any_rows)
        LisGAN(epochs=1).fit(train, Context())
    caught[0].generator.requires_grad_(True)  # fit freezes it in the end
    return caught[0]


@pytest.mark.benchmark(group="LisGAN steps")
def test_critic_step(benchmark: BenchmarkFixture, training: GanTraining) -> None:
    (batch, *_) = training.draw()
    benchmark.pedantic(training.critic_step, (batch,), rounds=10, warmup_rounds=1)


@pytest.mark.benchmark(group="LisGAN steps")
def test_generator_step(benchmark: BenchmarkFixture, training: GanTraining) -> None:
    labels = torch.arange(training.batch) % len(training.rows.semantics)
    benchmark.pedantic(training.generator_step, (labels,), rounds=2)
