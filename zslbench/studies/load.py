"""`load` and `load_predictions`: records and what was predicted of each image, as pandas data frames."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zslbench.arrays import AnyArray
from zslbench.errors import BadValue
from zslbench.metrics import order_metrics, predict_classes
from zslbench.results.analysis.gather import mark_sources
from zslbench.results.records.export import typed_column
from zslbench.results.records.record import Record
from zslbench.results.records.store import ResultStore, find_run
from zslbench.studies.plot import class_names
from zslbench.visible import describe_failure, one_line

if TYPE_CHECKING:
    import pandas as pd

PARAM = "param."


def load(runs: Path | str = "runs") -> pd.DataFrame:
    """Return all records as one tidy data frame: a row per record, metrics in percent.

    Columns are ``id``, ``status``, ``method``, ``label`` (as it was typed), ``title``, ``version``, ``setting``;
    ``dataset``, ``features``, ``semantics``; ``protocol``, ``stage``, ``fold``, ``seed``, ``selection``; each metric by
    its name; ``seconds`` (what this result alone takes), ``device``, ``finished``, ``stale`` (whether the source of the
    method has changed since), ``error`` (what went wrong, and where); and each hyper-parameter as ``param.gamma``. What
    a record lacks is missing (``<NA>``).

    Args:
        runs: the folder of records.

    Raises:
        BadValue: there are no records.
    """
    store = ResultStore(runs)
    records = mark_sources(store.load())
    if not records:
        raise BadValue(
            f"there are no records in {store.root}; make some with zslbench.run('eszsl', 'digits'), or name another "
            f"folder: zslbench.load(runs=…). {' '.join(store.left_out)}".rstrip()
        )
    return frame_of_records(records)


def frame_of_records(records: Sequence[Record]) -> pd.DataFrame:
    """Return records as a tidy data frame, a row each, in their order; see `load` for its columns."""
    import pandas as pd

    metrics = order_metrics(name for record in records for name in record.metrics)
    facts = [_describe(record, metrics) for record in records]
    parameters = dict.fromkeys(name for record in records for name in record.method["params"])
    columns = {name: [row[name] for row in facts] for name in facts[0]} if facts else {}
    columns |= {PARAM + name: [record.method["params"].get(name) for record in records] for name in parameters}
    return pd.DataFrame({name: typed_column(values) for name, values in columns.items()})


def _describe(record: Record, metrics: Sequence[str]) -> dict[str, Any]:
    method, data = record.method, record.dataset
    return {
        "id": record.id,
        "status": record.status,
        "method": method["name"],
        "label": record.label,
        **{name: method.get(name) for name in ("title", "version", "setting")},
        "dataset": data["name"],
        **{name: data.get(name) for name in ("features", "semantics")},
        "protocol": record.protocol["name"],
        **{name: getattr(record, name) for name in ("stage", "fold", "seed", "selection")},
        **{name: 100 * record.metrics[name] if name in record.metrics else None for name in metrics},
        "seconds": float(record.timings["total"]) if "total" in record.timings and record.seconds_known else None,
        "device": record.provenance.get("device"),
        "finished": record.provenance.get("finished"),
        "stale": record.provenance.get("source_state", "current") == "changed",
        "error": one_line(describe_failure(record.error)) if record.error.strip() else None,
    }


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class RunPredictions:
    """What a run predicted of each test image, as arrays of one entry per image, by ascending row of the data set.

    Attributes:
        record: the run.
        rows: (n,) int64: rows of the data set; labels: (n,) int64: true classes.
        of_unseen: (n,) bool: whether the true class is an unseen one.
        seen_class, seen_score: (n,) int64 and float64: the best of the seen candidates; −1 and −inf where there is
            none, as under zsl.
        unseen_class, unseen_score: the same of the unseen candidates.
        class_names: by class id; empty where the data set is not on this machine, or is another by now.
    """

    record: Record
    rows: AnyArray
    labels: AnyArray
    of_unseen: AnyArray
    seen_class: AnyArray
    seen_score: AnyArray
    unseen_class: AnyArray
    unseen_score: AnyArray
    class_names: Mapping[int, str]

    @property
    def predicted(self) -> AnyArray:
        """(n,) int64: the candidate with the highest score; of a seen and an unseen one that tie, the seen one."""
        names = ("seen_class", "seen_score", "unseen_class", "unseen_score")
        return predict_classes({name: getattr(self, name) for name in names})

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"<RunPredictions of {self.record.headline}, seed {self.record.seed}: {len(self)} images>"

    def to_frame(self) -> pd.DataFrame:
        """Return a data frame of one row per image, with names of classes (``label_name``, …) where they are known."""
        import pandas as pd

        columns: dict[str, Any] = {"row": self.rows}
        for name, classes in (("label", self.labels), ("predicted", self.predicted)):
            columns[name] = classes
            if self.class_names:
                columns[f"{name}_name"] = [self.class_names[number] for number in classes.tolist()]
        columns |= {"correct": self.predicted == self.labels, "of_unseen": self.of_unseen}
        for kind in ("seen", "unseen"):
            columns |= {f"{kind}_{part}": getattr(self, f"{kind}_{part}") for part in ("class", "score")}
        return pd.DataFrame(columns)


def load_predictions(
    id: str | Path, runs: Path | str = "runs", *, data_root: Path | str | None = None
) -> RunPredictions:
    """Return what a finished run predicted of each test image.

    Args:
        id: of the run, or its first digits (four or more) where they name one run alone, as the column ``id`` of `load`
            has them; or the path of its record.
        runs: the folder of records.
        data_root: where data sets lie that names of classes are read from (default: as in `run`).

    Raises:
        BadValue: no run of this id, or several; or it did not finish.
        StoreError: its predictions are lost or damaged.
    """
    store, _, record = find_run(id, runs)
    if not record.ok:
        raise BadValue(f"run {record.id} is {record.status} and has no predictions; choose one that is ok.")
    arrays = store.predictions(record)
    names = class_names(record, root=None if data_root is None else Path(data_root))
    of_candidates = {
        f"{kind}_{part}": arrays[f"{kind}_{part}"] for kind in ("seen", "unseen") for part in ("class", "score")
    }
    return RunPredictions(
        record=record,
        rows=arrays["row"],
        labels=arrays["label"],
        of_unseen=arrays["of_unseen"],
        **of_candidates,
        class_names=names,
    )
