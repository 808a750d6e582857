"""The critical-difference diagram of methods over data sets (Demšar, 2006), as one figure among the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zslbench.errors import BadValue
from zslbench.results.analysis.comparison import METRICS, Across, Comparison, across
from zslbench.results.analysis.matches import Match, match_methods
from zslbench.results.diagram import figure_of, smallest_sentence
from zslbench.results.plots.files import Drawn
from zslbench.results.plots.lines import Line, said_below
from zslbench.results.plots.style import Style
from zslbench.results.tables.table import remarks

_DEFAULT = ("T1", "H")


def draw_ranks(
    lines: Sequence[Line], style: Style, metrics: Sequence[str] | None = None, terms: Sequence[str] = ()
) -> Drawn:
    """Draw mean ranks over data sets, a diagram a metric; bars join methods that Wilcoxon–Holm does not tell apart.

    Args:
        lines: of two data sets or more; metrics: of T1, U, S and H, None: T1 and H.
        terms: the methods by name or spec, each of one line a data set; fewer than two: all lines.

    Raises:
        BadValue: no two data sets share two methods, or terms that pick several lines.
    """
    from matplotlib.text import Text

    records = [record for line in lines for record in line.records]
    found = match_methods(records, terms if len(terms) > 1 else ())
    wanted = [name.upper() for name in metrics or _DEFAULT]
    comparisons = [one for match in found for one in _comparisons(match, wanted)]
    heads = [(one.match.row.dataset, one.metric) for one in comparisons]
    if twice := sorted({dataset for dataset, metric in heads if heads.count((dataset, metric)) > 1}):
        raise BadValue(f"there are several choices of {', '.join(twice)}; choose one with --features and --semantics.")
    tests = [test for name in METRICS if (test := across(comparisons, name)) is not None]
    if not tests:
        there = ", ".join(sorted({line.row.dataset for line in lines}))
        raise BadValue(
            f"a cd figure needs two data sets that share two methods and one of {', '.join(wanted)}; the runs asked "
            f"for are on {there}; run the methods on another one."
        )
    figure = figure_of(tests, style.width)
    for text in figure.findobj(Text):
        text.set_text(style.text(text.get_text()))
    said = [f"Mean ranks over {', '.join(tests[0].datasets)}, 1 is best; methods under one bar are not told apart."]
    said += [f"{test.metric}: {smallest_sentence(test)}" for test in tests]
    ran = {entrant.row.label for match in found for entrant in match.entrants}
    drawn = [line for line in lines if line.row.label in ran]
    shown = [test.metric for test in tests]
    rows = tuple(row for test in tests for row in _rows(test))
    return Drawn(tuple(figure.axes), rows, (*remarks("figure", said), *said_below(drawn, shown)))


def _comparisons(match: Match, wanted: Sequence[str]) -> list[Comparison]:
    return [
        Comparison(match, name, tuple(entrant.row.metrics[name].mean for entrant in match.entrants), {}, ())
        for name in METRICS
        if name in wanted and all(name in entrant.row.metrics for entrant in match.entrants)
    ]


def _rows(test: Across) -> list[dict[str, Any]]:
    grouped = [
        " ".join(str(number + 1) for number, bar in enumerate(test.groups) if place in bar)
        for place in range(len(test.names))
    ]
    return [
        {
            "metric": test.metric,
            "name": name + marks,
            "mean rank": rank,
            "bars": bars,
            **{dataset: row[place] for dataset, row in zip(test.datasets, test.values, strict=True)},
        }
        for place, (name, marks, rank, bars) in enumerate(zip(test.names, test.marks, test.ranks, grouped, strict=True))
    ]
