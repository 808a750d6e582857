"""Which figure is drawn from which records: one function for all kinds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from zslbench.errors import BadValue, UnknownName
from zslbench.results.analysis.calibration import is_generalized, without_curve
from zslbench.results.analysis.gather import RecordFilter, gather
from zslbench.results.plots.ablation import draw_ablation
from zslbench.results.plots.by_class import draw_confusion, draw_perclass
from zslbench.results.plots.curves import draw_curves, draw_stability
from zslbench.results.plots.features import PROJECTIONS, draw_features
from zslbench.results.plots.frame import DrawnFigure, FigureRequest, settings
from zslbench.results.plots.pareto import draw_pareto
from zslbench.results.plots.ranks import draw_ranks
from zslbench.results.plots.sensitivity import draw_sensitivity, draw_souls
from zslbench.results.plots.series import SPREADS, lines_of
from zslbench.results.records.record import SELECTIONS
from zslbench.results.tables.table import remarks

KINDS: Mapping[str, Callable[[FigureRequest], DrawnFigure]] = {
    "confusion": draw_confusion,
    "sensitivity": draw_sensitivity,
    "souls": draw_souls,
    "stability": draw_stability,
    "ablation": draw_ablation,
    "curve": draw_curves,
    "perclass": draw_perclass,
    "pareto": draw_pareto,
    "cd": draw_ranks,
    "features": draw_features,
}
_BY_CLASS = ("confusion", "perclass", "features")
_FROM_PREDICTIONS = (*_BY_CLASS, "curve")


def draw(kind: str, request: FigureRequest, record_filter: RecordFilter, selection: str | None = None) -> DrawnFigure:
    """Return a figure of the records of a store that a filter leaves.

    Args:
        request: of what lines is found here.
        selection: a rule of `zslbench table`; None: as recorded, no candidates of oracle selection.

    Raises:
        UnknownName, BadValue: a kind, name or option that does not exist, or does not fit the kind or the records.
        StoreError: no runs, none that finished, or predictions that are lost.
    """
    _check(kind, request, record_filter, selection)
    rules = [] if selection is None else [selection]
    gathered = gather(request.store, record_filter, rules, None, per_fold=kind == "stability")
    records, notes = [record for record in gathered.records if record.metrics], list(gathered.notes)
    if kind in _BY_CLASS and not record_filter.protocols:
        records = [record for record in records if record.protocol["name"] == "zsl"] or records
    if kind == "curve":
        generalized = [record for record in records if is_generalized(record)]
        if left_out := without_curve(records):
            notes.append(left_out)
            if not generalized:
                raise BadValue(left_out)
        records = generalized
    lines = sorted(lines_of(records), key=lambda line: record_filter.position(line.row.lead)[0])
    with settings():
        drawn = KINDS[kind](dataclasses.replace(request, lines=lines))
    return dataclasses.replace(drawn, remarks=(*drawn.remarks, *remarks("note", notes)))


def _check(kind: str, request: FigureRequest, record_filter: RecordFilter, selection: str | None) -> None:
    """Refuse options that do not exist, or that the kind has no use for."""
    for kind_of_name, given, known in (
        ("kind of figure", kind, KINDS),
        ("selection", selection, SELECTIONS),
        ("spread", request.spread, SPREADS),
        ("projection", request.projection, PROJECTIONS),
    ):
        if given is not None and given not in known:
            raise UnknownName(kind_of_name, given, known)
    useless = {
        "--param": request.parameter is not None and kind != "sensitivity",
        "--classes": request.classes is not None and kind not in _BY_CLASS,
        "--projection": request.projection is not None and kind != "features",
        "--metric": bool(request.metrics) and kind in _FROM_PREDICTIONS,
        "--spread": request.spread is not None and kind in (*_BY_CLASS, "cd"),
        "--stage dev": record_filter.stage == "dev" and kind in _FROM_PREDICTIONS,
    }
    if wrong := [option for option, given in useless.items() if given]:
        raise BadValue(f"a {kind} figure has no use for {wrong[0]}; leave it out.")
