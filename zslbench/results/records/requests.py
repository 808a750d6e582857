"""Requests: the runs that commands and plans asked for, kept beside the records until each of these runs has ended.

`status` reads them: a run that was asked for and has no record is missing.
"""

from __future__ import annotations

import collections
import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from zslbench.documents import Whole, convert, decode_json
from zslbench.errors import StoreError
from zslbench.files import read_regular, write_text
from zslbench.identity import canonical_json, digest
from zslbench.results.records.record import Record, Stage

FOLDER = ".requests"
SCHEMA = 1
_MOST_FILES = 1000


class RequestedMethod(Struct, frozen=True):
    """A method as it was typed (`label`), with the values of all its parameters."""

    name: str
    label: str
    params: dict[str, Any]


class RequestedRuns(Struct, frozen=True, order=True):
    """Runs of one method on one data set under one protocol, in one fold, with all of these seeds.

    Fields are as records have them; the parameters of the protocol are canonical JSON.
    """

    dataset: str
    features: str
    semantics: str
    origin: str
    fingerprint: str
    protocol: str
    protocol_params: str
    stage: Stage
    fold: Whole
    seeds: tuple[Whole, ...]
    own_folder: str = ""
    data_root: str = ""


class RequestPart(Struct, frozen=True):
    """Methods for which the same runs were asked for."""

    methods: tuple[RequestedMethod, ...]
    runs: tuple[RequestedRuns, ...]


class Request(Struct, frozen=True):
    """The runs that one command or plan asked for."""

    parts: tuple[RequestPart, ...]
    schema: int = SCHEMA


def make_request(asked: Iterable[tuple[RequestedMethod, RequestedRuns]]) -> Request:
    """Return a request from pairs of a method and one run of it: seeds are joined, methods with equal runs grouped."""
    methods: dict[str, RequestedMethod] = {}
    seeds: dict[tuple[str, RequestedRuns], set[int]] = collections.defaultdict(set)
    for method, run in asked:
        key = canonical_json(msgspec.to_builtins(method))
        methods[key] = method
        seeds[key, msgspec.structs.replace(run, seeds=())].update(run.seeds)
    by_method: dict[str, list[RequestedRuns]] = collections.defaultdict(list)
    for (key, run), numbers in seeds.items():
        by_method[key].append(msgspec.structs.replace(run, seeds=tuple(sorted(numbers))))
    alike: dict[tuple[RequestedRuns, ...], list[RequestedMethod]] = collections.defaultdict(list)
    for key, runs in by_method.items():
        alike[tuple(sorted(runs))].append(methods[key])
    return Request(tuple(RequestPart(tuple(group), runs) for runs, group in alike.items()))


def keep_request(root: Path, request: Request) -> Path:
    """Write a request to a file and return its path; the same request has the same file.

    The caller removes it as soon as each of its runs has ended.
    """
    path = root / FOLDER / f"{digest(msgspec.to_builtins(request))}.json"
    write_text(path, msgspec.json.encode(request).decode() + "\n", "what was asked for")
    return path


def list_requests(root: Path) -> list[Path]:
    """Return the files of a folder's requests, in order."""
    return sorted(path for path in (root / FOLDER).glob("*.json") if not path.name.startswith("."))[:_MOST_FILES]


def load_requested(root: Path) -> tuple[list[Record], list[str]]:
    """Return the requested runs as records of runs that were not begun, and sentences on broken files.

    Ids are empty. Runs that have a record by now are included.
    """
    records: list[Record] = []
    problems: list[str] = []
    for path in list_requests(root):
        try:
            document = decode_json(read_regular(path))
            schema = document.get("schema") if isinstance(document, dict) else None
            if isinstance(schema, int) and schema > SCHEMA:
                problems.append(f"{path} has schema {schema}, this zslbench reads up to {SCHEMA}; upgrade zslbench.")
                continue
            request = convert(document, Request)
            records += [
                _unstarted_record(method, runs, json.loads(runs.protocol_params), seed)
                for part in request.parts
                for method, runs in itertools.product(part.methods, part.runs)
                for seed in runs.seeds
            ]
        except FileNotFoundError:  # its runs are done by now
            continue
        except (ValueError, StoreError) as error:
            problems.append(f"{path} does not say what a command asked for ({error}); delete it.")
    return records, problems


def _unstarted_record(method: RequestedMethod, runs: RequestedRuns, protocol_params: Any, seed: int) -> Record:
    if not isinstance(protocol_params, dict):
        raise ValueError("the parameters of a protocol are not an object")
    return Record(
        id="",
        status="skipped",
        method={**msgspec.structs.asdict(method), "title": method.name, "version": 0},
        dataset={
            "name": runs.dataset,
            "features": runs.features,
            "semantics": runs.semantics,
            "fingerprint": runs.fingerprint,
            "origin": runs.origin,
        },
        protocol={"name": runs.protocol, "version": 0, "params": protocol_params},
        stage=runs.stage,
        fold=runs.fold,
        seed=seed,
        provenance={"own_folder": runs.own_folder, "data_root": runs.data_root},
    )
