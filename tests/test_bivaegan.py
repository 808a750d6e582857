"""Bi-VAEGAN against a plain loop in float64, its class priors, and the marks of its runs."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gan_data import D, problem
from test_vaegan import Plain, _float64, leaky  # noqa: F401  (a fixture)

import zslbench
from zslbench.errors import BadValue
from zslbench.methods.base import Context
from zslbench.methods.generative.bivaegan import BiVAEGAN, estimate_class_prior
from zslbench.methods.generative.training import GanTraining, SeenRows
from zslbench.methods.nn import random_stream
from zslbench.runner.plan import RunOptions, plan
from zslbench.task import Train

SMALL: dict[str, Any] = {"hidden": 9, "noise": 4, "batch": 8, "critic_steps": 3, "lr": 1e-3, "per_class": 6}
SHARES = np.array([0.5, 0.2, 0.3], dtype=np.float32)


def told() -> Train:
    """Return the small problem with what the method is told: the shares are not those of its rows."""
    train, query, _ = problem()
    return dataclasses.replace(train, unseen=query.classes, unlabelled=query.features, class_prior=SHARES)


def begin(method: BiVAEGAN) -> GanTraining:
    """Return the training of a method in float64, with weights that are large enough for every kink to matter."""
    training = method._begin(told(), Context(5))
    rows = training.rows
    training.rows = SeenRows(rows.features.double(), rows.labels, rows.semantics.double())
    training._held = [[tensor.double() for tensor in held] for held in training._held]
    stream = random_stream(1)
    for parameter in training.networks.parameters():
        torch.nn.init.normal_(parameter, std=0.4, generator=stream)
    return training


class PlainBi(Plain):
    """The losses of the card as a plain loop: weights by name, autograd throughout, torch's Adam."""

    method: BiVAEGAN

    def __init__(self, method: BiVAEGAN, training: GanTraining) -> None:
        super().__init__(method, training)
        names = {name.split(".")[1] for name in self.w if name.startswith("further.")} - {"encoder"}
        for name in names:
            weights = [value for full, value in self.w.items() if full.startswith(f"further.{name}.")]
            self.adams[name] = torch.optim.Adam(weights, lr=method.lr, betas=(0.5, 0.999))
        self.streams |= {name: random_stream(Context(5).stream_seed(name)) for name in ("unseen rows", "unseen critic")}
        train, order = told(), told().unseen.canonical()  # type: ignore[union-attr]
        self.unlabelled, self.unseen = training._held[1][:2]
        described = torch.tensor(train.unseen.semantics[order]).double()  # type: ignore[union-attr]
        rows = self.sphere(torch.tensor(train.unlabelled).double())
        torch.testing.assert_close(self.unseen, described / described.norm(dim=1, keepdim=True), rtol=1e-6, atol=0)
        torch.testing.assert_close(self.unlabelled, rows, rtol=1e-6, atol=1e-7)
        self.bounds = torch.tensor(SHARES[order]).cumsum(0)
        self.weight = method.gp

    def sphere(self, x: torch.Tensor) -> torch.Tensor:
        return self.method.radius * x / x.square().sum(1, keepdim=True).sqrt()

    def generate(self, z: torch.Tensor, a: torch.Tensor, back: torch.Tensor | float = 0.0) -> torch.Tensor:
        hidden = leaky(self.layer("generator.from_noise", z) + a @ self.w["generator.from_semantics.weight"].T)
        return self.sphere(self.layer("generator.out", hidden))

    def read(self, x: torch.Tensor) -> torch.Tensor:
        out = self.layer("further.regressor.second", leaky(self.layer("further.regressor.first", x)))
        return out / out.square().sum(1, keepdim=True).sqrt()

    def rate(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return self.layer(f"further.{name}.value", leaky(self.layer(f"further.{name}.from_features", x)))[:, 0]

    def penalty(self, name: str, real: torch.Tensor, fake: torch.Tensor, mix: torch.Tensor) -> torch.Tensor:
        between = (mix * real + (1 - mix) * fake).detach().requires_grad_()
        (slope,) = torch.autograd.grad(self.rate(name, between).sum(), between, create_graph=True)
        return (slope.norm(dim=1) - 1).square().mean()

    def draw(self, purpose: str, mixes: int) -> tuple[torch.Tensor, ...]:
        stream, m = self.streams[purpose], self.method.batch
        picked = torch.rand(len(self.unlabelled), generator=stream).argsort(descending=True)[:m]
        shares = torch.rand(m, generator=stream, dtype=torch.float32)
        classes = [min(int((self.bounds < share).sum()), 2) for share in shares]
        noise, mix = torch.randn(m, self.method.noise, generator=stream), torch.rand(mixes, 1, generator=stream)
        return self.unlabelled[picked], self.unseen[classes], noise, mix

    def semantic_error(self, x: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
        e = self.read(x) - a
        return sum(row.abs().pow(3).sum() / row.norm() for row in e) / len(e)  # type: ignore[return-value]

    def update(self, name: str, loss: torch.Tensor) -> None:
        """Set the gradients of one network by one loss; its Adam steps later."""
        weights = [value for group in self.adams[name].param_groups for value in group["params"]]
        for value, gradient in zip(weights, torch.autograd.grad(loss, weights, retain_graph=True), strict=True):
            value.grad = gradient

    def iteration(self, weight: float = 0.0) -> dict[str, float]:
        how, m, k = self.method, self.method.batch, self.method.critic_steps
        parts = 1 if how.encoded_noise else 2
        keys = torch.rand(k, len(self.rows.features), generator=self.streams["batches"])
        mix = torch.rand(k, m, 1, generator=self.streams["interpolation"])
        noise = torch.randn(k, m, parts * how.noise, generator=self.streams["noise"])
        first, second = [], []
        for step in range(k):
            if how.unseen_gamma:
                x_u, a_u, z_u, mix_u = self.draw("unseen critic", m)
                fake = self.generate(z_u, a_u).detach()
                second.append(self.penalty("unseen_critic", x_u, fake, mix_u))
                apart = self.rate("unseen_critic", fake).mean() - self.rate("unseen_critic", x_u).mean()
                self.update("unseen_critic", apart + self.weight * second[-1])
                self.adams["unseen_critic"].step()
            picked = keys[step].argsort(descending=True)[:m]
            x, a = self.rows.features[picked], self.rows.semantics[self.rows.labels[picked]]
            code = noise[step][:, : how.noise]
            fake = self.generate(self.encode(x, a, code)[0] if how.encoded_noise else code, a).detach()
            between = (mix[step] * x + (1 - mix[step]) * fake).requires_grad_()
            (slope,) = torch.autograd.grad(self.value(between, a).sum(), between, create_graph=True)
            first.append((slope.norm(dim=1) - 1).square().mean())
            loss = self.value(fake, a).mean() - self.value(x, a).mean() + self.gp * first[-1]
            self.update("critic", how.gamma * loss)
            self.adams["critic"].step()

        def moved(gp: float, penalties: list[torch.Tensor]) -> float:
            middle = sum(penalties) / k
            return gp * (1.1 if middle > 1.05 else 1 / 1.1 if middle < 1.001 else 1.0)

        if how.gp_adapt == "tf":
            self.gp, self.weight = moved(self.gp, first), moved(self.weight, second)
        drawn = torch.randn(m, parts * how.noise, generator=self.streams["noise"])
        code, mean, log_variance = self.encode(x, a, drawn[:, -how.noise :])
        made = self.generate(code, a)
        error = (made - x).square().sum() / m
        error = error / (m * D) if how.vae_error == "entry" else error
        vae = error - 0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum() / m
        x_u, a_u, z_u, mix_u = self.draw("unseen rows", 2 * m)
        fake_u = self.generate(z_u, a_u)
        remapped = self.semantic_error(fake_u, a_u)
        fake = made if how.encoded_noise else self.generate(drawn[:, : how.noise], a)
        of_generator = vae - how.gamma * self.value(fake, a).mean() + how.regressor_weight * remapped
        if how.unseen_gamma:
            of_generator = of_generator - how.unseen_gamma * self.rate("unseen_critic", fake_u).mean()
        regressor = of_regressor = self.semantic_error(x, a)
        if how.attribute_weight:
            seen, unseen = self.read(x), self.read(x_u)
            of_critic = 0.1 * self.penalty("attribute_critic", torch.cat([a, a_u]), torch.cat([seen, unseen]), mix_u)
            for read, real in ((seen, a), (unseen, a_u)):
                value = self.rate("attribute_critic", read).mean()
                of_regressor = of_regressor - how.attribute_weight * value
                of_critic = of_critic + value - self.rate("attribute_critic", real).mean()
            self.update("attribute_critic", of_critic)
        self.update("regressor", of_regressor)
        for name in ("generator", "encoder"):
            self.update(name, of_generator)
        for name in self.adams.keys() - {"critic", "unseen_critic"}:
            self.adams[name].step()
        return {name: value.item() for name, value in (("vae", vae), ("remapped", remapped), ("regressor", regressor))}


CASES = {
    "sphere": {"gp_adapt": "tf", "radius": 3.0},
    "prior noise": {"encoded_noise": False, "vae_error": "entry", "gamma": 3.0},
    "no unseen critic": {"unseen_gamma": 0.0},
    "no critic of semantics": {"attribute_weight": 0.0},
}


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize("case", CASES)
def test_iterations_are_those_of_a_plain_loop(case: str) -> None:
    method = BiVAEGAN(**SMALL, class_prior="test", **CASES[case])
    training = begin(method)
    plain = PlainBi(method, training)
    (losses,) = training.steps(4, lambda _name: contextlib.nullcontext())
    wanted = [plain.iteration() for _ in range(4)]
    for name in wanted[0]:
        assert losses[name] == pytest.approx(np.mean([each[name] for each in wanted]), rel=1e-8)
    for name, parameter in training.networks.named_parameters():
        torch.testing.assert_close(parameter, plain.w[name], rtol=1e-6, atol=1e-8)
    if method.gp_adapt == "tf":
        weights = [training.gp, training._held[-1][2]]
        assert [float(weight) for weight in weights] == pytest.approx([plain.gp, plain.weight])
        assert method.gp not in (plain.gp, plain.weight)


def test_what_is_scored_lies_on_the_sphere_and_what_is_drawn_has_length_one() -> None:
    method = BiVAEGAN(**SMALL, epochs=1, final_epochs=1, radius=3.0, classifier_input="x").fit(told(), Context(0))
    _, query, _ = problem()
    for rows in (
        method.rows_.features,
        method._represent(torch.tensor(query.features)),
        method._references(query.classes)[0],
    ):
        torch.testing.assert_close(rows.norm(dim=1), torch.full((len(rows),), 3.0))
    np.testing.assert_allclose(np.linalg.norm(method.synthesise(query.classes, 4), axis=2), 1, rtol=1e-5)


def test_rows_of_any_length_are_refused_in_the_plan() -> None:
    with pytest.raises(BadValue, match="preprocess=minmax leaves rows of any length; choose a chain that ends in l2"):
        zslbench.run("bivaegan[preprocess=minmax]", "digits", dry_run=True)


def test_no_unlabelled_row_stays_with_a_fitted_method() -> None:
    method = BiVAEGAN(**SMALL, epochs=1).fit(told(), Context(0))
    assert "_given" not in vars(method)
    sizes = {len(value) for value in vars(method).values() if isinstance(value, torch.Tensor)}
    assert sizes == {3}, "the semantics of unseen classes"


@pytest.mark.parametrize(("prior", "lacks"), [("uniform", "unlabelled"), ("test", "class_prior")])
def test_a_fit_without_what_it_learns_from_is_refused(prior: str, lacks: str) -> None:
    with pytest.raises(BadValue, match=rf"train\.{lacks}"):
        BiVAEGAN(**SMALL, class_prior=prior).fit(dataclasses.replace(told(), **{lacks: None}), Context(0))


def test_the_class_prior_decides_how_often_unseen_classes_are_drawn() -> None:
    train, order = told(), told().unseen.canonical()  # type: ignore[union-attr]
    drawn = {}
    for prior in ("uniform", "estimated", "test"):
        method = BiVAEGAN(**SMALL, class_prior=prior)
        term = next(term for term in method._begin(train, Context(0)).terms if term.name == "unseen")
        counts = Counter(int(label) for _ in range(1000) for label in term.draw()[1])
        drawn[prior] = [counts[label] / 8000 for label in range(3)]
    assert drawn["test"] == pytest.approx(SHARES[order], abs=0.02)
    assert drawn["uniform"] == pytest.approx([1 / 3] * 3, abs=0.02)
    assert drawn["estimated"] == pytest.approx([1 / 3] * 3, abs=0.05), "6 rows of each, well apart"


def test_the_estimate_finds_the_shares_of_clusters_near_the_predicted_centres() -> None:
    rng = np.random.default_rng(0)
    seen, unseen = rng.normal(size=(20, 4)), rng.normal(size=(3, 4))
    to_features = rng.normal(size=(4, 6))
    labels, hidden = np.repeat(np.arange(20), 5), np.repeat(np.arange(3), [2, 10, 28])
    rows, unlabelled = (
        (table[of] @ to_features + 0.01 * rng.normal(size=(len(of), 6))).astype(np.float32)
        for table, of in ((seen, labels), (unseen, hidden))
    )
    means = np.stack([rows[labels == label].mean(axis=0) for label in range(20)])
    shares = estimate_class_prior(means, seen, unseen, unlabelled)
    assert shares.tolist() == pytest.approx([3 / 43, 11 / 43, 29 / 43])
    for rows_without_clusters in (unlabelled[:2], np.ones_like(unlabelled)):
        assert estimate_class_prior(means, seen, unseen, rows_without_clusters).tolist() == [1 / 3] * 3


def test_runs_that_are_told_part_of_the_answer_are_oracle() -> None:
    """The true frequencies, and under gzsl which images are of unseen classes; nothing of this in the dev stage."""
    asked = ["bivaegan", "bivaegan[class_prior=test]", "lisgan"]
    marks = {
        stage: [
            (run.method, run.protocol, run.selection) for run in plan(RunOptions(asked, ["digits"], stage=stage)).runs
        ]
        for stage in ("final", "dev")
    }
    prior, frequencies = [("bivaegan", "zsl", "fixed"), ("bivaegan", "gzsl", "oracle")], [("bivaegan", "zsl", "oracle")]
    assert marks["final"] == prior + frequencies + prior[1:] + [("lisgan", rules, "fixed") for rules in ("zsl", "gzsl")]
    assert {selection for _, _, selection in marks["dev"]} == {"fixed"}


FEW = "hidden=4,epochs=1,batch=512,critic_steps=1,per_class=2,final_epochs=1,classifier_input=x"


def on_one_line(shown: object) -> str:
    return " ".join(str(shown).split())


def test_the_caption_names_the_class_prior_and_says_what_a_marked_row_knows(tmp_path: Path) -> None:
    """A † says what the fit knows; nothing claims that a row was picked on test images which was alone."""
    assert not zslbench.run([f"bivaegan[{FEW},class_prior=[uniform,test]]"], "digits", runs=tmp_path).failed
    text = on_one_line(zslbench.table(tmp_path, protocols=["zsl"], selection=["fixed"], width=250))
    assert "‡ transductive: unlabelled test features are used. Class prior of unseen classes: uniform." in text
    assert "†" not in text.partition("1 run for oracle")[0]
    text = on_one_line(zslbench.table(tmp_path, protocols=["gzsl"], selection=["oracle"], width=250))
    assert "Bi-VAEGAN†‡" in text
    assert "which images are of unseen classes" in text
    assert "† best on the test images (oracle selection)." in text, "two were tried"
    compared = on_one_line(zslbench.compare(runs=tmp_path, protocols=["gzsl"], selection="oracle", width=250))
    assert "† oracle: chosen on the test images, or told a part of the answer in fit." in compared


def test_a_row_that_knows_answers_and_was_alone_was_not_picked(tmp_path: Path) -> None:
    assert not zslbench.run([f"bivaegan[{FEW},class_prior=test]"], "digits", runs=tmp_path, protocols="gzsl").failed
    text = on_one_line(zslbench.table(tmp_path, selection=["oracle"], caption="full", width=250))
    known = "how frequent each unseen class is: Bi-VAEGAN†; which images are of unseen classes: Bi-VAEGAN†."
    assert f"Class prior of unseen classes: their true frequencies. † told a part of the answer in fit: {known}" in text
    assert "best on the test images" not in text
    assert not zslbench.run(
        [f"bivaegan[{FEW},class_prior=test]"], "digits", runs=tmp_path, protocols="gzsl", stage="dev", fold=1
    ).failed
    text = on_one_line(zslbench.table(tmp_path, stage="dev", caption="full", width=250))
    assert "Class prior of unseen classes: their true frequencies." in text
    assert "†" not in text, "no test image was there"


def test_ablations_mark_the_numbers_that_know_answers_alone(tmp_path: Path) -> None:
    ablated = zslbench.ablate(
        f"bivaegan[{FEW},class_prior=uniform]", "digits", sweep="class_prior=[uniform,test]", runs=tmp_path
    )
    marked = {(row.setting, row.column.metric): row.selection for row in ablated.lines}
    oracle = {key for key, selection in marked.items() if selection == "oracle"}
    assert oracle == {key for key in marked if key != ("uniform", "T1")}
    text = on_one_line(ablated)
    assert text.count("† oracle: chosen on the test images, or told a part of the answer in fit.") == 1
