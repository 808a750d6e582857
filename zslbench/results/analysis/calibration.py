"""Calibrated stacking (Chao et al., 2016) from kept predictions: a constant γ lowers the scores of seen classes.

The constant is chosen where the dev folds' mean H is highest; chosen on test it is oracle selection (†).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import numpy as np

from zslbench.arrays import Array
from zslbench.metrics import NEEDS_ONE_SCALE, ORACLE_GAIN, Predictions, stacked_accuracies, stacking_curve
from zslbench.results.analysis.rows import CALIBRATED, group_values, setup_key
from zslbench.results.records.record import Record

NO_GZSL = "the runs asked for compare no seen with unseen classes; ask for gzsl runs."
_ROUNDING = 1e-9


@dataclasses.dataclass(frozen=True, eq=False)
class Curve:
    """The whole seen–unseen curve: point i holds for γ above margin i - 1, up to and including margin i.

    There are (t - 1,) ascending margins; U and S of the (t,) points are fractions.
    """

    margins: Array
    unseen: Array
    seen: Array

    @property
    def harmonic(self) -> Array:
        """(t,) H."""
        total = self.unseen + self.seen
        return 2 * self.unseen * self.seen / np.where(total > 0, total, 1.0)

    def harmonic_at(self, gammas: Array) -> Array:
        """Return H at some constants."""
        return self.harmonic[np.searchsorted(self.margins, gammas, side="left")]

    def unseen_at(self, seen: Array) -> Array:
        """Return U where S is `seen` (from 0 up): the most there is, between points by straight lines.

        NaN above the largest S there is.
        """
        high = np.searchsorted(-self.seen, -seen, side="right") - 1  # the last point with at least that S
        low = np.minimum(high + 1, len(self.seen) - 1)
        step = self.seen[high] - self.seen[low]
        share = (self.seen[high] - seen) / np.where(step > 0, step, 1.0)
        return np.where(high < 0, np.nan, self.unseen[high] + share * (self.unseen[low] - self.unseen[high]))


def curve(predictions: Predictions) -> Curve:
    """Return the seen–unseen curve of kept predictions."""
    return Curve(*stacking_curve(predictions))


def best_constant(curves: Sequence[Curve]) -> float:
    """Return the γ at which the mean of H over `curves` (the dev folds) is highest: exact, every interval is tried.

    H is a step function of γ. Of several best intervals the widest is taken, and its middle: the ends are margins of
    single images, where the smallest shift of scores would change the outcome.
    """
    breaks = np.unique(np.concatenate([curve.margins for curve in curves]))
    highs = np.append(breaks, np.inf)
    lows = np.append(-np.inf, breaks)
    mean = np.mean([curve.harmonic_at(highs) for curve in curves], axis=0)
    best = mean >= mean.max() - _ROUNDING
    edges = np.flatnonzero(np.diff(np.concatenate([[False], best, [False]])))
    runs = [(float(lows[start]), float(highs[end - 1])) for start, end in edges.reshape(-1, 2)]
    finite = [run for run in runs if np.isfinite(run).all()]
    if not finite:  # H is best (0, then) where all images go to one side: nothing to calibrate
        low, high = runs[0]
        beside = high if np.isfinite(high) else float(np.nextafter(low, np.inf))
        return 0.0 if any(low < 0 <= high for low, high in runs) else beside
    low, high = max(finite, key=lambda run: (run[1] - run[0], -abs(run[0] + run[1])))
    middle = low + (high - low) / 2
    return middle if middle > low else high


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Records with ``U cs``, ``S cs``, ``H cs`` among their metrics, in the order given, and those that lack some.

    Without a seen–unseen curve they are unchanged. `lacking` are those of a method and data whose seeds do not all have
    the same folds in the dev stage, `other_step` those whose step is not the last one, which alone has predictions.
    """

    records: tuple[Record, ...]
    lacking: tuple[Record, ...] = ()
    other_step: tuple[Record, ...] = ()


def calibrate(
    final: Iterable[Record],
    dev: Iterable[Record],
    load: Callable[[Record], Predictions],
    on: Collection[str] = ("dev",),
) -> Calibration:
    """Return the `final` records with calibrated stacking: γ chosen for each on the dev folds of the same run and seed.

    A constant per seed, since each fit has a scale of scores of its own; so ± holds what choosing γ adds to the spread.
    What was chosen is in ``provenance["calibrated"]``: ``dev``, ``test`` and the dev ``folds``. Chosen `on` ``test``,
    on the predictions that are judged, it is oracle selection, and the metrics' names end in †; with both there is the
    difference of their H, too.
    """
    final = list(final)
    folds = _folds(final, dev) if "dev" in on else {}
    calibrated, lacking, other_step = list[Record](), list[Record](), list[Record]()
    for record in final:
        dev_runs = folds.get((setup_key(record), record.seed), [])
        if is_generalized(record):
            if not record.provenance.get("selected", {}).get("last", True):
                other_step.append(record)
            else:
                lacking += [record] if "dev" in on and not dev_runs else []
                record = _stack(record, dev_runs, load, on_test="test" in on)
        calibrated.append(record)
    return Calibration(tuple(calibrated), tuple(lacking), tuple(other_step))


def _folds(final: Iterable[Record], dev: Iterable[Record]) -> dict[tuple[str, int], list[Record]]:
    """Return the dev records of each setup and seed by fold, of setups whose final seeds all have the same folds."""
    runs: dict[tuple[str, int], dict[int, Record]] = {}
    for record in dev:
        runs.setdefault((setup_key(record), record.seed), {})[record.fold] = record
    seeds = ((setup_key(record), record.seed) for record in final)
    folds_of = group_values((key[0], frozenset(runs.get(key, ()))) for key in seeds)
    return {
        key: [by_fold[fold] for fold in sorted(by_fold)]
        for key, by_fold in runs.items()
        if len(folds_of.get(key[0], ())) == 1
    }


def _stack(record: Record, dev_runs: Sequence[Record], load: Callable[[Record], Predictions], on_test: bool) -> Record:
    """Return a record with its metrics after calibrated stacking, γ chosen on its dev runs, on itself, or neither."""
    predictions = load(record) if dev_runs or on_test else {}
    metrics, chosen = dict(record.metrics), dict[str, Any]()
    for on, mark, judged in (("dev", "", dev_runs), ("test", "†", [record] if on_test else [])):
        if judged:
            chosen[on] = best_constant([curve(predictions if run is record else load(run)) for run in judged])
            stacked = stacked_accuracies(predictions, chosen[on])
            metrics |= {name + CALIBRATED + mark: value for name, value in stacked.items()}
    if not chosen:
        return record
    if len(chosen) == 2:
        gain = metrics[f"H{CALIBRATED}†"] - metrics[f"H{CALIBRATED}"]
        metrics[ORACLE_GAIN] = max(gain, 0.0)  # the highest H is known to `_ROUNDING`
    chosen["folds"] = [run.fold for run in dev_runs]
    return dataclasses.replace(record, metrics=metrics, provenance={**record.provenance, "calibrated": chosen})


def is_generalized(record: Record) -> bool:
    """Return whether a record has a seen–unseen curve: a cascade has none, nor AUSUC."""
    return {"U", "S", "H", *NEEDS_ONE_SCALE} <= record.metrics.keys()


def without_curve(records: Iterable[Record]) -> str:
    """Say which of some records compare seen with unseen classes and have no seen–unseen curve; empty where none."""
    names = dict.fromkeys(record.label for record in records if "H" in record.metrics and not is_generalized(record))
    return (
        f"no AUSUC, curve or calibrated stacking for {', '.join(names)}: its scores of different rows are on different "
        "scales, so no single constant can be subtracted from all of them."
        if names
        else ""
    )
