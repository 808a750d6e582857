"""`Content`: a data set with all its choices of features and semantics, on the way into the home."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zslbench.arrays import AnyArray, Array, IntArray
from zslbench.data import xlsa17 as layout
from zslbench.data.added import Added, write
from zslbench.data.archive import sha256
from zslbench.data.dataset import Counts, Dataset
from zslbench.data.dataset_checks import check_dataset
from zslbench.data.own.given_splits import Parts
from zslbench.data.xlsa17 import read_folder
from zslbench.errors import BadData, DataMissing
from zslbench.identity import expanded


@dataclasses.dataclass(frozen=True, eq=False)
class Content:
    """What a data set holds, and where it came from.

    Attributes:
        labels: (n,) 0-based class ids.
        class_names: (c,) names.
        parts: the split.
        first_class: what the labels number the first class, 0 or 1.
        features: (n, d) float32 by stem, the usual choice first.
        semantics: (c, a) float32 by stem, the usual choice first.
        originals: (c, a) float32 by the stem of the semantics that were scaled from them.
        facts: of each features and semantics, by role and stem, and of the rest: what is kept of the sources.
    """

    labels: IntArray
    class_names: tuple[str, ...]
    parts: Parts
    features: Mapping[str, Array]
    semantics: Mapping[str, Array]
    first_class: int = 0
    originals: Mapping[str, Array] = dataclasses.field(default_factory=dict)
    facts: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)

    def datasets(self, name: str) -> Iterator[Dataset]:
        """Yield the data set of each pair of features and semantics; see `Dataset` for what it raises."""
        for features, matrix in self.features.items():
            for semantics, table in self.semantics.items():
                original = {"original": self.originals[semantics]} if semantics in self.originals else {}
                yield Dataset.of_arrays(
                    {"features": matrix, "semantics": table, **original, **self.shared_arrays()},
                    name=name,
                    features_name=features,
                    semantics_name=semantics,
                    class_names=self.class_names,
                    origin="added",
                    split=self.parts.made,
                    first_class=self.first_class,
                )

    def shared_arrays(self) -> dict[str, AnyArray]:
        """Return the arrays that every choice of features and semantics shares, named as `Dataset.arrays` does."""
        parts = self.parts
        arrays: dict[str, AnyArray] = {
            "labels": self.labels,
            "trainval": parts.trainval,
            "test_seen": parts.test_seen,
            "test_unseen": parts.test_unseen,
        }
        for number, fold in enumerate(parts.folds, start=1):
            arrays |= {f"fold{number}_train": fold.train, f"fold{number}_val": fold.val}
        return arrays

    def arrays(self) -> dict[str, AnyArray]:
        """Return every array by the name of the file that keeps it."""
        arrays = self.shared_arrays()
        for role, tables in (
            ("features", self.features),
            ("semantics", self.semantics),
            ("original", self.originals),
        ):
            arrays |= {f"{role}-{stem}": table for stem, table in tables.items()}
        return arrays


def remarks_on(content: Content) -> list[str]:
    """Return a sentence on attributes that tell no class from another: the same for all, or as another one is."""
    remarks = []
    for stem, table in content.semantics.items():
        _, first, counts = np.unique(table, axis=1, return_index=True, return_counts=True)
        constant = np.flatnonzero((table == table[0]).all(axis=0))
        for columns, count, what in (
            (constant, constant.size, "are the same for every class"),
            (first[counts > 1], table.shape[1] - len(first), "repeat another one"),
        ):
            if count:
                remarks.append(
                    f"semantics {stem}: {count} of {table.shape[1]} columns {what} (first: column "
                    f"{columns.min() + 1}), so they add nothing; is that meant?"
                )
    return remarks


def content_of(added: Added) -> Content:
    """Return the content of a data set that was added before; features stay memory-mapped."""
    return _content(
        {stem: added.load(features=stem) for stem in added.features},
        {stem: added.load(semantics=stem) for stem in added.semantics},
        {"features": added.features, "semantics": added.semantics, **added.facts},
    )


def _content(
    by_features: Mapping[str, Dataset], by_semantics: Mapping[str, Dataset], facts: Mapping[str, Mapping[str, Any]]
) -> Content:
    """Return the content of data sets that share one split, by the stems of their features and semantics."""
    first = next(iter(by_features.values()))
    return Content(
        labels=first.labels,
        class_names=first.class_names,
        parts=Parts(first.trainval, first.test_seen, first.test_unseen, first.folds, first.split),
        features={stem: dataset.features for stem, dataset in by_features.items()},
        semantics={stem: dataset.semantics for stem, dataset in by_semantics.items()},
        first_class=first.first_class,
        originals={stem: dataset.original for stem, dataset in by_semantics.items() if dataset.original is not None},
        facts=facts,
    )


def install(name: str, content: Content, earlier: Added | None = None) -> Added:
    """Check every pair of features and semantics, write the arrays that are not there, and return what is added.

    Raises:
        BadData, CheckFailed: a rule is broken; nothing was written.
        StoreError: it cannot be written.
    """
    fingerprints, counts = {}, []
    for dataset in content.datasets(name):
        check_dataset(dataset)
        counts.append(Counts.of(dataset))
        fingerprints[f"{dataset.features_name}/{dataset.semantics_name}"] = dataset.fingerprint
    facts = dict(content.facts)
    of_features, of_semantics = facts.pop("features", {}), facts.pop("semantics", {})
    added = Added(
        name=name,
        class_names=content.class_names,
        features={
            stem: {**of_features.get(stem, {}), "shape": list(matrix.shape)}
            for stem, matrix in content.features.items()
        },
        semantics={
            stem: {
                **of_semantics.get(stem, {}),
                "shape": list(table.shape),
                "scaled_from_original": stem in content.originals,
            }
            for stem, table in content.semantics.items()
        },
        fingerprints=fingerprints,
        counts=counts[0],
        split=content.parts.made,
        folds=len(content.parts.folds),
        first_class=content.first_class,
        facts=facts,
    )
    held = set() if earlier is None else set(content_of(earlier).arrays())
    write(added, {key: array for key, array in content.arrays().items() if key not in held})
    return added


def from_folder(folder: Path, name: str) -> Content:
    """Return the content of a folder.

    Raises:
        DataMissing: there is no such folder, or it lacks features or semantics.
        BadData: a file breaks a rule, or two files of semantics bring different splits.
    """
    folder = expanded(folder).absolute()
    stems = layout.stems(folder)
    if not stems.features or not stems.semantics:
        what = "has no <features>.mat or no <semantics>_splits.mat" if folder.is_dir() else "is not a folder"
        raise DataMissing(f"{folder} {what}; name an xlsa17-like folder, or give --features, --labels and --semantics.")
    features, semantics = _usual_first(stems.features, "res101"), _usual_first(stems.semantics, "att")
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
    return _content(
        by_features,
        by_semantics,
        {
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
