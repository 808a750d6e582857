"""The iterations of a Wasserstein GAN, of one fit or several: their order, phases, losses and recorded graphs.

On a CUDA device an iteration is recorded once as a graph and replayed: one launch, where a step of small matrices costs
hundreds. Torch is imported at the top.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import NamedTuple

import torch
from torch import Tensor

from zslbench.errors import ZslbenchError

Phase = Callable[[str], AbstractContextManager[object]]
EAGER_CALLS = 3
"""Calls before the recording: optimisers, caches and sums make their tensors in them."""


class RecordingFailed(ZslbenchError):
    """A CUDA graph could not be recorded."""


class CriticBatch(NamedTuple):
    """What one critic step works on; where several fits are trained together, each tensor has a leading axis over them.

    Attributes:
        real, fake: (m, d) rows; labels: (m,) positions of their classes; semantics: (m, a) of these.
        mix: (m, 1) shares μ of the real row in x̂ = μx + (1 − μ)x̃.
    """

    real: Tensor
    fake: Tensor
    labels: Tensor
    semantics: Tensor
    mix: Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class SeenRows:
    """Training data on the device.

    Attributes:
        features: (n, d) preprocessed rows; labels: (n,) positions of their classes in `semantics`.
        semantics: (c, a) seen classes in canonical order.
    """

    features: Tensor
    labels: Tensor
    semantics: Tensor


class RecordedIteration:
    """Calls a step again and again; on CUDA, from the fourth call on, as one recorded graph.

    The step is handed over at each call, and must be the same: kept here, it would tie whatever it belongs to, and its
    memory on the device, into a cycle. It must take its inputs from tensors that stay where they are, ask nothing of
    the device (no size that depends on values), and draw from the given streams only: these are registered, so a
    replay draws the numbers that a call would.
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
            RecordingFailed: the step does something that a graph cannot hold. The device is in no state to go on.
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
        """Record the step without doing it."""
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


class Iterations(abc.ABC):
    """Alternates critic steps and generator steps, and sums their losses where they are computed.

    Args:
        rows: the seen rows; batch: how many of them a step takes.
        names: of the values that come with the generator's loss.
        drawing: the random generators that an iteration draws from.
    """

    critic_adam: torch.optim.Optimizer
    generator_adam: torch.optim.Optimizer

    def __init__(self, rows: SeenRows, batch: int, names: tuple[str, ...], drawing: Iterable[torch.Generator]) -> None:
        self.rows, self.batch, self.names = rows, min(batch, len(rows.features)), names
        self.device = rows.features.device
        self._sums: dict[str, Tensor] = {}
        self._notes: dict[str, int] = {}
        self._repeated = RecordedIteration(drawing, self.device)

    @property
    def epoch_steps(self) -> int:
        """Generator steps of an epoch: ⌈n / batch⌉."""
        return -(-len(self.rows.features) // self.batch)

    @abc.abstractmethod
    def draw_inputs(self) -> tuple[Tensor, ...]:
        """Draw, for each of k critic steps, (k, m, z) noise, (k, m) rows of the batch and (k, m, 1) shares."""

    @abc.abstractmethod
    def generate(self, noise: Tensor, semantics: Tensor) -> Tensor:
        """Return fakes of the noise and the semantics."""

    @abc.abstractmethod
    def set_critic_gradient(self, batch: CriticBatch) -> tuple[Tensor, Tensor]:
        """Set the gradients of the critic's weights for a batch; return the loss and, of it, the penalty."""

    @abc.abstractmethod
    def generator_losses(self, labels: Tensor) -> tuple[Tensor, ...]:
        """Return the generator's loss on fresh fakes of some labels, and the values of `names`."""

    @abc.abstractmethod
    def write_back(self) -> None:
        """Copy the weights to the networks of the fits, where others are trained."""

    def draw(self) -> list[CriticBatch]:
        """Return the batches of the critic steps before one generator step; their fakes are made in one pass.

        The generator does not move between these steps, so one pass over all batches is what a pass for each would be.
        """
        noise, picked, mix = self.draw_inputs()
        labels = self.rows.labels[picked]
        semantics = self.rows.semantics[labels]
        with torch.no_grad():
            fake = self.generate(noise, semantics)
        parts = zip(self.rows.features[picked], fake, labels, semantics, mix, strict=True)
        return [CriticBatch(*part) for part in parts]

    def critic_step(self, batch: CriticBatch) -> None:
        """Update the critic on one batch."""
        loss, penalty = self.set_critic_gradient(batch)
        self.critic_adam.step()
        self._note("critic", loss)
        self._note("penalty", penalty)

    def generator_step(self, labels: Tensor) -> None:
        """Update the generator on fresh fakes of (m,) labels."""
        loss, *values = self.generator_losses(labels)
        self.generator_adam.zero_grad()
        loss.sum().backward()  # type: ignore[no-untyped-call]
        self.generator_adam.step()
        for name, value in zip(("generator", *self.names), (loss, *values), strict=True):
            self._note(name, value)

    def steps(self, count: int, phase: Phase, record: bool = True) -> list[dict[str, float]]:
        """Take `count` iterations; return, for each fit, the mean of every loss by name.

        On CUDA the iterations are recorded as a graph, unless `record` is false: to time their phases apart.
        """
        for total in self._sums.values():
            total.zero_()
        if record and self.device.type == "cuda":
            with phase("iterations"):
                for _ in range(count):
                    self._repeated(self.iterate)
        else:
            for _ in range(count):
                self.iterate(phase)
        means = {
            name: (total.cpu().double() / (count * self._notes[name])).reshape(-1).tolist()
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

    def _note(self, name: str, value: Tensor) -> None:
        """Add to the sum of a loss, in place: a recorded graph adds to the same tensor."""
        if name not in self._sums:
            exact = torch.promote_types(value.dtype, torch.float32)  # a sum in bf16 would stand still
            self._sums[name] = torch.zeros(value.shape, dtype=exact, device=value.device)
        self._sums[name] += value.detach()
        self._notes[name] = self._notes.get(name, 0) + 1
