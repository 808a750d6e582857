"""The state of a method, attribute by attribute: whether scoring changed anything that later work might read.

Walked are attributes, containers, arrays, tensors, random generators and what functions close over, whatever an object
says of itself to `pickle`, and what a `functools.lru_cache` holds; besides, attributes of the user's classes and
globals of the project's modules that they import. Not covered are files, threads, loggers and streams, globals with two
leading underscores, frames of callers, modules of other packages, and state inside compiled objects that do not pickle:
docs/honest-comparison.md says so to users.
"""

from __future__ import annotations

import collections
import contextlib
import contextvars
import functools
import gc
import hashlib
import io
import logging
import sys
import threading
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from zslbench.errors import MethodFault
from zslbench.methods.base import Method
from zslbench.sources import project_modules

_PLAIN = (type(None), bool, int, float, complex, str, bytes, bytearray, range, slice)
_DEFINITIONS = (property, classmethod, staticmethod, types.MemberDescriptorType, types.GetSetDescriptorType)
_STORES = (types.SimpleNamespace, threading.local)
"""What programs keep things in, of Python's library, beside its queues and arrays."""
_LARGE = 1 << 23
"""Bytes of an attribute, such as the weights of 2,048 features and 512 attributes in double precision."""
_HEAP = 1 << 9
"""CPython's flag of a type that was made at run time: all classes written in Python have it."""


def state_of(method: Method) -> dict[str, bytes]:
    """Return contents, or digests of large ones, by the name of what is covered."""
    covered = {f"the attribute {name}": _image(value, True) for name, value in vars(method).items()}
    classes = [cls for cls in type(method).__mro__ if _is_of_user(cls)]
    for cls in classes:
        for name, value in vars(cls).items():
            if not _is_definition(name, value):
                covered[f"the attribute {name} of {cls.__name__}"] = _image(value, False)
    names = {name for cls in classes for name in (cls.__module__, *project_modules(cls.__module__))}
    modules = {name for name in names if name != "__main__" and _is_of_user_package(name)}
    for module in modules & sys.modules.keys():
        covered[module] = b""
        for name, value in list(vars(sys.modules[module]).items()):
            if not isinstance(value, type | types.ModuleType) and not _is_definition(name, value):
                covered[f"the global {name} of {module}"] = _image(value, False)
    return covered


def require_same(method: Method, before: Mapping[str, bytes]) -> None:
    """Require that a method has the state that it had before (MethodFault: scoring changed it)."""
    after = state_of(method)
    first_imported = {f" of {name}" for name in after.keys() - before.keys() if name in sys.modules}
    changed = [
        name
        for name in {**before, **after}
        if before.get(name) != after.get(name) and name not in sys.modules and not name.endswith(tuple(first_imported))
    ]
    if changed:
        raise MethodFault(
            f"{type(method).__name__}.scores changes {' and '.join(changed[:3])}; what one query leaves behind could "
            "reach later training and other queries, so scores must leave everything as it was: make it in fit, or "
            "keep it in local variables (and leave batch normalisation in evaluation mode)."
        )


def _is_of_user(cls: type) -> bool:
    """Whether a class is neither of this package, whose methods are read when they change, nor of Python's library."""
    return _is_of_user_package(cls.__module__)


def _is_of_user_package(module: str) -> bool:
    package = module.partition(".")[0]
    return package == "__main__" or package not in ("zslbench", *sys.stdlib_module_names)


def _is_definition(name: str, value: object) -> bool:
    """Whether a name of a class or module belongs to its definition. Functions may carry state."""
    return name.startswith("__") or name == "_abc_impl" or isinstance(value, _DEFINITIONS)


def _image(value: object, deep: bool) -> bytes:
    """Return the content of a value, or its digest if that is large: to copy is faster, but takes memory.

    Not `deep`: without what is inside objects of other packages, which have caches.
    """
    digest, parts, size = hashlib.sha256(), [], 0
    try:
        for part in _Walk(deep).parts(value):
            parts.append(part)
            size += len(part)
            if size > _LARGE:
                for waiting in parts:
                    digest.update(waiting)
                parts.clear()
    except Exception:  # an object that does not let itself be looked at
        return type(value).__qualname__.encode()
    return b"".join(parts) if size <= _LARGE else digest.digest()


def _digest(value: object, deep: bool) -> bytes:
    return hashlib.sha256(_image(value, deep)).digest()


class _Walk:
    """Yields the content of a value as bytes, each object once."""

    def __init__(self, deep: bool) -> None:
        self.deep = deep
        self.known: dict[int, int] = {}
        self.alive: list[object] = []

    def parts(self, start: object) -> Iterator[bytes | memoryview]:
        waiting: list[object] = [start]
        while waiting:
            value = waiting.pop()
            if isinstance(value, _PLAIN):
                yield f"{type(value).__name__}:{value!r};".encode("utf-8", "surrogatepass")
                continue
            if (number := self.known.get(id(value))) is not None:
                yield f"again {number};".encode()
                continue
            self.known[id(value)] = len(self.known)
            self.alive.append(value)  # what is made on the way must not lend its address to another
            yield f"{type(value).__module__}.{type(value).__qualname__};".encode()
            if isinstance(value, np.ndarray) and value.dtype != object:
                yield f"{value.dtype.str}{value.shape}{value.strides if value.ndim else ''};".encode()
                flat = np.ascontiguousarray(value.T if value.flags.f_contiguous else value)  # a copy of neither order
                yield flat.reshape(-1).view(np.uint8).data if flat.size and flat.dtype.hasobject is False else b""
                if type(value) is not np.ndarray:
                    yield _digest(getattr(value, "__dict__", None), True)
            elif (torch := sys.modules.get("torch")) is not None and isinstance(value, torch.Tensor):
                yield from _tensor(value)
                waiting += [getattr(value, "__dict__", None), value.grad if value.is_leaf else None]
            elif isinstance(value, list | tuple) and all(type(item) in _PLAIN for item in value):
                yield repr(value).encode("utf-8", "surrogatepass")
            elif isinstance(value, set | frozenset):
                yield b"".join(sorted(_digest(item, self.deep) for item in value))
            else:
                following = list(self._following(value))
                yield f"{len(following)};".encode()
                waiting += reversed(following)

    def _following(self, value: Any) -> Iterable[object]:
        """Return what an object consists of."""
        if isinstance(value, np.ndarray):  # of objects
            return [value.shape, *value.ravel().tolist()]
        if isinstance(value, type | types.ModuleType):
            return [value.__name__]
        if isinstance(value, types.MethodType):
            return [value.__self__, value.__func__]
        if isinstance(value, types.FunctionType):
            cells = []
            for cell in value.__closure__ or ():
                with contextlib.suppress(ValueError):  # it is not filled yet
                    cells.append(cell.cell_contents)
            return [value.__qualname__, value.__defaults__, value.__kwdefaults__, vars(value), *cells]
        if isinstance(value, logging.Logger | logging.Handler | io.IOBase):
            return []
        if type(value).__module__.startswith("torch._dynamo"):  # compiles when it is called first
            return [getattr(value, "_modules", None)]
        content = list(_content(value))
        is_store = isinstance(value, _STORES) or type(value).__module__ in ("queue", "array", "random")
        if not self.deep and not content and not _is_of_user(type(value)) and not is_store:
            return []
        out: list[object] = [getattr(value, "__dict__", None), *content]
        for cls in type(value).__mro__:
            slots = cls.__dict__.get("__slots__", ())
            out += [getattr(value, name, None) for name in ((slots,) if isinstance(slots, str) else slots)]
        if not content and any(cls is not object and not cls.__flags__ & _HEAP for cls in type(value).__mro__):
            out.append(_reduced(value))
        return out


def _cached(value: functools._lru_cache_wrapper[Any]) -> list[object]:
    """Return the keys and results of a cache in the order in which they came, which a look-up does not change.

    CPython's wrapper shows key, result, key, … of its links before the dictionary; with no bound, the dictionary alone.
    The methods with caches in the tests of cheats fail should that change.
    """
    parts = [part for part in gc.get_referents(value) if not isinstance(part, type)]
    at = next(at for at, part in enumerate(parts) if type(part) is dict and part is not vars(value))
    if not at:  # without a bound: all is in the dictionary
        return [item for pair in parts[at].items() for item in pair]
    came = {id(key): number for number, key in enumerate(parts[at])}  # its values are links, which show nothing
    pairs = zip(parts[:at:2], parts[1:at:2], strict=False)
    return [item for pair in sorted(pairs, key=lambda pair: came.get(id(pair[0]), -1)) for item in pair]


def _content(value: Any) -> Iterable[object]:
    """Return what a container, a cache or a generator of either kind holds."""
    if isinstance(value, dict):
        return ["dict", *(item for pair in value.items() for item in pair)]
    if isinstance(value, list | tuple | collections.deque):
        return [len(value), *value]
    if isinstance(value, np.random.Generator):
        return [value.bit_generator.state]
    if isinstance(value, np.random.RandomState):
        return [value.get_state()]
    if type(value).__module__.partition(".")[0] == "torch" and hasattr(value, "get_state"):  # its generator
        return [value.get_state()]
    if isinstance(value, functools._lru_cache_wrapper):
        return [value.cache_info().currsize, *_cached(value)]
    if isinstance(value, contextvars.ContextVar):
        return ["variable", value.get(None)]
    if isinstance(value, types.GeneratorType):
        return ["locals", dict(value.gi_frame.f_locals)] if value.gi_frame and not value.gi_running else []
    return []


def _reduced(value: Any) -> object:
    """Return what a compiled object says of itself to `pickle`; nothing where it says nothing."""
    try:
        reduced = value.__reduce_ex__(4)
    except Exception:
        return None
    return reduced if isinstance(reduced, str) else [part for part in reduced[1:] if not isinstance(part, Iterator)]


def _tensor(value: Any) -> Iterator[bytes | memoryview]:
    import torch

    yield f"{value.dtype}{tuple(value.shape)}{value.requires_grad};".encode()
    with torch.no_grad():
        plain = value.detach().to_dense() if value.layout != torch.strided else value.detach()
        if plain.numel():
            yield plain.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
