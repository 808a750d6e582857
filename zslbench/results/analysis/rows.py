"""Records as rows of a table: seeds together, folds of the dev stage averaged."""

from __future__ import annotations

import collections
import dataclasses
import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from zslbench.errors import UnknownName
from zslbench.identity import canonical_json
from zslbench.metrics import order_metrics
from zslbench.results.records.record import Record
from zslbench.spec import brackets
from zslbench.visible import name_data, title_data

CHANGED_MARK = "§"
"""Numbers of a method whose source has changed since they were made."""
CALIBRATED = " cs"
"""Ends the names of metrics after calibrated stacking, before the † of a constant chosen on test."""
SETTINGS = ("inductive", "semantic", "transductive")

Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclasses.dataclass(frozen=True)
class Stat:
    """A metric over n seeds, in percent, with the `values` of each.

    `std` is the sample standard deviation (divisor n − 1); None for a single seed, and for a deterministic method,
    whose seeds repeat one result.
    """

    mean: float
    std: float | None
    n: int
    values: tuple[float, ...] = dataclasses.field(default=(), repr=False, compare=False)

    def interval(self) -> tuple[float, float] | None:
        """Return the ends of Student's 95 % interval for the mean over seeds; None where there is no deviation."""
        if self.std is None or not self.values:
            return None
        import numpy as np
        from scipy.special import stdtrit

        values = np.array(self.values)
        half = float(stdtrit(self.n - 1, 0.975) * values.std(ddof=1) / np.sqrt(self.n))
        return float(values.mean()) - half, float(values.mean()) + half

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
class Ranked:
    """What numbers are marked and ranked by; `changed`: the source of the method has changed since."""

    setting: str
    oracle: bool
    changed: bool = False

    @property
    def marks(self) -> str:
        """† for oracle selection, ‡ for a transductive method, § where its source has changed since."""
        used = "‡" if self.setting == "transductive" else ""
        return ("†" if self.oracle else "") + used + (CHANGED_MARK if self.changed else "")

    @property
    def block(self) -> tuple[bool, int, str]:
        """The block of rows that may be ranked with each other; sorts inductive first, oracle last."""
        place = SETTINGS.index(self.setting) if self.setting in SETTINGS else len(SETTINGS)
        return self.oracle, place, self.setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row(Ranked):
    """The finished runs that differ only in the seed: what their records agree in, and the metrics in percent.

    Attributes:
        folds: of the dev stage: the one, or those that the metrics are means over; empty in the final stage.
        selected: what a selection rule chose, and among how much (see `zslbench.results.analysis.selection`); empty
            where the records are as they were run.
        gammas: the constant of calibrated stacking of each seed, chosen on the `gamma_folds` of the dev stage;
            oracle_gammas: chosen on test.
        source_state: of the method: ``current``, ``changed`` since any of the runs, or ``unknown``.
        replaced: whether the preset that gave the values was tuned again since, and has others now.
        records: of each seed, ascending; lead: the one whose label names the row, the shortest of several.
    """

    method: str
    label: str
    params: Mapping[str, Any]
    version: int
    title: str
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
    oracle_gammas: tuple[float, ...]
    source_state: str
    replaced: bool
    stochastic: bool
    records: tuple[Record, ...] = dataclasses.field(repr=False, compare=False)
    lead: Record = dataclasses.field(repr=False, compare=False)

    @property
    def data_key(self) -> tuple[str, str, str, str]:
        """Data set, features, semantics and content."""
        return self.dataset, self.features, self.semantics, self.fingerprint

    @property
    def data_name(self) -> str:
        """The data set as papers spell it."""
        return title_data(self.dataset)

    @property
    def data_title(self) -> str:
        """The data set with its features and semantics."""
        return name_data(self.data_name, self.features, self.semantics)

    @property
    def protocol_key(self) -> tuple[str, int, str]:
        """Protocol, version and parameters as they are typed."""
        return self.protocol, self.protocol_version, brackets(dict(sorted(self.protocol_params.items())))[1:-1]


def group_values(pairs: Iterable[tuple[Key, Value]]) -> dict[Key, list[Value]]:
    """Return the values of each key, both in order of first appearance, no value twice.

    >>> group_values([("a", 2), ("b", 1), ("a", 2), ("a", 1)])
    {'a': [2, 1], 'b': [1]}
    """
    groups: dict[Key, dict[Value, None]] = {}
    for key, value in pairs:
        groups.setdefault(key, {})[value] = None
    return {key: list(values) for key, values in groups.items()}


def summarise(records: Iterable[Record]) -> list[Row]:
    """Return a row per group of finished records that differ only in the seed; metrics become percent."""

    def key(record: Record) -> str:
        selected = record.provenance.get("selected", {})
        step = [selected.get(name) for name in ("step", "steps", "points")]
        folds = record.provenance.get("folds", ())
        return f"{setup_key(record)} {record.stage} {record.fold} {folds} {record.selection} {step}"

    return [_row(group) for group in group_records((record for record in records if record.ok), key)]


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

    With the names of `tuned` presets ``ale@tuned`` is of the family of ``ale``.
    """
    method = record.method
    return _key(record, [method["name"], method.get("version"), spec_head(record, tuned), method.get("setting")])


def _key(record: Record, method: list[object]) -> str:
    data, rules = record.dataset, record.protocol
    where = [data["name"], data.get("features"), data.get("semantics"), data.get("fingerprint")]
    protocol = [rules["name"], rules.get("version"), dict(rules.get("params", {}))]
    return canonical_json([where, protocol, method, record.schema])


def spec_head(record: Record, tuned: Iterable[str] = ()) -> str:
    """Return name and presets of a record's label, those of tuned presets left out."""
    name, *presets = record.label.partition("[")[0].split("@")
    return "@".join([name, *(preset for preset in presets if preset not in set(tuned))])


def pick_metrics(available: Iterable[str], asked: Iterable[str]) -> list[str]:
    """Return the metrics asked for, whatever their case, in the order asked; UnknownName: one is not available."""
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
                runs = [by_fold[fold] for fold in folds]
                names = [name for name in runs[0].metrics if all(name in run.metrics for run in runs)]
                metrics = {name: statistics.fmean(run.metrics[name] for run in runs) for name in names}
                about = {**runs[0].provenance, "folds": list(folds), "source_state": _worst_state(runs)}
                kept.append(dataclasses.replace(runs[0], fold=0, metrics=metrics, curve=(), provenance=about))
    return kept, left_out


def _worst_state(records: Iterable[Record]) -> str:
    states = {str(record.provenance.get("source_state", "current")) for record in records}
    return next((state for state in ("changed", "unknown") if state in states), "current")


def _row(group: Sequence[Record]) -> Row:
    lead = min(group, key=lambda record: (len(record.label), record.label))
    method, dataset, protocol = lead.method, lead.dataset, lead.protocol
    constants = [record.provenance["calibrated"] for record in group if "calibrated" in record.provenance]
    stochastic = all(record.method.get("stochastic", True) for record in group)
    names = sorted({name for record in group for name in record.metrics})
    source_state = _worst_state(group)
    return Row(
        method=method["name"],
        label=lead.label,
        params=dict(method.get("params", {})),
        version=method.get("version", 1),
        title=str(method.get("title") or method["name"]),
        setting=str(method.get("setting", "inductive")),
        oracle=lead.selection == "oracle",
        changed=source_state == "changed",
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
        gammas=tuple(constant["dev"] for constant in constants if "dev" in constant),
        gamma_folds=tuple(sorted({fold for constant in constants for fold in constant["folds"]})),
        oracle_gammas=tuple(constant["test"] for constant in constants if "test" in constant),
        source_state=source_state,
        replaced=lead.selection == "validated" and "replaced" in lead.provenance,
        stochastic=stochastic,
        records=tuple(group),
        lead=lead,
    )


def natural(text: str) -> tuple[tuple[int, float, str], ...]:
    """Return a sort key that puts ``k=3`` before ``k=10``, and ``k=1e-05`` before both.

    >>> sorted(["k=10", "k=3", "k=1e-05", "a"], key=natural)
    ['a', 'k=1e-05', 'k=3', 'k=10']
    """
    parts = re.split(r"(\d+(?:\.\d+)?(?:e[+-]\d+)?)", text.casefold())
    return tuple((1, float(part), "") if number % 2 else (0, 0.0, part) for number, part in enumerate(parts))
