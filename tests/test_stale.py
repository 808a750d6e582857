"""No stale number: a method's source is that of all its project's files, as it is now, and no record runs code."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner
from matplotlib.text import Text
from result_records import record

import zslbench
from zslbench import sources
from zslbench.cli import cli as command_line
from zslbench.errors import RecordsLeftOut, ZslbenchError
from zslbench.registry import METHODS as REGISTERED
from zslbench.results.records.requests import RequestedMethod, RequestedRuns, keep_request, make_request
from zslbench.results.records.store import ResultStore
from zslbench.runner.class_lookup import method_class
from zslbench.sources import SourceCheck, source_of

METHOD = '''
from dataclasses import dataclass
from typing import ClassVar
import numpy as np
from zslbench.methods import Method, MethodCard, Setting
{imports}

@dataclass(kw_only=True)
class Near(Method):
    """A ridge regression to semantics."""

    card: ClassVar[MethodCard] = MethodCard(
        title="Near", summary="x", citation="me", reference="me", version=1, setting=Setting.INDUCTIVE, stochastic=False
    )

    def fit(self, train, ctx):
        x, s = train.features, train.classes.semantics[train.classes.positions(train.labels)]
        self.weights_ = np.linalg.solve(x.T @ x + np.eye(x.shape[1]), x.T @ s)
        return self

    def scores(self, features, classes):
        return {scale} * np.linalg.norm((features @ self.weights_)[:, None] - classes.semantics, axis=2)
'''


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def cli(forks):
    """Type a command in a new process, in a folder with modules of its own; return what it printed."""

    def type_(folder: Path, *words: str, path: Sequence[Path] = ()) -> str:
        done = forks.type(*words, folder=folder, path=path)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return type_


@pytest.fixture
def python(forks):
    """Run a program in a Python session that has no file, as a notebook has; return the JSON lines it printed."""

    def run(folder: Path, program: str) -> list[dict]:
        done = forks.run(program, folder)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    return run


@pytest.fixture
def project(tmp_path):
    """A flat module with a helper beside it, and a package whose method needs a module of another subpackage."""
    (tmp_path / "near.py").write_text(METHOD.format(imports="from helper import scale", scale="scale()"))
    (tmp_path / "helper.py").write_text("def scale(): return -1.0\n")
    package = tmp_path / "proj" / "methods"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("")
    (package / "__init__.py").write_text("")
    (package / "near.py").write_text(METHOD.format(imports="from ..util import scale", scale="scale()"))
    shutil.copy(tmp_path / "helper.py", package.parent / "util.py")
    return tmp_path


METHODS = ["near:Near", "proj.methods.near:Near"]
RUN_BOTH = ("run", "-m", METHODS[0], "-m", METHODS[1], "-d", "digits", "-p", "zsl")


def test_helpers_of_a_flat_module_and_of_a_package_belong_to_the_source(project, monkeypatch, cli):
    monkeypatch.chdir(project)
    cli(project, *RUN_BOTH)
    assert zslbench.status().complete
    first = {record.id: record for record in ResultStore("runs").load()}
    for name in ("helper.py", "proj/util.py"):
        (project / name).write_text("def scale(): return 1.0\n")
    status = zslbench.status()
    assert sorted(status.survey.states.values()) == ["stale", "stale"]
    assert f"stale: the source of the method has changed since 2 runs of {', '.join(METHODS)}" in status.text
    kept = cli(project, *RUN_BOTH, "--rerun", "none")
    assert "the source of near:Near has changed since it was run: 1 run of it is kept (--rerun stale" in kept
    assert {record.id: record for record in ResultStore("runs").load()} == first
    again = cli(project, *RUN_BOTH)
    assert "the source of near:Near has changed since it was run: 1 run of it is done again (--rerun none" in again
    assert zslbench.status().complete
    assert not any(record.metrics == first[record.id].metrics for record in ResultStore("runs").load())


def test_a_failed_run_of_an_own_method_is_tried_again_once_its_source_has_changed(project, forks):
    words = ("run", "-m", "near:Near", "-d", "digits", "-p", "zsl")
    right, wrong = "def scale(): return -1.0\n", "def scale(): return 1 / 0\n"
    changed = "the source of near:Near has changed since it was run: 1 failed run of it is tried again (--rerun none"

    def type_(*more: str) -> str:
        done = forks.type(*words, *more, folder=project)
        return done.stdout + done.stderr

    (project / "helper.py").write_text(wrong)
    first = type_()
    assert "0 of 1 run is done, 1 failed" in first
    assert "not tried again" not in first
    assert "; try again with --rerun failed" in first
    unchanged = type_()
    assert changed not in unchanged
    assert unchanged.index("1 failed run was not tried again; --rerun failed does") < unchanged.index("why: ")
    (project / "helper.py").write_text(right)
    kept = type_("--rerun", "none")
    assert "1 failed run was not tried again; --rerun failed does" in kept
    assert changed not in kept
    again = type_()
    assert changed in again
    assert "1 of 1 run is done, 0 failed" in again


@pytest.mark.parametrize("way", ["linked module", "linked helper", "two folders", "by a call", "a path of its own"])
def test_helpers_count_wherever_they_lie(tmp_path, way, cli):
    mine, lib = tmp_path / "mine", tmp_path / "lib"
    mine.mkdir(), lib.mkdir()
    imports = "from helper_of_near import scale"
    helper, module = mine / "helper_of_near.py", mine / "near.py"
    path = [lib] if way == "two folders" else []
    if way == "linked module":
        module.symlink_to(lib / "near.py")
    elif way == "linked helper":
        helper.symlink_to(lib / "helper_of_near.py")
    elif way == "by a call":
        imports = "import importlib; scale = importlib.import_module('helper_of_near').scale"
    else:
        helper = lib / "helper_of_near.py"
        imports = imports if path else f"import sys; sys.path.append({str(lib)!r}); {imports}"
    module.write_text(METHOD.format(imports=imports, scale="scale()"))
    helper.write_text("def scale(): return -1.0\n")
    words = ("run", "-m", "near:Near", "-d", "digits", "-p", "zsl")
    cli(mine, *words, path=path)
    assert "complete: 1 row" in cli(mine, "status", path=path)
    assert "0 to do" in cli(mine, *words, "--dry-run", path=path)
    helper.write_text("def scale(): return 1.0\n")
    stale = "1 stale" in cli(mine, "status", path=path)
    assert stale is (way != "a path of its own")  # `status` runs nothing, so it cannot look there
    assert "is done again" in cli(mine, *words, path=path)


def test_status_reads_files_and_imports_none(project, monkeypatch, cli):
    monkeypatch.chdir(project)
    for name in ("near.py", "proj/methods/near.py"):
        source = (project / name).read_text()
        (project / name).write_text(source + "\nopen('imported.txt', 'a').write('.')\n")
    cli(project, *RUN_BOTH)
    (project / "imported.txt").unlink()
    for one in ResultStore("runs").load():  # as if a command for gzsl had been killed
        method = RequestedMethod(one.method["name"], one.label, dict(one.method["params"]))
        data = (str(one.dataset[key]) for key in ("name", "features", "semantics", "origin", "fingerprint"))
        keep_request(Path("runs"), make_request([(method, RequestedRuns(*data, "gzsl", "{}", "final", 0, (0,)))]))
    status = zslbench.status(verify=True)
    assert {str(slot) for slot in status.survey.of("missing")} == {
        f"{name} digits (pixels, strokes) gzsl seed 0" for name in METHODS
    }
    zslbench.report()
    zslbench.table()
    zslbench.plot("pareto", metrics=["T1"])
    zslbench.results.gc(stale=None)
    assert not (project / "imported.txt").exists()
    assert not {"near", "proj"} & set(sys.modules)


SESSION = """
import importlib, json, linecache, sys, zslbench
from pathlib import Path
from zslbench.results.records.store import ResultStore

def report(step, name, rerun=None):
    outcome = zslbench.run(name, "digits", "zsl", rerun=rerun)
    (_, before), = outcome.states_before
    record, = outcome.records
    print(json.dumps({"step": step, "before": before, "now": outcome.states[0][1], "remarks": outcome.remarks,
                      "T1": record.metrics["T1"], "source": record.provenance["method_source"]}))
"""


def test_a_reload_is_seen_and_an_edit_without_one_is_said(project, python):
    edit = "Path('helper.py').write_text('def scale(): return %s\\n')\n"
    steps = python(
        project,
        SESSION
        + "import near\nreport('first', 'near:Near')\n"
        + edit % "1.0"
        + "report('edited', 'near:Near')\n"
        + "importlib.reload(sys.modules['helper']); importlib.reload(near)\nreport('reloaded', 'near:Near')\n"
        + edit % "-1.0"
        + "importlib.reload(sys.modules['helper']); importlib.reload(near)\nreport('reverted', 'near:Near', 'none')\n"
        + "report('again', 'near:Near')\nreport('last', 'near:Near')\n",
    )
    by_step = {step["step"]: step for step in steps}
    assert [step["before"] for step in steps] == ["to run", "done", "stale", "stale", "stale", "done"]
    assert [step["now"] for step in steps] == ["done", "done", "done", "stale", "done", "done"]
    assert "helper.py of near:Near changed after this session imported it" in " ".join(steps[1]["remarks"])
    assert not any("imported it" in remark for step in steps[2:] for remark in step["remarks"])
    assert by_step["edited"]["source"] == by_step["first"]["source"] == by_step["last"]["source"]
    assert by_step["reloaded"]["source"] != by_step["first"]["source"]
    assert by_step["reloaded"]["T1"] != by_step["first"]["T1"] == by_step["last"]["T1"]


def test_a_class_of_a_notebook_cell_is_its_text_and_what_it_uses_of_other_cells(project, python):
    cells = """
def cell(number, text):  # as IPython executes one
    name = f"<ipython-input-{number}>"
    linecache.cache[name] = len(text), None, text.splitlines(True), name
    exec(compile(text, name, "exec"), globals())

METHOD = GIVEN
cell(1, "SIGN = -1.0")
cell(2, "def scale(): return SIGN")
cell(3, METHOD)
report("first", "__main__:Near")
report("same", "__main__:Near")
print(json.dumps({"states": sorted(zslbench.status().survey.states.values())}))
cell(4, "SIGN = 1.0")
report("constant", "__main__:Near")
cell(5, "def scale(): return 2 * SIGN")
status = zslbench.status()
print(json.dumps({"states": sorted(status.survey.states.values())}))
print(json.dumps({"text": status.text, "commands": len(status.commands)}))
report("function", "__main__:Near")
cell(6, METHOD + "# mended")
report("class", "__main__:Near")
exec(METHOD)
report("no text", "__main__:Near")
report("no text", "__main__:Near")
report("no text, kept", "__main__:Near", "none")
""".replace("GIVEN", repr(METHOD.format(imports="", scale="scale()")))
    steps = python(project, SESSION + cells)
    assert [step["states"] for step in steps if "states" in step] == [["done"], ["stale"]]
    (status,) = (step for step in steps if "text" in step)
    assert status["commands"] == 0
    assert "__main__:Near was defined in a script or notebook: what it lacks is done there" in status["text"]
    steps = [step for step in steps if "text" not in step]
    assert [step["before"] for step in steps if "before" in step] == ["to run", "done", *["stale"] * 6]
    assert "no source text to compare" in steps[-2]["remarks"][0]
    assert steps[0]["T1"] != steps[3]["T1"]


def test_a_record_that_was_altered_by_hand_is_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    zslbench.run(["eszsl", "sae"], "digits", "zsl")
    (path,) = Path("runs/digits/zsl/eszsl").glob("*.json")
    sound = path.read_text()
    for old, new in (('"gamma": 1000.0', '"gamma": 1.0'), ('"seed": 0', '"seed": 3'), (path.stem, "0" * 16)):
        assert old in sound
        path.unlink()
        path = path.with_name(f"{'0' * 16 if new == '0' * 16 else path.stem}.json")
        path.write_text(sound.replace(old, new))
        status = zslbench.status(verify=True)
        assert not status.complete
        assert not status.verification.ok
        assert f"MISMATCH: run {path.stem}: its content is not that of its id" in status.text
        assert zslbench.run("eszsl", "digits", "zsl", dry_run=True).count("to run") == 1
        assert 'methods = ["eszsl"]\ndatasets = ["digits"]\nprotocols = ["zsl"]' in status.plan
        with pytest.warns(RecordsLeftOut, match="is not the record that it was"):
            assert zslbench.table(format="csv").text.count("eszsl") == 0
        done = zslbench.run("eszsl", "digits", "zsl")
        assert ([state for _, state in done.states_before], done.count("done")) == (["to run"], 1)
        if path.stem == "0" * 16:
            path.unlink()  # nothing is ever written to a name that is the id of no run
        assert zslbench.status(verify=True).complete


def test_reading_a_strangers_records_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "payload.py").write_text("open('code-ran.txt', 'w').close()\nclass M: pass\n")
    zslbench.run("eszsl", "digits", "zsl")
    (mine,) = ResultStore("runs").load()
    arrays = ResultStore("runs").predictions(mine)
    for rows in (
        {"method": "payload:M"},
        {"protocol": "payload:M"},
        {"dataset": "payload:M"},
    ):
        stranger = record(**{"method": "eszsl", "dataset": "digits", "protocol": "zsl", "origin": "builtin"} | rows)
        ResultStore("runs").save(dataclasses.replace(stranger, provenance={"method_files": {"payload": "payload.py"}}))
        ResultStore("runs").save(stranger, arrays)
    status = zslbench.status(verify=True)
    zslbench.report()
    zslbench.table()
    for kind in ("confusion", "perclass", "pareto", "sensitivity", "curve"):
        with contextlib.suppress(ZslbenchError):
            zslbench.plot(kind)
    with contextlib.suppress(ZslbenchError):
        zslbench.compare()
    zslbench.results.gc(failed=True)
    assert CliRunner().invoke(command_line, ["results", "gc", "--stale"]).exit_code == 0
    assert "payload:M" in status.text
    assert not (tmp_path / "code-ran.txt").exists()
    zslbench.status(methods="payload:M")  # typed, so it may be imported
    assert (tmp_path / "code-ran.txt").exists()


@pytest.mark.parametrize("path", ["../secret.py", "/etc/hostname", "pipe", "link.py", ".", "x\0y"])
def test_files_that_a_record_names_are_read_below_the_working_folder_alone(tmp_path, monkeypatch, path):
    secret = tmp_path / "secret.py"
    secret.write_text("x = 1\n")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    os.mkfifo("pipe")
    Path("link.py").symlink_to(secret)
    digest = sources._digest({"other": secret.read_bytes()})
    facts = {"method_source": digest, "method_files": {"other": path}}
    assert SourceCheck().state("other:M", facts) == "unknown"
    shutil.copy(secret, "other.py")
    assert SourceCheck().state("other:M", {**facts, "method_files": {"other": "other.py"}}) == "current"


@pytest.mark.parametrize(
    "files", [None, [], {}, {"a": 1}, {"..": "x"}, {"a b": ""}, {f"m{i}": "" for i in range(2000)}]
)
def test_whatever_a_record_says_of_its_files_is_no_traceback(files):
    facts = {"method_source": "0" * 16, "method_files": files}
    assert SourceCheck().state("other:M", facts) == "unknown"


def test_the_source_of_every_method_is_found_without_importing_it():
    for name in REGISTERED.builtin_names():
        source = source_of(method_class(name))
        facts = {"method_source": source.digest}
        assert not source.of_user
        assert SourceCheck().state(name, facts) == "current"
        assert SourceCheck().state(name, {**facts, "method_files": dict(source.files)}) == "current"
        assert SourceCheck().state(name, {"method_source": "0" * 16}) == "changed"
    files = source_of(method_class("lisgan")).files
    assert {
        "zslbench.methods.generative.lisgan",
        "zslbench.methods.generative.regularisers",
        "zslbench.methods.base",
    } <= files.keys()
    assert "zslbench.methods.closed_form.eszsl" not in files


def test_numbers_of_a_changed_source_are_marked_in_every_format(project, monkeypatch, cli):
    monkeypatch.chdir(project)
    cli(project, "run", "-m", "near:Near", "-m", "sae", "-d", "digits")
    formats = {
        "terminal": (
            "§ The source of the method has changed since: Near on digits zsl, digits gzsl; `zslbench",
            "Near§",
        ),
        "markdown": ("§ The source of the method has changed", "Near§"),
        "latex": ("The source of the method has changed", r"Near$^{\S}$"),
    }
    for kind, (_, name) in formats.items():
        assert "has changed" not in zslbench.table(format=kind).text
        assert name not in zslbench.table(format=kind).text
    (project / "helper.py").write_text("def scale(): return 2.0\n")
    for kind, (sentence, name) in formats.items():
        text = " ".join(zslbench.table(format=kind).text.split())
        assert sentence in text
        assert name in text
        assert "SAE§" not in text
        assert "has changed since" in zslbench.compare(format=kind, draws=200).text
    rows = json.loads(zslbench.table(format="json").text)
    assert {row["method"]: (row["marks"], row["source_state"]) for row in rows} == {
        "near:Near": ("§", "changed"),
        "sae": ("", "current"),
    }
    assert ",§,changed," in zslbench.table(format="csv").text
    assert "Near§" in zslbench.compare(format="csv", draws=200).text
    assert "§ The source of the method has changed since: Near on digits gzsl" in zslbench.curve(width=300).text
    drawn = zslbench.plot("pareto", metrics=["T1"])
    assert any("has changed since: Near" in sentence for sentence in drawn.caption)
    assert any("Near§" in text.get_text() for text in drawn.axes[0].figure.findobj(Text))
    page = zslbench.report(None).text
    assert "§ The source of the method has changed since: Near on digits zsl" in page
    (project / "near.py").unlink()
    (project / "helper.py").unlink()
    gone = " ".join(zslbench.table().text.split())
    assert "§" not in gone
    unknown = "It is not known whether the source of the method has changed since, as its files are not here"
    assert f"{unknown}: Near on digits zsl" in gone
