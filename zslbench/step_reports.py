"""Reports of steps: a method says how far it is, and the runner, which shows it, hears of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TypeAlias

TRAINING = "training"
"""The phase whose steps tell how far a fit is."""
RESUMING = "resuming"
"""The phase that is reported, once, with the step from which a training goes on that was killed."""
SCORING = "scoring "
"""What stands before the protocol in the name of a phase of scoring."""
Reporter: TypeAlias = Callable[[str, int, int], bool]
_REPORTER: ContextVar[Reporter | None] = ContextVar("reporter", default=None)
"""Hears how far the method is that this thread fits or asks for scores."""


def report_progress(phase: str, step: int = 0, total: int = 0) -> bool:
    """Report that `step` of `total` steps of a phase are done (0 of 0: it has no steps); any number of times.

    It costs less than a microsecond and waits for no device. Returns whether the loop should end here: a probe, which
    measures a few steps and throws the result away, has seen enough. Where nothing is probed it never should.
    """
    reporter = _REPORTER.get()
    return reporter is not None and reporter(phase, step, total)


@contextlib.contextmanager
def hear_progress(reporter: Reporter) -> Iterator[None]:
    """Have `reporter` called for what is reported in this block."""
    token = _REPORTER.set(reporter)
    try:
        yield
    finally:
        _REPORTER.reset(token)
