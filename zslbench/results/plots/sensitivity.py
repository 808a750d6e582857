"""Metric against the values of one hyper-parameter (Li et al., 2019, Fig. 5): which runs are a sweep, and its axis."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from zslbench.errors import BadValue, UnknownName
from zslbench.identity import canonical_json
from zslbench.results.analysis.advice import ablate_command
from zslbench.results.analysis.rows import group_values, natural
from zslbench.results.plots import series
from zslbench.results.plots.frame import (
    BAND,
    INK,
    TICK_CHARACTER,
    DrawnFigure,
    FigureRequest,
    Frame,
    choose_looks,
    describe_colours,
    escape,
    keep_percent,
    symbol,
)
from zslbench.spec import brackets, parse_recorded

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_Value = int | float | str | bool


def draw_souls(request: FigureRequest) -> DrawnFigure:
    """Draw how metrics move with k, the number of soul samples per class (Li et al., 2019, Fig. 7a)."""
    return draw_sensitivity(dataclasses.replace(request, parameter="souls"), "soul samples per class")


def draw_sensitivity(request: FigureRequest, axis: str = "") -> DrawnFigure:
    """Draw how metrics move with one hyper-parameter, all others kept: a line per setting, bands over seeds.

    On a logarithmic axis 0 stands apart, at the left; values that are no numbers stand side by side. `axis` is what the
    axis says instead of the parameter's name.
    """
    spread = request.spread or "std"
    name = _choose_parameter(request)
    panels = [(panel, _find_sweeps(panel, name)) for panel in series.panels_of(request.lines, request.metrics)]
    panels = [(panel, sweeps) for panel, sweeps in panels if sweeps]
    if not panels:
        raise BadValue(_describe_no_sweep(request, name))
    every = [sweep for _, sweeps in panels for sweep in sweeps]
    titles = list(dict.fromkeys(sweep.name for sweep in every))
    # The caption names the only one.
    values_of = (
        [
            (sweep.name, statistics.fmean(line.row.metrics[panel.metric].mean for _, line in sweep.points))
            for sweep in sweeps
        ]
        for panel, sweeps in panels
    )
    labels = {sweep.name: sweep.look_key for sweep in every}
    looks = choose_looks(request, labels, series.score_in_panels(values_of))
    frame = Frame(request.width, len(panels), 1.75, {title: title for title in titles if len(titles) > 1}, looks)
    zero = False
    for axes, (panel, sweeps) in zip(frame.axes, panels, strict=True):
        log = any(request.known.logarithmic(line.row.method, name) for sweep in sweeps for _, line in sweep.points)
        scale = _Scale([value for sweep in sweeps for value, _ in sweep.points], log)
        zero |= scale.zero is not None
        for sweep in sweeps:
            points = []
            for value, line in sweep.points:
                measured = series.estimate(line.row.metrics[panel.metric], spread)
                points.append((scale.place(value), *measured[:3]))
                about = line.facts | {"name": sweep.name, "parameter": name, "value": _spell(value)}
                frame.rows.append(about | {"metric": panel.metric} | measured._asdict())
            band = 0.0 if frame.is_grey(sweep.name) else BAND
            look = frame.look(sweep.name) | frame.layer(sweep.name)
            frame.add_handle(sweep.name, _draw(axes, points, scale, look, band))
        scale.dress(axes, frame.panel_width - 0.5)
        frame.dress(axes, panel.title, (axis or symbol(name), f"{panel.metric} (%)"))
        keep_percent(axes)
    metrics = list(dict.fromkeys(panel.metric for panel, _ in panels))
    methods = list(dict.fromkeys(line.row.title for sweep in every for _, line in sweep.points))
    # The values are on the axis: names of points would say them again.
    lines = [series.rename_line(line, line.row.title) for sweep in every for _, line in sweep.points]
    sentences = [
        f"{' and '.join(metrics)} of {' and '.join(methods)} against {axis or symbol(name)}, all else kept.",
        *describe_colours(looks, titles, f"mean {' and '.join(metrics)}", len(panels)),
    ]
    given = dict.fromkeys(f"{sweep.name}: {sweep.given}" for sweep in every if sweep.given)
    sentences += [f"Given besides: {'. '.join(given)}."] if given else []
    sentences += ["0 stands apart, at the left of the logarithmic axis."] if zero else []
    if any(line.row.stage == "final" for line in lines):
        sentences.append("Measured on test images, so no value may be chosen by it.")
    return frame.drawn(series.describe(sentences, lines, metrics, f"Bands: {series.SPREADS[spread]}."))


def _draw(
    axes: Axes, points: Sequence[tuple[float, float, float, float]], scale: _Scale, look: dict[str, Any], band: float
) -> Any:
    """Draw points of place, mean, low and high, joined where they are numbers, and return the handle of a legend."""
    apart = [point for point in points if point[0] == scale.zero]
    xs, means, lows, highs = zip(*(point for point in points if point not in apart), strict=True)
    bare = {**look, "linestyle": "none"}
    (handle,) = axes.plot(xs, means, **look if scale.numbers else bare)
    if scale.numbers:
        axes.fill_between(xs, lows, highs, color=look["color"], alpha=band, lw=0)
    for x, mean, low, high in apart if scale.numbers else points:
        axes.plot([x], [mean], **bare)
        axes.plot([x, x], [low, high], color=look["color"], lw=3, alpha=2 * band, solid_capstyle="butt")
    return handle


@dataclasses.dataclass(frozen=True, eq=False)
class Sweep:
    """The values of one parameter: the name and look of its line, what was given besides, and the runs of each."""

    name: str
    look_key: str
    given: str
    points: tuple[tuple[_Value, series.Line], ...]


def _choose_parameter(request: FigureRequest) -> str:
    """Return the parameter to draw: the one asked for, else the only one that was swept."""
    if request.parameter is not None:
        known = {name for line in request.lines for name in line.row.params}
        if request.parameter not in known:
            raise UnknownName("hyper-parameter", request.parameter, known)
        return request.parameter
    swept = swept_parameters(request.lines)
    if not swept:
        raise BadValue(_describe_no_sweep(request, None))
    if len(swept) > 1:
        raise BadValue(f"several hyper-parameters were swept ({', '.join(swept)}); choose one with --param.")
    return swept[0]


def swept_parameters(lines: Sequence[series.Line]) -> list[str]:
    """Return the hyper-parameters of which lines of some data set have two values or more, all others kept."""
    groups = series.group_by_data(lines)
    known = sorted({name for line in lines for name in line.row.params})
    return [name for name in known if any(_families(group, name) for group in groups)]


def _families(lines: Sequence[series.Line], name: str) -> list[list[series.Line]]:
    """Return the lines that differ in one parameter alone, and have two values of it or more.

    Two values count where they were asked for with the same presets: S1 and S2 are no sweep.
    """
    swept = []
    for family in series.group_by_rest(lines, {name}, lambda row: row.selection == "oracle"):
        values = group_values(
            (parse_recorded(line.row.label).presets, canonical_json(line.row.params[name])) for line in family
        )
        if any(len(of_presets) > 1 for of_presets in values.values()):
            swept.append(family)
    return swept


def _find_sweeps(panel: series.Panel, name: str) -> list[Sweep]:
    """Return the sweeps of one parameter in a panel, in order of their names."""
    families = _families(panel.lines, name)
    rows = []
    for family in families:
        first = family[0].row
        rest = {key: value for key, value in first.params.items() if key != name}
        # A cascade that is swept makes only some of the points transductive.
        transductive = any(line.row.setting == "transductive" for line in family)
        setting = "transductive" if transductive else first.setting
        rows.append(dataclasses.replace(first, label=_common_label(family, name), params=rest, setting=setting))
    whole = {id(line.row): line for line in series.name_lines(rows)}
    sweeps = []
    for family, row in zip(families, rows, strict=True):
        points: dict[str, tuple[_Value, series.Line]] = {}
        for line in family:  # a validated run and the same values as given are one point: the first of them
            points.setdefault(canonical_json(line.row.params[name]), (line.row.params[name], line))
        ordered = sorted(points.values(), key=lambda point: _sort_key(point[0]))
        line = whole[id(row)]
        sweeps.append(Sweep(line.name, series.look_key(row), line.key.unnamed(line.name), tuple(ordered)))
    return sorted(sweeps, key=lambda sweep: natural(sweep.name))


def _common_label(lines: Sequence[series.Line], name: str) -> str:
    """Return the label that holds for all values: presets and parameters that every line was given, but one."""
    first, *others = [parse_recorded(line.row.label) for line in lines]
    presets = tuple(preset for preset in first.presets if all(preset in spec.presets for spec in others))
    given = {
        key: value
        for key, value in first.params.items()
        if key != name and all(spec.params.get(key) == value for spec in others)
    }
    return str(dataclasses.replace(first, presets=presets, params=given))


def _describe_no_sweep(request: FigureRequest, name: str | None) -> str:
    """Return the sentence that there is no sweep (of `name`), with the command that makes one."""
    first = next((line for line in request.lines if name in line.row.params), request.lines[0])
    stage = ("--stage", "dev") if first.row.stage == "dev" else ()
    sweep = f"{name or next(iter(first.row.params), 'NAME')}=[…,…]"
    command = ablate_command(first.records, first.row.label, request.store.root, "--sweep", sweep, *stage)
    return (
        f"{name or 'every hyper-parameter'} has one value in the runs asked for, all others kept; sweep it first: "
        f"`{command}`."
    )


class _Scale:
    """Where values stand on the axis: a logarithmic one where `log` asks for it and the values allow it."""

    def __init__(self, values: Sequence[_Value], log: bool) -> None:
        self.values = sorted(dict.fromkeys(values), key=_sort_key)
        self.numbers = not any(_sort_key(value)[0] for value in self.values)
        positive = [float(value) for value in self.values if self.numbers and float(value) > 0]
        # A range may reach down to 0, as that of a weight does; nothing below 0 has a logarithm.
        self.log = log and self.numbers and len(positive) > 1 and all(float(value) >= 0 for value in self.values)
        self.zero: float | None = None
        if self.log and 0 in self.values:
            step = (positive[-1] / positive[0]) ** (1 / (len(positive) - 1))
            self.zero = positive[0] / max(step, 3.0)

    def place(self, value: _Value) -> float:
        """Return the place of a value."""
        if not self.numbers:
            return float(self.values.index(value))
        return self.zero if self.zero is not None and value == 0 else float(value)

    def dress(self, axes: Axes, inches: float) -> None:
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
        shown = [escape(text) if place % every == 0 else "" for place, text in enumerate(texts)]
        axes.set_xticks([self.place(value) for value in self.values], shown)
        if self.zero is not None:
            gap = math.sqrt(self.zero * min(float(value) for value in self.values if float(value) > 0))
            stroke: dict[str, Any] = {"marker": (2, 0, -20), "ms": 7, "mew": 0.8, "ls": "none", "color": INK}
            axes.plot([gap], [0], **stroke, clip_on=False, zorder=5, transform=axes.get_xaxis_transform())


def _sort_key(value: _Value) -> tuple[bool, float, str]:
    """Return the key that sorts values: numbers by size, then others by name."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return not number, float(value) if number else 0.0, str(value)


def _spell(value: _Value) -> str:
    """Return a value as the spec grammar writes it."""
    return brackets({"_": value})[3:-1]
