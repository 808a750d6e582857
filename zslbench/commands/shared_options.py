"""What the verbs of the command line share: exit codes, options, help with examples."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click
from click.core import ParameterSource

from zslbench.commands import completion, screen
from zslbench.errors import BadValue, UnknownName
from zslbench.visible import join_words

if TYPE_CHECKING:
    from zslbench.results.tables.result import VerbResult
    from zslbench.runner.outcome import Outcome

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


RUN_GROUPS: Mapping[str, str] = {
    "What to run": "plan method dataset protocol table only sweep against",
    "How to search": "sampler trials no-prune name",
    "Data": "features semantics data-root",
    "Seeds and stages": "seeds seed stage fold checkpoints calibrate oracle",
    "Where and how": "device engine workers time-limit memory-limit scheduler engine-config rerun no-resume "
    "seeds-at-once precision raise",
    "Output": "",
}
"""Groups of options on the help pages of verbs that run methods; the last one takes every option that none lists."""
READ_GROUPS: Mapping[str, str] = {
    "Which records": "runs method dataset protocol features semantics stage selection data-root",
    "What to compute": "layout metric columns published calibrate per-fold ci rank-together sort over level draws "
    "bootstrap-seed param classes projection spread pivot details tolerance figures",
    "Output": "",
}
"""The same of verbs that read records."""


def verb(
    *lines: str,
    name: str | None = None,
    make: Any = click.command,
    groups: Mapping[str, str] | None = None,
) -> Callable[[Callable[..., Any]], Any]:
    """Return the decorator of a verb.

    Args:
        lines: the examples with which its help page ends.
        name: of the verb; None: the function's.
        make: `click.command`, `click.group`, or the ``command`` of a group that the verb belongs to.
        groups: the groups of options on its help page; None: all options are in one.
    """
    epilog = "\n\n".join(["Examples:", *lines])  # a blank line is how rich-click breaks a line
    settings: dict[str, Any] = {"help_option_names": ["-h", "--help"], "show_default": True}

    def make_verb(function: Callable[..., Any]) -> Any:
        if "\n\n" in (function.__doc__ or ""):  # rich-click sets no space between the first paragraph and the second
            settings["rich_help_config"] = {"padding_helptext_first_line": (0, 0, 1, 0)}
        command = make(name, epilog=epilog, context_settings=settings)(function)
        if groups:
            _group_options(command, groups)
        return command

    return make_verb


def _group_options(command: click.RichCommand, groups: Mapping[str, str]) -> None:
    """Put each option into the group that lists it, else into the last one, in the order of their declaration."""
    group_of = {f"--{option}": group for group, listed in groups.items() for option in listed.split()}
    *_, last = groups
    options: dict[str, list[str]] = {group: [] for group in groups}
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            group = next((group_of[name] for name in parameter.opts if name in group_of), last)
            options[group].append(max(parameter.opts, key=len))
    filled = {group: names for group, names in options.items() if names}
    filled[[*filled][-1]].append("--help")
    for group, names in filled.items():
        command.add_panel(click.RichOptionPanel(group, options=names))


def combine_options(*options: Decorator) -> Decorator:
    """Return one decorator that applies several options, in the order in which help shows them."""
    return lambda function: functools.reduce(lambda inner, option: option(inner), reversed(options), function)


path_option = functools.partial(click.option, type=click.Path(path_type=Path), metavar="FILE")
folder_option = functools.partial(path_option, metavar="DIR", default=Path("runs"))
"""Of records."""
seeds_option = functools.partial(click.option, "--seeds", type=click.IntRange(1), metavar="N")


def names_option(*names: str, help: str, metavar: str = "NAME", **settings: Any) -> Decorator:
    """Return an option that may be given several times; the shell completes names of what is known."""
    settings.setdefault("shell_complete", next(filter(None, map(completion.BY_NAME.get, names)), None))
    return click.option(*names, multiple=True, metavar=metavar, help=f"{help} Repeatable.", **settings)


def choice_option(*names: str, choices: Sequence[str], help: str, **settings: Any) -> Decorator:
    """Return an option that takes one of several words; its help lists those that it does not explain."""
    settings.setdefault("metavar", max((name for name in names if name.startswith("--")), key=len)[2:].upper())
    if not all(re.search(rf"\b{choice}\b", help) for choice in choices):
        text, default, its_value = help.partition("  [default")
        help = f"{text} One of: {', '.join(choices)}.{default}{its_value}"  # noqa: A001
    return click.option(*names, type=click.Choice(choices), help=help, **settings)


def format_option(*names: str, help: str = "The format of the output.") -> Decorator:
    """Return the option that chooses among formats; the first is the default."""

    def take_suffix(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
        """Return the format that the name of --output ends in, where no --format is typed."""
        from zslbench.results.tables.result import SUFFIXES

        output = ctx.params.get("output")  # options that are typed come before defaults
        if output is None or ctx.get_parameter_source("format") is not ParameterSource.DEFAULT:
            return value
        chosen = SUFFIXES.get(output.suffix.lower(), value)
        if chosen not in names:
            ends = join_words([suffix for suffix, written in SUFFIXES.items() if written in names], "or")
            raise BadValue(f"cannot write {output.name!r} as {chosen}; name a file that ends in {ends}.")
        return chosen

    return choice_option("-f", "--format", choices=names, default=names[0], help=help, callback=take_suffix)


def check_kind_of_figure(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    """Return the kind of figure; a wrong one is refused before options that are missing."""
    from zslbench.results.plots import KINDS

    if value not in KINDS and not ctx.resilient_parsing:
        raise UnknownName("kind of figure", value, KINDS)
    return value


CAPTION = choice_option(
    "--caption",
    choices=["short", "full", "none"],
    default="short",
    help="The caption of a table or figure. short: data, selection, seeds and marks. full: also metrics and rules. "
    "none: no caption; warnings go to standard error.",
)
DECIMALS = click.option(
    "--decimals", type=int, default=1, metavar="N", help="Digits after the point, 0 to 3; csv and json have all."
)
LATEX_CAPTION = combine_options(
    CAPTION,
    click.option(
        "--caption-text",
        metavar="TEXT",
        help="Your own text in place of what the caption says about data, selection and seeds; marks are still "
        "explained. In LaTeX it is written unchanged.",
    ),
    click.option("--label", metavar="NAME", help="LaTeX: the table's label, such as tab:gzsl."),
)
stage_option = functools.partial(choice_option, "--stage", choices=["final", "dev"], default="final")
selection_option = functools.partial(choice_option, "--selection", choices=["fixed", "validated", "oracle"])
rerun_option = functools.partial(choice_option, "--rerun", choices=["none", "failed", "stale", "all"])
protocols_option = functools.partial(
    names_option, "-p", "--protocol", "protocols", metavar="SPEC", default=("zsl", "gzsl"), show_default=False
)


def run_on(required: bool = True) -> Decorator:
    """Return the options that say on what methods are run."""
    data = "A data set: a name, or the path of an xlsa17-like folder of your own."
    return combine_options(
        names_option("-d", "--dataset", "datasets", metavar="SPEC", required=required, help=data),
        protocols_option(help="A protocol; both zsl and gzsl when none is given."),
    )


RUNS = folder_option("--runs", help="The folder of records.")
DATA_ROOT = path_option(
    "--data-root",
    metavar="DIR",
    help="The folder that contains CUB/, SUN/ and so on; it is read in place.  [default: $ZSLBENCH_DATA, then "
    "installed data]",
)
OUTPUT = path_option(
    "-o",
    "--output",
    help="Write to FILE instead of the screen; without --format, its ending .md, .tex, .csv or .json is the format.",
)


def _take_one(ctx: click.Context, option: click.Parameter, values: tuple[str, ...]) -> str | None:
    """Return the value of an option that may be given once; of two, click would take the last without a word."""
    if len(values) > 1:
        raise BadValue(
            f"{option.opts[0]} was given {len(values)} times ({', '.join(values)}), but one is allowed; type a command "
            "for each, or list them as studies in a plan."
        )
    return values[0] if values else None


_STEMS = {
    "--features": "Which features: a file stem such as res101 or vgg19.",
    "--semantics": "Which semantics: a file stem such as att or sent, or several side by side: att+sent.",
}
CHOICES = combine_options(
    *(click.option(name, metavar="STEM", multiple=True, callback=_take_one, help=_STEMS[name]) for name in _STEMS)
)
SEVERAL_CHOICES = combine_options(*(names_option(name, metavar="STEM", help=_STEMS[name]) for name in _STEMS))
METHOD_FILTER = names_option("-m", "--method", "methods", help="Only these methods.")
DATASETS = names_option("-d", "--dataset", "datasets", help="Only these data sets.")
PROTOCOLS = names_option("-p", "--protocol", "protocols", help="Only these protocols.")
RECORDS = combine_options(METHOD_FILTER, DATASETS, PROTOCOLS)
STAGE = stage_option(help="Only records of this stage: final (test images) or dev (validation classes).")
FOLD = click.option(
    "--fold",
    type=int,
    multiple=True,
    metavar="K",
    help="Only this fold of the dev stage. Repeatable.  [default: all folds]",
)
TOLERANCE = click.option(
    "--tolerance",
    type=float,
    default=2.0,
    metavar="POINTS",
    help="Differences from the published number up to this many points count as reproduced.",
)
QUIET = click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
DEVICE = click.option(
    "--device", default="auto", metavar="DEVICE", help="Where to compute: auto, cpu, cuda, cuda:N or mps."
)
PRECISION = choice_option(
    "--precision",
    choices=["float32", "tf32", "bf16", "auto"],
    default="float32",
    help="Precision of matrix products while a generative method trains: float32, tf32 (needs CUDA), bf16, or auto: "
    "bf16 where the processor or GPU has it, else float32. What was used is recorded.",
)
_PLACE = combine_options(
    choice_option(
        "--engine",
        "engine_name",
        choices=["serial", "process", "dask", "slurm"],
        help="Where runs are computed. serial: in this process; process: in worker processes of this machine; dask: on "
        "a Dask cluster; slurm: as Slurm jobs.  [default: serial; process with --workers]",
    ),
    click.option(
        "--workers",
        metavar="N|auto",
        help="How many workers compute at once; each gets its share of the threads, or a GPU of its own.",
    ),
)
_LIMITS = combine_options(
    click.option(
        "--time-limit",
        metavar="TIME",
        help="Stop a run that takes longer: 90s, 30m, 2h. It is recorded as a timeout. Needs worker processes.",
    ),
    click.option(
        "--memory-limit",
        metavar="SIZE",
        help="Stop a run whose worker needs more memory: 500MB, 4GiB. It is recorded as crashed. Needs worker "
        "processes.",
    ),
)
_CLUSTER = combine_options(
    click.option("--scheduler", metavar="URL", help="The address of a running Dask cluster: tcp://host:8786."),
    path_option("--engine-config", help="A TOML file with options for Slurm: partition, time, gpus, …"),
)
ENGINE = combine_options(_PLACE, _LIMITS, _CLUSTER)
ENGINE_WITHOUT_LIMITS = combine_options(_PLACE, _CLUSTER)


def study_options(dry_run: str) -> Decorator:
    """Return the options with which studies that run methods end; `dry_run` says what is done where nothing is run."""
    return combine_options(
        *(CHOICES, DEVICE, ENGINE, PRECISION, click.option("--dry-run", is_flag=True, help=dry_run)),
        *(QUIET, OUTPUT, RUNS, DATA_ROOT),
    )


def take_machine(options: dict[str, Any]) -> dict[str, Any]:
    """Take ``--quiet`` and the options of `ENGINE` out of all options; return the console and engine that they mean.

    Raises:
        ZslbenchError: options that do not go together.
    """
    from zslbench.runner.executors import engine

    console = None if options.pop("quiet") else screen.progress_console()
    words = {name: options.pop(name, None) for name in ("workers", "scheduler")}
    limits = {} if "memory_limit" not in options else {n: options.pop(n) for n in ("time_limit", "memory_limit")}
    name, config = options.pop("engine_name"), options.pop("engine_config")
    return {"console": console, "engine": engine(name, device=options["device"], config=config, **words, **limits)}


def show_result(result: VerbResult, output: Path | None) -> None:
    """Print a result, or write it to a file."""
    if output is None:
        screen.show_text(result.text)
    else:
        result.write_file(output, result.text)
        screen.show_written(output)


def exit_after(outcome: Outcome) -> None:
    """End with the exit code of a study that was cut short, or in which runs failed."""
    if outcome.interrupted:
        sys.exit(INTERRUPTED)
    if outcome.failed:
        sys.exit(FAILED)
