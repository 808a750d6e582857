"""Files and folders: written whole or not at all, read only where that is safe; CSV and JSON text.

A file that is being written has a temporary name, which says what process writes it; a folder that is being filled has
a lock beside it. Both are removed on a later start where that process was killed.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from zslbench.errors import BadData, StoreError
from zslbench.identity import machine, process_born
from zslbench.visible import csv_cell

TEMPORARY = re.compile(r"\.(?:([0-9a-f]{16})-(\d{1,10})-[0-9a-f]{8}\.tmp|[0-9a-f]{12}\.tmp|probe-[0-9a-f]{8})")
"""Names of files that are being written; those of older versions name no machine and process."""
WORKING = (".incoming-", ".adding-", ".fetching-", ".writing-")
"""How the names of folders that are being filled begin."""
MAX_RATIO = 1000
"""How many bytes a byte of a file may unfold to; what compresses better is a bomb, or damaged."""
SMALL = 1 << 26
"""Bytes that any file may unfold to: 64 MiB."""
HEADROOM = 1.5
"""Free memory that reading takes, as a multiple of the declared size: float64 numbers and their copy in float32."""
_MOST_BYTES = 2**28
"""Of a file that is read whole: a record with a curve of a million steps has fewer."""
_ABANDONED = 3600.0
"""Seconds after which nobody is writing a file any more, whichever machine it was."""
_REPLACED = "replaced-"
_ADVICE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free space there or choose another folder"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "choose a folder that you may write"),
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), "a file stands where a folder is needed: name another folder"),
    errno.EISDIR: "name a file, not a folder",
}

Writer = Callable[[BinaryIO], object]
"""Writes the content of a file into it."""


def write_atomically(path: Path, write: Writer, what: str) -> None:
    """Let `write` fill a temporary file beside `path`, then move it there: whole or not at all.

    The target of a symbolic link is written, the link stays. What is not a regular file, such as a pipe or the device
    ``/dev/stdout``, is written to as it stands.

    Raises:
        StoreError: the folder cannot be made or written to, or the disk is full; no part of the file is left.
    """
    try:
        if _is_stream(path):
            content = io.BytesIO()
            write(content)
            with path.open("ab") as file:
                file.write(content.getvalue())
            return
        if path.is_dir():  # "." has no name to put a temporary one beside
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if path.is_symlink():
            try:
                path = path.resolve()
            except RuntimeError:  # what Python before 3.13 says of links that lead round in a circle
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None
        with staged(path, write) as temporary:
            os.replace(temporary, path)  # noqa: PTH105  (one system call that tests can make fail)
    except OSError as error:
        raise write_error(error, what, path.parent) from None


def write_text(path: Path, text: str, what: str) -> None:
    """Write a text as `write_atomically` does, in UTF-8; half characters, which that has none of, become escapes."""
    write_atomically(path, lambda file: file.write(text.encode("utf-8", "backslashreplace")), what)


def name_file(path: Path) -> str:
    """Return the name of a file, quoted, or what was typed where that has no name, such as ``.``."""
    return repr(path.name or str(path))


@contextlib.contextmanager
def staged(path: Path, write: Writer) -> Iterator[Path]:
    """Give a file beside `path` that `write` has filled, safe on the disk; what was not moved away is removed."""
    temporary = _temporary(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        write_through(temporary, write)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def write_through(path: Path, write: Writer) -> None:
    """Write a new file down to the disk, under its own name.

    Raises:
        OSError: it exists, or there is no room for it.
    """
    with path.open("xb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())


def write_error(error: OSError, what: str, folder: Path) -> StoreError:
    """Return the error on something that cannot be written to a folder."""
    advice = _ADVICE.get(error.errno or 0, "choose another folder")
    return StoreError(
        f"cannot write {what} to {folder} ({error.strerror or error}); {advice}; what was finished stays."
    )


def check_folder_writable(folder: Path) -> float:
    """Prove that something can be written to a folder; return the time of day by the clock of its file system.

    Raises:
        StoreError: the folder cannot be made, or not written to.
    """
    path = _temporary(folder / "probe")
    write_atomically(path, lambda file: file.write(b"zslbench"), "runs")
    try:
        return path.stat().st_mtime
    finally:
        path.unlink(missing_ok=True)


def remove_temporary(folders: Iterable[Path], now: float) -> None:
    """Remove files that were being written when their process ended, or that nobody has changed for an hour."""
    for path in (path for folder in folders for path in folder.glob(".*.tmp")):
        with contextlib.suppress(OSError):
            if (name := TEMPORARY.fullmatch(path.name)) and (
                (name[1] == machine() and process_born(int(name[2])) is None)
                or now - path.lstat().st_mtime > _ABANDONED
            ):
                path.unlink()


def _temporary(path: Path) -> Path:
    return path.with_name(f".{machine()}-{os.getpid()}-{secrets.token_hex(4)}.tmp")


def _is_stream(path: Path) -> bool:
    """Return whether a path is a pipe, a device, or a file that this process has open (``/dev/fd/1``)."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    while path.is_symlink():
        path = path.parent.resolve() / path.readlink()
        if path.parent.resolve().is_relative_to("/proc"):
            return True
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def csv_text(rows: Sequence[Mapping[str, Any]], heads: Sequence[str] | None = None) -> str:
    """Write rows as CSV; no text is a formula or has control characters (see `csv_cell`).

    Lists are joined by spaces, mappings are JSON, booleans true and false.

    Args:
        heads: of the columns; None: those of all rows in order of first appearance.
    """
    heads = list(dict.fromkeys(head for row in rows for head in row)) if heads is None else heads
    text = io.StringIO()
    writer = csv.DictWriter(text, heads, lineterminator="\n")
    writer.writeheader()
    writer.writerows({head: csv_cell(_flatten(value)) for head, value in row.items()} for row in rows)
    return text.getvalue()


def _flatten(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return json.dumps(value, ensure_ascii=False) if isinstance(value, bool | Mapping) else value


def json_text(value: Any) -> str:
    """Write a value as JSON, indented; a number that is not finite is a ValueError."""
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_regular(path: Path) -> bytes:
    """Return the content of a regular file; a pipe would be waited for, and a device may have no end.

    Raises:
        FileNotFoundError: there is none.
        StoreError: it cannot be read, is not a regular file, or is larger than any file that zslbench writes.
    """
    at_once = getattr(os, "O_NONBLOCK", 0)  # a pipe without a writer is opened, too
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | at_once)) as file:
            status = os.fstat(file.fileno())
            check_regular(path, status.st_mode)
            if status.st_size > _MOST_BYTES:
                raise StoreError(f"{path} has {status.st_size:,} bytes, more than a file of zslbench; remove it.")
            return file.read()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StoreError(read_problem(path, error)) from None


def check_regular(path: Path, mode: int) -> None:
    """Refuse what is not a regular file, judged by its mode.

    Raises:
        StoreError: it is a pipe, a device or a socket.
    """
    if not stat.S_ISREG(mode):
        raise StoreError(f"{path} is not a regular file but a pipe, device or socket; remove it.")


def read_problem(path: Path, error: OSError) -> str:
    """Return a sentence on a file or folder that cannot be read."""
    return f"{path} cannot be read ({error.strerror or error}); check its permissions."


def free_memory() -> int:
    """Return the bytes of memory that can be taken without swapping."""
    import psutil

    return int(psutil.virtual_memory().available)


def check_size(path: Path, size: int, what: str = "", free: int | None = None) -> None:
    """Refuse a file that declares more bytes than free memory holds, or than its length can honestly unfold to.

    Every reader of a user's file asks before it allocates, from headers alone, so that a small file cannot take the
    machine down.

    Args:
        size: bytes that its content takes in memory.
        what: which part of the file asks for them; empty for all of it.
        free: bytes of memory that are free; None: counted now.

    Raises:
        BadData: it does.
    """
    stored = path.stat().st_size
    asks = f"{path} ({stored:,} bytes){f': {what}' if what else ''} would unfold to {size:,} bytes"
    if size > SMALL and size > MAX_RATIO * stored:
        raise BadData(f"{asks}, more than {MAX_RATIO:,} times its size; it is damaged or a bomb.")
    free = free_memory() if free is None else free
    if size * HEADROOM > free:
        raise BadData(
            f"{asks}, which takes {int(size * HEADROOM):,} bytes to read where {free:,} bytes of memory are free; save "
            "fewer numbers, or use a larger machine."
        )


@contextlib.contextmanager
def working_folder(root: Path, prefix: str) -> Iterator[Path]:
    """Give an empty folder in `root`, which is made where needed, and remove it, and what others left there.

    Args:
        prefix: one of `WORKING`.

    Raises:
        OSError: it cannot be made.
    """
    root.mkdir(parents=True, exist_ok=True)
    remove_working_folders(root)
    work = root / f"{prefix}{secrets.token_hex(8)}"
    with locked(work, -1):  # before the folder is there: nobody sees one that is not locked yet
        work.mkdir(mode=0o700)
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)


def switch_folder(new: Path, target: Path) -> None:
    """Put a finished folder in the place of another, from a working folder beside it.

    Of two renames the first takes the old folder away whole; where the process is killed before the second,
    `remove_working_folders` does that one. Old and new files never stand side by side.

    Raises:
        OSError: it cannot be moved; the old folder is there still.
    """
    with locked(target.parent / ".switch", 60, remove=False):  # one at a time
        old = new.with_name(_REPLACED + target.name)
        if target.exists():
            target.replace(old)
        try:
            new.replace(target)
        except OSError:
            if old.exists():
                old.replace(target)
            raise


def remove_working_folders(root: Path) -> None:
    """Remove the working folders of processes that are gone, after finishing what they began to switch in.

    Whoever works in one holds its lock, which the system drops with the process. Where the file system has no locks,
    all are left alone.
    """
    try:
        folders = [path for path in root.iterdir() if path.name.startswith(WORKING) and path.is_dir()]
    except OSError:
        return
    for work in folders:
        if work.is_symlink():
            continue
        with locked(work, 0) as held:
            if not held:
                continue
            with contextlib.suppress(OSError):
                for old in work.glob(f"{_REPLACED}*"):
                    name = old.name.removeprefix(_REPLACED)
                    if not (root / name).exists():
                        (work / name if (work / name).exists() else old).replace(root / name)
            shutil.rmtree(work, ignore_errors=True)


@contextlib.contextmanager
def locked(path: Path, seconds: float, remove: bool = True) -> Iterator[bool]:
    """Hold the lock of a path; yield False if another process holds it that long, or the file system has no locks."""
    from filelock import FileLock, Timeout

    lock = FileLock(f"{path}.lock")
    try:
        lock.acquire(timeout=seconds)
    except (Timeout, OSError, NotImplementedError):
        yield False
        return
    try:
        yield True
    finally:
        with contextlib.suppress(OSError):
            if remove:
                Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()
