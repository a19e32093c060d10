"""Linear maps and matrix products by MKL, on tensors in numpy's order."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from kernels.errors import UnsupportedError
from kernels.graph import Node
from kernels.native.mkl import mkl
from kernels.onednn.compiler import Compiler, Function
from kernels.onednn.descriptors import plain

Arrays = Sequence[np.ndarray]


def linear(c: Compiler, node: Node) -> None:
    """y = x w' + b."""
    _emit(c, node, _linear)


def backward_data(c: Compiler, node: Node) -> None:
    """dx = dy w."""
    _emit(c, node, _backward_data)


def backward_weights(c: Compiler, node: Node) -> None:
    """dw = dy' x and, where there is a bias, db = the sum of dy over the batch."""
    _emit(c, node, _backward_weights)


def matmul(c: Compiler, node: Node) -> None:
    """c = a b, each transposed or not, over equal leading dimensions."""
    leading = node.outputs[0].shape[:-2]
    if any(value.shape[:-2] != leading for value in node.inputs):
        raise UnsupportedError("leading dimensions differ")
    batch = (math.prod(leading),) if leading else ()
    transpose_a, transpose_b = node.attrs["transpose_a"], node.attrs["transpose_b"]

    def call(reads: Arrays, writes: Arrays) -> None:
        a, b, out = (array.reshape(*batch, *array.shape[-2:]) for array in (*reads, *writes))
        mkl().gemm(a, b, out, transpose_a, transpose_b)

    _emit(c, node, call)


def _emit(c: Compiler, node: Node, function: Function) -> None:
    reads = [c.plain(value) for value in node.inputs]
    c.compute(function, reads, [c.make(value, plain(value.shape)) for value in node.outputs], "mkl")


def _linear(reads: Arrays, writes: Arrays) -> None:
    x, w, *bias = reads
    if bias:
        writes[0][...] = bias[0]
    mkl().gemm(x, w, writes[0], transpose_b=True, add=bool(bias))


def _backward_data(reads: Arrays, writes: Arrays) -> None:
    dy, w = reads
    mkl().gemm(dy, w, writes[0])


def _backward_weights(reads: Arrays, writes: Arrays) -> None:
    x, dy = reads
    mkl().gemm(dy, x, writes[0], transpose_a=True)
    if len(writes) > 1:
        np.add.reduce(dy, axis=0, out=writes[1])
