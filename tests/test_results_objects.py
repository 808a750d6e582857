"""What verbs return: text, tables for notebooks, data frames, files by their ending."""

from __future__ import annotations

import csv
import html.parser
import io
import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from result_records import WITHOUT_LEFT_OUT, record, saved

import zslbench
from zslbench.cli import cli
from zslbench.errors import BadValue, CaptionLeftOut, RecordsLeftOut, UnknownName
from zslbench.results.tables.render import write_columns

pytestmark = WITHOUT_LEFT_OUT

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
    printed = result.text.replace("More: --caption full", 'More: caption="full"')
    assert capsys.readouterr().out == str(result) == printed != result.text
    assert result.text.startswith("           CUB\n")
    assert len(repr(result)) < 120
    assert "\n" not in repr(result)
    assert "2 × 1" in repr(result)


def test_a_table_in_a_notebook(runs: Path) -> None:
    page = Page(zslbench.table(runs)._repr_html_())
    assert page.rows == [
        ["", "CUB"],
        ["method", "T1"],
        ["A", "55.0 ± 7.1"],
        [HOSTILE, "30.0 ± 7.1"],
    ]
    assert "ZSL, final stage · CUB: fc1000 features" in page.outside
    assert "Best among comparable rows in bold" in page.outside
    assert "1 run failed; not counted." in page.outside
    assert 'More: caption="full"' in page.outside
    assert "More:" not in Page(zslbench.table(runs, caption="full")._repr_html_()).outside
    assert "More:" not in Page(zslbench.table(runs, caption="none")._repr_html_()).outside


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


# --- the other verbs -------------------------------------------------------------------------------------------------


def printed(*words: str) -> str:
    """Return what the command line prints, ends of lines bare."""
    done = CliRunner(env={"COLUMNS": "160"}).invoke(cli, words)
    assert not done.exception or isinstance(done.exception, SystemExit), done.exception
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())


def test_str_is_what_the_command_line_prints() -> None:
    run = ("-m", "eszsl", "-m", "sae", "-d", "digits")
    dry = zslbench.run(["eszsl", "sae"], "digits", dry_run=True)
    assert str(dry) == printed("run", *run, "--dry-run")
    assert [row[4] for row in Page(dry._repr_html_()).rows] == ["state", *["to run"] * 4]
    zslbench.run(["eszsl", "sae"], "digits")
    assert str(zslbench.run(["eszsl", "sae"], "digits")) == printed("run", *run)
    for kind in ("methods", "datasets", "protocols", "presets", "sources"):
        assert str(zslbench.list(kind)) == printed("list", kind)
    for name in ("lisgan", "digits", "gzsl"):
        assert str(zslbench.info(name)).split() == printed("info", name).split()
    assert str(zslbench.status(width=160)).rstrip() == printed("status").rstrip()
    dry_sweep = zslbench.ablate("eszsl", "digits", "zsl", sweep="gamma=[1,7]", dry_run=True)
    assert str(dry_sweep) == printed(
        "ablate", "eszsl", "-d", "digits", "-p", "zsl", "--sweep", "gamma=[1,7]", "--dry-run"
    )
    tuning = zslbench.tune("eszsl[gamma=[1,10],lam=1]", "digits", "zsl")
    assert str(tuning) == printed("tune", "eszsl[gamma=[1,10],lam=1]", "-d", "digits", "-p", "zsl")
    assert str(zslbench.plot("curve")).split() == printed("plot", "curve", "-o", "curve.svg").split()


def test_an_outcome_as_a_table_and_a_frame() -> None:
    outcome = zslbench.run("eszsl", "digits")
    by_protocol = outcome.to_frame().set_index("protocol")
    for record_of_run in outcome.records:
        row = by_protocol.loc[record_of_run.protocol["name"]]
        assert (row["id"], row["state"]) == (record_of_run.id, "done")
        assert {name: row[name] / 100 for name in record_of_run.metrics} == pytest.approx(record_of_run.metrics)
    page = Page(outcome._repr_html_())
    assert page.rows[0][:5] == ["method", "data set", "protocol", "seed", "state"]
    assert page.rows[1][:5] == ["eszsl", "digits", "zsl", "0", "done"]
    assert "2 of 2 runs are done" in page.outside


def test_lists_are_sequences() -> None:
    listed = zslbench.list("protocols")
    assert [entry.name for entry in listed] == ["gzsl", "zsl"] == list(listed.to_frame()["name"])
    assert listed[0] in listed
    assert len(listed[:1]) == 1
    assert Page(listed._repr_html_()).rows[0] == ["name", "what it is"]
    assert (
        list(zslbench.info("eszsl").to_frame()["parameter"])[:2]
        == [row[0] for row in zslbench.info("eszsl").params][:2]
    )
    assert Page(zslbench.info("eszsl")._repr_html_()).rows[0][0] == "setting"
    for shown in (listed, zslbench.info("eszsl")):
        assert len(repr(shown)) < 120


def test_trials_status_figures_and_reports(tmp_path: Path) -> None:
    tuning = zslbench.tune("eszsl[gamma=[1,10],lam=1]", "digits", "zsl")
    assert set(tuning.to_frame()["gamma"]) == {1, 10}
    assert Page(tuning._repr_html_()).rows[0][0] == "T1"
    zslbench.run("eszsl", "digits")
    status = zslbench.status()
    assert list(status.to_frame()["state"]) == ["done"] * 2
    assert json.loads(status.save("status.json").read_text())["complete"]
    drawn = zslbench.plot("curve")
    assert drawn._repr_png_().startswith(b"\x89PNG")
    assert repr(drawn).startswith("<Figure: 1 panel, ")
    assert len(drawn.to_frame()) == len(drawn.rows)
    assert drawn.save(tmp_path / "c.svg").read_text().startswith("<?xml")
    report = zslbench.report(None, figures=False)
    assert report.save(tmp_path / "r.html").read_text() == report.text
    assert report._repr_html_().startswith("<iframe srcdoc=")
    with pytest.raises(BadValue, match=r"a report is an \.html file"):
        report.save("r.pdf")


def test_warnings_point_at_the_line_of_the_user() -> None:
    """A warning on a line within the package would help nobody, and Python would show it once for all cells."""
    zslbench.run(["eszsl", "sae"], "digits")
    zslbench.run("eszsl", "digits", "zsl", seeds=[0, 1], stage="dev")
    Path("runs/digits/zsl/eszsl/x.json").write_text("{")
    verbs: dict[str, Callable[[], object]] = {
        "table": lambda: str(zslbench.table()),
        "compare": lambda: zslbench.compare("eszsl", "sae", draws=FEW),
        "curve": lambda: zslbench.curve(),
        "plot": lambda: zslbench.plot("curve"),
        "report": lambda: zslbench.report(None, figures=False),
        "to_frame": lambda: zslbench.table().to_frame(),
        "to_latex": lambda: zslbench.table().to_latex(),
        "save": lambda: zslbench.table().save("t.csv"),
        "caption": lambda: zslbench.table(caption="none").save("t.tex"),
        "notebook": lambda: zslbench.table(caption="none")._repr_html_(),
    }
    for verb, use in verbs.items():
        with pytest.warns((RecordsLeftOut, CaptionLeftOut)) as warned:
            use()
        assert {warning.filename for warning in warned} == {__file__}, verb


def test_what_is_installed_is_shown_as_tables_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZSLBENCH_HOME", str(tmp_path / "home"))
    diagnosis = zslbench.doctor()
    printed_lines = printed("doctor").splitlines()
    # what the machine is busy with differs from call to call
    assert [line[:30] for line in str(diagnosis).splitlines() if "load" not in line][:9] == [
        line[:30] for line in printed_lines if "load" not in line
    ][:9]
    assert printed_lines[-1] == str(diagnosis).splitlines()[-1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "group" in diagnosis.to_frame()
    assert Page(diagnosis._repr_html_()).rows[0] == ["group", "what", "state", "found"]
    assert len(repr(diagnosis)) < 120
    listed = zslbench.data.list_()
    assert str(listed) == printed("data", "list").partition("to get what is missing")[0]
    by_name = listed.to_frame().set_index("name")
    assert (by_name.loc["cub", "images"], by_name.loc["cub", "unseen"]) == (11788, 50)
    assert Page(listed._repr_html_()).rows[0][:2] == ["name", "title"]
    assert listed.save("data.json").read_text().startswith("[")
    assert list(zslbench.data.verify()) == []


def test_a_piped_list_has_a_line_per_item_with_the_venue_and_info_has_the_reference() -> None:
    head, *lines = CliRunner().invoke(cli, ["list", "methods"]).output.splitlines()
    listed = zslbench.list("methods")
    assert len(lines) == len(listed)
    assert not [line for line in (head, *lines) if line != line.rstrip()]
    (lisgan,) = (line for line in lines if line.startswith("lisgan "))
    assert re.split(" {2,}", lisgan)[2:] == ["CVPR 2019", "transductive"]
    (item,) = (item for item in listed if item.name == "lisgan")
    assert item.reference.endswith(", CVPR 2019")
    assert item.reference in zslbench.info("lisgan").text
    assert max(map(len, write_columns(listed.heads_of_columns, listed.rows, 80).splitlines())) <= 80


def test_the_published_numbers_of_a_data_set_stand_side_by_side() -> None:
    described = zslbench.info("lisgan")
    rows = [line.split() for line in described.text.splitlines() if line.startswith("li2019lisgan")]
    assert ["li2019lisgan", "CUB", "res101,", "att", "58.8", "46.5", "57.9", "51.6"] in rows
    numbers = [value for row in rows for value in row if re.fullmatch(r"\d+(\.\d)?", value)]
    assert sorted(numbers) == sorted(value for source, *_, value, _ in described.published if source == "li2019lisgan")


def test_info_of_a_method_with_presets_and_parameters_describes_the_method() -> None:
    assert zslbench.info("LisGAN@public[epochs=2]").text == zslbench.info("lisgan").text
    with pytest.raises(UnknownName, match="unknown name 'nothing@public'"):
        zslbench.info("nothing@public")


def test_what_stands_first_in_info_and_that_nothing_is_wider_than_a_terminal() -> None:
    described = zslbench.info("lisgan")
    heads = [heads[0] for heads, _ in described.sections() if heads]
    assert heads == ["parameter", "preset", "`zslbench tune` searches", "published in", "preset"]
    assert next(iter(described.facts)) == "setting"
    lines = described.list_differences(80)
    assert max(map(len, "\n".join(lines).splitlines())) <= 80
    assert [" ".join(text.split()) for text in lines] == [f"- {text}" for text in described.differences]


def test_a_list_of_presets_has_a_short_line_for_each_and_all_texts_as_json() -> None:
    listed = zslbench.list("presets")
    _, *lines = listed.text.splitlines()
    assert [line.split()[0] for line in lines] == [preset.name for preset in listed]
    assert max(map(len, lines)) <= 140 < max(len(preset.summary) for preset in listed)
    assert [facts["summary"] for facts in json.loads(listed.write_json())] == [preset.summary for preset in listed]
