"""A text of headings, tables, sentences and drawings, written for the terminal, Markdown and LaTeX."""

from __future__ import annotations

import dataclasses
import re
import textwrap
from collections.abc import Sequence

_MARKDOWN = re.compile(r"([\\`*_<>|~$&#\[\]])")
_ONE_COLUMN = 50
_MINUS = re.compile(r"(?<![\w-])-(?=\d)|−")


@dataclasses.dataclass(frozen=True)
class Heading:
    """A line over what follows."""

    text: str


@dataclasses.dataclass(frozen=True)
class Sheet:
    """A table of texts; columns in `left` are set to the left, the others to the right.

    A line in `bold` stands out: a star at its end, or bold type.
    """

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: frozenset[int] = frozenset({0})
    bold: frozenset[int] = frozenset()


@dataclasses.dataclass(frozen=True)
class Sentences:
    """Sentences, a line each."""

    lines: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Drawing:
    """Characters whose places matter; LaTeX leaves it out."""

    text: str


Block = Heading | Sheet | Sentences | Drawing


def terminal(blocks: Sequence[Block], width: int) -> str:
    """Write blocks for a terminal of `width` characters; tables keep their own width."""
    parts = []
    for block in blocks:
        match block:
            case Heading(text):
                parts.append(text)
            case Sheet():
                parts.append(_plain(block))
            case Sentences(lines):
                room = max(width, 40)
                wrapped = (textwrap.fill(line, room, subsequent_indent="  ", break_on_hyphens=False) for line in lines)
                parts.append("\n".join(wrapped))
            case Drawing(text):
                parts.append(text)
    return "\n\n".join(parts) + "\n"


def _plain(sheet: Sheet) -> str:
    from rich.cells import cell_len

    rows = [list(row) for row in (sheet.heads, *sheet.rows)]
    widths = [max(cell_len(row[place]) for row in rows) for place in range(len(sheet.heads))]

    def line(row: Sequence[str]) -> str:
        cells = []
        for place, text in enumerate(row):
            pad = " " * (widths[place] - cell_len(text))
            cells.append(text + pad if place in sheet.left else pad + text)
        return "  ".join(cells).rstrip()

    body = [line(row) + (" *" if number in sheet.bold else "") for number, row in enumerate(rows[1:])]
    return "\n".join([line(rows[0]), "  ".join("─" * width for width in widths), *body])


def markdown(blocks: Sequence[Block]) -> str:
    """Write blocks as GitHub-flavoured Markdown."""
    from tabulate import tabulate

    parts = []
    for block in blocks:
        match block:
            case Heading(text):
                parts.append(f"#### {_escaped(text)}")
            case Sheet():
                rows = [
                    [f"**{_escaped(cell)}**" if number in block.bold and cell else _escaped(cell) for cell in row]
                    for number, row in enumerate(block.rows)
                ]
                align = ["left" if place in block.left else "right" for place in range(len(block.heads))]
                heads = [_escaped(head) for head in block.heads]
                parts.append(tabulate(rows, heads, tablefmt="pipe", disable_numparse=True, colalign=align))
            case Sentences(lines):
                parts.append("\n".join(f"- {_escaped(line)}" for line in lines))
            case Drawing(text):
                parts.append(f"```text\n{text}\n```")
    return "\n\n".join(parts) + "\n"


def _escaped(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", text)


def latex(blocks: Sequence[Block]) -> str:
    """Write blocks as LaTeX floats with booktabs rules, a table each, and sentences as paragraphs."""
    lines = [r"% needs \usepackage{booktabs}"]
    title = ""
    for block in blocks:
        match block:
            case Heading(text):
                title = text
            case Sheet():
                lines += _float(block, title)
            case Sentences(sentences):
                lines += [r"{\footnotesize", *(rf"{_tex(line)}\par" for line in sentences), "}"]
            case Drawing():
                pass
    return "\n".join(lines) + "\n"


def _float(sheet: Sheet, title: str) -> list[str]:
    lengths = [max(map(len, column)) for column in zip(sheet.heads, *sheet.rows, strict=True)]
    name = "table*" if sum(lengths) > _ONE_COLUMN else "table"
    columns = "".join("l" if place in sheet.left else "r" for place in range(len(sheet.heads)))
    body = []
    for number, row in enumerate(sheet.rows):
        cells = [rf"\textbf{{{_tex(cell)}}}" if number in sheet.bold and cell else _tex(cell) for cell in row]
        # An empty group first: a line that begins with [ would be read as an argument of the \\ before it.
        body.append("{}" + " & ".join(cells) + r" \\")
    return [
        rf"\begin{{{name}}}[t]",
        r"\centering",
        r"\footnotesize",
        rf"\caption{{{_tex(title)}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(_tex(head) for head in sheet.heads) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        rf"\end{{{name}}}",
    ]


def _tex(text: str) -> str:
    from zslbench.results.tables.latex_text import escape

    return _MINUS.sub("$-$", escape(text)).replace("≤", r"$\leq$")
