"""Which way through an iteration is the shortest, found out by rank 0 in the first iterations of a group."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

__all__ = ["EARLY", "SLICED", "WHOLE", "Ways"]

T = TypeVar("T")
WHOLE, SLICED, EARLY = 0, 1, 2
"""Sums, then an update of all weights by everybody; an update of a slice by each; sums that begin while the gradients
are still computed."""


class Lap(NamedTuple):
    """Seconds of an iteration, and in it of the exchange and of the update."""

    whole: float
    exchanging: float
    updating: float


class Ways:
    """Tries the ways, and keeps the shortest; on other ranks than 0 there is nothing to try.

    The first exchanges tell whether an early one can be worth it: not one that takes less than `PART` of an iteration.
    Then both are tried in turn, in spells, because the first iterations of a training are often slower than others.
    `GAIN` of an iteration is noise. By slices is not tried but reckoned: a slice that is lost with its rank costs the
    iterations since the last copy of the state, so that way must save `PART`; and below `SIZE` bytes of weights its
    rounds cost more than they save, on two processes of one machine.
    """

    SIZE = 4 << 20
    PART = 0.05
    GAIN = 0.01
    ITERATIONS = 4
    """Of a spell, after one that prepares it."""

    def __init__(self, ranks: int, rank: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self.way, self.otherwise, self.is_settled = WHOLE, WHOLE, rank > 0
        self._saved, self._clock = 1 - 1 / ranks, clock
        self._laps: dict[int, list[Lap]] = {WHOLE: [], EARLY: []}
        self._spells: list[int] | None = None  # what follows, once that is known
        self._ended: float | None = None
        self._count = 0

    def iterate(
        self, way: int, may_slice: Callable[[], bool], exchange: Callable[[], T], update: Callable[[T], float]
    ) -> float:
        """Exchange and update in this way, and note what they take; returns what the update does."""
        if self.is_settled:
            return update(exchange())
        started = self._clock()
        sums = exchange()
        summed = self._clock()
        loss = update(sums)
        ended = self._clock()
        if way == self.way:  # else not yet
            self._note(ended, summed - started, ended - summed)
        if self._count == self.ITERATIONS:
            self._turn(may_slice)
        return loss

    def _note(self, ended: float, exchanging: float, updating: float) -> None:
        if self._ended is not None:
            self._laps[self.way].append(Lap(ended - self._ended, exchanging, updating))
            self._count += 1
        self._ended = ended

    def _turn(self, may_slice: Callable[[], bool]) -> None:
        """Begin the next spell, or choose when there is none."""
        if self._spells is None:
            lap, exchanging, _ = self._usual(WHOLE)
            self._spells = [EARLY, WHOLE, EARLY] if exchanging >= self.PART * lap else [WHOLE]
        self._count = 0
        if not self._spells:
            self._choose(may_slice())
        else:
            following = self._spells.pop(0)
            if following != self.way:
                self.way, self._ended = following, None

    def _choose(self, may_slice: bool) -> None:
        whole, _, updating = self._usual(WHOLE)
        early = self._usual(EARLY).whole if self._laps[EARLY] else math.inf
        self.way = self.otherwise = EARLY if early <= (1 - self.GAIN) * whole else WHOLE
        if may_slice and whole - self._saved * updating <= (1 - self.PART) * min(whole, early):
            self.way = SLICED
        self.is_settled = True

    def _usual(self, way: int) -> Lap:
        """Return the lower quartiles: half of the iterations may be among the slow ones of a start."""
        return Lap(*(sorted(each)[len(each) // 4] for each in zip(*self._laps[way], strict=True)))
