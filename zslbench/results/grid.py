"""`Grid`: a table's content, laid out but not yet written in any format."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence


@dataclasses.dataclass(frozen=True)
class Cell:
    """One value: mean and deviation as text, if best of its kind, its marks (``†``) and footnote (0: none)."""

    mean: str
    std: str = ""
    best: bool = False
    note: int = 0
    marks: str = ""


@dataclasses.dataclass(frozen=True)
class Group:
    """Columns under one head: a data set with its metrics."""

    head: str
    columns: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Line:
    """One method: its name, the marks after it (``†``, ``‡``), and its cells by group and column (None: missing)."""

    name: str
    marks: str
    cells: tuple[tuple[Cell | None, ...], ...]


@dataclasses.dataclass(frozen=True)
class Grid:
    """A whole table.

    Attributes:
        groups: column groups.
        blocks: lines that a rule parts: inductive, semantic, transductive, and those with oracle selection.
        caption: sentences that say what the numbers are.
        settings: what the letters after names stand for, in order: (``a``, ``hidden=1024,…``).
        notes: footnotes of cells, numbered from 1.
    """

    groups: tuple[Group, ...]
    blocks: tuple[tuple[Line, ...], ...]
    caption: tuple[str, ...]
    settings: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def panels(grid: Grid, widths: Sequence[int], name_width: int, room: int) -> list[Grid]:
    """Part a grid that is wider than `room` into grids of whole groups, to be set one below the other.

    Args:
        grid: the whole table.
        widths: characters that each group takes.
        name_width: characters that the names take.
        room: characters of a line.

    Lines without any value in a panel are left out of it.
    """
    parts: list[list[int]] = [[]]
    used = name_width
    for place, width in enumerate(widths):
        if parts[-1] and used + width > room:
            parts.append([])
            used = name_width
        parts[-1].append(place)
        used += width
    return [_only(grid, part) for part in parts]


def _only(grid: Grid, groups: Sequence[int]) -> Grid:
    blocks = []
    for block in grid.blocks:
        lines = [dataclasses.replace(line, cells=tuple(line.cells[place] for place in groups)) for line in block]
        kept = tuple(line for line in lines if any(cell for cells in line.cells for cell in cells))
        if kept:
            blocks.append(kept)
    return dataclasses.replace(grid, groups=tuple(grid.groups[place] for place in groups), blocks=tuple(blocks))


def column(grid: Grid, group: int, place: int) -> list[Cell]:
    """Return the values of one column, missing ones left out."""
    found = (line.cells[group][place] for block in grid.blocks for line in block)
    return [cell for cell in found if cell is not None]


def widths(grid: Grid, cell_width: Callable[[Cell, int], int], length: Callable[[str], int], gap: int) -> list[int]:
    """Return the characters that each group takes, gaps included.

    `cell_width` is given a cell and the width of the longest mean of its column.
    """
    out = []
    for place, group in enumerate(grid.groups):
        total = 0
        for number, head in enumerate(group.columns):
            cells = column(grid, place, number)
            mean = max((len(cell.mean) for cell in cells), default=0)
            total += gap + max([length(head), *(cell_width(cell, mean) for cell in cells)])
        out.append(max(total, length(group.head) + gap))
    return out
