"""Accuracy against seconds: which methods are worth their time."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from zslbench.errors import BadValue
from zslbench.results.plots.files import Drawn
from zslbench.results.plots.lines import SPREADS, Line, facts, have_spread, panels_of, said_below, spread_of
from zslbench.results.plots.style import FAINT, Style, add_legend, frame_panel, legend_size, line_look, panels
from zslbench.results.tables.table import Remark, remarks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PHASES = ("fit", "scores")


def draw_pareto(
    lines: Sequence[Line], style: Style, metrics: Sequence[str] | None = None, spread: str = "std"
) -> Drawn:
    """Draw each method's metric against its seconds of fitting and scoring on a logarithmic axis, and the front.

    The front joins the methods that none other beats in less time.

    Args:
        lines: of any data sets and protocols, a panel each; metrics: None: T1 and H; spread: ``std`` or ``ci``.

    Raises:
        BadValue: records without timings of their own. UnknownName: a metric that there is not.
    """
    timed = [line for line in lines if timed_alone(line)]
    if not timed:
        raise BadValue(
            "the runs asked for hold no timings of their own (several seeds at once have none); "
            "run them with --rerun all --seeds-at-once never."
        )
    grid = panels_of(timed, metrics)
    names = list(dict.fromkeys(line.name for line in timed))
    figure, axes = panels(style, len(grid), 1.9, legend_size(style, names)[1])
    rows: list[dict[str, Any]] = []
    handles: dict[str, Any] = {}
    for one, panel in zip(axes, grid, strict=True):
        points = []
        for line in panel.lines:
            stat = line.row.metrics[panel.metric]
            seconds = statistics.fmean(_seconds(record.timings) for record in line.records)
            mean, low, high = spread_of(stat.values, line.stochastic, spread)
            look = {**line_look(names.index(line.name)), "linestyle": "none", "markersize": 4.5}
            (handles[line.name],) = one.plot([seconds], [mean], zorder=3, **look)
            one.plot([seconds] * 2, [low, high], color=look["color"], lw=0.9, zorder=2)
            numbers = {"metric": panel.metric, "seconds": seconds, "mean": mean, "low": low, "high": high, "n": stat.n}
            points.append(facts(line) | numbers)
        front = on_front([(point["seconds"], point["mean"]) for point in points])
        rows += [point | {"on front": place in front} for place, point in enumerate(points)]
        xs, ys = [points[place]["seconds"] for place in front], [points[place]["mean"] for place in front]
        one.step(xs, ys, where="post", color=FAINT, lw=0.8, zorder=1)
        _in_seconds(one)
        frame_panel(one, style, len(grid), panel.head, ("seconds", f"{panel.metric} (%)"))
    add_legend(
        figure, style, [handles[name] for name in names if name in handles], [name for name in names if name in handles]
    )
    shown = list(dict.fromkeys(panel.metric for panel in grid))
    return Drawn(tuple(axes), tuple(rows), tuple(_remarks(timed, shown, spread, len(lines) - len(timed))))


def _in_seconds(axes: Axes) -> None:
    """Make the horizontal axis logarithmic, its ticks plain numbers with room between them."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

    axes.set_xscale("log")
    low, high = axes.get_xlim()
    decades = math.log10(high / low)
    if decades < 4:
        ticks = _round_seconds(low, high, (1, 2, 5) if decades < 1.5 else (1,))
        axes.set_xlim(ticks[0], ticks[-1])
        axes.xaxis.set_major_locator(FixedLocator(ticks))
    else:
        axes.xaxis.set_major_locator(LogLocator(numticks=5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _round_seconds(low: float, high: float, digits: Sequence[int]) -> list[float]:
    """Return these digits times powers of ten, as few as enclose a range: LogLocator fills a short one with labels.

    >>> _round_seconds(0.015, 0.045, (1, 2, 5)), _round_seconds(0.2, 8, (1,))
    ([0.01, 0.02, 0.05], [0.1, 1.0, 10.0])
    """
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    steps = [float(f"{digit}e{power}") for power in powers for digit in digits]
    first, last = max(step for step in steps if step <= low), min(step for step in steps if step >= high)
    return [step for step in steps if first <= step <= last]


def on_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the places of the points that none other beats in as little time, fastest first.

    >>> on_front([(1.0, 50.0), (2.0, 40.0), (3.0, 60.0)])
    [0, 2]
    """
    found: list[int] = []
    for place in sorted(range(len(points)), key=lambda place: (points[place][0], -points[place][1])):
        if not found or points[place][1] > points[found[-1]][1]:
            found.append(place)
    return found


def timed_alone(line: Line) -> bool:
    """Return whether it is known of each record of a line what it takes alone."""
    return all(record.seconds_known and _seconds(record.timings) > 0 for record in line.records)


def _seconds(timings: Any) -> float:
    return float(sum(timings.get(phase, 0.0) for phase in _PHASES))


def _remarks(lines: Sequence[Line], metrics: Sequence[str], spread: str, untimed: int) -> list[Remark]:
    said = [
        "Accuracy against seconds of fitting and scoring, mean over seeds, each run as if it had been done alone; the "
        "line joins what none other beats in as little time."
    ]
    where = sorted({_machine(record.provenance) for line in lines for record in line.records})
    said.append(
        f"Measured on {where[0]}."
        if len(where) == 1
        else f"Measured on different machines, so the seconds compare roughly: {'; '.join(where)}."
    )
    said += [f"{untimed} without timings of their own not drawn."] if untimed else []
    bars = have_spread(lines)
    return [*remarks("figure", said), *said_below(lines, metrics, f"Bars: {SPREADS[spread]}." if bars else "")]


def _machine(provenance: Any) -> str:
    device, cores = str(provenance.get("device", "a device not recorded")), provenance.get("processors")
    return f"{device} ({cores} processors)" if cores else device
