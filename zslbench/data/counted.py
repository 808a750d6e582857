"""Count a data set: images, dimensions, classes and the parts of the proposed split, from what is on this machine."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from zslbench.data import folder as layout
from zslbench.data.dataset import Dataset
from zslbench.data.xlsa17 import class_list, read_split


@dataclasses.dataclass(frozen=True, kw_only=True)
class Counted:
    """What a data set holds; None for what cannot be counted without its features file.

    Attributes:
        images: of the features file, or without one those that the split names.
        features, semantics: their dimensions.
        seen, unseen: classes.
        folds: (training, validation) classes of each fold; empty where there are none.
        trainval, test_seen, test_unseen: images.
    """

    images: int
    features: int | None
    semantics: int
    seen: int | None
    unseen: int | None
    folds: tuple[tuple[int, int], ...]
    trainval: int
    test_seen: int
    test_unseen: int


def count(dataset: Dataset) -> Counted:
    """Count a data set that is loaded."""
    return Counted(
        images=len(dataset.labels),
        features=dataset.features.shape[1],
        semantics=dataset.semantics.shape[1],
        seen=len(dataset.seen),
        unseen=len(dataset.unseen),
        folds=tuple((len(fold.train), len(fold.val)) for fold in dataset.folds),
        trainval=len(dataset.trainval),
        test_seen=len(dataset.test_seen),
        test_unseen=len(dataset.test_unseen),
    )


def count_split(folder: Path, semantics: str) -> Counted:
    """Count what a folder without features says: its split, its semantics and its lists of classes.

    Args:
        folder: xlsa17-like; semantics: a file stem.

    Raises:
        DataMissing: no such semantics file.
        BadData: a file is broken.
    """
    table, split = read_split(folder, semantics)
    seen, unseen = (len(class_list(path)) if path.is_file() else None for path in layout.class_lists(folder))
    files = [pair for pair in layout.fold_files(folder) if all(path.is_file() for path in pair)]
    return Counted(
        images=len(np.unique(np.concatenate(list(split.values())))),
        features=None,
        semantics=table.shape[1],
        seen=seen,
        unseen=unseen,
        folds=tuple((len(class_list(train)), len(class_list(val))) for train, val in files),
        trainval=len(split["trainval_loc"]),
        test_seen=len(split["test_seen_loc"]),
        test_unseen=len(split["test_unseen_loc"]),
    )
