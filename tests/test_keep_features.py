"""`run --keep-features`: what is kept, that it moves no number, and what is said where nothing is kept."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import pytest
from click.testing import CliRunner
from faults import same_numbers
from sklearn.preprocessing import MinMaxScaler
from toy_methods import Ridge

import zslbench
from zslbench.arrays import Array
from zslbench.cli import cli
from zslbench.data.loading import load_dataset
from zslbench.errors import BadValue, StoreError
from zslbench.params import param
from zslbench.results.records.store import ResultStore
from zslbench.task import ClassTable

HERE = "test_keep_features"
TINY = "hidden=8,epochs=1,pretrain_epochs=1,final_epochs=1,per_class=4"
LISGAN = f"lisgan[{TINY}]"
GAZSL = "gazsl[hidden=8,iterations=2,batch=16,per_class=4]"


@dataclasses.dataclass(kw_only=True)
class Maker(Ridge):
    """Synthesises rows that tell their class: its semantics, repeated along the columns, times a scale."""

    ridge: float = param(1.0, low=0.0, high=1e6, log=True, help="ridge")
    scale: float = param(1.0, low=0.0, high=1e9, help="of what is synthesised")
    wrong: bool = param(False, help="whether rows of another shape are returned")
    shown: ClassVar[list[tuple[int, ...]]] = []

    def synthesise(self, classes: ClassTable, per_class: int) -> Array:
        self.weights_ = np.zeros(1)  # the runner takes back whatever is changed here
        self.preprocessor_ = self  # and brings no test row to what is no Preprocessor
        made = np.resize(classes.semantics, (len(classes), 64)) * self.scale
        return np.repeat(made[:, None], per_class + self.wrong, axis=1).astype(np.float32)

    def transform(self, features: Array) -> Array:
        type(self).shown.append(features.shape)
        return features


def features_of(runs, outcome):
    return [ResultStore(runs).features(record) for record in outcome.records]


@pytest.mark.parametrize(
    ("method", "together"),
    [
        (LISGAN, "never"),
        (LISGAN, "always"),
        (GAZSL, "never"),
        (f"fclswgan[{TINY.replace('per_class=4', 'per_class=[4,5]')}]", "never"),  # a grid
    ],
)
def test_no_number_depends_on_it(method, together, tmp_path):
    plain, beside = (
        zslbench.run(method, "digits", runs=tmp_path / str(kept), seeds=2, seeds_at_once=together, keep_features=kept)
        for kept in (0, 7)
    )
    assert not plain.failed
    same_numbers(tmp_path / "0", tmp_path / "7")
    assert len(features_of(tmp_path / "7", beside)) == len(plain.records) == len(beside.records)


def test_both_kinds_are_in_the_space_of_the_method_and_real_rows_are_test_rows(tmp_path):
    outcome = zslbench.run([LISGAN, GAZSL], "digits", "zsl", runs=tmp_path, seeds=2, keep_features=9)
    data = load_dataset("digits")
    scaled = MinMaxScaler().fit(data.features[data.trainval]).transform(data.features).astype(np.float16)
    everything = features_of(tmp_path, outcome)
    for record, there in zip(outcome.records, everything, strict=True):
        about = {"per_class": 9, "space": "minmax", "dtype": "float16"}
        assert record.provenance["kept_features"] == about
        assert list(there["synthesised_label"]) == [label for label in sorted(data.unseen) for _ in range(9)]
        assert there["synthesised"].shape == (9 * len(data.unseen), data.features.shape[1])
        assert list(there["real_label"]) == list(there["synthesised_label"])
        for row, label in zip(there["real"], there["real_label"], strict=True):
            own = data.test_unseen[data.labels[data.test_unseen] == label]
            assert np.abs(scaled[own] - row).max(axis=1).min() < 1e-3
        assert len(np.unique(there["real"], axis=0)) == len(there["real"])
        np.testing.assert_array_equal(there["real"], everything[0]["real"])  # whatever method and seed
    assert not np.array_equal(everything[0]["synthesised"], everything[1]["synthesised"])  # seeds draw for themselves
    fewer = zslbench.run(LISGAN, "digits", "zsl", runs=tmp_path / "fewer", keep_features=4)
    (small,) = features_of(tmp_path / "fewer", fewer)
    for label in data.unseen:
        first = everything[0]["real"][everything[0]["real_label"] == label][:4]
        np.testing.assert_array_equal(small["real"][small["real_label"] == label], first)


def test_rows_belong_to_their_class_and_the_method_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(Maker, "shown", [])
    outcome = zslbench.run(f"{HERE}:Maker", "digits", runs=tmp_path, keep_features=10_000)
    data = load_dataset("digits")
    one, other = features_of(tmp_path, outcome)
    unseen = np.sort(data.unseen)
    for label, wanted in zip(unseen, np.resize(data.semantics[unseen], (len(unseen), 64)), strict=True):
        np.testing.assert_allclose(one["synthesised"][one["synthesised_label"] == label], [wanted] * 10_000, rtol=1e-3)
        available = (data.labels[data.test_unseen] == label).sum()
        assert (one["real_label"] == label).sum() == available
    np.testing.assert_array_equal(one["real"], other["real"])
    assert outcome.records[0].provenance["kept_features"]["space"] == "none"
    assert not Maker.shown
    alone = zslbench.run("toy_methods:Ridge", "digits", runs=tmp_path / "alone")
    assert [one.metrics for one in outcome.records] == [one.metrics for one in alone.records]


def test_rows_beyond_half_precision_are_kept_in_single_and_a_fault_costs_no_number(tmp_path):
    methods = [f"{HERE}:Maker[{changed}]" for changed in ("scale=1e6", "wrong=true")]
    outcome = zslbench.run(methods, "digits", "zsl", runs=tmp_path, keep_features=3)
    large, wrong = outcome.records
    features = ResultStore(tmp_path).features(large)
    assert np.isfinite(features["synthesised"]).all()
    assert features["synthesised"].dtype.name == large.provenance["kept_features"]["dtype"] == "float32"
    assert wrong.metrics["T1"] > 0
    assert "shape (3, 4, 64); 3 × 3" in wrong.provenance["kept_features"]["error"]
    assert any("no features could be kept" in text for text in outcome.remarks)
    assert len(list(tmp_path.rglob("*.features.npz"))) == 1


def test_a_repeat_without_it_leaves_no_file_behind(tmp_path):
    words = ["run", "-m", f"{HERE}:Maker", "-d", "digits", "-p", "zsl", "--runs", str(tmp_path), "-q"]
    assert CliRunner().invoke(cli, [*words, "--keep-features", "2"]).exit_code == 0
    assert len(list(tmp_path.rglob("*.features.npz"))) == 1
    (record,) = ResultStore(tmp_path).load()
    zslbench.run(f"{HERE}:Maker", "digits", "zsl", runs=tmp_path, rerun="all")
    assert not list(tmp_path.rglob("*.features.npz"))
    with pytest.raises(StoreError, match=r"has no kept features .*--keep-features 50 --rerun all"):
        ResultStore(tmp_path).features(record)
    with pytest.raises(BadValue, match="keep_features=-1"):
        zslbench.run("eszsl", "digits", runs=tmp_path, keep_features=-1)


def test_finished_runs_without_features_and_methods_that_make_none_are_named(tmp_path):
    methods = [f"{HERE}:Maker", "eszsl", "toy_methods:Ridge"]
    zslbench.run(methods, "digits", "zsl", runs=tmp_path)
    for asked, sentences in ((0, 0), (3, 2)):
        remarks = zslbench.run(methods, "digits", "zsl", runs=tmp_path, keep_features=asked).remarks
        assert len(remarks) == sentences
    assert "ESZSL, Toy synthesise no features, so --keep-features keeps nothing there." in remarks
    assert "a finished run has fewer than 3 kept features per class; --rerun all makes them." in remarks
    again = zslbench.run(methods, "digits", "zsl", runs=tmp_path, keep_features=3, rerun="all").remarks
    assert not any("fewer than" in text for text in again)
    remarks = zslbench.run(methods, "digits", "zsl", runs=tmp_path, keep_features=5).remarks
    assert any("fewer than 5" in text for text in remarks)
