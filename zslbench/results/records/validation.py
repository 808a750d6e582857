"""What a record's document must hold: checked on reading, so that a damaged file is a sentence and not a traceback."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Struct, field

Status = Literal["ok", "failed", "crashed", "timeout", "interrupted", "skipped"]
Stage = Literal["final", "dev"]
Selection = Literal["fixed", "validated", "oracle"]
STAGES: tuple[Stage, ...] = get_args(Stage)
SELECTIONS: tuple[Selection, ...] = get_args(Selection)

_DEEPEST = 20
_ROUNDING = 1e-9
_SHOWN = 60

_ALMOST = 1 + _ROUNDING
Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
# Metrics are computed in floats: an area or a mean of ones may end some units of rounding above one.
Fraction = Annotated[float, Meta(ge=-_ROUNDING, le=_ALMOST)]
_Amount = Annotated[float, Meta(ge=0, le=1e18)]


class _Method(Struct):
    name: str
    label: str
    title: str
    params: dict[str, Any]
    version: Whole
    setting: str = ""
    stochastic: bool = True


class _Dataset(Struct):
    name: str
    features: str
    semantics: str
    fingerprint: str
    origin: str = ""
    split: str = ""
    first_class: Whole = 0


class _Protocol(Struct):
    name: str
    version: Whole
    params: dict[str, Any]


class _Judged(Struct):
    step: Whole
    metrics: dict[str, Fraction]


class _Kept(Struct):
    per_class: Whole = 0
    space: str = ""


class _Provenance(Struct):
    """What something is made of later on; whatever else is recorded may be anything."""

    method_source: str | None = None
    zslbench: str = ""
    finished: str = ""
    device: str = ""
    processors: Whole = 1
    precision: str = ""
    limit: str = ""
    seeds_at_once: Whole = 1
    grid_points: Whole = 1
    kept_features: _Kept | None = None


class _Document(Struct):
    """A record's document: what must be there, and of which type what may be there is."""

    id: str
    status: Status
    method: _Method
    dataset: _Dataset
    protocol: _Protocol
    stage: Stage
    fold: Whole
    seed: Whole
    selection: Selection = "fixed"
    metrics: dict[str, Fraction] = {}
    curve: list[_Judged] = []
    timings: dict[str, _Amount] = {}
    memory: dict[str, _Amount] = {}
    provenance: _Provenance = field(default_factory=_Provenance)
    error: str = ""


_WANTED = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "object": "an object",
    "array": "a list",
}
_EXPECTED = re.compile(r"Expected `(\w+)")
_AT = re.compile(r" - at `\$(.*)`$", re.DOTALL)
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]|(\[\.\.\.\])")


def unreadable(document: object, text: str) -> str:
    """Return why a JSON value is no record of any schema; empty when it may be one.

    Args:
        document: as JSON gave it; text: what it was read from.
    """
    if not isinstance(document, dict):
        return "it is not a JSON object"
    if type(document.get("schema")) is not int:
        return "schema is not a whole number"
    if "\\u" in text or not text.isascii():  # where alone half of a character can come from
        try:
            json.dumps(document, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            return "it holds half of a character, a lone surrogate"
    return _wrong_value(document)


def problem(document: Mapping[str, Any]) -> str:
    """Return which field of a record's document is wrong, and how; empty when all are right."""
    return wrong_field(document, _Document)


def wrong_field(document: Mapping[str, Any], declared: type) -> str:
    """Return which field of a document is not as declared, and how; empty when all are."""
    try:
        msgspec.convert(document, declared)
    except msgspec.ValidationError as error:
        return _sentence(str(error), document, declared)
    return ""


def _sentence(error: str, document: Any, declared: type) -> str:
    """Return msgspec's sentence with the name and value of the field, which it leaves out for keys that may be any."""
    path = _AT.search(error)
    told = _AT.sub("", error)
    field, value = "", document
    for key, place, anything in _STEP.findall(path[1] if path else ""):
        if anything:
            key = _culprit(field, value, error, document, declared)
        value = value[int(place)] if place else value[key]
        field += f"[{place}]" if place else f".{_quoted(key)[1:-1]}" if anything else f".{key}"
    field = field.removeprefix(".")
    if lacking := re.search(r"required field `(\w+)`", told):
        return f"{field}{'.' if field else ''}{lacking[1]} is missing"
    expected = _EXPECTED.match(told)
    if "metrics" in field and expected and expected[1] == "float":
        wanted = "a fraction from 0 to 1"
    elif field in _CHOICES:
        wanted = f"one of {', '.join(_CHOICES[field])}"
    elif expected:
        wanted = _WANTED.get(expected[1], expected[1]) + (told[expected.end() + 1 :] if " of length" in told else "")
    else:
        wanted = told
    return f"{field} is {_quoted(value)}, not {wanted}"


def _culprit(field: str, value: dict[str, Any], error: str, document: Any, declared: type) -> str:
    """Return the key of a dictionary whose value is the one that the error is of."""
    whole = dict(value)
    for key in whole:
        value.clear()
        value[key] = whole[key]
        try:
            msgspec.convert(document, declared)
        except msgspec.ValidationError as again:
            if str(again) == error:
                break
    value.clear()
    value.update(whole)
    return key


_CHOICES: Mapping[str, tuple[str, ...]] = {"status": get_args(Status), "stage": STAGES, "selection": SELECTIONS}


def _is_plain(curve: Any) -> bool:
    """Return whether a curve is as `to_json` writes it, in which no value can be deep or not finite."""
    if type(curve) is not list:
        return False
    for entry in curve:
        if type(entry) is not dict or len(entry) != 2:
            return False
        metrics = entry.get("metrics")
        if type(metrics) is not dict or type(entry.get("step")) is not int:
            return False
        for value in metrics.values():
            if type(value) is not float or not 0 <= value <= 1:
                return False
    return True


def _quoted(value: Any) -> str:
    """Return a value as JSON writes it, on one line and shortened."""
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _wrong_value(document: Mapping[str, Any]) -> str:
    """Return what is wrong with a value anywhere within: too deep, or not finite. Level by level: records are many."""
    if _is_plain(document.get("curve")):
        document = {key: value for key, value in document.items() if key != "curve"}
    level: list[Any] = [document]
    for _ in range(_DEEPEST):
        below: list[Any] = []
        for inner in level:
            for value in inner.values() if type(inner) is dict else inner:
                kind = type(value)
                if kind is dict or kind is list:
                    below.append(value)
                elif kind is float and not math.isfinite(value):
                    return "it holds a number that is not finite"
        if not below:
            return ""
        level = below
    return f"it is nested more than {_DEEPEST} deep"
