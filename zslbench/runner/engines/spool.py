"""A folder through which jobs of a cluster tell their coordinator what happens, on a file system that both see."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import pickle
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from zslbench.results.records.leases import Holder
from zslbench.runner.engines.doing import Done, Message
from zslbench.runner.jobs import Batch, Job

_LIFE = "coordinator"
_CONTENTS = "runs.json"
BEAT = 10.0
"""Seconds between two signs of life of the coordinator."""
GONE_AFTER = 300.0
"""Seconds without one after which a job ends by itself."""
KEPT = 14 * 86400.0
"""Seconds after which results that no study asked for again are removed."""


class Spool:
    """Messages as files, one a message, in a folder for each batch; the coordinator takes them away."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute() / f"spool-{secrets.token_hex(8)}"
        self.folder.mkdir(parents=True)
        self._holder = json.dumps(dataclasses.asdict(Holder.here()))
        self._beaten = -math.inf
        self.beat()

    def beat(self) -> None:
        """Give a sign of life, if it is time for one."""
        if time.monotonic() - self._beaten >= BEAT:
            self._beaten = time.monotonic()
            with contextlib.suppress(OSError):  # a full disk is told of when a record is written
                (self.folder / _LIFE).write_text(f"{secrets.token_hex(8)}\n{self._holder}")

    def open_box(self, number: int, batch: Batch) -> Path:
        """Make the folder of one batch, which says what runs its messages tell of."""
        box = self.box(number)
        box.mkdir()
        (box / _CONTENTS).write_text(json.dumps([_key(job) for job in batch.jobs]))
        return box

    def box(self, number: int) -> Path:
        """Return the folder of one batch."""
        return self.folder / str(number)

    def take(self, number: int) -> Iterator[Message]:
        """Return the messages of one batch that have come, in order."""
        for path in sorted(self.box(number).glob("*.message")):
            message: Message = pickle.loads(path.read_bytes())
            path.unlink()
            yield message

    def remove(self) -> None:
        """Remove the folder: a job that still runs finds no sign of life, and ends."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Leftovers:
    """Results that jobs wrote for coordinators that are gone, by the runs that they tell of.

    Only folders of this user are read: a message is a pickle. Folders without results are removed once their jobs must
    have ended, too.
    """

    def __init__(self, own: Spool) -> None:
        self._boxes: dict[Path, set[Path]] = {}
        self._found: dict[str, list[tuple[Path, list[Message]]]] = {}
        now = (own.folder / _LIFE).stat().st_mtime  # by the clock of the file system
        for spool in sorted(own.folder.parent.glob("spool-*")):
            with contextlib.suppress(OSError):
                age = now - (spool / _LIFE).stat().st_mtime
                if not _abandoned(spool, age):
                    continue
                results = {path for box in spool.iterdir() if box.is_dir() for path in self._read(box)}
                if results and age < KEPT:
                    self._boxes[spool] = results
                elif age > GONE_AFTER:
                    shutil.rmtree(spool, ignore_errors=True)

    def _read(self, box: Path) -> Iterator[Path]:
        """Take note of the messages on each job of a box that came to its end; yield the files with the ends."""
        try:
            keys = json.loads((box / _CONTENTS).read_text())
            heard: dict[int, list[Message]] = {}
            for path in sorted(box.glob("*.message")):
                message: Message = pickle.loads(path.read_bytes())
                heard.setdefault(message.job, []).append(message)
                if isinstance(message, Done):
                    self._found.setdefault(keys[message.job], []).append((path, heard.pop(message.job)))
                    yield path
        except Exception:  # whatever a job that was cut short, or another version, left there: it is done again
            return

    def take(self, job: Job) -> list[Message]:
        """Return what was told of a job, up to its end; nothing where it did not come to that. It is asked for once."""
        if not (found := self._found.get(_key(job))):
            return []
        path, messages = found.pop()
        path.unlink(missing_ok=True)
        for spool, results in list(self._boxes.items()):
            results.discard(path)
            if not results:
                shutil.rmtree(spool, ignore_errors=True)
                del self._boxes[spool]
        return messages


def _abandoned(spool: Path, age: float) -> bool:
    """Return whether the coordinator of a spool of ours is gone, `age` seconds after its last sign of life."""
    if spool.stat().st_uid != os.getuid():
        return False
    holder = Holder.from_json((spool / _LIFE).read_text().partition("\n")[2])
    alive = holder.alive() if holder else None
    return age > GONE_AFTER if alive is None else not alive


def _key(job: Job) -> str:
    return " ".join(sorted(run.id for run in job.runs))


class Sender:
    """Writes messages into the box of a batch, each whole or not at all."""

    def __init__(self, box: Path) -> None:
        self.box, self.count = box, 0
        box.mkdir(exist_ok=True)

    def __call__(self, message: Message) -> None:
        """Write one."""
        self.count += 1
        path = self.box / f"{self.count:09}.message"
        path.with_suffix(".part").write_bytes(pickle.dumps(message))
        path.with_suffix(".part").rename(path)


def end_without_coordinator(folder: Path) -> None:
    """Let this process end when the coordinator has given no sign of life for `GONE_AFTER` seconds.

    ``$ZSLBENCH_COORDINATOR_GONE_AFTER`` says another number.
    """
    patience = float(os.environ.get("ZSLBENCH_COORDINATOR_GONE_AFTER", GONE_AFTER))

    def watch() -> None:
        seen, since = "", time.monotonic()
        while time.monotonic() - since < patience:
            time.sleep(patience / 20)
            with contextlib.suppress(OSError):
                if (now := (folder / _LIFE).read_text()) != seen:
                    seen, since = now, time.monotonic()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
