"""Plan files: whole studies as TOML, read with `tomllib` and checked key by key."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

from zslbench.errors import BadValue, UnknownName
from zslbench.identity import expanded
from zslbench.protocols.splits import STAGES
from zslbench.runner.request import PRECISIONS, Request, SeedsAtOnce
from zslbench.runner.study_plan import StudyPlan

STUDY = "study"
MOST_BYTES = 1_000_000

_Kind = tuple[Callable[[Any], bool], str]


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and value.isprintable()


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _list_of(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and bool(value) and all(map(check, value))


def _either(one: Callable[[Any], bool], other: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: one(value) or other(value)


def _among(names: tuple[str, ...]) -> _Kind:
    return lambda value: _text(value) and value in names, f"one of {', '.join(names)}"


_TEXT: _Kind = (_text, "a text")
_TEXTS: _Kind = (_either(_text, _list_of(_text)), "a text or a list of texts")
_FLAG: _Kind = (lambda value: isinstance(value, bool), "true or false")

STUDY_KEYS: Mapping[str, _Kind] = {
    "methods": _TEXTS,
    "datasets": _TEXTS,
    "protocols": _TEXTS,
    "features": _TEXT,
    "semantics": _TEXT,
    "seeds": (
        _either(lambda value: _whole(value) and value > 0, _list_of(_whole)),
        "how many seeds, or a list of them such as [0, 1, 2]",
    ),
    "stage": _among(STAGES),
    "fold": (_either(_whole, _list_of(_whole)), "a fold, or a list of folds"),
    "data_root": _TEXT,
    "checkpoints": (_text, 'last or every:N, such as "every:10"'),
    "seeds_at_once": _among(get_args(SeedsAtOnce)),
    "precision": _among(PRECISIONS),
    "profile": _FLAG,
    "oracle": _FLAG,
    "calibrate": _FLAG,
    "keep_features": (lambda value: _whole(value) and value >= 0, "a number of rows a class, 0 for none"),
}
"""What a study may say, at the top of the file for all of them or in its own table."""

ENGINE_KEYS: Mapping[str, _Kind] = {
    "engine": _TEXT,
    "workers": (_either(lambda value: _whole(value) and value > 0, lambda value: value == "auto"), "a number, or auto"),
    "time_limit": _TEXT,
    "memory_limit": _TEXT,
    "scheduler": _TEXT,
    "engine_config": _TEXT,
}
FILE_KEYS: Mapping[str, _Kind] = {"runs": _TEXT, "device": _TEXT, **ENGINE_KEYS}
"""What only the top of a file may say: where and by what everything is run."""


def read_plan(path: Path | str) -> StudyPlan:
    """Read a plan file. Paths in it are relative to the file.

    Raises:
        BadValue: a file that cannot be read, is not TOML, or says something that is not allowed.
        UnknownName: a key that does not exist.
    """
    path = Path(path)
    found = _parsed(path)
    tables = found.pop(STUDY, [{}])
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise BadValue(f"{path}: {STUDY} must be tables; write [[{STUDY}]] above the keys of each.")
    _check(found, {**STUDY_KEYS, **FILE_KEYS}, str(path))
    shared = {key: value for key, value in found.items() if key in STUDY_KEYS}
    folder = Path(os.path.abspath(path.parent))  # noqa: PTH100  (links stay as they were written)
    requests: dict[str, Request] = {}
    for number, table in enumerate(tables, start=1):
        name = table.pop("name", f"study {number}")
        where = f"{path}, study {number}" if len(tables) > 1 else str(path)
        if not _text(name) or name in requests:
            raise BadValue(f"{where}: name is {name!r}; write a text that no other study has.")
        for key in table:
            if key in FILE_KEYS:
                raise BadValue(f"{where}: {key} holds for the whole file; write it above the first [[{STUDY}]].")
        _check(table, STUDY_KEYS, where)
        requests[name] = _request(shared | table, folder, where)
    return StudyPlan(
        requests,
        path,
        runs=_place(found["runs"], folder) if "runs" in found else None,
        device=found.get("device"),
        engine={
            key: str(_place(value, folder)) if key == "engine_config" else value
            for key, value in found.items()
            if key in ENGINE_KEYS
        },
    )


def _parsed(path: Path) -> dict[str, Any]:
    try:
        if not path.is_file():
            what = "is no file" if path.exists() else "does not exist"
            raise BadValue(f"the plan {path} {what}; name a TOML file with --plan.")
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
        if len(raw) > MOST_BYTES:
            raise BadValue(f"the plan {path} is larger than {MOST_BYTES} bytes; is it a plan?")
        return tomllib.loads(raw.decode("utf-8"))
    except OSError as error:
        raise BadValue(f"the plan {path} cannot be read ({error.strerror}); check its permissions.") from None
    except UnicodeDecodeError:
        raise BadValue(f"the plan {path} is not TOML (not UTF-8); save it as UTF-8 text.") from None
    except RecursionError:
        raise BadValue(
            f"the plan {path} is not a plan (it is nested too deep); see the documentation's example."
        ) from None
    except ValueError as error:
        raise BadValue(f"the plan {path} is not TOML ({error}); mend it there.") from None


def _check(table: Mapping[str, Any], keys: Mapping[str, _Kind], where: str) -> None:
    for key, value in table.items():
        if key not in keys:
            raise UnknownName(f"key in {where}", key, keys)
        check, wanted = keys[key]
        if not check(value):
            shown = repr(value)
            shown = shown if len(shown) <= 60 else f"{shown[:60]}…"
            raise BadValue(f"{where}: {key} is {shown}; write {wanted}.")


def _request(said: Mapping[str, Any], folder: Path, where: str) -> Request:
    for key in ("methods", "datasets"):
        if key not in said:
            raise BadValue(f'{where}: it names no {key}; write {key} = ["…"], there or at the top of the file.')
    texts = [said["datasets"]] if isinstance(said["datasets"], str) else said["datasets"]
    placed: dict[str, Any] = {"datasets": [_placed(text, folder) for text in texts]}
    if "data_root" in said:
        placed["data_root"] = _place(said["data_root"], folder)
    return Request(**{**said, **placed})


def _placed(text: str, folder: Path) -> str:
    """Return the text of a data set, a folder of the user's own found from where the plan lies."""
    head = text.partition("[")[0]
    if "/" in head or "\\" in head or head.strip() in (".", "..", "~"):
        return str(_place(text, folder))
    return text


def _place(text: str, folder: Path) -> Path:
    """Return the path that a text in a plan names, from where the plan lies."""
    return folder / expanded(text)
