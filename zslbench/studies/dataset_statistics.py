"""`table --layout stats`: what the data sets hold, counted in the data itself (LisGAN's Table 1)."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zslbench.data import added, xlsa17
from zslbench.data.array_store import load_stored
from zslbench.data.catalogue import CATALOGUE, Catalogued, named_folders, xlsa17_roots
from zslbench.data.dataset import PARTS, Counts, Dataset, Origin, choose_stem, join_semantics
from zslbench.data.loading import folder_of, load_dataset, load_source
from zslbench.data.xlsa17 import FEATURES, SEMANTICS, count_split
from zslbench.errors import BadValue, DataMissing, ZslbenchError
from zslbench.identity import folder_name
from zslbench.results.tables.captions import describe_by, describe_data, describe_split
from zslbench.results.tables.render import Caption
from zslbench.results.tables.result import TableResult
from zslbench.results.tables.table import Block, Cell, Column, Remark, Table, TableRow, remarks
from zslbench.results.tables.table_data import pick_facts
from zslbench.visible import name_data, one_line, title_data


@dataclasses.dataclass(frozen=True)
class DatasetDescription:
    """One data set and what it holds.

    Attributes:
        name, title: as it is registered and printed; of data of one's own the folder's name.
        features, semantics: file stems; features and the fingerprint are empty where there are no features.
        counts: of what is on this machine, as in `Counts`, and the dimension of the features; None: not known.
        folds: (training, validation) classes of each fold.
        authors: what the catalogue says of it, None of other data.
    """

    name: str
    title: str
    origin: str
    features: str
    semantics: str
    fingerprint: str
    counts: Mapping[str, int | None]
    folds: Sequence[tuple[int, int]]
    authors: Counts | None = None
    split: str = ""

    @property
    def full_title(self) -> str:
        """The title with features and semantics."""
        return name_data(self.title, self.features or "no features", self.semantics)


def _describe_named(text: str, features: str | None, semantics: str | None, root: Path | None) -> DatasetDescription:
    """Describe the data set that a text names; without features, as far as its split says."""
    source: Catalogued | None = None
    if (folder := folder_of(text)) is not None:
        folder = folder.resolve()
        xlsa17.check_no_parent(folder)
    elif added.find_added(text) is not None:
        loaded = load_dataset(text, features=features, semantics=semantics)
        return _describe_loaded(loaded, loaded.name)
    else:
        any_source, name = load_source(text)
        if not isinstance(any_source, Catalogued):
            loaded = load_dataset(text, features=features, semantics=semantics, root=root)
            return _describe_loaded(loaded, any_source.card.title if loaded.name == name else loaded.name)
        source = any_source
        folders = named_folders(source.card.folder, root)
        fitting = [folder for folder in folders if all(_pick_stems(folder, features, semantics))]
        fitting += [folder for folder in folders if features is None and _pick_stems(folder, None, semantics)[1]]
        fitting += folders[:1] if features is None else []
        folder = fitting[0] if fitting else source.find(features, semantics, root)[0]
    present = xlsa17.stems(folder)
    if features is not None:
        choose_stem(str(folder), "features", features, present.features, "", "leave --features out")
    if semantics is not None or not present.semantics:
        usual = "" if present.semantics else xlsa17.SEMANTICS
        for part in [None] if semantics is None else _split_join(semantics, present.semantics):
            choose_stem(str(folder), "semantics", part, present.semantics, usual)
    return _describe_folder(folder, _pick_stems(folder, features, semantics), source)


def _describe_all(
    features: str | None, semantics: str | None, root: Path | None
) -> tuple[list[DatasetDescription], list[str]]:
    """Describe every data set whose folder is found on this machine, and say of those left out why.

    Chosen features that a data set lacks count as no features. The catalogued come first, those that were added last.
    """
    roots = xlsa17_roots(root)
    held: dict[str, list[Path]] = {}
    for folder in (path for place in roots for path in sorted(place.glob("*")) if path.is_dir()):
        if xlsa17.stems(folder).semantics:
            held.setdefault(folder.name.casefold(), []).append(folder)
    sources = {source.card.folder.casefold(): source() for source in CATALOGUE}
    described, left = [], []
    for name in sorted(held, key=lambda name: (name not in sources, name)):
        folder = max(held[name], key=lambda folder: bool(xlsa17.stems(folder).features))
        stems = _pick_stems(folder, features, semantics)
        try:
            if not stems[1]:
                present = ", ".join(xlsa17.stems(folder).semantics)
                raise BadValue(f"it has no {semantics} semantics, but {present}.")
            described.append(_describe_folder(folder, stems, sources.get(name)))
        except ZslbenchError as error:
            left.append(f"{folder.name} is left out: {error}")
    for name in added.names() if root is None else []:
        try:
            described.append(_describe_named(name, features, semantics, None))
        except ZslbenchError as error:
            left.append(f"{name} is left out: {error}")
    if not described and not left:
        raise DataMissing(
            f"no data set is on this machine (looked in {' and '.join(map(str, roots))}); get one with `zslbench data "
            "fetch NAME`, name the folder that holds CUB, SUN, … with --data-root, or a built-in set: -d digits."
        )
    return described, left


def _pick_stems(folder: Path, features: str | None, semantics: str | None) -> tuple[str, str]:
    """Return the features and semantics to read: those given, the usual ones, or the first; empty: there are none."""

    def pick(given: str | None, parts: Sequence[str], usual: str, held: Sequence[str]) -> str:
        if given is not None:
            return given if {*parts} <= {*held} else ""
        return usual if usual in held else next(iter(held), "")

    held = xlsa17.stems(folder)
    parts = _split_join(semantics or "", held.semantics)
    return pick(features, [features or ""], FEATURES, held.features), pick(semantics, parts, SEMANTICS, held.semantics)


def _split_join(semantics: str, present: Sequence[str]) -> list[str]:
    """Return the semantics that ``att+sent`` has side by side; a file stem may itself contain a +."""
    parts = semantics.split("+")
    return parts if semantics not in present and len({*parts}) == len(parts) else [semantics]


def _describe_folder(folder: Path, stems: tuple[str, str], source: Catalogued | None) -> DatasetDescription:
    features, semantics = stems
    name = source.name if source else folder_name(folder)
    origin: Origin = "catalogue" if source else "own"
    authors = source.card.counts if source else None
    parts = _split_join(semantics, xlsa17.stems(folder).semantics)
    if not features:
        (counts, folds), *others = [count_split(folder, part) for part in parts]
        for counted, _ in others:
            counts["attributes"] = (counts["attributes"] or 0) + (counted["attributes"] or 0)
        return DatasetDescription(name, title_data(name), origin, "", semantics, "", counts, folds, authors)
    # Not by the catalogue's own way, which refuses other counts than the authors': here they are what is asked for.
    loaded = [load_stored(folder, name=name, features=features, semantics=part, origin=origin) for part in parts]
    return _describe_loaded(loaded[0] if len(loaded) == 1 else join_semantics(loaded), title_data(name), authors)


def _describe_loaded(dataset: Dataset, title: str, authors: Counts | None = None) -> DatasetDescription:
    return DatasetDescription(
        dataset.name,
        title,
        dataset.origin,
        dataset.features_name,
        dataset.semantics_name,
        dataset.fingerprint,
        dataclasses.asdict(Counts.of(dataset)) | {"features": dataset.features.shape[1]},
        [(len(fold.train), len(fold.val)) for fold in dataset.folds],
        authors,
        dataset.split,
    )


_COLUMNS = {
    "images": Column("images"),
    "features": Column("features", "dimension"),
    "attributes": Column("semantics", "dimension"),
    "seen": Column("seen", "classes"),
    "folds": Column("train + val", "classes"),
    "unseen": Column("unseen", "classes"),
    "trainval": Column("trainval", "images of the split"),
    "test_seen": Column("test seen", "images of the split"),
    "test_unseen": Column("test unseen", "images of the split"),
}
"""The columns, by what is counted."""
_WORDS = {"seen": "seen classes", "unseen": "unseen classes", "test_seen": "test seen", "test_unseen": "test unseen"}
_WITHOUT = "No features here: images are those that the split names, classes those of its lists; – needs the features."


def statistics(
    format: str = "terminal",
    datasets: Sequence[str] = (),
    features: Sequence[str] | None = None,
    semantics: Sequence[str] | None = None,
    data_root: Path | None = None,
    caption: Caption | None = None,
    **options: Any,
) -> TableResult:
    """Return a table of the data sets: images, dimensions, classes and the parts of the split.

    Arguments and errors are those of `zslbench.table`, and `options` those of `TableResult`; without `datasets`, every
    data set folder on this machine.
    """
    left_out: list[str] = []
    none: list[str | None] = [None]
    stems = list(itertools.product(features or none, semantics or none))
    described = [_describe_named(text, *choice, data_root) for text in datasets for choice in stems]
    for choice in [] if datasets else stems:
        of_choice, left = _describe_all(*choice, data_root)
        described, left_out = described + of_choice, left_out + left
    return TableResult(
        make_tables=lambda *_: [_lay_out(described, left_out)],
        make_rows=lambda: [_facts(dataset) for dataset in described],
        format=format,
        options=options,
        caption=caption or Caption(),
    )


def _lay_out(described: Sequence[DatasetDescription], left_out: Sequence[str]) -> Table:
    notes: dict[str, int] = {}
    counts = Counter(dataset.title for dataset in described)
    rows = [
        TableRow(
            one_line(dataset.title if counts[dataset.title] == 1 else dataset.full_title), "", _cells(dataset, notes)
        )
        for dataset in described
    ]
    return Table(
        columns=tuple(_COLUMNS.values()),
        blocks=(Block(tuple(rows)),),
        remarks=(*_caption(described), *remarks("warning", left_out)),
        notes=tuple(notes),
        name="data set",
    )


def _cells(dataset: DatasetDescription, notes: dict[str, int]) -> tuple[Cell | None, ...]:
    authors = {} if dataset.authors is None else dataclasses.asdict(dataset.authors)
    if (attributes := authors.pop("attributes", None)) and dataset.semantics == SEMANTICS:
        authors["attributes"] = attributes
    unlike = {part: number for part, number in authors.items() if dataset.counts[part] not in (None, number)}
    theirs = ", ".join(f"{number:,} {_WORDS.get(part, part)}" for part, number in unlike.items())
    folds = dict.fromkeys(f"{train} + {val}" for train, val in dataset.folds)
    cells: list[Cell | None] = []
    for part in _COLUMNS:
        note = _WITHOUT if part == "images" and not dataset.features else ""
        note = f"{dataset.title}: the authors of its split count {theirs}." if part in unlike else note
        number = dataset.counts.get(part)
        text = ", ".join(folds) if part == "folds" else "" if number is None else f"{number:,}"
        cells.append(Cell(text, note=notes.setdefault(note, len(notes) + 1) if note else 0) if text else None)
    return tuple(cells)


def _caption(described: Sequence[DatasetDescription]) -> list[Remark]:
    features = describe_by((dataset.features or "none", dataset.title) for dataset in described)
    semantics = describe_by((dataset.semantics, dataset.title) for dataset in described)
    split = describe_by((describe_split(dataset.origin, dataset.split), dataset.title) for dataset in described)
    data = describe_data(
        (dataset.title, dataset.features, dataset.semantics, dataset.origin, dataset.split) for dataset in described
    )
    below = [
        Remark("stage", "Data set statistics, counted in the data.", "Counted in the data"),
        *remarks("data", [f"Features: {features}; semantics: {semantics}."], data),
        *remarks("split", [f"Split: {split}".removesuffix(".") + "."]),
    ]
    if any(dataset.folds for dataset in described):
        text = "train + val: training and validation classes of each development fold of the seen ones."
        below += remarks("layout", [text], text)
    return below


def _facts(dataset: DatasetDescription) -> dict[str, Any]:
    counts = dataset.counts
    return {
        "dataset": dataset.name,
        **pick_facts(dataset, "title", "origin"),
        "features": dataset.features or None,
        "semantics": dataset.semantics,
        "fingerprint": dataset.fingerprint or None,
        "images": counts["images"],
        "feature_dimension": counts.get("features"),
        "semantic_dimension": counts["attributes"],
        **{part: counts[part] for part in ("seen", "unseen")},
        "folds": [f"{train}+{val}" for train, val in dataset.folds],
        **{part: counts[part] for part in PARTS},
    }
