"""SYNC: synthesised classifiers (Changpinyo et al., 2016)."""

from __future__ import annotations

import dataclasses
from typing import Self

import numpy as np

from zslbench.arrays import Array, IntArray
from zslbench.errors import BadValue
from zslbench.methods.base import Context, Method, MethodCard
from zslbench.methods.preprocess import attribute_values, check_chain, prepare, unit
from zslbench.params import Between, param
from zslbench.task import ClassTable, Train

SMOOTHING = 0.1
"""μ of the smoothed multi-class hinge (`linear_models.margin_loss`): at most μ/2 above the hinge itself."""


@dataclasses.dataclass(kw_only=True)
class SYNC(Method):
    """Synthesised classifiers: w_c = Σ_r sim(c, r) v_r from the classifiers v_r of phantom classes r.

    sim(c, r) = softmax_r(−scale · ‖a_c − b_r‖²); the phantoms b_r are the seen classes. Linear classifiers W of the
    seen classes are learned from images, V = pinv(Sim_seen) W, and the score of a candidate is x · (Sim V)_c.

    Signatures a_c are class semantics (original attributes if the data set has them) scaled to unit length and divided
    by the median distance between two seen classes.
    """

    card = MethodCard(
        title="SYNC",
        summary="classifiers of new classes synthesised from those of phantom classes by similarity of semantics",
        citation="changpinyo2016sync",
        reference="Changpinyo, Chao, Gong & Sha, Synthesized classifiers for zero-shot learning, CVPR 2016",
        stochastic=False,
        formula="min_W (1/NC) Σ L + (λ/2)‖W‖²,  V = pinv(Sim) W;  "
        "score(x, c) = x · Σ_r softmax_r(−scale ‖a_c − b_r‖²) v_r",
        differences=(
            "The paper learns V with a penalty on V. Here, as in the authors' fast code, classifiers W of the seen "
            "classes are learned with a penalty on W, and V = pinv(Sim) W makes the phantoms reproduce them.",
            "Phantoms are the seen classes with their own semantics; learning other phantoms is left out, as in the "
            "paper's main results.",
            "The median distance that scales signatures is taken over seen classes alone, because semantics of unseen "
            "classes are not available in an inductive fit; the authors' code takes it over all classes.",
            "The losses cs and struct replace max_r by a smoothed maximum that is at most 0.05 above it, so that "
            "L-BFGS has a gradient everywhere; the authors' code runs L-BFGS on subgradients.",
            "W starts at zero, not at random numbers: the problem is convex.",
        ),
    )
    libraries = ("zslbench.methods.classifiers.linear_models", "scipy.linalg")
    space = {  # cs and struct take minutes if lam is small, so they are not tuned
        "lam": Between(2.0**-20, 2.0**-8, log=True),
        "scale": Between(2.0**-4, 2.0**4, log=True),
    }

    loss: str = param(
        "ovo",
        choices=("ovo", "cs", "struct"),
        help="one-versus-other squared hinge, Crammer–Singer, or that with distances of signatures as margins",
    )
    lam: float = param(2.0**-16, low=2.0**-40, high=16.0, log=True, help="weight of ‖W‖² (λ)")
    scale: float = param(0.25, low=2.0**-8, high=2.0**8, log=True, help="sharpness of similarities")
    preprocess: str = param("l2", validate=check_chain, help="chain of none, minmax, standard, l2, clip")

    def fit(self, train: Train, ctx: Context) -> Self:
        """Learn the classifiers of seen classes, and from them those of the phantoms."""
        classes, self.preprocessor_, features, positions = prepare(train, self.preprocess)
        self.original_ = classes.original is not None
        units = unit(self._semantics(classes))
        distances = np.sqrt(_squared_distances(units, units))
        pairs = distances[np.triu_indices(len(units), 1)]
        pairs = pairs[pairs > 1e-6]  # rows that are equal up to length differ by rounding, about 1e-8
        self.median_ = float(np.median(pairs)) if len(pairs) else 0.0
        if len(units) > 1 and not self.median_:
            raise BadValue(
                f"SYNC: the {len(units)} seen classes have the same semantics up to length, and similarity to them "
                "says nothing; choose other semantics."
            )
        self.median_ = self.median_ or 1.0
        self.phantoms_ = units / self.median_
        with ctx.phase("classifiers"):
            self.seen_ = self._fit_seen(features, positions, distances / self.median_)
        self.weights_ = phantom_classifiers(similarities(self.phantoms_, self.phantoms_, self.scale), self.seen_)
        return self

    def scores(self, features: Array, classes: ClassTable) -> Array:
        """Return (n, k) float64 scores of the synthesised classifiers."""
        signatures = unit(self._semantics(classes)) / self.median_
        synthesised = similarities(signatures, self.phantoms_, self.scale) @ self.weights_
        out: Array = self.preprocessor_.transform(features).astype(np.float64) @ synthesised.T
        return out

    def _semantics(self, classes: ClassTable) -> Array:
        return attribute_values(classes, self.original_, "SYNC").astype(np.float64)

    def _fit_seen(self, features: Array, positions: IntArray, distances: Array) -> Array:
        from zslbench.methods.classifiers.linear_models import margin_machine, squared_hinge

        count = len(distances)
        if self.loss == "ovo":
            signs = 2.0 * np.eye(count)[positions] - 1.0
            # the objective times C: a mean over rows of a sum over classes
            return squared_hinge(features, signs, count * self.lam, bias=False).weights.T
        margins = distances if self.loss == "struct" else 1.0 - np.eye(count)
        return margin_machine(features, positions, margins, self.lam, SMOOTHING).weights.T


def similarities(signatures: Array, phantoms: Array, scale: float) -> Array:
    """Return the (k, r) softmax over phantoms of −scale · squared distance (Eq. 3)."""
    logits = -scale * _squared_distances(signatures, phantoms)
    likely = np.exp(logits - logits.max(axis=1, keepdims=True))
    out: Array = likely / likely.sum(axis=1, keepdims=True)
    return out


def phantom_classifiers(similarity: Array, classifiers: Array) -> Array:
    """Return the (r, d) V = pinv(Sim) W of least norm, for (c, r) similarities of seen classes and their (c, d) W."""
    from scipy.linalg import pinv

    out: Array = pinv(similarity) @ classifiers
    return out


def _squared_distances(left: Array, right: Array) -> Array:
    """Return (p, q) squared Euclidean distances, from differences: exact for equal rows."""
    out: Array = np.stack([((right - row) ** 2).sum(axis=1) for row in left])
    return out
