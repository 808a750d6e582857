"""The catalogued data sets: aPY, AWA1, AWA2, CUB, FLO and SUN under the proposed split of Xian et al.

Counts are those of Xian et al., "Zero-Shot Learning: A Comprehensive Evaluation of the Good, the Bad and the Ugly"
(TPAMI 2018), as LisGAN's Table 1 repeats them, and are verified on every load.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from zslbench.data import xlsa17
from zslbench.data.array_store import home, load_stored
from zslbench.data.dataset import PARTS, Counts, Dataset, DatasetCard, Source, choose_stem
from zslbench.errors import BadValue, DataMissing
from zslbench.files import remove_working_folders
from zslbench.identity import expand_home

DIMENSIONS = {"res101": 2048}


@dataclasses.dataclass(frozen=True)
class Archive:
    """An official archive of data sets.

    Attributes:
        file: its name.
        addresses: where its authors offer it, in the order in which they are tried.
        datasets: names of the data sets that are taken from it; all other content is ignored.
        size: what is known of its size, in words.
        copies: what is known of copies elsewhere, in words.
        sha256: as its authors publish it; empty if they publish none.
    """

    file: str
    addresses: tuple[str, ...]
    datasets: tuple[str, ...]
    size: str = "not published"
    copies: str = "none are known"
    sha256: str = ""


_HOST = "datasets.d2.mpi-inf.mpg.de/xian"
ARCHIVES = (
    Archive(
        "xlsa17.zip",
        (f"https://{_HOST}/xlsa17.zip", f"http://{_HOST}/xlsa17.zip"),
        ("apy", "awa1", "awa2", "cub", "sun"),
        size="not published; users report 0.9 to 1.7 GB",
        copies="by others, not checked by us, are named at\ngithub.com/mvp18/Popular-ZSL-Algorithms/issues/1",
    ),
    Archive("cvpr18xian.zip", (f"https://{_HOST}/cvpr18xian.zip", f"http://{_HOST}/cvpr18xian.zip"), ("flo",)),
)


@dataclasses.dataclass(kw_only=True)
class Catalogued(Source):
    """A data set of the xlsa17 family, read from the folder that its card names."""

    name: ClassVar[str]

    def load(self, *, features: str | None = None, semantics: str | None = None, root: Path | None = None) -> Dataset:
        """Return the data set after verifying its counts (see `Source.load`)."""
        folder, features, semantics = self.find(features, semantics, root)
        dataset = load_stored(folder, name=self.name, features=features, semantics=semantics, origin="catalogue")
        verify_counts(dataset, self.card)
        return dataset

    def find(
        self, features: str | None = None, semantics: str | None = None, root: Path | None = None
    ) -> tuple[Path, str, str]:
        """Return the first folder that holds the chosen features and semantics, and the choice.

        If nothing is chosen, these are the usual ones (``res101``, ``att``), or, if no folder has them, the only ones
        of the first folder. If no folder fits, DataMissing says what there is and how to get the rest.
        """
        roots = xlsa17_roots(root)
        remove_working_folders(home() / "xlsa17")
        folders = named_folders(self.card.folder, root)
        if not folders:
            raise self._refuse(roots, root)
        usual = features or self.card.features, semantics or self.card.semantics
        for folder in folders:
            files = xlsa17.features_file(folder, usual[0]), xlsa17.semantics_file(folder, usual[1])
            if all(path.is_file() for path in files):
                return folder, *usual
        folder = folders[0]
        advice = (
            f"get it with `zslbench data fetch {self.name}` or `zslbench data import FILE`, or name the parent folder "
            f"of {self.card.folder} with --data-root"
        )

        def choose(option: str, given: str | None, stem: str, held: Sequence[str]) -> str:
            only = held[0] if given is None and len(held) == 1 else stem
            return choose_stem(f"data set {self.name!r}: {folder}", option, only, held, "", advice)

        held = xlsa17.stems(folder)
        return (
            folder,
            choose("features", features, usual[0], held.features),
            choose("semantics", semantics, usual[1], held.semantics),
        )

    def _refuse(self, roots: Sequence[Path], root: Path | None) -> DataMissing:
        """Return an error that names what is missing; its notes say how to get it and what works without it."""
        folder, here = self.card.folder, next((place for place in roots if any(xlsa17.stems(place))), None)
        if root is not None and here is not None and here.name.lower() == folder.lower():
            return DataMissing(
                f"--data-root {root} is the folder of {folder} itself; give the folder that holds it: {here.parent}."
            )
        archive = next(archive for archive in ARCHIVES if self.name in archive.datasets)
        error = DataMissing(
            f"data set {self.name!r} is not on this machine (looked in {' or '.join(map(str, roots))}); get it with "
            f"`zslbench data fetch {self.name}`, or name the parent folder of {folder}/ with --data-root."
        )
        rows = {
            "works now": "zslbench run -m eszsl -d digits      (built in, no download)",
            "download": f"zslbench data fetch {self.name}",
            "from": archive.addresses[0],
            "size": archive.size,
            "checksum": f"sha256 {archive.sha256}" if archive.sha256 else "none is published",
            "mirrors": f"ZSLBENCH_MIRROR=<address, file or folder of {archive.file}>",
            "copies": archive.copies,
            "have a copy": f"zslbench data import {archive.file}",
            "have folders": f"--data-root DIR, the parent folder of {folder}/: DIR/{folder}/{xlsa17.FEATURES}.mat",
        }
        for name, text in rows.items():
            for number, line in enumerate(text.splitlines()):
                error.add_note(f"{'' if number else name:12}  {line}")
        return error


def xlsa17_roots(root: Path | None = None) -> list[Path]:
    """Return the folders in which to look for data set folders in the xlsa17 format, first choice first.

    An explicit `root` is the only one; otherwise ``ZSLBENCH_DATA`` if it is set, then the folder of installed data. If
    a root contains a folder named ``xlsa17``, as the official archive does, that folder is searched too.

    Raises:
        DataMissing: an explicit root or ``ZSLBENCH_DATA`` is not a folder.
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
    """Return the folders of a name, in upper or lower case (aPY, APY), below `data_root`, first choice first."""
    folders = []
    for place in xlsa17_roots(root):
        with contextlib.suppress(OSError, StopIteration):
            paths = [place / name] if (place / name).is_dir() else sorted(place.iterdir())
            folders.append(next(path for path in paths if path.name.lower() == name.lower() and path.is_dir()))
    return folders


def verify_counts(dataset: Dataset, card: DatasetCard) -> None:
    """Compare the counts of a data set with those of its card; BadData names both numbers.

    Attributes are compared only for ``att`` and feature dimensions only for ``res101``: other semantics and features
    have other sizes.
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
    units = dict.fromkeys(PARTS, " images")
    units |= dict.fromkeys(("seen", "unseen"), " classes")
    for kind, number in expected.items():
        if counts[kind] != number:
            raise dataset.bad(
                f"{counts[kind]} {kind}{units.get(kind, '')}, but {number} are expected; "
                "get the official files, or name the folder by its path to read it as data of your own."
            )


def _catalogued(title: str, summary: str, citation: str, counts: Counts) -> type[Catalogued]:
    card = DatasetCard(title, summary, citation, counts, title.upper(), xlsa17.FEATURES, xlsa17.SEMANTICS)
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
    """Raise BadValue if a name is ``awa``, which papers use for either of two data sets."""
    if name.lower() == "awa":
        raise BadValue(f"{name!r} can mean two data sets, AWA1 and AWA2, whose images differ; choose awa1 or awa2.")
