"""Records to what figures are made of: panels (data set, protocol, metric) of lines (a method over its seeds)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from zslbench.errors import BadValue
from zslbench.metrics import order_metrics
from zslbench.results.analysis.rows import Row, RowKey, Stat, natural, pick_metrics, plain_names, summarise
from zslbench.results.records.record import Record
from zslbench.results.tables.captions import describe_rows
from zslbench.results.tables.table import Remark, remarks
from zslbench.visible import one_line

DEFAULT_METRICS = ("T1", "H")
SPREADS: Mapping[str, str] = {
    "std": "± one sample standard deviation over seeds",
    "ci": "Student's 95 % interval for the mean over seeds",
}


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
        """The record of each seed."""
        return self.row.records

    @property
    def facts(self) -> dict[str, Any]:
        """What a row of numbers says of its line."""
        row = self.row
        names = ("dataset", "features", "semantics", "protocol", "stage", "method", "label")
        about = {name: getattr(row, name) for name in names} | {"name": self.name}
        return about | {"setting": row.setting, "selection": row.selection, "seeds": " ".join(map(str, row.seeds))}


@dataclasses.dataclass(frozen=True, eq=False)
class Panel:
    """The lines of one data set and protocol, by one metric."""

    metric: str
    lines: tuple[Line, ...]

    @property
    def title(self) -> str:
        """What it is of, over its axes."""
        return name_data(self.lines[0].row)


def name_data(row: Row) -> str:
    """Return what a row is of: data set, features and semantics, and the fold of the dev stage."""
    parts = ", ".join(part for part in (row.features, row.semantics) if part)
    return one_line(f"{row.dataset} ({parts})" + (f", fold {row.fold}" if row.fold else ""))


def lines_of(records: Sequence[Record]) -> list[Line]:
    """Return the lines of records, a method's seeds together, in order of their names."""
    return name_lines(summarise(records))


def name_lines(rows: Sequence[Row]) -> list[Line]:
    """Return lines with short names, in order of these names."""
    keys, names = plain_names(rows, _data_key)
    lines = [Line(name + key.marks, key, row) for row, key, name in zip(rows, keys, names, strict=True)]
    return sorted(lines, key=lambda line: (line.key.block, natural(line.name)))


def rename_line(line: Line, name: str) -> Line:
    """Return a line under a name that no parameters and no marks are added to."""
    return dataclasses.replace(line, name=name, key=dataclasses.replace(line.key, name=name, given=""))


def _data_key(row: Row) -> tuple[str, ...]:
    """Return what rows of one panel share, the metric apart."""
    protocol, version, params = row.protocol_key
    return *row.data_key, protocol, f"{version} {params}", str(row.fold)


def group_by_data(lines: Iterable[Line]) -> list[list[Line]]:
    """Return the lines of each panel, the metric apart, in order of data sets and protocols, zsl first."""
    groups: dict[tuple[str, ...], list[Line]] = {}
    for line in lines:
        groups.setdefault(_data_key(line.row), []).append(line)
    return [groups[key] for key in sorted(groups, key=_data_order)]


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
    wanted = pick_metrics(order, metrics or ()) or [name for name in order if name in DEFAULT_METRICS] or order[:1]
    panels = [
        Panel(metric, tuple(line for line in group if metric in metrics_of(line)))
        for group in group_by_data(lines)
        for metric in dict.fromkeys(wanted)
    ]
    return [panel for panel in panels if panel.lines]


def _data_order(key: tuple[str, ...]) -> tuple[Any, ...]:
    return natural(key[0]), key[1:4], key[4] != "zsl", key


def check_one_panel(lines: Sequence[Line], kind: str) -> None:
    """Refuse lines of several data sets or protocols.

    Raises:
        BadValue: they are of several.
    """
    rows = [group[0].row for group in group_by_data(lines)]
    if len(rows) > 1:
        data = "; ".join(
            f"{row.dataset} ({row.features}, {row.semantics}) {row.protocol}"
            + (f" fold {row.fold}" if row.fold else "")
            for row in rows
        )
        raise BadValue(
            f"a {kind} figure is of one data set and protocol, not of {data}; choose with -d, -p, --features "
            "and --semantics."
        )


def too_many_methods(kind: str, takes: str, lines: Sequence[Line]) -> BadValue:
    """Return the error that says how many methods a kind of figure takes, and which runs `lines` are of."""
    labels = ", ".join(line.row.label for line in lines)
    return BadValue(
        f"a {kind} figure has {takes}, not {len(lines)} ({labels}); choose with -m, which takes all runs of NAME and "
        "some of NAME[KEY=VALUE]."
    )


def mean_and_ends(stat: Stat, spread: str) -> tuple[float, float, float]:
    """Return mean, low and high over seeds; without chance or with one seed both ends are the mean.

    Args:
        spread: ``std`` (± sample standard deviation) or ``ci`` (Student's 95 % interval).
    """
    std = stat.std or 0.0
    ends = stat.interval() if spread == "ci" else None
    low, high = ends or (stat.mean - std, stat.mean + std)
    return stat.mean, low, high


def describe_lines(lines: Sequence[Line], metrics: Iterable[str], spread: str = "") -> list[Remark]:
    """Return the remarks that say what the numbers of a figure mean.

    Args:
        lines: those drawn; metrics: those drawn.
        spread: what stands for it and what it is, as in ``Bands: …``; left out where no line has any.
    """
    names = [line.name.removesuffix(line.key.marks) for line in lines]
    every = describe_rows([line.row for line in lines], names, tuple(dict.fromkeys(metrics)), rank_together=True)
    kept = [remark for remark in every if remark.kind not in ("ranking", "spread")]
    datasets = list(dict.fromkeys(line.row.dataset for line in lines))
    drawing = [line for line in lines if line.row.stochastic]
    has_spread = any(len(line.records) > 1 for line in drawing)
    single = list(dict.fromkeys(line.name for line in drawing if len(line.records) == 1))
    alone = [f"A single seed, so nothing is known of the spread: {', '.join(single)}."] if single else []
    return [
        *remarks("data", [f"Data: {', '.join(datasets)}."]),
        *kept,
        *remarks("spread", [spread] if spread and has_spread else []),
        *remarks("single seed", alone),
        *remarks("parameters", _describe_parameters(lines)),
    ]


def _describe_parameters(lines: Sequence[Line]) -> list[str]:
    """Say the parameters that names leave out, with the data sets where those have different ones."""
    by_name: dict[str, dict[str, list[str]]] = {}
    for line in lines:
        if line.key.given and line.key.given not in line.name:
            name = line.name.removesuffix(line.key.marks)
            by_name.setdefault(name, {}).setdefault(line.key.given.replace(",", ", "), []).append(line.row.dataset)
    parts = []
    for name, values in by_name.items():
        where = {
            text: f" on {', '.join(dict.fromkeys(data))}" if len(values) > 1 else "" for text, data in values.items()
        }
        parts.append(f"{name}: {'; '.join(text + where[text] for text in values)}")
    return [f"Hyper-parameters given: {'. '.join(parts)}."] if parts else []
