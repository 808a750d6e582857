"""Tables as text: for the terminal and Markdown. LaTeX, and CSV and JSON, have modules of their own."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Sequence

from zslbench.results import grid as grids
from zslbench.results.grid import Cell, Grid

MISSING = "–"
BEST, SECOND = "*", "°"
_MARKDOWN = re.compile(r"([\\`*_<>|~$&#])")
MARKDOWN_WIDTH = 160


def terminal(grid: Grid, width: int) -> str:
    """Write a grid for a terminal of `width` characters; data sets that do not fit go below each other."""
    from rich.cells import cell_len

    def cell_width(cell: Cell, mean: int) -> int:
        return len(_plain(cell, mean))

    names = max(map(cell_len, _names(grid)))
    each = grids.widths(grid, cell_width, cell_len, gap=2)
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
    """Set one panel with rich: a table a group, side by side, so that a group's head spans its columns."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    def framed(heads: Sequence[str]) -> Table:
        table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))
        for head in heads:
            table.add_column(Text(head), no_wrap=True)
        return table

    longest = grids.longest(grid)
    names = framed([grid.name])
    bodies = [framed(group.columns) for group in grid.groups]
    for title, block in grid.titled:
        if title:
            names.add_row(Text(title))
            for body in bodies:
                body.add_row()
        for line in block:
            last = line is block[-1] and block is not grid.blocks[-1]
            names.add_row(Text(line.name + line.marks), end_section=last)
            for cells, means, body in zip(line.cells, longest, bodies, strict=True):
                texts = (_plain(cell, len(mean) or 1) for cell, mean in zip(cells, means, strict=True))
                body.add_row(*map(Text, texts), end_section=last)
    outer = Table(box=None, show_edge=False, show_header=grid.headed, pad_edge=False, padding=(0, 2, 0, 0))
    for head in ["", *(group.head for group in grid.groups)]:
        outer.add_column(Text(head), no_wrap=True)
    outer.add_row(names, *bodies)
    console = Console(file=io.StringIO(), width=10_000, color_system=None, force_terminal=False, legacy_windows=False)
    with console.capture() as captured:
        console.print(outer)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


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
