"""Old records: real ones of every schema load for ever, and the chain of steps brings them up to date."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zslbench.errors import StoreError
from zslbench.results.records import record as module
from zslbench.results.records.record import FIRST, MIGRATIONS, SCHEMA, Record
from zslbench.results.records.store import ResultStore

GOLDEN = sorted((Path(__file__).parent / "golden" / "records").glob("schema-*.json"))
NOW = json.loads(GOLDEN[0].read_bytes())


def damage(data: st.DataObject, raw: bytes) -> bytes:
    """Return bytes up to four pieces of which are others, gone or new."""
    damaged = bytearray(raw)
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at : at + data.draw(st.integers(0, 5))] = data.draw(st.binary(max_size=4))
    return bytes(damaged)


def test_every_schema_has_golden_records_and_a_step_to_the_next():
    assert {int(path.stem.split("-")[1]) for path in GOLDEN} == set(range(FIRST, SCHEMA + 1))
    assert set(MIGRATIONS) == set(range(FIRST, SCHEMA))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_record_of_any_schema_loads_for_ever(path, tmp_path):
    record = Record.from_json(path.read_bytes())
    store = ResultStore(tmp_path)
    store.path(record).parent.mkdir(parents=True)
    store.path(record).write_bytes(path.read_bytes())
    assert (store.load(), store.broken) == ([record], [])
    assert store.find(record.dataset["name"], record.protocol["name"], record.method["name"], record.id) == record
    assert Record.from_json(record.to_json()) == record
    assert record.schema == SCHEMA


def test_what_golden_records_say():
    by_name = {path.stem: Record.from_json(path.read_bytes()) for path in GOLDEN}
    closed, gan, failed = (by_name[f"schema-1-{name}"] for name in ("closed-form", "gan-with-curve", "failed"))
    assert closed.metrics["AUSUC"] == 0.535724846414241
    assert (closed.method["params"]["gamma"], closed.method["stochastic"], closed.stage) == (10.0, False, "final")
    assert [point["step"] for point in gan.curve] == [1, 2, 3]
    assert gan.curve[-1]["metrics"] == gan.metrics
    assert gan.timings["fit"] == 23.6303
    assert (failed.status, failed.ok, failed.metrics) == ("failed", False, {})
    assert failed.error.endswith("RuntimeError: no convergence\n")


def test_reading_does_the_steps_in_order_and_writing_is_of_the_new_schema(monkeypatch):
    old = {**{key: value for key, value in NOW.items() if key != "seed"}, "random_seed": 7, "schema": SCHEMA}
    steps = {
        SCHEMA: lambda document: {**document, "start": document["random_seed"]},
        SCHEMA + 1: lambda document: {**document, "seed": 2 * document["start"]},
    }
    monkeypatch.setattr(module, "SCHEMA", SCHEMA + 2)
    monkeypatch.setattr(module, "MIGRATIONS", steps)
    record = Record.from_json(json.dumps(old))
    assert (record.seed, record.schema, record.id) == (14, SCHEMA + 2, NOW["id"])
    assert json.loads(record.to_json())["schema"] == SCHEMA + 2
    with pytest.raises(StoreError, match=r"is not a zslbench record \('random_seed'\)"):
        Record.from_json(json.dumps({key: value for key, value in old.items() if key != "random_seed"}))


@pytest.mark.parametrize("schema", [0, -1, -(10**30)])
def test_a_schema_that_never_was_gets_a_sentence(schema):
    with pytest.raises(StoreError, match="there has been no schema"):
        Record.from_json(json.dumps({**NOW, "schema": schema}))


@given(data=st.data())
def test_a_damaged_record_is_a_record_or_a_sentence(data):
    raw = damage(data, data.draw(st.sampled_from(GOLDEN)).read_bytes())
    try:
        record = Record.from_json(raw.decode("utf-8", "replace"))
    except StoreError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert Record.from_json(record.to_json()) == record
