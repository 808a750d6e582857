"""What test images were taken for, from kept predictions: confusions (Li et al., 2019, Fig. 4), accuracy by class."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zslbench.arrays import AnyArray, Array, BoolArray, IntArray
from zslbench.errors import BadValue, UnknownName
from zslbench.metrics import predict_classes
from zslbench.results.plots.frame import (
    COLOURS,
    HATCHES,
    INK,
    DrawnFigure,
    FigureRequest,
    Frame,
    escape,
    new_figure,
    wrap,
)
from zslbench.results.plots.series import Line, check_data, check_number, describe, name_data
from zslbench.results.tables.table import Remark, remarks
from zslbench.visible import format_count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OTHERS = "other classes"
_UNCLUSTERED, _WITH_NUMBERS = 12, 12
_SMALLEST_FONT, _LARGEST_FONT = 6.0, 7.0
_SPACING = 1.15
"""From one name to the next, in sizes of its font."""
_NARROWEST = 0.6
"""Inches of a matrix."""
_BAR = 0.42
"""Inches that the colour bar takes."""
_MOST_NAMED = 60
_EXTREMES = 5
_SIDES = {"unseen": (COLOURS[0], HATCHES[0]), "seen": (COLOURS[4], HATCHES[1])}
"""A dark and a light colour."""


@dataclasses.dataclass(frozen=True, eq=False)
class Classes:
    """The classes that test images are of or were taken for: (c,) ids in ascending order, sides and numbers of images.

    `first` is what the labels of the data number the first class; `known` has the names of classes by id, `titles`
    these as a figure writes them.
    """

    ids: IntArray
    of_unseen: BoolArray
    images: IntArray
    first: int
    known: Mapping[int, str]

    @functools.cached_property
    def titles(self) -> Mapping[int, str]:
        """The names as a figure writes them."""
        return dict(zip(self.known, write_class_names([*self.known.values()]), strict=True))

    def name(self, ids: IntArray) -> list[str]:
        """Return the names of ids; one without a name is called by its number in the labels of the data."""
        return [self.titles.get(id_, f"class {id_ + self.first}") for id_ in ids.tolist()]

    def find(self, asked: Sequence[str], ids: IntArray) -> IntArray:
        """Return the places in `ids` of classes asked for by name or number in the labels; UnknownName for others."""
        names = self.name(ids)
        places = {name.casefold(): place for place, name in enumerate(names)}
        places |= {self.known.get(id_, "").casefold(): place for place, id_ in enumerate(ids.tolist())}
        places |= {str(id_ + self.first): place for place, id_ in enumerate(ids)}
        if unknown := [name for name in asked if name.casefold() not in places]:
            raise UnknownName("class", unknown[0], names)
        return np.array([*dict.fromkeys(places[name.casefold()] for name in asked)], dtype=np.int64)

    def choose(self, asked: int | Sequence[str] | None, order: IntArray, preference: IntArray) -> IntArray:
        """Return the places of the classes to show: all in order, as many by preference, or those asked for by name."""
        if asked is None:
            return order
        if isinstance(asked, int):
            check_count(asked, len(order))
            return order[np.isin(order, preference[:asked])]
        return self.find(asked, self.ids)

    def facts(self, place: int) -> dict[str, Any]:
        """Return what a row of numbers says of a class."""
        return {
            "class": int(self.ids[place]) + self.first,
            "class name": self.name(self.ids[[place]])[0],
            "images": int(self.images[place]),
            "side": "unseen" if self.of_unseen[place] else "seen",
        }

    @property
    def remarks(self) -> list[Remark]:
        """What a caption says where no name is known."""
        text = (
            "The data set was not found, so classes are called by the numbers of its labels; name its folder with -d, "
            "or the one around it with --data-root."
        )
        return remarks("note", [] if self.known else [text])


def write_class_names(names: Sequence[str]) -> list[str]:
    """Return the names of classes as a text writes them: without numbers, with spaces and hyphens.

    Names that would become equal stay as they are.

    >>> write_class_names(["010.Red_winged_Blackbird", "killer+whale", "airport_terminal", "a_1", "a 1"])
    ['Red-winged Blackbird', 'killer whale', 'airport terminal', 'a_1', 'a 1']
    """
    written = [_write_class_name(name) for name in names]
    times = Counter(written)
    return [new if times[new] == 1 else old for new, old in zip(written, names, strict=True)]


def _write_class_name(name: str) -> str:
    bare = re.sub(r"^\d+[._ ](?=\D)", "", name)
    # CUB: a small letter after the first word continues a word with a hyphen, as in Red_winged_Blackbird.
    if bare[:1].isupper() and re.search(r"_[A-Z][^_]*$", bare):
        bare = re.sub(r"(?<=[^_])_(?=[a-z])", "-", bare)
    return re.sub(r"[_+]+", " ", bare).strip() or name


def draw_confusion(request: FigureRequest) -> DrawnFigure:
    """Draw which class the images of each class were taken for, a matrix per method, rows true and columns predicted.

    More than a dozen classes are put in order by average-linkage clustering of what is confused with what, unseen and
    seen ones apart, so that confusions gather near the diagonal. Of one or two methods, on one data set and protocol;
    a number of classes asks for those of lowest accuracy, and what is taken for another one stands in a last column.
    """
    from matplotlib.colors import PowerNorm

    lines = request.lines
    check_data(lines, "confusion")
    check_number(lines, "confusion", 2, "one or two methods side by side")
    shares, classes = confusions(request, lines)
    mean = np.mean(shares, axis=0)
    hardest = np.argsort(np.diagonal(mean), kind="stable")
    kept = classes.choose(request.classes, np.sort(hardest), hardest)
    unseen = classes.of_unseen[kept]
    order = np.concatenate([cluster_classes(mean, kept[side]) for side in (unseen, ~unseen)])
    shown = [_with_others(share, order) for share in shares]
    names = classes.name(classes.ids[order])
    room = fit_names(request.width, names, len(lines), shown[0].shape[1])
    named = choose_named(np.diagonal(mean)[order], room)
    beside, rows = room.beside, 1 if room.beside else len(lines)
    figure = new_figure((request.width, rows * (room.height + 0.2) + room.below + 0.3), 0.02)
    panels = list(figure.subplots(rows, len(lines) // rows, squeeze=False).ravel())
    for axes, line, share in zip(panels, lines, shown, strict=True):
        first = axes is panels[0]
        picture = axes.imshow(
            100 * share, cmap="Blues", norm=PowerNorm(0.5, 0, 100), interpolation="nearest", aspect="auto"
        )
        axes.set_title(wrap(line.name, room.across))
        axes.spines[:].set_visible(True)
        axes.set_xlabel("predicted class" if beside or axes is panels[-1] else "")
        axes.set_ylabel("true class" if first or not beside else "")
        others = share.shape[1] > len(names)
        where = first or not beside, room.columns and (beside or axes is panels[-1])
        name_classes(axes, names, others, named, room.font, where)
        divide_sides(axes, classes.of_unseen[order], counted=not room.columns and (beside or axes is panels[-1]))
        if len(names) <= _WITH_NUMBERS:
            _write_numbers(axes, share, 72 * room.across / max(share.shape) / 2.0)
    bar = figure.colorbar(picture, ax=panels, ticks=[0, 5, 20, 50, 100], fraction=0.04, pad=0.01, aspect=30)
    bar.set_label("images of the true class (%)")
    bar.outline.set_linewidth(0.4)
    caption = _caption_confusion(lines, shares, classes, order, None if room.columns else len(named))
    return DrawnFigure(tuple(panels), tuple(_confusion_rows(lines, shown, classes, order)), tuple(caption))


def draw_perclass(request: FigureRequest) -> DrawnFigure:
    """Draw the top-1 accuracy of each class, mean over seeds, or the first method's minus the second's; sorted.

    Up to sixty classes stand in rows with their names; more stand side by side, and a sentence names the ends. Of one
    or two methods, on one data set and protocol; a number of classes asks for those at the ends of the order.
    """
    lines = request.lines
    check_data(lines, "perclass")
    check_number(lines, "perclass", 2, "one method, or two and their difference")
    shares, classes = confusions(request, lines)
    accuracy = [100 * np.diagonal(share) for share in shares]
    value = accuracy[0] if len(lines) == 1 else accuracy[0] - accuracy[1]
    order = np.argsort(-value, kind="stable")
    ends = np.stack([order, order[::-1]], axis=1).ravel()  # highest, lowest, second highest, …
    order = order[np.isin(order, classes.choose(request.classes, order, ends))]
    names = classes.name(classes.ids[order])
    by_name = len(order) <= _MOST_NAMED
    unseen = classes.of_unseen[order]
    places = {"unseen": np.flatnonzero(unseen), "seen": np.flatnonzero(~unseen)}
    legend = {side: f"{side} classes" for side in places if unseen.any() and not unseen.all()}
    frame = Frame(request.width, 1, 0.6 + 0.115 * len(order) if by_name else 1.9, legend)
    (axes,) = frame.axes
    for side, at in places.items():
        colour, hatch = _SIDES[side]
        if len(at) and by_name:
            bars = axes.barh(at, value[order][at], 0.8, color=colour, edgecolor="white", lw=0.3, hatch=hatch)
        elif len(at):
            bars = axes.bar(at, value[order][at], 0.8, color=colour, edgecolor=colour, lw=0.3)
        if len(at):
            frame.add_handle(side, bars)
    text = f"accuracy of {lines[0].name} (%)"
    if len(lines) > 1:
        text = f"accuracy, {lines[0].name} − {lines[1].name} (points)"
    room = request.width - 0.3 - (0.047 * max(map(len, names)) if by_name else 0.3)
    title = f"{name_data(lines[0].row)}, {lines[0].row.protocol}"
    if by_name:
        frame.dress(axes, title, (text, ""), "x", room)
        axes.set_yticks(range(len(names)), list(map(escape, names)), fontsize=6)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.axvline(0, color=INK, lw=0.6)
    else:
        frame.dress(axes, title, (f"{len(order)} classes, sorted", text), "y", room)
        axes.set_xlim(-1, len(order))
        axes.set_xticks([])
        axes.axhline(0, color=INK, lw=0.6)
    about = {name: lines[0].facts[name] for name in ("dataset", "features", "semantics", "protocol")}
    for place in order:
        row = about | classes.facts(place)
        row |= {line.name: float(values[place]) for line, values in zip(lines, accuracy, strict=True)}
        frame.rows.append(row | ({"difference": float(value[place])} if len(lines) > 1 else {}))
    return frame.drawn(_caption_perclass(lines, value, classes, order))


def confusions(request: FigureRequest, lines: Sequence[Line]) -> tuple[list[Array], Classes]:
    """Return for each line the (c, c) shares of the images of class i taken for class j, mean over seeds, and classes.

    A class without test images has a row and a column where something was taken for it.

    Raises:
        StoreError: a run without predictions. BadValue: of another step, or lines of different test images.
    """
    taken: dict[Line, list[IntArray]] = {line: [] for line in lines}
    first: Mapping[str, AnyArray] = {}
    for line, answers in taken.items():
        for record in line.records:
            if not record.provenance.get("selected", {}).get("last", True):
                raise BadValue(
                    "predictions are kept of the last step only, and an earlier one was selected; leave out "
                    "--selection."
                )
            arrays = request.store.predictions(record)
            first = first or arrays
            if not all(np.array_equal(arrays[name], first[name]) for name in ("label", "of_unseen")):
                raise BadValue(f"{line.name} was judged on other test images than {lines[0].name}; run both again.")
            answers.append(predict_classes(arrays))
    ids: IntArray = np.unique(np.concatenate([first["label"], *itertools.chain(*taken.values())]))
    of_unseen = np.isin(ids, first["label"][first["of_unseen"]])
    true = np.searchsorted(ids, first["label"])
    images: IntArray = np.bincount(true, minlength=len(ids))
    shares: list[Array] = []
    for answers in taken.values():
        total = np.zeros((len(ids), len(ids)))
        np.add.at(total, (true, np.searchsorted(ids, answers)), 1.0)
        shares.append(total / np.maximum(images, 1)[:, None] / len(answers))
    lead = lines[0].records[0]
    # Older records do not say; files in the field's format count from 1.
    number = lead.dataset.get("first_class")
    first_class = number if number in (0, 1) else int(lead.dataset.get("origin") in ("own", "catalogue"))
    return shares, Classes(ids, of_unseen, images, first_class, request.known.class_names(lead))


def check_count(count: int, most: int, fewest: int = 2) -> None:
    """Refuse with BadValue to show more classes than there are, or than a figure has room for, or too few."""
    if not fewest <= count <= most:
        raise BadValue(f"--classes {count} is not possible: {most} can be drawn; give a number from {fewest} to that.")


def cluster_classes(mean: Array, places: IntArray) -> IntArray:
    """Return places in an order in which classes that are confused stand together, where they are many."""
    if len(places) <= _UNCLUSTERED:
        return places
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    shares = mean[np.ix_(places, places)]
    away = 1 - (shares + shares.T) / 2
    np.fill_diagonal(away, 0.0)
    order: IntArray = places[leaves_list(linkage(squareform(away), "average", optimal_ordering=True))]
    return order


def _with_others(share: Array, order: IntArray) -> Array:
    """Return the shares of the classes shown, in order, those of all others in a last column where there are any."""
    shown = share[np.ix_(order, order)]
    if len(order) == len(share):
        return shown
    rest = share[order].sum(axis=1) - shown.sum(axis=1)
    return np.column_stack([shown, np.maximum(rest, 0.0)])


@dataclasses.dataclass(frozen=True)
class _Room:
    """How matrices stand, in inches: `across` and `height` of each, `below` them the names of columns.

    `font` is the size of names, `columns` whether columns have them too, `beside` whether matrices stand side by side.
    """

    font: float
    columns: bool
    beside: bool
    across: float
    height: float
    below: float


def fit_names(width: float, names: Sequence[str], count: int, columns: int) -> _Room:
    """Return the room for `count` matrices of so many `columns`, in a figure so many inches wide.

    Names stand at rows and columns where they fit, if need be with the matrices below each other; else at rows alone,
    in a matrix up to as high as the figure is wide.
    """
    longest = 0.0083 * max(map(len, names))
    room = width - _BAR - 0.33
    for abreast in (count, 1):
        # A row as high as its name, in matrices that share the room beside names of that size.
        font = min(_LARGEST_FONT, room / (columns * abreast / 72 + longest))
        if font >= _SMALLEST_FONT:
            across = max((room - longest * font) / abreast, _NARROWEST)
            return _Room(font, True, abreast == count, across, across, longest * font)
    left = room - longest * _SMALLEST_FONT
    side_by_side = count == 1 or left / count >= 2 * _NARROWEST
    across = max(left / count if side_by_side else left, _NARROWEST)
    height = min(max(across, _SPACING * _SMALLEST_FONT / 72 * len(names)), width)
    return _Room(_SMALLEST_FONT, False, side_by_side, across, height, 0.15)


def choose_named(accuracy: Array, room: _Room) -> list[int]:
    """Return the rows whose names are written: all, or where they lack room those of the hardest classes first."""
    if room.columns:
        return [*range(len(accuracy))]
    apart = _SPACING * _SMALLEST_FONT / 72 * len(accuracy) / room.height
    named: list[int] = []
    for row in np.argsort(accuracy, kind="stable").tolist():
        if all(abs(row - other) >= apart - 1e-9 for other in named):
            named.append(row)
    return sorted(named)


def name_classes(
    axes: Axes, names: Sequence[str], others: bool, named: Sequence[int], font: float, where: tuple[bool, bool]
) -> None:
    """Name those rows `named`, and the columns, where `where` says so."""
    texts = list(map(escape, names))
    columns = [*texts, OTHERS] if others else texts
    axes.set_yticks(*((named, [texts[row] for row in named]) if where[0] else ([], [])), fontsize=font)
    axes.set_xticks(*((range(len(columns)), columns) if where[1] else ([], [])), rotation=90, fontsize=font)
    axes.tick_params(length=1.2, pad=1)
    if others:
        axes.axvline(len(texts) - 0.5, color=INK, lw=0.5)


def divide_sides(axes: Axes, of_unseen: BoolArray, counted: bool) -> None:
    """Draw the lines between unseen and seen classes, and say how many there are where columns have no names."""
    unseen, total = int(of_unseen.sum()), len(of_unseen)
    if 0 < unseen < total:
        axes.axhline(unseen - 0.5, color=INK, lw=0.5)
        axes.axvline(unseen - 0.5, color=INK, lw=0.5)
    if counted:
        blocks = [block for block in ((0, unseen, "unseen"), (unseen, total, "seen")) if block[1] > block[0]]
        axes.set_xticks([(start + stop - 1) / 2 for start, stop, _ in blocks])
        axes.set_xticklabels([f"{stop - start} {side}" for start, stop, side in blocks], rotation=0)
        axes.tick_params(axis="x", length=0)


def _write_numbers(axes: Axes, share: Array, font: float) -> None:
    if font < _SMALLEST_FONT:
        return
    for (row, column), value in np.ndenumerate(np.round(100 * share)):
        if value >= 1:
            colour = "white" if value > 35 else INK
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", color=colour, fontsize=min(font, 6.0))


def _confusion_rows(
    lines: Sequence[Line], shown: Sequence[Array], classes: Classes, order: IntArray
) -> list[dict[str, Any]]:
    """Return a row per method, true class and class that anything was taken for; others are added up."""
    numbers = [*(classes.ids[order] + classes.first).tolist(), ""]
    names = [*classes.name(classes.ids[order]), OTHERS]
    rows = []
    for line, shares in zip(lines, shown, strict=True):
        for at, column in np.argwhere(shares > 0):
            taken = {"taken for": numbers[column], "taken for name": names[column]}
            rows.append(line.facts | classes.facts(order[at]) | taken | {"percent": float(100 * shares[at, column])})
    return rows


def _caption_confusion(
    lines: Sequence[Line], shares: Sequence[Array], classes: Classes, order: IntArray, named: int | None
) -> list[Remark]:
    """Return the caption; `named` is how many rows have names where columns have none."""
    sentences = [
        "Share of the test images of a true class (row) by predicted class (column), mean over seeds; the colours go "
        "by the square root."
    ]
    unseen = classes.of_unseen[order]
    if max(unseen.sum(), (~unseen).sum()) > _UNCLUSTERED:
        sentences.append("Classes in order of average-linkage clustering of their confusions.")
    if named is not None:
        sentences.append("Columns are in the order of the rows.")
    if named is not None and named < len(order):
        sentences.append(
            f"Named are {named} of {len(order)} classes, the hardest first where names have room; --data FILE lists "
            "all in order, --classes N draws the N hardest."
        )
    if len(order) < len(classes.ids):
        sentences.append("The last column is all other classes.")
    names = classes.name(classes.ids[order])
    for line, share in zip(lines, shares, strict=True):
        away = share[np.ix_(order, order)]
        np.fill_diagonal(away, 0.0)
        top = np.argsort(-away, axis=None, kind="stable")[:3]
        pairs = zip(*np.unravel_index(top, away.shape), strict=True)
        worst = [f"{names[i]} as {names[j]} ({100 * away[i, j]:.0f} %)" for i, j in pairs if away[i, j] > 0]
        if worst:
            sentences.append(f"Most confused by {line.name}: {', '.join(worst)}.")
    return [*describe(sentences, lines, ("T1", "U", "S", "H")), *classes.remarks]


def _caption_perclass(lines: Sequence[Line], value: Array, classes: Classes, order: IntArray) -> list[Remark]:
    if len(lines) == 1:
        sentences = ["Top-1 accuracy on the test images of each class, mean over seeds, sorted."]
    else:
        better, worse = int((value > 1e-9).sum()), int((value < -1e-9).sum())
        sentences = [
            f"Top-1 accuracy on the test images of each class, mean over seeds: {lines[0].name} minus {lines[1].name}, "
            f"sorted; higher in {format_count(better, 'class')}, lower in {worse}, equal in "
            f"{len(value) - better - worse}."
        ]
    if len(order) > _MOST_NAMED:
        ordered = zip(classes.name(classes.ids[order]), value[order], strict=True)
        texts = [f"{name} {number:.0f}".replace(" -", " −") for name, number in ordered]
        first, last = ", ".join(texts[:_EXTREMES]), ", ".join(texts[-_EXTREMES:])
        sentences.append(f"Highest: {first}; lowest: {last}; --classes 20 draws the ends by name.")
    return [*describe(sentences, lines, ("T1", "U", "S")), *classes.remarks]
