"""Read one array from a file: `.npy`, `.npz`, `.csv`, `.tsv`, `.txt`, `.mat`, `.h5`, `.pt`.

No pickle is ever loaded: arrays of Python objects are refused, torch files are read with ``weights_only=True``. MATLAB,
HDF5 and torch files are read in a child process (`zslbench.data.parsers`).
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import functools
import io
import itertools
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from zslbench.arrays import AnyArray, Array
from zslbench.data import xlsa17
from zslbench.data.parsers import choose_key, read_array, refuse_broken
from zslbench.documents import decode_json
from zslbench.errors import BadData, BadValue, DataMissing, ZslbenchError, first_line
from zslbench.files import check_size, write_atomically
from zslbench.identity import expand_home, file_sha256

USUAL_KEYS: Mapping[str, tuple[str, ...]] = {
    "features": ("features", "X"),
    "labels": ("labels", "label", "y"),
    "semantics": ("att", "semantics", "attributes"),
    "classes": ("allclasses_names", "class_names", "classes", "names"),
}
_NUMPY, _TEXT = (".npy", ".npz"), (".csv", ".tsv", ".txt")
_CHILD = (".mat", ".h5", ".hdf5", ".pt", ".pth")
_KINDS = "fiubUS"
_MOST_ABOUT = 1_000_000
HEADS = ("label", "labels", "class", "classes", "class_name", "name", "names")
_INDEX = ("", "unnamed: 0")
"""Headers of the index in a table that pandas wrote: empty, or this if it was read and written again."""
_UNFOLDED = 10
"""Bytes of memory per byte of a table, at most, while it is read: the text, and short numbers in eight bytes."""


@dataclasses.dataclass(frozen=True, eq=False)
class InputArray:
    """An array of numbers or texts as it stands in its file, and where it comes from.

    Attributes:
        source: its name in messages: ``FILE`` or ``FILE:KEY``, or its role.
        facts: ``source``, ``sha256`` and ``shape``, to be kept, and ``about``: what the file says of how it was made.
        names: of the rows: the first column of a table, or the ``class_names`` beside semantics in an ``.npz``.
        table: whether it was read from a text table.
        index: whether the first column of a table has no name in the header, like the index that pandas writes.
        original: of semantics: (c, a) float32, the values before scaling.
    """

    array: AnyArray
    source: str
    facts: Mapping[str, Any]
    names: tuple[str, ...] | None = None
    table: bool = False
    index: bool = False
    original: Array | None = None


Given = str | Path | AnyArray | Sequence[Any] | InputArray
"""An input of a user: a file (``FILE`` or ``FILE:KEY``), or in Python an array or a list (or an array read before)."""


def read_input(given: Given, role: str) -> InputArray:
    """Return the array for a role: features, labels, semantics, classes, or a key of a split.

    Raises:
        DataMissing: there is no such file.
        BadData: it cannot be read; the sentence says why.
    """
    if isinstance(given, InputArray):
        return given
    if isinstance(given, str | Path):
        loaded = _read_file(given, role)
    else:
        try:
            array = np.asarray(given)
        except ValueError as error:
            raise BadData(f"{role} are not one array ({error}); give a matrix or a list.") from error
        if array.dtype.kind not in _KINDS:
            raise BadData(f"{role} hold {array.dtype}; give numbers, or texts for names.")
        loaded = InputArray(array, role, {"source": "an array in memory", "shape": list(array.shape)})
    if loaded.array.size == 0:
        shape = " × ".join(map(str, loaded.array.shape))
        raise BadData(f"{loaded.source}: {role} are empty ({shape}); nothing can be made of them.")
    return loaded


def split_key(text: str) -> tuple[Path, str | None]:
    """Return path and key of ``FILE`` or ``FILE:KEY``; DataMissing if there is no such file."""
    path = expand_home(text)
    if path.is_file():
        return path, None
    before, colon, key = text.rpartition(":")
    if colon and key and expand_home(before).is_file():
        return expand_home(before), key
    problem = "is a folder" if path.is_dir() else "is not a regular file" if path.exists() else "does not exist"
    raise DataMissing(f"{text!r} {problem}; name a file, or FILE:KEY for one of several arrays in a file.")


def read_labels_beside(given: Given) -> tuple[InputArray | None, InputArray | None]:
    """Return the labels and the class names that lie beside features in an ``.npz``; None for what does not.

    If both are there, labels are returned as names, so that they hold for classes in another order, too.
    """
    if not isinstance(given, str | Path) or (path := split_key(str(given))[0]).suffix.lower() != ".npz":
        return None, None
    with refuse_broken(path, "cannot be read", "; get the file again"), zipfile.ZipFile(path) as archive:
        held = [key for key in ("labels", "class_names") if f"{key}.npy" in archive.namelist()]
    beside = {key: read_input(f"{path}:{key}", "classes") for key in held}
    labels, names = beside.get("labels"), beside.get("class_names")
    if labels is not None and names is not None and labels.array.dtype.kind in "iu":
        ids = labels.array.ravel()
        if ids.min() < 0 or ids.max() >= names.array.size:
            raise BadData(
                f"{path}: labels go from {ids.min()} to {ids.max()}, but class_names are {names.array.size}; "
                "number them from 0 in the order of the names."
            )
        labels = dataclasses.replace(labels, array=names.array.ravel()[ids])
    return labels, names


def read_output(path: Path) -> dict[str, Any]:
    """Return what the file that a verb is to write says of how it was made, if it is there.

    Raises:
        BadValue: it is a folder, or no verb of ``data`` wrote it: it may be the only copy of somebody's arrays.
    """
    if path.is_dir():
        raise BadValue(f"{path} is a folder; name a file in it, as in -o {path / 'NAME.npz'}.")
    if not path.is_file():
        return {}
    about: dict[str, Any] = {}
    with contextlib.suppress(ZslbenchError), refuse_broken(path, "cannot be read"):
        if path.suffix.lower() == ".mat":
            about = xlsa17.read_about(path)
        else:
            with zipfile.ZipFile(path) as archive:
                about = _read_about(archive, path)
    if not about:
        raise BadValue(
            f"{path} is there and was not written by `zslbench data`; name another file, or remove it first."
        )
    return about


def write_output(path: Path, arrays: Mapping[str, AnyArray], about: Mapping[str, Any], what: str) -> None:
    """Write arrays, and facts on how they were made, into a ``.npz`` or ``.mat`` that `read_output` knows again."""
    content: dict[str, Any] = {**arrays, "about": np.array(json.dumps(about))}
    if path.suffix.lower() == ".npz":
        write_atomically(path, lambda out: np.savez(out, **content), what)
    else:
        from scipy.io import savemat

        write_atomically(path, lambda out: savemat(cast(Any, out), content), what)


def _read_file(given: str | Path, role: str) -> InputArray:
    path, key = split_key(str(given))
    suffix, usual = path.suffix.lower(), USUAL_KEYS.get(role, (role,))
    names, index, about = None, False, {}
    if key is not None and suffix in (".npy", *_TEXT):
        raise BadData(f"{path} holds one array and no {key!r}; leave out :{key}.")
    with refuse_broken(path, "cannot be read", "; get the file again"):
        if suffix == ".npy":
            with path.open("rb") as file:
                magic = file.read(6)
                if magic != b"\x93NUMPY":
                    pickled = " but a pickle, which is never loaded" if magic.startswith(b"\x80") else ""
                    raise BadData(f"{path} is not a .npy file{pickled}; write it with numpy.save.")
                file.seek(0)
                array = _read_npy(file, path.stat().st_size, path)
        elif suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                held = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
                key = choose_key(path, key, held, usual)
                array = _read_member(archive, key, path)
                if "about" in held and role in ("features", "semantics"):
                    about = _read_about(archive, path)
                if "class_names" in held and role == "semantics":
                    array, names = _name_rows(array, _read_member(archive, "class_names", path), f"{path}:{key}")
        elif suffix in _TEXT:
            array, names, index = _read_table(path)
        elif suffix in _CHILD:
            key, array = read_array(path.absolute(), key, usual)
        else:
            raise BadData(
                f"{path} has a format that zslbench cannot read; {role} may be {', '.join(_NUMPY + _TEXT + _CHILD)}."
            )
        if array.dtype.kind not in _KINDS:
            raise BadData(f"{path} holds {array.dtype}; only numbers and texts can be read.")
        state = path.stat()
        sha256 = _hash_file(path.absolute(), state.st_size, state.st_mtime_ns)
        facts = {"source": str(path.absolute()), "sha256": sha256, "shape": list(array.shape)}
    source, keyed = (f"{path}:{key}", {"key": key}) if key else (str(path), {})
    return InputArray(array, source, facts | keyed | ({"about": about} if about else {}), names, suffix in _TEXT, index)


@functools.lru_cache(maxsize=16)
def _hash_file(path: Path, size: int, modified: int) -> str:
    """Return the sha256 of a file; several arrays are read from one, which may be large."""
    return file_sha256(path)


def _read_member(archive: zipfile.ZipFile, key: str, path: Path) -> AnyArray:
    member = archive.getinfo(f"{key}.npy")
    check_size(path, member.file_size, key)
    with archive.open(member) as file:
        return _read_npy(file, member.file_size, path)


def _read_about(archive: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    """Return the facts that a file made by zslbench keeps on itself, a JSON object of at most `_MOST_ABOUT` bytes."""
    if (size := archive.getinfo("about.npy").file_size) > _MOST_ABOUT:
        raise BadData(f"{path}: about has {size:,} bytes, but {_MOST_ABOUT:,} are allowed; keep what made the file.")
    try:
        return decode_json(str(_read_member(archive, "about", path)))
    except ValueError as error:
        raise BadData(f"{path}: about is not a JSON object of facts ({first_line(error)}); leave it out.") from error


def _name_rows(array: AnyArray, listed: AnyArray, source: str) -> tuple[AnyArray, tuple[str, ...] | None]:
    """Return semantics with a row per name, transposed if needed, and the names (None: they are not texts)."""
    if listed.dtype.kind != "U":
        return array, None
    names = tuple(listed.ravel().tolist())
    if array.ndim != 2 or len(names) not in array.shape:
        shape = " × ".join(map(str, array.shape))
        raise BadData(f"{source}: semantics are {shape}, but class_names beside them are {len(names)}; give one each.")
    return (array if len(array) == len(names) else array.T), names


def _read_npy(file: Any, size: int, path: Path) -> AnyArray:
    """Read an array from `size` bytes, after comparing them with the size that its header declares."""
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, kind = header(file)
    if kind.hasobject:
        raise BadData(f"{path} holds Python objects (a pickle), which are never loaded; save numbers or texts.")
    if float(np.prod(shape, dtype=np.float64)) * kind.itemsize > size:
        raise ValueError(f"an array of shape {shape} does not fit into it")
    check_size(path, size)
    file.seek(0)
    array: AnyArray = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _read_table(path: Path) -> tuple[AnyArray, tuple[str, ...] | None, bool]:
    """Return the (rows, columns) numbers of a table, `names` and `index` (see `InputArray`).

    Columns are separated by commas, semicolons or tabs. A table with a single column of texts is returned as (rows,)
    texts and no names. A first row of texts above numbers is a header. Empty lines are skipped.

    Raises:
        BadData: it is empty, ragged, not text, or has a text where a number is required; the sentence names the row.
    """
    check_size(path, _UNFOLDED * path.stat().st_size)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadData(f"{path} is not text in UTF-8 (byte {error.start}); save it as UTF-8.") from error
    if "\0" in text:
        raise BadData(f"{path} contains a zero byte, so it is not a text file; get the file again.")
    if path.suffix.lower() == ".txt":
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        if not lines:
            raise BadData(f"{path} is empty; give one name per line.")
        return np.array(lines, dtype=np.str_), None, False
    rows = _split_rows(text, path)
    first = list(itertools.islice(rows, 2))
    if not first:
        raise BadData(f"{path} is empty; give one row per image or class.")
    header, width = _is_header(first), len(first[0])
    body = itertools.chain(first[1:] if header else first, rows)
    named = _parse(first[-1][0]) is None
    begin = 1 if named else 0  # the column at which numbers begin
    index = header and not named and first[0][0].casefold() in _INDEX
    if width == 1 or (index and width == 2 and _parse(first[-1][1]) is None):  # an index beside one column of texts
        texts = [row[-1] for row in body]
        numbers = [_parse(text) for text in texts]
        return np.array(texts, np.str_) if None in numbers else np.array(numbers, np.float64)[:, None], None, False
    names, table = [], []
    for number, row in enumerate(body, start=2 if header else 1):
        try:
            table.append(np.array(row[begin:], dtype=np.float64))  # NumPy parses the texts
        except ValueError as error:
            column = next(at for at, field in enumerate(row) if at >= begin and _parse(field) is None)
            advice = (
                "correct it" if column else "correct it, or if it is a name as all before it are, put this row first"
            )
            raise BadData(
                f"{path}: row {number}, column {column + 1} is {row[column][:40]!r}, not a number; {advice}."
            ) from error
        names.append(row[0])
    return np.array(table), tuple(names) if named else None, index


def _is_header(rows: list[list[str]]) -> bool:
    """Return whether the first row is a header: texts above numbers, or the usual name of the column."""
    if len(rows) < 2:
        return False
    texts, below = ([_parse(field) is None for field in row] for row in rows)
    if len(texts) == 1 and texts[0] and below[0]:
        return rows[0][0].casefold() in HEADS
    return any(above and not under for above, under in zip(texts, below, strict=False))


def _parse(field: str) -> float | None:
    try:
        return float(field)
    except ValueError:
        return None


def _split_rows(text: str, path: Path) -> Iterator[list[str]]:
    """Yield the rows of a table, all of one width, without empty lines."""
    head = text[: 1 << 16].partition("\n")[0]
    mark = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=head.count)
    number = width = 0
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=mark):
            fields = [field.strip() for field in row]
            if not any(fields):
                continue
            number, width = number + 1, width or len(fields)
            if len(fields) != width:
                raise BadData(
                    f"{path}: row {number} has {len(fields)} columns, but the first has {width}; make them equal."
                )
            yield fields
    except csv.Error as error:
        raise BadData(f"{path} cannot be read as a table ({error}); get the file again.") from error
