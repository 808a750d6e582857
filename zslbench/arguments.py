"""Conversion of the arguments of public functions, so that they accept what notebooks pass.

NumPy integers become integers, any path becomes a text or a `Path`, arrays and other iterables become tuples, and a
single text or number becomes a tuple of one where several are allowed. What an argument accepts is read from its
annotation.
"""

from __future__ import annotations

import builtins
import functools
import inspect
import operator
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import NoneType, SimpleNamespace
from typing import Any, Literal, ParamSpec, SupportsIndex, TypeVar, get_args, get_origin, get_type_hints

from zslbench.errors import BadValue, UnknownName
from zslbench.visible import shorten

P = ParamSpec("P")
R = TypeVar("R")

_ENGINE_WORDS = ("workers", "time_limit", "memory_limit", "scheduler", "engine_config")
_ALLOWED: Mapping[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "True or False",
    Path: "a path",
    Sequence[str]: "texts",
    Sequence[int]: "whole numbers",
    NoneType: "None",
}

_NARROWED: Mapping[Any, Any] = {
    type: str,
    os.PathLike[str]: str,
    Sequence[str | type]: Sequence[str],
    Sequence[str | os.PathLike[str]]: Sequence[str],
    SupportsIndex: int,
    Iterable[SupportsIndex]: Sequence[int],
}
"""What a function gets in place of kinds that type checkers must know of: classes, paths, and the integers of NumPy."""


class _Other:
    """What no argument takes: with it every annotation is a union."""


class _ForTypeCheckers:
    """What a module imports for type checkers alone: values of it cannot be told from others."""


class _Names(dict[str, Any]):
    """The names of a module, those that it imports for type checkers alone among them."""

    def __missing__(self, name: str) -> type:
        return type(name, (_ForTypeCheckers,), {})


@functools.cache
def plain(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function that converts its arguments first.

    Raises:
        BadValue: when called: an argument has none of the accepted types.
        UnknownName: when called: the function has no such argument.
    """
    signature = inspect.signature(function)
    parameters = signature.parameters
    names = _Names(vars(builtins) | vars(inspect.getmodule(function)))
    annotations = {name: hint for name, hint in function.__annotations__.items() if name != "return"}
    hints = get_type_hints(SimpleNamespace(__annotations__=annotations), names)
    kinds = {
        name: {_NARROWED.get(kind, kind) for kind in get_args(hint | _Other)} - {_Other} for name, hint in hints.items()
    }
    takes_others = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    rest = next((name for name, each in parameters.items() if each.kind is each.VAR_POSITIONAL), "")

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if rest in kwargs and not args:  # several values given by name, as other functions take them
            return call(kwargs[rest], **{name: value for name, value in kwargs.items() if name != rest})  # type: ignore[arg-type]
        for name in kwargs:
            if takes_others or name in parameters:
                continue
            if name in _ENGINE_WORDS and "engine" in parameters:
                engine = f"zslbench.engine('process', {name}={kwargs[name]!r})"
                raise BadValue(f"{function.__name__} takes no {name}; it is of the engine: give engine={engine}.")
            raise UnknownName(f"argument of {function.__name__}", name, parameters)
        bound = signature.bind(*args, **kwargs)
        for name, value in bound.arguments.items():
            if parameters[name].kind is inspect.Parameter.VAR_POSITIONAL:
                bound.arguments[name] = tuple(text for given in value for text in _make_texts(name, given))
            elif parameters[name].kind is not inspect.Parameter.VAR_KEYWORD:
                bound.arguments[name] = _make_plain(name, value, kinds[name])
        return function(*bound.args, **bound.kwargs)

    return call


def _make_plain(name: str, value: Any, kinds: set[Any]) -> Any:
    """Return a value as one of the kinds that an argument takes (BadValue: it is none of them)."""
    if getattr(value, "shape", None) == () and hasattr(value, "item"):  # a number or text of NumPy or torch
        value = value.item()
    if isinstance(value, str | os.PathLike) or (isinstance(value, type) and {str, Sequence[str]} & kinds):
        return _make_text_plain(name, _name_class(value), kinds)
    if _is_number(value):
        if {int, Sequence[int]} & kinds:
            return operator.index(value) if int in kinds else (operator.index(value),)
        if float in kinds:
            return float(value)
    elif float in kinds and hasattr(value, "__float__") and not isinstance(value, bool) and not hasattr(value, "shape"):
        return float(value)
    if isinstance(value, Iterable) and not isinstance(value, Mapping | bytes):
        if Sequence[str] in kinds:
            return _make_texts(name, value)
        if Sequence[int] in kinds:
            numbers = list(value)
            if wrong := [number for number in numbers if not _is_number(number)]:
                raise _refuse(name, wrong[0], {Sequence[int]})
            return tuple(map(operator.index, numbers))
    if not any(_is_a(value, kind) for kind in kinds):
        raise _refuse(name, value, kinds)
    return value


def _is_number(value: Any) -> bool:
    """Return whether a value stands for a whole number; Python would take an array of one number for it, too."""
    return hasattr(value, "__index__") and not isinstance(value, bool) and not getattr(value, "shape", ())


def _is_a(value: Any, kind: Any) -> bool:
    """Return whether a value is of a kind that is taken as it is; of what nobody can check, it is."""
    if kind in (str, Path, int, float, Sequence[str], Sequence[int]) or get_origin(kind) is Literal:
        return False
    cls = get_origin(kind) or kind
    return kind is Any or not isinstance(cls, type) or issubclass(cls, _ForTypeCheckers) or isinstance(value, cls)


def _make_text_plain(name: str, value: str | os.PathLike[str], kinds: set[Any]) -> Any:
    (text,) = _make_texts(name, value)
    if name == "engine":
        raise BadValue(f"engine={text!r} is a name; give zslbench.engine({text!r}), with workers=2, say.")
    if Path in kinds and not (isinstance(value, str) and Sequence[str] in kinds and str not in kinds):
        return Path(text) if text or str not in kinds else text  # no path is the current folder unless it says so
    if Sequence[str] in kinds and str not in kinds:
        return (text,)
    if str not in kinds and kinds <= _ALLOWED.keys():
        raise _refuse(name, value, kinds)
    return text


def _name_class(value: Any) -> Any:
    """Return the text that names a class, in place of the class itself, as ``pkg.module:Class``."""
    return f"{value.__module__}:{value.__qualname__}" if isinstance(value, type) else value


def _make_texts(name: str, value: object) -> tuple[str, ...]:
    several = isinstance(value, Iterable) and not isinstance(value, str | os.PathLike)
    items: Iterable[object] = value if several else [value]  # type: ignore[assignment]
    texts = [os.fspath(item) if isinstance(item, os.PathLike) else _name_class(item) for item in items]
    for text in texts:
        if not isinstance(text, str):
            raise _refuse(name, text, {Sequence[str]})
        if "\0" in text:
            raise BadValue(f"{name}={shorten(repr(text), 60)} is not allowed; leave the null character out.")
    return tuple(map(str, texts))  # NumPy's texts are a kind of their own


def _refuse(name: str, value: object, kinds: set[Any]) -> BadValue:
    allowed = [text for kind, text in _ALLOWED.items() if kind in kinds]
    words = [word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
    allowed += [f"one of {', '.join(map(repr, words))}"] if words else []
    others = [kind for kind in kinds - _ALLOWED.keys() if get_origin(kind) is not Literal]
    allowed += sorted(f"an instance of {(get_origin(kind) or kind).__name__}" for kind in others)
    return BadValue(f"{name}={shorten(repr(value), 60)} is not allowed; give {' or '.join(allowed)}.")
