"""`zslbench run`, `tune`, `ablate` and `reproduce`: the verbs that run methods."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click
from click.core import ParameterSource

import zslbench
from zslbench.commands import completion, screen
from zslbench.commands import shared_options as shared
from zslbench.errors import BadValue

if TYPE_CHECKING:
    from zslbench.studies.ablate import Ablated
    from zslbench.studies.reproduce import Reproduction

ENGINE_WORDS = {"engine_name", "workers", "time_limit", "memory_limit", "scheduler", "engine_config"}
ONLY_LISTED = "Only list the runs and their state."
BESIDE = {"plan", "runs", "device", "rerun", "resume", "dry_run", "quiet", "log", "raise_errors"} | ENGINE_WORDS
"""Options that may be typed beside a plan: they do not say what is run."""


@shared.verb(
    "zslbench run --method lisgan --dataset sun --protocol gzsl",
    "zslbench run -m eszsl -m sae -d digits",
    "zslbench run -m 'eszsl[gamma=1000,lam=0.1,preprocess=standard]' -d cub --features fc1000 --semantics att",
    "zslbench run -m eszsl -m sae -d cub --features res101 --features vgg19",
    "zslbench run -m 'lisgan@S3[hidden=1024]' -d ./my-xlsa17-folder --seeds 5",
    "zslbench run -m 'eszsl[gamma=[1,10,100]]' -d digits --stage dev --dry-run",
    "zslbench run -m lisgan -m fclswgan -d sun --seeds 5 --workers auto --time-limit 2h",
    "zslbench run --plan study.toml --dry-run",
    "zslbench run -m lisgan -m fclswgan -d apy --keep-features 50",
    groups=shared.RUN_GROUPS,
)
@shared.path_option(
    "--plan",
    help="A plan file (TOML) that lists all runs. It can be combined with options that do not say what is run, such as "
    "--runs.",
)
@shared.names_option(
    "-m",
    "--method",
    "methods",
    metavar="SPEC",
    help="A method: name, name@preset, name[key=value,…], or pkg.module:Class.",
)
@shared.run_on(required=False)
@shared.SEVERAL_CHOICES
@shared.seeds_option(help="Run the seeds 0 to N-1.  [default: 1]")
@click.option("--seed", "seed_list", type=int, multiple=True, metavar="K", help="Run seed K. Repeatable.")
@shared.stage_option(
    help="final: train on trainval, test on the test images. dev: train on some of the training "
    "classes, test on the others."
)
@shared.FOLD
@shared.DEVICE
@shared.ENGINE
@click.option(
    "--checkpoints",
    default="last",
    metavar="last|every:N",
    help="When to measure a method that trains: after its last step only, or also every N epochs, which gives a curve.",
)
@shared.rerun_option(
    help="Which finished runs to repeat: none, failed, stale (the method's source changed) or all. Stale runs of your "
    "own methods are always repeated, except with none."
)
@click.option(
    "--no-resume",
    "resume",
    is_flag=True,
    flag_value=False,
    default=True,
    show_default=False,
    help="Train from the beginning also where a fit was killed, and remove the state of its training that was kept.",
)
@shared.choice_option(
    "--seeds-at-once",
    metavar="WHEN",
    choices=["auto", "always", "never"],
    default="auto",
    help="Train the seeds of a generative method together: always, never, or auto, which does so on a GPU.",
)
@shared.PRECISION
@click.option("--calibrate", is_flag=True, help="Run the dev folds too, which `table --calibrate` needs (gzsl only).")
@click.option(
    "--oracle",
    is_flag=True,
    help="Mark the runs as candidates for selection on the test images (†); tables show them only with --selection "
    "oracle.",
)
@click.option(
    "--profile",
    is_flag=True,
    help="Print the seconds of each phase, measured exactly: each phase waits until the device is done.",
)
@click.option(
    "--keep-features",
    type=click.IntRange(0),
    default=0,
    show_default=False,
    metavar="N",
    help="Keep N synthesised rows of each unseen class, and real ones, for `plot features`.",
)
@click.option("--save-model", is_flag=True, help="Keep each fitted method beside its record, for zslbench.load_model.")
@shared.choice_option(
    "--log",
    choices=["tensorboard", "wandb", "mlflow"],
    multiple=True,
    metavar="TOOL",
    help="Send losses, metrics and parameters to a tracking tool: tensorboard, wandb or mlflow. Repeatable.",
)
@click.option(
    "--raise",
    "raise_errors",
    is_flag=True,
    help="For debugging: stop at the first method that fails, with its traceback; runs that failed before are tried "
    "again.",
)
@click.option("--dry-run", is_flag=True, help=ONLY_LISTED)
@shared.QUIET
@shared.RUNS
@shared.DATA_ROOT
@click.pass_context
def run(
    ctx: click.RichContext, /, plan: Path | None, seeds: int | None, seed_list: tuple[int, ...], **options: Any
) -> None:
    """Run methods on data sets and keep a record of each run.

    Finished runs are skipped, so the same command completes a study that was interrupted.
    """
    if seeds is not None and seed_list:
        raise click.UsageError("--seeds and --seed were both given; use one of them.")
    options |= {name: options[name] or None for name in ("fold", "features", "semantics")}
    options["seeds"] = seed_list or seeds or 1
    if plan is not None:
        options = _beside(plan, ctx, options)
    machine = shared.take_machine(options)
    try:
        outcome = zslbench.run(**machine, **options)
    except BaseException as error:
        if all(error is not raised for raised in getattr(machine["engine"], "errors", None) or ()):
            raise
        screen.show_traceback(error)
        sys.exit(shared.FAILED)
    profile = options["profile"] if plan is None else any(study.profile for study in options["plan"].studies.values())
    if profile and not options["dry_run"]:
        screen.show_profile(outcome)
    screen.show_outcome(outcome)
    if not options["dry_run"]:
        shared.exit_after(outcome)


def _beside(plan: Path, ctx: click.Context, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that a plan leaves to say: typed, or as the plan has them.

    With another engine typed, what the plan says of its own does not count. BadValue: what is run was typed, too.
    """
    source = ParameterSource.COMMANDLINE
    typed = [option for option in ctx.command.params if ctx.get_parameter_source(str(option.name)) is source]
    if wrong := [max(option.opts, key=len) for option in typed if option.name not in BESIDE]:
        allowed = ", ".join(max(option.opts, key=len) for option in ctx.command.params if option.name in BESIDE)
        raise BadValue(
            f"{', '.join(wrong)} cannot be combined with --plan {plan}, which says what is run; write it into the "
            f"plan, or leave one of them out (allowed with a plan: {allowed})."
        )
    study = zslbench.read_plan(plan)
    typed_names = {str(option.name) for option in typed}
    planned: dict[str, Any] = {"runs": study.runs, "device": study.device}
    if "engine_name" not in typed_names:
        planned |= {"engine_name" if word == "engine" else word: value for word, value in study.engine.items()}
    planned = {name: value for name, value in planned.items() if value and name not in typed_names}
    return {"plan": study, **{name: options[name] for name in BESIDE - {"plan"}}, **planned}


@shared.verb(
    "zslbench tune eszsl -d digits",
    "zslbench tune ale -d cub --features fc1000 --trials 16 --data-root ./xlsa17",
    "zslbench tune 'eszsl[gamma=[1,10,100],preprocess=standard]' -d digits",
    "zslbench tune fclswgan -d sun --only lr --only cls_weight --checkpoints every:5 --time-limit 2h",
    "zslbench tune 'lisgan@S3[hidden=512]' -d cub --name s3",
    "zslbench run -m lisgan@s3 -d cub --seeds 5",
    groups=shared.RUN_GROUPS,
)
@click.argument("method", metavar="METHOD", shell_complete=completion.complete_methods)
@click.option(
    "-d",
    "--dataset",
    required=True,
    metavar="SPEC",
    help="A data set: a name, or the path of a folder.",
    shell_complete=completion.complete_datasets,
)
@shared.protocols_option(
    help="A protocol to tune for; both zsl and gzsl when none is given. Each gets a preset of its own."
)
@shared.CHOICES
@shared.names_option("--only", metavar="PARAM", help="Tune only this hyper-parameter.")
@shared.choice_option(
    "--sampler",
    choices=["auto", "grid", "tpe", "random"],
    default="auto",
    help="grid: try every point. tpe, random: samplers of Optuna. auto: grid where a method can fit all points "
    "at once, else tpe.",
)
@click.option(
    "--trials",
    type=click.IntRange(1),
    metavar="N",
    help="How many points tpe or random try, including those of earlier calls.  [default: 30, or as many as fit into "
    "--time-limit]",
)
@click.option("--time-limit", metavar="TIME", help="Start no new trial after this time: 90s, 30m or 1h30m.")
@click.option(
    "--checkpoints",
    default="last",
    metavar="last|every:N",
    help="With every:N, stop fits early that are worse than the median of earlier trials (tpe, random).",
)
@click.option("--no-prune", is_flag=True, help="Let every fit train to its end.")
@shared.FOLD
@click.option("--seed", type=int, default=0, metavar="K", help="The seed of the sampler and of every fit.")
@click.option("--name", default="tuned", metavar="NAME", help="The preset's name; it is used as METHOD@NAME.")
@shared.DEVICE
@shared.ENGINE_WITHOUT_LIMITS
@shared.PRECISION
@shared.rerun_option(
    help="Start the search again and repeat these runs; none: keep all runs even if the method's source has changed."
)
@click.option(
    "--oracle",
    is_flag=True,
    help="Afterwards also run every point on the test images, marked †: `table --selection oracle` then shows how much "
    "choosing on them would have gained. The preset does not depend on it.",
)
@shared.format_option(
    "terminal", "markdown", "csv", "json", help="How to print the result; csv and json list every trial."
)
@shared.QUIET
@shared.RUNS
@shared.DATA_ROOT
def tune(method: str, dataset: str, no_prune: bool, format: Any, **options: Any) -> None:
    """Choose a method's hyper-parameters in the dev stage, and keep them as a preset.

    No test image is used: training classes are split into folds, and the values with the best mean over the folds are
    kept. Each run has a record, so the same command continues a search that was interrupted or killed.

    A value given in METHOD stays fixed, and a grid in METHOD lists the values to try. All other hyper-parameters are
    searched in the space that `zslbench info METHOD` shows.
    """
    options["fold"] = options["fold"] or None
    tuning = zslbench.tune(
        method, dataset, prune=not no_prune, format=format, **shared.take_machine(options), **options
    )
    screen.show_text(tuning.text)
    if tuning.interrupted:
        sys.exit(shared.INTERRUPTED)
    if not tuning.presets:
        sys.exit(shared.FAILED)


@shared.verb(
    "zslbench ablate lisgan -d cub",
    "zslbench ablate 'lisgan[hidden=512,epochs=20]' -d cub --features fc1000 --semantics att --seeds 5",
    "zslbench ablate lisgan@published -d cub -d sun --format latex -o ablation.tex",
    "zslbench ablate lisgan -d cub --sweep 'souls=[1..10]' --sweep 'l_r1=[0,0.001,0.01]' --stage dev",
    "zslbench ablate eszsl -d digits --sweep 'gamma=[1,10,100]'",
    groups=shared.RUN_GROUPS,
)
@click.argument("method", metavar="METHOD", shell_complete=completion.complete_methods)
@shared.run_on()
@shared.seeds_option(help="Run the seeds 0 to N-1.  [default: 3, or 1 where nothing is random]")
@click.option(
    "--sweep",
    multiple=True,
    metavar="NAME=[…]",
    help="Values of one parameter, instead of the named ablations. Repeatable; each gets its own table.",
)
@click.option(
    "--against",
    metavar="SETTING",
    help="What each setting is compared with: first, previous, full, or the name of a setting.  [default: as the "
    "method declares]",
)
@shared.stage_option(
    help="final: train on trainval, test on the test images. dev: train on some of the training "
    "classes, test on the others, mean over folds."
)
@shared.format_option("terminal", "markdown", "latex", "csv", "json")
@shared.DECIMALS
@shared.LATEX_CAPTION
@shared.study_options(ONLY_LISTED)
def ablate(output: Path | None, **options: Any) -> None:
    """Run a method's named ablations over seeds and print them with their differences.

    METHOD is the whole method, with its presets and parameters; an ablation removes parts of it. With --sweep, one
    parameter is varied instead.
    """
    _show_study(zslbench.ablate(**shared.take_machine(options), **options), output, options["dry_run"])


def _show_study(study: Ablated | Reproduction, output: Path | None, dry_run: bool) -> None:
    """Show what a study would do, or what came of it; end with its exit code."""
    if dry_run:
        screen.show_outcome(study.outcome)
        return
    shared.show_result(study, output)
    shared.exit_after(study.outcome)


@shared.verb(
    "zslbench reproduce li2019lisgan --table 2 -d cub",
    "zslbench reproduce li2019lisgan --table 'Figure 7(b)' --seeds 5 --dry-run",
    "zslbench reproduce xian2018gbu -d cub -m eszsl -m sae --tolerance 1",
    "zslbench reproduce li2019lisgan --table 4 -d cub -m eszsl --features fc1000 --format markdown",
    groups=shared.RUN_GROUPS,
)
@click.argument("source", metavar="SOURCE", shell_complete=completion.complete_sources)
@click.option(
    "--table",
    metavar="N",
    help="Which table or figure: 2, 'Table 2', 'Figure 7(b)'. Needed if zslbench knows several tables of the paper.",
)
@shared.names_option("-d", "--dataset", "datasets", help="Only these data sets of the table.")
@shared.names_option("-m", "--method", "methods", help="Only these methods of the table.")
@shared.seeds_option(help="Run the seeds 0 to N-1, for methods that depend on them.", default=3)
@shared.TOLERANCE
@shared.format_option("terminal", "markdown", "csv", "json")
@shared.CAPTION
@shared.study_options("Only list what would be run, and what cannot be run.")
def reproduce(output: Path | None, **options: Any) -> None:
    """Run the methods of a published table and say of each number whether it was reproduced.

    SOURCE is the key of a paper whose numbers zslbench knows, such as li2019lisgan or xian2018gbu.
    """
    reproduction = zslbench.reproduce(**shared.take_machine(options), **options)
    if options["dry_run"]:
        for sentence in reproduction.describe_missing():
            screen.show_text(sentence)
    _show_study(reproduction, output, options["dry_run"])
