"""Loading CUB-sized data: parsing the MATLAB files each time, and the memory-mapped store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from pytest_benchmark.fixture import BenchmarkFixture

from zslbench.data.array_store import load_stored
from zslbench.data.xlsa17 import read_folder

IMAGES, FEATURES, ATTRIBUTES, CLASSES, SEEN = 11788, 2048, 312, 200, 150
CHOICE = {"name": "made-up", "features": "res101", "semantics": "att"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An xlsa17 folder of CUB's size with random content, float64 features as in the original files."""
    found = tmp_path_factory.mktemp("made-up")
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, IMAGES)
    seen, unseen = np.flatnonzero(labels < SEEN), np.flatnonzero(labels >= SEEN)
    names = np.array([f"class{number}" for number in range(CLASSES)], dtype=object)[:, None]
    scipy.io.savemat(found / "res101.mat", {"features": rng.random((FEATURES, IMAGES)), "labels": labels[:, None] + 1})
    locs = {"trainval_loc": seen[::2], "test_seen_loc": seen[1::2], "test_unseen_loc": unseen}
    scipy.io.savemat(
        found / "att_splits.mat",
        {"att": rng.random((ATTRIBUTES, CLASSES)), "allclasses_names": names}
        | {name: (rows[:, None] + 1).astype(np.uint16) for name, rows in locs.items()},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZSLBENCH_HOME", str(tmp_path_factory.mktemp("home")))
        load_stored(found, **CHOICE)
        yield found


@pytest.mark.benchmark(group="load at CUB size")
def test_parse_xlsa17(benchmark: BenchmarkFixture, folder: Path) -> None:
    benchmark.pedantic(read_folder, (folder,), CHOICE, rounds=3)


@pytest.mark.benchmark(group="load at CUB size")
def test_memory_mapped(benchmark: BenchmarkFixture, folder: Path) -> None:
    found = benchmark.pedantic(load_stored, (folder,), CHOICE, rounds=20)
    assert isinstance(found.features.base, np.memmap) or isinstance(found.features, np.memmap)


@pytest.mark.benchmark(group="load at CUB size")
def test_memory_mapped_and_read_whole(benchmark: BenchmarkFixture, folder: Path) -> None:
    benchmark.pedantic(lambda: np.array(load_stored(folder, **CHOICE).features), rounds=5)
