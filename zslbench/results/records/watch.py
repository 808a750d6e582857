"""`watch`: a live view of what runs below a folder of records, whoever runs it."""

from __future__ import annotations

import dataclasses
import re
import shlex
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from zslbench.errors import BadValue, UnknownName
from zslbench.results.records.live import SeenStudy, clean, merge_plans
from zslbench.results.records.snapshot import EndedFit, Snapshot, Watcher
from zslbench.results.records.store import left_out, runs_option
from zslbench.visible import (
    format_clock,
    format_count,
    format_losses,
    format_metrics,
    name_run,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

Format = Literal["terminal", "json"]
FORMATS: tuple[Format, ...] = ("terminal", "json")
KEYS = "q ends this view; what runs goes on"
MOST_SECONDS = 3600.0
_PIPED = 120
_WIDE = 120
"""Columns from which a running fit takes one line; below, its name has a line of its own."""
_LAST, _FAILED = 8, 6
_BAR, _NAME, _GAP = 12, 30, "  "
_URGENT = 2
"""The rank from which sections should be seen whole."""
_BRACKETS = re.compile(r"\[.*\]")
_STATUSES = {"ok": "", "failed": " failed", "crashed": " crashed", "timeout": " timed out"}

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
    watcher = Watcher(Path(runs))
    shot = watcher.look()
    while not (follow and console) and not shot.running and any(item.undecided for item in shot.seen):
        time.sleep(0.2)
        shot = watcher.look()
    if console is not None and (shot.running or follow):
        shot = _show_live(console, shot, watcher, interval, follow, wait or _sleep)
    columns = width or shutil.get_terminal_size((_PIPED, 24)).columns
    return dataclasses.replace(shot, text=shot.to_json() if format == "json" else render_text(shot, columns))


def _show_live(
    console: Console, shot: Snapshot, watcher: Watcher, interval: float, follow: bool, wait: Wait
) -> Snapshot:
    """Show snapshots on the whole screen until nothing runs, or the user leaves."""
    from rich.console import Group
    from rich.live import Live

    def draw(shot: Snapshot) -> Group:
        return Group(*render_screen(shot, console.width, console.height, KEYS))

    screen = Live(draw(shot), console=console, screen=True, auto_refresh=False)
    try:
        screen.start(refresh=True)  # within the block: Ctrl-C may come as soon as something is seen
        while (shot.running or follow) and not wait(interval):
            shot = watcher.look()
            screen.update(draw(shot), refresh=True)
    except KeyboardInterrupt:
        pass  # that is how one leaves a view
    finally:
        screen.stop()
    return shot


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def render_text(shot: Snapshot, width: int) -> str:
    """Return all that is seen as plain text."""
    return "\n".join(line.plain.rstrip() for line in render_screen(shot, width)) + "\n"


def render_screen(shot: Snapshot, width: int, height: int | None = None, keys: str = "") -> list[Text]:
    """Return the lines of a screen of so many columns and lines; of any number of lines where `height` is None.

    Where not all that runs or failed has room, first the empty lines go, then each running fit takes one line, then
    sections are cut. rich's own layouts cut a section without saying how much is hidden.
    """
    head = _head(shot, width)
    foot = [_line([(keys, "dim")], [width])] if keys else []
    for gap, flat in ((1, width >= _WIDE), (0, width >= _WIDE), (0, True)):
        sections = [section for section in _sections(shot, width, flat) if section.items]
        room = None if height is None else height - len(head) - len(foot) * (1 + gap)
        shown = _fit_sections(sections, room, gap)
        pairs = list(zip(sections, shown, strict=True))
        if all(section.rank < _URGENT or len(section.items) == number for section, number in pairs):
            break
    empty = [_line([], [])] * gap
    lines = head
    for section, number in pairs:
        lines += [] if number is None else [*empty, *section.lines(number)]
    lines += [*empty, *foot] if foot else []
    if height is not None:
        for line in lines:
            line.truncate(width, overflow="ellipsis")
    return lines[:height]


Cell = tuple[str, str]
"""A text and its style."""


@dataclasses.dataclass(frozen=True)
class _Section:
    """A title and items below it, each of one or more lines.

    Attributes:
        rank: sections of the lowest rank give way first where the screen is low.
        least: items that stay as long as the section does.
    """

    title: str
    items: Sequence[Sequence[Text]]
    rank: int
    least: int = 1

    def lines(self, shown: int) -> list[Text]:
        """Return the title, so many items, and how many more there are."""
        lines = [_line([(self.title, "bold")], [0]), *(line for item in self.items[:shown] for line in item)]
        hidden = len(self.items) - shown
        return lines + ([_line([(f"  and {hidden:,} more", "dim")], [0])] if hidden else [])

    def height(self, shown: int) -> int:
        """Return how many lines that makes."""
        return 1 + sum(len(item) for item in self.items[:shown]) + (shown < len(self.items))


def _fit_sections(sections: Sequence[_Section], room: int | None, gap: int) -> list[int | None]:
    """Return how many items each section shows in `room` lines (None: any number); None: it is not shown at all.

    The section of lowest rank shrinks first, down to its least; when all have shrunk, sections go in the same order.
    """
    shown: list[int | None] = [len(section.items) for section in sections]
    if room is None:
        return shown
    order = sorted(range(len(sections)), key=lambda position: sections[position].rank)

    def is_too_high() -> bool:
        heights = (gap + sections[at].height(number) for at, number in enumerate(shown) if number is not None)
        return sum(heights) > room

    for position in order:
        while is_too_high() and (number := shown[position]) is not None and number > sections[position].least:
            shown[position] = number - 1
    for position in order:
        if is_too_high():
            shown[position] = None
    return shown


def _line(cells: Sequence[Cell], widths: Sequence[int]) -> Text:
    """Return one line of cells; a width of 0 means as wide as the text, below 0 to the right of that many columns."""
    from rich.cells import cell_len, set_cell_size
    from rich.text import Text

    line = Text(no_wrap=True, overflow="ellipsis")
    for position, ((text, style), width) in enumerate(zip(cells, widths, strict=True)):
        text, size = clean(text), abs(width)
        if size and cell_len(text) > size:
            text = set_cell_size(text, max(0, size - 1)) + "…"
        room = " " * max(0, size - cell_len(text))
        line.append(_GAP if position else "")
        line.append(room + text if width < 0 else text + room, style)
    return line


def _table(
    rows: Sequence[Sequence[Cell]], width: int, giving: int, most: Mapping[int, int], right: Sequence[int] = ()
) -> list[list[Text]]:
    """Return rows as aligned lines; column `giving` takes what is left of `width`, `right` are aligned to the right.

    Args:
        most: the greatest width of some columns.
    """
    from rich.cells import cell_len

    if not rows:
        return []
    rows = [[(clean(text), style) for text, style in row] for row in rows]
    widths = [max(cell_len(text) for text, _ in column) for column in zip(*rows, strict=True)]
    widths = [min(size, most.get(position, size)) for position, size in enumerate(widths)]
    left = width - sum(widths) + widths[giving] - len(_GAP) * (len(widths) - 1)
    widths[giving] = max(1, min(widths[giving], left))
    return [[_line(row, [-size if at in right else size for at, size in enumerate(widths)])] for row in rows]


def _bar(share: float, width: int) -> str:
    """Return a bar that is filled by a share from 0 to 1, legible without colour."""
    full = round(share * width)
    return "━" * full + "─" * (width - full)


def _head(shot: Snapshot, width: int) -> list[Text]:
    broken = left_out(shot.broken)
    if not shot.running:
        lost = "; what was lost was killed, or its machine is gone: its command does the rest" if shot.lost else ""
        texts = ((f"nothing runs{lost}", "bold"), (_summary(shot), ""), *((text, "") for text in broken))
        return [_line([cell], [0]) for cell in texts]
    plans = merge_plans(shot.running)
    studies = [plan.study for plan in plans]
    total, ended, failed, skipped = (
        sum(getattr(study, name) for study in studies) for name in ("total", "ended", "failed", "skipped")
    )
    running = [fit for study in studies for fit in study.running]
    growing = any(study.growing for study in studies)
    spent = max(seen.study.seconds + seen.since for seen in shot.running)
    lefts = [plan.study.seconds_left(plan.since) for plan in plans]
    known = [seconds for seconds in lefts if seconds is not None]
    left = f", about {format_clock(max(known))} left" if known and not growing else ""
    counts = [f"{ended - failed - skipped:,} " + ("fits done" if growing else f"of {format_count(total, 'fit')} done")]
    counts += [f"{failed:,} failed"] if failed else []
    counts += [f"{skipped:,} skipped"] if skipped else []
    counts += [f"{len(running):,} running"]
    counts += ["more to come" if growing else f"{max(0, total - ended - len(running)):,} to go"]
    title, clock = f"zslbench watch {shot.root}", f"{format_clock(spent)}{left}"
    lines = [_line([(title, "bold"), (clock, "")], [max(1, width - len(clock) - 2), 0])]
    if not growing:
        share = min(1.0, (ended + sum(fit.share * fit.company for fit in running)) / max(1, total))
        lines.append(_line([(_bar(share, max(1, width - 7)), "cyan"), (f"{100 * share:.0f} %", "")], [0, -5]))
    texts = ((", ".join(counts), ""), *((text, "red") for text in broken))
    return [*lines, *(_line([cell], [width]) for cell in texts)]


def _summary(shot: Snapshot) -> str:
    """Return one sentence on the records, and what to type."""
    if not shot.records:
        words = ["zslbench", "run", "-m", "eszsl", "-d", "digits", *runs_option(shot.root)]
        return f"no records in {shot.root}; make some, for instance with `{shlex.join(words)}`"
    statuses = Counter(record.status for record in shot.records)
    methods = {record.method["name"] for record in shot.records}
    datasets = {record.dataset["name"] for record in shot.records}
    others = ", ".join(f"{number:,} {status}" for status, number in sorted(statuses.items()) if status != "ok")
    return (
        f"{format_count(len(shot.records), 'record')}{f' ({others})' if others else ''} of "
        f"{format_count(len(methods), 'method')} on {format_count(len(datasets), 'data set')} in {shot.root}; "
        f"see them with `{shlex.join(['zslbench', 'table', *runs_option(shot.root)])}`"
    )


def _sections(shot: Snapshot, width: int, flat: bool) -> list[_Section]:
    return [
        _Section("studies", _studies(shot.seen, width), _URGENT + 1),
        _Section("running", _running(shot.running, width, flat), _URGENT + 2, 2),
        _Section("last finished", _last(shot.last(_LAST), width), 1, 2),
        _Section("failed", _failed(shot.failed(_FAILED), width), _URGENT),
        _Section("records", _records(shot, width), 0, 3),
    ]


def _studies(seen: Sequence[SeenStudy], width: int) -> list[list[Text]]:
    rows: list[list[Cell]] = []
    for item in seen:
        study, lost = item.study, item.state == "lost"
        since = ("lost", "red") if lost else (format_clock(study.seconds + item.since), "")
        ended = f"{study.ended}" if study.growing else f"{study.ended}/{study.total}"
        process = f"  {study.holder.host} {study.holder.pid}"
        rows.append([(process, ""), since, (ended, ""), (study.command, "dim")])
    return _table(rows, width, 3, {0: 24}, right=(1, 2))


def _running(seen: Sequence[SeenStudy], width: int, flat: bool) -> list[list[Text]]:
    names, rows = [], []
    room = max(_BAR, min(width // 2, width - _BAR - 24)) if flat else width
    for fit, since in ((fit, item.since) for item in seen for fit in item.study.running):
        left = fit.seconds_left(since)
        clock = f"{format_clock(fit.seconds + since)} so far" if left is None else f"{format_clock(left)} left"
        company = f"{fit.company} fits at once  " if fit.company > 1 else ""
        bar, step = (_bar(fit.share, _BAR), f"{fit.step}/{fit.total}") if fit.total else (" " * _BAR, "")
        names.append(f"  {_shorten(str(fit), room - 2)}")
        rows.append([(bar, "cyan"), (step, ""), (clock, ""), (company + format_losses(fit.values), "dim")])
    if flat:
        named = [[(name, ""), *row] for name, row in zip(names, rows, strict=True)]
        return _table(named, width, 4, {0: room}, right=(2, 3))
    indented = [[(f"    {bar}", style), *cells] for (bar, style), *cells in rows]
    below = _table(indented, width, 3, {}, right=(1, 2))
    return [[_line([(name, "")], [width]), *lines] for name, lines in zip(names, below, strict=True)]


def _last(ended: Sequence[EndedFit], width: int) -> list[list[Text]]:
    took = ["" if fit.seconds is None else f"{fit.seconds:.1f} s" for fit in ended]
    room = width - max(map(len, took), default=0) - 6
    metrics = [_shorten_metrics(fit.metrics, max(room - _NAME, room // 2)) for fit in ended]
    room -= max(map(len, metrics), default=0)
    rows = [
        [(f"  {_name(fit, room, ())}", ""), (values, "green"), (seconds, "dim")]  # its metrics tell the protocols
        for fit, values, seconds in zip(ended, metrics, took, strict=True)
    ]
    return _table(rows, width, 0, {}, right=(2,))


def _shorten_metrics(values: Mapping[str, float], room: int) -> str:
    """Return as many metrics as have room, the first at least."""
    names = list(values)
    while len(names) > 1 and len(format_metrics({name: values[name] for name in names})) > room:
        names.pop()
    return format_metrics({name: values[name] for name in names})


def _failed(ended: Sequence[EndedFit], width: int) -> list[list[Text]]:
    rows = [
        [(f"  {_name(fit, width // 2 - 2, fit.protocols)}", ""), (fit.record.error or fit.record.status, "red")]
        for fit in ended
    ]
    return _table(rows, width, 1, {0: width // 2})


def _records(shot: Snapshot, width: int) -> list[list[Text]]:
    counts = shot.counts()
    names = sorted({dataset for by in counts.values() for dataset in by})
    rows: list[list[Cell]] = [[("", ""), *((name, "dim") for name in names)]] if names else []
    for method, by in counts.items():
        rows.append([(f"  {method}", ""), *((_count_statuses(by.get(name, Counter())), "") for name in names)])
    return _table(rows, width, 0, {}, right=range(1, len(names) + 1))


def _count_statuses(counts: Counter[str]) -> str:
    texts = [f"{number}{_STATUSES.get(status, f' {status}')}" for status, number in sorted(counts.items()) if number]
    return ", ".join(sorted(texts, key=lambda text: not text.isdecimal()))


def _name(ended: EndedFit, room: int, protocols: Sequence[str]) -> str:
    record = ended.record
    name = name_run(record.label, record.dataset["name"], protocols, record.stage, record.fold, record.seed)
    return _shorten(name, room)


def _shorten(name: str, room: int) -> str:
    """Return a name in so much room: where it is too long, without what is in brackets."""
    return name if len(name) <= room else _BRACKETS.sub("[…]", name)
