"""The space that tuning searches: what a method declares, narrowed by what is asked for."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence

from zslbench.errors import BadValue, UnknownName
from zslbench.methods.base import Method
from zslbench.params import Between, Dimension, Param, Scalar, declared_params, describe_dimension
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
        listed = [values for values in self.dimensions.values() if not isinstance(values, Between)]
        return math.prod(map(len, listed)) if len(listed) == len(self.dimensions) else None

    def points(self) -> list[Point]:
        """Return every point, the last dimension varying fastest (BadValue: a dimension is a range)."""
        axes = []
        for name, values in self.dimensions.items():
            if isinstance(values, Between):
                raise BadValue(
                    f"a grid needs values to list, and {name} is searched in a range ({values}); give some, for "
                    f"instance {name}=[{values.low:g},{values.high:g}] in the spec, or choose --sampler tpe or random."
                )
            axes.append(values)
        return [dict(zip(self.dimensions, point, strict=True)) for point in itertools.product(*axes)]

    def words(self) -> dict[str, str]:
        """Say what is searched, by hyper-parameter."""
        return {name: describe_dimension(values) for name, values in self.dimensions.items()}

    def holds(self, name: str, value: Scalar) -> bool:
        """Tell whether a value of one hyper-parameter is among those that are searched."""
        values = self.dimensions[name]
        if not isinstance(values, Between):
            return value in values
        assert isinstance(value, int | float)
        return values.low <= value <= values.high or (values.zero and value == 0)


def declared_space(cls: type[Method]) -> dict[str, Dimension]:
    """Return the space that a method declares, checked; or every range and choice of its parameters."""
    known = declared_params(cls)
    if not cls.space:
        return {name: values for name, param in known.items() if (values := _derived(param)) is not None}
    for name in cls.space:
        if name not in known:
            raise UnknownName(f"parameter in the space of {cls.__name__}", name, known)
    return {name: known[name].dimension(values, cls.__name__) for name, values in cls.space.items()}


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


def narrow_space(spec: Spec, cls: type[Method], only: Sequence[str] = ()) -> tuple[Spec, Space]:
    """Return the spec without its grids, which is where the search starts, and the space around it.

    A value that the spec gives is fixed, as is what an ablation sets; a grid that it gives is what is tried of that
    hyper-parameter. A preset gives values to start from. Where `only` some are searched, all others stay.

    Raises:
        UnknownName, BadValue: a parameter that does not exist or cannot be searched, or nothing left to tune.
    """
    known, owner = declared_params(cls), spec.name
    for name in (*spec.params, *only):
        if name not in known:
            raise UnknownName(f"parameter of {owner}", name, known)
    fixed = {name: value for name, value in spec.params.items() if not isinstance(value, tuple)}
    fixed_by = {name: f"{name}={value} in the spec" for name, value in fixed.items()}
    for tag in spec.presets:
        if tag in cls.ablations:
            fixed_by |= {name: f"the ablation @{tag}" for name in cls.ablations[tag].values if name not in fixed}
    space = {name: values for name, values in declared_space(cls).items() if name not in fixed_by}
    space |= {name: known[name].dimension(v, owner) for name, v in spec.params.items() if isinstance(v, tuple)}
    for name in only:
        if name in fixed_by:
            raise BadValue(f"--only {name} asks to tune what {fixed_by[name]} fixes; leave one of the two out.")
        if name not in space:
            derived = _derived(known[name])
            if derived is None:
                raise BadValue(
                    f"{owner} declares no end of values for {name}; list those to try: "
                    f"'{owner}[{name}=[…]]', where {name} takes {known[name].describe_allowed()}."
                )
            space[name] = derived
    space = {name: values for name, values in space.items() if not only or name in only}
    if not any(isinstance(values, Between) or len(values) > 1 for values in space.values()):
        raise BadValue(
            f"nothing of {owner} is left to tune; give a grid such as '{owner}[{next(iter(known), 'key')}=[…]]', "
            "or fix fewer values."
        )
    return dataclasses.replace(spec, params=fixed), Space(space)


def at_edges(space: Space, point: Mapping[str, Scalar], cls: type[Method]) -> dict[str, tuple[Scalar, ...]]:
    """Return the values to search next where one lies at an end of what was searched: the old ones and two beyond.

    Of a range, the old ones are its ends and its middle.

    An end that the parameter itself sets is none that could be widened, and neither is 0.
    """
    edges: dict[str, tuple[Scalar, ...]] = {}
    for name, values in space.dimensions.items():
        value, param = point[name], declared_params(cls)[name]
        if isinstance(value, bool | str) or value == 0:
            continue
        numbers = (_round(number) for number in _beyond(values, value))
        allowed = (
            int(number) if param.kind is int else number
            for number in numbers
            if (param.low is None or number >= param.low) and (param.high is None or number <= param.high)
        )
        old = _sample(values, param.kind is int) if isinstance(values, Between) else values
        if beyond := [number for number in allowed if number not in old]:
            words = [word for word in old if isinstance(word, bool | str)]
            edges[name] = *sorted({*beyond, *(number for number in old if not isinstance(number, bool | str))}), *words
    return edges


def _round(number: float) -> float:
    return float(f"{number:.3g}")


def _sample(values: Between, whole: bool) -> tuple[float, ...]:
    middle = math.sqrt(values.low * values.high) if values.log else (values.low + values.high) / 2
    low, high = (int(end) if whole else float(end) for end in (values.low, values.high))
    return *((0,) if values.zero else ()), low, int(middle) if whole else _round(middle), high


def _beyond(values: Dimension, value: float) -> list[float]:
    """Return two values further out; nothing where the value is not at an end."""
    if isinstance(values, Between):
        low, high = (math.log(values.low), math.log(values.high)) if values.log else (values.low, values.high)
        place = ((math.log(value) if values.log else value) - low) / (high - low)
        if _NEAR < place < 1 - _NEAR:
            return []
        out, end = (1, values.high) if place > 0.5 else (-1, values.low)
        if values.log:
            return [end * factor**out for factor in (3, 10)]
        return [end + out * step * (high - low) / 4 for step in (1, 2)]
    numbers = sorted(number for number in values if not isinstance(number, bool | str) and number != 0)
    if len(numbers) < 3 or value not in (numbers[0], numbers[-1]):
        return []
    near = numbers[-2] if value == numbers[-1] else numbers[1]
    if min(value, near) <= 0:
        return [value + step * (value - near) for step in (1, 2)]
    return [value * (value / near) ** step for step in (1, 2)]
