"""A grid of one method as a matrix: the values of one hyper-parameter down, those of another across."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterable, Mapping, Sequence

from zslbench.errors import BadValue, UnknownName
from zslbench.metrics import order_metrics
from zslbench.results.analysis.row_names import RowKey, describe_shared, row_keys, value_order
from zslbench.results.analysis.rows import Row
from zslbench.results.tables.captions import describe_rows
from zslbench.results.tables.layout import column_key, group_heads, ranked_blocks
from zslbench.results.tables.ranking import Ranking
from zslbench.results.tables.table import Block, Cell, Column, NumberFormat, Table, TableRow, remarks, stat_cell
from zslbench.spec import brackets, write_value
from zslbench.visible import one_line

_HEADLINES = ("T1", "H")


def read_pivot(pivot: str | Sequence[str] | None, useless: Mapping[str, object]) -> tuple[str, ...]:
    """Return the two hyper-parameters that ``gamma,lam`` names; None names none.

    BadValue: another number of them; or an option was given that is `useless` with it.
    """
    if pivot is None:
        return ()
    if others := [option for option, value in useless.items() if value]:
        raise BadValue(f"--pivot shows one method's grid; leave out {' and '.join(others)}.")
    given = pivot if isinstance(pivot, str) else ",".join(pivot)
    names = tuple(part.strip() for part in given.split(",") if part.strip())
    if len(names) != 2 or names[0] == names[1]:
        raise BadValue(f"--pivot {shlex.quote(given)} is not of two hyper-parameters; write it as --pivot gamma,lam.")
    return names


def pivot_tables(
    rows: Sequence[Row], names: Sequence[str], metrics: Sequence[str] | None, ranking: Ranking, numbers: NumberFormat
) -> list[Table]:
    """Return the tables of one method's grid, in which nothing but the hyper-parameters `names` varies.

    Args:
        rows: in the order of data sets; those of methods without these hyper-parameters are left out.
        names: the values of the first go down, those of the second across, in a table per data set and metric.
        metrics: which; None: T1 and H.

    Raises:
        UnknownName: no row has such a hyper-parameter. BadValue: several methods, or something else varies.
    """
    rows, left_out = _choose_rows(rows, names)
    keys = row_keys(rows, column_key)
    groups = {
        column: [pair for pair in zip(rows, keys, strict=True) if column_key(pair[0]) == column]
        for column in dict.fromkeys(map(column_key, rows))
    }
    heads = group_heads([group for group, _ in groups])
    tables: list[Table] = []
    used: dict[str, None] = {}
    for (group, protocol), pairs in groups.items():
        known = order_metrics(name for row, _ in pairs for name in row.metrics)
        usual = [name for name in known if name in _HEADLINES]
        shown = [name for name in known if name in metrics] if metrics else usual or known[:1]
        used |= dict.fromkeys(shown)
        title = f"{pairs[0][1].name} on {heads[group]}, {protocol[0]}"
        tables += [
            _cross_values(pairs, names, _cells(pairs, metric, ranking, numbers), f"{title}: {metric}")
            for metric in shown
        ]
    if not tables:
        raise BadValue(f"these runs have no metric {' or '.join(metrics or ())}; choose another with --metric.")
    short, shared = [key.short for key in keys], describe_shared(keys)
    below = describe_rows(rows, short, list(used), ranking.together, numbers.intervals, shared)
    below += remarks("note", [f"Not in the grid: {', '.join(left_out)}."] if left_out else [])
    below += ranking.describe()
    last = dataclasses.replace(tables[-1], remarks=tuple(below), ranked_by=ranking.ranked_by)
    return [*tables[:-1], last]


def _choose_rows(rows: Sequence[Row], names: Sequence[str]) -> tuple[list[Row], list[str]]:
    """Return the rows that have the hyper-parameters, after checking that nothing else varies among them.

    Beside rows of a method as typed, those of its presets are left out; their names are returned, too.
    """
    every = sorted({parameter for row in rows for parameter in row.params})
    for name in names:
        if name not in every:
            raise UnknownName("hyper-parameter", name, every)
    rows = [row for row in rows if all(name in row.params for name in names)]
    heads = list(dict.fromkeys(row.label.partition("[")[0] for row in rows))
    plain, *presets = sorted(heads, key=len) or [""]
    if all(head.startswith(f"{plain}@") for head in presets):
        rows, heads = [row for row in rows if row.label.partition("[")[0] == plain], heads and [plain]
    if len(heads) != 1:
        which = f"of {', '.join(heads)}" if heads else f"of no method that has both {' and '.join(names)}"
        example = f", as in -m {heads[0]}" if heads else ""
        raise BadValue(f"a pivot is one method's grid, and these runs are {which}; choose one with --method{example}.")
    for column in dict.fromkeys(map(column_key, rows)):
        _check_rest([row for row in rows if column_key(row) == column], names)
    return rows, presets


def _check_rest(rows: Sequence[Row], names: Sequence[str]) -> None:
    rest = [
        {"selection": row.selection, "version": row.version}
        | {parameter: value for parameter, value in row.params.items() if parameter not in names}
        for row in rows
    ]
    for parameter in dict.fromkeys(parameter for facts in rest for parameter in facts):
        values = list(dict.fromkeys(write_value(facts.get(parameter)) for facts in rest))
        if len(values) > 1:
            head = rows[0].label.partition("[")[0]
            choice = f"--method '{head}{brackets({parameter: rest[0].get(parameter)})}'"
            if parameter in ("selection", "version"):
                choice = "--selection" if parameter == "selection" else "other --runs"
            raise BadValue(
                f"besides {' and '.join(names)}, {parameter} varies among the runs of {head} on {rows[0].data_title} "
                f"({', '.join(values)}); choose one with {choice}."
            )


def _cells(
    pairs: Iterable[tuple[Row, RowKey]], metric: str, ranking: Ranking, numbers: NumberFormat
) -> dict[RowKey, Cell]:
    measured = {key: row for row, key in pairs if metric in row.metrics}
    blocks = ranked_blocks(measured, ranking.together)
    best = {key for block in blocks for key in ranking.mark_column({key: measured[key] for key in block}, metric)}
    one_kind = len({key.marks for key in measured}) == 1
    cells = {}
    for key, row in measured.items():
        cell = stat_cell(row.metrics[metric], "" if one_kind else key.marks, numbers)
        if cell:
            cells[key] = dataclasses.replace(cell, emphasis="best" if key in best else "")
    return cells


def _values(pairs: Iterable[tuple[Row, RowKey]], name: str) -> list[str]:
    """Return the values of a hyper-parameter as the spec grammar has them, numbers by size."""
    values = sorted((row.params[name] for row, _ in pairs), key=value_order)
    return list(dict.fromkeys(one_line(write_value(value)) for value in values))


def _cross_values(
    pairs: Sequence[tuple[Row, RowKey]], names: Sequence[str], cells: dict[RowKey, Cell], title: str
) -> Table:
    down, across = names
    keys = {tuple(one_line(write_value(row.params[name])) for name in names): key for row, key in pairs}
    columns = _values(pairs, across)
    rows = [
        TableRow(
            value, "", tuple(cells.get(keys[value, other]) if (value, other) in keys else None for other in columns)
        )
        for value in _values(pairs, down)
    ]
    heads = tuple(Column(value, one_line(across), dataset=pairs[0][0].dataset) for value in columns)
    return Table(heads, (Block(tuple(rows)),), name=one_line(down), title=title + _marks(pairs))


def _marks(pairs: Sequence[tuple[Row, RowKey]]) -> str:
    """Return the marks that all rows of a table have."""
    marks = {key.marks for _, key in pairs}
    return f" {next(iter(marks))}".rstrip() if len(marks) == 1 else ""
