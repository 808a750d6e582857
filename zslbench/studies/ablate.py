"""`ablate`: what each part of a method is worth, over seeds, and how results move with one hyper-parameter."""

from __future__ import annotations

import dataclasses
import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import structs

from zslbench import params
from zslbench.data.splits import Stage
from zslbench.errors import BadSpec, BadValue, UnknownName
from zslbench.methods.base import Method, MethodCard
from zslbench.registry import METHODS
from zslbench.results.analysis.rows import Stat
from zslbench.results.records.tuned_presets import PresetStore
from zslbench.results.tables.captions import (
    ORACLE,
    TRANSDUCTIVE,
    TWO_SEEDS,
    describe_selections,
    distinct,
    format_number_ranges,
)
from zslbench.results.tables.render import MISSING, Caption, check_decimals, check_format
from zslbench.results.tables.result import TableResult
from zslbench.results.tables.table import (
    Cell,
    NumberFormat,
    Remark,
    RemarkKind,
    Table,
    remarks,
    signed,
    stat_cell,
    text_table,
)
from zslbench.results.tables.table_data import pick_facts, round_numbers
from zslbench.runner.class_lookup import method_class
from zslbench.runner.outcome import Outcome, say_how_to_go_on
from zslbench.runner.plan import DEFAULT_PROTOCOLS, Precision, RunOptions, StudyPlan, as_text_list, plan
from zslbench.runner.run import run
from zslbench.spec import Spec, expand, parse, write_value
from zslbench.studies.ablation_rows import FULL, AblationRow, compare_settings, measure_settings
from zslbench.visible import format_count, title_data

if TYPE_CHECKING:
    from rich.console import Console

    from zslbench.runner.executors import Executor

DEFAULT_SEEDS = 3
_NO_STAT = Stat(math.nan, None, 0)
"""Where nothing finished: data formats leave its numbers out."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Ablated(TableResult):
    """What `ablate` found: the tables, their numbers as `lines`, and what the runs did."""

    lines: tuple[AblationRow, ...]
    outcome: Outcome


def ablate(
    method: str,
    datasets: str | Sequence[str],
    protocols: str | Sequence[str] = DEFAULT_PROTOCOLS,
    *,
    seeds: int | Sequence[int] | None = None,
    sweep: str | Sequence[str] = (),
    against: str | None = None,
    format: str = "terminal",
    features: str | None = None,
    semantics: str | None = None,
    stage: Stage = "final",
    runs: Path | str = "runs",
    data_root: Path | str | None = None,
    device: str = "auto",
    precision: Precision = "float32",
    engine: Executor | None = None,
    dry_run: bool = False,
    progress: bool | None = None,
    console: Console | None = None,
    width: int | None = None,
    decimals: int = 1,
    caption: str = "short",
    caption_text: str | None = None,
    label: str | None = None,
) -> Ablated:
    """Run a method's named ablations, or the values of one hyper-parameter, and compare them over seeds.

    Finished runs are not repeated, and settings that differ only in how they score share one fit.

    Args:
        method: the whole method as a spec, presets and parameters included.
        seeds: how many, or which; None: 3 for a method that depends on the seed.
        sweep: ``NAME=[1,2,5]`` or ``NAME=[1..5]``; several are allowed, each of one parameter. All other parameters
            stay as given.
        against: what each setting is compared with: ``first``, ``previous``, ``full`` or the name of a setting; None:
            the previous one if the ablations build upon each other, otherwise the method as given.
        format: ``terminal``, ``markdown``, ``latex``, ``csv`` or ``json``.
        stage: ``final``, or ``dev``: the mean over its folds.
        datasets, protocols, features, semantics, runs, data_root, device, precision, engine, dry_run, progress,
            console: as in `run`.
        width: characters per line; None: the terminal's.
        decimals: digits after the point, 0 to 3; differences have one more.
        caption, caption_text, label: as in `table`.

    Raises:
        ZslbenchError: a request that cannot be met; nothing was run.
    """
    below = Caption(caption, caption_text, label)
    check_format(format, caption=below)
    numbers = check_decimals(decimals, format)
    base = parse(method)
    cls = method_class(base.name)
    base, *others = expand(base)
    if others:
        raise BadValue(f"{method!r} stands for several methods; give each parameter one value, and a list to --sweep.")
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
        precision=precision,
    )
    specs = dict.fromkeys(str(spec) for specs in by_parameter.values() for spec in (*specs.values(), base))
    planned = {text: plan(structs.replace(options, methods=[text]), PresetStore(Path(runs))).runs for text in specs}
    all_series = [
        compare_settings(swept, settings, base, planned, against, cls.ablations_build_up and not swept)
        for swept, settings in by_parameter.items()
    ]
    outcome = run(
        plan=StudyPlan({"": structs.replace(options, methods=list(planned))}),
        runs=runs,
        device=device,
        engine=engine,
        dry_run=dry_run,
        progress=progress,
        console=console,
    )
    records = {record.id: record for record in outcome.records}
    rows = tuple(row for series in all_series for row in measure_settings(series, planned, records, cls))
    return Ablated(
        make_tables=lambda wanted, _: _tables(rows, cls.card, str(base), stage, outcome, numbers, wanted == "latex"),
        make_rows=lambda: [_facts(row, stage) for row in rows],
        format=format,
        options={"width": None if format == "latex" else width, "piped": 120},
        caption=below,
        instead=outcome.text if dry_run else "",
        lines=rows,
        outcome=outcome,
    )


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
        write_value(value): dataclasses.replace(base, params={**base.params, name: value}) for value in allowed
    }


def _facts(row: AblationRow, stage: str) -> dict[str, Any]:
    """Return a row as plain facts, accuracies and differences in percent."""
    gap = row.difference or _NO_STAT
    return {
        **pick_facts(row, "swept", "setting", "spec", "as_given", "transductive", "selection"),
        **pick_facts(row.column, "dataset", "features", "semantics", "protocol"),
        "stage": stage,
        "metric": row.column.metric,
        "seeds": row.seeds,
        "n": len(row.seeds),
        **round_numbers(pick_facts(row.stat or _NO_STAT, "mean", "std")),
        "highest_mean": row.highest,
        "against": row.against,
        **round_numbers({"difference": gap.mean} | pick_facts(gap, "low", "high")),
        "pairs": gap.n,
        "excludes_0": gap.excludes_zero,
    }


def _tables(
    rows: Sequence[AblationRow],
    card: MethodCard,
    given: str,
    stage: str,
    outcome: Outcome,
    numbers: NumberFormat,
    narrow: bool,
) -> list[Table]:
    """Return two tables for each data set and series; sentences below the last say what the numbers are.

    Where room is `narrow`, as on paper, a sentence says what the settings are, instead of a column.
    """
    if not rows:
        return [Table((), (), tuple(remarks("warning", ["No run finished.", *_unfinished(outcome)])))]
    tables: list[Table] = []
    shown = [row for row in rows if row.column.metric != "AUSUC"] or rows
    for swept, place in dict.fromkeys((row.swept, row.column.place) for row in shown):
        on_data = [row for row in shown if (row.swept, row.column.place) == (swept, place)]
        title = f"{card.title} on {place}"
        tables += _tables_of_series(on_data, title, numbers, explained=not swept and not narrow)
    below = _remarks(rows, shown, card, given.replace(",", ", ") if narrow else given, stage)
    below += remarks("warning", _unfinished(outcome))
    helps = dict.fromkeys(f"{row.setting}: {row.help}" for row in rows if row.help)
    if narrow and helps:
        below += remarks("parameters", [f"{'; '.join(helps)}."])
    return [*tables[:-1], dataclasses.replace(tables[-1], remarks=tuple(below))]


def _tables_of_series(rows: Sequence[AblationRow], title: str, numbers: NumberFormat, explained: bool) -> list[Table]:
    """Return the table of a series on one data set, where `explained` with what settings are, and its differences."""
    swept = rows[0].swept
    columns = list(dict.fromkeys(row.column for row in rows))
    metrics = [column.metric for column in columns]
    heads = {
        column: f"{column.metric} ({column.protocol})" if metrics.count(column.metric) > 1 else column.metric
        for column in columns
    }
    by_setting = {(row.setting, row.column): row for row in rows}
    settings = [[by_setting[name, column] for column in columns] for name in dict.fromkeys(row.setting for row in rows)]
    cells: list[list[str | Cell | None]] = []
    for row in settings:
        marks = ("†" * ("oracle" in measured.selection) + "*" * measured.highest for measured in row)
        stats = (stat_cell(measured.stat, mark, numbers) for measured, mark in zip(row, marks, strict=True))
        cells.append([row[0].title, *stats, *([row[0].help] if explained else [])])
    first = text_table(
        f"{title}: {f'values of {swept}' if swept else 'named ablations'}",
        (swept or "setting", *heads.values(), *(["what it is"] if explained else [])),
        cells,
        words=[len(columns) + 1] if explained else [],
    )
    compared = [measured for row in settings for measured in row if measured.against]
    if not any(row.difference for row in compared):
        return [first]
    digits = numbers.decimals + 1

    def write_difference(measured: AblationRow) -> str:
        both = measured.selection + by_setting[measured.against, measured.column].selection
        mark = "†" if "oracle" in both else ""
        return signed(measured.difference.mean, digits) + mark if measured.difference else MISSING

    title_of_differences = f"{title}: differences in points"
    if not any(row.difference and row.difference.low is not None for row in compared):
        exact = [
            (
                f"{row[0].title} − {by_setting[row[0].against, columns[0]].title}",
                *(write_difference(measured) if measured.difference else None for measured in row),
            )
            for row in settings
            if row[0].against
        ]
        return [first, text_table(title_of_differences, ("difference", *heads.values()), exact)]
    differences = [
        (
            f"{row.title} − {by_setting[row.against, row.column].title}",
            heads[row.column],
            write_difference(row),
            *_describe_interval(row.difference, digits),
        )
        for row in compared
    ]
    columns_of_differences = ("difference", "metric", "points", "95 % interval", "excludes 0")
    return [first, text_table(title_of_differences, columns_of_differences, differences, words=[1, 4])]


def _describe_interval(gap: Stat | None, digits: int) -> tuple[str, str]:
    """Return the interval of a difference, and whether it excludes 0."""
    if gap is None or gap.low is None or gap.high is None:
        return MISSING, "no interval"
    excludes = "no: the same" if gap.low == gap.high == 0 else "yes" if gap.excludes_zero else "no"
    return f"{signed(gap.low, digits)} to {signed(gap.high, digits)}", excludes


def _remarks(
    rows: Sequence[AblationRow], shown: Sequence[AblationRow], card: MethodCard, given: str, stage: str
) -> list[Remark]:
    final = stage == "final"
    kinds = " and ".join(dict.fromkeys(row.column.protocol.upper() for row in shown))
    tested = "final stage: trainval → test" if final else "dev stage: training → validation classes, folds averaged"
    means = "mean ± sample standard deviation over seeds" if card.stochastic else "mean"
    rest = "." if "@" in given else "; all else is at its defaults."
    below: list[Remark] = []

    def add(kind: RemarkKind, text: str, short: str | None = None) -> None:
        below.extend(remarks(kind, [text], text if short is None else short))

    spread = ", ± standard deviation" if any(row.stat and row.stat.std is not None for row in shown) else ""
    add("stage", f"{kinds} accuracy in percent, {tested}; {means}.", f"{kinds}, {stage} stage{spread}")
    add("parameters", f"The method as given is {given}{rest}")
    below += _describe_seeds(shown, card)
    selections = [row.selection for row in rows]
    short = f"selection: {', '.join(distinct(sorted(selections)))}"
    add("selection", f"Selection: {describe_selections(selections)}.", short)
    below += _describe_intervals(shown, card)
    if same := sorted({row.setting for row in rows if row.as_given and not row.swept} - {FULL}):
        add("parameters", f"{', '.join(same)} is the method as given.")
    if using := list(dict.fromkeys(row.setting for row in rows if row.transductive)):
        who = f"{using[0]} uses" if len(using) == 1 else f"{' and '.join(using)} use"
        some = f"‡ transductive: {who} unlabelled test features, the other settings do not."
        add("transductive", TRANSDUCTIVE.text if len(using) == len({row.setting for row in rows}) else some)
    below += [ORACLE] if any("oracle" in row.selection for row in rows) else []
    if any(row.highest for row in rows):
        where = "the test images" if final else "the validation classes"
        advice = "; choose values with zslbench tune, or look at --stage dev" if final else ""
        text = f"* highest mean, as measured on {where}: this shows sensitivity and selects nothing{advice}."
        add("ranking", text, f"* highest mean on {where}; this selects nothing.")
    return below


def _describe_intervals(rows: Sequence[AblationRow], card: MethodCard) -> list[Remark]:
    """Say what the intervals of differences are, or why there are none."""
    gaps = [row.difference for row in rows if row.difference]
    if any(gap.low is not None for gap in gaps):
        text = (
            "Differences are paired by seed; each interval is Student's at 95 % by itself, not adjusted for the "
            f"{len(gaps)} comparisons made here."
        )
        short = f"differences paired by seed, 95 % t intervals not adjusted for {len(gaps)} comparisons"
        few = remarks("warning", [TWO_SEEDS] if any(gap.n == 2 for gap in gaps) else [])
        return [*remarks("spread", [text], short), *few]
    if gaps and card.stochastic:
        alone = "One seed: no interval, so a difference may be due to chance; run more seeds with --seeds."
        return remarks("single seed", [alone])
    text = (
        f"{card.title} draws nothing at random: differences are exact for this data, without an interval over "
        "seeds; zslbench compare has intervals over classes and images."
    )
    return remarks("spread", [text] if gaps else [])


def _describe_seeds(rows: Sequence[AblationRow], card: MethodCard) -> list[Remark]:
    if not card.stochastic:
        return remarks("seeds", [f"{card.title} does not depend on a seed."], "deterministic")
    most = max((row.seeds for row in rows), key=len)
    with_fewer = [row for row in rows if row.seeds != most]
    fewer = dict.fromkeys(f"{row.setting} on {title_data(row.column.dataset)}" for row in with_fewer)
    text = f"Seeds: {', '.join(map(str, most))}."
    if fewer:
        return remarks("warning", [f"{text} Fewer for {', '.join(fewer)}."])
    return remarks("seeds", [text], f"{'seed' if len(most) == 1 else 'seeds'} {format_number_ranges(most)}")


def _unfinished(outcome: Outcome) -> list[str]:
    sentences = outcome.describe_failures()
    cut = sum(record.status in ("interrupted", "skipped") for record in outcome.records)
    if missing := len(outcome.states) - len(outcome.records) + cut:
        runs = format_count(len(outcome.states), "run")
        sentences.append(f"{missing} of {runs} not done; {say_how_to_go_on()}.")
    return sentences
