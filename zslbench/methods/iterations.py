"""The iterations of a Wasserstein GAN, of one fit or of several at once: their order, their phases, their losses."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from zslbench.methods.recording import Repeated

Phase = Callable[[str], AbstractContextManager[object]]


class Drawn(Protocol):
    """What a critic step works on; the generator step that follows takes its classes over."""

    @property
    def labels(self) -> Tensor:
        """Positions of the rows' classes."""


B = TypeVar("B", bound=Drawn)


class Iterations(abc.ABC, Generic[B]):
    """Alternates critic steps and generator steps, and sums their losses where they are computed.

    Args:
        drawing: the random generators that an iteration draws from.
        device: where the tensors are.
    """

    def __init__(self, drawing: Iterable[torch.Generator], device: torch.device) -> None:
        self.device = device
        self._sums: dict[str, Tensor] = {}
        self._notes: dict[str, int] = {}
        self._repeated = Repeated(drawing, device)

    @abc.abstractmethod
    def draw(self) -> list[B]:
        """Return the batches of the critic steps before one generator step."""

    @abc.abstractmethod
    def critic_step(self, batch: B) -> None:
        """Update the critic on one batch."""

    @abc.abstractmethod
    def generator_step(self, labels: Tensor) -> None:
        """Update the generator on fresh fakes of some labels."""

    def means(self, count: int, phase: Phase, record: bool) -> dict[str, Tensor]:
        """Take `count` iterations and return the mean of every loss by name.

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
        return {name: total.cpu().double() / (count * self._notes[name]) for name, total in self._sums.items()}

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
