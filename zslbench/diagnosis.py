"""`doctor`: whether this installation can do its work, and what to do where it cannot."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import os
import platform
import shutil
import tempfile
from pathlib import Path

import zslbench
from zslbench.data import list_ as list_data
from zslbench.data.home import data_root, home
from zslbench.errors import Unavailable, ZslbenchError
from zslbench.registry import DATASETS, METHODS, PROTOCOLS
from zslbench.runner.resources import WAITING, devices

PACKAGES = ("numpy", "scipy", "scikit-learn", "pandas", "torch", "click", "rich", "tabulate", "pooch")
LOW_DISK = 4 * 2**30


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing looked at: its name, what was found, and whether it is as it should be."""

    what: str
    found: str
    ok: bool = True


def doctor(runs: Path | str = "runs", data_root: Path | str | None = None) -> list[Finding]:
    """Return what was found: versions, devices, folders, data sets, plugins. It changes nothing that lasts."""
    return [
        Finding("zslbench", f"{zslbench.__version__} on Python {platform.python_version()}, {platform.platform()}"),
        *_packages(),
        _devices(),
        _threads(),
        _folder("home", home(), "set ZSLBENCH_HOME to a folder that you may write"),
        _folder("runs", Path(runs), "name another folder with --runs"),
        *_data(Path(data_root) if data_root else None),
        *_plugins(),
    ]


def _packages() -> list[Finding]:
    found = []
    for name in PACKAGES:
        try:
            found.append(Finding(name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            found.append(Finding(name, f"not installed; install it with: pip install {name}", ok=False))
    return found


def _devices() -> Finding:
    try:
        threads = importlib.import_module("torch").get_num_threads()
        return Finding("devices", f"{', '.join(devices())}; {os.cpu_count()} processors, {threads} torch threads")
    except Exception as error:  # whatever a broken torch raises is the finding
        return Finding("devices", f"torch does not work ({error}); install it again", ok=False)


def _threads() -> Finding:
    """Tell how many threads a run may use, how they wait, and what to set where others compute on the same machine."""
    import psutil

    asked = os.environ.get("OMP_NUM_THREADS")
    most = f"OMP_NUM_THREADS={asked}" if asked else "as many as processors, OMP_NUM_THREADS is not set"
    chosen = next((f"{name}={os.environ[name]}" for name in WAITING if name in os.environ), "libraries' own rule")
    busy, processors = psutil.getloadavg()[0], os.cpu_count() or 1
    load = f"{busy:.1f} processes wanted {processors} processors in the last minute"
    advice = "on a shared machine set OMP_NUM_THREADS to the number of processors that are yours"
    if busy > processors and not asked:
        advice = f"others compute here: {advice}, 1 for instance"
    return Finding("threads", f"at most {most}; small products use one; while waiting: {chosen}; {load}; {advice}")


def _folder(what: str, folder: Path, advice: str) -> Finding:
    existing = next(parent for parent in [folder.absolute(), *folder.absolute().parents] if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            free = shutil.disk_usage(existing).free
    except OSError as error:
        return Finding(what, f"{folder} cannot be written ({error.strerror}); {advice}", ok=False)
    text = f"{folder} ({free / 2**30:.0f} GiB free)"
    return Finding(what, text if free >= LOW_DISK else f"{text}; make room, or {advice}", ok=free >= LOW_DISK)


def _data(root: Path | None) -> list[Finding]:
    roots = ", ".join(str(one) for one in data_root(root)) or "nowhere"
    found = [Finding("data is looked for in", roots)]
    try:
        found += [
            Finding(
                row.name, f"features {', '.join(row.features)}; in {', '.join(map(str, row.folders)) or 'the package'}"
            )
            for row in list_data(root)
            if row.features
        ]
    except ZslbenchError as error:
        found.append(Finding("data", str(error), ok=False))
    return found


def _plugins() -> list[Finding]:
    found = []
    for registry in (METHODS, DATASETS, PROTOCOLS):
        for entry in registry:
            try:
                entry.load()
            except Unavailable as error:
                found.append(Finding(f"{registry.kind} {entry.name}", str(error), ok=False))
    return found
