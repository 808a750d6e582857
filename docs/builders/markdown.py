"""Markdown that several pages share: tables, and text that must not be taken for markup."""

from __future__ import annotations

import re
from collections.abc import Sequence

MADE = "<!-- made by `make docs` from the method's card; edit the card, not this page -->"

_CODE = re.compile(r"(`+[^`]+`+)")
_MARKUP = re.compile(r"([\\*_\[\]<>~])")


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    r"""Return a pipe table; a line break in a cell stays one.

    >>> print(table(("a", "b"), [("1", "x|y")]))
    | a | b |
    | --- | --- |
    | 1 | x\|y |
    """

    def line(cells: Sequence[str]) -> str:
        shown = (cell.replace("|", "\\|").replace("\n", "<br>") for cell in cells)
        return "| " + " | ".join(shown) + " |"

    return "\n".join([line(heads), "|" + " --- |" * len(heads), *(line(row) for row in rows)])


def literal(text: str) -> str:
    r"""Return text that reads the same when it is rendered; what stands between backticks stays code.

    >>> print(literal("[SOURCE] of `a_b` and c_d"))
    \[SOURCE\] of `a_b` and c\_d
    """
    parts = _CODE.split(text)
    return "".join(part if part.startswith("`") else _MARKUP.sub(r"\\\1", part) for part in parts)
