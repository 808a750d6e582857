"""Networks that are trained beside generator and critic: against a plain loop, several fits at once, resumed."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from gan_data import problem
from torch.nn import functional

from zslbench.methods.base import Context
from zslbench.methods.generative import training as training_module
from zslbench.methods.generative.fclswgan import FCLSWGAN
from zslbench.methods.generative.loss_terms import FakeSource, FurtherNetwork, LossTerm
from zslbench.methods.generative.training import GanOptions, GanTraining, JointTraining, Networks, SeenRows
from zslbench.methods.generative.wgan import Critic, Generator
from zslbench.methods.nn import at_precision, linear, random_stream

D, A, H, C, N, M, STEPS = 5, 3, 7, 4, 20, 6, 3
STREAMS = ("batches", "noise", "interpolation")
Z = A
ADAM = {"encoder": (2e-3, (0.9, 0.999)), "decoder": (3e-3, (0.5, 0.999)), "feedback": (1e-3, (0.9, 0.99))}


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def no_phase(_name: str) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


def encoded(networks: Any, noise: torch.Tensor, real: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a code of the real rows and its mean."""
    mean = networks["encoder"](real)
    return mean + 0.1 * noise, mean


def plain_source(networks: Networks, noise: torch.Tensor, real: torch.Tensor, semantics: torch.Tensor) -> Any:
    code, mean = encoded(networks, noise, real)
    return networks.generator(code, semantics), mean


def feedback_source(networks: Networks, noise: torch.Tensor, real: torch.Tensor, semantics: torch.Tensor) -> Any:
    code, mean = encoded(networks, noise, real)
    first = networks.generator(code, semantics)
    back = networks["feedback"](networks["decoder"](first))
    return networks.generator(code, semantics, back), mean


def code_size(_networks: Any, batch: Any) -> torch.Tensor:
    return batch.made[0].square().mean() + (batch.fake - batch.real).abs().mean()


def decoded(networks: Any, batch: Any) -> torch.Tensor:
    return (networks["decoder"](batch.real) - batch.semantics).square().mean()


def conditioned(networks: Any, batch: Any, shift: torch.Tensor) -> torch.Tensor:
    """A term of the critic's step that moves the critic."""
    return (networks.critic(batch.real, batch.semantics) - shift.mean()).square().mean()


TERMS = [
    LossTerm("code", 0.7, code_size, sees_batch=True),
    LossTerm("decoder", 0.9, decoded, step="critic"),
    LossTerm("conditioned", 0.4, conditioned, held=(torch.ones(2, dtype=torch.float64) / 2,), step="critic"),
]


def make(
    seed: int = 0,
    zeroed: str = "step",
    decoder_steps: Sequence[str] = ("critic",),
    terms: Sequence[LossTerm] = TERMS,
    critic_steps: int = STEPS,
) -> GanTraining:
    """Return a training with an encoder, a decoder of the critic's steps, and feedback in its rounds' second half."""
    stream = random_stream(50)
    features, semantics = torch.rand(N, D, generator=stream), torch.rand(C, A, generator=stream)
    rows = SeenRows(features, torch.arange(N) % C, semantics)
    stream = random_stream(seed)
    generator, critic = Generator(Z, A, H, D, stream, output="sigmoid"), Critic(D, A, H, stream)
    shapes = {"encoder": (D, Z), "decoder": (D, A), "feedback": (A, H)}
    steps = {"encoder": ("generator",), "decoder": tuple(decoder_steps), "feedback": ("generator",)}
    further = {
        name: FurtherNetwork(linear(*shape, stream), *ADAM[name], steps[name], zeroed if name == "decoder" else "step")
        for name, shape in shapes.items()
    }
    for network in (generator, critic, *(each.network for each in further.values())):
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.5, generator=stream)
    options = GanOptions(
        batch=M, critic_steps=critic_steps, lr=1e-3, gp=10.0, gp_adapt=True, critic_weight=3.0, adversarial_weight=2.0
    )
    streams = {name: random_stream(seed + at) for at, name in enumerate(STREAMS, 3)}
    sources = (FakeSource(plain_source), FakeSource(feedback_source, remade=True))
    return GanTraining(generator, critic, rows, terms, options, streams, further, sources)


class PlainTraining:
    """The same algorithm as a plain loop: dense weights, autograd throughout, torch's Adam, one batch at a time."""

    def __init__(self, of: GanTraining) -> None:
        self.rows = of.rows
        self.w = {name: value.detach().clone().requires_grad_() for name, value in of.networks.named_parameters()}
        self.streams = {name: random_stream(at) for at, name in enumerate(STREAMS, 3)}
        self.gp = 10.0
        self.adam = {"generator": self.optimiser("generator", 1e-3, (0.5, 0.999))}
        self.adam["critic"] = self.optimiser("critic", 1e-3, (0.5, 0.999))
        self.adam |= {name: self.optimiser(f"further.{name}", *given) for name, given in ADAM.items()}

    def optimiser(self, start: str, lr: float, betas: tuple[float, float]) -> torch.optim.Adam:
        return torch.optim.Adam([w for name, w in self.w.items() if name.startswith(start)], lr=lr, betas=betas)

    def layer(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return x @ self.w[f"further.{name}.weight"].T + self.w[f"further.{name}.bias"]

    def generate(self, z: torch.Tensor, a: torch.Tensor, back: torch.Tensor | float = 0.0) -> torch.Tensor:
        w = {name.removeprefix("generator."): value for name, value in self.w.items()}
        hidden = z @ w["from_noise.weight"].T + w["from_noise.bias"] + a @ w["from_semantics.weight"].T
        hidden = torch.where(hidden > 0, hidden, 0.2 * hidden) + back
        return 1 / (1 + torch.exp(-(hidden @ w["out.weight"].T + w["out.bias"])))

    def value(self, x: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
        w = {name.removeprefix("critic."): value for name, value in self.w.items()}
        hidden = x @ w["from_features.weight"].T + w["from_features.bias"] + a @ w["from_semantics.weight"].T
        hidden = torch.where(hidden > 0, hidden, 0.2 * hidden)
        return (hidden @ w["value.weight"].T + w["value.bias"])[:, 0]

    def fakes(self, noise: torch.Tensor, x: torch.Tensor, a: torch.Tensor, back: bool) -> tuple[torch.Tensor, ...]:
        mean = self.layer("encoder", x)
        code = mean + 0.1 * noise
        fake = self.generate(code, a)
        if back:
            fake = self.generate(code, a, self.layer("feedback", self.layer("decoder", fake)))
        return fake, mean

    def iteration(self, back: bool) -> dict[str, float]:
        keys = torch.rand(STEPS, N, generator=self.streams["batches"])
        mix = torch.rand(STEPS, M, 1, generator=self.streams["interpolation"])
        noise = torch.randn(STEPS, M, Z, generator=self.streams["noise"])
        losses: dict[str, list[float]] = {}
        penalties = []
        for step in range(STEPS):
            picked = keys[step].argsort(descending=True)[:M]
            x, y = self.rows.features[picked], self.rows.labels[picked]
            a = self.rows.semantics[y]
            recovered = (self.layer("decoder", x) - a).square().mean()
            self.adam["decoder"].zero_grad()
            (0.9 * recovered).backward()
            self.adam["decoder"].step()
            with torch.no_grad():
                fake, _ = self.fakes(noise[step], x, a, back)
            between = (mix[step] * x + (1 - mix[step]) * fake).requires_grad_()
            (slope,) = torch.autograd.grad(self.value(between, a).sum(), between, create_graph=True)
            penalty = (slope.norm(dim=1) - 1).square().mean()
            loss = self.value(fake, a).mean() - self.value(x, a).mean() + self.gp * penalty
            further = (self.value(x, a) - 0.5).square().mean()
            self.adam["critic"].zero_grad()
            (3 * loss + 0.4 * further).backward()
            self.adam["critic"].step()
            penalties.append(penalty.item())
            noted = {"critic": loss, "penalty": penalty, "decoder": recovered, "conditioned": further}
            for name, value in noted.items():
                losses.setdefault(name, []).append(value.item())
        middle = sum(penalties) / STEPS
        self.gp = self.gp * 1.1 if middle > 1.05 else self.gp / 1.1 if middle < 1.001 else self.gp
        noise = torch.randn(M, Z, generator=self.streams["noise"])
        fake, mean = self.fakes(noise, x, a, back)
        code = mean.square().mean() + (fake - x).abs().mean()
        loss = -2 * self.value(fake, a).mean() + 0.7 * code
        names = ("generator", "encoder", *(["feedback"] if back else []))
        for adam in self.adam.values():
            adam.zero_grad()
        loss.backward()
        for name in names:
            self.adam[name].step()
        return {name: sum(each) / STEPS for name, each in losses.items()} | {
            "generator": loss.item(),
            "code": code.item(),
        }


def test_a_round_of_two_sources_is_that_of_a_plain_loop() -> None:
    fast = make()
    plain = PlainTraining(fast)
    weights: list[float] = []
    for _ in range(3):
        (losses,) = fast.steps(4, no_phase)
        each = [plain.iteration(back) for back in (False, False, True, True)]
        weights.append(plain.gp)
        assert losses == pytest.approx({name: np.mean([one[name] for one in each]) for name in each[0]}, rel=1e-9)
        assert float(fast.gp) == pytest.approx(plain.gp, rel=1e-12)
        for name, parameter in fast.networks.named_parameters():
            torch.testing.assert_close(parameter, plain.w[name], rtol=1e-8, atol=1e-10)
    assert len(set(weights)) > 1


def test_the_weight_of_the_penalty_moves_as_in_the_public_code() -> None:
    weight = torch.tensor([10.0, 10.0, 10.0])
    training_module.adapt_penalty_weight(weight, torch.tensor([1.06, 1.02, 1.0]))
    torch.testing.assert_close(weight, torch.tensor([11.0, 10.0, 10 / 1.1]))


@pytest.mark.parametrize(("zeroed", "sums"), [("step", [1, 1, 1, 1]), ("round", [1, 2, 1, 2]), ("never", [1, 2, 3, 4])])
def test_a_gradient_that_is_not_zeroed_adds_up(zeroed: str, sums: list[int]) -> None:
    """Adam gets the sum of the gradients; here the decoder's own does not depend on its weights."""
    plain = LossTerm("plain", 1.0, lambda networks, _batch: networks["decoder"].bias.sum(), step="critic")
    made = make(zeroed=zeroed, terms=(*TERMS[:1], plain), critic_steps=1)
    bias, seen = made.networks["decoder"].bias, []
    for _ in range(2):
        made.steps(2, no_phase, advance=lambda _taken: seen.append(float(bias.grad[0])) or False)  # type: ignore
    assert seen == sums


@pytest.mark.parametrize("steps", [("critic",), ("generator",), ("generator", "critic")])
def test_a_network_moves_in_its_steps_only(steps: tuple[str, ...]) -> None:
    terms = [term for term in TERMS if term.name != "decoder" or "critic" in steps]
    made = make(decoder_steps=steps, terms=terms)
    made._use_source(1)
    decoder = made.networks["decoder"].weight
    (batch, *_) = made.draw()
    for step in ("critic", "generator"):
        before = decoder.detach().clone()
        made.critic_step(batch) if step == "critic" else made.generator_step(batch.labels, batch.real)
        assert torch.equal(before, decoder) is (step not in steps), step


@pytest.mark.parametrize("zeroed", ["step", "never"])
def test_trainings_together_are_those_alone(zeroed: str) -> None:
    members, alone = [make(seed, zeroed) for seed in (0, 30)], [make(seed, zeroed) for seed in (0, 30)]
    together = JointTraining(members)
    losses = together.steps(6, no_phase)
    together.write_back()
    for member, single, mine in zip(members, alone, losses, strict=True):
        (wanted,) = single.steps(6, no_phase)
        assert mine == pytest.approx(wanted, rel=1e-9)
        for name, parameter in single.networks.named_parameters():
            torch.testing.assert_close(member.networks.get_parameter(name), parameter, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(together.gp, torch.stack([single.gp for single in alone]))
    assert float(alone[0].gp) != 10


@pytest.mark.parametrize("zeroed", ["step", "round"])
@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("stop", [1, 3, 5])
def test_a_state_that_was_kept_in_any_half_goes_on_to_the_same_bits(zeroed: str, together: bool, stop: int) -> None:
    def begin() -> GanTraining:
        return JointTraining([make(0, zeroed), make(30, zeroed)]) if together else make(0, zeroed)

    whole, cut, resumed = begin(), begin(), begin()
    wanted = whole.steps(6, no_phase)
    cut.steps(6, no_phase, advance=lambda taken: taken == stop)
    resumed.restore({name: array.copy() for name, array in cut.state().items()})
    assert resumed.steps(6, no_phase, taken=stop) == wanted
    states = whole.state(), resumed.state()
    assert states[0].keys() == states[1].keys()
    for name, array in states[0].items():
        np.testing.assert_array_equal(states[1][name], array, err_msg=name)
    assert {"weight of the penalty", "feedback 0 exp_avg"} <= states[0].keys()


def test_a_state_without_a_network_is_refused() -> None:
    state = {name: array for name, array in make().state().items() if not name.startswith("encoder")}
    with pytest.raises(ValueError, match="other networks"):
        make().restore(state)


def test_in_bf16_all_networks_learn_about_what_they_learn_in_float32() -> None:
    torch.set_default_dtype(torch.float32)
    held = [dataclasses.replace(term, held=tuple(each.float() for each in term.held)) for term in TERMS]
    moved = {}
    for precision in ("float32", "bf16"):
        made = make(terms=held)
        before = {name: value.detach().clone() for name, value in made.networks.named_parameters()}
        with at_precision(precision, torch.device("cpu")):
            made.steps(8, no_phase)
        moved[precision] = {name: value.detach() - before[name] for name, value in made.networks.named_parameters()}
    for name, wanted in moved["float32"].items():
        assert moved["bf16"][name].dtype == torch.float32
        assert functional.cosine_similarity(moved["bf16"][name].flatten(), wanted.flatten(), dim=0) > 0.9, name


@dataclasses.dataclass(kw_only=True)
class Decoding(FCLSWGAN):
    """f-CLSWGAN whose fakes a decoder must map back to the semantics, as the docstring of `FurtherNetwork` shows."""

    def further_networks(self, rows: SeenRows, noise: int, ctx: Context) -> dict[str, FurtherNetwork]:
        sizes = rows.features.shape[1], rows.semantics.shape[1]
        return {"decoder": FurtherNetwork(linear(*sizes, random_stream(ctx.stream_seed("d"))), 1e-2, steps=("critic",))}

    def terms(self, rows: SeenRows, noise: int, ctx: Context) -> list[LossTerm]:
        def error(networks: Networks, batch: Any) -> torch.Tensor:
            return (networks["decoder"](batch.fake) - batch.semantics).square().mean()

        return [LossTerm("decoded", 1.0, error, sees_batch=True), LossTerm("decoder", 1.0, decoded, step="critic")]


def test_a_method_has_its_further_networks_after_fit_alone_and_with_others() -> None:
    torch.set_default_dtype(torch.float32)
    values = {"hidden": 16, "noise": 3, "critic_steps": 2, "batch": 16, "lr": 1e-3, "epochs": 6, "per_class": 6}
    train = problem()[0]
    logs: list[dict[str, float]] = []
    alone = Decoding(**values).fit(train, Context(1, on_log=lambda _step, _total, values: logs.append(dict(values))))
    assert set(logs[0]) == {"critic", "penalty", "generator", "decoded", "decoder"}
    assert logs[-1]["decoder"] < 0.8 * logs[0]["decoder"]
    pair = list(Decoding.fit_seeds([Decoding(**values) for _ in "12"], train, [Context(0), Context(1)]))
    torch.testing.assert_close(
        pair[1].further_["decoder"].weight, alone.further_["decoder"].weight, rtol=1e-3, atol=1e-5
    )
    assert not alone.further_["decoder"].weight.requires_grad
