"""Word vectors from a file: GloVe text, word2vec text and binary, fastText text (``.vec``) and binary (``.bin``)."""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from zslbench.arrays import Array
from zslbench.data.own.class_texts import ClassVectors, Texts, average_texts
from zslbench.data.parsers import refuse_broken
from zslbench.errors import BadData, DataMissing
from zslbench.identity import expand_home, file_sha256
from zslbench.visible import list_names

_FASTTEXT = struct.pack("<i", 793712314)
_FASTTEXT_VERSION = 12
_PACKED = (b"\x1f\x8b", b"PK\x03\x04", b"BZh", b"\xfd7zXZ")
_NUMBER, _FIRST_LINE = 40, 1_000_000
"""Bytes of a number in a text file, and of its first line, at most."""


class WordVectors(NamedTuple):
    """(d,) float32 vectors: of words that a file lists, and of others, which fastText makes of their parts."""

    listed: dict[str, Array]
    made: dict[str, Array]


def encode_by_words(texts: Texts, given: str) -> ClassVectors:
    """Return the mean of the vectors of the words of each text, averaged over the texts of a class.

    A word is looked up as it is, then in small letters, then by its parts (``black-footed``). Words that the file lacks
    are left out.

    Raises:
        DataMissing: there is no such file.
        BadData: it cannot be read, or lacks all words of a class.
    """
    path = expand_home(given)
    if not path.is_file():
        raise DataMissing(f"{given!r} is not a file; write --encoder words:FILE, the file of word vectors.")
    words = {text: _split_words(text) for of_class in texts.values() for text in of_class}
    vectors = read_word_vectors(path, {spelling for of in words.values() for word in of for spelling in _spell(word)})
    rows, counts, partly, wholly = [], [], [], []
    for name, of_class in texts.items():
        found = {word: _look_up(word, vectors) for text in of_class for word in words[text]}
        means = [
            np.mean([vector for word in words[text] for vector in found[word]], axis=0, dtype=np.float64)
            for text in of_class
            if any(found[word] for word in words[text])
        ]
        lacking = [word for word, held in found.items() if not held]
        if not means:
            wholly.append(f"{name!r}")
        elif lacking:
            partly.append(f"{name!r} ({list_names(lacking, 3)})")
        rows += means
        counts.append(len(means))
    if wholly:
        raise BadData(
            f"{path} lacks every word of {list_names(wholly, 5)}; are they in the language of the vectors? Give other "
            "words with --texts."
        )
    remarks = [f"words that {path.name} lacks are left out: {list_names(partly, 5)}"] if partly else []
    facts = {"source": str(path.absolute()), "weights": f"sha256 {file_sha256(path)}"}
    return ClassVectors(average_texts(np.array(rows), counts), facts, remarks)


def _split_words(text: str) -> list[str]:
    return [word for part in text.split() if (word := re.sub(r"^\W+|\W+$", "", part))]


def _spell(word: str) -> list[str]:
    """Return how a word or its parts may be listed."""
    return [spelling for form in (word, *_split_parts(word)) for spelling in (form, form.lower())]


def _split_parts(word: str) -> list[str]:
    return [part for part in re.split(r"[\W_]+", word) if part]


def _look_up(word: str, vectors: WordVectors) -> list[Array]:
    """Return the vector of a word, or those of its parts, or none."""
    for forms in ([word], _split_parts(word)):
        held = [vectors.listed.get(form, vectors.listed.get(form.lower())) for form in forms]
        if known := [vector for vector in held if vector is not None]:
            return known
    return [vectors.made[word]] if word in vectors.made else []


def read_word_vectors(path: Path, words: Collection[str]) -> WordVectors:
    """Return the vectors of those of some words that a file has; the format is recognised by the content.

    Formats: a line ``word number number …`` per word, after a first line ``words dimensions`` or without (GloVe,
    word2vec and fastText text); after such a line per word its bytes, a space and float32 (word2vec binary); a model of
    fastText (binary, version 12, not quantised), whose vector of a word is the mean of those of the word and of its
    n-grams (Bojanowski et al., TACL 2017), which it also has for words that it does not list.

    Raises:
        BadData: it is none of these, or is damaged.
    """
    advice = "; get the file again"
    with refuse_broken(path, "cannot be read as word vectors", advice), path.open("rb") as file:
        if path.stat().st_size == 0:
            raise ValueError("it is empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if data[:8].startswith(_PACKED):
                raise BadData(f"{path} is packed; unpack it, and name the file of word vectors that is in it.")
            wanted = {word.encode(): word for word in words}
            if data[:4] == _FASTTEXT:
                vectors = _read_fasttext(data, wanted)
            else:
                # a word that is listed twice is the first one
                vectors = WordVectors(dict(reversed([*_read_list(data, wanted)])), {})
    for word, vector in (vectors.listed | vectors.made).items():
        if not np.isfinite(vector).all():
            raise BadData(f"{path}: the vector of {word!r} holds NaN or infinity{advice}.")
    return vectors


def _read_list(data: mmap.mmap, wanted: dict[bytes, str]) -> Iterator[tuple[str, Array]]:
    """Yield the wanted words and their vectors from a list of words, text or binary."""
    head = data[: data.find(b"\n", 0, _FIRST_LINE) + 1]
    fields = head.split()
    if len(fields) == 2 and all(field.isdigit() for field in fields):
        count, length = map(int, fields)
        start = len(head)
        line = data[start : start + _NUMBER * (length + 100)].partition(b"\n")[0]
        read = _read_text if _is_text(line, length) else _read_binary
        yield from read(data, start, count, length, wanted)
    elif _is_text(head, len(fields) - 1):
        yield from _read_text(data, 0, None, len(fields) - 1, wanted)
    else:
        raise ValueError("its first line is neither `words dimensions` nor a word and its numbers")


def _is_text(line: bytes, length: int) -> bool:
    try:
        return length > 0 and len([float(number) for number in line.split()[-length:]]) == length
    except ValueError:
        return False


def _read_text(
    data: mmap.mmap, start: int, count: int | None, length: int, wanted: dict[bytes, str]
) -> Iterator[tuple[str, Array]]:
    data.seek(start)
    lines = 0
    for line in iter(data.readline, b""):
        lines += 1
        word = line[: line.find(b" ")]
        if word not in wanted:
            continue
        fields = line.rstrip().split(b" ")
        if len(fields) - 1 > length:  # a token of GloVe that contains spaces
            continue
        if len(fields) - 1 < length:
            raise ValueError(f"{wanted[word]!r} has {len(fields) - 1} numbers, others {length}")
        yield wanted[word], np.array(fields[1:], dtype=np.float32)
    if count is not None and lines < count:
        raise ValueError(f"it lists {lines:,} words of the {count:,} that its first line says")


def _read_binary(
    data: mmap.mmap, start: int, count: int, length: int, wanted: dict[bytes, str]
) -> Iterator[tuple[str, Array]]:
    at = start
    for number in range(count):
        space = data.find(b" ", at)
        end = space + 1 + 4 * length
        if space < 0 or end > len(data):
            raise ValueError(f"it ends in word {number + 1:,} of {count:,}")
        word = data[at:space].lstrip(b"\n")  # some writers end a vector with a line feed
        if word in wanted:
            yield wanted[word], np.frombuffer(data[space + 1 : end], dtype="<f4").astype(np.float32)
        at = end


def _read_fasttext(data: mmap.mmap, wanted: dict[bytes, str]) -> WordVectors:
    """Read a model of fastText: its arguments, its words, and the rows of its matrix that the wanted words need."""
    version, length, _, _, _, _, _, _, _, buckets, shortest, longest, _ = struct.unpack_from("<13i", data, 4)
    if version != _FASTTEXT_VERSION:
        raise ValueError(f"it is of version {version} of fastText's format, not {_FASTTEXT_VERSION}")
    at = 4 + 13 * 4 + 8
    size, words, _, _, pruned = struct.unpack_from("<iiiqq", data, at)
    at += struct.calcsize("<iiiqq")
    rows = {}
    for row in range(size):
        end = data.find(b"\0", at)
        if end < 0:
            raise ValueError("it ends in its list of words")
        if data[at:end] in wanted and row < words:
            rows[data[at:end]] = row
        at = end + 1 + 8 + 1  # the zero, how often the word occurred, and whether it is a label
    if pruned >= 0 or data[at] != 0:
        raise ValueError("it is quantised, which zslbench cannot read")
    count, width = struct.unpack_from("<qq", data, at + 1)
    at += 1 + 16
    if width != length or buckets < 0 or count < words + buckets or at + 4 * count * width > len(data):
        raise ValueError(f"its matrix of {count:,} × {width:,} numbers does not fit")
    vectors = WordVectors({}, {})
    for raw, word in wanted.items():
        parts = [words + _hash(gram) % buckets for gram in _split_grams(word, shortest, longest)] if buckets else []
        needed = [rows[raw], *parts] if raw in rows else parts
        if needed:
            starts = [at + 4 * width * row for row in needed]
            matrix = [np.frombuffer(data[start : start + 4 * width], dtype="<f4") for start in starts]
            vector = np.stack(matrix).mean(axis=0, dtype=np.float64).astype(np.float32)
            (vectors.listed if raw in rows else vectors.made)[word] = vector
    return vectors


def _split_grams(word: str, shortest: int, longest: int) -> list[bytes]:
    """Return the n-grams of a word between ``<`` and ``>``, except these marks alone."""
    marked = f"<{word}>"
    return [
        marked[start : start + length].encode()
        for start in range(len(marked))
        for length in range(max(shortest, 1), min(longest, len(marked) - start) + 1)
        if not (length == 1 and start in (0, len(marked) - 1))
    ]


def _hash(gram: bytes) -> int:
    """Return FNV-1a in 32 bits as fastText computes it: with bytes as signed numbers."""
    value = 2166136261
    for byte in gram:
        value = ((value ^ (byte | 0xFFFFFF00 if byte > 127 else byte)) * 16777619) & 0xFFFFFFFF
    return value
