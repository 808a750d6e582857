"""Error by step of training, from the curves that checkpoints leave (Li et al., 2019, Fig. 6)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zslbench.errors import BadValue
from zslbench.results.analysis.advice import run_command
from zslbench.results.analysis.rows import stat
from zslbench.results.plots.frame import Drawn, Frame, Request, keep_percent, say_not_drawn
from zslbench.results.plots.lines import SPREADS, Line, describe_lines, mean_and_ends, panels_of
from zslbench.results.plots.style import line_look
from zslbench.results.tables.table import remarks


def draw_stability(request: Request) -> Drawn:
    """Draw 100 − metric by epoch, a line per method, bands over seeds; a panel per data set, protocol and metric.

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
            points = _points(line, panel.metric, spread)
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
    what = f"Error (100 − {' or '.join(shown)}, percent) of {', '.join(names)} by epoch; nothing is chosen by it."
    trained = [line for line in lacking if "epochs" in line.row.params]
    command = _command(trained, runs) if trained else None
    return frame.drawn(
        [
            *remarks("figure", [what]),
            *describe_lines(lines, shown, f"Bands: {SPREADS[spread]}."),
            *remarks("note", [say_not_drawn("curves", lacking, command)] if lacking else []),
        ]
    )


def _common_metrics(line: Line) -> list[str]:
    """Return the metrics that every seed was judged by at the same step, at least once."""
    names = {name for record in line.records for name in record.curve[-1]["metrics"]}
    return [name for name in names if _points(line, name, "std")]


def _points(line: Line, metric: str, spread: str) -> list[tuple[int, float, float, float]]:
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
