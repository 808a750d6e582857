"""`doctor`: what this installation has, whether it works, and what each part is for."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import itertools
import os
import platform
import re
import shutil
import tempfile
import webbrowser
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import zslbench
from zslbench.data.array_store import home
from zslbench.data.catalogue import xlsa17_roots as data_roots
from zslbench.data.inventory import list_
from zslbench.errors import Unavailable, ZslbenchError
from zslbench.registry import DATASETS, METHODS, PROTOCOLS
from zslbench.results.tables.render import write_columns
from zslbench.results.tables.result import Listing
from zslbench.visible import format_count

LOW_DISK = 4 * 2**30
TEXT_WIDTH = 80
"""The most characters per line of the text."""
OPTIONAL = "- means not installed or not found; it is needed only for the purpose in its row"
PURPOSES: Mapping[str, str] = {
    "click": "the command line",
    "filelock": "several processes on the same files",
    "jinja2": "the page of `zslbench report`",
    "matplotlib": "the figures of `zslbench plot`",
    "msgspec": "records and plan files",
    "numpy": "arrays",
    "pandas": "records as a data frame",
    "platformdirs": "the folder of installed data",
    "psutil": "memory and load of this machine",
    "requests": "`zslbench data fetch`",
    "urllib3": "`zslbench data fetch`",
    "rich": "tables and progress in the terminal",
    "rich-click": "the help pages",
    "scikit-learn": "classifiers, t-SNE, the digits data",
    "scipy": "linear algebra, statistics, .mat files",
    "tabulate": "Markdown tables",
    "threadpoolctl": "threads of linear algebra",
    "torch": "networks, GPUs",
}
EXTRAS: Mapping[str, str] = {
    "tune": "the samplers tpe and random of `zslbench tune`",
    "dask": "`--engine dask`",
    "slurm": "`--engine slurm`",
    "features": "`zslbench data features`: pictures into features",
    "semantics": "`zslbench data semantics`: texts into semantics by networks",
    "hdf5": ".h5 and MATLAB 7.3 files in `zslbench data add`",
    "parquet": "`zslbench results export -o FILE.parquet`",
    "tensorboard": "`zslbench run --log tensorboard`",
    "wandb": "`zslbench run --log wandb`",
    "mlflow": "`zslbench run --log mlflow`",
}
"""What each extra is for; others are listed without a purpose."""
FOR_DEVELOPERS = ("dev", "docs")
_LATEX = ("pdflatex", "lualatex", "xelatex", "tectonic")
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "firefox")


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that `doctor` examined.

    Attributes:
        what: its name.
        found: its state, with advice if something should be done.
        ok: whether it is as it should be.
        group: what it belongs to: program, packages, extras, tools, machine, folders, data sets, plugins.
        purpose: what it is for; empty if its name says so.
        optional: it is not installed, and most of zslbench works without it.
        slow: it works, but runs take longer than they could.
    """

    what: str
    found: str
    ok: bool = True
    group: str = ""
    purpose: str = ""
    optional: bool = False
    slow: bool = False

    @property
    def state(self) -> str:
        """ok, slow or PROBLEM, or - for an optional part that is not installed."""
        return "PROBLEM" if not self.ok else "-" if self.optional else "slow" if self.slow else "ok"

    @property
    def sentence(self) -> str:
        """What was found, and what it is for."""
        return f"{self.found} — {self.purpose}" if self.purpose else self.found


@dataclasses.dataclass(frozen=True, repr=False)
class Diagnosis(Listing[Finding]):
    """The findings by group; a sequence of findings."""

    @property
    def ok(self) -> bool:
        """Whether no finding is a problem."""
        return all(finding.ok for finding in self)

    @property
    def groups(self) -> list[tuple[str, list[tuple[str, str, str]]]]:
        """The rows to show for each group."""
        width = max(len(finding.what) for finding in self)
        return [
            (group, [(f"  {finding.state:7}", finding.what.ljust(width), finding.sentence) for finding in findings])
            for group, findings in itertools.groupby(self, lambda finding: finding.group)
        ]

    @property
    def text(self) -> str:
        """What the command line prints."""
        blocks = [f"{group}\n{write_columns(None, rows, TEXT_WIDTH)}" for group, rows in self.groups]
        return "".join([*blocks, *(f"{note}\n" for note in self.notes_below())])

    def notes_below(self) -> Sequence[str]:
        """Return what the sign - means, if it is used."""
        return [OPTIONAL] if any(finding.optional for finding in self) else []

    def _notes_to_warn_of(self) -> Sequence[str]:
        return ()


def doctor(runs: Path | str = "runs", data_root: Path | str | None = None) -> Diagnosis:
    """Examine this installation; return a finding for each part, by group, with its purpose. Nothing is changed."""
    groups: Mapping[str, Iterable[Finding]] = {
        "program": [
            Finding("zslbench", zslbench.__version__),
            Finding("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        ],
        "packages": _find_packages(),
        "extras": _find_extras(),
        "tools": _find_tools(),
        "machine": _find_machine(),
        "folders": [
            _find_folder(
                "home", home(), "set ZSLBENCH_HOME to a folder that you may write", "installed and added data"
            ),
            _find_folder("runs", Path(runs), "name another folder with --runs", "records"),
        ],
        "data sets": _find_data(Path(data_root) if data_root else None),
        "plugins": _find_plugins(),
    }
    findings = [dataclasses.replace(finding, group=group) for group, findings in groups.items() for finding in findings]
    rows = [(finding.group, finding.what, finding.state, finding.sentence) for finding in findings]
    return Diagnosis(tuple(findings), ("group", "what", "state", "found"), rows)


def required_packages() -> dict[str, list[str]]:
    """Return the names of the packages that zslbench requires by extra, "" being those that it always requires.

    They are read from the metadata of what is installed.

    Raises:
        PackageNotFoundError: zslbench is not installed, but imported from its folder.
    """
    packages: dict[str, list[str]] = {"": []}
    for requirement in importlib.metadata.requires("zslbench") or []:
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        extra = re.search(r"extra\s*==\s*['\"]([\w.-]+)['\"]", requirement)
        packages.setdefault(extra[1] if extra else "", []).append(name)
    return packages


def _find_packages() -> Iterator[Finding]:
    try:
        names = required_packages()[""]
    except importlib.metadata.PackageNotFoundError:
        names = sorted(PURPOSES)
    for name in names:
        version, purpose = _version(name), PURPOSES.get(name.lower(), "")
        text = version or f"not installed; install it with: pip install {name}"
        yield Finding(name, text, ok=bool(version), purpose=purpose)


def _find_extras() -> Iterator[Finding]:
    try:
        packages = required_packages()
    except importlib.metadata.PackageNotFoundError:
        why = "zslbench runs from its folder and is not installed, so its extras are not known"
        yield Finding("extras", f"{why}; install it with: pip install .", optional=True)
        return
    known = [name for name in (*EXTRAS, *sorted(packages)) if name in packages and name not in ("", *FOR_DEVELOPERS)]
    for extra in dict.fromkeys(known):
        versions = {name: _version(name) for name in packages[extra]}
        missing = not all(versions.values())
        text = ", ".join(f"{name} {version}" for name, version in versions.items())
        if missing:
            text = f"not installed; pip install 'zslbench[{extra}]'"
        yield Finding(extra, text, purpose=EXTRAS.get(extra, ""), optional=missing)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _find_tools() -> Iterator[Finding]:
    latex = next(filter(None, map(shutil.which, _LATEX)), None)
    purpose = "compiles LaTeX tables; zslbench itself needs none"
    yield Finding("LaTeX", latex or "none found", purpose=purpose, optional=latex is None)
    try:
        browser = getattr(webbrowser.get(), "name", "") or "found"
    except webbrowser.Error:
        browser = ""
    browser = browser or next(filter(shutil.which, _BROWSERS), "")  # without a screen, `webbrowser` knows of none
    if path := shutil.which(browser):
        browser = f"{Path(path).name} at {path}"
    purpose = "shows the page of `zslbench report`; any machine's will do"
    yield Finding("browser", browser or "none found", purpose=purpose, optional=not browser)


def _find_machine() -> Iterator[Finding]:
    import psutil

    yield _find_torch()
    yield _find_instructions()
    yield _find_threads()
    memory = psutil.virtual_memory()
    yield Finding("memory", f"{_gib(memory.available)} free of {_gib(memory.total)}", purpose="shared by all workers")


def _find_torch() -> Finding:
    from zslbench.runner.resources import devices

    try:
        torch = importlib.import_module("torch")
        names = []
        for device in devices():
            if device.startswith("cuda"):
                facts = torch.cuda.get_device_properties(device)
                names.append(f"{device} {facts.name} with {_gib(facts.total_memory)}")
            elif device != "cpu":
                names.append(device)
    except Exception as error:  # whatever a broken torch raises is the finding
        return Finding("GPU", f"torch does not work ({error}); install it again", ok=False)
    return Finding("GPU", ", ".join(names) or "none", purpose="`--device`; without one networks train on the CPU")


def _find_instructions() -> Finding:
    """Return which vector instructions torch uses here, and whether those for bfloat16 are among them."""
    from zslbench.runner.resources import choose_precision, list_bf16_instructions

    try:
        torch = importlib.import_module("torch")
        level = torch.backends.cpu.get_cpu_capability()
    except Exception:  # the finding on torch says so
        return Finding("CPU", platform.processor() or "unknown", purpose="`--precision`")
    names = list_bf16_instructions()
    text = f"{level} with {' and '.join(names)}: bf16 is fast" if names else f"{level}; no bf16 instructions were found"
    return Finding("CPU", text, purpose=f"`--precision`; auto takes {choose_precision('auto')} here")


def _find_threads() -> Finding:
    """Return how many threads a run may use, and what to set if others compute on the same machine."""
    import psutil

    from zslbench.runner.resources import count_processors

    asked, processors = os.environ.get("OMP_NUM_THREADS"), count_processors()
    busy = psutil.getloadavg()[0]
    text = f"at most {asked or processors}; {busy:.1f} processes want {format_count(processors, 'processor')}"
    if busy > processors and not asked:
        text += "; others compute here: set OMP_NUM_THREADS to the number that is yours, 1 for instance"
    return Finding("threads", text, slow=busy > processors)


def _find_folder(role: str, folder: Path, advice: str, purpose: str) -> Finding:
    existing = next(parent for parent in [folder.absolute(), *folder.absolute().parents] if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            free = shutil.disk_usage(existing).free
    except OSError as error:
        return Finding(role, f"{folder} cannot be written ({error.strerror}); {advice}", ok=False, purpose=purpose)
    text = f"{folder} ({_gib(free)} free)"
    if role == "runs" and not folder.exists():
        text = f"{folder}: not there yet; made by the first run ({_gib(free)} free)"
    low = free < LOW_DISK
    return Finding(role, f"{text}; make room, or {advice}" if low else text, ok=not low, purpose=purpose)


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size < 10 * 2**30 else f"{size / 2**30:.0f} GiB"


def _find_data(root: Path | None) -> Iterator[Finding]:
    yield Finding("looked for in", ", ".join(map(str, data_roots(root))) or "nowhere")
    try:
        rows = list_(root)
    except ZslbenchError as error:
        yield Finding("data", str(error), ok=False)
        return
    for row in rows:
        if row.features:
            folders = ", ".join(map(str, row.folders)) or "the package"
            yield Finding(row.name, f"features {', '.join(row.features)}; in {folders}")
    if missing := [row.name for row in rows if row.origin == "catalogue" and not row.features]:
        yield Finding("not here", f"{', '.join(missing)}; zslbench data fetch NAME", optional=True)


def _find_plugins() -> Iterator[Finding]:
    entries: list[tuple[str, Any]] = [
        (registry.kind, entry) for registry in (METHODS, DATASETS, PROTOCOLS) for entry in registry
    ]
    brought = [f"{kind} {entry.name} ({entry.origin})" for kind, entry in entries if entry.origin != "zslbench"]
    broken = []
    for kind, entry in entries:
        try:
            entry.load()
        except Unavailable as error:
            broken.append(Finding(f"{kind} {entry.name}", str(error), ok=False))
    if brought or broken:
        yield Finding("from others", ", ".join(brought) or "none")
    yield from broken
