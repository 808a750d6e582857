"""What a record's document must hold: checked on reading, so that a damaged file is a sentence and not a traceback."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Mapping
from typing import Any, get_args

STAGES = ("final", "dev")
SELECTIONS = ("fixed", "validated", "oracle")

_DEEPEST = 20
_ROUNDING = 1e-9
_SHOWN = 60

_Check = Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_fraction(value: Any) -> bool:
    # Metrics are computed in floats: an area or a mean of ones may end some units of rounding above one.
    return type(value) in (float, int) and -_ROUNDING <= value <= 1 + _ROUNDING


def _one_of(names: tuple[str, ...]) -> tuple[_Check, str]:
    return lambda value: _is_text(value) and value in names, f"one of {', '.join(names)}"


_TEXT = (_is_text, "a text")
_WHOLE = (_is_whole, "a whole number")
_OBJECT = (_is_object, "an object")
_FRACTION = (_is_fraction, "a fraction from 0 to 1")


def _needed(statuses: tuple[str, ...]) -> Mapping[str, tuple[_Check, str]]:
    return {
        "id": _TEXT,
        "status": _one_of(statuses),
        "method": _OBJECT,
        "method.name": _TEXT,
        "method.label": _TEXT,
        "method.title": _TEXT,
        "method.params": _OBJECT,
        "method.version": _WHOLE,
        "dataset": _OBJECT,
        "dataset.name": _TEXT,
        "dataset.features": _TEXT,
        "dataset.semantics": _TEXT,
        "dataset.fingerprint": _TEXT,
        "protocol": _OBJECT,
        "protocol.name": _TEXT,
        "protocol.version": _WHOLE,
        "protocol.params": _OBJECT,
        "stage": _one_of(STAGES),
        "fold": _WHOLE,
        "seed": _WHOLE,
    }


_OPTIONAL: Mapping[str, tuple[_Check, str]] = {
    "method.setting": _TEXT,
    "method.stochastic": (_is_flag, "true or false"),
    "dataset.origin": _TEXT,
    "dataset.split": _TEXT,
    "dataset.first_class": _WHOLE,
    "selection": _one_of(SELECTIONS),
    "metrics": _OBJECT,
    "timings": _OBJECT,
    "memory": _OBJECT,
    "provenance": _OBJECT,
    "curve": (lambda value: isinstance(value, list), "a list"),
    "error": _TEXT,
}


def unreadable(document: object, text: str) -> str:
    """Return why a JSON value is no record of any schema; empty when it may be one.

    Args:
        document: as JSON gave it; text: what it was read from.
    """
    if not isinstance(document, dict):
        return "it is not a JSON object"
    if not _is_whole(document.get("schema")):
        return "schema is not a whole number"
    if "\\u" in text or not text.isascii():  # where alone half of a character can come from
        try:
            json.dumps(document, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            return "it holds half of a character, a lone surrogate"
    return _wrong_value(document)


def problem(document: Mapping[str, Any], statuses: object) -> str:
    """Return which field of a record's document is wrong, and how; empty when all are right.

    Args:
        document: as JSON gave it.
        statuses: the `Literal` type of the statuses that there are.
    """
    for field, part, key, check, wanted, optional in _checks(get_args(statuses)):
        inside: Any = document[part] if key else document
        if (key or part) not in inside:
            if optional:
                continue
            return f"{field} is missing"
        if not check(value := inside[key or part]):
            return _said(field, value, wanted)
    metrics, curve = document.get("metrics", {}), document.get("curve", [])
    return _wrong_metric("metrics", metrics) or ("" if _is_plain(curve) else _wrong_curve(curve))


@functools.cache
def _checks(statuses: tuple[str, ...]) -> list[tuple[str, str, str, _Check, str, bool]]:
    """Return field, its part and key, check, what is wanted, and whether it may be missing; a part before its keys."""
    out = []
    for fields, optional in ((_needed(statuses), False), (_OPTIONAL, True)):
        for field, (check, wanted) in fields.items():
            part, _, key = field.partition(".")
            out.append((field, part, key, check, wanted, optional))
    return out


def _wrong_metric(field: str, metrics: Mapping[str, Any]) -> str:
    check, wanted = _FRACTION
    for name, value in metrics.items():
        if not check(value):
            return _said(f"{field}.{_quoted(name)[1:-1]}", value, wanted)
    return ""


def _is_plain(curve: Any) -> bool:
    """Return whether a curve is as `to_json` writes it, which is seen faster than what is wrong with another."""
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


def _wrong_curve(curve: list[Any]) -> str:
    for place, entry in enumerate(curve):
        if not _is_object(entry) or not _is_whole(entry.get("step")) or not _is_object(entry.get("metrics")):
            return _said(f"curve[{place}]", entry, "an object of a step and its metrics")
        if said := _wrong_metric(f"curve[{place}].metrics", entry["metrics"]):
            return said
    return ""


def _said(field: str, value: Any, wanted: str) -> str:
    return f"{field} is {_quoted(value)}, not {wanted}"


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
