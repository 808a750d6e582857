"""Names beside the points of a figure, none over another, over a point or beyond the axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from zslbench.results.plots.frame import FAINT, TICK_FONT, escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

_ANGLES = (0, 180, 90, 270, 45, 135, 315, 225)
"""Degrees, in order of preference: right of the point, left, above, below, then between them."""
_DISTANCES = (4.0, 9.0, 15.0, 22.0)
"""Points from the middle of the marker to the nearest edge of the name."""
_WITH_LEADER = 9.0
"""From this distance on, a line joins name and point."""
_MARKER = 2.6
"""Points from the middle of a marker to its edge."""


class PointLabel(NamedTuple):
    """A name, and the point (in units of the axes) and colour that it belongs to."""

    text: str
    x: float
    y: float
    colour: str


def place_labels(panels: Sequence[Axes], labels: Sequence[Sequence[PointLabel]]) -> bool:
    """Write the names of points into each panel, and return whether there was room for all; if not, none is written."""
    panels[0].get_figure(root=True).draw_without_rendering()  # type: ignore[union-attr]  # the layout is found
    written: list[Annotation] = []
    for axes, named in zip(panels, labels, strict=True):
        texts = _place_in_panel(axes, named)
        written += texts
        if len(texts) < len(named):
            for text in written:
                text.remove()
            return False
    return True


def _place_in_panel(axes: Axes, labels: Sequence[PointLabel]) -> list[Annotation]:
    """Write names until one finds no room, those with most neighbours first, and return what was written."""
    from matplotlib.transforms import Bbox

    figure = axes.get_figure(root=True)
    unit = figure.dpi / 72  # type: ignore[union-attr]
    inside = axes.get_window_extent()
    places = {label: tuple(axes.transData.transform((label.x, label.y))) for label in labels}
    radius = _MARKER * unit
    taken = [Bbox.from_bounds(x - radius, y - radius, 2 * radius, 2 * radius) for x, y in places.values()]
    written: list[Annotation] = []
    for label in sorted(labels, key=lambda label: sum(math.dist(places[label], p) for p in places.values())):
        text = axes.annotate(
            escape(label.text),
            (label.x, label.y),
            (0, 0),
            textcoords="offset points",
            fontsize=TICK_FONT,
            color="black",
            ha="center",
            va="center",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.3},
            arrowprops={"arrowstyle": "-", "lw": 0.5, "color": FAINT, "shrinkA": 0, "shrinkB": _MARKER},
            annotation_clip=False,
            zorder=5,
        )
        text.set_in_layout(False)
        size = text.get_window_extent()
        offset = _find_room(places[label], (size.width, size.height), unit, inside, taken)
        if offset is None:
            text.remove()
            return written
        (dx, dy), distance, box = offset
        text.set_position((dx / unit, dy / unit))
        if distance < _WITH_LEADER and text.arrow_patch is not None:
            text.arrow_patch.set_visible(False)
        taken.append(box)
        written.append(text)
    return written


def _find_room(
    point: tuple[float, ...], size: tuple[float, float], unit: float, inside: Bbox, taken: Sequence[Bbox]
) -> tuple[tuple[float, float], float, Bbox] | None:
    """Return the offset of a name from its point in pixels, its distance in points and its box; None without room."""
    from matplotlib.transforms import Bbox

    width, height = size
    for distance in _DISTANCES:
        for angle in _ANGLES:
            across, up = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            dx = across * distance * unit + math.copysign(width / 2, across) * (abs(across) > 0.1)
            dy = up * distance * unit + math.copysign(height / 2, up) * (abs(up) > 0.1)
            box = Bbox.from_bounds(point[0] + dx - width / 2, point[1] + dy - height / 2, width, height)
            fits = inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1
            if fits and not any(box.overlaps(other) for other in taken):
                return (dx, dy), distance, box
    return None
