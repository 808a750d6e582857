"""The command line: the group of all verbs, and what becomes of errors.

Exit codes: 0 fine, 1 some runs failed (or a check found a problem), 2 usage or bad input, 130 interrupted.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import rich_click as click

import zslbench
from zslbench.commands import screen
from zslbench.commands.shared_options import BAD_INPUT, INTERRUPTED, verb
from zslbench.errors import ZslbenchError
from zslbench.runner.resources import prepare_for_torch
from zslbench.visible import PatientStream, set_up_streams, shorten

click.rich_click.TEXT_MARKUP = "ansi"
click.rich_click.MAX_WIDTH = 110
click.rich_click.OPTIONS_TABLE_COLUMN_TYPES = ["required", "opt_all_metavar", "help"]
click.rich_click.APPEND_METAVARS_HELP_STRING = "{}"
click.rich_click.DELIMITER_COMMA = ", "
click.rich_click.TEXT_PARAGRAPH_LINEBREAKS = "\n\n"
click.rich_click.OPTIONS_TABLE_HELP_SECTIONS = ["help", "default", "required"]
LONGEST = 200
"""Characters of a path that a sentence shows."""


VERBS: Mapping[str, Mapping[str, str]] = {
    "Run methods": {
        "run": "run_verbs:run",
        "tune": "run_verbs:tune",
        "ablate": "run_verbs:ablate",
        "reproduce": "run_verbs:reproduce",
    },
    "Look": {
        "status": "record_verbs:status",
        "watch": "record_verbs:watch",
        "show": "record_verbs:show",
        "list": "about_verbs:list_command",
        "info": "about_verbs:info",
    },
    "Compare and publish": {
        "table": "record_verbs:table",
        "compare": "record_verbs:compare",
        "curve": "record_verbs:curve",
        "plot": "record_verbs:plot",
        "report": "record_verbs:report",
    },
    "Data and records": {"data": "data_verbs:data", "results": "record_verbs:results"},
    "Set up and extend": {
        "doctor": "about_verbs:doctor",
        "completion": "about_verbs:completion_command",
        "new": "about_verbs:new",
        "check": "about_verbs:check",
    },
}
"""Where each verb is declared below `zslbench.commands`, by its group on the help page."""
_PLACES = {name: place for group in VERBS.values() for name, place in group.items()}


class _Verbs(click.RichGroup):
    """The group of all verbs, each imported when it is asked for."""

    def __init__(self, *given: Any, **settings: Any) -> None:
        self._places: Mapping[str, str] = {}  # rich-click looks at all commands while it sets up a group
        super().__init__(*given, **settings)
        self._places = _PLACES

    @property
    def commands(self) -> dict[str, click.Command]:
        """Every verb by name."""
        return {name: self._load(name) for name in self._places}

    @commands.setter
    def commands(self, commands: object) -> None:
        pass  # click sets it to no commands

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_PLACES]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return self._load(cmd_name) if cmd_name in _PLACES else None

    @staticmethod
    @functools.cache  # help pages ask again and again
    def _load(name: str) -> Any:
        module, _, attribute = _PLACES[name].partition(":")
        return getattr(importlib.import_module(f"zslbench.commands.{module}"), attribute)


@verb(
    "zslbench run --method lisgan --dataset digits --protocol gzsl",
    "zslbench table --format latex",
    "zslbench info lisgan",
    make=functools.partial(click.group, cls=_Verbs),
)
@click.version_option(zslbench.__version__, prog_name="zslbench")
def cli() -> None:
    """Benchmark zero-shot-learning methods on image features, honestly."""


for _group, _verbs in VERBS.items():
    cli.add_panel(click.RichCommandPanel(_group, commands=[*_verbs]))


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; a user's error is one line on standard error and exit code 2."""
    prepare_for_torch()
    set_up_streams()
    for name in ("COLUMNS", "LINES"):  # rich takes ², or 5,000 digits, for a number, and shows nothing in no columns
        if not re.fullmatch("([1-9][0-9]{0,4})?", os.environ.get(name, "")):
            del os.environ[name]
    try:
        with screen.records_left_out_shown():
            cli.main(args=list(arguments) if arguments is not None else None, standalone_mode=False)
    except ZslbenchError as error:
        screen.show_error(str(error), getattr(error, "__notes__", ()))
        sys.exit(BAD_INPUT)
    except click.ClickException as error:
        screen.show_error(" ".join(error.format_message().split()) + _advise_on_arguments(error), _list_choices(error))
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


def _list_choices(error: click.ClickException) -> list[str]:
    """Return lines on what may be given for an argument or option that is missing: as help explains it, or names."""
    if not isinstance(error, click.MissingParameter) or error.param is None or error.ctx is None:
        return []
    explained = (error.ctx.command.help or "").partition("\b\n")[2]
    if isinstance(error.param, click.Argument) and explained:
        return re.sub(r"\n {8,}", " ", inspect.cleandoc(explained)).splitlines()
    names = [item.value for item in error.param.shell_complete(error.ctx, "") if item.type == "plain"]
    return [] if isinstance(error.param.type, click.Choice) or not names else [f"choose one of: {', '.join(names)}"]


def _show_unwritten(error: OSError) -> None:
    screen.show_error(f"cannot write the output ({error.strerror}); write it elsewhere, or free some space.")
