"""What a table's numbers mean, in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from zslbench.results.naming import LineKey
from zslbench.results.summary import Row

_ACCURACIES = {
    "T1": "T1 on unseen test images among unseen classes",
    "U": "U on unseen test images among all classes",
    "S": "S on seen test images among all classes",
}
_OTHERS = {"H": "H: harmonic mean of U and S", "AUSUC": "AUSUC: area under the seen–unseen accuracy curve"}
_SELECTION = {
    "fixed": "fixed (the declared last step)",
    "validated": "validated (chosen on validation classes)",
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
    rows: Sequence[Row], keys: Sequence[LineKey], names: Mapping[LineKey, str], metrics: Sequence[str], together: bool
) -> list[str]:
    """Return the sentences under a table of `rows`: what was measured, on what, how often, and what the marks mean."""
    lines = [
        _stage(rows, metrics),
        f"Features: {_by(rows, 'features')}; semantics: {_by(rows, 'semantics')}",
        f"Split: {_by(rows, 'origin', _SPLIT)}",
        f"Selection: {_selection(rows, keys, names)}",
        f"Seeds: {_seeds(rows, keys, names)}",
        _metrics(metrics),
    ]
    lines = [line.removesuffix(".") + "." for line in lines]
    if any(stat.std is not None for row in rows for stat in row.metrics.values()):
        lines.append("± is the sample standard deviation over seeds.")
    return lines + _marks(keys, together)


def _stage(rows: Sequence[Row], metrics: Sequence[str]) -> str:
    kinds = " and ".join(_distinct(row.protocol.upper() for name in metrics for row in rows if name in row.metrics))
    if rows[0].stage == "dev":
        return f"{kinds} accuracy in percent, dev stage: training classes → validation classes (as the unseen ones)."
    return f"{kinds} accuracy in percent, final stage: trainval → test."


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
        found.setdefault(row.selection, []).append(names[key])
    oracle = found.pop("oracle", None)
    if not found:
        return _SELECTION["oracle"]
    parts = [
        _SELECTION.get(value, value) + (f": {', '.join(_distinct(lines))}" if len(found) > 1 else "")
        for value, lines in found.items()
    ]
    return "; ".join([*parts, *(["oracle for rows with †"] if oracle else [])])


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
    """Write seeds with their number, runs of them shortened.

    >>> _listed([0, 1, 2, 7])
    '0–2, 7 (n = 4)'
    """
    runs: list[list[int]] = []
    for seed in seeds:
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    text = ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)
    return f"{text} (n = {len(seeds)})"


def _metrics(metrics: Sequence[str]) -> str:
    accuracies = [text for name, text in _ACCURACIES.items() if name in metrics]
    others = [_OTHERS.get(name, name) for name in metrics if name not in _ACCURACIES]
    parts = ["mean per-class top-1 accuracy: " + ", ".join(accuracies)] if accuracies else []
    text = "; ".join(parts + others)
    return f"Metrics: {text}."


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
    if any(key.oracle for key in keys):
        lines.append("† oracle selection: the step that is best on the test images, as in much published code.")
    return lines


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
