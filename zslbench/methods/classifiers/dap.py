"""DAP: direct attribute prediction (Lampert et al., 2009 and 2014)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Self

import numpy as np

from zslbench.arrays import Array, IntArray
from zslbench.errors import BadValue
from zslbench.methods.base import Context, Method, MethodCard
from zslbench.methods.preprocess import attribute_values, check_chain, prepare
from zslbench.params import Between, param
from zslbench.task import ClassTable, Train

if TYPE_CHECKING:
    from zslbench.methods.classifiers.linear_models import Linear

HELD_OUT = 10
"""Platt scaling is fitted on every tenth row of the training rows sorted by class."""
_PLATT_RIDGE = 1e-9


@dataclasses.dataclass(kw_only=True)
class DAP(Method):
    """Direct attribute prediction: one probabilistic classifier p(a_m = 1 | x) for each binary attribute.

    A class c with binary attributes a^c scores log Π_m p(a_m = a_m^c | x) / p(a_m^c); p(a_m) is the share of seen
    classes that have attribute m. Attributes that all seen classes have, or none has, are left out: nothing can be
    learned about them.
    """

    card = MethodCard(
        title="DAP",
        summary="one classifier per binary attribute; the score of a class multiplies their probabilities",
        citation="lampert2014attribute",
        reference="Lampert, Nickisch & Harmeling, Attribute-based classification for zero-shot visual object "
        "categorization, TPAMI 2014",
        stochastic=False,
        formula="score(x, c) = Σ_m log p(a_m = a_m^c | x) − log p(a_m^c)",
        differences=(
            "The paper uses SVMs with a χ² kernel on histograms. Here, on features of a network, the classifiers are "
            "linear: logistic regression, or an SVM with squared hinge loss and Platt scaling.",
            "The paper's binary attributes were made by humans. Here `original_att` is cut at a threshold computed "
            "from seen classes alone, by a rule that is a parameter (for CUB, with values in percent, rule=half is "
            "the usual cut at 50).",
            "An attribute that is constant over the seen classes is left out; public code sets its prior to one half "
            "and keeps a classifier that has seen only one label.",
            "Platt scaling holds out every tenth training row of the sorted classes, not a random tenth, so that no "
            "seed is involved.",
            "Platt scaling regularises slope and intercept only by 1e-9, which keeps them finite if the held-out rows "
            "have only one label.",
        ),
    )
    libraries = ("zslbench.methods.classifiers.linear_models",)
    space = {
        "l2": Between(1e-3, 10.0, log=True),
        "rule": ("mean", "half", "attribute"),
        "preprocess": ("standard", "l2"),
    }
    check_params = {"rule": "attribute"}

    classifier: str = param(
        "logistic", choices=("logistic", "svm"), help="logistic regression, or a linear SVM with Platt scaling"
    )
    l2: float = param(0.1, low=1e-8, high=1e4, log=True, help="ridge of a classifier against its mean loss")
    rule: str = param(
        "mean",
        choices=("mean", "half", "attribute"),
        help="an attribute is present above: the mean of all values of seen classes, the middle of their range, or "
        "the attribute's own mean",
    )
    preprocess: str = param("standard", validate=check_chain, help="chain of none, minmax, standard, l2, clip")

    def fit(self, train: Train, ctx: Context) -> Self:
        """Fit the classifiers."""
        classes, self.preprocessor_, features, positions = prepare(train, self.preprocess)
        self.original_ = classes.original is not None
        values = self._values(classes)
        if not (self.original_ or np.isin(values, (0.0, 1.0)).all()):
            raise BadValue(
                f"DAP: these semantics are neither attributes nor 0 and 1 (values from {values.min():.3g} to "
                f"{values.max():.3g} without original_att), and DAP is not defined for sentences; choose attributes "
                "with --semantics, or another method."
            )
        self.thresholds_ = _thresholds(values, self.rule)
        present = values > self.thresholds_
        share = present.mean(axis=0)
        self.used_ = np.flatnonzero((share > 0) & (share < 1))
        if not len(self.used_):
            raise BadValue(
                f"DAP: rule={self.rule} makes every one of {values.shape[1]} attributes equal over the "
                f"{len(classes)} seen classes; choose another rule."
            )
        self.prior_ = share[self.used_]
        self.model_ = self._fit_classifiers(features, positions, present[:, self.used_].astype(np.float64))
        return self

    def scores(self, features: Array, classes: ClassTable) -> Array:
        """Return (n, k) float64 scores log p(a^c | x) / p(a^c), summed over attributes."""
        present = (self._values(classes) > self.thresholds_)[:, self.used_].astype(np.float64)
        logits = self.model_.scores(self.preprocessor_.transform(features))
        # log p = −log(1 + e^−z) and log(1 − p) = −log(1 + e^z): no probability is ever rounded to 0
        yes = -np.logaddexp(0.0, -logits) - np.log(self.prior_)
        no = -np.logaddexp(0.0, logits) - np.log1p(-self.prior_)
        out: Array = (yes - no) @ present.T + no.sum(axis=1, keepdims=True)
        return out

    def _values(self, classes: ClassTable) -> Array:
        return attribute_values(classes, self.original_, "DAP").astype(np.float64)

    def _fit_classifiers(self, features: Array, positions: IntArray, targets: Array) -> Linear:
        """Return the linear model whose scores are log-odds; targets are (classes, m) 0 and 1."""
        from zslbench.methods.classifiers.linear_models import logistic, squared_hinge

        if self.classifier == "logistic":
            return logistic(features, targets[positions], self.l2)
        order = np.argsort(positions, kind="stable")
        held = order[HELD_OUT - 1 :: HELD_OUT]
        fitted = np.setdiff1d(order, held)
        if not len(held):  # fewer than ten rows: calibrate on all of them
            held = fitted = order
        machine = squared_hinge(features[fitted], 2.0 * targets[positions[fitted]] - 1.0, self.l2, bias=True)
        return platt_scaled(machine, machine.scores(features[held]), targets[positions[held]])


def platt_scaled(machine: Linear, scores: Array, targets: Array) -> Linear:
    """Return `machine` with scores turned into log-odds by Platt scaling (2000) on (h, m) held-out scores and targets.

    For each target a sigmoid σ(A s + B) is fitted to smoothed targets (N₊ + 1)/(N₊ + 2) and 1/(N₋ + 2).
    """
    from zslbench.methods.classifiers.linear_models import Linear, logistic

    positives = targets.sum(axis=0)
    soft = np.where(targets > 0, (positives + 1) / (positives + 2), 1 / (len(targets) - positives + 2))
    deviation = scores.std(axis=0)
    deviation[deviation == 0] = 1.0
    scaled = scores / deviation
    sigmoids = [logistic(scaled[:, [j]], soft[:, [j]], _PLATT_RIDGE, tolerance=1e-8) for j in range(scores.shape[1])]
    slope = np.array([float(sigmoid.weights[0, 0]) for sigmoid in sigmoids]) / deviation
    intercept = np.array([float(sigmoid.bias[0]) for sigmoid in sigmoids])
    return Linear(machine.weights * slope, machine.bias * slope + intercept)


def _thresholds(values: Array, rule: str) -> Array:
    """Return (a,) values above which an attribute is present, from (c, a) values of seen classes."""
    if rule == "attribute":
        means: Array = values.mean(axis=0)
        return means
    threshold = values.mean() if rule == "mean" else (values.min() + values.max()) / 2
    return np.full(values.shape[1], float(threshold))
