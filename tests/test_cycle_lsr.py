"""The terms of cycle-WGAN and LsrGAN against plain float64 loops, and what their options do; ZLA and its control."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from gan_data import SEEN, problem
from torch import Tensor

from zslbench.errors import BadValue
from zslbench.methods import fit_cache
from zslbench.methods.base import Context, Method, Setting, overlay
from zslbench.methods.generative import final_classifiers, regularisers
from zslbench.methods.generative.centres import Centres
from zslbench.methods.generative.cyclewgan import CycleWGAN
from zslbench.methods.generative.fclswgan import FCLSWGAN, GenerativeMethod
from zslbench.methods.generative.loss_terms import GeneratorBatch
from zslbench.methods.generative.lsrgan import LsrGAN
from zslbench.methods.generative.training import GanTraining
from zslbench.methods.generative.zla import ZLA
from zslbench.task import Train

SMALL: dict[str, Any] = {"hidden": 16, "noise": 3, "epochs": 2, "batch": 16, "critic_steps": 1, "pretrain_epochs": 2}


def known() -> Train:
    train, zsl, _ = problem()
    return dataclasses.replace(train, unseen=zsl.classes)


def begun(method: GenerativeMethod) -> GanTraining:
    return method._begin(known() if method.knows_unseen else problem()[0], Context())


def terms_of(training: GanTraining) -> dict[str, tuple[float, Tensor]]:
    """The weight and the value of each term of the generator's loss for a fixed batch; draws are those of term.draw."""
    stream = torch.Generator().manual_seed(3)
    labels = torch.tensor([0, 3, 3, 1, 0, 3])
    fakes = torch.rand(6, training.rows.features.shape[1], generator=stream)
    semantics = training.rows.semantics[labels]
    batch = GeneratorBatch(training.rows.features[:6], fakes, labels, semantics, ())
    values = {}
    for term in training.terms:
        inputs = [batch] if term.sees_batch else [fakes, labels]
        values[term.name] = term.weight, term.loss(training.networks, *inputs, *term.held, *term.draw())
    return values


def plain_similarities(
    fakes: Tensor, labels: list[int], semantics: Tensor, seen: Tensor, centres: Tensor, q: int, margin: float
) -> float:
    """LsrGAN's term, a class and a neighbour at a time."""

    def cosine(x: np.ndarray, y: np.ndarray) -> float:
        return float(x @ y / math.sqrt(x @ x) / math.sqrt(y @ y))

    rows, a, s, mu = (each.detach().double().numpy() for each in (fakes, semantics, seen, centres))
    total = 0.0
    for c in sorted(set(labels)):
        mean = rows[[number for number, label in enumerate(labels) if label == c]].mean(axis=0)
        nearest = sorted(range(len(s)), key=lambda n: -cosine(a[c], s[n]))[:q]
        for n in nearest:
            made, wanted = cosine(mean, mu[n]), cosine(a[c], s[n])
            total += max(0.0, made - wanted - margin) ** 2 + max(0.0, wanted - margin - made) ** 2
    return total / q


@pytest.mark.parametrize("q", [3, 20])
def test_similarities_are_those_of_a_loop_over_classes_and_neighbours(q: int) -> None:
    """More neighbours than there are classes: all of them."""
    training = begun(LsrGAN(**SMALL | {"neighbours": q, "margin": 0.02, "similarity_weight": 2.5}))
    rows = training.rows
    centres = torch.stack([rows.features[rows.labels == c].double().mean(0) for c in range(SEEN)])
    fakes = torch.rand(6, rows.features.shape[1], generator=torch.Generator().manual_seed(3))
    weight, found = terms_of(training)["similarity"]
    wanted = plain_similarities(
        fakes, [0, 3, 3, 1, 0, 3], rows.semantics, rows.semantics, centres, min(q, SEEN), margin=0.02
    )
    assert wanted > 1e-3
    assert weight == 2.5
    assert found.item() == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("similarity_weight", [0.0, 2.0])
def test_the_unseen_term_is_that_of_a_loop_over_fakes(similarity_weight: float) -> None:
    given = {"similarity_weight": similarity_weight, "unseen_weight": 0.3, "neighbours": 2, "margin": 0.01}
    training = begun(LsrGAN(**SMALL | given))
    (term,) = (term for term in training.terms if term.name == "unseen")
    picked, noise = term.draw()
    assert picked.shape == (16,)
    assert set(picked.tolist()) <= {0, 1, 2}
    found = term.weight * term.loss(training.networks, None, None, *term.held, picked, noise)
    unseen, rows = term.held[0], training.rows
    fakes = training.generator(noise, unseen[picked])
    layer = training.networks["classifier"].double()
    wanted = 0.0
    for fake, position in zip(fakes.double(), picked.tolist(), strict=True):
        logits = [weights @ fake + bias for weights, bias in zip(layer.weight, layer.bias, strict=True)]
        assert len(logits) == SEEN + 3
        loss = torch.log(sum(logit.exp() for logit in logits)) - logits[SEEN + position]
        wanted += 0.3 * loss.item() / 16
    centres = torch.stack([rows.features[rows.labels == c].double().mean(0) for c in range(SEEN)])
    of_classes = plain_similarities(fakes, picked.tolist(), unseen, rows.semantics, centres, 2, margin=0.01)
    assert found.item() == pytest.approx(wanted + similarity_weight * of_classes, rel=1e-4)


@pytest.mark.parametrize("sr_grad", [True, False])
def test_similarities_have_a_gradient_unless_the_public_codes_fault_is_asked_for(sr_grad: bool) -> None:
    fakes = torch.rand(6, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    centres, labels = torch.eye(4), torch.tensor([0, 1, 1, 2, 0, 3])
    nearest, wanted = regularisers.nearest_classes(torch.eye(4), torch.eye(4), 2)
    loss = regularisers.similarity_loss(fakes, labels, centres, nearest, wanted, margin=0.05, gradient=sr_grad)
    assert loss.item() > 0.1
    assert loss.requires_grad is sr_grad
    if sr_grad:
        (gradient,) = torch.autograd.grad(loss, fakes)
        assert gradient.abs().sum() > 0.1


def test_without_a_gradient_the_weight_of_similarities_changes_no_result_and_with_one_it_does() -> None:
    train, _, gzsl = known(), *problem()[1:]

    def scores(**given: Any) -> np.ndarray:
        method = LsrGAN(**SMALL | {"per_class": 5, "final_epochs": 2, "lr": 1e-2, "margin": 0.01} | given)
        return method.fit(train, Context()).scores(gzsl.features, gzsl.classes)

    assert np.array_equal(scores(sr_grad=False, similarity_weight=50.0), scores(sr_grad=False, similarity_weight=1.0))
    assert not np.array_equal(scores(similarity_weight=50.0), scores(similarity_weight=1.0))


def test_fakes_of_seen_classes_move_the_generator_and_not_the_classifier_that_judges_them() -> None:
    training = begun(LsrGAN(**SMALL | {"cls_weight": 1.0}))
    networks, labels = training.networks, torch.tensor([0, 1, 2])
    fakes = training.generator(
        torch.randn(3, 3, generator=torch.Generator().manual_seed(1)), training.rows.semantics[labels]
    )
    named = {term.name: term for term in training.terms}
    weights = [*networks["classifier"].parameters()]
    first = next(training.generator.parameters())
    loss = named["classification"].loss(networks, fakes, labels)
    by_generator, *by_classifier = torch.autograd.grad(loss, [first, *weights], allow_unused=True)
    assert by_generator is not None
    assert by_classifier == [None, None]
    batch = GeneratorBatch(training.rows.features[:3], fakes, labels, training.rows.semantics[labels], ())
    loss = named["seen rows"].loss(networks, batch)
    by_generator, *by_classifier = torch.autograd.grad(loss, [first, *weights], allow_unused=True)
    assert by_generator is None
    assert all(gradient is not None for gradient in by_classifier)


@pytest.mark.parametrize("unseen", [False, True])
def test_the_cycle_loss_is_that_of_a_loop_over_fakes_and_attributes(unseen: bool) -> None:
    training = begun(CycleWGAN(**SMALL | {"cls_weight": 0.0, "cycle_weight": 0.7, "cycle_unseen": unseen}))
    rows, terms = training.rows, {term.name: term for term in training.terms}
    assert list(terms) == (["cycle", "cycle of unseen"] if unseen else ["cycle"])
    weights, bias = (held.detach().double().numpy() for held in terms["cycle"].held)
    fakes = torch.rand(6, rows.features.shape[1], generator=torch.Generator().manual_seed(3))
    semantics = rows.semantics[torch.tensor([0, 3, 3, 1, 0, 3])]
    found = terms_of(training)["cycle"]
    assert found[0] == 0.7
    if unseen:
        term = terms["cycle of unseen"]
        picked, noise = term.draw()
        semantics = term.held[2][picked]
        found = term.weight, term.loss(training.networks, None, None, *term.held, picked, noise)
        fakes = training.generator(noise, semantics).detach()
    wanted = 0.0
    for fake, described in zip(fakes.double().numpy(), semantics.double().numpy(), strict=True):
        for weight, shift, value in zip(weights, bias, described, strict=True):
            wanted += (weight @ fake + shift - value) ** 2 / len(bias) / len(fakes)
    assert found[0] == 0.7
    assert found[1].item() == pytest.approx(wanted, rel=1e-4)


def test_the_regressor_reaches_least_squares() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(300, 4)), rng.normal(size=(300, 2))
    wanted, *_ = np.linalg.lstsq(np.c_[x, np.ones(300)], y, rcond=None)
    given = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
    layer = regularisers.train_regressor(*given, epochs=400, seed=1)
    found = torch.cat([layer.weight, layer.bias[:, None]], dim=1).T
    np.testing.assert_allclose(found.numpy(), wanted, atol=0.03)
    assert not layer.weight.requires_grad


def test_fits_share_the_pre_trained_classifier_which_none_of_them_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    fit_cache.clear_cache()
    trained, train_softmax = [], final_classifiers.train_softmax

    def counted(*given: Any, **options: Any) -> torch.nn.Linear:
        trained.append(train_softmax(*given, **options))
        return trained[-1]

    monkeypatch.setattr(final_classifiers, "train_softmax", counted)
    fitted = [LsrGAN(**SMALL, margin=margin).fit(known(), Context()) for margin in (0.1, 0.1, 0.5)]
    assert len(trained) == 1
    weights = [each.further_["classifier"].weight for each in fitted]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], trained[0].weight)


def test_settings_follow_what_the_fit_knows_of_unseen_classes() -> None:
    semantic: list[Method] = [LsrGAN(), CycleWGAN(cycle_unseen=True)]
    inductive: list[Method] = [LsrGAN(unseen_weight=0), CycleWGAN(), CycleWGAN(cycle_unseen=True, cycle_weight=0)]
    assert {method.setting for method in semantic} == {Setting.SEMANTIC}
    assert {method.setting for method in inductive} == {Setting.INDUCTIVE}


@pytest.mark.parametrize("method", [LsrGAN(), CycleWGAN(cycle_unseen=True)])
def test_a_fit_without_the_unseen_classes_that_it_needs_is_refused(method: Method) -> None:
    with pytest.raises(BadValue, match="was given none; give fit a Train with `unseen`"):
        method.fit(problem()[0], Context())


@pytest.mark.parametrize("cls", [CycleWGAN, LsrGAN])
def test_without_its_terms_each_is_f_clswgan_to_the_bit(cls: type[GenerativeMethod]) -> None:
    """Which random streams there are, and what is known of unseen classes, changes nothing."""
    train, _, gzsl = problem()
    given = SMALL | {"per_class": 5, "final_epochs": 2, "cls_weight": 0.5}
    off = {"cycle_weight": 0.0, "cycle_unseen": True}
    if cls is LsrGAN:
        off = {"centre_weight": 0.0, "similarity_weight": 0.0, "unseen_weight": 0.0}
    plain, other = FCLSWGAN(**given), cls(**given | off)
    scores = [method.fit(train, Context()).scores(gzsl.features, gzsl.classes) for method in (plain, other)]
    assert np.array_equal(*scores)


def test_published_cells() -> None:
    values = overlay(LsrGAN, "lsrgan", ("published",), "cub", "gzsl")
    assert LsrGAN(**values).sr_grad is False
    wanted = {"epochs": 40, "per_class": 300, "final_batch": 300, "margin": 0.1, "similarity_weight": 20, "lr": 1e-4}
    assert {name: values[name] for name in wanted} == wanted
    assert overlay(LsrGAN, "lsrgan", ("published",), "cub", "zsl")["similarity_weight"] == 0.15
    assert overlay(ZLA, "zla", ("published",), "awa2", "gzsl")["prior_ratio"] == 1000
    assert overlay(CycleWGAN, "cyclewgan", ("published",), "sun", "zsl")["pretrain_epochs"] == 100


def test_each_of_zlas_three_changes_is_taken_back_alone_and_all_of_them_leave_a_plain_wgan() -> None:
    names = ("classifier_head", "logit_prior", "per_class")
    plain = FCLSWGAN()
    changed = {name for name in names if getattr(ZLA(), name) != getattr(plain, name)}
    assert changed == set(names)
    for ablation, name in zip(("softmax", "no_prior", "many_rows"), names, strict=True):
        method = ZLA(**ZLA.ablations[ablation].values)
        assert {each for each in names if getattr(method, each) == getattr(plain, each)} == {name}
    train, _, gzsl = problem()
    small = SMALL | {"final_epochs": 3}
    methods = [FCLSWGAN(**small | {"cls_weight": 0.0}), ZLA(**ZLA.ablations["neither"].values | small)]
    scores = [method.fit(train, Context()).scores(gzsl.features, gzsl.classes) for method in methods]
    assert np.array_equal(*scores)


def test_centres_learn_the_means_of_seen_classes_and_repeat_what_they_predict() -> None:
    train, _, gzsl = problem()
    method = Centres(hidden=64, iterations=2000, lr=3e-3, decay=0.0, preprocess="none").fit(train, Context())
    made = method.synthesise(gzsl.classes, 4)
    assert made.shape == (len(gzsl.classes), 4, train.features.shape[1])
    assert (made == made[:, :1]).all()
    assert len(np.unique(made[:, 0], axis=0)) == len(gzsl.classes)
    for number in train.classes.ids:
        mean = train.features[train.labels == number].mean(axis=0)
        (at,) = np.flatnonzero(gzsl.classes.ids == number)
        np.testing.assert_allclose(made[at, 0], mean, atol=0.05)
