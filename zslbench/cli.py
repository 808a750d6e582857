"""The command line: parse, call one function, print.

Exit codes: 0 fine, 1 some runs failed (or a check found a problem), 2 usage or bad input, 130 interrupted.
"""

from __future__ import annotations

import functools
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import rich_click as click

import zslbench
from zslbench import screen
from zslbench.errors import ZslbenchError

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130

click.rich_click.TEXT_MARKUP = "ansi"
click.rich_click.MAX_WIDTH = 110

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def examples(*lines: str) -> str:
    """Return the epilog that ends each help page."""
    return "\n\n".join(["Examples:", *lines])  # a blank line is how rich-click breaks a line


def _together(*options: Decorator) -> Decorator:
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
CHOICES = _together(
    click.option("--features", metavar="STEM", help="Which features: a file stem such as res101 or vgg19."),
    click.option("--semantics", metavar="STEM", help="Which semantics: a file stem such as att or sent."),
)


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


@cli.command(
    epilog=examples(
        "zslbench run --method lisgan --dataset sun --protocol gzsl",
        "zslbench run -m eszsl -m sae -d digits",
        "zslbench run -m 'eszsl[gamma=1000,lam=0.1,preprocess=standard]' -d cub --features fc1000 --semantics att",
        "zslbench run -m 'lisgan@S3[hidden=1024]' -d ./my-xlsa17-folder --seeds 5",
        "zslbench run -m 'eszsl[gamma=[1,10,100]]' -d digits --stage dev --dry-run",
    )
)
@click.option(
    "-m",
    "--method",
    "methods",
    multiple=True,
    required=True,
    metavar="SPEC",
    help="A method: name, name@preset, name[key=value,…], or pkg.module:Class. Repeatable.",
)
@click.option(
    "-d",
    "--dataset",
    "datasets",
    multiple=True,
    required=True,
    metavar="SPEC",
    help="A data set: a name, or the path of an xlsa17-like folder of your own. Repeatable.",
)
@click.option(
    "-p",
    "--protocol",
    "protocols",
    multiple=True,
    metavar="SPEC",
    help="A protocol; both zsl and gzsl when none is given. Repeatable.",
)
@CHOICES
@click.option("--seeds", type=click.IntRange(1), metavar="N", help="Run N seeds: 0 to N-1.  [default: 1]")
@click.option("--seed", "seed_list", type=int, multiple=True, metavar="K", help="Run seed K. Repeatable.")
@click.option(
    "--stage",
    type=click.Choice(["final", "dev"]),
    default="final",
    show_default=True,
    help="final: trainval → test. dev: training → validation classes, within trainval.",
)
@click.option("--fold", type=int, default=1, show_default=True, help="The fold of the dev stage.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option(
    "--checkpoints",
    default="last",
    show_default=True,
    metavar="last|every:N",
    help="When to judge a method while it trains, for its curve.",
)
@click.option(
    "--rerun",
    type=click.Choice(["failed", "stale", "all"]),
    help="Do again: failed runs, those whose method's source changed, or all.",
)
@click.option(
    "--seeds-at-once",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    help="Train the seeds of a generative method in one go; auto: on a GPU.",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "tf32", "bf16"]),
    default="float32",
    show_default=True,
    help="Of matrix products while a generative method trains; recorded. tf32 needs CUDA.",
)
@click.option("--profile", is_flag=True, help="Print the seconds by phase and write a trace beside each record.")
@click.option("--dry-run", is_flag=True, help="Only list the runs and their state.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@RUNS
@DATA_ROOT
def run(
    seeds: int | None, seed_list: tuple[int, ...], protocols: Sequence[str], quiet: bool, dry_run: bool, **options: Any
) -> None:
    """Run methods on data sets and keep a record of each run.

    Finished runs are skipped, so the same command completes a study that was cut short.
    """
    if seeds is not None and seed_list:
        raise click.UsageError("--seeds and --seed were both given; use one of them.")
    if protocols:
        options["protocols"] = protocols
    outcome = zslbench.run(
        seeds=seed_list or seeds or 1,
        console=None if quiet else screen.progress_console(),
        dry_run=dry_run,
        **options,
    )
    if options["profile"] and not dry_run:
        screen.show_profile(outcome)
    screen.show_outcome(outcome, dry_run, options["runs"])
    if outcome.interrupted:
        sys.exit(INTERRUPTED)
    if outcome.failed and not dry_run:
        sys.exit(FAILED)


@cli.command(
    epilog=examples(
        "zslbench table",
        "zslbench table --format latex -o table.tex",
        "zslbench table -p gzsl -d cub --published",
        "zslbench table --published li2019lisgan --format markdown",
    )
)
@click.option(
    "-f",
    "--format",
    type=click.Choice(["terminal", "markdown", "latex", "csv", "json"]),
    default="terminal",
    show_default=True,
    help="How to write it.",
)
@click.option("-m", "--method", "methods", multiple=True, metavar="NAME", help="Only these methods. Repeatable.")
@click.option("-d", "--dataset", "datasets", multiple=True, metavar="NAME", help="Only these data sets. Repeatable.")
@click.option("-p", "--protocol", "protocols", multiple=True, metavar="NAME", help="Only these protocols. Repeatable.")
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="Only these metrics, e.g. H or AUSUC.")
@CHOICES
@click.option("--stage", type=click.Choice(["final", "dev"]), default="final", show_default=True, help="Which stage.")
@click.option(
    "--published",
    is_flag=False,
    flag_value="best",
    metavar="[SOURCE]",
    help="Show published numbers beside the measured ones, from SOURCE or the best for each.",
)
@click.option("--rank-together", is_flag=True, help="Rank transductive (‡) and oracle (†) rows with the others.")
@OUTPUT
@RUNS
def table(output: Path | None, metrics: tuple[str, ...], **options: Any) -> None:
    """Print the table of the records: terminal, markdown, LaTeX, CSV or JSON."""
    text = zslbench.table(output=output, metrics=metrics or None, **options)
    screen.show_written(output) if output else screen.show_text(text)


@cli.command("list", epilog=examples("zslbench list methods", "zslbench list presets"))
@click.argument("kind", type=click.Choice(["methods", "datasets", "protocols", "presets"]), default="methods")
def list_command(kind: Any) -> None:
    """List methods, datasets, protocols or presets."""
    screen.show_list(kind, zslbench.list(kind))


@cli.command(epilog=examples("zslbench info lisgan", "zslbench info cub", "zslbench info my_pkg.my_module:MyMethod"))
@click.argument("name")
def info(name: str) -> None:
    """Show all that is declared of one method, dataset or protocol."""
    screen.show_info(zslbench.info(name))


@cli.command(epilog=examples("zslbench doctor", "zslbench doctor --data-root ./xlsa17"))
@RUNS
@DATA_ROOT
def doctor(**options: Any) -> None:
    """Check this installation: versions, devices, folders, data, plugins."""
    findings = zslbench.doctor(**options)
    screen.show_findings(findings)
    if not all(finding.ok for finding in findings):
        sys.exit(FAILED)


@cli.group(epilog=examples("zslbench data list", "zslbench data import ./xlsa17.zip"))
def data() -> None:
    """See, fetch, import and verify data sets."""


@data.command("list", epilog=examples("zslbench data list", "zslbench data list --data-root ./xlsa17"))
@DATA_ROOT
def data_list(data_root: Path | None) -> None:
    """List the data sets and what of them is on this machine."""
    screen.show_data(zslbench.data.list_(data_root))


@data.command(epilog=examples("zslbench data fetch cub", "zslbench data fetch all"))
@click.argument("name")
@click.option("--sha256", metavar="HEX", help="Refuse an archive whose sha256 is another.")
@click.option("--url", metavar="URL", help="Another address of the same archive.")
@click.option("--force", is_flag=True, help="Download even what is installed.")
def fetch(name: str, **options: Any) -> None:
    """Download a data set from its authors' archive and install it."""
    screen.show_installed(zslbench.data.fetch(name, **options))


@data.command("import", epilog=examples("zslbench data import ./xlsa17.zip", "zslbench data import ./xlsa17/CUB"))
@click.argument("source", type=click.Path(path_type=Path))
def import_command(source: Path) -> None:
    """Install data sets from a zip archive or a folder."""
    screen.show_installed(zslbench.data.import_(source))


@data.command(epilog=examples("zslbench data verify", "zslbench data verify cub --data-root ./xlsa17"))
@click.argument("name", required=False)
@DATA_ROOT
def verify(name: str | None, data_root: Path | None) -> None:
    """Read data sets whole and check counts, splits and stored copies."""
    rows = zslbench.data.verify(name, data_root)
    screen.show_verified(rows)
    if not all(row.ok for row in rows):
        sys.exit(FAILED)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; a user's error is one line on standard error and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without ‡ or ± shows ? instead of failing
            stream.reconfigure(errors="replace")
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
    except screen.ReaderLeft:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        screen.show_error(f"cannot write the output ({error.strerror}); send it elsewhere, or free space there.")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in the buffer fails again
        sys.exit(BAD_INPUT)
    sys.exit(0)
