"""Differences between methods, how sure they are on each data set (paired bootstrap), and what holds across data sets.

Across data sets: mean ranks, Friedman's test and Wilcoxon–Holm (Demšar, 2006), and what so few data sets can
tell at all.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from zslbench import seeding
from zslbench.arrays import AnyArray, Array, IntArray
from zslbench.errors import BadValue, StoreError
from zslbench.metrics import ACCURACIES, stacked
from zslbench.results.analysis import bootstrap, significance
from zslbench.results.analysis.bootstrap import Draws, Tested, Training
from zslbench.results.analysis.matches import Entrant, Match
from zslbench.results.records.record import Record

METRICS = tuple(name for names in ACCURACIES.values() for name in names)
OVER = ("classes", "images")
SIDES: Mapping[str, tuple[str, ...]] = {"T1": ("unseen",), "U": ("unseen",), "S": ("seen",), "H": ("unseen", "seen")}

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


@dataclasses.dataclass(frozen=True)
class Resampling:
    """How the bootstrap is done.

    Attributes:
        over: what is resampled, of ``classes`` and ``images``.
        level: of the intervals; draws: how many; seed: of the draws.
    """

    over: Sequence[str] = OVER
    level: float = 0.95
    draws: int = 10_000
    seed: int = 0


def metrics_of(match: Match) -> tuple[str, ...]:
    """Return the metrics that can be compared in a match; none for a protocol that is not known here."""
    return tuple(
        name
        for name in ACCURACIES.get(match.row.protocol, ())
        if all(name in entrant.row.metrics for entrant in match.entrants)
    )


def compare_within(match: Match, metrics: Sequence[str], predictions: Predictions, how: Resampling) -> list[Comparison]:
    """Return a comparison for each metric (some of `metrics_of`), all on the same draws.

    Args:
        predictions: returns the stored arrays of a record.

    Raises:
        StoreError: a run without predictions.
        BadValue: predictions of different test images.
    """
    answered = _answered(match, predictions)
    content = match.row.fingerprint
    drawn = {
        (kind, side): _draw(kind, part, how.draws, seeding.stream(how.seed, f"bootstrap {kind} {side} {content}"))
        for kind in how.over
        for side, part in answered.items()
        if any(side in SIDES[name] for name in metrics)
    }
    return [_comparison(match, name, answered, drawn, how) for name in metrics]


def _comparison(
    match: Match,
    metric: str,
    answered: Mapping[str, _Answered],
    drawn: Mapping[tuple[str, str], Draws],
    how: Resampling,
) -> Comparison:
    parts = {side: answered[side] for side in SIDES[metric]}
    tested: dict[str, list[Tested]] = {}
    pairs = list(itertools.combinations(range(len(match.entrants)), 2))
    for kind in how.over:
        sides = [drawn[kind, side] for side in parts]
        training = _training(kind, list(parts.values()), sides, match.entrants, how)
        tested[kind] = [bootstrap.difference(sides, first, second, how.level, training) for first, second in pairs]
    values = tuple(100 * float(bootstrap.metric(sides, place)[0]) for place in range(len(match.entrants)))
    # A p that cannot be computed stays NaN, and counts as 1 beside the others.
    adjusted = {
        kind: significance.holm([1.0 if math.isnan(test.p) else test.p for test in tests])
        for kind, tests in tested.items()
    }
    verdicts = [
        {
            kind: Verdict(
                100 * tests[place].low,
                100 * tests[place].high,
                tests[place].p,
                math.nan if math.isnan(tests[place].p) else float(adjusted[kind][place]),
            )
            for kind, tests in tested.items()
        }
        for place in range(len(pairs))
    ]
    differences = [100 * test.difference for test in tested[how.over[0]]]
    return Comparison(
        match,
        metric,
        values,
        {side: _counts(part.labels) for side, part in parts.items()},
        tuple(Pair(*pair, points, verdict) for pair, points, verdict in zip(pairs, differences, verdicts, strict=True)),
    )


def _draw(kind: str, part: _Answered, draws: int, rng: np.random.Generator) -> Draws:
    if kind == "classes":
        return bootstrap.draw_classes(bootstrap.class_means(part.mean, part.labels), draws, rng)
    return bootstrap.draw_images(part.mean, part.labels, draws, rng)


def _training(
    kind: str, parts: Sequence[_Answered], sides: Sequence[Draws], entrants: Sequence[Entrant], how: Resampling
) -> Training:
    """Return what training anew adds: the spread of the metric over seeds, less what the resampling holds already."""
    columns = []
    for place, entrant in enumerate(entrants):
        right = [part.right[place] for part in parts]
        seeds = right[0].shape[1] if entrant.row.stochastic else 1
        variance = 0.0
        if seeds > 1:
            means = [bootstrap.class_means(correct, part.labels) for correct, part in zip(right, parts, strict=True)]
            each = [Draws(mean.mean(axis=0)[None], np.zeros((1, seeds, seeds))) for mean in means]
            metric = [float(bootstrap.metric(each, number)[0]) for number in range(seeds)]
            slopes = [float(slope[0]) for slope in bootstrap.gradient(sides, place)]
            variance = float(np.var(metric, ddof=1)) / seeds
            for slope, correct, mean, part in zip(slopes, right, means, parts, strict=True):
                whole = kind == "classes"
                labels = np.zeros(len(mean), dtype=np.int64) if whole else part.labels
                variance -= slope**2 * bootstrap.interaction(mean if whole else correct, labels)
        rng = seeding.stream(how.seed, f"bootstrap training {kind} {entrant.row.records[0].id}")
        columns.append(bootstrap.draw_training(max(variance, 0.0), seeds, how.draws, rng))
    return Training(*(np.stack(arrays, axis=1) for arrays in zip(*columns, strict=True)))


def _counts(labels: IntArray) -> Side:
    counts = np.unique(labels, return_counts=True)[1]
    return Side(len(counts), len(labels), int(np.count_nonzero(counts == 1)))


def _answered(match: Match, predictions: Predictions) -> dict[str, _Answered]:
    """Return which images were answered rightly, by side, after checking that all were asked about the same ones."""
    runs = [(entrant, record) for entrant in match.entrants for record in entrant.row.records]
    first: Mapping[str, AnyArray] | None = None
    right: dict[str, list[AnyArray]] = {}
    for entrant, record in runs:
        arrays = _sorted(predictions(record), record)
        first = first or arrays
        if any(not np.array_equal(arrays[name], first[name]) for name in ("row", "label", "of_unseen")):
            raise BadValue(
                f"run {record.id} of {entrant.row.label} and run {runs[0][1].id} of {match.row.label} were "
                f"asked about different test images of {match.head}, so they cannot be paired; "
                "run both again with --rerun all."
            )
        right.setdefault(entrant.term, []).append(_right(arrays, match.row.protocol))
    assert first is not None
    return {
        side: _Answered(
            first["label"][among], tuple(np.stack(seeds, axis=1)[among].astype(float) for seeds in right.values())
        )
        for side, among in (("unseen", first["of_unseen"]), ("seen", ~first["of_unseen"]))
        if among.any()
    }


def _sorted(arrays: Mapping[str, AnyArray], record: Record) -> dict[str, AnyArray]:
    wanted = ("row", "label", "of_unseen", "seen_score", "seen_class", "unseen_score", "unseen_class")
    if lacking := [name for name in wanted if name not in arrays]:
        raise StoreError(
            f"the predictions of run {record.id} lack {', '.join(lacking)}; run it again with --rerun all."
        )
    order = np.argsort(arrays["row"], kind="stable")
    return {name: arrays[name][order] for name in wanted}


def _right(arrays: Mapping[str, AnyArray], protocol: str) -> AnyArray:
    """Return (n,) whether each image was given its class, among unseen classes (zsl) or all (gzsl)."""
    if protocol == "zsl":
        return np.asarray(arrays["unseen_class"] == arrays["label"])
    seen, unseen = (arrays["seen_score"], arrays["seen_class"]), (arrays["unseen_score"], arrays["unseen_class"])
    return np.asarray(stacked(*seen, *unseen) == arrays["label"])


@dataclasses.dataclass(frozen=True)
class AcrossPair:
    """Two methods by place: the mean difference in points, data sets won by the first and lost, p, and p adjusted."""

    first: int
    second: int
    difference: float
    wins: int
    losses: int
    p: float
    holm: float


@dataclasses.dataclass(frozen=True)
class Across:
    """One metric of the methods that ran on all of several data sets.

    Attributes:
        metric: which; datasets: what their tables are headed.
        names, marks: of the methods; values: percent, a row a data set.
        ranks: mean over the data sets, 1 is best.
        statistic, p: of Friedman's test; NaN for two methods.
        critical_difference: Nemenyi's, of mean ranks.
        pairs: every two methods.
        smallest, smallest_holm: the smallest p of Wilcoxon's test that so many data sets allow, and after Holm.
        level: of the tests, such as 0.95.
    """

    metric: str
    datasets: tuple[str, ...]
    names: tuple[str, ...]
    marks: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    ranks: tuple[float, ...]
    statistic: float
    p: float
    critical_difference: float
    pairs: tuple[AcrossPair, ...]
    smallest: float
    smallest_holm: float
    level: float

    def told_apart(self, pair: AcrossPair) -> bool:
        """Return whether Wilcoxon–Holm tells two methods apart at the level."""
        return pair.holm <= 1 - self.level + 1e-12

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Methods next to each other in rank of which no two are told apart: the longest such runs, by place."""
        apart = {frozenset((pair.first, pair.second)) for pair in self.pairs if self.told_apart(pair)}
        order = sorted(range(len(self.names)), key=lambda place: self.ranks[place])
        groups: list[tuple[int, ...]] = []
        for start in range(len(order)):
            stop = start + 1
            while stop < len(order) and not any(
                frozenset((order[stop], other)) in apart for other in order[start:stop]
            ):
                stop += 1
            run = tuple(order[start:stop])
            if len(run) > 1 and not (groups and set(run) <= set(groups[-1])):
                groups.append(run)
        return tuple(groups)


def across(comparisons: Sequence[Comparison], metric: str, level: float = 0.95) -> Across | None:
    """Return the tests over data sets, or None where fewer than two data sets share two methods.

    The data sets that all methods ran on, when those are two or more; else the methods that ran on all data sets.

    Args:
        comparisons: a data set and metric each; metric: which to take.
        level: of the tests.
    """
    same = [comparison for comparison in comparisons if comparison.metric == metric]
    by_term = [
        {
            entrant.term: (entrant, value)
            for entrant, value in zip(comparison.match.entrants, comparison.values, strict=True)
        }
        for comparison in same
    ]
    terms = list(dict.fromkeys(term for entrants in by_term for term in entrants))
    whole = [place for place, entrants in enumerate(by_term) if len(entrants) == len(terms)]
    places = whole if len(whole) > 1 else range(len(same))
    common = [term for term in terms if all(term in by_term[place] for place in places)]
    if len(places) < 2 or len(common) < 2:
        return None
    rows = [[by_term[place][term] for term in common] for place in places]
    values = np.array([[value for _, value in row] for row in rows])
    friedman = significance.friedman(values)
    pairs = _pairs(values)
    return Across(
        metric=metric,
        datasets=tuple(same[place].match.head for place in places),
        names=tuple(entrant.name for entrant, _ in rows[0]),
        marks=tuple(
            "".join(sorted({mark for entrant, _ in column for mark in entrant.row.marks}))
            for column in zip(*rows, strict=True)
        ),
        values=tuple(tuple(map(float, row)) for row in values),
        ranks=tuple(map(float, friedman.ranks)),
        statistic=friedman.statistic,
        p=friedman.p,
        critical_difference=significance.critical_difference(len(common), len(places), level),
        pairs=pairs,
        smallest=significance.smallest_wilcoxon_p(len(places)),
        smallest_holm=significance.smallest_wilcoxon_p(len(places), len(pairs)),
        level=level,
    )


def _pairs(values: Array) -> tuple[AcrossPair, ...]:
    two = list(itertools.combinations(range(values.shape[1]), 2))
    gaps = [np.round(values[:, first] - values[:, second], 9) for first, second in two]
    raw = [significance.wilcoxon(gap) for gap in gaps]
    return tuple(
        AcrossPair(*pair, float(gap.mean()), int((gap > 0).sum()), int((gap < 0).sum()), p, float(adjusted))
        for pair, gap, p, adjusted in zip(two, gaps, raw, significance.holm(raw), strict=True)
    )
