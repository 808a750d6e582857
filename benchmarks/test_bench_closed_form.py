"""ESZSL and SAE at CUB size (7,057 images, 2,048 features, 312 attributes, 150 classes), random data."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from pytest_benchmark.fixture import BenchmarkFixture

from zslbench.methods.base import Context, Method
from zslbench.methods.eszsl import ESZSL
from zslbench.methods.moments import Moments
from zslbench.methods.sae import SAE, symmetric_sylvester
from zslbench.task import ClassTable, Train

IMAGES, FEATURES, ATTRIBUTES, CLASSES = 7057, 2048, 312, 150


@pytest.fixture(scope="module")
def train() -> Train:
    rng = np.random.default_rng(0)
    features = np.maximum(rng.standard_normal((IMAGES, FEATURES), dtype=np.float32), 0)
    semantics = rng.random((CLASSES, ATTRIBUTES), dtype=np.float32)
    return Train(features, np.arange(IMAGES) % CLASSES, ClassTable(np.arange(CLASSES), semantics))


@pytest.mark.benchmark(group="fit at CUB size")
def test_gram_alone(benchmark: BenchmarkFixture, train: Train) -> None:
    """XᵀX in float64: the part of either fit that grows with the images."""
    wide = train.features.astype(np.float64)
    benchmark.pedantic(lambda: wide.T @ wide, rounds=3, warmup_rounds=1)


@pytest.mark.benchmark(group="fit at CUB size")
@pytest.mark.parametrize("method", [ESZSL(preprocess="standard"), SAE()], ids=["eszsl", "sae"])
def test_fit(benchmark: BenchmarkFixture, train: Train, method: Method) -> None:
    benchmark.pedantic(method.fit, (train, Context()), rounds=3)


@pytest.mark.benchmark(group="Sylvester equation, 312 x 2,048")
@pytest.mark.parametrize("solver", [symmetric_sylvester, scipy.linalg.solve_sylvester], ids=["two eigh", "scipy"])
def test_sylvester(benchmark: BenchmarkFixture, train: Train, solver: object) -> None:
    moments = Moments.of(train.features, train.labels, CLASSES)
    semantics = train.classes.semantics.astype(np.float64)
    a = (semantics.T * moments.counts) @ semantics
    benchmark.pedantic(solver, (a, 0.2 * moments.gram, 1.2 * semantics.T @ moments.sums), rounds=1)
