"""Tables: what must hold of any table; their texts in each format are compared in test_golden.py."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from result_records import PAPER_DATA, check_golden, record, saved, study
from rich.cells import cell_len

from zslbench.errors import BadValue, RecordsLeftOut, StoreError, UnknownName, ZslbenchError
from zslbench.results.records.record import Record
from zslbench.results.records.store import ResultStore
from zslbench.results.tables.render import render
from zslbench.results.tables.table import text_table
from zslbench.studies.record_table import table

RULES = ("fixed", "validated", "oracle")


def test_golden_of_many_methods_and_data_sets(paper_runs: Path) -> None:
    text = table(paper_runs, width=100)
    assert max(map(len, text.splitlines())) <= 100
    check_golden("many.txt", text)


# --- what must hold ------------------------------------------------------------------------------------------------


def test_the_split_follows_the_content_and_not_the_way_it_was_named(tmp_path: Path) -> None:
    ResultStore(tmp_path).save(record("eszsl", origin="own"))
    ResultStore(tmp_path).save(record("sae"))
    assert "\nSplit: proposed split (PS) of Xian et al.\n" in table(tmp_path, width=100)
    ResultStore(tmp_path).save(record("sae", semantics="sent", origin="own"))
    text = " ".join(table(tmp_path, width=100).split())
    proposed, own = "proposed split (PS) of Xian et al. (cub fc1000/att)", "the data's own split (cub fc1000/sent)"
    assert f"Split: {proposed}, {own}." in text


def test_json_numbers_are_those_of_the_records(study_runs: Path) -> None:
    rows = json.loads(table(study_runs, format="json"))
    records = [one for one in study() if one.ok and one.selection == "fixed"]
    assert sum(row["n"] for row in rows) == len(records)
    for row in rows:
        same = [
            one
            for one in records
            if (one.method["label"], one.dataset["name"], one.protocol["name"], one.method["setting"])
            == (row["label"], row["dataset"], row["protocol"], row["setting"])
        ]
        assert row["seeds"] == [one.seed for one in same]
        assert row["params"] == same[0].method["params"]
        for name, found in row["metrics"].items():
            values = [100 * one.metrics[name] for one in same]
            assert found["n"] == len(values)
            assert found["mean"] == pytest.approx(statistics.mean(values), abs=1e-6)
            if len(values) == 1:
                assert found["std"] is None
            else:
                assert found["std"] == pytest.approx(statistics.stdev(values), abs=1e-6)
        assert set(row["metrics"]) == ({"T1"} if row["protocol"] == "zsl" else {"U", "S", "H", "AUSUC"})
        for key in ("method", "features", "semantics", "fingerprint", "stage", "selection"):
            assert row[key]


def cells(text: str) -> dict[str, list[str]]:
    """Return the cells of a Markdown table by the name of the line."""
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")][2:]
    return {line[0].strip(): [cell.strip() for cell in line[1:]] for line in lines}


def simple(method: str, value: float, seed: int = 0, **facts: Any) -> Record:
    return record(method, seed=seed, metrics={"T1": value}, **facts)


def test_the_best_is_bold_among_comparable_rows_only(tmp_path: Path) -> None:
    records = [
        simple("a", 0.40),
        simple("b", 0.50),
        simple("c", 0.90, setting="transductive"),
        simple("d", 0.60, selection="oracle"),
        simple("e", 0.55, selection="oracle"),
    ]
    found = cells(table(saved(tmp_path, records), format="markdown", selection=RULES[::2]))
    assert found == {"a": ["*40.0*"], "b": ["**50.0**"], "c‡": ["90.0"], "d†": ["**60.0**"], "e†": ["*55.0*"]}
    together = cells(table(tmp_path, format="markdown", rank_together=True, selection=RULES[::2]))
    assert together == {"a": ["40.0"], "b": ["50.0"], "c‡": ["**90.0**"], "d†": ["*60.0*"], "e†": ["55.0"]}


def test_equal_as_shown_is_equally_best_and_a_lone_row_is_not(tmp_path: Path) -> None:
    records = [simple("a", 0.5001), simple("b", 0.5004), simple("c", 0.1), simple("a", 0.2, dataset="sun")]
    found = cells(table(saved(tmp_path, records), format="markdown"))
    assert found == {"a": ["**50.0**", "20.0"], "b": ["**50.0**", "–"], "c": ["*10.0*", "–"]}
    tied = cells(table(tmp_path, format="markdown", methods=["a", "b"]))
    assert tied == {"a": ["50.0", "20.0"], "b": ["50.0", "–"]}


def test_one_seed_has_no_deviation(tmp_path: Path) -> None:
    records = [simple("a", 0.5), simple("b", 0.5), simple("b", 0.6, seed=1)]
    text = table(saved(tmp_path, records), format="markdown")
    assert cells(text) == {"a": ["*50.0*"], "b": ["**55.0 ± 7.1**"]}
    assert "Seeds: 0, 1 (n = 2): b; 0 (n = 1): a." in text
    uneven = [record("a", seed=seed) for seed in (0, 1)] + [record("a", protocol="gzsl", metrics={"H": 0.5})]
    text = table(saved(tmp_path / "uneven", uneven), width=400)
    assert "Seeds: 0, 1 (n = 2): a on cub zsl; 0 (n = 1): a on cub gzsl." in text
    assert "±" not in table(tmp_path, format="markdown", methods=["a"])


def test_marks_are_explained_only_where_they_stand(tmp_path: Path) -> None:
    text = table(saved(tmp_path / "plain", [simple("a", 0.5)]))
    assert not set(text) & set("†‡±*")
    marked = [simple("a", 0.5, selection="oracle", setting="transductive")]
    text = table(saved(tmp_path / "marked", marked), selection="oracle")
    assert "a†‡" in text
    assert "‡ transductive:" in text
    assert "† oracle selection:" in text


def test_a_data_set_with_two_semantics_has_two_column_groups(tmp_path: Path) -> None:
    records = [simple("a", 0.5), simple("a", 0.6, semantics="sent"), simple("a", 0.7, dataset="sun", features="vgg19")]
    text = table(saved(tmp_path, records), width=200)
    head = text.splitlines()[0].split("  ")
    assert [part.strip() for part in head if part.strip()] == ["cub (fc1000, att)", "cub (fc1000, sent)", "sun"]
    assert "Features: fc1000 (cub), vgg19 (sun); semantics: att (cub, sun), sent (cub)." in text
    assert "sent" not in table(tmp_path, semantics="att", width=200)


def test_data_of_one_name_and_different_content_is_kept_apart(tmp_path: Path) -> None:
    records = [simple("a", 0.5, fingerprint="1" * 16), simple("a", 0.7, fingerprint="2" * 16)]
    head = table(saved(tmp_path, records), width=200).splitlines()[0]
    assert "cub (11111111)" in head
    assert "cub (22222222)" in head


def test_the_dev_stage_says_so_and_keeps_folds_apart(tmp_path: Path) -> None:
    records = [simple("a", 0.5, stage="dev", fold=fold) for fold in (1, 2)] + [simple("a", 0.9)]
    text = table(saved(tmp_path, records), stage="dev", per_fold=True, width=200)
    assert "dev stage" in text
    assert "cub (fold 1)" in text
    assert "90.0" not in text
    assert "final stage" in table(tmp_path)
    with pytest.raises(BadValue, match="final stage"):
        table(tmp_path, stage="dev", published="best")


def test_a_label_whose_parameters_changed_is_told_apart(tmp_path: Path) -> None:
    records = [simple("a", 0.5, params={"k": 1, "m": 2}), simple("a", 0.6, params={"k": 3, "m": 2})]
    assert list(cells(table(saved(tmp_path / "params", records), format="markdown"))) == ["a[k=1]", "a[k=3]"]
    records = [simple("a", 0.5), simple("a", 0.6, version=2)]
    assert list(cells(table(saved(tmp_path / "version", records), format="markdown"))) == [
        "a[version=1]",
        "a[version=2]",
    ]


def test_long_settings_become_letters_that_rows_share(tmp_path: Path) -> None:
    long = "hidden=1024,epochs=40,preprocess=minmax"
    given = {"a": long, "b": long, "c": "k=1", "d": long + "9"}
    folder = saved(tmp_path, [simple(name, 0.5, label=f"{name}[{text}]") for name, text in given.items()])
    text = table(folder, width=300)
    assert [line.split()[0:2] for line in text.splitlines()[3:7]] == [
        *(["a", "(a)"], ["b", "(a)"], ["c[k=1]", "50.0"], ["d", "(b)"])
    ]
    assert f"(a) {long.replace(',', ', ')}\n(b) {long.replace(',', ', ')}9" in text


def test_lines_and_columns_come_in_the_order_asked_for(tmp_path: Path) -> None:
    records = [
        simple(m, 0.5, dataset=d, params={"k": k}, label=f"{m}[k={k}]") for m in "ab" for d in "xy" for k in (9, 10)
    ]
    folder = saved(tmp_path, records)
    lines = list(csv.DictReader(io.StringIO(table(folder, format="csv", methods=["b", "a"], datasets=["y", "x"]))))
    assert [(line["label"], line["dataset"]) for line in lines] == [
        (f"{m}[k={k}]", d) for m in "ba" for k in (9, 10) for d in "yx"
    ]
    assert list(cells(table(folder, format="markdown", methods=["b[k=[10,9]]"]))) == ["b[k=9]", "b[k=10]"]
    assert list(cells(table(folder, format="markdown", methods=["b[k=10]", "a[k=9]"]))) == ["b[k=10]", "a[k=9]"]


def test_a_preset_asks_for_the_runs_made_with_it(study_runs: Path) -> None:
    assert list(cells(table(study_runs, format="markdown", methods=["lisgan@S3"]))) == ["LisGAN@S3 (a)"]
    assert list(cells(table(study_runs, format="markdown", methods=["LisGAN"]))) == ["LisGAN@S3 (a)", "LisGAN‡"]
    assert list(cells(table(study_runs, format="markdown", methods=["lisgan[cascade=softmax]"]))) == ["LisGAN‡"]


def test_metrics_can_be_chosen(study_runs: Path) -> None:
    text = table(study_runs, format="markdown", datasets=["cub"], metrics=["ausuc", "H"])
    assert [head.strip() for head in text.splitlines()[0].strip("|").split("|")] == ["method", "cub AUSUC", "cub H"]
    assert "AUSUC" not in table(study_runs)
    assert {line["metric"] for line in csv.DictReader(io.StringIO(table(study_runs, format="csv", metrics=["H"])))} == {
        "H"
    }


def test_published_numbers_never_enter_a_measured_column(study_runs: Path) -> None:
    plain, beside = (cells(table(study_runs, format="markdown", datasets=["cub"], published=p)) for p in (None, "best"))
    for name, measured in plain.items():
        assert beside[name][::2] == measured
    rows = json.loads(table(study_runs, format="json", published="best"))
    assert all(set(entry) >= {"value", "source", "note"} for row in rows for entry in row["published"].values())
    assert not any(row["published"] for row in rows if row["dataset"] == "FLO_PART")
    assert "published" not in json.loads(table(study_runs, format="json"))[0]


def test_published_numbers_picked_on_test_images_are_marked(tmp_path: Path) -> None:
    full: dict[str, Any] = {"title": "LisGAN", "setting": "transductive"}
    folder = saved(tmp_path, [simple("eszsl", 0.5), simple("fclswgan", 0.6), simple("lisgan", 0.7, **full)])
    found = cells(table(folder, format="markdown", published="best"))
    numbers = {name: value[1] for name, value in found.items()}
    assert numbers == {"eszsl": "53.9", "fclswgan": "57.3†", "LisGAN‡": "58.8†"}
    alone = table(folder, published="best", methods=["lisgan"], width=400)
    assert "The public code of LisGAN picks the epoch on test images: its published numbers" in alone
    assert "†" not in table(folder, published="best", methods=["eszsl"], width=400)


def test_features_unlike_the_published_ones_are_said(tmp_path: Path) -> None:
    folder = saved(tmp_path, [simple("eszsl", 0.5), simple("eszsl", 0.5, dataset="sun", features="res101")])
    said = "unlike the measured ones of"
    assert f"{said} cub (fc1000, att): they" in table(folder, published="best", width=400)
    assert said not in table(folder, published="best", datasets=["sun"], width=400)


def test_failed_runs_and_broken_files_are_noted_on_the_terminal_and_warned_of_otherwise(tmp_path: Path) -> None:
    runs = saved(tmp_path, study())
    (runs / "cub" / "zsl" / "eszsl" / "x.json").write_text("{")
    with pytest.warns(RecordsLeftOut, match="1 file or folder was left out: ") as warned:
        text = table(runs)
    assert len(warned) == 1
    assert "1 run failed; not counted." in text
    assert "1 file or folder was left out: " in text
    for other in ("markdown", "latex", "csv", "json"):
        with pytest.warns(RecordsLeftOut) as warned:
            text = table(runs, format=other)
        assert "not counted" not in text
        sentences = [str(warning.message) for warning in warned]
        for part in ("left out: ", "1 run failed; not counted."):
            assert sum(part in sentence for sentence in sentences) == 1
        captioned = "Without 1 file or folder of records that could not be read." in text
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


def test_wide_characters_keep_the_columns_straight(tmp_path: Path) -> None:
    records = [simple("a", 0.5, title="日本語"), simple("b", 0.6, title="plain")]
    lines = table(saved(tmp_path, records)).splitlines()
    first, second = (next(line for line in lines if line.startswith(name)) for name in ("日本語", "plain"))
    assert cell_len(first[: first.index("50.0")]) == cell_len(second[: second.index("60.0")])


# --- asking --------------------------------------------------------------------------------------------------------

ASKED = {
    "unknown protocol": ({"protocols": ["gzl"]}, BadValue, "did you mean 'gzsl'"),
    "parameter that no run has": ({"methods": ["eszsl[gamma=7]"]}, BadValue, "there are: .*gamma=1000"),
    "no such features": ({"features": "vgg19"}, BadValue, "there are: efflite0, fc1000"),
    "no such stage here": ({"stage": "dev"}, BadValue, "there are: final"),
    "no stage": ({"stage": "test"}, BadValue, "choose one of: final, dev"),
    "nothing together": ({"methods": ["sae"], "datasets": ["FLO_PART"]}, BadValue, "method sae, dataset FLO_PART"),
    "unknown metric": ({"metrics": ["F1"]}, UnknownName, "unknown metric 'F1'"),
    "unknown format": ({"format": "tex"}, UnknownName, "unknown format 'tex'"),
    "bad grammar": ({"methods": ["lisgan["]}, ZslbenchError, "cannot read"),
}


@pytest.mark.parametrize(("facts", "kind", "said"), ASKED.values(), ids=ASKED.keys())
def test_bad_questions_get_one_sentence(
    study_runs: Path, facts: dict[str, Any], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said) as caught:
        table(study_runs, **facts)
    assert "\n" not in str(caught.value)


def test_no_runs_and_none_finished_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"there are no runs in .*zslbench run"):
        table(tmp_path / "nowhere")
    failed = saved(tmp_path / "failed", [record(status="failed", error="Traceback\nValueError: no such luck\n")])
    with pytest.raises(StoreError, match=r"ValueError: no such luck.*--rerun failed"):
        table(failed)
    with pytest.raises(StoreError, match="no metric"):
        table(saved(tmp_path / "bare", [record(metrics={})]))


def test_a_folder_names_the_data_set_that_was_read_from_it(study_runs: Path) -> None:
    by_path = table(study_runs, datasets=["somewhere/FLO_PART/"], width=100)
    assert by_path == table(study_runs, datasets=["flo_part"], width=100)
    assert "cub" not in by_path


def test_the_table_is_written_whole_or_not_at_all(study_runs: Path, tmp_path: Path) -> None:
    target = tmp_path / "tables" / "gzsl.tex"
    text = table(study_runs, format="latex", output=target)
    assert target.read_text(encoding="utf-8") == text
    assert [path.name for path in target.parent.iterdir()] == ["gzsl.tex"]
    for output, advice in ((target / "below.txt", "name another folder"), (tmp_path, "name a file, not a folder")):
        with pytest.raises(StoreError, match=f"cannot write the table .*{advice}"):
            table(study_runs, output=output)
    assert target.read_text(encoding="utf-8") == text


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


@pytest.mark.parametrize("width", [40, 60, 200])
def test_words_are_folded_to_the_width_of_a_terminal_and_none_is_lost(width: int) -> None:
    why = "failed: RuntimeError: no convergence after one hundred thousand steps of the solver"
    table = text_table("cub", ("method", "T1", "why"), [("eszsl", "9.5", "done"), ("sae", "10.0", why)], words=[2])
    title, heads, rule, *lines = render(table, "terminal", width).splitlines()
    assert max(map(len, lines)) <= max(width, len(heads))
    assert (title, heads.split(), rule.split("  ")[:2]) == ("cub", ["method", "T1", "why"], ["──────", "────"])
    assert lines[0].split() == ["eszsl", "9.5", "done"]
    assert " ".join(line[14:].strip() for line in lines[1:]) == why
    assert (len(lines) == 2) == (width == 200)
