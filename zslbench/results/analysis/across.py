"""Several methods over several data sets: ranks, Friedman, Wilcoxon–Holm, and what so few data sets can tell at all."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from zslbench.arrays import Array
from zslbench.results.analysis import statistics
from zslbench.results.analysis.comparison import Comparison
from zslbench.results.analysis.entrants import Entrant


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
        found: list[tuple[int, ...]] = []
        for start in range(len(order)):
            stop = start + 1
            while stop < len(order) and not any(frozenset((order[stop], one)) in apart for one in order[start:stop]):
                stop += 1
            run = tuple(order[start:stop])
            if len(run) > 1 and not (found and set(run) <= set(found[-1])):
                found.append(run)
        return tuple(found)


def across(comparisons: Sequence[Comparison], metric: str, level: float = 0.95) -> Across | None:
    """Return the tests over data sets, or None where fewer than two data sets share two methods.

    The data sets that all methods ran on, when those are two or more; else the methods that ran on all data sets.

    Args:
        comparisons: a data set and metric each; metric: which to take.
        level: of the tests.
    """
    found = [one for one in comparisons if one.metric == metric]
    terms = list(dict.fromkeys(entrant.term for one in found for entrant in one.match.entrants))
    whole = [one for one in found if len(one.match.entrants) == len(terms)]
    found = whole if len(whole) > 1 else found
    common = [term for term in terms if all(_has(one, term) for one in found)]
    if len(found) < 2 or len(common) < 2:
        return None
    rows = [[_entrant(one, term) for term in common] for one in found]
    values = np.array([[one.values[place] for place, _ in row] for one, row in zip(found, rows, strict=True)])
    friedman = statistics.friedman(values)
    pairs = _pairs(values)
    return Across(
        metric=metric,
        datasets=tuple(one.match.head for one in found),
        names=tuple(entrant.name for _, entrant in rows[0]),
        marks=tuple("".join(sorted({sign for row in rows for sign in row[at][1].marks})) for at in range(len(common))),
        values=tuple(tuple(map(float, row)) for row in values),
        ranks=tuple(map(float, friedman.ranks)),
        statistic=friedman.statistic,
        p=friedman.p,
        critical_difference=statistics.critical_difference(len(common), len(found), level),
        pairs=pairs,
        smallest=statistics.smallest_wilcoxon_p(len(found)),
        smallest_holm=statistics.smallest_wilcoxon_p(len(found), len(pairs)),
        level=level,
    )


def _pairs(values: Array) -> tuple[AcrossPair, ...]:
    two = list(itertools.combinations(range(values.shape[1]), 2))
    gaps = [np.round(values[:, first] - values[:, second], 9) for first, second in two]
    raw = [statistics.wilcoxon(gap) for gap in gaps]
    return tuple(
        AcrossPair(*pair, float(gap.mean()), int((gap > 0).sum()), int((gap < 0).sum()), p, float(adjusted))
        for pair, gap, p, adjusted in zip(two, gaps, raw, statistics.holm(raw), strict=True)
    )


def _has(one: Comparison, term: str) -> bool:
    return any(entrant.term == term for entrant in one.match.entrants)


def _entrant(one: Comparison, term: str) -> tuple[int, Entrant]:
    return next((place, entrant) for place, entrant in enumerate(one.match.entrants) if entrant.term == term)
