"""`export`: all records as one table, one row per run, for other tools."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from zslbench.errors import BadValue, Unavailable
from zslbench.files import name_file, write_atomically
from zslbench.results.records.record import Record
from zslbench.results.records.store import ResultStore
from zslbench.visible import csv_cell

if TYPE_CHECKING:
    import pandas as pd

Params = Literal["json", "columns"]
SUFFIXES = (".parquet", ".csv")
_FIELDS = [field.name for field in dataclasses.fields(Record)]
_WHOLE = 2**63


@dataclasses.dataclass(frozen=True)
class Exported:
    """The file that was written, the size of its table, and a sentence on each document that could not be read."""

    path: Path
    rows: int
    columns: int
    broken: tuple[str, ...]


def export(output: Path | str, *, runs: Path | str = "runs", params: Params = "json") -> Exported:
    """Write every record as one line of a Parquet or CSV file.

    A column is named as its place in the record: ``id``, ``status``, ``method.name``, ``metrics.T1``, ``timings.fit``.
    What holds more than one value is JSON text: ``method.params``, ``curve``, and lists or objects elsewhere.

    Args:
        output: a file that ends in .parquet (extra ``parquet``) or .csv.
        runs: the folder of records.
        params: ``columns`` gives each hyper-parameter a column, ``method.params.gamma``; in ``json`` they are one text.

    Raises:
        BadValue: another ending, or no records.
        Unavailable: Parquet without pyarrow.
        StoreError: the file cannot be written.
    """
    path = Path(output)
    if path.suffix.lower() not in SUFFIXES:
        raise BadValue(f"cannot export to {name_file(path)}; name a file that ends in {' or '.join(SUFFIXES)}.")
    store = ResultStore(runs)
    records = store.load()
    if not records:
        raise BadValue(
            f"there are no records in {store.root}; make some with zslbench run, or name a folder with --runs. "
            f"{' '.join(store.left_out)}".rstrip()
        )
    table = frame(records, params)
    content = io.BytesIO()
    if path.suffix.lower() == ".parquet":
        try:
            table.to_parquet(content, engine="pyarrow", index=False)
        except ImportError:
            raise Unavailable(
                "Parquet needs pyarrow; install it with: pip install 'zslbench[parquet]', or export to .csv."
            ) from None
    else:
        table = table.rename(columns=lambda name: csv_cell(name)).map(csv_cell)
        table.to_csv(content, index=False, encoding="utf-8", lineterminator="\n")
    write_atomically(path, lambda file: file.write(content.getvalue()), path.name)
    return Exported(path, len(table), len(table.columns), tuple(why for _, why in store.broken))


def frame(records: Sequence[Record], params: Params = "json") -> pd.DataFrame:
    """Return records as a table, a row each, in their order; see `export` for its columns."""
    import pandas as pd

    rows = [_row(record, params) for record in records]
    names = list(dict.fromkeys(name for row in rows for name in row))
    names.sort(key=lambda name: _FIELDS.index(name.partition(".")[0]))
    return pd.DataFrame({name: typed_column([row.get(name) for row in rows]) for name in names})


def _row(record: Record, params: Params) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for field in _FIELDS:
        value = getattr(record, field)
        if not isinstance(value, Mapping):
            row[field] = _json(value) if isinstance(value, tuple) else value
            continue
        for key, inner in value.items():
            if params == "columns" and (field, key) == ("method", "params"):
                row |= {f"method.params.{name}": param for name, param in inner.items()}
            else:
                row[f"{field}.{key}"] = _json(inner) if isinstance(inner, Mapping | list) else inner
    return row


def typed_column(values: Sequence[Any]) -> pd.Series[Any]:
    """Return values as a column of one type that may lack some; where they are of several types, as JSON texts."""
    import pandas as pd

    kinds = {type(value) for value in values if value is not None}
    if kinds <= {str}:
        return pd.Series(values, dtype="string")
    if kinds == {bool}:
        return pd.Series(values, dtype="boolean")
    if kinds == {int} and all(value is None or -_WHOLE <= value < _WHOLE for value in values):
        return pd.Series(values, dtype="Int64")
    if kinds == {float} or (kinds == {int, float} and all(value is None or abs(value) < 2**53 for value in values)):
        return pd.Series(values, dtype="Float64")
    return pd.Series([None if value is None else _json(value) for value in values], dtype="string")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
