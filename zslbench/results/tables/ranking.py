"""Which rows are marked as the best, without claiming more than was measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Literal, TypeVar

from zslbench.metrics import ORACLE_GAIN
from zslbench.results.analysis.comparison import SIDES
from zslbench.results.analysis.paired import PairedIntervals
from zslbench.results.analysis.row_names import RowKey
from zslbench.results.analysis.rows import Row, group_values
from zslbench.results.tables.table import Remark, remarks

_Key = TypeVar("_Key")


def mark_best(
    values: Mapping[_Key, float],
    is_tied: Callable[[_Key, _Key], bool | None] = lambda best, other: False,
    unranked: Collection[_Key] = (),
    decimals: int = 1,
) -> set[_Key]:
    """Return what is marked as the best: the highest values as shown with `decimals`, and the next ones tied with it.

    They end where the first is told from the best, as the value of a noisy row further down would read as a good one;
    `is_tied` returns None where nothing can be told. Nothing is marked where that would be everything, where the
    highest is 0.0, or where one of the `unranked`, which are never marked themselves, is the highest.

    >>> sorted(mark_best({"a": 50.04, "b": 49.0, "c": 49.96, "d": 9.0}))
    ['a', 'c']
    """
    shown = {key: float(f"{value:.{decimals}f}") for key, value in values.items()}
    highest = max(shown.values(), default=0.0)
    leaders = [key for key, value in shown.items() if value == highest]
    if highest <= 0 or any(key in unranked for key in leaders):
        return set()
    best = max(leaders, key=lambda key: values[key])
    marked = set(leaders)
    for other in sorted(shown.keys() - marked - {*unranked}, key=lambda key: -values[key]):
        tied = is_tied(best, other)
        if tied is False:
            break
        marked |= {other} if tied else set()
    return marked if len(marked) < len(shown) else set()


@dataclasses.dataclass(eq=False)
class Ranking:
    """How the rows of a table are ranked.

    Attributes:
        together: all rows with each other, not only those of one block.
        intervals: what tells rows apart; None: nothing is tested.
        decimals: with which numbers are shown: what looks the same is ranked the same.
        tested: whether anything was.
        marked: whether anything is.
    """

    together: bool = False
    intervals: PairedIntervals | None = None
    decimals: int = 1
    tested: bool = dataclasses.field(default=False, init=False)
    marked: bool = dataclasses.field(default=False, init=False)
    _by_mean: dict[str, None] = dataclasses.field(default_factory=dict, init=False)
    _unranked: dict[str, None] = dataclasses.field(default_factory=dict, init=False)
    _replaced: dict[str, None] = dataclasses.field(default_factory=dict, init=False)
    _untested: dict[str, None] = dataclasses.field(default_factory=dict, init=False)

    def mark_column(self, rows: Mapping[RowKey, Row], metric: str) -> set[RowKey]:
        """Return which rows of one block are marked in one column of a metric."""

        def is_tied(best: RowKey, other: RowKey) -> bool | None:
            if self.intervals is None or metric not in SIDES:
                return False
            lacking = [key for key in (best, other) if not self.intervals.can_test(rows[key], metric)]
            tied = None if lacking else self.intervals.includes_zero(rows[best], rows[other], metric)
            if tied is None:
                self._untested |= dict.fromkeys(key.short + key.marks for key in lacking or (other,))
            else:
                self.tested = True
            return tied

        if metric == ORACLE_GAIN:  # to gain much by looking at the test images is no merit
            return set()
        unranked, replaced = unselected_settings(rows), {key for key, row in rows.items() if row.replaced}
        self._unranked |= dict.fromkeys(key.plain + key.marks for key in unranked)
        self._replaced |= dict.fromkeys(key.short + key.marks for key in replaced)
        means = {key: row.metrics[metric].mean for key, row in rows.items()}
        marked = mark_best(means, is_tied, unranked | replaced, self.decimals)
        self.marked |= bool(marked)
        self._by_mean |= dict.fromkeys([metric] if marked and metric not in SIDES else ())
        return marked

    @property
    def ranked_by(self) -> Literal["", "mean", "test"]:
        """What the marks mean, once all columns are marked: see `Table`."""
        return "test" if self.tested else "mean" if self.marked else ""

    def describe(self) -> list[Remark]:
        """Return what the marks mean, once all columns are marked."""
        below: list[Remark] = []
        if self.tested and self._by_mean:
            text = f"Marked by the mean alone, without a test: {', '.join(self._by_mean)}."
            below += remarks("ranking", [text], text)
        if self.tested and self._untested:
            text = f"Not tested, as the predictions behind their numbers are not there: {', '.join(self._untested)}."
            below += remarks("ranking", [text], text)
        reasons = {"several settings, none chosen in the dev stage": self._unranked, "replaced": self._replaced}
        if unmarked := [f"{', '.join(names)} ({reason})" for reason, names in reasons.items() if names]:
            leader = "one of them" if self._unranked or len(self._replaced) > 1 else "it"
            text = f"Not marked: {'; '.join(unmarked)}, nor anything where {leader} leads."
            why = " To take the best of several settings would be to choose on test." if self._unranked else ""
            below += remarks("ranking", [text + why], text)
        return below


def unselected_settings(rows: Mapping[RowKey, Row]) -> set[RowKey]:
    """Return the rows of one column that are settings of one method, measured on test and not selected by a rule."""
    settings = group_values((key.name, key) for key, row in rows.items() if not _is_selected(row))
    return {key for keys in settings.values() if len({key.varying for key in keys}) > 1 for key in keys}


def _is_selected(row: Row) -> bool:
    if row.stage != "final":
        return True
    chosen_in_dev_stage = row.selection == "validated" and not row.selected
    return chosen_in_dev_stage or row.selected.get("points", 1) > 1
