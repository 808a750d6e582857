"""What a data set holds: images per class, and how alike its classes are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zslbench.arrays import Array, BoolArray, IntArray
from zslbench.results.plots.by_class import (
    choose_named,
    cluster_classes,
    divide_sides,
    fit_names,
    name_classes,
    write_class_names,
)
from zslbench.results.plots.frame import COLOURS, DrawnFigure, Frame, new_figure
from zslbench.results.tables.table import remarks

_PARTS = {"training": COLOURS[0], "test, seen classes": COLOURS[5], "test, unseen classes": COLOURS[1]}


def draw_class_sizes(sizes: IntArray, names: Sequence[str], width: float) -> DrawnFigure:
    """Draw the images of each class, the largest first: (c, 3) of training and of test, seen and unseen."""
    frame = Frame(width, 1, 2.2, {part: part for part in _PARTS})
    (axes,) = frame.axes
    order = np.lexsort((-sizes.sum(axis=1), sizes[:, 2] > 0))
    below = np.zeros(len(order))
    for part, colour in zip(_PARTS, _PARTS.values(), strict=True):
        of_part = sizes[order, list(_PARTS).index(part)]
        bars = axes.bar(range(len(order)), of_part, 1.0, below, color=colour, lw=0)
        frame.add_handle(part, bars)
        below += of_part
    seen = int((sizes[:, 2] == 0).sum())
    frame.dress(axes, "", (f"{seen} seen classes, then {len(order) - seen} unseen, each by size", "images"))
    axes.set_xlim(-0.5, len(order) - 0.5)
    axes.set_xticks([])
    for place in order:
        frame.rows.append({"class": names[place], **dict(zip(_PARTS, sizes[place].tolist(), strict=True))})
    return frame.drawn(remarks("figure", ["Images per class."]))


def draw_similarity(cosines: Array, of_unseen: BoolArray, names: Sequence[str], width: float) -> DrawnFigure:
    """Draw the (c, c) cosines of classes, unseen ones first, alike ones side by side where there are many."""
    sides = [cluster_classes(np.clip(cosines, -1, 1), np.flatnonzero(side)) for side in (of_unseen, ~of_unseen)]
    order = np.concatenate(sides)
    shown = cosines[np.ix_(order, order)]
    titles = [write_class_names(names)[place] for place in order]
    room = fit_names(width, titles, 1, len(titles))
    away = np.where(np.eye(len(order), dtype=bool), -1, shown)
    named = choose_named(-away.max(axis=1), room)
    figure = new_figure((width, room.height + room.below + 0.5), 0.02)
    axes = figure.subplots()
    picture = axes.imshow(shown, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest", aspect="auto")
    axes.spines[:].set_visible(True)
    name_classes(axes, titles, False, named, room.font, (True, room.columns))
    divide_sides(axes, of_unseen[order], counted=not room.columns)
    bar = figure.colorbar(picture, ax=axes, fraction=0.04, pad=0.01, aspect=30)
    bar.set_label("cosine")
    bar.outline.set_linewidth(0.4)
    text = "Cosines of the semantics of every two classes, from which the mean of all classes was subtracted."
    more = "" if len(named) == len(order) else " Named are those that are most like another one."
    rows = [
        {"class": names[one], "other": names[other], "cosine": float(cosines[one, other])}
        for at, one in enumerate(order)
        for other in order[:at]
    ]
    return DrawnFigure((axes,), tuple(rows), tuple(remarks("figure", [text + more])))
