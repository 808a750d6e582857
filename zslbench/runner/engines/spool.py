"""A folder through which jobs of a cluster tell their coordinator what happens, on a file system that both see."""

from __future__ import annotations

import contextlib
import os
import pickle
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from zslbench.runner.engines.doing import Message

_LIFE = "coordinator"
BEAT = 10.0
"""Seconds between two signs of life of the coordinator."""
GONE_AFTER = 300.0
"""Seconds without one after which a job ends by itself."""


class Spool:
    """Messages as files, one a message, in a folder for each batch; the coordinator takes them away."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute() / f"spool-{secrets.token_hex(8)}"
        self.folder.mkdir(parents=True)
        self._beaten = 0.0
        self.beat()

    def beat(self) -> None:
        """Give a sign of life, if it is time for one."""
        if time.monotonic() - self._beaten >= BEAT:
            self._beaten = time.monotonic()
            with contextlib.suppress(OSError):  # a full disk is told of when a record is written
                (self.folder / _LIFE).write_text(secrets.token_hex(8))

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
