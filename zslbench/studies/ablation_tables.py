"""The tables of an ablation: each setting, and how it differs from another."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from zslbench.methods.base import MethodCard
from zslbench.metrics import metric_place
from zslbench.results.analysis.rows import Stat
from zslbench.results.tables.captions import TRANSDUCTIVE, TWO_SEEDS, describe_selections
from zslbench.results.tables.facts import pick_facts, round_numbers
from zslbench.results.tables.render import MISSING
from zslbench.results.tables.table import Cell, Remark, RemarkKind, Table, remarks, signed, stat_cell, text_table
from zslbench.runner.run import Outcome

FULL, AS_GIVEN = "full", "as given"
"""What the method as given is called: among named ablations, and in a sweep where it has no single value."""


class Measure(NamedTuple):
    """What was measured on what: a data set's name, features and semantics, the protocol, the metric."""

    dataset: str
    features: str
    semantics: str
    protocol: str
    metric: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class AblationRow:
    """One setting and metric.

    Attributes:
        swept: the parameter of a sweep; empty for named ablations.
        setting: its name in the table; spec: what was run; help: what the setting is.
        as_given: whether it is the method as it was given.
        transductive: whether unlabelled test features are used (‡).
        selection: fixed or validated.
        column: what was measured on what.
        stat: mean and deviation in percent, None where nothing finished; seeds: which.
        highest: whether it is the highest mean of a sweep, on what was measured: no selection.
        against: the setting that it is compared with; difference: to that one, paired by seed.
    """

    swept: str
    setting: str
    spec: str
    help: str
    as_given: bool
    transductive: bool
    selection: str
    column: Measure
    stat: Stat | None
    seeds: tuple[int, ...]
    highest: bool
    against: str
    difference: Stat | None


def facts(line: AblationRow, stage: str) -> dict[str, Any]:
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


def order_columns(columns: Iterable[Measure], everything: bool) -> list[Measure]:
    """Return the columns of a table in order: data sets as they come, metrics as the field writes them.

    Args:
        everything: with AUSUC, which is else left out beside other metrics.
    """
    known = list(dict.fromkeys(columns))
    data = list(dict.fromkeys(column[:3] for column in known))
    everything = everything or all(column.metric == "AUSUC" for column in known)
    return sorted(
        (column for column in known if everything or column.metric != "AUSUC"),
        key=lambda column: (data.index(column[:3]), metric_place(column.metric), column.protocol, column.metric),
    )


def ablation_tables(
    lines: Sequence[AblationRow], card: MethodCard, given: str, stage: str, outcome: Outcome, narrow: bool = False
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


def _place(column: Measure) -> str:
    return f"{column.dataset} ({column.features}, {column.semantics})"


def _tables(lines: Sequence[AblationRow], title: str, swept: str, narrow: bool) -> list[Table]:
    columns = order_columns([line.column for line in lines], everything=False)
    metrics = [column.metric for column in columns]
    heads = {
        column: f"{column.metric} ({column.protocol})" if metrics.count(column.metric) > 1 else column.metric
        for column in columns
    }
    by_setting = {(line.setting, line.column): line for line in lines}
    names = list(dict.fromkeys(line.setting for line in lines))
    explained = not swept and not narrow
    rows: list[list[str | Cell | None]] = []
    for name in names:
        row = [by_setting[name, column] for column in columns]
        cells = (stat_cell(line.stat, "*" if line.highest else "") for line in row)
        rows.append([_name(row[0]), *cells, *([row[0].help] if explained else [])])
    settings = f"values of {swept}" if swept else "named ablations"
    first = text_table(
        f"{title}: {settings}",
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
            *_describe_interval(line.difference),
        )
        for line in compared
    ]
    columns_of_differences = ("difference", "metric", "points", "95 % interval", "excludes 0")
    return [first, text_table(f"{title}: differences in points", columns_of_differences, differences, words=[1, 4])]


def _name(line: AblationRow) -> str:
    marked = line.swept and line.as_given and line.setting != AS_GIVEN
    name = f"{line.setting} ({AS_GIVEN})" if marked else line.setting
    return name + (" ‡" if line.transductive else "")


def _describe_interval(gap: Stat | None) -> tuple[str, str]:
    """Return the interval of a difference, and whether it excludes 0."""
    if gap is None or gap.low is None or gap.high is None:
        return MISSING, "no interval"
    excludes = "no: the same" if gap.low == gap.high == 0 else "yes" if gap.excludes_zero else "no"
    return f"{signed(gap.low, 2)} to {signed(gap.high, 2)}", excludes


def _remarks(
    lines: Sequence[AblationRow], shown: Sequence[Measure], card: MethodCard, given: str, stage: str, outcome: Outcome
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


def _intervals(lines: Sequence[AblationRow], card: MethodCard) -> list[str]:
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


def _transductive(lines: Sequence[AblationRow]) -> list[str]:
    """Say which settings use unlabelled test features."""
    using = list(dict.fromkeys(line.setting for line in lines if line.transductive))
    if not using:
        return []
    if len(using) == len({line.setting for line in lines}):
        return [TRANSDUCTIVE.text]
    who = f"{using[0]} uses" if len(using) == 1 else f"{' and '.join(using)} use"
    return [f"‡ transductive: {who} unlabelled test features, the other settings do not."]


def _seeds(lines: Sequence[AblationRow], card: MethodCard) -> str:
    if not card.stochastic:
        return f"{card.title} does not depend on a seed."
    most = max((line.seeds for line in lines), key=len, default=())
    text = f"Seeds: {', '.join(map(str, most))}."
    fewer = list(dict.fromkeys(f"{line.setting} on {line.column.dataset}" for line in lines if line.seeds != most))
    return text + (f" Fewer for {', '.join(fewer)}." if fewer else "")


def _unfinished(outcome: Outcome) -> list[str]:
    sentences = outcome.describe_failures()
    cut = sum(record.status in ("interrupted", "skipped") for record in outcome.records)
    missing = len(outcome.states) - len(outcome.records) + cut
    if missing:
        sentences.append(f"{missing} of {len(outcome.states)} runs are not done; the same command goes on from here.")
    return sentences
