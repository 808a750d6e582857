"""`add`: install your own features, labels and semantics as a data set: the verb ``zslbench data add``."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zslbench.arrays import IntArray
from zslbench.data import xlsa17
from zslbench.data.added import Added, check_name, check_stem, find_added, write_added
from zslbench.data.dataset import PARTS, Counts, Dataset, numbered_names
from zslbench.data.dataset_checks import check_dataset
from zslbench.data.imagenet import describe_overlap
from zslbench.data.own.given_splits import SplitGiven, SplitOptions, check_split_options, make_split
from zslbench.data.own.matrices import Orientation, check_class_names, find_class_ids, orient_rows, read_class_names
from zslbench.data.own.reading import Given, InputArray, read_input, read_labels_beside, split_key
from zslbench.data.similarity import SYNONYMS, Draw, describe_nearest
from zslbench.errors import BadData, BadValue, DataMissing
from zslbench.identity import expand_home, file_sha256
from zslbench.registry import DATASETS, METHODS, PROTOCOLS
from zslbench.visible import list_names

Choices = Given | Mapping[str, Given]
"""One input, or several by the stem that ``--features`` or ``--semantics`` names."""


@dataclasses.dataclass(frozen=True)
class AddOutcome:
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
    draw: Draw | None = None,
    synonyms: float | None = None,
    avoid_imagenet: bool = False,
    source: Path | str | None = None,
    orientation: Orientation = "auto",
) -> AddOutcome:
    """Install a data set of your own under a name that every verb then knows.

    Inputs are arrays or files (``.npy``, ``.npz``, ``.csv``, ``.tsv``, ``.mat``, ``.h5``, ``.pt``; ``FILE:KEY`` names
    one of several arrays in a file). To add features or semantics to a data set that was added before, give its name
    and nothing else.

    Args:
        name: up to 64 letters, digits and ``. _ + -``; not the name of anything built in.
        features: (n, d) or (d, n) numbers; or a mapping from stems to several of these.
        labels: (n,) class numbers, 0- or 1-based, or class names; None: those beside the features in their ``.npz``.
        semantics: (c, a) or (a, c) numbers; or a mapping from stems to several of these.
        classes: (c,) class names in the order of the semantics; None: ``class_names`` beside the features, or the names
            that the semantics give their rows.
        splits: a split file, or a mapping with its keys (see `zslbench.data.own.given_splits`); None: a seeded split.
        unseen: the unseen classes of a seeded split: ``20%`` (the default, but two at least), their number, or a list
            of them by name or by the numbers that the labels use.
        seed: of a seeded split (default 0).
        folds: how many dev folds of the seen classes to draw; None: the dev stage draws three.
        test_share: the share of each seen class's images that is for testing in a seeded split (default 0.2).
        draw: which classes a seeded split draws as unseen: any (``random``, the default), or by the first semantics,
            those near to (``easy``) or far from (``hard``) seen classes, where the seed only decides between equals;
            see `zslbench.data.similarity`. Dev folds are drawn at random.
        synonyms: the cosine of semantics above which classes stay on one side (default: 0.95 for ``easy`` and ``hard``;
            ``random`` may part any).
        avoid_imagenet: draw no class as unseen that is one of ImageNet's 1,000, by name, or a kind of one.
        source: a folder in the xlsa17 format, instead of all of the above.
        orientation: for a square matrix: whether its images or classes are ``rows`` or ``columns``.

    Raises:
        BadValue, BadData, DataMissing: an input is missing, damaged or breaks a rule; nothing was written.
        CheckFailed: the data set does not pass `zslbench.checks.check_dataset`; nothing was written.
        StoreError: it cannot be written.
    """
    name = check_name(name, [*DATASETS.entries, *METHODS.entries, *PROTOCOLS.entries])
    earlier = find_added(name)
    options = check_split_options(unseen, seed, test_share, folds, draw, synonyms, avoid_imagenet)
    given = options.given or any(value is not None for value in (labels, classes, splits, unseen))
    if earlier is not None and (source is not None or given or (features is None and semantics is None)):
        raise BadValue(
            f"data set {name!r} was added before; remove it with `zslbench data remove {name} --yes`, or give "
            "--features or --semantics alone to add to it."
        )
    reader = Reader(name, orientation)
    if source is not None:
        if given or features is not None or semantics is not None:
            raise BadValue("--from brings features, labels, semantics and split; leave out the other options.")
        content = _read_folder(expand_home(source).absolute(), name)
    elif earlier is not None:
        content = reader.extend(earlier, features, semantics)
    elif features is None or semantics is None:
        raise BadValue(
            f"data set {name!r} needs --features, --labels and --semantics, or --from with an xlsa17-like folder."
        )
    else:
        content = reader.read(features, labels, semantics, classes, splits, options)
    added = _install(content, earlier)
    held = () if earlier is None else earlier.semantics
    new = {stem: loaded for stem, loaded in content.semantics.items() if stem not in held}
    return AddOutcome(
        added, (*reader.remarks, *_remark_on_semantics(new), *(() if earlier else _remark_on_unseen(content)))
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Content:
    """A data set with all its choices of features and semantics.

    Attributes:
        usual: the data set with the features and semantics that are used if none are chosen.
        features: (n, d) float32 and facts on the source, by stem, the usual choice first.
        semantics: (c, a) float32, likewise.
        facts: on the sources of all other inputs.
    """

    usual: Dataset
    features: Mapping[str, InputArray]
    semantics: Mapping[str, InputArray]
    facts: Mapping[str, Any]

    def datasets(self) -> Iterator[Dataset]:
        """Yield the data set of each pair of features and semantics; raises as `Dataset` does."""
        for features, semantics in itertools.product(self.features, self.semantics):
            if (features, semantics) == (self.usual.features_name, self.usual.semantics_name):
                yield self.usual
                continue
            yield dataclasses.replace(
                self.usual,
                features_name=features,
                features=self.features[features].array,
                semantics_name=semantics,
                semantics=self.semantics[semantics].array,
                original=self.semantics[semantics].original,
                fingerprint="",
            )


@dataclasses.dataclass(eq=False)
class Reader:
    """Reads inputs and transposes them if needed, keeping a remark on each property that it had to infer."""

    name: str
    orientation: Orientation = "auto"
    remarks: list[str] = dataclasses.field(default_factory=list)

    def read(
        self,
        features: Choices,
        labels: Given | None,
        semantics: Choices,
        classes: Given | None,
        splits: SplitGiven | None,
        options: SplitOptions,
    ) -> Content:
        """Return the content that the inputs make; see `add` for the arguments and errors."""
        beside = read_labels_beside(next(iter(_by_stem(features, "features").values())))
        labels, classes = (beside[0] if labels is None else labels), (beside[1] if classes is None else classes)
        if labels is None:
            raise BadValue(
                f"data set {self.name!r} needs --labels: its features are not an .npz with `labels` beside them, as "
                "`zslbench data features` writes it."
            )
        labelled, described = read_input(labels, "labels"), _read_choices(semantics, "semantics")
        names = None
        if classes is not None:
            names = read_class_names(read_input(classes, "classes"))
        elif with_names := [table for table in described.values() if table.names is not None]:
            names = check_class_names(with_names[0].names or (), with_names[0].source)
        count = len(names) if names is not None else _count_classes(labelled, described)
        tables = {stem: self._orient_semantics(table, count, names) for stem, table in described.items()}
        ids, first, how_read = find_class_ids(labelled, names, count)
        called = "" if names else f", so classes are called class {first} to class {first + count - 1}"
        self.remarks.append(how_read + called)
        _check_labels_beside(features, ids, names, count)
        names = names or numbered_names(first, count)
        images = _read_choices(features, "features")
        by = next(iter(tables.values())).array
        fields, split_facts = make_split(splits, ids, names, options, first, by)
        if options.draw != "random" and "seed" in options.given:
            self.remarks.append(
                f"--draw {options.draw} takes the unseen classes by their semantics: --seed decides between equals "
                "only, and draws the seen test images"
            )
        used = sum(len(fields[part]) for part in PARTS)
        if used < len(ids):
            self.remarks.append(f"{len(ids) - used} of {len(ids)} images are in no part of the split")
        matrices = {
            stem: self._orient(matrix, len(ids), "features", "images", labelled.source)
            for stem, matrix in images.items()
        }
        (features_name, matrix), (semantics_name, table) = next(iter(matrices.items())), next(iter(tables.items()))
        usual = Dataset(
            name=self.name,
            features_name=features_name,
            semantics_name=semantics_name,
            features=matrix.array,
            labels=ids,
            semantics=table.array,
            class_names=names,
            origin="added",
            first_class=first,
            **fields,
        )
        return Content(usual, matrices, tables, {"labels": labelled.facts, "split": split_facts})

    def extend(self, earlier: Added, features: Choices | None, semantics: Choices | None) -> Content:
        """Return the content of an added data set with further features or semantics, which need new names."""
        usual = earlier.load()
        images = {} if features is None else _read_choices(features, "features")
        described = {} if semantics is None else _read_choices(semantics, "semantics")
        for role, given in (("features", images), ("semantics", described)):
            if taken := [stem for stem in given if stem in getattr(earlier, role)]:
                raise BadValue(
                    f"data set {earlier.name!r} has {role} {taken[0]!r} already; name others with --{role} NAME=FILE."
                )
        if images:
            self.remarks.append("features: rows taken in the order of the images that are there")
        rows, names = len(usual.labels), usual.class_names
        if features is not None:
            _check_labels_beside(features, usual.labels, names, len(names))
        matrices = {stem: self._orient(matrix, rows, "features", "images") for stem, matrix in images.items()}
        tables = {stem: self._orient_semantics(table, len(names), names) for stem, table in described.items()}
        by_features = {stem: earlier.load(features=stem) for stem in earlier.features}
        by_semantics = {stem: earlier.load(semantics=stem) for stem in earlier.semantics}
        matrices = _pick("features", by_features, earlier.features) | matrices
        tables = _pick("semantics", by_semantics, earlier.semantics) | tables
        return Content(usual, matrices, tables, earlier.facts)

    def _orient_semantics(self, loaded: InputArray, count: int, names: tuple[str, ...] | None) -> InputArray:
        """Return semantics with one row per class, in the order of the class names if the table names its rows."""
        loaded = _named_by_numbers(loaded, names)
        if names is not None and loaded.names is not None and loaded.names != names:
            if sorted(check_class_names(loaded.names, loaded.source)) != sorted(names):
                sides = sorted(set(loaded.names) - set(names)), sorted(set(names) - set(loaded.names))
                strange, lacking = (list_names([repr(name) for name in side], 3) or "none" for side in sides)
                raise BadData(
                    f"{loaded.source} and the list of classes do not name the same classes: not in the list are "
                    f"{strange}, without semantics are {lacking}; write the same names in both."
                )
            order = {name: at for at, name in enumerate(loaded.names)}
            loaded = dataclasses.replace(loaded, array=loaded.array[[order[name] for name in names]])
            self.remarks.append(f"semantics: rows of {loaded.source} put into the order of the classes")
        return self._orient(loaded, count, "semantics", "classes")

    def _orient(self, loaded: InputArray, count: int, role: str, unit: str, counted: str = "") -> InputArray:
        matrix, remarks = orient_rows(loaded, count, role, unit, self.orientation, counted)
        self.remarks += remarks
        return dataclasses.replace(loaded, array=matrix)


def _by_stem(given: Choices, role: str) -> dict[str, Given]:
    """Return inputs by stem: the given stem, or else that of the file."""
    if isinstance(given, Mapping):
        chosen = dict(given)
    elif isinstance(given, str | Path):
        chosen = {split_key(str(given))[0].stem.removesuffix("_splits"): given}
    else:
        chosen = {role: given}
    if not chosen:
        raise BadValue(f"no {role} were given; name at least one.")
    return chosen


def _read_choices(given: Choices, role: str) -> dict[str, InputArray]:
    return {check_stem(stem, role): read_input(choice, role) for stem, choice in _by_stem(given, role).items()}


def _check_labels_beside(features: Choices, ids: IntArray, names: tuple[str, ...] | None, count: int) -> None:
    """Refuse features whose file holds labels that are not those of the data set: its rows are other images."""
    for stem, given in _by_stem(features, "features").items():
        labels, listed = read_labels_beside(given)
        if labels is None or (names is None) != (listed is None):
            continue
        theirs = find_class_ids(labels, names, count)[0]
        if not np.array_equal(theirs, ids):
            raise BadData(
                f"{labels.source}: the labels beside features {stem!r} are not those of the data set, so the rows are "
                "other images or in another order; extract the features of the same pictures."
            )


def _named_by_numbers(loaded: InputArray, names: tuple[str, ...] | None) -> InputArray:
    """Return a text table with its first column as names, if it holds exactly the class names, which are numbers."""
    array = loaded.array
    if names is None or not loaded.table or loaded.names is not None or array.ndim != 2 or array.shape[1] < 2:
        return loaded
    first = tuple(f"{number:g}" for number in array[:, 0])
    return dataclasses.replace(loaded, array=array[:, 1:], names=first) if sorted(first) == sorted(names) else loaded


def _count_classes(labelled: InputArray, described: Mapping[str, InputArray]) -> int:
    """Count the classes: the different labels, or, if the semantics agree, as many as the numbers go up to."""
    labels = np.unique(labelled.array)
    sides = {side for table in described.values() for side in table.array.shape}
    if len(labels) not in sides and labels.dtype.kind in "fiu" and np.isfinite(labels).all():
        top = labels.max()  # classes without images are refused later
        return next((side for side in sorted(sides) if side in (top, top + 1)), len(labels))
    return len(labels)


def _pick(role: str, datasets: Mapping[str, Dataset], facts: Mapping[str, Mapping[str, Any]]) -> dict[str, InputArray]:
    return {
        stem: InputArray(getattr(dataset, role), "", facts[stem], original=dataset.original)
        for stem, dataset in datasets.items()
    }


def _read_folder(folder: Path, name: str) -> Content:
    """Return the content of a folder in the xlsa17 format; all its files of semantics must contain the same split."""
    xlsa17.check_no_parent(folder)
    stems = xlsa17.stems(folder)
    if not stems.features or not stems.semantics:
        lack = "has no <features>.mat or no <semantics>_splits.mat" if folder.is_dir() else "is not a folder"
        raise DataMissing(f"{folder} {lack}; name an xlsa17-like folder, or give --features, --labels and --semantics.")
    all_features = sorted(stems.features, key=lambda stem: stem != xlsa17.FEATURES)  # the usual ones first
    all_semantics = sorted(stems.semantics, key=lambda stem: stem != xlsa17.SEMANTICS)

    def load(features: str, semantics: str) -> Dataset:
        return xlsa17.read_folder(folder, name=name, features=features, semantics=semantics, origin="added")

    by_features = {stem: load(stem, all_semantics[0]) for stem in all_features}
    usual = by_features[all_features[0]]
    by_semantics = {all_semantics[0]: usual} | {stem: load(all_features[0], stem) for stem in all_semantics[1:]}
    for dataset in (*by_features.values(), *by_semantics.values()):
        for part in ("labels", *PARTS, "class_names"):
            if not np.array_equal(getattr(dataset, part), getattr(usual, part)):
                raise BadData(
                    f"{folder}: {part} of ({dataset.features_name}, {dataset.semantics_name}) are not those of "
                    f"({usual.features_name}, {usual.semantics_name}); take the files of one split."
                )

    def facts(locate: Callable[[Path, str], Path], stems: Sequence[str]) -> dict[str, dict[str, Any]]:
        paths = {stem: locate(folder, stem) for stem in stems}
        return {
            stem: {"source": str(path), "sha256": file_sha256(path), "about": xlsa17.read_about(path)}
            for stem, path in paths.items()
        }

    matrices = _pick("features", by_features, facts(xlsa17.features_file, all_features))
    tables = _pick("semantics", by_semantics, facts(xlsa17.semantics_file, all_semantics))
    return Content(usual, matrices, tables, {"folder": {"source": str(folder)}})


def _remark_on_semantics(semantics: Mapping[str, InputArray]) -> Iterator[str]:
    """Yield a sentence on each kind of useless column: the same for all classes, or equal to another column."""
    for stem, loaded in semantics.items():
        if str(loaded.facts.get("about", {}).get("encoder")).startswith("tfidf"):
            continue  # words that occur together only have equal columns by nature
        table = loaded.array
        _, first, counts = np.unique(table, axis=1, return_index=True, return_counts=True)
        constant = np.flatnonzero((table == table[0]).all(axis=0))
        for columns, count, fault in (
            (constant, constant.size, "are the same for every class"),
            (first[counts > 1], table.shape[1] - len(first), "repeat another one"),
        ):
            if count:
                yield (
                    f"semantics {stem}: {count} of {table.shape[1]} columns {fault} (first: column "
                    f"{columns.min() + 1}), so they add nothing; is that intended?"
                )


def _remark_on_unseen(content: Content) -> Iterator[str]:
    """Yield how near drawn unseen classes are to seen ones, and which unseen classes a backbone has seen."""
    usual, advice = content.usual, ""
    if usual.split:
        yield describe_nearest(usual, content.facts["split"].get("synonyms") or SYNONYMS)
        advice = "; --avoid-imagenet draws others"
    for sentence in describe_overlap([usual.class_names[number] for number in usual.unseen]):
        yield f"{sentence}: backbones trained on it have seen them{advice}"


def _install(content: Content, earlier: Added | None) -> Added:
    """Check every pair of features and semantics, write the arrays that do not exist yet, and return what was added."""
    usual, fingerprints = content.usual, {}
    for dataset in content.datasets():
        check_dataset(dataset)
        fingerprints[f"{dataset.features_name}/{dataset.semantics_name}"] = dataset.fingerprint
    choices = {"features": content.features, "semantics": content.semantics}
    facts: dict[str, dict[str, Any]] = {
        role: {stem: {**loaded.facts, "shape": list(loaded.array.shape)} for stem, loaded in inputs.items()}
        for role, inputs in choices.items()
    }
    arrays = {}
    if earlier is None:
        arrays = {key: array for key, array in usual.arrays().items() if key not in (*choices, "original")}
    for stem, loaded in content.semantics.items():
        facts["semantics"][stem]["scaled_from_original"] = loaded.original is not None
        if loaded.original is not None and earlier is None:
            arrays[f"original-{stem}"] = loaded.original
    for role, inputs in choices.items():
        held = () if earlier is None else getattr(earlier, role)
        arrays |= {f"{role}-{stem}": loaded.array for stem, loaded in inputs.items() if stem not in held}
    added = Added(
        name=usual.name,
        class_names=usual.class_names,
        fingerprints=fingerprints,
        counts=Counts.of(usual),
        split=usual.split,
        folds=len(usual.folds),
        first_class=usual.first_class,
        facts=content.facts,
        **facts,
    )
    write_added(added, arrays)
    return added
