"""Seen–unseen accuracy curves (Chao et al., 2016): U against S as the constant of calibrated stacking sweeps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zslbench.arrays import Array
from zslbench.errors import BadValue
from zslbench.results.analysis.calibration import calibrate, curve
from zslbench.results.analysis.rows import stat
from zslbench.results.plots.frame import Drawn, Frame, Request
from zslbench.results.plots.lines import SPREADS, Line, describe_lines, group_by_data, mean_and_ends, name_data
from zslbench.results.plots.style import line_look
from zslbench.results.records.record import Record
from zslbench.results.records.store import ResultStore
from zslbench.results.tables.table import Remark, remarks

_ROUNDING = 1e-9
_LEVELS = np.linspace(0.0, 1.0, 201)


def draw_curves(request: Request) -> Drawn:
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
            for what, unseen, seen in _points(line, dev, store):
                face = colour if what == "γ=0" else "white"
                axes.plot([unseen], [seen], marker=marker, ms=4.5, mfc=face, mec=colour, mew=0.9, ls="none", zorder=4)
                frame.rows.append(line.facts | {"what": what, "S": seen, "U": unseen} | n)
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        frame.dress(axes, name_data(group[0].row), ("U, unseen classes (%)", "S, seen classes (%)"), "both")
    chosen = any(row["what"] == "γ from dev folds" for row in frame.rows)
    below = describe_lines(lines, ("U", "S", "AUSUC"), f"Bands: {SPREADS[spread]}, of U.")
    return frame.drawn([*_remarks([name_data(group[0].row) for group in groups], chosen), *below])


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
    """Return what each point is, its U and its S."""
    points = [("γ=0", line.row.metrics["U"].mean, line.row.metrics["S"].mean)]
    calibrated = calibrate(line.records, dev, store.predictions).records
    if all("U cs" in record.metrics for record in calibrated):
        unseen, seen = (stat(record.metrics[name] for record in calibrated).mean for name in ("U cs", "S cs"))
        points.append(("γ from dev folds", unseen, seen))
    return points


def _remarks(panels: Sequence[str], chosen: bool) -> list[Remark]:
    hollow = (
        "Hollow: γ with the highest mean H over the dev folds."
        if chosen
        else "`zslbench run … --calibrate` makes the dev folds that γ is chosen on."
    )
    sentences = [
        "Accuracy on unseen against seen classes, both among all classes, as a constant γ is taken off the scores "
        "of seen classes (Chao et al., 2016); U is the mean over seeds at each S.",
        "Numbers in the legend: AUSUC in percent" + (f", on {' / '.join(panels)}." if len(panels) > 1 else "."),
        f"Filled: γ = 0. {hollow}",
    ]
    return remarks("figure", sentences)
