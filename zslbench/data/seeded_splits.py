"""Seeded splits, for data that comes without one: which classes are unseen, which images test, which classes are folds.

They are no proposed splits: numbers on them compare with numbers on the same made split alone.
"""

from __future__ import annotations

import numpy as np

from zslbench import seeding
from zslbench.arrays import IntArray, positions_by_label
from zslbench.data.dataset import Fold

TEST_SHARE = 0.2


def unseen_classes(classes: int, count: int, seed: int) -> IntArray:
    """Return the ascending ids of `count` classes, drawn without replacement from 0 … `classes` - 1."""
    return np.sort(seeding.stream(seed, "unseen classes").choice(classes, count, replace=False)).astype(np.int64)


def seen_split(rows: IntArray, labels: IntArray, seed: int, share: float = TEST_SHARE) -> tuple[IntArray, IntArray]:
    """Return (trainval, test_seen): a share of the rows of each class tests, at least one; both ascending.

    A class keeps at least one row in trainval, so the only row of a class does not test.

    Args:
        rows: of the seen classes.
        labels: (n,) of all rows.
        seed: of the draw.
        share: above 0 and below 1.
    """
    rng = seeding.stream(seed, "split of seen images")
    test = []
    for positions in positions_by_label(labels[rows]):
        members = rng.permutation(rows[positions])
        test.append(members[: min(max(round(share * len(members)), 1), len(members) - 1)])
    test_seen = np.sort(np.concatenate(test))
    return np.setdiff1d(rows, test_seen), test_seen


def class_folds(seen: IntArray, unseen: int, count: int, seed: int) -> tuple[Fold, ...]:
    """Return `count` divisions of the seen classes into training and validation classes, both ascending.

    Each holds out as large a share of the seen classes as the unseen classes are of all, next to each other in one
    shuffled circle, so that the folds share as few validation classes as can be.

    Args:
        seen: ids of the seen classes, at least two.
        unseen: how many unseen classes there are.
        count: how many folds.
        seed: of the shuffle.
    """
    held = round(len(seen) * unseen / (len(seen) + unseen))
    held = min(max(held, 2 if len(seen) > 3 else 1), len(seen) - 1)
    circle = seeding.stream(seed, "class folds").permutation(seen)
    turned = [np.roll(circle, -number * held) for number in range(count)]
    return tuple(Fold(train=np.sort(order[held:]), val=np.sort(order[:held])) for order in turned)
