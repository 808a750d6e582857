"""Critical-difference diagrams (Demšar, 2006): mean ranks, and bars over methods that are not told apart."""

from __future__ import annotations

import contextlib
import io
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zslbench.errors import BadValue
from zslbench.files import write_atomically
from zslbench.results.analysis.comparison import Across

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FILES = ("pdf", "svg", "png")
WIDTH = 3.4
"""Inches: one column of a paper in two columns."""

_INK, _BAR, _FAINT = "#222222", "#0072B2", "#8a8a8a"  # a blue that the colour-blind tell from black
_ROW, _FONT = 0.17, 7.5
_CHARACTER, _SHORTEST_AXIS = 0.06, 1.1
_MOST_COLUMNS = 44


def text_diagram(across: Across, width: int = 100) -> str:
    """Return the diagram for a terminal: a line a method, best first, a dot at its mean rank, bars on the right.

    A vertical bar joins methods that Wilcoxon–Holm does not tell apart.
    """
    order = _order(across)
    names = [across.names[place] + across.marks[place] for place in order]
    room = max(map(len, names))
    steps = len(order) - 1
    bars = [set(group) for group in across.groups]
    cell = max(2, min(_MOST_COLUMNS, width - room - 12 - 2 * len(bars)) // steps)
    every = 2 if cell < 3 and steps > 8 else 1  # numbers of two digits would touch
    numbers = "".join((str(rank) if rank % every == 1 % every else "").ljust(cell) for rank in range(1, steps + 2))
    axis = "├" + ("─" * (cell - 1) + "┼") * (steps - 1) + "─" * (cell - 1) + "┤"
    lines = [" " * (room + 8) + numbers.rstrip(), " " * (room + 8) + axis]
    for place, name in zip(order, names, strict=True):
        at = round((across.ranks[place] - 1) * cell)
        dots = ("·" * at + "●").ljust(steps * cell + 1)
        joined = " ".join("┃" if place in bar else " " for bar in bars)
        lines.append(f"{name.ljust(room)}  {across.ranks[place]:5.2f} {dots}  {joined}".rstrip())
    return "\n".join(lines)


def smallest_sentence(across: Across) -> str:
    """Say the smallest p that so many data sets allow, and whether anything can be told apart at all."""
    n, pairs, alpha = len(across.datasets), len(across.pairs), 1 - across.level
    after = f", {_p(across.smallest_holm)} after Holm over {pairs} pairs" if pairs > 1 else ""
    said = f"With {n} data sets the smallest p that Wilcoxon's test can reach is {_p(across.smallest)}{after}"
    if across.smallest_holm <= alpha + 1e-12:
        return said + "."
    return f"{said}, so no pair can be told apart at {_percent(alpha)}, whatever the numbers."


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


def draw_diagram(diagrams: Sequence[Across], path: Path) -> None:
    """Draw one diagram a metric below each other, one column wide, and write it as PDF, SVG or PNG.

    Raises:
        BadValue: another kind of file.
        StoreError: the file cannot be written.
    """
    kind = known_kind(path)
    look = {"font.size": _FONT, "font.family": "sans-serif", "pdf.fonttype": 42, "svg.fonttype": "none"}
    with settings_from_defaults(look):
        figure = figure_of(diagrams)
        written = io.BytesIO()
        # No date within, so that the same records give the same file.
        about = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}[kind]
        figure.savefig(written, format=kind, dpi=300, metadata=about)
    write_atomically(path, lambda file: file.write(written.getvalue()), f"the diagram {path.name}")


def figure_of(diagrams: Sequence[Across], width: float = WIDTH) -> Figure:
    """Return one diagram a metric below each other, drawn in the font of the current settings.

    Args:
        width: inches; names too long for it make the figure wider, not unreadable.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    heights = [_height(across) for across in diagrams]
    margin = max(_margin(across) for across in diagrams)
    width = max(width, 2 * margin + _SHORTEST_AXIS)
    figure = Figure(figsize=(width, sum(heights)))
    FigureCanvasAgg(figure)
    bottom = 1.0
    for across, height in zip(diagrams, heights, strict=True):
        share = height / sum(heights)
        bottom -= share
        _draw(figure.add_axes((0.0, bottom, 1.0, share)), across, (width, height), margin)
    return figure


def known_kind(path: Path) -> str:
    """Return the kind of file that a diagram's name asks for.

    Raises:
        BadValue: another than PDF, SVG or PNG.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in FILES:
        raise BadValue(f"a diagram is a .pdf, .svg or .png file, not {path.name!r}; name it so, as in ranks.pdf.")
    return kind


def _height(across: Across) -> float:
    rows = math.ceil(len(across.names) / 2)
    return _ROW * (rows + len(_levels(across)) * 0.55 + 5.3)


def _margin(across: Across) -> float:
    """Return the inches that the longest name takes beside the axis, with its rank."""
    longest = max(len(name + marks) for name, marks in zip(across.names, across.marks, strict=True))
    return 0.12 + _CHARACTER * (longest + len("  12.34"))


def _draw(axes: Axes, across: Across, size: tuple[float, float], margin: float) -> None:
    """Draw one diagram in inches: the axis on top, bars below it, names left and right on elbow lines."""
    width, height = size
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.axis("off")
    last = len(across.names)
    left, right, top = margin, width - margin, 2.6 * _ROW

    def x(rank: float) -> float:
        return left + (rank - 1) / (last - 1) * (right - left)

    axes.text(width / 2, 0.75 * _ROW, f"mean rank, {across.metric}", ha="center", va="center", color=_INK)
    axes.plot([left, right], [top, top], color=_INK, lw=0.8, solid_capstyle="butt")
    every = 1 if last <= 9 else 2
    for rank in range(1, last + 1):
        axes.plot([x(rank)] * 2, [top, top - 0.05], color=_INK, lw=0.8)
        if (rank - 1) % every == 0:
            axes.text(x(rank), top - 0.08, str(rank), ha="center", va="bottom", color=_INK)
    levels = _levels(across)
    for place, bars in enumerate(levels):
        y = top + (place + 1) * 0.55 * _ROW
        for low, high in bars:
            axes.plot([x(low) - 0.025, x(high) + 0.025], [y, y], color=_BAR, lw=2.4, solid_capstyle="round")
    _label(axes, across, x, top, top + (len(levels) * 0.55 + 1.1) * _ROW, (left, right))
    axes.text(width / 2, height - 0.85 * _ROW, _footer(across), ha="center", va="center", color=_FAINT, fontsize=6)


def _label(
    axes: Axes, across: Across, x: Callable[[float], float], top: float, first: float, ends: tuple[float, float]
) -> None:
    order = _order(across)
    half = math.ceil(len(order) / 2)
    for number, place in enumerate(order):
        on_left = number < half
        row = number if on_left else len(order) - 1 - number
        y = first + row * _ROW
        at, edge = x(across.ranks[place]), ends[0] - 0.06 if on_left else ends[1] + 0.06
        axes.plot([at, at, edge], [top, y, y], color=_FAINT, lw=0.6, solid_joinstyle="miter")
        axes.plot([at], [top], marker="o", ms=2.6, color=_INK, zorder=3)
        name = across.names[place] + across.marks[place]
        shown = f"{name}  {across.ranks[place]:.2f}" if on_left else f"{across.ranks[place]:.2f}  {name}"
        away = -0.04 if on_left else 0.04
        axes.text(edge + away, y, shown, ha="right" if on_left else "left", va="center", color=_INK)


def _levels(across: Across) -> list[list[tuple[float, float]]]:
    """Return the bars as ranks from–to, in rows in which none touches another."""
    rows: list[list[tuple[float, float]]] = []
    gap = 0.02 * len(across.names)
    for group in across.groups:
        ranks = [across.ranks[place] for place in group]
        bar = min(ranks), max(ranks)
        row = next((one for one in rows if one[-1][1] + gap < bar[0]), None)
        if row is None:
            rows.append([bar])
        else:
            row.append(bar)
    return rows


def _footer(across: Across) -> str:
    n, alpha = len(across.datasets), _percent(1 - across.level)
    nothing = "; none can be told apart" if across.smallest_holm > 1 - across.level + 1e-12 else ""
    return (
        f"{n} data sets; bars: not told apart by Wilcoxon–Holm at {alpha}\n"
        f"smallest p attainable {_p(across.smallest)}, after Holm {_p(across.smallest_holm)}{nothing}"
    )


def _order(across: Across) -> list[int]:
    return sorted(range(len(across.names)), key=lambda place: across.ranks[place])


def _p(value: float) -> str:
    return f"{value:.2g}" if value < 0.001 else f"{value:.4f}".rstrip("0").rstrip(".")


def _percent(alpha: float) -> str:
    return f"{100 * alpha:.4g} %"
