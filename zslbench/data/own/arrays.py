"""Make a data set of arrays that a user names: features, labels, semantics, classes, splits."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zslbench.arrays import Array
from zslbench.data.added import Added, check_stem
from zslbench.data.dataset import numbered_names
from zslbench.data.own.classes import checked_names, class_ids, listed_names
from zslbench.data.own.content import Content, content_of
from zslbench.data.own.files import Given, Loaded, read, split_key
from zslbench.data.own.matrices import Orientation, rows_of
from zslbench.data.own.split_files import given_split
from zslbench.data.own.splits import How, made_split
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
        how: How,
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
        parts = made_split(ids, names, how, first) if splits is None else given_split(splits, ids, names, how)
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

    def extended(self, there: Added, features: Choices | None, semantics: Choices | None) -> Content:
        """Return the content of an added data set with further features or semantics.

        Raises:
            BadValue: it has some of that name.
            BadData: their counts differ.
        """
        old = content_of(there)
        images = {} if features is None else self._read(features, "features")
        described = {} if semantics is None else self._read(semantics, "semantics")
        for role, found, held in (("features", images, old.features), ("semantics", described, old.semantics)):
            if taken := [stem for stem in found if stem in held]:
                raise BadValue(
                    f"data set {there.name!r} has {role} {taken[0]!r} already; name others with --{role} NAME=FILE."
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
