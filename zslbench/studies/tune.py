"""`tune`: choose a method's hyper-parameters in the dev stage, and keep them as a preset ``NAME@tuned``."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import math
import operator
import re
import shlex
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from zslbench.errors import BadValue, StoreError
from zslbench.files import csv_text, json_text
from zslbench.params import Scalar
from zslbench.results.records.store import ResultStore, data_options, runs_option
from zslbench.results.records.tuned_presets import DEFAULT_NAME, PresetStore, TunedPreset
from zslbench.results.tables.render import check_format, render
from zslbench.results.tables.result import VerbResult
from zslbench.results.tables.table import Table, remarks, text_table
from zslbench.results.tables.table_data import pick_facts
from zslbench.runner.class_lookup import method_class, protocol_class
from zslbench.runner.executors import Executor, Listener, SerialExecutor
from zslbench.runner.jobs import DatasetRef, Run, group_into_batches
from zslbench.runner.live_file_writer import LiveFile, keep_live_file
from zslbench.runner.outcome import Outcome, say_how_to_go_on
from zslbench.runner.plan import DEFAULT_PROTOCOLS, Precision, RunOptions, as_text_list, plan
from zslbench.runner.probe import forecast, show_preparation
from zslbench.runner.progress_display import choose_console, show_progress
from zslbench.runner.resources import parse_seconds
from zslbench.runner.run_states import Rerun
from zslbench.sources import source_of
from zslbench.spec import parse, write_value
from zslbench.studies import search as searches
from zslbench.studies.search import BestSoFar, Interrupted, Result, Sampler, Search, Trial
from zslbench.studies.search_space import at_edges, narrow_space
from zslbench.visible import format_count, name_data, title_data

if TYPE_CHECKING:
    from rich.console import Console

TRIALS = 30
"""Trials of a sampler when neither their number nor a time limit is given."""
FORMATS = ("terminal", "markdown", "csv", "json")
_TOP = 5
"""Best trials that a summary shows."""
_NAME = re.compile(r"\w[\w.-]*")


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Tuning(VerbResult):
    """What a search tried and what it chose.

    Attributes:
        given: the spec as it was typed.
        presets: one per protocol; empty if no trial finished or the search was interrupted.
        wider: by protocol, the values searched and further ones, if the best is the lowest or highest of those.
        oracle: the runs of the final stage, if they were requested.
        remarks: sentences for the user.
        interrupted: whether the search was stopped early.
        format: of `text`.
    """

    given: str
    search: Search
    trials: tuple[Trial, ...]
    presets: tuple[TunedPreset, ...]
    wider: Mapping[str, Mapping[str, tuple[Scalar, ...]]]
    oracle: Outcome | None = None
    remarks: tuple[str, ...] = ()
    interrupted: bool = False
    format: str = "terminal"

    def __repr__(self) -> str:
        data = title_data(self.dataset.name)
        return f"<Tuning of {self.search.start[0].method} on {data}: {format_count(len(self.trials), 'trial')}>"

    @property
    def text(self) -> str:
        """What the command line prints: a summary (terminal, markdown), or every trial (csv, json)."""
        if self.format == "csv":
            return csv_text(self.list_facts())
        return self.write_json() if self.format == "json" else describe_tuning(self, self.format)

    def lay_out(self, format: str, room: int) -> list[Table]:
        """Return the best trials under each protocol."""
        titles = (
            f"{preset.protocol}: best of {format_count(len(self.trials), 'trial')}, dev stage"
            for preset in self.presets
        )
        tables = [_best_trials(self, preset, title) for preset, title in zip(self.presets, titles, strict=True)]
        below = tuple(remarks("note", [*self.remarks, *_describe_next(self)]))
        last = tables.pop() if tables else Table((), ())
        return [*tables, dataclasses.replace(last, remarks=below)]

    def list_facts(self) -> list[dict[str, Any]]:
        """Return one row per trial."""
        return [_trial_facts(self, number, trial) for number, trial in enumerate(self.trials, start=1)]

    def write_json(self) -> str:
        """Return the trials with the space that was searched and the presets, as JSON."""
        return json_text(
            {
                "method": self.given,
                "stage": "dev",
                "sampler": self.sampler,
                "space": self.search.space.words(),
                "trials": self.list_facts(),
                "presets": [dataclasses.asdict(preset) for preset in self.presets],
                "remarks": list(self.remarks),
                "interrupted": self.interrupted,
            }
        )

    @property
    def dataset(self) -> DatasetRef:
        """The data that was tuned on."""
        return self.search.start[0].dataset

    @property
    def sampler(self) -> Sampler:
        """How points were chosen: grid, tpe or random."""
        return self.search.sampler

    @property
    def counts(self) -> dict[str, int]:
        """How many trials ended in each state."""
        return dict.fromkeys(get_args(Result), 0) | Counter(trial.result for trial in self.trials)


def tune(
    method: str,
    dataset: str,
    protocols: str | Sequence[str] = DEFAULT_PROTOCOLS,
    *,
    features: str | None = None,
    semantics: str | None = None,
    only: str | Sequence[str] = (),
    sampler: Sampler = "auto",
    trials: int | None = None,
    time_limit: str | float | None = None,
    checkpoints: str = "last",
    prune: bool = True,
    fold: int | Sequence[int] | None = None,
    seed: int = 0,
    name: str = DEFAULT_NAME,
    runs: Path | str = "runs",
    data_root: Path | str | None = None,
    device: str = "auto",
    precision: Precision = "float32",
    engine: Executor | None = None,
    rerun: Rerun | None = None,
    oracle: bool = False,
    progress: bool | None = None,
    console: Console | None = None,
    format: str = "terminal",
) -> Tuning:
    """Choose a method's hyper-parameters in the dev stage, and keep them as a preset that ``NAME@tuned`` names.

    Each point of the method's space is fitted on training classes and judged on validation classes, in every fold. The
    point with the best mean over the folds wins, separately for each protocol. No test image is used. Every run is
    kept as a record, so the same command continues a search that was interrupted.

    Args:
        method: a spec. A value that it gives stays fixed; a grid in it lists the values to try.
        dataset, features, semantics, data_root: the data, as in `run`.
        protocols: each gets a preset; a sampler is guided by the mean of their metrics (T1, H).
        only: hyper-parameters to tune; all others stay as they are.
        sampler: ``grid`` (every point), ``tpe``, ``random``, or ``auto``: the grid if it is finite, has at most 1,000
            points and the method fits its points together; otherwise TPE.
        trials: how many points a sampler tries in all, including those of earlier calls.
        time_limit: start no trial after this time: seconds, or a text such as ``30m``.
        checkpoints: ``every:N`` judges each fit every N epochs. With `prune`, a fit that is worse than the median of
            earlier trials is stopped.
        fold: one fold of the dev stage, or several; None: all.
        seed: of the sampler and of every fit.
        name: of the preset.
        runs, device, precision, rerun, progress, console: see `zslbench.run`.
        engine: where the fits of a grid are computed, see `zslbench.engine`. A sampler computes its fits in this
            process, one after the other.
        oracle: afterwards, also run every point on the test images (†), to show how much picking on them would have
            added. The preset does not depend on it.
        format: of the text: ``terminal``, ``markdown``, ``csv`` or ``json`` (every trial).

    Raises:
        ZslbenchError: a request that cannot be met: nothing was run. Or files that cannot be written any more.
    """
    check_format(format, FORMATS)
    spec = parse(method)
    cls = method_class(spec.name)
    if not _NAME.fullmatch(name):
        raise BadValue(f"a preset cannot be named {name!r}; use letters, digits, '.', '-' and '_'.")
    if name in cls.presets or name in cls.ablations:
        raise BadValue(f"{spec.name}@{name} is a preset that the method brings; choose another --name.")
    if trials is not None and trials < 1:
        raise BadValue(f"trials {trials} is not allowed; choose a whole number of at least 1.")
    limit = parse_seconds(time_limit)
    ends = math.inf if limit is None else time.monotonic() + limit
    start, space = narrow_space(spec, cls, as_text_list(only))
    sampler = searches.choose_sampler(sampler, space, cls.offers_grid())
    if sampler != "grid" and engine is not None and not isinstance(engine, SerialExecutor):
        raise BadValue(
            f"the sampler {sampler} suggests each trial from those before and may stop a fit, so its fits are done one "
            "by one in this process; leave --engine and --workers out, or use --sampler grid."
        )
    options = RunOptions(
        [str(start)],
        [dataset],
        as_text_list(protocols),
        features=features,
        semantics=semantics,
        seeds=[seed] if cls.card.stochastic else [0],
        stage="dev",
        fold=fold,
        data_root=str(data_root) if data_root else None,
        checkpoints=checkpoints,
        precision=precision,
    )
    store = PresetStore(runs)
    planned = plan(options, store).runs
    metrics, folds = _choose_metrics(planned), tuple(dict.fromkeys(run.fold for run in planned))
    search = Search(
        spec=start,
        space=space,
        sampler=sampler,
        seed=seed,
        most=TRIALS if trials is None and time_limit is None else trials,
        ends=ends,
        options=options,
        start=[run for run in planned if run.fold == planned[0].fold],
        metrics=metrics,
        folds=folds,
        prune=prune and checkpoints != "last",
        runs=Path(runs),
        device=device,
        engine=engine,
        rerun=rerun,
        best=BestSoFar(metrics, folds),
    )
    records = ResultStore(runs)
    records.check_writable()
    console = choose_console(console, progress)
    times = search.most or (space.size if sampler == "grid" else None) or 1
    with show_preparation(planned, console):
        work = group_into_batches(planned, options.how(device))
    interrupted, tried, remarks = False, list[Trial](), list[str]()
    try:
        forecast(work, records.load, engine or SerialExecutor(), console, trials=times)
    except KeyboardInterrupt:
        interrupted = True
    if not interrupted:
        with keep_live_file(Path(runs), growing=True) as live, _show_search(search, live, console) as screen:
            tried, remarks, interrupted = _try_points(dataclasses.replace(search, screen=screen), name)
    remarks += _describe_rest(search, tried, trials, interrupted)
    best = {} if interrupted else best_of(tried, search.metrics)
    edges = {protocol: at_edges(space, trial.values, cls) for protocol, trial in best.items()}
    presets = [
        _make_preset(search, protocol, trial, tried, name=name, given=method, at_edge=tuple(edges[protocol]))
        for protocol, trial in best.items()
    ]
    remarks += [remark for preset in presets for remark in _describe_replaced(store, preset)]
    for preset in presets:
        store.save(preset)
    finished = [trial.values for trial in tried if trial.result == "ok"]
    final: Outcome | None = None
    if oracle and presets:
        with (
            keep_live_file(Path(runs), growing=True) as live,
            show_progress(console, None, live.study, lambda: "all points on the test images (†)") as screen,
        ):
            final = dataclasses.replace(search, screen=screen, best=None).run_final_stage(finished)
    return Tuning(
        given=method,
        search=search,
        trials=tuple(tried),
        presets=tuple(presets),
        wider=edges,
        oracle=final,
        remarks=tuple(dict.fromkeys(remarks)),
        interrupted=interrupted,
        format=format,
    )


def _show_search(
    search: Search, live: LiveFile, console: Console | None
) -> contextlib.AbstractContextManager[Listener]:
    """Show a search in one line: how much of it is done, and the best so far."""
    best = search.best
    assert best is not None
    if search.sampler == "grid":  # of which all is known before, unless a time limit may end it
        whole = math.isinf(search.ends)
        return show_progress(console, None, lambda: dataclasses.replace(live.study(), growing=not whole), best.say)
    return show_progress(console, None, live.study, best.say, lambda: (best.trials, search.most))


def _choose_metrics(planned: Sequence[Run]) -> dict[str, str]:
    """Return what is maximised under each protocol: H where there is one, else the first of its metrics."""
    if len({run.dataset for run in planned}) > 1:
        raise BadValue("tune takes one data set at a time; name one, and type the command again for the next.")
    names = [run.protocol for run in planned if run.fold == planned[0].fold]
    if len(set(names)) < len(names):
        raise BadValue("tune keeps one preset per protocol; name each protocol once.")
    metrics = {name: protocol_class(name).card.metrics for name in names}
    return {name: "H" if "H" in of_protocol else of_protocol[0] for name, of_protocol in metrics.items()}


def _try_points(search: Search, name: str) -> tuple[list[Trial], list[str], bool]:
    """Try points; return the trials, remarks, and whether it was interrupted."""
    tried: list[Trial] = []
    remarks: list[str] = []
    first, protocols = search.start[0], "+".join(search.metrics)
    data = first.dataset
    try:
        if search.sampler == "grid":
            tried.extend(searches.try_grid(search))
            return tried, remarks, False
        path = PresetStore(search.runs).path(
            name, first.method, data.name, data.features, data.semantics, protocols, ".db"
        )
        with searches.open_study(path, search.id, afresh=search.rerun not in (None, "none")) as (study, others):
            if others and not study.trials:
                remarks.append(
                    f"{path.name} holds {others} earlier {'search' if others == 1 else 'searches'} of another space, "
                    "seed, sampler, other folds or an earlier source of the method; this one starts anew, "
                    "and runs that are done are not repeated."
                )
            tried.extend(searches.try_suggestions(search, study))
    except Interrupted:
        return tried, remarks, True
    return tried, remarks, False


def _describe_rest(search: Search, tried: Sequence[Trial], trials: int | None, interrupted: bool) -> list[str]:
    """Say what the search left aside, took as it was, did again or had no time for."""
    remarks = []
    wanted = search.space.size if search.sampler == "grid" else search.most
    if search.sampler == "grid" and trials is not None:
        remarks.append(f"a grid tries each of its {wanted} points; --trials is not used.")
    if search.stale:
        remarks.append(
            f"{format_count(len(search.stale), 'run', 'was')} made by an earlier source of the method and taken as "
            "they are; --rerun stale does them again."
        )
    if search.remade:
        remarks.append(
            f"{format_count(len(search.remade), 'run', 'was')} made by an earlier source of the method and done again "
            "(--rerun none keeps such)."
        )
    now = search.options.how(search.device).precision
    if others := [trial.precisions for trial in tried if {*trial.precisions} - {now}]:
        named = ", ".join(sorted(set[str]().union(*others) - {now}))
        trials_were = format_count(len(others), "trial", "was")
        remarks.append(
            f"{trials_were} trained at another precision ({named}) and taken as they are; --rerun all does all of the "
            f"search again in {now}."
        )
    if search.out_of_time and wanted is not None and len(tried) < wanted and not interrupted:
        remarks.append(
            f"the time was up after {len(tried)} of {format_count(wanted, 'trial')}; the same command goes on."
        )
    return remarks


def best_of(tried: Sequence[Trial], metrics: Mapping[str, str]) -> dict[str, Trial]:
    """Return the trial with the best mean under each protocol, the first of equals."""
    ok = [trial for trial in tried if trial.result == "ok"]
    return {protocol: max(ok, key=lambda trial: trial.mean(protocol)) for protocol in metrics} if ok else {}


def _make_preset(search: Search, protocol: str, best: Trial, tried: Sequence[Trial], **facts: Any) -> TunedPreset:
    first = search.start[0]
    return TunedPreset(
        method=first.method,
        version=search.method.card.version,
        source=source_of(search.method).digest,
        dataset=first.dataset.name,
        **pick_facts(first.dataset, "features", "semantics", "fingerprint"),
        protocol=protocol,
        metric=search.metrics[protocol],
        values=dict(best.params[protocol]),
        score=best.mean(protocol),
        folds=search.folds,
        fold_scores=best.scores[protocol],
        sampler=search.sampler,
        seed=search.seed,
        space=search.space.words(),
        trials=dict(Counter(trial.result for trial in tried)),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **facts,
    )


def _describe_replaced(store: PresetStore, new: TunedPreset) -> list[str]:
    """Say that a preset of another search, or with other values, gives way."""
    try:
        old = store.find(new.name, new.method, new.dataset, new.features, new.semantics, new.protocol)
    except StoreError:
        return []  # a damaged one gives way in silence
    asked = operator.attrgetter("given", "space", "folds", "fingerprint", "values")
    if old is None or asked(old) == asked(new):
        return []
    names = [name for name, value in new.values.items() if old.values.get(name, value) != value]
    changes = ", ".join(f"{name}={write_value(old.values[name])} by {write_value(new.values[name])}" for name in names)
    where = f"fold{'s' if len(old.folds) > 1 else ''} {', '.join(map(str, old.folds))}"
    other = "" if old.fingerprint == new.fingerprint else " of other content of the data"
    return [
        f"{new.method}@{new.name} under {new.protocol} was tuned from {old.given} before ({old.metric} "
        f"{100 * old.score:.1f} on {where}{other}) and is replaced{changes and f' ({changes})'}; choose another "
        "--name to keep both."
    ]


def describe_tuning(tuning: Tuning, format: str = "terminal") -> str:
    """Return the summary of a search, for a terminal or in Markdown."""
    gap = "\n\n" if format == "markdown" else "\n"
    presets = [_describe_preset(tuning, preset, format, gap) for preset in tuning.presets]
    reasons = dict.fromkeys(trial.why for trial in tuning.trials if trial.result == "failed" and trial.why)
    failures = [f"why trials failed: {reason}" for reason in [*reasons][:3]]
    sentences = ["\n".join(lines) for lines in (failures, tuning.remarks, _describe_next(tuning)) if lines]
    data, counts, folds = tuning.dataset, tuning.counts, tuning.search.folds
    many = "every point of the grid" if tuning.sampler == "grid" else tuning.sampler
    search = (
        f"{tuning.given} on {title_data(name_data(data.name, data.features, data.semantics))}, dev stage, "
        f"{'folds' if len(folds) > 1 else 'fold'} {', '.join(map(str, folds))}: "
        f"{format_count(len(tuning.trials), 'trial')} ({many}): {counts['ok']} ok, {counts['failed']} failed, "
        f"{counts['pruned']} pruned. No test image was used for the choice.\n"
        f"searched  {'; '.join(f'{name}: {words}' for name, words in tuning.search.space.words().items())}"
    )
    return "\n\n".join([search, *presets, *sentences]) + "\n"


def _trial_facts(tuning: Tuning, number: int, trial: Trial) -> dict[str, Any]:
    facts: dict[str, Any] = {"trial": number, "result": trial.result} | dict(trial.values)
    for protocol, metric in tuning.search.metrics.items():
        scores = trial.scores.get(protocol, [""] * len(tuning.search.folds))
        facts[f"{protocol} {metric}"] = trial.mean(protocol) if trial.scores else ""
        names = (f"{protocol} {metric} fold {fold}" for fold in tuning.search.folds)
        facts |= zip(names, scores, strict=True)
    return facts | {"why": trial.why}


def _describe_preset(tuning: Tuning, preset: TunedPreset, format: str, gap: str) -> str:
    """Return a preset's values and score, values to widen, and the table of the best trials under its protocol."""
    space, protocol = tuning.search.space, preset.protocol
    values = {name: f"{name}={write_value(preset.values[name])}" for name in space.dimensions}
    folds = ", ".join(f"{100 * score:.1f}" for score in preset.fold_scores)
    lines = [
        f"{protocol}: {preset.metric} {100 * preset.score:.1f} with {', '.join(values.values())}"
        + (f"  (folds: {folds})" if len(preset.folds) > 1 else "")
    ]
    lines += [
        f"  {values[name]} is at the end of what was searched ({space.words()[name]}); widen it, for instance with "
        f"{name}={write_value(wider)} in the spec"
        for name, wider in tuning.wider[protocol].items()
    ]
    return "\n".join(lines) + gap + render(_best_trials(tuning, preset), format).rstrip("\n")


def _best_trials(tuning: Tuning, preset: TunedPreset, title: str = "") -> Table:
    """Return a table of the best trials under the protocol of a preset."""
    protocol, values = preset.protocol, [*tuning.search.space.dimensions]
    finished = [trial for trial in tuning.trials if trial.result == "ok"]
    rows = [
        [
            *(f"{100 * score:.1f}" for score in (trial.mean(protocol), *trial.scores[protocol])),
            *map(write_value, trial.values.values()),
        ]
        for trial in sorted(finished, key=lambda trial: -trial.mean(protocol))[:_TOP]
    ]
    heads = [preset.metric, *(f"fold {fold}" for fold in preset.folds), *values]
    return text_table(title, heads, rows, words=range(len(heads) - len(values), len(heads)))


def _describe_next(tuning: Tuning) -> list[str]:
    """Say where presets are kept and which command runs them, or why there are none and what to do."""
    if tuning.interrupted:
        return [
            f"interrupted after {format_count(len(tuning.trials), 'trial')}: finished runs are kept; "
            f"{say_how_to_go_on()}"
        ]
    if not tuning.trials:
        return ["no trial was done in time, so no preset was written; type the same command with more --time-limit"]
    if not tuning.presets:
        return [
            "no trial finished, so no preset was written; mend the cause and type the same command with --rerun failed"
        ]
    data, first, store = tuning.dataset, tuning.presets[0], PresetStore(tuning.search.runs)
    words = ["zslbench", "run", "-m", f"{first.method}@{first.name}"]
    words += data_options(data.text, data.origin, data.features, data.semantics, data.root)
    if set(tuning.search.metrics) != {"zsl", "gzsl"}:
        words += [word for protocol in tuning.search.metrics for word in ("-p", protocol)]
    words += ["--seeds", "5"] if tuning.search.method.card.stochastic else []
    at = tuning.search.options.precision
    words += ([] if at == "float32" else ["--precision", at]) + runs_option(store.root)
    paths = (
        store.path(first.name, first.method, data.name, data.features, data.semantics, preset.protocol)
        for preset in tuning.presets
    )
    lines = [f"kept in {', '.join(map(str, paths))}"]
    if tuning.oracle is not None:
        done, runs = sum(record.ok for record in tuning.oracle.records), format_count(len(tuning.oracle.states), "run")
        lines.append(f"† {done} of {runs} on test images are kept as candidates of oracle selection")
    return [*lines, f"next: {shlex.join(words)}"]
