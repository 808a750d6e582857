"""The command line: every verb with its arguments, options and examples, as click declares them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from zslbench.pages.markdown import literal, table


def verbs(program: click.Group, name: str = "zslbench") -> str:
    """Return a table of a program's verbs and a section for each, those of a group after it."""
    parts = [_summary(program)]
    for path, command in _commands(program, name):
        parts += _command(path, command)
    return "\n\n".join(parts)


def _commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from _commands(command, f"{path} {name}")


def _summary(program: click.Group) -> str:
    rows = [
        (f"[`{name}`](#{_anchor(name)})", literal(command.get_short_help_str(limit=200)))
        for name, command in sorted(program.commands.items())
    ]
    return table(("verb", "what it does"), rows)


def _anchor(path: str) -> str:
    return path.removeprefix("zslbench ").replace(" ", "-")


def _command(path: str, command: click.Command) -> list[str]:
    context = click.Context(command, info_name=path)
    anchor = _anchor(path)
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    parts = [
        f"## {anchor.replace('-', ' ', 1)} {{ #{anchor} }}",
        f"```text\n{usage}\n```",
        literal(inspect.cleandoc(command.help or "")),
    ]
    if not isinstance(command, click.Group):
        options = [one for one in command.params if isinstance(one, click.Option) and not one.hidden]
        parts.append(table(("option", "meaning"), [_option(one, context) for one in options]))
    examples = [line for line in (command.epilog or "").splitlines() if line.startswith("zslbench ")]
    if examples:
        parts.append("\n".join(["```sh", *examples, "```"]))
    return [part for part in parts if part]


def _option(option: click.Option, context: click.Context) -> tuple[str, str]:
    names = ", ".join(f"`{name}`" for name in sorted(option.opts, key=len))
    takes = "" if option.is_flag or option.count else option.make_metavar(context)
    _, text = option.get_help_record(context) or ("", "")
    return f"{names} {literal(takes).replace('|', '|<wbr>')}".strip(), literal(text)
