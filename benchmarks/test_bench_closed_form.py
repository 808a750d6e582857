"""Fits of closed forms at CUB size (7,057 images, 2,048 features, 312 attributes, 150 classes), random data.

In the group of factorizations: what ESZSL and SAE do once for all strengths, and what else would do.
"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from pytest_benchmark.fixture import BenchmarkFixture

from zslbench.methods.base import Context, Method
from zslbench.methods.closed_form import ShiftedGram, class_moments
from zslbench.methods.closed_form.eszsl import ESZSL
from zslbench.methods.closed_form.gfzsl import GFZSL
from zslbench.methods.closed_form.prototype import Prototype
from zslbench.methods.closed_form.ridge import Ridge
from zslbench.methods.closed_form.sae import SAE
from zslbench.task import ClassTable, Train

IMAGES, FEATURES, ATTRIBUTES, CLASSES = 7057, 2048, 312, 150
METHODS = [ESZSL(preprocess="standard"), SAE(), Prototype(), Ridge(), GFZSL()]


@pytest.fixture(scope="module")
def train() -> Train:
    rng = np.random.default_rng(0)
    features = np.maximum(rng.standard_normal((IMAGES, FEATURES), dtype=np.float32), 0)
    semantics = rng.random((CLASSES, ATTRIBUTES), dtype=np.float32)
    return Train(features, np.arange(IMAGES) % CLASSES, ClassTable(np.arange(CLASSES), semantics))


@pytest.fixture(scope="module")
def moments(train: Train) -> tuple[np.ndarray, np.ndarray]:
    return class_moments(train.features, train.labels, CLASSES)


@pytest.mark.benchmark(group="fit at CUB size")
def test_gram_alone(benchmark: BenchmarkFixture, train: Train) -> None:
    """XᵀX in float64: the part of a fit that grows with the images."""
    wide = train.features.astype(np.float64)
    benchmark.pedantic(lambda: wide.T @ wide, rounds=3, warmup_rounds=1)


@pytest.mark.benchmark(group="fit at CUB size")
@pytest.mark.parametrize("method", METHODS, ids=[method.card.title for method in METHODS])
def test_fit(benchmark: BenchmarkFixture, train: Train, method: Method) -> None:
    benchmark.pedantic(method.fit, (train, Context()), rounds=3, warmup_rounds=1)


@pytest.mark.benchmark(group="factorization of 2,048 x 2,048, and a solution for 150 classes")
@pytest.mark.parametrize("how", ["tridiagonal", "eigh", "cholesky"])
def test_factorization(benchmark: BenchmarkFixture, moments: tuple[np.ndarray, np.ndarray], how: str) -> None:
    gram, right = moments[0], moments[1].T

    def solved() -> object:
        if how == "tridiagonal":
            return ShiftedGram.of(gram, IMAGES).solve(right, 1.0)
        if how == "eigh":
            values, vectors = np.linalg.eigh(gram)
            return vectors @ ((vectors.T @ right) / (values + 1.0)[:, None])
        return scipy.linalg.solve(gram + np.eye(FEATURES), right, assume_a="pos")

    benchmark.pedantic(solved, rounds=3, warmup_rounds=1)
