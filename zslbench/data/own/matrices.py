"""What the arrays that a user names mean: which side counts images or classes, which class a label is."""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from zslbench.arrays import AnyArray, Array, IntArray
from zslbench.data.added import Added, check_stem
from zslbench.data.dataset import numbered_names, to_float32
from zslbench.data.own.content import Content, content_of
from zslbench.data.own.given_splits import SplitOptions, given_split, made_split
from zslbench.data.own.reading import Given, Loaded, read, split_key
from zslbench.errors import BadData, BadValue

Choices = Given | Mapping[str, Given]
"""One input, or several by the stem that ``--features`` or ``--semantics`` names."""
SplitGiven = str | Path | Mapping[str, Any]


@dataclasses.dataclass(eq=False)
class Reader:
    """Reads inputs and turns them the right way round, keeping a remark on each thing that it had to find out."""

    orientation: Orientation = "auto"
    remarks: list[str] = dataclasses.field(default_factory=list)

    def content(
        self,
        features: Choices,
        labels: Given,
        semantics: Choices,
        classes: Given | None,
        splits: SplitGiven | None,
        options: SplitOptions,
    ) -> Content:
        """Return the content that the inputs make; see `zslbench.data.own.add.add` for them and for what is raised."""
        labelled = read(labels, "labels")
        described = self._read(semantics, "semantics")
        names = self._names(classes, described)
        count = len(names) if names is not None else _classes(labelled, described)
        tables = {stem: self._described(one, count, names) for stem, one in described.items()}
        ids, first, how_read = class_ids(labelled, names, count)
        called = "" if names else f", so classes are called class {first} to class {first + count - 1}"
        self.remarks.append(how_read + called)
        names = names or numbered_names(first, count)
        images = self._read(features, "features")
        parts = made_split(ids, names, options, first) if splits is None else given_split(splits, ids, names, options)
        used = sum(map(len, (parts.trainval, parts.test_seen, parts.test_unseen)))
        if used < len(ids):
            self.remarks.append(f"{len(ids) - used} of {len(ids)} images are in no part of the split")
        return Content(
            labels=ids,
            class_names=names,
            first_class=first,
            parts=parts,
            features={stem: self._rows(one, len(ids), "features", "images") for stem, one in images.items()},
            semantics=tables,
            facts={
                "features": {stem: one.facts for stem, one in images.items()},
                "semantics": {stem: one.facts for stem, one in described.items()},
                "labels": labelled.facts,
                "split": parts.facts,
            },
        )

    def extended(self, earlier: Added, features: Choices | None, semantics: Choices | None) -> Content:
        """Return the content of an added data set with further features or semantics.

        Raises:
            BadValue: it has some of that name.
            BadData: their counts differ.
        """
        old = content_of(earlier)
        images = {} if features is None else self._read(features, "features")
        described = {} if semantics is None else self._read(semantics, "semantics")
        for role, found, held in (("features", images, old.features), ("semantics", described, old.semantics)):
            if taken := [stem for stem in found if stem in held]:
                raise BadValue(
                    f"data set {earlier.name!r} has {role} {taken[0]!r} already; name others with --{role} NAME=FILE."
                )
        if images:
            self.remarks.append("features: rows taken in the order of the images that are there")
        more = {stem: self._rows(one, len(old.labels), "features", "images") for stem, one in images.items()}
        tables = {stem: self._described(one, len(old.class_names), old.class_names) for stem, one in described.items()}
        facts: dict[str, Mapping[str, Any]] = dict(old.facts)
        for role, found in (("features", images), ("semantics", described)):
            facts[role] = {**facts[role], **{stem: one.facts for stem, one in found.items()}}
        return dataclasses.replace(
            old, features={**old.features, **more}, semantics={**old.semantics, **tables}, facts=facts
        )

    def _read(self, given: Choices, role: str) -> dict[str, Loaded]:
        """Return inputs by stem: the given one, else that of the file."""
        if isinstance(given, Mapping):
            chosen: dict[str, Given] = dict(given)
        elif isinstance(given, str | Path):
            chosen = {split_key(str(given))[0].stem.removesuffix("_splits"): given}
        else:
            chosen = {role: given}
        if not chosen:
            raise BadValue(f"no {role} were given; name at least one.")
        return {check_stem(stem, role): read(one, role) for stem, one in chosen.items()}

    def _names(self, classes: Given | None, described: Mapping[str, Loaded]) -> tuple[str, ...] | None:
        """Return the class names of the list, else those that stand beside the semantics, else None."""
        if classes is not None:
            return listed_names(read(classes, "classes"))
        return next((checked_names(one.names, one.what) for one in described.values() if one.names is not None), None)

    def _described(self, loaded: Loaded, count: int, names: tuple[str, ...] | None) -> Array:
        """Return semantics with a row a class, in the order of the names where the table has names, too."""
        loaded = _named_by_numbers(loaded, names)
        if names is not None and loaded.names is not None and loaded.names != names:
            if sorted(checked_names(loaded.names, loaded.what)) != sorted(names):
                strange = next(iter(sorted(set(loaded.names) ^ set(names))))
                raise BadData(
                    f"{loaded.what} and the list of classes do not name the same classes (first: {strange!r})."
                )
            order = {name: at for at, name in enumerate(loaded.names)}
            loaded = dataclasses.replace(loaded, array=loaded.array[[order[name] for name in names]])
            self.remarks.append(f"semantics: rows of {loaded.what} put into the order of the classes")
        return self._rows(loaded, count, "semantics", "classes")

    def _rows(self, loaded: Loaded, count: int, role: str, unit: str) -> Array:
        table, remark = rows_of(loaded, count, role, unit, self.orientation)
        self.remarks += [remark] if remark else []
        return table


def _named_by_numbers(loaded: Loaded, names: tuple[str, ...] | None) -> Loaded:
    """Return a text table with its first column as names where that holds exactly the names, which are numbers."""
    array = loaded.array
    if names is None or not loaded.table or loaded.names is not None or array.ndim != 2 or array.shape[1] < 2:
        return loaded
    first = tuple(f"{number:g}" for number in array[:, 0])
    if sorted(first) != sorted(names):
        return loaded
    return dataclasses.replace(loaded, array=array[:, 1:], names=first)


def _classes(labelled: Loaded, described: Mapping[str, Loaded]) -> int:
    """Return how many classes there are: the different labels, or as many as numbers go up to where semantics agree."""
    found = np.unique(labelled.array)
    sides = {side for one in described.values() for side in one.array.shape}
    if len(found) not in sides and found.dtype.kind in "fiu" and np.isfinite(found).all():
        top = found.max()  # classes without images are told later
        return next((side for side in sorted(sides) if side in (top, top + 1)), len(found))
    return len(found)


Orientation = Literal["auto", "rows", "columns"]
_COUNTED = 4
"""Numbers that count themselves by chance no more."""


def rows_of(loaded: Loaded, count: int, role: str, unit: str, orientation: Orientation = "auto") -> tuple[Array, str]:
    """Return a matrix with a row a unit, and the remark to show when it had to be turned or cut (else nothing).

    A row or column that only counts the others (what pandas writes as an index) is no feature: it would give away the
    order of the images. It is left out.

    Args:
        loaded: (count, k) or (k, count) numbers; axes of length 1 beside them are dropped.
        count: how many units there are.
        role, unit: for sentences: features and images, or semantics and classes.
        orientation: what units are where both axes have the length `count`; elsewhere the counts tell.

    Raises:
        BadData: not a numeric matrix, no axis of that length, or NaN or infinity in it.
        BadValue: both axes have that length and nobody said which is meant.
    """
    array, cut = _without_index(_matrix(loaded, role), loaded, count, role, unit)
    fits = [axis for axis in (0, 1) if array.shape[axis] == count]
    if not fits:
        raise BadData(
            f"{loaded.what}: {role} are {array.shape[0]} × {array.shape[1]} where there are {count} {unit}; "
            f"one side must be the {unit}."
        )
    if len(fits) == 2 and count > 1:
        if orientation == "auto":
            raise BadValue(
                f"{loaded.what}: {role} are {count} × {count}, so counts do not tell whether {unit} are rows or "
                "columns; say it with --orientation rows or --orientation columns."
            )
        turned = orientation == "columns"
    else:
        turned = fits[0] == 1
    out = to_float32(array.T if turned else array, f"{loaded.what}: {role}")
    _check_finite(out, loaded, role, unit)
    remarks = [f"{role}: {unit} are columns in {loaded.what}; turned"] if turned else []
    return out, "; ".join(cut + remarks)


def _matrix(loaded: Loaded, role: str) -> AnyArray:
    array = loaded.array
    if array.ndim > 2:
        array = array.squeeze()
    if array.ndim != 2 or array.dtype.kind not in "fiub":
        shape = " × ".join(map(str, array.shape)) or "one value"
        raise BadData(f"{loaded.what}: {role} must be a matrix of numbers, not {shape} of {array.dtype}.")
    return array


def counts_others(numbers: AnyArray, fewest: int = _COUNTED) -> bool:
    """Return whether numbers only count themselves, from 0 or 1 on; of few it may be chance."""
    steps = np.arange(len(numbers))
    return len(numbers) >= fewest and any(np.array_equal(numbers, steps + first) for first in (0, 1))


def _without_index(array: AnyArray, loaded: Loaded, count: int, role: str, unit: str) -> tuple[AnyArray, list[str]]:
    """Return a matrix without a first column or row that only counts, and a remark where there was one."""
    rows, columns = array.shape
    said = f"{role}: the first {{}} of {loaded.what} only counts the others, as an index does; left out"
    counted = counts_others(array[:, 0], 2 if columns == count + 1 else _COUNTED)
    if columns > 1 and (loaded.index or (counted and count in (rows, columns - 1))):
        if loaded.index and unit == "classes" and not counted and rows >= _COUNTED:
            raise BadData(
                f"{loaded.what}: the first column has no name in the header, as the index that pandas writes, and does "
                "not count the rows; write the table with index=False, or give that column a name if it is meant."
            )
        return array[:, 1:], [said.format("column")]
    if rows > 1 and count in (columns, rows - 1) and counts_others(array[0], 2 if rows == count + 1 else _COUNTED):
        return array[1:], [said.format("row")]
    return array, []


def _check_finite(out: Array, loaded: Loaded, role: str, unit: str) -> None:
    for start in range(0, len(out), 4096):
        finite = np.isfinite(out[start : start + 4096]).all(axis=1)
        if not finite.all():
            row = start + int(np.argmin(finite)) + 1
            raise BadData(
                f"{loaded.what}: {role} hold NaN or infinity (first in the {row}. of {len(out)} {unit}); mend or drop "
                "it."
            )


_NUMBER_BEFORE = re.compile(r"(\d{1,18})[\s,]+(\S.*)")  # no list is longer, and int() refuses thousands of digits
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
    counted = [_NUMBER_BEFORE.fullmatch(name) for name in found]
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
