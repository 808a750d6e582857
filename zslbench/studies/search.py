"""Searches: every point of a grid, or points that Optuna's samplers suggest, judged by metrics of the dev stage.

What Optuna knows of a search is kept in a file of its own, so that a killed search goes on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import statistics
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from msgspec import structs

from zslbench.errors import BadValue, StoreError, Unavailable, ZslbenchError
from zslbench.identity import digest
from zslbench.methods.base import Method
from zslbench.params import Between, Dimension, Scalar
from zslbench.results.records.record import Record
from zslbench.runner.classes import built, method_class
from zslbench.runner.executors import Executor, Listener
from zslbench.runner.jobs import Job, Run
from zslbench.runner.plan import RunOptions
from zslbench.runner.run import Outcome, run
from zslbench.runner.scoring import Stopped
from zslbench.runner.states import Rerun
from zslbench.seeding import stream_seed
from zslbench.sources import source_of
from zslbench.spec import Spec
from zslbench.studies.space import Point, Space
from zslbench.visible import last_line

if TYPE_CHECKING:
    import optuna
    from rich.console import Console

Result = Literal["ok", "failed", "pruned"]
RESULTS: tuple[Result, ...] = ("ok", "failed", "pruned")
Metrics = Mapping[str, str]
"""The metric that is maximised, by protocol."""
Sampler = Literal["auto", "grid", "tpe", "random"]
SAMPLERS: tuple[Sampler, ...] = ("auto", "grid", "tpe", "random")
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
"""Added to the number of folds that are done: steps of a curve come before."""
_MEDIAN_OF = 5
"""Trials that must have finished before any is given up for being worse than their median."""
_ENDED = "trial"
"""The attribute under which a trial that came to its end is kept."""


@dataclasses.dataclass(frozen=True)
class Trial:
    """One point that was tried.

    Attributes:
        values: of the hyper-parameters that were searched.
        result: ok, failed or pruned.
        scores: the metric in each fold, a fraction, by protocol; only of a trial that is ok.
        params: every hyper-parameter, by protocol (a preset may differ between protocols).
        why: what it failed of, or why it was pruned.
    """

    values: Point
    result: Result
    scores: Mapping[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)
    params: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    why: str = ""

    def mean(self, protocol: str) -> float:
        """Return the mean over the folds under one protocol."""
        return statistics.fmean(self.scores[protocol])

    @property
    def value(self) -> float:
        """What guides a sampler: the mean over folds, and over protocols where there are several."""
        return statistics.fmean(self.mean(protocol) for protocol in self.scores)


class Interrupted(Exception):
    """Ctrl-C, while runs were done; their records are kept."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Objective:
    """How points are tried: everything that their runs have in common.

    Attributes:
        options: what is run, in the dev stage; its method is put in place point by point.
        spec: where the search starts; a point is laid over its values.
        start: the planned runs of that spec, one per protocol, in the first fold.
        metrics: what is maximised, by protocol name.
        folds: of the dev stage.
        stale: ids of runs that were taken as they are, though the source of the method has changed since.
        remade: ids of runs that were done again because it has.
    """

    options: RunOptions
    spec: Spec
    start: Sequence[Run]
    metrics: Metrics
    folds: tuple[int, ...]
    runs: Path
    device: str = "auto"
    engine: Executor | None = None
    rerun: Rerun | None = None
    console: Console | None = None
    stale: set[str] = dataclasses.field(default_factory=set)
    remade: set[str] = dataclasses.field(default_factory=set)

    @property
    def method(self) -> type[Method]:
        """The class of the method."""
        return method_class(self.spec.name)

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

    def all_at_once(self, points: Sequence[Point]) -> list[Trial]:
        """Try points, all folds of all of them in one call, so that fits that share work are done together.

        Raises:
            Interrupted: it was cut short.
        """
        refused = [self.refused(point) for point in points]
        good = [point for point, trial in zip(points, refused, strict=True) if trial is None]
        records = self._run(good, self.folds, self.console).records if good else ()
        names = tuple(points[0])
        of_point: dict[tuple[Scalar, ...], list[Record]] = {}
        for record in records:
            of_point.setdefault(tuple(record.method["params"][name] for name in names), []).append(record)
        return [
            trial or self._trial(point, of_point[tuple(point.values())])
            for point, trial in zip(points, refused, strict=True)
        ]

    def step_by_step(self, point: Point, report: Callable[[int, float], str]) -> Trial:
        """Try one point fold by fold, and give it up as soon as a fold fails or `report` says why it should be pruned.

        Args:
            point: what to try.
            report: called with a step that grows (a checkpoint of the first fold, then the number of folds that are
                done after all steps) and the value so far; says why to stop, or nothing.

        Raises:
            Interrupted: it was cut short.
        """
        if trial := self.refused(point):
            return trial
        records: list[Record] = []
        for done, fold in enumerate(self.folds, start=1):
            listener = _CurveListener(self.metrics, report) if fold == self.folds[0] else None
            console = self.console if self.console and self.console.is_terminal else None
            records += self._run([point], [fold], console, listener).records
            if bad := [record for record in records if not record.ok]:
                result: Result = "pruned" if bad[0].status == "skipped" else "failed"
                return Trial(point, result, why=last_line(bad[0].error))
            if listener and not listener.heard:  # an earlier call did this fold
                listener.replay(records)
            so_far = self._trial(point, records)
            if fold != self.folds[-1] and (why := report(_AFTER_STEPS + done, so_far.value)):
                return Trial(point, "pruned", why=why)
        return self._trial(point, records)

    def in_the_final_stage(self, points: Sequence[Point]) -> Outcome:
        """Run points on the test images too, as candidates of oracle selection."""
        final = structs.replace(self.options, stage="final", fold=None, checkpoints="last", oracle=True)
        return self._call(final, points, self.console)

    def _run(
        self, points: Sequence[Point], folds: Sequence[int], console: Console | None, hear: Listener | None = None
    ) -> Outcome:
        options = structs.replace(self.options, fold=list(folds))
        outcome = self._call(options, points, console, rerun=self.rerun, hear=hear)
        if outcome.interrupted:
            raise Interrupted
        self.stale.update(run.id for run, state in outcome.states if state == "stale")
        self.remade.update(run.id for run, state in outcome.found if state == "stale" and run.id not in self.stale)
        return outcome

    def _call(self, options: RunOptions, points: Sequence[Point], console: Console | None, **how: Any) -> Outcome:
        what = structs.asdict(options) | {"methods": [self.text(point) for point in points]}
        return run(**what, runs=self.runs, device=self.device, engine=self.engine, console=console, **how)

    def _trial(self, point: Point, records: Sequence[Record]) -> Trial:
        if bad := next((record for record in records if not record.ok), None):
            return Trial(point, "failed", why=last_line(bad.error) or f"a run was {bad.status}")
        scores = {
            name: tuple(record.metrics[metric] for record in records if record.protocol["name"] == name)
            for name, metric in self.metrics.items()
        }
        params = {record.protocol["name"]: record.method["params"] for record in records}
        return Trial(point, "ok", scores, params)


class _CurveListener(Listener):
    """Passes on the mean of the metrics at each checkpoint, and stops the fit when it is told to."""

    def __init__(self, metrics: Metrics, report: Callable[[int, float], str]) -> None:
        self.metrics, self.report, self.heard = metrics, report, False
        self._waiting: dict[int, dict[str, float]] = {}

    def judged(self, job: Job, run: Run, step: int, metrics: Mapping[str, float]) -> None:
        """Report a checkpoint as soon as every protocol has been judged at it."""
        self.heard = True
        if why := self._take(run.protocol, step, metrics):
            raise Stopped(why)

    def replay(self, records: Iterable[Record]) -> None:
        """Report the curves of runs that were done before; they were good enough then."""
        judgements = [
            (point["step"], record.protocol["name"], point["metrics"]) for record in records for point in record.curve
        ]
        for step, protocol, metrics in sorted(judgements, key=lambda judgement: judgement[0]):
            self._take(protocol, step, metrics)

    def _take(self, protocol: str, step: int, metrics: Mapping[str, float]) -> str:
        here = self._waiting.setdefault(step, {})
        here[protocol] = metrics[self.metrics[protocol]]
        return self.report(step, statistics.fmean(here.values())) if len(here) == len(self.metrics) else ""


def choose(sampler: Sampler, space: Space, offers_grid: bool) -> Sampler:
    """Return the sampler that is meant; `auto`: the whole grid where it is finite, small and fitted at once, else TPE.

    Raises:
        BadValue: a sampler that does not exist, or a grid over a range.
    """
    if sampler not in SAMPLERS:
        raise BadValue(f"sampler {sampler!r} does not exist; choose one of: {', '.join(SAMPLERS)}.")
    if sampler == "auto":
        return "grid" if offers_grid and space.size is not None and space.size <= MOST_POINTS else "tpe"
    if sampler == "grid":
        space.points()
    return sampler


class Clock:
    """Says when no more may be begun."""

    def __init__(self, limit: float | None) -> None:
        self.ends = math.inf if limit is None else time.monotonic() + limit

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() >= self.ends


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search:
    """How a space is searched: `most` trials (None: no end) of a sampler, or a grid, until the clock says stop."""

    objective: Objective
    space: Space
    sampler: Sampler
    seed: int
    most: int | None
    clock: Clock
    prune: bool

    @property
    def id(self) -> str:
        """The digest of everything that the suggestions depend on."""
        objective = self.objective
        facts: dict[str, Any] = {
            "start": [run.identity() for run in objective.start],
            "space": self.space.words(),
            "sampler": self.sampler,
            "seed": self.seed,
            "folds": list(objective.folds),
            "checkpoints": objective.options.checkpoints if self.prune else "last",
            "source": source_of(objective.method).digest,
        }
        return digest(facts)


def try_grid(search: Search) -> Iterator[Trial]:
    """Try every point: all together where their method fits a grid at once, else one after the other."""
    points, clock = search.space.points(), search.clock
    size = (len(points) if math.isinf(clock.ends) else CHUNK) if search.objective.method.offers_grid() else 1
    for start in range(0, len(points), size):
        if clock.over:
            return
        yield from search.objective.all_at_once(points[start : start + size])


def try_suggestions(search: Search, study: optuna.Study) -> Iterator[Trial]:
    """Try points that a sampler suggests until there are enough trials, the time is up or every point was tried.

    Trials of an earlier call come first, as they were kept. What was under way when that was killed is tried again.
    The sampler starts anew at every trial, seeded by its number, so that what it suggests depends on the seed and on
    the trials before, not on when the search was cut short.

    Raises:
        Interrupted: it was cut short; what was under way is tried again by the next call.
    """
    take_up(study)
    objective, most = search.objective, search.most
    done = ended_trials(study)
    yield from done
    if not study.trials:
        study.enqueue_trial(_coded(search.space, objective.start[0].params))
    while (most is None or len(done) < most) and not search.clock.over and not _all_tried(search.space, done):
        suggestion = _suggest_new(search, study, done)
        if suggestion is None:
            return
        asked, point = suggestion

        def report(step: int, value: float, asked: optuna.Trial = asked) -> str:
            if not search.prune:
                return ""
            asked.report(value, step)
            return "worse than the median of earlier trials" if asked.should_prune() else ""

        _say(objective, f"trial {len(done) + 1}{f' of {most}' if most else ''}: {objective.text(point)}")
        trial = objective.step_by_step(point, report)
        asked.set_user_attr(_ENDED, dataclasses.asdict(trial))
        _end(study, asked.number, trial)  # what is killed between the two steps is mended by `take_up`
        done.append(trial)
        means = (f"{metric} {100 * trial.mean(name):.1f}" for name, metric in objective.metrics.items() if trial.scores)
        _say(objective, f"    {'  '.join(means) or f'{trial.result}: {trial.why}'}")
        yield trial


def _suggest_new(search: Search, study: optuna.Study, done: Sequence[Trial]) -> tuple[optuna.Trial, Point] | None:
    """Ask for a point that was not tried, at random where the sampler repeats itself; None: there is none left."""
    import optuna

    start = search.objective.start[0].params
    tried = {tuple(trial.values.values()) for trial in done}
    for repeat in range(_REPEATS):
        seed = stream_seed(search.seed, f"trial {len(done)}, {repeat}") % 2**32
        if repeat or search.sampler == "random":
            study.sampler = optuna.samplers.RandomSampler(seed=seed)
        else:
            study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=_RANDOM_FIRST)
        asked = study.ask()
        point = {name: _suggest(asked, name, one, start[name]) for name, one in search.space.dimensions.items()}
        if tuple(point.values()) not in tried:
            return asked, point
        study.tell(asked, state=optuna.trial.TrialState.FAIL)  # samplers pass over such trials
    return None


def _say(objective: Objective, line: str) -> None:
    if objective.console:
        objective.console.print(line, markup=False, highlight=False, soft_wrap=True)


def _all_tried(space: Space, done: Sequence[Trial]) -> bool:
    return space.size is not None and len({tuple(trial.values.values()) for trial in done}) >= space.size


def _suggest(asked: optuna.Trial, name: str, one: Dimension, start: Scalar | None = None) -> Scalar:
    """Let the sampler choose a value, three digits long unless it is where the search starts.

    0 beside a range is a choice of its own, and numbers in a list keep their order.
    """
    if not isinstance(one, Between):
        if _ordered(one):
            return sorted(one)[asked.suggest_int(f"{name} (place)", 0, len(one) - 1)]
        chosen: Scalar = asked.suggest_categorical(name, one)  # type: ignore[assignment]
        return chosen
    if one.zero and asked.suggest_categorical(f"{name} (off)", _SWITCH) == "off":
        return 0 if isinstance(one.low, int) else 0.0
    if isinstance(one.low, int):
        return asked.suggest_int(name, one.low, int(one.high), log=one.log)
    value = asked.suggest_float(name, one.low, one.high, log=one.log)
    return value if value == start else min(max(float(f"{value:.3g}"), one.low), one.high)


def _coded(space: Space, point: Mapping[str, Scalar]) -> dict[str, Any]:
    """Return a point in the sampler's terms; what lies outside the space is left to the sampler."""
    found: dict[str, Any] = {}
    for name, one in space.dimensions.items():
        if not space.holds(name, point[name]):
            continue
        if not isinstance(one, Between):
            if _ordered(one):
                found[f"{name} (place)"] = sorted(one).index(point[name])
            else:
                found[name] = point[name]
            continue
        off = one.zero and point[name] == 0
        found |= {f"{name} (off)": "off" if off else "on"} if one.zero else {}
        found |= {} if off else {name: point[name]}
    return found


def _ordered(values: tuple[Scalar, ...]) -> bool:
    return len(values) > 1 and all(isinstance(one, int | float) and not isinstance(one, bool) for one in values)


@contextlib.contextmanager
def open_study(path: Path, name: str, afresh: bool) -> Iterator[tuple[optuna.Study, int]]:
    """Open a search in its file, alone, and tell how many other searches the file holds.

    Raises:
        Unavailable: Optuna is not installed.
        StoreError: the file cannot be used, or another process uses it.
    """
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
            study = optuna.create_study(
                study_name=name,
                storage=storage,
                direction="maximize",
                load_if_exists=True,
                pruner=optuna.pruners.MedianPruner(_MEDIAN_OF),
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
    return [_trial(kept) for kept in study.trials if kept.state.is_finished() and _ENDED in kept.user_attrs]


def take_up(study: optuna.Study) -> None:
    """Put what was under way when a search was killed back in front; what had come to its end is told so."""
    import optuna

    for one in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        if _ENDED in one.user_attrs:
            _end(study, one.number, _trial(one))
        else:
            study.tell(one.number, state=optuna.trial.TrialState.FAIL)  # samplers pass over such trials
            study.enqueue_trial(one.params)


def _end(study: optuna.Study, number: int, trial: Trial) -> None:
    from optuna.trial import TrialState

    state = {"ok": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}[trial.result]
    study.tell(number, trial.value if trial.result == "ok" else None, state=state)


def _trial(one: optuna.trial.FrozenTrial) -> Trial:
    facts = one.user_attrs[_ENDED]
    return Trial(**{**facts, "scores": {name: tuple(scores) for name, scores in facts["scores"].items()}})
