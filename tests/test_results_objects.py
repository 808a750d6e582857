"""What verbs return: text, tables for notebooks, data frames, files by their ending."""

from __future__ import annotations

import csv
import html.parser
import io
import json
from pathlib import Path
from typing import Any

import pytest
from result_records import record, saved

import zslbench
from zslbench.errors import BadValue, RecordsLeftOut

HOSTILE = "Z<b>&</b>"
FEW = 200


class Page(html.parser.HTMLParser):
    """The rows of the tables of a page, the text outside of them, and whether every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.outside = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[Any]) -> None:
        if tag == "br":
            return
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data
        else:
            self.outside += data


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    values = {"a": (0.5, 0.6), "b": (0.25, 0.35)}
    records = [
        record(
            method, seed=seed, metrics={"T1": value, "AUSUC": 0.5}, title=HOSTILE if method == "b" else method.upper()
        )
        for method, by_seed in values.items()
        for seed, value in enumerate(by_seed)
    ]
    return saved(tmp_path / "runs", [*records, record("a", seed=9, status="failed", error="Boom")])


def test_a_table_prints_what_the_command_line_prints(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = zslbench.table(runs, width=100)
    print(result, end="")
    assert capsys.readouterr().out == str(result) == result.text
    assert result.text.startswith("           cub\n")
    assert len(repr(result)) < 120
    assert "\n" not in repr(result)
    assert "2 × 1" in repr(result)


def test_a_table_in_a_notebook(runs: Path) -> None:
    page = Page(zslbench.table(runs)._repr_html_())
    assert page.rows == [
        ["", "cub"],
        ["method", "T1"],
        ["A", "55.0 ± 7.1"],
        [HOSTILE, "30.0 ± 7.1"],
    ]
    assert "ZSL, final stage · cub: fc1000 features" in page.outside
    assert "Best among comparable rows in bold" in page.outside
    assert "1 run failed; not counted." in page.outside


def test_a_frame_has_a_row_per_row_and_metric(runs: Path) -> None:
    frame = zslbench.table(runs).to_frame()
    assert [*zip(frame["label"], frame["metric"], frame["mean"], strict=True)] == [
        ("a", "T1", 55.0), ("a", "AUSUC", 50.0), ("b", "T1", 30.0), ("b", "AUSUC", 50.0)
    ]  # fmt: skip
    only = zslbench.table(runs, methods="b", metrics="T1").to_frame()
    assert list(only["seeds"]) == [(0, 1)]


def test_a_table_is_saved_as_its_ending_says(runs: Path, tmp_path: Path) -> None:
    result = zslbench.table(runs, width=100)
    formats = {"tex": "latex", "md": "markdown", "csv": "csv", "json": "json", "txt": "terminal"}
    for ending, name in formats.items():
        path = result.save(tmp_path / "deep" / f"t.{ending}")
        assert path.read_text() == zslbench.table(runs, format=name).text
    assert "<table" in result.save(str(tmp_path / "t.html")).read_text()
    assert result.to_latex(width="page", standalone=True).count(r"\documentclass") == 1
    with pytest.raises(BadValue, match=r"cannot save a table as 't.docx'; name a file that ends in .tex, "):
        result.save(tmp_path / "t.docx")


def test_formats_without_notes_warn_of_what_is_left_out(runs: Path) -> None:
    result = zslbench.table(runs)
    for use in (result.to_frame, result.to_latex):
        with pytest.warns(RecordsLeftOut, match="1 run failed; not counted"):
            use()


def test_curve_compare_and_statistics_are_results_too() -> None:
    zslbench.run(["eszsl", "sae"], "digits")
    curves = zslbench.curve()
    assert set(curves.to_frame().columns) >= {"method", "seed", "gamma", "U", "S", "H"}
    assert len(Page(curves._repr_html_()).rows) == 4
    compared = zslbench.compare("eszsl", "sae", draws=FEW)
    rows = list(csv.DictReader(io.StringIO(zslbench.compare("eszsl", "sae", draws=FEW, format="csv").text)))
    assert list(compared.to_frame().columns) != []
    assert [float(row["p"]) for row in rows] == list(compared.to_frame()["p"])
    assert Page(compared._repr_html_()).rows[1][0] == "ESZSL"
    whole = json.loads(compared.save("pairs.json").read_text())
    assert {one["metric"] for one in whole["comparisons"]} == {"T1", "H"}
    counts = zslbench.table(layout="stats", datasets="digits").to_frame()
    assert list(counts["seen"] + counts["unseen"]) == [10]


def test_ablations_and_reproductions_are_results_too() -> None:
    ablated = zslbench.ablate("eszsl", "digits", "zsl", sweep="gamma=[1,10]")
    frame = ablated.to_frame()
    assert list(frame["setting"]) == [row.setting for row in ablated.lines]
    assert r"\toprule" in ablated.to_latex()
    assert [row[0] for row in Page(ablated._repr_html_()).rows[:1]] == ["gamma"]
    asked = zslbench.reproduce("xian2018gbu", None, "cub", "eszsl", dry_run=True)
    assert list(asked.to_frame()["method"]) == ["eszsl"] * len(asked.cells)


def test_a_result_is_written_under_the_caption_that_was_asked_for_then_or_now(runs: Path) -> None:
    result = zslbench.table(runs, caption="full")
    assert "Metrics: mean" in Page(result._repr_html_()).outside
    assert "Metrics: mean" in result.to_latex()
    assert "Metrics: mean" not in result.to_latex(caption="short")
    assert "\\caption{Ours. " in result.to_latex(caption_text="Ours.", label="tab:ours")
    assert "\\label{tab:ours}" in result.to_latex(caption_text="Ours.", label="tab:ours")
    with pytest.raises(BadValue, match="label 'no label' is not allowed"):
        result.to_latex(label="no label")
    assert Page(zslbench.table(runs, caption="none")._repr_html_()).outside.strip() == ""
