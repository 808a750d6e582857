"""Typed, ranged hyper-parameters as dataclass fields.

A class declares them with `param(...)`; everything that must know about them (the spec grammar, `info`, tuning,
identity) reads the declarations.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import types
from collections.abc import Callable, Mapping
from typing import Any, cast, get_type_hints

from zslbench.errors import BadValue, UnknownName

Scalar = int | float | str | bool
_KINDS = (int, float, str, bool)
NEVER_PARAMETERS = frozenset(("card", "name", "setting", "stochastic", "version"))
"""What a class may declare about itself, as attributes that are not hyper-parameters."""


@dataclasses.dataclass(frozen=True)
class Between:
    """A range that tuning searches: the values from `low` to `high`, both included.

    Attributes:
        log: whether to move on a logarithmic scale (`low` is above 0 then).
        zero: whether 0 is tried as well, which switches a term off and which no logarithmic scale reaches.
    """

    low: float
    high: float
    log: bool = False
    zero: bool = False

    def __str__(self) -> str:
        span = f"{self.low:g} to {self.high:g}" + (", log scale" if self.log else "")
        return f"0, or {span}" if self.zero else span


Dimension = tuple[Scalar, ...] | Between
"""The values that tuning searches for one hyper-parameter: a list, or a range."""


def describe_dimension(dimension: Dimension) -> str:
    """Return the searched values in words.

    >>> describe_dimension((0.1, 1, "none", True)), describe_dimension(Between(0.01, 10, log=True, zero=True))
    ('0.1, 1, none, true', '0, or 0.01 to 10, log scale')
    """
    return str(dimension) if isinstance(dimension, Between) else ", ".join(map(format_value, dimension))


def format_value(value: Any) -> str:
    """Return a parameter's value for display, much as the grammar of specs writes it."""
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


@dataclasses.dataclass(frozen=True)
class Param:
    """One declared hyper-parameter: type, default, range (both ends included), choices, meaning."""

    name: str
    kind: type
    default: Any
    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple[str, ...] = ()
    help: str = ""
    validate: Callable[[Any], str | None] | None = None

    def describe_allowed(self) -> str:
        """Return the allowed values in words."""
        if self.choices:
            return f"one of: {', '.join(self.choices)}"
        kind = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}[self.kind]
        if self.low is not None and self.high is not None:
            return f"{kind} from {self.low:g} to {self.high:g}"
        if self.low is not None:
            return f"{kind} of at least {self.low:g}"
        return kind if self.high is None else f"{kind} of at most {self.high:g}"

    def coerce(self, value: Any, owner: str) -> Scalar:
        """Return `value` as this parameter's type.

        Raises:
            BadValue: wrong type, out of range, not a choice, or refused by `validate`.
        """
        out = self._convert(value)
        bad = out is None or (self.choices and out not in self.choices)
        if not bad and self.kind in (int, float):
            low, high = (-math.inf if self.low is None else self.low), (math.inf if self.high is None else self.high)
            bad = not (low <= out <= high and math.isfinite(out))
        problem = (
            f"{self.name} takes {self.describe_allowed()}." if bad else self.validate(out) if self.validate else None
        )
        if problem:
            raise BadValue(f"{owner}: {self.name}={value} is not allowed; {problem}")
        return out  # type: ignore[no-any-return]

    def dimension(self, given: Dimension, owner: str) -> Dimension:
        """Return the searched values as this parameter's type, without repetitions.

        Raises:
            BadValue: there are no values, one is not allowed, or the ends of a range are not in order.
        """
        if not isinstance(given, Between):
            if not given:
                raise BadValue(f"{owner}: the space of {self.name} has no values; list some.")
            return tuple(dict.fromkeys(self.coerce(value, owner) for value in given))
        if self.kind not in (int, float):
            raise BadValue(
                f"{owner}: {self.name} takes {self.describe_allowed()}, which has no range; list values instead."
            )
        low, high = (cast(float, self.coerce(end, owner)) for end in (given.low, given.high))
        if not low < high or ((given.log or given.zero) and low <= 0):
            above = " with the first above 0" if given.log or given.zero else ""
            raise BadValue(f"{owner}: the space of {self.name} is {given}; give two ends in order{above}.")
        if given.zero:
            self.coerce(0, owner)
        return dataclasses.replace(given, low=low, high=high)

    def _convert(self, value: Any) -> Any:
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

    `log=True` makes tuning search on a logarithmic scale. `validate` returns a sentence if it refuses a value, else
    None.
    """
    facts = {"low": low, "high": high, "log": log, "choices": choices, "help": help, "validate": validate}
    return dataclasses.field(default=default, metadata={"param": facts})


def other_default(default: Any, *, help: str = "") -> Any:
    """Declare another default, and help if it is given, for a hyper-parameter that a base class declares."""
    return _OtherDefault(default, help)


@dataclasses.dataclass(frozen=True)
class _OtherDefault:
    """Makes way for the field, with the facts of the inherited one, as soon as its class and name are known."""

    default: Any
    help: str

    def __set_name__(self, owner: type, name: str) -> None:
        declared = [vars(base).get("__dataclass_fields__", {}).get(name) for base in owner.__mro__[1:]]
        inherited = next((field for field in declared if field and "param" in field.metadata), None)
        if inherited is None:
            raise BadValue(f"{owner.__name__}: no base class declares the parameter {name}; write param(…).")
        facts = inherited.metadata["param"]
        setattr(owner, name, param(self.default, **facts | {"help": self.help or facts["help"]}))


def declared_params(cls: type) -> Mapping[str, Param]:
    """Return the hyper-parameters that a dataclass declares, by name and in order."""
    key: Any = cls  # mypy takes some classes for unhashable
    return _declared(key)


@functools.lru_cache(maxsize=256)  # planning asks for each run, and reading annotations takes a millisecond
def _declared(cls: type) -> Mapping[str, Param]:
    try:
        hints = get_type_hints(cls)
    except Exception as error:  # a name that its module does not have, for instance
        raise BadValue(f"{cls.__name__}: its annotations cannot be read ({error}); mend them.") from error
    fields = [field for field in dataclasses.fields(cls) if "param" in field.metadata]
    for field in fields:
        if hints[field.name] not in _KINDS:
            raise BadValue(
                f"{cls.__name__}: parameter {field.name} is declared as {field.type}; declare int, float, str or bool."
            )
    return types.MappingProxyType(
        {field.name: Param(field.name, hints[field.name], field.default, **field.metadata["param"]) for field in fields}
    )


def resolve(cls: type, owner: str, given: Mapping[str, Any]) -> dict[str, Scalar]:
    """Return every parameter of `cls`: the given values checked and converted, defaults for the others.

    Raises:
        UnknownName: a parameter that `cls` does not declare; the nearest name is offered.
        BadValue: a value that its parameter does not allow.
    """
    known = declared_params(cls)
    for name in given:
        if name not in known:
            default = inspect.getattr_static(cls, name, None)
            annotated = NEVER_PARAMETERS.union(*map(inspect.get_annotations, cls.__mro__))
            if type(default) in _KINDS and name not in annotated:
                value = repr(default) if hasattr(cls, "written_as") else f"param({default!r})"
                declared = f"{name}: {type(default).__name__} = {value}"
                raise BadValue(f"{owner}: {name} has no annotation, so it is no parameter; write `{declared}`.")
            raise UnknownName(f"parameter of {owner}", name, known)
    return {name: param.coerce(given.get(name, param.default), owner) for name, param in known.items()}


def current_values(obj: Any) -> dict[str, Scalar]:
    """Return the hyper-parameters that `obj` holds now."""
    return {name: getattr(obj, name) for name in declared_params(type(obj))}


def check_values(obj: Any) -> None:
    """Check and convert the hyper-parameters of `obj` in place (call it from ``__post_init__``)."""
    for name, param in declared_params(type(obj)).items():
        object.__setattr__(obj, name, param.coerce(getattr(obj, name), type(obj).__name__))
