"""One seed, many independent streams: each purpose draws from its own, so adding one shifts no other."""

from __future__ import annotations

import hashlib

import numpy as np


def _sequence(seed: int, purpose: str) -> np.random.SeedSequence:
    key = int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:8], "little")
    return np.random.SeedSequence(entropy=seed, spawn_key=(key,))


def stream(seed: int, purpose: str) -> np.random.Generator:
    """Return the NumPy generator of `purpose` under `seed`.

    >>> float(stream(0, "init").random()) == float(stream(0, "init").random())
    True
    >>> float(stream(0, "init").random()) == float(stream(0, "noise").random())
    False
    """
    return np.random.default_rng(_sequence(seed, purpose))


def stream_seed(seed: int, purpose: str) -> int:
    """Return a 63-bit integer seed of `purpose` under `seed`, for libraries that keep their own generators."""
    return int(_sequence(seed, purpose).generate_state(1, np.uint64)[0] >> np.uint64(1))
