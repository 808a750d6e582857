"""Pictures in order: that of folders and names, of a features file of xlsa17, or of the lists in authors' archives.

A split names images by number, so features only fit it if their rows are in the order of ``res101.mat``. Its
``image_files`` are matched to the pictures by the end of their paths. Without it, `LAYOUTS` give the order of the
official lists. Its classes are in the order of xlsa17: the places of unseen images in ``att_splits.mat`` show it.
Whether the images of each class are, too, is not known.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from zslbench.arrays import AnyArray, IntArray
from zslbench.data import xlsa17
from zslbench.data.dataset import numbered_names
from zslbench.data.imagenet import plain_words
from zslbench.data.own.matrices import check_class_names
from zslbench.data.parsers import read_variables
from zslbench.errors import BadData, DataMissing, UnknownName
from zslbench.identity import expand_home
from zslbench.visible import format_count, list_names

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
PictureList = tuple[Sequence[str], Sequence[str]]
"""Paths of pictures as a list writes them, and the class name of each."""


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Files in the order of their rows, the class id of each, and the classes' names.

    Attributes:
        order: which order it is.
        left_out: a sentence on what else is in the folder; empty if nothing is.
    """

    folder: Path
    files: tuple[Path, ...]
    labels: tuple[int, ...]
    class_names: tuple[str, ...]
    order: str = "folders and names"
    left_out: str = ""


def find_pictures(folder: Path) -> Pictures:
    """Return the pictures of a folder with one folder per class; class folders named by numbers are sorted as numbers.

    Raises:
        DataMissing: there is no such folder, or no class folder in it.
        BadData: a class folder has no picture, or a name that no class can have.
    """
    folder = expand_home(folder).absolute()
    try:
        entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        classes = [path for path in entries if path.is_dir()]
        files = {path: sorted(path.glob("[!.]*")) for path in classes}
    except OSError as error:
        raise DataMissing(
            f"{error.filename or folder} is not a folder that can be read; name one that holds a folder per class."
        ) from error
    if not classes:
        raise DataMissing(f"{folder} holds no folders; pictures must be in one folder per class.")
    numbered = all(path.name.isdecimal() for path in classes)
    classes.sort(key=lambda path: (int(path.name) if numbered else 0, path.name))
    names = check_class_names([path.name for path in classes], str(folder))
    pictures, labels = [], []
    others = [path for path in entries if path not in files and path.suffix.lower() in SUFFIXES]
    for number, path in enumerate(classes):
        held = [file for file in files[path] if file.suffix.lower() in SUFFIXES]
        others += [file for file in files[path] if file.suffix.lower() not in SUFFIXES]
        if not held:
            raise BadData(f"{path} holds no picture ({', '.join(SUFFIXES)}); remove the folder, or add some.")
        pictures += held
        labels += [number] * len(held)
    listed = list_names([path.relative_to(folder).as_posix() for path in others], 3)
    left_out = f"{len(others):,} of what {folder} holds: {listed}; {', '.join(SUFFIXES)} in a folder per class are read"
    return Pictures(folder, tuple(pictures), tuple(labels), names, left_out=left_out if others else "")


@dataclasses.dataclass(frozen=True)
class Layout:
    """The folder of pictures in an archive of the authors, its list of pictures, and how the list is read."""

    images: str
    listing: str
    read: Callable[[Path], PictureList]


def order_pictures(folder: Path, layout: str | None, order: Path | None) -> Pictures:
    """Return the pictures of a folder in a given order, with the class ids of xlsa17 if `order` tells them.

    Args:
        folder: that of an archive (``CUB_200_2011``), or any that holds the pictures.
        layout: one of `LAYOUTS`, whose list gives the order if `order` does not.
        order: ``res101.mat`` or another features file with ``image_files`` and ``labels``; or ``att_splits.mat``, which
            gives the numbers of the classes to the list of a layout.

    Raises:
        UnknownName: no such layout. DataMissing: a file, or a picture that is listed, is missing.
        BadData: a file is damaged, or a listed path fits several pictures.
    """
    folder = expand_home(folder).absolute()
    if layout is not None and layout not in LAYOUTS:
        raise UnknownName("layout", layout, LAYOUTS)
    root = folder / LAYOUTS[layout].images if layout is not None else folder
    root = root if root.is_dir() else folder
    if not root.is_dir():
        raise DataMissing(f"{folder} is not a folder; name the one that holds the pictures.")
    held = {} if order is None else read_variables(order, (), ("image_files", "labels"))
    if order is not None and "image_files" in held:
        if "labels" not in held or held["labels"].size != held["image_files"].size:
            raise BadData(
                f"{order} has image_files, but not a label for each; give a features file such as res101.mat."
            )
        paths: Sequence[str] = [str(path) for path in held["image_files"].ravel()]
        labels = _read_labels(order, held["labels"].ravel())
        names = _name_classes(order, int(labels.max()) + 1)
        if len(names) != labels.max() + 1:
            raise BadData(
                f"{order} has images of {labels.max() + 1} classes, but the semantics beside it have {len(names)}; "
                "give the files of one data set."
            )
        source = order.name
    elif layout is not None:
        listing = folder / LAYOUTS[layout].listing
        if not listing.is_file():
            raise DataMissing(f"{listing} does not exist; give the order with --order res101.mat.")
        paths, of_each = LAYOUTS[layout].read(listing)
        known = sorted(set(of_each), key=_as_listed) if order is None else _name_classes(order, 0)
        labels, names = _number_classes(of_each, known, order), tuple(known)
        source = listing.name
    else:
        raise BadData(f"{order} has no image_files; give a features file such as res101.mat, or --layout as well.")
    files, left_out = _match_files(paths, root, source)
    return Pictures(root, tuple(files), tuple(labels.tolist()), names, source, left_out)


def _read_labels(order: Path, given: AnyArray) -> IntArray:
    """Return 0-based class ids from labels of a features file; each class must have an image."""
    held = np.unique(given) if given.dtype.kind in "iuf" else np.empty(0)
    wrong = np.flatnonzero(held != np.arange(1, held.size + 1))
    if wrong.size or not held.size:
        why = f"number {wrong[0] + 1} of them is {held[wrong[0]]:g}" if wrong.size else "there are no numbers"
        raise BadData(
            f"{order}: the different labels in order must be 1, 2, 3 …, a class with an image each, but {why}; give a "
            "features file such as res101.mat."
        )
    return given.astype(np.int64) - 1


def _match_files(paths: Sequence[str], root: Path, source: str) -> tuple[list[Path], str]:
    """Return the picture of each path: of those of its file name the one that most folders above it agree with.

    The second is a sentence on pictures that are not listed; empty if all are.

    In folders per class the folder has to agree, since pictures of several classes may have one file name.
    """
    by_name = collections.defaultdict(list)
    for place, _, names in os.walk(root):
        for name in names:
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                by_name[name.lower()].append(Path(place, name))
    matched, missing = [], []
    for path in paths:
        parts = PurePosixPath(path.replace("\\", "/")).parts
        named = by_name.get(parts[-1].lower() if parts else "", [])
        candidates = [file for file in named if file.parent == root or _count_common(parts, file.parts) > 1]
        agreed = [_count_common(parts, candidate.parts) for candidate in candidates]
        best = [candidate for candidate, count in zip(candidates, agreed, strict=True) if count == max(agreed)]
        if len(best) > 1:
            raise BadData(f"{source} lists {path!r}, which may be {best[0]} or {best[1]}; leave one of them in {root}.")
        matched += best
        missing += [] if best else [path]
    if repeated := [path for path, times in collections.Counter(matched).items() if times > 1]:
        raise BadData(f"{source} lists {repeated[0]} more than once; give the list of {root}.")
    if missing:
        raise DataMissing(
            f"{format_count(len(missing), 'picture')} of {len(paths):,} in {source} not found under {root}: "
            f"{list_names(missing, 2)}; name the folder of all pictures with --images."
        )
    others = sorted(set(itertools.chain(*by_name.values())).difference(matched))
    listed = list_names([path.relative_to(root).as_posix() for path in others], 3)
    left_out = f"{format_count(len(others), 'picture')} of {root} that {source} does not list: {listed}"
    return matched, left_out if others else ""


def _count_common(path: Sequence[str], other: Sequence[str]) -> int:
    pairs = zip(reversed(path), reversed(other), strict=False)
    return next((at for at, (one, two) in enumerate(pairs) if one.lower() != two.lower()), min(len(path), len(other)))


def _name_classes(order: Path, count: int) -> tuple[str, ...]:
    """Return the class names beside a features file, or of ``att_splits.mat`` itself, or else their numbers."""
    split = order if order.stem.endswith("_splits") else xlsa17.semantics_file(order.parent, xlsa17.SEMANTICS)
    held = read_variables(split, ("att",), ("allclasses_names",)) if split.is_file() else {}
    count = held["att"].shape[1] if held else count
    names = xlsa17.class_names(order.parent, held.get("allclasses_names"), split, count)
    return names or numbered_names(xlsa17.FIRST_CLASS, count)


def _number_classes(of_each: Sequence[str], names: Sequence[str], order: Path | None) -> IntArray:
    numbers = {plain_words(name): at for at, name in enumerate(names)}
    if strange := sorted({name for name in of_each if plain_words(name) not in numbers}):
        raise BadData(
            f"{order} does not name {list_names([repr(name) for name in strange], 3)}; is it of another data set?"
        )
    return np.array([numbers[plain_words(name)] for name in of_each], dtype=np.int64)


def _as_listed(name: str) -> tuple[int, str]:
    """Return the key that sorts ``class 2`` before ``class 10``, and other names by letters."""
    number = name.removeprefix("class ")
    return (int(number) if number.isdecimal() else 0, name)


def _read_lines(path: Path) -> list[str]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise BadData(f"{path} cannot be read as a list of pictures ({error}).") from error
    if not lines:
        raise BadData(f"{path} lists no pictures; get the file again.")
    return lines


def _read_cub(path: Path) -> PictureList:
    """``images.txt``: a number and ``001.Black_footed_Albatross/NAME.jpg`` per line."""
    paths = [line.split(maxsplit=1)[-1] for line in _read_lines(path)]
    return paths, [PurePosixPath(each).parent.name for each in paths]


def _read_awa2(path: Path) -> PictureList:
    """``classes.txt``: a number and a class per line; pictures lie in a folder per class, taken in sorted order."""
    paths, of_each = [], []
    for name in sorted(line.split(maxsplit=1)[-1] for line in _read_lines(path)):
        held = [
            file.name for file in (path.parent / "JPEGImages" / name).glob("[!.]*") if file.suffix.lower() in SUFFIXES
        ]
        paths += [f"{name}/{file}" for file in sorted(held)]
        of_each += [name] * len(held)
    if not paths:
        raise DataMissing(f"{path.parent / 'JPEGImages'} has no folder of a class of {path.name}; unpack the pictures.")
    return paths, of_each


def _read_sun(path: Path) -> PictureList:
    """``images.mat`` of the attribute database: ``a/arena/hockey/NAME.jpg``, of class ``arena_hockey``."""
    paths = [str(each) for each in read_variables(path, ("images",))["images"].ravel()]
    return paths, ["_".join(PurePosixPath(each).parts[1:-1]) for each in paths]


def _read_flo(path: Path) -> PictureList:
    """``setid.mat``: numbers of pictures for training, validation and test; ``imagelabels.mat``: the class of each."""
    parts = read_variables(path, ("trnid", "valid", "tstid"))
    numbers = np.concatenate([parts[part].ravel().astype(np.int64) for part in ("trnid", "valid", "tstid")])
    labels = read_variables(path.parent / "imagelabels.mat", ("labels",))["labels"].ravel().astype(np.int64)
    if numbers.min() < 1 or numbers.max() > len(labels):
        raise BadData(f"{path} goes up to picture {numbers.max()}, but imagelabels.mat has {len(labels)} labels.")
    return [f"image_{number:05d}.jpg" for number in numbers], [f"class {labels[number - 1]}" for number in numbers]


LAYOUTS: Mapping[str, Layout] = {
    "cub": Layout("images", "images.txt", _read_cub),
    "awa2": Layout("JPEGImages", "classes.txt", _read_awa2),
    "sun": Layout("images", "images.mat", _read_sun),
    "flo": Layout("jpg", "setid.mat", _read_flo),
}
