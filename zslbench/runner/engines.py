"""Engines: where jobs are done. Serial here; parallel ones keep the same interface."""

from __future__ import annotations

import abc
import functools
from collections.abc import Iterator, Mapping, Sequence

from zslbench.runner.execute import Finished, execute, unfinished
from zslbench.runner.plan import Job


class Listener(abc.ABC):
    """Hears of jobs as they start, log and end."""

    @abc.abstractmethod
    def started(self, job: Job) -> None:
        """A job began."""

    @abc.abstractmethod
    def logged(self, job: Job, step: int, total: int, values: Mapping[str, float]) -> None:
        """A job finished `step` of `total` epochs, with losses."""

    @abc.abstractmethod
    def finished(self, job: Job, results: Sequence[Finished]) -> None:
        """A job ended; its records are kept."""


class Engine(abc.ABC):
    """A way to do jobs. Results come as they are ready, in any order."""

    @abc.abstractmethod
    def run(self, jobs: Sequence[Job], listener: Listener) -> Iterator[tuple[Job, list[Finished]]]:
        """Do the jobs; yield each with its results.

        On KeyboardInterrupt, yield the jobs in flight as interrupted, then raise it again.
        """


class SerialEngine(Engine):
    """One job after the other, in this process."""

    def run(self, jobs: Sequence[Job], listener: Listener) -> Iterator[tuple[Job, list[Finished]]]:
        """Do the jobs in order (see `Engine.run`)."""
        for job in jobs:
            listener.started(job)
            try:
                results = execute(job, functools.partial(listener.logged, job))
            except KeyboardInterrupt:
                yield job, unfinished(job, "interrupted")
                raise
            yield job, results
