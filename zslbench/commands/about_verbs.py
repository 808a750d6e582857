"""`zslbench list`, `info`, `doctor`, `completion`, `new` and `check`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import rich_click as click

import zslbench
from zslbench.commands import completion, screen
from zslbench.commands import shared_options as shared


@shared.verb("zslbench list methods", "zslbench list presets", "zslbench list presets --format json", name="list")
@click.argument(
    "kind", type=click.Choice(["methods", "datasets", "protocols", "presets", "sources"]), default="methods"
)
@shared.format_option("terminal", "json", help="The format of the output; json has every text in full.")
@shared.RUNS
def list_command(kind: Any, format: str, runs: Path) -> None:
    """List methods, datasets, protocols, presets (also those that `tune` kept in --runs) or published sources."""
    listing = zslbench.list(kind, runs)
    if format == "json":
        screen.show_text(listing.write_json())
    else:
        screen.show_table(listing.heads_of_columns, listing.rows, one_line=True)


@shared.verb(
    "zslbench info lisgan",
    "zslbench info cub",
    "zslbench info ./my-xlsa17-folder",
    "zslbench info my_pkg.my_module:MyMethod",
)
@click.argument("name", shell_complete=completion.complete_names)
@shared.format_option("terminal", "json", help="The format of the output.")
def info(name: str, format: str) -> None:
    """Show everything that one method, dataset or protocol declares, or that a data folder holds."""
    described = zslbench.info(name)
    if format == "json":
        screen.show_text(described.write_json())
        return
    console = screen.wide_console()
    console.print(described.headline, style="bold", markup=False)
    console.print(described.summary, markup=False)
    for heads, rows in described.sections():
        screen.show_text("")
        screen.show_table(heads, rows)
    if described.differences:
        console.print("\nhow this implementation differs", style="bold")
        for text in described.list_differences(console.width):
            screen.show_text(text)
    if described.bibtex:
        screen.show_text(f"\n{described.bibtex}")


@shared.verb("zslbench doctor", "zslbench doctor --data-root ./xlsa17")
@shared.RUNS
@shared.DATA_ROOT
def doctor(**options: Any) -> None:
    """Check this installation: packages and extras, tools, machine, folders, data, plugins, and what each is for."""
    from zslbench.installation import TEXT_WIDTH

    diagnosis = zslbench.doctor(**options)
    for group, rows in diagnosis.groups:
        screen.show_text(group)
        screen.show_table(None, rows, width=TEXT_WIDTH)
    for note in diagnosis.notes_below():
        screen.show_text(note)
    if not diagnosis.ok:
        sys.exit(shared.FAILED)


@shared.verb(
    'eval "$(zslbench completion bash)"       # in ~/.bashrc',
    'eval "$(zslbench completion zsh)"        # in ~/.zshrc, below compinit',
    "zslbench completion fish > ~/.config/fish/completions/zslbench.fish",
    name="completion",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion_command(ctx: click.RichContext, /, shell: str) -> None:
    """Print the script that lets a shell complete verbs, options, and names of methods, presets and data sets."""
    screen.show_text(completion.make_script(ctx.find_root().command, shell))


@shared.verb(
    "zslbench new method my-method", "zslbench new method MyGAN --template torch -o ./my-gan", make=click.group
)
def new() -> None:
    """Create something of your own from a template."""


@shared.verb("zslbench new method my-method", "zslbench new method MyGAN --template torch", make=new.command)
@click.argument("name")
@shared.choice_option(
    "--template",
    choices=["closed-form", "torch"],
    default="closed-form",
    help="closed-form: a class in NumPy. torch: a network that is trained with torch.",
)
@shared.path_option("-o", "--output", metavar="DIR", help="The folder to create.  [default: NAME]")
def method(name: str, **options: Any) -> None:
    """Write a package with a new method: class, entry point, and a test that checks the contract.

    The package works as it is; replace fit and scores in it with your own.
    """
    made = zslbench.new_method(name, **options)
    for path in made.files:
        screen.show_text(f"wrote {path}")
    folder = shlex.quote(str(made.folder))
    screen.show_text(f"Next: cd {folder} && zslbench check {shlex.quote(made.target)}")
    screen.show_text(
        f"Then put your method into {made.module}/method.py; README.md says how to run, tune and install it."
    )


@shared.verb(
    "zslbench check my_pkg.my_module:MyMethod",
    "zslbench check 'eszsl[gamma=10]'",
    "zslbench check ./my-xlsa17-folder",
    "zslbench check cub --features fc1000 --data-root ./xlsa17",
)
@click.argument("name", shell_complete=completion.complete_names)
@shared.CHOICES
@shared.DATA_ROOT
def check(name: str, **options: Any) -> None:
    """Check that a method, data set or protocol keeps the contract that every built-in one keeps.

    NAME is a name, with or without parameters, a class of your own as pkg.module:Class, or the folder of a data set.
    Exit code 1 if a check fails.
    """
    checked = zslbench.check(name, **options)
    for passed in checked.passed:
        screen.show_text(f"ok  {passed}")
    if not checked.ok:
        screen.show_error(checked.failure)
        sys.exit(shared.FAILED)
    screen.show_text(f"{checked.kind} {checked.name} keeps the contract: {len(checked.passed)} checks passed.")
