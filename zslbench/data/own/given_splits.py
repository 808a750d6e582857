"""Splits of a user's data: given in a file, as lists of images or of classes, or drawn with a seed.

A split file is JSON, TOML, ``.npz`` or ``.mat``, with some of these keys::

    base           0 (the default) or 1: the number of the first image and of the first class
    trainval, test_seen, test_unseen    numbers of images: all three of them, or none
    unseen         classes, by name or number: a class of no image list is seen
    folds          JSON and TOML: [{"train": [classes], "val": [classes]}, …] of the seen classes

A ``.mat`` file may have ``trainval_loc``, ``test_seen_loc`` and ``test_unseen_loc``, which are 1-based, as in xlsa17.
"""

from __future__ import annotations

import dataclasses
import json
import operator
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

from zslbench.arrays import Array, IntArray
from zslbench.data.dataset import PARTS, Fold
from zslbench.data.imagenet import find_in_imagenet
from zslbench.data.own.reading import read_input, split_key
from zslbench.data.parsers import refuse_broken
from zslbench.data.similarity import SYNONYMS, Draw, draw_unseen
from zslbench.data.splits import TEST_SHARE, draw_class_folds, seen_split, unseen_classes
from zslbench.data.xlsa17 import check_ends
from zslbench.documents import refuse_repeated
from zslbench.errors import BadData, BadValue
from zslbench.files import check_size
from zslbench.identity import file_sha256
from zslbench.visible import join_words

SplitGiven = str | Path | Mapping[str, Any]
_UNSEEN = "20%"
_FEWEST = 2
"""Classes that are unseen, and that are seen, at least."""
_KEYS = ("base", *PARTS, "unseen", "folds")
_CHOICE = {"draw", "synonyms", "avoid-imagenet"}
"""Options on which classes are drawn as unseen."""
_UNFOLDED = 20
"""Bytes of memory per byte of text, at most: lists of one-digit numbers."""


Division = tuple[dict[str, Any], dict[str, Any]]
"""The fields of `Dataset` that a split sets, and facts on the split that are kept."""


@dataclasses.dataclass(frozen=True)
class SplitOptions:
    """How a split is made (see `zslbench.data.add`); `given` says which of its options but `unseen` the user gave.

    `synonyms` is None where synonyms may be parted.
    """

    unseen: str | int | Sequence[str] | None = None
    draw: Draw = "random"
    synonyms: float | None = None
    avoid_imagenet: bool = False
    seed: int = 0
    test_share: float = TEST_SHARE
    folds: int = 0
    given: tuple[str, ...] = ()


def check_split_options(
    unseen: str | int | Sequence[str] | None,
    seed: int | None,
    test_share: float | None,
    folds: int | None,
    draw: Draw | None,
    synonyms: float | None,
    avoid_imagenet: bool,
) -> SplitOptions:
    """Return the given options, and defaults for the others; BadValue if one is not a number, or out of range."""
    if unseen is not None and not isinstance(unseen, str) and np.ndim(unseen) == 0:
        unseen = _whole("unseen", unseen)
    numbers = {"seed": _whole("seed", seed or 0), "folds": _whole("folds", folds or 0)}
    for option, most in (("seed", 2**31 - 1), ("folds", 20)):
        if not 0 <= numbers[option] <= most:
            raise BadValue(f"--{option} {numbers[option]} is not allowed; choose a whole number from 0 to {most}.")
    share = _between_0_and_1("test-share", TEST_SHARE if test_share is None else test_share)
    if draw not in (None, *get_args(Draw)):
        raise BadValue(f"--draw {draw!r} is not allowed; choose one of {', '.join(get_args(Draw))}.")
    options = {"seed": seed, "folds": folds, "test-share": test_share, "draw": draw, "synonyms": synonyms}
    options["avoid-imagenet"] = avoid_imagenet or None
    given = tuple(option for option, value in options.items() if value is not None)
    if synonyms is not None or draw in ("easy", "hard"):
        synonyms = _between_0_and_1("synonyms", SYNONYMS if synonyms is None else synonyms)
    return SplitOptions(
        unseen, draw or "random", synonyms, avoid_imagenet, numbers["seed"], share, numbers["folds"], given
    )


def _between_0_and_1(option: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = 0.0
    if not 0 < number < 1:
        raise BadValue(f"--{option} {value!r} is not allowed; choose a number above 0 and below 1.")
    return number


def _whole(option: str, value: Any) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise BadValue(f"--{option} {value!r} is not allowed; give a whole number.") from None
    if abs(number) >= 2**63:  # a number of thousands of digits could not even be printed
        raise BadValue(f"--{option} is a number of more than 18 digits; give a smaller one.")
    return number


def _draw_split(
    labels: IntArray, names: Sequence[str], options: SplitOptions, first: int, semantics: Array
) -> Division:
    """Return a seeded split: some classes are unseen, and a share of each seen class's images is for testing."""
    unseen = _UNSEEN if options.unseen is None else options.unseen
    unseen = unseen.strip() if isinstance(unseen, str) else unseen
    if isinstance(unseen, str) and unseen.endswith("%"):
        try:
            share = float(unseen[:-1])
        except ValueError:
            share = -1.0
        if not 0 < share < 100:
            raise BadValue(f"--unseen {unseen!r} is not allowed; choose a share above 0 % and below 100 %.")
        count, asked = round(share / 100 * len(names)), f"{share:g} % unseen"
        if options.unseen is None and count < _FEWEST:
            count, asked = _FEWEST, f"{_FEWEST} classes unseen"
    elif isinstance(unseen, int) or (isinstance(unseen, str) and _is_number(unseen) and unseen not in names):
        count, asked = int(unseen), f"{int(unseen)} classes unseen"
    else:
        listed = [name.strip() for name in unseen.split(",")] if isinstance(unseen, str) else list(unseen)
        known = set(names)
        numbers = [int(name) if _is_number(name) and name not in known else name for name in listed]
        if idle := [f"--{option}" for option in options.given if option in _CHOICE]:
            raise BadValue(f"--unseen names the classes, which leaves nothing to {idle[0]}; leave one out.")
        return _draw_rest(labels, names, find_classes(numbers, names, first, "--unseen"), options)
    _check_sides(count, len(names))
    if options.draw == "random" and options.synonyms is None and not options.avoid_imagenet:
        return _draw_rest(labels, names, unseen_classes(len(names), count, options.seed), options, asked)
    never = list(find_in_imagenet(names)) if options.avoid_imagenet else []
    ids = draw_unseen(semantics, count, options.seed, options.draw, options.synonyms, never)
    asked += "" if options.draw == "random" else f", {options.draw}"
    asked += "" if options.synonyms is None else f", synonyms above {options.synonyms:g} together"
    asked += ", none of ImageNet" if options.avoid_imagenet else ""
    asked += "" if options.draw == "random" else ", dev folds at random"
    return _draw_rest(labels, names, ids, options, asked)


def _is_number(name: Any) -> bool:
    return isinstance(name, str) and name.isdecimal() and len(name) < 10


def _check_sides(unseen: int, classes: int) -> None:
    if not _FEWEST <= unseen <= classes - _FEWEST:
        advice = "choose another --unseen" if classes >= 2 * _FEWEST else f"give {2 * _FEWEST} classes or more"
        raise BadValue(f"{unseen} unseen of {classes} classes leave fewer than two unseen or two seen ones; {advice}.")


def _draw_rest(
    labels: IntArray,
    names: Sequence[str],
    unseen: IntArray,
    options: SplitOptions,
    drawn: str = "",
    folds: tuple[Fold, ...] = (),
) -> Division:
    """Complete a split whose unseen classes are known: draw test images of seen classes, and folds if none are given.

    `drawn` is how a caption says which classes were drawn as unseen; empty if they were given.
    """
    classes = len(names)
    _check_sides(len(unseen), classes)
    is_unseen = np.isin(labels, unseen)
    seen_rows = np.flatnonzero(~is_unseen)
    if np.bincount(labels[seen_rows], minlength=classes).max() < 2:
        raise BadData("every seen class has one image, so none can be held out for test_seen; give two of some class.")
    trainval, test_seen = seen_split(seen_rows, labels, options.seed, options.test_share)
    if options.folds and not folds:
        folds = draw_class_folds(np.setdiff1d(np.arange(classes), unseen), len(unseen), options.folds, options.seed)
    shares = "" if options.test_share == TEST_SHARE else f", {100 * options.test_share:g} % of seen images test"
    asked = drawn or f"{len(unseen)} given unseen classes"
    facts = {
        "seed": options.seed,
        "unseen": [names[number] for number in unseen],
        "test_share": options.test_share,
        "folds": options.folds,
        "classes": "drawn" if drawn else "given",
        **({name: getattr(options, name) for name in ("draw", "synonyms", "avoid_imagenet")} if drawn else {}),
    }
    fields = dict(zip(PARTS, (trainval, test_seen, np.flatnonzero(is_unseen)), strict=True))
    return fields | {"folds": folds, "split": f"seeded split (seed {options.seed}, {asked}{shares})"}, facts


def find_classes(given: Any, names: Sequence[str], base: int, source: str) -> IntArray:
    """Return the ascending ids of classes that are listed by name, or by number from `base`, each once."""
    listed = given.tolist() if isinstance(given, np.ndarray) else given
    if not isinstance(listed, list | tuple) or not listed:
        raise BadData(f"{source} must be a list of classes that is not empty.")
    number = {name: at for at, name in enumerate(names)}
    ids = []
    for entry in listed:
        if isinstance(entry, str) and entry in number:
            ids.append(number[entry])
        elif isinstance(entry, int | np.integer) and type(entry) is not bool and base <= entry < len(names) + base:
            ids.append(int(entry) - base)
        else:
            text = str(entry)[:60] if not isinstance(entry, int) or abs(entry) < 2**63 else "a number of many digits"
            raise BadData(
                f"{source} names {text!r}, which is not a class; write a name as in --classes, or a number from "
                f"{base} to {len(names) - 1 + base}."
            )
    if len(set(ids)) != len(ids):
        raise BadData(f"{source} names a class more than once; name each once.")
    return np.array(sorted(ids), dtype=np.int64)


def make_split(
    given: SplitGiven | None,
    labels: IntArray,
    names: Sequence[str],
    options: SplitOptions,
    first: int,
    semantics: Array,
) -> Division:
    """Return the split of a file or of a mapping with its keys; what it leaves out (None: all) is drawn with a seed.

    `first` is the number of the first class in the user's labels; the numbers in ``--unseen 2,5`` start from it.
    `semantics` are those by which classes are drawn.

    Raises:
        DataMissing, BadData, BadValue: the file is missing or damaged, or breaks the rules above; there are fewer than
            two seen or two unseen classes; or a name is not that of a class.
    """
    if given is None:
        return _draw_split(labels, names, options, first, semantics)
    table, source, facts = _read_table(given)
    both = ["--unseen"] if options.unseen is not None else []
    both += [f"--{option}" for option in options.given if option in _CHOICE]
    if both:
        raise BadValue(f"{both[0]} and --splits {source} both say which classes are unseen; leave one out.")
    _check_keys(table, source)
    base = table.get("base", 0)
    if not isinstance(base, int) or isinstance(base, bool) or base not in (0, 1):
        raise BadData(f"{source}: base is {str(base)[:40]!r}; it must be 0 or 1.")
    folds = _check_folds(table.get("folds", []), names, base, source)
    listed = [part for part in PARTS if part in table]
    whole = len(listed) == len(PARTS)
    idle = ["--folds"] if folds and options.folds else []
    if whole:  # only folds are left to draw
        useless = ("test-share",) if options.folds else ("seed", "test-share")
        idle += [f"--{name}" for name in options.given if name in useless]
    if idle:
        raise BadValue(
            f"{source} leaves nothing to draw for {' and '.join(idle)}; leave out that option, or the split."
        )
    if listed and "unseen" in table:
        raise BadData(f"{source}: unseen and {listed[0]} both divide the images; leave one out.")
    if whole:
        rows = {part: _check_rows(table[part], part, len(labels), base, source) for part in PARTS}
        check_ends(list(rows.values()), len(labels), source)
        seen, unseen = np.unique(labels[rows["trainval"]]), np.unique(labels[rows["test_unseen"]])
        if not folds and options.folds and len(seen) > 1:
            folds = draw_class_folds(seen, len(unseen), options.folds, options.seed)
        return {**rows, "folds": folds}, facts
    if listed:
        lacks = next(part for part in PARTS if part not in table)
        raise BadData(f"{source}: {lacks} is missing; give {', '.join(PARTS)}, or unseen alone.")
    if "unseen" not in table:
        raise BadData(
            f"{source} says neither which images train and test ({', '.join(PARTS)}) nor which classes are unseen."
        )
    unseen = find_classes(table["unseen"], names, base, f"{source}: unseen")
    fields, drawn = _draw_rest(labels, names, unseen, options, "", folds)
    return fields, drawn | facts


def _check_keys(keys: Iterable[Any], source: str) -> None:
    if unknown := sorted(map(str, set(keys) - set(_KEYS))):
        raise BadData(f"{source}: key {unknown[0]!r} is not known; there are {join_words(_KEYS)}.")


def _check_rows(given: Any, part: str, images: int, base: int, source: str) -> IntArray:
    try:
        flat = np.asarray(given).ravel()
        whole = flat.dtype.kind in "iu" or (flat.dtype.kind == "f" and bool((flat == np.floor(flat)).all()))
    except (ValueError, OverflowError, TypeError):
        whole, flat = False, np.empty(0)
    if not whole or not flat.size:
        raise BadData(f"{source}: {part} must be a list of whole numbers that is not empty.")
    if flat.min() < base or flat.max() >= images + base:
        hint = '; give "base": 1 if the first image is 1' if base == 0 and flat.max() == images else ""
        raise BadData(
            f"{source}: {part} names images {flat.min():g} to {flat.max():g}, but {images} images are numbered {base} "
            f"to {images - 1 + base}{hint}."
        )
    return flat.astype(np.int64) - base


def _check_folds(given: Any, names: Sequence[str], base: int, source: str) -> tuple[Fold, ...]:
    is_list = isinstance(given, list | tuple)
    if not is_list or any(not isinstance(fold, Mapping) or set(fold) != {"train", "val"} for fold in given):
        raise BadData(f'{source}: folds must be a list of {{"train": [classes], "val": [classes]}}.')
    folds = []
    for number, fold in enumerate(given, start=1):
        where = f"of fold {number}"
        sides = (find_classes(fold[side], names, base, f"{source}: {side} {where}") for side in ("train", "val"))
        folds.append(Fold(*sides))
    return tuple(folds)


def _read_table(given: SplitGiven) -> tuple[dict[str, Any], str, dict[str, str]]:
    """Return the keys and values of a split, its name in messages, and facts on its source."""
    if isinstance(given, Mapping):
        return dict(given), "splits", {"source": "a mapping in memory"}
    path, key = split_key(str(given))
    if key is not None:
        raise BadValue(f"{path} holds one split and no {key!r}; leave out :{key}.")
    suffix = path.suffix.lower()
    with refuse_broken(path, "cannot be read", f"; write it as {suffix} again"):
        if suffix in (".json", ".toml"):
            check_size(path, _UNFOLDED * path.stat().st_size)
            text = path.read_text(encoding="utf-8-sig")
            is_json = suffix == ".json"
            table = json.loads(text, object_pairs_hook=refuse_repeated) if is_json else tomllib.loads(text)
        elif suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                keys = list(archive.files)
            _check_keys(keys, str(path))  # before any is read
            table = {key: read_input(f"{path}:{key}", key).array for key in keys}
            table |= {"base": table["base"].item()} if "base" in table and table["base"].size == 1 else {}
        elif suffix == ".mat":
            table = {part: read_input(f"{path}:{part}_loc", part).array for part in PARTS} | {"base": 1}
        else:
            raise BadData(f"{path} has a format from which no split can be read; give .json, .toml, .npz or .mat.")
    if not isinstance(table, dict):
        raise BadData(f"{path} must hold an object with the keys {', '.join(PARTS)}, or unseen.")
    return table, str(path), {"source": str(path.absolute()), "sha256": file_sha256(path)}
