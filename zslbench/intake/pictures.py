"""Pictures in a folder of class folders: which there are, and one at a time as RGB."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any

from zslbench.errors import BadData, DataMissing, Unavailable
from zslbench.identity import expanded

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Files in the order of their classes and names, the class id of each, and the classes' names."""

    folder: Path
    files: tuple[Path, ...]
    labels: tuple[int, ...]
    class_names: tuple[str, ...]


def pictures_in(folder: Path) -> Pictures:
    """Return the pictures of a folder that holds one folder a class; class numbers are sorted as numbers.

    Raises:
        DataMissing: there is no such folder, or no class folder in it.
        BadData: a class folder has no picture.
    """
    folder = expanded(folder).absolute()
    try:
        classes = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    except OSError as error:
        raise DataMissing(
            f"{folder} is not a folder that can be read; name one that holds a folder a class."
        ) from error
    if not classes:
        raise DataMissing(f"{folder} holds no folders; pictures must lie in one folder a class.")
    numbered = all(path.name.isdecimal() for path in classes)
    classes.sort(key=lambda path: (int(path.name) if numbered else 0, path.name))
    files, labels = [], []
    for number, one in enumerate(classes):
        held = sorted(path for path in one.iterdir() if path.suffix.lower() in SUFFIXES and path.name[0] != ".")
        if not held:
            raise BadData(f"{one} holds no picture ({', '.join(SUFFIXES)}); remove the folder, or add some.")
        files += held
        labels += [number] * len(held)
    return Pictures(folder, tuple(files), tuple(labels), tuple(path.name for path in classes))


def opened(path: Path) -> Any:
    """Return a picture as a Pillow image in RGB, whole.

    Raises:
        BadData: it is damaged, no picture, or larger than any picture should be.
        Unavailable: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise Unavailable("pictures are read by Pillow; install it with `pip install 'zslbench[features]'`.") from error
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return image.convert("RGB")
    except Exception as error:  # decoders raise some ten kinds for a broken picture
        why = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:200]
        raise BadData(f"{path} cannot be read as a picture ({why}).") from error
