"""The Python functions take what notebooks hand over, or say in one sentence what they take."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from data_folders import write_folder

import zslbench
from zslbench.errors import ZslbenchError
from zslbench.results.records.store import ResultStore

NOISY = "study_methods:Noisy"


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_run_takes_paths_and_numbers_of_numpy(tmp_path):
    folder = write_folder(tmp_path / "mine")
    done = zslbench.run(np.array([NOISY]), folder, ("zsl",), seeds=np.arange(2), runs=Path("runs"))
    assert [record.seed for record in done.records] == [0, 1]
    assert {type(record.seed) for record in done.records} == {int}
    assert [run.dataset.text for run, _ in done.states_before] == [str(folder)] * 2
    again = zslbench.run(NOISY, folder, "zsl", seeds=np.int64(2))
    assert [state for _, state in again.states_before].count("done") == 2
    dev = zslbench.run("eszsl", "digits", "zsl", stage=np.str_("dev"), fold=np.int32(1), keep_features=np.int64(2))
    assert [(record.fold, record.ok) for record in dev.records] == [(1, True)]
    assert len(ResultStore("runs").load()) == 3


def test_a_name_alone_is_a_list_of_one():
    zslbench.run(["eszsl", "sae"], "digits")
    by_names = zslbench.table(methods="eszsl", datasets="digits", protocols="zsl", metrics="T1", format="csv").text
    by_lists = zslbench.table(
        methods=["eszsl"], datasets=("digits",), protocols=np.array(["zsl"]), metrics=["T1"], format="csv"
    )
    assert by_names == by_lists.text
    assert zslbench.table(runs=Path("runs"), layout="stats", datasets="digits", format="csv").text.count("digits") == 1
    assert zslbench.report(None, methods="eszsl", datasets="digits", figures=False).page.counts == {"ok": 2}
    assert zslbench.status(methods="eszsl", datasets="digits", seeds=np.int64(1)).complete
    assert zslbench.curve(methods="eszsl", datasets="digits").text
    assert zslbench.plot("perclass", Path("classes.png"), methods="eszsl", datasets="digits", classes=np.int64(3))
    both = zslbench.compare("eszsl", "sae", datasets="digits", protocols="zsl", draws=np.int64(200)).text
    assert both == zslbench.compare(["eszsl", "sae"], datasets=["digits"], protocols=["zsl"], draws=200).text
    assert both == zslbench.compare(methods=["eszsl", "sae"], datasets="digits", protocols="zsl", draws=200).text
    assert zslbench.table(methods=np.array("eszsl"), decimals=np.array(1), format="csv").text


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: zslbench.run("eszsl", "digits", engine="process"), r"zslbench\.engine\('process'\)"),
        (lambda: zslbench.run("eszsl", "digits", workers=2), r"engine=zslbench\.engine\('process', workers=2\)"),
        (lambda: zslbench.ablate("lisgan", "digits", memory_limit="2G"), r"engine=zslbench\.engine"),
        (lambda: zslbench.run("eszsl", "digits", seedz=2), "did you mean 'seeds'"),
        (lambda: zslbench.run("eszsl", "digits", seeds=1.5), r"seeds=1.5 is not allowed; give a whole number or"),
        (lambda: zslbench.run("eszsl", "digits", seeds="two"), "seeds='two' is not allowed"),
        (lambda: zslbench.run("eszsl", "digits", seeds=[0, "one"]), "seeds='one' is not allowed; give whole numbers"),
        (lambda: zslbench.run(3, "digits"), "methods=3 is not allowed; give a text or texts"),
        (lambda: zslbench.run("eszsl", [1]), "datasets=1 is not allowed; give texts"),
        (lambda: zslbench.run("eszsl", "digits", rerun="often"), "unknown kind of rerun 'often'"),
        (lambda: zslbench.run("eszsl", "digits", keep_features=2.5), "keep_features=2.5 is not allowed"),
        (lambda: zslbench.table(methods=7), "methods=7 is not allowed"),
        (lambda: zslbench.table(method="eszsl"), "did you mean 'methods'"),
        (lambda: zslbench.tune("eszsl", "digits", trials="many"), "trials='many' is not allowed"),
        (lambda: zslbench.compare("eszsl", 2), "methods=2 is not allowed"),
        (lambda: zslbench.plot(5), "kind=5 is not allowed"),
        (lambda: zslbench.report(runs=7), "runs=7 is not allowed; give a text or a path"),
        (lambda: zslbench.status(seeds=[1, 2]), r"seeds=\[1, 2\] is not allowed"),
        (lambda: zslbench.status(seeds=-1), r"seeds=-1 is not allowed; give a number from 1"),
        (lambda: zslbench.run(None, "digits"), "methods=None is not allowed; give a text or texts"),
        (lambda: zslbench.run({"eszsl": 1}, "digits"), "methods={'eszsl': 1} is not allowed"),
        (lambda: zslbench.run("eszsl", "digits", seeds=None), "seeds=None is not allowed; give a whole number or"),
        (lambda: zslbench.run("eszsl", "digits", seeds=True), "seeds=True is not allowed"),
        (lambda: zslbench.run("eszsl", "digits", seeds=b"12"), "seeds=b'12' is not allowed"),
        (lambda: zslbench.run("eszsl", "digits", seeds=-1), "no seed was given"),
        (lambda: zslbench.run("eszsl", "digits", seeds=[-1]), "seed -1 is not allowed; choose a whole number from 0"),
        (
            lambda: zslbench.run("eszsl", "digits", seeds=np.ones((2, 2), int)),
            r"seeds=array.* is not allowed",
        ),
        (lambda: zslbench.run("eszsl", "digits", seeds=np.array(0.5)), "seeds=0.5 is not allowed"),
        (lambda: zslbench.run("eszsl", "digits", stage=np.zeros(2)), "is not allowed; give one of 'final', 'dev'"),
        (lambda: zslbench.run("eszsl", "digits", seeds_at_once="often"), "seeds_at_once 'often' is not allowed"),
        (lambda: zslbench.run("eszsl", "digits", log=None), "log=None is not allowed"),
        (lambda: zslbench.run("eszsl", "digits", dry_run=None), "dry_run=None is not allowed; give True or False"),
        (lambda: zslbench.run("eszsl", "digits", plan=3), "plan=3 is not allowed; give .*an instance of StudyPlan"),
        (lambda: zslbench.run("eszsl", "digits", runs="a\0b"), "leave the null character out"),
        (lambda: zslbench.tune("eszsl", "digits", fold=[]), "no fold was given"),
        (lambda: zslbench.compare(level=np.ones(2)), "level=array.* is not allowed; give a number"),
        (lambda: zslbench.compare(draws=10**30), "give at least 100 .* and at most 1000000"),
        (lambda: zslbench.compare(bootstrap_seed=-1), "bootstrap_seed is -1; give a whole number from 0"),
        (lambda: zslbench.show(None), "id=None is not allowed"),
        (lambda: zslbench.data.load_dataset(None), "text=None is not allowed; give a text"),
        (lambda: zslbench.data.fetch({"cub": 1}), "is not allowed; give a text"),
        (lambda: zslbench.data.fetch("cub", retries=None), "retries=None is not allowed; give a whole number"),
        (lambda: zslbench.data.import_(3), "source=3 is not allowed"),
        (lambda: zslbench.results.gc(3), "runs=3 is not allowed"),
        (lambda: zslbench.engine("process", workers=10**30), "write a number from 1 to 1024, or auto"),
    ],
)
def test_what_is_not_taken_is_refused_in_a_sentence(call, sentence):
    with pytest.raises(ZslbenchError, match=sentence):
        call()
    assert not Path("runs").exists()


def test_an_outcome_is_short_in_a_notebook_and_knows_that_it_is_done():
    done = zslbench.run(["eszsl", "sae"], "digits")
    assert repr(done) == "<Outcome of 4 runs: 4 done>"
    assert {state for _, state in done.states} == {"done"}
    assert {state for _, state in done.states_before} == {"to run"}
    dry = zslbench.run(["eszsl", "ridge"], "digits", dry_run=True)
    assert repr(dry) == "<Outcome of 4 runs: 2 done, 2 to run>"
    for made in (zslbench.status(), zslbench.report(None), zslbench.plot("pareto", metrics="T1")):
        assert len(repr(made)) < 200
        assert dataclasses.is_dataclass(made)
