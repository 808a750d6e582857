"""Comparisons as tables, sentences and data: what was compared, every pair's verdicts, the tests across data sets."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from zslbench.results.analysis.comparison import Across, Comparison, Entrant, Pair, Resampling
from zslbench.results.tables.captions import TRANSDUCTIVE, distinct, source_sentences, spans
from zslbench.results.tables.facts import pick_facts, round_number, round_numbers
from zslbench.results.tables.table import Cell, Remark, Table, remarks, signed, text_table
from zslbench.visible import one_line

_ENTRANT = ("", "_label", "_setting", "_selection", "_seeds", "_value")
CSV_HEADS = (
    *("dataset", "features", "semantics", "fold", "protocol", "metric", "over"),
    *(f"{side}{part}" for side in ("a", "b") for part in _ENTRANT),
    *("classes", "images", "difference", "low", "high", "p", "p_holm", "smallest_p_holm"),
)
_DATA = ("dataset", "features", "semantics")
_SIZES = ("classes", "images")
_MOST_COLUMNS = 44
_NOTHING_SAID = "An interval of [−100.0, +100.0] says nothing: too few classes, or images, differ to draw from."
_H_OF_MEANS = "H is that of the mean U and S over seeds, which can round otherwise than the mean H of a table."
_OVER = {
    "classes": "over classes: had other classes of this kind been the test classes",
    "images": "over images: had other images of the same classes been taken",
}


@dataclasses.dataclass(frozen=True)
class Comparisons:
    """All that was found, and how: what every format writes.

    Attributes:
        comparisons: a data set and metric each; across: a metric each, where data sets allow it.
        how, stage: how it was done, and on what.
        remarks: sentences on what is missing.
    """

    comparisons: tuple[Comparison, ...]
    across: tuple[Across, ...]
    how: Resampling
    stage: str
    remarks: tuple[str, ...]

    @property
    def alpha(self) -> float:
        """1 − level, clear of rounding."""
        return round(1 - self.how.level, 12)


def describe_comparisons(done: Comparisons) -> list[Remark]:
    """Return what the numbers mean and what to be careful about."""
    kinds = "; ".join(_OVER[kind] for kind in done.how.over)
    entrants = [entrant for comparison in done.comparisons for entrant in comparison.match.entrants]
    of_h = [comparison.match for comparison in done.comparisons if comparison.metric == "H"]
    marks = {mark for entrant in entrants for mark in entrant.row.marks}
    changed, unknown = (
        ", ".join(distinct(one_line(entrant.name) for entrant in entrants if entrant.row.source_state == state))
        for state in ("changed", "unknown")
    )
    method = (
        f"A − B in points of percent, {done.stage} stage; interval and p by the paired studentised bootstrap "
        f"({done.how.draws:,} draws, bootstrap seed {done.how.seed}), {kinds}."
    )
    holm = (
        f"Holm adjusts p over the pairs of one table and kind; what stands out (*, bold) has p (Holm) ≤ {done.alpha:g}."
    )
    below = remarks("stage", [method]) + remarks("ranking", [holm, *_few_draws(done)])
    below += remarks("seeds", _training(entrants))
    if any(len(entrant.row.seeds) > 1 for match in of_h for entrant in match.entrants):
        below += remarks("metrics", [_H_OF_MEANS])
    below += remarks("note", _cautions(done))
    below += [TRANSDUCTIVE] if "‡" in marks else []
    below += remarks("oracle", ["† candidate of oracle selection: tried on the test images."] if "†" in marks else [])
    return below + remarks("source", source_sentences(changed, unknown)) + remarks("note", done.remarks)


def _few_draws(done: Comparisons) -> list[str]:
    """Say where draws are so few that not even the smallest p stands out after Holm."""
    pairs = max((len(comparison.pairs) for comparison in done.comparisons), default=0)
    smallest = 1 / (done.how.draws + 1)
    if pairs * smallest <= done.alpha:
        return []
    enough = math.ceil(pairs / done.alpha)
    return [
        f"Careful: {done.how.draws:,} draws give no p below {smallest:.2g}, {min(1.0, pairs * smallest):.2g} after "
        f"Holm over {pairs} pairs, so none of those can stand out, whatever the numbers; give --draws {enough} or more."
    ]


def _training(entrants: Sequence[Entrant]) -> list[str]:
    """Say for whom training anew is part of the intervals, and for whom not."""
    chance = [entrant for entrant in entrants if entrant.row.stochastic]

    def named(number: Callable[[int], bool]) -> str:
        return ", ".join(distinct(name_of(entrant) for entrant in chance if number(len(entrant.row.seeds))))

    many, two, single = named(lambda n: n > 1), named(lambda n: n == 2), named(lambda n: n == 1)
    lines = []
    if many:
        lines.append(f"Training anew is part of the intervals, as the seeds show it, for {many}.")
    if two:
        lines.append(
            "Careful: two seeds hardly show the spread of training, and where it is large a 95 % interval holds about "
            f"90 % of the time: {two}; more seeds (`zslbench run … --seeds 5`) mend that."
        )
    if single:
        lines.append(
            f"With one seed, the intervals hold for the models as trained and leave out the chance of training: "
            f"{single}; more seeds (`zslbench run … --seeds 5`) put it in."
        )
    return lines


def _cautions(done: Comparisons) -> list[str]:
    lines: dict[str, None] = {}
    for comparison in done.comparisons:
        for pair in comparison.pairs:
            lines |= dict.fromkeys(_unlike(comparison, pair))
        lines |= dict.fromkeys(_single(comparison) if "images" in done.how.over else [])
        verdicts = (verdict for pair in comparison.pairs for verdict in pair.verdicts.values())
        if any(verdict.low <= -100 and verdict.high >= 100 for verdict in verdicts):
            lines |= {_NOTHING_SAID: None}
    return list(lines)


def _single(comparison: Comparison) -> Iterable[str]:
    for name, side in comparison.sides.items():
        if side.single:
            have = "has" if side.single == 1 else "have"
            yield (
                f"{comparison.match.head}: {side.single} of {side.classes} {name} classes {have} a single test image, "
                "which adds no spread over images."
            )


def _unlike(comparison: Comparison, pair: Pair) -> Iterable[str]:
    first, second = comparison.match.entrants[pair.first], comparison.match.entrants[pair.second]
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
    below = describe_comparisons(done)
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
    heads = ("A − B", "points", "over", f"{100 * done.how.level:g} % interval", "p", "p (Holm)")
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
    order = order_by_rank(test)
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


def text_diagram(across: Across, width: int = 100) -> str:
    """Return the diagram for a terminal: a line a method, best first, a dot at its mean rank, bars on the right.

    A vertical bar joins methods that Wilcoxon–Holm does not tell apart.
    """
    order = order_by_rank(across)
    names = [across.names[place] + across.marks[place] for place in order]
    room = max(map(len, names))
    steps = len(order) - 1
    bars = [set(group) for group in across.groups]
    cell = max(2, min(_MOST_COLUMNS, width - room - 12 - 2 * len(bars)) // steps)
    every = 2 if cell < 3 and steps > 8 else 1  # numbers of two digits would touch
    numbers = "".join((str(rank) if rank % every == 1 % every else "").ljust(cell) for rank in range(1, steps + 2))
    axis = "├" + ("─" * (cell - 1) + "┼") * (steps - 1) + "─" * (cell - 1) + "┤"
    lines = [" " * (room + 8) + numbers.rstrip(), " " * (room + 8) + axis]
    for place, name in zip(order, names, strict=True):
        at = round((across.ranks[place] - 1) * cell)
        dots = ("·" * at + "●").ljust(steps * cell + 1)
        joined = " ".join("┃" if place in bar else " " for bar in bars)
        lines.append(f"{name.ljust(room)}  {across.ranks[place]:5.2f} {dots}  {joined}".rstrip())
    return "\n".join(lines)


def smallest_sentence(across: Across) -> str:
    """Say the smallest p that so many data sets allow, and whether anything can be told apart at all."""
    n, pairs, alpha = len(across.datasets), len(across.pairs), 1 - across.level
    after = f", {short_p(across.smallest_holm)} after Holm over {pairs} pairs" if pairs > 1 else ""
    said = f"With {n} data sets the smallest p that Wilcoxon's test can reach is {short_p(across.smallest)}{after}"
    if across.smallest_holm <= alpha + 1e-12:
        return said + "."
    return f"{said}, so no pair can be told apart at {percent(alpha)}, whatever the numbers."


def order_by_rank(across: Across) -> list[int]:
    """Return the places of the methods, best mean rank first."""
    return sorted(range(len(across.names)), key=lambda place: across.ranks[place])


def short_p(value: float) -> str:
    """Return a p-value in four digits after the point at most, without trailing zeros."""
    return f"{value:.2g}" if value < 0.001 else f"{value:.4f}".rstrip("0").rstrip(".")


def percent(alpha: float) -> str:
    """Return a level of significance in percent."""
    return f"{100 * alpha:.4g} %"


def json_comparisons(done: Comparisons) -> dict[str, Any]:
    """Return one object: how it was done, the comparisons, and the tests across data sets; in points of percent."""
    return {
        "stage": done.stage,
        **pick_facts(done.how, "level", "draws"),
        "bootstrap_seed": done.how.seed,
        "comparisons": [_comparison_object(comparison) for comparison in done.comparisons],
        "across": [_across_object(test) for test in done.across],
        "remarks": [remark.text for remark in describe_comparisons(done)],
    }


def _comparison_object(comparison: Comparison) -> dict[str, Any]:
    entrants = comparison.match.entrants
    return {
        **pick_facts(comparison.match.row, *_DATA, "fingerprint", "fold", "protocol"),
        "metric": comparison.metric,
        **{part: {name: getattr(side, part) for name, side in comparison.sides.items()} for part in _SIZES},
        "methods": [
            _entrant_object(entrant) | {"value": round_number(value)}
            for entrant, value in zip(entrants, comparison.values, strict=True)
        ],
        "pairs": [
            {
                "a": entrants[pair.first].name,
                "b": entrants[pair.second].name,
                "difference": round_number(pair.difference),
                **{
                    f"over_{kind}": round_numbers(dataclasses.asdict(verdict))
                    for kind, verdict in pair.verdicts.items()
                },
            }
            for pair in comparison.pairs
        ],
    }


def _entrant_object(entrant: Entrant) -> dict[str, Any]:
    facts = ("marks", "method", "label", "params", "version", "setting", "selection", "stochastic", "seeds")
    runs = [record.id for record in entrant.row.records]
    return {"name": entrant.name, **pick_facts(entrant.row, *facts), "runs": runs}


def _across_object(test: Across) -> dict[str, Any]:
    return {
        **pick_facts(test, "metric", "datasets"),
        "methods": [
            {
                "name": name,
                "marks": marks,
                "mean_rank": round_number(rank),
                "values": [round_number(row[at]) for row in test.values],
            }
            for at, (name, marks, rank) in enumerate(zip(test.names, test.marks, test.ranks, strict=True))
        ],
        "friedman": round_numbers(pick_facts(test, "statistic", "p")),
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
        shared = pick_facts(comparison.match.row, *_DATA, "fold", "protocol") | {"metric": comparison.metric}
        shared |= {part: sum(getattr(side, part) for side in comparison.sides.values()) for part in _SIZES}
        for pair in comparison.pairs:
            sides = _side("a", comparison, pair.first) | _side("b", comparison, pair.second)
            for kind, verdict in pair.verdicts.items():
                numbers = {"low": verdict.low, "high": verdict.high, "p": verdict.p, "p_holm": verdict.holm}
                lines.append(shared | sides | {"over": kind} | round_numbers({"difference": pair.difference} | numbers))
    return lines + [
        {
            "dataset": "; ".join(test.datasets),
            "metric": test.metric,
            "over": "data sets",
            "a": test.names[pair.first] + test.marks[pair.first],
            "b": test.names[pair.second] + test.marks[pair.second],
            **round_numbers({"difference": pair.difference, "p": pair.p, "p_holm": pair.holm}),
            "smallest_p_holm": test.smallest_holm,
        }
        for test in done.across
        for pair in test.pairs
    ]


def _side(side: str, comparison: Comparison, place: int) -> dict[str, Any]:
    """Return what the columns of one method of a pair hold."""
    entrant = comparison.match.entrants[place]
    facts = pick_facts(entrant.row, "label", "setting", "selection", "seeds")
    facts["value"] = round_number(comparison.values[place])
    return {side: name_of(entrant)} | {f"{side}_{name}": value for name, value in facts.items()}
