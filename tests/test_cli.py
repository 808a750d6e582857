"""The command line: exit codes, one sentence for bad input, and what each verb prints."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import toy_methods
from result_records import record
from typed_commands import run_here

from zslbench.cli import cli
from zslbench.results.records.store import ResultStore

RIDGE = "toy_methods:Ridge"


@pytest.fixture
def type_(typed, monkeypatch):
    """Type a command on a terminal that is wide enough for every sentence (see `typed`)."""
    monkeypatch.setenv("COLUMNS", "200")
    return typed


ON_DIGITS = ["run", "-m", "eszsl", "-d", "digits"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "-m", "lisgna", "-d", "digits"], "unknown method 'lisgna'; did you mean 'lisgan'?"),
        (["run", "-m", "mine", "-d", "digits"], "A class of your own is pkg.module:Class."),
        (["run", "-m", "eszsl", "-d", "digit"], "unknown dataset 'digit'; did you mean 'digits'?"),
        ([*ON_DIGITS, "-p", "gzls"], "unknown protocol 'gzls'; did you mean 'gzsl'?"),
        (["run", "-m", "eszsl[gama=1]", "-d", "digits"], "unknown parameter of eszsl 'gama'; did you mean 'gamma'?"),
        (["run", "-m", "eszsl[gamma=-1]", "-d", "digits"], "eszsl: gamma=-1 is not allowed; gamma takes a number"),
        (["run", "-m", "eszsl[gamma=x]", "-d", "digits"], "eszsl: gamma=x is not allowed"),
        (["run", "-m", "eszsl(gamma=1)", "-d", "digits"], "in brackets; write eszsl[gamma=1]."),
        (["run", "-m", "eszsl:gamma=1", "-d", "digits"], "in brackets; write eszsl[gamma=1]."),
        (["run", "-m", "eszsl[gamma", "-d", "digits"], "cannot read 'eszsl[gamma'"),
        (["run", "-m", "eszsl[preprocess=minmx]", "-d", "digits"], "minmax"),
        (["run", "-m", "eszsl", "-d", "awa"], "awa1"),
        *((["run", "-m", "eszsl", "-d", "cub"], way) for way in ("--data-root", "data fetch", "data import")),
        (["run", "-m", "eszsl", "-d", "./nowhere"], "./nowhere"),
        ([*ON_DIGITS, "--features", "vgg19"], "vgg19"),
        ([*ON_DIGITS, "--stage", "dev", "--fold", "9"], "fold 9"),
        ([*ON_DIGITS, "--seed", "-1"], "seed -1 is not allowed"),
        ([*ON_DIGITS, "--seed", "1", "--seeds", "2"], "use one of them"),
        ([*ON_DIGITS, "--seeds", "0"], "x>=1"),
        ([*ON_DIGITS, "--device", "gpu"], "choose auto, cpu, cuda"),
        ([*ON_DIGITS, "--checkpoints", "often"], "every:N"),
        ([*ON_DIGITS, "--runs", "/dev/null/x"], "/dev/null/x"),
        (["run", "-d", "digits"], "--method"),
        (["run", "--nonsense"], "--nonsense"),
        (["nonsense"], "nonsense"),
        (["run", "eszsl", "-d", "digits"], "unexpected extra argument (eszsl); methods are named with -m"),
        (["table"], "runs"),
        (["table", "--format", "pdf"], "pdf"),
        (["list", "things"], "things"),
        (["info", "lisgon"], "did you mean 'lisgan'"),
        (["info", "no_such_module:Thing"], "no_such_module"),
        (["data", "import", "./nothing.zip"], "nothing.zip"),
        (["data", "fetch", "imagenet"], "imagenet"),
        (["data", "verify", "imagenet"], "imagenet"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(type_, arguments, sentence):
    code, out, err = type_(*arguments)
    assert code == 2
    assert sentence in err
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert out == ""
    assert not Path("runs").exists()


def test_a_device_that_is_missing_is_named(type_):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    code, _, err = type_("run", "-m", "eszsl", "-d", "digits", "--device", "cuda")
    assert code == 2
    assert "'cuda' is not on this machine; it has: cpu" in err


def test_run_then_table_in_every_format(type_):
    code, out, err = type_("run", "-m", "eszsl", "-m", "sae", "-d", "digits", "--seeds", "2")
    assert code == 0
    assert "4 of 4 runs are done, 0 failed" in out
    assert "eszsl does not depend on the seed" in out
    assert "T1" in err
    for form in ("terminal", "markdown", "latex", "csv", "json"):
        code, text, _ = type_("table", "--format", form)
        assert code == 0
        assert "ESZSL" in text
        code, _, err = type_("table", "--format", form, "-o", f"table.{form}")
        assert code == 0
        assert f"wrote table.{form}" in err
        assert Path(f"table.{form}").read_text().strip() == text.strip()
    rows = json.loads(Path("table.json").read_text())
    row = next(row for row in rows if row["method"] == "eszsl" and row["protocol"] == "gzsl")
    assert (row["seeds"], row["selection"], row["setting"]) == ([0], "fixed", "inductive")
    kept = {(one.method["name"], one.protocol["name"]): one for one in ResultStore(Path("runs")).load()}
    assert row["metrics"]["H"]["mean"] == pytest.approx(100 * kept["eszsl", "gzsl"].metrics["H"], abs=0.01)


def test_the_command_that_shows_a_run_works_as_typed(type_):
    _, out, _ = type_("run", "-m", "eszsl", "-d", "digits", "-p", "zsl", "-q", "--runs", "my runs")
    words = shlex.split(out.partition("see them with: ")[2])
    assert words == ["zslbench", "table", "--runs", "my runs"]


def test_a_failed_run_gives_exit_code_1_and_keeps_the_rest(type_):
    code, out, err = type_("run", "-m", "toy_methods:Broken", "-m", RIDGE, "-d", "digits", "-p", "zsl")
    assert code == 1
    assert "1 of 2 runs are done, 1 failed" in out
    assert "--rerun failed" in out
    assert "why: RuntimeError: no convergence" in out
    assert "failed: toy_methods:Broken digits zsl seed 0: RuntimeError: no convergence" in err
    assert "Traceback" not in err


def test_interruption_gives_exit_code_130(type_, monkeypatch):
    def stop(method):
        raise KeyboardInterrupt

    monkeypatch.setattr(toy_methods.Ridge, "hook", staticmethod(stop))
    code, out, err = type_("run", "-m", RIDGE, "-d", "digits", "-p", "zsl")
    assert code == 130
    assert "0 of 1 runs are done, 0 failed" in out
    assert "the same command goes on from here" in out
    assert f"interrupted: {RIDGE} digits zsl seed 0\n" in err


def test_dry_run_lists_and_does_nothing(type_):
    code, out, _ = type_("run", "-m", "eszsl[gamma=[1,10]]", "-d", "digits", "-d", "synthetic", "--dry-run")
    assert code == 0
    assert "8 runs, 8 to do; nothing was run" in out
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("methods", ["eszsl", "sae", "fclswgan", "lisgan"]),
        ("datasets", ["apy", "awa1", "awa2", "cub", "flo", "sun", "digits", "synthetic"]),
        ("protocols", ["zsl", "gzsl"]),
        ("presets", ["lisgan@published", "lisgan@paper", "lisgan@S3", "fclswgan@published"]),
    ],
)
def test_list(type_, kind, names):
    code, out, _ = type_("list", kind)
    assert code == 0
    assert all(any(line.startswith(name) for line in out.splitlines()) for name in names)


LISGAN = ("cls_weight", "l_r1", "cascade", "@published", "@S1", "CVPR 2019", "58.8")


@pytest.mark.parametrize("name", ["lisgan", "fclswgan", "eszsl", "sae", "cub", "digits", "synthetic", "gzsl", RIDGE])
def test_info_shows_parameters_presets_ablations_and_published_numbers(type_, name):
    code, out, _ = type_("info", name)
    assert code == 0
    assert all(text in out for text in (name, *(LISGAN if name == "lisgan" else ())))


def test_doctor_finds_versions_and_folders(type_):
    code, out, _ = type_("doctor")
    assert code == 0
    for text in ("zslbench", "torch", "cpu", "home", "runs"):
        assert text in out
    code, out, _ = type_("doctor", "--runs", "/dev/null/x")
    assert code == 1
    assert "PROBLEM" in out


def test_every_help_page_ends_with_examples(type_):
    pages = [[name] for name in cli.commands] + [["data", name] for name in cli.commands["data"].commands]
    for page in [[], *pages]:
        code, out, _ = type_(*page, "--help")
        assert code == 0
        tail = out[out.rindex("Examples:") :]
        assert f"zslbench {' '.join(page)}".strip() in " ".join(tail.split()), page


@pytest.mark.parametrize("verb", [["table"], ["info", "lisgan"]], ids=" ".join)
def test_output_that_cannot_be_written_and_readers_that_leave_early(tmp_path, verb):
    script = str(Path(sys.executable).with_name("zslbench"))
    ResultStore(tmp_path / "runs").save(record("eszsl", metrics={"T1": 0.5}))
    if Path("/dev/full").exists():
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                [script, *verb], cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False
            )
        assert done.returncode == 2
        assert done.stderr.startswith("Error: cannot write the output")
        assert "Traceback" not in done.stderr
    with subprocess.Popen([script, *verb], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as early:
        early.stdout.close()
        errors = early.stderr.read().decode()
    assert early.returncode == 0
    assert errors == ""


def test_a_terminal_without_our_marks_shows_others_that_differ(tmp_path):
    script = str(Path(sys.executable).with_name("zslbench"))
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
    done = subprocess.run([script, "table", *rules], cwd=tmp_path, env=poor, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode("ascii")
    assert "A?" in text  # the letter of a name
    for expected in (
        "-----",
        "lisgan#",
        "gazsl+",
        "60.0o",
        "# transductive:",
        "second best marked o.",
        "trainval -> test",
    ):
        assert expected in text


def test_whatever_becomes_of_the_standard_streams_a_study_goes_on(tmp_path):
    script = str(Path(sys.executable).with_name("zslbench"))
    study = f"{shlex.quote(script)} run -m toy_methods:Ridge -m toy_methods:Closed -d synthetic -p zsl"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}

    def records(command: str) -> tuple[int, int]:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        done = subprocess.run(
            ["sh", "-c", f"{command} --runs {folder}"], env=environment, check=False, capture_output=True
        )
        return done.returncode, sum(one.ok for one in ResultStore(folder).load())

    closed = "exec >&- 2>&- <&-;"
    assert records(f"{closed} {study} --workers 2") == (0, 2)
    if Path("/dev/full").exists():
        assert records(f"exec 2>/dev/full; {study}") == (0, 2)
    with subprocess.Popen(
        [*shlex.split(study), "--runs", "early"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as early:
        assert early.stdout.readline().startswith(b"[1/2]")
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
