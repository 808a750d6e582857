"""Regularised linear models with many targets: logistic, softmax, one-vs-rest and margin losses, by L-BFGS.

All minimise (1/n) Σ_i loss_i(x_i W + b) + (l2/2) ‖W‖² over (d, m) weights, in float64. The search runs in coordinates
in which the Hessian is about the identity, so that tens of passes solve problems for which plain L-BFGS needs hundreds.
One pass over m targets costs one matrix product.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logsumexp, softmax

from zslbench.arrays import Array, IntArray

Loss: TypeAlias = Callable[[Array], tuple[float, Array]]
"""From (n, m) scores to the sum of losses over rows and its (n, m) gradient."""

MOST_STEPS = 1000
"""Iterations after which a search ends in any case; `Linear.gradient` then shows how far it came."""
TOLERANCE = 1e-4
"""Where a search ends: the largest entry of the gradient as a share of that at W = 0, in the search's coordinates."""


@dataclasses.dataclass(frozen=True, eq=False)
class Linear:
    """Fitted (d, m) weights and (m,) bias; the bias is zero for a model without one.

    `gradient` is the largest entry of the objective's gradient at the end of the search, as a share of that at W = 0.
    """

    weights: Array
    bias: Array
    gradient: float = 0.0

    def scores(self, features: Array) -> Array:
        """Return (n, m) float64 scores x W + b of (n, d) features."""
        out: Array = features.astype(np.float64) @ self.weights + self.bias
        return out


def logistic(features: Array, targets: Array, l2: float, tolerance: float = TOLERANCE) -> Linear:
    """Fit a logistic regression for each of m targets: (n, d) features, (n, m) targets from 0 to 1 (not only 0 and 1).

    The bias is not regularised. scikit-learn's ``LogisticRegression(C=1 / (n · l2))`` is the same problem.
    """
    wanted = targets.astype(np.float64)
    share = np.clip(wanted.mean(axis=0), 0.01, 0.99)
    return _minimise(features, lambda s: logistic_loss(s, wanted), l2, share * (1 - share), tolerance, bias=True)


def softmax_regression(
    features: Array, positions: IntArray, classes: int, l2: float, tolerance: float = TOLERANCE
) -> Linear:
    """Fit a multinomial logistic regression to (n,) positions below `classes`; the bias is not regularised."""
    curvature = np.full(classes, 1 / (classes + 1))
    return _minimise(features, lambda s: softmax_loss(s, positions), l2, curvature, tolerance, bias=True)


def squared_hinge(
    features: Array, signs: Array, l2: float, *, bias: bool, tolerance: float = 0.01 * TOLERANCE
) -> Linear:
    """Fit a linear machine for each of m targets, (n, m) signs of ±1: mean of max(0, 1 − y s)²."""
    wanted = signs.astype(np.float64)
    curvature = np.full(wanted.shape[1], 2.0)
    return _minimise(features, lambda s: squared_hinge_loss(s, wanted), l2, curvature, tolerance, bias=bias)


def margin_machine(
    features: Array, positions: IntArray, margins: Array, l2: float, smoothing: float, tolerance: float = TOLERANCE
) -> Linear:
    """Fit a multi-class machine without bias to (n,) positions; margins[y, r] is required of class y against class r.

    The loss is `margin_loss`, which tends to Crammer and Singer's as `smoothing` goes to 0.
    """
    loss = functools.partial(margin_loss, positions=positions, margins=margins, smoothing=smoothing)
    return _minimise(features, loss, l2, np.full(len(margins), 1 / (len(margins) * smoothing)), tolerance, bias=False)


def logistic_loss(scores: Array, targets: Array) -> tuple[float, Array]:
    """Return Σ log(1 + e^s) − t s over (n, m) scores and targets, and its gradient."""
    value = float(np.logaddexp(0.0, scores).sum() - (targets * scores).sum())
    return value, expit(scores) - targets


def softmax_loss(scores: Array, positions: IntArray) -> tuple[float, Array]:
    """Return the negative log-likelihood of (n,) positions under (n, m) scores, and its gradient."""
    rows = np.arange(len(scores))
    value = float((logsumexp(scores, axis=1) - scores[rows, positions]).sum())
    slope: Array = softmax(scores, axis=1)
    slope[rows, positions] -= 1.0
    return value, slope


def squared_hinge_loss(scores: Array, signs: Array) -> tuple[float, Array]:
    """Return Σ max(0, 1 − y s)² over (n, m) scores and signs, and its gradient."""
    short = np.maximum(1.0 - signs * scores, 0.0)
    return float((short**2).sum()), -2.0 * signs * short


def margin_loss(scores: Array, positions: IntArray, margins: Array, smoothing: float) -> tuple[float, Array]:
    """Return the smoothed multi-class hinge of (n, m) scores, summed over rows, and its gradient.

    With u_r = margins[y, r] + s_r − s_y (so u_y = 0), Crammer and Singer's loss is max_r u_r = max_{α ∈ simplex} αᵀu;
    here it is max_α αᵀu + (μ/2)(1 − ‖α‖²), μ = `smoothing`: convex, with a continuous gradient α − e_y, and never
    more than μ/2 above it (Nesterov's smoothing of a maximum).
    """
    rows = np.arange(len(scores))
    excess = margins[positions] + scores - scores[rows, positions][:, None]
    alpha = project_rows(excess / smoothing)
    value = float((alpha * excess).sum() + smoothing / 2 * (len(scores) - (alpha**2).sum()))
    alpha[rows, positions] -= 1.0
    return value, alpha


def _minimise(features: Array, loss: Loss, l2: float, curvature: Array, tolerance: float, *, bias: bool) -> Linear:
    """Minimise (1/n) loss(XW + b) + (l2/2)‖W‖² over m = len(curvature) targets.

    `curvature` is, roughly, the average second derivative of the loss by a score of each target; it shapes the
    coordinates of the search, not the solution.
    """
    count, targets = len(features), len(curvature)
    rows = features.astype(np.float64)
    centre = rows.mean(axis=0) if bias else np.zeros(rows.shape[1])
    rows -= centre  # with a free bias this changes nothing but the conditioning
    spread, axes = _axes(rows)
    design = rows @ axes
    scale = 1.0 / np.sqrt(np.outer(spread, curvature) + l2)
    ridge = l2 * scale**2
    lift = 1.0 / np.sqrt(curvature)  # the bias in the same coordinates
    size = scale.size

    def objective(flat: Array) -> tuple[float, Array]:
        weights = flat[:size].reshape(scale.shape)
        scores = design @ (scale * weights)
        if bias:
            scores += lift * flat[size:]
        value, slope = loss(scores)
        total = value / count + 0.5 * float((ridge * weights**2).sum())
        of_weights = scale * (design.T @ slope) / count + ridge * weights
        of_bias = [lift * slope.sum(axis=0) / count] if bias else []
        return total, np.concatenate([of_weights.ravel(), *of_bias])

    start = np.zeros(size + targets * bias)
    steepest = float(np.abs(objective(start)[1]).max(initial=0.0))
    if steepest == 0.0:
        return Linear(np.zeros((rows.shape[1], targets)), np.zeros(targets))
    most = {"maxcor": 20, "maxiter": MOST_STEPS, "maxfun": 2 * MOST_STEPS}
    options: Any = {**most, "ftol": 0.0, "gtol": tolerance * steepest}
    end = minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
    weights = axes @ (scale * end.x[:size].reshape(scale.shape))
    constant = lift * end.x[size:] - centre @ weights if bias else np.zeros(targets)
    return Linear(weights, constant, float(np.abs(end.jac).max()) / steepest)


def _axes(rows: Array) -> tuple[Array, Array]:
    """Return the (r,) positive eigenvalues of XᵀX/n and their (d, r) eigenvectors, from the smaller Gram matrix of X.

    Weights outside their span need not be computed: they are zero in the solution.
    """
    count, width = rows.shape
    values, axes = np.linalg.eigh((rows.T @ rows if count >= width else rows @ rows.T) / count)
    kept = values > max(float(values.max(initial=0.0)), 0.0) * max(count, width) * np.finfo(np.float64).eps
    values, axes = values[kept], axes[:, kept]
    if count < width:
        axes = rows.T @ (axes / np.sqrt(count * values))
    return values, axes


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
