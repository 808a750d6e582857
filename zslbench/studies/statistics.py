"""`table --layout stats`: what the data sets hold, counted in the data itself (LisGAN's Table 1)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zslbench.data.catalogue import SEMANTICS
from zslbench.files import write_text
from zslbench.results.tables.captions import describe_by, split_of
from zslbench.results.tables.data import write_data
from zslbench.results.tables.render import DATA_FORMATS, check_format, render
from zslbench.results.tables.table import Block, Cell, Column, Line, Table, remarks
from zslbench.studies.counting import Described, everything, named
from zslbench.visible import one_line

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
    "semantics": "attributes",
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
        blocks=(Block(tuple(Line(one_line(dataset.title), "", _cells(dataset, notes)) for dataset in described)),),
        remarks=(*remarks("data", _caption(described)), *remarks("note", left_out)),
        notes=tuple(notes),
        name="data set",
    )


def _cells(dataset: Described, notes: dict[str, int]) -> tuple[Cell | None, ...]:
    counted, unlike = dataset.counted, _unlike(dataset)
    theirs = ", ".join(f"{number:,} {_WORDS.get(part, part)}" for part, number in unlike.items())

    def cell(part: str, note: str = "") -> Cell | None:
        number = getattr(counted, part)
        if number is None:
            return None
        note = f"{dataset.title}: the authors of its split count {theirs}." if part in unlike else note
        return Cell(f"{number:,}", note=notes.setdefault(note, len(notes) + 1) if note else 0)

    folds = dict.fromkeys(f"{train} + {val}" for train, val in counted.folds)
    return (
        cell("images", "" if dataset.features else _WITHOUT),
        cell("features"),
        cell("semantics"),
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
        authors["semantics"] = attributes
    return {part: number for part, number in authors.items() if getattr(dataset.counted, part) not in (None, number)}


def _caption(described: Sequence[Described]) -> list[str]:
    features = describe_by((dataset.features or "none", dataset.title) for dataset in described)
    semantics = describe_by((dataset.semantics, dataset.title) for dataset in described)
    split = describe_by((split_of(dataset.origin, dataset.split), dataset.title) for dataset in described)
    lines = [
        "Data set statistics, counted in the data.",
        f"Features: {features}; semantics: {semantics}.",
        f"Split: {split}".removesuffix(".") + ".",
    ]
    if any(dataset.counted.folds for dataset in described):
        lines.append("train + val: training and validation classes of each development fold of the seen ones.")
    return lines


def _facts(dataset: Described) -> dict[str, Any]:
    counted = dataset.counted
    return {
        "dataset": dataset.name,
        "title": dataset.title,
        "origin": dataset.origin,
        "features": dataset.features or None,
        "semantics": dataset.semantics,
        "fingerprint": dataset.fingerprint or None,
        "images": counted.images,
        "feature_dimension": counted.features,
        "semantic_dimension": counted.semantics,
        "seen": counted.seen,
        "unseen": counted.unseen,
        "folds": [f"{train}+{val}" for train, val in counted.folds],
        "trainval": counted.trainval,
        "test_seen": counted.test_seen,
        "test_unseen": counted.test_unseen,
    }
