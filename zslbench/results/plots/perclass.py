"""Accuracy by class: of one method, or how two methods differ, sorted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zslbench.arrays import Array, BoolArray, IntArray
from zslbench.results.plots.answers import (
    Confusion,
    Predictions,
    check_count,
    first_class,
    of_one_or_two,
    places_of,
    unnamed_remark,
)
from zslbench.results.plots.files import Drawn
from zslbench.results.plots.lines import Line, facts, head_of, said_below
from zslbench.results.plots.style import COLOURS, HATCHES, INK, Style, add_legend, panels
from zslbench.results.tables.table import Remark, remarks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_NAMED = 60
_EXTREMES = 5
_SIDES = (COLOURS[0], COLOURS[4])
"""A dark and a light colour, for unseen and seen classes."""


def draw_perclass(
    lines: Sequence[Line],
    predictions: Predictions,
    style: Style,
    names: Mapping[int, str],
    classes: int | Sequence[str] | None = None,
) -> Drawn:
    """Draw the top-1 accuracy of each class, mean over seeds, or the first method's minus the second's; sorted.

    Up to sixty classes stand in rows with their names; more stand side by side, and a sentence names the ends.

    Args:
        lines: one or two, of one data set and protocol; predictions: gives what was kept of a record.
        names: of class ids; those missing are called by their number.
        classes: only these, by name or number, or this many at the ends of the order.

    Raises:
        BadValue, UnknownName: other lines, or classes that are not there.
    """
    found, named = of_one_or_two(lines, predictions, names, "perclass", "one method, or two and their difference")
    accuracy = [100 * one.accuracy for one in found]
    value = accuracy[0] if len(lines) == 1 else accuracy[0] - accuracy[1]
    order = _order(value, named, found[0].classes + first_class(lines[0].records[0]), classes)
    of_unseen = found[0].of_unseen
    by_name = len(order) <= _MOST_NAMED
    height = 0.6 + 0.115 * len(order) if by_name else 2.1
    figure, (axes,) = panels(style, 1, height, 0.2)
    handles = _bars(axes, value[order], of_unseen[order], across=by_name)
    if by_name:
        _name_rows(axes, style, [named[place] for place in order])
    else:
        axes.set_xlim(-1, len(order))
        axes.set_xticks([])
        axes.set_xlabel(style.text(f"{len(order)} classes, sorted"))
        axes.grid(axis="y")
        axes.axhline(0, color=INK, lw=0.6)
    beside = 0.047 * max(len(named[place]) for place in order) if by_name else 0.3
    _dress(axes, style, lines, by_name, style.width - 0.3 - beside)
    if len(handles) > 1:
        add_legend(figure, style, [handle for _, handle in handles], [name for name, _ in handles])
    rows = tuple(_row(lines, found, accuracy, value, int(place), named) for place in order)
    metrics = [name for name in ("T1", "U", "S") if name in lines[0].row.metrics]
    below = _remarks(lines, value, [named[place] for place in order], value[order], metrics)
    return Drawn((axes,), rows, (*below, *remarks("note", unnamed_remark(names))))


def _order(value: Array, named: Sequence[str], numbers: IntArray, classes: int | Sequence[str] | None) -> IntArray:
    """Return the places of classes, highest value first."""
    order = np.argsort(-value, kind="stable")
    if classes is None:
        return order
    if isinstance(classes, int):
        check_count(classes, len(order))
        first = (classes + 1) // 2
        return np.concatenate([order[:first], order[len(order) - (classes - first) :]])
    return order[np.isin(order, places_of(classes, numbers, named))]


def _bars(axes: Axes, value: Array, of_unseen: BoolArray, across: bool) -> list[tuple[str, Any]]:
    handles = []
    for place, (side, name) in enumerate([(of_unseen, "unseen classes"), (~of_unseen, "seen classes")]):
        at = np.flatnonzero(side)
        if not len(at):
            continue
        hatch = HATCHES[place] if across else ""
        edge = "white" if across else _SIDES[place]
        look: dict[str, Any] = {"color": _SIDES[place], "edgecolor": edge, "lw": 0.3, "hatch": hatch}
        handles.append(
            (name, axes.barh(at, value[at], 0.8, **look) if across else axes.bar(at, value[at], 0.8, **look))
        )
    return handles


def _name_rows(axes: Axes, style: Style, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [style.text(name) for name in names], fontsize=6)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.axvline(0, color=INK, lw=0.6)


def _dress(axes: Axes, style: Style, lines: Sequence[Line], across: bool, inches: float) -> None:
    if len(lines) == 1:
        text = f"accuracy of {lines[0].name} (%)"
    else:
        text = f"accuracy, {lines[0].name} − {lines[1].name} (points)"
    (axes.set_xlabel if across else axes.set_ylabel)(style.wrapped(text, inches if across else 1.9))
    axes.set_title(style.wrapped(f"{head_of(lines[0].row)}, {lines[0].row.protocol}", inches))
    axes.set_axisbelow(True)


def _row(
    lines: Sequence[Line],
    found: Sequence[Confusion],
    accuracy: Sequence[Array],
    value: Array,
    place: int,
    named: Sequence[str],
) -> dict[str, Any]:
    one = found[0]
    out = {
        key: item for key, item in facts(lines[0]).items() if key in ("dataset", "features", "semantics", "protocol")
    }
    out |= {"class": int(one.classes[place]) + first_class(lines[0].records[0]), "class name": named[place]}
    out |= {"side": "unseen" if one.of_unseen[place] else "seen", "images": int(one.images[place])}
    out |= {line.name: float(own[place]) for line, own in zip(lines, accuracy, strict=True)}
    return out | ({"difference": float(value[place])} if len(lines) > 1 else {})


def _remarks(
    lines: Sequence[Line], value: Array, names: Sequence[str], shown: Array, metrics: Sequence[str]
) -> list[Remark]:
    if len(lines) == 1:
        said = ["Top-1 accuracy on the test images of each class, mean over seeds, sorted."]
    else:
        better, worse = int((value > 1e-9).sum()), int((value < -1e-9).sum())
        said = [
            f"Top-1 accuracy on the test images of each class, mean over seeds: {lines[0].name} minus {lines[1].name}, "
            f"sorted; higher in {better} classes, lower in {worse}, equal in {len(value) - better - worse}."
        ]
    if len(names) > _MOST_NAMED:
        told = [f"{name} {number:.0f}".replace(" -", " −") for name, number in zip(names, shown, strict=True)]
        first, last = ", ".join(told[:_EXTREMES]), ", ".join(told[-_EXTREMES:])
        said.append(f"Highest: {first}; lowest: {last}; --classes 20 draws the ends by name.")
    return [*remarks("figure", said), *said_below(lines, metrics)]
