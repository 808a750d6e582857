"""The tables of the page: methods down, data sets and metrics across, one a protocol and stage."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from zslbench.identity import canonical_json
from zslbench.results.caption import caption
from zslbench.results.choice import Choice
from zslbench.results.layout import GroupKey, group_heads, group_key, ranked_blocks
from zslbench.results.naming import LineKey, line_keys, printable, short_names
from zslbench.results.summary import Row, Stat
from zslbench.results.tables import METRIC_ORDER, data_order, method_order

SETTINGS = {
    "inductive": "inductive",
    "semantic": "semantic: the semantics of unseen classes are known in training",
    "transductive": "transductive: unlabelled test features are used ‡",
}
_STAGES = {"final": "", "dev": ", dev stage"}


@dataclasses.dataclass(frozen=True)
class Value:
    """One cell: mean in percent, as text with one digit and its deviation (empty: none), n seeds, whether best."""

    mean: float
    shown: str
    std: str
    n: int
    best: bool


@dataclasses.dataclass(frozen=True)
class TableLine:
    """One method: its name and marks, what was run in full, its setting and selection, and a value a column."""

    name: str
    marks: str
    full: str
    setting: str
    selection: str
    values: tuple[Value | None, ...]


@dataclasses.dataclass(frozen=True)
class Block:
    """Lines that are ranked with each other, under a heading (empty where there is one block)."""

    heading: str
    lines: tuple[TableLine, ...]


@dataclasses.dataclass(frozen=True)
class Head:
    """A data set over its metrics."""

    dataset: str
    text: str
    metrics: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of the page.

    Attributes:
        title: protocol and stage; protocol, stage: their names.
        heads: column groups; blocks: of lines; caption: sentences.
        settings: what letters after names stand for.
    """

    title: str
    protocol: str
    stage: str
    heads: tuple[Head, ...]
    blocks: tuple[Block, ...]
    caption: tuple[str, ...]
    settings: tuple[tuple[str, str], ...]

    @property
    def columns(self) -> list[tuple[int, Head, str]]:
        """The group's number, the group and the metric of each column, in order."""
        return [(place, head, metric) for place, head in enumerate(self.heads) for metric in head.metrics]

    @property
    def marked(self) -> bool:
        """Whether any cell is the best of its kind."""
        return any(value and value.best for block in self.blocks for line in block.lines for value in line.values)


def tables(rows: Sequence[Row], choice: Choice) -> list[Table]:
    """Return a table a protocol (its version and parameters included), zsl first, of rows of one stage."""
    groups: dict[tuple[bool, str, str], list[Row]] = {}
    for row in rows:
        rules = canonical_json([row.protocol_version, dict(row.protocol_params)])
        groups.setdefault((row.protocol != "zsl", row.protocol, rules), []).append(row)
    names = [protocol for _, protocol, _ in groups]
    return [
        _table(sorted(own, key=lambda row: (method_order(row, choice), data_order(row, choice))), choice, names)
        for _, own in sorted(groups.items())
    ]


def _table(rows: Sequence[Row], choice: Choice, protocols: Sequence[str]) -> Table:
    keys = line_keys(rows, group_key)
    names, settings = short_names(dict.fromkeys(keys))
    there = {name for row in rows for name in row.metrics}
    metrics = [name for name in METRIC_ORDER if name in there] + sorted(there - set(METRIC_ORDER))
    data = dict.fromkeys(group_key(row) for row in sorted(rows, key=lambda row: data_order(row, choice)))
    heads = group_heads(list(data))
    found = {
        (key, group_key(row), name): row.metrics[name]
        for row, key in zip(rows, keys, strict=True)
        for name in metrics
        if name in row.metrics
    }
    columns = [(data_set, name) for data_set in data for name in metrics if _any(found, data_set, name)]
    first = {key: row for row, key in zip(reversed(rows), reversed(keys), strict=True)}
    blocks = ranked_blocks(dict.fromkeys(keys), rank_together=False)
    best = {pair for block in blocks for column in columns for pair in _best(block, column, found)}
    return Table(
        title=_title(rows[0], protocols),
        protocol=rows[0].protocol,
        stage=rows[0].stage,
        heads=tuple(
            Head(one[0], heads[one], tuple(name for data_set, name in columns if data_set == one)) for one in data
        ),
        blocks=tuple(
            Block(
                _heading(block[0]) if len(blocks) > 1 else "",
                tuple(_line(key, names[key], first[key], columns, found, best) for key in block),
            )
            for block in blocks
        ),
        caption=tuple(map(printable, caption(rows, keys, names, tuple(metrics), together=False))),
        settings=settings,
    )


_Found = Mapping[tuple[LineKey, GroupKey, str], Stat]


def _any(found: _Found, data_set: GroupKey, name: str) -> bool:
    return any(other[1:] == (data_set, name) for other in found)


def _title(row: Row, protocols: Sequence[str]) -> str:
    """Name a table by its protocol, with version and parameters where there are several of that name."""
    told = ""
    if protocols.count(row.protocol) > 1:
        params = ", ".join(f"{key}={value}" for key, value in sorted(row.protocol_params.items()))
        told = f" v{row.protocol_version}" + (f" [{params}]" if params else "")
    known = {"zsl": "Zero-shot learning", "gzsl": "Generalized zero-shot learning"}
    return printable(known.get(row.protocol, row.protocol) + told + _STAGES.get(row.stage, f", {row.stage}"))


def _heading(key: LineKey) -> str:
    text = SETTINGS.get(key.setting, key.setting)
    return f"{text}; oracle selection †" if key.oracle else text


def _best(block: Sequence[LineKey], column: tuple[GroupKey, str], found: _Found) -> list[tuple[LineKey, GroupKey, str]]:
    """Return the cells with the highest mean as it is shown, where not all show the same."""
    there = {(key, *column): round(found[key, *column].mean, 1) for key in block if (key, *column) in found}
    low, top = min(there.values(), default=0.0), max(there.values(), default=0.0)
    return [place for place, shown in there.items() if low < shown == top]


def _line(
    key: LineKey,
    name: str,
    row: Row,
    columns: Sequence[tuple[GroupKey, str]],
    found: _Found,
    best: set[tuple[LineKey, GroupKey, str]],
) -> TableLine:
    values = [_value(found.get((key, *column)), (key, *column) in best) for column in columns]
    return TableLine(name, key.marks, printable(row.label), key.setting, row.selection, tuple(values))


def _value(stat: Stat | None, best: bool) -> Value | None:
    if stat is None:
        return None
    return Value(stat.mean, f"{stat.mean:.1f}", "" if stat.std is None else f"{stat.std:.1f}", stat.n, best)
