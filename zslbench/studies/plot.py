"""`plot`: figures from records, with what records do not hold: names of classes, scales, named ablations."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zslbench import params
from zslbench.data.loading import is_named, load_dataset
from zslbench.errors import BadValue, UnknownName, ZslbenchError
from zslbench.files import csv_text, write_text
from zslbench.methods.base import Method
from zslbench.results.analysis.calibration import NO_GZSL, is_generalized, without_curve
from zslbench.results.analysis.gather import RecordFilter, gather
from zslbench.results.plots import KINDS
from zslbench.results.plots.features import PROJECTIONS
from zslbench.results.plots.frame import DeclaredFacts, DrawnFigure, FigureRequest, file_kind, settings, write_figure
from zslbench.results.plots.series import SPREADS, lines_of, study_keys
from zslbench.results.records.record import SELECTIONS, Record
from zslbench.results.records.store import ResultStore
from zslbench.results.tables.render import inches_of
from zslbench.results.tables.table import remarks
from zslbench.runner.class_lookup import recorded_method

_BY_CLASS = ("confusion", "perclass", "features")
_WHILE_TRAINING = ("stability", "losses")
_FROM_PREDICTIONS = (*_BY_CLASS, "curve")


def plot(
    kind: str,
    output: Path | str | None = None,
    *,
    runs: Path | str = "runs",
    methods: Sequence[str] = (),
    datasets: Sequence[str] = (),
    protocols: Sequence[str] = (),
    features: Sequence[str] | None = None,
    semantics: Sequence[str] | None = None,
    stage: str = "final",
    selection: str | None = None,
    metrics: Sequence[str] | None = None,
    parameter: str | None = None,
    classes: int | str | Sequence[str] | None = None,
    spread: str | None = None,
    projection: str | None = None,
    width: str | float = "column",
    data: Path | str | None = None,
    data_root: Path | str | None = None,
) -> DrawnFigure:
    """Draw a figure of finished runs; return its axes, the numbers drawn, and the sentences of its caption.

    Args:
        kind: ``confusion``, ``sensitivity``, ``souls``, ``stability``, ``losses``, ``ablation``, ``curve``,
            ``perclass``, ``pareto``, ``cd``, ``backbones`` or ``features``.
        output: a .pdf, .svg or .png file to write; None: no file.
        runs: the folder of records.
        methods, datasets, protocols, features, semantics, stage: which runs, as in `table`; methods keep this order.
        selection: ``fixed``, ``validated`` or ``oracle`` (†); None: as recorded, without candidates for oracle
            selection.
        metrics: one panel each; None: T1 and H. In a losses figure: which losses; None: all.
        parameter: the hyper-parameter of a sensitivity figure; None: the only one that was swept. In a backbones figure
            ``features`` or ``semantics``, which stand on the axis; None: that of which the runs have several.
        classes: in a confusion or perclass figure: which classes, by name or number or as ``"a,b"``, or how many; None:
            all. In a features figure: up to twelve; None: six.
        spread: what bands and bars over seeds show: ``std`` or ``ci``; None: what suits the kind.
        projection: in a features figure: ``pca`` or ``tsne``; None: PCA.
        width: ``column``, ``page``, ``eccv``, ``neurips``, or inches.
        data: a csv file for the numbers drawn.
        data_root: the folder of data sets, from which names of classes are read; None: as in `run`.

    Raises:
        UnknownName, BadValue: a name or option that does not exist, does not fit the kind, or matches no record.
        StoreError: there are no runs, none is finished, predictions are lost, or a file cannot be written.
    """
    path = None if output is None else Path(output)
    if data is not None and path is not None and Path(data) == path:
        raise BadValue(f"the figure and its numbers are both to be {path.name}; name two files.")
    if path is not None:
        file_kind(path)  # before anything is drawn
    root = None if data_root is None else Path(data_root)
    request = FigureRequest(
        store=ResultStore(runs),
        width=inches_of(width),
        known=knowledge(datasets, root),
        methods=methods,
        metrics=tuple(metrics) if metrics else None,
        parameter=parameter,
        classes=_parse_classes(classes),
        spread=spread,
        projection=projection,
    )
    record_filter = RecordFilter(methods, datasets, protocols, features, semantics, stage)
    _check_options(kind, request, stage, selection)
    drawn = _draw(kind, request, record_filter, selection)
    lacking = [] if path is None else write_figure(drawn, path)
    if data is not None:
        rows = [
            {name: round(value, 6) if isinstance(value, float) else value for name, value in row.items()}
            for row in drawn.rows
        ]
        write_text(Path(data), csv_text(rows), f"the numbers {Path(data).name}")
    return dataclasses.replace(drawn, remarks=(*drawn.remarks, *remarks("note", lacking)))


def _check_options(kind: str, request: FigureRequest, stage: str, selection: str | None) -> None:
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
        "--param": request.parameter is not None and kind not in ("sensitivity", "backbones"),
        "--classes": request.classes is not None and kind not in _BY_CLASS,
        "--projection": request.projection is not None and kind != "features",
        "--metric": bool(request.metrics) and kind in _FROM_PREDICTIONS,
        "--spread": request.spread is not None and kind in (*_BY_CLASS, "cd"),
        "--stage dev": stage == "dev" and kind in _FROM_PREDICTIONS,
    }
    if wrong := [option for option, given in useless.items() if given]:
        raise BadValue(f"a {kind} figure has no use for {wrong[0]}; leave it out.")


def _draw(kind: str, request: FigureRequest, record_filter: RecordFilter, selection: str | None) -> DrawnFigure:
    """Return a figure of the records that a filter and a rule of selection leave."""
    rules = [] if selection is None else [selection]
    gathered = gather(request.store, record_filter, rules, None, per_fold=kind in _WHILE_TRAINING)
    records, notes = [record for record in gathered.records if record.metrics], list(gathered.notes)
    if kind in (*_BY_CLASS, "losses") and not record_filter.protocols:  # training is the same for both protocols
        records = [record for record in records if record.protocol["name"] == "zsl"] or records
    if kind == "curve":
        generalized = [record for record in records if is_generalized(record)]
        if left_out := without_curve(records):
            notes.insert(0, left_out)
        if not generalized:
            raise BadValue(" ".join([*([] if left_out else [NO_GZSL]), *notes]))
        records = generalized
    lines = lines_of(records, record_filter)
    request = dataclasses.replace(request, lines=lines, study=study_keys(request.store.load()))
    with settings():
        drawn = KINDS[kind](request)
    return dataclasses.replace(drawn, remarks=(*drawn.remarks, *remarks("note", notes)))


def knowledge(datasets: Sequence[str], root: Path | None) -> DeclaredFacts:
    """Return what methods and data sets declare; of a class that would have to be imported, or is gone, nothing.

    Args:
        datasets: as they were asked for: folders among them may be what a record is of; root: of the data sets.
    """

    def loaded_class(method: str) -> type[Method] | None:
        try:
            return recorded_method(method)
        except ZslbenchError:
            return None

    def is_logarithmic(method: str, name: str) -> bool:
        if (cls := loaded_class(method)) is None:
            return False
        declared, searched = params.declared_params(cls).get(name), cls.space.get(name)
        return bool(declared and declared.log) or (isinstance(searched, params.Between) and searched.log)

    def ablations(method: str) -> Mapping[str, Mapping[str, Any]]:
        cls = loaded_class(method)
        return {} if cls is None else {name: ablation.values for name, ablation in cls.ablations.items()}

    def synthesises(method: str) -> bool:
        cls = loaded_class(method)
        return cls is not None and cls.offers_synthesis()

    return DeclaredFacts(lambda record: class_names(record, datasets, root), is_logarithmic, ablations, synthesises)


def class_names(record: Record, asked: Sequence[str] = (), root: Path | None = None) -> dict[int, str]:
    """Return the names of a record's classes by id; none where its data is not here, or has other content by now."""
    data = record.dataset
    # A name from a record is no folder, and nothing is imported for it.
    names = [data["name"]] if is_named(data["name"]) else []
    for name in [*names, *(text for text in asked if Path(text).is_dir())]:
        try:
            dataset = load_dataset(name, features=data.get("features"), semantics=data.get("semantics"), root=root)
        except ZslbenchError:
            continue
        if dataset.fingerprint == data.get("fingerprint"):
            return dict(enumerate(dataset.class_names))
    return {}


def _parse_classes(given: int | str | Sequence[str] | None) -> int | tuple[str, ...] | None:
    if given is None or isinstance(given, int):
        return given
    if not isinstance(given, str):
        return tuple(given)
    if given.strip().isdecimal():
        return int(given)
    classes = tuple(part.strip() for part in given.split(",") if part.strip())
    if not classes:
        raise BadValue("--classes names no class; give names or numbers between commas, or how many.")
    return classes
