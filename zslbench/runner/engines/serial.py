"""The serial engine: one job after the other, in this process."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

from zslbench.arrays import AnyArray
from zslbench.runner.engines.base import Engine, Listener
from zslbench.runner.engines.doing import stamped
from zslbench.runner.execute import execute
from zslbench.runner.finished import Finished, unfinished
from zslbench.runner.handout import pack
from zslbench.runner.jobs import Batch, Job
from zslbench.runner.judging import Judging


@dataclasses.dataclass(eq=False)
class _Teller:
    """Passes on what happens in the job that is being done."""

    listener: Listener
    judging: Judging
    job: Job

    def logged(self, step: int, total: int, values: Mapping[str, float]) -> None:
        self.listener.logged(self.job, step, total, values)

    def scored(self, job: Job, step: int, condensed: Sequence[Mapping[str, AnyArray]]) -> None:
        judged = self.judging.checkpoint(job, step, condensed)
        for run, metrics in zip(job.runs, judged, strict=True):
            self.listener.judged(job, run, step, metrics)


class SerialEngine(Engine):
    """One job after the other, in this process."""

    def run(self, work: Iterable[Batch], listener: Listener) -> Iterator[tuple[Job, list[Finished]]]:
        """Do the jobs in order (see `Engine.run`).

        Answers are in memory while a job is judged, and at no other time: whoever gets its results lets go of them
        before the next job.
        """
        for batch in work:
            waiting = list(batch.jobs)
            tell = _Teller(listener, Judging(), waiting[0])
            doing = execute(batch, pack(batch), tell.logged, tell.scored)
            while waiting:
                tell.job = waiting[0]
                listener.started(waiting[0])
                try:
                    job, scored = next(doing)
                except KeyboardInterrupt:
                    for left in waiting:
                        yield left, stamped(unfinished(left, "interrupted"), "serial")
                    raise
                waiting.remove(job)
                yield job, stamped(tell.judging.finished(job, scored), "serial")
