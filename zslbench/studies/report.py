"""`report`: one page that shows a whole study, from its records alone."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import zslbench
from zslbench.data.splits import STAGES
from zslbench.errors import BadSpec, BadValue, StoreError, ZslbenchError
from zslbench.results.analysis import published as citations
from zslbench.results.analysis.advice import advise_near_chance
from zslbench.results.analysis.gather import Gathered, gather, mark_sources
from zslbench.results.analysis.record_filter import RecordFilter
from zslbench.results.analysis.rows import Row, natural, setup_key, summarise
from zslbench.results.records.presets import PresetStore, TunedPreset, is_point_not_picked
from zslbench.results.records.record import Record
from zslbench.results.records.store import ResultStore, without_collection
from zslbench.results.report import page as pages
from zslbench.results.report.figures import figures
from zslbench.results.report.page import Beside, Missing, Page, accuracy_tables
from zslbench.results.report.runs import runs_data
from zslbench.studies import status
from zslbench.studies.plot import knowledge
from zslbench.studies.reproduce import interval, judged
from zslbench.visible import one_line

TOLERANCE = 2.0


@dataclasses.dataclass(frozen=True, repr=False)
class Report:
    """A report: what the page holds, its text, and where it was written (None: nowhere)."""

    page: Page
    text: str
    path: Path | None

    def __repr__(self) -> str:
        return f"<Report {self.path or 'written nowhere'}: {sum(self.page.counts.values())} runs>"


class _Read(ResultStore):
    """A store whose records were read already, so that each part of the page takes the same ones."""

    def __init__(self, root: Path | str) -> None:
        super().__init__(root)
        self._records = mark_sources(super().load())

    def load(self) -> list[Record]:
        return list(self._records)


@without_collection()  # thousands of records stay to the end, and each round would look at all of them
def report(
    output: Path | str | None = "report.html",
    *,
    runs: Path | str = "runs",
    methods: Sequence[str] = (),
    datasets: Sequence[str] = (),
    protocols: Sequence[str] = (),
    features: str | None = None,
    semantics: str | None = None,
    stage: str | None = None,
    selection: str | Sequence[str] = (),
    published: bool = True,
    tolerance: float = TOLERANCE,
    figures: bool = True,
    title: str | None = None,
    data_root: Path | str | None = None,
) -> Report:
    """Write one HTML file that shows a whole study: tables, figures, every run, published numbers, what is missing.

    Args:
        output: the .html to write; None: none.
        runs: the folder of records.
        methods, datasets, protocols, features, semantics: which runs, as in `table`.
        stage: ``final`` or ``dev``; None: both, where both have finished runs.
        selection: rules of the tables of the final stage, as in `table`.
        published: set published numbers beside the measured ones, with verdicts; tolerance: of these, in points.
        figures: draw those that the records have data for.
        title: of the page; None: the name of the folder.
        data_root: where data sets lie, for names of classes and for commands.

    Raises:
        BadValue: names that no run has. StoreError: no runs, none finished, or a file that cannot be written.
    """
    path = None if output is None else Path(output)
    if path is not None and path.suffix.lower() not in (".html", ".htm"):
        raise BadValue(f"a report is an .html file, not {path.name!r}; name it so, as in report.html.")
    if not 0 <= tolerance <= 100:
        raise BadValue(f"tolerance {tolerance:g} is not allowed; choose points of percent from 0 to 100.")
    store = _Read(runs)
    every = store.load()
    record_filter = RecordFilter(methods, datasets, protocols, features, semantics)
    rules = (selection,) if isinstance(selection, str) else tuple(selection)
    gathered = _gathered(store, record_filter, stage, rules)
    told = [one for name in STAGES for one in dataclasses.replace(record_filter, stage=name).select(every)]
    shown = [one for one in told if stage in (None, one.stage)]
    presets = PresetStore(store.root).load() if stage is None else []  # who asks for the dev stage sees every point
    rows = {
        name: summarise([record for record in found.records if not _is_aside(record, presets)])
        for name, found in gathered.items()
    }
    if not any(row.metrics for own in rows.values() for row in own):
        raise StoreError(f"the finished runs asked for in {store.root} hold no metric; run them with --rerun all.")
    listed = [record for record in shown if not _is_aside(record, presets)]
    root = None if data_root is None else Path(data_root)
    drawn, undrawn = _figures(gathered, told, store, record_filter, root) if figures else ([], [])
    page = Page(
        title=one_line(title or store.root.resolve().name or "Study"),
        folder=str(store.root),
        counts=dict(Counter(record.status for record in shown)),
        facts=tuple(_facts(shown)),
        tables=tuple(table for own in rows.values() for table in accuracy_tables(own, record_filter)),
        beside=tuple(_beside(rows.get("final", []), _drawing(shown), tolerance)) if published else (),
        tolerance=tolerance,
        figures=tuple(drawn),
        missing=tuple(_missing(store, listed, root, name) for name in STAGES if _has(listed, name)),
        notes=tuple(
            dict.fromkeys(
                [
                    *(note for found in gathered.values() for note in found.notes),
                    *_points_aside(len(set(map(setup_key, shown))) - len(set(map(setup_key, listed)))),
                    *advise_near_chance(shown, store.predictions),
                ]
            )
        ),
        undrawn=tuple(undrawn),
        runs=runs_data(shown, store.root, () if root is None else ("--data-root", str(root))),
        version=zslbench.__version__,
    )
    text = pages.html(page)
    if path is not None:
        pages.write(text, path)
    return Report(page, text, path)


def _is_aside(record: Record, presets: Sequence[TunedPreset]) -> bool:
    return record.stage == "dev" and is_point_not_picked(record, presets)


def _points_aside(number: int) -> list[str]:
    points = "1 point" if number == 1 else f"{number} points"
    return [f"Not in the tables of the dev stage: {points} tried in tuning; --stage dev shows them."] if number else []


def _gathered(
    store: ResultStore, record_filter: RecordFilter, stage: str | None, rules: Sequence[str]
) -> dict[str, Gathered]:
    """Return what the tables are of, by stage."""
    if stage is not None:
        return {stage: gather(store, dataclasses.replace(record_filter, stage=stage), rules)}
    found: dict[str, Gathered] = {}
    refused: list[ZslbenchError] = []
    for name in STAGES:
        try:
            own = rules if name == "final" else ()
            found[name] = gather(store, dataclasses.replace(record_filter, stage=name), own)
        except ZslbenchError as error:
            refused.append(error)
    if not found or (rules and "final" not in found):
        raise refused[0]
    return found


def _has(records: Sequence[Record], stage: str) -> bool:
    return any(record.stage == stage and record.selection != "oracle" for record in records)


def _figures(
    gathered: dict[str, Gathered],
    told: Sequence[Record],
    store: ResultStore,
    record_filter: RecordFilter,
    root: Path | None,
) -> tuple[list[Any], list[str]]:
    """Draw the figures of the final stage, or of the dev stage where there is no other."""
    found = gathered.get("final") or next(iter(gathered.values()))
    try:
        return figures(found.records, store, knowledge(record_filter.datasets, root))
    except BadSpec as error:  # a label that is none, which the tables show all the same
        return [], [f"No figure could be drawn: {error}"]


def _facts(records: Sequence[Record]) -> list[tuple[str, tuple[str, ...]]]:
    """Return what the page says of a study as a whole."""
    data = sorted({_data(record) for record in records}, key=natural)
    names = sorted({str(record.method.get("title") or record.method["name"]) for record in records}, key=natural)
    days = sorted({str(record.provenance.get("finished", ""))[:10] for record in records} - {""})
    provenance = [record.provenance for record in records]
    return [
        (head, tuple(map(one_line, told)))
        for head, told in (
            ("Data sets", data),
            ("Methods", names),
            ("Runs made", [days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"] if days else []),
            ("Devices", _distinct(one.get("device") for one in provenance)),
            ("zslbench", _distinct(one.get("zslbench") for one in provenance)),
            ("Python", _distinct(one.get("python") for one in provenance)),
            ("Packages", _packages(provenance)),
        )
        if told
    ]


def _data(record: Record) -> str:
    data = record.dataset
    return f"{data['name']} ({data.get('features', '')}, {data.get('semantics', '')})"


def _distinct(values: Iterable[object]) -> list[str]:
    return sorted({str(value) for value in values if value}, key=natural)


def _packages(provenance: Iterable[Any]) -> list[str]:
    found: dict[str, dict[str, None]] = {}
    for one in provenance:
        for name, version in dict(one.get("packages") or {}).items():
            found.setdefault(str(name), {})[str(version)] = None
    return [f"{name} {', '.join(sorted(versions, key=natural))}" for name, versions in found.items()]


def _drawing(records: Sequence[Record]) -> set[str]:
    """Return the methods whose results depend on the seed."""
    return {record.method["name"] for record in records if record.method.get("stochastic", True)}


def _beside(rows: Sequence[Row], drawing: set[str], tolerance: float) -> list[Beside]:
    """Return the published numbers of what was measured, judged as `reproduce` judges them."""
    found = []
    for row in sorted(rows, key=lambda row: (natural(row.dataset), row.title.casefold(), natural(row.label))):
        for metric in citations.PROTOCOL:
            entry = citations.beside(row, metric, "best") if metric in row.metrics else None
            if entry is None:
                continue
            stat = row.metrics[metric]
            low, high = interval(stat, row.method in drawing)
            other = [what for what in ("features", "semantics") if getattr(row, what) != getattr(entry, what)]
            found.append(
                Beside(
                    name=one_line(row.title),
                    full=one_line(row.label),
                    marks=row.marks,
                    dataset=one_line(row.dataset),
                    features=row.features,
                    semantics=row.semantics,
                    metric=metric,
                    entry=entry,
                    stat=stat,
                    low=low,
                    high=high,
                    verdict=f"other {' and '.join(other)}" if other else judged(low, high, entry.value, tolerance),
                )
            )
    return found


def _missing(store: ResultStore, records: Sequence[Record], root: Path | None, stage: str) -> Missing:
    title = {"final": "Final stage", "dev": "Dev stage"}[stage]
    try:
        found = status.examine(store, records, RecordFilter(stage=stage), data_root=root)
    except BadSpec as error:
        return Missing(title, False, (), (f"What is missing cannot be told: {error}",), (), ())
    purposes = dict.fromkeys(command.purpose for command in found.commands)
    return Missing(
        title=title,
        complete=found.complete,
        matrices=tuple(status.matrix(found.survey, place) for place in found.survey.places),
        sentences=(*status.trouble(found.survey), *status.remarks(found)),
        commands=tuple(
            (purpose, tuple(one.text for one in found.commands if one.purpose == purpose)) for purpose in purposes
        ),
        replace=found.replace,
    )
