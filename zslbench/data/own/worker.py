"""The child process that parses MATLAB, HDF5 and torch files (see `zslbench.data.own.child`).

It reads a JSON request a line from standard input: ``path``, ``key`` (or none), ``usual`` names, ``out`` (where the
array goes, as ``.npy``) and ``limit`` in seconds. For each it writes two lines to standard output:
``{"started": true}`` when its libraries are loaded, then ``{"key": …}`` or ``{"error": …}``.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from zslbench.arrays import AnyArray
from zslbench.data.own.naming import chosen_key
from zslbench.errors import BadData, ZslbenchError
from zslbench.files import check_size

_HDF5 = b"\x89HDF\r\n\x1a\n"
Found = tuple[str, AnyArray]


def serve(requests: IO[str], answers: IO[str]) -> None:
    """Answer requests until there are no more."""
    for line in requests:
        request = json.loads(line)
        path = Path(request["path"])
        try:
            read = _reader(path)
            _say(answers, {"started": True})
            if hasattr(signal, "alarm"):  # ends this process though its parent be gone and C code hang
                signal.alarm(int(request["limit"]) + 2)
            key, array = read(path, request["key"], request["usual"])
            np.save(request["out"], np.asarray(array), allow_pickle=False)
            answer: dict[str, Any] = {"key": key}
        except ZslbenchError as error:
            answer = {"error": str(error)}
        except MemoryError:
            answer = {"error": f"{path} asks for more memory than there is; is it damaged?"}
        except Exception as error:  # parsers raise dozens of kinds for a broken file
            answer = {"error": f"{path} cannot be read ({_first_line(error)}); get the file again."}
        if hasattr(signal, "alarm"):
            signal.alarm(0)
        _say(answers, answer)


def _reader(path: Path) -> Callable[[Path, str | None, Sequence[str]], Found]:
    """Import what reads a file, and return how."""
    suffix = path.suffix.lower()
    if suffix in (".pt", ".pth"):
        import torch  # noqa: F401

        return _torch
    with path.open("rb") as file:
        head = file.read(520)
    if suffix != ".mat" or head.startswith((_HDF5, b"MATLAB 7.3")) or head[512:].startswith(_HDF5):
        try:
            import h5py  # noqa: F401
        except ImportError as error:
            raise BadData(
                f"{path} is an HDF5 file, which h5py reads; install it with `pip install 'zslbench[hdf5]'`."
            ) from error
        return _hdf5
    import scipy.io  # noqa: F401

    return _matlab


def _matlab(path: Path, key: str | None, usual: Sequence[str]) -> Found:
    from scipy.io import whosmat

    from zslbench.data.matlab import check_container, read_variables

    check_container(path, ())
    held = {name: (shape, kind) for name, shape, kind in whosmat(str(path))}
    chosen = chosen_key(path, key, list(held), usual)
    array = read_variables(path, [chosen])[chosen]
    return chosen, _texts(array, path) if array.dtype == object else array


def _texts(array: AnyArray, path: Path) -> AnyArray:
    from zslbench.data.matlab import cell_text

    return np.array([cell_text(item, path) for item in array.ravel()], dtype=np.str_)


def _hdf5(path: Path, key: str | None, usual: Sequence[str]) -> Found:
    import h5py

    with h5py.File(path, "r") as file:
        held: list[str] = []

        def visit(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset) and not name.startswith("#"):
                held.append(name)

        file.visititems(visit)  # passes over soft and external links
        chosen = chosen_key(path, key.strip("/") if key else None, held, usual)
        dataset = file[chosen]
        if dataset.is_virtual or dataset.external:
            raise BadData(f"{path}: {chosen} lies in other files, which are not read; copy the data into one file.")
        matlab = path.suffix.lower() == ".mat"
        if dataset.dtype == h5py.ref_dtype:  # a cell array of texts, as MATLAB writes it
            check_size(path, 1000 * dataset.size)
            rows = [_characters(file[item], path) for item in np.ravel(dataset[()].T if matlab else dataset[()])]
            return chosen, np.array(rows, dtype=np.str_)
        if h5py.check_string_dtype(dataset.dtype) is not None:
            check_size(path, 64 * dataset.size)
            return chosen, np.asarray(dataset.asstr()[()], dtype=np.str_)
        if dataset.dtype.kind not in "fiub":
            raise BadData(f"{path}: {chosen} holds {dataset.dtype}; numbers or texts are read, nothing else.")
        check_size(path, dataset.size * dataset.dtype.itemsize)
        array = dataset[()]
        return chosen, np.asarray(array).T if matlab else np.asarray(array)  # MATLAB counts columns first


def _characters(item: Any, path: Path) -> str:
    codes = np.asarray(item[()]).ravel()
    if codes.dtype.kind not in "iu" or codes.size > 1000:
        raise BadData(f"{path}: the class names must be a cell array of texts.")
    return "".join(chr(int(code)) for code in codes if 0 < code < 0x10000).strip()


def _torch(path: Path, key: str | None, usual: Sequence[str]) -> Found:
    import pickle
    import zipfile

    import torch

    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            check_size(path, sum(member.file_size for member in archive.infolist()))
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise BadData(
            f"{path} is no torch file of tensors alone, and nothing else is loaded from one; save the tensor itself "
            "with torch.save(tensor, FILE)."
        ) from error
    chosen = ""
    if isinstance(found, dict):
        held = [str(name) for name in found]
        chosen = chosen_key(path, key, held, usual)
        found = found[next(name for name in found if str(name) == chosen)]
    elif key:
        raise BadData(f"{path} holds one tensor, and no {key!r}; leave out :{key}.")
    if isinstance(found, torch.Tensor):
        check_size(path, found.numel() * max(found.element_size(), 4))  # a view or a sparse one unfolds to far more
        tensor = found.detach().to_dense() if found.layout != torch.strided else found.detach()
        tensor = tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor
        return chosen, tensor.numpy()
    if isinstance(found, list | tuple) and all(isinstance(one, str | int | float) for one in found):
        return chosen, np.array(found)
    raise BadData(f"{path}: {chosen or 'its content'} is {type(found).__name__}; give a tensor, or a list of names.")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:200]


def _say(answers: IO[str], answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def main() -> None:
    """Serve on standard input and output; what libraries print goes nowhere, lest it mix with the answers."""
    own = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        serve(sys.stdin, own)
