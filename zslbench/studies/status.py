"""`status`: what the records lack, what failed or is stale, whether metrics follow from predictions, and what to do."""

from __future__ import annotations

import dataclasses
import os
import shlex
import textwrap
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast, get_args

import zslbench
from zslbench.arrays import AnyArray
from zslbench.data.splits import STAGES, Stage
from zslbench.errors import BadValue, StoreError, ZslbenchError
from zslbench.files import json_text
from zslbench.metrics import NEEDS_ONE_SCALE
from zslbench.results.analysis.gather import RecordFilter
from zslbench.results.records.live_studies import list_running_fits
from zslbench.results.records.record import Record
from zslbench.results.records.requests import load_requested
from zslbench.results.records.store import ResultStore, runs_option, unite_origins
from zslbench.results.records.training_states import StateHeader, read_headers
from zslbench.results.records.tuned_presets import PresetStore
from zslbench.results.tables.render import check_format, render
from zslbench.results.tables.result import VerbResult
from zslbench.results.tables.table import Table, text_table
from zslbench.runner.class_lookup import import_typed, recorded_protocol
from zslbench.runner.plan import MOST_SEEDS, as_text_list
from zslbench.studies import status_plan
from zslbench.studies.survey import DataChoice, ExpectedRun, ExpectedRunState, Survey, is_of_session, method_in, survey
from zslbench.visible import describe_failure, format_count, list_names

FORMATS = ("terminal", "json")
TOLERANCE = 1e-12
DEFAULT_PLAN = "missing.toml"
MOST_SHOWN = 20
"""Groups of runs that failed or were cut short of which the text tells."""
_Metrics = Callable[[Mapping[str, AnyArray]], Mapping[str, float]]


@dataclasses.dataclass(frozen=True)
class Verification:
    """The result of recomputing metrics.

    Attributes:
        verified: how many records agree in every metric.
        mismatches: record id and a sentence for each that does not agree, or whose predictions are damaged.
        lacking: ids of records without predictions.
        skipped: id and reason of records whose protocol can no longer judge them.
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
            if cls is None:
                raise BadValue(f"no module is imported for it; name it with -p {name}")
            protocol = cls(**record.protocol.get("params", {}))
        except (ZslbenchError, TypeError) as error:
            skipped.append((record.id, f"its protocol cannot be used: {error}"))
            continue
        if protocol.card.version != record.protocol.get("version", 1):
            skipped.append((record.id, f"its protocol is now version {protocol.card.version}"))
        elif not store.path(record).with_suffix(".npz").exists():
            lacking.append(record.id)
        elif problem := _compare_metrics(store, record, protocol.metrics):
            mismatches.append((record.id, problem))
        else:
            verified += 1
    return Verification(verified, tuple(mismatches), tuple(lacking), tuple(skipped))


def _compare_metrics(store: ResultStore, record: Record, metrics: _Metrics) -> str:
    """Return what disagrees in one record; empty when nothing does."""

    def show(value: float | None) -> str:
        return "absent" if value is None else f"{value:.12g}"

    try:
        computed = metrics(store.predictions(record))
    except StoreError as error:
        return str(error)
    except Exception as error:  # arrays of the wrong shape or name, say
        return f"its predictions cannot be judged ({type(error).__name__}: {error})"
    names = sorted(({*computed} - {*NEEDS_ONE_SCALE}) | {*record.metrics})  # a cascade's record has no AUSUC
    pairs = {name: (record.metrics.get(name), computed.get(name)) for name in names}
    return "; ".join(
        f"{name} is {show(kept)} in the record, but {show(value)} from its predictions"
        for name, (kept, value) in pairs.items()
        if kept is None or value is None or not abs(value - kept) <= TOLERANCE
    )


@dataclasses.dataclass(frozen=True)
class Command:
    """A shell command and its purpose."""

    purpose: str
    text: str


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class StatusReport(VerbResult):
    """What `status` found.

    Attributes:
        root: the folder of records.
        survey: the expected runs, and the state of each.
        plan: the text of a plan file with the missing runs; empty if nothing is missing.
        commands: what to type, in order.
        replace: words in the commands that the user must replace, since no record holds them, with advice.
        stage: the stage of these runs.
        others, oracle: records of the other stage, and candidates for oracle selection; both are not among these runs.
        versions: other versions of zslbench and how many records they made.
        half_trained: each training that was killed, whatever its row: the same command goes on from its state.
        broken: one sentence per file that is not a record.
        running: how many fits run now.
        damaged: whether the content of a record does not match its id (it was changed by hand), or a folder could not
            be read.
        verification: of the metrics, if it was requested.
        text: all of this, in the requested format.
    """

    root: Path
    survey: Survey
    plan: str
    commands: tuple[Command, ...]
    replace: tuple[str, ...]
    others: int
    oracle: int
    stage: str
    versions: Mapping[str, int]
    half_trained: tuple[StateHeader, ...]
    broken: tuple[str, ...]
    running: int
    damaged: bool
    verification: Verification | None
    text: str = ""

    def __repr__(self) -> str:
        counts = Counter(self.survey.states.values())
        return f"<Status: {', '.join(f'{many} {state}' for state, many in counts.items()) or 'no runs'}>"

    def lay_out(self, format: str, room: int) -> list[Table]:
        """Return the text as it stands; for papers a table of the runs that are expected."""
        if format == "html":
            return [Table((), (), drawing=_text(self, room))]
        runs = self.list_facts()
        heads = ("row", "dataset", "protocol", "seed", "state")
        return [text_table("", heads, [[str(run[head]) for head in heads] for run in runs], words=(1, 2, 4))]

    def list_facts(self) -> list[dict[str, Any]]:
        """Return one row per expected run, with its state."""
        runs: list[dict[str, Any]] = _document(self)["runs"]
        return runs

    def write_json(self) -> str:
        """Return all of it as JSON."""
        return json_text(_document(self))

    @property
    def complete(self) -> bool:
        """Whether nothing is missing, failed or stale."""
        return all(state == "done" for state in self.survey.states.values()) and not (
            self.survey.untuned or self.damaged
        )


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
) -> StatusReport:
    """Say which runs, among those that commands and plan files asked for, are missing, failed or stale.

    An interrupted command leaves in the folder what it asked for. A run that nobody asked for is not missing.

    Args:
        runs: the folder of records.
        methods, datasets, protocols: which runs; a data set of your own may be given as its folder, which the written
            plan then names.
        stage: ``final`` or ``dev``.
        seeds: how many seeds each row should have, if it has or lacks any; None: those that were asked for.
        verify: recompute every metric of all stages from the stored predictions.
        format: ``terminal`` or ``json``.
        write_plan: a plan file for the missing runs, written if there are any; ``run(plan=…)`` computes them. A file
            that status did not write is not replaced.
        data_root: a folder of data sets, for the plan.
        width: characters per line; None: the terminal's.

    Raises:
        BadValue: a name that no record has, or a `write_plan` file that status did not write.
        StoreError: there are no records, or the plan cannot be written.
    """
    check_format(format, FORMATS)
    if stage not in STAGES:
        raise BadValue(f"stage {stage!r} does not exist; choose one of: {', '.join(STAGES)}.")
    if seeds is not None and not 1 <= seeds <= MOST_SEEDS:
        raise BadValue(f"seeds={seeds} is not allowed; give a number from 1 to {MOST_SEEDS}.")
    store = ResultStore(runs)
    every = store.load()
    if not every and not store.altered and not load_requested(store.root)[0]:
        raise StoreError(
            f"there are no runs in {store.root}; make some, for instance with "
            "`zslbench run --method eszsl --dataset digits`, or name their folder with --runs."
        )
    import_typed(as_text_list(methods), as_text_list(protocols))
    result = examine(
        store,
        every,
        RecordFilter(as_text_list(methods), as_text_list(datasets), as_text_list(protocols), stage=stage),
        seeds=seeds,
        verify=verify,
        data_root=Path(data_root) if data_root else None,
        plan=None if write_plan is None else Path(write_plan),
    )
    text = json_text(_document(result)) if format == "json" else _text(result, width)
    return dataclasses.replace(result, text=text)


def examine(
    store: ResultStore,
    every: Sequence[Record],
    asked: RecordFilter,
    *,
    seeds: int | None = None,
    verify: bool = False,
    data_root: Path | None = None,
    plan: Path | None = None,
) -> StatusReport:
    """Return what is missing, failed or stale according to records read before, as `status` does without the text."""
    stage = cast(Stage, asked.stage)
    of_any_stage = dataclasses.replace(asked, stage=None)
    requested, problems = load_requested(store.root)
    united = unite_origins([*every, *requested])
    every, requested = united[: len(every)], united[len(every) :]
    of_any_stage.check_terms([*every, *requested], store.root)
    chosen = of_any_stage.select(every)
    counted = [record for record in chosen if record.stage == stage and record.selection != "oracle"]
    tuned = PresetStore(store.root)
    altered = [record for record in store.altered if record.stage == stage and record.selection != "oracle"]
    data = status_plan.DataPlaces(asked.datasets, data_root, [*every, *requested])
    counted, beside = data.match_content([*counted, *asked.select(requested)])
    beside += [record for record in counted if not record.id]  # asked for, whether it was done or not
    counted = [record for record in counted if record.id]
    fits = list_running_fits(store.root)
    running, runs_now = [fit for fit in fits if fit.stage == stage], {fit.run for fit in fits}
    spanned = survey(counted, tuned, seeds, [*altered, *beside]).with_running(running)
    versions = Counter(str(record.provenance.get("zslbench", zslbench.__version__)) for record in counted)
    del versions[zslbench.__version__]
    folder = Path(os.path.abspath(plan or DEFAULT_PLAN)).parent  # noqa: PTH100  (links stay as they were written)
    half_trained = tuple(header for _, header in read_headers(store.root) if runs_now.isdisjoint(header.runs))
    to_do = status_plan.plan_text(spanned, data, store.root, stage, folder, half_trained)
    verification = verify_metrics(store, chosen) if verify else None
    commands = [Command("tune first", text) for text in status_plan.tune_commands(spanned, data, tuned)]
    if to_do:
        if plan is not None:
            status_plan.write_plan(to_do, plan)
        else:
            commands.append(_writing_command(asked, seeds, data_root, store.root))
        commands += _running_commands(spanned, plan or Path(DEFAULT_PLAN))
    written = "\n".join((to_do, *(command.text for command in commands)))
    return StatusReport(
        root=store.root,
        survey=spanned,
        plan=to_do,
        commands=tuple(commands),
        replace=tuple(status_plan.advice_on_placeholders(spanned, data, written)),
        others=sum(record.stage != stage and record.selection != "oracle" for record in chosen),
        oracle=sum(record.selection == "oracle" for record in chosen),
        stage=stage,
        versions=dict(sorted(versions.items())),
        half_trained=half_trained,
        broken=(*(reason for _, reason in store.broken), *problems),
        running=len(running),
        damaged=bool(altered) or any(path.is_dir() for path, _ in store.broken),
        verification=verification,
    )


def _writing_command(asked: RecordFilter, seeds: int | None, data_root: Path | None, runs: Path) -> Command:
    terms = (("-m", asked.methods), ("-d", asked.datasets), ("-p", asked.protocols))
    words = ["zslbench", "status", *(word for flag, names in terms for name in names for word in (flag, name))]
    words += ["--stage", "dev"] if asked.stage == "dev" else []
    words += ["--seeds", str(seeds)] if seeds is not None else []
    words += ["--data-root", str(data_root)] if data_root is not None else []
    words += [*runs_option(runs), "--write-plan", DEFAULT_PLAN]
    return Command("write a plan file of what is missing, failed or stale", shlex.join(words))


def _running_commands(survey: Survey, plan: Path) -> list[Command]:
    run = ["zslbench", "run", "--plan", str(plan)]
    states = {survey.states[slot] for slot in status_plan.runs_to_do(survey)}
    purposes = (
        ("do what is missing", states & {"missing", "unfinished"}, ()),
        ("try again what failed", states & {"failed"}, ("--rerun", "failed")),
        ("do again what is stale", states & {"stale"}, ("--rerun", "stale")),
    )
    return [Command(purpose, shlex.join([*run, *rerun])) for purpose, wanted, rerun in purposes if wanted]


def _text(status: StatusReport, width: int | None) -> str:
    survey = status.survey
    matrices = [matrix(survey, place) for place in survey.places]
    paragraphs = [[render(matrices, "terminal", width, piped=120).rstrip("\n")]] if survey.rows else []
    commands = []
    for purpose in dict.fromkeys(command.purpose for command in status.commands):
        commands.append(f"To {purpose}:")
        commands += [f"  {command.text}" for command in status.commands if command.purpose == purpose]
    paragraphs += [trouble(survey), remarks(status), commands and [*commands, *status.replace]]
    if status.complete and survey.states:
        datasets = {place.dataset for place in survey.places}
        span = f"{format_count(len(survey.rows), 'row')} on {format_count(len(datasets), 'data set')}"
        runs = format_count(len(survey.of("done")), "run")
        paragraphs.append([f"complete: {span} under {', '.join(survey.protocols)}: {runs}"])
    if verified := status.verification:
        again = f"no predictions: {', '.join(verified.lacking)}; `zslbench run … --rerun all` makes them"
        paragraphs.append(
            [
                f"verified: the metrics of {format_count(verified.verified, 'record')} follow from their predictions",
                *(f"MISMATCH: run {name}: {why}" for name, why in verified.mismatches),
                *([again] if verified.lacking else []),
                *(f"not verified: run {name}: {why}" for name, why in verified.skipped),
            ]
        )
    return "\n\n".join("\n".join(lines) for lines in paragraphs if lines) + "\n"


def matrix(survey: Survey, place: DataChoice) -> Table:
    """Return the states of the runs at one place: rows down, protocols across."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for slot, state in survey.states.items():
        if slot.place == place:
            counts.setdefault((slot.row, slot.protocol), Counter())[state] += 1

    def cell(row: str, rules: str) -> str:
        if (row, place, rules) in survey.untuned:
            return "not tuned"
        if numbers := counts.get((row, rules)):
            return ", ".join(f"{numbers[state]} {state}" for state in get_args(ExpectedRunState) if numbers[state])
        return "–"

    expected = {row for row, _ in counts}
    rows = [(row, *(cell(row, rules) for rules in survey.protocols)) for row in survey.rows if row in expected]
    heads = ("row", *survey.protocols)
    return text_table(survey.names[place], heads, rows, words=range(1, len(heads)))


def trouble(survey: Survey) -> list[str]:
    """Return a line for each run that failed or was cut short, the last line of its error in it."""
    groups: dict[tuple[str, str, DataChoice, str], list[ExpectedRun]] = {}
    for slot in survey.of("failed", "unfinished"):
        record = survey.records[slot]
        why = describe_failure(record.error)
        groups.setdefault((record.status, slot.row, slot.place, textwrap.shorten(why, 200)), []).append(slot)
    lines = []
    for (state, row, place, why), slots in list(groups.items())[:MOST_SHOWN]:
        rules = "+".join(sorted({slot.protocol for slot in slots}, key=survey.protocols.index))
        folds = sorted({slot.fold for slot in slots} - {0})
        seeds = ", ".join(map(str, sorted({slot.seed for slot in slots})))
        where = f"{survey.names[place]} {rules}{' dev' + ','.join(map(str, folds)) if folds else ''}, seeds {seeds}"
        lines.append(f"{state}: {row} on {where}" + (f": {why}" if why else ""))
    if len(groups) > MOST_SHOWN:
        lines.append(f"and {len(groups) - MOST_SHOWN} more rows and data sets of which runs failed or were cut short")
    return lines


def remarks(status: StatusReport) -> list[str]:
    """Return sentences on what is stale, outdated, of another version or stage, or no record."""
    survey = status.survey
    lines = []
    if status.running:
        fits = format_count(status.running, "fit", "is")
        watch = shlex.join(["zslbench", "watch", *runs_option(status.root)])
        lines.append(f"{fits} running now, and what is missing may be next; see how far with `{watch}`")
    if stale := survey.of("stale"):
        names = list_names(dict.fromkeys(method_in(slot.row) for slot in stale), 6)
        lines.append(f"stale: the source of the method has changed since {format_count(len(stale), 'run')} of {names}")
    if survey.outdated:
        names = list_names(sorted({record.label for record in survey.outdated}), 6)
        lines.append(
            f"outdated: {format_count(len(survey.outdated), 'run')} of {names}, made by another version of the method, "
            "with values that the name no longer stands for, or on other content of the data"
        )
    if survey.replaced:
        names = list_names(sorted({record.label for record in survey.replaced}), 6)
        lines.append(
            f"replaced: {format_count(len(survey.replaced), 'more run')} of {names}, not counted above, "
            "whose preset has other values now"
        )
    lines += [
        f"{row} was defined in a script or notebook: what it lacks is done there, by running that again"
        for row in dict.fromkeys(slot.row for slot, state in survey.states.items() if state != "done")
        if is_of_session(row)
    ]
    failed = {survey.records[slot].id for slot in survey.of("failed")}
    for header in status.half_trained[:MOST_SHOWN]:
        command = "the same command" + ("" if failed.isdisjoint(header.runs) else " with --rerun failed")
        lines.append(f"half trained: {header.name}: {command} goes on from step {header.step} of {header.total}")
    lines += [f"not checked: {row}: {why}" for row, why in survey.unimportable.items()]
    lines += [f"{format_count(number, 'run')} of zslbench {version}" for version, number in status.versions.items()]
    other = "dev" if status.stage == "final" else "final"
    aside = [f"{format_count(status.others, 'run')} of the {other} stage"] if status.others else []
    aside += [f"{format_count(status.oracle, 'candidate')} of oracle selection (†)"] if status.oracle else []
    if aside:
        lines.append(f"not counted above: {' and '.join(aside)}")
    lines += list(status.broken)
    return lines


def _document(status: StatusReport) -> dict[str, Any]:
    survey, verification = status.survey, status.verification
    return {
        "complete": status.complete,
        "stage": status.stage,
        "rows": list(survey.rows),
        "datasets": [_place_facts(place) for place in survey.places],
        "protocols": list(survey.protocols),
        "runs": [
            {
                "row": slot.row,
                **_place_facts(slot.place),
                "protocol": slot.protocol,
                "fold": slot.fold,
                "seed": slot.seed,
                "state": state,
                "id": record.id if record else None,
                "status": record.status if record else None,
                "error": describe_failure(record.error) if record else "",
            }
            for slot, state in survey.states.items()
            for record in [survey.records.get(slot)]
        ],
        "untuned": [
            {"row": row, "protocol": rules, "preset": name, **_place_facts(place)}
            for (row, place, rules), name in survey.untuned.items()
        ],
        "outdated": [record.id for record in survey.outdated],
        "replaced": [record.id for record in survey.replaced],
        "unimportable": dict(survey.unimportable),
        "half_trained": [
            {"name": header.name, "ids": list(header.runs), "step": header.step, "total": header.total}
            for header in status.half_trained
        ],
        "other_versions": dict(status.versions),
        "other_stage": status.others,
        "oracle_candidates": status.oracle,
        "broken": list(status.broken),
        "commands": [{"purpose": command.purpose, "command": command.text} for command in status.commands],
        "replace": list(status.replace),
        "verification": verification
        and {
            "verified": verification.verified,
            "mismatches": [{"id": name, "problem": why} for name, why in verification.mismatches],
            "lacking": list(verification.lacking),
            "skipped": [{"id": name, "reason": why} for name, why in verification.skipped],
        },
    }


def _place_facts(place: DataChoice) -> dict[str, str]:
    facts = {"dataset": place.dataset, "features": place.features, "semantics": place.semantics}
    return facts | ({"fingerprint": place.content} if place.content else {})
