"""Data sets that ``data add`` installed: where their arrays are, and how they are loaded, listed, checked and removed.

Layout, under ``ZSLBENCH_HOME/added/<name>``::

    about.json                    names, choices, fingerprints, the source files' sha256, and how the split was made
    labels.npy, trainval.npy, test_seen.npy, test_unseen.npy, fold1_train.npy, fold1_val.npy …
    features-<stem>.npy           one per choice of features, memory-mapped on load
    semantics-<stem>.npy          one per choice of semantics; original-<stem>.npy if they were scaled from others

Every file is complete before ``about.json`` names it: if the process is killed, the earlier state is still valid.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zslbench.arrays import AnyArray
from zslbench.data.array_store import home, save_array, write_home
from zslbench.data.dataset import PARTS, Counts, Dataset, choose_stem
from zslbench.documents import convert
from zslbench.errors import BadData, BadValue, DataMissing, StoreError
from zslbench.files import working_folder, write_through
from zslbench.params import format_value

ABOUT = "about.json"
SCHEMA = 1
_NAME = re.compile(r"[a-z0-9]([a-z0-9._+-]{0,62}[a-z0-9])?")
_STEM = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._+-]{0,62}[A-Za-z0-9])?")


@dataclasses.dataclass(frozen=True)
class Added:
    """The content of ``about.json``: what is known of an added data set.

    Attributes:
        features, semantics: facts on the source of each (``source``, ``sha256``, ``shape`` …) by stem, the usual first.
        fingerprints: of each choice, by ``features/semantics``.
        counts: as of any data set; attributes are those of the usual semantics.
        split: how the split was made; empty if it was given.
        folds: how many class folds it has.
        first_class: the number of the first class in its labels, 0 or 1.
        facts: on the source of labels, classes and split.
    """

    name: str
    class_names: tuple[str, ...]
    features: Mapping[str, Mapping[str, Any]]
    semantics: Mapping[str, Mapping[str, Any]]
    fingerprints: Mapping[str, str]
    counts: Counts
    split: str = ""
    folds: int = 0
    first_class: int = 0
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The folder of the data set."""
        return home() / "added" / self.name

    @property
    def summary(self) -> str:
        """A description in one line."""
        counts = self.counts
        shape = next(iter(self.features.values())).get("shape", [])
        features = f"{shape[1]}-d features, " if len(shape) == 2 and shape[0] == counts.images else ""
        return (
            f"{counts.images:,} images of {counts.seen} seen and {counts.unseen} unseen classes, {features}"
            f"{counts.attributes}-d semantics, {self.split or 'its own split'}. Added by `zslbench data add`."
        )

    def describe_sources(self) -> dict[str, str]:
        """Return what each input was made from, by role: file, shape, sha256, and what the file says of itself."""
        files = {f"features {stem}": file for stem, file in self.features.items()}
        files |= {f"semantics {stem}": file for stem, file in self.semantics.items()}
        for role, file in self.facts.items():
            if file.get("source"):
                files["split from" if role == "split" else role] = file
        sources = {}
        for role, file in files.items():
            key = f":{file['key']}" if file.get("key") else ""
            shape = " × ".join(map(str, file.get("shape", [])))
            checksum = f"sha256 {file['sha256']}" if file.get("sha256") else ""
            made = describe_making(file.get("about", {}))
            sources[role] = ", ".join(filter(None, [f"{file.get('source', '')}{key}", shape, checksum, made]))
        return sources

    def load(self, *, features: str | None = None, semantics: str | None = None, verify: bool = False) -> Dataset:
        """Return one choice of features (memory-mapped) and semantics, by stem; None: the ones that were added first.

        With `verify`, the fingerprint is computed anew.

        Raises:
            DataMissing: there is no such choice.
            BadData: a file is damaged, or its content is not what was added.
        """
        stems = []
        for option, given, held in (("features", features, self.features), ("semantics", semantics, self.semantics)):
            advice = f"add it with `zslbench data add {self.name} --{option} {given}=FILE`"
            stems.append(choose_stem(f"data set {self.name!r}", option, given, list(held), next(iter(held)), advice))
        files = {"features": f"features-{stems[0]}", "semantics": f"semantics-{stems[1]}"}
        if self.semantics[stems[1]].get("scaled_from_original"):
            files["original"] = f"original-{stems[1]}"
        sides = [f"fold{number}_{side}" for number in range(1, self.folds + 1) for side in ("train", "val")]
        files |= {key: key for key in ("labels", *PARTS, *sides)}
        arrays: dict[str, AnyArray] = {}
        for key, file in files.items():
            path = self.folder / f"{file}.npy"
            try:
                if not path.is_file():  # reading a pipe would wait
                    raise FileNotFoundError(path)
                arrays[key] = np.load(path, mmap_mode="r" if key == "features" else None, allow_pickle=False)
            except (OSError, ValueError, EOFError) as error:
                raise BadData(
                    f"data set {self.name!r}: {path} is missing or damaged; remove the data set with "
                    f"`zslbench data remove {self.name} --yes` and add it again."
                ) from error
        expected = self.fingerprints.get("/".join(stems), "")
        dataset = Dataset.of_arrays(
            arrays,
            name=self.name,
            features_name=stems[0],
            semantics_name=stems[1],
            class_names=self.class_names,
            origin="added",
            split=self.split,
            first_class=self.first_class,
            fingerprint="" if verify else expected,
        )
        if dataset.fingerprint != expected:
            raise dataset.bad(
                f"the files in {self.folder} have fingerprint {dataset.fingerprint}, but {expected} was added; "
                f"remove the data set and add it again."
            )
        return dataset


def describe_making(about: Mapping[str, Any]) -> str:
    """Return what a file says of how it was made: backbone, weights, preprocessing, encoder."""
    return ", ".join(f"{name} {format_value(value)}" for name, value in about.items())


def find_added(name: str) -> Added | None:
    """Return the added data set of a name, in upper or lower case, or None; BadData if ``about.json`` is damaged."""
    folder = home() / "added" / name.lower()
    if not _NAME.fullmatch(name.lower()) or not (folder / ABOUT).is_file():
        return None
    try:
        document = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        return convert(document | {"name": folder.name}, Added)
    except (OSError, ValueError, TypeError) as error:
        raise BadData(
            f"{folder / ABOUT} is damaged; remove the data set with `zslbench data remove {name} --yes` and add it "
            "again."
        ) from error


def names() -> list[str]:
    """Return the names of the added data sets, sorted."""
    try:
        return sorted(folder.name for folder in (home() / "added").iterdir() if (folder / ABOUT).is_file())
    except OSError:
        return []


def check_name(name: str, taken: Iterable[str]) -> str:
    """Return a name in lower case; BadValue if it is taken, or cannot be a file name or part of a spec."""
    lower = name.lower()
    if not _NAME.fullmatch(lower) or lower in ("all", "awa"):
        raise BadValue(
            f"{name!r} cannot be the name of a data set; use up to 64 letters and digits, with . _ + - between them "
            "(all and awa are not allowed)."
        )
    if lower in {name.lower() for name in taken}:
        raise BadValue(f"{name!r} is the name of something built in; choose another, such as my-{lower}.")
    return lower


def check_stem(stem: str, option: str, typed: str = "") -> str:
    """Return the stem of features or semantics; BadValue if it cannot be a file name or is a join (``att+clip``).

    `typed`: how it is given, if not as ``--features NAME=FILE`` and the like.
    """
    joins, typed = option == "semantics", typed or f"--{option} NAME=FILE"
    if not _STEM.fullmatch(stem) or (joins and "+" in stem):
        raise BadValue(
            f"{stem!r} cannot be the name of {option}; write {typed}, the name of letters, digits, and "
            f"{'. _ - between them (+ joins two semantics)' if joins else '. _ + - between them'}."
        )
    return stem


def write_added(added: Added, arrays: Mapping[str, AnyArray]) -> None:
    """Write arrays by file stem, then ``about.json``; an existing data set is extended.

    If an earlier removal of the data set was interrupted, its remains are deleted first.

    Raises:
        StoreError: it cannot be written; nothing that existed is lost.
    """
    root = home() / "added"
    with write_home(f"write the data set under {root}"), working_folder(root, ".adding-") as work:
        for key, array in arrays.items():
            save_array(work / f"{key}.npy", array)
        about = json.dumps({"schema": SCHEMA, **dataclasses.asdict(added)}, indent=1).encode()
        write_through(work / ABOUT, lambda file: file.write(about))
        if (added.folder / ABOUT).is_file():
            for file in (*(f"{key}.npy" for key in arrays), ABOUT):
                (work / file).replace(added.folder / file)
        else:
            shutil.rmtree(added.folder, ignore_errors=True)
            work.replace(added.folder)


def remove(name: str) -> Path:
    """Remove an added data set and return its former folder; records of runs on it stay.

    Raises:
        DataMissing: there is none of this name.
        StoreError: it cannot be removed.
    """
    folder = home() / "added" / name.lower()
    if not _NAME.fullmatch(name.lower()) or not folder.is_dir():
        listed = ", ".join(names()) or "none"
        raise DataMissing(f"no data set {name!r} was added; the added ones are: {listed}.")
    try:
        (folder / ABOUT).unlink(missing_ok=True)  # from here on it is no longer a data set
        shutil.rmtree(folder)
    except OSError as error:
        raise StoreError(f"{folder} cannot be removed ({error.strerror or error}); check its permissions.") from error
    return folder
