"""This machine, told from every other, and whether a process of it lives."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
from pathlib import Path


@functools.cache
def machine() -> str:
    """Return 16 hex digits of this host as booted; on Linux also of what its process numbers count in (containers)."""
    parts = [platform.node()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(os.readlink("/proc/self/ns/pid"))  # noqa: PTH115  (a name, not a path)
    except OSError:
        pass  # no Linux: the name of the host has to do
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
        return _ticks(pid) or float(process.create_time())
    except psutil.NoSuchProcess:
        return None
    except psutil.Error:
        return 0.0  # it is there, and says no more


def _ticks(pid: int) -> float | None:
    """Return field 22 of ``/proc/<pid>/stat`` (proc(5)) in seconds; None where there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        return int(fields[19]) / os.sysconf("SC_CLK_TCK")  # the name, which may hold anything, is the second field
    except (OSError, ValueError, IndexError, AttributeError):
        return None
