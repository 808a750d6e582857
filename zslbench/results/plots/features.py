"""Real against synthesised features of unseen classes in a plane: a picture of what a generator learnt."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zslbench.arrays import AnyArray, Array, IntArray
from zslbench.errors import BadValue
from zslbench.results.analysis.advice import run_command
from zslbench.results.plots.answers import (
    Predictions,
    check_count,
    confusions,
    first_class,
    name_classes,
    places_of,
    unnamed_remark,
)
from zslbench.results.plots.files import Drawn
from zslbench.results.plots.lines import Line, facts, head_of, lines_of, one_panel, said_below
from zslbench.results.plots.style import COLOURS, INK, MARKERS, Style, add_legend, legend_size, panels
from zslbench.results.records.record import Record
from zslbench.results.tables.table import Remark, remarks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REAL, MADE = "real", "synthesised"
KEEP = 50
"""Rows a class that commands in sentences propose to keep."""
_METHODS, _ROWS = 4, 100
_SHAPES, _MARGIN = (0.6, 1.0), 1.08
_CLASSES, _USUAL_CLASSES = 12, 6
PROJECTIONS = ("pca", "tsne")
_SEED = 0
_PERPLEXITY = 30.0
_COMPONENTS = 50
"""Principal components that t-SNE starts from, as its author advises for wide rows."""


def draw_features(
    lines: Sequence[Line],
    kept: Callable[[Record], Mapping[str, AnyArray]],
    predictions: Predictions,
    style: Style,
    names: Mapping[int, str],
    classes: int | Sequence[str] | None = None,
    projection: str = "pca",
    runs: Path = Path("runs"),
    synthesises: Callable[[str], bool] = lambda method: True,
) -> Drawn:
    """Draw real test rows (hollow) and synthesised ones (filled) of unseen classes, a panel a method.

    Of each method the lowest seed that kept features is drawn. Methods whose real rows are the same, as those are that
    preprocess alike, share one projection, fitted to all rows shown together; others have one each.

    Args:
        lines: up to four, of one data set and protocol; kept: gives what ``run --keep-features`` kept of a record.
        predictions: gives what was kept of a record; names: of class ids.
        classes: these, by name or number, or how many, evenly from the best to the least recognised; None: six.
        projection: ``pca`` or ``tsne``.
        runs: the folder that commands in sentences name; synthesises: whether a method makes features at all.

    Raises:
        BadValue, UnknownName: nothing was kept, other lines, or classes that are not there. StoreError: a lost file.
    """
    one_panel(lines, "features")
    chosen = [_lowest_seed(line) for line in lines]
    having = [line for line, record in zip(lines, chosen, strict=True) if record is not None]
    if not having:
        raise BadValue(_nothing_kept(lines, runs, synthesises))
    if len(having) > _METHODS:
        names_there = ", ".join(line.name for line in having)
        raise BadValue(
            f"a features figure has up to {_METHODS} methods side by side, not {len(having)} ({names_there}); "
            "choose with -m."
        )
    found = _load_kept(having, [record for record in chosen if record is not None], kept)
    ids, accuracy, default = _choose_classes(found, predictions, names, classes)
    most = min(_ROWS, *(len(one.labels[MADE]) // len(np.unique(one.labels[MADE])) for one in found))
    found = [one.of(ids, most) for one in found]
    planes, shared = _planes(found, projection)
    titles = name_classes(ids, names, having[0].records[0])
    texts = [*titles, REAL, MADE]
    shape, together = _shape(planes), np.concatenate([plane.points for plane in planes])
    inches = style.panel_inches(len(found))
    figure, axes = panels(style, len(found), 0.4 + shape * (inches - 0.25), legend_size(style, texts)[1])
    handles: list[Any] = []
    for axis, one, plane in zip(axes, found, planes, strict=True):
        handles = _scatter(axis, one, plane, ids)
        _frame(axis, together if shared else plane.points, shape)
        axis.set_xlabel(style.text(plane.axes[0]))
        axis.set_ylabel(style.text(plane.axes[1]))
        axis.set_title(style.wrapped(one.line.name, inches - 0.3))
    add_legend(figure, style, handles, texts)
    rows = [row for one, plane in zip(found, planes, strict=True) for row in _rows(one, plane, ids, titles)]
    said = _remarks(found, planes, shared, most, [(t, a) for t, a in zip(titles, accuracy, strict=True)], default)
    left = [line for line in lines if line not in having]
    others = [*unnamed_remark(names), *_left_out(left, runs, synthesises)]
    return Drawn(tuple(axes), tuple(rows), (*said, *remarks("note", others)))


def _planes(found: Sequence[Kept], how: str) -> tuple[list[Projection], bool]:
    """Return the plane of each method, its points those of its real rows and then of its synthesised ones."""
    first = found[0].rows[REAL]
    if not all(np.array_equal(one.rows[REAL], first) for one in found):
        return [project(np.concatenate([one.rows[REAL], one.rows[MADE]]), how) for one in found], False
    whole = project(np.concatenate([first, *(one.rows[MADE] for one in found)]), how)
    ends = np.cumsum([len(first), *(len(one.rows[MADE]) for one in found)])
    real, *made = np.split(whole.points, ends[:-1])
    return [dataclasses.replace(whole, points=np.concatenate([real, points])) for points in made], True


def _scatter(axes: Axes, one: Kept, plane: Projection, ids: IntArray) -> list[Any]:
    """Draw the rows of one method and return the handles of a legend: the classes, then real and synthesised."""
    labels = np.concatenate([one.labels[REAL], one.labels[MADE]])
    real = np.arange(len(labels)) < len(one.labels[REAL])
    handles: list[Any] = []
    look: dict[str, Any] = {"ls": "none", "ms": 3.0}
    for place, label in enumerate(ids):
        colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
        made, there = plane.points[(labels == label) & ~real], plane.points[(labels == label) & real]
        axes.plot(*made.T, marker=marker, mfc=colour, mec="none", alpha=0.4, zorder=2, **look)
        axes.plot(*there.T, marker=marker, mfc="none", mec=colour, mew=0.7, zorder=3, **look)
        handles += axes.plot([], [], marker=marker, mfc=colour, mec=colour, **look)
    handles += axes.plot([], [], marker="o", mfc="none", mec=INK, mew=0.7, **look)
    handles += axes.plot([], [], marker="o", mfc=INK, mec="none", alpha=0.5, **look)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(True)
    return handles


def _shape(planes: Sequence[Projection]) -> float:
    """Return height over width of the panels: that of what is drawn, within what reads well."""
    spans = [np.ptp(plane.points, axis=0) for plane in planes]
    shapes = [float(high) / max(float(wide), 1e-12) for wide, high in spans]
    return float(np.clip(max(shapes), *_SHAPES))


def _frame(axes: Axes, points: Array, shape: float) -> None:
    """Set limits around (n, 2) points such that a unit is as long along both axes of a panel of that shape."""
    low, high = points.min(axis=0), points.max(axis=0)
    width = _MARGIN * max(high[0] - low[0], (high[1] - low[1]) / shape)
    middle = (low + high) / 2
    axes.set_xlim(middle[0] - width / 2, middle[0] + width / 2)
    axes.set_ylim(middle[1] - shape * width / 2, middle[1] + shape * width / 2)
    axes.set_box_aspect(shape)


def _rows(one: Kept, plane: Projection, ids: IntArray, titles: Sequence[str]) -> list[dict[str, Any]]:
    named = dict(zip(map(int, ids), titles, strict=True))
    kinds = [REAL] * len(one.labels[REAL]) + [MADE] * len(one.labels[MADE])
    labels = [int(label) for kind in (REAL, MADE) for label in one.labels[kind]]
    return [
        facts(one.line)
        | {
            "class": label + first_class(one.line.records[0]),
            "class name": named[label],
            "kind": kind,
            "x": float(x),
            "y": float(y),
        }
        for kind, label, (x, y) in zip(kinds, labels, plane.points, strict=True)
    ]


def _remarks(
    found: Sequence[Kept],
    planes: Sequence[Projection],
    shared: bool,
    most: int,
    classes: Sequence[tuple[str, float]],
    by_rule: bool,
) -> list[Remark]:
    lines = [one.line for one in found]
    records = [line.records[0] for line in lines]
    said = [
        f"Features of unseen classes of {head_of(lines[0].row)}: real test images (hollow) and rows that "
        f"{', '.join(line.name for line in lines)} synthesised (filled), up to {most} of each class and kind; the "
        "projection is fitted to all rows "
        + ("shown, of every panel, together." if shared and len(lines) > 1 else "of a panel together.")
    ]
    if not shared:
        said.append("The methods bring features into different spaces, so each panel has a projection of its own.")
    said += dict.fromkeys(plane.told for plane in planes)
    told = ", ".join(name if np.isnan(share) else f"{name} {100 * share:.0f} %" for name, share in classes)
    rule = "evenly from the best to the least recognised" if by_rule else "as asked for"
    said.append(
        f"Classes {rule}; accuracy ({lines[0].row.protocol}{', mean over the methods' * (len(lines) > 1)}): {told}."
    )
    spaces = [str(record.provenance["kept_features"].get("space", "none")) for record in records]
    chains = list(dict.fromkeys(f"{line.name}: {space}" for line, space in zip(lines, spaces, strict=True)))
    alike = len(set(spaces)) == 1
    plain = "features as the data set has them" if spaces[0] == "none" else f"features after preprocess={spaces[0]}"
    said.append(f"Space: {plain}." if alike else f"Space: features after preprocess, {'; '.join(chains)}.")
    judged = [name for name in ("T1", "U") if name in lines[0].row.metrics]
    below = [remark for remark in said_below(lines, judged) if remark.kind not in ("metrics", "single seed")]
    return [*remarks("figure", said), *below, Remark("note", "Drawn is the lowest seed that kept features.")]


def _command(lines: Sequence[Line], runs: Path) -> str:
    return run_command(lines[0].records, runs, "--keep-features", str(KEEP), "--rerun", "all")


def _nothing_kept(lines: Sequence[Line], runs: Path, synthesises: Callable[[str], bool]) -> str:
    making = [line for line in lines if synthesises(line.row.method)]
    if not making:
        there = ", ".join(dict.fromkeys(line.row.method for line in lines))
        return (
            f"no method asked for synthesises features (there are runs of {there}); run a generative one with "
            f"--keep-features {KEEP}, lisgan for one."
        )
    return f"no run asked for kept features; make them: `{_command(making, runs)}`."


def _left_out(lines: Sequence[Line], runs: Path, synthesises: Callable[[str], bool]) -> list[str]:
    making = [line for line in lines if synthesises(line.row.method)]
    if not making:
        return []
    names = ", ".join(dict.fromkeys(line.name for line in making))
    return [f"Without kept features, and not drawn: {names}; make the first: `{_command(making, runs)}`."]


@dataclasses.dataclass(frozen=True, eq=False)
class Kept:
    """What is drawn of one method: rows (n, d) with their class ids (n,), real and synthesised."""

    line: Line
    rows: Mapping[str, Array]
    labels: Mapping[str, IntArray]

    def of(self, classes: IntArray, most: int) -> Kept:
        """Return the rows of some classes, the first `most` of each."""
        chosen = {kind: _first_rows(labels, classes, most) for kind, labels in self.labels.items()}
        return Kept(
            self.line,
            {kind: rows[chosen[kind]] for kind, rows in self.rows.items()},
            {kind: labels[chosen[kind]] for kind, labels in self.labels.items()},
        )


def _lowest_seed(line: Line) -> Record | None:
    """Return the record of the lowest seed that kept features."""
    there = [record for record in line.records if "per_class" in record.provenance.get("kept_features", {})]
    return min(there, key=lambda record: record.seed, default=None)


def _load_kept(
    lines: Sequence[Line], records: Sequence[Record], kept: Callable[[Record], Mapping[str, AnyArray]]
) -> list[Kept]:
    """Return what was kept of one record of each line, under the names of the lines.

    Raises:
        StoreError: a file that is lost or damaged.
    """
    by_id = {line.records[0].id: line for line in lines_of(records)}
    found = []
    for line, record in zip(lines, records, strict=True):
        arrays = kept(record)
        rows = {kind: np.asarray(arrays[kind], dtype=np.float64) for kind in (REAL, MADE)}
        alone = dataclasses.replace(by_id[record.id], name=line.name, key=line.key)
        found.append(Kept(alone, rows, {kind: arrays[f"{kind}_label"] for kind in (REAL, MADE)}))
    return found


def _choose_classes(
    found: Sequence[Kept], predictions: Predictions, names: Mapping[int, str], classes: int | Sequence[str] | None
) -> tuple[IntArray, list[float], bool]:
    """Return ids of the classes to show, the accuracy of each (mean over methods), and whether a rule chose them.

    Args:
        classes: by name or number, or how many, evenly from the best to the least recognised; None: six.

    Raises:
        BadValue, UnknownName: too many, or classes that are not there. StoreError: predictions that are lost.
    """
    ids = np.unique(found[0].labels[MADE])
    judged = confusions([one.line for one in found], predictions)
    mean = np.mean([one.accuracy for one in judged], axis=0)
    by_id = dict(zip(map(int, judged[0].classes), map(float, mean), strict=True))
    if classes is not None and not isinstance(classes, int):
        record = found[0].line.records[0]
        named = name_classes(ids, names, record)
        check_count(len(classes), _CLASSES, fewest=1)
        shown = ids[places_of(classes, ids + first_class(record), named)]
        return shown, [by_id.get(int(one), float("nan")) for one in shown], False
    tested = [int(one) for one in ids if int(one) in by_id]
    order = sorted(tested, key=lambda one: -by_id[one])
    count = min(_USUAL_CLASSES, len(order)) if classes is None else classes
    check_count(count, min(_CLASSES, len(order)), fewest=1)
    shown = np.array([order[round(place)] for place in np.linspace(0, len(order) - 1, count)], dtype=np.int64)
    return shown, [by_id[int(one)] for one in shown], True


def _first_rows(labels: IntArray, classes: IntArray, most: int) -> IntArray:
    """Return the places of the first `most` rows of each class."""
    return np.concatenate([np.flatnonzero(labels == one)[:most] for one in classes])


@dataclasses.dataclass(frozen=True, eq=False)
class Projection:
    """Rows in a plane.

    Attributes:
        points: (n, 2); axes: what each axis is; told: the sentence on it.
    """

    points: Array
    axes: tuple[str, str]
    told: str


def project(rows: Array, how: str) -> Projection:
    """Return (n, d) rows in the plane that `how` finds for all of them together; the same rows give the same points.

    Raises:
        BadValue: fewer than three rows or two columns, or rows that are all equal.
    """
    rows = np.asarray(rows, dtype=np.float64)
    if len(rows) < 3 or rows.shape[1] < 2 or not np.ptp(rows, axis=0).any():
        raise BadValue(
            f"{len(rows)} rows of {rows.shape[1]} features span no plane; keep more rows, as in "
            "`zslbench run … --keep-features 50 --rerun all`, or choose more classes."
        )
    return _pca(rows) if how == "pca" else _tsne(rows)


def _pca(rows: Array) -> Projection:
    from sklearn.decomposition import PCA

    found = PCA(2, svd_solver="full").fit(rows)
    shares = [100 * float(share) for share in found.explained_variance_ratio_]
    axes = (f"PC 1 ({shares[0]:.0f} % of variance)", f"PC 2 ({shares[1]:.0f} %)")
    told = f"The first two principal components hold {shares[0]:.0f} % and {shares[1]:.0f} % of their variance."
    return Projection(found.transform(rows), axes, told)


def _tsne(rows: Array) -> Projection:
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    first = min(_COMPONENTS, *rows.shape)
    narrow = PCA(first, svd_solver="full").fit_transform(rows) if first < rows.shape[1] else rows
    perplexity = min(_PERPLEXITY, max(1.0, (len(rows) - 1) / 3))
    points = TSNE(2, perplexity=perplexity, init="pca", random_state=_SEED).fit_transform(narrow)
    told = f"t-SNE with perplexity {perplexity:.3g} keeps neighbours; sizes and distances of groups mean little."
    return Projection(points, ("t-SNE 1", "t-SNE 2"), told)
