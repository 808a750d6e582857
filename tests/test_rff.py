"""RFF-GZSL: the critic's loss with its limit on information and its centres, against loops in float64."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from gan_data import problem
from torch import Tensor

from zslbench.methods.base import Context, overlay
from zslbench.methods.generative.final_classifiers import log_probabilities, train_softmax
from zslbench.methods.generative.rff import RFF
from zslbench.methods.generative.wgan import CriticBatch
from zslbench.methods.nn import random_stream

SMALL: dict[str, Any] = {
    "hidden": 16,
    "latent": 6,
    "noise": 3,
    "epochs": 2,
    "batch": 16,
    "critic_steps": 2,
    "lr": 1e-3,
    "pretrain_epochs": 2,
    "per_class": 8,
    "final_epochs": 2,
    "margin": 3.0,
}


def rff(**given: Any) -> RFF:
    return RFF(**(SMALL | given))


def centres_by_loop(
    means: np.ndarray, labels: np.ndarray, centres: np.ndarray, others: list[int] | None, margin: float
) -> tuple[float, np.ndarray]:
    """Return the centre loss and its gradient by the centres; without `others` the nearest other centre counts."""
    loss, gradient = 0.0, np.zeros_like(centres)
    for i, row in enumerate(means):
        distances = ((centres - row) ** 2).sum(axis=1)
        away = [c for c in range(len(centres)) if c != labels[i]]
        other = others[i] if others is not None else min(away, key=lambda c: distances[c])
        hinge = margin + distances[labels[i]] - distances[other]
        if hinge > 0:
            loss += hinge
            gradient[labels[i]] -= 2 * (row - centres[labels[i]])
            gradient[other] += 2 * (row - centres[other])
    return loss / len(means), gradient / len(means)


@pytest.mark.parametrize("other_centre", ["random", "nearest"])
def test_loss_of_the_critic_adds_its_parts(other_centre: str) -> None:
    method = rff(gp=7.0, drift=0.5, information=0.3, centre_weight=0.4, other_centre=other_centre)
    training = method._begin(problem()[0], Context())
    networks = training.networks
    drawn = training.draw()[0]
    for parameter in networks.double().critic.parameters():
        torch.nn.init.normal_(parameter, generator=random_stream(2))
    (term,) = (term for term in training.terms if term.step == "critic")
    batch = CriticBatch(*(part.double() if part.is_floating_point() else part for part in drawn))
    noise, others = term.draw()
    noise = noise.double()
    critic: Any = networks.critic
    wasserstein, penalty, drift, information, means = (part.detach() for part in critic.losses(batch, noise))
    centres = networks["centres"].weight
    assert isinstance(centres, Tensor)
    picked = others.tolist() if other_centre == "random" else None
    away, _ = centres_by_loop(means.numpy(), batch.labels.numpy(), centres.detach().numpy(), picked, 3.0)
    loss, *notes = term.loss(networks, batch, torch.tensor(0.25), noise, others)
    assert away > 0
    wanted = wasserstein + 7 * penalty + 0.5 * drift + 0.25 * (information - 0.3) + 0.4 * away
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-9)
    assert [note.item() for note in notes] == pytest.approx([penalty.item(), information.item(), away], rel=1e-9)


def test_multiplier_follows_the_information(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[tuple[float, float]] = []
    loss_of = RFF._critic_loss

    def spied(self: RFF, *given: Any) -> tuple[Tensor, ...]:
        out = loss_of(self, *given)
        steps.append((given[2].item(), out[2].item()))
        return out

    monkeypatch.setattr(RFF, "_critic_loss", spied)
    method = rff(multiplier_step=0.1, information=1.5, lr=1e-2)
    training = method._begin(problem()[0], Context())
    for _ in range(12):
        training.iterate()
    multiplier, before = 0.0, []
    for _, information in steps:
        before.append(multiplier)
        multiplier = max(0.0, multiplier + 0.1 * (information - 1.5))
    assert [given for given, _ in steps] == pytest.approx(before, abs=1e-6)
    rates = [information for _, information in steps]
    assert min(rates) < 1.5 < max(rates)  # it moves both ways


@pytest.mark.parametrize("kept", ["step", "never"])
def test_gradients_of_the_centres_add_up_only_in_the_public_code(kept: str) -> None:
    method = rff(other_centre="nearest", centre_gradients=kept, centre_weight=0.4)
    training = method._begin(problem()[0], Context())
    own: list[np.ndarray] = []
    weight: Any = training.networks["centres"].weight
    critic: Any = training.critic
    for batch in [*training.draw(), *training.draw()]:
        means = critic.map(batch.real)[0].detach().double().numpy()
        centres = weight.detach().double().numpy().copy()
        own.append(0.4 * centres_by_loop(means, batch.labels.numpy(), centres, None, 3.0)[1])
        training.critic_step(batch)
        wanted = own[-1] if kept == "step" else sum(own)
        np.testing.assert_allclose(weight.grad, wanted, rtol=1e-4, atol=1e-6)
    assert len(own) == 4


def test_final_classifier_works_on_the_means_of_the_codes() -> None:
    train, query, _ = problem()
    method = rff().fit(train, Context())
    weights = {name: value.double().numpy() for name, value in method.further_["map"].state_dict().items()}

    def means(rows: np.ndarray) -> Tensor:
        halves = rows.astype(np.float64) @ weights["halves.weight"].T + weights["halves.bias"]
        return torch.tensor(np.where(halves > 0, halves, 0.2 * halves)[:, :6], dtype=torch.float32)

    order = query.classes.canonical()
    low, high = train.features.min(axis=0), train.features.max(axis=0)  # minmax over training rows
    semantics = query.classes.semantics[order].astype(np.float64)
    semantics /= np.linalg.norm(semantics, axis=1, keepdims=True)
    stream = random_stream(Context().stream_seed("synthesis"))
    with torch.no_grad():
        fakes = method.generator_.synthesise(torch.tensor(semantics, dtype=torch.float32), 8, stream)
    seed = Context().stream_seed("final classifier")
    references, labels = means(fakes.flatten(0, 1).numpy()), torch.arange(3).repeat_interleave(8)
    layer = train_softmax(references, labels, 3, epochs=2, batch=256, lr=1e-3, seed=seed)
    wanted = log_probabilities(layer, means((query.features - low) / (high - low)))
    found = method.scores(query.features, query.classes)[:, order]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_training_is_set_up_as_published() -> None:
    published = overlay(RFF, "rff", ("published",), "cub", "gzsl")
    method = RFF(**(published | {"hidden": 8, "latent": 5, "pretrain_epochs": 1}))
    training = method._begin(problem()[0], Context())
    assert {name: adam.param_groups[0]["lr"] for name, adam in training.adams.items()} == dict.fromkeys(
        ("critic", "generator", "centres"), 1e-4
    )
    assert training.further["centres"].zeroed == "never"
    assert [(term.name, term.weight, term.step) for term in training.terms] == [
        ("critic", 1.0, "critic"),
        ("classification", 0.2, "generator"),
    ]


def test_ablations_take_their_part_away() -> None:
    train = problem()[0]
    plain = rff(**RFF.ablations["no_centres"].values)._begin(train, Context())
    assert plain.further == {}
    plain.iterate()
    assert plain._sums["centres"].item() == 0.0
    free = rff(**RFF.ablations["no_information"].values)._begin(train, Context())
    for _ in range(3):
        free.iterate()
    (term,) = (term for term in free.terms if term.step == "critic")
    assert term.held[0].item() == 0.0
    summed = dataclasses.replace(rff(), **RFF.ablations["summed_centres"].values)._begin(train, Context())
    assert summed.further["centres"].zeroed == "never"
