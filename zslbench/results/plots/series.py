"""What figures are made of: panels (a data set and protocol) of lines (a method over its seeds)."""

from __future__ import annotations

import dataclasses
import statistics
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from zslbench.errors import BadValue
from zslbench.identity import canonical_json
from zslbench.metrics import order_metrics
from zslbench.results.analysis.gather import RecordFilter
from zslbench.results.analysis.row_names import RowKey, name_specs, plain_names
from zslbench.results.analysis.rows import Row, Stat, group_values, natural, pick_metrics, summarise
from zslbench.results.records.record import Record
from zslbench.results.tables.captions import describe_rows
from zslbench.results.tables.table import Remark, remarks
from zslbench.visible import list_names, one_line

DEFAULT_METRICS = ("T1", "H")
SPREADS: Mapping[str, str] = {
    "std": "± one sample standard deviation over seeds",
    "ci": "Student's 95 % interval for the mean over seeds",
}
_MOST_NAMED = 6


@dataclasses.dataclass(frozen=True, eq=False)
class Line:
    """One method as it ran on one choice of data under one protocol: its numbers over seeds.

    `name` is short, with † and ‡; `key` is what it is short for.
    """

    name: str
    key: RowKey
    row: Row

    @property
    def records(self) -> tuple[Record, ...]:
        """The record of each seed."""
        return self.row.records

    @property
    def losses(self) -> tuple[str, ...]:
        """The losses that every seed logged, in the order of the first; none where its records keep none."""
        logged = [record.losses.get("values", {}) for record in self.records]
        return tuple(name for name in logged[0] if all(name in values for values in logged))

    @property
    def unit(self) -> str:
        """What the steps of its training are."""
        return "iteration" if "iterations" in self.row.params else "epoch"

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


class MeanWithEnds(NamedTuple):
    """The mean over n seeds and the ends of its spread, in percent."""

    mean: float
    low: float
    high: float
    n: int


def estimate(stat: Stat, spread: str) -> MeanWithEnds:
    """Return mean and spread (of `SPREADS`); without chance or with one seed both ends are the mean."""
    std = stat.std or 0.0
    ends = stat.interval() if spread == "ci" else None
    return MeanWithEnds(stat.mean, *(ends or (stat.mean - std, stat.mean + std)), stat.n)


def estimate_steps(seeds: Iterable[Mapping[int, float]], stochastic: bool, spread: str) -> dict[int, MeanWithEnds]:
    """Return mean and spread of a number at each step at which every seed has one."""
    seeds, points = list(seeds), {}
    for step in sorted(set.intersection(*map(set, seeds))):
        values = tuple(seed[step] for seed in seeds)
        std = statistics.stdev(values) if stochastic and len(values) > 1 else None
        points[step] = estimate(Stat(statistics.fmean(values), std, len(values), values), spread)
    return points


def name_data(row: Row) -> str:
    """Return what a row is of: data set, features and semantics, and the fold of the dev stage."""
    parts = ", ".join(part for part in (row.features, row.semantics) if part)
    return one_line(f"{row.data_name} ({parts})" + (f", fold {row.fold}" if row.fold else ""))


def name_panels(rows: Sequence[Row]) -> list[str]:
    """Return the shortest title of each panel that is no other's: the data set, or with features and semantics."""
    full, short = [name_data(row) for row in rows], [row.data_name for row in rows]
    return [
        name if len({f for f, s in zip(full, short, strict=True) if s == name}) == 1 else long
        for name, long in zip(short, full, strict=True)
    ]


def lines_of(records: Sequence[Record], record_filter: RecordFilter | None = None) -> list[Line]:
    """Return the lines of records, a method's seeds together, in the order of the rows of a table."""
    position = (record_filter or RecordFilter()).position
    return sorted(name_lines(summarise(records)), key=lambda line: position(line.row.lead)[0])


def name_lines(rows: Sequence[Row]) -> list[Line]:
    """Return lines with short names, in the order of the rows of a table."""
    keys, names = plain_names(rows, _data_key)
    lines = [Line(name + key.marks, key, row) for row, key, name in zip(rows, keys, names, strict=True)]
    return sorted(lines, key=lambda line: (line.key.block, line.row.title.casefold(), line.key.order))


def rename_line(line: Line, name: str) -> Line:
    """Return a line under a name that no parameters and no marks are added to."""
    return dataclasses.replace(line, name=name, key=dataclasses.replace(line.key, name=name, varying="", shared=""))


def lines_in(panels: Iterable[Panel], lines: Iterable[Line]) -> list[Line]:
    """Return those of lines that panels hold, in their order: legends go by it, whatever panel comes first."""
    held = {line for panel in panels for line in panel.lines}
    return [line for line in lines if line in held]


def names_of(lines: Iterable[Line]) -> list[str]:
    """Return the name of each line, none twice."""
    return list(dict.fromkeys(line.name for line in lines))


def labels_of(lines: Iterable[Line]) -> dict[str, str]:
    """Return the key of each name in `study_keys`; of lines of several data sets, that of the first."""
    labels: dict[str, str] = {}
    for line in lines:
        labels.setdefault(line.name, look_key(line.row))
    return labels


def look_key(row: Row | Record) -> str:
    """Return what a row has one look by in all figures of a study."""
    return row.label + ("†" if row.selection == "oracle" else "")


def study_keys(records: Iterable[Record]) -> tuple[str, ...]:
    """Return the keys of all rows of a study, in the order in which looks are given to them.

    Rows of the dev stage count where there are no others. First comes what ran on most data, then what is best there:
    these stand in many figures, and in colour, so each is to have a colour of its own.
    """
    ok = [record for record in records if record.ok]
    panels: dict[tuple[str, str], dict[str, list[float]]] = {}
    for record in [record for record in ok if record.stage == "final"] or ok:
        value = next((record.metrics[name] for name in DEFAULT_METRICS if name in record.metrics), 0.0)
        panel = panels.setdefault((record.dataset["name"], record.protocol["name"]), {})
        panel.setdefault(look_key(record), []).append(value)
    scores = score_in_panels(
        [(key, statistics.fmean(values)) for key, values in panel.items()] for panel in panels.values()
    )
    data = Counter(key for panel in panels.values() for key in panel)
    return tuple(sorted(scores, key=lambda key: (-data[key], -scores[key], natural(key))))


def split_by_unit(panels: Iterable[Panel]) -> list[Panel]:
    """Return panels whose lines count their training in one unit each, epochs or iterations."""
    return [
        Panel(panel.metric, tuple(lines))
        for panel in panels
        for lines in group_values((line.unit, line) for line in panel.lines).values()
    ]


def mean_or_zero(line: Line, metric: str) -> float:
    """Return the mean of a metric over seeds, 0 where a line was not judged by it."""
    return line.row.metrics[metric].mean if metric in line.row.metrics else 0.0


def score_in_panels(panels: Iterable[Iterable[tuple[str, float]]]) -> dict[str, float]:
    """Return a score for each name, higher the nearer to the top of a panel its number stands, and then on average.

    By such scores the best of every panel come first, whether its numbers are high or low.

    >>> score_in_panels([[("a", 90.0), ("b", 80.0)], [("c", 10.0)]])
    {'a': 0.0, 'b': -1.001, 'c': 0.0}
    """
    ranks = group_values(
        (name, place) for panel in panels for place, (name, _) in enumerate(sorted(panel, key=lambda named: -named[1]))
    )
    return {name: -min(places) - statistics.fmean(places) / 1000 for name, places in ranks.items()}


def _data_key(row: Row) -> tuple[str, ...]:
    """Return what rows of one panel share, the metric apart."""
    protocol, version, params = row.protocol_key
    return *row.data_key, protocol, f"{version} {params}", str(row.fold)


def group_by_data(lines: Iterable[Line]) -> list[list[Line]]:
    """Return the lines of each panel, the metric apart, in order of data sets and protocols, zsl first."""
    groups = group_values((_data_key(line.row), line) for line in lines)
    return [groups[key] for key in sorted(groups, key=lambda key: (natural(key[0]), key[1:4], key[4] != "zsl", key))]


def group_by_rest(
    lines: Iterable[Line], varied: Collection[str], selection: Callable[[Row], object]
) -> list[list[Line]]:
    """Return the lines of one method that agree in all hyper-parameters but those `varied`, and in their selection.

    Lines without one of the hyper-parameters are left out.
    """
    groups: dict[str, list[Line]] = {}
    for line in lines:
        row = line.row
        if row.params.keys() >= {*varied}:
            rest = {name: value for name, value in row.params.items() if name not in varied}
            groups.setdefault(canonical_json([row.method, row.version, rest, selection(row)]), []).append(line)
    return list(groups.values())


def panels_of(
    lines: Sequence[Line],
    metrics: Sequence[str] | None,
    metrics_of: Callable[[Line], Collection[str]] = lambda line: line.row.metrics,
) -> list[Panel]:
    """Return a panel for each data set, protocol and metric; None: T1 and H where there are any.

    `metrics_of` says by which metrics a line can be drawn.

    Raises:
        UnknownName: a metric that no line has.
    """
    order = order_metrics(name for line in lines for name in metrics_of(line))
    wanted = pick_metrics(order, metrics or ()) or [name for name in order if name in DEFAULT_METRICS] or order[:1]
    panels = [
        Panel(metric, tuple(line for line in group if metric in metrics_of(line)))
        for group in group_by_data(lines)
        for metric in wanted
    ]
    return [panel for panel in panels if panel.lines]


def check_data(lines: Sequence[Line], kind: str) -> None:
    """Refuse lines of several data sets or protocols with BadValue."""
    rows = [group[0].row for group in group_by_data(lines)]
    if len(rows) > 1:
        data = "; ".join(f"{row.data_title} {row.protocol}" + (f" fold {row.fold}" if row.fold else "") for row in rows)
        raise BadValue(
            f"a {kind} figure is of one data set and protocol, not of {data}; choose with -d, -p, --features "
            "and --semantics."
        )


def check_number(lines: Sequence[Line], kind: str, most: int, takes: str) -> None:
    """Refuse more lines than a kind of figure takes with BadValue, which names them."""
    if len(lines) > most:
        labels = ", ".join(name_specs([line.row for line in lines]))
        raise BadValue(
            f"a {kind} figure has {takes}, not {len(lines)} ({labels}); choose with -m, which takes all runs of NAME "
            "and some of NAME[KEY=VALUE]."
        )


def say_not_drawn(lack: str, lines: Sequence[Line], command: str | None) -> list[Remark]:
    """Say that lines are not drawn for want of something, with the command that makes it; nothing without lines."""
    names = names_of(lines)
    advice = f"; make the first: `{command}`" if command else ""
    text = f"Without {lack}, and not drawn: {list_names(names, _MOST_NAMED)}{advice}."
    return remarks("note", [text] if names else [])


def describe(sentences: Sequence[str], lines: Sequence[Line], metrics: Iterable[str], spread: str = "") -> list[Remark]:
    """Return the caption of a figure: its own sentences, then what the numbers mean.

    Args:
        lines: those drawn; metrics: those drawn, as far as the lines have them.
        spread: what stands for it and what it is, as in ``Bands: …``; left out where no line has any.
    """
    names = [line.name.removesuffix(line.key.marks) for line in lines]
    shown = tuple(name for name in dict.fromkeys(metrics) if any(name in line.row.metrics for line in lines))
    every = describe_rows([line.row for line in lines], names, shown, rank_together=True)
    datasets = dict.fromkeys(line.row.data_name for line in lines)
    by_chance = [line for line in lines if line.row.stochastic]
    has_spread = any(len(line.records) > 1 for line in by_chance)
    single = names_of(line for line in by_chance if len(line.records) == 1)
    alone = f"A single seed, so nothing is known of the spread: {', '.join(single)}."
    return [
        *remarks("figure", sentences),
        *remarks("data", [f"Data: {', '.join(datasets)}."]),
        *(remark for remark in every if remark.kind not in ("ranking", "spread")),
        *remarks(
            "spread", [spread] if spread and has_spread else [], spread[:1].lower() + spread[1:].removesuffix(".")
        ),
        *remarks("single seed", [alone] if single else []),
        *remarks("parameters", _describe_parameters(lines)),
    ]


def _describe_parameters(lines: Sequence[Line]) -> list[str]:
    """Say the parameters that names leave out, with the data sets where those have different ones."""
    by_name = group_values(
        (line.name.removesuffix(line.key.marks), (text, line.row.data_name))
        for line in lines
        if (text := line.key.unnamed(line.name))
    )
    parts = []
    for name, pairs in by_name.items():
        datasets = group_values(pairs)
        texts = [text + (f" on {', '.join(data)}" if len(datasets) > 1 else "") for text, data in datasets.items()]
        parts.append(f"{name}: {'; '.join(texts)}")
    return [f"Hyper-parameters given: {'. '.join(parts)}."] if parts else []
