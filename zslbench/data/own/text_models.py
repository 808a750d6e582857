"""Networks that turn texts into vectors: sentence-transformers and the text towers of open_clip."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zslbench.arrays import Array, BoolArray
from zslbench.data.own.backbones import (
    OnBatch,
    create_clip,
    fill_weights,
    hash_weights,
    import_library,
    move_network,
    name_library,
    weights_needed,
)
from zslbench.data.own.class_texts import ClassVectors, Texts, average_texts
from zslbench.errors import BadData, DataMissing, first_line
from zslbench.identity import expand_home
from zslbench.visible import format_count, list_names

BATCH = 64
_LENGTHENED = 8
"""So many times the limit is what a tokenizer may return when it shows what a text loses by the limit."""


@dataclasses.dataclass(frozen=True, eq=False)
class TextModel:
    """A network for texts.

    Attributes:
        facts: on its library and weights, to be kept.
        encode: from a list of n texts to (n, d) vectors.
        exceeds: from a list of n texts to (n,) truths: whether it reads a text's beginning only.
        knows: from a list of n texts to (n,) truths: whether most of the text is in its vocabulary.
    """

    name: str
    encode: Callable[[list[str]], Array]
    exceeds: Callable[[list[str]], BoolArray] = lambda texts: np.zeros(len(texts), dtype=np.bool_)
    knows: Callable[[list[str]], BoolArray] = lambda texts: np.ones(len(texts), dtype=np.bool_)
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def encode_by_model(texts: Texts, model: TextModel, on_batch: OnBatch) -> ClassVectors:
    """Return the vectors of the texts of each class, averaged.

    Raises:
        BadData: the model does not know the words of a class, or it returned something else than a row per text.
    """
    owners = [name for name, of_class in texts.items() for _ in of_class]
    flat = [text for of_class in texts.values() for text in of_class]
    blocks, cut, strange = [], [], []
    for start in range(0, len(flat), BATCH):
        batch = flat[start : start + BATCH]
        blocks.append(np.asarray(model.encode(batch)))
        if blocks[-1].ndim != 2 or len(blocks[-1]) != len(batch):
            raise BadData(
                f"{model.name} returned {blocks[-1].shape} for {len(batch)} texts; it must return a row each."
            )
        cut += [owners[start + row] for row in np.flatnonzero(model.exceeds(batch))]
        strange += [owners[start + row] for row in np.flatnonzero(~model.knows(batch))]
        on_batch(start + len(batch), len(flat))
    if strange:
        raise BadData(
            f"{model.name} does not know most words of {list_names(map(repr, dict.fromkeys(strange)), 3)}; are they in "
            "a language that it was trained on? Give other texts with --texts, or another model."
        )
    remarks = []
    if cut:
        texts_are = format_count(len(cut), "text", "is")
        remarks.append(f"{texts_are} longer than {model.name} reads, so the end is cut (first: of class {cut[0]!r})")
    return ClassVectors(
        average_texts(np.concatenate(blocks), [len(of_class) for of_class in texts.values()]), model.facts, remarks
    )


def load_sentence_model(name: str, device: str) -> TextModel:
    """Return a model of sentence-transformers: a folder, or a name of the Hugging Face hub or of its local cache.

    Raises:
        DataMissing: it is not on this machine and cannot be downloaded.
        BadData: the folder holds no model.
        BadValue: the device cannot be used. Unavailable: the package is missing or does not work.
    """
    shown, folder = f"sentence:{name}", expand_home(name)
    library = import_library("sentence_transformers", shown)
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # a bar
            network = library.SentenceTransformer(str(folder) if folder.is_dir() else name, device="cpu")
    except Exception as error:  # of several libraries, and of many kinds where a file is damaged
        if folder.is_dir():
            raise BadData(f"{folder} is not a model of sentence-transformers ({first_line(error)}).") from error
        raise DataMissing(
            f"{shown} is not on this machine and cannot be downloaded ({first_line(error)}); fetch its folder where "
            f"there is a network (`hf download {name} --local-dir model`), and write sentence:./model."
        ) from error
    move_network(network, device)
    facts = {"library": name_library("sentence-transformers"), "weights": f"sha256 {hash_weights(network)}"}

    def encode(texts: list[str]) -> Array:
        vectors: Array = network.encode(texts, batch_size=BATCH, convert_to_numpy=True, show_progress_bar=False)
        return vectors

    tokenizer, limit = network.tokenizer, network.max_seq_length
    if not callable(tokenizer):  # a model without a transformer: it has no limit
        return TextModel(shown, encode, facts=facts)

    def split(texts: list[str], marks: bool) -> list[list[int]]:
        cut = tokenizer(texts, truncation=False, verbose=False, add_special_tokens=marks)
        numbers: list[list[int]] = cut["input_ids"]
        return numbers

    def exceeds(texts: list[str]) -> BoolArray:
        return np.array([limit is not None and len(numbers) > limit for numbers in split(texts, True)], dtype=np.bool_)

    def knows(texts: list[str]) -> BoolArray:
        unknown = tokenizer.unk_token_id
        # A text without spaces, as in Thai, is one unknown word: the marks at both ends do not count.
        known = [2 * numbers.count(unknown) <= len(numbers) for numbers in split(texts, False)]
        return np.array(known, dtype=np.bool_)

    return TextModel(shown, encode, exceeds, knows, facts)


def load_clip(model: str, weights: Path | str | None, device: str) -> TextModel:
    """Return the text tower of a model of open_clip.

    Args:
        model: ``ARCH/PRETRAINED``, or ``ARCH`` with `weights`.
        weights: a file with the state of the network, instead of the weights that PRETRAINED names.

    Raises:
        UnknownName: open_clip has no such model or weights.
        DataMissing, BadData: the file does not exist, is damaged, or is of another network.
        BadValue: the device cannot be used. Unavailable: the package is missing, or the weights cannot be loaded.
    """
    import torch

    shown, file = f"clip:{model}", None if weights is None else expand_home(weights)
    library = import_library("open_clip", shown)
    network, _ = create_clip(library, model, file is None)
    sha256 = hash_weights(network) if file is None else fill_weights(network, file, shown)
    with weights_needed(shown, ""):
        tokenizer = library.get_tokenizer(model.partition("/")[0])
    place, limit = move_network(network, device), network.context_length

    def encode(texts: list[str]) -> Array:
        with torch.inference_mode():
            vectors: Array = network.encode_text(tokenizer(texts).to(place)).float().cpu().numpy()
        return vectors

    def exceeds(texts: list[str]) -> BoolArray:
        # A text is cut if a longer reading has another word where the usual one ends.
        longer = tokenizer(texts, context_length=_LENGTHENED * limit)[:, :limit]
        differs: BoolArray = (longer != tokenizer(texts)).any(dim=1).numpy()
        return differs

    facts = {"library": name_library("open_clip_torch"), "weights": f"sha256 {sha256}"}
    return TextModel(shown, encode, exceeds, facts=facts)
