"""Numbers for programs: flat facts of what a table shows, as CSV and JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from zslbench.files import csv_text, json_text
from zslbench.results.analysis.published import PROTOCOL, CitedRow, Published
from zslbench.results.analysis.rows import CALIBRATED, Row, Stat

_DIGITS = 6
_ROW = (
    *("method", "label", "params", "version", "title", "setting", "dataset", "features", "semantics", "fingerprint"),
    *("protocol", "protocol_version", "protocol_params", "stage", "fold", "folds"),
    *("selection", "marks", "source_state"),
)

Beside = Sequence[Mapping[str, Mapping[str, Any]]]
"""Published numbers beside each row, by metric: value, source, table, features, semantics, note."""


def write_data(rows: Sequence[Mapping[str, Any]], format: str) -> str:
    """Write rows of facts as csv (a line each) or json (an object each)."""
    return json_text([dict(row) for row in rows]) if format == "json" else csv_text(rows)


def round_number(value: float | None) -> float | None:
    """Return a number as data formats write it: six digits, None where there is none."""
    return None if value is None or math.isnan(value) else round(value, _DIGITS)


def round_numbers(numbers: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return numbers by name as data formats write them."""
    return {name: round_number(value) for name, value in numbers.items()}


def pick_facts(source: object, *names: str) -> dict[str, Any]:
    """Return attributes of an object by their names."""
    return {name: getattr(source, name) for name in names}


def json_rows(
    rows: Sequence[Row], metrics: Sequence[str], beside: Beside | None, below: Sequence[CitedRow] | None
) -> list[dict[str, Any]]:
    """Return one object for each row; accuracies in percent.

    Args:
        rows: what was measured; metrics: which, in order.
        beside: published numbers, as ``published`` of the row; None: without.
        below: published rows, one more object for each of their data sets; ``source`` is null in measured ones. None:
            without.
    """
    out = []
    for number, row in enumerate(rows):
        facts = _facts(row) | {"n": len(row.seeds)} | pick_facts(row, "gammas", "gamma_folds")
        facts["metrics"] = {name: {**_numbers(stat), "n": stat.n} for name, stat in _ordered(row, metrics)}
        if beside is not None:
            facts["published"] = {name: dict(entry) for name, entry in beside[number].items()}
        if below is not None:
            facts["source"] = None
        out.append(facts)
    for cited, entries in _by_data(below or ()):
        numbers = {entry.metric: {"mean": entry.value, "table": entry.table, "note": entry.note} for entry in entries}
        out.append({**_cited_facts(cited, entries[0]), "source": cited.source, "metrics": numbers})
    return out


def csv_rows(
    rows: Sequence[Row], metrics: Sequence[str], beside: Beside | None, below: Sequence[CitedRow] | None
) -> list[dict[str, Any]]:
    """Return one row of facts for each row and metric; takes what `json_rows` takes."""
    out = []
    for number, row in enumerate(rows):
        for name, stat in _ordered(row, metrics):
            facts = _facts(row) | {"n": stat.n, "metric": name} | _numbers(stat)
            for key in ("gammas", "gamma_folds"):
                facts[key] = getattr(row, key) if CALIBRATED in name else ()
            if name.endswith("†") and "†" not in row.marks:
                facts["marks"] = "†" + row.marks
            if below is not None:
                facts |= {"source": None, "table": None, "note": None}
            if beside is not None:
                published = beside[number].get(name, {})
                facts["published"] = published.get("value")
                facts |= {f"published_{key}": published.get(key) for key in ("source", "table", "note")}
            out.append(facts)
    for cited, entries in _by_data(below or ()):
        for entry in entries:
            numbers = {"metric": entry.metric, "mean": entry.value}
            out.append(_cited_facts(cited, entry) | numbers | pick_facts(entry, "source", "table", "note"))
    return out


def _facts(row: Row) -> dict[str, Any]:
    steps: dict[str, Any] = {"step": "last" if row.step is None else row.step}
    steps |= {key: row.selected.get(key) for key in ("steps", "points")}
    return pick_facts(row, *_ROW) | steps | {"seeds": row.seeds}


def _numbers(stat: Stat) -> dict[str, float | None]:
    low, high = stat.interval() or (None, None)
    return round_numbers({"mean": stat.mean, "std": stat.std, "ci_low": low, "ci_high": high})


def _ordered(row: Row, metrics: Sequence[str]) -> list[tuple[str, Stat]]:
    return [(name, row.metrics[name]) for name in metrics if name in row.metrics]


def _by_data(rows: Sequence[CitedRow]) -> Iterator[tuple[CitedRow, list[Published]]]:
    for row in rows:
        for dataset in dict.fromkeys(entry.dataset for entry in row.entries):
            yield row, [entry for entry in row.entries if entry.dataset == dataset]


def _cited_facts(row: CitedRow, entry: Published) -> dict[str, Any]:
    return {
        "method": entry.method.partition(":")[0],
        "label": entry.method.replace(":", "@"),
        **pick_facts(row, "title", "setting"),
        **pick_facts(entry, "dataset", "features", "semantics"),
        "protocol": PROTOCOL[entry.metric],
        "stage": "final",
        "selection": "oracle" if row.oracle else None,
        "marks": row.marks,
    }
