"""Read a text table: comma, semicolon or tab between columns, a header or none, names in the first column or none."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from zslbench.arrays import AnyArray
from zslbench.errors import BadData


def read_table(path: Path) -> tuple[AnyArray, tuple[str, ...] | None]:
    """Return the numbers of a table, (rows, columns), and the texts of its first column where it has one.

    A table of one column of texts is returned as (rows,) texts and no names. A first row of texts over numbers is a
    header. Empty lines are passed over.

    Raises:
        BadData: it is empty, ragged, no text, or has a text where a number belongs; the sentence names the row.
    """
    if path.suffix.lower() == ".txt":
        return np.array(_lines(path), dtype=np.str_), None
    text = _text(path)
    rows = _rows(text, path)
    if not rows:
        raise BadData(f"{path} is empty; give one row an image or a class.")
    width = len(rows[0])
    for number, row in enumerate(rows, start=1):
        if len(row) != width:
            raise BadData(f"{path}: row {number} has {len(row)} columns where the first has {width}; make them equal.")
    body = rows[1:] if _is_header(rows) else rows
    if width == 1 and any(_number(row[0]) is None for row in body):
        return np.array([row[0] for row in body], dtype=np.str_), None
    named = _number(body[0][0]) is None
    names = tuple(row[0] for row in body) if named else None
    return _numbers(body, 1 if named else 0, len(rows) - len(body), path), names


def _numbers(body: list[list[str]], first: int, skipped: int, path: Path) -> AnyArray:
    out = np.empty((len(body), len(body[0]) - first), dtype=np.float64)
    for number, row in enumerate(body):
        try:
            out[number] = row[first:]  # NumPy parses the texts
        except ValueError as error:
            column = next(at for at, field in enumerate(row) if at >= first and _number(field) is None)
            raise BadData(
                f"{path}: row {number + 1 + skipped}, column {column + 1} is {row[column][:40]!r}, not a "
                "number; mend it."
            ) from error
    return out


def _is_header(rows: list[list[str]]) -> bool:
    """Tell whether the first row is a header: texts where the second row has numbers, or the word for the column."""
    if len(rows) < 2:
        return False
    texts = [_number(field) is None for field in rows[0]]
    below = [_number(field) is None for field in rows[1]]
    if len(texts) == 1 and texts[0] and below[0]:
        return rows[0][0].lower() in ("label", "labels", "class", "classes", "class_name", "name", "names")
    return any(above and not under for above, under in zip(texts, below, strict=True))


def _number(field: str) -> float | None:
    try:
        return float(field)
    except ValueError:
        return None


def _rows(text: str, path: Path) -> list[list[str]]:
    head = text[: 1 << 16].partition("\n")[0]
    mark = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=head.count)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
        return [[field.strip() for field in row] for row in reader if any(field.strip() for field in row)]
    except csv.Error as error:
        raise BadData(f"{path} cannot be read as a table ({error}); get the file again.") from error


def _lines(path: Path) -> list[str]:
    lines = [line.strip() for line in _text(path).splitlines() if line.strip()]
    if not lines:
        raise BadData(f"{path} is empty; give one name a line.")
    return lines


def _text(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadData(f"{path} is no text in UTF-8 (byte {error.start}); save it as one.") from error
    if "\0" in text:
        raise BadData(f"{path} holds a zero byte, so it is no text; get the file again.")
    return text
