"""`zslbench.load` and `load_predictions`: records and predictions as data frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from result_records import record, saved
from sklearn.metrics import balanced_accuracy_score

import zslbench
from zslbench.errors import BadValue
from zslbench.results.records.store import ResultStore


def test_a_row_per_record(tmp_path: Path) -> None:
    runs = saved(
        tmp_path,
        [
            record("a", seed=1, metrics={"T1": 0.5}, params={"gamma": 3.0, "deep": True}),
            record("b", "sun", "gzsl", metrics={"U": 0.25, "H": 0.125}, params={"gamma": 0.5}, selection="oracle"),
            record("c", status="failed", error="Traceback\nValueError: Boom\n", stage="dev", fold=2),
        ],
    )
    frame = zslbench.load(runs).set_index("method").sort_index()
    assert list(frame.index) == ["a", "b", "c"]
    assert frame.loc["a", ["T1", "seed", "param.gamma", "param.deep", "dataset"]].to_list() == [
        50.0,
        1,
        3.0,
        True,
        "cub",
    ]
    assert frame.loc["b", ["U", "H", "protocol", "selection"]].to_list() == [25.0, 12.5, "gzsl", "oracle"]
    assert frame.loc["c", ["status", "error", "stage", "fold"]].to_list() == ["failed", "ValueError: Boom", "dev", 2]
    assert frame[["T1", "U", "H"]].isna().to_numpy().tolist() == [[0, 1, 1], [1, 0, 0], [1, 1, 1]]
    assert frame["param.deep"].isna().to_list() == [False, True, True]
    assert len(set(frame["id"])) == 3


def test_no_records(tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="there are no records in"):
        zslbench.load(runs=tmp_path / "nowhere")


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")  # images of unseen digits taken for seen
def test_the_metrics_follow_from_the_frame_of_predictions(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    outcome = zslbench.run("eszsl", "digits", runs=runs)
    assert list(zslbench.load(runs)["stale"]) == [False, False]
    for done in outcome.records:
        predictions = zslbench.load_predictions(done.id[:8], runs)
        assert zslbench.load_predictions(ResultStore(runs).path(done)).rows.tolist() == predictions.rows.tolist()
        frame = predictions.to_frame()
        assert len(frame) == len(predictions)
        of_part = {
            name: balanced_accuracy_score(part["label"], part["predicted"])
            for name, part in (("U", frame[frame["of_unseen"]]), ("S", frame[~frame["of_unseen"]]))
            if len(part)
        }
        expected = {"U": done.metrics["T1"]} if "T1" in done.metrics else {n: done.metrics[n] for n in "US"}
        assert of_part == pytest.approx(expected)
        arrays = ResultStore(runs).predictions(done)
        assert np.array_equal(predictions.seen_score, arrays["seen_score"])
        digits = zslbench.data.load_dataset("digits")
        assert list(frame["label_name"]) == [digits.class_names[label] for label in digits.labels[frame["row"]]]
        assert {*frame["predicted_name"]} <= {*digits.class_names}
        assert (frame["correct"] == (frame["label_name"] == frame["predicted_name"])).all()


def test_ids_that_name_no_run_or_several(tmp_path: Path) -> None:
    runs = saved(tmp_path, [record("a", status="failed", error="Boom"), record("b")])
    failed, ok = ResultStore(runs).load()
    with pytest.raises(BadValue, match="has the id 'ffff'"):
        zslbench.load_predictions("ffff", runs)
    with pytest.raises(BadValue, match="'abc' is not the id of a run"):
        zslbench.load_predictions("abc", runs)
    with pytest.raises(BadValue, match="'' is not the id of a run"):
        zslbench.load_predictions("", runs)
    with pytest.raises(BadValue, match=r"is failed and has no predictions"):
        zslbench.load_predictions(failed.id, runs)
    with pytest.raises(zslbench.errors.StoreError, match="has no predictions at"):
        zslbench.load_predictions(ok.id, runs)
