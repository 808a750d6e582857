"""`status`: what the records lack, what failed or is stale, whether metrics follow from predictions, and what to do."""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import zslbench
from zslbench.arrays import AnyArray
from zslbench.data.splits import STAGES, Stage
from zslbench.errors import BadValue, StoreError, ZslbenchError
from zslbench.metrics import SWEPT
from zslbench.results.analysis.record_filter import RecordFilter
from zslbench.results.records.presets import PresetStore
from zslbench.results.records.record import Record
from zslbench.results.records.store import ResultStore, runs_option
from zslbench.results.tables.render import check_format
from zslbench.runner.classes import import_typed, recorded_protocol
from zslbench.runner.plan import texts
from zslbench.studies.status_plan import (
    DataPlaces,
    advice_on_placeholders,
    plan_text,
    runs_to_do,
    tune_commands,
    write_plan,
)
from zslbench.studies.survey import Survey, survey

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


def verify_metrics(store: ResultStore, records: Sequence[Record]) -> Verification:
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
        computed = metrics(store.predictions(record))
    except StoreError as error:
        return str(error)
    except Exception as error:  # arrays of the wrong shape or name, say
        return f"its predictions cannot be judged ({type(error).__name__}: {error})"
    names = sorted(({*computed} - {*SWEPT}) | {*record.metrics})  # a cascade's record has no AUSUC
    wrong = [
        f"{name} is {_shown(record.metrics.get(name))} in the record, {_shown(computed.get(name))} from its predictions"
        for name in names
        if name not in computed
        or name not in record.metrics
        or not abs(computed[name] - record.metrics[name]) <= TOLERANCE
    ]
    return "; ".join(wrong)


def _shown(value: float | None) -> str:
    return "absent" if value is None else f"{value:.12g}"


FORMATS = ("terminal", "json")
DEFAULT_PLAN = "missing.toml"
VARIED = (
    "run the same values where a method has others (only where they are meant to be the same: remove the # before "
    "them in the plan)"
)


@dataclasses.dataclass(frozen=True)
class Command:
    """A shell command and what it is for."""

    purpose: str
    text: str


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Status:
    """What `status` found.

    Attributes:
        survey: the span of the records and the state of each of its runs.
        plan: the text of the plan file that does what lacks; empty where nothing does.
        asked: the options of the command line that were given.
        commands: what to type, in order; replace: words that stand for what no record holds, with advice.
        stage: which is told of; others, oracle: records of the other stage, and oracle candidates: not in the span.
        versions: other versions of zslbench and how many records they made.
        broken: files that are no records, as sentences; altered: those that were changed by hand, so that their
            content is not that of their id. unread: whether a folder could not be read, whatever it holds.
        verification: of the metrics, where it was asked for.
        text: all of it, as asked for.
    """

    survey: Survey
    plan: str
    asked: tuple[str, ...]
    commands: tuple[Command, ...] = ()
    replace: tuple[str, ...] = ()
    others: int
    oracle: int
    stage: str
    versions: tuple[tuple[str, int], ...]
    broken: tuple[str, ...]
    altered: tuple[Record, ...]
    unread: bool
    verification: Verification | None
    text: str = ""

    def __repr__(self) -> str:
        counts = Counter(self.survey.states.values())
        return f"<Status: {', '.join(f'{many} {state}' for state, many in counts.items()) or 'no runs'}>"

    @property
    def complete(self) -> bool:
        """Whether nothing lacks, failed or is stale; a method that has other values there does not lack."""
        states = (state for slot, state in self.survey.states.items() if slot not in self.survey.varied)
        return all(state == "done" for state in states) and not (self.survey.untuned or self.altered or self.unread)


def status(
    runs: Path | str = "runs",
    *,
    methods: str | Sequence[str] = (),
    datasets: str | Sequence[str] = (),
    protocols: str | Sequence[str] = (),
    stage: Stage = "final",
    seeds: int | None = None,
    verify: bool = False,
    format: str = "terminal",
    write_plan: Path | str | None = None,
    data_root: Path | str | None = None,
    width: int | None = None,
) -> Status:
    """Say what the records of a folder lack: every line on every data set under every protocol that they span.

    Args:
        runs: the folder of records.
        methods, datasets, protocols: which; a data set of your own may be given as its folder, which the plan then
            names.
        stage: final or dev; seeds: how many each method should have; None: as many as the one with the most.
        verify: recompute every metric from the stored predictions, of all stages.
        format: terminal or json.
        write_plan: the plan file to write what lacks into, if anything does: `run(plan=…)` does it. A file that status
            did not write is not replaced.
        data_root: a folder of data sets, for the plan.
        width: characters of a line; None: the terminal's.

    Raises:
        BadValue: a name that no record has, or a file that is no plan of status.
        StoreError: no records, or a plan that cannot be written.
    """
    check_format(format, FORMATS)
    if stage not in STAGES:
        raise BadValue(f"stage {stage!r} does not exist; choose one of: {', '.join(STAGES)}.")
    store = ResultStore(runs)
    every = store.load()
    if not every and not store.altered:
        raise StoreError(
            f"there are no runs in {store.root}; make some, for instance with "
            "`zslbench run --method eszsl --dataset digits`, or name their folder with --runs."
        )
    import_typed(texts(methods), texts(protocols))
    result = examine(
        store,
        every,
        texts(methods),
        texts(datasets),
        texts(protocols),
        stage=stage,
        seeds=seeds,
        verify=verify,
        data_root=Path(data_root) if data_root else None,
        plan=None if write_plan is None else Path(write_plan),
    )
    from zslbench.studies import status_text

    text = status_text.as_json(result) if format == "json" else status_text.as_text(result, width)
    return dataclasses.replace(result, text=text)


def examine(
    store: ResultStore,
    every: Sequence[Record],
    methods: Sequence[str] = (),
    datasets: Sequence[str] = (),
    protocols: Sequence[str] = (),
    *,
    stage: Stage = "final",
    seeds: int | None = None,
    verify: bool = False,
    data_root: Path | None = None,
    plan: Path | None = None,
) -> Status:
    """Return what records that were read already lack, without the text; arguments as in `status`.

    Raises:
        BadValue, StoreError: see `status`.
    """
    record_filter = RecordFilter(methods, datasets, protocols, stage=None)
    record_filter.check_terms(every, store.root)
    chosen = record_filter.select(every)
    counted = [record for record in chosen if record.stage == stage and record.selection != "oracle"]
    tuned = PresetStore(store.root)
    altered = [record for record in store.altered if record.stage == stage and record.selection != "oracle"]
    data = DataPlaces(datasets, data_root)
    counted, beside = data.on_their_content(counted)
    spanned = survey(counted, tuned, seeds, [*altered, *beside])
    folder = Path(os.path.abspath(plan or DEFAULT_PLAN)).parent  # noqa: PTH100  (links stay as they were written)
    asked = [
        word
        for flag, terms in (("-m", methods), ("-d", datasets), ("-p", protocols))
        for term in terms
        for word in (flag, term)
    ]
    asked += ["--stage", stage] if stage != "final" else []
    asked += ["--seeds", str(seeds)] if seeds is not None else []
    asked += ["--data-root", str(data_root)] if data_root is not None else []
    result = Status(
        survey=spanned,
        plan=plan_text(spanned, data, store.root, stage, folder),
        asked=(*asked, *runs_option(store.root)),
        others=sum(record.stage != stage and record.selection != "oracle" for record in chosen),
        oracle=sum(record.selection == "oracle" for record in chosen),
        stage=stage,
        versions=_versions(counted),
        broken=tuple(reason for _, reason in store.broken),
        altered=tuple(altered),
        unread=any(path.is_dir() for path, _ in store.broken),
        verification=verify_metrics(store, chosen) if verify else None,
    )
    if plan is not None and result.plan:
        write_plan(result.plan, plan)
    commands = _commands(result, data, tuned, plan)
    written = "\n".join((result.plan, *(command.text for command in commands)))
    return dataclasses.replace(result, commands=commands, replace=tuple(advice_on_placeholders(spanned, data, written)))


def _versions(records: Sequence[Record]) -> tuple[tuple[str, int], ...]:
    counts = Counter(str(record.provenance.get("zslbench", zslbench.__version__)) for record in records)
    return tuple(sorted((version, number) for version, number in counts.items() if version != zslbench.__version__))


def _commands(status: Status, data: DataPlaces, tuned: PresetStore, plan: Path | None) -> tuple[Command, ...]:
    """Return what to type: to tune first, to write the plan where none is written, and to run it."""
    commands = [Command("tune first", text) for text in tune_commands(status.survey, data, tuned)]
    if not status.plan:
        return tuple(commands)
    if plan is None:
        words = ["zslbench", "status", *status.asked, "--write-plan", DEFAULT_PLAN]
        commands.append(Command("write a plan file of what is missing, failed or stale", shlex.join(words)))
    run = ["zslbench", "run", "--plan", str(plan or DEFAULT_PLAN)]
    to_do, varied = runs_to_do(status.survey)
    states = {status.survey.states[slot] for slot in to_do}
    for purpose, wanted, rerun in (
        ("do what is missing", {"missing", "unfinished"}, []),
        ("try again what failed", {"failed"}, ["--rerun", "failed"]),
        ("do again what is stale", {"stale"}, ["--rerun", "stale"]),
    ):
        if states & wanted:
            commands.append(Command(purpose, shlex.join([*run, *rerun])))
    if varied:
        commands.append(Command(VARIED, shlex.join(run)))
    return tuple(commands)
