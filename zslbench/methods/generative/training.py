"""The iterations of a Wasserstein GAN, for one fit or several together: their order, phases and recorded graphs.

On a CUDA device an iteration is recorded once as a graph and replayed: one launch, whereas a step of small matrices
needs hundreds. Several fits have weights with a leading axis over fits and batched products. Each fit keeps its own
random streams, so it computes the numbers that it would compute alone, up to the rounding of batched products. On a
GPU that a single fit leaves idle, eight fits cost little more than one. A method may train further networks beside
generator and critic: see `FurtherNetwork`. Torch is imported at the top.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from zslbench.methods.generative.kept_training import Phase, Training, Weights, stack, stack_weights
from zslbench.methods.generative.loss_terms import FakeSource, FurtherNetwork, GeneratorBatch, LossTerm
from zslbench.methods.generative.recording import RecordedIteration
from zslbench.methods.generative.wgan import Critic, CriticBatch, CriticLoss, Generator
from zslbench.methods.nn import BETAS, adam


@dataclasses.dataclass(frozen=True, eq=False)
class SeenRows:
    """Training data on the device.

    Attributes:
        features: (n, d) preprocessed rows.
        labels: (n,) positions of their classes in `semantics`.
        semantics: (c, a) seen classes in canonical order.
    """

    features: Tensor
    labels: Tensor
    semantics: Tensor


@dataclasses.dataclass(frozen=True, kw_only=True)
class GanOptions:
    """How a GAN is trained.

    Attributes:
        batch: rows per step.
        critic_steps: before each generator step.
        lr, betas: of both Adams.
        gp, branch_weight: weights of the penalty and of the branch's classification loss in the critic's loss.
        gp_adapt: whether `gp` is only the first weight of the penalty. After the critic steps of an iteration it is
            multiplied by 1.1 if the mean penalty is above 1.05, and divided by 1.1 if it is below 1.001 (TF-VAEGAN).
        critic_weight, adversarial_weight: factors of the critic's loss, without its further terms, and of −E D(x̃, a)
            in the generator's loss. With a `critic_weight` of 0 the terms of its steps are the whole loss of a critic,
            which may be of any kind; one of them is named ``critic``.
    """

    batch: int
    critic_steps: int
    lr: float
    gp: float
    branch_weight: float = 0.0
    betas: tuple[float, float] = BETAS
    gp_adapt: bool = False
    critic_weight: float = 1.0
    adversarial_weight: float = 1.0


class Networks(torch.nn.Module):
    """Generator, critic and the further networks of a method together: what the terms of a loss may call."""

    def __init__(
        self, generator: Generator, critic: Critic, further: Mapping[str, torch.nn.Module] = MappingProxyType({})
    ) -> None:
        super().__init__()
        self.generator, self.critic = generator, critic
        self.further = torch.nn.ModuleDict(further)

    def __getitem__(self, name: str) -> torch.nn.Module:
        """Return a further network."""
        return self.further[name]

    def forward(self, function: Callable[..., Any], *inputs: Tensor) -> Any:
        """Return ``function(self, *inputs)``, which lets it be called with other weights."""
        return function(self, *inputs)


class _Terms(torch.nn.Module):
    """The terms of a step as a function of the weights of all networks and of what is drawn."""

    step: ClassVar[str]

    def __init__(self, networks: Networks, terms: Sequence[LossTerm]) -> None:
        super().__init__()
        self.networks, self.terms = networks, tuple(term for term in terms if term.step == self.step)
        self.names = tuple(name for term in self.terms for name in (term.name, *term.notes))
        self.notes = tuple(name for term in self.terms for name in term.notes)

    def _add(
        self, loss: Tensor, batch: GeneratorBatch | CriticBatch, given: Sequence[tuple[Tensor, ...]]
    ) -> tuple[Tensor, ...]:
        """Return a loss plus the terms, and the values of `names`."""
        values: list[Tensor] = []
        for term, tensors in zip(self.terms, given, strict=True):
            whole = term.sees_batch or self.step == "critic"
            value = term.loss(self.networks, *([batch] if whole else [batch.fake, batch.labels]), *tensors)
            parts = value if isinstance(value, tuple) else (value,)
            loss = loss + term.weight * parts[0]
            values += parts
        return loss, *values


class GeneratorLoss(_Terms):
    """The generator's loss (Eq. 1 with the method's terms) as a function of the weights and what is drawn.

    Attributes:
        source: of the fakes.
        weight: of −E D(x̃, a).
    """

    step = "generator"

    def __init__(self, networks: Networks, terms: Sequence[LossTerm], weight: float = 1.0) -> None:
        super().__init__(networks, terms)
        self.weight, self.source = weight, FakeSource()

    def forward(
        self, noise: Tensor, real: Tensor, labels: Tensor, semantics: Tensor, *given: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        """Return the loss, and the values of `names`; `given` are each term's held and drawn tensors."""
        fake, *made = self.source.make(self.networks, noise, real, semantics)
        loss = -self.weight * self.networks.critic(fake, semantics).mean()
        return self._add(loss, GeneratorBatch(real, fake, labels, semantics, tuple(made)), given)


class CriticTerms(_Terms):
    """The terms of the critic's step besides the critic's loss."""

    step = "critic"

    def forward(self, batch: CriticBatch, *given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return their sum, and the values of `names`."""
        return self._add(batch.real.new_zeros(()), batch, given)


class GanTraining(Training):
    """Alternates critic steps and generator steps, each network by its Adam.

    Args:
        rows: the seen rows; batches are drawn from them without replacement, anew for every critic step.
        terms: the terms of the generator's loss besides −E D(x̃, a), and those of the critic's steps.
        streams: generators ``batches``, ``noise`` and ``interpolation``.
        further: the networks that are trained besides, by name.
        sources: where fakes come from, for each of the equal parts of a round.
    """

    recordable = True

    def __init__(
        self,
        generator: Generator,
        critic: Critic,
        rows: SeenRows,
        terms: Sequence[LossTerm],
        options: GanOptions,
        streams: Mapping[str, torch.Generator],
        further: Mapping[str, FurtherNetwork] = MappingProxyType({}),
        sources: Sequence[FakeSource] = (FakeSource(),),
    ) -> None:
        self.generator, self.critic, self.terms = generator, critic, tuple(terms)
        self.networks = Networks(generator, critic, {name: each.network for name, each in further.items()})
        super().__init__([self.networks], rows.features, options.batch)
        self.rows, self.options, self.streams = rows, options, streams
        self.further, self.sources = dict(further), tuple(sources)
        self.gp = torch.full((), options.gp, device=self.device) if options.gp_adapt else None
        if options.critic_weight:
            self.critic_loss = CriticLoss(critic, options.gp, options.branch_weight)
        self._held: list[Sequence[Tensor]] = [term.held for term in self.terms]
        self.critic_terms = CriticTerms(self.networks, self.terms)
        self.generator_loss = GeneratorLoss(self.networks, self.terms, options.adversarial_weight)
        self.drawing = [*streams.values(), *(stream for term in terms for stream in term.streams)]
        self.beside = self.generator_loss.notes
        self._prepare_steps()

    def _prepare_steps(self) -> None:
        """Make the Adam of each network; `weights` are those of `networks`."""
        self._weights: dict[str, Weights] = {}
        self.adams = {}
        for name in ("critic", "generator", *self.further):
            start = f"further.{name}." if name in self.further else f"{name}."
            held = {full.removeprefix(start): value for full, value in self.weights.items() if full.startswith(start)}
            how = self.further.get(name, self.options)
            self._weights[name], self.adams[name] = held, adam(held.values(), how.lr, how.betas)
            if self._keeps_gradient(name):
                for parameter in held.values():
                    parameter.grad = torch.zeros_like(parameter)
        self.zeroed = [self.adams[name] for name, each in self.further.items() if each.zeroed == "round"]
        self._recordings = [RecordedIteration(self.drawing, self.device) for _ in self.sources]
        self._use_source(0)

    def _use_source(self, number: int) -> None:
        self._repeated, self.generator_loss.source = self._recordings[number], self.sources[number]

    def _take_iteration(self, taken: int, count: int, phase: Phase, graph: bool) -> None:
        self._use_source(taken * len(self.sources) // count)  # each has an equal part of the round
        self._repeated(self.iterate) if graph else self.iterate(phase)

    def join(self, trainings: Sequence[Self]) -> JointTraining:  # noqa: D102
        return JointTraining(trainings)

    def _stepped(self, step: str) -> list[str]:
        """Return the names of the networks whose weights the terms of a step may change."""
        return [step, *(name for name, each in self.further.items() if step in each.steps)]

    def _keeps_gradient(self, name: str) -> bool:
        """Return whether the gradient of a network's weights is added to that of the step before."""
        return name in self.further and self.further[name].zeroed != "step"

    def iterate(self, phase: Phase = contextlib.nullcontext) -> None:
        """Take the critic steps and the generator step of one iteration."""
        self._notes = {}
        with phase("critic"):
            batches = self.draw()
            penalties = [self.critic_step(batch) for batch in batches]
            if self.gp is not None:
                adapt_penalty_weight(self.gp, torch.stack(penalties).mean(0))
        with phase("generator"):
            self.generator_step(batches[-1].labels, batches[-1].real)

    def draw(self) -> list[CriticBatch]:
        """Return the batches of the critic steps before one generator step; their fakes are made in one pass.

        The generator does not change between these steps, so one pass over all batches equals one pass per batch. Where
        fakes are `remade`, each batch has the noise of its fakes instead, until `critic_step` makes them.
        """
        noise, picked, mix = self._draw_inputs()
        labels = self.rows.labels[picked]
        semantics, real = self.rows.semantics[labels], self.rows.features[picked]
        fake = noise if self.generator_loss.source.remade else self._generate(noise, real, semantics)
        return [CriticBatch(*part) for part in zip(real, fake, labels, semantics, mix, strict=True)]

    def critic_step(self, batch: CriticBatch) -> Tensor:
        """Update the critic on one batch, and the further networks of the critic's step; return the penalty."""
        by_terms = self._take_term_steps(batch)
        if self.generator_loss.source.remade:
            fake = self._generate(batch.fake[None], batch.real[None], batch.semantics[None])[0]
            batch = batch._replace(fake=fake)
        if not self.options.critic_weight:  # the terms have set the gradients
            self.adams["critic"].step()
            return batch.real.new_zeros(())
        loss, penalty = self._set_critic_gradients(batch)
        for weights, gradient in itertools.zip_longest(self._weights["critic"].values(), by_terms):
            assert weights.grad is not None
            if self.options.critic_weight != 1:
                weights.grad.mul_(self.options.critic_weight)
            if gradient is not None:
                weights.grad.add_(gradient)
        self.adams["critic"].step()
        self._note("critic", loss)
        self._note("penalty", penalty)
        return penalty

    def _take_term_steps(self, batch: CriticBatch) -> Sequence[Tensor | None]:
        """Update the further networks by the terms of the critic's step.

        Return the gradients of these terms by the critic's weights.
        """
        if not self.critic_terms.terms:
            return ()
        stepped = self._stepped("critic")
        loss, *values = self._call(self.critic_terms, batch, *self._given("critic"))
        self._set_gradients(loss, stepped)
        for name in stepped[1:]:
            self.adams[name].step()
        self._note_terms(self.critic_terms, values)
        return [weights.grad for weights in self._weights["critic"].values()]

    def _set_gradients(self, loss: Tensor, networks: Sequence[str]) -> None:
        """Set the gradients of networks' weights, or add to those that are kept."""
        for name in networks:
            if not self._keeps_gradient(name):
                self.adams[name].zero_grad()
        held = [weights for name in networks for weights in self._weights[name].values()]
        loss.sum().backward(inputs=held)  # type: ignore[no-untyped-call]

    def generator_step(self, labels: Tensor, real: Tensor | None = None) -> None:
        """Update the generator, and the further networks of its step, on fresh fakes of (m,) labels.

        Args:
            real: (m, d) rows of these labels, for terms and sources that look at them.
        """
        loss, *values = self._generator_losses(labels, real)
        stepped = self._stepped("generator")
        self._set_gradients(loss, stepped)
        for name in stepped:
            self.adams[name].step()
        self._note("generator", loss)
        self._note_terms(self.generator_loss, values)

    def _trained(self) -> Weights:
        tensors = super()._trained() | ({} if self.gp is None else {"weight of the penalty": self.gp})
        for name, weights in self._weights.items():
            if self._keeps_gradient(name):
                kept = [held.grad for held in weights.values() if held.grad is not None]
                tensors |= {f"{name} {number} gradient": gradient for number, gradient in enumerate(kept)}
        for held, term in zip(self._held, self.terms, strict=True):
            if term.adapt is not None:
                tensors |= {f"{term.name} holds {number}": tensor for number, tensor in enumerate(held)}
        return tensors

    def _note_terms(self, losses: GeneratorLoss | CriticTerms, values: Sequence[Tensor]) -> None:
        """Add to the sums what the terms of a step returned, and let them adapt what they hold."""
        for name, value in zip(losses.names, values, strict=True):
            self._note(name, value)
        left = iter(values)
        for held, term in zip(self._held, self.terms, strict=True):
            if term.step == losses.step:
                returned = [value.detach() for value in itertools.islice(left, 1 + len(term.notes))]
                if term.adapt is not None:
                    term.adapt(held, returned)

    def _draw_inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        """Draw, for each of k critic steps, (k, m, z) noise, (k, m) rows of the batch and (k, m, 1) shares."""
        shape = self.options.critic_steps, self.batch
        # the largest of uniform numbers are rows drawn without replacement, for all batches in one operation
        keys = torch.rand(shape[0], len(self.rows.features), generator=self.streams["batches"], device=self.device)
        mix = torch.rand(*shape, 1, generator=self.streams["interpolation"], device=self.device)
        return self._noise(*shape), keys.topk(self.batch).indices, mix

    def _noise(self, *rows: int) -> Tensor:
        width = self.generator_loss.source.noise or self.generator.noise
        return torch.randn(*rows, width, generator=self.streams["noise"], device=self.device)

    def _given(self, step: str) -> list[tuple[Tensor, ...]]:
        """Return the held and freshly drawn tensors of each of the terms of a step."""
        terms = zip(self._held, self.terms, strict=True)
        return [(*held, *term.draw()) for held, term in terms if term.step == step]

    def _generate(self, noise: Tensor, real: Tensor, semantics: Tensor) -> Tensor:
        """Return the (k, m, d) fakes of k batches of the critic, without a gradient."""
        with torch.no_grad():
            return self.generator_loss.source.for_critic(self.networks, noise, real, semantics)[0]

    def _set_critic_gradients(self, batch: CriticBatch) -> tuple[Tensor, Tensor]:
        """Set the gradients of the critic's weights for a batch; return the loss and its part, the penalty."""
        return self.critic_loss.set_gradients(batch, self.gp)

    def _call(self, losses: GeneratorLoss | CriticTerms, *inputs: object) -> tuple[Tensor, ...]:
        """Return the values of a module of losses with the present weights."""
        # rounded once and not at each use, as autocast would
        low = self.device.type == "cpu" and torch.is_autocast_enabled("cpu")
        weights = {name: value.bfloat16() for name, value in losses.named_parameters() if low}
        values: tuple[Tensor, ...] = functional_call(losses, weights, inputs)
        return values

    def _generator_losses(self, labels: Tensor, real: Tensor | None) -> tuple[Tensor, ...]:
        """Return the generator's loss on fresh fakes of (m,) labels, and the values of its terms."""
        given = self._given("generator")
        frozen = [self.critic, *(each.network for each in self.further.values() if "generator" not in each.steps)]
        for network in frozen:
            network.requires_grad_(False)
        semantics = self.rows.semantics[labels]
        values = self._call(self.generator_loss, self._noise(len(labels)), real, labels, semantics, *given)
        for network in frozen:
            network.requires_grad_(True)
        return values


class JointTraining(GanTraining):
    """Trainings of the same shape that take their steps together.

    Args:
        members: each set up as for training alone; they differ in weights, streams, and the tensors of their terms.
    """

    def __init__(self, members: Sequence[GanTraining]) -> None:
        first, self.members = members[0], tuple(members)
        super().__init__(
            *(first.generator, first.critic, first.rows, first.terms, first.options, first.streams),
            *(first.further, first.sources),
        )
        if self.gp is not None:
            self.gp = self.gp.repeat(len(members))
        terms = zip(*(member.terms for member in members), strict=True)
        self._held = [stack([term.held for term in each]) for each in terms]
        self.drawing = [stream for member in members for stream in member.drawing]
        self.fits = tuple(member.networks for member in members)
        self.weights = stack_weights(self.fits)
        self._prepare_steps()

    def _draw_inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        """Draw what each fit draws, with a second axis over fits."""
        noise, picked, mix = stack([member._draw_inputs() for member in self.members], dim=1)
        return noise, picked, mix

    def _given(self, step: str) -> list[tuple[Tensor, ...]]:
        terms = zip(*(member.terms for member in self.members), strict=True)
        return [
            (*held, *stack([term.draw() for term in each]))
            for held, each in zip(self._held, terms, strict=True)
            if each[0].step == step
        ]

    def _generate(self, noise: Tensor, real: Tensor, semantics: Tensor) -> Tensor:
        def generate(weights: Weights, *inputs: Tensor) -> Tensor:
            made: tuple[Tensor, ...] = functional_call(self.networks, weights, (source.for_critic, *inputs))
            return made[0]

        source = self.generator_loss.source

        with torch.no_grad():
            made: Tensor = vmap(generate, in_dims=(0, 1, 1, 1), out_dims=1)(self.weights, noise, real, semantics)
        return made

    def _set_critic_gradients(self, batch: CriticBatch) -> tuple[Tensor, Tensor]:
        weights = {name: value.detach() for name, value in self._weights["critic"].items()}
        adapted = () if self.gp is None else (self.gp,)
        with torch.no_grad():
            losses, penalties, gradients = vmap(self.critic_loss.by_weights)(weights, batch, *adapted)
        for name, parameter in self._weights["critic"].items():
            parameter.grad = gradients[name].to(parameter.dtype).contiguous()  # as a fused Adam reads it
        return losses, penalties

    def _call(self, losses: GeneratorLoss | CriticTerms, *inputs: object) -> tuple[Tensor, ...]:
        def losses_of(weights: Weights, *inputs: object) -> tuple[Tensor, ...]:
            values: tuple[Tensor, ...] = functional_call(losses, weights, inputs)
            return values

        stepped = tuple(
            f"further.{name}." if name in self.further else f"{name}." for name in self._stepped(losses.step)
        )
        weights = {
            f"networks.{name}": value if name.startswith(stepped) else value.detach()
            for name, value in self.weights.items()
        }
        values: tuple[Tensor, ...] = vmap(losses_of)(weights, *inputs)
        return values

    def _generator_losses(self, labels: Tensor, real: Tensor | None) -> tuple[Tensor, ...]:
        given = self._given("generator")
        noise = torch.stack([member._noise(labels.shape[1]) for member in self.members])
        return self._call(self.generator_loss, noise, real, labels, self.rows.semantics[labels], *given)


def adapt_penalty_weight(weight: Tensor, penalty: Tensor) -> None:
    """Multiply, in place, weights of the gradient penalty by 1.1 or 1 / 1.1 (see `GanOptions`)."""
    weight.mul_(torch.where(penalty > 1.05, 1.1, torch.where(penalty < 1.001, 1 / 1.1, 1.0)))
