"""Records as rows: runs that differ only in the seed together, folds of the dev stage averaged."""

from __future__ import annotations

import collections
import dataclasses
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from zslbench.errors import UnknownName
from zslbench.identity import canonical_json
from zslbench.metrics import order_metrics
from zslbench.results.records.record import Record
from zslbench.spec import brackets

CHANGED_MARK = "§"
"""Numbers of a method whose source has changed since they were made."""
CALIBRATED = " cs"
"""Ends the names of metrics after calibrated stacking, before the † of a constant chosen on test."""


@dataclasses.dataclass(frozen=True)
class Stat:
    """A metric over seeds, in percent.

    Attributes:
        mean: over the seeds.
        std: sample standard deviation (divisor n − 1); None for a single seed, and for a deterministic method, whose
            seeds repeat one result.
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
        from zslbench.results.analysis.significance import t_interval

        return t_interval(self.values)[1:]

    @property
    def low(self) -> float | None:
        """The lower end of `interval`."""
        return (self.interval() or (None, None))[0]

    @property
    def high(self) -> float | None:
        """The upper end of `interval`."""
        return (self.interval() or (None, None))[1]

    @property
    def excludes_zero(self) -> bool | None:
        """Whether the interval lies on one side of 0; None without an interval."""
        ends = self.interval()
        return None if ends is None else ends[0] > 0 or ends[1] < 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """The finished runs that differ only in the seed.

    Attributes:
        records: of each seed, ascending; `lead` is the one whose label names the row: of several ways to ask for the
            same, the shortest. All fields but the following are what the records agree in.
        metrics: percent, by name.
        folds: of the dev stage: the one, or those that the metrics are means over; empty in the final stage.
        selected: what a selection rule chose, and among how much (see `zslbench.results.analysis.selection`); empty
            where the records are as they were run.
        gammas: the constant of calibrated stacking of each seed, and ``gamma_folds`` of the dev stage that it was
            chosen on (none: on test).
        source_state: of the method: ``current``, ``changed`` since any of the runs, or ``unknown``.
        stochastic: whether results depend on the seed.
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
    split: str
    protocol: str
    protocol_version: int
    protocol_params: Mapping[str, Any]
    stage: str
    fold: int
    selection: str
    seeds: tuple[int, ...]
    metrics: Mapping[str, Stat]
    folds: tuple[int, ...]
    selected: Mapping[str, Any]
    gammas: tuple[float, ...]
    gamma_folds: tuple[int, ...]
    source_state: str
    stochastic: bool
    records: tuple[Record, ...] = dataclasses.field(repr=False, compare=False)
    lead: Record = dataclasses.field(repr=False, compare=False)

    @property
    def marks(self) -> str:
        """† for oracle selection, ‡ for a transductive method, § where its source has changed since."""
        return join_marks(self.selection == "oracle", self.setting == "transductive", self.source_state == "changed")

    @property
    def step(self) -> int | None:
        """The step that the metrics are of; None: the last."""
        return self.selected.get("step")

    @property
    def data_key(self) -> tuple[str, str, str, str]:
        """Data set, features, semantics and content."""
        return self.dataset, self.features, self.semantics, self.fingerprint

    @property
    def protocol_key(self) -> tuple[str, int, str]:
        """Protocol, version and parameters as they are typed."""
        return self.protocol, self.protocol_version, brackets(dict(sorted(self.protocol_params.items())))[1:-1]


def join_marks(oracle: bool, transductive: bool, changed: bool) -> str:
    """Return the marks that numbers bear, in their order.

    >>> join_marks(True, False, True)
    '†§'
    """
    return ("†" if oracle else "") + ("‡" if transductive else "") + (CHANGED_MARK if changed else "")


def summarise(records: Iterable[Record]) -> list[Row]:
    """Return a row per group of finished records that differ only in the seed; metrics become percent."""
    return [_row(group) for group in group_records((record for record in records if record.ok), _row_key)]


def stat(values: Iterable[float], stochastic: bool = True) -> Stat:
    """Return mean and sample standard deviation of fractions, as percent; no deviation for a deterministic method.

    >>> stat([0.5, 0.75])
    Stat(mean=62.5, std=17.67766952966369, n=2)
    """
    percent = [100.0 * value for value in values]
    spread = statistics.stdev(percent) if stochastic and len(percent) > 1 else None
    return Stat(statistics.fmean(percent), spread, len(percent), tuple(percent))


def group_records(records: Iterable[Record], key: Callable[[Record], str]) -> list[list[Record]]:
    """Return groups of equal keys in the order of the keys, each sorted by fold, seed and id."""
    groups = collections.defaultdict(list)
    for record in sorted(records, key=lambda record: (record.fold, record.seed, record.id)):
        groups[key(record)].append(record)
    return [group for _, group in sorted(groups.items())]


def setup_key(record: Record) -> str:
    """Return the key of what was run: method with every parameter, data, protocol; whatever stage, fold and seed."""
    method = record.method
    return _key(record, [method["name"], method.get("version"), dict(method.get("params", {}))])


def family_key(record: Record, tuned: Iterable[str] = ()) -> str:
    """Return the key of all hyper-parameters of one method and presets on the same data and protocol.

    Args:
        record: of any stage, fold and seed.
        tuned: names of tuned presets: ``ale@tuned`` is of the family of ``ale``.
    """
    method = record.method
    return _key(record, [method["name"], method.get("version"), spec_head(record, tuned), method.get("setting")])


def _key(record: Record, method: list[object]) -> str:
    data, rules = record.dataset, record.protocol
    where = [data["name"], data.get("features"), data.get("semantics"), data.get("fingerprint")]
    return canonical_json(
        [where, [rules["name"], rules.get("version"), dict(rules.get("params", {}))], method, record.schema]
    )


def spec_head(record: Record, tuned: Iterable[str] = ()) -> str:
    """Return name and presets of a record's label, those of tuned presets left out."""
    name, *presets = record.label.partition("[")[0].split("@")
    return "@".join([name, *(preset for preset in presets if preset not in set(tuned))])


def pick_metrics(available: Iterable[str], asked: Iterable[str]) -> list[str]:
    """Return the metrics asked for, whatever their case, in the order asked.

    Raises:
        UnknownName: one that is not available.
    """
    by_case = {name.casefold(): name for name in order_metrics(available)}
    for name in asked:
        if name.casefold() not in by_case:
            raise UnknownName("metric", name, list(by_case.values()))
    return list(dict.fromkeys(by_case[name.casefold()] for name in asked))


def average_folds(records: Iterable[Record]) -> tuple[list[Record], list[Record]]:
    """Return a record per setup and seed, its metrics the mean over folds, and the records that were left out.

    Different sets of folds are never averaged into one number: the seeds of a setup are those that have its largest
    set of folds, which ``provenance["folds"]`` names; what other seeds have is left out.
    """
    kept: list[Record] = []
    left_out: list[Record] = []
    for group in group_records(records, lambda record: f"{setup_key(record)} {record.selection}"):
        seeds: dict[int, dict[int, Record]] = {}
        for record in group:
            seeds.setdefault(record.seed, {})[record.fold] = record
        counts = collections.Counter(tuple(sorted(by_fold)) for by_fold in seeds.values())
        folds = min(counts, key=lambda folds: (-len(folds), -counts[folds], folds))
        for _, by_fold in sorted(seeds.items()):
            complete = by_fold.keys() >= {*folds}
            left_out += [record for fold, record in by_fold.items() if not complete or fold not in folds]
            if complete:
                kept.append(_mean([by_fold[fold] for fold in folds], folds))
    return kept, left_out


def _mean(records: Sequence[Record], folds: Sequence[int]) -> Record:
    first = records[0]
    names = [name for name in first.metrics if all(name in record.metrics for record in records)]
    return dataclasses.replace(
        first,
        fold=0,
        metrics={name: statistics.fmean(record.metrics[name] for record in records) for name in names},
        curve=(),
        provenance={**first.provenance, "folds": list(folds), "source_state": _worst_state(records)},
    )


def _worst_state(records: Iterable[Record]) -> str:
    states = {str(record.provenance.get("source_state", "current")) for record in records}
    return next((state for state in ("changed", "unknown") if state in states), "current")


def _row_key(record: Record) -> str:
    selected = record.provenance.get("selected", {})
    step = [selected.get(name) for name in ("step", "steps", "points")]
    folds = record.provenance.get("folds", ())
    return f"{setup_key(record)} {record.stage} {record.fold} {folds} {record.selection} {step}"


def _row(group: Sequence[Record]) -> Row:
    """Return the row of records in order of their seeds."""
    lead = min(group, key=lambda record: (len(record.label), record.label))
    method, dataset, protocol = lead.method, lead.dataset, lead.protocol
    constants = [record.provenance["calibrated"] for record in group if "calibrated" in record.provenance]
    stochastic = all(record.method.get("stochastic", True) for record in group)
    names = sorted({name for record in group for name in record.metrics})
    return Row(
        method=method["name"],
        label=lead.label,
        params=dict(method.get("params", {})),
        version=method.get("version", 1),
        title=str(method.get("title") or method["name"]),
        setting=str(method.get("setting", "inductive")),
        dataset=dataset["name"],
        features=str(dataset.get("features", "")),
        semantics=str(dataset.get("semantics", "")),
        fingerprint=str(dataset.get("fingerprint", "")),
        origin=str(dataset.get("origin", "own")),
        split=str(dataset.get("split", "")),
        protocol=protocol["name"],
        protocol_version=protocol.get("version", 1),
        protocol_params=dict(protocol.get("params", {})),
        stage=lead.stage,
        fold=lead.fold,
        selection=lead.selection,
        seeds=tuple(record.seed for record in group),
        metrics={name: stat((r.metrics[name] for r in group if name in r.metrics), stochastic) for name in names},
        folds=tuple(lead.provenance.get("folds", ())) or ((lead.fold,) if lead.stage == "dev" else ()),
        selected=dict(lead.provenance.get("selected", {})),
        gammas=tuple(constant["gamma"] for constant in constants),
        gamma_folds=tuple(sorted({fold for constant in constants for fold in constant["folds"]})),
        source_state=_worst_state(group),
        stochastic=stochastic,
        records=tuple(group),
        lead=lead,
    )
