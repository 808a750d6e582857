"""What the verbs have in common: exit codes, options that several of them take, and the form of their examples."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from zslbench.commands import screen

if TYPE_CHECKING:
    from rich.console import Console

    from zslbench.runner.executors import Executor
    from zslbench.runner.run import Outcome

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def examples(*lines: str) -> str:
    """Return the epilog that ends each help page."""
    return "\n\n".join(["Examples:", *lines])  # a blank line is how rich-click breaks a line


def together(*options: Decorator) -> Decorator:
    """Return one decorator that applies several options, in the order in which help shows them."""
    return lambda function: functools.reduce(lambda inner, option: option(inner), reversed(options), function)


RUNS = click.option(
    "--runs",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    metavar="DIR",
    help="The folder of records.",
)
DATA_ROOT = click.option(
    "--data-root",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A folder of xlsa17 folders, read in place (default: $ZSLBENCH_DATA, then installed data).",
)
OUTPUT = click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write to FILE instead of the screen."
)
CHOICES = together(
    click.option("--features", metavar="STEM", help="Which features: a file stem such as res101 or vgg19."),
    click.option("--semantics", metavar="STEM", help="Which semantics: a file stem such as att or sent."),
)
METHODS = click.option(
    "-m", "--method", "methods", multiple=True, metavar="NAME", help="Only these methods. Repeatable."
)
DATASETS = click.option(
    "-d", "--dataset", "datasets", multiple=True, metavar="NAME", help="Only these data sets. Repeatable."
)
PROTOCOLS = click.option(
    "-p", "--protocol", "protocols", multiple=True, metavar="NAME", help="Only these protocols. Repeatable."
)


def stage_option(text: str, default: str | None = "final") -> Decorator:
    """Return the option that chooses the stage."""
    return click.option(
        "--stage", type=click.Choice(["final", "dev"]), default=default, show_default=default is not None, help=text
    )


STAGE = stage_option("Which stage.")


def selection_option(text: str, multiple: bool = False) -> Decorator:
    """Return the option that chooses the rule of selection."""
    choice = click.Choice(["fixed", "validated", "oracle"])
    return click.option("--selection", type=choice, multiple=multiple, help=text)


def seeds_option(text: str, default: int | None = None) -> Decorator:
    """Return the option that says how many seeds."""
    return click.option(
        "--seeds",
        type=click.IntRange(1),
        default=default,
        show_default=default is not None,
        metavar="N",
        help=text,
    )


def rerun_option(text: str) -> Decorator:
    """Return the option that says which finished runs are done again."""
    return click.option("--rerun", type=click.Choice(["none", "failed", "stale", "all"]), help=text)


def dry_run_option(text: str = "Only list the runs and their state.") -> Decorator:
    """Return the option with which nothing is run."""
    return click.option("--dry-run", is_flag=True, help=text)


def run_on(required: bool = True) -> Decorator:
    """Return the options that say on what methods are run."""
    return together(
        click.option(
            "-d",
            "--dataset",
            "datasets",
            multiple=True,
            required=required,
            metavar="SPEC",
            help="A data set: a name, or the path of an xlsa17-like folder of your own. Repeatable.",
        ),
        click.option(
            "-p",
            "--protocol",
            "protocols",
            multiple=True,
            metavar="SPEC",
            help="A protocol; both zsl and gzsl when none is given. Repeatable.",
        ),
    )


DEVICE = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
_ENGINE = click.option(
    "--engine",
    "engine_name",
    type=click.Choice(["serial", "process", "dask", "slurm"]),
    help="Where runs are done: in this process, in workers of this machine, on a Dask cluster, or as Slurm jobs.  "
    "[default: serial; process with --workers]",
)
_WORKERS = click.option(
    "--workers", metavar="N|auto", help="Workers at once; each has its share of the threads, or a GPU of its own."
)
_CLUSTER = together(
    click.option("--scheduler", metavar="URL", help="A Dask cluster that runs already: tcp://host:8786."),
    click.option(
        "--engine-config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="What to ask Slurm for, as TOML: partition, time, gpus, ….",
    ),
)
ENGINE = together(
    _ENGINE,
    _WORKERS,
    click.option(
        "--time-limit", metavar="TIME", help="Stop a run after this time (process): 90s, 30m, 2h. Recorded as timeout."
    ),
    click.option(
        "--memory-limit",
        metavar="SIZE",
        help="Stop a run whose worker needs more (process): 500MB, 4GiB. Recorded as crashed.",
    ),
    _CLUSTER,
)
ENGINE_WITHOUT_LIMITS = together(_ENGINE, _WORKERS, _CLUSTER)
TOLERANCE = click.option(
    "--tolerance",
    type=float,
    default=2.0,
    show_default=True,
    metavar="POINTS",
    help="How far from the published number still counts as the same.",
)
QUIET = click.option("-q", "--quiet", is_flag=True, help="Show no progress.")


def engine_of(options: dict[str, Any]) -> Executor:
    """Take the options of `ENGINE` out of all options, and return the engine that they mean.

    Raises:
        ZslbenchError: options that do not go together.
    """
    from zslbench.runner.executors.choice import engine

    taken = {name: options.pop(name, None) for name in ("workers", "scheduler")}
    limits = {} if "memory_limit" not in options else {n: options.pop(n) for n in ("time_limit", "memory_limit")}
    return engine(
        options.pop("engine_name"), device=options["device"], config=options.pop("engine_config"), **taken, **limits
    )


def progress_console_of(quiet: bool) -> Console | None:
    """Return where progress is shown; nowhere with ``--quiet``."""
    return None if quiet else screen.progress_console()


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


def format_option(*names: str, text: str = "How to write it.") -> Decorator:
    """Return the option that chooses among formats; the first is the default."""
    return click.option("-f", "--format", type=click.Choice(names), default=names[0], show_default=True, help=text)
