r"""Tables as LaTeX, for ``\input`` in a document that loads booktabs, or as a document of their own."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from zslbench.results.tables import table as grids
from zslbench.results.tables.table import Cell, Grid
from zslbench.results.tables.tex_sheets import COLUMN, GAP, PAGE, Sheet, is_narrow, sheets
from zslbench.results.tables.tex_text import breakable, escape, lacking

POINTS = 72.27
"""Points of an inch."""

TEXT_WIDTH = 345 / POINTS
"""Inches of the article class's text, which the text of no usual class is narrower than."""

_NEEDS = r"% needs \usepackage{booktabs}"
_NEEDS_FONT = "% names hold characters that pdflatex lacks: compile with lualatex or xelatex and a font that has them"
_OWN_FONT = r"\usepackage{fontspec} % and \setmainfont{...}: a font that has them"
_SPACING = rf"\setlength{{\tabcolsep}}{{{GAP / 2:g}pt}}"


def latex(grid: Grid, width: float = TEXT_WIDTH, standalone: bool = False) -> str:
    """Write a grid as LaTeX floats with booktabs rules and heads that span a data set's columns.

    Args:
        grid: the table. Columns that do not fit go below each other, lines that do not into another float.
        width: inches of a line.
        standalone: write a document that shows the table alone, on a page of its size.
    """
    caption = " ".join([*grid.caption, *grids.ranking_sentence(grid, "in bold", "underlined")])
    below = [f"({letter}) {text}" for letter, text in grid.settings]
    notes = [*below, *(f"{number} {text}" for number, text in enumerate(grid.notes, start=1))]
    floats = sheets(grid, width * POINTS, caption, notes, math.inf if standalone else PAGE)
    text = (_document if standalone else _floats)(floats, caption, _below(grid))
    if lacking(text):
        return "\n".join([_NEEDS_FONT, text] if standalone else [_NEEDS, _NEEDS_FONT, text])
    return text if standalone else f"{_NEEDS}\n{text}"


def _floats(floats: Sequence[Sequence[Sheet]], caption: str, below: Sequence[str]) -> str:
    name = "table" if is_narrow(floats) else "table*"
    lines = []
    for number, own in enumerate(floats):
        lines += [rf"\begin{{{name}}}[tp]", r"\centering", r"\footnotesize", _SPACING]
        if number == 0:
            lines.append(r"\setlength{\belowcaptionskip}{4pt}")  # usual classes leave no room below a caption on top
            lines.append(rf"\caption{{{breakable(caption)}}}")
        else:
            lines.append(r"Table \thetable{} (continued)\par\smallskip")
        lines += _panels(own)
        lines += below if own is floats[-1] else ()
        lines.append(rf"\end{{{name}}}")
    return "\n".join(lines) + "\n"


def _document(floats: Sequence[Sequence[Sheet]], caption: str, below: Sequence[str]) -> str:
    own = [sheet for sheets in floats for sheet in sheets]
    width = max(COLUMN, *(sheet.width for sheet in own))
    body = [rf"{breakable(caption)}\par\medskip", r"{\centering", *_panels(own), r"\par}", *below]
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


def _below(grid: Grid) -> list[str]:
    notes = [f"({letter}) {breakable(text)}" for letter, text in grid.settings]
    notes += [f"$^{{{number}}}$ {breakable(text)}" for number, text in enumerate(grid.notes, start=1)]
    if not notes:
        return []
    return [r"\par\smallskip", r"\begin{minipage}{\linewidth}\raggedright", "\\par\n".join(notes), r"\end{minipage}"]


def _panels(own: Sequence[Sheet]) -> list[str]:
    return [line for place, one in enumerate(own) for line in ([r"\par\medskip"] if place else []) + _tabular(one)]


def _tabular(sheet: Sheet) -> list[str]:
    grid = sheet.grid
    total = sum(len(group.columns) for group in grid.groups)
    longest = grids.longest(grid)
    lines = [rf"\begin{{tabular}}{{l{'l' * total}}}", r"\toprule", *_heads(sheet)]
    for title, block in grid.titled:
        lines.append(r"\midrule")
        if title:
            lines.append(rf"\multicolumn{{{total + 1}}}{{l}}{{\emph{{{escape(title)}}}}} \\")
        for line in block:
            first, *rest = [escape(text) for text in sheet.name_lines(line)]
            cells = [
                _cell(cell, mean)
                for group, means in zip(line.cells, longest, strict=True)
                for cell, mean in zip(group, means, strict=True)
            ]
            lines.append(_row([first, *cells]))
            lines += [_row([rf"\quad {text}", *[""] * total]) for text in rest]
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def _heads(sheet: Sheet) -> list[str]:
    """Return the heads that span groups, the rules below them, and the heads of the columns."""
    grid = sheet.grid
    lines = []
    if grid.headed:
        spanning = _bottom([sheet.spanning_lines(place) for place in range(len(grid.groups))])
        for row in spanning:
            spans = (
                rf"\multicolumn{{{len(group.columns)}}}{{c}}{{{escape(text)}}}"
                for group, text in zip(grid.groups, row, strict=True)
            )
            lines.append(_row(["", *spans]))
        start, rules = 2, []
        for group in grid.groups:
            if group.head:
                rules.append(rf"\cmidrule(lr){{{start}-{start + len(group.columns) - 1}}}")
            start += len(group.columns)
        lines.append(" ".join(rules))
    names = [sheet.column_lines(i, j) for i, group in enumerate(grid.groups) for j in range(len(group.columns))]
    rows = _bottom([[grid.name], *names])
    return [*lines, *(_row(map(escape, row)) for row in rows)]


def _bottom(columns: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Return rows of columns of lines, the last line of each in the last row."""
    most = max(map(len, columns))
    return list(zip(*([""] * (most - len(column)) + list(column) for column in columns), strict=True))


def _row(cells: Sequence[str] | map[str]) -> str:
    text = " & ".join(cells) + r" \\"
    # An empty group first: a name that begins with [ or * would be read as an argument of the \\ before it.
    return "{}" + text if text.startswith(("[", "*")) else text


def _cell(cell: Cell | None, longest: str) -> str:
    if cell is None:
        return "--"
    missing = re.sub(r"\d", "0", longest[: len(longest) - len(cell.mean)])
    pad = rf"\phantom{{{missing}}}" if missing else ""
    # The mean alone is underlined: below ± the line would touch the next row.
    mean = rf"\underline{{{cell.mean}}}" if cell.second else cell.mean
    text = rf"{mean}{{\scriptsize$\,\pm\,${cell.std}}}" if cell.std else mean
    text = rf"\textbf{{{text}}}" if cell.best else text
    note = f"$^{{{cell.note}}}$" if cell.note else ""
    return pad + text + (escape(cell.marks) if cell.marks else "") + note
