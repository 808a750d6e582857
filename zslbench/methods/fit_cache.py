"""Results that several fits of one process need, computed once and charged to each of them.

Points of a grid share results by hyper-parameters (`Shared`). Other fits share by the arrays that a result is computed
from: the settings of an ablation share their k-means and their pre-trained classifier.
"""

from __future__ import annotations

import collections
import contextlib
import inspect
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, TypeVar

from zslbench import params
from zslbench.arrays import AnyArray
from zslbench.identity import digest, fingerprint
from zslbench.methods.base import Context, Cost, Method
from zslbench.params import Scalar

T = TypeVar("T")
MOST = 16
"""How many results are kept; the least recently used one is dropped first."""

_kept: collections.OrderedDict[str, tuple[object, Cost]] = collections.OrderedDict()
_last: dict[str, object] = {}
_lock = threading.Lock()


def clear_cache() -> None:
    """Drop every kept result."""
    with _lock:
        _kept.clear()
        _last.clear()


@contextlib.contextmanager
def empty_cache() -> Iterator[None]:
    """Start this block without kept results, and restore the earlier ones after it."""
    with _lock:
        before = dict(_kept)
        _kept.clear()
    try:
        yield
    finally:
        with _lock:
            _kept.clear()
            _kept.update(before)


def reuse_once(make: Callable[[], T], name: str, arrays: dict[str, AnyArray], **values: Scalar) -> T:
    """Return ``make()``, or, a single time, the result of the last call for the same arrays and values.

    A run scores a few rows again directly after scoring all of them: what depends only on the candidates is computed
    once. No other run uses the result, so the seconds of scoring still include computing it.
    """
    key = digest([name, fingerprint(arrays), values])
    with _lock:
        if key in _last:
            return _last.pop(key)  # type: ignore[return-value]
    made = make()
    with _lock:
        _last.clear()
        _last[key] = made
    return made


def cache_result(make: Callable[[], T], name: str, arrays: dict[str, AnyArray], ctx: Context, **values: Scalar) -> T:
    """Return ``make()``, or its earlier result for the same arrays and values.

    The result must not be changed. The fit of `ctx` is charged with the seconds that computing it took.

    Args:
        name: of the computation and its version.
        arrays, values: everything that the result depends on.
    """
    key = digest([name, fingerprint(arrays), values])
    with _lock:
        if key in _kept:
            _kept.move_to_end(key)
            result, cost = _kept[key]
            ctx.charge(cost)
            return result  # type: ignore[return-value]
    with ctx.measured() as cost:
        made = make()
    with _lock:
        _kept[key] = made, cost
        while len(_kept) > MOST:
            _kept.popitem(last=False)
    return made


class Shared:
    """What points of a grid have in common: each result is computed once, and dropped after its last use.

    Args:
        points: all points that will ask, each once per result. None of them is kept.
        ctx: their context; each point is charged with the results that it takes over from an earlier one.
    """

    def __init__(self, points: Sequence[Method], ctx: Context) -> None:
        self._ctx = ctx
        self._values = [params.current_values(point) for point in points]
        self._ahead: dict[str, collections.Counter[Hashable]] = {}
        self._kept: dict[Hashable, tuple[Any, Cost]] = {}

    def once(self, point: Method, make: Callable[..., T], *given: Any, by: Sequence[str] | None = None) -> T:
        """Return ``make(*given, **parameters)``; its arguments besides `given` are the point's hyper-parameters.

        It is computed for the first of the points that agree on these hyper-parameters; `given` must be the same for
        all of them. The result may be read, but not kept or changed.

        Args:
            by: the names of the hyper-parameters, if they are not in the signature of `make`.
        """
        names = tuple(inspect.signature(make).parameters)[len(given) :] if by is None else tuple(by)
        name = make.__qualname__
        if name not in self._ahead:
            self._ahead[name] = collections.Counter(tuple(values[name] for name in names) for values in self._values)
        values = tuple(getattr(point, name) for name in names)
        key = (name, values)
        result: T
        if key in self._kept:
            result, cost = self._kept[key]
            self._ctx.charge(cost)
        else:
            with self._ctx.measured() as cost:
                result = make(*given, **dict(zip(names, values, strict=True)))
        self._ahead[name][values] -= 1
        if self._ahead[name][values] > 0:
            self._kept[key] = result, cost
        else:
            self._kept.pop(key, None)
        return result
