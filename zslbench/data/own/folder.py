"""Take an xlsa17-like folder as a data set: all its features and semantics, with the split that it brings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from zslbench.data import folder as layout
from zslbench.data.archive import sha256
from zslbench.data.dataset import Dataset
from zslbench.data.own.content import Content
from zslbench.data.own.splits import Parts
from zslbench.data.xlsa17 import read_folder
from zslbench.errors import BadData, DataMissing
from zslbench.identity import expanded


def from_folder(folder: Path, name: str) -> Content:
    """Return the content of a folder.

    Raises:
        DataMissing: there is no such folder, or it lacks features or semantics.
        BadData: a file breaks a rule, or two files of semantics bring different splits.
    """
    folder = expanded(folder).absolute()
    there = layout.stems(folder)
    if not there.features or not there.semantics:
        what = "has no <features>.mat or no <semantics>_splits.mat" if folder.is_dir() else "is not a folder"
        raise DataMissing(f"{folder} {what}; name an xlsa17-like folder, or give --features, --labels and --semantics.")
    features, semantics = _usual_first(there.features, "res101"), _usual_first(there.semantics, "att")
    by_features = {
        stem: read_folder(folder, name=name, features=stem, semantics=semantics[0], origin="added") for stem in features
    }
    first = by_features[features[0]]
    by_semantics = {semantics[0]: first} | {
        stem: read_folder(folder, name=name, features=features[0], semantics=stem, origin="added")
        for stem in semantics[1:]
    }
    for dataset in [*by_features.values(), *by_semantics.values()]:
        _check_alike(first, dataset, folder)
    return Content(
        labels=first.labels,
        class_names=first.class_names,
        parts=Parts(first.trainval, first.test_seen, first.test_unseen, first.folds),
        features={stem: one.features for stem, one in by_features.items()},
        semantics={stem: one.semantics for stem, one in by_semantics.items()},
        first_class=first.first_class,
        originals={stem: one.original for stem, one in by_semantics.items() if one.original is not None},
        facts={
            "features": {
                stem: _facts(layout.features_file(folder, stem), by_features[stem].features) for stem in features
            },
            "semantics": {
                stem: _facts(layout.semantics_file(folder, stem), by_semantics[stem].semantics) for stem in semantics
            },
            "folder": {"source": str(folder)},
        },
    )


def _usual_first(stems: tuple[str, ...], usual: str) -> list[str]:
    return sorted(stems, key=lambda stem: stem != usual)


def _facts(path: Path, array: np.ndarray) -> dict[str, Any]:
    return {"source": str(path), "sha256": sha256(path), "shape": list(array.shape)}


def _check_alike(first: Dataset, other: Dataset, folder: Path) -> None:
    for part in ("labels", "trainval", "test_seen", "test_unseen"):
        if not np.array_equal(getattr(first, part), getattr(other, part)):
            raise BadData(
                f"{folder}: {part} of ({other.features_name}, {other.semantics_name}) are not those of "
                f"({first.features_name}, {first.semantics_name}); take the files of one split."
            )
    if first.class_names != other.class_names:
        raise BadData(f"{folder}: {other.semantics_name} and {first.semantics_name} name different classes.")
