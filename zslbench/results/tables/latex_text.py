"""Text as LaTeX: what is special escaped, our signs as commands, and how wide and high it becomes, in points.

Widths are those of Computer Modern in footnote size, from its metrics.
"""

from __future__ import annotations

import functools
import math
import re
import unicodedata

_GREEK_NAMES = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho varsigma sigma tau "
    "upsilon phi chi psi omega"
)
_SMALL = dict(zip("αβγδεζηθικλμνξοπρςστυφχψω", _GREEK_NAMES.split(), strict=True))
_GREEK = {sign: rf"$\{name}$" for sign, name in _SMALL.items()} | {"ο": "$o$"}
"""Greek letters as mathematics, which every TeX engine sets; capitals like Latin ones become these."""
_GREEK |= {sign: rf"$\{_SMALL[sign.lower()].capitalize()}$" for sign in "ΓΔΘΛΞΠΣΥΦΨΩ"}
_GREEK |= {sign: rf"$\mathrm{{{latin}}}$" for sign, latin in zip("ΑΒΕΖΗΙΚΜΝΟΡΤΧ", "ABEZHIKMNOPTX", strict=True)}

_COMMAND_OF = {"~": r"\textasciitilde", "^": r"\textasciicircum", "\\": r"\textbackslash"}
_COMMANDS = re.compile(r"([~^\\] ?)")
_SIGNS = str.maketrans(
    {sign: f"\\{sign}" for sign in "&%$#_{}"}
    | {
        "±": r"$\pm$",
        "†": r"$^{\dagger}$",
        "‡": r"$^{\ddagger}$",
        "§": r"$^{\S}$",
        "→": r"$\rightarrow$",
        "−": "$-$",
        "–": "--",
        "×": r"$\times$",
        "≤": r"$\leq$",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "\u200b": r"\allowbreak{}",
    }
    | _GREEK
)
# Beyond Latin-1 and Latin Extended-A: the punctuation that inputenc's utf8 defines for T1.
_PDFLATEX_HAS = frozenset("‘’“”‚„…—•€™")
_LONG = 24
_PIECE = 12

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
    6.68: "&+=@<>|DGKOQ±×−≤",
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


def has_unsupported_characters(text: str) -> bool:
    """Return whether `text` holds characters that pdflatex has no sign for."""
    return any(sign > "\u017f" and sign not in _PDFLATEX_HAS for sign in text)


def breakable(text: str) -> str:
    """Return `text` as LaTeX whose long words may be parted between lines: after punctuation, or anywhere if need be.

    >>> breakable("hidden=1024,epochs=40,lr=0.1")
    'hidden=\\\\allowbreak{}1024,\\\\allowbreak{}epochs=\\\\allowbreak{}40,\\\\allowbreak{}lr=\\\\allowbreak{}0.1'
    """

    def parted(word: re.Match[str]) -> str:
        pieces = (piece[at : at + _PIECE] for piece in _pieces(word[0]) for at in range(0, len(piece), _PIECE))
        return "\u200b".join(pieces)

    return escape(re.sub(rf"\S{{{_LONG},}}", parted, text))


def _pieces(text: str) -> list[str]:
    """Part `text` after spaces and punctuation: ``LisGAN@``, ``S3[``, ``souls=``, ``5]``."""
    return re.findall(r".+?(?:[_@\[(,=/+:;)\]-]+ *| +)|.+", text)


def escape(text: str) -> str:
    r"""Return `text` as LaTeX.

    >>> escape("a_b ~ †")
    'a\\_b \\textasciitilde \\space $^{\\dagger}$'
    """
    parts = _COMMANDS.split(text)
    for number in range(1, len(parts), 2):
        # The space after a command ends its name and is not set; one of the text's own needs a command itself.
        parts[number] = _COMMAND_OF[parts[number][0]] + r" \space "[: 1 if len(parts[number]) == 1 else None]
    return "".join(part if number % 2 else part.translate(_SIGNS) for number, part in enumerate(parts))


@functools.cache
def text_width(text: str) -> float:
    """Return the width of `text`, rounded up but for kerns.

    >>> text_width("43.3")
    15.14
    """
    bases = (sign if sign in _POINTS else unicodedata.normalize("NFD", sign)[:1] for sign in text)
    return round(sum(_POINTS.get(sign, _UNKNOWN) for sign in bases), 2)


def paragraph_height(text: str, width: float, caption: bool = False) -> float:
    """Return the points that a paragraph of `width` takes, as a note or as a caption, rounded up."""
    larger, line = _CAPTION if caption else (1.0, LINE)
    return math.ceil(text_width(text) * larger * _RAGGED / width) * line


def lines_of(text: str, width: float) -> list[str]:
    """Part a name into lines of `width`: after spaces and punctuation, within a word only where it alone is wider.

    >>> lines_of("LisGAN@S3[hidden=1024]", 60)
    ['LisGAN@S3[', 'hidden=1024]']
    """
    if text_width(text) <= width:
        return [text]
    lines = [""]
    for piece in _pieces(text):
        if lines[-1] and text_width(piece.rstrip()) <= width < text_width((lines[-1] + piece).rstrip()):
            lines.append("")
        for sign in piece:
            if lines[-1] and text_width(lines[-1] + sign) > width and sign != " ":
                lines.append("")
            lines[-1] += sign
    return [line.strip() for line in lines if line.strip()] or [text]
