"""Seeded damage to files: what a bad disk, a cut transfer or a hostile hand does to bytes."""

from __future__ import annotations

import numpy as np

_EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF)


def mutated(raw: bytes, rng: np.random.Generator, other: bytes = b"") -> bytes:
    """Return `raw` damaged in a place or a few, half of the time within its first 256 bytes."""
    out = bytearray(raw)
    for _ in range(min(int(rng.geometric(0.6)), 8)):
        size = len(out)
        if size == 0:
            break
        at = int(rng.integers(min(size, 256) if rng.random() < 0.5 else size))
        span = int(rng.integers(1, 65))
        kind = int(rng.integers(9))
        if kind == 0:
            out[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            out[at : at + span] = rng.bytes(span)
        elif kind == 2:
            width = int(rng.choice([1, 2, 4, 8]))
            edge = int(rng.choice(np.array(_EDGES, dtype=np.uint64))) & (2 ** (8 * width) - 1)
            out[at : at + width] = edge.to_bytes(width, "little" if rng.random() < 0.7 else "big")
        elif kind == 3:
            del out[at:]
        elif kind == 4:
            del out[at : at + span]
        elif kind == 5:
            out[at:at] = out[at : at + span]
        elif kind == 6:
            out[at:at] = rng.bytes(span)
        elif kind == 7 and other:
            start = int(rng.integers(len(other)))
            out[at : at + span] = other[start : start + span]
        else:
            start = int(rng.integers(size))
            out[at : at + span], out[start : start + span] = out[start : start + span], out[at : at + span]
    return bytes(out)


def mutated_text(raw: bytes, rng: np.random.Generator) -> bytes:
    """Return a text damaged where its meaning is: numbers, marks and brackets swapped for awkward ones."""
    words = [b"NaN", b"-1", b"1e999", b"1" * 5000, b"null", b"true", b'"', b"[", b"{" * 2000, b"}", b",", b"\n", b"\0",
             b"\xff\xfe", b"0x10", b"\xe2\x80\xae", b"'", b";", b"\t", b"-0", b"[[" * 3000]  # fmt: skip
    out = bytearray(raw)
    for _ in range(min(int(rng.geometric(0.6)), 8)):
        at = int(rng.integers(len(out) + 1))
        out[at : at + int(rng.integers(0, 12))] = words[int(rng.integers(len(words)))]
    return bytes(out)
