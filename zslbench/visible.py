"""Text that is fit to be shown: what would steer a terminal becomes an escape, what an encoding lacks another sign."""

from __future__ import annotations

import re

# C0 but for line feed and tab, DEL and C1; signs that turn the direction of text, part lines or show nothing; halves
# of characters.
_HIDDEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f"
)
_CONTROL = re.compile(f"[{_HIDDEN}]")
_CONTROL_OR_BREAK = re.compile(f"[{_HIDDEN}\t\n]")
_BREAKS = {"\n": r"\n", "\t": r"\t"}

SIGNS = {
    "‡": "#",
    "†": "+",
    "°": "o",
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
    "█": "#",
    "⣿": "#",
    "α": "alpha",
    "β": "beta",
    "γ": "gamma",
    "λ": "lambda",
    "μ": "mu",
    "σ": "sigma",
}
"""What stands for our own signs where an encoding lacks them; the marks of a table are one letter wide, and differ."""


def visible(text: str) -> str:
    r"""Return `text` with its control characters as JSON writes them; line feeds and tabs stay.

    JSON stays JSON of the same content.

    >>> visible("a\x1b[2Jb\u202ec")
    'a\\u001b[2Jb\\u202ec'
    """
    return text if text.isprintable() else _CONTROL.sub(_escaped, text)


def one_line(text: str) -> str:
    r"""Return `text` as `visible` does, line feeds and tabs escaped, too.

    >>> one_line("a\nb\tc")
    'a\\nb\\tc'
    """
    return text if text.isprintable() else _CONTROL_OR_BREAK.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass").hex()
    return _BREAKS.get(found[0]) or "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def encode_signs(error: UnicodeError) -> tuple[str, int]:
    """Replace what cannot be encoded, as an error handler of `codecs`: by our `SIGNS`, half characters by escapes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = []
    for letter in error.object[error.start : error.end]:
        half = "\ud800" <= letter <= "\udfff"
        signs.append(visible(letter) if half else SIGNS.get(letter, "?"))
    return "".join(signs), error.end
