"""A grid parted for paper: panels as wide as the text, floats as high as a page."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from zslbench.results.tables import table as grids
from zslbench.results.tables.table import Cell, Grid, Line
from zslbench.results.tables.tex_width import BOLD, LINE, height, lines_of, points

GAP = 6.0
"""Points between two columns: twice the \\tabcolsep that is set."""

COLUMN = 234.0
"""Points of a column of a page with two; a table that fits is no ``table*``."""

PAGE = 530.0
"""Points of a page for a float: the article class has 550, of which spaces around the caption take some."""

_RULE = 6.0
_NAMES = 0.36  # of a line, for names; longer ones take several rows
_HEAD = 60.0  # a head may widen its columns to this, and takes several rows beyond
_SPARE = 2.0  # of a line, for kerns
_MARK, _NOTE = 5.0, 4.0
_SMALLER = 0.94  # script size, which deviations are set in
_SIGN = 9.2  # ± with its spaces


@dataclasses.dataclass(frozen=True)
class Sheet:
    """One panel: lines of the whole table, the room of their names, and that of the heads by group and column."""

    grid: Grid
    names: float
    heads: tuple[float, ...]
    columns: tuple[tuple[float, ...], ...]

    @property
    def width(self) -> float:
        """The points that it takes, rounded up."""
        return self.names + GAP + sum(self.heads) + GAP * len(self.heads)

    @property
    def height(self) -> float:
        """The points that it takes, rounded up."""
        rules = _RULE * (2 + len(self.grid.blocks))
        return rules + self._head_height + sum(self.line_height(line) for block in self.grid.blocks for line in block)

    @property
    def _head_height(self) -> float:
        spanning = max(len(self.spanning_lines(place)) for place in range(len(self.heads))) if self.grid.headed else 0
        columns = max(
            len(self.column_lines(place, number))
            for place, group in enumerate(self.grid.groups)
            for number in range(len(group.columns))
        )
        titles = sum(map(bool, self.grid.titles))
        return LINE * (spanning + columns + titles) + (_RULE if spanning else 0)

    def spanning_lines(self, place: int) -> list[str]:
        """Return the head of a group in lines; none for an empty one."""
        head = self.grid.groups[place].head
        return lines_of(head, self.heads[place]) if head else []

    def column_lines(self, place: int, number: int) -> list[str]:
        """Return the head of a column in lines."""
        return lines_of(self.grid.groups[place].columns[number], self.columns[place][number])

    def name_lines(self, line: Line) -> list[str]:
        """Return a name with its marks in lines."""
        return lines_of(line.name + line.marks, self.names)

    def line_height(self, line: Line) -> float:
        """Return the points that a line takes."""
        return LINE * len(self.name_lines(line))


def sheets(grid: Grid, room: float, captioned: str, below: Sequence[str], page: float = PAGE) -> list[list[Sheet]]:
    """Part a grid into floats, each of one or more panels to be set below each other.

    Args:
        grid: the whole table.
        room: points of a line.
        captioned: the caption, which the first float carries; below: the notes that the last one carries.
        page: points that a float may be high.

    A float without a panel is for notes that found no room.
    """
    room -= _SPARE
    names = min(max(points(line.name + line.marks) for block in grid.blocks for line in block), _NAMES * room)
    names = max(names, points(grid.name))
    columns = _columns(grid)
    whole = grids.parted(grid, [[width + GAP for width in own] for own in columns], room - names - GAP)
    groups = [sum(own) + GAP * len(own) for own in _columns(whole)]
    panels = grids.panels(
        whole,
        [max(own, _head_room(group.head) + GAP) for own, group in zip(groups, whole.groups, strict=True)],
        names + GAP,
        room,
    )
    wide = [_sheet(panel, names) for panel in panels]
    floats = _packed(wide, COLUMN if wide[0].width <= COLUMN else room, captioned, below, page)
    return floats if is_narrow(floats) else _packed(wide, room, captioned, below, page)


def is_narrow(floats: Sequence[Sequence[Sheet]]) -> bool:
    """Return whether a table is one panel that fits a column of a page with two."""
    return len(floats) == 1 and len(floats[0]) == 1 and floats[0][0].width <= COLUMN


def _packed(
    panels: Sequence[Sheet], line: float, captioned: str, below: Sequence[str], page: float
) -> list[list[Sheet]]:
    """Part panels into floats; only what is too high for a page is parted itself, and what stands below the caption."""
    used = height(captioned, line, caption=True) + 2 * LINE
    floats: list[list[Sheet]] = [[]]
    for one in panels:
        room = page - (used if floats == [[]] else 2 * LINE)
        for part in _pages(one, max(room, page / 3)):
            if floats[-1] and used + part.height + LINE > page:
                floats.append([])
                used = 2 * LINE
            floats[-1].append(part)
            used += part.height + LINE
    last = sum(height(note, line) for note in below) + LINE
    return floats + ([[]] if below and used + last > page else [])


def _sheet(grid: Grid, names: float) -> Sheet:
    columns = _columns(grid)
    inner = [sum(own) + GAP * (len(own) - 1) for own in columns]
    heads = [max(own, _head_room(group.head)) for own, group in zip(inner, grid.groups, strict=True)]
    return Sheet(grid, names, tuple(heads), tuple(map(tuple, columns)))


def _columns(grid: Grid) -> list[list[float]]:
    """Return the points of each column of each group, without gaps."""
    return grids.column_widths(grid, _cell, lambda head: _head_room(max(head.split() or [""], key=points)), gap=0.0)


def _head_room(head: str) -> float:
    """Return the points that a head takes, in several lines where it is long."""
    return max(map(points, lines_of(head, _HEAD)))


def _cell(cell: Cell, mean: int) -> float:
    value = max(points(cell.mean), points("0" * (mean - 1) + "."))
    digits = (value + points(cell.std) * _SMALLER) * (BOLD if cell.best else 1.0)
    return digits + _SIGN * bool(cell.std) + _MARK * len(cell.marks) + _NOTE * len(str(cell.note or ""))


def _pages(sheet: Sheet, room: float) -> list[Sheet]:
    """Part a panel that is higher than `room` between its lines."""
    bare = sheet.height - sum(sheet.line_height(line) for block in sheet.grid.blocks for line in block)
    parts: list[list[tuple[str, list[Line]]]] = [[]]
    used = bare
    for title, block in sheet.grid.titled:
        parts[-1].append((title, []))
        for line in block:
            if used + sheet.line_height(line) > room and used > bare:
                parts.append([(title, [])])
                used = bare
            parts[-1][-1][1].append(line)
            used += sheet.line_height(line)
    return [dataclasses.replace(sheet, grid=grids.with_blocks(sheet.grid, part)) for part in parts]
