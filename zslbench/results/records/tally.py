"""The records of a folder, counted again and again while others write them: each file is read once."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from zslbench.errors import StoreError
from zslbench.files import read_problem
from zslbench.results.records.live import clean
from zslbench.results.records.store import read_record, record_folders
from zslbench.results.records.wording import last_line

SETTLED = 2.0
"""Seconds after a change in which a folder may change once more without a new time: so coarse are some clocks."""
_Stamp = tuple[int, int, int]


@dataclasses.dataclass(frozen=True, slots=True)
class Kept:
    """What a record tells at a glance, fit for a terminal.

    `time`: of its file; `seconds`: that it takes alone, None where nobody knows; `why`: the last line of its error.
    """

    time: float
    label: str
    method: str
    dataset: str
    protocol: str
    stage: str
    fold: int
    seed: int
    status: str
    metrics: Mapping[str, float]
    seconds: float | None
    why: str

    @property
    def fit(self) -> tuple[str, str, str, int, int]:
        """What records of one fit have in common."""
        return self.label, self.dataset, self.stage, self.fold, self.seed


@dataclasses.dataclass
class _Folder:
    """A folder of records: its files as they were read, and when it was last seen to change."""

    time: int = -1
    changed: float = 0.0
    files: dict[str, tuple[_Stamp, Kept | str]] = dataclasses.field(default_factory=dict)
    problem: str = ""


class Tally:
    """Knows the records below a root; `read` takes in what has come, gone or changed since.

    A folder is listed only when its time has changed, a file read only when it is new or another.
    """

    def __init__(self, root: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.root, self._clock = root, clock
        self._folders: dict[Path, _Folder] = {}
        self._kept: tuple[Kept, ...] = ()
        self._broken: tuple[str, ...] = ()
        self.broken: tuple[str, ...] = ()

    def read(self) -> tuple[Kept, ...]:
        """Return what is kept, in order of time; `broken` says what is no record, or cannot be read.

        Raises:
            StoreError: the root is no folder.
        """
        before, self._folders = self._folders, {}
        changed = False
        folders, unreadable_folders = record_folders(self.root)
        for path in folders:
            self._folders[path] = folder = before.pop(path, None) or _Folder()
            changed |= self._update(path, folder)
        if changed or before:
            every = [kept for folder in self._folders.values() for _, kept in folder.files.values()]
            self._kept = tuple(sorted((one for one in every if isinstance(one, Kept)), key=lambda kept: kept.time))
            self._broken = tuple(one for one in every if isinstance(one, str))
        problems = (folder.problem for folder in self._folders.values() if folder.problem)
        self.broken = (*(reason for _, reason in unreadable_folders), *problems, *self._broken)
        return self._kept

    def _update(self, path: Path, folder: _Folder) -> bool:
        """Take in a folder; return whether it was listed."""
        try:
            found, now = path.stat().st_mtime_ns, self._clock()
            if found == folder.time and now - folder.changed > SETTLED:
                return False
            if found != folder.time:
                folder.time, folder.changed = found, now
            with os.scandir(path) as entries:
                stamps = {one.name: _stamp(one.stat()) for one in entries if one.name.endswith(".json")}
        except FileNotFoundError:
            return False  # removed meanwhile; the next reading sees it
        except OSError as error:
            folder.problem, folder.time = read_problem(path, error), -1
            return False
        folder.problem = ""
        known = folder.files
        folder.files = {
            name: known[name] if name in known and known[name][0] == stamp else (stamp, _kept(path / name, stamp))
            for name, stamp in stamps.items()
        }
        return folder.files != known


def _stamp(found: os.stat_result) -> _Stamp:
    return found.st_mtime_ns, found.st_size, found.st_ino


def _kept(path: Path, stamp: _Stamp) -> Kept | str:
    """Return what a record tells, or why a file tells nothing."""
    try:
        record = read_record(path)
    except (OSError, StoreError) as error:
        return str(error)
    return Kept(
        time=stamp[0] / 1e9,
        label=clean(str(record.method.get("label") or record.method["name"])),
        method=clean(record.method["name"]),
        dataset=clean(record.dataset["name"]),
        protocol=clean(record.protocol["name"]),
        stage=record.stage,
        fold=record.fold,
        seed=record.seed,
        status=record.status,
        metrics={clean(name): value for name, value in record.metrics.items()},
        seconds=_number(record.timings.get("total")) if record.seconds_known else None,
        why="" if record.ok else clean(last_line(record.error)),
    )


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
