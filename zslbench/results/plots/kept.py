"""What `run --keep-features` kept, as a features figure shows it: one seed of a method, rows of some classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from zslbench.arrays import AnyArray, Array, IntArray
from zslbench.results.plots.answers import Predictions, check_count, confusions, first_class, name_classes, places_of
from zslbench.results.plots.lines import Line, lines_of
from zslbench.results.records.record import Record

REAL, MADE = "real", "synthesised"
_CLASSES, _USUAL_CLASSES = 12, 6


@dataclasses.dataclass(frozen=True, eq=False)
class Kept:
    """What is drawn of one method: rows (n, d) with their class ids (n,), real and synthesised."""

    line: Line
    rows: Mapping[str, Array]
    labels: Mapping[str, IntArray]

    def of(self, classes: IntArray, most: int) -> Kept:
        """Return the rows of some classes, the first `most` of each."""
        chosen = {kind: _first(labels, classes, most) for kind, labels in self.labels.items()}
        return Kept(
            self.line,
            {kind: rows[chosen[kind]] for kind, rows in self.rows.items()},
            {kind: labels[chosen[kind]] for kind, labels in self.labels.items()},
        )


def lowest(line: Line) -> Record | None:
    """Return the record of the lowest seed that kept features."""
    there = [record for record in line.records if "per_class" in record.provenance.get("kept_features", {})]
    return min(there, key=lambda record: record.seed, default=None)


def kept_of(
    lines: Sequence[Line], records: Sequence[Record], kept: Callable[[Record], Mapping[str, AnyArray]]
) -> list[Kept]:
    """Return what was kept of one record of each line, under the names of the lines.

    Raises:
        StoreError: a file that is lost or damaged.
    """
    by_id = {line.records[0].id: line for line in lines_of(records)}
    found = []
    for line, record in zip(lines, records, strict=True):
        arrays = kept(record)
        rows = {kind: np.asarray(arrays[kind], dtype=np.float64) for kind in (REAL, MADE)}
        alone = dataclasses.replace(by_id[record.id], name=line.name, key=line.key)
        found.append(Kept(alone, rows, {kind: arrays[f"{kind}_label"] for kind in (REAL, MADE)}))
    return found


def shown_classes(
    found: Sequence[Kept], predictions: Predictions, names: Mapping[int, str], classes: int | Sequence[str] | None
) -> tuple[IntArray, list[float], bool]:
    """Return ids of the classes to show, the accuracy of each (mean over methods), and whether a rule chose them.

    Args:
        classes: by name or number, or how many, evenly from the best to the least recognised; None: six.

    Raises:
        BadValue, UnknownName: too many, or classes that are not there. StoreError: predictions that are lost.
    """
    ids = np.unique(found[0].labels[MADE])
    judged = confusions([one.line for one in found], predictions)
    mean = np.mean([one.accuracy for one in judged], axis=0)
    by_id = dict(zip(map(int, judged[0].classes), map(float, mean), strict=True))
    if classes is not None and not isinstance(classes, int):
        record = found[0].line.records[0]
        named = name_classes(ids, names, record)
        check_count(len(classes), _CLASSES, fewest=1)
        shown = ids[places_of(classes, ids + first_class(record), named)]
        return shown, [by_id.get(int(one), float("nan")) for one in shown], False
    tested = [int(one) for one in ids if int(one) in by_id]
    order = sorted(tested, key=lambda one: -by_id[one])
    count = min(_USUAL_CLASSES, len(order)) if classes is None else classes
    check_count(count, min(_CLASSES, len(order)), fewest=1)
    shown = np.array([order[round(place)] for place in np.linspace(0, len(order) - 1, count)], dtype=np.int64)
    return shown, [by_id[int(one)] for one in shown], True


def _first(labels: IntArray, classes: IntArray, most: int) -> IntArray:
    """Return the places of the first `most` rows of each class."""
    return np.concatenate([np.flatnonzero(labels == one)[:most] for one in classes])
