"""Where the values of a swept hyper-parameter stand on an axis: linear, logarithmic with 0 apart, or side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from zslbench.results.plots.style import INK, TICK_CHARACTER, Style
from zslbench.spec import brackets

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Value = int | float | str | bool


class Scale:
    """Where values stand on the axis.

    Args:
        log: whether it is to be logarithmic, where the values allow it.
    """

    def __init__(self, values: Sequence[Value], log: bool) -> None:
        self.values = sorted(dict.fromkeys(values), key=in_order)
        self.numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in self.values)
        positive = [float(one) for one in self.values if self.numbers and float(one) > 0]
        # A range may reach down to 0, as that of a weight does; nothing below 0 has a logarithm.
        self.log = log and self.numbers and len(positive) > 1 and all(float(one) >= 0 for one in self.values)
        self.zero: float | None = None
        if self.log and 0 in self.values:
            step = (positive[-1] / positive[0]) ** (1 / (len(positive) - 1))
            self.zero = positive[0] / max(step, 3.0)

    def at(self, value: Value) -> float:
        """Return the place of a value."""
        if not self.numbers:
            return float(self.values.index(value))
        return self.zero if self.zero is not None and value == 0 else float(value)

    def dress(self, axes: Axes, style: Style, inches: float) -> None:
        """Set scale and ticks: the values themselves, every other one unnamed where `inches` have no room for all."""
        from matplotlib.ticker import NullLocator

        if self.log:
            axes.set_xscale("log")
            axes.xaxis.set_minor_locator(NullLocator())
        texts = [written(value) for value in self.values]
        room = inches / TICK_CHARACTER
        every = 1
        while every < len(texts) and sum(len(text) + 2 for text in texts[::every]) > room:
            every += 1
        shown = [style.text(text) if place % every == 0 else "" for place, text in enumerate(texts)]
        axes.set_xticks([self.at(value) for value in self.values], shown)
        if self.zero is not None:
            gap = math.sqrt(self.zero * min(float(one) for one in self.values if float(one) > 0))
            axes.plot(
                [gap],
                [0],
                marker=(2, 0, -20),
                ms=7,
                mew=0.8,
                color=INK,
                clip_on=False,
                zorder=5,
                transform=axes.get_xaxis_transform(),
                ls="none",
            )


def in_order(value: Value) -> tuple[bool, float, str]:
    """Return the key that sorts values: numbers by size, then others by name."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return not number, float(value) if number else 0.0, str(value)


def written(value: Value) -> str:
    """Return a value as the spec grammar writes it."""
    return brackets({"_": value})[3:-1]
