"""`run`: plan, skip what is finished, do the rest, keep a record of each."""

from __future__ import annotations

import dataclasses
import itertools
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, SupportsIndex

from zslbench.data.splits import Stage
from zslbench.errors import BadValue, UnknownName
from zslbench.identity import canonical_json
from zslbench.results.analysis.advice import advise_near_chance
from zslbench.results.records.leases import Leases
from zslbench.results.records.record import Record
from zslbench.results.records.requests import RequestedMethod, RequestedRuns, keep_request, make_request
from zslbench.results.records.store import ResultStore
from zslbench.results.records.training_states import read_headers
from zslbench.results.tables.table_data import pick_facts
from zslbench.runner import run_states
from zslbench.runner.class_lookup import method_class
from zslbench.runner.estimate import estimate
from zslbench.runner.executors import Executor, Listener, SerialExecutor
from zslbench.runner.executors.loop import defer_interrupts, do_batches
from zslbench.runner.jobs import KEEP_EVERY, Batch, Job, Run, StateKeeping
from zslbench.runner.live_file_writer import keep_live_file
from zslbench.runner.loggers import close_loggers, make_loggers
from zslbench.runner.outcome import Outcome
from zslbench.runner.plan import (
    DEFAULT_PROTOCOLS,
    Precision,
    RunOptions,
    SeedsAtOnce,
    StudyPlan,
    as_text_list,
    plan_study,
    read_plan,
)
from zslbench.runner.probe import forecast, show_preparation
from zslbench.runner.progress_display import choose_console, show_progress
from zslbench.runner.resources import prepare_for_torch
from zslbench.runner.run_records import RunResult
from zslbench.sources import source_of
from zslbench.visible import format_count

if TYPE_CHECKING:
    from rich.console import Console

_POLL = 1.0
"""Seconds between two looks at runs that another coordinator does."""


def run(
    methods: str | type | Sequence[str | type] = (),
    datasets: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
    protocols: str | Sequence[str] = DEFAULT_PROTOCOLS,
    *,
    plan: Path | str | StudyPlan | None = None,
    features: str | Sequence[str] | None = None,
    semantics: str | Sequence[str] | None = None,
    seeds: SupportsIndex | Iterable[SupportsIndex] = 1,
    stage: Stage = "final",
    fold: SupportsIndex | Iterable[SupportsIndex] | None = None,
    runs: Path | str | None = None,
    data_root: Path | str | None = None,
    device: str | None = None,
    rerun: run_states.Rerun | None = None,
    resume: bool = True,
    checkpoints: str = "last",
    dry_run: bool = False,
    seeds_at_once: SeedsAtOnce = "auto",
    precision: Precision = "float32",
    profile: bool = False,
    oracle: bool = False,
    calibrate: bool = False,
    keep_features: SupportsIndex = 0,
    save_model: bool = False,
    engine: Executor | None = None,
    progress: bool | None = None,
    console: Console | None = None,
    hear: Listener | Sequence[Listener] | None = None,
    raise_errors: bool = False,
    log: str | Sequence[str] = (),
) -> Outcome:
    """Run every method on every data set under every protocol with every seed, and keep a record of each run.

    A finished run is not repeated, unless it uses a method of your own whose source has changed since; `rerun` changes
    this rule. If a method raises an exception, its run is recorded as failed and the other runs go on.

    Args:
        methods: specs such as ``eszsl`` or ``lisgan@quick[epochs=5]``, grids included.
        datasets: names, or paths of folders.
        protocols: ``zsl``, ``gzsl`` or both.
        plan: a plan file, or what `read_plan` returned; it takes the place of all arguments that say what is run.
        features, semantics: one file stem or several, each with each; None: the usual ones of each data set.
        seeds: how many seeds (3 means 0, 1 and 2), or a list of seeds.
        stage: ``final`` (train on trainval, test on the test images) or ``dev`` (validation classes take the place of
            the unseen ones).
        fold: of the dev stage: one number (from 1) or several; None: all folds.
        runs: the folder of records; None: the plan's, or ``runs``.
        data_root: a folder whose subfolders are data sets in the xlsa17 format; they are read in place.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``; None: the plan's, or ``auto``.
        rerun: which finished runs to repeat: ``none``, ``failed``, ``stale`` (the source of the method has changed) or
            ``all``; None: the stale ones of your own methods.
        resume: whether a fit of a generative method that was killed goes on from the state of its training that was
            kept last, to the same numbers; else that state is removed.
        checkpoints: ``last``, or ``every:N`` to judge the method every N epochs and keep the curve.
        dry_run: only say what would be run, and how long it would take.
        seeds_at_once: whether methods that can train several seeds together (the generative ones) do so: ``auto`` (on a
            GPU, where it is faster), ``always`` or ``never``.
        precision: of matrix products while a generative method trains: ``float32``, ``tf32`` (CUDA), ``bf16``, or
            ``auto``: ``bf16`` where the device has instructions for it, else ``float32``.
        profile: wait for the device after each phase, so that the seconds of a phase in the record are its own.
        oracle: mark the runs as candidates for oracle selection (†). Tables show them only when asked for the best on
            the test images.
        calibrate: also run all folds of the dev stage of each ``gzsl`` run. Tables need them to choose the constant of
            calibrated stacking.
        keep_features: how many synthesised features of each unseen class to keep for figures, with up to as many real
            test features of that class. It has no effect on a method that synthesises none, nor on any number.
        save_model: keep the fitted method beside the record, for `load_model`.
        engine: where runs are computed, see `zslbench.engine`; None: in this process, one after the other.
        progress: whether to show progress; None: only in a notebook.
        console: where progress is shown.
        hear: objects that are told of each job. One of them may stop a job: it raises `Stopped` when a checkpoint has
            been judged.
        raise_errors: for debugging: raise the exception of a failing method after its run was recorded as failed, and
            repeat runs that failed before. Serial engine only.
        log: tracking tools that receive losses, metrics and parameters: ``tensorboard``, ``wandb``, ``mlflow``.

    Returns:
        An outcome with the records and with the state of every planned run, before and after the call.

    Raises:
        ZslbenchError: a request that cannot be met: nothing was run. Or records that cannot be written any more, for
            example on a full disk: finished runs are kept.
    """
    # Every field of RunOptions is an argument of this function by the same name (a test holds them together).
    given = {**locals(), "data_root": None if data_root is None else str(data_root)}
    prepare_for_torch()
    console = choose_console(console, progress)
    options = RunOptions(**{name: given[name] for name in RunOptions.__struct_fields__})
    study = StudyPlan({"": options})
    if plan is not None:
        study = plan if isinstance(plan, StudyPlan) else read_plan(plan)
        options.refuse_beside(str(study.path))
    if rerun not in (None, *run_states.RERUNS):
        raise UnknownName("kind of rerun", str(rerun), run_states.RERUNS)
    store = ResultStore(runs or study.runs or "runs")
    device = device or study.device or "auto"
    parts, remarks = plan_study(study, store.root, device)
    planned = [run for part in parts for run in part.runs]
    engine = engine or study.make_engine(device)
    if raise_errors:
        if not isinstance(engine, SerialExecutor):
            raise BadValue(
                f"raise_errors (--raise) needs the serial engine, and not {engine.name}, where methods run in other "
                "processes; leave engine, workers and limits out."
            )
        engine.errors, rerun = [], rerun or "failed"
    loggers = make_loggers(as_text_list(log), store.root)
    records = {run.id: run_states.find_record(store, run) for run in planned}
    sources = {name: source_of(method_class(name)) for name in dict.fromkeys(run.method for run in planned)}
    if not dry_run:
        run_states.upgrade_selection_marks(planned, store, records)
    before = run_states.find_states(planned, records, sources)
    earlier = dict(records)
    todo = run_states.choose_runs_to_do(before, records, rerun, sources)
    remarks += [f"{why} Its run counts as not done." for _, why in store.broken]
    remarks += run_states.source_remarks(before, todo, sources, rerun)
    with show_preparation((run for run in planned if run.id in todo), None if dry_run else console):
        keeping = StateKeeping(store.root.absolute(), KEEP_EVERY, resume)
        work = [batch.keeping(keeping) for part in parts for batch in part.batches(todo)]
    interrupted = False
    ahead = None
    if work and not dry_run:
        store.check_writable()
        try:
            ahead = forecast(work, store.load, engine, console)
        except KeyboardInterrupt:
            interrupted = True
    if work and not dry_run and not interrupted:
        request = keep_request(store.root, make_request(_name_request(run) for run in planned))
        jobs = [job for batch in work for job in batch.jobs]
        with (
            keep_live_file(
                store.root, work, [run.id for run in planned], forecast=ahead.per_fit if ahead else {}
            ) as live_file,
            show_progress(console, len(jobs), live_file.study, runs=sum(len(job.runs) for job in jobs)) as screen,
            Leases(store.root) as leases,
            close_loggers(loggers),
        ):
            try:
                listeners = [live_file, screen, *([hear] if isinstance(hear, Listener) else hear or []), *loggers]
                _Coordinator(store, leases, records, listeners).do(work, engine, console)
            except KeyboardInterrupt:
                interrupted = True
        new = (record for record in records.values() if record is not None and earlier[record.id] is not record)
        remarks += [remark for record in new if (remark := record.provenance.get("state_remark"))]
        remarks += [*live_file.remarks, *(logger.remark for logger in loggers if logger.remark)]
        if all(record is not None and record.status not in run_states.UNFINISHED for record in records.values()):
            request.unlink(missing_ok=True)
    remarks += [
        remark
        for part in parts
        for remark in run_states.describe_other_conditions([(run, records[run.id]) for run in part.runs], part.how)
    ]
    kept = tuple(record for run in planned if (record := records[run.id]) is not None)
    remarks += [] if dry_run else advise_near_chance(kept, store.predictions)
    if dry_run:
        ahead = estimate(work, store.load(), engine.workers)
    states = run_states.find_states(planned, records, sources)
    shown = ahead if dry_run else None
    untried = sum(state == "failed" and run.id not in todo for run, state in before)
    half_trained = [header for _, header in read_headers(store.root)] if interrupted and resume else []
    cut_short = {
        record.id: next((header for header in half_trained if record.id in header.runs), None)
        for record in kept
        if record.status == "interrupted" and earlier[record.id] is not record
    }
    remarks = list(dict.fromkeys(remarks))
    return Outcome(before, states, kept, tuple(remarks), interrupted, shown, store.root, untried, cut_short)


def _name_request(run: Run) -> tuple[RequestedMethod, RequestedRuns]:
    data = run.dataset
    return RequestedMethod(run.method, run.label, dict(run.params)), RequestedRuns(
        dataset=data.name,
        **pick_facts(data, "features", "semantics", "origin", "fingerprint", "own_folder", "data_root"),
        **pick_facts(run, "protocol", "stage", "fold"),
        protocol_params=canonical_json(dict(run.protocol_params)),
        seeds=(run.seed,),
    )


LeaseState = Literal["ours", "held", "done"]
"""Whether this process has the lease of a run, another holds it, or another has done the run meanwhile."""


class _Coordinator:
    """Does the runs that no other coordinator does, each leased just before, and keeps their records.

    What others hold comes last, in `held`.
    """

    def __init__(
        self, store: ResultStore, leases: Leases, records: dict[str, Record | None], listeners: Sequence[Listener]
    ) -> None:
        self.store, self.leases, self.records, self.listeners = store, leases, records, listeners
        self.held: list[Batch] = []

    def do(self, work: Sequence[Batch], engine: Executor, console: Console | None) -> None:
        """Do first what is free, then, again and again, what has become free."""
        do_batches(engine, self._free(work, thorough=False), self.listeners, self._keep)
        if self.held and console:
            console.print(self._describe_wait(), markup=False, highlight=False, soft_wrap=True)
        while self.held:
            work, self.held = self.held, []
            began = time.monotonic()
            again = self._free(work, thorough=True)
            if (first := next(again, None)) is not None:
                do_batches(engine, itertools.chain([first], again), self.listeners, self._keep)
            elif self.held:  # looking at many takes a tenth of the time at most
                time.sleep(max(_POLL, 9 * (time.monotonic() - began)))

    def _free(self, work: Sequence[Batch], thorough: bool) -> Iterator[Batch]:
        for batch in work:
            mine: list[Job] = []
            held: list[Job] = []
            for job in batch.jobs:
                leases = self._lease_all(job, thorough)
                for jobs, state in ((mine, "ours"), (held, "held")):
                    if runs := tuple(run for run in job.runs if leases[run.id] == state):
                        jobs.append(dataclasses.replace(job, runs=runs))
                if all(state == "done" for state in leases.values()):
                    self._show_end(job)
            if held:
                self.held.append(Batch(tuple(held)))
            if mine:
                yield Batch(tuple(mine))

    def _lease_all(self, job: Job, thorough: bool) -> Mapping[str, LeaseState]:
        """Return the state of the lease of each run of a job, by id.

        The leases of a job are taken in one order everywhere, up to the first that is held: of two coordinators that
        want the same job, one gets all of it. A thorough call asks for each, and once more for those that were held
        where it got others: a holder that died between two of these looks has left all of them.
        """
        in_order = sorted(job.runs, key=lambda run: run.id)
        states: dict[str, LeaseState] = {}
        for run in in_order:
            states[run.id] = self._lease(run) if thorough or "held" not in states.values() else "held"
        if thorough and "ours" in states.values():
            states |= {run.id: self._lease(run) for run in in_order if states[run.id] == "held"}
        return states

    def _lease(self, run: Run) -> LeaseState:
        """Take the lease of a run and return its state; of a run that somebody else has done, put the record in."""
        if not self.leases.take(run.id):
            return "held"
        now = run_states.find_record(self.store, run)  # whoever had the lease before may just have finished
        if now is None or now == self.records[run.id] or now.status in run_states.UNFINISHED:
            return "ours"
        self.records[run.id] = now
        self.leases.release([run.id])
        return "done"

    def _keep(self, job: Job, results: Sequence[RunResult]) -> None:
        """Keep the results that count.

        Another coordinator may have taken over some runs of the job while this process was stopped. For these the
        record of that coordinator counts, and this process waits until it is there.
        """
        states = {run.id: "ours" if self.leases.holds(run.id) else self._lease(run) for run in job.runs}
        if others := tuple(run for run in job.runs if states[run.id] == "held"):
            self.held.append(Batch((dataclasses.replace(job, runs=others),)))
        with defer_interrupts():  # what is finished is kept, whatever is pressed
            for result in results:
                before = self.records[result.record.id]
                cut_short = result.record.status == "interrupted" and before is not None and before.ok
                if states[result.record.id] == "ours" and not cut_short:  # of a repeat: what was done before stays
                    self.store.save(result.record, result.predictions, result.features, result.model)
                    self.records[result.record.id] = result.record
        self.leases.release(run.id for run in job.runs)
        self._show_end(job, results)

    def _show_end(self, job: Job, results: Sequence[RunResult] = ()) -> None:
        for listener in self.listeners:
            listener.finished(job, results)

    def _describe_wait(self) -> str:
        runs = [run for batch in self.held for job in batch.jobs for run in job.runs]
        holders = {str(holder) for run in runs if (holder := self.leases.holder_of(run.id))}
        by = f" ({', '.join(sorted(holders))})" if holders else ""
        return (
            f"{format_count(len(runs), 'run', 'is')} being done by another zslbench process{by}; "
            "waiting for the results (Ctrl-C stops waiting)."
        )
