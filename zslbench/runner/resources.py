"""What runs may use: the devices of this machine, threads and a GPU of each worker, limits of time and memory."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from zslbench.errors import BadValue

_MOST_WORKERS = 1024
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""What OpenMP's libraries read, when they are loaded, of how a thread waits for the others."""
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
"""What linear algebra libraries read when they are loaded."""

_TIME = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?")
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kmgt])(i?)b?|b)")
_FEW = 4
_BF16_FLAGS = ("avx512_bf16", "amx_bf16")


def prepare_for_torch() -> None:
    """Set what OpenMP and torch read when they are loaded, unless the user chose otherwise.

    Threads sleep while they wait: by default a waiting thread keeps its processor busy, which takes time from the
    thread that it waits for. Large tensors lie in huge pages: otherwise a step of a GAN spends a tenth of its time and
    more on getting its memory page by page.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    if not any(name in os.environ for name in WAITING):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def check_device(device: str) -> None:
    """Refuse a device that does not exist before any work is done; ``auto`` and ``cpu`` always do."""
    if device in ("auto", "cpu"):
        return
    kind, _, number = device.partition(":")
    if kind not in ("cuda", "mps") or (number and not number.isdigit()):
        raise BadValue(f"device {device!r} is not allowed; choose auto, cpu, cuda, cuda:N or mps.")
    available = devices()
    if device not in available and f"{device}:0" not in available:
        raise BadValue(
            f"device {device!r} is not on this machine; it has: {', '.join(available)}; choose one of these."
        )


def devices() -> list[str]:
    """Return the devices of this machine: ``cpu``, ``cuda:0`` …, ``mps`` (imports torch)."""
    import torch

    names = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    return [*names, "mps"] if torch.backends.mps.is_available() else names


def list_bf16_instructions() -> list[str]:
    """Return the instructions by which this CPU multiplies bfloat16 faster than float32; none where it has none."""
    import torch

    asked = {
        "AVX512-BF16": getattr(torch.cpu, "_is_avx512_bf16_supported", None),
        "AMX": getattr(torch.cpu, "_is_amx_tile_supported", None),
    }
    if any(asked.values()):
        return [name for name, ask in asked.items() if ask is not None and ask()]
    return [flag.upper() for flag in _BF16_FLAGS if flag in _read_cpu_flags()]  # an older torch


def choose_precision(device: str) -> Literal["float32", "bf16"]:
    """Return what precision ``auto`` takes on a device: bf16 where it has instructions for it (imports torch)."""
    import torch

    from zslbench.methods.nn import resolve_device

    kind = resolve_device(device).type
    if kind == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bf16" if kind == "cpu" and list_bf16_instructions() else "float32"


def _read_cpu_flags() -> set[str]:
    """Return the flags of the first processor, on Linux; nothing elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", "replace")
    except OSError:
        return set()
    flags = re.search(r"(?m)^flags\s*:(.*)$", text)
    return set(flags[1].split()) if flags else set()


@dataclasses.dataclass(frozen=True)
class WorkerPlace:
    """What one worker may use.

    Attributes:
        threads: of BLAS and torch.
        gpu: the entry of CUDA_VISIBLE_DEVICES that it alone sees; None: what the coordinator sees.
    """

    threads: int
    gpu: str | None = None

    def environment(self) -> Mapping[str, str]:
        """Return the variables that must be set before NumPy or torch is loaded."""
        variables = dict.fromkeys(THREAD_VARIABLES, str(self.threads))
        return variables if self.gpu is None else variables | {"CUDA_VISIBLE_DEVICES": self.gpu}


def places(
    workers: int | str | None = None,
    device: str = "auto",
    *,
    threads: int | None = None,
    gpus: Sequence[str] | None = None,
    cores: int | None = None,
) -> list[WorkerPlace]:
    """Return the place of each worker.

    ``auto`` (None) is one worker a GPU where there are any and the device may be one; else one a core up to four,
    and on more cores one for each four: a method with more threads is faster, and each worker holds its own data.

    Args:
        workers: how many, or ``auto``.
        device: of the runs. With ``auto`` or ``cuda`` each worker sees one GPU only, in turn.
        threads: of BLAS and torch in each; None: the cores divided among them, at most what the environment says.
        gpus: entries of CUDA_VISIBLE_DEVICES; None: those of this machine.
        cores: physical ones; None: those that this process may use.
    """
    pinned = list(gpus if gpus is not None else _visible_gpus()) if device in ("auto", "cuda") else []
    have = cores or _usable_cores()
    if workers in (None, "auto"):
        count = len(pinned) or max(min(have, _FEW), have // _FEW)
    else:
        count = int(workers) if re.fullmatch(r"[0-9]{1,9}", str(workers)) else 0
        if not 1 <= count <= _MOST_WORKERS:
            raise BadValue(f"workers {workers!r} is not allowed; write a number from 1 to {_MOST_WORKERS}, or auto.")
    in_environment = (os.environ.get(name, "") for name in THREAD_VARIABLES)
    asked = [int(value) for value in in_environment if value.isdecimal() and int(value)]
    each = threads or min([max(have // count, 1), *asked])
    return [WorkerPlace(each, pinned[number % len(pinned)] if pinned else None) for number in range(count)]


def count_processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _usable_cores() -> int:
    import psutil

    allowed = count_processors()
    return max(min(psutil.cpu_count(logical=False) or allowed, allowed), 1)


def _visible_gpus() -> list[str]:
    """Return the entries of CUDA_VISIBLE_DEVICES, or the numbers of all GPUs (torch counts those)."""
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [entry.strip() for entry in visible.split(",") if entry.strip() not in ("", "-1")]
    import shutil

    if not Path("/proc/driver/nvidia").exists() and not shutil.which("nvidia-smi"):
        return []
    return [str(number) for number in range(sum(name.startswith("cuda") for name in devices()))]


def parse_seconds(limit: str | float | None) -> float | None:
    """Return a time limit in seconds (BadValue: not a time).

    >>> parse_seconds("90"), parse_seconds("30m"), parse_seconds("1h30m"), parse_seconds("1.5h")
    (90.0, 1800.0, 5400.0, 5400.0)
    """
    if limit is None:
        return None
    match = _TIME.fullmatch(str(limit).strip().lower())
    parts = zip(match.groups() if match else (), (3600, 60, 1), strict=False)
    total = sum(float(part or 0) * unit for part, unit in parts)
    if total <= 0:
        raise BadValue(f"time limit {limit!r} is not allowed; write seconds, or a text such as 90s, 30m or 1h30m.")
    return total


def parse_bytes(limit: str | int | None) -> int | None:
    """Return a memory limit in bytes; ``GiB`` and ``G`` count by 1024, ``GB`` by 1000 (BadValue: not a size).

    >>> parse_bytes("4GiB"), parse_bytes("500MB"), parse_bytes("1.5g"), parse_bytes(2048)
    (4294967296, 500000000, 1610612736, 2048)
    """
    if limit is None:
        return None
    total = float(limit) if isinstance(limit, int) else 0.0
    if match := _MEMORY.fullmatch(str(limit).strip().lower()):
        step = 1000 if match[0].endswith("b") and not match[3] else 1024
        total = float(match[1]) * step ** (" kmgt".index(match[2] or " "))
    if total < 1:
        raise BadValue(f"memory limit {limit!r} is not allowed; write a size with its unit, such as 4GiB or 500MB.")
    return int(total)


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one run may take: seconds of time, bytes of the resident memory of its worker; None: any."""

    time: float | None = None
    memory: int | None = None


def size_text(count: float) -> str:
    """Return a number of bytes as people read it.

    >>> size_text(4294967296), size_text(500_000_000)
    ('4.0 GiB', '477 MiB')
    """
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def time_text(limit: float) -> str:
    """Return seconds as people read them.

    >>> time_text(90), time_text(1800), time_text(0.5)
    ('90 s', '30 min', '0.5 s')
    """
    return f"{limit / 60:g} min" if limit >= 600 else f"{limit:g} s"
