"""Ridge regression from semantics to features (Shigeto et al., 2015): nearest neighbours without hubs."""

from __future__ import annotations

import dataclasses

import numpy as np

from zslbench.arrays import Array
from zslbench.methods.base import Context, MethodCard
from zslbench.methods.closed_form import ClassRidge, ClosedForm, preprocessed
from zslbench.methods.fit_cache import Shared
from zslbench.methods.preprocess import Preprocessor, check_chain, class_means, closeness, cosines
from zslbench.params import param
from zslbench.task import ClassTable, Train


@dataclasses.dataclass(kw_only=True)
class Ridge(ClosedForm):
    """Semantic → visual ridge regression: min_P ‖X − SP‖² + λ‖P‖²; the class whose a P is nearest to x wins.

    X are (n, d) features and S (n, a) the semantics of each image's class. Semantics are projected into the space of
    features, and not the other way round: shrinking the side of the targets creates hubs, candidates that are near to
    everything (Shigeto et al., section 3). As images of one class share their semantics, the solution needs only class
    means and class sizes: P = (SᵀNS + λI)⁻¹SᵀNM, with (c, a) S, (c, d) means M and the sizes on N's diagonal.
    """

    card = MethodCard(
        title="Ridge",
        summary="ridge regression from semantics to features, then the nearest projected class",
        citation="shigeto2015ridge",
        reference="Shigeto, Suzuki, Hara, Shimbo & Matsumoto, Ridge regression, hubness, and zero-shot learning, "
        "ECML PKDD 2015",
        stochastic=False,
        formula="P = (SᵀS + λI)⁻¹SᵀX;  score(x, a) = −‖x − aP‖² or cos(x, aP)",
        differences=(
            "The paper's model is weighting=images with metric=euclid. One target per class, its mean "
            "(weighting=classes), and the cosine are additions.",
            "There is no intercept; preprocess=standard centres the features.",
        ),
    )
    space = {
        "lam": (0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1e3),
        "weighting": ("images", "classes"),
        "metric": ("euclid", "cosine"),
        "preprocess": ("none", "standard", "l2", "standard+l2"),
    }

    lam: float = param(3.0, low=1e-4, high=1e6, log=True, help="weight of the ridge (λ)")
    weighting: str = param(
        "images", choices=("images", "classes"), help="what counts once in the loss: an image, or the mean of a class"
    )
    metric: str = param("euclid", choices=("euclid", "cosine"), help="nearest by Euclidean distance or by cosine")
    preprocess: str = param("l2", validate=check_chain, help="chain of none, minmax, standard, l2, clip")

    def solve(self, train: Train, ctx: Context, shared: Shared) -> None:
        """Solve the ridge regression for P."""
        with ctx.phase("factorize"):
            chain, means = shared.once(self, _class_means, train)
            weights, side = shared.once(self, _semantic_side, train)
        with ctx.phase("solve"):
            self._keep(chain)
            self.weights_ = side.solve(self.lam) @ (weights[:, None] * means)

    def compare(self, rows: Array, classes: ClassTable) -> Array:
        """Return (n, k) −‖x − aP‖², or cosines of x and aP (0 if a vector has length 0)."""
        projected = classes.semantics.astype(np.float64) @ self.weights_
        return cosines(rows, projected) if self.metric == "cosine" else closeness(rows, projected)


def _class_means(train: Train, preprocess: str) -> tuple[Preprocessor, Array]:
    """Return the fitted preprocessor and (c, d) means; a class without images has mean 0, and weight 0 below."""
    chain, features, positions = preprocessed(train, preprocess)
    means = class_means(features, positions, np.zeros((len(train.classes), features.shape[1])))
    return chain, means


def _semantic_side(train: Train, weighting: str) -> tuple[Array, ClassRidge]:
    """Return (c,) square roots of the classes' weights and the factorization of their weighted semantics."""
    counts = np.bincount(train.classes.positions(train.labels), minlength=len(train.classes))
    weights = np.sqrt(counts if weighting == "images" else counts > 0)
    return weights, ClassRidge.of_rows(weights[:, None] * train.classes.semantics.astype(np.float64))
