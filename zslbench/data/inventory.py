"""`list_` and `verify` (``zslbench data list``, ``data verify``): which data is on this machine, and is it intact?"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable
from pathlib import Path

from zslbench.data import added, xlsa17
from zslbench.data.array_store import home, verify_copies
from zslbench.data.catalogue import CATALOGUE, Catalogued, named_folders, verify_counts
from zslbench.data.dataset import Counts, Dataset, Source
from zslbench.errors import BadValue, UnknownName, ZslbenchError
from zslbench.files import remove_working_folders
from zslbench.registry import DATASETS


@dataclasses.dataclass(frozen=True)
class Listed:
    """A registered data set and which of its files are on this machine.

    Attributes:
        origin: ``catalogue``, ``builtin``, ``added`` (by ``data add``) or the distribution that provides it.
        features, semantics: file stems in `folders`, or what a built-in set has.
        folders: empty for built-in sets and for those not on this machine.
        counts: as its authors publish them.
        problem: why a plugin is unavailable.
    """

    name: str
    title: str
    summary: str
    origin: str
    features: tuple[str, ...] = ()
    semantics: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()
    counts: Counts | None = None
    problem: str = ""


@dataclasses.dataclass(frozen=True)
class Verified:
    """The outcome of checking one folder: fingerprints by ``features/semantics``, and problems as sentences."""

    name: str
    folder: Path
    features: tuple[str, ...]
    semantics: tuple[str, ...]
    fingerprints: dict[str, str]
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def _sweep_home() -> None:
    """Remove what killed processes left behind among installed, added, downloaded and converted data."""
    with contextlib.suppress(BadValue):  # an unusable home is reported by the code that needs it
        for folder in ("xlsa17", "added", "downloads", "store/content", "store/index"):
            remove_working_folders(home() / folder)


def list_(root: Path | None = None) -> list[Listed]:
    """Return every registered data set by name, then the added ones; no data file is opened."""
    _sweep_home()
    rows = []
    for entry in DATASETS:
        try:
            source = entry.load()
            if not issubclass(source, Source):
                raise BadValue(f"{entry.target} is not a Source.")
            card = source.card
        except (ZslbenchError, AttributeError) as error:
            rows.append(Listed(entry.name, entry.name, "", entry.origin, problem=str(error)))
            continue
        if issubclass(source, Catalogued):
            folders, origin = named_folders(card.folder, root), "catalogue"
            stems = [xlsa17.stems(folder) for folder in folders]
        else:
            folders, origin = [], "builtin" if entry.origin == "zslbench" else entry.origin
            stems = [xlsa17.Stems((card.features,), (card.semantics,))]
        features, semantics = (
            tuple(sorted({stem for held in stems for stem in held[role] if stem})) for role in range(2)
        )
        rows.append(
            Listed(entry.name, card.title, card.summary, origin, features, semantics, tuple(folders), card.counts)
        )
    for name in added.names():
        try:
            if (dataset := added.find_added(name)) is not None:  # None: removed in the meantime
                choices = tuple(dataset.features), tuple(dataset.semantics)
                rows.append(Listed(name, name, dataset.summary, "added", *choices, (dataset.folder,), dataset.counts))
        except ZslbenchError as error:
            rows.append(Listed(name, name, "", "added", problem=str(error)))
    return rows


def verify(name: str | None = None, root: Path | None = None) -> list[Verified]:
    """Read every choice of features and semantics of the installed data sets and check it, converted copies included.

    The files are parsed anew, every rule and the catalogued counts are checked, and the converted copies are hashed
    again. A damaged copy is reported and removed, so that the next load makes it again.

    Args:
        name: a catalogued data set, or an added one; None: all.
        root: the folder whose subfolders are data sets; None: as in `load_dataset`.

    Raises:
        UnknownName: neither a catalogued nor an added data set.
        DataMissing: the named data set is not on this machine.
    """
    _sweep_home()
    rows = []
    for dataset in filter(None, map(added.find_added, added.names() if name is None else [name])):
        stems = xlsa17.Stems(tuple(dataset.features), tuple(dataset.semantics))
        read = functools.partial(dataset.load, verify=True)
        rows.append(_verify_choices(dataset.name, dataset.folder, stems, read))
    if name is not None and rows:
        return rows
    sources = [source for source in CATALOGUE if name is None or source.name == name.lower()]
    if not sources:
        raise UnknownName("catalogued dataset", str(name), [*(source.name for source in CATALOGUE), *added.names()])
    catalogued = []
    for source in sources:
        folders = named_folders(source.card.folder, root)
        if name is not None and not folders:
            source().find(root=root)  # says what is missing, and what to do
        catalogued += [_verify_folder(source, folder) for folder in folders]
    return catalogued + rows


def _verify_folder(source: type[Catalogued], folder: Path) -> Verified:
    def read(features: str, semantics: str) -> Dataset:
        dataset = xlsa17.read_folder(
            folder, name=source.name, features=features, semantics=semantics, origin="catalogue"
        )
        verify_counts(dataset, source.card)
        return dataset

    stems = xlsa17.stems(folder)
    lacking = [f"{folder} has no {option} file." for option, held in stems._asdict().items() if not held]
    row = _verify_choices(source.name, folder, stems, read)
    return dataclasses.replace(row, problems=(*lacking, *row.problems, *verify_copies(folder)))


def _verify_choices(name: str, folder: Path, stems: xlsa17.Stems, read: Callable[..., Dataset]) -> Verified:
    problems, fingerprints = [], {}
    for features, semantics in itertools.product(*stems):
        try:
            dataset = read(features=features, semantics=semantics)
            fingerprints[f"{features}/{semantics}"] = dataset.fingerprint
        except ZslbenchError as error:
            problems.append(str(error))
    return Verified(name, folder, *stems, fingerprints, tuple(problems))
