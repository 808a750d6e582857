"""Metrics as pure functions of labels and predictions; all return fractions from 0 to 1."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from zslbench.arrays import AnyArray, Array, BoolArray, IntArray

Predictions = Mapping[str, AnyArray]
"""What is kept of the scores of a query, one entry per image: label, of_unseen (whether of an unseen class), seen_score
and seen_class (the best among seen candidates), unseen_score and unseen_class."""
ACCURACIES = {"zsl": ("T1",), "gzsl": ("U", "S", "H")}
"""Accuracies by protocol: T1, U and S are means over classes, H is the harmonic mean of U and S."""
ORACLE_GAIN = "ΔH cs†"
"""What H gains where the constant of calibrated stacking is chosen on test instead of on the dev folds."""
METRIC_ORDER = ("T1", "U", "S", "H", "U cs", "S cs", "H cs", "U cs†", "S cs†", "H cs†", ORACLE_GAIN, "AUSUC")
"""As the field's tables have them; `` cs``: after calibrated stacking, †: its constant chosen on test."""

_BLOCK = 1 << 22
"""Scores that are looked through at a time."""
NEEDS_ONE_SCALE = ("AUSUC",)
"""Metrics that subtract one constant from the scores of all rows: undefined if rows are on different scales."""


def metric_place(name: str) -> int:
    """Return the place of a metric in a table; unknown ones come last."""
    return METRIC_ORDER.index(name) if name in METRIC_ORDER else len(METRIC_ORDER)


def order_metrics(names: Iterable[str]) -> list[str]:
    """Return each name once, in the order of a table; unknown ones last, by name.

    >>> order_metrics(["H", "mine", "T1", "H"])
    ['T1', 'H', 'mine']
    """
    return sorted(set(names), key=lambda name: (metric_place(name), name))


def class_accuracies(labels: IntArray, predicted: IntArray) -> tuple[IntArray, Array]:
    """Return the (c,) classes that occur in (m,) labels and the top-1 accuracy of each.

    >>> class_accuracies(np.array([0, 0, 2]), np.array([0, 1, 2]))
    (array([0, 2]), array([0.5, 1. ]))
    """
    classes, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    correct = np.bincount(inverse, weights=predicted == labels, minlength=len(classes))
    return classes, correct / counts


def per_class_top1(labels: IntArray, predicted: IntArray) -> float:
    """Return the mean over classes of top-1 accuracy (Xian et al., Eq. 2): every class counts alike.

    >>> per_class_top1(np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0]))
    0.5
    """
    return float(class_accuracies(labels, predicted)[1].mean())


def harmonic_mean(unseen: float, seen: float) -> float:
    """Return H = 2US/(U+S), 0 when both are 0.

    >>> round(harmonic_mean(0.465, 0.579), 3)
    0.516
    >>> harmonic_mean(0.0, 0.0)
    0.0
    """
    return 2 * unseen * seen / (unseen + seen) if unseen + seen > 0 else 0.0


def best_candidates(scores: Array, classes: IntArray, among: BoolArray) -> tuple[Array, IntArray]:
    """Return, for each row of (m, k) scores, the best score among some candidates and its class.

    Equal scores go to the lowest class id, so the order of the candidates does not matter. Without a candidate the
    score is -inf and the class -1.
    """
    if not among.any():
        return np.full(len(scores), -np.inf), np.full(len(scores), -1, dtype=np.int64)
    columns = np.flatnonzero(among)
    columns = columns[np.argsort(classes[columns], kind="stable")]
    value, at = np.empty(len(scores)), np.empty(len(scores), dtype=np.int64)
    rows = max(_BLOCK // len(columns), 1)
    for start in range(0, len(scores), rows):  # the columns of all rows at once would be a copy of the scores
        chosen = scores[start : start + rows, columns]
        at[start : start + rows] = chosen.argmax(axis=1)
        value[start : start + rows] = chosen.max(axis=1)
    return value, classes[columns][at]


def predict_classes(predictions: Predictions, gamma: float = 0.0) -> IntArray:
    """Return (m,) classes by calibrated stacking (Chao et al., 2016): scores of seen classes are lowered by `gamma`.

    Equal scores go to the seen class. It is the margin that is compared, as in `stacking_curve`: the two agree to the
    bit, for any constant.
    """
    seen_wins = predictions["seen_score"] - predictions["unseen_score"] >= gamma
    return np.where(seen_wins, predictions["seen_class"], predictions["unseen_class"])


def stacked_accuracies(predictions: Predictions, gamma: float = 0.0) -> dict[str, float]:
    """Return U, S and H with the scores of seen classes lowered by `gamma`."""
    label, of_unseen, predicted = predictions["label"], predictions["of_unseen"], predict_classes(predictions, gamma)
    unseen, seen = (per_class_top1(label[side], predicted[side]) for side in (of_unseen, ~of_unseen))
    return {"U": unseen, "S": seen, "H": harmonic_mean(unseen, seen)}


def stacking_curve(predictions: Predictions) -> tuple[Array, Array, Array]:
    """Return (t - 1,) margins, (t,) U and (t,) S as the calibration constant sweeps from -inf to +inf (Chao et al.).

    Exact: one point between any two neighbouring margins, U ascending and S descending. Point i holds for constants
    above margin i - 1, up to and including margin i.
    """
    labels, of_unseen = predictions["label"], predictions["of_unseen"]
    weight = np.zeros(len(labels))
    for side in (of_unseen, ~of_unseen):
        classes, inverse, counts = np.unique(labels[side], return_inverse=True, return_counts=True)
        weight[side] = 1.0 / (counts[inverse] * len(classes))
    gain = np.where(of_unseen & (predictions["unseen_class"] == labels), weight, 0.0)
    loss = np.where(~of_unseen & (predictions["seen_class"] == labels), weight, 0.0)
    margins, group = np.unique(predictions["seen_score"] - predictions["unseen_score"], return_inverse=True)
    u = np.concatenate([[0.0], np.cumsum(np.bincount(group, gain, len(margins)))])
    fallen = np.concatenate([[0.0], np.cumsum(np.bincount(group, loss, len(margins)))])
    return margins, u, np.maximum(fallen[-1] - fallen, 0.0)


def ausuc(predictions: Predictions) -> float:
    """Return the area under the seen–unseen accuracy curve by the trapezoid rule.

    >>> given = {"label": np.array([0, 1]), "of_unseen": np.array([False, True])}
    >>> given |= {"seen_score": np.ones(2), "seen_class": np.zeros(2)}
    >>> ausuc(given | {"unseen_score": -np.ones(2), "unseen_class": np.ones(2)})
    0.5
    """
    _, u, s = stacking_curve(predictions)
    area = float(np.sum(np.diff(u) * (s[1:] + s[:-1]) / 2))
    return min(area, 1.0)  # thousands of summands may round a perfect curve above 1
