"""Searches: every point of a grid, or points that Optuna's samplers suggest, judged by metrics of the dev stage.

What Optuna knows of a search is kept in a file of its own, so that a killed search goes on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import operator
import statistics
import time
import urllib.parse
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from msgspec import convert, structs

from zslbench.errors import BadValue, StoreError, Unavailable, ZslbenchError
from zslbench.identity import canonical_json, digest
from zslbench.methods.base import Method
from zslbench.params import Between, Dimension, Scalar
from zslbench.results.records.record import Record
from zslbench.results.tables.captions import name_folds
from zslbench.results.tables.table_data import pick_facts
from zslbench.runner.class_lookup import built, method_class
from zslbench.runner.executors import Executor, Listener
from zslbench.runner.jobs import Job, Run
from zslbench.runner.outcome import Outcome
from zslbench.runner.plan import RunOptions, StudyPlan
from zslbench.runner.run import run
from zslbench.runner.run_records import RunResult, Stopped
from zslbench.runner.run_states import Rerun
from zslbench.seeding import stream_seed
from zslbench.sources import source_of
from zslbench.spec import Spec
from zslbench.studies.search_space import Point, Space
from zslbench.visible import describe_failure, format_count, format_metrics

if TYPE_CHECKING:
    import optuna

Result = Literal["ok", "failed", "pruned"]
Sampler = Literal["auto", "grid", "tpe", "random"]
MOST_POINTS = 1000
"""Points of a grid that `auto` still tries all of."""
CHUNK = 16
"""Points that are fitted together where a time limit may end a grid."""
_RANDOM_FIRST = 6
_SWITCH = ("on", "on, too", "on, as well", "off")
"""0 is tried in a quarter of the trials, before anything is known."""
_REPEATS = 50
"""A sampler that suggests nothing else than what was tried has come to its end."""
_AFTER_STEPS = 10**9
"""Added to the number of folds that are done, so that these sort after all steps of a curve."""
_MEDIAN_OF = 5
"""Trials that must have finished before any is given up for being worse than their median."""
_ENDED = "trial"
"""The attribute under which a trial that came to its end is kept."""


class Interrupted(Exception):
    """Ctrl-C, while runs were done; their records are kept."""


@dataclasses.dataclass(frozen=True)
class Trial:
    """One point that was tried.

    Attributes:
        values: of the hyper-parameters that were searched.
        result: ok, failed or pruned.
        scores: the metric in each fold, a fraction, by protocol; only of a trial that is ok.
        params: every hyper-parameter, by protocol (a preset may differ between protocols).
        why: what it failed of, or why it was pruned.
        precisions: at which its networks were trained, as recorded; only of a trial that is ok.
    """

    values: Point
    result: Result
    scores: Mapping[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)
    params: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    why: str = ""
    precisions: tuple[str, ...] = ()

    def mean(self, protocol: str) -> float:
        """Return the mean over the folds under one protocol."""
        return statistics.fmean(self.scores[protocol])

    @property
    def value(self) -> float:
        """What guides a sampler: the mean over folds, and over protocols where there are several."""
        return statistics.fmean(self.mean(protocol) for protocol in self.scores)


class BestSoFar(Listener):
    """Keeps the scores of a search's fits as they end.

    Args:
        metrics: what is maximised, by protocol; folds: all that a point is judged in.

    Attributes:
        trials: how many have come to their end; failed: runs that failed.
    """

    def __init__(self, metrics: Mapping[str, str], folds: Sequence[int]) -> None:
        self.metrics, self.folds, self.trials = metrics, folds, 0
        self._failed: set[str] = set()
        self._scores: dict[str, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))

    def finished(self, job: Job, results: Sequence[RunResult]) -> None:
        """Take in the results of a fit."""
        self.take(result.record for result in results)

    def take(self, records: Iterable[Record]) -> None:
        """Take in records, those that are known already too."""
        for record in records:
            protocol = record.protocol["name"]
            if record.ok:
                of_point = self._scores[protocol][canonical_json(dict(record.method["params"]))]
                of_point[record.fold] = record.metrics[self.metrics[protocol]]
            elif record.status not in ("skipped", "interrupted"):
                self._failed.add(record.id)

    def say(self) -> str:
        """Return the best mean under each protocol, and how many runs failed.

        It is that of points judged in all folds; before there are any, in the same folds, which are named: the first
        mean over more folds may be lower.
        """
        best: dict[str, dict[str, float]] = defaultdict(dict)
        for protocol, metric in self.metrics.items():
            means: dict[tuple[int, ...], list[float]] = defaultdict(list)
            for scores in self._scores[protocol].values():
                means[tuple(sorted(scores))].append(statistics.fmean(scores.values()))
            if means:
                folds = max(means, key=lambda folds: (len(folds), len(means[folds])))
                best["" if len(folds) == len(self.folds) else f" on {name_folds(folds)}"][metric] = max(means[folds])
        parts = [f"best so far{where}: {format_metrics(metrics)}" for where, metrics in best.items()]
        return ", ".join([*parts, *([f"{format_count(len(self._failed), 'run')} failed"] if self._failed else [])])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search:
    """What is searched, how its points are tried, and when it ends.

    Attributes:
        spec: where the search starts; a point is laid over its values.
        space: what is searched around it; sampler, seed: how.
        most: trials of a sampler; None: no end. ends: when no more may be begun, by `time.monotonic`.
        options: what is run, in the dev stage; its method is put in place point by point.
        start: the planned runs of the spec, one per protocol, in the first fold.
        metrics: what is maximised, by protocol name.
        prune: whether to give up fits that are worse than the median.
        runs, device, engine, rerun: as in `zslbench.run`.
        screen: shows progress; best: hears of all results.
        stale: ids of runs that were taken as they are, though the source of the method has changed since; remade: of
            those that were done again because it has.
    """

    spec: Spec
    space: Space
    sampler: Sampler
    seed: int
    most: int | None
    ends: float
    options: RunOptions
    start: Sequence[Run]
    metrics: Mapping[str, str]
    folds: tuple[int, ...]
    prune: bool
    runs: Path
    device: str = "auto"
    engine: Executor | None = None
    rerun: Rerun | None = None
    screen: Listener = dataclasses.field(default_factory=Listener)
    best: BestSoFar | None = None
    stale: set[str] = dataclasses.field(default_factory=set)
    remade: set[str] = dataclasses.field(default_factory=set)

    @property
    def method(self) -> type[Method]:
        """The class of the method."""
        return method_class(self.spec.name)

    @property
    def out_of_time(self) -> bool:
        """Whether no more may be begun."""
        return time.monotonic() >= self.ends

    @property
    def id(self) -> str:
        """The digest of everything that the suggestions depend on."""
        return digest(
            {
                "start": [run.identity() for run in self.start],
                "space": self.space.words(),
                "sampler": self.sampler,
                "seed": self.seed,
                "folds": list(self.folds),
                "checkpoints": self.options.checkpoints if self.prune else "last",
                "source": source_of(self.method).digest,
            }
        )

    def text(self, point: Mapping[str, Scalar]) -> str:
        """Return the spec of one point."""
        return str(dataclasses.replace(self.spec, params={**self.spec.params, **point}))

    def refused(self, point: Point) -> Trial | None:
        """Return the failed trial of a point that the method's constructor does not take."""
        try:
            for run in self.start:
                built(self.method, run.method, {**run.params, **point})
        except ZslbenchError as error:
            return Trial(point, "failed", why=str(error))
        return None

    def try_together(self, points: Sequence[Point]) -> list[Trial]:
        """Try points, all folds of all of them in one call, so that fits that share work are done together."""
        refused = {n: trial for n, point in enumerate(points) if (trial := self.refused(point))}
        good = [point for n, point in enumerate(points) if n not in refused]
        of_point: dict[tuple[Scalar, ...], list[Record]] = {}
        for record in self._run_folds(good, self.folds) if good else ():
            of_point.setdefault(tuple(record.method["params"][name] for name in points[0]), []).append(record)
        return [refused.get(n) or self._trial(point, of_point[tuple(point.values())]) for n, point in enumerate(points)]

    def try_fold_by_fold(self, point: Point, report: Callable[[int, float], str]) -> Trial:
        """Try one point fold by fold, and give it up as soon as a fold fails or `report` says why it should be pruned.

        `report` is called with a step that grows (a checkpoint of the first fold, then the number of folds that are
        done after all steps) and the value so far; it says why to stop, or nothing.
        """
        if trial := self.refused(point):
            return trial
        records: list[Record] = []
        for done, fold in enumerate(self.folds, start=1):
            listener = _CurveListener(self.metrics, report) if fold == self.folds[0] else None
            records += self._run_folds([point], [fold], listener)
            so_far = self._trial(point, records)
            if so_far.result != "ok":
                return so_far
            if listener and not listener.heard:  # an earlier call did this fold
                listener.replay(records)
            if fold != self.folds[-1] and (why := report(_AFTER_STEPS + done, so_far.value)):
                return Trial(point, "pruned", why=why)
        return so_far

    def run_final_stage(self, points: Sequence[Point]) -> Outcome:
        """Run points on the test images too, as candidates of oracle selection."""
        final = structs.replace(self.options, stage="final", fold=None, checkpoints="last", oracle=True)
        return self._run(final, points, [self.screen])

    def _run_folds(
        self, points: Sequence[Point], folds: Sequence[int], hear: Listener | None = None
    ) -> Sequence[Record]:
        options = structs.replace(self.options, fold=list(folds))
        listeners = [listener for listener in (self.best, self.screen, hear) if listener]
        outcome = self._run(options, points, listeners, rerun=self.rerun)
        if self.best:
            self.best.take(outcome.records)
        if outcome.interrupted:
            raise Interrupted
        self.stale.update(run.id for run, state in outcome.states if state == "stale")
        self.remade.update(
            run.id for run, state in outcome.states_before if state == "stale" and run.id not in self.stale
        )
        return outcome.records

    def _run(self, options: RunOptions, points: Sequence[Point], hear: Sequence[Listener], **how: Any) -> Outcome:
        plan = StudyPlan({"": structs.replace(options, methods=[self.text(point) for point in points])})
        where = pick_facts(self, "runs", "device", "engine")
        return run(plan=plan, progress=False, hear=hear, **where, **how)

    def _trial(self, point: Point, records: Sequence[Record]) -> Trial:
        if bad := next((record for record in records if not record.ok), None):
            result: Result = "pruned" if bad.status == "skipped" else "failed"
            return Trial(point, result, why=describe_failure(bad.error) or f"a run was {bad.status}")
        scores = {
            name: tuple(record.metrics[metric] for record in records if record.protocol["name"] == name)
            for name, metric in self.metrics.items()
        }
        params = {record.protocol["name"]: record.method["params"] for record in records}
        precisions = {str(record.provenance["precision"]) for record in records if "precision" in record.provenance}
        return Trial(point, "ok", scores, params, precisions=tuple(sorted(precisions)))


class _CurveListener(Listener):
    """Passes on the mean of the metrics at each checkpoint, and stops the fit when `report` says why."""

    def __init__(self, metrics: Mapping[str, str], report: Callable[[int, float], str]) -> None:
        self.metrics, self.report, self.heard = metrics, report, False
        self._waiting: dict[int, dict[str, float]] = {}

    def judged(self, job: Job, run: Run, step: int, metrics: Mapping[str, float]) -> None:
        """Report a checkpoint as soon as every protocol has been judged at it."""
        self.heard = True
        if why := self._take(run.protocol, step, metrics):
            raise Stopped(why)

    def replay(self, records: Iterable[Record]) -> None:
        """Report the curves of runs that were done before; they were good enough then."""
        points = [(point["step"], record.protocol["name"], point) for record in records for point in record.curve]
        for step, protocol, point in sorted(points, key=operator.itemgetter(0)):
            self._take(protocol, step, point["metrics"])

    def _take(self, protocol: str, step: int, metrics: Mapping[str, float]) -> str:
        by_protocol = self._waiting.setdefault(step, {})
        by_protocol[protocol] = metrics[self.metrics[protocol]]
        whole = len(by_protocol) == len(self.metrics)
        return self.report(step, statistics.fmean(by_protocol.values())) if whole else ""


def choose_sampler(sampler: Sampler, space: Space, offers_grid: bool) -> Sampler:
    """Return the sampler that is meant; `auto`: the whole grid where it is small and fitted at once, else TPE."""
    if sampler not in get_args(Sampler):
        raise BadValue(f"sampler {sampler!r} does not exist; choose one of: {', '.join(get_args(Sampler))}.")
    if sampler == "auto":
        return "grid" if offers_grid and space.size is not None and space.size <= MOST_POINTS else "tpe"
    if sampler == "grid":
        space.points()
    return sampler


def try_grid(search: Search) -> Iterator[Trial]:
    """Try every point: all together where their method fits a grid at once, else one after the other."""
    points = search.space.points()
    size = (len(points) if math.isinf(search.ends) else CHUNK) if search.method.offers_grid() else 1
    for start in range(0, len(points), size):
        if search.out_of_time:
            return
        yield from search.try_together(points[start : start + size])


def try_suggestions(search: Search, study: optuna.Study) -> Iterator[Trial]:
    """Try points that a sampler suggests until there are enough trials, the time is up or every point was tried.

    Trials of an earlier call come first, as they were kept. What was under way when that was killed or interrupted is
    tried again. The sampler starts anew at every trial, seeded by its number, so that what it suggests depends on the
    seed and on the trials before, not on when the search was cut short.
    """
    resume_search(study)
    most = search.most
    done = ended_trials(study)
    if search.best:
        search.best.trials = len(done)
    yield from done
    if not study.trials:
        study.enqueue_trial(_coded(search.space, search.start[0].params))
    while (most is None or len(done) < most) and not search.out_of_time:
        tried = {tuple(trial.values.values()) for trial in done}
        if len(tried) == search.space.size or (suggestion := _suggest_new(search, study, len(done), tried)) is None:
            return
        asked, point = suggestion

        def report(step: int, value: float, asked: optuna.Trial = asked) -> str:
            if not search.prune:
                return ""
            asked.report(value, step)
            return "worse than the median of earlier trials" if asked.should_prune() else ""

        trial = search.try_fold_by_fold(point, report)
        asked.set_user_attr(_ENDED, dataclasses.asdict(trial))
        _end(study, asked.number, trial)  # what is killed between the two steps is mended by `resume_search`
        done.append(trial)
        if search.best:
            search.best.trials = len(done)
        yield trial


def _suggest_new(
    search: Search, study: optuna.Study, done: int, tried: set[tuple[Scalar, ...]]
) -> tuple[optuna.Trial, Point] | None:
    """Ask for a point that was not tried, at random where the sampler repeats itself; None: there is none left."""
    import optuna

    start = search.start[0].params
    for repeat in range(_REPEATS):
        seed = stream_seed(search.seed, f"trial {done}, {repeat}") % 2**32
        if repeat or search.sampler == "random":
            study.sampler = optuna.samplers.RandomSampler(seed=seed)
        else:
            study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=_RANDOM_FIRST)
        asked = study.ask()
        point = {name: _suggest(asked, name, among, start[name]) for name, among in search.space.dimensions.items()}
        if tuple(point.values()) not in tried:
            return asked, point
        study.tell(asked, state=optuna.trial.TrialState.FAIL)  # samplers pass over such trials
    return None


def _suggest(asked: optuna.Trial, name: str, among: Dimension, start: Scalar | None = None) -> Scalar:
    """Let the sampler choose a value, of three digits unless it is where the search starts; see `_coded`."""
    if not isinstance(among, Between):
        if _ordered(among):
            return sorted(among)[asked.suggest_int(f"{name} (place)", 0, len(among) - 1)]
        chosen: Scalar = asked.suggest_categorical(name, among)  # type: ignore[assignment]
        return chosen
    if among.zero and asked.suggest_categorical(f"{name} (off)", _SWITCH) == "off":
        return 0 if isinstance(among.low, int) else 0.0
    if isinstance(among.low, int):
        return asked.suggest_int(name, among.low, int(among.high), log=among.log)
    value = asked.suggest_float(name, among.low, among.high, log=among.log)
    return value if value == start else min(max(float(f"{value:.3g}"), among.low), among.high)


def _coded(space: Space, point: Mapping[str, Scalar]) -> dict[str, Any]:
    """Return a point in the sampler's terms; what lies outside the space is left to the sampler.

    0 beside a range is a choice of its own, and numbers in a list keep their order.
    """
    coded: dict[str, Any] = {}
    for name, among in space.dimensions.items():
        value = point[name]
        if not space.holds(name, value):
            continue
        if isinstance(among, Between):
            off = among.zero and value == 0
            coded |= {f"{name} (off)": "off" if off else "on"} if among.zero else {}
            coded |= {} if off else {name: value}
        else:
            coded |= {f"{name} (place)": sorted(among).index(value)} if _ordered(among) else {name: value}
    return coded


def _ordered(values: tuple[Scalar, ...]) -> bool:
    return len(values) > 1 and all(type(value) in (int, float) for value in values)


@contextlib.contextmanager
def open_study(path: Path, name: str, afresh: bool) -> Iterator[tuple[optuna.Study, int]]:
    """Open a search in its file, alone, and tell how many other searches the file holds."""
    try:
        import optuna
    except ImportError:
        raise Unavailable(
            "the samplers tpe and random need Optuna; install it with: pip install 'zslbench[tune]', or list values "
            "and use --sampler grid."
        ) from None
    import sqlalchemy.exc
    from filelock import FileLock, Timeout

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock", timeout=0):
            url = "sqlite:///" + urllib.parse.quote(str(path.absolute()), safe="/:\\")
            storage = optuna.storages.RDBStorage(url)
            names = optuna.get_all_study_names(storage)
            if afresh and name in names:
                optuna.delete_study(study_name=name, storage=storage)
            pruner = optuna.pruners.MedianPruner(_MEDIAN_OF)
            study = optuna.create_study(
                study_name=name, storage=storage, direction="maximize", load_if_exists=True, pruner=pruner
            )
            try:
                yield study, len(set(names) - {name})
            finally:
                storage.remove_session()
                storage.engine.dispose()
    except Timeout:
        raise StoreError(f"another process searches in {path}; wait for it, or choose another --name.") from None
    except (OSError, sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        why = str(error).splitlines()[0]
        raise StoreError(
            f"the search {path} cannot be read or written ({why}); mend that, or delete the file: finished runs are "
            "kept and not repeated."
        ) from None


def ended_trials(study: optuna.Study) -> list[Trial]:
    """Return the trials of a search that came to their end, in order."""
    return [
        convert(kept.user_attrs[_ENDED], Trial)
        for kept in study.trials
        if kept.state.is_finished() and _ENDED in kept.user_attrs
    ]


def resume_search(study: optuna.Study) -> None:
    """Queue again the trials that were running when the search was killed; mark those that had ended as ended."""
    import optuna

    for kept in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        if _ENDED in kept.user_attrs:
            _end(study, kept.number, convert(kept.user_attrs[_ENDED], Trial))
        else:
            study.tell(kept.number, state=optuna.trial.TrialState.FAIL)  # samplers pass over such trials
            study.enqueue_trial(kept.params)


def _end(study: optuna.Study, number: int, trial: Trial) -> None:
    from optuna.trial import TrialState

    state = {"ok": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}[trial.result]
    study.tell(number, trial.value if trial.result == "ok" else None, state=state)
