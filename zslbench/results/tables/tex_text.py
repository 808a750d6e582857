"""Text as LaTeX: what is special escaped (by pandas), our own signs as commands, long names with places to break."""

from __future__ import annotations

import functools
import re
import unicodedata

_SIGNS = str.maketrans(
    {
        "±": r"$\pm$",
        "†": r"$^{\dagger}$",
        "‡": r"$^{\ddagger}$",
        "§": r"$^{\S}$",
        "→": r"$\rightarrow$",
        "–": "--",
        "×": r"$\times$",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "\u200b": r"\allowbreak{}",
    }
)
# Beyond Latin-1 and Latin Extended-A: the punctuation that inputenc's utf8 defines for T1.
_PDFLATEX_HAS = frozenset("‘’“”‚„…—•€™")
_SPECIAL = re.compile(r"[&%$#_{}~^\\]")
_LONG = 24
_PIECE = 12


def lacking(text: str) -> bool:
    """Return whether `text` holds characters that pdflatex has no sign for."""
    return any(sign > "\u017f" and sign not in _PDFLATEX_HAS for sign in text)


def breakable(text: str) -> str:
    """Return `text` as LaTeX whose long words may be parted between lines: after punctuation, or anywhere if need be.

    >>> breakable("hidden=1024,epochs=40,lr=0.1")
    'hidden=\\\\allowbreak{}1024,\\\\allowbreak{}epochs=\\\\allowbreak{}40,\\\\allowbreak{}lr=\\\\allowbreak{}0.1'
    """

    def parted(word: re.Match[str]) -> str:
        pieces = (piece[at : at + _PIECE] for piece in pieces_of(word[0]) for at in range(0, len(piece), _PIECE))
        return "\u200b".join(pieces)

    return escape(re.sub(rf"\S{{{_LONG},}}", parted, text))


def pieces_of(text: str) -> list[str]:
    """Part `text` after spaces and punctuation.

    >>> pieces_of("LisGAN@S3[souls=5]")
    ['LisGAN@', 'S3[', 'souls=', '5]']
    """
    return re.findall(r".+?[ _@\[(,=/+:;)\]-]+|.+", text)


@functools.cache
def escape(text: str) -> str:
    """Return `text` as LaTeX: pandas escapes what is special, our own signs become commands."""
    if not _SPECIAL.search(text):  # pandas takes milliseconds for a text, and most names need nothing of it
        return text.translate(_ALL)
    import pandas as pd

    shown = pd.DataFrame([[text]]).style.hide(axis="index").hide(axis="columns")
    line = shown.format(escape="latex").to_latex().split("\n")[1]
    return str(line).removesuffix(r" \\").translate(_ALL)


def _greek() -> dict[int, str]:
    """Return the Greek letters as mathematics, which every TeX engine sets; capitals like Latin ones become these."""
    out = {}
    for code in [*range(0x391, 0x3A2), *range(0x3A3, 0x3AA), *range(0x3B1, 0x3CA)]:
        *_, case, _, name = ["", *unicodedata.name(chr(code)).replace("FINAL SIGMA", "VARSIGMA").split()]
        name = name.lower().replace("lamda", "lambda")
        if name == "omicron":
            sign = "o" if case == "SMALL" else r"\mathrm{O}"
        elif case == "SMALL":
            sign = f"\\{name}"
        else:
            latin = _LATIN.get(name)
            sign = rf"\mathrm{{{latin}}}" if latin else f"\\{name.capitalize()}"
        out[code] = f"${sign}$"
    return out


_NAMES = ("alpha", "beta", "epsilon", "zeta", "eta", "iota", "kappa", "mu", "nu", "rho", "tau", "chi")
_LATIN = dict(zip(_NAMES, "ABEZHIKMNPTX", strict=True))
_GREEK = _greek()
_ALL = _SIGNS | _GREEK
