"""`list_`, `info` and `doctor`: what is registered, what is declared of one thing, and whether the installation works.

Nothing heavy is imported but by `doctor`.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import inspect
import os
import platform
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import zslbench
from zslbench.data import added
from zslbench.data.dataset import Source
from zslbench.data.home import data_root as roots_of
from zslbench.data.home import home
from zslbench.errors import BadValue, Unavailable, UnknownName, ZslbenchError
from zslbench.methods.base import Method
from zslbench.params import declared, in_words
from zslbench.protocols.base import Protocol
from zslbench.registry import DATASETS, METHODS, PROTOCOLS, Entry, Registry
from zslbench.results.analysis.published import load as cited_numbers

if TYPE_CHECKING:
    from zslbench.results.records.presets import TunedPreset

Kind = Literal["methods", "datasets", "protocols", "presets"]
KINDS: tuple[Kind, ...] = ("methods", "datasets", "protocols", "presets")
PACKAGES = ("numpy", "scipy", "scikit-learn", "pandas", "torch", "click", "rich", "tabulate", "pooch")
LOW_DISK = 4 * 2**30
_REGISTRIES: Mapping[str, Registry] = {"methods": METHODS, "datasets": DATASETS, "protocols": PROTOCOLS}


@dataclasses.dataclass(frozen=True)
class Listed:
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


def list_(kind: Kind = "methods", runs: Path | str = "runs") -> list[Listed]:
    """Return what is registered of one kind, sorted by name; a broken plugin is listed as unavailable.

    Presets are those that methods bring, and those that were tuned into a folder of records: § marks those whose method
    has changed since, and a damaged file is unavailable.

    Raises:
        BadValue: a kind that does not exist.
    """
    if kind == "presets":
        return [line for entry in METHODS for line in _presets(entry)] + _tuned(Path(runs))
    if kind not in _REGISTRIES:
        raise BadValue(f"there is no list of {kind!r}; choose one of: {', '.join(KINDS)}.")
    own = [_listed_added(name) for name in added.names()] if kind == "datasets" else []
    return [_listed(entry) for entry in _REGISTRIES[kind]] + own


def info(name: str) -> Info:
    """Return all that is declared of a method, dataset or protocol, by registered name or ``pkg.module:Class``.

    Raises:
        UnknownName: nothing has this name; the nearest is offered.
        Unavailable: it cannot be imported.
    """
    everything = [known for registry in _REGISTRIES.values() for known in registry.entries]
    for registry in _REGISTRIES.values():
        try:
            entry = registry.entry(name)
        except UnknownName:
            continue
        return _info(entry)
    if (own := added.find(name)) is not None:
        return _added_info(own)
    raise UnknownName("name", name, [*everything, *added.names()])


def _listed(entry: Entry) -> Listed:
    try:
        cls = entry.load()
    except Unavailable as error:
        return Listed(entry.name, "", origin=entry.origin, unavailable=str(error))
    card: Any = cls.card  # type: ignore[attr-defined]
    reference = getattr(card, "reference", "") or getattr(card, "citation", "")
    return Listed(entry.name, card.summary, reference, str(getattr(card, "setting", "")), entry.origin)


def _presets(entry: Entry) -> list[Listed]:
    try:
        cls = entry.load()
    except Unavailable:
        return []
    if not issubclass(cls, Method):
        return []
    found = [
        Listed(f"{entry.name}@{name}", preset.source, ", ".join("/".join(cell) for cell in preset.cells) or "any data")
        for name, preset in cls.presets.items()
    ]
    return found + [Listed(f"{entry.name}@{name}", one.help, "ablation") for name, one in cls.ablations.items()]


def _tuned(runs: Path) -> list[Listed]:
    from zslbench.results.records.presets import PresetStore

    store = PresetStore(runs)
    presets = [
        Listed(
            f"{one.method}@{one.name}",
            f"{_changed(one)}tuned: {one.metric} {100 * one.score:.1f} on the dev folds ({one.sampler}, "
            f"{sum(one.trials.values())} trials); {_values({name: one.values.get(name) for name in one.space})}",
            f"{one.dataset}/{one.protocol} ({one.features}, {one.semantics})",
        )
        for one in store.load()
    ]
    return presets + [Listed(path.stem, "", unavailable=why) for path, why in store.broken]


def _changed(tuned: TunedPreset) -> str:
    """Say that the method has changed since it was tuned; nothing where it has not, or is not to be imported."""
    from zslbench.results.records.presets import change_since
    from zslbench.sources import source_of

    try:
        cls = METHODS.load_recorded(tuned.method)
    except ZslbenchError:
        return ""
    if cls is None or not issubclass(cls, Method):
        return ""
    change = change_since(tuned, cls.card.version, source_of(cls).digest)
    return f"§ {change}; tune again. " if change else ""


def _info(entry: Entry) -> Info:
    cls = entry.load()
    rows = tuple((one.name, shown(one.default), one.allowed(), one.help) for one in declared(cls).values())
    if issubclass(cls, Method):
        return _method_info(entry, cls, rows)
    if issubclass(cls, Source):
        card = cls.card
        facts = {"citation": card.citation, "features": card.features, "semantics": card.semantics}
        if card.counts:
            facts |= {name.replace("_", " "): str(value) for name, value in dataclasses.asdict(card.counts).items()}
        facts |= {"folder": card.folder, "licence": card.licence}
        return Info("dataset", entry.name, card.title, card.summary, _filled(facts), rows)
    if issubclass(cls, Protocol):
        facts = {"metrics": ", ".join(cls.card.metrics), "version": str(cls.card.version)}
        return Info("protocol", entry.name, cls.card.title, cls.card.summary, facts, rows)
    raise BadValue(f"{entry.name!r} is neither a method nor a dataset nor a protocol.")


def _method_info(entry: Entry, cls: type[Method], rows: tuple[tuple[str, str, str, str], ...]) -> Info:
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
    for name, preset in cls.presets.items():
        lines = [_values(preset.values)] if preset.values else []
        lines += [f"{'/'.join(cell)}: {_values(values)}" for cell, values in preset.cells.items()]
        presets.append((f"@{name}", preset.source, "\n".join(lines)))
    presets += [(f"@{name}", one.help, _values(one.values)) for name, one in cls.ablations.items()]
    cited = tuple(
        (one.source, one.dataset, f"{one.features}, {one.semantics}", one.metric, f"{one.value:g}", one.note)
        for one in cited_numbers()
        if one.method == entry.name
    )
    return Info(
        "method",
        entry.name,
        card.title,
        card.summary,
        _filled(facts),
        rows,
        tuple(presets),
        cited,
        inspect.getdoc(cls) or "",
        card.differences,
        {name: in_words(dimension) for name, dimension in cls.space.items()},
    )


def _listed_added(name: str) -> Listed:
    try:
        own = added.find(name)
    except ZslbenchError as error:
        return Listed(name, "", origin="data add", unavailable=str(error))
    return Listed(name, own.summary if own else "", origin="data add")


def _added_info(own: added.Added) -> Info:
    """Say what an added data set holds, which files it was made of, and how its split was made."""
    facts = {name.replace("_", " "): str(value) for name, value in dataclasses.asdict(own.counts).items()}
    facts |= {"split": own.split or "its own"}
    if unseen := own.facts.get("split", {}).get("unseen"):
        facts |= {"unseen classes": ", ".join(unseen)}
    for role, held in (("features", own.features), ("semantics", own.semantics)):
        facts |= {f"{role} {stem}": _source(one) for stem, one in held.items()}
    facts |= {
        "split from" if what == "split" else what: _source(one) for what, one in own.facts.items() if one.get("source")
    }
    facts |= {f"fingerprint {choice}": text for choice, text in own.fingerprints.items()}
    return Info("dataset", own.name, own.name, own.summary, _filled(facts | {"folder": str(own.folder)}))


def _source(facts: Mapping[str, Any]) -> str:
    shape = " × ".join(map(str, facts.get("shape", [])))
    key = f":{facts['key']}" if facts.get("key") else ""
    checksum = f"sha256 {facts['sha256']}" if facts.get("sha256") else ""
    more = (f"{name} {facts[name]}" for name in ("backbone", "weights", "preprocessing") if facts.get(name))
    return ", ".join(filter(None, [f"{facts.get('source', '')}{key}", shape, checksum, *more]))


def _filled(facts: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in facts.items() if text}


def _values(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={shown(value)}" for name, value in values.items()) or "the defaults"


def shown(value: Any) -> str:
    """Return a parameter's value as the grammar writes it."""
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


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
    from zslbench.runner.resources import devices

    try:
        threads = importlib.import_module("torch").get_num_threads()
        return Finding("devices", f"{', '.join(devices())}; {os.cpu_count()} processors, {threads} torch threads")
    except Exception as error:  # whatever a broken torch raises is the finding
        return Finding("devices", f"torch does not work ({error}); install it again", ok=False)


def _threads() -> Finding:
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
    roots = ", ".join(str(one) for one in roots_of(root)) or "nowhere"
    found = [Finding("data is looked for in", roots)]
    try:
        found += [
            Finding(
                row.name, f"features {', '.join(row.features)}; in {', '.join(map(str, row.folders)) or 'the package'}"
            )
            for row in zslbench.data.list_(root)
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
