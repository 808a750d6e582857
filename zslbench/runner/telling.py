"""Telling: a running study writes what it does beside its records, so that other processes can watch it."""

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
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from zslbench.identity import digest
from zslbench.results.records import live
from zslbench.results.records.leases import Holder
from zslbench.runner.cells import Run
from zslbench.runner.engines import Listener
from zslbench.runner.finished import Finished
from zslbench.runner.heartbeat import Heartbeat
from zslbench.runner.jobs import Batch, Job


@dataclasses.dataclass
class _Doing:
    """A fit in progress, times on this process's clock."""

    job: Job
    began: float
    company: int
    step: int = 0
    total: int = 0
    values: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    logged: float = 0.0


class Telling(Listener):
    """Notes what it hears of jobs, for a heartbeat that writes it; several jobs may be in progress."""

    def __init__(self, root: Path, plan: str = "", growing: bool = False) -> None:
        self.root, self.plan, self.growing, self.holder = root, plan, growing, Holder.here()
        host = re.sub(r"[^A-Za-z0-9.-]", "-", self.holder.host)[:60]
        name = f"{host}-{self.holder.pid}-{self.holder.token}.json"
        self.heartbeat = Heartbeat(live.live_folder(root) / name, lambda: self.study().to_json())
        self._began, self._beat = time.monotonic(), 0
        self._ended: Counter[str] = Counter()
        self._company: dict[str, set[str]] = {}
        self._groups: dict[tuple[str, str, str], live.FitGroup] = {}
        self._doing: dict[str, _Doing] = {}
        self._lock = threading.Lock()

    @property
    def remarks(self) -> tuple[str, ...]:
        """A sentence for the user where the file could not be written."""
        beat = self.heartbeat
        if not beat.problem:
            return ()
        return (f"zslbench watch could not show this study: {beat.path.parent} is not writable ({beat.problem}).",)

    def add(self, work: Sequence[Batch]) -> None:
        """Take note of fits that will be done."""
        with self._heard():
            for batch in work:
                together = {job.first.id for job in batch.jobs}
                self._company |= dict.fromkeys(together, together)
                for job in batch.jobs:
                    self._count(job, total=1)

    def started(self, job: Job) -> None:
        """Note that a fit began."""
        with self._heard():
            company = len(self._company.get(job.first.id, ())) or 1
            self._doing[job.first.id] = _Doing(job, time.monotonic(), company)

    def logged(self, job: Job, step: int, total: int, values: Mapping[str, float]) -> None:
        """Note how far a fit is."""
        with self._heard():
            if (doing := self._doing.get(job.first.id)) is not None:
                doing.step, doing.total, doing.values, doing.logged = step, total, values, time.monotonic()

    def judged(self, job: Job, run: Run, step: int, metrics: Mapping[str, float]) -> None:
        """Ignore: the record will hold the curve."""

    def finished(self, job: Job, results: Sequence[Finished]) -> None:
        """Note how a fit ended; one without results was done elsewhere, one that was cut short is to be done again."""
        statuses = {result.record.status for result in results}
        with self._heard():
            doing = self._doing.pop(job.first.id, None)
            self._company.pop(job.first.id, set()).discard(job.first.id)
            if not statuses:
                self._ended["elsewhere"] += 1
                self._count(job, elsewhere=1)
            elif "interrupted" not in statuses:
                bad = statuses - {"ok", "skipped"}
                self._ended["failed" if bad else "skipped" if "skipped" in statuses else "done"] += 1
                self._count(job, ended=1, seconds=time.monotonic() - doing.began if doing else 0.0)

    def __enter__(self) -> Self:
        self.heartbeat.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        self.heartbeat.__exit__(*raised)

    def study(self) -> live.Study:
        """Return what is to be told now."""
        now = time.monotonic()
        with self._lock:
            self._beat += 1
            return live.Study(
                holder=self.holder,
                command=_command(),
                plan=self.plan,
                written=_today(),
                seconds=round(now - self._began, 3),
                beat=self._beat,
                growing=self.growing,
                done=self._ended["done"],
                failed=self._ended["failed"],
                skipped=self._ended["skipped"],
                elsewhere=self._ended["elsewhere"],
                running=tuple(_running(one, now) for one in self._doing.values()),
                groups=tuple(self._groups.values()),
            )

    @contextlib.contextmanager
    def _heard(self) -> Iterator[None]:
        with self._lock:
            yield
        self.heartbeat.news()

    def _count(self, job: Job, **more: float) -> None:
        key = method, dataset, stage = job.first.method, job.first.dataset.name, job.first.stage
        old = self._groups.get(key) or live.FitGroup(method=method, dataset=dataset, stage=stage, total=0)
        counts: dict[str, Any] = {name: round(getattr(old, name) + number, 3) for name, number in more.items()}
        self._groups[key] = dataclasses.replace(old, **counts)


_CURRENT: contextvars.ContextVar[Telling | None] = contextvars.ContextVar("telling", default=None)


@contextlib.contextmanager
def telling(
    root: Path, work: Sequence[Batch] = (), ids: Iterable[str] = (), growing: bool = False
) -> Iterator[Telling]:
    """Tell of work below a root while it is done; a call within another one on the same root adds to what that tells.

    Args:
        work: what is to be done; ids: of all runs that were asked for, done or not.
        growing: more work will be added, as a search does.
    """
    outer = _CURRENT.get()
    if outer is not None and outer.root == root and outer.holder.pid == os.getpid():
        outer.add(work)
        yield outer
        return
    told = Telling(root, digest(sorted(ids)) if not growing else "", growing)
    told.add(work)
    before = _CURRENT.set(told)
    try:
        with told:
            yield told
    finally:
        _CURRENT.reset(before)


def _running(doing: _Doing, now: float) -> live.RunningFit:
    run = doing.job.first
    return live.RunningFit(
        run=run.id,
        method=run.method,
        label=run.label,
        dataset=run.dataset.name,
        protocols=tuple(one.protocol for one in doing.job.runs),
        stage=run.stage,
        fold=run.fold,
        seed=run.seed,
        step=max(0, int(doing.step)),
        total=max(0, int(doing.total)),
        values=dict(_losses(doing.values)),
        seconds=round(max(0.0, now - doing.began), 3),
        step_seconds=round(max(0.0, doing.logged - doing.began), 3),
        company=doing.company,
    )


def _losses(values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield what a method logged, as far as these are numbers: a method of the user's own may log anything."""
    for name, value in values.items():
        with contextlib.suppress(TypeError, ValueError, RuntimeError):
            yield str(name), float(value)


def _today() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _command() -> str:
    """Return what was typed; of a script of the user's own, its name."""
    program, *arguments = sys.argv or [""]
    path = Path(program)
    if path.stem == "zslbench" or (path.name == "__main__.py" and path.parent.name == "zslbench"):
        return shlex.join(["zslbench", *arguments])
    return path.name or "python"
