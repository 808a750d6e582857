"""The factored comparator against concatenated pairs, in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.func import functional_call, grad, vmap

from zslbench.methods import comparator
from zslbench.methods.comparator import Comparator
from zslbench.methods.nn import random_stream

M, K, H, A, HIDDEN = 7, 4, 5, 3, 6


def paired_values(model: Comparator, features: torch.Tensor, semantics: torch.Tensor) -> torch.Tensor:
    """One layer on [h, a], pair by pair."""
    first = torch.cat([model.from_features.weight, model.from_semantics.weight], dim=1)
    values = []
    for h in features:
        for a in semantics:
            before = first @ torch.cat([h, a]) + model.from_features.bias
            hidden = torch.where(before > 0, before, model.slope * before)
            values.append(model.value.weight[0] @ hidden + model.value.bias[0])
    return torch.stack(values).reshape(len(features), len(semantics))


def made(**given: Any) -> tuple[Comparator, torch.Tensor, torch.Tensor]:
    model = Comparator(H, A, HIDDEN, random_stream(0), **given).double()
    features = torch.randn(M, H, generator=random_stream(1), dtype=torch.float64).requires_grad_()
    semantics = torch.randn(K, A, generator=random_stream(2), dtype=torch.float64).requires_grad_()
    return model, features, semantics


@pytest.mark.parametrize("block", [1, 2 * K * HIDDEN, 2**19])
@pytest.mark.parametrize("given", [{}, {"init": "uniform", "slope": 0.2}])
def test_values_and_gradients_are_those_of_concatenated_pairs(
    given: dict[str, Any], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(comparator.BLOCK_VALUES, "cpu", block)
    model, features, semantics = made(**given)
    weights = torch.randn(M, K, generator=random_stream(3), dtype=torch.float64)
    inputs = [features, semantics, *model.parameters()]
    found, wanted = model(features, semantics), paired_values(model, features, semantics)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-14)
    gradients = (torch.autograd.grad((values * weights).sum(), inputs) for values in (found, wanted))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-14)


def test_several_fits_at_once_have_the_gradients_of_each() -> None:
    model, features, semantics = made(slope=0.2)
    other = Comparator(H, A, HIDDEN, random_stream(9), slope=0.2).double()
    stacked = {
        name: torch.stack([value.detach(), other.get_parameter(name).detach()])
        for name, value in model.named_parameters()
    }

    def loss_of(weights: dict[str, torch.Tensor]) -> torch.Tensor:
        values: torch.Tensor = functional_call(model, weights, (features.detach(), semantics.detach()))
        return values.square().sum()

    together = vmap(grad(loss_of))(stacked)
    for at, single in enumerate((model, other)):
        paired_values(single, features.detach(), semantics.detach()).square().sum().backward()
        for name, value in single.named_parameters():
            torch.testing.assert_close(together[name][at], value.grad, rtol=1e-11, atol=1e-14)


def test_bf16_differs_by_rounding_only() -> None:
    model, features, semantics = made(init="uniform")
    model, features, semantics = model.float(), features.detach().float(), semantics.detach().float()
    with torch.autocast("cpu", torch.bfloat16):
        values = model(features, semantics)
        values.float().square().sum().backward()
    rounded = {name: value.grad.clone() for name, value in model.named_parameters()}
    model.zero_grad()
    exact = paired_values(model, features, semantics)
    exact.square().sum().backward()
    torch.testing.assert_close(values.float(), exact, rtol=0.03, atol=0.03)
    for name, value in model.named_parameters():
        assert (rounded[name] - value.grad).norm() < 0.05 * value.grad.norm(), name


def test_initial_weights_are_those_of_one_layer_on_both_parts() -> None:
    uniform = Comparator(300, 100, 500, random_stream(0), init="uniform")
    normal = Comparator(300, 100, 500, random_stream(0))
    for layer in (uniform.from_features, uniform.from_semantics):
        assert 0.0499 < layer.weight.abs().max().item() <= 400**-0.5
    assert uniform.from_features.bias.abs().max().item() <= 400**-0.5
    assert 0.0195 < normal.from_semantics.weight.std().item() < 0.0205
    assert not normal.from_features.bias.any()
