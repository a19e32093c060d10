"""Elementwise arithmetic of two tensors or more, comparisons, casts; functions of one tensor are in unary.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from kernels.graph import FLOAT32, TYPES, Node, Op, Spec, Value, apply
from kernels.ops.reduction import sum_to
from kernels.ops.shapes import broadcast, expect, floats
from kernels.ops.unary import negative

Gradients = Sequence[Value | None]


def _binary_shape(a: Spec, b: Spec) -> Spec:
    expect(a.dtype == b.dtype, "two inputs of one type", f"{a.dtype} and {b.dtype}")
    return Spec(broadcast(a.shape, b.shape), a.dtype)


def _divide_shape(a: Spec, b: Spec) -> Spec:
    floats(a, b)
    return _binary_shape(a, b)


def _comparison_shape(a: Spec, b: Spec) -> Spec:
    return Spec(_binary_shape(a, b).shape)


def _comparison(test: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[..., np.ndarray]:
    def reference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return test(a, b).astype(a.dtype if a.dtype.kind == "f" else FLOAT32)

    return reference


def _summed(node: Node, da: Value, db: Value) -> Gradients:
    a, b = node.inputs
    return sum_to(da, a.shape), sum_to(db, b.shape)


def _add_rule(node: Node, dy: Value) -> Gradients:
    return _summed(node, dy, dy)


def _subtract_rule(node: Node, dy: Value) -> Gradients:
    return _summed(node, dy, negative(dy))


def _multiply_rule(node: Node, dy: Value) -> Gradients:
    a, b = node.inputs
    return _summed(node, multiply(dy, b), multiply(dy, a))


def _divide_rule(node: Node, dy: Value) -> Gradients:
    scaled = divide(dy, node.inputs[1])
    return _summed(node, scaled, negative(multiply(scaled, node.outputs[0])))


def _choice_rule(second_wins: Callable[[Value, Value], Value]) -> Callable[[Node, Value], Gradients]:
    def rule(node: Node, dy: Value) -> Gradients:
        second = multiply(dy, second_wins(*node.inputs))
        return _summed(node, subtract(dy, second), second)

    return rule


def _no_gradient(node: Node, dy: Value) -> Gradients:
    return None, None


ADD = Op("add", _binary_shape, np.add, _add_rule)
SUBTRACT = Op("subtract", _binary_shape, np.subtract, _subtract_rule)
MULTIPLY = Op("multiply", _binary_shape, np.multiply, _multiply_rule)
DIVIDE = Op("divide", _divide_shape, np.divide, _divide_rule)
MAXIMUM = Op("maximum", _binary_shape, np.maximum, _choice_rule(lambda a, b: less(a, b)))
MINIMUM = Op("minimum", _binary_shape, np.minimum, _choice_rule(lambda a, b: greater(a, b)))
EQUAL = Op("equal", _comparison_shape, _comparison(np.equal), _no_gradient)
GREATER = Op("greater", _comparison_shape, _comparison(np.greater), _no_gradient)
LESS = Op("less", _comparison_shape, _comparison(np.less), _no_gradient)


def add(a: Value, b: Value) -> Value:
    """The tensor a + b with numpy's broadcasting.

    >>> from kernels.graph import Graph
    >>> graph = Graph()
    >>> add(graph.input("a", (2, 3, 4)), graph.input("b", (3, 1))).shape
    (2, 3, 4)
    """
    return apply(ADD, a, b)[0]


def subtract(a: Value, b: Value) -> Value:
    """The tensor a - b with broadcasting."""
    return apply(SUBTRACT, a, b)[0]


def multiply(a: Value, b: Value) -> Value:
    """The tensor a * b with broadcasting."""
    return apply(MULTIPLY, a, b)[0]


def divide(a: Value, b: Value) -> Value:
    """The tensor a / b with broadcasting."""
    return apply(DIVIDE, a, b)[0]


def maximum(a: Value, b: Value) -> Value:
    """The larger of a and b, with broadcasting; where they are equal the gradient goes to a."""
    return apply(MAXIMUM, a, b)[0]


def minimum(a: Value, b: Value) -> Value:
    """The smaller of a and b, with broadcasting; where they are equal the gradient goes to a."""
    return apply(MINIMUM, a, b)[0]


def equal(a: Value, b: Value) -> Value:
    """1.0 where a == b, else 0.0; no gradient."""
    return apply(EQUAL, a, b)[0]


def greater(a: Value, b: Value) -> Value:
    """1.0 where a > b, else 0.0; no gradient."""
    return apply(GREATER, a, b)[0]


def less(a: Value, b: Value) -> Value:
    """1.0 where a < b, else 0.0; no gradient."""
    return apply(LESS, a, b)[0]


# add_n


def _add_n_shape(*xs: Spec) -> Spec:
    for x in xs:
        expect(x == xs[0], f"inputs of one shape and type, {xs[0].shape} {xs[0].dtype}", f"{x.shape} {x.dtype}")
    return xs[0]


def _add_n(*xs: np.ndarray) -> np.ndarray:
    total = xs[0]
    for x in xs[1:]:
        total = total + x
    return total


def _add_n_rule(node: Node, dy: Value) -> Gradients:
    return [dy] * len(node.inputs)


ADD_N = Op("add_n", _add_n_shape, _add_n, _add_n_rule)


def add_n(xs: Sequence[Value]) -> Value:
    """The sum of tensors of one shape, added from first to last.

    >>> from kernels.graph import Graph
    >>> graph = Graph()
    >>> add_n([graph.input(name, (2, 3)) for name in "abc"]).shape
    (2, 3)
    """
    return xs[0] if len(xs) == 1 else apply(ADD_N, *xs)[0]


# cast


def _cast_shape(x: Spec, *, dtype: str) -> Spec:
    expect(dtype in TYPES, f"a type of {', '.join(TYPES)}", dtype)
    return Spec(x.shape, dtype)


def _cast(x: np.ndarray, *, dtype: str) -> np.ndarray:
    # A float64 evaluation (gradient checks) stays float64.
    return x if dtype == FLOAT32 and x.dtype.kind == "f" else x.astype(dtype)


def _cast_rule(node: Node, dy: Value) -> Gradients:
    return [dy if node.inputs[0].dtype == FLOAT32 else None]


CAST = Op("cast", _cast_shape, _cast, _cast_rule)


def cast(x: Value, dtype: str) -> Value:
    """The same numbers in another type (fractions are cut towards zero); gradient between float types only.

    >>> from kernels.graph import Graph
    >>> cast(Graph().input("x", (2, 3), "int32"), "float32").dtype
    'float32'
    """
    return x if x.dtype == dtype else apply(CAST, x, dtype=dtype)[0]
