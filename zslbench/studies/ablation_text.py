"""The table of an ablation in words and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from zslbench.methods.base import MethodCard
from zslbench.results.analysis.rows import Stat
from zslbench.results.records.wording import last_line
from zslbench.results.tables.captions import TWO_SEEDS
from zslbench.runner.run import Outcome
from zslbench.studies import measured
from zslbench.studies.measured import Column, Difference
from zslbench.studies.points import AS_GIVEN, FULL
from zslbench.studies.printed import Section

if TYPE_CHECKING:
    from zslbench.studies.ablate import Line

_DIGITS = 6
MISSING = "–"


def facts(line: Line, stage: str) -> dict[str, Any]:
    """Return a line as plain facts, accuracies and differences in percent."""
    found, gap = line.stat, line.difference
    return {
        "swept": line.swept,
        "setting": line.setting,
        "spec": line.spec,
        "as_given": line.as_given,
        "transductive": line.transductive,
        "selection": line.selection,
        "dataset": line.column.dataset,
        "features": line.column.features,
        "semantics": line.column.semantics,
        "protocol": line.column.protocol,
        "stage": stage,
        "metric": line.column.metric,
        "seeds": list(line.seeds),
        "n": len(line.seeds),
        "mean": rounded(found.mean if found else None),
        "std": rounded(found.std if found else None),
        "highest_mean": line.highest,
        "against": line.against,
        "difference": rounded(gap.mean if gap else None),
        "low": rounded(gap.low if gap else None),
        "high": rounded(gap.high if gap else None),
        "pairs": gap.n if gap else 0,
        "excludes_0": gap.excludes_zero if gap else None,
    }


def laid_out(
    lines: Sequence[Line], card: MethodCard, given: str, stage: str, outcome: Outcome, narrow: bool = False
) -> tuple[list[Section], list[str]]:
    """Return the tables, two for each data set and series, and the sentences that say what the numbers are.

    Where room is `narrow`, as on paper, a sentence says what the settings are, instead of a column.
    """
    if not lines:
        return [], ["No run finished.", *_unfinished(outcome)]
    sections: list[Section] = []
    shown = measured.metrics_of([line.column for line in lines], everything=False)
    for swept in dict.fromkeys(line.swept for line in lines):
        own = [line for line in lines if line.swept == swept and line.column in shown]
        for place in dict.fromkeys(_place(line.column) for line in own):
            sections += _sections([line for line in own if _place(line.column) == place], card, swept, place, narrow)
    if not narrow:
        return sections, _sentences(lines, shown, card, given, stage, outcome)
    helps = dict.fromkeys((line.setting, line.help) for line in lines if line.help)
    said = _sentences(lines, shown, card, given.replace(",", ", "), stage, outcome)
    return sections, [*said, *([f"{'; '.join(': '.join(pair) for pair in helps)}."] if helps else [])]


def _place(column: Column) -> str:
    return f"{column.dataset} ({column.features}, {column.semantics})"


def _sections(lines: Sequence[Line], card: MethodCard, swept: str, place: str, narrow: bool) -> list[Section]:
    columns = measured.metrics_of([line.column for line in lines], everything=False)
    heads = dict(zip(columns, measured.heads(columns), strict=True))
    names = list(dict.fromkeys(line.setting for line in lines))
    at = {(line.setting, line.column): line for line in lines}
    told = not swept and not narrow
    rows = []
    for name in names:
        own = [at[name, column] for column in columns]
        words = (own[0].help,) if told else ()
        rows.append((_name(own[0]), *(value(line.stat) + ("*" if line.highest else "") for line in own), *words))
    what = f"values of {swept}" if swept else "named ablations"
    first = Section(
        f"{card.title} on {place}: {what}",
        (swept or "setting", *heads.values(), *(("what it is",) if told else ())),
        tuple(rows),
        "l" + "r" * len(columns) + ("l" if told else ""),
    )
    compared = [at[name, column] for name in names for column in columns if at[name, column].against]
    if not any(line.difference for line in compared):
        return [first]
    differences = Section(
        f"{card.title} on {place}: differences in points",
        ("difference", "metric", "points", "95 % interval", "excludes 0"),
        tuple(
            (
                f"{_name(line)} − {_name(at[line.against, line.column])}",
                heads[line.column],
                signed(line.difference.mean) if line.difference else MISSING,
                _interval(line.difference),
                _word(line.difference),
            )
            for line in compared
        ),
        "llrrl",
    )
    return [first, differences]


def _name(line: Line) -> str:
    marked = line.swept and line.as_given and line.setting != AS_GIVEN
    name = f"{line.setting} ({AS_GIVEN})" if marked else line.setting
    return name + (" ‡" if line.transductive else "")


def value(found: Stat | None) -> str:
    """Return mean ± deviation as text."""
    if found is None:
        return MISSING
    return f"{found.mean:.1f}" + (f" ± {found.std:.1f}" if found.std is not None else "")


def _interval(gap: Difference | None) -> str:
    if gap is None or gap.low is None or gap.high is None:
        return MISSING
    return f"{signed(gap.low)} to {signed(gap.high)}"


def signed(points: float) -> str:
    """Return points with their sign; what rounds to 0 has none.

    >>> signed(-1.239), signed(0.001), signed(2.0)
    ('−1.24', '0.00', '+2.00')
    """
    text = f"{points:+.2f}"
    return "0.00" if float(text) == 0 else text.replace("-", "−")


def _word(gap: Difference | None) -> str:
    if gap is None or gap.excludes_zero is None:
        return "no interval"
    if gap.low == gap.high == 0:
        return "no: the same"
    return "yes" if gap.excludes_zero else "no"


def _sentences(
    lines: Sequence[Line], shown: Sequence[Column], card: MethodCard, given: str, stage: str, outcome: Outcome
) -> list[str]:
    kinds = " and ".join(dict.fromkeys(column.protocol.upper() for column in shown))
    tested = "final stage: trainval → test" if stage == "final" else "dev stage: training → validation classes, folds"
    means = "mean ± sample standard deviation over seeds" if card.stochastic else "mean"
    said = [f"{kinds} accuracy in percent, {tested}{' averaged' if stage == 'dev' else ''}; {means}."]
    said.append(f"The method as given is {given}" + ("." if "@" in given else "; all else is at its defaults."))
    said.append(_seeds(lines, card))
    selections = sorted({line.selection for line in lines})
    words = {"fixed": "fixed (the declared last step)", "validated": "validated (chosen on validation classes)"}
    said.append(f"Selection: {', '.join(words.get(one, one) for one in selections)}.")
    gaps = [line for line in lines if line.difference and line.column in shown]
    if any(line.difference and line.difference.low is not None for line in gaps):
        said.append(
            "Differences are paired by seed; each interval is Student's at 95 % by itself, not adjusted for the "
            f"{len(gaps)} comparisons made here."
        )
        if any(line.difference and line.difference.n == 2 for line in gaps):
            said.append(TWO_SEEDS)
    elif gaps and card.stochastic:
        said.append("One seed: no interval, so chance cannot be told from an effect; give more with --seeds.")
    elif gaps:
        said.append(
            f"{card.title} draws nothing at random: differences are exact for this data, without an interval over "
            "seeds; zslbench compare has intervals over classes and images."
        )
    same = sorted({line.setting for line in lines if line.as_given and not line.swept} - {FULL})
    if same:
        said.append(f"{', '.join(same)} is the method as given.")
    said += _transductive(lines)
    if any(line.highest for line in lines):
        where = "the test images" if stage == "final" else "the validation classes"
        advice = "; choose values with zslbench tune, or look at --stage dev" if stage == "final" else ""
        said.append(f"* highest mean, as measured on {where}: it shows sensitivity and is no selection{advice}.")
    return said + _unfinished(outcome)


def _transductive(lines: Sequence[Line]) -> list[str]:
    """Say which settings use unlabelled test features."""
    using = list(dict.fromkeys(line.setting for line in lines if line.transductive))
    if not using:
        return []
    if len(using) == len({line.setting for line in lines}):
        return ["‡ transductive: unlabelled test features are used."]
    who = f"{using[0]} uses" if len(using) == 1 else f"{' and '.join(using)} use"
    return [f"‡ transductive: {who} unlabelled test features, the other settings do not."]


def _seeds(lines: Sequence[Line], card: MethodCard) -> str:
    if not card.stochastic:
        return f"{card.title} does not depend on a seed."
    found = {line.seeds for line in lines if line.seeds}
    most = max(found, key=len, default=())
    text = f"Seeds: {', '.join(map(str, most))}."
    fewer = list(dict.fromkeys(f"{line.setting} on {line.column.dataset}" for line in lines if line.seeds != most))
    return text + (f" Fewer for {', '.join(fewer)}." if fewer else "")


def failures(outcome: Outcome) -> list[str]:
    """Say how many runs failed, and why the first did."""
    if not outcome.failed:
        return []
    reasons = [last_line(record.error) for record in outcome.failed if record.error.strip()]
    why = f" (the first: {reasons[0]})" if reasons else ""
    return [f"{len(outcome.failed)} of {len(outcome.states)} runs failed and do not count{why}."]


def _unfinished(outcome: Outcome) -> list[str]:
    said = failures(outcome)
    stale = outcome.left("stale")
    if stale:
        said.append(
            f"{stale} runs were made by an earlier source of the method; zslbench status says how to redo them."
        )
    cut = sum(record.status in ("interrupted", "skipped") for record in outcome.records)
    missing = len(outcome.states) - len(outcome.records) + cut
    if missing:
        said.append(f"{missing} of {len(outcome.states)} runs are not done; the same command goes on from here.")
    return said


def rounded(value: float | None) -> float | None:
    """Return a number as data formats write it."""
    return None if value is None else round(value, _DIGITS)
