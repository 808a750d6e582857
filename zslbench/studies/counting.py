"""Which data sets a table of statistics is of, and what each holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from zslbench.data import added
from zslbench.data import xlsa17 as layout
from zslbench.data.catalogue import CATALOGUE, FEATURES, SEMANTICS, Catalogued, named_folder
from zslbench.data.dataset import Counts, Dataset
from zslbench.data.home import data_root
from zslbench.data.loading import folder_of, load_dataset, load_source
from zslbench.data.store import load_stored
from zslbench.data.xlsa17 import Counted, count, count_split
from zslbench.errors import DataMissing, ZslbenchError
from zslbench.identity import folder_name


@dataclasses.dataclass(frozen=True)
class Described:
    """One data set and what it holds.

    Attributes:
        name, title: as it is registered and printed; of data of one's own the folder's name.
        origin, split: as in `Dataset`.
        features, semantics: file stems; features are empty where there are none.
        fingerprint: of the content; empty without features.
        counted: what is on this machine; authors: what the catalogue says of it, None of other data.
    """

    name: str
    title: str
    origin: str
    features: str
    semantics: str
    fingerprint: str
    counted: Counted
    authors: Counts | None = None
    split: str = ""


def named(text: str, features: str | None, semantics: str | None, root: Path | None) -> Described:
    """Describe the data set that a text names; without features, as far as its split says.

    Args:
        text: a name, with parameters where it takes some, or the path of a folder.
        features, semantics: file stems; None: the usual ones, else the first that there are.
        root: the folder of data set folders.

    Raises:
        UnknownName, BadSpec, BadValue: the text, or a choice, does not exist.
        DataMissing: the files are not on this machine.
        BadData: the files break a rule.
    """
    if (own := folder_of(text)) is not None:
        own = own.resolve()
        return _in_folder(own, _chosen(own, features, semantics), None)
    if added.find(text) is not None:
        loaded = load_dataset(text, features=features, semantics=semantics)
        return _loaded(loaded, loaded.name)
    source, name = load_source(text)
    if not isinstance(source, Catalogued):
        loaded = load_dataset(text, features=features, semantics=semantics, root=root)
        return _loaded(loaded, source.card.title if loaded.name == name else loaded.name)
    folders = [found for place in data_root(root) if (found := named_folder(place, source.card.folder)) is not None]
    held = [folder for folder in folders if _holds(folder, features, semantics)]
    if not held:
        folder = (
            folders[0]
            if folders and features is None
            else source.find(features or FEATURES, semantics or SEMANTICS, root)
        )
        held = [folder]
    folder = _with_features_first(held)[0]
    return _in_folder(folder, _chosen(folder, features, semantics), source)


def everything(features: str | None, semantics: str | None, root: Path | None) -> tuple[list[Described], list[str]]:
    """Describe every data set whose folder is found on this machine, and say of those left out why.

    Chosen features that a data set lacks count as no features. The catalogued come first, those that were added last.

    Raises:
        DataMissing: there is none.
    """
    roots = data_root(root)
    held: dict[str, list[Path]] = {}
    for place in roots:
        for folder in sorted(path for path in place.glob("*") if path.is_dir()):
            if layout.stems(folder).semantics:
                held.setdefault(folder.name.casefold(), []).append(folder)
    sources = {source.card.folder.casefold(): source() for source in CATALOGUE}
    out, left = [], []
    for name in sorted(held, key=lambda name: (name not in sources, name)):
        folder = _with_features_first(held[name])[0]
        there = layout.stems(folder)
        chosen = _pick(features, FEATURES, there.features), _pick(semantics, SEMANTICS, there.semantics)
        if not chosen[1]:
            left.append(
                f"{folder.name} is left out: it has no {semantics} semantics, but {', '.join(there.semantics)}."
            )
            continue
        try:
            out.append(_in_folder(folder, chosen, sources.get(name)))
        except ZslbenchError as error:
            left.append(f"{folder.name} is left out: {error}")
    for name in added.names() if root is None else []:
        try:
            out.append(named(name, features, semantics, None))
        except ZslbenchError as error:
            left.append(f"{name} is left out: {error}")
    if not out and not left:
        raise DataMissing(
            f"no data set is on this machine (looked in {' and '.join(map(str, roots))}); get one with `zslbench data "
            "fetch NAME`, name the folder that holds CUB, SUN, … with --data-root, or a built-in set: -d digits."
        )
    return out, left


def _holds(folder: Path, features: str | None, semantics: str | None) -> bool:
    there = layout.stems(folder)
    return (features is None or features in there.features) and (
        semantics in there.semantics if semantics else bool(there.semantics)
    )


def _with_features_first(folders: Sequence[Path]) -> list[Path]:
    return sorted(folders, key=lambda folder: not layout.stems(folder).features)


def _chosen(folder: Path, features: str | None, semantics: str | None) -> tuple[str, str]:
    """Return the features, empty where there are none, and the semantics to read.

    Raises:
        DataMissing: a choice that the folder does not have, or no semantics.
    """
    there = layout.stems(folder)
    for option, given, held in (("features", features, there.features), ("semantics", semantics, there.semantics)):
        if given is not None and given not in held:
            has = f"it has: {', '.join(held)}; choose one with --{option}" if held else "it has none; leave it out"
            raise DataMissing(f"{folder} has no {option} {given!r}; {has}.")
    if not there.semantics:
        raise DataMissing(f"{folder} has no semantics file (<semantics>_splits.mat); is it an xlsa17-like folder?")
    return _pick(features, FEATURES, there.features), _pick(semantics, SEMANTICS, there.semantics)


def _pick(given: str | None, usual: str, held: Sequence[str]) -> str:
    if given is not None:
        return given if given in held else ""
    return usual if usual in held else next(iter(held), "")


def _in_folder(folder: Path, chosen: tuple[str, str], source: Catalogued | None) -> Described:
    features, semantics = chosen
    name, title = (source.name, source.card.title) if source else (folder_name(folder), folder.name)
    authors = source.card.counts if source else None
    if not features:
        origin = "catalogue" if source else "own"
        return Described(name, title, origin, "", semantics, "", count_split(folder, semantics), authors)
    # Not by the catalogue's own way, which refuses other counts than the authors': here they are what is asked for.
    dataset = load_stored(
        folder, name=name, features=features, semantics=semantics, origin="catalogue" if source else "own"
    )
    return _loaded(dataset, title, authors)


def _loaded(dataset: Dataset, title: str, authors: Counts | None = None) -> Described:
    return Described(
        dataset.name,
        title,
        dataset.origin,
        dataset.features_name,
        dataset.semantics_name,
        dataset.fingerprint,
        count(dataset),
        authors,
        dataset.split,
    )
