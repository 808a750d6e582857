"""`zslbench table`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

import zslbench
from zslbench import screen
from zslbench.commands.options import (
    CHOICES,
    DATASETS,
    METHODS,
    OUTPUT,
    PROTOCOLS,
    RUNS,
    STAGE,
    examples,
    format_option,
)


@click.command(
    epilog=examples(
        "zslbench table",
        "zslbench table --format latex -o table.tex",
        "zslbench table -p gzsl -d cub --published",
        "zslbench table --published li2019lisgan --format markdown",
        "zslbench table -p gzsl --calibrate --ci",
        "zslbench table --selection fixed --selection oracle",
        "zslbench table --stage dev --per-fold",
    )
)
@format_option("terminal", "markdown", "latex", "csv", "json")
@METHODS
@DATASETS
@PROTOCOLS
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="Only these metrics, e.g. H or AUSUC.")
@CHOICES
@STAGE
@click.option(
    "--published",
    is_flag=False,
    flag_value="best",
    metavar="[SOURCE]",
    help="Show published numbers beside the measured ones, from SOURCE or the best for each.",
)
@click.option(
    "--selection",
    type=click.Choice(["fixed", "validated", "oracle"]),
    multiple=True,
    help="fixed: the declared last step. validated: hyper-parameters or step chosen in the dev stage. oracle: best on "
    "test, marked †. Repeatable.  [default: as recorded, no oracle]",
)
@click.option(
    "--calibrate",
    is_flag=False,
    flag_value="dev",
    type=click.Choice(["dev", "oracle"]),
    help="Add U, S and H after calibrated stacking, its constant chosen on the dev folds; =oracle: on test, marked †.",
)
@click.option("--per-fold", is_flag=True, help="Keep the folds of the dev stage apart instead of averaging them.")
@click.option("--ci", is_flag=True, help="Show ± the half-width of the 95 % t interval over seeds.")
@click.option("--rank-together", is_flag=True, help="Rank transductive (‡) and oracle (†) rows with the others.")
@OUTPUT
@RUNS
def table(output: Path | None, metrics: tuple[str, ...], **options: Any) -> None:
    """Print the table of the records: terminal, markdown, LaTeX, CSV or JSON."""
    text = zslbench.table(output=output, metrics=metrics or None, **options)
    screen.show_written(output) if output else screen.show_text(text)
