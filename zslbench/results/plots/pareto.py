"""Accuracy against seconds: which methods are worth their time."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from zslbench.errors import BadValue
from zslbench.results.plots.frame import FAINT, DrawnFigure, FigureRequest, Frame, line_look
from zslbench.results.plots.series import SPREADS, Line, describe_lines, mean_and_ends, panels_of
from zslbench.results.records.record import Record
from zslbench.results.tables.table import remarks

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_pareto(request: FigureRequest) -> DrawnFigure:
    """Draw each method's metric against its seconds of fitting and scoring on a logarithmic axis, and the front.

    The front joins the methods that none other beats in less time.

    Raises:
        BadValue: records without timings of their own. UnknownName: a metric that there is not.
    """
    spread = request.spread or "std"
    timed = [line for line in request.lines if timed_alone(line)]
    if not timed:
        raise BadValue(
            "the runs asked for hold no timings of their own (several seeds at once have none); "
            "run them with --rerun all --seeds-at-once never."
        )
    panels = panels_of(timed, request.metrics)
    names = list(dict.fromkeys(line.name for line in timed))
    frame = Frame(request.width, len(panels), 1.9, {name: name for name in names})
    for axes, panel in zip(frame.axes, panels, strict=True):
        points = []
        for line in panel.lines:
            stat = line.row.metrics[panel.metric]
            seconds = statistics.fmean(map(_seconds, line.records))
            mean, low, high = mean_and_ends(stat, spread)
            look = {**line_look(names.index(line.name)), "linestyle": "none", "markersize": 4.5}
            (frame.handles[line.name],) = axes.plot([seconds], [mean], zorder=3, **look)
            axes.plot([seconds] * 2, [low, high], color=look["color"], lw=0.9, zorder=2)
            numbers = {"metric": panel.metric, "seconds": seconds, "mean": mean, "low": low, "high": high, "n": stat.n}
            points.append(line.facts | numbers)
        front = on_front([(point["seconds"], point["mean"]) for point in points])
        frame.rows += [point | {"on front": place in front} for place, point in enumerate(points)]
        xs, ys = [points[place]["seconds"] for place in front], [points[place]["mean"] for place in front]
        axes.step(xs, ys, where="post", color=FAINT, lw=0.8, zorder=1)
        _set_seconds_axis(axes)
        frame.dress(axes, panel.title, ("seconds", f"{panel.metric} (%)"))
    untimed = len(request.lines) - len(timed)
    machines = sorted({_machine(record) for line in timed for record in line.records})
    sentences = [
        "Accuracy against seconds of fitting and scoring, mean over seeds, each run as if it had been done alone; the "
        "line joins what none other beats in as little time.",
        f"Measured on {machines[0]}."
        if len(machines) == 1
        else f"Measured on different machines, so the seconds compare roughly: {'; '.join(machines)}.",
        *([f"{untimed} without timings of their own not drawn."] if untimed else []),
    ]
    below = describe_lines(timed, [panel.metric for panel in panels], f"Bars: {SPREADS[spread]}.")
    return frame.drawn([*remarks("figure", sentences), *below])


def _set_seconds_axis(axes: Axes) -> None:
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
    front: list[int] = []
    for place in sorted(range(len(points)), key=lambda place: (points[place][0], -points[place][1])):
        if not front or points[place][1] > points[front[-1]][1]:
            front.append(place)
    return front


def timed_alone(line: Line) -> bool:
    """Return whether it is known of each record of a line what it takes alone."""
    return all(record.seconds_known and _seconds(record) > 0 for record in line.records)


def _seconds(record: Record) -> float:
    return float(sum(record.timings.get(phase, 0.0) for phase in ("fit", "scores")))


def _machine(record: Record) -> str:
    device, cores = str(record.provenance.get("device", "a device not recorded")), record.provenance.get("processors")
    return f"{device} ({cores} processors)" if cores else device
