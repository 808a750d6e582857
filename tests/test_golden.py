"""What every verb prints and writes, in each format, compared with files: a change of text is seen and decided.

``tests/golden/verbs/<name>.txt`` holds a session of commands as typed in a folder of its own: standard output, then
standard error and the exit code where there is something to tell, then the text files that ``show`` names. Read the
difference before you keep it. To write the files anew::

    ZSLBENCH_GOLDEN=write python -m pytest tests/test_golden.py

The study is made of records whose figures follow from whole numbers, so that they are the same on every machine. What
differs between two machines or two hours (seconds, dates, versions, paths, hosts, memory) is replaced by a word.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import io
import json
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import rich_click
from data_folders import small_cub, write_folder
from live_files import holder, put
from live_files import study as live_study
from result_records import GOLDEN, record, saved
from result_records import study as study_of_tables
from test_plots import judged, keep, predictions

import zslbench
from zslbench.cli import cli, main
from zslbench.results.records.store import ResultStore

FORMATS = ("terminal", "markdown", "latex", "csv", "json")
HOSTILE = "ž_50%&co#$1$"
"""A title with all that Markdown, LaTeX and mathtext take for something else."""
PICTURES = {b"\x89PNG": "a PNG picture", b"%PDF": "a PDF page", b"<?xm": "an SVG picture"}


def in_formats(command: str, formats: tuple[str, ...] = FORMATS) -> tuple[str, ...]:
    return tuple(f"{command} --format {name}" for name in formats)


def plotted(kind: str, suffix: str, options: str) -> tuple[str, ...]:
    """Return the commands that draw a figure and show what was written."""
    return (
        f"zslbench plot {kind} {options} -o {kind}.{suffix} --data {kind}.csv",
        f"show {kind}.{suffix}",
        f"show {kind}.csv",
    )


READING: Mapping[str, tuple[str, ...]] = {
    "table": (
        *in_formats("zslbench table"),
        "COLUMNS=60 zslbench table",
        "zslbench table --width 70",
        "PYTHONIOENCODING=ascii zslbench table",
    ),
    "table_layouts": (
        *in_formats("zslbench table --runs many --selection fixed --selection oracle"),
        *in_formats("zslbench table --runs many -d cub --published li2019lisgan"),
        *in_formats("zslbench table --runs many --layout zsl --published li2019lisgan"),
        *in_formats("zslbench table --runs many --layout gzsl --published --selection fixed --selection oracle"),
        "zslbench table --layout gzsl --format latex --width column",
        "zslbench table --layout zsl --format latex --standalone",
    ),
    "table_options": (
        "zslbench table -d cub --published",
        "zslbench table --selection fixed --selection oracle",
        "zslbench table -p gzsl --calibrate --ci",
        "zslbench table -p gzsl --calibrate=oracle -d cub",
        "zslbench table --rank-together -m lisgan",
        "zslbench table --stage dev",
        "zslbench table --stage dev --per-fold --format csv",
        "zslbench table --metric H --format markdown",
        "zslbench table --caption full",
        "zslbench table --caption none -p gzsl",
        "zslbench table --columns H@sun,T1@cub --sort H --decimals 2 -m eszsl -m sae -m mine",
        "zslbench table -m eszsl -p gzsl --format latex --caption-text 'Ours, $H$.' --label tab:ours",
        "zslbench table -m eszsl -m mine -d cub -p gzsl --calibrate --format latex --cite --bibtex refs.bib",
        "show refs.bib",
        "zslbench table --cite",
        "zslbench table -m eszsl --format latex -o table.tex",
        "show table.tex",
    ),
    "table_statistics": (
        *in_formats("zslbench table --layout stats --data-root xlsa17"),
        "zslbench table --layout stats -d digits",
    ),
    "compare": (
        "zslbench compare eszsl sae mine --draws 500",
        *in_formats("zslbench compare eszsl mine -d cub --draws 500", FORMATS[1:]),
        "zslbench compare -p gzsl --draws 500",
        "zslbench compare -d cub -p gzsl --draws 500 --details",
        "zslbench compare eszsl sae --metric H --over images --level 0.9 --draws 500 -o pairs.txt",
        "show pairs.txt",
    ),
    "curve": (
        *in_formats("zslbench curve -d cub"),
        "PYTHONIOENCODING=ascii COLUMNS=60 zslbench curve -m eszsl",
        "zslbench curve -m eszsl -d cub -o points.csv",
        "zslbench curve -m eszsl -d cub -o curve.md --format markdown",
        "show points.csv",
        "show curve.md",
    ),
    "plot_confusion": plotted("confusion", "png", "-m eszsl -m mine -d cub -p gzsl --width page"),
    "plot_sensitivity": plotted("sensitivity", "svg", "-m lisgan --param cls_weight --spread ci"),
    "plot_souls": plotted("souls", "pdf", "-m soulgan"),
    "plot_stability": plotted("stability", "svg", "-m eszsl -m mine -d cub"),
    "plot_ablation": plotted("ablation", "svg", "-m lisgan"),
    "plot_curve": plotted("curve", "svg", "-m eszsl -m mine -d cub"),
    "plot_perclass": plotted("perclass", "svg", "-m eszsl -m mine -d cub -p gzsl"),
    "plot_pareto": plotted("pareto", "svg", "-m eszsl -m mine -m sae -d cub"),
    "plot_cd": plotted("cd", "svg", "-m eszsl -m mine -m sae"),
    "plot_features": plotted("features", "png", "-m eszsl -m mine -d cub --classes 1,2"),
    "report": (
        "zslbench report --no-figures --title 'A small study'",
        "show report.html",
        "zslbench report --no-published -d cub -p gzsl -m eszsl -m mine -o part.html",
        "show part.html",
    ),
    "status": (
        "zslbench status",
        "zslbench status -m eszsl -m mine -d cub --format json",
        "COLUMNS=60 zslbench status -d cub -p zsl --seeds 4",
        "zslbench status -m eszsl -m mine --verify",
        "zslbench status --stage dev",
        "zslbench status --data-root xlsa17 --write-plan missing.toml",
        "show missing.toml",
    ),
    "show": (
        "zslbench show 6f693a85",
        "zslbench show 322073 --format json",
        "zslbench show 0000",
        "zslbench show eszsl",
        "zslbench show runs/no.json",
    ),
    "watch": ("zslbench watch --once", "COLUMNS=60 zslbench watch --once", "zslbench watch --once --format json"),
    "results": (
        "zslbench results export -o runs.csv",
        "show runs.csv",
        "zslbench results export --params columns -o columns.csv",
        "show columns.csv 3",
        "zslbench results gc",
        "zslbench results gc --failed",
        "zslbench results gc --failed --yes",
        "zslbench results merge runs --into all",
        "zslbench results merge runs --into all",
        "zslbench table --runs all -m eszsl",
    ),
    "errors_of_records": (
        "zslbench table -m eszls",
        "zslbench table -d cup",
        "zslbench table --metric V",
        "zslbench table --published nobody1999",
        "zslbench table --width wide",
        "zslbench table --runs elsewhere",
        "zslbench compare eszls sae",
        "zslbench plot pie -o pie.png",
        "zslbench plot curve -o curve.gif",
        "zslbench plot sensitivity -m lisgan --param souls -o souls.png",
        "zslbench curve -m lisgan",
        "zslbench status -d cup",
        "zslbench results export -o runs.xls",
        "damage runs/cub/zsl/sae",
        "zslbench table -m sae",
        "zslbench status -m sae",
        "zslbench curve -m sae -d cub",
    ),
}
"""Sessions in a folder with the study as ``runs``; that of tables has longer names and more marks in ``many``."""

RUNNING: Mapping[str, tuple[str, ...]] = {
    "run": (
        "zslbench run --plan plan.toml --dry-run",
        "zslbench run --plan plan.toml",
        "zslbench run --plan plan.toml",
        "zslbench table",
        "zslbench table -p gzsl --calibrate --format json",
        "zslbench table -p gzsl --calibrate both --caption full",
        "zslbench curve",
        "zslbench compare --over images --draws 500 -p gzsl",
        "zslbench status --verify",
        "zslbench run -m eszsl -d digits -p zsl --rerun all --profile --quiet",
        "show runs/digits/zsl/eszsl/48920cd25ee3a971.json",
    ),
    "run_own_method": (
        "zslbench run -m toy_methods:Broken -m study_methods:Noisy -d digits -p zsl --seeds 2 --checkpoints every:2",
        "zslbench run -m 'study_methods:Noisy[noise=[0,0.1]]' -d digits -p zsl --stage dev --fold 1 --dry-run",
        "zslbench table",
        "zslbench status",
        "zslbench results gc --failed",
        "zslbench plot stability -m study_methods:Noisy -o stability.svg --data stability.csv",
        "show stability.csv",
        "zslbench plot losses -m study_methods:Noisy -o losses.svg",
    ),
    "ablate": (
        "zslbench ablate study_methods:Noisy -d digits --seeds 2 --dry-run",
        *in_formats("zslbench ablate study_methods:Noisy -d digits --seeds 2 --quiet"),
        "zslbench ablate study_methods:Stairs -d digits -p zsl --seeds 2 --against first --quiet",
        "zslbench ablate eszsl -d digits --sweep 'gamma=[10,1000]' --stage dev --quiet -o sweep.txt",
        "show sweep.txt",
    ),
    "tune": (
        "zslbench tune eszsl -d digits -p gzsl --only gamma",
        *in_formats("zslbench tune eszsl -d digits -p gzsl --only gamma --quiet", ("markdown", "csv", "json")),
        "show runs/tuned/*.json",
        "zslbench run -m eszsl@tuned -d digits -p gzsl --quiet",
        "zslbench table --selection validated",
    ),
    "reproduce": (
        "zslbench reproduce xian2018gbu -d cub -m eszsl --data-root xlsa17 --dry-run",
        *in_formats(
            "zslbench reproduce xian2018gbu -d cub -m eszsl --data-root xlsa17 --quiet",
            ("terminal", "markdown", "csv", "json"),
        ),
    ),
    "check": (
        "zslbench check eszsl",
        "zslbench check study_methods:Noisy",
        "zslbench check toy_methods:Broken",
        "zslbench check zsl",
        "zslbench check digits",
    ),
    "new": (
        "zslbench new method my-method",
        "show my_method/README.md",
        "show my_method/my_method/method.py",
        "show my_method/tests/*.py",
        "zslbench new method MyGAN --template torch -o gan",
        "zslbench new method my-method",
    ),
    "list": tuple(
        f"zslbench list {kind}"
        for kind in ("", "methods", "datasets", "protocols", "presets", "sources", "protocols -f json")
    ),
    "info": tuple(f"zslbench info {name}" for name in ("eszsl", "lisgan", "cub", "digits", "zsl", "gzsl")),
    "doctor": ("zslbench doctor",),
    "data": (
        "zslbench data list --data-root xlsa17",
        "zslbench data verify --data-root xlsa17",
        "zslbench data import xlsa17/CUB",
        "zslbench data add mine --features x.csv --labels y.csv --semantics s.csv --classes names.txt --unseen 25%",
        "zslbench data semantics mine --encoder words:vectors.txt",
        "zslbench data semantics names.txt --encoder tfidf --texts texts.csv -o words.npz",
        "zslbench data list",
        "zslbench data verify mine",
        "zslbench info mine",
        "zslbench data card mine",
        "zslbench data card digits -f markdown",
        "zslbench data remove mine",
        "zslbench data remove mine --yes",
    ),
    "errors": (
        "zslbench",
        "zslbench --version",
        "zslbench tabel",
        "zslbench completion tcsh",
        "zslbench run",
        "zslbench run -m eszls -d digits",
        "zslbench run -m eszsl -d digit",
        "zslbench run -m eszsl -d digits --sead 1",
        "zslbench run -m eszsl -d digits -p gzls",
        "zslbench run -m 'eszsl[gama=1]' -d digits",
        "zslbench run -m 'eszsl[gamma=-1]' -d digits",
        "zslbench run -m 'eszsl[gamma=' -d digits",
        "zslbench run -m eszsl@publshed -d digits",
        "zslbench run -m nowhere:Method -d digits",
        "zslbench run -m eszsl -d cub",
        "zslbench run -m eszsl -d digits --features res101",
        "zslbench tune eszsl -d digits --features lite0 --features lite1",
        "zslbench run -m eszsl -d digits --device cuba",
        "zslbench run -m eszsl -d digits --workers none",
        "zslbench run -m eszsl -d digits --time-limit soon",
        "zslbench run --plan bad.toml",
        "zslbench run --plan absent.toml",
        "zslbench table",
        "zslbench table --format pdf",
        "zslbench tune eszsl -d digits --only gama",
        "zslbench ablate eszsl -d digits",
        "zslbench ablate eszsl -d digits --sweep 'gama=[1,2]'",
        "zslbench reproduce nobody1999",
        "zslbench reproduce li2019lisgan",
        "zslbench info eszls",
        "zslbench check eszls",
        "zslbench data fetch cup",
        "zslbench data import absent.zip",
        "zslbench data features --images absent -o x.npz",
        "zslbench data add mine --features absent.npy --labels y.csv --semantics s.csv",
        "zslbench data semantics names.txt --encoder tfidf -o words.npz",
        "zslbench data semantics digits --encoder words:vectors.txt",
    ),
}
"""Sessions in a folder without records: a plan file, arrays of one's own, and a small CUB under ``xlsa17``."""


# --- the study -----------------------------------------------------------------------------------------------------


def save_judged(store: ResultStore, rng: np.random.Generator, method: str, *facts: Any, **more: Any) -> None:
    """Save a record whose metrics follow from the predictions saved with it."""
    answers = predictions(rng, protocol=facts[1])
    saved_record = record(method, *facts, judged(answers, facts[1]), **more)
    spent = {"data": 0.25, "fit": 1.5 + len(method), "scores": 0.5, "total": 2.5 + len(method)}
    about = {"device": "cpu", "processors": 2, "finished": "2026-01-02T03:04:05+00:00"}
    store.save(dataclasses.replace(saved_record, timings=spent, provenance=about), answers)


def write_study(root: Path) -> None:
    """Write records for every kind of table and figure: seeds, folds, curves, sweeps, ablations, failures, †, ‡."""
    store, rng = ResultStore(root), np.random.default_rng(3)
    titles = {"eszsl": "ESZSL", "sae": "SAE", "mine": HOSTILE}
    for dataset in ("cub", "sun"):
        for method, title in titles.items():
            for protocol in ("zsl", "gzsl"):
                for seed in range(2 if method == "mine" else 1):
                    metric = "T1" if protocol == "zsl" else "H"
                    curve = {} if method == "sae" else {step: {metric: 0.1 * step - 0.05 * seed} for step in (2, 4, 6)}
                    save_judged(store, rng, method, dataset, protocol, seed, title=title, curve=curve)
    for fold in (1, 2, 3):
        save_judged(store, rng, "eszsl", "cub", "gzsl", 0, title="ESZSL", stage="dev", fold=fold)
    for judged_record in store.load():
        about = judged_record.dataset["name"], judged_record.stage
        if about == ("cub", "final") and judged_record.method["name"] != "sae":
            keep(store, judged_record, rng)
    for seed in range(2):
        for weight in (0.0, 0.001, 0.01):
            params = {"cls_weight": weight, "l_r1": 0.01, "l_r2": 0.01, "cascade": "softmax"}
            label = "lisgan" if weight == 0.01 else f"lisgan[cls_weight={weight:g}]"
            facts: dict[str, Any] = {"title": "LisGAN", "label": label, "params": params, "setting": "transductive"}
            store.save(record("lisgan", "cub", "zsl", seed, {"T1": 0.5 + 10 * weight + 0.02 * seed}, **facts))
        for name, weights in {"S1": (0.0, 0.0), "S2": (0.01, 0.0), "S3": (0.01, 0.01)}.items():
            params = {"cls_weight": weights[0], "l_r1": weights[1], "l_r2": weights[1], "cascade": "off"}
            facts = {"title": "LisGAN", "label": f"lisgan@{name}", "params": params}
            store.save(record("lisgan", "cub", "zsl", seed, {"T1": 0.4 + 5 * sum(weights) + 0.01 * seed}, **facts))
        for souls in (1, 2, 5):
            facts = {"title": "SoulGAN", "label": f"soulgan[souls={souls}]", "params": {"souls": souls}}
            store.save(record("soulgan", "cub", "zsl", seed, {"T1": souls / 10 + seed / 20}, **facts))
    store.save(record("dem", "cub", "zsl", 0, title="DEM", status="failed", error="Traceback\nValueError: no\n"))
    store.save(record("dem", "sun", "zsl", 0, title="DEM", status="timeout", error="stopped after 30 s\n"))
    store.save(record("ale", "cub", "zsl", 0, {"T1": 0.65}, title="ALE", selection="oracle"))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path: a long one would break the lines of a table."""
    with tempfile.TemporaryDirectory() as path:
        yield Path(path).resolve()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("golden") / "runs"
    write_study(root)
    for number, path in enumerate(sorted(root.rglob("*.json"))):  # `watch` shows the latest first
        os.utime(path, (1_767_323_045 + number,) * 2)
    return root


def write_inputs(folder: Path) -> None:
    """Write what the sessions without records read."""
    write_folder(folder / "xlsa17" / "CUB")
    (folder / "plan.toml").write_text(
        '[[study]]\nmethods = ["eszsl", "eszsl[gamma=10]", "sae"]\ndatasets = "digits"\ncalibrate = true\n'
    )
    (folder / "bad.toml").write_text('[[study]]\nmethods = "eszsl"\ndatasets = "digits"\nsead = 1\n')
    labels = np.arange(40) % 8
    features = np.eye(8)[labels] + np.arange(40 * 8).reshape(40, 8) % 7 / 8
    np.savetxt(folder / "x.csv", features, delimiter=",", fmt="%.3f")
    np.savetxt(folder / "y.csv", labels, fmt="%d")
    np.savetxt(folder / "s.csv", np.arange(40).reshape(8, 5) % 11 / 10, delimiter=",", fmt="%.1f")
    names = ("auk", "bunting", "crow", "dove", "eider", "finch", "gull", "hawk")
    (folder / "names.txt").write_text("\n".join(names))
    sides = ((3, 4), (4, 3), (5, 12), (12, 5), (8, 15), (15, 8), (7, 24), (24, 7))  # whose lengths are whole numbers
    (folder / "vectors.txt").write_text("".join(f"{n} {a} {b}\n" for n, (a, b) in zip(names, sides, strict=True)))
    (folder / "texts.csv").write_text("".join(f"{name},a bird called {name}\n" for name in names))


# --- what is compared ----------------------------------------------------------------------------------------------


class _Stream(io.TextIOWrapper):
    """A standard stream in memory: of an encoding, as a pipe is."""

    def __init__(self, encoding: str) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, newline="")

    def text(self) -> str:
        self.flush()
        return self.buffer.getvalue().decode(self.encoding)


def type_command(words: list[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a command, its environment before it as in a shell; return what it prints and its exit code."""
    with monkeypatch.context() as patch:
        while "=" in words[0]:
            name, _, value = words.pop(0).partition("=")
            patch.setenv(name, value)
        encoding = os.environ.get("PYTHONIOENCODING", "utf-8")
        out, err = _Stream(encoding), _Stream(encoding)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as end:
            main(words[1:])
    text = out.text()
    if err.text():
        text += f"[standard error]\n{err.text()}"
    return text if not end.value.code else f"{text}[exit code {end.value.code}]\n"


class _PageText(HTMLParser):
    """Collects what a page says and holds: text and data by line, without style, script and drawings."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.inside: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        kind = dict(attrs).get("type")
        if tag in ("style", "svg", "script"):
            self.inside.append(tag if kind != "application/json" else "data")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("style", "svg", "script"):
            self.inside.pop()

    def handle_data(self, data: str) -> None:
        if self.inside == ["data"]:
            self.lines += json.dumps(json.loads(data), indent=1, ensure_ascii=False).splitlines()
        elif not self.inside and data.strip():
            self.lines.append(" ".join(data.split()))


def show(pattern: str, most: str = "") -> str:
    """Return what a text file holds, the first lines if so many are wanted; of a picture or drawing, what it is."""
    text = ""
    for path in sorted(Path().glob(pattern)):
        content = path.read_bytes()
        if kind := PICTURES.get(content[:4]):
            text += f"{kind}\n"
            continue
        lines = content.decode("utf-8").splitlines()
        if path.suffix == ".html":
            lines = _PageText(content.decode("utf-8")).lines
        if path.suffix == ".json" and "tuned" not in path.parts:
            document = json.loads(content)
            document["provenance"].pop("torch_threads", None)  # there where an earlier test has loaded torch
            for part in ("timings", "memory", "provenance"):
                document[part] = {key: type(value).__name__ for key, value in document[part].items()}
            lines = json.dumps(document, indent=1, ensure_ascii=False).splitlines()
        text += "\n".join(lines[: int(most or len(lines))]) + "\n"
    return text or "no such file\n"


def damage(folder: str) -> str:
    for path in sorted(Path(folder).glob("*.json")):
        path.write_bytes(path.read_bytes()[:100])
    return ""


def normalise(text: str, folder: Path) -> str:
    """Return a text without what differs between two machines, or two hours on one."""
    for value, word in (
        (str(folder), "FOLDER"),
        (f"{folder.name}/", "FOLDER/"),
        (f"zslbench, version {zslbench.__version__}", "zslbench, version VERSION"),
    ):
        text = text.replace(value, word)
    for pattern, word in (
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(\+00:00|Z)?", "DATE"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d UTC(\s)by zslbench \S+", r"DATE\1by zslbench VERSION"),
        (r'"source": "[0-9a-f]{16}"', '"source": "DIGEST"'),
        (r"_methods\.py:\d+, in", "_methods.py:N, in"),  # of the tests
        (r"\d+\.\d kB", "N kB"),  # of files that name paths
        (r"Usage: (python -m )?\S+", "Usage: zslbench"),  # click asks how this process was started
        (r"(?m)[ \t]+$", ""),
    ):
        text = re.sub(pattern, word, text)
    return re.sub(r"\d+\.\d{7,}(e-?\d+)?", lambda digits: f"{float(digits[0]):.6g}…", text)


def without_time(text: str, command: str) -> str:
    """Return what runs done just now print without their seconds, and without the column widths these lead to."""
    text = re.sub(r"\(\d+\.\d s(, \d+\.\d s of them shared)?\)", "(N s)", text)
    text = re.sub(r"(?m)^(time: ).*", r"\1…", text)
    return re.sub(r"(?m) +\d+\.\d\d(?= |$)", " N", text) if "--profile" in command else text


def without_machine(text: str) -> str:
    """Return what `doctor` says without what it says of this machine: groups, and the names of findings.

    Packages and extras are those of the installed metadata.
    """
    text = re.sub(r"(?m)^  (?:ok|slow|PROBLEM|-) +(\S+(?: \S+)*)  .*\n(?: {4,}.*\n)*", r"  STATE  \1  …\n", text)
    return re.sub(r"(?ms)^(packages|extras)\n.*?(?=^\S)", r"\1\n  …\n", text)


def check_session(name: str, commands: tuple[str, ...], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Type the commands in the folder; compare what comes of them with the file of that name, or write it."""
    monkeypatch.chdir(folder)
    for variable in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "PYTHONIOENCODING"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(rich_click.rich_click, "FORCE_TERMINAL", None)
    text = ""
    for command in commands:
        words = shlex.split(command)
        if words[0] == "show":
            printed = show(*words[1:])
        elif words[0] == "damage":
            printed = damage(words[1])
        else:
            printed = type_command(words, monkeypatch)
        printed = normalise(printed, folder)
        if name in RUNNING:
            printed = without_machine(printed) if name == "doctor" else printed
            printed = without_time(printed, command)
        text += f"$ {command}\n{printed}\n"
    path = GOLDEN / "verbs" / f"{name}.txt"
    if os.environ.get("ZSLBENCH_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    kept = path.read_text(encoding="utf-8") if path.is_file() else ""
    if text != kept:
        changes = difflib.unified_diff(kept.splitlines(), text.splitlines(), "kept", "now", lineterm="", n=2)
        pytest.fail(f"{path.name} has changed:\n" + "\n".join([*changes][:200]), pytrace=False)


@pytest.mark.parametrize("name", READING)
def test_what_is_made_of_records(name, study, folder, monkeypatch):
    shutil.copytree(study, folder / "runs")
    if name == "watch":
        put(folder / "runs", live_study(holder=holder(pid=77, born=0.0, machine="another")))
    if name == "table_layouts":
        saved(folder / "many", study_of_tables())
    if name == "table_statistics":
        write_inputs(folder)
        shutil.copytree(folder / "xlsa17" / "CUB", folder / "xlsa17" / "bare")
        (folder / "xlsa17" / "bare" / "res101.mat").unlink()
    check_session(name, READING[name], folder, monkeypatch)


@pytest.mark.parametrize("name", RUNNING)
def test_what_is_done_and_declared(name, folder, monkeypatch):
    write_inputs(folder)
    small_cub(monkeypatch, folder / "home")
    check_session(name, RUNNING[name], folder, monkeypatch)


def helps(group: click.Group, words: str = "zslbench") -> list[str]:
    """Return the commands that print the help of a group, and of all under it."""
    commands = [f"{words} --help"]
    for name, command in sorted(group.commands.items()):
        below = f"{words} {name}"
        commands += helps(command, below) if isinstance(command, click.Group) else [f"{below} --help"]
    return commands


def test_help_of_every_verb(folder, monkeypatch):
    check_session("help", (*helps(cli), "COLUMNS=50 zslbench curve --help"), folder, monkeypatch)


def test_every_verb_is_typed_and_every_file_is_compared():
    typed = " ".join(" ".join(commands) for commands in (*READING.values(), *RUNNING.values()))
    for command in helps(cli):
        words = command.removesuffix(" --help")
        assert words in typed
    assert {path.stem for path in (GOLDEN / "verbs").iterdir()} == {*READING, *RUNNING, "help"}
