"""What test images were taken for, from kept predictions: confusions and accuracies by class."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from zslbench import metrics
from zslbench.arrays import AnyArray, Array, BoolArray, IntArray
from zslbench.errors import BadValue, UnknownName
from zslbench.results.plots.lines import Line, one_panel
from zslbench.results.records.record import Record

Predictions = Callable[[Record], Mapping[str, AnyArray]]
_SIDES = ("seen_score", "seen_class", "unseen_score", "unseen_class")


@dataclasses.dataclass(frozen=True, eq=False)
class Confusion:
    """How the test images of each class were answered, mean over seeds.

    Attributes:
        classes: (c,) ids, ascending; of_unseen: (c,) whether each is an unseen class; images: (c,) how many it has.
        shares: (c, c) share of the images of class i taken for class j; rows sum to 1.
    """

    classes: IntArray
    of_unseen: BoolArray
    images: IntArray
    shares: Array

    @property
    def accuracy(self) -> Array:
        """(c,) top-1 accuracy of each class."""
        return np.diagonal(self.shares)


def of_one_or_two(
    lines: Sequence[Line], predictions: Predictions, names: Mapping[int, str], kind: str, has: str
) -> tuple[list[Confusion], list[str]]:
    """Return the confusions of one or two lines and the names of their classes; a class without one is its number.

    Args:
        lines: of one data set and protocol; kind: of the figure; has: what such a figure has, for the sentence.

    Raises:
        StoreError, BadValue: see `confusions`. BadValue: more lines, or of several data sets.
    """
    one_panel(lines, kind)
    if len(lines) > 2:
        raise BadValue(
            f"a {kind} figure has {has}, not {len(lines)} ({', '.join(line.name for line in lines)}); choose with -m."
        )
    found = confusions(lines, predictions)
    return found, name_classes(found[0].classes, names, lines[0].records[0])


def first_class(record: Record) -> int:
    """Return what the labels of a record's data number its first class: in figures and on the screen, ids start there.

    Older records do not say; files in the field's format count from 1.
    """
    number = record.dataset.get("first_class")
    return number if number in (0, 1) else int(record.dataset.get("origin") in ("own", "catalogue"))


def name_classes(ids: IntArray, names: Mapping[int, str], record: Record) -> list[str]:
    """Return the names of class ids; one without a name is called by its number in the labels of the record's data."""
    return [names.get(int(one), f"class {int(one) + first_class(record)}") for one in ids]


def unnamed_remark(names: Mapping[int, str]) -> list[str]:
    """Return what a caption says where no name is known, as a list of one sentence or none."""
    said = "The data set was not found, so classes are called by the numbers of its labels; -d FOLDER names its folder."
    return [] if names else [said]


def places_of(classes: Sequence[str], numbers: IntArray, named: Sequence[str]) -> IntArray:
    """Return the places of classes asked for by name or by number in the labels, each once, in the order asked for.

    Raises:
        UnknownName: a class that is not there.
    """
    by_name = {name.casefold(): place for place, name in enumerate(named)}
    by_name |= {str(one): place for place, one in enumerate(numbers)}
    for name in classes:
        if name.casefold() not in by_name:
            raise UnknownName("class", name, named)
    return np.array([*dict.fromkeys(by_name[name.casefold()] for name in classes)], dtype=np.int64)


def check_count(count: int, most: int, fewest: int = 2) -> None:
    """Refuse to show more classes than there are, or than a figure has room for, or too few.

    Raises:
        BadValue: not from `fewest` to `most`.
    """
    if not fewest <= count <= most:
        raise BadValue(f"--classes {count} is not possible: {most} can be drawn; give a number from {fewest} to that.")


def confusions(lines: Sequence[Line], predictions: Predictions) -> list[Confusion]:
    """Return the confusion of each line, all over the same classes.

    A class that has no test image is left out of the rows and columns unless something was taken for it; then it is
    refused, since candidates without images do not occur under the proposed splits.

    Raises:
        StoreError: a run without predictions. BadValue: of another step, or lines of different test images.
    """
    kept = [[_kept(record, predictions) for record in line.records] for line in lines]
    first = kept[0][0]
    for line, own in zip(lines, kept, strict=True):
        for there in own:
            if not all(np.array_equal(there[name], first[name]) for name in ("label", "of_unseen")):
                raise BadValue(f"{line.name} was judged on other test images than {lines[0].name}; run both again.")
    classes = np.unique(np.concatenate([first["label"], *(_taken(there) for own in kept for there in own)]))
    of_unseen = np.isin(classes, first["label"][first["of_unseen"]])
    true = np.searchsorted(classes, first["label"])
    images = np.bincount(true, minlength=len(classes))
    found = []
    for own in kept:
        total = np.zeros((len(classes), len(classes)))
        for there in own:
            np.add.at(total, (true, np.searchsorted(classes, _taken(there))), 1.0)
        found.append(Confusion(classes, of_unseen, images, total / np.maximum(images, 1)[:, None] / len(own)))
    return found


def _taken(there: Mapping[str, AnyArray]) -> IntArray:
    """Return (m,) the class that each image was taken for: of equal scores the seen one."""
    seen_score, seen, unseen_score, unseen = (there[name] for name in _SIDES)
    return metrics.stacked(seen_score, seen, unseen_score, unseen, 0.0)


def _kept(record: Record, predictions: Predictions) -> Mapping[str, AnyArray]:
    if not record.provenance.get("selected", {}).get("last", True):
        raise BadValue(
            "predictions are kept of the last step only, and an earlier one was selected; leave out --selection."
        )
    return predictions(record)
