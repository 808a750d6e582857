"""A folder of records at one moment, looked at again and again: what runs, what ended, what is kept."""

from __future__ import annotations

import dataclasses
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from zslbench.errors import StoreError
from zslbench.files import json_text, read_problem
from zslbench.results.records.live import LiveFolder, SeenStudy, clean
from zslbench.results.records.record import Record
from zslbench.results.records.store import read_record, record_folders
from zslbench.visible import last_line

SCHEMA = 1
SETTLED = 2.0
"""Seconds after a change in which a folder may change once more without a new time: so coarse are some clocks."""
_BAD = ("failed", "crashed", "timeout")
_MOST_ENDED = 20
"""Fits that ended, of either kind, which the JSON document holds."""


@dataclasses.dataclass(frozen=True)
class EndedFit:
    """Records of one fit that ended alike: the latest of them, all protocols, and the metrics of all."""

    record: Record
    protocols: tuple[str, ...]
    metrics: Mapping[str, float]

    @property
    def seconds(self) -> float | None:
        """Seconds that it takes alone; None where nobody knows."""
        return float(self.record.timings.get("total", 0.0)) if self.record.seconds_known else None


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """What `watch` sees.

    Attributes:
        root: the folder of records.
        seen: the studies that run or were lost.
        records: all that are kept, without their curves and with the last line of their error, in order of time.
        broken: a sentence on each file that is no record, and each folder that cannot be read.
        text: all of it, as asked for.
    """

    root: Path
    seen: tuple[SeenStudy, ...] = ()
    records: tuple[Record, ...] = ()
    broken: tuple[str, ...] = ()
    text: str = ""

    @property
    def running(self) -> tuple[SeenStudy, ...]:
        """The studies that run."""
        return tuple(item for item in self.seen if item.state == "running")

    @property
    def lost(self) -> tuple[SeenStudy, ...]:
        """The studies that were killed, or not heard of for long."""
        return tuple(item for item in self.seen if item.state == "lost")

    def last(self, most: int) -> list[EndedFit]:
        """Return the fits that ended well last, the latest first."""
        return self._ended(("ok",), most)

    def failed(self, most: int) -> list[EndedFit]:
        """Return the fits whose record tells of a bad end, the latest first."""
        return self._ended(_BAD, most)

    def _ended(self, statuses: tuple[str, ...], most: int) -> list[EndedFit]:
        fits: dict[tuple[Any, ...], list[Record]] = {}
        for record in reversed(self.records):
            if record.status not in statuses:
                continue
            fit = (record.label, record.dataset["name"], record.stage, record.fold, record.seed)
            key = (*fit, record.status, record.error)
            if key not in fits and len(fits) == most:
                break
            fits.setdefault(key, []).append(record)
        ended = []
        for latest, *others in fits.values():
            by_protocol = sorted([latest, *others], key=lambda record: str(record.protocol["name"]), reverse=True)
            metrics = {name: value for record in by_protocol for name, value in record.metrics.items()}
            ended.append(EndedFit(latest, tuple(record.protocol["name"] for record in by_protocol), metrics))
        return ended

    def counts(self) -> dict[str, dict[str, Counter[str]]]:
        """Return how many records there are, by method, data set and status."""
        counts: dict[str, dict[str, Counter[str]]] = {}
        for record in sorted(self.records, key=lambda record: (record.method["name"], record.dataset["name"])):
            by_dataset = counts.setdefault(record.method["name"], {})
            by_dataset.setdefault(record.dataset["name"], Counter())[record.status] += 1
        return counts

    def to_json(self) -> str:
        """Return what is seen as one JSON object; durations in seconds, metrics as fractions."""
        document = {
            "schema": SCHEMA,
            "runs": str(self.root),
            "state": "running" if self.running else "idle",
            "studies": [_study_facts(seen) for seen in self.seen],
            "last": [_fit_facts(ended) for ended in self.last(_MOST_ENDED)],
            "failed": [_fit_facts(ended) for ended in self.failed(_MOST_ENDED)],
            "records": [
                {"method": method, "dataset": dataset, **statuses}
                for method, by in self.counts().items()
                for dataset, statuses in by.items()
            ],
            "broken": list(self.broken),
        }
        return json_text(document)


def _study_facts(seen: SeenStudy) -> dict[str, Any]:
    facts = msgspec.json.decode(seen.study.to_json())
    for fit_facts, fit in zip(facts["running"], seen.study.running, strict=True):
        fit_facts["seconds_left"] = _round(fit.seconds_left(seen.since))
    left = seen.study.seconds_left(seen.since) if seen.state == "running" else None
    return {"state": seen.state, "seconds_left": _round(left), "total": seen.study.total, **facts}


def _round(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _fit_facts(ended: EndedFit) -> dict[str, Any]:
    record = ended.record
    return {
        "label": record.label,
        "dataset": record.dataset["name"],
        "protocols": list(ended.protocols),
        **{name: getattr(record, name) for name in ("stage", "fold", "seed", "status")},
        "metrics": dict(ended.metrics),
        "seconds": ended.seconds,
        "error": record.error,
    }


_Stamp = tuple[int, int, int]


@dataclasses.dataclass
class _Folder:
    """A folder of records: its files as they were read (or why not), and when it was last seen to change."""

    time: int = -1
    changed: float = 0.0
    files: dict[str, tuple[_Stamp, Record | str]] = dataclasses.field(default_factory=dict)
    problem: str = ""


class Watcher:
    """Looks at a folder of records and its live files; `look` takes in what has come, gone or changed since.

    A folder is listed only when its time has changed, a file read only when it is new or another.
    """

    def __init__(self, root: Path, live: LiveFolder | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.root, self._clock = root, clock
        self.live = live or LiveFolder(root)
        self._folders: dict[Path, _Folder] = {}
        self._records: tuple[Record, ...] = ()
        self._broken: tuple[str, ...] = ()

    def look(self) -> Snapshot:
        """Return what is seen now.

        Raises:
            StoreError: the root is no folder.
        """
        before, self._folders = self._folders, {}
        changed = False
        folders, unread = record_folders(self.root)
        for path in folders:
            self._folders[path] = folder = before.pop(path, None) or _Folder()
            changed |= self._update(path, folder)
        if changed or before:
            files = [file for folder in self._folders.values() for file in folder.files.values()]
            files.sort(key=lambda file: file[0][0])
            self._records = tuple(content for _, content in files if isinstance(content, Record))
            self._broken = tuple(content for _, content in files if isinstance(content, str))
        problems = (folder.problem for folder in self._folders.values() if folder.problem)
        broken = (*(reason for _, reason in unread), *problems, *self._broken)
        return Snapshot(self.root, tuple(self.live.read()), self._records, broken)

    def _update(self, path: Path, folder: _Folder) -> bool:
        """Take in a folder; return whether it has changed."""
        try:
            changed, now = path.stat().st_mtime_ns, self._clock()
            if changed == folder.time and now - folder.changed > SETTLED:
                return False
            if changed != folder.time:
                folder.time, folder.changed = changed, now
            with os.scandir(path) as entries:
                stats = {entry.name: entry.stat() for entry in entries if entry.name.endswith(".json")}
        except FileNotFoundError:
            return False  # removed meanwhile; the next reading sees it
        except OSError as error:
            folder.problem, folder.time = read_problem(path, error), -1
            return False
        folder.problem, known, folder.files = "", folder.files, {}
        for name, stat in stats.items():
            stamp = stat.st_mtime_ns, stat.st_size, stat.st_ino
            is_known = name in known and known[name][0] == stamp
            folder.files[name] = known[name] if is_known else (stamp, _read(path / name))
        return folder.files != known


def _read(path: Path) -> Record | str:
    """Return what is shown of a record, or why a file is none."""
    try:
        record = read_record(path)
    except (OSError, StoreError) as error:
        return str(error)
    return dataclasses.replace(record, curve=(), error="" if record.ok else clean(last_line(record.error)))
