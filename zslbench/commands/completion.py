"""What the shell offers for a word that is typed in part: names of methods, presets, data sets, protocols and kinds.

Click calls these functions in a shell that completes (`zslbench completion`). They read names only and import no torch.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import rich_click as click

from zslbench.errors import BadValue, ZslbenchError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Completer: TypeAlias = "Callable[[click.Context, click.Parameter, str], list[CompletionItem]]"


def _starting(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def complete_methods(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the names of methods, and after an @ the presets of one, those tuned into --runs too."""
    from zslbench.registry import METHODS

    if "@" not in incomplete:
        return _starting(METHODS.names(), incomplete)
    from zslbench.inspection import list_presets
    from zslbench.results.records.tuned_presets import PresetStore

    entry = METHODS.entries.get(incomplete.partition("@")[0])
    presets = [row.name for row in list_presets(entry)] if entry else []
    tuned = [f"{preset.method}@{preset.name}" for preset in PresetStore(ctx.params.get("runs") or Path("runs")).load()]
    return _starting(dict.fromkeys(presets + tuned), incomplete)


def complete_datasets(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the names of data sets, and folders where a path is typed."""
    if any(sign in incomplete for sign in "/\\.~"):
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="dir")]
    from zslbench.data import added
    from zslbench.registry import DATASETS

    names = DATASETS.names()
    with contextlib.suppress(ZslbenchError):
        names += added.names()
    return _starting(names, incomplete)


def _offer(module: str, list_names: Callable[[Any], Iterable[str]]) -> Completer:
    """Return what offers the names that a module knows, which is imported when a shell asks."""
    return lambda ctx, parameter, incomplete: _starting(list_names(importlib.import_module(module)), incomplete)


complete_catalogued = _offer("zslbench.data.catalogue", lambda module: [*(it.name for it in module.CATALOGUE), "all"])
complete_protocols = _offer("zslbench.registry", lambda module: module.PROTOCOLS.names())
complete_figures = _offer("zslbench.results.plots", lambda module: module.KINDS)
complete_sources = _offer("zslbench.results.analysis.published", lambda module: sorted(module.sources()))


def complete_records(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the ids of the records in --runs."""
    runs = Path(ctx.params.get("runs") or "runs")
    return _starting(sorted(path.stem for path in runs.glob("*/*/*/*.json")), incomplete)


def complete_names(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the names of methods, data sets and protocols, and folders where a path is typed."""
    completers = [complete_methods] if "@" in incomplete else [complete_methods, complete_datasets, complete_protocols]
    return [item for complete in completers for item in complete(ctx, parameter, incomplete)]


BY_NAME: Mapping[str, Completer] = {
    "methods": complete_methods,
    "datasets": complete_datasets,
    "protocols": complete_protocols,
}
"""For options that several verbs have, by the name of their value."""


def make_script(program: click.Command, shell: str) -> str:
    """Return the script that makes a shell (bash, zsh or fish) ask this program for completions."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise BadValue(f"shell {shell!r} is not known; choose bash, zsh or fish.")
    script = kind(program, {}, "zslbench", "_ZSLBENCH_COMPLETE").source()
    # bash would take name@preset for three words
    return f"COMP_WORDBREAKS=${{COMP_WORDBREAKS//@/}}\n{script}" if shell == "bash" else script
