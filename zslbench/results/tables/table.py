"""`Table`: what a verb shows, before it is written in any format."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, TypeVar

from zslbench.results.analysis.rows import Stat
from zslbench.visible import one_line

PUBLISHED_HEAD = "pub."
"""The head of a column of published numbers, which stands right after the measured one that it belongs to."""

RemarkKind = Literal[
    "stage", "data", "split", "selection", "seeds", "single seed", "metrics", "chosen", "calibration", "spread",
    "ranking", "setting", "transductive", "oracle", "source", "parameters", "published", "layout", "figure", "note",
    "warning",
]  # fmt: skip
WARNINGS: frozenset[RemarkKind] = frozenset({"warning", "source", "single seed"})
"""Kinds that every caption keeps: without them numbers would be misread."""
REPLACED: frozenset[RemarkKind] = frozenset({"stage", "data", "split", "selection", "seeds", "metrics"})
"""Kinds that an author's caption text replaces: all that do not explain a mark."""
_WHOLE: frozenset[RemarkKind] = WARNINGS | {"note", "parameters"}
"""Kinds that a short caption keeps in full if they have no short form; names of rows depend on the parameters."""
_SUMMARY: frozenset[RemarkKind] = frozenset({"stage", "data", "split", "selection", "seeds", "spread"})
"""Kinds that are joined into the first sentence of a short caption."""

Item = TypeVar("Item")

Emphasis = Literal["", "best", "outstanding"]


@dataclasses.dataclass(frozen=True)
class Remark:
    """A sentence below numbers and its kind; code that omits or moves remarks looks at the kind alone.

    `short` replaces it in a short caption (see `shorten`); empty: left out there.
    """

    kind: RemarkKind
    text: str
    short: str = ""


def remarks(kind: RemarkKind, texts: Iterable[str], short: str = "") -> list[Remark]:
    """Return remarks of one kind, each text on one line; the first one gets the short form."""
    return [Remark(kind, one_line(text), "" if number else one_line(short)) for number, text in enumerate(texts)]


def shorten(below: Iterable[Remark]) -> list[Remark]:
    """Return the short caption: one sentence on what the numbers are, one per mark, and every warning in full.

    >>> [remark.text for remark in shorten([Remark("stage", "…", "GZSL"), Remark("seeds", "…", "seeds 0–2")])]
    ['GZSL · seeds 0–2.']
    """
    below = list(below)
    summary = [remark.short for remark in below if remark.kind in _SUMMARY and remark.short]
    shortened = [Remark("stage", " · ".join(summary) + ".")] if summary else []
    for remark in below:
        if remark.kind in _WHOLE and not remark.short:
            shortened.append(remark)
        elif remark.kind not in _SUMMARY and remark.short:
            shortened.append(Remark(remark.kind, remark.short))
    return shortened


@dataclasses.dataclass(frozen=True)
class Cell:
    """One value of a table: a mean, a count or a word, with its spread, marks and footnote.

    Attributes:
        emphasis: ``best`` among comparable rows, or ``outstanding``.
        note: number of its footnote, from 1; 0: none.
        stat: the number itself, for pages that sort by it.
    """

    text: str
    std: str = ""
    emphasis: Emphasis = ""
    note: int = 0
    marks: str = ""
    stat: Stat | None = None

    @property
    def bold(self) -> bool:
        """Whether it is in bold, in formats that have bold type."""
        return self.emphasis in ("best", "outstanding")


@dataclasses.dataclass(frozen=True)
class Column:
    """A column with its head and the head of its group, which spans adjacent columns; empty: no group.

    Attributes:
        kind: ``value``: numbers, aligned at the right; ``text``: words, which may be folded.
        dataset, stems, metric: what the values are, for choosing columns and for pages that filter.
    """

    head: str
    group: str = ""
    kind: Literal["value", "text"] = "value"
    dataset: str = ""
    metric: str = ""
    stems: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class TableRow:
    """One row: its name, the marks after it (``†``, ``‡``), a cell for each column (None: missing).

    `label`, `setting` and `selection` say what was run, for pages that filter; `method` is the name of the method, and
    `citation` the key that LaTeX cites after the row's name.
    """

    name: str
    marks: str
    cells: tuple[Cell | None, ...]
    label: str = ""
    setting: str = ""
    selection: str = ""
    method: str = ""
    citation: str = ""

    @property
    def title(self) -> str:
        """The name with its marks."""
        return self.name + self.marks


@dataclasses.dataclass(frozen=True)
class Block:
    """Rows that are ranked with each other, and their title (empty: none).

    `source` is the citation key of published rows, `citation` the key that LaTeX cites after the title.
    """

    rows: tuple[TableRow, ...]
    title: str = ""
    source: str = ""
    citation: str = ""


@dataclasses.dataclass(frozen=True)
class Table:
    """A whole table: blocks of rows with a rule between them; `columns` are those after the names.

    Attributes:
        notes: footnotes of cells, numbered from 1.
        name: the head of the column of names; title: the text above the table.
        captioned: whether the caption explains the mark of the best.
        drawing: preformatted text below the table; LaTeX leaves it out.
        ranked_by: what the mark of the best means, here or in tables above that share the remarks: ``mean``, the
            highest mean; ``test``, that and the ones not significantly different from it; empty: there is no mark.
    """

    columns: tuple[Column, ...]
    blocks: tuple[Block, ...]
    remarks: tuple[Remark, ...] = ()
    notes: tuple[str, ...] = ()
    name: str = "method"
    title: str = ""
    drawing: str = ""
    captioned: bool = True
    ranked_by: Literal["", "mean", "test"] = ""

    @property
    def rows(self) -> list[TableRow]:
        """The rows of all blocks."""
        return [row for block in self.blocks for row in block.rows]

    @property
    def groups(self) -> list[tuple[str, list[int]]]:
        """The head of each group, and the numbers of its columns."""
        numbered = enumerate(self.columns)
        parts = itertools.groupby(numbered, lambda item: item[1].group or item[0])
        return [(key if isinstance(key, str) else "", [number for number, _ in part]) for key, part in parts]

    @property
    def is_text(self) -> bool:
        """Whether some column holds words, which are folded to fit, and not values alone."""
        return any(column.kind == "text" for column in self.columns)

    def cells(self, number: int) -> list[Cell]:
        """Return the cells of one column without missing ones."""
        return [cell for row in self.rows if (cell := row.cells[number]) is not None]

    @functools.cached_property
    def longest(self) -> list[str]:
        """The widest text of each column (see `longest_text`); empty for a column without values."""
        return [longest_text([cell.text for cell in self.cells(n)]) for n in range(len(self.columns))]

    def ranking_sentence(self, best: str) -> list[str]:
        """Return the sentence on how the best is marked; none if nothing is marked."""
        if not self.captioned or not self.ranked_by:
            return []
        if self.ranked_by == "mean":
            return [f"Best among comparable rows {best}."]
        return [
            f"Best among comparable rows {best}, and so are those next below it, down to the first that differs "
            "significantly from it (paired 95 % interval). Where none does, none is marked."
        ]


def split_at_point(text: str) -> tuple[str, str]:
    """Return a number up to its decimal point and the rest; the rest of a text without decimals is empty.

    >>> split_at_point("42.80"), split_at_point("42")
    (('42', '.80'), ('42', ''))
    """
    match = re.search(r"\.\d+$", text)
    place = match.start() if match else len(text)
    return text[:place], text[place:]


def longest_text(texts: Sequence[str]) -> str:
    """Return the text that takes the room of a column whose numbers have their decimal points below each other.

    >>> longest_text(["123.4", "42.80"])
    '123.80'
    """
    parts = [(whole, decimals) for whole, decimals in map(split_at_point, texts) if decimals]
    aligned = "".join(max(part, key=len) for part in zip(*parts, strict=True))
    return max([aligned, *texts], key=len)


def pads(text: str, longest: str) -> tuple[str, str]:
    """Return what `longest` has before and behind a text; a text without decimals ends where `longest` ends.

    >>> pads("23.5", "142.80")
    ('1', '0')
    """
    whole, decimals = split_at_point(text)
    longest_whole, most = split_at_point(longest)
    if not (decimals and most):
        return longest[: len(longest) - len(text)], ""
    return longest_whole[: len(longest_whole) - len(whole)], most[len(decimals) :]


_PIECES = (r".+?(?:\s+|,(?!\d)\s*)|.+", r".+?\[|.+", r".+?[_@\[(,=/+:;)\]-]+|.+", r".")


def split_name(text: str, level: int = 0) -> list[str]:
    """Return the pieces that `fold_text` keeps whole: 0 ends them at spaces and commas, 1 at [, 2 at other punctuation.

    >>> split_name("LisGAN@S3[souls=5, lr=0.1]"), split_name("souls=5", 2)
    (['LisGAN@S3[souls=5, ', 'lr=0.1]'], ['souls=', '5'])
    """
    return re.findall(_PIECES[level], text)


def fold_text(text: str, width: float, measure: Callable[[str], float] = len, indent: float = 0) -> list[str]:
    """Split a text into lines of `width`, all but the first indented by `indent`.

    Lines end after spaces and commas, or where no name fits, at other punctuation and at last anywhere.

    >>> fold_text("LisGAN@S3[hidden=1024]", 12)
    ['LisGAN@S3[', 'hidden=1024]']
    """

    def fitting(text: str, level: int = 0) -> Iterator[str]:
        for piece in split_name(text, level):
            if level < 3 and measure(piece.rstrip()) > width - indent:
                yield from fitting(piece, level + 1)
            else:
                yield piece

    lines = [""]
    for piece in fitting(text):
        room = width - (indent if len(lines) > 1 else 0)
        if lines[-1] and measure((lines[-1] + piece).rstrip()) > room:
            lines.append("")
        lines[-1] += piece
    return [line.strip() for line in lines if line.strip()] or [text]


def cite_methods(table: Table, keys: Mapping[str, str]) -> Table:
    """Return the table with the citation keys of the methods of its rows, and of the sources of published ones."""
    blocks = []
    for block in table.blocks:
        rows = tuple(dataclasses.replace(row, citation=keys.get(row.method, "")) for row in block.rows)
        title = block.title.replace(f": {block.source}", "") if block.source else block.title
        blocks.append(dataclasses.replace(block, rows=rows, title=title, citation=block.source if title else ""))
    return dataclasses.replace(table, blocks=tuple(blocks))


def text_table(
    title: str,
    heads: Sequence[str],
    rows: Iterable[Sequence[str | Cell | None]],
    words: Iterable[int] = (),
    **facts: object,
) -> Table:
    """Return a table of texts; the first column names the rows, those numbered in `words` hold words, others values."""
    words = set(words)
    columns = [Column(head, kind="text" if n in words else "value") for n, head in enumerate(heads[1:], start=1)]
    table_rows = [
        TableRow(str(name), "", tuple(Cell(cell) if isinstance(cell, str) else cell for cell in cells))
        for name, *cells in rows
    ]
    return Table(tuple(columns), (Block(tuple(table_rows)),), name=heads[0], title=title, **facts)  # type: ignore[arg-type]


@dataclasses.dataclass(frozen=True)
class NumberFormat:
    """How accuracies are written: digits after the point; ± the half-width of the 95 % t interval, or the deviation."""

    decimals: int = 1
    intervals: bool = False

    def write(self, value: float) -> str:
        """Return a value in percent."""
        return f"{value:.{self.decimals}f}"


USUAL_NUMBERS = NumberFormat()


def stat_cell(stat: Stat | None, marks: str = "", numbers: NumberFormat = USUAL_NUMBERS) -> Cell | None:
    """Return mean and what stands after ±; None: there is no number."""
    if stat is None:
        return None
    ends = stat.interval() if numbers.intervals else None
    spread = (ends[1] - ends[0]) / 2 if ends else stat.std
    return Cell(numbers.write(stat.mean), "" if spread is None else numbers.write(spread), marks=marks, stat=stat)


def signed(points: float, digits: int = 1) -> str:
    """Return points with their sign; a number that rounds to 0 has none.

    >>> signed(-1.239, 2), signed(0.001), signed(2.0)
    ('−1.24', '0.0', '+2.0')
    """
    text = f"{points:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def column_widths(
    table: Table, cell_width: Callable[[Cell, str], float], head_width: Callable[[str], float]
) -> list[float]:
    """Return the width of each column; `cell_width` is given a cell and its column's longest text."""
    longest = table.longest
    return [
        max([head_width(column.head), *(cell_width(cell, longest[n]) for cell in table.cells(n))])
        for n, column in enumerate(table.columns)
    ]


def split_into_panels(
    table: Table, widths: Sequence[float], room: float, gaps: tuple[float, float], head_width: Callable[[str], float]
) -> list[Table]:
    """Split a table that is wider than `room` into tables of whole groups, one below the other.

    A group that is too wide by itself is parted into several under the same head. Widths of columns and of group heads,
    `room` (of a line, names left out) and `gaps` (before a group, and between the columns of one) are in any unit.
    """
    between_groups, between = gaps
    taken = [width + between for width in widths]

    def panel_width(item: tuple[str, list[int]]) -> float:
        head, numbers = item
        return between_groups + max(sum(taken[number] for number in numbers) - between, head_width(head))

    groups = [
        (head, part)
        for head, numbers in table.groups
        for part in _part_group(table, numbers, taken, room - between_groups + between)
    ]
    parts = pack(groups, panel_width, room)
    if len(parts) == 1:
        return [table]
    return [take_columns(table, [number for _, numbers in part for number in numbers]) for part in parts]


def pack(items: Iterable[Item], size: Callable[[Item], float], room: float) -> list[list[Item]]:
    """Split items into runs that fit into `room`, each as long as possible; a larger item stands alone."""
    runs: list[list[Item]] = [[]]
    used = 0.0
    for item in items:
        if runs[-1] and used + size(item) > room:
            runs.append([])
            used = 0.0
        runs[-1].append(item)
        used += size(item)
    return runs


def take_columns(table: Table, numbers: Sequence[int]) -> Table:
    """Return the table with some of its columns, in this order.

    Rows without any value in them are left out, and so are blocks without a row, which leave their title to the next.
    """
    blocks: list[Block] = []
    pending = {"title": "", "citation": ""}
    for block in table.blocks:
        rows = (dataclasses.replace(row, cells=tuple(row.cells[n] for n in numbers)) for row in block.rows)
        pending = {"title": block.title, "citation": block.citation} if block.title else pending
        if kept := tuple(row for row in rows if any(row.cells)):
            blocks.append(dataclasses.replace(block, rows=kept, **pending))
            pending = {"title": "", "citation": ""}
    return dataclasses.replace(table, columns=tuple(table.columns[n] for n in numbers), blocks=tuple(blocks))


def _part_group(table: Table, numbers: Sequence[int], widths: Sequence[float], room: float) -> list[list[int]]:
    """Return the columns of each part of a group, as few parts as fit into `room`, of sizes as equal as possible."""
    units: list[list[int]] = []
    for number in numbers:
        if table.columns[number].head == PUBLISHED_HEAD and units:
            units[-1].append(number)  # a published number stays beside the measured one
        else:
            units.append([number])

    def width_of(unit: Sequence[int]) -> float:
        return sum(widths[number] for number in unit)

    # U cs, S cs and H cs stay together: metrics with the same words after their name
    alike = itertools.groupby(units, lambda unit: table.columns[unit[0]].metric.partition(" ")[2])
    together = [list(itertools.chain(*of_kind)) for _, of_kind in alike]
    if len(together) > 1 and max(map(width_of, together)) <= room:
        units = together

    def fill(limit: float) -> list[list[int]]:
        return [list(itertools.chain(*run)) for run in pack(units, width_of, limit)]

    fewest = fill(room)
    limit = sum(widths[number] for number in numbers) / len(fewest)
    while limit < room and len(fill(limit)) > len(fewest):
        limit += 1.0
    return fill(min(limit, room))
