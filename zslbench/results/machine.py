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
    """Return when a process of this machine began, by its clock; None when it has ended."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.NoSuchProcess:
        return None
    except psutil.Error:
        return 0.0  # it is there, and says no more
