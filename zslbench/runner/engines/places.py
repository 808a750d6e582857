"""How a machine is divided among workers: how many there are, threads of each, and a GPU of their own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from zslbench.errors import BadValue
from zslbench.runner.device import devices
from zslbench.runner.engines.worker import THREAD_VARIABLES, Place

_FEW = 4


def places(
    workers: int | str | None = None,
    device: str = "auto",
    *,
    threads: int | None = None,
    gpus: Sequence[str] | None = None,
    cores: int | None = None,
) -> list[Place]:
    """Return the place of each worker.

    ``auto`` (None) is one worker a GPU where there are any and the device may be one; else one a core up to four,
    and on more cores one for each four: a method with more threads is faster, and each worker holds its own data.

    Args:
        workers: how many, or ``auto``.
        device: of the runs. With ``auto`` or ``cuda`` each worker sees one GPU only, in turn.
        threads: of BLAS and torch in each; None: the cores divided among them, at most what the environment says.
        gpus: entries of CUDA_VISIBLE_DEVICES; None: those of this machine.
        cores: physical ones; None: those that this process may use.

    Raises:
        BadValue: not a number of workers.
    """
    found = list(gpus if gpus is not None else visible_gpus()) if device in ("auto", "cuda") else []
    have = cores or usable_cores()
    if workers in (None, "auto"):
        count = len(found) or max(min(have, _FEW), have // _FEW)
    else:
        count = int(workers) if str(workers).isdecimal() else 0
        if count < 1:
            raise BadValue(f"workers {workers!r} is not allowed; write a number of at least 1, or auto.")
    each = threads or _at_most(max(have // count, 1))
    return [Place(each, found[number % len(found)] if found else None) for number in range(count)]


def usable_cores() -> int:
    """Return the physical cores that this process may use, at least 1."""
    import psutil

    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(min(psutil.cpu_count(logical=False) or allowed, allowed), 1)


def visible_gpus() -> list[str]:
    """Return the entries of CUDA_VISIBLE_DEVICES, or the numbers of all GPUs (torch counts those)."""
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [entry.strip() for entry in visible.split(",") if entry.strip() not in ("", "-1")]
    if not Path("/proc/driver/nvidia").exists() and not shutil.which("nvidia-smi"):
        return []
    return [str(number) for number in range(sum(one.startswith("cuda") for one in devices()))]


def _at_most(threads: int) -> int:
    """Return the threads, or fewer if the environment already asks for fewer."""
    asked = [int(value) for name in THREAD_VARIABLES if (value := os.environ.get(name, "")).isdecimal() and int(value)]
    return min([threads, *asked])
