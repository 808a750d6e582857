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
from zslbench.files import TEMPORARY, check_folder_writable
from zslbench.results.records import leases, tuned_presets
from zslbench.results.records.leases import is_abandoned, read_holder
from zslbench.results.records.live_studies import list_live_files
from zslbench.results.records.record import Record
from zslbench.results.records.store import ResultStore, companions, document_of
from zslbench.results.records.training_states import list_states
from zslbench.visible import format_count

GRACE = 3600.0
"""Seconds for which a file is left alone: a coordinator may be writing it."""
_LEASE = "a lease of a process that no longer exists"
_LIVE = "a live file of a process that no longer exists"
_UNFINISHED = "an unfinished file"
_STATE = "the state of a training that nobody went on with for 14 days"
KEPT = 14 * 86400.0
"""Seconds after which nobody is expected to go on with a training."""
_LEASE_NAME = re.compile(r"[0-9a-f]{16}(\.\w+)?")
_DATABASE = re.compile(r"(.*--.*--.*--.*--.*--.*\.db)-(journal|wal|shm)")
"""What SQLite keeps beside a database of `tune`: method, data set, features, semantics, protocol and preset."""


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

    files: tuple[tuple[Path, str], ...] = ()
    size: int = 0
    deleted: bool = False
    young: int = 0
    broken: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The files, a line each, and what became of them."""
        lines = [*self.broken, *(f"{path}: {why}" for path, why in self.files)]
        amount = f"{format_count(len(self.files), 'file')}, {decimal(self.size)}"
        if self.deleted:
            lines.append(f"deleted {amount}")
        else:
            lines.append(
                f"{amount}; nothing was deleted; add --yes to delete them" if self.files else "nothing to delete"
            )
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

    That is, of files that this package named and that lie within the folder: predictions, kept features, models
    and traces without a record, temporary files, leases and live files of coordinators that are gone, states of
    trainings that no run will go on from, and what a database of `tune` left beside itself.

    Args:
        runs: the folder of records.
        failed: also records that are not ok, with what lies beside them.
        stale: says which records are too old; those too.
        delete: delete the files; else only list them.

    Raises:
        StoreError: the folder is none, or a file in it cannot be deleted.
    """
    store = ResultStore(runs)
    unwanted = list(_find_unwanted(store, failed, stale))  # checks the folder, too
    if not store.root.is_dir():
        return Garbage()
    try:
        now = check_folder_writable(store.root)
    except StoreError:  # full, or not to be written to
        now = time.time()
    garbage: list[tuple[Path, str]] = []
    young = 0
    root = store.root.resolve()
    for path, why in _find_unowned(store.root):
        if not _is_within(path, root):
            continue
        if _is_unused(path, why, now):
            garbage.append((path, why))
        elif why not in (_LEASE, _LIVE, _STATE):  # those of the living are as they should be
            young += 1
    garbage += unwanted
    size = sum(path.stat().st_size for path, _ in garbage if path.is_file())
    for path, why in garbage if delete else ():
        if why == _LEASE and not _is_unused(path, why, now):
            continue  # it was taken over meanwhile
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"{path} cannot be deleted ({error.strerror}); check its permissions.") from None
    return Garbage(tuple(garbage), size, delete, young, tuple(why for _, why in store.broken))


def _find_unwanted(
    store: ResultStore, failed: bool, stale: Callable[[Record], bool] | None
) -> Iterator[tuple[Path, str]]:
    for path, record in store.each():
        if failed and not record.ok:
            why = f"the run is {record.status}"
        elif stale is not None and record.ok and stale(record):
            why = "the source of its method has changed"
        else:
            continue
        for unwanted in (path, *companions(path)):  # the record first, which must never lack the others
            yield unwanted, why


def _find_unowned(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield files that have no owner, or whose owner may be gone, by their names, and what they are."""

    def glob(*patterns: str) -> list[Path]:
        return sorted(path for pattern in patterns for path in root.glob(pattern))

    for path in glob("*/*/*/*.npz", "*/*/*/*.trace.json.gz"):
        document = document_of(path)
        if document is not None and not document.exists():
            yield path, "it has no record"
    for path in glob(".*", "*/*/*/.*", f"{tuned_presets.FOLDER}/.*"):
        if TEMPORARY.fullmatch(path.name):
            yield path, _UNFINISHED
    for path in glob(f"{tuned_presets.FOLDER}/*.db-*"):
        name = _DATABASE.fullmatch(path.name)
        if name and not path.with_name(name[1]).exists():
            yield path, "its database is gone"
    for path in glob(f"{leases.FOLDER}/*"):
        if _LEASE_NAME.fullmatch(path.name):
            yield path, _LEASE
    for path in list_states(root):
        yield path, _STATE
    for path in list_live_files(root):
        yield path, _LIVE if path.suffix == ".json" else _UNFINISHED


def _is_within(path: Path, root: Path) -> bool:
    """Return whether a path is a file of the folder itself: no link, and not reached by a link that leads out of it."""
    with contextlib.suppress(OSError):
        return stat.S_ISREG(path.lstat().st_mode) and path.parent.resolve().is_relative_to(root)
    return False


def _is_unused(path: Path, why: str, now: float) -> bool:
    patience = KEPT if why == _STATE else GRACE
    return is_abandoned(path, read_holder(path) if why in (_LEASE, _LIVE) else None, now, patience)
