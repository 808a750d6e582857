"""`list_`, `info` and `doctor`: what is registered, what is declared of one thing, and whether the installation works.

Nothing heavy is imported but by `doctor`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.metadata
import inspect
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import zslbench
from zslbench.data import added
from zslbench.data.array_store import home
from zslbench.data.catalogue import xlsa17_roots as data_roots
from zslbench.data.dataset import Source
from zslbench.errors import BadValue, Unavailable, UnknownName, ZslbenchError
from zslbench.methods.base import Method
from zslbench.methods.minimal import as_method, is_method
from zslbench.params import declared_params, format_value, in_words
from zslbench.protocols.protocol import Protocol
from zslbench.registry import DATASETS, METHODS, PROTOCOLS, Entry, Registry
from zslbench.results.analysis.published import load as cited_numbers

Kind = Literal["methods", "datasets", "protocols", "presets"]
KINDS: tuple[Kind, ...] = ("methods", "datasets", "protocols", "presets")
PACKAGES = ("numpy", "scipy", "scikit-learn", "pandas", "torch", "click", "rich", "tabulate", "requests")
LOW_DISK = 4 * 2**30
_REGISTRIES: Mapping[str, Registry] = {"methods": METHODS, "datasets": DATASETS, "protocols": PROTOCOLS}


@dataclasses.dataclass(frozen=True)
class Registered:
    """One line of a list: a name, what it is, its source, and why it cannot be used (empty when it can)."""

    name: str
    summary: str
    reference: str = ""
    setting: str = ""
    origin: str = "zslbench"
    unavailable: str = ""


@dataclasses.dataclass(frozen=True)
class Info:
    """All that is declared of one method, dataset or protocol.

    Attributes:
        kind, name, title, summary: what it is.
        facts: further lines by name, in order.
        params: one row a parameter: name, default, what is allowed, meaning.
        presets: one row a preset or ablation: name, source or meaning, and values (by cell where they differ).
        published: one row a cited number: source, dataset, features, metric, value, note.
        model: what the class says of itself, in paragraphs.
        differences: sentences, each telling where this implementation and the paper or its public code part.
        space: what `zslbench tune` searches, by hyper-parameter; nothing where the parameters' own ranges are.
    """

    kind: str
    name: str
    title: str
    summary: str
    facts: Mapping[str, str]
    params: tuple[tuple[str, str, str, str], ...] = ()
    presets: tuple[tuple[str, str, str], ...] = ()
    published: tuple[tuple[str, str, str, str, str, str], ...] = ()
    model: str = ""
    differences: tuple[str, ...] = ()
    space: Mapping[str, str] = dataclasses.field(default_factory=dict)


def list_(kind: Kind = "methods", runs: Path | str = "runs") -> list[Registered]:
    """Return what is registered of one kind, sorted by name; a broken plugin is listed as unavailable.

    Presets are those that methods bring, and those that were tuned into a folder of records: § marks those whose method
    has changed since, and a damaged file is unavailable.

    Raises:
        BadValue: a kind that does not exist.
    """
    if kind == "presets":
        return [preset for entry in METHODS for preset in _list_presets(entry)] + _list_tuned(Path(runs))
    if kind not in _REGISTRIES:
        raise BadValue(f"there is no list of {kind!r}; choose one of: {', '.join(KINDS)}.")
    listed = []
    for entry in _REGISTRIES[kind]:
        try:
            card: Any = _load(entry).card  # type: ignore[attr-defined]
        except (Unavailable, BadValue) as error:
            listed.append(Registered(entry.name, "", origin=entry.origin, unavailable=str(error)))
            continue
        reference = getattr(card, "reference", "") or getattr(card, "citation", "")
        listed.append(Registered(entry.name, card.summary, reference, str(getattr(card, "setting", "")), entry.origin))
    for name in added.names() if kind == "datasets" else ():
        summary, problem = "", ""
        try:
            dataset = added.find_added(name)
            summary = dataset.summary if dataset else ""
        except ZslbenchError as error:
            problem = str(error)
        listed.append(Registered(name, summary, origin="data add", unavailable=problem))
    return listed


def info(name: str) -> Info:
    """Return all that is declared of a method, dataset or protocol, by registered name or ``pkg.module:Class``.

    Raises:
        UnknownName: nothing has this name; the nearest is offered.
        Unavailable: it cannot be imported.
    """
    for registry in _REGISTRIES.values():
        try:
            entry = registry.entry(name)
        except UnknownName:
            continue
        return _describe(entry)
    if (dataset := added.find_added(name)) is not None:
        return _describe_added(dataset)
    registered = [known for registry in _REGISTRIES.values() for known in registry.entries]
    raise UnknownName("name", name, [*registered, *added.names()])


def _list_presets(entry: Entry) -> list[Registered]:
    try:
        cls = _load(entry)
    except (Unavailable, BadValue):
        return []
    if not issubclass(cls, Method):
        return []
    rows = [
        (tag, preset.source, ", ".join("/".join(cell) for cell in preset.cells) or "any data")
        for tag, preset in cls.presets.items()
    ]
    rows += [(tag, ablation.help, "ablation") for tag, ablation in cls.ablations.items()]
    return [Registered(f"{entry.name}@{tag}", summary, reference) for tag, summary, reference in rows]


def _list_tuned(runs: Path) -> list[Registered]:
    from zslbench.results.records.tuned_presets import PresetStore, change_since
    from zslbench.sources import source_of

    store = PresetStore(runs)
    presets = []
    for tuned in store.load():
        change = None
        with contextlib.suppress(ZslbenchError):
            cls = METHODS.load_recorded(tuned.method)  # None where that would import what its user did not
            if cls is not None:
                change = change_since(tuned, as_method(cls).card.version, source_of(cls).digest)
        values = _write_values({name: tuned.values.get(name) for name in tuned.space})
        summary = (
            f"tuned: {tuned.metric} {100 * tuned.score:.1f} on the dev folds ({tuned.sampler}, "
            f"{sum(tuned.trials.values())} trials); {values}"
        )
        presets.append(
            Registered(
                f"{tuned.method}@{tuned.name}",
                f"§ {change}; tune again. {summary}" if change else summary,
                f"{tuned.dataset}/{tuned.protocol} ({tuned.features}, {tuned.semantics})",
            )
        )
    return presets + [Registered(path.stem, "", unavailable=why) for path, why in store.broken]


def _load(entry: Entry) -> type:
    """Return the class of an entry, a minimal method completed."""
    cls = entry.load()
    return as_method(cls) if is_method(cls) else cls


def _describe(entry: Entry) -> Info:
    cls = _load(entry)
    rows = tuple(
        (param.name, format_value(param.default), param.allowed(), param.help)
        for param in declared_params(cls).values()
    )
    if issubclass(cls, Method):
        return _describe_method(entry, cls, rows)
    card: Any = getattr(cls, "card", None)
    if issubclass(cls, Source):
        counts = dataclasses.asdict(card.counts) if card.counts else {}
        facts = {
            "citation": card.citation,
            "features": card.features,
            "semantics": card.semantics,
            **{name.replace("_", " "): str(value) for name, value in counts.items()},
            "folder": card.folder,
            "licence": card.licence,
        }
        return Info("dataset", entry.name, card.title, card.summary, _without_empty(facts), rows)
    if issubclass(cls, Protocol):
        facts = {"metrics": ", ".join(card.metrics), "version": str(card.version)}
        return Info("protocol", entry.name, card.title, card.summary, facts, rows)
    raise BadValue(f"{entry.name!r} is neither a method nor a dataset nor a protocol.")


def _describe_method(entry: Entry, cls: type[Method], rows: tuple[tuple[str, str, str, str], ...]) -> Info:
    card = cls.card
    facts = {
        "reference": card.reference,
        "citation": card.citation,
        "formula": card.formula,
        "setting": f"{card.setting} (with the default parameters)",
        "depends on the seed": "yes" if card.stochastic else "no",
        "version": str(card.version),
        "from": entry.origin,
    }
    presets = []
    for tag, preset in cls.presets.items():
        values = [_write_values(preset.values)] if preset.values else []
        values += [f"{'/'.join(cell)}: {_write_values(of_cell)}" for cell, of_cell in preset.cells.items()]
        presets.append((f"@{tag}", preset.source, "\n".join(values)))
    presets += [(f"@{tag}", ablation.help, _write_values(ablation.values)) for tag, ablation in cls.ablations.items()]
    return Info(
        "method",
        entry.name,
        card.title,
        card.summary,
        _without_empty(facts),
        rows,
        tuple(presets),
        tuple(
            (row.source, row.dataset, f"{row.features}, {row.semantics}", row.metric, f"{row.value:g}", row.note)
            for row in cited_numbers()
            if row.method == entry.name
        ),
        inspect.getdoc(cls) or "",
        card.differences,
        {name: in_words(dimension) for name, dimension in cls.space.items()},
    )


def _describe_added(dataset: added.Added) -> Info:
    """Say what an added data set holds, which files it was made of, and how its split was made."""
    facts = {name.replace("_", " "): str(value) for name, value in dataclasses.asdict(dataset.counts).items()}
    facts["split"] = dataset.split or "its own"
    facts["unseen classes"] = ", ".join(dataset.facts.get("split", {}).get("unseen") or ())
    files = {f"features {stem}": file for stem, file in dataset.features.items()}
    files |= {f"semantics {stem}": file for stem, file in dataset.semantics.items()}
    for role, file in dataset.facts.items():
        if file.get("source"):
            files["split from" if role == "split" else role] = file
    for role, file in files.items():
        key = f":{file['key']}" if file.get("key") else ""
        shape = " × ".join(map(str, file.get("shape", [])))
        checksum = f"sha256 {file['sha256']}" if file.get("sha256") else ""
        network = (f"{name} {file[name]}" for name in ("backbone", "weights", "preprocessing") if file.get(name))
        facts[role] = ", ".join(filter(None, [f"{file.get('source', '')}{key}", shape, checksum, *network]))
    facts |= {f"fingerprint {choice}": text for choice, text in dataset.fingerprints.items()}
    facts["folder"] = str(dataset.folder)
    return Info("dataset", dataset.name, dataset.name, dataset.summary, _without_empty(facts))


def _without_empty(facts: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in facts.items() if text}


def _write_values(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={format_value(value)}" for name, value in values.items()) or "the defaults"


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
        *map(_find_package, PACKAGES),
        _find_devices(),
        _find_threads(),
        _find_folder("home", home(), "set ZSLBENCH_HOME to a folder that you may write"),
        _find_folder("runs", Path(runs), "name another folder with --runs"),
        *_find_data(Path(data_root) if data_root else None),
        *(finding for registry in _REGISTRIES.values() for finding in _find_broken_plugins(registry)),
    ]


def _find_package(name: str) -> Finding:
    try:
        return Finding(name, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, f"not installed; install it with: pip install {name}", ok=False)


def _find_devices() -> Finding:
    from zslbench.runner.resources import devices

    try:
        threads = importlib.import_module("torch").get_num_threads()
        return Finding("devices", f"{', '.join(devices())}; {os.cpu_count()} processors, {threads} torch threads")
    except Exception as error:  # whatever a broken torch raises is the finding
        return Finding("devices", f"torch does not work ({error}); install it again", ok=False)


def _find_threads() -> Finding:
    """Tell how many threads a run may use, how they wait, and what to set where others compute on the same machine."""
    import psutil

    from zslbench.runner.resources import WAITING

    asked = os.environ.get("OMP_NUM_THREADS")
    most = f"OMP_NUM_THREADS={asked}" if asked else "as many as processors, OMP_NUM_THREADS is not set"
    chosen = next((f"{name}={os.environ[name]}" for name in WAITING if name in os.environ), "libraries' own rule")
    busy, processors = psutil.getloadavg()[0], os.cpu_count() or 1
    load = f"{busy:.1f} processes wanted {processors} processors in the last minute"
    advice = "on a shared machine set OMP_NUM_THREADS to the number of processors that are yours"
    if busy > processors and not asked:
        advice = f"others compute here: {advice}, 1 for instance"
    return Finding("threads", f"at most {most}; small products use one; while waiting: {chosen}; {load}; {advice}")


def _find_folder(role: str, folder: Path, advice: str) -> Finding:
    existing = next(parent for parent in [folder.absolute(), *folder.absolute().parents] if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            free = shutil.disk_usage(existing).free
    except OSError as error:
        return Finding(role, f"{folder} cannot be written ({error.strerror}); {advice}", ok=False)
    text = f"{folder} ({free / 2**30:.0f} GiB free)"
    return Finding(role, text if free >= LOW_DISK else f"{text}; make room, or {advice}", ok=free >= LOW_DISK)


def _find_data(root: Path | None) -> Iterator[Finding]:
    yield Finding("data is looked for in", ", ".join(map(str, data_roots(root))) or "nowhere")
    try:
        for row in zslbench.data.list_(root):
            if row.features:
                folders = ", ".join(map(str, row.folders)) or "the package"
                yield Finding(row.name, f"features {', '.join(row.features)}; in {folders}")
    except ZslbenchError as error:
        yield Finding("data", str(error), ok=False)


def _find_broken_plugins(registry: Registry) -> Iterator[Finding]:
    for entry in registry:
        try:
            entry.load()
        except Unavailable as error:
            yield Finding(f"{registry.kind} {entry.name}", str(error), ok=False)
