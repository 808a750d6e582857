"""Results that several fits of one process would compute alike, kept by the content they were computed from.

The settings of an ablation share their k-means and their pre-trained classifier: same rows, same seed, same numbers.
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable
from typing import TypeVar

from zslbench.arrays import AnyArray
from zslbench.identity import digest, fingerprint
from zslbench.methods.base import Context, Cost
from zslbench.params import Scalar

T = TypeVar("T")
MOST = 16
"""Results that are kept; the one that was used longest ago goes first."""

_kept: collections.OrderedDict[str, tuple[object, Cost]] = collections.OrderedDict()
_lock = threading.Lock()


_last: dict[str, object] = {}


def forget() -> None:
    """Drop every kept result."""
    with _lock:
        _kept.clear()
        _last.clear()


def once_more(make: Callable[[], T], what: str, arrays: dict[str, AnyArray], **values: Scalar) -> T:
    """Return ``make()``, or, a single time, what the last call made of the same arrays and values.

    A run scores a few rows by themselves right after all of them: what depends on the candidates alone is made once.
    No other run takes it over, so the seconds of scoring stay those of making it.
    """
    key = digest([what, fingerprint(arrays), values])
    with _lock:
        if key in _last:
            return _last.pop(key)  # type: ignore[return-value]
    made = make()
    with _lock:
        _last.clear()
        _last[key] = made
    return made


def remembered(make: Callable[[], T], what: str, arrays: dict[str, AnyArray], ctx: Context, **values: Scalar) -> T:
    """Return ``make()``, or what it returned before for the same arrays and values.

    The result is shared: it must not be changed. Whoever gets it is charged with the seconds that making it took.

    Args:
        ctx: of the fit that asks.
        what: names the computation and its version.
        arrays, values: all that the result depends on.
    """
    key = digest([what, fingerprint(arrays), values])
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
