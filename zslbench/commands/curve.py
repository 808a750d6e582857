"""`zslbench curve`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

import zslbench
from zslbench import screen
from zslbench.commands.options import CHOICES, DATASETS, METHODS, OUTPUT, RUNS, examples, format_option


@click.command(
    epilog=examples(
        "zslbench curve -m eszsl -d cub",
        "zslbench curve --data points.csv",
        "zslbench curve -d cub --format latex -o curve.tex",
    )
)
@format_option("terminal", "markdown", "latex", "csv", "json", text="How to write it; csv: a row per point of a run.")
@METHODS
@DATASETS
@CHOICES
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also write every point of every run to FILE, as csv: gamma, U, S, H; a point holds up to its gamma.",
)
@OUTPUT
@RUNS
def curve(output: Path | None, data: Path | None, **options: Any) -> None:
    """Print seen–unseen curves and what calibrated stacking makes of H, from the predictions of finished gzsl runs."""
    text = zslbench.curve(output=output, data=data, **options)
    screen.show_written(output) if output else screen.show_text(text)
    if data:
        screen.show_written(data)
