"""Tables of what the registries hold: data sets, protocols and presets."""

from __future__ import annotations

from zslbench import citations
from zslbench.inspection import Info, Listed, info, list_
from zslbench.pages.markdown import literal, table
from zslbench.registry import DATASETS, METHODS, PROTOCOLS, Registry

_COUNTS = {
    "attributes": "attributes",
    "seen": "seen",
    "unseen": "unseen",
    "images": "images",
    "trainval": "trainval",
    "test seen": "test, seen",
    "test unseen": "test, unseen",
}


def datasets() -> str:
    """Return a table of the data sets' counts, and a section for each."""
    known = [info(name) for name in _builtin(DATASETS)]
    heads = ("data set", "name", *_COUNTS.values(), "features, semantics")
    rows = [
        (f"[{one.title}](#{one.name})", f"`{one.name}`", *(one.facts[key] for key in _COUNTS), _stems(one))
        for one in known
        if "images" in one.facts
    ]
    parts = [table(heads, rows)]
    for one in known:
        entry = citations.bibtex(one.facts.get("citation", ""))
        parts += [_head(one), f"`{one.name}`. {literal(one.summary)}", *_parameters(one)]
        parts += [f"```bibtex\n{entry}\n```"] if entry else []
    return "\n\n".join(parts)


def protocols() -> str:
    """Return a section for each protocol."""
    parts = []
    for one in map(info, _builtin(PROTOCOLS)):
        parts += [
            _head(one),
            f"`{one.name}`, version {one.facts['version']}. {literal(one.summary)}.",
            *_parameters(one),
        ]
    return "\n\n".join(parts)


def presets() -> str:
    """Return a table of the presets that come with methods: their source, and the data that they are for."""
    return table(("preset", "source", "for"), [(*_preset(one), one.reference) for one in _presets(of_ablations=False)])


def ablations() -> str:
    """Return a table of the ablations that come with methods."""
    return table(("text", "meaning"), [_preset(one) for one in _presets(of_ablations=True)])


def _presets(of_ablations: bool) -> list[Listed]:
    builtin = _builtin(METHODS)
    found = [one for one in list_("presets", runs="") if one.name.partition("@")[0] in builtin]
    return [one for one in found if (one.reference == "ablation") == of_ablations]


def _preset(one: Listed) -> tuple[str, str]:
    return f"[`{one.name}`](../methods/{one.name.partition('@')[0]}.md)", literal(one.summary)


def _head(one: Info) -> str:
    return f"## {one.title} {{ #{one.name} }}"


def _builtin(registry: Registry) -> list[str]:
    return [entry.name for entry in registry if entry.origin == "zslbench"]


def _stems(one: Info) -> str:
    return f"`{one.facts['features']}`, `{one.facts['semantics']}`"


def _parameters(one: Info) -> list[str]:
    if not one.params:
        return []
    rows = [(f"`{name}`", literal(default), literal(takes), literal(text)) for name, default, takes, text in one.params]
    return [table(("parameter", "default", "takes", "meaning"), rows)]
