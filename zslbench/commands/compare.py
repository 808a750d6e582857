"""`zslbench compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

import zslbench
from zslbench import screen
from zslbench.commands.options import CHOICES, DATASETS, OUTPUT, PROTOCOLS, RUNS, STAGE, examples, format_option


@click.command(
    epilog=examples(
        "zslbench compare lisgan fclswgan -d cub",
        "zslbench compare ale eszsl cnzsl --metric H --over classes",
        "zslbench compare 'lisgan@S3[souls=5]' lisgan@S1 -d cub --format latex -o pairs.tex",
        "zslbench compare --diagram ranks.pdf",
    )
)
@click.argument("methods", nargs=-1, metavar="[METHOD]…")
@DATASETS
@PROTOCOLS
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    type=click.Choice(["T1", "U", "S", "H"], case_sensitive=False),
    metavar="T1|U|S|H",
    help="Which metrics. Repeatable.  [default: T1 and H]",
)
@click.option(
    "--over",
    type=click.Choice(["classes", "images", "both"]),
    default="both",
    show_default=True,
    help="What the bootstrap resamples: test classes, or the images of each.",
)
@click.option("--level", type=float, default=0.95, show_default=True, help="Of the intervals and tests.")
@click.option("--draws", type=int, default=10_000, show_default=True, metavar="N", help="Of the bootstrap.")
@click.option("--bootstrap-seed", type=click.IntRange(0), default=0, show_default=True, help="Of the draws.")
@CHOICES
@STAGE
@click.option(
    "--selection",
    type=click.Choice(["fixed", "validated", "oracle"]),
    help="Only runs of this selection.  [default: all but oracle]",
)
@format_option("terminal", "markdown", "latex", "csv", "json")
@click.option(
    "--diagram",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Draw the critical-difference diagram: .pdf, .svg or .png.",
)
@OUTPUT
@RUNS
def compare(methods: tuple[str, ...], metrics: tuple[str, ...], output: Path | None, **options: Any) -> None:
    """Say how methods differ and how sure that is: all pairs of METHODs, within and across data sets.

    A METHOD is a name or a spec, as in `table --method`, and must pick one row per data set; all rows when none is
    given. Within a data set: paired bootstrap, Holm over pairs. Across data sets: Wilcoxon–Holm, Friedman, mean ranks.
    """
    text = zslbench.compare(*methods, metrics=metrics or None, output=output, **options)
    if options["diagram"]:
        screen.show_written(options["diagram"])
    screen.show_written(output) if output else screen.show_text(text)
