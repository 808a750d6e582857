"""A generative method whose process is killed, once, at a step of its training that a file names."""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path
from typing import Any

from zslbench.methods.generative.fclswgan import FCLSWGAN
from zslbench.methods.generative.loss_terms import LossTerm

STEP = "DYING_STEP"
"""The variable that names the file; it is removed at the time of the kill."""


@dataclasses.dataclass(kw_only=True)
class Dying(FCLSWGAN):
    """f-CLSWGAN with a term of weight 0 that counts the steps."""

    def terms(self, *given: Any) -> list[LossTerm]:
        """Return the usual terms, and the one that kills."""
        steps = 0

        def draw() -> tuple[()]:
            nonlocal steps
            steps += 1
            path = Path(os.environ.get(STEP, os.devnull))
            if path.is_file() and steps == int(path.read_text()):
                path.unlink()
                os.kill(os.getpid(), signal.SIGKILL)
            return ()

        return [
            *super().terms(*given),
            LossTerm("killing", 1.0, lambda _networks, fakes, _labels: 0 * fakes.sum(), draw=draw),
        ]
