"""Splits of a user's data: given in a file, as lists of images or of classes, or drawn by a seed.

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
import operator
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zslbench.arrays import IntArray
from zslbench.data.archive import sha256
from zslbench.data.dataset import Fold
from zslbench.data.own.reading import read, split_key
from zslbench.data.splits import TEST_SHARE, draw_class_folds, seen_split, unseen_classes
from zslbench.data.xlsa17 import check_ends
from zslbench.errors import BadData, BadValue, ZslbenchError, first_line
from zslbench.files import check_size

UNSEEN = "20%"


@dataclasses.dataclass(frozen=True, eq=False)
class Parts:
    """A split: row numbers, folds, how it was made (empty: given), and facts to be kept."""

    trainval: IntArray
    test_seen: IntArray
    test_unseen: IntArray
    folds: tuple[Fold, ...] = ()
    made: str = ""
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class SplitOptions:
    """How a split is made: which classes are unseen (``20%``, a number, or names), shares, folds and the seed.

    Attributes:
        given: which of ``seed``, ``folds`` and ``test-share`` the user gave.
    """

    unseen: str | int | Sequence[str] | None = None
    seed: int = 0
    test_share: float = TEST_SHARE
    folds: int = 0
    given: tuple[str, ...] = ()

    @classmethod
    def from_given(
        cls,
        unseen: str | int | Sequence[str] | None,
        seed: int | None,
        test_share: float | None,
        folds: int | None,
    ) -> SplitOptions:
        """Return what was asked for, the rest as usual.

        Raises:
            BadValue: something is no number, or out of range.
        """
        given = {"seed": seed, "folds": folds, "test-share": test_share}
        whole = unseen if unseen is None or isinstance(unseen, str) or np.ndim(unseen) else _whole("unseen", unseen)
        try:
            share = TEST_SHARE if test_share is None else float(test_share)
        except (TypeError, ValueError):
            raise BadValue(f"--test-share {test_share!r} is not allowed; choose a share above 0 and below 1.") from None
        said = tuple(option for option, value in given.items() if value is not None)
        return cls(whole, _whole("seed", seed or 0), share, _whole("folds", folds or 0), said)

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**31:
            raise BadValue(f"--seed {self.seed} is not allowed; choose a whole number from 0 to {2**31 - 1}.")
        if not 0 < self.test_share < 1:
            raise BadValue(f"--test-share {self.test_share:g} is not allowed; choose a share above 0 and below 1.")
        if not 0 <= self.folds <= 20:
            raise BadValue(f"--folds {self.folds} is not allowed; choose a number from 0 to 20.")


def _whole(option: str, value: Any) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise BadValue(f"--{option} {value!r} is not allowed; give a whole number.") from None
    if abs(number) >= 2**63:  # of thousands of digits it could not even be printed
        raise BadValue(f"--{option} is a number of more than 18 digits; give a smaller one.")
    return number


def made_split(labels: IntArray, names: Sequence[str], options: SplitOptions, first: int = 0) -> Parts:
    """Return a seeded split: classes that are unseen, and a share of each seen class's images that test.

    `first` is what the user's labels number the first class, and so what ``--unseen 2,5`` counts from.

    Raises:
        BadValue: so many unseen classes leave fewer than two on a side, or a name is no class.
    """
    unseen, said, drawn = _unseen(options.unseen if options.unseen is not None else UNSEEN, names, options.seed, first)
    return completed(labels, names, unseen, options, said, drawn)


def completed(
    labels: IntArray,
    names: Sequence[str],
    unseen: IntArray,
    options: SplitOptions,
    said: str,
    drawn: bool,
    folds: tuple[Fold, ...] = (),
) -> Parts:
    """Return the split that unseen classes make: test images and folds of the seen ones are drawn.

    Args:
        labels: (n,) 0-based class ids.
        names: (c,) class names.
        unseen: ids of the unseen classes.
        options: the seed, shares and folds.
        said: how a caption says which classes are unseen.
        drawn: whether they were drawn.
        folds: given ones, instead of drawn ones.

    Raises:
        BadValue: fewer than two classes on a side.
        BadData: no seen class has two images.
    """
    classes = len(names)
    if not 2 <= len(unseen) <= classes - 2:
        raise BadValue(
            f"{len(unseen)} unseen of {classes} classes leave fewer than two unseen or two seen ones; "
            "choose others with --unseen."
        )
    is_unseen = np.isin(labels, unseen)
    seen_rows = np.flatnonzero(~is_unseen)
    counts = np.bincount(labels[seen_rows], minlength=classes)
    if counts.max() < 2:
        raise BadData("every seen class has one image, so none can be held out for test_seen; give two of some class.")
    trainval, test_seen = seen_split(seen_rows, labels, options.seed, options.test_share)
    if options.folds and not folds:
        folds = draw_class_folds(np.setdiff1d(np.arange(classes), unseen), len(unseen), options.folds, options.seed)
    shares = "" if options.test_share == TEST_SHARE else f", {100 * options.test_share:g} % of seen images test"
    facts = {
        "seed": options.seed,
        "unseen": [names[one] for one in unseen],
        "test_share": options.test_share,
        "folds": options.folds,
        "classes": "drawn" if drawn else "given",
    }
    return Parts(
        trainval,
        test_seen,
        np.flatnonzero(is_unseen),
        folds,
        f"seeded split (seed {options.seed}, {said}{shares})",
        facts,
    )


def _unseen(
    asked: str | int | Sequence[str], names: Sequence[str], seed: int, first: int
) -> tuple[IntArray, str, bool]:
    """Return the ids of the unseen classes, how a caption says it, and whether they were drawn."""
    text = asked.strip() if isinstance(asked, str) else asked
    if isinstance(text, str) and text.endswith("%"):
        try:
            share = float(text[:-1])
        except ValueError:
            share = -1.0
        if not 0 < share < 100:
            raise BadValue(f"--unseen {text!r} is not allowed; choose a share above 0 % and below 100 %.")
        return _drawn(round(share / 100 * len(names)), names, seed), f"{share:g} % unseen", True
    if isinstance(text, int) or (isinstance(text, str) and text.isdecimal() and len(text) < 10 and text not in names):
        return _drawn(int(text), names, seed), f"{int(text)} classes unseen", True
    listed = [one.strip() for one in text.split(",")] if isinstance(text, str) else list(text)
    known = set(names)
    numbers = [int(one) if _is_number(one) and one not in known else one for one in listed]
    ids = class_list(numbers, names, first, "--unseen")
    return ids, f"{len(ids)} given unseen classes", False


def _is_number(one: Any) -> bool:
    return isinstance(one, str) and one.isdecimal() and len(one) < 10


def _drawn(count: int, names: Sequence[str], seed: int) -> IntArray:
    if not 2 <= count <= len(names) - 2:
        raise BadValue(
            f"{count} unseen of {len(names)} classes leave fewer than two unseen or two seen ones; choose another "
            "--unseen."
        )
    return unseen_classes(len(names), count, seed)


def class_list(given: Any, names: Sequence[str], base: int, what: str) -> IntArray:
    """Return the ascending ids of classes that are listed by name or by number from `base`.

    Raises:
        BadData: no list, an empty one, or one that names no class or one twice.
    """
    listed = given.tolist() if isinstance(given, np.ndarray) else given
    if not isinstance(listed, list | tuple) or not listed:
        raise BadData(f"{what} must be a list of classes that is not empty.")
    number = {name: at for at, name in enumerate(names)}
    ids = []
    for one in listed:
        if isinstance(one, str) and one in number:
            ids.append(number[one])
        elif isinstance(one, int | np.integer) and not isinstance(one, bool) and base <= one < len(names) + base:
            ids.append(int(one) - base)
        else:
            text = str(one)[:60] if not isinstance(one, int) or abs(one) < 2**63 else "a number of many digits"
            raise BadData(
                f"{what} names {text!r}, which is no class; write a name as in --classes, or a number from "
                f"{base} to {len(names) - 1 + base}."
            )
    if len(set(ids)) != len(ids):
        raise BadData(f"{what} names a class more than once; name each once.")
    return np.array(sorted(ids), dtype=np.int64)


_UNFOLDED = 20
"""Bytes of memory that a byte of a text takes at most: lists of numbers of one digit."""
PARTS = ("trainval", "test_seen", "test_unseen")


def given_split(
    source: str | Path | Mapping[str, Any], labels: IntArray, names: Sequence[str], options: SplitOptions
) -> Parts:
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
    if options.unseen is not None:
        raise BadValue(f"--unseen and --splits {what} both say which classes are unseen; leave one out.")
    _check_keys(table, what)
    base = table.get("base", 0)
    if not isinstance(base, int) or isinstance(base, bool) or base not in (0, 1):
        raise BadData(f"{what}: base is {str(base)[:40]!r}; it is 0 or 1.")
    folds = _folds(table.get("folds", []), names, base, what)
    rows = [part for part in PARTS if part in table]
    _check_used(options, what, len(rows) == len(PARTS), bool(folds))
    if rows and "unseen" in table:
        raise BadData(f"{what}: unseen and {rows[0]} both divide the images; leave one out.")
    if len(rows) == len(PARTS):
        found = [_rows(table[part], part, len(labels), base, what) for part in PARTS]
        check_ends(found, len(labels), what)
        if not folds and options.folds:
            seen, unseen = (np.unique(labels[part]) for part in (found[0], found[2]))
            folds = draw_class_folds(seen, len(unseen), options.folds, options.seed) if len(seen) > 1 else ()
        return Parts(found[0], found[1], found[2], folds=folds, facts=facts)
    if rows:
        lacks = next(part for part in PARTS if part not in table)
        raise BadData(f"{what}: {lacks} is missing; give {', '.join(PARTS)}, or unseen alone.")
    if "unseen" not in table:
        raise BadData(
            f"{what} says neither which images train and test ({', '.join(PARTS)}) nor which classes are unseen."
        )
    unseen = class_list(table["unseen"], names, base, f"{what}: unseen")
    made = completed(labels, names, unseen, options, f"{len(unseen)} given unseen classes", False, folds)
    return dataclasses.replace(made, facts={**made.facts, **facts})


def _check_keys(held: Iterable[Any], what: str) -> None:
    if unknown := sorted(map(str, set(held) - {"base", *PARTS, "unseen", "folds"})):
        raise BadData(f"{what}: key {unknown[0]!r} is not known; there are base, {', '.join(PARTS)}, unseen and folds.")


def _check_used(options: SplitOptions, what: str, complete: bool, folds: bool) -> None:
    """Refuse options that a split leaves nothing to draw for."""
    idle = ["--folds"] if folds and options.folds else []
    if complete:
        idle += [
            f"--{option}"
            for option in options.given
            if option == "test-share" or (option == "seed" and not options.folds)
        ]
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
