"""`load_dataset`: turn a text that a user types into a `Dataset`."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from zslbench import params, spec
from zslbench.data import added, xlsa17
from zslbench.data.array_store import file_states, load_stored
from zslbench.data.catalogue import CATALOGUE, named_folders, refuse_awa
from zslbench.data.dataset import Dataset, Source, choose_stem, join_semantics
from zslbench.errors import BadData, BadSpec, BadValue, DataMissing, UnknownName
from zslbench.identity import expand_home, folder_name
from zslbench.registry import DATASETS


def load_dataset(
    text: str, *, features: str | None = None, semantics: str | None = None, root: Path | None = None
) -> Dataset:
    """Return the data set that a text names.

    Args:
        text: one of these: a registered name with parameters (``cub``, ``synthetic[classes=30]``); a class
            ``pkg.module:Class``; the name of a data set that ``data add`` installed; or the path of a folder in the
            xlsa17 format, which is read as the user's own data with the name of the folder. A bare name of a data set
            never means a folder: write ``./cub`` for that.
        features, semantics: file stems; None: the usual ones (``res101``, ``att``), or the only ones of a folder.
            Semantics ``att+clip`` are both, side by side (see `join_semantics`).
        root: the folder whose subfolders are data sets; None: ``ZSLBENCH_DATA``, then the folder of installed data.

    Raises:
        UnknownName, BadSpec, BadValue: the text, or a choice, does not exist or is not allowed.
        DataMissing: the files are not on this machine.
        BadData: the files break a rule.
    """
    stems = (semantics or "").split("+")
    try:
        return _load_choice(text, features, semantics, root)
    except DataMissing:  # a file stem may itself contain a +
        if len(stems) == 1:
            raise
        if "" in stems or len(set(stems)) < len(stems):
            raise BadValue(f"--semantics {semantics!r} lacks a name or repeats one; write NAME+NAME.") from None
    return join_semantics([_load_choice(text, features, stem, root) for stem in stems])


def _load_choice(text: str, features: str | None, semantics: str | None, root: Path | None) -> Dataset:
    if (folder := folder_of(text)) is not None:
        folder = expand_home(folder).resolve()
        xlsa17.check_no_parent(folder, f", or a data set with --data-root {folder}")
        held = xlsa17.stems(folder)
        return load_stored(
            folder,
            name=folder_name(folder),
            features=choose_stem(str(folder), "features", features, held.features, xlsa17.FEATURES),
            semantics=choose_stem(str(folder), "semantics", semantics, held.semantics, xlsa17.SEMANTICS),
            origin="own",
        )
    if (added_set := added.find_added(text)) is not None:
        return added_set.load(features=features, semantics=semantics)
    source, name = load_source(text)
    dataset = source.load(features=features, semantics=semantics, root=root)
    if not isinstance(dataset, Dataset):
        raise BadData(f"data set {name!r}: load returned {type(dataset).__name__}; it must return a Dataset.")
    return dataclasses.replace(dataset, name=source.text(name))


def is_named(text: str) -> bool:
    """Return whether a text from a record names a registered or added data set, and not a folder or a class.

    >>> is_named("digits"), is_named("synthetic[classes=30]"), is_named("runs.payload:Data"), is_named("..")
    (True, True, False, False)
    """
    name = text.partition("[")[0]
    return name in DATASETS.entries or added.find_added(name) is not None


def load_source(text: str) -> tuple[Source, str]:
    """Return the source that a name with parameters stands for, and its registered name.

    Raises:
        UnknownName, BadSpec, BadValue: see `load_dataset`.
        Unavailable: a plugin that cannot be imported.
    """
    parsed = spec.parse(text)
    refuse_awa(parsed.name)
    if added.find_added(parsed.name) is not None:
        raise BadSpec(f"cannot read {text!r}: added data sets have no parameters or presets; write {parsed.name!r}.")
    try:
        entry = DATASETS.entry(parsed.name)
    except UnknownName as error:
        raise UnknownName("dataset", parsed.name, [*DATASETS.entries, *added.names()]) from error
    if parsed.presets:
        raise BadSpec(f"cannot read {text!r}: data sets have no presets; write name or name[key=value,…].")
    source = entry.load()
    if not issubclass(source, Source):
        raise BadValue(f"{entry.target} is not a data set; a data set is a class derived from zslbench.data.Source.")
    return source(**params.resolve(source, entry.name, parsed.params)), entry.name


def folder_of(text: str) -> Path | None:
    """Return the folder that a text names, or None if it is a name; DataMissing if it is a path of no folder."""
    parsed_name = text.partition("[")[0].partition("@")[0].strip()
    if parsed_name.lower() in DATASETS.entries or added.find_added(parsed_name) is not None:
        return None
    path = expand_home(text)
    if path.is_dir():
        return path
    if "/" in parsed_name or "\\" in parsed_name or parsed_name in (".", "..", "~"):
        problem = "is a file" if path.is_file() else "does not exist"
        raise DataMissing(
            f"{text!r} {problem}; name a folder that holds <features>.mat and <semantics>_splits.mat, "
            "or one of the data sets of `zslbench list datasets`."
        )
    return None


def locate(text: str, dataset: Dataset, root: Path | None = None) -> tuple[str, str]:
    """Return where a loaded data set was read from, as two absolute paths, either of which may be an empty text.

    The first is the folder of a user's own data set. The second is what ``--data-root`` names, or ``ZSLBENCH_DATA`` if
    the data set lies there. Built-in and installed data sets have neither: they are found by name.
    """
    if dataset.origin == "own":
        folder = folder_of(text)
        return ("" if folder is None else _absolute(folder)), ""
    if dataset.origin != "catalogue":
        return "", ""
    if root is None and (given := os.environ.get("ZSLBENCH_DATA")):
        titles = [source.card.folder for source in CATALOGUE if source.name == dataset.name]
        root = Path(given) if any(named_folders(title, Path(given)) for title in titles) else None
    return "", "" if root is None else _absolute(root)


def _absolute(path: Path) -> str:
    return os.path.abspath(expand_home(path))  # noqa: PTH100  (links stay as they were written)


def file_stamps(text: str, root: Path | None = None) -> tuple[tuple[str | int, ...], ...]:
    """Return path, size and time of change of each file of a data set; empty for a set without files."""
    if (folder := folder_of(text)) is not None:
        paths = sorted(folder.iterdir())
    elif (added_set := added.find_added(text)) is not None:
        paths = [added_set.folder / added.ABOUT]
    else:
        name = text.partition("[")[0].strip().lower()
        titles = [source.card.folder for source in CATALOGUE if source.name == name]
        folders = [folder for title in titles for folder in named_folders(title, root)]
        paths = [path for folder in folders for path in sorted(folder.iterdir())]
    files = (path for path in paths if path.suffix in (".mat", ".txt", ".json") and path.is_file())
    return tuple(map(tuple, file_states(files)))
