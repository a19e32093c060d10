"""Arithmetic layers: functions of each number, learned scales and shifts, reductions, products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from kernels import ops
from kernels.graph import Value
from nnframes.nn.initialisers import RandomUniform
from nnframes.nn.layer import Layer
from nnframes.nn.parameter import Parameter, positive
from nnframes.nn.regularizers import Regularizer
from nnframes.nn.shape import axis_in_batch
from nnframes.nn.trace import Trace

__all__ = [
    "MM",
    "Abs",
    "Add",
    "AddConstant",
    "CAdd",
    "CMul",
    "Exp",
    "Log",
    "Max",
    "Mean",
    "Min",
    "Mul",
    "MulConstant",
    "Power",
    "Sqrt",
    "Square",
    "Sum",
]


class Abs(Layer):
    """|x|.

    >>> Abs().output_shape((32, 10))
    (32, 10)
    """

    def call(self, t: Trace, x: Value) -> Value:
        return ops.abs_(x)


class Exp(Layer):
    """e to the power x.

    >>> Exp().output_shape((32, 10))
    (32, 10)
    """

    def call(self, t: Trace, x: Value) -> Value:
        return ops.exp(x)


class Log(Layer):
    """Natural logarithm.

    >>> Log().output_shape((32, 10))
    (32, 10)
    """

    def call(self, t: Trace, x: Value) -> Value:
        return ops.log(x)


class Sqrt(Layer):
    """Square root.

    >>> Sqrt().output_shape((32, 10))
    (32, 10)
    """

    def call(self, t: Trace, x: Value) -> Value:
        return ops.sqrt(x)


class Square(Layer):
    """x * x.

    >>> Square().output_shape((32, 10))
    (32, 10)
    """

    def call(self, t: Trace, x: Value) -> Value:
        return ops.square(x)


class Power(Layer):
    """(shift + scale * x) ** power.

    >>> Power(2).output_shape((32, 10))
    (32, 10)
    """

    def __init__(self, power: float, scale: float = 1.0, shift: float = 0.0) -> None:
        self.power = power
        self.scale = scale
        self.shift = shift

    def call(self, t: Trace, x: Value) -> Value:
        return ops.power(ops.affine(x, self.scale, self.shift), self.power)


class AddConstant(Layer):
    """x + constant_scalar.

    >>> AddConstant(1.5).output_shape((32, 10))
    (32, 10)
    """

    def __init__(self, constant_scalar: float, inplace: bool = False) -> None:
        self.constant_scalar = constant_scalar
        self.inplace = inplace

    def call(self, t: Trace, x: Value) -> Value:
        return ops.affine(x, 1.0, self.constant_scalar)


class MulConstant(Layer):
    """scalar * x.

    >>> MulConstant(0.5).output_shape((32, 10))
    (32, 10)
    """

    def __init__(self, scalar: float, inplace: bool = False) -> None:
        self.scalar = scalar
        self.inplace = inplace

    def call(self, t: Trace, x: Value) -> Value:
        return ops.affine(x, self.scalar)


class Add(Layer):
    """x + b with a learned b (input_size,), from (batch, input_size) to the same.

    >>> Add(10).output_shape((32, 10))
    (32, 10)
    """

    def __init__(self, input_size: int) -> None:
        positive(self, input_size=input_size)
        self.input_size = input_size
        self.bias = Parameter("bias", (input_size,), RandomUniform())

    def call(self, t: Trace, x: Value) -> Value:
        t.expect(self.input_size in (1, x.shape[-1]), f"(batch, {self.input_size})", x)
        return ops.add(x, t(self.bias))


class Mul(Layer):
    """w * x with one learned number w.

    >>> Mul().output_shape((32, 10))
    (32, 10)
    """

    def __init__(self) -> None:
        self.weight = Parameter("weight", (1,), RandomUniform())

    def call(self, t: Trace, x: Value) -> Value:
        return ops.multiply(x, t(self.weight))


def _learned(owner: Layer, name: str, size: Sequence[int], regularizer: Regularizer | None) -> Parameter:
    for number in size:
        positive(owner, size=number)
    fan = math.prod(size)
    return Parameter(name, tuple(size), RandomUniform(), regularizer, fans=(fan, fan))


class CAdd(Layer):
    """x + b with a learned b of shape `size`, broadcast over x.

    >>> CAdd([3, 1, 1]).output_shape((32, 3, 8, 8))
    (32, 3, 8, 8)
    """

    def __init__(self, size: Sequence[int], bRegularizer: Regularizer | None = None) -> None:
        self.size = size
        self.bRegularizer = bRegularizer
        self.bias = _learned(self, "bias", size, bRegularizer)

    def call(self, t: Trace, x: Value) -> Value:
        return ops.add(x, t(self.bias))


class CMul(Layer):
    """w * x with a learned w of shape `size`, broadcast over x.

    >>> CMul([3, 1, 1]).output_shape((32, 3, 8, 8))
    (32, 3, 8, 8)
    """

    def __init__(self, size: Sequence[int], wRegularizer: Regularizer | None = None) -> None:
        self.size = size
        self.wRegularizer = wRegularizer
        self.weight = _learned(self, "weight", size, wRegularizer)

    def call(self, t: Trace, x: Value) -> Value:
        return ops.multiply(x, t(self.weight))


def _reduced(t: Trace, x: Value, kind: str, dimension: int, n_input_dims: int, squeeze: bool = True) -> Value:
    axis = axis_in_batch(x, dimension, n_input_dims)
    t.expect(-len(x.shape) <= axis < len(x.shape), f"a tensor with a dimension {dimension}", x)
    return ops.reduce(x, kind, axis, keepdims=not squeeze)


class Mean(Layer):
    """The mean along one dimension, which goes away unless `squeeze` is false.

    The batch is dimension 0; with `n_input_dims` the dimensions of one row are counted, as `JoinTable` says.

    >>> Mean(1).output_shape((32, 20, 50))
    (32, 50)
    """

    def __init__(self, dimension: int = 1, n_input_dims: int = -1, squeeze: bool = True) -> None:
        self.dimension = dimension
        self.n_input_dims = n_input_dims
        self.squeeze = squeeze

    def call(self, t: Trace, x: Value) -> Value:
        return _reduced(t, x, "mean", self.dimension, self.n_input_dims, self.squeeze)


class Sum(Layer):
    """The sum (with `size_average` the mean) along one dimension, which goes away unless `squeeze` is false.

    Dimensions count as `Mean` says.

    >>> Sum(1).output_shape((32, 20, 50))
    (32, 50)
    """

    def __init__(
        self, dimension: int = 1, n_input_dims: int = -1, size_average: bool = False, squeeze: bool = True
    ) -> None:
        self.dimension = dimension
        self.n_input_dims = n_input_dims
        self.size_average = size_average
        self.squeeze = squeeze

    def call(self, t: Trace, x: Value) -> Value:
        kind = "mean" if self.size_average else "sum"
        return _reduced(t, x, kind, self.dimension, self.n_input_dims, self.squeeze)


class Max(Layer):
    """The largest number along one dimension, which goes away; dimensions count as `Mean` says.

    >>> Max(1).output_shape((32, 20, 50))
    (32, 50)
    """

    def __init__(self, dim: int, num_input_dims: int = -1) -> None:
        self.dim = dim
        self.num_input_dims = num_input_dims

    def call(self, t: Trace, x: Value) -> Value:
        return _reduced(t, x, "max", self.dim, self.num_input_dims)


class Min(Layer):
    """The smallest number along one dimension, which goes away; dimensions count as `Mean` says.

    >>> Min(1).output_shape((32, 20, 50))
    (32, 50)
    """

    def __init__(self, dim: int = 1, num_input_dims: int = -1) -> None:
        self.dim = dim
        self.num_input_dims = num_input_dims

    def call(self, t: Trace, x: Value) -> Value:
        return _reduced(t, x, "min", self.dim, self.num_input_dims)


class MM(Layer):
    """The product of the two matrices of a table: (batch, m, k), (batch, k, n) to (batch, m, n).

    `trans_a` and `trans_b` say which of them is transposed first.

    >>> MM(trans_b=True).output_shape([(32, 2, 3), (32, 5, 3)])
    (32, 2, 5)
    """

    takes = "table"

    def __init__(self, trans_a: bool = False, trans_b: bool = False) -> None:
        self.trans_a = trans_a
        self.trans_b = trans_b

    def call(self, t: Trace, x: list[Any]) -> Value:
        t.expect(len(x) == 2 and all(isinstance(part, Value) for part in x), "a table of 2 tensors", x)
        return ops.matmul(x[0], x[1], self.trans_a, self.trans_b)
