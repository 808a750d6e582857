"""`report`: write one page that shows a whole study, from its records alone."""

from __future__ import annotations

import dataclasses
import datetime
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path

import zslbench
from zslbench.data.splits import STAGES
from zslbench.errors import BadSpec, BadValue, StoreError, ZslbenchError
from zslbench.files import name_file, write_text
from zslbench.metrics import ORACLE_GAIN
from zslbench.results.analysis import published as citations
from zslbench.results.analysis.advice import advise_near_chance
from zslbench.results.analysis.calibration import calibrate
from zslbench.results.analysis.gather import CALIBRATIONS, Gathered, RecordFilter, gather, mark_sources
from zslbench.results.analysis.paired import PairedIntervals
from zslbench.results.analysis.rows import CALIBRATED, Row, group_values, natural, setup_key, summarise
from zslbench.results.records.record import Record
from zslbench.results.records.store import ResultStore, without_collection
from zslbench.results.records.tuned_presets import PresetStore, is_point_not_picked
from zslbench.results.report.figures import Figure, draw_figures
from zslbench.results.report.page import Page, PublishedComparison, StageGaps, accuracy_tables, page_html, runs_data
from zslbench.results.tables.table_data import pick_facts
from zslbench.studies import status
from zslbench.studies.plot import knowledge
from zslbench.studies.reproduce import Claim
from zslbench.visible import format_count, name_data, one_line, title_data

TOLERANCE = 2.0
_CALIBRATED = ("H", f"H{CALIBRATED}", f"H{CALIBRATED}†", ORACLE_GAIN, "AUSUC")


@dataclasses.dataclass(frozen=True, repr=False)
class Report:
    """A report: the content of the page, its HTML text, and where it was written (None: nowhere).

    It is a page to read. The numbers on it are those of `zslbench.table`, `zslbench.status` and, run by run, of
    `zslbench.load`; each gives them as a data frame.
    """

    page: Page
    text: str
    path: Path | None

    def __repr__(self) -> str:
        return f"<Report {self.path or 'written nowhere'}: {format_count(sum(self.page.counts.values()), 'run')}>"

    def __str__(self) -> str:
        return f"wrote {self.path}" if self.path else repr(self)

    def _repr_html_(self) -> str:
        frame = "width:100%;height:40em;border:1px solid currentColor"
        return f'<iframe srcdoc="{escape(self.text)}" title="report" sandbox="allow-scripts" style="{frame}"></iframe>'

    def save(self, path: Path | str) -> Path:
        """Write the page to an .html file and return its path.

        Raises:
            BadValue: the name ends differently.
            StoreError: the file cannot be written.
        """
        write_text(_check_path(path), self.text, f"the report {Path(path).name}")
        return Path(path)


def _check_path(path: Path | str) -> Path:
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise BadValue(f"a report is an .html file, not {name_file(path)}; name it so, as in report.html.")
    return path


class _LoadedStore(ResultStore):
    """A store that reads its records once, so that all parts of the page use the same ones."""

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
    features: Sequence[str] | None = None,
    semantics: Sequence[str] | None = None,
    stage: str | None = None,
    selection: str | Sequence[str] = (),
    published: bool = True,
    tolerance: float = TOLERANCE,
    figures: bool = True,
    title: str | None = None,
    data_root: Path | str | None = None,
) -> Report:
    """Write one HTML file that shows a whole study: tables, figures, every run, published numbers, and what is missing.

    Args:
        output: the .html file to write; None: no file.
        runs: the folder of records.
        methods, datasets, protocols, features, semantics: which runs, as in `table`.
        stage: ``final`` or ``dev``; None: both, if both have finished runs.
        selection: rules for the tables of the final stage, as in `table`.
        published: show published numbers beside the measured ones, with verdicts.
        tolerance: of these verdicts, in percentage points.
        figures: draw the figures that the records have data for.
        title: of the page; None: the folder of records and the one around it, as in ``study/runs``.
        data_root: the folder of data sets, for names of classes and for commands.

    Raises:
        BadValue: a name that no run has.
        StoreError: there are no runs, none is finished, or a file cannot be written.
    """
    path = None if output is None else _check_path(output)
    if not 0 <= tolerance <= 100:
        raise BadValue(f"tolerance {tolerance:g} is not allowed; choose points of percent from 0 to 100.")
    store = _LoadedStore(runs)
    every = store.load()
    record_filter = RecordFilter(methods, datasets, protocols, features, semantics)
    rules = (selection,) if isinstance(selection, str) else tuple(selection)
    gathered = _gather_stages(store, record_filter, stage, rules)
    stages = STAGES if stage is None else (stage,)
    shown = [record for name in stages for record in dataclasses.replace(record_filter, stage=name).select(every)]
    presets = PresetStore(store.root).load() if stage is None else []  # who asks for the dev stage sees every point

    def without_points(records: Sequence[Record]) -> list[Record]:
        """Leave out what was tried in tuning and not picked."""
        return [record for record in records if record.stage != "dev" or not is_point_not_picked(record, presets)]

    rows = {name: summarise(without_points(of_stage.records)) for name, of_stage in gathered.items()}
    if not any(row.metrics for rows_of_stage in rows.values() for row in rows_of_stage):
        raise StoreError(f"the finished runs asked for in {store.root} hold no metric; run them with --rerun all.")
    listed = without_points(shown)
    points = len(set(map(setup_key, shown))) - len(set(map(setup_key, listed)))
    notes = [note for of_stage in gathered.values() for note in of_stage.notes]
    if points:
        tried = f"{format_count(points, 'point')} tried in tuning"
        notes.append(f"The tables of the dev stage leave out {tried}; `zslbench report --stage dev` shows them.")
    root = None if data_root is None else Path(data_root)
    drawn, undrawn = _draw_figures(gathered, store, record_filter, root) if figures else ([], [])
    intervals = PairedIntervals(store.predictions)
    tables = {name: accuracy_tables(of_stage, record_filter, intervals) for name, of_stage in rows.items()}
    if "final" in gathered:
        calibrated = summarise(_calibrate_records(gathered["final"].records, store))
        tables["final"] += [
            (f"{name} calibrated", dataclasses.replace(table, title=f"{table.title}: H after calibrated stacking"))
            for name, table in accuracy_tables(calibrated, record_filter, intervals)
        ]
    page = Page(
        title=one_line(title or "/".join(store.root.resolve().parts[-2:]).lstrip("/") or "Study"),
        written=datetime.datetime.now(datetime.UTC),
        folder=str(store.root),
        counts=dict(sorted(Counter(record.status for record in shown).items(), key=lambda status: status[0] != "ok")),
        facts=tuple(_describe_study(shown)),
        tables=tuple(table for of_stage in tables.values() for table in of_stage),
        beside=tuple(_compare_with_published(rows.get("final", []), tolerance)) if published else (),
        tolerance=tolerance,
        figures=tuple(drawn),
        missing=tuple(_find_missing(store, shown, listed, root)),
        notes=tuple(dict.fromkeys([*notes, *advise_near_chance(shown, store.predictions)])),
        undrawn=tuple(undrawn),
        runs=runs_data(shown, store.root, () if root is None else ("--data-root", str(root))),
        version=zslbench.__version__,
    )
    text = page_html(page)
    if path is not None:
        write_text(path, text, f"the report {path.name}")
    return Report(page, text, path)


def _gather_stages(
    store: ResultStore, record_filter: RecordFilter, stage: str | None, rules: Sequence[str]
) -> dict[str, Gathered]:
    """Return the content of the tables, by stage."""
    if stage is not None:
        return {stage: gather(store, dataclasses.replace(record_filter, stage=stage), rules)}
    gathered: dict[str, Gathered] = {}
    refused: list[ZslbenchError] = []
    for name in STAGES:
        try:
            of_stage = dataclasses.replace(record_filter, stage=name)
            gathered[name] = gather(store, of_stage, rules if name == "final" else ())
        except ZslbenchError as error:
            refused.append(error)
    if not gathered or (rules and "final" not in gathered):
        raise refused[0]
    return gathered


def _calibrate_records(final: Sequence[Record], store: ResultStore) -> Iterator[Record]:
    """Yield the records that have dev folds and all predictions, with H raw, calibrated on the dev folds and on test.

    AUSUC, which no constant changes, stands beside.
    """
    dev = [record for record in store.load() if record.ok and record.stage == "dev"]
    try:
        records = calibrate(final, dev, store.predictions, on=CALIBRATIONS["both"]).records
    except StoreError:  # without predictions that are lost the other tables can still be shown
        return
    for record in records:
        if ORACLE_GAIN in record.metrics:
            yield dataclasses.replace(record, metrics={name: record.metrics[name] for name in _CALIBRATED})


def _draw_figures(
    gathered: dict[str, Gathered], store: ResultStore, record_filter: RecordFilter, root: Path | None
) -> tuple[list[Figure], list[str]]:
    """Draw the figures of the final stage, or of the dev stage if there are no other records."""
    records = (gathered.get("final") or next(iter(gathered.values()))).records
    try:
        return draw_figures(records, store, knowledge(record_filter.datasets, root), record_filter)
    except BadSpec as error:  # a label that is not a spec; the tables show it all the same
        return [], [f"No figure could be drawn: {error}"]


def _describe_study(records: Sequence[Record]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the facts that the page gives on the study as a whole."""
    provenance = [record.provenance for record in records]
    days = sorted({str(made.get("finished", ""))[:10] for made in provenance} - {""})
    packages = [
        (str(name), str(version)) for made in provenance for name, version in dict(made.get("packages") or {}).items()
    ]
    stages = Counter(record.stage for record in records)
    for head, texts in (
        ("Data sets", _distinct(title_data(name_data(*record.data_choice)) for record in records)),
        ("Methods", _distinct(record.method.get("title") or record.method["name"] for record in records)),
        (
            "Stages",
            [f"{stage} ({format_count(number, 'run')})" for stage, number in sorted(stages.items(), reverse=True)],
        ),
        ("Finished", [days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"] if days else []),
        ("Devices", _distinct(made.get("device") for made in provenance)),
        ("zslbench", _distinct(made.get("zslbench") for made in provenance)),
        ("Python", _distinct(made.get("python") for made in provenance)),
        ("Packages", [f"{name} {', '.join(_distinct(versions))}" for name, versions in group_values(packages).items()]),
    ):
        if texts:
            yield head, tuple(map(one_line, texts))


def _distinct(values: Iterable[object]) -> list[str]:
    return sorted({str(value) for value in values if value}, key=natural)


def _compare_with_published(rows: Sequence[Row], tolerance: float) -> Iterator[PublishedComparison]:
    """Yield comparisons with published numbers, judged as `reproduce` judges them."""
    for row in sorted(rows, key=lambda row: (natural(row.dataset), row.title.casefold(), natural(row.label))):
        for metric in citations.PROTOCOL:
            entry = citations.find_comparable_number(row, metric, "best") if metric in row.metrics else None
            if entry is not None:
                number = row.metrics[metric]
                claim = Claim(entry=entry, **pick_facts(row, "features", "semantics", "stochastic"), stat=number)
                yield PublishedComparison(row, metric, entry, number, claim.low, claim.high, claim.judge(tolerance))


def _find_missing(
    store: ResultStore, shown: Sequence[Record], records: Sequence[Record], root: Path | None
) -> Iterator[StageGaps]:
    """Yield what each stage lacks of `records`; the others of those `shown` are counted below it."""
    for stage, title in (("final", "Final stage"), ("dev", "Dev stage")):
        if not any(record.stage == stage and record.selection != "oracle" for record in records):
            continue
        try:
            state = status.examine(store, records, RecordFilter(stage=stage), data_root=root)
            others = sum(record.stage != stage and record.selection != "oracle" for record in shown)
            state = dataclasses.replace(state, others=others)
            tried = sum(record.stage == stage for record in shown) - sum(record.stage == stage for record in records)
        except BadSpec as error:
            yield StageGaps(title, False, (), (f"Which runs are missing is not known: {error}",), (), ())
            continue
        commands = group_values((command.purpose, command.text) for command in state.commands)
        yield StageGaps(
            title=title,
            complete=state.complete,
            matrices=tuple(status.matrix(state.survey, place) for place in state.survey.places),
            sentences=(
                *status.trouble(state.survey),
                *status.remarks(state),
                *([f"not counted above: {format_count(tried, 'run')} of points tried in tuning"] if tried else []),
            ),
            commands=tuple((purpose, tuple(texts)) for purpose, texts in commands.items()),
            replace=state.replace,
        )
