"""Working folders beside what they become: filled, switched in at once, and removed on the next start after a kill.

Whoever works in one holds a lock beside it, which the system drops with the process: a folder whose lock is free is
left over. Where the file system has no locks nothing is taken for left over.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PREFIXES = (".incoming-", ".adding-", ".fetching-", ".writing-", ".features-")
_REPLACED = "replaced-"


@contextlib.contextmanager
def working_folder(root: Path, prefix: str) -> Iterator[Path]:
    """Give an empty folder in `root`, on its file system, that is gone afterwards; remove what others left there.

    Args:
        root: made where it is not there.
        prefix: one of `PREFIXES`.

    Raises:
        OSError: it cannot be made.
    """
    root.mkdir(parents=True, exist_ok=True)
    sweep(root)
    work = root / f"{prefix}{secrets.token_hex(8)}"
    lock = _lock(work, -1)  # before the folder is there: nobody sees one that is not locked yet
    work.mkdir(mode=0o700)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
        _release(lock, work)


def switch(new: Path, target: Path) -> None:
    """Put a finished folder in the place of another, from a working folder beside it.

    Of two renames the first takes the old folder away whole; killed before the second, `sweep` does that one. Old and
    new files never stand side by side.

    Raises:
        OSError: it cannot be moved; the old folder is there still.
    """
    lock = _lock(target.parent / ".switch", 60)  # one at a time
    try:
        old = new.with_name(_REPLACED + target.name)
        if target.exists():
            target.replace(old)
        try:
            new.replace(target)
        except OSError:
            if old.exists():
                old.replace(target)
            raise
    finally:
        _release(lock, None)


def sweep(root: Path) -> None:
    """Remove the working folders of processes that are gone, after finishing what they began to switch in."""
    try:
        left = [path for path in root.iterdir() if path.name.startswith(PREFIXES) and path.is_dir()]
    except OSError:
        return
    for work in left:
        if not work.is_symlink() and (lock := _lock(work, 0)) is not None:
            with contextlib.suppress(OSError):
                _finish(work, root)
            shutil.rmtree(work, ignore_errors=True)
            _release(lock, work)


def _finish(work: Path, root: Path) -> None:
    for old in work.glob(f"{_REPLACED}*"):
        name = old.name.removeprefix(_REPLACED)
        if not (root / name).exists():
            new = work / name
            (new if new.exists() else old).replace(root / name)


def _lock(work: Path, seconds: float) -> Any:
    """Return the lock of a working folder, waiting for it; None where another has it, or there are no locks."""
    from filelock import FileLock, Timeout

    lock = FileLock(f"{work}.lock")
    try:
        lock.acquire(timeout=seconds)
    except (Timeout, OSError, NotImplementedError):
        return None
    return lock


def _release(lock: Any, work: Path | None) -> None:
    if lock is not None:
        with contextlib.suppress(OSError):
            if work is not None:
                Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()
