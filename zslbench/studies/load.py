"""`load` and `load_predictions`: records, and the predictions for each image, as pandas data frames."""

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
from zslbench.visible import describe_failure, format_count, one_line

if TYPE_CHECKING:
    import pandas as pd

PARAM = "param."


def load(runs: Path | str = "runs") -> pd.DataFrame:
    """Return all records as one tidy data frame: one row per record, metrics in percent.

    Columns are ``id``, ``status``, ``method``, ``label`` (as it was typed), ``title``, ``version``, ``setting``;
    ``dataset``, ``features``, ``semantics``; ``protocol``, ``stage``, ``fold``, ``seed``, ``selection``; one column per
    metric; ``seconds`` (the time that this result alone takes), ``device``, ``finished``, ``stale`` (whether the source
    of the method has changed since), ``error`` (what went wrong, and where); and one column per hyper-parameter
    (``param.gamma``). A value that a record does not have is missing (``<NA>``).

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
    """Return records as a tidy data frame, one row per record in their order; see `load` for its columns."""
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
    """What a run predicted: arrays with one entry per test image, in ascending order of the data set's rows.

    Attributes:
        record: the run.
        rows: (n,) int64: row of each image in the data set.
        labels: (n,) int64: true classes.
        of_unseen: (n,) bool: whether the true class is an unseen one.
        seen_class, seen_score: (n,) int64 and float64: the best seen candidate and its score; −1 and −inf if there is
            no seen candidate, as under ``zsl``.
        unseen_class, unseen_score: the same for the unseen candidates.
        class_names: by class id; empty if the data set is not on this machine, or its content has changed since.
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
        """(n,) int64: the candidate with the highest score; if a seen and an unseen one tie, the seen one."""
        names = ("seen_class", "seen_score", "unseen_class", "unseen_score")
        return predict_classes({name: getattr(self, name) for name in names})

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return (
            f"<RunPredictions of {self.record.headline}, seed {self.record.seed}: {format_count(len(self), 'image')}>"
        )

    def to_frame(self) -> pd.DataFrame:
        """Return a data frame with one row per image, and names of classes (``label_name``, …) if they are known."""
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
    """Return what a finished run predicted for each test image.

    Args:
        id: the id of the run, its first digits (four or more) if they identify one run (see the column ``id`` of
            `load`), or the path of its record.
        runs: the folder of records.
        data_root: the folder of data sets, from which names of classes are read; None: as in `run`.

    Raises:
        BadValue: no run has this id, several runs have it, or the run did not finish.
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
