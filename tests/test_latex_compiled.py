"""Real pdflatex: tables of 13 methods on 5 data sets compile into usual pages without a warning."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from result_records import pair, paper_study, saved

import zslbench
from zslbench.results.tables.latex_text import escape, text_width
from zslbench.results.tables.render import render
from zslbench.results.tables.table import Cell, text_table

ENDING = "_with a long name & 100%, #1 ~{x}^2 $y$ \\z Łódź-été"
PAGES = {
    "one column": r"\documentclass{article}\usepackage{booktabs}",
    "two columns": r"\documentclass[twocolumn]{article}\usepackage{booktabs}\setlength{\textwidth}{6.875in}"
    r"\setlength{\columnsep}{0.3125in}\setlength{\columnwidth}{3.28125in}\setlength{\hsize}{\columnwidth}"
    r"\setlength{\oddsidemargin}{-0.2in}",
}


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    facts = {"params": {"hidden": 4096, "epochs": 40}, "label": "m[hidden=4096,epochs=40,preprocess=standard+minmax]"}
    return saved(tmp_path_factory.mktemp("long"), paper_study(ENDING, **facts))


def compiled(pdflatex: str, folder: Path, text: str) -> str:
    """Compile a document and return its log, lines joined; errors fail."""
    (folder / "page.tex").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [pdflatex, "-interaction=nonstopmode", "-halt-on-error", "page.tex"],
        cwd=folder, capture_output=True, check=False, timeout=120,
    )  # fmt: skip
    log = (folder / "page.log").read_text(encoding="latin-1")
    assert done.returncode == 0, log[-3000:]
    return log


def check_clean(log: str) -> None:
    assert "Overfull" not in log, re.findall(r"Overfull.*", log)
    assert "Warning" not in log, re.findall(r".*Warning.*", log)


def page(kind: str, body: str) -> str:
    return rf"{PAGES[kind]}\begin{{document}}Text.{body}\end{{document}}"


@pytest.mark.parametrize("kind", PAGES)
def test_every_layout_fits_any_page(pdflatex: str, paper_runs: Path, long: Path, kind: str, tmp_path: Path) -> None:
    tables = {
        f"{place}{layout}{published}": zslbench.table(runs, layout=layout, format="latex", published=published)
        for place, runs in enumerate((paper_runs, long))
        for layout in ("full", "zsl", "gzsl")
        for published in ((None, "best"), ("li2019lisgan",))[place]
    }
    for name, text in tables.items():
        (tmp_path / f"{name}.tex").write_text(text, encoding="utf-8")
    body = "\n".join(rf"Text.\input{{{name}}}\clearpage" for name in tables)
    check_clean(compiled(pdflatex, tmp_path, page(kind, body)))


def test_tables_for_a_wide_page_fit_it(pdflatex: str, paper_runs: Path, tmp_path: Path) -> None:
    texts = [
        zslbench.table(paper_runs, layout=layout, format="latex", width="page", published="best")
        for layout in ("full", "zsl", "gzsl")
    ]
    check_clean(compiled(pdflatex, tmp_path, page("two columns", "\n".join(texts))))
    narrower = zslbench.table(paper_runs, layout="gzsl", format="latex", published="best")
    assert narrower.count(r"\begin{tabular}") > texts[2].count(r"\begin{tabular}")


@pytest.mark.parametrize("layout", ["full", "zsl", "gzsl"])
def test_a_document_of_its_own_compiles_as_it_is(pdflatex: str, long: Path, layout: str, tmp_path: Path) -> None:
    text = zslbench.table(long, layout=layout, format="latex", published="li2019lisgan", standalone=True)
    log = compiled(pdflatex, tmp_path, text)
    check_clean(log)
    assert "(1 page" in log


def test_statistics_compile_too(pdflatex: str, real_data: Path, tmp_path: Path) -> None:
    names = ["apy", "awa1", "awa2", "flo", "sun", "digits"]
    options = {"layout": "stats", "datasets": names, "data_root": real_data, "format": "latex"}
    check_clean(compiled(pdflatex, tmp_path, zslbench.table(**options, standalone=True)))
    text = zslbench.table(**options)
    for kind in PAGES:
        check_clean(compiled(pdflatex, tmp_path, page(kind, text)))


@pytest.mark.parametrize("kind", PAGES)
def test_several_tables_of_words_fit_a_page(pdflatex: str, tmp_path: Path, kind: str) -> None:
    heads = ("difference", "metric", "points", "95 % interval", "what it is")
    rows = [
        (
            f"ESZSL[gamma={number}] − LisGAN@S3‡",
            "H",
            Cell(f"−{number}.1", "0.3"),
            f"[−{number}.8, +0.4]",
            "strong ridge " * 9,
        )
        for number in range(1, 40, 5)
    ]
    tables = [text_table(f"cub_{number}: 50 % of it", heads, rows, words=[1, 4]) for number in (1, 2, 3)]
    check_clean(compiled(pdflatex, tmp_path, page(kind, render(tables, "latex"))))


def test_more_methods_than_a_page_holds_go_into_several_floats(pdflatex: str, tmp_path: Path) -> None:
    records = [
        one for k in range(130) for one in pair("m", "cub", 0, (0.5, 0.1, 0.2, 0.1), label=f"m[k={k}]", params={"k": k})
    ]
    text = zslbench.table(saved(tmp_path / "runs", records), layout="gzsl", format="latex")
    assert len(set(re.findall(r"m\[k=(\d+)\]", text))) == 130
    assert text.count(r"\caption") == 1
    check_clean(compiled(pdflatex, tmp_path, page("one column", text)))


def test_names_that_pdflatex_lacks_are_refused_by_the_document_itself(tmp_path: Path) -> None:
    runs = saved(tmp_path, pair("m", "cub", 0, (0.5, 0.1, 0.2, 0.1), title="日本"))
    text = zslbench.table(runs, format="latex", standalone=True)
    assert text.startswith("% names hold characters that pdflatex lacks: compile with lualatex or xelatex")
    assert r"\usepackage{fontspec}" in text
    latin = saved(tmp_path / "latin", pair("m", "cub", 0, (0.5, 0.1, 0.2, 0.1), title="Łódź"))
    assert "fontspec" not in zslbench.table(latin, format="latex", standalone=True)


def test_widths_are_those_of_latex_rounded_up(pdflatex: str, tmp_path: Path) -> None:
    texts = [
        "DAP", "f-CLSWGAN", "LisGAN@S3", "43.3", "100.0", "ESZSL[gamma=1000]", "a_b%c&d#e", "preprocess=standard+clip",
        "Wörter mit Löchern", "The quick brown fox jumps over the lazy dog", "<=>|~^\\{}", "f(x), $9", "WMwm±×–",
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz0123456789", "!\"'*/:;?`",
    ]  # fmt: skip
    lines = [rf"\settowidth{{\dimen0}}{{{escape(text)}}}\typeout{{WIDTH \the\dimen0}}" for text in texts]
    log = compiled(pdflatex, tmp_path, page("one column", r"\footnotesize " + "\n".join(lines)))
    measured = [float(found) for found in re.findall(r"WIDTH ([\d.]+)pt", log)]
    assert len(measured) == len(texts)
    for text, width in zip(texts, measured, strict=True):
        assert 0.995 * width <= text_width(text) <= 1.2 * width + 1, text  # LaTeX kerns
