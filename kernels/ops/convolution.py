"""Convolution over 1, 2 or 3 spatial axes, by the rank of the input; transposed convolution is its data gradient."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from kernels.graph import Node, Op, Spec, Value, apply
from kernels.ops.shapes import Padding, expect, floats, pairs, windows

Ints = tuple[int, ...]


def same_padding(size: int, kernel: int, stride: int = 1, dilation: int = 1) -> tuple[int, int]:
    """The padding (low, high) that gives ceil(size / stride) positions; the odd one goes to the high side (TensorFlow).

    >>> same_padding(5, 2), same_padding(28, 5, 2)
    ((0, 1), (1, 2))
    """
    total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def patches(
    x: np.ndarray, kernel: Ints, strides: Ints, padding: Padding, dilation: Ints, fill: float = 0
) -> np.ndarray:
    """A view (n, c, *positions, *kernel) of the windows of x (n, c, *spatial)."""
    rank = len(kernel)
    if any(map(any, padding)):
        x = np.pad(x, ((0, 0), (0, 0), *padding), constant_values=fill)
    extents = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    view = sliding_window_view(x, extents, axis=tuple(range(2, 2 + rank)))
    step: tuple[Any, ...] = tuple(slice(None, None, s) for s in (*strides, *dilation))
    return view[(..., *step)]


def scatter_patches(
    columns: np.ndarray, input_shape: Ints, strides: Ints, padding: Padding, dilation: Ints
) -> np.ndarray:
    """The transpose of `patches`: sums (n, c, *kernel, *positions) into (n, c, *spatial)."""
    rank = len(strides)
    kernel, positions = columns.shape[2 : 2 + rank], columns.shape[2 + rank :]
    padded = [low + size + high for size, (low, high) in zip(input_shape[2:], padding, strict=True)]
    total = np.zeros((*input_shape[:2], *padded), columns.dtype)
    for offset in itertools.product(*map(range, kernel)):
        starts = [o * d for o, d in zip(offset, dilation, strict=True)]
        reached: tuple[Any, ...] = tuple(
            slice(a, a + (n - 1) * s + 1, s) for a, n, s in zip(starts, positions, strides, strict=True)
        )
        part: tuple[Any, ...] = (slice(None), slice(None), *offset)
        total[(..., *reached)] += columns[part]
    inner: tuple[Any, ...] = tuple(
        slice(low, low + size) for size, (low, _) in zip(input_shape[2:], padding, strict=True)
    )
    return np.ascontiguousarray(total[(..., *inner)])


def _columns(x: np.ndarray, kernel: Ints, groups: int, **window: Any) -> np.ndarray:
    """im2col: (n, groups, channels / groups * kernel, positions)."""
    view, rank = patches(x, kernel, **window), len(kernel)
    order = (0, 1, *range(2 + rank, 2 + 2 * rank), *range(2, 2 + rank))
    rows, positions = x.shape[1] // groups * math.prod(kernel), math.prod(view.shape[2 : 2 + rank])
    return view.transpose(order).reshape(len(x), groups, rows, positions)


def _output(x: Ints, w: Ints, strides: Ints, padding: Padding, dilation: Ints, groups: int) -> Ints:
    rank = len(x) - 2
    expect(1 <= rank <= 3, "(batch, channels, *spatial) with 1 to 3 spatial axes", x)
    expect(len(w) == len(x), f"weights (out, in / groups, *kernel) of rank {len(x)}", w)
    expect(groups >= 1 and w[0] % groups == 0, f"output channels divisible by groups={groups}", w[0])
    free = ", ".join(["depth", "height", "width"][-rank:])
    expect(x[1] == w[1] * groups, f"(batch, {w[1] * groups}, {free})", x)
    return (x[0], w[0], *windows(x[2:], w[2:], strides, padding, dilation))


# convolution


def _convolution_shape(x: Spec, w: Spec, b: Spec | None = None, **attrs: Any) -> Spec:
    shape = _output(x.shape, w.shape, **attrs)
    expect(b is None or b.shape == w.shape[:1], f"a bias of shape {w.shape[:1]}", b and b.shape)
    floats(x, w, *([b] if b else []))
    return Spec(shape)


def _convolution(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None, *, groups: int, **window: Any
) -> np.ndarray:
    columns = _columns(x, w.shape[2:], groups, **window)
    y = w.reshape(groups, w.shape[0] // groups, -1) @ columns
    y = y.reshape(len(x), w.shape[0], *windows(x.shape[2:], w.shape[2:], **window))
    return y if b is None else y + b.reshape(-1, *(1,) * (x.ndim - 2))


def _convolution_rule(node: Node, dy: Value) -> list[Value]:
    x, w, *b = node.inputs
    dx = convolution_backward_data(dy, w, input_shape=x.shape, **node.attrs)
    return [dx, *convolution_backward_weights(x, dy, weight_shape=w.shape, bias=bool(b), **node.attrs)]


# convolution_backward_data


def _backward_data_shape(dy: Spec, w: Spec, *, input_shape: Ints, **attrs: Any) -> Spec:
    expected = _output(input_shape, w.shape, **attrs)
    expect(dy.shape == expected, f"a gradient of shape {expected}", dy.shape)
    floats(dy, w)
    return Spec(input_shape)


def _backward_data(dy: np.ndarray, w: np.ndarray, *, input_shape: Ints, groups: int, **window: Any) -> np.ndarray:
    flat = dy.reshape(len(dy), groups, w.shape[0] // groups, math.prod(dy.shape[2:]))
    columns = w.reshape(groups, w.shape[0] // groups, -1).swapaxes(1, 2) @ flat
    return scatter_patches(columns.reshape(*input_shape[:2], *w.shape[2:], *dy.shape[2:]), input_shape, **window)


def _backward_data_rule(node: Node, dx: Value) -> list[Value]:
    dy, w = node.inputs
    attrs = {name: value for name, value in node.attrs.items() if name != "input_shape"}
    return [
        convolution(dx, w, **attrs),
        convolution_backward_weights(dx, dy, weight_shape=w.shape, bias=False, **attrs)[0],
    ]


# convolution_backward_weights


def _backward_weights_shape(x: Spec, dy: Spec, *, weight_shape: Ints, bias: bool, **attrs: Any) -> list[Spec]:
    expected = _output(x.shape, weight_shape, **attrs)
    expect(dy.shape == expected, f"a gradient of shape {expected}", dy.shape)
    floats(x, dy)
    return [Spec(weight_shape), *([Spec(weight_shape[:1])] if bias else [])]


def _backward_weights(
    x: np.ndarray, dy: np.ndarray, *, weight_shape: Ints, bias: bool, groups: int, **window: Any
) -> tuple[np.ndarray, ...]:
    columns = _columns(x, weight_shape[2:], groups, **window)
    flat = dy.reshape(len(dy), groups, weight_shape[0] // groups, math.prod(dy.shape[2:]))
    dw = (flat @ columns.swapaxes(2, 3)).sum(0).reshape(weight_shape)
    return (dw, dy.sum(axis=(0, *range(2, dy.ndim)))) if bias else (dw,)


CONVOLUTION = Op("convolution", _convolution_shape, _convolution, _convolution_rule)
CONVOLUTION_BACKWARD_DATA = Op("convolution_backward_data", _backward_data_shape, _backward_data, _backward_data_rule)
CONVOLUTION_BACKWARD_WEIGHTS = Op("convolution_backward_weights", _backward_weights_shape, _backward_weights)


def _attrs(
    rank: int, strides: Sequence[int] | None, padding: Sequence[Any] | None, dilation: Sequence[int] | None, groups: int
) -> dict[str, Any]:
    ones = (1,) * rank
    return {
        "strides": ones if strides is None else tuple(map(int, strides)),
        "padding": pairs((0,) * rank if padding is None else padding, rank),
        "dilation": ones if dilation is None else tuple(map(int, dilation)),
        "groups": int(groups),
    }


def convolution(
    x: Value,
    w: Value,
    b: Value | None = None,
    *,
    strides: Sequence[int] | None = None,
    padding: Sequence[Any] | None = None,
    dilation: Sequence[int] | None = None,
    groups: int = 1,
) -> Value:
    """Cross-correlation: x (n, in, *spatial), w (out, in / groups, *kernel), b (out,) -> (n, out, *positions).

    padding holds (low, high) for each spatial axis; dilation 1 means dense. Positions along an axis:
    (size + low + high - (kernel - 1) * dilation - 1) // stride + 1.

    >>> from kernels.graph import Graph
    >>> graph = Graph()
    >>> x, w = graph.input("x", (8, 3, 32, 32)), graph.parameter("w", (16, 3, 5, 5))
    >>> convolution(x, w, strides=(2, 2), padding=((2, 2), (2, 2))).shape
    (8, 16, 16, 16)
    """
    return apply(CONVOLUTION, x, w, b, **_attrs(len(x.shape) - 2, strides, padding, dilation, groups))[0]


def convolution_backward_data(
    dy: Value,
    w: Value,
    *,
    input_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: Sequence[Any] | None = None,
    dilation: Sequence[int] | None = None,
    groups: int = 1,
) -> Value:
    """The gradient of `convolution` with respect to x of `input_shape`; also the forward of a transposed convolution.

    dy (n, out, *positions), w (out, in / groups, *kernel) -> (n, in, *spatial).

    >>> from kernels.graph import Graph
    >>> graph = Graph()
    >>> dy, w = graph.input("dy", (8, 16, 7, 7)), graph.parameter("w", (16, 3, 2, 2))
    >>> convolution_backward_data(dy, w, input_shape=(8, 3, 14, 14), strides=(2, 2)).shape
    (8, 3, 14, 14)
    """
    attrs = _attrs(len(dy.shape) - 2, strides, padding, dilation, groups)
    return apply(CONVOLUTION_BACKWARD_DATA, dy, w, input_shape=tuple(map(int, input_shape)), **attrs)[0]


def convolution_backward_weights(
    x: Value,
    dy: Value,
    *,
    weight_shape: Sequence[int],
    bias: bool,
    strides: Sequence[int] | None = None,
    padding: Sequence[Any] | None = None,
    dilation: Sequence[int] | None = None,
    groups: int = 1,
) -> tuple[Value, ...]:
    """The gradient of `convolution` with respect to w and, if bias, to b: (dw,) or (dw, db)."""
    attrs = _attrs(len(x.shape) - 2, strides, padding, dilation, groups)
    shape = tuple(map(int, weight_shape))
    return apply(CONVOLUTION_BACKWARD_WEIGHTS, x, dy, weight_shape=shape, bias=bool(bias), **attrs)
