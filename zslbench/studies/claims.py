"""Published numbers, the run that answers each of them, and whether a measurement reproduces one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from zslbench.data.inventory import list_
from zslbench.errors import BadValue, UnknownName, ZslbenchError
from zslbench.methods.base import Method
from zslbench.metrics import metric_place
from zslbench.results.analysis import published
from zslbench.results.analysis.published import Published
from zslbench.results.analysis.rows import Stat
from zslbench.results.records.presets import DEFAULT_NAME, PresetStore
from zslbench.runner.classes import method_class
from zslbench.runner.runs import dataset_ref

PRESET = "published"


@dataclasses.dataclass(frozen=True)
class Answer:
    """What is run to answer a published number.

    Attributes:
        entry: the number.
        spec: the method in the spec grammar; empty where nothing can be run.
        how: in words, where its hyper-parameters come from.
        features, semantics: what is used.
        absent: why nothing can be run; empty otherwise. lacks_data: it is for want of data on this machine.
    """

    entry: Published
    spec: str
    how: str
    features: str
    semantics: str
    absent: str = ""
    lacks_data: bool = False

    @property
    def other(self) -> str:
        """What of the data is not the published one: features, semantics, both or nothing."""
        found = ["features"] if self.features != self.entry.features else []
        found += ["semantics"] if self.semantics != self.entry.semantics else []
        return " and ".join(found)


def entries(source: str, table: str | None, datasets: Sequence[str], methods: Sequence[str]) -> list[Published]:
    """Return the numbers of one table of a source, of the data sets and methods asked for (none: all).

    They come by data set (in the order asked for, or of the source), method and metric.

    Raises:
        UnknownName: a source, table, data set or method without numbers there.
        BadValue: a source with several tables, and none was named.
    """
    published.check_source(source)
    numbers = [entry for entry in published.load() if entry.source == source]
    tables = list(dict.fromkeys(entry.table for entry in numbers))
    if table is None and len(tables) > 1:
        raise BadValue(f"{source} has several tables ({', '.join(tables)}); choose one with --table.")
    if table is not None:
        wanted = {text.casefold() for text in (table, f"Table {table}", f"Figure {table}")}
        tables_wanted = [name for name in tables if name.casefold() in wanted]
        if not tables_wanted:
            raise UnknownName(f"table of {source}", table, tables)
        numbers = [entry for entry in numbers if entry.table in tables_wanted]
    names = list(dict.fromkeys(entry.dataset for entry in numbers))
    asked = [_one_of("data set", name, names, numbers[0]) for name in datasets] or names
    rows = list(dict.fromkeys(entry.method for entry in numbers))
    lines = {line for name in methods for line in _lines(name, rows, numbers[0])} or set(rows)
    return sorted(
        (entry for entry in numbers if entry.dataset in asked and entry.method in lines),
        key=lambda entry: (asked.index(entry.dataset), rows.index(entry.method), metric_place(entry.metric)),
    )


def _one_of(kind: str, given: str, names: Sequence[str], entry: Published) -> str:
    for name in names:
        if name.casefold() == given.casefold():
            return name
    raise UnknownName(f"{kind} of {entry.table} of {entry.source}", given, names)


def _lines(given: str, rows: Sequence[str], entry: Published) -> list[str]:
    matching = [row for row in rows if given.casefold() in (row.casefold(), row.partition(":")[0].casefold())]
    return matching or [_one_of("method", given, rows, entry)]


def answers(
    numbers: Sequence[Published],
    features: str | None,
    semantics: str | None,
    root: Path | None,
    tuned: PresetStore,
) -> list[Answer]:
    """Return what answers each number with the data of this machine.

    Args:
        numbers: those to answer.
        features, semantics: what to use instead of the published ones (None).
        root: the folder of data sets; tuned: what was tuned.
    """
    here = {row.name: (row.features, row.semantics) for row in list_(root)}
    return [
        _answer(entry, features or entry.features, semantics or entry.semantics, here, root, tuned) for entry in numbers
    ]


def _answer(
    entry: Published,
    features: str,
    semantics: str,
    here: dict[str, tuple[tuple[str, ...], tuple[str, ...]]],
    root: Path | None,
    tuned: PresetStore,
) -> Answer:
    has_features, has_semantics = here.get(entry.dataset, ((), ()))
    for kind, wanted, held in (("features", features, has_features), ("semantics", semantics, has_semantics)):
        if wanted not in held:
            absent = f"no {wanted} {kind} of {entry.dataset} on this machine"
            return Answer(entry, "", "", features, semantics, absent, lacks_data=True)
    try:
        dataset = dataset_ref(entry.dataset, features, semantics, root)
        spec, how = _spec(entry, (dataset.name, features, semantics), tuned)
    except ZslbenchError as error:
        return Answer(entry, "", "", features, semantics, str(error))
    return Answer(entry, spec, how, features, semantics)


def _spec(entry: Published, data: tuple[str, str, str], tuned: PresetStore) -> tuple[str, str]:
    """Return what is run: the published hyper-parameters, else tuned ones, else the defaults."""
    name, _, ablation = entry.method.partition(":")
    cls = method_class(name)
    if ablation and ablation not in cls.ablations:
        raise UnknownName(f"ablation of {name}", ablation, cls.ablations)
    protocol = published.PROTOCOL[entry.metric]
    end = f"@{ablation}" if ablation else ""
    if has_published(cls, entry.dataset, protocol):
        return f"{name}@{PRESET}{end}", "the method's published preset (zslbench info names its source)"
    if tuned.find(DEFAULT_NAME, name, *data, protocol) is not None:
        return f"{name}@{DEFAULT_NAME}{end}", "tuned on validation classes"
    return f"{name}{end}", "the defaults, for want of a preset"


def has_published(cls: type[Method], dataset: str, protocol: str) -> bool:
    """Tell whether a method carries its published values for a data set and protocol."""
    preset = cls.presets.get(PRESET)
    return preset is not None and (not preset.cells or (dataset, protocol) in preset.cells)


Verdict = Literal["reproduced", "above", "below", "inconclusive"]
_ROUNDING = 1e-9


def judged(low: float | None, high: float | None, published: float, tolerance: float) -> Verdict:
    """Return the verdict of a measured interval on a published number, all in percent.

    Reproduced: the interval lies within published ± tolerance, ends included. Above or below: it lies wholly outside,
    on that side. Inconclusive: it reaches over an end, or there is no interval (one seed of a method that draws).

    >>> judged(50.1, 51.0, 51.6, 2.0), judged(40.0, 49.5, 51.6, 2.0), judged(49.0, 52.0, 51.6, 2.0)
    ('reproduced', 'below', 'inconclusive')

    Args:
        low, high: ends of the interval; equal for a method without chance, None where there is none.
        published, tolerance: the number and how far from it still counts as the same.
    """
    if low is None or high is None:
        return "inconclusive"
    least, most = published - tolerance - _ROUNDING, published + tolerance + _ROUNDING
    if least <= low and high <= most:
        return "reproduced"
    if low > most:
        return "above"
    if high < least:
        return "below"
    return "inconclusive"


def interval(stat: Stat, stochastic: bool) -> tuple[float | None, float | None]:
    """Return the ends of the 95 % interval of a mean over seeds: a point without chance, None for one seed with it."""
    return (stat.low, stat.high) if stochastic else (stat.values[0], stat.values[0])
