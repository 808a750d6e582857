"""The process engine: spawned workers on this machine. A worker that dies costs one run."""

from __future__ import annotations

import contextlib
import dataclasses
import operator
import time
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.connection import wait

from zslbench.errors import EngineError
from zslbench.results.records.record import Status
from zslbench.runner.engines.assignment import Assignment, Results, Supply
from zslbench.runner.engines.base import Engine, Listener
from zslbench.runner.engines.hand import Hand
from zslbench.runner.engines.pursuit import pursued
from zslbench.runner.engines.worker import Place, Ready
from zslbench.runner.handout import pack
from zslbench.runner.interrupts import held
from zslbench.runner.jobs import Batch
from zslbench.runner.limits import Limits, told_size, told_time
from zslbench.streams import open_standard_streams

_LOOK_EVERY = 0.1
_MOST_FAILED_STARTS = 3
_FAREWELL = 2.0
_START = 300.0
"""Seconds that a worker may take to come up: it imports from a file system that may be slow."""
_SWOLLEN = 0.5
"""Of the memory limit: a worker that holds more after a batch makes way for a fresh one."""


class ProcessEngine(Engine):
    """Batches in spawned processes, one a place.

    Args:
        places: what each worker may use (see `places`).
        limits: of each run.
    """

    name = "process"

    def __init__(self, places: Sequence[Place], limits: Limits | None = None) -> None:
        self.places, self.limits = tuple(places), limits or Limits()
        self.workers = len(self.places)

    def run(self, work: Iterable[Batch], listener: Listener) -> Iterator[Results]:
        """Do the jobs (see `Engine.run`); Ctrl-C takes effect between two messages, so that nothing finished is lost.

        Raises:
            EngineError: workers cannot be started.
        """
        open_standard_streams()
        count = min(len(self.places), max(operator.length_hint(work, len(self.places)), 1))
        crew = _Crew([_Seat(place) for place in self.places[:count]], Supply(iter(work)), listener, self.limits)
        with held() as interrupt, contextlib.ExitStack() as leaving:
            leaving.callback(crew.end)
            yield from pursued(crew, interrupt)


@dataclasses.dataclass(eq=False)
class _Seat:
    """A place, the worker that has it, and what that is doing."""

    place: Place
    hand: Hand | None = None
    doing: Assignment | None = None


@dataclasses.dataclass(eq=False)
class _Crew:
    """All workers of one call, and what is still to be done."""

    seats: list[_Seat]
    supply: Supply
    listener: Listener
    limits: Limits
    failed_starts: int = 0
    returned: list[Batch] = dataclasses.field(default_factory=list)

    def busy(self) -> bool:
        """Whether anything is, or may be, left to do; hand out what can be handed out."""
        for seat in self.seats:
            self._occupy(seat)
        return any(seat.doing for seat in self.seats) or not self.supply.empty

    def _occupy(self, seat: _Seat) -> None:
        if seat.doing or self.supply.empty:
            return
        if seat.hand is None:
            seat.hand = Hand(seat.place)
        if not seat.hand.ready or (batch := self.supply.take()) is None:
            return
        seat.doing = Assignment(batch, ProcessEngine.name)
        with contextlib.suppress(OSError):  # it died this very moment; the next look finds that out
            seat.hand.connection.send((batch, pack(batch)))

    def look(self) -> Iterator[Results]:
        """Wait a moment for messages; pass them on, and find the workers that died or went past a limit."""
        wait([seat.hand.connection for seat in self.seats if seat.hand], timeout=_LOOK_EVERY)
        for seat in self.seats:
            if seat.hand is None:
                continue
            alive = seat.hand.alive  # asked before the messages are read: a dead worker sends no more
            yield from self._read(seat, seat.hand)
            if seat.hand is None:
                continue
            if not alive or seat.hand.late(_START):
                yield from self._died(seat, seat.hand)
            elif seat.doing and seat.doing.waiting and (excess := self._excess(seat.hand, seat.doing)):
                yield from self._stopped(seat, seat.hand, *excess)

    def _read(self, seat: _Seat, hand: Hand) -> Iterator[Results]:
        for message in hand.messages():
            if isinstance(message, Ready):
                if seat.doing and self._swollen(hand):
                    hand.end()
                    seat.hand, seat.doing = None, None
                    return
                hand.ready, seat.doing, self.failed_starts = True, None, 0
                hand.forget()
            elif seat.doing and (results := seat.doing.hear(message, self.listener)):
                yield results

    def _swollen(self, hand: Hand) -> bool:
        """Whether what earlier runs left in the worker might be taken for the next one's need."""
        return self.limits.memory is not None and hand.memory() > _SWOLLEN * self.limits.memory

    def _excess(self, hand: Hand, doing: Assignment) -> tuple[Status, str, str] | None:
        limit = self.limits.time
        if limit and doing.began is not None and time.monotonic() - doing.began > limit * doing.share:
            sentence = (
                f"it took longer than its time limit of {told_time(limit)} and was stopped; "
                "raise --time-limit and add --rerun failed to try again."
            )
            return "timeout", sentence, f"time {limit:g} s"
        most = self.limits.memory
        if most and (used := hand.memory()) > most:
            sentence = (
                f"its worker used {told_size(used)}, more than the memory limit of {told_size(most)}, and was stopped; "
                "raise --memory-limit and add --rerun failed to try again."
            )
            return "crashed", sentence, f"memory {most} bytes"
        return None

    def _stopped(self, seat: _Seat, hand: Hand, status: Status, error: str, limit: str) -> Iterator[Results]:
        before = seat.doing.waiting if seat.doing else []
        yield from self._read(seat, hand)
        if seat.doing and len(seat.doing.waiting) == len(before):  # it has not finished this very moment
            hand.end()
            yield from self._lose(seat, status, error, limit)

    def _died(self, seat: _Seat, hand: Hand) -> Iterator[Results]:
        printed, was_ready = hand.printed(), hand.ready
        hand.end()
        why = hand.why()
        if was_ready:
            error = f"its worker process died ({why}); the same command tries again."
            yield from self._lose(seat, "crashed", f"{printed}\n{error}" if printed else error)
            return
        seat.hand = None
        self.failed_starts += 1
        if self.failed_starts >= _MOST_FAILED_STARTS:
            told = f": {printed.splitlines()[-1]}" if printed else ""
            raise EngineError(f"worker processes cannot be started ({why}{told}); mend that, or use --engine serial.")

    def _lose(self, seat: _Seat, status: Status, error: str, limit: str = "") -> Iterator[Results]:
        lost, seat.hand, seat.doing = seat.doing, None, None
        if lost and lost.unheard and not any(lost.batch is one for one in self.returned):
            self.returned.append(lost.batch)  # the worker died before it had it, so it is to blame for nothing
            self.supply.again.append(lost.batch)
        elif lost and lost.waiting:
            results, again = lost.lost(status, error, limit)
            self.supply.again += again
            yield from results

    def give_up(self) -> Iterator[Results]:
        """Stop all workers; return what they finished, then what they were at as interrupted."""
        hands = [(seat, seat.hand) for seat in self.seats if seat.hand]
        for seat, hand in hands:
            yield from self._read(seat, hand)
        for _, hand in hands:
            hand.kill()
        for seat, hand in hands:
            yield from self._read(seat, hand)
            if seat.doing:
                yield from seat.doing.interrupted()
                seat.doing = None
        yield from self.supply.interrupted(ProcessEngine.name)

    def end(self) -> None:
        """Leave no process behind: idle workers end by themselves, others are killed."""
        hands = [seat.hand for seat in self.seats if seat.hand]
        for hand in hands:
            hand.dismiss()
        ends = time.monotonic() + _FAREWELL
        for seat, hand in zip([seat for seat in self.seats if seat.hand], hands, strict=True):
            hand.end(0.0 if seat.doing or not hand.ready else ends - time.monotonic())
            seat.hand = None
