"""Tables parted for paper: panels as wide as the text, floats as high as a page."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from zslbench.results.tables.latex_text import BOLD, LINE, height, lines_of, points
from zslbench.results.tables.table import Block, Cell, Line, Table, column_widths, panels, with_blocks

GAP = 6.0
"""Points between two columns: twice the \\tabcolsep that is set."""

COLUMN = 234.0
"""Points of a column of a page with two; a table that fits is no ``table*``."""

PAGE = 530.0
"""Points of a page for a float: the article class has 550, of which spaces around the caption take some."""

_RULE = 6.0
_NAMES = 0.36  # of a line, for names and for words; longer ones take several rows
_HEAD = 60.0  # a head may widen its columns to this, and takes several rows beyond
_SPARE = 2.0  # of a line, for kerns
_MARK, _NOTE = 5.0, 4.0
_SMALLER = 0.94  # script size, which deviations are set in
_SIGN = 9.2  # ± with its spaces


@dataclasses.dataclass(frozen=True)
class Sheet:
    """One panel: lines of a whole table, the room of names, group heads and columns, and what stands over it."""

    table: Table
    names: float
    groups: tuple[float, ...]
    columns: tuple[float, ...]
    title: str = ""

    @property
    def width(self) -> float:
        """The points that it takes, rounded up."""
        return self.names + GAP + sum(self.groups) + GAP * len(self.groups)

    @property
    def height(self) -> float:
        """The points that it takes, rounded up."""
        rules = _RULE * (2 + len(self.table.blocks))
        return rules + self._head_height + sum(map(self.line_height, self.table.lines))

    @property
    def _head_height(self) -> float:
        spanning = max(map(len, self.spanning_lines))
        titles = sum(bool(block.title) for block in self.table.blocks) + bool(self.title)
        return LINE * (spanning + max(map(len, self.column_lines)) + titles) + (_RULE if spanning else 0)

    @property
    def spanning_lines(self) -> list[list[str]]:
        """The head of each group in lines; none for an empty one."""
        groups = zip(self.table.groups, self.groups, strict=True)
        return [lines_of(head, width) if head else [] for (head, _), width in groups]

    @property
    def column_lines(self) -> list[list[str]]:
        """The head of each column in lines."""
        return [lines_of(column.head, width) for column, width in zip(self.table.columns, self.columns, strict=True)]

    def name_lines(self, line: Line) -> list[str]:
        """Return a name with its marks in lines."""
        return lines_of(line.title, self.names)

    def word_lines(self, line: Line, number: int) -> list[str]:
        """Return the words of a cell in lines."""
        cell = line.cells[number]
        return lines_of(cell.text, self.columns[number]) if cell else []

    def line_height(self, line: Line) -> float:
        """Return the points that a line takes."""
        words = (n for n, column in enumerate(self.table.columns) if column.kind == "text")
        return LINE * max(len(self.name_lines(line)), *(len(self.word_lines(line, n)) for n in words), 1)


def part_into_floats(
    tables: Sequence[Table], room: float, caption: str, below: Sequence[str], page: float = PAGE
) -> tuple[list[list[Sheet]], bool]:
    """Part tables into floats, each of one or more panels to be set below each other; say if a column holds all of it.

    Args:
        tables: whole ones, at least a line each.
        room: points of a line.
        caption: which the first float carries; below: the notes that the last one carries.
        page: points that a float may be high.

    A float without a panel is for notes that found no room.
    """
    wide = [sheet for table in tables for sheet in _sheets(table, room - _SPARE)]
    narrow = len(wide) == len(tables) and all(sheet.width <= COLUMN for sheet in wide)
    for line in (COLUMN, room - _SPARE) if narrow else (room - _SPARE,):
        floats = _packed(wide, line, caption, below, page)
        if narrow and len(floats) == 1:
            return floats, True
    return floats, False


def _sheets(table: Table, room: float) -> list[Sheet]:
    names = min(max(points(line.title) for line in table.lines), _NAMES * room)
    names = max(names, points(table.name))
    parts = panels(table, _columns(table, room), room - names - GAP, (GAP, GAP), _head_room)
    return [_sheet(part, names, room, "" if number else table.title) for number, part in enumerate(parts)]


def _packed(sheets: Sequence[Sheet], line: float, caption: str, below: Sequence[str], page: float) -> list[list[Sheet]]:
    """Part panels into floats; only what is too high for a page is parted itself, and what stands below the caption."""
    used = height(caption, line, caption=True) + 2 * LINE
    floats: list[list[Sheet]] = [[]]
    for sheet in sheets:
        room = page - (used if floats == [[]] else 2 * LINE)
        for part in _pages(sheet, max(room, page / 3)):
            if floats[-1] and used + part.height + LINE > page:
                floats.append([])
                used = 2 * LINE
            floats[-1].append(part)
            used += part.height + LINE
    last = sum(height(note, line) for note in below) + LINE
    return floats + ([[]] if below and used + last > page else [])


def _sheet(table: Table, names: float, room: float, title: str) -> Sheet:
    columns = _columns(table, room)
    groups = [
        max(sum(columns[n] for n in numbers) + GAP * (len(numbers) - 1), _head_room(head))
        for head, numbers in table.groups
    ]
    return Sheet(table, names, tuple(groups), tuple(columns), title)


def _columns(table: Table, room: float) -> list[float]:
    """Return the points of each column, without gaps; words take no more than `_NAMES` of the room."""
    widths = column_widths(table, _cell, lambda head: _head_room(max(head.split() or [""], key=points)))
    return [
        min(width, _NAMES * room) if column.kind == "text" else width
        for column, width in zip(table.columns, widths, strict=True)
    ]


def _head_room(head: str) -> float:
    """Return the points that a head takes, in several lines where it is long."""
    return max(map(points, lines_of(head, _HEAD)))


def _cell(cell: Cell, longest: int) -> float:
    value = max(points(cell.text), points("0" * (longest - 1) + "."))
    digits = (value + points(cell.std) * _SMALLER) * (BOLD if cell.bold else 1.0)
    return digits + _SIGN * bool(cell.std) + _MARK * len(cell.marks) + _NOTE * len(str(cell.note or ""))


def _pages(sheet: Sheet, room: float) -> list[Sheet]:
    """Part a panel that is higher than `room` between its lines."""
    bare = sheet.height - sum(map(sheet.line_height, sheet.table.lines))
    parts: list[list[Block]] = [[]]
    used = bare
    for block in sheet.table.blocks:
        parts[-1].append(Block((), block.title))
        for line in block.lines:
            if used + sheet.line_height(line) > room and used > bare:
                parts.append([Block((), block.title)])
                used = bare
            last = parts[-1][-1]
            parts[-1][-1] = dataclasses.replace(last, lines=(*last.lines, line))
            used += sheet.line_height(line)
    return [
        dataclasses.replace(sheet, table=with_blocks(sheet.table, part), title="" if number else sheet.title)
        for number, part in enumerate(parts)
    ]
