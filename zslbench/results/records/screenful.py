"""What `watch` shows of a snapshot, as lines for a screen of any size."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from zslbench.results.records import wording
from zslbench.results.records.lines import Cell, Section, bar, fitted, line, widths
from zslbench.results.records.live import Running
from zslbench.results.records.liveness import Seen
from zslbench.results.records.snapshot import Ended, Snapshot, job_left, merged, time_left
from zslbench.results.records.store import left_out
from zslbench.results.records.wording import clock, many, runs_option
from zslbench.visible import one_line

if TYPE_CHECKING:
    from rich.text import Text

WIDE = 120
"""Columns from which a running fit takes one line; below, its name has a line of its own."""
KEYS = "q ends this view; what runs goes on"

_LAST, _FAILED = 8, 6
_BAR, _NAME = 12, 30
_URGENT = 2
"""The rank from which sections should be seen whole."""
_BRACKETS = re.compile(r"\[.*\]")
_STATUSES = {"ok": "", "failed": " failed", "crashed": " crashed", "timeout": " timed out"}


def screenful(shot: Snapshot, width: int, height: int | None = None, keys: str = "") -> list[Text]:
    """Return the lines of a screen of so many columns and lines; of any number of lines where `height` is None.

    Where not all that runs or failed has room, first the empty lines go, then each running fit takes one line, then
    sections are cut.
    """
    head = _head(shot, width)
    below = [line([(keys, "dim")], [width])] if keys else []
    for gap, flat in ((1, width >= WIDE), (0, width >= WIDE), (0, True)):
        sections = [section for section in _sections(shot, width, flat) if section.things]
        room = None if height is None else height - len(head) - len(below) * (1 + gap)
        shown = fitted(sections, room, gap)
        if all(section.rank < _URGENT or len(section.things) == number for section, number in _pairs(sections, shown)):
            break
    empty = [line([], [])] * gap
    found = list(head)
    for section, number in _pairs(sections, shown):
        found += [] if number is None else [*empty, *section.lines(number)]
    found += [*empty, *below] if below else []
    if height is not None:
        for one in found:
            one.truncate(width, overflow="ellipsis")
    return found[:height]


def _pairs(sections: Sequence[Section], shown: Sequence[int | None]) -> list[tuple[Section, int | None]]:
    return list(zip(sections, shown, strict=True))


def as_text(shot: Snapshot, width: int) -> str:
    """Return all that is seen as plain text."""
    return "\n".join(one.plain.rstrip() for one in screenful(shot, width)) + "\n"


def summary(shot: Snapshot) -> str:
    """Return one sentence on the records, and what to type."""
    table = shlex.join(["zslbench", "table", *runs_option(shot.root)])
    if not shot.kept:
        words = ["zslbench", "run", "-m", "eszsl", "-d", "digits", *runs_option(shot.root)]
        return f"no records in {shot.root}; make some, for instance with `{shlex.join(words)}`"
    counts = Counter(one.status for one in shot.kept)
    methods, datasets = ({getattr(one, name) for one in shot.kept} for name in ("method", "dataset"))
    others = ", ".join(f"{number:,} {status}" for status, number in sorted(counts.items()) if status != "ok")
    return (
        f"{many(len(shot.kept), 'record')}{f' ({others})' if others else ''} of {many(len(methods), 'method')} on "
        f"{many(len(datasets), 'data set')} in {shot.root}; see them with `{table}`"
    )


def _head(shot: Snapshot, width: int) -> list[Text]:
    if not shot.running:
        lost = "; what was lost was killed, or its machine is gone: its command does the rest" if shot.lost else ""
        sentences = (summary(shot), *_left_out(shot))
        return [line([(f"nothing runs{lost}", "bold")], [0]), *(line([(text, "")], [0]) for text in sentences)]
    found = merged(shot.running)
    studies = [study for study, _ in found]
    total, ended = sum(one.total for one in studies), sum(one.ended for one in studies)
    failed, skipped = sum(one.failed for one in studies), sum(one.skipped for one in studies)
    doing = sum(len(one.running) for one in studies)
    growing = any(one.growing for one in studies)
    spent = max(seen.study.seconds + seen.since for seen in shot.running)
    lefts = [time_left(study, since) for study, since in found]
    known = [left for left in lefts if left is not None]
    left = f", about {clock(max(known))} left" if known and not growing else ""
    told = [f"{ended - failed - skipped:,} " + ("fits done" if growing else f"of {many(total, 'fit')} done")]
    told += [f"{failed:,} failed"] if failed else []
    told += [f"{skipped:,} skipped"] if skipped else []
    told += [f"{doing:,} running", "more to come" if growing else f"{max(0, total - ended - doing):,} to go"]
    title, time = f"zslbench watch {shot.root}", f"{clock(spent)}{left}"
    lines = [line([(title, "bold"), (time, "")], [max(1, width - len(time) - 2), 0])]
    if not growing:
        share = (ended + sum(_share(job) * job.company for one in studies for job in one.running)) / max(1, total)
        percent = f"{100 * share:.0f} %"
        lines.append(line([(bar(share, max(1, width - 7)), "cyan"), (percent, "")], [0, -5]))
    return [
        *lines,
        line([(", ".join(told), "")], [width]),
        *(line([(text, "red")], [width]) for text in _left_out(shot)),
    ]


def _left_out(shot: Snapshot) -> tuple[str, ...]:
    return tuple(one_line(text) for text in left_out(shot.broken))


def _sections(shot: Snapshot, width: int, flat: bool) -> list[Section]:
    return [
        Section("studies", _studies(shot.seen, width), _URGENT + 1),
        Section("running", _running(shot.running, width, flat), _URGENT + 2, 2),
        Section("last finished", _last(shot.last(_LAST), width), 1, 2),
        Section("failed", _failed(shot.failed(_FAILED), width), _URGENT),
        Section("records", _records(shot, width), 0, 3),
    ]


def _studies(seen: Sequence[Seen], width: int) -> list[list[Text]]:
    rows: list[list[Cell]] = []
    for one in seen:
        study, lost = one.study, one.state == "lost"
        of = "" if study.growing else f"/{study.total}"
        where = f"  {study.holder.host} {study.holder.pid}"
        rows.append([(where, ""), ("lost" if lost else clock(study.seconds + one.since), "red" if lost else "")])
        rows[-1] += [(f"{study.ended}{of}", ""), (study.command, "dim")]
    return _table(rows, width, 3, {0: 24}, right=(1, 2))


def _running(seen: Sequence[Seen], width: int, flat: bool) -> list[list[Text]]:
    jobs = [(job, one.since) for one in seen for job in one.study.running]
    rows: list[list[Cell]] = []
    for job, since in jobs:
        left = job_left(job, since)
        company = f"{job.company} fits at once  " if job.company > 1 else ""
        rows.append([(bar(_share(job), _BAR) if job.total else " " * _BAR, "cyan")])
        rows[-1] += [(f"{job.step}/{job.total}" if job.total else "", "")]
        time = f"{clock(job.seconds + since)} so far" if left is None else f"{clock(left)} left"
        rows[-1] += [(time, ""), (company + wording.losses(job.values), "dim")]
    if flat:
        room = max(_BAR, min(width // 2, width - _BAR - 24))
        named: list[list[Cell]] = [
            [(f"  {_short(str(job), room - 2)}", ""), *row] for (job, _), row in zip(jobs, rows, strict=True)
        ]
        return _table(named, width, 4, {0: room}, right=(2, 3))
    indented: list[list[Cell]] = [[(" " * 4 + row[0][0], row[0][1]), *row[1:]] for row in rows]
    below = _table(indented, width, 3, {}, right=(1, 2))
    names = [line([(f"  {_short(str(job), width - 2)}", "")], [width]) for job, _ in jobs]
    return [[name, *row] for name, row in zip(names, below, strict=True)]


def _share(job: Running) -> float:
    return min(1.0, job.step / job.total) if job.total else 0.0


def _last(found: Sequence[Ended], width: int) -> list[list[Text]]:
    took = ["" if one.kept.seconds is None else f"{one.kept.seconds:.1f} s" for one in found]
    room = width - max(map(len, took), default=0) - 6
    told = [_metrics(one.metrics, max(room - _NAME, room // 2)) for one in found]
    room -= max(map(len, told), default=0)
    rows: list[list[Cell]] = [
        [(f"  {_what(one, room, ())}", ""), (values, "green"), (seconds, "dim")]  # its metrics tell the protocols
        for one, values, seconds in zip(found, told, took, strict=True)
    ]
    return _table(rows, width, 0, {}, right=(2,))


def _metrics(values: Mapping[str, float], room: int) -> str:
    """Return as many metrics as have room, the first at least."""
    names = list(values)
    while len(names) > 1 and len(wording.metrics({name: values[name] for name in names})) > room:
        names.pop()
    return wording.metrics({name: values[name] for name in names})


def _failed(found: Sequence[Ended], width: int) -> list[list[Text]]:
    rows: list[list[Cell]] = []
    for one in found:
        what = _what(one, width // 2 - 2, one.protocols)
        rows.append([(f"  {what}", ""), (one.kept.why or one.kept.status, "red")])
    return _table(rows, width, 1, {0: width // 2})


def _records(shot: Snapshot, width: int) -> list[list[Text]]:
    counts = shot.counts()
    names = sorted({dataset for by in counts.values() for dataset in by})
    rows: list[list[Cell]] = [[("", ""), *((name, "dim") for name in names)]] if names else []
    for method, by in counts.items():
        rows.append([(f"  {method}", ""), *((_counted(by.get(name, Counter())), "") for name in names)])
    return _table(rows, width, 0, {}, right=range(1, len(names) + 1))


def _counted(counts: Counter[str]) -> str:
    said = [f"{number}{_STATUSES.get(status, f' {status}')}" for status, number in sorted(counts.items()) if number]
    return ", ".join(sorted(said, key=lambda one: not one.isdecimal()))


def _table(
    rows: Sequence[Sequence[Cell]], width: int, giving: int, most: dict[int, int], right: Sequence[int] = ()
) -> list[list[Text]]:
    if not rows:
        return []
    sizes = widths(rows, width, giving, most)
    sides = [-size if place in right else size for place, size in enumerate(sizes)]
    return [[line(row, sides)] for row in rows]


def _what(one: Ended, room: int, protocols: Sequence[str]) -> str:
    kept = one.kept
    return _short(wording.named(kept.label, kept.dataset, protocols, kept.stage, kept.fold, kept.seed), room)


def _short(name: str, room: int) -> str:
    """Return a name in so much room: where it is too long, without what stands in brackets."""
    return name if len(name) <= room else _BRACKETS.sub("[…]", name)
