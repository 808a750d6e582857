"""Read MATLAB, HDF5 and torch files in a child process, so that a damaged file gives an error of one sentence.

SciPy, HDF5 and torch parse their formats in C or C++; a hostile or broken file can end the process that parses it. One
child serves a process until the process ends; a child that a file crashed or kept busy is replaced.

The child reads one JSON request per line from standard input, and answers with two lines on standard output:
``{"started": true}`` when its libraries are loaded, then ``{"error": …}`` or ``{"arrays": [names]}``. The arrays
follow in NumPy's format. They are not passed through files, since the disk may be full.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import math
import os
import signal
import struct
import subprocess
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from zslbench.arrays import AnyArray
from zslbench.errors import BadData, DataMissing, ZslbenchError, first_line
from zslbench.files import check_size, free_memory

START_LIMIT = 120.0
"""Seconds that loading the libraries may take."""
READ_LIMIT = 8.0
"""Seconds that parsing may take, in addition to the time that a slow disk needs."""
_SLOWEST = 2e6
"""Bytes per second that every disk delivers."""
_SPARE = 1 << 30
"""Bytes that parsing may always use, however little memory is free."""
_PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from zslbench.data.parsers import serve; serve()"
_HDF5 = (b"\x89HDF\r\n\x1a\n", b"MATLAB 7.3")

CheckSize = Callable[..., None]
"""`zslbench.files.check_size` of the file: refuses the file, or a named part of it, if it needs too many bytes."""
Arrays = dict[str, AnyArray]
Request = dict[str, Any]


@contextlib.contextmanager
def refuse_broken(path: Path | str, problem: str, advice: str = "") -> Iterator[None]:
    """Turn the exceptions that parsers raise for a broken file, of dozens of classes, into a BadData that says why."""
    try:
        yield
    except ZslbenchError:
        raise
    except MemoryError as error:
        raise BadData(f"{path} needs more memory than there is; is it damaged?") from error
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:
            raise BadData(f"{path} {problem} ({error.strerror}); check the file.") from error
        raise BadData(f"{path} {problem} ({first_line(error)}){advice}.") from error


def read_array(path: Path, key: str | None, usual: Sequence[str]) -> tuple[str, AnyArray]:
    """Return the chosen key and its array; BadData if the file cannot be read, or crashed its reader."""
    return next(iter(_child().ask(path, "array", key=key, usual=list(usual)).items()))


def read_variables(path: Path, required: Sequence[str], optional: Sequence[str] = ()) -> Arrays:
    """Return the named variables of a MATLAB file of level 5 (``save -v7``, SciPy); sparse ones are made dense.

    Raises:
        DataMissing: there is no such file.
        BadData: see `read_array`; or the file is of another version, or lacks a variable.
    """
    return _child().ask(path, "variables", required=list(required), optional=list(optional))


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the dimensions of variables of a MATLAB file without reading their numbers; raises as `read_variables`."""
    return {name: tuple(shape.tolist()) for name, shape in _child().ask(path, "shapes").items()}


def choose_key(path: Path, key: str | None, held: Sequence[str], usual: Sequence[str]) -> str:
    """Return the key to read: the given one, or else the first usual one that exists, or else the only one."""
    some = ", ".join(held[:8]) + (" …" if len(held) > 8 else "") or "nothing"
    if key is not None:
        if key not in held:
            raise BadData(f"{path} holds no {key!r}; it holds: {some}.")
        return key
    if named := [name for name in usual if name in held]:
        return named[0]
    if len(held) == 1:
        return held[0]
    raise BadData(f"{path} holds {some}; name the array as {path.name}:KEY.")


class Child:
    """The child process, started on first use."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.end)

    def ask(self, path: Path, task: str, **arguments: Any) -> Arrays:
        """Return the arrays that the child reads from a file; for ``shapes``, empty arrays of these shapes."""
        if not path.is_file():
            raise DataMissing(f"there is no file {path}.")
        if self._process is None:
            command = [sys.executable, "-P", "-c", _PROGRAM, *(str(Path(place).absolute()) for place in sys.path)]
            root = Path(sys.executable).anchor  # torch ends its process if the working folder is gone
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root)
        limit = READ_LIMIT + path.stat().st_size / _SLOWEST
        request = {"path": str(path.absolute()), "task": task, "limit": limit, "free": free_memory(), **arguments}
        with contextlib.suppress(OSError):  # if the child is gone there is no answer either
            _send(cast(IO[bytes], self._process.stdin), request)
        if (arrays := self._answer(self._process, path, START_LIMIT)) is None:
            arrays = self._answer(self._process, path, limit)
        return arrays or {}

    def end(self) -> None:
        """End the process; the next request starts another one."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _answer(self, process: subprocess.Popen[bytes], path: Path, limit: float) -> Arrays | None:
        """Return the arrays of an answer, or None if the answer says that the libraries are loaded."""
        late = threading.Event()

        def stop() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(limit, stop)
        timer.start()
        try:
            stdout = cast(IO[bytes], process.stdout)
            answer = json.loads(stdout.readline() or b"{}")
            stream = types.SimpleNamespace(read=stdout.read)  # from a file object NumPy would ask for its position
            read = functools.partial(np.lib.format.read_array, stream, allow_pickle=False)
            arrays = {key: read() for key in answer.get("arrays", ())}
        except ValueError:  # the child ended in the middle of an answer
            answer = {}
        except BaseException:  # an interrupt: the rest would be read as the answer to the next request
            self.end()
            raise
        finally:
            timer.cancel()
        if "error" in answer:
            raise BadData(answer["error"])
        if answer:
            return arrays if "arrays" in answer else None
        code = process.wait()
        self.end()
        if late.is_set():
            raise BadData(f"{path} kept its reader busy for more than {limit:.0f} s; it is damaged, get it again.")
        raise BadData(f"{path} crashed the library that reads it (exit {code}); it is damaged, get it again.")


@functools.lru_cache(maxsize=1)
def _child_of(_: int) -> Child:
    return Child()


def _child() -> Child:
    return _child_of(os.getpid())  # a forked process must not share its parent's


def serve() -> None:
    """Answer requests until there are none left; discard what libraries print, so that it does not mix with answers."""
    stdout = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    warnings.simplefilter("ignore")
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        for line in sys.stdin:
            _serve_one(json.loads(line), stdout)


def _serve_one(request: Request, stdout: IO[bytes]) -> None:
    path, kind = Path(request["path"]), "" if request["task"] == "array" else " as a MATLAB file"
    alarm = getattr(signal, "alarm", lambda seconds: None)
    try:
        with refuse_broken(path, f"cannot be read{kind}", "; get the file again"):
            _limit_memory(None)  # the limit was that of the last file; importing under it may end this process
            read = _choose_reader(path, request)
            _send(stdout, {"started": True})
            _limit_memory(request["free"])
            alarm(int(request["limit"]) + 2)  # ends this process even if its parent is gone and C code hangs
            arrays = read(path, request, functools.partial(check_size, path, free=request["free"]))
            for array in arrays.values():
                if array.dtype.hasobject:
                    raise BadData(f"{path} holds {array.dtype}; only numbers and texts can be read.")
        answer: dict[str, Any] = {"arrays": list(arrays)}
    except ZslbenchError as error:
        arrays, answer = {}, {"error": str(error)}
    alarm(0)
    _send(stdout, answer)
    for array in arrays.values():
        np.lib.format.write_array(types.SimpleNamespace(write=stdout.write), array, allow_pickle=False)
    stdout.flush()


def _send(pipe: IO[bytes], message: dict[str, Any]) -> None:
    pipe.write(json.dumps(message).encode() + b"\n")
    pipe.flush()


def _limit_memory(free: int | None) -> None:
    """Limit the memory of this process, so that a file that declares too much ends in a MemoryError; None: no limit."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        import psutil

        taken = psutil.Process().memory_info().vms
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (hard if free is None else taken + max(free, _SPARE), hard))


def _choose_reader(path: Path, request: Request) -> Callable[[Path, Request, CheckSize], Arrays]:
    """Import what reads a file, and return the function that reads it."""
    suffix, is_array = path.suffix.lower(), request["task"] == "array"
    if is_array and suffix in (".pt", ".pth"):
        import torch  # noqa: F401

        return _read_torch
    with path.open("rb") as file:
        head = file.read(520)
    is_hdf5 = head.startswith(_HDF5) or head[512:].startswith(_HDF5)
    if is_array and (suffix != ".mat" or is_hdf5):
        try:
            import h5py  # noqa: F401
        except ImportError as error:
            raise BadData(
                f"{path} is an HDF5 file, which h5py reads; install it with `pip install 'zslbench[hdf5]'`."
            ) from error
        return _read_hdf5
    if is_hdf5:
        raise BadData(
            f"{path} is a MATLAB 7.3 (HDF5) file; save it again with save(…, '-v7') in MATLAB, or read it with "
            "h5py and write it with scipy.io.savemat."
        )
    _check_matlab(path, head)
    import scipy.io  # noqa: F401

    return _read_matlab


_MATRIX, _COMPRESSED = 14, 15
_BYTES = {"cell": 200, "char": 4, "sparse": 8, "logical": 1, "double": 8, "single": 4} | {
    f"{sign}int{bits}": bits // 8 for sign in ("", "u") for bits in (8, 16, 32, 64)
}
"""Bytes of memory that SciPy needs per entry, by MATLAB class; a sparse matrix is made dense."""


def _check_matlab(path: Path, head: bytes) -> None:
    """Refuse a file that is not of level 5 or not complete; SciPy does not notice a cut behind what it reads."""
    size, order = path.stat().st_size, {b"IM": "<", b"MI": ">"}.get(head[126:128])
    if order is None:
        raise BadData(f"{path} ({size} bytes) is not a MATLAB file of version 5 to 7; get the file again.")
    at = 128
    with path.open("rb") as file:
        while at < size:
            file.seek(at)
            kind, length = struct.unpack(f"{order}II", file.read(8).ljust(8, b"\0"))
            if kind not in (_MATRIX, _COMPRESSED):
                raise BadData(f"{path} holds an element of type {kind}, which MATLAB does not have; it is damaged.")
            at += 8 + length
    if at > size:
        raise BadData(f"{path} is cut short: {size} bytes of {at}; get the file again.")


def _read_matlab(path: Path, request: Request, check: CheckSize) -> Arrays:
    from scipy.io import loadmat, whosmat

    declared = {name: (shape, kind) for name, shape, kind in whosmat(str(path))}
    if request["task"] == "shapes":
        return {name: np.array(shape) for name, (shape, _) in declared.items()}
    if request["task"] == "array":
        names = [choose_key(path, request["key"], list(declared), request["usual"])]
    else:
        if missing := [name for name in request["required"] if name not in declared]:
            held = ", ".join(declared) or "nothing"
            raise BadData(f"{path} lacks {', '.join(map(repr, missing))}; it holds: {held}.")
        names = [name for name in (*request["required"], *request["optional"]) if name in declared]
    for name in names:
        if declared[name][1] not in _BYTES:
            raise BadData(f"{path}: {name} is a MATLAB {declared[name][1]}; only numbers and texts can be read.")
    check(sum(math.prod(declared[name][0]) * _BYTES[declared[name][1]] for name in names), ", ".join(names))
    content = loadmat(str(path), variable_names=names)
    return {name: _plain(content[name], name, path) for name in names}


def _plain(value: Any, name: str, path: Path) -> AnyArray:
    """Return a variable as numbers or texts: sparse matrices made dense, cell arrays as texts."""
    if hasattr(value, "toarray"):
        try:
            value.check_format(full_check=True)  # toarray trusts the indices
            return cast(AnyArray, value.toarray())
        except (ValueError, TypeError) as error:
            raise BadData(f"{path} holds a sparse matrix that is damaged ({error}); get the file again.") from error
    array = np.asarray(value)
    if array.dtype != object:
        return array
    texts = []
    for item in array.ravel():
        while hasattr(item, "ndim") and item.ndim and item.size == 1:  # a scalar's ravel()[0] is that scalar for ever
            item = item.ravel()[0]
        if not isinstance(item, str):
            raise BadData(f"{path}: {name} must be a cell array of texts; one entry is {item!r}.")
        texts.append(item.strip())
    return np.array(texts, dtype=np.str_).reshape(array.shape)


def _read_hdf5(path: Path, request: Request, check: CheckSize) -> Arrays:
    """Read one array of an HDF5 file, which MATLAB 7.3 files are too."""
    import h5py

    with h5py.File(path, "r") as file:
        items: dict[str, Any] = {}
        file.visititems(items.__setitem__)  # skips soft and external links
        held = [name for name, item in items.items() if isinstance(item, h5py.Dataset) and not name.startswith("#")]
        key = request["key"] and request["key"].strip("/")
        chosen = choose_key(path, key, held, request["usual"])
        dataset = file[chosen]
        if dataset.is_virtual or dataset.external:
            raise BadData(
                f"{path}: {chosen} is stored in other files, which are not read; copy the data into one file."
            )
        matlab = path.suffix.lower() == ".mat"
        if dataset.dtype == h5py.ref_dtype:  # a cell array of texts, as MATLAB writes it
            check(1000 * dataset.size)
            texts = []
            for item in np.ravel(dataset[()].T if matlab else dataset[()]):
                codes = np.asarray(file[item][()]).ravel()
                if codes.dtype.kind not in "iu" or codes.size > 1000:
                    raise BadData(f"{path}: the class names must be a cell array of texts.")
                texts.append("".join(chr(int(code)) for code in codes if 0 < code < 0x10000).strip())
            return {chosen: np.array(texts, dtype=np.str_)}
        if h5py.check_string_dtype(dataset.dtype) is not None:
            check(64 * dataset.size)
            return {chosen: np.asarray(dataset.asstr()[()], dtype=np.str_)}
        if dataset.dtype.kind not in "fiub":
            raise BadData(f"{path}: {chosen} holds {dataset.dtype}; only numbers and texts can be read.")
        check(dataset.size * dataset.dtype.itemsize)
        array = np.asarray(dataset[()])
        return {chosen: array.T if matlab else array}  # MATLAB counts columns first


def _read_torch(path: Path, request: Request, check: CheckSize) -> Arrays:
    import pickle
    import zipfile

    import torch

    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            check(sum(member.file_size for member in archive.infolist()))
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise BadData(
            f"{path} is not a torch file that holds only tensors, and only those are loaded; save the tensor itself "
            "with torch.save(tensor, FILE)."
        ) from error
    chosen = ""
    if isinstance(content, dict):
        chosen = choose_key(path, request["key"], [str(name) for name in content], request["usual"])
        content = content[next(name for name in content if str(name) == chosen)]
    elif key := request["key"]:
        raise BadData(f"{path} holds one tensor, and no {key!r}; leave out :{key}.")
    if isinstance(content, torch.Tensor):
        check(content.numel() * max(content.element_size(), 4))  # views and sparse tensors may expand
        tensor = content.detach().to_dense() if content.layout != torch.strided else content.detach()
        tensor = tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor
        return {chosen: tensor.numpy()}
    if isinstance(content, list | tuple) and all(isinstance(item, str | int | float) for item in content):
        return {chosen: np.array(content)}
    raise BadData(f"{path}: {chosen or 'its content'} is {type(content).__name__}; give a tensor, or a list of names.")
