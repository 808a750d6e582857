"""The probability simplex: projection of rows onto it, and quadratic programs over it (SSE's mixtures)."""

from __future__ import annotations

import numpy as np

from zslbench.arrays import Array, IntArray

_WARM_STEPS = 60
_SLACK = 1e-10


def project_rows(points: Array) -> Array:
    """Return the Euclidean projection of each row of (n, m) points onto {α ≥ 0, Σα = 1}, by sorting.

    >>> project_rows(np.array([[0.4, 0.8], [3.0, 0.0]]))
    array([[0.3, 0.7],
           [1. , 0. ]])
    """
    points = points - points.max(axis=1, keepdims=True)  # the projection does not change, rounding does
    falling = -np.sort(-points, axis=1)
    excess = np.cumsum(falling, axis=1) - 1.0
    ranks = np.arange(1, points.shape[1] + 1)
    last = points.shape[1] - 1 - np.argmax((falling * ranks > excess)[:, ::-1], axis=1)
    shift = excess[np.arange(len(points)), last] / (last + 1)
    out: Array = np.maximum(points - shift[:, None], 0.0)
    return out


def simplex_mixtures(points: Array, corners: Array, ridge: float) -> Array:
    """Return (k, c) rows α minimising ½‖p − Σ_y α_y s_y‖² + (ridge/2)‖α‖² over the simplex, for each of k points p.

    Accelerated projected gradient for all points at once finds where α is positive or nearly so; an active-set search
    then solves each program exactly. `ridge` above 0 makes the solution unique.

    Args:
        points: (k, a); corners: (c, a) the vectors s_y; ridge: above 0.
    """
    points, corners = points.astype(np.float64), corners.astype(np.float64)
    hessian = corners @ corners.T
    hessian[np.diag_indices_from(hessian)] += ridge
    linear = points @ corners.T
    alpha = _accelerated(hessian, linear)
    return np.stack([_active_set(hessian, row, start) for row, start in zip(linear, alpha, strict=True)])


def _accelerated(hessian: Array, linear: Array) -> Array:
    """Return (k, c) approximate minimisers of ½αᵀHα − bᵀα over the simplex, for each of (k, c) rows b."""
    step = 1.0 / float(np.linalg.norm(hessian, 2))
    alpha = ahead = np.full_like(linear, 1.0 / linear.shape[1])
    momentum = 1.0
    for _ in range(_WARM_STEPS):
        following = project_rows(ahead - step * (ahead @ hessian - linear))
        grown = (1.0 + np.sqrt(1.0 + 4.0 * momentum**2)) / 2.0
        ahead = following + (momentum - 1.0) / grown * (following - alpha)
        alpha, momentum = following, grown
    return alpha


def _active_set(hessian: Array, linear: Array, start: Array) -> Array:
    """Return the (c,) minimiser of ½αᵀHα − bᵀα over the simplex, for a positive definite H.

    The primal active-set method: minimise on the face of the positive entries; stop at the first entry that falls to
    zero and drop it, or, where the face's minimum lies inside it, admit the entry along which the objective falls
    fastest; none left means the optimum.
    """
    alpha = start.copy()
    face = np.flatnonzero(alpha > 0)
    slack = _SLACK * (1.0 + float(np.abs(linear).max()))
    for _ in range(50 * len(linear)):  # it ends by itself: each face is met at most once
        inside = _face_minimum(hessian, linear, face)
        falling = inside < 0
        if falling.any():
            current = alpha[face]
            ratios = np.where(falling, current / np.where(falling, current - inside, 1.0), np.inf)
            hit = int(ratios.argmin())
            alpha[face] = np.maximum(current + ratios[hit] * (inside - current), 0.0)
            alpha[face[hit]] = 0.0
            face = np.delete(face, hit)
            continue
        alpha = np.zeros_like(linear)
        alpha[face] = inside
        slope = hessian[:, face] @ inside - linear
        level = float(slope[face].mean())  # the multiplier of Σα = 1: equal on the face
        slope[face] = level
        best = int(slope.argmin())
        if slope[best] >= level - slack:
            break
        face = np.append(face, best)
    return alpha


def _face_minimum(hessian: Array, linear: Array, face: IntArray) -> Array:
    """Return the minimiser over the plane Σα = 1 with all entries outside `face` zero."""
    both = np.linalg.solve(hessian[np.ix_(face, face)], np.stack([linear[face], np.ones(len(face))], axis=1))
    shift = (both[:, 0].sum() - 1.0) / both[:, 1].sum()
    out: Array = both[:, 0] - shift * both[:, 1]
    return out
