"""What the records of several settings say: values by seed, their means, and paired differences."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from zslbench.metrics import metric_place
from zslbench.results.analysis.rows import Stat, stat
from zslbench.results.analysis.statistics import paired_t_interval
from zslbench.results.records.record import Record
from zslbench.results.records.wording import last_line
from zslbench.runner.runs import Run
from zslbench.spec import brackets

if TYPE_CHECKING:
    from zslbench.runner.run import Outcome


@dataclasses.dataclass(frozen=True, order=True)
class Column:
    """What was measured on what: a data set's name, features and semantics, the protocol, the metric."""

    dataset: str
    features: str
    semantics: str
    protocol: str
    metric: str


@dataclasses.dataclass(frozen=True)
class Difference:
    """A paired difference over the seeds that two settings have in common, in points of percent.

    Attributes:
        mean: of the differences; low, high: ends of Student's 95 % interval, None where there is none.
        n: how many pairs.
    """

    mean: float
    low: float | None
    high: float | None
    n: int

    @property
    def excludes_zero(self) -> bool | None:
        """Whether the interval lies on one side of 0; None without an interval."""
        if self.low is None or self.high is None:
            return None
        return self.low > 0 or self.high < 0


def protocol_text(run: Run) -> str:
    """Return the protocol with its parameters as the grammar has them."""
    return run.protocol + brackets(run.protocol_params)


def by_seed(runs: Iterable[Run], records: Mapping[str, Record]) -> dict[Column, dict[int, float]]:
    """Return each metric by seed, as fractions; of the dev stage the mean over the folds, where all of them are done.

    Args:
        runs: of one setting.
        records: by run id; those that are not ok do not count.
    """
    folds: dict[tuple[Column, int], list[float]] = {}
    lacking: set[tuple[str, str, str, str, int]] = set()
    for run in runs:
        place = (run.dataset.name, run.dataset.features, run.dataset.semantics, protocol_text(run))
        record = records.get(run.id)
        if record is None or not record.ok:
            lacking.add((*place, run.seed))
            continue
        for metric, value in record.metrics.items():
            folds.setdefault((Column(*place, metric), run.seed), []).append(value)
    out: dict[Column, dict[int, float]] = {}
    for (column, seed), values in folds.items():
        if (column.dataset, column.features, column.semantics, column.protocol, seed) not in lacking:
            out.setdefault(column, {})[seed] = math.fsum(values) / len(values)
    return out


def summary(values: Mapping[int, float], stochastic: bool) -> Stat:
    """Return mean and sample standard deviation over seeds, in percent."""
    return stat([values[seed] for seed in sorted(values)], stochastic)


def difference(values: Mapping[int, float], others: Mapping[int, float], stochastic: bool) -> Difference | None:
    """Return `values` − `others` over their common seeds, in points of percent; None without a common seed."""
    seeds = sorted(values.keys() & others.keys())
    if not seeds:
        return None
    found = paired_t_interval([100 * values[seed] for seed in seeds], [100 * others[seed] for seed in seeds])
    bare = len(seeds) < 2 or not stochastic
    return Difference(found.mean, None if bare else found.low, None if bare else found.high, len(seeds))


def metrics_of(columns: Iterable[Column], everything: bool) -> list[Column]:
    """Return the columns of a table in order: data sets as they come, metrics as the field writes them."""
    order: dict[tuple[str, str, str], None] = {}
    found = list(dict.fromkeys(columns))
    for column in found:
        order.setdefault((column.dataset, column.features, column.semantics))
    data = list(order)
    alone = {column.metric for column in found} == {"AUSUC"}
    kept = [column for column in found if everything or alone or column.metric != "AUSUC"]
    return sorted(
        kept,
        key=lambda column: (
            data.index((column.dataset, column.features, column.semantics)),
            metric_place(column.metric),
            column.protocol,
            column.metric,
        ),
    )


def heads(columns: Sequence[Column]) -> list[str]:
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
