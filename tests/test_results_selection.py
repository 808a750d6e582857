"""Selection rules against naive loops over steps and points, and what must hold of any selection."""

from __future__ import annotations

import csv
import dataclasses
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
from result_records import record, saved

from zslbench.cli import cli
from zslbench.errors import BadValue, UnknownName
from zslbench.results.analysis import selection as rules
from zslbench.results.analysis.advice import run_command
from zslbench.results.analysis.rows import average_folds
from zslbench.results.records.record import SELECTIONS, Record
from zslbench.results.records.store import ResultStore
from zslbench.results.tables.render import FORMATS
from zslbench.studies.record_table import table

fraction = st.integers(0, 20).map(lambda k: k / 20)  # few values: many ties


def one(value: float, curve: dict[int, float] | None = None, **facts: Any) -> Record:
    steps = {step: {"T1": found} for step, found in (curve or {}).items()}
    return record(facts.pop("method", "gan"), metrics={"T1": value}, curve=steps, **facts)


@st.composite
def studied(draw: st.DrawFn) -> tuple[list[Record], list[Record]]:
    """Return final and dev records of one line: some seeds, folds and steps, curves that need not agree on steps."""
    everything = [2, 4, 6, 8]

    def curve() -> dict[int, float]:
        return {step: draw(fraction) for step in everything if draw(st.integers(0, 4))}

    final = [one(draw(fraction), curve() | {10: 0.001}, seed=seed) for seed in range(draw(st.integers(1, 3)))]
    dev = [
        one(draw(fraction), curve() | {10: 0.001}, seed=seed, stage="dev", fold=fold)
        for seed in range(draw(st.integers(1, 2)))
        for fold in range(1, draw(st.integers(2, 4)))
    ]
    return final, dev


def at(found: Record, step: int | None) -> float | None:
    """Look a step's T1 up; None: the last step."""
    if step is None:
        return found.metrics["T1"]
    return next((entry["metrics"]["T1"] for entry in found.curve if entry["step"] == step), None)


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
    final, dev = study
    step = naive_best(dev, final)
    found = rules.validated(final, dev)
    assert rules.validated(final[::-1], dev[::-1]) == found
    assert not found.lacking
    assert [r.seed for r in found.records] == [r.seed for r in final]
    for chosen, before in zip(found.records, final, strict=True):
        assert chosen.selection == "validated"
        assert chosen.metrics["T1"] == at(before, step)
        assert chosen.id == before.id


@given(studied())
def test_the_oracle_step_is_that_of_a_loop_and_never_below_the_last(study: tuple[list[Record], list[Record]]) -> None:
    final, _ = study
    found = rules.oracle(final)
    step = naive_best(final, [])
    assert [chosen.metrics["T1"] for chosen in found.records] == [at(before, step) for before in final]
    assert {chosen.selection for chosen in found.records} == {"oracle"}
    mean, fixed = (sum(r.metrics["T1"] for r in group) / len(group) for group in (found.records, final))
    assert mean >= fixed - 1e-12


@st.composite
def grid(draw: st.DrawFn) -> list[Record]:
    """Return points of one method: ordinary and marked ones, each with some seeds and steps."""
    found = []
    for k in range(draw(st.integers(1, 4))):
        steps = [2, 4] if draw(st.booleans()) else []
        marked = bool(draw(st.booleans())) or k == 0
        facts = {"params": {"k": k}, "label": f"gan[k={k}]", "selection": "oracle" if marked else "fixed"}
        seeds = range(draw(st.integers(1, 3)))
        found += [one(draw(fraction), {step: draw(fraction) for step in steps}, seed=seed, **facts) for seed in seeds]
    return found


def naive_point(found: list[Record]) -> float:
    """Return the best mean over (point, step), as the rule is written: by counting seeds, then trying everything."""
    points: dict[int, list[Record]] = {}
    for r in found:
        points.setdefault(r.method["params"]["k"], []).append(r)
    ordinary = [len(p) for p in points.values() if p[0].selection == "fixed"]
    needed = max(ordinary or [len(p) for p in points.values()])
    marked_able = [p for p in points.values() if p[0].selection == "oracle" and len(p) >= needed]
    if marked_able:
        compared = [p for p in points.values() if len(p) >= needed]
    else:
        least = min(len(p) for p in points.values())  # seeds here are 0, 1, …: the fewest are what all have
        compared = [p[:least] for p in points.values()]
    means = [
        sum(values) / len(values)
        for p in compared
        for step in [2, 4, None]
        if None not in (values := [at(r, step) for r in p])
    ]
    return max(means)


@given(grid())
def test_the_oracle_point_is_that_of_a_loop(found: list[Record]) -> None:
    chosen = rules.oracle(found).records
    assert len({json.dumps(dict(r.method["params"])) for r in chosen}) == 1
    assert sum(r.metrics["T1"] for r in chosen) / len(chosen) == pytest.approx(naive_point(found))
    assert {r.method["label"] for r in chosen} == {"gan"}


@given(grid(), st.randoms())
def test_the_order_of_records_does_not_matter(found: list[Record], chance: random.Random) -> None:
    mixed = list(found)
    chance.shuffle(mixed)
    assert rules.oracle(mixed) == rules.oracle(found)


def test_equal_steps_go_to_the_earlier() -> None:
    dev = [one(0.5, {2: 0.5, 4: 0.5}, stage="dev", fold=1)]
    (found,) = rules.validated([one(0.9, {2: 0.1, 4: 0.2})], dev).records
    assert found.metrics["T1"] == 0.1
    assert found.provenance["selected"]["step"] == 2


def test_a_curve_that_ends_at_the_last_step_counts_it_once() -> None:
    ends = rules.best_step([one(0.3, {2: 0.1, 4: 0.3})])
    goes_on = rules.best_step([one(0.3, {2: 0.1, 4: 0.2})])
    assert (ends.step, ends.steps) == (4, 2)
    assert (goes_on.step, goes_on.steps) == (None, 3)


def test_a_step_is_the_last_one_for_all_seeds_or_for_none() -> None:
    """A seed that stands still from there on is not calibrated alone: its row would mix two counts of seeds."""
    final = [one(0.5, {5: 0.5, 10: 0.5}), one(0.4, {5: 0.6, 10: 0.4}, seed=1)]
    dev = [one(0.1, {5: 0.9, 10: 0.1}, stage="dev", fold=1)]
    for found in (rules.validated(final, dev), rules.oracle(final)):
        assert [chosen.provenance["selected"]["step"] for chosen in found.records] == [5, 5]
        assert [chosen.provenance["selected"]["last"] for chosen in found.records] == [False, False]


def test_dev_records_of_anything_else_do_not_vote() -> None:
    final = [one(0.9, {2: 0.1})]
    own = one(0.2, {2: 0.1}, stage="dev", fold=1)
    for change in ({"params": {"k": 2}}, {"version": 2}, {"semantics": "sent"}, {"protocol": "gzsl"}):
        other = one(0.1, {2: 0.9}, stage="dev", fold=2, **change)
        (found,) = rules.validated(final, [own, other]).records
        assert found.metrics["T1"] == 0.9
        assert rules.validated(final, [other]).lacking[0].missing == "dev"


def test_tuned_values_stay_validated_at_their_last_step() -> None:
    tuned = one(0.4, {2: 0.9}, selection="validated", label="gan@tuned")
    dev = one(0.1, {2: 0.9}, stage="dev", fold=1)
    assert rules.validated([tuned], [dev]).records == (tuned,)
    assert not rules.fixed([tuned]).records


def test_tuned_and_typed_points_are_one_family() -> None:
    records = [
        one(0.5, label="gan@tuned", params={"k": 1}, selection="validated"),
        one(0.7, label="gan[k=2]", params={"k": 2}, selection="oracle"),
        one(0.9, label="gan@S3", params={"k": 3}),
        one(0.8, label="gan[k=4]", params={"k": 4}, setting="transductive"),
    ]
    found = rules.oracle(records, {"tuned"}).records
    assert [(r.metrics["T1"], r.method["label"]) for r in found] == [(0.7, "gan")]
    assert found[0].provenance["selected"]["points"] == 2
    assert found[0].provenance["selected"]["chosen"] == {"k": 2}


def test_few_seeds_do_not_win_by_chance() -> None:
    ordinary = [one(0.5, seed=seed, params={"k": 1}) for seed in range(3)]
    lucky = one(0.9, params={"k": 2}, selection="oracle")
    fair = [one(0.6, seed=seed, params={"k": 3}, selection="oracle") for seed in range(3)]
    found = rules.oracle([*ordinary, lucky, *fair]).records
    assert [r.metrics["T1"] for r in found] == [0.6] * 3
    assert found[0].provenance["selected"]["left_out"] == 1
    assert not found[0].provenance["selected"]["common_seeds"]
    common = rules.oracle([*ordinary, lucky]).records
    assert [(r.seed, r.metrics["T1"]) for r in common] == [(0, 0.9)]
    assert common[0].provenance["selected"]["common_seeds"]


def test_a_tuned_run_stands_for_its_family(tmp_path: Path) -> None:
    tuned = one(0.5, label="gan@tuned", params={"k": 1}, selection="validated")
    default = one(0.4, params={"k": 2})
    assert [lack.missing for lack in rules.validated([default], []).lacking] == ["curve"]
    assert not rules.validated([tuned, default], [], {"tuned"}).lacking
    assert "no validated row" not in table(saved(tmp_path, [tuned, default]), selection="validated")


def test_the_caption_says_how_many_competed(tmp_path: Path) -> None:
    ordinary = [one(0.5, seed=seed, params={"k": 1}) for seed in range(3)]
    lucky = one(0.9, params={"k": 2}, selection="oracle")
    text = table(saved(tmp_path, [*ordinary, lucky]), selection="oracle", width=300)
    assert "Oracle selection chose among: gan†: 2 settings on the seeds that all of them have." in text
    assert "Seeds: 0 (n = 1)." in text
    fair = [one(0.6, seed=seed, params={"k": 3}, selection="oracle") for seed in range(3)]
    text = table(saved(tmp_path, fair), selection="oracle", width=300)
    assert "gan†: 2 settings (1 more with too few seeds)." in text


def test_the_caption_keeps_different_dev_folds_apart(tmp_path: Path) -> None:
    records = [one(0.5, {2: 0.4}, method=method, title=method) for method in "ab"]
    dev = [one(0.3, {2: 0.4}, method="a", stage="dev", fold=fold) for fold in (1, 2, 3)]
    dev.append(one(0.3, {2: 0.4}, method="b", stage="dev", fold=2))
    text = table(saved(tmp_path, [*records, *dev]), selection="validated", width=300)
    assert "validated (step chosen on dev folds 1–3 by T1, mean over folds and seeds): a; " in text
    assert "validated (step chosen on dev fold 2 by T1, mean over folds and seeds): b." in text


# --- folds ---------------------------------------------------------------------------------------------------------


def test_folds_are_averaged_for_each_seed() -> None:
    values = {(seed, fold): 0.1 * fold + 0.01 * seed for seed in range(3) for fold in (1, 2, 3)}
    records = [one(value, stage="dev", fold=fold, seed=seed) for (seed, fold), value in values.items()]
    kept, left = average_folds(records)
    assert not left
    for found in kept:
        assert found.metrics["T1"] == pytest.approx(sum(values[found.seed, fold] for fold in (1, 2, 3)) / 3)
        assert found.provenance["folds"] == [1, 2, 3]


def test_different_sets_of_folds_are_never_averaged(tmp_path: Path) -> None:
    full = [one(0.1 * fold, stage="dev", fold=fold, seed=seed) for fold in (1, 2, 3) for seed in (0, 1)]
    short = [one(0.9, stage="dev", fold=1, seed=2)]
    other = [one(0.8, stage="dev", fold=1, method="other")]
    kept, left = average_folds([*full, *short, *other])
    assert left == short
    assert sorted((r.method["name"], r.seed, tuple(r.provenance["folds"])) for r in kept) == [
        ("gan", 0, (1, 2, 3)),
        ("gan", 1, (1, 2, 3)),
        ("other", 0, (1,)),
    ]
    text = table(saved(tmp_path, [*full, *short, *other]), stage="dev", width=200)
    assert "cub (folds 1–3)" in text
    assert "cub (fold 1)" in text
    assert "gan on cub (zsl) seed 2 fold 1" in text
    assert "*" not in text  # rows of different folds are not ranked with each other
    rows = json.loads(table(tmp_path, stage="dev", format="json"))
    assert [(row["method"], row["folds"], row["seeds"]) for row in rows] == [
        ("gan", [1, 2, 3], [0, 1]),
        ("other", [1], [0]),
    ]
    assert "mean over folds 1–3" in table(tmp_path, stage="dev", methods=["gan"], width=200)
    assert "cub (fold 3)" in table(tmp_path, stage="dev", per_fold=True, width=200)


# --- tables --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    final = [one(0.4 + 0.01 * seed, {2: 0.6, 4: 0.5}, seed=seed, title="GAN") for seed in range(3)]
    dev = [one(0.2, {2: 0.1, 4: 0.3}, stage="dev", fold=fold, title="GAN") for fold in (1, 2, 3)]
    tried = [one(0.7, method="eszsl", params={"k": 2}, label="eszsl[k=2]", selection="oracle", title="ESZSL")]
    tuned = [one(0.55, method="eszsl", params={"k": 1}, label="eszsl@tuned", selection="validated", title="ESZSL")]
    return saved(tmp_path_factory.mktemp("selected") / "runs", [*final, *dev, *tried, *tuned])


def test_ordinary_tables_hide_candidates_and_say_so(runs: Path) -> None:
    text = table(runs, width=200)
    assert "70.0" not in text
    assert "1 run for oracle selection not shown; --selection oracle" in text
    assert "ESZSL@tuned" in text
    assert "validated (hyper-parameters chosen on the dev folds by T1): ESZSL@tuned" in text
    assert "not shown" not in table(runs, format="markdown")


def test_rows_of_one_method_under_several_rules_are_told_apart(runs: Path) -> None:
    text = table(runs, selection=SELECTIONS, width=300)
    lines = {line.split("  ")[0]: line for line in text.splitlines()}
    assert "41.0 ± 1.0" in lines["GAN fixed"]
    assert "50.0 ± 0.0" in lines["GAN validated"]
    assert "60.0 ± 0.0" in lines["GAN†"]
    assert "70.0" in lines["ESZSL†"]
    assert "55.0" in lines["ESZSL@tuned"]
    assert "step chosen on dev folds 1–3 by T1, mean over folds and seeds" in text
    assert "GAN validated: step 4" in text
    assert "ESZSL†: k=2" in text
    assert "ESZSL†: 2 settings" in text
    assert "GAN†: 3 steps" in text


@pytest.mark.parametrize("format", FORMATS)
def test_the_dagger_is_in_every_format(runs: Path, format: str) -> None:
    sign = "dagger" if format == "latex" else "†"
    assert sign in table(runs, format=format, selection="oracle")
    if format in ("csv", "json"):
        text = table(runs, format=format, selection=SELECTIONS)
        rows = json.loads(text) if format == "json" else list(csv.DictReader(io.StringIO(text)))
        for row in rows:
            assert ("†" in row["marks"]) == (row["selection"] == "oracle")
        assert {(row["selection"], str(row["step"])) for row in rows} == {
            ("fixed", "last"),
            ("validated", "last"),
            ("validated", "4"),
            ("oracle", "2"),
            ("oracle", "last"),
        }


LACKING = {
    "no dev records": ([one(0.5, {2: 0.1})], "validated", "--stage dev --checkpoints every:2"),
    "no dev curves": (
        [one(0.5, {2: 0.1}), one(0.5, stage="dev", fold=1)],
        "validated",
        "--stage dev --checkpoints every:2 --rerun all",
    ),
    "no curve": ([one(0.5, params={"epochs": 50}, label="gan[epochs=50]")], "validated", "--checkpoints every:5"),
    "no steps": ([one(0.5)], "validated", "zslbench tune gan -d cub --features fc1000 --semantics att -p zsl"),
    "other steps": (
        [one(0.5, {2: 0.1}), one(0.5, {3: 0.1}, stage="dev", fold=1)],
        "validated",
        "--stage dev --checkpoints every:2 --rerun all",
    ),
    "no choice": ([one(0.5)], "oracle", "--oracle"),
    "no curve for oracle": ([one(0.5, params={"epochs": 50})], "oracle", "--checkpoints every:5 --rerun all"),
    "only candidates": ([one(0.5, selection="oracle")], (), "zslbench table --selection oracle"),
    "no fixed": ([one(0.5, selection="validated")], "fixed", "leave out --selection fixed"),
}


@pytest.mark.parametrize(("records", "rule", "said"), LACKING.values(), ids=LACKING.keys())
def test_what_lacks_is_one_sentence_with_a_command(tmp_path: Path, records: Any, rule: Any, said: str) -> None:
    with pytest.raises(BadValue) as caught:
        table(saved(tmp_path, records), selection=rule)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rules_are_of_the_final_stage(runs: Path) -> None:
    for facts in ({"selection": "oracle"}, {"calibrate": True}):
        with pytest.raises(BadValue, match="leave out --stage dev"):
            table(runs, stage="dev", **facts)
    with pytest.raises(UnknownName, match="fixed"):
        table(runs, selection="fixd")


def test_intervals_in_place_of_deviations(runs: Path) -> None:
    from scipy import stats

    values = [40.0, 41.0, 42.0]
    low, high = stats.t.interval(0.95, 2, loc=41.0, scale=stats.sem(values))
    text = table(runs, methods=["gan"], ci=True, width=200)
    assert f"41.0 ± {(high - low) / 2:.1f}" in text
    assert "± is the half-width of the 95 % t interval over seeds." in text
    for ci in (False, True):  # both are always in the data
        (row,) = json.loads(table(runs, methods=["gan"], format="json", ci=ci))
        found = row["metrics"]["T1"]
        assert found["std"] == pytest.approx(1.0)
        assert (found["ci_low"], found["ci_high"]) == (pytest.approx(low, abs=1e-5), pytest.approx(high, abs=1e-5))
    alone = json.loads(table(runs, methods=["eszsl"], format="json", ci=True))[0]["metrics"]["T1"]
    assert alone["ci_low"] is None
    assert "±" not in table(runs, methods=["eszsl"], ci=True)


def test_intervals_from_two_seeds_bear_a_warning(tmp_path: Path) -> None:
    records = [one(0.4 + 0.01 * seed, {2: 0.6}, seed=seed, title="GAN") for seed in range(3)]
    two, three = saved(tmp_path / "two", records[:2]), saved(tmp_path / "three", records)
    warning = "Careful: an interval from two seeds rests on the one difference between them"
    assert warning in table(two, ci=True, width=300)
    assert warning not in table(two, width=300)
    assert warning not in table(three, ci=True, width=300)


COMMANDS = {
    "seeds from 0 are counted": (
        [one(0.5, seed=seed, method="a", label="a@S3[k=1,w=x+y]") for seed in range(3)],
        "zslbench run -m 'a@S3[k=1,w=x+y]' -d cub --features fc1000 --semantics att -p zsl --seeds 3 --runs 'my runs'",
    ),
    "others are named": (
        [one(0.5, seed=seed) for seed in (1, 4)],
        "zslbench run -m gan -d cub --features fc1000 --semantics att -p zsl --seed 1 --seed 4 --runs 'my runs'",
    ),
    "built-in data has no stems": (
        [one(0.5, dataset="digits", origin="builtin")],
        "zslbench run -m gan -d digits -p zsl --runs 'my runs'",
    ),
    "a folder of the user's own is theirs to name": (
        [one(0.5, dataset="FLO", origin="own")],
        "zslbench run -m gan -d PATH/TO/FLO --features fc1000 --semantics att -p zsl --runs 'my runs'",
    ),
    "a candidate stays one": (
        [one(0.5, selection="oracle")],
        "zslbench run -m gan -d cub --features fc1000 --semantics att -p zsl --oracle --runs 'my runs'",
    ),
}


@pytest.mark.parametrize(("records", "said"), COMMANDS.values(), ids=COMMANDS.keys())
def test_commands_ask_for_the_same_runs(records: list[Record], said: str) -> None:
    assert run_command(records, Path("my runs")) == said


def test_what_oracle_picked_is_asked_for_by_its_own_name() -> None:
    tried = [one(value, params={"k": k}, label=f"gan[k={k}]", selection="oracle") for k, value in ((1, 0.1), (2, 0.9))]
    (found,) = rules.oracle(tried).records
    assert found.method["label"] == "gan"
    assert run_command([found], Path("runs"), "--calibrate").startswith("zslbench run -m 'gan[k=2]' ")


# --- end to end ----------------------------------------------------------------------------------------------------


def test_digits_from_curves_to_a_table(tmp_path: Path) -> None:
    import zslbench

    def ask(*words: str) -> str:
        found = CliRunner().invoke(cli, [*words, "--runs", str(tmp_path)], catch_exceptions=False)
        assert found.exit_code == 0, found.output
        return found.stdout

    ask("run", "-m", "devise[epochs=4]", "-d", "digits", "-p", "gzsl", "--seeds", "2", "--checkpoints", "every:2", "-q")
    with pytest.raises(BadValue) as caught:
        zslbench.table(tmp_path, selection="validated")
    command = shlex.split(str(caught.value).split("`")[1])  # works as typed
    assert command[0] == "zslbench"
    found = CliRunner().invoke(cli, [*command[1:], "-q"], catch_exceptions=False)
    assert found.exit_code == 0
    ask("run", "-m", "devise[epochs=4,lr=[0.1,0.3]]", "-d", "digits", "-p", "gzsl", "--seeds", "2", "--oracle", "-q")
    asked = [word for rule in SELECTIONS for word in ("--selection", rule)]
    rows = {row["selection"]: row for row in json.loads(ask("table", "-f", "json", *asked, "--calibrate", "dev"))}
    assert set(rows) == set(SELECTIONS)
    records = ResultStore(tmp_path).load()
    dev = [r for r in records if r.stage == "dev"]
    assert len(dev) == 6
    own = [r for r in records if r.stage == "final" and r.selection == "fixed"]
    curves = [{entry["step"]: entry["metrics"]["H"] for entry in r.curve} for r in dev]
    step = max(sorted(curves[0]), key=lambda s: sum(curve[s] for curve in curves))
    assert rows["validated"]["step"] == step
    wanted = [100 * entry["metrics"]["H"] for r in own for entry in r.curve if entry["step"] == step]
    assert rows["validated"]["metrics"]["H"]["mean"] == pytest.approx(sum(wanted) / 2, abs=1e-5)
    assert rows["oracle"]["metrics"]["H"]["mean"] >= rows["fixed"]["metrics"]["H"]["mean"]
    assert rows["oracle"]["points"] == len({json.dumps(r.method["params"]) for r in records if r.stage == "final"}) > 1
    assert "H cs" in rows["fixed"]["metrics"]
    assert len(rows["fixed"]["gammas"]) == 2
    text = ask("curve")
    assert "H cs†" in text
    assert dataclasses.asdict(own[0]) == dataclasses.asdict(
        next(r for r in ResultStore(tmp_path).load() if r.id == own[0].id)
    )
