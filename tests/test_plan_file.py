"""Plan files: what they mean, what they refuse, and that nothing in one is ever a traceback."""

from __future__ import annotations

import inspect
import os
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typed_commands import blocks

import zslbench
from zslbench.errors import BadValue, UnknownName, ZslbenchError
from zslbench.results.records.store import ResultStore
from zslbench.runner.plan import PlanFileKeys, RunOptions, read_plan

PAGE = (Path(__file__).parent.parent / "docs" / "how-to" / "plans.md").read_text(encoding="utf-8")
RIDGE = "toy_methods:Ridge"
DIGITS = 'methods = "eszsl"\ndatasets = "digits"'


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Write a plan file in an empty folder and go there."""
    monkeypatch.chdir(tmp_path)

    def write(text: str, name: str = "study.toml") -> Path:
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text, encoding="utf-8")
        return Path(name)

    return write


def test_the_example_of_the_documentation_is_planned(written, typed):
    (example,) = [block.text for block in blocks(PAGE) if block.title == "study.toml"]
    written(example)
    code, out, err = typed("run", "--plan", "study.toml", "--dry-run")
    assert code == 0, err
    # 4 closed forms on 2 data sets under 2 protocols, and 2 generative ones on 1 with 2 seeds
    assert f"{4 * 2 * 2 + 2 * 2 * 2} runs, {4 * 2 * 2 + 2 * 2 * 2} to do" in out
    assert "time: unknown, nothing comparable was run (12 of eszsl, 4 of sae, 8 of lisgan)" in out
    assert not Path("study-runs").exists()


def test_a_plan_can_say_all_that_run_takes_and_the_documentation_names_every_key():
    elsewhere = {"plan", "rerun", "resume", "dry_run", "console", "hear", "raise_errors", "log", "progress"}
    elsewhere |= {*PlanFileKeys.__struct_fields__}
    assert set(RunOptions.__struct_fields__) == inspect.signature(zslbench.run).parameters.keys() - elsewhere
    told = set(re.findall(r"`(\w+)`", PAGE.partition("## Keys")[2]))
    assert told >= {*RunOptions.__struct_fields__, *PlanFileKeys.__struct_fields__}


def test_studies_inherit_from_the_top_and_paths_are_relative_to_the_file(written):
    text = """
        runs = "records"
        methods = ["eszsl"]
        datasets = ["./mine", "cub", "a/b", "synthetic[classes=30]"]
        seeds = [4, 5]
        data_root = "xlsa"
        [[study]]
        [[study]]
        name = "deep"
        seeds = 2
        methods = "lisgan"
        data_root = "/data"
    """
    plan = read_plan(written(text, "plans/study.toml"))
    here = Path.cwd() / "plans"
    shared = {"datasets": [str(here / "mine"), "cub", str(here / "a/b"), "synthetic[classes=30]"]}
    assert plan.studies == {
        "study 1": RunOptions(methods=["eszsl"], seeds=[4, 5], data_root=str(here / "xlsa"), **shared),
        "deep": RunOptions(methods="lisgan", seeds=2, data_root="/data", **shared),
    }
    assert plan.runs == here / "records"
    assert plan.device is None


@pytest.mark.parametrize(
    ("text", "error", "sentence"),
    [
        ('sedes = 3\nmethods = "eszsl"', UnknownName, "unknown key in study.toml 'sedes'; did you mean 'seeds'"),
        ('[[study]]\nmethod = "eszsl"', UnknownName, "did you mean 'methods'"),
        ('methods = "eszsl"', BadValue, "study.toml: it names no datasets; write datasets = "),
        ('datasets = "digits"', BadValue, "names no methods"),
        ("methods = 3", BadValue, "methods is 3; write a text or a list of texts"),
        ("methods = []", BadValue, r"methods is \[\]; write a text or a list"),
        ("seeds = true", BadValue, "seeds is True; write how many seeds, or a list"),
        ("seeds = 0", BadValue, "seeds is 0"),
        ('stage = "test"', BadValue, "stage is 'test'; write one of final, dev"),
        ('oracle = "yes"', BadValue, "oracle is 'yes'; write true or false"),
        ('study = "one"', BadValue, r"study must be tables; write \[\[study\]\]"),
        ('[[study]]\ndevice = "cpu"', BadValue, "device holds for the whole file"),
        (f'{DIGITS}\n[[study]]\nname = "a"\n[[study]]\nname = "a"', BadValue, "study 2: name is 'a'"),
        ("methods = [", BadValue, "is not TOML"),
        ("a = " + "[" * 5000, BadValue, "nested too deep|is not TOML"),
        (f"{DIGITS}\nseeds = 1000000000000", BadValue, "choose from 1 to 10000"),
        (f"{DIGITS}\nfold = [1, 2]", BadValue, "fold 1, 2 belongs to the dev stage"),
        (f'{DIGITS}\ncheckpoints = "often"', BadValue, "study.toml: checkpoints"),
        ('methods = "eszsl"\ndatasets = "~nobodyhere/x"', BadValue, "'.*nobodyhere/x' does not exist; name a folder"),
        ('methods = "lisgna"\ndatasets = "digits"', BadValue, "study.toml: unknown method 'lisgna'; did you"),
        ('methods = "eszsl[gamma=[1..9999],lam=[1..9999]]"\ndatasets = "digits"', BadValue, "99980001 points"),
    ],
)
def test_what_a_plan_cannot_say_gets_a_sentence(written, text, error, sentence):
    with pytest.raises(error, match=sentence):
        zslbench.run(plan=written(text), dry_run=True)


def test_files_that_are_no_plan(tmp_path):
    (tmp_path / "latin").write_bytes(b'methods = "\xe9"')
    (tmp_path / "large").write_bytes(b"#" * 2_000_000)
    wrong = {
        "none": "does not exist",
        ".": "is a folder",
        os.devnull: "is not a regular file",
        "latin": "UTF-8",
        "large": "larger",
    }
    for name, sentence in wrong.items():
        with pytest.raises(BadValue, match=sentence):
            read_plan(tmp_path / name)
    with pytest.raises(BadValue, match=r"name a TOML file such as docs/how-to/plans\.md shows"):
        read_plan(tmp_path / "none")


PLAN = f"""
runs = "records"
datasets = "digits"
[[study]]
methods = ["{RIDGE}", "toy_methods:Closed"]
[[study]]
name = "judged"
methods = "{RIDGE}[ridge=2]"
protocols = "zsl"
checkpoints = "every:2"
[[study]]
name = "again, and oracle"
methods = ["{RIDGE}", "{RIDGE}[ridge=3]"]
oracle = true
"""


def test_a_plan_runs_each_study_in_its_way_and_no_run_twice(written, monkeypatch):
    monkeypatch.setattr("toy_methods.Ridge.fits", fits := [])
    path = written(PLAN)
    outcome = zslbench.run(plan=path)
    assert len(outcome.records) == len(outcome.states) == 4 + 1 + 2
    assert len(fits) == 4
    assert {len(record.curve) for record in outcome.records if record.method["params"]["ridge"] == 2} == {2}
    assert {len(record.curve) for record in outcome.records if record.method["params"]["ridge"] != 2} == {0}
    assert [record.selection for record in outcome.records].count("oracle") == 2
    assert len(ResultStore("records").load()) == 7
    again = zslbench.run(plan=path)
    assert len(fits) == 4
    assert [state for _, state in again.states_before].count("done") == 7


def test_typed_beside_a_plan(written, typed):
    written(PLAN)
    for words, told in (
        (["-m", "eszsl"], "--method cannot be combined with --plan study.toml"),
        (["--seeds", "2", "--oracle"], "--seeds, --oracle cannot be combined with"),
        (["--stage", "final"], "--stage cannot be combined"),
    ):
        code, _, err = typed("run", "--plan", "study.toml", *words)
        assert code == 2
        assert told in " ".join(err.split())
    code, out, _ = typed("run", "--plan", "study.toml", "--runs", "other", "-q")
    assert code == 0
    assert "7 of 7 runs are done" in out
    assert "--runs other" in out
    assert not Path("records").exists()
    code, out, _ = typed("run", "--plan", "study.toml", "-q", "--dry-run")
    assert "7 runs, 7 to do; nothing was run" in out
    with pytest.raises(BadValue, match=r"methods, seeds cannot be combined with the plan study\.toml"):
        zslbench.run("eszsl", seeds=3, plan="study.toml")


def test_what_a_plan_says_of_its_engine_and_profile(written, typed):
    path = written(f'workers = 2\ntime_limit = "1h"\nmethods = "{RIDGE}"\ndatasets = "digits"')
    assert zslbench.run(plan=path, dry_run=True).estimate.workers == 2
    zslbench.run(RIDGE, "digits", seeds=[1], runs="runs")  # something to estimate from
    for words, told in (
        ([], " with 2 workers "),
        (["--workers", "3"], " with 3 workers "),
        (["--engine", "serial"], ""),
    ):
        code, out, err = typed("run", "--plan", "study.toml", "--dry-run", *words)
        assert code == 0, err
        assert told in out if told else "workers" not in out
    code, _, err = typed("run", "--plan", "study.toml", "--dry-run", "--scheduler", "tcp://nowhere:1")
    assert code == 2
    written(f'profile = true\nmethods = "{RIDGE}"\ndatasets = "digits"\nruns = "profiled"')
    code, out, _ = typed("run", "--plan", "study.toml", "-q")
    assert "seconds per phase" in out
    written('engine = "steam"\nmethods = "eszsl"\ndatasets = "digits"')
    with pytest.raises(BadValue, match="engine 'steam' does not exist"):
        zslbench.run(plan=path, dry_run=True)


# --- fuzz ----------------------------------------------------------------------------------------

WORDS = "eszsl digits zsl gzsl lisgan@S3 eszsl[gamma=[1,2]] x a/b ~ synthetic cpu dev"
SPECS = st.sampled_from(["", *WORDS.split()]) | st.text(max_size=20)
VALUES = st.recursive(
    st.booleans() | st.integers() | st.floats() | SPECS | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from([*RunOptions.__struct_fields__, *PlanFileKeys.__struct_fields__, "name", "study"]) | st.text(
    max_size=8
)
TABLES = st.dictionaries(KEYS, VALUES, max_size=6)


def toml(value: object) -> str:
    """Write a value as TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(key)} = {toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return quoted(value) if isinstance(value, str) else str(value)


def quoted(text: str) -> str:
    return '"' + "".join(f"\\U{ord(one):08x}" for one in text) + '"'


def planned_or_told(folder: Path, raw: bytes) -> None:
    (folder / "plan.toml").write_bytes(raw)
    try:
        zslbench.run(plan=folder / "plan.toml", dry_run=True)
    except ZslbenchError as error:
        assert str(error).strip()  # noqa: PT017


@settings(max_examples=60, deadline=10_000)
@given(top=TABLES, studies=st.lists(TABLES, max_size=2))
def test_any_toml_is_a_plan_or_a_sentence(tmp_path_factory, top, studies):
    text = "".join(f"{quoted(key)} = {toml(value)}\n" for key, value in top.items() if key != "study" or not studies)
    for study in studies:
        text += "[[study]]\n" + "".join(f"{quoted(key)} = {toml(value)}\n" for key, value in study.items())
    tomllib.loads(text)  # what is tried is TOML
    planned_or_told(tmp_path_factory.getbasetemp(), text.encode("utf-8"))


@settings(max_examples=100, deadline=10_000)
@given(data=st.data())
def test_a_damaged_plan_is_a_plan_or_a_sentence(tmp_path_factory, data):
    raw = bytearray(PLAN.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    planned_or_told(tmp_path_factory.getbasetemp(), bytes(raw))
