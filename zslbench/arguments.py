"""What the public functions take: values as notebooks hand them over, made plain before any function sees them.

NumPy integers become integers, whatever names a path becomes a text or a `Path`, arrays and other iterables become
tuples, and one text or number where several may be given a tuple of one. What an argument takes is read from its
annotation.
"""

from __future__ import annotations

import functools
import inspect
import operator
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from zslbench.errors import BadValue, UnknownName

P = ParamSpec("P")
R = TypeVar("R")

_ENGINE_WORDS = ("workers", "time_limit", "memory_limit", "scheduler", "engine_config")
_ALLOWED = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "True or False",
    "Path": "a path",
    "Sequence[str]": "texts",
    "Sequence[int]": "whole numbers",
    "None": "None",
}


@functools.cache
def plain(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function that makes its arguments plain first.

    Raises:
        BadValue: when called, of an argument that is of none of the kinds that it takes.
        UnknownName: when called, of an argument that the function does not have.
    """
    signature = inspect.signature(function)
    parameters = signature.parameters
    rest = {one.name for one in parameters.values() if one.kind is inspect.Parameter.VAR_POSITIONAL}
    others = {one.name for one in parameters.values() if one.kind is inspect.Parameter.VAR_KEYWORD}

    @functools.wraps(function)
    def taking(*args: P.args, **kwargs: P.kwargs) -> R:
        if not others and (unknown := [name for name in kwargs if name not in parameters]):
            _refuse(function.__name__, unknown[0], kwargs[unknown[0]], parameters)
        bound = signature.bind(*args, **kwargs)
        for name, value in bound.arguments.items():
            kinds = str(parameters[name].annotation).split(" | ")
            if name in rest:
                bound.arguments[name] = tuple(one for given in value for one in _texts(name, given))
            elif name not in others:
                bound.arguments[name] = _made_plain(name, value, kinds)
        return function(*bound.args, **bound.kwargs)

    return taking


def _refuse(verb: str, name: str, value: object, parameters: Mapping[str, object]) -> None:
    if name in _ENGINE_WORDS and "engine" in parameters:
        shown = f"zslbench.engine('process', {name}={value!r})"
        raise BadValue(f"{verb} takes no {name}; it is of the engine: give engine={shown}.")
    raise UnknownName(f"argument of {verb}", name, parameters)


def _made_plain(name: str, value: Any, kinds: list[str]) -> Any:
    """Return a value as one of the kinds that an argument takes; as it is where it takes others than these."""
    if isinstance(value, str | os.PathLike):
        return _of_text(name, value, kinds)
    if value is None or not _ALLOWED.keys() & set(kinds):
        return value
    if "bool" in kinds and (isinstance(value, bool) or type(value).__name__ in ("bool_", "bool")):
        return bool(value)
    if hasattr(value, "__index__") and {"int", "Sequence[int]", "float"} & set(kinds) and not _is_array(value):
        number = operator.index(value)
        return number if "int" in kinds else (number,) if "Sequence[int]" in kinds else float(number)
    if "float" in kinds and hasattr(value, "__float__") and not _is_array(value):
        return float(value)
    if isinstance(value, Iterable) and "Sequence[str]" in kinds:
        return _texts(name, value)
    if isinstance(value, Iterable) and "Sequence[int]" in kinds:
        return tuple(_whole(name, one) for one in value)
    if all(kind in _ALLOWED for kind in kinds):
        raise _bad(name, value, kinds)
    return value


def _of_text(name: str, value: str | os.PathLike[str], kinds: list[str]) -> Any:
    text = _text(name, value)
    if "Executor" in kinds:
        raise BadValue(f"engine={text!r} is a name; give zslbench.engine({text!r}), with workers=2, say.")
    if "Path" in kinds and ("str" in kinds or not isinstance(value, str)):
        return Path(text)
    if "Sequence[str]" in kinds and "str" not in kinds:
        return (text,)
    if "Path" in kinds:
        return Path(text)
    if "str" not in kinds and all(kind in _ALLOWED for kind in kinds):
        raise _bad(name, value, kinds)
    return text


def _texts(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str | os.PathLike):
        return (_text(name, value),)
    if not isinstance(value, Iterable):
        raise _bad(name, value, ["Sequence[str]"])
    return tuple(_text(name, one) for one in value)


def _text(name: str, value: object) -> str:
    if isinstance(value, str):
        return str(value)  # NumPy's texts are a kind of their own
    if isinstance(value, os.PathLike) and isinstance(text := os.fspath(value), str):
        return text
    raise _bad(name, value, ["Sequence[str]"])


def _whole(name: str, value: object) -> int:
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise _bad(name, value, ["Sequence[int]"]) from None


def _is_array(value: object) -> bool:
    """Return whether a value has dimensions, as an array of one number has, which Python would take for that number."""
    return bool(getattr(value, "shape", ()))


def _bad(name: str, value: object, kinds: list[str]) -> BadValue:
    allowed = [text for kind, text in _ALLOWED.items() if kind in kinds]
    shown = repr(value)
    shown = shown if len(shown) <= 60 else f"{shown[:60]}…"
    return BadValue(f"{name}={shown} is not allowed; give {' or '.join(allowed)}.")
