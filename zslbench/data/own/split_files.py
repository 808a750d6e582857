"""Splits that a user gives in a file, as lists of images or of classes.

A split file is JSON, TOML, ``.npz`` or ``.mat``, with some of these keys::

    base           0 (as when it is left out) or 1: what the first image and the first class are numbered
    trainval, test_seen, test_unseen    numbers of images: all three of them, or none
    unseen         classes, by name or number: a class of no image list is seen
    folds          JSON and TOML: [{"train": [classes], "val": [classes]}, …] of the seen classes

A ``.mat`` file may have ``trainval_loc``, ``test_seen_loc`` and ``test_unseen_loc``, which are 1-based, as in xlsa17.
"""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zslbench.arrays import IntArray
from zslbench.data.archive import sha256
from zslbench.data.dataset import Fold
from zslbench.data.made_split import class_folds
from zslbench.data.own.files import read, split_key
from zslbench.data.own.splits import How, Parts, class_list, completed
from zslbench.data.xlsa17 import check_ends
from zslbench.errors import BadData, BadValue, ZslbenchError, first_line
from zslbench.files import check_size

_UNFOLDED = 20
"""Bytes of memory that a byte of a text takes at most: lists of numbers of one digit."""
PARTS = ("trainval", "test_seen", "test_unseen")


def given_split(source: str | Path | Mapping[str, Any], labels: IntArray, names: Sequence[str], how: How) -> Parts:
    """Return the split of a file (or of a mapping with its keys); what it leaves out is drawn as in `made_split`.

    Raises:
        DataMissing, BadData, BadValue: the file is missing or damaged, or breaks the rules above.
    """
    if isinstance(source, Mapping):
        table, what, facts = dict(source), "splits", {"source": "a mapping in memory"}
    else:
        path, key = split_key(str(source))
        if key is not None:
            raise BadValue(f"{path} holds one split and no {key!r}; leave out :{key}.")
        table, what = _table(path), str(path)
        facts = {"source": str(path.absolute()), "sha256": sha256(path)}
    if how.unseen is not None:
        raise BadValue(f"--unseen and --splits {what} both say which classes are unseen; leave one out.")
    _check_keys(table, what)
    base = table.get("base", 0)
    if not isinstance(base, int) or isinstance(base, bool) or base not in (0, 1):
        raise BadData(f"{what}: base is {str(base)[:40]!r}; it is 0 or 1.")
    folds = _folds(table.get("folds", []), names, base, what)
    rows = [part for part in PARTS if part in table]
    _check_used(how, what, len(rows) == len(PARTS), bool(folds))
    if rows and "unseen" in table:
        raise BadData(f"{what}: unseen and {rows[0]} both divide the images; leave one out.")
    if len(rows) == len(PARTS):
        found = [_rows(table[part], part, len(labels), base, what) for part in PARTS]
        check_ends(found, len(labels), what)
        if not folds and how.folds:
            seen, unseen = (np.unique(labels[part]) for part in (found[0], found[2]))
            folds = class_folds(seen, len(unseen), how.folds, how.seed) if len(seen) > 1 else ()
        return Parts(found[0], found[1], found[2], folds=folds, facts=facts)
    if rows:
        lacks = next(part for part in PARTS if part not in table)
        raise BadData(f"{what}: {lacks} is missing; give {', '.join(PARTS)}, or unseen alone.")
    if "unseen" not in table:
        raise BadData(
            f"{what} says neither which images train and test ({', '.join(PARTS)}) nor which classes are unseen."
        )
    unseen = class_list(table["unseen"], names, base, f"{what}: unseen")
    made = completed(labels, names, unseen, how, f"{len(unseen)} given unseen classes", False, folds)
    return dataclasses.replace(made, facts={**made.facts, **facts})


def _check_keys(held: Iterable[Any], what: str) -> None:
    if unknown := sorted(map(str, set(held) - {"base", *PARTS, "unseen", "folds"})):
        raise BadData(f"{what}: key {unknown[0]!r} is not known; there are base, {', '.join(PARTS)}, unseen and folds.")


def _check_used(how: How, what: str, complete: bool, folds: bool) -> None:
    """Refuse options that a split leaves nothing to draw for."""
    idle = ["--folds"] if folds and how.folds else []
    if complete:
        idle += [f"--{option}" for option in how.said if option == "test-share" or (option == "seed" and not how.folds)]
    if idle:
        raise BadValue(f"{what} leaves nothing to draw for {' and '.join(idle)}; leave out one or the other.")


def _rows(given: Any, part: str, images: int, base: int, what: str) -> IntArray:
    try:
        flat = np.asarray(given).ravel()
        whole = flat.dtype.kind in "iu" or (flat.dtype.kind == "f" and bool((flat == np.floor(flat)).all()))
    except (ValueError, OverflowError, TypeError):
        whole, flat = False, np.empty(0)
    if not whole or not flat.size:
        raise BadData(f"{what}: {part} must be a list of whole numbers that is not empty.")
    if flat.min() < base or flat.max() >= images + base:
        hint = '; give "base": 1 if the first image is 1' if base == 0 and flat.max() == images else ""
        raise BadData(
            f"{what}: {part} names images {flat.min():g} to {flat.max():g}, but {images} images are numbered {base} to "
            f"{images - 1 + base}{hint}."
        )
    return flat.astype(np.int64) - base


def _folds(given: Any, names: Sequence[str], base: int, what: str) -> tuple[Fold, ...]:
    if not isinstance(given, list | tuple) or any(
        not isinstance(one, Mapping) or set(one) != {"train", "val"} for one in given
    ):
        raise BadData(f'{what}: folds must be a list of {{"train": [classes], "val": [classes]}}.')
    return tuple(
        Fold(*(class_list(one[side], names, base, f"{what}: {side} of fold {number}") for side in ("train", "val")))
        for number, one in enumerate(given, start=1)
    )


def _table(path: Path) -> dict[str, Any]:
    suffix = path.suffix.lower()
    try:
        check_size(path, (_UNFOLDED if suffix in (".json", ".toml") else 0) * path.stat().st_size)
        if suffix == ".json":
            found = json.loads(path.read_text(encoding="utf-8-sig"))
        elif suffix == ".toml":
            found = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        elif suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                held = list(archive.files)
            _check_keys(held, str(path))  # before any is read
            found = {key: read(f"{path}:{key}", key).array for key in held}
            found |= {"base": found["base"].item()} if "base" in found and found["base"].size == 1 else {}
        elif suffix == ".mat":
            found = {part: read(f"{path}:{part}_loc", part).array for part in PARTS} | {"base": 1}
        else:
            raise BadData(f"{path} is of no format that a split is read from; give .json, .toml, .npz or .mat.")
    except ZslbenchError:
        raise
    except Exception as error:  # decoders raise several kinds, RecursionError among them
        why = first_line(error)
        raise BadData(f"{path} cannot be read ({why}); write it as {suffix} again.") from error
    if not isinstance(found, dict):
        raise BadData(f"{path} must hold an object with the keys {', '.join(PARTS)}, or unseen.")
    return found
