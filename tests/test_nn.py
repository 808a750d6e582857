"""Devices, initial weights and the linear softmax classifier."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from zslbench.errors import BadValue
from zslbench.methods.generative.final_classifiers import log_probabilities, train_softmax
from zslbench.methods.nn import linear, random_stream, resolve_device


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
    layer = train_softmax(torch.tensor(features), torch.tensor(labels), 3, epochs=1500, batch=300, lr=0.003, seed=0)
    wanted = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(features, labels).predict_log_proba(features)
    np.testing.assert_allclose(log_probabilities(layer, torch.tensor(features)), wanted, atol=0.01)


@pytest.mark.parametrize("rows", [5, 16, 17, 40])
def test_softmax_walks_through_permutations_in_whole_batches(rows: int) -> None:
    """Against a loop over one row at a time in float64: every step has 16 rows, or all where there are fewer."""
    rng = np.random.default_rng(rows)
    x, y = rng.normal(size=(rows, 4)).astype(np.float32), rng.integers(3, size=rows)
    found = train_softmax(torch.tensor(x), torch.tensor(y), 3, epochs=7, batch=16, lr=0.05, seed=3)
    layer = linear(4, 3, random_stream(3))
    weights = np.concatenate([layer.weight.detach().double().numpy(), np.zeros((3, 1))], axis=1)
    order, waiting = random_stream(4), list[int]()
    first, second = np.zeros_like(weights), np.zeros_like(weights)
    for step in range(1, 7 * math.ceil(rows / 16) + 1):
        gradient = np.zeros_like(weights)
        for _ in range(size := min(16, rows)):
            if not waiting:
                waiting = torch.randperm(rows, generator=order).tolist()
            row = waiting.pop(0)
            logits = weights @ [*x[row].astype(np.float64), 1.0]
            chances = np.exp(logits) / np.exp(logits).sum()
            gradient += np.outer(chances - (np.arange(3) == y[row]), [*x[row], 1.0]) / size
        first, second = 0.5 * first + 0.5 * gradient, 0.999 * second + 0.001 * gradient**2
        weights -= 0.05 * (first / (1 - 0.5**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    np.testing.assert_allclose(found.weight, weights[:, :4], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.bias, weights[:, 4], rtol=1e-3, atol=1e-4)


def test_softmax_draws_from_its_seed_alone() -> None:
    features, labels = torch.rand(50, 4, generator=random_stream(1)), torch.arange(50) % 3
    options = {"epochs": 2, "batch": 16, "lr": 0.01}
    before = torch.random.get_rng_state()
    first = train_softmax(features, labels, 3, seed=5, **options)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first.weight, train_softmax(features, labels, 3, seed=5, **options).weight)
    assert not torch.equal(first.weight, train_softmax(features, labels, 3, seed=6, **options).weight)


def test_loading_the_methods_imports_neither_torch_nor_scipy_nor_sklearn() -> None:
    code = (
        "import sys; from zslbench.registry import METHODS; [entry.load()() for entry in METHODS];"
        "bad = {'scipy', 'sklearn', 'torch', 'pandas'} & set(sys.modules); sys.exit(str(bad) if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
