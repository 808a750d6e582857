"""What is recorded of how a run came about: versions, device, the digest of the method's source, memory."""

from __future__ import annotations

import datetime
import functools
import importlib.metadata
import os
import platform
import sys
from typing import TYPE_CHECKING, Any

import zslbench
from zslbench.sources import source_of

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

PACKAGES = ("numpy", "scipy", "scikit-learn", "torch")


def provenance(method_class: type, device: str) -> dict[str, Any]:
    """Return what is known of the software, the machine and the method's source."""
    source = source_of(method_class)
    return {
        "zslbench": zslbench.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "processors": os.cpu_count(),
        "packages": dict(_versions()),
        "device": device,
        "blas_threads": _blas_threads(),
        **_torch_flags(device),
        "method_source": source.digest,
        "method_files": dict(source.files),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def peak_memory(device: str = "cpu") -> dict[str, int]:
    """Return the peak resident bytes of the process up to now and, where CUDA was used, of this job on the device."""
    found = {"process_peak_so_far": _peak_rss()}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        found["cuda_peak"] = int(torch.cuda.max_memory_allocated(device if device.startswith("cuda") else None))
    return found


def reset_peaks() -> None:
    """Let CUDA's peak start anew, so that it belongs to one job."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        for number in range(torch.cuda.device_count()):
            torch.cuda.reset_peak_memory_stats(number)


@functools.cache  # reading the metadata of four packages takes longer than a small fit
def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _torch_flags(device: str) -> dict[str, Any]:
    torch = sys.modules.get("torch")
    if torch is None:
        return {}
    flags: dict[str, Any] = {"torch_threads": torch.get_num_threads()}
    if device.startswith("cuda"):
        flags |= {
            "gpu": torch.cuda.get_device_name(device),
            "cuda": torch.version.cuda,
            # of what is not training, which has a precision of its own
            "tf32": bool(torch.backends.cuda.matmul.allow_tf32),
            "deterministic": bool(torch.are_deterministic_algorithms_enabled()),
        }
    return flags


def _blas_threads() -> int:
    return max((int(pool["num_threads"]) for pool in _pools(len(sys.modules)).info()), default=1)


@functools.lru_cache(maxsize=1)  # finding the libraries takes longer than a small fit; their threads are read each time
def _pools(modules: int) -> ThreadpoolController:
    """Return the thread pools of this process; a module that was imported meanwhile may have brought another."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _peak_rss() -> int:
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
