"""`reproduce`: run what a published table needs, and say of each of its numbers whether it came out again."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zslbench.errors import BadValue, ZslbenchError
from zslbench.files import write_text
from zslbench.results.analysis.published import PROTOCOL, Published
from zslbench.results.analysis.rows import Stat, stat
from zslbench.results.records.presets import TunedStore
from zslbench.results.records.record import Record
from zslbench.results.tables.data import write_data
from zslbench.results.tables.render import DATA_FORMATS, check_format, render
from zslbench.runner.classes import method_class
from zslbench.runner.estimate import Estimate
from zslbench.runner.live_file import keep_live_file
from zslbench.runner.options import RunOptions
from zslbench.runner.plan import plan
from zslbench.runner.run import Outcome, run
from zslbench.runner.runs import Run
from zslbench.spec import parse
from zslbench.studies.claims import Answer, answers, entries
from zslbench.studies.verdict import interval, judged
from zslbench.visible import last_line

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
    found = entries(source, None if table is None else str(table), _texts(datasets), _texts(methods))
    store = TunedStore(Path(runs))
    cells = [_planned(answer, seeds, root, store) for answer in answers(found, features, semantics, root, store)]
    with contextlib.nullcontext() if dry_run else keep_live_file(Path(runs), growing=True):
        outcome = _run(cells, seeds, Path(runs), root, device, engine, dry_run, console)
    records = {record.id: record for record in outcome.records}
    cells = [_judged(cell, records, tolerance) for cell in cells]
    if dry_run:
        return Reproduction(tuple(cells), "", outcome)
    from zslbench.studies.reproduction_tables import facts, reproduction_tables

    if format in DATA_FORMATS:
        text = write_data([facts(cell, tolerance) for cell in cells], format)
    else:
        text = render(reproduction_tables(cells, tolerance, seeds, outcome), format, width, piped=120)
    if output is not None:
        write_text(Path(output), text, f"the table {Path(output).name}")
    return Reproduction(tuple(cells), text, outcome)


def _texts(given: str | Sequence[str]) -> list[str]:
    return [given] if isinstance(given, str) else list(given)


def _planned(answer: Answer, seeds: int, root: Path | None, tuned: TunedStore) -> Cell:
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
