"""Tables as data: CSV, a line a row and metric, and JSON, an object a row."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from zslbench.files import csv_text, json_text
from zslbench.results.analysis.summary import CALIBRATED, Row, Stat
from zslbench.results.published import PROTOCOL, Published
from zslbench.results.tables.cited_rows import CitedRow

_DIGITS = 6

Cited = Mapping[str, Mapping[str, Any]]
"""Published numbers beside one row, by metric: value, source, table, features, semantics, note."""


def json_rows(
    rows: Sequence[Row],
    metrics: Sequence[str],
    beside: Sequence[Cited] | None,
    below: Sequence[CitedRow] | None = None,
) -> str:
    """Write one object a row; accuracies in percent.

    Args:
        rows: what was measured; metrics: which, in order.
        beside: published numbers of each row, as its ``published``; None: without.
        below: published rows, one more object for each of their data sets; ``source`` is null in measured ones. None:
            without.
    """
    out = []
    for place, row in enumerate(rows):
        facts = _facts(row) | {
            "params": dict(row.params),
            "protocol_params": dict(row.protocol_params),
            "folds": list(row.folds),
            "seeds": list(row.seeds),
            "n": len(row.seeds),
            "gammas": list(row.gammas),
            "gamma_folds": list(row.gamma_folds),
            "metrics": {
                name: {"mean": _round(stat.mean), "std": _round(stat.std), **_interval(stat), "n": stat.n}
                for name, stat in _ordered(row, metrics)
            },
        }
        if beside is not None:
            facts["published"] = {name: dict(entry) for name, entry in beside[place].items()}
        if below is not None:
            facts["source"] = None
        out.append(facts)
    for one, found in _by_data(below or ()):
        numbers = {entry.metric: {"mean": entry.value, "table": entry.table, "note": entry.note} for entry in found}
        out.append({**_cited_facts(one, found[0]), "source": one.source, "metrics": numbers})
    return json_text(out)


def csv_rows(
    rows: Sequence[Row],
    metrics: Sequence[str],
    beside: Sequence[Cited] | None,
    below: Sequence[CitedRow] | None = None,
) -> str:
    """Write one line a row and metric; accuracies in percent, parameters as JSON, seeds parted by spaces.

    Takes what `json_rows` takes; the lines of published rows have a ``source``.
    """
    lines = []
    for place, row in enumerate(rows):
        facts = _facts(row) | {
            "params": json.dumps(dict(row.params), ensure_ascii=False),
            "protocol_params": json.dumps(dict(row.protocol_params), ensure_ascii=False),
            "folds": " ".join(map(str, row.folds)),
            "seeds": " ".join(map(str, row.seeds)),
        }
        for name, stat in _ordered(row, metrics):
            line = facts | {"n": stat.n, "metric": name, "mean": _round(stat.mean), "std": _round(stat.std)}
            line |= _interval(stat)
            for key, values in (("gammas", row.gammas), ("gamma_folds", row.gamma_folds)):
                line[key] = " ".join(map(str, values)) if CALIBRATED in name else ""
            if name.endswith("†") and "†" not in row.marks:
                line["marks"] = "†" + row.marks
            if below is not None:
                line |= {"source": None, "table": None, "note": None}
            if beside is not None:
                entry = beside[place].get(name, {})
                line["published"] = entry.get("value")
                line |= {f"published_{key}": entry.get(key) for key in ("source", "table", "note")}
            lines.append(line)
    for one, found in _by_data(below or ()):
        facts = _cited_facts(one, found[0])
        lines += [facts | {"metric": entry.metric, "mean": entry.value} | _of_source(entry) for entry in found]
    return csv_text(lines)


def _facts(row: Row) -> dict[str, Any]:
    return {
        "method": row.method,
        "label": row.label,
        "params": None,
        "version": row.version,
        "title": row.title,
        "setting": row.setting,
        "dataset": row.dataset,
        "features": row.features,
        "semantics": row.semantics,
        "fingerprint": row.fingerprint,
        "protocol": row.protocol,
        "protocol_version": row.protocol_version,
        "protocol_params": None,
        "stage": row.stage,
        "fold": row.fold,
        "folds": None,
        "selection": row.selection,
        "marks": row.marks,
        "source_state": row.source_state,
        "step": "last" if row.step is None else row.step,
        "steps": row.selected.get("steps"),
        "points": row.selected.get("points"),
    }


def _by_data(rows: Sequence[CitedRow]) -> Iterator[tuple[CitedRow, list[Published]]]:
    for row in rows:
        for dataset in dict.fromkeys(entry.dataset for entry in row.entries.values()):
            yield row, [entry for entry in row.entries.values() if entry.dataset == dataset]


def _cited_facts(row: CitedRow, entry: Published) -> dict[str, Any]:
    return {
        "method": entry.method.partition(":")[0],
        "label": entry.method.replace(":", "@"),
        "title": row.title,
        "setting": "transductive" if row.transductive else "inductive",
        "dataset": entry.dataset,
        "features": entry.features,
        "semantics": entry.semantics,
        "protocol": PROTOCOL[entry.metric],
        "stage": "final",
        "selection": "oracle" if row.oracle else None,
        "marks": row.marks,
    }


def _of_source(entry: Published) -> dict[str, str]:
    return {"source": entry.source, "table": entry.table, "note": entry.note}


def _interval(stat: Stat) -> dict[str, float | None]:
    low, high = stat.interval() or (None, None)
    return {"ci_low": _round(low), "ci_high": _round(high)}


def _ordered(row: Row, metrics: Sequence[str]) -> list[tuple[str, Stat]]:
    return [(name, row.metrics[name]) for name in metrics if name in row.metrics]


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)
