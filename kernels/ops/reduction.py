"""Sums, means, maxima and minima along axes, and their opposite: repetition along axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kernels.errors import ArgumentError
from kernels.graph import Node, Op, Spec, Value, apply
from kernels.ops.shape import reshape
from kernels.ops.shapes import axis_of, broadcast, expect, floats
from kernels.ops.unary import affine

REDUCTIONS: dict[str, Callable[..., Any]] = {"max": np.max, "mean": np.mean, "min": np.min, "sum": np.sum}


def _kept(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(1 if axis in axes else size for axis, size in enumerate(shape))


def _reduce_shape(x: Spec, *, kind: str, axes: tuple[int, ...], keepdims: bool) -> Spec:
    if kind not in REDUCTIONS:
        raise ArgumentError(f"kind must be one of {', '.join(REDUCTIONS)}. Received: kind={kind!r}.")
    floats(x)
    legal = len(set(axes)) == len(axes) and all(0 <= axis < len(x.shape) for axis in axes)
    expect(legal, f"different axes of {x.shape}", axes)
    kept = _kept(x.shape, axes)
    return Spec(kept if keepdims else tuple(s for axis, s in enumerate(kept) if axis not in axes))


def _reduce(x: np.ndarray, *, kind: str, axes: tuple[int, ...], keepdims: bool) -> np.ndarray:
    return np.asarray(REDUCTIONS[kind](x, axis=axes, keepdims=keepdims))


def _reduce_rule(node: Node, dy: Value) -> list[Value]:
    x, kind, axes = node.inputs[0], node.attrs["kind"], node.attrs["axes"]
    if kind in ("max", "min"):
        return [apply(REDUCE_BACKWARD, x, node.outputs[0], dy, axes=axes)[0]]
    spread = broadcast_to(reshape(dy, _kept(x.shape, axes)), x.shape)
    return [affine(spread, 1 / math.prod(x.shape[axis] for axis in axes)) if kind == "mean" else spread]


def _reduce_backward_shape(x: Spec, y: Spec, dy: Spec, *, axes: tuple[int, ...]) -> Spec:
    expect(y.shape == dy.shape, f"a gradient of shape {y.shape}", dy.shape)
    return x


def _reduce_backward(x: np.ndarray, y: np.ndarray, dy: np.ndarray, *, axes: tuple[int, ...]) -> np.ndarray:
    kept = _kept(x.shape, axes)
    chosen = (x == y.reshape(kept)).astype(dy.dtype)
    return chosen * (dy.reshape(kept) / chosen.sum(axis=axes, keepdims=True))


REDUCE = Op("reduce", _reduce_shape, _reduce, _reduce_rule)
REDUCE_BACKWARD = Op("reduce_backward", _reduce_backward_shape, _reduce_backward)


def reduce(x: Value, kind: str, axes: Sequence[int] | int | None = None, keepdims: bool = False) -> Value:
    """`kind` ("sum", "mean", "max" or "min") along axes (None: all). Equal maxima or minima share the gradient.

    >>> from kernels.graph import Graph
    >>> reduce(Graph().input("x", (2, 3, 4)), "mean", (1, -1)).shape
    (2,)
    """
    rank = len(x.shape)
    listed = range(rank) if axes is None else (axes,) if isinstance(axes, int) else axes
    order = tuple(sorted(axis_of(int(axis), rank) for axis in listed))
    return apply(REDUCE, x, kind=kind, axes=order, keepdims=bool(keepdims))[0]


def sum_to(x: Value, shape: Sequence[int]) -> Value:
    """The opposite of broadcasting: summed over the axes along which `shape` was repeated to give x.

    >>> from kernels.graph import Graph
    >>> sum_to(Graph().input("x", (2, 3, 4)), (3, 1)).shape
    (3, 1)
    """
    shape = tuple(shape)
    expect(broadcast(x.shape, shape) == x.shape, f"a tensor that {shape} broadcasts to", x.shape)
    full = (1,) * (len(x.shape) - len(shape)) + shape
    axes = [axis for axis, (size, target) in enumerate(zip(x.shape, full, strict=True)) if size != target]
    return reshape(reduce(x, "sum", axes, keepdims=True) if axes else x, shape)


# broadcast_to


def _broadcast_shape(x: Spec, *, shape: tuple[int, ...]) -> Spec:
    floats(x)
    expect(broadcast(x.shape, shape) == shape, f"a shape that broadcasts to {shape}", x.shape)
    return Spec(shape, x.dtype)


def _broadcast_to(x: np.ndarray, *, shape: tuple[int, ...]) -> np.ndarray:
    return np.array(np.broadcast_to(x, shape), order="C")


def _broadcast_rule(node: Node, dy: Value) -> list[Value]:
    return [sum_to(dy, node.inputs[0].shape)]


BROADCAST_TO = Op("broadcast_to", _broadcast_shape, _broadcast_to, _broadcast_rule)


def broadcast_to(x: Value, shape: Sequence[int]) -> Value:
    """Repeated along axes of size 1 and along new leading axes.

    >>> from kernels.graph import Graph
    >>> broadcast_to(Graph().input("x", (3, 1)), (2, 3, 4)).shape
    (2, 3, 4)
    """
    shape = tuple(map(int, shape))
    return x if shape == x.shape else apply(BROADCAST_TO, x, shape=shape)[0]
