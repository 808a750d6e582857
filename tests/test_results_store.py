"""Records on disk: whole or not at all, beside their predictions, under names that cannot escape."""

from __future__ import annotations

import ast
import contextlib
import copy
import errno
import itertools
import json
import os
import pickle
import re
import unicodedata
from pathlib import Path
from unittest.mock import Mock

import live_files
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from result_records import files, record, saved, table

import zslbench
from zslbench.errors import RecordsLeftOut, StoreError
from zslbench.files import write_text
from zslbench.identity import machine
from zslbench.results.records.record import SCHEMA, Record
from zslbench.results.records.store import ResultStore, safe_folder_name

PREDICTIONS = {"seen_score": np.array([0.5, -np.inf], np.float32), "unseen_class": np.array([3, -1])}


def test_a_record_and_its_predictions_come_back(tmp_path):
    store, kept = ResultStore(tmp_path / "runs"), record(seed=3)
    assert store.find("cub", "zsl", "eszsl", kept.id) is None
    assert (store.load(), files(tmp_path)) == ([], {})
    path = store.save(kept, PREDICTIONS)
    assert path == tmp_path / "runs" / "cub" / "zsl" / "eszsl" / f"{kept.id}.json"
    assert [*files(path.parent)] == [f"{kept.id}.json", f"{kept.id}.npz"]
    assert store.find("cub", "zsl", "eszsl", kept.id) == kept
    assert store.load() == [kept]
    np.testing.assert_equal(store.predictions(kept), PREDICTIONS)
    assert all(store.predictions(kept)[name].dtype == array.dtype for name, array in PREDICTIONS.items())
    failed = record(seed=3, status="failed", error="FileNotFoundError: 'caf\udce9'\n")  # a name that is not UTF-8
    store.save(failed)  # in place of the other, whose predictions go
    assert [kept.error for kept in store.load()] == ["FileNotFoundError: 'caf\\udce9'\n"]
    with pytest.raises(StoreError, match="has no predictions"):
        store.predictions(failed)


def test_predictions_that_are_damaged_or_hold_pickles_are_a_sentence_and_no_code_is_run(tmp_path):
    class Planted:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "executed"),)

    store, kept = ResultStore(tmp_path / "runs"), record()
    with pytest.raises(TypeError, match="numbers"):
        store.save(kept, {"label": np.array([{}], dtype=object)})
    assert not (tmp_path / "runs").exists()
    path = store.save(kept, {"label": np.arange(10_000)}).with_suffix(".npz")
    whole = path.read_bytes()
    np.savez(path, label=np.array([Planted()], dtype=object))
    for content in (path.read_bytes(), pickle.dumps(Planted()), b"", whole[:10], whole[:100]):
        path.write_bytes(content)
        with pytest.raises(StoreError, match=f"the predictions {path} cannot be read"):
            store.predictions(kept)
    assert not (tmp_path / "executed").exists()
    for place in range(40, len(whole), max(1, len(whole) // 60)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with contextlib.suppress(StoreError):  # and not the errors of zlib and of zip files
            store.predictions(kept)


WHOLE = {
    **{name: np.arange(3) for name in ("row", "label", "seen_class", "unseen_class")},
    **{name: np.zeros(3) for name in ("seen_score", "unseen_score")},
    "of_unseen": np.zeros(3, bool),
}


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("label", np.zeros(3)),
        ("label", np.zeros((3, 1), np.int64)),
        ("of_unseen", np.array(["a", "b", "c"])),
        ("unseen_score", np.zeros(0)),
        ("unseen_score", np.zeros(3, complex)),
        ("seen_class", np.array(5)),
        ("row", np.arange(2)),
        ("real", np.zeros((3, 2))),  # a name that kept features have
        ("unseen_class", None),
    ],
)
def test_predictions_of_another_shape_are_told_where_they_are_read(tmp_path, name, array):
    store = ResultStore(tmp_path)
    path = store.save(record(), WHOLE).with_suffix(".npz")
    np.testing.assert_equal(store.predictions(record()), WHOLE)
    np.savez(path, **{key: kept for key, kept in (WHOLE | {name: array}).items() if kept is not None})
    sentence = "are damaged" if array is not None else f"the predictions of run {record().id} lack {name}; run it again"
    with pytest.raises(StoreError, match=sentence):
        store.predictions(record())[name]


def test_the_order_of_records_does_not_depend_on_the_order_of_saving(tmp_path):
    facts = list(itertools.product(("sun", "cub"), ("sae", "eszsl"), (10, 2)))
    records = [record(method, dataset, seed=seed) for dataset, method, seed in facts]
    first, second = (ResultStore(saved(tmp_path / str(step), records[::step])).load() for step in (1, -1))
    assert first == second
    assert [(kept.dataset["name"], kept.method["name"], kept.seed) for kept in first] == sorted(facts)


GOOD = json.loads(record().to_json())


def changed(**fields: object) -> str:
    """Return the good document with fields such as ``method__params`` changed."""
    document = copy.deepcopy(GOOD)
    for field, value in fields.items():
        part, _, key = field.rpartition("__")
        (document[part] if part else document)[key] = value
    return json.dumps(document)


WRONG = {
    'fold is "x", not a whole number': changed(fold="x"),
    "fold is null, not a whole number": changed(fold=None),
    "seed is true, not a whole number": changed(seed=True),
    "protocol.version is null, not a whole number": changed(protocol__version=None),
    "selection is 7, not one of fixed, validated, oracle": changed(selection=7),
    'status is "done", not one of ok, failed': changed(status="done"),
    "stage is [], not one of final, dev": changed(stage=[]),
    "method.name is 3, not a text": changed(method__name=3),
    "method.params is 5, not an object": changed(method__params=5),
    "protocol.params is [1], not an object": changed(protocol__params=[1]),
    "provenance is 5, not an object": changed(provenance=5),
    "dataset.fingerprint is null, not a text": changed(dataset__fingerprint=None),
    "method.stochastic is 0, not true or false": changed(method__stochastic=0),
    "metrics is [0.5], not an object": changed(metrics=[0.5]),
    "metrics.H is 40.4, not a fraction from 0 to 1": changed(metrics={"H": 40.4}),
    "metrics.H is -1, not a fraction from 0 to 1": changed(metrics={"H": -1}),
    "metrics.H is 1e+300, not a fraction from 0 to 1": changed(metrics={"H": 1e300}),
    "metrics.H is true, not a fraction from 0 to 1": changed(metrics={"H": True}),
    "curve[0] is 3, not an object": changed(curve=[3]),
    "curve[0].metrics.T1 is null": changed(curve=[{"step": 1, "metrics": {"T1": None}}]),
    "it holds a number that is not finite": changed(curve=[{"step": 1, "metrics": {"T1": float("inf")}}]),
    "curve[1].metrics.T1 is 1.5, not a fraction": changed(
        curve=[{"step": step, "metrics": {"T1": step + 0.5}} for step in (0, 1)]
    ),
    "curve[0].step is 0.5, not a whole number": changed(curve=[{"step": 0.5, "metrics": {"T1": 0.5}}]),
    "nested more than 20 deep": changed(curve=[{"step": 1, "metrics": {}, "more": json.loads("[" * 50 + "]" * 50)}]),
    "it is not a JSON object": "[1,2]",
    "it is nested too deep": "[" * 100_000,
    "it is nested more than 20 deep": changed(method__params={"k": json.loads("[" * 50 + "]" * 50)}),
    "schema is not a whole number": changed(schema="1"),
    "not finite": changed(method__params={"k": float("inf")}),
    "a number that is not finite": changed(metrics={"T1": float("nan")}),
    'metrics.T1 is "high", not a fraction': changed(metrics={"T1": "high"}),
    "method.name is missing": changed(method={}),
    'method is "eszsl", not an object': changed(method="eszsl"),
    "stage is missing": json.dumps({key: value for key, value in GOOD.items() if key != "stage"}),
    "truncated": json.dumps(GOOD)[:200],
    "": "",
    "not a JSON object": "3",
    "lone surrogate": changed(method__title="\ud800"),
}


@pytest.mark.parametrize(("sentence", "text"), WRONG.items(), ids=WRONG.keys())
def test_a_wrong_field_is_named(sentence, text):
    with pytest.raises(StoreError) as caught:
        Record.from_json(text, "here.json")
    assert re.fullmatch(r"here\.json is not a zslbench record \(.*\); delete it or restore a copy\.", str(caught.value))
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\xff\xfe\x00", "is not a zslbench record ("),
        (b"", "is not a zslbench record ("),
        (changed(seed="0").encode(), 'is not a zslbench record (seed is "0", not a whole number)'),
        (changed(id="f" * 16).encode(), "it tells of run 'ffffffffffffffff'"),
        (changed(seed=5).encode(), "its content is not that of its id"),
        (changed(schema=SCHEMA + 1).encode(), "upgrade zslbench"),
        (None, "cannot be read (Is a directory)"),
    ],
)
def test_what_is_no_record_is_listed_and_stops_nothing(tmp_path, content, sentence):
    store, good = ResultStore(tmp_path), record(seed=1)
    store.save(good)
    path = store.path(record())
    path.mkdir() if content is None else path.write_bytes(content)
    assert store.load() == [good]
    [(broken, reason)] = store.broken
    assert (broken, reason.startswith(f"{path} "), sentence in reason) == (path, True, True)
    assert store.find("cub", "zsl", "eszsl", path.stem) is None
    with pytest.warns(RecordsLeftOut, match="1 file or folder was left out"):
        assert f"1 file or folder was left out: {reason}" in table(tmp_path)
    assert f"1 file or folder was left out: {reason}" in zslbench.watch(tmp_path).text


def test_a_rounding_error_above_one_is_still_a_fraction():
    assert Record.from_json(changed(metrics={"AUSUC": 1.0000000000000002})).metrics == {"AUSUC": 1.0000000000000002}


def test_a_copied_record_counts_once(tmp_path):
    store, kept = ResultStore(tmp_path), record()
    path = store.save(kept)
    copied = tmp_path / "cub-copy" / "zsl" / "eszsl" / path.name
    copied.parent.mkdir(parents=True)
    copied.write_bytes(path.read_bytes())
    assert store.load() == [kept]
    assert [path for path, _ in store.broken] == [copied]


@given(st.text(), st.text())
def test_folder_names_are_safe_and_distinct(first, second):
    names = safe_folder_name(first), safe_folder_name(second)
    for name in names:
        assert name not in ("", ".", "..")
        assert not set(name) & set('/\\:*?"<>|[] \0\n')
        assert len(name.encode("utf-8", "surrogatepass")) <= 100
    assert (names[0] == names[1]) == (first == second)


HOSTILE = ["../../etc", "a/b", ".", "..", "", "my_pkg.mine:Method", "synthetic[classes=20]", "é 日本", "a\nb", "%"]


@pytest.mark.parametrize("name", [*HOSTILE, "x" * 400, unicodedata.normalize("NFD", "é")])
def test_hostile_names_stay_below_the_root_and_come_back(tmp_path, name):
    store, kept = ResultStore(tmp_path / "runs"), record(method=name, dataset=name, protocol=name)
    other = record(method=unicodedata.normalize("NFC", "é"))  # on some systems the folder of "é" in another form, too
    store.save(other)
    path = store.save(kept, PREDICTIONS)
    assert path.resolve().is_relative_to((tmp_path / "runs").resolve())
    assert len(path.relative_to(tmp_path / "runs").parts) == 4
    assert store.find(name, name, name, kept.id) == kept
    assert {loaded.id for loaded in store.load()} == {kept.id, other.id}


json_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.floats(0, 1) | st.integers(0, 1)


@given(
    name=json_text,
    label=json_text,
    params=st.dictionaries(json_text, st.none() | st.booleans() | st.integers() | numbers | json_text, max_size=4),
    metrics=st.dictionaries(json_text, numbers, max_size=4),
    seed=st.integers(0, 2**32 - 1),
    error=json_text,
)
def test_a_record_survives_json(name, label, params, metrics, seed, error):
    kept = record(method=name, label=label, params=params, metrics=metrics, seed=seed)
    assert Record.from_json(kept.to_json()) == kept
    failed = record(method=name, status="failed", error=error)
    assert Record.from_json(failed.to_json()).error == error


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize(
    ("error", "ends"),
    [(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), StoreError), (KeyboardInterrupt(), KeyboardInterrupt)],
    ids=["full disk", "Ctrl-C"],
)
def test_a_write_that_is_cut_short_leaves_no_part(tmp_path, monkeypatch, call, error, ends):
    store, done = ResultStore(tmp_path), record(seed=1)
    store.save(done, PREDICTIONS)
    before = files(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(os, call, Mock(side_effect=error))
        with pytest.raises(ends) as caught:
            store.save(record(), PREDICTIONS)
        with pytest.raises(ends):
            store.check_writable()
    if ends is StoreError:
        assert f"to {store.path(record()).parent} (No space left on device); free space" in str(caught.value)
        assert "\n" not in str(caught.value)
    assert files(tmp_path) == before
    assert store.load() == [done]


def test_predictions_that_do_not_fit_leave_no_record(tmp_path):
    """A real limit on the size of a file."""
    resource = pytest.importorskip("resource")
    store, (soft, hard) = ResultStore(tmp_path), resource.getrlimit(resource.RLIMIT_FSIZE)
    kept = store.save(record(seed=1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(StoreError, match="File too large"):
            store.save(record(), {"score": np.random.default_rng(0).random(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert store.load() == [record(seed=1)]
    assert [*files(tmp_path)] == [str(kept.relative_to(tmp_path))]


class Killed(BaseException):
    """Nothing can be done any more."""


@pytest.mark.parametrize("calls", range(9))
def test_no_kill_leaves_a_file_of_one_run_beside_another(tmp_path, monkeypatch, calls):
    """A repeat is killed before each system call that changes a name; what stands is of one run, or no run."""
    store, old, new = ResultStore(tmp_path), record(metrics={"T1": 0.25}), record(metrics={"T1": 0.75})
    rows = {record.metrics["T1"]: {"score": np.full(3, record.metrics["T1"])} for record in (old, new)}
    store.save(old, rows[0.25], {"synthesised": np.full((2, 2), 0.25)}, {"state": np.full(3, 0.25)})
    ends = iter([None] * calls)

    def counted(call):
        def act(*given, **options):
            if next(ends, Killed):
                raise Killed
            call(*given, **options)

        return act

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", counted(os.replace))
        patched.setattr(Path, "unlink", counted(Path.unlink))
        with contextlib.nullcontext() if calls == 8 else pytest.raises(Killed):
            store.save(new, rows[0.75])
    kept = store.load()
    assert kept == ([old] if calls == 0 else [new] if calls >= 6 else [])
    for run in kept:
        assert store.predictions(run)["score"].tolist() == rows[run.metrics["T1"]]["score"].tolist()
        with contextlib.suppress(StoreError):
            assert (store.features(run)["synthesised"] == run.metrics["T1"]).all()
        with contextlib.suppress(StoreError):
            assert (store.model(run)["state"] == run.metrics["T1"]).all()


def test_files_half_written_by_processes_that_are_gone_are_removed(tmp_path):
    store, gone = ResultStore(tmp_path), live_files.GONE
    places = tmp_path, store.save(record()).parent
    names = {
        f".{machine()}-{gone}-01234567.tmp": False,
        f".{machine()}-{os.getpid()}-01234567.tmp": True,  # this process may be writing it
        f".{'0' * 16}-{gone}-01234567.tmp": True,  # of another machine
        ".0123456789ab.tmp": True,  # of an older version: whose it is cannot be told
        f".{machine()}-{gone}-01234567.tmp.json": True,  # somebody's own
        ".mine.tmp": True,
    }
    for place, name in itertools.product(places, names):
        (place / name).touch()
    store.check_writable()
    for place, name in itertools.product(places, names):
        assert (place / name).exists() == names[name]
        if names[name]:
            os.utime(place / name, (1e9, 1e9))
    store.check_writable()
    for place in places:
        assert [name for name in names if (place / name).exists()] == list(names)[4:]


def test_a_root_that_cannot_be_a_folder_is_refused_before_any_work(tmp_path):
    ResultStore(tmp_path / "runs").check_writable()
    assert files(tmp_path) == {}
    (tmp_path / "file").write_text("")
    below = ResultStore(tmp_path / "file" / "runs")
    for act in (below.check_writable, lambda: below.save(record())):
        with pytest.raises(StoreError, match=f"cannot write .*{tmp_path / 'file'}"):
            act()
    with pytest.raises(StoreError, match="not a folder"):
        ResultStore(tmp_path / "file").load()


SAFE = {"np.load": ("allow_pickle", "False"), "torch.load": ("weights_only", "True")}
PICKLING = ("runner/executors", "runner/handout.py", "checks")
"""Where pickles pass between processes that one user's calls started, or are made and read in the same breath."""


def test_no_file_of_a_user_is_read_as_a_pickle():
    unsafe, calls = [], 0
    package = Path(zslbench.__file__).parent
    for path in sorted(package.rglob("*.py")):
        if not re.search(r"pickle|(np|numpy|torch)\.load", text := path.read_text(encoding="utf-8")):
            continue
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.Call):
                continue
            name, given = ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}
            keyword, value = SAFE.get(name.replace("numpy.", "np."), ("", ""))
            calls += bool(keyword)
            may_pickle = {path.relative_to(package).as_posix(), path.parent.relative_to(package).as_posix()} & {
                *PICKLING
            }
            if given.get(keyword, "") != value or (
                name.startswith(("pickle.load", "pickle.Unpickler")) and not may_pickle
            ):
                unsafe.append(f"{path}:{node.lineno}: {name}")
    assert calls > 0
    assert unsafe == []


@pytest.mark.parametrize("level", range(4))
def test_a_folder_that_cannot_be_read_is_told(tmp_path, monkeypatch, level):
    store = ResultStore(tmp_path)
    for name in ("eszsl", "sae"):
        store.save(record(name, "cub" if name == "sae" else "sun", "zsl" if name == "sae" else "gzsl"))
    closed = [tmp_path, *reversed([*store.path(record("sae")).parents][:3])][level]

    def refuse(path, scan=os.scandir):
        if Path(path) == closed:
            raise PermissionError(errno.EACCES, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    sentence = f"{closed} cannot be read (Permission denied); check its permissions."
    if level == 0:
        with pytest.raises(StoreError, match="Permission denied"):
            store.load()
        return
    assert [kept.method["name"] for kept in store.load()] == ["eszsl"]
    assert store.broken == [(closed, sentence)]
    if level < 3:
        return  # verbs show what `broken` holds, whatever it is
    with pytest.warns(RecordsLeftOut, match="1 file or folder was left out"):
        assert sentence in table(tmp_path)
    assert sentence in zslbench.watch(tmp_path, width=300).text
    assert sentence in zslbench.status(tmp_path).text
    with pytest.warns(RecordsLeftOut, match="1 file or folder was left out"):
        assert sentence in zslbench.report(tmp_path / "r.html", runs=tmp_path, figures=False).page.notes[-1]
    assert zslbench.results.export(tmp_path / "e.csv", runs=tmp_path).broken == (sentence,)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in folders")
def test_a_pipe_or_device_among_records_is_told_and_not_read(tmp_path):
    store = ResultStore(tmp_path)
    store.save(record(), {"label": np.arange(3)})
    pipe = store.path(record()).with_name("f" * 16 + ".json")
    os.mkfifo(pipe)
    device = pipe.with_name("e" * 16 + ".json")
    device.symlink_to("/dev/zero")
    assert store.load() == [record()]
    assert [path for path, _ in store.broken] == [device, pipe]
    assert all("is not a regular file" in why for _, why in store.broken)
    arrays = store.path(record()).with_suffix(".npz")
    arrays.unlink()
    os.mkfifo(arrays)
    with pytest.raises(StoreError, match="is not a regular file"):
        store.predictions(record())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in folders")
@pytest.mark.parametrize("name", [".", "..", "/", "folder", "circle"])
def test_output_to_a_folder_or_a_circle_of_links_is_refused_with_a_sentence(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("circle").symlink_to("circle")
    with pytest.raises(StoreError, match="cannot write the table"):
        write_text(Path(name), "content", "the table")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["circle", "folder"]


def test_output_goes_through_links_and_into_what_is_no_file(tmp_path):
    ResultStore(tmp_path / "runs").save(record())
    shown = zslbench.table(tmp_path / "runs")
    whole = shown.text
    target, link, dangling = tmp_path / "target.txt", tmp_path / "link.txt", tmp_path / "dangling.txt"
    target.write_text("old")
    link.symlink_to(target)
    dangling.symlink_to(tmp_path / "new.txt")
    for path in (link, dangling):
        shown.write_file(path, whole)
        assert path.is_symlink()
        assert path.read_text(encoding="utf-8") == whole
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    shown.write_file(pipe, whole)
    assert os.read(reader, 100_000).decode() == whole
    os.close(reader)
    assert pipe.is_fifo()
    shown.write_file(Path(os.devnull), whole)
    assert not Path(os.devnull).is_file()
    assert not [*tmp_path.glob("*.tmp")]
