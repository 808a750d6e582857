"""Curves: U against S as a constant sweeps (Chao et al., 2016), and error by step of training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zslbench.arrays import Array
from zslbench.errors import BadValue
from zslbench.results.analysis.advice import run_command
from zslbench.results.analysis.calibration import calibrate, curve
from zslbench.results.analysis.rows import stat
from zslbench.results.plots.frame import DrawnFigure, FigureRequest, Frame, keep_percent, line_look, say_not_drawn
from zslbench.results.plots.series import (
    SPREADS,
    Line,
    describe_lines,
    group_by_data,
    mean_and_ends,
    name_data,
    panels_of,
)
from zslbench.results.records.record import Record
from zslbench.results.records.store import ResultStore
from zslbench.results.tables.table import remarks

_ROUNDING = 1e-9
_LEVELS = np.linspace(0.0, 1.0, 201)


def draw_curves(request: FigureRequest) -> DrawnFigure:
    """Draw the curve of each method, mean over seeds at each level of S, and the points that it is used at.

    Filled: γ = 0, scores as they are. Hollow: γ chosen on the dev folds, where those were run. AUSUC is in the legend.

    Raises:
        BadValue: no line compares seen with unseen classes. StoreError: a run without predictions.
    """
    lines, store, spread = request.lines, request.store, request.spread or "std"
    if not lines:
        raise BadValue("the runs asked for compare no seen with unseen classes; ask for gzsl runs.")
    dev = [record for record in store.load() if record.ok and record.stage == "dev"]
    groups = group_by_data(lines)
    names = list(dict.fromkeys(line.name for line in lines))
    frame = Frame(request.width, len(groups), 2.3, {name: _with_areas(name, groups) for name in names})
    for axes, group in zip(frame.axes, groups, strict=True):
        for line in group:
            look = line_look(names.index(line.name))
            colour, marker = look["color"], look.pop("marker")
            levels, means, lows, highs = _mean_curve(line, store, spread)
            axes.plot(means, levels, **look)
            axes.fill_betweenx(levels, lows, highs, color=colour, alpha=0.15, lw=0)
            (frame.handles[line.name],) = axes.plot([], [], marker=marker, **look)
            n = {"n": len(line.records)}
            frame.rows += [
                line.facts | {"what": "curve", "S": s, "U": mean, "U low": low, "U high": high} | n
                for s, mean, low, high in zip(*(part.tolist() for part in (levels, means, lows, highs)), strict=True)
            ]
            for gamma, unseen, seen in _points(line, dev, store):
                face = colour if gamma == "γ=0" else "white"
                axes.plot([unseen], [seen], marker=marker, ms=4.5, mfc=face, mec=colour, mew=0.9, ls="none", zorder=4)
                frame.rows.append(line.facts | {"what": gamma, "S": seen, "U": unseen} | n)
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        frame.dress(axes, name_data(group[0].row), ("U, unseen classes (%)", "S, seen classes (%)"), "both")
    titles = [name_data(group[0].row) for group in groups]
    hollow = "`zslbench run … --calibrate` makes the dev folds that γ is chosen on."
    if any(row["what"] == "γ from dev folds" for row in frame.rows):
        hollow = "Hollow: γ with the highest mean H over the dev folds."
    sentences = [
        "Accuracy on unseen against seen classes, both among all classes, as a constant γ is taken off the scores "
        "of seen classes (Chao et al., 2016); U is the mean over seeds at each S.",
        "Numbers in the legend: AUSUC in percent" + (f", on {' / '.join(titles)}." if len(titles) > 1 else "."),
        f"Filled: γ = 0. {hollow}",
    ]
    below = describe_lines(lines, ("U", "S", "AUSUC"), f"Bands: {SPREADS[spread]}, of U.")
    return frame.drawn([*remarks("figure", sentences), *below])


def _with_areas(name: str, groups: Sequence[Sequence[Line]]) -> str:
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
    ends = [mean_and_ends(stat(column.tolist(), line.row.stochastic), spread) for column in unseen.T]
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

    Raises:
        BadValue: no line has a curve. UnknownName: a metric that no curve has.
    """
    from matplotlib.ticker import MaxNLocator

    spread, runs = request.spread or "std", request.store.root
    having = [line for line in request.lines if all(record.curve for record in line.records)]
    lacking = [line for line in request.lines if line not in having]
    if not having:
        advice = f"make curves: `{_command(request.lines, runs)}`"
        raise BadValue(f"no run asked for was judged while it trained; {advice}.")
    panels = panels_of(having, request.metrics, _common_metrics)
    lines = list(dict.fromkeys(line for panel in panels for line in panel.lines))
    names = list(dict.fromkeys(line.name for line in lines))
    frame = Frame(request.width, len(panels), 1.75, {name: name for name in names})
    for axes, panel in zip(frame.axes, panels, strict=True):
        for line in panel.lines:
            points = _errors(line, panel.metric, spread)
            look = line_look(names.index(line.name))
            steps, means, lows, highs = zip(*points, strict=True)
            (frame.handles[line.name],) = axes.plot(steps, means, markevery=max(1, len(steps) // 10), **look)
            axes.fill_between(steps, lows, highs, color=look["color"], alpha=0.18, lw=0)
            about = line.facts | {"metric": panel.metric}
            frame.rows += [
                about | {"step": step, "error": mean, "low": low, "high": high, "n": len(line.records)}
                for step, mean, low, high in points
            ]
        frame.dress(axes, panel.title, ("epoch", f"error, 100 − {panel.metric} (%)"))
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        keep_percent(axes)
    shown = list(dict.fromkeys(panel.metric for panel in panels))
    sentence = f"Error (100 − {' or '.join(shown)}, percent) of {', '.join(names)} by epoch; nothing is chosen by it."
    trained = [line for line in lacking if "epochs" in line.row.params]
    command = _command(trained, runs) if trained else None
    return frame.drawn(
        [
            *remarks("figure", [sentence]),
            *describe_lines(lines, shown, f"Bands: {SPREADS[spread]}."),
            *remarks("note", [say_not_drawn("curves", lacking, command)] if lacking else []),
        ]
    )


def _common_metrics(line: Line) -> list[str]:
    """Return the metrics that every seed was judged by at the same step, at least once."""
    names = {name for record in line.records for name in record.curve[-1]["metrics"]}
    return [name for name in names if _errors(line, name, "std")]


def _errors(line: Line, metric: str, spread: str) -> list[tuple[int, float, float, float]]:
    """Return step, mean error and its ends, at the steps that every seed has."""
    seeds = [
        {int(point["step"]): point["metrics"][metric] for point in record.curve if metric in point["metrics"]}
        for record in line.records
    ]
    errors = {
        step: stat([1 - seed[step] for seed in seeds], line.row.stochastic)
        for step in sorted(set.intersection(*map(set, seeds)))
    }
    return [(step, *mean_and_ends(error, spread)) for step, error in errors.items()]


def _command(lines: Sequence[Line], runs: Path) -> str:
    """Return the command that makes the curves of the first line that trains in epochs."""
    first = next((line for line in lines if "epochs" in line.row.params), lines[0])
    every = max(1, int(first.row.params.get("epochs", 10)) // 10)
    stage = ("--stage", "dev") if first.row.stage == "dev" else ()
    return run_command(first.records, runs, *stage, "--checkpoints", f"every:{every}", "--rerun", "all")
