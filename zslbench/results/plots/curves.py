"""Seen–unseen accuracy curves (Chao et al., 2016): U against S as the constant of calibrated stacking sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zslbench.arrays import Array
from zslbench.errors import BadValue
from zslbench.results.analysis.calibration import Curve, calibrate, curve
from zslbench.results.plots.answers import Predictions
from zslbench.results.plots.files import Drawn
from zslbench.results.plots.lines import (
    SPREADS,
    Line,
    facts,
    group_by_data,
    have_spread,
    head_of,
    said_below,
    spread_of,
)
from zslbench.results.plots.style import COLOURS, DASHES, MARKERS, Style, add_legend, frame_panel, legend_size, panels
from zslbench.results.records.record import Record
from zslbench.results.tables.table import Remark, remarks

_ROUNDING = 1e-9
_LEVELS = np.linspace(0.0, 1.0, 201)


def draw_curves(
    lines: Sequence[Line], dev: Sequence[Record], predictions: Predictions, style: Style, spread: str = "std"
) -> Drawn:
    """Draw the curve of each method, mean over seeds at each level of S, and the points that it is used at.

    Filled: γ = 0, scores as they are. Hollow: γ chosen on the dev folds, where those were run. AUSUC is in the legend.

    Args:
        lines: gzsl runs, a panel a data set; dev: records of the dev stage among which folds are looked for.
        predictions: gives what was kept of a record; spread: ``std`` or ``ci`` of the band.

    Raises:
        BadValue: no line compares seen with unseen classes. StoreError: a run without predictions.
    """
    if not lines:
        raise BadValue("the runs asked for compare no seen with unseen classes; ask for gzsl runs.")
    groups = group_by_data(lines)
    names = list(dict.fromkeys(line.name for line in lines))
    texts = [_with_areas(name, groups) for name in names]
    figure, axes = panels(style, len(groups), 2.3, legend_size(style, texts)[1])
    rows: list[dict[str, Any]] = []
    handles: dict[str, Any] = {}
    chosen = False
    for one, own in zip(axes, groups, strict=True):
        for line in own:
            place = names.index(line.name)
            colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
            levels, means, lows, highs = _mean([curve(predictions(record)) for record in line.records], line, spread)
            one.plot(means, levels, color=colour, linestyle=DASHES[place % len(DASHES)])
            one.fill_betweenx(levels, lows, highs, color=colour, alpha=0.15, lw=0)
            (handles[line.name],) = one.plot([], [], color=colour, linestyle=DASHES[place % len(DASHES)], marker=marker)
            n = {"n": len(line.records)}
            rows += [
                facts(line)
                | {"what": "curve"}
                | dict(zip(("S", "U", "U low", "U high"), map(float, at), strict=True))
                | n
                for at in zip(levels, means, lows, highs, strict=True)
            ]
            for what, unseen, seen in _points(line, dev, predictions):
                chosen |= what != "γ=0"
                face = colour if what == "γ=0" else "white"
                one.plot([unseen], [seen], marker=marker, ms=4.5, mfc=face, mec=colour, mew=0.9, ls="none", zorder=4)
                rows.append(facts(line) | {"what": what, "S": seen, "U": unseen} | n)
        one.set_xlim(left=0)
        one.set_ylim(bottom=0)
        labels = "U, unseen classes (%)", "S, seen classes (%)"
        frame_panel(one, style, len(groups), head_of(own[0].row), labels, "both")
    order = [name for name in names if name in handles]
    add_legend(figure, style, [handles[name] for name in order], [texts[names.index(name)] for name in order])
    return Drawn(tuple(axes), tuple(rows), tuple(_remarks(lines, spread, chosen)))


def _with_areas(name: str, groups: Sequence[Sequence[Line]]) -> str:
    """Return a name with its AUSUC on each data set, a dash where it did not run."""
    found = [next((line.row.metrics.get("AUSUC") for line in own if line.name == name), None) for own in groups]
    areas = " / ".join("–" if area is None else f"{area.mean:.1f}" for area in found)
    return f"{name}: {areas}" if any(found) else name


def _mean(curves: Sequence[Curve], line: Line, spread: str) -> tuple[Array, Array, Array, Array]:
    """Return levels of S that every seed reaches, down to U = 0 at the last, with mean U and its ends, in percent."""
    top = min(float(one.seen.max()) for one in curves)
    levels = np.append(_LEVELS[top > _LEVELS], top)
    # S is a sum of many fractions: a step that stands at a level must not miss it by rounding.
    unseen = 100 * np.stack([one.unseen_at(levels - _ROUNDING) for one in curves])
    ends = np.array([spread_of(list(map(float, column)), line.stochastic, spread) for column in unseen.T])
    closed = np.vstack([ends, np.zeros(3)])
    mean, low, high = closed.T
    return 100 * np.append(levels, top), mean, np.maximum(low, 0.0), high


def _points(line: Line, dev: Sequence[Record], predictions: Predictions) -> list[tuple[str, float, float]]:
    metrics = line.row.metrics
    found = [("γ=0", metrics["U"].mean, metrics["S"].mean)]
    constants = calibrate(line.records, dev, predictions).records
    if all("U cs" in record.metrics for record in constants):
        unseen, seen = (
            100 * sum(record.metrics[name] for record in constants) / len(constants) for name in ("U cs", "S cs")
        )
        found.append(("γ from dev folds", unseen, seen))
    return found


def _remarks(lines: Sequence[Line], spread: str, chosen: bool) -> list[Remark]:
    said = [
        "Accuracy on unseen against seen classes, both among all classes, as a constant γ is taken off the scores "
        "of seen classes (Chao et al., 2016); U is the mean over seeds at each S."
    ]
    where = list(dict.fromkeys(head_of(line.row) for line in lines))
    said.append("Numbers in the legend: AUSUC in percent" + (f", on {' / '.join(where)}." if len(where) > 1 else "."))
    said.append(
        "Filled: γ = 0."
        + (
            " Hollow: γ with the highest mean H over the dev folds."
            if chosen
            else " `zslbench run … --calibrate` makes the dev folds that γ is chosen on."
        )
    )
    bands = have_spread(lines)
    return [
        *remarks("figure", said),
        *said_below(lines, ("U", "S", "AUSUC"), f"Bands: {SPREADS[spread]}, of U." if bands else ""),
    ]
