"""What a worker does with a batch, and what it tells the coordinator meanwhile."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from zslbench.arrays import AnyArray
from zslbench.runner.execute import execute
from zslbench.runner.finished import Finished, Scored
from zslbench.runner.handout import Parcel
from zslbench.runner.jobs import Batch, Job

LOG_EVERY = 0.1
"""Seconds between two reports of a method's training; those between are not passed on, the last one always is."""


@dataclasses.dataclass(frozen=True)
class Started:
    """The job at this place of the batch began."""

    job: int


@dataclasses.dataclass(frozen=True)
class Logged:
    """See `Listener.logged`."""

    job: int
    step: int
    total: int
    values: Mapping[str, float]


@dataclasses.dataclass(frozen=True, eq=False)
class Checkpoint:
    """A checkpoint of the job at this place was scored: what is judged of each of its runs, in their order."""

    job: int
    step: int
    condensed: Sequence[Mapping[str, AnyArray]]


@dataclasses.dataclass(frozen=True, eq=False)
class Done:
    """The job at this place of the batch ended: what is left to be judged of each of its runs, in their order."""

    job: int
    results: Sequence[Scored]


Message: TypeAlias = Started | Logged | Checkpoint | Done


def do(batch: Batch, parcel: Parcel, send: Callable[[Message], object]) -> None:
    """Do a batch and send what happens, each finished job at once. Nothing in this process knows a label of the test.

    Args:
        parcel: its handout, which is empty afterwards.
    """
    reporter = _Reporter(send)
    send(Started(0))
    threads = worker_threads()
    for number, (_, results) in enumerate(execute(batch, parcel, reporter.logged, reporter.scored)):
        reporter.job = number + 1
        send(Done(number, [_with_threads(one, threads) for one in results]))
        if reporter.job < len(batch.jobs):
            send(Started(reporter.job))


def _with_threads(scored: Scored, threads: int) -> Scored:
    provenance = {**scored.facts["provenance"], "worker_threads": threads}
    return dataclasses.replace(scored, facts={**scored.facts, "provenance": provenance})


def stamped(results: Sequence[Finished], engine: str, more: Mapping[str, Any] | None = None) -> list[Finished]:
    """Return results whose provenance says which engine did them."""
    facts = {"engine": engine, **(more or {})}
    return [
        dataclasses.replace(one, record=dataclasses.replace(one.record, provenance={**one.record.provenance, **facts}))
        for one in results
    ]


def worker_threads() -> int:
    """Return the threads that linear algebra uses in this process."""
    from threadpoolctl import threadpool_info

    return max((int(pool["num_threads"]) for pool in threadpool_info()), default=1)


def limit_threads(count: int) -> None:
    """Let BLAS and, where it is loaded, torch use so many threads in this process."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(count)
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(count)


@dataclasses.dataclass(eq=False)
class _Reporter:
    """Sends what a method reports, with the place of the job that is being done."""

    send: Callable[[Message], object]
    job: int = 0
    _spoke: float = 0.0

    def logged(self, step: int, total: int, values: Mapping[str, float]) -> None:
        now = time.monotonic()
        if step >= total or now - self._spoke >= LOG_EVERY:
            self._spoke = now
            self.send(Logged(self.job, step, total, {name: float(value) for name, value in values.items()}))

    def scored(self, _: Job, step: int, condensed: Sequence[Mapping[str, AnyArray]]) -> None:
        self.send(Checkpoint(self.job, step, condensed))
