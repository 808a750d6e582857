"""The position of a training in its rounds, kept now and then so that a fit that was killed can go on."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence

from zslbench.documents import convert
from zslbench.methods.base import Context, Cost
from zslbench.methods.generative.training import GanTraining
from zslbench.step_reports import RESUMING


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
