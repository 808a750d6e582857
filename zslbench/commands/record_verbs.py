"""The verbs that read records: `zslbench table`, `compare`, `curve`, `plot`, `report`, `status`, `show` and others."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import rich_click as click

import zslbench
from zslbench.commands import completion, screen
from zslbench.commands import shared_options as shared
from zslbench.errors import CaptionLeftOut, warn
from zslbench.visible import format_count

_AROUND_LIST = 4
"""Lines of a screen that a list leaves for its heads, what is said below it, and the prompt."""


@shared.verb(
    "zslbench table",
    "zslbench table --format latex -o table.tex",
    "zslbench table -p gzsl -d cub --published",
    "zslbench table --published li2019lisgan --format markdown",
    "zslbench table -p gzsl --calibrate --ci",
    "zslbench table --selection fixed --selection oracle",
    "zslbench table --stage dev --per-fold",
    "zslbench table --layout gzsl --published --format latex --width page -o table.tex",
    "zslbench table --layout zsl --format latex --standalone -o table2.tex",
    "zslbench table --columns H@cub,U@cub,T1@sun --sort H --decimals 2",
    "zslbench table --layout stats --data-root ./xlsa17",
    groups=shared.READ_GROUPS,
)
@shared.choice_option(
    "-l",
    "--layout",
    choices=["full", "zsl", "gzsl", "stats"],
    default="full",
    help="full: every metric by data set. zsl: T1 by data set. gzsl: U, S and H by data set. stats: sizes of the data "
    "sets; needs no runs.",
)
@shared.format_option("terminal", "markdown", "latex", "csv", "json")
@shared.RECORDS
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="Only these metrics, e.g. H or AUSUC.")
@shared.SEVERAL_CHOICES
@shared.STAGE
@click.option(
    "--published",
    is_flag=False,
    flag_value="best",
    metavar="[SOURCE]",
    help="Show published numbers: those of SOURCE, or without SOURCE first-hand ones that compare. They stand beside "
    "the measured ones, or in the layouts zsl and gzsl in rows of their own.",
)
@shared.selection_option(
    help="fixed: the declared last step. validated: hyper-parameters or step chosen in the dev stage. oracle: best on "
    "test, marked †. Repeatable.  [default: as recorded, no oracle]",
    multiple=True,
)
@shared.choice_option(
    "--calibrate",
    metavar="dev|oracle|both",
    choices=["dev", "oracle", "both"],
    is_flag=False,
    flag_value="dev",
    help="Add U, S and H after calibrated stacking. Its constant is chosen on the dev folds; with "
    "--calibrate=oracle on the test images (marked †); with --calibrate=both on each, next to AUSUC and what the "
    "test images would add to H.",
)
@click.option("--per-fold", is_flag=True, help="Show each fold of the dev stage instead of the mean over folds.")
@click.option(
    "--ci",
    is_flag=True,
    help="Show half the width of the 95 % t interval over seeds after ±, instead of the standard deviation.",
)
@click.option(
    "--rank-together", is_flag=True, help="Rank transductive (‡) and oracle (†) rows together with the others."
)
@click.option(
    "--width",
    metavar="WIDTH",
    help="For LaTeX: column or page (of CVPR), eccv, neurips, or a number of inches (4.77, "
    "which fits any page, if not given). For other formats: a number of characters.",
)
@click.option(
    "--standalone", is_flag=True, help="With --format latex: write a complete document, cropped to the table."
)
@click.option(
    "--pivot",
    metavar="NAME,NAME",
    help="Show the grid of one method as a matrix: one row per value of the first hyper-parameter, one column per "
    "value of the second, e.g. gamma,lam.",
)
@click.option(
    "--columns",
    metavar="LIST",
    help="Only these columns, in this order: METRIC, METRIC@DATASET or METRIC@DATASET:STEM (with these features or "
    "semantics), separated by commas, e.g. H@cub,U@cub,T1@sun:res101.",
)
@click.option(
    "--sort",
    metavar="METRIC",
    help="Sort the rows of each block, the highest first: METRIC of the first data set that has it, or METRIC@DATASET.",
)
@shared.DECIMALS
@shared.LATEX_CAPTION
@click.option("--cite", is_flag=True, help="LaTeX: cite each method after its name, with the keys of --bibtex.")
@shared.path_option(
    "--bibtex", help="Also write BibTeX entries of the methods, data sets, split and published sources of the table."
)
@shared.OUTPUT
@shared.RUNS
@shared.DATA_ROOT
def table(output: Path | None, metrics: tuple[str, ...], **options: Any) -> None:
    """Print the table of the records, or of the data sets: terminal, markdown, LaTeX, CSV or JSON."""
    if options["cite"] and options["format"] != "latex":
        raise click.UsageError("--cite is for --format latex; leave it out, or choose that format.")
    shared.show_result(zslbench.table(metrics=metrics or None, **options), output)
    if options["bibtex"]:
        screen.show_written(options["bibtex"])


@shared.verb(
    "zslbench compare lisgan fclswgan -d cub",
    "zslbench compare ale eszsl cnzsl --metric H --over classes",
    "zslbench compare eszsl -d cub --features res101 --features vgg19",
    "zslbench compare 'lisgan@S3[souls=5]' lisgan@S1 -d cub --format latex -o pairs.tex",
    groups=shared.READ_GROUPS,
)
@click.argument("methods", nargs=-1, metavar="[METHOD]…", shell_complete=completion.complete_methods)
@shared.DATASETS
@shared.PROTOCOLS
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    type=click.Choice(["T1", "U", "S", "H"], case_sensitive=False),
    metavar="T1|U|S|H",
    help="Which metrics. Repeatable.  [default: T1 and H]",
)
@shared.choice_option(
    "--over",
    choices=["classes", "images", "both"],
    default="both",
    help="What the bootstrap resamples: test classes, the images of each class, or both.",
)
@click.option("--level", type=float, default=0.95, metavar="P", help="Confidence level of the intervals and tests.")
@click.option("--draws", type=int, default=10_000, metavar="N", help="How many samples the bootstrap draws.")
@click.option("--bootstrap-seed", type=click.IntRange(0), default=0, metavar="K", help="Seed of the bootstrap.")
@shared.SEVERAL_CHOICES
@shared.STAGE
@shared.selection_option(help="Only runs selected in this way.  [default: all but oracle]")
@shared.format_option("terminal", "markdown", "latex", "csv", "json")
@shared.LATEX_CAPTION
@click.option("--details", is_flag=True, help="Show intervals and p of all pairs even if no METHOD is named.")
@shared.OUTPUT
@shared.RUNS
def compare(methods: tuple[str, ...], metrics: tuple[str, ...], output: Path | None, **options: Any) -> None:
    """Show how methods differ and how certain that is: all pairs of METHODs, within and across data sets.

    A METHOD is a name or a spec, as in `table --method`, and must pick one row per data set; without METHODs, all rows
    are shown as a matrix of differences; one METHOD alone is compared over features and semantics of a data set. Within
    a data set: paired bootstrap, Holm over pairs. Across data sets: Wilcoxon–Holm, Friedman, mean ranks.
    """
    shared.show_result(zslbench.compare(*methods, metrics=metrics or None, **options), output)


@shared.verb(
    "zslbench curve -m eszsl -d cub",
    "zslbench curve -o points.csv",
    "zslbench curve -d cub --format latex -o curve.tex",
    groups=shared.READ_GROUPS,
)
@shared.format_option(
    *("terminal", "markdown", "latex", "csv", "json"),
    help="How to write it. csv: a row per point of a run (gamma, U, S, H), which holds for every gamma up to its own.",
)
@shared.LATEX_CAPTION
@shared.METHOD_FILTER
@shared.DATASETS
@shared.SEVERAL_CHOICES
@shared.OUTPUT
@shared.RUNS
def curve(output: Path | None, **options: Any) -> None:
    """Print seen–unseen curves, and H after calibrated stacking, from the predictions of finished gzsl runs."""
    shared.show_result(zslbench.curve(**options), output)


@shared.verb(
    "zslbench plot confusion -m lisgan -m fclswgan -d apy --width page -o confusion.pdf",
    "zslbench plot confusion -m eszsl -d cub -p gzsl --classes 20 -o hardest.pdf",
    "zslbench plot sensitivity -m lisgan --param cls_weight -o weight.pdf",
    "zslbench plot souls -m lisgan -o souls.pdf",
    "zslbench plot stability -m lisgan -m fclswgan -d cub -p zsl -o stability.pdf --data stability.csv",
    "zslbench plot losses -m lisgan -d digits -o losses.pdf",
    "zslbench plot ablation -m lisgan -d cub -o ablation.pdf",
    "zslbench plot perclass -m ale -m eszsl -d cub -o difference.svg",
    "zslbench plot pareto -d cub -o pareto.pdf",
    "zslbench plot backbones -d my-birds -o backbones.pdf",
    "zslbench plot features -m lisgan -m fclswgan -d apy --projection tsne -o features.pdf",
    groups=shared.READ_GROUPS,
)
@click.argument(
    "kind", metavar="KIND", shell_complete=completion.complete_figures, callback=shared.check_kind_of_figure
)
@shared.path_option("-o", "--output", required=True, help="File to write: .pdf, .svg or .png.")
@shared.RECORDS
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help="Metrics to draw, one panel each; in a losses figure, names of losses. Repeatable.  [default: T1 and H; all "
    "losses]",
)
@shared.SEVERAL_CHOICES
@shared.STAGE
@shared.selection_option(
    help="Which rule of selection, as in `table`; numbers chosen by oracle (best on test) are marked †.  "
    "[default: as recorded, no oracle]"
)
@click.option(
    "--param",
    "parameter",
    metavar="NAME",
    help="sensitivity: which hyper-parameter. backbones: features or semantics.  [default: the only one that varies]",
)
@click.option(
    "--classes",
    metavar="N|NAMES",
    help="Classes to draw: names or numbers between commas, or how many. Of so many, confusion draws those of lowest "
    "accuracy, perclass those of highest and of lowest, and features some of each.",
)
@shared.choice_option(
    "--projection", choices=["pca", "tsne"], help="features: how they are projected to two dimensions.  [default: pca]"
)
@shared.choice_option(
    "--spread",
    choices=["std", "ci"],
    help="What bands and bars around means over seeds show. std: the standard deviation. ci: the 95 % interval.  "
    "[default: ci for ablation and backbones, else std]",
)
@click.option(
    "--width",
    default="column",
    metavar="WIDTH",
    help="Width of the figure: column (3.25 inches), page (6.875), eccv (4.8), neurips (5.5), or a number of inches.",
)
@shared.CAPTION
@shared.path_option("--data", help="Also write the numbers that the figure shows to FILE, as csv.")
@shared.RUNS
@shared.DATA_ROOT
def plot(kind: str, output: Path, data: Path | None, caption: str, **options: Any) -> None:
    """Draw a figure of finished runs, and print its caption.

    \b
    KIND is one of
      confusion    true against predicted classes, of one or two methods
      perclass     accuracy of each class, or the difference of two methods
      curve        accuracy on seen against unseen classes, with AUSUC
      pareto       accuracy against seconds
      cd           mean ranks over data sets (critical-difference diagram)
      backbones    methods on several features, or semantics, of a data set,
                   and how much of the variance each explains
      sensitivity  accuracy against the values of one hyper-parameter
      souls        accuracy against the number of soul samples per class
      ablation     a bar for each named setting of a method
      stability    error by epoch, after `run --checkpoints`
      losses       training losses by epoch or iteration
      features     real and synthesised features of unseen classes in two
                   dimensions, after `run --keep-features`
    """
    drawn = zslbench.plot(kind, output, data=data, **options)
    if caption == "none":
        for text in drawn.describe(caption):
            warn(text, CaptionLeftOut)
    else:
        screen.show_sentences(drawn.describe(caption))
    screen.show_written(output)
    if data:
        screen.show_written(data)


@shared.verb(
    "zslbench report -o report.html",
    "zslbench report -d cub -p gzsl --title 'CUB, generalized' -o cub.html",
    "zslbench report --runs study --no-published --no-figures -o study.html",
    groups=shared.READ_GROUPS,
)
@shared.path_option("-o", "--output", default=Path("report.html"), help="File to write.")
@shared.RECORDS
@shared.SEVERAL_CHOICES
@shared.stage_option(help="Only records of this stage.  [default: both, where both have finished runs]", default=None)
@shared.selection_option(
    help="Which rule of selection, as in `table`; numbers chosen by oracle (best on test) are marked †. Repeatable.  "
    "[default: as recorded, no oracle]",
    multiple=True,
)
@click.option(
    "--published/--no-published",
    default=True,
    help="Show published numbers beside the measured ones, and whether they are reproduced.",
)
@shared.TOLERANCE
@click.option("--figures/--no-figures", default=True, help="Draw figures, as far as the records have the data.")
@click.option("--title", metavar="TEXT", help="Title of the page.  [default: folder of records, as in study/runs]")
@shared.RUNS
@shared.DATA_ROOT
def report(output: Path, **options: Any) -> None:
    """Write a report of a whole study as one HTML page: tables, figures, every run, and which runs are missing.

    Open the file in a browser; it needs no network and no other file. Tables can be sorted and filtered. A click on a
    run shows its parameters, curve, timings and provenance.
    """
    zslbench.report(output, **options)
    screen.show_written(output)


@shared.verb(
    "zslbench status",
    "zslbench status -m lisgan -d cub --seeds 5 --write-plan missing.toml",
    "zslbench run --plan missing.toml",
    "zslbench status --verify",
    "zslbench status -d ./my-xlsa17-folder --data-root ./xlsa17",
)
@shared.names_option("-m", "--method", "methods", metavar="SPEC", help="Only these methods.")
@shared.names_option(
    "-d",
    "--dataset",
    "datasets",
    help="Only these data sets; name your own by its folder, and the plan will contain it.",
)
@shared.PROTOCOLS
@shared.STAGE
@shared.seeds_option(help="Seeds that each method should have.  [default: those that were asked for]")
@click.option("--verify", is_flag=True, help="Recompute every metric from the stored predictions.")
@shared.path_option(
    "--write-plan", help="Write what is missing, failed or stale into a plan file (TOML) for `zslbench run --plan`."
)
@shared.format_option("terminal", "json")
@shared.RUNS
@shared.DATA_ROOT
def status(write_plan: Path | None, **options: Any) -> None:
    """Show which of the requested runs are missing, failed or stale, and write a plan file that does them.

    Requested are all runs that have a record, and all that a command or plan asked for, even if it was interrupted.
    Exit code 1 if --verify finds a metric that does not follow from the stored predictions.
    """
    shown = zslbench.status(write_plan=write_plan, **options)
    screen.show_text(shown.text)
    if write_plan is not None and shown.plan:
        screen.show_written(write_plan)
    if shown.verification is not None and not shown.verification.ok:
        sys.exit(shared.FAILED)


@shared.verb(
    "zslbench show",
    "zslbench show eszsl",
    "zslbench show 48920cd25ee3a971",
    "zslbench show 48920c --runs study",
    "zslbench show runs/digits/zsl/eszsl/48920cd25ee3a971.json",
    "zslbench show 48920c --format json",
)
@click.argument("id", metavar="[ID]", required=False, shell_complete=completion.complete_records)
@shared.format_option("terminal", "json")
@shared.RUNS
def show(id: str | None, runs: Path, format: str) -> None:
    """Show the record of one run and the command that repeats it; without ID, list all runs.

    ID is the id of a run, its first digits (four or more), or the path of its file. Shown are parameters,
    metrics, curve, losses, seconds, memory, traceback, provenance and files.

    If ID is the name of a method or data set, its runs are listed, or shown if there is only one. Lists begin with the
    newest runs, and end with those of the dev stage.
    """
    from zslbench.studies.show import ShownRecord, show_or_list

    shown = show_or_list(id, runs)
    if format == "json":
        screen.show_text(shown.to_json() if isinstance(shown, ShownRecord) else shown.write_json())
    elif isinstance(shown, ShownRecord):
        screen.show_text(shown.text)
    else:
        console = screen.live_console()
        room = max(console.height - _AROUND_LIST, 1) if console else len(shown)
        screen.show_table(shown.heads_of_columns, shown.rows[:room], one_line=True)
        if (others := len(shown) - room) > 0:
            runs_not_shown = format_count(others, "more run")
            screen.show_text(f"and {runs_not_shown}; name a method or data set, or add `| less`.")


@shared.verb(
    "zslbench results merge node1/runs node2/runs",
    "zslbench results gc",
    "zslbench results export -o runs.parquet",
    make=click.group,
)
def results() -> None:
    """Merge, clean and export folders of records."""


@shared.verb(
    "zslbench results merge node1/runs node2/runs",
    "zslbench results merge old-runs --into all-runs",
    make=results.command,
)
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="DIR...")
@shared.folder_option("--into", help="The folder to copy the records into.")
def merge(sources: tuple[Path, ...], into: Path) -> None:
    """Copy the records of other folders into one, with their predictions and tuned presets.

    If both folders hold a run, a finished record replaces one that failed; otherwise the record in --into is kept.
    Nothing is removed from DIR. Exit code 1 if a run has different metrics in two folders, or a file could not be read.
    """
    done = zslbench.results.merge(sources, into)
    screen.show_text(done.text)
    if not done.ok:
        sys.exit(shared.FAILED)


@shared.verb("zslbench results gc", "zslbench results gc --failed --stale --yes", make=results.command)
@click.option("--failed", is_flag=True, help="Also records of runs that failed or were interrupted.")
@click.option("--stale", is_flag=True, help="Also records of methods whose source has changed since.")
@click.option("--yes", "delete", is_flag=True, help="Delete them; without --yes they are only listed.")
@shared.RUNS
def gc(stale: bool, **options: Any) -> None:
    """List, or with --yes delete, files that no longer belong to any run.

    These are predictions without a record, unfinished files, and leases of processes that no longer exist. Files
    that were changed within the last hour are kept.
    """
    from zslbench.sources import SourceCheck

    check = SourceCheck()
    leftovers = zslbench.results.gc(
        stale=(lambda record: check.state(record.method["name"], record.provenance) == "changed") if stale else None,
        **options,
    )
    screen.show_text(leftovers.text)


@shared.verb(
    "zslbench results export -o runs.csv",
    "zslbench results export -o runs.parquet --params columns",
    make=results.command,
)
@shared.path_option("-o", "--output", required=True, help="FILE.parquet or FILE.csv.")
@shared.choice_option(
    "--params",
    choices=["json", "columns"],
    default="json",
    help="Write hyper-parameters as one json column, or as one column each (columns).",
)
@shared.RUNS
def export(**options: Any) -> None:
    """Write all records as one table with one row per run, for other tools."""
    done = zslbench.results.export(**options)
    if done.broken:
        screen.show_text("\n".join(done.broken))
    screen.show_written(done.path)


@shared.verb(
    "zslbench watch",
    "zslbench watch --runs /shared/study --follow",
    "zslbench watch --once",
    "zslbench watch --once --format json",
)
@click.option("--interval", type=float, default=1.0, metavar="SECONDS", help="Seconds between two updates.")
@click.option(
    "--once", is_flag=True, help="Print one snapshot as text and end, as always if the output is not a terminal."
)
@click.option("--follow", is_flag=True, help="Keep watching even when nothing is running any more.")
@shared.format_option("terminal", "json", help="How to print a snapshot; json is printed once.")
@shared.RUNS
def watch(runs: Path, interval: float, once: bool, follow: bool, format: Any) -> None:
    """Watch a study while it runs: fits done, failed and running, losses, time left.

    It reads the folder of records, so it does not matter which process or machine runs the study. The view ends when
    nothing is running any more, or with q or Ctrl-C, which do not stop the study.
    """
    console = None if once or format == "json" else screen.live_console()
    with contextlib.suppress(KeyboardInterrupt):
        with screen.waiting_for("qQ") if console else contextlib.nullcontext() as wait:
            shot = zslbench.watch(runs, interval=interval, follow=follow, format=format, console=console, wait=wait)
        screen.show_text(shot.text)
