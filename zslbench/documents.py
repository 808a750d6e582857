"""JSON and TOML documents as declared structures; what is wrong with one names the field and its value."""

from __future__ import annotations

import collections
import json
import re
import tomllib
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from zslbench.errors import BadValue, UnknownName
from zslbench.visible import shorten

T = TypeVar("T")
_ROUNDING = 1e-9
Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Fraction = Annotated[float, Meta(ge=-_ROUNDING, le=1 + _ROUNDING, description="a fraction from 0 to 1")]
"""Metrics are computed in floats: an area or a mean of ones may end some units of rounding above one."""

_MOST_BYTES = 1_000_000
"""Of a TOML file."""
_DEEPEST, _SHOWN = 20, 60
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]|\[\.\.\.\]")
_KINDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


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
        why = "it holds a number that is not finite, or half of a character (a lone surrogate)"
        try:
            json.loads(content)  # less strict
        except (ValueError, RecursionError):
            why = str(error)
        raise ValueError(why) from None
    if not isinstance(document, dict):
        raise ValueError("it is not a JSON object")
    level: list[Any] = [document]
    for _ in range(_DEEPEST):
        items = (item for inner in level for item in (inner.values() if type(inner) is dict else inner))
        level = [item for item in items if type(item) is dict or type(item) is list]
        if not level:
            return document
    raise ValueError(f"it is nested more than {_DEEPEST} deep")


def refuse_repeated(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of these pairs, as `json.loads` asks its hook; ValueError if a key occurs twice."""
    if len(content := dict(pairs)) < len(pairs):
        key, times = collections.Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"it has the key {key!r} {times} times")
    return content


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
            if get_origin(declared) is Annotated:
                declared = get_args(declared)[0]
            declared = get_args(declared)[0 if index else 1]
            key = int(index) if index else next(key for key in value if not _fits(value[key], declared))
        value = value[key]
        field += f"[{index}]" if index else f".{json.dumps(key)[1:-1]}"
        if get_origin(declared) in (types.UnionType, Union):
            declared = get_args(declared)[0]
    field = field.removeprefix(".")
    if lacking := re.search(r"required field `(\w+)`", message):
        return f"{field}{'.' if field else ''}{lacking[1]} is missing"
    return f"{field} is {shorten(json.dumps(value), _SHOWN)}, not {_name_kind(declared)}"


def read_toml(path: Path | str, what: str, page: str) -> dict[str, Any]:
    """Return the table of a TOML file; `what` it should be, such as "plan", and the `page` of docs that shows one.

    Raises:
        BadValue: a file that cannot be read, or is not TOML.
    """
    path = Path(path)
    try:
        if not path.is_file():
            why = "is a folder" if path.is_dir() else "is not a regular file" if path.exists() else "does not exist"
            raise BadValue(f"the {what} {path} {why}; name a TOML file such as {page} shows.")
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES + 1)
        if len(raw) > _MOST_BYTES:
            raise BadValue(f"the {what} {path} is larger than {_MOST_BYTES} bytes; is it a {what}?")
        return tomllib.loads(raw.decode("utf-8"))
    except OSError as error:
        raise BadValue(f"the {what} {path} cannot be read ({error.strerror}); check its permissions.") from None
    except UnicodeDecodeError:
        raise BadValue(f"the {what} {path} is not TOML (not UTF-8); save it as UTF-8 text.") from None
    except RecursionError:
        raise BadValue(f"the {what} {path} is nested too deep; {page} shows an example.") from None
    except ValueError as error:
        raise BadValue(f"the {what} {path} is not TOML ({error}); mend it there, {page} shows an example.") from None


def check_table(table: Mapping[str, Any], declared: Sequence[type[msgspec.Struct]], where: str) -> None:
    """Check that a table has keys that structures declare, with values of their types.

    Raises:
        BadValue, UnknownName: it has not; `where` begins the sentence.
    """
    kinds = {key: kind for struct in declared for key, kind in get_type_hints(struct, include_extras=True).items()}
    for key, value in table.items():
        if key not in kinds:
            raise UnknownName(f"key in {where}", key, kinds)
        if not _fits(value, kinds[key]):
            raise BadValue(f"{where}: {key} is {shorten(repr(value), _SHOWN)}; write {_name_kind(kinds[key])}.")


def _fits(value: Any, declared: Any) -> bool:
    try:
        msgspec.convert(value, declared)
    except (msgspec.ValidationError, RecursionError, OverflowError):
        return False
    return True


def _name_kind(declared: Any) -> str:
    """Return what may be written: the description of the type, if it has one."""
    origin, parts = get_origin(declared), get_args(declared)
    if origin is Annotated:
        metas = (meta for meta in declared.__metadata__ if isinstance(meta, Meta) and meta.description)
        return next((str(meta.description) for meta in metas), "") or _name_kind(parts[0])
    if origin in (types.UnionType, Union):
        return _name_kind(parts[0])
    if origin is Literal:
        return f"one of {', '.join(parts)}"
    return "a list" if origin in (list, tuple) else _KINDS.get(declared, "an object")
