"""A file that is written anew while this process lives, by a thread of its own that can fail or delay nothing."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

from zslbench.errors import StoreError
from zslbench.results.records.live import BEAT, EVERY, Study

SOON = 0.2
"""Seconds before the first writing: what ends sooner costs nothing, and nobody could watch it."""
FORGOTTEN = 600.0
"""Seconds without a word after which a file is cleared away whose process cannot be asked for."""
_PATIENCE = 2.0


class Heartbeat:
    """Keeps `path` up to date from entering to leaving, then removes it.

    It is written whole or not at all: after a fifth of a second, then as soon as there is news but at most once a
    second, and every five seconds when there is none. There is no fsync: what a crash loses of it is worth nothing.

    Attributes:
        path: the file.
        problem: why it could not be written, the last time that it was tried; empty when it could.
    """

    def __init__(self, path: Path, text: Callable[[], str]) -> None:
        self.path, self.problem = path, ""
        self._text, self._temporary = text, path.with_suffix(".tmp")
        self._news, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="zslbench-heartbeat", daemon=True)

    def news(self) -> None:
        """Have the file written soon."""
        self._news.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._over.set()
        self._news.set()
        self._thread.join(_PATIENCE)
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
            self._temporary.unlink(missing_ok=True)
            self.path.parent.rmdir()  # only the last to leave can

    def _go_on(self) -> None:
        if not self._over.wait(SOON):
            self._write()
        with contextlib.suppress(OSError):
            clear_lost(self.path)
        while not self._over.wait(EVERY):
            self._news.wait(BEAT - EVERY)
            if self._over.is_set():
                return
            self._news.clear()
            self._write()

    def _write(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._temporary.write_text(self._text(), encoding="utf-8")
            self._temporary.replace(self.path)
            self.problem = ""
        except OSError as error:
            self.problem = error.strerror or str(error)
        except Exception as error:  # whatever it is, the work goes on
            self.problem = f"{type(error).__name__}: {error}"


def clear_lost(own: Path) -> None:
    """Remove what studies left that were killed, beside `own`, which has just been written or, by a short run, was not.

    One whose process cannot be asked for goes when its file is ten minutes older than `own`: both times are of the same
    file system. Without `own` it stays.
    """
    now = own.stat().st_mtime if own.exists() else 0.0
    for path in [*own.parent.glob("*.json"), *own.parent.glob("*.tmp")]:
        with contextlib.suppress(OSError, StoreError):  # gone meanwhile, or not ours to judge
            gone = now - path.stat().st_mtime > FORGOTTEN
            if path.suffix == ".json":
                alive = Study.from_json(path.read_bytes(), str(path)).holder.alive()
                gone = path != own and (gone if alive is None else not alive)
            if gone:
                path.unlink(missing_ok=True)
