"""The commands of the studies are ones that zslbench understands, on the data that they name."""

from __future__ import annotations

import re

import pytest
from typed_commands import ROOT, commands, parsed, run_here

from zslbench.runner import probe
from zslbench.spec import parse

PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs" / "studies").glob("*.md"))}
STUDIES = {name: page for name, page in PAGES.items() if "```sh\nzslbench" in page and "xlsa17" in page}
"""Others are of random arrays, or of pictures."""
of_every_study = pytest.mark.parametrize("name", STUDIES)


def test_there_are_studies_of_both_data_sets():
    assert list(STUDIES) == ["cub-fc1000", "cub-tuned", "defaults", "field", "flowers", "lisgan-questions", "quick"]


@pytest.mark.realdata
@of_every_study
def test_run_commands_plan_what_they_say(name, real_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(probe, "probe", lambda *given: None)  # some steps of each network, for a forecast
    (tmp_path / "xlsa17").symlink_to(real_data)
    runs = [words for words in commands("sh", STUDIES[name]) if words[1] == "run"]
    assert len(runs) >= 2
    for words in runs:
        plain = [word.replace("@tuned", "") for word in words]  # what tuning found is on the page, not in this folder
        code, out, errors = run_here([*plain, "--dry-run"])
        assert code == 0, (words, errors)
        assert "nothing was run" in out


@of_every_study
def test_other_commands_are_understood(name):
    others = [words for words in commands("sh", STUDIES[name]) if words[1] != "run"]
    assert others or name == "defaults"  # tables of other pages are printed by a command; its own is set by hand
    for words in others:
        parsed(words)


@pytest.mark.parametrize("page", [pytest.param(page, id=name) for name, page in STUDIES.items() if "| method" in page])
def test_every_method_that_was_run_has_a_row(page):
    tables = [part for part in page.split("\n\n") if part.startswith("| method") and re.search(":---|---:", part)]
    typed = commands("sh", page)
    named = {parse(words[at + 1]).name for words in typed for at, word in enumerate(words) if word == "-m"}
    lines = [line for table in tables for line in table.splitlines()[2:]]
    rows = {re.split(r"\W", line.removeprefix("| ").lstrip("`"))[0].lower() for line in lines}
    assert named == rows
