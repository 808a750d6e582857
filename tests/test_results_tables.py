"""Tables: what must hold of any table and layout; their texts in each format are compared in test_golden.py."""

from __future__ import annotations

import csv
import dataclasses
import importlib.resources
import io
import itertools
import json
import re
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import live_files
import pytest
from hypothesis import given
from hypothesis import strategies as st
from result_records import PAPER_DATA, WITHOUT_LEFT_OUT, check_golden, pair, record, saved, study, table
from rich.cells import cell_len

from zslbench.errors import BadValue, CaptionLeftOut, RecordsLeftOut, StoreError, UnknownName, ZslbenchError
from zslbench.results.analysis.rows import summarise
from zslbench.results.records.record import Record
from zslbench.results.tables.layout import lay_out
from zslbench.results.tables.pivot import pivot_tables
from zslbench.results.tables.ranking import Ranking, mark_best
from zslbench.results.tables.render import render
from zslbench.results.tables.table import WARNINGS, NumberFormat, Remark, RemarkKind, shorten, text_table
from zslbench.studies.record_table import table as table_verb

pytestmark = WITHOUT_LEFT_OUT

RULES = ("fixed", "oracle")


def simple(method: str, value: float, seed: int = 0, **facts: Any) -> Record:
    return record(method, seed=seed, metrics={"T1": value}, **facts)


def sheet(runs: Path, **options: Any) -> tuple[list[str], dict[str, list[str]]]:
    """Return the heads of a Markdown table, and its cells by the name of their row."""
    text = table(runs, format="markdown", **options)
    heads, _, *rows = (list(map(str.strip, row.strip("|").split("|"))) for row in text.splitlines() if row[:1] == "|")
    return heads, {name: values for name, *values in rows}


def cells(runs: Path, **options: Any) -> dict[str, list[str]]:
    return sheet(runs, **options)[1]


def csv_rows(runs: Path, **options: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table(runs, format="csv", **options))))


# --- what must hold ------------------------------------------------------------------------------------------------


def test_golden_of_many_methods_and_data_sets(paper_runs: Path) -> None:
    text = table(paper_runs, width=100)
    assert max(map(len, text.splitlines())) <= 100
    check_golden("many.txt", text)


def test_the_split_follows_the_content_and_not_the_way_it_was_named(tmp_path: Path) -> None:
    saved(tmp_path, [record("eszsl", origin="own"), record("sae")])
    assert "\nSplit: proposed split (PS) of Xian et al.\n" in table(tmp_path, width=100, caption="full")
    saved(tmp_path, [record("sae", semantics="sent", origin="own")])
    proposed, own = "proposed split (PS) of Xian et al. (CUB fc1000/att)", "the data's own split (CUB fc1000/sent)"
    assert f"Split: {proposed}, {own}." in table(tmp_path, width=400, caption="full")


def test_json_numbers_are_those_of_the_records(study_runs: Path) -> None:
    rows = json.loads(table(study_runs, format="json"))
    groups: dict[tuple[str, ...], list[Record]] = {}
    for run in study():
        if run.ok and run.selection == "fixed":
            key = run.label, run.dataset["name"], run.protocol["name"], run.method["setting"]
            groups.setdefault(key, []).append(run)
    assert len(rows) == len(groups)
    for row in rows:
        same = groups[row["label"], row["dataset"], row["protocol"], row["setting"]]
        assert row["seeds"] == [run.seed for run in same]
        assert row["params"] == same[0].method["params"]
        for name, numbers in row["metrics"].items():
            values = [100 * run.metrics[name] for run in same]
            spread = statistics.stdev(values) if len(values) > 1 else None
            assert numbers["n"] == len(values)
            assert numbers["mean"] == pytest.approx(statistics.mean(values), abs=1e-6)
            assert numbers["std"] == (spread and pytest.approx(spread, abs=1e-6))
        assert set(row["metrics"]) == ({"T1"} if row["protocol"] == "zsl" else {"U", "S", "H", "AUSUC"})
        assert all(row[key] for key in ("method", "features", "semantics", "fingerprint", "stage", "selection"))


tenths = st.integers(0, 40).map(lambda number: number / 10)


@given(st.lists(tenths, max_size=8))
def test_the_best_are_those_with_none_above_but_not_all_and_not_zero(values: list[float]) -> None:
    marked = mark_best(dict(enumerate(values)))
    for place, value in enumerate(values):
        is_best = len(set(values)) > 1 and value == max(values) and value > 0
        assert (place in marked) == is_best


def test_who_is_tied_with_the_best_shares_its_mark_and_unranked_rows_take_it_from_all() -> None:
    values = {"a": 50.0, "b": 48.0, "c": 49.0, "d": 0.0}
    assert mark_best(values, lambda best, other: (best, other) == ("a", "c")) == {"a", "c"}
    assert mark_best(values, lambda best, other: (best, other) == ("a", "b")) == {"a"}, "c, between them, is told apart"
    assert mark_best(values, lambda best, other: None if other == "c" else other == "b") == {"a", "b"}
    assert mark_best(values, lambda best, other: True) == set()
    assert mark_best(values, lambda best, other: True, ["d"]) == {"a", "b", "c"}
    assert mark_best(values, unranked=["c"]) == {"a"}
    assert mark_best(values, unranked=["a", "c"]) == set()


def test_settings_that_nothing_selected_carry_no_mark_among_themselves(tmp_path: Path) -> None:
    grid = [simple("eszsl", value, label=f"eszsl[g={g}]", params={"g": g}) for g, value in ((1, 0.4), (2, 0.6))]
    folder = saved(tmp_path, [*grid, simple("sae", 0.5), simple("ale", 0.3)])
    assert "*" not in "".join(table(folder).splitlines()[:9])
    why = "Not marked: eszsl (several settings, none chosen in the dev stage), nor anything where one of them leads."
    assert why in table(folder, width=300)
    saved(folder, [simple("sje", 0.7)])
    assert [name for name, (value,) in cells(folder).items() if "*" in value] == ["sje"]
    dev = [
        simple("eszsl", v, label=f"eszsl[g={g}]", params={"g": g}, stage="dev", fold=1) for g, v in ((1, 0.4), (2, 0.6))
    ]
    chosen = cells(saved(tmp_path / "dev", dev), stage="dev")
    assert [name for name, (value,) in chosen.items() if "*" in value] == ["eszsl[g=2]"]
    tuned = [*grid, simple("eszsl", 0.7, label="eszsl@tuned", params={"g": 3}, selection="validated")]
    marked = [name for name, (value,) in cells(saved(tmp_path / "tuned", tuned)).items() if "*" in value]
    assert marked == ["eszsl@tuned"]


@pytest.mark.parametrize("methods", [4, 5])
def test_where_most_rows_were_selected_or_seeded_alike_the_others_are_named(tmp_path: Path, methods: int) -> None:
    names = [f"m{number}" for number in range(methods)]
    alike = [simple(name, 0.1 * seed, seed) for name in names for seed in (1, 2)]
    tuned = simple("eszsl", 0.7, 1, label="eszsl@tuned", selection="validated")
    folder = saved(tmp_path, [*alike, tuned])
    short, full = table(folder, width=300), table(folder, width=300, caption="full")
    others = "m0, m1, m2, m3" if methods == 4 else "all others"
    assert f"selection: validated (eszsl@tuned), fixed ({others})" in short
    assert f": eszsl@tuned; fixed (the declared last step): {others}." in full
    few, most = "1 (n = 1): eszsl@tuned", f"1, 2 (n = 2): {others}"
    assert f"Seeds: {f'{most}; {few}' if methods == 4 else f'{few}; {most}'}." in full


def test_a_row_selected_otherwise_on_another_data_set_has_a_name_of_its_own(tmp_path: Path) -> None:
    fixed = [simple(f"m{number}", 0.1) for number in range(6)]
    tuned = record("m0", "sun", metrics={"T1": 0.2}, selection="validated")
    short = table(saved(tmp_path, [*fixed, tuned]), width=300)
    assert "selection: validated (m0 validated), fixed (all others)" in short


settings = st.sampled_from(["inductive", "transductive"])


@given(st.lists(st.tuples(st.floats(0, 1), settings, st.sampled_from(RULES)), min_size=1, max_size=7), st.booleans())
def test_cells_are_marked_within_what_may_be_compared(drawn: list[tuple[float, str, str]], together: bool) -> None:
    rounded = [(round(value * 30) / 1000 + 0.5004, setting, rule) for value, setting, rule in drawn]
    rows = summarise(
        simple(f"m{place}", value, setting=setting, selection=rule)
        for place, (value, setting, rule) in enumerate(rounded)
    )
    marked = {row.name: row.cells[0] for row in lay_out(rows, rows, ("T1",), ranking=Ranking(together)).rows}
    for place, (value, setting, rule) in enumerate(rounded):
        rivals = {f"{100 * v:.1f}" for v, s, r in rounded if together or (s, r) == (setting, rule)}
        higher = [float(text) for text in rivals if float(text) > float(f"{100 * value:.1f}")]
        cell = marked[f"m{place}"]
        assert cell is not None
        assert (cell.emphasis == "best") == (len(rivals) > 1 and not higher)


def test_one_seed_has_no_deviation(tmp_path: Path) -> None:
    folder = saved(tmp_path, [simple("a", 0.5), simple("b", 0.5), simple("b", 0.6, seed=1)])
    assert cells(folder) == {"a": ["50.0"], "b": ["**55.0 ± 7.1**"]}
    assert "Seeds: 0, 1 (n = 2): b; 0 (n = 1): a." in table(folder, width=200)
    assert "±" not in table(folder, methods=["a"])
    uneven = [record("a", seed=seed) for seed in (0, 1)] + [record("a", protocol="gzsl", metrics={"H": 0.5})]
    text = table(saved(tmp_path / "uneven", uneven), width=400)
    assert "Seeds: 0, 1 (n = 2): a on CUB zsl; 0 (n = 1): a on CUB gzsl." in text


def test_marks_are_explained_only_where_they_stand(tmp_path: Path) -> None:
    assert not set(table(saved(tmp_path / "plain", [simple("a", 0.5)]))) & set("†‡±*")
    marked = [simple("a", 0.5, selection="oracle", setting="transductive")]
    runs = saved(tmp_path / "marked", marked)
    for caption, oracle in (("short", "† best on the test images"), ("full", "† oracle selection:")):
        text = table(runs, selection="oracle", caption=caption)
        assert all(part in text for part in ("a†‡", "‡ transductive:", oracle))


def test_data_of_one_name_is_told_apart_by_semantics_and_content(tmp_path: Path) -> None:
    records = [simple("a", 0.5), simple("a", 0.6, semantics="sent"), simple("a", 0.7, dataset="sun", features="vgg19")]
    text = table(saved(tmp_path / "semantics", records), width=200, caption="full")
    head = text.splitlines()[0].split("  ")
    assert [part.strip() for part in head if part.strip()] == ["CUB (fc1000, att)", "CUB (fc1000, sent)", "SUN"]
    assert "Features: fc1000 (CUB), vgg19 (SUN); semantics: att (CUB, SUN), sent (CUB)." in text
    assert "sent" not in table(tmp_path / "semantics", semantics=["att"], width=200)
    records = [simple("a", 0.5, fingerprint=digit * 16) for digit in "12"]
    head = table(saved(tmp_path / "content", records), width=200).splitlines()[0].split()
    assert head == ["CUB", "(11111111)", "CUB", "(22222222)"]


@pytest.mark.parametrize(
    ("first", "second", "names"),
    [
        ({"params": {"k": 1, "m": 2}}, {"params": {"k": 3, "m": 2}}, ["a[k=1]", "a[k=3]"]),
        ({}, {"version": 2}, ["a[version=1]", "a[version=2]"]),
    ],
)
def test_a_label_whose_meaning_changed_is_told_apart(tmp_path: Path, first: Any, second: Any, names: Any) -> None:
    assert list(cells(saved(tmp_path, [simple("a", 0.5, **first), simple("a", 0.6, **second)]))) == names


def test_rows_of_one_name_are_named_by_what_varies_defaults_included(tmp_path: Path) -> None:
    points = {"": (1.0, 1.0), "[gamma=100]": (100.0, 1.0), "[gamma=10,lam=1e-05]": (10.0, 1e-05), "[lam=2]": (1.0, 2.0)}
    grid = [
        simple("eszsl", 0.5, label=f"eszsl@l2{given}", title="ESZSL", params={"gamma": gamma, "lam": lam, "other": 3})
        for given, (gamma, lam) in points.items()
    ]
    gans = {"a": "hidden=512,lr=0.0003", "b": "hidden=512,lr=0.0003", "c": "hidden=64"}
    single = [simple(name, 0.5, label=f"{name}[{given}]") for name, given in gans.items()]
    alike = [simple("sae", 0.5, label=f"sae[lam={n},l2=true]", params={"lam": n, "l2": True}) for n in (10, 9)]
    folder = saved(tmp_path, [*grid, *single, *alike])
    grid_names = ("gamma=1, lam=1", "gamma=1, lam=2", "gamma=10, lam=1e-05", "gamma=100, lam=1")
    names = ["a", "b", "c", *(f"ESZSL@l2[{name}]" for name in grid_names), "sae[lam=9]", "sae[lam=10]"]
    below = "Parameters: a, b: hidden=512, lr=0.0003; c: hidden=64; sae: l2=true in all rows."
    for width in (500, 60, 40):
        assert list(cells(folder, width=width)) == names
        assert below in " ".join(table(folder, width=width).split())
    assert "ESZSL@l2[gamma=10,\n  lam=1e-05]" in re.sub(" +50.0\n", "\n", table(folder, width=40))


def test_a_row_on_several_data_sets_is_one_row_whatever_a_preset_means_there(tmp_path: Path) -> None:
    tuned = [simple("sae", 0.5, dataset=d, label="sae@tuned", params={"lam": lam}) for d, lam in (("x", 1), ("y", 2))]
    assert list(cells(saved(tmp_path, tuned))) == ["sae@tuned"]
    further = simple("sae", 0.4, dataset="x", label="sae@tuned[lam=3]", params={"lam": 3})
    assert list(cells(saved(tmp_path, [further]))) == ["sae@tuned", "sae@tuned[lam=3]"]


def test_labels_of_other_makes_stay_apart(tmp_path: Path) -> None:
    labels = "a [v1]", "a [v2]", "a[[", "a"
    records = [simple("a", 0.5, label=label, params={"k": k}) for k, label in enumerate(labels)]
    assert len(cells(saved(tmp_path, records))) == len(labels)


def test_rows_and_columns_come_in_the_order_asked_for(tmp_path: Path) -> None:
    records = [
        simple(m, 0.5, dataset=d, params={"k": k}, label=f"{m}[k={k}]") for m in "ab" for d in "xy" for k in (9, 10)
    ]
    rows = csv_rows(saved(tmp_path, records), methods=["b", "a"], datasets=["y", "x"])
    wanted = [(f"{m}[k={k}]", d) for m in "ba" for k in (9, 10) for d in "yx"]
    assert [(row["label"], row["dataset"]) for row in rows] == wanted
    assert list(cells(tmp_path, methods=["b[k=[10,9]]"])) == ["b[k=9]", "b[k=10]"]
    assert list(cells(tmp_path, methods=["b[k=10]", "a[k=9]"])) == ["b", "a"]


@pytest.mark.parametrize(
    ("term", "names"),
    [
        ("lisgan@S3", ["LisGAN@S3"]),
        ("LisGAN", ["LisGAN@S3", "LisGAN‡"]),
        ("lisgan[cascade=softmax]", ["LisGAN‡"]),
    ],
)
def test_a_spec_asks_for_the_runs_made_with_it(study_runs: Path, term: str, names: list[str]) -> None:
    assert list(cells(study_runs, methods=[term])) == names


def test_metrics_can_be_chosen(study_runs: Path) -> None:
    assert sheet(study_runs, datasets=["cub"], metrics=["ausuc", "H"])[0] == ["method", "CUB AUSUC", "CUB H"]
    assert "AUSUC" not in table(study_runs)
    assert {row["metric"] for row in csv_rows(study_runs, metrics=["H"])} == {"H"}


def test_failed_runs_and_broken_files_are_noted_on_the_terminal_and_warned_of_otherwise(tmp_path: Path) -> None:
    runs = saved(tmp_path, study())
    (runs / "cub" / "zsl" / "eszsl" / "x.json").write_text("{")
    with pytest.warns(RecordsLeftOut, match="1 file or folder was left out: ") as warned:
        text = table(runs)
    assert len(warned) == 1
    assert all(part in text for part in ("1 run failed; not counted.", "1 file or folder was left out: "))
    for other in ("markdown", "latex", "csv", "json"):
        with pytest.warns(RecordsLeftOut) as warned:
            text = table(runs, format=other)
        assert "not counted" not in text
        sentences = [str(warning.message) for warning in warned]
        for part in ("left out: ", "1 run failed; not counted."):
            assert sum(part in sentence for sentence in sentences) == 1
        captioned = "1 file or folder of records could not be read and is left out." in text
        assert captioned == (other in ("markdown", "latex"))


SHOWN = [
    ("table",),
    *(("table", "--format", name) for name in ("markdown", "latex", "csv", "json")),
    ("plot", "pareto", "-o", "figure.svg", "-p", "zsl", "--metric", "T1"),
    ("report", "--no-figures"),
]


@pytest.mark.parametrize("words", SHOWN, ids=" ".join)
def test_standard_error_says_once_what_was_left_out(typed: Any, words: tuple[str, ...]) -> None:
    timed = [dataclasses.replace(simple(name, 0.5), timings={"fit": 1.0, "total": 1.0}) for name in ("eszsl", "sae")]
    saved(Path("runs"), timed)
    (Path("runs") / "cub" / "zsl" / "eszsl" / "x.json").write_text("{")
    code, _, errors = typed(*words)
    assert (code, errors.count("Note: 1 file or folder was left out: ")) == (0, 1), errors
    assert errors.count("x.json is not a zslbench record") == 1


@pytest.mark.parametrize("width", [60, 63, 80, 91, 116, 124, 160])
def test_no_line_is_longer_than_the_terminal(paper_runs: Path, width: int) -> None:
    lines = table(paper_runs, width=width, published="best").splitlines()
    assert max(map(cell_len, lines)) <= width
    heads = [line for line in lines if line.split()[:1] == ["method"]]
    assert sum(line.split().count("T1") for line in heads) == len(PAPER_DATA)  # each column once


def test_a_name_wider_than_a_line_is_parted_after_punctuation(tmp_path: Path) -> None:
    name = "my_module:AVeryLongName_of_a_method_without_any_space_that_goes_on_and_on_for_more_than_a_line"
    runs = saved(tmp_path, [simple("a", 0.5, title=name), simple("b", 0.6, title="b")])
    lines = table(runs, width=80).splitlines()
    assert max(map(len, lines)) <= 80
    assert name in "".join(re.sub(r" +\d+\.\d.?$", "", line).strip() for line in lines)


def test_wide_characters_keep_the_columns_straight(tmp_path: Path) -> None:
    records = [simple("a", 0.5, title="日本語"), simple("b", 0.6, title="plain")]
    lines = table(saved(tmp_path, records)).splitlines()
    first, second = (next(line for line in lines if line.startswith(name)) for name in ("日本語", "plain"))
    assert cell_len(first[: first.index("50.0")]) == cell_len(second[: second.index("60.0")])


@pytest.mark.parametrize("width", [40, 60, 200])
def test_words_are_folded_to_the_width_of_a_terminal_and_none_is_lost(width: int) -> None:
    why = "failed: RuntimeError: no convergence after one hundred thousand steps of the solver"
    words = text_table("cub", ("method", "T1", "why"), [("eszsl", "9.5", "done"), ("sae", "10.0", why)], words=[2])
    title, heads, rule, *lines = render(words, "terminal", width).splitlines()
    assert max(map(len, lines)) <= max(width, len(heads))
    assert (title, heads.split(), rule.split("  ")[:2]) == ("cub", ["method", "T1", "why"], ["──────", "────"])
    assert lines[0].split() == ["eszsl", "9.5", "done"]
    assert " ".join(line[14:].strip() for line in lines[1:]) == why
    assert (len(lines) == 2) == (width == 200)


def test_tables_neither_train_nor_load_what_trains(study_runs: Path) -> None:
    code = (
        "import sys; from zslbench.studies.record_table import table\n"
        "heavy = {'torch', 'sklearn', 'scipy', 'pandas', 'tabulate', 'rich'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "for format in ('terminal', 'markdown', 'latex'): table(sys.argv[1], format=format)\n"
        "assert not {'torch', 'sklearn', 'scipy', 'pandas'} & set(sys.modules)\n"
        "for format in ('csv', 'json'): table(sys.argv[1], format=format)\n"
        "assert not {'torch', 'sklearn', 'pandas'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(study_runs)], check=True)


def test_interrupted_runs_need_no_rerun(tmp_path: Path) -> None:
    text = table(saved(tmp_path, [simple("a", 0.5), record("a", seed=1, status="interrupted")]))
    assert "1 run interrupted; not counted. The same `zslbench run …` does what was interrupted.\n" in text
    assert "--rerun failed" not in text


# --- layouts -------------------------------------------------------------------------------------------------------


def test_zsl_puts_semantics_under_a_spanning_head_where_they_must_be_told(tmp_path: Path) -> None:
    records = [record("a"), record("a", semantics="sent"), record("a", dataset="sun")]
    latex = table(saved(tmp_path, records), layout="zsl", format="latex")
    assert r" & \multicolumn{2}{c}{CUB} & \multicolumn{1}{c}{} \\" in latex
    assert r"\cmidrule(lr){2-3}" in latex
    assert r"\cmidrule(lr){4-4}" not in latex
    assert sheet(tmp_path, layout="zsl")[0] == ["method", "CUB fc1000, att", "CUB fc1000, sent", "SUN"]


# --- published numbers ---------------------------------------------------------------------------------------------


def test_published_numbers_never_enter_a_measured_column(study_runs: Path) -> None:
    plain, beside = (cells(study_runs, datasets=["cub"], published=source) for source in (None, "best"))
    assert {name: values[::2] for name, values in beside.items()} == plain
    rows = json.loads(table(study_runs, format="json", published="best"))
    assert all(set(entry) >= {"value", "source", "note"} for row in rows for entry in row["published"].values())
    assert not any(row["published"] for row in rows if row["dataset"] == "FLO_PART")
    assert "published" not in json.loads(table(study_runs, format="json"))[0]


def cited(source: str) -> dict[tuple[str, str, str], str]:
    """Return a source's numbers from the file itself: (method, data set, metric) to the number as it is shown."""
    text = importlib.resources.files("zslbench.results.analysis").joinpath("published.csv").read_text(encoding="utf-8")
    rows = [row for row in csv.DictReader(io.StringIO(text)) if row["source"] == source]
    return {
        (re.sub("[-†‡]", "", row["method"]).casefold(), row["dataset"], metric): f"{float(row[metric]):.1f}"
        for row in rows
        for metric in ("T1", "U", "S", "H")
        if row[metric]
    }


@pytest.mark.parametrize(("layout", "metrics"), [("zsl", ["T1"]), ("gzsl", ["U", "S", "H"])])
def test_published_rows_are_the_numbers_of_the_source_on_every_data_set(
    paper_runs: Path, layout: str, metrics: list[str]
) -> None:
    rows = json.loads(table(paper_runs, layout=layout, format="json", published="li2019lisgan"))
    published = [row for row in rows if row["source"]]
    shown = {
        (row["method"], row["dataset"], name): f"{value['mean']:.1f}"
        for row in published
        for name, value in row["metrics"].items()
    }
    assert shown == {
        key: value for key, value in cited("li2019lisgan").items() if key[2] in metrics and ":" not in key[0]
    }
    assert len(rows) - len(published) == 13 * 5
    assert {row["title"] for row in published} >= {"DAP", "DeViSE", "f-CLSWGAN", "LisGAN"}


def test_published_rows_are_not_only_of_methods_that_were_run_unless_asked_for(tmp_path: Path) -> None:
    folder = saved(tmp_path, [record("mine"), record("lisgan", setting="transductive", title="LisGAN")])
    published: dict[str, Any] = {"layout": "zsl", "published": "li2019lisgan"}
    assert list(cells(folder, **published)) == [
        "mine", "LisGAN‡", "*published: li2019lisgan, quoted*", "DAP", "CONSE", "SSE", "DeViSE", "SJE", "ESZSL", "ALE",
        "SYNC", "SAE", "DEM", "GAZSL†", "f-CLSWGAN†", "*published: li2019lisgan*", "LisGAN†‡",
    ]  # fmt: skip
    asked = cells(folder, methods=["lisgan"], **published)
    assert list(asked) == ["LisGAN‡", "*published: li2019lisgan*", "LisGAN†‡"]


def test_published_rows_are_ranked_by_themselves_and_by_kind(tmp_path: Path) -> None:
    folder = saved(tmp_path, [simple("a", 0.99), simple("b", 0.01)])
    published: dict[str, Any] = {"layout": "zsl", "published": "li2019lisgan"}
    assert {name: cell for name, (cell, *_) in cells(folder, **published).items() if cell.startswith("*")} == {
        "a": "**99.0**",
        "SYNC": "**55.6**",
        "f-CLSWGAN†": "**57.3**",
    }
    together = cells(folder, rank_together=True, **published)
    best = together["LisGAN†‡"], together["f-CLSWGAN†"], together["a"]
    assert best == (["**58.8**"], ["57.3"], ["**99.0**"])


def test_best_takes_each_number_from_the_preferred_source(paper_runs: Path) -> None:
    rows = json.loads(table(paper_runs, layout="zsl", format="json", published="best"))
    sources = [(row["method"], row["dataset"], row["source"]) for row in rows if row["source"]]
    wanted = {("devise", "cub", "xian2018gbu"), ("devise", "flo", "li2019lisgan"), ("dem", "cub", "zhang2017dem")}
    assert wanted <= {*sources}
    numbers = [(row["method"], row["dataset"], row["setting"]) for row in rows if row["source"]]
    assert len({*numbers}) == len(numbers)  # f-VAEGAN and TF-VAEGAN have numbers in both settings


def test_titles_stay_over_their_source_where_a_panel_lacks_its_first_block(paper_runs: Path) -> None:
    lines = table(paper_runs, layout="gzsl", datasets=["apy"], published="best", width=60).splitlines()
    at = lines.index("published: li2019lisgan,")
    assert " ".join(map(str.strip, lines[at : at + 3])).startswith("published: li2019lisgan, quoted GAZSL†")


def test_data_of_ones_own_has_no_published_rows(tmp_path: Path) -> None:
    folder = saved(tmp_path, pair("eszsl", "cub", 0, (0.5, 0.1, 0.2, 0.1), origin="own"))
    text = table(folder, layout="zsl", published="best", width=200)
    assert "There are no published numbers for these methods and data sets." in text
    assert [row["source"] for row in csv_rows(folder, layout="zsl", published="best")] == [""]


def test_a_named_ablation_is_cited_where_it_was_asked_for(tmp_path: Path) -> None:
    names = ("S2", "S3")
    runs = [record("lisgan", "apy", title="LisGAN", label=f"lisgan@{name}", params={"name": name}) for name in names]
    asked: dict[str, Any] = {"layout": "zsl", "published": "best", "methods": ["lisgan@S3"]}
    rows = csv_rows(saved(tmp_path, runs), **asked)
    assert [(row["label"], row["source"]) for row in rows] == [("lisgan@S3", ""), ("lisgan@S3", "li2019lisgan")]


def test_a_published_number_stands_once_on_the_features_that_it_rests_on(tmp_path: Path) -> None:
    folder = saved(tmp_path, [record("dap", features="fc1000"), record("dap", features="res101")])
    published: dict[str, Any] = {"layout": "zsl", "published": "xian2018gbu"}
    assert cells(folder, **published)["DAP"] == ["–", "40.0"]
    assert "unlike the measured ones" not in table(folder, **published)
    assert cells(folder, features=["fc1000"], **published)["DAP"] == ["40.0"]
    only = table(folder, features=["fc1000"], width=400, **published)
    assert "unlike the measured ones of CUB (fc1000, att): they do not compare directly" in only


def test_a_caption_says_whose_the_numbers_are_and_what_does_not_compare(tmp_path: Path) -> None:
    facts: dict[str, Any] = {"protocol": "gzsl", "metrics": {"U": 0.4, "S": 0.5, "H": 0.44}}
    titles = {"tfvaegan": "TF-VAEGAN", "cegzsl": "CE-GZSL", "dem": "DEM"}
    data = [("tfvaegan", "att"), ("cegzsl", "att"), ("cegzsl", "sent"), ("dem", "att")]
    runs = [record(name, title=titles[name], semantics=semantics, **facts) for name, semantics in data]
    folder = saved(tmp_path, runs)
    shown = {
        (row["label"], row["semantics"]): (row["published"]["H"]["value"], row["published"]["H"]["kind"])
        for row in json.loads(table(folder, format="json", published="best"))
    }
    assert shown == {
        ("tfvaegan", "att"): (58.1, "measured"),
        ("cegzsl", "att"): (56.4, "measured"),  # an answer of the authors; the paper has sentences
        ("cegzsl", "sent"): (65.3, "quoted"),
        ("dem", "att"): (29.2, "measured"),
    }
    text = table(folder, published="best", caption="full", width=4000)
    assert "narayan2020tfvaegan (TF-VAEGAN)" in text
    assert "dkgzsl2025, quoted (CE-GZSL)" in text
    assert "Other sources print other values for DEM; first-hand ones are preferred." in text
    assert "published numbers of CE-GZSL rest on res101 features and sent semantics, unlike" not in text  # none overlap
    assert "rest on res101 features and sent semantics, unlike the measured ones of CUB (fc1000, sent)" in text

    path = importlib.resources.files("zslbench.results.analysis").joinpath("published.csv")
    left_out = sum(
        bool(line[metric])
        for line in csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))
        for metric in facts["metrics"]
        if (line["method"].rstrip("†‡"), line["dataset"]) in {(title, "cub") for title in titles.values()}
        if line["kind"] == "other"
        or line["features"] != "res101"
        or line["semantics"] not in ("att", *(["sent"] if line["method"] == "CE-GZSL†" else []))
    )
    assert f"{left_out} published numbers of these methods left out, which do not compare: " in text
    assert f"{left_out} published numbers of these methods left out" in table(folder, published="best", width=4000)
    rows = cells(folder, layout="gzsl", published="best")
    assert "*published: dkgzsl2025, quoted*" in rows
    assert rows["TF-VAEGAN†"][:3] == ["52.8", "64.7", "58.1"]


# --- asking --------------------------------------------------------------------------------------------------------

ASKED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "unknown protocol": ({"protocols": ["gzl"]}, BadValue, "did you mean 'gzsl'"),
    "parameter that no run has": ({"methods": ["eszsl[gamma=7]"]}, BadValue, "there are: .*gamma=1000"),
    "no such features": ({"features": "vgg19"}, BadValue, "there are: efflite0, fc1000"),
    "no such stage here": ({"stage": "dev"}, BadValue, "there are: final"),
    "no stage": ({"stage": "test"}, BadValue, "choose one of: final, dev"),
    "published numbers of the dev stage": ({"stage": "dev", "published": "best"}, BadValue, "of the final stage"),
    "nothing together": ({"methods": ["sae"], "datasets": ["FLO_PART"]}, BadValue, "method sae, dataset FLO_PART"),
    "unknown metric": ({"metrics": ["F1"]}, UnknownName, "unknown metric 'F1'"),
    "unknown format": ({"format": "tex"}, UnknownName, "unknown format 'tex'"),
    "bad grammar": ({"methods": ["lisgan["]}, ZslbenchError, "cannot read"),
    "unknown layout": ({"layout": "zls"}, UnknownName, "did you mean 'zsl'"),
    "another protocol": ({"layout": "gzsl", "protocols": ["zsl"]}, BadValue, "not protocol 'zsl'"),
    "another metric": ({"layout": "zsl", "metrics": ["H"]}, BadValue, "--layout gzsl"),
    "calibrated T1": ({"layout": "zsl", "calibrate": True}, BadValue, "leave out --calibrate"),
    "standalone text": ({"layout": "zsl", "standalone": True}, BadValue, "add --format latex"),
    "words for characters": ({"layout": "zsl", "width": "page"}, BadValue, "number of characters"),
    "a page too wide": ({"format": "latex", "width": 300}, BadValue, "inches from 1.5 to 40"),
    "data for records": ({"layout": "zsl", "data_root": Path()}, BadValue, "leave out --data-root"),
    "records for data": (
        {"layout": "stats", "methods": ["a"], "ci": True, "runs": "runs"},
        BadValue,
        "leave out --method and --ci",
    ),
    "the dev stage of data": ({"layout": "stats", "stage": "dev", "runs": "runs"}, BadValue, "leave out --stage"),
}


@pytest.mark.parametrize(("facts", "kind", "sentence"), ASKED.values(), ids=ASKED.keys())
def test_bad_questions_get_one_sentence(
    study_runs: Path, facts: dict[str, Any], kind: type[Exception], sentence: str
) -> None:
    with pytest.raises(kind, match=sentence) as caught:
        table(**({"runs": study_runs} | facts))
    assert "\n" not in str(caught.value)


def test_no_runs_and_none_finished_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"there are no runs in .*zslbench run"):
        table(tmp_path / "nowhere")
    failed = saved(tmp_path / "failed", [record(status="failed", error="Traceback\nValueError: no such luck\n")])
    with pytest.raises(StoreError, match=r"ValueError: no such luck.*--rerun failed"):
        table(failed)
    cut = [record(status="interrupted"), record(seed=1, status="interrupted")]
    with pytest.raises(StoreError, match=r"^2 runs were asked for in .* and none finished; to do what is left, type"):
        table(saved(tmp_path / "cut", cut))
    with pytest.raises(StoreError, match=r"^1 run was asked for in .* and did not finish; to do"):
        table(saved(tmp_path / "cut once", cut[:1]))
    live_files.put(tmp_path / "begun", live_files.study())
    with pytest.raises(StoreError, match=r"has finished yet, but 1 fit is under way; .* `zslbench watch --runs"):
        table(tmp_path / "begun")
    with pytest.raises(StoreError, match="no metric"):
        table(saved(tmp_path / "bare", [record(metrics={})]))


def test_a_folder_names_the_data_set_that_was_read_from_it(study_runs: Path) -> None:
    by_path = table(study_runs, datasets=["somewhere/FLO_PART/"], width=100)
    assert by_path == table(study_runs, datasets=["flo_part"], width=100)
    assert "cub" not in by_path


def test_the_table_is_written_whole_or_not_at_all(study_runs: Path, tmp_path: Path) -> None:
    target = tmp_path / "tables" / "gzsl.tex"
    shown = table_verb(study_runs, format="latex")
    text = shown.text
    shown.save(target)
    (tmp_path / "folder.tex").mkdir()
    bad = ((target / "below.txt", "name another folder"), (tmp_path / "folder.tex", "name a file, not a folder"))
    for output, advice in bad:
        with pytest.raises(StoreError, match=f"cannot write the table .*{advice}"):
            shown.save(output)
    assert target.read_text(encoding="utf-8") == text
    assert [path.name for path in target.parent.iterdir()] == ["gzsl.tex"]


# --- captions ------------------------------------------------------------------------------------------------------


def caption_of(text: str) -> list[str]:
    """Return the sentences below the last row, each on the line that it was given."""
    return text.rstrip().split("\n\n")[-1].splitlines()


def test_a_short_caption_says_what_the_numbers_are_of_in_one_sentence(tmp_path: Path) -> None:
    records = [simple("a", 0.5 + seed / 100, seed=seed) for seed in range(3)]
    runs = saved(tmp_path, [*records, *(simple("a", 0.6, seed=seed, dataset="sun") for seed in range(3))])
    assert caption_of(table(runs, width=200)) == [
        "ZSL, final stage · CUB, SUN: fc1000 features, att semantics, proposed split · selection: fixed · seeds 0–2 · "
        "± standard deviation.",
        "More: --caption full",
    ]
    assert "± half of the 95 % t interval." in table(runs, width=200, ci=True)
    assert "More:" not in table(runs, format="markdown")
    whole = table(runs, width=200, caption="full")
    assert "Metrics: mean per-class top-1 accuracy" in whole
    assert "More:" not in whole


def test_a_short_caption_says_where_seeds_differ_and_none_warns_of_it(tmp_path: Path) -> None:
    runs = saved(tmp_path, [*(simple("a", 0.5, seed=seed) for seed in range(3)), simple("b", 0.6)])
    uneven = "Seeds: 0–2 (n = 3): a; 0 (n = 1): b."
    assert uneven in caption_of(table(runs, width=200))
    with pytest.warns(CaptionLeftOut) as left_out:
        text = table(runs, width=200, caption="none")
    assert [str(warning.message) for warning in left_out] == [uneven]
    assert caption_of(text)[-1].startswith("b ")


def test_a_short_caption_does_not_warn_of_methods_without_chance(tmp_path: Path) -> None:
    runs = saved(tmp_path, [*(simple("a", 0.5, seed=seed) for seed in range(3)), simple("eszsl", 0.6)])
    first, *others = caption_of(table(runs, width=200))
    assert first.endswith("seeds 0–2 (deterministic methods once) · ± standard deviation.")
    assert others == ["Best among comparable rows marked *.", "More: --caption full"]


def test_no_caption_but_an_author_s_own_words(tmp_path: Path) -> None:
    runs = saved(tmp_path, [simple("a", 0.5, setting="transductive"), simple("b", 0.6)])
    text = table(runs, caption_text="Accuracy of all.", width=200)
    assert caption_of(text)[:2] == ["Accuracy of all.", "‡ transductive: unlabelled test features are used."]
    assert "final stage" not in text
    alone = table(runs, caption_text="Accuracy of all.", caption="none", width=200)
    assert caption_of(alone) == ["Accuracy of all."]
    with pytest.raises(UnknownName, match="unknown caption 'long'"):
        table(runs, caption="long")
    with pytest.raises(BadValue, match="csv has no caption"):
        table(runs, caption_text="All.", format="csv")


def test_every_kind_of_remark_is_in_a_short_caption_by_its_kind_alone() -> None:
    kinds = get_args(RemarkKind)
    plain = [Remark(kind, f"long {kind}") for kind in kinds]
    whole = {*WARNINGS, "note", "parameters"}
    assert {remark.kind for remark in shorten(plain)} == whole
    shortened = " ".join(remark.text for remark in shorten([Remark(kind, "long", f"<{kind}>") for kind in kinds]))
    assert all(f"<{kind}>" in shortened for kind in kinds if kind not in whole)


# --- columns, order and digits -------------------------------------------------------------------------------------


def three_methods(folder: Path) -> Path:
    """Records of three methods on two data sets, `c` without GZSL on sun, `d` transductive."""
    records = []
    for place, method in enumerate("abcd"):
        facts: dict[str, Any] = {"setting": "transductive"} if method == "d" else {}
        for step, dataset in enumerate(("cub", "sun")):
            u = 0.1 + 0.1 * place - 0.2 * step * place / 3
            if (method, dataset) != ("c", "sun"):
                records += pair(method, dataset, 0, (u + 0.3, u, 0.5, u + 0.05), **facts)
    return saved(folder, records)


def test_columns_are_those_asked_for_in_their_order(tmp_path: Path) -> None:
    runs = three_methods(tmp_path)
    heads, rows = sheet(runs, columns=["H@sun,T1@CUB", "U@cub"])
    assert heads[1:] == ["SUN H", "CUB T1", "CUB U"]
    everything_heads, everything = sheet(runs)
    for name, values in rows.items():
        whole = dict(zip(everything_heads[1:], everything[name], strict=True))
        assert [value.strip("*") for value in values] == [whole[head].strip("*") for head in heads[1:]]
    assert sheet(runs, columns=["H"])[0][1:] == ["CUB H", "SUN H"]
    facts = {(row["dataset"], row["metric"]) for row in csv_rows(runs, columns=["H@sun,T1@cub"])}
    assert facts == {("sun", "H"), ("cub", "T1")}
    assert "SUN H" in sheet(runs, columns=["H@sun"], published="best")[0]


def test_published_numbers_stay_beside_their_column(tmp_path: Path) -> None:
    runs = saved(tmp_path, pair("eszsl", "cub", 0, (0.5, 0.1, 0.2, 0.1), features="res101"))
    assert sheet(runs, columns=["H,U"], published="best")[0][1:] == ["CUB H", "CUB pub.", "CUB U", "CUB pub."]


def test_rows_of_each_block_are_sorted_by_a_metric(tmp_path: Path) -> None:
    runs = three_methods(tmp_path)
    assert list(cells(runs)) == ["a", "b", "c", "d‡"]
    assert list(cells(runs, sort="H")) == ["c", "b", "a", "d‡"]  # of cub, the first
    values = {name: row[-1].strip("*") for name, row in cells(runs, columns=["H@sun"]).items()}
    by_sun = sorted((name for name in "ab"), key=lambda name: -float(values[name]))
    assert list(cells(runs, sort="h@SUN")) == [*by_sun, "c", "d‡"]  # what has none stands last
    order = list(dict.fromkeys(row["method"] for row in csv_rows(runs, sort="H")))
    assert order == ["d", "c", "b", "a"]  # without blocks
    text = table(runs, sort="H", layout="gzsl", published="li2019lisgan", metrics=["H"], format="markdown")
    published = text.partition("published: li2019lisgan")[2]
    numbers = re.findall(r"(?m)^\|([^|]+)\|\s*\**(\d+\.\d)", published)
    of_block = [float(number) for name, number in numbers if not {"†", "‡"} & set(name)]
    assert len(of_block) > 5
    assert of_block == sorted(of_block, reverse=True)


@pytest.mark.parametrize(
    ("options", "error", "problem"),
    [
        ({"columns": ["H@apy"]}, BadValue, "no row has H on 'apy'; it was measured on cub, sun"),
        ({"columns": ["V"]}, UnknownName, "unknown metric 'V'"),
        ({"columns": ["H"], "metrics": ["U"]}, BadValue, "leave out --metric"),
        ({"sort": "H,U"}, BadValue, "names several columns; give one, such as H"),
        ({"sort": "H@apy"}, BadValue, "no row has H on 'apy'"),
        ({"decimals": 4}, BadValue, "choose 0 to 3 digits"),
        ({"decimals": -1}, BadValue, "choose 0 to 3 digits"),
        ({"decimals": 2, "format": "csv"}, BadValue, "csv has all digits"),
        ({"layout": "stats", "sort": "H", "runs": "runs"}, BadValue, "leave out --sort"),
    ],
)
def test_columns_that_there_are_not_are_refused(
    tmp_path: Path, options: dict[str, Any], error: type[Exception], problem: str
) -> None:
    with pytest.raises(error, match=problem):
        table(**{"runs": three_methods(tmp_path), **options})


@pytest.mark.parametrize(
    ("decimals", "shown"), [(0, "50 ± 2"), (1, "50.0 ± 1.8"), (2, "50.00 ± 1.77"), (3, "50.000 ± 1.768")]
)
def test_means_and_deviations_have_the_digits_asked_for(tmp_path: Path, decimals: int, shown: str) -> None:
    runs = saved(tmp_path, [simple("a", 0.5 + step, seed=seed) for seed, step in enumerate((-0.0125, 0.0125))])
    assert cells(runs, decimals=decimals)["a"] == [shown]
    latex = table(runs, decimals=decimals, format="latex")
    assert shown.replace(" ± ", r"{\scriptsize$\,\pm\,$") + "}" in latex


def test_published_numbers_have_no_digit_that_nobody_published(tmp_path: Path) -> None:
    runs = saved(tmp_path, [record("eszsl", metrics={"T1": 0.5}, features="res101")])
    assert cells(runs, decimals=2, published="best")["eszsl"] == ["50.00", "53.9"]
    assert cells(runs, decimals=0, published="best")["eszsl"] == ["50", "54"]


def test_published_numbers_that_look_the_same_are_marked_the_same(tmp_path: Path) -> None:
    runs = saved(tmp_path, [record("eszsl", "apy", metrics={"T1": 0.5}, features="res101")])
    for decimals, best in ((1, ["DeViSE"]), (0, ["DeViSE", "ALE"])):  # 39.8 and 39.7
        shown = cells(runs, layout="zsl", published="xian2018gbu", decimals=decimals)
        assert [name for name, (value,) in shown.items() if "*" in value] == best


# --- a grid as a matrix --------------------------------------------------------------------------------------------


def grid_records(**facts: Any) -> list[Record]:
    """A grid of gamma and lam without its first point, on two data sets and in both stages."""
    records = []
    for gamma, lam in itertools.product((1.0, 10.0, 100.0), (0.01, 1.0)):
        for data, (stage, fold) in itertools.product(("cub", "sun"), (("final", 0), ("dev", 1))):
            if (gamma, lam) != (1.0, 0.01):
                metrics = {"U": 0.1 + gamma / 1000, "S": 0.5, "H": 0.3 + gamma / 500 - lam / 10}
                label = f"eszsl[gamma={gamma:g},lam={lam:g}]"
                params = {"gamma": gamma, "lam": lam, "preprocess": "none"}
                given = {"metrics": metrics, "label": label, "params": params, "stage": stage, "fold": fold} | facts
                records.append(record("eszsl", data, "gzsl", title="ESZSL", **given))
    return records


@pytest.mark.parametrize("stage", ["final", "dev"])
def test_a_pivot_holds_each_point_at_its_values_and_marks_the_best_of_the_dev_stage(tmp_path: Path, stage: str) -> None:
    records = grid_records()
    tables = table_verb(saved(tmp_path, records), pivot="gamma,lam", stage=stage).tables
    assert [shown.title for shown in tables] == ["ESZSL on CUB, gzsl: H", "ESZSL on SUN, gzsl: H"]
    expected = {
        (f"{run.method['params']['gamma']:g}", f"{run.method['params']['lam']:g}"): f"{100 * run.metrics['H']:.1f}"
        for run in records
    }
    for shown in tables:
        assert (shown.name, [column.group for column in shown.columns]) == ("gamma", ["lam", "lam"])
        cells = {
            (row.name, column.head): cell
            for row in shown.rows
            for column, cell in zip(shown.columns, row.cells, strict=True)
        }
        assert list(cells)[::2] == [("1", "0.01"), ("10", "0.01"), ("100", "0.01")]
        assert cells.pop(("1", "0.01")) is None
        assert {place: cell.text for place, cell in cells.items() if cell} == expected
        marked = [place for place, cell in cells.items() if cell and cell.emphasis == "best"]
        assert marked == ([("100", "0.01")] if stage == "dev" else [])
    plain, pivoted = (table(tmp_path, format="csv", stage=stage, **more) for more in ({}, {"pivot": "gamma,lam"}))
    assert plain == pivoted


def test_a_pivot_ranks_inductive_and_transductive_points_apart_and_says_once_what_marks_mean(tmp_path: Path) -> None:
    records = [
        record(
            "lisgan",
            data,
            "gzsl",
            metrics={"H": 0.3 + souls / 100 + (cascade == "nn") / 10},
            label=f"lisgan[souls={souls},cascade={cascade}]",
            params={"souls": souls, "cascade": cascade},
            setting="inductive" if cascade == "off" else "transductive",
            stage="dev",
            fold=1,
        )
        for data, souls, cascade in itertools.product(("cub", "sun"), (1, 2, 3), ("off", "nn"))
    ]
    folder = saved(tmp_path, records)

    def find_marked(**options: Any) -> list[str]:
        (shown, _) = table_verb(folder, pivot="souls,cascade", stage="dev", **options).tables
        return [cell.text + cell.marks for row in shown.rows for cell in row.cells if cell and cell.emphasis]

    assert find_marked() == ["43.0‡", "33.0"]
    assert table(folder, pivot="souls,cascade", stage="dev").count("Best among") == 1
    assert find_marked(rank_together=True) == ["43.0‡"]


def test_a_pivot_shows_which_points_are_of_an_older_source(tmp_path: Path) -> None:
    old, *others = [run for run in grid_records() if run.stage == "final" and run.dataset["name"] == "cub"]
    changed = dataclasses.replace(old, provenance={"source_state": "changed"})
    (shown,) = pivot_tables(summarise([changed, *others]), ["gamma", "lam"], None, Ranking(), NumberFormat())
    marks = {
        (row.name, column.head): cell.marks
        for row in shown.rows
        for column, cell in zip(shown.columns, row.cells, strict=True)
        if cell
    }
    assert [place for place, mark in marks.items() if mark] == [("1", "1")]
    assert marks["1", "1"] == "§"
    said = "§ The source of the method has changed since: ESZSL[gamma=1, lam=1]"
    assert any(remark.text.startswith(said) for remark in shown.remarks)


def test_a_pivot_has_the_metrics_that_are_asked_for(tmp_path: Path) -> None:
    folder = saved(tmp_path, grid_records())
    (only,) = table_verb(folder, pivot="gamma,lam", metrics=["u"], datasets=["sun"]).tables
    assert only.title == "ESZSL on SUN, gzsl: U"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"pivot": "gamma"}, "--pivot gamma is not of two hyper-parameters; write it as --pivot gamma,lam"),
        ({"pivot": "gamma,lam,preprocess"}, "--pivot gamma,lam,preprocess is not of two"),
        ({"pivot": "gamma,gamma"}, "--pivot gamma,gamma is not of two"),
        ({"pivot": ","}, "--pivot , is not of two"),
        ({"pivot": []}, "--pivot '' is not of two"),
        ({"pivot": "gama,lam"}, "gamma"),
        ({"pivot": "gamma,lam", "published": "best"}, "leave out --published"),
        ({"pivot": "lam,gamma", "selection": "none"}, "none"),
    ],
)
def test_a_pivot_that_is_no_matrix_is_one_sentence(tmp_path: Path, asked: Any, message: str) -> None:
    with pytest.raises(ZslbenchError, match=message):
        table(saved(tmp_path, grid_records()), **asked)


def test_a_pivot_is_of_one_method(tmp_path: Path) -> None:
    other = record("ridge", protocol="gzsl", metrics={"H": 0.1}, params={"gamma": 1.0, "lam": 1.0})
    folder = saved(tmp_path, [*grid_records(), other])
    with pytest.raises(BadValue, match=r"one method's grid, .* of eszsl, ridge; choose one with --method"):
        table(folder, pivot="gamma,lam")
    assert table_verb(folder, pivot="gamma,lam", methods=["eszsl"]).tables
