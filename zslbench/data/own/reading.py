"""Read one array from a file of any format that is taken: `.npy`, `.npz`, `.csv`, `.tsv`, `.mat`, `.h5`, `.pt`.

No pickle is ever loaded: arrays of Python objects are refused, torch files are read with ``weights_only=True``.
"""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zslbench.arrays import AnyArray
from zslbench.data.archive import sha256
from zslbench.data.own.tables import read_table
from zslbench.data.parsers import chosen_key, read_array
from zslbench.errors import BadData, DataMissing, first_line
from zslbench.files import check_size
from zslbench.identity import expanded

USUAL: Mapping[str, tuple[str, ...]] = {
    "features": ("features", "X"),
    "labels": ("labels", "label", "y"),
    "semantics": ("att", "semantics", "attributes"),
    "classes": ("allclasses_names", "class_names", "classes", "names"),
}
_NUMPY, _TEXT = (".npy", ".npz"), (".csv", ".tsv", ".txt")
_CHILD = (".mat", ".h5", ".hdf5", ".pt", ".pth")
SUFFIXES = _NUMPY + _TEXT + _CHILD
_NPY_MAGIC = b"\x93NUMPY"


@dataclasses.dataclass(frozen=True, eq=False)
class Loaded:
    """An array as it stands in its file, and where that was.

    Attributes:
        array: numbers or texts, of any shape.
        names: the texts of the first column, where a table has one.
        index: whether the first column of a table has no name in the header, as the index that pandas writes.
        table: whether it was read from a text table.
        what: how sentences name it.
        facts: ``source``, ``sha256`` and ``shape``, to be kept.
    """

    array: AnyArray
    what: str
    facts: Mapping[str, Any]
    names: tuple[str, ...] | None = None
    table: bool = False
    index: bool = False


Given = str | Path | AnyArray | Sequence[Any] | Loaded
"""What a user names: a file (``FILE`` or ``FILE:KEY``), or in Python an array or a list (or what was loaded)."""


def read(given: Given, role: str) -> Loaded:
    """Return the array that is meant for a role: features, labels, semantics, classes, or a key of a split.

    Raises:
        DataMissing: there is no such file.
        BadData: it cannot be read; the sentence says why.
    """
    if isinstance(given, Loaded):
        return given
    if not isinstance(given, str | Path):
        return _in_memory(given, role)
    path, key = split_key(str(given))
    suffix, usual = path.suffix.lower(), USUAL.get(role, (role,))
    names, index = None, False
    try:
        if suffix == ".npy":
            _no_key(path, key)
            array = _npy(path)
        elif suffix == ".npz":
            key, array = _npz(path, key, usual)
        elif suffix in _TEXT:
            _no_key(path, key)
            array, names, index = read_table(path)
        elif suffix in _CHILD:
            key, array = read_array(path.absolute(), key, usual)
        else:
            raise BadData(f"{path} is of no format that is read; {role} may be {', '.join(SUFFIXES)}.")
        if array.dtype.kind not in "fiubUS":
            raise BadData(f"{path} holds {array.dtype}; numbers or texts are read, nothing else.")
        _check_filled(array, f"{path}:{key}" if key else str(path), role)
        facts = {"source": str(path.absolute()), "sha256": sha256(path), "shape": list(array.shape)}
    except OSError as error:
        raise BadData(f"{path} cannot be read ({error.strerror or error}); check the file.") from error
    except MemoryError as error:
        raise BadData(f"{path} asks for more memory than there is; is it damaged?") from error
    what = f"{path}:{key}" if key else str(path)
    return Loaded(array, what, facts | ({"key": key} if key else {}), names, suffix in _TEXT, index)


def split_key(text: str) -> tuple[Path, str | None]:
    """Return path and key of ``FILE`` or ``FILE:KEY``.

    Raises:
        DataMissing: there is no such file.
    """
    path = expanded(text)
    if path.is_file():
        return path, None
    before, colon, key = text.rpartition(":")
    if colon and key and expanded(before).is_file():
        return expanded(before), key
    what = "is a folder" if path.is_dir() else "is no regular file" if path.exists() else "does not exist"
    raise DataMissing(f"{text!r} {what}; name a file, or FILE:KEY for one of several arrays in a file.")


def _in_memory(given: AnyArray | Sequence[Any], role: str) -> Loaded:
    try:
        array = np.asarray(given)
    except ValueError as error:
        raise BadData(f"{role} are not one array ({error}); give a matrix or a list.") from error
    if array.dtype.kind not in "fiubUS":
        raise BadData(f"{role} hold {array.dtype}; give numbers, or texts for names.")
    _check_filled(array, role, role)
    return Loaded(array, role, {"source": "an array in memory", "shape": list(array.shape)})


def _check_filled(array: AnyArray, what: str, role: str) -> None:
    if array.size == 0:
        raise BadData(f"{what}: {role} are empty ({' × '.join(map(str, array.shape))}); nothing can be made of them.")


def _no_key(path: Path, key: str | None) -> None:
    if key is not None:
        raise BadData(f"{path} holds one array and no {key!r}; leave out :{key}.")


def _npy(path: Path) -> AnyArray:
    with path.open("rb") as file:
        magic = file.read(len(_NPY_MAGIC))
    if magic != _NPY_MAGIC:
        pickled = " but a pickle, which is never loaded" if magic.startswith(b"\x80") else ""
        raise BadData(f"{path} is no .npy file{pickled}; write it with numpy.save.")
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)  # holds the declared size against the file's length
        check_size(path, mapped.nbytes)
        return np.array(mapped)
    except BadData:
        raise
    except Exception as error:  # a broken header raises some five kinds
        raise _broken(path, error) from error


def _npz(path: Path, key: str | None, usual: Sequence[str]) -> tuple[str, AnyArray]:
    try:
        with zipfile.ZipFile(path) as archive:
            held = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
            chosen = chosen_key(path, key, held, usual)
            member = archive.getinfo(chosen + ".npy")
            check_size(path, member.file_size, chosen)
            with archive.open(member) as file:
                return chosen, _npy_member(file, member.file_size, path)
    except BadData:
        raise
    except Exception as error:  # zipfile, zlib and NumPy each raise several kinds for a broken file
        raise _broken(path, error) from error


def _npy_member(file: Any, size: int, path: Path) -> AnyArray:
    """Read an array of an archive after holding the size that its header declares against that of the member."""
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, kind = header(file)
    if kind.hasobject:
        raise BadData(f"{path} holds Python objects (a pickle), which are never loaded; save numbers or texts.")
    if float(np.prod(shape, dtype=np.float64)) * kind.itemsize > size:
        raise BadData(f"{path} is damaged: an array of shape {shape} does not fit into it; get the file again.")
    file.seek(0)
    array: AnyArray = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _broken(path: Path, error: Exception) -> BadData:
    if "object" in str(error).lower() or "pickle" in str(error).lower():
        return BadData(f"{path} holds Python objects (a pickle), which are never loaded; save numbers or texts.")
    why = first_line(error)
    return BadData(f"{path} cannot be read ({why}); get the file again.")
