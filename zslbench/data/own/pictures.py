"""Pictures in a folder of class folders: which there are, and one at a time as RGB."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any

from zslbench.errors import BadData, DataMissing, Unavailable, first_line
from zslbench.identity import expanded

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP")
"""What is decoded, judged by content whatever the name; Pillow hands others, such as EPS, to programs."""
MAX_PIXELS = 100_000_000
MAX_ASPECT = 100
"""How often the longer side may hold the shorter one: networks scale the shorter one to some 256 pixels."""


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
        held = {path: sorted(one for one in path.iterdir() if _is_named_picture(one)) for path in classes}
    except OSError as error:
        raise DataMissing(
            f"{error.filename or folder} is not a folder that can be read; name one that holds a folder a class."
        ) from error
    if not classes:
        raise DataMissing(f"{folder} holds no folders; pictures must lie in one folder a class.")
    numbered = all(path.name.isdecimal() for path in classes)
    classes.sort(key=lambda path: (int(path.name) if numbered else 0, path.name))
    files, labels = [], []
    for number, one in enumerate(classes):
        if not held[one]:
            raise BadData(f"{one} holds no picture ({', '.join(SUFFIXES)}); remove the folder, or add some.")
        files += held[one]
        labels += [number] * len(held[one])
    return Pictures(folder, tuple(files), tuple(labels), tuple(path.name for path in classes))


def _is_named_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def opened(path: Path) -> Any:
    """Return a picture as a Pillow image in RGB, whole.

    Formats are told by content and are those of `FORMATS`. The size is judged before a pixel is decoded.

    Raises:
        BadData: it is damaged, no picture or no regular file, or of a size that no picture should have.
        Unavailable: Pillow is not installed.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise Unavailable("pictures are read by Pillow; install it with `pip install 'zslbench[features]'`.") from error
    if not path.is_file():  # opening a pipe waits for ever, a device may never end
        raise BadData(f"{path} cannot be read as a picture (it is no regular file).")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow's: sizes are judged here
            with Image.open(path, formats=FORMATS) as image:
                _check_size(path, *image.size)
                return image.convert("RGB")
    except BadData:
        raise
    except UnidentifiedImageError as error:
        raise BadData(f"{path} cannot be read as a picture (its content is none of {', '.join(FORMATS)}).") from error
    except Exception as error:  # decoders raise some ten kinds for a broken picture
        why = first_line(error)
        raise BadData(f"{path} cannot be read as a picture ({why}).") from error


def _check_size(path: Path, width: int, height: int) -> None:
    size = f"{path} is {width:,} × {height:,} pixels"
    if width * height > MAX_PIXELS:
        raise BadData(f"{size}, and {MAX_PIXELS:,} are allowed; scale it down.")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise BadData(f"{size}; one side may be {MAX_ASPECT} times the other at most, crop it.")
