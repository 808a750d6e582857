"""`Source`: what a registered data set is: a card, parameters, and a way to load it."""

from __future__ import annotations

import abc
import dataclasses
from pathlib import Path
from typing import ClassVar

from zslbench import params
from zslbench.data.dataset import Dataset
from zslbench.errors import BadValue
from zslbench.spec import brackets


@dataclasses.dataclass(frozen=True)
class Counts:
    """The counts of a data set as its split's authors give them (Xian et al.; the paper's Table 1)."""

    images: int
    attributes: int
    seen: int
    unseen: int
    trainval: int
    test_seen: int
    test_unseen: int


@dataclasses.dataclass(frozen=True)
class DatasetCard:
    """What is said of a data set in lists and pages."""

    title: str
    summary: str
    citation: str
    counts: Counts | None = None
    folder: str = ""
    features: str = ""
    semantics: str = ""
    licence: str = ""


@dataclasses.dataclass(kw_only=True)
class Source(abc.ABC):
    """A registered data set. Parameters are dataclass fields made by `zslbench.params.param`."""

    card: ClassVar[DatasetCard]

    def __post_init__(self) -> None:
        params.check(self)

    @abc.abstractmethod
    def load(self, *, features: str | None = None, semantics: str | None = None, root: Path | None = None) -> Dataset:
        """Return the data set with the chosen features and semantics (file stems; None: the usual ones).

        Args:
            features: which features, for instance ``res101`` or ``vgg19``.
            semantics: which semantics, for instance ``att`` or ``sent``.
            root: the folder that holds xlsa17 folders; None: ``ZSLBENCH_DATA``, then what `data import` installed.

        Raises:
            DataMissing: the files are not on this machine.
            BadData: the files break a rule, or the choice of features or semantics does not exist.
        """

    def text(self, name: str) -> str:
        """Return the canonical text of this data set: `name` with the parameters that are not at their defaults."""
        declared = params.declared(type(self))
        return name + brackets(
            {key: value for key, value in params.values(self).items() if value != declared[key].default}
        )


def only(name: str, card: DatasetCard, features: str | None, semantics: str | None) -> None:
    """Refuse features or semantics other than the one choice that a built-in data set has.

    Raises:
        BadValue: another choice.
    """
    for option, given, there in (("features", features, card.features), ("semantics", semantics, card.semantics)):
        if given is not None and given != there:
            raise BadValue(f"data set {name!r} has no {option} {given!r}; it has: {there}; leave out --{option}.")
