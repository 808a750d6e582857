"""The commands of the studies are ones that zslbench understands, on the data that they name."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from zslbench.cli import cli
from zslbench.spec import parse

PAGES = sorted((Path(__file__).resolve().parent.parent / "docs" / "studies").glob("*.md"))
STUDIES = [page for page in PAGES if "zslbench run" in page.read_text(encoding="utf-8")]


def commands(study: Path) -> list[list[str]]:
    blocks = re.findall(r"^```sh\n(.*?)^```", study.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if line.strip()]


def test_there_are_studies_of_both_data_sets() -> None:
    assert [study.stem for study in STUDIES] == ["cub-fc1000", "cub-tuned", "defaults", "flowers", "lisgan-questions"]


@pytest.mark.realdata
@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.stem)
def test_run_commands_plan_what_they_say(
    study: Path, real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "xlsa17").symlink_to(real_data)
    runs = [words for words in commands(study) if words[1] == "run"]
    assert len(runs) >= 2
    for words in runs:
        plain = [word.replace("@tuned", "") for word in words]  # what tuning found is on the page, not in this folder
        done = CliRunner().invoke(cli, [*plain[1:], "--dry-run"])
        assert done.exit_code == 0, (words, done.output)
        assert "nothing was run" in done.output


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.stem)
def test_other_commands_are_understood(study: Path) -> None:
    others = [words for words in commands(study) if words[1] != "run"]
    assert (
        others or study.stem == "defaults"
    )  # the tables of other pages are printed by a command; its own is set by hand
    for words in others:
        command = cli.commands[words[1]]
        command.make_context(command.name, words[2:])


@pytest.mark.parametrize("study", [study for study in STUDIES if "| method" in study.read_text()], ids=lambda s: s.stem)
def test_every_method_that_was_run_has_a_row(study: Path) -> None:
    text = study.read_text(encoding="utf-8")
    tables = [part for part in text.split("\n\n") if part.startswith("| method") and re.search(":---|---:", part)]
    named = {parse(words[at + 1]).name for words in commands(study) for at, word in enumerate(words) if word == "-m"}
    lines = [line for table in tables for line in table.splitlines()[2:]]
    rows = {re.split(r"\W", line.removeprefix("| "))[0].lower() for line in lines}
    assert named == rows
