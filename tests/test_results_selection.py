"""Selection rules against naive loops over steps and points, and what must hold of any selection."""

from __future__ import annotations

import csv
import io
import json
import random
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from result_records import WITHOUT_LEFT_OUT, record, saved, table

from zslbench.cli import cli
from zslbench.errors import BadValue, UnknownName
from zslbench.results.analysis import selection as rules
from zslbench.results.analysis.advice import run_command
from zslbench.results.analysis.rows import average_folds
from zslbench.results.records.record import SELECTIONS, Record
from zslbench.results.records.store import ResultStore
from zslbench.results.tables.render import FORMATS

pytestmark = WITHOUT_LEFT_OUT

fraction = st.integers(0, 20).map(lambda k: k / 20)  # few values: many ties


def one(value: float, curve: dict[int, float] | None = None, **facts: Any) -> Record:
    steps = {step: {"T1": accuracy} for step, accuracy in (curve or {}).items()}
    return record(facts.pop("method", "gan"), metrics={"T1": value}, curve=steps, **facts)


def dev(value: float, curve: dict[int, float] | None = None, fold: int = 1, **facts: Any) -> Record:
    return one(value, curve, stage="dev", fold=fold, **facts)


@st.composite
def studied(draw: st.DrawFn) -> tuple[list[Record], list[Record]]:
    """Return final and dev records of one method: some seeds, folds and steps, curves that need not agree on steps."""

    def curve() -> dict[int, float]:
        return {step: draw(fraction) for step in (2, 4, 6, 8) if draw(st.integers(0, 4))} | {10: 0.001}

    final = [one(draw(fraction), curve(), seed=seed) for seed in range(draw(st.integers(1, 3)))]
    on_dev = [
        dev(draw(fraction), curve(), fold, seed=seed)
        for seed in range(draw(st.integers(1, 2)))
        for fold in range(1, draw(st.integers(2, 4)))
    ]
    return final, on_dev


def at(run: Record, step: int | None) -> float | None:
    """Look a step's T1 up; None: the last step."""
    if step is None:
        return run.metrics["T1"]
    return next((entry["metrics"]["T1"] for entry in run.curve if entry["step"] == step), None)


def naive_best(judges: list[Record], others: list[Record]) -> int | None:
    """Try each step in order; keep the first with the highest mean."""
    best, chosen = -1.0, None
    for step in [2, 4, 6, 8, 10, None]:
        values = [at(judge, step) for judge in judges]
        if None in values or any(at(other, step) is None for other in others):
            continue
        mean = sum(values) / len(values)
        if mean > best + 1e-12:
            best, chosen = mean, step
    return chosen


@given(studied())
def test_the_validated_step_is_that_of_a_loop(study: tuple[list[Record], list[Record]]) -> None:
    final, on_dev = study
    step = naive_best(on_dev, final)
    selected = rules.validated(final, on_dev)
    assert rules.validated(final[::-1], on_dev[::-1]) == selected
    assert not selected.lacking
    wanted = [(before.id, before.seed, at(before, step), "validated", step) for before in final]
    assert wanted == [
        (run.id, run.seed, run.metrics["T1"], run.selection, run.provenance["selected"]["step"])
        for run in selected.records
    ]


@given(studied())
def test_the_oracle_step_is_that_of_a_loop_and_never_below_the_last(study: tuple[list[Record], list[Record]]) -> None:
    final, _ = study
    selected = rules.oracle(final).records
    step = naive_best(final, [])
    assert [run.metrics["T1"] for run in selected] == [at(before, step) for before in final]
    assert {run.selection for run in selected} == {"oracle"}
    mean, fixed = (sum(run.metrics["T1"] for run in group) / len(group) for group in (selected, final))
    assert mean >= fixed - 1e-12


@st.composite
def grid(draw: st.DrawFn) -> list[Record]:
    """Return points of one method: ordinary and marked ones, each with some seeds and steps."""
    points = []
    for k in range(draw(st.integers(1, 4))):
        steps = [2, 4] if draw(st.booleans()) else []
        marked = bool(draw(st.booleans())) or k == 0
        facts = {"params": {"k": k}, "label": f"gan[k={k}]", "selection": "oracle" if marked else "fixed"}
        seeds = range(draw(st.integers(1, 3)))
        points += [one(draw(fraction), {step: draw(fraction) for step in steps}, seed=seed, **facts) for seed in seeds]
    return points


def naive_point(runs: list[Record]) -> float:
    """Return the best mean over (point, step), as the rule is written: by counting seeds, then trying everything."""
    points: dict[int, list[Record]] = {}
    for run in runs:
        points.setdefault(run.method["params"]["k"], []).append(run)
    ordinary = [len(p) for p in points.values() if p[0].selection == "fixed"]
    needed = max(ordinary or [len(p) for p in points.values()])
    if any(p[0].selection == "oracle" and len(p) >= needed for p in points.values()):
        compared = [p for p in points.values() if len(p) >= needed]
    else:
        least = min(len(p) for p in points.values())  # seeds here are 0, 1, …: the fewest are what all have
        compared = [p[:least] for p in points.values()]
    return max(
        sum(values) / len(values)
        for p in compared
        for step in [2, 4, None]
        if None not in (values := [at(run, step) for run in p])
    )


@given(grid(), st.randoms())
def test_the_oracle_point_is_that_of_a_loop_whatever_the_order(runs: list[Record], chance: random.Random) -> None:
    chosen = rules.oracle(runs).records
    assert len({json.dumps(dict(run.method["params"])) for run in chosen}) == 1
    assert sum(run.metrics["T1"] for run in chosen) / len(chosen) == pytest.approx(naive_point(runs))
    assert {run.method["label"] for run in chosen} == {"gan"}
    mixed = list(runs)
    chance.shuffle(mixed)
    assert rules.oracle(mixed).records == chosen


def test_a_curve_that_ends_at_the_last_step_counts_it_once() -> None:
    assert rules.best_step([one(0.3, {2: 0.1, 4: 0.3})]) == (4, 0.3, 2)
    assert rules.best_step([one(0.3, {2: 0.1, 4: 0.2})]) == (None, 0.3, 3)


def test_a_step_is_the_last_one_for_all_seeds_or_for_none() -> None:
    """A seed that stands still from there on is not calibrated alone: its row would mix two counts of seeds."""
    final = [one(0.5, {5: 0.5, 10: 0.5}), one(0.4, {5: 0.6, 10: 0.4}, seed=1)]
    for selected in (rules.validated(final, [dev(0.1, {5: 0.9, 10: 0.1})]), rules.oracle(final)):
        chosen = [run.provenance["selected"] for run in selected.records]
        assert [(choice["step"], choice["last"]) for choice in chosen] == [(5, False)] * 2


def test_dev_records_of_anything_else_do_not_vote() -> None:
    final = [one(0.9, {2: 0.1})]
    for change in ({"params": {"k": 2}}, {"version": 2}, {"semantics": "sent"}, {"protocol": "gzsl"}):
        other = dev(0.1, {2: 0.9}, 2, **change)
        (chosen,) = rules.validated(final, [dev(0.2, {2: 0.1}), other]).records
        assert chosen.metrics["T1"] == 0.9
        assert rules.validated(final, [other]).lacking[0].missing == "dev"


def test_tuned_values_stay_validated_at_their_last_step() -> None:
    tuned = one(0.4, {2: 0.9}, selection="validated", label="gan@tuned")
    assert rules.validated([tuned], [dev(0.1, {2: 0.9})]).records == (tuned,)
    assert not rules.select("fixed", [tuned], [], ()).records


def test_tuned_and_typed_points_are_one_family() -> None:
    records = [
        one(0.5, label="gan@tuned", params={"k": 1}, selection="validated"),
        one(0.7, label="gan[k=2]", params={"k": 2}, selection="oracle"),
        one(0.9, label="gan@S3", params={"k": 3}),
        one(0.8, label="gan[k=4]", params={"k": 4}, setting="transductive"),
    ]
    (chosen,) = rules.oracle(records, {"tuned"}).records
    about = chosen.provenance["selected"]
    assert (chosen.metrics["T1"], chosen.label, about["points"], about["chosen"]) == (0.7, "gan", 2, {"k": 2})
    assert run_command([chosen], Path("runs"), "--calibrate").startswith("zslbench run -m 'gan[k=2]' ")  # what it was


def test_a_tuned_run_stands_for_its_family(tmp_path: Path) -> None:
    tuned = one(0.5, label="gan@tuned", params={"k": 1}, selection="validated")
    default = one(0.4, params={"k": 2})
    assert [lack.missing for lack in rules.validated([default], []).lacking] == ["curve"]
    assert "no validated row" not in table(saved(tmp_path, [tuned, default]), selection="validated")


def test_the_caption_says_how_many_competed(tmp_path: Path) -> None:
    """Few seeds do not win by chance: they are left out, or all are compared on the seeds that they share."""
    ordinary = [one(0.5, seed=seed, params={"k": 1}) for seed in range(3)]
    lucky = one(0.9, params={"k": 2}, selection="oracle")
    text = table(saved(tmp_path, [*ordinary, lucky]), selection="oracle", width=300, caption="full")
    assert "Oracle selection chose among: gan†: 2 settings on the seeds that all of them have." in text
    assert "Seeds: 0 (n = 1)." in text
    fair = [one(0.6, seed=seed, params={"k": 3}, selection="oracle") for seed in range(3)]
    text = table(saved(tmp_path, fair), selection="oracle", width=300, caption="full")
    assert "gan†: 2 settings (1 more with too few seeds)." in text


def test_the_caption_keeps_different_dev_folds_apart(tmp_path: Path) -> None:
    records = [one(0.5, {2: 0.4}, method=method, title=method) for method in "ab"]
    records += [dev(0.3, {2: 0.4}, fold, method="a") for fold in (1, 2, 3)] + [dev(0.3, {2: 0.4}, 2, method="b")]
    text = table(saved(tmp_path, records), selection="validated", width=300, caption="full")
    assert "validated (step chosen on dev folds 1–3 by T1, mean over folds and seeds): a; " in text
    assert "validated (step chosen on dev fold 2 by T1, mean over folds and seeds): b." in text


# --- folds ---------------------------------------------------------------------------------------------------------


def test_folds_are_averaged_for_each_seed() -> None:
    values = {(seed, fold): 0.1 * fold + 0.01 * seed for seed in range(3) for fold in (1, 2, 3)}
    kept, left = average_folds([dev(value, fold=fold, seed=seed) for (seed, fold), value in values.items()])
    assert not left
    for run in kept:
        assert run.metrics["T1"] == pytest.approx(sum(values[run.seed, fold] for fold in (1, 2, 3)) / 3)
        assert run.provenance["folds"] == [1, 2, 3]


def test_different_sets_of_folds_are_never_averaged(tmp_path: Path) -> None:
    full = [dev(0.1 * fold, fold=fold, seed=seed) for fold in (1, 2, 3) for seed in (0, 1)]
    short, other = dev(0.9, seed=2), dev(0.8, method="other")
    assert average_folds([*full, short, other])[1] == [short]
    text = table(saved(tmp_path, [*full, short, other]), stage="dev", width=200)
    parts = "CUB (folds 1–3)", "CUB (fold 1)", "gan on CUB (fc1000, att, zsl) seed 2 fold 1"
    assert all(part in text for part in parts)
    assert "*" not in text  # rows of different folds are not ranked with each other
    rows = json.loads(table(tmp_path, stage="dev", format="json"))
    wanted = [("gan", [1, 2, 3], [0, 1]), ("other", [1], [0])]
    assert [(row["method"], row["folds"], row["seeds"]) for row in rows] == wanted
    assert "mean over folds 1–3" in table(tmp_path, stage="dev", methods=["gan"], width=200)
    assert "CUB (fold 3)" in table(tmp_path, stage="dev", per_fold=True, width=200)


# --- tables --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    final = [one(0.4 + 0.01 * seed, {2: 0.6, 4: 0.5}, seed=seed, title="GAN") for seed in range(3)]
    on_dev = [dev(0.2, {2: 0.1, 4: 0.3}, fold, title="GAN") for fold in (1, 2, 3)]
    tried = one(0.7, method="eszsl", params={"k": 2}, label="eszsl[k=2]", selection="oracle", title="ESZSL")
    tuned = one(0.55, method="eszsl", params={"k": 1}, label="eszsl@tuned", selection="validated", title="ESZSL")
    return saved(tmp_path_factory.mktemp("selected") / "runs", [*final, *on_dev, tried, tuned])


def test_rows_of_one_method_under_several_rules_are_told_apart(runs: Path) -> None:
    text = table(runs, selection=SELECTIONS, width=300, caption="full")
    rows = {row.split("  ")[0]: row for row in text.splitlines()}
    shown = {"GAN fixed": "41.0 ± 1.0", "GAN validated": "50.0 ± 0.0", "GAN†": "60.0 ± 0.0", "ESZSL†": "70.0"}
    assert all(number in rows[name] for name, number in {**shown, "ESZSL@tuned": "55.0"}.items())
    step = "step chosen on dev folds 1–3 by T1, mean over folds and seeds"
    for part in (step, "GAN validated: step 4", "ESZSL†: k=2", "ESZSL†: 2 settings", "GAN†: 3 steps"):
        assert part in text


@pytest.mark.parametrize("format", FORMATS)
def test_the_dagger_is_in_every_format(runs: Path, format: str) -> None:
    assert ("dagger" if format == "latex" else "†") in table(runs, format=format, selection="oracle")
    if format in ("csv", "json"):
        text = table(runs, format=format, selection=SELECTIONS)
        rows = json.loads(text) if format == "json" else list(csv.DictReader(io.StringIO(text)))
        assert all(("†" in row["marks"]) == (row["selection"] == "oracle") for row in rows)
        steps = {"fixed": ("last",), "validated": ("last", "4"), "oracle": ("2", "last")}
        wanted = {(rule, step) for rule, chosen in steps.items() for step in chosen}
        assert {(row["selection"], str(row["step"])) for row in rows} == wanted


RERUN = "--stage dev --checkpoints every:2 --rerun all"
LACKING = {
    "no dev records": ([one(0.5, {2: 0.1})], "validated", "--stage dev --checkpoints every:2"),
    "no dev curves": ([one(0.5, {2: 0.1}), dev(0.5)], "validated", RERUN),
    "no curve": ([one(0.5, params={"epochs": 50}, label="gan[epochs=50]")], "validated", "--checkpoints every:5"),
    "no steps": ([one(0.5)], "validated", "zslbench tune gan -d cub --features fc1000 --semantics att -p zsl"),
    "other steps": ([one(0.5, {2: 0.1}), dev(0.5, {3: 0.1})], "validated", RERUN),
    "no choice": ([one(0.5)], "oracle", "--oracle"),
    "no curve for oracle": ([one(0.5, params={"epochs": 50})], "oracle", "--checkpoints every:5 --rerun all"),
    "only candidates": ([one(0.5, selection="oracle")], (), "zslbench table --selection oracle"),
    "no fixed": ([one(0.5, selection="validated")], "fixed", "leave out --selection fixed"),
}


@pytest.mark.parametrize(("records", "rule", "words"), LACKING.values(), ids=LACKING.keys())
def test_what_lacks_is_one_sentence_with_a_command(tmp_path: Path, records: Any, rule: Any, words: str) -> None:
    with pytest.raises(BadValue) as caught:
        table(saved(tmp_path, records), selection=rule)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rules_are_of_the_final_stage(runs: Path) -> None:
    for facts in ({"selection": "oracle"}, {"calibrate": True}):
        with pytest.raises(BadValue, match="leave out --stage dev"):
            table(runs, stage="dev", **facts)
    with pytest.raises(UnknownName, match="fixed"):
        table(runs, selection="fixd")


def test_intervals_in_place_of_deviations(runs: Path) -> None:
    from scipy import stats

    low, high = stats.t.interval(0.95, 2, loc=41.0, scale=stats.sem([40.0, 41.0, 42.0]))
    text = table(runs, methods=["gan"], ci=True, width=200, caption="full")
    assert f"41.0 ± {(high - low) / 2:.1f}" in text
    assert "± is the half-width of the 95 % t interval over seeds." in text
    for ci in (False, True):  # both are always in the data
        (row,) = json.loads(table(runs, methods=["gan"], format="json", ci=ci))
        numbers = {"mean": 41.0, "std": 1.0, "ci_low": low, "ci_high": high, "n": 3}
        assert row["metrics"]["T1"] == pytest.approx(numbers, abs=1e-5)
    alone = json.loads(table(runs, methods=["eszsl"], format="json", ci=True))[0]["metrics"]["T1"]
    assert alone["ci_low"] is None
    assert "±" not in table(runs, methods=["eszsl"], ci=True)


def test_intervals_from_two_seeds_bear_a_warning(runs: Path, tmp_path: Path) -> None:
    two = saved(tmp_path, [one(0.4 + 0.01 * seed, seed=seed) for seed in range(2)])
    warning = "Careful: an interval from two seeds is computed from a single difference"
    assert warning in table(two, ci=True, width=300)
    assert warning not in table(two, width=300)
    assert warning not in table(runs, ci=True, width=300)  # three seeds


ON_CUB = "-d cub --features fc1000 --semantics att -p zsl"
COMMANDS = {
    "seeds from 0 are counted": (
        [one(0.5, seed=seed, method="a", label="a@S3[k=1,w=x+y]") for seed in range(3)],
        f"-m 'a@S3[k=1,w=x+y]' {ON_CUB} --seeds 3",
    ),
    "others are named": ([one(0.5, seed=seed) for seed in (1, 4)], f"-m gan {ON_CUB} --seed 1 --seed 4"),
    "built-in data has no stems": ([one(0.5, dataset="digits", origin="builtin")], "-m gan -d digits -p zsl"),
    "a folder of the user's own is theirs to name": (
        [one(0.5, dataset="FLO", origin="own")],
        "-m gan -d PATH/TO/FLO --features fc1000 --semantics att -p zsl",
    ),
    "a candidate stays one": ([one(0.5, selection="oracle")], f"-m gan {ON_CUB} --oracle"),
}


@pytest.mark.parametrize(("records", "words"), COMMANDS.values(), ids=COMMANDS.keys())
def test_commands_ask_for_the_same_runs(records: list[Record], words: str) -> None:
    assert run_command(records, Path("my runs")) == f"zslbench run {words} --runs 'my runs'"


# --- end to end ----------------------------------------------------------------------------------------------------


def test_digits_from_curves_to_a_table(tmp_path: Path) -> None:
    def h_by_step(run: Record) -> dict[Any, float]:
        return {entry["step"]: entry["metrics"]["H"] for entry in run.curve} | {"last": run.metrics["H"]}

    def ask(*words: str) -> str:
        done = CliRunner().invoke(cli, [*words, "--runs", str(tmp_path)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    on_digits = ("-d", "digits", "-p", "gzsl", "--seeds", "2", "-q")
    ask("run", "-m", "study_methods:Noisy", *on_digits, "--checkpoints", "every:2")
    with pytest.raises(BadValue) as caught:
        table(tmp_path, selection="validated")
    _, *command = shlex.split(str(caught.value).split("`")[1])  # works as typed
    assert CliRunner().invoke(cli, [*command, "-q"], catch_exceptions=False).exit_code == 0
    ask("run", "-m", "study_methods:Noisy[noise=[0.1,0.3]]", *on_digits, "--oracle")
    asked = [word for rule in SELECTIONS for word in ("--selection", rule)]
    rows = {row["selection"]: row for row in json.loads(ask("table", "-f", "json", *asked, "--calibrate", "dev"))}
    assert set(rows) == set(SELECTIONS)
    records = ResultStore(tmp_path).load()
    curves = [h_by_step(run) for run in records if run.stage == "dev"]
    assert len(curves) == 6
    step = max(curves[0], key=lambda step: sum(curve[step] for curve in curves))
    assert rows["validated"]["step"] == step
    values = [100 * h_by_step(run)[step] for run in records if (run.stage, run.selection) == ("final", "fixed")]
    assert rows["validated"]["metrics"]["H"]["mean"] == pytest.approx(sum(values) / 2, abs=1e-5)
    assert rows["oracle"]["metrics"]["H"]["mean"] >= rows["fixed"]["metrics"]["H"]["mean"]
    points = {json.dumps(run.method["params"]) for run in records if run.stage == "final"}
    assert rows["oracle"]["points"] == len(points) > 1
    assert "H cs" in rows["fixed"]["metrics"]
    assert len(rows["fixed"]["gammas"]) == 2
    assert "H cs†" in ask("curve")
    assert ResultStore(tmp_path).load() == records  # as they were run
