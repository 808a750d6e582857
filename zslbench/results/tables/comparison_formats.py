"""Comparisons as text: what was compared, every pair's verdicts, and the tests across data sets."""

from __future__ import annotations

import math
from collections.abc import Sequence

from zslbench.results.analysis.across import Across
from zslbench.results.analysis.comparison import Comparison
from zslbench.results.diagram import smallest_sentence, text_diagram
from zslbench.results.tables.comparison_report import Report, sentences, shown
from zslbench.results.tables.document import Block, Drawing, Heading, Sentences, Sheet
from zslbench.visible import one_line


def blocks(report: Report, width: int = 100) -> list[Block]:
    """Return the report as blocks: a part a data set and protocol, one across data sets, and what the numbers mean."""
    found: list[Block] = []
    groups: dict[int, list[Comparison]] = {}
    for one in report.comparisons:
        groups.setdefault(id(one.match), []).append(one)
    for group in groups.values():
        found += [Heading(_title(group)), _entrants(group)]
        for one in group:
            found += [Heading(f"{one.match.head}: {one.metric}"), _pairs(one, report)]
    for one_metric in report.across:
        found += _across(one_metric, width)
    return [*found, Sentences(tuple(map(one_line, sentences(report))))]


def _title(group: Sequence[Comparison]) -> str:
    sides = {name: side for one in group for name, side in one.sides.items()}
    parts = [f"{side.classes} {name} classes ({side.images:,} images)" for name, side in sides.items()]
    match = group[0].match
    return f"{match.head}, {match.protocol}: {' and '.join(parts)}"


def _entrants(group: Sequence[Comparison]) -> Sheet:
    rows = []
    for place, entrant in enumerate(group[0].match.entrants):
        values = [f"{one.values[place]:.1f}" for one in group]
        told = (listed(entrant.row.seeds), entrant.row.selection, one_line(entrant.row.label))
        rows.append((shown(entrant), *values, *told))
    heads = ("method", *(one.metric for one in group), "seeds", "selection", "run as")
    last = len(heads)
    return Sheet(heads, tuple(rows), frozenset({0, last - 3, last - 2, last - 1}))


def _pairs(one: Comparison, report: Report) -> Sheet:
    heads = ("A − B", "points", "over", f"{100 * report.level:g} % interval", "p", "p (Holm)")
    rows: list[tuple[str, ...]] = []
    bold: set[int] = set()
    for pair in one.pairs:
        name = f"{shown(one.match.entrants[pair.first])} − {shown(one.match.entrants[pair.second])}"
        for place, (kind, verdict) in enumerate(pair.verdicts.items()):
            if not math.isnan(verdict.holm) and verdict.holm <= report.alpha:
                bold.add(len(rows))
            first = (name, f"{pair.difference:+.1f}") if place == 0 else ("", "")
            ends = "–" if math.isnan(verdict.low) else f"[{verdict.low:+.1f}, {verdict.high:+.1f}]"
            rows.append((*first, kind, ends, _p(verdict.p), _p(verdict.holm)))
    return Sheet(heads, tuple(rows), frozenset({0, 2}), frozenset(bold))


def _across(one: Across, width: int) -> list[Block]:
    title = f"Across {len(one.datasets)} data sets: {one.metric}"
    order = sorted(range(len(one.names)), key=lambda place: one.ranks[place])
    ranks = Sheet(
        ("method", "mean rank", *one.datasets),
        tuple(
            (one.names[at] + one.marks[at], f"{one.ranks[at]:.2f}", *(f"{row[at]:.1f}" for row in one.values))
            for at in order
        ),
    )
    rows = []
    for pair in one.pairs:
        name = f"{one.names[pair.first]}{one.marks[pair.first]} − {one.names[pair.second]}{one.marks[pair.second]}"
        rows.append((name, f"{pair.difference:+.1f}", f"{pair.wins}–{pair.losses}", _p(pair.p), _p(pair.holm)))
    apart = frozenset(place for place, pair in enumerate(one.pairs) if one.told_apart(pair))
    tests = Sheet(("A − B", "points", "won–lost", "p (Wilcoxon)", "p (Holm)"), tuple(rows), frozenset({0}), apart)
    lines = [smallest_sentence(one)]
    if not math.isnan(one.p):
        freedom = len(one.names) - 1
        lines.append(
            f"Friedman's test that all ranks are alike: chi-squared {one.statistic:.2f} with {freedom} degrees of "
            f"freedom, p = {_p(one.p)}; Nemenyi's critical difference of mean ranks at {100 * (1 - one.level):.4g} %: "
            f"{one.critical_difference:.2f}."
        )
    drawing = Drawing(f"{text_diagram(one, width)}\n┃ joins methods that Wilcoxon–Holm does not tell apart")
    return [Heading(title), ranks, drawing, Sentences(tuple(lines)), Heading(f"{title}, by pairs"), tests]


def _p(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1e}" if value < 0.00005 else f"{value:.4f}"


def listed(seeds: Sequence[int]) -> str:
    """Write seeds shortened: ``0–4``, or ``0, 2, 7``.

    >>> listed([0, 1, 2]), listed([0, 3]), listed([5])
    ('0–2', '0, 3', '5')
    """
    whole = len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1))
    return f"{seeds[0]}–{seeds[-1]}" if whole else ", ".join(map(str, seeds))
