"""Claims: which coordinator of a shared folder of records does which run, so that no run is done twice.

A claim is a file ``.claims/<run id>`` that only one coordinator can create, on NFS too. It is a hard link of its
holder's own file ``.claims/<token>.holder``, whose time of change a thread renews: one touch keeps all claims alive.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import platform
import re
import secrets
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from zslbench.files import write_error
from zslbench.machine import machine, process_born

FOLDER = ".claims"
HOLDER = ".holder"
BEAT = 10.0
"""Seconds between two signs of life."""
STALE_AFTER = 150.0
"""Seconds without a sign of life after which a claim is stale: longer than NFS may show an old time of change."""

_TOKEN = re.compile(r"[0-9a-f]{16}")
_TRIES = 5
_SAME_BIRTH = 0.005 if sys.platform == "linux" else 60.0
"""Seconds by which the birth of one process may seem to differ: half a tick, or what the setting of a clock may do."""


@dataclasses.dataclass(frozen=True)
class Holder:
    """Who holds a claim.

    Attributes:
        token: names the coordinator; no two are alike.
        host: the machine's name; machine: what tells it from every other (see `zslbench.machine`).
        pid, born: the process, and when it began (see `zslbench.machine.process_born`).
        started: time of day, UTC.
    """

    token: str
    host: str
    machine: str
    pid: int
    born: float
    started: str

    @classmethod
    def here(cls) -> Holder:
        """Return this process as a holder, under a token of its own."""
        started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        born = process_born(os.getpid()) or 0.0
        return cls(secrets.token_hex(8), platform.node(), machine(), os.getpid(), born, started)

    @classmethod
    def from_json(cls, text: str) -> Holder | None:
        """Read a holder back; None when the text tells of none."""
        try:
            found = cls(**json.loads(text))
        except (ValueError, TypeError, RecursionError):
            return None
        kinds = {"token": str, "host": str, "machine": str, "pid": int, "born": float, "started": str}
        right = all(type(getattr(found, name)) is kind for name, kind in kinds.items())
        return found if right and _TOKEN.fullmatch(found.token) and 0 < found.pid < 2**31 else None

    def alive(self) -> bool | None:
        """Return whether the process is there; None when that cannot be told from here."""
        if self.machine != machine():
            return None
        if (born := process_born(self.pid)) is None:
            return False
        return True if abs(born - self.born) < _SAME_BIRTH else None

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class Watch:
    """Tells which holders are gone: by their process on this machine, else by signs of life that do not come.

    No clock of another machine is read: a holder is gone when its file did not change while *this* process looked on
    for long enough.
    """

    def __init__(self, folder: Path, stale_after: float = STALE_AFTER) -> None:
        self.folder, self.stale_after = folder, stale_after
        self._seen: dict[str, tuple[object, float]] = {}

    def gone(self, claim: Path, text: str) -> bool:
        """Return whether the holder that wrote `text` into a claim is gone."""
        holder = Holder.from_json(text)
        alive = holder.alive() if holder else None
        if alive is not None:
            return not alive
        key = holder.token if holder else claim.name
        sign = (text, _changed(self.folder / f"{key}{HOLDER}" if holder else claim))
        before = self._seen.get(key)
        if before is None or before[0] != sign:
            self._seen[key] = (sign, time.monotonic())
            return False
        return time.monotonic() - before[1] > self.stale_after


class Claims:
    """The claims of this coordinator on runs in one folder of records.

    Use as a context: a thread shows that the coordinator lives, and what is still claimed at the end is released.

    Attributes:
        mine: ids of the runs that are claimed now.
    """

    def __init__(self, root: Path, *, beat: float = BEAT, stale_after: float = STALE_AFTER) -> None:
        self.folder = root / FOLDER
        self.holder = Holder.here()
        self.watch = Watch(self.folder, stale_after)
        self.mine: set[str] = set()
        self._beat = beat
        self._text = json.dumps(dataclasses.asdict(self.holder))
        self._file = self.folder / f"{self.holder.token}{HOLDER}"
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread:
            self._thread.join(BEAT)  # longer only where the file system hangs
        self.release(list(self.mine))
        with contextlib.suppress(OSError):
            self._file.unlink(missing_ok=True)
            self.folder.rmdir()  # only where no other coordinator has a file there

    def take(self, id: str) -> bool:
        """Claim a run; return whether it is ours now. A claim whose holder is gone is taken over.

        Raises:
            StoreError: the folder cannot be written to.
        """
        try:
            self._begin()
            for _ in range(_TRIES):
                if self._create(self.folder / id):
                    break
                if (found := self._chain(id)) is None:
                    continue  # it was released just now
                if not self._take_over(id, found):
                    return False
                break
            else:
                return False
        except OSError as error:
            raise write_error(error, f"a claim on run {id}", self.folder) from None
        self.mine.add(id)
        return True

    def holds(self, id: str) -> bool:
        """Return whether a claim is still ours: another may have taken it over while this process stood still."""
        try:
            return _text(self.folder / id) == self._text
        except OSError:
            return True  # nobody is known to have taken it over

    def release(self, ids: Iterable[str]) -> None:
        """Give up claims: the records are kept, or the runs are not done after all."""
        for one in ids:
            self.mine.discard(one)
            with contextlib.suppress(OSError):
                if _text(self.folder / one) == self._text:
                    (self.folder / one).unlink()

    def holder_of(self, id: str) -> Holder | None:
        """Return who else holds a claim on a run, as far as that can be read."""
        return holder_in(self.folder / id)

    def _begin(self) -> None:
        if self._thread and self._file.exists():
            return
        for left in reversed(range(_TRIES)):
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                self._file.write_text(self._text, encoding="utf-8")
                break
            except FileNotFoundError:  # the last coordinator that left took the empty folder with it
                if not left:
                    raise
        if not self._thread:
            self._thread = threading.Thread(target=self._live, name="claims", daemon=True)
            self._thread.start()

    def _live(self) -> None:
        while not self._ended.wait(self._beat):
            with contextlib.suppress(OSError):
                os.utime(self._file)  # the time is the file server's

    def _create(self, path: Path) -> bool:
        """Create a claim that nobody has, whole at once; return False when somebody has it."""
        try:
            os.link(self._file, path)
            return True
        except FileExistsError:
            return _text(path) == self._text  # NFS may ask twice, and be told that its own link is there
        except OSError:
            pass  # no hard links here, or too many of one file
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(self._text)
        except FileExistsError:
            return _text(path) == self._text
        return True

    def _chain(self, id: str) -> list[tuple[Path, str]] | None:
        """Return the claim and its successors, each with what it holds; None where there is none."""
        found: list[tuple[Path, str]] = []
        path = self.folder / id
        while (text := _text(path)) is not None:
            found.append((path, text))
            path = self.folder / f"{id}.{len(found)}"
        return found or None

    def _take_over(self, id: str, found: list[tuple[Path, str]]) -> bool:
        """Take over a claim all of whose holders are gone.

        Only one coordinator can create the successor ``<id>.<n>``. It looks again whether the claim is still the one
        that was judged, then moves the successor into its place. Whoever dies in between has a successor, too.
        """
        if not all(self.watch.gone(path, text) for path, text in found):
            return False
        successor = self.folder / f"{id}.{len(found)}"
        if not self._create(successor):
            return False
        if any(_text(path) != text for path, text in found):
            successor.unlink(missing_ok=True)
            return False
        # os.replace does nothing where both names are links of one file; these are not: the old holder is another
        os.replace(successor, self.folder / id)  # noqa: PTH105
        for path, _ in reversed(found[1:]):
            path.unlink(missing_ok=True)
        for _, text in found:
            if (holder := Holder.from_json(text)) and holder.alive() is False:  # on this machine, and so for certain
                (self.folder / f"{holder.token}{HOLDER}").unlink(missing_ok=True)
        return True


def holder_in(path: Path) -> Holder | None:
    """Return the holder that a claim tells of; None where there is none that can be read."""
    with contextlib.suppress(OSError):
        return Holder.from_json(_text(path) or "")
    return None


def _text(path: Path) -> str | None:
    """Return what a claim holds: None where there is none, nothing where another user hides it."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except PermissionError:
        return ""


def _changed(path: Path) -> int | None:
    """Return when a file was changed (None: it is not there); opening it makes NFS ask its server."""
    try:
        with path.open("rb") as file:
            return os.fstat(file.fileno()).st_mtime_ns
    except FileNotFoundError:
        return None
    except PermissionError:
        return path.stat().st_mtime_ns
