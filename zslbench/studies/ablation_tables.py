"""The tables of an ablation: each setting, and how it differs from another."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from zslbench.methods.base import MethodCard
from zslbench.results.analysis.rows import Stat
from zslbench.results.tables.captions import TRANSDUCTIVE, TWO_SEEDS, describe_selections
from zslbench.results.tables.facts import pick_facts, round_numbers
from zslbench.results.tables.render import MISSING
from zslbench.results.tables.table import Cell, Remark, RemarkKind, Table, remarks, signed, stat_cell, text_table
from zslbench.runner.run import Outcome
from zslbench.studies.values import Column, column_heads, describe_failures, order_columns

if TYPE_CHECKING:
    from zslbench.studies.ablate import Line

FULL, AS_GIVEN = "full", "as given"
"""What the method as given is called: among named ablations, and in a sweep where it has no single value."""


def facts(line: Line, stage: str) -> dict[str, Any]:
    """Return a line as plain facts, accuracies and differences in percent."""
    gap = line.difference
    mean, std = (line.stat.mean, line.stat.std) if line.stat else (None, None)
    ends = pick_facts(gap, "mean", "low", "high") if gap else dict.fromkeys(("mean", "low", "high"))
    return {
        **pick_facts(line, "swept", "setting", "spec", "as_given", "transductive", "selection"),
        **pick_facts(line.column, "dataset", "features", "semantics", "protocol"),
        "stage": stage,
        "metric": line.column.metric,
        "seeds": line.seeds,
        "n": len(line.seeds),
        **round_numbers({"mean": mean, "std": std}),
        "highest_mean": line.highest,
        "against": line.against,
        **round_numbers({"difference": ends.pop("mean")} | ends),
        "pairs": gap.n if gap else 0,
        "excludes_0": gap.excludes_zero if gap else None,
    }


def ablation_tables(
    lines: Sequence[Line], card: MethodCard, given: str, stage: str, outcome: Outcome, narrow: bool = False
) -> list[Table]:
    """Return two tables for each data set and series; sentences below the last say what the numbers are.

    Where room is `narrow`, as on paper, a sentence says what the settings are, instead of a column.
    """
    if not lines:
        return [Table((), (), tuple(remarks("note", ["No run finished.", *_unfinished(outcome)])))]
    tables: list[Table] = []
    shown = order_columns([line.column for line in lines], everything=False)
    for swept in dict.fromkeys(line.swept for line in lines):
        series = [line for line in lines if line.swept == swept and line.column in shown]
        for place in dict.fromkeys(_place(line.column) for line in series):
            on_data = [line for line in series if _place(line.column) == place]
            tables += _tables(on_data, f"{card.title} on {place}", swept, narrow)
    below = _remarks(lines, shown, card, given.replace(",", ", ") if narrow else given, stage, outcome)
    helps = dict.fromkeys(f"{line.setting}: {line.help}" for line in lines if line.help)
    if narrow and helps:
        below += remarks("parameters", [f"{'; '.join(helps)}."])
    return [*tables[:-1], dataclasses.replace(tables[-1], remarks=tuple(below))]


def _place(column: Column) -> str:
    return f"{column.dataset} ({column.features}, {column.semantics})"


def _tables(lines: Sequence[Line], title: str, swept: str, narrow: bool) -> list[Table]:
    columns = order_columns([line.column for line in lines], everything=False)
    heads = dict(zip(columns, column_heads(columns), strict=True))
    by_setting = {(line.setting, line.column): line for line in lines}
    names = list(dict.fromkeys(line.setting for line in lines))
    explained = not swept and not narrow
    rows: list[list[str | Cell | None]] = []
    for name in names:
        row = [by_setting[name, column] for column in columns]
        cells = (stat_cell(line.stat, "*" if line.highest else "") for line in row)
        rows.append([_name(row[0]), *cells, *([row[0].help] if explained else [])])
    what = f"values of {swept}" if swept else "named ablations"
    first = text_table(
        f"{title}: {what}",
        (swept or "setting", *heads.values(), *(["what it is"] if explained else [])),
        rows,
        words=[len(columns) + 1] if explained else [],
    )
    compared = [by_setting[name, column] for name in names for column in columns if by_setting[name, column].against]
    if not any(line.difference for line in compared):
        return [first]
    differences = [
        (
            f"{_name(line)} − {_name(by_setting[line.against, line.column])}",
            heads[line.column],
            signed(line.difference.mean, 2) if line.difference else MISSING,
            _interval(line.difference),
            _excludes_zero(line.difference),
        )
        for line in compared
    ]
    columns_of_differences = ("difference", "metric", "points", "95 % interval", "excludes 0")
    return [first, text_table(f"{title}: differences in points", columns_of_differences, differences, words=[1, 4])]


def _name(line: Line) -> str:
    marked = line.swept and line.as_given and line.setting != AS_GIVEN
    name = f"{line.setting} ({AS_GIVEN})" if marked else line.setting
    return name + (" ‡" if line.transductive else "")


def _interval(gap: Stat | None) -> str:
    if gap is None or gap.low is None or gap.high is None:
        return MISSING
    return f"{signed(gap.low, 2)} to {signed(gap.high, 2)}"


def _excludes_zero(gap: Stat | None) -> str:
    if gap is None or gap.excludes_zero is None:
        return "no interval"
    if gap.low == gap.high == 0:
        return "no: the same"
    return "yes" if gap.excludes_zero else "no"


def _remarks(
    lines: Sequence[Line], shown: Sequence[Column], card: MethodCard, given: str, stage: str, outcome: Outcome
) -> list[Remark]:
    kinds = " and ".join(dict.fromkeys(column.protocol.upper() for column in shown))
    tested = "final stage: trainval → test" if stage == "final" else "dev stage: training → validation classes, folds"
    means = "mean ± sample standard deviation over seeds" if card.stochastic else "mean"
    rest = "." if "@" in given else "; all else is at its defaults."
    facts: dict[RemarkKind, str] = {
        "stage": f"{kinds} accuracy in percent, {tested}{' averaged' if stage == 'dev' else ''}; {means}.",
        "parameters": f"The method as given is {given}{rest}",
        "seeds": _seeds(lines, card),
        "selection": f"Selection: {describe_selections(line.selection for line in lines)}.",
    }
    below = [remark for kind, text in facts.items() for remark in remarks(kind, [text])]
    below += remarks("spread", _intervals([line for line in lines if line.column in shown], card))
    same = sorted({line.setting for line in lines if line.as_given and not line.swept} - {FULL})
    below += remarks("parameters", [f"{', '.join(same)} is the method as given."] if same else [])
    below += remarks("transductive", _transductive(lines))
    if any(line.highest for line in lines):
        where = "the test images" if stage == "final" else "the validation classes"
        advice = "; choose values with zslbench tune, or look at --stage dev" if stage == "final" else ""
        sentence = f"* highest mean, as measured on {where}: it shows sensitivity and is no selection{advice}."
        below += remarks("ranking", [sentence])
    return below + remarks("note", _unfinished(outcome))


def _intervals(lines: Sequence[Line], card: MethodCard) -> list[str]:
    """Say what the intervals of differences are, or why there are none."""
    gaps = [line.difference for line in lines if line.difference]
    if any(gap.low is not None for gap in gaps):
        few = [TWO_SEEDS] if any(gap.n == 2 for gap in gaps) else []
        return [
            "Differences are paired by seed; each interval is Student's at 95 % by itself, not adjusted for the "
            f"{len(gaps)} comparisons made here.",
            *few,
        ]
    if gaps and card.stochastic:
        return ["One seed: no interval, so chance cannot be told from an effect; give more with --seeds."]
    if gaps:
        return [
            f"{card.title} draws nothing at random: differences are exact for this data, without an interval over "
            "seeds; zslbench compare has intervals over classes and images."
        ]
    return []


def _transductive(lines: Sequence[Line]) -> list[str]:
    """Say which settings use unlabelled test features."""
    using = list(dict.fromkeys(line.setting for line in lines if line.transductive))
    if not using:
        return []
    if len(using) == len({line.setting for line in lines}):
        return [TRANSDUCTIVE.text]
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


def _unfinished(outcome: Outcome) -> list[str]:
    sentences = describe_failures(outcome)
    cut = sum(record.status in ("interrupted", "skipped") for record in outcome.records)
    missing = len(outcome.states) - len(outcome.records) + cut
    if missing:
        sentences.append(f"{missing} of {len(outcome.states)} runs are not done; the same command goes on from here.")
    return sentences
