"""How the numbers of a table were selected, in sentences: rules, choices, constants of calibrated stacking."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from zslbench.results.analysis.naming import LineKey
from zslbench.results.analysis.rows import Row
from zslbench.results.analysis.selection import criterion
from zslbench.spec import brackets

Name = TypeVar("Name")

_SELECTION = {"fixed": "fixed (the declared last step)", "oracle": "oracle (best on test)"}


def rule_sentence(rows: Sequence[Row], keys: Sequence[LineKey], names: Mapping[LineKey, str]) -> str:
    """Say by which rules the rows were selected, and which by which where there are several."""
    found: dict[str, list[str]] = {}
    for row, key in zip(rows, keys, strict=True):
        if row.selection != "oracle":
            found.setdefault(_rule(row, rows), []).append(names[key])
    if not found:
        return _SELECTION["oracle"]
    parts = [text + (f": {', '.join(distinct(lines))}" if len(found) > 1 else "") for text, lines in found.items()]
    return "; ".join([*parts, *(["oracle for rows with †"] if any(key.oracle for key in keys) else [])])


def _rule(row: Row, rows: Sequence[Row]) -> str:
    """Say by which rule a row was selected; by which metric is told of all rows of a rule at once."""
    if row.selection != "validated":
        return _SELECTION.get(row.selection, row.selection)
    folds = row.selected.get("folds")
    same = [other for other in rows if other.selection == "validated" and other.selected.get("folds") == folds]
    if folds is None:
        return f"validated (hyper-parameters chosen on the dev folds by {_criteria(same)})"
    kind = "fold" if len(folds) == 1 else "folds"
    return f"validated (step chosen on dev {kind} {spans(folds)} by {_criteria(same)}, mean over folds and seeds)"


def _criteria(rows: Sequence[Row]) -> str:
    found = {criterion(dict.fromkeys(row.metrics, 0.0)) for row in rows}
    return " and ".join(sorted(found, key=lambda name: (name != "T1", name)))


def choice_sentences(rows: Sequence[Row], keys: Sequence[LineKey], names: Mapping[LineKey, str]) -> list[str]:
    """Say which step and hyper-parameters a rule chose, where it had a choice."""
    found: dict[str, dict[str, list[str]]] = {}
    for row, key in zip(rows, keys, strict=True):
        told = [brackets(row.selected.get("chosen", {}))[1:-1]]
        if row.selected.get("steps", 1) > 1:
            told.append("last step" if row.step is None else f"step {row.step}")
        if text := " at ".join(part for part in told if part):
            found.setdefault(names[key], {}).setdefault(text, []).append(where(row, rows))
    return [f"Chosen: {_each(found)}."] if found else []


def where(row: Row, rows: Sequence[Row]) -> str:
    """Name what a row is of, with features and semantics where the table has several of a data set."""
    choices = {(other.features, other.semantics) for other in rows if other.dataset == row.dataset}
    of = f" ({row.features}, {row.semantics})" if len(choices) > 1 else ""
    return f"{row.dataset}{of} {row.protocol}"


def _each(found: Mapping[str, Mapping[str, Sequence[str]]]) -> str:
    """Write a value a name, with where it holds when there are several."""
    parts = []
    for name, values in found.items():
        told = [value if len(values) == 1 else f"{value} ({', '.join(where)})" for value, where in values.items()]
        parts.append(f"{name}: {', '.join(told)}")
    return "; ".join(parts)


def calibration_sentences(rows: Sequence[Row], keys: Sequence[LineKey], names: Mapping[LineKey, str]) -> list[str]:
    """Say what calibrated stacking is, and on what its constant was chosen."""
    calibrated = [row for row in rows if row.gammas]
    if not calibrated:
        return []
    text = "cs: calibrated stacking (Chao et al., 2016), a constant γ off the scores of seen classes, for each seed "
    folds = distinct(row.gamma_folds for row in calibrated)
    if not any(folds):
        return [f"{text}the one with the highest H on the test images (†)."]
    kind = "fold" if len(folds[0]) == 1 else "folds"
    told = f"{kind} {spans(folds[0])}" if len(folds) == 1 else "folds"
    lines = [f"{text}the one with the highest mean H over its dev {told}."]
    if len(folds) > 1:
        uneven: dict[str, dict[str, list[str]]] = {}
        for row, key in zip(rows, keys, strict=True):
            if row.gammas:
                uneven.setdefault(names[key], {}).setdefault(spans(row.gamma_folds), []).append(where(row, rows))
        lines.append(f"Dev folds that γ was chosen on: {_each(uneven)}.")
    return lines


def oracle_sentences(rows: Sequence[Row], keys: Sequence[LineKey], names: Mapping[LineKey, str]) -> list[str]:
    """Say what oracle selection chose on, and among how much."""
    chosen = [(row, key) for row, key in zip(rows, keys, strict=True) if key.oracle]
    if not chosen:
        return []
    found: dict[str, dict[str, list[str]]] = {}
    for row, key in chosen:
        if row.selected:
            line = found.setdefault(names[key], {})
            line.setdefault(_competed(row.selected), []).append(where(row, rows))
    text = "† oracle selection: what is best on the test images"
    if found:
        text += f" by {_criteria([row for row, _ in chosen if row.selected])}, mean over seeds"
    text += ", as in much published code"
    return [f"{text}.", *([f"Oracle selection chose among: {_each(found)}."] if found else [])]


def _competed(selected: Mapping[str, Any]) -> str:
    counts = [(selected["points"], "setting"), (selected["steps"], "step")]
    parts = [f"{number} {what}{'' if number == 1 else 's'}" for number, what in counts if number > 1]
    left = selected.get("left_out", 0)
    text = (" × ".join(parts) or "1 setting") + (f" ({left} more with too few seeds)" if left else "")
    return text + (" on the seeds that all of them have" if selected.get("common_seeds") else "")


def spans(numbers: Sequence[int]) -> str:
    """Write ascending whole numbers, runs of them shortened.

    >>> spans([0, 1, 2, 7])
    '0–2, 7'
    """
    runs: list[list[int]] = []
    for seed in numbers:
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)


def distinct(names: Iterable[Name]) -> list[Name]:
    """Return each name once, in order of first appearance."""
    return list(dict.fromkeys(names))
