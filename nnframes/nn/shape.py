"""Layers that change shapes and pick parts, without arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from kernels import ops
from kernels.graph import Value
from nnframes.errors import ArgumentError
from nnframes.nn.layer import Layer
from nnframes.nn.trace import Table, Trace

__all__ = [
    "Contiguous",
    "Narrow",
    "Padding",
    "Reshape",
    "Select",
    "SpatialZeroPadding",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
    "View",
    "axis_in_batch",
]


def axis_in_batch(x: Value, dimension: int, n_input_dims: int = -1) -> int:
    """The axis of x that `dimension` means: counted with the batch as 0, or within rows of `n_input_dims` dimensions.

    >>> from kernels.graph import Graph
    >>> x = Graph().input("x", (32, 3, 8))
    >>> axis_in_batch(x, 1), axis_in_batch(x, 1, n_input_dims=2)
    (1, 2)
    """
    batched = n_input_dims > 0 and len(x.shape) == n_input_dims + 1
    return dimension + 1 if batched and dimension >= 0 else dimension


def _row_shape(t: Trace, x: Value, sizes: Sequence[int], first: int) -> tuple[int, ...]:
    """`sizes` with -1 resolved, for the numbers of x from axis `first` on."""
    row = x.shape[first:]
    count, known = math.prod(row), math.prod(size for size in sizes if size != -1)
    fits = count % known == 0 if -1 in sizes else count == known
    batch = "batch, " if first else ""
    wanted = f"({batch}...) with {known} numbers" + (" or a multiple" if -1 in sizes else "") + " a row" * bool(first)
    t.expect(fits, wanted, x)
    return tuple(count // known if size == -1 else size for size in sizes)


def _checked_sizes(owner: Layer, sizes: Sequence[int]) -> None:
    if list(sizes).count(-1) > 1 or any(size < 1 and size != -1 for size in sizes):
        raise ArgumentError(f"{type(owner).__name__} sizes must be >= 1, at most one -1. Received: {list(sizes)}.")


class Reshape(Layer):
    """The numbers of each row in another shape: (batch, ...) to (batch, *size).

    One size may be -1. With `batch_mode=False` the batch is not kept apart: the whole tensor becomes `size`. None means
    True here; BigDL guesses.

    >>> Reshape([192]).output_shape((32, 12, 4, 4))
    (32, 192)
    """

    def __init__(self, size: Sequence[int], batch_mode: bool | None = None) -> None:
        _checked_sizes(self, size)
        self.size = size
        self.batch_mode = batch_mode

    def call(self, t: Trace, x: Value) -> Value:
        first = 0 if self.batch_mode is False else 1
        return ops.reshape(x, (*x.shape[:first], *_row_shape(t, x, self.size, first)))


class View(Layer):
    """The numbers of each row in another shape: (batch, ...) to (batch, *sizes); one size may be -1.

    `num_input_dims`, where given, is the number of dimensions of one row that comes in.

    >>> View([192]).output_shape((32, 12, 4, 4))
    (32, 192)
    """

    def __init__(self, sizes: Sequence[int], num_input_dims: int = 0) -> None:
        _checked_sizes(self, sizes)
        self.sizes = sizes
        self.num_input_dims = num_input_dims

    def call(self, t: Trace, x: Value) -> Value:
        rank = self.num_input_dims + 1
        t.expect(self.num_input_dims < 1 or len(x.shape) == rank, f"a tensor of {rank} dimensions", x)
        return ops.reshape(x, (x.shape[0], *_row_shape(t, x, self.sizes, 1)))


class Transpose(Layer):
    """Swaps pairs of dimensions one after the other; the batch is dimension 0.

    >>> Transpose([(1, 2)]).output_shape((32, 3, 8))
    (32, 8, 3)
    """

    def __init__(self, permutations: Sequence[Sequence[int]]) -> None:
        if any(np.shape(pair) != (2,) for pair in permutations):
            raise ArgumentError(f"Transpose permutations must be pairs of dimensions. Received: {permutations}.")
        self.permutations = permutations

    def call(self, t: Trace, x: Value) -> Value:
        order = list(range(len(x.shape)))
        for a, b in self.permutations:
            t.expect(max(a, b) < len(order), f"a tensor with dimensions {a} and {b}", x)
            order[a], order[b] = order[b], order[a]
        return ops.transpose(x, order)


class Select(Layer):
    """The part at `index` of dimension `dim`, which goes away; both count from 0, negative ones from the end.

    >>> Select(1, -1).output_shape((32, 20, 50))
    (32, 50)
    """

    def __init__(self, dim: int, index: int) -> None:
        self.dim = dim
        self.index = index

    def call(self, t: Trace, x: Value) -> Value:
        rank = len(x.shape)
        fits = -rank <= self.dim < rank and -x.shape[self.dim] <= self.index < x.shape[self.dim]
        t.expect(fits, f"a tensor with an index {self.index} on dimension {self.dim}", x)
        return ops.select(x, self.dim, self.index)


class Narrow(Layer):
    """`length` numbers of one dimension, from `offset` on; both count from 0, a negative length from the end (-1: all).

    >>> Narrow(1, 2, 5).output_shape((32, 20))
    (32, 5)
    >>> Narrow(1, 2, -1).output_shape((32, 20))
    (32, 18)
    """

    def __init__(self, dimension: int, offset: int, length: int = 1) -> None:
        self.dimension = dimension
        self.offset = offset
        self.length = length

    def call(self, t: Trace, x: Value) -> Value:
        t.expect(-len(x.shape) <= self.dimension < len(x.shape), f"a tensor with a dimension {self.dimension}", x)
        size = x.shape[self.dimension]
        start = self.offset + size if self.offset < 0 else self.offset
        stop = start + self.length if self.length > 0 else size + self.length + 1
        t.expect(0 <= start < stop <= size, f"a dimension {self.dimension} that holds {start} up to {stop}", x)
        return ops.narrow(x, self.dimension, start, stop)


class Squeeze(Layer):
    """Without dimensions of size 1: `dim` (or a list of such), or with None all of them but the batch.

    Dimensions count as `JoinTable` says.

    >>> Squeeze(1).output_shape((32, 1, 8))
    (32, 8)
    """

    def __init__(self, dim: int | Sequence[int] | None = None, num_input_dims: int = -1) -> None:
        self.dim = dim
        self.num_input_dims = num_input_dims

    def call(self, t: Trace, x: Value) -> Value:
        rank = len(x.shape)
        if self.dim is None:
            axes = [axis for axis in range(1, rank) if x.shape[axis] == 1]
        else:
            listed = [self.dim] if isinstance(self.dim, int) else self.dim
            axes = [axis_in_batch(x, axis, self.num_input_dims) for axis in listed]
        fits = all(-rank <= axis < rank and x.shape[axis] == 1 for axis in axes)
        t.expect(fits, f"size 1 on dimension {self.dim}", x)
        dropped = {axis % rank for axis in axes}
        return ops.reshape(x, [size for axis, size in enumerate(x.shape) if axis not in dropped])


class Unsqueeze(Layer):
    """A new dimension of size 1 at `pos` of the output, counted as `JoinTable` says.

    >>> Unsqueeze(1).output_shape((32, 8))
    (32, 1, 8)
    """

    def __init__(self, pos: int, num_input_dims: int = -1) -> None:
        self.pos = pos
        self.num_input_dims = num_input_dims

    def call(self, t: Trace, x: Value) -> Value:
        return ops.expand_dims(x, axis_in_batch(x, self.pos, self.num_input_dims))


class Padding(Layer):
    """`pad` more numbers `value` along one dimension: before what is there if `pad` is negative, else behind it.

    `dim` counts as `JoinTable` says.

    >>> Padding(1, -2).output_shape((32, 8))
    (32, 10)
    """

    def __init__(self, dim: int, pad: int, n_input_dim: int = -1, value: float = 0.0) -> None:
        self.dim = dim
        self.pad = pad
        self.n_input_dim = n_input_dim
        self.value = value

    def call(self, t: Trace, x: Value) -> Value:
        rank, axis = len(x.shape), axis_in_batch(x, self.dim, self.n_input_dim)
        t.expect(-rank <= axis < rank, f"a tensor with a dimension {self.dim}", x)
        padding = [(0, 0)] * rank
        padding[axis] = (max(-self.pad, 0), max(self.pad, 0))
        return ops.pad(x, padding, self.value)


class SpatialZeroPadding(Layer):
    """Zeros around images (batch, channels, height, width); negative numbers cut instead.

    >>> SpatialZeroPadding(1, 1, 2, -2).output_shape((32, 3, 8, 8))
    (32, 3, 8, 10)
    """

    def __init__(self, pad_left: int, pad_right: int, pad_top: int, pad_bottom: int) -> None:
        self.pad_left = pad_left
        self.pad_right = pad_right
        self.pad_top = pad_top
        self.pad_bottom = pad_bottom

    def call(self, t: Trace, x: Value) -> Value:
        pads = [(0, 0), (0, 0), (self.pad_top, self.pad_bottom), (self.pad_left, self.pad_right)]
        sizes = [size + min(low, 0) + min(high, 0) for size, (low, high) in zip(x.shape, pads, strict=False)]
        t.expect(len(x.shape) == 4 and min(sizes) > 0, "(batch, channels, height, width) larger than what is cut", x)
        starts = [max(-low, 0) for low, _ in pads]
        x = ops.slice_(x, starts, [start + size for start, size in zip(starts, sizes, strict=True)])
        return ops.pad(x, [(max(low, 0), max(high, 0)) for low, high in pads])


class Contiguous(Layer):
    """What comes in, unchanged: tensors are always contiguous here.

    >>> Contiguous().output_shape((32, 8))
    (32, 8)
    """

    def call(self, t: Trace, x: Table) -> Table:
        return x
