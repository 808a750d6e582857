"""What a table's numbers mean, in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from zslbench.results.naming import LineKey
from zslbench.results.selection import criterion
from zslbench.results.summary import CALIBRATED, Row
from zslbench.spec import brackets

Name = TypeVar("Name")

_ACCURACIES = {
    "T1": "T1 on unseen test images among unseen classes",
    "U": "U on unseen test images among all classes",
    "S": "S on seen test images among all classes",
}
_OTHERS = {"H": "H: harmonic mean of U and S", "AUSUC": "AUSUC: area under the seen–unseen accuracy curve"}
_SELECTION = {
    "fixed": "fixed (the declared last step)",
    "oracle": "oracle (best on test)",
}
_SETTING = {
    "inductive": "inductive",
    "semantic": "semantics of unseen classes known in training",
    "transductive": "transductive",
}
_SPLIT = {
    "catalogue": "proposed split (PS) of Xian et al.",
    "builtin": "the built-in split",
    "own": "the data's own split",
}


def caption(
    rows: Sequence[Row],
    keys: Sequence[LineKey],
    names: Mapping[LineKey, str],
    metrics: Sequence[str],
    together: bool,
    intervals: bool = False,
) -> list[str]:
    """Return the sentences under a table of `rows`: what was measured, on what, how often, and what the marks mean."""
    names = {key: name + ("†" if key.oracle else "") for key, name in names.items()}
    lines = [
        _stage(rows, metrics),
        f"Features: {_by(rows, 'features')}; semantics: {_by(rows, 'semantics')}",
        f"Split: {_by(rows, 'origin', _SPLIT)}",
        f"Selection: {_selection(rows, keys, names)}",
        f"Seeds: {_seeds(rows, keys, names)}",
        _metrics(metrics),
    ]
    lines = [line.removesuffix(".") + "." for line in lines if line] + _choices(rows, keys, names)
    lines += _calibration(rows, keys, names)
    if any(stat.std is not None for row in rows for stat in row.metrics.values()):
        what = "half-width of the 95 % t interval" if intervals else "sample standard deviation"
        lines.append(f"± is the {what} over seeds.")
    return lines + _marks(keys, together) + _oracle(rows, keys, names)


def _stage(rows: Sequence[Row], metrics: Sequence[str]) -> str:
    kinds = " and ".join(_distinct(row.protocol.upper() for name in metrics for row in rows if name in row.metrics))
    if rows[0].stage == "dev":
        text = f"{kinds} accuracy in percent, dev stage: training classes → validation classes (as the unseen ones)"
        return text + _folds([row.folds for row in rows])
    return f"{kinds} accuracy in percent, final stage: trainval → test."


def _folds(found: Sequence[tuple[int, ...]]) -> str:
    kinds = _distinct(found)
    if len(kinds) > 1:
        return ", mean over the folds named" if any(len(folds) > 1 for folds in kinds) else ""
    return f", mean over folds {spans(kinds[0])}" if len(kinds[0]) > 1 else f", fold {spans(kinds[0])}"


def _by(rows: Sequence[Row], part: str, words: Mapping[str, str] | None = None) -> str:
    """Say one fact of the data sets: once when they agree, else with the data sets that it holds for."""
    found: dict[str, list[str]] = {}
    for row in rows:
        value = getattr(row, part)
        found.setdefault((words or {}).get(value, value), []).append(row.dataset)
    if len(found) == 1:
        return next(iter(found))
    return ", ".join(f"{value} ({', '.join(_distinct(names))})" for value, names in found.items())


def _selection(rows: Sequence[Row], keys: Sequence[LineKey], names: Mapping[LineKey, str]) -> str:
    found: dict[str, list[str]] = {}
    for row, key in zip(rows, keys, strict=True):
        if row.selection != "oracle":
            found.setdefault(_rule(row, rows), []).append(names[key])
    if not found:
        return _SELECTION["oracle"]
    parts = [text + (f": {', '.join(_distinct(lines))}" if len(found) > 1 else "") for text, lines in found.items()]
    return "; ".join([*parts, *(["oracle for rows with †"] if any(key.oracle for key in keys) else [])])


def _rule(row: Row, rows: Sequence[Row]) -> str:
    """Say by which rule a row was selected; validated steps are told of all rows at once."""
    if row.selection != "validated":
        return _SELECTION.get(row.selection, row.selection)
    same = [other for other in rows if other.selection == "validated" and bool(other.selected) == bool(row.selected)]
    if not row.selected:
        return f"validated (hyper-parameters chosen on the dev folds by {_criteria(same)})"
    folds = sorted({fold for other in same for fold in other.selected["folds"]})
    kind = "fold" if len(folds) == 1 else "folds"
    return f"validated (step chosen on dev {kind} {spans(folds)} by {_criteria(same)}, mean over folds and seeds)"


def _criteria(rows: Sequence[Row]) -> str:
    found = {criterion(dict.fromkeys(row.metrics, 0.0)) for row in rows}
    return " and ".join(sorted(found, key=lambda name: (name != "T1", name)))


def _choices(rows: Sequence[Row], keys: Sequence[LineKey], names: Mapping[LineKey, str]) -> list[str]:
    """Say which step and hyper-parameters a rule chose, where it had a choice."""
    found: dict[str, dict[str, list[str]]] = {}
    for row, key in zip(rows, keys, strict=True):
        told = [brackets(row.selected.get("chosen", {}))[1:-1]]
        if row.selected.get("steps", 1) > 1:
            told.append("last step" if row.step is None else f"step {row.step}")
        if text := " at ".join(part for part in told if part):
            found.setdefault(names[key], {}).setdefault(text, []).append(_where(row))
    return [f"Chosen: {_each(found)}."] if found else []


def _where(row: Row) -> str:
    return f"{row.dataset} {row.protocol}"


def _each(found: Mapping[str, Mapping[str, Sequence[str]]]) -> str:
    """Write a value a name, with where it holds when there are several."""
    parts = []
    for name, values in found.items():
        told = [value if len(values) == 1 else f"{value} ({', '.join(where)})" for value, where in values.items()]
        parts.append(f"{name}: {', '.join(told)}")
    return "; ".join(parts)


def _calibration(rows: Sequence[Row], keys: Sequence[LineKey], names: Mapping[LineKey, str]) -> list[str]:
    calibrated = [row for row in rows if row.gammas]
    if not calibrated:
        return []
    text = "cs: calibrated stacking (Chao et al., 2016), a constant γ off the scores of seen classes, for each seed "
    folds = _distinct(row.gamma_folds for row in calibrated)
    if not any(folds):
        return [f"{text}the one with the highest H on the test images (†)."]
    kind = "fold" if len(folds[0]) == 1 else "folds"
    told = f"{kind} {spans(folds[0])}" if len(folds) == 1 else "folds"
    lines = [f"{text}the one with the highest mean H over its dev {told}."]
    if len(folds) > 1:
        uneven: dict[str, dict[str, list[str]]] = {}
        for row, key in zip(rows, keys, strict=True):
            if row.gammas:
                uneven.setdefault(names[key], {}).setdefault(spans(row.gamma_folds), []).append(_where(row))
        lines.append(f"Dev folds that γ was chosen on: {_each(uneven)}.")
    return lines


def _oracle(rows: Sequence[Row], keys: Sequence[LineKey], names: Mapping[LineKey, str]) -> list[str]:
    """Say what oracle selection chose on, and among how much."""
    chosen = [(row, key) for row, key in zip(rows, keys, strict=True) if key.oracle]
    if not chosen:
        return []
    found: dict[str, dict[str, list[str]]] = {}
    for row, key in chosen:
        if row.selected:
            line = found.setdefault(names[key], {})
            line.setdefault(_competed(row.selected), []).append(_where(row))
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


def _seeds(rows: Sequence[Row], keys: Sequence[LineKey], names: Mapping[LineKey, str]) -> str:
    """Say which seeds: the most common first, the others with the lines (and data sets) that they hold for."""
    found: dict[tuple[int, ...], list[tuple[str, str]]] = {}
    total: dict[str, set[tuple[int, ...]]] = {}
    for row, key in zip(rows, keys, strict=True):
        found.setdefault(row.seeds, []).append((names[key], row.dataset))
        total.setdefault(names[key], set()).add(row.seeds)
    order = sorted(found, key=lambda seeds: (-len(seeds), seeds))
    if len(order) == 1:
        return _listed(order[0])
    parts = []
    for seeds in order:
        lines: dict[str, list[str]] = {}
        for name, dataset in found[seeds]:
            lines.setdefault(name, []).append(dataset)
        who = (
            name if len(total[name]) == 1 else f"{name} on {', '.join(_distinct(datasets))}"
            for name, datasets in lines.items()
        )
        parts.append(f"{_listed(seeds)}: {', '.join(who)}")
    return "; ".join(parts)


def _listed(seeds: Sequence[int]) -> str:
    """Write seeds with their number.

    >>> _listed([0, 1, 2, 7])
    '0–2, 7 (n = 4)'
    """
    return f"{spans(seeds)} (n = {len(seeds)})"


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


def _metrics(metrics: Sequence[str]) -> str:
    accuracies = [text for name, text in _ACCURACIES.items() if name in metrics]
    others = [_OTHERS.get(name, name) for name in metrics if name not in _ACCURACIES and CALIBRATED not in name]
    parts = ["mean per-class top-1 accuracy: " + ", ".join(accuracies)] if accuracies else []
    text = "; ".join(parts + others)
    return f"Metrics: {text}." if text else ""


def _marks(keys: Sequence[LineKey], together: bool) -> list[str]:
    lines = []
    kinds = sorted({key.block for key in keys})
    if len(kinds) > 1 and together:
        lines.append("Rows of different settings and selections are ranked together.")
    elif len(kinds) > 1:
        said = "; ".join(_SETTING.get(name, name) + (", oracle" if oracle else "") for oracle, _, name in kinds)
        lines.append(f"Blocks, from the top, each ranked by itself: {said}.")
    elif kinds[0][2] == "semantic":
        lines.append("The semantics of unseen classes are known in training.")
    if any(key.setting == "transductive" for key in keys):
        lines.append("‡ transductive: unlabelled test features are used.")
    return lines


def _distinct(names: Iterable[Name]) -> list[Name]:
    return list(dict.fromkeys(names))
