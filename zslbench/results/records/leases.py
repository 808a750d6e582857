"""Leases: which coordinator of a shared folder of records does which run, so that no run is done twice.

A lease is a file ``.claims/<run id>`` that only one coordinator can create, on NFS too. It is a hard link of its
holder's own file ``.claims/<token>.holder``, whose time of change a thread renews: one touch keeps all leases alive.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import platform
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Self

import msgspec
from msgspec import Meta

from zslbench.documents import convert, decode_json
from zslbench.errors import StoreError
from zslbench.files import read_regular, write_error
from zslbench.identity import machine, process_born

FOLDER = ".claims"
HOLDER = ".holder"
BEAT = 10.0
"""Seconds between two signs of life."""
STALE_AFTER = 150.0
"""Seconds without a sign of life after which a lease is stale: longer than NFS may show an old time of change."""

_TRIES = 5
_SAME_BIRTH = 0.005 if sys.platform == "linux" else 60.0
"""Seconds by which the birth of one process may seem to differ: half a tick, or what the setting of a clock may do."""


@dataclasses.dataclass(frozen=True)
class Holder:
    """Who holds a lease.

    Attributes:
        token: names the coordinator; no two are alike.
        host: the machine's name; machine: what tells it from every other (see `zslbench.identity`).
        pid, born: the process, and when it began (see `zslbench.identity.process_born`); started: time of day, UTC.
    """

    token: Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]
    host: str
    machine: str
    pid: Annotated[int, Meta(gt=0, lt=2**31)]
    born: float
    started: str

    @classmethod
    def here(cls) -> Holder:
        """Return this process as a holder, under a token of its own."""
        started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        born = process_born(os.getpid()) or 0.0
        host = platform.node().encode("utf-8", "replace").decode()
        return cls(secrets.token_hex(8), host, machine(), os.getpid(), born, started)

    def to_json(self) -> str:
        """Return the text that a lease holds."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, content: str | bytes) -> Holder | None:
        """Read the holder of a lease or of a live file; None when the content tells of none."""
        try:
            document = decode_json(content)
            return convert(document.get("holder", document), cls)
        except ValueError:
            return None

    def alive(self) -> bool | None:
        """Return whether the process lives; None when that cannot be told from here."""
        if self.machine != machine():
            return None
        if (born := process_born(self.pid)) is None:
            return False
        return True if abs(born - self.born) < _SAME_BIRTH else None

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def is_gone(holder: Holder | None, silent: bool) -> bool:
    """Return whether a holder is gone: by its process where that can be told from here, else because it is silent."""
    alive = holder.alive() if holder else None
    return silent if alive is None else not alive


def read_holder(path: Path) -> Holder | None:
    """Return the holder that a lease or a live file names; None where there is none that can be read."""
    with contextlib.suppress(OSError, StoreError):
        return Holder.from_json(read_regular(path))
    return None


def is_abandoned(path: Path, holder: Holder | None, now: float, patience: float) -> bool:
    """Return whether nobody works on a file: its holder is gone, or it was not changed for `patience` seconds.

    Args:
        now: time of day by the clock of the file system.
    """
    renewed = _renewed_file(path, holder) if path.parent.name == FOLDER else path
    try:
        silent = now - renewed.lstat().st_mtime >= patience
    except OSError:
        silent = renewed != path  # the file that showed life is gone
    return is_gone(holder, silent)


def _renewed_file(lease: Path, holder: Holder | None) -> Path:
    """Return the file whose time of change shows that the holder of a lease lives."""
    return lease.with_name(f"{holder.token}{HOLDER}") if holder else lease


class SilenceClock:
    """Measures how long another process has shown no sign of life, by this process's clock alone."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[object, tuple[object, float]] = {}

    def seconds(self, key: object, sign: object) -> float:
        """Return for how long the sign of life of `key` has been `sign`, as far as this was asked for."""
        now = self._clock()
        if key not in self._seen or self._seen[key][0] != sign:
            self._seen[key] = (sign, now)
        return now - self._seen[key][1]


class Leases:
    """The leases of this coordinator on runs in one folder of records.

    Use as a context: a thread shows that the coordinator lives, and what is still held at the end is released.

    Attributes:
        mine: ids of the runs that are held now.
    """

    def __init__(
        self,
        root: Path,
        *,
        beat: float = BEAT,
        stale_after: float = STALE_AFTER,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        holder = Holder.here()
        self.folder = root / FOLDER
        self.mine: set[str] = set()
        self._beat, self._stale_after, self._silence = beat, stale_after, SilenceClock(clock)
        self._text = holder.to_json()
        self._file = self.folder / f"{holder.token}{HOLDER}"
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
        """Take the lease on a run; return whether it is ours now. One whose holder is gone is taken over.

        Raises:
            StoreError: the folder cannot be written to.
        """
        try:
            self._begin()
            for _ in range(_TRIES):
                if not self._create(self.folder / id):
                    chain = self._chain(id)
                    if not chain:
                        continue  # it was released just now
                    if not self._take_over(id, chain):
                        return False
                self.mine.add(id)
                return True
        except OSError as error:
            raise write_error(error, f"a lease on run {id}", self.folder) from None
        return False

    def holds(self, id: str) -> bool:
        """Return whether a lease is still ours: another may have taken it over while this process stood still."""
        try:
            return _read(self.folder / id) == self._text
        except OSError:
            return True  # nobody is known to have taken it over

    def release(self, ids: Iterable[str]) -> None:
        """Give up leases: the records are kept, or the runs are not done after all."""
        for run in ids:
            self.mine.discard(run)
            with contextlib.suppress(OSError):
                if _read(self.folder / run) == self._text:
                    (self.folder / run).unlink()

    def holder_of(self, id: str) -> Holder | None:
        """Return who holds the lease on a run, as far as that can be read."""
        return read_holder(self.folder / id)

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
            self._thread = threading.Thread(target=self._show_life, name="leases", daemon=True)
            self._thread.start()

    def _show_life(self) -> None:
        while not self._ended.wait(self._beat):
            with contextlib.suppress(OSError):
                os.utime(self._file)  # the time is the file server's

    def _create(self, path: Path) -> bool:
        """Create a lease that nobody has, whole at once; return False when somebody has it."""
        try:
            os.link(self._file, path)
            return True
        except FileExistsError:
            return _read(path) == self._text  # NFS may ask twice, and be told that its own link exists
        except OSError:
            pass  # no hard links here, or too many of one file
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(self._text)
        except FileExistsError:
            return _read(path) == self._text
        return True

    def _chain(self, id: str) -> list[tuple[Path, str]]:
        """Return the lease and its successors, each with what it holds; nothing where there is none."""
        chain: list[tuple[Path, str]] = []
        path = self.folder / id
        while (text := _read(path)) is not None:
            chain.append((path, text))
            path = self.folder / f"{id}.{len(chain)}"
        return chain

    def _take_over(self, id: str, chain: list[tuple[Path, str]]) -> bool:
        """Take over a lease all of whose holders are gone.

        Only one coordinator can create the successor ``<id>.<n>``. It looks again whether the lease is still the one
        that was judged, then moves the successor into its place. Whoever dies in between has a successor, too.
        """
        for lease, text in chain:
            renewed = _renewed_file(lease, holder := Holder.from_json(text))
            if not is_gone(holder, self._silence.seconds(renewed, (text, _changed(renewed))) > self._stale_after):
                return False
        successor = self.folder / f"{id}.{len(chain)}"
        if not self._create(successor):
            return False
        if any(_read(path) != text for path, text in chain):
            successor.unlink(missing_ok=True)
            return False
        # os.replace does nothing where both names are links of one file; these are not: the old holder is another
        os.replace(successor, self.folder / id)  # noqa: PTH105
        for path, _ in reversed(chain[1:]):
            path.unlink(missing_ok=True)
        for _, text in chain:
            if (holder := Holder.from_json(text)) and holder.alive() is False:  # on this machine, and so for certain
                _renewed_file(self.folder / id, holder).unlink(missing_ok=True)
        return True


def _read(path: Path) -> str | None:
    """Return what a lease holds: None where there is none, nothing where another user hides it."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except PermissionError:
        return ""


def _changed(path: Path) -> int | None:
    """Return when a file was changed (None: it does not exist); opening it makes NFS ask its server."""
    try:
        with path.open("rb") as file:
            return os.fstat(file.fileno()).st_mtime_ns
    except FileNotFoundError:
        return None
    except PermissionError:
        return path.stat().st_mtime_ns
