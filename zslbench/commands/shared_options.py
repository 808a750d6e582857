"""What the verbs of the command line share: exit codes, options, help with examples."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from zslbench.commands import screen

if TYPE_CHECKING:
    from zslbench.runner.run import Outcome

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def verb(*lines: str, name: str | None = None, make: Any = click.command) -> Callable[[Callable[..., Any]], Any]:
    """Return the decorator of a verb whose help page ends with these examples; `make` is a group's, or makes one."""
    epilog = "\n\n".join(["Examples:", *lines])  # a blank line is how rich-click breaks a line
    decorator: Callable[[Callable[..., Any]], Any] = make(
        name, epilog=epilog, context_settings={"help_option_names": ["-h", "--help"], "show_default": True}
    )
    return decorator


def combine_options(*options: Decorator) -> Decorator:
    """Return one decorator that applies several options, in the order in which help shows them."""
    return lambda function: functools.reduce(lambda inner, option: option(inner), reversed(options), function)


path_option = functools.partial(click.option, type=click.Path(path_type=Path), metavar="FILE")
folder_option = functools.partial(path_option, metavar="DIR", default=Path("runs"))
"""Of records."""
seeds_option = functools.partial(click.option, "--seeds", type=click.IntRange(1), metavar="N")


def names_option(*names: str, help: str, metavar: str = "NAME", **settings: Any) -> Decorator:
    """Return an option that may be given several times."""
    return click.option(*names, multiple=True, metavar=metavar, help=f"{help} Repeatable.", **settings)


def choice_option(*names: str, choices: Sequence[str], **settings: Any) -> Decorator:
    """Return an option that takes one of several words."""
    return click.option(*names, type=click.Choice(choices), **settings)


def format_option(*names: str, help: str = "How to write it.") -> Decorator:
    """Return the option that chooses among formats; the first is the default."""
    return choice_option("-f", "--format", choices=names, default=names[0], help=help)


stage_option = functools.partial(choice_option, "--stage", choices=["final", "dev"], default="final")
selection_option = functools.partial(choice_option, "--selection", choices=["fixed", "validated", "oracle"])
rerun_option = functools.partial(choice_option, "--rerun", choices=["none", "failed", "stale", "all"])
protocols_option = functools.partial(
    names_option, "-p", "--protocol", "protocols", metavar="SPEC", default=("zsl", "gzsl"), show_default=False
)


def run_on(required: bool = True) -> Decorator:
    """Return the options that say on what methods are run."""
    data = "A data set: a name, or the path of an xlsa17-like folder of your own."
    return combine_options(
        names_option("-d", "--dataset", "datasets", metavar="SPEC", required=required, help=data),
        protocols_option(help="A protocol; both zsl and gzsl when none is given."),
    )


RUNS = folder_option("--runs", help="The folder of records.")
DATA_ROOT = path_option(
    "--data-root",
    metavar="DIR",
    help="A folder of xlsa17 folders, read in place (default: $ZSLBENCH_DATA, then installed data).",
)
OUTPUT = path_option("-o", "--output", help="Write to FILE instead of the screen.")
CHOICES = combine_options(
    click.option("--features", metavar="STEM", help="Which features: a file stem such as res101 or vgg19."),
    click.option("--semantics", metavar="STEM", help="Which semantics: a file stem such as att or sent."),
)
METHOD_FILTER = names_option("-m", "--method", "methods", help="Only these methods.")
DATASETS = names_option("-d", "--dataset", "datasets", help="Only these data sets.")
PROTOCOLS = names_option("-p", "--protocol", "protocols", help="Only these protocols.")
RECORDS = combine_options(METHOD_FILTER, DATASETS, PROTOCOLS)
STAGE = stage_option(help="Which stage.")
FOLD = click.option(
    "--fold", type=int, multiple=True, metavar="K", help="A fold of the dev stage; all when none is given."
)
TOLERANCE = click.option(
    "--tolerance",
    type=float,
    default=2.0,
    metavar="POINTS",
    help="How far from the published number still counts as the same.",
)
QUIET = click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
DEVICE = click.option("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps.")
_PLACE = combine_options(
    choice_option(
        "--engine",
        "engine_name",
        choices=["serial", "process", "dask", "slurm"],
        help="Where runs are done: in this process, in workers of this machine, on a Dask cluster, or as Slurm jobs.  "
        "[default: serial; process with --workers]",
    ),
    click.option(
        "--workers", metavar="N|auto", help="Workers at once; each has its share of the threads, or a GPU of its own."
    ),
)
_LIMITS = combine_options(
    click.option(
        "--time-limit", metavar="TIME", help="Stop a run after this time (process): 90s, 30m, 2h. Recorded as timeout."
    ),
    click.option(
        "--memory-limit",
        metavar="SIZE",
        help="Stop a run whose worker needs more (process): 500MB, 4GiB. Recorded as crashed.",
    ),
)
_CLUSTER = combine_options(
    click.option("--scheduler", metavar="URL", help="A Dask cluster that runs already: tcp://host:8786."),
    path_option("--engine-config", help="What to ask Slurm for, as TOML: partition, time, gpus, …."),
)
ENGINE = combine_options(_PLACE, _LIMITS, _CLUSTER)
ENGINE_WITHOUT_LIMITS = combine_options(_PLACE, _CLUSTER)


def study_options(dry_run: str) -> Decorator:
    """Return the options with which studies that run methods end; `dry_run` says what is done where nothing is run."""
    return combine_options(
        CHOICES, DEVICE, ENGINE, click.option("--dry-run", is_flag=True, help=dry_run), QUIET, OUTPUT, RUNS, DATA_ROOT
    )


def take_machine(options: dict[str, Any]) -> dict[str, Any]:
    """Take ``--quiet`` and the options of `ENGINE` out of all options; return the console and engine that they mean.

    Raises:
        ZslbenchError: options that do not go together.
    """
    from zslbench.runner.executors import engine

    console = None if options.pop("quiet") else screen.progress_console()
    words = {name: options.pop(name, None) for name in ("workers", "scheduler")}
    limits = {} if "memory_limit" not in options else {n: options.pop(n) for n in ("time_limit", "memory_limit")}
    name, config = options.pop("engine_name"), options.pop("engine_config")
    return {"console": console, "engine": engine(name, device=options["device"], config=config, **words, **limits)}


def show_result(text: str, output: Path | None) -> None:
    """Print a text, or say into which file it was written."""
    if output is None:
        screen.show_text(text)
    else:
        screen.show_written(output)


def exit_after(outcome: Outcome) -> None:
    """End with the exit code of a study that was cut short, or in which runs failed."""
    if outcome.interrupted:
        sys.exit(INTERRUPTED)
    if outcome.failed:
        sys.exit(FAILED)
