"""`home`, the folder of everything that zslbench keeps, and the store of converted data in it.

In `home`, ``xlsa17`` holds what was fetched or imported, ``added`` what ``data add`` made, ``downloads`` archives while
they are fetched, ``store`` converted data, and ``features`` batches of pictures. A file is parsed once; its arrays are
then memory-mapped from the store. Layout of the store::

    index/<source>.json          which content a source (folder, features, semantics) has, and the state of its files
    content/<fingerprint>/*.npy  the arrays of `Dataset.arrays`, and sizes.json

A source is converted again if its files have changed (path, size, time of change) or an older reader read it. If the
store cannot be written, the data set is read from its own files, which is only slower. Runs read their data from the
store, array by array: a worker opens features and semantics, and no labels.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import functools
import json
import os
import shutil
import tempfile
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from zslbench.arrays import AnyArray
from zslbench.data.dataset import Dataset, Origin, numbered_names
from zslbench.data.xlsa17 import FIRST_CLASS, READER_VERSION, read_folder, source_files
from zslbench.documents import convert
from zslbench.errors import BadValue, StoreError
from zslbench.files import working_folder, write_through
from zslbench.identity import digest, expand_home, fingerprint

_SIZES = "sizes.json"


def home() -> Path:
    """Return the folder of everything that zslbench keeps: ``ZSLBENCH_HOME``, or the user's data folder."""
    given = os.environ.get("ZSLBENCH_HOME")
    if not given:
        return Path(platformdirs.user_data_dir("zslbench"))
    place = expand_home(given)
    if str(place).startswith("~"):
        raise BadValue(f"ZSLBENCH_HOME is {given!r}, and that user has no home on this machine; set it to a folder.")
    return place.absolute()


@contextlib.contextmanager
def write_home(action: str) -> Iterator[None]:
    """Turn an OSError in this block into a StoreError that says "cannot <action>"."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"cannot {action} ({error.strerror or error}); free some space, or set ZSLBENCH_HOME to a folder that can "
            "be "
            "written."
        ) from error


@dataclasses.dataclass(frozen=True)
class Stored:
    """An index entry: a source, the content that it was converted to, and the state of its files at that time."""

    folder: str
    features: str
    semantics: str
    fingerprint: str
    class_names: tuple[str, ...]
    state: Any


def load_stored(folder: Path, *, name: str, features: str, semantics: str, origin: Origin = "own") -> Dataset:
    """Return what `read_folder` returns, memory-mapped if the folder was converted before."""
    folder = folder.resolve()
    path = home() / "store" / "index" / f"{digest([str(folder), features, semantics])}.json"

    def load_copy() -> Dataset | None:
        entry = _read_entry(path)
        if entry is None or entry.state != _state(folder, features, semantics):
            return None
        content = _content(entry.fingerprint)
        if not is_intact(content):
            return None
        try:
            return load_arrays(content, class_names=entry.class_names, **facts)
        except (OSError, ValueError):
            return None

    facts: Any = {"name": name, "features": features, "semantics": semantics, "origin": origin}
    if (dataset := load_copy()) is not None:
        return dataset
    state = _state(folder, features, semantics)
    dataset = read_folder(folder, **facts)
    if _keep(dataset) is None:
        return dataset
    entry = Stored(str(folder), features, semantics, dataset.fingerprint, dataset.class_names, state)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with working_folder(path.parent, ".writing-") as work:
            (work / path.name).write_text(json.dumps(dataclasses.asdict(entry)), encoding="utf-8")
            (work / path.name).replace(path)
    except OSError:
        return dataset
    return load_copy() or dataset


def verify_copies(folder: Path) -> list[str]:
    """Hash the converted copies of a folder again; return one sentence per damaged copy, and remove these copies."""
    problems = []
    for path in sorted((home() / "store" / "index").glob("*.json")):
        entry = _read_entry(path)
        if entry is None or entry.folder != str(folder.resolve()):
            continue
        content, problem = _content(entry.fingerprint), "is incomplete; the next load rebuilds it"
        if is_intact(content):
            try:
                if (actual := fingerprint(_arrays(content))) == entry.fingerprint:
                    continue
                problem = f"has fingerprint {actual}, but {entry.fingerprint} is expected"
            except (OSError, ValueError) as error:
                problem = f"cannot be read ({error})"
        problems.append(f"{folder} ({entry.features}, {entry.semantics}): the converted copy {problem}.")
        try:
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(content)
        except OSError as error:
            raise StoreError(f"{content} cannot be removed ({error}).") from error
    return problems


def store_arrays(dataset: Dataset) -> Path:
    """Return the folder that holds the arrays of a data set; write them first if no folder has them.

    Raises:
        StoreError: neither the store nor the folder of temporary files can be written.
    """
    if (folder := find_arrays(dataset.fingerprint) or _keep(dataset)) is not None:
        return folder
    content = _content(dataset.fingerprint, _temporary())
    try:
        _write_content(content, dataset)
    except OSError as error:
        raise StoreError(
            f"the arrays of data set {dataset.name!r} can be kept neither in {home()} nor in "
            f"{tempfile.gettempdir()} ({error}); free some space, or set ZSLBENCH_HOME to a folder that can be written."
        ) from error
    return content


def find_arrays(fingerprint: str) -> Path | None:
    """Return the folder that holds the arrays with a fingerprint, or None if this process knows no such folder."""
    stores = [None, *([_temporary()] if _temporary.cache_info().currsize else [])]
    return next(filter(is_intact, (_content(fingerprint, store) for store in stores)), None)


def load_array(folder: Path, name: str) -> AnyArray | None:
    """Return one array of a folder as a read-only memory map, or None if the data set has no such array."""
    path = folder / f"{name}.npy"
    array: AnyArray | None = np.load(path, mmap_mode="r", allow_pickle=False) if path.exists() else None
    return array


def load_arrays(folder: Path, *, features: str, semantics: str, narrow: bool = False, **facts: Any) -> Dataset:
    """Return the data set whose arrays are in a folder; classes are named by numbers if `facts` does not name them.

    `narrow`: with only one column of its features. `facts`: other attributes of `Dataset`.
    """
    arrays = _arrays(folder)
    arrays["features"] = arrays["features"][:, :1] if narrow else arrays["features"]
    facts = {"class_names": numbered_names(FIRST_CLASS, len(arrays["semantics"])), **facts}
    choice = {"features_name": features, "semantics_name": semantics}
    return Dataset.of_arrays(arrays, **choice, **facts, first_class=FIRST_CLASS, fingerprint=folder.name)


@functools.cache
def _temporary() -> Path:
    """Return a folder that exists until this process ends, for parts of a store that cannot be written."""
    folder = Path(tempfile.mkdtemp(prefix="zslbench-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def save_array(path: Path, array: AnyArray) -> None:
    """Write an array to a ``.npy`` file and flush it to the disk; OSError if there is no room."""
    # NumPy gets only `write`: with the file itself it would silently lose a small array on a full disk.
    write_through(path, lambda file: np.save(types.SimpleNamespace(write=file.write), array, allow_pickle=False))


def file_states(paths: Iterable[Path]) -> list[list[str | int]]:
    """Return path, size and modification time of each file; if all of these are unchanged, so is the file."""
    states = [(path, path.stat()) for path in paths]
    return [[str(path.absolute()), state.st_size, state.st_mtime_ns] for path, state in states]


def _content(fingerprint: str, store: Path | None = None) -> Path:
    return (store or home() / "store") / "content" / fingerprint


def _state(folder: Path, features: str, semantics: str) -> Any:
    return [READER_VERSION, file_states(source_files(folder, features, semantics))]


def _read_entry(path: Path) -> Stored | None:
    try:
        return convert(json.loads(path.read_text(encoding="utf-8")), Stored)
    except (OSError, ValueError):  # absent or damaged: convert again
        return None


def is_intact(folder: Path) -> bool:
    """Return whether a folder holds the arrays of a data set, each file as long as it was when it was written."""
    try:
        sizes = json.loads((folder / _SIZES).read_text(encoding="utf-8"))
        return bool(sizes) and all((folder / file).stat().st_size == size for file, size in sizes.items())
    except (OSError, ValueError, AttributeError):
        return False


def _arrays(folder: Path) -> dict[str, AnyArray]:
    """Return the arrays of a content; features as a memory map, the small ones read."""
    return {
        path.stem: np.load(path, mmap_mode="r" if path.stem == "features" else None, allow_pickle=False)
        for path in sorted(folder.glob("*.npy"))
    }


def _keep(dataset: Dataset) -> Path | None:
    """Return the folder of the store with the arrays of a data set, written first if needed; None if that fails."""
    from filelock import FileLock

    content, locks = _content(dataset.fingerprint), home() / "store" / "locks"
    try:
        locks.mkdir(parents=True, exist_ok=True)
        with FileLock(locks / f"{content.name}.lock"):
            if not is_intact(content):
                _write_content(content, dataset)
    except (OSError, NotImplementedError):  # read-only, full, or without locks
        return None
    return content


def _write_content(target: Path, dataset: Dataset) -> None:
    """Write the arrays into a temporary folder and move it into place, replacing a damaged one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with working_folder(target.parent, ".writing-") as work:
        sizes = {}
        for key, array in dataset.arrays().items():
            path = work / f"{key}.npy"
            save_array(path, array)
            sizes[path.name] = path.stat().st_size
        (work / _SIZES).write_text(json.dumps(sizes), encoding="utf-8")
        if target.exists():
            target.replace(work / "damaged")
        work.replace(target)
        shutil.rmtree(target / "damaged", ignore_errors=True)
