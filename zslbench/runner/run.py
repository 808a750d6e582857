"""`run`: plan, skip what is finished, do the rest, keep a record of each."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from zslbench.errors import BadValue
from zslbench.protocols.splits import Stage
from zslbench.results.claims import Claims
from zslbench.results.record import Record
from zslbench.results.store import ResultStore
from zslbench.results.tuned import TunedStore
from zslbench.runner.cells import Run
from zslbench.runner.classes import method_class
from zslbench.runner.device import check_device, devices
from zslbench.runner.engines import Engine, Listener, SerialEngine, Several
from zslbench.runner.execute import Finished
from zslbench.runner.jobs import Batch, How, batches, jobs
from zslbench.runner.plan import DEFAULT_PROTOCOLS, Plan, plan
from zslbench.runner.progress import listener
from zslbench.runner.states import UNFINISHED, State, find, state_of, upgrade
from zslbench.runner.turns import Turns
from zslbench.spec import parse

if TYPE_CHECKING:
    from rich.console import Console

Precision = Literal["float32", "tf32", "bf16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "tf32", "bf16")
SeedsAtOnce = Literal["auto", "always", "never"]
Rerun = Literal["failed", "stale", "all"]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a call of `run` meant and did.

    Attributes:
        states: every planned run and the state it was found in.
        records: the record of every planned run that has one now, in the order of the plan.
        remarks: sentences for the user.
        interrupted: whether it was cut short (Ctrl-C).
    """

    states: tuple[tuple[Run, State], ...]
    records: tuple[Record, ...] = ()
    remarks: tuple[str, ...] = ()
    interrupted: bool = False

    def count(self, *states: State) -> int:
        """Return how many planned runs were found in one of these states."""
        return sum(state in states for _, state in self.states)

    @property
    def failed(self) -> tuple[Record, ...]:
        """Records of the plan whose run came to a bad end by itself; one that was cut short is not among them."""
        return tuple(record for record in self.records if not record.ok and record.status not in UNFINISHED)


def run(
    methods: str | Sequence[str],
    datasets: str | Sequence[str],
    protocols: str | Sequence[str] = DEFAULT_PROTOCOLS,
    *,
    features: str | None = None,
    semantics: str | None = None,
    seeds: int | Sequence[int] = 1,
    stage: Stage = "final",
    fold: int | Sequence[int] | None = None,
    runs: Path | str = "runs",
    data_root: Path | str | None = None,
    device: str = "auto",
    rerun: Rerun | None = None,
    checkpoints: str = "last",
    dry_run: bool = False,
    seeds_at_once: SeedsAtOnce = "auto",
    precision: Precision = "float32",
    profile: bool = False,
    oracle: bool = False,
    calibrate: bool = False,
    engine: Engine | None = None,
    console: Console | None = None,
    hear: Listener | None = None,
) -> Outcome:
    """Run every method on every data set under every protocol with every seed, and keep a record of each.

    A run that is finished (ok or failed) is not done again; `rerun` says which of those to do again after all. A
    method that raises makes a failed record, and the rest go on.

    Args:
        methods, datasets, protocols: texts in the spec grammar, grids included.
        features, semantics: file stems (None: the usual ones of each data set).
        seeds: how many seeds (0, 1, …), or which.
        stage, fold: ``final``, or ``dev`` with a fold from 1, several, or all (None).
        runs: the folder of records.
        data_root: a folder of xlsa17 folders, read in place.
        device: auto, cpu, cuda, cuda:N or mps.
        checkpoints: ``last``, or ``every:N`` to judge every N epochs and keep the curve.
        seeds_at_once: whether methods that can train several seeds in one go (the generative ones) do: ``auto`` where
            the device gains by it, a GPU; ``always`` or ``never``.
        precision: of the matrix products of a generative method's training: float32, tf32 (CUDA) or bf16.
        profile: wait for the device after each phase, and write all phases to ``<run id>.trace.json.gz`` beside the
            record, for chrome://tracing or Perfetto.
        dry_run: only say what would be done.
        oracle: mark the runs as candidates of oracle selection (†): tables leave them out until they are asked to pick
            what is best on the test images.
        calibrate: also do the dev stage of the generalized runs, all folds, so that tables can choose the constant of
            calibrated stacking there.
        engine: where to do it, see `zslbench.engine` (default: serial, in this process).
        console: where to show progress (default: nowhere).
        hear: hears of jobs too, and may stop one by raising `Stopped` when a checkpoint was judged.

    Raises:
        ZslbenchError: a request that cannot be met; nothing was run. Or records that cannot be written any more
            (a full disk): what was finished stays.
    """
    every = _checkpoint_every(checkpoints)
    check_device(device)
    if precision not in PRECISIONS:
        raise BadValue(f"precision {precision!r} is not allowed; choose one of: {', '.join(PRECISIONS)}.")
    if precision == "tf32" and (device in ("cpu", "mps") or not any(one.startswith("cuda") for one in devices())):
        raise BadValue("precision 'tf32' needs a CUDA device; choose float32 or bf16, or another device.")
    how = How(device, every, precision, profile)
    seed_list = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    request = functools.partial(
        plan,
        _texts(methods),
        _texts(datasets),
        features=features,
        semantics=semantics,
        seeds=seed_list,
        folds=[fold] if isinstance(fold, int) else fold,
        data_root=Path(data_root) if data_root else None,
        tuned=TunedStore(Path(runs)),
        oracle=oracle,
    )
    planned = request(_texts(protocols), stage=stage)
    if calibrate:
        planned = _with_dev(planned, request([_generalized(protocols)], stage="dev"))
    store = ResultStore(Path(runs))
    records = {one.id: find(store, one) for one in planned.runs}
    states = tuple((one, state_of(one, records[one.id])) for one in planned.runs)
    if not dry_run:
        upgrade(planned.runs, store, records)
    again: tuple[State, ...] = {
        None: (),
        "failed": ("failed",),
        "stale": ("stale",),
        "all": ("failed", "stale", "done"),
    }[rerun]
    todo = [one for one, state in states if state == "to run" or state in again]
    damaged = tuple(f"{why} Its run counts as not done." for _, why in store.broken)
    interrupted = False
    if todo and not dry_run:
        store.check_writable()
        work = batches(jobs(todo, how), seeds_at_once == "always" or _gains(todo, device, seeds_at_once))
        count = sum(len(batch.jobs) for batch in work)
        interrupted = _work(work, count, store, records, engine or SerialEngine(), console, hear)
    bare = every and any(
        record and record.ok and not record.curve and "checkpoint_every" not in record.provenance
        for record in records.values()
    )
    remarks = (
        planned.remarks
        + damaged
        + (("a finished run has no curve of these checkpoints; --rerun all does it again with them.",) if bare else ())
    )
    others = sum(
        record.provenance.get("precision", precision) != precision
        for record in records.values()
        if record and record.ok
    )
    if others:
        remarks += (f"{others} finished runs were trained at another precision; --rerun all does them again.",)
    kept = tuple(record for one in planned.runs if (record := records[one.id]) is not None)
    return Outcome(states, kept, remarks, interrupted)


def _gains(todo: Sequence[Run], device: str, seeds_at_once: SeedsAtOnce) -> bool:
    """Whether several seeds at once gain: there are some, their method offers it, and the device is a GPU."""
    if seeds_at_once != "auto" or device == "cpu":
        return False
    counts = Counter(run.seeds_key for run in todo if method_class(run.method).offers_seeds())
    return max(counts.values(), default=0) > 1 and any(name.startswith("cuda") for name in devices())


def _work(
    work: Sequence[Batch],
    count: int,
    store: ResultStore,
    records: dict[str, Record | None],
    engine: Engine,
    console: Console | None,
    hear: Listener | None,
) -> bool:
    """Do the runs that no other coordinator does, keep their records; return whether it was interrupted."""
    with listener(console, count) as screen, Claims(store.root) as claims:
        ear = Several((screen, hear)) if hear else screen
        turns = Turns(store, claims, records, lambda job: screen.finished(job, ()))
        try:
            for free in turns.rounds(work, functools.partial(_say, console)):
                for job, results in engine.run(free, ear):
                    for result in results:
                        _keep(result, store, records)
                    claims.release(one.id for one in job.runs)
                    screen.finished(job, results)
        except KeyboardInterrupt:
            return True
    return False


def _keep(result: Finished, store: ResultStore, records: dict[str, Record | None]) -> None:
    before = records[result.record.id]
    if result.record.status == "interrupted" and before is not None and before.ok:
        return  # a repeat was cut short; what was done before stays
    store.save(result.record, result.predictions)
    if result.events:
        store.save_trace(result.record, result.events)
    records[result.record.id] = result.record


def _say(console: Console | None, sentence: str) -> None:
    if console:
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)


def _generalized(protocols: str | Sequence[str]) -> str:
    """Return the protocol among those asked for that has a seen–unseen curve to calibrate.

    Raises:
        BadValue: none of them has.
    """
    found = [text for text in _texts(protocols) if parse(text).name.casefold() == "gzsl"]
    if not found:
        raise BadValue(
            f"--calibrate moves seen against unseen classes, which {', '.join(_texts(protocols))} never compares; "
            "add -p gzsl."
        )
    return found[0]


def _with_dev(final: Plan, dev: Plan) -> Plan:
    return Plan(final.runs + dev.runs, tuple(dict.fromkeys(final.remarks + dev.remarks)))


def _texts(given: str | Sequence[str]) -> list[str]:
    return [given] if isinstance(given, str) else list(given)


def _checkpoint_every(text: str) -> int:
    if text == "last":
        return 0
    head, _, number = text.partition(":")
    if head != "every" or not number.isdecimal() or int(number) < 1:
        raise BadValue(f"checkpoints {text!r} is not allowed; write last, or every:N with N of at least 1.")
    return int(number)
