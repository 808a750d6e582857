"""The report: what the page holds, held against the records; the page itself in a browser is in test_report_page.py."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from pathlib import Path

import pytest
from result_records import record, saved
from test_results_calibration import drawn, gzsl

import zslbench
from zslbench.errors import BadValue, RecordsLeftOut, StoreError
from zslbench.results.records.store import ResultStore
from zslbench.results.report.figures import inline

TITLE = "Über <b>uns</b>"


def _data(text: str) -> dict:
    matching = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert matching
    return json.loads(matching[1])


@pytest.fixture(scope="module")
def whole(study_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> zslbench.studies.report.Report:
    """The report of the whole study, figures included."""
    return zslbench.report(tmp_path_factory.mktemp("report") / "out" / "page.html", runs=study_runs, title=TITLE)


def test_the_page_is_one_file_that_nothing_leaves(whole):
    text = whole.path.read_text(encoding="utf-8")
    assert text == whole.text
    assert "<h1>Über &lt;b&gt;uns&lt;/b&gt;</h1>" in text
    (policy,) = re.findall('http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]
    assert re.findall(r"<(?:link|iframe|img|object)\b", text) == []
    assert re.findall(r"""\b(?:src|href|action)=["'](?:http|//)""", text) == []


def test_each_run_can_be_read_back_from_the_page(study_runs, whole):
    data = _data(whole.text)
    at = {name: place for place, name in enumerate(data["fields"])}
    kept = {entry.id: entry for entry in ResultStore(study_runs).load()}
    assert {row[at["id"]] for row in data["runs"]} == kept.keys()
    for row in data["runs"]:
        entry = kept[row[at["id"]]]
        method, dataset, protocol, stage, fold, selection = data["cells"][row[at["cell"]]]
        assert data["methods"][method]["params"] == entry.method["params"]
        assert data["methods"][method]["label"] == entry.method["label"]
        assert data["datasets"][dataset] == entry.dataset
        assert data["protocols"][protocol] == entry.protocol
        assert (stage, fold, selection, row[at["seed"]]) == (entry.stage, entry.fold, entry.selection, entry.seed)
        assert row[at["status"]] == entry.status
        metrics = dict(zip(data["names"]["metrics"], row[at["metrics"]], strict=True))
        assert {name: value / 10_000 for name, value in metrics.items() if value is not None} == pytest.approx(
            entry.metrics, abs=5e-5
        )
        error = row[at["error"]]
        assert (data["errors"][error] if error >= 0 else "") == entry.error


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
    assert (data["steps"][row["steps"]], row["curve"]) == ([5, 10], [2500, 5000])
    assert dict(zip(data["names"]["timings"], row["timings"], strict=True)) == first.timings
    assert (row["memory"], data["made"][row["made"]]) == ([7], {"device": "cpu"})
    assert (data["since"] + row["finished"], rows[other.id]["finished"]) == (1767323045, None)
    command = data["commands"][row["cell"]]
    assert command.startswith("zslbench run -m lisgan -d cub")
    assert "--checkpoints every:5 --rerun all" in command


def test_runs_that_share_everything_share_one_entry(tmp_path):
    seeds = [record("lisgan", seed=seed, params={"souls": 3}) for seed in range(30)]
    data = _data(zslbench.report(None, runs=saved(tmp_path, seeds)).text)
    assert [len(data[name]) for name in ("methods", "datasets", "protocols", "cells", "made")] == [1] * 5


def test_means_and_best_are_those_of_the_records(whole):
    page = whole.page
    assert [name for name, _ in page.tables] == ["zsl", "gzsl"]
    _, zsl = page.tables[0]
    assert [(column.dataset, column.head) for column in zsl.columns] == [("cub", "T1"), ("FLO_PART", "T1")]
    matching = {line.title: line.cells for line in zsl.rows}
    name = next(name for name in matching if name.startswith("LisGAN@S3"))
    on_cub = matching[name][0]
    assert (on_cub.text, on_cub.std, on_cub.stat.n) == ("49.3", "1.5", 3)  # 48, 49, 51
    assert matching["ESZSL"][0].std == ""  # one seed
    # f-CLSWGAN has 49.8, and SAE is a candidate of oracle selection, not shown.
    best = [name for name, cells in matching.items() if cells[0] and cells[0].emphasis == "best"]
    assert best == ["ESZSL"]
    assert any("oracle selection not shown" in note for note in page.notes)


def test_published_numbers_are_judged_only_on_their_own_features(tmp_path):
    published = zslbench.results.analysis.published.lookup(["lisgan"], "cub", "T1")
    facts = {"features": "res101", "setting": "transductive"}
    records = [
        record("lisgan", seed=seed, metrics={"T1": published.value / 100 + shift}, **facts)
        for seed, shift in enumerate((-0.001, 0.0, 0.001))
    ]
    records += [record("eszsl", metrics={"T1": 0.2}, features=features) for features in ("res101", "fc1000")]
    records.append(record("ale", features="res101"))  # one seed of a method with chance
    shown = zslbench.report(None, runs=saved(tmp_path, records)).page.beside
    assert {(beside.row.method, beside.row.features): beside.verdict for beside in shown} == {
        ("lisgan", "res101"): "reproduced",
        ("eszsl", "res101"): "below",
        ("eszsl", "fc1000"): "other features",
        ("ale", "res101"): "inconclusive",
    }
    assert next(beside.entry.value for beside in shown if beside.row.method == "lisgan") == 58.8
    assert zslbench.report(None, runs=tmp_path, published=False).page.beside == ()


def test_a_number_that_is_not_first_hand_says_so(tmp_path):
    runs = [record(name, features="res101") for name in ("fclswgan", "eszsl")]
    page = zslbench.report(None, runs=saved(tmp_path, runs), figures=False).text
    assert len(re.findall(r"<td>xian2018gbu, proposed split<small>res101, att</small>", page)) == 1
    assert len(re.findall(r"<td>li2019lisgan, Table 2<small>res101, att, quoted</small>", page)) == 1


def test_what_is_missing_comes_with_the_command(tmp_path):
    records = [record("eszsl", "cub"), record("eszsl", "sun"), record("sae", "cub")]
    (missing,) = zslbench.report(None, runs=saved(tmp_path, records)).page.missing
    assert not missing.complete
    sentences = [(purpose, text) for purpose, texts in missing.commands for text in texts]
    assert ("do what is missing", "zslbench run --plan missing.toml") in sentences
    assert sentences == [(entry.purpose, entry.text) for entry in zslbench.status(tmp_path).commands]


def test_h_is_shown_raw_calibrated_and_with_the_best_constant_on_test_where_there_are_dev_folds(tmp_path):
    store = ResultStore(tmp_path)
    store.save(*gzsl("b", drawn(99, 60)))  # whose dev folds are not there
    for seed, fold in itertools.product(range(2), range(3)):
        store.save(*gzsl("a", drawn(10 * fold + seed, 60), seed=seed, stage="dev" if fold else "final", fold=fold))
    tables = dict(zslbench.report(None, runs=tmp_path, figures=False).page.tables)
    assert list(tables) == ["gzsl", "gzsl calibrated", "gzsl dev"]
    columns = [column.head for column in tables["gzsl calibrated"].columns]
    assert columns == ["H", "H cs", "H cs†", "ΔH cs†", "AUSUC"]
    (row,) = tables["gzsl calibrated"].rows
    (wanted,) = json.loads(zslbench.table(tmp_path, format="json", methods=["a"], calibrate="both").text)
    assert [cell.stat.mean for cell in row.cells] == [
        pytest.approx(wanted["metrics"][name]["mean"], abs=1e-5) for name in columns
    ]
    for path in tmp_path.rglob("*.npz"):
        path.unlink()
    assert list(dict(zslbench.report(None, runs=tmp_path, figures=False).page.tables)) == ["gzsl", "gzsl dev"]


def test_dev_runs_get_tables_of_their_own(tmp_path):
    dev = [record("eszsl", stage="dev", fold=fold, metrics={"T1": 0.3 + fold / 10}) for fold in (1, 2, 3)]
    made = zslbench.report(None, runs=saved(tmp_path, [record("eszsl"), *dev]))
    shown = [(name, table.rows[0].cells[0].text) for name, table in made.page.tables]
    assert shown == [("zsl", "50.0"), ("zsl dev", "50.0")]
    assert [entry.title for entry in made.page.missing] == ["Final stage", "Dev stage"]
    only = zslbench.report(None, runs=tmp_path, stage="dev")
    assert [name for name, _ in only.page.tables] == ["zsl dev"]
    assert len(_data(only.text)["runs"]) == 3


def test_all_runs_of_the_other_stage_are_counted_below_what_is_missing(tmp_path):
    picked, *others = ({"x": value} for value in (1.0, 2.0, 3.0))
    dev = [
        record("eszsl", stage="dev", fold=fold, metrics={"T1": 0.3}, params=params, label=f"eszsl[x={params['x']:g}]")
        for params, fold in itertools.product((picked, *others), (1, 2, 3))
    ]
    runs = saved(tmp_path, [record("eszsl", label="eszsl[x=1]", params=picked), *dev])
    final, of_dev = zslbench.report(None, runs=runs).page.missing
    assert "not counted above: 9 runs of the dev stage" in final.sentences
    assert "not counted above: 1 run of the final stage" in of_dev.sentences
    assert "not counted above: 9 runs of the dev stage" in zslbench.status(runs).text


def test_what_was_asked_for_is_all_that_is_shown(study_runs):
    made = zslbench.report(None, runs=study_runs, methods=["eszsl"], datasets=["cub"], protocols=["zsl"])
    assert [line.name for _, table in made.page.tables for line in table.rows] == ["ESZSL"]
    assert len(_data(made.text)["runs"]) == 1


def test_figures_have_ids_of_their_own_and_take_the_ink_of_the_page(tmp_path):
    facts = {"curve": {step: {"T1": 0.1 * step} for step in (1, 2, 3)}, "metrics": {"T1": 0.3}}
    records = [
        record("lisgan", data, seed=seed, params={"souls": souls}, label=f"lisgan[souls={souls}]", **facts)
        for data, seed, souls in itertools.product(("cub", "sun"), (0, 1), (1, 3))
    ]
    made = zslbench.report(None, runs=saved(tmp_path, records))
    assert {figure.kind for figure in made.page.figures} == {"cd", "stability", "sensitivity"}
    ids = re.findall(r'<[^>]* id="([^"]*)"', made.text)
    assert len(ids) == len(set(ids))
    for figure in made.page.figures:
        assert "#222222" not in figure.svg
        assert "var(--ink)" in figure.svg
        for name in re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', figure.svg):
            assert f'id="{name[0] or name[1]}"' in figure.svg
    assert zslbench.report(None, runs=tmp_path, figures=False).page.figures == ()


def test_the_same_records_make_the_same_page(study_runs, whole):
    again = zslbench.report(None, runs=study_runs, title=TITLE)
    times = [f"{made.page.written:%Y-%m-%d %H:%M UTC}" for made in (again, whole)]
    stamps = [made.page.written.isoformat(timespec="seconds") for made in (again, whole)]
    assert again.text.replace(times[0], times[1]).replace(stamps[0], stamps[1]) == whole.text


def test_the_page_says_of_which_records_it_is_when_it_was_written_and_by_what(study_runs, whole):
    (title,) = re.findall("<title>(.*?)</title>", whole.text)
    assert title == "Über &lt;b&gt;uns&lt;/b&gt;: CUB, FLO_PART – zslbench report"
    about = re.sub("<[^>]*>", "", whole.text[whole.text.index("<header") : whole.text.index("</header>")])
    assert f"Written{whole.page.written:%Y-%m-%d %H:%M UTC} by zslbench {zslbench.__version__}" in about
    assert str(study_runs) in about
    unnamed = zslbench.report(None, runs=study_runs, figures=False)
    assert unnamed.page.title == f"{study_runs.parent.name}/{study_runs.name}"


def test_inline_keeps_texts_that_look_like_colours_or_ids():
    svg = '<?xml?>\n<svg><defs><path id="a" d="M 1.23456 2"/></defs><use xlink:href="#a"/><text>id="a"</text></svg>'
    body = '<svg><defs><path id="p-a" d="M 1.23 2"/></defs><use xlink:href="#p-a"/><text>id="a"</text></svg>'
    assert inline(svg, "p-") == body


def test_a_huge_error_is_shortened_and_its_end_stays(tmp_path):
    error = "first line\n" + "deeper\n" * 100_000 + "RuntimeError: the last line"
    runs = saved(tmp_path / "runs", [record(seed=1), record(seed=2, status="failed", error=error)])
    made = zslbench.report(None, runs=runs)
    (text_shown,) = _data(made.text)["errors"]
    assert text_shown.startswith("first line\n")
    assert text_shown.endswith("RuntimeError: the last line")
    assert f"{len(error) - 20_000:,} characters" in text_shown
    assert len(text_shown) < 21_000


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
    entry = record("lisgan", seed=1, **facts)
    other = record("lisgan", seed=1, selection="oracle", label="lisgan[souls=5]", params={"souls": 5}, **facts)
    plain = zslbench.report(None, runs=saved(tmp_path / "plain", [entry]))
    assert plain.page.beside[0].entry.oracle
    assert "No number measured here is chosen in this way" in plain.text
    marked = zslbench.report(None, runs=saved(tmp_path / "marked", [entry, other]), selection=("fixed", "oracle"))
    assert {beside.row.marks for beside in marked.page.beside} == {"‡", "†‡"}
    assert "Numbers measured here that are marked † are chosen in the same way" in marked.text
    assert "No number measured here" not in marked.text


def test_a_record_whose_seconds_or_bytes_are_no_numbers_is_named_and_the_rest_is_shown(tmp_path):
    """Another program may write such a record; the page would not open."""
    odd = ({"timings": {"total": "fast"}}, {"memory": {"peak": None}}, {"memory": {"gpu": True}})
    broken = [dataclasses.replace(record(seed=seed), **facts) for seed, facts in enumerate(odd, start=1)]
    with pytest.warns(RecordsLeftOut):
        page = zslbench.report(None, runs=saved(tmp_path / "runs", [record(), *broken])).text
    assert len(_data(page)["runs"]) == 1
    for entry, facts in zip(broken, odd, strict=True):
        assert f"{entry.id}.json is not a zslbench record ({next(iter(facts))}." in page


def test_a_report_that_cannot_be_made_is_refused_in_a_sentence(study_runs, tmp_path):
    (tmp_path / "file").write_text("")
    failed = saved(tmp_path / "failed", [record(status="failed", error="ValueError: no\n")])
    for output, options, error, sentence in (
        ("file/r.html", {}, StoreError, r"cannot write the report r\.html"),
        ("report.pdf", {}, BadValue, r"an \.html file, not 'report\.pdf'"),
        ("r.html", {"tolerance": -1}, BadValue, "tolerance"),
        ("r.html", {"methods": ["lisgn"]}, BadValue, "lisgan"),
        ("r.html", {"runs": tmp_path / "none"}, StoreError, "there are no runs in"),
        ("r.html", {"runs": failed}, StoreError, "ValueError: no"),
    ):
        with pytest.raises(error, match=sentence):
            zslbench.report(tmp_path / output, **{"runs": study_runs, **options})
    assert not (tmp_path / "r.html").exists()


@pytest.mark.parametrize(
    ("limit", "value", "sentence"),
    [
        ("RUNS", 1, "2 runs are more than the 1"),
        ("PANELS", 0, "Error by epoch: 1 panels are more than the 0"),
        ("FIGURES", 0, "Error by epoch: the page holds 0 figures"),
    ],
)
def test_what_is_too_much_is_not_drawn_but_named(monkeypatch, tmp_path, limit, value, sentence):
    monkeypatch.setattr(f"zslbench.results.report.figures.MOST_{limit}", value)
    records = [record(method, curve={1: {"T1": 0.1}, 2: {"T1": 0.2}}) for method in ("eszsl", "sae")]
    made = zslbench.report(None, runs=saved(tmp_path, records))
    assert made.page.figures == ()
    assert sentence in made.page.undrawn[0]
    assert "with <code>zslbench plot" in made.text  # what is typed looks so
