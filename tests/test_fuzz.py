"""Awkward inputs of the command line: each ends well or in a sentence, whatever is in a user's files and environment.

Records, tuned presets, plan files, predictions, names inside archives, sizes of pictures, specs and environment
variables are damaged by seed, and a verb is called on them in this process. A case fails on a traceback, on another
exit code than 0, 1 or 2, on a control character among what is printed, on more than 2 GiB of memory, where it hangs,
and where a file lies outside the places that were asked for. (Data files of `data add`: see test_fuzz_data.py.)

A sample by default; ZSLBENCH_FUZZ=10000 tries as many, and `python tests/test_fuzz.py FIRST COUNT` prints figures.
"""

from __future__ import annotations

import collections
import contextlib
import copy
import io
import json
import os
import re
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
import own_data
import pytest
from mutations import mutated, mutated_text
from PIL import Image
from result_records import saved, study
from scipy.io import savemat

import zslbench
from zslbench.cli import main
from zslbench.data import parsers
from zslbench.data.own.backbones import Backbone, prepare_lite

T = TypeVar("T")
COUNT = int(os.environ.get("ZSLBENCH_FUZZ", "500"))
MEMORY = 2 * 2**30
HANGS = 120.0
"""Seconds of processor time after which a case hangs."""
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
AWKWARD: tuple[Any, ...] = (
    None, True, -1, 0, 2**70, 10**400, 1e308, float("nan"), float("-inf"), "", "x", "\x1b[31mred", "\x9b2J",
    "\u202eright", "\ud800", "a\nb", "a\0b", "../../up", "=1+1", "1" * 5000, "é" * 300, [], {}, [[]], [1, "a"],
    {"": None}, "%s{}\\", {"a": {"b": [1]}}, "eszsl[gamma=", "os:system", "fault_methods:Noted",
)  # fmt: skip
ENVIRONMENT = (
    "COLUMNS", "LINES", "SOURCE_DATE_EPOCH", "MPLBACKEND", "NO_COLOR", "TERM", "LC_ALL", "LANG", "TZ",
    "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "ZSLBENCH_DATA", "ZSLBENCH_HOME", "ZSLBENCH_COORDINATOR_GONE_AFTER",
    "PYTHONHASHSEED", "MATPLOTLIBRC", "HTTPS_PROXY", "PAGER", "EDITOR",
)  # fmt: skip
TEXTS = (
    "", "0", "-1", "1" * 5000, "1e999", "x", "nan", "ü" * 200, "../..", "/dev/null", "/proc/self/mem",
    "\x1b]0;t\x07", "\u202e", "a=b,c", "~", "$HOME", "%n", "*",
)  # fmt: skip
READING = (
    "table", "table --format latex", "table --format csv", "table --format json", "table --layout gzsl --ci",
    "table --stage dev", "table --calibrate -p gzsl", "status", "status --verify", "status --format json",
    "compare eszsl sae", "curve -m eszsl -d {data}", "results export -o {out}/export.csv", "results gc",
    "run -m eszsl -d {data} --dry-run", "results merge {runs} --into {out}/merged",
)  # fmt: skip
DRAWING = (
    "report -o {out}/report.html", "plot pareto -d cub -o {out}/p.svg --data {out}/p.csv",
    "plot curve -m eszsl -d {data} -o {out}/c.svg",
)  # fmt: skip
PLAN = """runs = "{runs}"
device = "cpu"
datasets = ["digits"]
protocols = ["zsl"]
[[study]]
name = "first"
methods = ["eszsl", "sae[lam=[1,2]]"]
seeds = 2
[[study]]
methods = ["ridge"]
checkpoints = "last"
stage = "dev"
fold = [1, 2]
"""
LITERALS = (
    '""', '"x"', "-1", "0", "1e999", "nan", "[]", "[[1]]", "{}", "{a = 1}", "9" * 5000, "true", '"\\u001b[2J"',
    "1979-05-27", '["eszsl", 1]', '"../.."', '[""]', '"every:0"', '"\\u202e"', "[1, 1]", "99999999999",
    '"/dev/null"', '["digits", "digits"]',
)  # fmt: skip
READ_RECORDS = ("table", "status", "compare", "curve", "run", "report", "plot", "results gc", "results export")
DATA = "synthetic[classes=8,unseen=2]"


MEANS = Backbone("efficientnet-lite0", "0" * 64, "none", prepare_lite, lambda images: images.mean((2, 3)))
"""A network of no weights, before which pictures are scaled as before the real one."""


class Hang(BaseException):
    """A case used more processor time than it may."""


class Screen(io.TextIOWrapper):
    """A standard stream in memory, which takes what UTF-8 has."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), "utf-8", newline="")


class Workshop:
    """A folder with a study, from which each case gets a damaged copy."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.base = folder, folder / "base"
        for name in ("base", "cwd", "user", "home", "out"):
            (folder / name).mkdir(parents=True)
        runs = saved(self.base / "runs", study()[:14])
        zslbench.run(["eszsl[gamma=[1,10]]", "sae"], DATA, runs=runs)
        zslbench.run("eszsl", DATA, "gzsl", runs=runs, calibrate=True)
        zslbench.tune("eszsl", DATA, "zsl", only="gamma", trials=3, runs=runs)
        self.records = sorted(runs.glob("*/*/*/*.json"))
        self.arrays = sorted(runs.glob("*/*/*/*.npz"))
        self.presets = sorted(path for path in (runs / "tuned").rglob("*") if path.suffix in (".json", ".toml"))
        assert all((self.records, self.arrays, self.presets))
        self.cases: tuple[Callable[[np.random.Generator], list[str]], ...] = (
            self.record,
            self.record_in_bytes,
            self.predictions,
            self.preset,
            self.environment,
            self.names_in_an_archive,
            self.picture,
            self.spec,
            self.plan,
            self.drawing,
        )
        self.variables: dict[str, str] = {}
        self.touched: list[Path] = []
        with bounded():  # started once, for all cases
            parsers.read_array(Path(own_data.write(self.base / "own", "mat")["labels"]), "labels", ())
        shutil.copytree(runs, folder / "runs")

    def record(self, rng: np.random.Generator, verbs: tuple[str, ...] = READING) -> list[str]:
        for _ in range(int(rng.integers(1, 4))):
            path = self._copied(pick(rng, self.records))
            path.write_text(json.dumps(damaged(json.loads(path.read_text()), rng)), encoding="utf-8")
        return pick(rng, verbs).split()

    def drawing(self, rng: np.random.Generator) -> list[str]:
        return self.record(rng, DRAWING) if rng.random() < 0.1 else self.record(rng)

    def record_in_bytes(self, rng: np.random.Generator) -> list[str]:
        path = self._copied(pick(rng, self.records))
        raw = path.read_bytes()
        path.write_bytes(mutated_text(raw, rng) if rng.random() < 0.5 else mutated(raw, rng))
        return pick(rng, READING).split()

    def predictions(self, rng: np.random.Generator) -> list[str]:
        path = self._copied(pick(rng, self.arrays))
        if rng.random() < 0.7:
            path.write_bytes(mutated(path.read_bytes(), rng, self.arrays[0].read_bytes()))
        else:
            with np.load(path) as file:
                content = dict(file)
            name = pick(rng, list(content))
            array = content.pop(name)
            texts, numbers = array.astype(str), array.astype(complex)
            others = [array[:-1], array[None], texts, np.full_like(array, 2**31 - 1), numbers, array[:0]]
            content[pick(rng, ("", "\x1b[2J", name, name))] = pick(rng, others)
            np.savez_compressed(path, **content)
        verbs = (
            "status --verify",
            "table --calibrate -p gzsl",
            "curve -m eszsl -d {data}",
            "compare eszsl sae -d {data}",
            "plot confusion -m eszsl -d {data} -o {out}/p.svg -p gzsl",
        )
        return verbs[int(rng.choice(5, p=[0.24, 0.24, 0.24, 0.24, 0.04]))].split()

    def preset(self, rng: np.random.Generator) -> list[str]:
        path = self._copied(pick(rng, self.presets))
        if path.suffix == ".json" and rng.random() < 0.7:
            path.write_text(json.dumps(damaged(json.loads(path.read_text()), rng)), encoding="utf-8")
        else:
            path.write_bytes(mutated_text(path.read_bytes(), rng))
        verbs = "run -m eszsl@tuned -d {data} -p zsl --dry-run", "list presets", "table -m eszsl@tuned", "status"
        return pick(rng, verbs).split()

    def environment(self, rng: np.random.Generator) -> list[str]:
        for name in rng.choice(ENVIRONMENT, size=int(rng.integers(1, 4)), replace=False):
            text = pick(rng, TEXTS)
            self.variables[str(name)] = text.replace("\0", "")
        verbs = (*READING, "list methods", "info lisgan", "data list", "run --help", "doctor")
        verbs = DRAWING if rng.random() < 0.05 else verbs
        return pick(rng, verbs).split()

    def names_in_an_archive(self, rng: np.random.Generator) -> list[str]:
        names = [name for name in AWKWARD if isinstance(name, str) and "\0" not in name]
        hostile = pick(rng, names).encode("utf-8", "ignore").decode()[:200] or "x"
        content = own_data.arrays()
        kind = pick(rng, ("npz", "h5", "mat"))
        path = self.folder / "cwd" / f"all.{kind}"
        key = "features" if rng.random() < 0.3 else hostile
        with contextlib.suppress(ValueError, OSError, TypeError):  # names that the writer refuses
            if kind == "npz":
                np.savez(path, **{hostile: content["semantics"], key: content["features"]})
            elif kind == "h5":
                with h5py.File(path, "w") as file:
                    file[hostile.strip("/.") or "x"] = content["semantics"]
                    file["sub/" + (key.strip("/.") or "x")] = content["features"]
            else:
                savemat(path, {re.sub(r"\W", "_", f"a{hostile}")[:30]: content["semantics"], "b": content["features"]})
        if rng.random() < 0.2 and path.exists():
            path.write_bytes(mutated(path.read_bytes(), rng))
        labels = f"{path}:{hostile}" if rng.random() < 0.5 else str(self.base / "own" / "all.mat")
        return ["data", "add", "mine", "--features", str(path), "--labels", labels, "--semantics", str(path)]

    def picture(self, rng: np.random.Generator) -> list[str]:
        folder = self.folder / "cwd" / "pictures" / "class"
        folder.mkdir(parents=True)
        kind = pick(rng, ("png", "gif", "bmp", "jpeg", "tiff"))
        written = io.BytesIO()
        Image.new("RGB", (9, 7), (200, 0, 0)).save(written, kind)
        raw = written.getvalue()
        if rng.random() < 0.3:
            raw = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\nshowpage\n"
        elif kind == "png":
            raw = sized_png(*(int(rng.choice([0, 1, 30000, 65535, 2**31 - 1])) for _ in range(2)))
        else:
            raw = mutated(raw, rng)
        (folder / f"a.{pick(rng, ('jpg', 'png', kind))}").write_bytes(raw)
        return ["data", "features", "--images", str(folder.parent), "-o", "{out}/f.npz"]

    def spec(self, rng: np.random.Generator) -> list[str]:
        valid = "eszsl[gamma=[1,10],lam=0.5] lisgan@S3[hidden=64] sae toy_methods:Ridge[ridge=2] eszsl@tuned"
        text = pick(rng, valid.split()).encode()
        spec = mutated_text(text, rng) if rng.random() < 0.7 else mutated(text, rng)
        given = spec.decode("utf-8", "surrogateescape").replace("\0", "")
        data, method = ("digits", given) if rng.random() < 0.5 else (given, "eszsl")
        dry_run = ["run", "-m", "eszsl", "-d", "digits", "--dry-run"]
        every = (
            ["run", "-m", method, "-d", data, "--dry-run"],
            ["info", given],
            ["table", "-m", given],
            [*dry_run, "--seeds", given],
            ["compare", given, "sae"],
            ["plot", given, "-o", "{out}/p.svg"],
            [*dry_run, "--workers", given],
            [*dry_run, "--time-limit", given],
        )
        return pick(rng, every)

    def plan(self, rng: np.random.Generator) -> list[str]:
        lines = PLAN.splitlines()
        place = int(rng.choice([number for number, line in enumerate(lines) if "=" in line]))
        if (choice := rng.random()) < 0.7:
            lines[place] = f"{lines[place].partition('=')[0]}= {pick(rng, LITERALS)}"
        raw = "\n".join(lines).encode()
        path = self.folder / "cwd" / "plan.toml"
        path.write_bytes(raw if choice < 0.7 else mutated_text(raw, rng) if choice < 0.85 else mutated(raw, rng))
        return ["run", "--plan", str(path), "--dry-run"]

    def _copied(self, path: Path) -> Path:
        """Return the path in the damaged copy of the study, which is mended after the case."""
        self.touched.append(path)
        return self.folder / "runs" / path.relative_to(self.base / "runs")

    def arguments(self, number: int) -> tuple[str, list[str]]:
        """Prepare the folder of a case; return its kind and its words."""
        for name in ("cwd", "out", "home", "user"):
            if any((self.folder / name).iterdir()):
                shutil.rmtree(self.folder / name)
                (self.folder / name).mkdir()
        for path in self.touched:
            shutil.copyfile(path, self.folder / "runs" / path.relative_to(self.base / "runs"))
        self.touched = []
        rng = np.random.default_rng([13, number])
        damage = self.cases[number % len(self.cases)]
        self.variables = {}
        words = damage(rng)
        names = {"{data}": DATA, "{runs}": str(self.folder / "runs"), "{out}": str(self.folder / "out")}
        for name, value in names.items():
            words = [word.replace(name, value) for word in words]
        if " ".join(words[:2]).startswith(READ_RECORDS) and "--help" not in words:
            words += ["--runs", str(self.folder / "runs")]
        return damage.__name__, words

    def surroundings(self) -> dict[str, str]:
        """Return the environment of a case."""
        fixed = {"HOME": str(self.folder / "user"), "ZSLBENCH_HOME": str(self.folder / "home"), "COLUMNS": "100"}
        fixed["MPLCONFIGDIR"] = str(self.base)  # its list of fonts takes seconds to make
        return {**os.environ, **fixed, **self.variables}

    def files(self) -> set[str]:
        """Return the files where none is asked for: in the working folder, the user's, and beside all folders."""
        places = (*self.folder.iterdir(), *(self.folder / "cwd").rglob("*"), *(self.folder / "user").rglob("*"))
        return {str(path.relative_to(self.folder)) for path in places if path.is_file()}


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    return options[int(rng.integers(len(options)))]


def damaged(document: Any, rng: np.random.Generator) -> Any:
    """Return a document with one value replaced by an awkward one, left out, or put under another name."""
    document = copy.deepcopy(document)
    node, steps = document, int(rng.integers(1, 5))
    while isinstance(node, dict | list) and node:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = pick(rng, keys)
        steps -= 1
        if steps > 0 and isinstance(node[key], dict | list) and node[key]:
            node = node[key]
            continue
        awkward = pick(rng, AWKWARD)
        if (choice := rng.random()) < 0.75:
            node[key] = awkward
        elif choice < 0.85:
            del node[key]
        elif isinstance(node, dict):
            node[str(awkward)] = node.pop(key)
        return document
    return document


def sized_png(width: int, height: int) -> bytes:
    """Return a small PNG that says to be of some size."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def fault_of(workshop: Workshop, words: list[str]) -> str:
    """Call a verb; return what is wrong with how it ended, nothing where that is as it should be."""
    before = workshop.files()
    out, errors = Screen(), Screen()
    code: Any = "none"
    with pytest.MonkeyPatch.context() as patched, bounded():
        patched.chdir(workshop.folder / "cwd")
        patched.setattr("zslbench.data.own.pictures.load_backbone", lambda *_, **__: MEANS)
        for name in set(os.environ) - set(surroundings := workshop.surroundings()):
            patched.delenv(name)
        for name, value in surroundings.items():
            patched.setenv(name, value)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            try:
                main(words)
            except SystemExit as end:
                code = end.code
            except BaseException:
                return traceback.format_exc()
            finally:
                out.flush()
                errors.flush()
    printed = [stream.buffer.getvalue().decode("utf-8", "surrogateescape") for stream in (out, errors)]
    text = "\n".join(printed).replace("\r\n", "\n")
    if "Traceback" in text:
        return text
    if code not in (0, 1, 2):
        return f"exit code {code!r}: {text[-300:]!r}"
    if control := CONTROLS.search(text):
        return f"control character {control[0]!r} in {text[max(control.start() - 100, 0) : control.end() + 20]!r}"
    if code and not printed[1].strip() and not printed[0].strip():
        return f"exit code {code} without a word"
    return f"files outside: {sorted(strays)}" if (strays := workshop.files() - before) else ""


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Let this process, and those that it starts, have 2 GiB more than it has, and so much processor time."""

    def hang(*_: object) -> None:
        raise Hang

    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    handler = signal.signal(signal.SIGVTALRM, hang)
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, before[1]))
    signal.setitimer(signal.ITIMER_VIRTUAL, HANGS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)


def survey(folder: Path, first: int, count: int) -> Iterator[tuple[int, str, list[str], str, float]]:
    """Yield number, kind, words, fault and processor seconds of each case."""
    workshop = Workshop(folder)
    for number in range(first, first + count):
        kind, words = workshop.arguments(number)
        start = time.process_time()
        fault = fault_of(workshop, words)
        yield number, kind, words, fault, time.process_time() - start


@pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded as on Linux")
def test_awkward_inputs_end_well_or_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsers, "START_LIMIT", 300.0)
    faults = [(number, kind, words, fault) for number, kind, words, fault, _ in survey(tmp_path, 0, COUNT) if fault]
    assert not faults, "\n\n".join(map(str, faults[:5]))


@pytest.mark.parametrize(
    ("act", "what"),
    [
        ("raise ValueError('trap')", "ValueError: trap"),
        ("print('\\x1b[2J')", "control character"),
        ("import numpy; numpy.ones(2**29)", "MemoryError"),
        ("open('stray', 'w').write('x')", "files outside: ['cwd/stray']"),
        ("import sys; sys.exit(3)", "exit code 3"),
        ("import sys; sys.exit(2)", "without a word"),
        ("while True: pass", "Hang"),
    ],
)
def test_the_trap_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: str, what: str) -> None:
    workshop = Workshop.__new__(Workshop)
    workshop.folder, workshop.variables = tmp_path, {}
    (tmp_path / "cwd").mkdir()
    workshop.base = tmp_path
    monkeypatch.setattr(sys.modules[__name__], "main", lambda _: (exec(act), sys.exit(0)))
    monkeypatch.setattr(sys.modules[__name__], "HANGS", 0.2)
    assert what in fault_of(workshop, [])


if __name__ == "__main__":
    first, count = map(int, sys.argv[1:3])
    figures: collections.Counter[tuple[str, bool]] = collections.Counter()
    seconds: collections.Counter[str] = collections.Counter()
    seen: set[str] = set()
    for number, kind, words, fault, spent in survey(Path(tempfile.mkdtemp()), first, count):
        figures[kind, bool(fault)] += 1
        seconds[kind] += spent
        if fault and (mark := fault.strip().splitlines()[-1][:80]) not in seen:
            seen.add(mark)
            print(number, kind, words, fault[-1500:], "", sep="\n", flush=True)
    for (kind, bad), cases in sorted(figures.items()):
        print(f"{kind}: {cases} {'FAULTS' if bad else 'fine'}, {seconds[kind]:.1f} s in all")
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB, children "
          f"{resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20:.2f} GiB")  # fmt: skip
