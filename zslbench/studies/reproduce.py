"""`reproduce`: run what a published table needs, and say of each of its numbers whether it came out again."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zslbench.errors import BadValue, ZslbenchError
from zslbench.files import write_text
from zslbench.results.analysis.published import PROTOCOL, Published
from zslbench.results.analysis.rows import Stat, stat
from zslbench.results.records.presets import PresetStore
from zslbench.results.records.record import Record
from zslbench.results.tables.captions import TRANSDUCTIVE, TWO_SEEDS, describe_selections, spans
from zslbench.results.tables.facts import pick_facts, round_numbers, write_data
from zslbench.results.tables.render import DATA_FORMATS, MISSING, check_format, render
from zslbench.results.tables.table import Cell as TableCell
from zslbench.results.tables.table import Remark, Table, remarks, signed, stat_cell, text_table
from zslbench.runner.classes import method_class
from zslbench.runner.estimate import Estimate
from zslbench.runner.live_file import keep_live_file
from zslbench.runner.options import RunOptions, texts
from zslbench.runner.plan import plan
from zslbench.runner.run import Outcome, run
from zslbench.runner.runs import Run
from zslbench.spec import parse
from zslbench.studies.claims import Answer, answers, entries, interval, judged
from zslbench.studies.values import describe_failures
from zslbench.visible import format_count, last_line

if TYPE_CHECKING:
    from rich.console import Console

    from zslbench.runner.executors import Executor

FORMATS = ("terminal", "markdown", "csv", "json")
DEFAULT_SEEDS = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """One published number and what was measured.

    Attributes:
        answer: the number, and what was run with which data.
        runs: what was planned for it.
        stat: mean and deviation in percent; None where nothing finished.
        seeds: of the finished runs; low, high: the 95 % interval, a point for a method without chance.
        stochastic, transductive: of what was run; selection: of its records.
        verdict: reproduced, above, below, inconclusive, ``other features`` (or semantics, or both), absent,
            failed or ``not run``.
        reason: of the last three.
    """

    answer: Answer
    runs: tuple[Run, ...] = ()
    stat: Stat | None = None
    seeds: tuple[int, ...] = ()
    low: float | None = None
    high: float | None = None
    stochastic: bool = True
    transductive: bool = False
    selection: str = ""
    verdict: str = "absent"
    reason: str = ""

    @property
    def entry(self) -> Published:
        """The published number."""
        return self.answer.entry

    @property
    def difference(self) -> float | None:
        """Measured − published, in points."""
        return self.stat.mean - self.entry.value if self.stat else None


@dataclasses.dataclass(frozen=True, repr=False)
class Reproduction:
    """What `reproduce` found: the cells, the text of the table, and what the runs did."""

    cells: tuple[Cell, ...]
    text: str
    outcome: Outcome

    def __repr__(self) -> str:
        return f"<Reproduction of {len(self.cells)} numbers: {self.outcome!r}>"


def reproduce(
    source: str,
    table: str | int | None = None,
    datasets: str | Sequence[str] = (),
    methods: str | Sequence[str] = (),
    *,
    seeds: int = DEFAULT_SEEDS,
    tolerance: float = 2.0,
    format: str = "terminal",
    output: Path | str | None = None,
    features: str | None = None,
    semantics: str | None = None,
    runs: Path | str = "runs",
    data_root: Path | str | None = None,
    device: str = "auto",
    engine: Executor | None = None,
    dry_run: bool = False,
    console: Console | None = None,
    width: int | None = None,
) -> Reproduction:
    """Run what a published table needs and judge each of its numbers by a 95 % interval over seeds.

    A method with published values for the data set runs with these, else with tuned ones where there are any, else
    with its defaults. What cannot be run, because its data is absent for instance, says so and stops nothing.

    Args:
        source: citation key; table: ``2``, ``Table 2``, ``Figure 7(b)``; None where the source has one.
        datasets, methods: which; none: all of the table.
        seeds: how many, of methods that depend on them.
        tolerance: points of percent that still count as the same.
        format: terminal, markdown, csv or json; output: also write the text there.
        features, semantics: use these instead of the published ones. The verdict then says so: it is no reproduction.
        runs, data_root, device, engine, dry_run, console: as in `run`.
        width: characters of a line; None: the terminal's.

    Raises:
        ZslbenchError: an unknown source, table, data set or method, or a request that cannot be met.
    """
    check_format(format, FORMATS)
    if not 0 <= tolerance <= 100:
        raise BadValue(f"tolerance {tolerance:g} is not allowed; choose points of percent from 0 to 100.")
    if seeds < 1:
        raise BadValue(f"seeds {seeds} is not allowed; choose a whole number of at least 1.")
    root = Path(data_root) if data_root else None
    found = entries(source, None if table is None else str(table), texts(datasets), texts(methods))
    store = PresetStore(Path(runs))
    cells = [_planned(answer, seeds, root, store) for answer in answers(found, features, semantics, root, store)]
    with contextlib.nullcontext() if dry_run else keep_live_file(Path(runs), growing=True):
        outcome = _run(cells, seeds, Path(runs), root, device, engine, dry_run, console)
    records = {record.id: record for record in outcome.records}
    cells = [_judged(cell, records, tolerance) for cell in cells]
    if dry_run:
        return Reproduction(tuple(cells), "", outcome)
    if format in DATA_FORMATS:
        text = write_data([facts(cell, tolerance) for cell in cells], format)
    else:
        text = render(reproduction_tables(cells, tolerance, seeds, outcome), format, width, piped=120)
    if output is not None:
        write_text(Path(output), text, f"the table {Path(output).name}")
    return Reproduction(tuple(cells), text, outcome)


def _planned(answer: Answer, seeds: int, root: Path | None, tuned: PresetStore) -> Cell:
    if answer.absent:
        return Cell(answer=answer, reason=answer.absent)
    entry = answer.entry
    try:
        options = RunOptions(
            [answer.spec],
            [entry.dataset],
            [PROTOCOL[entry.metric]],
            features=answer.features,
            semantics=answer.semantics,
            seeds=seeds,
            data_root=str(root) if root else None,
        )
        found = plan(options, tuned)
    except ZslbenchError as error:
        return Cell(answer=answer, reason=str(error))
    return Cell(
        answer=answer,
        runs=found.runs,
        stochastic=method_class(parse(answer.spec).name).card.stochastic,
        transductive=any(one.setting == "transductive" for one in found.runs),
    )


def _run(
    cells: Sequence[Cell],
    seeds: int,
    runs: Path,
    root: Path | None,
    device: str,
    engine: Executor | None,
    dry_run: bool,
    console: Console | None,
) -> Outcome:
    """Run what the cells need: on each data set at once what is asked for under the same protocols."""
    asked: dict[tuple[str, str, str, str], dict[str, None]] = {}
    for cell in cells:
        if cell.runs:
            answer = cell.answer
            key = (answer.entry.dataset, answer.features, answer.semantics, answer.spec)
            asked.setdefault(key, {})[PROTOCOL[answer.entry.metric]] = None
    calls: dict[tuple[str, str, str, tuple[str, ...]], list[str]] = {}
    for (dataset, features, semantics, spec), protocols in asked.items():
        calls.setdefault((dataset, features, semantics, tuple(sorted(protocols, reverse=True))), []).append(spec)
    done = []
    for (dataset, features, semantics, rules), specs in calls.items():
        done.append(
            run(
                specs,
                [dataset],
                rules,
                features=features,
                semantics=semantics,
                seeds=seeds,
                runs=runs,
                data_root=root,
                device=device,
                engine=engine,
                dry_run=dry_run,
                console=console,
            )
        )
        if done[-1].interrupted:
            break
    return Outcome(
        tuple(state for one in done for state in one.found),
        tuple(state for one in done for state in one.states),
        tuple(record for one in done for record in one.records),
        tuple(dict.fromkeys(remark for one in done for remark in one.remarks)),
        any(one.interrupted for one in done),
        Estimate.of_all(one.estimate for one in done if one.estimate) if dry_run else None,
    )


def _judged(cell: Cell, records: Mapping[str, Record], tolerance: float) -> Cell:
    if not cell.runs:
        return cell
    entry = cell.entry
    kept = [records[one.id] for one in cell.runs if one.id in records]
    good = [record for record in kept if record.ok and entry.metric in record.metrics]
    if not good:
        errors = [last_line(record.error) for record in kept if record.error.strip()]
        failed = any(record.status in ("failed", "crashed", "timeout") for record in kept)
        reason = errors[0] if errors else "the same command runs it"
        return dataclasses.replace(cell, verdict="failed" if failed else "not run", reason=reason)
    found = stat([record.metrics[entry.metric] for record in good], cell.stochastic)
    low, high = interval(found, cell.stochastic)
    verdict = f"other {cell.answer.other}" if cell.answer.other else judged(low, high, entry.value, tolerance)
    return dataclasses.replace(
        cell,
        stat=found,
        seeds=tuple(record.seed for record in good),
        low=low,
        high=high,
        selection=" and ".join(sorted({record.selection for record in good})),
        verdict=verdict,
    )


SPLIT = "proposed split (PS) of Xian et al."
_HEADS = ("method", "metric", "published", "measured", "difference", "95 % interval", "verdict", "run")


def facts(cell: Cell, tolerance: float) -> dict[str, Any]:
    """Return a cell as plain facts, accuracies in percent."""
    entry, answer = cell.entry, cell.answer
    mean, std = (cell.stat.mean, cell.stat.std) if cell.stat else (None, None)
    return {
        **pick_facts(entry, "source", "table", "dataset", "method", "metric"),
        "published": entry.value,
        "published_features": entry.features,
        "published_semantics": entry.semantics,
        "published_oracle": bool(entry.oracle),
        "published_transductive": entry.transductive,
        "note": entry.note,
        "split": "proposed split (PS)",
        **pick_facts(answer, "features", "semantics"),
        "run": answer.spec,
        "values_from": answer.how,
        **pick_facts(cell, "selection", "transductive", "seeds"),
        **round_numbers({"mean": mean, "std": std} | pick_facts(cell, "low", "high", "difference")),
        "tolerance": tolerance,
        **pick_facts(cell, "verdict", "reason"),
    }


def reproduction_tables(cells: Sequence[Cell], tolerance: float, seeds: int, outcome: Outcome) -> list[Table]:
    """Return a table for each data set; sentences below the last say what numbers and verdicts are."""
    notes: dict[str, int] = {}
    tables = []
    for place in dict.fromkeys(_place(cell) for cell in cells):
        rows = [_row(cell, notes) for cell in cells if _place(cell) == place]
        tables.append(text_table(place, _HEADS, rows, words=[1, 6, 7]))
    below = tuple(_remarks(cells, tolerance, seeds, outcome))
    return [*tables[:-1], dataclasses.replace(tables[-1], remarks=below, notes=tuple(f"{text}." for text in notes))]


def _place(cell: Cell) -> str:
    entry, answer = cell.entry, cell.answer
    used = "here too" if not answer.other else f"here {answer.features}, {answer.semantics}"
    return (
        f"{entry.source}, {entry.table}, {entry.dataset}: published on {entry.features}, {entry.semantics}, "
        f"{used}; {SPLIT}"
    )


def _row(cell: Cell, notes: dict[str, int]) -> list[str | TableCell | None]:
    entry = cell.entry
    marks = ("†" if entry.oracle else "") + ("‡" if entry.transductive else "")
    note = notes.setdefault(entry.note, len(notes) + 1) if entry.note else 0
    published = TableCell(f"{entry.value:.1f}", marks=marks, note=note)
    verdict, interval = cell.verdict, MISSING
    if cell.stat is None:
        verdict = cell.reason if cell.verdict == "absent" else f"{cell.verdict}: {cell.reason}"
    elif cell.low is not None and cell.high is not None:
        interval = f"{cell.low:.1f} to {cell.high:.1f}" if cell.stochastic else "deterministic"
    difference = None if cell.difference is None else TableCell(signed(cell.difference, 2))
    stat = stat_cell(cell.stat, " ‡" if cell.transductive else "")
    return [entry.method, entry.metric, published, stat, difference, interval, verdict, cell.answer.spec or MISSING]


def _remarks(cells: Sequence[Cell], tolerance: float, seeds: int, outcome: Outcome) -> list[Remark]:
    counts = Counter(cell.verdict for cell in cells)
    measured = [cell for cell in cells if cell.stat]
    total = format_count(len(cells), "published number")
    below = remarks("note", [f"{total}: {_counted(counts)}."])
    if any(cell.verdict in ("reproduced", "above", "below", "inconclusive") for cell in measured):
        sentence = (
            f"Reproduced: the interval lies within the published number ± {tolerance:g} points; above, below: it lies "
            "wholly outside; inconclusive: it reaches over an end, or one seed gives none."
        )
        below += remarks("published", [sentence])
    if any(cell.answer.other for cell in measured):
        sentence = (
            "Other features or semantics: the published number was measured on other data, so the difference is no "
            "matter of reproduction."
        )
        below += remarks("published", [sentence])
    if measured:
        sentence = (
            "Accuracy in percent, mean ± sample standard deviation over seeds; the interval is Student's for the mean "
            "over seeds. A deterministic method has none: its one value is judged."
        )
        drawn = [cell for cell in measured if cell.stochastic]
        below += remarks("spread", [sentence, *([TWO_SEEDS] if any(len(cell.seeds) == 2 for cell in drawn) else [])])
        below += remarks("seeds", _seeds(drawn))
        below += remarks("parameters", [_values_from(measured)])
        selections = describe_selections(cell.selection for cell in measured)
        below += remarks("selection", [f"Selection of what was measured: {selections}."])
        if seeds == 1 and any(len(cell.seeds) < 2 for cell in drawn):
            below += remarks("single seed", ["One seed says nothing of chance: give more with --seeds."])
    if any(cell.answer.lacks_data for cell in cells):
        sentence = "What data is here: zslbench data list. Other features of the same images: --features STEM."
        below += remarks("data", [sentence])
    if any(cell.entry.oracle for cell in cells):
        sentence = "† published code of this method picks the epoch on test images; ours is not picked there."
        below += remarks("oracle", [sentence])
    if any(cell.entry.transductive or cell.transductive for cell in cells):
        below.append(TRANSDUCTIVE)
    if counts["inconclusive"] and not any(cell.stochastic and len(cell.seeds) < 2 for cell in measured):
        sentence = "What is inconclusive may be settled by more --seeds; finished ones are not run again."
        below += remarks("seeds", [sentence])
    below += remarks("note", describe_failures(outcome))
    interrupted = ["Interrupted; the same command goes on from here."] if outcome.interrupted else []
    return below + remarks("note", interrupted)


def _counted(counts: Counter[str]) -> str:
    words = {"absent": "cannot be run here"}
    shown = {name: words.get(name, f"on {name}" if name.startswith("other ") else name) for name in counts}
    return ", ".join(f"{number} {shown[name]}" for name, number in counts.most_common())


def _seeds(drawn: Sequence[Cell]) -> list[str]:
    """Say which seeds the numbers of methods with chance are of, and whose are fewer."""
    if not drawn:
        return []
    most = max((cell.seeds for cell in drawn), key=len)
    fewer = dict.fromkeys(
        f"{cell.entry.method} {cell.entry.metric} on {cell.entry.dataset} ({spans(cell.seeds)})"
        for cell in drawn
        if cell.seeds != most
    )
    text = f"Seeds of methods with chance: {spans(most)} (n = {len(most)})"
    return [text + (f"; fewer for {', '.join(fewer)}." if fewer else ".")]


def _values_from(cells: Sequence[Cell]) -> str:
    specs: dict[str, dict[str, None]] = {}
    for cell in cells:
        specs.setdefault(cell.answer.how, {})[cell.answer.spec] = None
    parts = (f"{how}: {', '.join(names)}" for how, names in specs.items())
    return f"Hyper-parameters: {'; '.join(parts)}."
