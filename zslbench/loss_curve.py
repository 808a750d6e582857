"""`LossCurve`: the losses that a method logs while it trains, thinned as they come."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from typing import Any

MOST_POINTS = 200
"""Points that a record keeps; even, since the points kept are halved."""
MOST_NAMES = 50
"""Losses of different names that a record keeps; those that come later are left out."""
_LARGEST_STEP = 2**63 - 1


class LossCurve:
    """Keeps the first point that was logged, the last, and evenly spaced ones between them: at most `MOST_POINTS`.

    Memory does not grow with the steps. What is logged for the step of the last point is added to that point.
    """

    def __init__(self) -> None:
        self._kept: list[tuple[int, dict[str, float | None]]] = []
        self._last: tuple[int, dict[str, float | None]] | None = None
        self._names: set[str] = set()
        self._count, self._stride = 0, 1

    def add(self, step: int, values: Mapping[str, Any]) -> None:
        """Note the losses of a step, six digits each; what is no number, or not finite, becomes None."""
        try:
            step = int(step)
        except (TypeError, ValueError, OverflowError):  # a user's method may log anything
            return
        if not 0 <= step <= _LARGEST_STEP:
            return
        losses: dict[str, float | None] = {}
        for name, value in values.items():
            if name in self._names or len(self._names) < MOST_NAMES:
                self._names.add(name)
                losses[name] = _round(value)
        if self._last is not None and self._last[0] == step:
            self._last[1].update(losses)
            return
        self._last = step, losses
        if self._count % self._stride == 0:
            self._kept.append(self._last)
            if len(self._kept) == MOST_POINTS:
                del self._kept[1::2]
                self._stride *= 2
        self._count += 1

    def extend(self, other: LossCurve) -> None:
        """Add the points that another curve kept, as if they were logged now."""
        for step, losses in other._points():
            self.add(step, losses)

    def to_dict(self) -> dict[str, Any]:
        """Return ``{"step": [1, 2], "values": {"critic": [0.5, 0.25]}}``; without any point, an empty mapping.

        Where a loss was not logged at a step its value is None.
        """
        points = self._points()
        names = dict.fromkeys(name for _, losses in points for name in losses)
        if not names:
            return {}
        columns = {name: [losses.get(name) for _, losses in points] for name in names}
        return {"step": [step for step, _ in points], "values": columns}

    def _points(self) -> list[tuple[int, dict[str, float | None]]]:
        kept = self._kept
        return [*kept, self._last] if self._last is not None and kept[-1] is not self._last else list(kept)


def read_losses(values: Mapping[str, Any]) -> dict[str, float]:
    """Return what was logged as numbers; what is none is left out, as a user's method may log anything.

    >>> read_losses({"critic": 1, "note": "warming up"})
    {'critic': 1.0}
    """
    losses: dict[str, float] = {}
    for name, value in values.items():
        with contextlib.suppress(TypeError, ValueError, RuntimeError, OverflowError):
            losses[str(name)] = float(value)
    return losses


def _round(value: Any) -> float | None:
    with contextlib.suppress(TypeError, ValueError, RuntimeError, OverflowError):
        number = float(f"{float(value):.6g}")
        return number if math.isfinite(number) else None
    return None
