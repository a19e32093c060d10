"""Products of matrices: the fully connected layer and batched matmul."""

from __future__ import annotations

import numpy as np

from kernels.graph import Node, Op, Spec, Value, apply
from kernels.ops.reduction import sum_to
from kernels.ops.shapes import broadcast, expect, floats

# linear


def _linear_shape(x: Spec, w: Spec, b: Spec | None = None) -> Spec:
    expect(len(w.shape) == 2, "weights (out, in)", w.shape)
    expect(len(x.shape) == 2 and x.shape[1] == w.shape[1], f"(batch, {w.shape[1]})", x.shape)
    expect(b is None or b.shape == w.shape[:1], f"a bias of shape {w.shape[:1]}", b and b.shape)
    floats(x, w, *([b] if b else []))
    return Spec((x.shape[0], w.shape[0]))


def _linear(x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
    return x @ w.T if b is None else x @ w.T + b


def _linear_rule(node: Node, dy: Value) -> list[Value]:
    x, w, *b = node.inputs
    return [linear_backward_data(dy, w), *linear_backward_weights(x, dy, bias=bool(b))]


def _backward_data_shape(dy: Spec, w: Spec) -> Spec:
    expect(len(w.shape) == 2, "weights (out, in)", w.shape)
    expect(len(dy.shape) == 2 and dy.shape[1] == w.shape[0], f"(batch, {w.shape[0]})", dy.shape)
    floats(dy, w)
    return Spec((dy.shape[0], w.shape[1]))


def _backward_data(dy: np.ndarray, w: np.ndarray) -> np.ndarray:
    return dy @ w


def _backward_data_rule(node: Node, dx: Value) -> list[Value]:
    dy, w = node.inputs
    return [linear(dx, w), linear_backward_weights(dx, dy, bias=False)[0]]


def _backward_weights_shape(x: Spec, dy: Spec, *, bias: bool) -> list[Spec]:
    expect(len(x.shape) == 2, "(batch, in)", x.shape)
    expect(len(dy.shape) == 2 and x.shape[0] == dy.shape[0], f"a gradient of {x.shape[0]} rows", dy.shape)
    floats(x, dy)
    return [Spec((dy.shape[1], x.shape[1])), *([Spec(dy.shape[1:])] if bias else [])]


def _backward_weights(x: np.ndarray, dy: np.ndarray, *, bias: bool) -> tuple[np.ndarray, ...]:
    return (dy.T @ x, dy.sum(0)) if bias else (dy.T @ x,)


LINEAR = Op("linear", _linear_shape, _linear, _linear_rule)
LINEAR_BACKWARD_DATA = Op("linear_backward_data", _backward_data_shape, _backward_data, _backward_data_rule)
LINEAR_BACKWARD_WEIGHTS = Op("linear_backward_weights", _backward_weights_shape, _backward_weights)


def linear(x: Value, w: Value, b: Value | None = None) -> Value:
    """Fully connected x w^T + b: (n, in), (out, in), (out,) -> (n, out).

    >>> from kernels.graph import Graph
    >>> graph = Graph()
    >>> linear(graph.input("x", (32, 784)), graph.parameter("w", (10, 784)), graph.parameter("b", (10,))).shape
    (32, 10)
    """
    return apply(LINEAR, x, w, b)[0]


def linear_backward_data(dy: Value, w: Value) -> Value:
    """The product dy w: (n, out), (out, in) -> (n, in)."""
    return apply(LINEAR_BACKWARD_DATA, dy, w)[0]


def linear_backward_weights(x: Value, dy: Value, *, bias: bool) -> tuple[Value, ...]:
    """The product dy^T x and, if bias, the column sums of dy: (n, in), (n, out) -> (out, in)[, (out,)]."""
    return apply(LINEAR_BACKWARD_WEIGHTS, x, dy, bias=bool(bias))


# matmul


def _sides(a: tuple[int, ...], b: tuple[int, ...], ta: bool, tb: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return (a[:-2] + a[:-3:-1] if ta else a), (b[:-2] + b[:-3:-1] if tb else b)


def _matmul_shape(a: Spec, b: Spec, *, transpose_a: bool, transpose_b: bool) -> Spec:
    expect(min(len(a.shape), len(b.shape)) >= 2, "matrices of rank 2 or more", f"{a.shape} and {b.shape}")
    left, right = _sides(a.shape, b.shape, transpose_a, transpose_b)
    expect(left[-1] == right[-2], "equal inner sizes", f"{left} x {right}")
    floats(a, b)
    return Spec((*broadcast(left[:-2], right[:-2]), left[-2], right[-1]))


def _matmul(a: np.ndarray, b: np.ndarray, *, transpose_a: bool, transpose_b: bool) -> np.ndarray:
    return np.matmul(a.swapaxes(-1, -2) if transpose_a else a, b.swapaxes(-1, -2) if transpose_b else b)


def _matmul_rule(node: Node, dy: Value) -> list[Value]:
    (a, b), ta, tb = node.inputs, node.attrs["transpose_a"], node.attrs["transpose_b"]
    da = matmul(b, dy, tb, True) if ta else matmul(dy, b, False, not tb)
    db = matmul(dy, a, True, ta) if tb else matmul(a, dy, not ta, False)
    return [sum_to(da, a.shape), sum_to(db, b.shape)]


MATMUL = Op("matmul", _matmul_shape, _matmul, _matmul_rule)


def matmul(a: Value, b: Value, transpose_a: bool = False, transpose_b: bool = False) -> Value:
    """Products of matrices in the last two axes; leading axes broadcast: (..., m, k), (..., k, n) -> (..., m, n).

    >>> from kernels.graph import Graph
    >>> graph = Graph()
    >>> matmul(graph.input("a", (8, 2, 3)), graph.input("b", (8, 5, 3)), transpose_b=True).shape
    (8, 2, 5)
    """
    return apply(MATMUL, a, b, transpose_a=bool(transpose_a), transpose_b=bool(transpose_b))[0]
