"""Status: what lacks, the commands that fill it (typed as printed), and metrics recomputed from predictions."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import sys
import tomllib
from pathlib import Path

import live_files
import numpy as np
import pytest
import study_methods
import toy_methods
from click.testing import CliRunner
from data_folders import images, write_folder
from hypothesis import given, settings
from hypothesis import strategies as st
from result_records import record, saved

import zslbench
from zslbench.cli import cli
from zslbench.errors import BadValue, StoreError, ZslbenchError
from zslbench.params import resolve
from zslbench.results.records import requests
from zslbench.results.records.store import ResultStore
from zslbench.results.records.tuned_presets import PresetStore
from zslbench.runner.class_lookup import method_class
from zslbench.runner.executors import Listener
from zslbench.studies.status import verify_metrics
from zslbench.studies.status_plan import DataPlaces, plan_text
from zslbench.studies.survey import survey

NOISY, RIDGE, CLOSED = "study_methods:Noisy", "toy_methods:Ridge", "toy_methods:Closed"
SYNTHETIC = "synthetic[classes=12,images=15]"


@pytest.fixture
def runs(runs, monkeypatch):
    monkeypatch.chdir(runs.parent)
    return runs


class Interrupted(Listener):
    """Types Ctrl-C as soon as a fit begins after so many others."""

    def __init__(self, fits):
        self.fits = fits

    def started(self, job):
        self.fits -= 1
        if self.fits < 0:
            raise KeyboardInterrupt


def cut_short(fits, *asked, runs, **options):
    """Run what was asked for, and interrupt it after so many fits; the one that was begun leaves no record."""
    assert zslbench.run(*asked, hear=Interrupted(fits), runs=runs, **options).interrupted
    for path, one in ResultStore(runs).each():
        if not one.ok:
            path.unlink()


def typed(found, purpose=""):
    """Type what status printed: the command that writes the plan, and those of a purpose; return how many these are."""
    lines = [line.strip() for line in found.text.splitlines() if line.startswith("  zslbench ")]
    assert lines == [command.text for command in found.commands]
    writing = [command.text for command in found.commands if command.text.startswith("zslbench status")]
    wanted = [command.text for command in found.commands if command.purpose.startswith(purpose)]
    wanted = [text for text in wanted if text not in writing]
    for line in [*writing, *(f"{text} -q" for text in wanted)]:
        done = CliRunner().invoke(cli, shlex.split(line)[1:])
        assert done.exit_code == 0, (line, done.output)
    return len(wanted)


def fill(runs, found, purpose="", **asked):
    """Type what status printed, of which one command runs anything; nothing lacks afterwards."""
    assert typed(found, purpose) == 1
    assert zslbench.status(runs, **asked).complete


def states(found):
    return {(slot.row, slot.place.dataset, slot.protocol, slot.seed): s for slot, s in found.survey.states.items()}


def test_what_was_asked_for_and_not_done_is_missing_and_one_command_fills_it(runs):
    cut_short(2, [NOISY, CLOSED], ["digits", SYNTHETIC], seeds=2, runs=runs)  # two seeds of NOISY on digits are done
    zslbench.run(f"{NOISY}[ridge=3]", "digits", "zsl", seeds=1, runs=runs)
    found = zslbench.status(runs)
    assert not found.complete
    missing = {key for key, state in states(found).items() if state == "missing"}
    (place,) = {name for _, name, _, _ in missing} - {"digits"}
    assert missing == {
        *((CLOSED, "digits", protocol, 0) for protocol in ("zsl", "gzsl")),
        *((CLOSED, place, protocol, 0) for protocol in ("zsl", "gzsl")),
        *((NOISY, place, protocol, seed) for protocol in ("zsl", "gzsl") for seed in (0, 1)),
    }  # and nothing of NOISY[ridge=3], which nobody asked for elsewhere, nor with another seed
    purposes = [command.purpose for command in found.commands]
    assert purposes == ["write a plan file of what is missing, failed or stale", "do what is missing"]
    fill(runs, found, "do what is missing")
    last = zslbench.status(runs)
    assert last.commands == ()
    assert set(states(last).values()) == {"done"}
    assert "complete: 3 rows on 2 data sets under zsl, gzsl: 13 runs" in last.text


def test_what_was_asked_for_before_the_first_record_is_missing(runs):
    cut_short(0, [CLOSED, RIDGE], "digits", "zsl", runs=runs)
    found = zslbench.status(runs, methods=CLOSED)
    assert set(states(found)) == {(CLOSED, "digits", "zsl", 0)}
    assert not found.complete
    fill(runs, zslbench.status(runs))


def test_what_was_asked_for_of_a_class_that_is_not_imported_here_is_missing(runs, tmp_path, monkeypatch):
    (tmp_path / "asked_alone.py").write_text("import toy_methods\n\nclass Alone(toy_methods.Ridge):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    cut_short(0, ["asked_alone:Alone[ridge=2]", "asked_alone:Alone"], "digits", runs=runs)
    monkeypatch.delitem(sys.modules, "asked_alone")
    found = zslbench.status(runs)
    assert states(found) == {
        (row, "digits", protocol, 0): "missing"
        for row in ("asked_alone:Alone", "asked_alone:Alone[ridge=2]")
        for protocol in ("zsl", "gzsl")
    }
    assert not found.complete
    fill(runs, found)


def test_a_request_of_a_later_version_counts_for_nothing_and_is_not_to_be_deleted(runs):
    cut_short(0, CLOSED, "digits", "zsl", runs=runs)
    (path,) = (runs / requests.FOLDER).glob("*.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 2}))
    zslbench.run(RIDGE, "digits", "zsl", runs=runs)
    found = zslbench.status(runs)
    assert set(states(found)) == {(RIDGE, "digits", "zsl", 0)}
    assert f"{path} has schema 2, this zslbench reads up to 1; upgrade zslbench." in found.text
    assert "delete" not in found.text


def test_finished_studies_ask_for_nothing_more(runs):
    zslbench.run([CLOSED, RIDGE], "digits", "zsl", runs=runs)
    zslbench.run(CLOSED, SYNTHETIC, "gzsl", runs=runs)
    assert zslbench.status(runs).complete
    cut_short(1, [CLOSED, RIDGE], SYNTHETIC, "zsl", runs=runs)
    assert not zslbench.status(runs).complete
    zslbench.run([CLOSED, RIDGE], SYNTHETIC, "zsl", runs=runs)
    for path in runs.glob(f"{requests.FOLDER}/*"):
        pytest.fail(f"{path} is left")


@pytest.mark.parametrize("text", ["", "[]", '{"parts": 1}', '{"parts": [{"methods": [], "runs": [{}]}]}'])
def test_a_request_that_cannot_be_read_is_named(runs, text):
    zslbench.run(CLOSED, "digits", "zsl", runs=runs)
    (runs / requests.FOLDER / "broken.json").write_text(text)
    assert "broken.json does not say what a command asked for" in zslbench.status(runs).text


def test_seeds_asked_for_are_filled(runs):
    zslbench.run([NOISY, CLOSED], "digits", "zsl", seeds=[1], runs=runs)
    assert zslbench.status(runs).complete  # one seed each, whichever it is
    found = zslbench.status(runs, seeds=3)
    assert {key[3] for key, state in states(found).items() if state == "missing"} == {0, 2}
    fill(runs, found, seeds=3)


def test_failed_runs_say_why_and_are_tried_again(runs, monkeypatch):
    def hook(method):
        raise RuntimeError("no disk\nof any kind")

    monkeypatch.setattr(toy_methods.Ridge, "hook", hook)
    zslbench.run(NOISY, "digits", "zsl", seeds=2, runs=runs)
    found = zslbench.status(runs)
    assert (
        f"failed: {NOISY} on digits (pixels, strokes) zsl, seeds 0, 1: RuntimeError: no disk (test_status.py:"
        in found.text
    )
    monkeypatch.setattr(toy_methods.Ridge, "hook", None)
    fill(runs, found)


def test_interrupted_runs_are_unfinished(runs):
    zslbench.run(CLOSED, "digits", "zsl", runs=runs)
    store = ResultStore(runs)
    (one,) = store.load()
    store.save(dataclasses.replace(one, status="interrupted", metrics={}))
    found = zslbench.status(runs)
    assert set(states(found).values()) == {"unfinished"}
    fill(runs, found)


def test_a_run_under_way_is_running_and_not_asked_for_again(runs):
    cut_short(0, CLOSED, "digits", "zsl", seeds=1, runs=runs)
    (slot,) = zslbench.status(runs).survey.states
    fit = live_files.fit(slot.seed, label=slot.row, dataset="digits", protocols=("zsl",))
    live_files.put(runs, live_files.study(running=(fit,)))
    found = zslbench.status(runs)
    assert set(states(found).values()) == {"running"}
    assert not found.complete
    assert not found.commands
    assert "1 running" in found.text
    watch = shlex.join(["zslbench", "watch", "--runs", str(runs)])
    assert f"1 fit is running now, and what is missing may be next; see how far with `{watch}`" in found.text


def test_runs_of_a_changed_source_are_stale(runs):
    zslbench.run([CLOSED, NOISY], "digits", "zsl", seeds=2, runs=runs)
    store = ResultStore(runs)
    for one in store.load():
        if one.method["name"] == NOISY:
            store.relabel(dataclasses.replace(one, provenance={**one.provenance, "method_source": "0" * 16}))
    found = zslbench.status(runs)
    assert sorted(states(found).values()) == ["done", "stale", "stale"]
    assert [command.purpose for command in found.commands][1:] == ["do again what is stale"]
    fill(runs, found)


def test_another_version_of_a_method_leaves_its_old_runs_outdated(runs, monkeypatch):
    zslbench.run(NOISY, "digits", "zsl", runs=runs)
    newer = dataclasses.replace(study_methods.Noisy.card, version=2)
    monkeypatch.setattr(study_methods.Noisy, "card", newer)
    found = zslbench.status(runs)
    assert len(found.survey.outdated) == 1
    assert "outdated: 1 run of" in found.text
    fill(runs, found)


def test_runs_on_other_content_of_the_data_are_outdated(runs):
    zslbench.run([CLOSED, RIDGE], "digits", "zsl", runs=runs)
    store = ResultStore(runs)
    old = next(one for one in store.load() if one.method["name"] == CLOSED)
    store.path(old).unlink()
    data = {"features": "pixels", "semantics": "strokes", "origin": "builtin", "fingerprint": "f" * 16}
    other = record(CLOSED, "digits", params=old.method["params"], **data)
    before = {**old.provenance, "finished": "2001-01-01T00:00:00+00:00"}
    saved(runs, [dataclasses.replace(other, provenance=before)])
    found = zslbench.status(runs)
    assert [one.id for one in found.survey.outdated] == [other.id]
    assert "on other content of the data" in found.text
    assert {slot.row for slot in found.survey.of("missing")} == {CLOSED}


def test_methods_that_cannot_be_imported_are_said_so(tmp_path):
    rows = [record("gone_pkg.mine:Method"), record("gone_pkg.mine:Method", status="failed", seed=1, error="no")]
    found = zslbench.status(saved(tmp_path, rows))
    assert "not checked: gone_pkg.mine:Method: there is no module 'gone_pkg.mine' here" in found.text
    assert found.commands == ()


def test_presets_tuned_for_an_earlier_version_are_tuned_first(runs, monkeypatch):
    zslbench.tune("eszsl[gamma=[1,10],lam=1,preprocess=none]", "digits", protocols="zsl", runs=runs)
    zslbench.run("eszsl@tuned", "digits", "zsl", runs=runs)
    eszsl = method_class("eszsl")
    monkeypatch.setattr(eszsl, "card", dataclasses.replace(eszsl.card, version=eszsl.card.version + 1))
    found = zslbench.status(runs)
    assert "not tuned" in found.text
    assert found.commands[0].purpose == "tune first"
    assert "gamma=[1,10]" in found.commands[0].text  # the same search
    assert CliRunner().invoke(cli, shlex.split(found.commands[0].text)[1:]).exit_code == 0
    fill(runs, zslbench.status(runs))
    assert PresetStore(runs).load()[-1].version == eszsl.card.version


def test_candidates_and_the_other_stage_are_counted_apart_and_folds_are_named(runs):
    zslbench.run("eszsl", "digits", "zsl", runs=runs)
    zslbench.run("eszsl[gamma=1]", "digits", "zsl", runs=runs, oracle=True)
    zslbench.run("eszsl", "digits", "zsl", runs=runs, stage="dev", fold=[1, 3])
    found = zslbench.status(runs)
    assert found.complete
    assert "not counted above: 2 runs of the dev stage and 1 candidate of oracle selection (†)" in found.text
    cut_short(1, "sae", "digits", "zsl", runs=runs, stage="dev", fold=[1, 3])
    dev = zslbench.status(runs, stage="dev")
    assert {(slot.row, slot.fold): state for slot, state in dev.survey.states.items()} == {
        ("eszsl", 1): "done", ("eszsl", 3): "done", ("sae", 1): "done", ("sae", 3): "missing"
    }  # fmt: skip
    fill(runs, dev, stage="dev")


def test_a_data_set_of_ones_own_is_named_by_its_folder(tmp_path, runs):
    own = write_folder(tmp_path / "my data")
    zslbench.run("eszsl", "digits", runs=runs)
    cut_short(1, ["eszsl", "sae"], str(own), runs=runs)
    found = zslbench.status(runs)
    assert "FOLDER_OF" not in found.text
    assert f'datasets = ["{own}"]' in found.plan  # the records say where it is
    (tmp_path / "elsewhere").mkdir()
    moved = own.rename(tmp_path / "elsewhere" / own.name)
    assert "FOLDER_OF_MY_DATA stands for the folder of my-data" in zslbench.status(runs).text
    known = zslbench.status(runs, datasets=["digits", str(moved)])
    assert "FOLDER_OF" not in known.text
    typed(known)
    assert zslbench.status(runs).complete
    assert "my-data" in zslbench.table(runs, datasets=[str(moved)]).text


def test_names_with_blanks_and_quotes_are_quoted_for_the_shell_and_the_plan(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / 'it\'s "here"'
    zslbench.run("eszsl", "digits", "zsl", runs=folder)
    zslbench.run("sae[lam=2,preprocess=l2]", "digits", "gzsl", runs=folder)
    typed(zslbench.status(folder))
    assert zslbench.status(folder).complete


@pytest.mark.parametrize("what", ["metric", "predictions", "no rows", "damaged"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_verify_finds_what_was_tampered_with(runs, what):
    zslbench.run(CLOSED, "digits", runs=runs)
    store = ResultStore(runs)
    one = next(record for record in store.load() if record.protocol["name"] == "gzsl")
    arrays = store.predictions(one)
    if what == "metric":
        store.relabel(dataclasses.replace(one, metrics={**one.metrics, "H": one.metrics["H"] + 1e-9}))
    elif what == "predictions":
        store.save(one, {**arrays, "seen_class": np.roll(arrays["seen_class"], 1)})
    elif what == "no rows":
        store.save(one, {name: array[:0] for name, array in arrays.items()})
    else:
        store.path(one).with_suffix(".npz").write_bytes(b"PK no zip")
    assert [name for name, _ in zslbench.status(runs, verify=True).verification.mismatches] == [one.id]
    done = CliRunner().invoke(cli, ["status", "--verify", "--runs", str(runs)])
    assert (done.exit_code, f"MISMATCH: run {one.id}" in done.output) == (1, True)
    assert CliRunner().invoke(cli, ["status", "--runs", str(runs)]).exit_code == 0


def test_verify_says_which_records_lack_predictions_or_a_protocol(runs):
    zslbench.run(CLOSED, "digits", "zsl", runs=runs)
    store = ResultStore(runs)
    (one,) = store.load()
    store.path(one).with_suffix(".npz").unlink()
    saved(runs, [record("eszsl", "digits", "gone_pkg:Protocol")])
    found = zslbench.status(runs, verify=True).verification
    assert (found.verified, found.lacking, found.ok) == (0, (one.id,), True)
    assert "its protocol cannot be used: no module is imported for it" in found.skipped[0][1]
    strange = dataclasses.replace(record("eszsl", "digits"), protocol={"name": "zsl", "params": {"x": 1}})
    ((_, why),) = verify_metrics(store, [strange]).skipped
    assert why.startswith("its protocol cannot be used: ")
    assert "'x'" in why


def test_json_holds_every_run_and_the_matrix_calls_them_rows(runs):
    zslbench.run([NOISY, CLOSED], "digits", seeds=2, runs=runs)
    cut_short(1, [CLOSED, RIDGE], SYNTHETIC, "zsl", runs=runs)
    zslbench.run(CLOSED, "digits", runs=runs, stage="dev", fold=1)
    assert "verified: the metrics of 9 records follow" in zslbench.status(runs, verify=True).text
    heads = next(line for line in zslbench.status(runs).text.splitlines() if "zsl" in line.split())
    assert heads.split() == ["row", "zsl", "gzsl"]
    document = json.loads(zslbench.status(runs, format="json", verify=True).text)
    counts = [row["state"] for row in document["runs"]]
    assert (counts.count("done"), counts.count("missing")) == (7, 1)
    assert not document["complete"]
    assert document["verification"]["verified"] == 7 + 2
    assert document["commands"][-1]["command"] == "zslbench run --plan missing.toml"
    assert document["rows"] == [NOISY, CLOSED, RIDGE] == list(dict.fromkeys(run["row"] for run in document["runs"]))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"methods": "eszl"}, "did you mean 'eszsl'"),
        ({"datasets": "cup"}, "did you mean 'cub'"),
        ({"protocols": "gzl"}, "has protocol 'gzl'; there are: zsl"),
        ({"format": "csv"}, "unknown format"),
    ],
)
def test_names_without_runs_are_refused(tmp_path, arguments, sentence):
    with pytest.raises(ZslbenchError, match=re.escape(sentence)):
        zslbench.status(saved(tmp_path, [record("eszsl")]), **arguments)


def test_a_folder_without_records_names_a_command(tmp_path):
    with pytest.raises(StoreError, match="there are no runs in"):
        zslbench.status(tmp_path)


cells = st.sets(
    st.tuples(st.sampled_from(["eszsl", "sae", "ale"]), st.sampled_from(["a", "b"]), st.integers(0, 3)), min_size=1
)


@settings(max_examples=40, deadline=None)
@given(cells, cells, st.none() | st.integers(1, 5))
def test_expected_runs_and_gaps_agree_with_a_plain_loop(there, asked, seeds):
    there, asked = (
        {(method, data, seed if method == "ale" else 0) for method, data, seed in keys} for keys in (there, asked)
    )
    classes = {name: method_class(name) for name, _, _ in there | asked}
    facts = {name: {"params": resolve(cls, name, {}), "version": cls.card.version} for name, cls in classes.items()}
    records, requested = (
        [record(method, data, seed=seed, **facts[method]) for method, data, seed in sorted(keys)]
        for keys in (there, asked)
    )
    found = survey(records, PresetStore("nowhere"), seeds, requested)
    wanted = there | asked
    for method, data, _ in there | asked if seeds else ():
        done = sum(key[:2] == (method, data) for key in there)
        if method == "ale" and done < seeds:
            wanted |= {(method, data, seed) for seed in range(seeds)}
    given = {(slot.row, slot.place.dataset, slot.seed): state for slot, state in found.states.items()}
    assert given == {key: "done" if key in there else "missing" for key in wanted}
    text = plan_text(found, DataPlaces([], None), Path("nowhere"), "final", Path("/"))
    planned = [
        (method, data, seed)
        for study in tomllib.loads(text or "study = []")["study"]
        for method in study["methods"]
        for data in study["datasets"]
        for seed in (range(study["seeds"]) if isinstance(study["seeds"], int) else study["seeds"])
    ]
    assert sorted(planned) == sorted((slot.row, slot.place.dataset, slot.seed) for slot in found.of("missing"))


def test_the_plan_is_written_beside_the_records_and_replaces_no_plan_of_a_user(runs, tmp_path):
    zslbench.run([CLOSED, RIDGE], "digits", "zsl", runs=runs)
    cut_short(1, [CLOSED, RIDGE], "digits", "gzsl", runs=runs)
    words = ["status", "--runs", str(runs), "--write-plan"]
    done = CliRunner().invoke(cli, [*words, "missing.toml"])
    assert done.exit_code == 0
    assert "zslbench run --plan missing.toml" in done.output
    assert "--write-plan" not in done.output
    assert 'runs = "runs"' in Path("missing.toml").read_text()  # relative to the plan: both can be moved
    study = zslbench.read_plan("missing.toml").studies["study 1"]
    assert (study.methods, study.protocols, study.seeds) == ([RIDGE], ["gzsl"], 1)
    assert CliRunner().invoke(cli, [*words, "missing.toml"]).exit_code == 0
    Path("mine.toml").write_text('methods = ["eszsl"]\n')
    with pytest.raises(BadValue, match=r"mine\.toml exists and is not a plan that `zslbench status` wrote"):
        zslbench.status(runs, write_plan="mine.toml")
    assert zslbench.run(plan="missing.toml").failed == ()
    assert zslbench.status(runs, write_plan="other.toml").complete
    assert not Path("other.toml").exists()


def test_two_folders_of_one_name_are_told_apart_by_their_content(tmp_path, runs):
    first = write_folder(tmp_path / "one" / "same")
    other = write_folder(tmp_path / "two" / "same", {"features": images()["features"] * 2})
    zslbench.run([CLOSED, RIDGE], str(first), "zsl", runs=runs)
    cut_short(1, [CLOSED, RIDGE], str(other), "zsl", runs=runs)
    named = zslbench.status(runs, datasets=str(first))
    assert named.complete
    assert not named.survey.outdated
    whole = zslbench.status(runs)
    (missing,) = whole.survey.of("missing")
    contents = {record.dataset["fingerprint"] for record in ResultStore(runs).load()}
    assert len(contents) == 2
    assert missing.row == RIDGE
    assert all(f"same (res101, att) {content[:8]}" in whole.text for content in contents)
    assert f'datasets = ["{other}"]' in whole.plan  # where the records say that this content is
    away = other.rename(tmp_path / "away")
    assert f"FOLDER_OF_SAME_{missing.place.content[:8].upper()}" in zslbench.status(runs).plan
    away.rename(other)
    both = zslbench.status(runs, datasets=[str(first), str(other)])
    assert str(other) in both.plan
    assert str(first) not in both.plan
    fill(runs, both)


def test_a_folder_that_was_changed_since_lacks_all_that_was_run_on_it(tmp_path, runs):
    folder = write_folder(tmp_path / "mine")
    zslbench.run([CLOSED, RIDGE], str(folder), "zsl", runs=runs)
    write_folder(folder, {"features": images()["features"] * 2})
    found = zslbench.status(runs, datasets=str(folder))
    assert {slot.row for slot in found.survey.of("missing")} == {CLOSED, RIDGE}
    fill(runs, found, datasets=str(folder))


@pytest.mark.usefixtures("cub_home")
@pytest.mark.parametrize("by_name_first", [True, False])
def test_the_same_data_by_its_name_and_by_its_folder_counts_once(tmp_path, runs, by_name_first):
    by_folder = ["-d", str(write_folder(tmp_path / "data" / "CUB"))]
    by_name = ["-d", "cub", "--data-root", str(tmp_path / "data")]

    def typed_output(*words):
        result = CliRunner().invoke(cli, [*words, "--runs", str(runs)])
        assert result.exit_code == 0, result.output
        return result.stdout

    for data in (by_name, by_folder) if by_name_first else (by_folder, by_name):
        typed_output("run", "-m", NOISY, "-m", CLOSED, "-p", "zsl", "--seeds", "2", *data)
    assert len([*ResultStore(runs).each()]) == (3 if by_name_first else 6)  # the folder's runs are those of the name
    (noisy,) = (row for row in json.loads(typed_output("table", "--format", "json")) if row["method"] == NOISY)
    assert (noisy["n"], noisy["seeds"]) == (2, [0, 1])
    (row,) = (line for line in typed_output("table", "--format", "csv").splitlines() if line.startswith(NOISY))
    assert ",0 1,2,T1," in row
    table = typed_output("table", "--caption", "full")
    assert "(n = 2)" in table
    assert "Split: proposed split (PS) of Xian et al.\n" in table
    compared = json.loads(typed_output("compare", NOISY, CLOSED, "--metric", "T1", "--format", "json"))
    (comparison,) = compared["comparisons"]
    assert {row["method"]: row["seeds"] for row in comparison["methods"]} == {NOISY: [0, 1], CLOSED: [0]}
    assert "complete: 2 rows on 1 data set under zsl: 3 runs" in typed_output("status")
    typed_output("run", "-m", NOISY, "-p", "zsl", "--seeds", "3", *by_folder)  # a seed that the name does not have
    cut_short(0, NOISY, by_folder[1], "zsl", seeds=4, runs=runs)
    found = zslbench.status(runs)
    assert [str(place) for place in found.survey.places] == ["CUB (res101, att)"]
    assert [(slot.row, slot.seed) for slot in found.survey.of("missing")] == [(NOISY, 3)]


@pytest.mark.usefixtures("cub_home")
def test_what_was_asked_for_by_the_name_of_data_is_beside_what_its_folder_has(tmp_path, runs):
    zslbench.run(NOISY, str(write_folder(tmp_path / "CUB")), "zsl", runs=runs)
    cut_short(0, NOISY, "cub", "zsl", seeds=2, data_root=tmp_path, runs=runs)
    found = zslbench.status(runs)
    assert {(str(slot.place), slot.seed): state for slot, state in found.survey.states.items()} == {
        ("CUB (res101, att)", 0): "done", ("CUB (res101, att)", 1): "missing"
    }  # fmt: skip
    assert len(found.survey.places) == 1
