"""Numbers for programs: flat facts of what a table shows, as CSV and JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from zslbench.results.analysis.published import PROTOCOL, CitedRow, Published, find_comparable_number
from zslbench.results.analysis.rows import CALIBRATED, Row, Stat, group_values

_DIGITS = 6
_ROW = (
    *("method", "label", "params", "version", "title", "setting", "dataset", "features", "semantics", "fingerprint"),
    *("protocol", "protocol_version", "protocol_params", "stage", "fold", "folds"),
    *("selection", "marks", "source_state", "replaced"),
)
_PUBLISHED = ("value", "source", "table", "kind", "features", "semantics", "note")


def round_number(value: float | None) -> float | None:
    """Return a number as data formats write it: with six digits; NaN and None give None."""
    return None if value is None or math.isnan(value) else round(value, _DIGITS)


def round_numbers(numbers: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return numbers by name as data formats write them."""
    return {name: round_number(value) for name, value in numbers.items()}


def pick_facts(source: object, *names: str) -> dict[str, Any]:
    """Return attributes of an object by their names."""
    return {name: getattr(source, name) for name in names}


def table_rows(
    rows: Sequence[Row], metrics: Sequence[str], source: str | None, cited: Sequence[CitedRow] | None, format: str
) -> list[dict[str, Any]]:
    """Return the facts of a table as csv (one for each row and metric) or json (one for each row) has them.

    Accuracies are in percent.

    Args:
        rows, metrics: what was measured; source: of published numbers; None leaves them out.
        cited: published rows, one more object for each of their data sets; ``source`` is null in measured ones. None:
            published numbers stand beside measured ones.
    """
    out = []
    for row in rows:
        step = row.selected.get("step")
        facts = pick_facts(row, *_ROW) | {"step": "last" if step is None else step}
        facts |= {key: row.selected.get(key) for key in ("steps", "points")}
        facts |= {"seeds": row.seeds, "n": len(row.seeds)}
        facts |= {"gammas": row.gammas or row.oracle_gammas, "gamma_folds": row.gamma_folds}
        facts |= {"gammas†": row.oracle_gammas} if row.gammas and row.oracle_gammas else {}
        stats = {name: row.metrics[name] for name in metrics if name in row.metrics}
        facts["metrics"] = {name: {**_numbers(stat), "n": stat.n} for name, stat in stats.items()}
        if source and cited is None:
            beside = {name: entry for name in metrics if (entry := find_comparable_number(row, name, source))}
            facts["published"] = {name: pick_facts(entry, *_PUBLISHED) for name, entry in beside.items()}
        if cited is not None:
            facts["source"] = None
        out.append(facts)
    for cited_row in cited or ():
        of_data = group_values(((entry.dataset, entry.features, entry.semantics), entry) for entry in cited_row.entries)
        for entries in of_data.values():
            numbers = {
                entry.metric: {"mean": entry.value, **pick_facts(entry, "table", "kind", "note")} for entry in entries
            }
            out.append(_cited_facts(cited_row, entries[0]) | {"source": cited_row.source, "metrics": numbers})
    return out if format == "json" else [flat for facts in out for flat in _flatten(facts)]


def _flatten(facts: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the facts of each metric of a row."""
    numbers_of, published, source = facts.pop("metrics"), facts.pop("published", None), facts.pop("source", "")
    on_dev = {key: facts.pop(key, ()) for key in ("gammas", "gamma_folds")}
    on_test = {"gammas": facts.pop("gammas†", on_dev["gammas"]), "gamma_folds": ()}
    none: dict[str, Any] = {"gammas": (), "gamma_folds": ()}
    for name, numbers in numbers_of.items():
        flat = facts | {"metric": name} | numbers
        flat |= none if CALIBRATED not in name else on_test if name.endswith("†") else on_dev
        if name.endswith("†") and "†" not in facts["marks"]:
            flat["marks"] = "†" + facts["marks"]
        if source != "":
            flat |= {"source": source} | {key: numbers.get(key) for key in ("table", "kind", "note")}
        if published is not None:
            entry = published.get(name, {})
            flat["published"] = entry.get("value")
            flat |= {f"published_{key}": entry.get(key) for key in ("source", "table", "kind", "note")}
        yield flat


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
