"""Checks of the contract that methods, data sets and protocols keep; anyone can run them on their own.

>>> from zslbench.checks import check_method
>>> len(check_method("eszsl")) > 15
True

Each function returns the names of the checks that passed, and raises `CheckFailed` at the first that fails.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from zslbench import spec
from zslbench.checks.method_checks import check_method
from zslbench.checks.protocol_checks import check_protocol
from zslbench.contract import CheckFailed
from zslbench.data import added
from zslbench.data.dataset import Source
from zslbench.data.dataset_checks import check_dataset
from zslbench.errors import BadValue, UnknownName
from zslbench.methods.base import Method
from zslbench.methods.minimal import is_method
from zslbench.protocols.protocol import Protocol
from zslbench.registry import DATASETS, METHODS, PROTOCOLS, Registry

__all__ = ["CheckFailed", "Checked", "check", "check_dataset", "check_method", "check_protocol"]

Kind = Literal["method", "dataset", "protocol"]
_REGISTRIES: dict[Kind, Registry] = {"method": METHODS, "dataset": DATASETS, "protocol": PROTOCOLS}
_BASES: dict[Kind, type] = {"method": Method, "protocol": Protocol, "dataset": Source}


@dataclasses.dataclass(frozen=True)
class Checked:
    """The outcome of checking one thing.

    Attributes:
        kind, name: what was checked.
        passed: the names of the checks that passed, in order.
        failure: the check that failed, and why; empty if all passed.
    """

    kind: Kind
    name: str
    passed: tuple[str, ...]
    failure: str = ""

    @property
    def ok(self) -> bool:
        """Whether everything passed."""
        return not self.failure


def check(
    text: str, *, features: str | None = None, semantics: str | None = None, data_root: Path | str | None = None
) -> Checked:
    """Check whether a method, data set or protocol keeps its contract.

    Args:
        text: a registered name with or without parameters, ``my_pkg.my_module:MyClass``, or the folder of a data set.
        features, semantics, data_root: which files to read, for data sets only.

    Raises:
        UnknownName, Unavailable, BadSpec, BadValue, BadData, DataMissing: there is nothing that can be checked.
    """
    kind = _kind(text)
    root = None if data_root is None else Path(data_root)
    if kind != "dataset" and (features or semantics or root):
        raise BadValue(
            f"{text} is a {kind}; --features, --semantics and --data-root are for data sets, leave them out."
        )
    try:
        if kind == "dataset":
            passed = check_dataset(text, features=features, semantics=semantics, root=root)
        else:
            passed = check_method(text) if kind == "method" else check_protocol(text)
    except CheckFailed as failed:
        return Checked(kind, text, failed.passed, str(failed))
    return Checked(kind, text, tuple(passed))


def _kind(text: str) -> Kind:
    """Return the kind of thing that a text names: a folder, an added data set, a class, or a registered name."""
    is_registered = any(text in registry.entries for registry in _REGISTRIES.values())
    if (Path(text).is_dir() and not is_registered) or added.find_added(text) is not None:
        return "dataset"
    name = spec.parse(text).name
    if ":" in name:
        cls = METHODS.load(name)
        for kind, base in _BASES.items():
            if issubclass(cls, base):
                return kind
        if is_method(cls):
            return "method"
        raise BadValue(
            f"{name} is neither a Method nor a Protocol nor a data set's Source; give it fit(self, train, ctx) and "
            "scores(self, features, classes), or derive it from one of the others."
        )
    for kind, registry in _REGISTRIES.items():
        if name.casefold() in {known.casefold() for known in registry.entries}:
            return kind
    every = [*METHODS.names(), *DATASETS.names(), *added.names(), *PROTOCOLS.names()]
    raise UnknownName("method, data set or protocol", name, every, "A class of your own is pkg.module:Class.")
