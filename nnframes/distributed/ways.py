"""Which way through an iteration is the shortest, found out by rank 0 in the first iterations of a group."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["EARLY", "SLICED", "WHOLE", "Ways"]

T = TypeVar("T")
WHOLE, SLICED, EARLY = 0, 1, 2
"""Sums, then an update of all weights by everybody; an update of a slice by each; sums that begin while the gradients
are still computed."""


class Ways:
    """Tries the ways, and keeps the shortest.

    Of small messages the rounds cost more than they save, on two processes of one machine: there is no question below
    `SIZE` bytes. A slice that is lost with its rank costs the iterations since the last copy of the state, so that way
    must save `PART` of an iteration. Exchanges that take less than that need not be early.
    """

    SIZE = 4 << 20
    PART = 0.05
    ITERATIONS = 8

    def __init__(self, ranks: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.way, self.otherwise, self.is_settled = WHOLE, WHOLE, False
        self._saved, self._clock = 1 - 1 / ranks, clock
        self._laps: list[tuple[float, float, float]] = []
        self._whole = (0.0, 0.0)
        self._ended: float | None = None

    def iterate(self, way: int, may_slice: bool, exchange: Callable[[], T], update: Callable[[T], float]) -> float:
        """Exchange and update in this way, and note what they take; returns what the update does."""
        if self.is_settled:
            return update(exchange())
        started = self._clock()
        sums = exchange()
        summed = self._clock()
        loss = update(sums)
        ended = self._clock()
        if way != self.way:  # not yet
            self._ended = None
        elif self._ended is None:  # before the first one all is prepared
            self._ended = ended
        else:
            self._laps.append((ended - self._ended, summed - started, ended - summed))
            self._ended = ended
        if len(self._laps) >= self.ITERATIONS:
            self._choose(may_slice)
        return loss

    def _choose(self, may_slice: bool) -> None:
        lap, exchanging, updating = (statistics.median(each) for each in zip(*self._laps, strict=True))
        self._laps.clear()
        early = lap
        if self.way == WHOLE:
            self._whole, early = (lap, updating), math.inf
            if exchanging >= self.PART * lap:
                self.way = EARLY
                return
        whole, updating = self._whole
        sliced = whole - self._saved * updating
        self.way = self.otherwise = WHOLE if whole <= early else EARLY
        if may_slice and sliced <= (1 - self.PART) * min(whole, early):
            self.way = SLICED
        self.is_settled = True
