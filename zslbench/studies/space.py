"""The space that tuning searches: what a method declares, narrowed by what is asked for."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence

from zslbench.errors import BadValue, UnknownName
from zslbench.methods.base import Method
from zslbench.params import Between, Dimension, Param, Scalar, declared, in_words
from zslbench.spec import Spec

Point = dict[str, Scalar]
_TINY = 1e-4
"""Where a declared range starts at 0 and is logarithmic, its search starts at this part of its end."""
_NEAR = 0.02
"""A value within this part of a range from one of its ends lies at the edge."""


@dataclasses.dataclass(frozen=True)
class Space:
    """What is searched, by hyper-parameter in order; everything else stays as the spec has it."""

    dimensions: Mapping[str, Dimension]

    @property
    def size(self) -> int | None:
        """How many points there are; None when a dimension is a range."""
        counts = [None if isinstance(one, Between) else len(one) for one in self.dimensions.values()]
        return None if None in counts else math.prod(count for count in counts if count is not None)

    def points(self) -> list[Point]:
        """Return every point, the last dimension varying fastest.

        Raises:
            BadValue: a dimension is a range, which has no end of points.
        """
        for name, one in self.dimensions.items():
            if isinstance(one, Between):
                raise BadValue(
                    f"a grid needs values to list, and {name} is searched in a range ({one}); give some, for instance "
                    f"{name}=[{one.low:g},{one.high:g}] in the spec, or choose --sampler tpe or random."
                )
        axes = [one for one in self.dimensions.values() if not isinstance(one, Between)]
        return [dict(zip(self.dimensions, values, strict=True)) for values in itertools.product(*axes)]

    def words(self) -> dict[str, str]:
        """Say what is searched, by hyper-parameter."""
        return {name: in_words(one) for name, one in self.dimensions.items()}

    def holds(self, name: str, value: Scalar) -> bool:
        """Tell whether a value of one hyper-parameter is among those that are searched."""
        one = self.dimensions[name]
        if not isinstance(one, Between):
            return value in one
        assert isinstance(value, int | float)
        return one.low <= value <= one.high or (one.zero and value == 0)


def declared_space(cls: type[Method]) -> dict[str, Dimension]:
    """Return the space that a method declares, checked; or every range and choice of its parameters.

    Raises:
        UnknownName, BadValue: the space names no parameter of the method, or values that it does not allow.
    """
    known = declared(cls)
    if not cls.space:
        found = {name: _derived(one) for name, one in known.items()}
        return {name: one for name, one in found.items() if one is not None}
    for name in cls.space:
        if name not in known:
            raise UnknownName(f"parameter in the space of {cls.__name__}", name, known)
    return {name: known[name].dimension(one, cls.__name__) for name, one in cls.space.items()}


def _derived(param: Param) -> Dimension | None:
    """Return what can be searched of a parameter by its declaration alone; None where it has no end."""
    if param.choices:
        return param.choices
    if param.kind is bool:
        return (False, True)
    if param.kind is str or param.low is None or param.high is None or not param.low < param.high:
        return None
    if not param.log or param.low > 0:
        return Between(param.low, param.high, log=param.log)
    low = 1 if param.kind is int else _TINY * param.high
    return Between(low, param.high, log=True, zero=True) if param.high > low else None


def narrowed(spec: Spec, cls: type[Method], only: Sequence[str] = ()) -> tuple[Spec, Space]:
    """Return the spec without its grids, which is where the search starts, and the space around it.

    A value that the spec gives is fixed, as is what an ablation sets; a grid that it gives is what is tried of that
    hyper-parameter. A preset gives values to start from.

    Args:
        spec: of the method, unexpanded.
        only: hyper-parameters to search; all others stay.

    Raises:
        UnknownName, BadValue: a parameter that does not exist or cannot be searched, or nothing left to tune.
    """
    known, owner = declared(cls), spec.name
    for name in (*spec.params, *only):
        if name not in known:
            raise UnknownName(f"parameter of {owner}", name, known)
    fixed = {name: value for name, value in spec.params.items() if not isinstance(value, tuple)}
    given = {
        name: known[name].dimension(value, owner) for name, value in spec.params.items() if isinstance(value, tuple)
    }
    of_ablations = {name: tag for tag in spec.presets if tag in cls.ablations for name in cls.ablations[tag].values}
    space = {
        name: one for name, one in declared_space(cls).items() if name not in fixed and name not in of_ablations
    } | given
    for name in only:
        if name in fixed or name in of_ablations:
            by = f"{name}={fixed[name]} in the spec" if name in fixed else f"the ablation @{of_ablations[name]}"
            raise BadValue(f"--only {name} asks to tune what {by} fixes; leave one of the two out.")
        if name not in space:
            found = _derived(known[name])
            if found is None:
                raise BadValue(
                    f"{owner} declares no end of values for {name}; list those to try: "
                    f"'{owner}[{name}=[…]]', where {name} takes {known[name].allowed()}."
                )
            space[name] = found
    space = {name: one for name, one in space.items() if not only or name in only}
    if not any(isinstance(one, Between) or len(one) > 1 for one in space.values()):
        raise BadValue(
            f"nothing of {owner} is left to tune; give a grid such as '{owner}[{next(iter(known), 'key')}=[…]]', "
            "or fix fewer values."
        )
    return dataclasses.replace(spec, params=fixed), Space(space)


def at_edges(space: Space, point: Mapping[str, Scalar], cls: type[Method]) -> dict[str, tuple[float, ...]]:
    """Return the numbers to try next where a value lies at an end of what was searched, by hyper-parameter.

    An end that the parameter itself sets is none that could be widened, and neither is 0.
    """
    found = {}
    for name, one in space.dimensions.items():
        value, param = point[name], declared(cls)[name]
        if isinstance(value, bool | str) or value == 0:
            continue
        beyond = _beyond(one, value)
        inside = tuple(
            int(one) if param.kind is int else one
            for one in beyond
            if (param.low is None or one >= param.low) and (param.high is None or one <= param.high)
        )
        wider = tuple(dict.fromkeys(inside))
        if len(wider) > 1:
            found[name] = wider
    return found


def _beyond(one: Dimension, value: float) -> tuple[float, ...]:
    """Return the value and two more, further out; nothing where the value is not at an end."""
    if isinstance(one, Between):
        low, high = (math.log(one.low), math.log(one.high)) if one.log else (one.low, one.high)
        place = ((math.log(value) if one.log else value) - low) / (high - low)
        if _NEAR < place < 1 - _NEAR:
            return ()
        up = place > 0.5
        if one.log:
            return tuple(_short(value * factor if up else value / factor) for factor in (1, 3, 10))
        return tuple(_short(value + (step if up else -step) * (high - low) / 4) for step in (0, 1, 2))
    numbers = sorted(value for value in one if not isinstance(value, bool | str) and value != 0)
    if len(numbers) < 3 or value not in (numbers[0], numbers[-1]):
        return ()
    up = value == numbers[-1]
    near = numbers[-2] if up else numbers[1]
    if min(value, near) <= 0:
        return tuple(_short(value + step * (value - near)) for step in (0, 1, 2))
    return tuple(_short(value * (value / near) ** step) for step in (0, 1, 2))


def _short(value: float) -> float:
    return float(f"{value:.3g}")
