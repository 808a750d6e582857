r"""Tables as LaTeX, for ``\input`` in a document that loads booktabs, or as a document of their own.

What is special is escaped, our signs become commands; how wide and high text becomes, in points, follows from the
metrics of Computer Modern in footnote size.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import re
import unicodedata
from collections.abc import Iterable, Sequence

from zslbench.results.tables.table import (
    Cell,
    Table,
    TableRow,
    column_widths,
    fold_text,
    pack,
    pads,
    split_into_panels,
    split_name,
)

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
_SIGNS = str.maketrans({sign: f"\\{sign}" for sign in "&%$#_{}"} | _GREEK | {
    "±": r"$\pm$", "−": "$-$", "–": "--", "×": r"$\times$", "≤": r"$\leq$", "→": r"$\rightarrow$",
    "†": r"$^{\dagger}$", "‡": r"$^{\ddagger}$", "§": r"$^{\S}$",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "\u200b": r"\allowbreak{}",
})  # fmt: skip
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
    4.5: "kqvxy†‡§–·",
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
"""Factor by which bold digits are wider."""

LINE = 9.5
"""The distance of two lines in footnote size."""

_CAPTION = 10 / 8, 12.0  # how much larger captions are set by default, and the distance of their lines
_RAGGED = 1.12  # lines end before the margin
_ROUNDED = 0.01


def has_unsupported_characters(text: str) -> bool:
    """Return whether `text` holds characters that pdflatex has no sign for."""
    return any(sign > "\u017f" and sign not in _PDFLATEX_HAS for sign in text)


def breakable(text: str) -> str:
    """Return `text` as LaTeX whose long words may be parted between lines: after punctuation, or anywhere if need be.

    >>> breakable("hidden=1024,epochs=40,lr=0.1")
    'hidden=\\\\allowbreak{}1024,\\\\allowbreak{}epochs=\\\\allowbreak{}40,\\\\allowbreak{}lr=\\\\allowbreak{}0.1'
    """

    def parted(word: re.Match[str]) -> str:
        pieces = (piece[at : at + _PIECE] for piece in split_name(word[0], 2) for at in range(0, len(piece), _PIECE))
        return "\u200b".join(pieces)

    return escape(re.sub(rf"\S{{{_LONG},}}", parted, text))


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


def lines_of(text: str, width: float, indent: float = 0) -> list[str]:
    """Part a name into lines of `width` points, all but the first indented: see `fold_text`."""
    # Widths are sums: a name takes no less than all of the room that was measured for it.
    return fold_text(text, width + _ROUNDED, text_width, indent)


POINTS = 72.27
"""Points per inch."""
TEXT_WIDTH = 345 / POINTS
"""Inches of the article class's text, which the text of no usual class is narrower than."""
GAP = 6.0
"""Points between two columns: twice the \\tabcolsep that is set."""
COLUMN = 229.0
"""Points of a column of the article class, than which usual ones are no narrower; a table that fits is a ``table``."""
_WIDEST_COLUMN = 3.5
"""Inches; a line that is wider is a page's."""
PAGE = 530.0
"""Points of a page for a float: the article class has 550, less the spaces around the caption."""

_RULE = 6.0
_NAMES = 0.36  # of a line, for names and for words; longer ones take several rows
_HEAD = 60.0  # a head may widen its columns to this, and takes several rows beyond
_QUAD = 8.6  # before the further lines of a name
_SPARE = 2.0  # of a line, for kerns
_MARK, _NOTE = 5.0, 4.0
_SMALLER = 0.94  # script size, which deviations are set in
_SIGN = 9.2  # ± with its spaces
_NEEDS = r"% needs \usepackage{booktabs}"
_NEEDS_FONT = "% names hold characters that pdflatex lacks: compile with lualatex or xelatex and a font that has them"
_OWN_FONT = r"\usepackage{fontspec} % and \setmainfont{...}: a font that has them"
_SPACING = rf"\setlength{{\tabcolsep}}{{{GAP / 2:g}pt}}"


@dataclasses.dataclass(frozen=True)
class LatexPanel:
    """One panel: rows of a whole table, the room of names, group heads and columns, and what stands over it."""

    table: Table
    names: float
    groups: tuple[float, ...]
    columns: tuple[float, ...]
    title: str = ""

    @property
    def width(self) -> float:
        """The points that it takes, rounded up."""
        return self.names + GAP + sum(self.groups) + GAP * len(self.groups)

    @property
    def height(self) -> float:
        """The points that it takes, rounded up."""
        return self.bare_height + sum(LINE * len(self.row_lines(row)) for row in self.table.rows)

    @property
    def bare_height(self) -> float:
        """The points without those of the rows."""
        spanned = any(column.group for column in self.table.columns)  # with a line of rules among the heads
        titles = sum(bool(block.title) for block in self.table.blocks) + bool(self.title)
        rules = _RULE * (2 + len(self.table.blocks) + spanned)
        return rules + LINE * (len(self.head_lines()) - spanned + titles)

    def head_lines(self) -> list[str]:
        """Return the heads that span groups, the rules below them, and the heads of the columns."""
        table, lines = self.table, []
        if any(head for head, _ in table.groups):
            heads = zip(table.groups, self.groups, strict=True)
            for row in _align_bottom([lines_of(head, width) if head else [] for (head, _), width in heads]):
                spans = (
                    rf"\multicolumn{{{len(numbers)}}}{{c}}{{{escape(text)}}}"
                    for (_, numbers), text in zip(table.groups, row, strict=True)
                )
                lines.append(_row(["", *spans]))
            # The names are the first column.
            rules = (rf"\cmidrule(lr){{{part[0] + 2}-{part[-1] + 2}}}" for head, part in table.groups if head)
            lines.append(" ".join(rules))
        columns = [lines_of(column.head, width) for column, width in zip(table.columns, self.columns, strict=True)]
        return lines + [_row(map(escape, row)) for row in _align_bottom([[table.name], *columns])]

    def row_lines(self, row: TableRow) -> list[str]:
        """Return a row, on several lines if its name or its words are long."""
        table = self.table
        *before, last = map(escape, lines_of(row.title, self.names - _citation_width(row), _QUAD))
        name, *rest = *before, last + _cite(row.citation)
        columns = [[name, *(rf"\quad {text}" for text in rest)]]
        for column, width, cell, longest in zip(table.columns, self.columns, row.cells, table.longest, strict=True):
            if cell is None or column.kind == "value":
                columns.append([_cell(cell, longest)])
            else:
                words = map(escape, lines_of(cell.text, width))
                columns.append([rf"\textbf{{{text}}}" if cell.bold else text for text in words])
        return list(map(_row, itertools.zip_longest(*columns, fillvalue="")))

    def lines(self) -> list[str]:
        """Return the whole panel, its title left out."""
        count = len(self.table.columns) + 1
        lines = [rf"\begin{{tabular}}{{{'l' * count}}}", r"\toprule", *self.head_lines()]
        for block in self.table.blocks:
            lines.append(r"\midrule")
            if block.title:
                title = rf"\emph{{{escape(block.title)}}}{_cite(block.citation)}"
                lines.append(rf"\multicolumn{{{count}}}{{l}}{{{title}}} \\")
            lines += itertools.chain.from_iterable(map(self.row_lines, block.rows))
        return [*lines, r"\bottomrule", r"\end{tabular}"]


def _split_panels(table: Table, room: float, column: float) -> list[LatexPanel]:
    longest = max(text_width(row.title) + _citation_width(row) for row in table.rows)
    names = max(min(longest, _NAMES * room), text_width(table.name))
    latex_panels: list[LatexPanel] = []
    for part in split_into_panels(table, _columns(table, room), room - names - GAP, (GAP, GAP), _head_room):
        columns = _columns(part, room)
        groups = (
            max(sum(columns[n] for n in numbers) + GAP * (len(numbers) - 1), _head_room(head))
            for head, numbers in part.groups
        )
        latex_panels.append(LatexPanel(part, names, tuple(groups), tuple(columns), "" if latex_panels else table.title))
    widest = max(panel.width for panel in latex_panels)
    spare = (column if widest <= column else room) - widest  # a name does not turn a ``table`` into a ``table*``
    names = max(names, min(longest, names + spare))
    return [dataclasses.replace(panel, names=names) for panel in latex_panels]


def _pack(
    panels: Sequence[LatexPanel], width: float, caption: str, below: Sequence[str], page: float
) -> list[list[LatexPanel]]:
    """Split panels into floats of `width` and at most `page` points high, each of panels set below each other.

    The first one carries the caption, the last one the notes `below`, and no panel where they find no room elsewhere.
    Only what is too high for a page is parted itself, and what stands below the caption.
    """
    used = paragraph_height(caption, width, caption=True) + 2 * LINE
    floats: list[list[LatexPanel]] = [[]]
    for panel in panels:
        room = page - (used if floats == [[]] else 2 * LINE)
        for part in _pages(panel, max(room, page / 3)):
            if floats[-1] and used + part.height + LINE > page:
                floats.append([])
                used = 2 * LINE
            floats[-1].append(part)
            used += part.height + LINE
    last = sum(paragraph_height(note, width) for note in below) + LINE
    return floats + ([[]] if below and used + last > page else [])


def _pages(panel: LatexPanel, room: float) -> list[LatexPanel]:
    """Split a panel that is higher than `room` between its rows."""
    blocks = panel.table.blocks
    rows = [(number, row) for number, block in enumerate(blocks) for row in block.rows]
    pages: list[LatexPanel] = []
    for page in pack(rows, lambda item: LINE * len(panel.row_lines(item[1])), room - panel.bare_height):
        parts = (
            dataclasses.replace(blocks[number], rows=tuple(row for _, row in part))
            for number, part in itertools.groupby(page, lambda item: item[0])
        )
        table = dataclasses.replace(panel.table, blocks=tuple(parts))
        pages.append(dataclasses.replace(panel, table=table, title="" if pages else panel.title))
    return pages


def _columns(table: Table, room: float) -> list[float]:
    """Return the points of each column, without gaps; words take no more than `_NAMES` of the room."""
    widths = column_widths(table, _cell_width, lambda head: _head_room(max(head.split() or [""], key=text_width)))
    return [
        min(width, _NAMES * room) if column.kind == "text" else width
        for column, width in zip(table.columns, widths, strict=True)
    ]


def _cite(key: str) -> str:
    return rf"~\cite{{{key}}}" if key else ""


def _citation_width(row: TableRow) -> float:
    """Return the points that a citation takes as a number between brackets, with the space before it."""
    return text_width(" [000]") if row.citation else 0.0


def _head_room(head: str) -> float:
    """Return the points that a head takes; a long one is set on several lines."""
    return max(map(text_width, lines_of(head, _HEAD)))


def _cell_width(cell: Cell, longest: str) -> float:
    value = max(text_width(cell.text), text_width("0" * (len(longest) - 1) + "."))
    digits = (value + text_width(cell.std) * _SMALLER) * (BOLD if cell.bold else 1.0)
    return digits + _SIGN * bool(cell.std) + _MARK * len(cell.marks) + _NOTE * len(str(cell.note or ""))


def write_latex(
    tables: Sequence[Table],
    width: float = TEXT_WIDTH,
    standalone: bool = False,
    caption_text: str = "",
    label: str = "",
) -> str:
    r"""Write tables as LaTeX floats with booktabs rules and heads that span a data set's columns.

    Args:
        tables: below each other under one caption. Columns that do not fit go below each other, lines that do not
            into another float.
        width: inches of a line.
        standalone: write a document that shows the tables alone, on a page of their size.
        caption_text: LaTeX that the caption begins with; label: for ``\ref``.
    """
    sentences = [remark.text for table in tables for remark in table.remarks]
    sentences += [text for table in tables for text in table.ranking_sentence("in bold")]
    automatic = " ".join(dict.fromkeys(sentences))
    caption = " ".join(filter(None, [caption_text, automatic]))
    latex_caption = " ".join(filter(None, [caption_text, breakable(automatic).replace(" ·", "~·")]))
    notes = [(str(number), text) for table in tables for number, text in enumerate(table.notes, start=1)]
    plain = [" ".join(pair) for pair in notes]
    room, page = width * POINTS - _SPARE, math.inf if standalone else PAGE
    column = room if width <= _WIDEST_COLUMN else min(room, COLUMN)
    panels = [panel for table in tables if table.rows for panel in _split_panels(table, room, column)]
    narrow = all(panel.width <= column for panel in panels)
    floats = _pack(panels, column, caption, plain, page) if narrow else []
    if len(floats) != 1:
        if width <= _WIDEST_COLUMN and not standalone:  # a ``table*`` has two columns
            return write_latex(tables, 2 * width, caption_text=caption_text, label=label)
        floats = _pack(panels, room, caption, plain, page)
    below = [f"$^{{{number}}}$ {breakable(text)}" for number, text in notes]
    if below:
        minipage = r"\begin{minipage}{\linewidth}\raggedright", "\\par\n".join(below), r"\end{minipage}"
        below = [r"\par\smallskip", *minipage]
    if standalone:
        text = _document([panel for panels in floats for panel in panels], latex_caption, below)
    else:
        name = "table" if narrow and len(floats) == 1 else "table*"
        text = _floats(floats, latex_caption, label, below, name)
    comments = [] if standalone else [_NEEDS]
    comments += [_NEEDS_FONT] if has_unsupported_characters(text) else []
    return "\n".join([*comments, text])


def _floats(floats: Sequence[Sequence[LatexPanel]], caption: str, label: str, below: Sequence[str], name: str) -> str:
    lines = []
    for number, panels in enumerate(floats):
        lines += [rf"\begin{{{name}}}[tp]", r"\centering", r"\footnotesize", _SPACING]
        if number == 0 and caption:
            lines.append(r"\setlength{\belowcaptionskip}{4pt}")  # usual classes leave no room below a caption on top
            lines.append(rf"\caption{{{caption}}}")
            lines += [rf"\label{{{label}}}"] if label else []
        elif number and caption:
            lines.append(r"Table \thetable{} (continued)\par\smallskip")
        lines += _write_panels(panels)
        lines += below if panels is floats[-1] else ()
        lines.append(rf"\end{{{name}}}")
    return "\n".join(lines) + "\n"


def _document(panels: Sequence[LatexPanel], caption: str, below: Sequence[str]) -> str:
    width = max(COLUMN, *(panel.width for panel in panels))
    head = [rf"{caption}\par\medskip"] if caption else []
    body = [*head, r"{\centering", *_write_panels(panels), r"\par}", *below]
    lines = [
        r"\documentclass[border=6pt]{standalone}",
        r"\usepackage{booktabs}",
        *([_OWN_FONT] if has_unsupported_characters("\n".join(body)) else []),
        r"\begin{document}",
        rf"\begin{{minipage}}{{{width:.0f}pt}}",
        rf"\footnotesize{_SPACING}",
        *body,
        r"\end{minipage}",
        r"\end{document}",
    ]
    return "\n".join(lines) + "\n"


def _write_panels(panels: Sequence[LatexPanel]) -> list[str]:
    lines = []
    for number, panel in enumerate(panels):
        lines += [r"\par\medskip"] if number else []
        lines += [rf"{breakable(panel.title)}\par\smallskip"] if panel.title else []
        lines += panel.lines()
    return lines


def _align_bottom(columns: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Return rows of columns of lines, the last line of each in the last row."""
    most = max(map(len, columns))
    return list(zip(*([""] * (most - len(column)) + list(column) for column in columns), strict=True))


def _row(cells: Iterable[str]) -> str:
    text = " & ".join(cells) + r" \\"
    # An empty group first: a name that begins with [ or * would be read as an argument of the \\ before it.
    return "{}" + text if text.startswith(("[", "*")) else text


def _cell(cell: Cell | None, longest: str) -> str:
    if cell is None:
        return "--"
    before, after = (
        rf"\phantom{{{re.sub(r'[^,.]', '0', part)}}}" if part and cell.text else "" for part in pads(cell.text, longest)
    )
    mean = escape(cell.text)
    text = rf"{mean}{after}{{\scriptsize$\,\pm\,${cell.std}}}" if cell.std else mean
    text = rf"\textbf{{{text}}}" if cell.bold else text
    note = f"$^{{{cell.note}}}$" if cell.note else ""
    return before + text + escape(cell.marks) + note + ("" if cell.std else after)
