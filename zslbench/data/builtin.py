"""The built-in data sets, which need no download: `synthetic`, made up, and `digits`, real.

**`synthetic`** is seeded data for tests and tutorials. Not images, and no measure of a method's worth. A class has
attributes drawn uniformly from [0, 1]; a fixed random two-layer map turns them into the mean of its features. Each
class has several modes: shifts of the mean that all classes share in direction, as poses or backgrounds would, each
class at its own strength. An image is its mode's mean plus Gaussian noise, clipped at zero, so that features look like
the output of a ReLU layer.

**`digits`** is scikit-learn's 1,797 scanned digits, ten classes described by how a hand writes them.

The images are the test part of the "Optical Recognition of Handwritten Digits" data (Alpaydin & Kaynak, UCI, 1998):
8×8 pixels of 0…16. Features are the 64 pixels divided by 16.

**Attributes.** Each says something of the *shape* that a person can see; none is the name of a digit in disguise. They
were written down from how numerals are drawn, before any method was run: 1 is yes, 0 is no, 0.5 is "some hands do" or
"in part".

==================  ==================================================================================================
upper loop          a closed loop in the upper half: 8, 9
lower loop          a closed loop in the lower half: 6, 8
hollow centre       ink runs all round an empty middle: 0
top stroke          a stroke along the top edge, straight or bent: 0, 2, 3, 5, 7, 8, 9
middle stroke       ink across the middle: the bar of 4, where bows or loops meet in 3, 5, 6, 8, 9; in part the stem of
                    1 and the crossed 7
bottom stroke       a stroke along the bottom edge, straight or bent: 0, 2, 3, 5, 6, 8; some tails of 9
upper left side     ink down the left of the upper half: 0, 4, 5, 6, 8, 9
upper right side    ink down the right of the upper half: 0, 2, 3, 7, 8, 9; some 4
lower left side     ink down the left of the lower half: 0, 6, 8; in part the descent of 2
lower right side    ink down the right of the lower half: 0, 3, 5, 6, 8, 9; some 4
stem                a straight stroke that ends at the bottom with nothing beside it: 1, 4; some 7 and 9
slant               a straight oblique stroke: the descent of 2 and 7; some 1, the left arm of some 4
open to the left    a bay that opens to the left: 2, 3, 7 above, 5 and 9 below
open to the right   a bay that opens to the right: 2 below, 5 and 6 above; the notch of an open 4
alike left, right   mirrored at the vertical axis it is the same: 0, 1, 8
alike up, down      mirrored at the horizontal axis it is the same: 0, 1, 3, 8
==================  ==================================================================================================

**Unseen classes: 3, 5 and 7.** Fixed from the table alone. What an unseen class has (0.5 or more) and what it lacks
should be taught by more than one seen class each, or the attribute cannot be told from the one class that shows it.
Of the 120 ways to hold out three digits only two satisfy this with two seen classes for every entry: {3, 4, 5} and
{3, 5, 7}. Of these, the descriptions of 3, 5 and 7 lie closer to affine combinations of the seen ones.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path
from typing import ClassVar

import numpy as np

from zslbench import seeding
from zslbench.arrays import Array
from zslbench.data.dataset import Counts, Dataset, DatasetCard, Source, choose_stem, numbered_names
from zslbench.data.splits import seen_split, unseen_classes
from zslbench.errors import BadValue
from zslbench.params import param

ATTRIBUTES = (
    "upper loop", "lower loop", "hollow centre", "top stroke", "middle stroke", "bottom stroke", "upper left side",
    "upper right side", "lower left side", "lower right side", "stem", "slant", "open to the left",
    "open to the right", "alike left, right", "alike up, down",
)  # fmt: skip

# One line per digit, 0 to 9; columns as in ATTRIBUTES; "-" is 0, "~" is 0.5, "x" is 1.
_TABLE = """
- - x x - x x x x x - - - - x x
- - - - ~ - - - - - x ~ - - x x
- - - x - x - x ~ - - x x x - -
- - - x x x - x - x - - x - - x
- - - - x - x ~ - ~ x ~ - ~ - -
- - - x x x x - - x - - x x - -
- x - - x x x - x x - - - x - -
- - - x ~ - - x - - ~ x x - - -
x x - x x x x x x x - - - - x x
x - - x x ~ x x - x ~ - x - - -
"""
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
UNSEEN = (3, 5, 7)
SPLIT_SEED = 0
_LIFT = 0.5  # mean of a feature before clipping, in units of the spread between classes
_MODE_SPREAD = 1.0


def semantics_table() -> Array:
    """Return the (10, 16) float32 attributes of the digits, row i describing digit i."""
    value = {"-": 0.0, "~": 0.5, "x": 1.0}
    rows = [[value[mark] for mark in line.split()] for line in _TABLE.strip().splitlines()]
    return np.array(rows, dtype=np.float32)


def _scans() -> Array:
    """Return the (1797, 65) float64 pixels and digits, from scikit-learn's file.

    Importing scikit-learn would take longer than a study of a closed-form method, so its file is read directly. If a
    version of scikit-learn keeps the file elsewhere, the library is imported.
    """
    library = importlib.util.find_spec("sklearn")
    path = Path(str(library and library.origin)).parent / "datasets" / "data" / "digits.csv.gz"
    if path.is_file():
        return np.loadtxt(path, delimiter=",")
    from sklearn.datasets import load_digits

    images = load_digits()
    return np.column_stack([images.data, images.target])


@dataclasses.dataclass(kw_only=True)
class Digits(Source):
    """Scanned digits, three of them unseen."""

    card: ClassVar[DatasetCard] = DatasetCard(
        title="Digits",
        summary="1,797 real 8×8 scans of digits with 16 shape attributes; 3, 5 and 7 are unseen. Built in.",
        citation="alpaydin1998digits",
        counts=Counts(images=1797, attributes=16, seen=7, unseen=3, trainval=1003, test_seen=250, test_unseen=544),
        features="pixels",
        semantics="strokes",
        licence="CC BY 4.0 (UCI Machine Learning Repository)",
    )

    def load(self, *, features: str | None = None, semantics: str | None = None, root: Path | None = None) -> Dataset:
        """Return the digits; there is one choice of features and of semantics (see `Source.load`)."""
        choose_stem("data set 'digits'", "features", features, (self.card.features,), self.card.features)
        choose_stem("data set 'digits'", "semantics", semantics, (self.card.semantics,), self.card.semantics)
        images = _scans()
        labels = images[:, -1].astype(np.int64)
        trainval, test_seen = seen_split(np.flatnonzero(~np.isin(labels, UNSEEN)), labels, SPLIT_SEED)
        return Dataset(
            name="digits",
            features_name=self.card.features,
            semantics_name=self.card.semantics,
            features=np.asarray(images[:, :-1] / 16.0, dtype=np.float32),
            labels=labels,
            semantics=semantics_table(),
            original=semantics_table(),
            class_names=NAMES,
            trainval=trainval,
            test_seen=test_seen,
            test_unseen=np.flatnonzero(np.isin(labels, UNSEEN)),
            origin="builtin",
        )


@dataclasses.dataclass(kw_only=True)
class Synthetic(Source):
    """Made-up multi-modal classes with ReLU-like features."""

    card: ClassVar[DatasetCard] = DatasetCard(
        title="Synthetic",
        summary="SYNTHETIC: seeded multi-modal classes with ReLU-like features, for tests and tutorials. Built in.",
        citation="",
        features="relu",
        semantics="uniform",
    )
    classes: int = param(20, low=3, high=10_000, help="number of classes")
    unseen: int = param(5, low=1, high=10_000, help="how many of the classes are unseen")
    attributes: int = param(16, low=1, high=10_000, help="length of a class description")
    features: int = param(64, low=1, high=100_000, help="length of a feature vector")
    modes: int = param(2, low=1, high=100, help="modes per class")
    noise: float = param(
        0.5, low=0.0, high=100.0, help="standard deviation of the images of a mode; the spread between classes is 1"
    )
    images: int = param(40, low=3, high=100_000, help="images per class")
    seed: int = param(0, low=0, high=2**31 - 1, help="seed of the data itself")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.unseen > self.classes - 2:
            raise BadValue(
                f"synthetic: unseen={self.unseen} of classes={self.classes} leaves fewer than two seen classes; "
                f"choose unseen up to {self.classes - 2}."
            )

    def load(self, *, features: str | None = None, semantics: str | None = None, root: Path | None = None) -> Dataset:
        """Return the data; there is one choice of features and of semantics (see `Source.load`)."""
        choose_stem("data set 'synthetic'", "features", features, (self.card.features,), self.card.features)
        choose_stem("data set 'synthetic'", "semantics", semantics, (self.card.semantics,), self.card.semantics)
        table = seeding.stream(self.seed, "attributes").random((self.classes, self.attributes))
        labels = np.repeat(np.arange(self.classes), self.images)
        images = self._images(self._means(table), labels)
        shuffle = seeding.stream(self.seed, "order").permutation(len(labels))
        images, labels = images[shuffle], labels[shuffle]
        unseen = unseen_classes(self.classes, self.unseen, self.seed)
        is_unseen = np.isin(labels, unseen)
        trainval, test_seen = seen_split(np.flatnonzero(~is_unseen), labels, self.seed)
        return Dataset(
            name=self.text("synthetic"),
            features_name=self.card.features,
            semantics_name=self.card.semantics,
            features=images.astype(np.float32),
            labels=labels,
            semantics=table.astype(np.float32),
            original=table.astype(np.float32),
            class_names=numbered_names(1, self.classes),
            trainval=trainval,
            test_seen=test_seen,
            test_unseen=np.flatnonzero(is_unseen),
            origin="builtin",
        )

    def _means(self, table: Array) -> Array:
        """Map (c, a) attributes to (c, d) means, each feature with a spread of about 1 between classes."""
        rng = seeding.stream(self.seed, "map")
        centred = (table - 0.5) * np.sqrt(12.0 / self.attributes)
        linear = centred @ rng.standard_normal((self.attributes, self.features))
        bent = np.tanh(centred @ rng.standard_normal((self.attributes, self.features)))
        return np.asarray(_LIFT + 0.9 * linear + 0.45 * bent)

    def _images(self, means: Array, labels: np.ndarray) -> Array:
        """Draw one image per label: mean of a mode plus noise, clipped at zero."""
        rng = seeding.stream(self.seed, "images")
        directions = rng.standard_normal((self.modes, self.features))
        directions -= directions.mean(axis=0)  # modes shift a class around its mean, not away from it
        strength = rng.uniform(0.5, 1.5, (self.classes, 1, 1)) * _MODE_SPREAD
        centres = means[:, None, :] + strength * directions[None]
        mode = rng.integers(self.modes, size=len(labels))
        noise = self.noise * rng.standard_normal((len(labels), self.features))
        return np.asarray(np.maximum(centres[labels, mode] + noise, 0.0))
