"""`semantics`: turn names, prompts or descriptions of classes into semantics: the verb ``zslbench data semantics``.

Encoders: tf-idf of documents per class, word vectors from a file, and networks for texts (`text_models`).
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zslbench.arrays import AnyArray, Array
from zslbench.data.added import Added, check_stem, find_added
from zslbench.data.dataset import PARTS, Dataset, find_not_finite
from zslbench.data.loading import load_dataset
from zslbench.data.own.add import add
from zslbench.data.own.backbones import OnBatch
from zslbench.data.own.class_texts import ClassVectors, Texts, TextsGiven, make_prompts, read_texts, scale_rows
from zslbench.data.own.matrices import check_class_names, read_class_names
from zslbench.data.own.reading import InputArray, read_input, read_output, write_output
from zslbench.data.own.text_models import TextModel, encode_by_model, load_clip, load_sentence_model
from zslbench.data.own.word_vectors import encode_by_words
from zslbench.errors import BadData, BadValue, UnknownName, first_line
from zslbench.identity import digest, expand_home
from zslbench.visible import list_names

_EXAMPLES = {"tfidf": "100", "words": "FILE", "sentence": "MODEL", "clip": "ARCH/PRETRAINED"}
CLIP_TEMPLATE = "a photo of a {}."
_LISTS = (".npz", ".txt", ".csv")
_SAME = 1 - 1e-6
"""Cosine from which on two classes have the same vector: a network's last bits depend on the batch."""


@dataclasses.dataclass(frozen=True, eq=False)
class ClassSemantics:
    """Semantics made of texts.

    Attributes:
        semantics: (c, d) float32, row i describes class i and has unit length.
        facts: encoder, library, weights' sha256, where the texts are from, and their sha256.
        remarks: sentences on what was left out of the texts.
        stem: the name of the semantics.
        added: the data set that they were added to, or None.
    """

    semantics: Array
    class_names: tuple[str, ...]
    facts: dict[str, Any]
    remarks: tuple[str, ...]
    stem: str
    added: Added | None = None


def semantics(
    classes: str | Path | Sequence[str],
    *,
    encoder: str | TextModel,
    output: Path | str | None = None,
    texts: TextsGiven | None = None,
    templates: Sequence[str] = (),
    weights: Path | str | None = None,
    stem: str | None = None,
    device: str = "cpu",
    root: Path | None = None,
    on_batch: OnBatch = lambda done, total: None,
) -> ClassSemantics:
    """Make semantics of the names of classes or of texts on them, and write them to a file or add them to a data set.

    Every row has unit length. If a class has several texts, the vector of each is scaled to unit length before they are
    averaged, as CLIP does with prompts; tf-idf takes them as one document.

    Args:
        classes: a data set; a file of class names (``.npz`` with ``class_names``, or ``.txt``); or the names.
        encoder: ``tfidf`` or ``tfidf:COMPONENTS``, ``words:FILE``, ``sentence:MODEL``, ``clip:ARCH/PRETRAINED`` (or a
            `TextModel`).
        output: a ``.npz`` file to write: ``semantics``, ``class_names`` and ``about`` (JSON); or, if `classes` is a
            data set, a ``NAME_splits.mat``, as its folder in the xlsa17 format holds. None: the semantics are added to
            `classes`, which `zslbench.data.add` installed.
        texts: descriptions (see `read_texts`); None: the names of the classes.
        templates: prompts in which a name replaces ``{}``; ``clip`` has ``a photo of a {}.`` if none is given.
        weights: for ``clip``: a file of weights.
        stem: the name of semantics that are added; None: the encoder's (``clip``).
        device: of torch.
        root: where data sets are, as for `load_dataset`.

    Raises:
        BadValue, BadData, DataMissing, UnknownName: an input is missing, damaged or breaks a rule.
        Unavailable: a package is missing.
        StoreError: results cannot be written.
    """
    shown = encoder if isinstance(encoder, str) else encoder.name
    kind = shown.partition(":")[0]
    if isinstance(encoder, str) and kind not in _EXAMPLES:
        raise UnknownName("encoder", encoder, ["tfidf", *(f"{kind}:{name}" for kind, name in _EXAMPLES.items())])
    names, source = _find_classes(classes, root)
    stem = check_stem(stem or kind, "semantics", "--stem NAME")
    target = _choose_target(output, source, stem, str(classes))
    if weights is not None and kind != "clip":
        raise BadValue(f"--weights is for clip encoders, not for {shown}; leave it out.")
    if templates and (texts is not None or kind in ("tfidf", "words")):
        raise BadValue(
            "--template makes prompts of class names, for sentence and clip encoders; leave it out, or --texts."
        )
    templates = tuple(templates) or ((CLIP_TEMPLATE,) if kind == "clip" and texts is None else ())
    by_class = make_prompts(names, templates or ("{}",)) if texts is None else read_texts(texts, names)
    encoded = _encode(by_class, encoder, weights, device, on_batch)
    table = scale_rows(encoded.vectors).astype(np.float32)
    _check_vectors(table, names, shown, encoded.remarks)
    origin = "class names" if texts is None else "given in Python"
    facts: dict[str, Any] = {
        "encoder": shown,
        **encoded.facts,
        "texts": str(expand_home(texts).absolute()) if isinstance(texts, str | Path) else origin,
        **({"templates": list(templates)} if templates else {}),
        "texts_sha256": digest([[name, *by_class[name]] for name in names], 64),
    }
    added = None
    if isinstance(target, Added):
        array = InputArray(table, stem, {"source": "zslbench data semantics", "about": facts}, names)
        added = add(target.name, semantics={stem: array}, orientation="rows").added
    else:
        _write_semantics(target, table, names, facts, source)
    return ClassSemantics(table, names, facts, tuple(encoded.remarks), stem, added)


def _find_classes(
    classes: str | Path | Sequence[str], root: Path | None
) -> tuple[tuple[str, ...], Added | Dataset | None]:
    """Return class names, and the data set that they are of, if they are of one."""
    if not isinstance(classes, str | Path):
        return check_class_names(list(classes), "the list of classes"), None
    text = str(classes)
    if (added := find_added(text)) is not None:
        return added.class_names, added
    if text.lower().endswith(_LISTS):
        return read_class_names(read_input(text, "classes")), None
    dataset = load_dataset(text, root=root)
    return dataset.class_names, dataset


def _choose_target(output: Path | str | None, source: Added | Dataset | None, stem: str, classes: str) -> Path | Added:
    """Return the file to write, or the data set to add to; refuse both before anything is computed for them."""
    if output is not None:
        suffix = ".npz" if source is None else (".npz", "_splits.mat")
        read_output(path := expand_home(output))
        if not str(output).lower().endswith(suffix):
            raise BadValue(
                f"{str(output)!r} does not end in .npz; write -o FILE.npz, or for a data set -o NAME_splits.mat, which "
                "has its split, too."
            )
        return path
    if not isinstance(source, Added):
        raise BadValue(f"{classes!r} is no data set that `data add` installed; name a file to write, -o FILE.npz.")
    if stem in source.semantics:
        raise BadValue(f"data set {source.name!r} has semantics {stem!r} already; name others with --stem.")
    return source


def _write_semantics(
    path: Path, table: Array, names: tuple[str, ...], facts: dict[str, Any], source: Added | Dataset | None
) -> None:
    """Write semantics with class names and facts, and into a ``.mat`` the split of their data set, as xlsa17 has it."""
    if source is None or path.suffix.lower() == ".npz":
        arrays: dict[str, AnyArray] = {"semantics": table, "class_names": np.array(names)}
    else:
        dataset = source.load() if isinstance(source, Added) else source
        arrays = {f"{part}_loc": getattr(dataset, part)[:, None] + 1 for part in PARTS}
        arrays |= {"att": table.T, "allclasses_names": np.array(names, dtype=object)[:, None]}
    write_output(path, arrays, facts, "semantics")


def _encode(
    texts: Texts, encoder: str | TextModel, weights: Path | str | None, device: str, on_batch: OnBatch
) -> ClassVectors:
    if isinstance(encoder, TextModel):
        return encode_by_model(texts, encoder, on_batch)
    kind, colon, name = encoder.partition(":")
    if kind == "tfidf":
        return _encode_by_tfidf(texts, name if colon else None)
    if not name:
        raise BadValue(f"--encoder {encoder!r} names no model; write {kind}:{_EXAMPLES[kind]}.")
    if kind == "words":
        return encode_by_words(texts, name)
    model = load_clip(name, weights, device) if kind == "clip" else load_sentence_model(name, device)
    return encode_by_model(texts, model, on_batch)


def _encode_by_tfidf(texts: Texts, components: str | None) -> ClassVectors:
    """Return tf-idf of the texts of each class as one document, without English stop words, or its components."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(stop_words="english")
    try:
        matrix = vectorizer.fit_transform("\n".join(of_class) for of_class in texts.values())
    except ValueError as error:
        raise BadData(f"tfidf: the texts hold no words that count ({first_line(error)}); give longer ones.") from error
    shared = matrix[:, np.asarray((matrix > 0).sum(axis=0)).ravel() > 1]
    alone = [name for name, row in zip(texts, np.asarray(shared.sum(axis=1)).ravel(), strict=True) if not row]
    if alone:
        raise BadData(
            f"tfidf: the texts of {list_names(map(repr, alone), 3)} share no word with those of another class; are all "
            "in one language? Describe the classes at more length with --texts."
        )
    facts = {"library": f"scikit-learn {importlib.metadata.version('scikit-learn')}", "terms": matrix.shape[1]}
    if components is None:
        return ClassVectors(matrix.toarray(), facts)
    most = min(matrix.shape) - 1
    if not components.isdecimal() or not 0 < int(components) <= most:
        raise BadValue(f"tfidf:{components} is not allowed; write tfidf, or tfidf:N with N from 1 to {most}.")
    return ClassVectors(TruncatedSVD(int(components), algorithm="arpack", random_state=0).fit_transform(matrix), facts)


def _check_vectors(table: Array, names: Sequence[str], encoder: str, remarks: Sequence[str]) -> None:
    """Refuse vectors that are not numbers or all zeros, and classes that have the same one."""
    if (row := find_not_finite(table)) is not None:
        raise BadData(f"{encoder} returned NaN or infinity for class {names[row]!r}; use another model.")
    if (zero := np.flatnonzero(~table.any(axis=1))).size:
        raise BadData(
            f"{encoder} gives class {names[zero[0]]!r} a vector of zeros, which describes nothing; give it other texts "
            "with --texts."
        )
    for row in range(1, len(table)):
        likeness = table[:row] @ table[row]
        if likeness[first := int(np.argmax(likeness))] > _SAME:
            why = f" ({remarks[0]})" if remarks else ""
            raise BadData(
                f"{encoder} gives classes {names[first]!r} and {names[row]!r} the same vector{why}; give them "
                "different texts with --texts."
            )
