"""`zslbench results` and `watch`: what is done with a folder of records, and how it is looked at while it grows."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import rich_click as click

import zslbench
from zslbench.commands import screen
from zslbench.commands import shared_options as shared


@click.group(
    epilog=shared.examples(
        "zslbench results merge node1/runs node2/runs", "zslbench results gc", "zslbench results export -o runs.parquet"
    )
)
def results() -> None:
    """Merge, clean and export folders of records."""


@results.command(
    epilog=shared.examples(
        "zslbench results merge node1/runs node2/runs", "zslbench results merge old-runs --into all-runs"
    )
)
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="DIR...")
@shared.folder_option("--into", "The folder that they are copied into.")
def merge(sources: tuple[Path, ...], into: Path) -> None:
    """Copy the records of other folders into one, with their predictions and tuned presets.

    Where both folders hold a run, one that is ok replaces one that failed; otherwise the record that was here is kept.
    Nothing is removed from DIR. Exit code 1 where both have a run with other metrics, or a file could not be read.
    """
    done = zslbench.results.merge(sources, into)
    screen.show_text(done.text)
    if not done.ok:
        sys.exit(shared.FAILED)


@results.command(epilog=shared.examples("zslbench results gc", "zslbench results gc --failed --stale --yes"))
@click.option("--failed", is_flag=True, help="Records of runs that failed or were cut short, too.")
@click.option("--stale", is_flag=True, help="Records of methods whose source has changed since, too.")
@click.option("--yes", "delete", is_flag=True, help="Delete them; without, they are only listed.")
@shared.RUNS
def gc(stale: bool, **options: Any) -> None:
    """List, and with --yes delete, what belongs to no run any more.

    Predictions without a record, files that were not finished, leases of coordinators that are gone. What was changed
    within the last hour is left alone.
    """
    from zslbench.sources import SourceCheck

    check = SourceCheck()
    leftovers = zslbench.results.gc(
        stale=(lambda record: check.state(record.method["name"], record.provenance) == "changed") if stale else None,
        **options,
    )
    screen.show_text(leftovers.text)


@results.command(
    epilog=shared.examples(
        "zslbench results export -o runs.csv", "zslbench results export -o runs.parquet --params columns"
    )
)
@shared.path_option("-o", "--output", required=True, text="FILE.parquet or FILE.csv.")
@shared.choice_option(
    "--params",
    choices=["json", "columns"],
    default="json",
    text="Hyper-parameters as one column of JSON, or a column each.",
)
@shared.RUNS
def export(**options: Any) -> None:
    """Write all records as one table, a row per run, for other tools."""
    done = zslbench.results.export(**options)
    if done.broken:
        screen.show_text("\n".join(done.broken))
    screen.show_written(done.path)


@click.command(
    epilog=shared.examples(
        "zslbench watch",
        "zslbench watch --runs /shared/study --follow",
        "zslbench watch --once",
        "zslbench watch --once --format json",
    )
)
@click.option(
    "--interval", type=float, default=1.0, show_default=True, metavar="SECONDS", help="Seconds between two looks."
)
@click.option("--once", is_flag=True, help="Print one snapshot as text; so it is where the output is no terminal.")
@click.option("--follow", is_flag=True, help="Go on when nothing runs any more.")
@shared.format_option("terminal", "json", text="How to print a snapshot; json is printed once.")
@shared.RUNS
def watch(runs: Path, interval: float, once: bool, follow: bool, format: str) -> None:
    """Show what runs: done, failed, running with losses and time left.

    It reads the folder of records, so it does not matter which process or machine runs the study. The view ends when
    nothing runs any more, with q or with Ctrl-C; none of these ends what runs.
    """
    console = None if once or format == "json" else screen.live_console()
    with contextlib.suppress(KeyboardInterrupt):
        with waiting_for("qQ") if console else contextlib.nullcontext() as wait:
            shot = zslbench.watch(runs, interval=interval, follow=follow, format=format, console=console, wait=wait)
        screen.show_text(shot.text)


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
        before = termios.tcgetattr(number)
        if os.tcgetpgrp(number) != os.getpgrp():
            raise OSError("in the background")
    except (ImportError, OSError, ValueError, AttributeError):
        yield _sleep
        return
    except termios.error:
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
