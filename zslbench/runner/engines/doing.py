"""What a worker does with a batch, and what it tells the coordinator meanwhile."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from zslbench.runner.cells import Run
from zslbench.runner.execute import execute
from zslbench.runner.finished import Finished
from zslbench.runner.jobs import Batch

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


@dataclasses.dataclass(frozen=True)
class Judged:
    """See `Listener.judged`."""

    job: int
    run: int
    step: int
    metrics: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Done:
    """The job at this place of the batch ended."""

    job: int
    results: list[Finished]


Message: TypeAlias = Started | Logged | Judged | Done


def do(batch: Batch, send: Callable[[Message], object], engine: str) -> None:
    """Do a batch and send what happens, each finished job at once."""
    reporter = _Reporter(batch, send)
    send(Started(0))
    threads = {"worker_threads": worker_threads()}
    for number, (_, results) in enumerate(execute(batch, reporter.logged, reporter.judged)):
        reporter.job = number + 1
        send(Done(number, stamped(results, engine, threads)))
        if reporter.job < len(batch.jobs):
            send(Started(reporter.job))


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

    batch: Batch
    send: Callable[[Message], object]
    job: int = 0
    _spoke: float = 0.0

    def logged(self, step: int, total: int, values: Mapping[str, float]) -> None:
        now = time.monotonic()
        if step >= total or now - self._spoke >= LOG_EVERY:
            self._spoke = now
            self.send(Logged(self.job, step, total, {name: float(value) for name, value in values.items()}))

    def judged(self, run: Run, step: int, metrics: Mapping[str, float]) -> None:
        ids = [one.id for one in self.batch.jobs[self.job].runs]
        self.send(Judged(self.job, ids.index(run.id), step, dict(metrics)))
