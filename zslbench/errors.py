"""The few errors that users meet: each one sentence saying what was given, what is allowed, what to do."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable


class ZslbenchError(Exception):
    """Base of every error that a user can mend; the command line prints it as one line and exits 2."""


class UnknownName(ZslbenchError):
    """A method, dataset, protocol, preset or parameter that does not exist.

    Args:
        verb: the command that lists all names, if they are too many for a sentence.
    """

    def __init__(self, kind: str, given: str, allowed: Iterable[str], advice: str = "", verb: str = "") -> None:
        names = sorted(allowed)
        near = nearest(given, names)
        choices = f"choose one of: {', '.join(names)}." if names else "there are none to choose from."
        if verb:
            choices = f"the nearest of {len(names)} are {', '.join(find_near(given, names, 3, 0.0))}; {verb} lists all."
        hint = f"did you mean {near!r}?" if near else choices
        super().__init__(f"unknown {kind} {given!r}; {hint}{' ' + advice if advice else ''}")


class Unavailable(ZslbenchError):
    """A registered plugin that cannot be imported, with the reason."""


class BadValue(ZslbenchError):
    """A parameter or option outside what it allows."""


class BadSpec(ZslbenchError):
    """Text that does not follow the ``name@preset[key=value]`` grammar."""


class BadData(ZslbenchError):
    """A data file or array that breaks a rule that evaluation rests on."""


class DataMissing(ZslbenchError):
    """A known data set whose files are not on this machine."""


class StoreError(ZslbenchError):
    """Records or converted data that cannot be written or read."""


class EngineError(ZslbenchError):
    """Workers that cannot be started, or a scheduler that cannot be reached."""


class RecordsLeftOut(UserWarning):
    """Records that a table, figure or page does not show; the command line prints it on standard error."""


class CaptionLeftOut(UserWarning):
    """What numbers must not be read without, where no caption says it; the command line prints it as the other."""


def warn(sentence: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line of the user's file, or cell, that called into the package."""
    depth, frame = 2, sys._getframe(1)
    # Decorators of these modules stand between functions of the package. (`skip_file_prefixes` needs Python 3.12.)
    within = ("zslbench", "contextlib", "functools")
    while frame.f_back and str(frame.f_globals.get("__name__")).partition(".")[0] in within:
        depth, frame = depth + 1, frame.f_back
    warnings.warn(sentence, category, stacklevel=depth)  # noqa: TID251


def first_line(error: BaseException) -> str:
    """Return the first line of what a library says of a broken file, without its full stop, or the error's kind.

    >>> first_line(ValueError("no header.\\nsome more")), first_line(EOFError())
    ('no header', 'EOFError')
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:200]


def nearest(given: str, names: Iterable[str]) -> str | None:
    """Return the name closest to `given`, or None when nothing is close.

    >>> nearest("lisgna", ["eszsl", "lisgan"])
    'lisgan'
    """
    return next(iter(find_near(given, names, 1, 0.6)), None)


def find_near(given: str, names: Iterable[str], most: int, cutoff: float) -> list[str]:
    """Return the names closest to `given`, the closest first, of those that `difflib` scores at `cutoff` or above."""
    import difflib  # not on the way of a command that is typed right

    return difflib.get_close_matches(given.lower(), list(names), n=most, cutoff=cutoff)


class MethodFault(ZslbenchError):
    """A method did what no method may: scoring changed it, or an inductive one used other rows of the query."""
