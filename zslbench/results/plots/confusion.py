"""Confusion matrices of one or two methods side by side (Li et al., 2019, Fig. 4)."""

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
from zslbench.results.plots.lines import Line, facts, said_below
from zslbench.results.plots.style import INK, Style
from zslbench.results.tables.table import Remark, remarks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OTHERS = "other classes"
_UNCLUSTERED, _WITH_NUMBERS = 12, 12
_SMALLEST_FONT, _LARGEST_FONT = 4.0, 7.0
_BAR = 0.45
"""Inches that the colour bar takes."""


def draw_confusion(
    lines: Sequence[Line],
    predictions: Predictions,
    style: Style,
    names: Mapping[int, str],
    classes: int | Sequence[str] | None = None,
) -> Drawn:
    """Draw which class the images of each class were taken for, a matrix a method, rows true and columns predicted.

    More than a dozen classes are put in order by average-linkage clustering of what is confused with what, unseen and
    seen ones apart, so that confusions gather near the diagonal.

    Args:
        lines: one or two, of one data set and protocol.
        predictions: gives what was kept of a record.
        names: of class ids; those missing are called by their number.
        classes: only these, by name or number, or this many of lowest accuracy; what is taken for another one stands
            in a column of its own.

    Raises:
        BadValue, UnknownName: other lines, or classes that are not there.
    """
    from matplotlib.colors import PowerNorm

    found, named = of_one_or_two(lines, predictions, names, "confusion", "one or two methods side by side")
    kept = _kept(found, named, classes, first_class(lines[0].records[0]))
    order = _order(found, kept)
    shown = [_with_others(one, order) for one in found]
    texts = [named[place] for place in order]
    figure, axes, fonts, square = _laid_out(style, texts, len(lines), shown[0].shape)
    for place, (line, share, one) in enumerate(zip(lines, shown, axes, strict=True)):
        picture = one.imshow(
            100 * share, cmap="Blues", norm=PowerNorm(0.5, 0, 100), interpolation="nearest", aspect="auto"
        )
        one.set_title(style.wrapped(line.name, square))
        one.spines[:].set_visible(True)
        _label(one, style, texts, share.shape[1] > len(texts), fonts, first=place == 0)
        _divide(one, style, found[0].of_unseen[order], named=fonts is None and place == 0)
        if len(texts) <= _WITH_NUMBERS:
            _number(one, share, 72 * square / max(share.shape) / 2.1)
    bar = figure.colorbar(picture, ax=axes, ticks=[0, 5, 20, 50, 100], fraction=0.04, pad=0.01, aspect=30)
    bar.set_label(style.text("images of the class in %"))
    bar.outline.set_linewidth(0.4)
    rows = _rows(lines, found, order, named)
    metrics = [name for name in ("T1", "U", "S", "H") if name in lines[0].row.metrics]
    return Drawn(
        tuple(axes),
        rows,
        (*_remarks(lines, found, order, named, fonts, metrics), *remarks("note", unnamed_remark(names))),
    )


def _kept(
    found: Sequence[Confusion], named: Sequence[str], classes: int | Sequence[str] | None, first: int
) -> IntArray:
    """Return the places of the classes to show."""
    everything = np.arange(len(named))
    if classes is None:
        return everything
    if isinstance(classes, int):
        check_count(classes, len(named))
        accuracy = np.mean([one.accuracy for one in found], axis=0)
        return np.sort(np.argsort(accuracy, kind="stable")[:classes])
    return places_of(classes, found[0].classes + first, named)


def _order(found: Sequence[Confusion], kept: IntArray) -> IntArray:
    """Return the places in order: unseen classes first, many of them clustered."""
    of_unseen = found[0].of_unseen[kept]
    mean = np.mean([one.shares for one in found], axis=0)
    return np.concatenate([_clustered(mean, kept[side]) for side in (of_unseen, ~of_unseen)])


def _clustered(mean: Array, places: IntArray) -> IntArray:
    if len(places) <= _UNCLUSTERED:
        return places
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    own = mean[np.ix_(places, places)]
    both = (own + own.T) / 2
    away = 1 - both
    np.fill_diagonal(away, 0.0)
    found: IntArray = places[leaves_list(linkage(squareform(away), "average", optimal_ordering=True))]
    return found


def _with_others(one: Confusion, order: IntArray) -> Array:
    """Return the shares of the classes shown, in order, those of all others in a last column where there are any."""
    own = one.shares[np.ix_(order, order)]
    if len(order) == len(one.classes):
        return own
    rest = one.shares[order].sum(axis=1) - own.sum(axis=1)
    return np.column_stack([own, np.maximum(rest, 0.0)])


def _laid_out(
    style: Style, texts: Sequence[str], count: int, shape: tuple[int, int]
) -> tuple[Figure, list[Axes], float | None, float]:
    """Return figure, axes, the size of the names of classes (None where they do not fit), and a matrix's inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    longest = max(map(len, texts))

    def side(font: float) -> float:
        """Return the inches of a matrix beside names of that size."""
        return (style.width - _BAR - 0.35 - longest * font * 0.0085) / count

    font = min(_LARGEST_FONT, 72 * side(_SMALLEST_FONT) / shape[1] / 1.05)
    fonts = font if font >= _SMALLEST_FONT else None
    if fonts is None:
        longest = 0
    square = max(side(fonts or 0.0), 0.6)
    below = longest * (fonts or 0.0) * 0.0085
    figure = Figure(figsize=(style.width, square + below + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02)  # type: ignore[union-attr,call-arg]
    return figure, list(figure.subplots(1, count, squeeze=False)[0]), fonts, square


def _label(one: Axes, style: Style, texts: Sequence[str], others: bool, font: float | None, first: bool) -> None:
    one.set_xlabel(style.text("taken for"))
    if first:
        one.set_ylabel(style.text("class"))
    if font is None:
        one.set_xticks([])
        one.set_yticks([])
        return
    shown = [style.text(text) for text in texts]
    along = [*shown, style.text(OTHERS)] if others else shown
    one.set_xticks(range(len(along)), along, rotation=90, fontsize=font)
    one.set_yticks(range(len(shown)), shown if first else [""] * len(shown), fontsize=font)
    one.tick_params(length=1.2, pad=1)
    if others:
        one.axvline(len(shown) - 0.5, color=INK, lw=0.5)


def _divide(one: Axes, style: Style, of_unseen: BoolArray, named: bool) -> None:
    """Draw the lines between unseen and seen classes, and say how many there are where the classes have no names."""
    unseen, total = int(of_unseen.sum()), len(of_unseen)
    if 0 < unseen < total:
        one.axhline(unseen - 0.5, color=INK, lw=0.5)
        one.axvline(unseen - 0.5, color=INK, lw=0.5)
    if named:
        blocks = [(0, unseen, "unseen"), (unseen, total, "seen")]
        there = [(start, stop, name) for start, stop, name in blocks if stop > start]
        middles = [(start + stop - 1) / 2 for start, stop, _ in there]
        texts = [style.text(f"{stop - start} {name}") for start, stop, name in there]
        one.set_yticks(middles, texts, rotation=90, va="center")
        one.tick_params(axis="y", length=0)


def _number(one: Axes, share: Array, font: float) -> None:
    if font < _SMALLEST_FONT - 0.5:
        return
    for (row, column), value in np.ndenumerate(np.round(100 * share)):
        if value >= 1:
            colour = "white" if value > 35 else INK
            one.text(column, row, f"{value:.0f}", ha="center", va="center", color=colour, fontsize=min(font, 6.0))


def _rows(
    lines: Sequence[Line], found: Sequence[Confusion], order: IntArray, named: Sequence[str]
) -> tuple[dict[str, Any], ...]:
    """Return a row a method, true class and class that anything was taken for; others are added up."""
    rows, first = [], first_class(lines[0].records[0])
    for line, one in zip(lines, found, strict=True):
        shares = _with_others(one, order)
        for at, place in enumerate(order):
            about = {
                "class": int(one.classes[place]) + first,
                "class name": named[place],
                "images": int(one.images[place]),
            }
            about["side"] = "unseen" if one.of_unseen[place] else "seen"
            for column in np.flatnonzero(shares[at] > 0):
                other = column == len(order)
                rows.append(
                    facts(line)
                    | about
                    | {
                        "taken for": "" if other else int(one.classes[order[column]]) + first,
                        "taken for name": OTHERS if other else named[order[column]],
                        "percent": float(100 * shares[at, column]),
                    }
                )
    return tuple(rows)


def _remarks(
    lines: Sequence[Line],
    found: Sequence[Confusion],
    order: IntArray,
    named: Sequence[str],
    font: float | None,
    metrics: Sequence[str],
) -> list[Remark]:
    said = [
        "Share of the test images of a class (row) that were taken for a class (column), mean over seeds; the "
        "colours go by the square root."
    ]
    unseen = found[0].of_unseen[order]
    if max(unseen.sum(), (~unseen).sum()) > _UNCLUSTERED:
        said.append("Classes are in order of average-linkage clustering of their mean confusions.")
    if font is None:
        said.append(
            f"The names of {len(order)} classes do not fit: --data FILE lists them in order; "
            "a wider figure, or --classes N for the N hardest, shows names."
        )
    if len(order) < len(named):
        said.append("The last column is all other classes.")
    for line, one in zip(lines, found, strict=True):
        away = one.shares[np.ix_(order, order)].copy()
        np.fill_diagonal(away, 0.0)
        top = np.argsort(-away, axis=None, kind="stable")[:3]
        pairs = [(*np.unravel_index(place, away.shape),) for place in top]
        told = [
            f"{named[order[i]]} for {named[order[j]]} ({100 * away[i, j]:.0f} %)" for i, j in pairs if away[i, j] > 0
        ]
        if told:
            said.append(f"{line.name} most often took {', '.join(told)}.")
    return [*remarks("figure", said), *said_below(lines, metrics)]
