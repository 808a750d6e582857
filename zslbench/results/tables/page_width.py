"""The widths of the usual conferences' columns and pages, for figures and for LaTeX tables."""

from __future__ import annotations

import math

from zslbench.errors import BadValue

WIDTHS = {"column": 3.25, "page": 6.875, "eccv": 4.8, "neurips": 5.5}
"""Inches: a column and the page of CVPR, the text of ECCV (Springer LNCS) and of NeurIPS."""

NARROWEST, WIDEST = 1.5, 40.0


def width_of(given: str | float) -> float:
    """Return the inches that a width means.

    >>> width_of("page"), width_of("4.5")
    (6.875, 4.5)

    Raises:
        BadValue: neither a known name nor a sensible number.
    """
    if isinstance(given, str) and given in WIDTHS:
        return WIDTHS[given]
    try:
        inches = float(given)
    except ValueError:
        inches = math.nan
    if not NARROWEST <= inches <= WIDEST:
        known = ", ".join(WIDTHS)
        raise BadValue(
            f"width {str(given)!r} is not known; give one of {known}, or inches from {NARROWEST:g} to {WIDEST:g}."
        )
    return inches
