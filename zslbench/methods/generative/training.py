"""The iterations of a Wasserstein GAN, for one fit or several together: their order, phases and recorded graphs.

On a CUDA device an iteration is recorded once as a graph and replayed: one launch, whereas a step of small matrices
needs hundreds. Several fits have weights with a leading axis over fits and batched products. Each fit keeps its own
random streams, so it computes the numbers that it would compute alone, up to the rounding of batched products. On a
GPU that a single fit leaves idle, eight fits cost little more than one. Torch is imported at the top.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, vmap

from zslbench.arrays import AnyArray
from zslbench.documents import convert
from zslbench.errors import ZslbenchError
from zslbench.methods.base import Context, Cost
from zslbench.methods.generative.wgan import (
    Critic,
    CriticBatch,
    CriticLoss,
    Generator,
    GeneratorLoss,
    LossTerm,
    Networks,
)
from zslbench.methods.nn import BETAS, adam
from zslbench.step_reports import RESUMING

Phase = Callable[[str], AbstractContextManager[object]]
Weights = dict[str, Tensor]
_OF_LOSSES = ("sum ", "count ")
"""How the names of arrays in a state begin that are of the losses of a round."""
EAGER_CALLS = 3
"""Calls before the recording, in which optimisers, caches and sums make their tensors."""


class RecordingFailed(ZslbenchError):
    """A CUDA graph could not be recorded."""


class RecordedIteration:
    """Calls a step again and again; on CUDA, from the fourth call on, as one recorded graph.

    The step is passed at each call, and must be the same. If it were kept here, it would tie its owner, and the owner's
    memory on the device, into a reference cycle. The step must take its inputs from tensors that stay where they are,
    must ask nothing of the device (no size that depends on values), and must draw only from the given streams. These
    are registered, so that a replay draws the numbers that a call would draw.
    """

    def __init__(self, streams: Iterable[torch.Generator], device: torch.device) -> None:
        self.streams, self.device = tuple(streams), device
        self.calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._side: torch.cuda.Stream | None = None

    @property
    def recorded(self) -> bool:
        """Whether calls replay a graph."""
        return self._graph is not None

    def __call__(self, step: Callable[[], object]) -> None:
        """Do one iteration: call `step`, or replay it.

        Raises:
            RecordingFailed: the step does something that a graph cannot hold. The device cannot be used any more.
        """
        if self.device.type != "cuda":
            step()
            return
        self.calls += 1
        with torch.cuda.device(self.device):  # streams, recordings and replays belong to the current device
            if self._side is None:
                self._side = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
            if self.calls <= EAGER_CALLS:  # on a stream of its own, as is asked before a recording
                self._side.wait_stream(torch.cuda.current_stream(self.device))
                with torch.cuda.stream(self._side):
                    step()
                torch.cuda.current_stream(self.device).wait_stream(self._side)
                return
            if self._graph is None:
                self._graph = self._record(step)
            self._graph.replay()

    def _record(self, step: Callable[[], object]) -> torch.cuda.CUDAGraph:
        """Record the step without executing it."""
        graph = torch.cuda.CUDAGraph()
        for stream in self.streams:
            graph.register_generator_state(stream)
        try:
            with torch.cuda.graph(graph, stream=self._side):
                step()
        except RuntimeError as error:
            why = str(error).strip().splitlines()[0]
            raise RecordingFailed(
                f"an iteration could not be recorded as a CUDA graph ({why}); --profile trains without one."
            ) from error
        return graph


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
    """

    batch: int
    critic_steps: int
    lr: float
    gp: float
    branch_weight: float = 0.0
    betas: tuple[float, float] = BETAS


class GanTraining:
    """Alternates critic steps and generator steps (both by Adam), and sums their losses on the device.

    Tensors stay on the device and nothing waits for them.

    Args:
        rows: the seen rows; batches are drawn from them without replacement, anew for every critic step.
        terms: the terms of the generator's loss besides −E D(x̃, a).
        streams: generators ``batches``, ``noise`` and ``interpolation``.
    """

    def __init__(
        self,
        generator: Generator,
        critic: Critic,
        rows: SeenRows,
        terms: Sequence[LossTerm],
        options: GanOptions,
        streams: Mapping[str, torch.Generator],
    ) -> None:
        self.generator, self.critic, self.terms = generator, critic, tuple(terms)
        self.rows, self.options, self.streams = rows, options, streams
        self.batch, self.device = min(options.batch, len(rows.features)), rows.features.device
        self.critic_loss = CriticLoss(critic, options.gp, options.branch_weight)
        self.generator_loss = GeneratorLoss(Networks(generator, critic), terms)
        self.drawing = [*streams.values(), *(stream for term in terms for stream in term.streams)]
        self._sums: dict[str, Tensor] = {}
        self._notes: dict[str, int] = {}
        self._prepare_steps(generator.parameters(), critic.parameters(), self.drawing)

    def _prepare_steps(
        self, generator: Iterable[Tensor], critic: Iterable[Tensor], drawing: Iterable[torch.Generator]
    ) -> None:
        self.generator_adam = adam(generator, self.options.lr, self.options.betas)
        self.critic_adam = adam(critic, self.options.lr, self.options.betas)
        self._repeated = RecordedIteration(drawing, self.device)

    @property
    def epoch_steps(self) -> int:
        """Generator steps of an epoch: ⌈n / batch⌉."""
        return -(-len(self.rows.features) // self.batch)

    def steps(
        self,
        count: int,
        phase: Phase,
        record: bool = True,
        advance: Callable[[int], bool] = lambda _taken: False,
        taken: int = 0,
    ) -> list[dict[str, float]]:
        """Take `count` iterations; return, for each fit, the mean of every loss by name.

        Of these, `taken` were taken before the state was kept from which the training goes on.

        On CUDA the iterations are recorded as a graph, unless `record` is false, which allows to time their phases
        separately. After each iteration (on CUDA: after it was given to the device) `advance` is called with the number
        of iterations; if it returns True, the loop ends.
        """
        if not taken:
            for total in self._sums.values():
                total.zero_()
        graph = record and self.device.type == "cuda"
        with phase("iterations") if graph else contextlib.nullcontext():
            while taken < count:
                self._repeated(self.iterate) if graph else self.iterate(phase)
                taken += 1
                if advance(taken):
                    break
        means = {
            name: (total.cpu().double() / (taken * self._notes[name])).reshape(-1).tolist()
            for name, total in self._sums.items()
        }
        return [dict(zip(means, values, strict=True)) for values in zip(*means.values(), strict=True)]

    def iterate(self, phase: Phase = contextlib.nullcontext) -> None:
        """Take the critic steps and the generator step of one iteration."""
        self._notes = {}
        with phase("critic"):
            batches = self.draw()
            for batch in batches:
                self.critic_step(batch)
        with phase("generator"):
            self.generator_step(batches[-1].labels)

    def draw(self) -> list[CriticBatch]:
        """Return the batches of the critic steps before one generator step; their fakes are made in one pass.

        The generator does not change between these steps, so one pass over all batches equals one pass per batch.
        """
        noise, picked, mix = self._draw_inputs()
        labels = self.rows.labels[picked]
        semantics = self.rows.semantics[labels]
        with torch.no_grad():
            fake = self._generate(noise, semantics)
        parts = zip(self.rows.features[picked], fake, labels, semantics, mix, strict=True)
        return [CriticBatch(*part) for part in parts]

    def critic_step(self, batch: CriticBatch) -> None:
        """Update the critic on one batch."""
        loss, penalty = self._set_critic_gradients(batch)
        self.critic_adam.step()
        self._note("critic", loss)
        self._note("penalty", penalty)

    def generator_step(self, labels: Tensor) -> None:
        """Update the generator on fresh fakes of (m,) labels."""
        loss, *values = self._generator_losses(labels)
        self.generator_adam.zero_grad()
        loss.sum().backward()  # type: ignore[no-untyped-call]
        self.generator_adam.step()
        for name, value in zip(("generator", *self.generator_loss.names), (loss, *values), strict=True):
            self._note(name, value)

    def write_back(self) -> None:
        """Copy the weights to the networks of the fits, if copies of them were trained."""

    def state(self) -> dict[str, AnyArray]:
        """Return all that changes from step to step, by name: weights, both Adams, random streams, sums of losses."""
        arrays = {name: tensor.cpu().numpy() for name, tensor in self._trained().items()}
        arrays |= {
            f"stream {number}": stream.get_state().numpy() for number, stream in enumerate(self._repeated.streams)
        }
        arrays |= {f"sum {name}": total.cpu().numpy() for name, total in self._sums.items()}
        return arrays | {f"count {name}": np.asarray(count) for name, count in self._notes.items()}

    def restore(self, state: Mapping[str, AnyArray]) -> None:
        """Go on from what `state` returned after some step.

        Raises:
            ValueError: it is that of another training; this one has not changed.
        """
        for optimiser in (self.critic_adam, self.generator_adam):
            for weights in optimiser.param_groups[0]["params"]:
                # as Adam makes them at its first step; only a fused one counts on the device
                step = torch.zeros((), device=weights.device if optimiser.defaults["fused"] else None)
                optimiser.state[weights] = {
                    "step": step,
                    "exp_avg": torch.zeros_like(weights),
                    "exp_avg_sq": torch.zeros_like(weights),
                }
        losses = {name for name in state if name.startswith(_OF_LOSSES)}
        mine, given = (
            {name: (array.shape, array.dtype) for name, array in arrays.items() if not name.startswith(_OF_LOSSES)}
            for arrays in (self.state(), state)
        )
        if mine != given:
            raise ValueError("its numbers are those of other networks")
        with torch.no_grad():
            for name, tensor in self._trained().items():
                tensor.copy_(torch.from_numpy(state[name]))
        for number, stream in enumerate(self._repeated.streams):
            stream.set_state(torch.from_numpy(state[f"stream {number}"]))
        for name in losses:
            kind, loss = name.split(" ", 1)
            if kind == "sum":
                self._sums[loss] = torch.tensor(state[name], device=self.device)
            else:
                self._notes[loss] = int(state[name])

    def _trained(self) -> Weights:
        """Return the weights of both networks and the moments of their Adams."""
        tensors: Weights = {}
        for name, optimiser in (("critic", self.critic_adam), ("generator", self.generator_adam)):
            for number, weights in enumerate(optimiser.param_groups[0]["params"]):
                tensors[f"{name} {number}"] = weights.detach()
                tensors |= {f"{name} {number} {moment}": held for moment, held in optimiser.state[weights].items()}
        return tensors

    def _note(self, name: str, value: Tensor) -> None:
        """Add to the sum of a loss, in place: a recorded graph adds to the same tensor."""
        if name not in self._sums:
            exact = torch.promote_types(value.dtype, torch.float32)  # a sum in bf16 would stop growing
            self._sums[name] = torch.zeros(value.shape, dtype=exact, device=value.device)
        self._sums[name] += value.detach()
        self._notes[name] = self._notes.get(name, 0) + 1

    def _draw_inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        """Draw, for each of k critic steps, (k, m, z) noise, (k, m) rows of the batch and (k, m, 1) shares."""
        shape = self.options.critic_steps, self.batch
        # the largest of uniform numbers are rows drawn without replacement, for all batches in one operation
        keys = torch.rand(shape[0], len(self.rows.features), generator=self.streams["batches"], device=self.device)
        mix = torch.rand(*shape, 1, generator=self.streams["interpolation"], device=self.device)
        return self._noise(*shape), keys.topk(self.batch).indices, mix

    def _noise(self, *rows: int) -> Tensor:
        return torch.randn(*rows, self.generator.noise, generator=self.streams["noise"], device=self.device)

    def _generate(self, noise: Tensor, semantics: Tensor) -> Tensor:
        fakes: Tensor = self.generator(noise, semantics)
        return fakes

    def _set_critic_gradients(self, batch: CriticBatch) -> tuple[Tensor, Tensor]:
        """Set the gradients of the critic's weights for a batch; return the loss and its part, the penalty."""
        return self.critic_loss.set_gradients(batch)

    def _generator_losses(self, labels: Tensor) -> tuple[Tensor, ...]:
        """Return the generator's loss on fresh fakes of (m,) labels, and the values of its terms."""
        given = [(*term.held, *term.draw()) for term in self.terms]
        self.critic.requires_grad_(False)
        semantics = self.rows.semantics[labels]
        inputs = self._noise(len(labels)), labels, semantics, *given
        # rounded once and not at each use, as autocast would
        low = self.device.type == "cpu" and torch.is_autocast_enabled("cpu")
        weights = {name: value.bfloat16() for name, value in self.generator_loss.named_parameters() if low}
        values: tuple[Tensor, ...] = functional_call(self.generator_loss, weights, inputs)
        self.critic.requires_grad_(True)
        return values


class JointTraining(GanTraining):
    """Trainings of the same shape that take their steps together.

    Args:
        members: each set up as for training alone; they differ in weights, streams, and the tensors of their terms.
    """

    def __init__(self, members: Sequence[GanTraining]) -> None:
        first, self.members = members[0], tuple(members)
        super().__init__(first.generator, first.critic, first.rows, first.terms, first.options, first.streams)
        self._critics = _stack_weights([member.critic for member in members])
        self._generators = _stack_weights([member.generator for member in members])
        terms = zip(*(member.terms for member in members), strict=True)
        self._held = [_stack([term.held for term in each]) for each in terms]
        drawing = (stream for member in members for stream in member.drawing)
        self._prepare_steps(self._generators.values(), self._critics.values(), drawing)

    def write_back(self) -> None:
        """Copy the weights to the networks of the fits."""
        with torch.no_grad():
            for at, member in enumerate(self.members):
                for network, weights in ((member.critic, self._critics), (member.generator, self._generators)):
                    for name, parameter in network.named_parameters():
                        parameter.copy_(weights[name][at])

    def _draw_inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        """Draw what each fit draws, with a second axis over fits."""
        noise, picked, mix = _stack([member._draw_inputs() for member in self.members], dim=1)
        return noise, picked, mix

    def _generate(self, noise: Tensor, semantics: Tensor) -> Tensor:
        def generate(weights: Weights, noise: Tensor, semantics: Tensor) -> Tensor:
            fakes: Tensor = functional_call(self.generator, weights, (noise, semantics))
            return fakes

        made: Tensor = vmap(generate, in_dims=(0, 1, 1), out_dims=1)(self._generators, noise, semantics)
        return made

    def _set_critic_gradients(self, batch: CriticBatch) -> tuple[Tensor, Tensor]:
        weights = {name: value.detach() for name, value in self._critics.items()}
        with torch.no_grad():
            losses, penalties, gradients = vmap(self.critic_loss.by_weights)(weights, batch)
        for name, parameter in self._critics.items():
            parameter.grad = gradients[name].to(parameter.dtype)
        return losses, penalties

    def _generator_losses(self, labels: Tensor) -> tuple[Tensor, ...]:
        def losses_of(weights: Weights, *inputs: object) -> tuple[Tensor, ...]:
            values: tuple[Tensor, ...] = functional_call(self.generator_loss, weights, inputs)
            return values

        terms = zip(*(member.terms for member in self.members), strict=True)
        drawn = [_stack([term.draw() for term in each]) for each in terms]
        given = [(*held, *fresh) for held, fresh in zip(self._held, drawn, strict=True)]
        weights = {f"networks.generator.{name}": value for name, value in self._generators.items()}
        weights |= {f"networks.critic.{name}": value.detach() for name, value in self._critics.items()}
        noise = torch.stack([member._noise(labels.shape[1]) for member in self.members])
        values: tuple[Tensor, ...] = vmap(losses_of)(weights, noise, labels, self.rows.semantics[labels], *given)
        return values


@dataclasses.dataclass(frozen=True)
class _Notes:
    """What is kept of a training beside its state.

    Attributes:
        losses: of each round that is done, for each fit; taken: iterations of the next round.
        seconds, phases: that it took.
    """

    losses: list[list[dict[str, float]]]
    taken: int
    seconds: float
    phases: dict[str, float]


class KeptTraining:
    """The position of a training in its rounds; its state is kept now and then, where the context has a keeper.

    Args:
        rounds: the iterations of each; fits: how many are trained together.

    Attributes:
        losses: of each round that is done, for each fit.
        taken: iterations of the round after these.
        total: iterations that there will be.
    """

    def __init__(self, training: GanTraining, ctx: Context, rounds: Sequence[int], fits: int) -> None:
        self.training, self.ctx, self.rounds, self.fits = training, ctx, rounds, fits
        self.losses: list[list[dict[str, float]]] = []
        self.taken, self.total = 0, sum(rounds)
        self._began, self._before = time.perf_counter(), dict(ctx.seconds)

    @property
    def step(self) -> int:
        """Iterations that are done."""
        return sum(self.rounds[: len(self.losses)]) + self.taken

    def resume(self, conditions: Mapping[str, str]) -> None:
        """Go on from the state that was kept last under these conditions, if there is one."""
        if self.ctx.keeper is None or (kept := self.ctx.keeper.begin(conditions)) is None:
            return
        try:
            notes = convert(kept[1], _Notes)
            after = self.rounds[len(notes.losses) : len(notes.losses) + 1] or [0]
            each = {len(losses) for losses in notes.losses}
            if len(notes.losses) > len(self.rounds) or not 0 <= notes.taken <= after[0] or each - {self.fits}:
                raise ValueError("it is of another number of steps")
            self.training.restore(kept[0])
        except ValueError as error:
            self.ctx.keeper.refuse(str(error))
            return
        self.losses, self.taken = notes.losses, notes.taken
        self.ctx.charge(Cost(notes.seconds, notes.phases))
        self._began -= notes.seconds
        self.ctx.progress(self.step, self.total, RESUMING)

    def advance(self, taken: int) -> bool:
        """Note the iterations of this round that were taken; return whether the training is only being timed."""
        self.taken, keeper = taken, self.ctx.keeper
        if keeper is not None and self.step and keeper.due():
            phases = {name: value - self._before.get(name, 0.0) for name, value in self.ctx.seconds.items()}
            notes = _Notes(self.losses, taken, time.perf_counter() - self._began, phases)
            keeper.keep(self.training.state(), dataclasses.asdict(notes), self.step, self.total)
        return self.ctx.progress(self.step, self.total)

    def end_round(self, losses: list[dict[str, float]]) -> None:
        """Note that a round is done, with the losses of each fit."""
        self.losses.append(losses)
        self.taken = 0


def _stack_weights(networks: Sequence[torch.nn.Module]) -> Weights:
    """Return the weights of equal networks with a leading axis, as new leaf tensors."""
    return {
        name: torch.stack([network.get_parameter(name).detach() for network in networks]).requires_grad_()
        for name, _ in networks[0].named_parameters()
    }


def _stack(tensors: Sequence[tuple[Tensor, ...]], dim: int = 0) -> list[Tensor]:
    return [torch.stack(each, dim=dim) for each in zip(*tensors, strict=True)]
