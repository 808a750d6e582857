"""Published rows below a table of measured ones, in blocks of their own that are ranked by themselves."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from zslbench.results.published import PROTOCOL, Published
from zslbench.results.tables.caption import TRANSDUCTIVE
from zslbench.results.tables.cited_rows import CitedRow
from zslbench.results.tables.cited_text import cited_sentences, footnote, nothing_cited
from zslbench.results.tables.layout import Column, GroupKey, group_heads, told
from zslbench.results.tables.ranked import podium
from zslbench.results.tables.table import Cell, Grid, Line, Remark, remarks, with_blocks


def with_cited(
    grid: Grid, columns: Mapping[GroupKey, Sequence[Column]], cited: Sequence[CitedRow], source: str, together: bool
) -> Grid:
    """Return the grid with published rows below the measured ones, and what has to be said of them.

    Args:
        grid: of what was measured; columns: its columns.
        cited: the rows, those of a source one after the other.
        source: as it was asked for: a citation key or ``best``.
        together: rank the inductive, transductive and oracle rows of a source with each other.
    """
    if not cited:
        return dataclasses.replace(grid, remarks=(*grid.remarks, *remarks("published", [nothing_cited(source)])))
    notes = {text: number for number, text in enumerate(grid.notes, start=1)}
    titled: list[tuple[str, Sequence[Line]]] = list(grid.titled)
    for key in dict.fromkeys(row.source for row in cited):
        rows = [row for row in cited if row.source == key]
        kinds = sorted({_kind(row) for row in rows}) if not together else [None]
        blocks = [_block([row for row in rows if kind in (None, _kind(row))], columns, notes) for kind in kinds]
        titled += [("" if place else f"published: {key}", block) for place, block in enumerate(blocks)]
    below = (*grid.remarks, *_remarks(grid, columns, cited, together))
    return dataclasses.replace(with_blocks(grid, titled), remarks=below, notes=tuple(notes))


def _kind(row: CitedRow) -> tuple[bool, bool]:
    return row.oracle, row.transductive


def _block(rows: Sequence[CitedRow], columns: Mapping[GroupKey, Sequence[Column]], notes: dict[str, int]) -> list[Line]:
    """Return the lines of rows that are ranked with each other; `notes` receives their footnotes."""
    placed = {
        (place, _column(columns, entry)): entry for place, row in enumerate(rows) for entry in row.entries.values()
    }
    marked = {}
    for column in {column for _, column in placed}:
        shown = {place: f"{entry.value:.1f}" for (place, other), entry in placed.items() if other == column}
        marked[column] = podium(shown)

    def cell(place: int, column: Column) -> Cell | None:
        if (entry := placed.get((place, column))) is None:
            return None
        best, second = marked[column]
        return Cell(f"{entry.value:.1f}", best=place in best, second=place in second, note=footnote(entry, notes))

    return [
        Line(row.title, row.marks, tuple(tuple(cell(place, column) for column in own) for own in columns.values()))
        for place, row in enumerate(rows)
    ]


def _column(columns: Mapping[GroupKey, Sequence[Column]], entry: Published) -> Column:
    """Return the column that a published number belongs to: on its features and semantics, where they were measured."""
    found = [
        column
        for own in columns.values()
        for column in own
        if (column.group[0], column.metric, column.protocol[0]) == (entry.dataset, entry.metric, PROTOCOL[entry.metric])
    ]
    alike = [column for column in found if column.group[1:3] == (entry.features, entry.semantics)]
    described = [column for column in found if column.group[2] == entry.semantics]
    return (alike or described or found)[0]


def _remarks(
    grid: Grid, columns: Mapping[GroupKey, Sequence[Column]], cited: Sequence[CitedRow], together: bool
) -> list[Remark]:
    entries = [entry for row in cited for entry in row.entries.values()]
    heads = group_heads(list(columns))
    unlike: dict[tuple[str, str], dict[str, None]] = {}
    for entry in entries:
        group = _column(columns, entry).group
        if (entry.features, entry.semantics) != group[1:3]:
            unlike.setdefault((entry.features, entry.semantics), {})[told(group, heads)] = None
    kinds = len({_kind(row) for row in cited}) > 1 and not together
    ranked = "each block ranked by itself" if kinds else "ranked by themselves"
    found = remarks("published", [f"Rows below “published” are cited, not measured here, and {ranked}."])
    if any(row.transductive for row in cited) and all(remark.kind != "transductive" for remark in grid.remarks):
        found.append(TRANSDUCTIVE)
    sentences = cited_sentences(entries, {choice: list(names) for choice, names in unlike.items()})
    return found + remarks("published", sentences)
