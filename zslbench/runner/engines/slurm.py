"""The Slurm engine: batches as jobs of arrays, submitted by submitit."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from zslbench.errors import EngineError
from zslbench.results.records.record import Status
from zslbench.runner.cells import Run
from zslbench.runner.classes import method_class
from zslbench.runner.engines.assignment import Assignment, Results, Supply
from zslbench.runner.engines.base import Engine, Listener
from zslbench.runner.engines.elsewhere import Home, do_elsewhere, extra
from zslbench.runner.engines.pursuit import pursued
from zslbench.runner.engines.slurm_config import SlurmConfig
from zslbench.runner.engines.spool import Leftovers, Sender, Spool, end_without_coordinator
from zslbench.runner.finished import Finished
from zslbench.runner.handout import Parcel, pack
from zslbench.runner.interrupts import held
from zslbench.runner.jobs import Batch
from zslbench.runner.states import find_states
from zslbench.sources import source_of

_LOOK_EVERY = {"slurm": 2.0, "local": 0.1}
_LATE = {"slurm": 10.0, "local": 0.2}
"""Seconds that a file system may take to show what a job wrote before it ended."""


class SlurmEngine(Engine):
    """Batches as Slurm jobs. As places become free, the next batches are submitted as one more array.

    Jobs write what they finish into the folder of the configuration at once; only the coordinator writes records. It
    runs until the study is done (in `tmux` on a login node, say); jobs whose coordinator is gone end within minutes.
    What they finished is read when the study is started again.

    Args:
        config: what each job gets.
    """

    name = "slurm"

    def __init__(self, config: SlurmConfig | None = None) -> None:
        extra("submitit", self.name)
        self.config = config or SlurmConfig()
        self.workers = self.config.array_parallelism

    def run(self, work: Iterable[Batch], listener: Listener) -> Iterator[Results]:
        """Do the jobs (see `Engine.run`).

        Raises:
            EngineError: Slurm is not there, or refuses the jobs.
        """
        with held() as interrupt, contextlib.ExitStack() as leaving:
            executor, spool = self._executor(), Spool(Path(self.config.folder))
            array = _Array(self.config, executor, spool, Leftovers(spool), Supply(iter(work)), listener)
            leaving.callback(array.end)
            yield from pursued(array, interrupt, _LOOK_EVERY[self.config.cluster])

    def _executor(self) -> Any:
        import submitit

        logging.getLogger("submitit").setLevel(logging.CRITICAL)
        try:
            executor = submitit.AutoExecutor(folder=self.config.folder, cluster=self.config.cluster)
            executor.update_parameters(**self.config.parameters())
        except (RuntimeError, OSError) as error:
            raise EngineError(
                f"Slurm cannot be used from here ({error}); run on a node that has sbatch, or use another --engine."
            ) from None
        return executor


@dataclasses.dataclass(eq=False)
class _Array:
    """What is submitted, by the number of its batch."""

    config: SlurmConfig
    executor: Any
    spool: Spool
    leftovers: Leftovers
    supply: Supply
    listener: Listener
    under_way: dict[int, tuple[Assignment, Any]] = dataclasses.field(default_factory=dict)
    ended: dict[int, float] = dataclasses.field(default_factory=dict)
    count: int = 0
    read: list[Results] = dataclasses.field(default_factory=list)

    def busy(self) -> bool:
        """Whether anything is left to do; submit as much as there are places for, as one array."""
        batches: list[Batch] = []
        while len(self.under_way) + len(batches) < self.config.array_parallelism:
            if (batch := self.supply.take()) is None:
                break
            if left := self._left_of(batch):
                batches.append(left)
        if batches:
            self._submit(batches)
        return bool(self.under_way or self.read)

    def _left_of(self, batch: Batch) -> Batch | None:
        """Return what is to be done of a batch once results are read that jobs of a killed coordinator finished."""
        left = []
        for number, job in enumerate(batch.jobs):
            assignment = Assignment(batch, SlurmEngine.name)
            for message in self.leftovers.take(job):
                again = dataclasses.replace(message, job=number)
                if (found := assignment.hear(again, self.listener)) and all(map(_still_holds, job.runs, found[1])):
                    self.read.append(found)
                    break
            else:
                left.append(job)
        return Batch(tuple(left)) if left else None

    def _submit(self, batches: list[Batch]) -> None:
        numbers = range(self.count, self.count + len(batches))
        self.count += len(batches)
        home = Home.here()
        try:
            with self.executor.batch():
                jobs = [
                    self.executor.submit(
                        _as_job, batch, pack(batch), self.spool.open_box(number, batch), home, self.config.cpus
                    )
                    for number, batch in zip(numbers, batches, strict=True)
                ]
        except Exception as error:  # whatever sbatch says
            self.supply.again += batches
            raise EngineError(f"Slurm refuses the jobs ({error}); mend the file of --engine-config.") from None
        for number, batch, job in zip(numbers, batches, jobs, strict=True):
            self.under_way[number] = Assignment(batch, SlurmEngine.name), job

    def look(self) -> Iterator[Results]:
        """Pass on what jobs wrote, and find those that ended."""
        self.spool.beat()
        while self.read:
            yield self.read.pop(0)
        for number, (assignment, job) in list(self.under_way.items()):
            over = job.done()
            yield from self._read(number, assignment)
            if not assignment.waiting:
                del self.under_way[number]
            elif (
                over and time.monotonic() - self.ended.setdefault(number, time.monotonic()) > _LATE[self.config.cluster]
            ):
                del self.under_way[number]
                results, again = assignment.lost(*_what_happened(job))
                self.supply.again += again
                yield from results

    def _read(self, number: int, assignment: Assignment) -> Iterator[Results]:
        for message in self.spool.take(number):
            if results := assignment.hear(message, self.listener):
                yield results

    def give_up(self) -> Iterator[Results]:
        """Cancel all jobs; return what they finished, then what they were at as interrupted."""
        for _, job in self.under_way.values():
            job.cancel()
        for number, (assignment, _) in self.under_way.items():
            yield from self._read(number, assignment)
            yield from assignment.interrupted()
        yield from self.read
        yield from self.supply.interrupted(SlurmEngine.name)

    def end(self) -> None:
        """Leave no job behind."""
        for _, job in self.under_way.values():
            job.cancel()
        self.spool.remove()


def _still_holds(run: Run, result: Finished) -> bool:
    """Return whether a result of an earlier study counts as one of this: its source is the same as now."""
    sources = {run.method: source_of(method_class(run.method))}
    ((_, state),) = find_states([run], {run.id: result.record}, sources)
    return state in ("done", "failed")


def _as_job(batch: Batch, parcel: Parcel, box: Path, home: Home, threads: int) -> None:
    """Do a batch in a job."""
    end_without_coordinator(box.parent)
    do_elsewhere(batch, parcel, Sender(box), home, threads)


def _what_happened(job: Any) -> tuple[Status, str]:
    state = str(job.state)
    error = f"its Slurm job {job.job_id} ended as {state}, see {job.paths.stderr}; "
    if state.startswith("TIMEOUT"):
        return "timeout", error + "give it more time in the file of --engine-config, and add --rerun failed."
    return "crashed", error + "the same command tries again."
