"""Error by step of training, from the curves that checkpoints leave (Li et al., 2019, Fig. 6)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zslbench.errors import BadValue
from zslbench.results.analysis.advice import run_command
from zslbench.results.plots.files import Drawn
from zslbench.results.plots.lines import SPREADS, Line, facts, have_spread, panels_of, said_below, spread_of
from zslbench.results.plots.style import Style, add_legend, frame_panel, keep_percent, legend_size, line_look, panels
from zslbench.results.tables.table import remarks

_MOST_NAMED = 6


def draw_stability(
    lines: Sequence[Line],
    style: Style,
    metrics: Sequence[str] | None = None,
    spread: str = "std",
    runs: Path = Path("runs"),
) -> Drawn:
    """Draw 100 − metric by epoch, a line a method, bands over seeds; a panel a data set, protocol and metric.

    A step is drawn where every seed was judged; the last step of training is one, too.

    Args:
        lines: those without a curve are left out, as a sentence says.
        metrics: None: T1 and H; spread: ``std`` or ``ci``; runs: the folder that commands in sentences name.

    Raises:
        BadValue: no line has a curve. UnknownName: a metric that no curve has.
    """
    from matplotlib.ticker import MaxNLocator

    having = [line for line in lines if all(record.curve for record in line.records)]
    lacking = [line for line in lines if line not in having]
    if not having:
        raise BadValue(f"no run asked for was judged while it trained; make curves: `{_advice(lines, runs)}`.")
    grid = panels_of(having, metrics, _metrics_of)
    names = list(dict.fromkeys(line.name for panel in grid for line in panel.lines))
    looks = {name: line_look(place) for place, name in enumerate(names)}
    figure, axes = panels(style, len(grid), 1.75, legend_size(style, names)[1])
    rows: list[dict[str, Any]] = []
    handles: dict[str, Any] = {}
    for one, panel in zip(axes, grid, strict=True):
        for line in panel.lines:
            points = _points(line, panel.metric, spread)
            look = looks[line.name]
            xs, means, lows, highs = zip(*points, strict=True)
            (handles[line.name],) = one.plot(xs, means, markevery=max(1, len(xs) // 10), **look)
            one.fill_between(xs, lows, highs, color=look["color"], alpha=0.18, lw=0)
            n = len(line.records)
            rows += [
                facts(line) | {"metric": panel.metric, "step": x, "error": mean, "low": low, "high": high, "n": n}
                for x, mean, low, high in points
            ]
        frame_panel(one, style, len(grid), panel.head, ("epoch", f"error, 100 − {panel.metric} (%)"))
        one.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        keep_percent(one)
    add_legend(figure, style, [handles[name] for name in names], names)
    drawn = list(dict.fromkeys(line for panel in grid for line in panel.lines))
    shown = list(dict.fromkeys(panel.metric for panel in grid))
    bands = have_spread(drawn)
    said = [
        *remarks(
            "figure",
            [f"Error (100 − {' or '.join(shown)}, percent) of {', '.join(names)} by epoch; nothing is chosen by it."],
        ),
        *said_below(drawn, shown, f"Bands: {SPREADS[spread]}." if bands else ""),
    ]
    if lacking:
        said += remarks("note", [_left_out(lacking, runs)])
    return Drawn(tuple(axes), tuple(rows), tuple(said))


def _metrics_of(line: Line) -> list[str]:
    """Return the metrics that every seed was judged by at the same step, at least once."""
    names = {name for record in line.records for name in record.curve[-1]["metrics"]}
    return [name for name in names if _points(line, name, "std")]


def _points(line: Line, metric: str, spread: str) -> list[tuple[int, float, float, float]]:
    """Return step, mean error and its ends, at the steps that every seed has."""
    seeds = [
        {
            int(point["step"]): 100 - 100 * float(point["metrics"][metric])
            for point in record.curve
            if metric in point["metrics"]
        }
        for record in line.records
    ]
    common = sorted(set.intersection(*(set(one) for one in seeds)))
    return [(step, *spread_of([one[step] for one in seeds], line.stochastic, spread)) for step in common]


def _left_out(lacking: Sequence[Line], runs: Path) -> str:
    names = list(dict.fromkeys(line.name for line in lacking))
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    text = f"Without curves, and not drawn: {', '.join(names[:_MOST_NAMED])}{more}"
    by_epochs = [line for line in lacking if "epochs" in line.row.params]
    return f"{text}; make the first: `{_advice(by_epochs, runs)}`." if by_epochs else f"{text}."


def _advice(lines: Sequence[Line], runs: Path) -> str:
    """Return the command that makes the curves of the first line that trains in epochs."""
    first = next((line for line in lines if "epochs" in line.row.params), lines[0])
    every = max(1, int(first.row.params.get("epochs", 10)) // 10)
    stage = ("--stage", "dev") if first.row.stage == "dev" else ()
    return run_command(first.records, runs, *stage, "--checkpoints", f"every:{every}", "--rerun", "all")
