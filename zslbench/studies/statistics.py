"""`table --layout stats`: what the data sets hold, counted in the data itself (LisGAN's Table 1)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zslbench.data.catalogue import SEMANTICS
from zslbench.errors import BadValue, UnknownName
from zslbench.results.tables.accuracy import FORMATS
from zslbench.results.tables.caption import split_of
from zslbench.results.tables.render import written
from zslbench.results.tables.table import Cell, Grid, Group, Line, remarks
from zslbench.studies.counting import Described, everything, named
from zslbench.studies.printed import DATA_FORMATS, data, write
from zslbench.visible import one_line

_PIPE_WIDTH = 100
_GROUPS = (
    Group("", ("images",)),
    Group("dimension", ("features", "semantics")),
    Group("classes", ("seen", "train + val", "unseen")),
    Group("images of the split", ("trainval", "test seen", "test unseen")),
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
    *,
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
        standalone, output, width: see `zslbench.results.tables.accuracy.table`.

    Raises:
        UnknownName: no such format or data set.
        BadValue: `standalone` without LaTeX.
        DataMissing: a data set that was named, or any, is not on this machine.
        BadData: the files of one that was named break a rule.
        StoreError: `output` cannot be written.
    """
    if format not in FORMATS:
        raise UnknownName("format", format, FORMATS)
    if standalone and format != "latex":
        raise BadValue(f"--standalone is a LaTeX document, not {format}; add --format latex, or leave it out.")
    if datasets:
        found, left = [named(text, features, semantics, data_root) for text in datasets], list[str]()
    else:
        found, left = everything(features, semantics, data_root)
    if format in DATA_FORMATS:
        text = data([_facts(one) for one in found], format)
    else:
        text = written(_lay_out(found, left), format, width, _PIPE_WIDTH, standalone)
    write(text, output)
    return text


def _lay_out(found: Sequence[Described], left: Sequence[str]) -> Grid:
    notes: dict[str, int] = {}
    return Grid(
        groups=_GROUPS,
        blocks=(tuple(Line(one_line(one.title), "", _cells(one, notes)) for one in found),),
        remarks=(*remarks("data", _caption(found)), *remarks("note", left)),
        notes=tuple(notes),
        name="data set",
    )


def _cells(one: Described, notes: dict[str, int]) -> tuple[tuple[Cell | None, ...], ...]:
    counted, unlike = one.counted, _unlike(one)
    theirs = ", ".join(f"{number:,} {_WORDS.get(part, part)}" for part, number in unlike.items())
    told = f"{one.title}: the authors of its split count {theirs}."

    def cell(part: str, note: str = "") -> Cell | None:
        number = getattr(counted, part)
        note = told if part in unlike else note
        place = notes.setdefault(note, len(notes) + 1) if note and number is not None else 0
        return None if number is None else Cell(f"{number:,}", note=place)

    folds = dict.fromkeys(f"{train} + {val}" for train, val in counted.folds)
    return (
        (cell("images", "" if one.features else _WITHOUT),),
        (cell("features"), cell("semantics")),
        (cell("seen"), Cell(", ".join(folds)) if folds else None, cell("unseen")),
        (cell("trainval"), cell("test_seen"), cell("test_unseen")),
    )


def _unlike(one: Described) -> dict[str, int]:
    """Return the counts of the split's authors that those of the data are not, by what is counted."""
    if one.authors is None:
        return {}
    authors = dataclasses.asdict(one.authors)
    attributes = authors.pop("attributes")
    if one.semantics == SEMANTICS:
        authors["semantics"] = attributes
    return {part: number for part, number in authors.items() if getattr(one.counted, part) not in (None, number)}


def _caption(found: Sequence[Described]) -> list[str]:
    lines = [
        "Data set statistics, counted in the data.",
        f"Features: {_by(found, [one.features or 'none' for one in found])}; "
        f"semantics: {_by(found, [one.semantics for one in found])}.",
        f"Split: {_by(found, [split_of(one.origin, one.split) for one in found])}".removesuffix(".") + ".",
    ]
    if any(one.counted.folds for one in found):
        lines.append("train + val: training and validation classes of each development fold of the seen ones.")
    return lines


def _by(found: Sequence[Described], facts: Sequence[str]) -> str:
    """Say one fact of the data sets: once when they agree, else with the data sets that it holds for."""
    holders: dict[str, list[str]] = {}
    for one, fact in zip(found, facts, strict=True):
        holders.setdefault(fact, []).append(one.title)
    if len(holders) == 1:
        return next(iter(holders))
    return ", ".join(f"{fact} ({', '.join(titles)})" for fact, titles in holders.items())


def _facts(one: Described) -> dict[str, Any]:
    counted = one.counted
    return {
        "dataset": one.name,
        "title": one.title,
        "origin": one.origin,
        "features": one.features or None,
        "semantics": one.semantics,
        "fingerprint": one.fingerprint or None,
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
