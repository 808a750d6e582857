"""What MkDocs asks while it builds the site: what pages leave to be made, and the menu of the methods."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig

from zslbench.cli import cli
from zslbench.inspection import info
from zslbench.registry import METHODS

sys.path.insert(0, str(Path(__file__).parent))  # MkDocs loads this file by its path alone

from builders.reference_pages import fill_marks


def on_config(config: MkDocsConfig) -> None:
    """List every method below the heading whose only entry is the methods' index."""
    for entries in _lists(config.nav):
        if entries == ["methods/README.md"]:
            entries += [{info(name).title: f"methods/{name}.md"} for name in METHODS.builtin_names()]


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in what a page leaves to be made."""
    return fill_marks(markdown, cli)


def _lists(entry: Any) -> list[list[Any]]:
    if isinstance(entry, list):
        return [entry, *(found for one in entry for found in _lists(one))]
    return [found for one in entry.values() for found in _lists(one)] if isinstance(entry, dict) else []
