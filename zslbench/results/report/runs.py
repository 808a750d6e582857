"""Every run of a study as one compact JSON value: what many runs share is told once."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from zslbench.metrics import order_metrics
from zslbench.results.analysis.advice import run_command
from zslbench.results.records.record import Record
from zslbench.spec import parse_recorded

_WHOLE = 10_000
"""What an accuracy of one is written as: percent with two digits, without the point."""
_ERROR_HEAD, _ERROR_TAIL = 2_000, 18_000
"""Characters of an error text that the page holds: what it says last tells most."""
_SORTED = json.JSONEncoder(sort_keys=True)
FIELDS = ("id", "cell", "seed", "status", "metrics", "steps", "curve", "timings", "memory", "made", "finished", "error")


class _Shared:
    """A list of values that many runs share; each is given the number that runs refer to it by."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._places: dict[str, int] = {}

    def place(self, value: Any, key: str | None = None) -> int:
        """Return the number of a value, which is kept where it is new; `key` tells it from others."""
        if key is None:
            key = _SORTED.encode(value)
        if key not in self._places:
            self._places[key] = len(self.values)
            self.values.append(value)
        return self._places[key]


def runs_data(records: Sequence[Record], root: Path, extra: Sequence[str] = ()) -> dict[str, Any]:
    """Return the runs as one JSON value, a list of `FIELDS` a run.

    Accuracies are whole numbers, hundredths of a percent; times are seconds after ``since``.

    Args:
        records: of all stages and states.
        root: the folder of records; extra: words that commands end with, as ``--data-root DIR``.
    """
    kinds = {name: _Shared() for name in ("methods", "datasets", "protocols", "steps", "made", "errors")}
    names = _names(records)
    cells: dict[str, int] = {}
    told: list[list[Any]] = []
    commands: list[str] = []
    since = min((time for record in records if (time := _time(record)) is not None), default=0)
    runs = []
    for record in records:
        # One text tells what the seeds of a run share: to ask for each part by itself takes four times as long.
        shared = [
            record.method,
            record.dataset,
            record.protocol,
            record.stage,
            record.fold,
            record.selection,
            record.ok,
        ]
        key = json.dumps([*shared, record.curve[0]["step"] if record.curve else 0])
        if key not in cells:
            cells[key] = len(told)
            told.append(_cell(record, kinds))
            commands.append(_again(record, root, extra))
        finished = _time(record)
        runs.append(
            [
                record.id,
                cells[key],
                record.seed,
                record.status,
                _values(record.metrics, names["metrics"]),
                _steps(record, kinds["steps"]),
                [value for point in record.curve for value in _values(point["metrics"], names["metrics"])],
                [_seconds(record, name) for name in names["timings"]],
                [_number(record.memory.get(name)) for name in names["memory"]],
                kinds["made"].place({name: value for name, value in record.provenance.items() if name != "finished"}),
                None if finished is None else finished - since,
                kinds["errors"].place(_shortened(record.error), record.error) if record.error else -1,
            ]
        )
    return {name: shared.values for name, shared in kinds.items()} | {
        "cells": told,
        "commands": commands,
        "names": names,
        "since": since,
        "fields": FIELDS,
        "runs": runs,
    }


def _steps(record: Record, shared: _Shared) -> int:
    steps = [point["step"] for point in record.curve]
    return shared.place(steps, str(steps)) if steps else -1


def _names(records: Sequence[Record]) -> dict[str, list[str]]:
    found: dict[str, dict[str, None]] = {"metrics": {}, "timings": {}, "memory": {}}
    for record in records:
        for part, there in found.items():
            there.update(dict.fromkeys(getattr(record, part)))
        for point in record.curve:
            found["metrics"].update(dict.fromkeys(point["metrics"]))
    names = {part: list(there) for part, there in found.items()}
    return names | {"metrics": order_metrics(names["metrics"])}


def _cell(record: Record, kinds: Mapping[str, _Shared]) -> list[Any]:
    """Return what the seeds of a run share; the numbers are those of method, data set and protocol."""
    return [
        kinds["methods"].place(dict(record.method) | {"given": list(_given(record))}),
        kinds["datasets"].place(dict(record.dataset)),
        kinds["protocols"].place(dict(record.protocol)),
        record.stage,
        record.fold,
        record.selection,
    ]


def _given(record: Record) -> Iterator[str]:
    """Yield the parameters that were typed; all others are the method's own or a preset's."""
    yield from parse_recorded(record.label).params


def _again(record: Record, root: Path, extra: Sequence[str]) -> str:
    """Return the command that repeats a run with seed 0; another seed is one more option at its end."""
    options = ["--stage", "dev", "--fold", str(record.fold)] if record.stage == "dev" else []
    if record.curve:
        options += ["--checkpoints", f"every:{max(1, int(record.curve[0]['step']))}"]
    options += ["--rerun", "all" if record.ok else "failed"]
    return run_command([dataclasses.replace(record, seed=0)], root, *options, *extra)


def _values(metrics: Mapping[str, float], names: Sequence[str]) -> list[int | None]:
    return [round(_WHOLE * metrics[name]) if name in metrics else None for name in names]


def _seconds(record: Record, phase: str) -> float | None:
    """Return the seconds of a phase; those in all only where they are the record's own."""
    return _number(record.timings.get(phase)) if phase != "total" or record.seconds_known else None


def _number(value: Any) -> float | None:
    """Return a number as it is, and None for what another program may have written in its place."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _shortened(error: str) -> str:
    left_out = len(error) - _ERROR_HEAD - _ERROR_TAIL
    if left_out <= 0:
        return error
    return f"{error[:_ERROR_HEAD]}\n… {left_out:,} characters, which the record holds …\n{error[-_ERROR_TAIL:]}"


def _time(record: Record) -> int | None:
    try:
        return int(datetime.datetime.fromisoformat(str(record.provenance["finished"])).timestamp())
    except (KeyError, ValueError, OverflowError):
        return None
