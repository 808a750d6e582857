"""Records as rows: runs that differ only in the seed together, folds of the dev stage averaged."""

from __future__ import annotations

import collections
import dataclasses
import re
import statistics
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from zslbench.errors import UnknownName
from zslbench.identity import canonical_json
from zslbench.metrics import order_metrics
from zslbench.results.records.record import Record
from zslbench.spec import brackets
from zslbench.visible import one_line

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


MAX_INLINE = 28
"""The longest name that shows its parameters itself; a longer one gets a letter instead."""

SETTINGS = ("inductive", "semantic", "transductive")


@dataclasses.dataclass(frozen=True)
class RowKey:
    """What makes rows of several data sets one line of a table.

    Attributes:
        method: registered name; name: the title and presets, ``LisGAN@S3``; given: ``souls=5,cascade=off``.
        setting, oracle: what may be compared with what.
        rule: the selection rule, where the same line stands under another one, too; else empty.
        changed: whether the source of the method has changed since any of its runs was made.
    """

    method: str
    name: str
    given: str
    setting: str
    oracle: bool
    rule: str = ""
    changed: bool = False

    @property
    def full(self) -> str:
        """The name with its parameters."""
        return self.name_with(f"[{self.given}]" if self.given else "")

    def name_with(self, parameters: str) -> str:
        """Return the name with a text for its parameters, and the selection rule where it tells lines apart."""
        return self.name + parameters + (f" {self.rule}" if self.rule else "")

    @property
    def marks(self) -> str:
        """† for oracle selection, ‡ for a transductive method, § where its source has changed since."""
        return join_marks(self.oracle, self.setting == "transductive", self.changed)

    @property
    def block(self) -> tuple[bool, int, str]:
        """What this line may be ranked with (see `rank_block`)."""
        return rank_block(self.oracle, self.setting)


def rank_block(oracle: bool, setting: str) -> tuple[bool, int, str]:
    """Return the block of rows that a row may be ranked with; sorts inductive first, oracle last."""
    return oracle, SETTINGS.index(setting) if setting in SETTINGS else len(SETTINGS), setting


def row_keys(rows: Sequence[Row], column: Callable[[Row], object]) -> list[RowKey]:
    """Return the line that each row belongs to.

    Rows with one label share a line, those of different selection rules excepted. Two of them in one column (a label
    whose meaning changed, or a preset that was edited) are told apart by the parameters in which they differ.
    """
    labels: dict[object, set[str]] = collections.defaultdict(set)
    titles: dict[str, set[str]] = collections.defaultdict(set)
    for row in rows:
        labels[_meaning(row)].add(row.label)
        titles[row.title].add(row.method)
    shortest = {meaning: min(of, key=lambda label: (len(label), label)) for meaning, of in labels.items()}
    alike = [(row.method, shortest[_meaning(row)], row.setting, row.selection) for row in rows]
    differing = _differing(rows, alike, column)
    keys = []
    for row, line in zip(rows, alike, strict=True):
        head, _, given = line[1].removesuffix("]").partition("[")
        title = row.title if len(titles[row.title]) == 1 else f"{row.title} ({row.method})"
        name = title + (head.removeprefix(row.method) if head.startswith(row.method) else "")
        extra = brackets({key: _facts(row).get(key) for key in sorted(differing[line])})[1:-1]
        parts = ",".join(filter(None, (given, extra)))
        keys.append(RowKey(row.method, one_line(name), one_line(parts), row.setting, row.selection == "oracle"))
    rules: dict[RowKey, set[str]] = collections.defaultdict(set)
    for row, key in zip(rows, keys, strict=True):
        rules[key].add(row.selection)
    ruled = [(key, row.selection if len(rules[key]) > 1 else "") for row, key in zip(rows, keys, strict=True)]
    changed = {line for row, line in zip(rows, ruled, strict=True) if row.source_state == "changed"}
    return [dataclasses.replace(key, rule=rule, changed=(key, rule) in changed) for key, rule in ruled]


def _meaning(row: Row) -> object:
    # What oracle selection picked goes by the method's name, whatever hyper-parameters it picked.
    return row.method, canonical_json(dict(row.params)), row.selection == "oracle"


def _facts(row: Row) -> dict[str, Any]:
    return {**row.params, "version": row.version}


def _differing(
    rows: Sequence[Row], alike: Sequence[object], column: Callable[[Row], object]
) -> Mapping[object, set[str]]:
    """Return, for each kind of rows that are `alike`, the parameters in which those of one column differ."""
    facts: dict[tuple[object, object], list[dict[str, Any]]] = collections.defaultdict(list)
    for row, line in zip(rows, alike, strict=True):
        facts[line, column(row)].append(_facts(row))
    differing: dict[object, set[str]] = collections.defaultdict(set)
    for (line, _), of in facts.items():
        names = {name for fact in of for name in fact}
        differing[line] |= {name for name in names if any(fact.get(name) != of[0].get(name) for fact in of)}
    return differing


def short_names(keys: Iterable[RowKey]) -> tuple[dict[RowKey, str], tuple[tuple[str, str], ...]]:
    """Return a short name for each line, and what the letters in them stand for.

    Lines with the same parameters share a letter.
    """
    letters: dict[str, str] = {}
    names = {}
    for key in keys:
        names[key] = key.full
        if len(key.full) > MAX_INLINE and key.given:
            names[key] = key.name_with(f" ({letters.setdefault(key.given, _letter(len(letters)))})")
    return names, tuple((letter, given.replace(",", ", ")) for given, letter in letters.items())


def plain_names(rows: Sequence[Row], column: Callable[[Row], object]) -> tuple[list[RowKey], list[str]]:
    """Return the line and the name of each row: title and presets where those tell the rows of each column apart.

    Else with parameters, or a letter.
    """
    keys = row_keys(rows, column)
    lettered, _ = short_names(dict.fromkeys(keys))
    plain = [key.name_with("") for key in keys]
    heads = collections.Counter(
        (column(row), name, key.oracle) for row, name, key in zip(rows, plain, keys, strict=True)
    )
    shared = {name for (_, name, _), number in heads.items() if number > 1}
    return keys, [lettered[key] if name in shared else name for name, key in zip(plain, keys, strict=True)]


def _letter(number: int) -> str:
    more, place = divmod(number, 26)
    return (_letter(more - 1) if more else "") + string.ascii_lowercase[place]


def natural(text: str) -> tuple[tuple[int, float, str], ...]:
    """Return a sort key that puts ``k=3`` before ``k=10``.

    >>> sorted(["k=10", "k=3", "a"], key=natural)
    ['a', 'k=3', 'k=10']
    """
    parts = re.split(r"(\d+(?:\.\d+)?)", text.casefold())
    return tuple((1, float(part), "") if place % 2 else (0, 0.0, part) for place, part in enumerate(parts))
