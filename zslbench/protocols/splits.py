"""Splits: which rows and classes train and which are asked about, in the final and the dev stage."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

from zslbench import seeding
from zslbench.arrays import IntArray, positions_by_label, taken
from zslbench.data import seeded_splits
from zslbench.data.dataset import Dataset, Fold
from zslbench.errors import BadValue
from zslbench.task import ClassTable, Train

Stage = Literal["final", "dev"]
STAGES: tuple[Stage, ...] = ("final", "dev")
SEEDED_FOLDS = 3
HELD_OUT = 0.2
FOLD_SEED = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Rows and classes of one stage.

    Attributes:
        stage, fold: which; fold is 0 in the final stage, 1… in the dev stage.
        train: rows to fit on.
        asked_seen, asked_unseen: rows to ask about, of seen and of unseen classes.
        seen, unseen: class ids, ascending.
    """

    stage: Stage
    fold: int
    train: IntArray
    asked_seen: IntArray
    asked_unseen: IntArray
    seen: IntArray
    unseen: IntArray


def split(dataset: Dataset, stage: Stage = "final", fold: int = 1) -> Split:
    """Return the proposed split's final stage, or one fold of its dev stage.

    The dev stage lies within trainval: a fold's validation classes stand for the unseen ones, and a fifth of the
    rows of its training classes, stratified and drawn once for all seeds, for the seen test rows. It comes from the
    data set's fold files, or from seeded class folds where there are none; never from ``train_loc``/``val_loc``,
    which hold test images.

    Raises:
        BadValue: a fold that the data set does not have, or one of which no row can be held out.
    """
    if stage == "final":
        return Split("final", 0, dataset.trainval, dataset.test_seen, dataset.test_unseen, dataset.seen, dataset.unseen)
    folds = class_folds(dataset)
    if not 1 <= fold <= len(folds):
        raise BadValue(f"fold {fold} of data set {dataset.name!r} does not exist; choose 1 to {len(folds)}.")
    chosen = folds[fold - 1]
    labels = dataset.labels[dataset.trainval]
    unseen_rows = dataset.trainval[np.isin(labels, chosen.val)]
    train_rows, held_rows = _held_out(dataset, dataset.trainval[np.isin(labels, chosen.train)], fold)
    if not len(held_rows):
        raise BadValue(
            f"fold {fold} of data set {dataset.name!r} has one training image of each class, so none can be held out "
            "as seen; the dev stage needs two of some class. Leave out --stage dev, --calibrate and tuning."
        )
    return Split("dev", fold, train_rows, held_rows, unseen_rows, np.sort(chosen.train), np.sort(chosen.val))


def class_folds(dataset: Dataset) -> tuple[Fold, ...]:
    """Return the class folds of the dev stage: the data set's own, or seeded ones."""
    return dataset.folds or seeded_folds(dataset)


def seeded_folds(dataset: Dataset, count: int = SEEDED_FOLDS) -> tuple[Fold, ...]:
    """Return class folds for a data set without fold files.

    The draw (see `zslbench.data.seeded_splits.class_folds`) depends on nothing but the seen classes and the number of
    unseen ones, so every user gets the same folds.
    """
    if len(dataset.seen) < 2:
        raise BadValue(
            f"data set {dataset.name!r} has {len(dataset.seen)} seen class; the dev stage needs at least two."
        )
    return seeded_splits.class_folds(dataset.seen, len(dataset.unseen), count, FOLD_SEED)


def _held_out(dataset: Dataset, rows: IntArray, fold: int) -> tuple[IntArray, IntArray]:
    """Split rows into training and held-out ones, a fifth of each class, at least one row staying in each."""
    rng = seeding.stream(FOLD_SEED, f"held-out rows {fold}")
    keep = np.ones(len(rows), dtype=bool)
    for members in positions_by_label(dataset.labels[rows]):
        count = min(max(round(HELD_OUT * len(members)), 1), len(members) - 1)
        keep[rng.permutation(members)[:count]] = False
    return rows[keep], rows[~keep]


def class_table(dataset: Dataset, ids: IntArray) -> ClassTable:
    """Return the class table of some class ids, in the order given."""
    original = None if dataset.original is None else taken(dataset.original, ids)
    return ClassTable(ids=ids, semantics=taken(dataset.semantics, ids), original=original)


def training(dataset: Dataset, chosen: Split) -> Train:
    """Return what `Method.fit` receives: copies of the training rows, and the seen classes."""
    return Train(
        features=taken(dataset.features, chosen.train),
        labels=taken(dataset.labels, chosen.train),
        classes=class_table(dataset, chosen.seen),
    )
