"""`zslbench run`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import rich_click as click
from click.core import ParameterSource

import zslbench
from zslbench import screen
from zslbench.commands.options import (
    CHOICES,
    DATA_ROOT,
    DEVICE,
    ENGINE,
    FAILED,
    INTERRUPTED,
    QUIET,
    RUNS,
    engine_of,
    examples,
    run_on,
)
from zslbench.errors import BadValue

ENGINE_WORDS = {"engine_name", "workers", "time_limit", "memory_limit", "scheduler", "engine_config"}
BESIDE = {"plan", "runs", "device", "rerun", "dry_run", "quiet"} | ENGINE_WORDS
"""Options that may be typed beside a plan: they do not say what is run."""


@click.command(
    epilog=examples(
        "zslbench run --method lisgan --dataset sun --protocol gzsl",
        "zslbench run -m eszsl -m sae -d digits",
        "zslbench run -m 'eszsl[gamma=1000,lam=0.1,preprocess=standard]' -d cub --features fc1000 --semantics att",
        "zslbench run -m 'lisgan@S3[hidden=1024]' -d ./my-xlsa17-folder --seeds 5",
        "zslbench run -m 'eszsl[gamma=[1,10,100]]' -d digits --stage dev --dry-run",
        "zslbench run -m lisgan -m fclswgan -d sun --seeds 5 --workers auto --time-limit 2h",
        "zslbench run --plan study.toml --dry-run",
        "zslbench run -m lisgan -m fclswgan -d apy --keep-features 50",
    )
)
@click.option(
    "--plan",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A plan file (TOML), which says all that is run; beside it go --runs, --device, --rerun and the like.",
)
@click.option(
    "-m",
    "--method",
    "methods",
    multiple=True,
    metavar="SPEC",
    help="A method: name, name@preset, name[key=value,…], or pkg.module:Class. Repeatable.",
)
@run_on(required=False)
@CHOICES
@click.option("--seeds", type=click.IntRange(1), metavar="N", help="Run N seeds: 0 to N-1.  [default: 1]")
@click.option("--seed", "seed_list", type=int, multiple=True, metavar="K", help="Run seed K. Repeatable.")
@click.option(
    "--stage",
    type=click.Choice(["final", "dev"]),
    default="final",
    show_default=True,
    help="final: trainval → test. dev: training → validation classes, within trainval.",
)
@click.option("--fold", type=int, multiple=True, metavar="K", help="A fold of the dev stage; all when none is given.")
@DEVICE
@ENGINE
@click.option(
    "--checkpoints",
    default="last",
    show_default=True,
    metavar="last|every:N",
    help="When to judge a method while it trains, for its curve.",
)
@click.option(
    "--rerun",
    type=click.Choice(["none", "failed", "stale", "all"]),
    help="Do again: failed runs, those whose method's source changed (of your own methods always, but with none), or "
    "all.",
)
@click.option(
    "--seeds-at-once",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    help="Train the seeds of a generative method in one go; auto: on a GPU.",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "tf32", "bf16"]),
    default="float32",
    show_default=True,
    help="Of matrix products while a generative method trains; recorded. tf32 needs CUDA.",
)
@click.option("--calibrate", is_flag=True, help="Do the dev folds too, for `table --calibrate` (gzsl).")
@click.option("--oracle", is_flag=True, help="Mark the runs as candidates of oracle selection (†); tables hide them.")
@click.option("--profile", is_flag=True, help="Print the seconds by phase; the device is waited for after each.")
@click.option(
    "--keep-features",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Keep N synthesised rows of each unseen class, and real ones, for `plot features`.",
)
@click.option("--dry-run", is_flag=True, help="Only list the runs and their state.")
@QUIET
@RUNS
@DATA_ROOT
@click.pass_context
def run(
    ctx: click.RichContext,
    /,
    plan: Path | None,
    seeds: int | None,
    seed_list: tuple[int, ...],
    protocols: Sequence[str],
    quiet: bool,
    dry_run: bool,
    **options: Any,
) -> None:
    """Run methods on data sets and keep a record of each run.

    Finished runs are skipped, so the same command completes a study that was cut short.
    """
    if seeds is not None and seed_list:
        raise click.UsageError("--seeds and --seed were both given; use one of them.")
    options |= {"fold": options["fold"] or None, "seeds": seed_list or seeds or 1}
    if protocols:
        options["protocols"] = protocols
    if plan is not None:
        options = _beside(plan, ctx, options)
    console = None if quiet else screen.progress_console()
    outcome = zslbench.run(console=console, dry_run=dry_run, engine=engine_of(options), **options)
    profile = options["profile"] if plan is None else any(study.profile for study in options["plan"].studies.values())
    if profile and not dry_run:
        screen.show_profile(outcome)
    screen.show_outcome(outcome, dry_run, options["runs"])
    if outcome.interrupted:
        sys.exit(INTERRUPTED)
    if outcome.failed and not dry_run:
        sys.exit(FAILED)


def _beside(plan: Path, ctx: click.Context, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that a plan leaves to say: typed, or as the plan has them.

    With another engine typed, what the plan says of its own does not count.

    Raises:
        BadValue: an option was typed that says what is run; the plan does.
    """
    source = ParameterSource.COMMANDLINE
    typed = [option for option in ctx.command.params if ctx.get_parameter_source(str(option.name)) is source]
    if wrong := [max(option.opts, key=len) for option in typed if option.name not in BESIDE]:
        allowed = ", ".join(max(option.opts, key=len) for option in ctx.command.params if option.name in BESIDE)
        raise BadValue(
            f"{', '.join(wrong)} cannot be typed beside --plan {plan}, which says what is run; write it there, or "
            f"leave one of them out (beside a plan go: {allowed})."
        )
    study = zslbench.read_plan(plan)
    names = {str(option.name) for option in typed}
    said: dict[str, Any] = {"runs": study.runs, "device": study.device}
    if "engine_name" not in names:
        said |= {"engine_name" if word == "engine" else word: value for word, value in study.engine.items()}
    found = {name: options[name] for name in ("runs", "device", "rerun", *ENGINE_WORDS)}
    return {"plan": study, **found, **{name: value for name, value in said.items() if value and name not in names}}
