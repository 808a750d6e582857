"""The serial engine: one job after the other, in this process."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

from zslbench.runner.cells import Run
from zslbench.runner.engines.base import Engine, Listener
from zslbench.runner.engines.doing import stamped
from zslbench.runner.execute import execute
from zslbench.runner.finished import Finished, unfinished
from zslbench.runner.jobs import Batch, Job


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

    def run(self, work: Iterable[Batch], listener: Listener) -> Iterator[tuple[Job, list[Finished]]]:
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
                        yield left, stamped(unfinished(left, "interrupted"), "serial")
                    raise
                waiting.remove(job)
                yield job, stamped(results, "serial")
