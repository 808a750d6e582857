"""Numbers that papers print, each with its source, for tables that set them beside or below measured ones."""

from __future__ import annotations

import csv
import dataclasses
import functools
import importlib.resources
from collections.abc import Sequence

from zslbench.errors import UnknownName
from zslbench.metrics import ACCURACIES
from zslbench.results.analysis.rows import Ranked, Row
from zslbench.spec import parse, presets_in

PREFERENCE = ("xian2018gbu", "zhang2017dem", "li2019lisgan", "feng2022gasl")
"""Which source is taken when none is asked for: the split's own authors first, an independent re-run last."""

PROTOCOL = {metric: protocol for protocol, metrics in ACCURACIES.items() for metric in metrics}
"""The protocol that each published metric belongs to."""

_WHOLE = {("lisgan", "S4")}
"""Ablations that are the whole method, so that the method's own numbers are theirs."""

_TRANSDUCTIVE = {"lisgan", "lisgan:S4"}
"""Whose published numbers use unlabelled test features (LisGAN's cascade); all others are inductive."""

_TITLES = {"devise": "DeViSE", "fclswgan": "f-CLSWGAN", "lisgan": "LisGAN"}
"""Methods as LisGAN's tables print them; the others are in capitals."""

_READ_ON_TEST, _READ_ON_TEST_IN = {"fclswgan", "gazsl", "lisgan"}, {"li2019lisgan", "feng2022gasl"}


@dataclasses.dataclass(frozen=True)
class Published:
    """One cited number.

    Attributes:
        source: citation key; table: where in the source it stands.
        method: a method's name, or ``lisgan:S3`` for a named ablation.
        dataset, features, semantics, metric: what it was measured on.
        value: percent.
        note: an erratum or a remark; empty for most.
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

    @property
    def title(self) -> str:
        """The method as it is printed, with a named ablation: ``LisGAN@S3``."""
        name, _, preset = self.method.partition(":")
        return _TITLES.get(name, name.upper()) + (f"@{preset}" if preset else "")

    @property
    def transductive(self) -> bool:
        """Whether the cited method uses unlabelled test features."""
        return self.method in _TRANSDUCTIVE

    @property
    def oracle(self) -> str:
        """The title of a method whose public code picks the epoch on test images; empty for all others.

        Its numbers are read as those of oracle selection, since the papers do not say how the epoch was picked.
        """
        read = self.source in _READ_ON_TEST_IN and self.method.partition(":")[0] in _READ_ON_TEST
        return self.title.partition("@")[0] if read else ""


@functools.cache
def load() -> tuple[Published, ...]:
    """Return every cited number, in the order of the file."""
    text = importlib.resources.files("zslbench.results.analysis").joinpath("published.csv").read_text(encoding="utf-8")
    return tuple(Published(**{**line, "value": float(line["value"])}) for line in csv.DictReader(text.splitlines()))  # type: ignore[arg-type]


@functools.cache
def sources() -> tuple[str, ...]:
    """Return the citation keys, the preferred first."""
    keys = {entry.source for entry in load()}
    return tuple(sorted(keys, key=lambda key: (PREFERENCE.index(key) if key in PREFERENCE else len(PREFERENCE), key)))


def check_source(source: str) -> None:
    """Refuse a source that has no numbers here, naming those that have (UnknownName)."""
    if source not in sources():
        raise UnknownName("source of published numbers", source, sources())


@functools.cache
def _index() -> dict[tuple[str, str, str, str], Published]:
    return {(entry.source, entry.method, entry.dataset, entry.metric): entry for entry in load()}


def lookup(names: Sequence[str], dataset: str, metric: str, source: str | None = None) -> Published | None:
    """Return the number of the first of some names that has one, from `source` or else from the most preferred one.

    >>> entry = lookup(["lisgan"], "cub", "H")
    >>> entry.source, entry.table, entry.value
    ('li2019lisgan', 'Table 4', 51.6)
    """
    if source is not None:
        check_source(source)
    keys = [(key, name) for name in names for key in (sources() if source is None else (source,))]
    return next((entry for key, name in keys if (entry := _index().get((key, name, dataset, metric)))), None)


def find_comparable_number(row: Row, metric: str, source: str) -> Published | None:
    """Return the cited number that may stand beside a measured one: same method, data set, protocol and metric.

    Nor does a transductive number stand beside an inductive row, or the other way round. A user's own data has no
    published numbers, whatever its name. `source` is a citation key, or ``best`` for the most preferred one.
    """
    if row.origin != "catalogue" or PROTOCOL.get(metric) != row.protocol:
        return None
    names = cited_names(row.method, presets_in(row.label))
    entry = lookup(names, row.dataset, metric, None if source == "best" else source)
    return entry if entry and entry.transductive == (row.setting == "transductive") else None


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
    title: str
    entries: tuple[Published, ...]


def cited_rows(rows: Sequence[Row], metrics: Sequence[str], source: str, methods: Sequence[str]) -> list[CitedRow]:
    """Return what is published on the catalogued data sets of `rows`, the preferred source first.

    `source` is a citation key, or ``best``: of each number the most preferred source alone. Without `methods` (specs)
    these are all that a source has, named ablations left out.
    """
    datasets = dict.fromkeys(row.dataset for row in rows if row.origin == "catalogue")
    wanted = [(dataset, metric) for dataset in datasets for metric in metrics if metric in PROTOCOL]
    cited = [(entry.method,) for entry in load() if ":" not in entry.method]
    names = [cited_names(spec.name.casefold(), spec.presets) for spec in map(parse, methods)] or cited
    taken: set[tuple[object, ...]] = set()
    out = []
    for key in sources() if source == "best" else (source,):
        for alike in dict.fromkeys(names):
            columns = [column for column in wanted if (alike, *column) not in taken]
            entries = tuple(entry for column in columns if (entry := lookup(alike, *column, key)))
            if entries:
                setting = "transductive" if any(entry.transductive for entry in entries) else "inductive"
                oracle = any(entry.oracle for entry in entries)
                title = entries[0].title
                out.append(CitedRow(setting=setting, oracle=oracle, source=key, title=title, entries=entries))
            taken |= {(alike, entry.dataset, entry.metric) for entry in entries}
    return out
