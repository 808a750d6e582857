"""Splits: which rows and classes are for training and which for testing, in the final and the dev stage; seeded splits.

Seeded splits are for data that comes without a split. Numbers on them are comparable only on the same split.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Container
from typing import Literal

import numpy as np

from zslbench import seeding
from zslbench.arrays import Array, IntArray, copy_rows, positions_by_label
from zslbench.data.dataset import Dataset, Fold
from zslbench.errors import BadValue
from zslbench.task import Train

Stage = Literal["final", "dev"]
STAGES: tuple[Stage, ...] = ("final", "dev")
SEEDED_FOLDS = 3
FOLD_SEED = 0
TEST_SHARE = 0.2
"""Share of the rows of each seen class that a seeded split, or a fold of the dev stage, uses for testing."""


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """One stage: rows to fit on, seen and unseen rows to test on, and the ascending ids of seen and unseen classes.

    `fold` is 0 in the final stage, 1… in the dev stage.
    """

    stage: Stage
    fold: int
    train: IntArray
    asked_seen: IntArray
    asked_unseen: IntArray
    seen: IntArray
    unseen: IntArray


def split(dataset: Dataset, stage: Stage = "final", fold: int = 1) -> Split:
    """Return the final stage of the data set's split, or one fold of its dev stage.

    The dev stage lies within trainval. A fold's validation classes take the place of the unseen ones; a fifth of the
    rows of its training classes, stratified and drawn once for all seeds, take the place of the seen test rows. The
    folds come from the data set's fold files, or from seeded class folds if there are none; never from
    ``train_loc``/``val_loc``, which contain test images.

    Raises:
        BadValue: the data set has no such fold, or no row of the fold can be held out.
    """
    if stage == "final":
        return Split("final", 0, dataset.trainval, dataset.test_seen, dataset.test_unseen, dataset.seen, dataset.unseen)
    folds = class_folds(dataset)
    if not 1 <= fold <= len(folds):
        raise BadValue(f"fold {fold} of data set {dataset.name!r} does not exist; choose 1 to {len(folds)}.")
    chosen = folds[fold - 1]
    labels = dataset.labels[dataset.trainval]
    rows = dataset.trainval[np.isin(labels, chosen.train)]
    rng = seeding.stream(FOLD_SEED, f"held-out rows {fold}")
    drawn = [_draw_share(at, TEST_SHARE, rng) for at in positions_by_label(dataset.labels[rows])]
    held = np.zeros(len(rows), dtype=bool)
    held[np.concatenate(drawn)] = True
    if not held.any():
        raise BadValue(
            f"fold {fold} of data set {dataset.name!r} has one training image of each class, so none can be held out "
            "as seen; the dev stage needs two of some class. Leave out --stage dev, --calibrate and tuning."
        )
    unseen_rows = dataset.trainval[np.isin(labels, chosen.val)]
    return Split("dev", fold, rows[~held], rows[held], unseen_rows, np.sort(chosen.train), np.sort(chosen.val))


def class_folds(dataset: Dataset) -> tuple[Fold, ...]:
    """Return the class folds of the dev stage: the data set's own, or seeded ones that are the same for every user."""
    if dataset.folds:
        return dataset.folds
    if len(dataset.seen) < 2:
        raise BadValue(
            f"data set {dataset.name!r} has {len(dataset.seen)} seen class; the dev stage needs at least two."
        )
    return draw_class_folds(dataset.seen, len(dataset.unseen), SEEDED_FOLDS, FOLD_SEED)


def build_train(dataset: Dataset, chosen: Split, told: Container[str] = ()) -> Train:
    """Return what `Method.fit` receives: copies of the training rows, the seen classes, and what it is `told`."""
    return Train(
        features=copy_rows(dataset.features, chosen.train),
        labels=copy_rows(dataset.labels, chosen.train),
        classes=dataset.class_table(chosen.seen),
        unseen=dataset.class_table(chosen.unseen) if "unseen" in told else None,
        unlabelled=copy_rows(dataset.features, unlabelled_rows(dataset, chosen)) if "unlabelled" in told else None,
        class_prior=class_frequencies(dataset, chosen) if "class_prior" in told else None,
    )


def unlabelled_rows(dataset: Dataset, chosen: Split) -> IntArray:
    """Return the rows that are asked about of unseen classes, in an order that says nothing of their labels."""
    return drawn_order(dataset, 0, "unlabelled", chosen.asked_unseen)


def class_frequencies(dataset: Dataset, chosen: Split) -> Array:
    """Return the (u,) shares of the unseen classes, ascending, among the rows that are asked about of these."""
    labels = dataset.labels[chosen.asked_unseen]
    shares: Array = (labels[:, None] == chosen.unseen).mean(axis=0, dtype=np.float32)
    return shares


def drawn_order(dataset: Dataset, seed: int, what: str, items: IntArray) -> IntArray:
    """Return items in an order that depends on a key, which is derived from the labels of the whole data set."""
    key = hashlib.sha256(f"zslbench query {what} {seed}".encode())
    for array in (dataset.labels, items):
        key.update(np.ascontiguousarray(array, dtype="<i8").tobytes())
    return np.random.default_rng(int.from_bytes(key.digest(), "little")).permutation(items)


def unseen_classes(classes: int, count: int, seed: int) -> IntArray:
    """Return the ascending ids of `count` classes, drawn without replacement from 0 … `classes` - 1."""
    return np.sort(seeding.stream(seed, "unseen classes").choice(classes, count, replace=False)).astype(np.int64)


def seen_split(rows: IntArray, labels: IntArray, seed: int, share: float = TEST_SHARE) -> tuple[IntArray, IntArray]:
    """Return (trainval, test_seen), both ascending: a share of the rows of each seen class is for testing.

    `rows` are those of the seen classes, `labels` (n,) those of all rows.
    """
    rng = seeding.stream(seed, "split of seen images")
    test = [_draw_share(rows[positions], share, rng) for positions in positions_by_label(labels[rows])]
    test_seen = np.sort(np.concatenate(test))
    return np.setdiff1d(rows, test_seen), test_seen


def _draw_share(members: IntArray, share: float, rng: np.random.Generator) -> IntArray:
    """Return a share of the rows of one class: at least one row, and never all, so nothing of a single row."""
    count = min(max(round(share * len(members)), 1), len(members) - 1)
    return rng.permutation(members)[:count]


def draw_class_folds(seen: IntArray, unseen: int, count: int, seed: int) -> tuple[Fold, ...]:
    """Return `count` divisions of at least two seen classes into training and validation classes, both ascending.

    Each holds out the share of the seen classes that the `unseen` unseen classes are of all classes. Held-out classes
    are neighbours in one shuffled circle, so that the folds share as few validation classes as possible.
    """
    held = round(len(seen) * unseen / (len(seen) + unseen))
    held = min(max(held, 2 if len(seen) > 3 else 1), len(seen) - 1)
    circle = seeding.stream(seed, "class folds").permutation(seen)
    turned = [np.roll(circle, -number * held) for number in range(count)]
    return tuple(Fold(train=np.sort(order[held:]), val=np.sort(order[:held])) for order in turned)
