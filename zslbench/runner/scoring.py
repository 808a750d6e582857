"""Scoring: what is asked of a fit, at its end and at its checkpoints, kept out of the method's reach."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Self

from zslbench.arrays import AnyArray, Array
from zslbench.methods.base import Method
from zslbench.runner.handout import Material
from zslbench.runner.jobs import Job
from zslbench.task import Query

OnLog = Callable[[int, int, Mapping[str, float]], None]
OnScored = Callable[[Job, int, Sequence[Mapping[str, AnyArray]]], None]


class Stopped(Exception):
    """Raised by whoever hears of a judged checkpoint: the fit need not go on. Its runs are recorded as skipped."""


def asked(method: Method, query: Query) -> Array:
    """Return a method's scores of a query, and take from it what it kept of that: no query may learn from another."""
    with unchanged(method):
        return method.scores(query.features, query.classes)


@contextlib.contextmanager
def unchanged(method: Method) -> Iterator[None]:
    """Take from a method whatever it keeps of what is asked within."""
    before = dict(vars(method))
    try:
        yield
    finally:
        vars(method).clear()
        vars(method).update(before)


@dataclasses.dataclass(frozen=True, eq=False)
class Listeners:
    """A job in progress, what it is asked at its checkpoints, and who hears of it."""

    job: Job
    material: Material
    on_log: OnLog | None = None
    on_scored: OnScored | None = None


RINGING: dict[int, Listeners] = {}
"""Of the jobs in progress. A method holds its `Context`, so nothing here may lead to the answers or to the data."""


class Bell:
    """Passes on a method's log and asks it at checkpoints while it is open; it holds a number and counts, no more."""

    def __init__(self, listeners: Listeners, every: int) -> None:
        self.number, self.every, self.seconds = id(self), every, 0.0
        RINGING[self.number] = listeners

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        del RINGING[self.number]

    def log(self, step: int, total: int, values: Mapping[str, float]) -> None:
        """Pass on what a method reports of its training."""
        if (on_log := RINGING[self.number].on_log) is not None:
            on_log(step, total, values)

    def __call__(self, method: Method, step: int) -> None:
        """Ask a method what each run of its job asks, if this step is one of those to be judged."""
        if step % self.every:
            return
        start = time.perf_counter()
        hearing = RINGING[self.number]
        condensed = {
            run.id: hearing.material.condensed(run, asked(method, hearing.material.query(run)))
            for run in sorted(hearing.job.runs, key=lambda run: not hearing.material.mixed(run))
        }
        if hearing.on_scored:
            hearing.on_scored(hearing.job, step, [condensed[run.id] for run in hearing.job.runs])
        self.seconds += time.perf_counter() - start
