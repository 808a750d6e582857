"""What `run --keep-features` keeps: synthesised and real rows of unseen classes, for pictures and nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import zslbench.data.splits as splits
from zslbench import seeding
from zslbench.arrays import AnyArray, Array, IntArray, taken
from zslbench.data.dataset import Dataset
from zslbench.methods.base import Method
from zslbench.methods.preprocess import Preprocessor
from zslbench.runner.finished import Finished, Synthesis, trace
from zslbench.runner.handout import Material, dataset_of
from zslbench.runner.runs import Job
from zslbench.visible import last_line

_ROWS_SEED = 0
_COARSEST = 2.0**-10
"""Of what is largest: the error that half precision may bring."""


def synthesise_unseen(method: Method, per_class: int, material: Material) -> Synthesis | None:
    """Return what a scored method synthesises of each unseen class, None where nothing is asked for or it makes none.

    Called when everything was scored, so no number depends on it. A method that raises here keeps its numbers; its
    record says why it has no features. No real row reaches the method: its preprocessor, as it was before, goes along.

    Args:
        per_class: rows of each unseen class; 0: none.
    """
    if not per_class or not type(method).offers_synthesis():
        return None
    kept = getattr(method, "preprocessor_", None)
    scaling = kept.copy() if type(kept) is Preprocessor else Preprocessor("none")
    before = dict(vars(method))
    try:
        return Synthesis(method.synthesise(material.unseen(), per_class), scaling)
    except (Exception, SystemExit) as error:
        return Synthesis(None, scaling, last_line(trace(error)))
    finally:  # attributes alone: no test row was there to be kept elsewhere
        vars(method).clear()
        vars(method).update(before)


def with_features(results: list[Finished], made: Sequence[Synthesis | None], job: Job) -> list[Finished]:
    """Return the results of a fit with what is to be kept of its features."""
    known: dict[int, tuple[Mapping[str, AnyArray] | None, Mapping[str, Any]]] = {}
    out = []
    for result, rows in zip(results, made, strict=True):
        if rows is None or not result.record.ok:
            out.append(result)
            continue
        if id(rows) not in known:
            known[id(rows)] = _arrays(rows, job)
        out.append(_with(result, *known[id(rows)]))
    return out


def _arrays(made: Synthesis, job: Job) -> tuple[Mapping[str, AnyArray] | None, Mapping[str, Any]]:
    if made.rows is None:
        return None, {"error": made.error}
    try:
        return kept(made.rows, made.scaling, job.how.keep_features, *dataset_of(job.first))
    except Exception as error:
        return None, {"error": last_line(trace(error))}


def kept(
    made: Array, scaling: Preprocessor, per_class: int, dataset: Dataset, chosen: splits.Split
) -> tuple[dict[str, AnyArray], dict[str, Any]]:
    """Return the arrays to keep of what a method synthesised, and what the record says of them.

    ``synthesised`` (k · per_class, d) with its class ids in ``synthesised_label``; ``real`` (r, d), up to `per_class`
    test rows of each unseen class, with ``real_label``. Which rows these are depends on the data set alone, and fewer
    are the first of more: methods can be drawn beside each other. A copy of the method's preprocessor brings real rows
    into the space of the synthesised ones.

    Raises:
        ValueError: the method returned rows of another shape.
    """
    rows = _real_rows(dataset, chosen, per_class)
    real = scaling.transform(taken(dataset.features, rows))
    if made.shape != (len(chosen.unseen), per_class, real.shape[1]):
        raise ValueError(
            f"the method synthesised rows of shape {made.shape}; {len(chosen.unseen)} × {per_class} were asked for"
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
    of_classes = [
        seeding.stream(_ROWS_SEED, f"pictured rows {label}").permutation(chosen.asked_unseen[labels == label])
        for label in chosen.unseen
    ]
    return np.concatenate([rows[:per_class] for rows in of_classes])


def _stored(rows: Array) -> Array:
    """Return rows in half precision, which halves the file and which no picture shows, where that keeps them."""
    with np.errstate(over="ignore"):
        half = rows.astype(np.float16)
    largest = np.abs(rows).max(initial=0.0)
    return half if np.abs(half - rows).max(initial=0.0) <= _COARSEST * largest else rows.astype(np.float32)


def _with(result: Finished, arrays: Mapping[str, AnyArray] | None, about: Mapping[str, Any]) -> Finished:
    provenance = {**result.record.provenance, "kept_features": dict(about)}
    return dataclasses.replace(
        result, record=dataclasses.replace(result.record, provenance=provenance), features=arrays
    )
