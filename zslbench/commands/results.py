"""`zslbench results`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import rich_click as click

import zslbench
from zslbench import screen
from zslbench.commands.options import FAILED, RUNS, examples


@click.group(
    epilog=examples(
        "zslbench results merge node1/runs node2/runs", "zslbench results gc", "zslbench results export -o runs.parquet"
    )
)
def results() -> None:
    """Merge, clean and export folders of records."""


@results.command(
    epilog=examples("zslbench results merge node1/runs node2/runs", "zslbench results merge old-runs --into all-runs")
)
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="DIR...")
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    metavar="DIR",
    help="The folder that they are copied into.",
)
def merge(sources: tuple[Path, ...], into: Path) -> None:
    """Copy the records of other folders into one, with their predictions and tuned presets.

    Of a run that both have, one that is ok counts more than one that failed, and else ours is kept. Nothing is removed
    from DIR. Exit code 1 where both have a run with other metrics, or a file could not be read.
    """
    done = zslbench.results.merge(sources, into)
    screen.show_text(done.text)
    if not done.ok:
        sys.exit(FAILED)


@results.command(epilog=examples("zslbench results gc", "zslbench results gc --failed --stale --yes"))
@click.option("--failed", is_flag=True, help="Records of runs that failed or were cut short, too.")
@click.option("--stale", is_flag=True, help="Records of methods whose source has changed since, too.")
@click.option("--yes", "delete", is_flag=True, help="Delete them; without, they are only listed.")
@RUNS
def gc(stale: bool, **options: Any) -> None:
    """List, and with --yes delete, what belongs to no run any more.

    Predictions without a record, files that were not finished, leases of coordinators that are gone. What was changed
    within the last hour is left alone.
    """
    from zslbench.sources import SourceCheck

    check = SourceCheck()
    found = zslbench.results.gc(
        stale=(lambda record: check.state(record.method["name"], record.provenance) == "changed") if stale else None,
        **options,
    )
    screen.show_text(found.text)


@results.command(
    epilog=examples("zslbench results export -o runs.csv", "zslbench results export -o runs.parquet --params columns")
)
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="FILE", help="FILE.parquet or FILE.csv."
)
@click.option(
    "--params",
    type=click.Choice(["json", "columns"]),
    default="json",
    show_default=True,
    help="Hyper-parameters as one column of JSON, or a column each.",
)
@RUNS
def export(**options: Any) -> None:
    """Write all records as one table, a row per run, for other tools."""
    done = zslbench.results.export(**options)
    if done.broken:
        screen.show_text("\n".join(done.broken))
    screen.show_written(done.path)
