"""`table`: records to a table that can be read, printed or computed with. Nothing is trained here."""

from __future__ import annotations

import collections
import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zslbench.errors import BadValue, RecordsLeftOut, StoreError, UnknownName
from zslbench.files import write_text
from zslbench.results import published as citations
from zslbench.results.analysis.choice import Choice, is_dataset, is_method, is_protocol, position
from zslbench.results.analysis.gather import gather
from zslbench.results.analysis.naming import natural
from zslbench.results.analysis.selection import RULES
from zslbench.results.analysis.summary import Row, summarise
from zslbench.results.records.record import Record
from zslbench.results.records.store import ResultStore, without_collection
from zslbench.results.tables.caption import unread
from zslbench.results.tables.cited_blocks import with_cited
from zslbench.results.tables.cited_rows import cited_rows
from zslbench.results.tables.data_formats import csv_rows, json_rows
from zslbench.results.tables.layout import lay_out, measured_columns
from zslbench.results.tables.layouts import check_layout, flat
from zslbench.results.tables.render import written

FORMATS = ("terminal", "markdown", "latex", "csv", "json")
METRIC_ORDER = ("T1", "U", "S", "H", "U cs", "S cs", "H cs", "U cs†", "S cs†", "H cs†", "AUSUC")
_ON_REQUEST = ("AUSUC",)
_PIPE_WIDTH = 100


@without_collection()
def table(
    runs: Path | str = "runs",
    *,
    layout: str = "full",
    format: str = "terminal",
    methods: Sequence[str] = (),
    datasets: Sequence[str] = (),
    protocols: Sequence[str] = (),
    features: str | None = None,
    semantics: str | None = None,
    stage: str = "final",
    metrics: Sequence[str] | None = None,
    published: str | None = None,
    selection: str | Sequence[str] = (),
    calibrate: bool | str | None = None,
    per_fold: bool = False,
    ci: bool = False,
    rank_together: bool = False,
    standalone: bool = False,
    output: Path | None = None,
    width: int | str | float | None = None,
) -> str:
    """Return a table of the finished runs; accuracies in percent, mean ± sample standard deviation over seeds.

    `RecordsLeftOut` warns of records that could not be read, and in formats without notes of all that is not shown.

    Args:
        runs: the folder of records.
        layout: ``full``: every metric under each data set's head; ``zsl``: T1 by data set (LisGAN's Table 2); ``gzsl``:
            U, S and H by data set (Tables 3 and 4).
        format: terminal, markdown, latex (booktabs), csv (a line per row and metric) or json (an object per row).
        methods, datasets, protocols: which, in which order; specs such as ``lisgan@S3[souls=5]`` are understood.
        features, semantics, stage: which runs.
        metrics: which, in which order; None: all, AUSUC in csv and json only.
        published: ``best`` for the preferred published numbers, or one source. They get columns of their own; under
            zsl and gzsl rows of their own, for every method that is cited on these data sets.
        selection: rules, rows of each: ``fixed`` (the declared last step), ``validated`` (hyper-parameters or step
            chosen in the dev stage) or ``oracle`` (best on test, †); none: as recorded, no oracle.
        calibrate: add U, S and H after calibrated stacking, its constant chosen on the ``dev`` folds (True), or on
            test (``oracle``, †).
        per_fold: a column group for each fold of the dev stage, which is averaged otherwise.
        ci: ± is the half-width of the 95 % t interval over seeds.
        rank_together: rank inductive, transductive and oracle rows with each other.
        standalone: write a LaTeX document that shows the table alone.
        output: also write the table there.
        width: characters of a line, beyond which data sets go below each other; of LaTeX inches, or ``column``,
            ``page``, ``eccv``, ``neurips``. None: the terminal's, or what fits any page.

    Raises:
        BadValue: an option without a meaning for the layout or format, or nothing fits what was asked for.
        UnknownName: unknown layout, format, metric, or source of published numbers.
        StoreError: no runs, none finished, or `output` cannot be written.
    """
    if format not in FORMATS:
        raise UnknownName("format", format, FORMATS)
    if standalone and format != "latex":
        raise BadValue(f"--standalone is a LaTeX document, not {format}; add --format latex, or leave it out.")
    of = check_layout(layout, protocols, metrics, calibrate)
    source = _source(published, stage)
    choice = Choice(tuple(methods), tuple(datasets), of, features, semantics, stage)
    store = ResultStore(runs)
    rules = (selection,) if isinstance(selection, str) else tuple(selection)
    found = gather(store, choice, rules, "dev" if calibrate is True else calibrate or None, per_fold)
    rows = summarise(found.records)
    data = format in ("csv", "json")
    if not any(row.metrics for row in rows):
        raise StoreError(f"the finished runs asked for in {store.root} hold no metric; run them with --rerun all.")
    shown = _metrics(rows, metrics, everything=data)
    rows = sorted(
        (row for row in rows if any(name in row.metrics for name in shown)),
        key=lambda row: (method_order(row, choice), data_order(row, choice)),
    )
    beside = source if layout == "full" else None
    cited = cited_rows(rows, shown, source, methods) if source and layout != "full" else None
    if data:
        own = None if beside is None else [_citations(row, shown, beside) for row in rows]
        text = (csv_rows if format == "csv" else json_rows)(rows, shown, own, cited)
    else:
        by_data = sorted(rows, key=lambda row: data_order(row, choice))
        grid = lay_out(rows, by_data, shown, beside, rank_together, ci)
        columns = measured_columns(by_data, shown)
        if cited is not None and source is not None:
            grid = with_cited(grid, columns, cited, source, rank_together)
        if format != "terminal":  # whose notes name the files
            grid = dataclasses.replace(grid, remarks=(*grid.remarks, *unread(len(store.broken))))
        text = written(flat(grid, columns) if layout == "zsl" else grid, format, width, _PIPE_WIDTH, standalone)
    notes = [*found.notes, *_unfinished(found.chosen)]
    if format == "terminal":
        text += "".join(f"\n{note}\n" for note in notes)
    else:
        for note in [note for note in notes if note not in store.left_out]:  # which was warned of on choosing
            warnings.warn(note, RecordsLeftOut, stacklevel=3)
    if output is not None:
        write_text(Path(output), text, f"the table {Path(output).name}")
    return text


def _source(published: str | None, stage: str) -> str | None:
    if published is None:
        return None
    if published != "best" and published not in citations.sources():
        raise UnknownName("source of published numbers", published, ["best", *citations.sources()])
    if stage != "final":
        raise BadValue(
            f"published numbers are of the final stage, not of stage {stage!r}; leave out --published or the stage."
        )
    return published


def method_order(row: Row, choice: Choice) -> tuple[Any, ...]:
    """Return what sorts lines: as asked for, then by title, label, version and selection rule."""
    params = dict(row.params)
    asked = position(lambda term: is_method(row.method, row.label, params, term), choice.methods)
    return asked, row.title.casefold(), natural(row.label), row.version, RULES.index(row.selection)


def data_order(row: Row, choice: Choice) -> tuple[Any, ...]:
    """Return what sorts columns: as asked for, then by data set, its choices, protocol and metric."""
    return (
        position(lambda term: is_dataset(row.dataset, term), choice.datasets),
        natural(row.dataset),
        (row.features, row.semantics, row.fingerprint, row.folds),
        position(lambda term: is_protocol(row.protocol, term), choice.protocols),
        min((METRIC_ORDER.index(name) for name in row.metrics if name in METRIC_ORDER), default=len(METRIC_ORDER)),
        row.protocol,
        sorted(f"{key}={value}" for key, value in row.protocol_params.items()),
        row.protocol_version,
    )


def _metrics(rows: Sequence[Row], asked: Sequence[str] | None, everything: bool) -> tuple[str, ...]:
    found = {name for row in rows for name in row.metrics}
    there = [name for name in METRIC_ORDER if name in found] + sorted(found - set(METRIC_ORDER))
    if not asked:
        return tuple(name for name in there if everything or name not in _ON_REQUEST or len(there) == 1)
    by_case = {name.casefold(): name for name in there}
    for name in asked:
        if name.casefold() not in by_case:
            raise UnknownName("metric", name, there)
    return tuple(dict.fromkeys(by_case[name.casefold()] for name in asked))


def _citations(row: Row, metrics: Sequence[str], source: str) -> dict[str, dict[str, Any]]:
    found = {name: citations.beside(row, name, source) for name in metrics}
    wanted = ("value", "source", "table", "features", "semantics", "note")
    return {name: {key: getattr(entry, key) for key in wanted} for name, entry in found.items() if entry}


def _unfinished(chosen: Sequence[Record]) -> list[str]:
    """Return a sentence on runs that do not count; none when all is well."""
    counts = collections.Counter(record.status for record in chosen if not record.ok)
    sentences = []
    if counts:
        said = ", ".join(f"{number} {'run' if number == 1 else 'runs'} {status}" for status, number in counts.items())
        advice = []
        if counts.keys() & {"interrupted", "skipped"}:
            advice.append("The same `zslbench run …` does what was interrupted.")
        if counts.keys() - {"interrupted", "skipped"}:
            advice.append("`zslbench run … --rerun failed` tries again.")
        sentences.append(f"{said}; not counted. {' '.join(advice)}")
    return sentences
