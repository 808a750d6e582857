"""The command line: exit codes, one sentence for bad input, streams of every kind; test_golden has what it prints."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import rich_click as click
import toy_methods
from result_records import record
from typed_commands import run_here

from zslbench.cli import VERBS, cli
from zslbench.results.plots import KINDS
from zslbench.results.records.store import ResultStore

SCRIPT = str(Path(sys.executable).with_name("zslbench"))
RIDGE = "toy_methods:Ridge"
ON_DIGITS = ["run", "-m", "eszsl", "-d", "digits"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "-m", "mine", "-d", "digits"], "A class of your own is pkg.module:Class."),
        (["run", "-m", "eszsl[gamma=x]", "-d", "digits"], "eszsl: gamma=x is not allowed"),
        (["run", "-m", "eszsl(gamma=1)", "-d", "digits"], "in brackets; write eszsl[gamma=1]."),
        (["run", "-m", "eszsl:gamma=1", "-d", "digits"], "in brackets; write eszsl[gamma=1]."),
        (["run", "-m", "eszsl[preprocess=minmx]", "-d", "digits"], "minmax"),
        (["run", "-m", "eszsl", "-d", "awa"], "awa1"),
        (["run", "-m", "eszsl", "-d", "./nowhere"], "./nowhere"),
        ([*ON_DIGITS, "--stage", "dev", "--fold", "9"], "fold 9"),
        ([*ON_DIGITS, "--seed", "-1"], "seed -1 is not allowed"),
        ([*ON_DIGITS, "--seed", "1", "--seeds", "2"], "use one of them"),
        ([*ON_DIGITS, "--seeds", "0"], "x>=1"),
        ([*ON_DIGITS, "--checkpoints", "often"], "every:N"),
        ([*ON_DIGITS, "--runs", "/dev/null/x"], "/dev/null/x"),
        (["run", "eszsl", "-d", "digits"], "unexpected extra argument (eszsl); methods are named with -m"),
        (["list", "things"], "things"),
        (["info", "no_such_module:Thing"], "no_such_module"),
        (["data", "verify", "imagenet"], "imagenet"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(typed, arguments, sentence):
    code, out, err = typed(*arguments)
    assert code == 2
    assert sentence in err
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert out == ""
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("arguments", "missing", "lines"),
    [
        (["plot", "-o", "x.pdf"], "argument 'KIND'", [f"  {kind} " for kind in KINDS]),
        (["plot", "cd"], "option '-o' / '--output'", []),
        (["reproduce"], "argument 'SOURCE'", ["  choose one of: ", " feng2022gasl, ", " li2019lisgan, "]),
        (["tune", "eszsl"], "option '-d' / '--dataset'", [", digits, "]),
    ],
)
def test_what_is_missing_is_said_with_what_may_be_given(typed, arguments, missing, lines):
    code, _, err = typed(*arguments)
    assert code == 2
    assert err.startswith(f"Error: Missing {missing}.\n")
    assert all(line in err for line in lines)


@pytest.mark.parametrize("words", [["foo", "-d", "digits"], ["kinds"], ["foo", "-o", "x.pdf"]], ids=" ".join)
def test_a_wrong_kind_of_figure_is_said_before_what_is_missing(typed, words):
    code, _, err = typed("plot", *words)
    assert (code, err.partition(";")[0]) == (2, f"Error: unknown kind of figure {words[0]!r}")


@pytest.mark.parametrize("verb", ["report", "plot cd", "results export", "table"])
def test_a_folder_as_output_is_named_as_it_was_typed(typed, verb):
    ResultStore("runs").save(record("eszsl", metrics={"T1": 0.5}))
    code, _, err = typed(*verb.split(), "-o", ".")
    assert code == 2
    assert "'.'" in err or "the table to . (" in err


def test_the_ending_of_a_file_is_its_format_where_none_is_typed(typed):
    ResultStore("runs").save(record("eszsl", metrics={"T1": 0.5}))
    formats = {".tex": "latex", ".md": "markdown", ".CSV": "csv", ".json": "json", ".txt": "terminal", "": "terminal"}
    for ending, name in formats.items():
        for file, options in (("chosen", ["-f", name]), ("by_ending", [])):
            assert typed("table", "-o", file + ending, *options)[0] == 0
        assert Path("by_ending" + ending).read_bytes() == Path("chosen" + ending).read_bytes()
    assert typed("table", "-f", "csv", "-o", "typed.md")[0] == 0
    assert Path("typed.md").read_bytes() == Path("chosen.CSV").read_bytes()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("table -o t.html", "cannot write 't.html' as html; name a file that ends in .tex, .md, .csv, .json or .txt."),
        ("reproduce li2019lisgan -o t.tex", "cannot write 't.tex' as latex; name a file that ends in .md, .csv, "),
    ],
)
def test_a_format_that_a_verb_does_not_write_is_refused_by_the_ending(typed, words, sentence):
    code, _, err = typed(*words.split())
    assert code == 2
    assert err.startswith(f"Error: {sentence}")
    assert not any(Path().iterdir())


def test_a_device_that_is_missing_is_named(typed):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    code, _, err = typed(*ON_DIGITS, "--device", "cuda")
    assert code == 2
    assert "'cuda' is not on this machine; it has: cpu" in err


def test_the_command_that_shows_a_run_works_as_typed(typed):
    _, out, _ = typed(*ON_DIGITS, "-p", "zsl", "-q", "--runs", "my runs")
    words = shlex.split(out.partition("see them with: ")[2])
    assert words == ["zslbench", "table", "--runs", "my runs"]


def test_interruption_gives_exit_code_130(typed, monkeypatch):
    def stop(method):
        raise KeyboardInterrupt

    monkeypatch.setattr(toy_methods.Ridge, "hook", staticmethod(stop))
    words = "run", "-m", RIDGE, "-d", "digits", "-p", "zsl"
    monkeypatch.setattr(sys, "argv", ["/usr/bin/zslbench", *words])
    code, out, err = typed(*words)
    assert code == 130
    assert out == (
        "0 of 1 run is done, 0 failed\n"
        "interrupted: 0 runs finished and kept, 1 run cut short and not kept; the same command begins it anew: "
        f"zslbench {shlex.join(words)}\n"
    )
    assert f"{RIDGE} digits seed 0: interrupted\n" in err


def test_doctor_says_what_is_wrong(typed):
    assert typed("doctor")[0] == 0
    code, out, _ = typed("doctor", "--runs", "/dev/null/x")
    assert code == 1
    assert "PROBLEM" in out


@pytest.mark.parametrize("verb", [["table"], ["info", "lisgan"]], ids=" ".join)
def test_output_that_cannot_be_written_and_readers_that_leave_early(tmp_path, verb):
    ResultStore(tmp_path / "runs").save(record("eszsl", metrics={"T1": 0.5}))
    if Path("/dev/full").exists():
        with Path("/dev/full").open("w") as full:
            done = subprocess.run([SCRIPT, *verb], cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 2
        assert done.stderr.startswith("Error: cannot write the output")
        assert "Traceback" not in done.stderr
    with subprocess.Popen([SCRIPT, *verb], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as early:
        early.stdout.close()
        errors = early.stderr.read().decode()
    assert early.returncode == 0
    assert errors == ""


def test_a_terminal_without_our_marks_shows_others_that_differ(tmp_path):
    for one in (
        record("sae", metrics={"T1": 0.6}),
        record("eszsl", metrics={"T1": 0.5}),
        record("lisgan", metrics={"T1": 0.7}, setting="transductive"),
        record("gazsl", metrics={"T1": 0.8}, selection="oracle", params={"k": 1}, label="gazsl[k=1]"),
        record("gazsl", metrics={"T1": 0.7}, selection="oracle", params={"k": 2}, label="gazsl[k=2]"),
        record("dem", metrics={"T1": 0.9}, title="AÄ"),
    ):
        ResultStore(tmp_path / "runs").save(one)
    poor = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""}
    rules = ["--selection", "fixed", "--selection", "oracle"]
    done = subprocess.run([SCRIPT, "table", *rules], cwd=tmp_path, env=poor, capture_output=True)
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode("ascii")
    assert "A?" in text  # the letter of a name
    marks = (
        "-----",
        "lisgan#",
        "gazsl+",
        "# transductive:",
        "Best among comparable rows marked *.",
        "ZSL, final stage . CUB",
    )
    assert not [mark for mark in marks if mark not in text]


def test_whatever_becomes_of_the_standard_streams_a_study_goes_on(tmp_path):
    study = f"{shlex.quote(SCRIPT)} run -m toy_methods:Ridge -m toy_methods:Closed -d synthetic -p zsl"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}

    def records(command: str) -> tuple[int, int]:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        done = subprocess.run(["sh", "-c", f"{command} --runs {folder}"], env=environment, capture_output=True)
        return done.returncode, sum(one.ok for one in ResultStore(folder).load())

    closed = "exec >&- 2>&- <&-;"
    assert records(f"{closed} {study} --workers 2") == (0, 2)
    if Path("/dev/full").exists():
        assert records(f"exec 2>/dev/full; {study}") == (0, 2)
    early_study = [*shlex.split(study), "--runs", "early"]
    both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(early_study, cwd=tmp_path, env=environment, **both) as early:
        assert early.stdout.readline().startswith(b"[fit 1/2]")
        early.stdout.close()  # as `2>&1 | head -1` does
    assert early.returncode == 0
    assert len(ResultStore(tmp_path / "early").load()) == 2


@pytest.mark.parametrize("name", ["COLUMNS", "LINES"])
@pytest.mark.parametrize("size", ["²", "1" * 5000, "-1", "0", "x", ""])
def test_a_terminal_of_no_size_is_one_of_the_usual_size(tmp_path, monkeypatch, name, size):
    monkeypatch.setenv(name, size)
    code, out, errors = run_here(["zslbench", "table", "--runs", str(tmp_path)])
    assert (code, out) == (2, "")
    assert errors.startswith("Error: ")
    assert "Traceback" not in errors


def pages() -> dict[str, click.Command]:
    """Return every command below `zslbench` by what is typed."""
    commands = dict(cli.commands)
    for name, group in cli.commands.items():
        commands |= {f"{name} {inner}": one for inner, one in getattr(group, "commands", {}).items()}
    return commands


@pytest.mark.parametrize(
    ("verb", "width"),
    [(verb, 80) for verb in ("", "run", "tune", "table", "plot", "data add", "watch")] + [("run", 120)],
)
def test_a_help_page_fits_the_terminal_and_has_each_option_once(verb, width, typed, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    code, out, _ = typed(*verb.split(), "--help")
    assert code == 0
    assert max(map(len, out.splitlines())) <= width
    boxes = [line for line in out.splitlines() if line.startswith("│")]
    command = pages()[verb] if verb else cli
    options = {max(option.opts, key=len) for option in command.params if isinstance(option, click.Option)}
    listed = Counter(found[1] for line in boxes if (found := re.match(r"│ [* ]{0,3}(?:-\w, )?(--[\w-]+)(?= |$)", line)))
    assert listed == Counter(options | {"--help"})


def test_long_help_pages_are_in_groups():
    for typed_words, command in pages().items():
        options = [option for option in command.params if isinstance(option, click.Option)]
        if len(options) > 10:
            assert len(command.panels) >= 2, typed_words


def test_the_help_page_of_all_verbs_names_each_in_a_group(typed):
    _, out, _ = typed("--help")
    titles = [line.strip("╭─╮ ") for line in out.splitlines() if line.startswith("╭")]
    assert titles == ["Options", *VERBS]
    named = [line[2:].split()[0] for line in out.splitlines() if re.match(r"│ [a-z]", line)]
    assert sorted(named) == sorted(cli.commands)


def test_an_option_with_words_to_choose_from_names_all_of_them():
    for typed_words, command in pages().items():
        for option in command.params:
            if isinstance(option, click.Option) and isinstance(option.type, click.Choice):
                shown = f"{option.help} {option.metavar}"
                assert all(re.search(rf"\b{choice}\b", shown) for choice in option.type.choices), (typed_words, option)
