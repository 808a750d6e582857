"""A job in progress, and the state of its training: what the context of a method leads to, by a number alone."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from zslbench.arrays import AnyArray
from zslbench.errors import MethodFault, StoreError
from zslbench.identity import digest
from zslbench.results.records.training_states import StateHeader, read_state, state_path, write_state
from zslbench.runner.class_lookup import method_class
from zslbench.runner.handout import OpenedHandout
from zslbench.runner.jobs import Batch, Job, StateKeeping
from zslbench.runner.run_records import Checkpoint, Message, library_versions
from zslbench.sources import source_of

Send = Callable[[Message], object]

clock = time.monotonic
_JUDGED = re.compile(r"judged (\d{1,15}) ([0-9a-f]{16}) (.+)", re.DOTALL)
"""Names of arrays in a state: what was judged of a run at a step."""


@dataclasses.dataclass(eq=False)
class JobInProgress:
    """A job in progress, what it is asked at its checkpoints, and where it is told what happens.

    Attributes:
        batch: whose jobs are fitted together.
        judged: the checkpoints that were scored, at each step one of every job that the training serves.
        judging: seconds that this and the checks of it took.
        kept_judged: the checkpoints of the fit that this one goes on from, by step.
    """

    job: Job
    material: OpenedHandout
    send: Send
    log_every: float
    batch: Batch
    logged: float = 0.0
    faults: list[MethodFault] = dataclasses.field(default_factory=list)
    errors: list[BaseException] | None = None
    judged: list[list[Checkpoint]] = dataclasses.field(default_factory=list)
    judging: tuple[float, float] = (0.0, 0.0)
    kept_judged: dict[int, list[Checkpoint]] = dataclasses.field(default_factory=dict)
    _facts: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)

    @property
    def facts(self) -> dict[str, Any]:
        """What the records of all that its training serves say of the state of the training."""
        return self._facts.setdefault(self.served[0].training_key, {})

    @property
    def served(self) -> list[Job]:
        """The jobs that its training serves, which are judged at its checkpoints together."""
        return self.batch.trained_with(self.job)

    def leave_judging_out_of(self, seconds: dict[str, float]) -> None:
        """Take the seconds of judging, which is not fitting, out of those of a fit."""
        judge, checks = self.judging
        seconds |= {"judge": judge, "checks": checks, "fit": seconds["fit"] - judge - checks}

    def alone(self, job: Job) -> JobInProgress:
        """Return another job of the batch in progress, fitted by itself."""
        return JobInProgress(job, self.material, self.send, self.log_every, Batch((job,)), errors=self.errors)


JOBS_IN_PROGRESS: dict[int, JobInProgress] = {}
"""Of the jobs in progress. A method holds its `Context`, so nothing here may lead to the answers or to the data."""


class TrainingKeeper:
    """Keeps the state of the training of a job in progress (see `zslbench.methods.base.StateKeeper`)."""

    def __init__(self, number: int) -> None:
        self.number, self._conditions, self._last = number, dict[str, str](), clock()

    def begin(self, conditions: Mapping[str, str]) -> tuple[Mapping[str, AnyArray], Mapping[str, Any]] | None:
        """Return the arrays and notes that were kept last; None: the training begins anew."""
        progress = JOBS_IN_PROGRESS[self.number]
        how, source = progress.job.how, source_of(method_class(progress.job.first.method)).digest
        judged = f"every:{how.checkpoint_every}" if how.checkpoint_every else "last"
        versions = {f"version of {name}": version for name, version in library_versions().items()}
        self._conditions = {"source of its method": source, **versions, **conditions, "value of checkpoints": judged}
        self._last = clock()
        if not self._states.resume:
            self._remove()
            return None
        try:
            header, arrays = read_state(self._path)
        except FileNotFoundError:
            return None
        except StoreError as error:
            self.refuse(str(error))
            return None
        if header.key != self._key:
            self.refuse("it is of another training")
            return None
        for name, now in self._conditions.items():
            if (before := header.conditions.get(name)) != now:
                # it stays until a state of this training takes its place: the command may have been typed by mistake
                self._begin_anew(f"the {name} was {before}, and is {now}")
                return None
        by_run: dict[int, dict[str, dict[str, AnyArray]]] = {}
        for name in [*arrays]:
            if match := _JUDGED.fullmatch(name):
                step, run_id, kind = match.groups()
                by_run.setdefault(int(step), {}).setdefault(run_id, {})[kind] = arrays.pop(name)
        if any(run.id not in of_runs for of_runs in by_run.values() for job in progress.served for run in job.runs):
            self.refuse("its checkpoints were judged for other runs")
            return None
        progress.kept_judged = {
            step: [Checkpoint(job.key, step, [of_runs[run.id] for run in job.runs]) for job in progress.served]
            for step, of_runs in by_run.items()
        }
        progress.judging = header.judging
        progress.facts["resumed_from"] = header.step
        return arrays, header.progress

    def refuse(self, why: str) -> None:
        """Remove the state that was kept last, which cannot be used; the record and `run` say why."""
        self._begin_anew(why)
        self._remove()

    def _begin_anew(self, why: str) -> None:
        """Leave the state that was kept last unused; the record and `run` say why."""
        progress = JOBS_IN_PROGRESS[self.number]
        progress.facts.pop("resumed_from", None)
        progress.kept_judged, progress.judging = {}, (0.0, 0.0)
        why = why.rstrip(".")
        progress.facts["state_remark"] = f"{progress.job}: its training began anew; a state was kept, but {why}."

    def due(self) -> bool:
        """Return whether it is time to keep a state: there is a folder of records, and the last state is old enough."""
        return clock() - self._last >= self._states.every and self._states.root.is_dir()

    def keep(self, arrays: Mapping[str, AnyArray], notes: Mapping[str, Any], step: int, total: int) -> None:
        """Keep a state in place of the one before; a disk that is full stops no training."""
        progress = JOBS_IN_PROGRESS[self.number]
        judged = {
            f"judged {checkpoint.step} {run.id} {name}": array
            for checkpoints in progress.judged
            for job, checkpoint in zip(progress.served, checkpoints, strict=True)
            for run, condensed in zip(job.runs, checkpoint.condensed, strict=True)
            for name, array in condensed.items()
        }
        header = StateHeader(
            name=str(progress.job),
            key=self._key,
            runs=tuple(run.id for job in progress.served for run in job.runs),
            conditions=self._conditions,
            step=step,
            total=total,
            progress=notes,
            judging=progress.judging,
        )
        try:
            write_state(self._path, header, {**arrays, **judged})
        except StoreError as error:
            progress.facts["state_remark"] = f"{progress.job}: no state of its training could be kept: {error}"
        self._last = clock()

    @property
    def _states(self) -> StateKeeping:
        states = JOBS_IN_PROGRESS[self.number].job.how.states
        assert states is not None
        return states

    @property
    def _key(self) -> str:
        return digest(list(dict.fromkeys(job.training_key for job in JOBS_IN_PROGRESS[self.number].served)))

    @property
    def _path(self) -> Path:
        return state_path(self._states.root, self._key)

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            self._path.unlink()
