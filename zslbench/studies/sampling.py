"""Searches: every point of a grid, or points that Optuna's samplers suggest, kept so that a killed one goes on."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from zslbench.errors import BadValue
from zslbench.params import Between, Dimension, Scalar
from zslbench.seeding import stream_seed
from zslbench.studies.history import kept, take_up, tell
from zslbench.studies.objective import Objective, Trial
from zslbench.studies.space import Point, Space

if TYPE_CHECKING:
    import optuna

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


def grid(objective: Objective, space: Space, at_once: bool, clock: Clock) -> Iterator[Trial]:
    """Try every point: all together where their method fits a grid at once, else one after the other."""
    points = space.points()
    size = (len(points) if math.isinf(clock.ends) else CHUNK) if at_once else 1
    for start in range(0, len(points), size):
        if clock.over:
            return
        yield from objective.all_at_once(points[start : start + size])


def suggested(
    objective: Objective,
    space: Space,
    study: optuna.Study,
    *,
    sampler: Sampler,
    seed: int,
    most: int | None,
    clock: Clock,
    prune: bool,
) -> Iterator[Trial]:
    """Try points that a sampler suggests until there are `most` trials, the time is up or every point was tried.

    Trials of an earlier call come first, as they were kept. What was under way when that was killed is tried again.
    The sampler starts anew at every trial, seeded by its number, so that what it suggests depends on the seed and on
    the trials before, not on when the search was cut short.

    Raises:
        Interrupted: it was cut short; what was under way is tried again by the next call.
    """
    take_up(study)
    start = objective.start[0].params
    done = kept(study)
    yield from done
    if not study.trials:
        study.enqueue_trial(_coded(space, start))
    while (most is None or len(done) < most) and not clock.over and not _all_tried(space, done):
        found = _new(study, space, start, sampler, seed, done)
        if found is None:
            return
        asked, point = found

        def report(step: int, value: float, asked: optuna.Trial = asked) -> str:
            if not prune:
                return ""
            asked.report(value, step)
            return "worse than the median of earlier trials" if asked.should_prune() else ""

        _say(objective, f"trial {len(done) + 1}{f' of {most}' if most else ''}: {objective.text(point)}")
        trial = objective.step_by_step(point, report)
        tell(study, asked, trial)
        done.append(trial)
        means = (f"{metric} {100 * trial.mean(name):.1f}" for name, metric in objective.metrics.items() if trial.scores)
        _say(objective, f"    {'  '.join(means) or f'{trial.result}: {trial.why}'}")
        yield trial


def _new(
    study: optuna.Study, space: Space, start: Mapping[str, Scalar], sampler: Sampler, seed: int, done: Sequence[Trial]
) -> tuple[optuna.Trial, Point] | None:
    """Ask for a point that was not tried, at random where the sampler repeats itself; None: there is none left."""
    import optuna

    tried = {tuple(trial.values.values()) for trial in done}
    for repeat in range(_REPEATS):
        kind: Sampler = "random" if repeat else sampler
        study.sampler = _sampler(kind, stream_seed(seed, f"trial {len(done)}, {repeat}"))
        asked = study.ask()
        point = {name: _suggest(asked, name, one, start[name]) for name, one in space.dimensions.items()}
        if tuple(point.values()) not in tried:
            return asked, point
        study.tell(asked, state=optuna.trial.TrialState.FAIL)  # samplers pass over such trials
    return None


def _say(objective: Objective, line: str) -> None:
    if objective.console:
        objective.console.print(line, markup=False, highlight=False, soft_wrap=True)


def _all_tried(space: Space, done: Sequence[Trial]) -> bool:
    return space.size is not None and len({tuple(trial.values.values()) for trial in done}) >= space.size


def _sampler(kind: Sampler, seed: int) -> optuna.samplers.BaseSampler:
    import optuna

    if kind == "random":
        return optuna.samplers.RandomSampler(seed=seed % 2**32)
    return optuna.samplers.TPESampler(seed=seed % 2**32, n_startup_trials=_RANDOM_FIRST)


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
