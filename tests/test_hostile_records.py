"""Records of a stranger, or damaged ones: what they hold steers no terminal, and ends no verb in a traceback."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from live_files import holder, put, study
from result_records import record
from test_plots import predictions

from zslbench.cli import main
from zslbench.results.store import ResultStore


@pytest.fixture
def typed(capsys, tmp_path, monkeypatch):
    """Type a command in an empty folder; return exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def type_(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(words)
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return type_


HOSTILE = "a\x1b[2J\x9b31m\x07b\rc\u202ed\u2066e\x00f\ng\u2028h"


@pytest.fixture
def hostile(typed):
    """Records whose every text would steer a terminal."""
    store = ResultStore("runs")
    texts = {"label": HOSTILE, "title": f"title {HOSTILE}", "semantics": HOSTILE}
    answers = predictions(np.random.default_rng(0))
    for seed in (0, 1):
        for name in (HOSTILE, "sae"):
            for protocol in ("zsl", "gzsl"):
                metrics = {"T1": 0.5, HOSTILE: 0.1} if protocol == "zsl" else {"U": 0.5, "S": 0.5, "H": 0.5}
                one = record(name, HOSTILE, protocol, seed, metrics, **texts)
                store.save(one, answers if protocol == "gzsl" else None)
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
