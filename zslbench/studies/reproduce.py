"""`reproduce`: run what a published table needs, and say of each of its numbers whether it came out again."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from msgspec import structs

from zslbench.data.inventory import list_
from zslbench.errors import BadValue, UnknownName, ZslbenchError
from zslbench.metrics import metric_place
from zslbench.results.analysis import published
from zslbench.results.analysis.published import KINDS, PROTOCOL, Published
from zslbench.results.analysis.rows import Stat, group_values, stat
from zslbench.results.records.record import Record
from zslbench.results.records.tuned_presets import DEFAULT_NAME, PresetStore
from zslbench.results.tables.captions import ORACLE, TRANSDUCTIVE, TWO_SEEDS, describe_selections, format_number_ranges
from zslbench.results.tables.render import MISSING, Caption, check_format
from zslbench.results.tables.result import TableResult
from zslbench.results.tables.table import Cell, Remark, RemarkKind, Table, remarks, signed, stat_cell, text_table
from zslbench.results.tables.table_data import pick_facts, round_numbers
from zslbench.runner.class_lookup import method_class
from zslbench.runner.jobs import Run, dataset_ref
from zslbench.runner.outcome import Outcome, say_how_to_go_on
from zslbench.runner.plan import Precision, RunOptions, StudyPlan, as_text_list, plan
from zslbench.runner.run import run
from zslbench.spec import parse
from zslbench.visible import describe_failure, format_count, title_data

if TYPE_CHECKING:
    from rich.console import Console

    from zslbench.runner.executors import Executor

FORMATS = ("terminal", "markdown", "csv", "json")
Verdict = Literal["reproduced", "above", "below", "inconclusive"]
_PRESET = "published"
_ROUNDING = 1e-9
_HEADS = ("method", "metric", "published", "measured", "difference", "95 % interval", "verdict", "run")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim:
    """A published number, what is run for it, and what was measured.

    Attributes:
        features, semantics: what is used.
        spec: the method in the spec grammar; empty where nothing can be run. how: where its hyper-parameters come from.
        lacks_data: whether nothing can be run for want of data on this machine; instead: the option that takes what of
            its data set is here.
        runs: what was planned; stochastic: whether they depend on chance.
        stat: mean and deviation in percent; None where nothing finished.
        seeds: of the finished runs; selection: of their records.
        verdict: reproduced, above, below, inconclusive, ``other features`` (or semantics, or both), absent,
            failed or ``not run``; reason: of the last three.
    """

    entry: Published
    features: str
    semantics: str
    spec: str = ""
    how: str = ""
    lacks_data: bool = False
    instead: str = ""
    runs: tuple[Run, ...] = ()
    stochastic: bool = True
    stat: Stat | None = None
    seeds: tuple[int, ...] = ()
    selection: str = ""
    verdict: str = "absent"
    reason: str = ""

    @property
    def other(self) -> str:
        """What of the data is not the published one: features, semantics, both or nothing."""
        kinds = ("features", "semantics")
        return " and ".join(kind for kind in kinds if getattr(self, kind) != getattr(self.entry, kind))

    @property
    def low(self) -> float | None:
        """The lower end of the 95 % interval, a point for a method without chance."""
        return self._ends[0]

    @property
    def high(self) -> float | None:
        """Its upper end."""
        return self._ends[1]

    @property
    def _ends(self) -> tuple[float | None, float | None]:
        """The ends of the interval over seeds: a point without chance, None for one seed with it."""
        if self.stat is None:
            return None, None
        return (self.stat.low, self.stat.high) if self.stochastic else (self.stat.values[0], self.stat.values[0])

    @property
    def difference(self) -> float | None:
        """Measured − published, in points."""
        return self.stat.mean - self.entry.value if self.stat else None

    def judge(self, tolerance: float) -> str:
        """Return the verdict on what was measured, as `judge_interval` does; on other data it says so."""
        return f"other {self.other}" if self.other else judge_interval(self.low, self.high, self.entry.value, tolerance)

    @property
    def transductive(self) -> bool:
        """Whether what is run uses unlabelled test features (‡)."""
        return any(run.setting == "transductive" for run in self.runs)


@dataclasses.dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Reproduction(TableResult):
    """What `reproduce` found: the tables, their numbers as `cells`, and what the runs did."""

    cells: tuple[Claim, ...]
    outcome: Outcome

    def describe_missing(self) -> list[str]:
        """Say what cannot be run, and what can on other data."""
        return [*dict.fromkeys(cell.reason for cell in self.cells if not cell.runs), *advise_on_data(self.cells)]


def reproduce(
    source: str,
    table: str | int | None = None,
    datasets: str | Sequence[str] = (),
    methods: str | Sequence[str] = (),
    *,
    seeds: int = 3,
    tolerance: float = 2.0,
    format: str = "terminal",
    features: str | None = None,
    semantics: str | None = None,
    runs: Path | str = "runs",
    data_root: Path | str | None = None,
    device: str = "auto",
    precision: Precision = "float32",
    engine: Executor | None = None,
    dry_run: bool = False,
    progress: bool | None = None,
    console: Console | None = None,
    width: int | None = None,
    caption: str = "short",
) -> Reproduction:
    """Run what a published table needs, and judge each of its numbers by a 95 % interval over seeds.

    A method runs with the published values for the data set if there are any, otherwise with a tuned preset if there
    is one, otherwise with its defaults. If a number cannot be run, for example because its data set is not on this
    machine, its verdict says so and the others are run.

    Args:
        source: citation key.
        table: ``2``, ``Table 2`` or ``Figure 7(b)``; None if the source has only one.
        datasets, methods: which; none given: all of the table.
        seeds: how many, for methods that depend on the seed.
        tolerance: percentage points that still count as the same.
        format: ``terminal``, ``markdown``, ``csv`` or ``json``.
        features, semantics: use these instead of the published ones. The verdict then says so: it is no reproduction.
        runs, data_root, device, precision, engine, dry_run, progress, console: as in `run`.
        width: characters per line; None: the terminal's.
        caption: ``short``, ``full`` or ``none``, as in `table`.

    Raises:
        ZslbenchError: an unknown source, table, data set or method, or a request that cannot be met.
    """
    below = Caption(caption)
    check_format(format, FORMATS, caption=below)
    if not 0 <= tolerance <= 100:
        raise BadValue(f"tolerance {tolerance:g} is not allowed; choose points of percent from 0 to 100.")
    if seeds < 1:
        raise BadValue(f"seeds {seeds} is not allowed; choose a whole number of at least 1.")
    root, store = Path(data_root) if data_root else None, PresetStore(Path(runs))
    present = {row.name: (row.features, row.semantics) for row in list_(root)}
    cells: list[Claim] = []
    studies: dict[RunOptions, None] = {}
    number = None if table is None else str(table)
    for entry in choose_entries(source, number, as_text_list(datasets), as_text_list(methods)):
        cell = Claim(entry=entry, features=features or entry.features, semantics=semantics or entry.semantics)
        cell, study = _plan_claim(cell, present.get(entry.dataset, ((), ())), seeds, root, store)
        cells.append(cell)
        studies |= {structs.replace(study, precision=precision): None} if study else {}
    outcome = run(
        plan=StudyPlan({str(number): study for number, study in enumerate(studies)}),
        runs=runs,
        device=device,
        engine=engine,
        dry_run=dry_run,
        progress=progress,
        console=console,
    )
    records = {record.id: record for record in outcome.records}
    cells = [_judge_claim(cell, records, tolerance) for cell in cells]
    return Reproduction(
        make_tables=lambda *_: _tables(cells, tolerance, seeds, outcome),
        make_rows=lambda: [_facts(cell, tolerance) for cell in cells],
        format=format,
        options={"width": width, "piped": 120},
        caption=below,
        instead=outcome.text if dry_run else "",
        cells=tuple(cells),
        outcome=outcome,
    )


def choose_entries(
    source: str, table: str | None, datasets: Sequence[str] = (), methods: Sequence[str] = ()
) -> list[Published]:
    """Return the numbers of one table of a source, of the data sets and methods asked for (none: all).

    They come by data set (in the order asked for, or of the source), method and metric.

    Raises:
        UnknownName: a source, table, data set or method without numbers there.
        BadValue: a source with several tables, and none was named.
    """
    published.check_source(source)
    numbers = [entry for entry in published.load() if entry.source == source]
    tables = list(dict.fromkeys(entry.table for entry in numbers))
    if table is None and len(tables) > 1:
        raise BadValue(f"{source} has several tables ({', '.join(tables)}); choose one with --table.")
    if table is not None:
        wanted = {text.casefold() for text in (table, f"Table {table}", f"Figure {table}")}
        numbers = [entry for entry in numbers if entry.table.casefold() in wanted]
        if not numbers:
            raise UnknownName(f"table of {source}", table, tables)
    first = numbers[0]

    def pick(kind: str, terms: Sequence[str], names: list[str]) -> list[str]:
        """Return the names that terms mean, those of a method's ablations with it; without terms all."""
        picked = []
        for term in terms:
            wanted = term.casefold()
            matching = [name for name in names if wanted in (name.casefold(), name.partition(":")[0].casefold())]
            if not matching:
                raise UnknownName(f"{kind} of {first.table} of {source}", term, names)
            picked += matching
        return picked or names

    rows = list(dict.fromkeys(entry.method for entry in numbers))
    asked_data = pick("data set", datasets, list(dict.fromkeys(entry.dataset for entry in numbers)))
    asked_rows = pick("method", methods, rows)
    return sorted(
        (entry for entry in numbers if entry.dataset in asked_data and entry.method in asked_rows),
        key=lambda entry: (asked_data.index(entry.dataset), rows.index(entry.method), metric_place(entry.metric)),
    )


def choose_spec(entry: Published, data: tuple[str, str, str], tuned: PresetStore) -> tuple[str, str]:
    """Return what is run for a number, and where its hyper-parameters come from: published, else tuned, else defaults.

    `data` are the data set's name, features and semantics.
    """
    name, _, ablation = entry.method.partition(":")
    cls = method_class(name)
    if ablation and ablation not in cls.ablations:
        raise UnknownName(f"ablation of {name}", ablation, cls.ablations)
    protocol = PROTOCOL[entry.metric]
    end = f"@{ablation}" if ablation else ""
    preset = cls.presets.get(_PRESET)
    if preset is not None and (not preset.cells or (entry.dataset, protocol) in preset.cells):
        return f"{name}@{_PRESET}{end}", "the method's published preset (zslbench info names its source)"
    if tuned.find(DEFAULT_NAME, name, *data, protocol) is not None:
        return f"{name}@{DEFAULT_NAME}{end}", "tuned on validation classes"
    return f"{name}{end}", "the defaults, as there is no preset"


def _plan_claim(
    cell: Claim, present: tuple[Sequence[str], Sequence[str]], seeds: int, root: Path | None, tuned: PresetStore
) -> tuple[Claim, RunOptions | None]:
    """Return a claim with what is run for it, and the study that runs it; None where nothing can be run.

    `present` are the stems of features and of semantics that its data set has on this machine.
    """
    entry = cell.entry
    if entry.kind == "other":
        return dataclasses.replace(cell, reason=f"{KINDS[entry.kind]}: {entry.note}"), None
    for kind, names in zip(("features", "semantics"), present, strict=True):
        if (wanted := getattr(cell, kind)) not in names:
            reason = f"no {wanted} {kind} of {title_data(entry.dataset)} on this machine"
            instead = f"--{kind} {' or '.join(names)}" if names else ""
            return dataclasses.replace(cell, reason=reason, lacks_data=True, instead=instead), None
    try:
        name = dataset_ref(entry.dataset, cell.features, cell.semantics, root).name
        spec, how = choose_spec(entry, (name, cell.features, cell.semantics), tuned)
        study = RunOptions(
            (spec,),
            (entry.dataset,),
            (PROTOCOL[entry.metric],),
            features=cell.features,
            semantics=cell.semantics,
            seeds=seeds,
            data_root=str(root) if root else None,
        )
        runs = plan(study, tuned).runs
    except ZslbenchError as error:
        return dataclasses.replace(cell, reason=str(error)), None
    stochastic = method_class(parse(spec).name).card.stochastic
    return dataclasses.replace(cell, spec=spec, how=how, runs=runs, stochastic=stochastic), study


def _judge_claim(cell: Claim, records: Mapping[str, Record], tolerance: float) -> Claim:
    if not cell.runs:
        return cell
    metric = cell.entry.metric
    kept = [records[run.id] for run in cell.runs if run.id in records]
    good = [record for record in kept if record.ok and metric in record.metrics]
    if not good:
        errors = [describe_failure(record.error) for record in kept if record.error.strip()]
        failed = any(record.status in ("failed", "crashed", "timeout") for record in kept)
        reason = errors[0] if errors else "the same command runs it"
        return dataclasses.replace(cell, verdict="failed" if failed else "not run", reason=reason)
    measured = dataclasses.replace(
        cell,
        stat=stat([record.metrics[metric] for record in good], cell.stochastic),
        seeds=tuple(record.seed for record in good),
        selection=" and ".join(sorted({record.selection for record in good})),
    )
    return dataclasses.replace(measured, verdict=measured.judge(tolerance))


def judge_interval(low: float | None, high: float | None, published: float, tolerance: float) -> Verdict:
    """Return the verdict of a measured interval on a published number, all in percent.

    Reproduced: the interval lies within published ± tolerance, ends included. Above or below: it lies wholly outside,
    on that side. Inconclusive: it reaches over an end, or there is no interval (one seed of a method that draws).

    >>> [judge_interval(low, high, 51.6, 2.0) for low, high in ((50.1, 51.0), (40.0, 49.5), (49.0, 52.0))]
    ['reproduced', 'below', 'inconclusive']
    """
    if low is None or high is None:
        return "inconclusive"
    least, most = published - tolerance - _ROUNDING, published + tolerance + _ROUNDING
    if least <= low and high <= most:
        return "reproduced"
    if low > most:
        return "above"
    return "below" if high < least else "inconclusive"


def _facts(cell: Claim, tolerance: float) -> dict[str, Any]:
    """Return a cell as plain facts, accuracies in percent."""
    entry = cell.entry
    measured = pick_facts(cell.stat, "mean", "std") if cell.stat else dict.fromkeys(("mean", "std"))
    return {
        **pick_facts(entry, "source", "table", "dataset", "method", "metric"),
        "published": entry.value,
        "published_features": entry.features,
        "published_semantics": entry.semantics,
        "published_oracle": bool(entry.oracle),
        "published_transductive": entry.transductive,
        "note": entry.note,
        "split": "proposed split (PS)",
        **pick_facts(cell, "features", "semantics"),
        "run": cell.spec,
        "values_from": cell.how,
        **pick_facts(cell, "selection", "transductive", "seeds"),
        **round_numbers(measured | pick_facts(cell, "low", "high", "difference")),
        "tolerance": tolerance,
        **pick_facts(cell, "verdict", "reason"),
    }


def _tables(cells: Sequence[Claim], tolerance: float, seeds: int, outcome: Outcome) -> list[Table]:
    """Return a table for each data set; sentences below the last say what numbers and verdicts are."""
    notes: dict[str, int] = {}
    by_data: dict[str, list[list[str | Cell | None]]] = {}
    for cell in cells:
        entry = cell.entry
        used = f"here {cell.features}, {cell.semantics}" if cell.other else "here too"
        used = "not here" if cell.lacks_data and not cell.other else used
        title = (
            f"{entry.source}, {entry.table}, {title_data(entry.dataset)}: published on {entry.features}, "
            f"{entry.semantics}, {used}; proposed split (PS) of Xian et al."
        )
        by_data.setdefault(title, []).append(_row(cell, notes))
    tables = [text_table(title, _HEADS, rows, words=[1, 6, 7]) for title, rows in by_data.items()]
    below = tuple(_remarks(cells, tolerance, seeds, outcome))
    return [*tables[:-1], dataclasses.replace(tables[-1], remarks=below, notes=tuple(f"{text}." for text in notes))]


def _row(cell: Claim, notes: dict[str, int]) -> list[str | Cell | None]:
    entry = cell.entry
    marks = ("†" if entry.oracle else "") + ("‡" if entry.transductive else "")
    used = ("†" if "oracle" in cell.selection else "") + ("‡" if cell.transductive else "")
    note = notes.setdefault(entry.note, len(notes) + 1) if entry.note else 0
    verdict, interval = cell.verdict, MISSING
    if cell.stat is None:
        verdict = cell.reason if cell.verdict == "absent" else f"{cell.verdict}: {cell.reason}"
    elif cell.low is not None and cell.high is not None:
        interval = f"{cell.low:.1f} to {cell.high:.1f}" if cell.stochastic else "deterministic"
    return [
        entry.method,
        entry.metric,
        Cell(f"{entry.value:.1f}", marks=marks, note=note),
        stat_cell(cell.stat, used and f" {used}"),
        None if cell.difference is None else Cell(signed(cell.difference, 2)),
        interval,
        verdict,
        cell.spec or MISSING,
    ]


def _remarks(cells: Sequence[Claim], tolerance: float, seeds: int, outcome: Outcome) -> list[Remark]:
    below: list[Remark] = []

    def add(kind: RemarkKind, text: str, short: str = "") -> None:
        below.extend(remarks(kind, [text], short))

    counts = Counter(cell.verdict for cell in cells)
    measured = [cell for cell in cells if cell.stat]
    drawn = [cell for cell in measured if cell.stochastic]
    labels = {name: f"on {name}" if name.startswith("other ") else name for name in counts}
    labels["absent"] = "cannot be run here"
    verdicts = ", ".join(f"{number} {labels[name]}" for name, number in counts.most_common())
    add("note", f"{format_count(len(cells), 'published number')}: {verdicts}.")
    if counts.keys() & {"reproduced", "above", "below", "inconclusive"}:
        add(
            "published",
            f"Reproduced: the interval lies within the published number ± {tolerance:g} points; above, below: it lies "
            "wholly outside; inconclusive: it lies partly outside, or one seed gives none.",
            f"Reproduced: the whole 95 % interval lies within {tolerance:g} points of the published number.",
        )
    if any(cell.other for cell in measured):
        add(
            "published",
            "Other features or semantics: the published number was measured on other data, so the difference says "
            "nothing about reproduction.",
            "Other features or semantics: the published number was measured on other data.",
        )
    below += _describe_measured(measured, drawn, seeds) if measured else []
    below += remarks("note", advise_on_data(cells))
    if any(cell.entry.oracle for cell in cells):
        picked = "† published code of this method picks the epoch on test images; ours is not picked there."
        add("oracle", picked, picked)
    below += [ORACLE] if any("oracle" in cell.selection for cell in cells) else []
    if any(cell.entry.transductive or cell.transductive for cell in cells):
        below.append(TRANSDUCTIVE)
    if counts["inconclusive"] and not any(len(cell.seeds) < 2 for cell in drawn):
        add("seeds", "What is inconclusive may be settled by more --seeds; finished ones are not run again.")
    below += remarks("warning", outcome.describe_failures())
    if outcome.interrupted:
        add("warning", f"Interrupted; {say_how_to_go_on()}.")
    return below


def advise_on_data(cells: Sequence[Claim]) -> list[str]:
    """Say which other features or semantics can be run on this machine, where the published ones are not on it."""
    if not any(cell.lacks_data for cell in cells):
        return []
    options = dict.fromkeys((title_data(cell.entry.dataset), cell.instead) for cell in cells if cell.instead)
    here = [f"{title} can be run here with {option}; the verdict then says so." for title, option in options]
    return [*here, "What data is here: zslbench data list."]


def _describe_measured(cells: Sequence[Claim], drawn: Sequence[Claim], seeds: int) -> list[Remark]:
    """Say what spread, seeds, hyper-parameters and selection the measured numbers have, some `drawn` with chance."""
    spread = (
        "Accuracy in percent, mean ± sample standard deviation over seeds; the interval is Student's for the mean "
        "over seeds. A deterministic method has none: its one value is judged."
    )
    below = remarks("spread", [spread], "± standard deviation and 95 % t interval over seeds")
    below += remarks("warning", [TWO_SEEDS] if any(len(cell.seeds) == 2 for cell in drawn) else [])
    if drawn:
        most = max((cell.seeds for cell in drawn), key=len)
        fewer = dict.fromkeys(
            f"{cell.entry.method} {cell.entry.metric} on {title_data(cell.entry.dataset)} "
            f"({format_number_ranges(cell.seeds)})"
            for cell in drawn
            if cell.seeds != most
        )
        numbers = format_number_ranges(most)
        text = f"Seeds of methods with chance: {numbers} (n = {len(most)})"
        if fewer:
            below += remarks("warning", [f"{text}; fewer for {', '.join(fewer)}."])
        else:
            below += remarks("seeds", [f"{text}."], f"{'seed' if len(most) == 1 else 'seeds'} {numbers}")
    specs = group_values((cell.how, cell.spec) for cell in cells)
    sources = "; ".join(f"{how}: {', '.join(names)}" for how, names in specs.items())
    below += remarks("parameters", [f"Hyper-parameters: {sources}."])
    selections = describe_selections(cell.selection for cell in cells)
    short = f"selection: {', '.join(sorted({cell.selection for cell in cells}))}"
    below += remarks("selection", [f"Selection of what was measured: {selections}."], short)
    if seeds == 1 and any(len(cell.seeds) < 2 for cell in drawn):
        below += remarks("single seed", ["One seed does not show the effect of chance: run more seeds with --seeds."])
    return below
