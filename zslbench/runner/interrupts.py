"""Ctrl-C held back while something must not be cut short."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_PATIENCE = 3


@dataclasses.dataclass(eq=False)
class Held:
    """Counts how often Ctrl-C was pressed."""

    pressed: int = 0

    def check(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed."""
        if self.pressed:
            self.pressed = 0
            raise KeyboardInterrupt


@contextlib.contextmanager
def held() -> Iterator[Held]:
    """Hold Ctrl-C back until the block ends or asks for it by `Held.check`; the third press is not held back.

    Only the main thread hears of Ctrl-C, so elsewhere this does nothing.
    """
    state = Held()
    if threading.current_thread() is not threading.main_thread():
        yield state
        return
    before = signal.getsignal(signal.SIGINT)

    def press(number: int, frame: FrameType | None) -> None:
        state.pressed += 1
        if state.pressed >= _PATIENCE:
            signal.signal(signal.SIGINT, before)
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, press)
    try:
        yield state
    finally:
        signal.signal(signal.SIGINT, before)
        if state.pressed and callable(before):
            before(signal.SIGINT, None)
