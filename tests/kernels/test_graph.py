"""Graphs: leaves, labels, and how errors name the layer."""

from __future__ import annotations

import numpy as np
import pytest

from kernels import Graph, ops
from kernels.errors import ArgumentError, ShapeError


def test_a_leaf_is_made_once() -> None:
    graph = Graph()
    assert graph.parameter("w", (2, 3)) is graph.parameter("w", (2, 3))
    assert graph.parameter("w", (2, 3)) is not graph.buffer("w", (2, 3))


@pytest.mark.parametrize(("shape", "dtype"), [((2, -1), "float32"), ((2,), "float64"), ((2,), "bool")])
def test_leaves_that_cannot_be(shape: tuple[int, ...], dtype: str) -> None:
    with pytest.raises(ArgumentError, match=rf"input 'x' must have sizes >= 0 and a type of .* of {dtype}"):
        Graph().input("x", shape, dtype)


def test_constants_are_numbers() -> None:
    with pytest.raises(ArgumentError, match="must hold numbers"):
        Graph().constant(np.ones(2, bool))


def test_values_of_two_graphs_do_not_mix() -> None:
    with pytest.raises(ArgumentError, match="add must get values of one graph"):
        ops.add(Graph().input("x", (2,)), Graph().input("y", (2,)))


def test_errors_start_with_the_op_or_the_innermost_layer() -> None:
    graph = Graph()
    x = graph.input("x", (2, 3))
    with pytest.raises(ShapeError, match=r"^linear expects weights \(out, in\)"):
        ops.linear(x, graph.input("w", (3,)))
    with pytest.raises(ShapeError, match=r"^fc expects weights \(out, in\)"), graph.label("net"), graph.label("fc"):
        ops.linear(x, graph.input("w", (3,)))


def test_errors_of_helpers_name_the_layer_once() -> None:
    """`narrow` finds its axis before it has a node."""
    graph = Graph()
    x = graph.input("x", (2, 3))
    with pytest.raises(ShapeError, match=r"^cut expects an axis"), graph.label("net"), graph.label("cut"):
        ops.narrow(x, 9, 0, 1)
    with pytest.raises(ShapeError, match=r"^expects an axis"):
        ops.narrow(x, 9, 0, 1)
    with graph.label("next"):
        assert ops.relu(x).node.label == "next"
    assert ops.relu(x).node.label == ""


def test_a_trace_does_not_name_the_layer_twice() -> None:
    from nnframes.nn import Narrow, Sequential

    network = Sequential().add(Narrow(9, 0, 1))
    with pytest.raises(ShapeError) as caught:
        network.output_shape((32, 20))
    assert str(caught.value).count("Narrow") == 1
