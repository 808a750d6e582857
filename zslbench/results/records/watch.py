"""`watch`: a live view of what runs below a folder of records, whoever runs it."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from zslbench.errors import BadValue, UnknownName
from zslbench.results.records.liveness import LiveFolder
from zslbench.results.records.screenful import KEYS, as_text, screenful
from zslbench.results.records.snapshot import Snapshot, as_json, look
from zslbench.results.records.tally import Tally

if TYPE_CHECKING:
    from rich.console import Console

Format = Literal["terminal", "json"]
FORMATS: tuple[Format, ...] = ("terminal", "json")
MOST_SECONDS = 3600.0
_PIPED = 120

Wait = Callable[[float], bool]
"""Waits so many seconds; returns whether the user wants to leave."""


def watch(
    runs: Path | str = "runs",
    *,
    interval: float = 1.0,
    follow: bool = False,
    format: Format = "terminal",
    width: int | None = None,
    console: Console | None = None,
    wait: Wait | None = None,
) -> Snapshot:
    """Watch the studies that write their records to a folder; return the last snapshot.

    Args:
        runs: the folder of records.
        interval: seconds between two looks.
        follow: go on when nothing runs; else the view ends by itself.
        format: of the snapshot's text: terminal or json.
        width: characters of a line of that text; None: the terminal's.
        console: a terminal to show the view on; None: look once.
        wait: how to wait between two looks (default: sleep), and whether to leave.

    Raises:
        BadValue: an interval that is not allowed.
        StoreError: `runs` is a file.
    """
    if format not in FORMATS:
        raise UnknownName("format", format, FORMATS)
    if not 0.1 <= interval <= MOST_SECONDS:
        raise BadValue(f"interval {interval:g} is not allowed; choose seconds from 0.1 to {MOST_SECONDS:g}.")
    root = Path(runs)
    live, tally = LiveFolder(root), Tally(root)
    shot = look(live, tally, root)
    while live.undecided and not (follow and console) and not shot.running:  # of another machine, and not heard of yet
        time.sleep(0.2)
        shot = look(live, tally, root)
    if console is not None and (shot.running or follow):
        shot = _view(console, shot, lambda: look(live, tally, root), interval, follow, wait or _sleep)
    columns = width or shutil.get_terminal_size((_PIPED, 24)).columns
    return dataclasses.replace(shot, text=as_json(shot) if format == "json" else as_text(shot, columns))


def _view(
    console: Console, shot: Snapshot, again: Callable[[], Snapshot], interval: float, follow: bool, wait: Wait
) -> Snapshot:
    """Show snapshots on the whole screen until nothing runs, or the user leaves."""
    from rich.console import Group
    from rich.live import Live

    def drawn(shot: Snapshot) -> Group:
        return Group(*screenful(shot, console.width, console.height, KEYS))

    screen = Live(drawn(shot), console=console, screen=True, auto_refresh=False)
    try:
        screen.start(refresh=True)  # within the block: Ctrl-C may come as soon as something is seen
        while (shot.running or follow) and not wait(interval):
            shot = again()
            screen.update(drawn(shot), refresh=True)
    except KeyboardInterrupt:
        pass  # that is how one leaves a view
    finally:
        screen.stop()
    return shot


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False
