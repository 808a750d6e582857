"""The critical-difference diagram of methods over data sets (Demšar, 2006), of `plot cd` and `compare --diagram`.

Mean ranks, and bars over methods that are not told apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zslbench.errors import BadValue
from zslbench.files import write_atomically
from zslbench.results.analysis.comparison import METRICS, Across, Comparison, Match, across, match_methods
from zslbench.results.plots.files import Drawn, figure_bytes, file_kind
from zslbench.results.plots.lines import Line, said_below
from zslbench.results.plots.style import COLOURS, FAINT, FONT, INK, Style, settings_from_defaults
from zslbench.results.tables.comparison_tables import percent, short_p, smallest_sentence
from zslbench.results.tables.table import remarks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DEFAULT = ("T1", "H")
WIDTH = 3.4
"""Inches: one column of a paper in two columns."""

_ROW, _CHARACTER, _SHORTEST_AXIS = 0.17, 0.06, 1.1


def draw_ranks(
    lines: Sequence[Line], style: Style, metrics: Sequence[str] | None = None, terms: Sequence[str] = ()
) -> Drawn:
    """Draw mean ranks over data sets, a diagram a metric; bars join methods that Wilcoxon–Holm does not tell apart.

    Args:
        lines: of two data sets or more; metrics: of T1, U, S and H, None: T1 and H.
        terms: the methods by name or spec, each of one line a data set; fewer than two: all lines.

    Raises:
        BadValue: no two data sets share two methods, or terms that pick several lines.
    """
    from matplotlib.text import Text

    records = [record for line in lines for record in line.records]
    found = match_methods(records, terms if len(terms) > 1 else ())
    wanted = [name.upper() for name in metrics or _DEFAULT]
    comparisons = [one for match in found for one in _comparisons(match, wanted)]
    heads = [(one.match.row.dataset, one.metric) for one in comparisons]
    if twice := sorted({dataset for dataset, metric in heads if heads.count((dataset, metric)) > 1}):
        raise BadValue(f"there are several choices of {', '.join(twice)}; choose one with --features and --semantics.")
    tests = [test for name in METRICS if (test := across(comparisons, name)) is not None]
    if not tests:
        there = ", ".join(sorted({line.row.dataset for line in lines}))
        raise BadValue(
            f"a cd figure needs two data sets that share two methods and one of {', '.join(wanted)}; the runs asked "
            f"for are on {there}; run the methods on another one."
        )
    figure = figure_of(tests, style.width)
    for text in figure.findobj(Text):
        text.set_text(style.text(text.get_text()))
    said = [f"Mean ranks over {', '.join(tests[0].datasets)}, 1 is best; methods under one bar are not told apart."]
    said += [f"{test.metric}: {smallest_sentence(test)}" for test in tests]
    ran = {entrant.row.label for match in found for entrant in match.entrants}
    drawn = [line for line in lines if line.row.label in ran]
    shown = [test.metric for test in tests]
    rows = tuple(row for test in tests for row in _rows(test))
    return Drawn(tuple(figure.axes), rows, (*remarks("figure", said), *said_below(drawn, shown)))


def _comparisons(match: Match, wanted: Sequence[str]) -> list[Comparison]:
    return [
        Comparison(match, name, tuple(entrant.row.metrics[name].mean for entrant in match.entrants), {}, ())
        for name in METRICS
        if name in wanted and all(name in entrant.row.metrics for entrant in match.entrants)
    ]


def _rows(test: Across) -> list[dict[str, Any]]:
    grouped = [
        " ".join(str(number + 1) for number, bar in enumerate(test.groups) if place in bar)
        for place in range(len(test.names))
    ]
    return [
        {
            "metric": test.metric,
            "name": name + marks,
            "mean rank": rank,
            "bars": bars,
            **{dataset: row[place] for dataset, row in zip(test.datasets, test.values, strict=True)},
        }
        for place, (name, marks, rank, bars) in enumerate(zip(test.names, test.marks, test.ranks, grouped, strict=True))
    ]


def draw_diagram(diagrams: Sequence[Across], path: Path) -> None:
    """Draw one diagram a metric below each other, one column wide, and write it as PDF, SVG or PNG.

    Raises:
        BadValue: another kind of file.
        StoreError: the file cannot be written.
    """
    kind = file_kind(path, "diagram")
    look = {"font.size": FONT, "font.family": "sans-serif", "pdf.fonttype": 42, "svg.fonttype": "none"}
    with settings_from_defaults(look):
        content = figure_bytes(figure_of(diagrams), kind)
    write_atomically(path, lambda file: file.write(content), f"the diagram {path.name}")


def figure_of(diagrams: Sequence[Across], width: float = WIDTH) -> Figure:
    """Return one diagram a metric below each other, drawn in the font of the current settings.

    Args:
        width: inches; names too long for it make the figure wider, not unreadable.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    heights = [_height(test) for test in diagrams]
    margin = max(_margin(test) for test in diagrams)
    width = max(width, 2 * margin + _SHORTEST_AXIS)
    figure = Figure(figsize=(width, sum(heights)))
    FigureCanvasAgg(figure)
    bottom = 1.0
    for test, height in zip(diagrams, heights, strict=True):
        share = height / sum(heights)
        bottom -= share
        _draw_diagram(figure.add_axes((0.0, bottom, 1.0, share)), test, (width, height), margin)
    return figure


def _height(test: Across) -> float:
    rows = math.ceil(len(test.names) / 2)
    return _ROW * (rows + len(_levels(test)) * 0.55 + 5.3)


def _margin(test: Across) -> float:
    """Return the inches that the longest name takes beside the axis, with its rank."""
    longest = max(len(name + marks) for name, marks in zip(test.names, test.marks, strict=True))
    return 0.12 + _CHARACTER * (longest + len("  12.34"))


def _draw_diagram(axes: Axes, test: Across, size: tuple[float, float], margin: float) -> None:
    """Draw one diagram in inches: the axis on top, bars below it, names left and right on elbow lines."""
    width, height = size
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.axis("off")
    last = len(test.names)
    left, right, top = margin, width - margin, 2.6 * _ROW

    def x(rank: float) -> float:
        return left + (rank - 1) / (last - 1) * (right - left)

    axes.text(width / 2, 0.75 * _ROW, f"mean rank, {test.metric}", ha="center", va="center", color=INK)
    axes.plot([left, right], [top, top], color=INK, lw=0.8, solid_capstyle="butt")
    every = 1 if last <= 9 else 2
    for rank in range(1, last + 1):
        axes.plot([x(rank)] * 2, [top, top - 0.05], color=INK, lw=0.8)
        if (rank - 1) % every == 0:
            axes.text(x(rank), top - 0.08, str(rank), ha="center", va="bottom", color=INK)
    levels = _levels(test)
    for place, bars in enumerate(levels):
        y = top + (place + 1) * 0.55 * _ROW
        for low, high in bars:
            axes.plot([x(low) - 0.025, x(high) + 0.025], [y, y], color=COLOURS[0], lw=2.4, solid_capstyle="round")
    _label(axes, test, x, top, top + (len(levels) * 0.55 + 1.1) * _ROW, (left, right))
    axes.text(width / 2, height - 0.85 * _ROW, _footer(test), ha="center", va="center", color=FAINT, fontsize=6)


def _label(
    axes: Axes, test: Across, x: Callable[[float], float], top: float, first: float, ends: tuple[float, float]
) -> None:
    order = test.order
    half = math.ceil(len(order) / 2)
    for number, place in enumerate(order):
        on_left = number < half
        row = number if on_left else len(order) - 1 - number
        y = first + row * _ROW
        at, edge = x(test.ranks[place]), ends[0] - 0.06 if on_left else ends[1] + 0.06
        axes.plot([at, at, edge], [top, y, y], color=FAINT, lw=0.6, solid_joinstyle="miter")
        axes.plot([at], [top], marker="o", ms=2.6, color=INK, zorder=3)
        name = test.names[place] + test.marks[place]
        shown = f"{name}  {test.ranks[place]:.2f}" if on_left else f"{test.ranks[place]:.2f}  {name}"
        away = -0.04 if on_left else 0.04
        axes.text(edge + away, y, shown, ha="right" if on_left else "left", va="center", color=INK)


def _levels(test: Across) -> list[list[tuple[float, float]]]:
    """Return the bars as ranks from–to, in rows in which none touches another."""
    rows: list[list[tuple[float, float]]] = []
    gap = 0.02 * len(test.names)
    for group in test.groups:
        ranks = [test.ranks[place] for place in group]
        bar = min(ranks), max(ranks)
        row = next((one for one in rows if one[-1][1] + gap < bar[0]), None)
        if row is None:
            rows.append([bar])
        else:
            row.append(bar)
    return rows


def _footer(test: Across) -> str:
    n, alpha = len(test.datasets), percent(1 - test.level)
    nothing = "; none can be told apart" if not test.is_significant(test.smallest_holm) else ""
    return (
        f"{n} data sets; bars: not told apart by Wilcoxon–Holm at {alpha}\n"
        f"smallest p attainable {short_p(test.smallest)}, after Holm {short_p(test.smallest_holm)}{nothing}"
    )
