"""DEM and CNZSL: losses, normalisation, initial weights and scores against plain float64 NumPy."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
import torch
from gan_data import problem
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import truncnorm
from sklearn.metrics.pairwise import cosine_similarity

from zslbench.arrays import Array
from zslbench.errors import BadValue
from zslbench.methods import nn
from zslbench.methods.base import Context
from zslbench.methods.networks.cnzsl import CNZSL
from zslbench.methods.networks.dem import DEM
from zslbench.methods.networks.embedding import (
    ClassNorm,
    ClassNormNetwork,
    DeepEmbedding,
    scaled_cosines,
    truncated_layer,
)
from zslbench.methods.nn import random_stream, row_batches
from zslbench.task import ClassTable, Train

A, H, D, C, M = 4, 6, 5, 3, 8


def weights(network: torch.nn.Module) -> dict[str, Array]:
    return {name: value.detach().double().numpy().copy() for name, value in network.named_parameters()}


def with_originals(train: Train, classes: ClassTable) -> tuple[Train, ClassTable]:
    """Return both with original attributes that are no multiple of the semantics."""

    def changed(table: ClassTable) -> ClassTable:
        return dataclasses.replace(table, original=(100 * table.semantics**2).astype(np.float32))

    return dataclasses.replace(train, classes=changed(train.classes)), changed(classes)


# DEM


@pytest.fixture
def dem_rows() -> dict[str, torch.Tensor]:
    stream = random_stream(4)
    return {
        "features": torch.rand(M, D, generator=stream, dtype=torch.float64),
        "labels": torch.tensor([0, 2, 2, 0, 0, 2, 0, 2]),  # class 1 has no row in the batch
        "semantics": torch.randn(C, A, generator=stream, dtype=torch.float64),
    }


def dem_loss(w: dict[str, Array], rows: dict[str, torch.Tensor], decay: float, positive: bool) -> float:
    """The loss, row by row and unit by unit."""
    x, y, a = (rows[name].numpy() for name in ("features", "labels", "semantics"))
    total = 0.0
    for i in range(M):
        hidden = [max(w["first.bias"][u] + w["first.weight"][u] @ a[y[i]], 0.0) for u in range(H)]
        for j in range(D):
            out = w["second.bias"][j] + sum(w["second.weight"][j, u] * hidden[u] for u in range(H))
            total += (x[i, j] - (max(out, 0.0) if positive else out)) ** 2 / (M * D)
    return total + decay / 2 * float((w["first.weight"] ** 2).sum() + (w["second.weight"] ** 2).sum())


def dem_gradient(w: dict[str, Array], rows: dict[str, torch.Tensor], decay: float, positive: bool) -> dict[str, Array]:
    """Back-propagation by hand, over rows."""
    x, y, a = (rows[name].numpy() for name in ("features", "labels", "semantics"))
    given_ = a[y]
    before = given_ @ w["first.weight"].T + w["first.bias"]
    hidden = np.maximum(before, 0)
    out = hidden @ w["second.weight"].T + w["second.bias"]
    error = 2 * ((np.maximum(out, 0) if positive else out) - x) / (M * D)
    if positive:
        error = error * (out > 0)
    back = (error @ w["second.weight"]) * (before > 0)
    return {
        "first.weight": back.T @ given_ + decay * w["first.weight"],
        "first.bias": back.sum(axis=0),
        "second.weight": error.T @ hidden + decay * w["second.weight"],
        "second.bias": error.sum(axis=0),
    }


@pytest.mark.parametrize("positive", [True, False])
def test_dem_loss_matches_a_loop_and_steps_of_adam_match_numpy(
    dem_rows: dict[str, torch.Tensor], positive: bool
) -> None:
    network = DeepEmbedding(A, H, D, std=0.7, positive=positive, stream=random_stream(0)).double()
    w = weights(network)
    lr, decay = 0.05, 0.03
    assert network.loss(**dem_rows, decay=decay).item() == pytest.approx(dem_loss(w, dem_rows, decay, positive), 1e-12)
    optimiser = nn.adam(network.parameters(), lr, betas=(0.9, 0.999))
    first: dict[str, Any] = dict.fromkeys(w, 0.0)
    second: dict[str, Any] = dict.fromkeys(w, 0.0)
    for step in range(1, 4):
        optimiser.zero_grad()
        network.loss(**dem_rows, decay=decay).backward()
        optimiser.step()
        for name, g in dem_gradient(w, dem_rows, decay, positive).items():
            first[name] = 0.9 * first[name] + 0.1 * g
            second[name] = 0.999 * second[name] + 0.001 * g**2
            scale = np.sqrt(second[name] / (1 - 0.999**step)) + 1e-8
            w[name] = w[name] - lr * first[name] / (1 - 0.9**step) / scale
        for name, value in network.named_parameters():
            np.testing.assert_allclose(value.detach().numpy(), w[name], rtol=1e-9, atol=1e-12)


def test_dem_weights_start_from_a_cut_normal() -> None:
    layer = truncated_layer(300, 200, 0.1, random_stream(0))
    wanted = truncnorm(-2, 2, scale=0.1)
    assert layer.weight.std().item() == pytest.approx(wanted.std(), rel=0.02)
    assert layer.weight.abs().max().item() <= 0.2
    assert layer.weight.abs().max().item() > 0.19
    assert (layer.bias == 0.1).all()
    network = DeepEmbedding(300, 500, 200, std=0.0, positive=True, stream=random_stream(0))
    cut = truncnorm(-2, 2).std()
    assert network.first.weight.std().item() == pytest.approx(cut * math.sqrt(2 / 300), rel=0.02)
    assert network.second.weight.std().item() == pytest.approx(cut * math.sqrt(2 / 500), rel=0.02)


SMALL_DEM: dict[str, Any] = {"hidden": 16, "iterations": 20, "batch": 16, "lr": 1e-2}


def fitted_dem(train: Train | None = None, **given_: Any) -> DEM:
    return DEM(**(SMALL_DEM | given_)).fit(train or problem()[0], Context())


@pytest.mark.parametrize("distance", ["euclid", "cosine"])
def test_dem_scores_are_distances_to_what_the_network_makes(distance: str) -> None:
    _, query, _ = problem()
    method = fitted_dem(distance=distance, preprocess="standard")
    w = weights(method.network_)
    x = method.preprocessor_.transform(query.features).astype(np.float64)
    found = method.scores(query.features, query.classes)
    for k, a in enumerate(query.classes.semantics.astype(np.float64)):
        prototype = w["second.weight"] @ np.maximum(w["first.weight"] @ a + w["first.bias"], 0) + w["second.bias"]
        wanted = (
            -((x - prototype) ** 2).sum(axis=1) if distance == "euclid" else cosine_similarity(x, prototype[None])[:, 0]
        )
        np.testing.assert_allclose(found[:, k], wanted, rtol=1e-4, atol=1e-5)


def test_dem_reads_original_attributes_where_there_are_any() -> None:
    train, query, _ = problem()
    rich, candidates = with_originals(train, query.classes)
    scaled, original = fitted_dem(rich), fitted_dem(rich, attributes="original", init_std=0.01)
    plain = fitted_dem().scores(query.features, query.classes)
    assert np.array_equal(scaled.scores(query.features, candidates), plain)
    as_semantics = dataclasses.replace(train, classes=ClassTable(train.classes.ids, rich.classes.original))
    by_hand = fitted_dem(as_semantics, init_std=0.01)
    np.testing.assert_allclose(
        original.scores(query.features, candidates),
        by_hand.scores(query.features, ClassTable(candidates.ids, candidates.original)),
        rtol=1e-3,
    )
    with pytest.raises(BadValue, match="the candidates have none; give both tables"):
        original.scores(query.features, query.classes)
    semantic = fitted_dem(attributes="original")  # where there are none
    assert np.array_equal(semantic.scores(query.features, query.classes), plain)


def test_dem_output_follows_the_features() -> None:
    assert fitted_dem().network_.positive
    assert not fitted_dem(preprocess="standard").network_.positive
    assert not fitted_dem(output="linear").network_.positive
    with pytest.raises(BadValue, match="a ReLU output is never below 0; choose output=linear"):
        fitted_dem(preprocess="standard", output="relu")


def test_dem_trains_the_declared_iterations(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    loss = DeepEmbedding.loss
    monkeypatch.setattr(
        DeepEmbedding, "loss", lambda self, rows, *given: (sizes.append(len(rows)), loss(self, rows, *given))[1]
    )
    logged: list[int] = []
    judged: list[int] = []
    ctx = Context(
        on_log=lambda step, total, values: logged.append(step), judge=lambda method, step: judged.append(step)
    )
    train = problem()[0]
    DEM(**(SMALL_DEM | {"iterations": 205, "batch": 64})).fit(train, ctx)
    assert len(train.features) == 90
    assert sizes == [64] * 205
    assert logged == judged == [100, 200, 205]


# CNZSL


def class_norm(h: Array, divide_by: str, mean: Array | None = None, variance: Array | None = None) -> Array:
    """Class normalisation, a unit at a time."""
    if divide_by == "nothing":
        return h
    out = np.empty_like(h)
    for unit in range(h.shape[1]):
        values = [float(v) for v in h[:, unit]]
        m = sum(values) / len(values) if mean is None else mean[unit]
        v = sum((x - m) ** 2 for x in values) / len(values) if variance is None else variance[unit]
        spread = v + 1e-5 if divide_by == "variance" else math.sqrt(v + 1e-5)
        out[:, unit] = [(x - m) / spread for x in values]
    return out


@given(arrays.arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(1, 4)), elements=st.floats(-10, 10)))
@settings(max_examples=60, deadline=None)
def test_class_norm_matches_a_loop(hidden: Array) -> None:
    for divide_by in ("std", "variance"):
        norm = ClassNorm(hidden.shape[1], divide_by).double()
        np.testing.assert_allclose(norm(torch.tensor(hidden)), class_norm(hidden, divide_by), rtol=1e-6, atol=1e-6)
        others = hidden[::-1] * 2 + 1
        wanted = class_norm(others, divide_by, hidden.mean(axis=0), hidden.var(axis=0))
        np.testing.assert_allclose(norm.eval()(torch.tensor(others.copy())), wanted, rtol=1e-6, atol=1e-6)


def network_output(
    w: dict[str, Array], a: Array, stats: list[tuple[Any, Any]], positive: bool, divide_by: str = "std"
) -> Array:
    """The network in NumPy, with given statistics, or those of `a` itself (None)."""
    hidden = np.maximum(a @ w["first.weight"].T + w["first.bias"], 0) @ w["second.weight"].T + w["second.bias"]
    hidden = np.maximum(class_norm(hidden, divide_by, *stats[0]), 0)
    out = class_norm(hidden, divide_by, *stats[1]) @ w["last.weight"].T + w["last.bias"]
    return np.maximum(out, 0) if positive else out


@pytest.mark.parametrize(("positive", "divide_by"), [(True, "std"), (False, "std"), (False, "nothing")])
def test_class_norm_network_matches_numpy(positive: bool, divide_by: str) -> None:
    network = ClassNormNetwork(
        A, H, D, divide_by=divide_by, proper_init=True, positive=positive, stream=random_stream(0)
    ).double()
    semantics = torch.randn(7, A, generator=random_stream(1), dtype=torch.float64)
    wanted = network_output(weights(network), semantics.numpy(), [(None, None)] * 2, positive, divide_by)
    np.testing.assert_allclose(network(semantics).detach().numpy(), wanted, rtol=1e-7, atol=1e-9)


def test_initial_variance_of_the_last_layer_is_that_of_eq_10() -> None:
    def made(proper_init: bool) -> ClassNormNetwork:
        return ClassNormNetwork(
            50, 300, 200, divide_by="std", proper_init=proper_init, positive=False, stream=random_stream(0)
        )

    proper, default = made(True), made(False)
    assert proper.last.weight.var().item() == pytest.approx(1 / (300 * 200), rel=0.02)
    assert proper.last.weight.abs().max().item() <= math.sqrt(3 / (300 * 200))
    assert default.last.weight.var().item() == pytest.approx(1 / (3 * 300), rel=0.02)
    assert proper.first.weight.var().item() == pytest.approx(1 / (3 * 50), rel=0.04)
    assert torch.equal(proper.second.weight, default.second.weight)


def test_scaled_cosines_are_cosines_times_the_square() -> None:
    x, p = torch.randn(9, D, generator=random_stream(0)), torch.randn(4, D, generator=random_stream(1))
    x[0], p[1] = 0, 0
    np.testing.assert_allclose(scaled_cosines(x, p, 5.0), 25 * cosine_similarity(x, p), rtol=1e-4, atol=1e-5)


SMALL_CNZSL: dict[str, Any] = {"hidden": 16, "epochs": 3, "batch": 16, "lr": 1e-3}


def fitted_cnzsl(**given_: Any) -> CNZSL:
    return CNZSL(**(SMALL_CNZSL | given_)).fit(problem()[0], Context())


def scaled(semantics: Array) -> Array:
    wide = semantics.astype(np.float64)
    return np.stack([row / math.sqrt((row**2).sum()) * math.sqrt(len(row)) for row in wide])


def test_cnzsl_scores_rest_on_the_statistics_of_the_seen_classes() -> None:
    train, _, query = problem()
    method = fitted_cnzsl()
    w = weights(method.network_)
    seen = scaled(train.classes.semantics)
    first = np.maximum(seen @ w["first.weight"].T + w["first.bias"], 0) @ w["second.weight"].T + w["second.bias"]
    stats = [(first.mean(axis=0), first.var(axis=0))]
    second = np.maximum(class_norm(first, "std"), 0)
    stats.append((second.mean(axis=0), second.var(axis=0)))
    prototypes = network_output(w, scaled(query.classes.semantics), stats, positive=True)
    wanted = 25 * cosine_similarity(query.features.astype(np.float64), prototypes)
    np.testing.assert_allclose(method.scores(query.features, query.classes), wanted, rtol=1e-3, atol=1e-3)


def test_cnzsl_score_of_a_class_does_not_depend_on_the_other_candidates() -> None:
    _, _, query = problem()
    method = fitted_cnzsl()
    together = method.scores(query.features, query.classes)
    for at in range(len(query.classes)):
        alone = method.scores(query.features, query.classes.take(slice(at, at + 1)))
        np.testing.assert_allclose(alone[:, 0], together[:, at], rtol=1e-4, atol=1e-4)


def test_cnzsl_can_be_judged_with_seen_statistics_at_every_epoch() -> None:
    """A checkpoint sees the network of that moment: as if training had ended there."""
    query = problem()[1]
    found: list[Array] = []
    ctx = Context(judge=lambda method, step: found.append(method.scores(query.features, query.classes)))
    CNZSL(**SMALL_CNZSL).fit(problem()[0], ctx)
    for epoch, scores in enumerate(found, 1):
        assert np.array_equal(scores, fitted_cnzsl(epochs=epoch).scores(query.features, query.classes))


def test_cnzsl_trains_with_the_declared_optimiser(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[torch.optim.Adam] = []
    adam = nn.adam
    monkeypatch.setattr(nn, "adam", lambda *given, **more: (made.append(adam(*given, **more)), made[-1])[1])
    fitted_cnzsl(epochs=5, drop_every=2, drop=0.5, decay=0.01)
    (group,) = made[0].param_groups
    assert group["lr"] == pytest.approx(1e-3 * 0.5**2)
    assert (group["betas"], group["weight_decay"]) == ((0.9, 0.999), 0.01)
    steps = {int(state["step"].item()) for state in made[0].state.values()}
    assert steps == {5 * 6}  # ⌈90/16⌉ steps an epoch


def test_cnzsl_bears_semantics_without_length_and_one_seen_class() -> None:
    train, query, _ = problem()
    one = train.classes.take(slice(1))
    rows = train.labels == one.ids[0]
    method = CNZSL(**SMALL_CNZSL).fit(Train(train.features[rows], train.labels[rows], one), Context())
    empty = ClassTable(query.classes.ids, np.zeros_like(query.classes.semantics))
    assert np.isfinite(method.scores(query.features, empty)).all()


@pytest.mark.parametrize(
    ("method", "moment"), [(DEM(**SMALL_DEM), "at iteration 20"), (CNZSL(**SMALL_CNZSL), "in epoch 1")]
)
def test_divergence_is_refused(method: DEM | CNZSL, moment: str) -> None:
    features = problem()[0].features.copy()
    features[0, 0] = np.inf
    with pytest.raises(BadValue, match=f"not finite {moment}; lower lr"):
        method.fit(dataclasses.replace(problem()[0], features=features), Context())


@pytest.mark.parametrize(("rows", "batch", "size"), [(23, 5, 5), (257, 256, 256), (6, 6, 6), (4, 100, 4), (1, 3, 1)])
def test_every_step_has_a_whole_batch_and_every_pass_each_row_once(rows: int, batch: int, size: int) -> None:
    batches = list(itertools.islice(row_batches(rows, batch, random_stream(0)), 3 * rows))
    assert {len(picked) for picked in batches} == {size}
    passes = torch.cat(batches)[: 3 * rows].reshape(3, rows)
    for order in passes:
        assert sorted(order.tolist()) == list(range(rows))
    assert rows == 1 or len({tuple(order.tolist()) for order in passes}) > 1


def test_one_row_more_than_a_batch_does_not_steer_a_network() -> None:
    """An outlier that makes up a whole step of Adam in every pass pulls its class far past the mean of its rows."""
    rng = np.random.default_rng(0)
    classes = ClassTable(np.arange(3), np.eye(3, dtype=np.float32))
    labels = np.arange(128) % 3
    features = (5 * np.eye(3)[labels] + 0.1 * rng.normal(size=(128, 3))).astype(np.float32)
    odd = np.vstack([features, np.full((1, 3), 50, dtype=np.float32)])
    settings_ = {"hidden": 32, "iterations": 400, "lr": 3e-3, "batch": 128, "decay": 0.0}
    labels = np.append(labels, 0)
    method = DEM(**settings_).fit(Train(odd, labels, classes), Context())
    prototypes = method.network_(torch.tensor(classes.semantics)).numpy()
    wanted = np.stack([odd[labels == c].mean(axis=0) for c in range(3)])
    np.testing.assert_allclose(prototypes, wanted, atol=0.1)
