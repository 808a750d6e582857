"""`list_` and `info`: what is registered, and what each registered thing declares. Nothing heavy is imported."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import re
import shlex
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from zslbench.data import added, inventory, xlsa17
from zslbench.data.catalogue import CATALOGUE, verify_counts
from zslbench.data.dataset import Counts, Dataset, Source
from zslbench.data.inventory import Listed, Verified
from zslbench.data.loading import folder_of, load_dataset
from zslbench.errors import BadData, BadValue, Unavailable, UnknownName, ZslbenchError
from zslbench.files import json_text
from zslbench.identity import expand_home
from zslbench.methods.base import Method
from zslbench.methods.minimal import as_method, is_method
from zslbench.metrics import order_metrics
from zslbench.params import declared_params, describe_dimension, format_value
from zslbench.protocols.protocol import Protocol
from zslbench.registry import DATASETS, METHODS, PROTOCOLS, Entry, Registry
from zslbench.results.analysis.published import load as cited_numbers
from zslbench.results.analysis.rows import group_values
from zslbench.results.bibliography import bibtex
from zslbench.results.tables.render import WIDE, wrap_sentences, write_columns
from zslbench.results.tables.result import Listing, VerbResult
from zslbench.results.tables.table import Remark, Table, text_table
from zslbench.visible import title_data

Kind = Literal["methods", "datasets", "protocols", "presets", "sources"]
KINDS: tuple[Kind, ...] = ("methods", "datasets", "protocols", "presets", "sources")
_PARAMETERS = ("parameter", "default", "takes", "meaning")
_REGISTRIES: Mapping[str, Registry] = {"methods": METHODS, "datasets": DATASETS, "protocols": PROTOCOLS}


@dataclasses.dataclass(frozen=True)
class Registered:
    """One line of a list: a name, what it is, its source, and why it cannot be used (empty if it can)."""

    name: str
    summary: str
    reference: str = ""
    setting: str = ""
    origin: str = "zslbench"
    unavailable: str = ""


@dataclasses.dataclass(frozen=True, repr=False)
class Info(VerbResult):
    """Everything that a method, data set or protocol declares.

    Attributes:
        kind, name, title, summary: what it is.
        facts: further facts by name, in order.
        params: one row per parameter: name, default, what is allowed, meaning.
        presets: one row per preset or ablation: name, source or meaning, and values (by data set and protocol if they
            differ).
        published: one row per cited number: source, data set, features, metric, value, note.
        model: the docstring of the class, in paragraphs.
        differences: sentences, each on one difference between this implementation and the paper or its public code.
        bibtex: the entry of its citation; empty if there is none.
        space: what `zslbench tune` searches, by hyper-parameter; empty if it searches the parameters' own ranges.
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
    bibtex: str = ""

    def __repr__(self) -> str:
        return f"<Info of {self.kind} {self.name}; print it, or use .to_frame() for its parameters>"

    @property
    def headline(self) -> str:
        """The title, what kind of thing it is, and its name."""
        return f"{self.title} ({self.kind} {self.name})"

    def sections(self) -> list[tuple[Sequence[str] | None, Sequence[Sequence[str]]]]:
        """Return heads and rows of each section: facts, parameters, presets, search space, published numbers."""
        sections: list[tuple[Sequence[str] | None, Sequence[Sequence[str]]]] = [
            (None, [*self.facts.items()]),
            (_PARAMETERS, self.params),
            (("preset", "source"), [preset[:2] for preset in self.presets]),
            (("`zslbench tune` searches", "values"), [*self.space.items()]),
            self._list_published(),
            (("preset", "values"), [(name, values) for name, _, values in self.presets]),
        ]
        return [(heads, rows) for heads, rows in sections if rows]

    def list_differences(self, width: int) -> list[str]:
        """Return the differences as a list in lines of `width` characters."""
        return wrap_sentences([f"- {text}" for text in self.differences], width)

    def _list_published(self) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        """Return heads and rows of published numbers, those of one source and data set side by side."""
        metrics = order_metrics(row[3] for row in self.published)
        numbers: dict[tuple[str, str, str, str], dict[str, str]] = {}
        for source, dataset, features, metric, value, note in self.published:
            numbers.setdefault((source, dataset, features, note), {})[metric] = value
        rows = [
            (source, title_data(dataset), features, *(values.get(metric, "") for metric in metrics), note)
            for (source, dataset, features, note), values in numbers.items()
        ]
        return ("published in", "dataset", "features", *metrics, "note"), rows

    @property
    def text(self) -> str:
        """What the command line prints."""
        parts = [f"{self.headline}\n{self.summary}\n"]
        parts += [write_columns(heads, rows) for heads, rows in self.sections()]
        if self.differences:
            parts.append("\n".join(["how this implementation differs", *self.list_differences(WIDE), ""]))
        return "\n".join([*parts, *([f"{self.bibtex.rstrip()}\n"] if self.bibtex else [])])

    def lay_out(self, format: str, room: int) -> list[Table]:
        """Return a table per section."""
        tables = [
            text_table("", heads or ("", ""), rows, words=range(1, len(heads or "ab")))
            for heads, rows in self.sections()
        ]
        head = Table((), (), remarks=(Remark("note", self.headline + ": " + self.summary),))
        return [head, *tables, Table((), (), remarks=tuple(Remark("note", text) for text in self.differences))]

    def write_json(self) -> str:
        """Return the text of json: one object with all that is declared."""
        return json_text(dataclasses.asdict(self))

    def list_facts(self) -> list[dict[str, str]]:
        """Return a row per parameter."""
        return [dict(zip(_PARAMETERS, row, strict=True)) for row in self.params]


_HEADS: Mapping[Kind, Sequence[str]] = {
    "presets": ("preset", "for", "source"),
    "sources": ("source", "published numbers"),
    "methods": ("name", "what it is", "published", "setting", "from"),
    "datasets": ("name", "what it is", "from"),
    "protocols": ("name", "what it is", "from"),
}
_MOST_OF_SOURCE = 70
"""Characters of a preset's source in a list."""
_FROM_HERE = "zslbench"
"""The last column of registered names is left out if it says nothing else."""


def list_(kind: Kind = "methods", runs: Path | str = "runs") -> Listing[Registered]:
    """Return the registered names of one kind, sorted; a plugin that cannot be imported is listed as unavailable.

    Sources are those of published numbers, by citation key, with their tables.
    Presets are those that methods bring, and those that were tuned into a folder of records. § marks a preset whose
    method has changed since; a damaged file is listed as unavailable. The text has the venue of a method's paper and
    the beginning of a preset's source; the items and `info` have all.

    Raises:
        BadValue: a kind that does not exist.
    """
    if kind not in KINDS:
        raise BadValue(f"there is no list of {kind!r}; choose one of: {', '.join(KINDS)}.")
    if kind == "presets":
        brought = [preset for entry in METHODS for preset in list_presets(entry)]
        tuned = _list_tuned(Path(runs))
        rows = [(item.name, _shorten_cells(item.reference), _shorten(item.summary)) for item in brought]
        rows += [(item.name, item.reference, item.unavailable or item.summary) for item in tuned]
        return Listing((*brought, *tuned), _HEADS[kind], rows)
    if kind == "sources":
        tables = group_values((number.source, number.table) for number in cited_numbers())
        cited = tuple(Registered(source, "; ".join(tables[source])) for source in sorted(tables))
        return Listing(cited, _HEADS[kind], [(item.name, item.summary) for item in cited])
    listed = _list_registered(kind)
    columns = [[item.name for item in listed], [item.unavailable or item.summary for item in listed]]
    if kind == "methods":
        columns += [[item.reference.rpartition(", ")[2] for item in listed], [item.setting for item in listed]]
    if any(item.origin != _FROM_HERE for item in listed):
        columns.append([item.origin for item in listed])
    return Listing(tuple(listed), _HEADS[kind][: len(columns)], list(zip(*columns, strict=True)))


def _shorten(summary: str) -> str:
    """Return the beginning of a preset's source, in whole words."""
    first = re.split(r"; |\. (?=[A-Z])", summary)[0]
    return textwrap.shorten(first, _MOST_OF_SOURCE, placeholder=" …", break_on_hyphens=False)


def _shorten_cells(reference: str) -> str:
    """Return data sets and protocols, each data set once.

    >>> _shorten_cells("cub/zsl, sun/zsl, cub/gzsl, sun/gzsl, awa1/gzsl")
    'cub, sun (zsl, gzsl), awa1 (gzsl)'
    """
    protocols = group_values(cell.partition("/")[::2] for cell in reference.split(", "))
    datasets = group_values((tuple(asked), dataset) for dataset, asked in protocols.items())
    texts = (", ".join(names) + f" ({', '.join(asked)})" * any(asked) for asked, names in datasets.items())
    return ", ".join(texts)


def list_data(root: Path | str | None = None) -> Listing[Listed]:
    """Return every registered data set by name, then those that were added; no data file is opened.

    Args:
        root: the folder of the xlsa17 data (default: as in `run`).
    """
    listed = inventory.list_(None if root is None else Path(root))
    rows: list[Sequence[str]] = []
    facts: list[dict[str, Any]] = []
    for item in listed:
        counts = item.counts
        images, classes = (f"{counts.images:,}", f"{counts.seen} + {counts.unseen}") if counts else ("", "")
        usual = "built in" if item.origin == "builtin" else "not on this machine"
        where = item.problem or ", ".join(map(str, item.folders)) or usual
        files = ", ".join(item.features) or "none", ", ".join(item.semantics) or "none"
        rows.append((item.name, item.title, images, classes, *files, where))
        numbers = {key: getattr(counts, key) if counts else None for key in ("images", "seen", "unseen")}
        texts = {key: ", ".join(map(str, getattr(item, key))) for key in ("features", "semantics", "folders")}
        facts.append({"name": item.name, "title": item.title, "origin": item.origin, **numbers, **texts})
        facts[-1] |= {"summary": item.summary, "problem": item.problem}
    heads = ("name", "title", "images", "seen + unseen", "features", "semantics", "where")
    return Listing(tuple(listed), heads, rows, facts)


def verify_data(name: str | None = None, root: Path | str | None = None) -> Listing[Verified]:
    """Read every choice of features and semantics of data sets on this machine, and check it; see `data verify`.

    The files are parsed anew, every rule and the catalogued counts are checked, and converted copies are hashed
    again; a damaged copy is reported and removed, so that the next load rebuilds it.

    Args:
        name: a catalogued data set, or an added one; None for all.
        root: the folder of the xlsa17 data (default: as in `run`).

    Raises:
        UnknownName: neither.
        DataMissing: the named data set is not on this machine.
    """
    verified = inventory.verify(name, None if root is None else Path(root))
    rows: list[Sequence[str]] = []
    facts: list[dict[str, Any]] = []
    for item in verified:
        folder = str(item.folder)
        read = ", ".join(f"{choice} {fingerprint}" for choice, fingerprint in item.fingerprints.items())
        texts = [("ok", read)] if item.ok else [("PROBLEM", problem) for problem in item.problems]
        rows += [(state, item.name, text, folder) for state, text in texts]
        facts.append({"name": item.name, "folder": folder, "ok": item.ok, "fingerprints": read})
        facts[-1] |= {"problems": " ".join(item.problems)}
    return Listing(tuple(verified), None, rows, facts)


def _list_registered(kind: Kind) -> list[Registered]:
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
    """Return everything that a method, data set or protocol declares, by its registered name or ``pkg.module:Class``.

    The name may also be the folder of a data set of one's own, which is then read, and a method may stand with presets
    and parameters, as in `run`.

    Raises:
        UnknownName: nothing has this name; the message offers the nearest one.
        Unavailable: it cannot be imported.
        DataMissing, BadData: a folder that does not exist, lacks a file, or whose files break a rule.
    """
    for registry in _REGISTRIES.values():
        try:
            entry = registry.entry(name)
        except UnknownName:
            continue
        return _describe(entry)
    if (dataset := added.find_added(name)) is not None:
        return _describe_added(dataset)
    if folder_of(name) is not None:
        return _describe_folder(name)
    if (method := re.split(r"[@\[]", name)[0]) != name:
        with contextlib.suppress(UnknownName):  # of a method, whose page has its presets and parameters
            return _describe(METHODS.entry(method))
    registered = [known for registry in _REGISTRIES.values() for known in registry.entries]
    raise UnknownName("name", name, [*registered, *added.names()])


def list_presets(entry: Entry) -> list[Registered]:
    """Return the presets and ablations that a method declares; none if it cannot be imported."""
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
        (param.name, format_value(param.default), param.describe_allowed(), param.help)
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
        described = Info("dataset", entry.name, card.title, card.summary, _without_empty(facts), rows)
        return dataclasses.replace(described, bibtex=bibtex(card.citation))
    if issubclass(cls, Protocol):
        facts = {"metrics": ", ".join(card.metrics), "version": str(card.version)}
        return Info("protocol", entry.name, card.title, card.summary, facts, rows)
    raise BadValue(f"{entry.name!r} is neither a method nor a dataset nor a protocol.")


def _describe_method(entry: Entry, cls: type[Method], rows: tuple[tuple[str, str, str, str], ...]) -> Info:
    card = cls.card
    facts = {
        "setting": f"{card.setting} (with the default parameters)",
        "depends on the seed": "yes" if card.stochastic else "no",
        "reference": card.reference,
        "citation": card.citation,
        "formula": card.formula,
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
            (row.cited_from, row.dataset, f"{row.features}, {row.semantics}", row.metric, f"{row.value:g}", row.note)
            for row in cited_numbers()
            if row.method == entry.name
        ),
        inspect.getdoc(cls) or "",
        card.differences,
        {name: describe_dimension(dimension) for name, dimension in cls.space.items()},
        bibtex(card.citation),
    )


def _describe_added(dataset: added.Added) -> Info:
    """Return what an added data set holds, which files it was made from, and how its split was made."""
    facts = {name.replace("_", " "): str(value) for name, value in dataclasses.asdict(dataset.counts).items()}
    facts["split"] = dataset.split or "its own"
    facts["unseen classes"] = ", ".join(dataset.facts.get("split", {}).get("unseen") or ())
    facts |= dataset.describe_sources()
    facts |= {f"fingerprint {choice}": text for choice, text in dataset.fingerprints.items()}
    facts["folder"] = str(dataset.folder)
    return Info("dataset", dataset.name, dataset.name, dataset.summary, _without_empty(facts))


def _describe_folder(text: str) -> Info:
    """Return what a folder in the xlsa17 format holds, counted with its usual features and semantics, or the first."""
    folder = expand_home(text).resolve()
    held = xlsa17.stems(folder)
    usual = zip(held, (xlsa17.FEATURES, xlsa17.SEMANTICS), strict=True)
    features, semantics = (name if name in stems else next(iter(stems), None) for stems, name in usual)
    dataset = load_dataset(text, features=features, semantics=semantics)
    counts = Counts.of(dataset)
    facts = {name.replace("_", " "): str(value) for name, value in dataclasses.asdict(counts).items()}
    facts["folds"] = str(len(dataset.folds) or "")
    dimension = dataset.features.shape[1]
    for kind, stems, read, length in (
        ("features", held.features, features, dimension),
        ("semantics", held.semantics, semantics, counts.attributes),
    ):
        facts |= {
            f"{kind} {stem}": f"{length}-d" if stem == read else f"take them with --{kind} {stem}" for stem in stems
        }
    facts |= {
        f"{stem} made of": added.describe_making(xlsa17.read_about(xlsa17.features_file(folder, stem)))
        for stem in held.features
    }
    facts[f"fingerprint {features}/{semantics}"] = dataset.fingerprint
    facts["folder"] = str(folder)
    summary = (
        f"{counts.images:,} images of {counts.seen} seen and {counts.unseen} unseen classes, {dimension}-d features, "
        f"{counts.attributes}-d semantics, its own split. "
        f"A folder of your own: -d {shlex.quote(text)}{_as_catalogued(dataset, folder)}."
    )
    return Info("dataset", dataset.name, folder.name, summary, _without_empty(facts))


def _as_catalogued(dataset: Dataset, folder: Path) -> str:
    """Return how to name a folder so that it counts as the catalogued data set whose name and numbers it has, if so."""
    for source in CATALOGUE:
        if source.card.folder.lower() == folder.name.lower():
            with contextlib.suppress(BadData):
                verify_counts(dataset, source.card)
                root = shlex.quote(str(folder.parent))
                return f"; as {source.card.title}, under the proposed split: -d {source.name} --data-root {root}"
    return ""


def _without_empty(facts: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in facts.items() if text}


def _write_values(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={format_value(value)}" for name, value in values.items()) or "the defaults"
