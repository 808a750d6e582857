"""`ablate`: what each part of a method is worth, over seeds, and how results move with one hyper-parameter."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from zslbench.errors import BadValue
from zslbench.files import write_text
from zslbench.protocols.splits import Stage
from zslbench.results.analysis.rows import Stat, stat
from zslbench.results.records.presets import TunedStore
from zslbench.results.records.record import Record
from zslbench.results.tables.data import write_data
from zslbench.results.tables.render import DATA_FORMATS, check_format, render
from zslbench.runner.options import DEFAULT_PROTOCOLS, RunOptions, StudyPlan
from zslbench.runner.plan import plan
from zslbench.runner.run import Outcome, run
from zslbench.runner.runs import Run
from zslbench.studies import points
from zslbench.studies.points import Point, Series
from zslbench.studies.values import Column, order_columns, paired_difference, values_by_seed

if TYPE_CHECKING:
    from rich.console import Console

    from zslbench.runner.executors import Executor

DEFAULT_SEEDS = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
    """One setting and metric.

    Attributes:
        swept: the parameter of a sweep; empty for named ablations.
        setting: its name in the table; spec: what was run; help: what the setting is.
        as_given: whether it is the method as it was given.
        transductive: whether unlabelled test features are used (‡).
        selection: fixed or validated.
        column: what was measured on what.
        stat: mean and deviation in percent, None where nothing finished; seeds: which.
        highest: whether it is the highest mean of a sweep, on what was measured: no selection.
        against: the setting that it is compared with; difference: to that one, paired by seed.
    """

    swept: str
    setting: str
    spec: str
    help: str
    as_given: bool
    transductive: bool
    selection: str
    column: Column
    stat: Stat | None
    seeds: tuple[int, ...]
    highest: bool
    against: str
    difference: Stat | None


@dataclasses.dataclass(frozen=True, repr=False)
class Ablated:
    """What `ablate` found: the numbers, the text of the table, and what the runs did."""

    lines: tuple[Line, ...]
    text: str
    outcome: Outcome

    def __repr__(self) -> str:
        return f"<Ablated: {len(self.lines)} settings, {self.outcome!r}>"


def ablate(
    method: str,
    datasets: str | Sequence[str],
    protocols: str | Sequence[str] = DEFAULT_PROTOCOLS,
    *,
    seeds: int | Sequence[int] | None = None,
    sweep: str | Sequence[str] = (),
    against: str | None = None,
    format: str = "terminal",
    output: Path | str | None = None,
    features: str | None = None,
    semantics: str | None = None,
    stage: Stage = "final",
    runs: Path | str = "runs",
    data_root: Path | str | None = None,
    device: str = "auto",
    engine: Executor | None = None,
    dry_run: bool = False,
    console: Console | None = None,
    width: int | None = None,
) -> Ablated:
    """Run a method's named ablations, or the values of one hyper-parameter, and compare them over seeds.

    Runs that are finished are not done again, and fits that differ in scoring alone are shared.

    Args:
        method: the whole method in the spec grammar, presets and parameters included.
        seeds: how many or which; None: 3 for a method that depends on them.
        sweep: ``NAME=[1,2,5]`` or ``NAME=[1..5]``, any number of them, one parameter each; all others stay as given.
        against: ``first``, ``previous``, ``full`` or a setting; None: previous where the ablations build upon each
            other, else the method as given.
        format: terminal, markdown, latex, csv or json; output: also write the text there.
        stage: ``final``, or ``dev``: the mean over its folds.
        datasets, protocols, features, semantics, runs, data_root, device, engine, dry_run, console: as in
            `run`.
        width: characters of a line; None: the terminal's.

    Raises:
        ZslbenchError: a request that cannot be met; nothing was run.
    """
    check_format(format)
    spec, cls = points.base(method)
    sweeps = [sweep] if isinstance(sweep, str) else list(sweep)
    if len(sweeps) != len({text.partition("=")[0].strip() for text in sweeps}):
        raise BadValue("one parameter is swept twice; put all of its values into one --sweep.")
    all_series = [points.swept(spec, cls, text) for text in sweeps] or [points.named(spec, cls)]
    seed_list = _seeds(seeds, cls.card.stochastic)
    names = [datasets] if isinstance(datasets, str) else list(datasets)
    rules = [protocols] if isinstance(protocols, str) else list(protocols)
    options = RunOptions(
        datasets=names,
        protocols=rules,
        features=features,
        semantics=semantics,
        seeds=seed_list,
        stage=stage,
        data_root=str(data_root) if data_root else None,
    )
    planned: dict[str, tuple[Run, ...]] = {}
    for point in (point for series in all_series for point in (*series.points, series.own)):
        text = str(point.spec)
        if text not in planned:
            planned[text] = plan(structs.replace(options, methods=[text]), TunedStore(Path(runs))).runs
    all_series = [_with_own_value(series, planned) for series in all_series]
    for series in all_series:
        _comparisons(series, planned, against, cls.ablations_build_up)
    outcome = run(
        plan=StudyPlan({"": structs.replace(options, methods=list(planned))}),
        runs=runs,
        device=device,
        engine=engine,
        dry_run=dry_run,
        console=console,
    )
    records = {record.id: record for record in outcome.records}
    lines = tuple(
        line
        for series in all_series
        for line in _lines(series, planned, records, against, cls.ablations_build_up, cls.card.stochastic)
    )
    if dry_run:
        return Ablated(lines, "", outcome)
    from zslbench.studies.ablation_tables import ablation_tables, facts

    if format in DATA_FORMATS:
        text = write_data([facts(line, stage) for line in lines], format)
    else:
        tables = ablation_tables(lines, cls.card, str(spec), stage, outcome, narrow=format == "latex")
        text = render(tables, format, None if format == "latex" else width, piped=120)
    if output is not None:
        write_text(Path(output), text, f"the table {Path(output).name}")
    return Ablated(lines, text, outcome)


def _seeds(seeds: int | Sequence[int] | None, stochastic: bool) -> list[int]:
    if seeds is None:
        seeds = DEFAULT_SEEDS if stochastic else 1
    return list(range(seeds)) if isinstance(seeds, int) else list(seeds)


def _with_own_value(series: Series, planned: Mapping[str, tuple[Run, ...]]) -> Series:
    """Name the method as given by its own value of the swept parameter, where that is the same on all data."""
    values = {one.params[series.swept] for one in planned[str(series.own.spec)]} if series.swept else set()
    if len(values) != 1:
        return series
    return dataclasses.replace(
        series, own=dataclasses.replace(series.own, name=points.written(series.swept, values.pop()))
    )


def _comparisons(
    series: Series, planned: Mapping[str, tuple[Run, ...]], against: str | None, builds_up: bool
) -> tuple[list[str], str, dict[str, str]]:
    """Return the names of the lines in order, which of them is the method as given, and what each is compared with."""

    def ids(point: Point) -> set[str]:
        return {one.id for one in planned[str(point.spec)]}

    builds_up = builds_up and not series.swept
    own = next((one.name for one in reversed(series.points) if ids(one) == ids(series.own)), series.own.name)
    order = points.ordered([one.name for one in series.points], own, builds_up)
    return order, own, points.compared(order, own, against, builds_up)


def _lines(
    series: Series,
    planned: Mapping[str, tuple[Run, ...]],
    records: Mapping[str, Record],
    against: str | None,
    builds_up: bool,
    stochastic: bool,
) -> list[Line]:
    order, own, pairs = _comparisons(series, planned, against, builds_up)
    by_name = {point.name: point for point in (series.own, *series.points)}
    runs = {name: planned[str(by_name[name].spec)] for name in order}
    values = {name: values_by_seed(found, records) for name, found in runs.items()}
    columns = order_columns((column for found in values.values() for column in found), everything=True)
    lines = []
    for column in columns:
        stats = {name: _stat(values[name].get(column), stochastic) for name in order}
        top = max((found.mean for found in stats.values() if found), default=None)
        for name in order:
            there = values[name].get(column, {})
            other = values[pairs[name]].get(column, {}) if name in pairs else {}
            own_runs = [one for one in runs[name] if one.dataset.name == column.dataset]
            found = stats[name]
            lines.append(
                Line(
                    swept=series.swept,
                    setting=name,
                    spec=str(by_name[name].spec),
                    help=by_name[name].help,
                    as_given=name == own,
                    transductive=any(one.setting == "transductive" for one in own_runs),
                    selection=" and ".join(
                        sorted({records[one.id].selection if one.id in records else one.selection for one in own_runs})
                    ),
                    column=column,
                    stat=found,
                    seeds=tuple(sorted(there)),
                    highest=bool(series.swept) and found is not None and found.mean == top,
                    against=pairs.get(name, ""),
                    difference=paired_difference(there, other, stochastic) if name in pairs else None,
                )
            )
    return lines


def _stat(values: Mapping[int, float] | None, stochastic: bool) -> Stat | None:
    return stat([values[seed] for seed in sorted(values)], stochastic) if values else None
