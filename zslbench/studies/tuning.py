"""`Tuning`: what a search did and found, and the presets made of it."""

from __future__ import annotations

import dataclasses
import datetime
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zslbench.results.records.presets import Tuned
from zslbench.runner.cells import DatasetRef
from zslbench.runner.run import Outcome
from zslbench.studies.objective import RESULTS, Trial
from zslbench.studies.sampling import Sampler
from zslbench.studies.space import Space


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Tuning:
    """What a search did and found.

    Attributes:
        method: the spec's name; given: the spec as it was typed.
        dataset: the data that was tuned on; folds: of its dev stage.
        metrics: what was maximised, by protocol.
        space, sampler, trials: what was searched, how, and every point that was tried.
        presets: one a protocol; none when no trial finished or the search was interrupted.
        wider: by protocol, values to try where the best lies at an end of what was searched.
        oracle: the runs of the final stage, where they were asked for.
        remarks: sentences for the user; interrupted: whether it was cut short.
        runs, data_root: as given.
    """

    method: str
    given: str
    dataset: DatasetRef
    folds: tuple[int, ...]
    metrics: dict[str, str]
    space: Space
    sampler: Sampler
    trials: tuple[Trial, ...]
    presets: tuple[Tuned, ...]
    wider: dict[str, dict[str, tuple[float, ...]]]
    stochastic: bool
    runs: Path
    oracle: Outcome | None = None
    remarks: tuple[str, ...] = ()
    interrupted: bool = False

    def __repr__(self) -> str:
        return f"<Tuning of {self.method} on {self.dataset.name}: {len(self.trials)} trials>"

    @property
    def counts(self) -> dict[str, int]:
        """How many trials there were of each result."""
        found = Counter(trial.result for trial in self.trials)
        return {result: found[result] for result in RESULTS}


def best_of(tried: Sequence[Trial], metrics: Mapping[str, str]) -> dict[str, Trial]:
    """Return the trial with the best mean under each protocol, the first of equals."""
    ok = [trial for trial in tried if trial.result == "ok"]
    return {protocol: max(ok, key=lambda trial: trial.mean(protocol)) for protocol in metrics} if ok else {}


def preset_of(
    trial: Trial,
    protocol: str,
    metric: str,
    *,
    data: DatasetRef,
    folds: tuple[int, ...],
    space: Space,
    at_edge: Mapping[str, object],
    tried: Sequence[Trial],
    **facts: Any,
) -> Tuned:
    """Return the preset of the best trial under one protocol; `facts` are the fields of `Tuned` that are told as is."""
    return Tuned(
        dataset=data.name,
        features=data.features,
        semantics=data.semantics,
        fingerprint=data.fingerprint,
        protocol=protocol,
        metric=metric,
        values=dict(trial.params[protocol]),
        score=trial.mean(protocol),
        folds=folds,
        fold_scores=trial.scores[protocol],
        space=space.words(),
        at_edge=tuple(at_edge),
        trials=dict(Counter(one.result for one in tried)),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **facts,
    )
