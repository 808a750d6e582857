"""Rows to a grid: methods down, data sets and metrics across, the best marked, published numbers beside."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from zslbench.results import published as citations
from zslbench.results.caption import caption
from zslbench.results.grid import Cell, Grid, Group, Line
from zslbench.results.naming import LineKey, line_keys, printable, short_names
from zslbench.results.published import Published
from zslbench.results.selection_text import spans
from zslbench.results.summary import Row, Stat

GroupKey = tuple[str, str, str, str, tuple[int, ...]]
ProtocolKey = tuple[str, int, str]
PUBLISHED_HEAD = "pub."
ORACLE_MARK = "†"


@dataclasses.dataclass(frozen=True)
class _Column:
    """One column of a group: a metric under a protocol, measured or published."""

    group: GroupKey
    protocol: ProtocolKey
    metric: str
    published: bool = False


def lay_out(
    rows: Sequence[Row],
    by_data: Sequence[Row],
    metrics: Sequence[str],
    source: str | None,
    rank_together: bool,
    intervals: bool = False,
) -> Grid:
    """Return the grid of `rows`.

    Args:
        rows: in the order of the lines.
        by_data: the same rows in the order of the columns.
        metrics: which, in order.
        source: of published numbers; None leaves them out.
        rank_together: compare all lines with each other, not only those of one block.
        intervals: ± is the half-width of the 95 % t interval, not the sample standard deviation.
    """
    keys = line_keys(rows, lambda row: (group_key(row), _protocol_key(row)))
    names, settings = short_names(dict.fromkeys(keys))
    measured: dict[tuple[LineKey, _Column], Stat] = {}
    cited: dict[tuple[LineKey, _Column], Published] = {}
    for row, key in zip(rows, keys, strict=True):
        for metric in metrics:
            if metric in row.metrics:
                measured[key, _Column(group_key(row), _protocol_key(row), metric)] = row.metrics[metric]
                entry = citations.beside(row, metric, source) if source else None
                if entry:
                    cited[key, _Column(group_key(row), _protocol_key(row), metric, published=True)] = entry
    columns = _columns(by_data, metrics, {column for _, column in measured} | {column for _, column in cited})
    heads = group_heads(list(columns))
    blocks = ranked_blocks(dict.fromkeys(keys), rank_together)
    notes: dict[str, int] = {}
    cells = _measured_cells(measured, blocks, intervals) | _cited_cells(cited, blocks, notes)
    sentences = caption(rows, keys, names, metrics, rank_together, intervals)
    if source:
        sentences += _sources(cited, names, heads, source)
    return Grid(
        groups=tuple(Group(heads[group], _metric_heads(own)) for group, own in columns.items()),
        blocks=tuple(
            tuple(
                Line(
                    names[key],
                    key.marks,
                    tuple(tuple(cells.get((key, column)) for column in own) for own in columns.values()),
                )
                for key in block
            )
            for block in blocks
        ),
        caption=tuple(map(printable, sentences)),
        settings=settings,
        notes=tuple(notes),
    )


def group_key(row: Row) -> GroupKey:
    """Return the column group that a row belongs to: its data, and the folds of the dev stage."""
    return row.dataset, row.features, row.semantics, row.fingerprint, row.folds


def _protocol_key(row: Row) -> ProtocolKey:
    params = ",".join(f"{key}={value}" for key, value in sorted(row.protocol_params.items()))
    return row.protocol, row.protocol_version, params


def _columns(by_data: Sequence[Row], metrics: Sequence[str], used: set[_Column]) -> dict[GroupKey, list[_Column]]:
    """Return the columns of each group: by metric, then protocol, a published one after its measured one."""
    out: dict[GroupKey, list[_Column]] = {}
    protocols = {group: list[ProtocolKey]() for group in map(group_key, by_data)}
    for row in by_data:
        if _protocol_key(row) not in protocols[group_key(row)]:
            protocols[group_key(row)].append(_protocol_key(row))
    for group, keys in protocols.items():
        wanted = [_Column(group, key, metric, pub) for metric in metrics for key in keys for pub in (False, True)]
        out[group] = [column for column in wanted if column in used]
    return out


def group_heads(groups: Sequence[GroupKey]) -> dict[GroupKey, str]:
    """Name each group by its data set, and by what tells it from others of the same name."""
    heads = {}
    for group in groups:
        dataset, features, semantics, mark, folds = group
        same = [other for other in groups if other[0] == dataset]
        details = [features, semantics] if len({other[1:3] for other in same}) > 1 else []
        if len({other[3] for other in same if other[1:3] == group[1:3]}) > 1:
            details.append(mark[:8])
        if len({other[4] for other in same}) > 1:
            details.append(f"{'fold' if len(folds) == 1 else 'folds'} {spans(folds)}")
        heads[group] = printable(f"{dataset} ({', '.join(details)})" if details else dataset)
    return heads


def _metric_heads(columns: Sequence[_Column]) -> tuple[str, ...]:
    heads = []
    for column in columns:
        same = [other for other in columns if other.metric == column.metric and not other.published]
        name, version, params = column.protocol
        told = f" {name}" + (f"[{params}]" if params else "") if len(same) > 1 else ""
        if len({other.protocol[1] for other in same if other.protocol[0] == name}) > 1:
            told += f" v{version}"
        heads.append(PUBLISHED_HEAD if column.published else column.metric + told)
    return tuple(heads)


def ranked_blocks(keys: Mapping[LineKey, None], rank_together: bool) -> list[list[LineKey]]:
    """Return the lines that may be ranked with each other: by setting, oracle selection apart."""
    if rank_together:
        return [list(keys)]
    kinds = sorted({key.block for key in keys})
    return [[key for key in keys if key.block == kind] for kind in kinds]


def _measured_cells(
    measured: Mapping[tuple[LineKey, _Column], Stat], blocks: Sequence[Sequence[LineKey]], intervals: bool
) -> dict[tuple[LineKey, _Column], Cell]:
    cells = {}
    for column in dict.fromkeys(column for _, column in measured):
        for block in blocks:
            found = {key: measured[key, column] for key in block if (key, column) in measured}
            shown = {key: f"{stat.mean:.1f}" for key, stat in found.items()}
            low, top = min(map(float, shown.values()), default=0.0), max(map(float, shown.values()), default=0.0)
            for key, stat in found.items():
                best = low < top == float(shown[key])
                marks = ORACLE_MARK if column.metric.endswith(ORACLE_MARK) else ""
                cells[key, column] = Cell(shown[key], _spread(stat, intervals), best=best, marks=marks)
    return cells


def _spread(stat: Stat, intervals: bool) -> str:
    ends = stat.interval() if intervals else None
    if ends:
        return f"{(ends[1] - ends[0]) / 2:.1f}"
    return "" if stat.std is None else f"{stat.std:.1f}"


def _cited_cells(
    cited: Mapping[tuple[LineKey, _Column], Published], blocks: Sequence[Sequence[LineKey]], notes: dict[str, int]
) -> dict[tuple[LineKey, _Column], Cell]:
    """Return the cells of published numbers; `notes` receives their footnotes, numbered in reading order."""
    order = {key: place for place, key in enumerate(key for block in blocks for key in block)}
    cells = {}
    for (key, column), entry in sorted(cited.items(), key=lambda item: order[item[0][0]]):
        number = 0
        if entry.note:
            number = notes.setdefault(f"{entry.source}, {entry.table}: {entry.note}.", len(notes) + 1)
        cells[key, column] = Cell(f"{entry.value:.1f}", note=number, marks=ORACLE_MARK if entry.oracle else "")
    return cells


def _sources(
    cited: Mapping[tuple[LineKey, _Column], Published],
    names: Mapping[LineKey, str],
    heads: Mapping[GroupKey, str],
    source: str,
) -> list[str]:
    """Say whose the published numbers are, and where they rest on other features or semantics."""
    if not cited:
        which = "" if source == "best" else f" in {source}"
        return [f"There are no published numbers{which} for these methods and data sets."]
    used: dict[str, dict[str, None]] = {}
    unlike: dict[tuple[str, str], dict[str, None]] = {}
    for (key, column), entry in cited.items():
        used.setdefault(entry.source, {})[names[key]] = None
        if (entry.features, entry.semantics) != column.group[1:3]:
            _, features, semantics, *_ = column.group
            told = heads[column.group] if "(" in heads[column.group] else f"{column.group[0]} ({features}, {semantics})"
            unlike.setdefault((entry.features, entry.semantics), {})[told] = None
    whose = "; ".join(f"{key} ({', '.join(lines)})" for key, lines in used.items())
    lines = [f"pub.: published, not measured here: {whose}."]
    if read := sorted({entry.oracle for entry in cited.values() if entry.oracle}, key=str.casefold):
        code = f"{', '.join(read[:-1])} and {read[-1]}" if len(read) > 1 else read[0]
        whose_numbers = "their" if len(read) > 1 else "its"
        lines.append(
            f"The public code of {code} picks the epoch on test images: {whose_numbers} published numbers are read "
            "as oracle (†)."
        )
    for (features, semantics), groups in unlike.items():
        lines.append(
            f"The published numbers rest on {features} features and {semantics} semantics, unlike the measured ones "
            f"of {', '.join(groups)}: they do not compare directly."
        )
    return lines
