"""One style for all figures: fonts, and colours that the colour-blind tell apart."""

from __future__ import annotations

import contextlib
import os
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

INK, FAINT = "#222222", "#8a8a8a"
# Okabe & Ito (2008) without the yellow, which white paper swallows.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (5, 1.2, 1, 1.2)))
HATCHES = ("", "////", "----", "\\\\\\\\", "xxxx")
FONT = 7.5
CHARACTER = 0.0078 * FONT
"""Inches that a letter takes on average."""
TICK_FONT = FONT - 1


def escape(text: str) -> str:
    """Return `text` such that it appears as it is, dollar signs and all."""
    return text.replace("$", r"\$")  # two bare ones would begin and end mathematics


def wrap(text: str, inches: float) -> str:
    """Return `text` in lines of about that many inches, as it is to appear."""
    lines = textwrap.wrap(text, max(8, int(inches / CHARACTER)), break_on_hyphens=False)
    return "\n".join(map(escape, lines))


def line_look(place: int) -> dict[str, Any]:
    """Return colour, dash and marker of one line of many; no two of the first 36 share dash and marker."""
    return {
        "color": COLOURS[place % len(COLOURS)],
        "linestyle": DASHES[place % len(DASHES)],
        "marker": MARKERS[place % len(MARKERS)],
    }


@contextlib.contextmanager
def settings_from_defaults(look: dict[Any, Any]) -> Iterator[None]:
    """Draw and write within: matplotlib's own defaults and `look`, whatever the user's files and environment say.

    Neither a matplotlibrc, nor a back end of another environment's notebook, nor a date has a part in a figure. All of
    it is as before afterwards.
    """
    hidden = {name: os.environ.pop(name) for name in ("MPLBACKEND", "SOURCE_DATE_EPOCH") if name in os.environ}
    try:
        first = "matplotlib" not in sys.modules
        import matplotlib

        if first and "MPLBACKEND" in hidden:
            with contextlib.suppress(ValueError):  # that back end is not installed here
                matplotlib.rcParams["backend"] = hidden["MPLBACKEND"]
        # The back end is left alone: to set it would close the figures of a notebook that draws some itself.
        plain: dict[Any, Any] = {name: value for name, value in matplotlib.rcParamsDefault.items() if name != "backend"}
        with matplotlib.rc_context(plain | look):
            yield
    finally:
        os.environ.update(hidden)


@contextlib.contextmanager
def settings() -> Iterator[None]:
    """Draw and write within: fonts stay text (Type 42 in PDF), and the same records give the same file."""
    look: dict[Any, Any] = {
        "font.size": FONT,
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Arial Unicode MS"],
        "axes.titlesize": FONT,
        "axes.labelsize": FONT,
        "axes.linewidth": 0.6,
        "axes.edgecolor": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.formatter.use_mathtext": False,
        "xtick.labelsize": TICK_FONT,
        "ytick.labelsize": TICK_FONT,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.major.size": 2.5,
        "ytick.major.size": 2.5,
        "legend.fontsize": FONT - 0.5,
        "legend.frameon": False,
        "legend.handlelength": 2.4,
        "legend.columnspacing": 1.2,
        "lines.linewidth": 1.1,
        "lines.markersize": 3.2,
        "hatch.linewidth": 0.5,
        "grid.color": "#dddddd",
        "grid.linewidth": 0.5,
        "pdf.fonttype": 42,
        "ps.fonttype": 42,
        "svg.fonttype": "none",
        "svg.hashsalt": "zslbench",
    }
    with settings_from_defaults(look):
        yield
