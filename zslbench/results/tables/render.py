"""Tables as text, in the format and for the room that were asked for."""

from __future__ import annotations

import dataclasses
import io
import itertools
import math
import re
import shutil
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from zslbench.errors import BadValue, CaptionLeftOut, UnknownName, warn
from zslbench.results.tables.latex import TEXT_WIDTH, write_latex
from zslbench.results.tables.table import (
    REPLACED,
    WARNINGS,
    Cell,
    NumberFormat,
    Table,
    column_widths,
    fold_text,
    pads,
    remarks,
    shorten,
    split_into_panels,
    split_name,
)
from zslbench.visible import visible

if TYPE_CHECKING:
    from rich.table import Table as RichTable

FORMATS = ("terminal", "markdown", "latex", "csv", "json")
DATA_FORMATS = ("csv", "json")
MOST_DECIMALS = 3
CAPTIONS = ("short", "full", "none")
MORE = "More: --caption full"
"""How to get the sentences that a short caption leaves out, on the command line."""
MORE_IN_PYTHON = 'More: caption="full"'
"""The same in Python."""

WIDTHS = {"column": 3.25, "page": 6.875, "eccv": 4.8, "neurips": 5.5}
"""Inches: a column and the page of CVPR, the text of ECCV (Springer LNCS) and of NeurIPS."""
NARROWEST, WIDEST = 1.5, 40.0
MARKDOWN_WIDTH = 160
"""Characters per line of Markdown, if no other width is asked for."""

WIDE = 160
"""Characters per line of columns, if no terminal says how wide it is."""
ONE_LINE = 10_000
"""Characters per line of a list whose rows must not be folded, so that ``grep`` finds a whole row."""

MISSING = "–"
_EMPHASIS = {"": "", "best": "*", "outstanding": "*"}
_COLUMN_GAP, _GROUP_GAP = 3, 2
_NAMES = 0.4
"""Share of a terminal's line for the names of rows of values; longer names are folded."""
_MOST_NAMES = 0.6
"""Share of a line for a single word of a name; a longer word is split."""
_INDENT = 2
_NARROWEST_WORDS = 16
"""The fewest characters that words are folded to."""
_BRACKETS, _GLUE = re.compile(r"\[[^\[\]]{,40}\]|\([^() ]+ = [^() ]+\)"), "\u00a0"
_SPECIAL = re.compile(r"([\\`*_<>|~$&#]|\](?=[(\[:]))")


@dataclasses.dataclass(frozen=True)
class Caption:
    r"""What stands below a table.

    Attributes:
        length: ``short``: what the numbers are and what each mark means; ``full``: metrics and rules too; ``none``.
        text: an author's text, which replaces what the caption says of data, selection and seeds; marks are explained
            after it. In LaTeX it is written unchanged, in other formats as plain text.
        label: the label of a LaTeX table, for ``\ref``.
    """

    length: str = "short"
    text: str | None = None
    label: str | None = None

    @property
    def own_text(self) -> str:
        """The author's text without blank lines, which would end a caption in LaTeX; empty if there is none."""
        return " ".join((self.text or "").split())


SHORT_CAPTION = Caption()


def check_format(
    format: str, allowed: Sequence[str] = FORMATS, standalone: bool = False, caption: Caption = SHORT_CAPTION
) -> None:
    """Refuse an unknown format (UnknownName), or options that do not go together (BadValue).

    Arguments as of `render`; `allowed`: the formats that a verb has.
    """
    if format not in allowed:
        raise UnknownName("format", format, allowed)
    if caption.length not in CAPTIONS:
        raise UnknownName("caption", caption.length, CAPTIONS)
    if standalone and format != "latex":
        raise BadValue(f"--standalone is a LaTeX document, not {format}; add --format latex, or leave it out.")
    if caption.text is not None and format in DATA_FORMATS:
        raise BadValue(f"{format} has no caption; leave out --caption-text, or choose another --format.")
    if caption.text is not None and format == "latex" and (problem := _find_latex_problem(caption.text)):
        raise BadValue(f"--caption-text is written into LaTeX as it is, and {problem}.")
    if caption.label is not None:
        _check_label(caption.label, format, standalone, has_caption=caption.length != "none" or bool(caption.text))


def check_decimals(decimals: int, format: str = "terminal") -> NumberFormat:
    """Return the number format with so many decimals; BadValue: more than 3, or the format writes all digits."""
    if not 0 <= decimals <= MOST_DECIMALS:
        raise BadValue(f"decimals {decimals} is not allowed; choose 0 to {MOST_DECIMALS} digits after the point.")
    if decimals != NumberFormat.decimals and format in DATA_FORMATS:
        raise BadValue(f"{format} has all digits; leave out --decimals, or choose another --format.")
    return NumberFormat(decimals)


def _find_latex_problem(text: str) -> str:
    """Return why a text cannot be the argument of a LaTeX command; empty if it can."""
    plain = re.sub(r"\\[^A-Za-z]", "", text)
    depth = list(itertools.accumulate((sign == "{") - (sign == "}") for sign in plain))
    if min(depth, default=0) < 0 or depth[-1:] > [0]:
        return "its braces do not match; write \\{ for a brace that is text"
    if "%" in plain:
        return "% begins a comment there; write \\%"
    return "it ends with a backslash; write \\textbackslash" if plain.endswith("\\") else ""


def _check_label(label: str, format: str, standalone: bool, has_caption: bool) -> None:
    if format != "latex" or standalone:
        kind = "a --standalone document, where nothing refers to it" if standalone else f"format {format}"
        raise BadValue(f"--label is for a table in a LaTeX document, not for {kind}; leave it out.")
    if not re.fullmatch(r"[\w:./+-]+", label, re.ASCII):
        raise BadValue(f"label {label!r} is not allowed; write letters, digits and : . / + - _, such as tab:gzsl.")
    if not has_caption:
        raise BadValue("--label numbers a caption, and --caption none leaves it out; add --caption-text.")


def render(
    tables: Table | Sequence[Table],
    format: str,
    width: int | str | float | None = None,
    piped: int = 100,
    standalone: bool = False,
    caption: Caption = SHORT_CAPTION,
) -> str:
    """Return tables, one below the other, as LaTeX, Markdown or text for the terminal.

    Args:
        width: characters of a line, or for LaTeX inches or one of `WIDTHS`; None: the terminal's, or what fits any
            page.
        piped: characters of a line where there is no terminal.
        standalone: write a whole LaTeX document.
        caption: if it is left out, the remarks that readers of the numbers need become warnings (`CaptionLeftOut`).

    Raises:
        BadValue: the width is not a whole number above 0, or for LaTeX neither a known name nor a sensible number.
    """
    whole = [tables] if isinstance(tables, Table) else list(tables)
    tables = reduce_captions(whole, caption, format)
    if format == "latex":
        usual = WIDTHS["page"] if standalone else TEXT_WIDTH
        room = usual if width is None else inches_of(width)
        return write_latex(tables, room, standalone, caption.own_text, caption.label or "")
    if format == "markdown":
        room = MARKDOWN_WIDTH if width is None else columns_of(width)
        parts = [write_markdown(table, room) for table in tables]
    else:
        parts = [write_terminal(table, columns_of(width, piped)) for table in tables]
        shortened = any(short.remarks != table.remarks for short, table in zip(tables, whole, strict=True))
        parts[-1] += f"\n{MORE}" if caption.length == "short" and shortened else ""
    return "\n\n".join(parts) + "\n"


def reduce_captions(tables: Sequence[Table], caption: Caption, format: str) -> list[Table]:
    """Return the tables with the caption that was asked for; an author's text stands below the last of them.

    In LaTeX that text is written elsewhere. Without a caption, `CaptionLeftOut` warns of the remarks that readers need.
    """
    if caption.length == "none":
        for remark in (remark for table in tables for remark in table.remarks if remark.kind in WARNINGS):
            warn(remark.text, CaptionLeftOut)
    reduced = [_reduce_caption(table, caption.length, bool(caption.own_text)) for table in tables]
    if format != "latex" and caption.own_text:
        below = (*remarks("note", [caption.own_text]), *reduced[-1].remarks)
        reduced[-1] = dataclasses.replace(reduced[-1], remarks=below)
    return reduced


def _reduce_caption(table: Table, length: str, has_own_text: bool) -> Table:
    """Return a table without the remarks that the caption's length leaves out or that an author's text replaces."""
    below = [remark for remark in table.remarks if not (has_own_text and remark.kind in REPLACED)]
    if length != "full":
        below = shorten(below) if length == "short" else []
    return dataclasses.replace(table, remarks=tuple(below), captioned=length != "none")


def columns_table(heads: Sequence[str] | None, rows: Iterable[Sequence[str]]) -> RichTable:
    """Return rows below their heads, without rules, as rich lays them out; control characters are escaped."""
    from rich.table import Table as RichTable
    from rich.text import Text

    table = RichTable(
        show_header=heads is not None, box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold"
    )
    rows = [list(row) for row in rows]
    for head in heads or [""] * max((len(row) for row in rows), default=0):
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible(str(cell))) for cell in row))
    return table


def write_columns(heads: Sequence[str] | None, rows: Iterable[Sequence[str]], width: int = WIDE) -> str:
    """Return rows below their heads as plain text, without rules, in lines of at most `width` characters."""
    from rich.console import Console

    text = io.StringIO()
    Console(file=text, width=width, color_system=None, force_jupyter=False, force_terminal=False).print(
        columns_table(heads, rows)
    )
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())


def inches_of(width: str | float) -> float:
    """Return the inches that a width means.

    >>> inches_of("page"), inches_of("4.5")
    (6.875, 4.5)
    """
    if isinstance(width, str) and width in WIDTHS:
        return WIDTHS[width]
    try:
        inches = float(width)
    except ValueError:
        inches = math.nan
    if not NARROWEST <= inches <= WIDEST:
        known = ", ".join(WIDTHS)
        raise BadValue(
            f"width {str(width)!r} is not known; give one of {known}, or inches from {NARROWEST:g} to {WIDEST:g}."
        )
    return inches


def columns_of(width: int | str | float | None, piped: int = 100) -> int:
    """Return the characters per line that a width means; None: the terminal's, or `piped` if there is no terminal."""
    if width is None:
        return shutil.get_terminal_size((piped, 24)).columns
    text = str(width)
    if not text.isascii() or not text.isdigit() or not int(text):
        raise BadValue(f"width {text!r} is not a number of characters; give one such as 120, or choose --format latex.")
    return int(text)


def _part(
    table: Table, room: int, measure: Callable[[str], int], show: Callable[[Cell, str], str], gaps: tuple[int, int]
) -> list[Table]:
    """Split a table of values into panels of `room` characters beside the names.

    `show` writes a cell as long as its column's.
    """
    if table.is_text:
        return [table]
    widths = column_widths(table, lambda cell, longest: len(show(cell, longest)), measure)
    return split_into_panels(table, widths, room, gaps, measure)


def _names(table: Table) -> list[str]:
    return [table.name, *(block.title for block in table.blocks), *(row.title for row in table.rows)]


def _names_width(table: Table, width: int) -> int:
    """Return the width of the names on a terminal; long names are folded between words."""
    from rich.cells import cell_len

    names = _names(table)
    words = max(cell_len(word.rstrip()) for name in names for word in split_name(name) or [""])
    room = max(min(words + _INDENT, round(_MOST_NAMES * width)), round(_NAMES * width), _NARROWEST_WORDS)
    return min(max(map(cell_len, names)), room)


def write_markdown(table: Table, width: int = MARKDOWN_WIDTH) -> str:
    """Write a table as GitHub-flavoured Markdown; data sets that do not fit into `width` go below each other."""
    room = width - max(map(len, _names(table)))
    parts = _part(table, room, len, lambda cell, _: _mark(cell), (_COLUMN_GAP, _COLUMN_GAP))
    sentences = [*(remark.text for remark in table.remarks), *table.ranking_sentence("in bold")]
    paragraphs = [f"**{escape_markdown(table.title)}**" if table.title else ""]
    paragraphs += [_markdown_panel(part) for part in parts if part.rows]
    paragraphs += [f"```text\n{table.drawing}\n```" if table.drawing else ""]
    paragraphs += [escape_markdown(" ".join(sentences))]
    paragraphs += [f"<sup>{number}</sup> {escape_markdown(text)}" for number, text in enumerate(table.notes, start=1)]
    return "\n\n".join(filter(None, paragraphs))


def escape_markdown(text: str) -> str:
    """Return text that reads the same when it is rendered."""
    return _SPECIAL.sub(r"\\\1", text)


def _markdown_panel(table: Table) -> str:
    from tabulate import tabulate

    heads = [table.name, *(escape_markdown(f"{column.group} {column.head}".strip()) for column in table.columns)]
    rows = []
    for block in table.blocks:
        rows += [[f"*{escape_markdown(block.title)}*"]] if block.title else []
        rows += [[escape_markdown(row.name) + row.marks, *map(_mark, row.cells)] for row in block.rows]
    align = ["left", *("left" if column.kind == "text" else "right" for column in table.columns)]
    return tabulate(rows, heads, tablefmt="pipe", disable_numparse=True, colalign=align)


def _mark(cell: Cell | None) -> str:
    if cell is None:
        return MISSING
    text = escape_markdown(cell.text) + (f" ± {cell.std}" if cell.std else "")
    if cell.emphasis and text:
        text = f"**{text}**"
    return text + escape_markdown(cell.marks) + (f"<sup>{cell.note}</sup>" if cell.note else "")


def write_terminal(table: Table, width: int) -> str:
    """Write a table for `width` characters: what does not fit goes below, words are folded."""
    from rich.cells import cell_len

    parts = _part(table, width - _names_width(table, width), cell_len, _plain, (_GROUP_GAP, _COLUMN_GAP))
    sentences = [*(remark.text for remark in table.remarks), *table.ranking_sentence("marked *")]
    notes = [f"[{number}] {text}" for number, text in enumerate(table.notes, start=1)]
    below = [*wrap_sentences(sentences, width), *wrap_sentences(notes, width, 4)]
    shown = "\n\n".join(_terminal_panel(part, width) for part in parts) if table.rows else ""
    head = [*wrap_sentences([table.title] if table.title else [], width), *([shown] if shown else [])]
    return "\n\n".join(part for part in ("\n".join(head), table.drawing, "\n".join(below)) if part)


def wrap_sentences(sentences: Iterable[str], width: int, indent: int = 2) -> list[str]:
    """Return each sentence in lines of at most `width` characters, those after its first indented.

    What brackets hold, such as ``[gamma=1, lam=1]``, stays on one line; a path or a spec that is longer stays whole, so
    that it can be copied.
    """
    wrapper = textwrap.TextWrapper(
        max(width, 40), subsequent_indent=" " * indent, break_on_hyphens=False, break_long_words=False
    )
    glued = (_BRACKETS.sub(lambda match: match[0].replace(" ", _GLUE), sentence) for sentence in sentences)
    return [wrapper.fill(sentence).replace(_GLUE, " ") for sentence in glued]


def _plain(cell: Cell | None, longest: str) -> str:
    if cell is None:
        return MISSING.rjust(len(longest))
    note = f" [{cell.note}]" if cell.note else ""
    std = f" ± {cell.std}" if cell.std else ""
    before, after = pads(cell.text, longest)
    std = f"{' ' * len(after)}{std}" if std else ""
    return f"{' ' * len(before)}{cell.text}{std}{cell.marks}{_EMPHASIS[cell.emphasis]}{note}"


def _terminal_panel(table: Table, width: int) -> str:
    """Lay out one panel: names and groups side by side, each with a rule, below their heads."""
    from rich.cells import cell_len, set_cell_size

    heads = [table.name, *(column.head for column in table.columns)]
    blank = [""] * len(table.columns)
    longest = [
        "" if column.kind == "text" else text or MISSING
        for column, text in zip(table.columns, table.longest, strict=True)
    ]
    rows: list[Sequence[str]] = []
    for number, block in enumerate(table.blocks):
        rows += [["", *blank]] if number else []
        rows += [[block.title, *blank]] if block.title else []
        rows += [[row.title, *map(_plain, row.cells, longest)] for row in block.rows]
    widths = [max(map(cell_len, column)) for column in zip(heads, *rows, strict=True)]
    if table.is_text:
        over = sum(widths) + _GROUP_GAP * (len(widths) - 1) - width
        words = [0, *(number for number, column in enumerate(table.columns, start=1) if column.kind == "text")]
        widest = max(words, key=lambda number: widths[number])
        widths[widest] = min(widths[widest], max(widths[widest] - max(over, 0), _NARROWEST_WORDS))
    else:
        widths[0] = _names_width(table, width)
    rows = [line for row in rows for line in _fold(row, widths)]
    groups = [("", [0]), *((head, [number + 1 for number in numbers]) for head, numbers in table.groups)]
    gap = " " * _COLUMN_GAP

    def set_row(row: Sequence[str]) -> list[str]:
        return [gap.join(set_cell_size(row[n], widths[n]) for n in numbers) for _, numbers in groups]

    below = set_row(heads)
    lines = [[head for head, _ in groups], below, ["─" * cell_len(text) for text in below], *map(set_row, rows)]
    room = [max(cell_len(head), cell_len(text)) for (head, _), text in zip(groups, below, strict=True)]
    between = " " * _GROUP_GAP
    shown = [between.join(map(set_cell_size, line, room)).rstrip() for line in lines]
    return "\n".join(shown if any(head for head, _ in groups) else shown[1:])


def _fold(row: Sequence[str], widths: Sequence[int]) -> Iterator[tuple[str, ...]]:
    """Yield the lines of a row, with words folded to the width of their column."""
    from rich.cells import cell_len

    cells = [
        [text]
        if cell_len(text) <= width
        else fold_text(" ".join(text.split()), width, cell_len, 0 if number else _INDENT)
        for number, (text, width) in enumerate(zip(row, widths, strict=True))
    ]
    first, *following = cells[0]
    cells[0] = [first, *(" " * _INDENT + text for text in following)]
    yield from itertools.zip_longest(*cells, fillvalue="")
