"""A few fixed records from which the tests of tables are made, and the golden texts that tables are held against."""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from zslbench.identity import digest
from zslbench.results.records.record import SCHEMA, Record
from zslbench.results.records.store import ResultStore
from zslbench.results.records.tuned_presets import TunedPreset
from zslbench.studies import record_table

GOLDEN = Path(__file__).parent / "golden"
WITHOUT_LEFT_OUT = pytest.mark.filterwarnings("ignore::zslbench.errors.RecordsLeftOut")
"""For tests of tables about something else than the records that these leave out; `pytest.warns` sees them still."""


def record(
    method: str = "eszsl",
    dataset: str = "cub",
    protocol: str = "zsl",
    seed: int = 0,
    metrics: Mapping[str, float] | None = None,
    *,
    title: str | None = None,
    label: str | None = None,
    params: Mapping[str, Any] | None = None,
    setting: str = "inductive",
    features: str = "fc1000",
    semantics: str = "att",
    fingerprint: str | None = None,
    origin: str = "catalogue",
    selection: str = "fixed",
    stage: str = "final",
    fold: int = 0,
    status: Any = "ok",
    error: str = "",
    version: int = 1,
    curve: Mapping[int, Mapping[str, float]] | None = None,
) -> Record:
    data = {"name": dataset, "features": features, "semantics": semantics}
    data |= {"fingerprint": fingerprint or digest(data), "origin": origin}
    facts: dict[str, Any] = {"dataset": data, "stage": stage, "fold": fold, "seed": seed}
    facts["protocol"] = {"name": protocol, "version": 1, "params": {}}
    facts["method"] = {"name": method, "version": version, "params": dict(params or {})}
    identity = digest({"schema": SCHEMA, **facts})
    facts["method"] |= {"title": title or method, "label": label or method}
    facts["method"] |= {"setting": setting, "stochastic": method != "eszsl"}
    return Record(
        id=identity,
        status=status,
        selection=selection,
        metrics=({"T1": 0.5} if metrics is None else metrics) if status == "ok" else {},
        error=error,
        curve=tuple({"step": step, "metrics": dict(judged)} for step, judged in (curve or {}).items()),
        **facts,
    )


def preset(**changes: Any) -> TunedPreset:
    """Return what tuning SAE on CUB found, changed by some facts."""
    facts: dict[str, Any] = {
        "name": "tuned", "method": "sae", "version": 1, "source": "", "given": "sae", "dataset": "cub",
        "features": "fc1000", "semantics": "att", "fingerprint": "f", "protocol": "zsl", "metric": "T1",
        "values": {"lam": 2.0}, "score": 0.5, "folds": (1,), "fold_scores": (0.5,), "space": {}, "at_edge": (),
        "sampler": "grid", "seed": 0, "trials": {"ok": 3},
    }  # fmt: skip
    return TunedPreset(**(facts | changes))


def pair(method: str, dataset: str, seed: int, values: tuple[float, float, float, float], **facts: Any) -> list[Record]:
    """Return a zsl and a gzsl record of T1, U, S, AUSUC (H follows)."""
    t1, unseen, seen, area = values
    harmonic = 2 * unseen * seen / (unseen + seen)
    return [
        record(method, dataset, "zsl", seed, {"T1": t1}, **facts),
        record(method, dataset, "gzsl", seed, {"U": unseen, "S": seen, "H": harmonic, "AUSUC": area}, **facts),
    ]


def study() -> list[Record]:
    """Two data sets under both protocols: one seed and three, †, ‡, a missing cell, a failed run."""
    eszsl: dict[str, Any] = {"title": "ESZSL", "label": "eszsl[gamma=1000]", "params": {"gamma": 1000.0, "lam": 1.0}}
    gan: dict[str, Any] = {"title": "LisGAN", "params": {"souls": 3, "cascade": "off"}}
    gan["label"] = "lisgan@S3[hidden=1024,epochs=40,preprocess=standard+clip+minmax]"
    wgan = {**gan, "title": "f-CLSWGAN", "label": gan["label"].replace("lisgan@S3", "fclswgan")}
    full: dict[str, Any] = {"title": "LisGAN", "setting": "transductive", "params": {"souls": 3, "cascade": "softmax"}}
    added: dict[str, Any] = {"features": "efflite0", "origin": "own"}
    records = pair("eszsl", "cub", 0, (0.556, 0.156, 0.674, 0.11), **eszsl)
    records += pair("eszsl", "FLO_PART", 0, (0.474, 0.049, 0.88, 0.2), **eszsl, **added)
    records += pair("sae", "cub", 0, (0.467, 0.078, 0.54, 0.05), title="SAE", selection="oracle")
    for seed, shift in enumerate((-0.01, 0.0, 0.02)):
        records += pair("lisgan", "cub", seed, (0.49 + shift, 0.43 + shift, 0.43 - shift, 0.2), **gan)
        records += pair("fclswgan", "cub", seed, (0.495 + shift, 0.428, 0.432 + shift, 0.2), **wgan)
        records += pair("lisgan", "FLO_PART", seed, (0.55 + shift, 0.5, 0.62 + shift, 0.3), **gan, **added)
        records += pair("lisgan", "FLO_PART", seed, (0.6 + shift, 0.55, 0.65 + shift, 0.3), **full, **added)
    return [*records, record("lisgan", "cub", "zsl", 9, title="LisGAN", status="failed", error="ValueError: no\n")]


PAPER_METHODS = (
    "DAP", "CONSE", "SSE", "DeViSE", "SJE", "ESZSL", "ALE", "SYNC", "SAE", "DEM", "GAZSL", "f-CLSWGAN", "LisGAN",
)  # fmt: skip
PAPER_DATA = ("apy", "awa1", "cub", "flo", "sun")


def paper_study(ending: str = "", **facts: Any) -> list[Record]:
    """Every method of LisGAN's tables on every data set with three seeds; `ending` makes their names longer."""
    records = []
    for (i, name), (j, data), seed in product(enumerate(PAPER_METHODS), enumerate(PAPER_DATA), range(3)):
        values = 0.3 + 0.02 * i + 0.003 * seed, 0.1 + 0.03 * i - 0.001 * seed, 0.9 - 0.04 * j - 0.005 * i, 0.1
        method = name.lower().replace("-", "")
        records += pair(method, data, seed, values, title=name + ending, features="res101", **facts)
    return records


def table(runs: Path | str = "runs", **options: Any) -> str:
    """Return the text of `zslbench.table`."""
    return record_table.table(runs, **options).text


def files(folder: Path) -> dict[str, bytes]:
    """Return the content of every file in a folder, by its path there."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def saved(folder: Path, records: list[Record]) -> Path:
    store = ResultStore(folder)
    for kept in records:
        store.save(kept)
    return folder


@pytest.fixture(scope="session")
def study_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The records of `study`, which no test changes."""
    return saved(tmp_path_factory.mktemp("study") / "runs", study())


@pytest.fixture(scope="session")
def paper_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The records of `paper_study`, which no test changes."""
    return saved(tmp_path_factory.mktemp("paper"), paper_study())


def check_golden(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("ZSLBENCH_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
