"""Rows of results to a table: methods down, data sets and metrics across, published numbers beside."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from zslbench.metrics import METRIC_ORDER, metric_place
from zslbench.results.analysis import published as citations
from zslbench.results.analysis.gather import RecordFilter
from zslbench.results.analysis.published import PROTOCOL, CitedRow, Published
from zslbench.results.analysis.row_names import RowKey, describe_shared, row_keys
from zslbench.results.analysis.rows import Ranked, Row, Stat, group_values, natural
from zslbench.results.records.record import SELECTIONS
from zslbench.results.tables.captions import TRANSDUCTIVE, describe_rows, name_folds
from zslbench.results.tables.ranking import Ranking, mark_best
from zslbench.results.tables.table import (
    PUBLISHED_HEAD,
    USUAL_NUMBERS,
    Block,
    Cell,
    Column,
    NumberFormat,
    Remark,
    Table,
    TableRow,
    remarks,
    stat_cell,
    take_columns,
)
from zslbench.visible import format_count, join_words, name_data, one_line, title_data

ProtocolKey = tuple[str, int, str]

_Ranked = TypeVar("_Ranked", bound=Ranked)


class GroupKey(NamedTuple):
    """What the columns of a group share: the data, and the folds of the dev stage."""

    dataset: str
    features: str
    semantics: str
    fingerprint: str
    folds: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class ColumnKey:
    """The key of a column: a metric on some data under a protocol, measured or published."""

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
    ranking: Ranking | None = None,
    numbers: NumberFormat = USUAL_NUMBERS,
    put_data_on_top: bool = False,
) -> Table:
    """Return the table of `rows`.

    Args:
        rows, by_data: in the order of the table's rows and of its columns (see `sort_rows`).
        metrics: which, in order.
        source: of published numbers: a citation key or ``best``; None leaves them out.
        cited: published numbers as rows of their own below the measured ones; None: in columns of their own.
        ranking: which rows are compared, and how; None: those of one block, without a test.
        numbers: how they are written; published ones with no more digits than they have.
        put_data_on_top: a single column stands under its data set's name itself.
    """
    keys = row_keys(rows, column_key)
    ranking = ranking or Ranking()
    values, beside = _place_numbers(rows, keys, metrics, source if cited is None else None)
    columns = _order_columns({column for columns in values.values() for column in columns}, by_data, metrics)
    heads = group_heads([column.group for column in columns])
    notes: dict[str, int] = {}
    first = dict(zip(reversed(keys), reversed(rows), strict=True))
    in_column = {(key, *column_key(row)): row for row, key in zip(rows, keys, strict=True)}

    def cell(number: Stat | Published | None, column: ColumnKey) -> Cell | None:
        if isinstance(number, Published):
            return _published_cell(number, notes, numbers, "†" if number.oracle else "")
        return stat_cell(number, "†" if column.metric.endswith("†") else "", numbers)

    def table_row(key: RowKey) -> TableRow:
        row, cells = first[key], tuple(cell(values[key].get(column), column) for column in columns)
        return TableRow(key.short, key.marks, cells, one_line(row.label), key.setting, row.selection, row.method)

    blocks = []
    for block in ranked_blocks(keys, ranking.together):
        marked = [_mark_column(block, column, in_column, ranking) for column in columns]
        blocks.append(_mark_cells([table_row(key) for key in block], marked))
    names, shared = [key.short for key in keys], describe_shared(keys)
    below = describe_rows(rows, names, metrics, ranking.together, numbers.intervals, shared)
    below += ranking.describe()
    placed = [(entry, group) for _, entry, group in beside]
    if cited:
        cited_blocks = _cited_blocks(cited, columns, notes, numbers, ranking.together)
        ranking.marked |= any(cell and cell.bold for block in cited_blocks for row in block.rows for cell in row.cells)
        blocks += cited_blocks
        ranked = "each block is ranked by itself" if len(cited_blocks) > 1 else "ranked by themselves"
        cited_text = f"Rows below “published” are cited, not measured here, and {ranked}, without a test."
        below += remarks("published", [cited_text], cited_text)
        if any(row.setting == "transductive" for row in cited) and TRANSDUCTIVE not in below:
            below.append(TRANSDUCTIVE)
        placed = [(entry, _column(columns, entry).group) for row in cited for entry in row.entries]
    elif source and not beside:
        which = "" if source == "best" else f" in {source}"
        below += remarks("note", [f"There are no published numbers{which} for these methods and data sets."])
    elif source:
        by_source = group_values((entry.cited_from, key.short) for key, entry, _ in beside)
        whose = "; ".join(f"{name} ({', '.join(short)})" for name, short in by_source.items())
        short = f"pub.: published, not measured here ({'; '.join(by_source)})."
        below += remarks("published", [f"pub.: published, not measured here: {whose}."], short)
    if source == "best":
        below += _describe_choice(rows, metrics, [entry for entry, _ in placed])
    table = Table(
        columns=_column_heads(columns, heads),
        blocks=tuple(blocks),
        remarks=(*below, *_caution(placed, heads)),
        notes=tuple(notes),
        ranked_by=ranking.ranked_by,
    )
    return _put_data_on_top(table, columns) if put_data_on_top else table


def _place_numbers(
    rows: Sequence[Row], keys: Sequence[RowKey], metrics: Sequence[str], source: str | None
) -> tuple[dict[RowKey, dict[ColumnKey, Stat | Published]], list[tuple[RowKey, Published, GroupKey]]]:
    """Return the numbers of each row by column, and the published ones of `source` beside measured ones."""
    numbers: dict[RowKey, dict[ColumnKey, Stat | Published]] = {key: {} for key in keys}
    beside: list[tuple[RowKey, Published, GroupKey]] = []
    for row, key in zip(rows, keys, strict=True):
        for metric in metrics:
            if metric in row.metrics:
                column = ColumnKey(group_key(row), row.protocol_key, metric)
                numbers[key][column] = row.metrics[metric]
                if source and (entry := citations.find_comparable_number(row, metric, source)):
                    numbers[key][dataclasses.replace(column, published=True)] = entry
                    beside.append((key, entry, column.group))
    return numbers, beside


def _order_columns(used: Collection[ColumnKey], by_data: Sequence[Row], metrics: Sequence[str]) -> list[ColumnKey]:
    return [
        column
        for group, protocols in group_values(map(column_key, by_data)).items()
        for metric in metrics
        for protocol in protocols
        for published in (False, True)
        if (column := ColumnKey(group, protocol, metric, published)) in used
    ]


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
    """Return the key shared by the columns in which a row has numbers."""
    return group_key(row), row.protocol_key


def group_key(row: Row) -> GroupKey:
    """Return the column group that a row belongs to."""
    return GroupKey(*row.data_key, row.folds)


def _group_details(groups: Iterable[GroupKey]) -> dict[GroupKey, str]:
    """Return what distinguishes each group from others of the same data set; empty if there are no others."""
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
    """Return the name of each group: its data set, and what distinguishes it from others of that data set."""
    details = _group_details(groups).items()
    return {group: one_line(title_data(group.dataset)) + (f" ({text})" if text else "") for group, text in details}


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
        dataset, *stems = column.group[:3]
        out.append(Column(head, heads[column.group], "value", dataset, column.metric, tuple(stems)))
    return tuple(out)


def _put_data_on_top(table: Table, columns: Sequence[ColumnKey]) -> Table:
    """Put a single column under its data set's name itself; several of one data set under what distinguishes them."""
    groups = [column.group for column in columns]
    if len(set(groups)) < len(groups):
        return table
    heads, details = group_heads(groups), _group_details(groups)
    names = [title_data(group.dataset) for group in groups]
    on_top = [
        dataclasses.replace(
            column,
            head=heads[group] if names.count(title_data(group.dataset)) == 1 else details[group],
            group="" if names.count(title_data(group.dataset)) == 1 else title_data(group.dataset),
        )
        for group, column in zip(groups, table.columns, strict=True)
    ]
    sentence = "The numbers are T1."
    layout = Remark("layout", sentence, sentence)
    below = [each for remark in table.remarks for each in ([remark, layout] if remark.kind == "stage" else [remark])]
    order = sorted(range(len(groups)), key=lambda number: names.index(names[number]))
    return take_columns(dataclasses.replace(table, columns=tuple(on_top), remarks=tuple(below)), order)


def ranked_blocks(keys: Iterable[_Ranked], rank_together: bool) -> list[list[_Ranked]]:
    """Return the rows that may be ranked with each other, none twice: by setting, oracle selection apart."""
    keys = list(dict.fromkeys(keys))
    if rank_together:
        return [keys]
    return [[key for key in keys if key.block == kind] for kind in sorted({key.block for key in keys})]


def _mark_column(
    block: Sequence[RowKey],
    column: ColumnKey,
    in_column: Mapping[tuple[RowKey, GroupKey, ProtocolKey], Row],
    ranking: Ranking,
) -> set[int]:
    """Return the numbers of the rows of a block that are marked in a column of measured numbers."""
    rows = ((key, in_column.get((key, column.group, column.protocol))) for key in block)
    measured = {key: row for key, row in rows if row and column.metric in row.metrics and not column.published}
    best = ranking.mark_column(measured, column.metric)
    return {number for number, key in enumerate(block) if key in best}


def _mark_cells(rows: Sequence[TableRow], marked: Sequence[Collection[int]], title: str = "") -> Block:
    """Return a block of rows with the mark of the best on those numbered in `marked`, which has a set per column."""
    return Block(
        tuple(
            dataclasses.replace(
                row,
                cells=tuple(
                    dataclasses.replace(cell, emphasis="best") if cell and number in numbers else cell
                    for cell, numbers in zip(row.cells, marked, strict=True)
                ),
            )
            for number, row in enumerate(rows)
        ),
        title,
    )


def _published_cell(entry: Published, notes: dict[str, int], numbers: NumberFormat, marks: str = "") -> Cell:
    """Return a published number; `notes` receives its footnote, numbered in reading order."""
    text = f"{entry.source}, {entry.table}: {entry.note}."
    value = f"{entry.value:.{_published_decimals(numbers)}f}"
    return Cell(value, marks=marks, note=notes.setdefault(text, len(notes) + 1) if entry.note else 0)


def _published_decimals(numbers: NumberFormat) -> int:
    """Return the digits after the point of published numbers, which have no more than they were printed with."""
    return min(numbers.decimals, 1)


def _cited_blocks(
    cited: Sequence[CitedRow],
    columns: Sequence[ColumnKey],
    notes: dict[str, int],
    numbers: NumberFormat,
    rank_together: bool,
) -> list[Block]:
    """Return the blocks of published rows, those of a source below its name."""
    blocks = []
    for name, same in group_values((row.source if rank_together else row.cited_from, row) for row in cited).items():
        for number, block in enumerate(ranked_blocks(same, rank_together)):
            placed = [{_column(columns, entry): entry for entry in row.entries} for row in block]
            rows = [
                TableRow(
                    row.title,
                    row.marks,
                    tuple(_published_cell(entries[key], notes, numbers) if key in entries else None for key in columns),
                    method=row.entries[0].method.partition(":")[0],
                )
                for row, entries in zip(block, placed, strict=True)
            ]
            values = ({at: row[key].value for at, row in enumerate(placed) if key in row} for key in columns)
            marked = [mark_best(of_column, decimals=_published_decimals(numbers)) for of_column in values]
            cited_block = _mark_cells(rows, marked, "" if number else f"published: {name}")
            blocks.append(dataclasses.replace(cited_block, source=same[0].source))
    return blocks


def _column(columns: Sequence[ColumnKey], entry: Published) -> ColumnKey:
    """Return the column that a published number belongs to: that of its features and semantics, if it exists."""
    wanted = entry.dataset, entry.metric, PROTOCOL[entry.metric]
    fitting = [column for column in columns if (column.group.dataset, column.metric, column.protocol[0]) == wanted]
    alike = [column for column in fitting if column.group[1:3] == (entry.features, entry.semantics)]
    described = [column for column in fitting if column.group.semantics == entry.semantics]
    return (alike or described or fitting)[0]


def _describe_choice(rows: Sequence[Row], metrics: Sequence[str], shown: Sequence[Published]) -> list[Remark]:
    """Return remarks on the numbers that were preferred to those of other sources, and on those that are not shown."""
    below: list[Remark] = []
    if disputed := {entry.title: None for entry in shown if citations.find_rivals(entry)}:
        text = f"Other sources print other values for {join_words(list(disputed))}; first-hand ones are preferred."
        below += remarks("published", [text], text)
    if left_out := citations.find_left_out(rows, metrics, shown):
        counts = collections.Counter(
            "other images or splits"
            if entry.kind == "other"
            else f"{entry.features}, {entry.semantics}{' ‡' * entry.transductive}"
            for entry in left_out
        )
        what = "; ".join(f"{count} on {data}" for data, count in counts.items())
        text = f"{format_count(len(left_out), 'published number')} of these methods left out, which do not compare"
        below += remarks("published", [f"{text}: {what}."], f"{text}.")
    return below


def _caution(placed: Sequence[tuple[Published, GroupKey]], heads: Mapping[GroupKey, str]) -> list[Remark]:
    """Return remarks on published numbers, each with the data that it belongs to."""
    below: list[Remark] = []
    if read := sorted({entry.oracle for entry, _ in placed if entry.oracle}, key=str.casefold):
        code, whose = join_words(read), "their" if len(read) > 1 else "its"
        text = f"The public code of {code} picks the epoch on test images: {whose} published numbers are read as "
        below += remarks("oracle", [f"{text}oracle (†)."], f"† published: the code of {code} picks on test images.")
    differing = [(entry, group) for entry, group in placed if (entry.features, entry.semantics) != group[1:3]]
    titles = group_values(((entry.features, entry.semantics), entry.title) for entry, _ in differing)
    unlike = group_values(
        (
            (entry.features, entry.semantics),
            heads[group] if "(" in heads[group] else title_data(name_data(*group[:3])),
        )
        for entry, group in differing
    )
    for (features, semantics), data in unlike.items():
        others = [name for key, names in unlike.items() if key != (features, semantics) for name in names]
        whose = f" of {join_words(titles[features, semantics])}" if {*others} & {*data} else ""
        text = (
            f"The published numbers{whose} rest on {features} features and {semantics} semantics, unlike the measured "
            f"ones of {', '.join(data)}: they do not compare directly."
        )
        below += remarks("warning", [text])
    return below
