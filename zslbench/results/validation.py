"""What a record's document must hold: checked on reading, so that a damaged file is a sentence and not a traceback."""

from __future__ import annotations

import json
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
    return isinstance(value, Mapping)


def _is_fraction(value: Any) -> bool:
    # Metrics are computed in floats: an area or a mean of ones may end some units of rounding above one.
    return isinstance(value, int | float) and not isinstance(value, bool) and -_ROUNDING <= value <= 1 + _ROUNDING


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
    "selection": _one_of(SELECTIONS),
    "metrics": _OBJECT,
    "timings": _OBJECT,
    "memory": _OBJECT,
    "provenance": _OBJECT,
    "curve": (lambda value: isinstance(value, list), "a list"),
    "error": _TEXT,
}


def problem(document: Mapping[str, Any], statuses: object) -> str:
    """Return which field of a record's document is wrong, and how; empty when all are right.

    Args:
        document: as JSON gave it.
        statuses: the `Literal` type of the statuses that there are.
    """
    if _is_deep(document, _DEEPEST):
        return f"it is nested more than {_DEEPEST} deep"
    for field, (check, wanted) in _needed(get_args(statuses)).items():
        there, value = _value(document, field)
        if not there:
            return f"{field} is missing"
        if not check(value):
            return _said(field, value, wanted)
    for field, (check, wanted) in _OPTIONAL.items():
        there, value = _value(document, field)
        if there and not check(value):
            return _said(field, value, wanted)
    return _wrong_metric("metrics", document.get("metrics", {})) or _wrong_curve(document.get("curve", []))


def _value(document: Mapping[str, Any], field: str) -> tuple[bool, Any]:
    part, _, key = field.partition(".")
    if not key:
        return part in document, document.get(part)
    return key in document[part], document[part].get(key)


def _wrong_metric(field: str, metrics: Mapping[str, Any]) -> str:
    check, wanted = _FRACTION
    for name, value in metrics.items():
        if not check(value):
            return _said(f"{field}.{_quoted(name)[1:-1]}", value, wanted)
    return ""


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


def _is_deep(value: Any, left: int) -> bool:
    if isinstance(value, Mapping):
        return left == 0 or any(_is_deep(inner, left - 1) for inner in value.values())
    if isinstance(value, list):
        return left == 0 or any(_is_deep(inner, left - 1) for inner in value)
    return False
