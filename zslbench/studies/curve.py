"""`curve`: the whole seen–unseen curve of finished runs, from their kept predictions. Nothing is trained here."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zslbench.arrays import Array
from zslbench.errors import BadValue
from zslbench.results.analysis import calibration
from zslbench.results.analysis.advice import advise_on_folds
from zslbench.results.analysis.calibration import curve as curve_of
from zslbench.results.analysis.gather import RecordFilter, choose, drop_candidates, prefer_current
from zslbench.results.analysis.row_names import describe_shared, row_keys
from zslbench.results.analysis.rows import Row, Stat, stat, summarise
from zslbench.results.records.record import Record
from zslbench.results.records.store import ResultStore
from zslbench.results.tables.captions import describe_rows
from zslbench.results.tables.layout import group_heads, group_key, ranked_blocks
from zslbench.results.tables.render import Caption, check_format
from zslbench.results.tables.result import TableResult
from zslbench.results.tables.table import Block, Cell, Column, Remark, Table, TableRow
from zslbench.studies.record_table import add_unreadable_count

SUMMARY = ("AUSUC", "H", "γ", "H cs", "γ†", "H cs†")
_LEVELS = tuple(range(0, 100, 10))
_PIPE_WIDTH = 130
_DIGITS = 6
_REMARKS = (
    Remark(
        "layout",
        "U where S is …: on the curve that γ draws, points joined by straight lines, mean over seeds.",
        "U where S is …: on the curve that γ draws.",
    ),
    Remark(
        "oracle",
        "†: γ with the highest H on the test images, and that H: oracle selection, a bound and no result.",
        "† γ chosen on the test images (oracle selection): a bound and no result.",
    ),
)


@dataclasses.dataclass(frozen=True, eq=False)
class RunCurve:
    """One run with its whole curve and the constants chosen on dev folds and on test.

    The metrics of its record hold ``H cs`` (where the dev folds of the run are there) and ``H cs†``.
    """

    record: Record
    curve: calibration.Curve
    gamma_dev: float | None
    gamma_test: float


def curve(
    runs: Path | str = "runs",
    *,
    format: str = "terminal",
    methods: Sequence[str] = (),
    datasets: Sequence[str] = (),
    features: Sequence[str] | None = None,
    semantics: Sequence[str] | None = None,
    width: int | None = None,
    caption: str = "short",
    caption_text: str | None = None,
    label: str | None = None,
) -> TableResult:
    """Return the seen–unseen curves of the finished gzsl runs, and their results after calibrated stacking.

    Args:
        runs: the folder of records.
        format: ``terminal``, ``markdown``, ``latex``, ``csv`` (one row per point of each run) or ``json`` (one object
            per run).
        methods, datasets, features, semantics: which runs, as in `table`.
        width: characters per line; None: the terminal's.
        caption, caption_text, label: as in `table`.

    Raises:
        BadValue, UnknownName: no run matches the request.
        StoreError: there are no runs, none is finished, or predictions are lost.
    """
    below = Caption(caption, caption_text, label)
    check_format(format, caption=below)
    store = ResultStore(runs)
    everything = store.load()
    record_filter = RecordFilter(methods, datasets, ("gzsl",), features, semantics, "final")
    chosen = prefer_current(choose(store, everything, record_filter), methods)
    chosen, notes = drop_candidates([record for record in chosen if record.ok], "plot curve")
    generalized = [record for record in chosen if calibration.is_generalized(record)]
    traced, advice = _trace_runs(generalized, everything, store)
    notes += advice
    if left_out := calibration.without_curve(chosen):
        notes.append(left_out)
    if not traced:
        raise BadValue(left_out or calibration.NO_GZSL)
    return TableResult(
        make_tables=lambda wanted, _: [add_unreadable_count(_lay_out(traced), store, wanted)],
        make_rows=lambda: _list_points(traced),
        make_json=lambda: _json(traced),
        notes=notes,
        warned=notes,
        format=format,
        options={"width": width, "piped": _PIPE_WIDTH},
        caption=below,
    )


def _trace_runs(
    final: Sequence[Record], everything: Sequence[Record], store: ResultStore
) -> tuple[list[RunCurve], list[str]]:
    dev = [record for record in everything if record.ok and record.stage == "dev"]
    calibrated = calibration.calibrate(final, dev, store.predictions, on=("dev", "test"))
    traced = []
    for record in calibrated.records:
        gammas = record.provenance["calibrated"]
        traced.append(RunCurve(record, curve_of(store.predictions(record)), gammas.get("dev"), gammas["test"]))
    advice = [advise_on_folds(calibrated.lacking, store.root)] if calibrated.lacking else []
    return traced, [*advice, *store.left_out]


def _lay_out(traced: Sequence[RunCurve]) -> Table:
    by_id = {run.record.id: run for run in traced}
    runs = [(row, [by_id[record.id] for record in row.records]) for row in summarise(run.record for run in traced)]
    keys = row_keys([row for row, _ in runs], group_key)
    by_name = sorted(zip(keys, runs, strict=True), key=lambda pair: (pair[0].order, pair[1][0].selection))
    keys, runs = [key for key, _ in by_name], [run for _, run in by_name]
    rows = [row for row, _ in runs]
    groups = sorted({group_key(row) for row in rows})
    heads = group_heads(groups)
    means = [np.mean([run.curve.unseen_at(np.array(_LEVELS) / 100) for run in group], axis=0) for _, group in runs]
    levels = [[None if np.isnan(unseen) else Cell(f"{100 * unseen:.1f}") for unseen in row] for row in means]
    reached = max(sum(value is not None for value in values) for values in levels)
    measured = {
        (key, group_key(row)): (*_summary(row, group), *unseen[:reached])
        for (row, group), key, unseen in zip(runs, keys, levels, strict=True)
    }
    columns: list[Column] = []
    for group in groups:
        spanning = ("" if len(groups) == 1 else f"{heads[group]}: ") + "U where S is"
        columns += [Column(head, heads[group]) for head in SUMMARY]
        columns += [Column(str(level), spanning) for level in _LEVELS[:reached]]
    none: tuple[Cell | None, ...] = (None,) * (len(SUMMARY) + reached)
    cells = {key: tuple(cell for group in groups for cell in measured.get((key, group), none)) for key in keys}
    blocks = ranked_blocks(keys, rank_together=False)
    return Table(
        columns=tuple(columns),
        blocks=tuple(Block(tuple(TableRow(key.short, key.marks, cells[key]) for key in block)) for block in blocks),
        remarks=(
            *describe_rows(
                rows,
                [key.short for key in keys],
                ("H", "H cs", "AUSUC"),
                rank_together=False,
                parameters=describe_shared(keys),
            ),
            *_REMARKS,
        ),
    )


def _summary(row: Row, runs: Sequence[RunCurve]) -> tuple[Cell | None, ...]:
    def percent(name: str, marks: str = "") -> Cell | None:
        return _cell(row.metrics[name], ".1f", marks) if name in row.metrics else None

    def constant(values: Sequence[float | None], marks: str = "") -> Cell | None:
        chosen = [value / 100 for value in values if value is not None]
        stochastic = row.metrics["H"].std is not None
        return _cell(stat(chosen, stochastic), ".3g", marks) if chosen else None

    on_dev, on_test = constant([run.gamma_dev for run in runs]), constant([run.gamma_test for run in runs], "†")
    return percent("AUSUC"), percent("H"), on_dev, percent("H cs"), on_test, percent("H cs†", "†")


def _cell(over_seeds: Stat, form: str, marks: str) -> Cell:
    spread = "" if over_seeds.std is None else format(over_seeds.std, form)
    return Cell(format(over_seeds.mean, form), spread, marks=marks)


def _facts(run: RunCurve) -> dict[str, Any]:
    record = run.record
    data = {name: record.dataset[name] for name in ("features", "semantics")}
    about = {"method": record.method["name"], "label": record.label, "dataset": record.dataset["name"], **data}
    return about | {"selection": record.selection, "seed": record.seed}


def _points(curve: calibration.Curve) -> list[Array]:
    """Return γ, U, S and H (percent) of each point; a point holds up to and including its γ, the last for any above."""
    percent = (np.round(100 * part, _DIGITS) for part in (curve.unseen, curve.seen, curve.harmonic))
    return [np.append(curve.margins, np.inf), *percent]


def _list_points(traced: Sequence[RunCurve]) -> list[dict[str, Any]]:
    heads = ("gamma", "U", "S", "H")
    return [
        _facts(run) | dict(zip(heads, map(float, point), strict=True))
        for run in traced
        for point in zip(*_points(run.curve), strict=True)
    ]


def _json(traced: Sequence[RunCurve]) -> str:
    out = []
    for run in traced:
        gammas, *percent = (part.tolist() for part in _points(run.curve))
        metrics = {name: round(100 * value, _DIGITS) for name, value in run.record.metrics.items()}
        points = {"gamma": [*gammas[:-1], None], **dict(zip("USH", percent, strict=True))}
        out.append(
            _facts(run) | {"gamma": run.gamma_dev, "gamma†": run.gamma_test, "metrics": metrics, "curve": points}
        )
    return json.dumps(out, ensure_ascii=False, allow_nan=False) + "\n"
