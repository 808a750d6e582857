"""What `run --keep-features` keeps: synthesised and real rows of unseen classes, for pictures and nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

import zslbench.protocols.splits as splits
from zslbench import seeding
from zslbench.arrays import AnyArray, Array, IntArray, taken
from zslbench.data.dataset import Dataset
from zslbench.methods.base import Method
from zslbench.methods.preprocess import Preprocessor
from zslbench.results.wording import last_line
from zslbench.runner.finished import Finished, trace
from zslbench.runner.judging import unchanged

_ROWS_SEED = 0
_COARSEST = 2.0**-10
"""Of what is largest: the error that half precision may bring."""


def with_features(
    results: list[Finished], method: Method, per_class: int, dataset: Dataset, chosen: splits.Split
) -> list[Finished]:
    """Return the results of a fit with what is to be kept of its features, where it was scored and makes any.

    Called when everything was scored, so no number depends on it. A method that raises here keeps its numbers; its
    record says why it has no features.

    Args:
        per_class: rows to keep of each unseen class, synthesised and real; 0: none.
    """
    if not per_class or not type(method).offers_synthesis() or not any(one.record.ok for one in results):
        return results
    arrays: Mapping[str, AnyArray] | None = None
    try:
        arrays, about = kept(method, per_class, dataset, chosen)
    except (Exception, SystemExit) as error:
        about = {"error": last_line(trace(error))}
    return [_with(one, arrays, about) if one.record.ok else one for one in results]


def kept(
    method: Method, per_class: int, dataset: Dataset, chosen: splits.Split
) -> tuple[dict[str, AnyArray], dict[str, Any]]:
    """Return the arrays to keep of a fitted method, and what the record says of them.

    ``synthesised`` (k · per_class, d) with its class ids in ``synthesised_label``; ``real`` (r, d), up to `per_class`
    test rows of each unseen class, with ``real_label``. Which rows these are depends on the data set alone, and fewer
    are the first of more: methods can be drawn beside each other. No real row reaches the method; a copy of its
    preprocessor brings them into the space of the synthesised ones.

    Raises:
        ValueError: the method returned rows of another shape.
    """
    classes = splits.class_table(dataset, chosen.unseen)
    with unchanged(method):
        made = method.synthesise(classes, per_class)
    rows = _real_rows(dataset, chosen, per_class)
    own = getattr(method, "preprocessor_", None)
    scaling = own.copy() if type(own) is Preprocessor else Preprocessor("none")
    real = scaling.transform(taken(dataset.features, rows))
    if made.shape != (len(classes), per_class, real.shape[1]):
        raise ValueError(
            f"the method synthesised rows of shape {made.shape}; {len(classes)} × {per_class} were asked for"
        )
    stored = _stored(np.concatenate([made.reshape(-1, made.shape[2]), real]))
    arrays = {
        "synthesised": stored[: len(stored) - len(real)],
        "synthesised_label": chosen.unseen.repeat(per_class),
        "real": stored[len(stored) - len(real) :],
        "real_label": taken(dataset.labels, rows),
    }
    return arrays, {"per_class": per_class, "space": scaling.chain, "dtype": str(stored.dtype)}


def _real_rows(dataset: Dataset, chosen: splits.Split, per_class: int) -> IntArray:
    """Return up to `per_class` rows of each unseen class."""
    labels = dataset.labels[chosen.asked_unseen]
    found = [
        seeding.stream(_ROWS_SEED, f"pictured rows {label}").permutation(chosen.asked_unseen[labels == label])
        for label in chosen.unseen
    ]
    return np.concatenate([rows[:per_class] for rows in found])


def _stored(rows: Array) -> Array:
    """Return rows in half precision, which halves the file and which no picture shows, where that keeps them."""
    with np.errstate(over="ignore"):
        half = rows.astype(np.float16)
    largest = np.abs(rows).max(initial=0.0)
    return half if np.abs(half - rows).max(initial=0.0) <= _COARSEST * largest else rows.astype(np.float32)


def _with(one: Finished, arrays: Mapping[str, AnyArray] | None, about: Mapping[str, Any]) -> Finished:
    provenance = {**one.record.provenance, "kept_features": dict(about)}
    return dataclasses.replace(one, record=dataclasses.replace(one.record, provenance=provenance), features=arrays)
