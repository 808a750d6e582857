"""`zslbench report`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

import zslbench
from zslbench import screen
from zslbench.commands.options import CHOICES, DATA_ROOT, DATASETS, METHODS, PROTOCOLS, RUNS, TOLERANCE, examples


@click.command(
    epilog=examples(
        "zslbench report -o report.html",
        "zslbench report -d cub -p gzsl --title 'CUB, generalized' -o cub.html",
        "zslbench report --runs study --no-published --no-figures -o study.html",
    )
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("report.html"),
    show_default=True,
    metavar="FILE",
    help="The .html to write.",
)
@METHODS
@DATASETS
@PROTOCOLS
@CHOICES
@click.option(
    "--stage",
    type=click.Choice(["final", "dev"]),
    help="Only this stage.  [default: both, where both have finished runs]",
)
@click.option(
    "--selection",
    type=click.Choice(["fixed", "validated", "oracle"]),
    multiple=True,
    help="Apply a rule, as in `table`; oracle: best on test, marked †. Repeatable.  [default: as recorded, no oracle]",
)
@click.option(
    "--published/--no-published",
    default=True,
    show_default=True,
    help="Set published numbers beside the measured ones, with verdicts.",
)
@TOLERANCE
@click.option(
    "--figures/--no-figures", default=True, show_default=True, help="Draw the figures that the records have data for."
)
@click.option("--title", metavar="TEXT", help="Of the page.  [default: the name of the folder of records]")
@RUNS
@DATA_ROOT
def report(output: Path, **options: Any) -> None:
    """Write one HTML page that shows a whole study: tables, figures, every run, and what is missing.

    The file needs no network and nothing beside it. Tables sort and filter; every run shows its parameters, curve,
    timings and provenance.
    """
    zslbench.report(output, **options)
    screen.show_written(output)
