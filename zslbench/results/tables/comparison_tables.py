"""Comparisons as tables, matrices, sentences and data: what was compared, verdicts, and tests across data sets."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zslbench.results.analysis.comparison import (
    Comparison,
    CrossDatasetPair,
    CrossDatasetTest,
    DifferenceEstimate,
    Entrant,
    Pair,
    Resampling,
)
from zslbench.results.analysis.rows import group_values
from zslbench.results.tables.captions import ORACLE, TRANSDUCTIVE, describe_sources, distinct, format_number_ranges
from zslbench.results.tables.table import Block, Cell, Column, Remark, Table, TableRow, remarks, signed, text_table
from zslbench.results.tables.table_data import pick_facts, round_number, round_numbers
from zslbench.visible import format_count, one_line, title_data

_ENTRANT = ("", "_label", "_setting", "_selection", "_seeds", "_value")
CSV_HEADS = (
    *("dataset", "features", "semantics", "fold", "protocol", "metric", "over"),
    *(f"{side}{part}" for side in ("a", "b") for part in _ENTRANT),
    *("classes", "images", "difference", "low", "high", "p", "p_holm", "smallest_p_holm"),
)
_DATA = ("dataset", "features", "semantics")
_SIZES = ("classes", "images")
_NOTHING_SAID = "An interval of [−100.0, +100.0] says nothing: too few classes, or images, differ to draw from."
_NO_INTERVAL = "–: no interval and no p, as the difference is the same in whatever is drawn."
_H_OF_MEANS = "H is that of the mean U and S over seeds; a table has the mean of the H of each seed, which can differ."
_H_OF_MEANS_SHORT = "H: of the mean U and S over seeds; a table has the mean of the H of each seed, which can differ."
_OVER = {
    "classes": "over classes: as if other classes of this kind had been the test classes",
    "images": "over images: as if other images of the same classes had been taken",
}
_CELL = 9
"""Characters of a column: a difference with its sign and mark, and the gap before it."""
_FEWEST = 3
_NAMES = 0.4
"""The largest share of a line for names."""


@dataclasses.dataclass(frozen=True)
class Comparisons:
    """Everything that was compared, and how, as every format needs it; `remarks` say what is missing."""

    comparisons: tuple[Comparison, ...]
    across: tuple[CrossDatasetTest, ...]
    how: Resampling
    stage: str
    remarks: tuple[str, ...]

    @property
    def alpha(self) -> float:
        """1 − level, without its floating-point error."""
        return round(1 - self.how.level, 12)


def describe_comparisons(done: Comparisons) -> list[Remark]:
    """Return remarks on what the numbers mean and what to be careful about."""
    entrants = [entrant for comparison in done.comparisons for entrant in comparison.match.entrants]
    of_h = [comparison.match for comparison in done.comparisons if comparison.metric == "H"]
    marks = {mark for entrant in entrants for mark in entrant.row.marks}
    sources = group_values((entrant.row.source_state, one_line(entrant.name)) for entrant in entrants)
    kinds = "; ".join(_OVER[kind] for kind in done.how.over)
    method = (
        f"A − B in points of percent, {done.stage} stage; interval and p by the paired studentised bootstrap "
        f"({done.how.draws:,} draws, bootstrap seed {done.how.seed}), {kinds}."
    )
    holm = f"Holm adjusts p over the pairs of one table and kind; * or bold marks p (Holm) ≤ {done.alpha:g}."
    short = f"A − B in points, {done.stage} stage · paired bootstrap over {' and '.join(done.how.over)}"
    below = remarks("stage", [method], f"{short}, {done.how.draws:,} draws")
    below += remarks("ranking", [holm], f"* or bold: p (Holm, over the pairs of a table) ≤ {done.alpha:g}.")
    below += warn_of_few_draws(done)
    below += _describe_training(entrants)
    if any(len(entrant.row.seeds) > 1 for match in of_h for entrant in match.entrants):
        below += remarks("metrics", [_H_OF_MEANS], _H_OF_MEANS_SHORT)
    below += remarks(
        "warning", distinct(text for comparison in done.comparisons for text in _cautions(comparison, done))
    )
    below += [TRANSDUCTIVE] if "‡" in marks else []
    below += [ORACLE] if "†" in marks else []
    changed, unknown = (sources.get(state, []) for state in ("changed", "unknown"))
    return below + describe_sources(changed, unknown) + remarks("warning", done.remarks)


def is_undecidable(verdict: DifferenceEstimate) -> bool:
    """Return whether a verdict says nothing: it has no interval, or one that holds every possible difference."""
    return math.isnan(verdict.low) or _holds_everything(verdict)


def _holds_everything(verdict: DifferenceEstimate) -> bool:
    return verdict.low <= -100 and verdict.high >= 100


def warn_of_few_draws(done: Comparisons) -> list[Remark]:
    """Say that no pair can be significant if too few draws are adjusted over too many pairs."""
    pairs = max((len(comparison.pairs) for comparison in done.comparisons), default=0)
    smallest = 1 / (done.how.draws + 1)
    if pairs * smallest > done.alpha:
        few = (
            f"Careful: {done.how.draws:,} draws give no p below {smallest:.2g}, {min(1.0, pairs * smallest):.2g} after "
            f"Holm over {pairs} pairs, so none of those can stand out, whatever the numbers; give --draws "
            f"{math.ceil(pairs / done.alpha)} or more."
        )
        return remarks("warning", [few])
    return []


def _describe_training(entrants: Sequence[Entrant]) -> list[Remark]:
    """Say for which rows the intervals include the spread of training again, and for which they do not."""

    def titles(fits: Callable[[int], bool]) -> str:
        chance = [entrant for entrant in entrants if entrant.row.stochastic]
        return ", ".join(distinct(entrant.title for entrant in chance if fits(len(entrant.row.seeds))))

    below: list[Remark] = []
    if many := titles(lambda seeds: seeds > 1):
        text = f"The intervals include the variation between trainings, as the seeds show it, for {many}."
        below += remarks("seeds", [text], "intervals hold the spread over seeds")
    if two := titles(lambda seeds: seeds == 2):
        text = (
            "Careful: two seeds hardly show the spread of training; where it is large, a 95 % interval "
            f"is right only about 90 % of the time: {two}; more seeds (`zslbench run … --seeds 5`) help."
        )
        below += remarks("warning", [text])
    if single := titles(lambda seeds: seeds == 1):
        text = (
            "With one seed, the intervals hold for the models as trained and do not include the variation between "
            f"trainings: {single}; more seeds (`zslbench run … --seeds 5`) include it."
        )
        below += remarks("single seed", [text])
    return below


def _cautions(comparison: Comparison, done: Comparisons) -> list[str]:
    sentences = []
    for pair in comparison.pairs:
        first, second = comparison.match.entrants[pair.first], comparison.match.entrants[pair.second]
        if first.row.setting != second.row.setting and "transductive" in (first.row.setting, second.row.setting):
            knows, other = (first, second) if first.row.setting == "transductive" else (second, first)
            sentences.append(
                f"Careful: {knows.title} sees the unlabelled test features in training and {other.title} does not, "
                "so their difference is also a difference of setting."
            )
        if first.row.selection != second.row.selection:
            sentences.append(
                f"Careful: the selection differs, {first.title} is {first.row.selection} and {second.title} "
                f"{second.row.selection}, so their difference is also a difference of tuning."
            )
    for name, side in comparison.sides.items():
        if side.single and "images" in done.how.over:
            sentences.append(
                f"{comparison.match.head}: {side.single} of {side.classes} {name} classes "
                f"{'has' if side.single == 1 else 'have'} a single test image, which adds no spread over images."
            )
    verdicts = [verdict for pair in comparison.pairs for verdict in pair.verdicts.values()]
    if any(map(_holds_everything, verdicts)):
        sentences.append(_NOTHING_SAID)
    if any(math.isnan(verdict.low) for verdict in verdicts):
        sentences.append(_NO_INTERVAL)
    return sentences


def comparison_tables(done: Comparisons) -> list[Table]:
    """Return tables for each data set and protocol, and those across data sets; what numbers mean is below the last."""
    groups: dict[int, list[Comparison]] = {}
    for comparison in done.comparisons:
        groups.setdefault(id(comparison.match), []).append(comparison)
    tables: list[Table] = []
    for group in groups.values():
        tables += [_entrants(group), *(_pairs(comparison, done) for comparison in group)]
    for test in done.across:
        tables += _across(test)
    last = tables[-1]
    return [*tables[:-1], dataclasses.replace(last, remarks=(*last.remarks, *describe_comparisons(done)))]


def _entrants(group: Sequence[Comparison]) -> Table:
    match = group[0].match
    sides = {name: side for comparison in group for name, side in comparison.sides.items()}
    images = " and ".join(
        f"{format_count(side.classes, f'{name} class')} ({format_count(side.images, 'image')})"
        for name, side in sides.items()
    )
    rows = []
    for number, entrant in enumerate(match.entrants):
        values = [f"{comparison.values[number]:.1f}" for comparison in group]
        run = format_number_ranges(entrant.row.seeds), entrant.row.selection, one_line(entrant.row.label)
        rows.append((entrant.title, *values, *run))
    heads = ("method", *(comparison.metric for comparison in group), "seeds", "selection", "run as")
    return text_table(
        f"{match.head}, {match.row.protocol}: {images}", heads, rows, words=range(len(heads) - 3, len(heads))
    )


def _pairs(comparison: Comparison, done: Comparisons) -> Table:
    heads = ("A − B", "points", "over", f"{100 * done.how.level:g} % interval", "p", "p (Holm)")
    titles = [entrant.title for entrant in comparison.match.entrants]
    rows: list[tuple[str | Cell, ...]] = []
    for pair in comparison.pairs:
        names = f"{titles[pair.first]} − {titles[pair.second]}", signed(pair.difference)
        for number, (kind, verdict) in enumerate(pair.verdicts.items()):
            ends = "–" if math.isnan(verdict.low) else f"[{signed(verdict.low)}, {signed(verdict.high)}]"
            p = _p(verdict.p), _holm(verdict.holm, verdict.holm <= done.alpha)
            rows.append((*(("", "") if number else names), kind, ends, *p))
    return text_table(f"{comparison.match.head}: {comparison.metric}", heads, rows, words=[2])


def _across(test: CrossDatasetTest) -> list[Table]:
    title, titles = f"Across {len(test.datasets)} data sets: {test.metric}", test.titles
    below = [f"{smallest_sentence(test)} `zslbench plot cd` draws the ranks, and joins what does not differ."]
    if not math.isnan(test.p):
        below.append(
            f"Friedman's test that all ranks are alike: chi-squared {test.statistic:.2f} with {len(titles) - 1} "
            f"degrees of freedom, p = {_p(test.p)}; Nemenyi's critical difference of mean ranks at "
            f"{percent(1 - test.level)}: {test.critical_difference:.2f}."
        )
    ranks = text_table(
        title,
        ("method", "mean rank", *map(title_data, test.datasets)),
        [(titles[at], f"{test.ranks[at]:.2f}", *(f"{row[at]:.1f}" for row in test.values)) for at in test.order],
        remarks=tuple(remarks("note", below)),
    )
    rows: list[tuple[str | Cell, ...]] = []
    for pair in test.pairs:
        points = signed(pair.difference), f"{pair.wins}–{pair.losses}"
        p = _p(pair.p), _holm(pair.holm, test.is_significant(pair.holm))
        rows.append((f"{titles[pair.first]} − {titles[pair.second]}", *points, *p))
    heads = ("A − B", "points", "won–lost", "p (Wilcoxon)", "p (Holm)")
    return [ranks, text_table(f"{title}, by pairs", heads, rows)]


def _p(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1e}" if value < 0.00005 else f"{value:.4f}"


def _holm(value: float, stands_out: bool) -> Cell:
    return Cell(_p(value), emphasis="outstanding" if stands_out else "")


def smallest_sentence(across: CrossDatasetTest) -> str:
    """Say the smallest p that so many data sets allow, and whether any difference can be significant."""
    n, pairs = len(across.datasets), len(across.pairs)
    after = f", {short_p(across.smallest_holm)} after Holm over {pairs} pairs" if pairs > 1 else ""
    sentence = f"With {n} data sets the smallest p that Wilcoxon's test can reach is {short_p(across.smallest)}{after}"
    if across.is_significant(across.smallest_holm):
        return sentence + "."
    return f"{sentence}, so no pair can differ significantly at {percent(1 - across.level)}, whatever the numbers."


def short_p(value: float) -> str:
    """Return a p-value in four digits after the point at most, without trailing zeros."""
    return f"{value:.2g}" if value < 0.001 else f"{value:.4f}".rstrip("0").rstrip(".")


def percent(alpha: float) -> str:
    """Return a level of significance in percent."""
    return f"{100 * alpha:.4g} %"


def comparison_matrices(done: Comparisons, width: int = 100) -> list[Table]:
    """Return a matrix for each data set, protocol and metric, as large as fits into lines of `width` characters."""
    tables = [_matrix(comparison, done, width) for comparison in done.comparisons]
    last = tables[-1]
    marked = any(cell and cell.bold for table in tables for row in table.rows for cell in row.cells)
    return [*tables[:-1], dataclasses.replace(last, remarks=(*last.remarks, *_describe_matrices(done, marked)))]


def _matrix(comparison: Comparison, done: Comparisons, width: int) -> Table:
    """Return the differences of one comparison: row minus column, in points."""
    match = comparison.match
    titles = [entrant.title for entrant in match.entrants]
    order = sorted(range(len(titles)), key=lambda number: -comparison.values[number])
    shown = order
    while len(shown) > _FEWEST and _room(max(len(titles[row]) for row in shown), len(shown), width) > width:
        shown = shown[:-1]
    pairs = {(pair.first, pair.second): pair for pair in comparison.pairs}
    rows = []
    for place, row in enumerate(shown, start=1):
        cells = [_difference(pairs, row, column, done.alpha) for column in shown]
        rows.append(TableRow(f"{place} {titles[row]}", "", (Cell(f"{comparison.values[row]:.1f}"), *cells)))
    every = len(order) + match.left_out
    best = f"The best {len(shown)} of {every} rows by {comparison.metric}; name others to see them."
    return Table(
        (Column(comparison.metric), *(Column(str(place)) for place in range(1, len(shown) + 1))),
        (Block(tuple(rows)),),
        tuple(remarks("note", [best] if len(shown) < every else [])),
        title=f"{match.head}, {match.row.protocol}: {comparison.metric}, and its difference row − column",
    )


def _room(longest: int, rows: int, width: int) -> int:
    """Return the characters of a line of a matrix; long names are folded."""
    return min(longest + len(f"{rows} "), round(_NAMES * width)) + _CELL * (rows + 1)


def _difference(pairs: Mapping[tuple[int, int], Pair], row: int, column: int, alpha: float) -> Cell:
    if row == column:
        return Cell("")
    pair, sign = (pairs[row, column], 1) if (row, column) in pairs else (pairs[column, row], -1)
    stands_out = all(verdict.holm <= alpha for verdict in pair.verdicts.values())
    return Cell(signed(sign * pair.difference), emphasis="outstanding" if stands_out else "")


def _name_undecidable(done: Comparisons) -> list[str]:
    """Say how many pairs have no mark because their classes, or images, are too few to tell anything."""
    sentences = []
    for kind in done.how.over:
        where = []
        for comparison in done.comparisons:
            if number := sum(is_undecidable(pair.verdicts[kind]) for pair in comparison.pairs):
                pairs = format_count(len(comparison.pairs), "pair")
                where.append(f"{number} of {pairs} of {comparison.metric} on {comparison.match.head}")
        other = [f"; --over {name} leaves them out" for name in done.how.over if name != kind]
        if where:
            sentences.append(f"Unmarked, as too few {kind} differ to draw from: {', '.join(where)}{''.join(other)}.")
    return sentences


def _describe_matrices(done: Comparisons, marked: bool) -> list[Remark]:
    entrants = [entrant for comparison in done.comparisons for entrant in comparison.match.entrants]
    kinds = " and ".join(f"over {kind}" for kind in done.how.over)
    test = f"p (Holm) ≤ {done.alpha:g} in the paired bootstrap {kinds}"
    marks = f"* or bold: {test}" if marked else f"none has {test}"
    method = f"Differences in points, {done.stage} stage; {marks}. Intervals and p: name methods, or --details."
    below = remarks("note", [method]) + remarks("note", _name_undecidable(done)) + warn_of_few_draws(done)
    settings = {entrant.row.setting == "transductive" for entrant in entrants}
    selections = distinct(entrant.row.selection for entrant in entrants)
    if len(settings) > 1:
        below += remarks("note", ["Careful: differences between ‡ and other rows are also differences of setting."])
    below += [TRANSDUCTIVE] if True in settings else []
    below += [ORACLE] if "oracle" in selections else []
    if len(selections) > 1:
        below += remarks("note", [f"Careful: rows of {' and '.join(selections)} selection differ in tuning, too."])
    sources = group_values((entrant.row.source_state, one_line(entrant.name)) for entrant in entrants)
    changed, unknown = (sources.get(state, []) for state in ("changed", "unknown"))
    return below + describe_sources(changed, unknown) + remarks("warning", done.remarks)


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
    match = comparison.match
    facts = ("marks", "method", "label", "params", "version", "setting", "selection", "stochastic", "seeds")
    return {
        **pick_facts(match.row, *_DATA, "fingerprint", "fold", "protocol"),
        "metric": comparison.metric,
        **{part: {name: getattr(side, part) for name, side in comparison.sides.items()} for part in _SIZES},
        "methods": [
            {
                "name": entrant.name,
                **pick_facts(entrant.row, *facts),
                "runs": [record.id for record in entrant.row.records],
                "value": round_number(value),
            }
            for entrant, value in zip(match.entrants, comparison.values, strict=True)
        ],
        "pairs": [
            _name_pair([entrant.name for entrant in match.entrants], pair)
            | {f"over_{kind}": round_numbers(verdict._asdict()) for kind, verdict in pair.verdicts.items()}
            for pair in comparison.pairs
        ],
    }


def _across_object(test: CrossDatasetTest) -> dict[str, Any]:
    columns = zip(test.names, test.marks, test.ranks, zip(*test.values, strict=True), strict=True)
    return {
        **pick_facts(test, "metric", "datasets"),
        "methods": [
            {"name": name, "marks": marks, "mean_rank": round_number(rank), "values": list(map(round_number, values))}
            for name, marks, rank, values in columns
        ],
        "friedman": round_numbers(pick_facts(test, "statistic", "p")),
        "nemenyi_critical_difference": round_number(test.critical_difference),
        "pairs": [
            _name_pair(test.names, pair)
            | {"won": pair.wins, "lost": pair.losses}
            | round_numbers({"p_wilcoxon": pair.p, "p_holm": pair.holm})
            for pair in test.pairs
        ],
        "smallest_p": test.smallest,
        "smallest_p_holm": test.smallest_holm,
    }


def _name_pair(names: Sequence[str], pair: Pair | CrossDatasetPair) -> dict[str, Any]:
    return {"a": names[pair.first], "b": names[pair.second], "difference": round_number(pair.difference)}


def csv_comparisons(done: Comparisons) -> list[dict[str, Any]]:
    """Return a row for each data set, metric, pair and kind of resampling; the tests across data sets follow."""
    rows: list[dict[str, Any]] = []
    for comparison in done.comparisons:
        shared = pick_facts(comparison.match.row, *_DATA, "fold", "protocol") | {"metric": comparison.metric}
        shared |= {part: sum(getattr(side, part) for side in comparison.sides.values()) for part in _SIZES}
        for pair in comparison.pairs:
            for side, number in (("a", pair.first), ("b", pair.second)):
                entrant = comparison.match.entrants[number]
                facts = pick_facts(entrant.row, "label", "setting", "selection", "seeds")
                facts["value"] = round_number(comparison.values[number])
                shared |= {side: entrant.title} | {f"{side}_{name}": value for name, value in facts.items()}
            for kind, verdict in pair.verdicts.items():
                numbers = {"low": verdict.low, "high": verdict.high, "p": verdict.p, "p_holm": verdict.holm}
                rows.append(shared | {"over": kind} | round_numbers({"difference": pair.difference} | numbers))
    for test in done.across:
        data = {"dataset": "; ".join(test.datasets), "metric": test.metric, "over": "data sets"}
        for across_pair in test.pairs:
            p = round_numbers({"p": across_pair.p, "p_holm": across_pair.holm})
            rows.append(data | _name_pair(test.titles, across_pair) | p | {"smallest_p_holm": test.smallest_holm})
    return rows
