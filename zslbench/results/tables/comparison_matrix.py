"""Comparisons at a glance: a matrix of differences per data set, rows against rows, best first."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from zslbench.results.analysis.comparison import Comparison, Pair
from zslbench.results.analysis.rows import group_values
from zslbench.results.tables.captions import ORACLE, TRANSDUCTIVE, describe_sources, distinct
from zslbench.results.tables.comparison_tables import Comparisons, is_undecidable, warn_of_few_draws
from zslbench.results.tables.table import Block, Cell, Column, Remark, Table, TableRow, remarks, signed
from zslbench.visible import format_count, one_line

_CELL = 9
"""Characters of a column: a difference with its sign and mark, and the gap before it."""
_FEWEST = 3
_NAMES = 0.4
"""The largest share of a line for names."""


def comparison_matrices(done: Comparisons, width: int = 100) -> list[Table]:
    """Return a matrix for each data set, protocol and metric, as large as fits into lines of `width` characters."""
    tables = [_matrix(comparison, done, width) for comparison in done.comparisons]
    last = tables[-1]
    marked = any(cell and cell.bold for table in tables for row in table.rows for cell in row.cells)
    return [*tables[:-1], dataclasses.replace(last, remarks=(*last.remarks, *_describe(done, marked)))]


def _matrix(comparison: Comparison, done: Comparisons, width: int) -> Table:
    """Return the differences of one comparison: row minus column, in points."""
    match = comparison.match
    titles = [entrant.title for entrant in match.entrants]
    order = sorted(range(len(titles)), key=lambda number: -comparison.values[number])
    shown = order
    while len(shown) > _FEWEST and _room(max(len(titles[row]) for row in shown), len(shown), width) > width:
        shown = shown[:-1]
    pairs = {(pair.first, pair.second): pair for pair in comparison.pairs}
    rows = []
    for place, row in enumerate(shown, start=1):
        cells = [_difference(pairs, row, column, done.alpha) for column in shown]
        rows.append(TableRow(f"{place} {titles[row]}", "", (Cell(f"{comparison.values[row]:.1f}"), *cells)))
    every = len(order) + match.left_out
    best = f"The best {len(shown)} of {every} rows by {comparison.metric}; name others to see them."
    return Table(
        (Column(comparison.metric), *(Column(str(place)) for place in range(1, len(shown) + 1))),
        (Block(tuple(rows)),),
        tuple(remarks("note", [best] if len(shown) < every else [])),
        title=f"{match.head}, {match.row.protocol}: {comparison.metric}, and its difference row − column",
    )


def _room(longest: int, rows: int, width: int) -> int:
    """Return the characters of a line of a matrix; long names are folded."""
    return min(longest + len(f"{rows} "), round(_NAMES * width)) + _CELL * (rows + 1)


def _difference(pairs: Mapping[tuple[int, int], Pair], row: int, column: int, alpha: float) -> Cell:
    if row == column:
        return Cell("")
    pair, sign = (pairs[row, column], 1) if (row, column) in pairs else (pairs[column, row], -1)
    stands_out = all(verdict.holm <= alpha for verdict in pair.verdicts.values())
    return Cell(signed(sign * pair.difference), emphasis="outstanding" if stands_out else "")


def _name_undecidable(done: Comparisons) -> list[str]:
    """Say how many pairs have no mark because their classes, or images, are too few to tell anything."""
    sentences = []
    for kind in done.how.over:
        where = []
        for comparison in done.comparisons:
            if number := sum(is_undecidable(pair.verdicts[kind]) for pair in comparison.pairs):
                data = f"{comparison.match.row.data_name}, {comparison.metric}"
                where.append(f"{number} of {format_count(len(comparison.pairs), 'pair')} ({data})")
        other = [f"; --over {name} leaves them out" for name in done.how.over if name != kind]
        if where:
            sentences.append(f"Unmarked, as too few {kind} differ to draw from: {', '.join(where)}{''.join(other)}.")
    return sentences


def _describe(done: Comparisons, marked: bool) -> list[Remark]:
    entrants = [entrant for comparison in done.comparisons for entrant in comparison.match.entrants]
    kinds = " and ".join(f"over {kind}" for kind in done.how.over)
    test = f"p (Holm) ≤ {done.alpha:g} in the paired bootstrap {kinds}"
    marks = f"* or bold: {test}" if marked else f"none has {test}"
    method = f"Differences in points, {done.stage} stage; {marks}. Intervals and p: name methods, or --details."
    below = remarks("note", [method]) + remarks("note", _name_undecidable(done)) + warn_of_few_draws(done)
    settings = {entrant.row.setting == "transductive" for entrant in entrants}
    selections = distinct(entrant.row.selection for entrant in entrants)
    if len(settings) > 1:
        below += remarks("note", ["Careful: differences between ‡ and other rows are also differences of setting."])
    below += [TRANSDUCTIVE] if True in settings else []
    below += [ORACLE] if "oracle" in selections else []
    if len(selections) > 1:
        below += remarks("note", [f"Careful: rows of {' and '.join(selections)} selection differ in tuning, too."])
    sources = group_values((entrant.row.source_state, one_line(entrant.name)) for entrant in entrants)
    changed, unknown = (sources.get(state, []) for state in ("changed", "unknown"))
    return below + describe_sources(changed, unknown) + remarks("warning", done.remarks)
