r"""Tables as LaTeX, for ``\input`` in a document that loads booktabs, or as a document of their own."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Sequence

from zslbench.results.tables.latex_pages import COLUMN, GAP, PAGE, Sheet, part_into_floats
from zslbench.results.tables.latex_text import breakable, escape, lacking
from zslbench.results.tables.table import Cell, Line, Table

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
        [table for table in tables if table.lines],
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
    if lacking(text):
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
    beyond = lacking("\n".join(body))
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
        for line in block.lines:
            first, *rest = map(escape, sheet.name_lines(line))
            columns = [[first, *(rf"\quad {text}" for text in rest)]]
            columns += [_cell_lines(sheet, line, number, text) for number, text in enumerate(longest)]
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


def _cell_lines(sheet: Sheet, line: Line, number: int, longest: str) -> list[str]:
    cell = line.cells[number]
    if cell is None or sheet.table.columns[number].kind == "value":
        return [_cell(cell, longest)]
    return [rf"\textbf{{{text}}}" if cell.bold else text for text in map(escape, sheet.word_lines(line, number))]


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
    return pad + text + (escape(cell.marks) if cell.marks else "") + note
