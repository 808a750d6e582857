"""Rows of `ablate`: settings of a method, their metrics by seed, and the differences between them."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from zslbench.errors import UnknownName
from zslbench.methods.base import Method
from zslbench.metrics import metric_place
from zslbench.results.analysis.rows import Stat, stat
from zslbench.results.records.record import Record
from zslbench.runner.jobs import Run
from zslbench.spec import Spec, brackets, write_value
from zslbench.visible import name_data, title_data

FULL, AS_GIVEN = "full", "as given"
"""The name of the method as given: among named ablations, and in a sweep if it has no single value."""


class Measure(NamedTuple):
    """The key of a measurement: data set, features, semantics, protocol and metric."""

    dataset: str
    features: str
    semantics: str
    protocol: str
    metric: str

    @property
    def place(self) -> str:
        """The data set with its features and semantics."""
        return title_data(name_data(self.dataset, self.features, self.semantics))


@dataclasses.dataclass(frozen=True, kw_only=True)
class AblationRow:
    """One setting and metric.

    Attributes:
        swept: the parameter of a sweep; empty for named ablations.
        setting: its name in the table; spec: what was run; help: what the setting is.
        as_given: whether it is the method as it was given.
        transductive: whether unlabelled test features are used (‡).
        selection: fixed, validated or oracle (†).
        stat: mean and standard deviation in percent, None if no run finished; seeds: the seeds of the finished runs.
        highest: whether it is the highest mean of a sweep; this is an observation, not a selection.
        against: the setting that it is compared with; difference: the difference from that setting, paired by seed.
    """

    swept: str
    setting: str
    spec: str
    help: str
    as_given: bool
    transductive: bool
    selection: str
    column: Measure
    stat: Stat | None
    seeds: tuple[int, ...]
    highest: bool
    against: str
    difference: Stat | None

    @property
    def title(self) -> str:
        """The setting as tables name it."""
        marked = self.swept and self.as_given and self.setting != AS_GIVEN
        return self.setting + (f" ({AS_GIVEN})" if marked else "") + (" ‡" if self.transductive else "")


@dataclasses.dataclass(frozen=True)
class AblationSeries:
    """The settings of one table: their order, which one is the method as given, and what each is compared with."""

    swept: str
    specs: Mapping[str, Spec]
    as_given: str
    against: Mapping[str, str]


def compare_settings(
    swept: str,
    specs: Mapping[str, Spec],
    base: Spec,
    planned: Mapping[str, Sequence[Run]],
    against: str | None,
    builds_up: bool,
) -> AblationSeries:
    """Return the settings, with the method as given added if none equals it: last if the settings build up to it."""
    ids = {text: {run.id for run in runs} for text, runs in planned.items()}
    equal = [name for name, spec in specs.items() if ids[str(spec)] == ids[str(base)]]
    if equal:
        as_given, ordered = equal[-1], dict(specs)
    else:
        # its own value of the swept parameter is its name, where that is the same on all data
        values = {run.params[swept] for run in planned[str(base)]} if swept else set()
        as_given = FULL if not swept else AS_GIVEN if len(values) != 1 else write_value(values.pop())
        ordered = {**specs, as_given: base} if builds_up else {as_given: base, **specs}
    names = list(ordered)
    rule = against or ("previous" if builds_up else FULL)
    if rule == "previous":
        return AblationSeries(swept, ordered, as_given, dict(zip(names[1:], names, strict=False)))
    target = {FULL: as_given, "first": names[0]}.get(rule, rule)
    if target not in names:
        raise UnknownName("setting to compare with", rule, ["first", "previous", FULL, *names])
    return AblationSeries(swept, ordered, as_given, {name: target for name in names if name != target})


def measure_settings(
    series: AblationSeries, planned: Mapping[str, Sequence[Run]], records: Mapping[str, Record], cls: type[Method]
) -> list[AblationRow]:
    """Return a row per setting and metric, by data set: metrics over seeds, and paired differences."""

    def over_seeds(by_seed: Mapping[int, float]) -> Stat | None:
        return stat(by_seed.values(), cls.card.stochastic) if by_seed else None

    runs = {name: planned[str(spec)] for name, spec in series.specs.items()}
    values = {name: _values_by_seed(of_setting, records) for name, of_setting in runs.items()}
    columns = list(dict.fromkeys(itertools.chain(*values.values())))
    data = list(dict.fromkeys(column.place for column in columns))
    columns.sort(key=lambda col: (data.index(col.place), metric_place(col.metric), col.protocol, col.metric))
    rows = []
    for column in columns:
        by_seed = {name: dict(sorted(by_column.get(column, {}).items())) for name, by_column in values.items()}
        stats = {name: over_seeds(of_setting) for name, of_setting in by_seed.items()}
        top = max(stat.mean for stat in stats.values() if stat)
        for name, spec in series.specs.items():
            on_data = [run for run in runs[name] if _place(run) == column[:4]]
            mean, against = stats[name], series.against.get(name, "")
            other = by_seed.get(against, {})
            gaps = {seed: value - other[seed] for seed, value in by_seed[name].items() if seed in other}
            selections = {records[run.id].selection if run.id in records else run.selection for run in on_data}
            named = cls.ablations.get(name) if not series.swept else None
            rows.append(
                AblationRow(
                    swept=series.swept,
                    setting=name,
                    spec=str(spec),
                    help=named.help if named else "" if series.swept else "the method as given",
                    as_given=name == series.as_given,
                    transductive=any(run.setting == "transductive" for run in on_data),
                    selection=" and ".join(sorted(selections)),
                    column=column,
                    stat=mean,
                    seeds=tuple(by_seed[name]),
                    highest=bool(series.swept) and mean is not None and mean.mean == top,
                    against=against,
                    difference=over_seeds(gaps),
                )
            )
    return rows


def _place(run: Run) -> tuple[str, str, str, str]:
    data = run.dataset
    return data.name, data.features, data.semantics, run.protocol + brackets(run.protocol_params)


def _values_by_seed(runs: Iterable[Run], records: Mapping[str, Record]) -> dict[Measure, dict[int, float]]:
    """Return each metric by seed, as fractions; in the dev stage the mean over the folds, if all are done."""
    folds: dict[tuple[tuple[str, str, str, str], int], list[Record | None]] = collections.defaultdict(list)
    for planned in runs:
        folds[_place(planned), planned.seed].append(records.get(planned.id))
    values: dict[Measure, dict[int, float]] = collections.defaultdict(dict)
    for (place, seed), of_folds in folds.items():
        done = [record.metrics for record in of_folds if record is not None and record.ok]
        if len(done) == len(of_folds):
            for metric in dict.fromkeys(itertools.chain(*done)):
                numbers = [metrics[metric] for metrics in done if metric in metrics]
                values[Measure(*place, metric)][seed] = math.fsum(numbers) / len(numbers)
    return values
