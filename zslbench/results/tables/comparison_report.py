"""What a comparison found, and the sentences that say what its numbers mean."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

from zslbench.results.analysis.across import Across
from zslbench.results.analysis.comparison import Comparison, Pair
from zslbench.results.analysis.entrants import Entrant
from zslbench.results.tables.captions import source_sentences
from zslbench.visible import one_line

_OVER = {
    "classes": "over classes: had other classes of this kind been the test classes",
    "images": "over images: had other images of the same classes been taken",
}


@dataclasses.dataclass(frozen=True)
class Report:
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


def sentences(report: Report) -> list[str]:
    """Return what the numbers mean and what to be careful about, a sentence each."""
    kinds = "; ".join(_OVER[kind] for kind in report.over)
    lines = [
        f"A − B in points of percent, {report.stage} stage; interval and p by the paired studentised bootstrap "
        f"({report.draws:,} draws, bootstrap seed {report.seed}), {kinds}.",
        f"Holm adjusts p over the pairs of one table and kind; what stands out (*, bold) has "
        f"p (Holm) ≤ {report.alpha:g}.",
        *_few_draws(report),
        *_training(report),
    ]
    if any(
        one.metric == "H" and len(entrant.row.seeds) > 1 for one in report.comparisons for entrant in one.match.entrants
    ):
        lines.append("H is that of the mean U and S over seeds, which can round otherwise than the mean H of a table.")
    lines += _cautions(report)
    entrants = _everyone(report)
    if any("‡" in entrant.marks for entrant in entrants):
        lines.append("‡ transductive: unlabelled test features are used.")
    if any("†" in entrant.marks for entrant in entrants):
        lines.append("† candidate of oracle selection: tried on the test images.")
    changed = _distinct(one_line(one.name) for one in entrants if one.row.source_state == "changed")
    unknown = _distinct(one_line(one.name) for one in entrants if one.row.source_state == "unknown")
    return [*lines, *source_sentences(", ".join(changed), ", ".join(unknown)), *report.remarks]


def _few_draws(report: Report) -> list[str]:
    """Say where draws are so few that not even the smallest p stands out after Holm."""
    pairs = max((len(one.pairs) for one in report.comparisons), default=0)
    smallest = 1 / (report.draws + 1)
    if pairs * smallest <= report.alpha:
        return []
    enough = math.ceil(pairs / report.alpha)
    return [
        f"Careful: {report.draws:,} draws give no p below {smallest:.2g}, {min(1.0, pairs * smallest):.2g} after Holm "
        f"over {pairs} pairs, so none of those can stand out, whatever the numbers; give --draws {enough} or more."
    ]


def _training(report: Report) -> list[str]:
    """Say for whom training anew is part of the intervals, and for whom not."""
    chance = [entrant for entrant in _everyone(report) if entrant.stochastic]
    many = _distinct(shown(entrant) for entrant in chance if len(entrant.row.seeds) > 1)
    single = _distinct(shown(entrant) for entrant in chance if len(entrant.row.seeds) == 1)
    two = _distinct(shown(entrant) for entrant in chance if len(entrant.row.seeds) == 2)
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


def _cautions(report: Report) -> list[str]:
    lines: dict[str, None] = {}
    for one in report.comparisons:
        for pair in one.pairs:
            lines |= dict.fromkeys(_unlike(one, pair))
        lines |= dict.fromkeys(_single(one) if "images" in report.over else [])
        if any(verdict.low <= -100 and verdict.high >= 100 for pair in one.pairs for verdict in pair.verdicts.values()):
            lines["An interval of [-100.0, +100.0] says nothing: too few classes, or images, differ to draw from."] = (
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
            f"Careful: {shown(knows)} sees the unlabelled test features in training and {shown(other)} does not, so "
            "their difference is also one of setting."
        )
    if first.row.selection != second.row.selection:
        yield (
            f"Careful: the selection differs, {shown(first)} is {first.row.selection} and {shown(second)} "
            f"{second.row.selection}, so their difference is also one of tuning."
        )


def shown(entrant: Entrant) -> str:
    """Return an entrant's name with its marks."""
    return one_line(entrant.name) + entrant.marks


def _everyone(report: Report) -> list[Entrant]:
    return [entrant for one in report.comparisons for entrant in one.match.entrants]


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
