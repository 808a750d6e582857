"""The remark on runs that did hardly better than chance on unseen classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from click.testing import CliRunner
from result_records import record

import zslbench
from zslbench.cli import cli
from zslbench.errors import StoreError
from zslbench.results.analysis.advice import advise_near_chance
from zslbench.results.records.record import Record


def answers(unseen: int, seen: int = 0) -> dict[str, Any]:
    labels = np.arange(unseen + seen).repeat(3)
    return {"label": labels, "of_unseen": labels < unseen}


def said(metrics: dict[str, float], unseen: int, seen: int = 0, **facts: Any) -> list[str]:
    protocol = "zsl" if "T1" in metrics else "gzsl"
    return advise_near_chance(
        [record("eszsl", protocol=protocol, metrics=metrics, **facts)], lambda _: answers(unseen, seen)
    )


@pytest.mark.parametrize(
    ("metrics", "unseen", "seen", "weak"),
    [
        ({"T1": 0.039}, 50, 0, True),  # chance 2 %
        ({"T1": 0.041}, 50, 0, False),
        ({"T1": 0.19}, 10, 0, True),
        ({"T1": 0.0}, 9, 0, False),  # so few classes that nothing is said
        ({"U": 0.0099, "S": 0.9}, 50, 150, True),  # chance 0.5 %
        ({"U": 0.0101, "S": 0.9}, 50, 150, False),
        ({"U": 0.0, "S": 0.9}, 3, 7, False),
    ],
)
def test_twice_chance_is_the_bound(metrics: dict[str, float], unseen: int, seen: int, weak: bool) -> None:
    assert bool(said(metrics, unseen, seen)) is weak


def test_the_sentence_names_number_bound_and_what_to_try() -> None:
    params = {"preprocess": "none", "targets": "signed"}
    (sentence,) = said({"T1": 0.03}, 50, params=params, label="eszsl[targets=signed]")
    assert sentence == (
        "eszsl[targets=signed] on CUB: T1 3.0 is under twice chance, 4.0 among 50 candidates; try "
        "`zslbench tune eszsl -d …`, or another preprocess than none, or targets=binary."
    )
    assert "`run --calibrate`" in said({"U": 0.0, "S": 0.9}, 50, 150)[0]


def test_one_sentence_for_many_runs_and_none_for_trials() -> None:
    runs: list[Record] = [record("eszsl", seed=seed, metrics={"T1": 0.01 * (seed + 1)}) for seed in range(3)]
    runs += [record("eszsl", protocol="gzsl", metrics={"U": 0.0, "S": 0.5})]
    (sentence,) = advise_near_chance(runs, lambda _: answers(50))
    assert "(and 2 more) on CUB: T1 1.0 is" in sentence
    trials = [record(metrics={"T1": 0.01}, stage="dev", fold=1), record(metrics={"T1": 0.01}, selection="oracle")]
    assert advise_near_chance(trials, lambda _: answers(50)) == []

    assert advise_near_chance(runs, Mock(side_effect=StoreError("none"))) == []
    load = Mock(return_value=answers(50))
    advise_near_chance(runs, load)
    assert load.call_count == 2  # the test images of a data set are the same in every run under a protocol


def test_run_and_report_say_it(tmp_path: Path) -> None:
    """A method that guesses among 12 unseen classes; on the 3 of digits nothing is said."""
    data = "synthetic[classes=24,unseen=12]"
    asked = ["run", "-m", "prototype", "-m", "toy_methods:Guess", "-p", "zsl", "-d", data, "-d", "digits", "-q"]
    done = CliRunner().invoke(cli, [*asked, "--runs", str(tmp_path)])
    assert done.exit_code == 0, done.output
    lines = [line for line in done.output.splitlines() if "twice chance" in line]
    assert len(lines) == 1
    assert lines[0].startswith(f"toy_methods:Guess on {data}: T1 8.3 is under twice chance, 16.7 among 12 candidates")
    assert "is under twice chance" in zslbench.report(None, runs=tmp_path, figures=False, published=False).text
