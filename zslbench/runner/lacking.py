"""What finished runs lack of what is asked for now: curves, a precision, kept features."""

from __future__ import annotations

from collections.abc import Iterable

from zslbench.results.records.record import Record
from zslbench.runner.cells import Run
from zslbench.runner.classes import method_class
from zslbench.runner.jobs import How


def lacking(found: Iterable[tuple[Run, Record | None]], how: How) -> tuple[str, ...]:
    """Return the sentences on runs that were done in another way than `how`; none of it is part of what they mean."""
    done = [(run, record) for run, record in found if record is not None and record.ok]
    remarks = []
    if how.checkpoint_every and any(
        not record.curve and "checkpoint_every" not in record.provenance for _, record in done
    ):
        remarks.append("a finished run has no curve of these checkpoints; --rerun all does it again with them.")
    others = sum(record.provenance.get("precision", how.precision) != how.precision for _, record in done)
    if others:
        remarks.append(f"{others} finished runs were trained at another precision; --rerun all does them again.")
    return (*remarks, *_features(done, how.keep_features))


def _features(done: Iterable[tuple[Run, Record]], per_class: int) -> list[str]:
    if not per_class:
        return []
    none, fewer, failed = dict[str, None](), 0, dict[str, None]()
    for run, record in done:
        kept = record.provenance.get("kept_features", {})
        if not method_class(run.method).offers_synthesis():
            none[str(record.method.get("title", run.method))] = None
        elif "error" in kept:
            failed[f"{run.label}: {kept['error']}"] = None
        else:
            fewer += kept.get("per_class", 0) < per_class
    remarks = []
    if none:
        some = f"{', '.join(none)} synthesise{'s' if len(none) == 1 else ''} no features"
        remarks.append(f"{some}, so --keep-features keeps nothing there.")
    if fewer:
        what = "a finished run has" if fewer == 1 else f"{fewer} finished runs have"
        remarks.append(f"{what} fewer than {per_class} kept features a class; --rerun all makes them.")
    return remarks + [f"no features could be kept of {text}" for text in failed]
