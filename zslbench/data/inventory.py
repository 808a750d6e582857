"""What data there is on this machine, and whether it is sound: ``zslbench data list`` and ``zslbench data verify``."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from zslbench.data import added
from zslbench.data import xlsa17 as layout
from zslbench.data.dataset import Counts, Source
from zslbench.data.home import sweep_home
from zslbench.errors import UnknownName, ZslbenchError
from zslbench.registry import DATASETS


@dataclasses.dataclass(frozen=True)
class Listed:
    """A registered data set and what of it is on this machine.

    Attributes:
        name, title, summary: of its card.
        origin: ``catalogue``, ``builtin``, ``added`` (by `data add`) or the distribution that brought it.
        features, semantics: file stems found in `folders`, or what a built-in set has.
        folders: where; empty for built-in sets and for those not on this machine.
        counts: as its authors give them; None where a card has none.
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
    """The outcome of checking one folder.

    Attributes:
        name: the registered name.
        folder: which folder was checked.
        features, semantics: the file stems that were read.
        fingerprints: ``features/semantics`` to the fingerprint that was read.
        problems: sentences; empty when all is well.
    """

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


def list_(root: Path | None = None) -> list[Listed]:
    """Return every registered data set by name, then those that were added; opens no data file."""
    from zslbench.data.catalogue import Catalogued, named_folders

    sweep_home()
    rows = []
    for entry in DATASETS:
        try:
            source = entry.load()
            card = source.card if issubclass(source, Source) else None
        except (ZslbenchError, AttributeError) as error:
            rows.append(Listed(entry.name, entry.name, "", entry.origin, problem=str(error)))
            continue
        if card is None:
            rows.append(Listed(entry.name, entry.name, "", entry.origin, problem=f"{entry.target} is not a Source."))
        elif issubclass(source, Catalogued):
            folders = named_folders(card.folder, root)
            found = [layout.stems(folder) for folder in folders]
            rows.append(
                Listed(
                    entry.name,
                    card.title,
                    card.summary,
                    "catalogue",
                    tuple(sorted({stem for one in found for stem in one.features})),
                    tuple(sorted({stem for one in found for stem in one.semantics})),
                    tuple(folders),
                    card.counts,
                )
            )
        else:
            origin = "builtin" if entry.origin == "zslbench" else entry.origin
            choice = tuple(filter(None, [card.features])), tuple(filter(None, [card.semantics]))
            rows.append(Listed(entry.name, card.title, card.summary, origin, *choice, counts=card.counts))
    return rows + [_listed_added(name) for name in added.names()]


def _listed_added(name: str) -> Listed:
    try:
        own = added.find(name)
    except ZslbenchError as error:
        return Listed(name, name, "", "added", problem=str(error))
    if own is None:  # removed in the meantime
        return Listed(name, name, "", "added", problem="it is no longer there.")
    choice = tuple(own.features), tuple(own.semantics)
    return Listed(name, name, own.summary, "added", *choice, folders=(own.folder,), counts=own.counts)


def verify(name: str | None = None, root: Path | None = None) -> list[Verified]:
    """Read every choice of features and semantics of the installed data sets and check it, store included.

    The files are parsed anew, every rule and the catalogued counts are checked, and converted copies are hashed
    again; a damaged copy is reported and removed, so that the next load rebuilds it.

    Args:
        name: a catalogued data set, or an added one; None for all.
        root: the folder of data set folders.

    Raises:
        UnknownName: neither.
        DataMissing: the named data set is not on this machine.
    """
    from zslbench.data.catalogue import CATALOGUE, named_folders

    sweep_home()
    if name is not None and (own := added.find(name)) is not None:
        return [_verify_added(own)]
    if name is not None and name.lower() not in {source.name for source in CATALOGUE}:
        raise UnknownName("catalogued dataset", name, [*(source.name for source in CATALOGUE), *added.names()])
    chosen = [source for source in CATALOGUE if name is None or source.name == name.lower()]
    rows = []
    for source in chosen:
        folders = named_folders(source.card.folder, root)
        if name is not None and not folders:
            source().find(source.card.features, source.card.semantics, root)  # says what is missing, and what to do
        rows += [_verify(source.name, folder) for folder in folders]
    if name is None:
        rows += [_verify_added(own) for one in added.names() if (own := added.find(one)) is not None]
    return rows


def _verify_added(own: added.Added) -> Verified:
    problems, fingerprints = [], {}
    for features, semantics in own.choices():
        try:
            fingerprints[f"{features}/{semantics}"] = own.checked(features, semantics).fingerprint
        except ZslbenchError as error:
            problems.append(str(error))
    return Verified(own.name, own.folder, tuple(own.features), tuple(own.semantics), fingerprints, tuple(problems))


def _verify(name: str, folder: Path) -> Verified:
    from zslbench.data import store
    from zslbench.data.catalogue import CATALOGUE, verify_counts
    from zslbench.data.xlsa17 import read_folder

    card = next(source.card for source in CATALOGUE if source.name == name)
    there = layout.stems(folder)
    problems = [
        f"{folder} has no {option} file."
        for option, held in (("features", there.features), ("semantics", there.semantics))
        if not held
    ]
    fingerprints = {}
    for features in there.features:
        for semantics in there.semantics:
            try:
                dataset = read_folder(folder, name=name, features=features, semantics=semantics, origin="catalogue")
                verify_counts(dataset, card)
                fingerprints[f"{features}/{semantics}"] = dataset.fingerprint
            except ZslbenchError as error:
                problems.append(str(error))
    for entry in store.entries():
        if entry.folder == str(folder.resolve()) and (problem := store.check_entry(entry)):
            store.discard(entry)
            problems.append(f"{folder} ({entry.features}, {entry.semantics}): {problem}.")
    return Verified(name, folder, there.features, there.semantics, fingerprints, tuple(problems))
