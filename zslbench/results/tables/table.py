"""`Grid`: a table's content, laid out but not yet written in any format."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from zslbench.visible import one_line

PUBLISHED_HEAD = "pub."
"""The head of a column of published numbers, which stands right after the measured one that it belongs to."""


Kind = Literal[
    "stage", "data", "split", "selection", "seeds", "single seed", "metrics", "chosen", "calibration", "spread",
    "ranking", "setting", "transductive", "oracle", "source", "parameters", "published", "layout", "figure", "note",
]  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Remark:
    """A sentence below numbers, and what it is about: whoever leaves one out or moves it goes by its kind."""

    kind: Kind
    text: str


def remarks(kind: Kind, texts: Iterable[str]) -> list[Remark]:
    """Return sentences of one kind, fit to be shown."""
    return [Remark(kind, one_line(text)) for text in texts]


@dataclasses.dataclass(frozen=True)
class Cell:
    """One value: mean and deviation as text, if best or second best of its kind, its marks (``†``), its footnote.

    Footnotes count from 1; 0: none.
    """

    mean: str
    std: str = ""
    best: bool = False
    second: bool = False
    note: int = 0
    marks: str = ""


@dataclasses.dataclass(frozen=True)
class Group:
    """Columns under one head: a data set with its metrics; an empty head spans nothing."""

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
        remarks: what the numbers are; caption: the same as sentences.
        settings: what the letters after names stand for, in order: (``a``, ``hidden=1024,…``).
        notes: footnotes of cells, numbered from 1.
        titles: what stands over each block, empty for none; no titles at all: over no block.
        name: the head of the names.
    """

    groups: tuple[Group, ...]
    blocks: tuple[tuple[Line, ...], ...]
    remarks: tuple[Remark, ...]
    settings: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()
    name: str = "method"

    @property
    def caption(self) -> tuple[str, ...]:
        """The sentences of the remarks."""
        return tuple(remark.text for remark in self.remarks)

    @property
    def titled(self) -> list[tuple[str, tuple[Line, ...]]]:
        """The blocks with what stands over them."""
        return list(zip(self.titles or ("",) * len(self.blocks), self.blocks, strict=True))

    @property
    def headed(self) -> bool:
        """Whether any group has a head that spans its columns."""
        return any(group.head for group in self.groups)

    @property
    def cells(self) -> list[Cell]:
        """Every value."""
        lines = (line for block in self.blocks for line in block)
        return [cell for line in lines for cells in line.cells for cell in cells if cell is not None]


def with_blocks(grid: Grid, titled: Sequence[tuple[str, Sequence[Line]]]) -> Grid:
    """Return the grid with other blocks; those without a line are left out, and leave their title to the next."""
    titles: list[str] = []
    blocks: list[tuple[Line, ...]] = []
    pending = ""
    for title, lines in titled:
        pending = title or pending
        if lines:
            titles.append(pending)
            blocks.append(tuple(lines))
            pending = ""
    return dataclasses.replace(grid, titles=tuple(titles) if any(titles) else (), blocks=tuple(blocks))


def ranking_sentence(grid: Grid, best: str, second: str) -> list[str]:
    """Say which marks the best and the second best have, where there are any.

    >>> cell = Cell("1", best=True)
    >>> grid = Grid((Group("", ("T1",)),), ((Line("a", "", ((cell,),)),),), ())
    >>> ranking_sentence(grid, "in bold", "underlined")
    ['Best among comparable rows in bold.']
    """
    if not any(cell.best for cell in grid.cells):
        return []
    runner_up = f", second best {second}" if any(cell.second for cell in grid.cells) else ""
    return [f"Best among comparable rows {best}{runner_up}."]


def panels(grid: Grid, widths: Sequence[float], name_width: float, room: float) -> list[Grid]:
    """Part a grid that is wider than `room` into grids of whole groups, to be set one below the other.

    Args:
        grid: the whole table.
        widths: that each group takes, in any unit.
        name_width: that the names take.
        room: of a line.

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
    titled = []
    for title, block in grid.titled:
        lines = [dataclasses.replace(line, cells=tuple(line.cells[place] for place in groups)) for line in block]
        titled.append((title, [line for line in lines if any(cell for cells in line.cells for cell in cells)]))
    return with_blocks(dataclasses.replace(grid, groups=tuple(grid.groups[place] for place in groups)), titled)


def column(grid: Grid, group: int, place: int) -> list[Cell]:
    """Return the values of one column, missing ones left out."""
    found = (line.cells[group][place] for block in grid.blocks for line in block)
    return [cell for cell in found if cell is not None]


def longest(grid: Grid) -> list[list[str]]:
    """Return the longest mean of each column by group, empty for a column without a value."""
    return [
        [
            max((cell.mean for cell in column(grid, place, number)), key=len, default="")
            for number in range(len(group.columns))
        ]
        for place, group in enumerate(grid.groups)
    ]


def parted(grid: Grid, widths: Sequence[Sequence[float]], room: float) -> Grid:
    """Part the groups that are wider than `room` into several under the same head.

    Args:
        grid: the whole table.
        widths: of each column, by group.
        room: for the columns of one group. A published number stays beside the measured one before it.
    """
    groups: list[Group] = []
    chosen: list[tuple[int, list[int]]] = []
    for place, group in enumerate(grid.groups):
        for part in _parts(group.columns, widths[place], room):
            groups.append(Group(group.head, tuple(group.columns[number] for number in part)))
            chosen.append((place, part))

    def line(whole: Line) -> Line:
        cells = tuple(tuple(whole.cells[place][number] for number in part) for place, part in chosen)
        return dataclasses.replace(whole, cells=cells)

    blocks = tuple(tuple(map(line, block)) for block in grid.blocks)
    return dataclasses.replace(grid, groups=tuple(groups), blocks=blocks)


def _parts(heads: Sequence[str], widths: Sequence[float], room: float) -> list[list[int]]:
    """Return the columns of each part, as few parts as fit into `room` and these as even as can be."""
    units: list[list[int]] = []
    for number, head in enumerate(heads):
        if head == PUBLISHED_HEAD and units:
            units[-1].append(number)
        else:
            units.append([number])

    def filled(limit: float) -> list[list[int]]:
        parts: list[list[int]] = [[]]
        for unit in units:
            if parts[-1] and sum(widths[number] for number in (*parts[-1], *unit)) > limit:
                parts.append([])
            parts[-1] += unit
        return parts

    fewest = filled(room)
    limit = sum(widths) / len(fewest)
    while limit < room and len(filled(limit)) > len(fewest):
        limit += 1.0
    return filled(min(limit, room))


def column_widths(
    grid: Grid, cell_width: Callable[[Cell, int], float], length: Callable[[str], float], gap: float
) -> list[list[float]]:
    """Return the width that each column of each group takes, gaps included.

    `cell_width` is given a cell and the characters of the longest mean of its column.
    """
    out = []
    for place, group in enumerate(grid.groups):
        columns = []
        for number, head in enumerate(group.columns):
            cells = column(grid, place, number)
            mean = max((len(cell.mean) for cell in cells), default=0)
            columns.append(gap + max([length(head), *(cell_width(cell, mean) for cell in cells)]))
        out.append(columns)
    return out


def widths(
    grid: Grid, cell_width: Callable[[Cell, int], float], length: Callable[[str], float], gap: float
) -> list[float]:
    """Return the width that each group takes, its head and gaps included (see `column_widths`)."""
    columns = column_widths(grid, cell_width, length, gap)
    return [max(sum(own), length(group.head) + gap) for own, group in zip(columns, grid.groups, strict=True)]
