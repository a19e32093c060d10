"""Ops that move numbers and compute none: reshape, transpose, slice, concatenate, pad."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from kernels.graph import Node, Op, Spec, Value, apply
from kernels.ops.shapes import Padding, axis_of, expect, pairs

Bounds = tuple[int, ...]


# reshape


def _reshape_shape(x: Spec, *, shape: tuple[int, ...]) -> Spec:
    expect(math.prod(x.shape) == math.prod(shape), f"{math.prod(shape)} numbers to reshape to {shape}", x.shape)
    return Spec(shape, x.dtype)


def _reshape(x: np.ndarray, *, shape: tuple[int, ...]) -> np.ndarray:
    return x.reshape(shape)


def _reshape_rule(node: Node, dy: Value) -> list[Value]:
    return [reshape(dy, node.inputs[0].shape)]


RESHAPE = Op("reshape", _reshape_shape, _reshape, _reshape_rule)


def reshape(x: Value, shape: Sequence[int] | int) -> Value:
    """The same numbers in row-major order under another shape; one -1 is computed from the rest.

    >>> from kernels.graph import Graph
    >>> reshape(Graph().input("x", (2, 3, 4)), (2, -1)).shape
    (2, 12)
    """
    sizes = (shape,) if isinstance(shape, int) else tuple(map(int, shape))
    if sizes.count(-1) == 1:
        known = -math.prod(sizes)
        sizes = tuple(math.prod(x.shape) // known if s == -1 and known else s for s in sizes)
    if sizes == x.shape:
        return x
    return apply(RESHAPE, x, shape=sizes)[0]


def expand_dims(x: Value, axis: int) -> Value:
    """A new axis of size 1 before `axis` of the result.

    >>> from kernels.graph import Graph
    >>> expand_dims(Graph().input("x", (2, 3)), -1).shape
    (2, 3, 1)
    """
    axis = axis_of(axis, len(x.shape) + 1)
    return reshape(x, (*x.shape[:axis], 1, *x.shape[axis:]))


def squeeze(x: Value, axis: int) -> Value:
    """Without an axis of size 1.

    >>> from kernels.graph import Graph
    >>> squeeze(Graph().input("x", (2, 1, 3)), 1).shape
    (2, 3)
    """
    axis = axis_of(axis, len(x.shape))
    expect(x.shape[axis] == 1, f"size 1 on axis {axis}", x.shape)
    return reshape(x, x.shape[:axis] + x.shape[axis + 1 :])


# transpose


def _transpose_shape(x: Spec, *, permutation: tuple[int, ...]) -> Spec:
    axes = list(range(len(x.shape)))
    expect(sorted(permutation) == axes, f"a permutation of {tuple(axes)} for {x.shape}", permutation)
    return Spec(tuple(x.shape[axis] for axis in permutation), x.dtype)


def _transpose(x: np.ndarray, *, permutation: tuple[int, ...]) -> np.ndarray:
    return np.asarray(x.transpose(permutation), order="C")


def _transpose_rule(node: Node, dy: Value) -> list[Value]:
    return [transpose(dy, [int(axis) for axis in np.argsort(node.attrs["permutation"])])]


TRANSPOSE = Op("transpose", _transpose_shape, _transpose, _transpose_rule)


def transpose(x: Value, permutation: Sequence[int]) -> Value:
    """Axes in another order: axis i of the result is axis permutation[i] of x.

    >>> from kernels.graph import Graph
    >>> transpose(Graph().input("x", (2, 3, 4)), (0, 2, 1)).shape
    (2, 4, 3)
    """
    rank = len(x.shape)
    return apply(TRANSPOSE, x, permutation=tuple(int(p) + rank if p < 0 else int(p) for p in permutation))[0]


# slice


def _slice_sizes(shape: tuple[int, ...], starts: Bounds, stops: Bounds, steps: Bounds) -> tuple[int, ...]:
    for bounds in (starts, stops, steps):
        expect(len(bounds) == len(shape), f"{len(shape)} bounds for {shape}", bounds)
    expect(0 not in steps, "steps other than 0", steps)
    sizes = tuple(len(range(*bounds)) for bounds in zip(starts, stops, steps, strict=True))
    inside = all(
        0 <= start < size and -1 <= stop <= size for size, start, stop in zip(shape, starts, stops, strict=True)
    )
    expect(inside and min(sizes, default=1) > 0, f"a slice that is not empty and inside {shape}", f"{starts}:{stops}")
    return sizes


def _slice_shape(x: Spec, *, starts: Bounds, stops: Bounds, steps: Bounds) -> Spec:
    return Spec(_slice_sizes(x.shape, starts, stops, steps), x.dtype)


def _index(starts: Bounds, stops: Bounds, steps: Bounds) -> tuple[slice, ...]:
    # A stop of -1 means "past the first element" of a negative step, which numpy spells None.
    return tuple(slice(a, None if b < 0 else b, c) for a, b, c in zip(starts, stops, steps, strict=True))


def _slice(x: np.ndarray, *, starts: Bounds, stops: Bounds, steps: Bounds) -> np.ndarray:
    return np.asarray(x[_index(starts, stops, steps)], order="C")


def _slice_rule(node: Node, dy: Value) -> list[Value]:
    return [apply(SLICE_BACKWARD, dy, input_shape=node.inputs[0].shape, **node.attrs)[0]]


def _slice_backward_shape(
    dy: Spec, *, input_shape: tuple[int, ...], starts: Bounds, stops: Bounds, steps: Bounds
) -> Spec:
    sizes = _slice_sizes(input_shape, starts, stops, steps)
    expect(dy.shape == sizes, f"a gradient of shape {sizes}", dy.shape)
    return Spec(input_shape, dy.dtype)


def _slice_backward(
    dy: np.ndarray, *, input_shape: tuple[int, ...], starts: Bounds, stops: Bounds, steps: Bounds
) -> np.ndarray:
    dx = np.zeros(input_shape, dy.dtype)
    dx[_index(starts, stops, steps)] = dy
    return dx


def _slice_backward_rule(node: Node, dx: Value) -> list[Value]:
    bounds = {name: node.attrs[name] for name in ("starts", "stops", "steps")}
    return [apply(SLICE, dx, **bounds)[0]]


SLICE = Op("slice", _slice_shape, _slice, _slice_rule)
SLICE_BACKWARD = Op("slice_backward", _slice_backward_shape, _slice_backward, _slice_backward_rule)


def slice_(
    x: Value, starts: Sequence[int | None], stops: Sequence[int | None], steps: Sequence[int] | None = None
) -> Value:
    """x[start:stop:step] on every axis; None and negative bounds as in Python, but never empty and never outside x.

    The node's attributes are resolved: 0 <= start < size; a stop of -1 occurs with negative steps only and means that
    the first element is included.

    >>> from kernels.graph import Graph
    >>> slice_(Graph().input("x", (4, 9)), (None, 1), (None, -1), (-1, 3)).shape
    (4, 3)
    """
    steps = (1,) * len(x.shape) if steps is None else tuple(map(int, steps))
    expect(len(starts) == len(stops) == len(steps) == len(x.shape), f"{len(x.shape)} bounds for {x.shape}", starts)
    expect(0 not in steps, "steps other than 0", steps)
    for size, bound in [(s, b) for bounds in (starts, stops) for s, b in zip(x.shape, bounds, strict=True)]:
        expect(bound is None or -size <= bound <= size, f"bounds inside {x.shape}", f"{starts}:{stops}")
    resolved = [slice(a, b, c).indices(n) for a, b, c, n in zip(starts, stops, steps, x.shape, strict=True)]
    columns = tuple(zip(*resolved, strict=True)) or ((), (), ())
    return apply(SLICE, x, starts=columns[0], stops=columns[1], steps=columns[2])[0]


def narrow(x: Value, axis: int, start: int, stop: int) -> Value:
    """x[start:stop] along one axis.

    >>> from kernels.graph import Graph
    >>> narrow(Graph().input("x", (4, 9)), 1, 2, 5).shape
    (4, 3)
    """
    axis = axis_of(axis, len(x.shape))
    starts: list[int | None] = [None] * len(x.shape)
    stops = list(starts)
    starts[axis], stops[axis] = start, stop
    return slice_(x, starts, stops)


def select(x: Value, axis: int, index: int) -> Value:
    """x[index] along one axis, which goes away.

    >>> from kernels.graph import Graph
    >>> select(Graph().input("x", (4, 9)), 1, -1).shape
    (4,)
    """
    axis = axis_of(axis, len(x.shape))
    index = axis_of(index, x.shape[axis])
    return squeeze(narrow(x, axis, index, index + 1), axis)


def split(x: Value, sizes: Sequence[int], axis: int) -> tuple[Value, ...]:
    """Parts of these sizes along one axis.

    >>> from kernels.graph import Graph
    >>> [part.shape for part in split(Graph().input("x", (4, 9)), (2, 7), 1)]
    [(4, 2), (4, 7)]
    """
    axis = axis_of(axis, len(x.shape))
    expect(sum(sizes) == x.shape[axis], f"sizes that add up to {x.shape[axis]}", tuple(sizes))
    stops = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    return tuple(narrow(x, axis, stop - size, stop) for size, stop in zip(sizes, stops, strict=True))


# concat


def _concat_shape(*xs: Spec, axis: int) -> Spec:
    first = xs[0].shape
    expect(0 <= axis < len(first), f"an axis in [0, {len(first)})", axis)
    for x in xs:
        same = len(x.shape) == len(first) and all(
            i == axis or a == b for i, (a, b) in enumerate(zip(first, x.shape, strict=True))
        )
        expect(same and x.dtype == xs[0].dtype, f"{first} {xs[0].dtype} outside axis {axis}", f"{x.shape} {x.dtype}")
    return Spec((*first[:axis], sum(x.shape[axis] for x in xs), *first[axis + 1 :]), xs[0].dtype)


def _concat(*xs: np.ndarray, axis: int) -> np.ndarray:
    return np.concatenate(xs, axis)


def _concat_rule(node: Node, dy: Value) -> Sequence[Value]:
    axis = node.attrs["axis"]
    return split(dy, [x.shape[axis] for x in node.inputs], axis)


CONCAT = Op("concat", _concat_shape, _concat, _concat_rule)


def concat(xs: Sequence[Value], axis: int) -> Value:
    """Tensors one after another along one axis.

    >>> from kernels.graph import Graph
    >>> graph = Graph()
    >>> concat([graph.input("a", (2, 3)), graph.input("b", (2, 5))], 1).shape
    (2, 8)
    """
    if len(xs) == 1:
        return xs[0]
    return apply(CONCAT, *xs, axis=axis_of(axis, len(xs[0].shape)))[0]


def stack(xs: Sequence[Value], axis: int) -> Value:
    """Tensors of one shape along a new axis.

    >>> from kernels.graph import Graph
    >>> graph = Graph()
    >>> stack([graph.input("a", (2, 3)), graph.input("b", (2, 3))], 1).shape
    (2, 2, 3)
    """
    return concat([expand_dims(x, axis) for x in xs], axis)


# pad


def _pad_shape(x: Spec, *, padding: Padding, value: float) -> Spec:
    expect(len(padding) == len(x.shape), f"{len(x.shape)} pairs of padding for {x.shape}", padding)
    expect(all(low >= 0 and high >= 0 for low, high in padding), "padding >= 0", padding)
    return Spec(tuple(low + size + high for size, (low, high) in zip(x.shape, padding, strict=True)), x.dtype)


def _pad(x: np.ndarray, *, padding: Padding, value: float) -> np.ndarray:
    return np.pad(x, padding, constant_values=value)


def _pad_rule(node: Node, dy: Value) -> list[Value]:
    lows = [low for low, _ in node.attrs["padding"]]
    return [slice_(dy, lows, [low + size for low, size in zip(lows, node.inputs[0].shape, strict=True)])]


PAD = Op("pad", _pad_shape, _pad, _pad_rule)


def pad(x: Value, padding: Sequence[tuple[int, int] | int], value: float = 0.0) -> Value:
    """Surrounded by `value`: padding[i] = (before, after) on axis i.

    >>> from kernels.graph import Graph
    >>> pad(Graph().input("x", (2, 3)), ((0, 0), (1, 2))).shape
    (2, 6)
    """
    return apply(PAD, x, padding=pairs(padding, len(x.shape)), value=float(value))[0]
