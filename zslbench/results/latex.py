r"""Tables as LaTeX, for ``\input`` in a document that loads booktabs. Escaping is left to pandas."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Sequence

from zslbench.results import grid as grids
from zslbench.results.grid import Cell, Grid, Line

MAX_CHARACTERS = 115
"""About what a page's width holds in footnote size; a wider table is set as panels, one below the other."""

_ONE_COLUMN = 50
_SIGNS = str.maketrans(
    {
        "±": r"$\pm$",
        "†": r"$^{\dagger}$",
        "‡": r"$^{\ddagger}$",
        "→": r"$\rightarrow$",
        "–": "--",
        "×": r"$\times$",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
    }
)
_NEEDS = r"% needs \usepackage{booktabs}"
_NEEDS_FONT = "% names hold characters that pdflatex lacks: compile with lualatex or xelatex and a font that has them"
# Beyond Latin-1 and Latin Extended-A: the punctuation that inputenc's utf8 defines for T1.
_PDFLATEX_HAS = frozenset("‘’“”‚„…—•€™")


def latex(grid: Grid, width: int = MAX_CHARACTERS) -> str:
    """Write a grid as a LaTeX float with booktabs rules and heads that span a data set's columns.

    Data sets that do not fit into `width` characters go below each other.
    """
    names = max(len(line.name + line.marks) for block in grid.blocks for line in block)
    each = grids.widths(
        grid, lambda cell, mean: len(f"{cell.mean}{cell.std}") + 3 * bool(cell.std) + len(cell.marks), len, gap=2
    )
    panels = grids.panels(grid, each, names, width)
    wide = len(panels) > 1 or names + sum(each) > _ONE_COLUMN
    float_name = "table*" if wide else "table"
    lines = [rf"\begin{{{float_name}}}[t]", r"\centering", r"\footnotesize", r"\setlength{\tabcolsep}{4pt}"]
    lines.append(r"\setlength{\belowcaptionskip}{4pt}")  # the usual classes leave no room below a caption on top
    lines.append(rf"\caption{{{_caption(grid)}}}")
    for place, panel in enumerate(panels):
        lines += ([r"\par\medskip"] if place else []) + _tabular(panel)
    lines += [*_below(grid), rf"\end{{{float_name}}}"]
    text = "\n".join(lines) + "\n"
    beyond = any(sign > "\u017f" and sign not in _PDFLATEX_HAS for sign in text)
    return "\n".join([_NEEDS, *([_NEEDS_FONT] if beyond else []), text])


def _caption(grid: Grid) -> str:
    best = any(cell and cell.best for block in grid.blocks for line in block for cells in line.cells for cell in cells)
    sentences = [*grid.caption, *(["Best among comparable rows in bold."] if best else [])]
    return escape(" ".join(sentences))


def _below(grid: Grid) -> list[str]:
    notes = [f"({letter}) {escape(text)}" for letter, text in grid.settings]
    notes += [f"$^{{{number}}}$ {escape(text)}" for number, text in enumerate(grid.notes, start=1)]
    if not notes:
        return []
    return [r"\par\smallskip", r"\begin{minipage}{\linewidth}\raggedright", "\\par\n".join(notes), r"\end{minipage}"]


def _tabular(grid: Grid) -> list[str]:
    total = sum(len(group.columns) for group in grid.groups)
    lines = [rf"\begin{{tabular}}{{l{'l' * total}}}", r"\toprule"]
    lines.append(" & ".join(["", *(_spanning(group.head, len(group.columns)) for group in grid.groups)]) + r" \\")
    start, rules = 2, []
    for group in grid.groups:
        rules.append(rf"\cmidrule(lr){{{start}-{start + len(group.columns) - 1}}}")
        start += len(group.columns)
    lines.append(" ".join(rules))
    lines.append(" & ".join(["method", *(escape(name) for group in grid.groups for name in group.columns)]) + r" \\")
    for block in grid.blocks:
        lines.append(r"\midrule")
        lines += [_line(grid, line) for line in block]
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def _spanning(head: str, columns: int) -> str:
    return rf"\multicolumn{{{columns}}}{{c}}{{{escape(head)}}}"


def _line(grid: Grid, line: Line) -> str:
    name = escape(line.name + line.marks)
    cells = [
        _cell(cell, _longest(grids.column(grid, place, number)))
        for place, group in enumerate(line.cells)
        for number, cell in enumerate(group)
    ]
    # An empty group first: a name that begins with [ or * would be read as an argument of the \\ before it.
    guard = "{}" if name.startswith(("[", "*")) else ""
    return " & ".join([guard + name, *cells]) + r" \\"


def _longest(cells: Sequence[Cell]) -> int:
    return max((len(cell.mean) for cell in cells), default=0)


def _cell(cell: Cell | None, longest: int) -> str:
    if cell is None:
        return "--"
    missing = longest - len(cell.mean)
    pad = rf"\phantom{{{'0' * missing}}}" if missing else ""
    text = rf"{cell.mean} $\pm$ {cell.std}" if cell.std else cell.mean
    note = f"$^{{{cell.note}}}$" if cell.note else ""
    return pad + (rf"\textbf{{{text}}}" if cell.best else text) + (escape(cell.marks) if cell.marks else "") + note


@functools.cache
def escape(text: str) -> str:
    """Return `text` as LaTeX: pandas escapes what is special, our own signs become commands."""
    import pandas as pd

    shown = pd.DataFrame([[text]]).style.hide(axis="index").hide(axis="columns")
    line = shown.format(escape="latex").to_latex().split("\n")[1]
    return str(line).removesuffix(r" \\").translate(_SIGNS | _GREEK)


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
