"""10,000 records: the table and the report beside reading the same files' JSON, which neither can do without."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from zslbench.identity import digest
from zslbench.results.records.record import Record

METHODS, DATASETS, SEEDS = 20, 5, 50

READ = "import json, pathlib, sys; [json.loads(p.read_text()) for p in pathlib.Path(sys.argv[1]).glob('*/*/*/*.json')]"
COMMANDS = {
    "reading the JSON": ["-c", READ, "{runs}"],
    "zslbench table": ["-m", "zslbench", "table", "--runs", "{runs}"],
    "zslbench report": ["-m", "zslbench", "report", "--runs", "{runs}", "-o", "{page}"],
}


def made(method: int, dataset: int, protocol: str, seed: int) -> Record:
    """Return one record with a curve of ten steps; its numbers are arbitrary, and follow from what it is of."""
    names = ("T1",) if protocol == "zsl" else ("U", "S", "H", "AUSUC")
    metrics = {name: int(digest([method, dataset, name, seed]), 16) / 16**16 for name in names}
    params = {"gamma": 1000.0, "lam": 1.0, "preprocess": "none"}
    record = Record(
        id="",
        status="ok",
        method={"name": f"m{method}", "title": f"Method{method}", "label": f"m{method}", "version": 1, "params": params}
        | {"setting": "inductive", "stochastic": True},
        dataset={"name": f"d{dataset}", "features": "f", "semantics": "s", "fingerprint": "0", "origin": "own"},
        protocol={"name": protocol, "version": 1, "params": {}},
        stage="final",
        fold=0,
        seed=seed,
        metrics=metrics,
        curve=tuple({"step": 10 * step, "metrics": metrics} for step in range(1, 11)),
        timings={"data": 0.0002, "fit": 0.0239, "scores": 0.0003, "total": 0.0661},
        memory={"process_peak_so_far": 174317568},
        provenance={"zslbench": "0.1.0", "device": "cpu", "finished": f"2026-01-01T00:00:{seed:02d}+00:00"},
    )
    parts = ("schema", "method", "dataset", "protocol", "stage", "fold", "seed")
    names = ("name", "version", "params", "features", "semantics", "fingerprint", "origin")
    identity = {part: getattr(record, part) for part in parts}
    for part in ("method", "dataset", "protocol"):
        identity[part] = {name: value for name, value in identity[part].items() if name in names}
    record = dataclasses.replace(record, id=digest(identity))
    assert record.has_its_id()  # else it would be left out
    return record


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    for method in range(METHODS):
        for dataset in range(DATASETS):
            for protocol in ("zsl", "gzsl"):
                folder = root / f"d{dataset}" / protocol / f"m{method}"
                folder.mkdir(parents=True)
                for seed in range(SEEDS):  # as a store writes it, but without a flush to disk each
                    record = made(method, dataset, protocol, seed)
                    (folder / f"{record.id}.json").write_text(record.to_json(), encoding="utf-8")
    return root


@pytest.mark.benchmark(group="10,000 records")
@pytest.mark.parametrize("command", COMMANDS)
def test_ten_thousand_records(benchmark: BenchmarkFixture, runs: Path, command: str) -> None:
    page = runs.parent / "report.html"
    words = [word.format(runs=runs, page=page) for word in COMMANDS[command]]

    def start() -> None:
        done = subprocess.run(
            [sys.executable, *words], check=True, capture_output=True, env={**os.environ, "COLUMNS": "400"}
        )
        assert not done.stderr or b"wrote" in done.stderr

    benchmark.pedantic(start, rounds=3, warmup_rounds=1)
    if "report" in command:
        data = page.read_text(encoding="utf-8").partition('id="data">')[2].partition("</script>")[0]
        assert len(json.loads(data)["runs"]) == METHODS * DATASETS * 2 * SEEDS
