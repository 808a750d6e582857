"""The grammar ``name@preset[key=value,…]``, with grids ``key=[1,3,5]`` and ranges ``key=[1..5]``."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Mapping
from typing import Any

from zslbench.errors import BadSpec
from zslbench.params import Scalar

_BARE = re.compile(r"[^\s,\[\]=@'\"]+")
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)$")
_WORDS = {"true": True, "false": False}
_MAX_RANGE = 10_000
_MAX_DIGITS = 300
"""Of a number; more is more than a float can hold."""
_MAX_POINTS = 100_000
_SHOWN = 200
"""Characters of a text that a sentence repeats."""


@dataclasses.dataclass(frozen=True)
class Spec:
    """One parsed text: a name, presets to lay over the defaults in order, and explicit values.

    A value that is a tuple is a grid, which `expand` turns into one spec a point.
    """

    name: str
    presets: tuple[str, ...] = ()
    params: Mapping[str, Scalar | tuple[Scalar, ...]] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        return self.name + "".join(f"@{preset}" for preset in self.presets) + brackets(self.params)


def brackets(params: Mapping[str, Any]) -> str:
    """Write parameters as the grammar has them: ``[a=1,b=x]``, or nothing when there are none."""
    if not params:
        return ""
    return "[" + ",".join(f"{key}={_write(value)}" for key, value in params.items()) + "]"


def _write(value: Any) -> str:
    if isinstance(value, tuple | list):
        return "[" + ",".join(_write(item) for item in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _write_float(value)
    text = str(value)
    plain = _BARE.fullmatch(text) and _scalar(text) == text and not _RANGE.match(text)
    return text if plain else _quoted(text)


def _write_float(value: float) -> str:
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def parse(text: str) -> Spec:
    """Parse one spec.

    >>> parse("lisgan@published[souls=5,cascade=off]").params["souls"]
    5
    >>> [str(point) for point in expand(parse("eszsl[gamma=[1,10],lam=2]"))]
    ['eszsl[gamma=1,lam=2]', 'eszsl[gamma=10,lam=2]']

    Raises:
        BadSpec: the text does not follow the grammar; the message says where.
    """
    head, bracket, body = text.partition("[")
    name, *presets = head.split("@")
    if not name.strip() or any(not preset.strip() for preset in presets):
        raise BadSpec(f"cannot read {_short(text)!r}; write name, name@preset or name[key=value,…].")
    if not bracket:
        return Spec(name.strip(), tuple(preset.strip() for preset in presets))
    return Spec(name.strip(), tuple(preset.strip() for preset in presets), _Reader(text, body).items())


def parse_recorded(text: str) -> Spec:
    """Parse the label of a record; one that is no spec, of a plugin's own making or damaged, is a name alone.

    >>> parse_recorded("sae[lam=2]").params, parse_recorded("my best [v2]").name
    ({'lam': 2}, 'my best [v2]')
    """
    try:
        return parse(text)
    except BadSpec:
        return Spec(text)


def expand(spec: Spec) -> list[Spec]:
    """Return one spec a grid point, in order; the last grid varies fastest.

    Raises:
        BadSpec: more points than anybody means.
    """
    axes = [value if isinstance(value, tuple) else (value,) for value in spec.params.values()]
    if (count := math.prod(map(len, axes))) > _MAX_POINTS:
        raise BadSpec(
            f"the grid of {spec.name} has {count} points; at most {_MAX_POINTS} are allowed, name fewer values."
        )
    points = itertools.product(*axes)
    return [dataclasses.replace(spec, params=dict(zip(spec.params, point, strict=True))) for point in points]


def _scalar(word: str) -> Scalar:
    if word.lower() in _WORDS:
        return _WORDS[word.lower()]
    if re.fullmatch(r"[+-]?\d+", word):
        return int(word)
    if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", word):
        return float(word)
    return word


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


class _Reader:
    """A recursive-descent reader of the text between the outer brackets."""

    def __init__(self, text: str, body: str) -> None:
        self.text, self.body, self.at = text, body, 0

    def fail(self, wanted: str) -> BadSpec:
        rest = self.body[self.at :]
        where = f"at {_short(rest)!r}" if rest else "at its end"
        return BadSpec(f"cannot read {_short(self.text)!r} {where}: {wanted}; write name[key=value,…].")

    def skip(self) -> None:
        while self.at < len(self.body) and self.body[self.at].isspace():
            self.at += 1

    def eat(self, mark: str) -> bool:
        self.skip()
        found = self.body.startswith(mark, self.at)
        self.at += len(mark) if found else 0
        return found

    def items(self) -> dict[str, Scalar | tuple[Scalar, ...]]:
        found: dict[str, Scalar | tuple[Scalar, ...]] = {}
        while not (not found and self.eat("]")):
            self.skip()
            key = _KEY.match(self.body, self.at)
            if not key:
                raise self.fail("a parameter name was expected")
            self.at = key.end()
            if key[0] in found:
                raise self.fail(f"{key[0]} is given twice")
            if not self.eat("="):
                raise self.fail(f"'=' was expected after {key[0]}")
            found[key[0]] = self.grid() if self.eat("[") else self.value()
            if self.eat("]"):
                break
            if not self.eat(","):
                raise self.fail("',' or ']' was expected")
        self.skip()
        if self.at != len(self.body):
            raise self.fail("nothing was expected after ']'")
        return found

    def grid(self) -> tuple[Scalar, ...]:
        points: list[Scalar] = []
        while True:
            start = self.at
            value = self.value()
            span = _RANGE.match(value) if isinstance(value, str) else None
            if span and not self.body[start : self.at].strip().startswith(("'", '"')):
                low, high = int(span[1]), int(span[2])
                if high < low or high - low > _MAX_RANGE:
                    raise self.fail(f"the range {value} is empty or longer than {_MAX_RANGE}")
                points.extend(range(low, high + 1))
            else:
                points.append(value)
            if self.eat("]"):
                return tuple(points)
            if not self.eat(","):
                raise self.fail("',' or ']' was expected in the grid")

    def value(self) -> Scalar:
        self.skip()
        quote = self.body[self.at : self.at + 1]
        if quote in ("'", '"'):
            return self.string(quote)
        word = _BARE.match(self.body, self.at)
        if not word:
            raise self.fail("a value was expected")
        if sum(sign.isdigit() for sign in word[0]) > _MAX_DIGITS:
            raise self.fail(f"a number of at most {_MAX_DIGITS} digits was expected")
        self.at = word.end()
        return _scalar(word[0])

    def string(self, quote: str) -> str:
        self.at += 1
        out: list[str] = []
        while self.at < len(self.body) and self.body[self.at] != quote:
            self.at += self.body[self.at] == "\\"
            out.append(self.body[self.at : self.at + 1])
            self.at += 1
        if self.at >= len(self.body):
            raise self.fail("the quote is never closed")
        self.at += 1
        return "".join(out)
