"""How alike classes are by their semantics: the nearest seen class of each unseen one, and splits that are drawn by it.

The cosine of two classes is that of their class vectors after the mean of all classes was subtracted. Otherwise any two
classes would seem alike: attributes are positive, and the vectors of one text encoder point roughly the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from zslbench import seeding
from zslbench.arrays import Array, IntArray
from zslbench.data.dataset import Dataset, find_not_finite
from zslbench.errors import BadData, BadValue
from zslbench.visible import list_names

Draw = Literal["random", "easy", "hard"]
SYNONYMS = 0.95
"""The cosine above which two classes count as synonyms. Among the attributes of CUB, those of crows and ravens do."""
_BLOCK = 512


def centre_semantics(semantics: Array) -> Array:
    """Return (c, a) float64 class vectors without their mean, of length 1, or 0 where nothing but rounding is left."""
    from sklearn.preprocessing import normalize

    centred = semantics.astype(np.float64)
    largest = np.abs(centred).max(initial=0.0)
    centred -= centred.mean(axis=0)
    centred[np.abs(centred).max(axis=1, initial=0.0) <= 1e-12 * largest] = 0.0
    rows: Array = normalize(centred)
    return rows


def find_nearest(semantics: Array, ids: IntArray, among: IntArray) -> tuple[IntArray, Array]:
    """Return, for each of (u,) classes, the class nearest to it `among` others, and their (u,) cosines."""
    rows = centre_semantics(semantics)
    blocks = [rows[ids[start : start + _BLOCK]] @ rows[among].T for start in range(0, len(ids), _BLOCK)]
    nearest = np.concatenate([block.argmax(axis=1) for block in blocks])
    return among[nearest], np.concatenate([block.max(axis=1) for block in blocks])


def describe_nearest(dataset: Dataset, above: float) -> str:
    """Return a sentence on how near the unseen classes are to seen ones, and which have a synonym among these."""
    nearest, cosines = find_nearest(dataset.semantics, dataset.unseen, dataset.seen)
    names = dataset.class_names
    pairs = [
        f"{names[dataset.unseen[at]]} ({names[nearest[at]]}, {cosines[at]:.2f})"
        for at in np.argsort(-cosines, kind="stable")
        if cosines[at] > above
    ]
    synonyms = f"{len(pairs)} above {above:g}, which --synonyms {above:g} avoids: {list_names(pairs, 3)}"
    return (
        f"cosine of the semantics of each unseen class and its nearest seen one: {cosines.min():.2f} to "
        f"{cosines.max():.2f}, median {np.median(cosines):.2f}; {synonyms if pairs else f'none above {above:g}'}"
    )


def draw_unseen(
    semantics: Array, count: int, seed: int, draw: Draw, synonyms: float | None, never: Sequence[int] = ()
) -> IntArray:
    """Return the ascending ids of `count` unseen classes: drawn at random, or near to (easy), or far from seen classes.

    Classes are chosen one by one: for a hard split, the one whose nearest class that is still seen is farthest; for an
    easy one, that whose nearest is nearest, which then stays seen. The seed decides between equals. Classes that are
    joined by cosines above `synonyms` (None: none are), directly or through others, stay on one side: that of the seen
    classes if one is in `never`.

    Raises:
        BadValue: groups of synonyms, or what is left of all classes, cannot make up this number.
        BadData: the semantics hold NaN or infinity.
    """
    from scipy.sparse.csgraph import connected_components

    if (row := find_not_finite(semantics)) is not None:
        raise BadData(f"semantics of class {row + 1} of {len(semantics)} hold NaN or infinity; correct the file.")
    rows = centre_semantics(semantics)
    cosines = rows @ rows.T
    groups, joined = connected_components(cosines > (2 if synonyms is None else synonyms), directed=False)
    group_of: IntArray = seeding.stream(seed, "groups of unseen classes").permutation(groups)[joined]
    sizes = np.bincount(group_of)
    between = np.full((groups, groups), -np.inf)
    np.maximum.at(between, (group_of[:, None], group_of[None, :]), cosines)
    np.fill_diagonal(between, -np.inf)
    allowed, is_seen, stays = (np.full(groups, value) for value in (True, True, False))
    allowed[group_of[np.array(never, dtype=np.int64)]] = False
    while (left := count - sizes[~is_seen].sum()) > 0:
        free = allowed & is_seen & (sizes <= left)
        if not free.any():
            raise BadValue(
                f"{count} unseen classes cannot be drawn: --synonyms keeps classes together, or --avoid-imagenet "
                "leaves too few; choose another number with --unseen, or a higher cosine with --synonyms."
            )
        free = free & ~stays if (free & ~stays).any() else free
        nearest = between[:, is_seen].max(axis=1)
        order = {"random": np.arange(groups), "hard": nearest, "easy": -nearest}[draw]
        chosen = int(np.where(free, order, np.inf).argmin())
        is_seen[chosen] = False
        if draw == "easy":
            stays[np.where(is_seen, between[chosen], -np.inf).argmax()] = True
    return np.flatnonzero(~is_seen[group_of]).astype(np.int64)
