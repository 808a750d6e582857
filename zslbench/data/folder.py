"""The layout of an xlsa17-like folder: which files it has and what they are called. Opens none of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from zslbench.errors import BadValue

FOLDS = (1, 2, 3)
SPLITS = "_splits"


@dataclasses.dataclass(frozen=True)
class Stems:
    """The features (``res101``) and semantics (``att``) that a folder has, sorted."""

    features: tuple[str, ...]
    semantics: tuple[str, ...]


def stems(folder: Path) -> Stems:
    """Return the features and semantics that a folder offers, from its file names alone."""
    try:
        names = sorted(path.stem for path in folder.glob("*.mat") if path.is_file() and not path.name.startswith("."))
    except OSError:
        names = []
    return Stems(
        features=tuple(name for name in names if not name.endswith(SPLITS)),
        semantics=tuple(name.removesuffix(SPLITS) for name in names if name.endswith(SPLITS)),
    )


def features_file(folder: Path, stem: str) -> Path:
    """Return the path of a features file: ``<stem>.mat``."""
    return folder / f"{_plain(stem, '--features')}.mat"


def semantics_file(folder: Path, stem: str) -> Path:
    """Return the path of a semantics file: ``<stem>_splits.mat``."""
    return folder / f"{_plain(stem, '--semantics')}{SPLITS}.mat"


def fold_files(folder: Path) -> list[tuple[Path, Path]]:
    """Return the (training, validation) class lists of the folds of which at least one list exists."""
    pairs = [(folder / f"trainclasses{k}.txt", folder / f"valclasses{k}.txt") for k in FOLDS]
    return [pair for pair in pairs if pair[0].is_file() or pair[1].is_file()]


def names_file(folder: Path) -> Path:
    """Return the path of the list of all class names, which a folder may lack."""
    return folder / "allclasses.txt"


def class_lists(folder: Path) -> tuple[Path, Path]:
    """Return the paths of the lists of seen and of unseen classes, which a folder may lack."""
    return folder / "trainvalclasses.txt", folder / "testclasses.txt"


def source_files(folder: Path, features: str, semantics: str) -> list[Path]:
    """Return every existing file that reading a folder depends on."""
    named = [features_file(folder, features), semantics_file(folder, semantics), names_file(folder)]
    lists = [path for pair in fold_files(folder) for path in pair]
    return [path for path in [*named, *lists] if path.is_file()]


def _plain(stem: str, option: str) -> str:
    if not stem or stem in (".", "..") or "/" in stem or "\\" in stem or "\0" in stem:
        raise BadValue(f"{option} {stem!r} is not a file stem; write, for example, res101 for res101.mat.")
    return stem
