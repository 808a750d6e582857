"""What documentation tells people to type: the fenced blocks of a page, and commands out of them, run or parsed."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
import shlex
from pathlib import Path

import click

from zslbench.cli import cli, main
from zslbench.params import resolve
from zslbench.registry import DATASETS, METHODS
from zslbench.spec import expand, parse

ROOT = Path(__file__).resolve().parent.parent

_FENCE = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
_RUNNING = ("run", "ablate")


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block: its language, the file name that it is titled with, and what it holds."""

    kind: str
    title: str
    text: str

    def commands(self) -> list[list[str]]:
        """Return the words of each command, without comments; pip's are left to pip."""
        lines = self.text.replace("\\\n", " ").splitlines()
        words = [shlex.split(line, comments=True) for line in lines]
        return [line for line in words if line and line[0] != "pip"]


def blocks(page: str) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    return [Block(kind, title, text) for kind, title, text in _FENCE.findall(page)]


def commands(kind: str, page: str) -> list[list[str]]:
    """Return the commands of all blocks of one kind."""
    return [line for block in blocks(page) if block.kind == kind for line in block.commands()]


def run_here(arguments: list[str]) -> tuple[int, str, str]:
    """Run a command in this process and the working folder; return its exit code, output and errors."""
    assert arguments[0] == "zslbench"
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        try:
            main(arguments[1:])
        except SystemExit as end:
            return int(end.code or 0), out.getvalue(), errors.getvalue()


def parsed(arguments: list[str]) -> dict[str, object]:
    """Parse a command line without running it; wrong verbs and options raise."""
    assert arguments[0] == "zslbench"
    command, rest = cli, list(arguments[1:])
    while isinstance(command, click.Group):
        command = command.commands[rest.pop(0)]
    return command.make_context(command.name, rest).params


def check_names(arguments: list[str]) -> None:
    """Parse a command line and look up the methods, parameters and data sets that it names."""
    options = parsed(arguments)
    one = options.get("method")
    for text in (*(options.get("methods") or ()), *([one] if isinstance(one, str) else [])):
        for spec in expand(parse(text)):
            resolve(METHODS.load(spec.name), spec.name, spec.params)
    if arguments[1] in _RUNNING:  # others read records, which may be of any data
        for text in options["datasets"]:
            assert text.startswith("./") or DATASETS.entry(parse(text).name)
