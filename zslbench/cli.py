"""The command line: the group of all verbs, and what becomes of errors.

Exit codes: 0 fine, 1 some runs failed (or a check found a problem), 2 usage or bad input, 130 interrupted.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

import rich_click as click

import zslbench
from zslbench.commands import about_verbs, data_verbs, record_verbs, run_verbs, screen
from zslbench.commands.shared_options import BAD_INPUT, INTERRUPTED, verb
from zslbench.errors import ZslbenchError
from zslbench.runner.resources import let_threads_sleep
from zslbench.visible import PatientStream, set_up_streams, shorten

click.rich_click.TEXT_MARKUP = "ansi"
click.rich_click.MAX_WIDTH = 110
LONGEST = 200
"""Characters of a path that a sentence shows."""


@verb(
    "zslbench run --method lisgan --dataset digits --protocol gzsl",
    "zslbench table --format latex",
    "zslbench info lisgan",
    make=click.group,
)
@click.version_option(zslbench.__version__, prog_name="zslbench")
def cli() -> None:
    """Benchmark zero-shot-learning methods on image features, honestly."""


for _verb in (
    *(run_verbs.run, run_verbs.tune, run_verbs.ablate, run_verbs.reproduce),
    *(record_verbs.table, record_verbs.compare, record_verbs.curve, record_verbs.plot, record_verbs.report),
    *(record_verbs.status, record_verbs.watch, record_verbs.results, data_verbs.data),
    *(about_verbs.list_command, about_verbs.info, about_verbs.doctor, about_verbs.new, about_verbs.check),
):
    cli.add_command(_verb)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; a user's error is one line on standard error and exit code 2."""
    let_threads_sleep()
    set_up_streams()
    for name in ("COLUMNS", "LINES"):  # rich takes ², or 5,000 digits, for a number, and shows nothing in no columns
        if not re.fullmatch("([1-9][0-9]{0,4})?", os.environ.get(name, "")):
            del os.environ[name]
    try:
        with screen.records_left_out_shown():
            cli.main(args=list(arguments) if arguments is not None else None, standalone_mode=False)
    except ZslbenchError as error:
        screen.show_error(str(error))
        sys.exit(BAD_INPUT)
    except click.ClickException as error:
        screen.show_error(error.format_message() + _advise_on_arguments(error))
        sys.exit(BAD_INPUT)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(INTERRUPTED)
    except OSError as error:
        if error.filename is not None:  # of a path that was named; writing the output names none
            place = shorten(str(error.filename), LONGEST)
            screen.show_error(f"{place} cannot be used ({error.strerror}); check the path and its permissions.")
        else:
            _show_unwritten(error)
        sys.exit(BAD_INPUT)
    sys.stdout.flush()
    if isinstance(sys.stdout, PatientStream) and sys.stdout.problem:
        _show_unwritten(sys.stdout.problem)
        sys.exit(BAD_INPUT)
    sys.exit(0)


def _advise_on_arguments(error: click.ClickException) -> str:
    """Say where names belong that were typed without an option, for a verb that takes them by ``-m`` and ``-d``."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    options = {name for parameter in context.command.params for name in parameter.opts} if context else set()
    unexpected = error.message.startswith("Got unexpected extra argument")
    return "; methods are named with -m, data sets with -d." if unexpected and {"-m", "-d"} <= options else ""


def _show_unwritten(error: OSError) -> None:
    screen.show_error(f"cannot write the output ({error.strerror}); send it elsewhere, or free space there.")
