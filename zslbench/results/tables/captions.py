"""What a table's numbers mean, in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from zslbench.metrics import SWEPT
from zslbench.results.analysis.rows import CALIBRATED, CHANGED_MARK, Row, rank_block
from zslbench.results.analysis.selection import criterion
from zslbench.results.tables.table import Remark, RemarkKind, remarks
from zslbench.spec import brackets

Name = TypeVar("Name")

TWO_SEEDS = (
    "Careful: an interval from two seeds rests on the one difference between them and on their being normally "
    "distributed; give more with --seeds."
)
TRANSDUCTIVE = Remark("transductive", "‡ transductive: unlabelled test features are used.")

_ACCURACIES = {
    "T1": "T1 on unseen test images among unseen classes",
    "U": "U on unseen test images among all classes",
    "S": "S on seen test images among all classes",
}
_OTHERS = {"H": "H: harmonic mean of U and S", "AUSUC": "AUSUC: area under the seen–unseen accuracy curve"}
_NO_CURVE = (
    "–, of AUSUC and calibrated stacking: scores of different rows are on different scales (a cascade), and no one "
    "constant can be taken off all of them."
)
_SETTING = {
    "inductive": "inductive",
    "semantic": "semantics of unseen classes known in training",
    "transductive": "transductive",
}
_SELECTION = {"fixed": "fixed (the declared last step)", "oracle": "oracle (best on test)"}
_SPLITS = {
    "catalogue": "proposed split (PS) of Xian et al.",
    "builtin": "the built-in split",
    "added": "the data's own split",
    "own": "the data's own split",
}


def split_of(origin: str, made: str = "") -> str:
    """Say which split numbers are of: how it was made here, else what the origin of the data tells."""
    return made or _SPLITS.get(origin, origin)


def describe_rows(
    rows: Sequence[Row],
    names: Sequence[str],
    metrics: Sequence[str],
    rank_together: bool,
    intervals: bool = False,
) -> list[Remark]:
    """Return the remarks under a table of `rows`: what was measured, on what, how often, and what the marks mean.

    Args:
        names: of each row, without marks.
    """
    names = [name + ("†" if row.selection == "oracle" else "") for row, name in zip(rows, names, strict=True)]
    features = describe_by((row.features, row.dataset) for row in rows)
    semantics = describe_by((row.semantics, row.dataset) for row in rows)
    facts: dict[RemarkKind, str] = {
        "stage": _describe_stage(rows, metrics),
        "data": f"Features: {features}; semantics: {semantics}",
        "split": f"Split: {describe_by((split_of(row.origin, row.split), row.dataset) for row in rows)}",
        "selection": f"Selection: {_rule_sentence(rows, names)}",
        "seeds": f"Seeds: {_describe_seeds(rows, names)}",
        "metrics": _describe_metrics(metrics),
    }
    below = [remark for kind, text in facts.items() if text for remark in remarks(kind, [text.removesuffix(".") + "."])]
    below += remarks("chosen", _choice_sentences(rows, names))
    below += remarks("calibration", _calibration_sentences(rows, names))
    if any(name in SWEPT or CALIBRATED in name for name in metrics) and any(map(_lacks_curve, rows)):
        below += remarks("calibration", [_NO_CURVE])
    spreads = [stat for row in rows for stat in row.metrics.values() if stat.std is not None]
    if spreads:
        what = "half-width of the 95 % t interval" if intervals else "sample standard deviation"
        below += remarks("spread", [f"± is the {what} over seeds."])
        below += remarks("spread", [TWO_SEEDS] if intervals and any(stat.n == 2 for stat in spreads) else [])
    below += _describe_marks(rows, rank_together)
    below += remarks("oracle", _oracle_sentences(rows, names))
    return below + remarks("source", _source_sentences(rows, names))


def describe_by(facts: Iterable[tuple[str, str]]) -> str:
    """Say a fact of each data set: once when all agree, else with those that it holds for.

    >>> describe_by([("att", "cub"), ("att", "sun")]), describe_by([("att", "cub"), ("sent", "sun")])
    ('att', 'att (cub), sent (sun)')
    """
    holders: dict[str, dict[str, None]] = {}
    for fact, holder in facts:
        holders.setdefault(fact, {})[holder] = None
    if len(holders) == 1:
        return next(iter(holders))
    return ", ".join(f"{fact} ({', '.join(names)})" for fact, names in holders.items())


def _source_sentences(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    """Say which numbers are of a source that has changed since, or that cannot be looked up."""
    of: dict[str, dict[str, list[str]]] = {"changed": {}, "unknown": {}}
    for row, name in zip(rows, names, strict=True):
        if row.source_state in of:
            of[row.source_state].setdefault(name, []).append(_where(row, rows))
    said = {
        state: "; ".join(f"{name} on {', '.join(distinct(places))}" for name, places in lines.items())
        for state, lines in of.items()
    }
    return source_sentences(said["changed"], said["unknown"])


def source_sentences(changed: str, unknown: str) -> list[str]:
    """Return what is to be said of numbers whose method's source has changed since, or is not here; none where none."""
    again = "`zslbench run … --rerun stale` makes the numbers again"
    lines = [f"{CHANGED_MARK} The source of the method has changed since: {changed}; {again}."] if changed else []
    if unknown:
        lines.append(f"Whether it has changed since is not known, as its files are not here: {unknown}.")
    return lines


def unread(number: int) -> list[Remark]:
    """Return the remark on files and folders of records that could not be read; none where there are none."""
    what = "1 file or folder" if number == 1 else f"{number} files or folders"
    return remarks("note", [f"Without {what} of records that could not be read."] if number else [])


def _lacks_curve(row: Row) -> bool:
    return "H" in row.metrics and not row.metrics.keys() >= {*SWEPT}


def _describe_stage(rows: Sequence[Row], metrics: Sequence[str]) -> str:
    kinds = " and ".join(distinct(row.protocol.upper() for name in metrics for row in rows if name in row.metrics))
    if rows[0].stage == "dev":
        text = f"{kinds} accuracy in percent, dev stage: training classes → validation classes (as the unseen ones)"
        return text + _mean_over([row.folds for row in rows])
    return f"{kinds} accuracy in percent, final stage: trainval → test."


def _mean_over(sets: Sequence[tuple[int, ...]]) -> str:
    kinds = distinct(sets)
    if len(kinds) > 1:
        return ", mean over the folds named" if any(len(folds) > 1 for folds in kinds) else ""
    return f", mean over folds {spans(kinds[0])}" if len(kinds[0]) > 1 else f", fold {spans(kinds[0])}"


def _describe_seeds(rows: Sequence[Row], names: Sequence[str]) -> str:
    """Say which seeds: the most common first, the others with the lines (and data sets) that they hold for."""
    by_seeds: dict[tuple[int, ...], list[tuple[str, Row]]] = {}
    total: dict[str, set[tuple[int, ...]]] = {}
    on_data: dict[tuple[str, str], set[tuple[int, ...]]] = {}
    for row, name in zip(rows, names, strict=True):
        by_seeds.setdefault(row.seeds, []).append((name, row))
        total.setdefault(name, set()).add(row.seeds)
        on_data.setdefault((name, row.dataset), set()).add(row.seeds)
    order = sorted(by_seeds, key=lambda seeds: (-len(seeds), seeds))
    if len(order) == 1:
        return _listed(order[0])
    parts = []
    for seeds in order:
        lines: dict[str, list[str]] = {}
        for name, row in by_seeds[seeds]:
            alike = len(on_data[name, row.dataset]) == 1
            lines.setdefault(name, []).append(row.dataset if alike else _where(row, rows))
        who = (
            name if len(total[name]) == 1 else f"{name} on {', '.join(distinct(places))}"
            for name, places in lines.items()
        )
        parts.append(f"{_listed(seeds)}: {', '.join(who)}")
    return "; ".join(parts)


def _listed(seeds: Sequence[int]) -> str:
    """Write seeds with their number.

    >>> _listed([0, 1, 2, 7])
    '0–2, 7 (n = 4)'
    """
    return f"{spans(seeds)} (n = {len(seeds)})"


def _rule_sentence(rows: Sequence[Row], names: Sequence[str]) -> str:
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


def _choice_sentences(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    """Say which step and hyper-parameters a rule chose, where it had a choice."""
    chosen = _each(rows, names, [_choice(row) for row in rows])
    return [f"Chosen: {chosen}."] if chosen else []


def _choice(row: Row) -> str:
    step = "last step" if row.step is None else f"step {row.step}"
    parts = [brackets(row.selected.get("chosen", {}))[1:-1], step if row.selected.get("steps", 1) > 1 else ""]
    return " at ".join(filter(None, parts))


def _where(row: Row, rows: Sequence[Row]) -> str:
    """Name what a row is of, with features and semantics where the table has several of a data set."""
    choices = {(other.features, other.semantics) for other in rows if other.dataset == row.dataset}
    of = f" ({row.features}, {row.semantics})" if len(choices) > 1 else ""
    return f"{row.dataset}{of} {row.protocol}"


def _each(rows: Sequence[Row], names: Sequence[str], texts: Sequence[str]) -> str:
    """Write the text of each name, with where it holds where a name has several; empty texts are left out."""
    values: dict[str, dict[str, list[str]]] = {}
    for row, name, text in zip(rows, names, texts, strict=True):
        if text:
            values.setdefault(name, {}).setdefault(text, []).append(_where(row, rows))
    return "; ".join(
        f"{name}: "
        + ", ".join(text if len(of) == 1 else f"{text} ({', '.join(places)})" for text, places in of.items())
        for name, of in values.items()
    )


def _calibration_sentences(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
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


def _oracle_sentences(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
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


def _describe_metrics(metrics: Sequence[str]) -> str:
    accuracies = [text for name, text in _ACCURACIES.items() if name in metrics]
    others = [_OTHERS.get(name, name) for name in metrics if name not in _ACCURACIES and CALIBRATED not in name]
    parts = ["mean per-class top-1 accuracy: " + ", ".join(accuracies)] if accuracies else []
    text = "; ".join(parts + others)
    return f"Metrics: {text}." if text else ""


def _describe_marks(rows: Sequence[Row], together: bool) -> list[Remark]:
    below: list[Remark] = []
    kinds = sorted({rank_block(row.selection == "oracle", row.setting) for row in rows})
    if len(kinds) > 1 and together:
        below += remarks("ranking", ["Rows of different settings and selections are ranked together."])
    elif len(kinds) > 1:
        blocks = "; ".join(_SETTING.get(name, name) + (", oracle" if oracle else "") for oracle, _, name in kinds)
        below += remarks("setting", [f"Blocks, from the top, each ranked by itself: {blocks}."])
    elif kinds[0][2] == "semantic":
        below += remarks("setting", ["The semantics of unseen classes are known in training."])
    if any(row.setting == "transductive" for row in rows):
        below.append(TRANSDUCTIVE)
    return below


def describe_selections(selections: Iterable[str]) -> str:
    """Say by which rules numbers of a study were selected."""
    words = {"fixed": "fixed (the declared last step)", "validated": "validated (chosen on validation classes)"}
    return ", ".join(words.get(name, name) for name in sorted(set(selections)))


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
