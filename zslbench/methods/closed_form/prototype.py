"""Nearest semantic prototype: features are regressed on semantics, and the class with the nearest semantics wins."""

from __future__ import annotations

import dataclasses

import numpy as np

from zslbench.arrays import Array
from zslbench.methods.base import Context, MethodCard
from zslbench.methods.closed_form import ClosedForm, feature_side
from zslbench.methods.fit_cache import Shared
from zslbench.methods.preprocess import check_chain, cosines
from zslbench.params import param
from zslbench.task import ClassTable, Train


@dataclasses.dataclass(kw_only=True)
class Prototype(ClosedForm):
    """Nearest semantic prototype: W = (XᵀX + λI)⁻¹XᵀS predicts semantics, the nearest class by cosine wins.

    X are (n, d) features and S (n, a) the semantics of each image's class. No simpler method uses both; a method that
    does not beat it has not earned its parameters.
    """

    card = MethodCard(
        title="Prototype",
        summary="baseline: ridge regression from features to semantics, then the nearest class by cosine",
        citation="palatucci2009soc",
        reference="Palatucci, Pomerleau, Hinton & Mitchell, Zero-shot learning with semantic output codes, NIPS 2009",
        stochastic=False,
        formula="W = (XᵀX + λI)⁻¹XᵀS;  score(x, a) = cos(xW, a)",
        differences=(
            "The nearest class is found by cosine, not by Euclidean distance: ridge regression shrinks its "
            "predictions, which does not change a cosine.",
        ),
    )
    space = {
        "lam": (0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1e3, 1e4, 1e5),
        "preprocess": ("none", "standard", "l2", "standard+l2"),
    }

    lam: float = param(1.0, low=1e-3, high=1e6, log=True, help="weight of the ridge (λ)")
    preprocess: str = param("l2", validate=check_chain, help="chain of none, minmax, standard, l2, clip")

    def solve(self, train: Train, ctx: Context, shared: Shared) -> None:
        """Solve the ridge regression for W."""
        with ctx.phase("factorize"):
            chain, side = shared.once(self, feature_side, train)
        with ctx.phase("solve"):
            self._keep(chain)
            self.weights_ = side.solve(self.lam, train.classes.semantics.astype(np.float64))

    def compare(self, rows: Array, classes: ClassTable) -> Array:
        """Return (n, k) cosines of predicted and given semantics; 0 if a vector has length 0."""
        return cosines(rows @ self.weights_, classes.semantics.astype(np.float64))
