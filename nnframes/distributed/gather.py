"""A mini-batch put together from several owners of rows: the pieces of a shard, the slices of a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

__all__ = ["Places", "placed", "shares", "within"]

Places = np.ndarray | slice
"""Places in a mini-batch."""


def shares(owners: np.ndarray, first: int = -1) -> Iterator[tuple[int, Places]]:
    """Yield each owner of places in a mini-batch with its places, to be `placed` in this order.

    The owner of most places (`first`, if it has any) comes first and with all places, of which those of the others do
    not stay: so most samples are copied once, not twice.

    >>> [(owner, places) for owner, places in shares(np.array([7, 3, 7]))]
    [(7, slice(None, None, None)), (3, array([1]))]
    """
    counts = np.bincount(owners)
    main = first if 0 <= first < len(counts) and counts[first] else int(counts.argmax())
    yield main, slice(None)
    for owner in counts.nonzero()[0]:
        if owner != main:
            yield int(owner), (owners == owner).nonzero()[0]


def within(rows: np.ndarray, low: int, high: int) -> np.ndarray:
    """Return the rows, those outside of low..high-1 moved to its ends."""
    return np.minimum(np.maximum(rows, low), high - 1)


def placed(whole: Any, places: Places, values: Any) -> Any:
    """Put `values` at `places` of an array, or of a list where they do not have one shape and dtype."""
    if isinstance(places, slice):
        return values
    arrays = isinstance(whole, np.ndarray) and isinstance(values, np.ndarray)
    if arrays and (whole.shape[1:], whole.dtype) == (values.shape[1:], values.dtype):
        whole[places] = values
        return whole
    whole = list(whole)
    for place, value in zip(places, values, strict=True):
        whole[place] = value
    return whole
