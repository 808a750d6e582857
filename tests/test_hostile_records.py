"""Records of a stranger, or damaged ones: what they hold steers no terminal, and ends no verb in a traceback."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json
import random
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_files import holder, put, study
from result_records import preset, record
from test_plots import predictions

from zslbench.results.records.store import ResultStore
from zslbench.results.records.tuned_presets import PresetStore

HOSTILE = "a\x1b[2J\x9b31m\x07b\rc\u202ed\u2066e\x00f\ng\u2028h"


@pytest.fixture
def hostile(typed):
    """Records whose every text would steer a terminal."""
    store = ResultStore("runs")
    texts = {"label": HOSTILE, "title": f"title {HOSTILE}", "semantics": HOSTILE}
    answers = predictions(np.random.default_rng(0))
    for seed, name in itertools.product((0, 1), (HOSTILE, "sae")):
        store.save(record(name, HOSTILE, "zsl", seed, {"T1": 0.5, HOSTILE: 0.1}, **texts))
        store.save(record(name, HOSTILE, "gzsl", seed, {"U": 0.5, "S": 0.5, "H": 0.5}, **texts), answers)
    store.save(record("sae", HOSTILE, seed=9, status="failed", error=f"Error\n{HOSTILE}", **texts))
    (store.path(record("sae", HOSTILE)).with_name("\x1b[2J.json")).write_text("{}")
    put(Path("runs"), study(command=HOSTILE, holder=holder(host=HOSTILE)))
    return typed


@pytest.mark.parametrize(
    "command",
    ["table", "table -f markdown", "table -f latex", "table -f csv", "table -f json", "status", "status -f json",
     "status --verify", "compare", "curve", "curve -f csv", "watch --once", "watch --once -f json", "results gc",
     "table -m sae[x=\x1b[2J]", "plot curve -o c.svg --data c.csv", "report -o r.html", "results export -o e.csv"],
)  # fmt: skip
def test_no_control_character_of_a_record_reaches_the_screen(hostile, command):
    _, out, err = hostile(*command.split(" "))
    assert "Traceback" not in err
    for path in [*Path().glob("*.csv"), *Path().glob("*.html")]:
        out += path.read_text(encoding="utf-8")
    assert "\\u001b[2J" in out + err or "\\x1b[2J" in err  # as the sentence on a bad option quotes it
    for sign in set(out + err) - {"\n"}:
        assert unicodedata.category(sign) not in ("Cc", "Cf", "Cs", "Zl", "Zp"), f"{sign!r} in {out + err}"
    if "json" in command:
        json.loads(out)


def test_texts_that_a_spreadsheet_would_compute_are_quoted_in_csv(typed):
    store = ResultStore("runs")
    store.save(record("sae", label="=cmd|' /C calc'!A0", title="@SUM(1)", semantics="-1+1", features="+1"))
    store.save(record("eszsl"))
    for command in (["table", "-f", "csv"], ["results", "export", "-o", "e.csv"]):
        code, out, _ = typed(*command)
        assert code == 0
        text = Path("e.csv").read_text(encoding="utf-8") if "export" in command else out
        cells = [cell for row in csv.reader(text.splitlines()) for cell in row]
        assert {"'=cmd|' /C calc'!A0", "'@SUM(1)", "'-1+1", "'+1"} <= {*cells}
        assert not [cell for cell in cells if cell.startswith(("=", "+", "@"))]


JUNK = [None, True, -1, 2**70, 1e308, "", "x", "a" * 3000, [], {}, [1], {"a": 1}, [[[]]], "eszsl[gamma", "\ud800"]


def damaged(document: object, draw: random.Random) -> object:
    """Return a document some of whose values are others, of any type, or gone."""
    document = json.loads(json.dumps(document))
    for _ in range(draw.choice([1, 1, 1, 3])):
        node, key = draw.choice([*places(document)])
        if draw.random() < 0.2:
            del node[key]
        else:
            node[key] = draw.choice(JUNK)
    return document


def places(value: object) -> Iterator[tuple[Any, Any]]:
    """Yield each object or list in a document with each of its keys."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places(value[key])


VERBS = ["table --selection validated --selection oracle", "table --calibrate", "plot stability -o a.svg",
         "results export -o e.csv --params columns", "results gc --failed", "watch --once",
         "report -o r.html --no-figures"]  # fmt: skip
"""Verbs and options that `test_fuzz.py` does not try."""


@pytest.mark.parametrize("seed", range(3))
def test_no_damage_to_a_record_or_preset_ends_in_a_traceback(typed, seed):
    """Sentences on what is damaged, and the rest is shown: `typed` fails on any exception but an exit."""
    draw, store, answers = random.Random(seed), ResultStore("runs"), predictions(np.random.default_rng(0))
    kinds = [("zsl", {"T1": 0.5}), ("gzsl", {"U": 0.5, "S": 0.5, "H": 0.5})]
    facts = {"timings": {"fit": 1.0, "total": 2.0}, "memory": {"peak": 5}}
    facts["provenance"] = {"finished": "2026-01-01T00:00:00+00:00"}
    documents = {}
    for name, (protocol, metrics), fold in itertools.product(("eszsl", "sae", "lisgan"), kinds, (0, 1)):
        curve, stage = dict.fromkeys((1, 2), metrics), "dev" if fold else "final"
        run = dataclasses.replace(
            record(name, "cub", protocol, 0, metrics, stage=stage, fold=fold, curve=curve), **facts
        )
        documents[store.save(run, answers)] = dataclasses.asdict(run)
    tuned = preset(fingerprint="", values={"lam": 1.0}, space={"lam": "1, 2"}, trials={"ok": 2})
    documents[PresetStore("runs").save(tuned)] = dataclasses.asdict(tuned)
    for verb in VERBS:
        for path, document in documents.items():
            content = damaged(document, draw) if draw.random() < 0.3 else document
            path.write_text(json.dumps(content), encoding="utf-8")
        code, _, err = typed(*verb.split())
        assert code in (0, 1, 2)
        assert not (code == 0 and "Error" in err)
