"""Images that are there twice: rows of features that are equal or nearly so, within and across the parts of a split."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable

import numpy as np

from zslbench.arrays import Array, IntArray
from zslbench.data.dataset import PARTS, Dataset

NEAR = 0.99
"""The cosine of features above which images are nearly equal: one in a thousand of CUB and FLO has such a neighbour."""
_BLOCK = 512
_LISTED = 10


@dataclasses.dataclass(frozen=True, eq=False)
class Duplicates:
    """How many images have a copy, and where.

    Attributes:
        images: (3,) images of each of `PARTS`.
        exact: (3, 3) images of one part (row) that equal another image of a part (column).
        near: (3, 3) the same where the cosine of the features is above `above`; equal ones count.
        other_class: images whose most similar one has such a cosine, and another label.
        pairs: rows of test images and of the training image that is most similar to each, and the cosine: the ten
            highest above the threshold.
    """

    images: IntArray
    exact: IntArray
    near: IntArray
    above: float
    other_class: int
    pairs: tuple[tuple[int, int, float], ...]


def find_duplicates(
    dataset: Dataset, above: float = NEAR, on_images: Callable[[int, int], None] = lambda done, total: None
) -> Duplicates:
    """Compare every image of the split with every other one: 40,000 images take some minutes.

    `on_images` is called with the number of images that were compared, and of all.
    """
    from sklearn.preprocessing import normalize

    parts = [getattr(dataset, part) for part in PARTS]
    rows, part_of = np.concatenate(parts), np.repeat(np.arange(3), [len(part) for part in parts])
    ends = np.cumsum([0, *map(len, parts)])
    features = dataset.features[rows] + np.float32(0)  # which makes 0 of -0
    same = _number_equal_rows(features)
    times = np.zeros((3, same.max() + 1), dtype=np.int64)
    np.add.at(times, (part_of, same), 1)
    has_equal = times[:, same] > (np.arange(3)[:, None] == part_of)
    unit = normalize(features, copy=False)
    cosines, nearest = np.empty((3, len(rows)), np.float32), np.empty((3, len(rows)), np.int64)
    for start in range(0, len(rows), _BLOCK):
        stop = min(start + _BLOCK, len(rows))
        block = unit[start:stop] @ unit.T
        block[np.arange(stop - start), np.arange(start, stop)] = -2  # itself
        for part in range(3):
            others = block[:, ends[part] : ends[part + 1]]
            nearest[part, start:stop] = ends[part] + others.argmax(axis=1)
            cosines[part, start:stop] = others.max(axis=1)
        on_images(stop, len(rows))

    def count(has: Array) -> IntArray:
        """Count images by part, and by the part in which they have a copy."""
        return np.stack([has[:, part_of == part].sum(axis=1) for part in range(3)])

    labels, every = dataset.labels[rows], np.arange(len(rows))
    best = nearest[cosines.argmax(axis=0), every]
    listed = np.flatnonzero((part_of > 0) & (cosines[0] > above))
    listed = listed[np.argsort(-cosines[0, listed], kind="stable")][:_LISTED]
    return Duplicates(
        images=np.diff(ends),
        exact=count(has_equal),
        near=count((cosines > above) | has_equal),
        above=above,
        other_class=int(((cosines.max(axis=0) > above) & (labels[best] != labels)).sum()),
        pairs=tuple((int(rows[at]), int(rows[nearest[0, at]]), float(cosines[0, at])) for at in listed),
    )


def _number_equal_rows(features: Array) -> IntArray:
    """Return (n,) numbers that are equal for equal rows."""
    numbers: dict[bytes, int] = {}
    return np.array([numbers.setdefault(hashlib.sha256(row).digest(), len(numbers)) for row in features])
