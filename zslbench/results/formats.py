"""Tables as text: for the terminal, Markdown, CSV and JSON. LaTeX has a module of its own."""

from __future__ import annotations

import csv
import io
import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from zslbench.results import grid as grids
from zslbench.results.grid import Cell, Grid, Line
from zslbench.results.summary import CALIBRATED, Row, Stat

MISSING = "–"
_MARKDOWN = re.compile(r"([\\`*_<>|~$&#])")
MARKDOWN_WIDTH = 160
_DIGITS = 6

Cited = Mapping[str, Mapping[str, Any]]
"""Published numbers beside one row, by metric: value, source, table, features, semantics, note."""


def terminal(grid: Grid, width: int) -> str:
    """Write a grid for a terminal of `width` characters; data sets that do not fit go below each other."""
    from rich.cells import cell_len

    def cell_width(cell: Cell, mean: int) -> int:
        return len(_plain(cell, mean))

    names = max(cell_len(line.name + line.marks) for block in grid.blocks for line in block)
    each = grids.widths(grid, cell_width, cell_len, gap=2)
    parts = [_panel(part) for part in grids.panels(grid, each, names, width)]
    best = any(cell.best for place, _ in _places(grid) for cell in grids.column(grid, *place))
    sentences = [*grid.caption, *(["* best among comparable rows."] if best else [])]
    below = [_wrap(sentence, width, 2) for sentence in sentences]
    below += [_wrap(f"({letter}) {text}", width, 4) for letter, text in grid.settings]
    below += [_wrap(f"[{number}] {text}", width, 4) for number, text in enumerate(grid.notes, start=1)]
    return "\n\n".join(["\n\n".join(parts), "\n".join(below)]) + "\n"


def _wrap(text: str, width: int, indent: int) -> str:
    return textwrap.fill(text, max(width, 40), subsequent_indent=" " * indent, break_on_hyphens=False)


def _places(grid: Grid) -> list[tuple[tuple[int, int], str]]:
    return [((i, j), head) for i, group in enumerate(grid.groups) for j, head in enumerate(group.columns)]


def _plain(cell: Cell | None, mean: int) -> str:
    if cell is None:
        return MISSING.rjust(mean)
    note = f" [{cell.note}]" if cell.note else ""
    return f"{cell.mean:>{mean}}{f' ± {cell.std}' if cell.std else ''}{cell.marks}{'*' if cell.best else ''}{note}"


def _panel(grid: Grid) -> str:
    """Set one panel with rich: a table a group, side by side, so that a group's head spans its columns."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    def framed(heads: Sequence[str]) -> Table:
        table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))
        for head in heads:
            table.add_column(Text(head), no_wrap=True)
        return table

    names = framed(["method"])
    bodies = [framed(group.columns) for group in grid.groups]
    for block in grid.blocks:
        for line in block:
            last = line is block[-1] and block is not grid.blocks[-1]
            names.add_row(Text(line.name + line.marks), end_section=last)
            for place, body in enumerate(bodies):
                body.add_row(*(Text(text) for text in _texts(grid, line, place)), end_section=last)
    outer = Table(box=None, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    for head in ["", *(group.head for group in grid.groups)]:
        outer.add_column(Text(head), no_wrap=True)
    outer.add_row(names, *bodies)
    console = Console(file=io.StringIO(), width=10_000, color_system=None, force_terminal=False, legacy_windows=False)
    with console.capture() as captured:
        console.print(outer)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def _texts(grid: Grid, line: Line, place: int) -> list[str]:
    out = []
    for number, cell in enumerate(line.cells[place]):
        mean = max((len(other.mean) for other in grids.column(grid, place, number)), default=1)
        out.append(_plain(cell, mean))
    return out


def markdown(grid: Grid, width: int = MARKDOWN_WIDTH) -> str:
    """Write a grid as GitHub-flavoured Markdown; data sets that do not fit into `width` go below each other."""
    names = max(len(line.name + line.marks) for block in grid.blocks for line in block)
    each = grids.widths(grid, lambda cell, mean: len(_marked(cell)), len, gap=3)
    parts = [_markdown_panel(part) for part in grids.panels(grid, each, names, width)]
    best = any(cell.best for place, _ in _places(grid) for cell in grids.column(grid, *place))
    sentences = [*grid.caption, *(["Best among comparable rows in bold."] if best else [])]
    blocks = [*parts, _escaped(" ".join(sentences))]
    blocks += [f"({letter}) {_escaped(text)}" for letter, text in grid.settings]
    blocks += [f"<sup>{number}</sup> {_escaped(text)}" for number, text in enumerate(grid.notes, start=1)]
    return "\n\n".join(blocks) + "\n"


def _markdown_panel(grid: Grid) -> str:
    from tabulate import tabulate

    heads = ["method"]
    for group in grid.groups:
        heads += [_escaped(f"{group.head} {name}") for name in group.columns]
    body = [
        [_escaped(line.name) + line.marks, *(_marked(cell) for cells in line.cells for cell in cells)]
        for block in grid.blocks
        for line in block
    ]
    align = ["left", *["right"] * (len(heads) - 1)]
    return tabulate(body, heads, tablefmt="pipe", disable_numparse=True, colalign=align)


def _marked(cell: Cell | None) -> str:
    if cell is None:
        return MISSING
    text = f"{cell.mean} ± {cell.std}" if cell.std else cell.mean
    note = f"<sup>{cell.note}</sup>" if cell.note else ""
    return (f"**{text}**" if cell.best else text) + cell.marks + note


def _escaped(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", text)


def json_rows(rows: Sequence[Row], metrics: Sequence[str], cited: Sequence[Cited] | None) -> str:
    """Write one object a row; accuracies in percent."""
    out = []
    for place, row in enumerate(rows):
        facts = _facts(row) | {
            "params": dict(row.params),
            "protocol_params": dict(row.protocol_params),
            "folds": list(row.folds),
            "seeds": list(row.seeds),
            "n": len(row.seeds),
            "gammas": list(row.gammas),
            "gamma_folds": list(row.gamma_folds),
            "metrics": {
                name: {"mean": _round(stat.mean), "std": _round(stat.std), **_interval(stat), "n": stat.n}
                for name, stat in _ordered(row, metrics)
            },
        }
        if cited is not None:
            facts["published"] = {name: dict(entry) for name, entry in cited[place].items()}
        out.append(facts)
    return json.dumps(out, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def csv_rows(rows: Sequence[Row], metrics: Sequence[str], cited: Sequence[Cited] | None) -> str:
    """Write one line a row and metric; accuracies in percent, parameters as JSON, seeds parted by spaces."""
    lines = []
    for place, row in enumerate(rows):
        facts = _facts(row) | {
            "params": json.dumps(dict(row.params), ensure_ascii=False),
            "protocol_params": json.dumps(dict(row.protocol_params), ensure_ascii=False),
            "folds": " ".join(map(str, row.folds)),
            "seeds": " ".join(map(str, row.seeds)),
        }
        for name, stat in _ordered(row, metrics):
            line = facts | {"n": stat.n, "metric": name, "mean": _round(stat.mean), "std": _round(stat.std)}
            line |= _interval(stat)
            for key, values in (("gammas", row.gammas), ("gamma_folds", row.gamma_folds)):
                line[key] = " ".join(map(str, values)) if CALIBRATED in name else ""
            if name.endswith("†") and "†" not in row.marks:
                line["marks"] = "†" + row.marks
            if cited is not None:
                entry = cited[place].get(name, {})
                line["published"] = entry.get("value")
                line |= {f"published_{key}": entry.get(key) for key in ("source", "table", "note")}
            lines.append(line)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _facts(row: Row) -> dict[str, Any]:
    return {
        "method": row.method,
        "label": row.label,
        "params": None,
        "version": row.version,
        "title": row.title,
        "setting": row.setting,
        "dataset": row.dataset,
        "features": row.features,
        "semantics": row.semantics,
        "fingerprint": row.fingerprint,
        "protocol": row.protocol,
        "protocol_version": row.protocol_version,
        "protocol_params": None,
        "stage": row.stage,
        "fold": row.fold,
        "folds": None,
        "selection": row.selection,
        "marks": row.marks,
        "step": "last" if row.step is None else row.step,
        "steps": row.selected.get("steps"),
        "points": row.selected.get("points"),
    }


def _interval(stat: Stat) -> dict[str, float | None]:
    low, high = stat.interval() or (None, None)
    return {"ci_low": _round(low), "ci_high": _round(high)}


def _ordered(row: Row, metrics: Sequence[str]) -> list[tuple[str, Stat]]:
    return [(name, row.metrics[name]) for name in metrics if name in row.metrics]


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)
