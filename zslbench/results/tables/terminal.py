"""Tables for a terminal."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterator, Sequence

from zslbench.results.tables.table import Cell, Table, column_widths, panels

MISSING = "–"
_EMPHASIS = {"": "", "best": "*", "second": "°", "outstanding": "*"}
_COLUMN_GAP, _GROUP_GAP = 3, 2
_NARROWEST = 16
"""The fewest characters that words are folded to."""


def write_terminal(table: Table, width: int) -> str:
    """Write a table for `width` characters: what does not fit goes below, words are folded."""
    from rich.cells import cell_len

    names = max(map(cell_len, [*(block.title for block in table.blocks), *(line.title for line in table.lines)]))
    if table.is_text:
        parts = [table]
    else:
        widths = column_widths(table, lambda cell, longest: len(_plain(cell, longest)), cell_len)
        parts = panels(table, widths, width - names, (_GROUP_GAP, _COLUMN_GAP), cell_len)
    sentences = [*(remark.text for remark in table.remarks), *table.ranking_sentence("marked *", "marked °")]
    below = [_wrap(sentence, width, 2) for sentence in sentences]
    below += [_wrap(f"({letter}) {text}", width, 4) for letter, text in table.settings]
    below += [_wrap(f"[{number}] {text}", width, 4) for number, text in enumerate(table.notes, start=1)]
    shown = "\n\n".join(_panel(part, width) for part in parts) if table.lines else ""
    head = f"{table.title}\n" if table.title else ""
    return "\n\n".join(part for part in (head + shown, table.drawing, "\n".join(below)) if part)


def _wrap(text: str, width: int, indent: int) -> str:
    return textwrap.fill(text, max(width, 40), subsequent_indent=" " * indent, break_on_hyphens=False)


def _plain(cell: Cell | None, longest: int) -> str:
    if cell is None:
        return MISSING.rjust(longest)
    note = f" [{cell.note}]" if cell.note else ""
    std = f" ± {cell.std}" if cell.std else ""
    return f"{cell.text:>{longest}}{std}{cell.marks}{_EMPHASIS[cell.emphasis]}{note}"


def _panel(table: Table, width: int) -> str:
    """Set one panel: the names and each group with a rule of its own, side by side, heads over them."""
    from rich.cells import cell_len, set_cell_size

    heads = [table.name, *(column.head for column in table.columns)]
    rows: list[Sequence[str]] = [*_rows(table)]
    widths = [max(map(cell_len, column)) for column in zip(heads, *rows, strict=True)]
    if table.is_text:
        widths = _folded_widths(table, widths, width)
        rows = [line for row in rows for line in _folded(table, row, widths)]
    groups = [("", [0]), *((head, [number + 1 for number in numbers]) for head, numbers in table.groups)]
    gap = " " * _COLUMN_GAP

    def set_row(row: Sequence[str]) -> list[str]:
        return [gap.join(set_cell_size(row[n], widths[n]) for n in numbers) for _, numbers in groups]

    below = set_row(heads)
    lines = [[head for head, _ in groups], below, ["─" * cell_len(text) for text in below], *map(set_row, rows)]
    room = [max(cell_len(head), cell_len(text)) for (head, _), text in zip(groups, below, strict=True)]
    between = " " * _GROUP_GAP
    shown = [between.join(map(set_cell_size, line, room)).rstrip() for line in lines]
    return "\n".join(shown if any(head for head, _ in groups) else shown[1:])


def _rows(table: Table) -> list[list[str]]:
    """Return the texts of each row, a blank row between blocks."""
    blank = [""] * len(table.columns)
    longest = [
        0 if column.kind == "text" else len(text) or 1
        for column, text in zip(table.columns, table.longest, strict=True)
    ]
    rows = []
    for number, block in enumerate(table.blocks):
        rows += [["", *blank]] if number else []
        rows += [[block.title, *blank]] if block.title else []
        rows += [[line.title, *map(_plain, line.cells, longest)] for line in block.lines]
    return rows


def _folded_widths(table: Table, widths: Sequence[int], width: int) -> list[int]:
    """Return the widths of columns of which the widest one of words is narrowed until the table fits."""
    over = sum(widths) + _GROUP_GAP * (len(widths) - 1) - width
    words = [0, *(number for number, column in enumerate(table.columns, start=1) if column.kind == "text")]
    widest = max(words, key=lambda number: widths[number])
    narrowed = min(widths[widest], max(widths[widest] - over, _NARROWEST))
    return [narrowed if number == widest and over > 0 else room for number, room in enumerate(widths)]


def _folded(table: Table, row: Sequence[str], widths: Sequence[int]) -> Iterator[tuple[str, ...]]:
    """Yield the lines that a row takes where its words are folded to the width of their column."""
    from rich.cells import cell_len

    cells = [
        [text] if cell_len(text) <= width else textwrap.wrap(text, width, break_on_hyphens=False)
        for text, width in zip(row, widths, strict=True)
    ]
    yield from itertools.zip_longest(*cells, fillvalue="")
