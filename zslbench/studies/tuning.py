"""`Tuning`: what a search did and found, the presets made of it, and both in words."""

from __future__ import annotations

import dataclasses
import datetime
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from zslbench.files import csv_text, json_text
from zslbench.results.records.presets import PresetStore, TunedPreset
from zslbench.results.records.store import runs_option
from zslbench.results.tables.render import check_format, render
from zslbench.results.tables.table import text_table
from zslbench.runner.jobs import DatasetRef
from zslbench.runner.run import Outcome
from zslbench.sources import source_of
from zslbench.spec import brackets
from zslbench.studies.search import RESULTS, Sampler, Search, Trial
from zslbench.studies.space import Space

FORMATS = ("terminal", "markdown", "csv", "json")
_TOP = 5


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
    presets: tuple[TunedPreset, ...]
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
        counts = Counter(trial.result for trial in self.trials)
        return {result: counts[result] for result in RESULTS}


def best_of(tried: Sequence[Trial], metrics: Mapping[str, str]) -> dict[str, Trial]:
    """Return the trial with the best mean under each protocol, the first of equals."""
    ok = [trial for trial in tried if trial.result == "ok"]
    return {protocol: max(ok, key=lambda trial: trial.mean(protocol)) for protocol in metrics} if ok else {}


def make_preset(
    search: Search, protocol: str, best: Trial, tried: Sequence[Trial], *, name: str, given: str, at_edge: Iterable[str]
) -> TunedPreset:
    """Return the preset of the best trial under one protocol."""
    objective = search.objective
    data = objective.start[0].dataset
    return TunedPreset(
        name=name,
        method=objective.start[0].method,
        version=objective.method.card.version,
        source=source_of(objective.method).digest,
        given=given,
        dataset=data.name,
        features=data.features,
        semantics=data.semantics,
        fingerprint=data.fingerprint,
        protocol=protocol,
        metric=objective.metrics[protocol],
        values=dict(best.params[protocol]),
        score=best.mean(protocol),
        folds=objective.folds,
        fold_scores=best.scores[protocol],
        sampler=search.sampler,
        seed=search.seed,
        space=search.space.words(),
        at_edge=tuple(at_edge),
        trials=dict(Counter(trial.result for trial in tried)),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def describe_tuning(tuning: Tuning, format: str = "terminal") -> str:
    """Return a search as text: a summary (terminal, markdown), or every trial (csv, json).

    Raises:
        UnknownName: a format that does not exist.
    """
    check_format(format, FORMATS)
    if format == "json":
        return json_text(_document(tuning))
    if format == "csv":
        return csv_text([_row(tuning, number, trial) for number, trial in enumerate(tuning.trials, start=1)])
    return "\n\n".join(part for part in _parts(tuning, format) if part) + "\n"


def _parts(tuning: Tuning, format: str) -> list[str]:
    gap = "\n\n" if format == "markdown" else "\n"
    presets = ("\n".join(_preset(tuning, preset)) + gap + _top(tuning, preset, format) for preset in tuning.presets)
    parts = (_failures(tuning), tuning.remarks, _next(tuning))
    return [_head(tuning), *presets, *map("\n".join, parts)]


def _head(tuning: Tuning) -> str:
    data, counts = tuning.dataset, tuning.counts
    many = "every point of the grid" if tuning.sampler == "grid" else tuning.sampler
    space = "; ".join(f"{name}: {words}" for name, words in tuning.space.words().items())
    return (
        f"{tuning.given} on {data.name} ({data.features}, {data.semantics}), dev stage, "
        f"{'folds' if len(tuning.folds) > 1 else 'fold'} {', '.join(map(str, tuning.folds))}: "
        f"{len(tuning.trials)} trials ({many}): {counts['ok']} ok, {counts['failed']} failed, "
        f"{counts['pruned']} pruned. No test image had a part in the choice.\nsearched  {space}"
    )


def _preset(tuning: Tuning, preset: TunedPreset) -> list[str]:
    values = ", ".join(f"{name}={_shown(preset.values[name])}" for name in tuning.space.dimensions)
    folds = ", ".join(f"{100 * score:.1f}" for score in preset.fold_scores)
    lines = [
        f"{preset.protocol}: {preset.metric} {100 * preset.score:.1f} with {values}"
        + (f"  (folds: {folds})" if len(preset.folds) > 1 else "")
    ]
    for name, values_beyond in tuning.wider[preset.protocol].items():
        wider = brackets({name: values_beyond})[1:-1]
        lines.append(
            f"  {name}={_shown(preset.values[name])} is at the end of what was searched "
            f"({tuning.space.words()[name]}); widen it, for instance with {wider} in the spec"
        )
    return lines


def _top(tuning: Tuning, preset: TunedPreset, format: str) -> str:
    """Return the table of the best trials under the protocol of a preset."""
    finished = [trial for trial in tuning.trials if trial.result == "ok"]
    best = sorted(finished, key=lambda trial: -trial.mean(preset.protocol))[:_TOP]
    rows = [
        [
            f"{100 * trial.mean(preset.protocol):.1f}",
            *(f"{100 * score:.1f}" for score in trial.scores[preset.protocol]),
            *(_shown(value) for value in trial.values.values()),
        ]
        for trial in best
    ]
    heads = [preset.metric, *(f"fold {fold}" for fold in preset.folds), *tuning.space.dimensions]
    words = range(len(heads) - len(tuning.space.dimensions), len(heads))
    return render(text_table("", heads, rows, words), format).rstrip("\n")


def _failures(tuning: Tuning) -> list[str]:
    reasons = dict.fromkeys(trial.why for trial in tuning.trials if trial.result == "failed" and trial.why)
    return [f"why trials failed: {reason}" for reason in [*reasons][:3]]


def _next(tuning: Tuning) -> list[str]:
    if tuning.interrupted:
        return [
            f"interrupted after {len(tuning.trials)} trials; what was done is kept, the same command goes on from here"
        ]
    if not tuning.presets:
        if not tuning.trials:
            return ["no trial was done in time, so no preset was written; type the same command with more --time-limit"]
        return [
            "no trial finished, so no preset was written; mend the cause and type the same command with --rerun failed"
        ]
    data, first = tuning.dataset, tuning.presets[0]
    where = runs_option(tuning.runs)
    words = ["zslbench", "run", "-m", f"{tuning.method}@{first.name}", "-d", data.text]
    words += ["--features", data.features, "--semantics", data.semantics]
    words += [] if data.root is None else ["--data-root", str(data.root)]
    if set(tuning.metrics) != {"zsl", "gzsl"}:
        words += [word for protocol in tuning.metrics for word in ("-p", protocol)]
    words += (["--seeds", "5"] if tuning.stochastic else []) + where
    store = PresetStore(tuning.runs)
    lines = [
        "kept in "
        + ", ".join(
            str(store.path(one.name, one.method, one.dataset, one.features, one.semantics, one.protocol))
            for one in tuning.presets
        )
    ]
    if tuning.oracle is not None:
        done = sum(record.ok for record in tuning.oracle.records)
        lines.append(
            f"† {done} of {len(tuning.oracle.states)} runs on test images are kept as candidates of oracle selection"
        )
    return [*lines, f"next: {shlex.join(words)}"]


def _row(tuning: Tuning, number: int, trial: Trial) -> dict[str, Any]:
    row: dict[str, Any] = {"trial": number, "result": trial.result} | dict(trial.values)
    for protocol, metric in tuning.metrics.items():
        scores = trial.scores.get(protocol, ())
        row[f"{protocol} {metric}"] = trial.mean(protocol) if scores else ""
        row |= {
            f"{protocol} {metric} fold {fold}": scores[place] if scores else ""
            for place, fold in enumerate(tuning.folds)
        }
    return row | {"why": trial.why}


def _document(tuning: Tuning) -> dict[str, Any]:
    return {
        "method": tuning.given,
        "stage": "dev",
        "sampler": tuning.sampler,
        "space": tuning.space.words(),
        "trials": [_row(tuning, number, trial) for number, trial in enumerate(tuning.trials, start=1)],
        "presets": [dataclasses.asdict(preset) for preset in tuning.presets],
        "remarks": list(tuning.remarks),
        "interrupted": tuning.interrupted,
    }


def _shown(value: Any) -> str:
    return brackets({"x": value})[3:-1]
