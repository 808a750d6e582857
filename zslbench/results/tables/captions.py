"""What a table's numbers mean, in sentences."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from zslbench.metrics import NEEDS_ONE_SCALE, ORACLE_GAIN
from zslbench.results.analysis.rows import CALIBRATED, CHANGED_MARK, Row, group_values
from zslbench.results.analysis.selection import criterion_metric
from zslbench.results.tables.table import Remark, RemarkKind, remarks
from zslbench.spec import brackets, presets_in
from zslbench.visible import names_of_several, one_line

Name = TypeVar("Name")

_MOST_NAMED = 4
"""Rows that a caption names one by one where most rows have a fact that the others have not."""
TWO_SEEDS = (
    "Careful: an interval from two seeds is computed from a single difference and assumes a normal "
    "distribution; run more seeds with --seeds."
)
QUICK = "quick"
NARROWER = Remark("parameters", "@quick: a narrower network and a shorter training than the default.")
TRANSDUCTIVE = Remark("transductive", *["‡ transductive: unlabelled test features are used."] * 2)
ORACLE = Remark("oracle", *["† oracle: chosen on the test images, or told a part of the answer in fit."] * 2)

_ACCURACIES = {
    "T1": "T1 on unseen test images among unseen classes",
    "U": "U on unseen test images among all classes",
    "S": "S on seen test images among all classes",
}
_OTHERS = {"H": "H: harmonic mean of U and S", "AUSUC": "AUSUC: area under the seen–unseen accuracy curve"}
_GAIN = f"{ORACLE_GAIN}: H cs† − H cs, what choosing γ on the test images would have added."
_NO_CURVE = (
    "– for AUSUC and calibrated stacking: scores of different rows are on different scales (a cascade), so no "
    "single constant can be subtracted from all of them."
)
_NO_CURVE_SHORT = "– for AUSUC and calibrated stacking: the method's scores are not on one scale."
_SETTING = {
    "inductive": "inductive",
    "semantic": "semantics of unseen classes known in training",
    "transductive": "transductive",
}
_SELECTION = {"fixed": "fixed (the declared last step)", "oracle": "oracle (†)"}
_SPLITS = {
    "catalogue": "proposed split (PS) of Xian et al.",
    "builtin": "the built-in split",
    "added": "the data's own split",
    "own": "the data's own split",
}
_SHORT_SPLITS = {
    "catalogue": "proposed split",
    "builtin": "built-in split",
    "added": "its own split",
    "own": "its own split",
}


def describe_split(origin: str, made: str = "") -> str:
    """Describe the split of numbers: how it was made here, otherwise the usual split for the origin of the data."""
    return made or _SPLITS.get(origin, origin)


def describe_data(facts: Iterable[tuple[str, str, str, str, str]]) -> str:
    """Describe briefly the data of numbers: data set, features, semantics, and origin or making of each split.

    >>> describe_data([("cub", "res101", "att", "catalogue", ""), ("sun", "res101", "att", "catalogue", "")])
    'cub, sun: res101 features, att semantics, proposed split'
    >>> describe_data([("birds", "lite0", "att", "own", ""), ("birds", "lite1", "att", "own", "")])
    'birds: lite0, lite1 features, att semantics, its own split'
    """
    data: list[tuple[str, ...]] = [
        (dataset, features or "no", semantics, (made or _SHORT_SPLITS.get(origin, origin)).removesuffix("."))
        for dataset, features, semantics, origin, made in facts
    ]
    for place in range(3):  # data sets that share the rest, then features that do, then semantics
        alike = group_values(((part[:place], part[place + 1 :]), part[place]) for part in data)
        data = [(*before, ", ".join(names), *after) for (before, after), names in alike.items()]
    return "; ".join("{}: {} features, {} semantics, {}".format(*part) for part in data)


def describe_rows(
    rows: Sequence[Row],
    names: Sequence[str],
    metrics: Sequence[str],
    rank_together: bool,
    intervals: bool = False,
    parameters: Iterable[str] = (),
) -> list[Remark]:
    """Return the remarks under a table of `rows`: metrics, data, seeds, selection, and what the marks mean.

    `names` are the names of the rows, without marks; `parameters` say what these leave out.
    """
    named = _NamedRows(rows, [name + ("†" if row.oracle else "") for row, name in zip(rows, names, strict=True)])
    below: list[Remark] = []

    def add(kind: RemarkKind, *texts: str, short: str = "") -> None:
        below.extend(remarks(kind, filter(None, texts), short))

    features = describe_by((row.features, row.data_name) for row in rows)
    semantics = describe_by((row.semantics, row.data_name) for row in rows)
    data = describe_data((row.data_name, row.features, row.semantics, row.origin, row.split) for row in rows)
    # Means over different seeds are not directly comparable, which a short caption must say, too.
    unequal = len({row.seeds for row in rows if row.stochastic}) > 1
    seeds: RemarkKind = "warning" if unequal else "seeds"
    measured: list[tuple[RemarkKind, str, str]] = [
        ("stage", _describe_stage(rows, metrics), _shorten_stage(rows, metrics)),
        ("data", f"Features: {features}; semantics: {semantics}", data),
        ("split", f"Split: {_describe_splits(rows)}", ""),
        *(("parameters", text, "") for text in parameters),
        ("selection", f"Selection: {_describe_rules(named)}", f"selection: {_shorten_rules(named)}"),
        (seeds, f"Seeds: {_describe_seeds(named)}", _shorten_seeds(rows) if seeds == "seeds" else ""),
        ("metrics", _describe_metrics(metrics), ""),
    ]
    for kind, text, short in measured:
        add(kind, text and text.removesuffix(".") + ".", short=short)
    if choices := named.write_each(_describe_choice):
        add("chosen", f"Chosen: {choices}.")
    add("calibration", *_describe_calibration(named, metrics), short=_shorten_calibration(rows, metrics))
    lacking = any("H" in row.metrics and not row.metrics.keys() >= {*NEEDS_ONE_SCALE} for row in rows)
    if lacking and any(name in NEEDS_ONE_SCALE or CALIBRATED in name for name in metrics):
        add("calibration", _NO_CURVE, short=_NO_CURVE_SHORT)
    if spreads := [stat for row in rows for stat in row.metrics.values() if stat.std is not None]:
        spread = "half-width of the 95 % t interval" if intervals else "sample standard deviation"
        short = "± half of the 95 % t interval" if intervals else "± standard deviation"
        add("spread", f"± is the {spread} over seeds.", short=short)
        add("warning", TWO_SEEDS if intervals and any(stat.n == 2 for stat in spreads) else "")
    below += _describe_blocks(rows, rank_together)
    if any(QUICK in presets_in(row.label) for row in rows):
        below.append(NARROWER)
    if any(row.setting == "transductive" for row in rows):
        below.append(TRANSDUCTIVE)
    if priors := _name_holders(group_values((prior, name) for row, name in named if (prior := _class_prior(row)))):
        text = f"Class prior of unseen classes: {'; '.join(priors)}."
        add("transductive", text, short=text)
    if known := _name_holders(group_values((part, name) for row, name in named for part in _known_answers(row))):
        text = f"† told a part of the answer in fit: {'; '.join(known)}."
        add("oracle", text, short=text)
    add("oracle", *_describe_oracle(named), short="† best on the test images (oracle selection).")
    trained = group_values(
        (precision, f"{name} (some of its runs)" if len(_precisions(row)) > 1 else name)
        for row, name in named
        for precision in sorted(_precisions(row))
    )
    for precision in trained.keys() - {"float32"}:
        add("parameters", f"Matrix products of the training in {precision}: {', '.join(distinct(trained[precision]))}.")
    replaced = group_values((name, named.where(row)) for row, name in named if row.replaced)
    below += describe_replaced(replaced)
    of_changed = ((row, name) for row, name in named if row.source_state != "current")
    by_state = group_values((row.source_state, (name, named.where(row))) for row, name in of_changed)
    changed, unknown = (
        [f"{name} on {', '.join(data)}" for name, data in group_values(by_state.get(state, ())).items()]
        for state in ("changed", "unknown")
    )
    return below + describe_sources(changed, unknown)


@dataclasses.dataclass(frozen=True)
class _NamedRows:
    """Rows with their names, and the data that distinguishes rows of the same name."""

    rows: Sequence[Row]
    names: Sequence[str]

    def __iter__(self) -> Iterator[tuple[Row, str]]:
        return zip(self.rows, self.names, strict=True)

    @functools.cached_property
    def _several(self) -> set[str]:
        return names_of_several((row.dataset, row.features, row.semantics) for row in self.rows)

    def where(self, row: Row) -> str:
        """Return data set and protocol of a row, with features and semantics if the table has several of them."""
        return f"{row.data_title if row.dataset in self._several else row.data_name} {row.protocol}"

    def write_each(self, write: Callable[[Row], str]) -> str:
        """Return ``name: text`` per name, with data if a name has several texts; empty texts are left out."""
        texts = group_values((name, (text, self.where(row))) for row, name in self if (text := write(row)))
        return "; ".join(f"{name}: {describe_by(pairs)}" for name, pairs in texts.items())


def describe_by(facts: Iterable[tuple[str, str]]) -> str:
    """Return facts alone if they hold for all data sets, otherwise each fact with its data sets.

    >>> describe_by([("att", "cub"), ("att", "sun")]), describe_by([("att", "cub"), ("sent", "sun")])
    ('att', 'att (cub), sent (sun)')
    >>> describe_by([("lite0", "birds"), ("lite1", "birds")])
    'lite0, lite1'
    """
    holders = group_values(facts)
    alike = len(set(map(frozenset, holders.values()))) == 1
    return ", ".join(fact if alike else f"{fact} ({', '.join(names)})" for fact, names in holders.items())


def describe_sources(changed: Sequence[str], unknown: Sequence[str]) -> list[Remark]:
    """Return remarks on rows whose method's source has changed since, or is not here; empty without such rows.

    The short form of a long list names its first rows only, as each is marked.

    >>> [remark.short.split(";")[-2] for remark in describe_sources([f"m{at} on cub" for at in range(9)], [])]
    [' and of 6 more rows']
    """
    below = []
    if changed:
        since = f"{CHANGED_MARK} The source of the method has changed since"
        again = "`zslbench run … --rerun stale` computes the numbers again"
        few = f"{since}: {'; '.join(changed[:3])}; and of {len(changed) - 3} more rows; {again}."
        below.append(
            Remark(
                "source",
                one_line(f"{since}: {'; '.join(changed)}; {again}."),
                one_line(few) if len(changed) > 5 else "",
            )
        )
    if unknown:
        since = "It is not known whether the source of the method has changed since, as its files are not here"
        below.append(Remark("source", one_line(f"{since}: {'; '.join(unknown)}.")))
    return below


def describe_replaced(rows: Mapping[str, Sequence[str]]) -> list[Remark]:
    """Return the remark on rows of tuned presets that have other values now, by name with their data; may be empty."""
    names = "; ".join(f"{name} on {', '.join(data)}" for name, data in rows.items())
    text = f"Replaced: {names}, whose preset has other values now."
    return remarks("warning", [text] if rows else [])


def describe_unreadable_records(number: int) -> list[Remark]:
    """Return the remark on files and folders of records that could not be read; empty if all could be read."""
    files = "1 file or folder" if number == 1 else f"{number} files or folders"
    verb = "is" if number == 1 else "are"
    return remarks("warning", [f"{files} of records could not be read and {verb} left out."] if number else [])


def _describe_splits(rows: Sequence[Row]) -> str:
    """Name the split of each data set; of one that has several, with features and semantics."""
    splits = [describe_split(row.origin, row.split) for row in rows]
    of_dataset = group_values((row.data_name, split) for row, split in zip(rows, splits, strict=True))
    return describe_by(
        (split, row.data_name + (f" {row.features}/{row.semantics}" if len(of_dataset[row.data_name]) > 1 else ""))
        for row, split in zip(rows, splits, strict=True)
    )


def _describe_stage(rows: Sequence[Row], metrics: Sequence[str]) -> str:
    kinds = " and ".join(distinct(row.protocol.upper() for name in metrics for row in rows if name in row.metrics))
    if rows[0].stage != "dev":
        return f"{kinds} accuracy in percent, final stage: trainval → test"
    folds = distinct(row.folds for row in rows)
    mean = ", mean over the folds named" if any(len(numbers) > 1 for numbers in folds) else ""
    if len(folds) == 1:
        mean = (", mean over folds " if mean else ", fold ") + format_number_ranges(folds[0])
    return f"{kinds} accuracy in percent, dev stage: training classes → validation classes (as the unseen ones){mean}"


def _shorten_stage(rows: Sequence[Row], metrics: Sequence[str]) -> str:
    kinds = " and ".join(distinct(row.protocol.upper() for name in metrics for row in rows if name in row.metrics))
    if rows[0].stage != "dev":
        return f"{kinds}, final stage"
    folds = distinct(row.folds for row in rows)
    which = name_folds(folds[0]) if len(folds) == 1 else "the folds named"
    mean = "mean over " if any(len(numbers) > 1 for numbers in folds) else ""
    return f"{kinds}, dev stage (validation classes, {mean}{which})"


def _shorten_seeds(rows: Sequence[Row]) -> str:
    """Say the seeds that rows with chance share; those of a deterministic method make no difference."""
    seeds = distinct(row.seeds for row in rows if row.stochastic)
    if not seeds:
        return "deterministic"
    text = f"{'seed' if len(seeds[0]) == 1 else 'seeds'} {format_number_ranges(seeds[0])}"
    return text + ("" if all(row.seeds == seeds[0] for row in rows) else " (deterministic methods once)")


def _shorten_rules(named: _NamedRows) -> str:
    """Return the selection rules of rows without †; if there are several, each with its rows."""
    by_rule = _shorten_most(group_values((row.selection, name) for row, name in named if not row.oracle))
    parts = [rule + (f" ({', '.join(names)})" if len(by_rule) > 1 else "") for rule, names in by_rule.items()]
    return ", ".join(parts) or "oracle"


def _shorten_most(groups: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    """Return the names of each group; where most are in one, it comes last and its names are ``all others``.

    >>> _shorten_most({"fixed": ["ale", "dap", "dem", "sae", "sje"], "validated": ["eszsl"]})
    {'validated': ['eszsl'], 'fixed': ['all others']}
    """
    names_of = dict(groups)
    largest = max(names_of, key=lambda key: len(names_of[key]), default="")
    rest = sum(map(len, names_of.values())) - len(names_of.get(largest, ()))
    if rest and len(names_of[largest]) > max(_MOST_NAMED, rest):
        del names_of[largest]
        names_of[largest] = ["all others"]
    return names_of


def _name_holders(groups: Mapping[str, Sequence[str]]) -> list[str]:
    """Return each fact with the rows that it holds for, if there are several facts."""
    names_of = _shorten_most(groups)
    return [fact + (f": {', '.join(names)}" if len(names_of) > 1 else "") for fact, names in names_of.items()]


def _describe_seeds(named: _NamedRows) -> str:
    """Say which seeds, the most first, each with the rows (and data sets) that they hold for."""
    of_name = group_values((name, row.seeds) for row, name in named)
    on_data = group_values(((name, row.data_name), row.seeds) for row, name in named)
    by_seeds = group_values(
        (row.seeds, (name, row.data_name if len(on_data[name, row.data_name]) == 1 else named.where(row)))
        for row, name in named
    )
    holders = {
        f"{format_number_ranges(seeds)} (n = {len(seeds)})": [
            name if len(of_name[name]) == 1 else f"{name} on {', '.join(data)}"
            for name, data in group_values(by_seeds[seeds]).items()
        ]
        for seeds in sorted(by_seeds, key=lambda seeds: (-len(seeds), seeds))
    }
    return "; ".join(_name_holders(holders))


def _describe_rules(named: _NamedRows) -> str:
    """Return the selection rules of the rows; if there are several, each with its rows."""

    def rule(row: Row) -> str:
        if row.selection != "validated":
            return _SELECTION.get(row.selection, row.selection)
        folds = row.selected.get("folds")
        same = [
            other for other in named.rows if other.selection == "validated" and other.selected.get("folds") == folds
        ]
        if folds is None:
            return f"validated (hyper-parameters chosen on the dev folds by {_criteria(same)})"
        return f"validated (step chosen on dev {name_folds(folds)} by {_criteria(same)}, mean over folds and seeds)"

    parts = _name_holders(group_values((rule(row), name) for row, name in named if not row.oracle))
    if not parts:
        return _SELECTION["oracle"]
    parts += ["oracle for rows with †"] if any(row.oracle for row in named.rows) else []
    return "; ".join(parts)


def _criteria(rows: Sequence[Row]) -> str:
    names = {criterion_metric(dict.fromkeys(row.metrics, 0.0)) for row in rows}
    return " and ".join(sorted(names, key=lambda name: (name != "T1", name)))


def _precisions(row: Row) -> set[str]:
    """Return the precisions that the networks of a row's seeds were trained at; empty without training."""
    return {str(record.provenance["precision"]) for record in row.records if "precision" in record.provenance}


def _describe_choice(row: Row) -> str:
    """Return the step and hyper-parameters that a rule chose; empty if there was no choice."""
    number = row.selected.get("step")
    step = "last step" if number is None else f"step {number}"
    parts = [brackets(row.selected.get("chosen", {}))[1:-1], step if row.selected.get("steps", 1) > 1 else ""]
    return " at ".join(filter(None, parts))


def _describe_calibration(named: _NamedRows, metrics: Sequence[str]) -> list[str]:
    """Say what calibrated stacking is, and on what its constant was chosen."""
    folds, on_test = _calibrated_on(named.rows, metrics)
    if not folds and not on_test:
        return []
    text = (
        "cs: calibrated stacking (Chao et al., 2016) subtracts a constant γ from the scores of seen classes; for each "
        "seed, γ is "
    )
    if not folds:
        return [f"{text}the one with the highest H on the test images (†)."]
    which = name_folds(folds[0]) if len(folds) == 1 else "folds"
    bound = "; in cs† the one with the highest H on the test images: a bound and no result" if on_test else ""
    sentences = [
        f"{text}the one with the highest mean H over its dev {which}{bound}.",
        _GAIN if ORACLE_GAIN in metrics else "",
    ]
    if len(folds) > 1:
        uneven = named.write_each(lambda row: format_number_ranges(row.gamma_folds) if row.gammas else "")
        sentences.append(f"Dev folds that γ was chosen on: {uneven}.")
    return sentences


def _shorten_calibration(rows: Sequence[Row], metrics: Sequence[str]) -> str:
    folds, on_test = _calibrated_on(rows, metrics)
    dev = f"dev {name_folds(folds[0])}" if len(folds) == 1 else "dev folds"
    text = "cs: after calibrated stacking, γ chosen on "
    if folds and on_test:
        gain = f" {_GAIN}" if ORACLE_GAIN in metrics else ""
        return f"{text}{dev}, cs† on the test images: a bound and no result.{gain}"
    return f"{text}{dev if folds else 'the test images (†)'}." if folds or on_test else ""


def _calibrated_on(rows: Sequence[Row], metrics: Sequence[str]) -> tuple[list[tuple[int, ...]], bool]:
    """Return the dev folds that constants of the metrics shown were chosen on, and whether any was chosen on test."""
    on_dev, on_test = (any(name.endswith(CALIBRATED + mark) for name in metrics) for mark in ("", "†"))
    folds = distinct(row.gamma_folds for row in rows if row.gammas and (on_dev or ORACLE_GAIN in metrics))
    return folds, on_test and any(row.oracle_gammas for row in rows)


def _class_prior(row: Row) -> str:
    """Return the prior of unseen classes of a method whose fit learns from unlabelled rows; empty for any other."""
    prior = row.params.get("class_prior", "") if "unlabelled" in row.records[0].provenance.get("told", ()) else ""
    return "their true frequencies" if prior == "test" else str(prior)


def _known_answers(row: Row) -> list[str]:
    """Return which parts of the answer the fit of a row with † is told."""
    told = row.records[0].provenance.get("told", ()) if row.oracle else ()
    parts = ["how frequent each unseen class is"] if "class_prior" in told else []
    return parts + (["which images are of unseen classes"] if "unlabelled" in told and row.protocol != "zsl" else [])


def _describe_oracle(named: _NamedRows) -> list[str]:
    """Say what oracle selection chose on, and among how much; nothing of rows that are told answers and were alone."""
    of_oracle = [row for row in named.rows if row.oracle]
    picked = [row for row in of_oracle if not _known_answers(row) or _competed(row.selected) not in ("", "1 setting")]
    if not picked:
        return []
    chosen = [row for row in picked if row.selected]
    criteria = f" by {_criteria(chosen)}, mean over seeds" if chosen else ""
    sentences = [f"† oracle selection: the best on the test images{criteria}, as in much published code."]
    if among := named.write_each(lambda row: _competed(row.selected) if row.oracle else ""):
        sentences.append(f"Oracle selection chose among: {among}.")
    return sentences


def _competed(selected: Mapping[str, Any]) -> str:
    """Return among how many settings and steps a row was chosen; empty if there was no choice."""
    if not selected:
        return ""
    counts = [(selected["points"], "setting"), (selected["steps"], "step")]
    text = " × ".join(f"{number} {kind}s" for number, kind in counts if number > 1) or "1 setting"
    left = selected.get("left_out", 0)
    text += f" ({left} more with too few seeds)" if left else ""
    return text + (" on the seeds that all of them have" if selected.get("common_seeds") else "")


def _describe_metrics(metrics: Sequence[str]) -> str:
    accuracies = [text for name, text in _ACCURACIES.items() if name in metrics]
    others = [_OTHERS.get(name, name) for name in metrics if name not in _ACCURACIES and CALIBRATED not in name]
    parts = ["mean per-class top-1 accuracy: " + ", ".join(accuracies)] if accuracies else []
    return f"Metrics: {'; '.join(parts + others)}" if parts or others else ""


def _describe_blocks(rows: Sequence[Row], rank_together: bool) -> list[Remark]:
    kinds = sorted({row.block for row in rows})
    if len(kinds) > 1 and rank_together:
        together = "Rows of different settings and selections are ranked together."
        return [Remark("ranking", together, together)]
    if len(kinds) > 1:
        blocks = "; ".join(_SETTING.get(name, name) + (", oracle" if oracle else "") for oracle, _, name in kinds)
        # † and ‡ tell the other settings by themselves.
        short = f"Blocks: {blocks}." if any(name == "semantic" for _, _, name in kinds) else ""
        return remarks("setting", [f"Blocks, from the top, each ranked by itself: {blocks}."], short)
    known = "The semantics of unseen classes are known in training."
    return [Remark("setting", known, known)] if kinds[0][2] == "semantic" else []


def describe_selections(selections: Iterable[str]) -> str:
    """Say by which rules numbers of a study were selected."""
    words = _SELECTION | {"validated": "validated (chosen on validation classes)"}
    return ", ".join(words.get(name, name) for name in sorted(set(selections)))


def name_folds(folds: Sequence[int]) -> str:
    """Write folds of the dev stage: ``folds 1–3``."""
    return f"{'fold' if len(folds) == 1 else 'folds'} {format_number_ranges(folds)}"


def format_number_ranges(numbers: Sequence[int]) -> str:
    """Write ascending whole numbers, runs of them shortened.

    >>> format_number_ranges([0, 1, 2, 7])
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
