"""Devices, initial weights and the linear softmax classifier."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from zslbench.errors import BadValue
from zslbench.methods.nn import linear, random_stream, resolve_device
from zslbench.methods.softmax import log_probabilities, train_softmax


@pytest.mark.parametrize("name", ["gpu", "cpu:1", "cuda:x", "cuda:", "", "CPU"])
def test_unknown_devices_are_refused(name: str) -> None:
    if name == "cuda:" and torch.cuda.is_available():
        pytest.skip("cuda is here")
    with pytest.raises(BadValue, match="device"):
        resolve_device(name)


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_absent_devices_are_refused_with_advice(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(BadValue, match=f"this machine has no {kind}; choose auto or cpu"):
        resolve_device(kind)
    assert resolve_device("auto") == resolve_device("cpu") == torch.device("cpu")


def test_auto_prefers_cuda_then_mps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto").type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("auto").type == "cuda"
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(BadValue, match="has 2"):
        resolve_device("cuda:2")


def test_initial_weights_are_normal_and_of_their_own_stream() -> None:
    before = torch.random.get_rng_state()
    layer = linear(300, 200, random_stream(0))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(layer.weight, linear(300, 200, random_stream(0)).weight)
    assert layer.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert abs(layer.weight.mean().item()) < 5e-4
    assert not layer.bias.any()


def test_softmax_reaches_the_maximum_likelihood_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 3
    features = (rng.normal(size=(300, 4)) + np.eye(3, 4)[labels]).astype(np.float32)
    layer = train_softmax(torch.tensor(features), torch.tensor(labels), 3, epochs=1500, batch=300, lr=0.02, seed=0)
    wanted = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(features, labels).predict_log_proba(features)
    np.testing.assert_allclose(log_probabilities(layer, torch.tensor(features)), wanted, atol=0.01)


def test_softmax_draws_from_its_seed_alone() -> None:
    features, labels = torch.rand(50, 4, generator=random_stream(1)), torch.arange(50) % 3
    options = {"epochs": 2, "batch": 16, "lr": 0.01}
    before = torch.random.get_rng_state()
    first = train_softmax(features, labels, 3, seed=5, **options)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first.weight, train_softmax(features, labels, 3, seed=5, **options).weight)
    assert not torch.equal(first.weight, train_softmax(features, labels, 3, seed=6, **options).weight)
