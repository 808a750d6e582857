"""Texts of classes: their names, prompts made of names, or descriptions in files; and the mean of their vectors."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zslbench.arrays import Array
from zslbench.data.own.matrices import NUMBERED
from zslbench.data.own.reading import HEADS
from zslbench.data.parsers import refuse_broken
from zslbench.documents import decode_json, refuse_repeated
from zslbench.errors import BadData, BadValue, DataMissing
from zslbench.files import check_size
from zslbench.identity import expand_home
from zslbench.visible import format_count, list_names

Texts = Mapping[str, Sequence[str]]
"""The texts of each class, by its name, in the order of the classes."""
TextsGiven = str | Path | Mapping[str, str | Sequence[str]]
_MOST = 3
"""Names that a sentence lists."""
_UNFOLDED = 10
"""Bytes of memory per byte of a file of texts, at most, while it is read."""


@dataclasses.dataclass(frozen=True, eq=False)
class ClassVectors:
    """What an encoder made of the texts of classes.

    Attributes:
        vectors: (c, d), a row per class.
        facts: on the encoder, to be kept.
        remarks: sentences on what was left out of the texts.
    """

    vectors: Array
    facts: Mapping[str, Any]
    remarks: Sequence[str] = ()


def clean_name(name: str) -> str:
    """Return a class name as words: without a number before it, and with spaces for ``_`` and ``+``.

    >>> clean_name("001.Black_footed_Albatross"), clean_name("killer+whale")
    ('Black footed Albatross', 'killer whale')
    """
    return " ".join(re.sub("[_+]", " ", NUMBERED.sub("", name)).split())


def make_prompts(names: Sequence[str], templates: Sequence[str]) -> Texts:
    """Return the texts of classes: their cleaned names, in each template in place of ``{}``.

    Raises:
        BadValue: a template has no ``{}``.
        BadData: the classes have no names but numbers.
    """
    for template in templates:
        if "{}" not in template:
            raise BadValue(f"--template {template!r} has no {{}}; write {{}} where the name goes: 'a photo of a {{}}'.")
    if all(re.fullmatch(r"(class )?\d+", clean_name(name)) for name in names):
        raise BadData(
            f"the classes are called {list_names(map(repr, names), 2)}, which says nothing of them; describe them with "
            "--texts, or give a file of names."
        )
    return {name: [template.replace("{}", clean_name(name)) for template in templates] for name in names}


def read_texts(given: TextsGiven, names: Sequence[str]) -> Texts:
    """Return the texts of classes from a file or a folder, in the order of the names.

    A class is named as it is or as `clean_name` makes it, in upper or lower case.

    Args:
        given: a ``.json`` or ``.toml`` file of texts, or of lists of texts, by class (in Python also such a mapping); a
            ``.csv`` or ``.tsv`` file of rows of class and text; or a folder with a file ``CLASS.txt``, or with a folder
            ``CLASS`` of ``.txt`` files, per class, each line of which is a text.

    Raises:
        DataMissing: there is no such file or folder.
        BadData: it cannot be read; a text is empty; a class has none; or a text is of no class.
    """
    source = "--texts" if isinstance(given, Mapping) else str(given)
    cleaned = [clean_name(name).casefold() for name in names]
    by_key = {key: name for key, name in zip(cleaned, names, strict=True) if cleaned.count(key) == 1}
    texts: dict[str, list[str]] = {name: [] for name in names}
    strange: dict[str, None] = {}
    for key, text in _read_pairs(given):
        name = key if key in texts else by_key.get(clean_name(key).casefold())
        if name is None:
            strange[key] = None
        elif not text.strip():
            raise BadData(f"{source}: a text of class {name!r} is empty; write one, or remove it.")
        else:
            texts[name].append(text.strip())
    lacking = [name for name in names if not texts[name]]
    for classes, fault in ((strange, "no class of the data set"), (lacking, "without a text")):
        if classes:
            listed, counted = list_names(map(repr, classes), _MOST), format_count(len(classes), "name", "is")
            raise BadData(f"{source}: {counted} {fault}: {listed}; write the names as in {names[0]!r}.")
    return texts


def _read_pairs(given: TextsGiven) -> Iterator[tuple[str, str]]:
    """Yield class and text of each text."""
    if isinstance(given, Mapping):
        yield from _split_mapping(given, "--texts")
        return
    path = expand_home(given)
    if path.is_dir():
        files = sorted([*path.glob("[!.]*.txt"), *path.glob("[!.]*/[!.]*.txt")])
        if not files:
            raise DataMissing(f"{path} holds no texts; put a file CLASS.txt per class there.")
        for file in files:
            key = file.stem if file.parent == path else file.parent.name
            yield from ((key, line) for line in _read_utf8(file).splitlines() if line.strip())
        return
    if not path.is_file():
        problem = "is not a regular file" if path.exists() else "does not exist"
        raise DataMissing(f"{path} {problem}; name a file of texts, or a folder with a file CLASS.txt per class.")
    suffix, content = path.suffix.lower(), _read_utf8(path)
    with refuse_broken(path, "cannot be read as texts", "; correct it"):
        if suffix in (".json", ".toml"):
            document = decode_json(content) if suffix == ".json" else tomllib.loads(content)
            if suffix == ".json":
                json.loads(content, object_pairs_hook=refuse_repeated)
            yield from _split_mapping(document, str(path))
        elif suffix in (".csv", ".tsv"):
            rows = csv.reader(io.StringIO(content, newline=""), delimiter="," if suffix == ".csv" else "\t")
            for number, row in enumerate(filter(None, rows), start=1):
                if len(row) != 2:
                    raise BadData(
                        f"{path}: row {number} has {format_count(len(row), 'column')}; write class and text, the text "
                        "in quotes."
                    )
                if number > 1 or row[0].casefold() not in HEADS:
                    yield row[0], row[1]
        else:
            raise BadValue(f"{path}: texts are a .csv, .tsv, .json or .toml file, or a folder of .txt files.")


def _split_mapping(document: Mapping[str, Any], source: str) -> Iterator[tuple[str, str]]:
    for key, value in document.items():
        for text in [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else [None]:
            if not isinstance(text, str):
                raise BadData(
                    f"{source}: class {key!r} has no text but {type(value).__name__}; give a text, or a list."
                )
            yield key, text


def _read_utf8(path: Path) -> str:
    with refuse_broken(path, "cannot be read as text", "; save it as UTF-8"):
        check_size(path, _UNFOLDED * path.stat().st_size)
        return path.read_text(encoding="utf-8-sig")


def average_texts(vectors: Array, counts: Sequence[int]) -> Array:
    """Return (c, d): per class the mean of the vectors of its texts, each scaled to unit length before.

    `vectors` are (n, d) rows of texts, those of a class together; `counts` are (c,) numbers of texts per class.
    """
    return np.array([block.mean(axis=0) for block in np.split(scale_rows(vectors), np.cumsum(counts)[:-1])])


def scale_rows(vectors: Array) -> Array:
    """Return rows scaled to unit length, as float64; rows of zeros stay."""
    wide = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    scaled: Array = np.divide(wide, lengths, out=np.zeros_like(wide), where=lengths != 0)
    return scaled
