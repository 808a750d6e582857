"""`ablate`: what each part of a method is worth, over seeds, and how results move with one hyper-parameter."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from zslbench import params
from zslbench.data.splits import Stage
from zslbench.errors import BadSpec, BadValue, UnknownName
from zslbench.files import write_text
from zslbench.methods.base import Method
from zslbench.params import Scalar
from zslbench.registry import METHODS
from zslbench.results.analysis.rows import Stat, stat
from zslbench.results.records.presets import PresetStore
from zslbench.results.records.record import Record
from zslbench.results.tables.facts import write_data
from zslbench.results.tables.render import DATA_FORMATS, check_format, render
from zslbench.runner.classes import method_class
from zslbench.runner.options import DEFAULT_PROTOCOLS, RunOptions, StudyPlan, texts
from zslbench.runner.plan import plan
from zslbench.runner.run import Outcome, run
from zslbench.runner.runs import Run
from zslbench.spec import Spec, brackets, expand, parse
from zslbench.studies.ablation_tables import AS_GIVEN, FULL, ablation_tables, facts
from zslbench.studies.values import Column, order_columns, paired_difference, values_by_seed

if TYPE_CHECKING:
    from rich.console import Console

    from zslbench.runner.executors import Executor


@dataclasses.dataclass(frozen=True)
class Point:
    """One setting: its name in the table, what is run, a few words on it, and the value of a sweep."""

    name: str
    spec: Spec
    help: str = ""


@dataclasses.dataclass(frozen=True)
class Series:
    """Settings that stand in one table.

    Attributes:
        swept: the parameter whose values they are; empty for named ablations.
        points: in order.
        as_given: the method as it was given.
    """

    swept: str
    points: tuple[Point, ...]
    as_given: Point


def read_base(text: str) -> tuple[Spec, type[Method]]:
    """Return the method that an ablation starts from, and its class.

    Raises:
        BadValue: a grid of methods; UnknownName and others: a method or parameter that does not exist.
    """
    spec = parse(text)
    if len(expand(spec)) > 1:
        raise BadValue(f"{text!r} stands for several methods; give each parameter one value, and a list to --sweep.")
    cls = method_class(spec.name)
    (spec,) = expand(spec)
    params.resolve(cls, spec.name, spec.params)
    return spec, cls


def named_ablations(spec: Spec, cls: type[Method]) -> Series:
    """Return a method's named ablations in the order of their declaration.

    An ablation takes something away from whatever was given, so its values win over given parameters.

    Raises:
        BadValue: the method has none, or `spec` is an ablation itself.
    """
    if not cls.ablations:
        have = ", ".join(_with_ablations()) or "none"
        first = next(iter(params.declared(cls)), "NAME")
        raise BadValue(
            f"method {spec.name!r} declares no ablations (these do: {have}); sweep one of its parameters instead, "
            f"for instance --sweep '{first}=[…]'; zslbench info {shlex.quote(spec.name)} lists them."
        )
    kept = tuple(preset for preset in spec.presets if preset not in cls.ablations)
    if len(kept) < len(spec.presets):
        plain = dataclasses.replace(spec, presets=kept)
        raise BadValue(f"{str(spec)!r} is an ablation itself; name the whole method: zslbench ablate '{plain}' …")
    points = [
        Point(
            tag,
            Spec(
                spec.name,
                (*spec.presets, tag),
                {key: value for key, value in spec.params.items() if key not in ablation.values},
            ),
            ablation.help,
        )
        for tag, ablation in cls.ablations.items()
    ]
    return Series("", tuple(points), Point(FULL, spec, "the method as given"))


def swept_values(spec: Spec, cls: type[Method], text: str) -> Series:
    """Return the settings of one ``NAME=[values]``; every other parameter stays as given.

    Raises:
        BadSpec: not of that form; UnknownName: no such parameter; BadValue: a value that it does not allow.
    """
    try:
        swept = parse(f"sweep[{text}]").params
    except BadSpec:
        swept = {}
    if len(swept) != 1:
        raise BadSpec(f"cannot read --sweep {text!r}; write NAME=[1,2,5] or NAME=[1..5], one parameter each.")
    ((name, values),) = swept.items()
    known = params.declared(cls)
    if name not in known:
        raise UnknownName(f"parameter of {spec.name}", name, known)
    grid: Sequence[Scalar] = values if isinstance(values, tuple) else (values,)
    if len(grid) < 2:
        raise BadValue(f"--sweep {text} names one value; give several, for instance {name}=[…,…].")
    values_once = dict.fromkeys(known[name].coerce(value, spec.name) for value in grid)
    points = tuple(
        Point(format_value(name, value), dataclasses.replace(spec, params={**spec.params, name: value}))
        for value in values_once
    )
    return Series(name, points, Point(AS_GIVEN, spec))


def format_value(name: str, value: Scalar) -> str:
    """Return a value as the grammar has it."""
    return brackets({name: value})[1:-1].partition("=")[2]


def order_settings(names: Sequence[str], as_given: str, builds_up: bool) -> list[str]:
    """Return the lines of a table: the settings and, where none of them equals it, the method as given.

    It stands last where ablations build up to it, else first.
    """
    if as_given in names:
        return list(names)
    return [*names, as_given] if builds_up else [as_given, *names]


def choose_comparisons(order: Sequence[str], as_given: str, against: str | None, builds_up: bool) -> dict[str, str]:
    """Return the name of the line that each line is compared with; those compared with nothing are left out.

    Args:
        order: the lines; as_given: which of them is the method as given.
        against: ``first``, ``previous``, ``full`` (the method as given) or a line; None: ``previous`` where ablations
            build upon each other, else ``full``.
        builds_up: whether they do.

    Raises:
        UnknownName: a line that is not in the table.
    """
    rule = against or ("previous" if builds_up else FULL)
    if rule == "previous":
        return dict(zip(order[1:], order, strict=False))
    target = {FULL: as_given, "first": order[0]}.get(rule, rule)
    if target not in order:
        raise UnknownName("setting to compare with", rule, ["first", "previous", FULL, *order])
    return {name: target for name in order if name != target}


def _with_ablations() -> list[str]:
    names = []
    for entry in METHODS:
        try:
            if getattr(entry.load(), "ablations", None):
                names.append(entry.name)
        except Exception:  # a plugin that cannot be imported has none to offer
            continue
    return names


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
    spec, cls = read_base(method)
    sweeps = texts(sweep)
    if len(sweeps) != len({text.partition("=")[0].strip() for text in sweeps}):
        raise BadValue("one parameter is swept twice; put all of its values into one --sweep.")
    all_series = [swept_values(spec, cls, text) for text in sweeps] or [named_ablations(spec, cls)]
    seed_list = _seeds(seeds, cls.card.stochastic)
    options = RunOptions(
        datasets=texts(datasets),
        protocols=texts(protocols),
        features=features,
        semantics=semantics,
        seeds=seed_list,
        stage=stage,
        data_root=str(data_root) if data_root else None,
    )
    planned: dict[str, tuple[Run, ...]] = {}
    for point in (point for series in all_series for point in (*series.points, series.as_given)):
        text = str(point.spec)
        if text not in planned:
            planned[text] = plan(structs.replace(options, methods=[text]), PresetStore(Path(runs))).runs
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
    values = {run.params[series.swept] for run in planned[str(series.as_given.spec)]} if series.swept else set()
    if len(values) != 1:
        return series
    return dataclasses.replace(
        series, as_given=dataclasses.replace(series.as_given, name=format_value(series.swept, values.pop()))
    )


def _comparisons(
    series: Series, planned: Mapping[str, tuple[Run, ...]], against: str | None, builds_up: bool
) -> tuple[list[str], str, dict[str, str]]:
    """Return the names of the lines in order, which of them is the method as given, and what each is compared with."""

    def ids(point: Point) -> set[str]:
        return {run.id for run in planned[str(point.spec)]}

    builds_up = builds_up and not series.swept
    equal = [point.name for point in series.points if ids(point) == ids(series.as_given)]
    as_given = equal[-1] if equal else series.as_given.name
    order = order_settings([point.name for point in series.points], as_given, builds_up)
    return order, as_given, choose_comparisons(order, as_given, against, builds_up)


def _lines(
    series: Series,
    planned: Mapping[str, tuple[Run, ...]],
    records: Mapping[str, Record],
    against: str | None,
    builds_up: bool,
    stochastic: bool,
) -> list[Line]:
    order, as_given, pairs = _comparisons(series, planned, against, builds_up)
    by_name = {point.name: point for point in (series.as_given, *series.points)}
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
                    as_given=name == as_given,
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
