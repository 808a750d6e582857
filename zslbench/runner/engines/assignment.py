"""`Supply`: batches that are to be handed out; `Assignment`: one that a worker has, as its coordinator sees it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator

from zslbench.results.records.record import Status
from zslbench.runner.engines.base import Listener
from zslbench.runner.engines.doing import Checkpoint, Done, Logged, Message, Started, stamped
from zslbench.runner.finished import Finished, unfinished
from zslbench.runner.jobs import Batch, Job
from zslbench.runner.judging import Judging

Results = tuple[Job, list[Finished]]


@dataclasses.dataclass(eq=False)
class Supply:
    """What is still to be handed out: first what is to be done again, then what comes.

    Attributes:
        work: where batches come from; it is asked for one only when that is handed out.
        again: batches whose worker was lost.
    """

    work: Iterator[Batch]
    again: list[Batch] = dataclasses.field(default_factory=list)
    exhausted: bool = False

    @property
    def empty(self) -> bool:
        """Whether it is known that there is nothing."""
        return self.exhausted and not self.again

    def take(self) -> Batch | None:
        """Return the next batch, None when there is none."""
        if self.again:
            return self.again.pop(0)
        batch = None if self.exhausted else next(self.work, None)
        self.exhausted = batch is None
        return batch

    def interrupted(self, engine: str) -> Iterator[Results]:
        """Return what was to be done again as interrupted."""
        for batch in self.again:
            yield from Assignment(batch, engine).interrupted()


class Assignment:
    """Which jobs of a batch are done, and since when the one in front has been under way.

    Attributes:
        batch: what was handed out.
        waiting: jobs that are not done.
        began: when the one in front began (monotonic seconds), None before the worker said so.
        unheard: whether the worker has not said anything of it.
    """

    def __init__(self, batch: Batch, engine: str) -> None:
        self.batch, self.engine = batch, engine
        self.judging = Judging()
        self.waiting = list(batch.jobs)
        self.began: float | None = None
        self.unheard = True

    @property
    def share(self) -> int:
        """How many runs' worth of time the job in front stands for: seeds that train at once come out together."""
        untouched = len(self.waiting) == len(self.batch.jobs)
        return len({job.first.seed for job in self.batch.jobs}) if untouched else 1

    def hear(self, message: Message, listener: Listener) -> Results | None:
        """Pass a message on to the listener; return the results of a job that was not done before."""
        job, self.unheard = self.batch.jobs[message.job], False
        if not any(job is one for one in self.waiting):
            return None  # told again, by a worker that was given what another had done already
        match message:
            case Started():
                self.began = time.monotonic()
                listener.started(job)
            case Logged():
                listener.logged(job, message.step, message.total, message.values)
            case Checkpoint():
                judged = self.judging.checkpoint(job, message.step, message.condensed)
                for run, metrics in zip(job.runs, judged, strict=True):
                    listener.judged(job, run, message.step, metrics)
            case Done():
                self.began = None
                self.waiting = [one for one in self.waiting if one is not job]
                return job, stamped(self.judging.finished(job, message.results), self.engine)
        return None

    def lost(self, status: Status, error: str, limit: str = "") -> tuple[list[Results], list[Batch]]:
        """Return the results of the job that a worker was lost with, and what is to be done again.

        A run that went past a `limit` keeps that in its record: to do it again under the same limit is of no use.

        Jobs in company whose worker is lost before the first is done are done again one by one and none is blamed:
        which of them it was is not known.
        """
        if len(self.waiting) == len(self.batch.jobs) > 1:
            return [], [Batch((job,)) for job in self.waiting]
        front, *rest = self.waiting
        return [self._bad(front, status, error, limit)], [Batch(tuple(rest))] if rest else []

    def interrupted(self) -> list[Results]:
        """Return all that is not done as interrupted."""
        return [self._bad(job, "interrupted") for job in self.waiting]

    def _bad(self, job: Job, status: Status, error: str = "", limit: str = "") -> Results:
        return job, stamped(unfinished(job, status, error), self.engine, {"limit": limit} if limit else None)
