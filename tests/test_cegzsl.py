"""CE-GZSL: both contrasts in both steps against loops in float64, and the gradients of its comparator."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np
import pytest
import torch
from gan_data import problem
from torch import Tensor

from zslbench.methods.base import Context, overlay
from zslbench.methods.generative.cegzsl import CEGZSL
from zslbench.methods.generative.final_classifiers import log_probabilities, train_softmax
from zslbench.methods.generative.loss_terms import GeneratorBatch
from zslbench.methods.generative.training import GanTraining
from zslbench.methods.generative.wgan import CriticBatch
from zslbench.methods.nn import random_stream

SMALL: dict[str, Any] = {
    "hidden": 16,
    "embedding": 9,
    "projection": 4,
    "comparator": 7,
    "noise": 3,
    "epochs": 2,
    "batch": 16,
    "critic_steps": 2,
    "lr": 1e-3,
    "per_class": 8,
    "final_epochs": 2,
}


def cegzsl(**given: Any) -> CEGZSL:
    return CEGZSL(**(SMALL | given))


def begin(**given: Any) -> GanTraining:
    """Return a training in float64 whose weights are not small."""
    training = cegzsl(**given)._begin(problem()[0], Context())
    training.networks.further.double()
    for parameter in training.networks.further.parameters():
        torch.nn.init.normal_(parameter, generator=random_stream(2))
    return training


def embed(training: GanTraining, rows: Tensor) -> tuple[np.ndarray, np.ndarray]:
    w = {name: value.detach().numpy() for name, value in training.networks["embedding"].named_parameters()}
    hidden = np.maximum(rows.detach().numpy() @ w["first.weight"].T + w["first.bias"], 0)
    out = hidden @ w["second.weight"].T + w["second.bias"]
    return hidden, out / np.linalg.norm(out, axis=1, keepdims=True)


def contrast_rows(unit: np.ndarray, labels: list[int], temperature: float) -> float:
    each = []
    for i in range(len(unit)):
        positives = [p for p in range(len(unit)) if p != i and labels[p] == labels[i]]
        total = sum(math.exp(unit[i] @ unit[a] / temperature) for a in range(len(unit)) if a != i)
        logs = [math.log(math.exp(unit[i] @ unit[p] / temperature) / total) for p in positives]
        each += [-sum(logs) / len(logs)] if logs else []
    return sum(each) / len(each)


def contrast_classes(training: GanTraining, hidden: np.ndarray, labels: list[int], temperature: float) -> float:
    w = {name: value.detach().numpy() for name, value in training.networks["comparator"].named_parameters()}
    semantics = training.rows.semantics.double().numpy()
    first = np.concatenate([w["from_features.weight"], w["from_semantics.weight"]], axis=1)
    each = []
    for row, label in zip(hidden, labels, strict=True):
        logits = []
        for vector in semantics:  # every pair by itself, concatenated
            pre = first @ np.concatenate([row, vector]) + w["from_features.bias"]
            active = np.where(pre > 0, pre, 0.2 * pre)
            logits.append(float(w["value.weight"][0] @ active + w["value.bias"][0]) / temperature)
        top = max(logits)
        each.append(top + math.log(sum(math.exp(value - top) for value in logits)) - logits[label])
    return sum(each) / len(each)


def test_contrasts_of_both_steps_match_loops() -> None:
    training = begin(contrast_temperature=0.7, instance_weight=0.3, class_weight=0.2)
    real, fake, labels, semantics, mix = training.draw()[0]
    real, fake, mix = real.double(), fake.double(), mix.double()
    terms = {term.name: term for term in training.terms}
    held = (training.rows.semantics.double(),)
    loss, *notes = terms["embedding"].loss(training.networks, CriticBatch(real, fake, labels, semantics, mix), *held)
    classes = labels.tolist()
    assert len(set(classes)) < len(classes)  # some anchors have positives
    hidden, unit = embed(training, real)
    rows, pairs = contrast_rows(unit, classes, 0.7), contrast_classes(training, hidden, classes, 0.7)
    assert loss.item() == pytest.approx(rows + pairs, rel=1e-9)
    assert [note.item() for note in notes] == pytest.approx([rows, pairs], rel=1e-9)

    fake = fake.requires_grad_()
    batch = GeneratorBatch(real.requires_grad_(), fake, labels, semantics, ())
    loss, *notes = terms["contrast"].loss(training.networks, batch, *held)
    hidden, of_fakes = embed(training, fake)
    both = np.concatenate([of_fakes, unit])
    rows, pairs = contrast_rows(both, classes * 2, 0.7), contrast_classes(training, hidden, classes, 0.7)
    assert loss.item() == pytest.approx(0.3 * rows + 0.2 * pairs, rel=1e-9)
    assert [note.item() for note in notes] == pytest.approx([rows, pairs], rel=1e-9)
    of_fake, of_real = torch.autograd.grad(loss, [fake, real], allow_unused=True)
    assert of_real is None  # the real side is held fixed
    assert of_fake.abs().sum() > 0


@pytest.mark.parametrize("kept", ["step", "round"])
def test_gradients_of_the_comparator_add_up_only_in_the_public_code(kept: str) -> None:
    training = cegzsl(comparator_gradients=kept)._begin(problem()[0], Context())
    comparator = training.networks["comparator"]
    (term,) = (term for term in training.terms if term.step == "critic")
    weights = list(comparator.parameters())
    own: list[list[Tensor]] = []
    for epoch in range(2):
        training.steps(0, lambda _name: contextlib.nullcontext()) if epoch else None
        own.clear()
        for batch in [*training.draw(), *training.draw()]:
            loss = term.loss(training.networks, batch, *term.held)[0]
            own.append(list(torch.autograd.grad(loss, weights)))
            training.critic_step(batch)
            wanted = own[-1] if kept == "step" else [sum(each) for each in zip(*own, strict=True)]
            for weight, gradient in zip(weights, wanted, strict=True):
                torch.testing.assert_close(weight.grad, gradient, rtol=1e-4, atol=1e-6)
        if kept == "round":
            last = weights[0].grad
            assert last is not None
            assert not torch.allclose(last, own[-1][0], rtol=1e-2)


def test_generator_steps_leave_embedding_and_comparator_as_they_are() -> None:
    training = cegzsl(instance_weight=1.0, class_weight=1.0)._begin(problem()[0], Context())
    batch = training.draw()[-1]
    training.critic_step(batch)
    before = [parameter.clone() for parameter in training.networks.further.parameters()]
    made = training.generator.out.weight.clone()
    training.generator_step(batch.labels, batch.real)
    assert all(torch.equal(*pair) for pair in zip(before, training.networks.further.parameters(), strict=True))
    assert not torch.equal(made, training.generator.out.weight)


def test_final_classifier_works_on_the_hidden_layer() -> None:
    train, query, _ = problem()
    method = cegzsl().fit(train, Context())
    w = {name: value.double().numpy() for name, value in method.further_["embedding"].state_dict().items()}

    def hidden(rows: np.ndarray) -> Tensor:
        return torch.tensor(np.maximum(rows @ w["first.weight"].T + w["first.bias"], 0), dtype=torch.float32)

    order = query.classes.canonical()
    low, high = train.features.min(axis=0), train.features.max(axis=0)  # minmax over training rows
    semantics = query.classes.semantics[order].astype(np.float64)
    semantics /= np.linalg.norm(semantics, axis=1, keepdims=True)
    stream = random_stream(Context().stream_seed("synthesis"))
    with torch.no_grad():
        fakes = method.generator_.synthesise(torch.tensor(semantics, dtype=torch.float32), 8, stream)
    seed = Context().stream_seed("final classifier")
    references, labels = hidden(fakes.flatten(0, 1).double().numpy()), torch.arange(3).repeat_interleave(8)
    layer = train_softmax(references, labels, 3, epochs=2, batch=256, lr=1e-3, seed=seed)
    wanted = log_probabilities(layer, hidden((query.features - low) / (high - low)))
    found = method.scores(query.features, query.classes)[:, order]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_training_is_set_up_as_published() -> None:
    published = overlay(CEGZSL, "cegzsl", ("published",), "sun", "gzsl")
    assert (published["per_class"], published["final_batch"], published["epochs"]) == (100, 100, 1000)
    small = {"hidden": 8, "embedding": 9, "projection": 4, "comparator": 7}
    training = CEGZSL(**(published | small))._begin(problem()[0], Context())
    names = ("critic", "generator", "embedding", "comparator")
    assert {name: adam.param_groups[0]["lr"] for name, adam in training.adams.items()} == dict.fromkeys(names, 5e-5)
    assert {each.zeroed for each in training.further.values()} == {"step", "round"}
    assert [(term.name, term.step) for term in training.terms] == [("embedding", "critic"), ("contrast", "generator")]


def test_ablations_take_their_part_away() -> None:
    for name in ("no_instances", "no_classes"):
        values: dict[str, Any] = {"instance_weight": 0.3, "class_weight": 0.2, "contrast_temperature": 0.7}
        training = begin(**(values | dict(CEGZSL.ablations[name].values)))
        real, fake, labels, semantics, _ = training.draw()[0]
        (term,) = (term for term in training.terms if term.step == "generator")
        batch = GeneratorBatch(real.double(), fake.double(), labels, semantics, ())
        loss, rows, pairs = term.loss(training.networks, batch, training.rows.semantics.double())
        wanted = 0.2 * pairs if name == "no_instances" else 0.3 * rows
        assert loss.item() == pytest.approx(wanted.item(), rel=1e-12)
    assert cegzsl(**CEGZSL.ablations["summed_comparator"].values).comparator_gradients == "round"
