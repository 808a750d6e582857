"""`compare`: who is compared, what is refused, what every format says; on records made here with predictions."""

from __future__ import annotations

import csv
import dataclasses
import inspect
import io
import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from result_records import record, saved, study

import zslbench
from zslbench.arrays import AnyArray
from zslbench.cli import cli
from zslbench.errors import BadValue, RecordsLeftOut, StoreError, UnknownName
from zslbench.metrics import harmonic_mean, per_class_top1, stacked
from zslbench.results.analysis.comparison import CrossDatasetPair, CrossDatasetTest, across
from zslbench.results.plots.ranks import draw_diagram
from zslbench.results.records.store import ResultStore
from zslbench.results.tables.comparison_tables import smallest_sentence, text_diagram
from zslbench.results.tables.render import FORMATS
from zslbench.studies.compare import compare

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


def judged(found: dict[str, AnyArray], protocol: str) -> dict[str, float]:
    label, of_unseen = found["label"], found["of_unseen"]
    if protocol == "zsl":
        return {"T1": per_class_top1(label, found["unseen_class"])}
    given = stacked(found["seen_score"], found["seen_class"], found["unseen_score"], found["unseen_class"])
    u, s = per_class_top1(label[of_unseen], given[of_unseen]), per_class_top1(label[~of_unseen], given[~of_unseen])
    return {"U": u, "S": s, "H": harmonic_mean(u, s)}


def add(store: ResultStore, method: str, skill: float, seeds: int = 1, shift: int = 0, **facts: Any) -> None:
    for seed in range(seeds):
        for protocol in ("zsl", "gzsl"):
            found = predictions(skill, seed, protocol, shift)
            store.save(record(method, protocol=protocol, seed=seed, metrics=judged(found, protocol), **facts), found)


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


def table(runs: Path, *methods: str, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(compare(*methods, runs=runs, format="json", draws=FEW, **options))
    return found


# --- numbers -------------------------------------------------------------------------------------------------------


def test_differences_are_those_of_the_records(runs: Path) -> None:
    found = table(runs, "eszsl", "ale", metrics=["T1", "U", "S", "H"])
    records = ResultStore(runs).load()
    assert {(one["dataset"], one["metric"]) for one in found["comparisons"]} == set(
        itertools.product(("cub", "sun"), ("T1", "U", "S", "H"))
    )
    for one in found["comparisons"]:
        means = {}
        for name in ("eszsl", "ale"):
            same = [r for r in records if (r.method["name"], r.dataset["name"]) == (name, one["dataset"])]
            means[name] = 100 * np.mean([r.metrics[one["metric"]] for r in same if one["metric"] in r.metrics])
        tolerance = 0.3 if one["metric"] == "H" else 1e-5  # H of mean U and S, not the mean of H
        pair = one["pairs"][0]
        assert [method["method"] for method in one["methods"]] == ["eszsl", "ale"]
        assert [method["value"] for method in one["methods"]] == pytest.approx([*means.values()], abs=tolerance)
        assert pair["difference"] == pytest.approx(one["methods"][0]["value"] - one["methods"][1]["value"], abs=1e-5)
        assert pair["over_classes"]["low"] < pair["difference"] < pair["over_images"]["high"]
        sides = {"T1": ["unseen"], "U": ["unseen"], "S": ["seen"], "H": ["unseen", "seen"]}[one["metric"]]
        assert one["classes"] == {side: {"unseen": UNSEEN, "seen": SEEN}[side] for side in sides}
        assert one["images"] == {side: IMAGES * classes for side, classes in one["classes"].items()}


def test_exchanging_names_turns_the_signs(runs: Path) -> None:
    one, other = (table(runs, *names)["comparisons"] for names in (("eszsl", "ale"), ("ale", "eszsl")))
    for a, b in zip(one, other, strict=True):
        first, second = a["pairs"][0], b["pairs"][0]
        assert first["difference"] == -second["difference"]
        for kind in ("over_classes", "over_images"):
            assert first[kind]["low"] == pytest.approx(-second[kind]["high"])
            assert first[kind]["p"] == second[kind]["p"]


def test_holm_is_over_the_pairs_and_a_third_method_changes_nothing_else(runs: Path) -> None:
    two, three = table(runs, "eszsl", "ale"), table(runs, "eszsl", "ale", "lisgan")
    for a, b in zip(two["comparisons"], three["comparisons"], strict=True):
        assert len(b["pairs"]) == 3
        one, same = a["pairs"][0]["over_classes"], b["pairs"][0]["over_classes"]
        assert {key: one[key] for key in ("low", "high", "p")} == {key: same[key] for key in ("low", "high", "p")}
        assert one["holm"] == one["p"]
        assert same["holm"] >= same["p"]


def test_the_seed_of_the_draws_counts_and_nothing_else(runs: Path) -> None:
    assert compare(runs=runs, draws=FEW) == compare(runs=runs, draws=FEW)
    one, other = (table(runs, "eszsl", "ale", bootstrap_seed=seed)["comparisons"][0]["pairs"][0] for seed in (0, 1))
    assert one["difference"] == other["difference"]
    assert one["over_images"] != other["over_images"]


def test_rows_in_another_order_are_the_same_images(own_runs: Path) -> None:
    before = compare("eszsl", "ale", runs=own_runs, draws=FEW)
    store = ResultStore(own_runs)
    for one in store.load():
        found = store.predictions(one)
        turned = np.random.default_rng(0).permutation(len(found["row"]))
        store.save(one, {name: array[turned] for name, array in found.items()})
    assert compare("eszsl", "ale", runs=own_runs, draws=FEW) == before


def test_seeds_put_training_anew_into_the_interval(tmp_path: Path) -> None:
    """Three seeds far apart; the same records of a method without chance give the interval of the images alone."""
    store = ResultStore(tmp_path)
    add(store, "eszsl", 0.5)
    for seed, skill in enumerate((0.1, 0.5, 0.9)):
        found = predictions(skill, seed, "zsl")
        store.save(record("ale", seed=seed, metrics=judged(found, "zsl")), found)
    wide = table(tmp_path, "ale", "eszsl")["comparisons"][0]["pairs"][0]["over_images"]
    for one in store.load():
        if one.method["name"] == "ale":
            path = store.path(one)
            text = json.loads(path.read_text())
            text["method"]["stochastic"] = False
            path.write_text(json.dumps(text))
    narrow = table(tmp_path, "ale", "eszsl")["comparisons"][0]["pairs"][0]["over_images"]
    assert wide["high"] - wide["low"] > 1.5 * (narrow["high"] - narrow["low"])


# --- across data sets ----------------------------------------------------------------------------------------------


def test_across_data_sets(runs: Path) -> None:
    found = table(runs)
    assert [one["metric"] for one in found["across"]] == ["T1", "H"]
    for one in found["across"]:
        assert one["smallest_p"] == 0.5
        assert one["smallest_p_holm"] == 1.0
        assert sum(method["mean_rank"] for method in one["methods"]) == pytest.approx(6)
        assert [method["name"] for method in one["methods"]] == ["ALE", "ESZSL", "LisGAN"]
        for pair in one["pairs"]:
            assert pair["won"] + pair["lost"] <= 2
            assert pair["p_wilcoxon"] >= 0.5
    text = compare(runs=runs, draws=FEW, width=200)
    assert "With 2 data sets the smallest p that Wilcoxon's test can reach is 0.5, 1 after Holm over 3 pairs" in text
    assert "no pair can be told apart at 5 %" in text


def test_data_sets_that_lack_a_method_do_not_count_across(own_runs: Path) -> None:
    add(ResultStore(own_runs), "sae", 0.4, title="SAE", dataset="cub")
    found = table(own_runs)
    assert [method["name"] for method in found["across"][0]["methods"]] == ["ALE", "ESZSL", "LisGAN"]
    assert "Not on sun (fc1000, att) under zsl: sae." in found["remarks"]
    add(ResultStore(own_runs), "sae", 0.4, title="SAE", dataset="awa")
    assert table(own_runs, "sae", "ale")["across"] == []
    add(ResultStore(own_runs), "ale", 0.7, title="ALE", dataset="awa")
    both = table(own_runs, "sae", "ale")["across"][0]
    assert both["datasets"] == ["awa (fc1000, att)", "cub (fc1000, att)"]
    three = table(own_runs, "sae", "ale", "eszsl")
    assert three["across"] == []
    assert "No test of T1 across data sets: no two methods ran on all 3 of them." in three["remarks"]
    add(ResultStore(own_runs), "eszsl", 0.4, title="ESZSL", dataset="awa")
    whole = table(own_runs, "sae", "ale", "eszsl")["across"][0]  # sun, which lacks one, is left out
    assert whole["datasets"] == ["awa (fc1000, att)", "cub (fc1000, att)"]
    assert [method["name"] for method in whole["methods"]] == ["SAE", "ALE", "ESZSL"]


def test_one_data_set_with_two_semantics_is_one(own_runs: Path) -> None:
    for method, skill in (("eszsl", 0.5), ("ale", 0.7)):
        add(ResultStore(own_runs), method, skill, dataset="cub", semantics="sent")
    text = " ".join(compare("eszsl", "ale", runs=own_runs, draws=FEW).split())
    assert "cub (fc1000, sent)" in text
    assert "No test across data sets: cub (fc1000, att), cub (fc1000, sent) are of one data set; choose one" in text
    assert "mean rank" in compare("eszsl", "ale", runs=own_runs, draws=FEW, semantics="att")


def made(ranks: list[float], holm: list[float], datasets: int = 10) -> CrossDatasetTest:
    pairs = list(itertools.combinations(range(len(ranks)), 2))
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
        pairs=tuple(CrossDatasetPair(a, b, 0.0, 0, 0, p, p) for (a, b), p in zip(pairs, holm, strict=True)),
        smallest=smallest,
        smallest_holm=min(1.0, len(pairs) * smallest),
        level=0.95,
    )


def test_groups_are_runs_of_neighbours_that_are_not_told_apart() -> None:
    # pairs: AB AC AD BC BD CD
    assert made([1, 2, 3, 4], [0.5, 0.01, 0.01, 0.5, 0.01, 0.5]).groups == ((0, 1), (1, 2), (2, 3))
    assert made([1, 2, 3, 4], [0.5] * 6).groups == ((0, 1, 2, 3),)
    assert made([1, 2, 3, 4], [0.01] * 6).groups == ()
    assert made([4, 3, 2, 1], [0.5, 0.5, 0.01, 0.5, 0.01, 0.01]).groups == ((2, 1, 0),)


def test_the_text_diagram_puts_dots_at_ranks() -> None:
    lines = text_diagram(made([3.0, 1.0, 2.0], [0.01, 0.01, 0.5])).splitlines()
    assert [line[0] for line in lines[2:]] == ["B", "C", "A"]
    axis = lines[1]
    assert [line.index("●") for line in lines[2:]] == [axis.index("├"), axis.index("┼"), axis.index("┤")]
    assert ["┃" in line for line in lines[2:]] == [True, True, False]


def test_ranks_of_two_digits_do_not_touch_in_a_narrow_text_diagram() -> None:
    many = 15
    ranks = [float(place) for place in range(1, many + 1)]
    across = dataclasses.replace(
        made(ranks[:2], [0.5]), names=("a" * 26,) * many, marks=("",) * many, ranks=tuple(ranks)
    )
    wide, narrow = text_diagram(across, 100).splitlines()[0], text_diagram(across, 80).splitlines()[0]
    assert wide.split() == [str(rank) for rank in range(1, many + 1)]
    assert narrow.split() == [str(rank) for rank in range(1, many + 1, 2)]


def test_too_few_draws_for_so_many_pairs_are_said(runs: Path) -> None:
    said = "200 draws give no p below 0.005, 0.015 after Holm over 3 pairs, so none of those can stand out"
    assert f"{said}, whatever the numbers; give --draws 300 or more" in " ".join(
        compare(runs=runs, draws=FEW, level=0.99).split()
    )
    assert "can stand out" not in compare(runs=runs, draws=300, level=0.99)
    assert "can stand out" not in compare(runs=runs, draws=FEW)


def test_the_smallest_p_is_said() -> None:
    five = made([1, 2], [0.0625], 5)
    assert smallest_sentence(five) == (
        "With 5 data sets the smallest p that Wilcoxon's test can reach is 0.0625, so no pair can be told apart at "
        "5 %, whatever the numbers."
    )
    assert smallest_sentence(made([1, 2], [0.03], 6)).endswith("can reach is 0.0312.")


@pytest.mark.parametrize("kind", ["pdf", "svg", "png"])
def test_the_diagram_is_drawn_and_the_same_each_time(tmp_path: Path, kind: str) -> None:
    found = [made([1.2, 1.8, 3.0], [0.5, 0.01, 0.01]), made([1.0, 2.0], [0.002])]
    one, other = tmp_path / f"a.{kind}", tmp_path / f"b.{kind}"
    draw_diagram(found, one)
    draw_diagram(found, other)
    assert one.stat().st_size > 1000
    if kind == "svg":
        text = one.read_text()
        assert all(part in text for part in (">A  1.20<", ">3.00  C<", "10 data sets", "smallest p attainable 0.002"))
    else:
        assert one.read_bytes() == other.read_bytes()


def test_across_needs_two_data_sets(runs: Path) -> None:
    assert across([], "T1") is None
    assert table(runs, "eszsl", "ale", datasets=["cub"])["across"] == []
    with pytest.raises(BadValue, match="needs two data sets"):
        compare("eszsl", "ale", runs=runs, datasets=["cub"], diagram="x.pdf", draws=FEW)


# --- what every format says ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["terminal", "markdown", "latex"])
def test_every_format_says_how_and_with_which_marks(runs: Path, format: str) -> None:
    text = compare(runs=runs, format=format, draws=FEW, width=100)
    plain = " ".join(text.split())
    assert ("LisGAN‡" if format != "latex" else r"LisGAN$^{\ddagger}$") in plain
    for part in ("200 draws", "bootstrap seed 0", "Holm", "unlabelled test features", "8 unseen classes", "validated"):
        assert part in plain
    assert "Careful: LisGAN" in plain
    assert "so their difference is also one of setting" in plain
    assert "so their difference is also one of tuning" in plain
    if format == "latex":
        assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 12
        assert "−" not in text


def test_csv_has_a_line_a_pair_and_kind(runs: Path) -> None:
    lines = list(csv.DictReader(io.StringIO(compare(runs=runs, format="csv", draws=FEW, metrics=["H"]))))
    within = [line for line in lines if line["over"] != "data sets"]
    assert len(within) == 2 * 3 * 2
    assert len(lines) - len(within) == 3
    assert {line["b_setting"] for line in within if line["b"] == "LisGAN‡"} == {"transductive"}
    assert all(float(line["low"]) <= float(line["difference"]) <= float(line["high"]) for line in within)


def test_json_gives_null_where_nothing_can_be_said(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    for method, right in (("ale", [0, 0, 0]), ("eszsl", [0, 1, 1])):
        one_class = predictions(1.0, 0, "zsl")
        found = {name: array[:3] for name, array in one_class.items()} | {"unseen_class": np.array(right)}
        store.save(record(method, metrics={"T1": float(np.mean(np.array(right) == 0))}), found)
    pair = table(tmp_path)["comparisons"][0]["pairs"][0]
    assert pair["over_classes"] == {"low": None, "high": None, "p": None, "holm": None}
    assert pair["over_images"]["p"] is not None
    assert "–" in compare(runs=tmp_path, draws=FEW)


def test_what_few_seeds_leave_out_is_said(runs: Path, tmp_path: Path) -> None:
    text = " ".join(compare(runs=runs, draws=FEW, width=200).split())
    assert "a 95 % interval holds about 90 % of the time: LisGAN‡; more seeds (`zslbench run … --seeds 5`)" in text
    assert "two seeds" not in compare("eszsl", "ale", runs=runs, draws=FEW, width=200)
    for method, skill in (("ale", 0.6), ("eszsl", 0.5)):
        add(ResultStore(tmp_path), method, skill)
    text = " ".join(compare(runs=tmp_path, draws=FEW).split())
    assert "With one seed, the intervals hold for the models as trained" in text
    assert "leave out the chance of training: ale;" in text


def test_failed_seeds_of_what_is_compared_are_said(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    for method in ("ale", "eszsl", "sae"):
        add(store, method, 0.6, seeds=3)
    for one in store.load():
        if one.seed == 1 and one.method["name"] in ("ale", "sae"):
            store.save(dataclasses.replace(one, status="failed", metrics={}, error="RuntimeError: nan"))
    text = " ".join(compare("ale", "eszsl", runs=tmp_path, draws=FEW).split())
    assert "2 runs of ale failed and do not count; `zslbench run … --rerun failed` tries again." in text
    assert "sae" not in text


# --- who is compared -----------------------------------------------------------------------------------------------


def test_a_name_that_picks_several_rows_is_refused_and_a_label_picks_one(own_runs: Path) -> None:
    store = ResultStore(own_runs)
    add(store, "eszsl", 0.55, dataset="cub", title="ESZSL", label="eszsl", params={"gamma": 100.0})
    add(store, "eszsl", 0.6, dataset="cub", title="ESZSL", label="eszsl[gamma=10]", params={"gamma": 10.0})
    with pytest.raises(BadValue, match=r"'eszsl\[gamma=\[1,10\]\]' picks 2 rows on cub"):
        compare("eszsl[gamma=[1,10]]", "ale", runs=own_runs, draws=FEW)
    found = table(own_runs, "eszsl", "eszsl[gamma=10]", "ale", datasets=["cub"])
    names = [method["name"] for method in found["comparisons"][0]["methods"]]
    labels = [method["label"] for method in found["comparisons"][0]["methods"]]
    assert labels == ["eszsl", "eszsl[gamma=10]", "ale"]
    assert len(set(names)) == 3
    everyone = table(own_runs, datasets=["cub"])["comparisons"][0]["methods"]
    assert len({method["name"] for method in everyone}) == 5


def test_oracle_candidates_are_left_out_unless_asked_for(own_runs: Path) -> None:
    for method, skill in (("sae", 0.9), ("sje", 0.8)):
        add(ResultStore(own_runs), method, skill, selection="oracle", title=method.upper())
    assert "SAE" not in compare(runs=own_runs, draws=FEW)
    assert "SAE† − SJE†" in compare(runs=own_runs, draws=FEW, selection="oracle")
    with pytest.raises(BadValue, match="there are: oracle; name one with --selection"):
        compare("sae", "sje", runs=own_runs, draws=FEW)


@pytest.mark.parametrize(
    ("methods", "options", "error", "match"),
    [
        (("ale",), {}, BadValue, "'ale' is one method; name at least two"),
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
        ((), {"diagram": "ranks.docx"}, BadValue, "a diagram is a .pdf, .svg or .png file"),
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


def test_other_content_or_other_images_are_refused(tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "a")
    add(store, "eszsl", 0.5)
    add(store, "ale", 0.7, fingerprint="0123456789abcdef")
    with pytest.raises(BadValue, match=r"different content .*0123456789abcdef"):
        compare(runs=store.root, draws=FEW)
    store = ResultStore(tmp_path / "b")
    add(store, "eszsl", 0.5)
    add(store, "ale", 0.7, shift=1)
    with pytest.raises(BadValue, match=r"asked about different test images of cub .* --rerun all"):
        compare(runs=store.root, draws=FEW)
    store = ResultStore(tmp_path / "c")
    add(store, "eszsl", 0.5, dataset="cub")
    add(store, "ale", 0.7, dataset="sun")
    with pytest.raises(BadValue, match="no two of these methods finished on the same data set"):
        compare(runs=store.root, draws=FEW)


def test_too_many_unnamed_lines(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    for number in range(21):
        store.save(record(f"m{number}", metrics={"T1": 0.5}), predictions(0.5, number, "zsl"))
    with pytest.raises(BadValue, match="there are 21 rows to compare, more than the 20"):
        compare(runs=tmp_path, draws=FEW)
    assert len(table(tmp_path, *(f"m{number}" for number in range(4)))["comparisons"][0]["pairs"]) == 6


# --- the command line ----------------------------------------------------------------------------------------------


def test_the_verb(runs: Path, tmp_path: Path) -> None:
    assert inspect.unwrap(zslbench.compare) is compare
    command = [
        "compare",
        "ale",
        "eszsl",
        "--metric",
        "h",
        "--over",
        "classes",
        "--runs",
        str(runs),
        "--draws",
        str(FEW),
    ]
    files = ["-o", str(tmp_path / "out.txt"), "--diagram", str(tmp_path / "r.svg")]
    done = CliRunner(env={"COLUMNS": "100"}).invoke(cli, [*command, *files])
    assert (done.exit_code, done.stdout) == (0, "")
    assert "wrote" in done.stderr
    assert (tmp_path / "out.txt").read_text() == compare(
        "ale", "eszsl", runs=runs, metrics=["H"], over="classes", draws=FEW, width=100
    )
    assert (tmp_path / "r.svg").exists()
