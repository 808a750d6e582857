"""`ResultStore`: records and their predictions as files, each named by its run."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import hashlib
import os
import re
import shlex
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zslbench import files
from zslbench.arrays import AnyArray
from zslbench.errors import BadValue, StoreError
from zslbench.identity import expand_home
from zslbench.results.records.record import Record
from zslbench.visible import shorten

_MAX_NAME = 100
_LEVELS = 3
"""Levels of folders between the root and a record."""
_FEATURES = ".features.npz"
_MODEL = ".model.npz"
_ENDINGS = (".npz", _FEATURES, _MODEL, ".trace.json.gz")
"""Endings of the files beside ``<id>.json``: predictions, kept features, model, traces of older versions."""
_ID = re.compile(r"[0-9a-f]{16}")
_PART_OF_ID = re.compile(r"[0-9a-f]{4,16}")
_IDS_SHOWN = 5
MOST_IN_ARRAYS = 2**31
"""Bytes of the arrays in one file, such as the predictions of 30 million test images."""
_Kind = tuple[str, int, str]
"""What an array must be: its kinds of numbers, its dimensions, and what each of its rows is of."""
_PREDICTED: Mapping[str, _Kind] = {
    **dict.fromkeys(("row", "label", "seen_class", "unseen_class"), ("iu", 1, "image")),
    **dict.fromkeys(("seen_score", "unseen_score"), ("f", 1, "image")),
    "of_unseen": ("b", 1, "image"),
}
_KEPT: Mapping[str, _Kind] = {
    "synthesised": ("f", 2, "synthesised"),
    "synthesised_label": ("iu", 1, "synthesised"),
    "real": ("f", 2, "real"),
    "real_label": ("iu", 1, "real"),
}
_UNSAFE = re.compile(r"[^\w.,=+-]|^\.|\.$")


class ResultStore:
    """The folder of records: ``<root>/<dataset>/<protocol>/<method>/<id>.json``, predictions beside it as ``.npz``.

    Attributes:
        root: the folder; it need not exist until something is saved.
        broken: files that the last `load`, or any `find` since, could not read, each with the reason.
        altered: records among them that were changed after they were written: their content does not match their id.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.broken: list[tuple[Path, str]] = []
        self.altered: list[Record] = []

    def path(self, record: Record) -> Path:
        """Return where the document of `record` is kept."""
        return self._path_of(record.dataset["name"], record.protocol["name"], record.method["name"], record.id)

    def _path_of(self, dataset: str, protocol: str, method: str, id: str) -> Path:
        return self.root.joinpath(*map(safe_folder_name, (dataset, protocol, method)), f"{id}.json")

    def check_writable(self) -> None:
        """Check that the root is writable before hours of work depend on it; remove left-over temporary files.

        Raises:
            StoreError: the folder cannot be made or written to.
        """
        now = files.check_folder_writable(self.root)
        below = (folder for level in range(1, _LEVELS + 1) for folder in self.root.glob("*/" * level))
        files.remove_temporary([self.root, *below], now)

    def save(
        self,
        record: Record,
        predictions: Mapping[str, AnyArray] | None = None,
        features: Mapping[str, AnyArray] | None = None,
        model: Mapping[str, AnyArray] | None = None,
    ) -> Path:
        """Write a record with its predictions, features for pictures and model (see `write_run`); return its path.

        Args:
            features: ``synthesised`` and ``real`` (n, d) with ``synthesised_label`` and ``real_label`` (n,).
            model: the state of the fitted method, as `zslbench.methods.saved_state` packs it.

        Raises:
            StoreError: the folder is not writable or the disk is full; what was finished before stays.
        """
        path, run, text = self.path(record), f"run {record.id}", record.to_json().encode("utf-8", "backslashreplace")
        arrays = {".npz": predictions, _FEATURES: features, _MODEL: model}
        beside = {ending: _arrays_writer(content, run) for ending, content in arrays.items() if content is not None}
        write_run(path, lambda file: file.write(text), beside, run)
        return path

    def relabel(self, record: Record) -> None:
        """Rewrite a record's document, but not its predictions: its label or selection changed."""
        files.write_text(self.path(record), record.to_json(), f"run {record.id}")

    def rename(self, record: Record, id: str) -> Record:
        """Move a record and the files beside it to another id, and return it; one that has that id already stays."""
        renamed, before = dataclasses.replace(record, id=id), self.path(record)
        present = self.find(record.dataset["name"], record.protocol["name"], record.method["name"], id)
        if present is None:
            for path in companions(before):
                os.replace(path, path.with_name(id + path.name.removeprefix(record.id)))  # noqa: PTH105
            self.relabel(renamed)
        for path in (before, *companions(before)):
            path.unlink()
        return present or renamed

    def find(self, dataset: str, protocol: str, method: str, id: str) -> Record | None:
        """Return the record of one run; None if there is none or it is broken, which is then listed in `broken`."""
        return self._read(self._path_of(dataset, protocol, method, id))

    def find_by_id(self, id: str) -> tuple[Path, Record]:
        """Return the record of one run, and its file, by its id or the first digits of it, four or more.

        Raises:
            BadValue: there is no such run, there are several, or the text is not part of an id.
            StoreError: it cannot be read.
        """
        digits = id.lower()
        if not _PART_OF_ID.fullmatch(digits):
            raise BadValue(
                f"{shorten(id, 40)!r} is not the id of a run; write 4 to 16 of its digits (0–9, a–f), which "
                f"`{self._listing}` lists."
            )
        folders, self.broken = record_folders(self.root)
        ends = re.compile(rf"{digits}[0-9a-f]*\.json")
        paths = sorted(_list_entries(folders, lambda entry: bool(ends.fullmatch(entry.name)), self.broken))
        if len({path.name for path in paths}) > 1:
            ids = ", ".join(path.stem for path in paths[:_IDS_SHOWN]) + (", …" if len(paths) > _IDS_SHOWN else "")
            raise BadValue(
                f"{len(paths)} runs in {self.root} have an id that begins with {id!r}: {ids}; write more of it."
            )
        if not paths:
            raise BadValue(
                f"no run in {self.root} has the id {id!r}; `{self._listing}` lists the ids, and --runs names another "
                "folder of records."
            )
        return paths[0], read_record(paths[0])

    @property
    def _listing(self) -> str:
        """The command that lists the runs."""
        return shlex.join(["zslbench", "show", *runs_option(self.root)])

    def _read(self, path: Path) -> Record | None:
        try:
            return read_record(path)
        except FileNotFoundError:  # or removed meanwhile
            return None
        except StoreError as error:
            self.broken.append((path, str(error)))
            if isinstance(error, _Altered):
                self.altered.append(error.record)
            return None

    def load(self) -> list[Record]:
        """Return every record (see `each`), sorted by data set, protocol, method, label, stage, fold and seed.

        Of a run that was done twice, on the same data by its name and by its folder, it is the newer that finished.
        """
        records: dict[str, Record] = {}
        with without_collection():
            for path, record in self.each():
                if (first := records.setdefault(record.id, record)) is not record:
                    self.broken.append((path, f"{path} tells of the same run as {self.path(first)}; delete one."))
        every = [*records.values()]
        united = unite_origins(every)
        if any(now is not before for now, before in zip(united, every, strict=True)):
            united = _drop_repeats(united)
        return sorted(
            united,
            key=lambda record: (
                *(part["name"] for part in (record.dataset, record.protocol, record.method)),
                *(record.label, record.stage, record.fold, record.seed, record.id),
            ),
        )

    def each(self) -> Iterator[tuple[Path, Record]]:
        """Yield the path and record of every readable document; unreadable files and folders are listed in `broken`.

        Raises:
            StoreError: the root is not a folder that can be read.
        """
        self.altered = []
        folders, self.broken = record_folders(self.root)
        for path in sorted(_list_entries(folders, lambda entry: entry.name.endswith(".json"), self.broken)):
            if record := self._read(path):
                yield path, record

    @property
    def left_out(self) -> tuple[str, ...]:
        """One sentence on the files and folders in `broken`; empty if there are none."""
        return left_out([reason for _, reason in self.broken])

    def predictions(self, record: Record) -> dict[str, AnyArray]:
        """Return the arrays that were saved with `record`, by name.

        Raises:
            StoreError: there are none, or the file is damaged.
        """
        return _read_arrays(self.path(record).with_suffix(".npz"), "predictions", record, _PREDICTED)

    def features(self, record: Record) -> dict[str, AnyArray]:
        """Return what ``run --keep-features`` kept beside `record`, as `predictions` does (see `save`)."""
        path = self.path(record).with_suffix(_FEATURES)
        return _read_arrays(path, "kept features", record, _KEPT, " --keep-features 50")

    def model(self, record: Record) -> dict[str, AnyArray]:
        """Return the state that ``run --save-model`` kept beside `record`, as `predictions` does (see `save`)."""
        return _read_arrays(self.path(record).with_suffix(_MODEL), "kept model", record, None, " --save-model")


def unite_origins(records: Sequence[Record]) -> list[Record]:
    """Return records with one origin of the same data: a name's if any of them was read by it, not by a folder."""
    named = {
        _data_key(record): origin
        for record in records
        if (origin := record.dataset.get("origin") or "own") != "own"  # early records may have none
    }
    return [
        dataclasses.replace(record, dataset={**record.dataset, "origin": named[key]})
        if record.dataset.get("origin") == "own" and (key := _data_key(record)) in named
        else record
        for record in records
    ]


def _data_key(record: Record) -> tuple[Any, ...]:
    return tuple(map(record.dataset.get, ("name", "features", "semantics", "fingerprint")))


def _drop_repeats(records: Iterable[Record]) -> list[Record]:
    """Return a record per run: of several one that finished, no mere candidate of oracle selection, the newest."""

    def rank(record: Record) -> tuple[bool, bool, str]:
        return record.ok, record.selection != "oracle", str(record.provenance.get("finished", ""))

    last_counts = sorted(records, key=rank)
    return [*{record.make_id(record.schema, record.selection): record for record in last_counts}.values()]


def find_run(run: str | Path, runs: Path | str = "runs") -> tuple[ResultStore, Path, Record]:
    """Return the folder of records that a run is in, the run's file and its record.

    Args:
        run: its id, or the first digits of it, four or more; or the path of its file, or of one beside that.
        runs: the folder of records for an id, and for the copy of a record that lies in no such folder.

    Raises:
        BadValue: there is no such run, or there are several.
        StoreError: the record cannot be read.
    """
    text = str(run).strip()
    if not any(sign in text for sign in "/\\."):
        store = ResultStore(runs)
        return store, *store.find_by_id(text)
    path = expand_home(run)
    path = document_of(path) or path
    if path.is_dir():
        raise BadValue(f"{path} is a folder; name the file of a record in it, or the id of a run.")
    if path.exists() and not (path.suffix == ".json" and _ID.fullmatch(path.stem)):  # never told to delete it
        raise BadValue(f"{path} is not the file of a record, which is <id>.json; name one, or the id of a run.")
    try:
        record = read_record(path)
    except FileNotFoundError:
        raise BadValue(f"{path} does not exist; name the file of a record, or the id of a run.") from None
    above = (path if len(path.parents) > _LEVELS else path.absolute()).parents
    if len(above) > _LEVELS and (store := ResultStore(above[_LEVELS])).path(record).absolute() == path.absolute():
        return store, path, record
    return ResultStore(runs), path, record


def safe_folder_name(name: str) -> str:
    """Return `name` as one safe folder name; names without special characters stay as they are.

    >>> [safe_folder_name(name) for name in ("eszsl", "my_pkg.mine:Method", "../a b")]
    ['eszsl', 'my_pkg.mine%3AMethod', '%2E.%2Fa%20b']
    """

    def quote(match: re.Match[str]) -> str:
        return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "surrogatepass"))

    safe = _UNSAFE.sub(quote, name) or "%"
    if len(safe.encode("utf-8")) <= _MAX_NAME:
        return safe
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return safe.encode("utf-8")[: _MAX_NAME - 14].decode("utf-8", "ignore") + f"--{digest}"


def runs_option(runs: Path) -> list[str]:
    """Return the words of a command that name a folder of records; none for the default folder."""
    return [] if runs == Path("runs") else ["--runs", str(runs)]


def data_options(text: str, origin: str, features: str, semantics: str, root: Path | str | None) -> list[str]:
    """Return the words of a command that name a data set; a built-in one has no choice of features and semantics."""
    choices = [] if origin == "builtin" else ["--features", features, "--semantics", semantics]
    return ["-d", text, *choices, *(["--data-root", str(root)] if root else [])]


def companions(document: Path) -> list[Path]:
    """Return the files beside a document that belong to its run."""
    beside = (document.with_name(document.stem + ending) for ending in _ENDINGS)
    return [path for path in beside if path.is_file()]


def document_of(companion: Path) -> Path | None:
    """Return the document that a file belongs to, whether it exists or not; None if the file belongs to none.

    >>> document_of(Path("runs/cub/zsl/sae/0123456789abcdef.features.npz")).name
    '0123456789abcdef.json'
    """
    name, dot, ending = companion.name.partition(".")
    return companion.with_name(f"{name}.json") if dot + ending in _ENDINGS and _ID.fullmatch(name) else None


def write_run(document: Path, write: files.Writer, beside: Mapping[str, files.Writer], run: str) -> None:
    """Write a document and the files beside it, by their endings, in place of those of an earlier run.

    At no moment, even if the process is killed, does a file of one run stand beside the document of another. All files
    are written under temporary names first. Then the old document is removed, which removes the old run, and the new
    document is put in place last.

    Raises:
        StoreError: see `write_atomically`; the earlier run stays.
    """
    try:
        with contextlib.ExitStack() as staging:
            paths = {ending: document.with_name(document.stem + ending) for ending in _ENDINGS}
            filled = {
                ending: staging.enter_context(files.staged(paths[ending], fill)) for ending, fill in beside.items()
            }
            last = staging.enter_context(files.staged(document, write))
            document.unlink(missing_ok=True)
            for ending, path in paths.items():
                if ending in filled:
                    os.replace(filled[ending], path)  # noqa: PTH105
                else:
                    path.unlink(missing_ok=True)
            os.replace(last, document)  # noqa: PTH105
    except OSError as error:
        raise files.write_error(error, run, document.parent) from None


def _arrays_writer(arrays: Mapping[str, AnyArray], run: str) -> files.Writer:
    content: dict[str, Any] = {name: np.asarray(array) for name, array in arrays.items()}
    if any(array.dtype.hasobject for array in content.values()):
        raise TypeError(f"{run}: arrays must be of numbers, not of Python objects")
    return lambda file: np.savez_compressed(file, **content)


class _Arrays(dict[str, AnyArray]):
    """Arrays of a file by name; asking for a missing one raises StoreError."""

    def __init__(self, arrays: Mapping[str, AnyArray], content: str, again: str) -> None:
        super().__init__(arrays)
        self.content, self.again = content, again

    def __missing__(self, name: str) -> AnyArray:
        raise StoreError(f"{self.content} lack {name}; {self.again}.")


def _read_arrays(
    path: Path, content: str, record: Record, kinds: Mapping[str, _Kind] | None, option: str = ""
) -> dict[str, AnyArray]:
    again = f"run it again with{option} --rerun all"
    try:
        files.check_regular(path, path.stat().st_mode)
        if not zipfile.is_zipfile(path):  # NumPy would advise to unpickle it
            raise StoreError(f"the {content} {path} cannot be read: it is not a .npz file; delete it and {again}.")
        with np.load(path, allow_pickle=False) as file:
            declared = sum(member.file_size for member in file.zip.infolist())
            if declared > MOST_IN_ARRAYS:
                raise StoreError(
                    f"the {content} {path} would take {declared:,} bytes of memory; delete it and {again}."
                )
            arrays = _Arrays({name: file[name] for name in file.files}, f"the {content} of run {record.id}", again)
    except FileNotFoundError:
        raise StoreError(f"run {record.id} has no {content} at {path}; {again}.") from None
    except StoreError:
        raise
    except Exception as error:
        raise StoreError(f"the {content} {path} cannot be read ({error}); delete the file and {again}.") from None
    lengths: dict[str, int] = {}
    for name, array in arrays.items():
        if kinds is None:
            break
        numbers, dimensions, of = kinds.get(name, ("biuf", 1, "image"))
        fits = array.dtype.kind in numbers and array.ndim == dimensions
        if not fits or len(array) != lengths.setdefault(of, len(array)):
            why = f"{name} is of another kind, shape or length: {array.dtype} {array.shape}"
            raise StoreError(f"the {content} {path} are damaged ({why}); delete the file and {again}.")
    return arrays


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Disable garbage collection meanwhile: records hold no cycles, and each collection would walk all records read."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def record_folders(root: Path) -> tuple[list[Path], list[tuple[Path, str]]]:
    """Return the folders that hold records, ``<root>/<dataset>/<protocol>/<method>``, and those that cannot be read.

    Raises:
        StoreError: the root is a file, or cannot be read.
    """
    if root.exists() and not root.is_dir():
        raise StoreError(f"{root} is a file, not a folder of runs; name a folder with --runs.")
    folders, broken = [root], list[tuple[Path, str]]()
    for _ in range(_LEVELS):
        folders = _list_entries(folders, lambda entry: entry.name[0] != "." and entry.is_dir(), broken)
        if broken and broken[0][0] == root:
            raise StoreError(broken[0][1])
    return folders, broken


def _list_entries(
    folders: Iterable[Path], wanted: Callable[[os.DirEntry[str]], bool], broken: list[tuple[Path, str]]
) -> list[Path]:
    """Return the wanted entries of folders, sorted in each; a folder that cannot be read goes to `broken`."""
    paths: list[Path] = []
    for folder in folders:
        try:
            with os.scandir(folder) as entries:
                paths += sorted(folder / entry.name for entry in entries if wanted(entry))
        except FileNotFoundError:
            continue  # removed meanwhile
        except OSError as error:
            broken.append((folder, files.read_problem(folder, error)))
    return paths


def left_out(reasons: Sequence[str]) -> tuple[str, ...]:
    """Return one sentence on files and folders that are not shown, given their reasons; empty if there are none."""
    count = "1 file or folder was" if len(reasons) == 1 else f"{len(reasons)} files or folders were"
    return (f"{count} left out: {reasons[0]}",) if reasons else ()


def read_record(path: Path) -> Record:
    """Return the record in a file that is named by its run.

    Raises:
        FileNotFoundError: there is none.
        StoreError: it cannot be read, is not a record, or is the record of another run.
    """
    record = Record.from_json(files.read_regular(path), where=str(path))
    if record.id != path.stem:
        raise StoreError(
            f"{path} is not a zslbench record (it tells of run {record.id[:40]!r}); delete it or restore a copy."
        )
    if not record.has_its_id():
        raise _Altered(path, record)
    return record


class _Altered(StoreError):
    """A record that was changed after it was written."""

    def __init__(self, path: Path, record: Record) -> None:
        super().__init__(
            f"{path} is not the record that it was (its content is not that of its id); restore a copy, or run it "
            "again."
        )
        self.record = record
