"""Tables as HTML for notebooks: plain, in the colours of the page around them, light or dark."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from zslbench.results.tables.table import Block, Cell, Table
from zslbench.visible import visible

MISSING = "–"
_RULE = "1px solid currentColor"
_CELL = "padding:0.15em 0.7em;border:0;color:inherit;background:none;text-align:"
_ALIGN = {"text": "left", "value": "right"}
_BELOW = "margin:0.3em 0;max-width:60em;font-size:smaller;line-height:1.4"


def write_html(tables: Iterable[Table], notes: Sequence[str] = ()) -> str:
    """Return tables one below the other, each under its title and above its sentences, with `notes` at the end."""
    parts = [_write_table(table) for table in tables]
    parts += [_paragraph(_escape(note)) for note in notes]
    return f'<div class="zslbench">{"".join(parts)}</div>\n'


def _write_table(table: Table) -> str:
    parts = []
    if table.rows:
        bodies = "".join(_body(table, block) for block in table.blocks)
        look = f"border-collapse:collapse;border-top:{_RULE};border-bottom:{_RULE};color:inherit;margin:0.5em 0"
        parts.append(f'<table style="{look}">{_caption(table.title)}{_head(table)}{bodies}</table>')
    if table.drawing:
        parts += [] if table.rows or not table.title else [_paragraph(f"<strong>{_escape(table.title)}</strong>")]
        look = "line-height:1.2;color:inherit;background:none;text-align:left;overflow-x:auto"
        parts.append(f'<pre style="{look}">{_escape(table.drawing)}</pre>')
    sentences = [remark.text for remark in table.remarks] + table.ranking_sentence("in bold")
    below = [_escape(" ".join(sentences))] if sentences else []
    below += [f"<sup>{number}</sup> {_escape(text)}" for number, text in enumerate(table.notes, start=1)]
    return "".join([*parts, *map(_paragraph, below)])


def _head(table: Table) -> str:
    if not any([table.name, *(column.head + column.group for column in table.columns)]):
        return ""
    rows = []
    if any(head for head, _ in table.groups):
        spans = [
            f'<th colspan="{len(numbers)}" scope="colgroup" style="{_CELL}center">{_escape(head)}</th>'
            for head, numbers in table.groups
        ]
        rows.append(_cell("", "left", "td") + "".join(spans))
    heads = [_cell(_escape(table.name), "left", "th")]
    heads += [
        _cell(_escape(column.head), "left" if column.kind == "text" else "right", "th") for column in table.columns
    ]
    rows.append("".join(heads))
    return "<thead>" + "".join(f'<tr style="background:none">{row}</tr>' for row in rows) + "</thead>"


def _body(table: Table, block: Block) -> str:
    rows = []
    if block.title:
        rows.append(f'<th colspan="{len(table.columns) + 1}" style="{_CELL}left"><em>{_escape(block.title)}</em></th>')
    for row in block.rows:
        cells = (
            _cell(_value(cell), _ALIGN[column.kind]) for column, cell in zip(table.columns, row.cells, strict=True)
        )
        rows.append(_cell(_escape(row.title), "left", "th", "font-weight:normal") + "".join(cells))
    lines = "".join(f'<tr style="background:none">{row}</tr>' for row in rows)
    return f'<tbody style="border-top:{_RULE}">{lines}</tbody>'


def _value(cell: Cell | None) -> str:
    if cell is None:
        return MISSING
    text = _escape(cell.text) + (f" ± {_escape(cell.std)}" if cell.std else "")
    text = f"<strong>{text}</strong>" if cell.bold else text
    return text + _escape(cell.marks) + (f"<sup>{cell.note}</sup>" if cell.note else "")


def _cell(content: str, align: str, name: str = "td", more: str = "") -> str:
    return f'<{name} style="{_CELL}{align};{more}">{content}</{name}>'


def _caption(title: str) -> str:
    style = "caption-side:top;text-align:left;font-weight:bold;color:inherit;padding:0.3em 0"
    return f'<caption style="{style}">{_escape(title)}</caption>' if title else ""


def _paragraph(content: str) -> str:
    return f'<p style="{_BELOW}">{content}</p>'


def _escape(text: str) -> str:
    return html.escape(visible(text))
