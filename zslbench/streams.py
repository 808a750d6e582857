"""The standard streams of a process: open, whatever it was started with, and never a reason to fail."""

from __future__ import annotations

import codecs
import io
import os
import sys

from zslbench.visible import encode_signs


class PatientStream(io.TextIOWrapper):
    """A standard stream that never fails: what cannot be written is lost, and what the process does goes on.

    A study must not end, nor a method that prints fail, because a disk is full or the reader has gone, as ``| head``.

    Attributes:
        problem: why something was lost; None where nothing was, or the reader has gone.
    """

    problem: OSError | None = None

    def write(self, text: str, /) -> int:
        """Write a text as far as that is possible; return its length."""
        try:
            return super().write(text)
        except OSError as error:
            self._lose(error)
            return len(text)

    def flush(self) -> None:
        """Write what is in the buffer as far as that is possible."""
        try:
            super().flush()
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        if not isinstance(error, BrokenPipeError):
            self.problem = error
        with open(os.devnull, "wb") as nothing:  # noqa: PTH123  (what is left in the buffer would fail again)
            os.dup2(nothing.fileno(), self.fileno())


def open_standard_streams() -> None:
    """Open the standard streams that are closed (as by ``2>&-``) onto nothing.

    Else the next file or pipe to be opened takes the number of one, and what is printed goes into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def set_up_streams() -> None:
    """Let the standard streams exist, never fail, and write other signs for those that their encoding lacks."""
    codecs.register_error("signs", encode_signs)
    open_standard_streams()
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            stream = open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
        if number and type(stream) is io.TextIOWrapper and stream.fileno() == number:
            raw = open(number, "wb", closefd=False)  # noqa: SIM115
            setattr(sys, name, PatientStream(raw, stream.encoding, "signs", line_buffering=stream.line_buffering))
        elif isinstance(stream, io.TextIOWrapper) and number:
            stream.reconfigure(errors="signs")
