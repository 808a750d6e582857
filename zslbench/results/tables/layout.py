"""Rows of results to a table: methods down, data sets and metrics across, the best marked, published numbers beside."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, TypeVar

from zslbench.metrics import METRIC_ORDER, metric_place
from zslbench.results.analysis import published as citations
from zslbench.results.analysis.published import Published
from zslbench.results.analysis.record_filter import RecordFilter
from zslbench.results.analysis.rows import Row, RowKey, Stat, natural, row_keys, short_names
from zslbench.results.records.record import SELECTIONS
from zslbench.results.tables.captions import cited_sentences, describe_rows, footnote, nothing_cited, spans
from zslbench.results.tables.table import PUBLISHED_HEAD, Block, Cell, Column, Emphasis, Table, TableRow, remarks
from zslbench.visible import one_line

GroupKey = tuple[str, str, str, str, tuple[int, ...]]
ProtocolKey = tuple[str, int, str]
ORACLE_MARK = "†"

_Key = TypeVar("_Key", bound=Hashable)


@dataclasses.dataclass(frozen=True)
class ColumnKey:
    """What a column holds: a metric on some data under a protocol, measured or published."""

    group: GroupKey
    protocol: ProtocolKey
    metric: str
    published: bool = False


def lay_out(
    rows: Sequence[Row],
    by_data: Sequence[Row],
    metrics: Sequence[str],
    source: str | None = None,
    rank_together: bool = False,
    intervals: bool = False,
) -> Table:
    """Return the table of `rows`.

    Args:
        rows: in the order of the lines.
        by_data: the same rows in the order of the columns.
        metrics: which, in order.
        source: of published numbers; None leaves them out.
        rank_together: compare all lines with each other, not only those of one block.
        intervals: ± is the half-width of the 95 % t interval, not the sample standard deviation.
    """
    keys = row_keys(rows, lambda row: (group_key(row), row.protocol_key))
    names, settings = short_names(dict.fromkeys(keys))
    measured: dict[tuple[RowKey, ColumnKey], Stat] = {}
    cited: dict[tuple[RowKey, ColumnKey], Published] = {}
    for row, key in zip(rows, keys, strict=True):
        for metric in metrics:
            if metric in row.metrics:
                column = ColumnKey(group_key(row), row.protocol_key, metric)
                measured[key, column] = row.metrics[metric]
                if source and (entry := citations.beside(row, metric, source)):
                    cited[key, dataclasses.replace(column, published=True)] = entry
    columns = _columns(by_data, metrics, {column for _, column in (*measured, *cited)})
    heads = group_heads([column.group for column in columns])
    blocks = ranked_blocks(dict.fromkeys(keys), rank_together)
    notes: dict[str, int] = {}
    cells = _measured_cells(measured, blocks, intervals) | _cited_cells(cited, blocks, notes)
    below = describe_rows(rows, [names[key] for key in keys], metrics, rank_together, intervals)
    if source:
        below += remarks("published", _sources(cited, names, heads, source))
    first = {key: row for row, key in zip(reversed(rows), reversed(keys), strict=True)}

    def line(key: RowKey) -> TableRow:
        row = first[key]
        values = tuple(cells.get((key, column)) for column in columns)
        return TableRow(names[key], key.marks, values, one_line(row.label), key.setting, row.selection)

    return Table(
        columns=_column_heads(columns, heads),
        blocks=tuple(Block(tuple(map(line, block))) for block in blocks),
        remarks=tuple(below),
        settings=settings,
        notes=tuple(notes),
    )


def method_order(row: Row, record_filter: RecordFilter) -> tuple[Any, ...]:
    """Return what sorts lines: as asked for, then by title, label, version and selection rule."""
    return (
        record_filter.position(row.lead)[0],
        row.title.casefold(),
        natural(row.label),
        row.version,
        SELECTIONS.index(row.selection),
    )


def data_order(row: Row, record_filter: RecordFilter) -> tuple[Any, ...]:
    """Return what sorts columns: as asked for, then by data set, its choices, protocol and metric."""
    _, dataset, protocol = record_filter.position(row.lead)
    return (
        dataset,
        natural(row.dataset),
        (row.features, row.semantics, row.fingerprint, row.folds),
        protocol,
        min(map(metric_place, row.metrics), default=len(METRIC_ORDER)),
        row.protocol_key,
    )


def group_key(row: Row) -> GroupKey:
    """Return the column group that a row belongs to: its data, and the folds of the dev stage."""
    return *row.data_key, row.folds


def measured_columns(by_data: Sequence[Row], metrics: Sequence[str]) -> list[ColumnKey]:
    """Return the columns of measured numbers, as `lay_out` has them."""
    measured = {
        ColumnKey(group_key(row), row.protocol_key, metric)
        for row in by_data
        for metric in metrics
        if metric in row.metrics
    }
    return _columns(by_data, metrics, measured)


def _columns(by_data: Sequence[Row], metrics: Sequence[str], used: set[ColumnKey]) -> list[ColumnKey]:
    """Return the columns by group, then metric, then protocol, a published one after its measured one."""
    protocols: dict[GroupKey, dict[ProtocolKey, None]] = {}
    for row in by_data:
        protocols.setdefault(group_key(row), {})[row.protocol_key] = None
    wanted = (
        ColumnKey(group, key, metric, published)
        for group, keys in protocols.items()
        for metric in metrics
        for key in keys
        for published in (False, True)
    )
    return [column for column in wanted if column in used]


def _group_details(groups: Sequence[GroupKey]) -> dict[GroupKey, str]:
    """Say what tells each group from others of the same data set; nothing where there are none."""
    out = {}
    for group in groups:
        dataset, features, semantics, fingerprint, folds = group
        same = [other for other in groups if other[0] == dataset]
        details = [features, semantics] if len({other[1:3] for other in same}) > 1 else []
        if len({other[3] for other in same if other[1:3] == group[1:3]}) > 1:
            details.append(fingerprint[:8])
        if len({other[4] for other in same}) > 1:
            details.append(f"{'fold' if len(folds) == 1 else 'folds'} {spans(folds)}")
        out[group] = one_line(", ".join(details))
    return out


def group_heads(groups: Sequence[GroupKey]) -> dict[GroupKey, str]:
    """Name each group by its data set, and by what tells it from others of the same name."""
    details = _group_details(groups).items()
    return {group: one_line(group[0]) + (f" ({text})" if text else "") for group, text in details}


def name_data(group: GroupKey, heads: Mapping[GroupKey, str]) -> str:
    """Name a group with its features and semantics, whether or not the head of its columns says them."""
    dataset, features, semantics, *_ = group
    return heads[group] if "(" in heads[group] else f"{dataset} ({features}, {semantics})"


def _column_heads(columns: Sequence[ColumnKey], heads: Mapping[GroupKey, str]) -> tuple[Column, ...]:
    """Return the heads; those of one metric under several protocols say which, and which version."""
    out = []
    for column in columns:
        group = [other for other in columns if other.group == column.group]
        same = [other for other in group if other.metric == column.metric and not other.published]
        name, version, params = column.protocol
        head = column.metric
        if len(same) > 1:
            head += f" {name}" + (f"[{params}]" if params else "")
        if len({other.protocol[1] for other in same if other.protocol[0] == name}) > 1:
            head += f" v{version}"
        head = PUBLISHED_HEAD if column.published else head
        out.append(Column(head, heads[column.group], dataset=column.group[0]))
    return tuple(out)


def put_under_data_sets(table: Table, columns: Sequence[ColumnKey]) -> Table:
    """Put a single column under its data set's name itself; several of one data set under what tells them apart."""
    groups = [column.group for column in columns]
    if len(set(groups)) < len(groups):
        return table
    heads, details = group_heads(groups), _group_details(groups)
    names = [group[0] for group in groups]
    order = sorted(range(len(groups)), key=lambda number: names.index(names[number]))
    alone = {name for name in names if names.count(name) == 1}
    return dataclasses.replace(
        table,
        columns=tuple(
            Column(heads[groups[n]]) if names[n] in alone else Column(details[groups[n]], group=names[n]) for n in order
        ),
        blocks=tuple(
            dataclasses.replace(
                block,
                rows=tuple(
                    dataclasses.replace(line, cells=tuple(line.cells[number] for number in order))
                    for line in block.rows
                ),
            )
            for block in table.blocks
        ),
        remarks=(
            *(remark for remark in table.remarks if remark.kind == "stage"),
            *remarks("layout", ["T1 stands under each data set's name."]),
            *(remark for remark in table.remarks if remark.kind != "stage"),
        ),
    )


def ranked_blocks(keys: Mapping[RowKey, None], rank_together: bool) -> list[list[RowKey]]:
    """Return the lines that may be ranked with each other: by setting, oracle selection apart."""
    if rank_together:
        return [list(keys)]
    kinds = sorted({key.block for key in keys})
    return [[key for key in keys if key.block == kind] for kind in kinds]


def podium(shown: Mapping[_Key, str]) -> dict[_Key, Emphasis]:
    """Return which numbers are ``best`` and ``second`` as they are shown; ties share, all others are empty.

    Where all are equal, or there is but one, nobody is either.

    >>> podium({"a": "50.0", "b": "49.0", "c": "50.0", "d": "9.0"})
    {'a': 'best', 'b': 'second', 'c': 'best', 'd': ''}
    """
    values = sorted({float(text) for text in shown.values()})
    places: dict[float, Emphasis] = {values[-1]: "best", values[-2]: "second"} if len(values) > 1 else {}
    return {key: places.get(float(text), "") for key, text in shown.items()}


def _measured_cells(
    measured: Mapping[tuple[RowKey, ColumnKey], Stat], blocks: Sequence[Sequence[RowKey]], intervals: bool
) -> dict[tuple[RowKey, ColumnKey], Cell]:
    cells = {}
    for column in dict.fromkeys(column for _, column in measured):
        marks = ORACLE_MARK if column.metric.endswith(ORACLE_MARK) else ""
        for block in blocks:
            stats = {key: measured[key, column] for key in block if (key, column) in measured}
            places = podium({key: f"{stat.mean:.1f}" for key, stat in stats.items()})
            for key, stat in stats.items():
                spread = _spread(stat, intervals)
                cells[key, column] = Cell(f"{stat.mean:.1f}", spread, places[key], marks=marks, stat=stat)
    return cells


def _spread(stat: Stat, intervals: bool) -> str:
    ends = stat.interval() if intervals else None
    if ends:
        return f"{(ends[1] - ends[0]) / 2:.1f}"
    return "" if stat.std is None else f"{stat.std:.1f}"


def _cited_cells(
    cited: Mapping[tuple[RowKey, ColumnKey], Published], blocks: Sequence[Sequence[RowKey]], notes: dict[str, int]
) -> dict[tuple[RowKey, ColumnKey], Cell]:
    """Return the cells of published numbers; `notes` receives their footnotes, numbered in reading order."""
    order = {key: place for place, key in enumerate(key for block in blocks for key in block)}
    cells = {}
    for (key, column), entry in sorted(cited.items(), key=lambda item: order[item[0][0]]):
        marks = ORACLE_MARK if entry.oracle else ""
        cells[key, column] = Cell(f"{entry.value:.1f}", note=footnote(entry, notes), marks=marks)
    return cells


def _sources(
    cited: Mapping[tuple[RowKey, ColumnKey], Published],
    names: Mapping[RowKey, str],
    heads: Mapping[GroupKey, str],
    source: str,
) -> list[str]:
    """Say whose the published numbers are, and where they rest on other features or semantics."""
    if not cited:
        return [nothing_cited(source)]
    used: dict[str, dict[str, None]] = {}
    for (key, _), entry in cited.items():
        used.setdefault(entry.source, {})[names[key]] = None
    whose = "; ".join(f"{key} ({', '.join(lines)})" for key, lines in used.items())
    placed = [(entry, column.group) for (_, column), entry in cited.items()]
    return [f"pub.: published, not measured here: {whose}.", *sentences_on_placed(placed, heads)]


def sentences_on_placed(placed: Sequence[tuple[Published, GroupKey]], heads: Mapping[GroupKey, str]) -> list[str]:
    """Return what has to be said of published numbers, each with the data that it stands beside."""
    unlike: dict[tuple[str, str], dict[str, None]] = {}
    for entry, group in placed:
        if (entry.features, entry.semantics) != group[1:3]:
            unlike.setdefault((entry.features, entry.semantics), {})[name_data(group, heads)] = None
    return cited_sentences(
        [entry for entry, _ in placed], {record_filter: list(data) for record_filter, data in unlike.items()}
    )
