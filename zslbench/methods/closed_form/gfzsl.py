"""GFZSL: a Gaussian for each class, whose parameters are regressed on semantics (Verma & Rai, 2017)."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from zslbench.arrays import Array, IntArray, positions_by_label
from zslbench.methods.base import Context, MethodCard, Preset
from zslbench.methods.closed_form import ClosedForm, ShiftedGram, preprocessed
from zslbench.methods.fit_cache import Shared
from zslbench.methods.preprocess import Preprocessor, check_chain, normed
from zslbench.params import param
from zslbench.task import ClassTable, Train

_LARGEST_LOG = 100.0
"""Bound of |log σ²|: far outside any data, and small enough for exp and squares."""


def _cell(lam_mean: float, lam_variance: float, offset: float, noise: float = 0.05) -> dict[str, Any]:
    shared = {"kernel": "poly2", "seen": "regressed", "semantic_norm": "none", "preprocess": "none"}
    return {"lam_mean": lam_mean, "lam_variance": lam_variance, "offset": offset, "noise": noise, **shared}


@dataclasses.dataclass(kw_only=True)
class GFZSL(ClosedForm):
    """A generative framework of exponential families, with Gaussians: p(x|c) = N(μ_c, diag σ_c²).

    Means and variances of seen classes are estimated from their images. Two kernel ridge regressions from semantics,
    one of μ and one of log σ², give the Gaussian of any class: f(a) = k(a, S)(K + λI)⁻¹F with (c, d) targets F of the
    seen classes. The score is the log-likelihood, so all classes have the same prior.
    """

    card = MethodCard(
        title="GFZSL",
        summary="one Gaussian per class, with mean and variances regressed on semantics; the likeliest class wins",
        citation="verma2017gfzsl",
        reference="Verma & Rai, A simple exponential family framework for zero-shot learning, ECML PKDD 2017",
        version=2,
        stochastic=False,
        formula="μ(a) = k(a, S)(K + λ₁I)⁻¹M,  log σ²(a) = k(a, S)(K + λ₂I)⁻¹L;  "
        "score(x, a) = log N(x; μ(a), diag σ²(a))",
        differences=(
            "The Gaussian of a seen class is by default computed from its semantics, as in the paper; seen=empirical "
            "computes it from the class's images instead (the public code has no generalised setting).",
            "There are two kernels: the linear one and the public code's polynomial (1 + aᵀb)². The default is the "
            "linear one on class vectors of unit length, so that λ₁ and λ₂ mean the same for vectors of any length "
            "(with sentence embeddings of length 19 the public values had no effect).",
            "The public code reports the accuracy over all images, not the mean over classes.",
            "The transductive and few-shot extensions of the paper are not implemented.",
        ),
    )
    presets = {
        "published": Preset(
            source="cub.m, awa1.m, awa2.m and sun.m of the authors' code, vkverma01/Zero-Shot-Learning, for the VGG-19 "
            "features that its README links to; sun.m divides variances by the number of images n; here they "
            "are divided by n − 1, as in the other scripts",
            cells={
                ("cub", "zsl"): _cell(1.0, 1e7, 1e-4),
                ("awa1", "zsl"): _cell(0.1, 1e8, 1e-3),
                ("awa2", "zsl"): _cell(0.01, 1e8, 1e-3),
                ("sun", "zsl"): _cell(0.5, 5e6, 0.1, noise=0.6),
            },
        )
    }
    space = {
        "lam_mean": (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
        "lam_variance": (10.0, 1e4, 1e7),
        "kernel": ("poly2", "linear"),
        "preprocess": ("l2", "standard+l2"),
    }

    lam_mean: float = param(0.03, low=1e-4, high=1e6, log=True, help="ridge of the regression of means (λ₁)")
    lam_variance: float = param(
        1e7, low=1e-4, high=1e9, log=True, help="ridge of the regression of log variances (λ₂); large: all variances 1"
    )
    kernel: str = param("linear", choices=("poly2", "linear"), help="of semantics: (1 + aᵀb)², or aᵀb")
    offset: float = param(1e-4, low=1e-9, high=10, log=True, help="added to a variance before its logarithm is taken")
    noise: float = param(0.05, low=1e-9, high=100, log=True, help="added to a regressed variance")
    seen: str = param(
        "regressed", choices=("regressed", "empirical"), help="Gaussian of a seen class: from semantics or its images"
    )
    semantic_norm: str = param("l2", choices=("l2", "none"), help="whether each class vector is scaled to length 1")
    preprocess: str = param("l2", validate=check_chain, help="chain of none, minmax, standard, l2, clip")

    def solve(self, train: Train, ctx: Context, shared: Shared) -> None:
        """Solve both kernel ridge regressions."""
        with ctx.phase("factorize"):
            chain, present, means, variances = shared.once(self, _estimate_gaussians, train)
            side = shared.once(self, _semantic_side, train, present)
        with ctx.phase("solve"):
            self._keep(chain)
            self.classes_ = train.classes.take(present)
            self.means_, self.variances_ = means.copy(), variances.copy()
            self.mean_weights_ = side.solve(means, self.lam_mean)
            self.log_weights_ = side.solve(np.log(variances + self.offset), self.lam_variance)

    def compare(self, rows: Array, classes: ClassTable) -> Array:
        """Return (n, k) log-likelihoods log N(x; μ_c, diag σ_c²)."""
        return log_likelihoods(rows, *self.gaussians(classes))

    def gaussians(self, classes: ClassTable) -> tuple[Array, Array]:
        """Return (k, d) means and (k, d) variances of classes."""
        kernel = _kernel(classes, self.classes_, self.kernel, self.semantic_norm)
        means = kernel @ self.mean_weights_
        variances = np.exp(np.clip(kernel @ self.log_weights_, -_LARGEST_LOG, _LARGEST_LOG)) + self.noise
        if self.seen == "empirical":
            known = np.isin(classes.ids, self.classes_.ids)
            rows = self.classes_.positions(classes.ids[known])
            means[known], variances[known] = self.means_[rows], self.variances_[rows] + self.noise
        return means, variances


def log_likelihoods(rows: Array, means: Array, variances: Array) -> Array:
    """Return (n, k) log N(x; μ, diag σ²) of (n, d) rows under (k, d) means and variances.

    >>> log_likelihoods(np.zeros((1, 1)), np.zeros((1, 1)), np.ones((1, 1))).round(4).tolist()
    [[-0.9189]]
    """
    precision, centre = 1 / variances, means.mean(axis=0)
    rows, means = rows - centre, means - centre  # the difference of squares would be inaccurate for rows far from 0
    distances = np.square(rows) @ precision.T - 2 * rows @ (means * precision).T + (means**2 * precision).sum(axis=1)
    constant = np.log(variances).sum(axis=1) + means.shape[1] * math.log(2 * math.pi)
    out: Array = -0.5 * (np.maximum(distances, 0) + constant)
    return out


def _estimate_gaussians(train: Train, preprocess: str) -> tuple[Preprocessor, IntArray, Array, Array]:
    """Return the fitted preprocessor, and the (c,) positions, (c, d) means and (c, d) variances of classes with images.

    A class of one image has variance 0.
    """
    chain, features, positions = preprocessed(train, preprocess)
    present = np.unique(positions)
    means = np.empty((len(present), features.shape[1]))
    variances = np.empty_like(means)
    for row, rows in enumerate(positions_by_label(positions)):
        images = features[rows].astype(np.float64)
        means[row] = images.mean(axis=0)
        variances[row] = np.square(images - means[row]).sum(axis=0) / max(len(images) - 1, 1)
    return chain, present, means, variances


def _semantic_side(train: Train, present: IntArray, kernel: str, semantic_norm: str) -> ShiftedGram:
    classes = train.classes.take(present)
    return ShiftedGram.of(_kernel(classes, classes, kernel, semantic_norm), classes.semantics.shape[1])


def _kernel(classes: ClassTable, others: ClassTable, kernel: str, semantic_norm: str) -> Array:
    """Return (k, c) kernel values of k classes and c others."""
    rows, columns = (table.semantics.astype(np.float64) for table in (classes, others))
    inner: Array = normed(rows, semantic_norm) @ normed(columns, semantic_norm).T
    return inner if kernel == "linear" else (1 + inner) ** 2
