"""`zslbench reproduce`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import rich_click as click

import zslbench
from zslbench import screen
from zslbench.commands.options import (
    CHOICES,
    DATA_ROOT,
    DEVICE,
    ENGINE,
    FAILED,
    INTERRUPTED,
    OUTPUT,
    QUIET,
    RUNS,
    TOLERANCE,
    engine_of,
    examples,
    format_option,
)


@click.command(
    epilog=examples(
        "zslbench reproduce li2019lisgan --table 2 -d cub",
        "zslbench reproduce li2019lisgan --table 'Figure 7(b)' --seeds 5 --dry-run",
        "zslbench reproduce xian2018gbu -d cub -m eszsl -m sae --tolerance 1",
        "zslbench reproduce li2019lisgan --table 4 -d cub -m eszsl --features fc1000 --format markdown",
    )
)
@click.argument("source", metavar="SOURCE")
@click.option("--table", metavar="N", help="Which table: 2, 'Table 2', 'Figure 7(b)'; needed where there are several.")
@click.option(
    "-d", "--dataset", "datasets", multiple=True, metavar="NAME", help="Only these data sets of the table. Repeatable."
)
@click.option(
    "-m", "--method", "methods", multiple=True, metavar="NAME", help="Only these methods of the table. Repeatable."
)
@click.option(
    "--seeds",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    metavar="N",
    help="Seeds 0 to N-1 of methods that depend on them.",
)
@TOLERANCE
@format_option("terminal", "markdown", "csv", "json")
@CHOICES
@DEVICE
@ENGINE
@click.option("--dry-run", is_flag=True, help="Only list what would be run, and what cannot be.")
@QUIET
@OUTPUT
@RUNS
@DATA_ROOT
def reproduce(quiet: bool, output: Path | None, dry_run: bool, **options: Any) -> None:
    """Run what a published table needs and say of each number whether it came out again.

    SOURCE is the key of a paper whose numbers zslbench knows, such as li2019lisgan or xian2018gbu.
    """
    found = zslbench.reproduce(
        console=None if quiet else screen.progress_console(),
        output=output,
        dry_run=dry_run,
        engine=engine_of(options),
        **options,
    )
    if dry_run:
        for reason in dict.fromkeys(cell.reason for cell in found.cells if not cell.runs):
            screen.show_text(reason)
        screen.show_outcome(found.outcome, dry_run, options["runs"])
        return
    screen.show_written(output) if output else screen.show_text(found.text)
    if found.outcome.interrupted:
        sys.exit(INTERRUPTED)
    if found.outcome.failed:
        sys.exit(FAILED)
