"""`zslbench status`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import rich_click as click

import zslbench
from zslbench import screen
from zslbench.commands.options import DATA_ROOT, FAILED, PROTOCOLS, RUNS, STAGE, examples, format_option


@click.command(
    epilog=examples(
        "zslbench status",
        "zslbench status -m lisgan -d cub --seeds 5 --write-plan missing.toml",
        "zslbench run --plan missing.toml",
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
    help="Only these data sets; your own may be given as its folder, which the plan then names. Repeatable.",
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
@click.option(
    "--write-plan",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write what is missing, failed or stale into a plan file (TOML) for `zslbench run --plan`.",
)
@format_option("terminal", "json")
@RUNS
@DATA_ROOT
def status(write_plan: Path | None, **options: Any) -> None:
    """Say what the records lack, what failed or is stale, and write the plan file that fills it.

    Expected is every method on every data set under every protocol that the records have, with as many seeds as the
    one with the most. Exit code 1 where --verify finds a metric that does not follow from its predictions.
    """
    found = zslbench.status(write_plan=write_plan, **options)
    screen.show_text(found.text)
    if write_plan is not None and found.plan:
        screen.show_written(write_plan)
    if found.verification is not None and not found.verification.ok:
        sys.exit(FAILED)
