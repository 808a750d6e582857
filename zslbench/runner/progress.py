"""Progress on the screen: live bars on a terminal, plain lines otherwise."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from zslbench.runner.executors import Listener
from zslbench.runner.jobs import Job
from zslbench.runner.run_records import RunResult
from zslbench.visible import format_losses, format_metrics, last_line, name_run

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

PLAIN_EVERY = 30.0


def result_line(finished: RunResult) -> str:
    """Return one line on one run: its metrics in percent, or the last line of its error."""
    record = finished.record
    protocols = [record.protocol["name"]]
    name = name_run(record.label, record.dataset["name"], protocols, record.stage, record.fold, record.seed)
    if not record.ok:
        return ": ".join(filter(None, [record.status, name, last_line(record.error)]))
    took, shared = record.timings.get("total", 0.0), record.timings.get("shared", 0.0)
    saved = f", {shared:.1f} s of them shared" if shared >= 0.1 else ""
    return f"{name}: {format_metrics(record.metrics)}  ({took:.1f} s{saved})"


class _Plain(Listener):
    """One line a started job, a finished run, and every half minute of training."""

    def __init__(self, console: Console, count: int) -> None:
        self.console, self.count, self.begun = console, count, 0
        self._began: dict[str, float] = {}
        self._spoke: dict[str, float] = {}

    def started(self, job: Job) -> None:
        again = job.first.id in self._began  # its worker was lost, and another has it now
        self.begun += not again
        self._began[job.first.id] = self._spoke[job.first.id] = time.monotonic()
        self._print(f"[{self.begun}/{self.count}] {job}{' (again)' if again else ''}")

    def logged(self, job: Job, step: int, total: int, values: Mapping[str, float]) -> None:
        now, which = time.monotonic(), job.first.id
        if now - self._spoke[which] >= PLAIN_EVERY:
            self._spoke[which] = now
            left = (now - self._began[which]) / step * (total - step)
            name = "" if len(self._began) == 1 else f"{job}: "
            self._print(f"    {name}epoch {step}/{total}  {format_losses(values)}  about {left:.0f} s left")

    def finished(self, job: Job, results: Sequence[RunResult]) -> None:
        self._began.pop(job.first.id, None)
        for result in results:
            self._print(f"    {result_line(result)}")

    def _print(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


class _Live(_Plain):
    """A bar over jobs and one over the epochs of each running job, with losses and time left."""

    def __init__(self, console: Console, count: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.table import Column

        def giving_way(ratio: int) -> Column:
            return Column(no_wrap=True, overflow="ellipsis", ratio=ratio)

        super().__init__(console, count)
        self.progress = Progress(
            # what gives way on a narrow terminal is the name and the losses, not the epoch and the time left
            TextColumn("{task.description}", markup=False, table_column=giving_way(2)),
            BarColumn(bar_width=8),
            MofNCompleteColumn(table_column=Column(no_wrap=True, min_width=7)),
            TimeRemainingColumn(table_column=Column(no_wrap=True, min_width=7)),
            TextColumn("{task.fields[losses]}", markup=False, table_column=giving_way(3)),
            expand=True,
            console=console,
            transient=True,
        )
        self._all = self.progress.add_task("fits", total=count, losses="")
        self._bars: dict[str, TaskID] = {}

    def started(self, job: Job) -> None:
        self._close(job)
        self._bars[job.first.id] = self.progress.add_task(str(job), total=None, losses="")

    def logged(self, job: Job, step: int, total: int, values: Mapping[str, float]) -> None:
        if (bar := self._bars.get(job.first.id)) is not None:
            self.progress.update(bar, total=total, completed=step, losses=format_losses(values))

    def finished(self, job: Job, results: Sequence[RunResult]) -> None:
        self._close(job)
        for result in results:
            self._print(result_line(result))
        self.progress.advance(self._all)

    def _close(self, job: Job) -> None:
        if (bar := self._bars.pop(job.first.id, None)) is not None:
            self.progress.remove_task(bar)


@contextlib.contextmanager
def progress(console: Console | None, count: int) -> Iterator[Listener]:
    """Show progress in the way that suits a console: none, a terminal, or a file."""
    if console is None or not console.is_terminal:
        yield _Plain(console, count) if console else Listener()
        return
    live = _Live(console, count)
    with live.progress:
        yield live
