"""Random numbers that depend on what they are for, never on when or where they are drawn.

Every stream is keyed by the study's seed and by names (stage, model, fold, method, scan id), so order,
batch size, number of cores and the layout of machines change nothing.
"""

from __future__ import annotations

import hashlib

import numpy as np


def seed_sequence(seed: int, *keys: object) -> np.random.SeedSequence:
    """Return the seed sequence of one purpose.

    Parameters
    ----------
    seed : int
        Root seed of the study.
    *keys : object
        What the numbers are for; compared by their text, in order.
    """
    digest = hashlib.sha256("\x1f".join(str(key) for key in keys).encode()).digest()
    words = np.frombuffer(digest, dtype="<u4").tolist()
    return np.random.SeedSequence(entropy=int(seed), spawn_key=tuple(words))


def generator(seed: int, *keys: object) -> np.random.Generator:
    """Return a NumPy generator for one purpose (see `seed_sequence`)."""
    return np.random.Generator(np.random.PCG64(seed_sequence(seed, *keys)))


def integer_seed(seed: int, *keys: object) -> int:
    """Return a 63-bit integer for libraries that want one (PyTorch, scikit-learn after ``% 2**32``)."""
    high, low = seed_sequence(seed, *keys).generate_state(2, np.uint32).tolist()
    return ((high << 32) | low) & (2**63 - 1)
