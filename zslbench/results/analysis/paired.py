"""Whether two rows of a table are told apart: a paired 95 % interval without resampling, fast enough for any table.

Its standard error over test images is that of the paired bootstrap of `compare`, exact for T1, U and S and by the delta
method for H. Training anew adds what the seeds show; the half-widths are combined by their squares (Zou & Donner,
2008, "Construction of confidence limits about effect measures").
"""

from __future__ import annotations

import dataclasses
import math

from zslbench.errors import BadValue, StoreError
from zslbench.results.analysis import comparison, significance
from zslbench.results.analysis.rows import Row
from zslbench.results.records.record import Record

_NORMAL = 1.959964
_STUDENT = (12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004, 2.262157, 2.228139)
"""Quantiles of Student's t at 97.5 % for 1 to 10 degrees of freedom: SciPy would take longer to import than a table."""
_HOW = comparison.Resampling(("images",), 0.95, draws=0)


def student_quantile(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t for whole degrees of freedom.

    >>> student_quantile(2), round(student_quantile(30), 2)
    (4.302653, 2.04)
    """
    if freedom <= len(_STUDENT):
        return _STUDENT[freedom - 1]
    z = _NORMAL  # Abramowitz & Stegun (1964), 26.7.5
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


@dataclasses.dataclass(eq=False)
class PairedIntervals:
    """Tests differences of rows by the predictions that their runs kept, which `load` returns."""

    load: comparison.LoadPredictions
    _read: dict[str, comparison.Answers] = dataclasses.field(default_factory=dict)

    def can_test(self, row: Row, metric: str) -> bool:
        """Return whether a row kept the predictions that its number of a metric (one of `SIDES`) was computed from.

        A number of an earlier step, or a mean over folds, was computed from others than those.
        """
        if row.selected.get("last", True) is not True or len(row.folds) > 1:
            return False
        try:
            return all(len(self._answers(record).row) for record in row.records)
        except StoreError:
            return False

    def includes_zero(self, first: Row, second: Row, metric: str) -> bool | None:
        """Return whether the interval of the difference of two rows, of which both can be tested, includes 0.

        None: their predictions are of other images.
        """
        try:
            match = comparison.Match(
                "", (comparison.Entrant("first", "", first), comparison.Entrant("second", "", second)), ()
            )
            answered = comparison.answered_sides(match, self._answers)
        except (StoreError, BadValue):
            return None
        parts = [answered[side] for side in comparison.SIDES[metric] if side in answered]
        if len(parts) < len(comparison.SIDES[metric]):
            return None
        draws = [part.draw("images", _HOW, "") for part in parts]
        value, variance = significance.difference(draws, 0, 1)
        trained = comparison.retraining("images", parts, draws, match.entrants, _HOW).variance[0]
        squares = [_NORMAL**2 * float(variance[0])]
        for row, part in zip((first, second), trained, strict=True):
            if row.stochastic and len(row.seeds) > 1:
                squares.append(student_quantile(len(row.seeds) - 1) ** 2 * float(part))
        return abs(float(value[0])) <= math.sqrt(sum(squares))

    def _answers(self, record: Record) -> comparison.Answers:
        if record.id not in self._read:
            self._read[record.id] = comparison.read_answers(record, self.load)
        return self._read[record.id]
