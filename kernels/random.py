"""Counter-based random streams: the same key of integers gives the same numbers on every machine.

The generator is numpy's Philox4x64-10 (two 64-bit key words, four 64-bit counter words). A stream is named by
``(seed, k0, k1, ...)``, and the name is written into the generator's words without hashing, so two different names
can never share a number sequence:

=============  ======================================================
word           content
=============  ======================================================
key[0]         seed modulo 2**64
key[1]         k0 + 2**32 * k1
counter[0]     0; counts the blocks drawn from this stream (2**64 of them)
counter[1]     k2 + 2**32 * k3
counter[2]     k4 + 2**32 * k5
counter[3]     k6 + 2**32 * (number of integers in the name)
=============  ======================================================

Only the raw 64-bit words are promised to stay equal from one numpy version to the next; `permutation` and
`uniform_mask` are therefore made from the raw words, while the distributions of `stream` follow the installed numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernels.errors import ArgumentError

__all__ = ["permutation", "signed", "stream", "uniform_mask"]

_MAX_KEY = 7
_WORD = 1 << 32
_QUARTER = 1 << 16
_BLOCK = 1 << 14
"""Words drawn at a time: they stay in the cache until they are looked at."""


def stream(seed: int, *key: int) -> np.random.Generator:
    """Return the random generator named by `seed` and `key`.

    `seed` is any integer (taken modulo 2**64), `key` holds at most seven integers in [0, 2**32). Raises
    `ArgumentError` for a key that cannot be packed.

    >>> float(stream(7, 1, 2).random()) == float(stream(7, 1, 2).random())
    True
    >>> float(stream(7, 1, 2).random()) == float(stream(7, 2, 1).random())
    False
    """
    return np.random.Generator(_philox(seed, key))


def signed(seed: int) -> int:
    """Return the 64 bits of a seed, of which streams take no more, as the signed number that SQL and int64 hold.

    >>> signed(7), signed(2**63)
    (7, -9223372036854775808)
    """
    return (seed + 2**63) % 2**64 - 2**63


def permutation(seed: int, *key: int, size: int) -> np.ndarray:
    """Return a random order of 0..size-1 as int64 (size,), the same under every numpy version.

    It sorts `size` raw 64-bit words of `stream(seed, *key)`; `ArgumentError` for a negative size.

    >>> sorted(permutation(3, 0, size=5).tolist())
    [0, 1, 2, 3, 4]
    """
    if size < 0:
        raise ArgumentError(f"permutation size must be >= 0. Received: {size}.")
    return np.argsort(_philox(seed, key).random_raw(size), kind="stable")


def uniform_mask(
    seed: int,
    key: Sequence[int],
    shape: Sequence[int],
    keep_prob: float,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Draw independent numbers that are 1 with probability `keep_prob`, else 0.

    Each number compares one 16-bit quarter of the stream's words (lowest first, C order) with the upper half of
    `keep_prob * 2**32`; the few that are equal compare a quarter of the words that follow with its lower half.
    Returns bool `shape`; with `out` (C-contiguous, any numeric dtype) writes the numbers there and returns it.
    Raises `ArgumentError` when `keep_prob` is outside [0, 1] or `out` does not fit.

    >>> uniform_mask(1, (0,), (2, 3), 1.0).all()
    np.True_
    """
    if not 0.0 <= keep_prob <= 1.0:
        raise ArgumentError(f"keep_prob must be in [0, 1]. Received: {keep_prob}.")
    shape = tuple(shape)
    if out is None:
        out = np.empty(shape, np.bool_)
    elif out.shape != shape or not out.flags.c_contiguous:
        raise ArgumentError(f"uniform_mask out must be C-contiguous of shape {shape}. Received: {out.shape}.")
    threshold = round(keep_prob * _WORD)
    if threshold == _WORD:
        out[...] = 1
        return out
    upper, lower = divmod(threshold, _QUARTER)
    words, flat = _philox(seed, key), out.reshape(-1)
    equal = []
    for first in range(0, flat.size, 4 * _BLOCK):
        part = flat[first : first + 4 * _BLOCK]
        quarters = _quarters(words, part.size)
        np.less(quarters, np.uint16(upper), out=part)
        if lower:
            equal.append(first + np.flatnonzero(quarters == upper))
    undecided = np.concatenate(equal) if equal else ()
    if len(undecided):
        flat[undecided] = _quarters(words, len(undecided)) < lower
    return out


def _quarters(words: np.random.Philox, count: int) -> np.ndarray:
    """The next 16-bit numbers; the little-endian view fixes their order on any processor."""
    raw = words.random_raw(-(-count // 4))
    return raw.astype("<u8", copy=False).view("<u2")[:count]


class _Words(np.random.SeedSequence):
    """Hands the key's words to Philox, which else asks the system for entropy: two thirds of the time it took."""

    def __init__(self, words: np.ndarray) -> None:
        self.words = words

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> np.ndarray:
        return self.words


def _philox(seed: int, key: Sequence[int]) -> np.random.Philox:
    if len(key) > _MAX_KEY or any(not 0 <= k < _WORD for k in key):
        raise ArgumentError(
            f"A random stream's key must be at most {_MAX_KEY} integers in [0, 2**32). Received: {tuple(key)}."
        )
    k = [int(word) for word in key] + [0] * (_MAX_KEY - len(key))
    words = (int(seed) % (1 << 64), k[0] | k[1] << 32)
    counter = (0, k[2] | k[3] << 32, k[4] | k[5] << 32, k[6] | len(key) << 32)
    return np.random.Philox(_Words(np.array(words, np.uint64)), counter=np.array(counter, np.uint64))
