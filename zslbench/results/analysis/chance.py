"""Whether runs did hardly better than chance on unseen classes, and what to try then."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from zslbench.arrays import AnyArray
from zslbench.errors import StoreError
from zslbench.identity import canonical_json
from zslbench.results.records.record import Record

FEWEST = 10
"""Unseen classes below which nothing is said: among few, twice chance is no sign of a fault."""

Predictions = Callable[[Record], Mapping[str, AnyArray]]


def near_chance(records: Iterable[Record], predictions: Predictions) -> list[str]:
    """Return a sentence for each method and data set with a final run whose T1 or U is under twice chance.

    Chance is 100 % over the number of candidates, counted as the classes that have test images: the unseen ones for T1,
    all for U. U is left out where T1 is named. Candidates of oracle selection do not count, nor do runs on data of
    which no predictions can be read.
    """
    weak: dict[tuple[str, str, str], list[tuple[float, int, Record]]] = {}
    known: dict[tuple[str, str], tuple[int, int]] = {}  # all runs on the same data have the same test images
    for record in records:
        metric = next((name for name in ("T1", "U") if name in record.metrics), "")
        if not metric or record.metrics[metric] >= 2 / FEWEST or record.stage == "dev" or record.selection == "oracle":
            continue
        data = record.dataset["fingerprint"], canonical_json(dict(record.protocol))
        if data not in known:
            try:
                arrays = predictions(record)
            except StoreError:
                continue
            labels, of_unseen = arrays["label"], arrays["of_unseen"]
            known[data] = len(np.unique(labels)), len(np.unique(labels[of_unseen]))
        candidates, unseen = known[data]
        if unseen >= FEWEST and record.metrics[metric] < 2 / candidates:
            key = (str(record.method["name"]), str(record.dataset["name"]), metric)
            weak.setdefault(key, []).append((record.metrics[metric], candidates, record))
    return [
        _sentence(metric, min(runs, key=lambda run: run[0]), len(runs))
        for (method, dataset, metric), runs in weak.items()
        if metric == "T1" or (method, dataset, "T1") not in weak
    ]


def _sentence(metric: str, lowest: tuple[float, int, Record], runs: int) -> str:
    accuracy, candidates, record = lowest
    params = record.method.get("params", {})
    tries = [f"`zslbench tune {record.method['name']} -d …`"]
    tries += [f"another preprocess than {params['preprocess']}"] if "preprocess" in params else []
    tries += ["targets=binary"] if params.get("targets") == "signed" else []
    tries += ["`run --calibrate`, as seen classes may take all"] if metric == "U" else []
    others = f" (and {runs - 1} more)" if runs > 1 else ""
    return (
        f"{record.method.get('label', record.method['name'])}{others} on {record.dataset['name']}: {metric} "
        f"{100 * accuracy:.1f} is under twice chance, {200 / candidates:.1f} among {candidates} candidates; try "
        f"{', or '.join(tries)}."
    )
