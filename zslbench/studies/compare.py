"""`compare`: how sure the differences between methods are. Nothing is trained here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zslbench.errors import BadValue, UnknownName
from zslbench.files import json_text
from zslbench.results.analysis.comparison import (
    METRICS,
    OVER,
    Comparison,
    CrossDatasetTest,
    Match,
    Resampling,
    compare_across,
    compare_within,
    match_methods,
    metrics_of,
)
from zslbench.results.analysis.gather import RecordFilter, choose, prefer_current
from zslbench.results.analysis.rows import group_values, setup_key
from zslbench.results.records.record import SELECTIONS, Record
from zslbench.results.records.store import ResultStore
from zslbench.results.tables.captions import describe_replaced
from zslbench.results.tables.comparison_tables import (
    CSV_HEADS,
    Comparisons,
    comparison_matrices,
    comparison_tables,
    csv_comparisons,
    json_comparisons,
)
from zslbench.results.tables.render import DATA_FORMATS, Caption, check_format
from zslbench.results.tables.result import TableResult
from zslbench.visible import format_count, one_line

DEFAULT_METRICS = ("T1", "H")
FEWEST_DRAWS = 100
_MOST_DRAWS = 1_000_000
"""Their means take 8 bytes per draw and pair of rows."""


def compare(
    *methods: str,
    runs: Path | str = "runs",
    format: str = "terminal",
    datasets: Sequence[str] = (),
    protocols: Sequence[str] = (),
    metrics: Sequence[str] | None = None,
    over: str = "both",
    level: float = 0.95,
    draws: int = 10_000,
    bootstrap_seed: int = 0,
    features: Sequence[str] | None = None,
    semantics: Sequence[str] | None = None,
    stage: str = "final",
    selection: str | None = None,
    details: bool = False,
    width: int | None = None,
    caption: str = "short",
    caption_text: str | None = None,
    label: str | None = None,
) -> TableResult:
    """Return how methods differ on each data set, how certain the differences are, and tests across data sets.

    Args:
        methods: names or specs such as ``lisgan@S3[souls=5]``; each must mean one row per data set. A single one is
            compared with itself on other features and semantics of the data set. None given: all rows, or the best 20,
            as a matrix of differences.
        runs: the folder of records.
        format: ``terminal``, ``markdown``, ``latex``, ``csv`` (one row per pair and kind of interval) or ``json``.
        datasets, protocols, features, semantics, stage: which runs.
        metrics: any of T1, U, S and H; None: T1 and H.
        over: what the bootstrap resamples: ``classes``, ``images`` or ``both``.
        level: the confidence level of intervals and tests, such as 0.95.
        draws: how many bootstrap samples to draw.
        bootstrap_seed: the seed of these draws.
        selection: only runs with ``fixed``, ``validated`` or ``oracle`` selection; None: all but oracle.
        details: show the intervals and p values of all pairs, and the tests across data sets, also when no methods are
            named.
        width: characters per line; None: the terminal's.
        caption, caption_text, label: as in `table`.

    Raises:
        BadValue, UnknownName: what does not exist, does not go together, or cannot be compared.
        StoreError: there are no runs, none is finished, or predictions are missing.
    """
    below = Caption(caption, caption_text, label)
    check_format(format, caption=below)
    kinds = _check_request(metrics, over, level, draws, selection)
    if bootstrap_seed < 0:
        raise BadValue(f"bootstrap_seed is {bootstrap_seed}; give a whole number from 0.")
    store = ResultStore(runs)
    record_filter = RecordFilter(methods, datasets, protocols, features, semantics, stage)
    everything = store.load()
    every = prefer_current(choose(store, everything, record_filter), methods)
    chosen = _pick_selection(every, selection)
    as_matrix = not methods and not details
    matches = match_methods(chosen, methods, keep_best=as_matrix and format not in DATA_FORMATS)
    how = Resampling(kinds, level, draws, bootstrap_seed)
    comparisons: list[Comparison] = []
    for match in matches:
        wanted = [name for name in metrics_of(match) if name in (metrics or DEFAULT_METRICS)]
        if wanted:
            comparisons += compare_within(match, wanted, store.predictions, how)
    if not comparisons:
        raise BadValue(_explain_nothing(matches, metrics or DEFAULT_METRICS))
    tests, remarks = _test_across(comparisons, level)
    missing = group_values(
        ((match.head, match.missing), match.row.protocol)
        for match in (comparison.match for comparison in comparisons)
        if match.missing and not any(other.left_out for other in matches)
    )
    lacking = (
        f"Not on {head} under {' and '.join(names)}: {', '.join(methods)}."
        for (head, methods), names in missing.items()
    )
    replaced = group_values(
        (one_line(entrant.name), match.head) for match in matches for entrant in match.entrants if entrant.row.replaced
    )
    changed = (remark.text for remark in describe_replaced(replaced))
    remarks = (*lacking, *changed, *_describe_failed(chosen, matches), *remarks, *store.left_out)
    if hidden := sum(record.ok for record in every) - sum(record.ok for record in chosen) if selection is None else 0:
        runs = f"{format_count(hidden, 'run')} for oracle selection not compared"
        remarks = (*remarks, f"{runs}; --selection oracle compares such runs, marked †.")
    done = Comparisons(tuple(comparisons), tests, how, stage, remarks)
    return TableResult(
        make_tables=lambda _, room: comparison_matrices(done, room) if as_matrix else comparison_tables(done),
        make_rows=lambda: csv_comparisons(done),
        columns=CSV_HEADS,
        make_json=lambda: json_text(json_comparisons(done)),
        format=format,
        options={"width": width if format == "terminal" else None},
        caption=below,
    )


def _check_request(
    metrics: Sequence[str] | None, over: str, level: float, draws: int, selection: str | None
) -> tuple[str, ...]:
    """Refuse what no comparison can be made with, and return what to resample."""
    words = [("metric", name, METRICS) for name in metrics or ()]
    words += [("kind of resampling", over, (*OVER, "both")), ("selection", selection or "fixed", SELECTIONS)]
    for kind, word, allowed in words:
        if word not in allowed:
            raise UnknownName(kind, word, allowed)
    if not 0.5 <= level < 1:
        raise BadValue(f"level is {level:g}; give a fraction from 0.5 to below 1, such as 0.95.")
    fewest = max(FEWEST_DRAWS, round(2 / (1 - level)))
    if not fewest <= draws <= _MOST_DRAWS:
        raise BadValue(
            f"draws is {draws}; give at least {fewest} for level {level:g}, better 10000, and at most {_MOST_DRAWS}."
        )
    return OVER if over == "both" else (over,)


def _pick_selection(records: Sequence[Record], selection: str | None) -> list[Record]:
    allowed = [name for name in SELECTIONS if name != "oracle"] if selection is None else [selection]
    kept = [record for record in records if record.selection in allowed]
    if not any(record.ok for record in kept):
        others = sorted({record.selection for record in records if record.ok})
        raise BadValue(
            f"no finished run asked for is of {selection or 'fixed or validated'} selection; there are: "
            f"{', '.join(others)}; name one with --selection, as in `--selection {others[0]}`."
        )
    return kept


def _explain_nothing(matches: Sequence[Match], metrics: Sequence[str]) -> str:
    known = {name for match in matches for name in metrics_of(match)}
    if known:
        return f"these runs have {', '.join(sorted(known))}, not {' or '.join(metrics)}; choose with --metric."
    protocols = sorted({match.row.protocol for match in matches})
    return f"protocol {', '.join(protocols)} has none of the metrics that can be compared ({', '.join(METRICS)})."


def _test_across(
    comparisons: Sequence[Comparison], level: float
) -> tuple[tuple[CrossDatasetTest, ...], tuple[str, ...]]:
    """Return the tests across data sets, one for each metric, and why there are none where data sets are several."""
    tests: list[CrossDatasetTest] = []
    remarks: dict[str, None] = {}
    for metric in METRICS:
        same = [comparison for comparison in comparisons if comparison.metric == metric]
        names = [comparison.match.row.dataset for comparison in same]
        twice = [comparison.match for comparison in same if names.count(comparison.match.row.dataset) > 1]
        if twice:
            choices = {(match.row.features, match.row.semantics) for match in twice if match.row.dataset == names[0]}
            advice = "; choose one with --features and --semantics" if len(choices) > 1 else ""
            heads = ", ".join(match.head for match in twice)
            remarks[f"No test across data sets: {heads} are of one data set{advice}."] = None
        elif (test := compare_across(same, metric, level)) is not None:
            tests.append(test)
        elif len(same) > 1:
            remarks[f"No test of {metric} across data sets: no two methods ran on all {len(same)} of them."] = None
    return tuple(tests), tuple(remarks)


def _describe_failed(chosen: Sequence[Record], matches: Sequence[Match]) -> list[str]:
    """Say how many runs of those compared failed: seeds that do not finish may be the worse ones."""
    compared = {setup_key(record) for match in matches for entrant in match.entrants for record in entrant.row.records}
    no_failures = ("ok", "interrupted", "skipped")
    failed = [record for record in chosen if record.status not in no_failures and setup_key(record) in compared]
    if not failed:
        return []
    names = ", ".join(dict.fromkeys(record.label for record in failed))
    runs = format_count(len(failed), "run")
    return [f"{runs} of {names} failed and do not count; `zslbench run … --rerun failed` tries again."]
