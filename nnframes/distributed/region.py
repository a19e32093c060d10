"""A stretch of a message that is summed by itself: reduce-scatter, then all-gather, of its slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np

from nnframes.optim import BLOCK
from nnframes.train.compression import Rounding
from nnframes.train.reduce import Node, combine

__all__ = ["Region"]

SMALL = 256 << 10
"""Bytes to send below which a second round costs more than the bytes that it saves."""


class Region:
    """Numbers `start` to `stop` of a message, in slices of whole blocks, one for each rank.

    `nodes` are the parts of the tree over shards that each rank sums. Small regions are `direct`: they go to everybody
    whole, one round instead of two.
    """

    def __init__(
        self, start: int, stop: int, nodes: Sequence[Sequence[Node]], rank: int, shards: int, rounding: Rounding
    ) -> None:
        self.start, self.stop = start, stop
        self._nodes, self._rank, self._count = nodes, rank, shards
        self._rounding = rounding.behind(start)
        self._others = [other for other in range(len(nodes)) if other != rank]
        ranks, blocks = len(nodes), -(-(stop - start) // BLOCK)
        borders = [min(stop, start + blocks * each // ranks * BLOCK) for each in range(ranks)]
        self.slices = list(zip(borders, [*borders[1:], stop], strict=True))
        most = max(map(len, nodes))
        self.direct = 4 * (stop - start) * most * len(self._others) <= SMALL
        low, high = (start, stop) if self.direct else self.slices[rank]
        self._summed = slice(low, high)
        self._roundings = [rounding.behind(begin) for begin, _ in self.slices]
        self._own_rounding = self._rounding if self.direct else self._roundings[rank]
        self._parts = {node: np.empty(high - low, np.float32) for other in self._others for node in nodes[other]}
        self._rooms = {node: self._own_rounding.room(part) for node, part in self._parts.items()}

    def add_own(self, messages: Mapping[int, np.ndarray]) -> None:
        """Sum the own shards' messages as far as they go, in place of each part's first one."""
        parts = {shard: message[self.start : self.stop] for shard, message in messages.items()}
        self._rounding.partial_sums(parts, self._count)

    def scattered(self, dense: Mapping[Node, np.ndarray]) -> dict[int, list[np.ndarray]]:
        """Return what goes to each other rank of the own sums, whole messages, as it travels."""
        if self.direct:
            whole = list(chain.from_iterable(self._own_rounding.pack(part[self._summed]) for part in dense.values()))
            return dict.fromkeys(self._others, whole)
        return {other: self._slice_of(dense, other) for other in self._others}

    def rooms(self) -> dict[int, list[np.ndarray]]:
        """Return where the others' sums of the own slice arrive."""
        return {other: [each for node in self._nodes[other] for each in self._rooms[node]] for other in self._others}

    def add_others(self, dense: Mapping[Node, np.ndarray]) -> None:
        """Sum the own slice over the tree, in place in the first array: what was sent is free, nothing is copied."""
        for node, room in self._rooms.items():
            self._own_rounding.unpack(room, self._parts[node])
        own = {node: part[self._summed] for node, part in dense.items()}
        target = next(iter(own.values()))

        def add(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            return self._own_rounding.add(a, b, out=b if b is target else a)

        combine({**self._parts, **own}, self._count, add)

    def gathered(self, total: np.ndarray, start: int) -> tuple[list[np.ndarray], dict[int, Gathered]]:
        """Return what goes to all of the own slice of `total`, and where the others' go; only from `start` on."""
        assert start <= self.start or self._rounding.kind == "none", "roundings are made for whole slices"
        ends = [(max(low, start), max(high, start)) for low, high in self.slices]
        low, high = ends[self._rank]
        places = {other: Gathered(total[slice(*ends[other])], self._roundings[other]) for other in self._others}
        return list(self._own_rounding.pack(total[low:high])), places

    def _slice_of(self, dense: Mapping[Node, np.ndarray], rank: int) -> list[np.ndarray]:
        low, high = self.slices[rank]
        return [array for part in dense.values() for array in self._roundings[rank].pack(part[low:high])]


class Gathered:
    """Where another rank's slice of the sums goes."""

    def __init__(self, place: np.ndarray, rounding: Rounding) -> None:
        self._place, self._rounding, self.room = place, rounding, rounding.room(place)

    def take(self) -> None:
        """Put what came into the sums."""
        self._rounding.unpack(self.room, self._place)
