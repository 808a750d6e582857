"""Prototype head, prior and entropy margin of a final classifier, alone and together, against plain float64 loops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from gan_data import UNSEEN, problem

from zslbench.methods.base import Context
from zslbench.methods.generative.fclswgan import FCLSWGAN
from zslbench.methods.generative.final_classifiers import PrototypeHead, SoftmaxTraining, entropy_margin
from zslbench.methods.generative.lisgan import LisGAN
from zslbench.methods.nn import linear, random_stream

CLASSES, ROWS, WIDTH, ATTRIBUTES, HIDDEN = 4, 17, 6, 3, 5
PRIOR = [math.log(share) for share in (0.5, 0.3, 0.15, 0.05)]
SMALL: dict[str, Any] = {"hidden": 16, "noise": 3, "epochs": 2, "batch": 16, "critic_steps": 1, "pretrain_epochs": 2}
SMALL |= {"per_class": 7, "final_epochs": 30, "final_batch": 16, "final_lr": 0.02, "prototype_hidden": 32}


def plain_logits(name: str, weights: list[torch.Tensor], row: torch.Tensor, semantics: torch.Tensor) -> list[Any]:
    """Logits of one row, a class at a time: w_c·x + b_c, or cos(x, W₂ LReLU(W₁ a_c + b₁) + b₂) / 0.05."""
    if name == "softmax":
        return [weight @ row + bias for weight, bias in zip(*weights, strict=True)]
    logits = []
    for described in semantics:
        hidden = [unit if unit > 0 else 0.2 * unit for unit in weights[0] @ described + weights[1]]
        prototype = weights[2] @ torch.stack(hidden) + weights[3]
        logits.append(prototype @ row / (prototype @ prototype).sqrt() / (row @ row).sqrt() / 0.05)
    return logits


def plain_margin(rows: list[list[Any]], labels: list[int]) -> Any:
    """Return Σ_g relu(0.2 + mean H_g of rows of g − mean H_g of the others), g the first two classes or the rest."""
    entropies: dict[tuple[bool, bool], list[Any]] = {}
    for logits, label in zip(rows, labels, strict=True):
        chances = torch.softmax(torch.stack(logits), 0)
        for seen, among in (True, chances[:2]), (False, chances[2:]):
            entropies.setdefault((seen, label < 2), []).append(-sum(p * p.log() for p in among))
    mean = {key: sum(values) / len(values) for key, values in entropies.items()}
    return sum(torch.relu(0.2 + mean[seen, seen] - mean[seen, not seen]) for seen in (True, False))


@pytest.mark.parametrize("margin", [0.0, 0.7])
@pytest.mark.parametrize("with_prior", [False, True])
@pytest.mark.parametrize("name", ["softmax", "prototype"])
def test_the_loss_of_a_final_classifier_is_that_of_a_loop_over_rows_and_classes(
    name: str, with_prior: bool, margin: float
) -> None:
    """Seven epochs of Adam with decay, halved after every third, in float64: one step of all rows per epoch."""
    stream = random_stream(5)
    rows, semantics = torch.rand(ROWS, WIDTH, generator=stream), torch.rand(CLASSES, ATTRIBUTES, generator=stream)
    labels = torch.randint(CLASSES, (ROWS,), generator=stream)
    head = PrototypeHead(semantics, HIDDEN, WIDTH, 0.05, random_stream(7))
    layer = linear(WIDTH, CLASSES, random_stream(7)) if name == "softmax" else head
    weights = [weight.detach().double().requires_grad_() for weight in layer.parameters()]
    prior = torch.tensor(PRIOR) if with_prior else None
    given = {"batch": ROWS, "lr": 0.1, "seed": 1, "prior": prior, "decay": 0.01, "halved_every": 3}
    given["margin"] = (margin, torch.arange(CLASSES) < 2) if margin else None
    trained = SoftmaxTraining(rows, labels, layer, **given).train(7)  # type: ignore[arg-type]
    firsts, seconds = ([torch.zeros_like(weight) for weight in weights] for _ in range(2))
    for step in range(1, 8):
        of_rows = [plain_logits(name, weights, row, semantics.double()) for row in rows.double()]
        loss = margin * plain_margin(of_rows, labels.tolist())
        for logits, label in zip(of_rows, labels.tolist(), strict=True):
            logits = [logit + log for logit, log in zip(logits, PRIOR if with_prior else [0.0] * 4, strict=True)]
            loss = loss - (logits[label] - torch.log(sum(logit.exp() for logit in logits))) / ROWS
        gradients = torch.autograd.grad(loss, weights)
        lr = 0.1 * 0.5 ** ((step - 1) // 3)
        with torch.no_grad():
            for weight, gradient, first, second in zip(weights, gradients, firsts, seconds, strict=True):
                full = gradient + 0.01 * weight
                first.mul_(0.5).add_(0.5 * full)
                second.mul_(0.999).add_(0.001 * full**2)
                weight -= lr * (first / (1 - 0.5**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
    for weight, wanted in zip(trained.parameters(), weights, strict=True):
        np.testing.assert_allclose(weight.detach().numpy(), wanted.detach().numpy(), rtol=2e-3, atol=2e-4)
    wanted = torch.stack(plain_logits(name, weights, rows[0].double(), semantics.double()))
    np.testing.assert_allclose(
        trained(rows[:1])[0].detach(), wanted.detach(), rtol=5e-3, atol=5e-3
    )  # without the prior


def test_the_prior_is_that_of_the_formula() -> None:
    """Ratio 4: four fifths for seen classes by their rows, a fifth for unseen ones in equal parts."""
    train, zsl, gzsl = problem()
    method = FCLSWGAN(**SMALL | {"logit_prior": "ratio", "prior_ratio": 4.0})
    fewer = np.r_[
        np.flatnonzero(train.labels == train.classes.ids[0])[:3], np.flatnonzero(train.labels != train.classes.ids[0])
    ]
    method._prepare(type(train)(train.features[fewer], train.labels[fewer], train.classes), torch.device("cpu"))
    logs = method._log_prior(gzsl.classes)
    assert logs is not None
    for number, log in zip(gzsl.classes.ids, logs.tolist(), strict=True):
        rows = int((train.labels[fewer] == number).sum())
        wanted = 4 / 5 * rows / len(fewer) if rows else 1 / 5 / UNSEEN
        assert log == pytest.approx(math.log(wanted), abs=1e-6)
    assert logs.exp().sum().item() == pytest.approx(1)
    assert method._log_prior(zsl.classes) is None
    assert FCLSWGAN(**SMALL)._log_prior(gzsl.classes) is None


@pytest.mark.parametrize("head", ["softmax", "prototype"])
def test_a_higher_prior_of_seen_classes_makes_unseen_ones_likelier(head: str) -> None:
    """Unseen candidates alone: a linear classifier has only their rows; prototypes learn from seen rows too."""
    train, zsl, gzsl = problem()
    ratios = [1e-2, 1.0, 1e3]
    given = SMALL | {"classifier_head": head}
    points = [FCLSWGAN(**given | {"logit_prior": "ratio", "prior_ratio": ratio}) for ratio in ratios]
    points.append(FCLSWGAN(**given))
    unseen = ~np.isin(gzsl.classes.ids, train.classes.ids)
    shares, alone = [], []
    for method in FCLSWGAN.fit_grid(points, train, Context()):
        chances = np.exp(method.scores(gzsl.features, gzsl.classes).astype(np.float64))
        np.testing.assert_allclose(chances.sum(axis=1), 1, rtol=1e-5)  # one scale, as stacking needs it
        shares.append(chances[:, unseen].sum(axis=1).mean())
        alone.append(method.scores(zsl.features, zsl.classes))
    assert 2 * shares[0] < shares[1] < shares[2] / 2
    for scores in alone:
        np.testing.assert_allclose(np.exp(scores.astype(np.float64)).sum(axis=1), 1, rtol=1e-5)
        assert head == "prototype" or np.array_equal(scores, alone[-1])


def test_prototypes_of_unseen_candidates_are_those_of_all_classes() -> None:
    """A query of unseen candidates is answered by the classifier of all classes, restricted to them."""
    train, zsl, gzsl = problem()
    method = FCLSWGAN(**SMALL | {"classifier_head": "prototype", "logit_prior": "ratio"}).fit(train, Context())
    alone = method.scores(zsl.features, zsl.classes).astype(np.float64)
    both = method.scores(zsl.features, gzsl.classes).astype(np.float64)[:, gzsl.classes.positions(zsl.classes.ids)]
    np.testing.assert_allclose(alone, both - np.log(np.exp(both).sum(axis=1, keepdims=True)), atol=1e-5)


def test_the_entropy_margin_changes_gzsl_alone_and_is_kept_in_its_direction() -> None:
    """A heavy one parts the entropies of seen and unseen rows; without seen candidates there is nothing to part."""
    train, zsl, gzsl = problem()
    points = [FCLSWGAN(**SMALL | {"entropy_margin": weight}) for weight in (0.0, 50.0)]
    unseen = ~np.isin(gzsl.classes.ids, train.classes.ids)
    hinges, alone = [], []
    for method in FCLSWGAN.fit_grid(points, train, Context()):
        alone.append(method.scores(zsl.features, zsl.classes))
        order = gzsl.classes.canonical()
        rows, labels = (part.numpy() for part in method._references(gzsl.classes.take(order)))
        logs = method.classify(
            torch.from_numpy(rows), torch.from_numpy(rows), torch.from_numpy(labels), gzsl.classes.take(order)
        )
        hinges.append(float(entropy_margin(logs, torch.from_numpy(labels), torch.from_numpy(~unseen[order]))))
    assert hinges[1] < hinges[0] / 2
    assert np.array_equal(*alone)


@pytest.mark.parametrize("second_start", ["anew", "first"])
def test_the_cascade_trains_both_its_classifiers_with_head_and_prior(
    second_start: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    real = SoftmaxTraining.__init__

    def spied(training: SoftmaxTraining, *given: Any, **named: Any) -> None:
        real(training, *given, **named)
        made.append((type(training.layer), named["prior"]))

    monkeypatch.setattr(SoftmaxTraining, "__init__", spied)
    train, _, gzsl = problem()
    given = {"classifier_head": "prototype", "logit_prior": "ratio", "second_start": second_start, "cls_weight": 0.0}
    method = LisGAN(**SMALL | given).fit(train, Context())
    method.scores(gzsl.features, gzsl.classes)
    assert [kind for kind, _ in made] == [PrototypeHead] * (1 if second_start == "first" else 2)
    wanted = method._log_prior(gzsl.classes.take(gzsl.classes.canonical()))
    assert wanted is not None
    assert all(torch.equal(prior, wanted) for _, prior in made)
