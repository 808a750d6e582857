"""`tune`: the best of the dev stage, resumable, with no part for test images."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spied
import tuning_toys
from click.testing import CliRunner

import zslbench
from zslbench import errors
from zslbench.cli import cli
from zslbench.data.loading import load_dataset
from zslbench.data.splits import split
from zslbench.results.records.presets import PresetStore, TunedPreset
from zslbench.results.records.record import Record
from zslbench.results.records.store import ResultStore
from zslbench.studies.search import Trial, ended_trials, take_up
from zslbench.studies.tune import tune
from zslbench.studies.tuning import describe_tuning

HERE = Path(__file__).resolve().parent
NAMES = ("synthetic[unseen=6,images=12]", "relu", "uniform")
DATA = NAMES[0]
PEAK, GRID = "tuning_toys:Peak", "tuning_toys:PeakGrid"


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda number: None)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def dev_means(runs: Path, protocol: str, metric: str) -> dict[tuple[float, int], float]:
    """Average by a naive loop over the files."""
    scores: dict[tuple[float, int], list[float]] = {}
    for path in runs.glob(f"*/{protocol}/*/*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["stage"] == "dev" and record["status"] == "ok":
            params = record["method"]["params"]
            scores.setdefault((params["x"], params["y"]), []).append(record["metrics"][metric])
    return {point: sum(found) / 3 for point, found in scores.items() if len(found) == 3}


def preset(runs: Path, method: str, protocol: str, name: str = "tuned") -> TunedPreset:
    found = PresetStore(runs).find(name, method, *NAMES, protocol)
    assert found is not None
    return found


def test_the_grid_is_tried_in_full_and_its_best_mean_kept_under_each_protocol(runs: Path) -> None:
    tuning_toys.PeakGrid.calls.clear()
    tuning = zslbench.tune(GRID, DATA, runs=runs)
    assert tuning.sampler == "grid"
    assert tuning.counts == {"ok": 16, "failed": 0, "pruned": 0}
    assert tuning_toys.PeakGrid.calls == [16, 16, 16]  # the whole grid at once, a fold a time
    for protocol, metric in (("zsl", "T1"), ("gzsl", "H")):
        means = dev_means(runs, protocol, metric)
        assert len(means) == 16
        kept = preset(runs, GRID, protocol)
        assert means[kept.values["x"], kept.values["y"]] == max(means.values())
        assert protocol != "zsl" or (kept.values["x"], kept.values["y"]) == (0.1, 3)
        assert kept.score == pytest.approx(max(means.values()))
        assert kept.score == pytest.approx(np.mean(kept.fold_scores))
        assert kept.folds == (1, 2, 3)
        assert kept.trials == {"ok": 16}
        assert kept.space == {"x": "0, 0.01, 0.1, 1", "y": "1, 2, 3, 4"}


def test_repeating_a_grid_fits_nothing_and_changes_nothing(runs: Path) -> None:
    first = tune(GRID, DATA, runs=runs)
    tuning_toys.PeakGrid.calls.clear()
    again = tune(GRID, DATA, runs=runs)
    assert tuning_toys.PeakGrid.calls == []
    assert again.trials == first.trials
    assert [one.id for one in again.presets] == [one.id for one in first.presets]


def test_a_sampler_keeps_its_best_and_repeats_itself(runs: Path, tmp_path: Path) -> None:
    tuning = tune(PEAK, DATA, runs=runs, trials=9)
    assert tuning.sampler == "tpe"
    assert len(tuning.trials) == 9
    assert tuning.trials[0].values == {"x": 1.0, "y": 2}, "the search starts where the method stands"
    assert len({tuple(trial.values.items()) for trial in tuning.trials}) == 9, "no point is tried twice"
    for protocol, metric in (("zsl", "T1"), ("gzsl", "H")):
        means = dev_means(runs, protocol, metric)
        kept = preset(runs, PEAK, protocol)
        assert kept.score == pytest.approx(max(means.values()))
        assert means[kept.values["x"], kept.values["y"]] == pytest.approx(kept.score)
    other = tune(PEAK, DATA, runs=tmp_path / "other", trials=9)
    assert other.trials == tuning.trials
    elsewhere = tune(PEAK, DATA, "zsl", runs=tmp_path / "third", trials=3, seed=1, fold=1)
    assert [trial.values for trial in elsewhere.trials[1:]] != [trial.values for trial in tuning.trials[1:3]]


def test_more_trials_go_on_where_the_search_was(runs: Path, tmp_path: Path) -> None:
    tune(PEAK, DATA, "zsl", runs=runs, trials=3, fold=1)
    in_two = tune(PEAK, DATA, "zsl", runs=runs, trials=8, fold=1)
    at_once = tune(PEAK, DATA, "zsl", runs=tmp_path / "other", trials=8, fold=1)
    assert in_two.trials == at_once.trials
    assert tune(PEAK, DATA, "zsl", runs=runs, trials=3, fold=1).trials == at_once.trials, "what was tried counts"


def test_another_space_or_seed_is_another_search_and_says_so(runs: Path) -> None:
    tune(PEAK, DATA, "zsl", runs=runs, trials=2, fold=1)
    for other in ({"only": "x"}, {"seed": 1}, {"sampler": "random"}):
        found = tune(PEAK, DATA, "zsl", runs=runs, trials=2, fold=1, **other)  # type: ignore[arg-type]
        assert len(found.trials) == 2
        assert "starts anew" in " ".join(found.remarks)
    assert not tune(PEAK, DATA, "zsl", runs=runs, trials=3, fold=1).remarks, "that goes on"


def test_random_sampling_has_no_memory_but_the_seed(runs: Path) -> None:
    tuning = tune(PEAK, DATA, "zsl", runs=runs, trials=4, fold=1, sampler="random")
    assert tuning.sampler == "random"
    assert preset(runs, PEAK, "zsl").sampler == "random"
    assert len({tuple(trial.values.items()) for trial in tuning.trials}) == 4


def test_a_small_finite_space_ends_when_all_of_it_was_tried(runs: Path) -> None:
    tuning = tune(f"{PEAK}[x=0.1,y=[2,3]]", DATA, "zsl", runs=runs, time_limit=300)
    assert {trial.values["y"] for trial in tuning.trials} == {2, 3}
    assert preset(runs, PEAK, "zsl").values["y"] == 3


def test_only_the_dev_stage_is_run_and_no_test_row_is_asked_about(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spied.NOWHERE, "asked", [])
    tune("toy_methods:Spy[ridge=[0.1,1,10]]", DATA, runs=runs, only="ridge", trials=3)
    records = ResultStore(runs).load()
    assert len(records) == 3 * 3 * 2
    assert {record.stage for record in records} == {"dev"}
    dataset = load_dataset(DATA)
    final = split(dataset, "final", 1)
    held_out = np.concatenate([final.asked_seen, final.asked_unseen])
    test = {row.tobytes() for row in dataset.features[held_out]}
    rest = {
        row.tobytes() for row in np.delete(dataset.features, np.concatenate([final.asked_seen, final.asked_unseen]), 0)
    }
    asked: set[bytes] = set()
    for what, received in spied.NOWHERE.asked:
        features: Any = received.features if what == "fit" else received[0]  # type: ignore[attr-defined,index]
        asked |= {row.tobytes() for row in features}
    assert asked
    assert asked <= rest
    assert not asked & (test - rest)


def test_oracle_runs_the_same_points_on_test_and_leaves_the_preset_alone(runs: Path, tmp_path: Path) -> None:
    plain = tune(GRID, DATA, runs=tmp_path / "plain")
    marked = tune(GRID, DATA, runs=runs, oracle=True)
    assert [one.id for one in marked.presets] == [one.id for one in plain.presets]
    final = [record for record in ResultStore(runs).load() if record.stage == "final"]
    assert len(final) == 16 * 2
    assert {record.selection for record in final} == {"oracle"}
    assert "† 32 of 32 runs on test images" in describe_tuning(marked)
    assert not [record for record in ResultStore(tmp_path / "plain").load() if record.stage == "final"]


def test_a_failing_point_is_recorded_and_left_out(runs: Path) -> None:
    for method in (f"{GRID}[unlucky=true]", f"{PEAK}[unlucky=true,x=0.1,y=[2,4,6]]"):
        tuning = tune(method, DATA, "zsl", runs=runs, trials=None if "Grid" in method else 3)
        failed = [trial for trial in tuning.trials if trial.result == "failed"]
        assert {trial.values["y"] for trial in failed} == {4}
        assert all("four is unlucky" in trial.why for trial in failed)
        assert tuning.counts["failed"] == len(failed) > 0
        assert tuning.presets[0].values["y"] != 4
        assert "why trials failed: RuntimeError: four is unlucky" in describe_tuning(tuning)
    bad = [record for record in ResultStore(runs).load() if record.status == "failed"]
    assert bad
    assert {record.method["params"]["y"] for record in bad} == {4}


def test_a_fold_that_fails_is_not_averaged_away(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(self: tuning_toys.Peak, train: Any, ctx: Any) -> Any:
        if self.y == 3 and set(np.unique(train.labels)) == third:
            raise RuntimeError("this fold is not for three")
        return fit_before(self, train, ctx)

    dataset = load_dataset(DATA)
    third = set(np.unique(dataset.labels[split(dataset, "dev", 3).train]))
    fit_before = tuning_toys.Peak.fit
    monkeypatch.setattr(tuning_toys.Peak, "fit", fit)
    tuning = tune(f"{PEAK}[x=0.1,y=[2,3]]", DATA, "zsl", runs=runs, trials=2)
    assert {trial.values["y"]: trial.result for trial in tuning.trials} == {2: "ok", 3: "failed"}
    assert tuning.presets[0].values["y"] == 2


@pytest.mark.parametrize("method", ["tuning_toys:Hopeless", "tuning_toys:Hopeless[x=[0.1,1],y=[1,2]]"])
def test_when_all_fail_there_is_no_preset(runs: Path, method: str) -> None:
    done = CliRunner().invoke(cli, ["tune", method, "-d", DATA, "--trials", "2", "--runs", str(runs), "-q"])
    assert done.exit_code == 1
    assert "no trial finished, so no preset was written" in done.output
    assert "there is no hope" in done.output
    assert not PresetStore(runs).load()


def test_a_point_that_the_constructor_refuses_is_a_failed_trial(runs: Path) -> None:
    tuning = tune("tuning_toys:Refusing[x=0.1,y=[1,2,3]]", DATA, "zsl", runs=runs, trials=3)
    assert {trial.values["y"]: trial.result for trial in tuning.trials} == {1: "ok", 2: "ok", 3: "failed"}
    gridded = tune("tuning_toys:Refusing[x=0.1,y=[1,2,3]]", DATA, "zsl", runs=runs, sampler="grid")
    assert {trial.values["y"]: trial.result for trial in gridded.trials} == {1: "ok", 2: "ok", 3: "failed"}


def test_a_trial_worse_than_the_median_is_given_up_and_never_chosen(runs: Path) -> None:
    options: dict[str, Any] = {"runs": runs, "trials": 12, "sampler": "random", "checkpoints": "every:2", "fold": 1}
    tuning = tune(f"{PEAK}[epochs=4]", DATA, "zsl", **options)
    pruned = [trial for trial in tuning.trials if trial.result == "pruned"]
    assert pruned
    assert all(trial.why == "worse than the median of earlier trials" and not trial.scores for trial in pruned)
    assert all(trial.result == "ok" for trial in tuning.trials[:5]), "five are needed for a median"
    skipped = [record for record in ResultStore(runs).load() if record.status == "skipped"]
    assert skipped
    assert all(record.error == "worse than the median of earlier trials" and record.fold == 1 for record in skipped)
    assert all(record.curve and not record.metrics for record in skipped)
    best = tuning.presets[0]
    assert best.trials == {"ok": 12 - len(pruned), "pruned": len(pruned)}
    assert {name: best.values[name] for name in ("x", "y")} not in [trial.values for trial in pruned]
    whole = tune(f"{PEAK}[epochs=4]", DATA, "zsl", prune=False, name="whole", **options)
    assert whole.counts["pruned"] == 0
    assert [trial.values for trial in whole.trials] == [trial.values for trial in tuning.trials]
    for place, trial in enumerate(tuning.trials):  # what was given up was indeed worse than half of those before it
        if trial.result == "pruned":
            before = [one.scores["zsl"][0] for one in tuning.trials[:place] if one.result == "ok"]
            assert whole.trials[place].scores["zsl"][0] < np.median(before)


def test_nothing_is_given_up_without_checkpoints(runs: Path) -> None:
    assert tune(PEAK, DATA, "zsl", runs=runs, trials=9, fold=(1, 2), sampler="random").counts["pruned"] == 0


def killed_at(fit: int, runs: Path, folder: Path, command: list[str]) -> None:
    """Start a search in a process of its own, and kill it in the middle of a fit."""
    folder.mkdir()
    environment = os.environ | {
        "PYTHONPATH": str(HERE),
        "ZSLBENCH_TEST_HOLD": str(folder),
        "ZSLBENCH_TEST_HOLD_AT": str(fit),
    }
    child = subprocess.Popen(
        [sys.executable, "-m", "zslbench", "tune", *command, "--runs", str(runs)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(6000):
            if (folder / "held").exists():
                break
            assert child.poll() is None, "it ended before it could be killed"
            time.sleep(0.01)
        else:
            pytest.fail("it never came to that fit")
    finally:
        child.kill()
        child.wait()


def on_disk(runs: Path) -> dict[str, tuple[int, int]]:
    return {str(path.relative_to(runs)): (path.stat().st_mtime_ns, path.stat().st_ino) for path in runs.glob("*/*/*/*")}


@pytest.mark.parametrize(
    ("method", "fit", "finished"),
    [(PEAK, 8, 2 * 3 + 1), (f"{GRID}[y=3]", 6, 4 + 1), (PEAK, 1, 0)],
    ids=["in the second fold of the third trial", "in the second fold of a grid", "in the first fit"],
)
def test_a_search_that_was_killed_goes_on(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, fit: int, finished: int
) -> None:
    command = [method, "-d", DATA, "--trials", "4", "-q"]
    killed_at(fit, runs, tmp_path / "hold", command)
    before = on_disk(runs)
    documents = [name for name in before if name.endswith(".json")]
    assert len(documents) == 2 * finished, "both protocols of each fit that was done"
    assert not PresetStore(runs).load()

    monkeypatch.setenv("ZSLBENCH_TEST_HOLD", str(tmp_path / "log"))
    monkeypatch.setenv("ZSLBENCH_TEST_HOLD_AT", "-1")
    (tmp_path / "log").mkdir()
    done = CliRunner().invoke(cli, ["tune", *command, "--runs", str(runs)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert {name: stat for name, stat in on_disk(runs).items() if name in before} == before
    fits = (tmp_path / "log" / "fits").read_text(encoding="utf-8").splitlines()

    monkeypatch.delenv("ZSLBENCH_TEST_HOLD")
    whole = tune(method, DATA, runs=tmp_path / "whole", trials=4)
    assert len(fits) == len(whole.trials) * 3 - finished, "nothing finished is fitted again, nothing is left out"
    again = tune(method, DATA, runs=runs, trials=4)
    assert again.trials == whole.trials
    assert [one.id for one in again.presets] == [one.id for one in whole.presets]


def test_ctrl_c_keeps_what_is_done_and_writes_no_preset(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(self: tuning_toys.Peak, train: Any, ctx: Any) -> Any:
        count.append(1)
        if len(count) == 5:
            raise KeyboardInterrupt
        return fit_before(self, train, ctx)

    count: list[int] = []
    fit_before = tuning_toys.Peak.fit
    monkeypatch.setattr(tuning_toys.Peak, "fit", fit)
    words = ["tune", PEAK, "-d", DATA, "-p", "zsl", "--trials", "3", "--runs", str(runs), "-q"]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 130
    assert "interrupted after 1 trials; what was done is kept" in done.output
    assert not PresetStore(runs).load()
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0
    assert len(count) == 9 + 1, "the fit that was cut short is done again, no other"


def test_what_the_sampler_suggests_does_not_depend_on_where_it_was_cut_short(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(self: tuning_toys.Peak, train: Any, ctx: Any) -> Any:
        count.append(1)
        if len(count) in (2, 9, 10):
            raise KeyboardInterrupt
        return fit_before(self, train, ctx)

    count: list[int] = []
    fit_before = tuning_toys.Peak.fit
    how: dict[str, Any] = {"fold": 1, "trials": 10, "checkpoints": "every:1"}
    whole = tune(PEAK, DATA, "zsl", runs=tmp_path / "whole", **how)
    monkeypatch.setattr(tuning_toys.Peak, "fit", fit)
    calls = [tune(PEAK, DATA, "zsl", runs=runs, **how) for _ in range(4)]
    assert [one.interrupted for one in calls] == [True, True, True, False]
    assert calls[-1].trials == whole.trials
    assert calls[-1].presets[0].id == whole.presets[0].id


def test_a_trial_that_ended_but_was_not_told_so_is_told_so() -> None:
    import optuna

    study = optuna.create_study(direction="maximize")
    ends = [
        Trial({"x": 1}, "ok", {"zsl": (0.25, 0.75)}, {"zsl": {}}),
        Trial({"x": 2}, "pruned"),
        Trial({"x": 3}, "failed"),
    ]
    for end in ends:
        study.ask().set_user_attr("trial", dataclasses.asdict(end))
    cut_short = study.ask()
    cut_short.suggest_float("x", 0, 1)
    take_up(study)
    assert [one.state.name for one in study.trials] == ["COMPLETE", "PRUNED", "FAIL", "FAIL", "WAITING"]
    assert study.trials[0].value == 0.5
    assert ended_trials(study) == ends
    assert study.ask().suggest_float("x", 0, 1) == cut_short.params["x"]


def test_no_trial_begins_after_the_time_limit(runs: Path) -> None:
    done = CliRunner().invoke(cli, ["tune", PEAK, "-d", DATA, "--time-limit", "0.000001", "--runs", str(runs), "-q"])
    assert done.exit_code == 1
    assert "no trial was done in time" in done.output
    assert "with more --time-limit" in done.output
    gridded = tune(GRID, DATA, runs=runs, time_limit="0.000001s")
    assert not gridded.presets
    assert "after 0 of 16 trials" in gridded.remarks[0]
    in_time = tune(GRID, DATA, runs=runs, time_limit="1h")
    assert in_time.counts["ok"] == 16
    assert not in_time.remarks


def test_the_preset_runs_as_the_summary_says(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = describe_tuning(tune(PEAK, DATA, runs=runs, trials=3))
    (line,) = [line for line in text.splitlines() if line.startswith("next: ")]
    words = shlex.split(line.removeprefix("next: "))
    assert words[0] == "zslbench"
    done = CliRunner().invoke(cli, [*words[1:], "-q"], catch_exceptions=False)
    assert done.exit_code == 0
    final = [record for record in ResultStore(runs).load() if record.stage == "final"]
    assert len(final) == 5 * 2
    for record in final:
        assert record.selection == "validated"
        kept = preset(runs, PEAK, record.protocol["name"])
        assert record.method["params"] == kept.values
        assert record.provenance["tuned"] == kept.id
        assert record.method["label"] == f"{PEAK}@tuned"


def test_what_was_tuned_under_a_name_with_an_ablation_and_fixed_values_is_that(runs: Path) -> None:
    tune(f"{PEAK}@flat[epochs=2]", DATA, "zsl", runs=runs, name="flat_tuned", trials=2)
    kept = preset(runs, PEAK, "zsl", "flat_tuned")
    assert kept.values["y"] == 0
    assert kept.values["epochs"] == 2
    outcome = zslbench.run(f"{PEAK}@flat_tuned", DATA, "zsl", runs=runs)
    assert dict(outcome.records[0].method["params"]) == kept.values
    assert outcome.records[0].selection == "validated"
    changed = zslbench.run(f"{PEAK}@flat_tuned[epochs=3]", DATA, "zsl", runs=runs)
    assert changed.records[0].selection == "fixed", "another value is no longer what was validated"


def test_protocols_whose_presets_differ_are_tuned_side_by_side(runs: Path) -> None:
    method = "toy_methods:Ridge@cells"  # ridge is 3 under zsl, 4 under gzsl
    tuning = tune(method, "digits", runs=runs, only="epochs", trials=2, fold=(1, 2), checkpoints="every:1")
    assert tuning.counts["ok"] == 2
    assert {one.protocol: one.values["ridge"] for one in tuning.presets} == {"zsl": 3.0, "gzsl": 4.0}
    outcome = zslbench.run("toy_methods:Ridge@tuned", "digits", runs=runs)
    assert [record.method["params"]["ridge"] for record in outcome.records] == [3.0, 4.0]
    assert {record.selection for record in outcome.records} == {"validated"}


def test_a_transductive_method_is_tuned_like_any_other(runs: Path) -> None:
    small = "hidden=16,noise=4,epochs=2,pretrain_epochs=2,critic_steps=1,final_epochs=2,soul_rows=4"
    text = f"lisgan[{small},per_class=[5,10],l_r1=[0,0.1]]"
    tuning = tune(text, "digits", runs=runs, only=["per_class", "l_r1"], fold=1, sampler="grid")
    assert tuning.counts["ok"] == 4
    assert {record.method["setting"] for record in ResultStore(runs).load()} == {"transductive"}
    outcome = zslbench.run("lisgan@tuned", "digits", "zsl", runs=runs)
    assert outcome.records[0].selection == "validated"


def test_a_preset_of_another_search_gives_way_and_that_is_said(runs: Path) -> None:
    first = tune(GRID, DATA, "zsl", runs=runs, only="x", fold=1)
    assert not tune(GRID, DATA, "zsl", runs=runs, only="x", fold=1).remarks
    for trials in (1, 30):  # 30 is what a sampler tries where nothing is said
        (said,) = tune(GRID, DATA, "zsl", runs=runs, only="x", fold=1, trials=trials).remarks
        assert said == "a grid tries each of its 4 points; --trials has no part in it."
    (said,) = tune(f"{GRID}[y=1]", DATA, "zsl", runs=runs, only="x", fold=1).remarks
    assert f"was tuned from {GRID} before (T1 {100 * first.presets[0].score:.1f} on fold 1) and is replaced" in said
    assert preset(runs, GRID, "zsl").values["y"] == 1
    assert not tune(GRID, DATA, "zsl", runs=runs, only="x", fold=1, name="other").remarks


def test_a_preset_of_all_folds_or_other_content_does_not_give_way_in_silence(runs: Path) -> None:
    tune(GRID, DATA, "zsl", runs=runs, only="x")
    (said,) = tune(GRID, DATA, "zsl", runs=runs, only="x", fold=1).remarks
    assert "on folds 1, 2, 3) and is replaced" in said
    path = PresetStore(runs).path("tuned", GRID, *NAMES, "zsl")
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"fingerprint": "0"}), encoding="utf-8")
    (said,) = tune(GRID, DATA, "zsl", runs=runs, only="x", fold=1).remarks
    assert "on fold 1 of other content of the data) and is replaced" in said


def test_tuned_presets_are_listed(runs: Path) -> None:
    tune(GRID, DATA, "zsl", runs=runs, only="x", fold=1)
    (line,) = [line for line in zslbench.list("presets", runs) if line.name == f"{GRID}@tuned"]
    assert line.reference == f"{DATA}/zsl (relu, uniform)"
    assert line.summary.startswith("tuned: T1 ")
    assert "on the dev folds (grid, 4 trials); x=" in line.summary


def test_a_report_shows_the_point_that_was_picked_and_all_where_they_are_asked_for(runs: Path) -> None:
    tuning = tune(GRID, DATA, "zsl", runs=runs, only="x")
    zslbench.run("ridge", DATA, "zsl", runs=runs, stage="dev")

    def shown(**options: Any) -> tuple[list[str], list[str], str]:
        page = zslbench.report(None, runs=runs, figures=False, **options).page
        ((_, dev),) = page.tables
        (missing,) = page.missing
        rows = [line.name for matrix in missing.matrices for line in matrix.rows]
        return [line.label for line in dev.rows], rows, " ".join(page.notes)

    names, rows, notes = shown()
    picked = f"{GRID}[x={tuning.presets[0].values['x']:g}]"
    assert sorted(names) == sorted(rows) == ["ridge", picked]
    assert f"{len(tuning.trials) - 1} points tried in tuning; --stage dev shows them." in notes
    names, rows, notes = shown(stage="dev")
    assert len(names) == len(rows) == len(tuning.trials) + 1
    assert "tried in tuning" not in notes


def test_presets_of_an_earlier_source_are_marked_and_damaged_ones_named(runs: Path) -> None:
    tune(GRID, DATA, "zsl", runs=runs, only="x", fold=1)

    def told() -> tuple[str, str]:
        (line,) = [line for line in zslbench.list("presets", runs) if line.name == f"{GRID}@tuned"]
        return line.summary, " ".join(zslbench.run(f"{GRID}@tuned", DATA, "zsl", runs=runs, dry_run=True).remarks)

    assert "§" not in "".join(told())
    path = PresetStore(runs).path("tuned", GRID, *NAMES, "zsl")
    facts = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(facts | {"source": "0" * 16}), encoding="utf-8")
    summary, remark = told()
    assert summary.startswith("§ the source of the method has changed since it was tuned; tune again. tuned: T1 ")
    assert f"§ {GRID}@tuned: the source of the method has changed since it was tuned; tune again: zslbench" in remark
    path.write_text(json.dumps(facts | {"version": facts["version"] + 1}), encoding="utf-8")
    (line,) = [line for line in zslbench.list("presets", runs) if line.name == f"{GRID}@tuned"]
    assert line.summary.startswith("§ it was tuned for version ")
    path.write_text("{", encoding="utf-8")
    (line,) = [line for line in zslbench.list("presets", runs) if line.unavailable]
    assert (line.name, f"{path} is not a tuned preset" in line.unavailable) == (path.stem, True)


def test_a_preset_that_does_not_fit_is_refused(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(errors.BadValue, match=r"make them: zslbench tune tuning_toys:Peak -d .* -p zsl --runs"):
        zslbench.run(f"{PEAK}@tuned", DATA, runs=runs)
    tune(PEAK, DATA, "zsl", runs=runs, trials=1)
    zslbench.run(f"{PEAK}@tuned", DATA, "zsl", runs=runs, dry_run=True)
    with pytest.raises(errors.BadValue, match=r"under gzsl.*-p gzsl --runs"):
        zslbench.run(f"{PEAK}@tuned", DATA, runs=runs)
    with pytest.raises(errors.BadValue, match="no values for digits"):
        zslbench.run(f"{PEAK}@tuned", [DATA, "digits"], "zsl", runs=runs)
    path = PresetStore(runs).path("tuned", PEAK, *NAMES, "zsl")
    good = json.loads(path.read_text(encoding="utf-8"))
    for change, words in (
        ({"fingerprint": "0" * 16}, "other content of synthetic"),
        ({"version": 7}, "tuned for version 7 of the method"),
        ({"values": {**good["values"], "gone": 1}}, "gone"),
        ({"schema": 99}, "upgrade zslbench"),
    ):
        path.write_text(json.dumps({**good, **change}), encoding="utf-8")
        with pytest.raises(errors.ZslbenchError, match=words):
            zslbench.run(f"{PEAK}@tuned", DATA, "zsl", runs=runs)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(errors.StoreError, match="is not a tuned preset"):
        zslbench.run(f"{PEAK}@tuned", DATA, "zsl", runs=runs)


def test_what_was_tuned_from_its_own_name_can_be_tuned_again_as_said(runs: Path) -> None:
    tune(f"{GRID}[y=[3,4]]", DATA, "zsl", runs=runs)
    tune(f"{GRID}@published@tuned[y=[3,4]]", DATA, "zsl", runs=runs)
    path = PresetStore(runs).path("tuned", GRID, *NAMES, "zsl")
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"version": 7}), encoding="utf-8")
    with pytest.raises(errors.BadValue, match="tune again: ") as refused:
        zslbench.run(f"{GRID}@tuned", DATA, "zsl", runs=runs)
    words = shlex.split(str(refused.value).partition("tune again: ")[2])
    assert words[2] == f"{GRID}@published[y=[3,4]]"
    CliRunner().invoke(cli, [*words[1:], "-q"], catch_exceptions=False)
    assert zslbench.run(f"{GRID}@tuned", DATA, "zsl", runs=runs).records[0].selection == "validated"


def test_runs_of_another_source_are_told(runs: Path) -> None:
    tune(f"{GRID}[y=3]", DATA, "zsl", runs=runs, fold=1)
    for path in runs.glob("*/zsl/*/*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        record["provenance"]["method_source"] = "0" * 16
        path.write_text(json.dumps(record), encoding="utf-8")
    (said,) = tune(f"{GRID}[y=3]", DATA, "zsl", runs=runs, fold=1, rerun="none").remarks
    assert said == (
        "4 runs were made by an earlier source of the method and taken as they are; --rerun stale does them again."
    )
    (again,) = tune(f"{GRID}[y=3]", DATA, "zsl", runs=runs, fold=1).remarks
    assert again == ("4 runs were made by an earlier source of the method and done again (--rerun none keeps such).")
    assert not tune(f"{GRID}[y=3]", DATA, "zsl", runs=runs, fold=1).remarks


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([PEAK, "--name", "published"], "is a preset that the method brings"),
        ([PEAK, "--name", "a b"], "cannot be named"),
        ([PEAK, "--name", "a@b"], "cannot be named"),
        ([PEAK, "--only", "epoch"], "did you mean 'epochs'?"),
        ([f"{PEAK}[x=1,y=2]"], "left to tune"),
        ([PEAK, "--time-limit", "soon"], "time limit 'soon' is not allowed"),
        ([PEAK, "--time-limit", "0"], "time limit '0' is not allowed"),
        ([PEAK, "--sampler", "grid"], "x is searched in a range"),
        ([PEAK, "--fold", "9"], "fold"),
        ([PEAK, "--checkpoints", "often"], "checkpoints 'often' is not allowed"),
        (["eszls"], "did you mean 'eszsl'?"),
    ],
)
def test_bad_input_is_one_sentence(runs: Path, words: list[str], said: str, capfd: pytest.CaptureFixture[str]) -> None:
    from zslbench.cli import main

    with pytest.raises(SystemExit) as ended:
        main(["tune", *words, "-d", DATA, "--runs", str(runs), "-q"])
    assert ended.value.code == 2
    shown = capfd.readouterr()
    assert said in shown.err
    assert len(shown.err.strip().splitlines()) == 1
    assert not list(runs.glob("*/*/*/*.json"))


def test_optuna_is_asked_for_only_where_it_is_needed(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert tune(GRID, DATA, "zsl", runs=runs).counts["ok"] == 16
    with pytest.raises(errors.Unavailable, match=r"pip install 'zslbench\[tune\]'"):
        tune(PEAK, DATA, "zsl", runs=runs)


def test_two_searches_do_not_write_one_file(runs: Path) -> None:
    from filelock import FileLock

    tune(PEAK, DATA, "zsl", runs=runs, trials=1)
    (path,) = (runs / "tuned").glob("*.db")
    with FileLock(f"{path}.lock"), pytest.raises(errors.StoreError, match="another process searches"):
        tune(PEAK, DATA, "zsl", runs=runs, trials=2)


def test_a_damaged_search_is_one_sentence(runs: Path) -> None:
    tune(PEAK, DATA, "zsl", runs=runs, trials=1)
    (path,) = (runs / "tuned").glob("*.db")
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(errors.StoreError, match="delete the file: finished runs are kept"):
        tune(PEAK, DATA, "zsl", runs=runs, trials=2)
    path.unlink()
    assert len(tune(PEAK, DATA, "zsl", runs=runs, trials=2).trials) == 2


def test_rerun_begins_anew(runs: Path) -> None:
    tune(f"{PEAK}[unlucky=true,x=0.1,y=[3,4]]", DATA, "zsl", runs=runs, trials=2)
    stamps = on_disk(runs)
    again = tune(f"{PEAK}[unlucky=true,x=0.1,y=[3,4]]", DATA, "zsl", runs=runs, trials=2, rerun="failed")
    assert again.counts == {"ok": 1, "failed": 1, "pruned": 0}
    changed = {name for name, stat in on_disk(runs).items() if stat != stamps.get(name)}
    store = ResultStore(runs)
    assert {Path(name).stem for name in changed} == {record.id for record in store.load() if not record.ok}


def test_every_format_tells_the_same(runs: Path) -> None:
    tuning = tune(GRID, DATA, runs=runs, only=["x"])
    summary = describe_tuning(tuning)
    assert (
        "4 trials (every point of the grid): 4 ok, 0 failed, 0 pruned. No test image had a part in the choice."
        in summary
    )
    assert f"zsl: T1 {100 * tuning.presets[0].score:.1f} with x=0.1" in summary
    document = json.loads(describe_tuning(tuning, "json"))
    assert document["presets"][0]["values"]["x"] == 0.1
    lines = describe_tuning(tuning, "csv").splitlines()
    assert len(lines) == 1 + 4 == 1 + len(document["trials"])
    assert lines[0].startswith("trial,result,x,zsl T1,zsl T1 fold 1,")
    assert "| T1 " in describe_tuning(tuning, "markdown")
    with pytest.raises(errors.UnknownName, match="unknown format 'xml'"):
        describe_tuning(tuning, "xml")


def test_an_end_of_the_space_is_told_with_a_spec_that_goes_on(runs: Path) -> None:
    tuning = tune(f"{GRID}[x=[0.5,1,2],y=3]", DATA, "zsl", runs=runs)
    assert tuning.presets[0].at_edge == ("x",)
    assert "x=0.5 is at the end of what was searched (0.5, 1, 2)" in describe_tuning(tuning)
    assert "x=[0.5,0.25,0.125]" in describe_tuning(tuning)


def _trials(*means: float) -> Iterator[Trial]:
    for place, mean in enumerate(means):
        yield Trial({"x": place}, "ok", {"zsl": (mean,)}, {"zsl": {}})


def test_the_first_of_equals_is_best() -> None:
    from zslbench.studies.tuning import best_of

    assert best_of([*_trials(0.3, 0.5, 0.5)], {"zsl": "T1"})["zsl"].values == {"x": 1}
    assert best_of([], {"zsl": "T1"}) == {}


def test_records_are_those_of_run(runs: Path) -> None:
    """A point that was run by hand is not fitted again, and the other way round."""
    zslbench.run(f"{GRID}[x=0.1,y=3]", DATA, stage="dev", runs=runs)
    before = on_disk(runs)
    tune(f"{GRID}[y=3]", DATA, runs=runs)
    assert {name: stat for name, stat in on_disk(runs).items() if name in before} == before
    records: list[Record] = ResultStore(runs).load()
    assert len(records) == 4 * 3 * 2
