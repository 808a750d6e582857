"""SSE: semantic similarity embedding (Zhang & Saligrama, 2015)."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self, TypeAlias

import numpy as np

from zslbench.arrays import Array, IntArray
from zslbench.errors import BadValue
from zslbench.methods.base import Context, Method, MethodCard
from zslbench.methods.preprocess import check_chain, class_means, prepare, unit
from zslbench.params import Between, param
from zslbench.task import ClassTable, Train

_WARM_STEPS = 60
_SLACK = 1e-10
SMOOTHING = 1.0
"""μ of the smoothed multi-class hinge (`linear_models.margin_loss`)."""
Loss: TypeAlias = Callable[[Array], tuple[float, Array]]
"""From (n, c) responses, or the arrays they are computed from, to the mean loss and its gradient."""
CHUNK_ENTRIES = 2**17
"""Entries of features processed at once, so that their transform for one class stays in the processor's cache."""


@dataclasses.dataclass(kw_only=True)
class SSE(Method):
    """Semantic similarity embedding: classes and images both become mixtures of seen classes.

    A class with semantics a_c is the mixture z_c = argmin over the simplex of ½‖a_c − Σ_y α_y a_y‖² + (γ/2)‖α‖² of
    seen classes y. An image has one response ⟨w_y, ψ_y(x)⟩ per seen class, with ψ_y(x) = min(x, v_y)
    (``intersection``) or max(0, x − v_y) (``relu``), entry by entry. Its score for c is Σ_y z_cy ⟨w_y, ψ_y(x)⟩.

    W and V alternately minimise (1/n) Σ_i L(x_i) + (λ_w/2)‖W‖² + (λ_v/2)‖V‖², V ≥ 0 for ``intersection``; L is the
    multi-class hinge over seen classes, margin 1.
    """

    card = MethodCard(
        title="SSE",
        summary="classes and images both as mixtures of seen classes, images by class-dependent transforms",
        citation="zhang2015sse",
        reference="Zhang & Saligrama, Zero-shot learning via semantic similarity embedding, ICCV 2015",
        stochastic=False,
        formula="z_c = argmin_{α∈Δ} ½‖a_c − Σ_y α_y a_y‖² + (γ/2)‖α‖²;  score(x, c) = Σ_y z_cy ⟨w_y, ψ_y(x)⟩,  "
        "ψ_y(x) = min(x, v_y) or max(0, x − v_y)",
        differences=(
            "No public code of the authors was found: mixtures, transforms and score are the paper's; the training "
            "problem is derived from them.",
            "Each seen class has its own weight vector w_y.",
            "W and V are learned alternately with one multi-class hinge loss with margin 1 over images, smoothed so "
            "that it has a gradient (at most 0.5 above the hinge); the paper's additional constraints on the class "
            "means and its class-dependent margins are left out.",
            "V starts at the class means and stays there with turns=0; each turn is a fixed number of L-BFGS "
            "iterations, without a test of convergence.",
            "The mixture of a seen class is computed like that of an unseen one, in training and for candidates, and "
            "is not set to the class itself; if γ is small, the class itself has most of the weight.",
            "Semantics are scaled to unit length before mixing; those of att have unit length already.",
        ),
    )
    libraries = ("zslbench.methods.classifiers.linear_models", "scipy.optimize")
    space = {
        "kernel": ("intersection", "relu"),
        "gamma": Between(0.01, 30.0, log=True),
        "l2_w": Between(1e-6, 0.1, log=True),
        "turns": (0, 1),
    }
    check_params = {"iterations": 10}

    kernel: str = param("intersection", choices=("intersection", "relu"), help="min(x, v) or max(0, x − v)")
    gamma: float = param(1.0, low=1e-6, high=1e3, log=True, help="weight of ‖α‖² in the mixtures (γ)")
    l2_w: float = param(1e-4, low=1e-10, high=1e3, log=True, help="weight of ‖W‖² against the mean loss (λ_w)")
    l2_v: float = param(1e-6, low=0.0, high=1e3, log=True, help="weight of ‖V‖² against the mean loss (λ_v)")
    turns: int = param(1, low=0, high=100, help="turns of V, each followed by a turn of W; W also has the first turn")
    iterations: int = param(20, low=1, high=10_000, log=True, help="at most so many iterations of L-BFGS per turn")
    preprocess: str = param("minmax", validate=check_chain, help="chain of none, minmax, standard, l2, clip")

    def fit(self, train: Train, ctx: Context) -> Self:
        """Learn W and V alternately."""
        from zslbench.methods.classifiers.linear_models import margin_loss

        classes, self.preprocessor_, features, positions = prepare(train, self.preprocess)
        features = np.ascontiguousarray(features)
        lowest = float(features.min())
        if self.kernel == "intersection" and lowest < 0:
            raise BadValue(
                f"SSE: preprocess={self.preprocess} gives training features as low as {lowest:.3g}, but the "
                "intersection kernel needs values of at least 0; choose preprocess=minmax or kernel=relu."
            )
        self.corners_ = unit(classes.semantics.astype(np.float64))
        with ctx.phase("mixtures"):
            mixtures = self._mixtures(classes)
        margins = 1.0 - np.eye(len(classes))

        def loss(responses: Array) -> tuple[float, Array]:
            value, slope = margin_loss(responses @ mixtures.T, positions, margins, SMOOTHING)
            return value / len(features), slope @ mixtures / len(features)

        overall = np.tile(features.mean(axis=0, dtype=np.float64), (len(classes), 1))  # for a class without images
        self.pivots_ = class_means(features, positions, overall)
        self.weights_ = np.zeros_like(self.pivots_)
        with ctx.phase("responses"):
            self._learn_weights(features, mixtures, loss)
            for _ in range(self.turns):
                self._learn_pivots(features, loss)
                self._learn_weights(features, mixtures, loss)
        return self

    def scores(self, features: Array, classes: ClassTable) -> Array:
        """Return (n, k) float64 scores Σ_y z_cy ⟨w_y, ψ_y(x)⟩."""
        rows = self.preprocessor_.transform(features)
        out: Array = responses(rows, self.weights_, self.pivots_, self.kernel) @ self._mixtures(classes).T
        return out

    def _mixtures(self, classes: ClassTable) -> Array:
        return simplex_mixtures(unit(classes.semantics.astype(np.float64)), self.corners_, self.gamma)

    def _learn_weights(self, features: Array, mixtures: Array, loss: Loss) -> None:
        """Minimise the objective over W with V fixed, which is a convex problem.

        The search runs over U with W = Q_z (S ∘ U) Q_xᵀ, with the axes and scales that the Hessian would have if all
        classes had one transform. Mixtures of similar classes are nearly equal and features are correlated: a few dozen
        iterations in the coordinates of W itself would not learn the differences.
        """
        pivots, ridge = self.pivots_, self.l2_w
        spread_z, axes_z = np.linalg.eigh(mixtures.T @ mixtures / len(mixtures))
        shared = np.empty(features.shape)
        TRANSFORMS[self.kernel](features, pivots.mean(axis=0), out=shared)
        spread_x, axes_x = np.linalg.eigh(shared.T @ shared / len(shared))
        scale = 1.0 / np.sqrt(np.outer(np.maximum(spread_z, 0), np.maximum(spread_x, 0)) + ridge)

        def objective(point: Array) -> tuple[float, Array]:
            weights = axes_z @ (scale * point) @ axes_x.T
            value, slope = loss(responses(features, weights, pivots, self.kernel))
            gradient = weights_gradient(features, pivots, self.kernel, slope) + ridge * weights
            return value + ridge / 2 * float((weights**2).sum()), scale * (axes_z.T @ gradient @ axes_x)

        start = (axes_z.T @ self.weights_ @ axes_x) / scale
        end = _descend(objective, start, self.iterations)
        self.weights_ = axes_z @ (scale * end) @ axes_x.T

    def _learn_pivots(self, features: Array, loss: Loss) -> None:
        weights, ridge = self.weights_, self.l2_v

        def objective(pivots: Array) -> tuple[float, Array]:
            value, slope = loss(responses(features, weights, pivots, self.kernel))
            gradient = pivots_gradient(features, weights, pivots, self.kernel, slope)
            return value + ridge / 2 * float((pivots**2).sum()), gradient + ridge * pivots

        lowest = 0.0 if self.kernel == "intersection" else None
        self.pivots_ = _descend(objective, self.pivots_, self.iterations, lowest)


def responses(features: Array, weights: Array, pivots: Array, kernel: str) -> Array:
    """Return (n, c) float64 ⟨w_y, ψ_y(x)⟩ of (n, d) float32 features, (c, d) weights and (c, d) pivots v."""
    out = np.zeros((len(features), len(weights)))
    slim = weights.astype(np.float32)
    for rows, y, transformed in _by_class(features, pivots, TRANSFORMS[kernel]):
        out[rows, y] = transformed @ slim[y]
    return out


def weights_gradient(features: Array, pivots: Array, kernel: str, slope: Array) -> Array:
    """Return the (c, d) gradient Σ_i slope_iy ψ_y(x_i) of weights, from the (n, c) gradient of responses."""
    out = np.zeros(pivots.shape)
    slim = slope.astype(np.float32)
    for rows, y, transformed in _by_class(features, pivots, TRANSFORMS[kernel]):
        out[y] += slim[rows, y] @ transformed
    return out


def pivots_gradient(features: Array, weights: Array, pivots: Array, kernel: str, slope: Array) -> Array:
    """Return the (c, d) gradient ± w_y Σ_i slope_iy [x_i > v_y] of pivots, + for ``intersection``, − for ``relu``."""
    out = np.zeros(pivots.shape)
    slim = slope.astype(np.float32)
    for rows, y, above in _by_class(features, pivots, functools.partial(np.greater, casting="unsafe")):
        out[y] += slim[rows, y] @ above
    return out * weights if kernel == "intersection" else -out * weights


def _excess(rows: Array, pivot: Array, out: Array) -> None:
    np.subtract(rows, pivot, out=out)
    np.maximum(out, 0.0, out=out)


TRANSFORMS: Mapping[str, Callable[..., object]] = {"intersection": np.minimum, "relu": _excess}


def _by_class(features: Array, pivots: Array, transform: Callable[..., object]) -> Iterator[tuple[slice, int, Array]]:
    """Yield rows, class y and (r, d) float32 ``transform(rows, pivot of y)``, valid until the next one."""
    bounds = pivots.astype(np.float32)
    step = max(CHUNK_ENTRIES // int(features.shape[1]), 1)
    buffer = np.empty_like(features[:step])
    for start in range(0, len(features), step):
        part = features[start : start + step]
        out = buffer[: len(part)]
        for y, bound in enumerate(bounds):
            transform(part, bound, out=out)
            yield slice(start, start + len(part)), y, out


def _descend(objective: Loss, start: Array, iterations: int, lowest: float | None = None) -> Array:
    from scipy.optimize import Bounds, minimize

    def flat(point: Array) -> tuple[float, Array]:
        value, gradient = objective(point.reshape(start.shape))
        return value, gradient.ravel()

    bounds = None if lowest is None else Bounds(np.full(start.size, lowest), np.full(start.size, np.inf))
    options: Any = {"maxiter": iterations, "maxcor": 10, "ftol": 1e-9, "gtol": 1e-9}
    end = minimize(flat, start.ravel(), jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    out: Array = end.x.reshape(start.shape)
    return out


def simplex_mixtures(points: Array, corners: Array, ridge: float) -> Array:
    """Return (k, c) rows α minimising ½‖p − Σ_y α_y s_y‖² + (ridge/2)‖α‖² over the simplex, for each of k points p.

    Accelerated projected gradient for all points together finds which entries of α are positive; an active-set search
    then solves each problem exactly. `ridge` above 0 makes the solution unique. Corners are the (c, a) vectors s_y.
    """
    points, corners = points.astype(np.float64), corners.astype(np.float64)
    hessian = corners @ corners.T
    hessian[np.diag_indices_from(hessian)] += ridge
    linear = points @ corners.T
    alpha = _accelerated(hessian, linear)
    return np.stack([_active_set(hessian, row, start) for row, start in zip(linear, alpha, strict=True)])


def _accelerated(hessian: Array, linear: Array) -> Array:
    """Return (k, c) approximate minimisers of ½αᵀHα − bᵀα over the simplex, for each of (k, c) rows b."""
    from zslbench.methods.classifiers.linear_models import project_rows

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

    The primal active-set method: minimise on the face of the positive entries. If an entry falls to zero on the way,
    stop there and drop it; if the face's minimum lies inside the face, add the entry along which the objective falls
    fastest. If there is no such entry, the minimum is reached.
    """
    alpha = start.copy()
    face = np.flatnonzero(alpha > 0)
    slack = _SLACK * (1.0 + float(np.abs(linear).max()))
    for _ in range(50 * len(linear)):  # the loop ends, since each face is visited at most once
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
