"""`zslbench watch`."""

from __future__ import annotations

import contextlib
from pathlib import Path

import rich_click as click

import zslbench
from zslbench import screen
from zslbench.commands.keys import waiting_for
from zslbench.commands.options import RUNS, examples, format_option


@click.command(
    epilog=examples(
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
@format_option("terminal", "json", text="How to print a snapshot; json is printed once.")
@RUNS
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
