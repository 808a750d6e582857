"""The command line: the group of all verbs, and what becomes of errors.

Exit codes: 0 fine, 1 some runs failed (or a check found a problem), 2 usage or bad input, 130 interrupted.
"""

from __future__ import annotations

import codecs
import io
import os
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

import rich_click as click

import zslbench
from zslbench import screen
from zslbench.commands import (
    ablate,
    about,
    compare,
    curve,
    data,
    own,
    plot,
    report,
    reproduce,
    results,
    run,
    status,
    table,
    tune,
    watch,
)
from zslbench.commands.options import BAD_INPUT, INTERRUPTED, examples
from zslbench.errors import ZslbenchError
from zslbench.runner.device import let_threads_sleep
from zslbench.visible import encode_signs

click.rich_click.TEXT_MARKUP = "ansi"
click.rich_click.MAX_WIDTH = 110
LONGEST = 200
"""Characters of a path that a sentence shows."""


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "zslbench run --method lisgan --dataset digits --protocol gzsl",
        "zslbench table --format latex",
        "zslbench info lisgan",
    ),
)
@click.version_option(zslbench.__version__, prog_name="zslbench")
def cli() -> None:
    """Benchmark zero-shot-learning methods on image features, honestly."""


VERBS = (
    run.run,
    table.table,
    compare.compare,
    curve.curve,
    plot.plot,
    report.report,
    ablate.ablate,
    reproduce.reproduce,
    status.status,
    watch.watch,
    tune.tune,
    about.list_command,
    about.info,
    about.doctor,
    data.data,
    results.results,
    own.new,
    own.check,
)
for _verb in VERBS:
    cli.add_command(_verb)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; a user's error is one line on standard error and exit code 2."""
    let_threads_sleep()
    _set_up_streams()
    for name in ("COLUMNS", "LINES"):  # rich takes whatever looks like digits for a number: ², or 5,000 of them
        if not re.fullmatch("[0-9]{0,5}", os.environ.get(name, "")):
            del os.environ[name]
    try:
        cli.main(args=list(arguments) if arguments is not None else None, standalone_mode=False)
    except ZslbenchError as error:
        screen.show_error(str(error))
        sys.exit(BAD_INPUT)
    except click.ClickException as error:
        screen.show_error(error.format_message())
        sys.exit(BAD_INPUT)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(INTERRUPTED)
    except OSError as error:
        if error.filename is not None:  # of a path that was named; writing the output names none
            place = str(error.filename)
            place = place if len(place) <= LONGEST else f"{place[:LONGEST]}…"
            screen.show_error(f"{place} cannot be used ({error.strerror}); check the path and its permissions.")
        else:
            _show_unwritten(error)
        sys.exit(BAD_INPUT)
    sys.stdout.flush()
    if isinstance(sys.stdout, _Patient) and sys.stdout.problem:
        _show_unwritten(sys.stdout.problem)
        sys.exit(BAD_INPUT)
    sys.exit(0)


def _show_unwritten(error: OSError) -> None:
    screen.show_error(f"cannot write the output ({error.strerror}); send it elsewhere, or free space there.")


class _Patient(io.TextIOWrapper):
    """A standard stream that never fails: what cannot be written is lost, and what the process does goes on.

    A study must not end, nor a method that prints fail, because a disk is full or the reader has gone, as ``| head``.

    Attributes:
        problem: why something was lost; None where nothing was, or the reader has gone.
    """

    problem: OSError | None = None

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._lose(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        if not isinstance(error, BrokenPipeError):
            self.problem = error
        with open(os.devnull, "wb") as nothing:  # noqa: PTH123  (what is left in the buffer would fail again)
            os.dup2(nothing.fileno(), self.fileno())


def _set_up_streams() -> None:
    """Let the standard streams exist, never fail, and write other signs for those that their encoding lacks."""
    codecs.register_error("signs", encode_signs)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:  # closed, as by `>&-`: the next file to be opened would take its number, and what is printed
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        stream = getattr(sys, name)
        if stream is None:
            stream = open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
        if number and type(stream) is io.TextIOWrapper and stream.fileno() == number:
            raw = open(number, "wb", closefd=False)  # noqa: SIM115
            setattr(sys, name, _Patient(raw, stream.encoding, "signs", line_buffering=stream.line_buffering))
        elif isinstance(stream, io.TextIOWrapper) and number:
            stream.reconfigure(errors="signs")
