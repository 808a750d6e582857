"""Classes as the harness has them: names in the order of the semantics, and a 0-based id an image."""

from __future__ import annotations

import collections
import re
from collections.abc import Sequence

import numpy as np

from zslbench.arrays import AnyArray, IntArray
from zslbench.data.own.files import Loaded
from zslbench.data.own.matrices import counts_others
from zslbench.errors import BadData

_COUNTED = re.compile(r"(\d{1,18})[\s,]+(\S.*)")  # no list is longer, and int() refuses thousands of digits
_NUMBERED = re.compile(r"\d+[._-](.+)")


def listed_names(loaded: Loaded) -> tuple[str, ...]:
    """Return the class names of a list, one a line; a running number before each (``7 gull``) is dropped.

    Raises:
        BadData: a name is empty or occurs twice.
    """
    if loaded.names is not None and loaded.array.shape[1] == 0:
        found = loaded.names
    else:
        found = tuple(str(name).strip() for name in _texts(loaded.array).ravel())
    counted = [_COUNTED.fullmatch(name) for name in found]
    numbers = [int(one.group(1)) for one in counted if one is not None]
    if len(numbers) == len(found) and numbers in (list(range(len(found))), list(range(1, len(found) + 1))):
        found = tuple(one.group(2) for one in counted if one is not None)
    return checked_names(found, loaded.what)


def checked_names(names: Sequence[str], what: str) -> tuple[str, ...]:
    """Return class names as they are.

    Raises:
        BadData: one is empty, breaks a line, or occurs twice.
    """
    if any(not name or not name.isprintable() for name in names):
        raise BadData(f"{what}: a class name is empty or holds what cannot be printed; give one name a line.")
    name, times = collections.Counter(names).most_common(1)[0]
    if times > 1:
        raise BadData(f"{what}: class {name!r} is listed {times} times; list each once.")
    return tuple(names)


def class_ids(loaded: Loaded, names: Sequence[str] | None, classes: int) -> tuple[IntArray, int, str]:
    """Return (n,) 0-based class ids of labels, what the labels number the first class, and how they were read.

    Labels are names of classes (with or without the number of the xlsa17 form ``001.name``), 1-based numbers, or
    0-based ones. Every class must have an image, which tells 0-based from 1-based.

    Args:
        loaded: (n,), (n, 1) or (1, n) numbers or texts.
        names: of the classes, in order; None where they have none.
        classes: how many there are.

    Raises:
        BadData: a label is of no class, or a class has no label.
    """
    array, cut = loaded.array, ""
    if loaded.table and array.ndim == 2 and array.shape[1] == 2 and (loaded.index or counts_others(array[:, 0])):
        array, cut = array[:, 1:], "; the first column only counts the rows and is left out"
    if array.size == 0 or array.ndim > 2 or (array.ndim == 2 and 1 not in array.shape):
        hint = "; give class numbers, not one-hot rows" if array.ndim == 2 else ""
        raise BadData(f"{loaded.what}: labels must be one a image, not {' × '.join(map(str, array.shape))}{hint}.")
    flat = array.ravel()
    named = names is not None and set(map(str, _texts(flat))) <= set(names)
    if flat.dtype.kind in "US" and not named and (whole := _as_numbers(flat)) is not None:
        flat = whole
    if flat.dtype.kind in "US":
        return _by_name(_texts(flat).tolist(), names, loaded.what), 0, f"labels are class names{cut}"
    numbers = _whole(flat, loaded.what)
    low, high = int(numbers.min()), int(numbers.max())
    base = 1 if high == classes else 0
    if low < base or high - base >= classes:
        if names is not None and {str(number) for number in np.unique(numbers)} <= set(names):
            return _by_name([str(number) for number in numbers], names, loaded.what), 0, f"labels are class names{cut}"
        raise BadData(
            f"{loaded.what}: labels run from {low} to {high}, but semantics describe {classes} classes; number "
            f"them from 0 to {classes - 1} or from 1 to {classes}, or list them with --classes in the order of the "
            "semantics."
        )
    ids = numbers - base
    _check_used(ids, names, classes, loaded.what)
    return ids, base, f"labels are {base}-based{cut}"


def _by_name(texts: Sequence[str], names: Sequence[str] | None, what: str) -> IntArray:
    if names is None:
        raise BadData(
            f"{what}: labels are names (first: {texts[0]!r}), and nothing says which row of the semantics is whose; "
            "list the classes in the order of the semantics with --classes."
        )
    number = {name: at for at, name in enumerate(names)}
    bare = [_bare(name) for name in names]
    times = collections.Counter(bare)
    number |= {name: at for at, name in enumerate(bare) if name not in number and times[name] == 1}
    ids = np.empty(len(texts), dtype=np.int64)
    for at, text in enumerate(texts):
        found = number.get(text, number.get(_bare(text)))
        if found is None:
            raise BadData(f"{what}: label {at + 1} is {text[:60]!r}, which is no class (first class: {names[0]!r}).")
        ids[at] = found
    _check_used(ids, names, len(names), what)
    return ids


def _bare(name: str) -> str:
    """Return a class name without the number of the form ``001.name``."""
    found = _NUMBERED.fullmatch(name)
    return found.group(1) if found else name


def _check_used(ids: IntArray, names: Sequence[str] | None, classes: int, what: str) -> None:
    empty = np.setdiff1d(np.arange(classes), ids)
    if empty.size:
        first = repr(names[empty[0]]) if names else f"number {empty[0]} (0-based)"
        raise BadData(f"{what}: {empty.size} classes have no image (first: {first}); leave them out of the semantics.")


def _as_numbers(flat: AnyArray) -> AnyArray | None:
    try:
        return np.array([int(text) for text in _texts(flat)], dtype=np.int64)
    except (ValueError, OverflowError):
        return None


def _texts(array: AnyArray) -> AnyArray:
    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8", "replace")
    return array.astype(np.str_)


def _whole(flat: AnyArray, what: str) -> IntArray:
    if not np.isfinite(flat).all() or np.abs(flat.astype(np.float64)).max() >= 2**53 or (flat != np.floor(flat)).any():
        raise BadData(f"{what}: labels must be whole numbers or names, one of them is neither; mend it.")
    return flat.astype(np.int64)
