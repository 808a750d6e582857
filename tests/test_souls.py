"""Soul samples and both regularisers against plain float64 loops written from the paper's equations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zslbench.methods.generative.regularisers import (
    cluster_fake_souls,
    l_r1,
    l_r2,
    l_r2_numbered,
    mean_fake_souls,
    soul_samples,
)


def squared(a: np.ndarray, b: np.ndarray) -> float:
    return float(sum((float(x) - float(y)) ** 2 for x, y in zip(a, b, strict=True)))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 4), st.integers(1, 9), st.integers(1, 5))
def test_l_r1_is_eq_5_and_l_r2_of_class_means_eq_6(seed: int, m: int, k: int, d: int, c: int) -> None:
    rng = np.random.default_rng(seed)
    fakes, labels, souls = rng.random((m, d)), rng.integers(c, size=m), rng.random((c, k, d))
    wanted = sum(min(squared(fakes[i], souls[labels[i], j]) for j in range(k)) / m for i in range(m))
    found = l_r1(torch.tensor(fakes), torch.tensor(labels), torch.tensor(souls))
    assert found.item() == pytest.approx(wanted, rel=1e-10)
    by_class = rng.random((c, m, d))
    means = [np.array([sum(by_class[label, i, axis] for i in range(m)) / m for axis in range(d)]) for label in range(c)]
    wanted = sum(min(squared(means[label], souls[label, j]) for j in range(k)) / c for label in range(c))
    for distance in (l_r2, l_r2_numbered):  # a single fake soul has every number
        found = distance(*mean_fake_souls(torch.tensor(by_class)), torch.tensor(souls))
        assert found.item() == pytest.approx(wanted, rel=1e-10)


def first_centres(points: np.ndarray, draws: np.ndarray) -> list[np.ndarray]:
    """k-means++ of one class: the first point, then points drawn by their squared distance to the nearest centre."""
    centres = [points[0]]
    for draw in draws:
        away = [min(squared(point, centre) for centre in centres) for point in points]
        left, at = draw * sum(away) - away[0], 0
        while left >= 0 and at + 1 < len(points):
            at += 1
            left -= away[at]
        centres.append(points[at])
    return centres


def lloyd(points: np.ndarray, centres: list[np.ndarray], steps: int = 10) -> list[np.ndarray | None]:
    """One class, one point at a time: the means of its clusters (Eq. 4), None where a cluster is empty."""
    members: list[list[int]] = []
    for _ in range(steps + 1):
        members = [[] for _ in centres]
        for i, point in enumerate(points):
            members[int(np.argmin([squared(point, centre) for centre in centres]))].append(i)
        means = [sum(points[i] for i in member) / len(member) if member else None for member in members]
        centres = [old if mean is None else mean for old, mean in zip(centres, means, strict=True)]
    return means


@pytest.mark.parametrize("seed", range(8))
def test_l_r2_of_clusters_is_eq_4_and_6(seed: int) -> None:
    rng = np.random.default_rng(seed)
    c, r, k, d = 5, 9, 3, 4
    fakes, souls, draws = rng.random((c, r, d)), rng.random((c, k, d)), rng.random((c, k - 1))
    fakes[1:3, 1:] = fakes[1:3, :1]  # copies of one fake fill one cluster
    nearest, numbered = 0.0, 0.0
    counts = []
    for label in range(c):
        means = lloyd(fakes[label], first_centres(fakes[label], draws[label]))
        there = [(j, mean) for j, mean in enumerate(means) if mean is not None]
        nearest += np.mean([min(squared(mean, souls[label, j]) for j in range(k)) for _, mean in there]) / c
        numbered += min(squared(mean, souls[label, j]) for j, mean in there) / c
        counts.append(len(there))
    found, filled = cluster_fake_souls(torch.tensor(fakes), torch.tensor(draws))
    assert filled.sum(1).tolist() == counts
    assert counts[1:3] == [1, 1]
    assert l_r2(found, filled, torch.tensor(souls)).item() == pytest.approx(nearest, rel=1e-9)
    assert l_r2_numbered(found, filled, torch.tensor(souls)).item() == pytest.approx(numbered, rel=1e-9)


@pytest.mark.parametrize("distance", [0.0, 5.0, 500.0])
def test_every_cluster_is_filled_wherever_the_fakes_are(distance: float) -> None:
    """Started from real souls that lie elsewhere, most clusters would stay empty."""
    stream = torch.Generator().manual_seed(0)
    fakes = distance + torch.rand(50, 20, 30, generator=stream)
    _, filled = cluster_fake_souls(fakes, torch.rand(50, 2, generator=stream))
    assert filled.all()


def test_gradients_reach_the_fakes_by_finite_differences() -> None:
    stream = torch.Generator().manual_seed(0)
    fakes = torch.rand(3, 6, 4, generator=stream, dtype=torch.float64, requires_grad=True)
    souls = torch.rand(3, 2, 4, generator=stream, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 1, 0, 2])
    assert torch.autograd.gradcheck(lambda x: l_r2(*mean_fake_souls(x), souls), fakes)
    draws = torch.rand(3, 1, generator=stream, dtype=torch.float64)
    for distance in (l_r2, l_r2_numbered):
        assert torch.autograd.gradcheck(lambda x, far=distance: far(*cluster_fake_souls(x, draws), souls), fakes)
    assert torch.autograd.gradcheck(lambda x: l_r1(x, labels, souls), fakes[0].detach().requires_grad_())


def test_souls_are_cluster_means() -> None:
    """Well-separated clusters are found, and their souls are their means (Eq. 3)."""
    rng = np.random.default_rng(0)
    centres = rng.permutation(12).reshape(4, 3)[:, :, None] * np.full(6, 10.0)
    labels = np.repeat(np.arange(4), 30)
    member = np.tile(np.arange(3), 40)
    features = (centres[labels, member] + rng.random((120, 6))).astype(np.float32)
    souls = soul_samples(features, labels, 4, 3, seed=0)
    for label in range(4):
        wanted = [features[(labels == label) & (member == j)].astype(np.float64).mean(axis=0) for j in range(3)]
        found = souls[label][np.argsort(souls[label, :, 0])]
        np.testing.assert_allclose(found, sorted(wanted, key=lambda mean: mean[0]), rtol=1e-6)


def test_one_soul_is_the_class_mean() -> None:
    rng = np.random.default_rng(0)
    features, labels = rng.random((30, 5)).astype(np.float32), np.arange(30) % 3
    souls = soul_samples(features, labels, 3, 1, seed=0)
    for label in range(3):
        np.testing.assert_allclose(souls[label, 0], features[labels == label].mean(axis=0), rtol=1e-6)


def test_small_classes_repeat_their_souls() -> None:
    rows = np.array([[0.0, 1.0], [4.0, 4.0], [9.0, 9.0], [9.0, 9.0], [9.0, 9.0]], dtype=np.float32)
    souls = soul_samples(rows, np.array([0, 0, 1, 1, 1]), 2, 4, seed=0)
    assert souls.shape == (2, 4, 2)
    assert {tuple(soul) for soul in souls[0]} == {(0.0, 1.0), (4.0, 4.0)}
    assert {tuple(soul) for soul in souls[1]} == {(9.0, 9.0)}
