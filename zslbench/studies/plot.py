"""`plot`: figures from records, with what records do not hold: names of classes, scales, named ablations."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zslbench import params
from zslbench.data.loading import is_named, load_dataset
from zslbench.errors import BadValue, ZslbenchError
from zslbench.methods.base import Method
from zslbench.results.analysis.gather import RecordFilter
from zslbench.results.plots.draw import draw
from zslbench.results.plots.frame import DeclaredFacts, DrawnFigure, FigureRequest, file_kind, write_data, write_figure
from zslbench.results.records.record import Record
from zslbench.results.records.store import ResultStore
from zslbench.results.tables.render import inches_of
from zslbench.results.tables.table import remarks
from zslbench.runner.class_lookup import recorded_method


def plot(
    kind: str,
    output: Path | str | None = None,
    *,
    runs: Path | str = "runs",
    methods: Sequence[str] = (),
    datasets: Sequence[str] = (),
    protocols: Sequence[str] = (),
    features: str | None = None,
    semantics: str | None = None,
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
    """Draw a figure of finished runs, and return its axes, the numbers drawn, and the sentences that go below it.

    Args:
        kind: ``confusion``, ``sensitivity``, ``souls``, ``stability``, ``ablation``, ``curve``, ``perclass``,
            ``pareto``, ``cd`` or ``features``.
        output: the .pdf, .svg or .png to write; None: none.
        runs: the folder of records.
        methods, datasets, protocols, features, semantics, stage: which runs, as in `table`; methods in their order.
        selection: ``fixed``, ``validated`` or ``oracle`` (†); None: as recorded, no candidates of oracle selection.
        metrics: a panel each; None: T1 and H.
        parameter: whose sweep a sensitivity figure shows; None: the only one that was swept.
        classes: of a confusion or perclass figure, by name or number or as ``"a,b"``, or how many; None: all. Of a
            features figure up to twelve; None: six.
        spread: of bands and bars over seeds: ``std`` or ``ci``; None: what suits the kind.
        projection: of a features figure: ``pca`` or ``tsne``; None: PCA.
        width: ``column``, ``page``, ``eccv``, ``neurips``, or inches.
        data: also write the numbers drawn there, as csv.
        data_root: where data sets lie that names of classes are read from (default: as in `run`).

    Raises:
        UnknownName, BadValue: what does not exist, does not fit the kind, or is not in the records.
        StoreError: no runs, none finished, predictions that are lost, or a file that cannot be written.
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
    drawn = draw(kind, request, RecordFilter(methods, datasets, protocols, features, semantics, stage), selection)
    lacking = [] if path is None else write_figure(drawn, path)
    if data is not None:
        write_data(drawn, Path(data))
    return dataclasses.replace(drawn, remarks=(*drawn.remarks, *remarks("note", lacking)))


def knowledge(datasets: Sequence[str], root: Path | None) -> DeclaredFacts:
    """Return what methods and data sets declare; of a class that would have to be imported, or is gone, nothing.

    Args:
        datasets: as they were asked for: folders among them may be what a record is of; root: of the data sets.
    """

    def is_logarithmic(method: str, name: str) -> bool:
        if (cls := _loaded_class(method)) is None:
            return False
        declared, searched = params.declared_params(cls).get(name), cls.space.get(name)
        return bool(declared and declared.log) or (isinstance(searched, params.Between) and searched.log)

    def ablations(method: str) -> Mapping[str, Mapping[str, Any]]:
        cls = _loaded_class(method)
        return {} if cls is None else {name: ablation.values for name, ablation in cls.ablations.items()}

    def synthesises(method: str) -> bool:
        cls = _loaded_class(method)
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


def _loaded_class(method: str) -> type[Method] | None:
    try:
        return recorded_method(method)
    except ZslbenchError:
        return None


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
