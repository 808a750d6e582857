"""SAE: a linear semantic autoencoder (Kodirov et al., 2017)."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from zslbench.arrays import Array
from zslbench.methods.base import Context, MethodCard, Preset
from zslbench.methods.closed_form import ClosedForm, feature_side
from zslbench.methods.fit_cache import Shared
from zslbench.methods.preprocess import check_chain, cosines, unit
from zslbench.params import param
from zslbench.task import ClassTable, Train

_SOURCE = (
    "λ found on validation classes by the public re-implementation mvp18/Popular-ZSL-Algorithms (SAE), ResNet-101 "
    "features of unit length, rows of W of unit length; its published accuracy under zsl is that of a W fitted to the "
    "training classes alone, without the validation classes; "
)


def _cells(direction: str, zsl: dict[str, float], gzsl: dict[str, float]) -> dict[tuple[str, str], dict[str, Any]]:
    shared = {"direction": direction, "preprocess": "l2", "unit_rows": True}
    return {
        (dataset, protocol): {"lam": lam, **shared}
        for protocol, values in (("zsl", zsl), ("gzsl", gzsl))
        for dataset, lam in values.items()
    }


@dataclasses.dataclass(kw_only=True)
class SAE(ClosedForm):
    """Semantic autoencoder: min_W ‖X − WᵀS‖² + λ‖WX − S‖², the Sylvester equation SSᵀ W + W λXXᵀ = (1+λ) SXᵀ.

    As in the paper, X is (d, n), S (a, n) has the semantics of each image's class and W is (a, d). Scores are cosines,
    in the space of semantics (``f2s``: W x against a) or of features (``s2f``: x against Wᵀ a). The length of x matters
    in neither space, so scaling features to unit length affects training alone.
    """

    card = MethodCard(
        title="SAE",
        summary="linear encoder from features to semantics whose transpose decodes; cosine in either space",
        citation="kodirov2017sae",
        reference="Kodirov, Xiang & Gong, Semantic autoencoder for zero-shot learning, CVPR 2017",
        version=2,
        stochastic=False,
        formula="SSᵀ W + W λXXᵀ = (1+λ) SXᵀ;  score(x, a) = cos(Wx, a) or cos(x, Wᵀa)",
        differences=(
            "The authors' demos scale only training features to unit length. Here scores are cosines, so the length "
            "of test features does not matter.",
            "For CUB and ImageNet the authors first project features onto labels of the seen classes by ridge "
            "regression, and standardise distances over the test set. Neither is done here: the first is not in the "
            "paper, the second needs the test set.",
            "The demos report accuracy over all images, not the mean over classes.",
            "The Sylvester equation is solved as ridge regressions along the eigenvectors of SSᵀ, with one "
            "factorization for all λ of a grid. If the equation has many solutions, the one of least norm is taken.",
        ),
    )
    presets = {
        "published": Preset(
            source=_SOURCE + "semantics to features",
            cells=_cells(
                "s2f",
                zsl={"apy": 4.0, "awa1": 0.8, "awa2": 0.2, "cub": 0.2, "sun": 0.16},
                gzsl={"apy": 2.56, "awa1": 0.8, "awa2": 0.2, "cub": 0.2, "sun": 0.08},
            ),
        ),
        "published_f2s": Preset(
            source=_SOURCE + "features to semantics",
            cells=_cells(
                "f2s",
                zsl={"apy": 2.0, "awa1": 3.0, "awa2": 0.6, "cub": 100.0, "sun": 0.32},
                gzsl={"apy": 0.16, "awa1": 3.2, "awa2": 0.8, "cub": 80.0, "sun": 0.32},
            ),
        ),
    }
    space = {
        "lam": tuple(float(f"{digit}e{power}") for power in range(-3, 6) for digit in (1, 3)),
        "preprocess": ("none", "standard", "l2", "standard+l2"),
    }

    direction: str = param(
        "s2f", choices=("s2f", "f2s"), help="compare among features (s2f: x with Wᵀa) or semantics (f2s: Wx with a)"
    )
    lam: float = param(0.2, low=1e-4, high=1e7, log=True, help="weight of encoding against decoding (λ)")
    unit_rows: bool = param(False, help="scale each row of W to unit length before use, as the authors' demo does")
    preprocess: str = param("l2", validate=check_chain, help="chain of none, minmax, standard, l2, clip")

    def solve(self, train: Train, ctx: Context, shared: Shared) -> None:
        """Solve the Sylvester equation for W.

        Along an eigenvector p of A = SSᵀ, with eigenvalue α, the equation is a ridge regression of the class-level
        targets pᵀS: (XXᵀ + α/λ I) Wᵀp = (1+λ)/λ XSᵀp. If α is 0, so are pᵀS and pᵀW: W is the solution of least norm.
        It exists even if A and XXᵀ are both singular (more attributes than classes, features that are always 0), when
        `scipy.linalg.solve_sylvester` has no solution.
        """
        with ctx.phase("factorize"):
            chain, side = shared.once(self, feature_side, train)
            values, vectors = shared.once(self, _semantic_spectrum, train)
        with ctx.phase("solve"):
            targets = train.classes.semantics.astype(np.float64) @ vectors
            along = side.solve(values / self.lam, targets)
            self._keep(chain)
            self.weights_ = (1 + self.lam) / self.lam * (vectors @ along.T)

    def compare(self, rows: Array, classes: ClassTable) -> Array:
        """Return (n, k) cosines in the space of `direction`; 0 if a vector has length 0."""
        semantics = classes.semantics.astype(np.float64)
        weights = unit(self.weights_) if self.unit_rows else self.weights_
        if self.direction == "f2s":
            return cosines(rows @ weights.T, semantics)
        return cosines(rows, unit(semantics) @ weights)


def _semantic_spectrum(train: Train) -> tuple[Array, Array]:
    """Return (r,) non-zero eigenvalues and (a, r) eigenvectors of SSᵀ, S the (a, n) semantics of images."""
    counts = np.bincount(train.classes.positions(train.labels), minlength=len(train.classes))
    rows = np.sqrt(counts)[:, None] * train.classes.semantics.astype(np.float64)
    _, lengths, directions = np.linalg.svd(rows, full_matrices=False)
    kept = lengths > lengths.max(initial=0) * max(rows.shape) * np.finfo(np.float64).eps
    return lengths[kept] ** 2, directions[kept].T
