"""The adversarial losses and their training, of one fit or several: against loops, autograd and a plain trainer."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from gan_data import problem

from plain_lisgan import PlainTraining
from zslbench.errors import BadValue
from zslbench.methods.base import Context, Method
from zslbench.methods.generative import AdversarialMethod, regularisers, wgan
from zslbench.methods.generative.cegzsl import CEGZSL
from zslbench.methods.generative.fclswgan import FCLSWGAN
from zslbench.methods.generative.free import FREE
from zslbench.methods.generative.fvaegan import FVAEGAN
from zslbench.methods.generative.gazsl import GAZSL
from zslbench.methods.generative.lisgan import LisGAN
from zslbench.methods.generative.loss_terms import LossTerm
from zslbench.methods.generative.rff import RFF
from zslbench.methods.generative.tfvaegan import TFVAEGAN
from zslbench.methods.generative.training import GanOptions, GanTraining, Networks, SeenRows
from zslbench.methods.generative.wgan import CHUNK_ROWS, BlockwisePass, Critic, CriticBatch, CriticLoss, Generator
from zslbench.methods.nn import at_precision, linear, random_stream

D, A, H, C, M = 5, 3, 7, 4, 6


def no_phase(_name: str) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


def make_critic(conditional: bool = True, branch: bool = True, **options: Any) -> Critic:
    """Return a critic in float64 with weights that are large enough for its kinks to matter."""
    critic = Critic(D, A if conditional else 0, H, random_stream(0), **options)
    if branch:
        critic.add_branch(C, random_stream(1))
    for parameter in critic.parameters():
        torch.nn.init.normal_(parameter, generator=random_stream(2))
    return critic.double()


@pytest.fixture(params=["conditional", "unconditional"])
def critic(request: pytest.FixtureRequest) -> Critic:
    """LisGAN's critic, or GAZSL's."""
    return make_critic() if request.param == "conditional" else make_critic(False, slope=0.0)


@pytest.fixture
def rows() -> CriticBatch:
    stream = random_stream(3)
    real, fake, semantics, mix = (torch.rand(M, width, generator=stream, dtype=torch.float64) for width in (D, D, A, 1))
    return CriticBatch(real, fake, torch.tensor([0, 1, 2, 3, 0, 2]), semantics, mix)


def parts(critic: Critic, rows: CriticBatch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    wasserstein, penalty, classification = critic.losses(rows)
    assert classification is not None
    return wasserstein, penalty, classification


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
    n = {name: value.numpy() for name, value in rows._asdict().items()}
    wasserstein = penalty = classification = 0.0
    step = 1e-6
    for i in range(M):
        real, fake, a, mix = n["real"][i], n["fake"][i], n["semantics"][i], n["mix"][i, 0]
        wasserstein += (critic_value(critic, fake, a) - critic_value(critic, real, a)) / M
        between = mix * real + (1 - mix) * fake
        gradient = [
            (critic_value(critic, between + step * unit, a) - critic_value(critic, between - step * unit, a))
            / (2 * step)
            for unit in np.eye(D)
        ]
        penalty += (np.sqrt(sum(g * g for g in gradient)) - 1) ** 2 / M
        for x in (real, fake):
            classification -= branch_log_probability(critic, x, n["labels"][i]) / M
    found = [part.item() for part in parts(critic, rows)]
    assert found[0] == pytest.approx(wasserstein, abs=1e-12)
    assert found[1:] == [pytest.approx(penalty, rel=1e-7), pytest.approx(classification, rel=1e-12)]


def test_penalty_gradient_matches_double_backward(critic: Critic, rows: CriticBatch) -> None:
    """The written-out input gradient trains the critic exactly as autograd's double backward would."""
    parts(critic, rows)[1].backward()
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


def test_branch_and_unconditional_critic_do_not_see_the_semantics(critic: Critic, rows: CriticBatch) -> None:
    found, flipped = parts(critic, rows), parts(critic, rows._replace(semantics=rows.semantics.flip(0)))
    same = [torch.equal(part, other) for part, other in zip(found, flipped, strict=True)]
    assert same == [critic.from_semantics is None] * 2 + [True]


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


@pytest.mark.usefixtures("_float64")
def test_a_pass_block_by_block_has_the_values_and_gradients_of_the_whole_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wgan, "BLOCK_ROWS", 7)  # two classes of three rows; the last block has one
    generator, stream = Generator(4, 3, 6, 5, random_stream(0)), random_stream(1)
    for weights in generator.parameters():
        weights.data = torch.randn(weights.shape, generator=stream)
    noise, semantics, cotangent = (
        torch.randn(5, rows, width, generator=stream) for rows, width in ((3, 4), (1, 3), (3, 5))
    )
    layers = (generator.from_noise.weight, generator.from_noise.bias, generator.out.weight, generator.out.bias)
    whole = generator(noise, semantics)
    blockwise = BlockwisePass.apply(noise, generator.from_semantics(semantics), *layers, generator.slope)
    torch.testing.assert_close(blockwise, whole)
    assert 0 < int((whole > 0).sum()) < whole.numel()
    of_whole, of_blocks = (
        torch.autograd.grad(made, list(generator.parameters()), cotangent) for made in (whole, blockwise)
    )
    torch.testing.assert_close(of_blocks, of_whole)


def test_in_bf16_the_generator_gets_the_gradients_of_float32_up_to_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wgan, "BLOCK_ROWS", 16)
    train, _, _ = problem()
    gradients = {}
    for precision in ("float32", "bf16"):
        training = LisGAN(hidden=64, noise=4, l_r2=10.0, cls_weight=0.1, fake_souls="mean")._begin(train, Context(0))
        with at_precision(precision, torch.device("cpu")):
            training.generator_step(torch.arange(training.batch) % len(training.rows.semantics))
        gradients[precision] = {name: weights.grad for name, weights in training.generator.named_parameters()}
    for name, wanted in gradients["float32"].items():
        given = gradients["bf16"][name]
        assert wanted is not None
        assert given is not None
        assert given.dtype == torch.float32
        assert 0 < float((given - wanted).norm()) < 0.05 * float(wanted.norm()), name


def test_synthesis_in_chunks_is_synthesis() -> None:
    rows = CHUNK_ROWS // 2 + 1  # one class a chunk
    generator = Generator(2, 3, 8, 4, random_stream(0)).requires_grad_(False)
    semantics = torch.rand(3, 3, generator=random_stream(1))
    found = generator.synthesise(semantics, rows, random_stream(2))
    stream = random_stream(2)
    for at in range(3):
        noise = torch.randn(1, rows, 2, generator=stream)
        torch.testing.assert_close(found[at], generator(noise, semantics[at : at + 1, None, :])[0])


def check_gradients(critic: Critic, rows: CriticBatch, loss: torch.Tensor, penalty: torch.Tensor) -> None:
    """Compare what `CriticLoss` sets with autograd through a loss."""
    loss.backward()
    wanted = {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in critic.named_parameters()}
    critic.zero_grad()
    found_loss, found_penalty = CriticLoss(critic, 10.0, 0.3).set_gradients(rows)
    assert found_loss.item() == pytest.approx(loss.item(), rel=1e-12)
    assert found_penalty.item() == pytest.approx(penalty.item(), rel=1e-12)
    for name, parameter in critic.named_parameters():
        torch.testing.assert_close(parameter.grad, wanted[name], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.parametrize("branch", [True, False])
@pytest.mark.parametrize("slope", [0.2, 0.0])
def test_written_out_gradients_are_those_of_autograd(
    rows: CriticBatch, conditional: bool, branch: bool, slope: float
) -> None:
    critic = make_critic(conditional, branch, slope=slope)
    check_gradients(critic, rows, *CriticLoss(critic, 10.0, 0.3)(rows))


@pytest.mark.parametrize("branch", [True, False])
@pytest.mark.parametrize("conditional", [True, False])
def test_gradients_of_two_layers_are_those_of_the_loss_written_out(
    rows: CriticBatch, conditional: bool, branch: bool
) -> None:
    """FC, LeakyReLU, FC, ReLU and both heads, the penalty by a double backward pass through the plain network."""
    critic = make_critic(conditional, branch, layers=2)
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
    check_gradients(critic, rows, loss, penalty)


def test_gradients_of_a_critic_that_is_flat_are_finite(rows: CriticBatch) -> None:
    critic = make_critic(branch=False)
    torch.nn.init.zeros_(critic.value.weight)
    _, penalty = CriticLoss(critic, 10.0, 0.0).set_gradients(rows)
    assert penalty.item() == 1.0  # the gradient by x is 0 everywhere
    assert all(torch.isfinite(p.grad).all() for p in critic.parameters() if p.grad is not None)


def training(terms: list[LossTerm], rows: SeenRows | None = None, hidden: int = H, **given: float) -> GanTraining:
    if rows is None:
        stream = random_stream(0)
        features, labels = torch.rand(40, D, generator=stream), torch.randint(C, (40,), generator=stream)
        rows = SeenRows(features, labels, semantics=torch.rand(C, A, generator=stream))
    width, attributes = rows.features.shape[1], rows.semantics.shape[1]
    generator = Generator(attributes, attributes, hidden, width, random_stream(1))
    critic = Critic(width, attributes, hidden, random_stream(2))
    streams = {name: random_stream(at) for at, name in enumerate(("batches", "noise", "interpolation"), 3)}
    options = GanOptions(**{"batch": 8, "critic_steps": 5, "lr": 1e-3, "gp": 10.0} | given)  # type: ignore[arg-type]
    return GanTraining(generator, critic, rows, terms, options, streams)


def test_epoch_has_the_declared_steps() -> None:
    labels_seen: list[int] = []
    term = LossTerm("spy", 0.0, lambda _nets, fakes, labels: (labels_seen.append(len(labels)), fakes.sum() * 0)[1])
    made = training([term], batch=12)
    calls: list[str] = []

    @contextlib.contextmanager
    def phase(name: str) -> Iterator[None]:
        calls.append(name)
        yield

    (losses,) = made.steps(made.epoch_steps, phase)
    assert calls == ["critic", "generator"] * 4  # ⌈40/12⌉ generator steps
    assert labels_seen == [12] * 4
    assert made._notes == {"critic": 5, "penalty": 5, "generator": 1, "spy": 1}  # of the last iteration
    assert set(losses) == {"critic", "penalty", "generator", "spy"}


def test_critic_step_moves_the_critic_only_and_generator_step_the_generator_only() -> None:
    made = training([])
    networks = made.generator, made.critic
    batch = made.draw()[0]
    for step, moved in ((lambda: made.critic_step(batch), 1), (lambda: made.generator_step(batch.labels), 0)):
        before = [torch.nn.utils.parameters_to_vector(network.parameters()).detach() for network in networks]
        step()
        after = [torch.nn.utils.parameters_to_vector(network.parameters()).detach() for network in networks]
        assert not torch.equal(before[moved], after[moved])
        assert torch.equal(before[1 - moved], after[1 - moved])
    assert all(p.requires_grad for p in made.critic.parameters())


def test_training_brings_fakes_to_their_class() -> None:
    """Fakes of a class come to lie nearer to its rows than to any other class's, from its semantics alone."""
    centres, labels = torch.rand(3, 32, generator=random_stream(7)), torch.arange(240) % 3
    features = centres[labels] + 0.2 * torch.rand(240, 32, generator=random_stream(0))
    made = training([], SeenRows(features, labels, torch.eye(3)), hidden=128, batch=16, critic_steps=3)
    made.steps(400, no_phase)
    with torch.no_grad():
        means = made.generator.synthesise(torch.eye(3), 100, random_stream(9)).mean(1)
    real = torch.stack([features[labels == c].mean(0) for c in range(3)])
    assert torch.cdist(means, real).argmin(1).tolist() == [0, 1, 2]


# A plain implementation of the public algorithm: same numbers, same draws, same losses.

PLAIN = {"cls_weight": 0.3, "l_r1": 0.2, "l_r2": 0.4}
PURPOSES = ("batches", "noise", "interpolation", "soul noise")
IMAGES, WIDTH, ATTRIBUTES, CLASSES, SOULS, HIDDEN, BATCH, STEPS, SOUL_ROWS = 60, 9, 4, 5, 3, 16, 8, 5, 6


@pytest.fixture
def _float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class Draws:
    """Hands out, one step at a time, what `GanTraining` draws for a whole iteration from equal streams."""

    def __init__(self) -> None:
        self.streams = {name: random_stream(at) for at, name in enumerate(PURPOSES)}
        self.waiting: dict[str, deque[torch.Tensor]] = {name: deque() for name in PURPOSES}

    def _normal(self, purpose: str, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=self.streams[purpose])

    def iteration(self) -> None:
        keys = torch.rand(STEPS, IMAGES, generator=self.streams["batches"])
        self.waiting["batches"].extend(keys.topk(BATCH).indices)
        self.waiting["noise"].extend(self._normal("noise", STEPS, BATCH, ATTRIBUTES))
        self.waiting["interpolation"].extend(torch.rand(STEPS, BATCH, 1, generator=self.streams["interpolation"]))
        self.waiting["noise"].append(self._normal("noise", BATCH, ATTRIBUTES))
        self.waiting["soul noise"].append(self._normal("soul noise", CLASSES, SOUL_ROWS, ATTRIBUTES))

    def __call__(self, purpose: str, *shape: int) -> torch.Tensor:
        drawn = self.waiting[purpose].popleft()
        assert not shape or drawn.shape[: len(shape)] == shape
        return drawn


def both() -> tuple[GanTraining, PlainTraining, Draws]:
    stream = random_stream(9)
    features, semantics = torch.rand(IMAGES, WIDTH, generator=stream), torch.rand(CLASSES, ATTRIBUTES, generator=stream)
    labels = torch.arange(IMAGES) % CLASSES
    real = torch.rand(CLASSES, SOULS, WIDTH, generator=stream)
    generator = Generator(ATTRIBUTES, ATTRIBUTES, HIDDEN, WIDTH, random_stream(10))
    critic = Critic(WIDTH, ATTRIBUTES, HIDDEN, random_stream(11))
    for parameter in (*generator.parameters(), *critic.parameters()):
        torch.nn.init.normal_(parameter, std=0.3, generator=stream)  # large enough for every kink to matter
    classifier = linear(WIDTH, CLASSES, random_stream(12), std=0.5).requires_grad_(False)
    draws = Draws()
    data = features, labels, semantics, real
    options = {"lr": 1e-3, "gp": 10.0}
    plain = PlainTraining(generator, critic, classifier, *data, draws, **options, soul_rows=SOUL_ROWS, **PLAIN)
    streams = {name: random_stream(at) for at, name in enumerate(PURPOSES)}

    def second(nets: Networks, _fakes: torch.Tensor, _labels: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        fakes = nets.generator(noise, semantics[:, None, :])
        return regularisers.l_r2(*regularisers.mean_fake_souls(fakes), real)

    def draw() -> tuple[torch.Tensor]:
        return (torch.randn(CLASSES, SOUL_ROWS, ATTRIBUTES, generator=streams["soul noise"]),)

    terms = [
        regularisers.classification_term(PLAIN["cls_weight"], classifier),
        LossTerm("l_r1", PLAIN["l_r1"], lambda _, x, y: regularisers.l_r1(x, y, real)),
        LossTerm("l_r2", PLAIN["l_r2"], second, draw=draw),
    ]
    gan_options = GanOptions(batch=BATCH, critic_steps=STEPS, **options)
    fast = GanTraining(generator, critic, SeenRows(features, labels, semantics), terms, gan_options, streams)
    return fast, plain, draws


def check_weights(plain: torch.nn.Linear, *parts: torch.nn.Linear | None) -> None:
    """Compare the gradients of a plain layer with those of the layers that are its parts."""
    ours = torch.cat([part.weight.grad for part in parts if part is not None], dim=1)  # type: ignore[misc]
    torch.testing.assert_close(ours, plain.weight.grad, rtol=1e-10, atol=1e-12)


@pytest.mark.usefixtures("_float64")
def test_gradients_of_a_critic_step_and_a_generator_step_are_those_of_the_plain_algorithm() -> None:
    fast, plain, draws = both()
    draws.iteration()
    batches = fast.draw()
    for batch in batches:
        fast.critic_step(batch)
        labels, _ = plain.critic_step()
        assert torch.equal(labels, batch.labels)
        check_weights(plain.critic.first, fast.critic.from_features, fast.critic.from_semantics)
        check_weights(plain.critic.second, fast.critic.value)
    fast.generator_step(batches[-1].labels)
    plain.generator_step(batches[-1].labels)
    check_weights(plain.generator.first, fast.generator.from_noise, fast.generator.from_semantics)
    check_weights(plain.generator.second, fast.generator.out)


@pytest.mark.usefixtures("_float64")
def test_losses_of_twenty_steps_are_those_of_the_plain_algorithm_and_every_draw_is_used_once() -> None:
    fast, plain, draws = both()
    for _ in range(20):
        draws.iteration()
        (found,) = fast.steps(1, no_phase)
        critic = [plain.critic_step() for _ in range(STEPS)]
        wanted = plain.generator_step(critic[-1][0])
        assert found["critic"] == pytest.approx(sum(loss for _, loss in critic) / STEPS, rel=1e-9)
        for name, value in wanted.items():
            assert found[name] == pytest.approx(value, rel=1e-9), name
        assert not any(draws.waiting.values())
    for name, stream in fast.streams.items():
        assert torch.equal(stream.get_state(), draws.streams[name].get_state())


# Several fits at once end where single fits end, up to the rounding of batched products.

SMALL: dict[str, Any] = {"hidden": 16, "noise": 3, "critic_steps": 2, "batch": 16, "lr": 1e-3, "per_class": 6}
EPOCHS: dict[str, Any] = SMALL | {"epochs": 3, "pretrain_epochs": 3, "final_epochs": 3}
SOULED: dict[str, Any] = EPOCHS | {"soul_rows": 4, "l_r1": 0.3, "l_r2": 0.5, "cls_weight": 0.3, "cascade": "off"}
CASES: list[AdversarialMethod] = [
    FCLSWGAN(**EPOCHS | {"cls_weight": 0.5}),
    LisGAN(**SOULED),
    GAZSL(**SMALL, iterations=42, neighbours=4),
    LisGAN(**SOULED, classifier="pretrained", fake_souls="mean"),
    LisGAN(**SOULED, soul_classes=3),
    RFF(**EPOCHS, latent=5, margin=3.0, multiplier_step=0.1, centre_gradients="never"),
    RFF(**EPOCHS, latent=5, margin=3.0, other_centre="nearest"),
    CEGZSL(
        **EPOCHS | {"lr": 2e-4},
        embedding=8,
        projection=4,
        comparator=6,
        comparator_gradients="round",
        class_weight=1.0,
        instance_weight=0.1,
    ),
    LisGAN(**SOULED, critic_layers=2, generator_slope=0.0, soul_pairs="numbered"),
    FVAEGAN(**EPOCHS, gp_adapt="tf"),
    TFVAEGAN(**EPOCHS, encoded_noise=False, decoder_lr=1e-3),
    FREE(**EPOCHS, margin=2.0, centre_gradients="never", decoder_weight=0.1),
]
SEEDS = (0, 7)


def fit_logged(points: list[AdversarialMethod], seeds: tuple[int, ...]) -> list[list[dict[str, float]]]:
    """Fit points together, one for each seed; return what each logs."""
    logs: list[list[dict[str, float]]] = [[] for _ in seeds]
    contexts = [
        Context(seed, on_log=lambda _step, _total, values, log=log: log.append(dict(values)))
        for seed, log in zip(seeds, logs, strict=True)
    ]
    for fitted, point in zip(type(points[0]).fit_seeds(points, problem()[0], contexts), points, strict=True):
        assert fitted is point
    return logs


@pytest.mark.parametrize("method", CASES)
def test_several_fits_at_once_are_the_single_fits(method: AdversarialMethod) -> None:
    query = problem()[2]
    points = [dataclasses.replace(method) for _ in SEEDS]
    logs = fit_logged(points, SEEDS)
    for seed, point, log in zip(SEEDS, points, logs, strict=True):
        alone = dataclasses.replace(method)
        (alone_log,) = fit_logged([alone], (seed,))
        for name, weight in alone.generator_.state_dict().items():
            torch.testing.assert_close(point.generator_.state_dict()[name], weight, rtol=1e-3, atol=2e-5)
        assert not any(parameter.requires_grad for parameter in point.generator_.parameters())
        assert len(log) == len(alone_log)
        for ours, theirs in zip(log, alone_log, strict=True):
            assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-4)
    assert not np.allclose(*(point.scores(query.features, query.classes) for point in points))


def test_checkpoints_see_the_weights_of_the_moment() -> None:
    train, _, query = problem()
    judged: dict[int, list[np.ndarray]] = {}

    def judge(method: Method, step: int) -> None:
        judged.setdefault(step, []).append(method.scores(query.features, query.classes))

    FCLSWGAN(**EPOCHS).fit(train, Context(5, judge=judge))
    points = [FCLSWGAN(**EPOCHS), FCLSWGAN(**EPOCHS)]
    list(FCLSWGAN.fit_seeds(points, train, [Context(5, judge=judge), Context(6)]))
    assert sorted(judged) == [1, 2, 3]
    for single, together in judged.values():
        np.testing.assert_allclose(together, single, rtol=1e-2, atol=1e-3)


def test_divergence_of_one_fit_is_named() -> None:
    points = [FCLSWGAN(**EPOCHS, gp=1000.0) for _ in range(2)]
    for point in points:
        point.lr = 1e30  # past what the parameter allows
    with pytest.raises(BadValue, match="not finite in epoch"):
        list(FCLSWGAN.fit_seeds(points, problem()[0], [Context(0), Context(1)]))


@pytest.mark.parametrize("method", CASES[:3])
def test_a_seen_class_without_images_is_as_if_it_were_not_there(method: AdversarialMethod) -> None:
    train, _, query = problem()
    empty = train.classes.ids[0]
    kept = train.labels != empty
    listed = dataclasses.replace(train, features=train.features[kept], labels=train.labels[kept])
    absent = dataclasses.replace(listed, classes=train.classes.take(np.flatnonzero(train.classes.ids != empty)))
    scores = [
        dataclasses.replace(method).fit(each, Context(2)).scores(query.features, query.classes)
        for each in (listed, absent)
    ]
    assert empty in query.classes.ids  # a candidate like an unseen one
    np.testing.assert_array_equal(*scores)
    assert np.isfinite(scores[0]).all()
