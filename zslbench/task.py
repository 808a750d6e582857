"""The only data that a method or a metric ever receives: `Train`, `Query`, `Answers`.

A method gets a `Train` to fit on and a `Query` to score. Neither holds, nor leads to, a test label; `Train` holds
copies of training rows, and of unlabelled test rows only if the method declares that it learns from them.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from zslbench.arrays import Array, BoolArray, IntArray


@dataclasses.dataclass(frozen=True, eq=False)
class ClassTable:
    """Classes and their semantics.

    Attributes:
        ids: (k,) int64 class ids, distinct; their values and order carry no meaning.
        semantics: (k, a) float32, row i describes class ids[i].
        original: (k, a) float32, the attributes before they were scaled to `semantics` (xlsa17's ``original_att``);
            None if the semantics are not attributes, or if the originals were not kept.
    """

    ids: IntArray
    semantics: Array
    original: Array | None = None

    def __post_init__(self) -> None:
        if self.semantics.ndim != 2 or self.ids.shape != (len(self.semantics),):
            raise ValueError(f"class table: ids {self.ids.shape} do not match semantics {self.semantics.shape}")
        if self.original is not None and self.original.shape != self.semantics.shape:
            raise ValueError(f"class table: original {self.original.shape} does not match {self.semantics.shape}")
        if len(np.unique(self.ids)) != len(self.ids):
            raise ValueError("class table: an id occurs twice")

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: IntArray | slice) -> ClassTable:
        """Return the table of some (r,) rows, in the given order."""
        return ClassTable(self.ids[rows], self.semantics[rows], None if self.original is None else self.original[rows])

    def canonical(self) -> IntArray:
        """Return (k,) positions that sort the classes by their semantics.

        This order depends neither on ids nor on the order of the table. Methods that draw random numbers per class use
        it, so that renumbering or reordering classes changes nothing. Classes with equal semantics, which no method can
        distinguish, keep their order.
        """
        return np.lexsort(self.semantics.T[::-1]).astype(np.int64)

    def positions(self, labels: IntArray) -> IntArray:
        """Return, for each of (n,) labels, the row of its class in this table.

        Raises:
            KeyError: a label that is not in the table.
        """
        order = np.argsort(self.ids, kind="stable")
        rows = order[np.minimum(np.searchsorted(self.ids, labels, sorter=order), len(order) - 1)]
        if not np.array_equal(self.ids[rows], labels):
            raise KeyError("a label is not in the class table")
        return rows.astype(np.int64)


@dataclasses.dataclass(frozen=True, eq=False)
class Train:
    """What `Method.fit` receives: labelled images of seen classes.

    Attributes:
        features: (n, d) float32, read-only.
        labels: (n,) int64 class ids, each in ``classes.ids``.
        classes: the seen classes.
        unseen, unlabelled, class_prior: None unless the method is told (`Method.told`) the unseen classes, the (m, d)
            float32 rows of these that are asked about, shuffled, and the (u,) true shares of these classes among them.
    """

    features: Array
    labels: IntArray
    classes: ClassTable
    unseen: ClassTable | None = None
    unlabelled: Array | None = None
    class_prior: Array | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Query:
    """What `Method.scores` receives: unlabelled images, shuffled, and the classes to choose among, shuffled.

    Attributes:
        features: (m, d) float32, read-only.
        classes: the candidates.
    """

    features: Array
    classes: ClassTable


@dataclasses.dataclass(frozen=True, eq=False)
class Answers:
    """What a protocol keeps to itself to judge the scores of a query.

    Attributes:
        labels: (m,) int64 true class ids, in the order of the query's rows.
        rows: (m,) int64 rows of the data set that the query's rows are.
        classes: (k,) int64 candidate ids, in the order of the query's class table.
        unseen: (k,) bool, which candidates are unseen classes.
    """

    labels: IntArray
    rows: IntArray
    classes: IntArray
    unseen: BoolArray
