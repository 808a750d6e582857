"""What tuning maximises: metrics of the dev stage, averaged over folds, of one point of the space."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from zslbench.errors import ZslbenchError
from zslbench.params import Scalar
from zslbench.results.records.record import Record
from zslbench.runner.classes import built, method_class
from zslbench.runner.executors import Listener
from zslbench.runner.run import Outcome, run
from zslbench.runner.runs import Job, Run
from zslbench.runner.scoring import Stopped
from zslbench.runner.states import Rerun
from zslbench.spec import Spec
from zslbench.studies.space import Point
from zslbench.visible import last_line

if TYPE_CHECKING:
    from rich.console import Console

Result = Literal["ok", "failed", "pruned"]
RESULTS: tuple[Result, ...] = ("ok", "failed", "pruned")
Metrics = Mapping[str, str]
"""The metric that is maximised, by protocol."""


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
        spec: where the search starts; a point is laid over its values.
        start: the planned runs of that spec, one a protocol, in the first fold.
        metrics: what is maximised, by protocol name.
        options: further arguments of `zslbench.run`.
        stale: ids of runs that were taken as they are, though the source of the method has changed since.
        remade: ids of runs that were done again because it has.
    """

    spec: Spec
    start: Sequence[Run]
    dataset: str
    protocols: Sequence[str]
    metrics: Metrics
    folds: tuple[int, ...]
    runs: Path
    rerun: Rerun | None = None
    checkpoints: str = "last"
    console: Console | None = None
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    stale: set[str] = dataclasses.field(default_factory=set)
    remade: set[str] = dataclasses.field(default_factory=set)

    def text(self, point: Mapping[str, Scalar]) -> str:
        """Return the spec of one point."""
        return str(dataclasses.replace(self.spec, params={**self.spec.params, **point}))

    def refused(self, point: Point) -> Trial | None:
        """Return the failed trial of a point that the method's constructor does not take."""
        name = self.start[0].method
        try:
            for one in self.start:
                built(method_class(name), name, {**one.params, **point})
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
            ear = _Ear(self.metrics, report) if fold == self.folds[0] else None
            console = self.console if self.console and self.console.is_terminal else None
            records += self._run([point], [fold], console, ear).records
            if bad := [record for record in records if not record.ok]:
                result: Result = "pruned" if bad[0].status == "skipped" else "failed"
                return Trial(point, result, why=last_line(bad[0].error))
            if ear and not ear.heard:  # an earlier call did this fold
                ear.replay(records)
            so_far = self._trial(point, records)
            if fold != self.folds[-1] and (why := report(AFTER_STEPS + done, so_far.value)):
                return Trial(point, "pruned", why=why)
        return self._trial(point, records)

    def in_the_final_stage(self, points: Sequence[Point]) -> Outcome:
        """Run points on the test images too, as candidates of oracle selection."""
        return self._call(points, stage="final", oracle=True, console=self.console)

    def _run(
        self, points: Sequence[Point], folds: Sequence[int], console: Console | None, hear: Listener | None = None
    ) -> Outcome:
        outcome = self._call(
            points,
            stage="dev",
            fold=list(folds),
            rerun=self.rerun,
            checkpoints=self.checkpoints,
            console=console,
            hear=hear,
        )
        if outcome.interrupted:
            raise Interrupted
        self.stale.update(one.id for one, state in outcome.states if state == "stale")
        self.remade.update(one.id for one, state in outcome.found if state == "stale" and one.id not in self.stale)
        return outcome

    def _call(self, points: Sequence[Point], **how: Any) -> Outcome:
        texts = [self.text(point) for point in points]
        return run(texts, self.dataset, self.protocols, runs=self.runs, **self.options, **how)

    def _trial(self, point: Point, records: Sequence[Record]) -> Trial:
        if bad := next((record for record in records if not record.ok), None):
            return Trial(point, "failed", why=last_line(bad.error) or f"a run was {bad.status}")
        scores = {
            name: tuple(record.metrics[metric] for record in records if record.protocol["name"] == name)
            for name, metric in self.metrics.items()
        }
        params = {record.protocol["name"]: record.method["params"] for record in records}
        return Trial(point, "ok", scores, params)


AFTER_STEPS = 10**9
"""Added to the number of folds that are done: steps of a curve come before."""


class _Ear(Listener):
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
        found = [
            (point["step"], record.protocol["name"], point["metrics"]) for record in records for point in record.curve
        ]
        for step, protocol, metrics in sorted(found, key=lambda one: one[0]):
            self._take(protocol, step, metrics)

    def _take(self, protocol: str, step: int, metrics: Mapping[str, float]) -> str:
        here = self._waiting.setdefault(step, {})
        here[protocol] = metrics[self.metrics[protocol]]
        return self.report(step, statistics.fmean(here.values())) if len(here) == len(self.metrics) else ""
