"""Real against synthesised features of unseen classes in a plane: a picture of what a generator learnt."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zslbench.arrays import Array, BoolArray, IntArray
from zslbench.errors import BadValue
from zslbench.results.analysis.advice import run_command
from zslbench.results.plots import series
from zslbench.results.plots.by_class import Classes, check_count, confusions
from zslbench.results.plots.frame import (
    COLOURS,
    INK,
    MOST_COLOURED,
    DrawnFigure,
    FigureRequest,
    Frame,
    escape,
    fitting_columns,
    line_look,
    wrap,
)
from zslbench.results.records.record import Record
from zslbench.results.records.store import ResultStore
from zslbench.results.tables.table import Remark
from zslbench.visible import format_count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REAL, MADE = "real", "synthesised"
KEEP = 50
"""Rows per class that commands in sentences propose to keep."""
_METHODS, _ROWS = 4, 100
_SHAPES, _MARGIN = (0.6, 1.0), 1.08
_HIGHEST = 3.2
"""Inches of a panel."""
_CLASSES, _USUAL_CLASSES = MOST_COLOURED, 6
PROJECTIONS = ("pca", "tsne")
_SEED = 0
_PERPLEXITY = 30.0
_COMPONENTS = 50
"""Principal components that t-SNE starts from, as its author advises for wide rows."""


@dataclasses.dataclass(frozen=True, eq=False)
class Kept:
    """What is drawn of one run: rows (n, d) with class ids (n,), the real ones first, then those that it synthesised.

    `line` is of that run alone; `made` (n,) says whether a row is synthesised.
    """

    line: series.Line
    rows: Array
    labels: IntArray
    made: BoolArray

    @property
    def made_ids(self) -> IntArray:
        """The ids of the classes that were synthesised."""
        return np.unique(self.labels[self.made])

    def choose(self, ids: IntArray, most: int) -> Kept:
        """Return the rows of some classes, the first `most` of each class and kind."""
        kinds = [(side, id_) for side in (~self.made, self.made) for id_ in ids]
        places = np.concatenate([np.flatnonzero(side & (self.labels == id_))[:most] for side, id_ in kinds])
        return Kept(self.line, self.rows[places], self.labels[places], self.made[places])


@dataclasses.dataclass(frozen=True, eq=False)
class Projection:
    """Rows in a plane: points (n, 2), what each axis is, and a sentence on what the projection keeps."""

    points: Array
    axes: tuple[str, str]
    sentence: str


def draw_features(request: FigureRequest) -> DrawnFigure:
    """Draw real test rows (hollow) and synthesised ones (filled) of unseen classes, a panel per method, up to four.

    Of each method the lowest seed that kept features is drawn. Methods whose real rows are the same, as those are that
    preprocess alike, share one projection, fitted to all rows shown together; others have one each. A number of classes
    asks for those evenly from the best to the least recognised; None: six.
    """
    series.check_data(request.lines, "features")
    chosen = {line: record for line in request.lines if (record := _lowest_seed(line)) is not None}
    generative = [line for line in request.lines if request.known.synthesises(line.row.method)]
    if not chosen and generative:
        raise BadValue(f"no run asked for kept features; make them: `{_command(generative, request.store)}`.")
    if not chosen:
        names = ", ".join(dict.fromkeys(line.row.method for line in request.lines))
        raise BadValue(
            f"no method asked for synthesises features (there are runs of {names}); run a generative one with "
            f"--keep-features {KEEP}, lisgan for one."
        )
    series.check_number([*chosen], "features", _METHODS, f"up to {_METHODS} methods side by side")
    kept = _load_kept(chosen, request.store)
    shares, classes = confusions(request, [run.line for run in kept])
    run_ids = kept[0].made_ids
    ids, accuracies = _choose_classes(run_ids, request.classes, np.mean(shares, axis=0), classes)
    most = min(_ROWS, *(int(run.made.sum()) // len(run.made_ids) for run in kept))
    kept = [run.choose(ids, most) for run in kept]
    planes, shared = _project(kept, request.projection or "pca")
    titles = classes.name(ids)
    inches = request.width / min(len(kept), fitting_columns(request.width))
    shape, together = min(_shape(planes), _HIGHEST / inches), np.concatenate([plane.points for plane in planes])
    looks = class_looks(run_ids, ids)
    texts = {**dict(zip(ids.tolist(), titles, strict=True)), REAL: REAL, MADE: MADE}
    frame = Frame(
        request.width, len(kept), 0.4 + shape * (inches - 0.25), texts, looks | {REAL: {}, MADE: {}}, only_markers=True
    )
    for axes, run, plane in zip(frame.axes, kept, planes, strict=True):
        for key, handle in _scatter(axes, run, plane, looks).items():
            frame.add_handle(key, handle)
        _set_limits(axes, together if shared else plane.points, shape)
        axes.set_xlabel(escape(plane.axes[0]))
        axes.set_ylabel(escape(plane.axes[1]))
        axes.set_title(wrap(run.line.name, inches - 0.3))
        facts, by_id = run.line.facts, dict(zip(ids.tolist(), titles, strict=True))
        for label, made, (x, y) in zip(run.labels.tolist(), run.made, plane.points.tolist(), strict=True):
            about = {"class": label + classes.first, "class name": by_id[label], "kind": MADE if made else REAL}
            frame.rows.append(facts | about | {"x": x, "y": y})
    lines = [run.line for run in kept]
    by_rule = request.classes is None or isinstance(request.classes, int)
    sentences = _caption(lines, planes, shared, most, list(zip(titles, accuracies, strict=True)), by_rule)
    below = series.describe(sentences, lines, ("T1", "U"))
    lacking = [line for line in generative if line not in chosen]
    command = _command(lacking, request.store) if lacking else None
    return frame.drawn(
        [
            *(remark for remark in below if remark.kind not in ("metrics", "single seed")),
            Remark("note", "Drawn is the lowest seed that kept features."),
            *classes.remarks,
            *series.say_not_drawn("kept features", lacking, command),
        ]
    )


def _lowest_seed(line: series.Line) -> Record | None:
    """Return the record of the lowest seed that kept features."""
    having = [record for record in line.records if "per_class" in record.provenance.get("kept_features", {})]
    return min(having, key=lambda record: record.seed, default=None)


def _load_kept(chosen: Mapping[series.Line, Record], store: ResultStore) -> list[Kept]:
    """Return what was kept of one record of each line, under the names of the lines."""
    by_id = {line.records[0].id: line for line in series.lines_of([*chosen.values()])}
    kept = []
    for line, record in chosen.items():
        arrays = store.features(record)
        alone = dataclasses.replace(by_id[record.id], name=line.name, key=line.key)
        rows = np.concatenate([np.asarray(arrays[kind], dtype=np.float64) for kind in (REAL, MADE)])
        labels = np.concatenate([arrays[f"{kind}_label"] for kind in (REAL, MADE)])
        kept.append(Kept(alone, rows, labels, np.arange(len(rows)) >= len(arrays[REAL])))
    return kept


def _choose_classes(
    ids: IntArray, asked: int | Sequence[str] | None, mean: Array, classes: Classes
) -> tuple[IntArray, list[float]]:
    """Return ids of the classes to show and the accuracy of each, mean over methods; NaN where none was measured.

    `ids` are those of the classes that were synthesised; `mean` holds (c, c) confusions.
    """
    accuracy = dict(zip(classes.ids.tolist(), np.diagonal(mean).tolist(), strict=True))
    if asked is not None and not isinstance(asked, int):
        check_count(len(asked), _CLASSES, fewest=1)
        shown = ids[classes.find(asked, ids)]
    else:
        order = sorted((id_ for id_ in ids.tolist() if id_ in accuracy), key=lambda id_: -accuracy[id_])
        count = min(_USUAL_CLASSES, len(order)) if asked is None else asked
        check_count(count, min(_CLASSES, len(order)), fewest=1)
        shown = np.array(_spread_evenly(order, count, ids), dtype=np.int64)
    return shown, [accuracy.get(id_, float("nan")) for id_ in shown.tolist()]


def _spread_evenly(order: Sequence[int], count: int, unseen: IntArray) -> list[int]:
    """Return classes evenly along an order, or next to there where a class chosen before has the same colour."""
    colours = {id_: place % MOST_COLOURED for place, id_ in enumerate(np.sort(unseen).tolist())}
    chosen: list[int] = []
    for wanted in np.linspace(0, len(order) - 1, count):
        taken = {colours[id_] for id_ in chosen}
        rest = [place for place, id_ in enumerate(order) if id_ not in chosen]
        free = [place for place in rest if colours[order[place]] not in taken]
        chosen.append(order[min(free or rest, key=lambda place: abs(place - round(wanted)))])
    return sorted(chosen, key=order.index)


def _project(kept: Sequence[Kept], how: str) -> tuple[list[Projection], bool]:
    """Return the plane of each method, and whether it is one for all."""
    real = [run.rows[~run.made] for run in kept]
    if not all(np.array_equal(rows, real[0]) for rows in real):
        return [project(run.rows, how) for run in kept], False
    made = [run.rows[run.made] for run in kept]
    whole = project(np.concatenate([real[0], *made]), how)
    first, *others = np.split(whole.points, np.cumsum([len(rows) for rows in (real[0], *made)])[:-1])
    return [dataclasses.replace(whole, points=np.concatenate([first, points])) for points in others], True


def class_looks(unseen: IntArray, shown: IntArray) -> dict[int, dict[str, Any]]:
    """Return colour and marker of each class shown: those of its place among the unseen classes, in every figure."""
    places = {id_: place for place, id_ in enumerate(np.sort(unseen).tolist())}
    looks = {id_: line_look(place) | {"color": COLOURS[place % len(COLOURS)]} for id_, place in places.items()}
    return {id_: looks[id_] for id_ in shown.tolist()}


def _scatter(axes: Axes, run: Kept, plane: Projection, looks: Mapping[int, Mapping[str, Any]]) -> dict[int | str, Any]:
    """Draw the rows of one method and return the handles of a legend: the classes, then real and synthesised."""
    handles: dict[int | str, Any] = {}
    dots: dict[str, Any] = {"ls": "none", "ms": 3.0}
    for label, look in looks.items():
        colour, marker = look["color"], look["marker"]
        made, real = (plane.points[(run.labels == label) & side] for side in (run.made, ~run.made))
        axes.plot(*made.T, marker=marker, mfc=colour, mec="none", alpha=0.4, zorder=2, **dots)
        axes.plot(*real.T, marker=marker, mfc="none", mec=colour, mew=0.7, zorder=3, **dots)
        (handles[label],) = axes.plot([], [], marker=marker, mfc=colour, mec=colour, **dots)
    (handles[REAL],) = axes.plot([], [], marker="o", mfc="none", mec=INK, mew=0.7, **dots)
    (handles[MADE],) = axes.plot([], [], marker="o", mfc=INK, mec="none", alpha=0.5, **dots)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(True)
    return handles


def _shape(planes: Sequence[Projection]) -> float:
    """Return height over width of the panels: that of what is drawn, within what reads well."""
    spans = [np.ptp(plane.points, axis=0) for plane in planes]
    return float(np.clip(max(high / max(wide, 1e-12) for wide, high in spans), *_SHAPES))


def _set_limits(axes: Axes, points: Array, shape: float) -> None:
    """Set limits around (n, 2) points such that a unit is as long along both axes of a panel of that shape."""
    low, high = points.min(axis=0), points.max(axis=0)
    width = _MARGIN * max(high[0] - low[0], (high[1] - low[1]) / shape)
    middle = (low + high) / 2
    axes.set_xlim(middle[0] - width / 2, middle[0] + width / 2)
    axes.set_ylim(middle[1] - shape * width / 2, middle[1] + shape * width / 2)
    axes.set_box_aspect(shape)


def _caption(
    lines: Sequence[series.Line],
    planes: Sequence[Projection],
    shared: bool,
    most: int,
    accuracies: Sequence[tuple[str, float]],
    by_rule: bool,
) -> list[str]:
    several = shared and len(lines) > 1
    sentences = [
        f"Features of unseen classes of {series.name_data(lines[0].row)}: real test images (hollow) and rows that "
        f"{', '.join(line.name for line in lines)} synthesised (filled), up to {most} of each class and kind; the "
        f"projection is fitted to all rows {'shown, of every panel, together' if several else 'of a panel together'}."
    ]
    if not shared:
        sentences.append("The methods bring features into different spaces, so each panel has a projection of its own.")
    sentences += dict.fromkeys(plane.sentence for plane in planes)
    rule = "evenly from the best to the least recognised" if by_rule else "as asked for"
    mean = ", mean over the methods" if len(lines) > 1 else ""
    shares = [name if np.isnan(share) else f"{name} {100 * share:.0f} %" for name, share in accuracies]
    sentences.append(f"Classes {rule}; accuracy ({lines[0].row.protocol}{mean}): {', '.join(shares)}.")
    spaces = [str(line.records[0].provenance["kept_features"].get("space", "none")) for line in lines]
    if len(set(spaces)) > 1:
        chains = dict.fromkeys(f"{line.name}: {space}" for line, space in zip(lines, spaces, strict=True))
        sentences.append(f"Space: features after preprocess, {'; '.join(chains)}.")
    elif spaces[0] == "none":
        sentences.append("Space: features as the data set has them.")
    else:
        sentences.append(f"Space: features after preprocess={spaces[0]}.")
    return sentences


def _command(lines: Sequence[series.Line], store: ResultStore) -> str:
    return run_command(lines[0].records, store.root, "--keep-features", str(KEEP), "--rerun", "all")


def project(rows: Array, how: str) -> Projection:
    """Return (n, d) rows in the plane that `how` finds for all of them together; the same rows give the same points.

    Raises:
        BadValue: fewer than three rows or two columns, or rows that are all equal.
    """
    rows = np.asarray(rows, dtype=np.float64)
    if len(rows) < 3 or rows.shape[1] < 2 or not np.ptp(rows, axis=0).any():
        raise BadValue(
            f"{format_count(len(rows), 'row')} of {format_count(rows.shape[1], 'feature')} span no plane; keep more, "
            "as in `zslbench run … --keep-features 50 --rerun all`, or choose more classes."
        )
    from sklearn.decomposition import PCA

    if how == "pca":
        fitted = PCA(2, svd_solver="full").fit(rows)
        shares = [100 * float(share) for share in fitted.explained_variance_ratio_]
        axes = (f"PC 1 ({shares[0]:.0f} % of variance)", f"PC 2 ({shares[1]:.0f} %)")
        sentence = f"The first two principal components hold {shares[0]:.0f} % and {shares[1]:.0f} % of their variance."
        return Projection(fitted.transform(rows), axes, sentence)
    from sklearn.manifold import TSNE

    first = min(_COMPONENTS, *rows.shape)
    narrow = PCA(first, svd_solver="full").fit_transform(rows) if first < rows.shape[1] else rows
    perplexity = min(_PERPLEXITY, max(1.0, (len(rows) - 1) / 3))
    points = TSNE(2, perplexity=perplexity, init="pca", random_state=_SEED).fit_transform(narrow)
    sentence = f"t-SNE with perplexity {perplexity:.3g} keeps neighbours; sizes and distances of groups mean little."
    return Projection(points, ("t-SNE 1", "t-SNE 2"), sentence)
