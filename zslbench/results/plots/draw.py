"""Which figure is drawn from which records: one function for all kinds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zslbench.errors import BadValue, UnknownName
from zslbench.results.analysis.calibration import is_generalized, without_curve
from zslbench.results.analysis.gather import gather
from zslbench.results.analysis.record_filter import RecordFilter
from zslbench.results.plots.ablation import draw_ablation
from zslbench.results.plots.confusion import draw_confusion
from zslbench.results.plots.curves import draw_curves
from zslbench.results.plots.features import PROJECTIONS, draw_features
from zslbench.results.plots.files import Drawn
from zslbench.results.plots.lines import SPREADS, Line, lines_of
from zslbench.results.plots.pareto import draw_pareto
from zslbench.results.plots.perclass import draw_perclass
from zslbench.results.plots.ranks import draw_ranks
from zslbench.results.plots.sensitivity import draw_sensitivity, draw_souls
from zslbench.results.plots.stability import draw_stability
from zslbench.results.plots.style import Style, settings
from zslbench.results.records.record import SELECTIONS, Record
from zslbench.results.records.store import ResultStore
from zslbench.results.tables.table import remarks

KINDS = ("confusion", "sensitivity", "souls", "stability", "ablation", "curve", "perclass", "pareto", "cd", "features")
_BY_CLASS = ("confusion", "perclass", "features")
_FROM_PREDICTIONS = (*_BY_CLASS, "curve")


@dataclasses.dataclass(frozen=True)
class Knowledge:
    """What records do not hold, asked of whoever draws.

    Attributes:
        class_names: of the data that a record is of, by class id; those unknown are left out.
        logarithmic: whether a method declares a parameter on a logarithmic scale.
        ablations: the named settings of a method, with the values of each.
        synthesises: whether a method makes features of classes.
    """

    class_names: Callable[[Record], Mapping[int, str]] = lambda record: {}
    logarithmic: Callable[[str, str], bool] = lambda method, name: False
    ablations: Callable[[str], Mapping[str, Mapping[str, Any]]] = lambda method: {}
    synthesises: Callable[[str], bool] = lambda method: True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be drawn.

    Attributes:
        kind: one of `KINDS`; record_filter: of which records.
        selection: a rule of `zslbench table`; None: as recorded, no candidates of oracle selection.
        metrics: which; None: T1 and H.
        parameter: of ``sensitivity``; classes: of ``confusion``, ``perclass`` and ``features``.
        projection: of ``features``, one of `PROJECTIONS`; None: PCA.
        spread: ``std`` or ``ci``; None: what suits the kind.
    """

    kind: str
    record_filter: RecordFilter
    selection: str | None = None
    metrics: Sequence[str] | None = None
    parameter: str | None = None
    classes: int | Sequence[str] | None = None
    spread: str | None = None
    projection: str | None = None


def draw(request: Request, store: ResultStore, style: Style, known: Knowledge) -> Drawn:
    """Return a figure drawn from the records of a store.

    Raises:
        UnknownName, BadValue: a kind, name or option that does not exist, or does not fit the kind or the records.
        StoreError: no runs, none that finished, or predictions that are lost.
    """
    check(request)
    lines, notes = _lines(request, store)
    with settings():
        drawn = _drawn(request, lines, store, style, known)
    return dataclasses.replace(drawn, remarks=(*drawn.remarks, *remarks("note", notes)))


def check(request: Request) -> None:
    """Refuse options that do not exist, or that the kind has no use for."""
    kind = request.kind
    if kind not in KINDS:
        raise UnknownName("kind of figure", kind, KINDS)
    if request.selection is not None and request.selection not in SELECTIONS:
        raise UnknownName("selection", request.selection, SELECTIONS)
    if request.spread is not None and request.spread not in SPREADS:
        raise UnknownName("spread", request.spread, SPREADS)
    if request.projection is not None and request.projection not in PROJECTIONS:
        raise UnknownName("projection", request.projection, PROJECTIONS)
    useless = {
        "--param": request.parameter is not None and kind != "sensitivity",
        "--classes": request.classes is not None and kind not in _BY_CLASS,
        "--projection": request.projection is not None and kind != "features",
        "--metric": bool(request.metrics) and kind in _FROM_PREDICTIONS,
        "--spread": request.spread is not None and kind in (*_BY_CLASS, "cd"),
        "--stage dev": request.record_filter.stage == "dev" and kind in _FROM_PREDICTIONS,
    }
    if wrong := [option for option, given in useless.items() if given]:
        raise BadValue(f"a {kind} figure has no use for {wrong[0]}; leave it out.")


def _lines(request: Request, store: ResultStore) -> tuple[list[Line], tuple[str, ...]]:
    record_filter, kind = request.record_filter, request.kind
    rules = [] if request.selection is None else [request.selection]
    found = gather(store, record_filter, rules, None, per_fold=kind == "stability")
    records = [record for record in found.records if record.metrics]
    if kind in _BY_CLASS and not record_filter.protocols:
        unseen_only = [record for record in records if record.protocol["name"] == "zsl"]
        records = unseen_only or records
    notes = found.notes
    if kind == "curve" and (left_out := without_curve(records)):
        notes = (*notes, left_out)
        if not any(map(is_generalized, records)):
            raise BadValue(left_out)
    if kind == "curve":
        records = [record for record in records if is_generalized(record)]
    lines = sorted(lines_of(records), key=lambda line: record_filter.position(line.row.lead)[0])
    return lines, notes


def _drawn(request: Request, lines: Sequence[Line], store: ResultStore, style: Style, known: Knowledge) -> Drawn:
    kind, metrics = request.kind, request.metrics
    if kind in _BY_CLASS:
        names = known.class_names(lines[0].records[0]) if lines else {}
        if kind == "features":
            return draw_features(
                lines,
                store.features,
                store.predictions,
                style,
                names,
                request.classes,
                request.projection or "pca",
                store.root,
                known.synthesises,
            )
        by_class = draw_confusion if kind == "confusion" else draw_perclass
        return by_class(lines, store.predictions, style, names, request.classes)
    if kind == "sensitivity":
        return draw_sensitivity(
            lines, style, request.parameter, metrics, request.spread or "std", known.logarithmic, store.root
        )
    if kind == "souls":
        return draw_souls(lines, style, metrics, request.spread or "std", store.root)
    if kind == "stability":
        return draw_stability(lines, style, metrics, request.spread or "std", store.root)
    if kind == "ablation":
        return draw_ablation(lines, style, known.ablations, metrics, request.spread or "ci", store.root)
    if kind == "curve":
        return draw_curves(lines, _dev(store), store.predictions, style, request.spread or "std")
    if kind == "pareto":
        return draw_pareto(lines, style, metrics, request.spread or "std")
    return draw_ranks(lines, style, metrics, request.record_filter.methods)


def _dev(store: ResultStore) -> list[Record]:
    return [record for record in store.load() if record.ok and record.stage == "dev"]
