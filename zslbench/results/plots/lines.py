"""Records to what figures are made of: panels (data set, protocol, metric) of lines (a method over its seeds)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from zslbench.errors import BadValue
from zslbench.metrics import order_metrics
from zslbench.results.analysis.rows import Row, RowKey, natural, pick_metrics, plain_names, summarise
from zslbench.results.records.record import Record
from zslbench.results.tables.captions import describe_rows
from zslbench.results.tables.table import Remark, remarks
from zslbench.visible import one_line

_DEFAULT = ("T1", "H")


@dataclasses.dataclass(frozen=True, eq=False)
class Line:
    """One method as it ran on one choice of data under one protocol.

    Attributes:
        name: short, with † and ‡; key: what it is short for.
        row: its numbers over seeds.
    """

    name: str
    key: RowKey
    row: Row

    @property
    def records(self) -> tuple[Record, ...]:
        """A seed each."""
        return self.row.records

    @property
    def stochastic(self) -> bool:
        """Whether its seeds differ by more than their number."""
        return self.row.stochastic


@dataclasses.dataclass(frozen=True, eq=False)
class Panel:
    """The lines of one data set and protocol, by one metric."""

    metric: str
    lines: tuple[Line, ...]

    @property
    def head(self) -> str:
        """What it is of, over its axes."""
        return head_of(self.lines[0].row)


def head_of(row: Row) -> str:
    """Return what a row is of: data set, features and semantics, and the fold of the dev stage."""
    parts = ", ".join(part for part in (row.features, row.semantics) if part)
    return one_line(f"{row.dataset} ({parts})" + (f", fold {row.fold}" if row.fold else ""))


def lines_of(records: Sequence[Record]) -> list[Line]:
    """Return the lines of records, a method's seeds together, in order of their names."""
    return named(summarise(records))


def named(rows: Sequence[Row]) -> list[Line]:
    """Return lines with short names, in order of these names."""
    keys, names = plain_names(rows, data_key)
    lines = [Line(name + key.marks, key, row) for row, key, name in zip(rows, keys, names, strict=True)]
    return sorted(lines, key=lambda line: (line.key.block, natural(line.name)))


def data_key(row: Row) -> tuple[str, ...]:
    """Return what rows of one panel share, the metric apart."""
    protocol, version, params = row.protocol_key
    return *row.data_key, protocol, f"{version} {params}", str(row.fold)


def group_by_data(lines: Iterable[Line]) -> list[list[Line]]:
    """Return the lines of each panel, the metric apart, in order of first appearance."""
    groups: dict[tuple[str, ...], list[Line]] = {}
    for line in lines:
        groups.setdefault(data_key(line.row), []).append(line)
    return list(groups.values())


def have_spread(lines: Iterable[Line]) -> bool:
    """Return whether some line has a spread over its seeds."""
    return any(line.stochastic and len(line.records) > 1 for line in lines)


def panels_of(
    lines: Sequence[Line],
    metrics: Sequence[str] | None,
    metrics_of: Callable[[Line], Collection[str]] = lambda line: line.row.metrics,
) -> list[Panel]:
    """Return the panels: for each data set and protocol the metrics asked for, else T1 and H where there are any.

    Args:
        metrics_of: the metrics that a line can be drawn by.

    Raises:
        UnknownName: a metric that no line has.
    """
    order = order_metrics(name for line in lines for name in metrics_of(line))
    wanted = pick_metrics(order, metrics or ()) or [name for name in order if name in _DEFAULT] or order[:1]
    by_data = sorted(group_by_data(lines), key=lambda group: _data_order(data_key(group[0].row)))
    panels = [
        Panel(metric, tuple(line for line in group if metric in metrics_of(line)))
        for group in by_data
        for metric in dict.fromkeys(wanted)
    ]
    return [panel for panel in panels if panel.lines]


def _data_order(key: tuple[str, ...]) -> tuple[Any, ...]:
    return natural(key[0]), key[1:4], key[4] != "zsl", key


def one_panel(lines: Sequence[Line], kind: str) -> Sequence[Line]:
    """Return the lines, when they are of one data set and protocol.

    Raises:
        BadValue: they are of several.
    """
    there = {data_key(line.row): line.row for line in lines}
    if len(there) > 1:
        said = "; ".join(
            f"{row.dataset} ({row.features}, {row.semantics}) {row.protocol}"
            + (f" fold {row.fold}" if row.fold else "")
            for row in there.values()
        )
        raise BadValue(
            f"a {kind} figure is of one data set and protocol, not of {said}; choose with -d, -p, --features "
            "and --semantics."
        )
    return lines


def said_below(lines: Sequence[Line], metrics: Sequence[str], spread: str = "") -> list[Remark]:
    """Return the remarks that say what the numbers of a figure mean.

    Args:
        lines: those drawn; metrics: those drawn.
        spread: what the bands or bars beside a mean are; empty where there are none.
    """
    names = [line.name.removesuffix(line.key.marks) for line in lines]
    every = describe_rows([line.row for line in lines], names, tuple(metrics), rank_together=True)
    kept = [remark for remark in every if remark.kind not in ("ranking", "spread")]
    where = list(dict.fromkeys(line.row.dataset for line in lines))
    single = list(dict.fromkeys(line.name for line in lines if line.stochastic and len(line.records) == 1))
    alone = [f"A single seed, so nothing is known of the spread: {', '.join(single)}."] if single else []
    found = [*remarks("data", [f"Data: {', '.join(where)}."]), *kept, *remarks("spread", [spread] if spread else [])]
    return [*found, *remarks("single seed", alone), *remarks("parameters", _given(lines))]


def _given(lines: Sequence[Line]) -> list[str]:
    """Say the parameters that names leave out, with the data sets where those have different ones."""
    told: dict[str, dict[str, list[str]]] = {}
    for line in lines:
        if line.key.given and line.key.given not in line.name:
            name = line.name.removesuffix(line.key.marks)
            told.setdefault(name, {}).setdefault(line.key.given.replace(",", ", "), []).append(line.row.dataset)
    parts = []
    for name, values in told.items():
        where = {
            text: f" on {', '.join(dict.fromkeys(data))}" if len(values) > 1 else "" for text, data in values.items()
        }
        parts.append(f"{name}: {'; '.join(text + where[text] for text in values)}")
    return [f"Hyper-parameters given: {'. '.join(parts)}."] if parts else []


def facts(line: Line) -> dict[str, Any]:
    """Return what a row of numbers says of its line."""
    row = line.row
    return {
        "dataset": row.dataset,
        "features": row.features,
        "semantics": row.semantics,
        "protocol": row.protocol,
        "stage": row.stage,
        "method": row.method,
        "label": row.label,
        "name": line.name,
        "setting": row.setting,
        "selection": row.selection,
        "seeds": " ".join(map(str, row.seeds)),
    }


def spread_of(values: Sequence[float], stochastic: bool, kind: str) -> tuple[float, float, float]:
    """Return mean, low and high of percentages over seeds; without chance or with one seed both ends are the mean.

    Args:
        kind: ``std`` (± sample standard deviation) or ``ci`` (Student's 95 % interval).
    """
    import statistics

    mean = statistics.fmean(values)
    if not stochastic or len(values) < 2:
        return mean, mean, mean
    if kind == "ci":
        from zslbench.results.analysis.significance import t_interval

        found = t_interval(values)
        return found.mean, found.low, found.high
    away = statistics.stdev(values)
    return mean, mean - away, mean + away


SPREADS: Mapping[str, str] = {
    "std": "± one sample standard deviation over seeds",
    "ci": "Student's 95 % interval for the mean over seeds",
}
