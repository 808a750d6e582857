"""`zslbench ablate`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import rich_click as click

import zslbench
from zslbench import screen
from zslbench.commands.options import (
    CHOICES,
    DATA_ROOT,
    DEVICE,
    ENGINE,
    FAILED,
    INTERRUPTED,
    OUTPUT,
    QUIET,
    RUNS,
    engine_of,
    examples,
    format_option,
    run_on,
)


@click.command(
    epilog=examples(
        "zslbench ablate lisgan -d cub",
        "zslbench ablate 'lisgan[hidden=512,epochs=20]' -d cub --features fc1000 --semantics att --seeds 5",
        "zslbench ablate lisgan@published -d cub -d sun --format latex -o ablation.tex",
        "zslbench ablate lisgan -d cub --sweep 'souls=[1..10]' --sweep 'l_r1=[0,0.001,0.01]' --stage dev",
        "zslbench ablate eszsl -d digits --sweep 'gamma=[1,10,100]'",
    )
)
@click.argument("method", metavar="METHOD")
@run_on()
@click.option(
    "--seeds", type=click.IntRange(1), metavar="N", help="Seeds 0 to N-1.  [default: 3, or 1 where nothing is random]"
)
@click.option(
    "--sweep",
    multiple=True,
    metavar="NAME=[…]",
    help="Values of one parameter instead of the named ablations. Repeatable: a table each.",
)
@click.option(
    "--against",
    metavar="SETTING",
    help="What each setting is compared with: first, previous, full or a setting.  [default: the method's own]",
)
@click.option(
    "--stage",
    type=click.Choice(["final", "dev"]),
    default="final",
    show_default=True,
    help="final: trainval → test. dev: training → validation classes, the mean over folds.",
)
@format_option("terminal", "markdown", "latex", "csv", "json")
@CHOICES
@DEVICE
@ENGINE
@click.option("--dry-run", is_flag=True, help="Only list the runs and their state.")
@QUIET
@OUTPUT
@RUNS
@DATA_ROOT
def ablate(protocols: Sequence[str], quiet: bool, output: Path | None, dry_run: bool, **options: Any) -> None:
    """Run a method's named ablations over seeds and print them with their differences.

    METHOD is the whole method, with its presets and parameters; an ablation takes something away from it. With
    --sweep one parameter moves instead.
    """
    if protocols:
        options["protocols"] = protocols
    found = zslbench.ablate(
        console=None if quiet else screen.progress_console(),
        output=output,
        dry_run=dry_run,
        engine=engine_of(options),
        **options,
    )
    if dry_run:
        screen.show_outcome(found.outcome, dry_run, options["runs"])
        return
    screen.show_written(output) if output else screen.show_text(found.text)
    if found.outcome.interrupted:
        sys.exit(INTERRUPTED)
    if found.outcome.failed:
        sys.exit(FAILED)
