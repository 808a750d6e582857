"""`table --layout stats`: what the data sets hold, counted in the data itself (LisGAN's Table 1)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zslbench.data import added
from zslbench.data import xlsa17 as layout
from zslbench.data.catalogue import CATALOGUE, Catalogued, named_folders
from zslbench.data.dataset import Counts, Dataset, choose_stem
from zslbench.data.home import data_root
from zslbench.data.loading import folder_of, load_dataset, load_source
from zslbench.data.store import load_stored
from zslbench.data.xlsa17 import FEATURES, SEMANTICS, count_split
from zslbench.errors import DataMissing, ZslbenchError
from zslbench.files import write_text
from zslbench.identity import folder_name
from zslbench.results.tables.captions import describe_by, split_of
from zslbench.results.tables.facts import write_data
from zslbench.results.tables.render import DATA_FORMATS, check_format, render
from zslbench.results.tables.table import Block, Cell, Column, Table, TableRow, remarks
from zslbench.visible import one_line


@dataclasses.dataclass(frozen=True)
class Described:
    """One data set and what it holds.

    Attributes:
        name, title: as it is registered and printed; of data of one's own the folder's name.
        origin, split: as in `Dataset`.
        features, semantics: file stems; features are empty where there are none.
        fingerprint: of the content; empty without features.
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


def named(text: str, features: str | None, semantics: str | None, root: Path | None) -> Described:
    """Describe the data set that a text names; without features, as far as its split says.

    Args:
        text: a name, with parameters where it takes some, or the path of a folder.
        features, semantics: file stems; None: the usual ones, else the first that there are.
        root: the folder of data set folders.

    Raises:
        UnknownName, BadSpec, BadValue: the text, or a choice, does not exist.
        DataMissing: the files are not on this machine.
        BadData: the files break a rule.
    """
    if (own := folder_of(text)) is not None:
        own = own.resolve()
        return _in_folder(own, _chosen(own, features, semantics), None)
    if added.find(text) is not None:
        loaded = load_dataset(text, features=features, semantics=semantics)
        return _loaded(loaded, loaded.name)
    source, name = load_source(text)
    if not isinstance(source, Catalogued):
        loaded = load_dataset(text, features=features, semantics=semantics, root=root)
        return _loaded(loaded, source.card.title if loaded.name == name else loaded.name)
    folders = named_folders(source.card.folder, root)
    held = [folder for folder in folders if _holds(folder, features, semantics)]
    if not held:
        folder = (
            folders[0]
            if folders and features is None
            else source.find(features or FEATURES, semantics or SEMANTICS, root)
        )
        held = [folder]
    folder = _with_features_first(held)[0]
    return _in_folder(folder, _chosen(folder, features, semantics), source)


def everything(features: str | None, semantics: str | None, root: Path | None) -> tuple[list[Described], list[str]]:
    """Describe every data set whose folder is found on this machine, and say of those left out why.

    Chosen features that a data set lacks count as no features. The catalogued come first, those that were added last.

    Raises:
        DataMissing: there is none.
    """
    roots = data_root(root)
    held: dict[str, list[Path]] = {}
    for place in roots:
        for folder in sorted(path for path in place.glob("*") if path.is_dir()):
            if layout.stems(folder).semantics:
                held.setdefault(folder.name.casefold(), []).append(folder)
    sources = {source.card.folder.casefold(): source() for source in CATALOGUE}
    out, left = [], []
    for name in sorted(held, key=lambda name: (name not in sources, name)):
        folder = _with_features_first(held[name])[0]
        there = layout.stems(folder)
        chosen = _pick(features, FEATURES, there.features), _pick(semantics, SEMANTICS, there.semantics)
        if not chosen[1]:
            left.append(
                f"{folder.name} is left out: it has no {semantics} semantics, but {', '.join(there.semantics)}."
            )
            continue
        try:
            out.append(_in_folder(folder, chosen, sources.get(name)))
        except ZslbenchError as error:
            left.append(f"{folder.name} is left out: {error}")
    for name in added.names() if root is None else []:
        try:
            out.append(named(name, features, semantics, None))
        except ZslbenchError as error:
            left.append(f"{name} is left out: {error}")
    if not out and not left:
        raise DataMissing(
            f"no data set is on this machine (looked in {' and '.join(map(str, roots))}); get one with `zslbench data "
            "fetch NAME`, name the folder that holds CUB, SUN, … with --data-root, or a built-in set: -d digits."
        )
    return out, left


def _holds(folder: Path, features: str | None, semantics: str | None) -> bool:
    there = layout.stems(folder)
    return (features is None or features in there.features) and (
        semantics in there.semantics if semantics else bool(there.semantics)
    )


def _with_features_first(folders: Sequence[Path]) -> list[Path]:
    return sorted(folders, key=lambda folder: not layout.stems(folder).features)


def _chosen(folder: Path, features: str | None, semantics: str | None) -> tuple[str, str]:
    """Return the features, empty where there are none, and the semantics to read.

    Raises:
        DataMissing: a choice that the folder does not have, or no semantics.
    """
    there = layout.stems(folder)
    if features is not None:
        choose_stem(str(folder), "features", features, there.features, "", "leave --features out")
    if semantics is not None or not there.semantics:
        choose_stem(str(folder), "semantics", semantics, there.semantics, "")
    return _pick(features, FEATURES, there.features), _pick(semantics, SEMANTICS, there.semantics)


def _pick(given: str | None, usual: str, held: Sequence[str]) -> str:
    if given is not None:
        return given if given in held else ""
    return usual if usual in held else next(iter(held), "")


def _in_folder(folder: Path, chosen: tuple[str, str], source: Catalogued | None) -> Described:
    features, semantics = chosen
    name, title = (source.name, source.card.title) if source else (folder_name(folder), folder.name)
    authors = source.card.counts if source else None
    if not features:
        origin = "catalogue" if source else "own"
        return Described(name, title, origin, "", semantics, "", *count_split(folder, semantics), authors)
    # Not by the catalogue's own way, which refuses other counts than the authors': here they are what is asked for.
    dataset = load_stored(
        folder, name=name, features=features, semantics=semantics, origin="catalogue" if source else "own"
    )
    return _loaded(dataset, title, authors)


def _loaded(dataset: Dataset, title: str, authors: Counts | None = None) -> Described:
    return Described(
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


_COLUMNS = (
    Column("images"),
    Column("features", "dimension"),
    Column("semantics", "dimension"),
    Column("seen", "classes"),
    Column("train + val", "classes"),
    Column("unseen", "classes"),
    Column("trainval", "images of the split"),
    Column("test seen", "images of the split"),
    Column("test unseen", "images of the split"),
)
_WORDS = {
    "seen": "seen classes",
    "unseen": "unseen classes",
    "test_seen": "test seen",
    "test_unseen": "test unseen",
}
_WITHOUT = "No features here: images are those that the split names, classes those of its lists; – needs the features."


def statistics(
    format: str = "terminal",
    datasets: Sequence[str] = (),
    features: str | None = None,
    semantics: str | None = None,
    data_root: Path | None = None,
    standalone: bool = False,
    output: Path | None = None,
    width: int | str | float | None = None,
) -> str:
    """Return a table of the data sets: images, dimensions, classes and the parts of the split.

    Args:
        format: terminal, markdown, latex, csv or json.
        datasets: names or folders; none: every data set folder on this machine.
        features, semantics: file stems; None: the usual ones, else the first that there are.
        data_root: the folder that holds xlsa17 folders.
        standalone, output, width: see `zslbench.studies.table.table`.

    Raises:
        UnknownName: no such format or data set.
        BadValue: `standalone` without LaTeX.
        DataMissing: a data set that was named, or any, is not on this machine.
        BadData: the files of one that was named break a rule.
        StoreError: `output` cannot be written.
    """
    check_format(format, standalone=standalone)
    if datasets:
        described, left_out = [named(text, features, semantics, data_root) for text in datasets], list[str]()
    else:
        described, left_out = everything(features, semantics, data_root)
    if format in DATA_FORMATS:
        text = write_data([_facts(dataset) for dataset in described], format)
    else:
        text = render(_lay_out(described, left_out), format, width, standalone=standalone)
    if output is not None:
        write_text(output, text, f"the table {output.name}")
    return text


def _lay_out(described: Sequence[Described], left_out: Sequence[str]) -> Table:
    notes: dict[str, int] = {}
    return Table(
        columns=_COLUMNS,
        blocks=(Block(tuple(TableRow(one_line(dataset.title), "", _cells(dataset, notes)) for dataset in described)),),
        remarks=(*remarks("data", _caption(described)), *remarks("note", left_out)),
        notes=tuple(notes),
        name="data set",
    )


def _cells(dataset: Described, notes: dict[str, int]) -> tuple[Cell | None, ...]:
    unlike = _unlike(dataset)
    theirs = ", ".join(f"{number:,} {_WORDS.get(part, part)}" for part, number in unlike.items())

    def cell(part: str, note: str = "") -> Cell | None:
        number = dataset.counts.get(part)
        if number is None:
            return None
        note = f"{dataset.title}: the authors of its split count {theirs}." if part in unlike else note
        return Cell(f"{number:,}", note=notes.setdefault(note, len(notes) + 1) if note else 0)

    folds = dict.fromkeys(f"{train} + {val}" for train, val in dataset.folds)
    return (
        cell("images", "" if dataset.features else _WITHOUT),
        cell("features"),
        cell("attributes"),
        cell("seen"),
        Cell(", ".join(folds)) if folds else None,
        cell("unseen"),
        cell("trainval"),
        cell("test_seen"),
        cell("test_unseen"),
    )


def _unlike(dataset: Described) -> dict[str, int]:
    """Return the counts of the split's authors that those of the data are not, by what is counted."""
    if dataset.authors is None:
        return {}
    authors = dataclasses.asdict(dataset.authors)
    attributes = authors.pop("attributes")
    if dataset.semantics == SEMANTICS:
        authors["attributes"] = attributes
    return {part: number for part, number in authors.items() if dataset.counts[part] not in (None, number)}


def _caption(described: Sequence[Described]) -> list[str]:
    features = describe_by((dataset.features or "none", dataset.title) for dataset in described)
    semantics = describe_by((dataset.semantics, dataset.title) for dataset in described)
    split = describe_by((split_of(dataset.origin, dataset.split), dataset.title) for dataset in described)
    lines = [
        "Data set statistics, counted in the data.",
        f"Features: {features}; semantics: {semantics}.",
        f"Split: {split}".removesuffix(".") + ".",
    ]
    if any(dataset.folds for dataset in described):
        lines.append("train + val: training and validation classes of each development fold of the seen ones.")
    return lines


def _facts(dataset: Described) -> dict[str, Any]:
    counts = dataset.counts
    return {
        "dataset": dataset.name,
        "title": dataset.title,
        "origin": dataset.origin,
        "features": dataset.features or None,
        "semantics": dataset.semantics,
        "fingerprint": dataset.fingerprint or None,
        "images": counts["images"],
        "feature_dimension": counts.get("features"),
        "semantic_dimension": counts["attributes"],
        "seen": counts["seen"],
        "unseen": counts["unseen"],
        "folds": [f"{train}+{val}" for train, val in dataset.folds],
        "trainval": counts["trainval"],
        "test_seen": counts["test_seen"],
        "test_unseen": counts["test_unseen"],
    }
