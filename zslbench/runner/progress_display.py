"""Progress on the screen: live bars on a terminal and in a notebook, otherwise an occasional line."""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group

from zslbench.results.records.live_studies import StudyProgress
from zslbench.runner.executors import Listener
from zslbench.runner.jobs import Job
from zslbench.runner.run_records import RunResult
from zslbench.visible import (
    describe_failure,
    format_count,
    format_metrics,
    format_progress,
    format_time,
    name_run,
    shorten,
)

if TYPE_CHECKING:
    from rich.live import Live

NOTEBOOK_EVERY, NOTEBOOK_LINES = 0.5, 5
"""Seconds between two changes of the output in a notebook, and how many ended fits it lists while others run."""
PLAIN_FIRST, PLAIN_EVERY = 5.0, 30.0
"""Seconds of silence before a line reports progress if the output is not a terminal: at first, and later."""


_REASON = 60
"""Characters of a reason on the line of a fit; the study ends with whole reasons."""


def result_line(results: Sequence[RunResult], dataset: str = "") -> str:
    """Return one line on a fit: its metrics in percent under all protocols, or why it failed.

    The seconds are those of the fit and of all its scoring. `dataset`: what the data set is called; empty: its name.
    """
    records = [result.record for result in results]
    first, ok = records[0], [record for record in records if record.ok]
    bad: dict[tuple[str, str], list[str]] = defaultdict(list)
    for record in records:
        if not record.ok:
            bad[record.status, shorten(describe_failure(record.error), _REASON)].append(record.protocol["name"])
    names = [name for record in ok for name in record.metrics]
    distinct = len(set(names)) == len(names)  # else each metric needs its protocol
    values = (("" if distinct else f"{record.protocol['name']} ") + format_metrics(record.metrics) for record in ok)
    parts = ["  ".join(values)] if ok else []
    for (status, error), protocols in bad.items():
        where = f" ({'+'.join(protocols)})" if ok or len(bad) > 1 else ""
        parts.append(": ".join(filter(None, [f"{status}{where}", error])))
    took = ""
    if ok:
        scoring = [sum(record.timings.get(phase, 0.0) for phase in ("scores", "evaluation")) for record in ok]
        seconds, shared = ok[0].timings.get("total", 0.0) + sum(scoring[1:]), ok[0].timings.get("shared", 0.0)
        part = f", {format_time(shared, 1)} of them shared" if shared >= 0.1 else ""
        took = f"  ({format_time(seconds, 1)}{part})"
    name = name_run(first.label, dataset or first.dataset["name"], [], first.stage, first.fold, first.seed)
    return f"{name}: {'; '.join(parts)}{took}"


class _Plain(Listener):
    """Prints one line per ended fit, and an occasional line on progress while none ends.

    Args:
        count: number of fits; None: the number that the study reports.
        study: returns the state of the study.
        note: returns a text to print instead of a line per fit, for instance the best result so far.
        trials: returns the numbers of finished and of all trials, if trials are counted instead of fits.
        runs: number of runs that all fits serve; None: it is not printed.
    """

    def __init__(
        self,
        console: Console,
        count: int | None,
        study: Callable[[], StudyProgress],
        note: Callable[[], str] | None = None,
        trials: Callable[[], tuple[int, int | None]] | None = None,
        runs: int | None = None,
    ) -> None:
        self.console, self.count, self.study, self.note, self.ended = console, count, study, note, 0
        self.trials, self.served = trials, f" for {format_count(runs, 'run')}" if runs and runs != count else ""
        self._quiet_since = time.monotonic() - PLAIN_EVERY + PLAIN_FIRST

    def advanced(self, job: Job, phase: str, step: int, total: int) -> None:
        self._print_progress()

    def logged(self, job: Job, step: int, total: int, values: Mapping[str, float]) -> None:
        self._print_progress()

    def finished(self, job: Job, results: Sequence[RunResult]) -> None:
        if any(result.record.status == "interrupted" for result in results):
            self._stop_counting()
            if not self.note:
                self._print(result_line(results, job.first.dataset.shown_name))
            return
        self.ended += 1
        if self.note:
            self._print_progress()
        elif results:
            self._quiet_since = time.monotonic()
            line = result_line(results, job.first.dataset.shown_name)
            self._print(f"[fit {self.ended}/{self.count}] {line}")

    def _stop_counting(self) -> None:
        """Keep the display as it was before a fit was interrupted."""

    def _count(self, study: StudyProgress) -> tuple[str, float | None]:
        """Return how much is done in words, and its share of the total; None if the total is not known."""
        if self.trials:
            (done, total), what, begun = self.trials(), "trials", 0.0
        else:
            done, total = (study.ended, study.total) if self.count is None else (self.ended, self.count)
            what, begun = "fits", study.begun
        return f"{done}{f'/{total}' if total else ''} {what}", min(1.0, (done + begun) / total) if total else None

    def _print_progress(self) -> None:
        """Print how far the study is, unless a line was printed recently."""
        if (now := time.monotonic()) - self._quiet_since < PLAIN_EVERY:
            return
        self._quiet_since, study = now, self.study()
        fits = [f"{fit}: {fit.say_phase()} after {format_time(fit.seconds)}" for fit in study.running[:1]]
        fits += [f"{len(study.running) - 1} more run"] if len(study.running) > 1 else []
        notes = [self.note()] if self.note else fits
        done = f"    {self._count(study)[0]}{self.served} done, {_describe_times(study)}"
        self._print("; ".join([done, *filter(None, notes)]))

    def _print(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


def _describe_times(study: StudyProgress) -> str:
    """Return how long a study has taken and, if known, how long it still needs."""
    left = None if study.growing else study.seconds_left()
    return format_progress(study.seconds, left)


class _Live(_Plain):
    """Prints the same lines and, below them, a bar with the time left and the running fits as `watch` shows them."""

    _view: Live | None = None
    _drawn: StudyProgress | None = None

    def open_view(self) -> contextlib.AbstractContextManager[object]:
        """Return a context that shows the bars and removes them at its end."""
        from rich.live import Live

        self._view = Live(get_renderable=self._draw, console=self.console, transient=True, refresh_per_second=4)
        return self._view

    def _draw(self) -> Group:
        """Return a line on all fits, and one or two lines per running fit."""
        from rich.table import Table
        from rich.text import Text

        from zslbench.results.records.watch import WIDE, draw_bar, running_rows

        study, width = self.study(), self.console.width
        self._drawn = study
        counted, share = self._count(study)
        bar = "" if share is None else draw_bar(share)
        notes = bar, f"{counted}{self.served}", _describe_times(study), self.note() if self.note else ""
        flat = width >= WIDE
        fits = Table.grid(padding=(0, 2))
        for row in running_rows([(fit, 0.0) for fit in study.running], width // 2 if flat else width, flat):
            fits.add_row(*row)
        return Group(Text("  ".join(filter(None, notes)), no_wrap=True, overflow="ellipsis"), fits)

    def _print_progress(self) -> None:
        pass

    def _stop_counting(self) -> None:
        if (drawn := self._drawn) is not None:
            self.study = lambda: drawn
        if self._view is not None:
            self._view.transient = False


class _NotebookConsole(Console):
    """Prints plain lines below a cell of a notebook, which wrap there."""

    def __init__(self) -> None:
        super().__init__(highlight=False, force_jupyter=False, force_terminal=False, color_system=None, width=100)


class _Notebook(_Live):
    """Shows the same in one output of a notebook cell, which is updated in place and ends as one line.

    `rich.live` would need ipywidgets for this.
    """

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.lines: deque[str] = deque(maxlen=NOTEBOOK_LINES)

    @contextlib.contextmanager
    def open_view(self) -> Iterator[None]:
        """Show progress until the block ends; then leave the number of fits and the time they took."""
        display: Any = importlib.import_module("IPython.display").display  # untyped
        output = display(self._write(), raw=True, display_id=True)
        ended = threading.Event()

        def refresh() -> None:
            while not ended.wait(NOTEBOOK_EVERY):
                output.update(self._write(), raw=True)

        thread = threading.Thread(target=refresh, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            output.update({"text/plain": self._summarize()}, raw=True)

    def _write(self) -> dict[str, str]:
        """Return the drawing of `_draw` as plain text, with the last ended fits above it."""
        from rich.text import Text

        lines = [Text(line, no_wrap=True, overflow="ellipsis") for line in self.lines]
        with self.console.capture() as drawn:
            self.console.print(Group(*lines, self._draw()))
        return {"text/plain": drawn.get().rstrip()}

    def _summarize(self) -> str:
        study = self.study()
        failed = f"{study.failed} failed" if study.failed and not self.note else ""
        notes = failed, self.note() if self.note else ""
        took = f"{self._count(study)[0]} done in {format_time(study.seconds)}"
        return "; ".join([took, *filter(None, notes)])

    def _print(self, text: str) -> None:
        self.lines.append(text)


def choose_console(console: Console | None, asked: bool | None) -> Console | None:
    """Return where to show progress: the given console, a new one if asked for or in a notebook, else None."""
    if asked is False or console is not None:
        return None if asked is False else console
    ipython = sys.modules.get("IPython")  # never imported for this: a notebook has it
    shell = ipython.get_ipython() if ipython is not None else None
    in_notebook = hasattr(shell, "kernel")
    if not asked and not in_notebook:
        return None
    return _NotebookConsole() if in_notebook else Console(highlight=False, stderr=True)


@contextlib.contextmanager
def show_progress(
    console: Console | None,
    count: int | None,
    study: Callable[[], StudyProgress],
    note: Callable[[], str] | None = None,
    trials: Callable[[], tuple[int, int | None]] | None = None,
    runs: int | None = None,
) -> Iterator[Listener]:
    """Show progress in the way that suits a console: none, a notebook, a terminal, or a file (see `_Plain`)."""
    in_notebook = isinstance(console, _NotebookConsole)
    if console is None or not (in_notebook or console.is_terminal):
        yield _Plain(console, count, study, note, trials, runs) if console else Listener()
        return
    live = (_Notebook if in_notebook else _Live)(console, count, study, note, trials, runs)
    with live.open_view():
        yield live
