"""`zslbench tune`."""

from __future__ import annotations

import sys
from typing import Any

import rich_click as click

import zslbench
from zslbench import screen
from zslbench.commands.options import (
    CHOICES,
    DATA_ROOT,
    DEVICE,
    ENGINE_WITHOUT_LIMITS,
    FAILED,
    INTERRUPTED,
    QUIET,
    RUNS,
    engine_of,
    examples,
)


@click.command(
    epilog=examples(
        "zslbench tune eszsl -d digits",
        "zslbench tune ale -d cub --features fc1000 --trials 16 --data-root ./xlsa17",
        "zslbench tune 'eszsl[gamma=[1,10,100],preprocess=standard]' -d digits",
        "zslbench tune fclswgan -d sun --only lr --only cls_weight --checkpoints every:5 --time-limit 2h",
        "zslbench tune 'lisgan@S3[hidden=512]' -d cub --name s3",
        "zslbench run -m lisgan@s3 -d cub --seeds 5",
    )
)
@click.argument("method", metavar="METHOD")
@click.option("-d", "--dataset", required=True, metavar="SPEC", help="A data set: a name, or the path of a folder.")
@click.option(
    "-p",
    "--protocol",
    "protocols",
    multiple=True,
    metavar="SPEC",
    help="A protocol to tune for; both zsl and gzsl when none is given. Each gets a preset of its own. Repeatable.",
)
@CHOICES
@click.option(
    "--only", multiple=True, metavar="PARAM", help="Tune this hyper-parameter, and not the others. Repeatable."
)
@click.option(
    "--sampler",
    type=click.Choice(["auto", "grid", "tpe", "random"]),
    default="auto",
    show_default=True,
    help="grid: every point; tpe, random: Optuna's. auto: the grid where a method fits all of it at once, else tpe.",
)
@click.option(
    "--trials",
    type=click.IntRange(1),
    metavar="N",
    help="Points that tpe or random try, earlier calls included.  [default: 30, or as many as --time-limit lets]",
)
@click.option("--time-limit", metavar="TIME", help="Begin no trial after this time: seconds, 90s, 30m or 1h30m.")
@click.option(
    "--checkpoints",
    default="last",
    show_default=True,
    metavar="last|every:N",
    help="With every:N, give up fits that are worse than the median of earlier trials (tpe, random).",
)
@click.option("--no-prune", is_flag=True, help="Give up none.")
@click.option("--fold", type=int, multiple=True, metavar="K", help="A fold of the dev stage; all when none is given.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the sampler, and of every fit.")
@click.option("--name", default="tuned", show_default=True, help="The preset's name: METHOD@NAME.")
@DEVICE
@ENGINE_WITHOUT_LIMITS
@click.option(
    "--rerun",
    type=click.Choice(["none", "failed", "stale", "all"]),
    help="Begin the search anew, and do such runs again; none: keep runs of a changed source.",
)
@click.option(
    "--oracle",
    is_flag=True,
    help="Afterwards run every point on the test images too, marked †: `table --selection oracle` then tells what "
    "picking on them would have added. The preset does not depend on it.",
)
@click.option(
    "--format",
    type=click.Choice(["terminal", "markdown", "csv", "json"]),
    default="terminal",
    show_default=True,
    help="csv and json tell of every trial.",
)
@QUIET
@RUNS
@DATA_ROOT
def tune(method: str, dataset: str, no_prune: bool, quiet: bool, format: Any, **options: Any) -> None:
    """Choose a method's hyper-parameters in the dev stage, and keep them as a preset.

    Test images have no part in it: training classes are split into folds, and the best mean over the folds wins. Each
    run is kept as a record, so the same command goes on with a search that was cut short, even killed.

    What METHOD fixes stays, a grid in it is what is tried of that hyper-parameter, and the rest comes from the space
    that `zslbench info METHOD` shows.
    """
    from zslbench.studies.tuning import describe_tuning

    options["fold"] = options["fold"] or None
    options["protocols"] = options["protocols"] or ("zsl", "gzsl")
    tuning = zslbench.tune(
        method,
        dataset,
        prune=not no_prune,
        console=None if quiet else screen.progress_console(),
        engine=engine_of(options),
        **options,
    )
    screen.show_text(describe_tuning(tuning, format))
    if tuning.interrupted:
        sys.exit(INTERRUPTED)
    if not tuning.presets:
        sys.exit(FAILED)
