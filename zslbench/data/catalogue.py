"""The catalogued data sets: aPY, AWA1, AWA2, CUB, FLO and SUN under the proposed split of Xian et al.

Counts are those of Xian et al., "Zero-Shot Learning: A Comprehensive Evaluation of the Good, the Bad and the Ugly"
(TPAMI 2018), as LisGAN's Table 1 repeats them, and are verified on every load.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import ClassVar

from zslbench.data import xlsa17 as layout
from zslbench.data.dataset import Counts, Dataset, DatasetCard, Source
from zslbench.data.home import data_root, installed_root
from zslbench.data.store import load_stored
from zslbench.errors import BadValue, DataMissing
from zslbench.files import remove_working_folders

FEATURES, SEMANTICS = "res101", "att"
DIMENSIONS = {"res101": 2048}
_COUNTED = {
    "images": "images",
    "seen": "seen classes",
    "unseen": "unseen classes",
    "trainval": "trainval images",
    "test_seen": "test_seen images",
    "test_unseen": "test_unseen images",
}


@dataclasses.dataclass(kw_only=True)
class Catalogued(Source):
    """A data set of the xlsa17 family, read from the folder that its card names."""

    name: ClassVar[str]

    def load(self, *, features: str | None = None, semantics: str | None = None, root: Path | None = None) -> Dataset:
        """Return the data set after verifying its counts (see `Source.load`)."""
        features, semantics = features or self.card.features, semantics or self.card.semantics
        folder = self.find(features, semantics, root)
        dataset = load_stored(folder, name=self.name, features=features, semantics=semantics, origin="catalogue")
        verify_counts(dataset, self.card)
        return dataset

    def find(self, features: str, semantics: str, root: Path | None = None) -> Path:
        """Return the first folder that holds the chosen features and semantics.

        Raises:
            DataMissing: none does; the sentence says what there is and how to get the rest.
        """
        roots = data_root(root)
        remove_working_folders(installed_root())
        folders = named_folders(self.card.folder, root)
        for folder in folders:
            wanted = layout.features_file(folder, features), layout.semantics_file(folder, semantics)
            if all(path.is_file() for path in wanted):
                return folder
        get = f"get it with `zslbench data fetch {self.name}` or `zslbench data import FILE`"
        elsewhere = f"name the folder that holds {self.card.folder} with --data-root"
        if not folders:
            places = " or ".join(map(str, roots))
            raise DataMissing(
                f"data set {self.name!r} is not on this machine (looked in {places}); {get}, or {elsewhere}."
            )
        stems = layout.stems(folders[0])
        for option, file, stem, held in (
            ("features", layout.features_file(folders[0], features), features, stems.features),
            ("semantics", layout.semantics_file(folders[0], semantics), semantics, stems.semantics),
        ):
            if stem not in held:
                lacks = f"there is no {file}" if held else f"{folders[0]} holds no {option} file"
                choose = f"it has: {', '.join(held)}; choose one with --{option}, " if held else ""
                raise DataMissing(f"data set {self.name!r}: {lacks}; {choose}{get}, or {elsewhere}.")
        raise DataMissing(
            f"data set {self.name!r}: no folder holds both {features} and {semantics}; {get}, or {elsewhere}."
        )


def named_folder(root: Path, name: str) -> Path | None:
    """Return the folder of `root` that has `name`, whatever its case (aPY, APY), or None."""
    if (root / name).is_dir():
        return root / name
    try:
        return next(
            (path for path in sorted(root.iterdir()) if path.name.lower() == name.lower() and path.is_dir()), None
        )
    except OSError:
        return None


def named_folders(name: str, root: Path | None) -> list[Path]:
    """Return the folders of a name in the folders of data sets (see `data_root`), first choice first."""
    return [folder for place in data_root(root) if (folder := named_folder(place, name)) is not None]


def verify_counts(dataset: Dataset, card: DatasetCard) -> None:
    """Check a data set against the counts of its card.

    Attributes are counted for ``att`` and feature dimensions for ``res101`` alone: other semantics and features have
    other sizes.

    Raises:
        BadData: a count differs; the sentence names both numbers.
    """
    if card.counts is None:
        return
    counts = Counts.of(dataset)
    pairs = {what: (getattr(counts, name), getattr(card.counts, name)) for name, what in _COUNTED.items()}
    pairs["classes"] = len(dataset.semantics), card.counts.seen + card.counts.unseen
    if dataset.semantics_name == card.semantics:
        pairs["attributes"] = counts.attributes, card.counts.attributes
    if dataset.features_name in DIMENSIONS:
        pairs["feature dimensions"] = dataset.features.shape[1], DIMENSIONS[dataset.features_name]
    for what, (number, expected) in pairs.items():
        if number != expected:
            raise dataset.bad(
                f"{number} {what} where {expected} are expected; "
                "get the official files, or name the folder by its path to read it as data of your own."
            )


def _card(title: str, folder: str, summary: str, citation: str, counts: Counts) -> DatasetCard:
    return DatasetCard(title, summary, citation, counts, folder, FEATURES, SEMANTICS)


class APY(Catalogued):
    """Attribute Pascal and Yahoo."""

    name = "apy"
    card = _card(
        "aPY",
        "APY",
        "Attribute Pascal and Yahoo: 32 classes of things, 64 attributes; 12 classes unseen.",
        "farhadi2009describing",
        Counts(15339, 64, 20, 12, 5932, 1483, 7924),
    )


class AWA1(Catalogued):
    """Animals with Attributes, the first edition."""

    name = "awa1"
    card = _card(
        "AWA1",
        "AWA1",
        "Animals with Attributes 1: 50 animals, 85 attributes; 10 unseen. Features only, its images are not public.",
        "lampert2014attribute",
        Counts(30475, 85, 40, 10, 19832, 4958, 5685),
    )


class AWA2(Catalogued):
    """Animals with Attributes, the second edition."""

    name = "awa2"
    card = _card(
        "AWA2",
        "AWA2",
        "Animals with Attributes 2: the classes and attributes of AWA1 with other, freely licensed images.",
        "xian2018gbu",
        Counts(37322, 85, 40, 10, 23527, 5882, 7913),
    )


class CUB(Catalogued):
    """Caltech-UCSD Birds 200-2011."""

    name = "cub"
    card = _card(
        "CUB",
        "CUB",
        "Caltech-UCSD Birds 200-2011: 200 bird species, 312 attributes (or sentences, sent); 50 unseen.",
        "wah2011cub",
        Counts(11788, 312, 150, 50, 7057, 1764, 2967),
    )


class FLO(Catalogued):
    """Oxford Flowers 102."""

    name = "flo"
    card = _card(
        "FLO",
        "FLO",
        "Oxford Flowers: 102 species described by 1,024-d sentence embeddings; 20 unseen. No class names, no folds.",
        "nilsback2008flowers",
        Counts(8189, 1024, 82, 20, 5631, 1403, 1155),
    )


class SUN(Catalogued):
    """SUN Attribute."""

    name = "sun"
    card = _card(
        "SUN",
        "SUN",
        "SUN Attribute: 717 kinds of scenes with 20 images each, 102 attributes; 72 unseen.",
        "patterson2012sun",
        Counts(14340, 102, 645, 72, 10320, 2580, 1440),
    )


CATALOGUE: tuple[type[Catalogued], ...] = (APY, AWA1, AWA2, CUB, FLO, SUN)


def refuse_awa(name: str) -> None:
    """Raise where a name is ``awa``, which papers use for either of two data sets.

    Raises:
        BadValue: it is.
    """
    if name.lower() == "awa":
        raise BadValue(f"dataset {name!r} is two: AWA1 and AWA2 have different images; choose awa1 or awa2.")
