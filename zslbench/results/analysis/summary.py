"""Records to rows: one row for what was run, its seeds taken together."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from zslbench.identity import canonical_json
from zslbench.results.analysis.matching import cell, label, worst_state
from zslbench.results.records.record import Record

CHANGED_MARK = "§"
"""Numbers of a source that has changed since they were made."""
CALIBRATED = " cs"
"""Ends the names of metrics after calibrated stacking, before the † of a constant chosen on test."""


@dataclasses.dataclass(frozen=True)
class Stat:
    """A metric over seeds, in percent.

    Attributes:
        mean: over the seeds.
        std: sample standard deviation (divisor n − 1); None for a single seed, and for a method without chance,
            whose seeds are repeats of one result.
        n: how many seeds; values: of each, in their order.
    """

    mean: float
    std: float | None
    n: int
    values: tuple[float, ...] = dataclasses.field(default=(), repr=False, compare=False)

    def interval(self) -> tuple[float, float] | None:
        """Return the ends of Student's 95 % interval for the mean over seeds; None where there is no deviation."""
        if self.std is None or not self.values:
            return None
        from zslbench.results.analysis.statistics import t_interval

        found = t_interval(self.values)
        return found.low, found.high


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """The finished runs that differ in nothing but the seed.

    Attributes:
        method, label, params, version, title, setting: of the method, as in its records.
        dataset, features, semantics, fingerprint, origin: of the data; `split` says how its split was made, where it
            was made here.
        protocol, protocol_version, protocol_params, stage, fold: how it was judged.
        selection: fixed, validated or oracle.
        seeds: ascending.
        metrics: percent, by name.
        folds: of the dev stage: the one, or those that the metrics are means over; empty in the final stage.
        selected: what a selection rule chose, and among how much (see `zslbench.results.analysis.selection`); empty
            where the records are as they were run.
        source_state: whether the source of the method is what it was: ``current``, ``changed`` of any of the runs, or
            ``unknown``.
        gammas: the constant of calibrated stacking of each seed, and ``gamma_folds`` of the dev stage that it was
            chosen on (none: on test).
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
    folds: tuple[int, ...] = ()
    split: str = ""
    selected: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    gammas: tuple[float, ...] = ()
    gamma_folds: tuple[int, ...] = ()
    source_state: str = "current"

    @property
    def marks(self) -> str:
        """† for oracle selection, ‡ for a transductive method, § where its source has changed since."""
        return join_marks(self.selection == "oracle", self.setting == "transductive", self.source_state == "changed")

    @property
    def step(self) -> int | None:
        """The step that the metrics are of; None: the last."""
        return self.selected.get("step")


def join_marks(oracle: bool, transductive: bool, changed: bool) -> str:
    """Return the marks that numbers bear, in their order.

    >>> join_marks(True, False, True)
    '†§'
    """
    return ("†" if oracle else "") + ("‡" if transductive else "") + (CHANGED_MARK if changed else "")


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
    return Stat(statistics.fmean(percent), spread, len(percent), tuple(percent))


def _identity(record: Record) -> str:
    chosen = record.provenance.get("selected", {})
    selected = [chosen.get(key) for key in ("step", "steps", "points")]
    folds = list(record.provenance.get("folds", ()))
    return canonical_json([cell(record), record.stage, record.fold, folds, record.selection, selected])


def _row(group: list[Record]) -> Row:
    """Return the row of records in order of their seeds; the shortest of their labels names it."""
    first = min(group, key=lambda record: (len(label(record)), label(record)))
    method, dataset, protocol = first.method, first.dataset, first.protocol
    names = sorted({name for record in group for name in record.metrics})
    constants = [record.provenance["calibrated"] for record in group if "calibrated" in record.provenance]
    stochastic = all(record.method.get("stochastic", True) for record in group)
    return Row(
        method=method["name"],
        label=label(first),
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
        folds=tuple(first.provenance.get("folds", ())) or ((first.fold,) if first.stage == "dev" else ()),
        split=str(dataset.get("split", "")),
        selected=dict(first.provenance.get("selected", {})),
        gammas=tuple(one["gamma"] for one in constants),
        source_state=worst_state(group),
        gamma_folds=tuple(sorted({fold for one in constants for fold in one["folds"]})),
    )
