"""The tables of the page: methods down, data sets and metrics across, one a protocol and stage."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from zslbench.identity import canonical_json
from zslbench.results.analysis.choice import Choice
from zslbench.results.analysis.naming import LineKey, line_keys, short_names
from zslbench.results.analysis.summary import Row, Stat
from zslbench.results.tables.accuracy import METRIC_ORDER, data_order, method_order
from zslbench.results.tables.caption import caption
from zslbench.results.tables.layout import GroupKey, group_heads, group_key
from zslbench.results.tables.ranked import podium, ranked_blocks
from zslbench.visible import one_line

SETTINGS = {
    "inductive": "inductive",
    "semantic": "semantic: the semantics of unseen classes are known in training",
    "transductive": "transductive: unlabelled test features are used ‡",
}
_STAGES = {"final": "", "dev": ", dev stage"}


@dataclasses.dataclass(frozen=True)
class Value:
    """One cell: mean in percent, as text with one digit and its deviation (empty: none), n seeds, its place.

    `place` is ``best``, ``second`` or empty.
    """

    mean: float
    shown: str
    std: str
    n: int
    place: str = ""


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
    def ranking(self) -> str:
        """What the marks of the best and second best are; empty where there are none."""
        places = {value.place for block in self.blocks for line in block.lines for value in line.values if value}
        runner_up = ", second best underlined" if "second" in places else ""
        return f"Best among comparable rows in bold{runner_up}." if "best" in places else ""


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
    places: dict[_Cell, str] = {}
    for block in blocks:
        for column in columns:
            places |= _places(block, column, found)
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
                tuple(_line(key, names[key], first[key], columns, found, places) for key in block),
            )
            for block in blocks
        ),
        caption=tuple(remark.text for remark in caption(rows, keys, names, tuple(metrics), together=False)),
        settings=settings,
    )


_Cell = tuple[LineKey, GroupKey, str]
_Found = Mapping[_Cell, Stat]


def _any(found: _Found, data_set: GroupKey, name: str) -> bool:
    return any(other[1:] == (data_set, name) for other in found)


def _title(row: Row, protocols: Sequence[str]) -> str:
    """Name a table by its protocol, with version and parameters where there are several of that name."""
    told = ""
    if protocols.count(row.protocol) > 1:
        params = ", ".join(f"{key}={value}" for key, value in sorted(row.protocol_params.items()))
        told = f" v{row.protocol_version}" + (f" [{params}]" if params else "")
    known = {"zsl": "Zero-shot learning", "gzsl": "Generalized zero-shot learning"}
    return one_line(known.get(row.protocol, row.protocol) + told + _STAGES.get(row.stage, f", {row.stage}"))


def _heading(key: LineKey) -> str:
    text = SETTINGS.get(key.setting, key.setting)
    return f"{text}; oracle selection †" if key.oracle else text


def _places(block: Sequence[LineKey], column: tuple[GroupKey, str], found: _Found) -> dict[_Cell, str]:
    """Return which cells of a column are the best and second best of their block, as they are shown."""
    shown = {(key, *column): _shown(found[key, *column]) for key in block if (key, *column) in found}
    best, second = podium(shown)
    return dict.fromkeys(best, "best") | dict.fromkeys(second, "second")


def _line(
    key: LineKey,
    name: str,
    row: Row,
    columns: Sequence[tuple[GroupKey, str]],
    found: _Found,
    places: Mapping[_Cell, str],
) -> TableLine:
    values = []
    for column in columns:
        stat = found.get((key, *column))
        std = "" if stat is None or stat.std is None else f"{stat.std:.1f}"
        place = places.get((key, *column), "")
        values.append(Value(stat.mean, _shown(stat), std, stat.n, place) if stat else None)
    return TableLine(name, key.marks, one_line(row.label), key.setting, row.selection, tuple(values))


def _shown(stat: Stat) -> str:
    return f"{stat.mean:.1f}"
