"""Methods on several features, or semantics, of one data: which matters more? A two-way table without replication."""

from __future__ import annotations

import dataclasses
import itertools
import math
import shlex
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from zslbench.arrays import Array
from zslbench.errors import BadValue, UnknownName
from zslbench.results.analysis.rows import CHANGED_MARK, Stat, group_values, natural
from zslbench.results.plots import series
from zslbench.results.plots.frame import (
    TICK_CHARACTER,
    DrawnFigure,
    FigureRequest,
    Frame,
    choose_looks,
    describe_colours,
    escape,
    keep_percent,
)
from zslbench.results.tables.table import remarks
from zslbench.visible import join_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BESIDE: Mapping[str, str] = {"features": "semantics", "semantics": "features"}
"""What may be on the axis, and of what there is then one."""
_APART, _ROOM = 0.06, 0.5
"""How far apart the methods at a tick stand, as part of the way to the next one: at most, and all of them together."""

_NAMED = 3
"""How many data sets the head of a panel names; the caption names all."""


@dataclasses.dataclass(frozen=True)
class CrossedTable:
    """One metric of each method (`names`) with each stem; a cell has a line per data set, and shows their mean."""

    metric: str
    names: Sequence[str]
    stems: Sequence[str]
    cells: Mapping[tuple[str, str], Sequence[series.Line]]

    @property
    def lines(self) -> list[series.Line]:
        """All lines, by method and stem."""
        return [line for name in self.names for stem in self.stems for line in self.cells[name, stem]]

    def stat(self, name: str, stem: str) -> Stat:
        """Return the numbers of a cell over seeds; that of a seed is the mean over data sets."""
        first, *others = stats = [line.row.metrics[self.metric] for line in self.cells[name, stem]]
        if not others:
            return first
        values = tuple(map(statistics.fmean, zip(*(stat.values for stat in stats), strict=True)))
        std = None if any(stat.std is None for stat in stats) else statistics.stdev(values)
        return Stat(statistics.fmean(values), std, len(values), values)

    def means(self) -> Array:
        """Return the (methods, stems) means in percent."""
        return np.array([[self.stat(name, stem).mean for stem in self.stems] for name in self.names])


def split_squares(means: Array) -> tuple[float, float, float]:
    """Return the sums of squares of an (m, s) table between its rows, between its columns, and of their interaction.

    They add up to that of the table around its mean (two-way analysis of variance without replication).
    """
    away = means - means.mean()
    rows, columns = away.mean(axis=1, keepdims=True), away.mean(axis=0, keepdims=True)
    between, across, rest = (
        float(np.square(part).sum()) for part in np.broadcast_arrays(rows, columns, away - rows - columns)
    )
    return between, across, rest


def draw_backbones(request: FigureRequest) -> DrawnFigure:
    """Draw each method's metric on several features, or semantics, and say how much of the variance each explains.

    Of several data sets, the mean over them is drawn. The rows of numbers hold the sums of squares, too.
    """
    spread = request.spread or "ci"
    axis = _choose_axis(request)
    # Of one method some records may be of an earlier source; the legend marks it, and the caption says which.
    every = [dataclasses.replace(line, name=line.name.removesuffix(CHANGED_MARK)) for line in request.lines]
    tables = _cross(every, request.metrics, axis)
    drawn = [line for table in tables for line in table.lines]
    lines = [line for line in every if line in drawn]
    labels = series.labels_of(lines)
    means = ([*zip(table.names, table.means().mean(axis=1).tolist(), strict=True)] for table in tables)
    looks = choose_looks(request, labels, series.score_in_panels(means))
    changed = {line.name for line in lines if line.row.changed}
    legend = {name: name + (CHANGED_MARK if name in changed else "") for name in labels}
    frame = Frame(request.width, len(tables), 1.9, legend, looks)
    shares = []
    for axes, table in zip(frame.axes, tables, strict=True):
        _draw_table(axes, table, frame, spread)
        _name_stems(axes, table.stems, frame.panel_width - 0.5)
        data = dict.fromkeys(line.row.data_name for line in table.lines)
        kept = dict.fromkeys(getattr(line.row, BESIDE[axis]) for line in table.lines)
        of = ", ".join(data) if len(data) <= _NAMED else f"mean of {len(data)} data sets"
        frame.dress(axes, f"{of} ({', '.join(kept)})", (axis, f"{table.metric} (%)"))
        keep_percent(axes)
        shares.append(_add_shares(frame, table, axis))
    metrics = list(dict.fromkeys(table.metric for table in tables))
    several = len({line.row.dataset for line in lines}) > 1
    sentences = [
        f"{join_words(metrics)} by method and {axis}{', mean over data sets' if several else ''}.",
        f"Which matters more? Of the variance of the means, {'; '.join(shares)}.",
        *describe_colours(looks, [*labels], f"mean {join_words(metrics)}", len(tables)),
    ]
    rule = (
        f"Variance: sums of squares around the mean, for these methods and {axis} alone; interaction: what is no sum "
        f"of one number for the method and one for the {axis}, chance included."
    )
    below = series.describe(sentences, lines, metrics, f"Bars: {series.SPREADS[spread]}.")
    return frame.drawn([*below, *remarks("metrics", [rule])])


def find_crossed(lines: Sequence[series.Line]) -> Iterator[tuple[str, list[series.Line]]]:
    """Yield what can be on the axis, with the lines, for each data set that two methods ran on with two stems.

    Of each protocol, methods that lack a stem are left out, where two others have all.
    """
    for axis, beside in BESIDE.items():
        for same in group_values(((line.row.dataset, getattr(line.row, beside)), line) for line in lines).values():
            crossed: list[series.Line] = []
            for judged in group_values((line.row.protocol_key, line) for line in same).values():
                held = group_values((line.name, getattr(line.row, axis)) for line in judged)
                stems = {stem for of_method in held.values() for stem in of_method}
                whole = [line for line in judged if len(held[line.name]) == len(stems)]
                crossed += whole if len(stems) > 1 and len({line.name for line in whole}) > 1 else []
            if crossed:
                yield axis, crossed


def _choose_axis(request: FigureRequest) -> str:
    """Return what is on the axis: what was asked for, else that of which the runs have several, features first."""
    if request.parameter not in (None, *BESIDE):
        raise UnknownName("axis", str(request.parameter), BESIDE)
    stems = {
        kind: group_values((line.row.data_name, getattr(line.row, kind)) for line in request.lines) for kind in BESIDE
    }
    varied = [kind for kind in BESIDE if any(len(held) > 1 for held in stems[kind].values())]
    axis = request.parameter or (varied or ["features"])[0]
    if axis not in varied:
        held = ", ".join(dict.fromkeys(stem for of_data in stems[axis].values() for stem in of_data))
        raise BadValue(
            f"a backbones figure needs two {axis} of a data set, and the runs asked for have one ({held}); run the "
            f"methods on others, too: `zslbench run … --{axis} STEM`."
        )
    beside = BESIDE[axis]
    for name, several in stems[beside].items():
        if len(several) > 1:
            turn = "" if request.parameter else f", or put them on the axis with --param {beside}"
            raise BadValue(
                f"the runs on {name} have several {beside} ({', '.join(several)}) beside the {axis}; choose one with "
                f"--{beside}{turn}."
            )
    return axis


def _cross(lines: Sequence[series.Line], metrics: Sequence[str] | None, axis: str) -> list[CrossedTable]:
    """Return a table for each metric and protocol (BadValue: it has one method, or a cell lacks its numbers)."""
    drawn = dict.fromkeys(panel.metric for panel in series.panels_of(lines, metrics))
    groups = group_values(
        ((metric, line.row.protocol_key), line) for metric in drawn for line in lines if metric in line.row.metrics
    )
    tables = []
    for (metric, _), same in groups.items():
        names = series.names_of(same)
        if len(names) == 1:
            raise BadValue(
                f"a backbones figure needs two methods, and {metric} is of {names[0]} alone; run another under "
                f"{same[0].row.protocol}, too, or choose other numbers with -p or --metric."
            )
        cells = group_values(((line.name, getattr(line.row, axis)), line) for line in same)
        stems = sorted({stem for _, stem in cells}, key=natural)
        for name, stem in itertools.product(names, stems):
            _check_cell(cells.get((name, stem), []), name, stem, same, axis)
        tables.append(CrossedTable(metric, names, stems, cells))
    return tables


def _check_cell(cell: Sequence[series.Line], name: str, stem: str, same: Sequence[series.Line], axis: str) -> None:
    """Refuse a cell that has not one line for each data set, all with the same seeds (BadValue)."""
    for dataset in dict.fromkeys(line.row.dataset for line in same):
        number = sum(line.row.dataset == dataset for line in cell)
        if number > 1:
            raise BadValue(
                f"{name} has {number} rows on {dataset} with {stem} {axis}, of different content or versions; keep "
                "those of one, or name another folder with --runs."
            )
        if not number:
            row = next(line.row for line in same if line.name == name)
            words = ["zslbench", "run", "-m", row.label, "-d", dataset, "-p", row.protocol, f"--{axis}", stem]
            command = shlex.join([*words, f"--{BESIDE[axis]}", getattr(row, BESIDE[axis])])
            raise BadValue(
                f"{name} has no finished run on {dataset} with {stem} {axis} under {row.protocol}; run it "
                f"(`{command}`), or leave it out: choose with -m, -d and --{axis}."
            )
    if len({line.row.seeds for line in cell}) > 1:
        data = "; ".join(f"{line.row.data_name}: {' '.join(map(str, line.row.seeds))}" for line in cell)
        raise BadValue(
            f"{name} with {stem} {axis} has other seeds on each data set ({data}), so a seed has no mean over them; "
            "run the same seeds, or choose one data set with -d."
        )


def _draw_table(axes: Axes, table: CrossedTable, frame: Frame, spread: str) -> None:
    """Draw a line per method over the stems, its points and bars a little beside those of others."""
    step = min(_APART, _ROOM / len(table.names))
    for number, name in enumerate(table.names):
        away = (number - (len(table.names) - 1) / 2) * step
        points = [series.estimate(table.stat(name, stem), spread) for stem in table.stems]
        xs = [place + away for place in range(len(table.stems))]
        look = frame.look(name)
        (handle,) = axes.plot(xs, [point.mean for point in points], **look | frame.layer(name))
        frame.add_handle(name, handle)
        for x, stem, point in zip(xs, table.stems, points, strict=True):
            axes.plot([x, x], [point.low, point.high], color=look["color"], lw=0.8, alpha=0.6, zorder=2)
            first, *others = table.cells[name, stem]
            data = "; ".join([first.row.dataset, *(line.row.dataset for line in others)])
            about = first.facts | {"dataset": data, "metric": table.metric, "what": "mean"}
            frame.rows.append(about | point._asdict())


def _add_shares(frame: Frame, table: CrossedTable, axis: str) -> str:
    """Add a row of numbers for each part of the variance of the means, and return what it says in words."""
    squares = split_squares(table.means())
    whole = math.fsum(squares)
    # means that are equal but for rounding have no parts
    shares = [100 * part / whole if whole > 1e-18 else math.nan for part in squares]
    freedom = len(table.names) - 1, len(table.stems) - 1
    degrees = *freedom, math.prod(freedom)
    row = table.lines[0].row
    about = {"dataset": "; ".join(dict.fromkeys(line.row.dataset for line in table.lines))}
    about |= {name: getattr(row, name) for name in (BESIDE[axis], "protocol", "stage")} | {"metric": table.metric}
    parts = ("method", axis, "interaction")
    frame.rows += [
        about | {"what": part, "sum of squares": square, "degrees of freedom": degree, "share (%)": share}
        for part, square, degree, share in zip(parts, squares, degrees, shares, strict=True)
    ]
    if math.isnan(shares[0]):
        return f"{table.metric} has none"
    method, stems, both = (f"{share:.0f} %" for share in shares)
    return f"{table.metric} has {method} between methods, {stems} between {axis}, {both} in their interaction"


def _name_stems(axes: Axes, stems: Sequence[str], inches: float) -> None:
    """Write the stems at the ticks, slanted where `inches` have no room for them side by side."""
    width = sum(len(stem) + 2 for stem in stems) * TICK_CHARACTER
    axes.set_xticks(range(len(stems)), list(map(escape, stems)))
    if width > inches:
        axes.tick_params("x", labelrotation=40)
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    axes.set_xlim(-0.5, len(stems) - 0.5)
