"""Text that is fit to be shown: what would steer a terminal becomes an escape, what an encoding lacks another sign."""

from __future__ import annotations

_KEPT = frozenset("\xa0\u200c\u200d\u202f\u3000")
"""Not printable by Python's rule, but part of names in some scripts: spaces, joiners and non-joiners."""
_BREAKS = {"\n": r"\n", "\t": r"\t"}

SIGNS = {
    "‡": "#",
    "†": "+",
    "°": "o",
    "§": "~",
    "±": "+-",
    "×": "x",
    "→": "->",
    "≤": "<=",
    "≥": ">=",
    "−": "-",
    "–": "-",
    "—": "-",
    "─": "-",
    "━": "=",
    "│": "|",
    "…": "...",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
    "·": ".",
    "α": "alpha",
    "β": "beta",
    "γ": "gamma",
    "λ": "lambda",
    "μ": "mu",
    "σ": "sigma",
}
"""What stands for our own signs where an encoding lacks them; the marks of a table are one letter wide, and differ."""


def visible(text: str) -> str:
    r"""Return `text` with what is not printable as JSON writes it; line feeds and tabs stay.

    That is: control characters, signs that turn the direction of text or show nothing, halves of characters. JSON
    stays JSON of the same content.

    >>> visible("a\x1b[2Jb\u202ec")
    'a\\u001b[2Jb\\u202ec'
    """
    if text.isprintable():
        return text
    return "\n".join("\t".join(map(one_line, line.split("\t"))) for line in text.split("\n"))


def one_line(text: str) -> str:
    r"""Return `text` as `visible` does, line feeds and tabs escaped, too.

    >>> one_line("a\nb\tc")
    'a\\nb\\tc'
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign in _KEPT else _escaped(sign) for sign in text)


def _escaped(sign: str) -> str:
    units = sign.encode("utf-16-be", "surrogatepass").hex()
    return _BREAKS.get(sign) or "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def csv_cell(value: object) -> object:
    """Return what stands for a value in a cell of CSV: a text without control characters that is no formula.

    >>> csv_cell("=1+1"), csv_cell("eszsl"), csv_cell(-0.5)
    ("'=1+1", 'eszsl', -0.5)
    """
    if not isinstance(value, str):
        return value
    return visible(f"'{value}" if value.startswith(("=", "+", "-", "@", "\t")) else value)


def encode_signs(error: UnicodeError) -> tuple[str, int]:
    """Replace what cannot be encoded, as an error handler of `codecs`: by our `SIGNS`, half characters by escapes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(SIGNS.get(sign) or ("?" if sign.isprintable() else one_line(sign)) for sign in lacking), error.end
