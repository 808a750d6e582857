"""One epoch of ALE at CUB size (7,057 images, 2,048 features, 312 attributes, 150 classes), random data.

The loop handles an image at a time in NumPy, in the same precision: score, count violators, weigh them, add the image's
outer product to the batch's gradient. It is timed with the trainer's batches, so that both make the same updates, and
with an update an image, as the papers and public code do. Before anything is timed, both are held against each other on
a small problem, with equal batches of either size.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from zslbench.methods.ranking.descent import RankingDescent, span, weighted_ranks

IMAGES, FEATURES, ATTRIBUTES, CLASSES = 7057, 2048, 312, 150
BATCH, LR, MARGIN = 128, 0.1, 1.0
Problem = tuple[np.ndarray, np.ndarray, np.ndarray]


def problem(images: int, features: int, attributes: int, classes: int) -> Problem:
    """Unit-length float32 rows, labels, unit-length float32 class vectors."""
    rng = np.random.default_rng(0)
    x = np.maximum(rng.standard_normal((images, features), dtype=np.float32), 0)
    s = rng.random((classes, attributes), dtype=np.float32)
    return (
        x / np.linalg.norm(x, axis=1, keepdims=True),
        np.arange(images) % classes,
        s / np.linalg.norm(s, axis=1, keepdims=True),
    )


def trainer(x: np.ndarray, y: np.ndarray, s: np.ndarray) -> tuple[RankingDescent, np.ndarray]:
    """ALE's trainer at W = 0, and the basis that its coordinates refer to."""
    coordinates, basis = span(s.astype(np.float64))
    training = RankingDescent(
        torch.tensor(x),
        torch.tensor(y),
        torch.tensor(coordinates, dtype=torch.float32),
        torch.zeros(1, coordinates.shape[1], x.shape[1]),
        lambda excess, labels: weighted_ranks(excess),
        margin=MARGIN,
        lr=LR,
    )
    return training, basis


def loop(w: np.ndarray, x: np.ndarray, y: np.ndarray, s: np.ndarray, batch: int) -> np.ndarray:
    """One epoch of ALE on (d, a) `w`, an image at a time, its gradient added up over each batch."""
    beta = np.concatenate([[0], np.cumsum(1 / np.arange(1, len(s) + 1))]).astype(np.float32)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0)).numpy()
    for start in range(0, len(x), batch):
        gradient = np.zeros_like(w)
        for i in order[start : start + batch]:
            scores = s @ (x[i] @ w)
            excess = MARGIN + scores - scores[y[i]]
            excess[y[i]] = 0
            violators = np.flatnonzero(excess > 0)
            if len(violators):
                pull = (s[violators] - s[y[i]]).sum(axis=0) * (beta[len(violators)] / len(violators))
                gradient += np.outer(x[i], pull)
        w -= LR * gradient
    return w


@pytest.fixture(scope="module")
def cub() -> Problem:
    """The problem to time, once loop and trainer are seen to make the same W of a small one."""
    x, y, s = problem(300, 40, 24, 10)
    for batch in (BATCH, 1):
        training, basis = trainer(x, y, s)
        wanted = np.zeros((40, 24), dtype=np.float32)
        for _ in range(3):
            training.epoch(batch, torch.Generator().manual_seed(0))
            wanted = loop(wanted, x, y, s, batch)
        assert np.abs(wanted).max() > 0.1
        np.testing.assert_allclose(training.result[0].T.numpy() @ basis.T, wanted, atol=1e-4)
    return problem(IMAGES, FEATURES, ATTRIBUTES, CLASSES)


@pytest.mark.benchmark(group="an epoch of ALE at CUB size")
def test_mini_batches(benchmark: BenchmarkFixture, cub: Problem) -> None:
    """The trainer, batches of 128."""
    training, _ = trainer(*cub)
    benchmark.pedantic(training.epoch, (BATCH, torch.Generator().manual_seed(0)), rounds=5, warmup_rounds=1)


@pytest.mark.benchmark(group="an epoch of ALE at CUB size")
@pytest.mark.parametrize("batch", [BATCH, 1], ids=["the same updates", "an update an image"])
def test_loop_over_images(benchmark: BenchmarkFixture, cub: Problem, batch: int) -> None:
    """The loop, the whole epoch."""
    start = np.zeros((FEATURES, ATTRIBUTES), dtype=np.float32)
    benchmark.pedantic(loop, (start, *cub, batch), rounds=1)
