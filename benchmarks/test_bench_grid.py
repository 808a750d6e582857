"""Grids of closed forms against one plain solution, on random data: what sharing factorizations is worth.

In each group the ratio of the grid to the plain solution is the figure: it must stay below 2.
"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from pytest_benchmark.fixture import BenchmarkFixture

from zslbench.methods.base import Context
from zslbench.methods.closed_form.eszsl import ESZSL
from zslbench.methods.closed_form.sae import SAE
from zslbench.task import ClassTable, Train

FEATURES = 2048
EXPONENTS = range(-3, 4)
ESZSL_GROUP = "ESZSL at AWA2 size: 23,527 x 2,048, 85 attributes, 40 classes"
SAE_GROUP = "SAE at CUB size: 7,057 x 2,048, 312 attributes, 150 classes"


def random_train(images: int, attributes: int, classes: int) -> Train:
    rng = np.random.default_rng(0)
    features = np.maximum(rng.standard_normal((images, FEATURES), dtype=np.float32), 0)
    semantics = rng.random((classes, attributes), dtype=np.float32)
    return Train(features, np.arange(images) % classes, ClassTable(np.arange(classes), semantics))


@pytest.fixture(scope="module")
def awa2() -> Train:
    return random_train(23_527, 85, 40)


@pytest.fixture(scope="module")
def cub() -> Train:
    return random_train(7_057, 312, 150)


def plain_eszsl(train: Train, gamma: float, lam: float) -> np.ndarray:
    """The formula as it stands, by two Cholesky solutions."""
    x, s = train.features.astype(np.float64), train.classes.semantics.astype(np.float64)
    y = np.where(train.labels[:, None] == train.classes.ids, 1.0, -1.0)
    left = scipy.linalg.solve(x.T @ x + gamma * np.eye(x.shape[1]), x.T @ y @ s, assume_a="pos")
    return scipy.linalg.solve(s.T @ s + lam * np.eye(s.shape[1]), left.T, assume_a="pos").T


def sylvester(train: Train, lam: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, s = train.features.astype(np.float64).T, train.classes.semantics[train.labels].astype(np.float64).T
    return s @ s.T, lam * (x @ x.T), (1 + lam) * (s @ x.T)


def eszsl_grid(train: Train) -> int:
    points = [ESZSL(gamma=10.0**g, lam=10.0**m) for g in EXPONENTS for m in EXPONENTS]
    return sum(1 for _ in ESZSL.fit_grid(points, train, Context()))


def sae_grid(train: Train) -> int:
    points = [SAE(lam=float(lam), preprocess="none") for lam in np.logspace(-3, 3, 10)]
    return sum(1 for _ in SAE.fit_grid(points, train, Context()))


@pytest.mark.benchmark(group=ESZSL_GROUP)
def test_eszsl_one_plain_solution(benchmark: BenchmarkFixture, awa2: Train) -> None:
    benchmark.pedantic(plain_eszsl, (awa2, 1e3, 1.0), rounds=3, warmup_rounds=1)


@pytest.mark.benchmark(group=ESZSL_GROUP)
def test_eszsl_one_fit(benchmark: BenchmarkFixture, awa2: Train) -> None:
    benchmark.pedantic(lambda: ESZSL().fit(awa2, Context()), rounds=3, warmup_rounds=1)


@pytest.mark.benchmark(group=ESZSL_GROUP)
def test_eszsl_grid_of_49(benchmark: BenchmarkFixture, awa2: Train) -> None:
    assert benchmark.pedantic(eszsl_grid, (awa2,), rounds=3, warmup_rounds=1) == 49


@pytest.mark.benchmark(group=SAE_GROUP)
def test_sae_one_solve_sylvester(benchmark: BenchmarkFixture, cub: Train) -> None:
    """The solver alone: the products that make up the equation are not counted here, and are in the grid's time."""
    benchmark.pedantic(scipy.linalg.solve_sylvester, sylvester(cub, 0.2), rounds=1)


@pytest.mark.benchmark(group=SAE_GROUP)
def test_sae_one_fit(benchmark: BenchmarkFixture, cub: Train) -> None:
    benchmark.pedantic(lambda: SAE(preprocess="none").fit(cub, Context()), rounds=3, warmup_rounds=1)


@pytest.mark.benchmark(group=SAE_GROUP)
def test_sae_grid_of_10(benchmark: BenchmarkFixture, cub: Train) -> None:
    assert benchmark.pedantic(sae_grid, (cub,), rounds=3, warmup_rounds=1) == 10
