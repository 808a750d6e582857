"""Pages of what the registries hold: data sets, protocols and presets."""

from __future__ import annotations

from zslbench import citations
from zslbench.inspection import Info, info, list_
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


def dataset_page() -> str:
    """Return the page of the data sets: counts of the catalogue, what is built in, and where each comes from."""
    known = [info(name) for name in _builtin(DATASETS)]
    counted = [one for one in known if "images" in one.facts]
    heads = ("data set", "name", *_COUNTS.values(), "features, semantics")
    rows = [
        (f"[{one.title}](#{one.name})", f"`{one.name}`", *(one.facts[key] for key in _COUNTS), _stems(one))
        for one in counted
    ]
    parts = [
        "# Data sets",
        "Classes (seen, unseen) and images (all, trainval, test); those of the catalogued sets as the split's authors "
        "give them. They are compared with the files on every load, and a file that differs is refused. `zslbench data list` says which are on this "
        "machine; [own data](../how-to/own-data.md) needs no name, only a folder.",
        table(heads, rows),
    ]
    for one in known:
        parts += [f"## {one.title} {{ #{one.name} }}", f"`{one.name}`. {literal(one.summary)}"]
        if one.params:
            parts.append(_parameters(one))
        if entry := citations.bibtex(one.facts.get("citation", "")):
            parts.append(f"```bibtex\n{entry}\n```")
    return "\n\n".join(parts) + "\n"


def protocol_page() -> str:
    """Return the page of the protocols and of the metrics that they give."""
    parts = [
        "# Protocols and metrics",
        "A protocol puts a query to a method and judges its scores; [protocols and splits]"
        "(../explanation/protocols.md) says why they are as they are.",
    ]
    for one in map(info, _builtin(PROTOCOLS)):
        parts += [f"## {one.title} {{ #{one.name} }}", f"`{one.name}`, version {one.facts['version']}."]
        parts.append(f"{literal(one.summary)}. Metrics: {one.facts['metrics']}.")
        if one.params:
            parts.append(_parameters(one))
    parts += [
        "## Metrics",
        "Records hold fractions from 0 to 1; tables and figures show percent.",
        table(
            ("metric", "protocol", "test images", "candidates", "what it is"),
            [
                ("T1", "zsl", "of unseen classes", "unseen classes", "mean over classes of top-1 accuracy"),
                ("U", "gzsl", "of unseen classes", "all classes", "mean over classes of top-1 accuracy"),
                ("S", "gzsl", "of seen classes", "all classes", "mean over classes of top-1 accuracy"),
                ("H", "gzsl", "all", "all classes", "2US/(U+S), and 0 where both are 0"),
                (
                    "AUSUC",
                    "gzsl",
                    "all",
                    "all classes",
                    "area under the curve of S over U as a constant is taken off the scores of seen classes",
                ),
            ],
        ),
        "`AUSUC` is in every record, and in tables that ask for it: `--metric AUSUC`, or the formats csv and json. "
        "`U cs`, `S cs` and `H cs` are U, S and H after calibrated stacking (`table --calibrate`).",
    ]
    return "\n\n".join(parts) + "\n"


def preset_page() -> str:
    """Return the page of the presets and ablations that come with methods."""
    found = [one for one in list_("presets", runs="") if one.name.partition("@")[0] in _builtin(METHODS)]

    def rows(of_ablations: bool) -> list[tuple[str, ...]]:
        return [
            (f"[`{one.name}`](../methods/{one.name.partition('@')[0]}.md)", literal(one.summary))
            + (() if of_ablations else (one.reference,))
            for one in found
            if (one.reference == "ablation") == of_ablations
        ]

    parts = [
        "# Presets",
        "`NAME@PRESET` sets several hyper-parameters at once; the method's page lists the values. A preset that names "
        "data sets is refused on others. `zslbench tune` adds presets of your own under the folder of records, and "
        "`zslbench list presets` shows them too.",
        "## Published values",
        table(("preset", "source", "for"), rows(False)),
        "## Ablations",
        "An ablation takes something away from whatever the presets say: `lisgan@published@S2` is S2 with the "
        "published values.",
        table(("text", "meaning"), rows(True)),
    ]
    return "\n\n".join(parts) + "\n"


def _builtin(registry: Registry) -> list[str]:
    return [entry.name for entry in registry if entry.origin == "zslbench"]


def _stems(one: Info) -> str:
    return f"`{one.facts['features']}`, `{one.facts['semantics']}`"


def _parameters(one: Info) -> str:
    rows = [(f"`{name}`", literal(default), literal(takes), literal(text)) for name, default, takes, text in one.params]
    return table(("parameter", "default", "takes", "meaning"), rows)
