"""The progress of a search: how many fits or trials are done, and the best so far."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from zslbench.identity import canonical_json
from zslbench.results.records.record import Record
from zslbench.runner.executors import Listener
from zslbench.runner.jobs import Job
from zslbench.runner.run_records import RunResult
from zslbench.visible import format_count, format_metrics


class BestSoFar(Listener):
    """Keeps the scores of a search's fits as they end.

    Args:
        metrics: what is maximised, by protocol.

    Attributes:
        trials: how many have come to their end; failed: runs that failed.
    """

    def __init__(self, metrics: Mapping[str, str]) -> None:
        self.metrics, self.trials = metrics, 0
        self._failed: set[str] = set()
        self._scores: dict[str, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))

    def finished(self, job: Job, results: Sequence[RunResult]) -> None:
        """Take in the results of a fit."""
        self.take(result.record for result in results)

    def take(self, records: Iterable[Record]) -> None:
        """Take in records, those that are known already too."""
        for record in records:
            protocol = record.protocol["name"]
            if record.ok:
                of_point = self._scores[protocol][canonical_json(dict(record.method["params"]))]
                of_point[record.fold] = record.metrics[self.metrics[protocol]]
            elif record.status not in ("skipped", "interrupted"):
                self._failed.add(record.id)

    def say(self) -> str:
        """Return the best mean under each protocol, over the folds that most points have, and how many runs failed."""
        best = {}
        for protocol, metric in self.metrics.items():
            if points := self._scores[protocol].values():
                folds = max(len(scores) for scores in points)
                best[metric] = max(statistics.fmean(scores.values()) for scores in points if len(scores) == folds)
        parts = [f"best so far: {format_metrics(best)}"] if best else []
        return ", ".join([*parts, *([f"{format_count(len(self._failed), 'run')} failed"] if self._failed else [])])
