"""Convert the state of a fitted method to named arrays and back, for ``run --save-model``. Nothing is pickled.

Numbers, texts, arrays, tensors and containers of these are kept, and, attribute by attribute, objects of classes of
this package, of torch's modules, of scikit-learn and of the method's own project. One array holds JSON text that says
how they belong together.
"""

from __future__ import annotations

import importlib
import json
import sys
import types
from collections.abc import Mapping
from typing import Any

import numpy as np

from zslbench import params
from zslbench.arrays import AnyArray
from zslbench.errors import BadValue, StoreError
from zslbench.methods.base import Method
from zslbench.sources import project_modules

_TREE = "state"
_LIBRARIES = ("zslbench.methods", "zslbench.task", "torch.nn", "sklearn", "scipy.sparse")
"""Packages whose classes may be kept, besides those of the method's own project."""
_PLAIN = (type(None), bool, int, float, str)
_CONTAINERS: Mapping[str, type] = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}
_HEAP = 1 << 9
"""CPython's flag of a class that is written in Python."""
_OF_MODULE = ("training", "_parameters", "_buffers", "_modules", "_non_persistent_buffers_set")
"""The attributes of a `torch.nn.Module` that are its content; the others are hooks."""


def pack_state(method: Method) -> dict[str, AnyArray]:
    """Return the attributes of a fitted method, except its hyper-parameters, as named arrays.

    Raises:
        BadValue: something cannot be kept; the sentence names it.
    """
    _refuse_slots(method, "")
    packer = _Packer(method)
    hyper_parameters = params.declared_params(type(method))
    tree = {name: packer.tree(value, name) for name, value in vars(method).items() if name not in hyper_parameters}
    text = np.frombuffer(json.dumps(tree).encode(), dtype=np.uint8)
    return {_TREE: text, **{str(number): array for number, array in enumerate(packer.arrays)}}


def unpack_state(method: Method, arrays: Mapping[str, AnyArray], device: str | None = None) -> Method:
    """Give an unfitted method the state that `pack_state` returned, and return the method.

    Args:
        device: where tensors go; None: their former device, or the CPU if this machine has no such device.

    Raises:
        StoreError: the arrays hold something else.
    """
    try:
        tree = json.loads(bytes(arrays[_TREE]))
        unpacker = _Unpacker(method, arrays, device)
        state = {str(name): unpacker.value(part) for name, part in tree.items()}
    except StoreError:
        raise
    except Exception as error:  # the file may hold anything
        why = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise StoreError(f"it holds no state of {type(method).__name__} ({why})") from None
    if taken := state.keys() & params.declared_params(type(method)).keys():
        raise StoreError(f"it holds the hyper-parameter {min(taken)}, which belongs to the record")
    if parts := [name for name in state if callable(getattr(type(method), name, None))]:
        raise StoreError(f"it holds {min(parts)}, which is a part of the class {type(method).__name__}")
    vars(method).update(state)
    return method


def _is_kept_class(method: Method, cls: type) -> bool:
    """Return whether objects of a class may be kept with a method."""
    return _is_kept_module(method, cls.__module__) and "<" not in cls.__qualname__


def _is_kept_module(method: Method, module: str) -> bool:
    if any(module == library or module.startswith(f"{library}.") for library in _LIBRARIES):
        return True
    home = type(method).__module__
    return module == home or (home.partition(".")[0] != "zslbench" and module in project_modules(home))


class _Packer:
    """Turns values into a tree that JSON can hold, and arrays to which the tree refers by number."""

    def __init__(self, method: Method) -> None:
        self.method = method
        self.arrays: list[AnyArray] = []
        self._numbers: dict[int, int] = {}
        self._alive: list[object] = []
        self._open: set[int] = set()

    def tree(self, value: Any, where: str) -> Any:
        """Return the tree of a value; `where` names the value in the error if it cannot be kept."""
        if type(value) in _PLAIN:
            return value
        if id(value) in self._open:
            raise _refuse(where, "refers to itself")
        self._open.add(id(value))
        try:
            return self._tree(value, where)
        finally:
            self._open.discard(id(value))

    def _tree(self, value: Any, where: str) -> Any:
        kind = type(value)
        torch = sys.modules.get("torch")
        if isinstance(value, np.ndarray) and kind in (np.ndarray, np.memmap) and not value.dtype.hasobject:
            return {"array": self._number(value, np.asarray(value))}
        if isinstance(value, np.generic) and not value.dtype.hasobject:
            return {"scalar": self._number(value, np.asarray(value))}
        if kind is dict:
            return {
                "dict": [[self.tree(key, where), self.tree(item, f"{where}[{key!r}]")] for key, item in value.items()]
            }
        for name, container in _CONTAINERS.items():
            if kind is container:
                items = sorted(value, key=repr) if container in (set, frozenset) else value
                return {name: [self.tree(item, f"{where}[{at}]") for at, item in enumerate(items)]}
        if torch is not None:
            if isinstance(value, torch.device):
                return {"device": str(value)}
            if kind in (torch.Tensor, torch.nn.Parameter):
                return self._tensor(value, where)
        return self._object(value, where)

    def _tensor(self, value: Any, where: str) -> Any:
        import torch

        plain = value.detach()
        if plain.layout != torch.strided or plain.is_quantized or plain.is_complex():
            raise _refuse(where, f"is a tensor of layout {plain.layout} and type {plain.dtype}")
        plain = plain.cpu()
        if plain.dtype is torch.bfloat16:
            plain = plain.view(torch.int16)
        try:
            array = plain.numpy()
        except TypeError:  # float8, for instance
            raise _refuse(where, f"is a tensor of type {plain.dtype}, which NumPy does not have") from None
        tree = {"tensor": self._number(value, array), "type": str(value.dtype).removeprefix("torch.")}
        is_parameter = isinstance(value, torch.nn.Parameter)
        return tree | {"on": str(value.device), "parameter": is_parameter, "gradient": value.requires_grad}

    def _object(self, value: Any, where: str) -> Any:
        kind = type(value)
        written = all(cls is object or cls.__flags__ & _HEAP for cls in kind.__mro__)
        if not written or not hasattr(value, "__dict__") or not _is_kept_class(self.method, kind):
            raise _refuse(where, f"is a {kind.__module__}.{kind.__qualname__}")
        _refuse_slots(value, f"{where}.")
        state = vars(value)
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(value, torch.nn.Module):
            blank = vars(torch.nn.Module())
            if any(held for name, held in state.items() if name in blank and "hook" in name and held):
                raise _refuse(where, "has hooks")
            state = {name: held for name, held in state.items() if name in _OF_MODULE or name not in blank}
        inner = {name: self.tree(held, f"{where}.{name}") for name, held in state.items()}
        return {"object": f"{kind.__module__}:{kind.__qualname__}", "attributes": inner}

    def _number(self, value: object, array: AnyArray) -> int:
        """Return the number of an array; an array that occurs twice is kept once."""
        if id(value) not in self._numbers:
            self._numbers[id(value)] = len(self.arrays)
            self._alive.append(value)
            self.arrays.append(array)
        return self._numbers[id(value)]


def _refuse_slots(value: object, prefix: str) -> None:
    """Refuse a class that keeps values in ``__slots__``: `vars` does not show them, and they would be lost silently."""
    for cls in type(value).__mro__:
        for name, member in vars(cls).items():
            if isinstance(member, types.MemberDescriptorType) and hasattr(value, name):
                raise _refuse(f"{prefix}{name}", "is in __slots__")


def _refuse(where: str, why: str) -> BadValue:
    return BadValue(f"its {where} {why}, which cannot be kept as plain arrays")


class _Unpacker:
    """Turns a tree and its arrays into values again. Names in the tree are checked, since a file may hold anything."""

    def __init__(self, method: Method, arrays: Mapping[str, AnyArray], device: str | None) -> None:
        self.method, self.arrays, self.device = method, arrays, device
        self._tensors: dict[int, Any] = {}

    def value(self, tree: Any) -> Any:
        """Return the value of a tree."""
        if type(tree) in _PLAIN:
            return tree
        (kind, content), *further = tree.items()
        if kind == "array":
            return self.arrays[str(int(content))]
        if kind == "scalar":
            return self.arrays[str(int(content))][()]
        if kind == "dict":
            return {self.value(key): self.value(item) for key, item in content}
        if kind in _CONTAINERS:
            return _CONTAINERS[kind](self.value(item) for item in content)
        if kind == "device":
            return self._place(content)
        if kind == "tensor":
            return self._tensor(int(content), **dict(further))
        if kind == "object":
            return self._object(content, dict(further)["attributes"])
        raise ValueError(f"nothing is kept as {kind!r}")

    def _tensor(self, number: int, type: str, on: str, parameter: bool, gradient: bool) -> Any:
        import torch

        if number not in self._tensors:
            tensor = torch.from_numpy(self.arrays[str(number)])
            if type == "bfloat16":
                tensor = tensor.view(torch.bfloat16)
            tensor = tensor.to(self._place(on))
            self._tensors[number] = (
                torch.nn.Parameter(tensor, gradient) if parameter else tensor.requires_grad_(gradient)
            )
        return self._tensors[number]

    def _place(self, recorded: str) -> Any:
        import torch

        if self.device is not None:
            return torch.device(self.device)
        device = torch.device(recorded)
        held = device.type == "cpu" or (device.type == "cuda" and (device.index or 0) < torch.cuda.device_count())
        return device if held or (device.type == "mps" and torch.backends.mps.is_available()) else torch.device("cpu")

    def _object(self, name: str, attributes: Mapping[str, Any]) -> Any:
        module, _, path = str(name).partition(":")
        if not _is_kept_module(self.method, module):
            raise ValueError(f"objects of {module} are not kept")
        cls: Any = importlib.import_module(module)
        for part in path.split("."):
            cls = vars(cls)[part]
        if not isinstance(cls, type) or cls.__module__ != module or not _is_kept_class(self.method, cls):
            raise ValueError(f"{name} is not a class of {module}")
        made: Any = object.__new__(cls)
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(made, torch.nn.Module):
            torch.nn.Module.__init__(made)
        vars(made).update({str(key): self.value(item) for key, item in attributes.items()})
        return made
