"""`table`: records in a layout, or counts of the data sets. Nothing is trained here."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from zslbench.errors import BadValue, StoreError, UnknownName, ZslbenchError
from zslbench.files import json_text, write_text
from zslbench.metrics import ACCURACIES, order_metrics
from zslbench.registry import DATASETS, METHODS, Registry
from zslbench.results.analysis import published as citations
from zslbench.results.analysis.gather import RecordFilter, gather
from zslbench.results.analysis.paired import PairedIntervals
from zslbench.results.analysis.rows import CALIBRATED, Row, pick_metrics, summarise
from zslbench.results.bibliography import CALIBRATED_STACKING, PROPOSED_SPLIT, entries, write_bibliography
from zslbench.results.records.record import Record
from zslbench.results.records.store import ResultStore, without_collection
from zslbench.results.tables import column_choice
from zslbench.results.tables.captions import describe_unreadable_records
from zslbench.results.tables.layout import lay_out, sort_rows
from zslbench.results.tables.pivot import pivot_tables, read_pivot
from zslbench.results.tables.ranking import Ranking
from zslbench.results.tables.render import Caption, check_decimals, check_format
from zslbench.results.tables.result import WITH_NOTES, TableResult
from zslbench.results.tables.table import Table, cite_methods
from zslbench.results.tables.table_data import table_rows

LAYOUTS = ("full", "zsl", "gzsl", "stats")
_ON_REQUEST = ("AUSUC",)


@without_collection()
def table(
    runs: Path | str = "runs",
    *,
    layout: str = "full",
    format: str = "terminal",
    methods: Sequence[str] = (),
    datasets: Sequence[str] = (),
    protocols: Sequence[str] = (),
    features: Sequence[str] | None = None,
    semantics: Sequence[str] | None = None,
    stage: str = "final",
    metrics: Sequence[str] | None = None,
    published: str | None = None,
    selection: str | Sequence[str] = (),
    calibrate: bool | str | None = None,
    per_fold: bool = False,
    ci: bool = False,
    rank_together: bool = False,
    pivot: str | Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    sort: str | None = None,
    decimals: int = 1,
    cite: bool = False,
    bibtex: Path | None = None,
    standalone: bool = False,
    caption: str = "short",
    caption_text: str | None = None,
    label: str | None = None,
    data_root: Path | None = None,
    width: int | str | float | None = None,
) -> TableResult:
    r"""Return a table of the finished runs, or with ``layout="stats"`` of the data sets.

    Accuracies are in percent: mean ± sample standard deviation over seeds. A `RecordsLeftOut` warning says how many
    records could not be read, and in formats without notes also what else is not shown.

    Args:
        runs: the folder of records.
        layout: ``full``: every metric under the name of each data set; ``zsl``: T1 by data set (LisGAN's Table 2);
            ``gzsl``: U, S and H by data set (Tables 3 and 4); ``stats``: counts of the data sets, which needs no run.
        format: ``terminal``, ``markdown``, ``latex`` (for booktabs), ``csv`` (one line per row and metric) or ``json``
            (one object per row).
        methods, datasets, protocols: which runs, and in which order; specs such as ``lisgan@S3[souls=5]`` are allowed.
            Without names ``stats`` takes all data sets that are on this machine.
        features, semantics, stage: which runs; of a data set with several features or semantics, each has its columns.
        metrics: which metrics, and in which order; None: all, but AUSUC in csv and json only.
        published: ``best`` for the preferred published numbers that compare, or the name of one source. They get their
            own columns; in the layouts zsl and gzsl their own rows, for every method of zslbench or of the source.
        selection: one or several rules, each with its own rows: ``fixed`` (the declared last step), ``validated``
            (hyper-parameters or step chosen in the dev stage) or ``oracle`` (best on test, †). None given: as recorded,
            without oracle.
        calibrate: add U, S and H after calibrated stacking. True: its constant is chosen on the dev folds; ``oracle``:
            on test (†); ``both``: one after the other, with what the second adds to H (``ΔH cs†``), and AUSUC.
        per_fold: one group of columns per fold of the dev stage; otherwise folds are averaged.
        ci: after ±, write the half-width of the 95 % t interval over seeds.
        rank_together: rank inductive, transductive and oracle rows together.
        pivot: ``gamma,lam``: show the grid of one method as a matrix, its first hyper-parameter down and its second
            across, one matrix per data set and metric (metrics None: T1 and H). csv and json have the same rows as
            without it.
        columns: which columns, in this order: ``H@CUB,U@CUB,T1@SUN:res101``. A metric without ``@DATASET`` means that
            of every data set, a data set without ``:STEM`` all its features and semantics.
        sort: ``H``, ``H@CUB`` or ``H@CUB:res101``: sort the rows of a block by this metric, highest first; of several
            columns, by the first.
        decimals: digits after the point, 0 to 3; published numbers keep theirs.
        cite: in LaTeX, put ``\cite{key}`` after the names of methods that have a citation.
        bibtex: a file for the BibTeX entries of everything in the table: methods, data sets, split and the sources of
            published numbers. A comment in it names what has no entry.
        standalone: write a complete LaTeX document that shows only the table.
        caption: ``short``: what the numbers are and what each mark means; ``full``: metrics and rules too; ``none``.
            With ``none``, what a reader of the numbers must know is said by a `CaptionLeftOut` warning instead.
        caption_text: replaces what the caption says of data, selection and seeds; in LaTeX it is written as it is.
        label: the label of a LaTeX table.
        data_root: the folder whose subfolders are data sets, for ``stats``.
        width: characters per line; a wider table is split, with data sets below each other. In LaTeX: inches, or
            ``column``, ``page``, ``eccv``, ``neurips``. None: the terminal's width, or in LaTeX one that fits any page.

    Raises:
        BadValue: an option that the layout or format does not have, or no run matches the request.
        UnknownName: unknown layout, format, metric, or source of published numbers.
        StoreError: there are no runs, none is finished, or `bibtex` cannot be written.
        DataMissing, BadData: for ``stats``: a data set is not on this machine, or its files break a rule.
    """
    _check_cite(cite, standalone)
    below = Caption(caption, caption_text, label)
    check_format(format, standalone=standalone, caption=below)
    numbers = dataclasses.replace(check_decimals(decimals, format), intervals=ci)
    options = {"width": width, "standalone": standalone}
    if layout == "stats":
        of_runs = {
            "--method": methods,
            "--protocol": protocols,
            "--metric": metrics,
            "--published": published,
            "--selection": selection,
            "--calibrate": calibrate,
            "--per-fold": per_fold,
            "--ci": ci,
            "--rank-together": rank_together,
            "--pivot": pivot,
            "--columns": columns,
            "--sort": sort,
            "--decimals": decimals != 1,
            "--cite": cite,
            "--stage": stage != "final",
            "--runs": Path(runs) != Path("runs"),
        }
        _refuse_options_of_runs(of_runs)
        from zslbench.studies.dataset_statistics import statistics

        counted = statistics(format, datasets, features, semantics, data_root, below, **options)
        if bibtex is not None:
            works = cited_data((str(fact["dataset"]), str(fact["origin"])) for fact in counted.list_facts())
            write_text(bibtex, write_bibliography(works), f"the bibliography {bibtex.name}")
        return counted
    if data_root is not None:
        raise BadValue(f"layout {layout!r} is made from records alone; leave out --data-root, or name --runs.")
    protocols = _check_layout(layout, protocols, metrics, calibrate)
    useless = {"--published": published, "--columns": columns, "--sort": sort, "--cite": cite}
    parameters = read_pivot(pivot, useless)
    source = _check_source(published, stage)
    record_filter = RecordFilter(methods, datasets, protocols, features, semantics, stage)
    store = ResultStore(runs)
    rules = (selection,) if isinstance(selection, str) else tuple(selection)
    gathered = gather(store, record_filter, rules, "dev" if calibrate is True else calibrate or None, per_fold)
    rows = _summarise_measured(gathered.records, store)
    chosen = _read_columns(columns, metrics, rows)
    if chosen:
        rows, metrics = column_choice.keep_columns(rows, chosen), [choice.metric for choice in chosen]

    def choose_rows(everything: bool) -> tuple[list[Row], list[Row], tuple[str, ...], list[citations.CitedRow] | None]:
        shown = _choose_metrics(rows, metrics, everything or calibrate == "both")
        ordered, by_data = sort_rows([row for row in rows if any(name in row.metrics for name in shown)], record_filter)
        cited = citations.cited_rows(ordered, shown, source, methods) if source and layout != "full" else None
        if sort:
            ordered, cited = column_choice.sort_by_metric(ordered, by_data, cited, sort)
        return ordered, by_data, shown, cited

    def make_tables(format: str, _: int) -> list[Table]:
        ordered, by_data, shown, cited = choose_rows(everything=False)
        ranking = Ranking(rank_together, PairedIntervals(store.predictions), decimals)
        if parameters:
            tables = pivot_tables(by_data, parameters, shown if metrics else None, ranking, numbers)
            return [*tables[:-1], add_unreadable_count(tables[-1], store, format)]
        whole = lay_out(ordered, by_data, shown, source, cited, ranking, numbers, put_data_on_top=layout == "zsl")
        if cite and format == "latex":
            whole = cite_methods(whole, method_keys(ordered, cited or ()))
        return [add_unreadable_count(column_choice.order_columns(whole, chosen) if chosen else whole, store, format)]

    def make_facts(format: str) -> list[dict[str, Any]]:
        ordered, _, shown, cited = choose_rows(everything=True)
        return table_rows(ordered, shown, source, cited, format)

    result = TableResult(
        make_tables=make_tables,
        make_rows=lambda: make_facts("csv"),
        make_json=lambda: json_text(make_facts("json")),
        notes=(*gathered.notes, *_describe_unfinished(gathered.chosen)),
        warned=store.left_out,
        format=format,
        options=options,
        caption=below,
    )
    if bibtex is not None:
        ordered, _, shown, cited = choose_rows(everything=False)
        works = cited_works(ordered, shown, source, cited)
        write_text(bibtex, write_bibliography(works), f"the bibliography {bibtex.name}")
    return result


def _summarise_measured(records: Sequence[Record], store: ResultStore) -> list[Row]:
    rows = summarise(records)
    if not any(row.metrics for row in rows):
        raise StoreError(f"the finished runs asked for in {store.root} hold no metric; run them with --rerun all.")
    return rows


def _check_cite(cite: bool, standalone: bool) -> None:
    if cite and standalone:
        raise BadValue("--cite needs a document with a bibliography, which --standalone is not; leave one of them out.")


def _refuse_options_of_runs(given: Mapping[str, object]) -> None:
    if asked := [option for option, value in given.items() if value]:
        raise BadValue(
            f"layout 'stats' counts data, not runs; leave out {' and '.join(asked)}, or choose another layout."
        )


def _read_columns(
    columns: Sequence[str] | None, metrics: Sequence[str] | None, rows: Sequence[Row]
) -> list[column_choice.ColumnChoice]:
    if columns and metrics:
        raise BadValue("--columns says which metrics of which data sets; leave out --metric.")
    return column_choice.read_columns(columns, rows) if columns else []


def add_unreadable_count(table: Table, store: ResultStore, format: str) -> Table:
    """Return a table of a store's records with the number of unreadable files added, in formats without notes."""
    unreadable = [] if format in WITH_NOTES else describe_unreadable_records(len(store.broken))
    return dataclasses.replace(table, remarks=(*table.remarks, *unreadable))


def _check_layout(
    layout: str, protocols: Sequence[str], metrics: Sequence[str] | None, calibrate: object
) -> tuple[str, ...]:
    """Return the protocols of a layout, and refuse options that do not fit it."""
    if layout not in LAYOUTS:
        raise UnknownName("layout", layout, LAYOUTS)
    if layout == "full":
        return tuple(protocols)
    shows = f"layout {layout!r} shows {', '.join(ACCURACIES[layout])} of protocol {layout}"
    for name in protocols:
        if name.partition("[")[0].casefold() != layout:
            raise BadValue(f"{shows}, not protocol {name!r}; leave out --protocol, or choose --layout full.")
    if layout == "zsl" and (other := [name for name in metrics or () if name.casefold() != "t1"]):
        raise BadValue(f"{shows}, not {', '.join(other)}; leave out --metric, or choose --layout gzsl.")
    if layout == "zsl" and calibrate:
        raise BadValue(f"{shows}, which calibrated stacking does not change; leave out --calibrate.")
    return (layout,)


def _check_source(published: str | None, stage: str) -> str | None:
    if published is None:
        return None
    citations.check_source(published, "best")
    if stage != "final":
        raise BadValue(
            f"published numbers are of the final stage, not of stage {stage!r}; leave out --published or the stage."
        )
    return published


def _choose_metrics(rows: Sequence[Row], asked: Sequence[str] | None, everything: bool) -> tuple[str, ...]:
    known = order_metrics(name for row in rows for name in row.metrics)
    if asked:
        return tuple(pick_metrics(known, asked))
    return tuple(name for name in known if everything or name not in _ON_REQUEST or len(known) == 1)


def _describe_unfinished(chosen: Sequence[Record]) -> list[str]:
    """Return a line on runs that do not count; empty if all finished."""
    counts = collections.Counter(record.status for record in chosen if not record.ok)
    if not counts:
        return []
    numbers = ", ".join(f"{number} {'run' if number == 1 else 'runs'} {status}" for status, number in counts.items())
    advice = []
    if counts.keys() & {"interrupted", "skipped"}:
        advice.append("The same `zslbench run …` does what was interrupted.")
    if counts.keys() - {"interrupted", "skipped"}:
        advice.append("`zslbench run … --rerun failed` tries again.")
    return [f"{numbers}; not counted. {' '.join(advice)}"]


def cited_works(
    rows: Sequence[Row], metrics: Sequence[str], source: str | None, cited: Sequence[citations.CitedRow] | None
) -> Iterator[tuple[str, str]]:
    """Yield the citation keys of a table with what each is cited for; an empty key where none is known.

    Args:
        rows, metrics: what was measured; source: of published numbers beside them; None: there are none.
        cited: published rows.
    """
    methods = [row.method for row in rows] + [_method_of(row) for row in cited or ()]
    for name in dict.fromkeys(methods):
        yield citation_key(METHODS, name), f"method {name}"
    yield from cited_data((row.dataset, row.origin) for row in rows)
    if any(CALIBRATED in name for name in metrics):
        yield CALIBRATED_STACKING, "calibrated stacking"
    numbers = [row.source for row in cited or ()]
    if source and cited is None:
        beside = (
            citations.find_comparable_number(row, name, source)
            for row in rows
            for name in metrics
            if name in row.metrics
        )
        numbers += [entry.source for entry in beside if entry]
    for key in dict.fromkeys(numbers):
        yield key, "published numbers"


def cited_data(datasets: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield the citation keys of data sets, each with its origin, and of the proposed split where one has it."""
    datasets = list(dict.fromkeys(datasets))
    for name, origin in datasets:
        key = "" if origin in ("own", "added") else citation_key(DATASETS, name.partition("[")[0])
        yield key, f"data set {name}"
    if any(origin == "catalogue" for _, origin in datasets):
        yield PROPOSED_SPLIT, "proposed split"


def method_keys(rows: Iterable[Row], cited: Iterable[citations.CitedRow]) -> dict[str, str]:
    """Return the citation keys of the methods of measured and of published rows, those that have an entry."""
    names = dict.fromkeys([*(row.method for row in rows), *map(_method_of, cited)])
    keys = {name: citation_key(METHODS, name) for name in names}
    return {name: key for name, key in keys.items() if key in entries()}


def citation_key(registry: Registry, name: str) -> str:
    """Return the citation key on the card of what is registered; empty where there is none, as for a class of a file.

    A user's own file is not imported for it.
    """
    if ":" in name:
        return ""
    try:
        card: Any = getattr(registry.entry(name).load(), "card", None)
    except ZslbenchError:
        return ""
    return str(getattr(card, "citation", ""))


def _method_of(row: citations.CitedRow) -> str:
    return row.entries[0].method.partition(":")[0]
