"""`ClosedForm`: methods that solve equations, the ridge regressions they use, and what points of a grid share."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np

from zslbench.arrays import Array, IntArray, positions_by_label
from zslbench.methods.base import Context, Method, Size
from zslbench.methods.fit_cache import Shared
from zslbench.methods.preprocess import Preprocessor
from zslbench.task import ClassTable, Train

CHUNK_ROWS = 2048
LAPACK_BLOCK = 64
BLOCK = 1 << 25
"""Features or scores that are processed at a time: 256 MiB in float64."""


@dataclasses.dataclass(kw_only=True)
class ClosedForm(Method):
    """A method whose fit is `solve`.

    A single fit is a grid of one point: both do the same operations on the same numbers, and so give the same bits.
    """

    libraries = ("scipy.linalg",)

    def cost(self, size: Size) -> float:
        """Return the operations of the Gram matrix of the features and of its factorization."""
        order = min(size.images, size.features)
        return float(size.images * size.features * order + order**3)

    def fit(self, train: Train, ctx: Context) -> Self:
        """Solve for this point alone."""
        self.solve(train, ctx, Shared([self], ctx))
        return self

    @classmethod
    def fit_grid(cls, points: Sequence[Self], train: Train, ctx: Context) -> Iterator[Self]:
        """Solve for all points; what several of them have in common is computed once."""
        shared = Shared(points, ctx)
        for point in points:
            point.solve(train, ctx, shared)
            yield point

    @abc.abstractmethod
    def solve(self, train: Train, ctx: Context, shared: Shared) -> None:
        """Set the fitted state to arrays that belong to this point alone: keep nothing that `shared` returns."""

    def _keep(self, chain: Preprocessor) -> None:
        self.preprocessor_ = chain.copy()

    def scores(self, features: Array, classes: ClassTable) -> Array:
        """Return (n, k) float64 scores, computed in blocks of rows, so that only a block is copied at a time.

        A block has `BLOCK` entries of features or scores. A query of any catalogued set has fewer at 2,048 features, so
        it is one block and its products are those of one call.
        """
        out = np.empty((len(features), len(classes)))
        size = max(BLOCK // max(features.shape[1], len(classes)), 1)
        for start in range(0, len(features), size):
            rows = self.preprocessor_.transform(features[start : start + size])
            out[start : start + size] = self.compare(rows.astype(np.float64), classes)
        return out

    @abc.abstractmethod
    def compare(self, rows: Array, classes: ClassTable) -> Array:
        """Return (n, k) float64 scores of (n, d) float64 preprocessed rows for k classes."""


def feature_side(train: Train, preprocess: str) -> tuple[Preprocessor, ClassRidge]:
    """Return the fitted preprocessor and the factorization of the preprocessed training features."""
    chain, features, positions = preprocessed(train, preprocess)
    return chain, ClassRidge.of(features, positions, len(train.classes))


def preprocessed(train: Train, preprocess: str) -> tuple[Preprocessor, Array, IntArray]:
    """Return the preprocessor fitted to the training rows, these rows, and the position of each one's class."""
    chain = Preprocessor(preprocess)
    return chain, chain.fit_transform(train.features), train.classes.positions(train.labels)


@dataclasses.dataclass(frozen=True, eq=False)
class ShiftedGram:
    """(G + γI)⁻¹ for a symmetric positive semi-definite (m, m) G and any number of γ, in float64.

    G = QTQᵀ with T tridiagonal (LAPACK's sytrd) has the spectrum of G, and G + γI = Q(T + γI)Qᵀ is solved in O(m) per
    column for every γ. Computing T costs a quarter of an eigen-decomposition, or about two Cholesky factorizations with
    their solutions, so it is affordable for a single γ, too.

    Attributes:
        diagonal: (m,) of T.
        beside: (m − 1,) off the diagonal of T.
        reflectors: (m − 1, m − 1) Householder vectors of Q, and tau: (m − 1,) their factors, as LAPACK keeps them.
        floor: the smallest γ that is meaningful in view of rounding. A smaller γ is raised to it: directions that are
            null up to rounding are damped and not amplified.
    """

    diagonal: Array
    beside: Array
    reflectors: Array
    tau: Array
    floor: float

    @classmethod
    def of(cls, gram: Array, terms: int) -> Self:
        """Return the factorization of a Gram matrix, whose entries are sums of `terms` products; `gram` is not kept."""
        from scipy.linalg import lapack

        order = len(gram)
        work, _ = lapack.dsytrd_lwork(order, lower=1)
        packed, diagonal, beside, tau, _ = lapack.dsytrd(np.asfortranarray(gram), lower=1, lwork=int(work))
        inside = np.abs(beside)
        largest = np.abs(diagonal) + np.append(inside, 0) + np.append(0, inside)  # rows of |T| bound its norm
        floor = max(order, terms) * np.finfo(np.float64).eps * float(largest.max(initial=0))
        return cls(diagonal, beside, np.asfortranarray(packed[1:, :-1]), tau, floor)

    def rotate(self, right: Array) -> Array:
        """Return QᵀR of an (m, r) R, the argument of `solve_rotated`, for an R that is used with many γ."""
        return self._times_q(right, b"T")

    def solve_rotated(self, rotated: Array, shift: float | Array) -> Array:
        """Return (G + γI)⁻¹R for a given QᵀR; `shift` is γ, or (r,) with one γ per column."""
        # where G is 0, so is its floor; R, in the range of G, is 0 then
        shifts = np.maximum(shift, self.floor or np.finfo(np.float64).tiny)
        if shifts.ndim == 0:
            return self._times_q(self._tridiagonal(rotated, float(shifts)), b"N")
        out = np.empty(rotated.shape, order="F")
        for column, gamma in enumerate(shifts):
            out[:, column] = self._tridiagonal(rotated[:, column], gamma)
        return self._times_q(out, b"N")

    def solve(self, right: Array, shift: float | Array) -> Array:
        """Return (G + γI)⁻¹R of an (m, r) R in the range of G; `shift` is γ, or (r,) with one γ per column."""
        return self.solve_rotated(self.rotate(right), shift)

    def _tridiagonal(self, right: Array, shift: float) -> Array:
        """Return (T + γI)⁻¹R of an R with one or more columns."""
        from scipy.linalg import solveh_banded

        diagonal = self.diagonal + shift
        if len(diagonal) == 1:  # which LAPACK's wrapper refuses
            return right / diagonal
        out: Array = solveh_banded(np.vstack([diagonal, np.append(self.beside, 0)]), right, lower=True)
        return out

    def _times_q(self, right: Array, transposed: bytes) -> Array:
        from scipy.linalg import lapack

        out: Array = np.array(right, dtype=np.float64, order="F")
        if len(self.tau):  # Q does not change the first row
            # a block of columns, and LAPACK's triangle beside it
            work = (max(1, out.shape[1]) + LAPACK_BLOCK + 1) * LAPACK_BLOCK
            rest = np.asfortranarray(out[1:])
            out[1:], _, _ = lapack.dormqr(b"L", transposed, self.reflectors, self.tau, rest, work, overwrite_c=1)
        return out


@dataclasses.dataclass(frozen=True, eq=False)
class ClassRidge:
    """(XᵀX + γI)⁻¹XᵀYT for any number of γ: ridge regression of (n, d) X on class-level (c, r) targets T.

    Y are the (n, c) one-hot labels, so the target of a row is that of its class. With fewer rows than columns the same
    solution comes from the kernel form Xᵀ(XXᵀ + γI)⁻¹YT, which factorizes n×n instead of d×d.

    Attributes:
        gram: the factorization of XᵀX, or of XXᵀ.
        rotated: Qᵀ times XᵀY, or times Y.
        rows: X if the kernel form is used.
    """

    gram: ShiftedGram
    rotated: Array
    rows: Array | None

    @classmethod
    def of(cls, features: Array, positions: IntArray, classes: int) -> Self:
        """Factorize (n, d) features whose class is given by (n,) positions below `classes`."""
        count, width = features.shape
        if count < width:
            rows = features.astype(np.float64)
            onehot = np.zeros((count, classes))
            onehot[np.arange(count), positions] = 1
            gram = ShiftedGram.of(rows @ rows.T, width)
            return cls(gram, gram.rotate(onehot), rows)
        products, sums = class_moments(features, positions, classes)
        gram = ShiftedGram.of(products, count)
        return cls(gram, gram.rotate(sums.T), None)

    @classmethod
    def of_rows(cls, rows: Array) -> Self:
        """Factorize (c, d) rows, each a class of its own."""
        return cls.of(rows, np.arange(len(rows)), len(rows))

    def solve(self, ridge: float | Array, targets: Array | None = None) -> Array:
        """Return (d, r) coefficients; `ridge` is γ, or (r,): one γ per column; without targets, T is the identity."""
        rotated = self.rotated if targets is None else self.rotated @ targets
        solution = self.gram.solve_rotated(rotated, ridge)
        return solution if self.rows is None else self.rows.T @ solution


def class_moments(features: Array, positions: IntArray, classes: int) -> tuple[Array, Array]:
    """Return (d, d) XᵀX and (classes, d) YᵀX in float64, Y the one-hot labels that (n,) positions give.

    With class semantics S these are all the products that a linear method needs; per-image semantics Y S are never
    formed. Rows are converted to float64 in chunks, so that besides the result only one chunk is in memory.
    """
    width = features.shape[1]
    gram, sums = np.zeros((width, width)), np.zeros((classes, width))
    for start in range(0, len(features), CHUNK_ROWS):
        part = features[start : start + CHUNK_ROWS].astype(np.float64)
        gram += part.T @ part
    for rows in positions_by_label(positions):
        sums[positions[rows[0]]] = features[rows].sum(axis=0, dtype=np.float64)
    return gram, sums
