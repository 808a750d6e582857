"""`zslbench status`."""

from __future__ import annotations

import sys
from typing import Any

import rich_click as click

import zslbench
from zslbench import screen
from zslbench.commands.options import DATA_ROOT, FAILED, PROTOCOLS, RUNS, STAGE, examples, format_option


@click.command(
    epilog=examples(
        "zslbench status",
        "zslbench status -m lisgan -d cub --seeds 5",
        "zslbench status --verify",
        "zslbench status -d ./my-xlsa17-folder --data-root ./xlsa17",
    )
)
@click.option("-m", "--method", "methods", multiple=True, metavar="SPEC", help="Only these methods. Repeatable.")
@click.option(
    "-d",
    "--dataset",
    "datasets",
    multiple=True,
    metavar="NAME",
    help="Only these data sets; your own may be given as its folder, which the commands then name. Repeatable.",
)
@PROTOCOLS
@STAGE
@click.option(
    "--seeds",
    type=click.IntRange(1),
    metavar="N",
    help="Seeds that each method should have.  [default: as many as the one with the most]",
)
@click.option("--verify", is_flag=True, help="Recompute every metric from the stored predictions.")
@format_option("terminal", "json")
@RUNS
@DATA_ROOT
def status(**options: Any) -> None:
    """Say what the records lack, what failed or is stale, and the commands that fill it.

    Expected is every method on every data set under every protocol that the records have, with as many seeds as the
    one with the most. Exit code 1 where --verify finds a metric that does not follow from its predictions.
    """
    found = zslbench.status(**options)
    screen.show_text(found.text)
    if found.verification is not None and not found.verification.ok:
        sys.exit(FAILED)
