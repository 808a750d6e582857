"""Published numbers as rows of their own: every method that a source has, on the data sets of a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from zslbench.results.analysis.summary import Row
from zslbench.results.published import PROTOCOL, Published, cited_names, load, lookup, sources
from zslbench.spec import parse


@dataclasses.dataclass(frozen=True)
class CitedRow:
    """One method's numbers in one source, by data set and metric."""

    source: str
    title: str
    entries: Mapping[tuple[str, str], Published]

    @property
    def oracle(self) -> bool:
        """Whether the numbers are read as those of the best epoch on test images."""
        return any(entry.oracle for entry in self.entries.values())

    @property
    def transductive(self) -> bool:
        """Whether the method uses unlabelled test features."""
        return any(entry.transductive for entry in self.entries.values())

    @property
    def marks(self) -> str:
        """† for numbers picked on test images, ‡ for a transductive method."""
        return ("†" if self.oracle else "") + ("‡" if self.transductive else "")


def cited_rows(rows: Sequence[Row], metrics: Sequence[str], source: str, methods: Sequence[str]) -> list[CitedRow]:
    """Return what is published on the catalogued data sets of `rows`, the preferred source first.

    Args:
        rows: what was measured; on a user's own data nothing is published, whatever its name.
        metrics: which.
        source: a citation key, or ``best``: of each number the most preferred source alone.
        methods: specs; none: every method that a source has, its named ablations left out.
    """
    datasets = list(dict.fromkeys(row.dataset for row in rows if row.origin == "catalogue"))
    wanted = [(dataset, metric) for dataset in datasets for metric in metrics if metric in PROTOCOL]
    specs = map(parse, methods)
    names = [cited_names(spec.name.casefold(), spec.presets) for spec in specs] if methods else _all_methods()
    taken: set[tuple[tuple[str, ...], tuple[str, str]]] = set()
    out = []
    for key in sources() if source == "best" else (source,):
        for one in dict.fromkeys(names):
            found = {place: entry for place in wanted if (entry := _first(one, *place, key))}
            entries = {place: entry for place, entry in found.items() if (one, place) not in taken}
            if entries:
                out.append(CitedRow(key, next(iter(entries.values())).title, entries))
            if source == "best":
                taken |= {(one, place) for place in entries}
    return out


def _all_methods() -> list[tuple[str, ...]]:
    return [(entry.method,) for entry in load() if ":" not in entry.method]


def _first(names: Sequence[str], dataset: str, metric: str, source: str) -> Published | None:
    return next(filter(None, (lookup(name, dataset, metric, source) for name in names)), None)
