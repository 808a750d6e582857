"""Tables as text: for the terminal and Markdown. LaTeX, and CSV and JSON, have modules of their own."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

from zslbench.results.tables import table as grids
from zslbench.results.tables.table import Cell, Grid

MISSING = "–"
BEST, SECOND = "*", "°"
COLUMN_GAP, GROUP_GAP = 3, 2
_MARKDOWN = re.compile(r"([\\`*_<>|~$&#])")
MARKDOWN_WIDTH = 160


def terminal(grid: Grid, width: int) -> str:
    """Write a grid for a terminal of `width` characters; data sets, or columns, that do not fit go below each other."""
    from rich.cells import cell_len

    def cell_width(cell: Cell, mean: int) -> int:
        return len(_plain(cell, mean))

    names = max(map(cell_len, _names(grid)))
    room = width - names - GROUP_GAP + COLUMN_GAP
    grid = grids.parted(grid, grids.column_widths(grid, cell_width, cell_len, COLUMN_GAP), room)
    each = [taken - COLUMN_GAP + GROUP_GAP for taken in grids.widths(grid, cell_width, cell_len, COLUMN_GAP)]
    parts = [_panel(part) for part in grids.panels(grid, each, names, width)]
    sentences = [*grid.caption, *grids.ranking_sentence(grid, f"marked {BEST}", f"marked {SECOND}")]
    below = [_wrap(sentence, width, 2) for sentence in sentences]
    below += [_wrap(f"({letter}) {text}", width, 4) for letter, text in grid.settings]
    below += [_wrap(f"[{number}] {text}", width, 4) for number, text in enumerate(grid.notes, start=1)]
    return "\n\n".join(["\n\n".join(parts), "\n".join(below)]) + "\n"


def _names(grid: Grid) -> list[str]:
    return [*grid.titles, *(line.name + line.marks for block in grid.blocks for line in block)]


def _wrap(text: str, width: int, indent: int) -> str:
    return textwrap.fill(text, max(width, 40), subsequent_indent=" " * indent, break_on_hyphens=False)


def _plain(cell: Cell | None, mean: int) -> str:
    if cell is None:
        return MISSING.rjust(mean)
    note = f" [{cell.note}]" if cell.note else ""
    mark = BEST if cell.best else SECOND if cell.second else ""
    return f"{cell.mean:>{mean}}{f' ± {cell.std}' if cell.std else ''}{cell.marks}{mark}{note}"


def _panel(grid: Grid) -> str:
    """Set one panel: the names and each group a table with a rule of its own, side by side, heads over them."""
    longest = grids.longest(grid)
    columns: list[Sequence[str]] = [(grid.name,), *(group.columns for group in grid.groups)]
    tables = [[names] for names in columns]
    blank = [("",) * len(names) for names in columns]
    for number, (title, block) in enumerate(grid.titled):
        rows = [blank] if number else []
        rows += [[(title,), *blank[1:]]] if title else []
        for line in block:
            cells = (
                tuple(_plain(cell, len(mean) or 1) for cell, mean in zip(own, means, strict=True))
                for own, means in zip(line.cells, longest, strict=True)
            )
            rows.append([(line.name + line.marks,), *cells])
        for table, *added in zip(tables, *rows, strict=True):
            table += added
    heads = ["", *(group.head for group in grid.groups)]
    beside = [_table(head, table) for head, table in zip(heads, tables, strict=True)]
    lines = [(" " * GROUP_GAP).join(line).rstrip() for line in zip(*beside, strict=True)]
    return "\n".join(lines if grid.headed else lines[1:])


def _table(head: str, table: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of one table, all of one width: its head, the heads of its columns, a rule, its rows."""
    from rich.cells import cell_len, set_cell_size

    widths = [max(map(cell_len, column)) for column in zip(*table, strict=True)]
    gap = " " * COLUMN_GAP
    names, *rows = (
        gap.join(set_cell_size(text, width) for text, width in zip(row, widths, strict=True)) for row in table
    )
    lines = [head, names, "─" * cell_len(names), *rows]
    width = max(cell_len(head), cell_len(names))
    return [set_cell_size(line, width) for line in lines]


def markdown(grid: Grid, width: int = MARKDOWN_WIDTH) -> str:
    """Write a grid as GitHub-flavoured Markdown; data sets that do not fit into `width` go below each other."""
    names = max(map(len, _names(grid)))
    each = grids.widths(grid, lambda cell, mean: len(_marked(cell)), len, gap=3)
    parts = [_markdown_panel(part) for part in grids.panels(grid, each, names, width)]
    sentences = [*grid.caption, *grids.ranking_sentence(grid, "in bold", "in italics")]
    blocks = [*parts, _escaped(" ".join(sentences))]
    blocks += [f"({letter}) {_escaped(text)}" for letter, text in grid.settings]
    blocks += [f"<sup>{number}</sup> {_escaped(text)}" for number, text in enumerate(grid.notes, start=1)]
    return "\n\n".join(blocks) + "\n"


def _markdown_panel(grid: Grid) -> str:
    from tabulate import tabulate

    heads = [grid.name]
    for group in grid.groups:
        heads += [_escaped(f"{group.head} {name}".strip()) for name in group.columns]
    body = []
    for title, block in grid.titled:
        body += [[f"*{_escaped(title)}*"]] if title else []
        for line in block:
            body.append([_escaped(line.name) + line.marks, *(_marked(cell) for cells in line.cells for cell in cells)])
    align = ["left", *["right"] * (len(heads) - 1)]
    return tabulate(body, heads, tablefmt="pipe", disable_numparse=True, colalign=align)


def _marked(cell: Cell | None) -> str:
    if cell is None:
        return MISSING
    text = f"{cell.mean} ± {cell.std}" if cell.std else cell.mean
    note = f"<sup>{cell.note}</sup>" if cell.note else ""
    if cell.best or cell.second:
        text = f"**{text}**" if cell.best else f"*{text}*"
    return text + cell.marks + note


def _escaped(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", text)
