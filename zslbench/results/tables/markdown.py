"""Tables as GitHub-flavoured Markdown."""

from __future__ import annotations

import re

from zslbench.results.tables.table import Cell, Table, column_widths, panels
from zslbench.results.tables.terminal import MISSING

WIDTH = 160
"""Characters of a line, where no other width is asked for."""
_SPECIAL = re.compile(r"([\\`*_<>|~$&#]|\](?=[(\[:]))")
_GAP = 3


def write_markdown(table: Table, width: int = WIDTH) -> str:
    """Write a table; data sets that do not fit into `width` go below each other."""
    parts = [table]
    if not table.is_text:
        names = max(map(len, [*(block.title for block in table.blocks), *(line.title for line in table.lines)]))
        widths = column_widths(table, lambda cell, longest: len(_marked(cell)), len)
        parts = panels(table, widths, width - names, (_GAP, _GAP), len)
    sentences = [*(remark.text for remark in table.remarks), *table.ranking_sentence("in bold", "in italics")]
    paragraphs = [f"**{escape_markdown(table.title)}**" if table.title else ""]
    paragraphs += [_panel(part) for part in parts if part.lines]
    paragraphs += [f"```text\n{table.drawing}\n```" if table.drawing else ""]
    paragraphs += [escape_markdown(" ".join(sentences))]
    paragraphs += [f"({letter}) {escape_markdown(text)}" for letter, text in table.settings]
    paragraphs += [f"<sup>{number}</sup> {escape_markdown(text)}" for number, text in enumerate(table.notes, start=1)]
    return "\n\n".join(filter(None, paragraphs))


def escape_markdown(text: str) -> str:
    """Return text that reads the same when it is rendered."""
    return _SPECIAL.sub(r"\\\1", text)


def _panel(table: Table) -> str:
    from tabulate import tabulate

    heads = [table.name, *(escape_markdown(f"{column.group} {column.head}".strip()) for column in table.columns)]
    rows = []
    for block in table.blocks:
        rows += [[f"*{escape_markdown(block.title)}*"]] if block.title else []
        rows += [[escape_markdown(line.name) + line.marks, *map(_marked, line.cells)] for line in block.lines]
    align = ["left", *("left" if column.kind == "text" else "right" for column in table.columns)]
    return tabulate(rows, heads, tablefmt="pipe", disable_numparse=True, colalign=align)


def _marked(cell: Cell | None) -> str:
    if cell is None:
        return MISSING
    text = escape_markdown(cell.text) + (f" ± {cell.std}" if cell.std else "")
    if cell.emphasis and text:
        text = f"*{text}*" if cell.emphasis == "second" else f"**{text}**"
    return text + escape_markdown(cell.marks) + (f"<sup>{cell.note}</sup>" if cell.note else "")
