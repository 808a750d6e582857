"""`gc`: what lies in a folder of records and belongs to no run any more."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.filesize import decimal

from zslbench.errors import StoreError
from zslbench.files import TEMPORARY, probe
from zslbench.results.records import leases, live, presets
from zslbench.results.records.record import Record
from zslbench.results.records.store import ResultStore, companions, document_of

GRACE = 3600.0
"""Seconds for which a file is left alone: a coordinator may be writing it."""
_LEASE = "a lease of a coordinator that is gone"
_LIVE = "a live file of a coordinator that is gone"
_LEASE_NAME = re.compile(r"[0-9a-f]{16}(\.\w+)?")
_LIVE_NAME = re.compile(r".+-\d+-[0-9a-f]+\.(json|tmp)")
_PARTS = 6
"""Of the name of a database of `tune`: method, data set, features, semantics, protocol and preset, parted by --."""
_SQLITE = ("-journal", "-wal", "-shm")


@dataclasses.dataclass(frozen=True)
class Garbage:
    """Files that belong to no run any more.

    Attributes:
        files: each with why it is garbage, in the order in which they may be deleted.
        size: bytes of all of them.
        deleted: whether they were.
        young: files that look like garbage and were changed within the last hour, which are left alone.
        broken: a sentence on each document that cannot be read; only its user can say what it was.
    """

    files: tuple[tuple[Path, str], ...]
    size: int
    deleted: bool
    young: int
    broken: tuple[str, ...]

    @property
    def text(self) -> str:
        """The files, a line each, and what became of them."""
        lines = [*self.broken, *(f"{path}: {why}" for path, why in self.files)]
        count = "1 file" if len(self.files) == 1 else f"{len(self.files)} files"
        if self.deleted:
            lines.append(f"deleted {count}, {decimal(self.size)}")
        elif self.files:
            lines.append(f"{count}, {decimal(self.size)}; nothing was deleted, --yes does")
        else:
            lines.append("nothing to delete")
        if self.young:
            lines.append(f"{self.young} more were changed within the last hour, and may be in use; they are left alone")
        return "\n".join(lines)


def gc(
    runs: Path | str = "runs",
    *,
    failed: bool = False,
    stale: Callable[[Record], bool] | None = None,
    delete: bool = False,
) -> Garbage:
    """List, and delete if asked to, what belongs to no run any more.

    That is, of files that this package named and that lie within the folder: predictions, kept features and traces
    without a record, temporary files, leases and live files of coordinators that are gone, and what a database of
    `tune` left beside itself.

    Args:
        runs: the folder of records.
        failed: also records that are not ok, with what lies beside them.
        stale: says which records are too old; those too.
        delete: delete the files; else only list them.

    Raises:
        StoreError: the folder is none, or a file in it cannot be deleted.
    """
    store = ResultStore(runs)
    unwanted = list(_unwanted(store, failed, stale))  # checks the folder, too
    if not store.root.is_dir():
        return Garbage((), 0, False, 0, ())
    now = _now(store.root)
    garbage: list[tuple[Path, str]] = []
    young = 0
    root = store.root.resolve()
    for path, why in (*_orphans(store.root), *_temporary(store.root), *_signs(store.root)):
        if not _is_within(path, root):
            continue
        if _is_abandoned(path, why, now):
            garbage.append((path, why))
        elif why not in (_LEASE, _LIVE):  # those of the living are as they should be
            young += 1
    garbage += unwanted
    size = sum(path.stat().st_size for path, _ in garbage if path.is_file())
    if delete:
        for path, why in garbage:
            if why != _LEASE or _is_abandoned(path, why, now):  # it may have been taken over meanwhile
                _delete(path)
    return Garbage(tuple(garbage), size, delete, young, tuple(why for _, why in store.broken))


def _unwanted(store: ResultStore, failed: bool, stale: Callable[[Record], bool] | None) -> Iterator[tuple[Path, str]]:
    for path, record in store.each():
        if failed and not record.ok:
            why = f"the run is {record.status}"
        elif stale is not None and record.ok and stale(record):
            why = "the source of its method has changed"
        else:
            continue
        yield path, why
        for beside in companions(path):  # after its record, which must never lack them
            yield beside, why


def _orphans(root: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted((*root.glob("*/*/*/*.npz"), *root.glob("*/*/*/*.trace.json.gz"))):
        document = document_of(path)
        if document is not None and not document.exists():
            yield path, "it has no record"


def _temporary(root: Path) -> Iterator[tuple[Path, str]]:
    why = "a file that was not finished"
    folders = ("", "*/*/*/", f"{presets.FOLDER}/")
    paths = {path for folder in folders for path in root.glob(f"{folder}.*") if TEMPORARY.fullmatch(path.name)}
    paths |= {path for path in live.live_folder(root).glob("*.tmp") if _LIVE_NAME.fullmatch(path.name)}
    yield from ((path, why) for path in sorted(paths))
    for ending in _SQLITE:
        for path in sorted((root / presets.FOLDER).glob(f"*.db{ending}")):
            database = path.with_name(path.name.removesuffix(ending))
            if database.name.count("--") >= _PARTS - 1 and not database.exists():
                yield path, "its database is gone"


def _signs(root: Path) -> Iterator[tuple[Path, str]]:
    for folder, pattern, name, why in (
        (root / leases.FOLDER, "*", _LEASE_NAME, _LEASE),
        (live.live_folder(root), "*.json", _LIVE_NAME, _LIVE),
    ):
        yield from ((path, why) for path in sorted(folder.glob(pattern)) if name.fullmatch(path.name))


def _is_within(path: Path, root: Path) -> bool:
    """Return whether a path is a file of the folder itself: no link, and not reached by a link that leads out of it."""
    with contextlib.suppress(OSError):
        return stat.S_ISREG(path.lstat().st_mode) and path.parent.resolve().is_relative_to(root)
    return False


def _is_abandoned(path: Path, why: str, now: float) -> bool:
    """Return whether nobody works on a file: its holder's process has ended, or it was not changed for long."""
    holder = leases.read_holder(path) if why == _LEASE else _live_holder(path) if why == _LIVE else None
    if holder and (alive := holder.alive()) is not None:
        return not alive
    if holder and why == _LEASE:
        path = path.with_name(f"{holder.token}{leases.HOLDER}")  # which shows that the holder lives
    with contextlib.suppress(OSError):
        return now - path.lstat().st_mtime >= GRACE
    return why == _LEASE and holder is not None  # the file that showed it is gone


def _live_holder(path: Path) -> leases.Holder | None:
    with contextlib.suppress(OSError, StoreError):
        return live.Study.from_json(path.read_bytes(), str(path)).holder
    return None


def _delete(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{path} cannot be deleted ({error.strerror}); check its permissions.") from None


def _now(root: Path) -> float:
    """Return the time of day by the clock that dates the files of a folder, else by this machine's."""
    try:
        return probe(root)
    except StoreError:  # full, or not to be written to
        return time.time()
