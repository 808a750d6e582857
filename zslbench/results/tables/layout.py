"""Rows to a grid: methods down, data sets and metrics across, the best marked, published numbers beside."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from zslbench.results import published as citations
from zslbench.results.analysis.naming import LineKey, line_keys, short_names
from zslbench.results.analysis.selection_text import spans
from zslbench.results.analysis.summary import Row, Stat
from zslbench.results.published import Published
from zslbench.results.tables.caption import caption
from zslbench.results.tables.cited_text import cited_sentences, footnote, nothing_cited
from zslbench.results.tables.ranked import podium, ranked_blocks
from zslbench.results.tables.table import PUBLISHED_HEAD, Cell, Grid, Group, Line, remarks
from zslbench.visible import one_line

GroupKey = tuple[str, str, str, str, tuple[int, ...]]
ProtocolKey = tuple[str, int, str]
ORACLE_MARK = "†"


@dataclasses.dataclass(frozen=True)
class Column:
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
    measured: dict[tuple[LineKey, Column], Stat] = {}
    cited: dict[tuple[LineKey, Column], Published] = {}
    for row, key in zip(rows, keys, strict=True):
        for metric in metrics:
            if metric in row.metrics:
                measured[key, Column(group_key(row), _protocol_key(row), metric)] = row.metrics[metric]
                entry = citations.beside(row, metric, source) if source else None
                if entry:
                    cited[key, Column(group_key(row), _protocol_key(row), metric, published=True)] = entry
    columns = _columns(by_data, metrics, {column for _, column in measured} | {column for _, column in cited})
    heads = group_heads(list(columns))
    blocks = ranked_blocks(dict.fromkeys(keys), rank_together)
    notes: dict[str, int] = {}
    cells = _measured_cells(measured, blocks, intervals) | _cited_cells(cited, blocks, notes)
    below = caption(rows, keys, names, metrics, rank_together, intervals)
    if source:
        below += remarks("published", _sources(cited, names, heads, source))
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
        remarks=tuple(below),
        settings=settings,
        notes=tuple(notes),
    )


def group_key(row: Row) -> GroupKey:
    """Return the column group that a row belongs to: its data, and the folds of the dev stage."""
    return row.dataset, row.features, row.semantics, row.fingerprint, row.folds


def _protocol_key(row: Row) -> ProtocolKey:
    params = ",".join(f"{key}={value}" for key, value in sorted(row.protocol_params.items()))
    return row.protocol, row.protocol_version, params


def measured_columns(by_data: Sequence[Row], metrics: Sequence[str]) -> dict[GroupKey, list[Column]]:
    """Return the columns of measured numbers of each group, as `lay_out` has them."""
    used = {
        Column(group_key(row), _protocol_key(row), metric)
        for row in by_data
        for metric in metrics
        if metric in row.metrics
    }
    return _columns(by_data, metrics, used)


def _columns(by_data: Sequence[Row], metrics: Sequence[str], used: set[Column]) -> dict[GroupKey, list[Column]]:
    """Return the columns of each group: by metric, then protocol, a published one after its measured one."""
    out: dict[GroupKey, list[Column]] = {}
    protocols = {group: list[ProtocolKey]() for group in map(group_key, by_data)}
    for row in by_data:
        if _protocol_key(row) not in protocols[group_key(row)]:
            protocols[group_key(row)].append(_protocol_key(row))
    for group, keys in protocols.items():
        wanted = [Column(group, key, metric, pub) for metric in metrics for key in keys for pub in (False, True)]
        out[group] = [column for column in wanted if column in used]
    return out


def group_details(groups: Sequence[GroupKey]) -> dict[GroupKey, str]:
    """Say what tells each group from others of the same data set; nothing where there are none."""
    out = {}
    for group in groups:
        dataset, features, semantics, mark, folds = group
        same = [other for other in groups if other[0] == dataset]
        details = [features, semantics] if len({other[1:3] for other in same}) > 1 else []
        if len({other[3] for other in same if other[1:3] == group[1:3]}) > 1:
            details.append(mark[:8])
        if len({other[4] for other in same}) > 1:
            details.append(f"{'fold' if len(folds) == 1 else 'folds'} {spans(folds)}")
        out[group] = one_line(", ".join(details))
    return out


def group_heads(groups: Sequence[GroupKey]) -> dict[GroupKey, str]:
    """Name each group by its data set, and by what tells it from others of the same name."""
    details = group_details(groups).items()
    return {group: one_line(group[0]) + (f" ({text})" if text else "") for group, text in details}


def told(group: GroupKey, heads: Mapping[GroupKey, str]) -> str:
    """Name a group with its features and semantics, whether or not the head of its columns says them."""
    dataset, features, semantics, *_ = group
    return heads[group] if "(" in heads[group] else f"{dataset} ({features}, {semantics})"


def _metric_heads(columns: Sequence[Column]) -> tuple[str, ...]:
    heads = []
    for column in columns:
        same = [other for other in columns if other.metric == column.metric and not other.published]
        name, version, params = column.protocol
        told = f" {name}" + (f"[{params}]" if params else "") if len(same) > 1 else ""
        if len({other.protocol[1] for other in same if other.protocol[0] == name}) > 1:
            told += f" v{version}"
        heads.append(PUBLISHED_HEAD if column.published else column.metric + told)
    return tuple(heads)


def _measured_cells(
    measured: Mapping[tuple[LineKey, Column], Stat], blocks: Sequence[Sequence[LineKey]], intervals: bool
) -> dict[tuple[LineKey, Column], Cell]:
    cells = {}
    for column in dict.fromkeys(column for _, column in measured):
        for block in blocks:
            found = {key: measured[key, column] for key in block if (key, column) in measured}
            shown = {key: f"{stat.mean:.1f}" for key, stat in found.items()}
            best, second = podium(shown)
            marks = ORACLE_MARK if column.metric.endswith(ORACLE_MARK) else ""
            for key, stat in found.items():
                text, spread = shown[key], _spread(stat, intervals)
                cells[key, column] = Cell(text, spread, best=key in best, second=key in second, marks=marks)
    return cells


def _spread(stat: Stat, intervals: bool) -> str:
    ends = stat.interval() if intervals else None
    if ends:
        return f"{(ends[1] - ends[0]) / 2:.1f}"
    return "" if stat.std is None else f"{stat.std:.1f}"


def _cited_cells(
    cited: Mapping[tuple[LineKey, Column], Published], blocks: Sequence[Sequence[LineKey]], notes: dict[str, int]
) -> dict[tuple[LineKey, Column], Cell]:
    """Return the cells of published numbers; `notes` receives their footnotes, numbered in reading order."""
    order = {key: place for place, key in enumerate(key for block in blocks for key in block)}
    cells = {}
    for (key, column), entry in sorted(cited.items(), key=lambda item: order[item[0][0]]):
        marks = ORACLE_MARK if entry.oracle else ""
        cells[key, column] = Cell(f"{entry.value:.1f}", note=footnote(entry, notes), marks=marks)
    return cells


def _sources(
    cited: Mapping[tuple[LineKey, Column], Published],
    names: Mapping[LineKey, str],
    heads: Mapping[GroupKey, str],
    source: str,
) -> list[str]:
    """Say whose the published numbers are, and where they rest on other features or semantics."""
    if not cited:
        return [nothing_cited(source)]
    used: dict[str, dict[str, None]] = {}
    unlike: dict[tuple[str, str], dict[str, None]] = {}
    for (key, column), entry in cited.items():
        used.setdefault(entry.source, {})[names[key]] = None
        if (entry.features, entry.semantics) != column.group[1:3]:
            unlike.setdefault((entry.features, entry.semantics), {})[told(column.group, heads)] = None
    whose = "; ".join(f"{key} ({', '.join(lines)})" for key, lines in used.items())
    return [
        f"pub.: published, not measured here: {whose}.",
        *cited_sentences(cited.values(), {choice: list(groups) for choice, groups in unlike.items()}),
    ]
