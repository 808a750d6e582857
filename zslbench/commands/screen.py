"""What the verbs show on the screen. Results go to standard output, progress and errors to standard error."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from zslbench.errors import CaptionLeftOut, RecordsLeftOut
from zslbench.visible import one_line, times_column, visible

if TYPE_CHECKING:
    from zslbench.runner.outcome import Outcome

WIDE = 160


class _Console(Console):
    """A console that shows the control characters of a text instead of sending them; only rich's own have effect."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


def wide_console() -> Console:
    """Return the console of results: the terminal, or one wide enough for sentences where there is none."""
    console = _Console(highlight=False)
    return console if console.is_terminal else _Console(highlight=False, width=WIDE)


def progress_console() -> Console:
    """Return the console that progress is shown on."""
    return _Console(stderr=True, highlight=False)


def live_console() -> Console | None:
    """Return the terminal that a view can take up; None where there is none."""
    console = _Console(highlight=False)
    return console if console.is_terminal and not console.is_dumb_terminal else None


def show_error(sentence: str, notes: Iterable[str] = ()) -> None:
    """Print one line on standard error, and below it one for each note."""
    console = _Console(stderr=True, highlight=False, soft_wrap=True)
    for text in (f"Error: {one_line(sentence)}", *(f"  {one_line(note)}" for note in notes)):
        console.print(text, markup=False)


def show_traceback(error: BaseException) -> None:
    """Print the traceback of an error on standard error, its control characters escaped."""
    print(visible("".join(traceback.format_exception(error))), end="", file=sys.stderr, flush=True)


@contextlib.contextmanager
def records_left_out_shown() -> Iterator[None]:
    """Print each warning of records or of captions that are not shown once, as a line on standard error."""
    known: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("always", RecordsLeftOut)
        warnings.simplefilter("always", CaptionLeftOut)
        show_other = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if not issubclass(category, (RecordsLeftOut, CaptionLeftOut)):
                show_other(message, category, *place, **more)
            elif str(message) not in known:
                known.add(str(message))
                text = f"Note: {one_line(str(message))}"
                _Console(stderr=True, highlight=False, soft_wrap=True).print(text, markup=False)

        warnings.showwarning = show
        yield


def show_text(text: str) -> None:
    """Print text as it is, its control characters escaped."""
    print(visible(text), end="" if text.endswith("\n") else "\n", flush=True)


def show_sentences(sentences: Iterable[str]) -> None:
    """Print sentences, each from a line of its own on and wrapped to the terminal."""
    from zslbench.results.tables.render import columns_of, wrap_sentences

    if wrapped := wrap_sentences(sentences, columns_of(None)):
        show_text("\n".join(wrapped))


def show_written(path: Path) -> None:
    """Say which file was written."""
    progress_console().print(f"wrote {path}", markup=False, soft_wrap=True)


def show_profile(outcome: Outcome) -> None:
    """Print the seconds of each phase of the runs, a row a run."""
    from zslbench.results.records.record import name_runs

    records = [record for record in outcome.records if record.timings]
    last = ("total", "shared")
    phases = list(dict.fromkeys(phase for record in records for phase in record.timings if phase not in last))
    rows = []
    for record, name in zip(records, name_runs(records), strict=True):
        spent = [f"{record.timings[phase]:.2f}" if phase in record.timings else "" for phase in (*phases, *last)]
        rows.append((name, *spent))
    show_text(
        "seconds per phase of each run by itself (fit includes the phases between data and scores); "
        "shared: work that an earlier run had done already"
    )
    show_table(("run", *phases, *last), rows)


def show_outcome(outcome: Outcome) -> None:
    """Say what a run did, or would do, and what to type next."""
    for remark in outcome.remarks:
        show_text(remark)
    if outcome.estimate is not None:
        show_table(*outcome.planned_table())
    for sentence in outcome.sentences():
        show_text(sentence)


@contextlib.contextmanager
def counted(what: str, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Give a function that shows how much of all is done, as a bar on a terminal; until it is called, "loading …"."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = progress_console()
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), times_column()
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("loading …", total=None)
        yield lambda done, total: bar.update(task, description=what, completed=done, total=total)


def show_table(
    heads: Sequence[str] | None, rows: Iterable[Sequence[str]], width: int | None = None, one_line: bool = False
) -> None:
    """Print rows below their heads, in lines of the terminal; control characters are escaped.

    Args:
        width: the most characters of a line.
        one_line: a row is never parted where there is no terminal, so that ``grep`` finds all of it.
    """
    from zslbench.results.tables.render import ONE_LINE, columns_table, write_columns

    console = wide_console()
    if console.is_terminal:
        console.print(columns_table(heads, rows), width=None if width is None else min(width, console.width))
    else:
        show_text(write_columns(heads, rows, ONE_LINE if one_line else min(width or WIDE, WIDE)))


@contextlib.contextmanager
def waiting_for(keys: str) -> Iterator[Callable[[float], bool]]:
    """Give a function that waits so many seconds and returns whether one of the keys was pressed meanwhile.

    Where standard input is no terminal of which this process has the foreground, or the system has no such terminals,
    it only waits. The terminal is left as it was.
    """
    try:
        import termios
        import tty

        number = sys.stdin.fileno()
        if os.tcgetpgrp(number) != os.getpgrp():  # an OSError, too, where it is no terminal
            raise OSError("in the background")
        before = termios.tcgetattr(number)
    except (ImportError, OSError, ValueError, AttributeError):
        yield _sleep
        return

    def wait(seconds: float) -> bool:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if not select.select([number], [], [], left)[0]:
                break
            typed = os.read(number, 64)
            if not typed:  # the terminal is gone
                return _sleep(left)
            if any(key in typed.decode("utf-8", "replace") for key in keys):
                return True
        return False

    try:
        tty.setcbreak(number)
        yield wait
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False
