"""f-VAEGAN and TF-VAEGAN against a plain loop in float64: iterations, synthesis, what the classifier sees."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from gan_data import problem
from torch.nn import functional

from zslbench.errors import BadValue
from zslbench.methods.base import Context
from zslbench.methods.generative.fvaegan import FVAEGAN
from zslbench.methods.generative.regularisers import binary_cross_entropy, weighted_l1
from zslbench.methods.generative.tfvaegan import TFVAEGAN
from zslbench.methods.generative.training import GanTraining, SeenRows
from zslbench.methods.nn import random_stream

SMALL: dict[str, Any] = {"hidden": 9, "noise": 4, "batch": 8, "critic_steps": 3, "lr": 1e-3, "per_class": 6}
DECODER: dict[str, Any] = {"decoder_weight": 0.3, "decoder_lr": 3e-3, "feedback_lr": 2e-3, "feedback": 0.7}
PRIOR = {"encoded_noise": False}


@pytest.fixture
def _float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def begin(method: FVAEGAN) -> GanTraining:
    """Return the training of a method in float64, with weights that are large enough for every kink to matter."""
    training = method._begin(problem()[0], Context(5))
    rows = training.rows
    training.rows = SeenRows(rows.features.double().clamp(0, 1), rows.labels, rows.semantics.double())
    stream = random_stream(1)
    for parameter in training.networks.parameters():
        torch.nn.init.normal_(parameter, std=0.4, generator=stream)
    return training


def leaky(x: torch.Tensor) -> torch.Tensor:
    return torch.where(x > 0, x, 0.2 * x)


class Plain:
    """The public algorithm as a plain loop: weights by name, autograd throughout, torch's Adam."""

    def __init__(self, method: FVAEGAN, training: GanTraining) -> None:
        self.method, self.rows, self.gp = method, training.rows, method.gp
        self.w = {name: value.detach().clone().requires_grad_() for name, value in training.networks.named_parameters()}
        purposes = ("batches", "noise", "interpolation")
        self.streams = {name: random_stream(Context(5).stream_seed(name)) for name in purposes}
        rates = {"generator": (method.lr, 0.5), "critic": (method.lr, 0.5), "further.encoder": (method.lr, 0.9)}
        if isinstance(method, TFVAEGAN):
            rates |= {"further.decoder": (method.decoder_lr, 0.5), "further.feedback": (method.feedback_lr, 0.5)}
        self.adams = {
            name.removeprefix("further."): torch.optim.Adam(weights, lr=lr, betas=(first, 0.999))
            for name, (lr, first) in rates.items()
            if (weights := [value for full, value in self.w.items() if full.startswith(name)])
        }

    def layer(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"]

    def encode(self, x: torch.Tensor, a: torch.Tensor, eps: torch.Tensor) -> tuple[torch.Tensor, ...]:
        hidden = leaky(self.layer("further.encoder.body.layers.0", torch.cat([x, a], 1)))
        hidden = leaky(self.layer("further.encoder.body.layers.1", hidden))
        mean, log_variance = (self.layer(f"further.encoder.{name}", hidden) for name in ("mean", "log_variance"))
        return mean + eps * torch.exp(0.5 * log_variance), mean, log_variance

    def generate(self, z: torch.Tensor, a: torch.Tensor, back: torch.Tensor | float = 0.0) -> torch.Tensor:
        hidden = leaky(self.layer("generator.from_noise", z) + a @ self.w["generator.from_semantics.weight"].T)
        return torch.sigmoid(self.layer("generator.out", hidden + back))

    def decode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = leaky(self.layer("further.decoder.first", x))
        out = self.layer("further.decoder.second", hidden)
        return out / out.square().sum(1, keepdim=True).sqrt(), hidden

    def fake(self, z: torch.Tensor, a: torch.Tensor, weight: float, read: torch.Tensor | None = None) -> torch.Tensor:
        made = self.generate(z, a)
        if not weight:
            return made
        hidden = self.decode(made if read is None else read)[1].detach()
        back = leaky(self.layer("further.feedback.layers.1", leaky(self.layer("further.feedback.layers.0", hidden))))
        return self.generate(z, a, weight * back)

    def value(self, x: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
        hidden = leaky(self.layer("critic.from_features", x) + a @ self.w["critic.from_semantics.weight"].T)
        return self.layer("critic.value", hidden)[:, 0]

    def error(self, x: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(())
        for predicted, given in zip(self.decode(x)[0], a, strict=True):
            e = predicted - given
            total = total + (e**2 / (e**2).sum().sqrt() * e.abs()).sum()
        return total / len(x)

    def iteration(self, weight: float) -> dict[str, float]:
        m, k, width, count = self.method.batch, self.method.critic_steps, self.method.noise, len(self.rows.features)
        parts = 1 if self.method.encoded_noise else 2
        keys = torch.rand(k, count, generator=self.streams["batches"])
        mix = torch.rand(k, m, 1, generator=self.streams["interpolation"])
        noise = torch.randn(k, m, parts * width, generator=self.streams["noise"])
        noted: list[dict[str, float]] = []
        decoding = getattr(self.method, "decoder_weight", 0.0)
        for step in range(k):
            picked = keys[step].argsort(descending=True)[:m]
            x, a = self.rows.features[picked], self.rows.semantics[self.rows.labels[picked]]
            losses = {}
            if decoding:
                self.adams["decoder"].zero_grad()
                losses["decoder"] = self.error(x, a)
                (decoding * losses["decoder"]).backward()
                self.adams["decoder"].step()
            with torch.no_grad():
                code = noise[step][:, :width]
                fake = self.fake(self.encode(x, a, code)[0] if self.method.encoded_noise else code, a, weight)
            between = (mix[step] * x + (1 - mix[step]) * fake).requires_grad_()
            (slope,) = torch.autograd.grad(self.value(between, a).sum(), between, create_graph=True)
            losses["penalty"] = (slope.norm(dim=1) - 1).square().mean()
            losses["critic"] = self.value(fake, a).mean() - self.value(x, a).mean() + self.gp * losses["penalty"]
            self.adams["critic"].zero_grad()
            (self.method.gamma * losses["critic"]).backward()
            self.adams["critic"].step()
            noted.append({name: value.item() for name, value in losses.items()})
        if self.method.gp_adapt == "tf":
            middle = sum(losses["penalty"] for losses in noted) / k
            self.gp *= 1.1 if middle > 1.05 else 1 / 1.1 if middle < 1.001 else 1.0
        drawn = torch.randn(m, parts * width, generator=self.streams["noise"])
        code, mean, log_variance = self.encode(x, a, drawn[:, -width:])
        made = fake = self.fake(code, a, weight)
        if not self.method.encoded_noise:
            read = made if getattr(self.method, "feedback_of", "") == "reconstructions" else None
            fake = self.fake(drawn[:, :width], a, weight, read)
        losses = {
            "reconstruction": functional.binary_cross_entropy(made, x, reduction="sum") / m,
            "divergence": -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum() / m,
        }
        losses["vae"] = losses["reconstruction"] + losses["divergence"]
        losses["generator"] = losses["vae"] - self.method.gamma * self.value(fake, a).mean()
        if decoding:
            losses["decoded"] = self.error(fake, a)
            losses["generator"] = losses["generator"] + decoding * losses["decoded"]
        for adam in self.adams.values():
            adam.zero_grad()
        losses["generator"].backward()
        frozen = {"critic", *(["decoder"] if getattr(self.method, "freeze_decoder", False) else [])}
        for name, adam in self.adams.items():
            if name not in frozen and (name != "feedback" or weight):
                adam.step()
        means = {name: float(np.mean([each[name] for each in noted])) for name in noted[0]}
        return means | {name: value.item() for name, value in losses.items()}


CASES: dict[str, FVAEGAN] = {
    "f-VAEGAN": FVAEGAN(**SMALL),
    "prior": FVAEGAN(**SMALL, **PRIOR, gamma=3.0),
    "adapted": FVAEGAN(**SMALL, gp_adapt="tf"),
    "TF-VAEGAN": TFVAEGAN(**SMALL, **DECODER),
    "TF-VAEGAN, prior": TFVAEGAN(**SMALL, **DECODER, **PRIOR),
    "TF-VAEGAN, prior, as its code": TFVAEGAN(**SMALL, **DECODER, **PRIOR, feedback_of="reconstructions"),
    "frozen decoder": TFVAEGAN(**SMALL, **DECODER, freeze_decoder=True, gp_adapt="tf"),
    "no decoder": TFVAEGAN(**SMALL, **DECODER | {"decoder_weight": 0.0}),
    "no feedback": TFVAEGAN(**SMALL, **DECODER | {"feedback": 0.0}),
}


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize("case", CASES)
def test_iterations_are_those_of_a_plain_loop(case: str) -> None:
    """Two rounds of four iterations; of TF-VAEGAN's, the second half has feedback."""
    method = CASES[case]
    training = begin(method)
    plain = Plain(method, training)
    weight = getattr(method, "feedback", 0.0)
    for _ in range(2):
        (losses,) = training.steps(4, lambda _name: contextlib.nullcontext())
        wanted = [plain.iteration(each) for each in (0.0, 0.0, weight, weight)]
        assert losses == pytest.approx({name: np.mean([each[name] for each in wanted]) for name in wanted[0]}, rel=1e-8)
    for name, parameter in training.networks.named_parameters():
        torch.testing.assert_close(parameter, plain.w[name], rtol=1e-7, atol=1e-9)
    assert training.gp is None or float(training.gp) == pytest.approx(plain.gp) != method.gp


@pytest.mark.parametrize(("start", "wanted"), [("mean", None), ("half", 0.5)])
def test_the_untrained_generator_makes_the_mean_of_the_training_rows(start: str, wanted: float | None) -> None:
    method = FVAEGAN(**SMALL | {"hidden": 1}, output_start=start)
    method._begin(problem()[0], Context(0))
    torch.nn.init.zeros_(method.generator_.out.weight)
    made = method.generator_.synthesise(method.rows_.semantics, 2, random_stream(0))
    mean = method.rows_.features.mean(0) if wanted is None else torch.full((12,), wanted)
    torch.testing.assert_close(made, mean.clamp(1e-3, 1 - 1e-3).expand(6, 2, -1), rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_synthesis_has_its_own_feedback(weight: float) -> None:
    method = TFVAEGAN(**SMALL, **DECODER, synthesis_feedback=weight)
    training = begin(method)
    semantics = training.rows.semantics[:3]
    plain = Plain(method, training)
    with torch.no_grad():
        made = method.generator_.synthesise(semantics, 4, random_stream(2), method._make_fakes)
        noise = torch.randn(3, 4, method.noise, generator=random_stream(2))
        for at in range(3):
            wanted = plain.fake(noise[at], semantics[at].expand(4, -1), weight)
            torch.testing.assert_close(made[at], wanted)


@pytest.mark.usefixtures("_float64")
def test_the_final_classifier_sees_features_and_what_the_decoder_makes_of_them() -> None:
    method = TFVAEGAN(**SMALL)
    training = begin(method)
    rows = training.rows.features[:5]
    with torch.no_grad():
        decoded, hidden = Plain(method, training).decode(rows)
    for kind, parts in {"x": [rows], "x+h": [rows, hidden], "full": [rows, decoded, hidden]}.items():
        method.classifier_input = kind
        torch.testing.assert_close(method._represent(rows), torch.cat(parts, dim=1))


def test_binary_cross_entropy_is_torchs_and_so_is_its_gradient_where_a_sigmoid_is_saturated() -> None:
    logits = torch.tensor([[-90.0, -16.0, -1.0, 0.0, 2.0, 15.0, 40.0]], requires_grad=True)
    real = torch.tensor([[0.0, 0.3, 0.0, 0.5, 1.0, 0.9, 1.0]])
    ours = binary_cross_entropy(logits.sigmoid(), real)
    theirs = functional.binary_cross_entropy(logits.sigmoid(), real, reduction="none")
    torch.testing.assert_close(ours, theirs)
    gradients = [torch.autograd.grad(each.sum(), logits)[0] for each in (ours, theirs)]
    torch.testing.assert_close(*gradients)


def test_a_row_without_error_has_no_weighted_error_and_no_gradient() -> None:
    predicted = torch.tensor([[0.5, 0.5], [0.0, 1.0]], requires_grad=True)
    loss = weighted_l1(predicted, torch.tensor([[0.5, 0.5], [3.0, 5.0]]))
    assert loss.item() == pytest.approx((27 + 64) / 5 / 2)
    (gradient,) = torch.autograd.grad(loss, predicted)
    assert not gradient[0].any()
    # d/de of |e|³ summed, over ‖e‖: 3 e |e| / ‖e‖ − Σ|e|³ e / ‖e‖³, here for e = (−3, −4), halved by the mean
    wanted = [(-27 / 5 + 91 * 3 / 125) / 2, (-48 / 5 + 91 * 4 / 125) / 2]
    assert gradient[1].tolist() == pytest.approx(wanted)


@pytest.mark.parametrize("chain", ["standard", "none"])
def test_features_that_a_sigmoid_cannot_reach_are_refused(chain: str) -> None:
    with pytest.raises(BadValue, match=r"FVAEGAN: preprocess=.* ends in sigmoid does not reach; choose"):
        FVAEGAN(**SMALL, preprocess=chain).fit(problem()[0], Context())


def test_points_that_differ_in_what_the_classifier_sees_share_a_training() -> None:
    train, _, query = problem()
    values = SMALL | {"epochs": 1, "final_epochs": 2}
    points = [TFVAEGAN(**values, classifier_input=kind) for kind in ("x", "full")]
    fitted = list(TFVAEGAN.fit_grid(points, train, Context(0)))
    assert fitted[0].generator_ is fitted[1].generator_
    alone = TFVAEGAN(**values, classifier_input="full").fit(train, Context(0))
    np.testing.assert_array_equal(*(each.scores(query.features, query.classes) for each in (fitted[1], alone)))
    assert not np.allclose(*(each.scores(query.features, query.classes) for each in fitted))


def test_an_epoch_of_tf_vaegan_is_two_passes() -> None:
    passes = [sum(count for count, _, _ in kind(epochs=3)._rounds(7)) for kind in (FVAEGAN, TFVAEGAN)]
    assert passes == [21, 42]
