"""The adversarial losses and their training, against finite differences and plain float64 loops."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch

from zslbench.methods.generative.training import GanOptions, GanTraining, SeenRows
from zslbench.methods.generative.wgan import Critic, CriticBatch, CriticLoss, Generator, LossTerm
from zslbench.methods.nn import random_stream

D, A, H, C, M = 5, 3, 7, 4, 6


@pytest.fixture(params=["conditional", "unconditional"])
def critic(request: pytest.FixtureRequest) -> Critic:
    """LisGAN's critic, or GAZSL's, in float64 with weights that are large enough for its kinks to matter."""
    made = (
        Critic(D, A, H, random_stream(0))
        if request.param == "conditional"
        else Critic(D, 0, H, random_stream(0), slope=0.0)
    )
    made.add_branch(C, random_stream(1))
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, generator=random_stream(2))
    return made.double()


@pytest.fixture
def rows() -> CriticBatch:
    stream = random_stream(3)
    real, fake, semantics, mix = (torch.rand(M, width, generator=stream, dtype=torch.float64) for width in (D, D, A, 1))
    return CriticBatch(real, fake, torch.tensor([0, 1, 2, 3, 0, 2]), semantics, mix)


def critic_value(critic: Critic, x: np.ndarray, a: np.ndarray) -> float:
    """D(x, a) of one row, written out."""
    w = {name: value.detach().numpy() for name, value in critic.named_parameters()}
    total = w["value.bias"][0]
    for unit in range(H):
        h = w["from_features.bias"][unit] + sum(w["from_features.weight"][unit, i] * x[i] for i in range(D))
        if critic.from_semantics is not None:
            h += sum(w["from_semantics.weight"][unit, i] * a[i] for i in range(A))
        total += w["value.weight"][0, unit] * (h if h > 0 else critic.slope * h)
    return float(total)


def branch_log_probability(critic: Critic, x: np.ndarray, label: int) -> float:
    w = {name: value.detach().numpy() for name, value in critic.named_parameters()}
    hidden = w["from_features.weight"] @ x + w["from_features.bias"]
    logits = w["branch.weight"] @ np.where(hidden > 0, hidden, critic.slope * hidden) + w["branch.bias"]
    return float(logits[label] - np.log(np.exp(logits).sum()))


def test_critic_losses_match_loops(critic: Critic, rows: CriticBatch) -> None:
    found = CriticLoss(critic, 10.0, 0.3).parts(rows)
    n = {name: value.numpy() for name, value in rows._asdict().items()}
    wasserstein = penalty = classification = 0.0
    for i in range(M):
        real, fake, a, mix = n["real"][i], n["fake"][i], n["semantics"][i], n["mix"][i, 0]
        wasserstein += (critic_value(critic, fake, a) - critic_value(critic, real, a)) / M
        between = mix * real + (1 - mix) * fake
        step = 1e-6
        gradient = [
            (critic_value(critic, between + step * unit, a) - critic_value(critic, between - step * unit, a))
            / (2 * step)
            for unit in np.eye(D)
        ]
        penalty += (np.sqrt(sum(g * g for g in gradient)) - 1) ** 2 / M
        for x in (real, fake):
            classification -= branch_log_probability(critic, x, n["labels"][i]) / M
    assert found[0].item() == pytest.approx(wasserstein, abs=1e-12)
    assert found[1].item() == pytest.approx(penalty, rel=1e-7)
    assert found[2] is not None
    assert found[2].item() == pytest.approx(classification, rel=1e-12)


def test_penalty_gradient_matches_double_backward(critic: Critic, rows: CriticBatch) -> None:
    """The written-out input gradient trains the critic exactly as autograd's double backward would."""
    CriticLoss(critic, 10.0, 0.3).parts(rows)[1].backward()
    ours = {name: p.grad for name, p in critic.named_parameters()}
    critic.zero_grad()
    between = (rows.mix * rows.real + (1 - rows.mix) * rows.fake).requires_grad_()
    values = critic(between, rows.semantics)
    (gradients,) = torch.autograd.grad(values.sum(), between, create_graph=True)
    (gradients.norm(dim=1) - 1).square().mean().backward()
    touched = {"from_features.weight", "value.weight"}
    for name, parameter in critic.named_parameters():
        if name in touched:
            torch.testing.assert_close(ours[name], parameter.grad)
        else:  # the penalty of a piecewise linear critic does not move these
            assert ours[name] is None
            assert parameter.grad is None or not parameter.grad.any()


def test_penalty_gradient_matches_finite_differences_of_weights(critic: Critic, rows: CriticBatch) -> None:
    CriticLoss(critic, 10.0, 0.3).parts(rows)[1].backward()
    step = 1e-6
    for parameter in (critic.value.weight, critic.from_features.weight):
        flat = parameter.data.view(-1)
        assert parameter.grad is not None
        for at in range(0, flat.numel(), 5):
            values = []
            for sign in (1, -1):
                flat[at] += sign * step
                values.append(CriticLoss(critic, 10.0, 0.3).parts(rows)[1].item())
                flat[at] -= sign * step
            slope = (values[0] - values[1]) / (2 * step)
            assert parameter.grad.view(-1)[at].item() == pytest.approx(slope, rel=1e-5, abs=1e-6)


def test_branch_and_unconditional_critic_do_not_see_the_semantics(critic: Critic, rows: CriticBatch) -> None:
    found = CriticLoss(critic, 10.0, 0.3).parts(rows)
    flipped = CriticLoss(critic, 10.0, 0.3).parts(rows._replace(semantics=rows.semantics.flip(0)))
    assert found[2] is not None
    assert torch.equal(found[2], flipped[2])
    for part, other in zip(found[:2], flipped[:2], strict=True):
        assert torch.equal(part, other) is (critic.from_semantics is None)


@pytest.mark.parametrize(("output", "slope"), [("relu", 0.2), ("tanh", 0.01), ("linear", 0.0)])
def test_generator_matches_a_loop(output: str, slope: float) -> None:
    stream = random_stream(5)
    generator = Generator(2, A, H, D, stream, output=output, slope=slope).double()
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, generator=stream)
    noise = torch.randn(C, 3, 2, generator=stream, dtype=torch.float64)
    semantics = torch.rand(C, A, generator=stream, dtype=torch.float64)
    found = generator(noise, semantics[:, None, :]).detach().numpy()
    w = {name: value.detach().numpy() for name, value in generator.named_parameters()}
    first = np.concatenate([w["from_noise.weight"], w["from_semantics.weight"]], axis=1)
    last = {"relu": lambda x: np.maximum(x, 0), "tanh": np.tanh, "linear": lambda x: x}[output]
    for c in range(C):
        for r in range(3):
            h = first @ np.concatenate([noise[c, r].numpy(), semantics[c].numpy()]) + w["from_noise.bias"]
            wanted = last(w["out.weight"] @ np.where(h > 0, h, slope * h) + w["out.bias"])
            np.testing.assert_allclose(found[c, r], wanted, rtol=1e-10)


def training(terms: list[LossTerm], **given: float) -> GanTraining:
    stream = random_stream(0)
    rows = SeenRows(
        features=torch.rand(40, D, generator=stream),
        labels=torch.randint(C, (40,), generator=stream),
        semantics=torch.rand(C, A, generator=stream),
    )
    generator, critic = Generator(A, A, H, D, random_stream(1)), Critic(D, A, H, random_stream(2))
    streams = {name: random_stream(at) for at, name in enumerate(("batches", "noise", "interpolation"), 3)}
    options = GanOptions(**{"batch": 8, "critic_steps": 5, "lr": 1e-3, "gp": 10.0} | given)  # type: ignore[arg-type]
    return GanTraining(generator, critic, rows, terms, options, streams)


def test_epoch_has_the_declared_steps() -> None:
    labels_seen: list[int] = []
    term = LossTerm("spy", 0.0, lambda _nets, fakes, labels: (labels_seen.append(len(labels)), fakes.sum() * 0)[1])
    made = training([term], batch=12)
    calls: list[str] = []

    @contextlib.contextmanager
    def phase(name: str):  # type: ignore[no-untyped-def]
        calls.append(name)
        yield

    (losses,) = made.steps(made.epoch_steps, phase)
    assert calls == ["critic", "generator"] * 4  # ⌈40/12⌉ generator steps
    assert labels_seen == [12] * 4
    assert made._notes == {"critic": 5, "penalty": 5, "generator": 1, "spy": 1}  # of the last iteration
    assert set(losses) == {"critic", "penalty", "generator", "spy"}


def test_critic_step_moves_the_critic_only_and_generator_step_the_generator_only() -> None:
    made = training([])
    before = [p.clone() for p in (*made.generator.parameters(), *made.critic.parameters())]
    count = len(list(made.generator.parameters()))
    batch = made.draw()[0]
    made.critic_step(batch)
    after = [*made.generator.parameters(), *made.critic.parameters()]
    changed = [not torch.equal(b, a) for b, a in zip(before, after, strict=True)]
    assert not any(changed[:count])
    assert any(changed[count:])
    critic_now = [p.clone() for p in made.critic.parameters()]
    made.generator_step(batch.labels)
    assert all(torch.equal(b, a) for b, a in zip(critic_now, made.critic.parameters(), strict=True))
    assert all(p.requires_grad for p in made.critic.parameters())
    assert any(not torch.equal(b, a) for b, a in zip(before[:count], made.generator.parameters(), strict=True))


def test_training_brings_fakes_to_their_class() -> None:
    """Fakes of a class come to lie nearer to its rows than to any other class's, from its semantics alone."""
    centres, labels = torch.rand(3, 32, generator=random_stream(7)), torch.arange(240) % 3
    features = centres[labels] + 0.2 * torch.rand(240, 32, generator=random_stream(0))
    made = GanTraining(
        Generator(3, 3, 128, 32, random_stream(1)),
        Critic(32, 3, 128, random_stream(2)),
        SeenRows(features=features, labels=labels, semantics=torch.eye(3)),
        [],
        GanOptions(batch=16, critic_steps=3, lr=1e-3, gp=10.0),
        {name: random_stream(at) for at, name in enumerate(("batches", "noise", "interpolation"), 3)},
    )
    made.steps(400, lambda _name: contextlib.nullcontext())
    with torch.no_grad():
        means = made.generator.synthesise(torch.eye(3), 100, random_stream(9)).mean(1)
    real = torch.stack([features[labels == c].mean(0) for c in range(3)])
    assert torch.cdist(means, real).argmin(1).tolist() == [0, 1, 2]


@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.parametrize("branch", [True, False])
@pytest.mark.parametrize("slope", [0.2, 0.0])
def test_written_out_gradients_are_those_of_autograd(
    rows: CriticBatch, conditional: bool, branch: bool, slope: float
) -> None:
    critic = Critic(D, A if conditional else 0, H, random_stream(0), slope=slope)
    if branch:
        critic.add_branch(C, random_stream(1))
    for parameter in critic.parameters():
        torch.nn.init.normal_(parameter, generator=random_stream(2))
    critic.double()
    loss, penalty = CriticLoss(critic, 10.0, 0.3)(rows)
    loss.backward()
    wanted = {name: p.grad for name, p in critic.named_parameters()}
    critic.zero_grad()
    found_loss, found_penalty = CriticLoss(critic, 10.0, 0.3).set_gradients(rows)
    assert found_loss.item() == pytest.approx(loss.item(), rel=1e-12)
    assert found_penalty.item() == pytest.approx(penalty.item(), rel=1e-12)
    for name, parameter in critic.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, wanted[name], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("branch", [True, False])
@pytest.mark.parametrize("conditional", [True, False])
def test_gradients_of_two_layers_are_those_of_the_loss_written_out(
    rows: CriticBatch, conditional: bool, branch: bool
) -> None:
    """FC, LeakyReLU, FC, ReLU and both heads, the penalty by a double backward pass through the plain network."""
    critic = Critic(D, A if conditional else 0, H, random_stream(0), layers=2)
    if branch:
        critic.add_branch(C, random_stream(1))
    for parameter in critic.parameters():
        torch.nn.init.normal_(parameter, generator=random_stream(2))
    critic.double()
    w = dict(critic.named_parameters())

    def top(x: torch.Tensor, conditioned: bool) -> torch.Tensor:
        hidden = x @ w["from_features.weight"].T + w["from_features.bias"]
        if conditioned and conditional:
            hidden = hidden + rows.semantics @ w["from_semantics.weight"].T
        hidden = torch.where(hidden > 0, hidden, 0.2 * hidden)
        return (hidden @ w["second.weight"].T + w["second.bias"]).clamp(min=0)

    def value(x: torch.Tensor) -> torch.Tensor:
        return (top(x, True) @ w["value.weight"].T + w["value.bias"])[:, 0]

    between = (rows.mix * rows.real + (1 - rows.mix) * rows.fake).requires_grad_()
    (gradients,) = torch.autograd.grad(value(between).sum(), between, create_graph=True)
    penalty = ((gradients.norm(dim=1) - 1) ** 2).mean()
    loss = value(rows.fake).mean() - value(rows.real).mean() + 10 * penalty
    for x in (rows.real, rows.fake) if branch else ():
        logits = top(x, False) @ w["branch.weight"].T + w["branch.bias"]
        loss = loss - 0.3 * logits.log_softmax(1)[range(M), rows.labels].mean()
    loss.backward()
    wanted = {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in critic.named_parameters()}
    critic.zero_grad()
    found_loss, found_penalty = CriticLoss(critic, 10.0, 0.3).set_gradients(rows)
    assert found_loss.item() == pytest.approx(loss.item(), rel=1e-12)
    assert found_penalty.item() == pytest.approx(penalty.item(), rel=1e-12)
    for name, parameter in critic.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, wanted[name], rtol=1e-10, atol=1e-12)


def test_gradients_of_a_critic_that_is_flat_are_finite(rows: CriticBatch) -> None:
    critic = Critic(D, A, H, random_stream(0)).double()
    torch.nn.init.zeros_(critic.value.weight)
    _, penalty = CriticLoss(critic, 10.0, 0.0).set_gradients(rows)
    assert penalty.item() == 1.0  # the gradient by x is 0 everywhere
    assert all(torch.isfinite(p.grad).all() for p in critic.parameters() if p.grad is not None)
