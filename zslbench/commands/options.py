"""What the verbs have in common: exit codes, options that several of them take, and the form of their examples."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rich_click as click

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def examples(*lines: str) -> str:
    """Return the epilog that ends each help page."""
    return "\n\n".join(["Examples:", *lines])  # a blank line is how rich-click breaks a line


def together(*options: Decorator) -> Decorator:
    """Return one decorator that applies several options, in the order in which help shows them."""
    return lambda function: functools.reduce(lambda inner, option: option(inner), reversed(options), function)


RUNS = click.option(
    "--runs",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    metavar="DIR",
    help="The folder of records.",
)
DATA_ROOT = click.option(
    "--data-root",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A folder of xlsa17 folders, read in place (default: $ZSLBENCH_DATA, then installed data).",
)
OUTPUT = click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write to FILE instead of the screen."
)
CHOICES = together(
    click.option("--features", metavar="STEM", help="Which features: a file stem such as res101 or vgg19."),
    click.option("--semantics", metavar="STEM", help="Which semantics: a file stem such as att or sent."),
)
METHODS = click.option(
    "-m", "--method", "methods", multiple=True, metavar="NAME", help="Only these methods. Repeatable."
)
DATASETS = click.option(
    "-d", "--dataset", "datasets", multiple=True, metavar="NAME", help="Only these data sets. Repeatable."
)
PROTOCOLS = click.option(
    "-p", "--protocol", "protocols", multiple=True, metavar="NAME", help="Only these protocols. Repeatable."
)
RUN_ON = together(
    click.option(
        "-d",
        "--dataset",
        "datasets",
        multiple=True,
        required=True,
        metavar="SPEC",
        help="A data set: a name, or the path of an xlsa17-like folder of your own. Repeatable.",
    ),
    click.option(
        "-p",
        "--protocol",
        "protocols",
        multiple=True,
        metavar="SPEC",
        help="A protocol; both zsl and gzsl when none is given. Repeatable.",
    ),
)
STAGE = click.option(
    "--stage", type=click.Choice(["final", "dev"]), default="final", show_default=True, help="Which stage."
)
DEVICE = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
QUIET = click.option("-q", "--quiet", is_flag=True, help="Show no progress.")


def format_option(*names: str, text: str = "How to write it.") -> Decorator:
    """Return the option that chooses among formats; the first is the default."""
    return click.option("-f", "--format", type=click.Choice(names), default=names[0], show_default=True, help=text)
