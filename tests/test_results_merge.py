"""`results merge`: nothing lost, nothing overwritten by something worse, the sources as they were."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from result_records import files, preset, record, saved, study
from test_migration import GOLDEN, damage

import zslbench
from zslbench.errors import BadValue, StoreError
from zslbench.results.records.store import ResultStore
from zslbench.results.records.tuned_presets import PresetStore

PREDICTIONS = {"label": np.arange(3)}


def test_two_halves_make_the_whole_and_a_second_time_changes_nothing(tmp_path):
    records = study()
    whole = ResultStore(saved(tmp_path / "whole", records)).load()
    halves = [saved(tmp_path / "a", records[::2]), saved(tmp_path / "b", records[1::2])]
    before = [files(half) for half in halves]
    done = zslbench.results.merge(halves, tmp_path / "runs")
    assert (done.added, done.kept, done.ok) == (len(records), 0, True)
    assert ResultStore(tmp_path / "runs").load() == whole
    assert files(tmp_path / "runs") == files(tmp_path / "whole")
    again = zslbench.results.merge(halves, tmp_path / "runs")
    assert (again.added, again.kept, again.ok) == (0, len(records), True)
    assert files(tmp_path / "runs") == files(tmp_path / "whole")
    assert [files(half) for half in halves] == before


def test_all_that_lies_beside_a_record_comes_along(tmp_path):
    theirs, ours = ResultStore(tmp_path / "theirs"), ResultStore(tmp_path / "runs")
    path = theirs.save(record(), PREDICTIONS)
    path.with_suffix(".trace.json.gz").write_bytes(b"trace")
    path.with_suffix(".features.npz").write_bytes(b"features")
    path.with_name("other.txt").write_bytes(b"not ours")
    request = theirs.root / ".requests" / "0123.json"
    request.parent.mkdir()
    request.write_bytes(b"{}")
    zslbench.results.merge(theirs.root, ours.root)
    assert files(theirs.root) == files(ours.root) | {"cub/zsl/eszsl/other.txt": b"not ours"}
    # what is lacking beside an equal record is made good
    ours.path(record()).with_suffix(".npz").unlink()
    zslbench.results.merge(theirs.root, ours.root)
    np.testing.assert_equal(ours.predictions(record()), PREDICTIONS)


@pytest.mark.parametrize(
    ("ours", "theirs", "wins"),
    [
        ("failed", "ok", "theirs"),
        ("ok", "failed", "ours"),
        ("interrupted", "failed", "theirs"),
        ("failed", "interrupted", "ours"),
        ("crashed", "timeout", "ours"),
        ("skipped", "ok", "theirs"),
    ],
)
def test_of_a_run_that_both_have_the_better_record_counts(tmp_path, ours, theirs, wins):
    for side, status in (("ours", ours), ("theirs", theirs)):
        ResultStore(tmp_path / side).save(record(status=status, error=side), PREDICTIONS if status == "ok" else None)
    done = zslbench.results.merge(tmp_path / "theirs", tmp_path / "ours")
    (kept,) = ResultStore(tmp_path / "ours").load()
    assert kept.error == wins
    assert (done.replaced, done.kept) == ((1, 0) if wins == "theirs" else (0, 1))
    assert ResultStore(tmp_path / "ours").path(kept).with_suffix(".npz").exists() == kept.ok


def test_metrics_that_differ_are_told_and_ours_is_kept(typed):
    for folder, accuracy in (("ours", 0.5), ("rounded", 0.5 + 1e-12), ("theirs", 0.25)):
        saved(Path(folder), [record(metrics={"T1": accuracy})])
    assert zslbench.results.merge("rounded", "ours").ok
    code, out, _ = typed("results", "merge", "theirs", "--into", "ours")
    assert (code, "eszsl on CUB (fc1000, att, zsl) has T1 0.25 not 0.5 in" in out) == (1, True)
    assert ResultStore("ours").load() == [record(metrics={"T1": 0.5})]


def test_broken_records_are_told_and_the_rest_is_merged(tmp_path):
    records = study()
    theirs = ResultStore(saved(tmp_path / "theirs", records))
    path = theirs.path(records[0])
    path.write_bytes(path.read_bytes()[:100])
    done = zslbench.results.merge(theirs.root, tmp_path / "ours")
    assert done.added == len(records) - 1
    assert [str(path) in sentence for sentence in done.broken] == [True]
    # a broken one of ours is replaced by theirs
    mine = ResultStore(tmp_path / "ours").path(records[1])
    mine.write_text("{")
    assert zslbench.results.merge(theirs.root, tmp_path / "ours").added == 1
    assert ResultStore(tmp_path / "ours").find("cub", "gzsl", "eszsl", records[1].id) == records[1]


def test_presets_are_merged_and_those_that_differ_told(tmp_path):
    ours, theirs = PresetStore(tmp_path / "ours"), PresetStore(tmp_path / "theirs")
    theirs.save(preset())
    theirs.save(preset(method="ale"))
    ours.save(preset(values={"lam": 3.0}))
    (tmp_path / "theirs" / "tuned" / "bad.json").write_text("[")
    done = zslbench.results.merge(tmp_path / "theirs", tmp_path / "ours")
    assert done.presets == 1
    assert len(done.conflicts) == len(done.broken) == 1
    assert [(kept.method, kept.values) for kept in ours.load()] == [("ale", {"lam": 2.0}), ("sae", {"lam": 3.0})]


def test_a_folder_without_records_is_told(tmp_path):
    (tmp_path / "node" / "runs").mkdir(parents=True)
    done = zslbench.results.merge(tmp_path / "node", tmp_path / "all")
    assert done.ok
    assert done.text.splitlines()[0] == f"{tmp_path / 'node'} holds no records; is another folder meant?"


def test_what_cannot_be_merged_gets_a_sentence(tmp_path):
    saved(tmp_path / "runs", [record()])
    (tmp_path / "file").write_text("")
    for source, sentence in (("none", "does not exist"), ("file", "is a file"), ("runs/../runs", "is merged into")):
        with pytest.raises(BadValue, match=sentence):
            zslbench.results.merge(tmp_path / source, tmp_path / "runs")
    with pytest.raises(StoreError, match="cannot write"):
        zslbench.results.merge(tmp_path / "runs", tmp_path / "file" / "runs")


@settings(max_examples=40)
@given(data=st.data())
def test_damaged_sources_are_told_and_never_harm_what_is_there(data):
    with tempfile.TemporaryDirectory() as name:
        ours, theirs = ResultStore(Path(name, "ours")), Path(name, "theirs")
        for path in GOLDEN:
            folder = theirs / data.draw(st.sampled_from(["a/b/c", "digits/gzsl/eszsl", "a/b"]))
            folder.mkdir(parents=True, exist_ok=True)
            document = folder / f"{json.loads(path.read_bytes())['id']}.json"
            document.write_bytes(damage(data, path.read_bytes()))
            document.with_suffix(".npz").write_bytes(data.draw(st.binary(max_size=20)))
        facts = dataclasses.asdict(preset())
        facts |= data.draw(st.dictionaries(st.sampled_from([*facts]), st.none() | st.integers() | st.text()))
        (theirs / "tuned").mkdir()
        (theirs / "tuned" / "any.json").write_text(json.dumps(facts))
        before = files(theirs)
        done = zslbench.results.merge(theirs, ours.root)
        assert files(theirs) == before
        assert (len(ours.load()), ours.broken) == (done.added, [])
        assert all("\n" not in sentence for sentence in done.broken)
        assert {path.name for path in Path(name).iterdir()} <= {"ours", "theirs"}
