"""Numbers that papers print, each with its source, for tables that set them beside measured ones."""

from __future__ import annotations

import csv
import dataclasses
import functools
import importlib.resources
from collections.abc import Sequence

from zslbench.errors import UnknownName
from zslbench.metrics import ACCURACIES
from zslbench.results.analysis.rows import Row

PREFERENCE = ("xian2018gbu", "zhang2017dem", "li2019lisgan", "feng2022gasl")
"""Which source is taken when none is asked for: the split's own authors first, an independent re-run last."""

PROTOCOL = {metric: protocol for protocol, metrics in ACCURACIES.items() for metric in metrics}
"""The protocol that each published metric belongs to."""

_WHOLE = {("lisgan", "S4")}
"""Ablations that are the whole method, so that the method's own numbers are theirs."""

TRANSDUCTIVE = {"lisgan", "lisgan:S4"}
"""Whose published numbers use unlabelled test features (LisGAN's cascade); all others are inductive."""

_TITLES = {
    "ale": "ALE",
    "conse": "CONSE",
    "dap": "DAP",
    "dem": "DEM",
    "devise": "DeViSE",
    "eszsl": "ESZSL",
    "fclswgan": "f-CLSWGAN",
    "gazsl": "GAZSL",
    "latem": "LATEM",
    "lisgan": "LisGAN",
    "sae": "SAE",
    "sje": "SJE",
    "sse": "SSE",
    "sync": "SYNC",
}
"""Methods as LisGAN's tables print them, and LATEM, which they lack."""

_READ_ON_TEST = {"fclswgan": "f-CLSWGAN", "gazsl": "GAZSL", "lisgan": "LisGAN"}
_READ_ON_TEST_IN = {"li2019lisgan", "feng2022gasl"}


@dataclasses.dataclass(frozen=True)
class Published:
    """One cited number.

    Attributes:
        source: citation key; table: where in the source it stands.
        method: a method's name, or ``lisgan:S3`` for a named ablation.
        dataset, features, semantics, metric: what it was measured on.
        value: percent.
        note: an erratum or a remark; empty for most.
    """

    source: str
    table: str
    method: str
    dataset: str
    features: str
    semantics: str
    metric: str
    value: float
    note: str

    @property
    def title(self) -> str:
        """The method as it is printed, with a named ablation: ``LisGAN@S3``."""
        name, _, preset = self.method.partition(":")
        return _TITLES.get(name, name) + (f"@{preset}" if preset else "")

    @property
    def transductive(self) -> bool:
        """Whether the cited method uses unlabelled test features."""
        return self.method in TRANSDUCTIVE

    @property
    def oracle(self) -> str:
        """The name of a method whose public code picks the epoch on test images; empty for all others.

        Its numbers are read as those of oracle selection, since the papers do not say how the epoch was picked.
        """
        return _READ_ON_TEST.get(self.method.partition(":")[0], "") if self.source in _READ_ON_TEST_IN else ""


@functools.cache
def load() -> tuple[Published, ...]:
    """Return every cited number, in the order of the file."""
    text = importlib.resources.files("zslbench.results.analysis").joinpath("published.csv").read_text(encoding="utf-8")
    return tuple(Published(**{**line, "value": float(line["value"])}) for line in csv.DictReader(text.splitlines()))  # type: ignore[arg-type]


def sources() -> tuple[str, ...]:
    """Return the citation keys, the preferred first."""
    found = {entry.source for entry in load()}
    return tuple(sorted(found, key=lambda key: (PREFERENCE.index(key) if key in PREFERENCE else len(PREFERENCE), key)))


def check_source(source: str) -> None:
    """Refuse a source that has no numbers here.

    Raises:
        UnknownName: with the sources that there are.
    """
    if source not in sources():
        raise UnknownName("source of published numbers", source, sources())


def lookup(method: str, dataset: str, metric: str, source: str | None = None) -> Published | None:
    """Return the cited number, from `source` or else from the most preferred source that has one.

    >>> entry = lookup("lisgan", "cub", "H")
    >>> entry.source, entry.table, entry.value
    ('li2019lisgan', 'Table 4', 51.6)

    Raises:
        UnknownName: no such source.
    """
    if source is not None:
        check_source(source)
    for key in sources() if source is None else (source,):
        if entry := _index().get((key, method, dataset, metric)):
            return entry
    return None


def beside(row: Row, metric: str, source: str) -> Published | None:
    """Return the cited number that may stand beside a measured one: same method, data set, protocol and metric.

    Nor does a transductive number stand beside an inductive row, or the other way round.

    Args:
        row: what was measured; a user's own data has no published numbers, whatever its name.
        metric: one of its metrics.
        source: a citation key, or ``best`` for the most preferred one.
    """
    if row.origin != "catalogue" or PROTOCOL.get(metric) != row.protocol:
        return None
    found = _of_method(row, metric, None if source == "best" else source)
    return found if found and found.transductive == (row.setting == "transductive") else None


def cited_names(method: str, presets: Sequence[str]) -> tuple[str, ...]:
    """Return the names that a method with these presets is cited under, the closest first.

    >>> cited_names("lisgan", ["S3"]), cited_names("lisgan", ["S4"]), cited_names("lisgan", ["published"])
    (('lisgan:S3',), ('lisgan:S4', 'lisgan'), ('lisgan',))
    """
    for preset in presets:
        name = f"{method}:{preset}"
        if any(entry.method == name for entry in load()):
            return (name, method) if (method, preset) in _WHOLE else (name,)
    return (method,)


def _of_method(row: Row, metric: str, chosen: str | None) -> Published | None:
    names = cited_names(row.method, row.label.partition("[")[0].split("@")[1:])
    found = (lookup(name, row.dataset, metric, chosen) for name in names)
    return next(filter(None, found), None)


@functools.cache
def _index() -> dict[tuple[str, str, str, str], Published]:
    return {(entry.source, entry.method, entry.dataset, entry.metric): entry for entry in load()}
