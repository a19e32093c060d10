"""The choice of the shortest way, by a clock that tells what an iteration takes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nnframes.distributed.ways import EARLY, SLICED, WHOLE, Ways

CHEAP, DEAR = 0.04, 0.30
"""Seconds of an exchange, of an iteration that takes one."""


def chosen(
    exchange: float,
    early: float,
    update: float,
    may_slice: bool = True,
    slower: Callable[[int], float] = lambda iteration: 50.0 * (iteration == 0),
) -> Ways:
    """Return what is found where iterations take a second, or `early`, and some are `slower`."""
    now, ways, following = [0.0], Ways(2, clock=lambda: now[0]), WHOLE

    def passes(seconds: float) -> float:
        now[0] += seconds
        return seconds

    for iteration in range(100):
        way, following = following, ways.way
        now[0] += slower(iteration) + (1 if way == WHOLE else early) - exchange - update
        ways.iterate(way, lambda: may_slice, lambda: passes(exchange), lambda _: passes(update))
        if ways.is_settled:
            return ways
    raise AssertionError("never settled")


@pytest.mark.parametrize(
    ("exchange", "early", "update", "expected"),
    [
        (CHEAP, 0.5, 0.05, WHOLE),  # not tried
        (CHEAP, 0.5, 0.12, SLICED),  # two ranks save half of the update
        (DEAR, 0.8, 0.12, EARLY),
        (DEAR, 0.995, 0.05, WHOLE),  # tried, and hardly shorter
        (DEAR, 1.1, 0.05, WHOLE),
        (DEAR, 0.99, 0.12, SLICED),
    ],
)
def test_the_shortest_way_is_taken(exchange: float, early: float, update: float, expected: int) -> None:
    assert chosen(exchange, early, update).way == expected


@pytest.mark.parametrize(("early", "otherwise"), [(0.97, EARLY), (1.1, WHOLE)])
def test_what_is_second_is_known_too(early: float, otherwise: int) -> None:
    """Copies of the state may end, and slices with them."""
    found = chosen(DEAR, early, 0.3)
    assert (found.way, found.otherwise) == (SLICED, otherwise)
    assert chosen(DEAR, early, 0.3, may_slice=False).way == otherwise


@pytest.mark.parametrize("early", [0.9, 1.1])
@pytest.mark.parametrize("slow", [3, 6, 9])
def test_a_slow_start_does_not_decide(early: float, slow: int) -> None:
    """Files are read for the first time, other ranks still compile: the first iterations take half as long again."""
    found = chosen(DEAR, early, 0.05, slower=lambda iteration: 0.5 * (iteration < slow))
    assert found.way == (EARLY if early < 1 else WHOLE)


def test_other_ranks_have_nothing_to_choose() -> None:
    ways = Ways(3, rank=1)
    assert ways.iterate(WHOLE, lambda: True, lambda: 2.0, lambda sums: sums / 4) == 0.5
    assert (ways.way, ways.is_settled) == (WHOLE, True)
