"""A method that notes each of its fits in a file, for tests of several processes on one folder of records."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path
from typing import ClassVar, Self

from toy_methods import Ridge, card

from zslbench.arrays import Array
from zslbench.methods.base import Context, MethodCard
from zslbench.task import Train

NOTES = "ZSLBENCH_TEST_NOTES"
KEPT: list[Array] = []
"""Where `cheats.InAnotherModule` puts what it is asked about."""
HOLD = "hold"
"""While a file of this name stands beside the notes, fits that began do not end."""


@dataclasses.dataclass(kw_only=True)
class Noted(Ridge):
    """Writes a line ``began PID SEED`` and ``ended PID SEED`` for each fit."""

    card: ClassVar[MethodCard] = card(title="Noted")

    def fit(self, train: Train, ctx: Context) -> Self:
        notes = Path(os.environ[NOTES])
        _note(notes, f"began {os.getpid()} {ctx.seed}")
        time.sleep(0.05)
        while notes.with_name(HOLD).exists():
            time.sleep(0.02)
        super().fit(train, ctx)
        _note(notes, f"ended {os.getpid()} {ctx.seed}")
        return self


def _note(notes: Path, line: str) -> None:
    with notes.open("a") as file:
        file.write(line + "\n")
