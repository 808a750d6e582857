"""Layouts of LisGAN's Tables 2 to 4: columns, published rows, and who is best and second, against naive counting."""

from __future__ import annotations

import csv
import importlib.resources
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from result_records import pair, record, saved

import zslbench
from zslbench.errors import BadValue, UnknownName
from zslbench.results.analysis.rows import summarise
from zslbench.results.tables.layout import lay_out, podium

RULES = ("fixed", "oracle")


def sheet(text: str) -> tuple[list[str], dict[str, list[str]]]:
    """Return heads and lines of the first Markdown table."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return lines[0], {line[0]: line[1:] for line in lines[2:]}


def test_zsl_has_one_column_a_data_set_under_its_name_and_says_t1_below(study_runs: Path) -> None:
    text = zslbench.table(study_runs, layout="zsl", format="markdown")
    heads, lines = sheet(text)
    assert heads == ["method", "cub", r"FLO\_PART"]
    assert lines["ESZSL[gamma=1000]"] == ["**55.6**", "*47.4*"]
    assert "T1 stands under each data set's name." in text
    latex = zslbench.table(study_runs, layout="zsl", format="latex")
    assert r"\multicolumn" not in latex
    assert r"\cmidrule" not in latex
    assert r"method & cub & FLO\_PART \\" in latex


def test_zsl_puts_semantics_under_a_spanning_head_where_they_must_be_told(tmp_path: Path) -> None:
    records = [record("a"), record("a", semantics="sent"), record("a", dataset="sun")]
    latex = zslbench.table(saved(tmp_path, records), layout="zsl", format="latex")
    assert r" & \multicolumn{2}{c}{cub} & \multicolumn{1}{c}{} \\" in latex
    assert r"\cmidrule(lr){2-3}" in latex
    assert r"\cmidrule(lr){4-4}" not in latex
    heads, _ = sheet(zslbench.table(tmp_path, layout="zsl", format="markdown"))
    assert heads == ["method", "cub fc1000, att", "cub fc1000, sent", "sun"]


def test_gzsl_has_u_s_and_h_under_the_data_sets_head(study_runs: Path) -> None:
    heads, lines = sheet(zslbench.table(study_runs, layout="gzsl", format="markdown", datasets=["cub"]))
    assert heads == ["method", "cub U", "cub S", "cub H"]
    assert lines["ESZSL[gamma=1000]"] == ["15.6", "**67.4**", "25.3"]
    latex = zslbench.table(study_runs, layout="gzsl", format="latex", datasets=["cub"])
    assert r" & \multicolumn{3}{c}{cub} \\" in latex
    assert r"\cmidrule(lr){2-4}" in latex


# --- published rows ------------------------------------------------------------------------------------------------


def cited(source: str) -> dict[tuple[str, str, str], str]:
    """Return a source's numbers from the file itself: (method, data set, metric) to the number as it is shown."""
    text = importlib.resources.files("zslbench.results.analysis").joinpath("published.csv").read_text(encoding="utf-8")
    lines = [line for line in csv.DictReader(io.StringIO(text)) if line["source"] == source]
    return {(line["method"], line["dataset"], line["metric"]): f"{float(line['value']):.1f}" for line in lines}


@pytest.mark.parametrize(("layout", "metrics"), [("zsl", ["T1"]), ("gzsl", ["U", "S", "H"])])
def test_published_rows_are_the_numbers_of_the_source_on_every_data_set(
    paper_runs: Path, layout: str, metrics: list[str]
) -> None:
    rows = json.loads(zslbench.table(paper_runs, layout=layout, format="json", published="li2019lisgan"))
    published = [row for row in rows if row["source"]]
    found = {
        (row["method"], row["dataset"], name): f"{value['mean']:.1f}"
        for row in published
        for name, value in row["metrics"].items()
    }
    wanted = {key: value for key, value in cited("li2019lisgan").items() if key[2] in metrics and ":" not in key[0]}
    assert found == wanted
    assert len([row for row in rows if row["source"] is None]) == 13 * 5
    assert {row["title"] for row in published} >= {"DAP", "DeViSE", "f-CLSWGAN", "LisGAN"}


def test_published_rows_are_not_only_of_methods_that_were_run_unless_asked_for(tmp_path: Path) -> None:
    folder = saved(tmp_path, [record("mine"), record("lisgan", setting="transductive", title="LisGAN")])
    _, lines = sheet(zslbench.table(folder, layout="zsl", format="markdown", published="li2019lisgan"))
    assert list(lines)[:2] == ["mine", "LisGAN‡"]
    assert list(lines)[2:] == [
        "*published: li2019lisgan*", "DAP", "CONSE", "SSE", "DeViSE", "SJE", "ESZSL", "ALE", "SYNC", "SAE", "DEM",
        "GAZSL†", "f-CLSWGAN†", "LisGAN†‡",
    ]  # fmt: skip
    _, lines = sheet(
        zslbench.table(folder, layout="zsl", format="markdown", published="li2019lisgan", methods=["lisgan"])
    )
    assert list(lines) == ["LisGAN‡", "*published: li2019lisgan*", "LisGAN†‡"]


def test_published_rows_are_ranked_by_themselves_and_by_kind(tmp_path: Path) -> None:
    folder = saved(tmp_path, [record("a", metrics={"T1": 0.99}), record("b", metrics={"T1": 0.01})])
    _, lines = sheet(zslbench.table(folder, layout="zsl", format="markdown", published="li2019lisgan"))
    assert (lines["a"], lines["b"]) == (["**99.0**"], ["*1.0*"])
    assert {name: cell for name, (cell, *_) in lines.items() if cell.startswith("*")} == {
        "a": "**99.0**",
        "b": "*1.0*",
        "SYNC": "**55.6**",
        "ALE": "*54.9*",
        "f-CLSWGAN†": "**57.3**",
        "GAZSL†": "*55.8*",
    }
    together = zslbench.table(folder, layout="zsl", format="markdown", published="li2019lisgan", rank_together=True)
    assert sheet(together)[1]["LisGAN†‡"] == ["**58.8**"]
    assert sheet(together)[1]["f-CLSWGAN†"] == ["*57.3*"]
    assert sheet(together)[1]["a"] == ["**99.0**"]


def test_best_takes_each_number_from_the_preferred_source(paper_runs: Path) -> None:
    rows = json.loads(zslbench.table(paper_runs, layout="zsl", format="json", published="best"))
    by_key = {(row["method"], row["dataset"]): row for row in rows if row["source"]}
    assert by_key["devise", "cub"]["source"] == "xian2018gbu"
    assert by_key["devise", "flo"]["source"] == "li2019lisgan"
    assert by_key["dem", "cub"]["source"] == "zhang2017dem"
    assert len(by_key) == len([row for row in rows if row["source"]])


def test_titles_stay_over_their_source_where_a_panel_lacks_its_first_block(paper_runs: Path) -> None:
    text = zslbench.table(paper_runs, layout="gzsl", format="terminal", datasets=["apy"], published="best", width=60)
    lines = text.splitlines()
    assert lines[lines.index("published: li2019lisgan") + 1].startswith("GAZSL†")


def test_data_of_ones_own_has_no_published_rows(tmp_path: Path) -> None:
    folder = saved(tmp_path, pair("eszsl", "cub", 0, (0.5, 0.1, 0.2, 0.1), origin="own"))
    text = zslbench.table(folder, layout="zsl", published="best", width=200)
    assert "There are no published numbers for these methods and data sets." in text
    rows = list(csv.DictReader(io.StringIO(zslbench.table(folder, layout="zsl", published="best", format="csv"))))
    assert [row["source"] for row in rows] == [""]


def test_a_named_ablation_is_cited_where_it_was_asked_for(tmp_path: Path) -> None:
    records = [
        record("lisgan", "apy", title="LisGAN", label=f"lisgan@{name}", params={"name": name}) for name in ("S2", "S3")
    ]
    folder = saved(tmp_path, records)
    table = zslbench.table(folder, layout="zsl", format="json", published="best", methods=["lisgan@S3"])
    assert [(row["label"], row["source"]) for row in json.loads(table)] == [
        ("lisgan@S3", None),
        ("lisgan@S3", "li2019lisgan"),
    ]


def test_a_published_number_stands_once_on_the_features_that_it_rests_on(tmp_path: Path) -> None:
    records = [record("dap", features="fc1000"), record("dap", features="res101")]
    text = zslbench.table(saved(tmp_path, records), layout="zsl", format="markdown", published="xian2018gbu")
    assert sheet(text)[1]["DAP"] == ["–", "40.0"]
    assert "unlike the measured ones" not in text
    only = zslbench.table(tmp_path, layout="zsl", format="markdown", published="xian2018gbu", features="fc1000")
    assert sheet(only)[1]["DAP"] == ["40.0"]
    assert "unlike the measured ones of cub (fc1000, att): they do not compare directly" in only


# --- best and second -----------------------------------------------------------------------------------------------

tenths = st.integers(0, 40).map(lambda number: number / 10)


@given(st.lists(tenths, max_size=8))
def test_best_and_second_are_those_with_none_and_one_better_value(values: list[float]) -> None:
    shown = {place: f"{value:.1f}" for place, value in enumerate(values)}
    better = {place: {other for other in shown.values() if float(other) > float(text)} for place, text in shown.items()}
    all_equal = len(set(shown.values())) < 2
    places = podium(shown)
    for place in shown:
        best = not all_equal and not better[place]
        assert places[place] == ("best" if best else "second" if len(better[place]) == 1 else "")


@given(
    st.lists(
        st.tuples(st.floats(0, 1), st.sampled_from(["inductive", "transductive"]), st.sampled_from(RULES)),
        min_size=1,
        max_size=7,
    ),
    st.booleans(),
)
def test_cells_are_marked_within_what_may_be_compared(lines: list[tuple[float, str, str]], together: bool) -> None:
    rounded = [(round(value * 30) / 1000 + 0.5004, setting, rule) for value, setting, rule in lines]
    records = [
        record(f"m{place}", metrics={"T1": value}, setting=setting, selection=rule)
        for place, (value, setting, rule) in enumerate(rounded)
    ]
    rows = summarise(records)
    found = {line.name: line.cells[0] for line in lay_out(rows, rows, ("T1",), rank_together=together).rows}
    for place, (value, setting, rule) in enumerate(rounded):
        rivals = {f"{100 * v:.1f}" for v, s, r in rounded if together or (s, r) == (setting, rule)}
        higher = [float(text) for text in rivals if float(text) > float(f"{100 * value:.1f}")]
        cell = found[f"m{place}"]
        assert cell is not None
        assert (cell.emphasis == "best") == (len(rivals) > 1 and not higher)
        assert (cell.emphasis == "second") == (len(higher) == 1)


def test_second_best_has_a_mark_in_every_format_that_the_caption_explains(tmp_path: Path) -> None:
    folder = saved(tmp_path, [record(f"m{tenth}", metrics={"T1": tenth / 10}) for tenth in (1, 2, 3)])
    wanted = {
        "terminal": ("20.0°", "Best among comparable rows marked *, second best marked °."),
        "markdown": ("*20.0*", "Best among comparable rows in bold, second best in italics."),
        "latex": (r"\underline{20.0}", "Best among comparable rows in bold, second best underlined."),
    }
    for kind, texts in wanted.items():
        text = zslbench.table(folder, format=kind)
        assert all(one in text for one in texts)
    for kind in ("csv", "json"):
        assert not set("°*†") & set(zslbench.table(folder, format=kind))


# --- asking --------------------------------------------------------------------------------------------------------

ASKED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "unknown layout": ({"layout": "zls"}, UnknownName, "did you mean 'zsl'"),
    "another protocol": ({"layout": "gzsl", "protocols": ["zsl"]}, BadValue, "not protocol 'zsl'"),
    "another metric": ({"layout": "zsl", "metrics": ["H"]}, BadValue, "--layout gzsl"),
    "calibrated T1": ({"layout": "zsl", "calibrate": True}, BadValue, "leave out --calibrate"),
    "standalone text": ({"layout": "zsl", "standalone": True}, BadValue, "add --format latex"),
    "words for characters": ({"layout": "zsl", "width": "page"}, BadValue, "number of characters"),
    "a page too wide": ({"format": "latex", "width": 300}, BadValue, "inches from 1.5 to 40"),
    "data for records": ({"layout": "zsl", "data_root": Path()}, BadValue, "leave out --data-root"),
    "records for data": ({"layout": "stats", "methods": ["a"], "ci": True}, BadValue, "leave out --method and --ci"),
    "the dev stage of data": ({"layout": "stats", "stage": "dev"}, BadValue, "leave out --stage"),
}


@pytest.mark.parametrize(("facts", "kind", "said"), ASKED.values(), ids=ASKED.keys())
def test_what_has_no_place_in_a_layout_is_refused_in_one_sentence(
    facts: dict[str, Any], kind: type[Exception], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / "runs", [record("a")])
    with pytest.raises(kind, match=said) as caught:
        zslbench.table(**facts)
    assert "\n" not in str(caught.value)
