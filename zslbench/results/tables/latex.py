r"""Tables as LaTeX, for ``\input`` in a document that loads booktabs, or as a document of their own."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Iterable, Sequence

from zslbench.results.tables.latex_text import (
    BOLD,
    LINE,
    breakable,
    escape,
    has_unsupported_characters,
    lines_of,
    paragraph_height,
    text_width,
)
from zslbench.results.tables.table import Block, Cell, Table, TableRow, column_widths, pack, panels

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
    """One panel: rows of a whole table, the room of names, group heads and columns, and what stands over it."""

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
        return self.bare_height + sum(map(self.row_height, self.table.rows))

    @property
    def bare_height(self) -> float:
        """The points without those of the rows."""
        spanning = max(map(len, self.spanning_lines))
        titles = sum(bool(block.title) for block in self.table.blocks) + bool(self.title)
        rules = _RULE * (2 + len(self.table.blocks) + (spanning > 0))
        return rules + LINE * (spanning + max(map(len, self.column_lines)) + titles)

    @property
    def spanning_lines(self) -> list[list[str]]:
        """The head of each group in lines; none for an empty one."""
        groups = zip(self.table.groups, self.groups, strict=True)
        return [lines_of(head, width) if head else [] for (head, _), width in groups]

    @property
    def column_lines(self) -> list[list[str]]:
        """The head of each column in lines."""
        return [lines_of(column.head, width) for column, width in zip(self.table.columns, self.columns, strict=True)]

    def name_lines(self, row: TableRow) -> list[str]:
        """Return a name with its marks in lines."""
        return lines_of(row.title, self.names)

    def word_lines(self, row: TableRow, number: int) -> list[str]:
        """Return the words of a cell in lines."""
        cell = row.cells[number]
        return lines_of(cell.text, self.columns[number]) if cell else []

    def row_height(self, row: TableRow) -> float:
        """Return the points that a row takes."""
        words = (n for n, column in enumerate(self.table.columns) if column.kind == "text")
        return LINE * max(len(self.name_lines(row)), *(len(self.word_lines(row, n)) for n in words), 1)


def part_into_floats(
    tables: Sequence[Table], room: float, caption: str, below: Sequence[str], page: float = PAGE
) -> tuple[list[list[Sheet]], bool]:
    """Part tables into floats, each of one or more panels to be set below each other; say if a column holds all of it.

    The first float carries the caption, the last one the notes `below`; one without a panel is for notes that find no
    room elsewhere. `room` and `page` are the points that a line may be long and a float high.
    """
    wide = [sheet for table in tables for sheet in _sheets(table, room - _SPARE)]
    narrow = len(wide) == len(tables) and all(sheet.width <= COLUMN for sheet in wide)
    for width in (COLUMN, room - _SPARE) if narrow else (room - _SPARE,):
        floats = _pack(wide, width, caption, below, page)
        if narrow and len(floats) == 1:
            return floats, True
    return floats, False


def _sheets(table: Table, room: float) -> list[Sheet]:
    names = min(max(text_width(row.title) for row in table.rows), _NAMES * room)
    names = max(names, text_width(table.name))
    sheets: list[Sheet] = []
    for part in panels(table, _columns(table, room), room - names - GAP, (GAP, GAP), _head_room):
        columns = _columns(part, room)
        groups = (
            max(sum(columns[n] for n in numbers) + GAP * (len(numbers) - 1), _head_room(head))
            for head, numbers in part.groups
        )
        sheets.append(Sheet(part, names, tuple(groups), tuple(columns), "" if sheets else table.title))
    return sheets


def _pack(sheets: Sequence[Sheet], width: float, caption: str, below: Sequence[str], page: float) -> list[list[Sheet]]:
    """Part panels into floats; only what is too high for a page is parted itself, and what stands below the caption."""
    used = paragraph_height(caption, width, caption=True) + 2 * LINE
    floats: list[list[Sheet]] = [[]]
    for sheet in sheets:
        room = page - (used if floats == [[]] else 2 * LINE)
        for part in _pages(sheet, max(room, page / 3)):
            if floats[-1] and used + part.height + LINE > page:
                floats.append([])
                used = 2 * LINE
            floats[-1].append(part)
            used += part.height + LINE
    last = sum(paragraph_height(note, width) for note in below) + LINE
    return floats + ([[]] if below and used + last > page else [])


def _pages(sheet: Sheet, room: float) -> list[Sheet]:
    """Part a panel that is higher than `room` between its rows."""
    blocks = sheet.table.blocks
    rows = [(number, row) for number, block in enumerate(blocks) for row in block.rows]
    pages: list[Sheet] = []
    for page in pack(rows, lambda item: sheet.row_height(item[1]), room - sheet.bare_height):
        parts = (
            Block(tuple(row for _, row in part), blocks[number].title)
            for number, part in itertools.groupby(page, lambda item: item[0])
        )
        table = dataclasses.replace(sheet.table, blocks=tuple(parts))
        pages.append(dataclasses.replace(sheet, table=table, title="" if pages else sheet.title))
    return pages


def _columns(table: Table, room: float) -> list[float]:
    """Return the points of each column, without gaps; words take no more than `_NAMES` of the room."""
    widths = column_widths(table, _cell_width, lambda head: _head_room(max(head.split() or [""], key=text_width)))
    return [
        min(width, _NAMES * room) if column.kind == "text" else width
        for column, width in zip(table.columns, widths, strict=True)
    ]


def _head_room(head: str) -> float:
    """Return the points that a head takes, in several lines where it is long."""
    return max(map(text_width, lines_of(head, _HEAD)))


def _cell_width(cell: Cell, longest: int) -> float:
    value = max(text_width(cell.text), text_width("0" * (longest - 1) + "."))
    digits = (value + text_width(cell.std) * _SMALLER) * (BOLD if cell.bold else 1.0)
    return digits + _SIGN * bool(cell.std) + _MARK * len(cell.marks) + _NOTE * len(str(cell.note or ""))


POINTS = 72.27
"""Points of an inch."""
TEXT_WIDTH = 345 / POINTS
"""Inches of the article class's text, which the text of no usual class is narrower than."""
_NEEDS = r"% needs \usepackage{booktabs}"
_NEEDS_FONT = "% names hold characters that pdflatex lacks: compile with lualatex or xelatex and a font that has them"
_OWN_FONT = r"\usepackage{fontspec} % and \setmainfont{...}: a font that has them"
_SPACING = rf"\setlength{{\tabcolsep}}{{{GAP / 2:g}pt}}"


def write_latex(tables: Sequence[Table], width: float = TEXT_WIDTH, standalone: bool = False) -> str:
    """Write tables as LaTeX floats with booktabs rules and heads that span a data set's columns.

    Args:
        tables: below each other under one caption. Columns that do not fit go below each other, lines that do not
            into another float.
        width: inches of a line.
        standalone: write a document that shows the tables alone, on a page of their size.
    """
    sentences = [remark.text for table in tables for remark in table.remarks]
    sentences += [text for table in tables for text in table.ranking_sentence("in bold", "underlined")]
    caption = " ".join(dict.fromkeys(sentences))
    settings = [(f"({letter})", text) for table in tables for letter, text in table.settings]
    notes = [(str(number), text) for table in tables for number, text in enumerate(table.notes, start=1)]
    floats, narrow = part_into_floats(
        [table for table in tables if table.rows],
        width * POINTS,
        caption,
        [" ".join(pair) for pair in settings + notes],
        math.inf if standalone else PAGE,
    )
    below = [f"{letter} {breakable(text)}" for letter, text in settings]
    below += [f"$^{{{number}}}$ {breakable(text)}" for number, text in notes]
    if below:
        minipage = r"\begin{minipage}{\linewidth}\raggedright", "\\par\n".join(below), r"\end{minipage}"
        below = [r"\par\smallskip", *minipage]
    text = _document(floats, caption, below) if standalone else _floats(floats, caption, below, narrow)
    if has_unsupported_characters(text):
        return "\n".join([_NEEDS_FONT, text] if standalone else [_NEEDS, _NEEDS_FONT, text])
    return text if standalone else f"{_NEEDS}\n{text}"


def _floats(floats: Sequence[Sequence[Sheet]], caption: str, below: Sequence[str], narrow: bool) -> str:
    name = "table" if narrow else "table*"
    lines = []
    for number, sheets in enumerate(floats):
        lines += [rf"\begin{{{name}}}[tp]", r"\centering", r"\footnotesize", _SPACING]
        if number == 0:
            lines.append(r"\setlength{\belowcaptionskip}{4pt}")  # usual classes leave no room below a caption on top
            lines.append(rf"\caption{{{breakable(caption)}}}")
        else:
            lines.append(r"Table \thetable{} (continued)\par\smallskip")
        lines += _panels(sheets)
        lines += below if sheets is floats[-1] else ()
        lines.append(rf"\end{{{name}}}")
    return "\n".join(lines) + "\n"


def _document(floats: Sequence[Sequence[Sheet]], caption: str, below: Sequence[str]) -> str:
    sheets = [sheet for sheets in floats for sheet in sheets]
    width = max(COLUMN, *(sheet.width for sheet in sheets))
    body = [rf"{breakable(caption)}\par\medskip", r"{\centering", *_panels(sheets), r"\par}", *below]
    beyond = has_unsupported_characters("\n".join(body))
    return "\n".join(
        [
            r"\documentclass[border=6pt]{standalone}",
            r"\usepackage{booktabs}",
            *([_OWN_FONT] if beyond else []),
            r"\begin{document}",
            rf"\begin{{minipage}}{{{width:.0f}pt}}",
            rf"\footnotesize{_SPACING}",
            *body,
            r"\end{minipage}",
            r"\end{document}",
            "",
        ]
    )


def _panels(sheets: Sequence[Sheet]) -> list[str]:
    lines = []
    for number, sheet in enumerate(sheets):
        lines += [r"\par\medskip"] if number else []
        lines += [rf"{breakable(sheet.title)}\par\smallskip"] if sheet.title else []
        lines += _tabular(sheet)
    return lines


def _tabular(sheet: Sheet) -> list[str]:
    table = sheet.table
    total = len(table.columns)
    longest = table.longest
    lines = [rf"\begin{{tabular}}{{l{'l' * total}}}", r"\toprule", *_heads(sheet)]
    for block in table.blocks:
        lines.append(r"\midrule")
        if block.title:
            lines.append(rf"\multicolumn{{{total + 1}}}{{l}}{{\emph{{{escape(block.title)}}}}} \\")
        for row in block.rows:
            first, *rest = map(escape, sheet.name_lines(row))
            columns = [[first, *(rf"\quad {text}" for text in rest)]]
            columns += [_cell_lines(sheet, row, number, text) for number, text in enumerate(longest)]
            lines += map(_row, itertools.zip_longest(*columns, fillvalue=""))
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def _heads(sheet: Sheet) -> list[str]:
    """Return the heads that span groups, the rules below them, and the heads of the columns."""
    groups = sheet.table.groups
    lines = []
    if any(head for head, _ in groups):
        for row in _bottom(sheet.spanning_lines):
            spans = (
                rf"\multicolumn{{{len(numbers)}}}{{c}}{{{escape(text)}}}"
                for (_, numbers), text in zip(groups, row, strict=True)
            )
            lines.append(_row(["", *spans]))
        # The names are the first column.
        lines.append(
            " ".join(rf"\cmidrule(lr){{{numbers[0] + 2}-{numbers[-1] + 2}}}" for head, numbers in groups if head)
        )
    return [*lines, *(_row(map(escape, row)) for row in _bottom([[sheet.table.name], *sheet.column_lines]))]


def _bottom(columns: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Return rows of columns of lines, the last line of each in the last row."""
    most = max(map(len, columns))
    return list(zip(*([""] * (most - len(column)) + list(column) for column in columns), strict=True))


def _row(cells: Iterable[str]) -> str:
    text = " & ".join(cells) + r" \\"
    # An empty group first: a name that begins with [ or * would be read as an argument of the \\ before it.
    return "{}" + text if text.startswith(("[", "*")) else text


def _cell_lines(sheet: Sheet, row: TableRow, number: int, longest: str) -> list[str]:
    cell = row.cells[number]
    if cell is None or sheet.table.columns[number].kind == "value":
        return [_cell(cell, longest)]
    return [rf"\textbf{{{text}}}" if cell.bold else text for text in map(escape, sheet.word_lines(row, number))]


def _cell(cell: Cell | None, longest: str) -> str:
    if cell is None:
        return "--"
    missing = re.sub(r"[^,.]", "0", longest[: len(longest) - len(cell.text)])
    pad = rf"\phantom{{{missing}}}" if missing and cell.text else ""
    # The mean alone is underlined: below ± the line would touch the next row.
    mean = rf"\underline{{{escape(cell.text)}}}" if cell.emphasis == "second" else escape(cell.text)
    text = rf"{mean}{{\scriptsize$\,\pm\,${cell.std}}}" if cell.std else mean
    text = rf"\textbf{{{text}}}" if cell.bold else text
    note = f"$^{{{cell.note}}}$" if cell.note else ""
    return pad + text + escape(cell.marks) + note
