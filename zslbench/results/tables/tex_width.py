"""How wide and how high text becomes in LaTeX: Computer Modern in footnote size, from its metrics, in points."""

from __future__ import annotations

import functools
import math
import unicodedata

from zslbench.results.tables.tex_text import pieces_of

# Widths in cmr8, which \footnotesize is at 10 pt; what LaTeX sets in another font is rounded up.
_WIDTHS = {
    2.36: "!',.:;[]`il\u200b",
    2.61: "fj",
    2.84: " -",
    3.32: "()I",
    3.36: "rst",
    3.78: "cez",
    4.26: '"$*/0123456789?\\ago^{}~',
    4.5: "kqvxy†‡§–",
    4.73: "Sbdhnpu",
    5.32: "L_",
    5.79: "EFJPZ",
    6.15: "BCw",
    6.38: "AHNRTUVXY",
    6.68: "&+=@<>|DGKOQ±×",
    7.09: "#%m",
    8.8: "MW",
}
_POINTS = {sign: width for width, signs in _WIDTHS.items() for sign in signs}
_UNKNOWN = 8.8
BOLD = 1.16
"""How much wider bold digits are."""

LINE = 9.5
"""The distance of two lines in footnote size."""

_CAPTION = 10 / 8, 12.0  # how much larger captions are set by default, and the distance of their lines
_RAGGED = 1.12  # lines end before the margin


@functools.cache
def points(text: str) -> float:
    """Return the width of `text`, rounded up but for kerns.

    >>> points("43.3")
    15.14
    """
    return round(sum(map(_sign, text)), 2)


def _sign(sign: str) -> float:
    if sign in _POINTS:
        return _POINTS[sign]
    base = unicodedata.normalize("NFD", sign)[:1]
    return _POINTS.get(base, _UNKNOWN)


def height(text: str, width: float, caption: bool = False) -> float:
    """Return the points that a paragraph of `width` takes, as a note or as a caption, rounded up."""
    larger, line = _CAPTION if caption else (1.0, LINE)
    return math.ceil(points(text) * larger * _RAGGED / width) * line


def lines_of(text: str, width: float) -> list[str]:
    """Part a name into lines of `width`: after spaces and punctuation, within a word only where it alone is wider.

    >>> lines_of("LisGAN@S3[hidden=1024]", 60)
    ['LisGAN@S3[', 'hidden=1024]']
    """
    if points(text) <= width:
        return [text]
    lines = [""]
    for piece in pieces_of(text):
        if lines[-1] and points(piece.rstrip()) <= width < points((lines[-1] + piece).rstrip()):
            lines.append("")
        for sign in piece:
            if lines[-1] and points(lines[-1] + sign) > width and sign != " ":
                lines.append("")
            lines[-1] += sign
    return [line.strip() for line in lines if line.strip()] or [text]
