"""The state that a planned run is found in, and what its finished record counts as."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

from zslbench.errors import ZslbenchError
from zslbench.results.record import Record
from zslbench.results.store import ResultStore
from zslbench.runner.cells import Run
from zslbench.runner.classes import method_class
from zslbench.runner.provenance import source_digest

State = Literal["to run", "done", "failed", "stale"]
UNFINISHED = ("interrupted", "skipped")

_WORTH = ("oracle", "fixed", "validated")


def upgrade(runs: Sequence[Run], store: ResultStore, records: dict[str, Record | None]) -> None:
    """Write into finished records what is known better now: that their values were validated, or not picked on test."""
    for one in runs:
        record = records[one.id]
        if record is None or not record.ok or _WORTH.index(one.selection) <= _WORTH.index(record.selection):
            continue
        found = dataclasses.replace(
            record,
            selection=one.selection,
            method={**record.method, "label": one.label},
            provenance={**record.provenance, **({"tuned": one.tuned} if one.tuned else {})},
        )
        store.relabel(found)
        records[one.id] = found


def find(store: ResultStore, one: Run) -> Record | None:
    """Return the record of a run, or None when there is none."""
    return store.find(one.dataset.name, one.protocol, one.method, one.id)


def state_of(one: Run, record: Record | None) -> State:
    """Return the state of a run with this record: stale when the source of its method has changed since.

    A run whose worker died tells nothing of its method (the machine may have been at its end), so it is to run again;
    one that went past a limit has failed.
    """
    if record is None or record.status in UNFINISHED or _lost(record):
        return "to run"
    if not record.ok:
        return "failed"
    return "stale" if _changed(record, one.method) else "done"


def outdated(record: Record) -> bool:
    """Return whether the source of a record's method has changed since; False where the method is not there."""
    try:
        return _changed(record, record.method["name"])
    except ZslbenchError:
        return False


def _changed(record: Record, method: str) -> bool:
    return record.provenance.get("method_source") != source_digest(method_class(method))


def _lost(record: Record) -> bool:
    return record.status == "crashed" and "limit" not in record.provenance
