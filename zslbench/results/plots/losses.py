"""Losses that methods logged while they trained, as kept in records: a panel per loss."""

from __future__ import annotations

import re
from collections.abc import Sequence

from zslbench.errors import BadValue, UnknownName
from zslbench.results.analysis.advice import run_command
from zslbench.results.plots import series
from zslbench.results.plots.frame import (
    DrawnFigure,
    FigureRequest,
    Frame,
    choose_looks,
    describe_colours,
    set_log_axis,
    set_whole_ticks,
)

_MOST_PANELS = 12
_MOST_COLUMNS, _HEIGHT = 2, 1.4
"""Panels side by side, as wide as a curve needs, and inches of a panel."""
_MANY_TIMES = 100.0
"""The axis of a positive loss is logarithmic if the largest value is this many times the smallest."""


def draw_losses(request: FigureRequest) -> DrawnFigure:
    """Draw each loss by epoch or iteration, a line per method, mean over seeds with bands.

    A step is drawn where the loss of every seed is a finite number.
    """
    spread, runs = request.spread or "std", request.store.root
    logged = [line for line in request.lines if line.losses]
    lacking = [line for line in request.lines if line not in logged]
    if not logged:
        trained = [line for line in lacking if {"epochs", "iterations"} & line.row.params.keys()]
        command = run_command((trained or lacking)[0].records, runs, "--rerun", "all")
        raise BadValue(
            "no run asked for kept losses: methods log them where they train by gradient steps, and runs of earlier "
            f"versions kept none; run such a method again, as in `{command}`."
        )
    panels = _panels(logged, request.metrics)
    left_out = list(dict.fromkeys(panel.metric for panel in panels[_MOST_PANELS:]))
    panels = panels[:_MOST_PANELS]
    lines = series.lines_in(panels, logged)
    names = series.names_of(lines)
    accuracy = next(name for name in ("T1", "H", *lines[0].row.metrics) if name in lines[0].row.metrics)
    groups = series.group_by_data(lines)
    scores = series.score_in_panels(
        [(line.name, series.mean_or_zero(line, accuracy)) for line in group] for group in groups
    )
    looks = choose_looks(request, series.labels_of(lines), scores)
    legend = {name: name for name in names}
    frame = Frame(request.width, len(panels), _HEIGHT, legend, looks, most_columns=_MOST_COLUMNS)
    rows = [panel.lines[0].row for panel in panels]
    protocols = len({row.protocol for row in rows}) > 1
    titles = [
        title + (f", {row.protocol}" if protocols else "")
        for title, row in zip(series.name_panels(rows), rows, strict=True)
    ]
    for axes, panel, title in zip(frame.axes, panels, titles, strict=True):
        values: list[float] = []
        for line in panel.lines:
            points = mean_losses(line, panel.metric, spread)
            frame.draw_line(axes, line.name, [*points], [*points.values()])
            about = line.facts | {"loss": panel.metric, "unit": panel.lines[0].unit}
            frame.rows += [about | {"step": step} | point._asdict() for step, point in points.items()]
            values += [end for point in points.values() for end in (point.low, point.high)]
        if min(values) > 0 and max(values) > _MANY_TIMES * min(values):
            set_log_axis(axes)
        frame.dress(axes, title if len({*titles}) > 1 else "", (panel.lines[0].unit, write_loss(panel.metric)))
        set_whole_ticks(axes)
    sentences = [
        f"Losses while training, by {' and '.join(dict.fromkeys(line.unit for line in lines))}.",
        *([f"Not drawn: {', '.join(left_out)}; choose with --metric."] if left_out else []),
        *describe_colours(looks, names, accuracy, len(groups)),
    ]
    below = series.describe(sentences, lines, (accuracy,), f"Bands: {series.SPREADS[spread]}.")
    about_losses = [remark for remark in below if remark.kind not in ("stage", "metrics", "selection")]
    return frame.drawn([*about_losses, *series.say_not_drawn("losses", lacking, None)])


def write_loss(name: str) -> str:
    """Return the name of a loss as papers write it.

    >>> write_loss("l_r1"), write_loss("real_souls")
    ('L_R1', 'real souls')
    """
    return name.upper() if re.fullmatch(r"l_[a-z]+\d*", name, re.ASCII) else name.replace("_", " ")


def _panels(lines: Sequence[series.Line], asked: Sequence[str] | None) -> list[series.Panel]:
    """Return a panel for each data set, protocol, unit of steps and loss; UnknownName: no line has such a loss."""
    order = list(dict.fromkeys(name for line in lines for name in line.losses))
    by_case = {name.casefold(): name for name in order}
    for name in asked or ():
        if name.casefold() not in by_case:
            raise UnknownName("loss", name, order)
    wanted = [by_case[name.casefold()] for name in asked] if asked else order
    panels = [
        series.Panel(name, tuple(line for line in group if name in line.losses))
        for group in series.group_by_data(lines)
        for name in wanted
    ]
    panels = series.split_by_unit(panel for panel in panels if panel.lines)
    return sorted(panels, key=lambda panel: panel.lines[0].unit)


def mean_losses(line: series.Line, name: str, spread: str) -> dict[int, series.MeanWithEnds]:
    """Return mean and spread of a loss at each step at which every seed has a number."""
    logged = [(record.losses["step"], record.losses["values"][name]) for record in line.records]
    seeds = ({at: value for at, value in zip(*loss, strict=True) if value is not None} for loss in logged)
    return series.estimate_steps(seeds, line.row.stochastic, spread)
