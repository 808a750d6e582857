"""The critical-difference diagram (Demšar, 2006): mean ranks over data sets, and bars over what is not told apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from zslbench.errors import BadValue
from zslbench.results.analysis.comparison import METRICS, Comparison, CrossDatasetTest, compare_across, match_methods
from zslbench.results.plots import frame
from zslbench.results.plots.series import DEFAULT_METRICS, describe
from zslbench.results.tables.comparison_tables import percent, short_p, smallest_sentence
from zslbench.visible import title_data

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW, _SHORTEST_AXIS = 0.17, 1.0
"""Inches."""
_SMALLEST_FONT = 6.0


def draw_ranks(request: frame.FigureRequest) -> frame.DrawnFigure:
    """Draw mean ranks over data sets, a diagram per metric; bars join methods that Wilcoxon–Holm does not tell apart.

    Methods asked for are of one line per data set; fewer than two: all lines.
    """
    records = [record for line in request.lines for record in line.records]
    matches = match_methods(records, request.methods if len(request.methods) > 1 else ())
    wanted = [name.upper() for name in request.metrics or DEFAULT_METRICS]
    comparisons = [
        Comparison(match, name, tuple(entrant.row.metrics[name].mean for entrant in match.entrants), {}, ())
        for match in matches
        for name in METRICS
        if name in wanted and all(name in entrant.row.metrics for entrant in match.entrants)
    ]
    data = [(comparison.match.row.dataset, comparison.metric) for comparison in comparisons]
    if twice := sorted({dataset for dataset, metric in data if data.count((dataset, metric)) > 1}):
        choices = ", ".join(map(title_data, twice))
        raise BadValue(f"there are several choices of {choices}; choose one with --features and --semantics.")
    tests = [test for name in METRICS if (test := compare_across(comparisons, name)) is not None]
    if not tests:
        datasets = ", ".join(sorted({line.row.data_name for line in request.lines}))
        raise BadValue(
            f"a cd figure needs two data sets that share two methods and one of {', '.join(wanted)}; the runs asked "
            f"for are on {datasets}; run the methods on another one."
        )
    figure = _draw_tests(tests, request.width)
    sentences = [
        f"Mean ranks over {', '.join(map(title_data, tests[0].datasets))}, 1 is best; methods under one bar do not "
        "differ significantly.",
        *(f"{test.metric}: {smallest_sentence(test)}" for test in tests),
    ]
    labels = {entrant.row.label for match in matches for entrant in match.entrants}
    compared = [line for line in request.lines if line.row.label in labels]
    rows = tuple(row for test in tests for row in _rows(test))
    below = describe(sentences, compared, [test.metric for test in tests])
    return frame.DrawnFigure(tuple(figure.axes), rows, tuple(below))


def _rows(test: CrossDatasetTest) -> list[dict[str, Any]]:
    rows = []
    for place, name in enumerate(test.titles):
        bars = " ".join(str(number) for number, bar in enumerate(test.groups, start=1) if place in bar)
        about = {"metric": test.metric, "name": name, "mean rank": test.ranks[place], "bars": bars}
        rows.append(
            about | {dataset: values[place] for dataset, values in zip(test.datasets, test.values, strict=True)}
        )
    return rows


def _draw_tests(tests: Sequence[CrossDatasetTest], width: float) -> Figure:
    """Return one diagram per metric below each other, `width` inches wide; long names make it wider."""
    heights = [_ROW * (math.ceil(len(test.names) / 2) + len(_stack_bars(test)) * 0.55 + 5.3) for test in tests]
    longest = max(frame.text_width(f"{title}  12.34", 1.0) for test in tests for title in test.titles)
    # Long names make letters smaller first, and then the figure wider.
    font = min(frame.FONT, max(_SMALLEST_FONT, (width - _SHORTEST_AXIS - 0.24) / 2 / longest))
    margin = 0.12 + longest * font
    width = max(width, 2 * margin + _SHORTEST_AXIS)
    figure = frame.new_figure((width, sum(heights)))
    bottom = 1.0
    for test, height in zip(tests, heights, strict=True):
        share = height / sum(heights)
        bottom -= share
        _draw_test(figure.add_axes((0.0, bottom, 1.0, share)), test, (width, height), margin, font)
    return figure


def _draw_test(axes: Axes, test: CrossDatasetTest, size: tuple[float, float], margin: float, font: float) -> None:
    """Draw one diagram in inches: the axis on top, bars below it, names left and right on elbow lines."""
    width, height = size
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.axis("off")
    last = len(test.names)
    left, right, top = margin, width - margin, 2.6 * _ROW

    def x(rank: float) -> float:
        return left + (rank - 1) / (last - 1) * (right - left)

    axes.text(width / 2, 0.75 * _ROW, f"mean rank, {test.metric}", ha="center", va="center", color=frame.INK)
    axes.plot([left, right], [top, top], color=frame.INK, lw=0.8, solid_capstyle="butt")
    every = 1 if last <= 9 else 2
    for tick in range(1, last + 1):
        axes.plot([x(tick)] * 2, [top, top - 0.05], color=frame.INK, lw=0.8)
        if (tick - 1) % every == 0:
            axes.text(x(tick), top - 0.08, str(tick), ha="center", va="bottom", color=frame.INK)
    levels = _stack_bars(test)
    for level, bars in enumerate(levels):
        y = top + (level + 1) * 0.55 * _ROW
        for low, high in bars:
            axes.plot([x(low) - 0.025, x(high) + 0.025], [y, y], color=frame.COLOURS[0], lw=2.4, solid_capstyle="round")
    for number, place in enumerate(test.order):
        on_left = number < math.ceil(last / 2)
        y = top + (len(levels) * 0.55 + 1.1 + (number if on_left else last - 1 - number)) * _ROW
        rank, name = test.ranks[place], frame.escape(test.titles[place])
        edge = left - 0.06 if on_left else right + 0.06
        axes.plot([x(rank), x(rank), edge], [top, y, y], color=frame.FAINT, lw=0.6, solid_joinstyle="miter")
        axes.plot([x(rank)], [top], marker="o", ms=2.6, color=frame.INK, zorder=3)
        text, align = (f"{name}  {rank:.2f}", "right") if on_left else (f"{rank:.2f}  {name}", "left")
        axes.text(edge + (-0.04 if on_left else 0.04), y, text, ha=align, va="center", color=frame.INK, fontsize=font)
    axes.text(width / 2, height - 0.85 * _ROW, _footer(test), ha="center", va="center", color=frame.FAINT, fontsize=6)


def _stack_bars(test: CrossDatasetTest) -> list[list[tuple[float, float]]]:
    """Return the bars as ranks from–to, in rows in which none touches another."""
    rows: list[list[tuple[float, float]]] = []
    gap = 0.02 * len(test.names)
    for group in test.groups:
        ranks = [test.ranks[place] for place in group]
        bar = min(ranks), max(ranks)
        free = next((row for row in rows if row[-1][1] + gap < bar[0]), None)
        if free is None:
            rows.append([bar])
        else:
            free.append(bar)
    return rows


def _footer(test: CrossDatasetTest) -> str:
    n, alpha = len(test.datasets), percent(1 - test.level)
    nothing = "; no difference can be significant" if not test.is_significant(test.smallest_holm) else ""
    return (
        f"{n} data sets; bars: no significant difference (Wilcoxon–Holm at {alpha})\n"
        f"smallest p attainable {short_p(test.smallest)}, after Holm {short_p(test.smallest_holm)}{nothing}"
    )
