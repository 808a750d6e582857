"""Interpret the arrays that a user names: which axis is images or classes, and which class a label means."""

from __future__ import annotations

import collections
import contextlib
import re
from collections.abc import Sequence
from typing import Literal

import numpy as np

from zslbench.arrays import AnyArray, Array, IntArray
from zslbench.data.dataset import find_not_finite, to_float32
from zslbench.data.own.reading import InputArray
from zslbench.errors import BadData, BadValue
from zslbench.visible import format_count, one_line

Orientation = Literal["auto", "rows", "columns"]
_COUNTED = 4
"""From this length on, 0, 1, 2, … are regarded as an index, not as a coincidence."""
_SINGULAR = {"images": "image", "classes": "class"}
_NUMBER_BEFORE = re.compile(r"(\d{1,18})[\s,]+(\S.*)")  # no list is that long, and int() refuses thousands of digits
NUMBERED = re.compile(r"^\d+[._-](?=.)")  # 001.name


def orient_rows(
    loaded: InputArray, count: int, role: str, unit: str, orientation: Orientation = "auto", counted: str = ""
) -> tuple[Array, list[str]]:
    """Return a matrix with one row per unit, and remarks if it was transposed or cut.

    A row or column that only counts the others (an index, as pandas writes it) is not a feature, and would give away
    the order of the images. It is left out.

    Args:
        loaded: (count, k) or (k, count) numbers; further axes of length 1 are dropped.
        role, unit: for messages: features and images, or semantics and classes.
        orientation: whether units are ``rows`` or ``columns`` if both axes have the length `count`; otherwise the
            lengths decide.
        counted: the source of the labels that were counted, if `count` is their number.

    Raises:
        BadData: not a numeric matrix, no axis of that length, or NaN or infinity in it.
        BadValue: both axes have that length and `orientation` is not given.
    """
    array = loaded.array.squeeze() if loaded.array.ndim > 2 else loaded.array
    if array.ndim != 2 or array.dtype.kind not in "fiub":
        shape = " × ".join(map(str, array.shape)) or "one value"
        raise BadData(f"{loaded.source}: {role} must be a matrix of numbers, not {shape} of {array.dtype}.")
    array, cut = _cut_index(array, loaded, count, unit)
    remarks = []
    if cut:
        remarks.append(f"{role}: the first {cut} of {loaded.source} only counts the others, as an index does; left out")
    if count not in array.shape and counted:
        rows = min(array.shape, key=lambda side: abs(side - count))
        raise BadData(
            f"{loaded.source} has {rows} {unit}, {counted} {count} labels; give one label per image "
            f"({loaded.source} is {array.shape[0]} × {array.shape[1]})."
        )
    if count not in array.shape:
        raise BadData(
            f"{loaded.source}: {role} are {array.shape[0]} × {array.shape[1]}, but there are {count} {unit}; "
            f"the rows or the columns must be the {unit}."
        )
    turned = array.shape[0] != count
    if array.shape == (count, count) and count > 1:
        if orientation == "auto":
            raise BadValue(
                f"{loaded.source}: {role} are {count} × {count}, so the numbers do not show whether {unit} are rows or "
                "columns; say it with --orientation rows or --orientation columns."
            )
        turned = orientation == "columns"
    if turned:
        remarks.append(f"{role}: {unit} are columns in {loaded.source}; transposed")
    out = to_float32(array.T if turned else array, f"{loaded.source}: {role}")
    if (row := find_not_finite(out)) is not None:
        raise BadData(
            f"{loaded.source}: {role} hold NaN or infinity (first in {_SINGULAR[unit]} {row + 1} of {len(out)}); "
            "correct or remove it."
        )
    return out, remarks


def counts_others(numbers: AnyArray, fewest: int = _COUNTED) -> bool:
    """Return whether numbers are just 0, 1, 2, … or 1, 2, 3, …; a short list of them may be a coincidence."""
    steps = np.arange(len(numbers))
    return len(numbers) >= fewest and any(np.array_equal(numbers, steps + first) for first in (0, 1))


def _cut_index(array: AnyArray, loaded: InputArray, count: int, unit: str) -> tuple[AnyArray, str]:
    """Return a matrix without a first column or row that only counts, and which of the two was cut."""
    rows, columns = array.shape
    counted = counts_others(array[:, 0], 2 if columns == count + 1 else _COUNTED)
    if columns > 1 and (loaded.index or (counted and count in (rows, columns - 1))):
        if loaded.index and unit == "classes" and not counted and rows >= _COUNTED:
            raise BadData(
                f"{loaded.source}: the first column has no name in the header, as the index that pandas writes, and "
                "does not count the rows; write the table with index=False, or give that column a name if it is meant."
            )
        return array[:, 1:], "column"
    if rows > 1 and count in (columns, rows - 1) and counts_others(array[0], 2 if rows == count + 1 else _COUNTED):
        return array[1:], "row"
    return array, ""


def read_class_names(loaded: InputArray) -> tuple[str, ...]:
    """Return the checked class names of a list; a consecutive number before each (``7 gull``) is dropped.

    It stays in names that lie beside features in an ``.npz``, which are those of folders.
    """
    if loaded.names is not None and loaded.array.shape[1] == 0:
        names = loaded.names
    else:
        names = tuple(str(name).strip() for name in _texts(loaded.array).ravel())
    counted = [match for name in names if (match := _NUMBER_BEFORE.fullmatch(name))]
    of_list = loaded.facts.get("key") != "class_names"
    if of_list and len(counted) == len(names) and counts_others(np.array([int(match[1]) for match in counted]), 0):
        names = tuple(match[2] for match in counted)
    return check_class_names(names, loaded.source)


def check_class_names(names: Sequence[str], source: str) -> tuple[str, ...]:
    """Return class names unchanged; BadData if one is empty, has blanks at its ends or line breaks, or occurs twice."""
    if (strange := next((name for name in names if not name or name.strip() != one_line(name)), None)) is not None:
        raise BadData(
            f"{source}: class name {strange!r} is empty, begins or ends with a space, or has characters that cannot be "
            "printed; change it."
        )
    name, times = collections.Counter(names).most_common(1)[0]
    if times > 1:
        raise BadData(f"{source}: class {name!r} is listed {times} times; list each once.")
    return tuple(names)


def find_class_ids(loaded: InputArray, names: Sequence[str] | None, classes: int) -> tuple[IntArray, int, str]:
    """Return (n,) 0-based class ids of labels, the number of the first class in them, and how they were read.

    Labels are names of classes (with or without the number of the xlsa17 form ``001.name``), 1-based numbers, or
    0-based ones. Every class must have an image; this distinguishes 0-based from 1-based numbers.

    `loaded` are (n,), (n, 1) or (1, n) numbers or texts; `names` are those of the classes, in order.

    Raises:
        BadData: a label means no class, or a class has no label.
    """
    array, source, cut = loaded.array, loaded.source, ""
    if loaded.table and array.ndim == 2 and array.shape[1] == 2 and (loaded.index or counts_others(array[:, 0])):
        array, cut = array[:, 1:], "; the first column only counts the rows and is left out"
    if array.size == 0 or array.ndim > 2 or (array.ndim == 2 and 1 not in array.shape):
        hint = "; give class numbers, not one-hot rows" if array.ndim == 2 else ""
        raise BadData(f"{source}: labels must be one per image, not {' × '.join(map(str, array.shape))}{hint}.")
    flat = array.ravel()
    if flat.dtype.kind in "US" and not (names is not None and set(_texts(flat).tolist()) <= set(names)):
        with contextlib.suppress(ValueError, OverflowError):
            flat = np.array([int(text) for text in _texts(flat)], dtype=np.int64)
    base = 0
    if flat.dtype.kind in "US":
        ids, kind = _find_by_name(_texts(flat).tolist(), names, source), "class names"
    else:
        values = flat.astype(np.float64)
        if not np.isfinite(values).all() or np.abs(values).max() >= 2**53 or (values % 1).any():
            raise BadData(f"{source}: labels must be whole numbers or names, one of them is neither; correct it.")
        numbers = values.astype(np.int64)
        low, high = int(numbers.min()), int(numbers.max())
        base = 1 if high == classes else 0
        if low >= base and high - base < classes:
            ids, kind = numbers - base, f"{base}-based"
        elif names is not None and set(map(str, np.unique(numbers))) <= set(names):
            ids, kind, base = _find_by_name(list(map(str, numbers)), names, source), "class names", 0
        else:
            raise BadData(
                f"{source}: labels run from {low} to {high}, but semantics describe {format_count(classes, 'class')}; "
                f"number them from 0 to {classes - 1} or from 1 to {classes}, or list them with --classes in the order "
                "of the semantics."
            )
    empty = np.setdiff1d(np.arange(classes), ids)
    if empty.size:
        first = repr(names[empty[0]]) if names else f"number {empty[0]} (0-based)"
        raise BadData(
            f"{source}: {format_count(empty.size, 'class')} without an image (first: {first}); leave what has none out "
            "of the semantics."
        )
    return ids, base, f"labels are {kind}{cut}"


def _find_by_name(labels: Sequence[str], names: Sequence[str] | None, source: str) -> IntArray:
    if names is None:
        raise BadData(
            f"{source}: labels are names (first: {labels[0]!r}), and it is unknown which row of the semantics is which "
            "class; list the classes in the order of the semantics with --classes."
        )
    number = {name: at for at, name in enumerate(names)}
    bare = [NUMBERED.sub("", name) for name in names]
    times = collections.Counter(bare)
    number |= {name: at for at, name in enumerate(bare) if name not in number and times[name] == 1}
    ids = [number.get(label, number.get(NUMBERED.sub("", label))) for label in labels]
    if None in ids:
        at = ids.index(None)
        raise BadData(
            f"{source}: label {at + 1} is {labels[at][:60]!r}, which is not a class (the first class is {names[0]!r})."
        )
    return np.array(ids, dtype=np.int64)


def _texts(array: AnyArray) -> AnyArray:
    return np.char.decode(array, "utf-8", "replace") if array.dtype.kind == "S" else array.astype(np.str_)
