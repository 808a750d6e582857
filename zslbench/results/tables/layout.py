"""Rows of results to a table: methods down, data sets and metrics across, the best marked, published numbers beside."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from zslbench.metrics import METRIC_ORDER, metric_place
from zslbench.results.analysis import published as citations
from zslbench.results.analysis.gather import RecordFilter
from zslbench.results.analysis.published import PROTOCOL, CitedRow, Published
from zslbench.results.analysis.row_names import RowKey, describe_shared, row_keys
from zslbench.results.analysis.rows import Ranked, Row, Stat, group_values, natural
from zslbench.results.records.record import SELECTIONS
from zslbench.results.tables.captions import TRANSDUCTIVE, describe_rows, name_folds
from zslbench.results.tables.table import (
    PUBLISHED_HEAD,
    Block,
    Cell,
    Column,
    Emphasis,
    Remark,
    Table,
    TableRow,
    remarks,
    stat_cell,
    take_columns,
)
from zslbench.visible import one_line

ProtocolKey = tuple[str, int, str]

_Key = TypeVar("_Key", bound=Hashable)
_Ranked = TypeVar("_Ranked", bound=Ranked)


class GroupKey(NamedTuple):
    """What the columns of a group have in common: the data, and the folds of the dev stage."""

    dataset: str
    features: str
    semantics: str
    fingerprint: str
    folds: tuple[int, ...]


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
    cited: Sequence[CitedRow] | None = None,
    rank_together: bool = False,
    intervals: bool = False,
    put_data_on_top: bool = False,
) -> Table:
    """Return the table of `rows`.

    Args:
        rows, by_data: in the order of the table's rows and of its columns (see `sort_rows`).
        metrics: which, in order.
        source: of published numbers: a citation key or ``best``; None leaves them out.
        cited: published numbers as rows of their own below the measured ones; None: in columns of their own.
        rank_together: compare all rows with each other, not only those of one block.
        intervals: ± is the half-width of the 95 % t interval, not the sample standard deviation.
        put_data_on_top: a single column stands under its data set's name itself.
    """
    keys = row_keys(rows, column_key)
    numbers: dict[RowKey, dict[ColumnKey, Stat | Published]] = {key: {} for key in keys}
    beside: list[tuple[RowKey, Published, GroupKey]] = []
    for row, key in zip(rows, keys, strict=True):
        for metric in metrics:
            if metric in row.metrics:
                column = ColumnKey(group_key(row), row.protocol_key, metric)
                numbers[key][column] = row.metrics[metric]
                if source and cited is None and (entry := citations.find_comparable_number(row, metric, source)):
                    numbers[key][dataclasses.replace(column, published=True)] = entry
                    beside.append((key, entry, column.group))
    used = {column for columns in numbers.values() for column in columns}
    columns = [
        column
        for group, protocols in group_values((group_key(row), row.protocol_key) for row in by_data).items()
        for metric in metrics
        for protocol in protocols
        for published in (False, True)
        if (column := ColumnKey(group, protocol, metric, published)) in used
    ]
    heads = group_heads([column.group for column in columns])
    notes: dict[str, int] = {}
    first = dict(zip(reversed(keys), reversed(rows), strict=True))

    def cell(number: Stat | Published | None, column: ColumnKey) -> Cell | None:
        if isinstance(number, Published):
            return _published_cell(number, notes, "†" if number.oracle else "")
        return stat_cell(number, "†" if column.metric.endswith("†") else "", intervals)

    def table_row(key: RowKey) -> TableRow:
        row, cells = first[key], tuple(cell(numbers[key].get(column), column) for column in columns)
        return TableRow(key.short, key.marks, cells, one_line(row.label), key.setting, row.selection)

    blocks = [_rank(map(table_row, block), columns) for block in ranked_blocks(keys, rank_together)]
    below = remarks("parameters", describe_shared(keys))
    below += describe_rows(rows, [key.short for key in keys], metrics, rank_together, intervals)
    placed = [(entry, group) for _, entry, group in beside]
    if cited:
        blocks += _cited_blocks(cited, columns, notes, rank_together)
        apart = len(ranked_blocks(cited, rank_together)) > 1
        ranked = "each block ranked by itself" if apart else "ranked by themselves"
        cited_text = f"Rows below “published” are cited, not measured here, and {ranked}."
        below += remarks("published", [cited_text], "Rows below “published” are cited, not measured here.")
        if any(row.setting == "transductive" for row in cited) and TRANSDUCTIVE not in below:
            below.append(TRANSDUCTIVE)
        placed = [(entry, _column(columns, entry).group) for row in cited for entry in row.entries]
    elif source and not beside:
        which = "" if source == "best" else f" in {source}"
        below += remarks("note", [f"There are no published numbers{which} for these methods and data sets."])
    elif source:
        names = group_values((entry.source, key.short) for key, entry, _ in beside)
        whose = "; ".join(f"{name} ({', '.join(short)})" for name, short in names.items())
        short = f"pub.: published, not measured here ({', '.join(names)})."
        below += remarks("published", [f"pub.: published, not measured here: {whose}."], short)
    table = Table(
        columns=_column_heads(columns, heads),
        blocks=tuple(blocks),
        remarks=(*below, *_caution(placed, heads)),
        notes=tuple(notes),
    )
    return _put_data_on_top(table, columns) if put_data_on_top else table


def sort_rows(rows: Iterable[Row], record_filter: RecordFilter) -> tuple[list[Row], list[Row]]:
    """Return rows in the order of a table's rows (by method) and in that of its columns (by data)."""

    def data_order(row: Row) -> tuple[Any, ...]:
        _, dataset, protocol = record_filter.position(row.lead)
        first_metric = min(map(metric_place, row.metrics), default=len(METRIC_ORDER))
        choices = row.features, row.semantics, row.fingerprint, row.folds
        return dataset, natural(row.dataset), choices, protocol, first_metric, row.protocol_key

    def method_order(pair: tuple[Row, RowKey]) -> tuple[Any, ...]:
        row, key = pair
        rule = SELECTIONS.index(row.selection)
        return record_filter.position(row.lead)[0], row.title.casefold(), key.order, row.version, rule

    by_data = sorted(rows, key=data_order)
    keys = row_keys(by_data, column_key)
    return [row for row, _ in sorted(zip(by_data, keys, strict=True), key=method_order)], by_data


def column_key(row: Row) -> tuple[GroupKey, ProtocolKey]:
    """Return what the columns that a row has numbers in share."""
    return group_key(row), row.protocol_key


def group_key(row: Row) -> GroupKey:
    """Return the column group that a row belongs to."""
    return GroupKey(*row.data_key, row.folds)


def _group_details(groups: Iterable[GroupKey]) -> dict[GroupKey, str]:
    """Say what tells each group from others of the same data set; nothing where there are none."""
    groups, out = list(groups), {}
    for group in groups:
        same = [other for other in groups if other.dataset == group.dataset]
        details = [group.features, group.semantics] if len({other[1:3] for other in same}) > 1 else []
        if len({other.fingerprint for other in same if other[1:3] == group[1:3]}) > 1:
            details.append(group.fingerprint[:8])
        if len({other.folds for other in same}) > 1:
            details.append(name_folds(group.folds))
        out[group] = one_line(", ".join(details))
    return out


def group_heads(groups: Iterable[GroupKey]) -> dict[GroupKey, str]:
    """Name each group by its data set, and by what tells it from others of the same name."""
    details = _group_details(groups).items()
    return {group: one_line(group.dataset) + (f" ({text})" if text else "") for group, text in details}


def _column_heads(columns: Sequence[ColumnKey], heads: Mapping[GroupKey, str]) -> tuple[Column, ...]:
    """Return the heads; those of one metric under several protocols say which, and which version."""
    out = []
    for column in columns:
        name, version, params = column.protocol
        alike = [other for other in columns if (other.group, other.metric) == (column.group, column.metric)]
        protocols = [other.protocol for other in alike if not other.published]
        head = column.metric
        if len(protocols) > 1:
            head += f" {name}" + (f"[{params}]" if params else "")
        if len({other[1] for other in protocols if other[0] == name}) > 1:
            head += f" v{version}"
        head = PUBLISHED_HEAD if column.published else head
        out.append(Column(head, heads[column.group], dataset=column.group.dataset))
    return tuple(out)


def _put_data_on_top(table: Table, columns: Sequence[ColumnKey]) -> Table:
    """Put a single column under its data set's name itself; several of one data set under what tells them apart."""
    groups = [column.group for column in columns]
    if len(set(groups)) < len(groups):
        return table
    heads, details = group_heads(groups), _group_details(groups)
    names = [group.dataset for group in groups]
    on_top = [
        Column(heads[group]) if names.count(group.dataset) == 1 else Column(details[group], group=group.dataset)
        for group in groups
    ]
    where = "T1 stands under each data set's name."
    layout = Remark("layout", where, where)
    below = [each for remark in table.remarks for each in ([remark, layout] if remark.kind == "stage" else [remark])]
    order = sorted(range(len(groups)), key=lambda number: names.index(names[number]))
    return take_columns(dataclasses.replace(table, columns=tuple(on_top), remarks=tuple(below)), order)


def ranked_blocks(keys: Iterable[_Ranked], rank_together: bool) -> list[list[_Ranked]]:
    """Return the rows that may be ranked with each other, none twice: by setting, oracle selection apart."""
    keys = list(dict.fromkeys(keys))
    if rank_together:
        return [keys]
    return [[key for key in keys if key.block == kind] for kind in sorted({key.block for key in keys})]


def _rank(rows: Iterable[TableRow], columns: Sequence[ColumnKey], title: str = "") -> Block:
    """Mark the best and the second best of each column of measured numbers, or of cited rows."""
    rows = list(rows)
    ranked = [list(row.cells) for row in rows]
    for number, column in enumerate(columns):
        cells = {at: cell for at, row in enumerate(rows) if (cell := row.cells[number])}
        emphasis = {} if column.published else podium({at: cell.text for at, cell in cells.items()})
        for at, cell in cells.items():
            ranked[at][number] = dataclasses.replace(cell, emphasis=emphasis.get(at, ""))
    return Block(tuple(dataclasses.replace(row, cells=tuple(ranked[at])) for at, row in enumerate(rows)), title)


def podium(shown: Mapping[_Key, str]) -> dict[_Key, Emphasis]:
    """Return which numbers are ``best`` and ``second`` as they are shown; ties share, all others are empty.

    Where all are equal, or there is but one, nobody is either.

    >>> podium({"a": "50.0", "b": "49.0", "c": "50.0", "d": "9.0"})
    {'a': 'best', 'b': 'second', 'c': 'best', 'd': ''}
    """
    values = sorted({float(text) for text in shown.values()})
    places: dict[float, Emphasis] = {values[-1]: "best", values[-2]: "second"} if len(values) > 1 else {}
    return {key: places.get(float(text), "") for key, text in shown.items()}


def _published_cell(entry: Published, notes: dict[str, int], marks: str = "") -> Cell:
    """Return a published number; `notes` receives its footnote, numbered in reading order."""
    text = f"{entry.source}, {entry.table}: {entry.note}."
    return Cell(f"{entry.value:.1f}", marks=marks, note=notes.setdefault(text, len(notes) + 1) if entry.note else 0)


def _cited_blocks(
    cited: Sequence[CitedRow], columns: Sequence[ColumnKey], notes: dict[str, int], rank_together: bool
) -> list[Block]:
    """Return the blocks of published rows, those of a source below its name."""
    blocks = []
    for source in dict.fromkeys(row.source for row in cited):
        same = [row for row in cited if row.source == source]
        for number, block in enumerate(ranked_blocks(same, rank_together)):
            rows = []
            for row in block:
                entries = {_column(columns, entry): entry for entry in row.entries}
                cells = (_published_cell(entries[key], notes) if key in entries else None for key in columns)
                rows.append(TableRow(row.title, row.marks, tuple(cells)))
            blocks.append(_rank(rows, columns, "" if number else f"published: {source}"))
    return blocks


def _column(columns: Sequence[ColumnKey], entry: Published) -> ColumnKey:
    """Return the column that a published number belongs to: on its features and semantics, where they were measured."""
    wanted = entry.dataset, entry.metric, PROTOCOL[entry.metric]
    fitting = [column for column in columns if (column.group.dataset, column.metric, column.protocol[0]) == wanted]
    alike = [column for column in fitting if column.group[1:3] == (entry.features, entry.semantics)]
    described = [column for column in fitting if column.group.semantics == entry.semantics]
    return (alike or described or fitting)[0]


def _caution(placed: Sequence[tuple[Published, GroupKey]], heads: Mapping[GroupKey, str]) -> list[Remark]:
    """Return what has to be said of published numbers, each with the data that it stands beside."""
    below: list[Remark] = []
    if read := sorted({entry.oracle for entry, _ in placed if entry.oracle}, key=str.casefold):
        code, whose = (f"{', '.join(read[:-1])} and {read[-1]}", "their") if len(read) > 1 else (read[0], "its")
        text = f"The public code of {code} picks the epoch on test images: {whose} published numbers are read as "
        below += remarks("oracle", [f"{text}oracle (†)."], f"† published: the code of {code} picks on test images.")
    unlike = group_values(
        (
            (entry.features, entry.semantics),
            heads[group] if "(" in heads[group] else f"{group.dataset} ({group.features}, {group.semantics})",
        )
        for entry, group in placed
        if (entry.features, entry.semantics) != group[1:3]
    )
    for (features, semantics), data in unlike.items():
        text = (
            f"The published numbers rest on {features} features and {semantics} semantics, unlike the measured ones "
            f"of {', '.join(data)}: they do not compare directly."
        )
        below += remarks("warning", [text])
    return below
