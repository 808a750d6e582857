"""Folders through which workers say what happens: a message is a file, written whole or not at all."""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from zslbench.results.records.leases import Holder, is_gone
from zslbench.runner.executors.base import Done, Lost, Message
from zslbench.runner.runs import Job

_LIFE = "coordinator"
BEAT = 10.0
"""Seconds between two signs of life of the coordinator."""
GONE_AFTER = 300.0
"""Seconds without one after which a job ends by itself."""
KEPT = 14 * 86400.0
"""Seconds after which results that no study asked for again are removed."""


class Mailbox:
    """The messages of one task; its worker writes them, and the coordinator takes them away."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._count, self._lock = folder, 0, threading.Lock()

    def send(self, message: Message | Lost) -> None:
        """Write a message."""
        with self._lock:
            self._count += 1
            path = self.folder / f"{self._count:09}.message"
            path.with_suffix(".part").write_bytes(pickle.dumps(message))
            path.with_suffix(".part").rename(path)

    def take(self) -> Iterator[Message | Lost]:
        """Return the messages that have come, in order."""
        for path in sorted(self.folder.glob("*.message")):
            message: Message | Lost = pickle.loads(path.read_bytes())
            path.unlink()
            yield message


class Spool:
    """A folder with a mailbox for each job of a cluster, on a file system that jobs and coordinator both see."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute() / f"spool-{secrets.token_hex(8)}"
        self.folder.mkdir(parents=True)
        self._holder = Holder.here().to_json()
        self._beaten, self._boxes = -math.inf, 0
        self.beat()

    def beat(self) -> None:
        """Give a sign of life, if it is time for one."""
        if time.monotonic() - self._beaten >= BEAT:
            self._beaten = time.monotonic()
            with contextlib.suppress(OSError):  # a full disk is told of when a record is written
                (self.folder / _LIFE).write_text(f"{secrets.token_hex(8)}\n{self._holder}")

    def open_mailbox(self) -> Mailbox:
        """Make one more mailbox."""
        self._boxes += 1
        folder = self.folder / str(self._boxes)
        folder.mkdir()
        return Mailbox(folder)

    def remove(self) -> None:
        """Remove the folder: a job that still runs finds no sign of life, and ends."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Leftovers:
    """What jobs finished for coordinators that are gone, by the key of the job.

    Only folders of this user are read: a message is a pickle. Folders without results are removed once their jobs must
    have ended, too.
    """

    def __init__(self, spool: Spool) -> None:
        self._results: dict[Path, set[Path]] = {}
        self._messages: dict[str, list[tuple[Path, list[Message]]]] = {}
        now = (spool.folder / _LIFE).stat().st_mtime  # by the clock of the file system
        for folder in sorted(spool.folder.parent.glob("spool-*")):
            with contextlib.suppress(OSError):
                age = now - (folder / _LIFE).stat().st_mtime
                if not _abandoned(folder, age):
                    continue
                results = {path for box in folder.iterdir() if box.is_dir() for path in self._read(box)}
                if results and age < KEPT:
                    self._results[folder] = results
                elif age > GONE_AFTER:
                    shutil.rmtree(folder, ignore_errors=True)

    def _read(self, box: Path) -> Iterator[Path]:
        """Take note of the messages on each job of a mailbox that came to its end; yield the files with the ends."""
        try:
            heard: dict[str, list[Message]] = {}
            for path in sorted(box.glob("*.message")):
                message: Message = pickle.loads(path.read_bytes())
                heard.setdefault(message.job, []).append(message)
                if isinstance(message, Done):
                    self._messages.setdefault(message.job, []).append((path, heard.pop(message.job)))
                    yield path
        except Exception:  # whatever a job that was cut short, or another version, left there: it is done again
            return

    def take(self, job: Job) -> list[Message]:
        """Return what was said of a job, up to its end; nothing where it did not come to that. It is asked for once."""
        if not (ended := self._messages.get(job.key)):
            return []
        path, messages = ended.pop()
        path.unlink(missing_ok=True)
        for folder, results in list(self._results.items()):
            results.discard(path)
            if not results:
                shutil.rmtree(folder, ignore_errors=True)
                del self._results[folder]
        return messages


def _abandoned(folder: Path, age: float) -> bool:
    """Return whether the coordinator of a spool of ours is gone, `age` seconds after its last sign of life."""
    if folder.stat().st_uid != os.getuid():
        return False
    holder = Holder.from_json((folder / _LIFE).read_text().partition("\n")[2])
    return is_gone(holder, age > GONE_AFTER)


def end_without_coordinator(folder: Path) -> None:
    """Let this process end when no sign of life has come to a spool's folder for `GONE_AFTER` seconds.

    ``$ZSLBENCH_COORDINATOR_GONE_AFTER`` says another number.
    """
    patience = float(os.environ.get("ZSLBENCH_COORDINATOR_GONE_AFTER", GONE_AFTER))

    def watch() -> None:
        sign, since = "", time.monotonic()
        while time.monotonic() - since < patience:
            time.sleep(patience / 20)
            with contextlib.suppress(OSError):
                if (now := (folder / _LIFE).read_text()) != sign:
                    sign, since = now, time.monotonic()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
