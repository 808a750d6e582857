"""`zslbench table`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

import zslbench
from zslbench import screen
from zslbench.commands.options import CHOICES, OUTPUT, RUNS, examples


@click.command(
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
