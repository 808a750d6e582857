"""A grid as text, in the format and for the room that were asked for."""

from __future__ import annotations

import shutil

from zslbench.results import formats
from zslbench.results.grid import Grid
from zslbench.results.latex import MAX_CHARACTERS, latex


def written(grid: Grid, format: str, width: int | None, piped: int) -> str:
    """Write a grid as LaTeX, Markdown or for the terminal.

    Args:
        width: characters of a line; None: the page's, or the terminal's.
        piped: characters of a line where there is no terminal.
    """
    if format == "latex":
        return latex(grid, width or MAX_CHARACTERS)
    if format == "markdown":
        return formats.markdown(grid, width or formats.MARKDOWN_WIDTH)
    return formats.terminal(grid, width or shutil.get_terminal_size((piped, 24)).columns)
