"""A grid as text, in the format and for the room that were asked for."""

from __future__ import annotations

import shutil

from zslbench.errors import BadValue
from zslbench.results.tables import terminal as formats
from zslbench.results.tables.latex import TEXT_WIDTH, latex
from zslbench.results.tables.page_width import WIDTHS, width_of
from zslbench.results.tables.table import Grid


def written(grid: Grid, format: str, width: int | str | float | None, piped: int, standalone: bool = False) -> str:
    """Write a grid as LaTeX, Markdown or for the terminal.

    Args:
        width: characters of a line, or for LaTeX inches or one of `page_width.WIDTHS`; None: the terminal's, or what
            fits any page.
        piped: characters of a line where there is no terminal.
        standalone: write a whole LaTeX document.

    Raises:
        BadValue: such a width there is not.
    """
    if format == "latex":
        usual = WIDTHS["page"] if standalone else TEXT_WIDTH
        return latex(grid, usual if width is None else width_of(width), standalone)
    characters = None if width is None else characters_of(width)
    if format == "markdown":
        return formats.markdown(grid, characters or formats.MARKDOWN_WIDTH)
    return formats.terminal(grid, characters or shutil.get_terminal_size((piped, 24)).columns)


def characters_of(width: int | str | float) -> int:
    """Return the characters of a line that a width means.

    Raises:
        BadValue: it is no whole number above 0.
    """
    text = str(width)
    if not text.isascii() or not text.isdigit() or not int(text):
        raise BadValue(f"width {text!r} is no number of characters; give one such as 120, or choose --format latex.")
    return int(text)
