"""Published numbers: every cited table, with the remarks on its cells below it, and where sources differ."""

from __future__ import annotations

from collections.abc import Sequence

from zslbench import citations
from zslbench.pages.markdown import literal, table
from zslbench.registry import DATASETS, METHODS
from zslbench.results.published import PROTOCOL, Published, load, sources

_RERUN = "independent re-run"


def published() -> str:
    """Return a section for each source of published numbers, and in it a table for each of the source's."""
    parts = []
    for source in sources():
        parts += [f"## {source}", f"```bibtex\n{citations.bibtex(source)}\n```"]
        own = [one for one in load() if one.source == source]
        for name in dict.fromkeys(one.table for one in own):
            parts += _table(name, [one for one in own if one.table == name])
    return "\n\n".join(parts)


def differing() -> str:
    """Return a table of the cells of which several sources print different numbers; re-runs are left out."""
    cells: dict[tuple[str, str, str], dict[str, list[Published]]] = {}
    for one in load():
        if one.table != _RERUN:
            cell = cells.setdefault((one.method, one.dataset, PROTOCOL[one.metric]), {})
            cell.setdefault(one.source, []).append(one)
    quoting = [key for key in sources() if any(one.source == key and one.table != _RERUN for one in load())]
    rows = []
    for (method, dataset, _), by_source in cells.items():
        texts = {source: _cell(cited, {}) for source, cited in by_source.items()}
        if len(set(texts.values())) > 1:
            rows.append((_method(method), _title(dataset), *(texts.get(source, "") for source in quoting)))
    return table(("method", "data set", *quoting), rows)


def _table(name: str, cited: Sequence[Published]) -> list[str]:
    letters = {note: chr(ord("a") + place) for place, note in enumerate(dict.fromkeys(o.note for o in cited if o.note))}
    parts = [f"### {name}"]
    for protocol in ("zsl", "gzsl"):
        cells: dict[tuple[str, str], list[Published]] = {}
        for one in cited:
            if PROTOCOL[one.metric] == protocol:
                cells.setdefault((one.method, one.dataset), []).append(one)
        data = list(dict.fromkeys(dataset for _, dataset in cells))
        rows = [
            (_method(method), *(_cell(cells.get((method, dataset), ()), letters) for dataset in data))
            for method in dict.fromkeys(method for method, _ in cells)
        ]
        if rows:
            parts.append(table(("T1" if protocol == "zsl" else "U / S / H", *map(_title, data)), rows))
    parts.append("\n".join(f"* ({letter}) {literal(note)}." for note, letter in letters.items()))
    return [part for part in parts if part]


def _cell(cited: Sequence[Published], letters: dict[str, str]) -> str:
    marks = ", ".join(sorted({letters[one.note] for one in cited if one.note in letters}))
    text = " / ".join(f"{one.value:.1f}" for one in cited) + (f" ({marks})" if marks else "")
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def _method(text: str) -> str:
    name, _, ablation = text.partition(":")
    title: str = METHODS.load(name).card.title  # type: ignore[attr-defined]
    return f"[{title}{'@' if ablation else ''}{ablation}](../methods/{name}.md)"


def _title(dataset: str) -> str:
    return str(DATASETS.load(dataset).card.title)  # type: ignore[attr-defined]
