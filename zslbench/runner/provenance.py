"""What is recorded of how a run came about: versions, device, the digest of the method's source, memory."""

from __future__ import annotations

import ast
import datetime
import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zslbench
from zslbench.methods.base import Method

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

PACKAGES = ("numpy", "scipy", "scikit-learn", "torch")


def provenance(method_class: type, device: str) -> dict[str, Any]:
    """Return what is known of the software, the machine and the method's source."""
    return {
        "zslbench": zslbench.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "processors": os.cpu_count(),
        "packages": dict(_versions()),
        "device": device,
        "blas_threads": _blas_threads(),
        **_torch_flags(device),
        "method_source": source_digest(method_class),
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


@functools.cache
def source_digest(method_class: type) -> str:
    """Return 16 hex digits of the source a method is made of.

    That is its module, those of the methods it derives from, and every module of the same packages that these import,
    at the top or inside functions. A method whose source has changed since a record was written shows as stale.
    """
    bases = {base.__module__ for base in method_class.__mro__ if issubclass(base, Method)}
    found = {name for base in bases for name in _modules(base, base.rpartition(".")[0])}
    total = hashlib.sha256()
    for name in sorted(found):
        total.update(name.encode() + b"\0" + _source(name))
    return total.hexdigest()[:16]


def _modules(start: str, package: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        imported = _imports(name)
        waiting += [other for other in imported if package and other.startswith(f"{package}.")]
    return found


@functools.cache
def _imports(module: str) -> frozenset[str]:
    """Return the absolute names that a module imports and that are modules themselves."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(_source(module) or b"")):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), module.rpartition(".")[0])
            names |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return frozenset(name for name in names if _path(name) is not None)


@functools.cache
def _path(module: str) -> Path | None:
    loaded = sys.modules.get(module)
    origin = getattr(loaded, "__file__", None)
    path = Path(origin) if origin else None
    if loaded is None and module.startswith("zslbench."):
        # By its place, since importlib's finder would import what it lies in, and torch with that.
        place = Path(zslbench.__file__).parent.joinpath(*module.split(".")[1:])
        path = next((one for one in (place / "__init__.py", place.with_suffix(".py")) if one.is_file()), None)
    return path if path and path.suffix == ".py" and path.is_file() else None


@functools.cache
def _source(module: str) -> bytes:
    path = _path(module)
    return path.read_bytes() if path else b""


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
