"""How the numbers of a table were selected, in sentences: rules, choices, constants of calibrated stacking.

Functions take the rows of a table and the name of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from zslbench.results.analysis.rows import Row
from zslbench.results.analysis.selection import criterion
from zslbench.spec import brackets

Name = TypeVar("Name")

_SELECTION = {"fixed": "fixed (the declared last step)", "oracle": "oracle (best on test)"}


def rule_sentence(rows: Sequence[Row], names: Sequence[str]) -> str:
    """Say by which rules the rows were selected, and which by which where there are several."""
    by_rule: dict[str, list[str]] = {}
    for row, name in zip(rows, names, strict=True):
        if row.selection != "oracle":
            by_rule.setdefault(_rule(row, rows), []).append(name)
    if not by_rule:
        return _SELECTION["oracle"]
    parts = [text + (f": {', '.join(distinct(of))}" if len(by_rule) > 1 else "") for text, of in by_rule.items()]
    return "; ".join([*parts, *(["oracle for rows with †"] if any(row.selection == "oracle" for row in rows) else [])])


def _rule(row: Row, rows: Sequence[Row]) -> str:
    """Say by which rule a row was selected; the metrics are those of all rows of the rule."""
    if row.selection != "validated":
        return _SELECTION.get(row.selection, row.selection)
    folds = row.selected.get("folds")
    same = [other for other in rows if other.selection == "validated" and other.selected.get("folds") == folds]
    if folds is None:
        return f"validated (hyper-parameters chosen on the dev folds by {_criteria(same)})"
    return f"validated (step chosen on dev {_folds(folds)} by {_criteria(same)}, mean over folds and seeds)"


def _criteria(rows: Sequence[Row]) -> str:
    names = {criterion(dict.fromkeys(row.metrics, 0.0)) for row in rows}
    return " and ".join(sorted(names, key=lambda name: (name != "T1", name)))


def _folds(folds: Sequence[int]) -> str:
    return f"{'fold' if len(folds) == 1 else 'folds'} {spans(folds)}"


def choice_sentences(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    """Say which step and hyper-parameters a rule chose, where it had a choice."""
    chosen = _each(rows, names, [_choice(row) for row in rows])
    return [f"Chosen: {chosen}."] if chosen else []


def _choice(row: Row) -> str:
    step = "last step" if row.step is None else f"step {row.step}"
    parts = [brackets(row.selected.get("chosen", {}))[1:-1], step if row.selected.get("steps", 1) > 1 else ""]
    return " at ".join(filter(None, parts))


def where(row: Row, rows: Sequence[Row]) -> str:
    """Name what a row is of, with features and semantics where the table has several of a data set."""
    choices = {(other.features, other.semantics) for other in rows if other.dataset == row.dataset}
    of = f" ({row.features}, {row.semantics})" if len(choices) > 1 else ""
    return f"{row.dataset}{of} {row.protocol}"


def _each(rows: Sequence[Row], names: Sequence[str], texts: Sequence[str]) -> str:
    """Write the text of each name, with where it holds where a name has several; empty texts are left out."""
    values: dict[str, dict[str, list[str]]] = {}
    for row, name, text in zip(rows, names, texts, strict=True):
        if text:
            values.setdefault(name, {}).setdefault(text, []).append(where(row, rows))
    return "; ".join(
        f"{name}: "
        + ", ".join(text if len(of) == 1 else f"{text} ({', '.join(places)})" for text, places in of.items())
        for name, of in values.items()
    )


def calibration_sentences(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    """Say what calibrated stacking is, and on what its constant was chosen."""
    if not any(row.gammas for row in rows):
        return []
    text = "cs: calibrated stacking (Chao et al., 2016), a constant γ off the scores of seen classes, for each seed "
    folds = distinct(row.gamma_folds for row in rows if row.gammas)
    if not any(folds):
        return [f"{text}the one with the highest H on the test images (†)."]
    sentence = f"{text}the one with the highest mean H over its dev {_folds(folds[0]) if len(folds) == 1 else 'folds'}."
    if len(folds) == 1:
        return [sentence]
    uneven = _each(rows, names, [spans(row.gamma_folds) if row.gammas else "" for row in rows])
    return [sentence, f"Dev folds that γ was chosen on: {uneven}."]


def oracle_sentences(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    """Say what oracle selection chose on, and among how much."""
    if not any(row.selection == "oracle" for row in rows):
        return []
    chosen = [row for row in rows if row.selection == "oracle" and row.selected]
    criteria = f" by {_criteria(chosen)}, mean over seeds" if chosen else ""
    sentence = f"† oracle selection: what is best on the test images{criteria}, as in much published code."
    among = _each(rows, names, [_competed(row.selected) if row.selection == "oracle" else "" for row in rows])
    return [sentence, *([f"Oracle selection chose among: {among}."] if among else [])]


def _competed(selected: Mapping[str, Any]) -> str:
    """Say among how many settings and steps a row was chosen; empty where nothing was."""
    if not selected:
        return ""
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
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)


def distinct(names: Iterable[Name]) -> list[Name]:
    """Return each name once, in order of first appearance."""
    return list(dict.fromkeys(names))
