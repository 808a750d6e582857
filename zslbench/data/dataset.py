"""`Dataset`, with the rules that evaluation relies on, and `Source`, the base class of registered data sets."""

from __future__ import annotations

import abc
import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from zslbench import params
from zslbench.arrays import AnyArray, Array, IntArray, copy_rows, read_only_view
from zslbench.errors import BadData, BadValue, DataMissing
from zslbench.identity import fingerprint
from zslbench.spec import brackets
from zslbench.task import ClassTable
from zslbench.visible import format_count

Origin = Literal["catalogue", "builtin", "added", "own"]
PARTS = ("trainval", "test_seen", "test_unseen")
_CHECKED_ROWS = 4096
"""Rows of features that are checked at a time."""


def numbered_names(first: int, count: int) -> tuple[str, ...]:
    """Return class names for a source that has none, made of the numbers that it gives its classes.

    >>> numbered_names(1, 2)
    ('class 1', 'class 2')
    """
    return tuple(f"class {number}" for number in range(first, first + count))


def to_float32(matrix: AnyArray, source: str) -> Array:
    """Return numbers as float32, contiguous by row; numbers that are too large for float32 become infinite.

    Raises:
        BadData: the numbers of a row or a column are so small that all of them would become 0.
    """
    with np.errstate(over="ignore", under="ignore"):
        out: Array = np.ascontiguousarray(matrix, dtype=np.float32)
    for axis, line in ((0, "column"), (1, "row")):
        empty = np.flatnonzero(~out.any(axis=axis))
        lost = empty[np.take(matrix, empty, axis=1 - axis).any(axis=axis)] if empty.size else empty
        if lost.size:
            raise BadData(
                f"{source}: {lost.size} {line}s (first: {lost[0] + 1}) hold numbers so small that float32 rounds them "
                "to 0; scale them up."
            )
    return out


def find_not_finite(matrix: Array) -> int | None:
    """Return the first row of a matrix that holds NaN or infinity, or None if there is none."""
    for start in range(0, len(matrix), _CHECKED_ROWS):
        finite = np.isfinite(matrix[start : start + _CHECKED_ROWS]).all(axis=1)
        if not finite.all():
            return start + int(np.argmin(finite))
    return None


def choose_stem(owner: str, option: str, given: str | None, held: Sequence[str], usual: str, advice: str = "") -> str:
    """Return which features or semantics (`option`) to use: the given stem, the usual one, or the only one there is.

    `owner` begins the sentences of errors, and `advice` says in them how to get others.

    Raises:
        DataMissing: the given ones do not exist, or there are none at all.
        BadValue: none are given, and there are several.
    """
    if not held:
        file = f"{given or usual}{'_splits' if option == 'semantics' else ''}.mat"
        advice = advice or "put it there, or name another folder"
        raise DataMissing(f"{owner} has no {option} file, such as {file}; {advice}.")
    listed = ", ".join(held)
    if given is None:
        if usual not in held and len(held) > 1:
            raise BadValue(f"{owner} has several {option}: {listed}; choose one with --{option}.")
        return usual if usual in held else held[0]
    if given not in held:
        choose = f"leave out --{option}" if [usual] == list(held) else f"choose one with --{option}"
        advice = f"; for several, write --{option} once for each" if "," in given else advice and f", or {advice}"
        raise DataMissing(f"{owner} has no {option} {given!r}; it has: {listed}; {choose}{advice}.")
    return given


@dataclasses.dataclass(frozen=True, eq=False)
class Fold:
    """A division of the seen classes for development: (t,) ids of training and (v,) ids of validation classes."""

    train: IntArray
    val: IntArray


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """One data set with one choice of features and semantics.

    Attributes:
        name: as tables show it.
        features_name, semantics_name: the choice, as file stems (``res101``, ``att``).
        features: (n, d) float32, possibly memory-mapped.
        labels: (n,) int64 class ids, 0-based.
        semantics: (c, a) float32, row i describes class i.
        class_names: (c,) names; ``class 1`` … by the numbers in the labels if the source has no names.
        trainval, test_seen, test_unseen: int64 row numbers of the split, disjoint.
        folds: development folds of the seen classes; empty if the source has none.
        original: (c, a) float32, the attributes before they were scaled to `semantics` (``original_att``), or None.
        origin: whether it is catalogued, built in, installed by ``data add``, or read from a folder of the user's own.
        split: how the split was made, for captions (``seeded split (seed 0, 20 % unseen)``); empty: by the authors.
        first_class: the number of the first class in the source: 1 in xlsa17 files, 0 or 1 in a user's labels.
        fingerprint: 16 hex digits that identify the content. Pass it only for content that was checked when its
            fingerprint was computed (the store does); otherwise it is computed here, after a scan for NaN and infinity.

    Raises:
        BadData: a rule is broken; the sentence names the numbers.
    """

    name: str
    features_name: str
    semantics_name: str
    features: Array
    labels: IntArray
    semantics: Array
    class_names: tuple[str, ...]
    trainval: IntArray
    test_seen: IntArray
    test_unseen: IntArray
    folds: tuple[Fold, ...] = ()
    original: Array | None = None
    origin: Origin = "own"
    split: str = ""
    first_class: int = 0
    fingerprint: str = ""

    def __post_init__(self) -> None:
        faults = itertools.chain(
            self._find_faults_of_shape(),
            self._find_faults_of_split(),
            self._find_faults_of_folds(),
            () if self.fingerprint else self._find_not_finite(),
        )
        if (fault := next(faults, None)) is not None:  # only the first one, since later checks assume the earlier ones
            raise self.bad(fault)
        if not self.fingerprint:
            object.__setattr__(self, "fingerprint", fingerprint(self.arrays()))
        for name, array in self.arrays().items():
            if not name.startswith("fold"):
                object.__setattr__(self, name, read_only_view(array))

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, AnyArray], **facts: Any) -> Dataset:
        """Return a data set made of arrays named as `arrays` names them; `facts` are the other attributes."""
        pairs = [(f"fold{number}_train", f"fold{number}_val") for number in range(1, len(arrays))]
        folds = tuple(Fold(arrays[train], arrays[val]) for train, val in pairs if train in arrays)
        content: dict[str, Any] = {name: array for name, array in arrays.items() if not name.startswith("fold")}
        return cls(**content, folds=folds, **facts)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all arrays of the content, by name."""
        names = ("features", "labels", "semantics", *PARTS)
        content = {name: getattr(self, name) for name in names}
        if self.original is not None:
            content["original"] = self.original
        for number, fold in enumerate(self.folds, start=1):
            content |= {f"fold{number}_train": fold.train, f"fold{number}_val": fold.val}
        return content

    @property
    def seen(self) -> IntArray:
        """(s,) ids of the seen classes, ascending: those with training images."""
        return np.unique(self.labels[self.trainval])

    @property
    def unseen(self) -> IntArray:
        """(u,) ids of the unseen classes, ascending: those of the unseen test images."""
        return np.unique(self.labels[self.test_unseen])

    def class_table(self, ids: IntArray) -> ClassTable:
        """Return (k,) classes, in the order given, with their semantics: the candidates that `Method.scores` takes."""
        original = None if self.original is None else copy_rows(self.original, ids)
        return ClassTable(ids=ids, semantics=copy_rows(self.semantics, ids), original=original)

    def bad(self, fault: str) -> BadData:
        """Return the error that says what is wrong with this data set."""
        return BadData(f"data set {self.name!r} ({self.features_name}, {self.semantics_name}): {fault}")

    def _find_faults_of_shape(self) -> Iterator[str]:
        features, labels, semantics, original = self.features, self.labels, self.semantics, self.original
        if features.ndim != 2 or semantics.ndim != 2:
            yield f"features and semantics must be matrices, not {features.shape} and {semantics.shape}."
        if 0 in features.shape or semantics.shape[1] == 0:
            yield f"features {features.shape} and semantics {semantics.shape} must not be empty."
        if labels.shape != (len(features),):
            rows, given = format_count(len(features), "row"), format_count(labels.size, "label")
            yield f"{rows} of features but {given}; give one label per row."
        for name, kind in (("features", np.float32), ("labels", np.int64), ("semantics", np.float32)):
            if (held := getattr(self, name).dtype) != kind:
                yield f"{name} must be {np.dtype(kind)}, not {held}."
        if original is not None and (original.dtype != np.float32 or original.shape != semantics.shape):
            yield (
                f"original attributes must be float32 {semantics.shape} as the semantics are, "
                f"not {original.dtype} {original.shape}."
            )
        classes = len(semantics)
        if labels.min() < 0 or labels.max() >= classes:
            yield (
                f"labels run from {labels.min()} to {labels.max()} (0-based), but semantics describe {classes} "
                "classes; every class needs a row of semantics."
            )
        if len(self.class_names) != classes:
            names = format_count(len(self.class_names), "class name")
            yield f"{names} for {format_count(classes, 'class')}; give one name per class."

    def _find_faults_of_split(self) -> Iterator[str]:
        parts = {"trainval": self.trainval, "test_seen": self.test_seen, "test_unseen": self.test_unseen}
        for name, rows in parts.items():
            if rows.ndim != 1 or rows.size == 0 or rows.dtype != np.int64:
                yield f"{name} must be a non-empty list of int64 row numbers, not {rows.dtype} {rows.shape}."
            if rows.min() < 0 or rows.max() >= len(self.features):
                yield (
                    f"{name} names rows {rows.min()} to {rows.max()} (0-based) of {len(self.features)}; "
                    "row numbers must lie inside the features."
                )
            if repeated := rows.size - np.unique(rows).size:
                yield f"{name} names {format_count(repeated, 'row')} more than once; each row may occur once."
        for first, second in itertools.combinations(parts, 2):
            if shared := np.intersect1d(parts[first], parts[second]).size:
                rows_shared = format_count(shared, "row")
                yield f"{first} and {second} share {rows_shared}; the parts of a split must not overlap."
        if (both := np.intersect1d(self.seen, self.unseen)).size:
            first = repr(self.class_names[both[0]])
            classes = format_count(both.size, "unseen class", "has")
            yield f"{classes} training images (first: {first}); a class is either seen or unseen."
        if (strange := np.setdiff1d(self.labels[self.test_seen], self.seen)).size:
            yield (
                f"{format_count(strange.size, 'class')} of test_seen without a training image "
                f"(first: {self.class_names[strange[0]]!r}); test_seen may hold seen classes only."
            )

    def _find_faults_of_folds(self) -> Iterator[str]:
        for number, fold in enumerate(self.folds, start=1):
            if fold.train.size == 0 or fold.val.size == 0:
                yield f"fold {number} has {fold.train.size} training and {fold.val.size} validation classes."
            if np.intersect1d(fold.train, fold.val).size:
                yield f"fold {number} has classes that are both training and validation classes."
            if (outside := np.setdiff1d(np.concatenate([fold.train, fold.val]), self.seen)).size:
                classes = format_count(outside.size, "class")
                yield f"fold {number} has {classes} not among the seen classes of the split."

    def _find_not_finite(self) -> Iterator[str]:
        for kind, table in (("semantics", self.semantics), ("original attributes", self.original)):
            if table is not None and (row := find_not_finite(table)) is not None:
                yield f"{kind} of class {self.class_names[row]!r} hold NaN or infinity; correct the file."
        if (row := find_not_finite(self.features)) is not None:
            yield f"features hold NaN or infinity (first in row {row}, 0-based); correct or remove the image."


def join_semantics(choices: Sequence[Dataset]) -> Dataset:
    """Return a data set with several of its choices of semantics side by side, each scaled to unit length per class.

    It has the features of the first, and its semantics are named after all: ``att+clip``.

    Raises:
        BadData: the choices differ in their labels, classes or split.
    """
    first = choices[0]
    for other in choices[1:]:
        for part in ("labels", "class_names", *PARTS):
            if not np.array_equal(getattr(first, part), getattr(other, part)):
                raise first.bad(
                    f"its {part} are not those of semantics {other.semantics_name!r}; join semantics of one split."
                )
    name = "+".join(choice.semantics_name for choice in choices)
    table = np.hstack([_scale_rows(choice.semantics) for choice in choices])
    return dataclasses.replace(first, semantics_name=name, semantics=table, original=None, fingerprint="")


def _scale_rows(table: Array) -> Array:
    """Return rows scaled to unit length, to the bit the same on every machine: the fingerprint rests on it."""
    wide = table.astype(np.float64)
    # squares of float32 are exact in float64, and fsum rounds once, in whatever order a processor adds
    lengths = np.sqrt([[math.fsum(row)] for row in np.square(wide).tolist()])
    return np.divide(wide, lengths, out=np.zeros_like(wide), where=lengths > 0).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Counts:
    """The counts of a data set, as the authors of its split publish them (Xian et al.; Table 1 of LisGAN's paper)."""

    images: int
    attributes: int
    seen: int
    unseen: int
    trainval: int
    test_seen: int
    test_unseen: int

    @classmethod
    def of(cls, dataset: Dataset) -> Counts:
        """Count a data set."""
        parts = (dataset.seen, dataset.unseen, dataset.trainval, dataset.test_seen, dataset.test_unseen)
        return cls(len(dataset.labels), dataset.semantics.shape[1], *map(len, parts))


@dataclasses.dataclass(frozen=True)
class DatasetCard:
    """What lists and pages show of a data set."""

    title: str
    summary: str
    citation: str
    counts: Counts | None = None
    folder: str = ""
    features: str = ""
    semantics: str = ""
    licence: str = ""


@dataclasses.dataclass(kw_only=True)
class Source(abc.ABC):
    """A registered data set. Its parameters are dataclass fields made by `zslbench.params.param`."""

    card: ClassVar[DatasetCard]

    def __post_init__(self) -> None:
        params.check_values(self)

    @abc.abstractmethod
    def load(self, *, features: str | None = None, semantics: str | None = None, root: Path | None = None) -> Dataset:
        """Return the data set with the chosen features and semantics (``vgg19``, ``sent``; None: the usual ones).

        Args:
            root: the folder whose subfolders are data sets in the xlsa17 format; None: ``ZSLBENCH_DATA``, then the
                folder of installed data.

        Raises:
            DataMissing: the files are not on this machine.
            BadData: the files break a rule, or the chosen features or semantics do not exist.
        """

    def text(self, name: str) -> str:
        """Return the canonical spec of this data set: its name with the parameters that differ from their defaults."""
        declared, values = params.declared_params(type(self)), params.current_values(self)
        return name + brackets({key: value for key, value in values.items() if value != declared[key].default})
