"""The state of a planned run, judged by its record, and which runs are therefore done."""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Literal, get_args

from zslbench.data.dataset import Origin
from zslbench.results.records.record import Record
from zslbench.results.records.store import ResultStore
from zslbench.runner.class_lookup import method_class
from zslbench.runner.jobs import Run, RunConditions
from zslbench.sources import MethodSource
from zslbench.visible import format_count

State = Literal["to run", "done", "failed", "stale"]
Rerun = Literal["none", "failed", "stale", "all"]
RERUNS: tuple[Rerun, ...] = get_args(Rerun)
UNFINISHED = ("interrupted", "skipped")


def upgrade_selection_marks(runs: Sequence[Run], store: ResultStore, records: dict[str, Record | None]) -> None:
    """Update the mark of selection in records of candidates of oracle selection that were now asked for as they are.

    First, early records of tuned presets get an id of their own.
    """
    _separate_tuned_records(runs, store, records)
    for run in runs:
        record = records[run.id]
        if record is not None and record.ok and record.selection == "oracle" and run.selection != "oracle":
            label = {**record.method, "label": run.label}
            records[run.id] = upgraded = dataclasses.replace(record, selection=run.selection, method=label)
            store.relabel(upgraded)


def _separate_tuned_records(runs: Sequence[Run], store: ResultStore, records: dict[str, Record | None]) -> None:
    """Give early records of tuned presets, which have the id of the same values typed by hand, the id of their own."""
    for run in runs:
        by_hand = run if run.selection != "validated" else dataclasses.replace(run, selection="fixed")
        record = records[run.id] if by_hand is run else find_record(store, by_hand)
        if record is not None and record.selection == "validated":
            own = dataclasses.replace(run, selection="validated").id
            now = {by_hand.id: None, own: store.rename(record, own)}
            records |= {key: moved for key, moved in now.items() if key in records}


def find_record(store: ResultStore, run: Run) -> Record | None:
    """Return the record of a run, or None when there is none."""
    return store.find(run.dataset.name, run.protocol, run.method, run.id)


def reuse_finished_run(run: Run, store: ResultStore) -> Run:
    """Return a run on a folder as the run on the named data set of the same content, where only that is finished."""
    if run.dataset.origin != "own":
        return run
    origins: tuple[Origin, ...] = ("own", *(origin for origin in get_args(Origin) if origin != "own"))
    alike = (dataclasses.replace(run, dataset=dataclasses.replace(run.dataset, origin=origin)) for origin in origins)
    return next((twin for twin in alike if (record := find_record(store, twin)) is not None and record.ok), run)


def find_states(
    runs: Iterable[Run], records: Mapping[str, Record | None], sources: Mapping[str, MethodSource]
) -> tuple[tuple[Run, State], ...]:
    """Return each run with the state that its record puts it in; `sources` are those of the methods by name."""
    return tuple((run, _state_of(records[run.id], sources[run.method])) for run in runs)


def _state_of(record: Record | None, source: MethodSource) -> State:
    """Return the state of a run with this record: stale when the source of its method has changed since.

    A run whose worker died tells nothing of its method (the machine may have been at its end), so it is to run again;
    one that went past a limit has failed. A method without a source text is never known to be the same.
    """
    if record is None or record.status in UNFINISHED:
        return "to run"
    if not record.ok:
        return "to run" if record.status == "crashed" and "limit" not in record.provenance else "failed"
    unchanged = source.digest and record.provenance.get("method_source") == source.digest
    return "done" if unchanged else "stale"


def choose_runs_to_do(
    states: Iterable[tuple[Run, State]],
    records: Mapping[str, Record | None],
    rerun: Rerun | None,
    sources: Mapping[str, MethodSource],
) -> set[str]:
    """Return the ids of the runs that are to be done.

    What is stale of a method of the user's own, or failed before its source was changed, is done again unless told
    otherwise: nobody raises a version after each edit. A method that came with a package has a version, which tells
    whether a change altered its numbers.
    """
    again = _AGAIN[rerun]
    return {
        run.id
        for run, state in states
        if state == "to run"
        or state in again
        or (rerun != "none" and sources[run.method].of_user and _is_outdated(state, records[run.id], sources))
    }


def _is_outdated(state: State, record: Record | None, sources: Mapping[str, MethodSource]) -> bool:
    """Return whether a run is stale, or failed with another source of its method than there is now."""
    if state != "failed" or record is None:
        return state == "stale"
    before, now = record.provenance.get("method_source"), sources[record.method["name"]].digest
    return bool(before and now and before != now)


_AGAIN: Mapping[Rerun | None, tuple[State, ...]] = {
    None: (),
    "none": (),
    "failed": ("failed",),
    "stale": ("stale",),
    "all": ("failed", "stale", "done"),
}


def source_remarks(
    states: Sequence[tuple[Run, State]],
    todo: Container[str],
    sources: Mapping[str, MethodSource],
    rerun: Rerun | None,
) -> list[str]:
    """Say which methods' sources have changed since their runs were made, and what is done with these runs."""
    remarks = []
    for name, source in sources.items():
        tried = sum(run.method == name and state == "failed" and run.id in todo for run, state in states)
        if tried and rerun not in ("failed", "all"):
            runs = format_count(tried, "failed run", "of it is")
            fate = "tried again (--rerun none keeps what is there)"
            remarks.append(f"the source of {name} has changed since it was run: {runs} {fate}.")
        stale = [run for run, state in states if run.method == name and state == "stale"]
        again = sum(run.id in todo for run in stale)
        for number, fate in (
            (again, "done again (--rerun none keeps what is there)" if source.of_user else "done again"),
            (len(stale) - again, "kept (--rerun stale does them again)"),
        ):
            runs = format_count(number, "run", "of it is")
            if number and source.digest:
                remarks.append(f"the source of {name} has changed since it was run: {runs} {fate}.")
            elif number:
                remarks.append(f"{name} has no source text to compare, so it never counts as done: {runs} {fate}.")
        if source.edited:
            names = ", ".join(path.name for path in source.edited)
            remarks.append(
                f"{names} of {name} changed after this session imported it, and what was imported is what runs; "
                "reload it with importlib.reload, or start Python anew."
            )
    return remarks


def describe_other_conditions(finished: Iterable[tuple[Run, Record | None]], how: RunConditions) -> list[str]:
    """Return the sentences on runs that were done in another way than `how`; none of it is part of what they mean."""
    done = [(run, record) for run, record in finished if record is not None and record.ok]
    remarks = []
    if how.checkpoint_every and any(
        not record.curve and "checkpoint_every" not in record.provenance for _, record in done
    ):
        remarks.append("a finished run has no curve of these checkpoints; --rerun all does it again with them.")
    others = sum(record.provenance.get("precision", how.precision) != how.precision for _, record in done)
    if others:
        runs = format_count(others, "finished run", "was")
        remarks.append(f"{runs} trained at another precision; --rerun all repeats what is finished.")
    if how.save_model:
        remarks += _describe_models(done)
    if not how.keep_features:
        return remarks
    without, fewer, failed = dict[str, None](), 0, dict[str, None]()
    for run, record in done:
        kept = record.provenance.get("kept_features", {})
        if not method_class(run.method).offers_synthesis():
            without[str(record.method.get("title", run.method))] = None
        elif "error" in kept:
            failed[f"no features could be kept of {run.label}: {kept['error']}"] = None
        else:
            fewer += kept.get("per_class", 0) < how.keep_features
    if without:
        makers = f"{', '.join(without)} synthesise{'s' if len(without) == 1 else ''} no features"
        remarks.append(f"{makers}, so --keep-features keeps nothing there.")
    if fewer:
        runs = "a finished run has" if fewer == 1 else f"{fewer} finished runs have"
        remarks.append(f"{runs} fewer than {how.keep_features} kept features per class; --rerun all makes them.")
    return [*remarks, *failed]


def _describe_models(done: Iterable[tuple[Run, Record]]) -> list[str]:
    """Return the sentences on finished runs whose method was not kept."""
    facts = [(run.label, record.provenance.get("kept_model", {})) for run, record in done]
    failed = {f"{label} could not be kept for load_model: {fact['error']}." for label, fact in facts if "error" in fact}
    without = sum(not fact for _, fact in facts)
    runs = "a finished run has" if without == 1 else f"{without} finished runs have"
    return sorted(failed) + ([f"{runs} no kept model; --rerun all makes it."] if without else [])
