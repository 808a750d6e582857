"""Files of running studies as tests write them: of this process, of one that has ended, of another machine."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from zslbench.results.records.leases import Holder
from zslbench.results.records.live_studies import FitGroup, RunningFit, StudyProgress, live_folder

GONE = 2**22 + 1
"""A process that has ended: the number is above the greatest that one can have."""


def fit(seed: int = 0, step: int = 20, total: int = 80, **facts: Any) -> RunningFit:
    plain: dict[str, Any] = {
        "run": f"{seed:016x}", "method": "lisgan", "label": "lisgan@S3[hidden=64,lr=0.001,epochs=80]",
        "dataset": "digits", "protocols": ("zsl", "gzsl"), "stage": "final", "fold": 0, "seed": seed,
        "step": step, "total": total, "values": {"critic": -0.691671, "generator": 1.01169, "l_r1": 3.0803},
        "seconds": 41.0, "step_seconds": 40.0, "phase": "training",
    }  # fmt: skip
    return RunningFit(**plain | facts)


def holder(**facts: Any) -> Holder:
    """Return this very process, changed by some facts."""
    return dataclasses.replace(Holder.here(), **{"host": "node-1", "token": "0" * 16} | facts)


def study(**facts: Any) -> StudyProgress:
    """Return a study of this very process, which therefore runs: 2 of 6 fits done, 1 failed, 1 in progress."""
    plain: dict[str, Any] = {
        "command": "zslbench run -m 'lisgan@S3[hidden=64,lr=0.001,epochs=80]' -m sae -d digits --seeds 3",
        "holder": holder(), "plan": "", "written": "2026-01-02T03:08:05+00:00",
        "seconds": 240.0, "beat": 200, "done": 2, "failed": 1, "running": (fit(),),
        "groups": (
            FitGroup(method="lisgan", dataset="digits", stage="final", total=4, ended=2, seconds=198.0),
            FitGroup(method="sae", dataset="digits", stage="final", total=2, ended=1, seconds=1.0),
        ),
    }  # fmt: skip
    return StudyProgress(**plain | facts)


def put(root: Path, running: StudyProgress, name: str = "node-1-1-aa") -> Path:
    path = live_folder(root) / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(running.to_json(), encoding="utf-8")
    return path
