"""`ablate`: what each part of a method is worth, over seeds, and how results move with one hyper-parameter."""

from __future__ import annotations

import collections
import dataclasses
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from zslbench import params
from zslbench.data.splits import Stage
from zslbench.errors import BadSpec, BadValue, UnknownName
from zslbench.files import write_output
from zslbench.methods.base import Method
from zslbench.params import Scalar
from zslbench.registry import METHODS
from zslbench.results.analysis.rows import Stat, stat
from zslbench.results.records.record import Record
from zslbench.results.records.tuned_presets import PresetStore
from zslbench.results.tables.facts import write_data
from zslbench.results.tables.render import DATA_FORMATS, check_format, render
from zslbench.runner.class_lookup import method_class
from zslbench.runner.jobs import Run
from zslbench.runner.plan import DEFAULT_PROTOCOLS, RunOptions, StudyPlan, as_text_list, plan
from zslbench.runner.run import Outcome, run
from zslbench.spec import Spec, brackets, expand, parse
from zslbench.studies.ablation_tables import AS_GIVEN, FULL, AblationRow, Measure, ablation_tables, facts, order_columns

if TYPE_CHECKING:
    from rich.console import Console

    from zslbench.runner.executors import Executor

DEFAULT_SEEDS = 3


@dataclasses.dataclass(frozen=True, repr=False)
class Ablated:
    """What `ablate` found: the numbers, the text of the table, and what the runs did."""

    lines: tuple[AblationRow, ...]
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
    base = parse(method)
    cls = method_class(base.name)
    if len(expand(base)) > 1:
        raise BadValue(f"{method!r} stands for several methods; give each parameter one value, and a list to --sweep.")
    (base,) = expand(base)
    params.resolve(cls, base.name, base.params)
    sweeps = as_text_list(sweep)
    if len(sweeps) != len({text.partition("=")[0].strip() for text in sweeps}):
        raise BadValue("one parameter is swept twice; put all of its values into one --sweep.")
    by_parameter = dict(_read_sweep(base, cls, text) for text in sweeps) or {"": _named_ablations(base, cls)}
    options = RunOptions(
        datasets=as_text_list(datasets),
        protocols=as_text_list(protocols),
        features=features,
        semantics=semantics,
        seeds=seeds if seeds is not None else DEFAULT_SEEDS if cls.card.stochastic else 1,
        stage=stage,
        data_root=str(data_root) if data_root else None,
    )
    specs = dict.fromkeys(str(spec) for specs in by_parameter.values() for spec in (*specs.values(), base))
    planned = {text: plan(structs.replace(options, methods=[text]), PresetStore(Path(runs))).runs for text in specs}
    all_series = [
        _compare_settings(swept, settings, base, planned, against, cls.ablations_build_up and not swept)
        for swept, settings in by_parameter.items()
    ]
    outcome = run(
        plan=StudyPlan({"": structs.replace(options, methods=list(planned))}),
        runs=runs,
        device=device,
        engine=engine,
        dry_run=dry_run,
        console=console,
    )
    records = {record.id: record for record in outcome.records}
    lines = tuple(line for series in all_series for line in _lines(series, planned, records, cls))
    if dry_run:
        return Ablated(lines, "", outcome)
    if format in DATA_FORMATS:
        text = write_data([facts(line, stage) for line in lines], format)
    else:
        narrow = format == "latex"
        tables = ablation_tables(lines, cls.card, str(base), stage, outcome, narrow)
        text = render(tables, format, None if narrow else width, piped=120)
    return Ablated(lines, write_output(text, output, "table"), outcome)


def _named_ablations(base: Spec, cls: type[Method]) -> dict[str, Spec]:
    """Return a method's named ablations: each takes something away, so its values win over given ones."""
    if not cls.ablations:
        having = []
        for entry in METHODS:
            try:
                having += [entry.name] if getattr(entry.load(), "ablations", None) else []
            except Exception:  # a plugin that cannot be imported has none to offer
                continue
        first = next(iter(params.declared_params(cls)), "NAME")
        raise BadValue(
            f"method {base.name!r} declares no ablations (these do: {', '.join(having) or 'none'}); sweep one of its "
            f"parameters instead, for instance --sweep '{first}=[…]'; zslbench info {shlex.quote(base.name)} lists "
            "them."
        )
    kept = tuple(preset for preset in base.presets if preset not in cls.ablations)
    if len(kept) < len(base.presets):
        plain = dataclasses.replace(base, presets=kept)
        raise BadValue(f"{str(base)!r} is an ablation itself; name the whole method: zslbench ablate '{plain}' …")
    return {
        name: dataclasses.replace(
            base,
            presets=(*base.presets, name),
            params={key: value for key, value in base.params.items() if key not in ablation.values},
        )
        for name, ablation in cls.ablations.items()
    }


def _read_sweep(base: Spec, cls: type[Method], text: str) -> tuple[str, dict[str, Spec]]:
    """Return the parameter of ``NAME=[values]`` and the method with each value; all else stays as given."""
    try:
        swept = parse(f"sweep[{text}]").params
    except BadSpec:
        swept = {}
    if len(swept) != 1:
        raise BadSpec(f"cannot read --sweep {text!r}; write NAME=[1,2,5] or NAME=[1..5], one parameter each.")
    ((name, values),) = swept.items()
    known = params.declared_params(cls)
    if name not in known:
        raise UnknownName(f"parameter of {base.name}", name, known)
    if not isinstance(values, tuple) or len(values) < 2:
        raise BadValue(f"--sweep {text} names one value; give several, for instance {name}=[…,…].")
    allowed = dict.fromkeys(known[name].coerce(value, base.name) for value in values)
    return name, {
        _value_text(name, value): dataclasses.replace(base, params={**base.params, name: value}) for value in allowed
    }


def _value_text(name: str, value: Scalar) -> str:
    """Return a value as the grammar has it."""
    return brackets({name: value})[1:-1].partition("=")[2]


@dataclasses.dataclass(frozen=True)
class _Series:
    """Settings that stand in one table: in order, which is the method as given, and what each is compared with."""

    swept: str
    specs: Mapping[str, Spec]
    as_given: str
    against: Mapping[str, str]


def _compare_settings(
    swept: str,
    specs: Mapping[str, Spec],
    base: Spec,
    planned: Mapping[str, Sequence[Run]],
    against: str | None,
    builds_up: bool,
) -> _Series:
    """Return the settings, and where none of them equals it the method as given: last where they build up to it."""
    ids = {text: {run.id for run in runs} for text, runs in planned.items()}
    equal = [name for name, spec in specs.items() if ids[str(spec)] == ids[str(base)]]
    if equal:
        as_given, ordered = equal[-1], dict(specs)
    else:
        # its own value of the swept parameter is its name, where that is the same on all data
        values = {run.params[swept] for run in planned[str(base)]} if swept else set()
        as_given = FULL if not swept else AS_GIVEN if len(values) != 1 else _value_text(swept, values.pop())
        ordered = {**specs, as_given: base} if builds_up else {as_given: base, **specs}
    names = list(ordered)
    rule = against or ("previous" if builds_up else FULL)
    if rule == "previous":
        return _Series(swept, ordered, as_given, dict(zip(names[1:], names, strict=False)))
    target = {FULL: as_given, "first": names[0]}.get(rule, rule)
    if target not in names:
        raise UnknownName("setting to compare with", rule, ["first", "previous", FULL, *names])
    return _Series(swept, ordered, as_given, {name: target for name in names if name != target})


def _lines(
    series: _Series, planned: Mapping[str, Sequence[Run]], records: Mapping[str, Record], cls: type[Method]
) -> list[AblationRow]:
    runs = {name: planned[str(spec)] for name, spec in series.specs.items()}
    values = {name: _values_by_seed(of_setting, records) for name, of_setting in runs.items()}
    lines = []
    for column in order_columns((column for by_column in values.values() for column in by_column), everything=True):
        by_seed = {name: by_column.get(column, {}) for name, by_column in values.items()}
        stats = {name: _stat(dict(sorted(of_setting.items())), cls) for name, of_setting in by_seed.items()}
        top = max(stat.mean for stat in stats.values() if stat)
        for name, spec in series.specs.items():
            on_data = [run for run in runs[name] if run.dataset.name == column.dataset]
            mean, other = stats[name], by_seed.get(series.against.get(name, ""), {})
            gaps = {seed: value - other[seed] for seed, value in sorted(by_seed[name].items()) if seed in other}
            selections = {records[run.id].selection if run.id in records else run.selection for run in on_data}
            named = cls.ablations.get(name) if not series.swept else None
            lines.append(
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
                    seeds=tuple(sorted(by_seed[name])),
                    highest=bool(series.swept) and mean is not None and mean.mean == top,
                    against=series.against.get(name, ""),
                    difference=_stat(gaps, cls),
                )
            )
    return lines


def _stat(by_seed: Mapping[int, float], cls: type[Method]) -> Stat | None:
    return stat(by_seed.values(), cls.card.stochastic) if by_seed else None


def _values_by_seed(runs: Iterable[Run], records: Mapping[str, Record]) -> dict[Measure, dict[int, float]]:
    """Return each metric by seed, as fractions; of the dev stage the mean over the folds, where all are done."""
    folds: dict[tuple[Measure, int], list[float]] = collections.defaultdict(list)
    lacking = set()
    for planned in runs:
        data, protocol = planned.dataset, planned.protocol + brackets(planned.protocol_params)
        place = (data.name, data.features, data.semantics, protocol)
        record = records.get(planned.id)
        if record is None or not record.ok:
            lacking.add((*place, planned.seed))
            continue
        for metric, value in record.metrics.items():
            folds[Measure(*place, metric), planned.seed].append(value)
    values: dict[Measure, dict[int, float]] = collections.defaultdict(dict)
    for (column, seed), of_folds in folds.items():
        if (*column[:-1], seed) not in lacking:
            values[column][seed] = math.fsum(of_folds) / len(of_folds)
    return values
