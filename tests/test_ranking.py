"""Ranking losses against loops over images and classes in float64, and their gradients against autograd."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from zslbench.methods.ranking import descent
from zslbench.methods.ranking.descent import Ranking

NAMES = ("every", "worst", "first", "random", "warp", "sampled")


def beta(k: int) -> float:
    return sum(1 / i for i in range(1, k + 1))


def naive(name: str, scores: np.ndarray, label: int, margin: float, keys: np.ndarray) -> float:
    """The loss of one image by its definition; `keys` give the order in which classes are drawn."""
    wrong = [c for c in range(len(scores)) if c != label]
    hinge = {c: max(0.0, margin + scores[c] - scores[label]) for c in wrong}
    violators = [c for c in wrong if hinge[c] > 0]
    drawn = sorted(wrong, key=lambda c: -keys[c])
    if name == "sampled":  # WARP: draws with replacement, as many as there are wrong classes at most
        for draws, key in enumerate(keys[: len(wrong)], start=1):
            c = wrong[int(key * len(wrong))]
            if c in violators:
                return hinge[c] * beta(len(wrong) // draws)
        return 0.0
    if not violators:
        return 0.0
    if name == "every":
        return sum(hinge.values())
    if name == "worst":
        return max(hinge.values())
    if name == "random":
        return hinge[drawn[0]]
    if name == "warp":
        r = len(violators)
        return beta(r) / r * sum(hinge.values())
    return next(hinge[c] for c in drawn if c in violators)


def ranked(name: str, scores: Tensor, labels: Tensor, margin: float, keys: Tensor) -> Ranking:
    weigh: dict[str, Callable[[Tensor], Tensor]] = {
        "every": descent.every_violator,
        "worst": descent.worst_violator,
        "first": lambda excess: descent.first_violator(excess, keys),
        "random": lambda excess: descent.random_class(excess, labels, keys),
        "warp": descent.weighted_ranks,
        "sampled": lambda excess: descent.sampled_ranks(excess, labels, keys),
    }
    excess = descent.excess(scores, labels, margin)
    return Ranking.of(excess, labels, weigh[name](excess).detach())


def batch(rows: int, classes: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    stream = torch.Generator().manual_seed(seed)
    scores = torch.randn(rows, classes, generator=stream, dtype=torch.float64)
    labels = torch.randint(classes, (rows,), generator=stream)
    return scores, labels, torch.rand(rows, classes, generator=stream, dtype=torch.float64)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(1, 12), st.sampled_from([0.0, 0.1, 1.0, 30.0]), st.integers(0, 2**32))
def test_losses_are_those_of_a_loop(name: str, rows: int, classes: int, margin: float, seed: int) -> None:
    scores, labels, keys = batch(rows, classes, seed)
    found = ranked(name, scores, labels, margin, keys).losses.numpy()
    wanted = [naive(name, scores[i].numpy(), int(labels[i]), margin, keys[i].numpy()) for i in range(rows)]
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("margin", [0.1, 1.0, 30.0])
def test_gradients_are_those_of_autograd_and_of_finite_differences(name: str, margin: float) -> None:
    scores, labels, keys = batch(7, 9, seed=3)
    scores.requires_grad_(True)
    found = ranked(name, scores, labels, margin, keys)
    (wanted,) = torch.autograd.grad(found.losses.sum(), scores)
    torch.testing.assert_close(found.gradient.detach(), wanted)
    assert (wanted != 0).any()
    step = 1e-6
    for i, c in ((0, 0), (2, 5), (4, int(labels[4])), (6, 8)):
        moved = scores.detach().numpy().repeat(2, axis=0).reshape(7, 2, 9)
        moved[i, :, c] += [step, -step]
        up, down = (naive(name, moved[i, s], int(labels[i]), margin, keys[i].numpy()) for s in (0, 1))
        assert (up - down) / (2 * step) == pytest.approx(float(found.gradient[i, c]), abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 12), st.floats(0.01, 5.0), st.integers(0, 2**32))
def test_worst_is_at_most_warp_is_at_most_every(classes: int, margin: float, seed: int) -> None:
    """The worst violation ≤ the sum over all (SJE ≤ DeViSE); β_r/r ≤ 1, so is WARP's."""
    scores, labels, keys = batch(8, classes, seed)
    loss = {name: ranked(name, scores, labels, margin, keys).losses for name in NAMES}
    tiny = 1e-12
    assert (loss["worst"] <= loss["every"] + tiny).all()
    assert (loss["warp"] <= loss["every"] + tiny).all()
    assert (loss["first"] <= loss["worst"] + tiny).all()
    assert (loss["random"] <= loss["worst"] + tiny).all()
    assert (loss["sampled"] <= beta(classes - 1) * loss["worst"] + tiny).all()
    some = loss["every"] > 0
    for name in ("worst", "warp", "first"):
        assert ((loss[name] > 0) == some).all()
    assert not (loss["sampled"] > 0)[~some].any()


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(NAMES), st.floats(0.1, 10.0), st.floats(-5, 5), st.integers(0, 2**32))
def test_losses_scale_with_scores_and_margin_and_ignore_a_shift(
    name: str, factor: float, shift: float, seed: int
) -> None:
    scores, labels, keys = batch(5, 8, seed)
    plain = ranked(name, scores, labels, 1.0, keys)
    scaled = ranked(name, factor * scores + shift, labels, factor, keys)
    torch.testing.assert_close(scaled.losses, factor * plain.losses, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(plain.gradient.sum(dim=1), torch.zeros(5, dtype=torch.float64))


def test_a_ranked_batch_without_violation_teaches_nothing() -> None:
    labels = torch.tensor([0, 2])
    scores = torch.tensor([[5.0, 1.0, 0.0], [0.0, 0.5, 5.0]])
    keys = torch.rand(2, 3, generator=torch.Generator().manual_seed(0))
    for name in NAMES:
        found = ranked(name, scores, labels, 1.0, keys)
        assert (found.losses == 0).all()
        assert (found.gradient == 0).all()


def test_harmonic_numbers() -> None:
    found = descent.harmonic_numbers(200, torch.float64, torch.device("cpu"))
    np.testing.assert_allclose(found, [beta(k) for k in range(200)], rtol=1e-12)
    single = descent.harmonic_numbers(717, torch.float32, torch.device("cpu"))
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single, [beta(k) for k in range(717)], rtol=2e-7)


def test_drawn_classes_are_uniform_among_those_allowed() -> None:
    """χ² of 20,000 draws over five violators (first) and seven wrong classes (random) below its 99.99 % quantile."""
    rows = 20_000
    scores = torch.tensor([0.0, 1, 1, 1, 1, 1, -5, -5]).repeat(rows, 1)
    labels = torch.zeros(rows, dtype=torch.int64)
    keys = torch.rand(rows, 8, generator=torch.Generator().manual_seed(1))
    excess = descent.excess(scores, labels, 0.5)
    first = descent.first_violator(excess, keys).sum(dim=0)
    assert first[[0, 6, 7]].sum() == 0
    assert float(((first[1:6] - rows / 5) ** 2 / (rows / 5)).sum()) < 23.5
    drawn = descent.random_class(excess, labels, keys).sum(dim=0)
    assert drawn[[0, 6, 7]].sum() == 0  # drawn, too, but they violate nothing
    assert float(((drawn[1:6] - rows / 7) ** 2 / (rows / 7)).sum()) < 23.5


def test_sampled_ranks_follow_the_geometric_law_of_draws_with_replacement() -> None:
    """χ² over the draw k at which one of 2 violators among 7 wrong classes turns up, and over none in 7 draws."""
    rows, p = 50_000, 2 / 7
    scores = torch.tensor([0.0, 1, 1, -5, -5, -5, -5, -5], dtype=torch.float64).repeat(rows, 1)
    keys = torch.rand(rows, 8, generator=torch.Generator().manual_seed(2))
    labels = torch.zeros(rows, dtype=torch.int64)
    weights = descent.sampled_ranks(descent.excess(scores, labels, 0.5), labels, keys)
    assert weights[:, [0, 3, 4, 5, 6, 7]].sum() == 0
    expected = {7 // k: 0.0 for k in range(1, 8)}
    for k in range(1, 8):
        expected[7 // k] += rows * p * (1 - p) ** (k - 1)
    expected[0] = rows * (1 - p) ** 7
    found = {r: int((weights.sum(dim=1) - beta(r)).abs().lt(1e-6).sum()) for r in expected}
    assert sum(found.values()) == rows
    assert sum((found[r] - wanted) ** 2 / wanted for r, wanted in expected.items()) < 23.5
    assert abs(int((weights[:, 1] > 0).sum()) - int((weights[:, 2] > 0).sum())) < 4 * rows**0.5
