"""Selection rules as pure functions of records: which step, and which hyper-parameters, a number is of.

* ``fixed``: the declared last step.
* ``validated``: hyper-parameters chosen in the dev stage (``NAME@tuned``), or the step that is best on the dev curves.
* ``oracle``: what is best on test, as in much published code; always marked †.

A rule returns records whose metrics are those of the chosen step. What was chosen, and among how much, is said in
``provenance["selected"]``: step (None: the last), last (whether it is the last step), metric, steps (how many there
were), points (settings of hyper-parameters tried), chosen (the hyper-parameters that the points differ in), left_out
(points with too few seeds), common_seeds (whether points were compared, and averaged, on the seeds that all of them
have), folds (of the dev stage), label (of the run itself), candidate (whether it was run for oracle selection only).
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from zslbench.results.analysis.rows import family_key, group_records, setup_key, spec_head
from zslbench.results.records.record import Record

_CRITERIA = ("H", "T1")

Step = int | None
"""A count of epochs; None: the last step, whose metrics are the record's own."""


Missing = Literal["curve", "dev", "dev curve", "steps"]
"""What a rule needs: a curve, dev records, curves of these, or steps that both curves have."""


class UnselectableRecords(NamedTuple):
    """Records (of one setup) that a rule could not be applied to."""

    records: tuple[Record, ...]
    missing: Missing


class SelectedRecords(NamedTuple):
    """Records with the metrics of what was chosen, and those that the rule could not be applied to."""

    records: tuple[Record, ...]
    lacking: tuple[UnselectableRecords, ...] = ()


class Best(NamedTuple):
    """The best step of some records: its number, the mean of the metric there, and how many steps there were."""

    step: Step
    value: float
    steps: int


def criterion_metric(metrics: Mapping[str, float]) -> str:
    """Return the metric that a rule maximises: H under gzsl, T1 under zsl, else the first by name.

    >>> criterion_metric({"U": 0.1, "S": 0.9, "H": 0.18})
    'H'
    """
    return next((name for name in _CRITERIA if name in metrics), min(metrics))


def metrics_by_step(record: Record) -> dict[Step, Mapping[str, float]]:
    """Return the metrics of a record at each step that was judged, the last step (None) included."""
    steps: dict[Step, Mapping[str, float]] = {int(entry["step"]): entry["metrics"] for entry in record.curve}
    return steps | {None: record.metrics}


def shared_steps(records: Sequence[Record]) -> list[Step]:
    """Return the steps that all of some records judged, ascending, the last step last.

    A curve that ends at the last step has that one once, by its number.
    """
    common = set.intersection(*(set(metrics_by_step(record)) for record in records)) - {None}
    ascending = sorted(step for step in common if step is not None)
    ends = bool(ascending) and all(_is_last(record, ascending[-1]) for record in records)
    return [*ascending] if ends else [*ascending, None]


def _is_last(record: Record, step: Step) -> bool:
    return dict(metrics_by_step(record)[step]) == dict(record.metrics)


def best_step(records: Sequence[Record], among: Iterable[Step] | None = None) -> Best:
    """Return the step with the highest mean of the protocol's metric over `records`; of equal ones the earliest.

    `among`: consider these steps only, of those that all records judged.
    """
    metric = criterion_metric(records[0].metrics)
    curves = [metrics_by_step(record) for record in records]
    allowed = shared_steps(records) if among is None else [step for step in shared_steps(records) if step in {*among}]
    means = {
        step: statistics.fmean(curve[step][metric] for curve in curves)
        for step in allowed
        if all(metric in curve[step] for curve in curves)
    }
    step = max(means, key=lambda step: round(means[step], 12))  # the first of those that are equal up to rounding
    return Best(step, means[step], len(means))


def select(rule: str, final: Sequence[Record], dev: Iterable[Record], tuned: Iterable[str]) -> SelectedRecords:
    """Return what a rule selects from final records; for the other arguments see `validated`."""
    if rule == "fixed":  # neither tuned nor tried for oracle selection, at the declared last step
        return SelectedRecords(tuple(record for record in final if record.selection == "fixed"))
    return validated(final, dev, tuned) if rule == "validated" else oracle(final, tuned)


def validated(final: Iterable[Record], dev: Iterable[Record], tuned: Iterable[str] = ()) -> SelectedRecords:
    """Return final records at the step that is best on the dev stage: mean over its folds and seeds.

    One step for all seeds, among those that every dev and final record of the setup judged. Records whose
    hyper-parameters were chosen in the dev stage (``NAME@tuned``, of the presets `tuned`) are validated already, at
    their last step, and stand for those of their family that have no curve.
    """
    final, names = [record for record in final if record.selection != "oracle"], frozenset(tuned)
    settled = {family_key(record, names) for record in final if record.selection == "validated"}
    dev_runs = {setup_key(group[0]): group for group in group_records(dev, setup_key)}
    records, lacking = list[Record](), list[UnselectableRecords]()
    for group in group_records(final, setup_key):
        if tuned_runs := [record for record in group if record.selection == "validated"]:
            records += tuned_runs
            continue
        judges = dev_runs.get(setup_key(group[0]), [])
        with_curve = [record for record in group if record.curve]
        if len(with_curve) < len(group) and (with_curve or family_key(group[0], names) not in settled):
            lacking.append(UnselectableRecords(tuple(record for record in group if not record.curve), "curve"))
        if not with_curve:
            continue
        curves = [record for record in judges if record.curve]
        steps = shared_steps([*with_curve, *curves])
        if not curves or len(steps) == 1:
            missing: Missing = "steps" if curves else "dev curve" if judges else "dev"
            lacking.append(UnselectableRecords(tuple(with_curve), missing))
            continue
        folds = sorted({record.fold for record in curves})
        records += _at_step(with_curve, "validated", best_step(curves, steps), points=1, folds=folds)
    return SelectedRecords(tuple(records), tuple(lacking))


def oracle(final: Iterable[Record], tuned: Iterable[str] = ()) -> SelectedRecords:
    """Return what is best on test: the mean over seeds of the protocol's metric, one step for all seeds.

    Where records of a family (same method, presets, setting, data, protocol) were tried for oracle selection, all its
    points (hyper-parameters), the ordinary ones included, and all steps that they judged compete for one row. Points
    need as many seeds as the ordinary point with most of them: few seeds win by chance. When no point that was tried
    for oracle selection has as many, all are compared, and averaged, on the seeds that all of them have.
    Elsewhere each setup with a curve gets the step that is best for it.
    """
    names = frozenset(tuned)
    records, lacking = list[Record](), list[UnselectableRecords]()
    for group in group_records(final, lambda record: family_key(record, names)):
        points = [_one_each_seed(point) for point in group_records(group, setup_key)]
        if any(record.selection == "oracle" for record in group):
            records += _best_point(points, spec_head(group[0], names))
            continue
        for point in points:
            with_curve = [record for record in point if record.curve]
            if with_curve and len(shared_steps(with_curve)) > 1:
                records += _at_step(with_curve, "oracle", best_step(with_curve), points=1)
            else:
                lacking.append(UnselectableRecords(tuple(point), "curve"))
    return SelectedRecords(tuple(records), tuple(lacking))


def _one_each_seed(records: Iterable[Record]) -> list[Record]:
    """Return one record a seed: values that were tuned, typed by hand and tried for oracle selection are one point."""
    by_worth = sorted(records, key=lambda record: (bool(record.curve), record.selection != "oracle"))
    return [record for _, record in sorted({record.seed: record for record in by_worth}.items())]


def _best_point(points: Sequence[Sequence[Record]], name: str) -> list[Record]:
    compared, common_seeds = _comparable(points)
    # Of equal ones the first, in the order of their keys.
    best, point = max(((best_step(point), point) for point in compared), key=lambda pair: pair[0].value)
    params = [dict(point[0].method.get("params", {})) for point in compared]
    differing = [key for key in params[0] if any(other.get(key) != params[0][key] for other in params)]
    return _at_step(
        [dataclasses.replace(record, method={**record.method, "label": name}) for record in point],
        "oracle",
        best,
        points=len(compared),
        left_out=len(points) - len(compared),
        common_seeds=common_seeds,
        chosen={key: point[0].method["params"][key] for key in differing},
        label=point[0].label,
    )


def _comparable(points: Sequence[Sequence[Record]]) -> tuple[Sequence[Sequence[Record]], bool]:
    """Return the points with enough seeds, or all of them on the seeds they share; and whether it is the latter."""
    ordinary = [point for point in points if any(record.selection != "oracle" for record in point)]
    needed = max(map(len, ordinary or points))
    able = [point for point in points if len(point) >= needed]
    common = set.intersection(*({record.seed for record in point} for point in points))
    if len(ordinary) == len(points) or any(point not in ordinary for point in able) or not common:
        return able, False
    return [[record for record in point if record.seed in common] for point in points], True


def _at_step(records: Sequence[Record], rule: str, best: Best, **facts: Any) -> list[Record]:
    selected = {
        "step": best.step,
        # It is the last one of all or of none: one of them may stand still from some step on.
        "last": all(_is_last(record, best.step) for record in records),
        "metric": criterion_metric(records[0].metrics),
        "steps": best.steps,
        **facts,
    }
    return [
        dataclasses.replace(
            record,
            metrics=metrics_by_step(record)[best.step],
            selection=rule,
            provenance={**record.provenance, "selected": {**selected, "candidate": record.selection == "oracle"}},
        )
        for record in records
    ]
