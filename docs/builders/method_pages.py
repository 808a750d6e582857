"""Pages of the methods, from their cards: `make docs` writes the files of ``docs/methods``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from builders.markdown import MADE, table
from zslbench.inspection import Info, info
from zslbench.methods.base import Method, Preset
from zslbench.methods.minimal import as_method
from zslbench.params import format_value
from zslbench.registry import METHODS
from zslbench.results import bibliography

_METRICS = ("T1", "U", "S", "H")


def method_page(name: str) -> str:
    """Return the page of one method: formula, parameters, presets, published numbers, differences.

    Raises:
        UnknownName, Unavailable: see `inspection.info`.
    """
    found, cls = info(name), as_method(METHODS.load(name))
    dataset = "./my-clip-vectors" if cls.shared_space else "digits"
    parts = [
        MADE,
        f"# {found.title}",
        f"`{found.name}`: {found.summary}.",
        _facts(found),
        f"```text\n{found.facts['formula']}\n```" if found.facts.get("formula") else "",
        found.model,
        f"```sh\nzslbench run -m {found.name} -d {dataset}\n```",
        "## Parameters",
        table(("parameter", "default", "takes", "meaning"), [(f"`{row[0]}`", *row[1:]) for row in found.params]),
        *_space(found, dataset),
        *_presets(cls, found.name),
        *_published(found),
        *_differences(found),
        *_bibtex(found),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def index_page() -> str:
    """Return the page that lists the methods."""
    rows = []
    for name in METHODS.builtin_names():
        found = info(name)
        setting = found.facts["setting"].partition(" ")[0]
        rows.append((f"[{found.title}]({name}.md)", f"`{name}`", found.summary, setting, found.facts["reference"]))
    listed = table(("method", "name", "what it is", "setting", "reference"), rows)
    return f"{MADE}\n\n# Methods\n\n{listed}\n"


def method_pages() -> dict[str, str]:
    """Return every page by file name."""
    return {"README.md": index_page()} | {f"{name}.md": method_page(name) for name in METHODS.builtin_names()}


def write_pages(folder: Path) -> list[Path]:
    """Write every page into a folder, remove pages of methods that are gone, and return what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {folder / name: text for name, text in method_pages().items()}
    for old in folder.glob("*.md"):
        if old not in made:
            old.unlink()
    for path, text in made.items():
        path.write_text(text, encoding="utf-8")
    return list(made)


def _facts(found: Info) -> str:
    rows = [(name, found.facts[name]) for name in ("reference", "setting", "depends on the seed", "version")]
    return "\n".join(f"* **{name}**: {text}" for name, text in rows)


def _space(found: Info, dataset: str) -> Sequence[str]:
    if not found.space:
        return []
    rows = [(f"`{name}`", words) for name, words in found.space.items()]
    return [
        "## Tuning",
        f"`zslbench tune {found.name} -d {dataset}` searches, unless it is told otherwise:",
        table(("parameter", "values"), rows),
    ]


def _presets(cls: type[Method], name: str) -> Sequence[str]:
    parts = ["## Presets"]
    for tag, preset in cls.presets.items():
        parts.append(f"`{name}@{tag}`: {preset.source}.")
        varying = {key for cell in preset.cells.values() for key, value in cell.items() if not _shared(preset, key)}
        same = dict(preset.values) | {key: value for cell in preset.cells.values() for key, value in cell.items()}
        fixed = ", ".join(f"`{key}={format_value(value)}`" for key, value in same.items() if key not in varying)
        parts.append(f"Everywhere: {fixed}." if fixed else "")
        keys = [key for key in same if key in varying]
        rows = [
            ("/".join(cell), *(format_value(values[key]) if key in values else "" for key in keys))
            for cell, values in preset.cells.items()
        ]
        parts.append(table(("data set/protocol", *keys), rows) if rows else "")
    if not cls.presets:
        parts.append("None: no source is known that gives a value for each data set.")
    if cls.ablations:
        parts.append("## Ablations")
        rows = [(f"`{name}@{tag}`", one.help, _values(one.values)) for tag, one in cls.ablations.items()]
        parts.append(table(("text", "meaning", "values"), rows))
    return parts


def _shared(preset: Preset, key: str) -> bool:
    """Tell whether every cell of a preset has the same value of a parameter."""
    return len({cell.get(key) for cell in preset.cells.values()}) == 1


def _values(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={format_value(value)}" for name, value in values.items()) or "the defaults"


def _published(found: Info) -> Sequence[str]:
    if not found.published:
        return ["## Published numbers", "None on record for the proposed splits."]
    cells: dict[tuple[str, str, str, str], dict[str, str]] = {}
    notes: dict[tuple[str, str, str], list[str]] = {}
    for source, dataset, what, metric, value, note in found.published:
        cells.setdefault((source, dataset, what, note), {})[metric] = value if "." in value else f"{value}.0"
        if note:
            notes.setdefault((source, dataset, note), []).append(metric)
    rows = [(*key[:3], *(values.get(metric, "") for metric in _METRICS)) for key, values in cells.items()]
    told = [
        f"* {source}, {dataset}, {', '.join(metrics)}: {note}." for (source, dataset, note), metrics in notes.items()
    ]
    listed = table(("published in", "data set", "features, semantics", *_METRICS), rows)
    return ["## Published numbers", "Per-class top-1 accuracy in percent, as printed.", listed, "\n".join(told)]


def _differences(found: Info) -> Sequence[str]:
    if not found.differences:
        return []
    return ["## How this implementation differs", "\n".join(f"* {text}" for text in found.differences)]


def _bibtex(found: Info) -> Sequence[str]:
    entry = bibliography.bibtex(found.facts["citation"])
    return ["## Citation", f"```bibtex\n{entry}\n```"] if entry else []


if __name__ == "__main__":
    for path in write_pages(Path(sys.argv[1])):
        print(path)
