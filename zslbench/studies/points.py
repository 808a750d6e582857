"""The settings that an ablation compares: a method's named ablations, or the values of one parameter."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence

from zslbench import params
from zslbench.errors import BadSpec, BadValue, UnknownName
from zslbench.methods.base import Method
from zslbench.params import Scalar
from zslbench.registry import METHODS
from zslbench.runner.classes import method_class
from zslbench.spec import Spec, brackets, expand, parse

FULL, AS_GIVEN = "full", "as given"


@dataclasses.dataclass(frozen=True)
class Point:
    """One setting: its name in the table, what is run, a few words on it, and the value of a sweep."""

    name: str
    spec: Spec
    help: str = ""


@dataclasses.dataclass(frozen=True)
class Series:
    """Settings that stand in one table.

    Attributes:
        swept: the parameter whose values they are; empty for named ablations.
        points: in order.
        own: the method as it was given.
    """

    swept: str
    points: tuple[Point, ...]
    own: Point


def base(text: str) -> tuple[Spec, type[Method]]:
    """Return the method that an ablation starts from, and its class.

    Raises:
        BadValue: a grid of methods; UnknownName and others: a method or parameter that does not exist.
    """
    spec = parse(text)
    if len(expand(spec)) > 1:
        raise BadValue(f"{text!r} stands for several methods; give each parameter one value, and a list to --sweep.")
    cls = method_class(spec.name)
    (spec,) = expand(spec)
    params.resolve(cls, spec.name, spec.params)
    return spec, cls


def named(spec: Spec, cls: type[Method]) -> Series:
    """Return a method's named ablations in the order of their declaration.

    An ablation takes something away from whatever was given, so its values win over given parameters.

    Raises:
        BadValue: the method has none, or `spec` is an ablation itself.
    """
    if not cls.ablations:
        have = ", ".join(_with_ablations()) or "none"
        first = next(iter(params.declared(cls)), "NAME")
        raise BadValue(
            f"method {spec.name!r} declares no ablations (these do: {have}); sweep one of its parameters instead, "
            f"for instance --sweep '{first}=[…]'; zslbench info {shlex.quote(spec.name)} lists them."
        )
    already = [preset for preset in spec.presets if preset in cls.ablations]
    if already:
        plain = dataclasses.replace(spec, presets=tuple(one for one in spec.presets if one not in already))
        raise BadValue(f"{str(spec)!r} is an ablation itself; name the whole method: zslbench ablate '{plain}' …")
    points = [
        Point(
            tag,
            Spec(
                spec.name,
                (*spec.presets, tag),
                {key: value for key, value in spec.params.items() if key not in ablation.values},
            ),
            ablation.help,
        )
        for tag, ablation in cls.ablations.items()
    ]
    return Series("", tuple(points), Point(FULL, spec, "the method as given"))


def swept(spec: Spec, cls: type[Method], text: str) -> Series:
    """Return the settings of one ``NAME=[values]``; every other parameter stays as given.

    Raises:
        BadSpec: not of that form; UnknownName: no such parameter; BadValue: a value that it does not allow.
    """
    try:
        found = parse(f"sweep[{text}]").params
    except BadSpec:
        found = {}
    if len(found) != 1:
        raise BadSpec(f"cannot read --sweep {text!r}; write NAME=[1,2,5] or NAME=[1..5], one parameter each.")
    ((name, values),) = found.items()
    known = params.declared(cls)
    if name not in known:
        raise UnknownName(f"parameter of {spec.name}", name, known)
    grid: Sequence[Scalar] = values if isinstance(values, tuple) else (values,)
    if len(grid) < 2:
        raise BadValue(f"--sweep {text} names one value; give several, for instance {name}=[…,…].")
    values_once = dict.fromkeys(known[name].coerce(value, spec.name) for value in grid)
    points = tuple(
        Point(written(name, value), dataclasses.replace(spec, params={**spec.params, name: value}))
        for value in values_once
    )
    return Series(name, points, Point(AS_GIVEN, spec))


def written(name: str, value: Scalar) -> str:
    """Return a value as the grammar has it."""
    return brackets({name: value})[1:-1].partition("=")[2]


def ordered(names: Sequence[str], own: str, builds_up: bool) -> list[str]:
    """Return the lines of a table: the settings and, where none of them equals it, the method as given.

    It stands last where ablations build up to it, else first.
    """
    if own in names:
        return list(names)
    return [*names, own] if builds_up else [own, *names]


def compared(order: Sequence[str], own: str, against: str | None, builds_up: bool) -> dict[str, str]:
    """Return the name of the line that each line is compared with; those compared with nothing are left out.

    Args:
        order: the lines; own: which of them is the method as given.
        against: ``first``, ``previous``, ``full`` (the method as given) or a line; None: ``previous`` where ablations
            build upon each other, else ``full``.
        builds_up: whether they do.

    Raises:
        UnknownName: a line that is not in the table.
    """
    rule = against or ("previous" if builds_up else FULL)
    if rule == "previous":
        return dict(zip(order[1:], order, strict=False))
    target = {FULL: own, "first": order[0]}.get(rule, rule)
    if target not in order:
        raise UnknownName("setting to compare with", rule, ["first", "previous", FULL, *order])
    return {name: target for name in order if name != target}


def _with_ablations() -> list[str]:
    found = []
    for entry in METHODS:
        try:
            if getattr(entry.load(), "ablations", None):
                found.append(entry.name)
        except Exception:  # a plugin that cannot be imported has none to offer
            continue
    return found
