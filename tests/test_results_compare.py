"""`compare`: who is compared, what is refused, what every format says; on records made here with predictions."""

from __future__ import annotations

import csv
import dataclasses
import inspect
import io
import itertools
import json
import shutil
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from result_records import record, saved, study
from scipy import stats

import zslbench
from zslbench.arrays import AnyArray
from zslbench.cli import cli
from zslbench.errors import BadValue, RecordsLeftOut, StoreError, UnknownName
from zslbench.protocols.gzsl import GZSL
from zslbench.protocols.zsl import ZSL
from zslbench.results.analysis.comparison import CrossDatasetPair, CrossDatasetTest, compare_across
from zslbench.results.analysis.paired import PairedIntervals, student_quantile
from zslbench.results.analysis.rows import summarise
from zslbench.results.records.store import ResultStore
from zslbench.results.tables.comparison_tables import smallest_sentence
from zslbench.results.tables.render import FORMATS
from zslbench.studies.compare import compare as compare_verb

UNSEEN, SEEN, IMAGES = 8, 10, 6
FEW = 200


def predictions(skill: float, seed: int, protocol: str, shift: int = 0) -> dict[str, AnyArray]:
    """Answers of a method that is right with probability `skill`; the images are the same for every method."""
    rng = np.random.default_rng([seed, int(1000 * skill), protocol == "zsl"])
    classes = np.arange(UNSEEN + (SEEN if protocol == "gzsl" else 0))
    label = np.repeat(classes, IMAGES)
    of_unseen = label < UNSEEN
    right = rng.random(len(label)) < skill
    unseen = np.where(right & of_unseen, label, rng.integers(UNSEEN, size=len(label)))
    if protocol == "zsl":
        seen, seen_score = np.full(len(label), -1), np.full(len(label), -np.inf)
    else:
        seen = np.where(right & ~of_unseen, label, UNSEEN + rng.integers(SEEN, size=len(label)))
        seen_score = np.where(right, ~of_unseen, rng.random(len(label)) < 0.5).astype(float)
    return {
        "row": 3 * np.arange(len(label)) + shift,
        "label": label,
        "of_unseen": of_unseen,
        "seen_score": seen_score,
        "seen_class": seen,
        "unseen_score": np.full(len(label), 0.5),
        "unseen_class": unseen,
    }


def add(store: ResultStore, method: str, skill: float, seeds: int = 1, shift: int = 0, **facts: Any) -> None:
    for seed, (protocol, rules) in itertools.product(range(seeds), {"zsl": ZSL(), "gzsl": GZSL()}.items()):
        answers = predictions(skill, seed, protocol, shift)
        store.save(record(method, protocol=protocol, seed=seed, metrics=rules.metrics(answers), **facts), answers)


def add_each(store: ResultStore, datasets: str, **skills: float) -> None:
    """Add one seed of methods on data sets, titled as they are written in papers."""
    for dataset, (method, skill) in itertools.product(datasets.split(), skills.items()):
        add(store, method, skill, dataset=dataset, title=method.upper())


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records that no test changes; see `own_runs`."""
    store = ResultStore(tmp_path_factory.mktemp("compared") / "runs")
    for data in ("cub", "sun"):
        add(store, "eszsl", 0.5, dataset=data, title="ESZSL", label="eszsl[gamma=1]", params={"gamma": 1.0})
        add(store, "ale", 0.7, 3, dataset=data, title="ALE")
        add(store, "lisgan", 0.8, 2, dataset=data, title="LisGAN", setting="transductive", selection="validated")
    return store.root


@pytest.fixture
def own_runs(runs: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(runs, tmp_path / "runs"))


def compare(*methods: str, **options: Any) -> str:
    return compare_verb(*methods, **options).text


def table(runs: Path, *methods: str, **options: Any) -> dict[str, Any]:
    return json.loads(compare(*methods, runs=runs, format="json", draws=FEW, **options))


def text_of(runs: Path, *methods: str, **options: Any) -> str:
    """Return what a terminal shows, without its line breaks."""
    return " ".join(compare(*methods, runs=runs, **({"draws": FEW, "details": True} | options)).split())


def names(comparison: dict[str, Any]) -> list[str]:
    return [method["name"] for method in comparison["methods"]]


# --- numbers -------------------------------------------------------------------------------------------------------


def test_differences_are_those_of_the_records(runs: Path) -> None:
    metrics = ("T1", "U", "S", "H")
    comparisons = table(runs, "eszsl", "ale", metrics=metrics)["comparisons"]
    shown = [(comparison["dataset"], comparison["metric"]) for comparison in comparisons]
    assert {*shown} == {*itertools.product(("cub", "sun"), metrics)}
    records = ResultStore(runs).load()
    for comparison, (dataset, metric) in zip(comparisons, shown, strict=True):
        means = []
        for name in ("eszsl", "ale"):
            same = [run for run in records if (run.method["name"], run.dataset["name"]) == (name, dataset)]
            means.append(100 * np.mean([run.metrics[metric] for run in same if metric in run.metrics]))
        tolerance = 0.3 if metric == "H" else 1e-5  # H of mean U and S, not the mean of H
        values = [method["value"] for method in comparison["methods"]]
        assert [method["method"] for method in comparison["methods"]] == ["eszsl", "ale"]
        assert values == pytest.approx(means, abs=tolerance)
        (pair,) = comparison["pairs"]
        assert pair["difference"] == pytest.approx(values[0] - values[1], abs=1e-5)
        assert pair["over_classes"]["low"] < pair["difference"] < pair["over_images"]["high"]
        sides = {"S": ["seen"], "H": ["unseen", "seen"]}.get(metric, ["unseen"])
        assert comparison["classes"] == {side: {"unseen": UNSEEN, "seen": SEEN}[side] for side in sides}
        assert comparison["images"] == {side: IMAGES * classes for side, classes in comparison["classes"].items()}


def test_exchanging_names_turns_the_signs(runs: Path) -> None:
    orders = (("eszsl", "ale"), ("ale", "eszsl"))
    for comparisons in zip(*(table(runs, *order)["comparisons"] for order in orders), strict=True):
        first, second = (comparison["pairs"][0] for comparison in comparisons)
        assert first["difference"] == -second["difference"]
        for kind in ("over_classes", "over_images"):
            assert first[kind]["low"] == pytest.approx(-second[kind]["high"])
            assert first[kind]["p"] == second[kind]["p"]


def test_holm_is_over_the_pairs_and_a_third_method_changes_nothing_else(runs: Path) -> None:
    two, three = table(runs, "eszsl", "ale"), table(runs, "eszsl", "ale", "lisgan")
    for alone, beside in zip(two["comparisons"], three["comparisons"], strict=True):
        assert len(beside["pairs"]) == 3
        before, after = (comparison["pairs"][0]["over_classes"] for comparison in (alone, beside))
        assert before == after | {"holm": after["p"]}
        assert after["holm"] >= after["p"]


def test_the_seed_of_the_draws_counts_and_nothing_else(own_runs: Path) -> None:
    """Nor do test images in another order."""
    before = compare("eszsl", "ale", runs=own_runs, draws=FEW)
    store = ResultStore(own_runs)
    for run in store.load():
        answers = store.predictions(run)
        turned = np.random.default_rng(0).permutation(len(answers["row"]))
        store.save(run, {name: array[turned] for name, array in answers.items()})
    assert compare("eszsl", "ale", runs=own_runs, draws=FEW) == before
    pairs = [table(own_runs, "eszsl", "ale", bootstrap_seed=seed)["comparisons"][0]["pairs"][0] for seed in (0, 1)]
    assert pairs[0]["difference"] == pairs[1]["difference"]
    assert pairs[0]["over_images"] != pairs[1]["over_images"]


def test_seeds_put_training_anew_into_the_interval(tmp_path: Path) -> None:
    """Three seeds far apart; the same records of a method without chance give the interval of the images alone."""
    store = ResultStore(tmp_path)
    add(store, "eszsl", 0.5)
    for seed, skill in enumerate((0.1, 0.5, 0.9)):
        answers = predictions(skill, seed, "zsl")
        store.save(record("ale", seed=seed, metrics=ZSL().metrics(answers)), answers)
    wide = table(tmp_path, "ale", "eszsl")["comparisons"][0]["pairs"][0]["over_images"]
    for run in store.load():
        if run.method["name"] == "ale":
            store.relabel(dataclasses.replace(run, method={**run.method, "stochastic": False}))
    narrow = table(tmp_path, "ale", "eszsl")["comparisons"][0]["pairs"][0]["over_images"]
    assert wide["high"] - wide["low"] > 1.5 * (narrow["high"] - narrow["low"])


# --- across data sets ----------------------------------------------------------------------------------------------


def test_across_data_sets(runs: Path) -> None:
    tests = table(runs)["across"]
    assert [test["metric"] for test in tests] == ["T1", "H"]
    for test in tests:
        assert (test["smallest_p"], test["smallest_p_holm"]) == (0.5, 1.0)
        assert sum(method["mean_rank"] for method in test["methods"]) == pytest.approx(6)
        assert names(test) == ["ALE", "ESZSL", "LisGAN"]
        assert all(pair["won"] + pair["lost"] <= 2 and pair["p_wilcoxon"] >= 0.5 for pair in test["pairs"])
    text = compare(runs=runs, draws=FEW, width=200, details=True)
    assert "With 2 data sets the smallest p that Wilcoxon's test can reach is 0.5, 1 after Holm over 3 pairs" in text
    assert "no pair can differ significantly at 5 %" in text


def test_data_sets_that_lack_a_method_do_not_count_across(own_runs: Path) -> None:
    store = ResultStore(own_runs)
    add_each(store, "cub", sae=0.4)
    compared = table(own_runs)
    assert names(compared["across"][0]) == ["ALE", "ESZSL", "LisGAN"]
    assert "Not on SUN (fc1000, att) under zsl and gzsl: SAE." in compared["remarks"]
    add_each(store, "awa", sae=0.4)
    assert table(own_runs, "sae", "ale")["across"] == []
    add_each(store, "awa", ale=0.7)
    datasets = ["awa (fc1000, att)", "CUB (fc1000, att)"]
    assert table(own_runs, "sae", "ale")["across"][0]["datasets"] == datasets
    three = table(own_runs, "sae", "ale", "eszsl")
    assert three["across"] == []
    assert "No test of T1 across data sets: no two methods ran on all 3 of them." in three["remarks"]
    add_each(store, "awa", eszsl=0.4)
    whole = table(own_runs, "sae", "ale", "eszsl")["across"][0]
    assert (whole["datasets"], names(whole)) == (datasets, ["SAE", "ALE", "ESZSL"])  # sun, which lacks one, is left out


def test_one_data_set_with_two_semantics_is_one(own_runs: Path) -> None:
    for method, skill in (("eszsl", 0.5), ("ale", 0.7)):
        add(ResultStore(own_runs), method, skill, dataset="cub", semantics="sent")
    text = text_of(own_runs, "eszsl", "ale")
    assert "CUB (fc1000, sent)" in text
    assert "No test across data sets: CUB (fc1000, att), CUB (fc1000, sent) are of one data set; choose one" in text
    assert "mean rank" in text_of(own_runs, "eszsl", "ale", semantics=["att"])


def made(ranks: list[float], holm: list[float], datasets: int = 10) -> CrossDatasetTest:
    pairs = itertools.combinations(range(len(ranks)), 2)
    smallest = 2.0 ** (1 - datasets)
    return CrossDatasetTest(
        metric="H",
        datasets=tuple(map(str, range(datasets))),
        names=tuple("ABCDE"[: len(ranks)]),
        marks=("",) * len(ranks),
        values=(),
        ranks=tuple(ranks),
        statistic=1.0,
        p=0.5,
        critical_difference=1.0,
        pairs=tuple(CrossDatasetPair(*pair, 0.0, 0, 0, p, p) for pair, p in zip(pairs, holm, strict=True)),
        smallest=smallest,
        smallest_holm=min(1.0, len(holm) * smallest),
        level=0.95,
    )


def test_groups_are_runs_of_neighbours_that_are_not_told_apart() -> None:
    # pairs: AB AC AD BC BD CD
    assert made([1, 2, 3, 4], [0.5, 0.01, 0.01, 0.5, 0.01, 0.5]).groups == ((0, 1), (1, 2), (2, 3))
    assert made([1, 2, 3, 4], [0.5] * 6).groups == ((0, 1, 2, 3),)
    assert made([1, 2, 3, 4], [0.01] * 6).groups == ()
    assert made([4, 3, 2, 1], [0.5, 0.5, 0.01, 0.5, 0.01, 0.01]).groups == ((2, 1, 0),)


def test_the_smallest_p_is_said() -> None:
    assert smallest_sentence(made([1, 2], [0.0625], 5)) == (
        "With 5 data sets the smallest p that Wilcoxon's test can reach is 0.0625, so no pair can differ "
        "significantly at "
        "5 %, whatever the numbers."
    )
    assert smallest_sentence(made([1, 2], [0.03], 6)).endswith("can reach is 0.0312.")


def test_across_needs_two_data_sets(runs: Path) -> None:
    assert compare_across([], "T1") is None
    assert table(runs, "eszsl", "ale", datasets=["cub"])["across"] == []


# --- what every format says ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["terminal", "markdown", "latex"])
def test_every_format_says_how_and_with_which_marks(runs: Path, format: str) -> None:
    text = compare(runs=runs, format=format, draws=FEW, width=100, details=True, caption="full")
    plain = " ".join(text.split())
    for part in (
        *("LisGAN‡" if format != "latex" else r"LisGAN$^{\ddagger}$", "200 draws", "bootstrap seed 0", "Holm"),
        *("unlabelled test features", "8 unseen classes", "validated", "Careful: LisGAN"),
        *("so their difference is also a difference of setting", "so their difference is also a difference of tuning"),
    ):
        assert part in plain
    if format == "latex":
        assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 12
        assert "−" not in text


def test_csv_has_a_row_per_pair_and_kind(runs: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(compare(runs=runs, format="csv", draws=FEW, metrics=["H"]))))
    within = [row for row in rows if row["over"] != "data sets"]
    assert (len(within), len(rows) - len(within)) == (2 * 3 * 2, 3)
    assert {row["b_setting"] for row in within if row["b"] == "LisGAN‡"} == {"transductive"}
    assert all(float(row["low"]) <= float(row["difference"]) <= float(row["high"]) for row in within)


def test_json_gives_null_where_nothing_can_be_said(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    first_class = {name: array[:3] for name, array in predictions(1.0, 0, "zsl").items()}
    for method, given in (("ale", [0, 0, 0]), ("eszsl", [0, 1, 1])):
        answers = first_class | {"unseen_class": np.array(given)}
        store.save(record(method, metrics=ZSL().metrics(answers)), answers)
    pair = table(tmp_path)["comparisons"][0]["pairs"][0]
    assert pair["over_classes"] == {"low": None, "high": None, "p": None, "holm": None}
    assert pair["over_images"]["p"] is not None
    assert "–" in text_of(tmp_path)


def test_what_few_draws_and_few_seeds_leave_out_is_said(runs: Path, tmp_path: Path) -> None:
    few = "200 draws give no p below 0.005, 0.015 after Holm over 3 pairs, so none of those can stand out"
    assert f"{few}, whatever the numbers; give --draws 300 or more" in text_of(runs, level=0.99)
    assert "can stand out" not in text_of(runs, level=0.99, draws=300)
    text = text_of(runs)
    assert "can stand out" not in text
    assert (
        "a 95 % interval is right only about 90 % of the time: LisGAN‡; more seeds (`zslbench run … --seeds 5`)" in text
    )
    assert "two seeds" not in text_of(runs, "eszsl", "ale")
    add_each(ResultStore(tmp_path), "cub", ale=0.6, eszsl=0.5)
    text = text_of(tmp_path)
    assert "With one seed, the intervals hold for the models as trained" in text
    assert "do not include the variation between trainings: ALE;" in text


def test_failed_seeds_of_what_is_compared_are_said(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    for method in ("ale", "eszsl", "sae"):
        add(store, method, 0.6, seeds=3)
    for run in store.load():
        if run.seed == 1 and run.method["name"] in ("ale", "sae"):
            store.save(dataclasses.replace(run, status="failed", metrics={}, error="RuntimeError: nan"))
    text = text_of(tmp_path, "ale", "eszsl")
    assert "2 runs of ale failed and do not count; `zslbench run … --rerun failed` tries again." in text
    assert "sae" not in text


# --- who is compared -----------------------------------------------------------------------------------------------


def test_a_name_that_picks_several_rows_is_refused_and_a_label_picks_one(own_runs: Path) -> None:
    store = ResultStore(own_runs)
    for label, gamma in (("eszsl", 100.0), ("eszsl[gamma=10]", 10.0)):
        add(store, "eszsl", 0.55, dataset="cub", title="ESZSL", label=label, params={"gamma": gamma})
    with pytest.raises(BadValue, match=r"'eszsl\[gamma=\[1,10\]\]' picks 2 rows on CUB"):
        compare("eszsl[gamma=[1,10]]", "ale", runs=own_runs, draws=FEW)
    asked = ["eszsl", "eszsl[gamma=10]", "ale"]
    comparison = table(own_runs, *asked, datasets=["cub"])["comparisons"][0]
    assert [method["label"] for method in comparison["methods"]] == asked
    assert len({*names(comparison)}) == 3
    assert len({*names(table(own_runs, datasets=["cub"])["comparisons"][0])}) == 5


def test_oracle_candidates_are_left_out_unless_asked_for(own_runs: Path) -> None:
    for method, skill in (("sae", 0.9), ("sje", 0.8)):
        add(ResultStore(own_runs), method, skill, selection="oracle", title=method.upper())
    assert "SAE" not in text_of(own_runs)
    assert "SAE† − SJE†" in text_of(own_runs, selection="oracle")
    with pytest.raises(BadValue, match="there are: oracle; name one with --selection"):
        compare("sae", "sje", runs=own_runs, draws=FEW)


@pytest.mark.parametrize(
    ("methods", "options", "error", "match"),
    [
        (("ale",), {}, BadValue, "'ale' is one method, and no data set has runs of it on several"),
        (("ale", "ale"), {}, BadValue, "named twice"),
        (("ale", "ALE"), {}, BadValue, "name the same runs"),
        (("ale", "nothing"), {}, BadValue, "has method 'nothing'"),
        ((), {"format": "xml"}, UnknownName, "unknown format"),
        ((), {"metrics": ["AUSUC"]}, UnknownName, "unknown metric 'AUSUC'"),
        ((), {"metrics": ["H"], "protocols": ["zsl"]}, BadValue, "these runs have T1, not H; choose with --metric"),
        ((), {"over": "seeds"}, UnknownName, "kind of resampling"),
        ((), {"level": 95}, BadValue, "level is 95"),
        ((), {"draws": 10}, BadValue, "give at least 100"),
        ((), {"selection": "best"}, UnknownName, "unknown selection"),
    ],
)
def test_refusals(runs: Path, methods: tuple[str, ...], options: dict[str, Any], error: Any, match: str) -> None:
    with pytest.raises(error, match=match):
        compare(*methods, runs=runs, **({"draws": FEW} | options))


@pytest.mark.parametrize("format", FORMATS)
def test_what_could_not_be_read_is_warned_of_in_every_format(own_runs: Path, format: str) -> None:
    (own_runs / "cub" / "zsl" / "eszsl" / "x.json").write_text("{")
    with pytest.warns(RecordsLeftOut, match=r"1 file or folder was left out: .*x\.json is not a zslbench record"):
        compare("eszsl", "ale", runs=own_runs, format=format, datasets=["cub"], draws=FEW)


def test_missing_predictions_are_a_sentence_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"has no predictions at .* run it again with --rerun all"):
        compare("eszsl", "fclswgan", runs=saved(tmp_path, study()), datasets=["cub"], draws=FEW)


@pytest.mark.parametrize(
    ("facts", "match"),
    [
        ({"fingerprint": "0123456789abcdef"}, r"different content .*0123456789abcdef"),
        ({"shift": 1}, r"asked about different test images of CUB .* --rerun all"),
        ({"dataset": "sun"}, "no two of these methods finished on the same data set"),
    ],
)
def test_other_content_or_other_images_are_refused(tmp_path: Path, facts: dict[str, Any], match: str) -> None:
    store = ResultStore(tmp_path)
    add(store, "eszsl", 0.5)
    add(store, "ale", 0.7, **facts)
    with pytest.raises(BadValue, match=match):
        compare(runs=tmp_path, draws=FEW)


def test_too_many_unnamed_rows(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    for number in range(21):
        store.save(record(f"m{number}", metrics={"T1": 0.5}), predictions(0.5, number, "zsl"))
    with pytest.raises(BadValue, match="there are 21 rows to compare, more than the 20"):
        compare(runs=tmp_path, draws=FEW, details=True)
    assert len(table(tmp_path, *(f"m{number}" for number in range(4)))["comparisons"][0]["pairs"]) == 6


def test_the_verb(runs: Path, tmp_path: Path) -> None:
    assert inspect.unwrap(zslbench.compare) is compare_verb
    output = tmp_path / "out.txt"
    words = f"compare ale eszsl --metric h --over classes --runs {runs} --draws {FEW} -o {output}"
    done = CliRunner(env={"COLUMNS": "100"}).invoke(cli, words.split())
    assert (done.exit_code, done.stdout) == (0, "")
    assert "wrote" in done.stderr
    options: dict[str, Any] = {"metrics": ["H"], "over": "classes", "draws": FEW, "width": 100}
    assert output.read_text() == compare("ale", "eszsl", runs=runs, **options)


# --- without names: a matrix ---------------------------------------------------------------------------------------


def matrix_rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line[:1].isdigit()]


def test_without_names_a_matrix_shows_the_differences_of_the_details(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    add_each(store, "cub", a=0.2, b=0.95, c=0.6)
    asked: dict[str, Any] = {"runs": tmp_path, "metrics": ["H"], "draws": FEW}
    first, second, third = matrix_rows(compare_verb(**asked, width=80).text)
    (compared,) = json.loads(compare_verb(**asked, format="json").text)["comparisons"]
    values = {method["name"]: method["value"] for method in compared["methods"]}
    assert [row[1] for row in (first, second, third)] == ["B", "C", "A"]
    assert [float(row[2]) for row in (first, second, third)] == pytest.approx([values[n] for n in "BCA"], abs=0.05)
    points = float(third[3].rstrip("*").replace("−", "-"))
    assert points == pytest.approx(values["A"] - values["B"], abs=0.1)
    assert all(pair["over_classes"]["holm"] < 0.05 for pair in compared["pairs"] if "A" in (pair["a"], pair["b"]))
    assert third[3].endswith("*")
    details = compare_verb(**asked, details=True, width=120).text
    assert "95 % interval" in details
    assert "95 % interval" not in compare_verb(**asked, width=120).text


def test_a_matrix_explains_only_marks_that_it_has_and_says_where_none_can_be(tmp_path: Path) -> None:
    few = [predictions(skill, 0, "zsl") for skill in (0.3, 0.9)]
    store = ResultStore(tmp_path)
    for name, answers in zip("ab", few, strict=True):
        kept = {part: values[answers["label"] < 2] for part, values in answers.items()}
        store.save(record(name, metrics=ZSL().metrics(kept)), kept)
    text = " ".join(compare_verb(runs=tmp_path, draws=FEW, width=200).text.split())
    assert "*" not in text
    assert "none has p (Holm) ≤ 0.05 in the paired bootstrap over classes and over images." in text
    where = "1 of 1 pair of T1 on CUB (fc1000, att); --over images leaves them out."
    assert f"Unmarked, as too few classes differ to draw from: {where}" in text
    text = " ".join(compare_verb(runs=tmp_path, draws=FEW, over="images", width=200).text.split())
    assert "* or bold: p (Holm) ≤ 0.05 in the paired bootstrap over images." in text
    assert "Unmarked" not in text


def test_a_difference_without_any_spread_has_its_dash_explained(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    for name, skill in (("a", 0.0), ("b", 1.0)):
        answers = predictions(skill, 0, "zsl")
        answers["unseen_class"] = np.where(skill, answers["label"], answers["label"] + 100)
        store.save(record(name, metrics=ZSL().metrics(answers)), answers)
    for caption in ("short", "full"):
        text = compare("a", "b", runs=tmp_path, draws=FEW, caption=caption)
        assert "–: no interval and no p, as the difference is the same in whatever is drawn." in text


@pytest.mark.parametrize("width", [80, 120])
def test_a_matrix_keeps_to_the_screen_and_says_how_many_rows_it_leaves_out(tmp_path: Path, width: int) -> None:
    store = ResultStore(tmp_path)
    for number in range(24):
        answers = predictions(0.3 + number / 50, 0, "zsl")
        store.save(record(f"method{number}", metrics=ZSL().metrics(answers)), answers)
    text = compare_verb(runs=tmp_path, draws=FEW, width=width).text
    rows = matrix_rows(text)
    assert max(map(len, text.splitlines())) <= width
    assert f"The best {len(rows)} of 24 rows by T1" in text
    best = max(run.metrics["T1"] for run in store.load())
    assert float(rows[0][2]) == pytest.approx(100 * best, abs=0.05)


# --- the mark of the best ------------------------------------------------------------------------------------------


def naive_half_width(first: list[dict[str, AnyArray]], second: list[dict[str, AnyArray]], metric: str) -> float:
    """The half-width over images alone, class by class, image by image; H by finite differences."""

    def right(run: dict[str, AnyArray], image: int) -> float:
        seen_wins = run["seen_score"][image] > run["unseen_score"][image]
        return float(run["seen_class" if seen_wins else "unseen_class"][image] == run["label"][image])

    sides: dict[bool, dict[int, list[tuple[float, float]]]] = {True: {}, False: {}}
    for image, (label, of_unseen) in enumerate(zip(first[0]["label"], first[0]["of_unseen"], strict=True)):
        answers = tuple(statistics.fmean(right(run, image) for run in runs) for runs in (first, second))
        sides[bool(of_unseen)].setdefault(int(label), []).append(answers)  # type: ignore[arg-type]
    means = {}
    for side, classes in sides.items():
        by_class = [[statistics.fmean(pair[of] for pair in pairs) for of in (0, 1)] for pairs in classes.values()]
        means[side] = [statistics.fmean(column) for column in zip(*by_class, strict=True)] or [0.0, 0.0]

    def value(of: int, **moved: float) -> float:
        u, s = means[True][of] + moved.get("u", 0.0), means[False][of] + moved.get("s", 0.0)
        return {"T1": u, "U": u, "S": s, "H": 2 * u * s / (u + s) if u + s else 0.0}[metric]

    variance = 0.0
    for side, name in ((True, "u"), (False, "s")):
        slopes = [(value(of, **{name: 1e-6}) - value(of)) / 1e-6 for of in (0, 1)]
        for pairs in sides[side].values():
            parts = [slopes[0] * a - slopes[1] * b for a, b in pairs]
            variance += statistics.variance(parts) / len(parts) / len(sides[side]) ** 2
    return 1.959964 * float(np.sqrt(variance))


@pytest.mark.parametrize("metric", ["T1", "U", "S", "H"])
def test_the_paired_interval_of_a_mark_is_that_of_a_naive_loop(tmp_path: Path, metric: str) -> None:
    store = ResultStore(tmp_path)
    skills = {"a": 0.5, "b": 0.62, "c": 0.7, "d": 0.95, "e": 0.72}
    for name, skill in skills.items():
        add(store, name, skill)
    protocol = "zsl" if metric == "T1" else "gzsl"
    rows = {row.method: row for row in summarise(store.load()) if row.protocol == protocol}
    intervals = PairedIntervals(store.predictions)
    outcomes = set()
    for one, other in itertools.combinations(rows.values(), 2):
        runs = [[store.predictions(record) for record in row.records] for row in (one, other)]
        difference = abs(one.metrics[metric].mean - other.metrics[metric].mean) / 100
        within = difference <= naive_half_width(*runs, metric)
        assert intervals.includes_zero(one, other, metric) is within
        outcomes.add(within)
    assert outcomes == {True, False}


def test_seeds_widen_the_paired_interval_of_a_mark(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    add(store, "a", 0.5)
    add(store, "b", 0.9)
    rows = {row.method: row for row in summarise(store.load()) if row.protocol == "zsl"}
    intervals = PairedIntervals(store.predictions)
    assert intervals.includes_zero(rows["a"], rows["b"], "T1") is False
    answers = predictions(0.0, 1, "zsl")
    store.save(record("b", seed=1, metrics=ZSL().metrics(answers)), answers)
    rows = {row.method: row for row in summarise(store.load()) if row.protocol == "zsl"}
    assert intervals.includes_zero(rows["a"], rows["b"], "T1") is True


def test_quantiles_of_students_t_are_those_of_scipy() -> None:
    for freedom in range(1, 200):
        assert student_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-3)


def test_what_is_not_told_from_the_best_shares_its_mark(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    for name, skill in {"low": 0.2, "close": 0.78, "high": 0.8}.items():
        add(store, name, skill)
    text = zslbench.table(tmp_path, protocols=["zsl"], width=200).text
    marked = [line.split()[0] for line in text.splitlines() if line.endswith("*")]
    assert marked == ["close", "high"]
    assert (
        "Best among comparable rows marked *, and so are those next below it, down to the first that differs "
        "significantly from it (paired 95 % interval). Where none does, none is marked."
    ) in " ".join(text.split())
    for path in tmp_path.rglob("*.npz"):
        path.unlink()
    text = zslbench.table(tmp_path, protocols=["zsl"], width=200).text
    assert len([line for line in text.splitlines() if line.endswith("*")]) == 1
    assert "interval" not in text


def test_what_is_marked_without_a_test_is_said(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    for name, skill in {"low": 0.2, "close": 0.78, "high": 0.8, "best": 0.95}.items():
        add(store, name, skill)
    options: dict[str, Any] = {"protocols": ["gzsl"], "width": 300}
    assert "Marked by the mean alone" not in zslbench.table(tmp_path, metrics=["H"], **options).text
    by_mean = "Marked by the mean alone, without a test: AUSUC, H cs†."
    with_curve = {"metrics": ["H", "AUSUC", "H cs†"], "calibrate": "oracle", **options}
    assert by_mean in zslbench.table(tmp_path, **with_curve).text
    assert by_mean in zslbench.table(tmp_path, caption="full", **with_curve).text
    untested = "Not tested, as the predictions behind their numbers are not there: {}."
    for name, others in (("close", ["best", "low"]), ("best", ["close", "high", "low"])):
        (record,) = (record for record in store.load() if record.method["name"] == name and "H" in record.metrics)
        path = store.path(record).with_suffix(".npz")
        kept = path.read_bytes()
        path.unlink()
        text = zslbench.table(tmp_path, metrics=["U", "H"], **options).text
        # Where the best itself cannot be tested, nothing is, and no test is spoken of.
        assert (untested.format(name) in text) == (name == "close")
        assert ("paired 95 % interval" in text) == (name == "close")
        assert not [other for other in others if untested.format(other) in text]
        path.write_bytes(kept)
