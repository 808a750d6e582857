"""Read a text table: comma, semicolon or tab between columns, a header or none, names in the first column or none."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from zslbench.arrays import AnyArray
from zslbench.errors import BadData
from zslbench.files import check_size

_INDEX = ("", "unnamed: 0")
"""What the header has over the index of a pandas table: nothing, or after another round trip this."""
_UNFOLDED = 10
"""Bytes of memory that a byte of a table takes at most while it is read: the text, and short numbers in eight bytes."""


def read_table(path: Path) -> tuple[AnyArray, tuple[str, ...] | None, bool]:
    """Return the numbers of a table, (rows, columns), the texts of its first column where it has one, or None, and
    whether the first column of numbers has no name in the header, as the index that pandas writes.

    A table of one column of texts is returned as (rows,) texts and no names. A first row of texts over numbers is a
    header. Empty lines are passed over.

    Raises:
        BadData: it is empty, ragged, no text, or has a text where a number belongs; the sentence names the row.
    """
    if path.suffix.lower() == ".txt":
        return np.array(_lines(path), dtype=np.str_), None, False
    rows = _rows(_text(path), path)
    first = list(itertools.islice(rows, 2))
    if not first:
        raise BadData(f"{path} is empty; give one row an image or a class.")
    header = _is_header(first)
    body = itertools.chain(first[1:] if header else first, rows)
    if len(first[0]) == 1:
        return _column(_equal(body, 1, header, path)), None, False
    named = _number(first[-1][0]) is None
    index = header and not named and first[0][0].casefold() in _INDEX
    if index and len(first[0]) == 2 and _number(first[-1][1]) is None:  # an index beside one column of texts
        return _column(row[1:] for row in _equal(body, 2, header, path)), None, False
    return *_numbers(_equal(body, len(first[0]), header, path), named, header, path), index


def _equal(rows: Iterable[list[str]], width: int, header: bool, path: Path) -> Iterator[list[str]]:
    for number, row in enumerate(rows, start=1 + header):
        if len(row) != width:
            raise BadData(f"{path}: row {number} has {len(row)} columns where the first has {width}; make them equal.")
        yield row


def _column(rows: Iterable[list[str]]) -> AnyArray:
    """Return one column, (rows, 1) numbers where all of it is numbers, else (rows,) texts."""
    texts = [row[0] for row in rows]
    numbers = [_number(text) for text in texts]
    if None in numbers:
        return np.array(texts, dtype=np.str_)
    return np.array(numbers, dtype=np.float64)[:, None]


def _numbers(
    rows: Iterable[list[str]], named: bool, header: bool, path: Path
) -> tuple[AnyArray, tuple[str, ...] | None]:
    names, out = [], []
    for number, row in enumerate(rows, start=1 + header):
        try:
            out.append(np.array(row[named:], dtype=np.float64))  # NumPy parses the texts
        except ValueError as error:
            column = next(at for at, field in enumerate(row) if at >= named and _number(field) is None)
            raise BadData(
                f"{path}: row {number}, column {column + 1} is {row[column][:40]!r}, not a number; mend it."
            ) from error
        names.append(row[0])
    return np.array(out), tuple(names) if named else None


def _is_header(rows: list[list[str]]) -> bool:
    """Tell whether the first row is a header: texts where the second row has numbers, or the word for the column."""
    if len(rows) < 2:
        return False
    texts = [_number(field) is None for field in rows[0]]
    below = [_number(field) is None for field in rows[1]]
    if len(texts) == 1 and texts[0] and below[0]:
        return rows[0][0].lower() in ("label", "labels", "class", "classes", "class_name", "name", "names")
    return any(above and not under for above, under in zip(texts, below, strict=False))


def _number(field: str) -> float | None:
    try:
        return float(field)
    except ValueError:
        return None


def _rows(text: str, path: Path) -> Iterator[list[str]]:
    head = text[: 1 << 16].partition("\n")[0]
    mark = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=head.count)
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=mark):
            fields = [field.strip() for field in row]
            if any(fields):
                yield fields
    except csv.Error as error:
        raise BadData(f"{path} cannot be read as a table ({error}); get the file again.") from error


def _lines(path: Path) -> list[str]:
    lines = [line.strip() for line in _text(path).splitlines() if line.strip()]
    if not lines:
        raise BadData(f"{path} is empty; give one name a line.")
    return lines


def _text(path: Path) -> str:
    check_size(path, _UNFOLDED * path.stat().st_size)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadData(f"{path} is no text in UTF-8 (byte {error.start}); save it as one.") from error
    if "\0" in text:
        raise BadData(f"{path} holds a zero byte, so it is no text; get the file again.")
    return text
