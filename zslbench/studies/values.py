"""Values by seed of the settings of a study, and their paired differences."""

from __future__ import annotations

import collections
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from zslbench.metrics import metric_place
from zslbench.results.analysis.rows import Stat, stat
from zslbench.results.records.record import Record
from zslbench.runner.runs import Run
from zslbench.spec import brackets
from zslbench.visible import last_line

if TYPE_CHECKING:
    from zslbench.runner.run import Outcome


class Column(NamedTuple):
    """What was measured on what: a data set's name, features and semantics, the protocol, the metric."""

    dataset: str
    features: str
    semantics: str
    protocol: str
    metric: str


def values_by_seed(runs: Iterable[Run], records: Mapping[str, Record]) -> dict[Column, dict[int, float]]:
    """Return each metric by seed, as fractions; of the dev stage the mean over the folds, where all of them are done.

    Args:
        runs: of one setting.
        records: by run id; those that are not ok do not count.
    """
    folds: dict[tuple[Column, int], list[float]] = collections.defaultdict(list)
    lacking = set()
    for run in runs:
        protocol = run.protocol + brackets(run.protocol_params)
        place = (run.dataset.name, run.dataset.features, run.dataset.semantics, protocol)
        record = records.get(run.id)
        if record is None or not record.ok:
            lacking.add((*place, run.seed))
            continue
        for metric, value in record.metrics.items():
            folds[Column(*place, metric), run.seed].append(value)
    values: dict[Column, dict[int, float]] = collections.defaultdict(dict)
    for (column, seed), of_folds in folds.items():
        if (*column[:-1], seed) not in lacking:
            values[column][seed] = math.fsum(of_folds) / len(of_folds)
    return dict(values)


def paired_difference(values: Mapping[int, float], others: Mapping[int, float], stochastic: bool) -> Stat | None:
    """Return `values` − `others` over their common seeds, in points of percent; None without a common seed."""
    seeds = sorted(values.keys() & others.keys())
    return stat([values[seed] - others[seed] for seed in seeds], stochastic) if seeds else None


def order_columns(columns: Iterable[Column], everything: bool) -> list[Column]:
    """Return the columns of a table in order: data sets as they come, metrics as the field writes them.

    Args:
        everything: with AUSUC, which is else left out beside other metrics.
    """
    known = list(dict.fromkeys(columns))
    data = list(dict.fromkeys(column[:3] for column in known))
    everything = everything or {column.metric for column in known} == {"AUSUC"}
    return sorted(
        (column for column in known if everything or column.metric != "AUSUC"),
        key=lambda column: (data.index(column[:3]), metric_place(column.metric), column.protocol, column.metric),
    )


def column_heads(columns: Sequence[Column]) -> list[str]:
    """Return the metrics as heads; with the protocol where two columns have the same metric."""
    names = [column.metric for column in columns]
    return [
        f"{column.metric} ({column.protocol})" if names.count(column.metric) > 1 else column.metric
        for column in columns
    ]


def describe_failures(outcome: Outcome) -> list[str]:
    """Say how many runs failed and why the first did, and how many are of an earlier source of the method."""
    sentences = []
    if outcome.failed:
        reasons = [last_line(record.error) for record in outcome.failed if record.error.strip()]
        why = f" (the first: {reasons[0]})" if reasons else ""
        sentences.append(f"{len(outcome.failed)} of {len(outcome.states)} runs failed and do not count{why}.")
    if stale := outcome.left("stale"):
        sentences.append(
            f"{stale} runs were made by an earlier source of the method; zslbench status says how to redo them."
        )
    return sentences
