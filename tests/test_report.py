"""The report: what the page holds, held against the records; the page itself in a browser is in test_report_page.py."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from result_records import pair, record, saved, study

import zslbench
from zslbench.cli import main
from zslbench.errors import BadValue, StoreError
from zslbench.results.records.record import Record
from zslbench.results.records.store import ResultStore
from zslbench.results.report.figures import inline
from zslbench.results.report.page import embedded


class _Elements(HTMLParser):
    """Counts elements and keeps the text of those with an id."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def _data(text: str) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found
    return json.loads(found[1])


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return saved(tmp_path / "runs", study())


def test_the_page_is_one_file_that_nothing_leaves(runs, tmp_path):
    out = tmp_path / "out" / "page.html"
    made = zslbench.report(out, runs=runs)
    text = out.read_text(encoding="utf-8")
    assert text == made.text
    assert made.path == out
    elements = _Elements(text).tags
    policy = next(attrs["content"] for tag, attrs in elements if attrs.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]
    for tag, attrs in elements:
        assert tag not in ("link", "iframe", "img", "object"), tag
        assert not any((attrs.get(name) or "").startswith(("http", "//")) for name in ("src", "href", "action")), attrs


def test_each_run_can_be_read_back_from_the_page(runs):
    data = _data(zslbench.report(None, runs=runs).text)
    at = {name: place for place, name in enumerate(data["fields"])}
    kept = {one.id: one for one in ResultStore(runs).load()}
    assert {row[at["id"]] for row in data["runs"]} == kept.keys()
    for row in data["runs"]:
        one = kept[row[at["id"]]]
        method, dataset, protocol, stage, fold, selection = data["cells"][row[at["cell"]]]
        assert data["methods"][method]["params"] == one.method["params"]
        assert data["methods"][method]["label"] == one.method["label"]
        assert data["datasets"][dataset] == one.dataset
        assert data["protocols"][protocol] == one.protocol
        assert (stage, fold, selection, row[at["seed"]]) == (one.stage, one.fold, one.selection, one.seed)
        assert row[at["status"]] == one.status
        metrics = dict(zip(data["names"]["metrics"], row[at["metrics"]], strict=True))
        assert {name: value / 10_000 for name, value in metrics.items() if value is not None} == pytest.approx(
            one.metrics, abs=5e-5
        )
        error = row[at["error"]]
        assert (data["errors"][error] if error >= 0 else "") == one.error


def test_curves_timings_and_provenance_come_along(tmp_path):
    first = record("lisgan", curve={5: {"T1": 0.25}, 10: {"T1": 0.5}})
    first = dataclasses.replace(
        first,
        timings={"fit": 1.5, "total": 2.0},
        memory={"process_peak_so_far": 7},
        provenance={"device": "cpu", "finished": "2026-01-02T03:04:05+00:00"},
    )
    other = dataclasses.replace(record("lisgan", seed=3), provenance={"device": "cpu", "finished": "not a time"})
    data = _data(zslbench.report(None, runs=saved(tmp_path, [first, other])).text)
    rows = {row[0]: dict(zip(data["fields"], row, strict=True)) for row in data["runs"]}
    row = rows[first.id]
    assert data["steps"][row["steps"]] == [5, 10]
    assert row["curve"] == [2500, 5000]
    assert dict(zip(data["names"]["timings"], row["timings"], strict=True)) == first.timings
    assert row["memory"] == [7]
    assert data["made"][row["made"]] == {"device": "cpu"}
    assert data["since"] + row["finished"] == 1767323045
    assert rows[other.id]["finished"] is None
    command = data["commands"][row["cell"]]
    assert command.startswith("zslbench run -m lisgan -d cub")
    assert "--checkpoints every:5 --rerun all" in command


def test_runs_that_share_everything_share_one_entry(tmp_path):
    seeds = [record("lisgan", seed=seed, params={"souls": 3}) for seed in range(30)]
    data = _data(zslbench.report(None, runs=saved(tmp_path, seeds)).text)
    assert [len(data[name]) for name in ("methods", "datasets", "protocols", "cells", "made")] == [1] * 5


def test_means_and_best_are_those_of_the_records(runs):
    page = zslbench.report(None, runs=runs).page
    assert [name for name, _ in page.tables] == ["zsl", "gzsl"]
    _, zsl = page.tables[0]
    assert [(column.dataset, column.head) for column in zsl.columns] == [("cub", "T1"), ("FLO_PART", "T1")]
    found = {line.title: line.cells for line in zsl.rows}
    name = next(name for name in found if name.startswith("LisGAN@S3"))
    on_cub = found[name][0]
    assert (on_cub.text, on_cub.std, on_cub.stat.n) == ("49.3", "1.5", 3)  # 48, 49, 51
    best = {name for name, cells in found.items() if cells[0] and cells[0].emphasis == "best"}
    assert best == {
        "ESZSL[gamma=1000]"
    }  # 55.6; f-CLSWGAN has 49.8, and SAE is a candidate of oracle selection, not shown
    assert any("oracle selection not shown" in note for note in page.notes)


def test_published_numbers_are_judged_only_on_their_own_features(tmp_path):
    published = zslbench.results.analysis.published.lookup("lisgan", "cub", "T1", None)
    near = [
        record(
            "lisgan",
            seed=seed,
            metrics={"T1": published.value / 100 + shift},
            features="res101",
            setting="transductive",
        )
        for seed, shift in enumerate((-0.001, 0.0, 0.001))
    ]
    low = [record("eszsl", metrics={"T1": 0.2}, features="res101")]
    other = [record("eszsl", metrics={"T1": 0.2}, features="fc1000")]
    found = zslbench.report(None, runs=saved(tmp_path, near + low + other)).page.beside
    verdicts = {(one.row.method, one.row.features): (one.verdict, one.entry.value) for one in found}
    assert verdicts["lisgan", "res101"] == ("reproduced", 58.8)
    assert verdicts["eszsl", "res101"][0] == "below"
    assert verdicts["eszsl", "fc1000"][0] == "other features"
    assert zslbench.report(None, runs=tmp_path, published=False).page.beside == ()


def test_a_method_with_chance_and_one_seed_is_inconclusive(tmp_path):
    found = zslbench.report(None, runs=saved(tmp_path, [record("ale", features="res101")])).page.beside
    assert [one.verdict for one in found] == ["inconclusive"]


def test_what_is_missing_comes_with_the_command(tmp_path):
    records = [record("eszsl", "cub"), record("eszsl", "sun"), record("sae", "cub")]
    (missing,) = zslbench.report(None, runs=saved(tmp_path, records)).page.missing
    assert not missing.complete
    said = [(purpose, text) for purpose, texts in missing.commands for text in texts]
    assert ("do what is missing", "zslbench run --plan missing.toml") in said
    assert said == [(one.purpose, one.text) for one in zslbench.status(tmp_path).commands]


def test_dev_runs_get_tables_of_their_own(tmp_path):
    dev = [record("eszsl", stage="dev", fold=fold, metrics={"T1": 0.3 + fold / 10}) for fold in (1, 2, 3)]
    made = zslbench.report(None, runs=saved(tmp_path, [record("eszsl"), *dev]))
    assert [(name, table.rows[0].cells[0].text) for name, table in made.page.tables] == [
        ("zsl", "50.0"),
        ("zsl dev", "50.0"),
    ]
    assert [one.title for one in made.page.missing] == ["Final stage", "Dev stage"]
    only = zslbench.report(None, runs=tmp_path, stage="dev")
    assert [name for name, _ in only.page.tables] == ["zsl dev"]
    assert len(_data(only.text)["runs"]) == 3


def test_what_was_asked_for_is_all_that_is_shown(runs):
    made = zslbench.report(None, runs=runs, methods=["eszsl"], datasets=["cub"], protocols=["zsl"])
    assert [line.name for _, table in made.page.tables for line in table.rows] == ["ESZSL[gamma=1000]"]
    assert len(_data(made.text)["runs"]) == 1


def test_figures_have_ids_of_their_own_and_take_the_ink_of_the_page(tmp_path):
    curve = {step: {"T1": 0.1 * step} for step in (1, 2, 3)}
    records = [
        record(
            "lisgan",
            dataset,
            seed=seed,
            params={"souls": souls},
            curve=curve,
            metrics={"T1": 0.3},
            label=f"lisgan[souls={souls}]",
        )
        for dataset in ("cub", "sun")
        for seed in (0, 1)
        for souls in (1, 3)
    ]
    made = zslbench.report(None, runs=saved(tmp_path, records))
    assert {figure.kind for figure in made.page.figures} == {"cd", "stability", "sensitivity"}
    ids = [attrs["id"] for _, attrs in _Elements(made.text).tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for figure in made.page.figures:
        assert "#222222" not in figure.svg
        assert "var(--ink)" in figure.svg
        for name in re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', figure.svg):
            assert f'id="{name[0] or name[1]}"' in figure.svg
    assert zslbench.report(None, runs=tmp_path, figures=False).page.figures == ()


def test_the_same_records_make_the_same_page(runs):
    assert zslbench.report(None, runs=runs).text == zslbench.report(None, runs=runs).text


def test_inline_keeps_texts_that_look_like_colours_or_ids():
    svg = '<?xml?>\n<svg><defs><path id="a" d="M 1.23456 2"/></defs><use xlink:href="#a"/><text>id="a"</text></svg>'
    assert (
        inline(svg, "p-")
        == '<svg><defs><path id="p-a" d="M 1.23 2"/></defs><use xlink:href="#p-a"/><text>id="a"</text></svg>'
    )


def test_a_huge_error_is_shortened_and_its_end_stays(tmp_path):
    error = "first line\n" + "deeper\n" * 100_000 + "RuntimeError: the last line"
    runs = saved(tmp_path / "runs", [record(seed=1), record(seed=2, status="failed", error=error)])
    made = zslbench.report(None, runs=runs)
    (told,) = _data(made.text)["errors"]
    assert told.startswith("first line\n")
    assert told.endswith("RuntimeError: the last line")
    assert f"{len(error) - 20_000:,} characters" in told
    assert len(told) < 21_000


def test_a_label_that_is_none_does_not_cost_the_page(tmp_path):
    odd = record("mine", label="a name [of its own", metrics={"T1": 0.5}, title="Mine")
    made = zslbench.report(None, runs=saved(tmp_path / "runs", [odd, record(metrics={"T1": 0.25})]))
    ((_, table),) = made.page.tables
    assert {line.cells[0].text for line in table.rows} == {"50.0", "25.0"}
    (missing,) = made.page.missing
    assert not missing.complete
    assert any("not checked: a name [of its own: unknown method" in sentence for sentence in missing.sentences)


def test_the_mark_of_published_numbers_is_told_of_measured_ones_only_where_they_have_it(tmp_path):
    facts = {"features": "res101", "setting": "transductive", "metrics": {"T1": 0.5}}
    one = record("lisgan", seed=1, **facts)
    other = record("lisgan", seed=1, selection="oracle", label="lisgan[souls=5]", params={"souls": 5}, **facts)
    plain = zslbench.report(None, runs=saved(tmp_path / "plain", [one]))
    assert plain.page.beside[0].entry.oracle
    assert "the numbers measured here are not picked there" in plain.text
    marked = zslbench.report(None, runs=saved(tmp_path / "marked", [one, other]), selection=("fixed", "oracle"))
    assert {beside.row.marks for beside in marked.page.beside} == {"‡", "†‡"}
    assert "so was what is marked † here" in marked.text
    assert "not picked there" not in marked.text


@pytest.mark.parametrize("odd", [{"timings": {"total": "fast"}}, {"memory": {"peak": None}}, {"memory": {"gpu": True}}])
def test_a_record_whose_seconds_or_bytes_are_no_numbers_is_named_and_the_rest_is_shown(tmp_path, odd):
    """Another program may write such a record; the page would not open."""
    records = [record(), dataclasses.replace(record(seed=1), **odd)]
    page = zslbench.report(None, runs=saved(tmp_path / "runs", records)).text
    data = _data(page)
    (run,) = [dict(zip(data["fields"], one, strict=True)) for one in data["runs"]]
    assert run["seed"] == 0
    assert f"{records[1].id}.json is not a zslbench record ({next(iter(odd))}." in page


def test_embedded_json_cannot_end_its_element():
    hostile = {"</script>": "<!--\u2028&"}
    text = embedded(hostile)
    assert not set(text) & set("<>&\u2028")
    assert json.loads(text) == hostile


def test_reading_a_study_does_not_import_torch(tmp_path):
    saved(tmp_path / "runs", [record(name, seed=seed) for name in ("lisgan", "ale", "dem") for seed in (0, 1)])
    code = "import sys, zslbench; zslbench.report(sys.argv[1], runs=sys.argv[2]); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "r.html"), str(tmp_path / "runs")], check=True)


@pytest.mark.parametrize(
    ("records", "sentence"),
    [([], "there are no runs in"), ([record(status="failed", error="ValueError: no\n")], "ValueError: no")],
)
def test_a_study_without_finished_runs_is_one_sentence(records, sentence, tmp_path, capsys):
    saved(tmp_path / "runs", records)
    with pytest.raises(SystemExit) as end:
        main(["report", "--runs", str(tmp_path / "runs"), "-o", str(tmp_path / "r.html")])
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert not (tmp_path / "r.html").exists()


def test_what_cannot_be_written_is_one_sentence(runs, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot write the report r\.html"):
        zslbench.report(tmp_path / "file" / "r.html", runs=runs)
    with pytest.raises(BadValue, match=r"an \.html file, not 'report\.pdf'"):
        zslbench.report(tmp_path / "report.pdf", runs=runs)
    with pytest.raises(BadValue, match="tolerance"):
        zslbench.report(tmp_path / "r.html", runs=runs, tolerance=-1)
    with pytest.raises(BadValue, match="lisgan"):
        zslbench.report(tmp_path / "r.html", runs=runs, methods=["lisgn"])


def test_the_verb_writes_where_it_is_told(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["report", "--runs", "runs", "--title", "Über <b>uns</b>", "--no-figures"])
    assert end.value.code == 0
    assert "wrote report.html" in capsys.readouterr().err
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<h1>Über &lt;b&gt;uns&lt;/b&gt;</h1>" in text


def test_too_many_runs_are_not_drawn_but_said(monkeypatch, tmp_path):
    from zslbench.results.report import figures

    monkeypatch.setattr(figures, "MOST_RUNS", 1)
    saved(tmp_path, [record("eszsl"), record("sae")])
    page = zslbench.report(None, runs=tmp_path).page
    assert page.figures == ()
    assert "2 runs are more than the 1" in page.undrawn[0]


def test_pairs_of_one_seed_are_not_called_a_spread(tmp_path):
    records: list[Record] = pair("eszsl", "cub", 0, (0.5, 0.2, 0.6, 0.1))
    page = zslbench.report(None, runs=saved(tmp_path, records)).page
    assert all(cell.std == "" for _, table in page.tables for line in table.rows for cell in line.cells if cell)
