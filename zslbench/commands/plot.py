"""`zslbench plot`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

import zslbench
from zslbench import screen
from zslbench.commands.options import CHOICES, DATA_ROOT, DATASETS, METHODS, PROTOCOLS, RUNS, STAGE, examples


@click.command(
    epilog=examples(
        "zslbench plot confusion -m lisgan -m fclswgan -d apy --width page -o confusion.pdf",
        "zslbench plot confusion -m eszsl -d cub -p gzsl --classes 20 -o hardest.pdf",
        "zslbench plot sensitivity -m lisgan --param cls_weight -o weight.pdf",
        "zslbench plot souls -m lisgan -o souls.pdf",
        "zslbench plot stability -m lisgan -m fclswgan -d cub -p zsl -o stability.pdf --data stability.csv",
        "zslbench plot ablation -m lisgan -d cub -o ablation.pgf",
        "zslbench plot perclass -m ale -m eszsl -d cub -o difference.svg",
        "zslbench plot pareto -d cub -o pareto.pdf",
        "zslbench plot features -m lisgan -m fclswgan -d apy --projection tsne -o features.pdf",
    )
)
@click.argument("kind", metavar="KIND")
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="FILE", help="A .pdf, .svg, .png or .pgf."
)
@METHODS
@DATASETS
@PROTOCOLS
@click.option(
    "--metric", "metrics", multiple=True, metavar="NAME", help="A panel each. Repeatable. [default: T1 and H]"
)
@CHOICES
@STAGE
@click.option(
    "--selection",
    type=click.Choice(["fixed", "validated", "oracle"]),
    help="Apply a rule, as in `table`; oracle: best on test, marked †.  [default: as recorded, no oracle]",
)
@click.option("--param", "parameter", metavar="NAME", help="sensitivity: which hyper-parameter.")
@click.option(
    "--classes",
    metavar="N|NAMES",
    help="confusion, perclass, features: how many (the hardest; the ends; from best to least recognised), or names or "
    "ids between commas.",
)
@click.option(
    "--projection",
    type=click.Choice(["pca", "tsne", "umap"]),
    help="features: how rows come into the plane.  [default: pca]",
)
@click.option("--spread", type=click.Choice(["std", "ci"]), help="Over seeds: standard deviation, or 95 % interval.")
@click.option(
    "--width",
    default="column",
    show_default=True,
    metavar="WIDTH",
    help="column (3.25 in), page (6.875), eccv (4.8), neurips (5.5), or inches.",
)
@click.option("--data", type=click.Path(path_type=Path), metavar="FILE", help="Also write the numbers drawn, as csv.")
@RUNS
@DATA_ROOT
def plot(kind: str, output: Path, data: Path | None, **options: Any) -> None:
    """Draw a figure of finished runs, and print the sentences that say what it shows.

    KIND is confusion (one or two methods), sensitivity (a swept hyper-parameter), souls (soul samples a class),
    stability (error by epoch), ablation (named settings), curve (seen–unseen), perclass (of one method, or two and
    their difference), pareto (accuracy against seconds), cd (critical differences) or features (real and synthesised
    rows of unseen classes, after `run --keep-features`).
    """
    drawn = zslbench.plot(kind, output, data=data, **options)
    screen.show_text("\n".join(drawn.caption))
    screen.show_written(output)
    if data:
        screen.show_written(data)
