"""Trainings that take steps in rounds, and their states, kept now and then so that a fit that was killed can go on."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, vmap

from zslbench.arrays import AnyArray
from zslbench.documents import convert
from zslbench.methods.base import Context, Cost
from zslbench.step_reports import RESUMING, TRAINING

Phase = Callable[[str], AbstractContextManager[object]]
Weights = dict[str, Tensor]
_OF_LOSSES = ("sum ", "count ")
"""How the names of arrays in a state begin that are of the losses of a round."""


class Training(abc.ABC):
    """Takes steps in rounds, for one fit or several together, and sums their losses on the device.

    Tensors stay on the device and nothing waits for them.

    Args:
        fits: the networks of each; of several, copies of the weights with a leading axis over fits are trained.
        rows: (n, …), of which a step takes `batch`, or all if there are fewer.

    Attributes:
        drawing: the streams that the steps draw from.
        beside: the names of values that are summed as losses are, and are none.
        zeroed: the Adams whose gradients are set to 0 before each round.
        share: of all rounds, done before this one.
        recordable: whether iterations can be recorded as a CUDA graph.
    """

    adams: dict[str, torch.optim.Adam]
    drawing: Sequence[torch.Generator]
    beside: tuple[str, ...] = ()
    zeroed: Sequence[torch.optim.Adam] = ()
    share = 0.0
    recordable = False  # a random order of rows has not been tried in one

    def __init__(self, fits: Sequence[torch.nn.Module], rows: Tensor, batch: int) -> None:
        self.fits, self.weights, self.buffers = tuple(fits), stack_weights(fits), _stack_buffers(fits)
        self.batch, self.device = min(batch, len(rows)), rows.device
        self.epoch_steps = -(-len(rows) // self.batch)
        self._sums: dict[str, Tensor] = {}
        self._notes: dict[str, int] = {}

    @abc.abstractmethod
    def join(self, trainings: Sequence[Self]) -> Training:
        """Return trainings of which this is the first as one, which takes their steps together."""

    @abc.abstractmethod
    def _take_iteration(self, taken: int, count: int, phase: Phase, graph: bool) -> None:
        """Take the iteration after `taken` of the `count` of a round; with `graph` as a recorded one."""

    def steps(
        self,
        count: int,
        phase: Phase,
        record: bool = True,
        advance: Callable[[int], bool] = lambda _taken: False,
        taken: int = 0,
    ) -> list[dict[str, float]]:
        """Take `count` iterations; return, for each fit, the mean of every loss by name.

        Of these, `taken` were taken before the state was kept from which the training goes on. On CUDA they are
        recorded as a graph where they can be, unless `record` is false, which allows to time their phases separately.
        After each (on CUDA: after it was given to the device) `advance` is called with the number of iterations; if it
        returns True, the loop ends.
        """
        if not taken:
            for total in self._sums.values():
                total.zero_()
            for optimiser in self.zeroed:
                optimiser.zero_grad(set_to_none=False)
        graph = record and self.recordable and self.device.type == "cuda"
        with phase("iterations") if graph else contextlib.nullcontext():
            while taken < count:
                self._take_iteration(taken, count, phase, graph)
                taken += 1
                if advance(taken):
                    break
        means = {
            name: (total.cpu().double() / (taken * self._notes[name])).reshape(-1).tolist()
            for name, total in self._sums.items()
        }
        return [dict(zip(means, values, strict=True)) for values in zip(*means.values(), strict=True)]

    def write_back(self) -> None:
        """Copy the weights to the networks of the fits, if copies of them are trained."""
        trained = self.weights | self.buffers
        with torch.no_grad():
            for at, network in enumerate(self.fits if len(self.fits) > 1 else ()):
                for name, tensor in itertools.chain(network.named_parameters(), network.named_buffers()):
                    tensor.copy_(trained[name][at])

    def state(self) -> dict[str, AnyArray]:
        """Return all that changes from step to step, by name: weights, their Adams, random streams, sums of losses."""
        arrays = {name: tensor.cpu().numpy() for name, tensor in self._trained().items()}
        arrays |= {f"stream {number}": stream.get_state().numpy() for number, stream in enumerate(self.drawing)}
        arrays |= {f"sum {name}": total.cpu().numpy() for name, total in self._sums.items()}
        return arrays | {f"count {name}": np.asarray(count) for name, count in self._notes.items()}

    def restore(self, state: Mapping[str, AnyArray]) -> None:
        """Go on from what `state` returned after some step.

        Raises:
            ValueError: it is that of another training; this one has not changed.
        """
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
        for number, stream in enumerate(self.drawing):
            stream.set_state(torch.from_numpy(state[f"stream {number}"]))
        for name in losses:
            kind, loss = name.split(" ", 1)
            if kind == "sum":
                self._sums[loss] = torch.tensor(state[name], device=self.device)
            else:
                self._notes[loss] = int(state[name])

    def _trained(self) -> Weights:
        """Return what changes besides streams and losses: weights, buffers, moments of Adams, what a subclass adds.

        Moments that an Adam does not have yet are made as it makes them at its first step.
        """
        tensors: Weights = dict(self.buffers)
        for name, optimiser in self.adams.items():
            kinds = ("exp_avg", "exp_avg_sq", *(["max_exp_avg_sq"] if optimiser.defaults["amsgrad"] else []))
            for number, weights in enumerate(optimiser.param_groups[0]["params"]):
                if not optimiser.state[weights]:  # only a fused Adam counts on the device, and always in float32
                    fused = {"device": weights.device, "dtype": torch.float32} if optimiser.defaults["fused"] else {}
                    moments = {kind: torch.zeros_like(weights).detach() for kind in kinds}
                    optimiser.state[weights] = {"step": torch.zeros((), **fused), **moments}
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


class LossTraining(Training):
    """Steps on the weighted sum of losses, for one fit or several together.

    Args:
        members: of each fit, a network that returns losses by name, each a sum over rows, and its random streams.
        rows, batch: as of `Training`.
        draw: returns what the network takes for (m,) random numbers of rows, which are drawn from the first stream of
            a fit; may draw from the others, which it is given.
        weights: of the losses by name, after a share of the rounds and so many iterations of the present one.
        make_adam: makes the Adam of weights.
        apart: the name of a loss that alone moves the part of the network of this name; its Adam takes a step only
            where the loss has a weight.
    """

    def __init__(
        self,
        members: Sequence[tuple[torch.nn.Module, Sequence[torch.Generator]]],
        rows: Tensor,
        batch: int,
        draw: Callable[..., tuple[Tensor, ...]],
        weights: Callable[[float, int], Mapping[str, float]],
        make_adam: Callable[[Iterable[Tensor]], torch.optim.Adam],
        apart: str = "",
    ) -> None:
        super().__init__([network for network, _ in members], rows, batch)
        self.members, self.given = members, (rows, batch, draw, weights, make_adam, apart)
        self.drawing = [stream for _, streams in members for stream in streams]
        held: dict[str, list[Tensor]] = {}
        for name, tensor in self.weights.items():
            held.setdefault(apart if name.split(".")[0] == apart else "losses", []).append(tensor)
        self.adams = {name: make_adam(tensors) for name, tensors in held.items()}

    def join(self, trainings: Sequence[Self]) -> LossTraining:  # noqa: D102
        return LossTraining([member for each in trainings for member in each.members], *self.given)

    def _take_iteration(self, taken: int, count: int, phase: Phase, graph: bool) -> None:
        def losses_of(weights: Weights, *drawn: Tensor) -> dict[str, Tensor]:
            losses: dict[str, Tensor] = functional_call(self.fits[0], weights, drawn)
            return losses

        rows, _, draw, weights_after, *_ = self.given
        factors, trained = weights_after(self.share, taken), self.weights | self.buffers
        self._notes = {}
        with phase(TRAINING):
            drawn = [draw(_pick_rows(len(rows), self.batch, first), *others) for _, (first, *others) in self.members]
            several = len(drawn) > 1
            losses = vmap(losses_of)(trained, *stack(drawn)) if several else losses_of(trained, *drawn[0])
            loss = torch.stack([factors[name] * value for name, value in losses.items()]).sum()
            for adam in self.adams.values():
                adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            for name, adam in self.adams.items():
                if factors.get(name, 1.0):
                    adam.step()
            for name, value in losses.items():
                self._note(name, value / self.batch)


def _pick_rows(rows: int, count: int, stream: torch.Generator) -> Tensor:
    return torch.randperm(rows, generator=stream, device=stream.device)[:count]


def stack_weights(networks: Sequence[torch.nn.Module]) -> Weights:
    """Return the weights of a network by name; of several, copies with a leading axis, as new leaf tensors."""
    first, *others = (Weights(network.named_parameters()) for network in networks)
    if not others:
        return first
    return {name: torch.stack([each[name].detach() for each in (first, *others)]).requires_grad_() for name in first}


def _stack_buffers(networks: Sequence[torch.nn.Module]) -> Weights:
    """Return the buffers of a network by name, which steps change in place; of several, copies with a leading axis."""
    each = [dict(network.named_buffers()) for network in networks]
    return each[0] if len(each) == 1 else {name: torch.stack([held[name] for held in each]) for name in each[0]}


def stack(tensors: Sequence[tuple[Tensor, ...]], dim: int = 0) -> list[Tensor]:
    """Return the tensors of several fits with a new axis over fits."""
    return [torch.stack(each, dim=dim) for each in zip(*tensors, strict=True)]


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
        rounds: the iterations of each.

    Attributes:
        losses: of each round that is done, for each fit.
        taken: iterations of the round after these.
        total: iterations that there will be.
    """

    def __init__(self, training: Training, ctx: Context, rounds: Sequence[int]) -> None:
        self.training, self.ctx, self.rounds = training, ctx, rounds
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
            other = {len(losses) for losses in notes.losses} - {len(self.training.fits)}
            if len(notes.losses) > len(self.rounds) or not 0 <= notes.taken <= after[0] or other:
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
