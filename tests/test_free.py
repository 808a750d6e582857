"""FREE: the refiner's loss on real rows and on fakes, its centres and what the final classifier sees, against loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gan_data import problem

from zslbench.methods.base import Context, overlay
from zslbench.methods.generative.free import FREE
from zslbench.methods.generative.loss_terms import GeneratorBatch
from zslbench.methods.generative.training import GanTraining
from zslbench.methods.generative.wgan import CriticBatch
from zslbench.methods.nn import random_stream

SMALL: dict[str, Any] = {
    "hidden": 9,
    "noise": 4,
    "epochs": 1,
    "batch": 16,
    "critic_steps": 2,
    "lr": 1e-3,
    "per_class": 6,
    "final_epochs": 2,
    "margin": 2.0,
}


def free(**given: Any) -> FREE:
    return FREE(**(SMALL | given))


def refine(training: GanTraining, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the refiner's hidden layer, means and deviations."""
    w = {name: value.detach().double().numpy() for name, value in training.networks["refiner"].named_parameters()}
    hidden = rows @ w["first.weight"].T + w["first.bias"]
    hidden = np.where(hidden > 0, hidden, 0.2 * hidden)
    mean, deviation = np.split(hidden @ w["halves.weight"].T + w["halves.bias"], 2, axis=1)
    return hidden, mean, 1 / (1 + np.exp(-deviation))


def semantic_error(training: GanTraining, rows: np.ndarray, noise: np.ndarray, semantics: np.ndarray) -> float:
    _, mean, deviation = refine(training, rows)
    total = 0.0
    for i in range(len(rows)):
        error = 1 / (1 + np.exp(-(mean[i] + noise[i] * deviation[i]))) - semantics[i]
        total += sum(e**2 / np.sqrt((error**2).sum()) * abs(e) for e in error)
    return total / len(rows)


def centres_by_loop(
    means: np.ndarray, labels: np.ndarray, centres: np.ndarray, others: list[int] | None
) -> tuple[float, np.ndarray]:
    """Return the centre loss of margin 2 and share 0.7 and its gradient by the centres."""
    loss, gradient = 0.0, np.zeros_like(centres)
    for i, row in enumerate(means):
        distances = ((centres - row) ** 2).sum(axis=1)
        away = [c for c in range(len(centres)) if c != labels[i]]
        other = others[i] if others is not None else min(away, key=lambda c: distances[c])
        hinge = 2 + 0.7 * distances[labels[i]] - 0.3 * distances[other]
        if hinge > 0:
            loss += hinge
            gradient[labels[i]] -= 0.7 * 2 * (row - centres[labels[i]])
            gradient[other] += 0.3 * 2 * (row - centres[other])
    return loss / len(means), gradient / len(means)


@pytest.mark.parametrize("other_centre", ["random", "nearest"])
def test_losses_of_the_refiner_match_loops(other_centre: str) -> None:
    training = free(decoder_weight=0.3, centre_weight=0.4, share=0.7, other_centre=other_centre)._begin(
        problem()[0], Context()
    )
    batch = training.draw()[0]
    training.networks.further.double()
    for parameter in training.networks["refiner"].parameters():
        torch.nn.init.normal_(parameter, generator=random_stream(2))
    terms = {term.name: term for term in training.terms}
    real, fake, semantics = (part.double() for part in (batch.real, batch.fake, batch.semantics))
    noise, others = terms["refiner"].draw()
    noise = noise.double()
    given = CriticBatch(real, fake, batch.labels, semantics, batch.mix)
    loss, *notes = terms["refiner"].loss(training.networks, given, noise, others)
    means = refine(training, real.numpy())[1]
    weight: Any = training.networks["centres"].weight
    picked = others.tolist() if other_centre == "random" else None
    away, _ = centres_by_loop(means, batch.labels.numpy(), weight.detach().numpy(), picked)
    error = semantic_error(training, real.numpy(), noise[0].numpy(), semantics.numpy())
    assert away > 0
    assert loss.item() == pytest.approx(0.4 * away + 0.3 * error, rel=1e-9)
    assert [note.item() for note in notes] == pytest.approx([away, error], rel=1e-9)
    noise, others = terms["recovered"].draw()
    noise = noise.double()
    made = GeneratorBatch(real, fake, batch.labels, semantics, ())
    found: Any = terms["recovered"].loss(training.networks, made, noise, others)
    assert terms["recovered"].weight == 0.3
    assert found.item() == pytest.approx(
        semantic_error(training, fake.numpy(), noise[0].numpy(), semantics.numpy()), rel=1e-9
    )


@pytest.mark.parametrize("kept", ["step", "never"])
def test_gradients_of_the_centres_add_up_only_in_the_public_code(kept: str) -> None:
    method = free(other_centre="nearest", centre_gradients=kept, centre_weight=0.4, share=0.7)
    training = method._begin(problem()[0], Context())
    weight: Any = training.networks["centres"].weight
    own: list[np.ndarray] = []
    for batch in [*training.draw(), *training.draw()]:
        means = refine(training, batch.real.double().numpy())[1]
        centres = weight.detach().double().numpy().copy()
        own.append(0.4 * centres_by_loop(means, batch.labels.numpy(), centres, None)[1])
        training.critic_step(batch)
        wanted = own[-1] if kept == "step" else sum(own)
        np.testing.assert_allclose(weight.grad, wanted, rtol=1e-4, atol=1e-6)
    assert len(own) == 4


@pytest.mark.parametrize("frozen", [False, True])
def test_generator_steps_update_the_refiner_unless_it_is_frozen(frozen: bool) -> None:
    training = free(freeze_refiner=frozen, decoder_weight=1.0)._begin(problem()[0], Context())
    batch = training.draw()[-1]
    training.critic_step(batch)
    before = [parameter.clone() for parameter in training.networks["refiner"].parameters()]
    centres = training.networks["centres"].weight.clone()  # type: ignore[operator]
    training.generator_step(batch.labels, batch.real)
    same = [torch.equal(*pair) for pair in zip(before, training.networks["refiner"].parameters(), strict=True)]
    assert all(same) is frozen
    assert torch.equal(centres, training.networks["centres"].weight)  # type: ignore[arg-type]


def test_classifier_sees_features_and_layers_of_the_refiner() -> None:
    train, query, _ = problem()
    method = free()
    training = method._begin(train, Context())
    rows = torch.rand(5, 12, generator=random_stream(1))
    hidden, means, _ = refine(training, rows.double().numpy())
    x = rows.double().numpy()
    for name, parts in {"x": [x], "x+h": [x, hidden], "full": [x, hidden, means]}.items():
        method.classifier_input = name
        with torch.no_grad():
            seen = method._represent(rows)
        np.testing.assert_allclose(seen, np.concatenate(parts, axis=1), rtol=1e-5, atol=1e-6)
    fitted = [free(classifier_input=name).fit(train, Context()) for name in ("x", "full")]
    first, second = (each.scores(query.features, query.classes) for each in fitted)
    assert not np.allclose(first, second)


def test_training_is_set_up_as_published() -> None:
    published = overlay(FREE, "free", ("published",), "flo", "gzsl")
    assert (published["critic_steps"], published["encoded_noise"], published["final_batch"]) == (5, False, 2400)
    published = overlay(FREE, "free", ("published",), "awa2", "gzsl")
    training = FREE(**(published | {"hidden": 8}))._begin(problem()[0], Context())
    assert {name: (each.zeroed, each.steps) for name, each in training.further.items()} == {
        "encoder": ("step", ("generator",)),
        "refiner": ("step", ("critic",)),
        "centres": ("never", ("critic",)),
    }
    assert {term.name: (term.weight, term.step) for term in training.terms} == {
        "vae": (1.0, "generator"),
        "refiner": (1.0, "critic"),
        "recovered": (1e-3, "generator"),
    }


def test_ablations_take_their_part_away() -> None:
    train = problem()[0]
    without = free(**FREE.ablations["no_centres"].values)._begin(train, Context())
    assert "centres" not in without.further
    without.iterate()
    assert without._sums["centres"].item() == 0.0
    without = free(**FREE.ablations["no_semantics"].values)._begin(train, Context())
    assert {term.name for term in without.terms} == {"vae", "refiner"}
    both = {**FREE.ablations["no_semantics"].values, **FREE.ablations["no_centres"].values}
    without = free(**both)._begin(train, Context())
    assert {term.name for term in without.terms} == {"vae"}
    assert free(**FREE.ablations["features_only"].values).classifier_input == "x"
    assert free(**FREE.ablations["summed_centres"].values).centre_gradients == "never"
