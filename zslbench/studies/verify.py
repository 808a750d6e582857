"""Recompute every metric from the stored predictions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from zslbench.arrays import AnyArray
from zslbench.errors import StoreError, ZslbenchError
from zslbench.metrics import SWEPT
from zslbench.results.records.record import Record
from zslbench.results.records.store import ResultStore
from zslbench.runner.classes import recorded_protocol

TOLERANCE = 1e-12
_Metrics = Callable[[Mapping[str, AnyArray]], Mapping[str, float]]


@dataclasses.dataclass(frozen=True)
class Verification:
    """What came out of recomputing metrics.

    Attributes:
        verified: how many records agree in every metric.
        mismatches: record id and a sentence for each that does not, or whose predictions are damaged.
        lacking: ids of records without predictions.
        skipped: id and reason of records whose protocol cannot judge them any more.
    """

    verified: int
    mismatches: tuple[tuple[str, str], ...]
    lacking: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]

    @property
    def ok(self) -> bool:
        """Whether nothing disagrees."""
        return not self.mismatches


def verify(store: ResultStore, records: Sequence[Record]) -> Verification:
    """Recompute the metrics of every finished record by its protocol and compare them, to 1e-12."""
    verified = 0
    mismatches = [(record.id, "its content is not that of its id") for record in store.altered]
    lacking: list[str] = []
    skipped: list[tuple[str, str]] = []
    for record in records:
        if not record.ok:
            continue
        name = record.protocol["name"]
        try:
            cls = recorded_protocol(name)
            protocol = None if cls is None else cls(**record.protocol.get("params", {}))
        except (ZslbenchError, TypeError) as error:
            skipped.append((record.id, f"its protocol cannot be used: {error}"))
            continue
        if protocol is None:
            why = f"no module is imported for it; name it with -p {name}"
            skipped.append((record.id, f"its protocol cannot be used: {why}"))
        elif protocol.card.version != record.protocol.get("version", 1):
            skipped.append((record.id, f"its protocol is now version {protocol.card.version}"))
        elif not store.path(record).with_suffix(".npz").exists():
            lacking.append(record.id)
        elif problem := _problem(store, record, protocol.metrics):
            mismatches.append((record.id, problem))
        else:
            verified += 1
    return Verification(verified, tuple(mismatches), tuple(lacking), tuple(skipped))


def _problem(store: ResultStore, record: Record, metrics: _Metrics) -> str:
    """Return what disagrees in one record; empty when nothing does."""
    try:
        found = metrics(store.predictions(record))
    except StoreError as error:
        return str(error)
    except Exception as error:  # arrays of the wrong shape or name, say
        return f"its predictions cannot be judged ({type(error).__name__}: {error})"
    names = sorted(({*found} - {*SWEPT}) | {*record.metrics})  # a cascade's record has no AUSUC
    wrong = [
        f"{name} is {_shown(record.metrics.get(name))} in the record, {_shown(found.get(name))} from its predictions"
        for name in names
        if name not in found or name not in record.metrics or not abs(found[name] - record.metrics[name]) <= TOLERANCE
    ]
    return "; ".join(wrong)


def _shown(value: float | None) -> str:
    return "absent" if value is None else f"{value:.12g}"
