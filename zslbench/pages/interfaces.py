"""Pages that mkdocstrings fills in: the functions behind the verbs, the classes of methods and data, the record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import zslbench
from zslbench import checks, data, params, task
from zslbench.methods import base
from zslbench.results import record
from zslbench.results.plots import files
from zslbench.runner import run as runner

_OF_METHODS = (
    base.Method,
    base.MethodCard,
    base.Setting,
    base.Preset,
    base.Ablation,
    base.Context,
    params.param,
    params.Between,
    task.Train,
    task.Query,
    task.ClassTable,
)


def verbs_page(verbs: Iterable[str]) -> str:
    """Return the page of the functions that are named like the verbs, and of what they return."""
    functions = {f"zslbench.{verb}": getattr(zslbench, verb) for verb in verbs if verb != "data"}
    functions |= {f"zslbench.data.{name}": getattr(data, name) for name in ("list_", "fetch", "import_", "verify")}
    functions["zslbench.data.load_dataset"] = data.load_dataset
    results = {one.__name__: one for one in (runner.Outcome, files.Drawn)}
    return (
        "\n\n".join(
            [
                "# Python",
                "Every verb of the command line is a function of the same name: `import zslbench`, then "
                '`zslbench.run("eszsl", "digits")`. They are imported on first use. A wrong request raises a '
                "`zslbench.errors.ZslbenchError` whose text is the sentence that the command line would print.",
                _sections(functions),
                "## What they return",
                "Runs, besides these, are [records](records.md).",
                _sections(results, level=3),
            ]
        )
        + "\n"
    )


def methods_page() -> str:
    """Return the page of what a method of one's own is made of, and of the checks that it is held to."""
    contract = {f"zslbench.checks.{name}": getattr(checks, name) for name in checks.__all__}
    return (
        "\n\n".join(
            [
                "# Methods and checks in Python",
                "[A method of your own](../how-to/own-method.md) shows these at work.",
                _sections({one.__name__: one for one in _OF_METHODS}),
                "## The contract",
                _sections(contract, level=3),
            ]
        )
        + "\n"
    )


def record_page() -> str:
    """Return the page of the record: where it is kept, its fields, and the arrays beside it."""
    return (
        "\n\n".join(
            [
                "# Records",
                "A run is a file: `runs/<data set>/<protocol>/<method>/<id>.json`, about 4 kB, indented JSON in UTF-8. Its "
                "name is the digest of its meaning: method with version and every parameter, data set with features, "
                "semantics and a fingerprint of the content, protocol with version, stage, fold and seed. What does not "
                "change the meaning is recorded and not part of the name: device, times, versions.",
                f"`schema` is {record.SCHEMA}. A later version of zslbench reads earlier schemas; unknown fields are left "
                "alone. Metrics are fractions from 0 to 1.",
                _sections({"Record": record.Record}),
                "## Predictions",
                "`<id>.npz` beside it holds, for every test image, what all metrics follow from: `row` (of the data set), "
                "`label`, `of_unseen`, `seen_score` and `seen_class` (the best seen candidate), `unseen_score` and "
                "`unseen_class`. A class of −1 with a score of −∞ says that there was no such candidate. `zslbench status "
                "--verify` computes every metric from these again.",
                "## From Python",
                "::: zslbench.results.store.ResultStore\n    options:\n      heading: ResultStore\n"
                "      members: [load, find, predictions]",
            ]
        )
        + "\n"
    )


def _sections(objects: Mapping[str, Any], level: int = 2) -> str:
    return "\n\n".join(
        f"::: {one.__module__}.{one.__qualname__}\n    options:\n      heading: {name}\n      toc_label: {name}\n      heading_level: {level}"
        for name, one in objects.items()
    )
