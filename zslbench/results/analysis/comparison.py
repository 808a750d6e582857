"""Differences between methods on one data set: intervals and p by the paired bootstrap, adjusted over the pairs."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from zslbench import seeding
from zslbench.arrays import AnyArray, Array, IntArray
from zslbench.errors import BadValue, StoreError
from zslbench.metrics import stacked
from zslbench.results.analysis import bootstrap
from zslbench.results.analysis.bootstrap import Draws, Tested, Training
from zslbench.results.analysis.entrants import Entrant, Match
from zslbench.results.analysis.statistics import holm
from zslbench.results.records.record import Record

METRICS = ("T1", "U", "S", "H")
OVER = ("classes", "images")
SIDES: Mapping[str, tuple[str, ...]] = {"T1": ("unseen",), "U": ("unseen",), "S": ("seen",), "H": ("unseen", "seen")}
_OF = {"zsl": ("T1",), "gzsl": ("U", "S", "H")}

Predictions = Callable[[Record], Mapping[str, AnyArray]]


@dataclasses.dataclass(frozen=True)
class Verdict:
    """An interval and p of one difference, in points; NaN where nothing can be said. `holm` is p adjusted."""

    low: float
    high: float
    p: float
    holm: float


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two entrants by place, the first's metric minus the second's in points, and a verdict by what was resampled."""

    first: int
    second: int
    difference: float
    verdicts: Mapping[str, Verdict]


@dataclasses.dataclass(frozen=True)
class Side:
    """The test images of one side: how many classes, images, and classes with a single image."""

    classes: int
    images: int
    single: int


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One metric on one data set.

    Attributes:
        match: the data set and the entrants.
        metric: T1, U, S or H.
        values: percent, by entrant; of the mean class accuracies over seeds.
        sides: ``unseen`` and ``seen``, as far as the metric uses them.
        pairs: every two entrants.
    """

    match: Match
    metric: str
    values: tuple[float, ...]
    sides: Mapping[str, Side]
    pairs: tuple[Pair, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class _Answered:
    """Whether each test image of one side was answered rightly: `right` has an (n, K) array an entrant, of K seeds."""

    labels: IntArray
    right: tuple[Array, ...]

    @property
    def mean(self) -> Array:
        """(n, M) over the seeds."""
        return np.stack([seeds.mean(axis=1) for seeds in self.right], axis=1)


def metrics_of(match: Match) -> tuple[str, ...]:
    """Return the metrics that can be compared in a match; none for a protocol that is not known here."""
    there = _OF.get(match.protocol, ())
    return tuple(name for name in there if all(name in entrant.row.metrics for entrant in match.entrants))


def compare_within(
    match: Match,
    metrics: Sequence[str],
    predictions: Predictions,
    *,
    over: Sequence[str] = OVER,
    level: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> list[Comparison]:
    """Return one comparison a metric, all on the same draws.

    Args:
        match: who is compared; metrics: some of `metrics_of`.
        predictions: returns the stored arrays of a record.
        over: what is resampled, of ``classes`` and ``images``.
        level: of the intervals; draws: how many; seed: of the draws.

    Raises:
        StoreError: a run without predictions.
        BadValue: predictions of different test images.
    """
    answered = _answered(match, predictions)
    drawn = {
        (kind, side): _draw(kind, part, draws, seeding.stream(seed, f"bootstrap {kind} {side} {match.fingerprint}"))
        for kind in over
        for side, part in answered.items()
        if any(side in SIDES[name] for name in metrics)
    }
    return [_comparison(match, name, answered, drawn, over, level, draws, seed) for name in metrics]


def _comparison(
    match: Match,
    metric: str,
    answered: Mapping[str, _Answered],
    drawn: Mapping[tuple[str, str], Draws],
    over: Sequence[str],
    level: float,
    draws: int,
    seed: int,
) -> Comparison:
    parts = {side: answered[side] for side in SIDES[metric]}
    tested: dict[str, list[Tested]] = {}
    pairs = list(itertools.combinations(range(len(match.entrants)), 2))
    for kind in over:
        sides = [drawn[kind, side] for side in parts]
        training = _training(kind, list(parts.values()), sides, match.entrants, draws, seed)
        tested[kind] = [bootstrap.difference(sides, one, other, level, training) for one, other in pairs]
    values = [100 * float(bootstrap.metric(sides, place)[0]) for place in range(len(match.entrants))]
    return Comparison(
        match,
        metric,
        tuple(values),
        {side: _counts(part.labels) for side, part in parts.items()},
        tuple(
            Pair(*pair, 100 * tested[over[0]][place].difference, _verdicts(tested, place))
            for place, pair in enumerate(pairs)
        ),
    )


def _verdicts(tested: Mapping[str, Sequence[Tested]], place: int) -> dict[str, Verdict]:
    """Return one pair's verdicts; a p that cannot be told stays NaN, and counts as 1 beside the others."""
    found = {}
    for kind, tests in tested.items():
        one = tests[place]
        adjusted = holm([1.0 if math.isnan(other.p) else other.p for other in tests])[place]
        told = math.nan if math.isnan(one.p) else float(adjusted)
        found[kind] = Verdict(100 * one.low, 100 * one.high, one.p, told)
    return found


def _draw(kind: str, part: _Answered, draws: int, rng: np.random.Generator) -> Draws:
    if kind == "classes":
        return bootstrap.draw_classes(bootstrap.class_means(part.mean, part.labels), draws, rng)
    return bootstrap.draw_images(part.mean, part.labels, draws, rng)


def _training(
    kind: str, parts: Sequence[_Answered], sides: Sequence[Draws], entrants: Sequence[Entrant], draws: int, seed: int
) -> Training:
    """Return what training anew adds: the spread of the metric over seeds, less what the resampling holds already."""
    columns = []
    for place, entrant in enumerate(entrants):
        right = [part.right[place] for part in parts]
        seeds = right[0].shape[1] if entrant.stochastic else 1
        variance = 0.0
        if seeds > 1:
            means = [bootstrap.class_means(one, part.labels) for one, part in zip(right, parts, strict=True)]
            each = [Draws(mean.mean(axis=0)[None], np.zeros((1, seeds, seeds))) for mean in means]
            metric = [float(bootstrap.metric(each, number)[0]) for number in range(seeds)]
            slopes = [float(slope[0]) for slope in bootstrap.gradient(sides, place)]
            variance = float(np.var(metric, ddof=1)) / seeds
            for slope, one, mean, part in zip(slopes, right, means, parts, strict=True):
                whole = kind == "classes"
                labels = np.zeros(len(mean), dtype=np.int64) if whole else part.labels
                variance -= slope**2 * bootstrap.interaction(mean if whole else one, labels)
        rng = seeding.stream(seed, f"bootstrap training {kind} {entrant.records[0].id}")
        columns.append(bootstrap.draw_training(max(variance, 0.0), seeds, draws, rng))
    return Training(*(np.stack(arrays, axis=1) for arrays in zip(*columns, strict=True)))


def _counts(labels: IntArray) -> Side:
    counts = np.unique(labels, return_counts=True)[1]
    return Side(len(counts), len(labels), int(np.count_nonzero(counts == 1)))


def _answered(match: Match, predictions: Predictions) -> dict[str, _Answered]:
    """Return which images were answered rightly, by side, after checking that all were asked about the same ones."""
    first: Mapping[str, AnyArray] | None = None
    right: list[list[AnyArray]] = []
    for entrant in match.entrants:
        right.append([])
        for record in entrant.records:
            found = _sorted(predictions(record), record)
            first = first or found
            if any(not np.array_equal(found[name], first[name]) for name in ("row", "label", "of_unseen")):
                begun = match.entrants[0]
                raise BadValue(
                    f"run {record.id} of {entrant.row.label} and run {begun.records[0].id} of {begun.row.label} were "
                    f"asked about different test images of {match.head}, so they cannot be paired; "
                    "run both again with --rerun all."
                )
            right[-1].append(_right(found, match.protocol))
    assert first is not None
    answered = {}
    for side, among in (("unseen", first["of_unseen"]), ("seen", ~first["of_unseen"])):
        if among.any():
            own = tuple(np.stack(seeds, axis=1)[among].astype(float) for seeds in right)
            answered[side] = _Answered(first["label"][among], own)
    return answered


def _sorted(found: Mapping[str, AnyArray], record: Record) -> dict[str, AnyArray]:
    wanted = ("row", "label", "of_unseen", "seen_score", "seen_class", "unseen_score", "unseen_class")
    if lacking := [name for name in wanted if name not in found]:
        raise StoreError(
            f"the predictions of run {record.id} lack {', '.join(lacking)}; run it again with --rerun all."
        )
    order = np.argsort(found["row"], kind="stable")
    return {name: found[name][order] for name in wanted}


def _right(found: Mapping[str, AnyArray], protocol: str) -> AnyArray:
    """Return (n,) whether each image was given its class, among unseen classes (zsl) or all (gzsl)."""
    if protocol == "zsl":
        return np.asarray(found["unseen_class"] == found["label"])
    seen, unseen = (found["seen_score"], found["seen_class"]), (found["unseen_score"], found["unseen_class"])
    return np.asarray(stacked(*seen, *unseen) == found["label"])
