"""The pages of the site that are made when it is built, by file name."""

from __future__ import annotations

import click

from zslbench.pages.cited import published_page
from zslbench.pages.command_line import command_line_page
from zslbench.pages.declared import dataset_page, preset_page, protocol_page
from zslbench.pages.interfaces import methods_page, record_page, verbs_page


def reference(program: click.Group) -> dict[str, str]:
    """Return the reference: a page each for the command line, registries, published numbers, records and Python."""
    return {
        "reference/command-line.md": command_line_page(program),
        "reference/datasets.md": dataset_page(),
        "reference/protocols.md": protocol_page(),
        "reference/presets.md": preset_page(),
        "reference/published.md": published_page(),
        "reference/records.md": record_page(),
        "reference/python.md": verbs_page(program.commands),
        "reference/python-methods.md": methods_page(),
    }
