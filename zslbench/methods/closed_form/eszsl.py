"""ESZSL: a bilinear compatibility in closed form (Romera-Paredes & Torr, 2015)."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from zslbench.arrays import Array
from zslbench.methods.base import Context, MethodCard, Preset
from zslbench.methods.closed_form import ClassRidge, ClosedForm, feature_side
from zslbench.methods.fit_cache import Shared
from zslbench.methods.preprocess import check_chain
from zslbench.params import param
from zslbench.task import ClassTable, Train


def _cell(gamma: float, lam: float) -> dict[str, Any]:
    return {"gamma": gamma, "lam": lam, "targets": "binary", "preprocess": "none"}


@dataclasses.dataclass(kw_only=True)
class ESZSL(ClosedForm):
    """Embarrassingly simple ZSL: V = (XᵀX + γI)⁻¹ XᵀYS (SᵀS + λI)⁻¹, scores x V aᵀ.

    X are (n, d) features, S (c, a) semantics of the seen classes and Y (n, c) targets: 1 for an image's own class and
    0 (its public code) or -1 (the paper) for the others. V minimises
    ‖XVSᵀ − Y‖² + γ‖VSᵀ‖² + λ‖XV‖² + γλ‖V‖² (the paper's objective with its choice β = γλ).

    γ is an absolute number. Its default of 1000 suits deep features of thousands of images. If γ exceeds most
    eigenvalues of XᵀX (few images, or features of small scale), nothing removes what all classes share, and T1 may fall
    far below that of ridge regression: use gamma=1, lam=0.1 and preprocess=l2 then.
    """

    card = MethodCard(
        title="ESZSL",
        summary="bilinear compatibility of features and semantics by two ridge regressions in closed form",
        citation="romera2015eszsl",
        reference="Romera-Paredes & Torr, An embarrassingly simple approach to zero-shot learning, ICML 2015",
        version=2,
        stochastic=False,
        formula="V = (XᵀX + γI)⁻¹ XᵀYS (SᵀS + λI)⁻¹;  score(x, a) = x V aᵀ",
        differences=(
            "Targets are 1 and 0 by default, as in the public code. The paper has 1 and −1 (targets=signed). Unless "
            "features are centred, this adds the same vector to the regression of every class: use it with "
            "preprocess=standard, with which both codings give the same predictions.",
            "The public code is kernelised. Here the kernel is linear; if there are fewer images than features, the "
            "same V is computed from the n×n Gram matrix.",
            "One tridiagonalisation of the Gram matrix serves every γ of a grid. A γ below the rounding error of the "
            "Gram matrix is raised to that error.",
        ),
    )
    presets = {
        "published": Preset(
            source="regularisers found on validation classes by the public re-implementation "
            "mvp18/Popular-ZSL-Algorithms (ESZSL), ResNet-101 features unchanged, targets 0 and 1",
            cells={
                ("apy", "zsl"): _cell(1e3, 1e-1),
                ("awa1", "zsl"): _cell(1e3, 1.0),
                ("awa2", "zsl"): _cell(1e3, 1.0),
                ("cub", "zsl"): _cell(1e3, 1e-1),
                ("sun", "zsl"): _cell(1e3, 1e2),
                ("apy", "gzsl"): _cell(1e2, 1.0),
                ("awa1", "gzsl"): _cell(1e3, 1.0),
                ("awa2", "gzsl"): _cell(1e3, 1.0),
                ("cub", "gzsl"): _cell(1e3, 1.0),
                ("sun", "gzsl"): _cell(1e3, 1e2),
            },
        )
    }
    space = {
        "gamma": (1.0, 10.0, 100.0, 1e3, 1e4, 1e5),
        "lam": (0.01, 0.1, 1.0, 10.0, 100.0),
        "targets": ("binary", "signed"),
        "preprocess": ("none", "standard", "l2", "standard+l2"),
    }
    check_params = {"preprocess": "standard"}

    gamma: float = param(1e3, low=1e-3, high=1e6, log=True, help="ridge on the feature side (γ)")
    lam: float = param(1.0, low=1e-3, high=1e3, log=True, help="ridge on the semantic side (λ)")
    targets: str = param(
        "binary", choices=("binary", "signed"), help="coding of Y: 1 and 0 (public code), or 1 and -1 (paper)"
    )
    preprocess: str = param("none", validate=check_chain, help="chain of none, minmax, standard, l2, clip")

    def solve(self, train: Train, ctx: Context, shared: Shared) -> None:
        """Solve for V from two ridge regressions: of class indicators on features, and on semantics."""
        with ctx.phase("factorize"):
            chain, side = shared.once(self, feature_side, train)
            semantic_side = shared.once(self, ClassRidge.of_rows, train.classes.semantics)
            of_features = shared.once(self, _feature_solution, side)
            of_semantics = shared.once(self, _semantic_solution, semantic_side)
        with ctx.phase("solve"):
            self._keep(chain)
            self.weights_ = of_features @ of_semantics.T
            if self.targets == "signed":  # Y = 2·onehot − 1
                self.weights_ *= 2
                self.weights_ -= np.outer(of_features.sum(axis=1), of_semantics.sum(axis=1))

    def compare(self, rows: Array, classes: ClassTable) -> Array:
        """Return (n, k) compatibilities x V aᵀ."""
        out: Array = np.linalg.multi_dot([rows, self.weights_, classes.semantics.T.astype(np.float64)])
        return out


def _feature_solution(side: ClassRidge, preprocess: str, gamma: float) -> Array:
    """Return (d, c) (XᵀX + γI)⁻¹Xᵀ·onehot.

    `preprocess` made the rows of `side`. It is an argument so that points of a grid with different chains share
    nothing.
    """
    return side.solve(gamma)


def _semantic_solution(side: ClassRidge, lam: float) -> Array:
    """Return (a, c) (SᵀS + λI)⁻¹Sᵀ."""
    return side.solve(lam)
