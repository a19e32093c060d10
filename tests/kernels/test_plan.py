"""Placement of buffers: properties over random lifetimes."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.plan import ALIGNMENT, place


@dataclass
class Stretch:
    """What `place` asks of a buffer."""

    size: int
    first: int
    last: int
    offset: int = -1

    @property
    def rounded(self) -> int:
        return -(-self.size // ALIGNMENT) * ALIGNMENT


@st.composite
def stretches(draw: st.DrawFn) -> list[Stretch]:
    drawn = draw(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 12), st.integers(0, 6)), max_size=25))
    return [Stretch(size, first, first + length) for size, first, length in drawn]


@given(stretches())
def test_what_lives_together_does_not_overlap(buffers: list[Stretch]) -> None:
    arena = place(buffers)
    for number, a in enumerate(buffers):
        assert a.offset >= 0
        assert a.offset % ALIGNMENT == 0
        assert a.offset + a.size <= arena
        for b in buffers[:number]:
            together = a.first <= b.last and b.first <= a.last
            apart = a.offset + a.size <= b.offset or b.offset + b.size <= a.offset
            assert apart or not together or not (a.size and b.size)


@given(stretches())
def test_the_arena_lies_between_the_peak_and_the_sum(buffers: list[Stretch]) -> None:
    arena = place(buffers)
    steps = range(max((buffer.last for buffer in buffers), default=0) + 1)
    peak = max(sum(buffer.rounded for buffer in buffers if buffer.first <= step <= buffer.last) for step in steps)
    assert peak <= arena <= sum(buffer.rounded for buffer in buffers)


@pytest.mark.parametrize(
    ("lifetimes", "expected"),
    [
        ([], 0),
        ([(64, 0, 3)], 64),
        ([(1, 0, 0)], 64),
        ([(640, 0, 1), (640, 1, 2), (640, 2, 3)], 1280),  # a chain needs two places
        ([(640, 0, 0), (640, 1, 1), (640, 2, 2)], 640),
    ],
    ids=["nothing", "one", "rounded", "chain", "one after the other"],
)
def test_small_arenas(lifetimes: list[tuple[int, int, int]], expected: int) -> None:
    assert place([Stretch(*lifetime) for lifetime in lifetimes]) == expected
