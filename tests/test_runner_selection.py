"""What selection asks of the runner: folds, fits that are stopped, tuned presets, and what a finished run counts as."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from toy_methods import Ridge

import zslbench
from zslbench.data.loading import load_dataset
from zslbench.errors import BadValue, StoreError
from zslbench.methods.generative.lisgan import LisGAN
from zslbench.results.records.store import ResultStore
from zslbench.results.records.tuned_presets import PresetStore, TunedPreset
from zslbench.runner.executors import Listener
from zslbench.runner.plan import RunOptions, plan
from zslbench.runner.run_records import Stopped

RIDGE = "toy_methods:Ridge"


@pytest.fixture(autouse=True)
def _fresh_toys(monkeypatch):
    monkeypatch.setattr(Ridge, "fits", [])


def test_the_dev_stage_does_all_folds_unless_some_are_named(runs):
    assert [record.fold for record in zslbench.run(RIDGE, "digits", "zsl", runs=runs, stage="dev").records] == [1, 2, 3]
    assert [run.fold for run in plan(RunOptions([RIDGE], ["digits"], ["zsl"], stage="dev", fold=[3, 1])).runs] == [3, 1]
    with pytest.raises(BadValue, match="fold 4 of data set 'digits' does not exist; choose 1 to 3"):
        zslbench.run(RIDGE, "digits", runs=runs, stage="dev", fold=[1, 4])


def test_calibrate_does_the_dev_folds_of_generalized_runs_too(runs):
    outcome = zslbench.run(RIDGE, "digits", runs=runs, calibrate=True)
    stages = [(record.protocol["name"], record.stage, record.fold) for record in outcome.records]
    assert stages == [("zsl", "final", 0), ("gzsl", "final", 0), *(("gzsl", "dev", fold) for fold in (1, 2, 3))]
    again = zslbench.run(RIDGE, "digits", "GZSL", runs=runs, calibrate=True)
    assert [state for _, state in again.states_before].count("done") == 4
    with pytest.raises(BadValue, match="which zsl never compares; add -p gzsl"):
        zslbench.run(RIDGE, "digits", "zsl", runs=runs, calibrate=True)


def test_whoever_hears_of_a_checkpoint_may_stop_the_fit(runs):
    heard = []

    class Impatient(Listener):
        def judged(self, job, run, step, metrics):
            if run.protocol == "gzsl":
                heard.append({"step": step, "metrics": dict(metrics)})
                if step == 2:
                    raise Stopped("no hope")

    outcome = zslbench.run(RIDGE, "digits", runs=runs, checkpoints="every:1", hear=Impatient())
    assert [(record.status, record.error) for record in outcome.records] == [("skipped", "no hope")] * 2
    assert not outcome.failed
    assert {len(record.curve) for record in outcome.records} == {2}
    (gzsl,) = [record for record in outcome.records if record.protocol["name"] == "gzsl"]
    assert list(gzsl.curve) == heard
    assert {record.status for record in zslbench.run(RIDGE, "digits", runs=runs).records} == {"ok"}


def tuned(**changes):
    dataset = load_dataset("digits")
    plain = TunedPreset(
        name="tuned",
        method="toy_methods:Ridge",
        version=1,
        source="",
        given="toy_methods:Ridge",
        dataset="digits",
        features=dataset.features_name,
        semantics=dataset.semantics_name,
        fingerprint=dataset.fingerprint,
        protocol="zsl",
        metric="T1",
        values={"ridge": 7.0, "epochs": 4},
        score=0.5,
        folds=(1, 2, 3),
        fold_scores=(0.4, 0.5, 0.6),
        space={"ridge": "1, 7"},
        at_edge=("ridge",),
        sampler="grid",
        seed=0,
        trials={"ok": 2},
    )
    return dataclasses.replace(plain, **changes)


def test_last_and_best_epochs_of_gan_and_classifiers_are_of_one_training(runs, tmp_path, monkeypatch):
    """As for ``lisgan@public``: ordinary points of a plan and candidates of oracle selection share a fit per seed."""
    quick = dict(LisGAN.check_params) | {"final_epochs": 4, "second_start": "first"}
    given = ",".join(f"{name}={value}" for name, value in quick.items() if name != "final_epochs")
    file = tmp_path / "public.toml"
    file.write_text(
        f"""
        datasets = ["digits"]
        protocols = ["zsl"]
        seeds = 2
        checkpoints = "every:4"
        [[study]]
        methods = ["lisgan[{given},final_epochs=4,cascade=[off,nn,softmax]]"]
        [[study]]
        oracle = true
        methods = [
            "lisgan[{given},cascade=off,final_epochs=[1,2]]",
            "lisgan[{given},final_epochs=4,cascade=[nn,softmax],confident_epoch=[1,2]]",
        ]
        """,
        encoding="utf-8",
    )
    fits: list[int] = []
    monkeypatch.setattr(
        LisGAN, "fit", lambda self, train, ctx, fit=LisGAN.fit: (fits.append(ctx.seed), fit(self, train, ctx))[1]
    )
    records = zslbench.run(plan=file, runs=runs).records
    assert fits == [0, 1]
    assert {len(record.curve) for record in records} == {2}
    gains = []
    for cascade in ("off", "nn", "softmax"):
        of_kind = [record for record in records if record.method["params"]["cascade"] == cascade]
        assert len(of_kind) == 2 * 3
        by_point: dict[str, list[list[float]]] = {}
        for record in of_kind:
            by_point.setdefault(str(record.method["params"]), []).append([e["metrics"]["T1"] for e in record.curve])
        best = max(np.mean(curves, axis=0).max() for curves in by_point.values())
        last = np.mean([record.metrics["T1"] for record in of_kind if record.selection == "fixed"])
        table = zslbench.table(runs=runs, methods=f"lisgan[cascade={cascade}]", selection=["fixed", "oracle"])
        shown = {row["selection"]: row["mean"] for row in table.make_rows() if row["metric"] == "T1"}
        assert shown == {"fixed": pytest.approx(100 * last), "oracle": pytest.approx(100 * best)}
        gains.append(best - last)
    assert max(gains) > 0


def test_a_tuned_preset_gives_its_values_and_marks_the_run_validated(runs):
    store = PresetStore(runs)
    store.save(tuned())
    assert store.load() == [tuned()]
    (record,) = zslbench.run("toy_methods:Ridge@tuned", "digits", "zsl", runs=runs).records
    assert (record.method["params"]["ridge"], record.selection) == (7.0, "validated")
    assert record.provenance["tuned"] == tuned().id
    (other,) = zslbench.run("toy_methods:Ridge@tuned[epochs=5]", "digits", "zsl", runs=runs).records
    assert (other.method["params"]["ridge"], other.selection) == (7.0, "fixed")
    (dev, *_) = zslbench.run("toy_methods:Ridge@tuned", "digits", "zsl", runs=runs, stage="dev").records
    assert dev.selection == "fixed"
    store.save(tuned(name="mine", values={"ridge": 9.0, "epochs": 4}))
    (mine,) = zslbench.run("toy_methods:Ridge@mine", "digits", "zsl", runs=runs).records
    assert (mine.method["params"]["ridge"], mine.method["label"]) == (9.0, "toy_methods:Ridge@mine")


def test_a_candidate_of_oracle_selection_becomes_an_ordinary_run_and_never_the_other_way(runs):
    text = "toy_methods:Ridge[ridge=7]"
    (first,) = zslbench.run(text, "digits", "zsl", runs=runs, oracle=True).records
    predictions = ResultStore(runs).predictions(first)
    fits = len(Ridge.fits)
    selections = [first.selection]
    for oracle in (False, True):
        zslbench.run(text, "digits", "zsl", runs=runs, oracle=oracle)
        (record,) = ResultStore(runs).load()
        selections.append(record.selection)
    assert selections == ["oracle", "fixed", "fixed"]
    assert (record.id, record.metrics) == (first.id, first.metrics)
    assert len(Ridge.fits) == fits
    again = ResultStore(runs).predictions(record)
    assert all(np.array_equal(again[name], predictions[name]) for name in predictions)


def test_values_typed_by_hand_and_the_same_values_tuned_are_two_runs(runs):
    """Tuning validates the values that it chose, not those that were typed before or after."""
    PresetStore(runs).save(tuned())
    texts = ["toy_methods:Ridge[ridge=7]", "toy_methods:Ridge@tuned"]
    for order in (texts, texts[::-1]):
        by_hand, by_tuning = (
            next(record for record in zslbench.run(order, "digits", "zsl", runs=runs).records if record.label == text)
            for text in texts
        )
        assert (by_hand.selection, by_tuning.selection) == ("fixed", "validated")
        assert by_hand.metrics == by_tuning.metrics
    assert {record.id for record in ResultStore(runs).load()} == {by_hand.id, by_tuning.id}


@pytest.mark.parametrize("text", ["toy_methods:Ridge[ridge=7]", "toy_methods:Ridge@tuned"])
def test_an_early_record_of_a_tuned_preset_gets_its_own_id_with_its_predictions(runs, text):
    """Records of presets once had the id of the same values typed by hand."""
    PresetStore(runs).save(tuned())
    (by_hand,) = zslbench.run("toy_methods:Ridge[ridge=7]", "digits", "zsl", runs=runs).records
    store = ResultStore(runs)
    predictions = store.predictions(by_hand)
    label = {**by_hand.method, "label": "toy_methods:Ridge@tuned"}
    store.relabel(dataclasses.replace(by_hand, selection="validated", method=label))
    assert [record.selection for record in store.load()] == ["validated"], "it can be read as it is"
    zslbench.run(text, "digits", "zsl", runs=runs)
    records = {record.selection: record for record in store.load()}
    assert set(records) == ({"validated"} if "@" in text else {"fixed", "validated"})
    assert records["validated"].id != by_hand.id
    assert records["validated"].provenance["finished"] == by_hand.provenance["finished"]
    assert np.array_equal(store.predictions(records["validated"])["label"], predictions["label"])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (None, "Ridge@tuned has no values for digits .* make them: zslbench tune toy_methods:Ridge -d digits"),
        ({"version": 2}, "was tuned for version 2 of the method, this is 1; tune again"),
        ({"fingerprint": "0" * 16}, "was tuned on other content of digits"),
    ],
)
def test_a_tuned_preset_that_does_not_fit_gets_a_sentence(runs, changes, sentence):
    if changes is not None:
        PresetStore(runs).save(tuned(**changes))
    with pytest.raises(BadValue, match=sentence):
        zslbench.run("toy_methods:Ridge@tuned", "digits", "zsl", runs=runs)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema": 99}', '{"schema": 1}', "\xff"])
def test_a_damaged_tuned_preset_gets_a_sentence(runs, text):
    path = PresetStore(runs).save(tuned())
    path.write_text(text, encoding="latin-1")
    with pytest.raises(StoreError, match=path.name):
        zslbench.run("toy_methods:Ridge@tuned", "digits", "zsl", runs=runs)
