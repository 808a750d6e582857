"""The loop of the engines whose work goes on elsewhere: hand out, look what came, heed Ctrl-C between two looks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Protocol

from zslbench.errors import EngineError
from zslbench.runner.engines.assignment import Results
from zslbench.runner.interrupts import Held


class UnderWay(Protocol):
    """What is under way in one call of an engine."""

    def busy(self) -> bool:
        """Hand out what can be handed out; return whether anything is left to do."""

    def look(self) -> Iterator[Results]:
        """Yield what came since the last look."""

    def give_up(self) -> Iterator[Results]:
        """Yield what was in flight as interrupted."""


def pursued(tasks: UnderWay, interrupt: Held, pause: float = 0.0) -> Iterator[Results]:
    """Yield results until nothing is left to do; `pause` seconds lie between two looks.

    Raises:
        KeyboardInterrupt, EngineError: once what was in flight has been given up.
    """
    try:
        while tasks.busy():
            yield from tasks.look()
            interrupt.check()
            if pause:
                time.sleep(pause)
    except (KeyboardInterrupt, EngineError):
        yield from tasks.give_up()
        raise
