"""What the pages of the site leave to be made: ``<!-- made: NAME -->`` stands where it goes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import click

from zslbench.pages.cited import differing, published
from zslbench.pages.command_line import verbs
from zslbench.pages.declared import ablations, datasets, presets, protocols
from zslbench.pages.functions import functions

_MARK = re.compile(r"^<!-- made: (\w+) -->$", re.MULTILINE)


def completed(page: str, program: click.Group) -> str:
    """Return a page with each mark replaced by what it names.

    Args:
        page: Markdown.
        program: the command line.

    Raises:
        KeyError: a mark names what nobody makes.
    """
    makers: Mapping[str, Callable[[], str]] = {
        "ablations": ablations,
        "datasets": datasets,
        "differing": differing,
        "functions": functions,
        "presets": presets,
        "protocols": protocols,
        "published": published,
        "verbs": lambda: verbs(program),
    }
    return _MARK.sub(lambda mark: makers[mark[1]](), page)
