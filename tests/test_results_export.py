"""`results export`: a line a run, from which the records can be had back."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from result_records import record, saved, study
from test_migration import GOLDEN

import zslbench
from zslbench.errors import BadValue, StoreError, Unavailable
from zslbench.results.records.export import frame
from zslbench.results.records.record import Record
from zslbench.results.records.store import ResultStore

TEXTS = ("curve", "method.params", "protocol.params", "provenance.packages")


def records() -> list[Record]:
    golden = [Record.from_json(path.read_text(encoding="utf-8")) for path in GOLDEN]
    odd = record("sae", seed=3, label='sae[lam=1],"x"\n=cmd|', params={"big": 2**70, "text": "1", "flag": True})
    return [*golden, *study(), odd]


def documents(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the documents that the rows of a table tell of."""
    rows = []
    for row in table.to_dict("records"):
        parts = ("method", "dataset", "protocol", "metrics", "timings", "memory", "provenance", "losses")
        document: dict[str, Any] = {part: {} for part in parts}
        for name, value in row.items():
            if not pd.isna(value):
                part, _, key = name.partition(".")
                (document[part] if key else document)[key or part] = json.loads(value) if name in TEXTS else value
        rows.append(document)
    return rows


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_reading_back_gives_the_records(tmp_path, suffix):
    store = ResultStore(saved(tmp_path / "runs", records()))
    done = zslbench.results.export(tmp_path / f"all.{suffix}", runs=store.root)
    if suffix == "parquet":
        table = pd.read_parquet(done.path)
    else:
        table = pd.read_csv(done.path, engine="python", dtype_backend="numpy_nullable")
        table["error"] = table["error"].fillna("")
    wanted = [json.loads(record.to_json()) for record in store.load()]
    assert documents(table) == wanted
    assert (done.rows, done.columns, done.broken) == (len(wanted), len(table.columns), ())
    assert list(table.columns)[:4] == ["id", "status", "method.name", "method.version"]


def test_hyper_parameters_may_have_columns(tmp_path):
    saved(tmp_path / "runs", records())
    done = zslbench.results.export(tmp_path / "all.parquet", runs=tmp_path / "runs", params="columns")
    table = pd.read_parquet(done.path)
    assert "method.params" not in table.columns
    assert set(table["method.params.gamma"].dropna()) == {10.0, 1000.0}
    assert table["method.params.gamma"].dtype == "Float64"
    assert set(table["method.params.souls"].dropna()) == {3}
    assert str(table["method.params.souls"].dtype) == "Int64"
    assert set(table["method.params.big"].dropna()) == {str(2**70)}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("t.xlsx", "ends in .parquet or .csv"), ("t", "ends in .parquet or .csv"), ("no/t.csv/t.csv", None)],
)
def test_what_cannot_be_written_gets_a_sentence(tmp_path, name, sentence):
    saved(tmp_path / "runs", [record()])
    (tmp_path / "no").write_text("")
    with pytest.raises((BadValue, StoreError), match=sentence or "cannot write"):
        zslbench.results.export(tmp_path / name, runs=tmp_path / "runs")


def test_no_records_and_no_pyarrow_get_a_sentence(tmp_path, monkeypatch):
    with pytest.raises(BadValue, match="no records in"):
        zslbench.results.export(tmp_path / "t.csv", runs=tmp_path / "none")
    saved(tmp_path / "runs", [record()])
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # to import it is an error
    with pytest.raises(Unavailable, match=r"pip install 'zslbench\[parquet\]'"):
        zslbench.results.export(tmp_path / "t.parquet", runs=tmp_path / "runs")
    assert not (tmp_path / "t.parquet").exists()
    assert zslbench.results.export(tmp_path / "t.csv", runs=tmp_path / "runs").rows == 1


ANY = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@settings(max_examples=30, deadline=10_000)
@given(values=st.lists(st.dictionaries(st.text(max_size=3), ANY | st.lists(ANY, max_size=2), max_size=3), min_size=1))
def test_whatever_records_hold_makes_a_table(tmp_path_factory, values):
    made = [record(seed=number, params=params) for number, params in enumerate(values)]
    path = Path(tmp_path_factory.getbasetemp()) / "any.parquet"
    frame(made, "columns").to_parquet(path)
    frame(made, "json").to_parquet(path)
    assert [json.loads(text) for text in pd.read_parquet(path)["method.params"]] == values
