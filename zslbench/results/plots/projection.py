"""Rows of features brought into a plane: PCA or t-SNE."""

from __future__ import annotations

import dataclasses

import numpy as np

from zslbench.arrays import Array
from zslbench.errors import BadValue

PROJECTIONS = ("pca", "tsne")
_SEED = 0
_PERPLEXITY = 30.0
_FIRST = 50
"""Principal components that t-SNE starts from, as its author advises for wide rows."""


@dataclasses.dataclass(frozen=True, eq=False)
class Projection:
    """Rows in a plane.

    Attributes:
        points: (n, 2); axes: what each axis is; told: the sentence on it.
    """

    points: Array
    axes: tuple[str, str]
    told: str


def project(rows: Array, how: str) -> Projection:
    """Return (n, d) rows in the plane that `how` finds for all of them together; the same rows give the same points.

    Raises:
        BadValue: fewer than three rows or two columns, or rows that are all equal.
    """
    rows = np.asarray(rows, dtype=np.float64)
    if len(rows) < 3 or rows.shape[1] < 2 or not np.ptp(rows, axis=0).any():
        raise BadValue(
            f"{len(rows)} rows of {rows.shape[1]} features span no plane; keep more rows, as in "
            "`zslbench run … --keep-features 50 --rerun all`, or choose more classes."
        )
    return _pca(rows) if how == "pca" else _tsne(rows)


def _pca(rows: Array) -> Projection:
    from sklearn.decomposition import PCA

    found = PCA(2, svd_solver="full").fit(rows)
    shares = [100 * float(share) for share in found.explained_variance_ratio_]
    axes = (f"PC 1 ({shares[0]:.0f} % of variance)", f"PC 2 ({shares[1]:.0f} %)")
    told = f"The first two principal components hold {shares[0]:.0f} % and {shares[1]:.0f} % of their variance."
    return Projection(found.transform(rows), axes, told)


def _tsne(rows: Array) -> Projection:
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    first = min(_FIRST, *rows.shape)
    narrow = PCA(first, svd_solver="full").fit_transform(rows) if first < rows.shape[1] else rows
    perplexity = min(_PERPLEXITY, max(1.0, (len(rows) - 1) / 3))
    points = TSNE(2, perplexity=perplexity, init="pca", random_state=_SEED).fit_transform(narrow)
    told = f"t-SNE with perplexity {perplexity:.3g} keeps neighbours; sizes and distances of groups mean little."
    return Projection(points, ("t-SNE 1", "t-SNE 2"), told)
