"""Identity: of runs and settings (canonical JSON), of arrays, of the user's own data, of this machine and a process."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zslbench.arrays import AnyArray

HASHED = 1 << 18
"""Numbers that are hashed at a time."""
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def canonical_json(value: Any) -> str:
    """Return the one JSON text of `value`: keys sorted, no spaces, ASCII, no NaN.

    >>> canonical_json({"b": 1, "a": [True, 0.5]})
    '{"a":[true,0.5],"b":1}'
    """
    return _CANONICAL.encode(value)


def digest(value: Any, digits: int = 16) -> str:
    """Return the first `digits` hex digits of the sha256 of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode("ascii")).hexdigest()[:digits]


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def expand_home(path: Path | str) -> Path:
    """Return a path with the home of a user in place of ``~``; where there is no such user, as it is.

    >>> expand_home("~no-such-user-here/x").as_posix()
    '~no-such-user-here/x'
    """
    return Path(os.path.expanduser(path))  # noqa: PTH111  (pathlib's raises where there is no such user)


def folder_name(folder: Path) -> str:
    """Return what the data set in a folder of the user's own is called: as the folder, fit for a file name.

    >>> folder_name(Path("/home/me/My data"))
    'my-data'
    """
    return re.sub(r"[^\w.+-]+", "-", expand_home(folder).resolve().name.lower()) or "data"


def fingerprint(arrays: Mapping[str, AnyArray]) -> str:
    """Return 16 hex digits that name the content of `arrays`, whatever file they came from.

    Name, dtype kind and width, shape and little-endian bytes of each array enter; memory order does not.
    Arrays are hashed in blocks of `HASHED` numbers, so none is copied or loaded whole, whatever its shape and order.
    """
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        kind = array.dtype.newbyteorder("<")
        total.update(f"{name}:{kind.str}:{array.shape};".encode())
        for block in np.nditer(  # type: ignore[call-overload]  # NumPy's stubs spell contig "config"
            array,
            flags=["external_loop", "buffered", "zerosize_ok"],
            op_flags=[["readonly", "contig"]],
            op_dtypes=[kind],
            order="C",
            casting="equiv",
            buffersize=HASHED,
        ):
            total.update(block.view(np.uint8))
    return total.hexdigest()[:16]


@functools.cache
def machine() -> str:
    """Return 16 hex digits of this host as booted; on Linux also of what its process numbers count in (containers)."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):  # no Linux: the name of the host has to do
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(os.readlink("/proc/self/ns/pid"))  # noqa: PTH115  (a name, not a path)
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:16]


def process_born(pid: int) -> float | None:
    """Return when a process of this machine began, in seconds; None when it has ended.

    On Linux these are seconds since the machine started, which no setting of a clock moves. They tell apart two
    processes that have the same number one after the other, such as number 1 of a container that is started again.
    Elsewhere they are seconds since 1970.
    """
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        with contextlib.suppress(OSError, ValueError, IndexError, AttributeError):
            # proc(5): field 22 counts ticks, and field 2 is the name, which may hold anything
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
            return int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return float(process.create_time())
    except psutil.NoSuchProcess:
        return None
    except psutil.Error:
        return 0.0  # it is there, and says no more
