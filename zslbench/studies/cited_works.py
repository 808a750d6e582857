"""The works that a table rests on: those of its methods, data sets and split, and the sources of published numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from zslbench.errors import ZslbenchError
from zslbench.registry import DATASETS, METHODS, Registry
from zslbench.results.analysis.published import CitedRow, find_comparable_number
from zslbench.results.analysis.rows import CALIBRATED, Row
from zslbench.results.bibliography import CALIBRATED_STACKING, PROPOSED_SPLIT, entries


def cited_works(
    rows: Sequence[Row], metrics: Sequence[str], source: str | None, cited: Sequence[CitedRow] | None
) -> Iterator[tuple[str, str]]:
    """Yield the citation keys of a table with what each is cited for; an empty key where none is known.

    Args:
        rows, metrics: what was measured; source: of published numbers beside them; None: there are none.
        cited: published rows.
    """
    methods = [row.method for row in rows] + [_method_of(row) for row in cited or ()]
    for name in dict.fromkeys(methods):
        yield citation_key(METHODS, name), f"method {name}"
    yield from cited_data((row.dataset, row.origin) for row in rows)
    if any(CALIBRATED in name for name in metrics):
        yield CALIBRATED_STACKING, "calibrated stacking"
    numbers = [row.source for row in cited or ()]
    if source and cited is None:
        beside = (find_comparable_number(row, name, source) for row in rows for name in metrics if name in row.metrics)
        numbers += [entry.source for entry in beside if entry]
    for key in dict.fromkeys(numbers):
        yield key, "published numbers"


def cited_data(datasets: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield the citation keys of data sets, each with its origin, and of the proposed split where one has it."""
    datasets = list(dict.fromkeys(datasets))
    for name, origin in datasets:
        key = "" if origin in ("own", "added") else citation_key(DATASETS, name.partition("[")[0])
        yield key, f"data set {name}"
    if any(origin == "catalogue" for _, origin in datasets):
        yield PROPOSED_SPLIT, "proposed split"


def method_keys(rows: Iterable[Row], cited: Iterable[CitedRow]) -> dict[str, str]:
    """Return the citation keys of the methods of measured and of published rows, those that have an entry."""
    names = dict.fromkeys([*(row.method for row in rows), *map(_method_of, cited)])
    keys = {name: citation_key(METHODS, name) for name in names}
    return {name: key for name, key in keys.items() if key in entries()}


def citation_key(registry: Registry, name: str) -> str:
    """Return the citation key on the card of what is registered; empty where there is none, as for a class of a file.

    A user's own file is not imported for it.
    """
    if ":" in name:
        return ""
    try:
        card: Any = getattr(registry.entry(name).load(), "card", None)
    except ZslbenchError:
        return ""
    return str(getattr(card, "citation", ""))


def _method_of(row: CitedRow) -> str:
    return row.entries[0].method.partition(":")[0]
