"""Calibrated stacking against naive loops over constants, and the curve verb."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import json
import math
import random
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from compiled_latex import compiled
from hypothesis import given
from hypothesis import strategies as st
from result_records import record, table

from zslbench.arrays import AnyArray
from zslbench.cli import cli
from zslbench.errors import BadValue, RecordsLeftOut, StoreError, UnknownName
from zslbench.metrics import stacked_accuracies
from zslbench.protocols.gzsl import GZSL
from zslbench.results.analysis import calibration
from zslbench.results.records.record import Record
from zslbench.results.records.store import ResultStore
from zslbench.results.tables.render import FORMATS
from zslbench.studies.curve import curve as curve_verb
from zslbench.studies.plot import plot


def drawn(seed: int, images: int = 12, ties: bool = True, shift: float = 0.0) -> dict[str, AnyArray]:
    """Return predictions of images of two seen and two unseen classes; scores in few steps tie often."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(4), rng.integers(0, 4, images)])
    score = (lambda: rng.integers(0, 5, len(labels)) / 4) if ties else (lambda: rng.normal(size=len(labels)))
    return {
        "row": np.arange(len(labels)),
        "label": labels,
        "of_unseen": labels >= 2,
        "seen_score": score() + shift,
        "seen_class": rng.integers(0, 2, len(labels)),
        "unseen_score": score(),
        "unseen_class": rng.integers(2, 4, len(labels)),
    }


predictions = st.builds(drawn, st.integers(0, 10_000), st.integers(0, 25), st.booleans())


def naive(found: dict[str, AnyArray], gamma: float) -> tuple[float, float, float]:
    """Predict image by image, average class by class."""
    hits: dict[int, list[bool]] = {}
    for i, label in enumerate(found["label"]):
        seen = found["seen_score"][i] - found["unseen_score"][i] >= gamma
        guess = found["seen_class"][i] if seen else found["unseen_class"][i]
        hits.setdefault(int(label), []).append(bool(guess == label))
    accuracy = {label: sum(own) / len(own) for label, own in hits.items()}
    s = sum(accuracy[c] for c in (0, 1)) / 2
    u = sum(accuracy[c] for c in (2, 3)) / 2
    return u, s, 2 * u * s / (u + s) if u + s else 0.0


def mean_h(folds: list[dict[str, AnyArray]], gamma: float) -> float:
    return sum(naive(fold, gamma)[2] for fold in folds) / len(folds)


def best(*folds: dict[str, AnyArray]) -> float:
    return calibration.best_constant([calibration.curve(fold) for fold in folds])


def constants(*folds: dict[str, AnyArray]) -> list[float]:
    """Return one constant for each outcome there can be: every margin, between them, and beyond."""
    margins = sorted({float(m) for f in folds for m in f["seen_score"] - f["unseen_score"]})
    between = [(a + b) / 2 for a, b in itertools.pairwise(margins)]
    return [*margins, *between, margins[0] - 1, margins[-1] + 1]


@given(predictions)
def test_every_point_of_the_curve_is_that_of_a_loop(found: dict[str, AnyArray]) -> None:
    whole = calibration.curve(found)
    for gamma in constants(found):
        u, s, h = naive(found, gamma)
        assert stacked_accuracies(found, gamma) == pytest.approx({"U": u, "S": s, "H": h})
        place = int(np.searchsorted(whole.margins, gamma, side="left"))
        assert (whole.unseen[place], whole.seen[place]) == (pytest.approx(u), pytest.approx(s))
        assert whole.harmonic_at(np.array([gamma]))[0] == pytest.approx(h)


@given(predictions)
def test_no_constant_changes_nothing(found: dict[str, AnyArray]) -> None:
    judged = GZSL().metrics(found)
    assert stacked_accuracies(found, 0.0) == {name: judged[name] for name in "USH"}  # to the bit


@given(st.lists(predictions, min_size=1, max_size=3), st.randoms())
def test_the_constant_is_the_best_of_all_in_any_order(folds: list[dict[str, AnyArray]], chance: random.Random) -> None:
    chosen = best(*folds)
    assert mean_h(folds, chosen) == pytest.approx(max(mean_h(folds, gamma) for gamma in constants(*folds)))
    assert mean_h(folds, chosen) >= mean_h(folds, 0.0) - 1e-9
    mixed = []
    for fold in folds:
        order = list(range(len(fold["label"])))
        chance.shuffle(order)
        mixed.append({name: array[order] for name, array in fold.items()})
    chance.shuffle(mixed)
    assert best(*mixed) == chosen


@given(predictions, st.sampled_from([-0.5, 0.25, 2.0]))
def test_the_constant_moves_with_the_scores(found: dict[str, AnyArray], shift: float) -> None:
    moved = {**found, "seen_score": found["seen_score"] + shift}
    gammas = best(found), best(moved)
    h = [stacked_accuracies(fold, gamma)["H"] for fold, gamma in zip((found, moved), gammas, strict=True)]
    assert h[0] == pytest.approx(h[1])
    if h[0] > 0:
        assert gammas[1] == pytest.approx(gammas[0] + shift)


def one_sided(margins: list[float], labels: list[int]) -> dict[str, AnyArray]:
    """Return predictions that are right on the chosen side: only the margin decides."""
    label = np.array(labels)
    return {
        "row": np.arange(len(label)),
        "label": label,
        "of_unseen": label == 1,
        "seen_score": np.array(margins),
        "seen_class": np.zeros(len(label), dtype=np.int64),
        "unseen_score": np.zeros(len(label)),
        "unseen_class": np.ones(len(label), dtype=np.int64),
    }


def test_the_middle_of_the_widest_plateau_is_taken() -> None:
    found = one_sided([1.0, 3.0], [1, 0])  # H is 1 for any constant in (1, 3]
    assert best(found) == 2.0
    for shift in (-0.9, 0.9):  # the outcome stays where scores shift a little
        moved = {**found, "seen_score": found["seen_score"] + shift}
        assert stacked_accuracies(moved, 2.0)["H"] == 1.0
    # the mean of two folds has two best intervals, (2, 3] and (10, 14]: the wider wins
    folds = one_sided([0.0, 3.0, 10.0, 14.0], [1, 0, 1, 0]), one_sided([0.0, 2.0, 14.0, 14.0], [1, 1, 0, 0])
    tried = np.linspace(-1, 15, 1601)
    mean = np.mean([calibration.curve(fold).harmonic_at(tried) for fold in folds], axis=0)
    highest = tried[mean > mean.max() - 1e-9]
    assert highest.min() <= best(*folds) <= highest.max()


def test_neighbouring_numbers_leave_no_gap() -> None:
    found = one_sided([1.0, float(np.nextafter(1.0, 2.0))], [1, 0])
    assert stacked_accuracies(found, best(found))["H"] == 1.0


def test_where_no_constant_helps_it_is_zero() -> None:
    always_wrong = one_sided([1.0, 3.0], [1, 0]) | {"unseen_class": np.full(2, 2)}
    assert best(always_wrong) == 0.0


@given(predictions)
def test_unseen_at_a_level_of_seen_is_on_the_line_between_points(found: dict[str, AnyArray]) -> None:
    whole = calibration.curve(found)
    points = list(zip(whole.seen, whole.unseen, strict=True))
    assert math.isnan(whole.unseen_at(np.array([whole.seen[0] + 0.01]))[0])
    for level in np.linspace(0, whole.seen[0], 7)[1:-1]:
        for (s0, u0), (s1, u1) in itertools.pairwise(points):
            if s1 < level < s0:
                wanted = u0 + (u1 - u0) * (s0 - level) / (s0 - s1)
                assert whole.unseen_at(np.array([level]))[0] == pytest.approx(wanted)


# --- records -------------------------------------------------------------------------------------------------------


def gzsl(method: str, found: dict[str, AnyArray], **facts: Any) -> tuple[Record, dict[str, AnyArray]]:
    return record(method, protocol="gzsl", metrics=GZSL().metrics(found), title=method.upper(), **facts), found


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A method of three seeds with three dev folds each, a zsl run, and one whose dev folds are not there."""
    store = ResultStore(tmp_path_factory.mktemp("calibrated") / "runs")
    store.save(record("a"), {})
    store.save(*gzsl("b", drawn(99, 60, False, 1.5)))
    for seed, fold in itertools.product(range(3), range(4)):
        stage = "dev" if fold else "final"
        store.save(*gzsl("a", drawn(10 * fold + seed, 60, False, 1.5), seed=seed, stage=stage, fold=fold))
    return store.root


@pytest.fixture
def own_runs(runs: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(runs, tmp_path / "runs"))


def of_a(runs: Path, stage: str = "final") -> list[Record]:
    return [
        run
        for run in ResultStore(runs).load()
        if (run.method["name"], run.protocol["name"], run.stage) == ("a", "gzsl", stage)
    ]


@pytest.mark.parametrize("on_test", [False, True])
def test_the_columns_are_those_of_loops(runs: Path, on_test: bool) -> None:
    """Each seed's constant is found by trying all of them."""
    (row,) = json.loads(
        table(runs, format="json", methods=["a"], protocols=["gzsl"], calibrate="oracle" if on_test else "dev")
    )
    load = ResultStore(runs).predictions
    stacked = []
    for final, gamma in zip(of_a(runs), row["gammas"], strict=True):
        folds = [load(run) for run in ([final] if on_test else of_a(runs, "dev")) if run.seed == final.seed]
        highest = max(constants(*folds), key=lambda gamma: mean_h(folds, gamma))
        assert mean_h(folds, gamma) == pytest.approx(mean_h(folds, highest))
        stacked.append(naive(load(final), highest))
    for name, values in zip("USH", zip(*stacked, strict=True), strict=True):
        if name == "H" or not on_test:
            mean = row["metrics"][f"{name} cs{'†' if on_test else ''}"]["mean"]
            assert mean == pytest.approx(100 * sum(values) / 3, abs=1e-5)
    assert row["gamma_folds"] == ([] if on_test else [1, 2, 3])
    if on_test:
        assert row["metrics"]["H cs†"]["mean"] >= row["metrics"]["H"]["mean"]


def naive_constant(folds: list[dict[str, AnyArray]]) -> float:
    """Sweep γ over the intervals between margins; of the best ones side by side, return the middle of the widest."""
    margins = sorted({float(m) for f in folds for m in f["seen_score"] - f["unseen_score"]})
    highest, plateaus = -1.0, list[tuple[float, float]]()
    for low, high in itertools.pairwise(margins):
        h = mean_h(folds, high)
        if h > highest + 1e-12:
            highest, plateaus = h, []
        if abs(h - highest) <= 1e-12:
            beside = plateaus and plateaus[-1][1] == low
            plateaus[-1:] = [(plateaus[-1][0], high)] if beside else [*plateaus[-1:], (low, high)]
    low, high = max(plateaus, key=lambda plateau: plateau[1] - plateau[0])
    return (low + high) / 2


def naive_area(found: dict[str, AnyArray]) -> float:
    """Join the points of a sweep over γ by straight lines, and sum what is below them."""
    points = sorted((naive(found, gamma)[:2] for gamma in constants(found)), key=lambda point: (point[0], -point[1]))
    return sum((u1 - u0) * (s0 + s1) / 2 for (u0, s0), (u1, s1) in itertools.pairwise(points))


def test_one_table_has_h_raw_calibrated_and_with_the_best_constant_on_test(runs: Path) -> None:
    """Every number is that of a sweep over the kept predictions, seed by seed."""
    (row,) = json.loads(table(runs, format="json", methods=["a"], protocols=["gzsl"], calibrate="both"))
    load = ResultStore(runs).predictions
    wanted: dict[str, list[float]] = {}
    gammas: dict[str, list[float]] = {"gammas": [], "gammas†": []}
    for final in of_a(runs):
        on_dev = [load(run) for run in of_a(runs, "dev") if run.seed == final.seed]
        gammas["gammas"].append(naive_constant(on_dev))
        gammas["gammas†"].append(naive_constant([load(final)]))
        for mark, gamma in ("", 0.0), (" cs", gammas["gammas"][-1]), (" cs†", gammas["gammas†"][-1]):
            for name, value in zip("USH", naive(load(final), gamma), strict=True):
                wanted.setdefault(name + mark, []).append(value)
        wanted.setdefault("AUSUC", []).append(naive_area(load(final)))
        wanted.setdefault("ΔH cs†", []).append(wanted["H cs†"][-1] - wanted["H cs"][-1])
    assert {name: row[name] for name in gammas} == {name: pytest.approx(values) for name, values in gammas.items()}
    means = {name: 100 * float(np.mean(values)) for name, values in wanted.items()}
    assert {name: stat["mean"] for name, stat in row["metrics"].items()} == pytest.approx(means, abs=1e-5)
    spread = 100 * float(np.std(wanted["ΔH cs†"], ddof=1))
    assert row["metrics"]["ΔH cs†"]["std"] == pytest.approx(spread, abs=1e-5)
    assert row["gamma_folds"] == [1, 2, 3]


def test_a_program_reads_which_constant_a_number_rests_on(runs: Path) -> None:
    with pytest.warns(RecordsLeftOut, match="zslbench run -m b -d cub .* -p gzsl --calibrate"):
        text = table(runs, format="csv", protocols=["gzsl"], calibrate="both")
    for line in csv.DictReader(io.StringIO(text)):
        assert ("†" in line["marks"]) == line["metric"].endswith("†")
        assert bool(line["gammas"]) == (" cs" in line["metric"])
        assert bool(line["gamma_folds"]) == line["metric"].endswith(" cs")
    with pytest.warns(RecordsLeftOut):
        of_b = json.loads(table(runs, format="json", protocols=["gzsl"], calibrate="both"))[1]
    assert list(of_b["metrics"]) == ["U", "S", "H", "U cs†", "S cs†", "H cs†", "AUSUC"]
    assert len(of_b["gammas"]) == 1
    assert of_b["gamma_folds"] == []


@pytest.mark.parametrize(
    ("format", "head", "meaning"),
    [
        ("terminal", "H U cs S cs H cs U cs† S cs† H cs† ΔH cs† AUSUC", "ΔH cs†: H cs† − H cs, what choosing γ"),
        ("markdown", "CUB U cs† | CUB S cs† | CUB H cs† | CUB ΔH cs† | CUB AUSUC |", "ΔH cs†: H cs† − H cs, what"),
        (
            "latex",
            r"U cs$^{\dagger}$ & S cs$^{\dagger}$ & H cs$^{\dagger}$ & $\Delta$H cs$^{\dagger}$ & AUSUC",
            r"$\Delta$H cs$^{\dagger}$: H cs$^{\dagger}$ $-$ H cs, what choosing $\gamma$ on the test images",
        ),
    ],
)
def test_a_reader_sees_what_each_of_the_three_is(runs: Path, format: str, head: str, meaning: str) -> None:
    width = {"latex": None, "markdown": 100}.get(format, 200)
    text = table(runs, format=format, methods=["a"], protocols=["gzsl"], calibrate="both", width=width)
    plain = " ".join(text.split())
    assert head in plain
    assert meaning in plain
    assert plain.replace("--", "–").replace("$^{\\dagger}$", "†").count("on dev folds 1–3, cs† on the test images") == 1


def test_latex_sets_the_three_without_a_warning(pdflatex: str, runs: Path, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"methods": ["a"], "protocols": ["gzsl"], "calibrate": "both"}
    log = compiled(pdflatex, tmp_path, table(runs, format="latex", standalone=True, **asked))
    assert not re.search("Overfull|Missing character|Warning: Citation", log)


def test_without_any_dev_folds_the_others_are_shown(runs: Path) -> None:
    text = table(runs, calibrate="both", methods=["b"], width=200)
    assert "no constant of calibrated stacking for b on CUB (fc1000, att, gzsl)" in text
    heads = next(line for line in text.splitlines() if line.startswith("method")).split()
    assert heads == ["method", *"USH", "U", "cs†", "S", "cs†", "H", "cs†", "AUSUC"]
    assert "γ chosen on the test images (†)." in text


def test_a_large_gain_from_the_test_images_is_not_marked_as_the_best(own_runs: Path) -> None:
    store = ResultStore(own_runs)
    for fold in range(4):
        store.save(*gzsl("c", drawn(70 + fold, 60, False, 0.1), stage="dev" if fold else "final", fold=fold))
    for columns, is_marked in (("H cs†", True), ("ΔH cs†", False)):
        text = table(own_runs, format="markdown", methods=["a", "c"], calibrate="both", columns=[columns])
        assert len(set(re.findall(r"\d+\.\d(?=\D*†)", text))) > 1
        assert ("**" in text) == is_marked


def test_a_narrow_table_is_parted_between_raw_calibrated_and_oracle(runs: Path) -> None:
    text = table(runs, methods=["a"], protocols=["gzsl"], calibrate="both", width=72)
    heads = [line.replace("method", "").split("  ") for line in text.splitlines() if line.startswith("method")]
    assert [[head.strip() for head in line if head] for line in heads] == [
        ["U", "S", "H"],
        ["U cs", "S cs", "H cs"],
        ["U cs†", "S cs†", "H cs†", "ΔH cs†", "AUSUC"],
    ]


@pytest.mark.parametrize("format", FORMATS)
def test_a_constant_chosen_on_test_is_marked_in_every_format(runs: Path, format: str) -> None:
    width = None if format == "latex" else 200
    options = {"format": format, "methods": ["a"], "width": width, "caption": "full"}
    plain, on_test = (table(runs, calibrate=on, **options) for on in ("dev", "oracle"))
    sign = r"$^{\dagger}$" if format == "latex" else "†"
    assert sign not in plain
    assert sign in on_test
    if format == "csv":
        for line in csv.DictReader(io.StringIO(on_test)):
            assert ("†" in line["marks"]) == line["metric"].endswith("cs†")
            assert bool(line["gammas"]) == (" cs" in line["metric"])
    if format == "terminal":
        assert "the highest H on the test images (†)." in on_test
        assert "over its dev folds 1–3." in plain
        (row,) = (line for line in on_test.splitlines() if line.startswith("A "))
        assert row.count("†") == 3


def test_what_lacks_dev_folds_is_said_with_the_command(runs: Path) -> None:
    text = table(runs, calibrate=True, protocols=["gzsl"], width=200)
    assert "no constant of calibrated stacking for b on CUB (fc1000, att, gzsl)" in text
    assert f"zslbench run -m b -d cub --features fc1000 --semantics att -p gzsl --calibrate --runs {runs}`" in text
    with pytest.raises(BadValue, match="b on CUB"):
        table(runs, calibrate=True, methods=["b"])
    with pytest.raises(BadValue, match="ask for gzsl"):
        table(runs, calibrate=True, protocols=["zsl"])
    with pytest.raises(UnknownName, match="dev"):
        table(runs, calibrate="test")


def test_a_cell_is_calibrated_for_all_of_its_seeds_or_none(own_runs: Path) -> None:
    gone = next(run for run in of_a(own_runs, "dev") if (run.fold, run.seed) == (3, 2))
    ResultStore(own_runs).path(gone).unlink()
    with pytest.raises(BadValue, match="not all of its dev folds were run"):
        table(own_runs, calibrate=True, methods=["a"])


def test_an_earlier_step_has_no_predictions_to_calibrate(own_runs: Path) -> None:
    store = ResultStore(own_runs)
    early = {"step": 1, "metrics": {"U": 1.0, "S": 1.0, "H": 1.0, "AUSUC": 1.0}}
    for run in of_a(own_runs) + of_a(own_runs, "dev"):
        store.relabel(dataclasses.replace(run, curve=(early,)))
    asked: dict[str, Any] = {"methods": ["a"], "protocols": ["gzsl"], "selection": ["fixed", "validated"]}
    text = table(own_runs, calibrate=True, width=200, **asked)
    assert "no calibrated stacking for rows of an earlier step (a)" in text
    row = next(line for line in text.splitlines() if line.startswith("A validated"))
    assert row.split()[2:] == ["100.0", "±", "0.0*"] * 3 + ["–"] * 3


def test_lost_predictions_are_a_sentence(own_runs: Path) -> None:
    ResultStore(own_runs).path(of_a(own_runs, "dev")[0]).with_suffix(".npz").unlink()
    with pytest.raises(StoreError, match="--rerun all"):
        table(own_runs, calibrate=True, methods=["a"])


# --- the curve verb ------------------------------------------------------------------------------------------------


def test_the_curve_is_written_whole(runs: Path, tmp_path: Path) -> None:
    target = tmp_path / "points.csv"
    done = CliRunner().invoke(cli, ["curve", "-m", "a", "-d", "cub", "-o", str(target), "--runs", str(runs)])
    assert done.exit_code == 0, done.output
    text = target.read_text(encoding="utf-8")
    assert text == curve_verb(runs, methods=["a"], format="csv").text
    for final in of_a(runs):
        found = ResultStore(runs).predictions(final)
        points = [row for row in csv.DictReader(io.StringIO(text)) if row["seed"] == str(final.seed)]
        assert len(points) == len({float(m) for m in found["seen_score"] - found["unseen_score"]}) + 1
        for point in points:
            wanted = [100 * value for value in naive(found, float(point["gamma"]))]
            assert [float(point[name]) for name in "USH"] == pytest.approx(wanted, abs=1e-5)


def test_the_curve_tells_before_and_after(runs: Path) -> None:
    plain = json.loads(table(runs, format="json", methods=["a"], protocols=["gzsl"], calibrate="dev"))[0]["metrics"]
    (row,) = json.loads(table(runs, format="json", methods=["a"], protocols=["gzsl"], calibrate="oracle"))
    on_test = row["metrics"]
    text = curve_verb(runs, width=250).text
    row = next(line for line in text.splitlines() if line.startswith("A "))
    for name, stat in (("AUSUC", plain["AUSUC"]), ("H", plain["H"]), ("H cs", plain["H cs"])):
        assert f"{stat['mean']:.1f} ± {stat['std']:.1f} " in row, name
    assert f"{on_test['H cs†']['mean']:.1f} ± {on_test['H cs†']['std']:.1f}†" in row
    assert "no constant of calibrated stacking for b on CUB" in text
    assert "–" in next(line for line in text.splitlines() if line.startswith("B "))
    runs_of_it = json.loads(curve_verb(runs, format="json").text)
    assert [(one["label"], one["seed"]) for one in runs_of_it] == [("a", 0), ("a", 1), ("a", 2), ("b", 0)]
    for one in runs_of_it:
        assert one["curve"]["gamma"][-1] is None
        assert one["metrics"]["H cs†"] == pytest.approx(max(one["curve"]["H"]))
    for kind in ("markdown", "latex"):
        assert "AUSUC" in curve_verb(runs, format=kind).text


def test_levels_are_means_over_seeds(runs: Path) -> None:
    values = []
    for final in of_a(runs):
        found = ResultStore(runs).predictions(final)
        values.append(max(naive(found, gamma)[0] for gamma in constants(found)))  # S of 0 costs no U
    text = curve_verb(runs, methods=["a"], width=250).text
    head = next(line for line in text.splitlines() if line.startswith("method"))
    row = next(line for line in text.splitlines() if line.startswith("A "))
    place = head.index("H cs†") + len("H cs†")
    assert f"{100 * sum(values) / 3:.1f}" in row[place:].replace("†", " ").split()


def test_bad_questions_to_the_curve_get_one_sentence(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="unknown format"):
        curve_verb(runs, format="png")
    with pytest.raises(BadValue, match="did you mean"):
        curve_verb(runs, methods=["aa"])
    only_zsl = ResultStore(tmp_path / "zsl")
    only_zsl.save(record("a"), {})
    with pytest.raises(BadValue, match="gzsl"):
        curve_verb(tmp_path / "zsl")
    only_zsl.save(gzsl("a", drawn(1), selection="oracle")[0], drawn(1))
    with pytest.raises(BadValue, match=r"ask for gzsl runs\. 1 run for oracle selection not shown; --selection"):
        plot("curve", runs=tmp_path / "zsl")
    with pytest.raises(BadValue, match=r"candidate of oracle selection.*zslbench plot curve --selection oracle"):
        curve_verb(tmp_path / "zsl")


@pytest.mark.filterwarnings("ignore::zslbench.errors.RecordsLeftOut")
def test_runs_for_oracle_selection_are_left_out_with_a_sentence(own_runs: Path) -> None:
    store = ResultStore(own_runs)
    for run in of_a(own_runs):
        store.relabel(dataclasses.replace(run, selection="oracle"))
    for verb, said in (
        ("curve", "shown; zslbench plot curve --selection oracle shows the best on test, marked †."),
        (f"plot curve -o {own_runs}.svg", "shown; --selection oracle shows the best on test, marked †."),
        ("compare", "compared; --selection oracle compares such runs, marked †."),
    ):
        if verb == "compare":
            store.save(*gzsl("c", drawn(99, 60, False, 1.5)))
        done = CliRunner().invoke(cli, [*verb.split(), "--runs", str(own_runs)])
        assert f"3 runs for oracle selection not {said}" in " ".join(done.output.split()), verb
    assert "for oracle selection" not in str(curve_verb(own_runs, methods=["b"]))
