"""Tables of text as studies print them: sections of rows and sentences below, for a terminal, a page or a program."""

from __future__ import annotations

import dataclasses
import re
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zslbench.errors import UnknownName
from zslbench.files import csv_text, json_text, write_text

DATA_FORMATS = ("csv", "json")
_PIPE_WIDTH = 120
_LATEX = str.maketrans(
    {
        "±": r"$\pm$",
        "†": r"$^{\dagger}$",
        "‡": r"$^{\ddagger}$",
        "§": r"$^{\S}$",
        "−": "$-$",
        "–": "--",
        "×": r"$\times$",
        "→": r"$\rightarrow$",
    }
)
_MARKDOWN = re.compile(r"([\\`*_<>|~$&#])")


@dataclasses.dataclass(frozen=True)
class Section:
    """One table: its title, heads, rows of text, and a letter a column that aligns it (l or r)."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    align: str


def check_format(format: str, allowed: Sequence[str]) -> None:
    """Refuse a format that is not offered.

    Raises:
        UnknownName: with those that are.
    """
    if format not in allowed:
        raise UnknownName("format", format, allowed)


def page(sections: Sequence[Section], sentences: Sequence[str], format: str, width: int | None = None) -> str:
    """Write sections and the sentences below them as terminal, markdown or latex text."""
    if format == "latex":
        return _latex(sections, sentences)
    if format == "markdown":
        parts = [part for one in sections for part in (f"**{_escaped(one.title)}**", _table(one, "pipe")) if part]
        return "\n\n".join([*parts, " ".join(map(_escaped, sentences))]).rstrip() + "\n"
    room = width or shutil.get_terminal_size((_PIPE_WIDTH, 24)).columns
    parts = [f"{one.title}\n{_table(one, 'simple', room)}" for one in sections]
    below = [textwrap.fill(text, max(room, 40), subsequent_indent="  ", break_on_hyphens=False) for text in sentences]
    return "\n\n".join([*parts, "\n".join(below)]).rstrip() + "\n"


def data(rows: Sequence[Mapping[str, Any]], format: str) -> str:
    """Write rows of facts as csv (a line each) or json (an object each)."""
    if format == "json":
        return json_text([dict(row) for row in rows])
    return csv_text(rows)


def write(text: str, output: Path | None) -> None:
    """Write `text` to a file where one is named.

    Raises:
        StoreError: it cannot be written.
    """
    if output is not None:
        write_text(output, text, f"the table {output.name}")


def _table(section: Section, kind: str, room: int = 0) -> str:
    from tabulate import tabulate

    heads, rows = section.heads, section.rows
    if kind == "pipe":
        heads = tuple(map(_escaped, heads))
        rows = tuple(tuple(map(_escaped, row)) for row in rows)
    align = [{"l": "left", "r": "right"}[letter] for letter in section.align]
    widths = _widths(section, room) if room else None
    return str(
        tabulate(
            rows, heads, tablefmt=kind, disable_numparse=True, colalign=align if rows else None, maxcolwidths=widths
        )
    )


def _widths(section: Section, room: int) -> list[int | None] | None:
    """Return the width that the widest column of words is folded to where a table is wider than the room."""
    columns = [max(len(row[place]) for row in (section.heads, *section.rows)) for place in range(len(section.heads))]
    over = sum(columns) + 2 * (len(columns) - 1) - room
    words = [place for place, letter in enumerate(section.align) if letter == "l"]
    if over <= 0 or not words:
        return None
    widest = max(words, key=lambda place: columns[place])
    return [max(columns[place] - over, 16) if place == widest else None for place in range(len(columns))]


def _latex(sections: Sequence[Section], sentences: Sequence[str]) -> str:
    from tabulate import tabulate

    lines = [r"% needs \usepackage{booktabs}", r"\begin{table}[t]", r"\centering", r"\footnotesize"]
    lines += [r"\setlength{\tabcolsep}{4pt}", rf"\caption{{{latex_text(' '.join(sentences))}}}"]
    for one in sections:
        align = [{"l": "left", "r": "right"}[letter] for letter in one.align]
        body = tabulate(one.rows, one.heads, tablefmt="latex_booktabs", disable_numparse=True, colalign=align)
        lines += [r"\par\medskip", rf"{latex_text(one.title)}\par\smallskip", _guarded(body.translate(_LATEX))]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _guarded(body: str) -> str:
    """Put an empty group before a row that begins with [ or *: the \\\\ before it would read it as an argument."""
    return re.sub(r"^(\s*)(?=[\[*])", r"\1{}", body, flags=re.MULTILINE)


def latex_text(text: str) -> str:
    """Return `text` with the characters that LaTeX reads as commands escaped.

    >>> latex_text("cub_x: 50 % ± 1")
    'cub\\\\_x: 50 \\\\% $\\\\pm$ 1'
    """
    from tabulate import tabulate

    row = tabulate([[text]], tablefmt="latex_booktabs", disable_numparse=True).splitlines()[2]
    return row.removesuffix("\\\\").strip().translate(_LATEX)


def _escaped(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", text)
