"""Comparisons as JSON and CSV, in points of percent."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from zslbench.files import csv_text, json_text
from zslbench.results.analysis.across import Across
from zslbench.results.analysis.comparison import Comparison
from zslbench.results.analysis.entrants import Entrant
from zslbench.results.tables.comparison_report import Report, sentences, shown

_DIGITS = 6
_ENTRANT = ("", "_label", "_setting", "_selection", "_seeds", "_value")
_HEADS = (
    *("dataset", "features", "semantics", "fold", "protocol", "metric", "over"),
    *(f"{side}{part}" for side in ("a", "b") for part in _ENTRANT),
    *("classes", "images", "difference", "low", "high", "p", "p_holm", "smallest_p_holm"),
)


def json_report(report: Report) -> str:
    """Write one object: how it was done, the comparisons, and the tests across data sets; in points of percent."""
    out = {
        "stage": report.stage,
        "level": report.level,
        "draws": report.draws,
        "bootstrap_seed": report.seed,
        "comparisons": [_comparison_object(one) for one in report.comparisons],
        "across": [_across_object(one) for one in report.across],
        "remarks": sentences(report),
    }
    return json_text(out)


def _comparison_object(one: Comparison) -> dict[str, Any]:
    match = one.match
    return {
        "dataset": match.dataset,
        "features": match.features,
        "semantics": match.semantics,
        "fingerprint": match.fingerprint,
        "fold": match.fold,
        "protocol": match.protocol,
        "metric": one.metric,
        "classes": {name: side.classes for name, side in one.sides.items()},
        "images": {name: side.images for name, side in one.sides.items()},
        "methods": [
            _facts(entrant) | {"value": _round(value)}
            for entrant, value in zip(match.entrants, one.values, strict=True)
        ],
        "pairs": [
            {
                "a": match.entrants[pair.first].name,
                "b": match.entrants[pair.second].name,
                "difference": _round(pair.difference),
                **{
                    f"over_{kind}": {key: _round(value) for key, value in dataclasses.asdict(verdict).items()}
                    for kind, verdict in pair.verdicts.items()
                },
            }
            for pair in one.pairs
        ],
    }


def _across_object(one: Across) -> dict[str, Any]:
    return {
        "metric": one.metric,
        "datasets": list(one.datasets),
        "methods": [
            {"name": name, "marks": marks, "mean_rank": _round(rank), "values": [_round(row[at]) for row in one.values]}
            for at, (name, marks, rank) in enumerate(zip(one.names, one.marks, one.ranks, strict=True))
        ],
        "friedman": {"statistic": _round(one.statistic), "p": _round(one.p)},
        "nemenyi_critical_difference": _round(one.critical_difference),
        "pairs": [
            {
                "a": one.names[pair.first],
                "b": one.names[pair.second],
                "difference": _round(pair.difference),
                "won": pair.wins,
                "lost": pair.losses,
                "p_wilcoxon": _round(pair.p),
                "p_holm": _round(pair.holm),
            }
            for pair in one.pairs
        ],
        "smallest_p": one.smallest,
        "smallest_p_holm": one.smallest_holm,
    }


def csv_report(report: Report) -> str:
    """Write one line a data set, metric, pair and kind of resampling; the tests across data sets follow as such."""
    lines: list[dict[str, Any]] = []
    for one in report.comparisons:
        match = one.match
        shared = {
            "dataset": match.dataset,
            "features": match.features,
            "semantics": match.semantics,
            "fold": match.fold,
            "protocol": match.protocol,
            "metric": one.metric,
            "classes": sum(side.classes for side in one.sides.values()),
            "images": sum(side.images for side in one.sides.values()),
        }
        for pair in one.pairs:
            both = _columns("a", one, pair.first) | _columns("b", one, pair.second)
            for kind, verdict in pair.verdicts.items():
                ends = {"low": _round(verdict.low), "high": _round(verdict.high)}
                tests = {"p": _round(verdict.p), "p_holm": _round(verdict.holm)}
                lines.append(shared | both | {"over": kind, "difference": _round(pair.difference)} | ends | tests)
    lines += [line for test in report.across for line in _across_lines(test)]
    return csv_text(lines, _HEADS)


def _across_lines(one: Across) -> list[dict[str, Any]]:
    return [
        {
            "dataset": "; ".join(one.datasets),
            "metric": one.metric,
            "over": "data sets",
            "a": one.names[pair.first] + one.marks[pair.first],
            "b": one.names[pair.second] + one.marks[pair.second],
            "difference": _round(pair.difference),
            "p": _round(pair.p),
            "p_holm": _round(pair.holm),
            "smallest_p_holm": one.smallest_holm,
        }
        for pair in one.pairs
    ]


def _columns(side: str, one: Comparison, place: int) -> dict[str, Any]:
    entrant = one.match.entrants[place]
    return {
        side: shown(entrant),
        f"{side}_label": entrant.row.label,
        f"{side}_setting": entrant.row.setting,
        f"{side}_selection": entrant.row.selection,
        f"{side}_seeds": " ".join(map(str, entrant.row.seeds)),
        f"{side}_value": _round(one.values[place]),
    }


def _facts(entrant: Entrant) -> dict[str, Any]:
    row = entrant.row
    return {
        "name": entrant.name,
        "marks": entrant.marks,
        "method": row.method,
        "label": row.label,
        "params": dict(row.params),
        "version": row.version,
        "setting": row.setting,
        "selection": row.selection,
        "stochastic": entrant.stochastic,
        "seeds": list(row.seeds),
        "runs": [record.id for record in entrant.records],
    }


def _round(value: float) -> float | None:
    return None if math.isnan(value) else round(value, _DIGITS)
