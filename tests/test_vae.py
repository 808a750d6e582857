"""Blocks of variational autoencoders against plain float64 NumPy and closed forms."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from zslbench.methods.generative.vae import (
    GaussianEncoder,
    Perceptron,
    Posterior,
    draw_noise,
    warmed_up,
    xavier_linear,
)
from zslbench.methods.nn import linear, random_stream


def posterior(seed: int, rows: int = 5, latent: int = 3) -> Posterior:
    stream = random_stream(seed)
    return Posterior(*(torch.randn(rows, latent, generator=stream, dtype=torch.float64) for _ in range(2)))


def leaky(values: np.ndarray, slope: float) -> np.ndarray:
    return np.where(values > 0, values, slope * values)


@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_an_encoder_is_its_formula(slope: float) -> None:
    made = GaussianEncoder((7, 6, 5), 3, functools.partial(linear, stream=random_stream(1), std=0.7), slope).double()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, generator=random_stream(2))
    rows = torch.randn(4, 7, generator=random_stream(3), dtype=torch.float64)
    given = {name: value.detach().numpy() for name, value in made.named_parameters()}

    def apply(name: str, values: np.ndarray) -> np.ndarray:
        return values @ given[f"{name}.weight"].T + given[f"{name}.bias"]

    hidden = leaky(apply("body.layers.1", leaky(apply("body.layers.0", rows.numpy()), slope)), slope)
    mean, log_variance = made(rows)
    np.testing.assert_allclose(mean.detach(), apply("mean", hidden), rtol=1e-12)
    np.testing.assert_allclose(log_variance.detach(), apply("log_variance", hidden), rtol=1e-12)


def test_a_perceptron_ends_without_activation() -> None:
    made = Perceptron((2, 3, 1), functools.partial(linear, stream=random_stream(0)))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.fill_(-1.0)
    assert made(torch.tensor([[-2.0, -3.0]])).tolist() == [[-13.0]]  # −3 · ReLU(5 − 1) − 1


@pytest.mark.parametrize("gain", [1.0, 0.5])
def test_xavier_layers_fill_their_range(gain: float) -> None:
    layer = xavier_linear(300, 200, random_stream(0), gain).requires_grad_(False)
    bound = gain * math.sqrt(6 / 500)
    assert layer.weight.abs().max() <= bound
    assert layer.weight.std() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    assert not layer.bias.any()


def test_divergence_is_the_integral() -> None:
    """The KL divergence of each dimension by quadrature, summed."""

    def integrand(z: float, mean: float, deviation: float) -> float:
        return norm.pdf(z, mean, deviation) * (norm.logpdf(z, mean, deviation) - norm.logpdf(z))

    given = posterior(0, rows=2)
    for row, value in enumerate(given.divergence().tolist()):
        pairs = zip(given.mean[row].tolist(), given.log_variance[row].exp().sqrt().tolist(), strict=True)
        parts = [quad(integrand, m - 12 * s, m + 12 * s, args=(m, s))[0] for m, s in pairs]
        assert value == pytest.approx(sum(parts), rel=1e-6)


def test_distance_is_that_of_wasserstein_for_commuting_covariances() -> None:
    first, second = posterior(1), posterior(2)
    for row, value in enumerate(first.distance(second).tolist()):
        deviations = [np.exp(each.log_variance[row].numpy() / 2) for each in (first, second)]
        bures = sum(s**2 + t**2 - 2 * s * t for s, t in zip(*deviations, strict=True))
        apart = ((first.mean[row] - second.mean[row]).numpy() ** 2).sum()
        assert value == pytest.approx(math.sqrt(apart + bures), rel=1e-12)


def test_distance_of_equal_posteriors_has_a_finite_gradient() -> None:
    mean = torch.ones(2, 3, requires_grad=True)
    log_variance = torch.zeros(2, 3, requires_grad=True)
    Posterior(mean, log_variance).distance(Posterior(torch.ones(2, 3), torch.zeros(2, 3))).sum().backward()
    assert mean.grad is not None
    assert log_variance.grad is not None
    assert not mean.grad.any()
    assert not log_variance.grad.any()


@pytest.mark.parametrize(("std_mode", "power"), [("logvar_half", 0.5), ("logvar", 1.0)])
def test_draws_spread_as_their_mode_says(std_mode: str, power: float) -> None:
    given, noise = posterior(3), torch.randn(5, 3, generator=random_stream(4), dtype=torch.float64)
    wanted = given.mean.numpy() + np.exp(power * given.log_variance.numpy()) * noise.numpy()
    np.testing.assert_allclose(given.draw(noise, std_mode), wanted, rtol=1e-12)


def test_scalar_noise_is_shared_by_the_dimensions_of_a_row() -> None:
    given = Posterior(torch.zeros(6, 4), torch.zeros(6, 4))
    shared = given.draw(draw_noise((6,), 4, "scalar", random_stream(5)))
    assert (shared == shared[:, :1]).all()
    assert len(shared[:, 0].unique()) == 6
    assert len(given.draw(draw_noise((6,), 4, "per_dim", random_stream(5))).unique()) == 24


def test_a_warm_up_is_a_ramp() -> None:
    assert [warmed_up(epoch, 21, 75, 2.37) for epoch in (0, 21, 48, 75, 100)] == pytest.approx(
        [0, 0, 1.185, 2.37, 2.37]
    )
    assert [warmed_up(epoch, 4, 4) for epoch in (3, 4, 5)] == [0, 1, 1]
    assert [warmed_up(epoch, 0, 1 / 0.02) for epoch in (0, 25, 60)] == pytest.approx([0, 0.5, 1])  # min(rate·epoch, 1)
