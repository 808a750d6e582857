"""SAE: a linear semantic autoencoder (Kodirov et al., 2017)."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Self

import numpy as np

from zslbench.arrays import Array
from zslbench.methods.base import Context, Method, MethodCard, Preset, Setting
from zslbench.methods.moments import Moments
from zslbench.methods.preprocess import check_chain, preprocessor
from zslbench.params import param
from zslbench.task import ClassTable, Train

_SOURCE = (
    "λ found on validation classes by the public re-implementation mvp18/Popular-ZSL-Algorithms (SAE), ResNet-101 "
    "features of unit length, rows of W of unit length; "
)


def _cells(direction: str, zsl: dict[str, float], gzsl: dict[str, float]) -> dict[tuple[str, str], dict[str, Any]]:
    shared = {"direction": direction, "preprocess": "l2", "unit_rows": True}
    return {
        (dataset, protocol): {"lam": lam, **shared}
        for protocol, values in (("zsl", zsl), ("gzsl", gzsl))
        for dataset, lam in values.items()
    }


@dataclasses.dataclass(kw_only=True)
class SAE(Method):
    """Semantic autoencoder: min_W ‖X − WᵀS‖² + λ‖WX − S‖², the Sylvester equation SSᵀ W + W λXXᵀ = (1+λ) SXᵀ.

    As in the paper, X is (d, n), S (a, n) has the semantics of each image's class and W is (a, d). Scores are cosines,
    in the space of semantics (``f2s``: W x against a) or of features (``s2f``: x against Wᵀ a); the length of x does
    not matter in either, so unit-length features are a matter of training alone.
    """

    card: ClassVar[MethodCard] = MethodCard(
        title="SAE",
        summary="linear encoder from features to semantics whose transpose decodes; cosine in either space",
        citation="kodirov2017sae",
        reference="Kodirov, Xiang & Gong, Semantic autoencoder for zero-shot learning, CVPR 2017",
        version=1,
        setting=Setting.INDUCTIVE,
        stochastic=False,
        formula="SSᵀ W + W λXXᵀ = (1+λ) SXᵀ;  score(x, a) = cos(Wx, a) or cos(x, Wᵀa)",
    )
    presets: ClassVar[dict[str, Preset]] = {
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

    direction: str = param(
        "s2f", choices=("s2f", "f2s"), help="compare among features (s2f: x with Wᵀa) or semantics (f2s: Wx with a)"
    )
    lam: float = param(0.2, low=1e-4, high=1e7, log=True, help="weight of encoding against decoding (λ)")
    unit_rows: bool = param(False, help="scale each row of W to unit length before use, as the authors' demo does")
    preprocess: str = param("l2", validate=check_chain, help="chain of none, minmax, standard, l2, clip")

    def fit(self, train: Train, ctx: Context) -> Self:
        """Solve the Sylvester equation for W."""
        self.preprocessor_ = preprocessor(self.preprocess)
        features = self.preprocessor_.fit_transform(train.features)
        semantics = train.classes.semantics.astype(np.float64)
        moments = Moments.of(features, train.classes.positions(train.labels), len(train.classes))
        a = (semantics.T * moments.counts) @ semantics
        c = (1 + self.lam) * (semantics.T @ moments.sums)
        self.weights_ = symmetric_sylvester(a, self.lam * moments.gram, c)
        return self

    def scores(self, features: Array, classes: ClassTable) -> Array:
        """Return (n, k) float64 cosines in the space of `direction`; 0 where a vector has no length."""
        x = self.preprocessor_.transform(features).astype(np.float64)
        semantics = classes.semantics.astype(np.float64)
        weights = _unit(self.weights_) if self.unit_rows else self.weights_
        if self.direction == "f2s":
            return _unit(x @ weights.T) @ _unit(semantics).T
        return _unit(x) @ _unit(semantics @ weights).T


def symmetric_sylvester(a: Array, b: Array, c: Array) -> Array:
    """Return the W of least norm with A W + W B = C, for symmetric positive semi-definite (p, p) A and (q, q) B.

    Two symmetric eigen-decompositions diagonalise the equation. That is five to six times as fast as the Schur
    forms of ``scipy.linalg.solve_sylvester`` at p = 312, q = 2048 with an equal residual, and it stays defined where A
    and B are singular together (more attributes than classes, features that are always 0), where the latter is not.
    """
    alpha, p = np.linalg.eigh(a)
    beta, q = np.linalg.eigh(b)
    total = np.maximum(alpha, 0)[:, None] + np.maximum(beta, 0)
    solvable = total > total.max() * max(total.shape) * np.finfo(np.float64).eps
    rotated = p.T @ c @ q
    out: Array = p @ np.divide(rotated, total, out=np.zeros_like(total), where=solvable) @ q.T
    return out


def _unit(rows: Array) -> Array:
    """Return rows scaled to unit length; rows of zeros stay zero."""
    length: Array = np.linalg.norm(rows, axis=1, keepdims=True)
    out: Array = np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)
    return out
