"""`watch`: a live view of the studies that write to a folder of records, and of the records in it."""

from __future__ import annotations

import dataclasses
import io
import itertools
import os
import re
import shlex
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from zslbench.errors import BadValue, StoreError, UnknownName
from zslbench.files import json_text, read_problem
from zslbench.results.records.live_studies import LiveFolder, RunningFit, SeenStudy, clean, merge_plans
from zslbench.results.records.record import Record
from zslbench.results.records.store import left_out, read_record, record_folders, runs_option
from zslbench.visible import (
    describe_failure,
    format_count,
    format_losses,
    format_metrics,
    format_time,
    name_run,
    title_data,
)

Format = Literal["terminal", "json"]
FORMATS: tuple[Format, ...] = get_args(Format)
SCHEMA = 1
SETTLED = 2.0
"""Seconds after a change in which a folder may change once more without a new time: so coarse are some clocks."""
KEYS = "q ends this view; the study continues"
MOST_SECONDS = 3600.0
OK, BAD = ("ok",), ("failed", "crashed", "timeout")
_MOST_ENDED = 20
"""How many ended fits of either kind, ok or failed, the JSON document holds."""
WIDE = 120
"""Columns if the output is not a terminal; from this width on, a running fit takes one line instead of two."""
_LAST, _FAILED = 8, 6
_BAR, _NAME = 12, 30
_URGENT = 2
"""Sections from this rank on should be shown whole."""
_BRACKETS = re.compile(r"\[.*\]")
_STATUSES = {"ok": "", "failed": " failed", "crashed": " crashed", "timeout": " timed out"}

Wait = Callable[[float], bool | None]
"""Waits so many seconds; returns whether the user wants to leave."""


@dataclasses.dataclass(frozen=True)
class EndedFit:
    """A fit that ended, from its records of equal status: all protocols and metrics, and its own seconds."""

    label: str
    dataset: str
    protocols: tuple[str, ...]
    stage: str
    fold: int
    seed: int
    status: str
    metrics: Mapping[str, float]
    seconds: float | None
    error: str


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A folder of records at one moment.

    Attributes:
        root: the folder of records.
        seen: the studies that are running, killed or not heard of.
        records: all records in order of time, without their curves and with the last line of their error alone.
        broken: a sentence on each file that is not a record, and each folder that cannot be read.
        text: the snapshot in the format that was asked for.
    """

    root: Path
    seen: tuple[SeenStudy, ...] = ()
    records: tuple[Record, ...] = ()
    broken: tuple[str, ...] = ()
    text: str = ""

    @property
    def running(self) -> tuple[SeenStudy, ...]:
        """The studies that are running; the others were killed, or have not been heard of for long."""
        return tuple(item for item in self.seen if item.state == "running")

    def find_ended(self, statuses: Sequence[str], most: int) -> list[EndedFit]:
        """Return the last fits that ended with one of these statuses, the latest first."""
        fits: dict[tuple[str, str, str, int, int, str, str], list[Record]] = {}
        for record in reversed(self.records):
            if record.status not in statuses:
                continue
            fit = (record.label, record.dataset["name"], record.stage, record.fold, record.seed)
            key = (*fit, record.status, record.error)
            if key not in fits and len(fits) == most:
                break
            fits.setdefault(key, []).append(record)
        ended = []
        for (label, dataset, stage, fold, seed, status, error), alike in fits.items():
            latest, by_protocol = alike[0], sorted(alike, key=lambda record: str(record.protocol["name"]), reverse=True)
            protocols = tuple(record.protocol["name"] for record in by_protocol)
            metrics = dict(itertools.chain(*(record.metrics.items() for record in by_protocol)))
            seconds = float(latest.timings.get("total", 0.0)) if latest.seconds_known else None
            ended.append(EndedFit(label, dataset, protocols, stage, fold, seed, status, metrics, seconds, error))
        return ended

    def counts(self) -> dict[str, dict[str, Counter[str]]]:
        """Return how many records there are, by method, data set and status."""
        counts: dict[str, dict[str, Counter[str]]] = {}
        for record in sorted(self.records, key=lambda record: (record.method["name"], record.dataset["name"])):
            by_dataset = counts.setdefault(record.method["name"], {})
            by_dataset.setdefault(record.dataset["name"], Counter())[record.status] += 1
        return counts

    def to_json(self) -> str:
        """Return the snapshot as one JSON object; durations in seconds, metrics as fractions."""
        counts = self.counts().items()
        return json_text(
            {
                "schema": SCHEMA,
                "runs": str(self.root),
                "state": "running" if self.running else "idle",
                "studies": [_study_facts(seen) for seen in self.seen],
                "last": [dataclasses.asdict(fit) for fit in self.find_ended(OK, _MOST_ENDED)],
                "failed": [dataclasses.asdict(fit) for fit in self.find_ended(BAD, _MOST_ENDED)],
                "records": [{"method": name, "dataset": data, **by[data]} for name, by in counts for data in by],
                "broken": self.broken,
            }
        )


def _study_facts(seen: SeenStudy) -> dict[str, Any]:
    def rounded(seconds: float | None) -> float | None:
        return None if seconds is None else round(seconds, 1)

    facts = msgspec.json.decode(seen.study.to_json())
    for fit_facts, fit in zip(facts["running"], seen.study.running, strict=True):
        fit_facts["seconds_left"] = rounded(fit.seconds_left(seen.since))
    left = seen.study.seconds_left(seen.since) if seen.state == "running" else None
    return {"state": seen.state, "seconds_left": rounded(left), "total": seen.study.total, **facts}


@dataclasses.dataclass(frozen=True)
class _ListedFolder:
    """A folder of records as it was last listed.

    Attributes:
        changed: its modification time; since: when that was first seen, by the clock of the watcher.
        files: per file, its time, size and inode number, and its record or why it is not a record.
        problem: why it cannot be listed.
    """

    changed: int = -1
    since: float = 0.0
    files: Mapping[str, tuple[tuple[int, int, int], Record | str]] = dataclasses.field(default_factory=dict)
    problem: str = ""


class Watcher:
    """Watches a folder of records and its live files; `look` reads what was added, removed or changed since.

    A folder is listed only if its modification time has changed, a file read only if it is new or has changed.
    """

    def __init__(self, root: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.root, self._clock, self._live = root, clock, LiveFolder(root, clock)
        self._folders: dict[Path, _ListedFolder] = {}

    def look(self) -> Snapshot:
        """Return a snapshot of the present moment.

        Raises:
            StoreError: the root is not a folder.
        """
        paths, unread = record_folders(self.root)
        self._folders = {path: self._list(path, self._folders.get(path) or _ListedFolder()) for path in paths}
        folders = self._folders.values()
        files = sorted((file for folder in folders for file in folder.files.values()), key=lambda file: file[0][0])
        broken = [*(reason for _, reason in unread), *(folder.problem for folder in folders if folder.problem)]
        broken += [content for _, content in files if isinstance(content, str)]
        records = tuple(content for _, content in files if isinstance(content, Record))
        return Snapshot(self.root, tuple(self._live.read()), records, tuple(broken))

    def _list(self, path: Path, before: _ListedFolder) -> _ListedFolder:
        try:
            changed, now = path.stat().st_mtime_ns, self._clock()
            since = before.since if changed == before.changed else now
            if now - since > SETTLED:
                return before
            with os.scandir(path) as entries:
                stats = {entry.name: entry.stat() for entry in entries if entry.name.endswith(".json")}
        except FileNotFoundError:
            return before  # removed meanwhile; the next reading sees it
        except OSError as error:
            return dataclasses.replace(before, changed=-1, problem=read_problem(path, error))
        files = {}
        for name, stat in stats.items():
            stamp = stat.st_mtime_ns, stat.st_size, stat.st_ino
            known = before.files.get(name)
            files[name] = known if known and known[0] == stamp else (stamp, _read(path / name))
        return _ListedFolder(changed, since, files)


def _read(path: Path) -> Record | str:
    """Return the shown part of a record, or why the file is not a record."""
    try:
        record = read_record(path)
    except (OSError, StoreError) as error:
        return str(error)
    return dataclasses.replace(
        record, curve=(), losses={}, error="" if record.ok else clean(describe_failure(record.error))
    )


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
    """Show the studies that write their records to a folder, until none is running; return the last snapshot.

    Args:
        runs: the folder of records.
        interval: seconds between two looks.
        follow: continue when nothing is running; otherwise the view ends by itself.
        format: of the snapshot's text: ``terminal`` or ``json``.
        width: characters per line of that text; None: the terminal's.
        console: a terminal to show the view on; None: look once.
        wait: a function that waits for some seconds and returns whether to leave; None: sleep.

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
        shot = _show_live(console, shot, watcher, interval, follow, wait or time.sleep)
    text = shot.to_json() if format == "json" else render_text(shot, width or shutil.get_terminal_size((WIDE, 24))[0])
    return dataclasses.replace(shot, text=text)


def _show_live(
    console: Console, shot: Snapshot, watcher: Watcher, interval: float, follow: bool, wait: Wait
) -> Snapshot:
    """Show snapshots on the whole screen until nothing runs, or the user leaves."""

    def draw() -> Group:
        return draw_screen(shot, console.width, console.height, KEYS)

    screen = Live(draw(), console=console, screen=True, auto_refresh=False)
    try:
        screen.start(refresh=True)  # within the block: Ctrl-C may come as soon as something is seen
        while (shot.running or follow) and not wait(interval):
            shot = watcher.look()
            screen.update(draw(), refresh=True)
    except KeyboardInterrupt:
        pass  # that is how one leaves a view
    finally:
        screen.stop()
    return shot


def render_text(shot: Snapshot, width: int) -> str:
    """Return the snapshot as plain text; sentences may be longer than `width`."""
    text = io.StringIO()
    Console(file=text, width=width, color_system=None, force_jupyter=False).print(draw_screen(shot, width), crop=False)
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())


def draw_screen(shot: Snapshot, width: int, height: int | None = None, keys: str = "") -> Group:
    """Return the content of a screen of so many columns and lines; None: any number of lines.

    If there is no room for all running and failed fits, first the empty lines are left out, then each running fit takes
    one line, then sections are cut. rich's own layouts would cut without saying how much is hidden.
    """
    head = _draw_head(shot, width, whole=height is None)
    for gap, flat in ((1, width >= WIDE), (0, width >= WIDE), (0, True)):
        sections = [section for section in _sections(shot, width, flat) if section.rows]
        if height is not None:
            _fit_sections(sections, height - len(head) - (1 + gap if keys else 0), gap)
        if all(section.rank < _URGENT or section.shown == len(section.rows) for section in sections):
            break
    blocks = [*(section.draw() for section in sections if section.shown), *([[_line(keys, "dim")]] if keys else [])]
    return Group(*head, *(part for block in blocks for part in (*[""] * gap, *block)))


@dataclasses.dataclass
class _Section:
    """A title and a table below it, whose cells do not wrap.

    Attributes:
        rank: if the screen is too low, sections of the lowest rank are cut first.
        giving: the column that shrinks on a narrow screen; right: columns that are aligned to the right.
        most: the greatest width of some columns.
        least: the fewest rows to show, unless the whole section is left out.
        lines: lines per row.
        shown: how many rows are shown; 0: the title is left out too.
    """

    title: str
    rank: int
    rows: Sequence[Sequence[Text]]
    giving: int
    right: Sequence[int] = ()
    most: Mapping[int, int] = dataclasses.field(default_factory=dict)
    least: int = 1
    lines: int = 1

    def __post_init__(self) -> None:
        self.shown = len(self.rows)

    @property
    def height(self) -> int:
        return self.shown and 1 + self.shown * self.lines + (self.shown < len(self.rows))

    def draw(self) -> Iterator[RenderableType]:
        table = Table.grid(padding=(0, 2))
        for at in range(len(self.rows[0])):
            justify: Literal["left", "right"] = "right" if at in self.right else "left"
            table.add_column(justify=justify, no_wrap=at != self.giving, max_width=self.most.get(at))
        for row in self.rows[: self.shown]:
            table.add_row(*row)
        yield _line(self.title, "bold")
        yield table
        if hidden := len(self.rows) - self.shown:
            yield _line(f"  and {hidden:,} more", "dim")


def _fit_sections(sections: Sequence[_Section], room: int, gap: int) -> None:
    """Reduce the rows of sections until they fit into `room` lines.

    The section of lowest rank shrinks first, down to its least; if that is not enough, whole sections are left out in
    the same order.
    """
    order = sorted(sections, key=lambda section: section.rank)

    def is_too_high() -> bool:
        return sum(gap + section.height for section in sections if section.shown) > room

    for section in order:
        while is_too_high() and section.shown > section.least:
            section.shown -= 1
    for section in order:
        if is_too_high():
            section.shown = 0


def _line(text: str, style: str = "", whole: bool = False) -> Text:
    """Return a text on one line, cut with an ellipsis if it is too long, unless `whole` is set."""
    return Text(clean(text), style, no_wrap=True, overflow="ignore" if whole else "ellipsis")


def draw_bar(share: float, width: int = _BAR) -> str:
    """Return a bar that is filled by a share from 0 to 1, legible without colour."""
    full = round(share * width)
    return "━" * full + "─" * (width - full)


def _draw_head(shot: Snapshot, width: int, whole: bool) -> list[RenderableType]:
    """Return the head lines: counts and time left of each running study, or what to type if nothing runs."""
    broken = left_out(shot.broken)
    if not shot.running:
        lost = "; what was lost was killed, or its machine is gone: its command does the rest" if shot.seen else ""
        sentences = [_line(text, whole=whole) for text in (_summarize(shot), *broken)]
        return [_line(f"nothing runs{lost}", "bold", whole), *sentences]
    plans = merge_plans(shot.running)
    studies = [plan.study for plan in plans]
    total, ended, failed, skipped = (
        sum(getattr(study, name) for study in studies) for name in ("total", "ended", "failed", "skipped")
    )
    running = [fit for study in studies for fit in study.running]
    growing = any(study.growing for study in studies)
    spent = max(seen.study.seconds + seen.since for seen in shot.running)
    known = [seconds for plan in plans if (seconds := plan.study.seconds_left(plan.since)) is not None]
    left = f", about {format_time(max(known))} left" if known and not growing else ""
    counts = [f"{ended - failed - skipped:,} " + ("fits done" if growing else f"of {format_count(total, 'fit')} done")]
    counts += [f"{number:,} {how}" for number, how in ((failed, "failed"), (skipped, "skipped")) if number]
    counts += [f"{len(running):,} running"]
    counts += ["more to come" if growing else f"{max(0, total - ended - len(running)):,} to go"]
    title = Table.grid(padding=(0, 2), expand=True)
    title.add_column(ratio=1)
    title.add_column(no_wrap=True)
    title.add_row(_line(f"zslbench watch {shot.root}", "bold"), _line(f"{format_time(spent)}{left}"))
    lines: list[RenderableType] = [title]
    if not growing:
        share = min(1.0, (ended + sum(study.begun for study in studies)) / max(1, total))
        lines.append(_line(draw_bar(share, max(1, width - 7)), "cyan").append(f"  {100 * share:3.0f} %", "default"))
    return [*lines, _line(", ".join(counts)), *(_line(text, "red", whole) for text in broken)]


def _summarize(shot: Snapshot) -> str:
    """Return one sentence on the records, and what to type."""
    if not shot.records:
        words = ["zslbench", "run", "-m", "eszsl", "-d", "digits", *runs_option(shot.root)]
        return f"no records in {shot.root}; make some, for instance with `{shlex.join(words)}`"
    statuses = Counter(record.status for record in shot.records)
    others = ", ".join(f"{number:,} {status}" for status, number in sorted(statuses.items()) if status != "ok")
    methods = format_count(len({record.method["name"] for record in shot.records}), "method")
    datasets = format_count(len({record.dataset["name"] for record in shot.records}), "data set")
    return (
        f"{format_count(len(shot.records), 'record')}{f' ({others})' if others else ''} of {methods} on {datasets} in "
        f"{shot.root}; see them with `{shlex.join(['zslbench', 'table', *runs_option(shot.root)])}`"
    )


def _sections(shot: Snapshot, width: int, flat: bool) -> list[_Section]:
    fits = [(fit, seen.since) for seen in shot.running for fit in seen.study.running]
    room = max(_BAR, min(width // 2, width - _BAR - 24)) if flat else width
    running = running_rows(fits, room, flat)
    failed = [
        [_line(f"  {_name(fit, width // 2 - 2, fit.protocols)}"), _line(fit.error or fit.status, "red")]
        for fit in shot.find_ended(BAD, _FAILED)
    ]
    return [
        _Section("studies", _URGENT + 1, [_study_row(seen) for seen in shot.seen], 3, right=(1, 2), most={0: 24}),
        _Section("running", _URGENT + 2, running, 1 if flat else 0, most={0: room}, least=2, lines=1 if flat else 2),
        _Section("last finished", 1, _last_rows(shot.find_ended(OK, _LAST), width), 0, right=(2,), least=2),
        _Section("failed", _URGENT, failed, 1, most={0: width // 2}),
        _Section("records", 0, _count_rows(shot.counts()), 0, right=range(1, width), least=3),
    ]


def _study_row(seen: SeenStudy) -> list[Text]:
    study = seen.study
    since = _line("lost", "red") if seen.state == "lost" else _line(format_time(study.seconds + seen.since))
    ended = f"{study.ended}" if study.growing else f"{study.ended}/{study.total}"
    return [_line(f"  {study.holder.host} {study.holder.pid}"), since, _line(ended), _line(study.command, "dim")]


def running_rows(fits: Sequence[tuple[RunningFit, float]], room: int, flat: bool) -> list[list[Text]]:
    """Return a row per running fit: its name in `room` columns, and its progress, on one line or on two."""
    lefts = [fit.seconds_left(since) for fit, since in fits]
    clocks = [
        format_time(fit.seconds + since) + (f", {format_time(left)} left" if left else " so far")
        for (fit, since), left in zip(fits, lefts, strict=True)
    ]
    rows = []
    for (fit, _), clock in zip(fits, clocks, strict=True):
        bar = draw_bar(fit.share) if fit.total else " " * _BAR
        company = f"{fit.company} fits at once  " if fit.company > 1 else ""
        name = _line(f"  {_shorten(str(fit), room - 2)}")
        details = _line(bar if flat else f"    {bar}", "cyan")
        details.append(f"  {clock:<{max(map(len, clocks))}}  {fit.say_phase()}  ", "default")
        details.append_text(_line(company + format_losses(fit.values), "dim"))
        rows.append([name, details] if flat else [name.append("\n").append_text(details)])
    return rows


def _last_rows(ended: Sequence[EndedFit], width: int) -> list[list[Text]]:
    took = ["" if fit.seconds is None else format_time(fit.seconds, 1) for fit in ended]
    room = width - max(map(len, took), default=0) - 6
    metrics = [_shorten_metrics(fit.metrics, max(room - _NAME, room // 2)) for fit in ended]
    room -= max(map(len, metrics), default=0)
    names = [_name(fit, room, ()) for fit in ended]  # metrics tell the protocols
    return [
        [_line(f"  {name}"), _line(values, "green"), _line(seconds, "dim")]
        for name, values, seconds in zip(names, metrics, took, strict=True)
    ]


def _shorten_metrics(values: Mapping[str, float], room: int) -> str:
    """Return as many metrics as fit into `room`, at least the first."""
    texts = [format_metrics({name: value}) for name, value in values.items()]
    while len(texts) > 1 and len("  ".join(texts)) > room:
        texts.pop()
    return "  ".join(texts)


def _count_rows(counts: Mapping[str, Mapping[str, Counter[str]]]) -> list[list[Text]]:
    """Return the names of data sets, and a row per method: how many records there are on each, by status."""

    def describe(by_status: Counter[str]) -> str:
        texts = [f"{number}{_STATUSES.get(status, f' {status}')}" for status, number in sorted(by_status.items())]
        return ", ".join(sorted(texts, key=lambda text: not text.isdecimal()))

    names = sorted({dataset for by in counts.values() for dataset in by})
    rows = [[_line(""), *(_line(title_data(name), "dim") for name in names)]] if names else []
    for method, by in counts.items():
        rows.append([_line(f"  {method}"), *(_line(describe(by.get(name, Counter()))) for name in names)])
    return rows


def _name(fit: EndedFit, room: int, protocols: Sequence[str]) -> str:
    return _shorten(name_run(fit.label, fit.dataset, protocols, fit.stage, fit.fold, fit.seed), room)


def _shorten(name: str, room: int) -> str:
    """Return a name that fits into `room`: if it is too long, without the parameters in brackets."""
    return name if len(name) <= room else _BRACKETS.sub("[…]", name)
