"""`tune`: the best of the dev stage, resumable, with no part for test images."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import spied
import sqlalchemy
import tuning_toys
from click.testing import CliRunner

import zslbench
from zslbench import errors
from zslbench.cli import cli
from zslbench.data.loading import load_dataset
from zslbench.data.splits import split
from zslbench.results.records.store import ResultStore
from zslbench.results.records.tuned_presets import PresetStore
from zslbench.studies.search import Trial, ended_trials, resume_search
from zslbench.studies.tune import best_of, describe_tuning, tune

HERE = Path(__file__).resolve().parent
NAMES = ("synthetic[unseen=6,images=12]", "relu", "uniform")
DATA = NAMES[0]
PEAK, GRID = "tuning_toys:Peak", "tuning_toys:PeakGrid"


@pytest.fixture(autouse=True, scope="module")
def _no_waiting_for_the_disk():
    def no_waiting(connection, _):
        connection.execute("PRAGMA synchronous=OFF")

    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", no_waiting)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda number: None)
        yield
    sqlalchemy.event.remove(sqlalchemy.Engine, "connect", no_waiting)


@pytest.fixture(scope="module")
def whole_grid(tmp_path_factory):
    """The whole grid of 16 points under both protocols, and its folder, which tests do not change."""
    folder = tmp_path_factory.mktemp("grid") / "runs"
    return folder, zslbench.tune(GRID, DATA, runs=folder)


@pytest.fixture(scope="module")
def eight(tmp_path_factory):
    """Eight trials of TPE in one go, as `eight_trials` asks for them."""
    return eight_trials(tmp_path_factory.mktemp("eight"))


def eight_trials(runs, trials=8):
    return tune(PEAK, DATA, "zsl", runs=runs, fold=1, trials=trials, checkpoints="every:1")


def small(runs, method=GRID, **options):
    """Tune x in one fold: four fits."""
    return tune(method, DATA, "zsl", **{"runs": runs, "only": "x", "fold": 1} | options)


def type_(*words):
    return CliRunner().invoke(cli, [*words, "-q"], catch_exceptions=False)


def dev_means(runs, protocol, metric):
    """Average the records of three folds by a naive loop."""
    scores = {}
    for record in ResultStore(runs).load():
        if (record.stage, record.status, record.protocol["name"]) == ("dev", "ok", protocol):
            params = record.method["params"]
            scores.setdefault((params["x"], params["y"]), []).append(record.metrics[metric])
    return {point: sum(of_folds) / 3 for point, of_folds in scores.items() if len(of_folds) == 3}


def preset(runs, method, protocol, name="tuned"):
    kept = PresetStore(runs).find(name, method, *NAMES, protocol)
    assert kept is not None
    return kept


def change(path, **facts):
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | facts), encoding="utf-8")


def before_each_fit(monkeypatch, act):
    """Do something before each fit of Peak, given its number from 1, the method and its `Train`; return the numbers."""
    numbers = []
    fit_before = tuning_toys.Peak.fit

    def fit(self, train, ctx):
        numbers.append(len(numbers) + 1)
        act(len(numbers), self, train)
        return fit_before(self, train, ctx)

    monkeypatch.setattr(tuning_toys.Peak, "fit", fit)
    return numbers


def test_the_grid_is_tried_in_full_and_its_best_mean_kept_under_each_protocol(whole_grid):
    runs, tuning = whole_grid
    assert (tuning.sampler, tuning.counts) == ("grid", {"ok": 16, "failed": 0, "pruned": 0})
    for protocol, metric in (("zsl", "T1"), ("gzsl", "H")):
        means = dev_means(runs, protocol, metric)
        assert len(means) == 16
        kept = preset(runs, GRID, protocol)
        assert means[kept.values["x"], kept.values["y"]] == max(means.values())
        assert protocol != "zsl" or (kept.values["x"], kept.values["y"]) == (0.1, 3)
        assert kept.score == pytest.approx(max(means.values())) == pytest.approx(np.mean(kept.fold_scores))
        assert (kept.folds, kept.trials) == ((1, 2, 3), {"ok": 16})
        assert kept.space == {"x": "0, 0.01, 0.1, 1", "y": "1, 2, 3, 4"}


def test_a_grid_is_fitted_at_once_a_fold_a_time_and_not_again(runs):
    tuning_toys.PeakGrid.calls.clear()
    first = small(runs, fold=None)
    assert tuning_toys.PeakGrid.calls == [4, 4, 4]
    again = small(runs, fold=None)
    assert tuning_toys.PeakGrid.calls == [4, 4, 4]
    assert again.trials == first.trials
    assert [kept.id for kept in again.presets] == [kept.id for kept in first.presets]


def test_a_sampler_starts_where_the_method_stands_and_keeps_its_best(runs):
    tuning = tune(PEAK, DATA, runs=runs, trials=4)
    assert tuning.sampler == "tpe"
    assert tuning.trials[0].values == {"x": 1.0, "y": 2}
    assert len({tuple(trial.values.items()) for trial in tuning.trials}) == 4, "no point is tried twice"
    for protocol, metric in (("zsl", "T1"), ("gzsl", "H")):
        means = dev_means(runs, protocol, metric)
        kept = preset(runs, PEAK, protocol)
        assert kept.score == pytest.approx(max(means.values()))
        assert means[kept.values["x"], kept.values["y"]] == pytest.approx(kept.score)


def test_more_trials_go_on_where_the_search_was(runs, eight):
    eight_trials(runs, 3)
    assert eight_trials(runs).trials == eight.trials
    assert eight_trials(runs, 3).trials == eight.trials, "what was tried counts"


def test_another_space_or_seed_is_another_search_and_says_so(runs):
    first = tune(PEAK, DATA, "zsl", runs=runs, trials=2, fold=1)
    changes = {
        "1 earlier search": {"only": "x"},
        "2 earlier searches": {"seed": 1},
        "3 earlier searches": {"sampler": "random"},
    }
    for earlier, other in changes.items():
        tuning = tune(PEAK, DATA, "zsl", runs=runs, trials=2, fold=1, **other)
        assert len(tuning.trials) == 2
        assert tuning.trials[1].values != first.trials[1].values or "seed" not in other
        remarks = " ".join(tuning.remarks)
        assert f"holds {earlier} of another space" in remarks
        assert "an earlier source of the method; this one starts anew" in remarks
    assert preset(runs, PEAK, "zsl").sampler == "random"
    assert not tune(PEAK, DATA, "zsl", runs=runs, trials=3, fold=1).remarks, "that goes on"


def test_only_the_dev_stage_is_run_and_no_test_row_is_asked_about(runs, monkeypatch):
    monkeypatch.setattr(spied.NOWHERE, "asked", [])
    tune("toy_methods:Spy[ridge=[0.1,1]]", DATA, runs=runs, only="ridge", trials=2)
    records = ResultStore(runs).load()
    assert len(records) == 2 * 3 * 2
    assert {record.stage for record in records} == {"dev"}
    dataset = load_dataset(DATA)
    final = split(dataset, "final", 1)
    held_out = np.concatenate([final.asked_seen, final.asked_unseen])
    test = {row.tobytes() for row in dataset.features[held_out]}
    rest = {row.tobytes() for row in np.delete(dataset.features, held_out, 0)}
    asked = set()
    for what, received in spied.NOWHERE.asked:
        features = received.features if what == "fit" else received[0]
        asked |= {row.tobytes() for row in features}
    assert asked
    assert asked <= rest
    assert not asked & (test - rest)


def test_oracle_runs_the_same_points_on_test_and_leaves_the_preset_alone(runs, tmp_path):
    plain, marked = small(tmp_path / "plain"), small(runs, oracle=True)
    assert [kept.id for kept in marked.presets] == [kept.id for kept in plain.presets]
    final = [record for record in ResultStore(runs).load() if record.stage == "final"]
    assert len(final) == 4
    assert {record.selection for record in final} == {"oracle"}
    assert "† 4 of 4 runs on test images" in describe_tuning(marked)
    assert {record.stage for record in ResultStore(tmp_path / "plain").load()} == {"dev"}


@pytest.mark.parametrize("method", [f"{GRID}[unlucky=true,x=0.1]", f"{PEAK}[unlucky=true,x=0.1,y=[2,4,6]]"])
def test_a_failing_point_is_recorded_and_left_out(runs, method):
    tuning = small(runs, method, only=())
    failed = [trial for trial in tuning.trials if trial.result == "failed"]
    assert [trial.values["y"] for trial in failed] == [4]
    assert "four is unlucky" in failed[0].why
    assert tuning.counts["failed"] == 1
    assert tuning.presets[0].values["y"] != 4
    assert "why trials failed: RuntimeError: four is unlucky" in describe_tuning(tuning)
    bad = [record for record in ResultStore(runs).load() if record.status == "failed"]
    assert [record.method["params"]["y"] for record in bad] == [4]


def test_a_fold_that_fails_is_not_averaged_away(runs, monkeypatch):
    dataset = load_dataset(DATA)
    third = set(np.unique(dataset.labels[split(dataset, "dev", 3).train]))

    def fail_in_the_third(number, method, train):
        if method.y == 3 and set(np.unique(train.labels)) == third:
            raise RuntimeError("this fold is not for three")

    before_each_fit(monkeypatch, fail_in_the_third)
    tuning = small(runs, f"{PEAK}[x=0.1,y=[2,3]]", only=(), fold=None)
    assert {trial.values["y"]: trial.result for trial in tuning.trials} == {2: "ok", 3: "failed"}
    assert tuning.presets[0].values["y"] == 2


@pytest.mark.parametrize("method", ["tuning_toys:Hopeless", "tuning_toys:Hopeless[x=[0.1,1],y=[1,2]]"])
def test_when_all_fail_there_is_no_preset(runs, method):
    done = type_("tune", method, "-d", DATA, "--trials", "2", "--fold", "1", "--runs", str(runs))
    assert done.exit_code == 1
    assert "no trial finished, so no preset was written" in done.output
    assert "there is no hope" in done.output
    assert not PresetStore(runs).load()


@pytest.mark.parametrize("sampler", ["auto", "grid"])
def test_a_point_that_the_constructor_refuses_is_a_failed_trial(runs, sampler):
    tuning = small(runs, "tuning_toys:Refusing[x=0.1,y=[1,2,3]]", only=(), sampler=sampler)
    assert {trial.values["y"]: trial.result for trial in tuning.trials} == {1: "ok", 2: "ok", 3: "failed"}


def test_a_trial_worse_than_the_median_is_given_up_and_never_chosen(runs):
    options = {"runs": runs, "trials": 10, "sampler": "random", "checkpoints": "every:1", "fold": 1}
    tuning = tune(f"{PEAK}[epochs=2]", DATA, "zsl", **options)
    pruned = [trial for trial in tuning.trials if trial.result == "pruned"]
    assert pruned
    assert all(trial.why == "worse than the median of earlier trials" and not trial.scores for trial in pruned)
    assert all(trial.result == "ok" for trial in tuning.trials[:5]), "five are needed for a median"
    skipped = [record for record in ResultStore(runs).load() if record.status == "skipped"]
    assert skipped
    assert all(record.error == "worse than the median of earlier trials" and record.fold == 1 for record in skipped)
    assert all(record.curve and not record.metrics for record in skipped)
    best = tuning.presets[0]
    assert best.trials == {"ok": 10 - len(pruned), "pruned": len(pruned)}
    assert {name: best.values[name] for name in ("x", "y")} not in [trial.values for trial in pruned]
    whole = tune(f"{PEAK}[epochs=2]", DATA, "zsl", prune=False, name="whole", **options)
    assert whole.counts["pruned"] == 0
    assert [trial.values for trial in whole.trials] == [trial.values for trial in tuning.trials]
    for place, trial in enumerate(tuning.trials):  # what was given up was indeed worse than half of those before it
        if trial.result == "pruned":
            before = [one.scores["zsl"][0] for one in tuning.trials[:place] if one.result == "ok"]
            assert whole.trials[place].scores["zsl"][0] < np.median(before)


def test_nothing_is_given_up_without_checkpoints(runs):
    assert tune(PEAK, DATA, "zsl", runs=runs, trials=8, fold=(1, 2), sampler="random").counts["pruned"] == 0


def on_disk(runs):
    return {str(path.relative_to(runs)): (path.stat().st_mtime_ns, path.stat().st_ino) for path in runs.glob("*/*/*/*")}


@pytest.mark.parametrize(
    ("method", "protocols", "fit", "finished"),
    [(PEAK, ("zsl",), 8, 2 * 3 + 1), (f"{GRID}[y=3]", ("zsl", "gzsl"), 6, 2 * (4 + 1))],
    ids=["in the second fold of the third trial", "in the second fold of a grid"],
)
def test_a_search_that_was_killed_goes_on(tmp_path, monkeypatch, forks, method, protocols, fit, finished):
    runs = tmp_path / "runs"
    words = ["tune", method, "-d", DATA, "--trials", "3", *(word for rules in protocols for word in ("-p", rules))]
    monkeypatch.setenv("ZSLBENCH_TEST_KILL_AT", str(fit))
    assert forks.type(*words, folder=tmp_path, path=[HERE]).returncode == -signal.SIGKILL
    monkeypatch.delenv("ZSLBENCH_TEST_KILL_AT")
    before = on_disk(runs)
    documents = [name for name in before if name.endswith(".json")]
    assert len(documents) == finished, "every protocol of each fit that was done"
    assert not PresetStore(runs).load()

    fits = before_each_fit(monkeypatch, interrupt_at())
    done = type_(*words, "--runs", str(runs))
    assert done.exit_code == 0, done.output
    assert {name: stat for name, stat in on_disk(runs).items() if name in before} == before
    done_again = len(fits)
    whole = tune(method, DATA, protocols, runs=tmp_path / "whole", trials=3)
    undone = len(whole.trials) * 3 - finished // len(protocols)
    assert done_again == undone, "nothing finished is fitted again, nothing is left out"
    again = tune(method, DATA, protocols, runs=runs, trials=3)
    assert again.trials == whole.trials
    assert [kept.id for kept in again.presets] == [kept.id for kept in whole.presets]


def interrupt_at(*numbers):
    def interrupt(number, method, train):
        if number in numbers:
            raise KeyboardInterrupt

    return interrupt


def test_ctrl_c_keeps_what_is_done_and_writes_no_preset(runs, monkeypatch):
    fits = before_each_fit(monkeypatch, interrupt_at(5))
    words = ["tune", PEAK, "-d", DATA, "-p", "zsl", "--trials", "2", "--runs", str(runs)]
    done = type_(*words)
    assert done.exit_code == 130
    assert "interrupted after 1 trial: finished runs are kept; the same call does the rest" in done.output
    assert not PresetStore(runs).load()
    assert type_(*words).exit_code == 0
    assert len(fits) == 6 + 1, "the fit that was cut short is done again, no other"


def test_what_the_sampler_suggests_does_not_depend_on_where_it_was_cut_short(runs, eight, monkeypatch):
    before_each_fit(monkeypatch, interrupt_at(1, 9, 10))
    calls = [eight_trials(runs) for _ in range(4)]
    assert [tuning.interrupted for tuning in calls] == [True, True, True, False]
    assert calls[-1].trials == eight.trials
    assert calls[-1].presets[0].id == eight.presets[0].id


def test_a_trial_that_ended_but_was_not_marked_so_is_marked_so():
    import optuna

    study = optuna.create_study(direction="maximize")
    whole = Trial({"x": 1}, "ok", {"zsl": (0.25, 0.75)}, {"zsl": {}})
    ends = [whole, Trial({"x": 2}, "pruned"), Trial({"x": 3}, "failed")]
    for end in ends:
        study.ask().set_user_attr("trial", dataclasses.asdict(end))
    cut_short = study.ask()
    cut_short.suggest_float("x", 0, 1)
    resume_search(study)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED", "FAIL", "FAIL", "WAITING"]
    assert study.trials[0].value == 0.5
    assert ended_trials(study) == ends
    assert study.ask().suggest_float("x", 0, 1) == cut_short.params["x"]


def test_no_trial_begins_after_the_time_limit(runs):
    done = type_("tune", PEAK, "-d", DATA, "--time-limit", "0.000001", "--runs", str(runs))
    assert done.exit_code == 1
    assert "no trial was done in time" in done.output
    assert "with more --time-limit" in done.output
    gridded = small(runs, time_limit="0.000001s")
    assert not gridded.presets
    assert "after 0 of 4 trials" in gridded.remarks[0]
    in_time = small(runs, time_limit="1h")
    assert in_time.counts["ok"] == 4
    assert not in_time.remarks


def test_the_preset_runs_as_the_summary_says(runs):
    text = describe_tuning(tune(PEAK, DATA, runs=runs, trials=1, fold=1))
    words = shlex.split(text.partition("\nnext: ")[2])
    assert words[0] == "zslbench"
    assert type_(*words[1:]).exit_code == 0
    final = [record for record in ResultStore(runs).load() if record.stage == "final"]
    assert len(final) == 5 * 2
    for record in final:
        kept = preset(runs, PEAK, record.protocol["name"])
        assert (record.selection, record.method["label"]) == ("validated", f"{PEAK}@tuned")
        assert (record.method["params"], record.provenance["tuned"]) == (kept.values, kept.id)


def test_trials_are_trained_and_recorded_at_the_precision_asked_for_which_the_summary_keeps(runs):
    gan = "fclswgan[hidden=8,epochs=1,pretrain_epochs=1,per_class=3,final_epochs=1]"
    search = ("tune", gan, "-d", DATA, "-p", "zsl", "--only", "lr", "--trials", "2", "--fold", "1", "--runs", str(runs))
    done = type_(*search, "--precision", "bf16")
    assert [record.provenance["precision"] for record in ResultStore(runs).load()] == ["bf16"] * 2
    assert f" --precision bf16 --runs {runs}" in done.stdout.partition("\nnext: ")[2]
    with pytest.raises(errors.BadValue, match="precision 'tf32' needs a CUDA device"):
        tune(gan, DATA, device="cpu", precision="tf32", runs=runs)
    said = "2 trials were trained at another precision (bf16) and taken as they are; --rerun all does all of the search"
    assert "another precision" not in done.output
    rates = ",".join(str(record.method["params"]["lr"]) for record in ResultStore(runs).load())
    for given, sampler in ((gan, "tpe"), (f"{gan[:-1]},lr=[{rates}]]", "grid")):  # kept trials, and records of points
        again = type_("tune", given, *search[2:], "--sampler", sampler)
        assert f"{said} again in float32." in again.output, sampler
    assert "another precision" not in type_(*search, "--rerun", "all").output


def test_what_was_tuned_under_a_name_with_an_ablation_and_fixed_values_is_that(runs):
    small(runs, f"{PEAK}@flat[epochs=2]", name="flat_tuned", trials=1)
    kept = preset(runs, PEAK, "zsl", "flat_tuned")
    assert kept.values["y"] == 0
    assert kept.values["epochs"] == 2
    outcome = zslbench.run(f"{PEAK}@flat_tuned", DATA, "zsl", runs=runs)
    assert dict(outcome.records[0].method["params"]) == kept.values
    assert outcome.records[0].selection == "validated"
    changed = zslbench.run(f"{PEAK}@flat_tuned[epochs=3]", DATA, "zsl", runs=runs)
    assert changed.records[0].selection == "fixed", "another value is no longer what was validated"


def test_protocols_whose_presets_differ_are_tuned_side_by_side(runs):
    method = "toy_methods:Ridge@cells"  # ridge is 3 under zsl, 4 under gzsl
    tuning = tune(method, "digits", runs=runs, only="epochs", trials=2, fold=(1, 2), checkpoints="every:1")
    assert tuning.counts["ok"] == 2
    assert {kept.protocol: kept.values["ridge"] for kept in tuning.presets} == {"zsl": 3.0, "gzsl": 4.0}
    outcome = zslbench.run("toy_methods:Ridge@tuned", "digits", runs=runs)
    assert [record.method["params"]["ridge"] for record in outcome.records] == [3.0, 4.0]
    assert {record.selection for record in outcome.records} == {"validated"}


def test_a_grid_point_keeps_its_row_beside_the_preset_that_chose_the_same_values(runs):
    def type_there(*words):
        return CliRunner().invoke(cli, [*words, "--runs", str(runs)])

    for words in (
        ["run", "-m", "eszsl[gamma=[1,10],lam=[1,10],preprocess=l2]"],
        ["tune", "eszsl[gamma=1,lam=[10,1000],preprocess=l2]"],
        ["run", "-m", "eszsl@tuned"],
        ["tune", "eszsl[gamma=10,lam=[10,1000],preprocess=none]"],
        ["run", "-m", "eszsl@tuned"],
    ):
        assert type_there(*words, "-d", "digits", "-p", "zsl", "-q").exit_code == 0
    table, status = (type_there(verb).stdout for verb in ("table", "status"))
    assert "ESZSL[gamma=1, lam=10] " in table
    assert "eszsl[gamma=1,lam=10,preprocess=l2]" in status
    assert table.count("\nESZSL@tuned ") == 1
    assert "eszsl@tuned " in status
    other = "eszsl[gamma=10,lam=1,preprocess=l2]"
    for named in ("eszsl@tuned", "eszsl@tuned[gamma=1]"):
        assert type_there("compare", named, other).exit_code == 0
    grid = type_there("table", "-m", "eszsl", "--pivot", "gamma,lam").stdout
    assert "ESZSL on digits, zsl: T1" in grid
    assert "Not in the grid: eszsl@tuned." in grid


@pytest.mark.filterwarnings("ignore:.*of replaced presets not shown")
def test_a_row_of_a_replaced_preset_is_named_as_such_and_never_the_best(runs):
    def type_there(*words):
        return CliRunner().invoke(cli, [*words, "--runs", str(runs)]).stdout

    def type_on_digits(*words):
        return type_there(*words, "-d", "digits", "-p", "zsl", "-q")

    values = "gamma=1,preprocess=l2", "gamma=10,preprocess=none"
    first, second = (f"eszsl[{given},targets=binary,lam=[10,1000]]" for given in values)
    type_on_digits("run", "-m", "conse")
    type_on_digits("tune", first)
    type_on_digits("run", "-m", "eszsl@tuned")
    table = type_there("table")
    assert re.search(r"ESZSL@tuned +57\.5\*", table)
    assert "eplaced" not in table + type_there("status") + type_there("compare")
    changes = "(gamma=1 by 10, preprocess=l2 by none)"
    assert f"and is replaced {changes}; choose another --name to keep both." in type_on_digits("tune", second)
    since = "whose preset has other values now"
    for done in (False, True):
        name, typed = "ESZSL@tuned", ["-m", "eszsl@tuned[gamma=1]", "-m", "conse"] if done else []
        table, status = (" ".join(type_there(*words).split()) for words in (("table", *typed), ("status",)))
        compare = " ".join(type_there("compare", *typed[1::2]).split())
        assert "57.5 " in table
        assert "57.5*" not in table
        assert "Best among" not in table
        assert f"Replaced: {name} on digits zsl, {since}." in table
        assert f"Not marked: {name} (replaced), nor anything where it leads." in table
        assert f"Replaced: {name} on digits (pixels, strokes), {since}." in compare
        assert f"eszsl@tuned 1 {'done' if done else 'missing'} " in status
        assert f"replaced: 1 more run of eszsl@tuned, not counted above, {since}" in status
        assert "outdated" not in status
        for methods, gammas in (((), {10} if done else {1}), (("eszsl@tuned[gamma=1]",), {1})):
            facts = zslbench.table(runs=runs, format="json", methods=["conse", *(methods or ("eszsl",))]).list_facts()
            tuned_rows = {row["params"]["gamma"]: row["replaced"] for row in facts if row["method"] == "eszsl"}
            assert tuned_rows == {gamma: gamma == 1 for gamma in gammas}
        type_on_digits("run", "-m", "eszsl@tuned")
    more = str(shutil.copytree(runs, runs.parent / "more"))
    settings = ("eszsl[gamma=2]", "eszsl[gamma=3]")
    for words in (["run", "-d", "digits", "-p", "zsl"], ["table", "-m", "eszsl@tuned[gamma=1]", "-m", "conse"]):
        words += ["-m", settings[0], "-m", settings[1], "--runs", more]
        below = " ".join(CliRunner().invoke(cli, words).stdout.split())
    reasons = r"ESZSL \(several settings, none chosen in the dev stage\); ESZSL@tuned.{0,30} \(replaced\)"
    assert re.search(f"Not marked: {reasons}, nor anything where one of them leads.", below), below
    assert below.count("Not marked") == 1
    type_on_digits("tune", first, "--name", "other")
    assert "eplaced" not in type_there("table"), "another preset has these values now"
    both = ["eszsl@tuned[gamma=1,preprocess=l2]", "eszsl@tuned[gamma=10,preprocess=none]"]
    with pytest.raises(errors.BadValue, match=re.escape(f"{', '.join(both)}; name one of them, such as '{both[0]}'")):
        zslbench.compare("eszsl@tuned", "conse", runs=runs)
    with pytest.raises(errors.BadValue, match=re.escape(f"not 3 (conse, {', '.join(both)})")):
        zslbench.plot("confusion", runs / "confusion.svg", runs=runs)


def test_a_tuned_preset_means_its_values_of_today_wherever_a_row_is_picked_by_name(runs):
    def type_there(*words):
        result = CliRunner().invoke(cli, [*words, "--runs", str(runs)])
        return result.exit_code, " ".join((result.stdout + str(result.exception or "")).split())

    for words in (
        ["run", "-m", "conse"],
        ["tune", "eszsl[gamma=[1,100],lam=[0.01,10],preprocess=l2]"],
        ["run", "-m", "eszsl@tuned"],
        ["tune", "eszsl[gamma=[1,1000],lam=[0.1,10],preprocess=none]"],
        ["run", "-m", "eszsl@tuned"],
    ):
        assert type_there(*words, "-d", "digits", "-q")[0] == 0
    zsl, gzsl = (
        PresetStore(runs).find("tuned", "eszsl", "digits", "pixels", "strokes", rules) for rules in ("zsl", "gzsl")
    )
    assert zsl.values != gzsl.values, "else it is easy to show one row"
    with pytest.warns(errors.RecordsLeftOut, match="2 runs of replaced presets not shown"):
        facts = zslbench.table(runs=runs, methods=["eszsl@tuned"], format="json").list_facts()
    params = {row["metric"]: row["params"] for row in facts}
    assert {metric: params[metric] for metric in ("T1", "H")} == {"T1": zsl.values, "H": gzsl.values}
    _, table = type_there("table")
    assert re.search(r"ESZSL@tuned( +[\d.]+\*?){4} ", table), table
    assert "2 runs of replaced presets not shown; ask for their values" in table
    _, named = type_there("table", "-m", "eszsl@tuned[preprocess=l2]")
    assert re.search(r"ESZSL@tuned( +[\d.]+){4} .*Replaced: ESZSL@tuned on digits zsl, digits gzsl", named), named
    for term in ("eszsl@tuned", "eszsl"):
        code, compared = type_there("compare", term, "conse")
        assert (code, "eplaced" in compared) == (0, False), compared
    code, compared = type_there("compare", "eszsl@tuned", "eszsl@tuned[preprocess=l2]", "-p", "zsl")
    assert (code, "Replaced: ESZSL@tuned[preprocess=l2] on" in compared) == (0, True), compared
    for kind in ("confusion", "perclass", "curve", "pareto"):
        code, caption = type_there("plot", kind, "-m", "eszsl@tuned", "-o", str(runs / f"{kind}.svg"))
        assert (code, "Replaced" in caption) == (0, False), caption
    code, traced = type_there("curve", "-m", "eszsl@tuned")
    assert (code, "ESZSL@tuned[" in traced, "Replaced" in traced) == (0, False, False), traced
    for typo, words in (
        ("tund", "did you mean 'tuned'?"),
        ("xyz", "it has: published, tuned, and what `zslbench tune"),
    ):
        _, refusal = type_there("run", "-m", f"eszsl@{typo}", "-d", "digits")
        assert words in refusal


def test_a_preset_tuned_from_itself_says_which_values_give_way(runs):
    best = small(runs).presets[0].values["x"]
    assert f"was tuned from {GRID} before" in small(runs, f"{GRID}@tuned").remarks[0]
    assert not small(runs, f"{GRID}@tuned").remarks
    change(PresetStore(runs).path("tuned", GRID, *NAMES, "zsl"), values={**preset(runs, GRID, "zsl").values, "x": 99.0})
    (remark,) = small(runs, f"{GRID}@tuned").remarks
    assert f"was tuned from {GRID}@tuned before" in remark
    assert f"and is replaced (x=99 by {best:g})" in remark


def test_a_transductive_method_is_tuned_like_any_other(runs):
    method = "study_methods:Stairs[noise=[0,1],ridge=[1,10]]"
    tuning = small(runs, method, only=("noise", "ridge"), sampler="grid")
    assert tuning.counts["ok"] == 4
    assert {record.method["setting"] for record in ResultStore(runs).load()} == {"transductive"}
    outcome = zslbench.run("study_methods:Stairs@tuned", DATA, "zsl", runs=runs)
    assert outcome.records[0].selection == "validated"


def test_a_preset_of_another_search_gives_way_and_that_is_said(runs):
    first = small(runs)
    assert not small(runs).remarks
    for trials in (1, 30):  # 30 is what a sampler tries where nothing is said
        assert small(runs, trials=trials).remarks == ("a grid tries each of its 4 points; --trials is not used.",)
    (remark,) = small(runs, f"{GRID}[y=1]").remarks
    assert f"was tuned from {GRID} before (T1 {100 * first.presets[0].score:.1f} on fold 1) and is replaced" in remark
    assert preset(runs, GRID, "zsl").values["y"] == 1
    assert not small(runs, name="other").remarks
    small(runs, fold=None)
    (remark,) = small(runs).remarks
    assert "on folds 1, 2, 3) and is replaced" in remark
    change(PresetStore(runs).path("tuned", GRID, *NAMES, "zsl"), fingerprint="0")
    (remark,) = small(runs).remarks
    assert "on fold 1 of other content of the data) and is replaced" in remark


def test_tuned_presets_are_listed_those_of_an_earlier_source_marked_and_damaged_ones_named(runs):
    def listed(name=f"{GRID}@tuned"):
        (row,) = [row for row in zslbench.list("presets", runs) if row.name == name]
        return row

    def dry_run():
        return " ".join(zslbench.run(f"{GRID}@tuned", DATA, "zsl", runs=runs, dry_run=True).remarks)

    small(runs)
    assert listed().reference == f"{DATA}/zsl (relu, uniform)"
    assert listed().summary.startswith("tuned: T1 ")
    assert "on the dev folds (grid, 4 trials); x=" in listed().summary
    assert "§" not in listed().summary + dry_run()
    path = PresetStore(runs).path("tuned", GRID, *NAMES, "zsl")
    version = preset(runs, GRID, "zsl").version
    change(path, source="0" * 16)
    since = "the source of the method has changed since it was tuned; tune again"
    assert listed().summary.startswith(f"§ {since}. tuned: T1 ")
    assert f"§ {GRID}@tuned: {since}: zslbench" in dry_run()
    change(path, version=version + 1)
    assert listed().summary.startswith("§ it was tuned for version ")
    path.write_text("{", encoding="utf-8")
    assert f"{path} is not a tuned preset" in listed(path.stem).unavailable


def test_a_report_shows_the_point_that_was_picked_and_all_where_they_are_asked_for(runs):
    tuning = small(runs)
    zslbench.run("ridge", DATA, "zsl", runs=runs, stage="dev", fold=1)
    whole, dev = (zslbench.report(None, runs=runs, figures=False, stage=stage).page for stage in (None, "dev"))

    def names(page):
        ((_, table),), (missing,) = page.tables, page.missing
        rows = sorted(row.label for row in table.rows)
        assert rows == sorted(row.name for matrix in missing.matrices for row in matrix.rows)
        return rows

    assert names(whole) == ["ridge", f"{GRID}[x={tuning.presets[0].values['x']:g}]"]
    assert f"{len(tuning.trials) - 1} points tried in tuning; `zslbench report --stage dev` shows them." in " ".join(
        whole.notes
    )
    (missing,) = whole.missing
    assert f"not counted above: {whole.counts['ok'] - 2} runs of points tried in tuning" in missing.sentences
    assert len(names(dev)) == len(tuning.trials) + 1
    assert "tried in tuning" not in " ".join(dev.notes)


def test_a_preset_that_does_not_fit_is_refused(runs):
    with pytest.raises(errors.BadValue, match=r"make them: zslbench tune tuning_toys:PeakGrid -d .* -p zsl --runs"):
        zslbench.run(f"{GRID}@tuned", DATA, runs=runs)
    small(runs)
    zslbench.run(f"{GRID}@tuned", DATA, "zsl", runs=runs, dry_run=True)
    with pytest.raises(errors.BadValue, match=r"under gzsl.*-p gzsl --runs"):
        zslbench.run(f"{GRID}@tuned", DATA, runs=runs)
    with pytest.raises(errors.BadValue, match="no values for digits"):
        zslbench.run(f"{GRID}@tuned", [DATA, "digits"], "zsl", runs=runs)
    path = PresetStore(runs).path("tuned", GRID, *NAMES, "zsl")
    good = path.read_text(encoding="utf-8")
    for facts, words in (
        ({"fingerprint": "0" * 16}, "other content of synthetic"),
        ({"version": 7}, "tuned for version 7 of the method"),
        ({"values": {**json.loads(good)["values"], "gone": 1}}, "gone"),
        ({"schema": 99}, "upgrade zslbench"),
    ):
        path.write_text(good, encoding="utf-8")
        change(path, **facts)
        with pytest.raises(errors.ZslbenchError, match=words):
            zslbench.run(f"{GRID}@tuned", DATA, "zsl", runs=runs)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(errors.StoreError, match="is not a tuned preset"):
        zslbench.run(f"{GRID}@tuned", DATA, "zsl", runs=runs)


def test_what_was_tuned_from_its_own_name_can_be_tuned_again_as_said(runs):
    for method in (GRID, f"{GRID}@published@tuned"):
        small(runs, f"{method}[y=[3,4]]", only=())
    change(PresetStore(runs).path("tuned", GRID, *NAMES, "zsl"), version=7)
    with pytest.raises(errors.BadValue, match="tune again: ") as refused:
        zslbench.run(f"{GRID}@tuned", DATA, "zsl", runs=runs)
    words = shlex.split(str(refused.value).partition("tune again: ")[2])
    assert words[2] == f"{GRID}@published[y=[3,4]]"
    type_(*words[1:])
    assert zslbench.run(f"{GRID}@tuned", DATA, "zsl", runs=runs).records[0].selection == "validated"


def test_runs_of_another_source_are_said(runs):
    small(runs)
    for path in runs.glob("*/zsl/*/*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        change(path, provenance=record["provenance"] | {"method_source": "0" * 16})
    by = "4 runs were made by an earlier source of the method and"
    assert small(runs, rerun="none").remarks == (f"{by} taken as they are; --rerun stale does them again.",)
    assert small(runs).remarks == (f"{by} done again (--rerun none keeps such).",)
    assert not small(runs).remarks


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([PEAK, "--name", "published"], "is a preset that the method brings"),
        ([PEAK, "--name", "a b"], "cannot be named"),
        ([PEAK, "--time-limit", "soon"], "time limit 'soon' is not allowed"),
        ([PEAK, "--time-limit", "0"], "time limit '0' is not allowed"),
        ([PEAK, "--fold", "9"], "fold"),
    ],
)
def test_bad_input_is_one_sentence(runs, words, sentence, typed):
    code, _, shown = typed("tune", *words, "-d", DATA, "--runs", str(runs), "-q")
    assert code == 2
    assert sentence in shown
    assert len(shown.strip().splitlines()) == 1
    assert not list(runs.glob("*/*/*/*.json"))


def test_optuna_is_asked_for_only_where_it_is_needed(runs, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert small(runs).counts["ok"] == 4
    with pytest.raises(errors.Unavailable, match=r"pip install 'zslbench\[tune\]'"):
        tune(PEAK, DATA, "zsl", runs=runs)


def test_a_search_that_another_process_writes_or_that_is_damaged_is_one_sentence(runs):
    from filelock import FileLock

    small(runs, PEAK, trials=1)
    (path,) = (runs / "tuned").glob("*.db")
    with FileLock(f"{path}.lock"), pytest.raises(errors.StoreError, match="another process searches"):
        small(runs, PEAK, trials=2)
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(errors.StoreError, match="delete the file: finished runs are kept"):
        small(runs, PEAK, trials=2)
    path.unlink()
    assert len(small(runs, PEAK, trials=2).trials) == 2


def test_rerun_begins_anew(runs):
    method = f"{PEAK}[unlucky=true,x=0.1,y=[3,4]]"
    small(runs, method, only=())
    stamps = on_disk(runs)
    again = small(runs, method, only=(), rerun="failed")
    assert again.counts == {"ok": 1, "failed": 1, "pruned": 0}
    changed = {Path(name).stem for name, stat in on_disk(runs).items() if stat != stamps.get(name)}
    assert changed == {record.id for record in ResultStore(runs).load() if not record.ok}


def test_an_end_of_the_space_is_said_with_a_spec_that_goes_on(runs):
    tuning = small(runs, f"{GRID}[x=[0.5,1,2],y=3]")
    assert tuning.presets[0].at_edge == ("x",)
    assert "x=0.5 is at the end of what was searched (0.5, 1, 2)" in describe_tuning(tuning)
    assert "x=[0.125,0.25,0.5,1,2]" in describe_tuning(tuning)


def test_the_first_of_equals_is_best():
    trials = [Trial({"x": place}, "ok", {"zsl": (mean,)}, {"zsl": {}}) for place, mean in enumerate((0.3, 0.5, 0.5))]
    assert best_of(trials, {"zsl": "T1"})["zsl"].values == {"x": 1}
    assert best_of([], {"zsl": "T1"}) == {}


def test_a_point_that_was_run_by_hand_is_not_fitted_again(runs):
    zslbench.run(f"{GRID}[x=0.1,y=3]", DATA, stage="dev", runs=runs)
    before = on_disk(runs)
    tune(f"{GRID}[y=3]", DATA, runs=runs)
    assert {name: stat for name, stat in on_disk(runs).items() if name in before} == before
    assert len(ResultStore(runs).load()) == 4 * 3 * 2
