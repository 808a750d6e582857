"""GAZSL: its unconditional critic, visual pivot and voting neighbours against loops, autograd and scikit-learn."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from gan_data import problem
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.neighbors import KNeighborsClassifier

from zslbench.errors import BadValue
from zslbench.methods.base import Context, overlay
from zslbench.methods.generative import final_classifiers, regularisers
from zslbench.methods.generative.gazsl import GAZSL
from zslbench.methods.generative.training import GanTraining, Networks
from zslbench.methods.generative.wgan import Critic, Generator
from zslbench.methods.nn import random_stream

D, A, H, C, M = 5, 3, 7, 4, 6
SMALL: dict[str, Any] = {
    "hidden": 16,
    "noise": 3,
    "iterations": 4,
    "batch": 16,
    "critic_steps": 2,
    "lr": 1e-3,
    "per_class": 10,
    "neighbours": 5,
}


def test_xavier_weights_have_the_deviation_of_the_layer_they_are_part_of() -> None:
    generator = Generator(100, 60, 400, 300, random_stream(0), xavier=True)
    for layer in (generator.from_noise, generator.from_semantics):  # one layer of 160 inputs, kept as two
        assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / (160 + 400)), rel=0.02)
    assert generator.out.weight.std().item() == pytest.approx(math.sqrt(2 / (400 + 300)), rel=0.02)
    critic = Critic(300, 0, 400, random_stream(1), xavier=True)
    critic.add_branch(50, random_stream(2))
    assert critic.branch is not None
    assert critic.from_features.weight.std().item() == pytest.approx(math.sqrt(2 / 700), rel=0.02)
    assert critic.value.weight.std().item() == pytest.approx(math.sqrt(2 / 401), rel=0.15)  # 400 numbers
    assert critic.branch.weight.std().item() == pytest.approx(math.sqrt(2 / 450), rel=0.03)
    assert not any(layer.bias.any() for layer in (generator.from_noise, generator.out, critic.value, critic.branch))


def pivot_by_loop(fakes: np.ndarray, labels: np.ndarray, means: np.ndarray) -> float:
    total = 0.0
    for c in range(len(means)):
        own = [fakes[i] for i in range(len(fakes)) if labels[i] == c]
        if own:
            away = sum(own) / len(own) - means[c]
            total += math.sqrt(float((away**2).sum()))
    return total / len(means)


def test_pivot_and_its_gradient_match_a_loop() -> None:
    labels = torch.tensor([0, 2, 2, 0, 0, 2])  # classes 1 and 3 are not in the batch
    means = torch.rand(C, D, generator=random_stream(8), dtype=torch.float64)
    fakes = (torch.rand(M, D, generator=random_stream(3), dtype=torch.float64) - 0.5).requires_grad_()
    loss = regularisers.pivot_loss(fakes, labels, means)
    assert loss.item() == pytest.approx(pivot_by_loop(fakes.detach().numpy(), labels.numpy(), means.numpy()), rel=1e-12)
    assert torch.autograd.gradcheck(lambda x: regularisers.pivot_loss(x, labels, means), fakes)


def test_class_means_match_a_loop() -> None:
    features, labels = torch.rand(20, D, generator=random_stream(0)), torch.arange(20) % 3
    wanted = np.stack([features.numpy()[labels.numpy() == c].mean(axis=0) for c in range(3)])
    np.testing.assert_allclose(regularisers.class_means(features, labels, 3), wanted, rtol=1e-6)


@given(
    seed=st.integers(0, 1000),
    classes=st.integers(1, 6),
    per_class=st.integers(1, 8),
    neighbours=st.integers(1, 30),
)
@settings(max_examples=50, deadline=None)
def test_votes_are_those_of_scikit_learn(seed: int, classes: int, per_class: int, neighbours: int) -> None:
    rng = np.random.default_rng(seed)
    references, rows = rng.normal(size=(classes, per_class, D)), rng.normal(size=(7, D))
    found = final_classifiers.neighbour_votes(torch.tensor(references), torch.tensor(rows), neighbours).numpy()
    voters = min(neighbours, classes * per_class)
    judge = KNeighborsClassifier(voters, metric="cosine", algorithm="brute")
    flat, labels = references.reshape(-1, D), np.repeat(np.arange(classes), per_class)
    wanted = judge.fit(flat, labels).predict_proba(rows)
    np.testing.assert_array_equal(np.floor(found * voters + 1e-9), np.round(wanted * voters))
    nearest = 1 - judge.kneighbors(rows, 1)[0][:, 0]  # the largest cosine decides equal votes
    units = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    best = (rows / np.linalg.norm(rows, axis=1, keepdims=True) @ units.T).reshape(7, classes, per_class).max(axis=2)
    np.testing.assert_allclose(best.max(axis=1), nearest, atol=1e-9)
    for i in range(7):
        order = sorted(range(classes), key=lambda c: (round(wanted[i, c] * voters), best[i, c]))
        assert np.argsort(found[i], kind="stable").tolist() == order


def test_votes_of_blocks_are_those_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    references, rows = torch.tensor(rng.normal(size=(4, 6, D))), torch.tensor(rng.normal(size=(11, D)))
    whole = final_classifiers.neighbour_votes(references, rows, 5)
    monkeypatch.setattr(final_classifiers, "BLOCK_ROWS", 3)
    assert torch.allclose(final_classifiers.neighbour_votes(references, rows, 5), whole, atol=1e-12)


def gazsl(**given_: Any) -> GAZSL:
    return GAZSL(**(SMALL | given_))


def test_terms_of_the_method_match_loops() -> None:
    method = gazsl(cls_weight=0.8, pivot=3.0, decay=0.02)
    rows = method._prepare(problem()[0], torch.device("cpu"))
    generator, critic = Generator(3, 5, 8, 12, random_stream(0)), Critic(12, 0, 8, random_stream(1), slope=0.0)
    critic.add_branch(6, random_stream(2))
    for parameter in critic.parameters():
        torch.nn.init.normal_(parameter, generator=random_stream(3))
    terms = {term.name: term for term in method.terms(rows, generator.noise, Context())}
    assert {name: term.weight for name, term in terms.items()} == {"classification": 0.4, "pivot": 3.0, "decay": 0.02}
    fakes, labels = torch.rand(7, 12, generator=random_stream(9)), torch.tensor([0, 5, 2, 2, 1, 4, 3])
    nets = Networks(generator, critic)
    found = {name: term.loss(nets, fakes, labels, *term.held).item() for name, term in terms.items()}
    features, x = rows.features.double().numpy(), fakes.double().numpy()
    means = np.stack([features[rows.labels.numpy() == c].mean(axis=0) for c in range(6)])
    assert found["pivot"] == pytest.approx(pivot_by_loop(x, labels.numpy(), means), rel=1e-5)
    matrices = (generator.from_noise.weight, generator.from_semantics.weight, generator.out.weight)
    assert found["decay"] == pytest.approx(sum(float((m.detach().numpy() ** 2).sum()) for m in matrices), rel=1e-5)
    w = {name: value.detach().double().numpy() for name, value in critic.named_parameters()}
    hidden = np.maximum(x @ w["from_features.weight"].T + w["from_features.bias"], 0)
    chances = softmax(hidden @ w["branch.weight"].T + w["branch.bias"], axis=1)
    assert found["classification"] == pytest.approx(-np.log(chances[range(7), labels]).mean(), rel=1e-4)


def test_ablations_take_their_term_away() -> None:
    for name, missing in (("no_pivot", "pivot"), ("no_classes", "classification")):
        training = gazsl(**GAZSL.ablations[name].values)._begin(problem()[0], Context())
        assert {term.name for term in training.terms} == {"classification", "pivot", "decay"} - {missing}
        assert (training.critic.branch is None) is (missing == "classification")


def test_training_is_set_up_as_published() -> None:
    assert overlay(GAZSL, "gazsl", ("published",), "sun", "zsl")["noise"] == 10
    published = overlay(GAZSL, "gazsl", ("published",), "cub", "gzsl")
    assert published["noise"] == 100
    training = GAZSL(**(published | {"hidden": 8, "iterations": 2}))._begin(problem()[0], Context())
    for optimiser in training.adams.values():
        (group,) = optimiser.param_groups
        assert (group["betas"], group["lr"], group["weight_decay"]) == ((0.5, 0.9), 1e-4, 0)
    options, critic = training.options, training.critic
    assert (options.critic_steps, options.gp, options.branch_weight) == (5, 10, 0.5)
    assert (critic.from_semantics, critic.slope, training.generator.output) == (None, 0, "tanh")


def test_iterations_are_generator_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    step = GanTraining.generator_step
    monkeypatch.setattr(
        GanTraining,
        "generator_step",
        lambda self, labels, real: (sizes.append(len(labels)), step(self, labels, real))[1],
    )
    logged: list[tuple[int, int]] = []
    judged: list[int] = []
    ctx = Context(
        on_log=lambda step, total, values: logged.append((step, total)), judge=lambda method, step: judged.append(step)
    )
    gazsl(iterations=85, critic_steps=1).fit(problem()[0], ctx)
    assert sizes == [16] * 85
    assert logged == [(40, 85), (80, 85), (85, 85)]
    assert judged == [40, 80, 85]


def test_scores_are_votes_of_synthesised_rows_of_seen_candidates_too() -> None:
    train, _, query = problem()
    method = gazsl().fit(train, Context())
    order = query.classes.canonical()
    semantics = query.classes.semantics[order].astype(np.float64)
    semantics /= np.linalg.norm(semantics, axis=1, keepdims=True)
    stream = random_stream(Context().stream_seed("synthesis"))
    with torch.no_grad():
        fakes = method.generator_.synthesise(torch.tensor(semantics, dtype=torch.float32), 10, stream)
    assert fakes.abs().max() <= 1
    judge = KNeighborsClassifier(5, metric="cosine", algorithm="brute")
    judge.fit(fakes.flatten(0, 1).double().numpy(), np.repeat(order, 10))
    low, high = train.features.min(axis=0), train.features.max(axis=0)
    wanted = judge.predict_proba((query.features - low) / (high - low))  # minmax over training rows
    found = method.scores(query.features, query.classes)
    np.testing.assert_array_equal(np.floor(found * 5 + 1e-9), np.round(wanted * 5))


def test_features_that_the_generator_does_not_reach_are_refused() -> None:
    train = problem()[0]
    with pytest.raises(BadValue, match=r"ends in tanh does not reach; choose .*, or output=linear"):
        gazsl(preprocess="standard").fit(train, Context())
    with pytest.raises(BadValue, match="ends in relu does not reach"):
        gazsl(preprocess="standard", output="relu").fit(train, Context())
    gazsl(preprocess="standard", output="linear").fit(train, Context())
    gazsl(preprocess="none", output="relu").fit(train, Context())


def test_divergence_names_the_iteration() -> None:
    method = gazsl(lr=0.1, gp=1000.0, preprocess="none", output="linear", iterations=40)
    train = problem()[0]
    with pytest.raises(BadValue, match=r"is not finite in iteration 40; lower lr=0\.1"):
        method.fit(dataclasses.replace(train, features=train.features * np.float32(1e30)), Context())
