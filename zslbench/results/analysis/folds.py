"""The folds of the dev stage taken together."""

from __future__ import annotations

import collections
import dataclasses
import statistics
from collections.abc import Iterable, Sequence

from zslbench.results.analysis.matching import cell, grouped, worst_state
from zslbench.results.records.record import Record


def averaged(records: Iterable[Record]) -> tuple[list[Record], list[Record]]:
    """Return one record a cell and seed, its metrics the mean over folds, and the records that were left out.

    Different sets of folds are never averaged into one number: the seeds of a cell are those that have its largest set
    of folds, which ``provenance["folds"]`` names; what other seeds have is left out.
    """
    kept: list[Record] = []
    left: list[Record] = []
    for group in grouped(records, lambda record: f"{cell(record)} {record.selection}"):
        seeds: dict[int, dict[int, Record]] = {}
        for record in group:
            seeds.setdefault(record.seed, {})[record.fold] = record
        folds = _largest([frozenset(own) for own in seeds.values()])
        for _, own in sorted(seeds.items()):
            used = [own[fold] for fold in folds if fold in own]
            if len(used) < len(folds):
                left += own.values()
                continue
            left += [record for fold, record in own.items() if fold not in folds]
            kept.append(_mean(used, folds))
    return kept, left


def _largest(sets: Sequence[frozenset[int]]) -> tuple[int, ...]:
    """Return the largest set of folds, of equal ones the most common, then the first."""
    counts = collections.Counter(sets)
    return min((tuple(sorted(one)) for one in counts), key=lambda one: (-len(one), -counts[frozenset(one)], one))


def _mean(records: Sequence[Record], folds: Sequence[int]) -> Record:
    first = records[0]
    names = [name for name in first.metrics if all(name in record.metrics for record in records)]
    return dataclasses.replace(
        first,
        fold=0,
        metrics={name: statistics.fmean(record.metrics[name] for record in records) for name in names},
        curve=(),
        provenance={**first.provenance, "folds": list(folds), "source_state": worst_state(records)},
    )
