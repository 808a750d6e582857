"""What an engine is, and who hears of the jobs that it does."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

from zslbench.runner.cells import Run
from zslbench.runner.finished import Finished
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
    """A way to do jobs. Results come as they are ready, in any order.

    Attributes:
        workers: how many jobs are done at once, as far as that is known.
    """

    workers: int = 1

    @abc.abstractmethod
    def run(self, work: Iterable[Batch], listener: Listener) -> Iterator[tuple[Job, list[Finished]]]:
        """Do the jobs of every batch; yield each with its results.

        The next batch is taken from `work` only when there is a free worker for it, so that whoever makes the batches
        can decide, up to that moment, what is still to be done. The listener is called in this process, wherever the
        jobs are done; `finished` alone is left to the caller, who keeps the records first.

        On KeyboardInterrupt, yield the jobs in flight as interrupted, then raise it again.
        """
