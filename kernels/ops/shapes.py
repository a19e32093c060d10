"""Arithmetic on shapes that the shape rules of several ops share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kernels.errors import ShapeError
from kernels.graph import FLOAT32, Spec

Padding = tuple[tuple[int, int], ...]


def expect(condition: bool, expected: str, received: Any) -> None:
    """Raise `ShapeError("expects ..., received ...")` unless the condition holds.

    >>> expect(True, "(batch, 784)", (32, 10))
    """
    if not condition:
        raise ShapeError(f"expects {expected}, received {received}.")


def expect_type(spec: Spec, dtype: str = FLOAT32, what: str = "an input") -> None:
    """Raise `ShapeError` unless the value has this type.

    >>> expect_type(Spec((3,)))
    """
    expect(spec.dtype == dtype, f"{what} of type {dtype}", spec.dtype)


def floats(*specs: Spec) -> None:
    """All these values must be float32.

    >>> floats(Spec((3,)), Spec((2, 3)))
    """
    for spec in specs:
        expect_type(spec)


def axis_of(axis: int, rank: int) -> int:
    """The axis counted from the front.

    >>> axis_of(-1, 4)
    3
    """
    expect(-rank <= axis < rank, f"an axis in [{-rank}, {rank})", axis)
    return axis % rank


def broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The common shape by numpy's broadcasting rule.

    >>> broadcast((4, 1, 3), (5, 1))
    (4, 5, 3)
    """
    rank = max(map(len, shapes))
    result = []
    for sizes in zip(*((1,) * (rank - len(shape)) + tuple(shape) for shape in shapes), strict=True):
        large = {size for size in sizes if size != 1}
        expect(len(large) <= 1, "shapes that broadcast to each other", " and ".join(map(str, shapes)))
        result.append(large.pop() if large else 1)
    return tuple(result)


def windows(
    spatial: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    padding: Padding,
    dilation: Sequence[int],
) -> tuple[int, ...]:
    """Number of positions of a sliding window along each spatial axis.

    >>> windows((28, 28), (5, 5), (1, 2), ((0, 0), (2, 2)), (1, 1))
    (24, 14)
    """
    rank = len(spatial)
    given: dict[str, Sequence[Any]] = {"kernel": kernel, "strides": strides, "padding": padding, "dilation": dilation}
    for name, setting in given.items():
        expect(len(setting) == rank, f"{rank} numbers of {name} for {rank} spatial axes", tuple(setting))
    for name in ("kernel", "strides", "dilation"):
        expect(min(given[name]) >= 1, f"{name} >= 1", tuple(given[name]))
    expect(all(low >= 0 and high >= 0 for low, high in padding), "padding >= 0", tuple(padding))
    result = []
    for size, k, stride, (low, high), d in zip(spatial, kernel, strides, padding, dilation, strict=True):
        room, extent = size + low + high, (k - 1) * d + 1
        expect(room >= extent, f"a padded size of at least the kernel's extent {extent}", room)
        result.append((room - extent) // stride + 1)
    return tuple(result)


def pairs(values: Sequence[Any], rank: int) -> Padding:
    """Padding as (low, high) pairs; a single number stands for an equal pair.

    >>> pairs((2, (0, 1)), 2)
    ((2, 2), (0, 1))
    """
    expect(len(values) == rank, f"{rank} numbers of padding for {rank} spatial axes", tuple(values))
    return tuple((int(v), int(v)) if isinstance(v, int) else (int(v[0]), int(v[1])) for v in values)
