"""Minimal methods: classes with `fit` and `scores` alone run, are checked, and are known by their own source."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest
from click.testing import CliRunner

import zslbench
from zslbench.checks import check_method
from zslbench.cli import cli
from zslbench.errors import BadValue, UnknownName, ZslbenchError
from zslbench.methods import Method
from zslbench.methods.closed_form.ridge import Ridge
from zslbench.params import param
from zslbench.results.records.store import ResultStore
from zslbench.runner.class_lookup import method_class

HERE = "test_minimal_methods"


class Plain:
    """Ridge from features to semantics, then the nearest class.

    More of it.
    """

    ridge: float = 1

    def fit(self, train, ctx):
        x, s = train.features, train.classes.semantics[train.classes.positions(train.labels)]
        self.weights_ = np.linalg.solve(x.T @ x + self.ridge * np.eye(x.shape[1]), x.T @ s)
        return self

    def scores(self, features, classes):
        return -np.linalg.norm((features @ self.weights_)[:, None] - classes.semantics, axis=2)


class Constructed(Plain):
    name = "constructed"

    def __init__(self, ridge: float = 1.0, shape=(1, 2), mode="plain"):
        super().__init__()
        self.ridge, self.shape, self.mode = ridge, shape, mode


@dataclasses.dataclass
class Data(Plain):
    ridge: float = param(1.0, low=0.0, high=10.0, help="ridge")
    exact: bool = True

    def __post_init__(self):
        self.made = True


class Derived(Method):
    stochastic = False
    version = 7
    ridge: float = 1.0

    fit = Plain.fit
    scores = Plain.scores


class InitDerived(Derived):
    def __init__(self, ridge=1.0):
        super().__init__()
        self.ridge = float(ridge)


class Batchwise(Plain):
    setting = "transductive"

    def scores(self, features, classes):
        return super().scores(features - features.mean(axis=0), classes)


class Drawing(Plain):
    def fit(self, train, ctx):
        super().fit(train, ctx)
        self.weights_ = self.weights_ + 1e-3 * ctx.rng("noise").standard_normal(self.weights_.shape)
        return self


class Leaking(Plain):
    asked: list[int] = []  # noqa: RUF012  (what it leaks into)

    def scores(self, features, classes):
        self.asked.append(len(features))
        return super().scores(features, classes)


GUESS = """
import numpy as np


class Guess:
    stochastic = False

    def fit(self, train, ctx):
        return self

    def scores(self, features, classes):
        return np.tile(classes.semantics[:, 0], (len(features), 1))
"""
KINDS = (Plain, Constructed, Data, Derived, InitDerived, Batchwise, Drawing)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("cls", KINDS)
def test_every_kind_of_class_keeps_the_contract(cls):
    assert len(check_method(cls)) >= 21


def test_what_a_class_does_not_say_is_the_safe_assumption():
    card = method_class(f"{HERE}:Plain").card
    assert (card.title, card.setting, card.stochastic, card.version) == ("Plain", "inductive", True, 1)
    assert card.summary == "Ridge from features to semantics, then the nearest class."
    card = method_class(f"{HERE}:Derived").card
    assert (card.title, card.stochastic, card.version) == ("Derived", False, 7)


def test_results_are_those_of_the_same_computation_with_a_card():
    kinds = [Plain, Constructed, Data, Derived, InitDerived]
    outcome = zslbench.run([*kinds, "toy_methods:Ridge"], "digits", "zsl")
    assert not outcome.failed
    assert len({record.metrics["T1"] for record in outcome.records[:-1]}) == 1
    data = zslbench.data.load_dataset("digits")
    rows = data.trainval
    x, s = data.features[rows].astype(np.float64), data.semantics[data.labels[rows]].astype(np.float64)
    weights = np.linalg.solve(x.T @ x + np.eye(x.shape[1]), x.T @ s)
    asked, unseen = data.test_unseen, data.unseen
    far = np.linalg.norm((data.features[asked] @ weights)[:, None] - data.semantics[unseen], axis=2)
    hits = unseen[far.argmin(axis=1)] == data.labels[asked]
    wanted = np.mean([hits[data.labels[asked] == label].mean() for label in unseen])
    assert outcome.records[0].metrics["T1"] == pytest.approx(wanted, abs=2e-3)


def test_parameters_are_typed_named_and_part_of_the_identity():
    outcome = zslbench.run(f"{HERE}:Constructed[ridge=[1,2],mode=fast]", "digits", "zsl")
    assert [record.method["params"] for record in outcome.records] == [
        {"ridge": 1.0, "mode": "fast"},
        {"ridge": 2.0, "mode": "fast"},
    ]
    assert len({record.id for record in outcome.records}) == 2
    assert outcome.records[0].method["title"] == "constructed"
    with pytest.raises(ZslbenchError, match="did you mean 'ridge'"):
        zslbench.run(f"{HERE}:Plain[rigde=1]", "digits")
    with pytest.raises(BadValue, match="ridge takes a number from 0 to 10"):
        zslbench.run(f"{HERE}:Data[ridge=11]", "digits")


def test_seeds_settings_and_versions_count_as_the_class_says():
    outcome = zslbench.run([Plain, Derived, Batchwise, Drawing], "digits", "zsl", seeds=2)
    counts = {title: [] for title in ("Plain", "Derived", "Batchwise", "Drawing")}
    for record in outcome.records:
        counts[record.method["title"]].append(record)
    assert [len(records) for records in counts.values()] == [2, 1, 2, 2]
    assert counts["Derived"][0].method["version"] == 7
    assert {record.method["setting"] for record in counts["Batchwise"]} == {"transductive"}


def test_a_fitted_one_pickles():
    method = method_class(f"{HERE}:Constructed")(ridge=3.0)
    method.weights_ = np.arange(4)
    again = pickle.loads(pickle.dumps(method))
    assert type(again) is type(method)
    assert (again.ridge, again.shape, again.weights_.tolist()) == (3.0, (1, 2), [0, 1, 2, 3])


def test_what_scores_leaves_in_the_class_is_seen():
    outcome = zslbench.run(Leaking, "digits", "zsl")
    assert "scores changes the attribute asked of Leaking" in outcome.failed[0].error


def test_its_source_is_that_of_its_user(tmp_path, monkeypatch, forks):
    (tmp_path / "guesses.py").write_text(GUESS)
    arguments = ("run", "-m", "guesses:Guess", "-d", "digits", "-p", "zsl")
    assert "1 of 1 run is done" in forks.type(*arguments, folder=tmp_path).stdout
    (record,) = ResultStore("runs").load()
    assert record.provenance["method_files"] == {"guesses": "guesses.py"}
    assert "0 to do" in forks.type(*arguments, "--dry-run", folder=tmp_path).stdout
    (tmp_path / "guesses.py").write_text(GUESS.replace("0]", "1]"))
    changed = forks.type(*arguments, "--dry-run", folder=tmp_path)
    assert "the source of guesses:Guess has changed" in changed.stdout + changed.stderr


def test_a_class_of_a_notebook_cell_runs_and_has_the_source_of_its_cell(tmp_path, forks):
    program = """
import linecache, zslbench
def cell(number, text):  # as IPython executes one
    name = f"<cell {number}>"
    linecache.cache[name] = len(text), None, text.splitlines(True), name
    exec(compile(text, name, "exec"), globals())
    (record,) = zslbench.run(Guess, "digits", "zsl").records
    print(record.method["name"], record.provenance["method_source"], record.provenance["finished"])
"""
    program += f"cell(1, {GUESS!r}); cell(2, {GUESS!r} + ' '); cell(3, {GUESS.replace('0]', '1]')!r})"
    done = forks.run(program, tmp_path)
    assert done.returncode == 0, done.stderr
    names, digests, _ = zip(*(line.split() for line in done.stdout.splitlines()), strict=True)
    assert set(names) == {"__main__:Guess"}
    assert len({*digests}) == 3
    assert all(digests)


def test_lists_pages_and_check_know_it():
    run = CliRunner().invoke
    checked = run(cli, ["check", f"{HERE}:Plain"])
    assert checked.exit_code == 0, checked.output
    shown = run(cli, ["info", f"{HERE}:Data"])
    assert shown.exit_code == 0, shown.output
    assert "a number from 0 to 10" in shown.output


@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [
        ({"scores": None}, "'Bad' is not a method: it has no scores"),
        ({"setting": "psychic"}, "setting = 'psychic' is not allowed; write one of: inductive, semantic, transductive"),
        ({"stochastic": 1}, "stochastic = 1 is not allowed; write True or False"),
        ({"version": 0}, "version = 0 is not allowed"),
        ({"name": ""}, "name = '' is not allowed"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(attributes, sentence, monkeypatch):
    monkeypatch.setitem(globals(), "Bad", type("Bad", (Plain,), {"__module__": HERE, **attributes}))
    with pytest.raises(BadValue, match=sentence):
        zslbench.run(f"{HERE}:Bad", "digits")


def test_an_attribute_without_annotation_that_is_set_as_a_parameter_gets_one_as_advice(monkeypatch):
    monkeypatch.setitem(globals(), "Bare", type("Bare", (Plain,), {"__module__": HERE, "reg": 1.0, "version": 2}))
    with pytest.raises(BadValue, match=r"Bare: reg has no annotation, .*; write `reg: float = 1\.0`\."):
        zslbench.run(f"{HERE}:Bare[reg=[0.1,10]]", "digits")
    for name in ("version", "regg"):
        with pytest.raises(UnknownName, match=f"unknown parameter of .*Bare '{name}'"):
            zslbench.run(f"{HERE}:Bare[{name}=3]", "digits")


def test_a_parameter_without_a_default_is_refused(monkeypatch):
    class Needy(Plain):
        def __init__(self, width):
            self.width = width

    Needy.__qualname__ = "Needy"
    monkeypatch.setitem(globals(), "Needy", Needy)
    with pytest.raises(BadValue, match=r"cannot be made with these parameters .*width"):
        zslbench.run(f"{HERE}:Needy", "digits")


def test_a_class_with_a_card_is_left_as_it_is():
    assert method_class("ridge") is Ridge
