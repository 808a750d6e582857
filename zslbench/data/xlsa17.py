"""Read a folder in the xlsa17 format, the standard of the field (Xian et al., 2017), into a `Dataset`.

Optional parts: ``allclasses_names``, ``original_att``, ``train_loc``/``val_loc`` and fold files; numbers may be float32
or float64. ``train_loc`` and ``val_loc`` are never read: together they contain every test_seen image.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zslbench.arrays import AnyArray, Array, IntArray
from zslbench.data.dataset import Dataset, Fold, Origin, numbered_names, to_float32
from zslbench.data.parsers import read_shapes, read_variables
from zslbench.documents import decode_json
from zslbench.errors import BadData, BadValue, DataMissing
from zslbench.files import check_size
from zslbench.visible import format_count, list_names, one_line

FEATURES, SEMANTICS = "res101", "att"
"""The usual features and semantics."""
FIRST_CLASS = 1
READER_VERSION = 2
"""Raise it when a change reads the same files differently: converted copies are then made again."""
_SPLITS = "_splits"
_LOCS = ("trainval_loc", "test_seen_loc", "test_unseen_loc")
_UNFOLDED = 60
"""Bytes of memory per byte of a list, at most: one-letter names."""
_EXACT = 2**53  # float64 holds every whole number below it


class Stems(NamedTuple):
    """The features (``res101``) and semantics (``att``) that a folder has, sorted."""

    features: tuple[str, ...]
    semantics: tuple[str, ...]


def stems(folder: Path) -> Stems:
    """Return the features and semantics that a folder offers, judging by its file names."""
    try:
        names = sorted(path.stem for path in folder.glob("*.mat") if path.is_file() and not path.name.startswith("."))
    except OSError:
        names = []
    return Stems(
        features=tuple(name for name in names if not name.endswith(_SPLITS)),
        semantics=tuple(name.removesuffix(_SPLITS) for name in names if name.endswith(_SPLITS)),
    )


def check_no_parent(folder: Path, advice: str = "") -> None:
    """Raise DataMissing if a folder holds folders in the xlsa17 format instead of features and semantics."""
    if not any(stems(folder)) and (names := [path.name for path in sorted(folder.glob("*")) if any(stems(path))]):
        raise DataMissing(
            f"{folder} holds {list_names(names, 9)}; name one of them, as in {folder / names[0]}{advice}."
        )


def features_file(folder: Path, stem: str) -> Path:
    """Return the path of a features file: ``<stem>.mat``."""
    return folder / f"{_check_stem(stem, '--features')}.mat"


def semantics_file(folder: Path, stem: str) -> Path:
    """Return the path of a semantics file: ``<stem>_splits.mat``."""
    return folder / f"{_check_stem(stem, '--semantics')}{_SPLITS}.mat"


def _check_stem(stem: str, option: str) -> str:
    if stem in ("", ".", "..") or set(stem) & set("/\\\0"):
        raise BadValue(f"{option} {stem!r} is not a file stem; write, for example, res101 for res101.mat.")
    return stem


def _fold_files(folder: Path) -> list[tuple[Path, Path]]:
    """Return the (training, validation) class lists of each fold for which at least one list exists."""
    pairs = [(folder / f"trainclasses{k}.txt", folder / f"valclasses{k}.txt") for k in (1, 2, 3)]
    return [pair for pair in pairs if pair[0].is_file() or pair[1].is_file()]


def source_files(folder: Path, features: str, semantics: str) -> list[Path]:
    """Return every existing file that reading a folder depends on."""
    lists = [path for pair in _fold_files(folder) for path in pair]
    paths = [features_file(folder, features), semantics_file(folder, semantics), folder / "allclasses.txt", *lists]
    return [path for path in paths if path.is_file()]


def read_folder(folder: Path, *, name: str, features: str, semantics: str, origin: Origin = "own") -> Dataset:
    """Read one choice of features and semantics (file stems) of a folder.

    The folder holds ``<features>.mat`` (``features`` d×N, columns are images; ``labels`` N×1, 1-based) and
    ``<semantics>_splits.mat`` (``att`` d×C and the 1-based ``trainval_loc``, ``test_seen_loc``, ``test_unseen_loc``;
    optionally ``original_att`` d×C), and optionally ``trainclasses{1,2,3}.txt`` and ``valclasses{1,2,3}.txt`` for the
    folds.

    Raises:
        DataMissing: one of the two files is missing.
        BadData: a file is broken or its content breaks a rule; the sentence names the file and the numbers.
    """
    features_path = features_file(folder, features)
    semantics_path = semantics_file(folder, semantics)
    split = read_variables(semantics_path, ("att", *_LOCS), ("allclasses_names", "original_att"))
    _check_declared(features_path)
    images = read_variables(features_path, ("features", "labels"))
    table = _rows(split["att"], "att", semantics_path)
    original = _rows(split["original_att"], "original_att", semantics_path) if "original_att" in split else None
    if original is not None and original.shape != table.shape:
        raise BadData(
            f"{semantics_path}: original_att is {original.T.shape} where att is {table.T.shape}; "
            "both describe the same classes and attributes."
        )
    matrix = _rows(images["features"], "features", features_path)
    labels = _whole_numbers(images["labels"], "labels", features_path)
    if labels.min() < 1:
        raise BadData(
            f"{features_path}: labels start at {labels.min()}; labels must be 1-based, so add {1 - labels.min()}."
        )
    if labels.max() == table.shape[1] < len(table):
        raise BadData(
            f"{semantics_path}: att is {_by(table.T.shape)}, {len(table)} classes of {table.shape[1]} attributes, but "
            f"labels go up to {labels.max()}: it looks transposed; give one column per class."
        )
    if labels.max() > len(table):
        raise BadData(
            f"{features_path}: labels go up to {labels.max()} but {semantics_path.name} describes {len(table)} "
            "classes; every class needs a column of att."
        )
    names = class_names(folder, split.get("allclasses_names"), semantics_path, len(table))
    trainval, test_seen, test_unseen = (_loc(split[key], key, len(matrix), semantics_path) for key in _LOCS)
    check_ends((trainval, test_seen, test_unseen), len(matrix), str(semantics_path))
    return Dataset(
        name=name,
        features_name=features,
        semantics_name=semantics,
        features=matrix,
        labels=labels - 1,
        semantics=table,
        original=original,
        class_names=names or numbered_names(FIRST_CLASS, len(table)),
        trainval=trainval,
        test_seen=test_seen,
        test_unseen=test_unseen,
        folds=_folds(folder, names),
        origin=origin,
        first_class=FIRST_CLASS,
    )


def read_about(path: Path) -> dict[str, Any]:
    """Return what a features file that `zslbench data features` wrote says of how it was made; else nothing."""
    text = read_variables(path, (), ("about",)).get("about", np.array([]))
    with contextlib.suppress(ValueError):
        return decode_json(str(text.ravel()[0])) if text.size == 1 else {}
    return {}


def _rows(array: AnyArray, key: str, path: Path) -> Array:
    """Return a d×N matrix as (N, d) float32, contiguous by row."""
    if array.ndim != 2 or array.dtype.kind not in "fiub":
        raise BadData(f"{path}: {key} must be a numeric matrix, not {array.dtype} {array.shape}.")
    return to_float32(array.T, f"{path}: {key}")


def _whole_numbers(array: AnyArray, key: str, path: Path) -> IntArray:
    """Return a column of whole numbers as int64: arithmetic in the files' uint16 would overflow."""
    flat = array.ravel()
    hold, kind = ("hold", "class") if key == "labels" else ("holds", "row")
    if flat.size == 0 or flat.dtype.kind not in "fiu":
        raise BadData(f"{path}: {key} must be a non-empty column of whole numbers, not {array.dtype} {array.shape}.")
    if not np.isfinite(flat).all():
        raise BadData(f"{path}: {key} {hold} NaN or infinity; give whole numbers from 1 on.")
    if flat.max() >= _EXACT or flat.min() <= -_EXACT:  # the cast would overflow, or digits are already lost
        raise BadData(f"{path}: {key} {hold} a number that cannot be a {kind} number; give whole numbers from 1 on.")
    if (fractions := flat[flat != np.floor(flat)]).size:
        raise BadData(f"{path}: {key} {hold} {fractions[0]}; give whole numbers from 1 on.")
    return flat.astype(np.int64)


def _check_declared(path: Path) -> None:
    """Compare the declared dimensions of features and labels with each other, before either is read."""
    shapes = read_shapes(path)
    matrix, labels = shapes.get("features", ()), shapes.get("labels", ())
    if len(matrix) != 2 or not labels:
        return  # refused where they are read
    if math.prod(labels) != max(labels):
        raise BadData(f"{path}: labels must be a column of whole numbers, not {_by(labels)}.")
    if matrix[1] != math.prod(labels):
        turned = " (features look transposed)" if matrix[0] == math.prod(labels) else ""
        raise BadData(
            f"{path}: features have {matrix[1]} columns (images) but there are {math.prod(labels)} labels; "
            f"give one column per label{turned}."
        )


def _by(shape: tuple[int, ...]) -> str:
    return " × ".join(f"{side:,}" for side in shape)


def _loc(array: AnyArray, key: str, images: int, path: Path) -> IntArray:
    """Return 0-based int64 rows of 1-based image numbers."""
    rows = _whole_numbers(array, key, path)
    if rows.min() < 1:
        raise BadData(f"{path}: {key} starts at {rows.min()}; image numbers must be 1-based, so add {1 - rows.min()}.")
    if rows.max() > images:
        raise BadData(
            f"{path}: {key} goes up to image {rows.max()} but there are {images} images (1-based); "
            "features and splits must belong together."
        )
    return rows - 1


def check_ends(parts: Sequence[IntArray], images: int, source: str) -> None:
    """Raise BadData if a split (0-based rows) names all images but the first or the last, as if it were off by one."""
    used = np.unique(np.concatenate(list(parts)))
    if images > 3 and len(used) == images - 1 and used[-1] - used[0] == images - 2:
        left = "last" if used[0] == 0 else "first"
        raise BadData(
            f"{source}: of {images} images only the {left} is in no part of the split, so its numbers may be off by "
            "one; correct them, or remove that image from the features and labels."
        )


def class_names(folder: Path, array: AnyArray | None, path: Path, classes: int) -> tuple[str, ...] | None:
    """Return the class names of the MATLAB file, or else of ``allclasses.txt``, or else None."""
    if array is not None and array.size:
        names = tuple(str(name).strip() for name in array.ravel())
    elif (path := folder / "allclasses.txt").is_file():
        names = tuple(_class_list(path))
    else:
        return None
    if any(name != one_line(name) for name in names):
        raise BadData(
            f"{path}: a class name contains characters that cannot be printed; give names of letters, digits and marks."
        )
    if len(names) != classes:
        raise BadData(f"{path}: {len(names)} class names for {classes} columns of att; give one each.")
    return names


def _folds(folder: Path, names: tuple[str, ...] | None) -> tuple[Fold, ...]:
    folds = []
    for train, val in _fold_files(folder):
        if not (train.is_file() and val.is_file()):
            held, absent = (train, val) if train.is_file() else (val, train)
            raise BadData(f"{held} exists without {absent.name}; a fold needs both lists of classes.")
        if names is None:
            raise BadData(
                f"{train} names classes, but the folder names none; add allclasses.txt or remove the fold files."
            )
        numbers, sides = {name: number for number, name in enumerate(names)}, []
        for path in (train, val):
            listed = _class_list(path)
            if unknown := [name for name in listed if name not in numbers]:
                classes = format_count(len(unknown), "class")
                raise BadData(
                    f"{path} names {classes} unknown to the data set (first: {unknown[0]!r}); "
                    "write names as in allclasses_names."
                )
            if repeated := len(listed) - len(set(listed)):
                raise BadData(f"{path} names {format_count(repeated, 'class')} more than once; name each once.")
            sides.append(np.array(sorted(numbers[name] for name in listed), dtype=np.int64))
        folds.append(Fold(*sides))
    return tuple(folds)


def _class_list(path: Path) -> list[str]:
    """Return the class names of a text file, one per line."""
    check_size(path, _UNFOLDED * path.stat().st_size)
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise BadData(f"{path} cannot be read as a list of class names ({error}).") from error


def count_split(folder: Path, semantics: str) -> tuple[dict[str, int | None], list[tuple[int, int]]]:
    """Count a folder in the xlsa17 format that has no features: its split, its semantics and its lists of classes.

    Returns:
        Counts named as in `Counts`, and the (training, validation) classes of each fold. Images are those that the
        split names; a count that needs the features is None.

    Raises:
        DataMissing: no such semantics file.
        BadData: a file is broken.
    """
    path = semantics_file(folder, semantics)
    variables = read_variables(path, ("att", *_LOCS))
    parts = {key: _loc(variables[key], key, _EXACT, path) for key in _LOCS}
    lists = {"seen": folder / "trainvalclasses.txt", "unseen": folder / "testclasses.txt"}
    folds = [pair for pair in _fold_files(folder) if all(file.is_file() for file in pair)]
    counts: dict[str, int | None] = {
        "images": len(np.unique(np.concatenate(list(parts.values())))),
        "attributes": _rows(variables["att"], "att", path).shape[1],
        **{side: len(_class_list(file)) if file.is_file() else None for side, file in lists.items()},
        **{key.removesuffix("_loc"): len(rows) for key, rows in parts.items()},
    }
    return counts, [(len(_class_list(train)), len(_class_list(val))) for train, val in folds]
