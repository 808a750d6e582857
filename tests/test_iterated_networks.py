"""RelationNet, CVC-ZSL and DCN: losses, episodes, schedules and scores against plain float64 loops."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from gan_data import problem

from zslbench.arrays import Array
from zslbench.errors import BadValue
from zslbench.methods import nn
from zslbench.methods.base import Context, Method, Setting
from zslbench.methods.networks.cvc import CVC
from zslbench.methods.networks.dcn import DCN
from zslbench.methods.networks.embedding import (
    CalibrationNetwork,
    RelationNetwork,
    VisualClassifiers,
    calibration_loss,
)
from zslbench.methods.networks.relationnet import RelationNet
from zslbench.methods.nn import episodes, random_stream
from zslbench.task import ClassTable, Query, Train

A, H, D, C = 4, 6, 5, 4
LABELS = [0, 3, 3, 0, 1, 3, 0]  # class 2 has no row in the batch
RELATION = {"hidden": 8, "relation": 8, "iterations": 6, "batch": 8}
CLASSIFIERS = {"hidden": 8, "iterations": 6, "batch": 12, "shots": 3}
CALIBRATED = {"hidden": 8, "iterations": 6, "batch": 8}


@pytest.fixture
def rows() -> dict[str, torch.Tensor]:
    stream = random_stream(4)
    return {
        "features": torch.randn(len(LABELS), D, generator=stream, dtype=torch.float64),
        "labels": torch.tensor(LABELS),
        "semantics": torch.randn(C, A, generator=stream, dtype=torch.float64),
    }


def arrays_of(network: torch.nn.Module) -> dict[str, Array]:
    return {name: value.detach().double().numpy().copy() for name, value in network.named_parameters()}


def magnified(network: torch.nn.Module) -> Any:
    """Return the network in float64, with weights so large that no unit is near its kink."""
    for parameter in network.double().parameters():
        parameter.data.mul_(20)
    return network


def relu(values: Array) -> Array:
    return np.maximum(values, 0)


def relation(w: dict[str, Array], x: Array, a: Array) -> float:
    for layer in "01":
        a = relu(w[f"embedding.{layer}.weight"] @ a + w[f"embedding.{layer}.bias"])
    first = np.hstack([w["comparator.from_features.weight"], w["comparator.from_semantics.weight"]])
    hidden = relu(first @ np.concatenate([x, a]) + w["comparator.from_features.bias"])
    value = w["comparator.value.weight"][0] @ hidden + w["comparator.value.bias"][0]
    return 1 / (1 + math.exp(-value))


def test_relations_are_trained_towards_one_and_zero_over_the_classes_of_the_batch(
    rows: dict[str, torch.Tensor],
) -> None:
    network = RelationNetwork(A, H, D, 7, random_stream(0)).double()
    w = arrays_of(network)
    x, a = rows["features"].numpy(), rows["semantics"].numpy()
    errors = [
        (relation(w, x[i], a[c]) - (c == label)) ** 2 for i, label in enumerate(LABELS) for c in sorted(set(LABELS))
    ]
    assert network.loss(**rows).item() == pytest.approx(sum(errors) / len(errors), 1e-12)


def classifier(w: dict[str, Array], a: Array, positive: bool) -> Array:
    out = w["second.weight"] @ relu(w["first.weight"] @ a + w["first.bias"]) + w["second.bias"]
    out = relu(out) if positive else out
    return out / math.sqrt((out**2).sum())


@pytest.mark.parametrize("positive", [True, False])
def test_an_episode_is_judged_over_its_own_classes(rows: dict[str, torch.Tensor], positive: bool) -> None:
    network = magnified(VisualClassifiers(A, H, D, scale=0.3, positive=positive, stream=random_stream(0)))
    w = arrays_of(network)
    assert w["scale"] == pytest.approx(0.3 * 20)
    x, a = rows["features"].numpy(), rows["semantics"].numpy()
    total = 0.0
    for i, label in enumerate(LABELS):
        direction = x[i] / math.sqrt((x[i] ** 2).sum())
        logits = {c: float(w["scale"] * (direction @ classifier(w, a[c], positive))) for c in set(LABELS)}
        total -= logits[label] - math.log(sum(map(math.exp, logits.values())))
    assert network.loss(**rows).item() == pytest.approx(total / len(LABELS), 1e-12)
    (gradient,) = torch.autograd.grad(network.loss(**rows), [network.scale])
    assert gradient.item() != 0


@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_dcn_adds_the_entropy_over_unseen_classes(rows: dict[str, torch.Tensor], weight: float) -> None:
    network = magnified(CalibrationNetwork(D, H, A, random_stream(0), divisor=2.0))
    w, seen = arrays_of(network), 4
    vectors = torch.cat([rows["semantics"], torch.randn(3, A, generator=random_stream(7), dtype=torch.float64)])
    kept = (torch.rand(len(LABELS), H, generator=random_stream(8)) > 0.5).double() * 2
    total = 0.0
    for i, label in enumerate(LABELS):
        hidden = relu(w["first.weight"] @ (rows["features"].numpy()[i] / 2) + w["first.bias"]) * kept.numpy()[i]
        similarity = np.tanh(w["second.weight"] @ hidden + w["second.bias"]) @ vectors.numpy().T
        total -= 0.9 * similarity[label] - math.log(sum(math.exp(0.9 * value) for value in similarity[:seen]))
        parts = [math.exp(0.4 * value) for value in similarity[seen:]]
        total -= weight * sum(part / sum(parts) * math.log(part / sum(parts)) for part in parts)
    found = calibration_loss(
        network(rows["features"], vectors, kept), rows["labels"], seen, scale=0.9, unseen_scale=0.4, weight=weight
    )
    assert found.item() == pytest.approx(total / len(LABELS), 1e-12)


def test_an_episode_has_each_class_once_and_each_row_once() -> None:
    labels = torch.tensor([2, 0, 1, 2, 2, 0, 3, 1, 2, 1, 3, 2])
    drawn = set()
    for picked in itertools.islice(episodes(labels, 3, 2, random_stream(0)), 300):
        classes = labels[picked].reshape(3, 2)
        assert (classes[:, 0] == classes[:, 1]).all()
        assert len(set(classes[:, 0].tolist())) == 3
        assert len(set(picked.tolist())) == 6
        drawn |= {tuple(sorted(pair)) for pair in picked.reshape(3, 2).tolist()}
    pairs = [pair for c in range(4) for pair in itertools.combinations(np.flatnonzero(labels == c).tolist(), 2)]
    assert drawn == set(pairs)


def test_a_class_with_few_rows_repeats_them_and_few_classes_are_all_taken() -> None:
    labels = torch.tensor([0, 1, 1, 1, 1, 0])
    for picked in itertools.islice(episodes(labels, 8, 4, random_stream(0)), 20):
        counts = np.bincount(picked.numpy(), minlength=6)
        assert counts.tolist() == [2, 1, 1, 1, 1, 2]


def handed(method: Method) -> tuple[Train, Query]:
    train, query, _ = problem()
    return (dataclasses.replace(train, unseen=query.classes) if method.knows_unseen else train), query


def lengthened(semantics: Array) -> Array:
    wide = semantics.astype(np.float64)
    return wide / np.sqrt((wide**2).mean(axis=1, keepdims=True))


def test_scores_are_those_of_the_fitted_network() -> None:
    relations = RelationNet(**RELATION)
    train, query = handed(relations)
    w = arrays_of(relations.fit(train, Context()).network_)
    x = query.features.astype(np.float64)
    wanted = [[relation(w, row, a) for a in lengthened(query.classes.semantics)] for row in x]
    np.testing.assert_allclose(relations.scores(query.features, query.classes), wanted, rtol=1e-4)

    cvc = CVC(**CLASSIFIERS).fit(train, Context())
    w = arrays_of(cvc.network_)
    made = np.stack([classifier(w, a, positive=True) for a in lengthened(query.classes.semantics)])
    wanted = w["scale"] * (x / np.sqrt((x**2).sum(axis=1, keepdims=True))) @ made.T
    np.testing.assert_allclose(cvc.scores(query.features, query.classes), wanted, rtol=1e-4, atol=1e-4)

    dcn = DCN(**CALIBRATED, preprocess="none", divide=True)
    w = arrays_of(dcn.fit(handed(dcn)[0], Context()).network_)
    hidden = relu(x / train.features.max() @ w["first.weight"].T + w["first.bias"])  # no dropout
    output = np.tanh(hidden @ w["second.weight"].T + w["second.bias"])
    wanted = output @ (10 * np.tanh(query.classes.semantics.astype(np.float64))).T
    np.testing.assert_allclose(dcn.scores(query.features, query.classes), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", [RelationNet(**RELATION, attributes="original"), CVC(**CLASSIFIERS)])
def test_original_attributes_are_read_as_they_are_where_asked_for(method: Method) -> None:
    train, query = handed(method)
    method.attributes = "original"  # type: ignore[attr-defined]
    rich = [
        dataclasses.replace(table, original=(3 * table.semantics**2).astype(np.float32))
        for table in (train.classes, query.classes)
    ]
    scores = method.fit(dataclasses.replace(train, classes=rich[0]), Context()).scores(query.features, rich[1])
    again = method.scores(
        query.features, ClassTable(query.classes.ids, np.ones_like(query.classes.semantics), rich[1].original)
    )
    assert np.array_equal(scores, again)
    with pytest.raises(BadValue, match="the candidates have none"):
        method.scores(query.features, query.classes)


def optimiser_of(method: Method, monkeypatch: pytest.MonkeyPatch) -> torch.optim.Optimizer:
    made: list[torch.optim.Optimizer] = []
    adam = nn.adam
    monkeypatch.setattr(nn, "adam", lambda *given, **more: (made.append(adam(*given, **more)), made[-1])[1])
    method.fit(handed(method)[0], Context())
    return made[0]


def test_learning_rates_and_decay_are_the_declared_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    relations = RelationNet(**RELATION, lr=1e-3, decay=0.02, drop_every=2, drop=0.5)
    compare, embed = optimiser_of(relations, monkeypatch).param_groups
    assert (compare["weight_decay"], embed["weight_decay"]) == (0.0, 0.02)
    assert compare["lr"] == embed["lr"] == pytest.approx(1e-3 * 0.5**3)
    assert len(embed["params"]) == 4
    (group,) = optimiser_of(CVC(**CLASSIFIERS, lr=1e-3, decay=0.02, drop_every=4), monkeypatch).param_groups
    assert (group["weight_decay"], group["lr"]) == (0.02, pytest.approx(1e-3 * 0.5))
    (group,) = optimiser_of(DCN(**CALIBRATED, lr=1e-3), monkeypatch).param_groups
    assert group["lr"] == pytest.approx(1e-3 * (1 + 0.01 * 6) ** -0.75)


def test_a_long_gradient_is_cut() -> None:
    def gradient(clip: float) -> Array:
        method = CVC(**CLASSIFIERS | {"iterations": 1}, clip=clip, scale=300.0)
        network = method.fit(handed(method)[0], Context()).network_
        return np.concatenate([parameter.grad.flatten().numpy() for parameter in network.parameters()])

    whole, cut = gradient(0.0), gradient(0.5)
    assert np.linalg.norm(whole) > 1
    np.testing.assert_allclose(cut, 0.5 * whole / np.linalg.norm(whole), rtol=1e-4, atol=1e-7)


def test_only_the_entropy_of_dcn_reads_unseen_classes() -> None:
    with_entropy, without = DCN(**CALIBRATED), DCN(**CALIBRATED, entropy=0.0)
    assert (with_entropy.setting, without.setting) == (Setting.SEMANTIC, Setting.INDUCTIVE)
    train, query = handed(with_entropy)
    with pytest.raises(BadValue, match="needs the unseen classes"):
        with_entropy.fit(dataclasses.replace(train, unseen=None), Context())
    other = ClassTable(query.classes.ids, 1 - query.classes.semantics)

    def scores(method: DCN, unseen: ClassTable | None) -> Array:
        fitted = method.fit(dataclasses.replace(train, unseen=unseen), Context())
        return fitted.scores(query.features, query.classes)

    assert not np.array_equal(scores(with_entropy, query.classes), scores(with_entropy, other))
    assert np.array_equal(scores(without, None), scores(without, other))


def test_published_presets_have_the_values_of_each_data_set() -> None:
    cub = RelationNet.presets["published"].resolve("relationnet@published", "cub", "gzsl")
    assert (cub["hidden"], cub["relation"], cub["iterations"], cub["drop_every"]) == (1200, 1200, 200_000, 30_000)
    sun = DCN(**DCN.presets["published"].resolve("dcn@published", "sun", "gzsl"))
    assert (sun.scale, sun.unseen_scale, sun.entropy, sun.lr) == (5.0, 0.1, 1.0, 1e-4)
    assert DCN(**DCN.presets["published"].resolve("dcn@published", "cub", "zsl")).setting is Setting.INDUCTIVE
    assert CVC(**CVC.presets["published"].resolve("cvc@published", "sun", "zsl")).ways == 32
