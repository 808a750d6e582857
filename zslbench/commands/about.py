"""`zslbench list`, `info` and `doctor`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import rich_click as click

import zslbench
from zslbench import screen
from zslbench.commands.options import DATA_ROOT, FAILED, RUNS, examples


@click.command("list", epilog=examples("zslbench list methods", "zslbench list presets"))
@click.argument("kind", type=click.Choice(["methods", "datasets", "protocols", "presets"]), default="methods")
@RUNS
def list_command(kind: Any, runs: Path) -> None:
    """List methods, datasets, protocols or presets (those that were tuned into --runs, too)."""
    screen.show_list(kind, zslbench.list(kind, runs))


@click.command(epilog=examples("zslbench info lisgan", "zslbench info cub", "zslbench info my_pkg.my_module:MyMethod"))
@click.argument("name")
def info(name: str) -> None:
    """Show all that is declared of one method, dataset or protocol."""
    screen.show_info(zslbench.info(name))


@click.command(epilog=examples("zslbench doctor", "zslbench doctor --data-root ./xlsa17"))
@RUNS
@DATA_ROOT
def doctor(**options: Any) -> None:
    """Check this installation: versions, devices, folders, data, plugins."""
    findings = zslbench.doctor(**options)
    screen.show_findings(findings)
    if not all(finding.ok for finding in findings):
        sys.exit(FAILED)
