"""Several features and semantics of one data set: what is planned, done, shown and written of them."""

from __future__ import annotations

import itertools
import shlex
from pathlib import Path

import live_files
import numpy as np
import own_data
import pytest

import zslbench
from zslbench.errors import BadValue
from zslbench.visible import title_data

FEATURES, SEMANTICS = ("lite0", "lite1"), ("att", "words")
PAIRS = list(itertools.product(FEATURES, SEMANTICS))
STEMS = "--features lite0 --semantics att --features lite1 --semantics words"

pytestmark = pytest.mark.usefixtures("own_home")


@pytest.fixture(autouse=True)
def _birds(own_home):
    """A data set with two features and two semantics."""
    rng, given = np.random.default_rng(3), own_data.arrays()
    features = given["semantics"][given["labels"]] @ rng.standard_normal((own_data.ATTRIBUTES, own_data.FEATURES))
    words = given["semantics"] @ rng.standard_normal((own_data.ATTRIBUTES, 5))
    own_data.make(
        features={"lite0": given["features"], "lite1": features.astype(np.float32)},
        semantics={"att": given["semantics"], "words": words.astype(np.float32)},
    )


def stems_of(records):
    return [(record.dataset["features"], record.dataset["semantics"]) for record in records]


def test_each_features_goes_with_each_semantics_and_runs_are_those_of_one_command_each(runs):
    outcome = zslbench.run("eszsl", "birds", "zsl", features=FEATURES, semantics=np.array(SEMANTICS), runs=runs)
    assert stems_of(outcome.records) == PAIRS
    for features, semantics in PAIRS:
        single = zslbench.run("eszsl", "birds", "zsl", features=features, semantics=semantics, runs=runs)
        assert [state for _, state in single.states_before] == ["done"]
    again = zslbench.run("eszsl", "birds", features=["lite1", "lite0", "lite1"], semantics="att+words", runs=runs)
    assert {state for _, state in again.states_before} == {"to run"}
    assert len(again.records) == 2 * 2


def test_a_plan_lists_them_and_studies_of_one_each_are_named_apart_too(typed):
    listed = 'methods = "eszsl"\ndatasets = "birds"\nprotocols = "zsl"\nfeatures = ["lite0", "lite1"]\n'
    Path("listed.toml").write_text(listed + 'semantics = "att"\n')
    each = "".join(f'[[study]]\nfeatures = "{stem}"\nsemantics = ["att"]\n' for stem in FEATURES)
    Path("each.toml").write_text(listed.partition("features")[0] + each)
    shown = [typed("run", "--plan", name, "--dry-run") for name in ("listed.toml", "each.toml")]
    assert shown[0] == shown[1]
    assert [f"eszsl birds ({stem}, att) zsl seed 0" in shown[0][1] for stem in FEATURES] == [True, True]
    Path("listed.toml").write_text(listed + "semantics = []\n")
    code, _, err = typed("run", "--plan", "listed.toml")
    assert (code, "semantics is []; write a text or a list of texts" in " ".join(err.split())) == (2, True)


def test_listing_and_progress_name_them_where_there_are_several(typed):
    words = shlex.split(f"run -m eszsl -d birds -p gzsl {STEMS}")
    code, out, _ = typed(*words, "--dry-run")
    assert code == 0
    assert [f"eszsl birds ({', '.join(pair)}) gzsl seed 0" in out for pair in PAIRS] == [True] * 4
    code, _, err = typed(*words)
    assert code == 0
    assert [f"eszsl birds ({', '.join(pair)}) seed 0: U " in err for pair in PAIRS] == [True] * 4
    code, out, err = typed(*words[:7], "--features", "lite1", "--dry-run")
    assert "eszsl birds gzsl seed 0  done" in " ".join(out.split("   "))
    grid = "eszsl[gamma=[1..9]]"
    head, _ = zslbench.run(grid, "birds", features=FEATURES, semantics=SEMANTICS, dry_run=True).planned_table()
    assert head == ("method", *(f"birds ({', '.join(pair)})" for pair in PAIRS))


def test_a_stem_that_a_data_set_lacks_is_one_sentence_before_anything_runs(typed):
    code, _, err = typed("run", "-m", "eszsl", "-d", "birds", "--features", "lite0", "--features", "lite9")
    assert code == 2
    assert "data set 'birds' has no features 'lite9'; it has: lite0, lite1" in " ".join(err.split())
    assert not Path("runs").exists()
    with pytest.raises(BadValue, match="no semantics was given; name at least one with --semantics"):
        zslbench.run("eszsl", "birds", semantics=())


@pytest.mark.parametrize("verb", ["tune eszsl -d", "ablate eszsl -d", "check", "data card"])
def test_a_verb_that_takes_one_refuses_two(typed, verb):
    code, _, err = typed(*verb.split(), "birds", "--semantics", "att", "--semantics", "words")
    assert code == 2
    assert "--semantics was given 2 times (att, words), but one is allowed" in " ".join(err.split())


def test_status_knows_which_of_them_is_missing_and_which_is_running(runs):
    zslbench.run("eszsl", "birds", "zsl", features="lite0", runs=runs)
    cut = zslbench.run("toy_methods:Broken", "birds", "zsl", features=FEATURES, runs=runs)
    assert [record.status for record in cut.records] == ["failed", "failed"]
    fit = live_files.fit(0, label="toy_methods:Broken", dataset="birds (lite1, att)", protocols=("zsl",))
    live_files.put(runs, live_files.study(running=(fit,)))
    states = zslbench.status(runs).survey.states
    by_stem = {(slot.row, slot.place.features): state for slot, state in states.items()}
    broken = "toy_methods:Broken"
    assert by_stem == {("eszsl", "lite0"): "done", (broken, "lite0"): "failed", (broken, "lite1"): "running"}
    assert title_data("cub (res101, att)") == "CUB (res101, att)"
