"""Who is compared with whom, how sure their differences are on each data set, and what holds across data sets.

Within a data set by the paired bootstrap; across data sets by mean ranks, Friedman's test and Wilcoxon–Holm (Demšar,
2006), with what so few data sets can tell at all.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from zslbench import seeding
from zslbench.arrays import AnyArray, Array, IntArray
from zslbench.errors import BadValue, StoreError
from zslbench.metrics import ACCURACIES, Predictions, predict_classes
from zslbench.results.analysis import significance
from zslbench.results.analysis.gather import is_method
from zslbench.results.analysis.row_names import name_specs, plain_names
from zslbench.results.analysis.rows import Row, group_values, natural, summarise
from zslbench.results.analysis.significance import Draws, Retraining
from zslbench.results.records.record import Record
from zslbench.visible import one_line

MOST_UNNAMED = 20
"""More rows than these are compared only when they are named: 20 make 190 pairs."""

METRICS = tuple(name for names in ACCURACIES.values() for name in names)
OVER = ("classes", "images")
SIDES: Mapping[str, tuple[str, ...]] = {"T1": ("unseen",), "U": ("unseen",), "S": ("seen",), "H": ("unseen", "seen")}

LoadPredictions = Callable[[Record], Predictions]
_KEPT = ("row", "label", "of_unseen", "seen_score", "seen_class", "unseen_score", "unseen_class")


@dataclasses.dataclass(frozen=True)
class Entrant:
    """One method as it ran on one data set under one protocol; `term` is what picked it, the same on every data set."""

    term: str
    name: str
    row: Row

    @property
    def title(self) -> str:
        """The name with its marks, fit to be shown."""
        return one_line(self.name) + self.row.marks


@dataclasses.dataclass(frozen=True)
class Match:
    """What is compared on one data set under one protocol: at least two entrants, in the order asked for.

    `head` names the data set, with what tells it from others of that name; `missing` names have no finished run here;
    `left_out` rows were too many to compare.
    """

    head: str
    entrants: tuple[Entrant, ...]
    missing: tuple[str, ...]
    left_out: int = 0

    @functools.cached_property
    def row(self) -> Row:
        """The first row, with the features and semantics of all: data set, fold and protocol are the same."""
        first, rows = self.entrants[0].row, [entrant.row for entrant in self.entrants]
        features, semantics = dict.fromkeys(row.features for row in rows), dict.fromkeys(row.semantics for row in rows)
        return dataclasses.replace(first, features=", ".join(features), semantics=", ".join(semantics))


def match_methods(records: Sequence[Record], terms: Sequence[str], keep_best: bool = False) -> list[Match]:
    """Return who meets whom: a match for each data set and protocol on which at least two entrants ran.

    Each of the `terms`, names or specs, must pick one row per data set and protocol; without terms every row meets the
    others, or with `keep_best` the `MOST_UNNAMED` best of each data set and protocol. A single term meets itself on
    other features and semantics of a data set. BadValue is raised where a term picks several rows, two terms pick the
    same, no two meet, or what should be one data set has different content.
    """
    if len(terms) == 1:
        return _match_stems(_group_rows(summarise(records)), terms[0])
    if twice := [term for term, number in collections.Counter(terms).items() if number > 1]:
        raise BadValue(f"{twice[0]!r} is named twice; name different methods.")
    groups = _group_rows(summarise(records))
    numbers = [len(rows) for rows in groups]
    if keep_best and not terms:
        groups = [sorted(rows, key=_headline, reverse=True)[:MOST_UNNAMED] for rows in groups]
    picked = [_pick(rows, terms) for rows in groups] if terms else _pick_all(groups)
    names = _names(picked)
    order = list(terms) or sorted(names, key=lambda term: natural(names[term]))
    matches = []
    for by_term, rows, number in zip(picked, groups, numbers, strict=True):
        if len(by_term) > 1:
            entrants = tuple(Entrant(term, names[term], by_term[term]) for term in order if term in by_term)
            missing = tuple(names.get(term, one_line(term)) for term in order if term not in by_term)
            matches.append(Match(_head(entrants[0].row, groups), entrants, missing, number - len(rows)))
    if not matches:
        where = group_values(
            (term, f"{row.data_title} {row.protocol}") for rows in picked for term, row in rows.items()
        )
        ran = "; ".join(f"{term}: {', '.join(where.get(term, ['nowhere']))}" for term in order)
        raise BadValue(
            f"no two of these methods finished on the same data set, features, semantics and protocol ({ran}); "
            "run what is missing with `zslbench run`."
        )
    return matches


def _match_stems(groups: Sequence[Sequence[Row]], term: str) -> list[Match]:
    """Return a match for each data set and protocol of which one method has several features or semantics."""
    picked = [row for rows in groups for row in _pick(rows, [term]).values()]
    by_data = group_values(((row.dataset, row.fold, row.protocol_key), number) for number, row in enumerate(picked))
    matches = []
    for numbers in by_data.values():
        rows = [picked[number] for number in numbers]
        stems = [f"{row.features}, {row.semantics}" for row in rows]
        for kind, only in (("semantics", "features"), ("features", "semantics")):
            if len({getattr(row, kind) for row in rows}) == 1:
                stems = [getattr(row, only) for row in rows]
        names = [f"{row.title} ({stem})" for row, stem in zip(rows, stems, strict=True)]
        match = Match("", tuple(map(Entrant, stems, names, rows)), ())
        matches += [dataclasses.replace(match, head=_head(match.row, groups))] if len(rows) > 1 else []
    if not matches:
        raise BadValue(
            f"{term!r} is one method, and no data set has runs of it on several features or semantics; name at least "
            "two methods, or none to compare all."
        )
    return matches


def _headline(row: Row) -> float:
    """Return what the best rows are told by: H or T1."""
    return next((row.metrics[name].mean for name in ("H", "T1", "U") if name in row.metrics), 0.0)


def _data_key(row: Row) -> tuple[object, ...]:
    """Return what rows have in common that are compared with each other."""
    return *row.data_key[:3], row.fold, *row.protocol_key


def _group_rows(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the rows of each data set and protocol, zsl first."""

    def order(row: Row) -> tuple[Any, ...]:
        return natural(row.dataset), row.features, row.semantics, row.fold, row.protocol != "zsl", _data_key(row)

    groups = [list(group) for _, group in itertools.groupby(sorted(rows, key=order), key=_data_key)]
    for group in groups:
        if len(contents := {row.fingerprint: row for row in group}) > 1:
            shown = "; ".join(f"{row.label} on {content}" for content, row in contents.items())
            raise BadValue(
                f"the runs on {group[0].data_title} are of different content ({shown}), so they share no test images "
                "to be compared on; keep those of one content, or name another folder with --runs."
            )
    return groups


def _pick(rows: Sequence[Row], terms: Sequence[str]) -> dict[str, Row]:
    """Return the one row that each term picks, for the terms that pick any."""
    picked: dict[str, Row] = {}
    for term in terms:
        fitting = [row for row in rows if is_method(row.lead, term)]
        exact = [row for row in fitting if row.label.casefold() == term.strip().casefold()]
        chosen = exact if len(exact) == 1 else [row for row in fitting if not row.replaced] or fitting
        if len(chosen) > 1:
            labels, typed = sorted(name_specs(chosen), key=natural), [row.label for row in chosen]
            advice = f"name one of them, such as '{labels[0]}'"
            shared = [label for label in labels if typed.count(label) != 1]
            if any(sum(is_method(row.lead, label) for row in chosen) > 1 for label in shared):
                labels = [f"{row.label} ({row.selection}, version {row.version})" for row in chosen]
                advice = "choose one with --selection, or keep other --runs"
            where = f"on {chosen[0].data_title} under {chosen[0].protocol}"
            raise BadValue(f"{term!r} picks {len(chosen)} rows {where}: {', '.join(labels)}; {advice}.")
        for row in chosen:
            if other := next((other for other, taken in picked.items() if taken is row), None):
                raise BadValue(f"{other!r} and {term!r} name the same runs on {row.data_name}; name different methods.")
            picked[term] = row
    return picked


def _pick_all(groups: Sequence[Sequence[Row]]) -> list[dict[str, Row]]:
    """Return every row by a term of its own: method and presets where that is enough, else the whole label."""
    most = max(map(len, groups), default=0)
    if most > MOST_UNNAMED:
        raise BadValue(
            f"there are {most} rows to compare, more than the {MOST_UNNAMED} that are compared unnamed; "
            "name the methods, as in `zslbench compare lisgan eszsl` or `zslbench plot cd -m lisgan -m eszsl`."
        )
    heads = [[row.label.partition("[")[0] for row in rows] for rows in groups]
    plain = all(len(set(names)) == len(names) for names in heads)
    picked = []
    for rows, names in zip(groups, heads, strict=True):
        terms = names if plain else name_specs(rows)
        if len(set(terms)) < len(terms):
            terms = [f"{row.label} ({row.selection}, v{row.version})" for row in rows]
        picked.append(dict(zip(terms, rows, strict=True)))
    return picked


def _names(picked: Sequence[Mapping[str, Row]]) -> dict[str, str]:
    """Return what is printed for each term: the name of its rows where no other has that name, else the term."""
    terms = [(term, row) for rows in picked for term, row in rows.items()]
    _, plain = plain_names([row for _, row in terms], _data_key)
    by_term = group_values((term, name) for (term, _), name in zip(terms, plain, strict=True))
    shared = collections.Counter(name for names in by_term.values() for name in names)
    return {
        term: names[0] if len(names) == 1 and shared[names[0]] == 1 else one_line(term)
        for term, names in by_term.items()
    }


def _head(row: Row, groups: Sequence[Sequence[Row]]) -> str:
    details = [row.features, row.semantics, *([f"fold {row.fold}"] if row.fold else [])]
    if sum(_data_key(other)[:5] == _data_key(row)[:5] for other, *_ in groups) > 1:
        protocol, version, params = row.protocol_key
        details.append(f"{protocol} v{version} {params}".strip())
    return one_line(f"{row.data_name} ({', '.join(details)})")


class DifferenceEstimate(NamedTuple):
    """An interval and p of one difference, in points; NaN where nothing can be said. `holm` is p adjusted."""

    low: float
    high: float
    p: float
    holm: float


class Pair(NamedTuple):
    """Two entrants by number, the first's metric minus the second's in points, and a verdict by what was resampled."""

    first: int
    second: int
    difference: float
    verdicts: Mapping[str, DifferenceEstimate]


class Side(NamedTuple):
    """The test images of one side: how many classes, images, and classes with a single image."""

    classes: int
    images: int
    single: int


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One metric (T1, U, S or H) on one data set, of every two entrants.

    `values` are percent, by entrant, of the mean class accuracies over seeds; `sides` are those that the metric uses.
    """

    match: Match
    metric: str
    values: tuple[float, ...]
    sides: Mapping[str, Side]
    pairs: tuple[Pair, ...]


class Resampling(NamedTuple):
    """How the bootstrap is done: what is resampled (of `OVER`), the level of the intervals, draws and their seed."""

    over: Sequence[str] = OVER
    level: float = 0.95
    draws: int = 10_000
    seed: int = 0


class Answers(NamedTuple):
    """Of each test image of one run, in order of its row: (n,) row, label, whether its class is unseen, and `right`."""

    row: AnyArray
    label: AnyArray
    of_unseen: AnyArray
    right: AnyArray


@dataclasses.dataclass(frozen=True, eq=False)
class AnsweredSide:
    """Whether each test image of one side was answered rightly: `right` has an (n, K) array per entrant, of K seeds."""

    labels: IntArray
    right: tuple[Array, ...]

    def draw(self, kind: str, how: Resampling, images: str) -> Draws:
        """Return draws of classes or of images, as `kind` says; `images` names them for the stream of chance."""
        mean = np.stack([seeds.mean(axis=1) for seeds in self.right], axis=1)
        rng = seeding.stream(how.seed, f"bootstrap {kind} {images}")
        if kind == "classes":
            return significance.draw_classes(significance.accuracy_by_class(mean, self.labels), how.draws, rng)
        return significance.draw_images(mean, self.labels, how.draws, rng)

    def count(self) -> Side:
        """Return how many classes and images there are."""
        counts = np.unique(self.labels, return_counts=True)[1]
        return Side(len(counts), len(self.labels), int(np.count_nonzero(counts == 1)))


def metrics_of(match: Match) -> tuple[str, ...]:
    """Return the metrics that can be compared in a match; none for a protocol that is not known here."""
    known = ACCURACIES.get(match.row.protocol, ())
    return tuple(name for name in known if all(name in entrant.row.metrics for entrant in match.entrants))


def compare_within(match: Match, metrics: Sequence[str], load: LoadPredictions, how: Resampling) -> list[Comparison]:
    """Return a comparison for each metric (some of `metrics_of`), all on the same draws and the same test images."""
    answered = answered_sides(match, lambda record: read_answers(record, load))
    entrants = range(len(match.entrants))
    drawn = {
        (kind, side): part.draw(kind, how, f"{side} {match.row.fingerprint}")
        for kind in how.over
        for side, part in answered.items()
        if any(side in SIDES[name] for name in metrics)
    }
    pairs = list(itertools.combinations(entrants, 2))
    comparisons = []
    for metric in metrics:
        parts = [answered[side] for side in SIDES[metric]]
        verdicts: list[dict[str, DifferenceEstimate]] = [{} for _ in pairs]
        for kind in how.over:
            draws = [drawn[kind, side] for side in SIDES[metric]]
            training = retraining(kind, parts, draws, match.entrants, how)
            tests = [significance.bootstrap_difference(draws, *pair, how.level, training) for pair in pairs]
            for by_kind, test, holm in zip(verdicts, tests, significance.holm([test.p for test in tests]), strict=True):
                by_kind[kind] = DifferenceEstimate(100 * test.low, 100 * test.high, test.p, float(holm))
        values = tuple(100 * float(significance.metric(draws, number)[0]) for number in entrants)
        sides = {side: part.count() for side, part in zip(SIDES[metric], parts, strict=True)}
        differences = (
            Pair(*pair, 100 * test.difference, by) for pair, test, by in zip(pairs, tests, verdicts, strict=True)
        )
        comparisons.append(Comparison(match, metric, values, sides, tuple(differences)))
    return comparisons


def retraining(
    kind: str, parts: Sequence[AnsweredSide], sides: Sequence[Draws], entrants: Sequence[Entrant], how: Resampling
) -> Retraining:
    """Return what training anew adds: the spread of the metric over seeds, less what the resampling holds already."""
    columns = []
    for number, entrant in enumerate(entrants):
        right = [part.right[number] for part in parts]
        seeds = right[0].shape[1] if entrant.row.stochastic else 1
        variance = 0.0
        if seeds > 1:
            means = [
                significance.accuracy_by_class(correct, part.labels) for correct, part in zip(right, parts, strict=True)
            ]
            each = [Draws(mean.mean(axis=0)[None], np.zeros((1, seeds, seeds))) for mean in means]
            metric = [float(significance.metric(each, seed)[0]) for seed in range(seeds)]
            slopes = [float(slope[0]) for slope in significance.metric_gradient(sides, number)]
            variance = float(np.var(metric, ddof=1)) / seeds
            for slope, correct, mean, part in zip(slopes, right, means, parts, strict=True):
                whole = kind == "classes"
                labels = np.zeros(len(mean), dtype=np.int64) if whole else part.labels
                variance -= slope**2 * significance.interaction_variance(mean if whole else correct, labels)
        rng = seeding.stream(how.seed, f"bootstrap training {kind} {entrant.row.records[0].id}")
        columns.append(significance.draw_training(max(variance, 0.0), seeds, how.draws, rng))
    return Retraining(*(np.stack(arrays, axis=1) for arrays in zip(*columns, strict=True)))


def read_answers(record: Record, load: LoadPredictions) -> Answers:
    """Return which images a run answered rightly; StoreError: its predictions are lost or lack something."""
    arrays = load(record)
    if lacking := [name for name in _KEPT if name not in arrays]:
        raise StoreError(
            f"the predictions of run {record.id} lack {', '.join(lacking)}; run it again with --rerun all."
        )
    order = np.argsort(arrays["row"], kind="stable")
    arrays = {name: arrays[name][order] for name in _KEPT}
    predicted = arrays["unseen_class"] if record.protocol["name"] == "zsl" else predict_classes(arrays)
    return Answers(arrays["row"], arrays["label"], arrays["of_unseen"], predicted == arrays["label"])


def answered_sides(match: Match, read: Callable[[Record], Answers]) -> dict[str, AnsweredSide]:
    """Return which images were answered rightly, by side, after checking that all were asked about the same ones."""
    runs = [(entrant, record) for entrant in match.entrants for record in entrant.row.records]
    right: dict[str, list[AnyArray]] = {}
    first = read(runs[0][1])
    for entrant, record in runs:
        answers = read(record)
        if any(not np.array_equal(*arrays) for arrays in zip(answers[:3], first[:3], strict=True)):
            raise BadValue(
                f"run {record.id} of {entrant.row.label} and run {runs[0][1].id} of {match.row.label} were asked about "
                f"different test images of {match.head}, so they cannot be paired; run both again with --rerun all."
            )
        right.setdefault(entrant.term, []).append(answers.right)
    return {
        side: AnsweredSide(
            first.label[among], tuple(np.stack(seeds, axis=1)[among].astype(float) for seeds in right.values())
        )
        for side, among in (("unseen", first.of_unseen), ("seen", ~first.of_unseen))
        if among.any()
    }


class CrossDatasetPair(NamedTuple):
    """Two methods by number: the mean difference in points, data sets won by the first and lost, p, and p adjusted."""

    first: int
    second: int
    difference: float
    wins: int
    losses: int
    p: float
    holm: float


@dataclasses.dataclass(frozen=True)
class CrossDatasetTest:
    """One metric of the methods that ran on all of several data sets.

    Attributes:
        datasets: what their tables are headed; values: percent, a row per data set.
        ranks: mean over the data sets, 1 is best.
        statistic, p: of Friedman's test; NaN for two methods.
        critical_difference: Nemenyi's, of mean ranks.
        smallest, smallest_holm: the smallest p of Wilcoxon's test that so many data sets allow, and after Holm.
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
    pairs: tuple[CrossDatasetPair, ...]
    smallest: float
    smallest_holm: float
    level: float

    @property
    def titles(self) -> list[str]:
        """The names with their marks."""
        return [name + marks for name, marks in zip(self.names, self.marks, strict=True)]

    @property
    def order(self) -> list[int]:
        """The numbers of the methods, best mean rank first."""
        return sorted(range(len(self.names)), key=lambda number: self.ranks[number])

    def is_significant(self, p: float) -> bool:
        """Return whether a p is as small as the level asks for."""
        return p <= 1 - self.level + 1e-12

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Methods next to each other in rank of which no two are told apart: the longest such runs, by number."""
        apart = {frozenset((pair.first, pair.second)) for pair in self.pairs if self.is_significant(pair.holm)}
        order = self.order
        groups: list[tuple[int, ...]] = []
        for start in range(len(order)):
            stop = start + 1
            while stop < len(order) and not any({order[stop], other} in apart for other in order[start:stop]):
                stop += 1
            run = tuple(order[start:stop])
            if len(run) > 1 and not (groups and set(run) <= set(groups[-1])):
                groups.append(run)
        return tuple(groups)


def compare_across(comparisons: Sequence[Comparison], metric: str, level: float = 0.95) -> CrossDatasetTest | None:
    """Return the tests over data sets, or None where fewer than two data sets share two methods.

    The data sets that all methods ran on, when those are two or more; else the methods that ran on all data sets.
    """
    same = [comparison for comparison in comparisons if comparison.metric == metric]
    values = [
        {entrant.term: value for entrant, value in zip(comparison.match.entrants, comparison.values, strict=True)}
        for comparison in same
    ]
    terms = list(dict.fromkeys(term for by_term in values for term in by_term))
    whole = [number for number, by_term in enumerate(values) if len(by_term) == len(terms)]
    numbers = whole if len(whole) > 1 else range(len(same))
    common = [term for term in terms if all(term in values[number] for number in numbers)]
    if len(numbers) < 2 or len(common) < 2:
        return None
    array = np.array([[values[number][term] for term in common] for number in numbers])
    matches = [same[number].match for number in numbers]
    entrants = [[entrant for match in matches for entrant in match.entrants if entrant.term == term] for term in common]
    friedman = significance.friedman(array)
    two = list(itertools.combinations(range(len(common)), 2))
    gaps = [np.round(array[:, first] - array[:, second], 9) for first, second in two]
    raw = [significance.wilcoxon(gap) for gap in gaps]
    return CrossDatasetTest(
        metric=metric,
        datasets=tuple(match.head for match in matches),
        names=tuple(same_term[0].name for same_term in entrants),
        marks=tuple(
            "".join(sorted({mark for entrant in same_term for mark in entrant.row.marks})) for same_term in entrants
        ),
        values=tuple(map(tuple, array.tolist())),
        ranks=tuple(friedman.ranks.tolist()),
        statistic=friedman.statistic,
        p=friedman.p,
        critical_difference=significance.critical_difference(len(common), len(matches), level),
        pairs=tuple(
            CrossDatasetPair(*pair, float(gap.mean()), int((gap > 0).sum()), int((gap < 0).sum()), p, float(adjusted))
            for pair, gap, p, adjusted in zip(two, gaps, raw, significance.holm(raw), strict=True)
        ),
        smallest=significance.smallest_wilcoxon_p(len(matches)),
        smallest_holm=significance.smallest_wilcoxon_p(len(matches), len(two)),
        level=level,
    )
