"""Keys that are pressed while something is shown."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def waiting_for(keys: str) -> Iterator[Callable[[float], bool]]:
    """Give a function that waits so many seconds and returns whether one of the keys was pressed meanwhile.

    Where standard input is no terminal of which this process has the foreground, or the system has no such terminals,
    it only waits. The terminal is left as it was.
    """
    try:
        import termios
        import tty

        number = sys.stdin.fileno()
        before = termios.tcgetattr(number)
        if os.tcgetpgrp(number) != os.getpgrp():
            raise OSError("in the background")
    except (ImportError, OSError, ValueError, AttributeError):
        yield _sleep
        return
    except termios.error:
        yield _sleep
        return

    def wait(seconds: float) -> bool:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if not select.select([number], [], [], left)[0]:
                break
            typed = os.read(number, 64)
            if not typed:  # the terminal is gone
                return _sleep(left)
            if any(key in typed.decode("utf-8", "replace") for key in keys):
                return True
        return False

    try:
        tty.setcbreak(number)
        yield wait
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False
