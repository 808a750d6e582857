"""JSON documents as declared structures; what is wrong with one is a phrase that names the field and its value."""

from __future__ import annotations

import json
import re
import types
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

T = TypeVar("T")
_ROUNDING = 1e-9
Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Fraction = Annotated[float, Meta(ge=-_ROUNDING, le=1 + _ROUNDING)]
"""Metrics are computed in floats: an area or a mean of ones may end some units of rounding above one."""

_DEEPEST, _SHOWN = 20, 60
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]|\[\.\.\.\]")
_KINDS = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    tuple: "a list",
}


def decode_json(content: bytes | str) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ValueError: it is none, is nested more than 20 deep, or holds what JSON has not: infinities, half characters.
    """
    try:
        document = msgspec.json.decode(content)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise ValueError(_name_what_is_no_json(content) or str(error)) from None
    if not isinstance(document, dict):
        raise ValueError("it is not a JSON object")
    level: list[Any] = [document]
    for _ in range(_DEEPEST):
        items = (item for inner in level for item in (inner.values() if type(inner) is dict else inner))
        level = [item for item in items if type(item) is dict or type(item) is list]
        if not level:
            return document
    raise ValueError(f"it is nested more than {_DEEPEST} deep")


def _name_what_is_no_json(content: bytes | str) -> str:
    try:
        json.loads(content)  # less strict
    except (ValueError, RecursionError):
        return ""
    return "it holds a number that is not finite, or half of a character (a lone surrogate)"


def convert(document: Any, declared: type[T]) -> T:
    """Return a document as the structure that `declared` says: a `msgspec.Struct` or a dataclass.

    Raises:
        ValueError: a field is missing or wrong.
    """
    try:
        return msgspec.convert(document, declared)
    except msgspec.ValidationError as error:
        raise ValueError(_describe(str(error), document, declared)) from None


def _describe(error: str, value: Any, declared: Any) -> str:
    """Return msgspec's message with the field's name, which it leaves out for keys that may be any, and its value."""
    message, _, path = error.partition(" - at `$")
    field = ""
    for step in _STEP.finditer(path):
        name, index = step.groups()
        if name:
            key, declared = name, get_type_hints(declared, include_extras=True)[name]
        else:
            declared = get_args(declared)[0 if index else 1]
            key = int(index) if index else next(key for key in value if not _fits(value[key], declared))
        value = value[key]
        field += f"[{index}]" if index else f".{json.dumps(key)[1:-1]}"
        if get_origin(declared) in (types.UnionType, Union):
            declared = get_args(declared)[0]
    field = field.removeprefix(".")
    if lacking := re.search(r"required field `(\w+)`", message):
        return f"{field}{'.' if field else ''}{lacking[1]} is missing"
    shown = json.dumps(value)
    return f"{field} is {shown if len(shown) <= _SHOWN else f'{shown[:_SHOWN]}…'}, not {_name_kind(declared)}"


def _fits(value: Any, declared: Any) -> bool:
    try:
        msgspec.convert(value, declared)
    except msgspec.ValidationError:
        return False
    return True


def _name_kind(declared: Any) -> str:
    if declared is Fraction:
        return "a fraction from 0 to 1"
    if get_origin(declared) is Literal:
        return f"one of {', '.join(get_args(declared))}"
    plain = get_args(declared)[0] if get_origin(declared) is Annotated else declared
    return _KINDS.get(get_origin(plain) or plain, "an object")
