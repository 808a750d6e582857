"""`compare`: how sure the differences between methods are. Nothing is trained here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zslbench.errors import BadValue, UnknownName
from zslbench.files import csv_text, json_text, write_text
from zslbench.results.analysis.comparison import (
    METRICS,
    OVER,
    Across,
    Comparison,
    Resampling,
    across,
    compare_within,
    metrics_of,
)
from zslbench.results.analysis.gather import choose
from zslbench.results.analysis.matches import Match, match_methods
from zslbench.results.analysis.record_filter import RecordFilter
from zslbench.results.analysis.rows import setup_key
from zslbench.results.diagram import draw_diagram, known_kind
from zslbench.results.records.record import SELECTIONS, Record
from zslbench.results.records.store import ResultStore
from zslbench.results.tables.comparison_tables import (
    CSV_HEADS,
    Comparisons,
    comparison_tables,
    csv_comparisons,
    json_comparisons,
)
from zslbench.results.tables.render import check_format, columns_of, render

DEFAULT_METRICS = ("T1", "H")
FEWEST_DRAWS = 100


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
    features: str | None = None,
    semantics: str | None = None,
    stage: str = "final",
    selection: str | None = None,
    diagram: Path | str | None = None,
    output: Path | None = None,
    width: int | None = None,
) -> str:
    """Return how methods differ on each data set, how sure that is, and what holds across data sets.

    Args:
        methods: names or specs such as ``lisgan@S3[souls=5]``, each of one row per data set; none: all rows.
        runs: the folder of records.
        format: terminal, markdown, latex, csv (a row per pair and kind) or json.
        datasets, protocols, features, semantics, stage: which runs.
        metrics: of T1, U, S and H; None: T1 and H.
        over: what the bootstrap resamples: ``classes``, ``images`` or ``both``.
        level: of the intervals and tests, such as 0.95; draws: of the bootstrap; bootstrap_seed: of its draws.
        selection: only runs of ``fixed``, ``validated`` or ``oracle`` selection; None: all but oracle.
        diagram: also draw the critical-difference diagram there (.pdf, .svg or .png).
        output: also write the text there.
        width: characters of a line; None: the terminal's.

    Raises:
        BadValue, UnknownName: what does not exist, does not fit together, or cannot be compared.
        StoreError: no runs, none finished, predictions missing, or a file cannot be written.
    """
    kinds = _checked(format, metrics, over, level, draws, selection)
    if diagram is not None:
        known_kind(Path(diagram))
    store = ResultStore(runs)
    record_filter = RecordFilter(methods, datasets, protocols, features, semantics, stage)
    everything = store.load()
    chosen = _selected(choose(store, everything, record_filter), selection)
    found = match_methods(chosen, methods)
    how = Resampling(kinds, level, draws, bootstrap_seed)
    comparisons: list[Comparison] = []
    for match in found:
        there = metrics_of(match)
        wanted = [name for name in METRICS if name in there and name in (metrics or DEFAULT_METRICS)]
        if wanted:
            comparisons += compare_within(match, wanted, store.predictions, how)
    if not comparisons:
        raise BadValue(_nothing(found, metrics or DEFAULT_METRICS))
    tests, remarks = _across(comparisons, level)
    if diagram is not None:
        if not tests:
            why = "; ".join(remarks) or "run the methods on another one, or leave out --diagram."
            raise BadValue(
                f"a critical-difference diagram needs two data sets that share two methods; {why[0].lower()}{why[1:]}"
            )
        draw_diagram(tests, Path(diagram))
    remarks = (*_missing(comparisons), *_failed(chosen, found), *remarks, *store.left_out)
    done = Comparisons(tuple(comparisons), tests, level, draws, bootstrap_seed, kinds, stage, remarks)
    if format == "json":
        text = json_text(json_comparisons(done))
    elif format == "csv":
        text = csv_text(csv_comparisons(done), CSV_HEADS)
    else:
        room = columns_of(width) if format == "terminal" else None
        text = render(comparison_tables(done, room or 100), format, room)
    if output is not None:
        write_text(Path(output), text, f"the comparison {output.name}")
    return text


def _checked(
    format: str, metrics: Sequence[str] | None, over: str, level: float, draws: int, selection: str | None
) -> tuple[str, ...]:
    """Refuse what no comparison can be made with, and return what to resample."""
    check_format(format)
    for name in metrics or ():
        if name not in METRICS:
            raise UnknownName("metric", name, METRICS)
    if over not in (*OVER, "both"):
        raise UnknownName("kind of resampling", over, (*OVER, "both"))
    if selection is not None and selection not in SELECTIONS:
        raise UnknownName("selection", selection, SELECTIONS)
    if not 0.5 <= level < 1:
        raise BadValue(f"level is {level:g}; give a fraction from 0.5 to below 1, such as 0.95.")
    fewest = max(FEWEST_DRAWS, round(2 / (1 - level)))
    if draws < fewest:
        raise BadValue(f"draws is {draws}; give at least {fewest} for level {level:g}, better 10000.")
    return OVER if over == "both" else (over,)


def _selected(records: Sequence[Record], selection: str | None) -> list[Record]:
    found = [one for one in records if (one.selection != "oracle" if selection is None else one.selection == selection)]
    if not any(one.ok for one in found):
        there = sorted({one.selection for one in records if one.ok})
        raise BadValue(
            f"no finished run asked for is of {selection or 'fixed or validated'} selection; there are: "
            f"{', '.join(there)}; name one with --selection, as in `--selection {there[0]}`."
        )
    return found


def _nothing(found: Sequence[Match], metrics: Sequence[str]) -> str:
    there = {name for match in found for name in metrics_of(match)}
    if there:
        return f"these runs have {', '.join(sorted(there))}, not {' or '.join(metrics)}; choose with --metric."
    names = sorted({match.row.protocol for match in found})
    return f"protocol {', '.join(names)} has none of the metrics that can be compared ({', '.join(METRICS)})."


def _across(comparisons: Sequence[Comparison], level: float) -> tuple[tuple[Across, ...], tuple[str, ...]]:
    """Return the tests across data sets, a metric each, and why there are none where several choices of one stand."""
    tests: list[Across] = []
    remarks: dict[str, None] = {}
    for metric in [name for name in METRICS if any(one.metric == name for one in comparisons)]:
        same = [one for one in comparisons if one.metric == metric]
        names = [one.match.row.dataset for one in same]
        if twice := [one.match.head for one in same if names.count(one.match.row.dataset) > 1]:
            remarks[f"No test across data sets: {', '.join(twice)} are of one data set{_advice(same)}."] = None
            continue
        test = across(same, metric, level)
        if test is not None:
            tests.append(test)
        elif len(same) > 1:
            remarks[f"No test of {metric} across data sets: no two methods ran on all {len(same)} of them."] = None
    return tuple(tests), tuple(remarks)


def _advice(same: Sequence[Comparison]) -> str:
    choices = {
        (one.match.row.features, one.match.row.semantics)
        for one in same
        if one.match.row.dataset == same[0].match.row.dataset
    }
    return "; choose one with --features and --semantics" if len(choices) > 1 else ""


def _missing(comparisons: Sequence[Comparison]) -> list[str]:
    lines: dict[str, None] = {}
    for one in comparisons:
        if one.match.missing:
            names = ", ".join(one.match.missing)
            lines[f"Not on {one.match.head} under {one.match.row.protocol}: {names}."] = None
    return list(lines)


def _failed(chosen: Sequence[Record], found: Sequence[Match]) -> list[str]:
    """Say how many runs of those compared failed: seeds that do not finish may be the worse ones."""
    compared = {setup_key(one) for match in found for entrant in match.entrants for one in entrant.row.records}
    failed = [one for one in chosen if not one.ok and one.status not in ("interrupted", "skipped")]
    of = [one for one in failed if setup_key(one) in compared]
    if not of:
        return []
    many = f"{len(of)} runs" if len(of) > 1 else "1 run"
    names = ", ".join(dict.fromkeys(one.label for one in of))
    return [f"{many} of {names} failed and do not count; `zslbench run … --rerun failed` tries again."]
