"""Tables as text, in the format and for the room that were asked for."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence

from zslbench.errors import BadValue, UnknownName
from zslbench.results.tables.latex import TEXT_WIDTH, write_latex
from zslbench.results.tables.markdown import WIDTH as MARKDOWN_WIDTH
from zslbench.results.tables.markdown import write_markdown
from zslbench.results.tables.table import Table
from zslbench.results.tables.terminal import write_terminal

FORMATS = ("terminal", "markdown", "latex", "csv", "json")
DATA_FORMATS = ("csv", "json")

WIDTHS = {"column": 3.25, "page": 6.875, "eccv": 4.8, "neurips": 5.5}
"""Inches: a column and the page of CVPR, the text of ECCV (Springer LNCS) and of NeurIPS."""

NARROWEST, WIDEST = 1.5, 40.0


def check_format(format: str, allowed: Sequence[str] = FORMATS, standalone: bool = False) -> None:
    """Refuse a format that is not offered.

    Raises:
        UnknownName: with those that are. BadValue: `standalone` without LaTeX.
    """
    if format not in allowed:
        raise UnknownName("format", format, allowed)
    if standalone and format != "latex":
        raise BadValue(f"--standalone is a LaTeX document, not {format}; add --format latex, or leave it out.")


def render(
    tables: Table | Sequence[Table],
    format: str,
    width: int | str | float | None = None,
    piped: int = 100,
    standalone: bool = False,
) -> str:
    """Return tables, one below the other, as LaTeX, Markdown or text for the terminal.

    Args:
        width: characters of a line, or for LaTeX inches or one of `WIDTHS`; None: the terminal's, or what fits any
            page.
        piped: characters of a line where there is no terminal.
        standalone: write a whole LaTeX document.

    Raises:
        BadValue: such a width there is not.
    """
    tables = [tables] if isinstance(tables, Table) else list(tables)
    if format == "latex":
        usual = WIDTHS["page"] if standalone else TEXT_WIDTH
        return write_latex(tables, usual if width is None else inches_of(width), standalone)
    if format == "markdown":
        room = MARKDOWN_WIDTH if width is None else columns_of(width)
        parts = [write_markdown(table, room) for table in tables]
    else:
        parts = [write_terminal(table, columns_of(width, piped)) for table in tables]
    return "\n\n".join(parts) + "\n"


def inches_of(width: str | float) -> float:
    """Return the inches that a width means.

    >>> inches_of("page"), inches_of("4.5")
    (6.875, 4.5)

    Raises:
        BadValue: neither a known name nor a sensible number.
    """
    if isinstance(width, str) and width in WIDTHS:
        return WIDTHS[width]
    try:
        inches = float(width)
    except ValueError:
        inches = math.nan
    if not NARROWEST <= inches <= WIDEST:
        known = ", ".join(WIDTHS)
        raise BadValue(
            f"width {str(width)!r} is not known; give one of {known}, or inches from {NARROWEST:g} to {WIDEST:g}."
        )
    return inches


def columns_of(width: int | str | float | None, piped: int = 100) -> int:
    """Return the characters of a line that a width means; None: the terminal's, and `piped` where there is none.

    Raises:
        BadValue: it is no whole number above 0.
    """
    if width is None:
        return shutil.get_terminal_size((piped, 24)).columns
    text = str(width)
    if not text.isascii() or not text.isdigit() or not int(text):
        raise BadValue(f"width {text!r} is no number of characters; give one such as 120, or choose --format latex.")
    return int(text)
