"""Metric against the values of one hyper-parameter (Li et al., 2019, Fig. 5): which runs are a sweep, and its axis."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zslbench.errors import BadValue, UnknownName
from zslbench.identity import canonical_json
from zslbench.results.analysis.advice import ablate_command
from zslbench.results.analysis.rows import natural
from zslbench.results.plots.files import Drawn
from zslbench.results.plots.lines import (
    SPREADS,
    Line,
    Panel,
    facts,
    have_spread,
    named,
    panels_of,
    said_below,
    spread_of,
)
from zslbench.results.plots.style import (
    INK,
    TICK_CHARACTER,
    Style,
    add_legend,
    frame_panel,
    keep_percent,
    legend_size,
    line_look,
    panels,
)
from zslbench.results.tables.table import Remark, remarks
from zslbench.spec import brackets, parse_recorded

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SOULS = "souls"
_K = "k soul samples a class"
_Value = int | float | str | bool


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
    name = _choose_parameter(lines, parameter, runs)
    grid = [(panel, _find_sweeps(panel, name)) for panel in panels_of(lines, metrics)]
    grid = [(panel, found) for panel, found in grid if found]
    if not grid:
        raise BadValue(_describe_no_sweep(lines, name, runs, values))
    titles = list(dict.fromkeys(one.name for _, found in grid for one in found))
    looks = {title: line_look(place) for place, title in enumerate(titles)}
    figure, axes = panels(style, len(grid), 1.75, legend_size(style, titles)[1] if len(titles) > 1 else 0.0)
    rows: list[dict[str, Any]] = []
    handles: dict[str, Any] = {}
    zero = False
    for one, (panel, found) in zip(axes, grid, strict=True):
        scale = _Scale([value for line in found for value, _ in line.points], _is_log(found, name, logarithmic))
        zero |= scale.zero is not None
        for line in found:
            handles[line.name] = _draw(one, line, panel.metric, scale, looks[line.name], spread)
            rows += _rows(line, panel, name, spread)
        scale.dress(one, style, style.panel_inches(len(grid)) - 0.5)
        frame_panel(one, style, len(grid), panel.head, (called or name, f"{panel.metric} (%)"))
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
    bands = have_spread(drawn)
    # The values are on the axis: names of points, and the letters that stand for them, would say them again.
    plain = [dataclasses.replace(line, name=line.row.title, key=_bare(line)) for line in drawn]
    return remarks("figure", said) + said_below(plain, metrics, f"Bands: {SPREADS[spread]}." if bands else "")


def _bare(line: Line) -> Any:
    return dataclasses.replace(line.key, given="", name=line.row.title)


def _is_log(found: Sequence[Swept], name: str, logarithmic: Callable[[str, str], bool]) -> bool:
    methods = {line.row.method for one in found for _, line in one.points}
    return any(logarithmic(method, name) for method in methods)


def _draw(axes: Axes, line: Swept, metric: str, scale: _Scale, look: dict[str, Any], spread: str) -> Any:
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
        rows.append(facts(one) | {"name": line.name, "parameter": name, "value": _spell(value)} | numbers)
    return rows


@dataclasses.dataclass(frozen=True, eq=False)
class Swept:
    """One sweep: its name, the parameters that it was given besides, and a line of records a value."""

    name: str
    given: str
    points: tuple[tuple[_Value, Line], ...]


def _choose_parameter(lines: Sequence[Line], asked: str | None, runs: Path) -> str:
    """Return the parameter to draw: the one asked for, else the only one that was swept.

    Raises:
        UnknownName: no method has it. BadValue: none was swept, or several.
    """
    known = {name for line in lines for name in line.row.params}
    if asked is not None:
        if asked not in known:
            raise UnknownName("hyper-parameter", asked, known)
        return asked
    moving = swept_parameters(lines)
    if len(moving) == 1:
        return moving[0]
    if not moving:
        raise BadValue(_describe_no_sweep(lines, None, runs))
    raise BadValue(f"several hyper-parameters were swept ({', '.join(moving)}); choose one with --param.")


def swept_parameters(lines: Sequence[Line]) -> list[str]:
    """Return the hyper-parameters of which lines of some data set have two values or more, all others kept."""
    groups = _by_data(lines)
    known = sorted({name for line in lines for name in line.row.params})
    return [name for name in known if any(_families(own, name) for own in groups)]


def _by_data(lines: Sequence[Line]) -> list[Sequence[Line]]:
    found: dict[tuple[str, tuple[str, ...]], list[Line]] = {}
    for panel in panels_of(lines, None):
        found.setdefault((panel.head, tuple(sorted(panel.lines[0].row.metrics))), []).extend(panel.lines)
    return [list(dict.fromkeys(own)) for own in found.values()]


def _families(lines: Sequence[Line], name: str) -> list[list[Line]]:
    """Return the lines that differ in one parameter alone, and have two values of it or more."""
    found: dict[str, list[Line]] = {}
    for line in lines:
        row = line.row
        if name not in row.params:
            continue
        rest = {key: value for key, value in row.params.items() if key != name}
        found.setdefault(canonical_json([row.method, row.version, rest, row.selection == "oracle"]), []).append(line)
    return [own for own in found.values() if _moves(own, name)]


def _moves(lines: Sequence[Line], name: str) -> bool:
    """Return whether lines that were asked for with the same presets have two values: S1 and S2 are no sweep."""
    values: dict[tuple[str, ...], set[str]] = {}
    for line in lines:
        values.setdefault(parse_recorded(line.row.label).presets, set()).add(canonical_json(line.row.params[name]))
    return any(len(own) > 1 for own in values.values())


def _find_sweeps(panel: Panel, name: str) -> list[Swept]:
    """Return the sweeps of one parameter in a panel, in order of their names."""
    families = _families(panel.lines, name)
    bare = []
    for own in families:
        rest = {key: value for key, value in own[0].row.params.items() if key != name}
        # The setting is the line's where all its points have it: a cascade that is swept makes only some transductive.
        settings = {line.row.setting for line in own}
        setting = "transductive" if "transductive" in settings else own[0].row.setting
        bare.append(dataclasses.replace(own[0].row, label=_in_common(own, name), params=rest, setting=setting))
    out = []
    for own, row in zip(families, bare, strict=True):
        (whole,) = [line for line in named(bare) if line.row is row]
        found: dict[str, tuple[_Value, Line]] = {}
        for line in own:  # a validated run and the same values as given are one point: the first of them
            found.setdefault(canonical_json(line.row.params[name]), (line.row.params[name], line))
        out.append(
            Swept(whole.name, whole.key.given, tuple(sorted(found.values(), key=lambda point: _sort_key(point[0]))))
        )
    return sorted(out, key=lambda one: natural(one.name))


def _in_common(lines: Sequence[Line], name: str) -> str:
    """Return the label that holds for all values: presets and parameters that every line was given, but one."""
    specs = [parse_recorded(line.row.label) for line in lines]
    presets = tuple(preset for preset in specs[0].presets if all(preset in spec.presets for spec in specs))
    given = {
        key: value
        for key, value in specs[0].params.items()
        if key != name and all(spec.params.get(key) == value for spec in specs)
    }
    return str(dataclasses.replace(specs[0], presets=presets, params=given))


def _describe_no_sweep(lines: Sequence[Line], name: str | None, runs: Path, values: str = "[…,…]") -> str:
    """Return the sentence that there is no sweep (of `name`), with the command that makes one."""
    first = next((line for line in lines if name in line.row.params), lines[0])
    shown = name or next(iter(first.row.params), "NAME")
    extra = ("--sweep", f"{shown}={values}", *(("--stage", "dev") if first.row.stage == "dev" else ()))
    what = f"{name} has" if name else "every hyper-parameter has"
    return (
        f"{what} one value in the runs asked for, all others kept; sweep it first: "
        f"`{ablate_command(first.records, first.row.label, runs, *extra)}`."
    )


class _Scale:
    """Where values stand on the axis.

    Args:
        log: whether it is to be logarithmic, where the values allow it.
    """

    def __init__(self, values: Sequence[_Value], log: bool) -> None:
        self.values = sorted(dict.fromkeys(values), key=_sort_key)
        self.numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in self.values)
        positive = [float(one) for one in self.values if self.numbers and float(one) > 0]
        # A range may reach down to 0, as that of a weight does; nothing below 0 has a logarithm.
        self.log = log and self.numbers and len(positive) > 1 and all(float(one) >= 0 for one in self.values)
        self.zero: float | None = None
        if self.log and 0 in self.values:
            step = (positive[-1] / positive[0]) ** (1 / (len(positive) - 1))
            self.zero = positive[0] / max(step, 3.0)

    def at(self, value: _Value) -> float:
        """Return the place of a value."""
        if not self.numbers:
            return float(self.values.index(value))
        return self.zero if self.zero is not None and value == 0 else float(value)

    def dress(self, axes: Axes, style: Style, inches: float) -> None:
        """Set scale and ticks: the values themselves, every other one unnamed where `inches` have no room for all."""
        from matplotlib.ticker import NullLocator

        if self.log:
            axes.set_xscale("log")
            axes.xaxis.set_minor_locator(NullLocator())
        texts = [_spell(value) for value in self.values]
        room = inches / TICK_CHARACTER
        every = 1
        while every < len(texts) and sum(len(text) + 2 for text in texts[::every]) > room:
            every += 1
        shown = [style.text(text) if place % every == 0 else "" for place, text in enumerate(texts)]
        axes.set_xticks([self.at(value) for value in self.values], shown)
        if self.zero is not None:
            gap = math.sqrt(self.zero * min(float(one) for one in self.values if float(one) > 0))
            axes.plot(
                [gap],
                [0],
                marker=(2, 0, -20),
                ms=7,
                mew=0.8,
                color=INK,
                clip_on=False,
                zorder=5,
                transform=axes.get_xaxis_transform(),
                ls="none",
            )


def _sort_key(value: _Value) -> tuple[bool, float, str]:
    """Return the key that sorts values: numbers by size, then others by name."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return not number, float(value) if number else 0.0, str(value)


def _spell(value: _Value) -> str:
    """Return a value as the spec grammar writes it."""
    return brackets({"_": value})[3:-1]
