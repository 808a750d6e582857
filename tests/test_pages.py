"""Docs pages are what the cards say, and every citation has its BibTeX."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import zslbench
from builders import method_pages
from zslbench.params import declared_params
from zslbench.registry import DATASETS, METHODS
from zslbench.results import bibliography
from zslbench.results.analysis.published import load, sources

DOCS = Path(__file__).resolve().parent.parent / "docs" / "methods"


def test_the_pages_in_the_repository_are_those_of_the_cards() -> None:
    written = {path.name: path.read_text(encoding="utf-8") for path in DOCS.glob("*.md")}
    assert written == method_pages.method_pages(), "run `make docs`"


@pytest.mark.parametrize("name", METHODS.builtin_names())
def test_a_page_tells_everything_that_is_declared(name: str) -> None:
    page, cls = method_pages.method_page(name), METHODS.load(name)
    assert cls.card.formula, "a method needs a formula on its card"  # type: ignore[attr-defined]
    assert cls.card.differences, "say how it differs from the paper or its public code"  # type: ignore[attr-defined]
    for text in [cls.card.title, cls.card.formula, cls.card.reference, *cls.card.differences]:  # type: ignore[attr-defined]
        assert text in page
    for param in declared_params(cls).values():
        assert param.help, f"{name}: {param.name} says nothing of its meaning"
        assert f"| `{param.name}` |" in page
    for tag, preset in cls.presets.items():  # type: ignore[attr-defined]
        assert f"`{name}@{tag}`: {preset.source}" in page
        assert all("| " + "/".join(cell) + " |" in page for cell in preset.cells)
    for cited in load():
        if cited.method == name:
            assert f"| {cited.cited_from} | {cited.dataset} |" in page


def test_every_row_of_a_table_has_as_many_cells_as_its_head() -> None:
    for name, page in method_pages.method_pages().items():
        width = 0
        for line in page.splitlines():
            cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
            assert not (cells and width) or cells == width, f"{name}: {line}"
            width = cells


def test_pages_of_methods_that_are_gone_are_removed(tmp_path: Path) -> None:
    (tmp_path / "gone.md").write_text("old")
    written = method_pages.write_pages(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in written)
    assert "gone.md" not in {path.name for path in written}


def test_every_citation_has_an_entry_and_every_entry_is_cited() -> None:
    cited = {entry.load().card.citation for entry in [*METHODS, *DATASETS] if entry.origin == "zslbench"}  # type: ignore[attr-defined]
    cited |= {*sources(), bibliography.PROPOSED_SPLIT, bibliography.CALIBRATED_STACKING}
    assert cited - {""} == set(bibliography.entries())


def test_entries_are_whole() -> None:
    text = Path(bibliography.__file__).parents[1].joinpath("references.bib").read_text(encoding="utf-8")
    assert len(re.findall(r"(?m)^@\w+\{", text)) == len(bibliography.entries()), "a key stands twice"
    for key, text in bibliography.entries().items():
        assert text.count("{") == text.count("}"), key
        assert re.search(r"^  title\s+= \{.+\},$", text, re.MULTILINE), key
        assert re.search(r"^  year\s+= \{\d{4}\}$", text, re.MULTILINE), key
        assert re.search(r"\d{4}", key)[0] in text, key  # type: ignore[index]
    assert bibliography.bibtex("nobody2030") == ""


def test_the_citation_file_agrees_with_the_package() -> None:
    root = Path(__file__).parents[1]
    text = (root / "CITATION.cff").read_text(encoding="utf-8")
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    assert re.findall(r"(?m)^version: (.+)$", text) == [zslbench.__version__]
    assert re.findall(r"(?m)^license: (.+)$", text) == [project["project"]["license"]]
    assert re.findall(r"(?m)^  - name: (.+)$", text) == [author["name"] for author in project["project"]["authors"]]
    assert re.findall(r"(?m)^cff-version: (.+)$", text) == ["1.2.0"]
    assert "CITATION.cff" in project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]


def test_the_gap_between_reruns_and_published_numbers_is_that_of_the_file() -> None:
    text = (DOCS.parent / "explanation" / "public-code.md").read_text(encoding="utf-8")
    lines = text.partition("## Do published numbers come out again?")[2].splitlines()
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    harmonic: dict[tuple[str, str], dict[str, set[float]]] = {}
    for entry in load():
        if (entry.metric, entry.features, entry.semantics) == ("H", "res101", "att") and entry.kind != "other":
            kind = "re-run" if entry.source == "feng2022gasl" else "published" if entry.kind != "rerun" else ""
            harmonic.setdefault((entry.title, entry.dataset), {}).setdefault(kind, set()).add(entry.value)
    checked = 0
    for method, *cells in rows:
        for dataset, cell in zip(head[1:], cells, strict=True):
            if cell:
                printed_under = "awa2" if "(" in cell else dataset.casefold()
                (rerun,) = harmonic[method, dataset.casefold()]["re-run"]
                (published,) = harmonic[method, printed_under]["published"]
                gap = float(cell.partition(" ")[0].replace("\N{MINUS SIGN}", "-"))
                assert gap == pytest.approx(rerun - published, abs=0.051), (method, dataset)
                checked += 1
    assert checked == 30
    tuned, plain = (
        {
            (entry.title, entry.dataset): entry.value
            for entry in load()
            if (entry.source, entry.features, entry.metric) == key
        }
        for key in (("feng2022gasl", "res101_ft", "H"), ("feng2022gasl", "res101", "H"))
    )
    for dataset, sentence in (("cub", "+7.5 to +17.2"), ("awa2", "−19.7 to +4.4")):
        changes = [tuned[key] - plain[key] for key in tuned if key[1] == dataset]
        assert len(changes) == 10
        assert f"{min(changes):+.1f} to {max(changes):+.1f}".replace("-", "\N{MINUS SIGN}") == sentence
        assert sentence in text
