"""What a search tells: the best values with their dev scores, how sure they are, and what to type next."""

from __future__ import annotations

import dataclasses
import json
import shlex
from typing import Any, Literal

from zslbench.errors import BadValue
from zslbench.files import csv_text
from zslbench.results.records.presets import TunedStore
from zslbench.spec import brackets
from zslbench.studies.objective import Trial
from zslbench.studies.tuning import Tuning

Format = Literal["terminal", "markdown", "csv", "json"]
FORMATS: tuple[Format, ...] = ("terminal", "markdown", "csv", "json")
_TOP = 5


def told(tuning: Tuning, format: Format = "terminal") -> str:
    """Return a search as text: a summary (terminal, markdown), or every trial (csv, json).

    Raises:
        BadValue: a format that does not exist.
    """
    if format not in FORMATS:
        raise BadValue(f"format {format!r} does not exist; choose one of: {', '.join(FORMATS)}.")
    if format == "json":
        return json.dumps(_document(tuning), indent=1, ensure_ascii=False) + "\n"
    if format == "csv":
        return csv_text([_row(tuning, number, trial) for number, trial in enumerate(tuning.trials, start=1)])
    return "\n\n".join(part for part in _parts(tuning, format) if part) + "\n"


def _parts(tuning: Tuning, format: Format) -> list[str]:
    return [
        _head(tuning),
        *(
            "\n".join(_preset(tuning, place)) + "\n" + _top(tuning, place, format)
            for place in range(len(tuning.presets))
        ),
        "\n".join(_failures(tuning)),
        "\n".join(tuning.remarks),
        "\n".join(_next(tuning)),
    ]


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


def _preset(tuning: Tuning, place: int) -> list[str]:
    preset = tuning.presets[place]
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


def _top(tuning: Tuning, place: int, format: Format) -> str:
    from tabulate import tabulate

    preset = tuning.presets[place]
    ok = [trial for trial in tuning.trials if trial.result == "ok"]
    best = sorted(ok, key=lambda trial: -trial.mean(preset.protocol))[:_TOP]
    heads = [preset.metric, *(f"fold {fold}" for fold in preset.folds), *tuning.space.dimensions]
    rows = [
        [
            f"{100 * trial.mean(preset.protocol):.1f}",
            *(f"{100 * score:.1f}" for score in trial.scores[preset.protocol]),
            *(_shown(value) for value in trial.values.values()),
        ]
        for trial in best
    ]
    style = "github" if format == "markdown" else "simple"
    table = tabulate(rows, heads, tablefmt=style, disable_numparse=True)
    return "\n" + table if format == "markdown" else table


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
    where = [] if str(tuning.runs) == "runs" else ["--runs", str(tuning.runs)]
    words = ["zslbench", "run", "-m", f"{tuning.method}@{first.name}", "-d", data.text]
    words += ["--features", data.features, "--semantics", data.semantics]
    words += [] if data.root is None else ["--data-root", str(data.root)]
    if set(tuning.metrics) != {"zsl", "gzsl"}:
        words += [word for protocol in tuning.metrics for word in ("-p", protocol)]
    words += (["--seeds", "5"] if tuning.stochastic else []) + where
    store = TunedStore(tuning.runs)
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
