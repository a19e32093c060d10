"""Maximum and average pooling over 1, 2 or 3 spatial axes.

Ceil mode is extra high padding, computed by `pool_padding`: the last window hangs over. Padding never wins a maximum.
With `include_padding` an average divides by the whole kernel, also where the last window hangs over (as in oneDNN);
without, by the number of elements of x under the window. PyTorch and BigDL, in ceil mode with padding counted, leave
the overhang out of the divisor: a layer that follows them there multiplies by a constant tensor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kernels.graph import INT32, Node, Op, Spec, Value, apply
from kernels.ops.convolution import Ints, patches, scatter_patches
from kernels.ops.shapes import Padding, expect, expect_type, floats, pairs, windows
from kernels.ops.unary import UNARY, UNARY_OP


def pool_padding(size: int, kernel: int, stride: int, pad: int = 0, ceil: bool = False) -> tuple[int, int]:
    """The padding (low, high) of a pooling along one axis; `ceil` rounds the number of windows up.

    As in PyTorch, Caffe and BigDL, a last window that would begin beyond the input and its low padding is dropped.

    >>> pool_padding(112, 3, 2, 0, ceil=True), pool_padding(5, 2, 2, 1, ceil=True)
    ((0, 1), (1, 1))
    """
    room = size + 2 * pad - kernel
    count = (-(-room // stride) if ceil else room // stride) + 1
    if ceil and (count - 1) * stride >= size + pad:
        count -= 1
    return pad, max(pad, (count - 1) * stride + kernel - size - pad)


def _pool_shape(x: Spec, kernel: Ints, strides: Ints, padding: Padding) -> Ints:
    rank = len(x.shape) - 2
    expect(1 <= rank <= 3, "(batch, channels, *spatial) with 1 to 3 spatial axes", x.shape)
    floats(x)
    counts = windows(x.shape[2:], kernel, strides, padding, (1,) * rank)
    for size, count, k, stride, (low, _) in zip(x.shape[2:], counts, kernel, strides, padding, strict=True):
        expect(low < k, f"padding below the kernel size {k}", low)
        expect((count - 1) * stride < low + size, "a last window that touches the input", f"padding {padding}")
    return (*x.shape[:2], *counts)


# max_pool


def _max_pool_shape(x: Spec, *, kernel: Ints, strides: Ints, padding: Padding) -> list[Spec]:
    shape = _pool_shape(x, kernel, strides, padding)
    return [Spec(shape), Spec(shape, INT32)]


def _max_pool(x: np.ndarray, *, kernel: Ints, strides: Ints, padding: Padding) -> tuple[np.ndarray, np.ndarray]:
    view = patches(x, kernel, strides, padding, (1,) * len(kernel), fill=-np.inf)
    flat = view.reshape(*view.shape[: x.ndim], math.prod(kernel))
    first = flat.argmax(-1)
    return np.take_along_axis(flat, first[..., None], -1)[..., 0], first.astype(np.int32)


def _max_pool_rule(node: Node, dy: Value, _: Value | None) -> list[Value]:
    return [apply(MAX_POOL_BACKWARD, node.outputs[1], dy, input_shape=node.inputs[0].shape, **node.attrs)[0]]


def _max_pool_backward_shape(
    workspace: Spec, dy: Spec, *, input_shape: Ints, kernel: Ints, strides: Ints, padding: Padding
) -> Spec:
    expected = _pool_shape(Spec(input_shape), kernel, strides, padding)
    expect(dy.shape == workspace.shape == expected, f"a gradient of shape {expected}", dy.shape)
    expect_type(workspace, INT32, "a workspace")
    floats(dy)
    return Spec(input_shape)


def _max_pool_backward(
    workspace: np.ndarray, dy: np.ndarray, *, input_shape: Ints, kernel: Ints, strides: Ints, padding: Padding
) -> np.ndarray:
    offsets = np.arange(math.prod(kernel)).reshape(-1, *(1,) * len(kernel))
    columns = np.where(workspace[:, :, None] == offsets, dy[:, :, None], dy.dtype.type(0))
    columns = columns.reshape(*dy.shape[:2], *kernel, *dy.shape[2:])
    return scatter_patches(columns, input_shape, strides, padding, (1,) * len(kernel))


MAX_POOL = Op("max_pool", _max_pool_shape, _max_pool, _max_pool_rule)
MAX_POOL_BACKWARD = Op("max_pool_backward", _max_pool_backward_shape, _max_pool_backward)


# avg_pool


def _avg_pool_shape(x: Spec, *, kernel: Ints, strides: Ints, padding: Padding, include_padding: bool) -> Spec:
    return Spec(_pool_shape(x, kernel, strides, padding))


def _divisor(
    spatial: Ints, kernel: Ints, strides: Ints, padding: Padding, include_padding: bool, dtype: Any
) -> np.ndarray:
    if include_padding:
        return np.array(math.prod(kernel), dtype)
    ones = patches(np.ones((1, 1, *spatial), dtype), kernel, strides, padding, (1,) * len(kernel))
    return ones.sum(axis=tuple(range(-len(kernel), 0)))


def _avg_pool(x: np.ndarray, *, kernel: Ints, strides: Ints, padding: Padding, include_padding: bool) -> np.ndarray:
    view = patches(x, kernel, strides, padding, (1,) * len(kernel))
    divisor = _divisor(x.shape[2:], kernel, strides, padding, include_padding, x.dtype)
    return view.sum(axis=tuple(range(-len(kernel), 0))) / divisor


def _avg_pool_rule(node: Node, dy: Value) -> list[Value]:
    return [apply(AVG_POOL_BACKWARD, dy, input_shape=node.inputs[0].shape, **node.attrs)[0]]


def _avg_pool_backward_shape(
    dy: Spec, *, input_shape: Ints, kernel: Ints, strides: Ints, padding: Padding, include_padding: bool
) -> Spec:
    expected = _pool_shape(Spec(input_shape), kernel, strides, padding)
    expect(dy.shape == expected, f"a gradient of shape {expected}", dy.shape)
    floats(dy)
    return Spec(input_shape)


def _avg_pool_backward(
    dy: np.ndarray, *, input_shape: Ints, kernel: Ints, strides: Ints, padding: Padding, include_padding: bool
) -> np.ndarray:
    share = dy / _divisor(input_shape[2:], kernel, strides, padding, include_padding, dy.dtype)
    rank = len(kernel)
    columns = np.broadcast_to(
        share.reshape(*dy.shape[:2], *(1,) * rank, *dy.shape[2:]), (*dy.shape[:2], *kernel, *dy.shape[2:])
    )
    return scatter_patches(columns, input_shape, strides, padding, (1,) * rank)


AVG_POOL = Op("avg_pool", _avg_pool_shape, _avg_pool, _avg_pool_rule)
AVG_POOL_BACKWARD = Op("avg_pool_backward", _avg_pool_backward_shape, _avg_pool_backward)


def _attrs(rank: int, kernel: Sequence[int], strides: Sequence[int] | None, padding: Sequence[Any] | None) -> dict:
    kernel = tuple(map(int, kernel))
    return {
        "kernel": kernel,
        "strides": kernel if strides is None else tuple(map(int, strides)),
        "padding": pairs((0,) * rank if padding is None else padding, rank),
    }


def max_pool(
    x: Value, *, kernel: Sequence[int], strides: Sequence[int] | None = None, padding: Sequence[Any] | None = None
) -> Value:
    """The largest number under each window: (n, c, *spatial) -> (n, c, *positions); of equals the first wins.

    strides default to the kernel; padding holds (low, high) for each spatial axis, low < kernel.

    >>> from kernels.graph import Graph
    >>> max_pool(Graph().input("x", (8, 3, 32, 32)), kernel=(2, 2)).shape
    (8, 3, 16, 16)

    A non-decreasing function before it is applied after it: the result is the same, on fewer numbers.
    """
    attrs = _attrs(len(x.shape) - 2, kernel, strides, padding)
    before = x.node
    if before.op is UNARY_OP and UNARY[before.attrs["kind"]].monotone:
        return apply(UNARY_OP, apply(MAX_POOL, before.inputs[0], **attrs)[0], **before.attrs)[0]
    return apply(MAX_POOL, x, **attrs)[0]


def avg_pool(
    x: Value,
    *,
    kernel: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: Sequence[Any] | None = None,
    include_padding: bool = True,
) -> Value:
    """The mean under each window: (n, c, *spatial) -> (n, c, *positions); divisors as the module's docstring says.

    >>> from kernels.graph import Graph
    >>> avg_pool(Graph().input("x", (8, 3, 7, 7)), kernel=(7, 7)).shape
    (8, 3, 1, 1)
    """
    attrs = _attrs(len(x.shape) - 2, kernel, strides, padding)
    return apply(AVG_POOL, x, include_padding=bool(include_padding), **attrs)[0]
