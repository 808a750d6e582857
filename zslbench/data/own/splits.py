"""Splits: what they hold, how one is made, and seeded ones where none are given (see `zslbench.data.made_split`)."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zslbench.arrays import IntArray
from zslbench.data.dataset import Fold
from zslbench.data.made_split import TEST_SHARE, class_folds, seen_split, unseen_classes
from zslbench.errors import BadData, BadValue

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
class How:
    """How a split is made: which classes are unseen (``20%``, a number, or names), shares, folds and the seed.

    Attributes:
        said: which of ``seed``, ``folds`` and ``test-share`` the user gave.
    """

    unseen: str | int | Sequence[str] | None = None
    seed: int = 0
    test_share: float = TEST_SHARE
    folds: int = 0
    said: tuple[str, ...] = ()

    @classmethod
    def asked(
        cls,
        unseen: str | int | Sequence[str] | None,
        seed: int | None,
        test_share: float | None,
        folds: int | None,
    ) -> How:
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


def made_split(labels: IntArray, names: Sequence[str], how: How, first: int = 0) -> Parts:
    """Return a seeded split: classes that are unseen, and a share of each seen class's images that test.

    `first` is what the user's labels number the first class, and so what ``--unseen 2,5`` counts from.

    Raises:
        BadValue: so many unseen classes leave fewer than two on a side, or a name is no class.
    """
    unseen, said, drawn = _unseen(how.unseen if how.unseen is not None else UNSEEN, names, how.seed, first)
    return completed(labels, names, unseen, how, said, drawn)


def completed(
    labels: IntArray,
    names: Sequence[str],
    unseen: IntArray,
    how: How,
    said: str,
    drawn: bool,
    folds: tuple[Fold, ...] = (),
) -> Parts:
    """Return the split that unseen classes make: test images and folds of the seen ones are drawn.

    Args:
        labels: (n,) 0-based class ids.
        names: (c,) class names.
        unseen: ids of the unseen classes.
        how: the seed, shares and folds.
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
    trainval, test_seen = seen_split(seen_rows, labels, how.seed, how.test_share)
    if how.folds and not folds:
        folds = class_folds(np.setdiff1d(np.arange(classes), unseen), len(unseen), how.folds, how.seed)
    shares = "" if how.test_share == TEST_SHARE else f", {100 * how.test_share:g} % of seen images test"
    facts = {
        "seed": how.seed,
        "unseen": [names[one] for one in unseen],
        "test_share": how.test_share,
        "folds": how.folds,
        "classes": "drawn" if drawn else "given",
    }
    return Parts(
        trainval, test_seen, np.flatnonzero(is_unseen), folds, f"seeded split (seed {how.seed}, {said}{shares})", facts
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
