"""Records to rows: one row for what was run, its seeds taken together."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from zslbench.identity import canonical_json
from zslbench.results.record import Record


@dataclasses.dataclass(frozen=True)
class Stat:
    """A metric over seeds, in percent.

    Attributes:
        mean: over the seeds.
        std: sample standard deviation (divisor n − 1); None for a single seed, and for a method without chance,
            whose seeds are repeats of one result.
        n: how many seeds.
    """

    mean: float
    std: float | None
    n: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """The finished runs that differ in nothing but the seed.

    Attributes:
        method, label, params, version, title, setting: of the method, as in its records.
        dataset, features, semantics, fingerprint, origin: of the data.
        protocol, protocol_version, protocol_params, stage, fold: how it was judged.
        selection: fixed, validated or oracle.
        seeds: ascending.
        metrics: percent, by name.
    """

    method: str
    label: str
    params: Mapping[str, Any]
    version: int
    title: str
    setting: str
    dataset: str
    features: str
    semantics: str
    fingerprint: str
    origin: str
    protocol: str
    protocol_version: int
    protocol_params: Mapping[str, Any]
    stage: str
    fold: int
    selection: str
    seeds: tuple[int, ...]
    metrics: Mapping[str, Stat]


def summarise(records: Iterable[Record]) -> list[Row]:
    """Return one row for all seeds of what was run otherwise alike; records that are not ok do not count.

    The order of the records does not matter. Metrics become percent.
    """
    groups: dict[str, list[Record]] = {}
    for record in records:
        if record.ok:
            groups.setdefault(_identity(record), []).append(record)
    return [_row(sorted(group, key=lambda record: (record.seed, record.id))) for _, group in sorted(groups.items())]


def stat(values: Iterable[float], stochastic: bool = True) -> Stat:
    """Return mean and sample standard deviation of fractions, as percent; no deviation where there is no chance.

    >>> stat([0.5, 0.75])
    Stat(mean=62.5, std=17.67766952966369, n=2)
    """
    percent = [100.0 * value for value in values]
    spread = statistics.stdev(percent) if stochastic and len(percent) > 1 else None
    return Stat(statistics.fmean(percent), spread, len(percent))


def _identity(record: Record) -> str:
    method, dataset, protocol = record.method, record.dataset, record.protocol
    return canonical_json(
        [
            [dataset["name"], dataset.get("features"), dataset.get("semantics"), dataset.get("fingerprint")],
            [protocol["name"], protocol.get("version"), dict(protocol.get("params", {}))],
            [method["name"], method.get("version"), dict(method.get("params", {}))],
            [record.schema, record.stage, record.fold, record.selection],
        ]
    )


def _row(group: list[Record]) -> Row:
    """Return the row of records in order of their seeds; the shortest of their labels names it."""
    first = min(group, key=lambda record: (len(_label(record)), _label(record)))
    method, dataset, protocol = first.method, first.dataset, first.protocol
    names = sorted({name for record in group for name in record.metrics})
    stochastic = all(record.method.get("stochastic", True) for record in group)
    return Row(
        method=method["name"],
        label=_label(first),
        params=dict(method.get("params", {})),
        version=method.get("version", 1),
        title=str(method.get("title") or method["name"]),
        setting=str(method.get("setting", "inductive")),
        dataset=dataset["name"],
        features=str(dataset.get("features", "")),
        semantics=str(dataset.get("semantics", "")),
        fingerprint=str(dataset.get("fingerprint", "")),
        origin=str(dataset.get("origin", "own")),
        protocol=protocol["name"],
        protocol_version=protocol.get("version", 1),
        protocol_params=dict(protocol.get("params", {})),
        stage=first.stage,
        fold=first.fold,
        selection=first.selection,
        seeds=tuple(record.seed for record in group),
        metrics={name: stat((r.metrics[name] for r in group if name in r.metrics), stochastic) for name in names},
    )


def _label(record: Record) -> str:
    return str(record.method.get("label") or record.method["name"])
