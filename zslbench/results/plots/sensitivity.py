"""Metric against the values of one hyper-parameter (Li et al., 2019, Fig. 5)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zslbench.errors import BadValue
from zslbench.results.plots.files import Drawn
from zslbench.results.plots.lines import SPREADS, Line, Panel, facts, panels_of, said_below, spread_of
from zslbench.results.plots.scale import Scale, written
from zslbench.results.plots.style import Style, add_legend, keep_percent, legend_size, line_look, panels
from zslbench.results.plots.sweep import Swept, nothing_swept, sweeps, swept_parameter
from zslbench.results.tables.table import Remark, remarks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SOULS = "souls"
_K = "k soul samples a class"


def draw_souls(
    lines: Sequence[Line],
    style: Style,
    metrics: Sequence[str] | None = None,
    spread: str = "std",
    runs: Path = Path("runs"),
) -> Drawn:
    """Draw how metrics move with k, the number of soul samples a class (Li et al., 2019, Fig. 7a).

    The sensitivity figure of the parameter ``souls``, of whichever methods have it; see `draw_sensitivity`.

    Raises:
        BadValue: no method has it, or it was not swept.
    """
    having = [line for line in lines if SOULS in line.row.params]
    if not having:
        there = ", ".join(dict.fromkeys(line.row.method for line in lines))
        raise BadValue(
            f"no method asked for has soul samples (there are runs of {there}); name one with -m, as lisgan."
        )
    return draw_sensitivity(having, style, SOULS, metrics, spread, runs=runs, called=_K, values="[1..10]")


def draw_sensitivity(
    lines: Sequence[Line],
    style: Style,
    parameter: str | None = None,
    metrics: Sequence[str] | None = None,
    spread: str = "std",
    logarithmic: Callable[[str, str], bool] = lambda method, name: False,
    runs: Path = Path("runs"),
    called: str = "",
    values: str = "[…,…]",
) -> Drawn:
    """Draw how metrics move with one hyper-parameter, all others kept: a line a setting, bands over seeds.

    On a logarithmic axis 0 stands apart, at the left; values that are no numbers stand side by side.

    Args:
        lines: of any data sets and protocols, a panel each.
        parameter: whose values were swept; None: the only one that differs.
        metrics: a panel each; None: T1 and H.
        spread: ``std`` or ``ci``.
        logarithmic: whether a parameter of a method is declared so.
        runs: the folder that commands in sentences name.
        called: what the axis says instead of the parameter's name.
        values: what the command that makes a sweep proposes.

    Raises:
        BadValue: nothing was swept, or several parameters and none is named. UnknownName: no such parameter.
    """
    name = swept_parameter(lines, parameter, runs)
    grid = [(panel, sweeps(panel, name)) for panel in panels_of(lines, metrics)]
    grid = [(panel, found) for panel, found in grid if found]
    if not grid:
        raise BadValue(nothing_swept(lines, name, runs, values))
    titles = list(dict.fromkeys(one.name for _, found in grid for one in found))
    looks = {title: line_look(place) for place, title in enumerate(titles)}
    figure, axes = panels(style, len(grid), 1.75, legend_size(style, titles)[1] if len(titles) > 1 else 0.0)
    rows: list[dict[str, Any]] = []
    handles: dict[str, Any] = {}
    zero = False
    for one, (panel, found) in zip(axes, grid, strict=True):
        scale = Scale([value for line in found for value, _ in line.points], _is_log(found, name, logarithmic))
        zero |= scale.zero is not None
        for line in found:
            handles[line.name] = _draw(one, line, panel.metric, scale, looks[line.name], spread)
            rows += _rows(line, panel, name, spread)
        scale.dress(one, style, style.panel_inches(len(grid)) - 0.5)
        one.set_xlabel(style.text(called or name))
        one.set_ylabel(style.text(f"{panel.metric} (%)"))
        one.set_title(style.wrapped(panel.head, style.panel_inches(len(grid)) - 0.15))
        one.grid(axis="y")
        one.set_axisbelow(True)
        keep_percent(one)
    if len(titles) > 1:  # the caption names the only one
        add_legend(figure, style, [handles[title] for title in titles], titles)
    swept = [line for _, found in grid for line in found]
    shown = list(dict.fromkeys(panel.metric for panel, _ in grid))
    return Drawn(tuple(axes), tuple(rows), tuple(_remarks(called or name, titles, swept, shown, spread, zero)))


def _remarks(
    name: str, titles: Sequence[str], found: Sequence[Swept], metrics: Sequence[str], spread: str, zero: bool
) -> list[Remark]:
    drawn = [point for line in found for _, point in line.points]
    said = [f"{' and '.join(metrics)} of {', '.join(titles)} against {name}, all other hyper-parameters kept."]
    others = dict.fromkeys(f"{one.name}: {one.given.replace(',', ', ')}" for one in found if one.given)
    said += [f"Given besides: {'. '.join(others)}."] if others else []
    said += ["0 stands apart, at the left of the logarithmic axis."] if zero else []
    if any(line.row.stage == "final" for line in drawn):
        said.append("Measured on the test images: it shows sensitivity and is no way to choose a value.")
    bands = any(line.stochastic and len(line.records) > 1 for line in drawn)
    # The values are on the axis: names of points, and the letters that stand for them, would say them again.
    plain = [dataclasses.replace(line, name=line.row.title, key=_bare(line)) for line in drawn]
    return remarks("figure", said) + said_below(plain, metrics, f"Bands: {SPREADS[spread]}." if bands else "")


def _bare(line: Line) -> Any:
    return dataclasses.replace(line.key, given="", name=line.row.title)


def _is_log(found: Sequence[Swept], name: str, logarithmic: Callable[[str, str], bool]) -> bool:
    methods = {line.row.method for one in found for _, line in one.points}
    return any(logarithmic(method, name) for method in methods)


def _draw(axes: Axes, line: Swept, metric: str, scale: Scale, look: dict[str, Any], spread: str) -> Any:
    points = [
        (scale.at(value), *spread_of(one.row.metrics[metric].values, one.stochastic, spread))
        for value, one in line.points
    ]
    apart = [
        point for (value, _), point in zip(line.points, points, strict=True) if scale.zero is not None and value == 0
    ]
    joined = [point for point in points if point not in apart]
    dash = look if scale.numbers else {**look, "linestyle": "none"}
    (handle,) = axes.plot([one[0] for one in joined], [one[1] for one in joined], **dash)
    colour = look["color"]
    if scale.numbers:
        xs, _, lows, highs = zip(*joined, strict=True)
        axes.fill_between(xs, lows, highs, color=colour, alpha=0.18, lw=0)
    for x, mean, low, high in apart if scale.numbers else points:
        axes.plot([x], [mean], **{**look, "linestyle": "none"})
        axes.plot([x, x], [low, high], color=colour, lw=3, alpha=0.3, solid_capstyle="butt")
    return handle


def _rows(line: Swept, panel: Panel, name: str, spread: str) -> list[dict[str, Any]]:
    rows = []
    for value, one in line.points:
        stat = one.row.metrics[panel.metric]
        mean, low, high = spread_of(stat.values, one.stochastic, spread)
        numbers = {"metric": panel.metric, "mean": mean, "low": low, "high": high, "n": stat.n}
        rows.append(facts(one) | {"name": line.name, "parameter": name, "value": written(value)} | numbers)
    return rows
