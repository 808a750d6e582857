"""Where zslbench keeps what it installs and converts, and where it looks for data.

Of the folders in `home`, ``xlsa17`` holds what was fetched or imported, ``added`` what `data add` made, ``downloads``
archives while they are fetched, ``store`` converted, memory-mapped data, and ``features`` batches of pictures.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import platformdirs

from zslbench.errors import BadValue, DataMissing
from zslbench.files import remove_working_folders
from zslbench.identity import expand_home


def home() -> Path:
    """Return the folder of everything zslbench keeps: ``ZSLBENCH_HOME``, else the user's data folder."""
    given = os.environ.get("ZSLBENCH_HOME")
    if not given:
        return Path(platformdirs.user_data_dir("zslbench"))
    place = expand_home(given)
    if str(place).startswith("~"):
        raise BadValue(f"ZSLBENCH_HOME is {given!r}, and that user has no home on this machine; set it to a folder.")
    return place.absolute()


def sweep_home() -> None:
    """Remove what killed processes left among installed, added, downloaded and converted data."""
    with contextlib.suppress(BadValue):  # a home that cannot be is told by whoever needs it
        for folder in ("xlsa17", "added", "downloads", "store/content", "store/index"):
            remove_working_folders(home() / folder)


def data_root(root: Path | None = None) -> list[Path]:
    """Return the folders to look for xlsa17 data set folders in, first choice first.

    An explicit `root` is the only one; otherwise ``ZSLBENCH_DATA`` where it is set, then what was installed. A root
    that holds a folder named ``xlsa17``, as the official archive does, stands for that folder too.

    Raises:
        DataMissing: an explicit root or ``ZSLBENCH_DATA`` that is not a folder.
    """
    given = [(root, "--data-root")] if root is not None else []
    if root is None and (variable := os.environ.get("ZSLBENCH_DATA")):
        given.append((Path(variable), "ZSLBENCH_DATA"))
    roots: list[Path] = []
    for folder, where in given:
        place = expand_home(folder).absolute()
        if not place.is_dir():
            raise DataMissing(
                f"{where} names {str(folder)!r}, which is not a folder; name the folder that holds CUB, SUN, …"
            )
        roots.append(place)
        if (place / "xlsa17").is_dir():
            roots.append(place / "xlsa17")
    if root is None:
        roots.append(home() / "xlsa17")
    return roots
