"""The tables of the page: methods down, data sets and metrics across, one for each protocol and stage."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from zslbench.metrics import order_metrics
from zslbench.results.analysis.record_filter import RecordFilter
from zslbench.results.analysis.rows import Row
from zslbench.results.tables.layout import data_order, lay_out, method_order
from zslbench.results.tables.table import Block, Table
from zslbench.visible import one_line

SETTINGS = {
    "inductive": "inductive",
    "semantic": "semantic: the semantics of unseen classes are known in training",
    "transductive": "transductive: unlabelled test features are used ‡",
}
_STAGES = {"final": "", "dev": ", dev stage"}


def accuracy_tables(rows: Sequence[Row], record_filter: RecordFilter) -> list[tuple[str, Table]]:
    """Return a short name and a table for each protocol (its version and parameters included), of rows of one stage."""
    groups: dict[tuple[bool, str, int, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.protocol != "zsl", *row.protocol_key), []).append(row)
    protocols = [protocol for _, protocol, *_ in groups]
    out = []
    for _, same_protocol in sorted(groups.items()):
        by_data = sorted(same_protocol, key=lambda row: data_order(row, record_filter))
        by_method = sorted(by_data, key=lambda row: method_order(row, record_filter))
        table = lay_out(by_method, by_data, order_metrics(name for row in by_data for name in row.metrics))
        blocks = table.blocks
        if len(blocks) > 1:
            blocks = tuple(dataclasses.replace(block, title=_heading(block)) for block in blocks)
        first = by_method[0]
        named = dataclasses.replace(table, title=_title(first, protocols), blocks=blocks)
        out.append((first.protocol + (" dev" if first.stage == "dev" else ""), named))
    return out


def _title(row: Row, protocols: Sequence[str]) -> str:
    """Name a table by its protocol, with version and parameters where there are several of that name."""
    rules = ""
    if protocols.count(row.protocol) > 1:
        _, version, params = row.protocol_key
        rules = f" v{version}" + (f" [{params}]" if params else "")
    known = {"zsl": "Zero-shot learning", "gzsl": "Generalized zero-shot learning"}
    return one_line(known.get(row.protocol, row.protocol) + rules + _STAGES.get(row.stage, f", {row.stage}"))


def _heading(block: Block) -> str:
    first = block.lines[0]
    text = SETTINGS.get(first.setting, first.setting)
    return f"{text}; oracle selection †" if first.selection == "oracle" else text
