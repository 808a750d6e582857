"""Whether a measurement reproduces a published number: a pure function of an interval and a tolerance."""

from __future__ import annotations

from typing import Literal

from zslbench.results.analysis.rows import Stat

Verdict = Literal["reproduced", "above", "below", "inconclusive"]
_ROUNDING = 1e-9


def judged(low: float | None, high: float | None, published: float, tolerance: float) -> Verdict:
    """Return the verdict of a measured interval on a published number, all in percent.

    Reproduced: the interval lies within published ± tolerance, ends included. Above or below: it lies wholly outside,
    on that side. Inconclusive: it reaches over an end, or there is no interval (one seed of a method that draws).

    >>> judged(50.1, 51.0, 51.6, 2.0), judged(40.0, 49.5, 51.6, 2.0), judged(49.0, 52.0, 51.6, 2.0)
    ('reproduced', 'below', 'inconclusive')

    Args:
        low, high: ends of the interval; equal for a method without chance, None where there is none.
        published, tolerance: the number and how far from it still counts as the same.
    """
    if low is None or high is None:
        return "inconclusive"
    least, most = published - tolerance - _ROUNDING, published + tolerance + _ROUNDING
    if least <= low and high <= most:
        return "reproduced"
    if low > most:
        return "above"
    if high < least:
        return "below"
    return "inconclusive"


def interval(stat: Stat, stochastic: bool) -> tuple[float | None, float | None]:
    """Return the ends of the 95 % interval of a mean over seeds: a point without chance, None for one seed with it."""
    return (stat.low, stat.high) if stochastic else (stat.values[0], stat.values[0])
