"""`synthetic`: seeded, made-up data for tests and tutorials. Not images, and no measure of a method's worth.

A class has attributes drawn uniformly from [0, 1]; a fixed random two-layer map turns them into the mean of its
features. Each class has several modes: shifts of the mean that all classes share in direction, as poses or backgrounds
would, each class at its own strength. An image is its mode's mean plus Gaussian noise, clipped at zero, so that
features look like the output of a ReLU layer.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import ClassVar

import numpy as np

from zslbench import seeding
from zslbench.arrays import Array
from zslbench.data.dataset import Dataset, DatasetCard, Source, choose_stem
from zslbench.data.splits import seen_split, unseen_classes
from zslbench.errors import BadValue
from zslbench.params import param

_LIFT = 0.5  # mean of a feature before clipping, in units of the spread between classes
_MODE_SPREAD = 1.0


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
    modes: int = param(2, low=1, high=100, help="modes of a class")
    noise: float = param(0.5, low=0.0, high=100.0, help="standard deviation of an image, the spread of classes being 1")
    images: int = param(40, low=3, high=100_000, help="images of a class")
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
            class_names=tuple(f"class {number}" for number in range(1, self.classes + 1)),
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
        """Draw one image a label: mode mean plus noise, clipped at zero."""
        rng = seeding.stream(self.seed, "images")
        directions = rng.standard_normal((self.modes, self.features))
        directions -= directions.mean(axis=0)  # modes shift a class around its mean, not away from it
        strength = rng.uniform(0.5, 1.5, (self.classes, 1, 1)) * _MODE_SPREAD
        centres = means[:, None, :] + strength * directions[None]
        mode = rng.integers(self.modes, size=len(labels))
        noise = self.noise * rng.standard_normal((len(labels), self.features))
        return np.asarray(np.maximum(centres[labels, mode] + noise, 0.0))
