"""Methods side by side: U against S (Chao et al., 2016), error by step of training, accuracy against seconds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zslbench.arrays import Array
from zslbench.errors import BadValue
from zslbench.results.analysis.advice import run_command
from zslbench.results.analysis.calibration import calibrate, curve
from zslbench.results.analysis.rows import stat
from zslbench.results.plots.frame import (
    BAND,
    FAINT,
    DrawnFigure,
    FigureRequest,
    Frame,
    choose_looks,
    describe_colours,
    keep_percent,
    set_whole_ticks,
)
from zslbench.results.plots.series import (
    SPREADS,
    Line,
    MeanWithEnds,
    Panel,
    describe,
    estimate,
    estimate_steps,
    group_by_data,
    labels_of,
    lines_in,
    mean_or_zero,
    name_data,
    name_panels,
    names_of,
    panels_of,
    say_not_drawn,
    score_in_panels,
    split_by_unit,
)
from zslbench.results.records.record import Record
from zslbench.results.records.store import ResultStore

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROUNDING = 1e-9
_LEVELS = np.linspace(0.0, 1.0, 201)


def draw_curves(request: FigureRequest) -> DrawnFigure:
    """Draw the curve of each method, mean over seeds at each level of S, and the points that it is used at.

    Filled: scores as they are. Hollow: the constant chosen on the dev folds, where those were run. AUSUC is in the
    legend. The caption has no γ for the constant, as the legend has one for the ``gamma`` of methods.
    """
    lines, store, spread = request.lines, request.store, request.spread or "std"
    dev = [record for record in store.load() if record.ok and record.stage == "dev"]
    groups = group_by_data(lines)
    titles = [name_data(group[0].row) for group in groups]
    labels = labels_of(lines)
    areas = ([(line.name, mean_or_zero(line, "AUSUC")) for line in group] for group in groups)
    looks = choose_looks(request, labels, score_in_panels(areas))
    heading = "AUSUC (%)"
    if len(titles) > 1:
        heading += f" on {' / '.join(name_panels([group[0].row for group in groups]))}"
    legend = {name: _add_areas(name, groups) for name in labels}
    frame = Frame(request.width, len(groups), 2.2, legend, looks, heading)
    for axes, group, title in zip(frame.axes, groups, titles, strict=True):
        for line in group:
            look = frame.look(line.name)
            colour, marker = look["color"], look.pop("marker")
            levels, means, lows, highs = _mean_curve(line, store, spread)
            axes.plot(means, levels, **look, **frame.layer(line.name))
            frame.add_handle(line.name, axes.plot([], [], marker=marker, **look)[0])
            if not frame.is_grey(line.name):
                axes.fill_betweenx(levels, lows, highs, color=colour, alpha=BAND, lw=0)
            n = {"n": len(line.records)}
            frame.rows += [
                line.facts | {"what": "curve", "S": s, "U": mean, "U low": low, "U high": high} | n
                for s, mean, low, high in np.column_stack([levels, means, lows, highs]).tolist()
            ]
            for gamma, unseen, seen in _points(line, dev, store):
                face = colour if gamma == "γ=0" else "white"
                point = {**look, "marker": marker or ".", "linestyle": "none", "ms": 4.5, "mfc": face, "mew": 0.9}
                axes.plot([unseen], [seen], **point, zorder=4 - frame.is_grey(line.name))
                frame.rows.append(line.facts | {"what": gamma, "S": seen, "U": unseen} | n)
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        frame.dress(axes, title, ("U, unseen classes (%)", "S, seen classes (%)"), "both")
    hollow = "`zslbench run … --calibrate` makes the dev folds that the constant is chosen on."
    if any(row["what"] == "γ from dev folds" for row in frame.rows):
        hollow = "Hollow: with the constant of the highest mean H over the dev folds."
    sentences = [
        "Accuracy on seen against unseen classes as a constant is taken off the scores of seen classes (Chao et al., "
        "2016).",
        f"Filled: scores as they are. {hollow}",
        *describe_colours(looks, [*labels], "AUSUC", len(groups)),
    ]
    return frame.drawn(describe(sentences, lines, ("U", "S", "AUSUC"), f"Bands: {SPREADS[spread]}, of U."))


def _add_areas(name: str, groups: Sequence[Sequence[Line]]) -> str:
    """Return a name with its AUSUC on each data set, a dash where it did not run."""
    areas = [next((line.row.metrics.get("AUSUC") for line in group if line.name == name), None) for group in groups]
    text = " / ".join("–" if area is None else f"{area.mean:.1f}" for area in areas)
    return f"{name}: {text}" if any(areas) else name


def _mean_curve(line: Line, store: ResultStore, spread: str) -> tuple[Array, Array, Array, Array]:
    """Return levels of S that every seed reaches, down to U = 0 at the last, with mean U and its ends, in percent."""
    curves = [curve(store.predictions(record)) for record in line.records]
    top = min(float(seed.seen.max()) for seed in curves)
    levels = np.append(_LEVELS[top > _LEVELS], top)
    # S is a sum of many fractions: a step that stands at a level must not miss it by rounding.
    unseen = np.stack([seed.unseen_at(levels - _ROUNDING) for seed in curves])
    ends = [estimate(stat(column.tolist(), line.row.stochastic), spread)[:3] for column in unseen.T]
    mean, low, high = np.array([*ends, (0.0, 0.0, 0.0)]).T
    return 100 * np.append(levels, top), mean, np.maximum(low, 0.0), high


def _points(line: Line, dev: Sequence[Record], store: ResultStore) -> list[tuple[str, float, float]]:
    """Return which γ each point is of, its U and its S."""
    points = [("γ=0", line.row.metrics["U"].mean, line.row.metrics["S"].mean)]
    calibrated = calibrate(line.records, dev, store.predictions).records
    if all("U cs" in record.metrics for record in calibrated):
        unseen, seen = (stat(record.metrics[name] for record in calibrated).mean for name in ("U cs", "S cs"))
        points.append(("γ from dev folds", unseen, seen))
    return points


def draw_stability(request: FigureRequest) -> DrawnFigure:
    """Draw 100 − metric by epoch (Li et al., 2019, Fig. 6), a line per method, bands over seeds.

    A step is drawn where every seed was judged; the last step of training is one, too. Lines without a curve are left
    out, as a sentence says.
    """
    spread, runs = request.spread or "std", request.store.root
    judged = [line for line in request.lines if all(record.curve for record in line.records)]
    lacking = [line for line in request.lines if line not in judged]
    if not judged:
        advice = f"make curves: `{_curve_command(request.lines, runs)}`"
        raise BadValue(f"no run asked for was judged while it trained; {advice}.")
    panels = split_by_unit(panels_of(judged, request.metrics, _common_metrics))
    lines = lines_in(panels, judged)
    names = names_of(lines)
    errors_of = [{line: _errors(line, panel.metric, spread) for line in panel.lines} for panel in panels]
    lasts = ([(line.name, -[*errors.values()][-1].mean) for line, errors in every.items()] for every in errors_of)
    looks = choose_looks(request, labels_of(lines), score_in_panels(lasts))
    frame = Frame(request.width, len(panels), 1.75, {name: name for name in names}, looks)
    for axes, panel, every in zip(frame.axes, panels, errors_of, strict=True):
        for line, errors in every.items():
            frame.draw_line(axes, line.name, [*errors], [*errors.values()])
            about = line.facts | {"metric": panel.metric}
            frame.rows += [
                about | {"step": step, "error": error.mean, "low": error.low, "high": error.high, "n": error.n}
                for step, error in errors.items()
            ]
        frame.dress(axes, panel.title, (panel.lines[0].unit, f"error, 100 − {panel.metric} (%)"))
        set_whole_ticks(axes)
        keep_percent(axes)
    metrics = list(dict.fromkeys(panel.metric for panel in panels))
    sentences = [
        f"Error (100 − {' or '.join(metrics)}) while training; nothing is chosen by it.",
        *describe_colours(looks, names, f"{' and '.join(metrics)} at the end", len(panels)),
    ]
    trained = [line for line in lacking if "epochs" in line.row.params]
    command = _curve_command(trained, runs) if trained else None
    below = describe(sentences, lines, metrics, f"Bands: {SPREADS[spread]}.")
    return frame.drawn([*below, *say_not_drawn("curves", lacking, command)])


def _common_metrics(line: Line) -> list[str]:
    """Return the metrics that every seed was judged by at the same step, at least once."""
    names = {name for record in line.records for name in record.curve[-1]["metrics"]}
    return [name for name in names if _errors(line, name, "std")]


def _errors(line: Line, metric: str, spread: str) -> dict[int, MeanWithEnds]:
    """Return the error at each step that every seed has."""
    judged = ([point for point in record.curve if metric in point["metrics"]] for record in line.records)
    seeds = ({int(point["step"]): 100 * (1 - point["metrics"][metric]) for point in points} for points in judged)
    return estimate_steps(seeds, line.row.stochastic, spread)


def _curve_command(lines: Sequence[Line], runs: Path) -> str:
    """Return the command that makes the curves of the first line that trains in epochs."""
    first = next((line for line in lines if "epochs" in line.row.params), lines[0])
    every = max(1, int(first.row.params.get("epochs", 10)) // 10)
    stage = ("--stage", "dev") if first.row.stage == "dev" else ()
    return run_command(first.records, runs, *stage, "--checkpoints", f"every:{every}", "--rerun", "all")


def draw_pareto(request: FigureRequest) -> DrawnFigure:
    """Draw each method's metric against its seconds of fitting and scoring on a logarithmic axis, and the front.

    The front joins the methods that none other beats in less time.
    """
    spread = request.spread or "std"
    timed = [line for line in request.lines if timed_alone(line)]
    if not timed:
        raise BadValue(
            "the runs asked for hold no timings of their own (several seeds at once have none); "
            "run them with --rerun all --seeds-at-once never."
        )
    panels = panels_of(timed, request.metrics)
    drawn_names = names_of(lines_in(panels, timed))
    looks = _choose_pareto_looks(request, panels)
    frame = _draw_panels(request, panels, looks, spread)
    untimed = len(request.lines) - len(timed)
    machines = sorted({_machine(record) for line in timed for record in line.records})
    sentences = [
        "Accuracy against seconds of fitting and scoring; the line joins the methods that none other beats in less "
        "time.",
        f"Measured on {machines[0]}."
        if len(machines) == 1
        else f"Measured on different machines, so the seconds compare roughly: {'; '.join(machines)}.",
        *([f"{untimed} without timings of their own not drawn."] if untimed else []),
        *describe_colours(looks, drawn_names, "accuracy", len(panels), first=", those on the line first"),
    ]
    return frame.drawn(describe(sentences, timed, [panel.metric for panel in panels], f"Bars: {SPREADS[spread]}."))


def _choose_pareto_looks(request: FigureRequest, panels: Sequence[Panel]) -> dict[str, dict[str, Any]]:
    """Return the looks of methods, those on a front before others."""
    scores = []
    for panel in panels:
        points = [(_mean_seconds(line), line.row.metrics[panel.metric].mean) for line in panel.lines]
        front = find_front(points)
        scores.append([(line.name, points[at][1] + 1000.0 * (at in front)) for at, line in enumerate(panel.lines)])
    return choose_looks(request, labels_of(lines_in(panels, request.lines)), score_in_panels(scores))


def _draw_panels(request: FigureRequest, panels: Sequence[Panel], looks: Mapping[str, Any], spread: str) -> Frame:
    """Draw the panels of a pareto figure."""
    legend = {name: name for name in names_of(lines_in(panels, request.lines))}
    frame = Frame(request.width, len(panels), 1.9, legend, looks, only_markers=True)
    for axes, panel in zip(frame.axes, panels, strict=True):
        points = []
        for line in panel.lines:
            seconds, value = _mean_seconds(line), estimate(line.row.metrics[panel.metric], spread)
            look = frame.look(line.name) | {"linestyle": "none", "markersize": 4.2}
            marker = {"marker": look["marker"] or ".", "zorder": 3 - frame.is_grey(line.name)}
            (handle,) = axes.plot([seconds], [value.mean], **(look | marker))
            axes.plot([seconds] * 2, [value.low, value.high], color=look["color"], lw=0.8, alpha=0.6, zorder=2)
            frame.add_handle(line.name, handle)
            points.append(line.facts | {"metric": panel.metric, "seconds": seconds} | value._asdict())
        front = find_front([(point["seconds"], point["mean"]) for point in points])
        frame.rows += [point | {"on front": place in front} for place, point in enumerate(points)]
        xs, ys = [points[place]["seconds"] for place in front], [points[place]["mean"] for place in front]
        axes.step(xs, ys, where="post", color=FAINT, lw=0.8, zorder=1)
        _set_seconds_axis(axes)
        frame.dress(axes, panel.title, ("fitting and scoring (s)", f"{panel.metric} (%)"))
        axes.margins(y=0.12)
    return frame


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


def find_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the places of the points that none other beats in as little time, fastest first.

    >>> find_front([(1.0, 50.0), (2.0, 40.0), (3.0, 60.0)])
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


def _mean_seconds(line: Line) -> float:
    return statistics.fmean(map(_seconds, line.records))


def _seconds(record: Record) -> float:
    return float(sum(record.timings.get(phase, 0.0) for phase in ("fit", "scores")))


def _machine(record: Record) -> str:
    device, cores = str(record.provenance.get("device", "a device not recorded")), record.provenance.get("processors")
    return f"{device} ({cores} processors)" if cores else device
