"""Read variables of a MATLAB file (level 5, what ``save -v7`` and scipy write), refusing others in one sentence."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from zslbench.arrays import AnyArray
from zslbench.data import mat5
from zslbench.errors import BadData, DataMissing
from zslbench.files import check_size

_HEADER = 128
_HDF5 = b"\x89HDF\r\n\x1a\n"


def read_variables(path: Path, required: Iterable[str], optional: Iterable[str] = ()) -> dict[str, AnyArray]:
    """Return the named variables of a MATLAB file as they stand in it; sparse ones are made dense.

    Raises:
        DataMissing: there is no such file.
        BadData: it cannot be read, is not a MATLAB file, is cut short, is of version 7.3, lacks a variable, or
            declares more than memory holds.
    """
    required = list(required)
    wanted = [*required, *optional]
    declared = check_container(path, wanted)
    check_size(path, sum(one.size for one in declared), ", ".join(one.name for one in declared))
    from scipy.io import loadmat, whosmat

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of scipy's, about names and duplicate variables
            found: dict[str, Any] = loadmat(str(path), variable_names=wanted)
            missing = [name for name in required if name not in found]
            held = ", ".join(name for name, *_ in whosmat(str(path))) if missing else ""
    except MemoryError:
        raise
    except Exception as error:  # scipy raises some ten kinds for a broken file
        why = str(error).strip().rstrip(".").splitlines() or [type(error).__name__]
        raise BadData(f"{path} cannot be read as a MATLAB file ({why[0]}); get the file again.") from error
    if missing:
        raise BadData(f"{path} lacks {', '.join(map(repr, missing))}; it holds: {held or 'nothing'}.")
    return {
        name: _dense(found[name], path) if hasattr(found[name], "toarray") else found[name]
        for name in wanted
        if name in found
    }


def _dense(matrix: Any, path: Path) -> AnyArray:
    try:
        matrix.check_format(full_check=True)  # toarray trusts the indices
        dense: AnyArray = matrix.toarray()
    except (ValueError, TypeError) as error:
        raise BadData(f"{path} holds a sparse matrix that is damaged ({error}); get the file again.") from error
    return dense


def cell_text(item: Any, path: Path) -> str:
    """Return the text in a cell of a cell array.

    Raises:
        BadData: it holds something else.
    """
    while hasattr(item, "ndim") and item.ndim and item.size == 1:  # a scalar's ravel()[0] is that scalar for ever
        item = item.ravel()[0]
    if not isinstance(item, str):
        raise BadData(f"{path}: allclasses_names must be a cell array of texts; one entry is {item!r}.")
    return item.strip()


def declared_shapes(path: Path, wanted: Collection[str]) -> dict[str, tuple[int, ...]]:
    """Return the dimensions of the wanted variables that a MATLAB file has, without reading their numbers.

    Raises:
        DataMissing, BadData: see `check_container`.
    """
    return {one.name: one.shape for one in check_container(path, wanted)}


def check_container(path: Path, wanted: Collection[str] | None = None) -> list[mat5.Declared]:
    """Return what the wanted variables (None: all) of a whole level 5 file declare, from their headers alone.

    Raises:
        DataMissing: there is no such file.
        BadData: it is not one, or a variable is not what it declares.
    """
    if not path.is_file():
        raise DataMissing(f"there is no file {path}.")
    declared = []
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER)
            size = path.stat().st_size
            if header.startswith((_HDF5, b"MATLAB 7.3")):
                raise BadData(
                    f"{path} is a MATLAB 7.3 (HDF5) file; save it again with save(…, '-v7') in MATLAB, or read it with "
                    "h5py and write it with scipy.io.savemat."
                )
            order = {b"IM": "<", b"MI": ">"}.get(header[126:128])
            if order is None:
                raise BadData(f"{path} ({size} bytes) is not a MATLAB file of version 5 to 7; get the file again.")
            at = _HEADER
            while at < size:
                file.seek(at)
                kind, length = struct.unpack(f"{order}II", file.read(8).ljust(8, b"\0"))
                if kind not in (mat5.MATRIX, mat5.COMPRESSED):
                    raise BadData(f"{path} holds an element of type {kind}, which is none of MATLAB's; it is damaged.")
                at += 8 + length
                if at <= size and (one := mat5.check_element(file, order, kind, length, wanted)) is not None:
                    declared.append(one)
    except OSError as error:
        raise BadData(f"{path} cannot be read ({error.strerror or error}); check its permissions.") from error
    except mat5.Damaged as error:
        raise BadData(f"{path} cannot be read as a MATLAB file ({error}); get the file again.") from error
    if at > size:
        raise BadData(f"{path} is cut short: {size} bytes of {at}; get the file again.")
    return declared
