"""Latent maps and the losses that shape them, against plain loops in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from zslbench.methods.generative import latent
from zslbench.methods.generative.wgan import CriticBatch
from zslbench.methods.nn import random_stream

M, D, L, C = 9, 7, 4, 5


def numbers(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(*shape, generator=random_stream(seed), dtype=torch.float64)


def leaky(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 0.2 * x)


def test_maps_match_their_formulas() -> None:
    x = numbers(M, D)
    one = latent.LatentMap(D, L, random_stream(1)).double()
    two = latent.LatentMap(D, L, random_stream(2), hidden=6).double()
    unit = latent.UnitEmbedding(D, 6, L, random_stream(3)).double()
    for network in (one, two, unit):
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, generator=random_stream(4))
    w = {name: value.detach().numpy() for name, value in one.named_parameters()}
    halves = leaky(x.numpy() @ w["halves.weight"].T + w["halves.bias"])  # on both halves
    mean, deviation = (part.detach().numpy() for part in one(x))
    np.testing.assert_allclose(mean, halves[:, :L], rtol=1e-12)
    np.testing.assert_allclose(deviation, 1 / (1 + np.exp(-halves[:, L:])), rtol=1e-12)
    w = {name: value.detach().numpy() for name, value in two.named_parameters()}
    hidden = leaky(x.numpy() @ w["first.weight"].T + w["first.bias"])
    halves = hidden @ w["halves.weight"].T + w["halves.bias"]
    mean, deviation = (part.detach().numpy() for part in two(x))
    np.testing.assert_allclose(mean, halves[:, :L], rtol=1e-10)
    np.testing.assert_allclose(deviation, 1 / (1 + np.exp(-halves[:, L:])), rtol=1e-10)
    w = {name: value.detach().numpy() for name, value in unit.named_parameters()}
    hidden = np.maximum(x.numpy() @ w["first.weight"].T + w["first.bias"], 0)
    projected = hidden @ w["second.weight"].T + w["second.bias"]
    both = [part.detach().numpy() for part in unit(x)]
    np.testing.assert_allclose(both[0], hidden, rtol=1e-12)
    np.testing.assert_allclose(both[1], projected / np.linalg.norm(projected, axis=1, keepdims=True), rtol=1e-12)


def test_information_is_the_divergence_from_the_standard_normal() -> None:
    means, deviations = numbers(M, L), numbers(M, L, seed=1).sigmoid()
    ours = torch.distributions.Normal(means, deviations)
    wanted = torch.distributions.kl_divergence(ours, torch.distributions.Normal(0.0, 1.0)).sum(1).mean()
    assert latent.information(means, deviations).item() == pytest.approx(wanted.item(), rel=1e-6)  # 1e-8 beside σ²


def test_losses_of_the_latent_critic_and_their_gradients_match_autograd_row_by_row() -> None:
    critic = latent.LatentCritic(D, L, random_stream(1)).double()
    for parameter in critic.parameters():
        torch.nn.init.normal_(parameter, generator=random_stream(4))
    real, fake, noise = numbers(M, D, seed=5), numbers(M, D, seed=6), numbers(3, M, L, seed=7)
    mix, labels = torch.rand(M, 1, generator=random_stream(8), dtype=torch.float64), torch.zeros(M, dtype=torch.int64)
    batch = CriticBatch(real, fake, labels, numbers(M, 3), mix)
    weight, bias = critic.map.halves.weight, critic.map.halves.bias

    def gaussian(x: Tensor) -> tuple[Tensor, Tensor]:
        halves = torch.nn.functional.leaky_relu(weight @ x + bias, 0.2)
        return halves[:L], halves[L:].sigmoid()

    def value(x: Tensor, epsilon: Tensor) -> Tensor:
        mean, deviation = gaussian(x)
        return critic.value.weight[0] @ (mean + epsilon * deviation) + critic.value.bias[0]

    def by_rows() -> list[Tensor]:
        each: list[list[Tensor]] = [[], [], [], []]
        for i in range(M):
            between = (mix[i] * real[i] + (1 - mix[i]) * fake[i]).requires_grad_()
            (slope,) = torch.autograd.grad(value(between, noise[2, i]), between, create_graph=True)
            each[0].append(value(fake[i], noise[1, i]) - value(real[i], noise[0, i]))
            each[1].append((slope.norm() - 1) ** 2)
            each[2].append(value(real[i], noise[0, i]))
            for row in (real[i], fake[i]):
                mean, deviation = gaussian(row)
                ours = torch.distributions.Normal(mean, deviation)
                each[3].append(torch.distributions.kl_divergence(ours, torch.distributions.Normal(0.0, 1.0)).sum())
        wasserstein, penalty, drift, rate = (torch.stack(values).mean() for values in each)
        return [wasserstein, penalty, drift**2, rate]

    *parts, means = critic.losses(batch, noise)
    torch.testing.assert_close(means, torch.stack([gaussian(row)[0] for row in real]))
    for ours, wanted in zip(parts, by_rows(), strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-6, atol=0)  # 1e-8 beside σ²
        gradients = [
            torch.autograd.grad(loss, list(critic.parameters()), allow_unused=True, retain_graph=True)
            for loss in (ours, wanted)
        ]
        for mine, given in zip(*gradients, strict=True):
            mine, given = (torch.zeros(1) if part is None else part for part in (mine, given))
            torch.testing.assert_close(mine, given, rtol=1e-5, atol=1e-7, check_dtype=False)
    torch.testing.assert_close(critic(real, real)[3], value(real[3], torch.zeros(L)))


def contrast_by_loop(rows: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    each = []
    for i in range(len(rows)):
        positives = [p for p in range(len(rows)) if p != i and labels[p] == labels[i]]
        if positives:
            total = sum(math.exp(rows[i] @ rows[a] / temperature) for a in range(len(rows)) if a != i)
            logs = [math.log(math.exp(rows[i] @ rows[p] / temperature) / total) for p in positives]
            each.append(-sum(logs) / len(logs))
    return sum(each) / len(each) if each else 0.0


@pytest.mark.parametrize("labels", [[0, 0, 1, 2, 2, 2, 3, 0, 4], [0] * M, list(range(M)), [2]])
def test_supervised_contrast_matches_a_loop(labels: list[int]) -> None:
    rows, classes = torch.nn.functional.normalize(numbers(len(labels), L), dim=1), torch.tensor(labels)
    loss = latent.supervised_contrast(rows, classes, 0.3)
    assert loss.item() == pytest.approx(contrast_by_loop(rows.numpy(), classes.numpy(), 0.3), rel=1e-12)
    leaf = rows.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: latent.supervised_contrast(x, classes, 0.3), leaf)


def test_constant_rows_count_but_get_no_gradient() -> None:
    rows = torch.nn.functional.normalize(numbers(M, L), dim=1)
    fake, real = rows[:4].clone().requires_grad_(), rows[4:].clone().requires_grad_()
    labels = torch.tensor([0, 1, 2, 1, 0, 1, 1, 3, 3])
    loss = latent.supervised_contrast(fake, labels[:4], 0.1, (real, labels[4:]))
    assert loss.item() == pytest.approx(contrast_by_loop(rows.numpy(), labels.numpy(), 0.1), rel=1e-12)
    loss.backward()  # type: ignore[no-untyped-call]
    assert real.grad is None
    assert fake.grad is not None
    whole = rows.clone().requires_grad_()
    latent.supervised_contrast(whole, labels, 0.1).backward()  # type: ignore[no-untyped-call]
    assert whole.grad is not None
    torch.testing.assert_close(fake.grad, whole.grad[:4])


@pytest.mark.parametrize("share", [None, 0.8])
def test_centre_loss_matches_a_loop(share: float | None) -> None:
    labels, centres = torch.arange(M) % C, numbers(C, L, seed=1, scale=2.0)
    rows = centres[labels] + numbers(M, L)
    own, other = (1.0, 1.0) if share is None else (share, 1 - share)

    zeros: list[int] = []

    def by_loop(others: list[int]) -> float:
        x, c = rows.numpy(), centres.numpy()
        near = [((x[i] - c[labels[i]]) ** 2).sum() for i in range(M)]
        away = [((x[i] - c[others[i]]) ** 2).sum() for i in range(M)]
        each = [max(0.0, 2.0 + own * n - other * a) for n, a in zip(near, away, strict=True)]
        zeros.append(sum(value == 0 for value in each))
        return float(np.mean(each))

    nearest = []
    for i in range(M):
        away = {k: float(((rows[i] - centres[k]) ** 2).sum()) for k in range(C) if k != labels[i]}
        nearest.append(min(away, key=away.__getitem__))
    others = latent.nearest_other_centres(rows, labels, centres)
    assert others.tolist() == nearest
    drawn = torch.randint(C, (M,), generator=random_stream(3))
    for picked in (others, drawn):
        loss = latent.centre_loss(rows, labels, centres, picked, margin=2.0, share=share)
        assert loss.item() == pytest.approx(by_loop(picked.tolist()), rel=1e-12)
    leaves = rows.clone().requires_grad_(), centres.clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, c: latent.centre_loss(x, labels, c, others, margin=2.0, share=share), leaves
    )
    assert 0 < sum(zeros) < 2 * M  # both sides of the hinge


def test_a_row_drawn_against_its_own_class_costs_the_margin() -> None:
    rows, centres, labels = numbers(M, L, scale=10.0), numbers(C, L, seed=1), torch.arange(M) % C
    assert latent.centre_loss(rows, labels, centres, labels, margin=2.0).item() == 2.0
