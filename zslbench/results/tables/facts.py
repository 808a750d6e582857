"""Numbers for programs: flat facts of what a table shows, as CSV and JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from zslbench.files import csv_text, json_text
from zslbench.results.analysis.published import PROTOCOL, CitedRow, Published
from zslbench.results.analysis.rows import CALIBRATED, Row, Stat, group_values

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
        stats = {name: row.metrics[name] for name in metrics if name in row.metrics}
        facts["metrics"] = {name: {**_numbers(stat), "n": stat.n} for name, stat in stats.items()}
        if beside is not None:
            facts["published"] = {name: dict(entry) for name, entry in beside[number].items()}
        if below is not None:
            facts["source"] = None
        out.append(facts)
    for cited in below or ():
        for entries in group_values((entry.dataset, entry) for entry in cited.entries).values():
            numbers = {entry.metric: {"mean": entry.value, **pick_facts(entry, "table", "note")} for entry in entries}
            out.append({**_cited_facts(cited, entries[0]), "source": cited.source, "metrics": numbers})
    return out


def csv_rows(
    rows: Sequence[Row], metrics: Sequence[str], beside: Beside | None, below: Sequence[CitedRow] | None
) -> list[dict[str, Any]]:
    """Return one row of facts for each row and metric; takes what `json_rows` takes."""
    out = []
    for facts in json_rows(rows, metrics, beside, below):
        numbers_of, entries, source = facts.pop("metrics"), facts.pop("published", {}), facts.pop("source", None)
        constants = {key: facts.pop(key, ()) for key in ("gammas", "gamma_folds")}
        for name, numbers in numbers_of.items():
            row = facts | {"metric": name} | numbers
            row |= {key: values if CALIBRATED in name else () for key, values in constants.items()}
            if name.endswith("†") and "†" not in facts["marks"]:
                row["marks"] = "†" + facts["marks"]
            if below is not None:
                row |= {"source": source, "table": numbers.get("table"), "note": numbers.get("note")}
            if beside is not None:
                published = entries.get(name, {})
                row["published"] = published.get("value")
                row |= {f"published_{key}": published.get(key) for key in ("source", "table", "note")}
            out.append(row)
    return out


def _facts(row: Row) -> dict[str, Any]:
    steps: dict[str, Any] = {"step": "last" if row.selected.get("step") is None else row.selected["step"]}
    steps |= {key: row.selected.get(key) for key in ("steps", "points")}
    return pick_facts(row, *_ROW) | steps | {"seeds": row.seeds}


def _numbers(stat: Stat) -> dict[str, float | None]:
    low, high = stat.interval() or (None, None)
    return round_numbers({"mean": stat.mean, "std": stat.std, "ci_low": low, "ci_high": high})


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
