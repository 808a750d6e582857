"""`add`: install features, labels and semantics of one's own as a data set: the verb ``zslbench data add``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from zslbench.data.added import Added, check_name, find
from zslbench.data.own.content import from_folder, install, remarks_on
from zslbench.data.own.given_splits import SplitOptions
from zslbench.data.own.matrices import Choices, Orientation, Reader, SplitGiven
from zslbench.data.own.reading import Given
from zslbench.errors import BadValue
from zslbench.registry import DATASETS, METHODS, PROTOCOLS


@dataclasses.dataclass(frozen=True)
class Report:
    """What was added, and remarks on how it was read."""

    added: Added
    remarks: tuple[str, ...] = ()


def add(
    name: str,
    *,
    features: Choices | None = None,
    labels: Given | None = None,
    semantics: Choices | None = None,
    classes: Given | None = None,
    splits: SplitGiven | None = None,
    unseen: str | int | Sequence[str] | None = None,
    seed: int | None = None,
    folds: int | None = None,
    test_share: float | None = None,
    source: Path | str | None = None,
    orientation: Orientation = "auto",
) -> Report:
    """Install a data set of one's own under a name that every verb then knows.

    Inputs are files (``.npy``, ``.npz``, ``.csv``, ``.tsv``, ``.mat``, ``.h5``, ``.pt``; ``FILE:KEY`` names one of
    several arrays) or arrays. Further features or semantics of a data set that was added before are added to it by
    giving nothing else.

    Args:
        name: up to 64 letters, digits and ``. _ + -``; not that of anything built in.
        features: (n, d) or (d, n) numbers; a mapping for several, by stem.
        labels: (n,) class numbers, 0- or 1-based, or class names.
        semantics: (c, a) or (a, c) numbers, a row a class; a mapping for several, by stem.
        classes: (c,) class names in the order of the semantics.
        splits: a split file, or a mapping with its keys (see `zslbench.data.own.given_splits`); None: a seeded split.
        unseen: which classes are unseen in a made split: ``20%`` (the default), a number of them, or which, by names or
            by the numbers that the labels give them.
        seed: of a made split (default 0).
        folds: how many dev folds of the seen classes to draw; None leaves them to the dev stage, which draws three.
        test_share: which share of a seen class's images tests in a made split (default 0.2).
        source: an xlsa17-like folder, instead of all of the above.
        orientation: what images and classes are where a matrix is square: rows or columns.

    Raises:
        BadValue, BadData, DataMissing: an input is missing, damaged or breaks a rule; nothing was written.
        CheckFailed: the data set does not pass `zslbench.checks.check_dataset`; nothing was written.
        StoreError: it cannot be written.
    """
    name = check_name(name, [*DATASETS.entries, *METHODS.entries, *PROTOCOLS.entries])
    earlier = find(name)
    drawn = {"unseen": unseen, "seed": seed, "folds": folds, "test-share": test_share}
    others = {"labels": labels, "classes": classes, "splits": splits} | drawn
    given = [f"--{option}" for option, value in others.items() if value is not None]
    if earlier is not None and (source is not None or given or (features is None and semantics is None)):
        raise BadValue(
            f"data set {name!r} was added before; remove it with `zslbench data remove {name} --yes`, or give "
            "--features or --semantics alone to add to it."
        )
    if source is not None:
        if given or features is not None or semantics is not None:
            raise BadValue("--from brings features, labels, semantics and split; leave out the other options.")
        content = from_folder(Path(source), name)
        return Report(install(name, content), tuple(remarks_on(content)))
    reader = Reader(orientation)
    if earlier is not None:
        content = reader.extended(earlier, features, semantics)
    elif features is None or labels is None or semantics is None:
        raise BadValue(
            f"data set {name!r} needs --features, --labels and --semantics, or --from with an xlsa17-like folder."
        )
    else:
        options = SplitOptions.from_given(unseen, seed, test_share, folds)
        content = reader.content(features, labels, semantics, classes, splits, options)
    return Report(install(name, content, earlier), (*reader.remarks, *remarks_on(content)))
