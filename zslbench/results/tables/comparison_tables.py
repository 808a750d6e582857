"""Comparisons as tables, sentences and data: what was compared, every pair's verdicts, the tests across data sets."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any

from zslbench.results.analysis.comparison import Across, Comparison, Pair
from zslbench.results.analysis.matches import Entrant
from zslbench.results.diagram import smallest_sentence, text_diagram
from zslbench.results.tables.captions import TRANSDUCTIVE, distinct, source_sentences, spans
from zslbench.results.tables.data import round_number
from zslbench.results.tables.table import Cell, Table, remarks, signed, text_table
from zslbench.visible import one_line

_ENTRANT = ("", "_label", "_setting", "_selection", "_seeds", "_value")
CSV_HEADS = (
    *("dataset", "features", "semantics", "fold", "protocol", "metric", "over"),
    *(f"{side}{part}" for side in ("a", "b") for part in _ENTRANT),
    *("classes", "images", "difference", "low", "high", "p", "p_holm", "smallest_p_holm"),
)
_OVER = {
    "classes": "over classes: had other classes of this kind been the test classes",
    "images": "over images: had other images of the same classes been taken",
}


@dataclasses.dataclass(frozen=True)
class Comparisons:
    """All that was found, and how: what every format writes.

    Attributes:
        comparisons: a data set and metric each; across: a metric each, where data sets allow it.
        level, draws, seed, over, stage: how it was done.
        remarks: sentences on what is missing.
    """

    comparisons: tuple[Comparison, ...]
    across: tuple[Across, ...]
    level: float
    draws: int
    seed: int
    over: tuple[str, ...]
    stage: str
    remarks: tuple[str, ...]

    @property
    def alpha(self) -> float:
        """1 − level, clear of rounding."""
        return round(1 - self.level, 12)


def sentences(done: Comparisons) -> list[str]:
    """Return what the numbers mean and what to be careful about, a sentence each."""
    kinds = "; ".join(_OVER[kind] for kind in done.over)
    lines = [
        f"A − B in points of percent, {done.stage} stage; interval and p by the paired studentised bootstrap "
        f"({done.draws:,} draws, bootstrap seed {done.seed}), {kinds}.",
        f"Holm adjusts p over the pairs of one table and kind; what stands out (*, bold) has "
        f"p (Holm) ≤ {done.alpha:g}.",
        *_few_draws(done),
        *_training(done),
    ]
    if any(
        one.metric == "H" and len(entrant.row.seeds) > 1 for one in done.comparisons for entrant in one.match.entrants
    ):
        lines.append("H is that of the mean U and S over seeds, which can round otherwise than the mean H of a table.")
    lines += _cautions(done)
    entrants = _everyone(done)
    if any("‡" in entrant.row.marks for entrant in entrants):
        lines.append(TRANSDUCTIVE.text)
    if any("†" in entrant.row.marks for entrant in entrants):
        lines.append("† candidate of oracle selection: tried on the test images.")
    changed = distinct(one_line(one.name) for one in entrants if one.row.source_state == "changed")
    unknown = distinct(one_line(one.name) for one in entrants if one.row.source_state == "unknown")
    return [*lines, *source_sentences(", ".join(changed), ", ".join(unknown)), *done.remarks]


def _few_draws(done: Comparisons) -> list[str]:
    """Say where draws are so few that not even the smallest p stands out after Holm."""
    pairs = max((len(one.pairs) for one in done.comparisons), default=0)
    smallest = 1 / (done.draws + 1)
    if pairs * smallest <= done.alpha:
        return []
    enough = math.ceil(pairs / done.alpha)
    return [
        f"Careful: {done.draws:,} draws give no p below {smallest:.2g}, {min(1.0, pairs * smallest):.2g} after Holm "
        f"over {pairs} pairs, so none of those can stand out, whatever the numbers; give --draws {enough} or more."
    ]


def _training(done: Comparisons) -> list[str]:
    """Say for whom training anew is part of the intervals, and for whom not."""
    chance = [entrant for entrant in _everyone(done) if entrant.row.stochastic]
    many = distinct(name_of(entrant) for entrant in chance if len(entrant.row.seeds) > 1)
    single = distinct(name_of(entrant) for entrant in chance if len(entrant.row.seeds) == 1)
    two = distinct(name_of(entrant) for entrant in chance if len(entrant.row.seeds) == 2)
    lines = []
    if many:
        lines.append(f"Training anew is part of the intervals, as the seeds show it, for {', '.join(many)}.")
    if two:
        lines.append(
            "Careful: two seeds hardly show the spread of training, and where it is large a 95 % interval holds about "
            f"90 % of the time: {', '.join(two)}; more seeds (`zslbench run … --seeds 5`) mend that."
        )
    if single:
        lines.append(
            f"With one seed, the intervals hold for the models as trained and leave out the chance of training: "
            f"{', '.join(single)}; more seeds (`zslbench run … --seeds 5`) put it in."
        )
    return lines


def _cautions(done: Comparisons) -> list[str]:
    lines: dict[str, None] = {}
    for one in done.comparisons:
        for pair in one.pairs:
            lines |= dict.fromkeys(_unlike(one, pair))
        lines |= dict.fromkeys(_single(one) if "images" in done.over else [])
        if any(verdict.low <= -100 and verdict.high >= 100 for pair in one.pairs for verdict in pair.verdicts.values()):
            lines["An interval of [−100.0, +100.0] says nothing: too few classes, or images, differ to draw from."] = (
                None
            )
    return list(lines)


def _single(one: Comparison) -> Iterable[str]:
    for name, side in one.sides.items():
        if side.single:
            have = "has" if side.single == 1 else "have"
            yield (
                f"{one.match.head}: {side.single} of {side.classes} {name} classes {have} a single test image, which "
                "adds no spread over images."
            )


def _unlike(one: Comparison, pair: Pair) -> Iterable[str]:
    first, second = one.match.entrants[pair.first], one.match.entrants[pair.second]
    settings = {first.row.setting, second.row.setting}
    if "transductive" in settings and len(settings) > 1:
        knows, other = (first, second) if first.row.setting == "transductive" else (second, first)
        yield (
            f"Careful: {name_of(knows)} sees the unlabelled test features in training and {name_of(other)} does not, "
            "so their difference is also one of setting."
        )
    if first.row.selection != second.row.selection:
        yield (
            f"Careful: the selection differs, {name_of(first)} is {first.row.selection} and {name_of(second)} "
            f"{second.row.selection}, so their difference is also one of tuning."
        )


def name_of(entrant: Entrant) -> str:
    """Return an entrant's name with its marks."""
    return one_line(entrant.name) + entrant.row.marks


def _everyone(done: Comparisons) -> list[Entrant]:
    return [entrant for one in done.comparisons for entrant in one.match.entrants]


def comparison_tables(done: Comparisons, width: int = 100) -> list[Table]:
    """Return tables for each data set and protocol, those across data sets, and what the numbers mean below the last.

    Args:
        width: characters of a line, which drawings are made for.
    """
    tables: list[Table] = []
    groups: dict[int, list[Comparison]] = {}
    for comparison in done.comparisons:
        groups.setdefault(id(comparison.match), []).append(comparison)
    for group in groups.values():
        tables += [_entrants(group), *(_pairs(comparison, done) for comparison in group)]
    for test in done.across:
        tables += _across(test, width)
    below = remarks("note", sentences(done))
    return [*tables[:-1], dataclasses.replace(tables[-1], remarks=(*tables[-1].remarks, *below))]


def _entrants(group: Sequence[Comparison]) -> Table:
    match = group[0].match
    sides = {name: side for comparison in group for name, side in comparison.sides.items()}
    images = [f"{side.classes} {name} classes ({side.images:,} images)" for name, side in sides.items()]
    rows = []
    for place, entrant in enumerate(match.entrants):
        values = [f"{comparison.values[place]:.1f}" for comparison in group]
        run = spans(entrant.row.seeds), entrant.row.selection, one_line(entrant.row.label)
        rows.append((name_of(entrant), *values, *run))
    heads = ("method", *(comparison.metric for comparison in group), "seeds", "selection", "run as")
    title = f"{match.head}, {match.row.protocol}: {' and '.join(images)}"
    return text_table(title, heads, rows, words=range(len(heads) - 3, len(heads)))


def _pairs(comparison: Comparison, done: Comparisons) -> Table:
    heads = ("A − B", "points", "over", f"{100 * done.level:g} % interval", "p", "p (Holm)")
    rows: list[tuple[str | Cell, ...]] = []
    for pair in comparison.pairs:
        first, second = (name_of(comparison.match.entrants[place]) for place in (pair.first, pair.second))
        begin: tuple[str, ...] = (f"{first} − {second}", signed(pair.difference))
        for kind, verdict in pair.verdicts.items():
            ends = "–" if math.isnan(verdict.low) else f"[{signed(verdict.low)}, {signed(verdict.high)}]"
            rows.append((*begin, kind, ends, _p(verdict.p), _holm(verdict.holm, verdict.holm <= done.alpha)))
            begin = ("", "")
    return text_table(f"{comparison.match.head}: {comparison.metric}", heads, rows, words=[2])


def _across(test: Across, width: int) -> list[Table]:
    title = f"Across {len(test.datasets)} data sets: {test.metric}"
    names = [name + marks for name, marks in zip(test.names, test.marks, strict=True)]
    order = sorted(range(len(names)), key=lambda place: test.ranks[place])
    below = [smallest_sentence(test)]
    if not math.isnan(test.p):
        below.append(
            f"Friedman's test that all ranks are alike: chi-squared {test.statistic:.2f} with {len(names) - 1} degrees "
            f"of freedom, p = {_p(test.p)}; Nemenyi's critical difference of mean ranks at "
            f"{100 * (1 - test.level):.4g} %: {test.critical_difference:.2f}."
        )
    ranks = text_table(
        title,
        ("method", "mean rank", *test.datasets),
        [(names[at], f"{test.ranks[at]:.2f}", *(f"{row[at]:.1f}" for row in test.values)) for at in order],
        drawing=f"{text_diagram(test, width)}\n┃ joins methods that Wilcoxon–Holm does not tell apart",
        remarks=tuple(remarks("note", below)),
    )
    rows = [
        (
            f"{names[pair.first]} − {names[pair.second]}",
            signed(pair.difference),
            f"{pair.wins}–{pair.losses}",
            _p(pair.p),
            _holm(pair.holm, test.told_apart(pair)),
        )
        for pair in test.pairs
    ]
    heads = ("A − B", "points", "won–lost", "p (Wilcoxon)", "p (Holm)")
    return [ranks, text_table(f"{title}, by pairs", heads, rows)]


def _p(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1e}" if value < 0.00005 else f"{value:.4f}"


def _holm(value: float, stands_out: bool) -> Cell:
    return Cell(_p(value), emphasis="outstanding" if stands_out else "")


def json_comparisons(done: Comparisons) -> dict[str, Any]:
    """Return one object: how it was done, the comparisons, and the tests across data sets; in points of percent."""
    return {
        "stage": done.stage,
        "level": done.level,
        "draws": done.draws,
        "bootstrap_seed": done.seed,
        "comparisons": [_comparison_object(comparison) for comparison in done.comparisons],
        "across": [_across_object(test) for test in done.across],
        "remarks": sentences(done),
    }


def _comparison_object(comparison: Comparison) -> dict[str, Any]:
    match = comparison.match
    return {
        "dataset": match.row.dataset,
        "features": match.row.features,
        "semantics": match.row.semantics,
        "fingerprint": match.row.fingerprint,
        "fold": match.row.fold,
        "protocol": match.row.protocol,
        "metric": comparison.metric,
        "classes": {name: side.classes for name, side in comparison.sides.items()},
        "images": {name: side.images for name, side in comparison.sides.items()},
        "methods": [
            _entrant_object(entrant) | {"value": round_number(value)}
            for entrant, value in zip(match.entrants, comparison.values, strict=True)
        ],
        "pairs": [
            {
                "a": match.entrants[pair.first].name,
                "b": match.entrants[pair.second].name,
                "difference": round_number(pair.difference),
                **{
                    f"over_{kind}": {key: round_number(value) for key, value in dataclasses.asdict(verdict).items()}
                    for kind, verdict in pair.verdicts.items()
                },
            }
            for pair in comparison.pairs
        ],
    }


def _entrant_object(entrant: Entrant) -> dict[str, Any]:
    row = entrant.row
    return {
        "name": entrant.name,
        "marks": entrant.row.marks,
        "method": row.method,
        "label": row.label,
        "params": dict(row.params),
        "version": row.version,
        "setting": row.setting,
        "selection": row.selection,
        "stochastic": entrant.row.stochastic,
        "seeds": list(row.seeds),
        "runs": [record.id for record in entrant.row.records],
    }


def _across_object(test: Across) -> dict[str, Any]:
    return {
        "metric": test.metric,
        "datasets": list(test.datasets),
        "methods": [
            {
                "name": name,
                "marks": marks,
                "mean_rank": round_number(rank),
                "values": [round_number(row[at]) for row in test.values],
            }
            for at, (name, marks, rank) in enumerate(zip(test.names, test.marks, test.ranks, strict=True))
        ],
        "friedman": {"statistic": round_number(test.statistic), "p": round_number(test.p)},
        "nemenyi_critical_difference": round_number(test.critical_difference),
        "pairs": [
            {
                "a": test.names[pair.first],
                "b": test.names[pair.second],
                "difference": round_number(pair.difference),
                "won": pair.wins,
                "lost": pair.losses,
                "p_wilcoxon": round_number(pair.p),
                "p_holm": round_number(pair.holm),
            }
            for pair in test.pairs
        ],
        "smallest_p": test.smallest,
        "smallest_p_holm": test.smallest_holm,
    }


def csv_comparisons(done: Comparisons) -> list[dict[str, Any]]:
    """Return a line for each data set, metric, pair and kind of resampling; the tests across data sets follow."""
    lines: list[dict[str, Any]] = []
    for comparison in done.comparisons:
        match = comparison.match
        shared = {
            "dataset": match.row.dataset,
            "features": match.row.features,
            "semantics": match.row.semantics,
            "fold": match.row.fold,
            "protocol": match.row.protocol,
            "metric": comparison.metric,
            "classes": sum(side.classes for side in comparison.sides.values()),
            "images": sum(side.images for side in comparison.sides.values()),
        }
        for pair in comparison.pairs:
            both = _columns("a", comparison, pair.first) | _columns("b", comparison, pair.second)
            for kind, verdict in pair.verdicts.items():
                numbers = {"low": verdict.low, "high": verdict.high, "p": verdict.p, "p_holm": verdict.holm}
                line = shared | both | {"over": kind, "difference": round_number(pair.difference)}
                lines.append(line | {name: round_number(value) for name, value in numbers.items()})
    return lines + [
        {
            "dataset": "; ".join(test.datasets),
            "metric": test.metric,
            "over": "data sets",
            "a": test.names[pair.first] + test.marks[pair.first],
            "b": test.names[pair.second] + test.marks[pair.second],
            "difference": round_number(pair.difference),
            "p": round_number(pair.p),
            "p_holm": round_number(pair.holm),
            "smallest_p_holm": test.smallest_holm,
        }
        for test in done.across
        for pair in test.pairs
    ]


def _columns(side: str, comparison: Comparison, place: int) -> dict[str, Any]:
    entrant = comparison.match.entrants[place]
    return {
        side: name_of(entrant),
        f"{side}_label": entrant.row.label,
        f"{side}_setting": entrant.row.setting,
        f"{side}_selection": entrant.row.selection,
        f"{side}_seeds": entrant.row.seeds,
        f"{side}_value": round_number(comparison.values[place]),
    }
