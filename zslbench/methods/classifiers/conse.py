"""CONSE: a convex combination of semantic embeddings (Norouzi et al., 2014)."""

from __future__ import annotations

import dataclasses
from typing import Self

import numpy as np

from zslbench.arrays import Array
from zslbench.methods.base import Context, Method, MethodCard
from zslbench.methods.preprocess import check_chain, prepare
from zslbench.params import Between, param
from zslbench.task import ClassTable, Train


@dataclasses.dataclass(kw_only=True)
class CONSE(Method):
    """Convex combination of semantic embeddings: a softmax regression over seen classes, transferred to semantics.

    An image is placed at f(x) = Σ_{t ≤ T} p(ĉ_t | x) a_{ĉ_t} / Σ_{t ≤ T} p(ĉ_t | x), where ĉ_1, …, ĉ_T are its T
    likeliest seen classes. The candidate with the largest cosine is predicted. In generalized ZSL this is nearly always
    a seen class, by construction: f(x) lies among the semantics of seen classes.
    """

    card = MethodCard(
        title="CONSE",
        summary="semantics of the likeliest seen classes averaged by their probability, then cosine",
        citation="norouzi2014conse",
        reference="Norouzi et al., Zero-shot learning by convex combination of semantic embeddings, ICLR 2014",
        stochastic=False,
        formula="f(x) = Σ_{t≤T} p(ĉ_t|x) a_{ĉ_t} / Σ_{t≤T} p(ĉ_t|x);  score(x, a) = cos(f(x), a)",
        differences=(
            "The paper uses the class probabilities of a network trained end to end; here they come from a softmax "
            "regression with an L2 penalty on fixed features, solved to the optimum.",
            "If the T-th and the next class are equally likely, the one that is first in the canonical order of the "
            "classes is used; the paper says nothing about ties.",
        ),
    )
    libraries = ("zslbench.methods.classifiers.linear_models",)
    space = {"top": (1, 2, 3, 5, 10, 20), "l2": Between(1e-6, 1.0, log=True), "preprocess": ("standard", "l2")}

    top: int = param(5, low=1, high=10_000, log=True, help="number of seen classes whose semantics are averaged (T)")
    l2: float = param(1e-2, low=1e-8, high=1e4, log=True, help="ridge of the softmax regression against its mean loss")
    preprocess: str = param("standard", validate=check_chain, help="chain of none, minmax, standard, l2, clip")

    def fit(self, train: Train, ctx: Context) -> Self:
        """Fit the softmax regression over seen classes."""
        from zslbench.methods.classifiers.linear_models import softmax_regression

        classes, self.preprocessor_, features, positions = prepare(train, self.preprocess)
        self.model_ = softmax_regression(features, positions, len(classes), self.l2)
        self.semantics_ = classes.semantics.astype(np.float64)
        return self

    def scores(self, features: Array, classes: ClassTable) -> Array:
        """Return (n, k) float64 cosines; 0 if a vector has length 0."""
        embedded = self.embed(features)
        semantics = classes.semantics.astype(np.float64)
        products = embedded @ semantics.T
        lengths = np.outer(np.linalg.norm(embedded, axis=1), np.linalg.norm(semantics, axis=1))
        out: Array = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
        return out

    def embed(self, features: Array) -> Array:
        """Return the (n, a) semantics f(x) of (n, d) features."""
        from scipy.special import softmax

        likely = softmax(self.model_.scores(self.preprocessor_.transform(features)), axis=1)
        kept = np.argsort(-likely, axis=1, kind="stable")[:, : self.top]
        chosen = np.take_along_axis(likely, kept, axis=1)
        weights = np.zeros_like(likely)
        np.put_along_axis(weights, kept, chosen / chosen.sum(axis=1, keepdims=True), axis=1)
        out: Array = weights @ self.semantics_
        return out
