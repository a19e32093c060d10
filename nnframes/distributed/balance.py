"""Which rows of which provisional shard make each shard: from the counts alone, the same on driver and workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Piece", "balance", "ranges"]


class Piece(NamedTuple):
    """Rows low..high-1 of the provisional shard `source`."""

    source: int
    low: int
    high: int


def balance(counts: Sequence[int]) -> list[list[Piece]]:
    """Return the pieces of every shard, so that shard s of S holds ceil((n - s) / S) of the n rows.

    A provisional shard keeps its first rows; what is too much, the last ones in hash order, goes to the short shards,
    lowest source first, lowest destination first.

    >>> balance([4, 1, 1])
    [[Piece(source=0, low=0, high=2)], [Piece(source=1, low=0, high=1), Piece(source=0, low=2, high=3)], ...]
    """
    shards, rows = len(counts), sum(counts)
    wanted = [len(range(shard, rows, shards)) for shard in range(shards)]
    surplus = [Piece(s, wanted[s], count) for s, count in enumerate(counts) if count > wanted[s]]
    result = []
    for shard, count in enumerate(counts):
        kept = min(count, wanted[shard])
        pieces = [Piece(shard, 0, kept)] if kept else []
        missing = wanted[shard] - kept
        while missing:
            source, low, high = surplus[0]
            taken = min(missing, high - low)
            pieces.append(Piece(source, low, low + taken))
            missing -= taken
            surplus[:1] = [Piece(source, low + taken, high)] if low + taken < high else []
        result.append(pieces)
    return result


def ranges(shards: int, tasks: int) -> list[range]:
    """Return the contiguous shards of each of `tasks` ranks; they differ by at most one shard.

    >>> ranges(5, 2)
    [range(0, 2), range(2, 5)]
    """
    return [range(shards * rank // tasks, shards * (rank + 1) // tasks) for rank in range(tasks)]
