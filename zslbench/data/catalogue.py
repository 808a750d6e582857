"""The catalogued data sets: aPY, AWA1, AWA2, CUB, FLO and SUN under the proposed split of Xian et al.

Counts are those of Xian et al., "Zero-Shot Learning: A Comprehensive Evaluation of the Good, the Bad and the Ugly"
(TPAMI 2018), as LisGAN's Table 1 repeats them, and are verified on every load.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from pathlib import Path
from typing import ClassVar

from zslbench.data import xlsa17 as layout
from zslbench.data.array_store import home, load_stored
from zslbench.data.dataset import Counts, Dataset, DatasetCard, Source, choose_stem
from zslbench.errors import BadValue, DataMissing
from zslbench.files import remove_working_folders
from zslbench.identity import expand_home

DIMENSIONS = {"res101": 2048}


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

        Where none does, DataMissing says what there is and how to get the rest.
        """
        roots = xlsa17_roots(root)
        remove_working_folders(home() / "xlsa17")
        folders = named_folders(self.card.folder, root)
        for folder in folders:
            if layout.features_file(folder, features).is_file() and layout.semantics_file(folder, semantics).is_file():
                return folder
        advice = (
            f"get it with `zslbench data fetch {self.name}` or `zslbench data import FILE`, or name the folder that "
            f"holds {self.card.folder} with --data-root"
        )
        if not folders:
            places = " or ".join(map(str, roots))
            raise DataMissing(f"data set {self.name!r} is not on this machine (looked in {places}); {advice}.")
        held, owner = layout.stems(folders[0]), f"data set {self.name!r}: {folders[0]}"
        choose_stem(owner, "features", features, held.features, "", advice)
        choose_stem(owner, "semantics", semantics, held.semantics, "", advice)
        raise DataMissing(f"data set {self.name!r}: no folder holds both {features} and {semantics}; {advice}.")


def xlsa17_roots(root: Path | None = None) -> list[Path]:
    """Return the folders to look for xlsa17 data set folders in, first choice first.

    An explicit `root` is the only one; otherwise ``ZSLBENCH_DATA`` where it is set, then what was installed. A root
    that holds a folder named ``xlsa17``, as the official archive does, stands for that folder too.

    Raises:
        DataMissing: an explicit root or ``ZSLBENCH_DATA`` that is not a folder.
    """
    given, where = (os.environ.get("ZSLBENCH_DATA"), "ZSLBENCH_DATA") if root is None else (root, "--data-root")
    roots: list[Path] = []
    if given:
        place = expand_home(given).absolute()
        if not place.is_dir():
            raise DataMissing(
                f"{where} names {str(given)!r}, which is not a folder; name the folder that holds CUB, SUN, …"
            )
        roots = [place, *([place / "xlsa17"] if (place / "xlsa17").is_dir() else [])]
    return roots if root is not None else [*roots, home() / "xlsa17"]


def named_folders(name: str, root: Path | None) -> list[Path]:
    """Return the folders of a name, whatever its case (aPY, APY), in those of `data_root`, first choice first."""
    folders = []
    for place in xlsa17_roots(root):
        with contextlib.suppress(OSError, StopIteration):
            paths = [place / name] if (place / name).is_dir() else sorted(place.iterdir())
            folders.append(next(path for path in paths if path.name.lower() == name.lower() and path.is_dir()))
    return folders


def verify_counts(dataset: Dataset, card: DatasetCard) -> None:
    """Check a data set against the counts of its card; BadData names both numbers.

    Attributes are counted for ``att`` and feature dimensions for ``res101`` alone: other semantics and features have
    other sizes.
    """
    if card.counts is None:
        return
    counts, expected = dataclasses.asdict(Counts.of(dataset)), dataclasses.asdict(card.counts)
    counts |= {"classes": len(dataset.semantics), "feature dimensions": dataset.features.shape[1]}
    expected |= {"classes": card.counts.seen + card.counts.unseen}
    if dataset.semantics_name != card.semantics:
        del expected["attributes"]
    if dataset.features_name in DIMENSIONS:
        expected["feature dimensions"] = DIMENSIONS[dataset.features_name]
    units = dict.fromkeys(("trainval", "test_seen", "test_unseen"), " images")
    units |= dict.fromkeys(("seen", "unseen"), " classes")
    for kind, number in expected.items():
        if counts[kind] != number:
            raise dataset.bad(
                f"{counts[kind]} {kind}{units.get(kind, '')} where {number} are expected; "
                "get the official files, or name the folder by its path to read it as data of your own."
            )


def _catalogued(title: str, summary: str, citation: str, counts: Counts) -> type[Catalogued]:
    card = DatasetCard(title, summary, citation, counts, title.upper(), layout.FEATURES, layout.SEMANTICS)
    return type(title.upper(), (Catalogued,), {"__module__": __name__, "name": title.lower(), "card": card})


APY = _catalogued(
    "aPY",
    "Attribute Pascal and Yahoo: 32 classes of things, 64 attributes; 12 classes unseen.",
    "farhadi2009describing",
    Counts(15339, 64, 20, 12, 5932, 1483, 7924),
)
AWA1 = _catalogued(
    "AWA1",
    "Animals with Attributes 1: 50 animals, 85 attributes; 10 unseen. Features only, its images are not public.",
    "lampert2014attribute",
    Counts(30475, 85, 40, 10, 19832, 4958, 5685),
)
AWA2 = _catalogued(
    "AWA2",
    "Animals with Attributes 2: the classes and attributes of AWA1 with other, freely licensed images.",
    "xian2018gbu",
    Counts(37322, 85, 40, 10, 23527, 5882, 7913),
)
CUB = _catalogued(
    "CUB",
    "Caltech-UCSD Birds 200-2011: 200 bird species, 312 attributes (or sentences, sent); 50 unseen.",
    "wah2011cub",
    Counts(11788, 312, 150, 50, 7057, 1764, 2967),
)
FLO = _catalogued(
    "FLO",
    "Oxford Flowers: 102 species described by 1,024-d sentence embeddings; 20 unseen. No class names, no folds.",
    "nilsback2008flowers",
    Counts(8189, 1024, 82, 20, 5631, 1403, 1155),
)
SUN = _catalogued(
    "SUN",
    "SUN Attribute: 717 kinds of scenes with 20 images each, 102 attributes; 72 unseen.",
    "patterson2012sun",
    Counts(14340, 102, 645, 72, 10320, 2580, 1440),
)
CATALOGUE: tuple[type[Catalogued], ...] = (APY, AWA1, AWA2, CUB, FLO, SUN)


def refuse_awa(name: str) -> None:
    """Raise BadValue where a name is ``awa``, which papers use for either of two data sets."""
    if name.lower() == "awa":
        raise BadValue(f"dataset {name!r} is two: AWA1 and AWA2 have different images; choose awa1 or awa2.")
