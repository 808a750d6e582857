"""Numbers that papers print, each with its source, for tables that set them beside or below measured ones."""

from __future__ import annotations

import csv
import dataclasses
import functools
import importlib.resources
import itertools
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from zslbench.errors import UnknownName
from zslbench.metrics import ACCURACIES
from zslbench.registry import METHODS
from zslbench.results.analysis.rows import Ranked, Row
from zslbench.spec import parse, presets_in

KINDS = {"measured": "", "quoted": "quoted", "rerun": "re-run", "other": "not comparable"}
"""Whose number it is, first-hand ones first, and the word for it.

It is that of the source (authors of a method or of the split), of a paper that the source quotes, or of a re-run. Those
of kind ``other`` compare with no row here: they rest on other training images, another split, or images themselves.
"""

USUAL_FEATURES = "res101"
"""The features of the field, whose numbers may stand beside those of rows on any other features, with a caution."""

PROTOCOL = {metric: protocol for protocol, metrics in ACCURACIES.items() for metric in metrics}
"""The protocol that each published metric belongs to."""

_WHOLE = {("lisgan", "S4")}
"""Ablations that are the whole method, so that the method's own numbers are theirs."""

_NAMES = {"cvczsl": "cvc", "rffgzsl": "rff"}
"""Methods whose name here is not their title without its punctuation."""


class Published(NamedTuple):
    """One cited number.

    Attributes:
        source: citation key; table: where in the source it stands.
        method: a method's name, or ``lisgan:S3`` for a named ablation.
        dataset, features, semantics, metric: what it was measured on.
        value: percent.
        note: an erratum or a remark; empty for most.
        title: the method as it is printed, with a named ablation: ``LisGAN@S3``.
        kind: of `KINDS`.
        marks: † where public code picks the epoch on test images; ‡ where the method uses unlabelled test features.
    """

    source: str
    table: str
    method: str
    dataset: str
    features: str
    semantics: str
    metric: str
    value: float
    note: str
    title: str = ""
    kind: str = "measured"
    marks: str = ""

    @property
    def cited_from(self) -> str:
        """The source, with a word where it is not first-hand: ``li2019lisgan, quoted``."""
        return f"{self.source}, {KINDS[self.kind]}" if KINDS[self.kind] else self.source

    @property
    def transductive(self) -> bool:
        """Whether the cited method uses unlabelled test features."""
        return "‡" in self.marks

    @property
    def oracle(self) -> str:
        """The title of a method whose public code picks the epoch on test images; empty for all others.

        Its numbers are read as those of oracle selection, since the papers do not say how the epoch was picked.
        """
        return self.title.partition("@")[0] if "†" in self.marks else ""

    def distance(self, features: str, semantics: str) -> tuple[bool, bool, bool, bool]:
        """Return how far it is from rows on some data; it compares with them where the first three are False."""
        usual = self.features in (features, USUAL_FEATURES)
        return self.kind == "other", self.semantics != semantics, not usual, self.features != features


@functools.cache
def load() -> tuple[Published, ...]:
    """Return every cited number, in the order of the file, which has those of a method on one data set in a line."""
    text = importlib.resources.files("zslbench.results.analysis").joinpath("published.csv").read_text(encoding="utf-8")
    numbers = []
    for line in csv.DictReader(text.splitlines()):
        title, note = line.pop("method"), line.pop("note")
        title, marks = title.rstrip("†‡"), "".join(mark for mark in "†‡" if mark in title)
        values = {metric: float(value) for metric in PROTOCOL if (value := line.pop(metric))}
        name, *ablation = title.partition(":")
        name = re.sub(r"[^a-z0-9+]", "", name.casefold())
        method = "".join([_NAMES.get(name, name), *ablation])
        facts = line | {"method": method, "title": title.replace(":", "@"), "marks": marks, "note": note}
        numbers += [Published(**facts, metric=metric, value=value) for metric, value in values.items()]
    return tuple(numbers)


@functools.cache
def sources() -> tuple[str, ...]:
    """Return the citation keys, of the same kind of numbers the preferred first."""
    return tuple(dict.fromkeys(entry.source for entry in load()))


def check_source(source: str, *further: str) -> None:
    """Refuse a source that has no numbers here and is none of `further` names either (UnknownName)."""
    allowed = *further, *sources()
    if source not in allowed:
        raise UnknownName("source of published numbers", source, allowed, verb="`zslbench list sources`")


@functools.cache
def _index() -> dict[tuple[str, str, str], list[Published]]:
    numbers: dict[tuple[str, str, str], list[Published]] = {}
    for entry in load():
        numbers.setdefault((entry.method, entry.dataset, entry.metric), []).append(entry)
    return numbers


def lookup(
    names: Sequence[str],
    dataset: str,
    metric: str,
    source: str | None = None,
    data: tuple[str, str] = (USUAL_FEATURES, "att"),
    transductive: bool | None = None,
) -> Published | None:
    """Return the number of the first of some names that has one for rows on some features and semantics (`data`).

    Of several it is the one nearest to that data, then a first-hand one, then that of the preferred source. Without
    `source` it is one that compares with such rows; a source is taken at its word.

    >>> entry = lookup(["lisgan"], "cub", "H")
    >>> entry.source, entry.table, entry.value
    ('li2019lisgan', 'Table 4', 51.6)
    """
    if source is not None:
        check_source(source)
    for name in names:
        entries = [
            entry
            for entry in _index().get((name, dataset, metric), ())
            if source in (None, entry.source) and transductive in (None, entry.transductive)
            if source or not any(entry.distance(*data)[:3])
        ]
        if entries:
            return min(entries, key=lambda entry: (entry.distance(*data), [*KINDS].index(entry.kind)))
    return None


def find_comparable_number(row: Row, metric: str, source: str) -> Published | None:
    """Return the cited number that may stand beside a measured one: same method, data set, protocol and metric.

    Nor does a transductive number stand beside an inductive row, or the other way round. A user's own data has no
    published numbers, whatever its name. `source` is a citation key, or ``best`` for the most preferred one.
    """
    if row.origin != "catalogue" or PROTOCOL.get(metric) != row.protocol:
        return None
    names, asked = cited_names(row.method, presets_in(row.label)), None if source == "best" else source
    transductive = row.setting == "transductive"
    return lookup(names, row.dataset, metric, asked, (row.features, row.semantics), transductive)


def find_left_out(rows: Iterable[Row], metrics: Sequence[str], shown: Sequence[Published]) -> list[Published]:
    """Return the numbers of measured methods that compare with none of their rows, and are not shown."""
    left_out: dict[Published, bool] = {}
    for row in rows:
        names = cited_names(row.method, presets_in(row.label)) if row.origin == "catalogue" else ()
        cells = [(name, row.dataset, metric) for name in names for metric in metrics]
        for entry in [entry for cell in cells for entry in _index().get(cell, ())]:
            compares = entry.transductive == (row.setting == "transductive")
            compares &= not any(entry.distance(row.features, row.semantics)[:3])
            left_out[entry] = left_out.get(entry, True) and not compares
    return [entry for entry, is_left_out in left_out.items() if is_left_out and entry not in shown]


def find_rivals(entry: Published) -> list[Published]:
    """Return what other sources print for the same number, where they print another value; re-runs are no rivals."""
    alike = [
        other
        for other in _index()[entry.method, entry.dataset, entry.metric]
        if (other.features, other.semantics, other.transductive)
        == (entry.features, entry.semantics, entry.transductive)
    ]
    return [other for other in alike if other.kind in ("measured", "quoted") and other.value != entry.value]


def cited_names(method: str, presets: Sequence[str]) -> tuple[str, ...]:
    """Return the names that a method with these presets is cited under, the closest first.

    >>> cited_names("lisgan", ["S3"]), cited_names("lisgan", ["S4"]), cited_names("lisgan", ["published"])
    (('lisgan:S3',), ('lisgan:S4', 'lisgan'), ('lisgan',))
    """
    for preset in presets:
        name = f"{method}:{preset}"
        if any(entry.method == name for entry in load()):
            return (name, method) if (method, preset) in _WHOLE else (name,)
    return (method,)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CitedRow(Ranked):
    """One method's numbers in one source; oracle where they are read as those of the best epoch on test images."""

    source: str
    cited_from: str
    title: str
    entries: tuple[Published, ...]


def cited_rows(rows: Sequence[Row], metrics: Sequence[str], source: str, methods: Sequence[str]) -> list[CitedRow]:
    """Return what is published on the catalogued data sets of `rows`, the preferred source first.

    `source` is a citation key, or ``best``: of each number the most preferred source alone, where it compares. Without
    `methods` (specs) these are all that a source has, named ablations left out, and with ``best`` those of measured
    methods and of those that zslbench has.
    """
    data = dict.fromkeys((row.dataset, (row.features, row.semantics)) for row in rows if row.origin == "catalogue")
    known = {*METHODS.entries, *(row.method for row in rows)}
    cited = {entry.method: None for entry in load() if source != "best" or entry.method in known}
    names = [cited_names(spec.name.casefold(), spec.presets) for spec in map(parse, methods)] or [
        (name,) for name in cited if ":" not in name
    ]
    asked, order = None if source == "best" else source, list(dict.fromkeys(entry.cited_from for entry in load()))
    cells = itertools.product(enumerate(dict.fromkeys(names)), (False, True), data, metrics)
    entries: dict[tuple[int, int, bool], dict[Published, None]] = {}
    for (number, alike), transductive, (dataset, described), metric in cells:
        if entry := lookup(alike, dataset, metric, asked, described, transductive):
            entries.setdefault((order.index(entry.cited_from), number, transductive), {})[entry] = None
    out = []
    for (_, _, transductive), of_row in sorted(entries.items(), key=lambda item: item[0]):
        setting, oracle = "transductive" if transductive else "inductive", any(entry.oracle for entry in of_row)
        facts = {name: getattr(next(iter(of_row)), name) for name in ("source", "cited_from", "title")}
        out.append(CitedRow(setting=setting, oracle=oracle, entries=tuple(of_row), **facts))
    return out
