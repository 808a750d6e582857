"""`zslbench data`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import rich_click as click

import zslbench
from zslbench import screen
from zslbench.commands.options import DATA_ROOT, FAILED, examples


@click.group(epilog=examples("zslbench data list", "zslbench data import ./xlsa17.zip"))
def data() -> None:
    """See, fetch, import and verify data sets."""


@data.command("list", epilog=examples("zslbench data list", "zslbench data list --data-root ./xlsa17"))
@DATA_ROOT
def data_list(data_root: Path | None) -> None:
    """List the data sets and what of them is on this machine."""
    screen.show_data(zslbench.data.list_(data_root))


@data.command(epilog=examples("zslbench data fetch cub", "zslbench data fetch all"))
@click.argument("name")
@click.option("--sha256", metavar="HEX", help="Refuse an archive whose sha256 is another.")
@click.option("--url", metavar="URL", help="Another address of the same archive.")
@click.option("--force", is_flag=True, help="Download even what is installed.")
def fetch(name: str, **options: Any) -> None:
    """Download a data set from its authors' archive and install it."""
    screen.show_installed(zslbench.data.fetch(name, **options))


@data.command("import", epilog=examples("zslbench data import ./xlsa17.zip", "zslbench data import ./xlsa17/CUB"))
@click.argument("source", type=click.Path(path_type=Path))
def import_command(source: Path) -> None:
    """Install data sets from a zip archive or a folder."""
    screen.show_installed(zslbench.data.import_(source))


@data.command(epilog=examples("zslbench data verify", "zslbench data verify cub --data-root ./xlsa17"))
@click.argument("name", required=False)
@DATA_ROOT
def verify(name: str | None, data_root: Path | None) -> None:
    """Read data sets whole and check counts, splits and stored copies."""
    rows = zslbench.data.verify(name, data_root)
    screen.show_verified(rows)
    if not all(row.ok for row in rows):
        sys.exit(FAILED)
