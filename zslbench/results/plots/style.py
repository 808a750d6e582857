"""One style for all figures: widths of the usual conferences, fonts, colours that the colour-blind tell apart."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from zslbench.results.tables.render import WIDTHS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
TICK_CHARACTER = CHARACTER * TICK_FONT / FONT
"""The same beside a tick."""


@dataclasses.dataclass(frozen=True)
class Style:
    """How a figure is to look: its width in inches."""

    width: float = WIDTHS["column"]

    def wrapped(self, text: str, inches: float) -> str:
        """Return `text` in lines of that many inches, roughly."""
        lines = textwrap.wrap(text, max(8, int(inches / CHARACTER)), break_on_hyphens=False)
        return "\n".join(map(self.text, lines))

    def panel_inches(self, count: int) -> float:
        """Return the width of each of `count` panels, what stands beside its axes included."""
        return self.width / min(count, self.most_columns)

    @property
    def most_columns(self) -> int:
        """How many panels stand side by side at most."""
        return max(1, round(self.width / 1.7))

    def text(self, text: str) -> str:
        """Return `text` such that it appears as it is, dollar signs and all."""
        return text.replace("$", r"\$")  # two bare ones would begin and end mathematics


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


def panels(style: Style, count: int, height: float, legend: float = 0.0) -> tuple[Figure, list[Axes]]:
    """Return a figure with `count` axes, two or more side by side as the width has room for.

    Args:
        height: inches of a row of panels; legend: inches that are left below for it.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(count, style.most_columns)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(style.width, rows * height + legend), layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03)  # type: ignore[union-attr,call-arg]
    grid = figure.subplots(rows, columns, squeeze=False)
    flat = list(grid.ravel())
    for spare in flat[count:]:
        spare.remove()
    return figure, flat[:count]


def frame_panel(axes: Axes, style: Style, count: int, title: str, labels: tuple[str, str], grid: str = "y") -> None:
    """Write title and labels of the axes of one of `count` panels, and put a grid behind what is drawn.

    Args:
        labels: of the horizontal and the vertical axis, empty for none; grid: lines across ``x``, ``y`` or ``both``.
    """
    axes.set_xlabel(style.text(labels[0]))
    axes.set_ylabel(style.text(labels[1]))
    axes.set_title(style.wrapped(title, style.panel_inches(count) - 0.15))
    axes.grid(axis=grid)  # type: ignore[arg-type]
    axes.set_axisbelow(True)


def keep_percent(axes: Axes) -> None:
    """Let the vertical axis end where percentages do, and span two points at least: noise must not look steep."""
    low, high = axes.get_ylim()
    short = max(0.0, (2.0 - (high - low)) / 2)
    low, high = low - short, high + short
    axes.set_ylim(max(low, -2.0), min(high, 102.0))


def legend_size(style: Style, names: Sequence[str]) -> tuple[int, float]:
    """Return how many columns a legend of these names has below a figure, and its inches of height."""
    if not names:
        return 1, 0.0
    longest = max(map(len, names)) * CHARACTER + 0.5
    columns = max(1, min(len(names), int(style.width / longest)))
    return columns, 0.15 * math.ceil(len(names) / columns) + 0.08


def add_legend(figure: Figure, style: Style, handles: Sequence[Any], names: Sequence[str]) -> None:
    """Put a legend below all axes, where it hides nothing."""
    columns, _ = legend_size(style, names)
    texts = [style.wrapped(name, style.width - 0.5) for name in names]
    figure.legend(list(handles), texts, loc="outside lower center", ncols=columns, borderaxespad=0.2)
