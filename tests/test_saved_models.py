"""`zslbench.fit`, `run --save-model` and `load_model`: the same scores again, plainly kept, or a sentence."""

from __future__ import annotations

import dataclasses
import errno
import io
import json
import os
import pickle
import shutil
import sys
import threading
import zipfile

import numpy as np
import pytest
from click.testing import CliRunner
from faults import same_numbers
from result_records import record
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.preprocessing import StandardScaler
from toy_methods import Ridge

import zslbench
from zslbench.checks.easy_task import easy_task
from zslbench.cli import cli
from zslbench.data.splits import build_train, split
from zslbench.errors import BadValue, StoreError, ZslbenchError
from zslbench.methods import Context
from zslbench.methods.saved_state import pack_state, unpack_state
from zslbench.params import current_values
from zslbench.registry import METHODS
from zslbench.results.records.store import ResultStore
from zslbench.runner.class_lookup import method_class
from zslbench.spec import brackets

HERE = "test_saved_models"
DATA = zslbench.data.load_dataset("digits")


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def scores_of(method):
    rows = np.concatenate([DATA.test_unseen[:40], DATA.test_seen[:40]])
    everything = np.concatenate([DATA.unseen, DATA.seen])
    return method.scores(DATA.features[rows], DATA.class_table(everything))


def through_a_file(arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    with np.load(io.BytesIO(file.getvalue()), allow_pickle=False) as read:
        return {name: read[name] for name in read.files}


@pytest.mark.parametrize("name", METHODS.builtin_names())
def test_every_method_scores_the_same_to_the_bit_after_it_was_kept(name):
    cls = method_class(name)
    task = easy_task(shared_space=cls.shared_space)
    method = cls(**cls.check_params)
    fitted = method.fit(task.train_for(method), Context(3))
    again = unpack_state(cls(**cls.check_params), through_a_file(pack_state(fitted)))
    np.testing.assert_array_equal(
        again.scores(task.features, task.candidates), fitted.scores(task.features, task.candidates)
    )


@dataclasses.dataclass(kw_only=True)
class Part:
    """Something of a method's own module that it keeps."""

    weights: np.ndarray
    name: str = "part"


class OfManyParts:
    """Keeps what users keep: estimators of scikit-learn, modules of torch, objects and containers of its own."""

    stochastic = False
    scale: float = 1.0

    def fit(self, train, ctx):
        import torch

        semantics = train.classes.semantics[train.classes.positions(train.labels)]
        self.scaler_ = StandardScaler().fit(train.features)
        self.model_ = SklearnRidge(alpha=self.scale).fit(self.scaler_.transform(train.features), semantics)
        width = semantics.shape[1]
        self.network_ = torch.nn.Sequential(torch.nn.Linear(width, width, bias=False), torch.nn.BatchNorm1d(width))
        with torch.no_grad():
            self.network_[0].weight.copy_(torch.eye(width))
        self.network_.eval()
        self.half_ = torch.ones(3, dtype=torch.bfloat16)
        self.parts_ = {1: Part(weights=np.asfortranarray(np.eye(width))), (2, "two"): [None, True, {3}, float("nan")]}
        self.shared_ = [self.parts_[1].weights, self.parts_[1].weights]
        self.number_ = np.float32(0.5)
        return self

    def scores(self, features, classes):
        import torch

        made = self.model_.predict(self.scaler_.transform(features)).astype(np.float32) @ self.parts_[1].weights
        with torch.no_grad():
            made = self.network_(torch.from_numpy(made.astype(np.float32))).numpy()
        return made @ classes.semantics.T * self.number_


class Unkept(OfManyParts):
    def fit(self, train, ctx):
        super().fit(train, ctx)
        self.lock_ = [threading.Lock()]
        return self


def test_what_users_keep_comes_back(tmp_path):
    outcome = zslbench.run([f"{HERE}:OfManyParts[scale=2]"], "digits", "zsl", save_model=True)
    fitted = zslbench.fit(f"{HERE}:OfManyParts[scale=2]", "digits")
    again = zslbench.load_model(outcome.records[0].id)
    np.testing.assert_array_equal(scores_of(again), scores_of(fitted))
    assert again.parts_[1].name == "part"
    assert again.parts_[2, "two"][:3] == [None, True, {3}]
    assert again.shared_[0] is again.shared_[1]
    assert again.shared_[0].flags.f_contiguous
    assert str(again.half_.dtype) == "torch.bfloat16"
    assert not again.network_.training
    assert current_values(again) == {"scale": 2.0}


def test_what_cannot_be_kept_costs_one_sentence_and_no_result():
    outcome = zslbench.run([Unkept, "eszsl"], "digits", "zsl", save_model=True)
    assert not outcome.failed
    (sentence,) = [text for text in outcome.remarks if "load_model" in text]
    assert "Unkept could not be kept for load_model: its lock_[0] is a _thread.lock" in sentence
    (path,) = ResultStore("runs").root.rglob("*.model.npz")
    assert path.parent.name == "eszsl"
    with pytest.raises(StoreError, match=r"has no kept model .*--save-model"):
        zslbench.load_model(outcome.records[0].id)


def test_a_model_too_large_to_be_read_again_is_not_written(monkeypatch):
    monkeypatch.setattr("zslbench.runner.execute.MOST_IN_ARRAYS", 100)
    outcome = zslbench.run("eszsl", "digits", "zsl", save_model=True)
    assert not outcome.failed
    assert "eszsl could not be kept for load_model: it takes " in "".join(outcome.remarks)
    assert not [*ResultStore("runs").root.rglob("*.model.npz")]


def test_a_full_disk_keeps_what_was_finished(monkeypatch):
    zslbench.run("eszsl", "digits", "zsl", save_model=True)
    write = np.savez_compressed

    def full(file, **arrays):
        if "state" in arrays:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(file, **arrays)

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(StoreError, match=r"No space left .*what was finished stays"):
        zslbench.run("eszsl", "digits", "zsl", save_model=True, rerun="all")
    (kept,) = ResultStore("runs").load()
    np.testing.assert_array_equal(scores_of(zslbench.load_model(kept.id)), scores_of(zslbench.fit("eszsl", "digits")))
    assert not [path for path in ResultStore("runs").root.rglob("*") if path.name.startswith(".") and path.is_file()]


def test_a_record_whose_parameters_the_method_no_longer_takes():
    odd = record(params={"no_such": 1}, version=METHODS.load("eszsl").card.version)
    ResultStore("runs").save(odd, model={"state": np.frombuffer(b"{}", dtype=np.uint8)})
    with pytest.raises(BadValue, match="cannot be made with these parameters"):
        zslbench.load_model(odd.id)


def test_a_class_of_a_script_is_to_be_defined_again():
    odd = record("__main__:Mine")
    ResultStore("runs").save(odd, model={"state": np.frombuffer(b"{}", dtype=np.uint8)})
    with pytest.raises(BadValue, match="define that class here first"):
        zslbench.load_model(odd.id)


@pytest.mark.parametrize("together", ["never", "always"])
def test_runs_keep_what_fit_returns_and_no_number_depends_on_it(together):
    quick = brackets({**METHODS.load("fclswgan").check_params, "epochs": 1})
    methods = [f"fclswgan{quick}", "eszsl[gamma=[1,10]]"]
    zslbench.run(methods, "digits", seeds=2, runs="plain", seeds_at_once=together)
    kept = zslbench.run(methods, "digits", seeds=2, save_model=True, seeds_at_once=together)
    same_numbers("plain", "runs")
    for kept_record in kept.records:
        again = zslbench.load_model(kept_record.id)
        assert current_values(again) == kept_record.method["params"]
        if together == "never":
            named = kept_record.method["name"] + brackets(kept_record.method["params"])
            fitted = zslbench.fit(named, "digits", seed=kept_record.seed, protocol=kept_record.protocol["name"])
            np.testing.assert_array_equal(scores_of(again), scores_of(fitted))


def test_predictions_of_a_loaded_model_are_those_of_the_record():
    outcome = zslbench.run("sae", "digits", "zsl", save_model=True)
    (kept_record,) = outcome.records
    kept = ResultStore("runs").predictions(kept_record)
    scores = zslbench.load_model(kept_record.id).scores(DATA.features[kept["row"]], DATA.class_table(DATA.unseen))
    np.testing.assert_array_equal(DATA.unseen[scores.argmax(axis=1)], kept["unseen_class"])


def test_a_model_is_named_by_id_record_or_file_and_goes_where_its_record_goes(tmp_path):
    assert (
        CliRunner().invoke(cli, ["run", "-m", "eszsl", "-d", "digits", "-p", "zsl", "--save-model", "-q"]).exit_code
        == 0
    )
    (document,) = ResultStore("runs").root.rglob("*.json")
    model = document.with_suffix(".model.npz")
    wanted = scores_of(zslbench.fit("eszsl", "digits"))
    for name in (document.stem, document.stem[:6], document, model):
        np.testing.assert_array_equal(scores_of(zslbench.load_model(name)), wanted)
    zslbench.results.merge("runs", "merged")
    np.testing.assert_array_equal(scores_of(zslbench.load_model(document.stem, runs="merged")), wanted)
    assert "no kept model" not in str(zslbench.run("eszsl", "digits", "zsl", save_model=True).remarks)
    zslbench.run("eszsl", "digits", "zsl", rerun="all")
    assert not model.exists()
    (remark,) = zslbench.run("eszsl", "digits", "zsl", save_model=True).remarks
    assert remark == "a finished run has no kept model; --rerun all makes it."


def test_gc_takes_a_model_without_a_record():
    zslbench.run("eszsl", "digits", "zsl", save_model=True)
    (document,) = ResultStore("runs").root.rglob("*.json")
    document.unlink()
    (model,) = ResultStore("runs").root.rglob("*.model.npz")

    os.utime(model, (1, 1))
    assert (model, "it has no record") in zslbench.results.gc("runs").files


def rewritten(model, **changed):
    """Change the tree of a model's state."""
    with np.load(model) as file:
        arrays = {name: file[name] for name in file.files}
    tree = json.loads(bytes(arrays["state"])) | changed
    arrays["state"] = np.frombuffer(json.dumps(tree).encode(), dtype=np.uint8)
    np.savez(model, **arrays)


def test_a_file_that_is_hostile_or_damaged_gets_a_sentence(tmp_path):
    zslbench.run("eszsl", "digits", "zsl", save_model=True)
    (model,) = ResultStore("runs").root.rglob("*.model.npz")
    run, good = model.name.partition(".")[0], model.read_bytes()

    def pickled():
        np.savez(model, state=np.array([Part(weights=np.ones(1))], dtype=object))

    def cut():
        model.write_bytes(good[: len(good) // 2])

    def bomb():
        with zipfile.ZipFile(model, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("state.npy", bytes(2**20))
            file.getinfo("state.npy").file_size = 2**40

    def claiming(shape, kind):
        head = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
        with zipfile.ZipFile(model, "a") as file:
            file.writestr("99.npy", b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode() + bytes(8))

    hostile = [
        lambda: model.write_bytes(pickle.dumps({"state": 1})),
        pickled,
        cut,
        bomb,
        lambda: np.savez(model, other=np.ones(2)),
        lambda: np.savez(model, state=np.frombuffer(b"[" * 100_000, dtype=np.uint8)),
        lambda: rewritten(model, weights_={"array": 99}),
        lambda: rewritten(model, weights_={"object": "os:system", "attributes": {}}),
        lambda: rewritten(model, weights_={"object": "subprocess:Popen", "attributes": {}}),
        lambda: rewritten(model, weights_={"object": "zslbench.methods.base:np", "attributes": {}}),
        lambda: rewritten(model, weights_={"object": "sklearn.utils:no", "attributes": {}}),
        lambda: rewritten(model, weights_={"code": "print()"}),
        lambda: rewritten(model, gamma=3.0),
        lambda: rewritten(model, scores=3),
        lambda: rewritten(model, weights_={"set": [{"list": []}]}),
        lambda: rewritten(model, weights_={"tensor": 0, "type": "float32", "on": "nowhere"}),
        lambda: claiming("(1099511627776,)", "<f8"),
        lambda: claiming("(-1,)", "<f8"),
        lambda: claiming("(1,)", "|O"),
        lambda: claiming("__import__('sys').modules.clear()", "<f8"),
    ]
    for change in hostile:
        model.write_bytes(good)
        change()
        with pytest.raises(StoreError) as refused:
            zslbench.load_model(run)
        assert str(refused.value).count("--rerun all") == 1
        assert "unsafely" not in str(refused.value)
    model.write_bytes(good)
    zslbench.load_model(run)


def test_a_model_of_another_source_or_version_is_refused(monkeypatch):
    zslbench.run("eszsl", "digits", "zsl", save_model=True)
    (document,) = ResultStore("runs").root.rglob("*.json")
    card = METHODS.load("eszsl").card
    monkeypatch.setattr(METHODS.load("eszsl"), "card", dataclasses.replace(card, version=card.version + 1))
    with pytest.raises(BadValue, match="is of an earlier version of eszsl"):
        zslbench.load_model(document.stem)


def test_nothing_is_imported_for_a_name_in_a_record(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("from toy_methods import Ridge\n")
    monkeypatch.syspath_prepend(tmp_path)
    outcome = zslbench.run("mine:Ridge", "digits", "zsl", save_model=True)

    monkeypatch.delitem(sys.modules, "mine")
    with pytest.raises(BadValue, match="import mine first"):
        zslbench.load_model(outcome.records[0].id)
    assert "mine" not in sys.modules


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: zslbench.load_model("0123456789abcdef"), "no run in runs has the id '0123456789abcdef'"),
        (lambda: zslbench.load_model("*"), "'\\*' is not the id of a run"),
        (lambda: zslbench.load_model("no/such.json"), "does not exist"),
        (lambda: zslbench.fit("eszsl[gamma=[1,2]]", "digits"), "means 2 fits"),
        (lambda: zslbench.fit("eszsl", "digits", stage="dev", fold=9), "fold 9"),
        (lambda: zslbench.fit("eszsl", "digits", fold=1), "belongs to the dev stage"),
        (lambda: zslbench.fit("eszls", "digits"), "did you mean 'eszsl'"),
        (lambda: zslbench.fit("eszsl", "digits", device="gpu"), "device 'gpu'"),
        (lambda: zslbench.fit("lisgan@published", "digits"), "no values for data set 'digits'"),
        (lambda: zslbench.fit("eszsl", "digits", seed=-1), "seed -1"),
    ],
)
def test_wrong_requests_get_a_sentence(call, sentence):
    with pytest.raises(ZslbenchError, match=sentence):
        call()


@pytest.mark.parametrize(("stage", "fold"), [("final", None), ("dev", None), ("dev", 2)])
def test_fit_is_a_fit_on_the_training_part(stage, fold):
    fitted = zslbench.fit("toy_methods:Ridge[ridge=2]", DATA.name, stage=stage, fold=fold)
    alone = Ridge(ridge=2.0).fit(build_train(DATA, split(DATA, stage, fold or 1)), Context(0))
    np.testing.assert_array_equal(fitted.weights_, alone.weights_)


def test_fit_takes_a_class_and_a_folder(tmp_path):
    from data_folders import write_folder

    folder = write_folder(tmp_path / "mine")
    data = zslbench.data.load_dataset(str(folder))
    fitted = zslbench.fit(Ridge, folder)
    assert fitted.scores(data.features[:3], data.class_table(data.unseen)).shape == (3, len(data.unseen))
    shutil.rmtree(folder)


class InSlots(Ridge):
    __slots__ = ("weights",)


class Box:
    __slots__ = ("__dict__", "weights")


def test_what_lies_in_slots_is_refused_by_name_and_never_lost():
    method = InSlots()
    method.weights = np.ones(3)
    with pytest.raises(BadValue, match="its weights is in __slots__"):
        pack_state(method)
    method = InSlots()
    method.box = Box()
    method.box.weights = np.ones(3)
    with pytest.raises(BadValue, match=r"its box\.weights is in __slots__"):
        pack_state(method)


def test_a_type_that_numpy_does_not_have_gets_a_sentence():
    torch = pytest.importorskip("torch")
    method = METHODS.load("eszsl")()
    method.weights_ = torch.ones(3).to(torch.float8_e4m3fn)
    with pytest.raises(BadValue, match=r"weights_ is a tensor of type torch.float8_e4m3fn, which NumPy does not have"):
        pack_state(method)
