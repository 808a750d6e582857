"""`card` (``zslbench data card``): one page on a data set, measured in its arrays."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import zslbench
from zslbench.arrays import AnyArray, Array, IntArray
from zslbench.data import added, xlsa17
from zslbench.data.catalogue import Catalogued, named_folders
from zslbench.data.dataset import PARTS, Counts, Dataset, numbered_names
from zslbench.data.duplicates import NEAR, Duplicates, find_duplicates
from zslbench.data.imagenet import find_in_imagenet
from zslbench.data.loading import folder_of, load_dataset, load_source
from zslbench.data.similarity import SYNONYMS, centre_semantics, find_nearest
from zslbench.errors import BadValue
from zslbench.files import json_text
from zslbench.identity import expand_home, file_sha256
from zslbench.results.plots.data_set import draw_class_sizes, draw_similarity
from zslbench.results.plots.frame import DrawnFigure, settings, svg_text
from zslbench.results.report.card_page import CardPage, Section, card_html
from zslbench.results.report.figures import NARROW, WIDE, Figure, inline
from zslbench.results.tables.captions import describe_split
from zslbench.results.tables.render import render
from zslbench.results.tables.result import VerbResult
from zslbench.results.tables.table import Block, Cell, Column, Table, TableRow, remarks, text_table
from zslbench.visible import format_count, list_names, one_line, shorten, title_data

_BINS = 8
_MOST_DRAWN = 1_000
"""Classes that figures are drawn of."""
_MOST_ALIKE, _LONGEST_NAME = 10, 40
_CENTRED = "Cosines are those of the semantics after the mean of all classes was subtracted."


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class DataCard(VerbResult):
    """What a data set holds, and what numbers on it rest on; ``.save`` writes .html, .md, .txt, .json and others.

    Attributes:
        dataset: the data set; title: its name as it is printed.
        sizes: (c, 3) images of each class in trainval, test_seen and test_unseen.
        nearest, cosines: (u,) the seen class nearest to each unseen one, and their cosines (see
            `zslbench.data.similarity`).
        imagenet: the class of ImageNet that a class is, or is a kind of, by class id; None: classes have no names.
        duplicates: images that are there twice.
        sources: what it was made from, by role.
    """

    noun: ClassVar[str] = "data card"

    dataset: Dataset
    title: str
    sizes: IntArray
    nearest: IntArray
    cosines: Array
    imagenet: Mapping[int, str] | None
    duplicates: Duplicates
    sources: Mapping[str, str]

    def __repr__(self) -> str:
        return f"<DataCard of {self.dataset.name}; print it, or use .to_frame() for its classes, .save('card.html')>"

    @property
    def text(self) -> str:
        """What the command line prints."""
        return render(self.lay_out("terminal", 100), "terminal")

    def write(self, format: str, *args: Any, **options: Any) -> str:
        """Return the card in a format: terminal, markdown, html (a whole page), json, csv or latex."""
        return card_html(self._make_page()) if format == "html" else super().write(format, *args, **options)

    def _repr_html_(self) -> str:
        return super().write("html")

    def lay_out(self, format: str, room: int) -> list[Table]:
        """Return the tables of all sections."""
        about = text_table(self.title, ("property", "value"), [*self._describe().items()], words=[1])
        return [about, *(table for section in self._make_sections() for table in section.tables)]

    def list_facts(self) -> list[dict[str, Any]]:
        """Return a row per class."""
        names, place = self.dataset.class_names, {id_: at for at, id_ in enumerate(self.dataset.unseen.tolist())}
        rows = []
        for number, name in enumerate(names):
            at = place.get(number)
            facts: dict[str, Any] = {"class": name, "side": self._sides[number]}
            facts |= dict(zip(PARTS, self.sizes[number].tolist(), strict=True))
            facts["nearest_seen"] = None if at is None else names[self.nearest[at]]
            facts["cosine"] = None if at is None else float(self.cosines[at])
            rows.append(facts | {"imagenet": (self.imagenet or {}).get(number)})
        return rows

    def write_json(self) -> str:
        """Return the text of json: one object with all parts."""
        copies = dataclasses.asdict(self.duplicates)
        copies |= {name: copies[name].tolist() for name in ("images", "exact", "near")}
        return json_text(
            {
                "dataset": self.dataset.name,
                **self._describe(),
                "counts": dataclasses.asdict(Counts.of(self.dataset)),
                "duplicates": copies,
                "sources": dict(self.sources),
                "classes": self.list_facts(),
            }
        )

    @functools.cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(map(one_line, self.dataset.class_names))

    @functools.cached_property
    def _sides(self) -> AnyArray:
        sides = np.full(len(self.sizes), "in no part", dtype=object)
        sides[self.dataset.seen], sides[self.dataset.unseen] = "seen", "unseen"
        return sides

    @functools.cached_property
    def _cosines(self) -> Array:
        """(c, c) cosines of the semantics of classes; see `zslbench.data.similarity`."""
        rows = centre_semantics(self.dataset.semantics)
        cosines: Array = rows @ rows.T
        return cosines

    def _describe(self) -> dict[str, str]:
        data, counts = self.dataset, Counts.of(self.dataset)
        sides = dict.fromkeys(f"{len(fold.train)} + {len(fold.val)}" for fold in data.folds)
        folds = f"{len(data.folds)}, of {', '.join(sides)} classes" if sides else "none; the dev stage draws three"
        return {
            "images": f"{counts.images:,}",
            "features": f"{data.features_name}, {data.features.shape[1]:,} numbers per image",
            "semantics": f"{data.semantics_name}, {counts.attributes:,} numbers per class",
            "classes": f"{counts.seen} seen, {counts.unseen} unseen",
            "trainval": f"{counts.trainval:,} images",
            "test": f"{counts.test_seen:,} images of seen classes, {counts.test_unseen:,} of unseen ones",
            "folds": folds,
            "split": describe_split(data.origin, data.split),
            "fingerprint": data.fingerprint,
        }

    def _make_sections(self) -> list[Section]:
        return [
            Section("classes", "Images per class", (self._tabulate_sizes(),)),
            Section("similarity", "Similarity of classes", (self._tabulate_alike(), self._tabulate_nearest())),
            Section("imagenet", "Classes of ImageNet", (self._tabulate_imagenet(),)),
            Section("duplicates", "Duplicates", (self._tabulate_duplicates(),)),
            Section("sources", "Sources", (self._tabulate_sources(),)),
        ]

    def _tabulate_sizes(self) -> Table:
        """Return how many classes have how many images."""
        total = self.sizes.sum(axis=1)
        edges = np.unique(np.linspace(total.min(), total.max() + 1, _BINS + 1).astype(int))
        rows = []
        for low, high in itertools.pairwise(edges.tolist()):
            within = (total >= low) & (total < high)
            span = f"{low}" if high - low == 1 else f"{low}–{high - 1}"
            rows.append((span, *(f"{np.count_nonzero(self._sides[within] == side)}" for side in ("seen", "unseen"))))
        text = (
            f"{total.min():,} to {total.max():,} images per class, median {np.median(total):g}; "
            f"{np.median(self.sizes[self.dataset.seen, 0]):g} of a seen class are for training."
        )
        heads = ("images", "seen classes", "unseen classes")
        return text_table("Images per class", heads, rows, remarks=tuple(remarks("note", [text])))

    def _tabulate_alike(self) -> Table:
        """Return the classes that are most like each other."""
        names, sides = self._names, self._sides
        cosines = np.triu(self._cosines - 2, 1)  # all below 0 but what is left out
        top = np.argsort(cosines, axis=None, kind="stable")[::-1]
        top = top[cosines.ravel()[top] < 0][:_MOST_ALIKE]
        pairs = [divmod(int(at), len(names)) for at in top]
        rows = [(names[a], names[b], f"{self._cosines[a, b]:.2f}", f"{sides[a]}, {sides[b]}") for a, b in pairs]
        title, heads = "Classes most like each other", ("class", "and", "cosine", "sides")
        return text_table(title, heads, rows, words=[1, 3], remarks=tuple(remarks("note", [_CENTRED])))

    def _tabulate_nearest(self) -> Table:
        """Return the nearest seen class of each unseen one, the nearest first."""
        names, unseen = self._names, self.dataset.unseen
        above = int((self.cosines > SYNONYMS).sum())
        text = (
            f"{self.cosines.min():.2f} to {self.cosines.max():.2f}, median {np.median(self.cosines):.2f}; "
            f"{format_count(above, 'unseen class', 'has')} a seen one above {SYNONYMS:g}, as synonyms have."
        )
        order = np.argsort(-self.cosines, kind="stable")
        rows = [(names[unseen[at]], names[self.nearest[at]], f"{self.cosines[at]:.2f}") for at in order]
        heads = ("unseen class", "nearest seen class", "cosine")
        return text_table("Nearest seen classes", heads, rows, words=[1], remarks=tuple(remarks("note", [text])))

    def _tabulate_imagenet(self) -> Table:
        """Return the classes on which a backbone may have been trained."""
        title = "Classes of ImageNet"
        if self.imagenet is None:
            text = "The classes have no names, so they could not be compared with ImageNet's 1,000."
            return Table((), (), title=title, remarks=tuple(remarks("warning", [text])))
        ids = {s: [at for at in self.imagenet if self._sides[at] == s] for s in ("unseen", "seen", "in no part")}
        text = (
            f"By name, {len(ids['unseen'])} of {len(self.dataset.unseen)} unseen and {len(ids['seen'])} of "
            f"{len(self.dataset.seen)} seen classes are among ImageNet's 1,000, or a kind of one. To a backbone that "
            "was trained on ImageNet, such an unseen class is not new. A name may mean something else there."
        )
        rows = [(self._names[at], self.imagenet[at], side) for side, held in ids.items() for at in held]
        heads = ("class", "in ImageNet", "side")
        return text_table(title, heads, rows, words=[1, 2], remarks=tuple(remarks("note", [text])))

    def _tabulate_duplicates(self) -> Table:
        """Return how many images of each part have a copy in each part."""
        copies, names, parts = self.duplicates, self._names, [part.replace("_", " ") for part in PARTS]
        blocks = []
        for title, counts in (("equal features", copies.exact), (f"cosine above {copies.above:g}", copies.near)):
            rows = [
                TableRow(f"{part} ({images:,})", "", tuple(Cell(f"{number:,}") for number in of_part))
                for part, images, of_part in zip(parts, copies.images.tolist(), counts.tolist(), strict=True)
            ]
            blocks.append(Block(tuple(rows), title))
        labels = self.dataset.labels
        pairs = [
            f"{one} ({names[labels[one]]}) and {other} ({names[labels[other]]}), {cosine:.4f}"
            for one, other, cosine in copies.pairs
        ]
        sentences = [
            "Counted are images that have another one like them in a part. "
            f"{format_count(copies.other_class, 'image', 'is')} most like one of another class, with a cosine of "
            f"features above {copies.above:g}."
        ]
        if pairs:
            sentences.append(f"Test and training images most alike (row numbers from 0): {list_names(pairs, 5)}.")
        columns = tuple(Column(f"in {part}") for part in parts)
        return Table(columns, tuple(blocks), tuple(remarks("note", sentences)), name="images of", title="Duplicates")

    def _tabulate_sources(self) -> Table:
        rows = [(role, one_line(text)) for role, text in self.sources.items()]
        return text_table("Sources", ("input", "made from"), rows, words=[1])

    def _make_page(self) -> CardPage:
        counts, held = Counts.of(self.dataset), np.flatnonzero(self.sizes.any(axis=1))
        sections = {section.anchor: section for section in self._make_sections()}
        if len(held) <= _MOST_DRAWN:
            names = [shorten(self._names[at], _LONGEST_NAME) for at in held]
            cosines, unseen = self._cosines[np.ix_(held, held)], self.sizes[held, 2] > 0
            for anchor, draw in (
                ("classes", lambda width: draw_class_sizes(self.sizes[held], names, width)),
                ("similarity", lambda width: draw_similarity(cosines, unseen, names, width)),
            ):
                section = sections[anchor]
                sections[anchor] = dataclasses.replace(section, figures=(_draw(anchor, section.title, draw),))
        facts = {name: text for name, text in self._describe().items() if name not in ("images", "classes")}
        tiles = ((f"{counts.images:,}", "images"), (f"{counts.seen}", "seen"), (f"{counts.unseen}", "unseen classes"))
        return CardPage(one_line(self.title), zslbench.__version__, tiles, facts, tuple(sections.values()))


def _draw(kind: str, title: str, draw: Callable[[float], DrawnFigure]) -> Figure:
    with settings():
        wide, narrow = draw(WIDE), draw(NARROW)
    svg = inline(svg_text(wide), f"{kind}-w-"), inline(svg_text(narrow), f"{kind}-n-")
    return Figure(kind, title, *svg, wide.remarks)


def card(
    name: str,
    *,
    features: str | None = None,
    semantics: str | None = None,
    data_root: Path | str | None = None,
    near: float = NEAR,
    on_images: Callable[[int, int], None] = lambda done, total: None,
) -> DataCard:
    """Return one page on a data set: counts, similarity of classes, overlap with ImageNet, duplicates, sources.

    Every image is compared with every other one, which takes some minutes for 40,000 images.

    Args:
        name: of a data set, or the folder of one, as in `zslbench.run`.
        features, semantics, data_root: as in `zslbench.run`.
        near: the cosine of features above which two images count as nearly equal.
        on_images: called with the number of images that were compared, and of all.

    Raises:
        UnknownName, DataMissing, BadData: see `zslbench.data.load_dataset`.
        BadValue: a cosine that is not between 0 and 1.
    """
    if not 0 < near < 1:
        raise BadValue(f"--near {near:g} is not allowed; choose a cosine above 0 and below 1, such as {NEAR:g}.")
    root = None if data_root is None else Path(data_root)
    dataset = load_dataset(name, features=features, semantics=semantics, root=root)
    names = dataset.class_names
    sizes = np.stack([np.bincount(dataset.labels[getattr(dataset, part)], minlength=len(names)) for part in PARTS], 1)
    unnamed = names == numbered_names(dataset.first_class, len(names))
    return DataCard(
        dataset,
        title_data(dataset.name),
        sizes,
        *find_nearest(dataset.semantics, dataset.unseen, dataset.seen),
        None if unnamed else find_in_imagenet(names),
        find_duplicates(dataset, near, on_images),
        _list_sources(name, dataset, root),
    )


def _list_sources(text: str, dataset: Dataset, root: Path | None) -> dict[str, str]:
    """Return the files of a data set with their sha256, and what is known of how they were made."""
    if (found := added.find_added(text)) is not None:
        return found.describe_sources()
    if (folder := folder_of(text)) is None:
        source, _ = load_source(text)
        if not isinstance(source, Catalogued):
            return {"built in": "read from no file of the user's"}
        held = named_folders(source.card.folder, root)
        folder = next(place for place in held if xlsa17.features_file(place, dataset.features_name).is_file())
    stems = [dataset.semantics_name, *dataset.semantics_name.split("+")]  # several choices side by side
    of_features = xlsa17.features_file(expand_home(folder), dataset.features_name)
    paths = {f"features {dataset.features_name}": of_features}
    paths |= {f"semantics {stem}": xlsa17.semantics_file(expand_home(folder), stem) for stem in stems}
    sources = {role: f"{path}, sha256 {file_sha256(path)}" for role, path in paths.items() if path.is_file()}
    made = added.describe_making(xlsa17.read_about(of_features))
    return sources | ({f"{dataset.features_name} made of": made} if made else {})
