"""The live file of a running study, from which `watch` in any process sees what it does.

A thread writes it. It can fail or delay nothing: there is no fsync, since what a crash loses of it is worth nothing.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import datetime
import os
import re
import shlex
import sys
import threading
import time
import types
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from zslbench.identity import digest
from zslbench.loss_curve import read_losses
from zslbench.methods.base import Method
from zslbench.results.records import live_studies
from zslbench.results.records.leases import Holder, is_abandoned, read_holder
from zslbench.runner.class_lookup import method_class
from zslbench.runner.estimate import key_of
from zslbench.runner.executors import Listener
from zslbench.runner.jobs import Batch, Job, Run
from zslbench.runner.run_records import RunResult
from zslbench.step_reports import RESUMING, SCORING, TRAINING

SOON = 0.2
"""Seconds before the first writing: what ends sooner costs nothing, and nobody could watch it."""
FORGOTTEN = 600.0
"""Seconds without a sign of life after which a file is removed whose process cannot be asked for."""
_PATIENCE = 2.0


@dataclasses.dataclass
class _Fit:
    """A fit in progress, when it, its training and the step that was reported last began, by this process's clock.

    `stepwise` says whether its training reports each step; the epochs that it logs then count for nothing.
    """

    job: Job
    company: int
    began: float
    phase: str = "starting"
    step: int = 0
    total: int = 0
    values: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    training_began: float = 0.0
    reported: float = 0.0
    stepwise: bool = False
    resumed_from: int = 0
    phases: Sequence[str] = ()
    phase_number: int = 0
    numbered: str = ""

    def note_phase(self, phase: str) -> None:
        """Note what it does: the numbered phase that it is in, and behind its name the part of it that has begun.

        Numbered are the method's own phases and then the scoring under each protocol.
        """
        if phase.startswith(SCORING):
            self.phase_number = min(max(self.phase_number, len(self.phases)) + 1, self.phase_count)
            self.numbered = phase
        elif phase in self.phases or (phase == "fit" and self.phases):
            self.phase_number = self.phases.index(phase) + 1 if phase in self.phases else 1
            self.numbered = phase = self.phases[self.phase_number - 1]
        self.phase = phase if self.numbered in ("", phase) else f"{self.numbered}, {phase}"

    @property
    def phase_count(self) -> int:
        return len(self.phases) + len(self.job.runs)

    def now(self, now: float, forecast: float | None) -> live_studies.RunningFit:
        run = self.job.first
        return live_studies.RunningFit(
            run=run.id,
            method=run.method,
            label=run.label,
            dataset=run.dataset.shown_name,
            protocols=tuple(served.protocol for served in self.job.runs),
            stage=run.stage,
            fold=run.fold,
            seed=run.seed,
            step=self.step,
            total=self.total,
            values=read_losses(self.values),
            seconds=round(max(0.0, now - self.began), 3),
            step_seconds=round(max(0.0, self.reported - self.began), 3),
            training_began=round(max(0.0, self.training_began - self.began), 3),
            phase=self.phase,
            company=self.company,
            phase_number=self.phase_number,
            phase_count=self.phase_count,
            resumed_from=self.resumed_from,
            forecast=None if forecast is None else round(forecast * self.company, 3),
        )


class LiveFile(Listener):
    """Notes what it hears of jobs, several of which may be in progress; a thread writes it while the context lasts.

    The file is written whole or not at all: after a fifth of a second, then as soon as there is news but at most once a
    second, and every five seconds when there is none. It is removed at the end. `problem` says why it could not be
    written the last time, if it could not.
    """

    def __init__(self, root: Path, plan: str = "", growing: bool = False) -> None:
        self.root, self.plan, self.growing, self.holder = root, plan, growing, Holder.here()
        host = re.sub(r"[^A-Za-z0-9.-]", "-", self.holder.host)[:60]
        name = f"{host}-{self.holder.pid}-{self.holder.token}.json"
        self.path, self.problem = live_studies.live_folder(root) / name, ""
        self._temporary = self.path.with_suffix(".tmp")
        self._news, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._keep_writing, name="zslbench-live-file", daemon=True)
        self._began, self._beat = time.monotonic(), 0
        self._ended: Counter[str] = Counter()
        self._company: dict[str, set[str]] = {}
        self._groups: dict[live_studies.FitKey, live_studies.FitGroup] = {}
        self._fits: dict[str, _Fit] = {}
        self._lock = threading.Lock()

    @property
    def remarks(self) -> tuple[str, ...]:
        """A sentence for the user where the file could not be written."""
        sentence = f"zslbench watch could not show this study: {self.path.parent} is not writable ({self.problem})."
        return (sentence,) if self.problem else ()

    def add(
        self, work: Sequence[Batch], forecast: Mapping[live_studies.FitKey, float] = types.MappingProxyType({})
    ) -> None:
        """Take note of fits that will be done, and of the seconds that one is expected to take."""
        with self._changing():
            for batch in work:
                together = {job.first.id for job in batch.jobs}
                self._company |= dict.fromkeys(together, together)
                for job in batch.jobs:
                    self._count(job, total=1)
            for key in forecast.keys() & self._groups.keys():
                self._groups[key] = dataclasses.replace(self._groups[key], forecast=round(forecast[key], 3))

    def started(self, job: Job) -> None:
        """Note that a fit began."""
        with self._changing():
            company = len(self._company.get(job.first.id, ())) or 1
            self._fits[job.first.id] = _Fit(job, company, time.monotonic(), phases=_phases_of(job.first))

    def advanced(self, job: Job, phase: str, step: int, total: int) -> None:
        """Note what a fit is doing, and how far its training is."""
        with self._changing():
            if (fit := self._fits.get(job.first.id)) is None:
                return
            if phase == RESUMING:
                fit.resumed_from = step
                return
            fit.note_phase(phase)
            if phase != TRAINING:
                fit.phase += f" {step}/{total}" if total else ""
                return
            now = time.monotonic()
            fit.training_began = fit.training_began if fit.stepwise else now
            fit.step, fit.total, fit.reported, fit.stepwise = step, total, now, True

    def logged(self, job: Job, step: int, total: int, values: Mapping[str, float]) -> None:
        """Note the losses of a fit and, where that is not known from its steps, how far it is."""
        with self._changing():
            if (fit := self._fits.get(job.first.id)) is not None:
                fit.values = values
                if not fit.stepwise:
                    fit.note_phase(TRAINING)
                    fit.reported = time.monotonic()
                    fit.step, fit.total = max(0, int(step)), max(0, int(total))

    def finished(self, job: Job, results: Sequence[RunResult]) -> None:
        """Note how a fit ended; one without results was done elsewhere, one that was cut short is to be done again."""
        statuses = {result.record.status for result in results}
        with self._changing():
            fit = self._fits.pop(job.first.id, None)
            self._company.pop(job.first.id, set()).discard(job.first.id)
            if not statuses:
                self._ended["elsewhere"] += 1
                self._count(job, elsewhere=1)
            elif "interrupted" not in statuses:
                bad = statuses - {"ok", "skipped"}
                self._ended["failed" if bad else "skipped" if "skipped" in statuses else "done"] += 1
                self._count(job, ended=1, seconds=time.monotonic() - fit.began if fit else 0.0)

    def study(self) -> live_studies.StudyProgress:
        """Return the state of the study now."""
        now = time.monotonic()
        with self._lock:
            forecasts = {key: group.seconds_per_fit(()) for key, group in self._groups.items()}
            return live_studies.StudyProgress(
                holder=self.holder,
                command=typed_command() or Path((sys.argv or [""])[0]).name or "python",
                plan=self.plan,
                written=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                seconds=round(now - self._began, 3),
                beat=self._beat,
                growing=self.growing,
                running=tuple(fit.now(now, forecasts.get(key_of(fit.job))) for fit in self._fits.values()),
                groups=tuple(self._groups.values()),
                **self._ended,
            )

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        with self._lock:
            yield
        self._news.set()

    def _count(self, job: Job, **numbers: float) -> None:
        key = method, dataset, stage = key_of(job)
        group = self._groups.get(key) or live_studies.FitGroup(method=method, dataset=dataset, stage=stage, total=0)
        counts: dict[str, Any] = {name: round(getattr(group, name) + number, 3) for name, number in numbers.items()}
        self._groups[key] = dataclasses.replace(group, **counts)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._over.set()
        self._news.set()
        self._thread.join(_PATIENCE)
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
            self._temporary.unlink(missing_ok=True)
            self.path.parent.rmdir()  # only the last to leave can

    def _keep_writing(self) -> None:
        if not self._over.wait(SOON):
            self._write()
        self._remove_lost()
        while not self._over.wait(live_studies.EVERY):
            self._news.wait(live_studies.BEAT - live_studies.EVERY)
            if self._over.is_set():
                return
            self._news.clear()
            self._write()

    def _write(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._beat += 1
            self._temporary.write_text(self.study().to_json(), encoding="utf-8")
            self._temporary.replace(self.path)
            self.problem = ""
        except OSError as error:
            self.problem = error.strerror or str(error)
        except Exception as error:  # whatever it is, the work goes on
            self.problem = f"{type(error).__name__}: {error}"

    def _remove_lost(self) -> None:
        """Remove files of studies that were killed.

        One whose process cannot be asked for goes when it is ten minutes older than this study's: both times are of
        the same file system. Where this one could not be written, it stays.
        """
        with contextlib.suppress(OSError):
            now = self.path.stat().st_mtime if self.path.exists() else 0.0
            for path in live_studies.list_live_files(self.root):
                if is_abandoned(path, read_holder(path), now, FORGOTTEN):
                    path.unlink(missing_ok=True)


def _phases_of(run: Run) -> tuple[str, ...]:
    cls = method_class(run.method)
    if cls.phases is Method.phases:  # a method of the user's own is not made here, where it could fail
        return ("fit",)
    return cls(**run.params).phases()


_CURRENT: contextvars.ContextVar[LiveFile | None] = contextvars.ContextVar("live_file", default=None)


@contextlib.contextmanager
def keep_live_file(
    root: Path,
    work: Sequence[Batch] = (),
    ids: Iterable[str] = (),
    growing: bool = False,
    forecast: Mapping[live_studies.FitKey, float] = types.MappingProxyType({}),
) -> Iterator[LiveFile]:
    """Keep a live file below a root while work is done; a call within another one on the same root adds to its file.

    Args:
        work: what is to be done; ids: of all runs that were asked for, done or not.
        growing: more work will be added, as a search does.
        forecast: the seconds that a fit is expected to take, by method, data set and stage.
    """
    outer = _CURRENT.get()
    if outer is not None and outer.root == root and outer.holder.pid == os.getpid():
        outer.add(work, forecast)
        yield outer
        return
    inner = LiveFile(root, digest(sorted(ids)) if not growing else "", growing)
    inner.add(work, forecast)
    before = _CURRENT.set(inner)
    try:
        with inner:
            yield inner
    finally:
        _CURRENT.reset(before)


def typed_command() -> str | None:
    """Return the zslbench command that was typed; None in a script or a notebook."""
    program, *arguments = sys.argv or [""]
    path = Path(program)
    if path.stem == "zslbench" or (path.name == "__main__.py" and path.parent.name == "zslbench"):
        return shlex.join(["zslbench", *arguments])
    return None
