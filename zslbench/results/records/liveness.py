"""Which studies run below a folder of records, and which were lost: killed, or on a machine that is gone."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from zslbench.errors import StoreError
from zslbench.files import read_regular
from zslbench.results.records.live import BEAT, SILENT, Study, live_folder

State = Literal["running", "lost"]
_LARGEST_FILE = 2**20
_Stamp = tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class Seen:
    """A study, whether it runs, and how many seconds ago it was heard of, as far as this reader knows."""

    path: Path
    study: Study
    state: State
    since: float = 0.0


@dataclasses.dataclass
class _Entry:
    """A file as it was last read; `changed` and `first` are on the reader's clock."""

    stamp: _Stamp
    study: Study | None
    first: float
    changed: float
    old: bool


class LiveFolder:
    """Reads the files of coordinators again and again, each only when it has changed.

    On this machine a study is lost when its process is gone. Elsewhere its file tells: it runs as long as that changes.
    Only where it has not been watched long enough are the two machines' clocks compared, and
    `undecided` says that it is worth waiting for a beat.
    """

    def __init__(
        self,
        root: Path,
        clock: Callable[[], float] = time.monotonic,
        today: Callable[[], float] = time.time,
    ) -> None:
        self.folder = live_folder(root)
        self._clock, self._today = clock, today
        self._entries: dict[Path, _Entry] = {}

    def read(self) -> list[Seen]:
        """Return the studies that there are, those that began first before others; what is no such file is left out."""
        try:
            paths = sorted(self.folder.glob("*.json"))
        except OSError:
            paths = []
        before, self._entries = self._entries, {}
        for path in paths:
            if (entry := self._entry(path, before.get(path))) is not None:
                self._entries[path] = entry
        found = [self._seen(path, entry.study, entry) for path, entry in self._entries.items() if entry.study]
        return sorted(found, key=lambda seen: (-seen.study.seconds, seen.path))

    @property
    def undecided(self) -> bool:
        """Whether a study of another machine looks lost, but was not watched for two beats yet."""
        now = self._clock()
        return any(
            entry.old and entry.study and now - entry.first < 2 * BEAT and entry.study.holder.alive() is None
            for entry in self._entries.values()
        )

    def _entry(self, path: Path, before: _Entry | None) -> _Entry | None:
        try:
            found = path.stat()
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
            if before and before.stamp == stamp:
                return before
            study = Study.from_json(read_regular(path), str(path)) if found.st_size <= _LARGEST_FILE else None
        except StoreError:
            study = None
        except OSError:
            return None  # removed meanwhile, or not ours to read
        now = self._clock()
        if before:
            return _Entry(stamp, study, before.first, now, old=False)
        age = abs(self._today() - found.st_mtime)
        return _Entry(stamp, study, now, now - (age if age > SILENT else 0.0), old=age > SILENT)

    def _seen(self, path: Path, study: Study, entry: _Entry) -> Seen:
        since = self._clock() - entry.changed
        alive = study.holder.alive()
        lost = since > SILENT if alive is None else not alive
        return Seen(path, study, "lost" if lost else "running", 0.0 if lost or entry.old else since)
