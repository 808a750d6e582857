"""Which columns a table has and by which one its rows are sorted: ``--columns`` and ``--sort``."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from zslbench.errors import BadValue
from zslbench.results.analysis.gather import is_dataset
from zslbench.results.analysis.published import CitedRow
from zslbench.results.analysis.row_names import row_keys
from zslbench.results.analysis.rows import Row, pick_metrics
from zslbench.results.tables.layout import column_key
from zslbench.results.tables.table import Table, take_columns


class ColumnChoice(NamedTuple):
    """A metric of one data set, or of all data sets if `dataset` is empty; `stems` are features and semantics of it."""

    metric: str
    dataset: str = ""
    stems: tuple[str, ...] = ()

    def includes(self, metric: str, dataset: str, stems: Sequence[str]) -> bool:
        """Return whether it means a column of this metric and data set, with these features and semantics."""
        named = not self.dataset or is_dataset(dataset, self.dataset)
        return metric == self.metric and named and {*self.stems} <= {*stems}

    def __str__(self) -> str:
        return self.metric + (f"@{':'.join([self.dataset, *self.stems])}" if self.dataset else "")


def read_columns(texts: Sequence[str], rows: Sequence[Row]) -> list[ColumnChoice]:
    """Read ``METRIC``, ``METRIC@DATASET`` or ``METRIC@DATASET:STEM``, several between commas.

    Raises:
        UnknownName: a metric that no row has. BadValue: no row has the metric on that data set.
    """
    known = [name for row in rows for name in row.metrics]
    choices = []
    for text in texts:
        for part in re.split(r",(?![^\[]*\])", text):  # commas between brackets belong to a data set's parameters
            metric, _, data = part.strip().partition("@")
            dataset, *stems = re.split(r":(?![\\/])", data)  # C:\… is a folder
            choice = ColumnChoice(pick_metrics(known, [metric])[0], dataset, tuple(stems))
            if not any(choice.includes(name, row.dataset, _stems(row)) for row in rows for name in row.metrics):
                measured = [row for row in rows if choice.metric in row.metrics]
                held = dict.fromkeys(row.data_title if stems else row.dataset for row in measured)
                raise BadValue(f"no row has {choice.metric} on {data!r}; it was measured on {', '.join(held)}.")
            choices.append(choice)
    return choices


def _stems(row: Row) -> tuple[str, str]:
    return row.features, row.semantics


def keep_columns(rows: Iterable[Row], choices: Sequence[ColumnChoice]) -> list[Row]:
    """Return the rows with the chosen metrics alone, those that have none left out."""
    kept = []
    for row in rows:
        chosen = {
            name: stat
            for name, stat in row.metrics.items()
            if any(choice.includes(name, row.dataset, _stems(row)) for choice in choices)
        }
        kept += [dataclasses.replace(row, metrics=chosen)] if chosen else []
    return kept


def order_columns(table: Table, choices: Sequence[ColumnChoice]) -> Table:
    """Return the table with its columns in the order of the choices, published numbers beside the measured ones."""
    numbers = dict.fromkeys(
        number
        for choice in choices
        for number, column in enumerate(table.columns)
        if choice.includes(column.metric, column.dataset, column.stems)
    )
    return take_columns(table, list(numbers))


def sort_by_metric(
    rows: Sequence[Row], by_data: Sequence[Row], cited: Sequence[CitedRow] | None, text: str
) -> tuple[list[Row], list[CitedRow] | None]:
    """Return rows and cited rows with the highest mean of a metric first, those without it last in their order.

    Args:
        rows: of the table; by_data: the same in the order of its columns; cited: published rows.
        text: ``METRIC``, ``METRIC@DATASET`` or ``METRIC@DATASET:STEM``; of several columns that fit, the first counts.

    Raises:
        UnknownName, BadValue: as of `read_columns`, or several columns are named.
    """
    choice, *others = read_columns([text], rows)
    if others:
        raise BadValue(f"--sort {text} names several columns; give one, such as {choice}.")
    fitting = (row for row in by_data if choice.metric in row.metrics)
    first = next(row for row in fitting if choice.includes(choice.metric, row.dataset, _stems(row)))
    choice = ColumnChoice(choice.metric, first.dataset, _stems(first))
    keys = row_keys(rows, column_key)
    values: dict[object, float] = {}
    for row, key in zip(rows, keys, strict=True):
        if choice.metric in row.metrics and choice.includes(choice.metric, row.dataset, _stems(row)):
            values.setdefault(key, row.metrics[choice.metric].mean)

    def cited_value(row: CitedRow) -> float:
        fitting = (entry for entry in row.entries if choice.includes(entry.metric, entry.dataset, choice.stems))
        return max((entry.value for entry in fitting), default=-1.0)

    order = sorted(range(len(rows)), key=lambda number: -values.get(keys[number], -math.inf))
    sorted_cited = None if cited is None else sorted(cited, key=cited_value, reverse=True)
    if sorted_cited:  # sources keep their order
        sources = list(dict.fromkeys(row.source for row in cited or ()))
        sorted_cited.sort(key=lambda row: sources.index(row.source))
    return [rows[number] for number in order], sorted_cited
