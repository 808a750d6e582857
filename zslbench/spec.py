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
from zslbench.visible import shorten

_BARE = re.compile(r"[^\s,\[\]=@'\"]+")
_OPEN, _CLOSE, _EQUALS, _COMMA, _NOTHING = map(re.compile, (r"\[", r"\]", "=", ",", ""))
_QUOTE = re.compile("['\"]")
_QUOTED = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*\"""", re.DOTALL)
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)$")
_MAX_RANGE = 10_000
_MAX_DIGITS = 300
"""Digits of a number; a float cannot hold more."""
_MAX_POINTS = 100_000
_MOST_SHOWN = 200
"""How many characters of a text an error message repeats."""


@dataclasses.dataclass(frozen=True)
class Spec:
    """A parsed spec: a name, presets that replace defaults in this order, and explicit values, which come last.

    A value that is a tuple is a grid, which `expand` turns into one spec per point.
    """

    name: str
    presets: tuple[str, ...] = ()
    params: Mapping[str, Scalar | tuple[Scalar, ...]] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        return self.name + "".join(f"@{preset}" for preset in self.presets) + brackets(self.params)


def brackets(params: Mapping[str, Any]) -> str:
    """Return parameters in the grammar of specs: ``[a=1,b=x]``, or an empty text if there are none."""
    if not params:
        return ""
    return "[" + ",".join(f"{key}={write_value(value)}" for key, value in params.items()) + "]"


def write_value(value: Any) -> str:
    """Return one value in the grammar of specs."""
    if isinstance(value, tuple | list):
        return "[" + ",".join(write_value(item) for item in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    text = str(value)
    if isinstance(value, int) or (_BARE.fullmatch(text) and _parse_word(text) == text and not _RANGE.match(text)):
        return text
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
        raise BadSpec(f"cannot read {shorten(text, _MOST_SHOWN)!r}; write name, name@preset or name[key=value,…].")
    params = _Reader(text, body).read_params() if bracket else {}
    return Spec(name.strip(), tuple(preset.strip() for preset in presets), params)


def parse_recorded(text: str) -> Spec:
    """Parse the label of a record; a label that is not a spec (damaged, or made by a plugin) becomes a name alone.

    >>> parse_recorded("sae[lam=2]").params, parse_recorded("my best [v2]").name
    ({'lam': 2}, 'my best [v2]')
    """
    try:
        return parse(text)
    except BadSpec:
        return Spec(text)


def presets_in(label: str) -> list[str]:
    """Return the presets that the label of a record names, whatever else it holds.

    >>> presets_in("lisgan@paper@S1[epochs=2]")
    ['paper', 'S1']
    """
    return label.partition("[")[0].split("@")[1:]


def expand(spec: Spec) -> list[Spec]:
    """Return one spec per grid point, in order; the last grid varies fastest.

    Raises:
        BadSpec: the grid has more points than are allowed.
    """
    axes = [value if isinstance(value, tuple) else (value,) for value in spec.params.values()]
    if (count := math.prod(map(len, axes))) > _MAX_POINTS:
        raise BadSpec(
            f"the grid of {spec.name} has {count} points; at most {_MAX_POINTS} are allowed, name fewer values."
        )
    points = itertools.product(*axes)
    return [dataclasses.replace(spec, params=dict(zip(spec.params, point, strict=True))) for point in points]


def _parse_word(word: str) -> Scalar:
    if word.lower() in ("true", "false"):
        return word.lower() == "true"
    if re.fullmatch(r"[+-]?\d+", word):
        return int(word)
    if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", word):
        return float(word)
    return word


class _Reader:
    """A recursive-descent reader of the text between the outer brackets."""

    def __init__(self, text: str, body: str) -> None:
        self.text, self.body, self.at = text, body, 0

    def fail(self, wanted: str) -> BadSpec:
        rest = self.body[self.at :]
        where = f"at {shorten(rest, _MOST_SHOWN)!r}" if rest else "at its end"
        return BadSpec(f"cannot read {shorten(self.text, _MOST_SHOWN)!r} {where}: {wanted}; write name[key=value,…].")

    def read(self, pattern: re.Pattern[str]) -> str:
        """Skip spaces, then return and skip the text that matches a pattern; empty if it does not match here."""
        while self.at < len(self.body) and self.body[self.at].isspace():
            self.at += 1
        match = pattern.match(self.body, self.at)
        self.at = match.end() if match else self.at
        return match[0] if match else ""

    def read_params(self) -> dict[str, Scalar | tuple[Scalar, ...]]:
        params: dict[str, Scalar | tuple[Scalar, ...]] = {}
        while params or not self.read(_CLOSE):
            key = self.read(_KEY)
            if not key:
                raise self.fail("a parameter name was expected")
            if key in params:
                raise self.fail(f"{key} is given twice")
            if not self.read(_EQUALS):
                raise self.fail(f"'=' was expected after {key}")
            params[key] = self.read_grid() if self.read(_OPEN) else self.read_value()[0]
            if self.read(_CLOSE):
                break
            if not self.read(_COMMA):
                raise self.fail("',' or ']' was expected")
        self.read(_NOTHING)
        if self.at != len(self.body):
            raise self.fail("nothing was expected after ']'")
        return params

    def read_grid(self) -> tuple[Scalar, ...]:
        points: list[Scalar] = []
        while True:
            value, quoted = self.read_value()
            span = _RANGE.match(value) if isinstance(value, str) and not quoted else None
            if span:
                low, high = int(span[1]), int(span[2])
                if high < low or high - low > _MAX_RANGE:
                    raise self.fail(f"the range {value} is empty or longer than {_MAX_RANGE}")
                points.extend(range(low, high + 1))
            else:
                points.append(value)
            if self.read(_CLOSE):
                return tuple(points)
            if not self.read(_COMMA):
                raise self.fail("',' or ']' was expected in the grid")

    def read_value(self) -> tuple[Scalar, bool]:
        """Return the next value, and whether it was quoted."""
        if quoted := self.read(_QUOTED):
            return re.sub(r"\\(.)", r"\1", quoted[1:-1], flags=re.DOTALL), True
        if self.read(_QUOTE):
            self.at = len(self.body)
            raise self.fail("the quote is never closed")
        word = self.read(_BARE)
        if not word:
            raise self.fail("a value was expected")
        if sum(sign.isdigit() for sign in word) > _MAX_DIGITS:
            self.at -= len(word)
            raise self.fail(f"a number of at most {_MAX_DIGITS} digits was expected")
        return _parse_word(word), False
