"""LisGAN's training against a plain implementation of the public algorithm: same numbers, same draws, same losses."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator

import pytest
import torch

from plain_lisgan import PlainTraining
from zslbench.methods.generative import regularisers
from zslbench.methods.generative.training import GanOptions, GanTraining, SeenRows
from zslbench.methods.generative.wgan import Critic, Generator, LossTerm, Networks
from zslbench.methods.nn import linear, random_stream

N, D, A, C, K, H, M, STEPS, ROWS = 60, 9, 4, 5, 3, 16, 8, 5, 6
WEIGHTS = {"cls_weight": 0.3, "l_r1": 0.2, "l_r2": 0.4}
PURPOSES = ("batches", "noise", "interpolation", "soul noise")


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class Draws:
    """Hands out, one step at a time, what `GanTraining` draws for a whole iteration from equal streams."""

    def __init__(self) -> None:
        self.streams = {name: random_stream(at) for at, name in enumerate(PURPOSES)}
        self.waiting: dict[str, deque[torch.Tensor]] = {name: deque() for name in PURPOSES}

    def iteration(self) -> None:
        keys = torch.rand(STEPS, N, generator=self.streams["batches"])
        self.waiting["batches"].extend(keys.topk(M).indices)
        self.waiting["noise"].extend(torch.randn(STEPS, M, A, generator=self.streams["noise"]))
        self.waiting["interpolation"].extend(torch.rand(STEPS, M, 1, generator=self.streams["interpolation"]))
        self.waiting["noise"].append(torch.randn(M, A, generator=self.streams["noise"]))
        self.waiting["soul noise"].append(torch.randn(C, ROWS, A, generator=self.streams["soul noise"]))

    def __call__(self, purpose: str, *shape: int) -> torch.Tensor:
        found = self.waiting[purpose].popleft()
        assert not shape or found.shape[: len(shape)] == shape
        return found


def both() -> tuple[GanTraining, PlainTraining, Draws]:
    stream = random_stream(9)
    features, semantics = torch.rand(N, D, generator=stream), torch.rand(C, A, generator=stream)
    labels = torch.arange(N) % C
    real = torch.rand(C, K, D, generator=stream)
    generator, critic = Generator(A, A, H, D, random_stream(10)), Critic(D, A, H, random_stream(11))
    for parameter in (*generator.parameters(), *critic.parameters()):
        torch.nn.init.normal_(parameter, std=0.3, generator=stream)  # large enough for every kink to matter
    classifier = linear(D, C, random_stream(12), std=0.5).requires_grad_(False)
    draws = Draws()
    plain = PlainTraining(
        generator,
        critic,
        classifier,
        features,
        labels,
        semantics,
        real,
        draws,
        lr=1e-3,
        gp=10.0,
        soul_rows=ROWS,
        **WEIGHTS,
    )
    streams = {name: random_stream(at) for at, name in enumerate(PURPOSES)}

    def second(nets: Networks, _fakes: torch.Tensor, _labels: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        fakes = nets.generator(noise, semantics[:, None, :])
        return regularisers.l_r2(*regularisers.mean_fake_souls(fakes), real)

    cross_entropy = torch.nn.functional.cross_entropy
    terms = [
        LossTerm("classification", WEIGHTS["cls_weight"], lambda _, x, y: cross_entropy(classifier(x), y)),
        LossTerm("l_r1", WEIGHTS["l_r1"], lambda _, x, y: regularisers.l_r1(x, y, real)),
        LossTerm(
            "l_r2",
            WEIGHTS["l_r2"],
            second,
            draw=lambda: (torch.randn(C, ROWS, A, generator=streams["soul noise"]),),
        ),
    ]
    fast = GanTraining(
        generator,
        critic,
        SeenRows(features, labels, semantics),
        terms,
        GanOptions(batch=M, critic_steps=STEPS, lr=1e-3, gp=10.0),
        streams,
    )
    return fast, plain, draws


def gradients(first: torch.nn.Linear, second: torch.nn.Linear | None) -> torch.Tensor:
    parts = [first.weight.grad] + ([] if second is None else [second.weight.grad])
    assert all(part is not None for part in parts)
    return torch.cat(parts, dim=1)  # type: ignore[arg-type]


def test_gradients_of_a_critic_step_and_a_generator_step_are_the_same() -> None:
    fast, plain, draws = both()
    draws.iteration()
    batches = fast.draw()
    for batch in batches:
        fast.critic_step(batch)
        labels, _ = plain.critic_step()
        assert torch.equal(labels, batch.labels)
        ours = gradients(fast.critic.from_features, fast.critic.from_semantics)
        assert plain.critic.first.weight.grad is not None
        torch.testing.assert_close(ours, plain.critic.first.weight.grad, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(
            fast.critic.value.weight.grad, plain.critic.second.weight.grad, rtol=1e-10, atol=1e-12
        )
    fast.generator_step(batches[-1].labels)
    plain.generator_step(batches[-1].labels)
    ours = gradients(fast.generator.from_noise, fast.generator.from_semantics)
    torch.testing.assert_close(ours, plain.generator.first.weight.grad, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(
        fast.generator.out.weight.grad, plain.generator.second.weight.grad, rtol=1e-10, atol=1e-12
    )


def test_losses_of_twenty_steps_are_the_same() -> None:
    fast, plain, draws = both()
    for _ in range(20):
        draws.iteration()
        (found,) = fast.steps(1, lambda _name: contextlib.nullcontext())
        critic = [plain.critic_step() for _ in range(STEPS)]
        wanted = plain.generator_step(critic[-1][0])
        assert found["critic"] == pytest.approx(sum(loss for _, loss in critic) / STEPS, rel=1e-9)
        for name, value in wanted.items():
            assert found[name] == pytest.approx(value, rel=1e-9), name


def test_every_draw_is_used_once() -> None:
    fast, plain, draws = both()
    draws.iteration()
    fast.steps(1, lambda _name: contextlib.nullcontext())
    labels = [plain.critic_step()[0] for _ in range(STEPS)]
    plain.generator_step(labels[-1])
    assert not any(draws.waiting.values())
    for name, stream in fast.streams.items():
        assert torch.equal(stream.get_state(), draws.streams[name].get_state())
