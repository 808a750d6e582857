"""Typed, ranged hyper-parameters as dataclass fields.

A class declares them with `param(...)`; everything that must know about them (the spec grammar, `info`, tuning,
identity) reads the declarations.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

from zslbench.errors import BadValue, UnknownName

Scalar = int | float | str | bool


@dataclasses.dataclass(frozen=True)
class Param:
    """What one hyper-parameter allows: type, default, range (both ends included), choices, meaning."""

    name: str
    kind: type
    default: Any
    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple[str, ...] = ()
    help: str = ""
    validate: Callable[[Any], str | None] | None = None

    def allowed(self) -> str:
        """Say what is allowed, in words."""
        if self.choices:
            return f"one of: {', '.join(self.choices)}"
        what = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}[self.kind]
        if self.low is not None and self.high is not None:
            return f"{what} from {self.low:g} to {self.high:g}"
        if self.low is not None:
            return f"{what} of at least {self.low:g}"
        if self.high is not None:
            return f"{what} of at most {self.high:g}"
        return what

    def coerce(self, value: Any, owner: str) -> Scalar:
        """Return `value` as this parameter's type.

        Raises:
            BadValue: wrong type, out of range, not a choice, or refused by the parameter's own check.
        """
        out = self._typed(value)
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        bad = out is None or (self.choices and out not in self.choices)
        if not bad and self.kind in (int, float):
            bad = not (low <= out <= high) or not math.isfinite(out)
        if bad:
            raise BadValue(f"{owner}: {self.name}={value} is not allowed; {self.name} takes {self.allowed()}.")
        if self.validate is not None and (problem := self.validate(out)):
            raise BadValue(f"{owner}: {self.name}={value} is not allowed; {problem}")
        return out  # type: ignore[no-any-return]

    def _typed(self, value: Any) -> Any:
        if self.kind is bool:
            return value if isinstance(value, bool) else None
        if isinstance(value, bool):
            return str(value).lower() if self.kind is str and str(value).lower() in self.choices else None
        if self.kind is float:
            return float(value) + 0.0 if isinstance(value, int | float) else None  # -0.0 becomes 0.0
        if self.kind is int:
            whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
            return int(value) if whole else None
        return value if isinstance(value, str) else None


def param(
    default: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    log: bool = False,
    choices: tuple[str, ...] = (),
    help: str = "",
    validate: Callable[[Any], str | None] | None = None,
) -> Any:
    """Declare a hyper-parameter as a dataclass field: its default, its range and its meaning.

    `log=True` says that tuning should move on a logarithmic scale. `validate` returns a sentence when it refuses a
    value, and None when the value is fine.
    """
    facts = {"low": low, "high": high, "log": log, "choices": choices, "help": help, "validate": validate}
    return dataclasses.field(default=default, metadata={"param": facts})


def declared(cls: type) -> Mapping[str, Param]:
    """Return the hyper-parameters that a dataclass declares, by name and in order."""
    try:
        hints = get_type_hints(cls)
    except Exception as error:  # a name that its module does not have, for instance
        raise BadValue(f"{cls.__name__}: its annotations cannot be read ({error}); mend them.") from error
    for field in dataclasses.fields(cls):
        if "param" in field.metadata and hints[field.name] not in (int, float, str, bool):
            raise BadValue(
                f"{cls.__name__}: parameter {field.name} is declared as {field.type}; declare int, float, str or bool."
            )
    return {
        field.name: Param(field.name, hints[field.name], field.default, **field.metadata["param"])
        for field in dataclasses.fields(cls)
        if "param" in field.metadata
    }


def resolve(cls: type, owner: str, given: Mapping[str, Any]) -> dict[str, Scalar]:
    """Return every parameter of `cls`, defaults filled in, the given values checked and typed.

    Raises:
        UnknownName: a parameter that `cls` does not declare; the nearest name is offered.
        BadValue: a value that the parameter does not allow.
    """
    known = declared(cls)
    for name in given:
        if name not in known:
            raise UnknownName(f"parameter of {owner}", name, known)
    return {name: spec.coerce(given.get(name, spec.default), owner) for name, spec in known.items()}


def values(obj: Any) -> dict[str, Scalar]:
    """Return the hyper-parameters that `obj` holds now."""
    return {name: getattr(obj, name) for name in declared(type(obj))}


def check(obj: Any) -> None:
    """Check and type the hyper-parameters of `obj` in place (call it from ``__post_init__``)."""
    for name, spec in declared(type(obj)).items():
        object.__setattr__(obj, name, spec.coerce(getattr(obj, name), type(obj).__name__))
