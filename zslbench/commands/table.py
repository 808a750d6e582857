"""`zslbench table`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

import zslbench
from zslbench import screen
from zslbench.commands.options import (
    CHOICES,
    DATA_ROOT,
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
        "zslbench table --layout gzsl --published --format latex --width page -o table.tex",
        "zslbench table --layout zsl --format latex --standalone -o table2.tex",
        "zslbench table --layout stats --data-root ./xlsa17",
    )
)
@click.option(
    "-l",
    "--layout",
    type=click.Choice(["full", "zsl", "gzsl", "stats"]),
    default="full",
    show_default=True,
    help="full: every metric by data set. zsl: T1 by data set. gzsl: U, S and H by data set. stats: what the data sets "
    "hold; needs no run.",
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
    help="Show published numbers, from SOURCE or the best for each: beside the measured ones, in layouts zsl and gzsl "
    "as rows of their own.",
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
@click.option(
    "--width",
    metavar="WIDTH",
    help="LaTeX: column, page (of CVPR), eccv, neurips, or inches [default: 4.77, which fits any page]. Other formats: "
    "characters.",
)
@click.option("--standalone", is_flag=True, help="With --format latex: a document of its own, cropped to the table.")
@OUTPUT
@RUNS
@DATA_ROOT
def table(output: Path | None, metrics: tuple[str, ...], **options: Any) -> None:
    """Print the table of the records, or of the data sets: terminal, markdown, LaTeX, CSV or JSON."""
    text = zslbench.table(output=output, metrics=metrics or None, **options)
    screen.show_written(output) if output else screen.show_text(text)
