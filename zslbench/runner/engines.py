"""Engines: where jobs are done. Serial here; parallel ones keep the same interface."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from zslbench.runner.cells import Run
from zslbench.runner.execute import Finished, execute, unfinished
from zslbench.runner.jobs import Batch, Job


class Listener(abc.ABC):
    """Hears of jobs as they start, log and end."""

    @abc.abstractmethod
    def started(self, job: Job) -> None:
        """A job began."""

    @abc.abstractmethod
    def logged(self, job: Job, step: int, total: int, values: Mapping[str, float]) -> None:
        """A job finished `step` of `total` epochs, with losses."""

    @abc.abstractmethod
    def judged(self, job: Job, run: Run, step: int, metrics: Mapping[str, float]) -> None:
        """A checkpoint of one of the job's runs was judged. Raise `Stopped` to end the fit: its runs are skipped."""

    @abc.abstractmethod
    def finished(self, job: Job, results: Sequence[Finished]) -> None:
        """A job ended; its records are kept."""


@dataclasses.dataclass(frozen=True)
class Several(Listener):
    """Passes on what it hears to each of several listeners."""

    listeners: Sequence[Listener]

    def started(self, job: Job) -> None:
        """Tell each."""
        for one in self.listeners:
            one.started(job)

    def logged(self, job: Job, step: int, total: int, values: Mapping[str, float]) -> None:
        """Tell each."""
        for one in self.listeners:
            one.logged(job, step, total, values)

    def judged(self, job: Job, run: Run, step: int, metrics: Mapping[str, float]) -> None:
        """Tell each."""
        for one in self.listeners:
            one.judged(job, run, step, metrics)

    def finished(self, job: Job, results: Sequence[Finished]) -> None:
        """Tell each."""
        for one in self.listeners:
            one.finished(job, results)


class Engine(abc.ABC):
    """A way to do jobs. Results come as they are ready, in any order."""

    @abc.abstractmethod
    def run(self, work: Sequence[Batch], listener: Listener) -> Iterator[tuple[Job, list[Finished]]]:
        """Do the jobs of every batch; yield each with its results.

        On KeyboardInterrupt, yield the jobs in flight as interrupted, then raise it again.
        """


@dataclasses.dataclass(eq=False)
class _Teller:
    """Passes on what a method logs, with the job that is being done."""

    listener: Listener
    job: Job

    def __call__(self, step: int, total: int, values: Mapping[str, float]) -> None:
        self.listener.logged(self.job, step, total, values)

    def judged(self, run: Run, step: int, metrics: Mapping[str, float]) -> None:
        self.listener.judged(self.job, run, step, metrics)


class SerialEngine(Engine):
    """One job after the other, in this process."""

    def run(self, work: Sequence[Batch], listener: Listener) -> Iterator[tuple[Job, list[Finished]]]:
        """Do the jobs in order (see `Engine.run`)."""
        for batch in work:
            waiting = list(batch.jobs)
            tell = _Teller(listener, waiting[0])
            doing = execute(batch, tell, tell.judged)
            while waiting:
                tell.job = waiting[0]
                listener.started(waiting[0])
                try:
                    job, results = next(doing)
                except KeyboardInterrupt:
                    for left in waiting:
                        yield left, unfinished(left, "interrupted")
                    raise
                waiting.remove(job)
                yield job, results
